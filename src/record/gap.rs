//! Gaps: what may be missing in Coralogix, written down.
//!
//! Holds values only. Never: IO, or a decision that something may be skipped.

use std::borrow::Cow;
use std::fmt;

use super::{QueuePosition, StreamName};
use crate::message::{self, Code};
use crate::time::Stamp;

/// Why records may be missing in Coralogix. The number is on disk; never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum GapReason {
    /// Coralogix refused the record; it lies in `parked/` until a person decides.
    Refused = 1,
    /// By the time SentinelOne could be asked, it held nothing as old any more.
    Retention = 2,
    /// A person threw parked records away.
    Purged = 3,
    /// Coralogix answered 2xx and said that some of the batch was not taken, and not what.
    InDoubt = 4,
    /// The stream stood ahead of SentinelOne's clock, and nobody knows since when.
    PositionAhead = 5,
    /// Under another name, or for another tenant, the stream begins later than it was collected to.
    ConfigChanged = 6,
    /// SentinelOne can't give the record, or gives it in no form that can be read.
    Unfetchable = 7,
    /// The queue's disk damaged records that waited, and SentinelOne is asked for them again.
    Damaged = 8,
    /// More records move no position than are remembered, and those beyond were left out.
    IdsFull = 9,
}

impl GapReason {
    pub const ALL: [GapReason; 9] = [
        GapReason::Refused,
        GapReason::Retention,
        GapReason::Purged,
        GapReason::InDoubt,
        GapReason::PositionAhead,
        GapReason::ConfigChanged,
        GapReason::Unfetchable,
        GapReason::Damaged,
        GapReason::IdsFull,
    ];

    /// The stable name in status and records.
    pub fn code(self) -> &'static str {
        match self {
            GapReason::Refused => "refused",
            GapReason::Retention => "retention",
            GapReason::Purged => "purged",
            GapReason::InDoubt => "in_doubt",
            GapReason::PositionAhead => "position_ahead",
            GapReason::ConfigChanged => "config_changed",
            GapReason::Unfetchable => "unfetchable",
            GapReason::Damaged => "damaged",
            GapReason::IdsFull => "ids_full",
        }
    }

    /// What it is looked up by.
    pub fn message(self) -> Code {
        match self {
            GapReason::Refused => message::PARKED,
            GapReason::Retention => message::GAP_RETENTION,
            GapReason::Purged => message::GAP_PURGED,
            GapReason::InDoubt => message::GAP_IN_DOUBT,
            GapReason::PositionAhead => message::GAP_POSITION,
            GapReason::ConfigChanged => message::GAP_CONFIG_CHANGED,
            GapReason::Unfetchable => message::GAP_UNFETCHABLE,
            GapReason::Damaged => message::GAP_DAMAGED,
            GapReason::IdsFull => message::IDS_FULL,
        }
    }

    pub fn explain(self) -> &'static str {
        match self {
            GapReason::Refused => {
                "Coralogix did not accept the record; it is kept in parked/ of the queue's \
                 directory"
            }
            GapReason::Retention => {
                "SentinelOne has nothing of this time any more; it may have had records that were \
                 not collected before it deleted them"
            }
            GapReason::Purged => "an operator dropped records that were parked or in doubt",
            GapReason::InDoubt => {
                "Coralogix did not accept some records of the batch, or may have dropped some for their \
                 timestamps, and it is not known which; it is kept in doubt/ of the queue's directory"
            }
            GapReason::PositionAhead => {
                "the position of the stream was ahead of SentinelOne's clock; records created \
                 before may not have been collected"
            }
            GapReason::ConfigChanged => {
                "after a change of the config the stream starts later than it was collected to; \
                 the time in between was not collected"
            }
            GapReason::Unfetchable => {
                "requests for a record of this time failed repeatedly, or SentinelOne counts one that \
                 it does not list, while the records after it arrived and were collected"
            }
            GapReason::Damaged => {
                "records that waited in the queue were damaged on its disk; SentinelOne is asked for \
                 them again, and what it has changed or deleted since can't be restored"
            }
            GapReason::IdsFull => {
                "more records had a time in the future or none that can be read than can be \
                 remembered; others may not have been collected"
            }
        }
    }
}

/// What P1 allows to be skipped, written down: a range of a stream that may lack records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Grows by one a gap, for ever, in one queue.
    pub number: u64,
    pub stream: StreamName,
    /// The oldest stamp that may be missing.
    pub from: Stamp,
    /// The end: the newest stamp of parked records, else the first stamp that is there again.
    pub to: Stamp,
    pub reason: GapReason,
    /// How many records are missing, where that is known.
    pub count: Option<u64>,
    /// The record that was parked, or the batch in doubt: what its file is named after.
    pub parked: Option<QueuePosition>,
    /// Whether the records were put back into the queue, or came after all.
    pub closed: bool,
    /// The row that could not be fetched, or the record that is parked.
    pub unread: Unread,
}

/// What is known of a row that can't be fetched, or of a record that is parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Where so much of it came.
    pub id: Option<u64>,
    /// The answer with it alone has at least so many bytes.
    pub bytes_min: Option<u64>,
}

impl Unread {
    pub fn or(self, other: Unread) -> Unread {
        Unread { id: self.id.or(other.id), bytes_min: self.bytes_min.or(other.bytes_min) }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "the record's id is {id}")?,
            None => {
                f.write_str("the record's id is not known, because no readable part of it arrived")?
            }
        }
        match self.bytes_min {
            Some(bytes) => write!(
                f,
                "; the response with this record alone has at least {bytes} \
                bytes"
            ),
            None => Ok(()),
        }
    }
}

impl Gap {
    /// A range that may lack records, nobody knows how many. The gap log gives it its number.
    pub fn open(stream: &StreamName, from: Stamp, to: Stamp, reason: GapReason) -> Gap {
        let (stream, count, parked) = (stream.clone(), None, None);
        let unread = Unread::default();
        Gap { number: 0, stream, from, to, reason, count, parked, closed: false, unread }
    }

    /// What became of the records of a gap that is closed.
    pub fn outcome(&self) -> Option<&'static str> {
        let outcome = match self.reason {
            GapReason::ConfigChanged => "the stream was set back to before it",
            GapReason::Damaged if self.count.is_some() => {
                "SentinelOne returned all of them again, this many of them only in a newer version"
            }
            GapReason::Damaged => "SentinelOne returned all of them again",
            GapReason::InDoubt => "the records were put back into the queue, or accepted since",
            GapReason::Refused
            | GapReason::Retention
            | GapReason::Purged
            | GapReason::PositionAhead
            | GapReason::IdsFull => "the record was put back into the queue",
            GapReason::Unfetchable => "SentinelOne returned the record later, and it was collected",
        };
        self.closed.then_some(outcome)
    }

    /// Why there is one.
    pub fn explain(&self) -> Cow<'static, str> {
        match (self.reason, self.parked) {
            (GapReason::InDoubt, None) => {
                "Coralogix did not accept some records of the batch, or may have dropped some for their \
                 timestamps, and it is not known which; its copy in doubt/ was discarded for newer ones"
                    .into()
            }
            (GapReason::Unfetchable, _) => {
                format!("{}; {}", self.reason.explain(), self.unread).into()
            }
            (reason, _) => match self.unread.id {
                Some(id) => format!("{}; the record's id is {id}", reason.explain()).into(),
                None => reason.explain().into(),
            },
        }
    }
}
