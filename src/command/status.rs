//! `status`: the last status of the daemon, as a table or as JSON.
//!
//! Promises: reads the status file only, so it works while the daemon runs; says so when the
//! daemon does not run. Never: opens the queue.

use std::fmt::Write as _;
use std::path::Path;

use crate::cli::Exit;
use crate::core::Reason;
use crate::message;
use crate::os::{host, logging};
use crate::plain::count;
use crate::report::{Integration, Lane, OrphanLine, Status, token_end_code};
use crate::time::{Span, Stamp};

use super::colour::{Paint, Painted};
use super::liveness::{Liveness, alive, seen, silence};
use super::{COLUMNS, Failure, columns, first_column, print, print_painted, watch, wrapped};

/// How the status is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusForm {
    Table,
    Json,
    /// The table, redrawn until the command is interrupted.
    Watch,
    /// A line of JSON each time instead.
    Lines,
    /// Only whether the daemon makes progress.
    Alive,
}

/// Shows the status file that the config names.
pub fn status(config_file: &Path, how: StatusForm) -> Result<Exit, Failure> {
    match how {
        StatusForm::Alive => alive(config_file),
        StatusForm::Watch => watch::on_terminal(config_file),
        StatusForm::Lines => watch::as_lines(config_file),
        StatusForm::Table => {
            let (text, exit) = table(config_file, columns(), host::shows_colour())?;
            print_painted(&text)?;
            Ok(exit)
        }
        StatusForm::Json => {
            let (value, exit) = document(config_file)?;
            print(&format!("{value:#}\n"))?;
            Ok(exit)
        }
    }
}

/// The table in this width, and the exit code for it.
pub(super) fn table(
    config_file: &Path,
    columns: usize,
    colour: bool,
) -> Result<(Painted, Exit), Failure> {
    let (status, liveness, age) = seen(config_file)?;
    let shown = Shown { liveness, age, colour, columns };
    Ok((page(&status, shown), exit(&status, liveness)))
}

/// The page of a status, which another program may have written.
fn page(status: &Status, shown: Shown) -> Painted {
    Table::of(&status.plain(), shown).written()
}

/// The status file with what only this command knows, and the exit code for it.
pub(super) fn document(config_file: &Path) -> Result<(serde_json::Value, Exit), Failure> {
    let (status, liveness, _) = seen(config_file)?;
    let mut value = status.value();
    value["running"] = (liveness != Liveness::NotRunning).into();
    value["liveness"] = liveness.name().into();
    Ok((value, exit(&status, liveness)))
}

fn exit(status: &Status, liveness: Liveness) -> Exit {
    match liveness {
        Liveness::NotRunning => Exit::NotRunning,
        Liveness::Answers if status.state == "healthy" => Exit::Done,
        _ => Exit::Failed,
    }
}

/// What decides how a status is shown.
#[derive(Clone, Copy)]
struct Shown {
    liveness: Liveness,
    /// How old the file is.
    age: Option<Span>,
    colour: bool,
    columns: usize,
}

/// The table being written.
struct Table<'a> {
    status: &'a Status,
    liveness: Liveness,
    /// The daemon runs, so its status is current.
    running: bool,
    age: Option<Span>,
    colour: bool,
    columns: usize,
    out: Painted,
}

