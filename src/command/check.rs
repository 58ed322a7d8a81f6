//! `check`: tries every step to each service and says what to do about the one that fails.
//!
//! Promises: changes nothing, delivers nothing; tells each step as it is done; never says that
//! something works that was not tried. The exit code is that of the failure a person has to act on
//! first: config, then a refused secret or permission, then what may pass. Never: shows a secret.

use std::cell::LazyCell;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use log::Level;
use serde::Serialize;

use super::paint::Paint;
use super::remembered::Remembered;
use super::{Failure, wrapped};
use crate::cli::Exit;
use crate::config::{Config, Finding};
use crate::edge::cause::{Cause, Fault};
use crate::edge::clock::{self, Anchor};
use crate::edge::compare;
use crate::edge::judge::Judge;
use crate::edge::probe;
use crate::edge::proxy::ProxyEnvironment;
use crate::edge::real::Doors;
use crate::edge::step::{Name, Outcome, Step, Told, what_and_remedy};
use crate::edge::{ground, logging, owner};
use crate::plain;

/// The shape of `--json`; raised when a member changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct How<'a> {
    /// Only what can be told without sending anything.
    pub offline: bool,
    /// A warning is a failure.
    pub strict: bool,
    /// One JSON document at the end instead of lines.
    pub json: bool,
    /// Check marks; plain words where the terminal has none.
    pub utf8: bool,
    /// Marks in colour.
    pub colour: bool,
    /// Where lines are broken; `None` where nobody looks at them on a terminal.
    pub columns: Option<usize>,
    /// Lines begin with systemd's priorities.
    pub journal: bool,
    pub proxies: &'a ProxyEnvironment,
}

/// The exit code a failing step asks for.
fn after(cause: Cause) -> Exit {
    match cause.fault() {
        Fault::Warning => Exit::Done,
        Fault::Unknown => Exit::Failed,
        Fault::Unreachable => Exit::TryLater,
        Fault::Refused => Exit::Refused,
        Fault::Config => Exit::Config,
    }
}

/// Checks a config that is already known to be valid, but for its warnings. An error means that `out`
/// can't be written.
pub fn check(
    config: &Config,
    warnings: &[Finding],
    config_file: &Path,
    how: How,
    out: &mut dyn Write,
) -> io::Result<Exit> {
    let mut page = Page::new(how, config_file, out);
    page.head("config", None, &config_file.display().to_string());
    let seen_as = owner::act_as_owner(&config.queue.dir);
    let valid = match ground::config(config_file, seen_as.as_deref()) {
        Ok(text) => text,
        Err(outcome) => {
            page.step(Step::at_once(Name::Config, outcome));
            return page.close();
        }
    };
    if let Some(owner) = owner::is_another(&config.queue.dir) {
        page.step(Step::at_once(Name::Queue, ground::anothers(&config.queue.dir, &owner)));
        return page.close();
    }
    let judge = Arc::new(Judge::of_queue(&config.queue.dir, false));
    let mut doors = match Doors::new(config, how.proxies, &Arc::default(), &judge) {
        Ok(doors) => {
            page.step(Step::at_once(Name::Config, Outcome::Passed(valid)));
            warnings.iter().for_each(|finding| page.step(doubtful(finding)));
            doors
        }
        Err(error) => {
            let (what, remedy) = what_and_remedy(&error.to_string());
            let outcome = Outcome::failed(Cause::ConfigInvalid, what, remedy);
            page.step(Step::at_once(Name::Config, outcome));
            return page.close();
        }
    };
    let is_in_use = crate::queue::real::is_in_use(&config.queue.dir) == Some(true);
    page.step(Step::at_once(Name::Queue, ground::queue(&config.queue, is_in_use)));
    let remembered = Remembered::of(config);
    remembered.orphans(config).into_iter().for_each(|step| page.step(step));
    page.step(Step::at_once(Name::StatusFile, ground::status_file(&config.status_file)));
    if let Some(outcome) = probe::own_clock() {
        page.step(Step::at_once(Name::Clock, outcome));
    }
    // Where two clocks differ the other service is asked too: once, and only then.
    let sink = &doors.sink.peer;
    let sinks_date = LazyCell::new(|| sink.date().map(|date| Anchor { date, at: clock::mono() }));
    let mut tenants_date = None;
    for (door, integration) in doors.tenants.iter_mut().zip(&config.integrations) {
        page.head("integration", Some(&integration.name), &integration.tenant);
        remembered.tenant(integration).into_iter().for_each(|step| page.step(step));
        if how.offline {
            probe::secret(door, &mut |step| page.step(step));
            let step = compare::start_by_local(integration, clock::local());
            step.into_iter().for_each(|step| page.step(step));
            continue;
        }
        let mut third = || sinks_date.map(|anchor| anchor.carried_to(clock::mono()));
        let samples = Remembered::samples(config, integration);
        let date =
            probe::tenant(door, integration, &samples, &mut third, &mut |step| page.step(step));
        tenants_date = tenants_date.or(date.map(|date| Anchor { date, at: clock::mono() }));
    }
    page.head("coralogix", None, &config.coralogix.url);
    let mut third = || tenants_date.map(|anchor| anchor.carried_to(clock::mono()));
    match how.offline {
        true => drop(probe::secret(&mut doors.sink, &mut |step| page.step(step))),
        false => probe::team(&mut doors.sink, &mut third, &mut |step| page.step(step)),
    }
    page.close()
}

