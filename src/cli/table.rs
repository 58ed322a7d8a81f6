//! Every command, option, exit code, file, signal and environment variable there is. One table,
//! from which the parser, `--help`, the manual page and the shell completions come.
//!
//! Promises: what is not in this table can't be typed. Never: decides what a command does.

use super::Exit;
use super::declare::Text::{Lines, Paragraph, Rows};
use super::declare::{Argument, Choice, Declared, Is, Leads, Text, Value};
use super::{Command, Given, usage};
use crate::message;

/// Taken when nothing else names a config.
pub const CONFIG_DEFAULT: &str = "/etc/s1-coralogix/config.toml";

/// What the program is for, in one line.
pub const LINE: &str = "carries SentinelOne threats and activities to Coralogix";

/// What the program is for.
pub const ABOUT: &[Text] = &[Paragraph(
    "Carries every SentinelOne threat and activity to Coralogix: polls the Management API, keeps \
     each record in a durable queue on disk, and delivers. Nothing is dropped while a service, \
     the network or the power is away.",
)];

/// How one begins.
pub const FIRST_STEPS: &[Text] = &[Rows(
    "First steps",
    &[
        (
            "1.",
            "Write the config: [coralogix] with domain and api_key_file, and an [[integration]] \
             with name, tenant and api_token_file. Each secret stands alone in its file, readable \
             for this program only.",
        ),
        ("2.", "s1-coralogix check tells what does not work yet, and what to do."),
        ("3.", "s1-coralogix run collects until it is stopped."),
    ],
)];

const NO_ARGUMENTS: &[Argument] = &[];

/// The options of every command.
pub const EVERYWHERE: &[Choice] = &[
    Choice {
        name: "--config",
        short: Some("-c"),
        value: Some(Value { name: "FILE", is: Is::File }),
        line: "the config to read",
    },
    Choice {
        name: "--help",
        short: Some("-h"),
        value: None,
        line: "this text, or that of a command",
    },
    Choice {
        name: "--version",
        short: Some("-V"),
        value: None,
        line: "the version, and the commit it was built from",
    },
];

/// The commands.
pub const COMMANDS: &[Declared] = &[RUN, CHECK, STATUS, super::queue::QUEUE, EXPLAIN];

const RUN: Declared = Declared {
    name: "run",
    line: "collect from SentinelOne and deliver to Coralogix",
    about: &[
        Paragraph(
            "Collects from SentinelOne and delivers to Coralogix until told to stop. What can't \
             be delivered waits in the queue (queue.dir) and survives a restart or a power cut. \
             The log goes to stderr.",
        ),
        Paragraph(
            "A changed token or key file is used at once, without restart or signal. A refused \
             credential or a service that can't be reached stops nothing else; see s1-coralogix \
             status.",
        ),
    ],
    more: &[
        Paragraph(
            "With --once it catches up with every stream, delivers everything, and exits; what \
             was collected is kept whatever happens. For machines that are online now and then.",
        ),
        Rows("Signals", SIGNALS),
        Lines(
            "Examples",
            &[
                "s1-coralogix run",
                "S1_CORALOGIX_LOG=debug s1-coralogix -c ./config.toml run --once",
            ],
        ),
    ],
    arguments: NO_ARGUMENTS,
    options: &[Choice::flag("--once", "catch up, deliver everything, and exit")],
    exits: &[
        (Exit::Done, "stopped by a signal; with --once: everything is delivered"),
        (Exit::Failed, "the queue is in use or can't be used"),
        (
            Exit::TryLater,
            "with --once: a service can't be reached, the time is not confirmed, or space is missing; everything is kept",
        ),
        (Exit::Refused, "with --once: a credential or permission is refused; everything is kept"),
        (Exit::Config, "the config can't be used"),
    ],
    leads: Leads::To(|given: &Given| Ok(Command::Run { once: given.has("--once") })),
};

const CHECK: Declared = Declared {
    name: "check",
    line: "test the config and each step to both services",
    about: &[
        Paragraph(
            "Tests, in this order, the config, the queue's directory and the status file; then \
             for each integration the token file, DNS, TCP, proxy, TLS, the clock, the token, the \
             permission for each stream and the token's end; then the same way to Coralogix and \
             the API key. Each step that fails is followed by its remedy.",
        ),
        Paragraph(
            "Nothing is changed and no record is sent: each stream is asked for one row, which is \
             thrown away, and Coralogix is posted an empty list. It may be used while the daemon \
             runs. Called by root, it becomes the user who owns the queue, so that it sees what \
             the daemon sees.",
        ),
    ],
    more: &[
        Paragraph(
            "With --offline only the config, the directories and the secret files are looked at. \
             It is quick and fits ExecStartPre= of a systemd unit.",
        ),
        Paragraph(
            "With --json the same is printed as one document with a stable code for each step and \
             cause; docs/CHECK.md describes it. With --strict a warning, such as a token that ends \
             within 30 days, makes the exit status 1.",
        ),
        Paragraph(
            "Where several steps fail, the exit status is that of the failure to act on first: \
             78, then 77, then 75.",
        ),
        Lines(
            "Examples",
            &["sudo s1-coralogix check", "s1-coralogix check --config ./config.toml"],
        ),
    ],
    arguments: NO_ARGUMENTS,
    options: &[
        Choice::flag("--offline", "test only what needs no network"),
        Choice::flag("--json", "print one JSON document at the end, for scripts"),
        Choice::flag("--strict", "end with 1 where there is only a warning"),
    ],
    exits: &[
        (Exit::Done, "everything that was tested works"),
        (
            Exit::Failed,
            "a step failed for a reason that none of the others tells; with --strict: there is a \
             warning",
        ),
        (Exit::TryLater, "a service can't be reached"),
        (Exit::Refused, "a credential or permission is refused"),
        (Exit::Config, "the config, a directory or a secret file can't be used"),
    ],
    leads: Leads::To(|given: &Given| {
        Ok(Command::Check {
            offline: given.has("--offline"),
            json: given.has("--json"),
            strict: given.has("--strict"),
        })
    }),
};

