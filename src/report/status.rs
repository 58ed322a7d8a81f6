//! The status: what `status` shows and a monitoring system reads, as one JSON file.
//!
//! Promises: written whole or not at all (a new file renamed over the old one); holds no secret.
//! Its members only ever get more within a major version.

use std::io::Write;
use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::core::{LaneView, Mood, View};
use crate::edge::clock::Verdict;
use crate::edge::logging;
use crate::edge::made::{self, Readers};
use crate::message::{self, Code};
use crate::plain;
use crate::record::{Gap, Held, Orphan};
use crate::time::{Span, Stamp};

use crate::work::Counters;

use super::changes::Names;
use super::reconciled::Reconciled;

pub const SCHEMA: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub schema: u32,
    pub version: String,
    pub pid: u32,
    /// RFC 3339, UTC.
    pub updated: String,
    pub uptime_seconds: u64,
    /// `healthy`, `degraded` (passes by itself) or `stuck` (needs a person).
    pub state: String,
    pub integrations: Vec<Integration>,
    pub streams: Vec<Stream>,
    /// Streams of the queue that the config does not name, as they were found at the start.
    #[serde(default)]
    pub orphans: Vec<OrphanLine>,
    pub coralogix: Sink,
    pub queue: Queue,
    #[serde(default)]
    pub gaps: Gaps,
    pub disk: Disk,
    #[serde(default)]
    pub clock: Clock,
    pub last_trouble: Option<LastTrouble>,
    /// New settings that can't be used; the former ones are in force.
    #[serde(default)]
    pub settings_refused: Option<SettingsRefused>,
    /// Since when all has been healthy without a break, by the services' clock; null while it is not.
    #[serde(default)]
    pub healthy_since: Option<String>,
    /// Lines of the log that whoever reads stderr did not take.
    #[serde(default)]
    pub log_lines_lost: u64,
}

/// How this machine's clock stands to the services'.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// `unknown`, `right`, `ahead`, `behind`, or `before_build`: no service told the time yet, but it
    /// is before the program's own date.
    pub state: String,
    /// How far it is ahead; negative when behind; null unless one of these.
    pub ahead_seconds: Option<i64>,
}

impl Clock {
    fn of(verdict: Verdict) -> Clock {
        Clock { state: verdict.code().to_owned(), ahead_seconds: verdict.ahead_seconds() }
    }

    /// How it is off, if it is: "2h behind".
    pub fn off(&self) -> Option<(Code, String)> {
        let by = Span::seconds(self.ahead_seconds.unwrap_or_default().unsigned_abs());
        match self.state.as_str() {
            "ahead" => Some((message::CLOCK_OFF, format!("{by} ahead"))),
            "behind" => Some((message::CLOCK_OFF, format!("{by} behind"))),
            "before_build" => {
                let text = "before the build date of this program".to_owned();
                Some((message::CLOCK_BEFORE_BUILD, text))
            }
            _ => None,
        }
    }
}

/// What P1 allows to be skipped, and was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gaps {
    /// Noted and not closed since.
    pub count: u64,
    /// Of which no record in the queue or at Coralogix tells yet.
    pub untold: u64,
    /// The newest last.
    pub latest: Vec<GapLine>,
}

/// A position that no integration goes on from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OrphanLine {
    pub name: String,
    pub position: String,
    /// The address it was collected from, if that is known.
    pub tenant: Option<String>,
    /// What it is looked up by.
    pub code: String,
}

