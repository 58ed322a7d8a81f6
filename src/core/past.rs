//! A row that fails alone in a list, and how the list gets past it.
//!
//! ```text
//!   Row: one row is asked for, and fails --so often--> Behind: the one after it, by its place
//!     ^                                                   | comes, or there is none: seen alive
//!     '----------------- not so often yet ----------------|
//!                                                         '--> the list goes on behind it
//! ```
//!
//! Promises: a row is passed over only after it failed again each time that what lies behind it came
//! (keeps P1), so that an outage passes over nothing. Never: remembers anything beyond one list.

use crate::limits;
use crate::record::{RowKey, Unread};
use crate::time::Stamp;

/// What follows from rows of a list that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// They are the list's next.
    Next,
    /// They only told that what lies behind a row can be had: they are left.
    Look,
    /// The list goes on with them; what lies before them is passed over.
    Past(Passed),
}

/// What a list went past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The stamp of the row before it; `None`: it is the first.
    pub after: Option<Stamp>,
    /// That of the row behind it; `None`: it is the last.
    pub before: Option<Stamp>,
    pub unread: Unread,
}

#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Rows of the list that came or were passed over, and the stamp of the last that came.
    passed: u32,
    last: Option<Stamp>,
    /// How often the row after those failed alone, and what that told of it.
    failures: u32,
    unread: Unread,
    /// How often what lies behind it came.
    confirms: u32,
    /// Rows beside it that fail too, and how often the one behind all of them did.
    more: u32,
    failures_behind: u32,
    is_behind: bool,
    asked: u32,
    /// Rows that the list went past.
    pub stepped: u32,
}

impl Past {
    /// How many rows are asked for next, and how many of the range are passed over by their place.
    pub fn asks(&mut self, rows_max: u32) -> (u32, Option<u32>) {
        self.asked = if self.failures > 0 { 1 } else { rows_max };
        (self.asked, self.is_behind.then_some(self.passed + 1 + self.more))
    }

    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// What was asked for failed in a way that may be a row's fault.
    pub fn failed(&mut self, unread: Unread) {
        if self.is_behind {
            self.failures_behind += 1;
            if self.failures_behind >= limits::LONE_FAILURES {
                (self.failures_behind, self.more) = (0, self.more + 1);
                // Several in a row: no one of them is meant by what is known.
                self.unread = Unread::default();
            }
        } else if self.asked == 1 {
            self.failures += 1;
            if self.more == 0 {
                self.unread = unread.or(self.unread);
            }
            self.is_behind = self.failures >= limits::LONE_REFUSALS;
        }
        self.is_behind &= self.passed + 1 + self.more <= limits::SKIP_MAX;
    }

    pub fn came(&mut self, keys: &[RowKey]) -> Came {
        let came = if !self.is_behind {
            Came::Next
        } else {
            (self.is_behind, self.failures_behind) = (false, 0);
            self.confirms += 1;
            if self.confirms < limits::LONE_CONFIRMS {
                self.failures = limits::LONE_REFUSALS - 1;
                return Came::Look;
            }
            let before = keys.first().map(|key| key.stamp);
            Came::Past(Passed { after: self.last, before, unread: self.unread })
        };
        let stepped = if came == Came::Next { 0 } else { 1 + self.more };
        let passed = self.passed + stepped + u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let last = keys.last().map(|key| key.stamp).or(self.last);
        *self = Past { passed, last, stepped: self.stepped + stepped, ..Past::default() };
        came
    }
}
