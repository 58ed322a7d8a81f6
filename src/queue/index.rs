//! The index: a small transactional store of keys and values that says what waits.
//!
//! Promises: a commit is all or nothing, and durable when it returns. Any error ends the handle:
//! later results of it are not used (keeps P9). Never: holds a record.

use std::fmt;

use crate::errno::Says;
use crate::limits::{INDEX_COMMIT_BYTES_MAX, INDEX_VALUE_BYTES_MAX};

/// Why the index failed, and what has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexFault {
    /// No space: give up the reserve and try again.
    Full,
    /// Another process has it open: stop.
    Locked,
    /// The file system does not permit writing: stop and report it.
    Denied,
    /// No thread can be created: stop and report it.
    NoThread,
    /// The system refused the call now, which says nothing about the disk's content: wait.
    System,
    /// A newer version wrote it: stop, and touch nothing.
    Newer,
    /// It has no state: its creation was not finished, or it came back empty.
    Unfinished,
    /// Any other error, also a panic: set the index aside and rebuild it from the log.
    Broken,
}

impl IndexFault {
    /// The fault that follows from an error of the disk.
    pub fn of(says: Says) -> IndexFault {
        match says {
            Says::Full => IndexFault::Full,
            Says::Denied => IndexFault::Denied,
            Says::System => IndexFault::System,
            Says::Medium => IndexFault::Broken,
        }
    }
}

/// A fault with its description.
#[derive(Clone, Debug)]
pub struct IndexError {
    pub fault: IndexFault,
    pub why: String,
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// A key and what is stored under it.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Changes that are committed together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    bytes: usize,
}

impl Batch {
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        debug_assert!(value.len() <= INDEX_VALUE_BYTES_MAX);
        self.bytes += key.len() + value.len();
        self.changes.push((key, Some(value)));
    }

    pub fn remove(&mut self, key: Vec<u8>) {
        self.bytes += key.len();
        self.changes.push((key, None));
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether half of a commit's limit is used. One more page or acknowledgement fits.
    pub fn is_half_full(&self) -> bool {
        self.bytes + 16 * self.changes.len() > INDEX_COMMIT_BYTES_MAX / 2
    }

    pub(super) fn check(&self) {
        debug_assert!(self.bytes <= INDEX_COMMIT_BYTES_MAX, "a commit of {} bytes", self.bytes);
    }
}

/// An open index.
pub trait Index: fmt::Debug {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;

    /// The first `max` pairs at or after `from` whose keys begin with `prefix`, in order.
    fn range(&mut self, prefix: &[u8], from: &[u8], max: usize) -> Result<Vec<Pair>, IndexError>;

    /// Makes all changes of a batch, durably, or none.
    fn commit(&mut self, batch: &Batch) -> Result<(), IndexError>;

    /// Its bytes on disk.
    fn bytes(&mut self) -> u64;

    /// Ends the handle of a healthy index.
    fn close(self);

    /// Leaks the handle of a broken index: dropping it may hang.
    fn forget(self);
}

/// The indexes in a queue's directory, by number; the highest one is in use.
pub trait IndexStore {
    type Index: Index;

    /// The highest number.
    fn newest(&mut self) -> std::io::Result<Option<u32>>;

    /// Opens an index, or creates it empty when it is not there.
    fn open(&mut self, number: u32) -> Result<Self::Index, IndexError>;

    /// Gives an index the content that it had before it was last opened, for another look. False if
    /// that is not known, or was done before.
    fn put_back(&mut self, _number: u32) -> std::io::Result<bool> {
        Ok(false)
    }

    /// Ends what `put_back` needs.
    fn drop_copy(&mut self) {}

    /// Moves an index into `quarantine/`, under this name.
    fn set_aside(&mut self, number: u32, name: &str) -> std::io::Result<()>;

    /// Removes an unfinished index.
    fn remove(&mut self, number: u32) -> std::io::Result<()>;

    /// Removes the indexes with lower numbers, which this one replaces.
    fn remove_below(&mut self, number: u32) -> std::io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pairs: usize, value_len: usize) -> Batch {
        let mut batch = Batch::default();
        (0..pairs).for_each(|_| batch.put(vec![0; 9], vec![0; value_len]));
        batch
    }

    /// Long values fill it by their bytes, and short ones by what each of them costs.
    #[test]
    fn a_batch_is_half_full_when_half_of_a_commit_is_used() {
        let half = INDEX_COMMIT_BYTES_MAX / 2;
        for (value_len, cost) in [(40, 9 + 40 + 16), (0, 9 + 16), (4_000, 9 + 4_000 + 16)] {
            assert!(!filled(half / cost, value_len).is_half_full(), "{value_len}");
            assert!(filled(half / cost + 1, value_len).is_half_full(), "{value_len}");
            assert!(filled(half / cost + 2, value_len).is_half_full(), "{value_len}");
        }
        assert!(!Batch::default().is_half_full());
        let mut removing = Batch::default();
        (0..half / 25).for_each(|_| removing.remove(vec![0; 9]));
        assert!(!removing.is_half_full());
        removing.remove(vec![0; 9]);
        assert!(removing.is_half_full());
    }
}
