//! The words of `--help`: all that a person at a terminal without these docs needs.
//!
//! Promises: fits 80 columns; names every option, file, variable and exit code there is.
//! Never: knows what was typed beyond the topic.

use std::fmt::Write as _;

use super::{COMMANDS, Declared, Exit, Topic, version};

/// The text of `--help`.
pub fn help(topic: Topic) -> String {
    match COMMANDS.iter().find(|command| command.topic == topic) {
        Some(command) => of_command(command),
        None => of_program(),
    }
}

const GLOBAL_OPTIONS: [(&str, &str); 3] = [
    ("-c, --config FILE", "the config to read"),
    ("-h, --help", "this text, or that of a command"),
    ("-V, --version", "the version, and the commit it was built from"),
];

const FILES: [(&str, &str); 3] = [
    ("/etc/s1-coralogix/config.toml", "the config"),
    ("/var/lib/s1-coralogix/", "the queue, where queue.dir names no other"),
    ("/run/s1-coralogix/status.json", "the status, where status.file names no other"),
];

const ENVIRONMENT: [(&str, &str); 7] = [
    ("S1_CORALOGIX_CONFIG", "the config, where --config names none"),
    ("S1_CORALOGIX_LOG", "overrides log.level: error, warn, info, debug, trace"),
    ("S1_CORALOGIX_LOG_STYLE", "terminal, journal, bare (no time) or timed; else as\nstderr needs"),
    ("CORALOGIX_API_KEY", "the API key, where the config names none"),
    ("S1_API_TOKEN", "the API token, where the config names none and has a\nsingle integration"),
    ("CREDENTIALS_DIRECTORY", "set by systemd; the config may name files in it"),
    ("HTTPS_PROXY, NO_PROXY", "the proxy, where network.proxy names none; ALL_PROXY\ntoo"),
];

const PROGRAM: &str = "\
Carries every SentinelOne threat and activity to Coralogix: polls the
Management API, keeps each record in a durable queue on disk, and delivers.
Nothing is dropped while a service, the network or the power is away.
";

const FIRST_STEPS: &str = "
First steps:
  1. Write the config: [coralogix] with domain and api_key_file, and an
     [[integration]] with name, tenant and api_token_file. Each secret stands
     alone in its file, readable for this program only.
  2. s1-coralogix check    tells what does not work yet, and what to do.
  3. s1-coralogix run      collects until it is stopped.
";

const RUN: &str = "\
Collects from SentinelOne and delivers to Coralogix until told to stop. What
can't be delivered waits in the queue (queue.dir) and survives a restart or a
power cut. The log goes to stderr.

A changed token or key file is used at once, without restart or signal. A
refused credential or a service that can't be reached stops nothing else; see
s1-coralogix status.
";

const RUN_MORE: &str = "
With --once it catches up with every stream, delivers everything, and exits:
0 when all is delivered, 75 when a service can't be reached, 77 when a
credential is refused; what was collected is kept. For machines that are online
now and then.

Signals:
  SIGTERM, SIGINT   stop: no new request, everything kept, exit 0
  SIGHUP            read the config again; a wrong one is told and not used
  SIGUSR1           poll and deliver now instead of at the next due time

Examples:
  s1-coralogix run
  S1_CORALOGIX_LOG=debug s1-coralogix -c ./config.toml run --once
";

const CHECK: &str = "\
Tests, in this order, the config, the queue's directory and the status file;
then for each integration the token file, DNS, TCP, proxy, TLS, the clock, the
token, the permission for each stream and the token's end; then the same way
to Coralogix and the API key. Each step that fails is followed by its remedy.

Nothing is changed and no record is sent: each stream is asked for one row,
which is thrown away, and Coralogix is posted an empty list. It may be used
while the daemon runs. Use it as the user the daemon runs as, who may not be
allowed to read what you are.
";

const CHECK_MORE: &str = "
With --offline only the config, the directories and the secret files are
looked at. It is quick and fits ExecStartPre= of a systemd unit.

The exit status is that of the failure to act on first: 78, then 77, then 75.