/// What in the config a person should know, though it can be used.
fn doubtful(finding: &Finding) -> Step {
    let (what, remedy) = (finding.what(), finding.hint.clone().unwrap_or_default());
    let told = Told { code: finding.code, ..Told::new(Cause::ConfigDoubtful, what, remedy) };
    Step::at_once(Name::Config, Outcome::Noted(told))
}

/// Tells, as JSON, of a config that can't be used; `why` is what people are told of it.
pub fn unusable(
    config_file: &Path,
    how: How,
    why: &Failure,
    out: &mut dyn Write,
) -> io::Result<Exit> {
    let mut page = Page::new(how, config_file, out);
    page.head("config", None, &config_file.display().to_string());
    let (cause, remedy) = match why.exit {
        Exit::TryLater => (Cause::SystemRefuses, "Follow that advice, and try again"),
        _ => (Cause::ConfigInvalid, "Correct the config at the places shown"),
    };
    let outcome = Outcome::failed(cause, &*why.text, remedy);
    page.step(Step::at_once(Name::Config, outcome));
    page.close()
}

/// What a person has to act on first: the higher number.
fn worse(a: Exit, b: Exit) -> Exit {
    if a.code() >= b.code() { a } else { b }
}

/// The document of `--json`.
#[derive(Serialize)]
struct Document {
    schema: u32,
    version: &'static str,
    config: String,
    offline: bool,
    strict: bool,
    /// `passed`, `warnings` or `failed`.
    result: &'static str,
    exit_code: u8,
    summary: String,
    sections: Vec<Section>,
}

#[derive(Serialize)]
struct Section {
    /// `config`, `integration` or `coralogix`.
    about: &'static str,
    /// The integration's.
    name: Option<String>,
    /// The file or address.
    place: String,
    steps: Vec<StepTold>,
}

#[derive(Serialize)]
struct StepTold {
    step: &'static str,
    /// `passed`, `warning`, `failed` or `skipped`.
    outcome: &'static str,
    /// Stable name, of a warning or failure.
    cause: Option<&'static str>,
    /// What it is looked up by.
    code: Option<String>,
    text: String,
    remedy: Option<String>,
    took_ms: u64,
}

impl StepTold {
    fn of(step: Step) -> StepTold {
        let (outcome, text, told) = match step.outcome {
            Outcome::Passed(text) => ("passed", text, None),
            Outcome::Skipped(why) => ("skipped", why.to_owned(), None),
            Outcome::Noted(told) => ("warning", told.what.clone(), Some(told)),
            Outcome::Failed(told) => ("failed", told.what.clone(), Some(told)),
        };
        StepTold {
            step: step.name.code(),
            outcome,
            cause: told.as_ref().map(|told| told.cause.code()),
            code: told.as_ref().map(|told| told.code.to_string()),
            text,
            remedy: told.map(|told| told.remedy),
            took_ms: step.took.as_ms(),
        }
    }
}

/// What to do, and where more is said of it.
fn advice(told: &Told) -> String {
    let code = told.code;
    match told.remedy.as_str() {
        "" => format!("[{code}]"),
        remedy => format!("{remedy}. [{code}]"),
    }
}

/// What is written, and how it stands so far.
struct Page<'a> {
    out: &'a mut dyn Write,
    how: How<'a>,
    config: String,
    sections: Vec<Section>,
    ended: Exit,
    warnings: usize,
    error: Option<io::Error>,
}

