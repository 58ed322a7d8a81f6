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

use super::source_clock::Present;

/// How a walk goes on after a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// By the cursor, or by time where cursors lead nowhere.
    Page(Walk),
    /// Everything that is visible was passed.
    Whole,
    /// The pages lead back to where they came from.
    Circle,
    /// One page without a record after the other, each with a new cursor.
    NothingButEmptyPages,
    /// Cursors are refused, and going on by time leads no further.
    Stuck,
}

/// What a page held, as far as the walk is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Passed<'a> {
    pub keys: &'a [RowKey],
    pub fresh: usize,
    pub next: Option<&'a Cursor>,
    /// Keys that the stream knows.
    pub known: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// The earliest stamp asked for. Where the walk goes on by time, this moves.
    pub from: Stamp,
    pub cursor: Option<Cursor>,
    /// Every record at or before this has been seen after its lag was over.
    settled: Stamp,
    /// The highest stamp passed that a position may have.
    reached: Stamp,
    /// The source's present when the walk began: what becomes visible later is for the next one.
    began: Option<Stamp>,
    pages: u32,
    /// Whether a page was passed while nobody could tell the time: nothing is settled then.
    untimed: bool,
    /// Whether rows came in another order than asked for, and whether any two came in it.
    pub disordered: bool,
    pub rose: bool,
    highest: Stamp,
    /// Rows since the last one that was new.
    repeats: usize,
    empty_pages: u32,
    trail: Trail,
    /// Cursors of this walk that were refused.
    refused: u32,
}

/// Finds out that cursors lead back: one is kept and compared with all that follow, and replaced
/// after 1, 2, 4, ... of them (Brent), so that a circle of any length is found with one in memory.
#[derive(Clone, Debug, Default, PartialEq)]
struct Trail {
    kept: Option<Cursor>,
    steps: u64,
    power: u64,
}

impl Trail {
    /// Whether this cursor was seen before.
    fn leads_back(&mut self, next: &Cursor) -> bool {
        if self.kept.as_ref() == Some(next) {
            return true;
        }
        self.steps += 1;
        if self.steps >= self.power {
            self.kept = Some(next.clone());
            self.power = self.power.saturating_mul(2).max(1);
            self.steps = 0;
        }
        false
    }
}

impl Walk {
    pub fn starting(from: Stamp) -> Walk {
        Walk {
            from,
            cursor: None,
            settled: from,
            reached: from,
            began: None,
            pages: 0,
            untimed: false,
            disordered: false,
            rose: false,
            highest: Stamp::MIN,
            repeats: 0,
            empty_pages: 0,
            trail: Trail::default(),
            refused: 0,
        }
    }

    /// Whether it has not passed a page yet.
    pub fn is_new(&self) -> bool {
        self.pages == 0
    }

    /// Takes in a page whose rows have these stamps, in their order.
    pub fn pass(&mut self, keys: &[RowKey], present: Present, overlap: Span) {
        self.pages = self.pages.saturating_add(1);
        self.began = self.began.or(present.earliest());
        self.untimed |= present == Present::Unconfirmed;
        let coarseness = Span::seconds(limits::SOURCE_COARSENESS_SECONDS);
        // What is dated ahead may stand anywhere.
        let stamps = keys.iter().map(|key| key.stamp);
        for stamp in stamps.filter(|stamp| present.allows(*stamp)) {
            self.disordered |= stamp < self.highest - coarseness;
            self.rose |= self.highest != Stamp::MIN && stamp > self.highest + coarseness;
            self.highest = self.highest.max(stamp);
        }
        let before = self.reached;
        self.reached = self.reached.max(self.highest);
        // Rows may still come that lie before those that were passed.
        if self.disordered || self.untimed {
            return;
        }
        // Without a Date, or with one that is behind the records it came with, the highest stamp
        // is the best clock there is.
        let behind = Span::minutes(limits::STAMP_AHEAD_OF_SOURCE_MINUTES_MAX);
        let date = present.earliest().filter(|date| *date + behind >= self.reached);
        let horizon = date.unwrap_or(self.reached) - overlap;
        // Contiguous: nothing unsettled lies between what was settled and where this page began.
        if date.is_none() || self.settled >= before {
            self.settled = self.settled.max(self.reached.min(horizon));
        }
    }

