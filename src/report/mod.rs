//! What people are told: log lines when something changes, and the status file.
//!
//! Promises: says a change once (P10), never a secret (P7). Never: decides anything.

mod changes;
mod clock;
pub mod metrics;
mod rate;
mod reconciled;
mod status;

use std::path::{Path, PathBuf};

pub use changes::{Changes, Names, token_end_code};
pub use status::{
    Clock, Disk, GapLine, Gaps, Integration, Lane, LastTrouble, OrphanLine, Queue, Remark, Sink,
    Status, Stream, overall,
};

use crate::core::{Core, Mood, View, Why};
use crate::edge::clock::Verdict;
use crate::edge::{host, logging, stderr};
use crate::limits;
use crate::message::{self, tell};
use crate::record::{Gap, Held, Orphan};
use crate::time::{Mono, Span, Stamp};
use crate::work::Counters;

/// The status file is rewritten at most this often.
const STATUS_EVERY: Span = Span::seconds(1);
/// ... and at least this often, so that a reader sees that the daemon lives.
const STATUS_AT_LEAST: Span = Span::seconds(limits::STATUS_SECONDS_MAX);

/// Metrics are rewritten at most this often: Prometheus asks no more often by default.
const METRICS_EVERY: Span = Span::seconds(15);

/// Where the report goes beside the log.
pub struct Files {
    pub status: PathBuf,
    pub metrics: Option<PathBuf>,
}

struct Metrics {
    file: PathBuf,
    works: bool,
    written: Option<Mono>,
}

pub struct Report {
    names: Names,
    changes: Changes,
    status_file: PathBuf,
    status_works: bool,
    metrics: Option<Metrics>,
    max_bytes: u64,
    written: Option<(Mono, Gist)>,
    rates: rate::Rates,
    clock: clock::Told,
    /// What was last complained about, and when that was first seen here.
    trouble: Option<(Stamp, logging::Trouble)>,
    gaps: Vec<Gap>,
    remark: Option<(Stamp, String)>,
    queue_dir: String,
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
            status_file: files.status,
            status_works: true,
            metrics: files.metrics.map(|file| Metrics { file, works: true, written: None }),
            max_bytes,
            written: None,
            rates: rate::Rates::default(),
            clock: clock::Told::default(),
            trouble: None,
            gaps: vec![],
            remark: None,
            queue_dir: String::new(),
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

    /// Which queue it is, and the streams in it that the config does not name.
    pub fn know_queue(&mut self, dir: &Path, orphans: Vec<Orphan>) {
        (self.queue_dir, self.orphans) = (dir.display().to_string(), orphans);
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
            tell!(STALLED, "The loop found something due that it could not do. Please report this");
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
            self.write(&view, (now, wall), counters);
            self.written = Some((now, gist));
        }
        overall(&view)
    }

    /// The last word before the program ends.
    pub fn close(&mut self, core: &Core, now: Mono, wall: Stamp, counters: Counters) {
        if let Some(metrics) = &mut self.metrics {
            metrics.written = None;
        }
        self.write(&core.view(now), (now, wall), counters);
    }

    fn write(&mut self, view: &View, (now, wall): (Mono, Stamp), counters: Counters) {
        let trouble = logging::last_trouble();
        if self.trouble.as_ref().map(|(_, told)| told.count)
            != trouble.as_ref().map(|new| new.count)
        {
            self.trouble = trouble.map(|trouble| (wall, trouble));
        }
        let beside = status::Beside {
            max_bytes: self.max_bytes,
            wall,
            rates: self.rates.per_minute(now, &counted(view)),
            disk_written_bytes: host::disk_written_bytes(),
            trouble: self.trouble.as_ref(),
            clock: self.clock.now(),
            gaps: &self.gaps,
            remark: self.remark.as_ref(),
            queue_dir: &self.queue_dir,
            orphans: &self.orphans,
            log_lines_lost: stderr::lost(),
        };
        let status = Status::of(view, &self.names, counters, &beside);
        self.write_metrics(&status, now);
        match status.write(&self.status_file) {
            Ok(()) => self.status_works = true,
            Err(why) if self.status_works => {
                self.status_works = false;
                let file = self.status_file.display();
                tell!(
                    STATUS_UNWRITABLE,
                    "Failed to write the status file {file}: {why}. `status` will not work; let \
                     the user of this process write there, or set status.file"
                );
            }
            Err(_) => {}
        }
    }
}

impl Report {
    fn write_metrics(&mut self, status: &Status, now: Mono) {
        let Some(metrics) = &mut self.metrics else { return };
        if metrics.written.is_some_and(|at| now.since(at) < METRICS_EVERY) {
            return;
        }
        metrics.written = Some(now);
        let file = &metrics.file;
        match metrics::write(status, file) {
            Ok(()) => metrics.works = true,
            Err(why) if metrics.works => {
                metrics.works = false;
                tell!(
                    METRICS_UNWRITABLE,
                    "Failed to write metrics to {}: {why}. Let the user of this process write \
                     there (with systemd: ReadWritePaths=), or remove metrics.file",
                    file.display()
                );
            }
            Err(_) => {}
        }
    }
}

/// The counters whose pace is told: each stream's, then the sink's.
fn counted(view: &View) -> Vec<u64> {
    let streams = view.streams.iter().map(|stream| stream.collected);
    streams.chain([view.delivered]).collect()
}
