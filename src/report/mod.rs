//! What people read: log lines when something changes, and the status file.
//!
//! Promises: reports a change once (P10), never a secret (P7); a file that can't be written delays
//! nothing. Never: decides anything.

mod changes;
mod clock;
pub mod metrics;
mod rate;
mod reconciled;
mod sheet;
mod status;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use changes::{Changes, Names, token_end_code};
use sheet::{Sheet, Turn};
pub use status::{
    Clock, Disk, GapLine, Gaps, Integration, Lane, LastTrouble, OrphanLine, Queue, Remark,
    SettingsRefused, Sink, Status, Stream, may_replace, overall,
};

use crate::core::{Core, Health, Reason, View};
use crate::limits;
use crate::message::{self, Code, log_message};
use crate::os::clock::Verdict;
use crate::os::{host, logging, stderr};
use crate::record::{Gap, Orphan, QueueStatus};
use crate::time::{Mono, Span, Stamp};
use crate::work::Counters;

/// The status file is rewritten at most this often.
const STATUS_EVERY: Span = Span::seconds(1);
/// ... and at least this often, so that a reader sees that the daemon lives.
const STATUS_AT_LEAST: Span = Span::seconds(limits::STATUS_SECONDS_MAX);

/// Metrics are rewritten at most this often: scraping is rarely more frequent; the default is a
/// minute.
const METRICS_EVERY: Span = Span::seconds(15);

/// How long a step waits for a file to be written.
const ANSWER_IN: Duration = Duration::from_millis(limits::REPORT_ANSWER_MS);
/// ... and the end of the process.
const LAST_ANSWER_IN: Duration = Duration::from_millis(limits::REPORT_LAST_ANSWER_MS);

/// The status and metrics files. They outlive a `Report`, because a write may hang.
pub struct Files {
    status: Sheet,
    metrics: Option<Sheet>,
}

impl Files {
    pub fn new(status: PathBuf, metrics: Option<PathBuf>) -> Files {
        Files { status: Sheet::new(status), metrics: metrics.map(Sheet::new) }
    }

    /// The same files under the paths of a new config.
    pub fn moved_to(self, status: PathBuf, metrics: Option<PathBuf>) -> Files {
        let mut old: Vec<Sheet> = [self.status].into_iter().chain(self.metrics).collect();
        let mut at = |file: PathBuf| match old.iter().position(|sheet| sheet.file() == file) {
            Some(place) => old.swap_remove(place),
            None => Sheet::new(file),
        };
        Files { status: at(status), metrics: metrics.map(at) }
    }
}

pub struct Report {
    names: Names,
    changes: Changes,
    files: Files,
    max_bytes: u64,
    written: Option<(Mono, Fingerprint)>,
    metrics_written: Option<Mono>,
    rates: rate::Rates,
    clock: clock::Reported,
    /// The last WARN or ERROR, and when it was first seen here.
    trouble: Option<(Noted, logging::Trouble)>,
    healthy_since: Option<Noted>,
    gaps: Vec<Gap>,
    remark: Option<(Stamp, String)>,
    refused: Option<(Stamp, String)>,
    queue_dir: String,
    queue_id: String,
    orphans: Vec<Orphan>,
    is_stall_reported: bool,
}

/// A moment, by the wall clock of then and by the monotonic one.
#[derive(Clone, Copy)]
struct Noted {
    at: Stamp,
    seen: Mono,
}

impl Noted {
    /// By the wall clock of now: where that of then is in its future, it was wrong.
    fn by(self, now: Mono, wall: Stamp) -> Stamp {
        if self.at <= wall { self.at } else { wall - now.since(self.seen) }
    }
}

/// The part of a view for which the status file is written again when it changes.
#[derive(Clone, Debug, PartialEq)]
struct Fingerprint {
    health: Health,
    held: QueueStatus,
    delivered: u64,
    lanes: Vec<(Reason, u32)>,
    collected: Vec<u64>,
    log_lines_lost: u64,
}

impl Fingerprint {
    fn of(view: &View) -> Fingerprint {
        let tenants = view.tenants.iter().map(|tenant| &tenant.lane);
        let streams = view.streams.iter().map(|stream| &stream.lane);
        let lanes = tenants.chain(streams).chain([&view.sink]);
        Fingerprint {
            health: overall(view),
            held: view.held,
            delivered: view.delivered,
            lanes: lanes.map(|lane| (lane.reason, lane.failures)).collect(),
            collected: view.streams.iter().map(|stream| stream.collected).collect(),
            log_lines_lost: stderr::lost(),
        }
    }
}

