//! The status: what `status` shows and a monitoring system reads, as one JSON file.
//!
//! Promises: written whole or not at all (a new file renamed over the old one); holds no secret.
//! Members are only added within a major version.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::Access;
use serde::{Deserialize, Serialize};

use crate::core::{Health, LaneView, View};
use crate::errno::called;
use crate::json;
use crate::message::{self, Code};
use crate::os::clock::Verdict;
use crate::os::logging;
use crate::os::made::{self, Readers};
use crate::os::regular;
use crate::plain;
use crate::record::{Gap, Orphan, QueueStatus};
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
    /// `healthy`, `degraded` (temporary) or `stuck` (action required).
    pub state: String,
    pub integrations: Vec<Integration>,
    pub streams: Vec<Stream>,
    /// Streams in the queue that the config does not name, as of the start.
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
    /// New settings that can't be used; the previous ones are in force.
    #[serde(default)]
    pub settings_refused: Option<SettingsRefused>,
    /// Since when everything has been healthy without interruption, by the services' clock; null
    /// while it is not.
    #[serde(default)]
    pub healthy_since: Option<String>,
    /// Lines of the log that were lost because the reader of stderr did not accept them.
    #[serde(default)]
    pub log_lines_lost: u64,
}

/// How this machine's clock compares with the services'.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// `unknown`, `right`, `ahead`, `behind`, or `before_build`: no service sent the time yet, but
    /// this clock is before the program's build date.
    pub state: String,
    /// Seconds by which it is ahead; negative when behind; null in any other state.
    pub ahead_seconds: Option<i64>,
}

impl Clock {
    fn of(verdict: Verdict) -> Clock {
        Clock { state: verdict.code().to_owned(), ahead_seconds: verdict.ahead_seconds() }
    }

    /// The message code and text of an offset, such as "2h behind"; `None`: there is none to
    /// report.
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

/// The gaps: what P1 allows to be skipped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gaps {
    /// Gaps that are not closed.
    pub count: u64,
    /// Gaps that no record reports yet, neither in the queue nor at Coralogix.
    pub untold: u64,
    /// The newest comes last.
    pub latest: Vec<GapLine>,
}

/// A position of a stream that the config does not name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OrphanLine {
    pub name: String,
    pub position: String,
    /// The address it was collected from, if that is known.
    pub tenant: Option<String>,
    /// The message code, for `explain`.
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
    /// `refused`, `retention`, `purged`, `in_doubt`, `position_ahead`, `config_changed`,
    /// `unfetchable`, `ids_full` or `damaged`.
    pub reason: String,
    /// The message code, for `explain`.
    #[serde(default)]
    pub code: String,
    pub text: String,
    pub records: Option<u64>,
    pub closed: bool,
    /// The id of the record that could not be fetched, or was parked; in the next member, the least
    /// number of bytes of an answer with it alone.
    #[serde(default)]
    pub record_id: Option<String>,
    #[serde(default)]
    pub answer_bytes_min: Option<u64>,
}

impl Gaps {
    fn of(held: &QueueStatus, latest: &[Gap]) -> Gaps {
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
        Gaps { count: held.gaps, untold: held.unreported, latest }
    }
}

/// Bytes written to disk, which wear out flash memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// By this process since its start; null where the kernel does not count.
    pub written_bytes: Option<u64>,
    /// The same extrapolated to a day, once an hour has passed.
    pub day_bytes: Option<u64>,
}

/// New settings that were refused, by the daemon at a reload or by the service's init script.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettingsRefused {
    pub since: String,
    /// The message code, for `explain`.
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
    /// How many WARN and ERROR lines there were since the start.
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
    /// Seconds from the position to the present by SentinelOne's clock.
    pub lag_seconds: Option<u64>,
    pub collected: u64,
    /// Records per minute, over the last five minutes.
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
    /// Records per minute, over the last five minutes.
    pub delivered_per_minute: u64,
    /// Batches accepted with an answer that was new.
    pub remarks: u64,
    /// The last such answer; null: there was none.
    #[serde(default)]
    pub last_remark: Option<Remark>,
    /// Records delivered whole though longer than 30,000 bytes.
    pub long_records: u64,
    /// Entries sent without `timestamp`, because theirs was too old or in the future.
    pub unstamped: u64,
    /// Records collected whose timestamp can't be parsed.
    #[serde(default)]
    pub unreadable_stamps: u64,
    /// Where the API key is read from.
    #[serde(default)]
    pub secret: String,
}

/// What Coralogix' answer said besides success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remark {
    pub at: String,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// The queue's directory; empty in a status of a version that did not write it.
    #[serde(default)]
    pub dir: String,
    /// The queue's id, which does not depend on its directory; empty where it has none.
    #[serde(default)]
    pub id: String,
    pub waiting: u64,
    pub bytes: u64,
    pub max_bytes: u64,
    pub oldest: Option<String>,
    /// The age of the oldest record that waits.
    pub oldest_age_seconds: Option<u64>,
    /// The position of the first record that waits: the number of its frame, and the index in it.
    pub head_frame: u64,
    pub head_entry: u32,
    pub parked: u64,
    /// Batches of which Coralogix said that some records were not accepted.
    #[serde(default)]
    pub doubt: u64,
    /// `free`, `queue_full` or `disk_low`.
    pub room: String,
}

/// The state of one lane, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    pub health: String,
    /// Stable name.
    pub reason: String,
    /// The message code, for `explain`; null where all is well.
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
            health: lane.reason.health().name().to_owned(),
            reason: lane.reason.code().to_owned(),
            code: lane.reason.message().map(|code| code.to_string()),
            text: lane.reason.explain().to_owned(),
            detail: lane.detail.clone(),
            for_seconds: lane.for_span.as_ms() / 1_000,
            next_in_seconds: lane.next_in.map(|span| span.as_ms() / 1_000),
            failures: lane.failures,
        }
    }
}

