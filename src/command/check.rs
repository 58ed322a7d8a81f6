//! `check`: shows every step that `crate::check` tries, and says what to do about the one that
//! fails.
//! Promises: each step is shown as it is done. The exit code is that of the failure to act on
//! first: config, then a rejected secret or permission, then what may be temporary. Never: shows a
//! secret.

use std::io::{self, Write};
use std::path::Path;

use log::Level;
use serde::Serialize;

use super::colour::{Paint, Painted};
use super::wrapped;
use crate::cause::{Cause, ExitClass};
use crate::check::step::{Fault, Name, Outcome, Step};
use crate::check::{self, Listener, Scope};
use crate::cli::Exit;
use crate::config::{Config, Finding};
use crate::net::proxy::ProxyEnvironment;
use crate::os::config_file::ConfigError;
use crate::os::logging;
use crate::plain;
use crate::problem::Problem;

/// The version of `--json`; raised when a member changes its meaning or is removed.
pub const SCHEMA: u32 = 1;

/// The options of the command.
#[derive(Clone, Copy)]
pub struct CheckOptions<'a> {
    /// Only what can be found out without sending anything.
    pub offline: bool,
    /// A warning counts as a failure.
    pub strict: bool,
    /// One JSON document at the end instead of lines.
    pub json: bool,
    /// Check marks; words where the terminal has no UTF-8.
    pub utf8: bool,
    /// Marks in colour.
    pub colour: bool,
    /// The width at which lines are wrapped; `None`: stdout is no terminal.
    pub columns: Option<usize>,
    /// Lines begin with systemd's priorities.
    pub journal: bool,
    pub proxies: &'a ProxyEnvironment,
}

/// The exit code for the cause of a failed step.
fn after(cause: Cause) -> Exit {
    match cause.exit_class() {
        ExitClass::Warning => Exit::Done,
        ExitClass::Unreachable => Exit::TryLater,
        ExitClass::Refused => Exit::Refused,
        ExitClass::Config => Exit::Config,
    }
}

/// Checks a valid config, which may have warnings. An error means that `out` can't be written.
pub fn check(
    config: &Config,
    warnings: &[Finding],
    config_file: &Path,
    how: CheckOptions,
    out: &mut dyn Write,
) -> io::Result<Exit> {
    let mut page = Page::new(how, config_file, out);
    let scope = Scope { offline: how.offline, proxies: how.proxies };
    check::check(config, warnings, config_file, scope, &mut page);
    page.close()
}

/// Writes the JSON document of a config that can't be used; `why`: the text for people.
pub fn unusable(
    config_file: &Path,
    how: CheckOptions,
    why: &ConfigError,
    out: &mut dyn Write,
) -> io::Result<Exit> {
    let mut page = Page::new(how, config_file, out);
    page.head("config", None, &config_file.display().to_string());
    let told = |problem: &Problem| problem.remedy.clone().unwrap_or_default();
    let (cause, remedy) = match why {
        ConfigError::System(problem) => (Cause::SystemRefuses, told(problem)),
        ConfigError::Unreadable(problem) | ConfigError::Denied(problem) => {
            (Cause::ConfigInvalid, told(problem))
        }
        ConfigError::Wrong(_) => {
            (Cause::ConfigInvalid, "Correct the config at the places shown".to_owned())
        }
    };
    let outcome = Outcome::failed(cause, why.to_string(), remedy);
    page.step(Step::at_once(Name::Config, outcome));
    page.close()
}

/// The exit code to act on first: the higher one.
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
    /// The integration's name.
    name: Option<String>,
    /// The file or address.
    place: String,
    steps: Vec<StepReport>,
}

#[derive(Serialize)]
struct StepReport {
    step: &'static str,
    /// `passed`, `warning`, `failed` or `skipped`.
    outcome: &'static str,
    /// The stable name of a warning's or failure's cause.
    cause: Option<&'static str>,
    /// The message code, for `explain`.
    code: Option<String>,
    text: String,
    remedy: Option<String>,
    took_ms: u64,
}