impl OrphanLine {
    fn of(orphan: &Orphan) -> OrphanLine {
        OrphanLine {
            name: orphan.name.to_string(),
            position: orphan.position.to_string(),
            tenant: orphan.tenant.clone(),
            code: message::STREAM_ORPHANED.to_string(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GapLine {
    pub gap: u64,
    pub stream: String,
    pub from: Option<String>,
    pub to: Option<String>,
    /// `refused`, `retention`, `purged`, `in_doubt`, `position_ahead`, `config_changed`, `unfetchable` or
    /// `damaged`.
    pub reason: String,
    /// What it is looked up by.
    #[serde(default)]
    pub code: String,
    pub text: String,
    pub records: Option<u64>,
    pub closed: bool,
    /// The record that could not be fetched, and how long the answer with it alone is at least.
    #[serde(default)]
    pub record_id: Option<String>,
    #[serde(default)]
    pub answer_bytes_min: Option<u64>,
}

impl Gaps {
    fn of(held: &Held, latest: &[Gap]) -> Gaps {
        let known = |at: Stamp| (at != Stamp::UNREADABLE).then(|| at.to_string());
        let line = |gap: &Gap| GapLine {
            gap: gap.number,
            stream: gap.stream.to_string(),
            from: known(gap.from),
            to: known(gap.to),
            reason: gap.reason.code().to_owned(),
            code: gap.reason.message().to_string(),
            text: gap.explain().into_owned(),
            records: gap.count,
            closed: gap.closed,
            record_id: gap.unread.id.map(|id| id.to_string()),
            answer_bytes_min: gap.unread.bytes_min,
        };
        let latest = latest.iter().map(line).collect();
        Gaps { count: held.gaps, untold: held.untold, latest }
    }
}

/// What the flash memory bears.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// Written by this process since its start; null where the kernel does not tell.
    pub written_bytes: Option<u64>,
    /// The same carried forward to a day, once an hour has passed.
    pub day_bytes: Option<u64>,
}

/// New settings that were refused, by the daemon at a reload or by what starts it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettingsRefused {
    pub since: String,
    /// What it is looked up by.
    pub code: String,
    pub text: String,
}

impl SettingsRefused {
    pub fn of((since, why): &(Stamp, String)) -> SettingsRefused {
        SettingsRefused {
            since: since.to_string(),
            code: message::CONFIG_KEPT.to_string(),
            text: why.clone(),
        }
    }
}

/// The last WARN or ERROR of this process's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastTrouble {
    pub at: String,
    /// `WARN` or `ERROR`.
    pub level: String,
    pub text: String,
    /// How many there were since the start.
    pub count: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Integration {
    pub name: String,
    #[serde(flatten)]
    pub lane: Lane,
    pub token_ends: Option<String>,
    pub token_days_left: Option<i64>,
    /// Where the token is read from.
    #[serde(default)]
    pub secret: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    pub name: String,
    #[serde(flatten)]
    pub lane: Lane,
    /// The stamp of the newest record collected.
    pub position: Option<String>,
    /// How far that is behind SentinelOne's clock.
    pub lag_seconds: Option<u64>,
    pub collected: u64,
    /// Records a minute, over the last five.
    pub collected_per_minute: u64,
    pub caught_up: bool,
    #[serde(default)]
    pub reconciliation: Reconciled,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sink {
    #[serde(flatten)]
    pub lane: Lane,
    pub delivered: u64,
    /// Records a minute, over the last five.
    pub delivered_per_minute: u64,
    /// Batches accepted with an answer that was not seen before.
    pub remarks: u64,
    /// The last such answer; null: there was none.
    #[serde(default)]
    pub last_remark: Option<Remark>,
    /// Records delivered whole though longer than 30,000 bytes.
    pub long_records: u64,
    /// Entries sent without `timestamp`, theirs being too old or ahead.
    pub unstamped: u64,
    /// Records collected without a stamp that can be read.
    #[serde(default)]
    pub unreadable_stamps: u64,
    /// Where the API key is read from.
    #[serde(default)]
    pub secret: String,
}

/// What Coralogix said beside a plain success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remark {
    pub at: String,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Its directory; empty from a program that did not tell it.
    #[serde(default)]
    pub dir: String,
    /// Which queue that is, wherever its directory lies; empty where it has no id.
    #[serde(default)]
    pub id: String,
    pub waiting: u64,
    pub bytes: u64,
    pub max_bytes: u64,
    pub oldest: Option<String>,
    /// How long ago that is.
    pub oldest_age_seconds: Option<u64>,
    /// Where the first record that waits is: the number of its frame, and its place in it.
    pub head_frame: u64,
    pub head_entry: u32,
    pub parked: u64,
    /// Batches of which Coralogix said that some was not taken.
    #[serde(default)]
    pub doubt: u64,
    /// `free`, `queue_full` or `disk_low`.
    pub room: String,
}

/// One lane's state for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    pub mood: String,
    /// Stable name.
    pub reason: String,
    /// What it is looked up by; null where all is well.
    #[serde(default)]
    pub code: Option<String>,
    pub text: String,
    pub detail: String,
    pub for_seconds: u64,
    pub next_in_seconds: Option<u64>,
    pub failures: u32,
}

impl Lane {
    fn of(lane: &LaneView) -> Lane {
        Lane {
            mood: lane.why.mood().name().to_owned(),
            reason: lane.why.code().to_owned(),
            code: lane.why.message().map(|code| code.to_string()),
            text: lane.why.explain().to_owned(),
            detail: lane.detail.clone(),
            for_seconds: lane.for_span.as_ms() / 1_000,
            next_in_seconds: lane.next_in.map(|span| span.as_ms() / 1_000),
            failures: lane.failures,
        }
    }
}

/// The worst mood of all lanes.
pub fn overall(view: &View) -> Mood {
    view.mood()
}

/// What the view does not hold.
pub(super) struct Beside<'a> {
    pub max_bytes: u64,
    pub wall: Stamp,
    /// Records a minute: each stream's, then the sink's.
    pub rates: Vec<u64>,
    pub disk_written_bytes: Option<u64>,
    pub trouble: Option<&'a (Stamp, logging::Trouble)>,
    pub healthy_since: Option<Stamp>,
    pub clock: Verdict,
    pub gaps: &'a [Gap],
    pub remark: Option<&'a (Stamp, String)>,
    pub refused: Option<&'a (Stamp, String)>,
    /// Its directory and its id.
    pub queue: (&'a str, &'a str),
    pub orphans: &'a [Orphan],
    pub log_lines_lost: u64,
}