impl<'a> Table<'a> {
    fn of(status: &'a Status, shown: Shown) -> Table<'a> {
        let Shown { liveness, age, colour, columns } = shown;
        let running = matches!(liveness, Liveness::Answers | Liveness::QueueRemoved);
        Table { status, liveness, running, age, colour, columns, out: Painted::default() }
    }

    /// The table in at most `columns`, except for names and words that are longer.
    fn written(mut self) -> Painted {
        self.head();
        self.settings();
        self.sources();
        self.orphans();
        self.sink();
        self.out
    }

    fn head(&mut self) {
        let status = self.status;
        let state = match (self.running, status.state.as_str()) {
            (false, _) if self.liveness == Liveness::Silent => "does not answer",
            (false, _) => "not running",
            (true, "degraded") => "degraded (temporary problem, retrying)",
            (true, "stuck") => "stuck (action required)",
            (true, state) => state,
        };
        let paint = match self.running {
            true => Paint::of_health(&status.state),
            false => Paint::Bad,
        };
        let _ = write!(self.out, "s1-coralogix {}: ", status.version);
        self.out.paint(paint, state, self.colour);
        self.out.put("\n");
        let who = match self.running {
            true => {
                let uptime = self.until_now(status.uptime_seconds);
                format!("process {}, up {uptime}, as of", status.pid)
            }
            false => "last status, written at".to_owned(),
        };
        let age = self.age.map_or(String::new(), |age| match age < Span::seconds(1) {
            true => " (now)".to_owned(),
            false => format!(" ({age} ago)"),
        });
        self.line(2, &format!("{who} {}{age}", seconds(&status.updated)));
        match self.liveness {
            Liveness::Silent => {
                let text = silence(status, self.age);
                self.line(2, &format!("{} {text}.", message::DAEMON_SILENT));
            }
            Liveness::QueueRemoved => {
                let code = message::QUEUE_DIR_REMOVED;
                let text = format!(
                    "{code} The queue directory of a running daemon was removed: {}. Let it \
                     deliver the waiting records, then restart it; it creates a new queue.",
                    status.queue.dir
                );
                self.line(2, &text);
            }
            Liveness::Answers | Liveness::NotRunning => {}
        }
    }

    /// A time up to now of so many seconds up to when the file was written, which may be half a minute
    /// ago.
    fn until_now(&self, seconds: u64) -> Span {
        let ms = Span::seconds(seconds).as_ms();
        Span::seconds(ms.saturating_add(self.age.unwrap_or_default().as_ms()) / 1_000)
    }

    fn settings(&mut self) {
        let Some(refused) = &self.status.settings_refused else { return };
        let (code, since) = (&refused.code, seconds(&refused.since));
        self.line(
            2,
            &format!(
                "{code} New settings are rejected since {since}; the previous ones are in effect:"
            ),
        );
        self.line(4, &refused.text);
    }

    fn sources(&mut self) {
        let status = self.status;
        self.out.put("\n");
        self.columns("SentinelOne", Cell::plain("state"), "collected", "position");
        for stream in &status.streams {
            let behind = |s| match self.until_now(s) {
                Span::ZERO => "now".to_owned(),
                behind => format!("{behind} ago"),
            };
            let position = match Reason::named(&stream.lane.reason) {
                Some(Reason::PositionAhead) => "ahead".to_owned(),
                _ => stream.lag_seconds.map_or("-".to_owned(), behind),
            };
            let collected = stream.collected.to_string();
            let state = Cell::of(&stream.lane, self.running);
            self.columns(&stream.name, state, &collected, &position);
            // A problem of its integration is shown there, once.
            let told_below = status.integrations.iter().any(|one| {
                let rest = stream.name.strip_prefix(one.name.as_str());
                rest.is_some_and(|rest| rest.starts_with('/'))
                    && one.lane.health != "healthy"
                    && one.lane.reason == stream.lane.reason
            });
            if !told_below {
                self.explain("", &stream.lane, "");
            }
        }
        for integration in &status.integrations {
            let Integration { name, lane, secret, .. } = integration;
            self.explain(&format!("{name}: "), lane, secret);
            if let Some(end) = &integration.token_ends
                && Reason::named(&integration.lane.reason) != Some(Reason::TokenRefused)
            {
                let name = &integration.name;
                let days = integration.token_days_left;
                let code = days.and_then(|days| token_end_code(u64::try_from(days).unwrap_or(0)));
                let code = code.map_or(String::new(), |code| format!("{code} "));
                let ends = token_ends(end, days, &status.updated, self.age);
                let end = seconds(end);
                self.line(2, &format!("{name}: {code}the API token {ends} at {end}"));
            }
        }
    }

    /// The positions of streams that the config does not name.
    fn orphans(&mut self) {
        for orphan in &self.status.orphans {
            let OrphanLine { name, position, code, .. } = orphan;
            let from = orphan.tenant.as_ref().map_or(String::new(), |from| format!(" from {from}"));
            let position = seconds(position);
            let text = format!(
                "{code} {name} was collected up to {position}{from}; no integration collects it \
                 any more. If it was renamed, add name_was to the new one; if that is \
                 there and not followed, S1C-E223 says what to do"
            );
            self.line(2, &text);
        }
    }

    fn sink(&mut self) {
        let (sink, queue) = (&self.status.coralogix, &self.status.queue);
        self.out.put("\n");
        self.columns("Coralogix", Cell::plain("state"), "delivered", "waiting");
        let (delivered, waiting) = (sink.delivered.to_string(), queue.waiting.to_string());
        self.columns("delivery", Cell::of(&sink.lane, self.running), &delivered, &waiting);
        self.explain("", &sink.lane, &sink.secret);
        let (bytes, most) = (size(queue.bytes), size(queue.max_bytes));
        let room = match queue.room.as_str() {
            "queue_full" => "; it is full, polling waits for delivery",
            "disk_low" => "; the disk has less free than queue.min_free, polling waits",
            _ => "",
        };
        self.out.put("\n");
        self.line(0, &format!("Queue: {bytes} of {most}{room}."));
        if let Some(oldest) = &queue.oldest {
            let age = queue.oldest_age_seconds.filter(|_| self.running);
            let age = age.map_or(String::new(), |age| format!(", {} ago", self.until_now(age)));
            self.line(0, &format!("Oldest record in it: {}{age}.", seconds(oldest)));
        }
        self.gaps();
        if queue.parked > 0 {
            let records = count(queue.parked, "record");
            self.line(
                0,
                &format!(
                    "{} Coralogix rejected {records}: s1-coralogix queue parked list",
                    message::PARKED
                ),
            );
        }
        if queue.doubt > 0 {
            let batches = count(queue.doubt, "batch");
            self.line(
                0,
                &format!(
                    "{} Coralogix may not have accepted {batches} in full: s1-coralogix queue \
                     doubt list",
                    message::GAP_IN_DOUBT
                ),
            );
        }
        if let Some(last) = &sink.last_remark {
            let batches = count(sink.remarks, "batch");
            let (code, at) = (message::REMARK, seconds(&last.at));
            self.line(
                0,
                &format!("{code} Coralogix accepted {batches} with a message, last at {at}:"),
            );
            self.line(2, &last.text);
        }
        self.pace();
    }

    /// Rates, which only a running daemon has, and the last WARN or ERROR.
    fn pace(&mut self) {
        let status = self.status;
        let out = status.coralogix.delivered_per_minute;
        let collected = status.streams.iter().map(|stream| stream.collected_per_minute);
        let collected = collected.sum::<u64>();
        if self.running && collected + out > 0 {
            let collected = count(collected, "record");
            // In the first minute the number is what came since the start, not a rate.
            let text = match status.uptime_seconds {
                up @ 0..60 => {
                    let up = Span::seconds(up);
                    format!("First {up}: {collected} collected, {out} delivered.")
                }
                _ => {
                    format!("Last minutes: {collected} a minute collected, {out} delivered.")
                }
            };
            self.line(0, &text);
        }
        if let Some(written) = status.disk.written_bytes {
            let day = status.disk.day_bytes;
            let day = day.map_or(String::new(), |day| format!(", {} a day", size(day)));
            self.line(0, &format!("Written to disk since the start: {}{day}.", size(written)));
        }
        if status.coralogix.unreadable_stamps > 0 {
            let records = count(status.coralogix.unreadable_stamps, "record");
            let code = message::STAMP_UNREADABLE;
            self.line(0, &format!("{code} {records} had a time that can't be parsed."));
        }
        if let Some(clock) = status.clock.off() {
            let (code, how) = clock;
            self.line(0, &format!("{code} This machine's clock is {how}; set it (NTP)."));
        }
        if status.log_lines_lost > 0 {
            let text = format!("{}.", logging::told_lost(status.log_lines_lost));
            self.line(0, &text);
        }
        if let Some(trouble) = &status.last_trouble {
            let (level, at) = (&trouble.level, seconds(&trouble.at));
            let healthy = status.healthy_since.as_ref().filter(|_| self.running);
            let healthy = healthy.filter(|since| **since >= trouble.at);
            let healthy = healthy
                .map_or(String::new(), |since| format!("; healthy since {}", seconds(since)));
            let count = trouble.count;
            self.line(0, &format!("Last {level}, at {at} ({count} since the start{healthy}):"));
            self.line(2, &trouble.text);
        }
    }

    fn gaps(&mut self) {
        let gaps = &self.status.gaps;
        if gaps.count == 0 {
            return;
        }
        let many = count(gaps.count, "gap");
        self.line(0, &format!("{many} recorded: records may be missing at Coralogix."));
        let Some(last) = gaps.latest.iter().rev().find(|gap| !gap.closed) else { return };
        let at = |stamp: &Option<String>| stamp.as_deref().map_or("?".to_owned(), seconds);
        let range = match last.from == last.to {
            true => at(&last.from),
            false => format!("{} to {}", at(&last.from), at(&last.to)),
        };
        self.line(2, &format!("{}, {range}: {} {}", last.stream, last.code, last.text));
    }

    fn columns(&mut self, name: &str, state: Cell<'_>, left: &str, right: &str) {
        // On a narrow terminal the widest column gets narrower.
        let others = COLUMNS - NAME_CHARS;
        let name = first_column(name, self.columns.saturating_sub(others).clamp(8, NAME_CHARS));
        let padded = format!("{:<18}", state.text);
        let _ = write!(self.out, "{name} ");
        match state.paint {
            Some(paint) => self.out.paint(paint, &padded, self.colour),
            None => self.out.put(&padded),
        }
        let _ = writeln!(self.out, " {left:>12} {right:>12}");
    }

    /// `secret`: where the lane's secret is read from.
    fn explain(&mut self, whose: &str, lane: &Lane, secret: &str) {
        if lane.health == "healthy" {
            return;
        }
        let age = self.age.unwrap_or_default();
        let when = match self.running {
            true => format!("for {}", self.until_now(lane.for_seconds)),
            false => "when last seen".to_owned(),
        };
        let code = lane.code.as_deref().map_or(String::new(), |code| format!("{code} "));
        let mut text = format!("{whose}{code}{when}: {}", lane.text);
        if !lane.detail.is_empty() {
            let _ = write!(text, " ({})", lane.detail);
        }
        let is_of_secret =
            matches!(Reason::named(&lane.reason), Some(Reason::TokenRefused | Reason::KeyRefused));
        if !secret.is_empty() && is_of_secret {
            let _ = write!(text, "; it is read from {secret}");
        }
        if let (true, Some(next)) = (self.running, lane.next_in_seconds) {
            match Span::seconds(next).as_ms().saturating_sub(age.as_ms()) / 1_000 {
                0 => text += "; next try now",
                left => {
                    let _ = write!(text, "; next try in {}", Span::seconds(left));
                }
            }
        }
        self.line(2, &text);
    }

    fn line(&mut self, indent: usize, text: &str) {
        let text = wrapped(text, indent, self.columns);
        let _ = writeln!(self.out, "{:indent$}{text}", "");
    }
}

const NAME_CHARS: usize = 32;

/// A cell of the table, with its colour if it has one.
#[derive(Clone, Copy)]
struct Cell<'a> {
    text: &'a str,
    paint: Option<Paint>,
}

