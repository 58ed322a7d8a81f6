//! What `mem` keeps its files and indexes on: bytes with a power switch.
//!
//! Promises: what was synced survives `power_cut`; of the rest nothing, a prefix, or torn 4 KiB
//! pieces do, as a disk may have it. Never: more forgiving than a disk that honours a flush.

use std::collections::BTreeMap;
use std::io;

use super::index::Batch;
use crate::prng::Prng;

/// A disk tears what it has not been told to keep at these borders.
const PIECE_BYTES: usize = 4096;

pub(super) type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Dir,
    File(usize),
}

#[derive(Clone, Debug)]
pub(super) enum Write {
    Data { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Link(String, Entry),
    Unlink(String),
    Rename(String, String),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    pub stable: Vec<u8>,
    pub now: Vec<u8>,
    pub pending: Vec<Write>,
}

/// What happens at a counted operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, half done. The next one works again.
    Once(io::ErrorKind),
    /// It and all after it fail.
    Always(io::ErrorKind),
    /// The power goes: it is half done, and nothing works until `power_cut`.
    PowerOff,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Medium {
    pub bodies: BTreeMap<usize, Body>,
    pub next_body: usize,
    pub names: BTreeMap<String, Entry>,
    pub stable_names: BTreeMap<String, Entry>,
    pub name_changes: Vec<NameChange>,
    pub indexes: BTreeMap<u32, Pairs>,
    /// A commit that was under way when the power went: it may have been made.
    pub doubtful: Option<(u32, Batch)>,
    pub capacity: u64,
    /// Bytes that were removed and are not free yet, on a file system of that kind.
    pub unfreed: Option<u64>,
    pub operations: u64,
    pub fault: Option<(u64, Fault)>,
    pub failing: Option<io::ErrorKind>,
    pub off: bool,
    /// Whether the power went at the operation that is being done.
    pub going: bool,
    pub locked: bool,
}

impl Medium {
    /// Counts an operation and answers whether it may be done.
    pub fn gate(&mut self) -> io::Result<()> {
        if self.off {
            self.going = false;
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        if let Some((at, fault)) = self.fault
            && self.operations >= at
        {
            self.fault = None;
            match fault {
                Fault::Once(kind) => return Err(kind.into()),
                Fault::Always(kind) => self.failing = Some(kind),
                Fault::PowerOff => {
                    (self.off, self.going) = (true, true);
                    return Err(io::Error::other("the power went"));
                }
            }
        }
        self.failing.map_or(Ok(()), |kind| Err(kind.into()))
    }

    pub fn body(&mut self, at: usize) -> &mut Body {
        self.bodies.entry(at).or_default()
    }

    pub fn len(&self, entry: &Entry) -> u64 {
        match entry {
            Entry::File(at) => self.bodies.get(at).map_or(0, |body| body.now.len() as u64),
            Entry::Dir => 0,
        }
    }

    /// Whether the operation that failed may have been begun all the same.
    pub fn may_be_half_done(&self) -> bool {
        !self.off || self.going
    }

    /// Frees what no name leads to any more, whatever a power cut brings back.
    pub fn sweep(&mut self) {
        let mut led_to: Vec<Entry> = self.names.values().copied().collect();
        led_to.extend(self.stable_names.values().copied());
        led_to.extend(self.name_changes.iter().filter_map(|change| match change {
            NameChange::Link(_, entry) => Some(*entry),
            _ => None,
        }));
        self.bodies.retain(|at, _| led_to.contains(&Entry::File(*at)));
    }

    pub fn used(&self) -> u64 {
        let files = self.names.values().map(|entry| self.len(entry));
        files.sum::<u64>()
            + self.unfreed.unwrap_or(0)
            + self.indexes.values().map(pairs_bytes).sum::<u64>()
    }

    pub fn file(&self, path: &str) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Entry::File(at)) => Ok(*at),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub fn change_name(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.name_changes.push(change);
    }

    pub fn write(&mut self, at: usize, write: Write) {
        let body = self.body(at);
        apply_write(&mut body.now, &write);
        body.pending.push(write);
    }

