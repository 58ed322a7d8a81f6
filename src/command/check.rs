//! `check`: tries every step to each service and says what to do about the one that fails.
//!
//! Promises: changes nothing, delivers nothing; tells each step as it is done. The exit code is
//! that of the failure a person has to act on first: config, then a refused secret or
//! permission, then what may pass. Never: shows a secret.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use log::Level;

use super::wrapped;
use crate::cli::Exit;
use crate::config::Config;
use crate::edge::probe::{self, Fault, Outcome, Step};
use crate::edge::proxy::ProxyEnvironment;
use crate::edge::real::Doors;
use crate::edge::{ground, logging};

/// What is asked for.
#[derive(Clone, Copy)]
pub struct How<'a> {
    /// Only what can be told without sending anything.
    pub offline: bool,
    /// Check marks; plain words where the terminal has none.
    pub utf8: bool,
    /// Where lines are broken; `None` where nobody looks at them on a terminal.
    pub columns: Option<usize>,
    /// Lines begin with systemd's priorities.
    pub journal: bool,
    pub proxies: &'a ProxyEnvironment,
}

/// The exit code a failing step asks for.
fn after(fault: Fault) -> Exit {
    match fault {
        Fault::Unknown => Exit::Failed,
        Fault::Unreachable => Exit::TryLater,
        Fault::Refused => Exit::Refused,
        Fault::Config => Exit::Config,
    }
}

/// Checks a config that is already known to be valid. An error means that `out` can't be written.
pub fn check(
    config: &Config,
    config_file: &Path,
    how: How,
    out: &mut dyn Write,
) -> io::Result<Exit> {
    let mut page = Page { out, how, ended: Exit::Done, has_notes: false, error: None };
    page.head(&format!("config {}", config_file.display()));
    let doors = Doors::new(config, how.proxies, &Arc::default());
    let mut doors = match doors {
        Ok(doors) => {
            page.step(Step::at_once("config", Outcome::Passed("valid".to_owned())));
            doors
        }
        Err(error) => {
            let text = error.to_string();
            let (what, remedy) = match text.split_once(". ") {
                Some((what, remedy)) => (what.to_owned(), remedy.to_owned()),
                None => (text, "Correct this setting".to_owned()),
            };
            let fault = Fault::Config;
            page.step(Step::at_once("config", Outcome::Failed { what, remedy, fault }));
            return page.close();
        }
    };
    let is_in_use = crate::queue::real::is_in_use(&config.queue.dir) == Some(true);
    page.step(Step::at_once("queue", ground::queue(&config.queue, is_in_use)));
    page.step(Step::at_once("status file", ground::status_file(&config.status_file)));
    for (door, integration) in doors.tenants.iter_mut().zip(&config.integrations) {
        page.head(&format!("integration {} ({})", integration.name, integration.tenant));
        match how.offline {
            true => drop(probe::secret(door, &mut |step| page.step(step))),
            false => probe::tenant(door, integration, &mut |step| page.step(step)),
        }
    }
    page.head(&format!("Coralogix ({})", config.coralogix.url));
    match how.offline {
        true => drop(probe::secret(&mut doors.sink, &mut |step| page.step(step))),
        false => probe::team(&mut doors.sink, &mut |step| page.step(step)),
    }
    page.close()
}

/// What a person has to act on first: the higher number.
fn worse(a: Exit, b: Exit) -> Exit {
    if a.code() >= b.code() { a } else { b }
}

/// What is written, and how it stands so far.
struct Page<'a> {
    out: &'a mut dyn Write,
    how: How<'a>,
    ended: Exit,
    has_notes: bool,
    error: Option<io::Error>,
}