impl Report {
    pub fn new(names: Names, files: Files, max_bytes: u64) -> Report {
        Report {
            changes: Changes::new(names.clone()),
            names,
            files,
            max_bytes,
            written: None,
            metrics_written: None,
            rates: rate::Rates::default(),
            clock: clock::Reported::default(),
            trouble: None,
            healthy_since: None,
            gaps: vec![],
            remark: None,
            refused: None,
            queue_dir: String::new(),
            queue_id: String::new(),
            orphans: vec![],
            is_stall_reported: false,
        }
    }

    /// Takes the verdict on this machine's clock, and logs when a person should set it.
    pub fn set_clock(&mut self, verdict: Verdict, now: Mono) {
        if let Some((code, line)) = self.clock.observe(verdict, now) {
            message::write(code, format_args!("{line}"));
            // So that the status file is written at once.
            self.written = None;
        }
    }

    /// The latest gaps, the newest last.
    pub fn set_gaps(&mut self, gaps: Vec<Gap>) {
        self.gaps = gaps;
    }

    /// The last remark of Coralogix in a successful answer, and when it came.
    pub fn set_remark(&mut self, remark: Option<&(Stamp, String)>) {
        if self.remark.as_ref() != remark {
            self.remark = remark.cloned();
        }
    }

    /// New settings were refused at a time, for a reason; `None`: the newest settings are in force.
    pub fn set_refused(&mut self, refused: Option<(Stamp, String)>) {
        let since = self.refused.take().map(|(since, _)| since);
        self.refused = refused.map(|(at, why)| (since.unwrap_or(at), why));
        // So that the status file is written at once.
        self.written = None;
    }

    /// The queue's directory and id, and the streams in it that the config does not name.
    pub fn set_queue(&mut self, dir: &Path, id: &str, orphans: Vec<Orphan>) {
        (self.queue_dir, self.orphans) = (dir.display().to_string(), orphans);
        self.queue_id = id.to_owned();
    }

    /// Takes the state of the core after a step. `resting`: nothing will happen for a while, so the
    /// files have to be up to date. Returns the overall health.
    pub fn observe(
        &mut self,
        core: &Core,
        (now, wall): (Mono, Stamp),
        counters: Counters,
        resting: bool,
    ) -> Health {
        logging::catch_up();
        let view = core.view(now);
        for (code, line) in self.changes.lines(&view, now) {
            message::write(code, format_args!("{line}"));
        }
        if core.stalls() > 0 && !self.is_stall_reported {
            self.is_stall_reported = true;
            log_message!(
                STALLED,
                "The main loop found due work that it could not do. Please report this"
            );
        }
        self.rates.note(now, &counted(&view));
        let fingerprint = Fingerprint::of(&view);
        let due = match &self.written {
            None => true,
            Some((at, before)) if fingerprint != *before => {
                resting || fingerprint.health != before.health || now.since(*at) >= STATUS_EVERY
            }
            Some((at, _)) => now.since(*at) >= STATUS_AT_LEAST,
        };
        if due {
            let (status, metrics) = self.pages(&view, (now, wall), counters);
            if let (Some(sheet), Some(text)) = (&mut self.files.metrics, metrics) {
                sheet.put(text, now, ANSWER_IN);
            }
            self.files.status.put(status, now, ANSWER_IN);
            self.written = Some((now, fingerprint));
        }
        self.look_after_files(now);
        overall(&view)
    }

    /// Whether the status file shows that the daemon lives.
    pub fn is_shown(&self) -> bool {
        self.files.status.is_written()
    }

    /// The files, for the `Report` that follows this one.
    pub fn into_files(self) -> Files {
        self.files
    }

    /// Writes the files for the last time before the program ends.
    pub fn close(&mut self, core: &Core, now: Mono, wall: Stamp, counters: Counters) {
        self.metrics_written = None;
        let (status, metrics) = self.pages(&core.view(now), (now, wall), counters);
        if let (Some(sheet), Some(text)) = (&mut self.files.metrics, metrics) {
            sheet.finish(text, now, LAST_ANSWER_IN);
        }
        self.files.status.finish(status, now, LAST_ANSWER_IN);
        self.look_after_files(now);
    }

