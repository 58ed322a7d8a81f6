//! Which program a test runs, and through what.
//!
//! Promises: without a word in the environment it is the one that cargo has just built. S1C_PROGRAM
//! names another, S1C_RUNNER what stands before it (`qemu-arm-static -cpu arm1176`), so that one
//! suite judges every binary that is shipped.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

#[derive(Clone, Debug)]
pub struct Program {
    /// A runner with its arguments, if any, and the program's path at the end.
    words: Vec<OsString>,
}

impl Program {
    /// What the environment says, else what was built.
    pub fn under_test(built: impl AsRef<Path>) -> Program {
        let binary = env::var_os("S1C_PROGRAM").unwrap_or_else(|| built.as_ref().into());
        let runner = env::var("S1C_RUNNER").unwrap_or_default();
        let runner = runner.split_whitespace().map(OsString::from);
        Program { words: runner.chain([binary]).collect() }
    }

    /// The programs of S1C_RELAY, each with its runner: `qemu-aarch64-static A; B`.
    pub fn relay() -> Vec<Program> {
        let relay = env::var("S1C_RELAY").unwrap_or_default();
        let programs = relay.split(';').filter(|words| !words.trim().is_empty());
        programs
            .map(|words| Program { words: words.split_whitespace().map(OsString::from).collect() })
            .collect()
    }

    pub fn of<'a>(words: impl IntoIterator<Item = &'a Path>) -> Program {
        Program { words: words.into_iter().map(OsString::from).collect() }
    }

    /// The same run by another, which takes it for its last arguments.
    pub fn under(&self, runner: impl IntoIterator<Item = OsString>) -> Program {
        Program { words: runner.into_iter().chain(self.words.iter().cloned()).collect() }
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }
}

impl<P: AsRef<Path>> From<P> for Program {
    fn from(path: P) -> Program {
        Program { words: vec![path.as_ref().into()] }
    }
}
