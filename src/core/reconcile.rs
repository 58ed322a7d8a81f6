//! Reconciliation: SentinelOne is asked how many records it has of what is settled, and where that
//! is more than were collected, they are looked for. So a record that became visible after every
//! walk had passed it is found all the same.
//!
//! ```text
//!        since                until                     closed      from        position
//!   ...... |------ again ------|------ new ---------------|..........|...overlap..|   created at
//!
//!   range --count agrees--> done
//!     |-----more there----> few: listed, and what is unseen is collected; many: halved
//!     '-----fewer there---> noted (deleted, or beyond retention); no trouble
//! ```
//!
//! A round begins once an interval, or sooner when so much was collected that ids would soon be
//! forgotten; when all agrees it is two requests. Promises: a round is bounded in requests and
//! between them lies a pace (keeps P6); only what no walk looks at any more is compared; what is
//! found is stored as any page is, and the stream's position does not move (keeps P1, P2). Never:
//! stands in the way of a poll: its lane is its own, and rests while the stream's is in trouble.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits;
use crate::record::{Cursor, RowKey, Total};
use crate::time::{Due, Mono, Span, Stamp};

use super::lane::{Lane, Why};
use super::source::PageFacts;

/// How many records SentinelOne has that were created in a range, against how many were collected.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    pub stream: usize,
    /// `None`: from where all that was collected is remembered.
    pub from: Option<Stamp>,
    /// Exclusive.
    pub to: Stamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// Where the range begins in fact: later than asked for where nothing is remembered before.
    pub from: Stamp,
    pub collected: u64,
    pub there: Total,
    pub date: Option<Stamp>,
}

/// One page of what was created in a range.
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
    /// Which rows were never collected, as far as is remembered.
    pub unseen: Vec<bool>,
    /// Rows that were not created in the range that was asked for.
    pub outside: usize,
}

/// A difference that was met, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub from: Stamp,
    pub to: Stamp,
    /// `None`: SentinelOne told no count, so all was listed.
    pub there: Option<u64>,
    pub collected: u64,
    /// Records that were missing and are collected now.
    pub late: u64,
}

/// What came of it since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tale {
    /// Everything created before this was compared at least once.
    pub until: Option<Stamp>,
    /// When the last round ended, by SentinelOne's clock.
    pub compared: Option<Stamp>,
    pub comparisons: u64,
    /// Records found that no poll had seen.
    pub late: u64,
    /// Records collected that SentinelOne no longer has.
    pub fewer: u64,
    /// Ranges that could not be compared: no count was told, or too many requests were needed.
    pub unchecked: u64,
    pub last: Option<Difference>,
    /// Why it is off until the next start.
    pub refused: Option<String>,
}

#[derive(Clone, Debug)]
struct Range {
    from: Option<Stamp>,
    to: Stamp,
    /// Whether it was never compared before.
    is_new: bool,
    /// How often it was listed in this round, and what of it can't be explained by records that were
    /// collected since.
    lists: u32,
    unmatched: u64,
    /// The least that SentinelOne counted more than was collected, after a list.
    least: i64,
}

impl Range {
    fn new(from: Option<Stamp>, to: Stamp, is_new: bool) -> Range {
        Range { from, to, is_new, lists: 0, unmatched: 0, least: i64::MAX }
    }
}

/// A range that is being listed.
#[derive(Clone, Debug)]
struct Listing {
    difference: Difference,
    cursor: Option<Cursor>,
    /// Rows that the walks know and the count of what was collected does not.
    unmatched: u64,
}

#[derive(Clone, Debug)]
struct Round {
    /// Up to where it compares.
    closed: Stamp,
    requests: u32,
}