/// The worst health of all lanes.
pub fn overall(view: &View) -> Health {
    view.health()
}

/// What the status contains and the view does not.
pub(super) struct StatusInputs<'a> {
    pub max_bytes: u64,
    pub wall: Stamp,
    /// Records per minute: each stream's, then the sink's.
    pub rates: Vec<u64>,
    pub disk_written_bytes: Option<u64>,
    pub trouble: Option<&'a (Stamp, logging::Trouble)>,
    pub healthy_since: Option<Stamp>,
    pub clock: Verdict,
    pub gaps: &'a [Gap],
    pub remark: Option<&'a (Stamp, String)>,
    pub refused: Option<&'a (Stamp, String)>,
    /// The queue's directory and id.
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
        inputs: &StatusInputs<'_>,
    ) -> Status {
        let StatusInputs { max_bytes, wall, .. } = *inputs;
        let integrations = view.tenants.iter().zip(&names.tenants).zip(&names.secrets).map(
            |((tenant, name), secret)| Integration {
                name: name.clone(),
                lane: Lane::of(&tenant.lane),
                token_ends: tenant.token_end.map(|end| end.to_string()),
                token_days_left: tenant.token_days_left(),
                secret: secret.clone(),
            },
        );
        let rates = inputs.rates.iter().copied();
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
            orphans: inputs.orphans.iter().map(OrphanLine::of).collect(),
            coralogix: Sink {
                lane: Lane::of(&view.sink),
                delivered: view.delivered,
                delivered_per_minute: inputs.rates.last().copied().unwrap_or(0),
                remarks: view.remarks,
                last_remark: inputs
                    .remark
                    .map(|(at, text)| Remark { at: at.to_string(), text: text.clone() }),
                long_records: counters.long_records,
                unstamped: counters.unstamped,
                unreadable_stamps: counters.unreadable_stamps,
                secret: names.secrets.last().cloned().unwrap_or_default(),
            },
            queue: Queue::of(view, inputs.queue, max_bytes, wall),
            gaps: Gaps::of(&view.held, inputs.gaps),
            disk: Disk::of(inputs.disk_written_bytes, view.uptime),
            clock: Clock::of(inputs.clock),
            last_trouble: inputs.trouble.map(|(at, trouble)| LastTrouble {
                at: at.to_string(),
                level: trouble.level.to_string(),
                text: trouble.text.clone(),
                count: trouble.count,
            }),
            settings_refused: inputs.refused.map(SettingsRefused::of),
            healthy_since: inputs.healthy_since.map(|at| at.to_string()),
            log_lines_lost: inputs.log_lines_lost,
        }
    }

    /// The content of the file.
    pub fn text(&self) -> Vec<u8> {
        let text = serde_json::to_string_pretty(self).expect("a status is text and numbers");
        plain::text(&text).into_owned().into_bytes()
    }

    /// By way of the text, so that a status is written in one way only.
    pub fn value(&self) -> serde_json::Value {
        let text = serde_json::to_string_pretty(self).expect("a status is text and numbers");
        serde_json::from_slice(text.as_bytes()).expect("what was written is JSON")
    }

    /// The same with each text on one line and without harmful characters: another program may have
    /// written the file.
    pub fn plain(&self) -> Status {
        fn mend(value: &mut serde_json::Value) {
            match value {
                serde_json::Value::String(text) => *text = plain::line(text).into_owned(),
                serde_json::Value::Array(all) => all.iter_mut().for_each(mend),
                serde_json::Value::Object(all) => all.values_mut().for_each(mend),
                _ => {}
            }
        }
        let mut value = self.value();
        mend(&mut value);
        serde_json::from_value(value).expect("a text stays a text")
    }

    pub fn read(file: &Path) -> io::Result<Status> {
        let mut text = Vec::new();
        regular::open(file)?.read_to_end(&mut text)?;
        json::read(&text).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

/// The temporary name of a file that is being written.
fn new_name(file: &Path) -> PathBuf {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    new.into()
}

/// Whether `replace` would work, found without writing.
pub fn may_replace(file: &Path) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    // Only the last directory would be created: a typing error should not create a whole path.
    let written = match fs::metadata(dir) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => dir.parent().unwrap_or(dir),
        _ => dir,
    };
    let written_in = |why| called("write into", written, why);
    let found = fs::metadata(written).map_err(written_in)?;
    if !found.is_dir() {
        return Err(written_in(io::ErrorKind::NotADirectory.into()));
    }
    made::may(written, Access::WRITE_OK | Access::EXEC_OK).map_err(written_in)?;
    made::takes_files(written).map_err(written_in)?;
    if fs::symlink_metadata(dir).is_ok_and(|found| found.is_symlink()) && written != dir {
        return Err(called("create", dir, io::ErrorKind::AlreadyExists.into()));
    }
    made::may_replace(&new_name(file))?;
    made::may_replace(file)
}

/// Replaces a file in one rename, so that a reader never sees half of it. Not fsynced: it lies in
/// `/run`, and after a power cut there is nothing to report.
pub(super) fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let new = &new_name(file);
    let made = match (made::file_anew(new, Readers::Everyone), file.parent()) {
        // A service manager makes the directory; for a person at a terminal it is made here.
        (Err(why), Some(dir)) if why.kind() == io::ErrorKind::NotFound => {
            made::directory(dir, Readers::Everyone)?;
            made::file_anew(new, Readers::Everyone)
        }
        (made, _) => made,
    };
    made?.write_all(text)?;
    fs::rename(new, file)
}
