//! Reconciliation: asks SentinelOne how many settled records it has, and if those are more than
//! were collected, looks for them. So a record that became visible after every walk had passed its
//! time is found too.
//!
//! ```text
//!        since                until                     closed      from        position
//!   ...... |------ again ------|------ new ---------------|..........|...overlap..|   created at
//!
//!   range --count agrees--> done
//!     |-----more there----> few: listed, and what is unseen is collected; many: halved
//!     '-----fewer there---> noted (deleted, or beyond retention); no trouble
//!
//!   a list or a count fails --> divided; a second that can't be listed is set aside, with a gap
//!   more is counted than listed, also by the next round --> a gap, until the count agrees
//! ```
//!
//! A round begins once per interval, or sooner when so much was collected that ids would soon be
//! forgotten; if everything agrees it is two requests. Promises: the requests of a round are
//! limited and have a pace (keeps P6); compared is only what no walk reads any more, or, of a stream
//! that is quiet for long, what the last whole walk has read; records that are found are stored like
//! any page, and the stream's position does not move (keeps P1, P2).
//! Never: delays a poll: it has a lane of its own, which rests while the stream has a problem.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits;
use crate::record::{Cursor, RowKey, SourceTrouble, Total};
use crate::time::{Due, Mono, Span, Stamp};

use super::lane::Lane;
use super::overcount::Overcounts;
use super::reason::Reason;
use super::source::PageFacts;
use super::unlisted::{Unlistable, Unlisted};

mod rejected;
mod round;
use rejected::Rejections;
use round::{Listing, Range, Round};

/// Which time of a record has to be in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Creation,
    /// A threat's last change.
    Change,
}

/// A request for SentinelOne's number of records in a range, to compare it with the collected ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    pub stream: usize,
    pub by: By,
    /// `None`: from the time on since which all collected ids are kept.
    pub from: Option<Stamp>,
    /// Exclusive.
    pub to: Stamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// The beginning of the compared range: later than requested if earlier ids are not kept.
    pub from: Stamp,
    pub collected: u64,
    pub there: Total,
    pub date: Option<Stamp>,
}

/// A request for one page of the records created in a range.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    pub stream: usize,
    pub from: Stamp,
    /// Exclusive.
    pub to: Stamp,
    pub cursor: Option<Cursor>,
    pub rows_max: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub page: PageFacts,
    /// Which rows were never collected, as far as ids are kept.
    pub unseen: Vec<bool>,
    /// Rows that were not created in the requested range.
    pub outside: usize,
}

/// A difference that was found, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub from: Stamp,
    pub to: Stamp,
    /// `None`: SentinelOne sent no count, so all records were listed.
    pub there: Option<u64>,
    pub collected: u64,
    /// Records that were missing and are collected now.
    pub late: u64,
}

/// The results since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReconcileSummary {
    /// Everything created before this was compared at least once.
    pub until: Option<Stamp>,
    /// When the last round ended, by SentinelOne's clock.
    pub compared: Option<Stamp>,
    pub comparisons: u64,
    /// Records found that no walk had seen.
    pub late: u64,
    /// Records collected that SentinelOne no longer has.
    pub fewer: u64,
    /// Ranges that could not be compared: no count was sent, or too many requests were needed.
    pub unchecked: u64,
    pub last: Option<Difference>,
    /// Why it is off until the next start.
    pub refused: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Reconcile {
    /// Zero: off.
    interval: Span,
    pub lane: Lane,
    round: Option<Round>,
    /// The remaining ranges of the round; the last one is next.
    ranges: Vec<Range>,
    /// The part at which a round ended early, and its list: the next round begins with them, so that
    /// the search for one record goes on where it was.
    left: Option<(Range, Option<Listing>)>,
    listing: Option<Listing>,
    /// Differences that are explained, by the beginning of their range: SentinelOne's count minus
    /// ours.
    settled: BTreeMap<Stamp, i64>,
    /// The stream's number of collected records when the last round began.
    collected: u64,
    unlisted: Unlisted,
    /// While lists are put off and counts are answered: how long the next list waits after its
    /// count, so that no limit of requests in a time refuses only lists.
    put_off: Option<Span>,
    rejections: Rejections,
    pub overcounts: Overcounts,
    pub summary: ReconcileSummary,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Count(Count),
    List(List),
}

