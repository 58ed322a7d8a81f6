//! Forwards SentinelOne threats and activities to Coralogix from unattended devices.
#![forbid(unsafe_code)]

pub mod errno;
pub mod limits;
pub mod message;
pub mod plain;
pub mod prng;
pub mod record;
pub mod secret;
pub mod time;
pub mod window;

pub mod answer;
pub mod config;
pub mod coralogix;
pub mod frame;
pub mod pack;
pub mod s1;

pub mod core;

pub mod edge;
pub mod queue;

pub mod work;

pub mod report;

pub mod cli;
pub mod command;

#[cfg(any(test, fuzzing))]
pub mod fuzz;

use std::ffi::OsString;
use std::process::ExitCode;

/// The program: arguments in, exit code out.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let invocation = match cli::parse(args.into_iter().skip(1)) {
        Ok(invocation) => invocation,
        Err(usage) => {
            eprintln!("{}", plain::text(&usage.to_string()));
            return cli::Exit::Usage.into();
        }
    };
    match command::execute(invocation) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            command::put(log::Level::Error, &failure.text);
            failure.exit.into()
        }
    }
}
