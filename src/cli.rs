//! Arguments to a `Command`; the words of help; the exit codes.
//!
//! Promises: what is not understood is refused with a hint, never ignored. Never: reads the
//! environment, prints, or ends the process.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::config::suggest;

mod help;

pub use help::help;

/// Taken when nothing else names a config.
pub const CONFIG_DEFAULT: &str = "/etc/s1-coralogix/config.toml";
/// Names the config when no option does.
pub const CONFIG_VARIABLE: &str = "S1_CORALOGIX_CONFIG";

/// How a run ended, as the supervisor and scripts see it. The numbers from 64 on are those of
/// sysexits.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// It failed for a reason that none of the others tells, such as a queue in use.
    Failed = 1,
    /// The arguments make no sense. Nothing was done.
    Usage = 2,
    /// `status` only: the daemon does not run.
    NotRunning = 3,
    /// A side can't be reached or is busy. Everything is kept; try again later.
    TryLater = 75,
    /// A credential or permission is refused. Everything is kept; a person must act.
    Refused = 77,
    /// The config can't be used. Starting again won't help before it is changed.
    Config = 78,
}

impl Exit {
    pub const ALL: [Exit; 7] = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::NotRunning,
        Exit::TryLater,
        Exit::Refused,
        Exit::Config,
    ];

    pub fn code(self) -> u8 {
        self as u8
    }

    fn explain(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed; of status: the daemon runs, but something is wrong",
            Exit::Usage => "the arguments make no sense",
            Exit::NotRunning => "status: the daemon is not running",
            Exit::TryLater => "a service can't be reached; everything is kept, try again later",
            Exit::Refused => "a credential or permission is refused; everything is kept",
            Exit::Config => "the config can't be used",
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> std::process::ExitCode {
        std::process::ExitCode::from(exit.code())
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Collect and deliver until told to stop; `once`: until everything there is is delivered.
    Run { once: bool },
    /// Say what works and what does not; `offline`: only what can be seen without the network.
    Check { offline: bool },
    /// Say what the daemon is doing; `json`: as it stands in the status file.
    Status { json: bool },
    /// Print `help`.
    Help(Topic),
    /// Print `version`.
    Version,
}

/// What help is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    Program,
    Run,
    Check,
    Status,
}

/// A whole command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    pub command: Command,
    /// What `--config` named.
    pub config: Option<PathBuf>,
}

/// Arguments that make no sense. Its text goes to stderr, the exit code is `Exit::Usage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    problem: String,
    hint: String,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s1-coralogix: {}\nhint: {}", self.problem, self.hint)
    }
}

impl std::error::Error for Usage {}

/// A command as it is declared, once for the parser and for help.
struct Declared {
    name: &'static str,
    topic: Topic,
    line: &'static str,
    options: &'static [Flag],
}

/// An option without a value.
struct Flag {
    name: &'static str,
    line: &'static str,
}

const COMMANDS: [Declared; 3] = [
    Declared {
        name: "run",
        topic: Topic::Run,
        line: "collect from SentinelOne and deliver to Coralogix",
        options: &[Flag { name: "--once", line: "catch up, deliver everything, and exit" }],
    },
    Declared {
        name: "check",
        topic: Topic::Check,
        line: "test the config and each step to both services",
        options: &[Flag { name: "--offline", line: "test only what needs no network" }],
    },
    Declared {
        name: "status",
        topic: Topic::Status,
        line: "show what the daemon is doing",
        options: &[Flag { name: "--json", line: "print it as JSON, for monitoring" }],
    },
];

/// Reads the arguments after the program's name. Options may stand before and after the command.
pub fn parse<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Result<Invocation, Usage> {
    let mut typed = Typed::default();
    let mut args = args.into_iter().map(Into::into);
    while let Some(arg) = args.next() {
        typed.take(arg, &mut args)?;
    }
    typed.meant()
}