    /// How the walk goes on after the page that was just passed.
    pub fn after(mut self, page: Passed<'_>) -> Next {
        self.repeats = match page.fresh {
            0 => self.repeats.saturating_add(page.keys.len()),
            _ => 0,
        };
        let Some(next) = page.next else { return Next::Whole };
        self.empty_pages = if page.keys.is_empty() { self.empty_pages + 1 } else { 0 };
        if self.empty_pages >= limits::EMPTY_PAGES_MAX {
            return Next::NothingButEmptyPages;
        }
        // Servers that keep the place themselves give one cursor for all pages, so only a page
        // without anything new is held against it. More known rows in a row than are known were
        // seen twice.
        let seen_before = self.cursor.as_ref() == Some(next) || self.trail.leads_back(next);
        let too_many = self.repeats > page.known + limits::PAGE_ROWS_MAX as usize;
        if page.fresh == 0 && (seen_before || too_many) {
            return self.by_time().map_or(Next::Circle, Next::Page);
        }
        if self.refused >= limits::CURSORS_REFUSED_MAX {
            // They are refused anyway, and each try costs a request and a wait.
            return self.by_time().map_or(Next::Stuck, Next::Page);
        }
        Next::Page(Walk { cursor: Some(next.clone()), ..self })
    }

    /// The walk goes on where it is by time instead of by its cursor, if that leads anywhere:
    /// everything before the highest stamp that was passed was seen, as long as rows come in order.
    fn by_time(self) -> Option<Walk> {
        let leads_on = !self.disordered && self.reached > self.from;
        leads_on.then(|| Walk {
            from: self.reached,
            cursor: None,
            repeats: 0,
            empty_pages: 0,
            trail: Trail::default(),
            ..self
        })
    }

    /// The cursor was refused. `None`: the walk can't go on and begins anew.
    pub fn after_refused_cursor(mut self) -> Option<Walk> {
        self.refused = self.refused.saturating_add(1);
        self.by_time()
    }

    /// Everything that was visible when the walk began has been passed, in whatever order.
    pub fn end(&mut self, overlap: Span) {
        if let Some(began) = self.began.filter(|_| self.disordered && !self.untimed) {
            self.settled = self.settled.max(self.reached.min(began - overlap));
        }
    }

