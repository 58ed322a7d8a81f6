//! The queue's directory and index in memory, with a power switch.
//!
//! Promises: what was synced survives `power_cut`; of the rest nothing, a prefix, or torn 4 KiB
//! pieces do, as a disk may have it; names survive only after `sync_dir`; a commit of the index is
//! all or nothing. Any operation, counted from now, can be made to fail or to be the last.
//! Runs in tests and in the simulation; the program itself uses `RealDisk` and `SledIndex`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::disk::{Disk, Item, LockRefused};
use super::index::{Batch, Index, IndexError, IndexFault, Opener, Pair};
use crate::prng::Prng;

/// A disk tears what it has not been told to keep at these borders.
const PIECE_BYTES: usize = 4096;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Dir,
    File(usize),
}

#[derive(Clone, Debug)]
enum Write {
    Data { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(String, Entry),
    Unlink(String),
    Rename(String, String),
}

#[derive(Debug, Default)]
struct Body {
    stable: Vec<u8>,
    now: Vec<u8>,
    pending: Vec<Write>,
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

#[derive(Debug, Default)]
struct Medium {
    bodies: BTreeMap<usize, Body>,
    next_body: usize,
    names: BTreeMap<String, Entry>,
    stable_names: BTreeMap<String, Entry>,
    name_changes: Vec<NameChange>,
    indexes: BTreeMap<u32, Pairs>,
    /// A commit that was under way when the power went: it may have been made.
    doubtful: Option<(u32, Batch)>,
    capacity: u64,
    operations: u64,
    fault: Option<(u64, Fault)>,
    failing: Option<io::ErrorKind>,
    off: bool,
    /// Whether the power went at the operation that is being done.
    going: bool,
    locked: bool,
}

/// A directory in memory. Clones are further views of it; only one can hold the lock.
#[derive(Debug)]
pub struct MemDisk {
    medium: Rc<RefCell<Medium>>,
    holds_lock: bool,
}

impl Clone for MemDisk {
    fn clone(&self) -> MemDisk {
        MemDisk { medium: Rc::clone(&self.medium), holds_lock: false }
    }
}

impl Drop for MemDisk {
    fn drop(&mut self) {
        if self.holds_lock {
            self.medium.borrow_mut().locked = false;
        }
    }
}

impl MemDisk {
    pub fn new(capacity_bytes: u64) -> MemDisk {
        let medium = Medium { capacity: capacity_bytes, ..Medium::default() };
        MemDisk { medium: Rc::new(RefCell::new(medium)), holds_lock: false }
    }

    /// The indexes that belong to this directory and share its power switch.
    pub fn opener(&self) -> MemOpener {
        MemOpener { medium: Rc::clone(&self.medium) }
    }

    pub fn set_capacity(&self, bytes: u64) {
        self.medium.borrow_mut().capacity = bytes;
    }

    /// Operations of files and indexes so far.
    pub fn operations(&self) -> u64 {
        self.medium.borrow().operations
    }

    /// Lets `fault` happen at the `n`-th operation from now; 1 is the next.
    pub fn fail_after(&self, n: u64, fault: Fault) {
        let mut medium = self.medium.borrow_mut();
        medium.fault = Some((medium.operations + n, fault));
    }

    /// Ends every fault, a power cut that was not yet followed by `power_cut` excepted.
    pub fn heal(&self) {
        let mut medium = self.medium.borrow_mut();
        (medium.fault, medium.failing) = (None, None);
    }

    /// Whether the fault that was asked for has happened.
    pub fn has_failed(&self) -> bool {
        self.medium.borrow().fault.is_none()
    }

    /// Leaves what a disk may have after the power went just now. Every queue that was open on it
    /// must have been dropped or be dropped next.
    pub fn power_cut(&self, prng: &mut Prng) {
        self.medium.borrow_mut().power_cut(prng);
    }

    /// Leaves everything as it is, synced or not, as a killed process does.
    pub fn kill(&self) {
        let mut medium = self.medium.borrow_mut();
        (medium.fault, medium.failing) = (None, None);
        (medium.off, medium.locked) = (false, false);
    }

    /// Damages or replaces a file behind the queue's back.
    pub fn tamper(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut medium = self.medium.borrow_mut();
        if let Some(Entry::File(at)) = medium.names.get(path).copied() {
            let body = medium.body(at);
            change(&mut body.now);
            body.stable = body.now.clone();
            body.pending.clear();
        }
    }

    /// The paths of all files.
    pub fn files(&self) -> Vec<String> {
        let medium = self.medium.borrow();
        let files = medium.names.iter().filter(|(_, entry)| matches!(entry, Entry::File(_)));
        files.map(|(name, _)| name.clone()).collect()
    }

