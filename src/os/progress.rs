//! How far a long command is, on a terminal.
//!
//! Promises: nothing is written where stderr is no terminal, nor by a command that ends quickly;
//! the line is gone when the command goes on. Never: writes to stdout.

use std::io::{self, IsTerminal, Write};

use super::clock;
use crate::time::{Mono, Span};

/// No progress is shown before this time.
const SILENT: Span = Span::ms(500);
const EVERY: Span = Span::ms(200);

/// A line on stderr that is written over.
pub struct Progress {
    what: &'static str,
    is_shown: bool,
    begun: Mono,
    shown_at: Option<Mono>,
}

impl Progress {
    pub fn new(what: &'static str) -> Progress {
        Progress {
            what,
            is_shown: io::stderr().is_terminal(),
            begun: clock::mono(),
            shown_at: None,
        }
    }

    pub fn show(&mut self, done: u64, all: u64) {
        if !self.is_shown {
            return;
        }
        let now = clock::mono();
        if now.since(self.begun) < SILENT || self.shown_at.is_some_and(|at| now.since(at) < EVERY) {
            return;
        }
        self.shown_at = Some(now);
        let percent = done.saturating_mul(100) / all.max(1);
        let left = match done {
            0 => String::new(),
            done => {
                let rest = all.saturating_sub(done);
                let ms = u128::from(now.since(self.begun).as_ms()) * u128::from(rest);
                let ms = u64::try_from(ms / u128::from(done)).unwrap_or(u64::MAX);
                format!(", {} to go", Span::seconds(ms / 1_000))
            }
        };
        let _ = write!(io::stderr(), "\r{}: {percent} %{left}\x1b[K", self.what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown_at.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