    /// The highest stamp passed that a position may have.
    pub fn reached(&self) -> Stamp {
        self.reached
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

    /// Where the next walk starts once everything visible was passed. Ids at the very position that
    /// were let go of for want of room would come again with every walk, so it starts after them.
    pub fn after_whole_walk(&self, progress: Progress) -> Progress {
        match self.floor {
            Some(floor) if floor >= progress.position => {
                Progress { from: Stamp(progress.position.0.saturating_add(1)), ..progress }
            }
            _ => progress,
        }
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

    fn between(seconds: i64) -> Present {
        Present::Between { earliest: at(seconds), latest: at(seconds) }
    }

    fn passed(walk: &mut Walk, stamps: &[i64], date: i64) {
        let keys: Vec<RowKey> = stamps.iter().map(|at| key(*at, *at as u64)).collect();
        walk.pass(&keys, between(date), OVERLAP);
    }

    fn cursor(text: &str) -> Cursor {
        Cursor(text.to_owned())
    }

    /// The walk after a page with these keys, of which so many are new.
    fn after(mut walk: Walk, keys: &[RowKey], fresh: usize, next: Option<&str>) -> Next {
        walk.pass(keys, between(90_000), OVERLAP);
        let next = next.map(cursor);
        walk.after(Passed { keys, fresh, next: next.as_ref(), known: 10 })
    }

    fn page(next: Next) -> Walk {
        match next {
            Next::Page(walk) => walk,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_walk_through_old_records_settles_them_up_to_the_overlap() {
        let mut walk = Walk::starting(at(0));
        passed(&mut walk, &[1_000], 90_000);
        assert_eq!(walk.next_from(at(1_000), OVERLAP), at(880));
    }

    #[test]
    fn a_walk_among_new_records_starts_again_before_the_lag() {
        let mut walk = Walk::starting(at(0));
        passed(&mut walk, &[1_000], 1_001);
        assert_eq!(walk.next_from(at(1_000), OVERLAP), at(880));
    }

    #[test]
    fn a_walk_held_up_for_hours_among_new_records_does_not_settle_them() {
        let mut walk = Walk::starting(at(0));
        passed(&mut walk, &[1_000], 1_001);
        // Five hours later, with the queue free again, the cursor goes on: a record of second 900
        // that became visible in between lies behind it.
        passed(&mut walk, &[19_000], 19_001);
        assert!(walk.next_from(at(19_000), OVERLAP) <= at(900));
    }

    #[test]
    fn a_date_behind_the_records_is_not_believed() {
        let mut walk = Walk::starting(at(0));
        walk.pass(&[key(500, 1)], between(0), OVERLAP);
        assert_eq!(walk.next_from(at(500), OVERLAP), at(0), "its horizon lies before the walk");
        let mut untold = Walk::starting(at(0));
        untold.pass(&[key(10_000, 1)], Present::Untold, OVERLAP);
        assert_eq!(untold.next_from(at(10_000), OVERLAP), at(9_880));
    }

    #[test]
    fn one_claim_of_the_time_settles_nothing() {
        let mut walk = Walk::starting(at(0));
        walk.pass(&[key(10_000, 1)], Present::Unconfirmed, OVERLAP);
        passed(&mut walk, &[20_000], 90_000);
        assert_eq!(walk.next_from(at(20_000), OVERLAP), at(0));
    }

    #[test]
    fn rows_in_another_order_settle_nothing_before_the_walk_is_whole() {
        let mut walk = Walk::starting(at(0));
        passed(&mut walk, &[9_000, 8_999, 100], 9_010);
        assert!(walk.disordered);
        passed(&mut walk, &[50, 9_020], 9_030);
        assert_eq!(walk.next_from(at(9_020), OVERLAP), at(0));
        walk.end(OVERLAP);
        assert_eq!(walk.next_from(at(9_020), OVERLAP), at(8_890), "by the time it began");
        let mut coarse = Walk::starting(at(0));
        coarse.pass(
            &[RowKey { stamp: Stamp(at(5).0 + 900_000), id: 1 }, key(5, 2)],
            between(9),
            OVERLAP,
        );
        assert!(!coarse.disordered, "within a second is no other order");
    }

    #[test]
    fn an_empty_page_with_a_new_cursor_is_followed_within_a_bound() {
        let mut walk = Walk::starting(at(0));
        for n in 1..limits::EMPTY_PAGES_MAX {
            walk = page(after(walk, &[], 0, Some(&format!("page {n}"))));
        }
        assert_eq!(after(walk.clone(), &[], 0, Some("last")), Next::NothingButEmptyPages);
        let rows = [key(10, 1)];
        let walk = page(after(walk, &rows, 1, Some("more")));
        assert!(matches!(after(walk.clone(), &[], 0, Some("on")), Next::Page(_)));
        assert_eq!(after(walk, &[], 0, None), Next::Whole);
    }

    #[test]
    fn cursors_that_lead_back_end_soon_whatever_the_period() {
        for period in 1..8u32 {
            let rows = [key(10, 1)];
            let mut walk = page(after(Walk::starting(at(0)), &rows, 1, Some("cursor 0")));
            let mut pages = 0;
            loop {
                pages += 1;
                assert!(pages < 60, "period {period}");
                let name = format!("cursor {}", pages % period);
                match after(walk, &rows, 0, Some(&name)) {
                    Next::Page(next) => walk = next,
                    other => break assert_eq!(other, Next::Circle),
                }
            }
        }
    }

    #[test]
    fn one_cursor_for_all_pages_is_followed_as_long_as_it_brings_something_new() {
        let mut walk = Walk::starting(at(0));
        for n in 1..50 {
            walk = page(after(walk, &[key(n, n as u64)], 1, Some("scroll")));
            assert_eq!(walk.cursor, Some(cursor("scroll")));
        }
        // Then by time from where it stands, and from there it leads nowhere.
        let walk = page(after(walk, &[key(49, 49)], 0, Some("scroll")));
        assert_eq!((walk.from, walk.cursor.clone()), (at(49), None));
        let walk = page(after(walk, &[key(49, 49)], 0, Some("scroll")));
        assert_eq!(after(walk, &[key(49, 49)], 0, Some("scroll")), Next::Circle);
    }

    #[test]
    fn after_a_refused_cursor_a_walk_goes_on_by_time_and_soon_without_cursors() {
        let mut walk = Walk::starting(at(0));
        for n in 1..10 {
            walk = page(after(walk, &[key(n, 1), key(n + 1, 2)], 1, Some("next")));
            if walk.cursor.is_some() {
                assert!(n <= i64::from(limits::CURSORS_REFUSED_MAX), "{n}");
                walk = walk.after_refused_cursor().unwrap();
            }
            assert_eq!((walk.from, walk.cursor.clone()), (at(n + 1), None));
        }
        // More records of one stamp than a page: there is no way past them.
        assert_eq!(after(walk, &[key(10, 7), key(10, 8)], 0, Some("next")), Next::Stuck);
        let mut disordered = Walk::starting(at(0));
        passed(&mut disordered, &[50, 10], 90);
        assert_eq!(disordered.after_refused_cursor(), None, "what lies before was not passed yet");
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
    fn ids_let_go_of_at_the_position_do_not_come_again_with_every_walk() {
        let mut known = Known::default();
        let rows: Vec<RowKey> =
            (0..limits::KNOWN_IDS_MAX as u64 + 10).map(|id| key(5, id)).collect();
        let progress = known.remember(&rows, Progress { position: at(5), from: at(0) });
        assert!(
            !known.fresh(&rows, progress.from).is_empty(),
            "within the walk they are not known"
        );
        let progress = known.after_whole_walk(progress);
        assert!(known.fresh(&rows, progress.from).is_empty());
        let few = Known::new([key(1, 1)]);
        let progress = Progress { position: at(5), from: at(0) };
        assert_eq!(few.after_whole_walk(progress), progress);
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