impl Reconcile {
    pub fn new(interval: Span, compared: Option<Stamp>, now: Mono) -> Reconcile {
        Reconcile {
            interval,
            lane: Lane::new(now, Span::ZERO),
            round: None,
            ranges: vec![],
            left: None,
            listing: None,
            settled: BTreeMap::new(),
            collected: 0,
            unlisted: Unlisted::default(),
            put_off: None,
            rejections: Rejections::default(),
            overcounts: Overcounts::default(),
            summary: ReconcileSummary { compared, ..ReconcileSummary::default() },
        }
    }

    pub fn is_on(&self) -> bool {
        self.interval > Span::ZERO && self.summary.refused.is_none()
    }

    /// The last failure, if there were so many since an answer that nothing is compared.
    pub fn failing(&self) -> Option<String> {
        let is_failing = self.lane.failures >= limits::RECONCILE_FAILURES_TOLD && self.is_on();
        is_failing.then(|| self.lane.detail.clone())
    }

    pub fn in_round(&self) -> bool {
        self.round.is_some()
    }

    /// Whether so much was collected since the last round that its ids would soon be forgotten.
    pub fn ids_nearly_full(&self, collected: u64, ids_max: usize) -> bool {
        collected.saturating_sub(self.collected) >= ids_max as u64 / 4
    }

    /// Whether a round is due, by SentinelOne's time.
    pub fn is_due(&self, source_now: Stamp) -> bool {
        self.summary.compared.is_none_or(|compared| {
            // A clock that was set back must not stop it.
            source_now >= compared + self.interval || source_now < compared
        })
    }

    /// The time up to which the stream may be compared: only what no walk reads any more, and whole
    /// hours that ended a margin ago by SentinelOne's own clock; whole minutes if `nearly_full`. A
    /// stream without new records keeps its settled time, which may be in the middle of an hour. Once
    /// that is more than an interval ago, it is compared up to `walked`: what the last walk would have
    /// collected, if the list that it read is right.
    pub fn closed(
        &self,
        settled: Stamp,
        walked: Option<Stamp>,
        source_now: Stamp,
        nearly_full: bool,
    ) -> Stamp {
        let whole = if nearly_full { Span::minutes(1) } else { Span::hours(1) };
        let margin = Span::minutes(limits::RECONCILE_MARGIN_MINUTES);
        let second = Span::seconds(1);
        let is_quiet = source_now - margin - self.interval > settled;
        let end = walked.filter(|_| is_quiet).map_or(settled, |walked| walked.max(settled));
        floor(source_now - margin, whole.min(self.interval).max(second)).min(floor(end, second))
    }

    pub fn begin(&mut self, now: Mono, closed: Stamp, collected: u64) {
        assert!(self.round.is_none(), "a round ends before the next begins");
        self.round = Some(Round::new(closed));
        self.collected = collected;
        // A stream that was set back walks again over compared time: that walk collects what is
        // missing there.
        self.summary.until = self.summary.until.map(|until| until.min(closed));
        match self.summary.until {
            Some(until) => {
                self.ranges.push(Range::new(None, until, false));
                if until < closed {
                    self.ranges.push(Range::new(Some(until), closed, true));
                }
            }
            None => self.ranges.push(Range::new(None, closed, true)),
        }
        for Unlistable { from, to, excess, .. } in self.unlisted.take_due(now) {
            self.settle(from, -excess);
            self.ranges.push(Range { was_aside: true, ..Range::new(Some(from), to, false) });
        }
        for (from, to) in self.overcounts.begin_round(closed) {
            self.ranges.push(Range { is_overcounted: true, ..Range::new(Some(from), to, false) });
        }
        if let Some((range, listing)) = self.left.take().filter(|(range, _)| range.to <= closed) {
            self.ranges.push(range);
            self.listing = listing;
        }
    }

    /// The next request of the round; `None`: the round is over.
    pub fn next(&mut self, stream: usize, rows_max: u32, source_now: Stamp) -> Option<Step> {
        let round = self.round.as_ref()?;
        let ends = self.ranges.is_empty();
        if ends || round.requests >= round.requests_max {
            let closed = round.closed;
            self.end(closed, source_now, ends);
            return None;
        }
        let rows_max = self.rows_of_list(rows_max);
        if let Some(twin) = self.twin(stream) {
            return Some(Step::List(twin));
        }
        if let Some(listing) = &mut self.listing {
            let Difference { from, to, .. } = listing.difference;
            let cursor = listing.cursor.clone();
            listing.asked = rows_max;
            return Some(Step::List(List { stream, from, to, cursor, rows_max }));
        }
        let range = self.ranges.last().expect("a round that goes on has a range");
        let (by, from, to) = (By::Creation, range.from, range.to);
        Some(Step::Count(Count { stream, by, from, to }))
    }