    /// Takes every index away, as sled does when it comes back empty.
    pub fn lose_indexes(&self) {
        self.medium.borrow_mut().indexes.values_mut().for_each(BTreeMap::clear);
    }
}

impl Medium {
    /// Counts an operation and answers whether it may be done.
    fn gate(&mut self) -> io::Result<()> {
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

    fn body(&mut self, at: usize) -> &mut Body {
        self.bodies.entry(at).or_default()
    }

    fn len(&self, entry: &Entry) -> u64 {
        match entry {
            Entry::File(at) => self.bodies.get(at).map_or(0, |body| body.now.len() as u64),
            Entry::Dir => 0,
        }
    }

    /// Whether the operation that failed may have been begun all the same.
    fn may_be_half_done(&self) -> bool {
        !self.off || self.going
    }

    /// Frees what no name leads to any more, whatever a power cut brings back.
    fn sweep(&mut self) {
        let mut led_to: Vec<Entry> = self.names.values().copied().collect();
        led_to.extend(self.stable_names.values().copied());
        led_to.extend(self.name_changes.iter().filter_map(|change| match change {
            NameChange::Link(_, entry) => Some(*entry),
            _ => None,
        }));
        self.bodies.retain(|at, _| led_to.contains(&Entry::File(*at)));
    }

    fn used(&self) -> u64 {
        let files = self.names.values().map(|entry| self.len(entry));
        files.sum::<u64>() + self.indexes.values().map(pairs_bytes).sum::<u64>()
    }

    fn file(&self, path: &str) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Entry::File(at)) => Ok(*at),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn change_name(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.name_changes.push(change);
    }

    fn write(&mut self, at: usize, write: Write) {
        let body = self.body(at);
        apply_write(&mut body.now, &write);
        body.pending.push(write);
    }

    /// The part of a failing write that was made all the same.
    fn write_half(&mut self, at: usize, bytes: &[u8]) {
        let offset = self.body(at).now.len();
        let half = bytes[..bytes.len() / 2].to_vec();
        self.write(at, Write::Data { at: offset, bytes: half });
    }

