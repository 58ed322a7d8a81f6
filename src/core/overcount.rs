//! Records that SentinelOne counts and does not list: either its count or its list is wrong, and
//! nobody can know which.
//!
//! Promises: what one round has found is told only if a later round finds it too, so that no record
//! that appears while a range is compared is taken for one; it stays told until the count agrees, or
//! nothing is remembered of its range any more. Never: requests anything, or explains a difference.

use std::collections::BTreeMap;

use crate::limits;
use crate::time::{Mono, Span, Stamp};

/// A range with more records by its count than by its list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overcount {
    pub from: Stamp,
    /// Exclusive.
    pub to: Stamp,
    pub excess: i64,
    /// A gap reports it.
    pub is_told: bool,
    /// The rounds in which it was found first and last, and the last one that began with it.
    first: u64,
    last: u64,
    asked: u64,
    /// When it was listed last.
    listed: Mono,
}

impl Overcount {
    /// Whether to list its range again although its count has not changed.
    pub fn is_to_be_listed(&self, now: Mono) -> bool {
        !self.is_told || now.since(self.listed) >= Span::hours(limits::UNLISTED_AGAIN_HOURS)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Overcounts {
    by_from: BTreeMap<Stamp, Overcount>,
    /// The number of the present round.
    round: u64,
}

impl Overcounts {
    /// A round begins: the ranges to be counted in it by themselves, those first that nobody was told of
    /// and those that were counted longest ago.
    pub fn begin_round(&mut self, closed: Stamp) -> Vec<(Stamp, Stamp)> {
        self.round += 1;
        let mut due: Vec<&mut Overcount> =
            self.by_from.values_mut().filter(|over| over.to <= closed).collect();
        due.sort_by_key(|over| (over.is_told, over.asked));
        let due = due.into_iter().take(limits::UNLISTED_AT_ONCE);
        due.map(|over| {
            over.asked = self.round;
            (over.from, over.to)
        })
        .collect()
    }

    /// The one of this range; if ids are kept only from a later time on, it begins there from now on.
    pub fn of(&mut self, asked: Option<Stamp>, from: Stamp, to: Stamp) -> Option<Overcount> {
        let over = self.by_from.remove(&asked?)?;
        let over = Overcount { from, ..over };
        if over.to == to && from < to {
            self.by_from.insert(from, over);
            return Some(over);
        }
        None
    }

    pub fn remove(&mut self, from: Stamp) {
        self.by_from.remove(&from);
    }

    /// A list of a range, and the count after it, have shown so many more records by the count.
    pub fn found(&mut self, now: Mono, from: Stamp, to: Stamp, excess: i64) {
        let meets = |over: &Overcount| over.from < to && from < over.to;
        let before: Vec<Overcount> =
            self.by_from.values().filter(|over| meets(over)).copied().collect();
        self.by_from.retain(|_, over| !(from <= over.from && over.to <= to));
        if excess <= 0 {
            return;
        }
        let first = before.iter().map(|over| over.first).min().unwrap_or(self.round);
        let is_told = before.iter().any(|over| over.is_told && over.from <= from && to <= over.to);
        let (last, asked, listed) = (self.round, self.round, now);
        let over = Overcount { from, to, excess, is_told, first, last, asked, listed };
        self.by_from.insert(from, over);
        while self.by_from.len() > limits::RECONCILE_SETTLED_MAX {
            self.by_from.pop_first();
        }
    }

    /// One that a second round has found and that nobody was told of.
    pub fn to_tell(&self) -> Option<Overcount> {
        let is_found_again = |over: &&Overcount| !over.is_told && over.first < over.last;
        self.by_from.values().find(is_found_again).copied()
    }

    /// A gap reports it.
    pub fn told(&mut self, from: Stamp) {
        if let Some(over) = self.by_from.get_mut(&from) {
            over.is_told = true;
        }
    }

    /// How many records are told of.
    pub fn told_of(&self) -> u64 {
        let told = self.by_from.values().filter(|over| over.is_told);
        told.map(|over| over.excess.unsigned_abs()).sum()
    }
}

#[cfg(test)]
#[path = "tests/overcount.rs"]
mod tests;
