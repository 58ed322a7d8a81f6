//! Whether SentinelOne counts more threats by their last change than walks have read of that time: then
//! a page lacked some of its rows, or rows left the list while its pages were read.
//!
//! Reconciliation counts threats by their creation. That finds a threat that no walk has seen, but not a
//! later change of one that was counted.
//!
//! ```text
//!      since                   until                        stamps of the last change
//!   .....|------- counted ------|.....overlap.....| the last walk began
//!
//!   no more there --> the next count begins at this `until`
//!   more there    --> the next walk begins at `since`, then it is counted again
//!   still more, in two rounds --> a gap, until the count agrees
//! ```
//!
//! Promises: what is compared was read by walks of this process from end to end, so what is counted
//! beyond it was missed (keeps P1); a row that was read is not stored again (P2); no more than
//! `CHANGED_IDS_MAX` rows are remembered (P5). Never: stores anything, or moves a position.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits;
use crate::record::{Kind, RowKey, SourceTrouble, Total, Unread};
use crate::time::{Due, Mono, Span, Stamp};

use super::reason::Reason;
use super::reconcile::{By, Count, Counted, floor};
use super::source::{Stream, Then};
use super::walk::Walk;
use super::{Action, Core, Tick};

/// The rows that walks have read, each threat with its last change, and what was counted of them.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    read: BTreeSet<RowKey>,
    last: BTreeMap<u64, Stamp>,
    /// Everything visible from here on was read; `None`: a walk has to begin first.
    since: Option<Stamp>,
    /// Where the last count that agreed ended: each time is compared twice, an interval apart.
    agreed: Option<Stamp>,
    /// The range that is being counted.
    asked: Option<(Stamp, Stamp)>,
    /// It was counted for the round that is due.
    is_counted: bool,
    /// Where the next walk begins, to read again.
    again: Option<Stamp>,
    /// It was read again since the count that showed more.
    has_read_again: bool,
    /// Before this the present walk reads again what was read.
    read_again_to: Option<Stamp>,
    over: Option<Over>,
    /// The console does not take this count.
    is_off: bool,
}

/// More is counted than was read.
#[derive(Clone, Copy, Debug)]
struct Over {
    from: Stamp,
    to: Stamp,
    excess: u64,
    /// How many rounds in a row have found it.
    rounds: u32,
    is_told: bool,
    /// When it was read again last.
    read: Mono,
}

impl Over {
    fn is_to_be_read(&self, now: Mono, excess: u64) -> bool {
        let is_old = now.since(self.read) >= Span::hours(limits::UNLISTED_AGAIN_HOURS);
        !self.is_told || excess > self.excess || is_old
    }
}

impl Changed {
    /// A walk begins at `start` unless it has to begin earlier. Returns where.
    pub fn begins(&mut self, start: Stamp) -> Stamp {
        let again = self.again.take().filter(|again| *again < start);
        self.read_again_to = again.map(|_| start);
        let start = again.unwrap_or(start);
        self.since.get_or_insert(start);
        start
    }

    /// Rows of a walk or of a list are stored, or were before.
    pub fn passed(&mut self, keys: &[RowKey]) {
        if keys.iter().any(|key| key.stamp == Stamp::UNREADABLE) {
            // SentinelOne may count it in any range.
            self.forget();
        }
        let Some(since) = self.since else { return };
        for key in keys.iter().filter(|key| key.stamp >= since) {
            // The one read last is the present one, also if a clock was set back in between.
            if let Some(stamp) = self.last.insert(key.id, key.stamp) {
                self.read.remove(&RowKey { stamp, id: key.id });
            }
            self.read.insert(*key);
        }
        while self.read.len() > limits::CHANGED_IDS_MAX {
            let dropped = self.read.pop_first().expect("more than the bound is more than none");
            self.last.remove(&dropped.id);
            self.since = Some(Stamp(dropped.stamp.0.saturating_add(1)));
        }
    }

    /// Whether a row that the present walk brings was not read before. Of what it reads again only
    /// what is remembered can be new.
    pub fn is_new(&self, key: &RowKey) -> bool {
        let is_read_again = self.read_again_to.is_some_and(|to| key.stamp < to);
        let is_remembered = self.since.is_some_and(|since| key.stamp >= since);
        !is_read_again || is_remembered && !self.has(key)
    }

    /// Whether a row, or a later change of its threat, was read.
    pub fn has(&self, key: &RowKey) -> bool {
        self.last.get(&key.id).is_some_and(|last| *last >= key.stamp)
    }

    /// What was read was not stored, or something is passed over for good: what is compared begins with
    /// the next walk.
    pub fn forget(&mut self) {
        let Changed { is_counted, is_off, read_again_to, .. } = *self;
        *self = Changed { is_counted, is_off, read_again_to, ..Changed::default() };
    }

    /// The range to be counted before a round. `walked`: everything visible from before it was read.
    fn next_range(&mut self, walked: Option<Stamp>) -> Option<(Stamp, Stamp)> {
        let second = Span::seconds(1);
        // A console may compare in whole seconds.
        let from = floor(self.since? + second, second);
        let to = floor(walked?, second);
        let is_due = !self.is_off && !self.is_counted && from < to;
        self.asked = is_due.then_some((from, to));
        self.asked
    }