    fn power_cut(&mut self, prng: &mut Prng) {
        let changes = std::mem::take(&mut self.name_changes);
        let mut names = self.stable_names.clone();
        for change in survivors(&changes, prng) {
            apply_name(&mut names, change);
        }
        let dirs: Vec<String> = names
            .iter()
            .filter_map(|(name, entry)| (*entry == Entry::Dir).then(|| name.clone()))
            .collect();
        names.retain(|name, _| match name.rsplit_once('/') {
            Some((dir, _)) => dirs.iter().any(|known| known == dir),
            None => true,
        });
        for body in self.bodies.values_mut() {
            let pending = std::mem::take(&mut body.pending);
            let mut left = body.stable.clone();
            let torn = prng.below(3) == 0;
            for write in survivors(&pending, prng) {
                match write {
                    Write::Data { at, bytes } if torn => tear(&mut left, *at, bytes, prng),
                    whole => apply_write(&mut left, whole),
                }
            }
            body.now = left.clone();
            body.stable = left;
        }
        if let Some((number, batch)) = self.doubtful.take()
            && prng.chance(50)
        {
            apply_batch(self.indexes.entry(number).or_default(), &batch);
        }
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

fn apply_name(names: &mut BTreeMap<String, Entry>, change: &NameChange) {
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

fn apply_write(content: &mut Vec<u8>, write: &Write) {
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

fn apply_batch(pairs: &mut Pairs, batch: &Batch) {
    for (key, value) in &batch.changes {
        match value {
            Some(value) => pairs.insert(key.clone(), value.clone()),
            None => pairs.remove(key),
        };
    }
}

fn pairs_bytes(pairs: &Pairs) -> u64 {
    pairs.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Disk for MemDisk {
    fn place(&self) -> String {
        "memory".into()
    }

    fn lock(&mut self) -> Result<(), LockRefused> {
        let mut medium = self.medium.borrow_mut();
        medium.gate().map_err(LockRefused::Io)?;
        if medium.locked {
            return Err(LockRefused::Held { holder: None });
        }
        medium.locked = true;
        self.holds_lock = true;
        Ok(())
    }

    fn create_dir(&mut self, dir: &str) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        if !medium.names.contains_key(dir) {
            medium.change_name(NameChange::Link(dir.into(), Entry::Dir));
        }
        Ok(())
    }

    fn list(&mut self, dir: &str) -> io::Result<Vec<Item>> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        if !dir.is_empty() && medium.names.get(dir) != Some(&Entry::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = medium.names.iter().filter(|(name, _)| parent(name) == dir);
        let items = inside.map(|(name, entry)| Item {
            name: name.rsplit('/').next().unwrap_or(name).into(),
            len: medium.len(entry),
            is_dir: *entry == Entry::Dir,
        });
        Ok(items.collect())
    }

    fn create(&mut self, path: &str) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        if medium.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !parent(path).is_empty() && medium.names.get(parent(path)) != Some(&Entry::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        medium.next_body += 1;
        let entry = Entry::File(medium.next_body);
        let at = medium.next_body;
        medium.body(at);
        medium.change_name(NameChange::Link(path.into(), entry));
        Ok(())
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        let gate = medium.gate();
        let at = medium.file(path)?;
        let full = medium.used() + bytes.len() as u64 > medium.capacity;
        if gate.is_err() || full {
            if medium.may_be_half_done() {
                medium.write_half(at, bytes);
            }
            return gate.and(Err(io::ErrorKind::StorageFull.into()));
        }
        let offset = medium.body(at).now.len();
        medium.write(at, Write::Data { at: offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        let at = medium.file(path)?;
        medium.write(at, Write::Length(len as usize));
        Ok(())
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        let at = medium.file(path)?;
        let body = medium.body(at);
        body.stable = body.now.clone();
        body.pending.clear();
        Ok(())
    }

    fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        let changes = std::mem::take(&mut medium.name_changes);
        for change in changes {
            let here = match &change {
                NameChange::Link(name, _) | NameChange::Unlink(name) => parent(name) == dir,
                NameChange::Rename(from, to) => parent(from) == dir || parent(to) == dir,
            };
            if here {
                apply_name(&mut medium.stable_names, &change);
            } else {
                medium.name_changes.push(change);
            }
        }
        medium.sweep();
        Ok(())
    }

    fn read(&mut self, path: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        let at = medium.file(path)?;
        let content = &medium.body(at).now;
        let from = (offset as usize).min(content.len());
        Ok(content[from..(from + len).min(content.len())].to_vec())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        if !medium.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        medium.change_name(NameChange::Rename(from.into(), to.into()));
        Ok(())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        medium.file(path)?;
        medium.change_name(NameChange::Unlink(path.into()));
        Ok(())
    }

    fn remove_tree(&mut self, path: &str) -> io::Result<()> {
        self.remove(path)
    }

    fn tree_bytes(&mut self, path: &str) -> io::Result<u64> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        let below = format!("{path}/");
        let files =
            medium.names.iter().filter(|(name, _)| *name == path || name.starts_with(&below));
        Ok(files.map(|(_, entry)| medium.len(entry)).sum())
    }

    fn free_bytes(&mut self) -> io::Result<u64> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        Ok(medium.capacity.saturating_sub(medium.used()))
    }
}

/// The indexes of a directory in memory.
#[derive(Debug)]
pub struct MemOpener {
    medium: Rc<RefCell<Medium>>,
}

impl Opener for MemOpener {
    type Index = MemIndex;

    fn newest(&mut self) -> io::Result<Option<u32>> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        Ok(medium.indexes.keys().next_back().copied())
    }

    fn open(&mut self, number: u32) -> Result<MemIndex, IndexError> {
        let mut medium = self.medium.borrow_mut();
        medium.gate().map_err(|error| told(&error))?;
        medium.indexes.entry(number).or_default();
        Ok(MemIndex { medium: Rc::clone(&self.medium), number, is_broken: false })
    }

    fn set_aside(&mut self, number: u32, _name: &str) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        medium.indexes.remove(&number);
        Ok(())
    }
}

/// An open index in memory. Like sled, it answers nothing after its first error.
#[derive(Debug)]
pub struct MemIndex {
    medium: Rc<RefCell<Medium>>,
    number: u32,
    is_broken: bool,
}

impl MemIndex {
    fn with<T>(
        &mut self,
        action: impl FnOnce(&mut Medium, u32, io::Result<()>) -> io::Result<T>,
    ) -> Result<T, IndexError> {
        if self.is_broken {
            return Err(told(&io::Error::other("the index failed before")));
        }
        let mut medium = self.medium.borrow_mut();
        let gate = medium.gate();
        let outcome = action(&mut medium, self.number, gate).map_err(|error| told(&error));
        self.is_broken = outcome.is_err();
        outcome
    }
}

impl Index for MemIndex {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.with(|medium, number, gate| {
            gate?;
            Ok(medium.indexes.get(&number).and_then(|pairs| pairs.get(key).cloned()))
        })
    }

    fn range(&mut self, prefix: &[u8], from: &[u8], max: usize) -> Result<Vec<Pair>, IndexError> {
        self.with(|medium, number, gate| {
            gate?;
            let Some(pairs) = medium.indexes.get(&number) else { return Ok(Vec::new()) };
            let found = pairs.range(from.to_vec()..).take(max);
            let found = found.take_while(|(key, _)| key.starts_with(prefix));
            Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), IndexError> {
        batch.check();
        self.with(|medium, number, gate| {
            if let Err(error) = gate {
                // Whether a commit that failed was made is not known: now so, now so.
                if medium.off && medium.going {
                    medium.doubtful = Some((number, batch.clone()));
                } else if !medium.off && medium.operations.is_multiple_of(2) {
                    apply_batch(medium.indexes.entry(number).or_default(), batch);
                }
                return Err(error);
            }
            if medium.used() > medium.capacity {
                return Err(io::ErrorKind::StorageFull.into());
            }
            apply_batch(medium.indexes.entry(number).or_default(), batch);
            Ok(())
        })
    }

    fn bytes(&mut self) -> u64 {
        self.medium.borrow().indexes.get(&self.number).map_or(0, pairs_bytes)
    }

    fn close(self) {}

    fn forget(self) {}
}

fn told(error: &io::Error) -> IndexError {
    let fault = if super::disk::is_full(error) { IndexFault::Full } else { IndexFault::Broken };
    IndexError { fault, why: error.to_string() }
}