/// The config to read: what the option says, else the environment, else the default.
pub fn config_path(option: Option<PathBuf>, environment: Option<PathBuf>) -> PathBuf {
    option.or(environment).unwrap_or_else(|| PathBuf::from(CONFIG_DEFAULT))
}

/// `s1-coralogix 0.1.0 (fc39f2b00cbe)`; without the commit where the build did not know it.
pub fn version() -> String {
    let version = concat!("s1-coralogix ", env!("CARGO_PKG_VERSION"));
    match option_env!("S1_CORALOGIX_COMMIT") {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    }
}

/// What was typed so far, before it is known what it means together.
#[derive(Default)]
struct Typed {
    command: Option<&'static Declared>,
    flags: Vec<&'static str>,
    config: Option<PathBuf>,
    wants_help: bool,
    wants_version: bool,
}

impl Typed {
    fn take(
        &mut self,
        arg: OsString,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Usage> {
        let text = arg.to_string_lossy().into_owned();
        match text.as_str() {
            "-h" | "--help" | "help" => self.wants_help = true,
            "-V" | "--version" => self.wants_version = true,
            "-c" | "--config" => {
                let file = rest.next().filter(|file| !file.is_empty());
                self.name_config(file.map(PathBuf::from))?;
            }
            _ if text.starts_with("--config=") => {
                // From the bytes, for a path need not be UTF-8.
                let file = OsStr::from_bytes(&arg.as_bytes()["--config=".len()..]);
                self.name_config((!file.is_empty()).then(|| PathBuf::from(file)))?;
            }
            _ if text.starts_with('-') => self.flags.push(flag(&text)?),
            _ => self.name_command(&text)?,
        }
        Ok(())
    }

    fn name_config(&mut self, file: Option<PathBuf>) -> Result<(), Usage> {
        let Some(file) = file else {
            return usage("--config names no file", "write --config FILE");
        };
        match self.config.replace(file) {
            None => Ok(()),
            Some(_) => usage("--config stands twice", "name one file"),
        }
    }

    fn name_command(&mut self, name: &str) -> Result<(), Usage> {
        let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
            let names = COMMANDS.map(|command| command.name);
            let hint = match suggest::nearest(name, names) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("the commands are {}; see --help", names.join(", ")),
            };
            return usage(format!("there is no command {name:?}"), hint);
        };
        match self.command.replace(command) {
            None => Ok(()),
            Some(first) => {
                let problem = format!("two commands: {} and {name}", first.name);
                usage(problem, "give one command")
            }
        }
    }

    fn meant(self) -> Result<Invocation, Usage> {
        let command = match (self.wants_help, self.wants_version, self.command) {
            (true, _, command) => {
                Command::Help(command.map_or(Topic::Program, |command| command.topic))
            }
            (_, true, _) => Command::Version,
            (_, _, None) => return usage("no command is given", "try run, or see --help"),
            (_, _, Some(command)) => {
                self.flags_belong(command)?;
                let has = |name| self.flags.contains(&name);
                match command.topic {
                    Topic::Check => Command::Check { offline: has("--offline") },
                    Topic::Status => Command::Status { json: has("--json") },
                    Topic::Run | Topic::Program => Command::Run { once: has("--once") },
                }
            }
        };
        Ok(Invocation { command, config: self.config })
    }

    fn flags_belong(&self, command: &Declared) -> Result<(), Usage> {
        let own = |name: &str| command.options.iter().any(|flag| flag.name == name);
        match self.flags.iter().find(|name| !own(name)) {
            None => Ok(()),
            Some(name) => {
                let other = COMMANDS.iter().find(|c| c.options.iter().any(|f| f.name == *name));
                let other = other.map_or("another command", |other| other.name);
                let problem = format!("{name} is no option of {}", command.name);
                usage(problem, format!("it is one of {other}"))
            }
        }
    }
}

