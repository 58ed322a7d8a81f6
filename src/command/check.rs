//! `check`: tries every step to each service and says what to do about the one that fails.
//!
//! Promises: changes nothing, delivers nothing; tells each step as it is done. The exit code is
//! that of the failure a person has to act on first: config, then a refused secret or
//! permission, then what may pass. Never: shows a secret.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::edge::probe::{self, Fault, Outcome, Step};
use crate::edge::proxy::ProxyEnvironment;
use crate::edge::real::Doors;

/// How the result is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Check marks; plain words where the terminal has none.
    pub utf8: bool,
}

/// How `check` ended, with the exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Ended {
    AllGood = 0,
    Failed = 1,
    TryLater = 75,
    Refused = 77,
    BadConfig = 78,
}

impl Ended {
    fn after(fault: Fault) -> Ended {
        match fault {
            Fault::Unknown => Ended::Failed,
            Fault::Unreachable => Ended::TryLater,
            Fault::Refused => Ended::Refused,
            Fault::Config => Ended::BadConfig,
        }
    }
}

/// Checks a config that is already known to be valid. An error means that `out` can't be written.
pub fn check(
    config: &Config,
    config_file: &Path,
    offline: bool,
    look: Look,
    out: &mut dyn Write,
) -> io::Result<Ended> {
    let mut page = Page { out, look, ended: Ended::AllGood, error: None };
    page.head(&format!("config {}", config_file.display()));
    let doors = Doors::new(config, &ProxyEnvironment::read(), &Arc::default());
    let mut doors = match doors {
        Ok(doors) => {
            page.step(passed("config", "valid"));
            doors
        }
        Err(error) => {
            let text = error.to_string();
            let (what, remedy) = match text.split_once(". ") {
                Some((what, remedy)) => (what.to_owned(), remedy.to_owned()),
                None => (text, "Correct this setting".to_owned()),
            };
            page.step(failed("config", what, remedy));
            return page.close();
        }
    };
    for (door, integration) in doors.tenants.iter_mut().zip(&config.integrations) {
        page.head(&format!("integration {} ({})", integration.name, integration.tenant));
        match offline {
            true => drop(probe::secret(door, &mut |step| page.step(step))),
            false => probe::tenant(door, integration, &mut |step| page.step(step)),
        }
    }
    page.head(&format!("Coralogix ({})", config.coralogix.url));
    match offline {
        true => drop(probe::secret(&mut doors.sink, &mut |step| page.step(step))),
        false => probe::team(&mut doors.sink, &mut |step| page.step(step)),
    }
    page.close()
}

fn passed(name: &'static str, text: &str) -> Step {
    Step { name, outcome: Outcome::Passed(text.to_owned()), took: crate::time::Span::ZERO }
}

fn failed(name: &'static str, what: String, remedy: String) -> Step {
    let outcome = Outcome::Failed { what, remedy, fault: Fault::Config };
    Step { name, outcome, took: crate::time::Span::ZERO }
}

/// What is written, and how it stands so far.
struct Page<'a> {
    out: &'a mut dyn Write,
    look: Look,
    ended: Ended,
    error: Option<io::Error>,
}

impl Page<'_> {
    fn head(&mut self, title: &str) {
        self.write(&format!("{title}\n"));
    }

    fn step(&mut self, step: Step) {
        let [good, note, bad, skip] = match self.look.utf8 {
            true => ["\u{2713}", "!", "\u{2717}", "-"],
            false => ["ok  ", "note", "FAIL", "skip"],
        };
        let (mark, text, remedy) = match step.outcome {
            Outcome::Passed(text) => (good, text, None),
            Outcome::Noted(text) => (note, text, None),
            Outcome::Skipped(why) => (skip, format!("skipped: {why}"), None),
            Outcome::Failed { what, remedy, fault } => {
                self.ended = self.ended.max(Ended::after(fault));
                (bad, what, Some(remedy))
            }
        };
        let took = match step.took.as_ms() {
            0 => String::new(),
            ms => format!("{ms} ms"),
        };
        self.write(&format!("  {mark} {:<11} {took:>8}  {text}\n", step.name));
        if let Some(remedy) = remedy {
            let indent = 2 + mark.chars().count() + 1 + 11 + 1 + 8 + 2;
            self.write(&format!("{:indent$}{remedy}.\n", ""));
        }
    }

    /// The probe goes on when the reader is gone; the error is kept for the end.
    fn write(&mut self, text: &str) {
        if self.error.is_none() {
            let result = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
            self.error = result.err();
        }
    }

    fn close(mut self) -> io::Result<Ended> {
        let line = match self.ended {
            Ended::AllGood => "everything works",
            Ended::Failed => "something is wrong, see above",
            Ended::TryLater => "a service can't be reached now, see above",
            Ended::Refused => "a secret or a permission is refused, see above",
            Ended::BadConfig => "the config does not fit, see above",
        };
        self.write(&format!("{line}\n"));
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.ended),
        }
    }
}