impl<'a> Page<'a> {
    fn new(how: How<'a>, config_file: &Path, out: &'a mut dyn Write) -> Page<'a> {
        let config = config_file.display().to_string();
        let (sections, ended) = (vec![], Exit::Done);
        Page { out, how, config, sections, ended, warnings: 0, error: None }
    }

    fn head(&mut self, about: &'static str, name: Option<&str>, place: &str) {
        let title = match (about, name) {
            ("coralogix", _) => format!("Coralogix ({place})"),
            (about, Some(name)) => format!("{about} {name} ({place})"),
            (about, None) => format!("{about} {place}"),
        };
        let (name, place) = (name.map(str::to_owned), place.to_owned());
        self.sections.push(Section { about, name, place, steps: vec![] });
        self.write(Level::Info, &title);
    }

    fn step(&mut self, step: Step) {
        match &step.outcome {
            Outcome::Passed(_) | Outcome::Skipped(_) => {}
            Outcome::Noted(_) => self.warnings += 1,
            Outcome::Failed(told) => self.ended = worse(self.ended, after(told.cause)),
        }
        match self.how.json {
            true => {
                let section = self.sections.last_mut().expect("a head comes before its steps");
                section.steps.push(StepTold::of(step));
            }
            false => self.line(step),
        }
    }

    fn line(&mut self, step: Step) {
        let [good, note, bad, skip] = match self.how.utf8 {
            true => ["\u{2713}", "!", "\u{2717}", "-"],
            false => ["ok  ", "note", "FAIL", "skip"],
        };
        let (mark, paint, level, text, remedy) = match step.outcome {
            Outcome::Passed(text) => (good, Paint::Good, Level::Info, text, None),
            Outcome::Skipped(why) => {
                (skip, Paint::Dim, Level::Info, format!("skipped: {why}"), None)
            }
            Outcome::Noted(told) => {
                let advice = advice(&told);
                (note, Paint::Minding, Level::Warn, told.what, Some(advice))
            }
            Outcome::Failed(told) => {
                let advice = advice(&told);
                (bad, Paint::Bad, Level::Error, told.what, Some(advice))
            }
        };
        let took = match step.took.as_ms() {
            0 => String::new(),
            ms => format!("{ms} ms"),
        };
        let indent = 2 + mark.chars().count() + 1 + 11 + 1 + 8 + 2;
        let columns = self.how.columns.unwrap_or(usize::MAX);
        let text = wrapped(&text, indent, columns);
        let mark = paint.on(mark, self.how.colour);
        self.write(level, &format!("  {mark} {:<11} {took:>8}  {text}", step.name.shown()));
        if let Some(remedy) = remedy {
            let remedy = wrapped(&remedy, indent, columns);
            self.write(level, &format!("{:indent$}{remedy}", ""));
        }
    }

    /// The probe goes on when the reader is gone; the error is kept for the end.
    fn write(&mut self, level: Level, text: &str) {
        if self.how.json {
            return;
        }
        let priority = if self.how.journal { logging::priority(level) } else { "" };
        let text: String = text.lines().map(|line| format!("{priority}{line}\n")).collect();
        self.put(&text);
    }

    fn put(&mut self, text: &str) {
        if self.error.is_none() {
            let result =
                self.out.write_all(plain::painted(text).as_bytes()).and_then(|()| self.out.flush());
            self.error = result.err();
        }
    }

    fn close(mut self) -> io::Result<Exit> {
        let failed = self.ended != Exit::Done;
        let line = match self.ended {
            Exit::Done if self.how.offline => {
                "offline checks passed; the services were not contacted (--offline)"
            }
            Exit::Done => "all checks passed",
            Exit::Failed | Exit::Usage | Exit::NotRunning => "a check failed, see above",
            Exit::TryLater => "a service is unreachable, see above",
            Exit::Refused => "a credential or permission is rejected, see above",
            Exit::Config => "the configuration is not usable, see above",
        };
        let summary = match self.warnings {
            0 => line.to_owned(),
            1 => format!("{line}; 1 warning"),
            notes => format!("{line}; {notes} warnings"),
        };
        let is_too_much = self.how.strict && self.warnings > 0 && !failed;
        let summary = if is_too_much { format!("{summary} (--strict)") } else { summary };
        if is_too_much {
            self.ended = Exit::Failed;
        }
        if self.how.json {
            let document = Document {
                schema: SCHEMA,
                version: env!("CARGO_PKG_VERSION"),
                config: std::mem::take(&mut self.config),
                offline: self.how.offline,
                strict: self.how.strict,
                result: match (failed, self.warnings) {
                    (true, _) => "failed",
                    (false, 0) => "passed",
                    (false, _) => "warnings",
                },
                exit_code: self.ended.code(),
                summary,
                sections: std::mem::take(&mut self.sections),
            };
            let text = serde_json::to_string_pretty(&document)?;
            self.put(&format!("{text}\n"));
        } else {
            let paint = match (failed, self.warnings) {
                (true, _) => Paint::Bad,
                (false, 0) => Paint::Good,
                (false, _) => Paint::Minding,
            };
            let level = if self.ended == Exit::Done { Level::Info } else { Level::Error };
            self.write(level, &paint.on(&summary, self.how.colour));
        }
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.ended),
        }
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