impl StepReport {
    fn of(step: Step) -> StepReport {
        let (outcome, text, fault) = match step.outcome {
            Outcome::Passed(text) => ("passed", text, None),
            Outcome::Skipped(why) => ("skipped", why.to_owned(), None),
            Outcome::Noted(fault) => ("warning", fault.what.clone(), Some(fault)),
            Outcome::Failed(fault) => ("failed", fault.what.clone(), Some(fault)),
        };
        StepReport {
            step: step.name.code(),
            outcome,
            cause: fault.as_ref().map(|fault| fault.cause.code()),
            code: fault.as_ref().map(|fault| fault.code.to_string()),
            text,
            remedy: fault.map(|fault| fault.remedy),
            took_ms: step.took.as_ms(),
        }
    }
}

/// What to do, and the code under which `explain` says more.
fn advice(fault: &Fault) -> String {
    let code = fault.code;
    match fault.remedy.as_str() {
        "" => format!("[{code}]"),
        remedy => format!("{remedy}. [{code}]"),
    }
}

/// The output, and the result so far.
struct Page<'a> {
    out: &'a mut dyn Write,
    how: CheckOptions<'a>,
    config: String,
    sections: Vec<Section>,
    ended: Exit,
    warnings: usize,
    error: Option<io::Error>,
}

impl<'a> Page<'a> {
    fn new(how: CheckOptions<'a>, config_file: &Path, out: &'a mut dyn Write) -> Page<'a> {
        let config = config_file.display().to_string();
        let (sections, ended) = (vec![], Exit::Done);
        Page { out, how, config, sections, ended, warnings: 0, error: None }
    }
}

impl Listener for Page<'_> {
    fn head(&mut self, about: &'static str, name: Option<&str>, place: &str) {
        let title = match (about, name) {
            ("coralogix", _) => format!("Coralogix ({place})"),
            (about, Some(name)) => format!("{about} {name} ({place})"),
            (about, None) => format!("{about} {place}"),
        };
        let (name, place) = (name.map(str::to_owned), place.to_owned());
        self.sections.push(Section { about, name, place, steps: vec![] });
        self.write(Level::Info, &Painted::of(&plain::line(&title)));
    }

    fn step(&mut self, step: Step) {
        match &step.outcome {
            Outcome::Passed(_) | Outcome::Skipped(_) => {}
            Outcome::Noted(_) => self.warnings += 1,
            Outcome::Failed(fault) => self.ended = worse(self.ended, after(fault.cause)),
        }
        match self.how.json {
            true => {
                let section = self.sections.last_mut().expect("a head comes before its steps");
                section.steps.push(StepReport::of(step));
            }
            false => self.line(step),
        }
    }
}

impl Page<'_> {
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
            Outcome::Noted(fault) => {
                let advice = advice(&fault);
                (note, Paint::Minding, Level::Warn, fault.what, Some(advice))
            }
            Outcome::Failed(fault) => {
                let advice = advice(&fault);
                (bad, Paint::Bad, Level::Error, fault.what, Some(advice))
            }
        };
        let took = match step.took.as_ms() {
            0 => String::new(),
            ms => format!("{ms} ms"),
        };
        let indent = 2 + mark.chars().count() + 1 + 11 + 1 + 8 + 2;
        let columns = self.how.columns.unwrap_or(usize::MAX);
        let text = wrapped(&plain::line(&text), indent, columns);
        let mut line = Painted::of("  ");
        line.paint(paint, mark, self.how.colour);
        line.put(&format!(" {:<11} {took:>8}  {text}", step.name.shown()));
        self.write(level, &line);
        if let Some(remedy) = remedy {
            let remedy = wrapped(&plain::line(&remedy), indent, columns);
            self.write(level, &Painted::of(&format!("{:indent$}{remedy}", "")));
        }
    }

    /// The check goes on when the reader has closed the pipe; the error is kept for the end.
    fn write(&mut self, level: Level, text: &Painted) {
        if self.how.json {
            return;
        }
        let priority = if self.how.journal { logging::priority(level) } else { "" };
        let lines = text.as_str().lines();
        let text: String = lines.map(|line| format!("{priority}{line}\n")).collect();
        self.put(&text);
    }

    /// Prints what was made plain.
    fn put(&mut self, text: &str) {
        if self.error.is_none() {
            let result = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
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
            self.put(&plain::text(&format!("{text}\n")));
        } else {
            let paint = match (failed, self.warnings) {
                (true, _) => Paint::Bad,
                (false, 0) => Paint::Good,
                (false, _) => Paint::Minding,
            };
            let level = if self.ended == Exit::Done { Level::Info } else { Level::Error };
            let mut line = Painted::default();
            line.paint(paint, &summary, self.how.colour);
            self.write(level, &line);
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