impl<'a> Cell<'a> {
    fn plain(text: &'a str) -> Cell<'a> {
        Cell { text, paint: None }
    }

    /// The state of a lane; without a colour where the daemon does not run.
    fn of(lane: &'a Lane, running: bool) -> Cell<'a> {
        let paint = running.then(|| Paint::of_health(&lane.health));
        Cell { text: state(lane), paint }
    }
}

/// The text before the time at which a token expires. `days`: days left by a confirmed time;
/// `None`: no time is confirmed. `age`: that of the file, from which all of this is.
fn token_ends(end: &str, days: Option<i64>, updated: &str, age: Option<Span>) -> String {
    let now = Stamp::parse(updated).map(|written| written + age.unwrap_or_default());
    match (days, Stamp::parse(end).zip(now)) {
        (None, _) => "expires".to_owned(),
        (Some(_), Some((end, now))) if end <= now => format!("expired {} ago,", now.since(end)),
        (Some(0..), Some((end, now))) => format!("expires in {},", end.since(now)),
        (Some(days @ 0..), None) => format!("expires in {},", count(days, "day")),
        (Some(_), _) => "has expired,".to_owned(),
    }
}

/// The reason of a lane in a word or two; one that only another version knows by its stable name.
fn state(lane: &Lane) -> &str {
    Reason::named(&lane.reason).map_or(lane.reason.as_str(), |reason| reason.state())
}

/// A time of RFC 3339 without the fraction of a second.
pub(super) fn seconds(stamp: &str) -> String {
    Stamp::parse(stamp).map_or_else(|| stamp.to_owned(), Stamp::to_the_second)
}

pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, one) in UNITS {
        if bytes >= one {
            return format!("{}.{} {unit}", bytes / one, bytes % one * 10 / one);
        }
    }
    format!("{bytes} B")
}

#[cfg(any(test, fuzzing))]
fn liveness_of(running: bool) -> Liveness {
    if running { Liveness::Answers } else { Liveness::NotRunning }
}

/// The table of any status, for fuzzing and tests.
#[cfg(any(test, fuzzing))]
pub fn table_of(status: &Status, running: bool) -> String {
    let liveness = liveness_of(running);
    let shown = Shown { liveness, age: None, colour: false, columns: COLUMNS };
    page(status, shown).as_str().to_owned()
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
