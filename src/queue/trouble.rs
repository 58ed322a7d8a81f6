//! Why a call of the queue failed, or the queue could not be opened, and what has to be done for
//! each.

use std::{fmt, io};

use crate::errno::{Says, says};
use crate::frame::FrameError;
use crate::message::{self, Code};
use crate::problem::Problem;
use crate::record::Seq;

/// Why a call of the queue failed, and what has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// `max_size`, `min_free`, or the file system itself: nothing of this call was stored; deliver,
    /// and try again when `held().room` is free.
    DiskFull,
    /// There is no space to write the index, which is not broken: `reopen`, which goes on without
    /// it if needed.
    NoSpace(String),
    /// The index or the disk failed: `reopen`.
    Broken(String),
    /// This frame can't be read: `quarantine` it.
    Damaged { seq: Seq, why: String },
    /// The system refused a call now; nothing of this call was stored, and nothing is damaged: try
    /// again.
    System(String),
    /// This process has no right to do it: stop, so that its files are closed, and change nothing.
    Denied(String),
    /// A newer version wrote it: stop, and change nothing.
    Newer(String),
}

impl QueueError {
    /// What an error of the disk means. `medium`: the error to return if the medium itself failed.
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

/// What an error of the disk means for a file outside the log, on which `done` was tried: the index
/// is not affected, so nothing is repaired for it, and the call is made again later.
pub(super) fn beside(path: &str, done: &str, error: &io::Error) -> QueueError {
    let why = format!("{path} could not be {done}: {error}");
    QueueError::of_disk(error, why, QueueError::System)
}

/// The same for a file that is read: bytes that the medium does not return count as damaged.
pub(super) fn unread(path: &str, seq: Seq, error: &io::Error) -> QueueError {
    let why = format!("{path} could not be read: {error}");
    QueueError::of_disk(error, why, |why| QueueError::Damaged { seq, why })
}

/// What it means if the bytes of such a file are no frame of this version.
pub(super) fn unusable(path: &str, seq: Seq, bad: FrameError) -> QueueError {
    match bad {
        FrameError::Newer => QueueError::Newer(wrote_newer(path)),
        bad => QueueError::Damaged { seq, why: format!("{path}: {}", bad.explain()) },
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

/// The text that names what a newer version wrote.
pub(super) fn wrote_newer(what: &str) -> String {
    format!("a newer version of s1-coralogix wrote {what}")
}

/// Why the queue could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Another process has locked the directory.
    Locked { place: String, holder: Option<u32> },
    /// The directory can't be created, or something in it can't be used. `remedy`: if it is another
    /// than to own the directory.
    Denied { place: String, why: String, remedy: Option<String> },
    /// The disk is full, even without the reserve.
    Full { place: String, why: String },
    /// The system refuses a thread.
    NoThread { why: String },
    /// Neither the old index nor a new one works.
    Failed { place: String, why: String },
    /// The index was replaced too often in this process; a new process may have more success.
    ReplacedTooOften { why: String },
    /// The system refused a call now; the state of the queue is unknown.
    System { place: String, why: String },
    /// A newer version wrote a part of it.
    Newer { place: String, why: String },
}

impl OpenError {
    /// The message code, for `explain`.
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

    /// The same with this remedy, where it would be to own the directory.
    pub fn with_remedy(self, better: Option<String>) -> OpenError {
        match (self, better) {
            (OpenError::Denied { place, why, remedy: None }, remedy) => {
                OpenError::Denied { place, why, remedy }
            }
            (other, _) => other,
        }
    }

    pub fn problem(&self) -> Problem {
        let failed = |place: &str, why: &str| format!("Failed to open the queue {place}: {why}");
        match self {
            OpenError::Locked { place, holder } => {
                let holder = holder.map_or_else(String::new, |id| format!(" (process {id})"));
                Problem::new(
                    failed(place, &format!("another s1-coralogix{holder} is using it")),
                    "Stop that process first, or set another queue.dir",
                )
            }
            OpenError::Denied { place, why, remedy: Some(remedy) } => {
                Problem::new(failed(place, why), remedy)
            }
            OpenError::Denied { place, why, remedy: None } => Problem::new(
                failed(place, why),
                format!(
                    "Let the user that runs s1-coralogix (uid {0}) own that directory and all in \
                     it (chown -R {0} {place}), on a file system mounted for writing",
                    rustix::process::geteuid().as_raw()
                ),
            ),
            OpenError::Full { place, why } => Problem::new(
                failed(place, why),
                "The disk is full: free about 8 MiB on that file system and start again; nothing \
                 queued is lost",
            ),
            OpenError::NoThread { why } => Problem::new(
                format!("Failed to open the queue: {why}"),
                "Raise the limit on processes or threads of this user or service (ulimit -u, \
                 TasksMax) to at least 16",
            ),
            OpenError::Failed { place, why } => Problem::new(
                failed(place, why),
                "Check the disk (dmesg, smartctl); the records in log/ below that directory are \
                 kept as they are",
            ),
            OpenError::System { place, why } => Problem::new(
                failed(place, why),
                "The system refused it, and nothing was changed: allow enough descriptors and \
                 memory (ulimit -n, ulimit -v, LimitNOFILE, MemoryMax), and check that the file \
                 system is mounted and supports this operation",
            ),
            OpenError::Newer { place, why } => Problem::new(
                failed(place, why),
                "Nothing was changed: install that version again, or save the records with its \
                 `queue export`",
            ),
            OpenError::ReplacedTooOften { why } => Problem::new(
                format!("Gave up on the queue's index after too many replacements: {why}"),
                "A restart may help; if not, check the disk (dmesg, smartctl)",
            ),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.problem())
    }
}

impl std::error::Error for QueueError {}
impl std::error::Error for OpenError {}
