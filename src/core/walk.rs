//! A walk over one stream: from a point in SentinelOne's time to the end of what is visible.
//!
//! A walk starts at `Progress::from` and follows cursors. What it has passed is *settled* once the
//! visibility lag (the overlap) has gone by, measured on SentinelOne's own clock:
//!
//! ```text
//!   ......settled......|....overlap....|           stamps, SentinelOne's time
//!                      ^from           ^position   ^ the answer's Date
//! ```
//!
//! Promises: the next walk starts at or before the first point where a late record may still
//! appear, even when this walk was held up for hours in the middle (keeps P1); what it then reads
//! again is known by its key and dropped (keeps P2). Never: looks at the local clock (P8).

use std::collections::BTreeSet;

use crate::limits;
use crate::record::{Cursor, Progress, RowKey};
use crate::time::{Span, Stamp};

#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    pub from: Stamp,
    pub cursor: Option<Cursor>,
    /// Every record at or before this has been seen after its lag was over.
    settled: Stamp,
    /// The highest stamp passed.
    reached: Stamp,
    /// Rows since the last one that was new.
    repeats: usize,
}

impl Walk {
    pub fn starting(from: Stamp) -> Walk {
        Walk { from, cursor: None, settled: from, reached: from, repeats: 0 }
    }

    /// The walk after a page that reached `last`, answered at `date` by SentinelOne's clock.
    pub fn after_page(
        &self,
        last: Stamp,
        date: Option<Stamp>,
        cursor: Option<Cursor>,
        overlap: Span,
    ) -> Walk {
        let reached = self.reached.max(last);
        // Without a Date, or with one that is behind the records it came with, the highest stamp
        // is the best clock there is.
        let behind = Span::minutes(limits::STAMP_AHEAD_OF_SOURCE_MINUTES_MAX);
        let date = date.filter(|date| *date + behind >= reached);
        let horizon = date.unwrap_or(reached) - overlap;
        // Contiguous: nothing unsettled lies between what was settled and where this page began.
        let contiguous = date.is_none() || self.settled >= self.reached;
        let settled =
            if contiguous { self.settled.max(reached.min(horizon)) } else { self.settled };
        Walk { from: self.from, cursor, settled, reached, repeats: self.repeats }
    }

    /// The walk after a page of so many rows, of which these are new.
    pub fn counting(self, fresh: &[u32], rows: usize) -> Walk {
        let repeats = if fresh.is_empty() { self.repeats.saturating_add(rows) } else { 0 };
        Walk { repeats, ..self }
    }

    /// More known rows in a row than can be known: the cursors lead nowhere, and following them
    /// would never end (keeps P6). The next walk begins by time.
    pub fn goes_in_circles(&self) -> bool {
        self.repeats > limits::KNOWN_IDS_MAX
    }

    /// Where the next walk has to start.
    pub fn next_from(&self, position: Stamp, overlap: Span) -> Stamp {
        self.settled.min(position - overlap)
    }
}

/// The keys of records at or after `Progress::from`: what a walk may read again.
#[derive(Clone, Debug, Default)]
pub struct Known {
    keys: BTreeSet<RowKey>,
    /// Where the overlap was cut short for want of room. A walk that is under way may not have
    /// passed what was forgotten yet.
    floor: Option<Stamp>,
}

impl Known {
    pub fn new(keys: impl IntoIterator<Item = RowKey>) -> Known {
        Known { keys: keys.into_iter().collect(), floor: None }
    }

    /// The indices of the rows that were not seen before, each key once. A row before `from` is
    /// settled: it only comes when SentinelOne compares more coarsely than in microseconds.
    pub fn fresh(&self, rows: &[RowKey], from: Stamp) -> Vec<u32> {
        let mut in_page = BTreeSet::new();
        let from = self.floor.map_or(from, |floor| floor.max(from));
        let rows = rows.iter().enumerate();
        rows.filter(|(_, key)| key.stamp >= from)
            .filter(|(_, key)| !self.keys.contains(key) && in_page.insert(**key))
            .map(|(at, _)| u32::try_from(at).expect("a page has at most PAGE_ROWS_MAX rows"))
            .collect()
    }

