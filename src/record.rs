//! The words all floors share: streams, records, places in the queue, troubles and verdicts.
//!
//! Holds values only. Never: IO, JSON, or anything that can fail.

mod covered;
mod gap;
mod learned;
mod net;
mod stream;

use std::fmt;

pub use covered::Covered;
pub use gap::{Gap, GapReason, Unread};
pub use learned::{Bears, Kills, Learned, Lone, RowPlace, SinkLearned, StreamLearned, Way};
pub use net::{Bound, Excess, Late, NetTrouble};
pub use stream::{Category, Kind, StreamName};

use serde::{Deserialize, Serialize};

use crate::time::{Span, Stamp};

/// What tells one version of a record from every other in its stream: its position stamp and its
/// id. For threats the stamp is `updatedAt`, so each change is a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    pub stamp: Stamp,
    pub id: u64,
}

/// SentinelOne's opaque page cursor. Never stored, never looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

/// A frame's number. Grows by one a frame, for ever, across streams.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// A place between two entries of the queue: before entry `skip` of frame `seq`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct QueuePosition {
    pub seq: Seq,
    pub skip: u32,
}

impl QueuePosition {
    /// With this as the head: how many entries of a frame that is in the queue are delivered. Only
    /// the head's own frame has any.
    pub fn skip_in(self, seq: Seq) -> u32 {
        if seq == self.seq { self.skip } else { 0 }
    }
}

/// As the files in `parked/` are named.
impl fmt::Display for QueuePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.seq.0, self.skip)
    }
}

/// How far a stream has come; committed together with the records it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The highest stamp taken into the queue.
    pub position: Stamp,
    /// Where the next walk starts: everything before it is settled.
    pub from: Stamp,
}

/// What a stream finds of itself when the queue is opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamStatus {
    pub progress: Option<Progress>,
    /// The records at or after `from` that are already in the queue or delivered.
    pub known: Vec<RowKey>,
    /// Where everything is in the queue or delivered, without its ids being known.
    pub covered: Covered,
    /// When SentinelOne's count was last compared, by its own clock.
    pub compared: Option<Stamp>,
    /// Why it must not be polled before a person has decided.
    pub hold: Option<Hold>,
}

/// Why a stream must not be polled, whatever its lane says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Its position was collected from another address than the config names now: it may be another
    /// tenant, for which the position means nothing. `other`: the integration that the config has at
    /// the earlier address, so that the names were swapped.
    TenantChanged { was: String, now: String, other: Option<String> },
}

impl Hold {
    /// Both addresses, and what to do.
    pub fn explain(&self) -> String {
        let Hold::TenantChanged { was, now, other } = self;
        let remedy = match other {
            Some(other) => format!(
                "{was} is the address of {other} in the config: give each integration its former \
                 name back"
            ),
            None => "confirm it with `queue adopt`".to_owned(),
        };
        format!("collected from {was}, now {now}; {remedy}")
    }
}

/// A stream that the queue has a position of and the config does not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    pub name: StreamName,
    pub position: Stamp,
    /// The address it was collected from, if that is known.
    pub tenant: Option<String>,
}

/// What the config says of the integration of an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mention<'a> {
    Nothing,
    /// It is there, without this stream.
    Name,
    /// It is `name_was` of this integration, which could not be followed.
    NameWas(&'a str),
}

impl<'a> Mention<'a> {
    /// `integrations`: the name of each in the config, and its `name_was`.
    pub fn of(
        integration: &str,
        integrations: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Mention<'a> {
        let mut found = Mention::Nothing;
        for (name, was) in integrations {
            if name == integration {
                return Mention::Name;
            }
            if was == Some(integration) && found == Mention::Nothing {
                found = Mention::NameWas(name);
            }
        }
        found
    }
}

impl Orphan {
    /// What to do about it, without a stop at the end.
    pub fn remedy(&self, mention: Mention<'_>) -> String {
        let StreamName { integration, category } = &self.name;
        match mention {
            Mention::Name => {
                format!("Put {:?} back into its streams to continue from there", category.name())
            }
            Mention::NameWas(new) => format!(
                "name_was of {new} is not followed, because both have positions, of two addresses. If \
                 they are one tenant, stop the daemon and run s1-coralogix queue adopt {integration} \
                 {new}; otherwise remove name_was. To discard the position: s1-coralogix queue adopt \
                 {integration} --begin-anew"
            ),
            Mention::Nothing => format!(
                "If {integration} was renamed, write name_was = {integration:?} into the new \
                 [[integration]]; to discard it, stop the daemon and run s1-coralogix queue adopt \
                 {integration} --begin-anew"
            ),
        }
    }
}

/// Whether the queue may grow (P4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    #[default]
    Free,
    /// `queue.max_size` is reached.
    QueueFull,
    /// The file system has less than `queue.min_free` left, or said that it is full.
    DiskLow,
}

