//! What people are told: log lines when something changes, and the status file.
//!
//! Promises: says a change once (P10), never a secret (P7); files that can't be written hold nothing
//! up. Never: decides anything.

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
    SettingsRefused, Sink, Status, Stream, overall,
};

use crate::core::{Core, Mood, View, Why};
use crate::edge::clock::Verdict;
use crate::edge::{host, logging, stderr};
use crate::limits;
use crate::message::{self, Code, tell};
use crate::record::{Gap, Held, Orphan};
use crate::time::{Mono, Span, Stamp};
use crate::work::Counters;

/// The status file is rewritten at most this often.
const STATUS_EVERY: Span = Span::seconds(1);
/// ... and at least this often, so that a reader sees that the daemon lives.
const STATUS_AT_LEAST: Span = Span::seconds(limits::STATUS_SECONDS_MAX);

/// Metrics are rewritten at most this often: Prometheus asks no more often by default.
const METRICS_EVERY: Span = Span::seconds(15);

/// The longest a file is waited for before the loop goes on without it.
const ANSWER_IN: Duration = Duration::from_millis(limits::REPORT_ANSWER_MS);
/// ... and before the process ends.
const LAST_ANSWER_IN: Duration = Duration::from_millis(limits::REPORT_LAST_ANSWER_MS);

/// Where the report goes beside the log. They outlive a report, for one of them may hang.
pub struct Files {
    status: Sheet,
    metrics: Option<Sheet>,
}

impl Files {
    pub fn new(status: PathBuf, metrics: Option<PathBuf>) -> Files {
        Files { status: Sheet::new(status), metrics: metrics.map(Sheet::new) }
    }

    /// The same with the places of a new config.
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
    written: Option<(Mono, Gist)>,
    metrics_written: Option<Mono>,
    rates: rate::Rates,
    clock: clock::Told,
    /// What was last complained about, and when that was first seen here.
    trouble: Option<(Stamp, logging::Trouble)>,
    healthy_since: Option<Stamp>,
    gaps: Vec<Gap>,
    remark: Option<(Stamp, String)>,
    refused: Option<(Stamp, String)>,
    queue_dir: String,
    queue_id: String,
    orphans: Vec<Orphan>,
    stall_told: bool,
}

/// What of a view makes the status file worth writing again.
#[derive(Clone, Debug, PartialEq)]
struct Gist {
    mood: Mood,
    held: Held,
    delivered: u64,
    lanes: Vec<(Why, u32)>,
    collected: Vec<u64>,
    log_lines_lost: u64,
}

impl Gist {
    fn of(view: &View) -> Gist {
        let tenants = view.tenants.iter().map(|tenant| &tenant.lane);
        let streams = view.streams.iter().map(|stream| &stream.lane);
        let lanes = tenants.chain(streams).chain([&view.sink]);
        Gist {
            mood: overall(view),
            held: view.held,
            delivered: view.delivered,
            lanes: lanes.map(|lane| (lane.why, lane.failures)).collect(),
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
            clock: clock::Told::default(),
            trouble: None,
            healthy_since: None,
            gaps: vec![],
            remark: None,
            refused: None,
            queue_dir: String::new(),
            queue_id: String::new(),
            orphans: vec![],
            stall_told: false,
        }
    }

    /// Takes how this machine's clock stands, and says when a person should set it.
    pub fn hear_clock(&mut self, verdict: Verdict, now: Mono) {
        if let Some((code, line)) = self.clock.hear(verdict, now) {
            message::write(code, format_args!("{line}"));
            // The status shows it at once.
            self.written = None;
        }
    }

    /// The latest gaps, the newest last.
    pub fn know_gaps(&mut self, gaps: Vec<Gap>) {
        self.gaps = gaps;
    }

    /// What Coralogix last said beside a plain success, and when.
    pub fn know_remark(&mut self, remark: Option<&(Stamp, String)>) {
        if self.remark.as_ref() != remark {
            self.remark = remark.cloned();
        }
    }

    /// New settings were refused at a time, for a reason; `None`: those that are in force are the newest.
    pub fn know_refused(&mut self, refused: Option<(Stamp, String)>) {
        let since = self.refused.take().map(|(since, _)| since);
        self.refused = refused.map(|(at, why)| (since.unwrap_or(at), why));
        // The status shows it at once.
        self.written = None;
    }

    /// Which queue it is, and the streams in it that the config does not name.
    pub fn know_queue(&mut self, dir: &Path, id: &str, orphans: Vec<Orphan>) {
        (self.queue_dir, self.orphans) = (dir.display().to_string(), orphans);
        self.queue_id = id.to_owned();
    }