    fn end(&mut self, closed: Stamp, source_now: Stamp, is_whole: bool) {
        if is_whole {
            self.summary.until = self.summary.until.max(Some(closed));
            self.summary.compared = Some(source_now);
        } else {
            // What was found stays; the rest is compared again, sooner than usual.
            self.summary.unchecked += 1;
            self.summary.compared = Some(source_now - Span(self.interval.0 / 4 * 3));
        }
        let left = self.ranges.pop().map(|range| (range, self.listing.take()));
        self.abandon();
        self.left = left;
    }

    /// Ends the round early: the queue was opened again, or `--once` has no time for it.
    pub fn abandon(&mut self) {
        (self.round, self.put_off, self.rejections.is_twin_asked) = (None, None, false);
        self.ranges.clear();
        (self.listing, self.left) = (None, None);
    }

    /// A request was made; the next one of the round keeps the pace.
    fn made(&mut self, now: Mono, pace: Span) {
        let Some(round) = &mut self.round else { return };
        round.requests += 1;
        let is_first = round.requests <= limits::RECONCILE_REQUESTS_AT_ONCE;
        let wait = if is_first { Span::ZERO } else { pace };
        self.lane.succeed(now, Due::At(now + wait), Reason::Working);
    }

    /// A request of the round failed; it counts too, so that a round ends.
    pub fn failed(&mut self) {
        if let Some(round) = &mut self.round {
            round.requests += 1;
        }
    }

    /// A count failed, so the service was not seen working. If the number of records may be the
    /// reason and a count of the range failed before, the range is divided.
    pub fn could_not_count(&mut self, trouble: &SourceTrouble) {
        self.put_off = None;
        self.unlisted.acquit();
        let (Some(round), Some(range)) = (self.round.as_mut(), self.ranges.last_mut()) else {
            return;
        };
        range.counts_failed += u32::from(trouble.may_be_of_size());
        // No ids from before that are kept, so no count goes further back.
        let first = range.to - Span::hours(limits::RECONCILE_BACK_HOURS);
        let (from, to) = (range.from.unwrap_or(first), range.to);
        if let Some(middle) = roundest_second(from, to).filter(|_| range.counts_failed > 1) {
            round.allow_more();
            self.divide(from, middle);
        }
    }

    /// Whether a list that is put off now was put off before, with its count answered.
    pub fn is_put_off_again(&self) -> bool {
        self.put_off.is_some() || self.lane.reason == Reason::Busy
    }

    /// A list was put off once more: its count is answered each time and ends no wait, so the wait
    /// doubles here.
    pub fn put_off(&mut self, now: Mono, longest_wait: Span) {
        if let Due::At(due) = self.lane.due {
            let doubled = self.put_off.map_or(Span::ZERO, |before| before.times(2));
            let wait = due.since(now).max(doubled.min(longest_wait));
            self.lane.due = Due::At(now + wait);
            self.put_off = Some(wait);
        }
    }

    /// A count was answered, and a list may follow.
    pub fn wait_for_list(&mut self, now: Mono) {
        if let Some(wait) = self.put_off.filter(|_| self.listing.is_some()) {
            self.lane.due = self.lane.due.max(Due::At(now + wait));
        }
    }

    /// How many rows a list page requests, if the stream requests `rows` in a page.
    pub fn rows_of_list(&self, rows: u32) -> u32 {
        let answered = self.round.as_ref().and_then(|round| round.answered);
        let rows = rows.min(answered.unwrap_or(rows));
        self.ranges.last().map_or(rows, |range| rows.min(range.rows_max))
    }

    /// A list with this number of rows was rejected, which may be because of the number: fewer are
    /// requested, if possible. With a cursor, the cursor is taken for the reason.
    pub fn list_fewer(&mut self, rows: u32) -> bool {
        let may_be = self.listing.as_ref().is_some_and(|list| list.cursor.is_none());
        match self.ranges.last_mut().filter(|_| may_be && rows > 1) {
            Some(range) => {
                (range.rows_max, range.is_limited) = (rows / 2, true);
                true
            }
            None => false,
        }
    }