/// What the queue holds. Counters, never a scan (P5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStatus {
    pub records: u64,
    /// On disk, all of the queue's files.
    pub bytes: u64,
    /// The place of the next entry to deliver.
    pub head: QueuePosition,
    /// The stamp of the oldest frame waiting.
    pub oldest: Option<Stamp>,
    pub parked: u64,
    /// Batches in `doubt/`.
    pub doubt: u64,
    /// Gaps that were noted and not closed since.
    pub gaps: u64,
    /// Gaps that no record in the queue tells of yet.
    pub unreported: u64,
    /// Whether a heartbeat waits to be delivered; there is never more than one.
    pub heartbeat_waits: bool,
    pub room: Room,
}

/// What the queue holds and where each configured stream stands, in the order of the config.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    pub held: QueueStatus,
    pub streams: Vec<StreamStatus>,
    /// What earlier processes learned of the other sides.
    pub learned: Learned,
    /// Starts in a row before this one that ended before they had settled.
    pub unsettled: u32,
}

/// How much to take from the queue for one request. One entry is always taken, however long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    pub entries_max: u32,
    pub raw_bytes_max: u64,
    /// The next entry that was accepted ahead of its turn: nothing from it on is taken, and it is
    /// taken alone if it is the first.
    pub until: Option<QueuePosition>,
}

/// A request for one record behind the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// At least so many records after the head.
    pub behind: u32,
    /// Those that were sent ahead of their turn already.
    pub sent: Vec<QueuePosition>,
    /// Others of its stream may wait before it.
    pub is_far: bool,
}

/// What one request carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub first: QueuePosition,
    pub end: QueuePosition,
    pub entries: u32,
    /// How many of the entries are the collector's own words.
    pub own: u32,
    pub raw_bytes: u64,
}

/// An HTTP answer, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The time that its `Date` says, whether it can be right or not; see `answer::date`.
    pub sent_date: Option<Stamp>,
    /// How long it asks to be left alone.
    pub retry_after: Option<Span>,
    pub content_type: Option<String>,
    /// For how long a cache has had it; `None`: none says that it had.
    pub age: Option<Span>,
    /// Where a redirect leads; told to people, never followed.
    pub location: Option<String>,
    pub body: Vec<u8>,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The credential itself. Only the console's own API can say so.
    Token,
    /// A permission that the credential's role lacks.
    Permission,
    /// A product or level that the credential's scope does not have; no role helps.
    Scope,
    /// This machine: an IP allow list, WAF, proxy or block page answers in the service's place.
    Address,
}

/// A refusal (401, 403, 451) with the service's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub what: Refused,
    pub words: String,
}

impl Refusal {
    /// What it means where the token is known to be good: a 401 is about a permission then.
    pub fn beside_a_good_token(self) -> Refusal {
        match self.what {
            Refused::Token => Refusal { what: Refused::Permission, ..self },
            _ => self,
        }
    }
}

/// What an answer of SentinelOne without a page asks for. Each variant says what will be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceTrouble {
    /// 429, or 5xx with Retry-After: retry no earlier than it says. One after the other, the page's size or
    /// one row may be to blame all the same.
    Busy { retry_after: Option<Span>, why: String },
    /// 401 of the API: the token may be dead, or only lack a permission. `GET /system/info` tells.
    TokenDoubted(String),
    /// 401 of the API on `/system/info` too: the tenant's streams hold until the token changes.
    TokenRefused(String),
    /// 403, 451, a 401 that is not the API's, or one that `/system/info` does not confirm: this
    /// stream holds, others go on.
    Forbidden(Refusal),
    /// 400: when a cursor was sent, the walk goes on by time; else the stream rests long.
    QueryRefused(String),
    /// A redirect or 404: the tenant's address is wrong; rests long.
    Misdirected(String),
    /// 5xx, HTML, cut or unreadable JSON: the same page is asked for again.
    BrokenAnswer(String),
    /// It came whole and is no page that can be read: the same page is asked for again.
    BrokenPage { why: String, unread: Unread },
    /// Longer than the bound: the same page is asked for with fewer rows.
    TooLong(Unread),
    /// No answer at all.
    Unreachable(NetTrouble),
}

impl SourceTrouble {
    #[cfg(test)]
    pub fn busy(retry_after: Option<Span>) -> SourceTrouble {
        SourceTrouble::Busy { retry_after, why: "HTTP 429".to_owned() }
    }

    /// Whether a smaller page may end otherwise.
    pub fn may_be_of_size(&self) -> bool {
        match self {
            SourceTrouble::TooLong(_)
            | SourceTrouble::BrokenPage { .. }
            | SourceTrouble::BrokenAnswer(_) => true,
            SourceTrouble::Unreachable(net) => net.is_of_an_exchange(),
            _ => false,
        }
    }