    /// Looks at the core after a step. `resting`: nothing will happen for a while, so what is
    /// written now has to be the truth. Returns how all is together.
    pub fn observe(
        &mut self,
        core: &Core,
        (now, wall): (Mono, Stamp),
        counters: Counters,
        resting: bool,
    ) -> Mood {
        logging::catch_up();
        let view = core.view(now);
        for (code, line) in self.changes.lines(&view, now) {
            message::write(code, format_args!("{line}"));
        }
        if core.stalls() > 0 && !self.stall_told {
            self.stall_told = true;
            tell!(STALLED, "The main loop found due work that it could not do. Please report this");
        }
        self.rates.note(now, &counted(&view));
        let gist = Gist::of(&view);
        let due = match &self.written {
            None => true,
            Some((at, told)) if gist != *told => {
                resting || gist.mood != told.mood || now.since(*at) >= STATUS_EVERY
            }
            Some((at, _)) => now.since(*at) >= STATUS_AT_LEAST,
        };
        if due {
            let (status, metrics) = self.pages(&view, (now, wall), counters);
            if let (Some(sheet), Some(text)) = (&mut self.files.metrics, metrics) {
                sheet.put(text, now, ANSWER_IN);
            }
            self.files.status.put(status, now, ANSWER_IN);
            self.written = Some((now, gist));
        }
        self.look_after_files(now);
        overall(&view)
    }

    /// For the report that follows this one.
    pub fn into_files(self) -> Files {
        self.files
    }

    /// The last word before the program ends.
    pub fn close(&mut self, core: &Core, now: Mono, wall: Stamp, counters: Counters) {
        self.metrics_written = None;
        let (status, metrics) = self.pages(&core.view(now), (now, wall), counters);
        if let (Some(sheet), Some(text)) = (&mut self.files.metrics, metrics) {
            sheet.finish(text, now, LAST_ANSWER_IN);
        }
        self.files.status.finish(status, now, LAST_ANSWER_IN);
        self.look_after_files(now);
    }

    /// The status, and the metrics where they are due.
    fn pages(
        &mut self,
        view: &View,
        (now, wall): (Mono, Stamp),
        counters: Counters,
    ) -> (Vec<u8>, Option<Vec<u8>>) {
        let trouble = logging::last_trouble();
        if self.trouble.as_ref().map(|(_, told)| told.count)
            != trouble.as_ref().map(|new| new.count)
        {
            self.trouble = trouble.map(|trouble| (wall, trouble));
        }
        self.healthy_since = match overall(view) {
            Mood::Fine => self.healthy_since.or(Some(wall)),
            _ => None,
        };
        let beside = status::Beside {
            max_bytes: self.max_bytes,
            wall,
            rates: self.rates.per_minute(now, &counted(view)),
            disk_written_bytes: host::disk_written_bytes(),
            trouble: self.trouble.as_ref(),
            healthy_since: self.healthy_since,
            clock: self.clock.now(),
            gaps: &self.gaps,
            remark: self.remark.as_ref(),
            refused: self.refused.as_ref(),
            queue: (&self.queue_dir, &self.queue_id),
            orphans: &self.orphans,
            log_lines_lost: stderr::lost(),
        };
        let status = Status::of(view, &self.names, counters, &beside);
        let is_due = self.files.metrics.is_some()
            && self.metrics_written.is_none_or(|at| now.since(at) >= METRICS_EVERY);
        let metrics = is_due.then(|| {
            self.metrics_written = Some(now);
            metrics::render(&status).into_bytes()
        });
        (status.text(), metrics)
    }

    /// Tells what became of the files.
    fn look_after_files(&mut self, now: Mono) {
        let metrics = self.files.metrics.as_mut().map(|sheet| (sheet, METRICS));
        for (sheet, which) in [(&mut self.files.status, STATUS)].into_iter().chain(metrics) {
            if let Some(turn) = sheet.look(now) {
                tell_turn(&turn, &which, sheet.file());
            }
        }
    }
}

/// One of the two files: what it is, the code when it can't be written, and what is to be done then.
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

fn tell_turn(turn: &Turn, which: &Which, file: &Path) {
    let (file, Which { what, setting, remedy, .. }) = (file.display(), which);
    match turn {
        Turn::Fails(why) => message::write(
            which.unwritable,
            format_args!("Failed to write {what} {file}: {why}. {remedy}"),
        ),
        Turn::Hangs(span) => tell!(
            REPORT_HANGS,
            "Writing {what} {file} has not returned for {span}: its disk or mount hangs. \
             Collection and delivery continue. Restore the mount (mount, dmesg), or set {setting} \
             to a path in memory, e.g. under /run, and restart"
        ),
        Turn::WrittenAgain { after, skipped } => tell!(
            REPORT_WRITTEN_AGAIN,
            "Writing {what} {file} returned after {after}; {skipped} newer versions of it were \
             skipped meanwhile"
        ),
    }
}

/// The counters whose pace is told: each stream's, then the sink's.
fn counted(view: &View) -> Vec<u64> {
    let streams = view.streams.iter().map(|stream| stream.collected);
    streams.chain([view.delivered]).collect()
}