Examples:
  s1-coralogix check
  sudo -u s1-coralogix s1-coralogix check
";

const STATUS: &str = "\
Shows what the daemon is doing: how far each stream has come, what waits for
delivery, what is wrong, since when, and when it is tried next. Reads the
status file only, so it disturbs nothing.
";

const STATUS_MORE: &str = "
Columns: collected and delivered count records since the daemon started;
position is how far the stream was read, which is the time of its newest record
by SentinelOne's clock: it ages on a tenant where nothing happens.

With --json the status file is printed with one more member, \"running\". Its
\"state\" is healthy, degraded (passes by itself) or stuck (needs a person).

The exit status is 0 only when the daemon runs and is healthy.
";

fn of_program() -> String {
    let mut out = format!("{}\n\n{PROGRAM}\n", version());
    out += "Usage: s1-coralogix [OPTIONS] COMMAND\n";
    let commands = COMMANDS.iter().map(|command| (command.name, command.line));
    list(&mut out, "Commands (each has its own --help)", commands);
    list(&mut out, "Options", GLOBAL_OPTIONS);
    out += FIRST_STEPS;
    list(&mut out, "Files", FILES);
    list(&mut out, "Environment", ENVIRONMENT);
    exit_status(&mut out);
    out
}

fn of_command(command: &Declared) -> String {
    let (text, more) = match command.topic {
        Topic::Check => (CHECK, CHECK_MORE),
        Topic::Status => (STATUS, STATUS_MORE),
        Topic::Run | Topic::Program => (RUN, RUN_MORE),
    };
    let flags: String = command.options.iter().map(|flag| format!(" [{}]", flag.name)).collect();
    let mut out = format!("Usage: s1-coralogix {}{flags} [OPTIONS]\n\n{text}", command.name);
    let own = command.options.iter().map(|flag| (flag.name, flag.line));
    list(&mut out, "Options", own.chain(GLOBAL_OPTIONS));
    out += more;
    exit_status(&mut out);
    out += "\nThe other commands and all files and variables: s1-coralogix --help\n";
    out
}

fn exit_status(out: &mut String) {
    let codes = Exit::ALL.map(|exit| (exit.code().to_string(), exit.explain()));
    list(out, "Exit status", codes.iter().map(|(code, text)| (code.as_str(), *text)));
}

/// A title and two columns; a line break in the second stays in it.
fn list<'a>(out: &mut String, title: &str, rows: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 3;
    let _ = writeln!(out, "\n{title}:");
    for (name, text) in rows {
        let text = text.replace('\n', &format!("\n{:1$}", "", width + 2));
        let _ = writeln!(out, "  {name:<width$}{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_fits_the_screen_and_names_what_there_is() {
        for topic in [Topic::Program, Topic::Run, Topic::Check, Topic::Status] {
            let text = help(topic);
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{topic:?}: {line}");
                assert_eq!(line.trim_end(), line, "{topic:?}");
            }
            assert!(text.contains("Usage: s1-coralogix "), "{text}");
            for exit in Exit::ALL {
                assert!(text.contains(&format!("  {}  ", exit.code())), "{exit:?}: {text}");
            }
            assert!(text.contains("--config FILE") && text.contains("--help"), "{text}");
        }
        for command in &COMMANDS {
            assert!(help(Topic::Program).contains(&format!("  {} ", command.name)));
            for flag in command.options {
                assert!(help(command.topic).contains(&format!("  {} ", flag.name)));
            }
        }
    }

    #[test]
    fn the_named_files_are_those_that_are_used() {
        let named = |text: &str| FILES.iter().any(|(file, _)| file.trim_end_matches('/') == text);
        assert!(named(super::super::CONFIG_DEFAULT));
        for (section, key) in [("queue", "dir"), ("status", "file")] {
            let setting = crate::config::settings::find(section, key).expect("it is a setting");
            let crate::config::settings::Fallback::Value(value) = setting.fallback else {
                panic!("{section}.{key} has a default");
            };
            assert!(named(value.trim_matches('"')), "{value}");
        }
    }
}