    /// What something between this machine and SentinelOne said that may have refused the machine or the
    /// address, or only what was asked for or came.
    pub fn words_of_between(&self) -> Option<&str> {
        match self {
            SourceTrouble::Forbidden(Refusal { what: Refused::Address, words })
            | SourceTrouble::Misdirected(words) => Some(words),
            _ => None,
        }
    }

    /// What is known of the row, if one was asked for.
    pub fn unread(&self) -> Unread {
        match self {
            SourceTrouble::TooLong(unread) | SourceTrouble::BrokenPage { unread, .. } => *unread,
            _ => Unread::default(),
        }
    }
}

/// What Coralogix's answer to a batch asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkVerdict {
    /// 200, 201, 202 or 204, by whoever can be Coralogix. The only one that deletes. A body that was
    /// not seen before is logged and counted.
    Accepted { remark: Option<String> },
    /// The same, with words that some of the batch was not taken: it is set aside and not sent again
    /// by itself, a gap is noted, and what follows is sent ever more slowly.
    InDoubt { words: String, count: Option<u64> },
    /// 413: the batch is halved; a single record is parked once an empty array was taken.
    TooLarge(String),
    /// 400 and other refusals of the content: halved; a single record is parked once an empty array
    /// was taken.
    Malformed(String),
    /// 401, 403: an empty array tells whether the key or the content is meant. The key: everything is
    /// kept, probed slowly until it changes. The content: halved; a single record is parked.
    KeyRefused(String),
    /// 403 with a web page: something in between refuses the content or this machine.
    Blocked(String),
    /// 429, and whatever names a time to come back at: kept, tried again with backoff.
    Busy { retry_after: Option<Span>, why: String },
    /// 408 and 5xx: kept, tried again with backoff. The size or the content may be to blame.
    Failed(String),
    /// 3xx, 404, 405, a web page with another 4xx, or a 2xx that can't be Coralogix': the address is
    /// wrong, or something in between answers. Kept, tried again at the longest backoff, unless an
    /// empty array shows that the content is meant.
    Misdirected(String),
    /// No answer at all. The batch may have been accepted (P2).
    Unreachable(NetTrouble),
}

impl SinkVerdict {
    /// Whether it is a rejection like that of a bad key.
    pub fn is_of_the_key(&self) -> bool {
        matches!(self, SinkVerdict::KeyRefused(_) | SinkVerdict::Blocked(_))
    }

    /// Whether it rejects the content in so many words.
    pub fn is_of_the_content(&self) -> bool {
        matches!(self, SinkVerdict::TooLarge(_) | SinkVerdict::Malformed(_))
    }

    /// What was answered, for people.
    pub fn words(&self) -> String {
        match self {
            SinkVerdict::Accepted { remark } => remark.clone().unwrap_or_default(),
            SinkVerdict::InDoubt { words, .. } => words.clone(),
            SinkVerdict::Busy { why, .. } => why.clone(),
            SinkVerdict::TooLarge(why)
            | SinkVerdict::Malformed(why)
            | SinkVerdict::KeyRefused(why)
            | SinkVerdict::Blocked(why)
            | SinkVerdict::Failed(why)
            | SinkVerdict::Misdirected(why) => why.clone(),
            SinkVerdict::Unreachable(net) => net.to_string(),
        }
    }
}

/// What an empty array, which delivers nothing, told of the key after a batch was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyTrial {
    /// It is taken and a made-up one is not: the content was refused.
    Good,
    /// An empty array is refused as the batch was: the key, or this machine.
    Refused(SinkVerdict),
    /// An empty array is taken with any key, so that it tells nothing.
    Unchecked,
    /// An empty array is refused for its content with any key. Where a record gets the same answer,
    /// nothing shows that anything is taken.
    Unproven(SinkVerdict),
    /// It could not be found out.
    Failed(SinkVerdict),
}

/// Which key an empty array is posted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialKey {
    Own,
    /// One of the same shape that nobody issued.
    MadeUp,
}

/// How many records SentinelOne says that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    Is(u64),
    /// As many as are ever sent, which stands for any higher number too.
    Capped,
    /// None was sent, or one that can't be.
    Unknown,
}

/// Where a stream begins that has no progress yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// This long before SentinelOne's own clock at first contact.
    Ago(Span),
    At(Stamp),
    /// SentinelOne's own clock at first contact.
    Now,
}

/// When a page is written to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// Every page is stored before it is sent.
    Always,
    /// With an empty queue a page is sent from memory first, and stored only if that fails.
    OnFailure,
}

/// A secret that may change while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialId {
    /// The API token of this tenant.
    Token(usize),
    /// Coralogix's Send-Your-Data key.
    Key,
}
