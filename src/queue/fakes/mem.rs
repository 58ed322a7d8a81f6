//! The queue's directory and index in memory, with a power switch.
//!
//! Promises: names survive a power cut only after `sync_dir`, bytes only after `sync_data`; a
//! commit of the index is all or nothing. Any operation, counted from now, can be made to fail or
//! to be the last. Runs in tests and in the simulation; the program itself uses `RealDisk` and
//! `SledIndex`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::disk::{Disk, Item, LockRefused};
use super::index::{Batch, Index, IndexError, IndexFault, IndexStore, Pair};
pub use super::medium::Fault;
use super::medium::{
    Entry, Medium, NameChange, Pairs, Write, apply_batch, apply_name, apply_write, pairs_bytes,
    parent,
};
use crate::prng::Prng;

/// All indexes of a directory at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexes(BTreeMap<u32, Pairs>);

/// A directory in memory. Clones are further views of it; only one can hold the lock.
#[derive(Debug)]
pub struct MemDisk {
    medium: Rc<RefCell<Medium>>,
    index_store: MemIndexStore,
    holds_lock: bool,
}

impl Clone for MemDisk {
    fn clone(&self) -> MemDisk {
        MemDisk::of(&self.medium)
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
        MemDisk::of(&Rc::new(RefCell::new(medium)))
    }

    /// Another directory that holds the same.
    pub fn copy(&self) -> MemDisk {
        let medium = Medium { locked: false, ..self.medium.borrow().clone() };
        MemDisk::of(&Rc::new(RefCell::new(medium)))
    }

    fn of(medium: &Rc<RefCell<Medium>>) -> MemDisk {
        let index_store = MemIndexStore { medium: Rc::clone(medium) };
        MemDisk { medium: Rc::clone(medium), index_store, holds_lock: false }
    }

    /// From now on what is removed is free only after `sync_all`, as on btrfs.
    pub fn copy_on_write(&self) {
        self.medium.borrow_mut().unfreed = Some(0);
    }

    /// Others removed so much of such a file system.
    pub fn removed_by_others(&self, bytes: u64) {
        let unfreed = &mut self.medium.borrow_mut().unfreed;
        *unfreed = unfreed.map(|before| before + bytes);
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
        medium.decide_doubtful(|operations| operations.is_multiple_of(2));
        (medium.fault, medium.failing) = (None, None);
        (medium.off, medium.locked) = (false, false);
    }

    /// The indexes as they are, to be brought back with `set_indexes` as if all since were lost.
    pub fn indexes(&self) -> Indexes {
        Indexes(self.medium.borrow().indexes.clone())
    }

    /// Damages or replaces what is stored under a key of every index.
    pub fn tamper_index(&self, key: &[u8], change: impl Fn(&mut Vec<u8>)) {
        let mut medium = self.medium.borrow_mut();
        let indexes = medium.indexes.values_mut();
        indexes.filter_map(|pairs| pairs.get_mut(key)).for_each(change);
    }

    pub fn set_indexes(&self, indexes: Indexes) {
        self.medium.borrow_mut().indexes = indexes.0;
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
        self.medium.borrow_mut().indexes.values_mut().for_each(Pairs::clear);
    }
}

impl Disk for MemDisk {
    type Indexes = MemIndexStore;

    fn index_store(&mut self) -> &mut MemIndexStore {
        &mut self.index_store
    }

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

    fn create_steady(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.create(path)?;
        self.append(path, bytes)?;
        self.sync_data(path)
    }

    fn overwrite(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        let at = medium.file(path)?;
        let offset = offset as usize;
        if medium.body(at).now.len() < offset + bytes.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match medium.gate() {
            // It takes no more space than it has.
            Err(error) if error.kind() != io::ErrorKind::StorageFull => {
                if medium.may_be_half_done() {
                    let half = bytes[..bytes.len() / 2].to_vec();
                    medium.write(at, Write::Data { at: offset, bytes: half });
                }
                Err(error)
            }
            _ => {
                medium.write(at, Write::Data { at: offset, bytes: bytes.to_vec() });
                Ok(())
            }
        }
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        let at = medium.file(path)?;
        let body = medium.body(at);
        for write in std::mem::take(&mut body.pending) {
            apply_write(&mut body.stable, &write);
        }
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
        let at = medium.file(path)?;
        let len = medium.len(&Entry::File(at));
        medium.unfreed = medium.unfreed.map(|bytes| bytes + len);
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

    fn sync_all(&mut self) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        medium.unfreed = medium.unfreed.map(|_| 0);
        Ok(())
    }

    fn free_bytes(&mut self) -> io::Result<u64> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        // btrfs counts as free what it gives out only after the next commit.
        let used = medium.used() - medium.unfreed.unwrap_or(0);
        Ok(medium.capacity.saturating_sub(used))
    }
}

/// The indexes of a directory in memory, which share its power switch.
#[derive(Debug)]
pub struct MemIndexStore {
    medium: Rc<RefCell<Medium>>,
}

impl IndexStore for MemIndexStore {
    type Index = MemIndex;

    fn newest(&mut self) -> io::Result<Option<u32>> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        Ok(medium.indexes.keys().next_back().copied())
    }

    fn open(&mut self, number: u32) -> Result<MemIndex, IndexError> {
        let mut medium = self.medium.borrow_mut();
        medium.gate().map_err(|error| index_error(&error))?;
        if medium.used() > medium.capacity {
            return Err(index_error(&io::ErrorKind::StorageFull.into()));
        }
        medium.indexes.entry(number).or_default();
        Ok(MemIndex { medium: Rc::clone(&self.medium), number, is_broken: false })
    }

    fn set_aside(&mut self, number: u32, _name: &str) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        medium.indexes.remove(&number);
        Ok(())
    }

    fn remove(&mut self, number: u32) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        medium.indexes.remove(&number);
        Ok(())
    }

    fn remove_below(&mut self, number: u32) -> io::Result<()> {
        let mut medium = self.medium.borrow_mut();
        medium.gate()?;
        medium.indexes.retain(|older, _| *older >= number);
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
            return Err(index_error(&io::Error::other("the index failed before")));
        }
        let mut medium = self.medium.borrow_mut();
        let gate = medium.gate();
        let outcome = action(&mut medium, self.number, gate).map_err(|error| index_error(&error));
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
                // A failed commit may or may not have been applied; this does either, at random.
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

fn index_error(error: &io::Error) -> IndexError {
    let fault = IndexFault::of(crate::errno::says(error));
    IndexError { fault, why: error.to_string() }
}
