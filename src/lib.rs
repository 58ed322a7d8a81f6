//! Forwards SentinelOne threats and activities to Coralogix from unattended devices.
//!
//! One thread asks [`core`] what to do next, does it through [`edge`] and [`queue`], and tells the core
//! what came of it. The core does no input or output and reads no clock, so all of it runs in
//! simulation. A record is acknowledged only once Coralogix accepted it.
//!
//! The rooms, each of which uses only those above it (a test compares):
//!
//! | room | what it holds |
//! |---|---|
//! | [`time`], [`record`], [`problem`], [`message`], [`limits`], [`secret`] | what everything else speaks in |
//! | [`config`] | the settings: parsed, checked, with where each comes from |
//! | [`s1`], [`coralogix`] | what is sent to the two services, and what their answers mean |
//! | [`frame`], [`pack`] | records as they are stored |
//! | [`core`] | what to do next: streams, pages, positions, batches, waits, gaps |
//! | [`os`] | files, signals, clocks, memory, users |
//! | [`net`] | connections: names, addresses, proxies, TLS, clocks of the services |
//! | [`queue`] | the log and its index on disk, and their repair |
//! | [`edge`] | the real network, clock and signals, behind one trait |
//! | [`work`] | carries out what the core decides |
//! | [`check`], [`report`] | the steps of `check`; status file, metrics |
//! | [`cli`], [`mod@command`] | arguments, commands |
//!
//! The way of a record: `work::ask` fetches a page, `s1::page` finds its rows, `core` decides which are
//! new, `queue` stores them, `coralogix::body` makes a batch, `coralogix::verdict` reads the answer,
//! `queue` lets go of what was accepted. docs/ARCHITECTURE.md follows it step by step.
#![forbid(unsafe_code)]

pub mod cause;
pub mod errno;
pub mod json;
pub mod limits;
pub mod message;
pub mod plain;
pub mod prng;
pub mod problem;
pub mod record;
pub mod secret;
pub mod time;
pub mod window;

pub mod answer;
pub mod blocked;
pub mod config;
pub mod coralogix;
pub mod frame;
pub mod pack;
pub mod s1;

pub mod core;

pub mod os;

pub mod net;
pub mod queue;

pub mod edge;

pub mod work;

pub mod check;
pub mod report;

pub mod cli;
pub mod command;

#[cfg(any(test, fuzzing))]
pub mod fuzz;

#[cfg(test)]
#[path = "../tests/support/unit.rs"]
mod test_world;

use std::ffi::OsString;
use std::process::ExitCode;

/// The program: arguments in, exit code out.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Where the mask can't be set, that signal ends the program as before.
    let _ = os::signal::no_end_by_file_size();
    let invocation = match cli::parse(args.into_iter().skip(1)) {
        Ok(invocation) => invocation,
        Err(usage) => {
            eprintln!("{}", plain::text(&usage.to_string()));
            return cli::Exit::Usage.into();
        }
    };
    let exit = match command::execute(invocation) {
        Ok(exit) => exit,
        Err(failure) => {
            command::put(log::Level::Error, &failure.text);
            failure.exit
        }
    };
    os::stderr::finish();
    exit.into()
}