impl Disk {
    fn of(written_bytes: Option<u64>, uptime: Span) -> Disk {
        let is_long = uptime >= Span::hours(1);
        let day = |bytes: u64| (u128::from(bytes) * 86_400_000 / u128::from(uptime.as_ms())) as u64;
        Disk { written_bytes, day_bytes: written_bytes.filter(|_| is_long).map(day) }
    }
}

impl Queue {
    fn of(view: &View, (dir, id): (&str, &str), max_bytes: u64, wall: Stamp) -> Queue {
        let held = &view.held;
        let room = match held.room {
            crate::record::Room::Free => "free",
            crate::record::Room::QueueFull => "queue_full",
            crate::record::Room::DiskLow => "disk_low",
        };
        Queue {
            dir: dir.to_owned(),
            id: id.to_owned(),
            waiting: held.records,
            bytes: held.bytes,
            max_bytes,
            oldest: held.oldest.map(|stamp| stamp.to_string()),
            oldest_age_seconds: held.oldest.map(|at| wall.since(at).as_ms() / 1_000),
            head_frame: held.head.seq.0,
            head_entry: held.head.skip,
            parked: held.parked,
            doubt: held.doubt,
            room: room.to_owned(),
        }
    }
}

impl Status {
    pub(super) fn of(
        view: &View,
        names: &Names,
        counters: Counters,
        beside: &Beside<'_>,
    ) -> Status {
        let Beside { max_bytes, wall, .. } = *beside;
        let integrations = view.tenants.iter().zip(&names.tenants).zip(&names.secrets).map(
            |((tenant, name), secret)| Integration {
                name: name.clone(),
                lane: Lane::of(&tenant.lane),
                token_ends: tenant.token_end.map(|end| end.to_string()),
                token_days_left: tenant.token_days_left(wall),
                secret: secret.clone(),
            },
        );
        let rates = beside.rates.iter().copied();
        let streams =
            view.streams.iter().zip(&names.streams).zip(rates).map(|((stream, name), rate)| {
                let position = stream.progress.map(|progress| progress.position);
                let now = view.tenants[stream.tenant].source_now;
                Stream {
                    name: name.clone(),
                    lane: Lane::of(&stream.lane),
                    position: position.map(|stamp| stamp.to_string()),
                    lag_seconds: position.zip(now).map(|(at, now)| now.since(at).as_ms() / 1_000),
                    collected: stream.collected,
                    collected_per_minute: rate,
                    caught_up: stream.caught_up,
                    reconciliation: Reconciled::of(&stream.reconcile),
                }
            });
        Status {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            updated: wall.to_string(),
            uptime_seconds: view.uptime.as_ms() / 1_000,
            state: overall(view).name().to_owned(),
            integrations: integrations.collect(),
            streams: streams.collect(),
            orphans: beside.orphans.iter().map(OrphanLine::of).collect(),
            coralogix: Sink {
                lane: Lane::of(&view.sink),
                delivered: view.delivered,
                delivered_per_minute: beside.rates.last().copied().unwrap_or(0),
                remarks: view.remarks,
                last_remark: beside
                    .remark
                    .map(|(at, text)| Remark { at: at.to_string(), text: text.clone() }),
                long_records: counters.long_records,
                unstamped: counters.unstamped,
                unreadable_stamps: counters.unreadable_stamps,
                secret: names.secrets.last().cloned().unwrap_or_default(),
            },
            queue: Queue::of(view, beside.queue, max_bytes, wall),
            gaps: Gaps::of(&view.held, beside.gaps),
            disk: Disk::of(beside.disk_written_bytes, view.uptime),
            clock: Clock::of(beside.clock),
            last_trouble: beside.trouble.map(|(at, trouble)| LastTrouble {
                at: at.to_string(),
                level: trouble.level.to_string(),
                text: trouble.text.clone(),
                count: trouble.count,
            }),
            settings_refused: beside.refused.map(SettingsRefused::of),
            healthy_since: beside.healthy_since.map(|at| at.to_string()),
            log_lines_lost: beside.log_lines_lost,
        }
    }

    /// What the file holds.
    pub fn text(&self) -> Vec<u8> {
        let text = serde_json::to_string_pretty(self).expect("a status is text and numbers");
        plain::text(&text).into_owned().into_bytes()
    }

    pub fn read(file: &Path) -> io::Result<Status> {
        let text = fs::read(file)?;
        serde_json::from_slice(&text).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

/// Replaces a file in one rename, so that a reader never sees half of it. Not fsynced: it lies in
/// `/run`, and after a power cut there is nothing to report.
pub(super) fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    let made = match (made::file_anew(new, Readers::Everyone), file.parent()) {
        // A service manager makes the directory; nobody does for a person at a terminal.
        (Err(why), Some(dir)) if why.kind() == io::ErrorKind::NotFound => {
            made::directory(dir, Readers::Everyone)?;
            made::file_anew(new, Readers::Everyone)
        }
        (made, _) => made,
    };
    made?.write_all(text)?;
    fs::rename(new, file)
}
