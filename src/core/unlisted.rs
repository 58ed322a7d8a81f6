//! Seconds in which SentinelOne has more records than were collected, and whose list keeps failing:
//! one of the rows in it can't be fetched.
//!
//! Promises: a second is set aside only after its list failed alone as often as `blame` requires,
//! each time with the count of the same second answered before; what is set aside is requested
//! again once a day. Never: decides what is compared, or writes a gap.

use std::collections::BTreeMap;

use crate::limits;
use crate::record::{SourceTrouble, Unread, Way};
use crate::time::{Mono, Span, Stamp};

use super::blame::Blame;

/// A range to be set aside, and how many more records it has than were collected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unlistable {
    pub from: Stamp,
    /// Exclusive.
    pub to: Stamp,
    pub excess: i64,
    pub unread: Unread,
}

#[derive(Clone, Debug, Default)]
pub struct Unlisted {
    blame: Blame<Stamp>,
    unread: Unread,
    /// By their beginning, with the time at which they were last requested.
    aside: BTreeMap<Stamp, (Unlistable, Mono)>,
}

impl Unlisted {
    /// The list of a range that can't be divided further failed alone. Once a row in it is to
    /// blame: returns what is known of that row.
    pub fn failed(
        &mut self,
        now: Mono,
        from: Stamp,
        trouble: &SourceTrouble,
        longest_wait: Span,
    ) -> Option<Unread> {
        if self.blame.lone().is_none_or(|lone| lone.at != from) {
            self.unread = Unread::default();
        }
        self.unread = trouble.unread().or(self.unread);
        let is_to_blame = self.blame.failed(now, from, Way::of_source(trouble), longest_wait, 0);
        is_to_blame.then_some(self.unread)
    }

    /// The count was not answered either, or the list came: no row is to blame.
    pub fn acquit(&mut self) {
        self.blame.acquit();
    }

    pub fn set_aside(&mut self, now: Mono, range: Unlistable) {
        self.blame.set_aside(now);
        self.aside.insert(range.from, (range, now));
        while self.aside.len() > limits::RECONCILE_SETTLED_MAX {
            self.aside.pop_first();
        }
    }

    /// The ranges that are requested again in this round.
    pub fn take_due(&mut self, now: Mono) -> Vec<Unlistable> {
        let long_ago =
            |asked: &Mono| now.since(*asked) >= Span::hours(limits::UNLISTED_AGAIN_HOURS);
        let due = self.aside.values().filter(|(_, asked)| long_ago(asked));
        let due: Vec<Unlistable> =
            due.map(|(range, _)| *range).take(limits::UNLISTED_AT_ONCE).collect();
        for range in &due {
            self.aside.remove(&range.from);
        }
        due
    }
}

#[cfg(test)]
#[path = "tests/unlisted.rs"]
mod tests;
