//! Every command, option, exit code, file, signal and environment variable there is. One table,
//! from which the parser, `--help`, the manual page and the shell completions come.
//!
//! Promises: what is not in this table can't be typed. Never: decides what a command does.

use super::Exit;
use super::declare::Text::{Lines, Paragraph, Rows};
use super::declare::{Action, Argument, Choice, CommandSpec, Text, Value, ValueHint};
use super::{Command, Given, Shell, usage};
use crate::message;

/// Taken when nothing else names a config.
pub const CONFIG_DEFAULT: &str = "/etc/s1-coralogix/config.toml";

/// What the program is for, in one line.
pub const LINE: &str = "forwards SentinelOne threats and activities to Coralogix";

/// What the program is for.
pub const ABOUT: &[Text] = &[Paragraph(
    "Forwards SentinelOne threats and activities to Coralogix: polls the Management API, stores \
     each record in a durable queue on disk, and delivers it with retries. An outage of a service, \
     the network or the power drops no record.",
)];

/// How one begins.
pub const FIRST_STEPS: &[Text] = &[Rows(
    "First steps",
    &[
        (
            "1.",
            "Write the config: [coralogix] with domain and api_key_file, and an [[integration]] \
             with name, tenant and api_token_file. Put each secret in its own file, with nothing \
             else in it, readable by this program only.",
        ),
        ("2.", "s1-coralogix check shows what does not work yet, and what to do."),
        ("3.", "s1-coralogix run collects and delivers until it is stopped."),
    ],
)];

const NO_ARGUMENTS: &[Argument] = &[];

/// The options of every command.
pub const EVERYWHERE: &[Choice] = &[
    Choice {
        name: "--config",
        short: Some("-c"),
        value: Some(Value { name: "FILE", hint: ValueHint::File }),
        line: "the config to read",
    },
    Choice {
        name: "--help",
        short: Some("-h"),
        value: None,
        line: "show a summary (-h) or the whole help (--help), of a command or of all",
    },
    Choice {
        name: "--version",
        short: Some("-V"),
        value: None,
        line: "the version, and the commit it was built from",
    },
];

/// The commands.
pub const COMMANDS: &[CommandSpec] =
    &[RUN, CHECK, STATUS, super::queue::QUEUE, CONFIG, EXPLAIN, REPORT, COMPLETIONS, VERSION];

const RUN: CommandSpec = CommandSpec {
    name: "run",
    line: "collect from SentinelOne and deliver to Coralogix",
    about: &[
        Paragraph(
            "Collects from SentinelOne and delivers to Coralogix until it is stopped. What can't \
             be delivered yet stays in the queue (queue.dir) and survives a restart or a power \
             cut. The log goes to stderr.",
        ),
        Paragraph(
            "A changed token or key file is used at once, without restart or signal. A rejected \
             credential or an unreachable service stops nothing else; see s1-coralogix status.",
        ),
    ],
    more: &[
        Paragraph(
            "With --once it catches up on every stream, delivers everything, and exits; what was \
             collected is kept in any case. For machines that are online occasionally.",
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
            "with --once: a service is unreachable, the time is not confirmed, or disk space is \
             missing; everything is kept",
        ),
        (Exit::Refused, "with --once: a credential or permission is rejected; everything is kept"),
        (Exit::Config, "the config can't be used"),
    ],
    action: Action::Run(|given: &Given| Ok(Command::Run { once: given.has("--once") })),
};