fn flag(text: &str) -> Result<&'static str, Usage> {
    let known = || COMMANDS.iter().flat_map(|command| command.options).map(|flag| flag.name);
    if let Some(name) = known().find(|name| *name == text) {
        return Ok(name);
    }
    let all = known().chain(["--config", "--help", "--version"]);
    let hint = match suggest::nearest(text, all) {
        Some(near) => format!("did you mean {near}?"),
        None => "see --help".to_owned(),
    };
    usage(format!("there is no option {text:?}"), hint)
}

fn usage<T>(problem: impl Into<String>, hint: impl Into<String>) -> Result<T, Usage> {
    Err(Usage { problem: problem.into(), hint: hint.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
    }

    #[test]
    fn every_command_line_has_its_meaning() {
        use Command::{Check, Help, Run, Status, Version};
        for (line, command, config) in [
            ("run", Run { once: false }, None),
            ("run --once", Run { once: true }, None),
            ("--once run", Run { once: true }, None),
            ("check -c a.toml", Check { offline: false }, Some("a.toml")),
            ("--config a.toml check --offline", Check { offline: true }, Some("a.toml")),
            ("status --config=a=b", Status { json: false }, Some("a=b")),
            ("status --json", Status { json: true }, None),
            ("--help", Help(Topic::Program), None),
            ("help", Help(Topic::Program), None),
            ("help run", Help(Topic::Run), None),
            ("check -h", Help(Topic::Check), None),
            ("status --help --json", Help(Topic::Status), None),
            ("--version", Version, None),
            ("-V", Version, None),
        ] {
            let config = config.map(PathBuf::from);
            assert_eq!(parse(words(line)), Ok(Invocation { command, config }), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_hint() {
        for (line, problem, hint) in [
            ("", "no command is given", "try run, or see --help"),
            ("rnu", "there is no command \"rnu\"", "did you mean run?"),
            ("start", "there is no command \"start\"", "the commands are run, check, status"),
            ("run --onec", "there is no option \"--onec\"", "did you mean --once?"),
            ("run -x", "there is no option \"-x\"", "see --help"),
            ("run --json", "--json is no option of run", "it is one of status"),
            ("run check", "two commands: run and check", "give one command"),
            ("run --config", "--config names no file", "write --config FILE"),
            ("run --config=", "--config names no file", "write --config FILE"),
            ("run -c a -c b", "--config stands twice", "name one file"),
            ("run --", "there is no option \"--\"", "see --help"),
        ] {
            let told = parse(words(line)).unwrap_err().to_string();
            assert!(told.contains(problem), "{line}: {told}");
            assert!(told.contains(hint), "{line}: {told}");
        }
    }

    #[test]
    fn the_config_is_named_by_option_then_environment_then_default() {
        let path = |text| Some(PathBuf::from(text));
        assert_eq!(config_path(path("a"), path("b")), PathBuf::from("a"));
        assert_eq!(config_path(None, path("b")), PathBuf::from("b"));
        assert_eq!(config_path(None, None), PathBuf::from(CONFIG_DEFAULT));
    }

    #[test]
    fn help_names_every_command_option_and_exit_code() {
        let program = help(Topic::Program);
        for part in [
            "  run ",
            "  check ",
            "  status ",
            "--config FILE",
            "  75 ",
            "  77 ",
            "  78 ",
            CONFIG_DEFAULT,
        ] {
            assert!(program.contains(part), "{part}\n{program}");
        }
        for (topic, option) in
            [(Topic::Run, "--once"), (Topic::Check, "--offline"), (Topic::Status, "--json")]
        {
            assert!(help(topic).contains(&format!("[{option}] [OPTIONS]\n")), "{option}");
        }
    }

    #[test]
    fn the_version_names_the_package() {
        assert!(version().starts_with("s1-coralogix 0."), "{}", version());
    }

    #[test]
    fn exit_codes_are_those_that_scripts_know() {
        assert_eq!(Exit::ALL.map(Exit::code), [0, 1, 2, 3, 75, 77, 78]);
    }
}
