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
//! Promises: the next walk starts at or before the first point where a late record may still appear, even if
//! this walk was interrupted for hours (keeps P1); what it then reads again is known by its key and dropped
//! (keeps P2). A full page without a cursor is no end: the rows after it are requested by time, or by their
//! place. Never: looks at the local clock (P8).

use std::collections::BTreeSet;

use crate::limits;
use crate::record::{Cursor, RowKey, RowPlace};
use crate::time::{Span, Stamp};

use super::known::Known;
use super::source_clock::Present;

/// How a walk goes on after a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// By the cursor, or by time if cursors lead nowhere.
    Page(Box<Walk>),
    /// Everything visible was passed.
    Whole,
    /// The pages lead back to earlier ones.
    Circle,
    /// Consecutive pages without a record, each with a new cursor.
    NothingButEmptyPages,
    /// Cursors are rejected, and going on by time leads no further.
    Stuck,
    /// Cursors are rejected, and the pages by time ended without proving the order: rows may be missing.
    Unproven,
    /// A full page has no cursor and no other way past it, or going on by time may have missed rows.
    NoCursor,
    /// Rows moved while those after a full page were requested by their place: some may be unseen.
    RowsMoved,
    /// It ended row by row and brought something new: rows may have moved unseen, so it is walked again.
    Again,
}

impl Next {
    pub fn page(walk: Walk) -> Next {
        Next::Page(Box::new(walk))
    }
}

/// A page as the walk sees it.
#[derive(Clone, Copy, Debug)]
pub struct Passed<'a> {
    pub keys: &'a [RowKey],
    pub fresh: usize,
    pub next: Option<&'a Cursor>,
    /// How many keys the stream knows.
    pub known: usize,
    /// New rows within ranges that were collected already, whose ids are not known.
    pub covered: usize,
    /// How many rows were requested.
    pub asked: u32,
    /// Its first row was passed or is known, if that is required.
    pub is_joined: bool,
    /// The console is not known to reject a request to skip rows.
    pub may_skip: bool,
}

impl Passed<'_> {
    /// Whether there may be more rows than were requested.
    fn is_full(&self) -> bool {
        self.keys.len() >= self.asked as usize
    }

    /// Whether the number of rows may come from a limit of the console's own.
    fn may_be_cut(&self) -> bool {
        may_be_cut(self.keys.len())
    }
}

/// Whether a page of so many rows without a cursor may be cut by a limit that was not requested. Such limits
/// are round numbers; if the number is round by chance, that costs one request.
pub fn may_be_cut(rows: usize) -> bool {
    rows > 0 && limits::CUT_AT.iter().any(|round| rows.is_multiple_of(*round))
}

#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// The earliest stamp requested. It moves when the walk goes on by time.
    pub from: Stamp,
    /// Where it began, or where it would have begun if it did not read again what was read.
    pub start: Stamp,
    pub cursor: Option<Cursor>,
    /// Rows to skip from there; only without a cursor.
    pub skip: u32,
    /// The first row after the skipped ones has to be one that was passed.
    is_joint: bool,
    /// Rows of the query up to the end of the last page, the last one's key, and whether the page before had
    /// the same.
    place: u32,
    last_key: Option<RowKey>,
    stands: bool,
    /// Every record at or before this was seen after its visibility lag had passed.
    settled: Stamp,
    /// The highest stamp passed that may become a position.
    reached: Stamp,
    /// The highest stamp passed, including one that may not become a position.
    passed_to: Stamp,
    /// The stamp of the row that came last.
    last: Stamp,
    /// SentinelOne's time when the walk began: later records are for the next walk.
    began: Option<Stamp>,
    pages: u32,
    /// Whether a page came while the time was unknown: then nothing is settled.
    untimed: bool,
    /// Whether a page came while no two clocks agreed on the time.
    unbacked: bool,
    /// A page that was requested by a cursor came.
    takes_cursors: bool,
    /// Whether rows came in another order than requested, and whether any two came in it.
    pub disordered: bool,
    pub rose: bool,
    /// The same, with any difference however small.
    ascends: bool,
    /// How many rows had a later stamp than the one before them in the same query.
    ascents: u32,
    /// Known rows are missing or the order was broken before, and too few rows came in order to prove it.
    is_doubted: bool,
    highest: Stamp,
    /// The last page is before the requested time, and reached further than earlier pages.
    nears: bool,
    /// The rows passed, so that repeated pages are recognized and not taken for another order. Only the
    /// first ones, because cursors lead back to those.
    passed: BTreeSet<RowKey>,
    /// Rows passed since it began, or since it went on by time.
    rows: u32,
    /// Rows since the last new one.
    repeats: usize,
    empty_pages: u32,
    trail: Trail,
    /// Rejected cursors of this walk.
    refused: u32,
    /// It went on by time before the order had shown beyond chance.
    is_guess: bool,
    /// It went on by time after a full page without a cursor.
    lacked_cursor: bool,
    /// A page that led on had no row that had not come before: some may be missing from it.
    pub has_blank: bool,
    /// A page of one row was requested by its place, so no other row shows whether one has moved.
    is_unjoined: bool,
    /// The rows after a page that may be cut were requested; and whether there were any.
    is_beyond_cut: bool,
    is_cut: bool,
    /// It brought something new.
    has_taken: bool,
    /// Whether rows that move no position are stored although not all their ids can be remembered.
    takes_unplaced: bool,
    /// The first of the rows left out.
    left: Option<Stamp>,
}

