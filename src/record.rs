//! The words all floors share: streams, records, places in the queue, troubles and verdicts.
//!
//! Holds values only. Never: IO, JSON, or anything that can fail.

mod gap;
mod learned;
mod net;

use std::fmt;

pub use gap::{Gap, GapReason, Unread};
pub use learned::{Learned, Lone, RowPlace, SinkLearned, StreamLearned, Way};
pub use net::{Bound, Excess, Late, NetTrouble};

use serde::{Deserialize, Serialize};

use crate::time::{Span, Stamp};

/// Which of SentinelOne's lists is polled. The number is on disk; never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    Threats = 1,
    Activities = 2,
    Alerts = 3,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Threats, Kind::Activities, Kind::Alerts];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Threats => "threats",
            Kind::Activities => "activities",
            Kind::Alerts => "alerts",
        }
    }

    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The member of a record by which the stream is polled.
    pub fn stamp_name(self) -> &'static str {
        match self {
            Kind::Threats => "threatInfo.updatedAt",
            Kind::Activities => "createdAt",
            Kind::Alerts => "alertInfo.reportedAt",
        }
    }

    /// The permission as the console's role editor names it.
    pub fn permission(self) -> &'static str {
        match self {
            Kind::Threats => "Endpoint Threats: View",
            Kind::Activities => "Activity: View",
            Kind::Alerts => "Custom Alerts: View",
        }
    }
}

/// What the records of a frame are: those of a list that is polled, or the collector's own words,
/// which nobody can be asked for again. The code is on disk; never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    Polled(Kind),
    /// What the collector says itself: a gap, a heartbeat.
    Collector,
}

impl Category {
    const COLLECTOR_CODE: u8 = 4;

    /// The `category` of an entry, and the last part of a stream's name.
    pub fn name(self) -> &'static str {
        match self {
            Category::Polled(kind) => kind.name(),
            Category::Collector => "collector",
        }
    }

    pub fn code(self) -> u8 {
        match self {
            Category::Polled(kind) => kind as u8,
            Category::Collector => Category::COLLECTOR_CODE,
        }
    }

    pub fn from_code(code: u8) -> Option<Category> {
        if code == Category::COLLECTOR_CODE {
            return Some(Category::Collector);
        }
        Kind::ALL.into_iter().find(|kind| *kind as u8 == code).map(Category::Polled)
    }
}

impl From<Kind> for Category {
    fn from(kind: Kind) -> Category {
        Category::Polled(kind)
    }
}

/// A stream's name on disk and for people: `acme/threats`. It outlives any order in the config.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName {
    pub integration: String,
    pub category: Category,
}

impl StreamName {
    pub fn polled(integration: impl Into<String>, kind: Kind) -> StreamName {
        StreamName { integration: integration.into(), category: kind.into() }
    }

    /// Where the collector's own words about an integration go.
    pub fn collector(integration: impl Into<String>) -> StreamName {
        StreamName { integration: integration.into(), category: Category::Collector }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.integration, self.category.name())
    }
}

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
pub struct Place {
    pub seq: Seq,
    pub skip: u32,
}

/// As the files in `parked/` are named.
impl fmt::Display for Place {
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
pub struct StreamHeld {
    pub progress: Option<Progress>,
    /// The records at or after `from` that are already in the queue or delivered.
    pub known: Vec<RowKey>,
    /// When SentinelOne's count was last compared, by its own clock.
    pub compared: Option<Stamp>,
    /// Why it must not be polled before a person has decided.
    pub hold: Option<Hold>,
}

/// Why a stream must not be polled, whatever its lane says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Its position was collected from another address than the config names now: it may be another
    /// tenant, for which the position means nothing.
    TenantChanged { was: String, now: String },
}

/// A stream that the queue has a position of and the config does not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    pub name: StreamName,
    pub position: Stamp,
    /// The address it was collected from, if that is known.
    pub tenant: Option<String>,
}

impl Orphan {
    /// What to do about it, without a stop at the end. `is_configured`: the config has an integration of
    /// this name, without this stream.
    pub fn remedy(&self, is_configured: bool) -> String {
        let StreamName { integration, category } = &self.name;
        match is_configured {
            true => {
                format!("Put {:?} back into its streams to continue from there", category.name())
            }
            false => format!(
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
pub struct Held {
    pub records: u64,
    /// On disk, all of the queue's files.
    pub bytes: u64,
    /// The place of the next entry to deliver.
    pub head: Place,
    /// The stamp of the oldest frame waiting.
    pub oldest: Option<Stamp>,
    pub parked: u64,
    /// Batches in `doubt/`.
    pub doubt: u64,
    /// Gaps that were noted and not closed since.
    pub gaps: u64,
    /// Gaps that no record in the queue tells of yet.
    pub untold: u64,
    /// Whether a heartbeat waits to be delivered; there is never more than one.
    pub heartbeat_waits: bool,
    pub room: Room,
}

/// What the queue holds and where each configured stream stands, in the order of the config.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    pub held: Held,
    pub streams: Vec<StreamHeld>,
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
}

/// What one request carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub first: Place,
    pub end: Place,
    pub entries: u32,
    /// How many of the entries are the collector's own words.
    pub own: u32,
    pub raw_bytes: u64,
}

/// An HTTP answer, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub date: Option<String>,
    pub retry_after: Option<String>,
    pub content_type: Option<String>,
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
    /// 429, or 503 with Retry-After: come back later, no sooner than told.
    Busy { retry_after: Option<Span> },
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
    /// 413: the batch is halved; a single record is parked.
    TooLarge(String),
    /// 400 and other refusals of the content: halved; a single record is parked.
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
    /// 3xx, 404, 405, or a 2xx that can't be Coralogix': the address is wrong, or something in between
    /// answers. Kept, tried again at the longest backoff, unless an empty array shows that the content
    /// is meant.
    Misdirected(String),
    /// No answer at all. The batch may have been accepted (P2).
    Unreachable(NetTrouble),
}

impl SinkVerdict {
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
    /// As many as are ever told, which stands for any higher number too.
    Capped,
    /// None was told, or one that can't be.
    Untold,
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
pub enum Credential {
    /// The API token of this tenant.
    Token(usize),
    /// Coralogix's Send-Your-Data key.
    Key,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files outlive the program: a code never means anything else.
    #[test]
    fn a_category_is_read_by_its_code_and_the_collectors_is_no_list_to_poll() {
        let known: Vec<(u8, &str)> = (0..=u8::MAX)
            .filter_map(|code| Some((code, Category::from_code(code)?)))
            .inspect(|(code, category)| assert_eq!(category.code(), *code))
            .map(|(code, category)| (code, category.name()))
            .collect();
        assert_eq!(known, [(1, "threats"), (2, "activities"), (3, "alerts"), (4, "collector")]);
        assert_eq!(Kind::from_name("collector"), None);
        assert_eq!(StreamName::collector("acme").to_string(), "acme/collector");
    }
}
