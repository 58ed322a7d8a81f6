//! Why the queue did not do what was asked, or could not be opened, each with what is to be done.

use std::{fmt, io};

use crate::errno::{Says, says};
use crate::message::{self, Code};
use crate::record::Seq;

/// Why the queue did not do what was asked. Each says what is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// `max_size`, `min_free`, or the file system itself: nothing was kept of this call; drain,
    /// and try again when `held().room` is free.
    DiskFull,
    /// There is no space to write the index, which is not to blame: `reopen`, which goes on without it if
    /// it must.
    NoSpace(String),
    /// The index or the disk failed: `reopen`.
    Broken(String),
    /// This frame can't be read: `condemn` it.
    Damaged { seq: Seq, why: String },
    /// The system could not just now; nothing was kept of this call, and nothing is damaged: try again.
    System(String),
    /// This process may not: stop, so that its files are closed, and leave all as it is.
    Denied(String),
    /// A newer version wrote it: stop, and touch nothing.
    Newer(String),
}

impl QueueError {
    /// What an error of the disk means. `medium`: what it is where that says that the medium failed.
    pub(super) fn of_disk(
        error: &io::Error,
        why: String,
        medium: impl FnOnce(String) -> QueueError,
    ) -> QueueError {
        match says(error) {
            Says::Medium => medium(why),
            Says::Denied => QueueError::Denied(why),
            Says::System | Says::Full => QueueError::System(why),
        }
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueueError::DiskFull => write!(f, "the queue has no space"),
            QueueError::Broken(why) => write!(f, "the queue's disk failed: {why}"),
            QueueError::Damaged { seq, why } => {
                write!(f, "frame {} of the queue is damaged: {why}", seq.0)
            }
            QueueError::NoSpace(why) => write!(f, "there is no space for the queue's index: {why}"),
            QueueError::System(why) | QueueError::Denied(why) | QueueError::Newer(why) => {
                write!(f, "{why}")
            }
        }
    }
}

/// Who wrote what this version can't read.
pub(super) fn wrote_newer(what: &str) -> String {
    format!("a newer version of s1-coralogix wrote {what}")
}

/// Why the queue could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Another process has the directory.
    Locked { place: String, holder: Option<u32> },
    /// The directory can't be created or written.
    Denied { place: String, why: String },
    /// The disk is full and even the reserve did not help.
    Full { place: String, why: String },
    /// The system grants no thread.
    NoThread { why: String },
    /// Neither the old index nor a new one works.
    Failed { place: String, why: String },
    /// The index was replaced too often in this process; a fresh process may do better.
    ReplacedTooOften { why: String },
    /// The system could not just now, which says nothing of the queue.
    System { place: String, why: String },
    /// A newer version wrote some of it.
    Newer { place: String, why: String },
}

impl OpenError {
    /// What it is looked up by.
    pub fn message(&self) -> Code {
        match self {
            OpenError::Locked { .. } => message::QUEUE_LOCKED,
            OpenError::Denied { .. } => message::QUEUE_DENIED,
            OpenError::Full { .. } => message::QUEUE_DISK_FULL,
            OpenError::NoThread { .. } => message::QUEUE_NO_THREAD,
            OpenError::Failed { .. } => message::QUEUE_FAILED,
            OpenError::ReplacedTooOften { .. } => message::QUEUE_GIVEN_UP,
            OpenError::System { .. } => message::QUEUE_SYSTEM,
            OpenError::Newer { .. } => message::QUEUE_NEWER,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked { place, holder } => {
                write!(f, "Failed to open the queue {place}: another s1-coralogix")?;
                if let Some(holder) = holder {
                    write!(f, " (process {holder})")?;
                }
                write!(f, " is using it. Stop that process first, or set another queue.dir.")
            }
            OpenError::Denied { place, why } => write!(
                f,
                "Failed to open the queue {place}: {why}. Let the user that runs s1-coralogix \
                 own that directory (chown), on a file system mounted for writing."
            ),
            OpenError::Full { place, why } => write!(
                f,
                "Failed to open the queue {place}: {why}. The disk is full: free about 8 MiB on \
                 that file system and start again; nothing queued is lost."
            ),
            OpenError::NoThread { why } => write!(
                f,
                "Failed to open the queue: {why}. Raise the limit on processes or threads of \
                 this user or service (ulimit -u, TasksMax) to at least 16."
            ),
            OpenError::Failed { place, why } => write!(
                f,
                "Failed to open the queue {place}: {why}. Check the disk (dmesg, smartctl); the \
                 records in log/ below that directory are kept as they are."
            ),
            OpenError::System { place, why } => write!(
                f,
                "Failed to open the queue {place}: {why}. The system refused it, and nothing was \
                 changed: allow enough descriptors and memory (ulimit -n, ulimit -v, LimitNOFILE, \
                 MemoryMax), and check that the file system is mounted and supports this \
                 operation."
            ),
            OpenError::Newer { place, why } => write!(
                f,
                "Failed to open the queue {place}: {why}. Nothing was changed: install that version \
                 again, or save the records with its `queue export`."
            ),
            OpenError::ReplacedTooOften { why } => write!(
                f,
                "Gave up on the queue's index after too many replacements: {why}. \
                 A restart may help; if not, check the disk (dmesg, smartctl)."
            ),
        }
    }
}

impl std::error::Error for QueueError {}
impl std::error::Error for OpenError {}