/// Detects cursors that lead back: one is kept and compared with all that follow, and replaced after 1, 2,
/// 4, ... of them (Brent), so that a circle of any length is found with one cursor in memory.
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
    /// Begins at `from`, to read again what was read before `start`.
    pub fn reading_again(from: Stamp, start: Stamp) -> Walk {
        Walk { start, ..Walk::starting(from) }
    }

    pub fn starting(from: Stamp) -> Walk {
        Walk {
            from,
            start: from,
            cursor: None,
            skip: 0,
            is_joint: false,
            place: 0,
            last_key: None,
            stands: false,
            settled: from,
            reached: from,
            passed_to: from,
            last: from,
            began: None,
            pages: 0,
            untimed: false,
            unbacked: false,
            takes_cursors: false,
            disordered: false,
            rose: false,
            ascends: false,
            ascents: 0,
            is_doubted: false,
            highest: Stamp::MIN,
            nears: false,
            passed: BTreeSet::new(),
            rows: 0,
            repeats: 0,
            empty_pages: 0,
            trail: Trail::default(),
            refused: 0,
            is_guess: false,
            lacked_cursor: false,
            has_blank: false,
            is_unjoined: false,
            is_beyond_cut: false,
            is_cut: false,
            has_taken: false,
            takes_unplaced: true,
            left: None,
        }
    }

    /// Removes a page's new rows that move no position, once too many of their ids were dropped: new ones
    /// can't be told from those that walks meet repeatedly. One walk takes all, the next none. Returns
    /// their stamps.
    pub fn leave_unplaced(
        &mut self,
        known: &Known,
        keys: &[RowKey],
        fresh: &mut Vec<u32>,
    ) -> Vec<Stamp> {
        if self.pages == 0 {
            self.takes_unplaced = !known.is_full_of_unplaced();
        }
        if self.takes_unplaced {
            return Vec::new();
        }
        let left = known.leave_unplaced(keys, fresh);
        self.left = self.left.into_iter().chain(left.iter().copied()).min();
        left
    }

    /// The place of the next row.
    pub fn next_row(&self) -> RowPlace {
        RowPlace { from: self.reached.max(self.last), is_after: self.rows > 0 }
    }

    /// How many passed rows have the stamp after which the next one comes.
    pub fn ties(&self) -> usize {
        let stamp = self.next_row().from;
        let [first, last] = [0, u64::MAX].map(|id| RowKey { stamp, id });
        self.passed.range(first..=last).count()
    }

    /// Whether it has passed no row with a readable stamp. Pages without one are no beginning.
    pub fn is_new(&self) -> bool {
        self.passed.first().is_none_or(|key| key.stamp == Stamp::UNREADABLE)
    }

    /// Whether a row was on an earlier page of this walk.
    pub fn has_passed(&self, key: &RowKey) -> bool {
        self.passed.contains(key)
    }

    /// Whether a page leads on without a row that did not come before in this walk.
    pub fn is_blank(&self, page: &Passed<'_>) -> bool {
        // One that goes on by time begins with rows that came.
        let goes_on = self.rows == 0 && self.cursor.is_none() && !page.keys.is_empty();
        page.next.is_some() && !goes_on && page.keys.iter().all(|key| self.has_passed(key))
    }

    /// Rows within ranges that were collected already; none if the page ends as the one before it did.
    pub fn covered(&self, known: &Known, keys: &[RowKey]) -> usize {
        if self.last_key.is_some() && self.last_key.as_ref() == keys.last() {
            return 0;
        }
        keys.iter().filter(|key| known.covers(key) && !self.has_passed(key)).count()
    }

    /// Passes a page. `took`: how long ago it was requested, because it shows what was visible then.
    pub fn pass(&mut self, keys: &[RowKey], present: Present, took: Span, overlap: Span) {
        self.pages = self.pages.saturating_add(1);
        let is_new = |key: &RowKey| !self.passed.contains(key);
        self.is_cut |= self.is_beyond_cut && keys.iter().any(is_new);
        let mut is_first = self.rows == 0 && keys.first().is_some_and(is_new);
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        self.rows = self.rows.saturating_add(count);
        let before = if self.cursor.is_some() { self.place } else { self.skip };
        self.place = before.saturating_add(count);
        self.stands = self.last_key.is_some() && self.last_key.as_ref() == keys.last();
        self.last_key = keys.last().copied().or(self.last_key);
        self.began = self.began.or(present.earliest().map(|now| now - took));
        self.untimed |= present == Present::Unconfirmed;
        self.unbacked |= !present.is_backed();
        self.takes_cursors |= self.cursor.is_some();
        let coarseness = Span::seconds(limits::SOURCE_COARSENESS_SECONDS);
        // A row dated in the future may be anywhere in the order.
        let highest = self.highest;
        let new = keys.iter().filter(|key| !self.passed.contains(key));
        for stamp in new.map(|key| key.stamp).filter(|stamp| present.allows(*stamp)) {
            self.disordered |= stamp < self.highest - coarseness;
            let rises = self.highest != Stamp::MIN && stamp > self.highest;
            self.ascends |= rises;
            // That a query's first row is at or after the requested time shows no order.
            let shows_order = !std::mem::take(&mut is_first) && rises;
            self.ascents = self.ascents.saturating_add(u32::from(shows_order));
            self.rose |= shows_order && stamp > self.highest + coarseness;
            self.highest = self.highest.max(stamp);
        }
        self.nears = self.highest > highest && self.highest < self.from;
        let room = limits::PASSED_IDS_MAX.saturating_sub(self.passed.len());
        self.passed.extend(keys.iter().take(room));
        let before = self.passed_to;
        self.reached = self.reached.max(self.highest);
        let stamps = keys.iter().map(|key| key.stamp).filter(|stamp| *stamp != Stamp::UNREADABLE);
        self.last = stamps.clone().next_back().unwrap_or(self.last);
        self.passed_to = stamps.fold(before.max(self.reached), Stamp::max);
        // Rows from before the passed ones may still come.
        if self.disordered || self.untimed {
            return;
        }
        // Without a Date, or with one earlier than the records, the highest stamp is the best clock.
        let behind = Span::minutes(limits::STAMP_AHEAD_OF_SOURCE_MINUTES_MAX);
        let date = present.earliest().filter(|date| *date + behind >= self.reached);
        let horizon = date.map_or(self.reached, |now| now - took) - overlap;
        // Contiguous: no unsettled time lies before this page. Rows ahead of a slow clock will be read
        // again.
        if date.is_none() || self.settled >= before {
            self.settled = self.settled.max(self.reached.min(horizon));
        }
    }

    /// Compares the page just passed, before it is stored, with known rows: one that is dated before a row
    /// that came, and did not come, may be gone, or the order is another one. `fresh`: the number of new
    /// rows.
    pub fn weigh(&mut self, known: &Known, is_doubted: bool, fresh: usize) {
        self.has_taken |= fresh > 0;
        self.is_doubted = !self.proves_order() && (is_doubted || self.leaves_out(known));
    }

    fn leaves_out(&self, known: &Known) -> bool {
        let coarseness = Span::seconds(limits::SOURCE_COARSENESS_SECONDS);
        let (from, to) = (self.from + coarseness, self.highest - coarseness);
        // Beyond the limit it is not known which rows were passed.
        self.passed.len() < limits::PASSED_IDS_MAX
            && known.has_between(from, to, |key| !self.passed.contains(key))
    }

    /// Whether so many rows came in order that it is no chance.
    pub fn proves_order(&self) -> bool {
        !self.disordered && self.ascents >= limits::ORDER_SHOWN_BY_ROWS
    }

    /// How the walk goes on after the page that was just passed.
    pub fn after(mut self, page: Passed<'_>) -> Next {
        // If the filter is ignored, the requested rows come after all older ones.
        let leads_on = page.fresh > 0 || self.nears;
        self.repeats = match leads_on {
            false => self.repeats.saturating_add(page.keys.len() - page.covered),
            true => 0,
        };
        if self.has_come_apart(&page) {
            return if self.is_beyond_cut { self.ended() } else { Next::RowsMoved };
        }
        let Some(next) = page.next else {
            return if self.is_full(&page) {
                self.past_full(&page)
            } else if self.goes_past_cut(&page) {
                self.past_cut(&page)
            } else {
                self.ended()
            };
        };
        self.empty_pages = if page.keys.is_empty() { self.empty_pages + 1 } else { 0 };
        if self.empty_pages >= limits::EMPTY_PAGES_MAX {
            return Next::NothingButEmptyPages;
        }
        // A server that keeps the place itself sends one cursor for all pages, so only a page without a new
        // row counts as a repetition. And more rows in a row without a new one than are known or passed were
        // read twice, not only where two pages meet.
        let seen_before = match self.cursor.as_ref() == Some(next) {
            true => page.covered == 0,
            false => self.trail.leads_back(next),
        };
        let too_many = self.repeats > page.known + self.passed.len() + limits::REPEATED_ROWS_MAX;
        if !leads_on && (seen_before || too_many) {
            return self.by_time().map_or(Next::Circle, Next::page);
        }
        if self.refused >= limits::CURSORS_REFUSED_MAX {
            // More cursors would be rejected too, each after a request and a wait.
            return self.by_time().map_or(Next::Stuck, Next::page);
        }
        Next::page(Walk { cursor: Some(next.clone()), skip: 0, is_joint: false, ..self })
    }

    /// Whether a page begins where the one before it ended, if it has to. Otherwise it is not used.
    pub fn is_joined(&self, known: &Known, keys: &[RowKey]) -> bool {
        let is_known = |key: &RowKey| known.has(key) || known.covers(key) || self.has_passed(key);
        !self.is_joint || keys.first().is_some_and(is_known)
    }

    /// Whether a page requested by its place does not begin where the one before it ended.
    pub fn has_come_apart(&self, page: &Passed<'_>) -> bool {
        self.is_joint && !page.is_joined
    }

    /// Whether no page follows.
    pub fn is_end(&self, page: &Passed<'_>) -> bool {
        let is_last = page.next.is_none() && !self.is_full(page) && !self.goes_past_cut(page);
        is_last && !self.has_come_apart(page)
    }

    /// Whether there may be more rows: as many came as were requested, or as the console's limit.
    fn is_full(&self, page: &Passed<'_>) -> bool {
        page.is_full() || self.is_cut && page.may_be_cut()
    }

    /// Whether there is a way past a page that may be cut. If not, it counts as the last one.
    fn goes_past_cut(&self, page: &Passed<'_>) -> bool {
        page.next.is_none()
            && page.may_be_cut()
            && (self.is_passed_by_time() || page.may_skip && self.skip_past(page).is_some())
    }

    /// Requests the rows after a page that may be cut, as after a full one.
    fn past_cut(self, page: &Passed<'_>) -> Next {
        let behind = Walk { is_beyond_cut: true, ..self };
        match behind.skip_past(page) {
            _ if behind.is_passed_by_time() => behind.by_time().map_or(Next::NoCursor, Next::page),
            Some(skip) => Next::page(Walk { cursor: None, skip, is_joint: true, ..behind }),
            None => behind.ended(),
        }
    }

    /// Whether going on by time leads past its rows, because they are in order beyond chance.
    fn is_passed_by_time(&self) -> bool {
        self.proves_order() && self.reached > self.from
    }

    /// Rows to skip so that a page's last row comes first. `None`: too many, or the console does not skip.
    fn skip_past(&self, page: &Passed<'_>) -> Option<u32> {
        // A page of one row repeats only the row before; then the one after it is requested.
        let is_joint_alone = self.is_joint && page.keys.len() == 1;
        let is_same = self.skip > 0 && self.stands && !is_joint_alone;
        let skip = self.place.saturating_sub(u32::from(!is_joint_alone));
        (!is_same && skip <= limits::SKIP_MAX).then_some(skip)
    }

    /// A page without a cursor is full: requests the rows after it. By time if rows are in order; otherwise
    /// by their place, beginning with the last row, so that it shows if rows have moved.
    fn past_full(self, page: &Passed<'_>) -> Next {
        let behind = Walk { lacked_cursor: true, is_beyond_cut: false, ..self };
        if behind.is_passed_by_time() {
            return behind.by_time().map_or(Next::NoCursor, Next::page);
        }
        let is_joint = !(behind.is_joint && page.keys.len() == 1);
        match behind.skip_past(page) {
            Some(skip) if page.may_skip => {
                let is_unjoined = behind.is_unjoined || !is_joint;
                Next::page(Walk { cursor: None, skip, is_joint, is_unjoined, ..behind })
            }
            _ => behind.by_time().map_or(Next::NoCursor, Next::page),
        }
    }

    /// The console rejected a request to skip rows. `None`: the walk can't go on and begins anew.
    pub fn without_skip(self) -> Option<Walk> {
        self.by_time()
    }

    /// Goes on by time, not by cursor, if rows are in order: then all before the highest stamp was seen.
    fn by_time(self) -> Option<Walk> {
        let leads_on = self.is_in_order() && self.reached > self.from;
        leads_on.then(|| Walk {
            is_guess: !self.proves_order(),
            takes_unplaced: false,
            from: self.reached,
            last: self.reached,
            cursor: None,
            skip: 0,
            is_joint: false,
            place: 0,
            rows: 0,
            repeats: 0,
            empty_pages: 0,
            trail: Trail::default(),
            ..self
        })
    }

    fn ended(&self) -> Next {
        match self.has_seen_all() {
            true => Next::Whole,
            false if self.may_have_moved() => Next::Again,
            false if self.lacked_cursor => Next::NoCursor,
            false if self.refused > 0 => Next::Unproven,
            false => Next::Circle,
        }
    }

    /// Whether everything before its rows was passed. A walk that went on by time skipped pages, which have
    /// older rows if rows come in another order.
    pub fn has_seen_all(&self) -> bool {
        (!self.is_guess || self.proves_order()) && !self.may_have_moved()
    }

    /// Whether a position may follow the rows of a page before the walk is complete.
    pub fn moves_on(&self, page: &Passed<'_>) -> bool {
        self.proves_order() && !self.has_come_apart(page) && !self.may_have_moved()
    }

    /// Whether rows may have moved unseen while they were requested by their place.
    pub fn may_have_moved(&self) -> bool {
        self.is_unjoined && self.has_taken
    }

    /// Whether rows were seen in the requested order. A page with a single stamp shows none.
    pub fn is_in_order(&self) -> bool {
        self.ascends && !self.disordered && !self.is_doubted
    }

    pub fn has_cursor(&self) -> bool {
        self.cursor.is_some()
    }

    /// The cursor was rejected. `None`: the walk can't go on and begins anew.
    pub fn after_refused_cursor(mut self) -> Option<Walk> {
        self.refused = self.refused.saturating_add(1);
        self.by_time()
    }

    /// Whether a page that was requested by a cursor came.
    pub fn takes_cursors(&self) -> bool {
        self.takes_cursors
    }

    /// A page without a cursor was rejected too, so cursors were not the reason.
    pub fn acquit_cursors(&mut self) {
        self.refused = 0;
    }

    /// Everything visible when the walk began was passed, in any order.
    pub fn end(&mut self, overlap: Span) {
        if let Some(began) = self.began.filter(|_| self.disordered && !self.untimed) {
            self.settled = self.settled.max(self.reached.min(began - overlap));
        }
    }

    /// The highest stamp passed that may become a position.
    pub fn reached(&self) -> Stamp {
        self.reached
    }

    /// Whether all before this position is settled, by a time on which two clocks agree.
    pub fn is_final(&self, position: Stamp) -> bool {
        !self.unbacked && !self.untimed && self.settled >= position
    }

    /// Everything that was created before this was visible when the walk began, unless it became visible
    /// late; `None`: no two clocks agreed on the time.
    pub fn all_seen_before(&self, overlap: Span) -> Option<Stamp> {
        let began = self.began.filter(|_| !self.unbacked && !self.untimed);
        began.map(|began| began - overlap)
    }

    /// Where the next walk starts.
    pub fn next_from(&self, position: Stamp, overlap: Span) -> Stamp {
        let from = self.settled.min(position - overlap);
        self.left.map_or(from, |left| left.min(from))
    }
}

#[cfg(test)]
#[path = "tests/steps.rs"]
mod steps_tests;
#[cfg(test)]
#[path = "tests/walk.rs"]
mod tests;