    /// A list with this number of rows failed, maybe because of its size or because of one row. Its
    /// range is divided and counted again, which shows whether the service works; a single second
    /// is listed with fewer rows. `is_rejected`: the query was rejected. Returns the range that can't be
    /// listed, once a row in it is to blame.
    pub fn could_not_list(
        &mut self,
        now: Mono,
        rows: u32,
        trouble: &SourceTrouble,
        is_rejected: bool,
        longest_wait: Span,
    ) -> Option<Unlistable> {
        let (round, range) = (self.round.as_mut()?, self.ranges.last_mut()?);
        round.allow_more();
        let listing = self.listing.take()?;
        let is_of_cursor = is_rejected && listing.cursor.is_some();
        let is_first = is_rejected && !is_of_cursor && !self.rejections.was_listed;
        self.rejections.is_twin_asked |= is_first;
        let Difference { from, to, there, collected, .. } = listing.difference;
        if let Some(middle) = roundest_second(from, to) {
            self.divide(from, middle);
            return None;
        }
        let excess = there.map_or(0, |there| there as i64 - collected as i64);
        if range.was_aside {
            let unread = trouble.unread();
            self.set_aside(now, Unlistable { from, to, excess, unread });
            return None;
        }
        // Fewer rows would need more cursors, and a rejected one is not used again.
        if rows > 1 && !is_of_cursor {
            range.rows_max = rows / 2;
            self.listing = Some(listing);
            return None;
        }
        range.is_rejected = is_of_cursor;
        range.failed_at = (!is_of_cursor).then_some((listing.cursor, listing.unmatched));
        let unread = self.unlisted.failed(now, from, trouble, longest_wait)?;
        Some(Unlistable { from, to, excess, unread })
    }

    /// A gap reports the range: the round goes on without it.
    pub fn set_aside(&mut self, now: Mono, range: Unlistable) {
        self.put_off = None;
        self.unlisted.set_aside(now, range);
        self.settle(range.from, range.excess);
        self.summary.unchecked += 1;
        // The round's next range is another one if the queue was opened again in between.
        if self.ranges.last().is_some_and(|last| last.to == range.to) {
            self.ranges.pop();
        }
    }

    /// `rows`: how many the stream asks for in a page.
    pub fn counted(&mut self, now: Mono, pace: Span, rows: u32, counted: Option<Counted>) {
        // The queue was opened again in between.
        let Some(range) = self.ranges.last().cloned() else { return };
        let Some(Counted { from, collected, there, .. }) = counted else {
            // No ids of the range are kept, so no request was made.
            if let Some(from) = range.from.filter(|_| range.is_overcounted) {
                self.overcounts.remove(from);
            }
            self.ranges.pop();
            return;
        };
        self.made(now, pace);
        self.summary.comparisons += 1;
        if range.is_overcounted
            && range.lists == 0
            && self.is_as_before(now, &range, from, collected, there)
        {
            self.ranges.pop();
            return;
        }
        let settled: i64 = self.settled.range(from..range.to).map(|(_, delta)| delta).sum();
        let expected = collected.saturating_add_signed(settled);
        let length = range.to.since(from);
        // A list of many pages costs more than halving the range, and would end the round.
        let rows = self.rows_of_list(rows);
        let few = rows.saturating_mul(limits::RECONCILE_PAGES_MAX).min(limits::PAGE_ROWS_MAX);
        let few = u64::from(few);
        let is_short = length < Span::seconds(2);
        if range.lists > 0 {
            return self.counted_again(now, range, from, there, collected);
        }
        match there {
            Total::Is(there) if there == expected => drop(self.ranges.pop()),
            Total::Is(there) if there < expected => {
                if there > 0 && length > Span::hours(1) {
                    // A late record and a deleted one may cancel each other out.
                    return self.halve(from);
                }
                self.summary.fewer += expected - there;
                self.settle(from, there as i64 - expected as i64);
                self.ranges.pop();
            }
            Total::Is(there) if there <= few || is_short => {
                self.list(from, range.to, Some(there), expected);
            }
            Total::Capped if is_short => self.list(from, range.to, None, expected),
            Total::Is(_) | Total::Capped => self.halve(from),
            // Without a count only the records themselves show a difference.
            Total::Unknown if range.is_new => self.list(from, range.to, None, expected),
            Total::Unknown => {
                self.summary.unchecked += 1;
                self.ranges.pop();
            }
        }
    }