    /// Takes in the keys just stored and lets go of those before `progress.from`. Beyond the
    /// bound the oldest go first and the next walk starts later: the overlap gets shorter, the
    /// memory never larger (P5). `from` never passes `position`, so that this may cost
    /// duplicates among records of one stamp but never a record.
    pub fn remember(&mut self, keys: &[RowKey], progress: Progress) -> Progress {
        self.keys.extend(keys.iter().filter(|key| key.stamp >= progress.from));
        self.keys = self.keys.split_off(&RowKey { stamp: progress.from, id: 0 });
        let mut from = progress.from;
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

    /// Whether anything that was known before is not known any more.
    pub fn lacks_some_of(&self, before: &Known) -> bool {
        before.keys.iter().any(|key| !self.keys.contains(key))
    }

    pub fn count(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERLAP: Span = Span::seconds(120);

    fn at(seconds: i64) -> Stamp {
        Stamp::from_seconds(1_800_000_000 + seconds)
    }

    fn key(seconds: i64, id: u64) -> RowKey {
        RowKey { stamp: at(seconds), id }
    }

    #[test]
    fn a_walk_through_old_records_settles_them_up_to_the_overlap() {
        let walk = Walk::starting(at(0));
        let walk = walk.after_page(at(1_000), Some(at(90_000)), None, OVERLAP);
        assert_eq!(walk.next_from(at(1_000), OVERLAP), at(880));
    }

    #[test]
    fn a_walk_among_new_records_starts_again_before_the_lag() {
        let walk = Walk::starting(at(0));
        let walk = walk.after_page(at(1_000), Some(at(1_001)), None, OVERLAP);
        assert_eq!(walk.next_from(at(1_000), OVERLAP), at(880));
    }

    #[test]
    fn a_walk_held_up_for_hours_among_new_records_does_not_settle_them() {
        let walk = Walk::starting(at(0));
        let walk = walk.after_page(at(1_000), Some(at(1_001)), Some(Cursor("x".into())), OVERLAP);
        // Five hours later, with the queue free again, the cursor goes on: a record of second 900
        // that became visible in between lies behind it.
        let walk = walk.after_page(at(19_000), Some(at(19_001)), None, OVERLAP);
        assert!(walk.next_from(at(19_000), OVERLAP) <= at(900));
    }

    #[test]
    fn a_date_behind_the_records_is_not_believed() {
        let walk = Walk::starting(at(0));
        let walk = walk.after_page(at(10_000), Some(at(0)), None, OVERLAP);
        assert_eq!(walk.next_from(at(10_000), OVERLAP), at(9_880));
    }

    #[test]
    fn known_rows_and_repeats_in_a_page_are_not_fresh() {
        let known = Known::new([key(1, 1), key(2, 2)]);
        let rows = [key(1, 1), key(2, 3), key(2, 3), key(3, 2)];
        assert_eq!(known.fresh(&rows, at(0)), [1, 3]);
    }

    #[test]
    fn a_row_before_the_walk_is_settled_and_not_fresh() {
        assert_eq!(Known::default().fresh(&[key(1, 1), key(2, 2)], at(2)), [1]);
    }

    #[test]
    fn a_changed_threat_is_fresh_again() {
        let known = Known::new([key(1, 1)]);
        assert_eq!(known.fresh(&[key(2, 1)], at(0)), [0]);
    }

    #[test]
    fn what_lies_before_the_next_walk_is_forgotten() {
        let mut known = Known::new([key(1, 1), key(2, 2)]);
        let progress = Progress { position: at(200), from: at(2) };
        assert_eq!(known.remember(&[key(200, 3)], progress), progress);
        assert_eq!(known.count(), 2);
    }

    #[test]
    fn too_many_ids_shorten_the_overlap_but_never_pass_the_position() {
        let mut known = Known::default();
        let rows: Vec<RowKey> =
            (0..limits::KNOWN_IDS_MAX as u64 + 10).map(|id| key(5, id)).collect();
        let progress = Progress { position: at(5), from: at(0) };
        assert_eq!(known.remember(&rows, progress), Progress { position: at(5), from: at(5) });
        assert_eq!(known.count(), limits::KNOWN_IDS_MAX);
    }

    #[test]
    fn what_was_forgotten_for_want_of_room_is_not_fresh_to_a_walk_under_way() {
        let rows: Vec<RowKey> =
            (0..limits::KNOWN_IDS_MAX as i64 + 10).map(|n| key(n, n as u64)).collect();
        let mut known = Known::new(rows.clone());
        let progress = Progress { position: rows[rows.len() - 1].stamp, from: at(0) };
        known.remember(&[], progress);
        assert!(known.fresh(&rows, at(0)).is_empty());
    }
}