impl Page<'_> {
    fn head(&mut self, title: &str) {
        self.write(Level::Info, title);
    }

    fn step(&mut self, step: Step) {
        let [good, note, bad, skip] = match self.how.utf8 {
            true => ["\u{2713}", "!", "\u{2717}", "-"],
            false => ["ok  ", "note", "FAIL", "skip"],
        };
        let (mark, level, text, remedy) = match step.outcome {
            Outcome::Passed(text) => (good, Level::Info, text, None),
            Outcome::Noted(text) => {
                self.has_notes = true;
                (note, Level::Warn, text, None)
            }
            Outcome::Skipped(why) => (skip, Level::Info, format!("skipped: {why}"), None),
            Outcome::Failed { what, remedy, fault } => {
                self.ended = worse(self.ended, after(fault));
                (bad, Level::Error, what, Some(remedy))
            }
        };
        let took = match step.took.as_ms() {
            0 => String::new(),
            ms => format!("{ms} ms"),
        };
        let indent = 2 + mark.chars().count() + 1 + 11 + 1 + 8 + 2;
        let columns = self.how.columns.unwrap_or(usize::MAX);
        let text = wrapped(&text, indent, columns);
        self.write(level, &format!("  {mark} {:<11} {took:>8}  {text}", step.name));
        if let Some(remedy) = remedy {
            let remedy = wrapped(&format!("{remedy}."), indent, columns);
            self.write(level, &format!("{:indent$}{remedy}", ""));
        }
    }

    /// The probe goes on when the reader is gone; the error is kept for the end.
    fn write(&mut self, level: Level, text: &str) {
        let priority = if self.how.journal { logging::priority(level) } else { "" };
        if self.error.is_none() {
            let text: String = text.lines().map(|line| format!("{priority}{line}\n")).collect();
            let result = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
            self.error = result.err();
        }
    }

    fn close(mut self) -> io::Result<Exit> {
        let line = match self.ended {
            Exit::Done if self.how.offline => {
                "nothing is wrong here; the services were not asked (--offline)"
            }
            Exit::Done => "everything works",
            Exit::Failed | Exit::Usage | Exit::NotRunning => "something is wrong, see above",
            Exit::TryLater => "a service can't be reached now, see above",
            Exit::Refused => "a secret or a permission is refused, see above",
            Exit::Config => "the config does not fit, see above",
        };
        let level = if self.ended == Exit::Done { Level::Info } else { Level::Error };
        match self.has_notes {
            true => self.write(level, &format!("{line}; mind the notes")),
            false => self.write(level, line),
        }
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretSource;
    use crate::edge::loopback::{Server, answer, config, inline, receive};

    fn run(config: &Config, offline: bool, utf8: bool) -> (String, Exit) {
        let mut out = Vec::new();
        let file = Path::new("/etc/s1-coralogix/config.toml");
        let ended = check(
            config,
            file,
            How {
                offline,
                utf8,
                columns: None,
                journal: false,
                proxies: &ProxyEnvironment::default(),
            },
            &mut out,
        )
        .unwrap();
        (String::from_utf8(out).unwrap(), ended)
    }

    #[test]
    fn offline_reads_config_and_secrets_and_sends_nothing() {
        let server = Server::start(None, |_, _| {});
        let base = format!("http://127.0.0.1:{}", server.port);
        let (text, ended) = run(&config(&base, inline("tok"), inline("key")), true, false);
        assert_eq!(ended, Exit::Done);
        assert_eq!(server.accepted(), 0);
        for line in [
            "config /etc/s1-coralogix/config.toml\n",
            "\n  ok   config                valid\n",
            "\n  ok   queue                 /",
            "\n  ok   status file           /",
            &format!("\nintegration acme ({base})\n"),
            &format!(
                "\nCoralogix ({base})\n  ok   secret                read from the config file\n"
            ),
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(
            text.ends_with("\nnothing is wrong here; the services were not asked (--offline)\n")
        );
        assert!(text.lines().count() == 9, "{text}");
    }

    #[test]
    fn the_failure_a_person_must_act_on_decides_the_exit_code() {
        let server = Server::start(None, |wire, _| {
            while let Some(request) = receive(wire) {
                let tenant = request.head.contains("/web/api/");
                answer(wire, if tenant { "401 No" } else { "503 Later" }, "", b"");
            }
        });
        let base = format!("http://127.0.0.1:{}", server.port);
        let mut config = config(&base, inline("tok"), inline("key"));
        let (text, ended) = run(&config, false, true);
        assert_eq!(ended, Exit::Refused);
        assert_eq!(ended as u8, 77);
        assert!(text.contains("\n  \u{2717} token "), "{text}");
        assert!(text.contains("Generate a new API token"), "{text}");
        assert!(text.contains("- threats "), "{text}");
        assert!(text.ends_with("a secret or a permission is refused, see above\n"), "{text}");

        config.coralogix.api_key = SecretSource::File("/nonexistent/key".into());
        let (text, ended) = run(&config, false, true);
        assert_eq!((ended, ended as u8), (Exit::Config, 78), "{text}");
    }

    #[test]
    fn an_unusable_queue_is_told_with_its_remedy_and_priority() {
        let mut config = config("http://127.0.0.1:9", inline("t"), inline("k"));
        // No directory, which not even root can change.
        config.queue.dir = "/dev/null/queue".into();
        let mut out = Vec::new();
        let how = How {
            offline: true,
            utf8: true,
            columns: Some(80),
            journal: true,
            proxies: &ProxyEnvironment::default(),
        };
        let ended = check(&config, Path::new("/etc/c.toml"), how, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(ended, Exit::Config);
        assert!(text.contains("\n<3>  \u{2717} queue  "), "{text}");
        assert!(text.contains("chown -R "), "{text}");
        for line in text.lines() {
            assert!(line.starts_with("<3>") || line.starts_with("<6>"), "{line}");
            assert!(line.chars().count() <= 83, "{line}");
        }
    }

    #[test]
    fn a_service_that_is_down_is_worth_another_try() {
        let (text, ended) =
            run(&config("http://tenant.invalid", inline("t"), inline("k")), false, false);
        assert_eq!((ended, ended as u8), (Exit::TryLater, 75), "{text}");
        assert!(text.contains("FAIL DNS "), "{text}");
    }

    #[test]
    fn a_bad_network_setting_is_told_before_anything_is_tried() {
        let mut config = config("http://127.0.0.1:9", inline("t"), inline("k"));
        config.network.ca_file = Some("/nonexistent/ca.pem".into());
        let (text, ended) = run(&config, false, false);
        assert_eq!(ended, Exit::Config);
        assert!(text.contains("FAIL config "), "{text}");
        assert!(text.contains("/nonexistent/ca.pem: No such file"), "{text}");
    }
}
