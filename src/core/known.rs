//! The keys that a stream remembers, to find which rows of a page are new.
//!
//! Promises: a row counts as new only once, as long as its key is remembered or its time is covered
//! (keeps P2); no more keys are remembered than `limits::KNOWN_IDS_MAX` (P5), and a record whose key
//! was dropped for that may come twice but is never passed over (P1). Never: moves a position.

use std::collections::BTreeSet;

use crate::limits;
use crate::record::{Covered, Progress, RowKey};
use crate::time::Stamp;

/// The keys of records at or after `Progress::from`: what a walk may read again.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub(super) keys: BTreeSet<RowKey>,
    /// Where the limit shortened the overlap. The present walk may not have passed the forgotten
    /// ids yet.
    floor: Option<Stamp>,
    /// The latest stamp that may become a position.
    latest_place: Option<Stamp>,
    /// Ranges in which everything was collected although the keys are not here.
    covered: Covered,
}

impl Known {
    pub fn new(keys: impl IntoIterator<Item = RowKey>) -> Known {
        Known { keys: keys.into_iter().collect(), ..Known::default() }
    }

    /// As `new`, with ranges that were collected already.
    pub fn beside(keys: impl IntoIterator<Item = RowKey>, covered: Covered) -> Known {
        Known { covered, ..Known::new(keys) }
    }

    /// Whether everything of that time was collected, although the key may not be known.
    pub fn covers(&self, key: &RowKey) -> bool {
        self.covered.has(key.stamp)
    }

    /// The end of the ranges that were collected already.
    pub fn covered_to(&self) -> Option<Stamp> {
        self.covered.end()
    }

    /// Sets the latest stamp that may become a position.
    pub fn places_end_at(&mut self, latest: Stamp) {
        self.latest_place = Some(latest);
    }

    fn latest_place(&self) -> Stamp {
        self.latest_place.unwrap_or(Stamp(Stamp::UNREADABLE.0 - 1))
    }

    /// Whether a record moves no position, so that each walk meets it.
    pub fn is_unplaced(&self, key: &RowKey) -> bool {
        key.stamp > self.latest_place()
    }

    fn unplaced(&self) -> usize {
        let first = RowKey { stamp: Stamp(self.latest_place().0.saturating_add(1)), id: 0 };
        self.keys.range(first..).count()
    }

    /// Removes rows that move no position, if there may be more of them than are known. Returns their
    /// stamps.
    pub fn leave_unplaced(&self, keys: &[RowKey], fresh: &mut Vec<u32>) -> Vec<Stamp> {
        let is_unplaced = |at: &u32| self.is_unplaced(&keys[*at as usize]);
        if !fresh.iter().any(is_unplaced) || !self.is_full_of_unplaced() {
            return Vec::new();
        }
        let (left, kept): (Vec<u32>, Vec<u32>) = fresh.iter().partition(|at| is_unplaced(at));
        *fresh = kept;
        left.into_iter().map(|at| keys[at as usize].stamp).collect()
    }

    pub fn is_full_of_unplaced(&self) -> bool {
        self.keys.len() >= limits::UNPLACED_IDS_MAX && self.unplaced() >= limits::UNPLACED_IDS_MAX
    }

    /// The indices of the new rows, each key once. A row before `from` is settled: it comes only if
    /// SentinelOne compares more coarsely than in microseconds.
    pub fn fresh(&self, rows: &[RowKey], from: Stamp) -> Vec<u32> {
        let mut in_page = BTreeSet::new();
        let from = self.floor.map_or(from, |floor| floor.max(from));
        let rows = rows.iter().enumerate();
        rows.filter(|(_, key)| key.stamp >= from)
            .filter(|(_, key)| !self.covers(key))
            .filter(|(_, key)| !self.keys.contains(key) && in_page.insert(**key))
            .map(|(at, _)| u32::try_from(at).expect("a page has at most PAGE_ROWS_MAX rows"))
            .collect()
    }

    /// Whether `is_one` holds for any known key from `from` on and before `to`.
    pub fn has_between(&self, from: Stamp, to: Stamp, is_one: impl Fn(&RowKey) -> bool) -> bool {
        let [first, last] = [from, to].map(|stamp| RowKey { stamp, id: 0 });
        first < last && self.keys.range(first..last).any(is_one)
    }

    /// Adds the keys just stored and drops those before `progress.from`. Beyond the limit the
    /// oldest are dropped and the next walk starts later, so the overlap gets shorter and memory
    /// stays bounded (P5). If most are of records that move no position, the last of those are
    /// dropped, and the next walks leave out what is not known of them. `from` never passes
    /// `position`, so this may cost duplicates among records of one stamp but never a record.
    pub fn remember(&mut self, keys: &[RowKey], progress: Progress) -> Progress {
        self.keys.extend(keys.iter().filter(|key| key.stamp >= progress.from));
        self.keys = self.keys.split_off(&RowKey { stamp: progress.from, id: 0 });
        self.covered.forget_before(progress.from);
        let mut from = progress.from;
        if self.keys.len() > limits::KNOWN_IDS_MAX {
            let too_many = self.keys.len() - limits::KNOWN_IDS_MAX;
            let unplaced = self.unplaced().saturating_sub(limits::UNPLACED_IDS_MAX);
            for _ in 0..too_many.min(unplaced) {
                self.keys.pop_last();
            }
        }
        while self.keys.len() > limits::KNOWN_IDS_MAX {
            let dropped = self.keys.pop_first().expect("more than the bound is more than none");
            from = Stamp(dropped.stamp.0.saturating_add(1)).min(progress.position);
            self.floor = Some(from);
        }
        Progress { from, ..progress }
    }

    pub fn has(&self, key: &RowKey) -> bool {
        self.keys.contains(key)
    }

    /// Where the next walk starts after all visible was passed: after the position if ids at it
    /// were dropped, because their records would come again with every walk.
    pub fn after_whole_walk(&self, progress: Progress) -> Progress {
        match self.floor {
            Some(floor) if floor >= progress.position => {
                Progress { from: Stamp(progress.position.0.saturating_add(1)), ..progress }
            }
            _ => progress,
        }
    }

    /// Whether any key known before is not known any more.
    pub fn lacks_some_of(&self, before: &Known) -> bool {
        let is_unknown = |key: &RowKey| !self.keys.contains(key) && !self.covers(key);
        before.keys.iter().any(is_unknown) || !self.covered.has_all_of(&before.covered)
    }

    /// Whether any known key is at or before this time.
    pub fn reaches_back_to(&self, stamp: Stamp) -> bool {
        self.keys.first().is_some_and(|key| key.stamp <= stamp)
    }

    pub fn count(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
#[path = "tests/known.rs"]
mod tests;
