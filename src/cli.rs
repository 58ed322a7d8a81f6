//! Arguments to a `Command`; the words of help; the exit codes.
//!
//! Holds: `table`, the one declaration of all that can be typed; `parse` reads by it and `help`
//! shows it. Promises: what is not understood is refused with a hint, never ignored. Never: reads
//! the environment, prints, or ends the process.

use std::path::PathBuf;

pub mod declare;
mod help;
mod parse;
pub mod queue;
pub mod table;

pub use help::{help, shape, summary, wrapped};
pub use parse::{Given, Usage, parse, usage};
pub use table::CONFIG_DEFAULT;

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

    pub fn explain(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed; of status: the daemon runs, but something is wrong",
            Exit::Usage => "usage error",
            Exit::NotRunning => "status: the daemon is not running",
            Exit::TryLater => {
                "not now: a service is unreachable, the time is not confirmed, or a system resource is missing; everything is kept, try again later"
            }
            Exit::Refused => "a credential or permission is rejected; everything is kept",
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Collect and deliver until told to stop; `once`: until everything there is is delivered.
    Run { once: bool },
    /// Say what works and what does not; `offline`: only what can be seen without the network.
    Check { offline: bool, json: bool, strict: bool },
    /// Say what the daemon is doing; `json`: as it stands in the status file; `watch`: again and
    /// again; `alive`: only whether it goes on.
    Status { json: bool, watch: bool, alive: bool },
    /// Look at the queue, or change it.
    Queue(queue::QueueCommand),
    /// Say what a message means and what to do; `None`: all messages.
    Explain { code: Option<String> },
    /// Show the settings in effect, and where each is from.
    ConfigShow { json: bool },
    /// Write what support needs to know into a file; `-`: print it.
    Report { file: PathBuf, json: bool },
    /// Print the completion of a shell.
    Completions(Shell),
    /// Print `help` of the command that these words name; none name the program.
    Help(Vec<&'static str>),
    /// Print `summary` of the same.
    Summary(Vec<&'static str>),
    /// Print `version`.
    Version,
}

/// A shell that completions are shipped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    /// As an argument, in the order of `ALL`.
    pub const NAMES: [&str; 3] = ["bash", "zsh", "fish"];
    pub const ALL: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

    pub fn from_name(name: &str) -> Option<Shell> {
        Shell::ALL
            .into_iter()
            .zip(Shell::NAMES)
            .find(|(_, known)| *known == name)
            .map(|(one, _)| one)
    }
}

/// A whole command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    pub command: Command,
    /// What `--config` named.
    pub config: Option<PathBuf>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_is_named_by_option_then_environment_then_default() {
        let path = |text| Some(PathBuf::from(text));
        assert_eq!(config_path(path("a"), path("b")), PathBuf::from("a"));
        assert_eq!(config_path(None, path("b")), PathBuf::from("b"));
        assert_eq!(config_path(None, None), PathBuf::from(CONFIG_DEFAULT));
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