    /// A range that was listed is counted again, because a poll may have stored some of it between
    /// the count and the list. The rows that the list could not match remain as a difference; a
    /// larger excess has come since and is listed too, until the range was listed often enough.
    fn counted_again(
        &mut self,
        now: Mono,
        mut range: Range,
        from: Stamp,
        there: Total,
        collected: u64,
    ) {
        let unmatched = range.unmatched as i64;
        let excess = match there {
            Total::Is(there) => there as i64 - collected as i64,
            Total::Capped | Total::Unknown => unmatched,
        };
        range.least = range.least.min(excess);
        if excess > unmatched && range.lists < limits::RECONCILE_LISTS_MAX {
            let to = range.to;
            self.ranges.pop();
            self.ranges.push(range);
            let there = collected.saturating_add_signed(excess);
            return self.list(from, to, Some(there), collected);
        }
        // Differences explained before the list are replaced by the one found now.
        let within = from..range.to;
        let before: i64 = self.settled.range(within.clone()).map(|(_, delta)| delta).sum();
        self.settled.retain(|at, _| !within.contains(at));
        self.summary.fewer += before.min(0).saturating_sub(range.least).max(0).unsigned_abs();
        self.settle(from, range.least);
        // Rows that were listed bear out the count, whatever they are counted as here.
        let unlisted = match there {
            Total::Is(there) => (there as i64 - range.rows as i64).min(range.least - unmatched),
            Total::Capped | Total::Unknown => 0,
        };
        self.overcounts.found(now, from, range.to, unlisted);
        self.ranges.pop();
    }

    /// A range in which more was counted than listed is counted again, in a later round. Returns
    /// whether nothing has changed and nothing is to be listed; otherwise the excess counts as
    /// unexplained again.
    fn is_as_before(
        &mut self,
        now: Mono,
        range: &Range,
        from: Stamp,
        collected: u64,
        there: Total,
    ) -> bool {
        let Some(over) = self.overcounts.of(range.from, from, range.to) else { return false };
        let Total::Is(there) = there else { return true };
        if let Some(begin) = range.from.filter(|begin| *begin != from) {
            // No ids from before are kept.
            self.settled.remove(&begin);
            self.settle(from, over.excess);
        }
        let settled: i64 = self.settled.range(from..range.to).map(|(_, delta)| delta).sum();
        let expected = collected.saturating_add_signed(settled);
        // Some of it may be explained since.
        let excess = over.excess.min(settled.max(0));
        if there == expected && excess == over.excess && !over.is_to_be_listed(now) {
            return true;
        }
        self.settle(from, -excess);
        if there <= expected.saturating_add_signed(-excess) {
            self.overcounts.remove(from);
        }
        false
    }

    fn halve(&mut self, from: Stamp) {
        let Some(range) = self.ranges.last() else { return };
        let middle = from + Span(range.to.since(from).0 / 2 / 1_000 * 1_000);
        self.divide(from, middle);
    }

    fn divide(&mut self, from: Stamp, middle: Stamp) {
        let Some(Range { to, is_new, .. }) = self.ranges.pop() else { return };
        assert!(from < middle && middle < to, "only what has two seconds is divided");
        self.ranges.push(Range::new(Some(from), middle, is_new));
        self.ranges.push(Range::new(Some(middle), to, is_new));
    }

    fn list(&mut self, from: Stamp, to: Stamp, there: Option<u64>, collected: u64) {
        let difference = Difference { from, to, there, collected, late: 0 };
        let failed_at = self.ranges.last_mut().and_then(|range| range.failed_at.take());
        let (cursor, unmatched) = failed_at.unwrap_or_default();
        self.listing = Some(Listing::new(difference, cursor, unmatched));
    }

    fn settle(&mut self, at: Stamp, delta: i64) {
        let sum = self.settled.entry(at).or_insert(0);
        *sum += delta;
        if *sum == 0 {
            self.settled.remove(&at);
        }
        while self.settled.len() > limits::RECONCILE_SETTLED_MAX {
            self.settled.pop_first();
        }
    }

    /// The indices of rows in a listed page that were never collected: neither among the kept ids,
    /// nor known to the stream's walks.
    pub fn fresh(&self, listed: &Listed, knows: impl Fn(&RowKey) -> bool) -> Vec<u32> {
        let mut in_page = BTreeSet::new();
        let rows = listed.page.keys.iter().zip(&listed.unseen).enumerate();
        rows.filter(|(_, (key, unseen))| **unseen && !knows(key) && in_page.insert(key.id))
            .map(|(at, _)| u32::try_from(at).expect("a page has at most PAGE_ROWS_MAX rows"))
            .collect()
    }