const STATUS: Declared = Declared {
    name: "status",
    line: "show what the daemon is doing",
    about: &[Paragraph(
        "Shows what the daemon is doing: how far each stream has come, what waits for delivery, \
         what is wrong, since when, and when it is tried next. Reads the status file only, so it \
         disturbs nothing.",
    )],
    more: &[
        Paragraph(
            "Columns: collected and delivered count records since the daemon started; position is \
             how far the stream was read, which is the time of its newest record by SentinelOne's \
             clock: it ages on a tenant where nothing happens.",
        ),
        Paragraph(
            "With --json the status file is printed with two more members, \"running\" and \
             \"liveness\" (answers, silent, queue_removed or not_running). Its \"state\" is \
             healthy, degraded (passes by itself) or stuck (needs a person).",
        ),
        Paragraph(
            "A daemon that holds its queue and has written no status for longer than any step takes \
             (110 s and twice network.timeout) does not answer. With --alive nothing else is judged: \
             0 where it goes on, whatever is wrong with the services, else 1.",
        ),
    ],
    arguments: NO_ARGUMENTS,
    options: &[
        Choice::flag("--json", "print it as JSON, for monitoring"),
        Choice::flag("--alive", "tell only whether it goes on, for probes: 0 or 1"),
        Choice {
            name: "--watch",
            short: Some("-w"),
            value: None,
            line: "show it anew every two seconds, until interrupted; with --json one line each",
        },
    ],
    exits: &[
        (Exit::Done, "the daemon runs and is healthy"),
        (
            Exit::Failed,
            "the daemon runs, but something is wrong or it does not answer; with --alive: it does \
             not answer or does not run",
        ),
        (Exit::NotRunning, "the daemon is not running"),
    ],
    leads: Leads::To(|given: &Given| {
        let (json, watch, alive) =
            (given.has("--json"), given.has("--watch"), given.has("--alive"));
        match alive && (json || watch) {
            false => Ok(Command::Status { json, watch, alive }),
            true => usage(
                message::OPTIONS_EXCLUDE,
                "--alive tells one thing only, so neither --json nor --watch goes with it",
                "give one of them",
            ),
        }
    }),
};

const EXPLAIN: Declared = Declared {
    name: "explain",
    line: "say what a message means, by its code",
    about: &[Paragraph(
        "Every message of this program has a code that never changes, such as S1C-E107. This says \
         what it means and what to do. Without a code all messages are listed.",
    )],
    more: &[
        Paragraph("The letter tells how bad it is: E needs a person, W may, I is good to know."),
        Lines("Examples", &["s1-coralogix explain S1C-E107", "s1-coralogix explain"]),
    ],
    arguments: &[Argument {
        value: Value { name: "CODE", is: Is::Word },
        line: "the code, with or without S1C-",
        needed: false,
    }],
    options: &[],
    exits: &[(Exit::Done, "it is explained")],
    leads: Leads::To(|given: &Given| Ok(Command::Explain { code: given.argument(0) })),
};

/// What the daemon does on a signal.
pub const SIGNALS: &[(&str, &str)] = &[
    ("SIGTERM, SIGINT", "stop: no new request, everything kept, exit 0"),
    ("SIGHUP", "read the config again; a wrong one is told and not used"),
    ("SIGUSR1", "poll and deliver now, or retry.min after the last try, not at the next due time"),
];

/// The files that are there without being named.
pub const FILES: &[(&str, &str)] = &[
    (CONFIG_DEFAULT, "the config"),
    ("/etc/s1-coralogix/config.d/*.toml", "more of it, read after it in the order of their names"),
    ("/var/lib/s1-coralogix/", "the queue, where queue.dir names no other"),
    ("/run/s1-coralogix/status.json", "the status, where status.file names no other"),
];

/// The environment variables that are read.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("S1_CORALOGIX_CONFIG", "the config, where --config names none"),
    ("S1_CORALOGIX_LOG", "overrides log.level: error, warn, info, debug, trace"),
    (
        "S1_CORALOGIX_LOG_STYLE",
        "one of terminal, journal, bare (no time) or timed; else as stderr needs",
    ),
    ("CORALOGIX_API_KEY", "the API key, where the config names none"),
    ("S1_API_TOKEN", "the API token, where the config names none and has a single integration"),
    ("CREDENTIALS_DIRECTORY", "set by systemd; the config may name files in it"),
    ("HTTPS_PROXY, ALL_PROXY", "the proxy, where network.proxy names none; lower case goes first"),
    ("http_proxy", "the same for plain HTTP; in capitals it is not read"),
    ("NO_PROXY", "names that are reached without a proxy"),
    ("TZ", "the time zone of windows; else /etc/localtime, else /etc/TZ"),
    ("LC_ALL, LC_CTYPE, LANG", "whether check may write more than ASCII"),
    ("NO_COLOR, TERM", "whether a log on a terminal has colours"),
    ("NOTIFY_SOCKET", "set by systemd: where to say that all is ready"),
    ("WATCHDOG_USEC, WATCHDOG_PID", "set by systemd: how often to say that all is alive"),
    ("JOURNAL_STREAM", "set by systemd: whether stderr leads to the journal"),
];
