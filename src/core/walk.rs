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
use crate::record::{Cursor, Progress, RowKey, RowPlace};
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
    /// Where it began.
    pub start: Stamp,
    pub cursor: Option<Cursor>,
    /// Every record at or before this has been seen after its lag was over.
    settled: Stamp,
    /// The highest stamp passed that a position may have.
    reached: Stamp,
    /// The highest stamp passed, also one that no position may have.
    passed_to: Stamp,
    /// The source's present when the walk began: what becomes visible later is for the next one.
    began: Option<Stamp>,
    pages: u32,
    /// Whether a page was passed while nobody could tell the time: nothing is settled then.
    untimed: bool,
    /// Whether a page was passed while fewer than two witnesses agreed on the time.
    unbacked: bool,
    /// Whether rows came in another order than asked for, and whether any two came in it.
    pub disordered: bool,
    pub rose: bool,
    /// The same, by any difference however small.
    ascends: bool,
    /// How many rows rose over the one before them in the same query.
    ascents: u32,
    /// Other rows should have come first, or the console was seen to ignore the order, and too few rows
    /// rose to show otherwise.
    is_doubted: bool,
    highest: Stamp,
    /// The rows passed, so that pages which lead back are neither taken for others nor for another
    /// order. The first ones only, for cursors that lead back lead there.
    passed: BTreeSet<RowKey>,
    /// Rows passed since it began, or went on, by time.
    rows: u32,
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
            start: from,
            cursor: None,
            settled: from,
            reached: from,
            passed_to: from,
            began: None,
            pages: 0,
            untimed: false,
            unbacked: false,
            disordered: false,
            rose: false,
            ascends: false,
            ascents: 0,
            is_doubted: false,
            highest: Stamp::MIN,
            passed: BTreeSet::new(),
            rows: 0,
            repeats: 0,
            empty_pages: 0,
            trail: Trail::default(),
            refused: 0,
        }
    }

    /// Which row comes next.
    pub fn next_row(&self) -> RowPlace {
        RowPlace { from: self.reached, is_after: self.rows > 0 }
    }

    /// Whether it has not passed a page yet.
    pub fn is_new(&self) -> bool {
        self.pages == 0
    }

    /// Whether a row was on an earlier page of this walk.
    pub fn has_passed(&self, key: &RowKey) -> bool {
        self.passed.contains(key)
    }

    /// Takes in a page whose rows have these stamps, in their order. `took`: how long ago it was asked
    /// for, since it shows what was visible then, not when all of it had come.
    pub fn pass(&mut self, keys: &[RowKey], present: Present, took: Span, overlap: Span) {
        self.pages = self.pages.saturating_add(1);
        let mut is_first = self.rows == 0;
        self.rows = self.rows.saturating_add(u32::try_from(keys.len()).unwrap_or(u32::MAX));
        self.began = self.began.or(present.earliest().map(|now| now - took));
        self.untimed |= present == Present::Unconfirmed;
        self.unbacked |= !present.is_backed();
        let coarseness = Span::seconds(limits::SOURCE_COARSENESS_SECONDS);
        // What is dated ahead may stand anywhere.
        let new = keys.iter().filter(|key| !self.passed.contains(key));
        for stamp in new.map(|key| key.stamp).filter(|stamp| present.allows(*stamp)) {
            self.disordered |= stamp < self.highest - coarseness;
            let rises = self.highest != Stamp::MIN && stamp > self.highest;
            self.ascends |= rises;
            // That the first row of a query is at or after what was asked for shows no order.
            let shows_order = rises && !std::mem::take(&mut is_first);
            self.ascents = self.ascents.saturating_add(u32::from(shows_order));
            self.rose |= rises && stamp > self.highest + coarseness;
            self.highest = self.highest.max(stamp);
        }
        let room = limits::PASSED_IDS_MAX.saturating_sub(self.passed.len());
        self.passed.extend(keys.iter().take(room));
        let before = self.passed_to;
        self.reached = self.reached.max(self.highest);
        let stamps = keys.iter().map(|key| key.stamp).filter(|stamp| *stamp != Stamp::UNREADABLE);
        self.passed_to = stamps.fold(before.max(self.reached), Stamp::max);
        // Rows may still come that lie before those that were passed.
        if self.disordered || self.untimed {
            return;
        }
        // Without a Date, or with one that is behind the records it came with, the highest stamp
        // is the best clock there is.
        let behind = Span::minutes(limits::STAMP_AHEAD_OF_SOURCE_MINUTES_MAX);
        let date = present.earliest().filter(|date| *date + behind >= self.reached);
        let horizon = date.map_or(self.reached, |now| now - took) - overlap;
        // Contiguous: nothing unsettled lies between what was settled and where this page began. What is
        // dated ahead by a clock that is behind was passed all the same, and not for the last time.
        if date.is_none() || self.settled >= before {
            self.settled = self.settled.max(self.reached.min(horizon));
        }
    }

    /// Holds the page just passed, before it is stored, against what is known: a row that is known, stands
    /// before one that came, and did not come, may be gone, or the rows come in another order.
    pub fn weigh(&mut self, known: &Known, is_doubted: bool) {
        self.is_doubted = !self.proves_order() && (is_doubted || self.leaves_out(known));
    }

    fn leaves_out(&self, known: &Known) -> bool {
        let coarseness = Span::seconds(limits::SOURCE_COARSENESS_SECONDS);
        let (from, to) = (self.from + coarseness, self.highest - coarseness);
        // Beyond the bound nobody knows what was passed.
        self.passed.len() < limits::PASSED_IDS_MAX
            && known.has_between(from, to, |key| !self.passed.contains(key))
    }

    /// Whether so many rows came in order that it is no chance.
    pub fn proves_order(&self) -> bool {
        !self.disordered && self.ascents >= limits::ORDER_SHOWN_BY_ROWS
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
        // without anything new is held against it. What came is known or was passed: many more rows in a
        // row without a new one than both were seen twice, and not only where two pages meet.
        let seen_before = self.cursor.as_ref() == Some(next) || self.trail.leads_back(next);
        let too_many = self.repeats > page.known + self.passed.len() + limits::REPEATED_ROWS_MAX;
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
        let leads_on = self.is_in_order() && self.reached > self.from;
        leads_on.then(|| Walk {
            from: self.reached,
            cursor: None,
            rows: 0,
            repeats: 0,
            empty_pages: 0,
            trail: Trail::default(),
            ..self
        })
    }

    /// Whether rows were seen to come in the order asked for: a page of one stamp shows none, and may be
    /// the newest first.
    pub fn is_in_order(&self) -> bool {
        self.ascends && !self.disordered && !self.is_doubted
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

    /// Whether nothing can become visible any more up to there, by a time that two witnesses tell:
    /// what it has passed need not be read again.
    pub fn is_final(&self, position: Stamp) -> bool {
        !self.unbacked && !self.untimed && self.settled >= position
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

    /// Whether any of them from `from` on and before `to` is such a one.
    pub fn has_between(&self, from: Stamp, to: Stamp, is_one: impl Fn(&RowKey) -> bool) -> bool {
        let [first, last] = [from, to].map(|stamp| RowKey { stamp, id: 0 });
        first < last && self.keys.range(first..last).any(is_one)
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

    /// Whether any of them is not after that.
    pub fn reaches_back_to(&self, stamp: Stamp) -> bool {
        self.keys.first().is_some_and(|key| key.stamp <= stamp)
    }

    pub fn count(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