    /// A round begins. The count before it was made, or could not be.
    fn round_begins(&mut self) {
        (self.is_counted, self.asked) = (false, None);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// The count came. Returns whether more is there than was read.
    fn counted(&mut self, now: Mono, there: Total) -> bool {
        self.is_counted = true;
        let has_read_again = std::mem::take(&mut self.has_read_again);
        let Some((from, to)) = self.asked.take() else { return false };
        let Total::Is(there) = there else { return false };
        let range = RowKey { stamp: from, id: 0 }..RowKey { stamp: to, id: 0 };
        let read = self.read.range(range).count() as u64;
        let excess = there.saturating_sub(read);
        if excess == 0 {
            self.over = None;
            // None at all of many is no answer.
            if there > 0 || read == 0 {
                let agreed = self.agreed.replace(to).unwrap_or(from);
                self.go_on_at(agreed);
            }
            return false;
        }
        if !has_read_again && self.over.is_none_or(|over| over.is_to_be_read(now, excess)) {
            // Counted once more after that, because a row may have become visible just now.
            self.again = Some(from);
            (self.has_read_again, self.is_counted) = (true, false);
            return true;
        }
        if has_read_again {
            let before = self.over.take();
            let rounds = before.map_or(1, |over| over.rounds.saturating_add(1));
            let is_told = before.is_some_and(|over| over.is_told && excess <= over.excess);
            self.over = Some(Over { from, to, excess, rounds, is_told, read: now });
        }
        false
    }

    fn go_on_at(&mut self, agreed: Stamp) {
        let since = self.since.map_or(agreed, |since| since.max(agreed));
        self.since = Some(since);
        let kept = self.read.split_off(&RowKey { stamp: since, id: 0 });
        for dropped in std::mem::replace(&mut self.read, kept) {
            self.last.remove(&dropped.id);
        }
    }

    /// A range in which two rounds have counted more than was read again, and that nobody was told of.
    fn to_tell(&self) -> Option<(Stamp, Stamp)> {
        let over = self.over.filter(|over| over.rounds > 1 && !over.is_told)?;
        Some((over.from, over.to))
    }

    /// A gap reports it.
    pub fn told(&mut self) {
        if let Some(over) = &mut self.over {
            over.is_told = true;
        }
    }

    /// How many records are told of.
    pub fn told_of(&self) -> u64 {
        self.over.filter(|over| over.is_told).map_or(0, |over| over.excess)
    }
}

impl Core {
    /// The count of changed threats came, or failed. Nothing else waits for it.
    pub(super) fn changed_counted(
        &mut self,
        tick: &Tick,
        stream: usize,
        counted: Result<Option<Counted>, SourceTrouble>,
    ) -> Option<Action> {
        let (now, pace) = (tick.now, self.reconcile_pace());
        let state = &mut self.streams[stream];
        let there = match counted {
            Ok(Some(counted)) => {
                self.set_source_time(now, stream, counted.date);
                counted.there
            }
            Ok(None) => Total::Unknown,
            Err(SourceTrouble::QueryRefused(_)) => {
                state.changed.is_off = true;
                Total::Unknown
            }
            Err(trouble) => {
                state.changed.counted(now, Total::Unknown);
                self.reconcile_failed(now, stream, trouble);
                return None;
            }
        };
        let state = &mut self.streams[stream];
        if state.changed.counted(now, there) {
            // The round comes after that walk.
            state.caught_up = false;
            state.lane.due = state.lane.due.min(Due::At(now.max(state.lane.not_before)));
        }
        state.reconcile.lane.succeed(now, Due::At(now + pace), Reason::Working);
        let range = state.changed.to_tell()?;
        let pending = state.missed_by_count(stream, range, Unread::default(), Then::Changed);
        self.take_in(tick, pending)
    }
}

impl Stream {
    /// The new rows of a page of a walk, which passes it.
    pub(super) fn fresh_in(&mut self, walk: &Walk, keys: &[RowKey]) -> Vec<u32> {
        let mut fresh = self.known.fresh(keys, walk.from);
        fresh.retain(|at| {
            let key = &keys[*at as usize];
            !walk.has_passed(key) && self.changed.is_new(key)
        });
        self.changed.passed(keys);
        fresh
    }

    /// The count of changed threats, before a round of reconciliation.
    pub(super) fn count_changed(&mut self, stream: usize, walked: Option<Stamp>) -> Option<Action> {
        let is_moved = self.kind() == Kind::Threats && self.is_between_walks();
        let range = is_moved.then(|| self.changed.next_range(walked)).flatten();
        if range.is_none() {
            self.changed.round_begins();
        }
        let count = |(from, to)| Count { stream, by: By::Change, from: Some(from), to };
        range.map(count).map(Action::Count)
    }

    /// How many more records SentinelOne counts than it lists, as far as gaps report it.
    pub(super) fn counts_more(&self) -> u64 {
        self.reconcile.overcounts.told_of() + self.changed.told_of()
    }
}

#[cfg(test)]
#[path = "tests/changed.rs"]
mod tests;
