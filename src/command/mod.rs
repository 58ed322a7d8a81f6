//! One file a subcommand, and how all of them begin and end.
//!
//! Promises: a failure is told with its remedy and its exit code; a closed pipe is no failure.

pub mod check;
mod elsewhere;
pub mod explain;
mod liveness;
pub mod paint;
pub mod panics;
pub mod queue;
mod remembered;
pub mod run;
pub mod settings;
pub mod status;
mod told;
mod watch;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use log::Level;

pub use crate::cli::wrapped;
use crate::cli::{self, Command, Exit, Invocation};
use crate::core::Mode;
use crate::edge::proxy::ProxyEnvironment;
use crate::edge::{config_file, host, logging, made, stderr};
use crate::message::{self, Code};
use crate::plain;

/// A failure for people, with the exit code for scripts.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// Begins with its code; findings in the config have theirs behind the place.
    pub text: String,
}

impl Failure {
    pub fn new(code: Code, exit: Exit, text: impl Display) -> Failure {
        Failure { exit, text: format!("{code} {text}") }
    }
}

/// Says on stderr what went wrong where there is no log.
pub fn complain(code: Code, text: impl Display) {
    put(code.level(), &format!("{code} {text}"));
}

/// Puts what has its code already on stderr. Under systemd each line has its priority.
pub fn put(level: Level, text: &str) {
    let priority = match logging::Style::detect() {
        logging::Style::Journal => logging::priority(level),
        _ => "",
    };
    logging::catch_up();
    let put = |line| stderr::put(format!("{priority}{}\n", plain::line(line)).as_bytes());
    text.lines().for_each(put);
}

/// Does what the command line says.
pub fn execute(invocation: Invocation) -> Result<Exit, Failure> {
    // Before any secret is read. A kernel that refuses is no reason not to work.
    host::keep_memory_private();
    made::keep_to_the_owner();
    let config = cli::config_path(invocation.config, config_file::path_from_environment());
    match invocation.command {
        Command::Run { once } => run::run(&config, if once { Mode::Once } else { Mode::Daemon }),
        Command::Check { offline, json, strict } => {
            let proxies = ProxyEnvironment::read();
            let how = check::How {
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
            let ended = match settings::load_quietly(&config) {
                Ok((settings, warnings)) => {
                    check::check(&settings, &warnings, &config, how, &mut out)
                }
                Err(why) if json => check::unusable(&config, how, &why, &mut out),
                Err(why) => return Err(why),
            };
            match ended {
                Ok(ended) => Ok(ended),
                Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
                Err(why) => Err(print_failed(&why)),
            }
        }
        Command::Status { json, watch, alive } => {
            let how = match (json, watch) {
                _ if alive => status::How::Alive,
                (true, true) => status::How::Lines,
                (false, true) => status::How::Watch,
                (true, _) => status::How::Json,
                _ => status::How::Table,
            };
            status::status(&config, how)
        }
        Command::Queue(ask) => queue::execute(&config, &ask),
        Command::Explain { code } => explain::explain(code.as_deref()),
        Command::Help(path) => print(&cli::help(&path)),
        Command::Version => print(&format!("{}\n", cli::version())),
    }
}

/// Prints to stdout; of what a terminal obeys only our colours. Whoever closed the pipe has read enough.
pub fn print(text: &str) -> Result<Exit, Failure> {
    drawn(&plain::painted(text)).map(|_| Exit::Done)
}

/// Prints what may move the cursor as well, at once, and says whether anybody still reads it.
pub fn drawn(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(why) => Err(print_failed(&why)),
    }
}

/// The output could not be written, and not for want of a reader.
fn print_failed(why: &io::Error) -> Failure {
    Failure::new(message::PRINT_FAILED, Exit::Failed, format!("Failed to print: {why}"))
}

/// A name in the first column of a table; one that is too long has a line of its own.
pub fn first_column(name: &str, chars: usize) -> String {
    match name.chars().count() > chars {
        true => format!("{name}\n{:chars$}", ""),
        false => format!("{name:<chars$}"),
    }
}

/// How wide a page may be: as most terminals are, or as this one is.
pub const COLUMNS: usize = 80;

/// How wide a page is made for the terminal that stdout is.
pub fn columns() -> usize {
    host::terminal().map_or(COLUMNS, |(columns, _)| columns.min(COLUMNS))
}