    /// The part of a failing write that was made all the same.
    pub fn write_half(&mut self, at: usize, bytes: &[u8]) {
        let offset = self.body(at).now.len();
        let half = bytes[..bytes.len() / 2].to_vec();
        self.write(at, Write::Data { at: offset, bytes: half });
    }

    /// Makes the commit that was under way, or does not.
    pub fn decide_doubtful(&mut self, is_made: impl FnOnce(u64) -> bool) {
        if let Some((number, batch)) = self.doubtful.take()
            && is_made(self.operations)
        {
            apply_batch(self.indexes.entry(number).or_default(), &batch);
        }
    }

    pub fn power_cut(&mut self, prng: &mut Prng) {
        let changes = std::mem::take(&mut self.name_changes);
        let mut names = self.stable_names.clone();
        for change in survivors(&changes, prng) {
            apply_name(&mut names, change);
        }
        let dirs: Vec<String> = names
            .iter()
            .filter(|(_, entry)| **entry == Entry::Dir)
            .map(|(name, _)| name.clone())
            .collect();
        names.retain(|name, _| match name.rsplit_once('/') {
            Some((dir, _)) => dirs.iter().any(|known| known == dir),
            None => true,
        });
        for body in self.bodies.values_mut() {
            let pending = std::mem::take(&mut body.pending);
            let torn = prng.below(3) == 0;
            let survivors = survivors(&pending, prng);
            if pending.is_empty() {
                // It is what it was, and may be long.
                continue;
            }
            let mut left = std::mem::take(&mut body.stable);
            for write in survivors {
                match write {
                    Write::Data { at, bytes } if torn => tear(&mut left, *at, bytes, prng),
                    whole => apply_write(&mut left, whole),
                }
            }
            body.now.clone_from(&left);
            body.stable = left;
        }
        self.decide_doubtful(|_| prng.chance(50));
        self.names = names.clone();
        self.stable_names = names;
        (self.fault, self.failing) = (None, None);
        (self.off, self.locked) = (false, false);
    }
}

/// Which of the changes made since the last sync are on the disk: none, the first few, or any.
fn survivors<'a, T>(changes: &'a [T], prng: &mut Prng) -> Vec<&'a T> {
    let kept = prng.below(changes.len() as u64 + 1) as usize;
    match prng.below(4) {
        0 => Vec::new(),
        1 => changes.iter().collect(),
        2 => changes[..kept].iter().collect(),
        _ => changes.iter().filter(|_| prng.chance(50)).collect(),
    }
}

pub(super) fn apply_name(names: &mut BTreeMap<String, Entry>, change: &NameChange) {
    match change {
        NameChange::Link(name, entry) => {
            names.insert(name.clone(), *entry);
        }
        NameChange::Unlink(name) => {
            names.remove(name);
        }
        NameChange::Rename(from, to) => {
            if let Some(entry) = names.remove(from) {
                names.insert(to.clone(), entry);
            }
        }
    }
}

pub(super) fn apply_write(content: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Length(len) => content.resize(*len, 0),
        Write::Data { at, bytes } => {
            let end = at + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*at..end].copy_from_slice(bytes);
        }
    }
}

/// Keeps some pieces of a write. A missing one before a kept one reads as zeros.
fn tear(content: &mut Vec<u8>, at: usize, bytes: &[u8], prng: &mut Prng) {
    let mut from = 0;
    while from < bytes.len() {
        let border = (at + from) / PIECE_BYTES * PIECE_BYTES + PIECE_BYTES;
        let to = (border - at).min(bytes.len());
        if prng.chance(50) {
            apply_write(content, &Write::Data { at: at + from, bytes: bytes[from..to].to_vec() });
        }
        from = to;
    }
}

pub(super) fn apply_batch(pairs: &mut Pairs, batch: &Batch) {
    for (key, value) in &batch.changes {
        match value {
            Some(value) => pairs.insert(key.clone(), value.clone()),
            None => pairs.remove(key),
        };
    }
}

pub(super) fn pairs_bytes(pairs: &Pairs) -> u64 {
    pairs.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
}

pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}
