//! The index: a small transactional store of keys and values, the queue's brain.
//!
//! Promises: a commit is all or nothing, and durable when it returns. Any error ends the handle:
//! what it answers afterwards is worth nothing (keeps P9). Never: holds a record.

use std::fmt;

use crate::errno::Says;
use crate::limits::{INDEX_COMMIT_BYTES_MAX, INDEX_VALUE_BYTES_MAX};

/// Why the index could not do something. Each says what is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexFault {
    /// No room: give up the reserve and try again.
    Full,
    /// Another process has it open: stop.
    Locked,
    /// The file system does not let us write: stop and tell.
    Denied,
    /// No thread can be created: stop and tell.
    NoThread,
    /// The system could not just now, which says nothing of what is on the disk: wait.
    System,
    /// A newer version wrote it: stop, and touch nothing.
    Newer,
    /// It has no state: it was never finished, or came back empty.
    Unfinished,
    /// Anything else, panics too: set it aside and rebuild it from the log.
    Broken,
}

impl IndexFault {
    /// What an error of the disk makes of the index.
    pub fn of(says: Says) -> IndexFault {
        match says {
            Says::Full => IndexFault::Full,
            Says::Denied => IndexFault::Denied,
            Says::System => IndexFault::System,
            Says::Medium => IndexFault::Broken,
        }
    }
}

/// What went wrong, and why in words.
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

/// Changes that are made together.
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

    /// Whether half of what a commit may hold is used. One more page or acknowledgement fits.
    pub fn is_half_full(&self) -> bool {
        self.bytes + 16 * self.changes.len() > INDEX_COMMIT_BYTES_MAX / 2
    }

    pub(super) fn check(&self) {
        debug_assert!(self.bytes <= INDEX_COMMIT_BYTES_MAX, "a commit of {} bytes", self.bytes);
    }
}

/// An open index.
pub trait Index {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;

    /// The first `max` pairs at or after `from` whose keys begin with `prefix`, in order.
    fn range(&mut self, prefix: &[u8], from: &[u8], max: usize) -> Result<Vec<Pair>, IndexError>;

    /// Makes all changes of a batch, durably, or none.
    fn commit(&mut self, batch: &Batch) -> Result<(), IndexError>;

    /// What it takes on disk.
    fn bytes(&mut self) -> u64;

    /// Ends the handle of a healthy index.
    fn close(self);

    /// Ends the handle of a broken one, without another word to it: its drop may hang.
    fn forget(self);
}

/// The indexes of a queue's directory, by number; the highest is the one in use.
pub trait Opener {
    type Index: Index;

    /// The highest number there is.
    fn newest(&mut self) -> std::io::Result<Option<u32>>;

    /// Opens an index, or creates it empty when it is not there.
    fn open(&mut self, number: u32) -> Result<Self::Index, IndexError>;

    /// Moves an index out of the way into `quarantine/`, under this name.
    fn set_aside(&mut self, number: u32, name: &str) -> std::io::Result<()>;

    /// Removes an index that was not finished.
    fn remove(&mut self, number: u32) -> std::io::Result<()>;

    /// Removes the indexes with lower numbers: this one has taken their place.
    fn remove_below(&mut self, number: u32) -> std::io::Result<()>;
}