#[derive(Clone, Debug)]
pub struct Reconcile {
    /// Zero: off.
    interval: Span,
    pub lane: Lane,
    round: Option<Round>,
    /// What is left of the round; the last is next.
    ranges: Vec<Range>,
    listing: Option<Listing>,
    /// Differences that are explained, where they were met: SentinelOne's count minus ours.
    settled: BTreeMap<Stamp, i64>,
    /// What the stream had collected when the last round began.
    collected: u64,
    pub tale: Tale,
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
            listing: None,
            settled: BTreeMap::new(),
            collected: 0,
            tale: Tale { compared, ..Tale::default() },
        }
    }

    pub fn is_on(&self) -> bool {
        self.interval > Span::ZERO && self.tale.refused.is_none()
    }

    pub fn in_round(&self) -> bool {
        self.round.is_some()
    }

    /// Whether so much was collected since the last round that its ids would soon be forgotten.
    pub fn is_pressed(&self, collected: u64, ids_max: usize) -> bool {
        collected.saturating_sub(self.collected) >= ids_max as u64 / 4
    }

    /// Whether a round is due at SentinelOne's time.
    pub fn is_due(&self, source_now: Stamp) -> bool {
        self.tale.compared.is_none_or(|compared| {
            // A clock that was set back must not stop it.
            source_now >= compared + self.interval || source_now < compared
        })
    }

    /// Up to where the stream may be compared: what no walk looks at any more, and whole hours that
    /// are past by a margin on SentinelOne's own clock, or whole minutes when pressed. A quiet
    /// stream's settled point stays where it is, maybe in the middle of an hour.
    pub fn closed(&self, settled: Stamp, source_now: Stamp, pressed: bool) -> Stamp {
        let whole = if pressed { Span::minutes(1) } else { Span::hours(1) };
        let past = source_now - Span::minutes(limits::RECONCILE_MARGIN_MINUTES);
        let second = Span::seconds(1);
        floor(past, whole.min(self.interval).max(second)).min(floor(settled, second))
    }

    pub fn begin(&mut self, closed: Stamp, collected: u64) {
        assert!(self.round.is_none(), "a round ends before the next begins");
        self.round = Some(Round { closed, requests: 0 });
        self.collected = collected;
        // A stream that was set back walks anew over what was compared: it is that walk's to collect.
        self.tale.until = self.tale.until.map(|until| until.min(closed));
        match self.tale.until {
            Some(until) => {
                self.ranges.push(Range::new(None, until, false));
                if until < closed {
                    self.ranges.push(Range::new(Some(until), closed, true));
                }
            }
            None => self.ranges.push(Range::new(None, closed, true)),
        }
    }

    /// The next request of the round, if it goes on; else the round is over.
    pub fn next(&mut self, stream: usize, rows_max: u32, source_now: Stamp) -> Option<Step> {
        let round = self.round.as_ref()?;
        let ends = self.ranges.is_empty();
        if ends || round.requests >= limits::RECONCILE_REQUESTS_MAX {
            let closed = round.closed;
            self.end(closed, source_now, ends);
            return None;
        }
        if let Some(listing) = &self.listing {
            let Difference { from, to, .. } = listing.difference;
            return Some(Step::List(List {
                stream,
                from,
                to,
                cursor: listing.cursor.clone(),
                rows_max,
            }));
        }
        let range = self.ranges.last().expect("a round that goes on has a range");
        Some(Step::Count(Count { stream, from: range.from, to: range.to }))
    }

    fn end(&mut self, closed: Stamp, source_now: Stamp, is_whole: bool) {
        if is_whole {
            self.tale.until = self.tale.until.max(Some(closed));
            self.tale.compared = Some(source_now);
        } else {
            // What was found stays found; the rest is looked at again, sooner than usual.
            self.tale.unchecked += 1;
            self.tale.compared = Some(source_now - Span(self.interval.0 / 4 * 3));
        }
        self.abandon();
    }

    /// The round is given up: the queue was opened anew, or `--once` has no time for it.
    pub fn abandon(&mut self) {
        self.round = None;
        self.ranges.clear();
        self.listing = None;
    }

    /// One request was made; the next one of the round keeps the pace.
    fn made(&mut self, now: Mono, pace: Span) {
        let Some(round) = &mut self.round else { return };
        round.requests += 1;
        let is_first = round.requests <= limits::RECONCILE_REQUESTS_AT_ONCE;
        let wait = if is_first { Span::ZERO } else { pace };
        self.lane.succeed(now, Due::At(now + wait), Why::Working);
    }

    /// A request of the round failed; it counts too, so that a round ends.
    pub fn failed(&mut self) {
        if let Some(round) = &mut self.round {
            round.requests += 1;
        }
    }

    pub fn counted(&mut self, now: Mono, pace: Span, counted: Option<Counted>) {
        // The queue was opened anew in between.
        let Some(range) = self.ranges.last().cloned() else { return };
        let Some(Counted { from, collected, there, .. }) = counted else {
            // Nothing of it is remembered, and so no request was made.
            self.ranges.pop();
            return;
        };
        self.made(now, pace);
        self.tale.comparisons += 1;
        let settled: i64 = self.settled.range(from..range.to).map(|(_, delta)| delta).sum();
        let expected = collected.saturating_add_signed(settled);
        let length = range.to.since(from);
        let few = u64::from(limits::PAGE_ROWS_MAX);
        let is_short = length < Span::seconds(2);
        if range.lists > 0 {
            return self.counted_again(range, from, there, collected);
        }
        match there {
            Total::Is(there) if there == expected => drop(self.ranges.pop()),
            Total::Is(there) if there < expected => {
                if there > 0 && length > Span::hours(1) {
                    // A late record may hide behind one that was deleted.
                    return self.halve(from);
                }
                self.tale.fewer += expected - there;
                self.settle(from, there as i64 - expected as i64);
                self.ranges.pop();
            }
            Total::Is(there) if there <= few || is_short => {
                self.list(from, range.to, Some(there), expected);
            }
            Total::Capped if is_short => self.list(from, range.to, None, expected),
            Total::Is(_) | Total::Capped => self.halve(from),
            // Without a count only the records themselves tell.
            Total::Untold if range.is_new => self.list(from, range.to, None, expected),
            Total::Untold => {
                self.tale.unchecked += 1;
                self.ranges.pop();
            }
        }
    }

    /// A range that was listed is counted once more, for a poll may have taken in some of it between the
    /// count and the list. What the list could not match stays different; anything beyond that has come
    /// since and is listed too, unless it is what was counted after every list.
    fn counted_again(&mut self, mut range: Range, from: Stamp, there: Total, collected: u64) {
        let unmatched = range.unmatched as i64;
        let excess = match there {
            Total::Is(there) => there as i64 - collected as i64,
            Total::Capped | Total::Untold => unmatched,
        };
        range.least = range.least.min(excess);
        if excess > unmatched && range.lists < limits::RECONCILE_LISTS_MAX {
            let to = range.to;
            self.ranges.pop();
            self.ranges.push(range);
            let there = collected.saturating_add_signed(excess);
            return self.list(from, to, Some(there), collected);
        }
        // What was taken for explained before the list is explained by it now.
        let within = from..range.to;
        let before: i64 = self.settled.range(within.clone()).map(|(_, delta)| delta).sum();
        self.settled.retain(|at, _| !within.contains(at));
        self.tale.fewer += before.min(0).saturating_sub(range.least).max(0).unsigned_abs();
        self.settle(from, range.least);
        self.ranges.pop();
    }

    fn halve(&mut self, from: Stamp) {
        let Some(Range { to, is_new, .. }) = self.ranges.pop() else { return };
        let middle = from + Span(to.since(from).0 / 2 / 1_000 * 1_000);
        assert!(from < middle && middle < to, "only what has two seconds is halved");
        self.ranges.push(Range::new(Some(from), middle, is_new));
        self.ranges.push(Range::new(Some(middle), to, is_new));
    }

    fn list(&mut self, from: Stamp, to: Stamp, there: Option<u64>, collected: u64) {
        let difference = Difference { from, to, there, collected, late: 0 };
        self.listing = Some(Listing { difference, cursor: None, unmatched: 0 });
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

    /// The rows of a listed page that were never collected: neither as far as the queue remembers,
    /// nor known to the stream's walks.
    pub fn fresh(&self, listed: &Listed, knows: impl Fn(&RowKey) -> bool) -> Vec<u32> {
        let mut in_page = BTreeSet::new();
        let rows = listed.page.keys.iter().zip(&listed.unseen).enumerate();
        rows.filter(|(_, (key, unseen))| **unseen && !knows(key) && in_page.insert(key.id))
            .map(|(at, _)| u32::try_from(at).expect("a page has at most PAGE_ROWS_MAX rows"))
            .collect()
    }

    /// A page is done: what was fresh in it is stored. `unmatched`: rows that were collected and yet are
    /// not counted as such.
    pub fn listed(&mut self, now: Mono, pace: Span, page: &PageFacts, late: u64, unmatched: u64) {
        self.made(now, pace);
        let Some(listing) = &mut self.listing else { return };
        listing.unmatched += unmatched;
        listing.difference.late += late;
        self.tale.late += late;
        listing.cursor = page.next.clone().filter(|_| !page.keys.is_empty());
        if listing.cursor.is_some() {
            return;
        }
        let Some(Listing { difference, unmatched, .. }) = self.listing.take() else { return };
        match (difference.there, self.ranges.last_mut()) {
            (Some(_), Some(range)) => {
                range.lists += 1;
                range.unmatched = unmatched;
            }
            // Where there is no count, there is none to take again.
            _ => {
                self.settle(difference.from, unmatched as i64);
                self.ranges.pop();
            }
        }
        if difference.late > 0 || difference.there.is_some() {
            self.tale.last = Some(difference);
        }
    }

    /// The list is begun anew, by its range: a cursor was refused, or a page could not be stored.
    /// Answers whether there was a cursor.
    pub fn restart_listing(&mut self) -> bool {
        self.listing.as_mut().is_some_and(|listing| {
            listing.unmatched = 0;
            listing.cursor.take().is_some()
        })
    }

    /// SentinelOne refuses the question itself: it is not put again before the next start.
    pub fn refuse(&mut self, text: String) {
        self.abandon();
        self.tale.refused = Some(text);
    }
}

fn floor(stamp: Stamp, whole: Span) -> Stamp {
    let whole_us = i64::try_from(whole.as_ms()).unwrap_or(i64::MAX).saturating_mul(1_000);
    Stamp(stamp.0.div_euclid(whole_us).saturating_mul(whole_us))
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