    /// The stamps that only the list has brought, if it is complete with this page; `late`: those
    /// of this page.
    pub fn late_once_whole(&self, page: &PageFacts, late: &[Stamp]) -> Vec<Stamp> {
        let before = self.listing.as_ref().filter(|_| page.next.is_none());
        before.map_or(vec![], |listing| [&listing.late, late].concat())
    }

    /// A listed page is done: its new rows are stored, with the stamps `late`. `unmatched`: rows
    /// that were collected although they are not counted so.
    pub fn listed(
        &mut self,
        now: Mono,
        pace: Span,
        page: &PageFacts,
        late: Vec<Stamp>,
        unmatched: u64,
    ) {
        self.made(now, pace);
        let Some(listing) = &mut self.listing else { return };
        self.put_off = None;
        // The pages before one that is rejected come each time.
        let is_rejected = self.ranges.last().is_some_and(|range| range.is_rejected);
        if !is_rejected || page.next.is_none() {
            self.unlisted.acquit();
        }
        self.rejections.was_listed = true;
        if let Some(round) = self.round.as_mut() {
            let is_limited = self.ranges.last().is_some_and(|range| range.is_limited);
            round.answered = is_limited.then_some(listing.asked).or(round.answered);
        }
        listing.unmatched += unmatched;
        listing.difference.late += late.len() as u64;
        self.summary.late += late.len() as u64;
        listing.late.extend(late);
        listing.cursor = page.next.clone();
        listing.rows += page.keys.len() as u64;
        if listing.cursor.is_some() {
            listing.empty_pages = if page.keys.is_empty() { listing.empty_pages + 1 } else { 0 };
            if listing.empty_pages >= limits::EMPTY_PAGES_MAX {
                // It may contain more: no difference counts as explained.
                (self.listing, self.summary.unchecked) = (None, self.summary.unchecked + 1);
                self.ranges.pop();
            }
            return;
        }
        let Some(listing) = self.listing.take() else { return };
        let is_cut = listing.is_cut(page.keys.len());
        let Listing { difference, unmatched, rows: listed_rows, .. } = listing;
        let middle = roundest_second(difference.from, difference.to).filter(|_| is_cut);
        if let Some(middle) = middle {
            let from = difference.from;
            self.divide(from, middle);
            if difference.late > 0 {
                self.summary.last = Some(difference);
            }
            return;
        }
        match (difference.there, self.ranges.last_mut()) {
            (Some(_), Some(range)) => {
                range.lists += 1;
                (range.unmatched, range.rows) = (unmatched, listed_rows);
            }
            // Without a count there is none to repeat.
            _ => {
                self.settle(difference.from, unmatched as i64);
                self.ranges.pop();
            }
        }
        if difference.late > 0 || difference.there.is_some() {
            self.summary.last = Some(difference);
        }
    }

    /// The list begins again at its range: a cursor was rejected, or a page could not be stored.
    /// Returns whether there was a cursor.
    pub fn restart_listing(&mut self) -> bool {
        self.listing.as_mut().is_some_and(|listing| {
            (listing.unmatched, listing.rows) = (0, 0);
            listing.cursor.take().is_some()
        })
    }

    /// SentinelOne rejects the query itself: it is not sent again before the next start.
    pub fn refuse(&mut self, text: String) {
        self.abandon();
        self.overcounts = Overcounts::default();
        self.summary.refused = Some(text);
    }
}

/// The whole second within a range at which most ranges around it would be divided, so that the
/// parts that can't be divided are the same seconds from any range.
fn roundest_second(from: Stamp, to: Stamp) -> Option<Stamp> {
    const SECOND_US: i64 = 1_000_000;
    let (first, last) = (from.0.div_euclid(SECOND_US), (to.0 - 1).div_euclid(SECOND_US));
    // The highest bit in which the two differ: the number ending there in zeros has the most zeros.
    let bit = (first ^ last).checked_ilog2()?;
    Some(Stamp((last >> bit << bit) * SECOND_US))
}

pub(super) fn floor(stamp: Stamp, whole: Span) -> Stamp {
    let whole_us = i64::try_from(whole.as_ms()).unwrap_or(i64::MAX).saturating_mul(1_000);
    Stamp(stamp.0.div_euclid(whole_us).saturating_mul(whole_us))
}

#[cfg(test)]
#[path = "tests/reconcile.rs"]
mod tests;