const CHECK: CommandSpec = CommandSpec {
    name: "check",
    line: "test the config and each step to both services",
    about: &[
        Paragraph(
            "Tests, in this order, the config, the queue's directory and the status file; then for \
             each integration the token file, DNS, TCP, proxy, TLS, the clock, the token, the \
             permission for each stream and the token's expiry; then the same for Coralogix and \
             the API key. Each step that fails is followed by its remedy.",
        ),
        Paragraph(
            "Nothing is changed and no record is sent: one row of each stream is requested and \
             discarded, and an empty list is sent to Coralogix. It can be used while the daemon \
             runs. Run by root, it switches to the user who owns the queue, so that it sees what \
             the daemon sees.",
        ),
    ],
    more: &[
        Paragraph(
            "With --offline only the config, the directories and the secret files are checked. It \
             is quick and suitable for ExecStartPre= of a systemd unit.",
        ),
        Paragraph(
            "With --json the same is printed as one document with a stable code for each step and \
             cause; /usr/share/doc/s1-coralogix/docs/CHECK.md, which the .deb and the .rpm bring, \
             describes it. With --strict a warning, e.g. a token that expires within 30 \
             days, makes the exit status 1.",
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
        Choice::flag("--strict", "exit with 1 if there are only warnings"),
    ],
    exits: &[
        (Exit::Done, "everything that was tested works"),
        (Exit::Failed, "the result could not be printed; with --strict: there is a warning"),
        (Exit::TryLater, "a service is unreachable, or its answer is not known"),
        (Exit::Refused, "a credential or permission is rejected"),
        (Exit::Config, "the config, a directory or a secret file can't be used"),
    ],
    action: Action::Run(|given: &Given| {
        Ok(Command::Check {
            offline: given.has("--offline"),
            json: given.has("--json"),
            strict: given.has("--strict"),
        })
    }),
};

const STATUS: CommandSpec = CommandSpec {
    name: "status",
    line: "show what the daemon is doing",
    about: &[Paragraph(
        "Shows what the daemon is doing: the position of each stream, what is waiting for \
         delivery, what is wrong, since when, and when the next attempt is. It only reads the \
         status file, so it affects nothing.",
    )],
    more: &[
        Paragraph(
            "Columns: collected and delivered count records since the daemon started; position is \
             the time of the newest record read, by SentinelOne's clock: it ages on a tenant \
             without new records.",
        ),
        Paragraph(
            "With --json the status file is printed with two more members, \"running\" and \
             \"liveness\" (answers, silent, queue_removed or not_running). Its \"state\" is \
                 healthy, degraded (temporary problem, retrying) or stuck (action required).",
        ),
        Paragraph(
            "A daemon that has its queue open but has not written its status for longer than any \
             step takes (110 s plus twice network.timeout) does not answer. With --alive only this \
             is checked: 0 if it works, whatever is wrong with the services, else 1.",
        ),
    ],
    arguments: NO_ARGUMENTS,
    options: &[
        Choice::flag("--json", "print it as JSON, for monitoring"),
        Choice::flag("--alive", "check only whether the daemon works, for probes: 0 or 1"),
        Choice {
            name: "--watch",
            short: Some("-w"),
            value: None,
            line: "refresh every two seconds until interrupted; with --json one line each",
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
    action: Action::Run(|given: &Given| {
        let (json, watch, alive) =
            (given.has("--json"), given.has("--watch"), given.has("--alive"));
        match alive && (json || watch) {
            false => Ok(Command::Status { json, watch, alive }),
            true => usage(
                message::OPTIONS_EXCLUDE,
                "--alive can't be combined with --json or --watch",
                "give one of them",
            ),
        }
    }),
};

const CONFIG: CommandSpec = CommandSpec {
    name: "config",
    line: "show the settings in effect",
    about: &[Paragraph("Shows the settings in effect.")],
    more: &[],
    arguments: NO_ARGUMENTS,
    options: &[],
    exits: &[],
    action: Action::Group(&[CONFIG_SHOW]),
};

const CONFIG_SHOW: CommandSpec = CommandSpec {
    name: "show",
    line: "show every setting in effect and where it is from",
    about: &[Paragraph(
        "Shows every setting in effect and where it is from: default, file and line, or an \
         environment variable of this command. Secrets are masked. A running daemon uses a changed \
         config after SIGHUP.",
    )],
    more: &[
        Paragraph(
            "With --json one document is printed: \"settings\" has for each one its \"name\", \
             \"integration\", \"value\" (null if it is not set), \"origin\" (default, file or \
             environment), \"file\", \"line\" and \"variable\".",
        ),
        Lines("Examples", &["s1-coralogix config show", "sudo s1-coralogix config show --json"]),
    ],
    arguments: NO_ARGUMENTS,
    options: &[Choice::flag("--json", "print it as JSON")],
    exits: &[(Exit::Done, "it is shown"), (Exit::Config, "the config can't be used")],
    action: Action::Run(|given: &Given| Ok(Command::ConfigShow { json: given.has("--json") })),
};

const EXPLAIN: CommandSpec = CommandSpec {
    name: "explain",
    line: "explain a message by its code, or a state by its word",
    about: &[Paragraph(
        "Every message of this program has a stable code, e.g. S1C-E107. This shows what it means \
         and what to do; likewise for a state such as parked, doubt, gap or quarantine. Without an \
         argument all messages and states are listed.",
    )],
    more: &[
        Paragraph(
            "The letter is the severity: E requires action, W may require action, I is \
            information.",
        ),
        Lines("Examples", &["s1-coralogix explain S1C-E107", "s1-coralogix explain parked"]),
    ],
    arguments: &[Argument {
        value: Value { name: "CODE", hint: ValueHint::Word },
        line: "the code, with or without S1C-, or the word of a state",
        needed: false,
    }],
    options: &[],
    exits: &[(Exit::Done, "it is explained")],
    action: Action::Run(|given: &Given| Ok(Command::Explain { code: given.argument(0) })),
};

const REPORT: CommandSpec = CommandSpec {
    name: "report",
    line: "write what support needs to know into a file",
    about: &[Paragraph(
        "Writes one file for whoever helps: version, system, settings without secrets, status, \
         last messages, check --offline and queue stats. It contains no secret and no record, and \
         nothing is sent. With - it is printed, to be read first.",
    )],
    more: &[
        Paragraph(
            "The file must not exist; only its owner can read it. It is JSON if its name ends with \
             .json. What can't be found out, e.g. because the config is invalid, is said in its \
             place.",
        ),
        Lines(
            "Examples",
            &["sudo s1-coralogix report -", "sudo s1-coralogix report s1-coralogix-report.txt"],
        ),
    ],
    arguments: &[Argument {
        value: Value { name: "FILE", hint: ValueHint::File },
        line: "the file to create, or - for stdout",
        needed: true,
    }],
    options: &[Choice::flag("--json", "as JSON, whatever the name of the file")],
    exits: &[(Exit::Done, "it is written"), (Exit::Failed, "the file exists or can't be written")],
    action: Action::Run(|given: &Given| {
        let file = given.file(0).unwrap_or_default();
        Ok(Command::Report { file, json: given.has("--json") })
    }),
};

const COMPLETIONS: CommandSpec = CommandSpec {
    name: "completions",
    line: "print the completion of a shell",
    about: &[Paragraph(
        "Prints the file that makes a shell complete commands and options. The .deb and .rpm \
         packages install it; this is for other installations.",
    )],
    more: &[Lines(
        "Examples",
        &[
            "source <(s1-coralogix completions bash)",
            "s1-coralogix completions zsh > ~/.zfunc/_s1-coralogix",
            "s1-coralogix completions fish > ~/.config/fish/completions/s1-coralogix.fish",
        ],
    )],
    arguments: &[Argument {
        value: Value { name: "SHELL", hint: ValueHint::OneOf(&Shell::NAMES) },
        line: "bash (4 or later), zsh or fish",
        needed: true,
    }],
    options: &[],
    exits: &[(Exit::Done, "it is printed")],
    action: Action::Run(|given: &Given| {
        let shell = Shell::from_name(&given.argument(0).unwrap_or_default());
        Ok(Command::Completions(shell.expect("the parser takes only the names of the table")))
    }),
};

const VERSION: CommandSpec = CommandSpec {
    name: "version",
    line: "show the version, like --version",
    about: &[Paragraph("Shows the version, and the commit it was built from.")],
    more: &[],
    arguments: NO_ARGUMENTS,
    options: &[],
    exits: &[(Exit::Done, "it is shown")],
    action: Action::Run(|_| Ok(Command::Version)),
};

/// What the daemon does on a signal.
pub const SIGNALS: &[(&str, &str)] = &[
    ("SIGTERM, SIGINT", "stop: no new request, everything kept, exit 0"),
    ("SIGHUP", "read the config again; an invalid one is reported and not used"),
    ("SIGUSR1", "poll and deliver now, or retry.min after the last attempt"),
];

/// The files that are there without being named.
pub const FILES: &[(&str, &str)] = &[
    (CONFIG_DEFAULT, "the config"),
    (
        "/etc/s1-coralogix/config.d/*.toml",
        "further config files, read after it in the order of \
        their names",
    ),
    ("/var/lib/s1-coralogix/", "the queue, unless queue.dir is set"),
    ("/run/s1-coralogix/status.json", "the status, unless status.file is set"),
    ("/usr/share/doc/s1-coralogix/docs/", "the documentation, from the .deb and the .rpm"),
];

/// The environment variables that are read.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("S1_CORALOGIX_CONFIG", "the config, if --config is not given"),
    ("S1_CORALOGIX_LOG", "overrides log.level: error, warn, info, debug, trace"),
    (
        "S1_CORALOGIX_LOG_STYLE",
        "one of terminal, journal, bare (no time), timed or json; by default as stderr needs",
    ),
    ("CORALOGIX_API_KEY", "the API key, if the config has none"),
    ("S1_API_TOKEN", "the API token, if the config has none and a single integration"),
    ("CREDENTIALS_DIRECTORY", "set by systemd; the config may name files in it"),
    (
        "HTTPS_PROXY, ALL_PROXY",
        "the proxy, if network.proxy is not set; lower case takes \
        precedence",
    ),
    ("http_proxy", "the same for plain HTTP; the upper-case name is not read"),
    ("NO_PROXY", "hosts that are reached without a proxy"),
    ("TZ", "the time zone of the windows; otherwise /etc/localtime, then /etc/TZ"),
    ("LC_ALL, LC_CTYPE, LANG", "whether check may write more than ASCII"),
    ("NO_COLOR, TERM", "whether a log on a terminal has colours"),
    ("NOTIFY_SOCKET", "set by systemd: where to report readiness"),
    ("WATCHDOG_USEC, WATCHDOG_PID", "set by systemd: how often to report that it is alive"),
    ("JOURNAL_STREAM", "set by systemd: whether stderr goes to the journal"),
];
