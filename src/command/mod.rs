//! One file for each subcommand, and how all of them begin and end.
//!
//! Promises: a failure is reported with its remedy and its exit code; a closed pipe is no failure.

mod bundle;
pub mod check;
pub mod colour;
mod completions;
mod config;
mod daemon_status;
mod elsewhere;
pub mod explain;
mod liveness;
pub mod panics;
pub mod queue;
pub mod run;
pub mod settings;
pub mod status;
mod watch;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use log::Level;

pub use crate::cli::wrapped;
use crate::cli::{self, Command, Exit, Invocation};
use crate::core::Mode;
use crate::message::{self, Code};
use crate::net::proxy::ProxyEnvironment;
use crate::os::{config_file, host, log_json, logging, made, stderr};
use crate::plain;
use colour::Painted;

/// A failure for people, with the exit code for scripts.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// Begins with its message code; findings in the config have theirs after the file and line.
    pub text: String,
}

impl Failure {
    pub fn new(code: Code, exit: Exit, text: impl Display) -> Failure {
        Failure { exit, text: format!("{code} {text}") }
    }
}

/// Writes an error to stderr, for commands without a log.
pub fn print_error(code: Code, text: impl Display) {
    put(code.level(), &format!("{code} {text}"));
}

/// Writes a text that has its code already to stderr. Under systemd each line has its priority.
pub fn put(level: Level, text: &str) {
    let style = logging::Style::detect();
    let priority = match style {
        logging::Style::Journal => logging::priority(level),
        _ => "",
    };
    let is_json = style == logging::Style::Json || log_json::is_on();
    logging::catch_up();
    for line in text.lines() {
        let line = match is_json {
            true => log_json::line(level, line),
            false => format!("{}\n", plain::line(line)),
        };
        stderr::put(format!("{priority}{line}").as_bytes());
    }
}

/// Runs the command of the command line.
pub fn execute(invocation: Invocation) -> Result<Exit, Failure> {
    // Before any secret is read. If the kernel refuses, the program works without.
    host::keep_memory_private();
    made::keep_to_the_owner();
    let config = cli::config_path(invocation.config, config_file::path_from_environment());
    match invocation.command {
        Command::Run { once } => run::run(&config, if once { Mode::Once } else { Mode::Daemon }),
        Command::Check { offline, json, strict } => {
            let proxies = ProxyEnvironment::read();
            let how = check::CheckOptions {
                offline,
                strict,
                json,
                utf8: host::speaks_utf8(),
                colour: host::shows_colour(),
                columns: io::stdout().is_terminal().then(columns),
                journal: logging::is_journal(io::stdout()),
                proxies: &proxies,
            };
            let mut out = io::stdout().lock();
            let ended = match config_file::load(&config) {
                Ok((settings, warnings)) => {
                    check::check(&settings, &warnings, &config, how, &mut out)
                }
                Err(why) if json => check::unusable(&config, how, &why, &mut out),
                Err(why) => return Err(settings::unusable(&why)),
            };
            match ended {
                Ok(ended) => Ok(ended),
                Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
                Err(why) => Err(print_failed(&why)),
            }
        }
        Command::Status { json, watch, alive } => {
            let how = match (json, watch) {
                _ if alive => status::StatusForm::Alive,
                (true, true) => status::StatusForm::Lines,
                (false, true) => status::StatusForm::Watch,
                (true, _) => status::StatusForm::Json,
                _ => status::StatusForm::Table,
            };
            status::status(&config, how)
        }
        Command::Queue(ask) => queue::execute(&config, &ask),
        Command::Explain { code } => explain::explain(code.as_deref()),
        Command::ConfigShow { json } => config::show(&config, json),
        Command::Report { file, json } => bundle::report(&config, &file, json),
        Command::Completions(shell) => print(completions::of(shell)),
        Command::Help(path) => print(&cli::help(&path)),
        Command::Summary(path) => print(&cli::summary(&path)),
        Command::Version => print(&format!("{}\n", cli::version())),
    }
}

/// Prints lines to stdout, made plain. A closed pipe is no error.
pub fn print(text: &str) -> Result<Exit, Failure> {
    print_painted(&Painted::of(text))
}

/// The same for what has our colours in it.
pub fn print_painted(text: &Painted) -> Result<Exit, Failure> {
    drawn(text.as_str()).map(|_| Exit::Done)
}

/// Stdout for what is printed piece by piece, made plain.
pub struct PlainOut(io::StdoutLock<'static>);

impl PlainOut {
    pub fn open() -> PlainOut {
        PlainOut(io::stdout().lock())
    }

    pub fn put(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(Painted::of(text).as_str().as_bytes())
    }
}

/// Prints a text that may also move the cursor, and is plain otherwise, at once; returns whether the
/// pipe is still open.
pub fn drawn(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(why) => Err(print_failed(&why)),
    }
}

/// Stdout could not be written, for another reason than a closed pipe.
fn print_failed(why: &io::Error) -> Failure {
    Failure::new(message::PRINT_FAILED, Exit::Failed, format!("Failed to print: {why}"))
}

/// A name in the first column of a table; one that is too long gets a line of its own.
pub fn first_column(name: &str, chars: usize) -> String {
    match name.chars().count() > chars {
        true => format!("{name}\n{:chars$}", ""),
        false => format!("{name:<chars$}"),
    }
}

/// The width of a page in columns, where that of the terminal is not known.
pub const COLUMNS: usize = 80;

/// The width of a page for the terminal on stdout.
pub fn columns() -> usize {
    host::terminal().map_or(COLUMNS, |(columns, _)| columns.min(COLUMNS))
}