    /// Writes the status file, and the metrics file where it is due.
    fn pages(
        &mut self,
        view: &View,
        (now, wall): (Mono, Stamp),
        counters: Counters,
    ) -> (Vec<u8>, Option<Vec<u8>>) {
        let noted = Noted { at: wall, seen: now };
        let trouble = logging::last_trouble();
        if self.trouble.as_ref().map(|(_, last)| last.count)
            != trouble.as_ref().map(|new| new.count)
        {
            self.trouble = trouble.map(|trouble| (noted, trouble));
        }
        self.healthy_since = match overall(view) {
            Health::Healthy => self.healthy_since.or(Some(noted)),
            _ => None,
        };
        let past = |told: &(Stamp, String)| (told.0.min(wall), told.1.clone());
        let (remark, refused) = (self.remark.as_ref().map(past), self.refused.as_ref().map(past));
        let trouble = self.trouble.as_ref();
        let trouble = trouble.map(|(noted, trouble)| (noted.by(now, wall), trouble.clone()));
        let inputs = status::StatusInputs {
            max_bytes: self.max_bytes,
            wall,
            rates: self.rates.per_minute(now, &counted(view)),
            disk_written_bytes: host::disk_written_bytes(),
            trouble: trouble.as_ref(),
            healthy_since: self.healthy_since.map(|noted| noted.by(now, wall)),
            clock: self.clock.now(),
            gaps: &self.gaps,
            remark: remark.as_ref(),
            refused: refused.as_ref(),
            queue: (&self.queue_dir, &self.queue_id),
            orphans: &self.orphans,
            log_lines_lost: stderr::lost(),
        };
        let status = Status::of(view, &self.names, counters, &inputs);
        let is_due = self.files.metrics.is_some()
            && self.metrics_written.is_none_or(|at| now.since(at) >= METRICS_EVERY);
        let metrics = is_due.then(|| {
            self.metrics_written = Some(now);
            metrics::render(&status).into_bytes()
        });
        (status.text(), metrics)
    }

    /// Logs when a file can't be written, or can be again.
    fn look_after_files(&mut self, now: Mono) {
        let metrics = self.files.metrics.as_mut().map(|sheet| (sheet, METRICS));
        for (sheet, which) in [(&mut self.files.status, STATUS)].into_iter().chain(metrics) {
            if let Some(turn) = sheet.look(now) {
                log_turn(&turn, &which, sheet.file());
            }
        }
    }
}

/// One of the two files: its name, the code of the message when it can't be written, and the
/// remedy.
struct Which {
    what: &'static str,
    setting: &'static str,
    unwritable: Code,
    remedy: &'static str,
}

const STATUS: Which = Which {
    what: "the status file",
    setting: "status.file",
    unwritable: message::STATUS_UNWRITABLE,
    remedy: "`status` will not work; let the user of this process write there, or set status.file",
};

const METRICS: Which = Which {
    what: "metrics to",
    setting: "metrics.file",
    unwritable: message::METRICS_UNWRITABLE,
    remedy: "Let the user of this process write there (with systemd: ReadWritePaths=), or remove \
             metrics.file",
};

fn log_turn(turn: &Turn, which: &Which, file: &Path) {
    let (file, Which { what, setting, remedy, .. }) = (file.display(), which);
    match turn {
        Turn::Fails(why) => message::write(
            which.unwritable,
            format_args!("Failed to write {what} {file}: {why}. {remedy}"),
        ),
        Turn::Hangs(span) => log_message!(
            REPORT_HANGS,
            "Writing {what} {file} has not returned for {span}: its disk or mount hangs. \
             Collection and delivery continue. Restore the mount (mount, dmesg), or set {setting} \
             to a path in memory, e.g. under /run, and restart"
        ),
        Turn::WrittenAgain { after, skipped } => log_message!(
            REPORT_WRITTEN_AGAIN,
            "Writing {what} {file} returned after {after}; {skipped} newer versions of it were \
             skipped meanwhile"
        ),
    }
}

/// The counters for which a rate is shown: each stream's, then the sink's.
fn counted(view: &View) -> Vec<u64> {
    let streams = view.streams.iter().map(|stream| stream.collected);
    streams.chain([view.delivered]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_by_a_clock_ahead_is_shown_by_the_present_one() {
        let (hour, now) = (Span::hours(1), Mono(7_200_000));
        for (ahead, wall, shown) in [(0, 20, 10), (0, 10, 10), (30, 20, 20 - 1), (30, 50, 40)] {
            let at = |hours: u64| Stamp(0) + Span::hours(hours);
            let noted = Noted { at: at(10 + ahead), seen: Mono(hour.as_ms()) };
            assert_eq!(noted.by(now, at(wall)), at(shown), "{ahead} {wall}");
        }
    }
}
