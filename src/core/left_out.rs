//! Records that are left out because no more ids can be remembered, and the gap that reports it.
//!
//! Such records move no position: they are dated in the future, or their time is unreadable.
//! SentinelOne may delete them before there is space for their ids, and then nothing shows that
//! they existed. Promises: what is left out is within a noted range of whole days, so that a stream
//! with such records at each poll does not cause a write and a report each time (keeps P1, P10).
//! Never: decides what is left out.

use crate::plain::count;
use crate::record::{GapReason, RowKey, Unread};
use crate::time::{Span, Stamp};

use super::reason::Reason;
use super::reconcile::floor;
use super::source::{FoundBy, Missed, Stream};
use super::source_clock::Present;
use super::walk::Walk;

/// The range that is noted, as far as this process knows: the gap log has at least that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LeftOut {
    noted: Option<(Stamp, Stamp)>,
}

impl LeftOut {
    /// The gap of rows with these stamps, unless it is noted already. `met`: the time at which they
    /// were met, for rows with an unreadable stamp.
    fn missed(&self, stamps: impl Iterator<Item = Stamp>, met: Stamp) -> Option<Missed> {
        let day = Span::hours(24);
        let dated = stamps.map(|stamp| if stamp == Stamp::UNREADABLE { met } else { stamp });
        let days = dated.map(|stamp| floor(stamp, day));
        let (first, last) = days.fold(None, |range: Option<(Stamp, Stamp)>, stamp| {
            let (first, last) = range.unwrap_or((stamp, stamp));
            Some((first.min(stamp), last.max(stamp)))
        })?;
        let (from, to) = (first, last + day);
        let is_noted = self.noted.is_some_and(|noted| noted.0 <= from && to <= noted.1);
        let (reason, unread) = (GapReason::IdsFull, Unread::default());
        (!is_noted).then_some(Missed { from, to, reason, unread, found_by: FoundBy::Walk })
    }

    /// The gap is in the gap log.
    pub fn noted(&mut self, missed: &Missed) {
        if missed.reason == GapReason::IdsFull {
            let (from, to) = self.noted.unwrap_or((missed.from, missed.to));
            self.noted = Some((from.min(missed.from), to.max(missed.to)));
        }
    }
}

impl Stream {
    /// Removes new rows of a page that move no position, if no more of their ids can be remembered.
    /// Returns the gap for them.
    pub(super) fn leave_out(
        &mut self,
        walk: &mut Walk,
        keys: &[RowKey],
        fresh: &mut Vec<u32>,
        present: Present,
    ) -> Option<Missed> {
        self.known.places_end_at(present.latest_place());
        let left = walk.leave_unplaced(&self.known, keys, fresh);
        self.note_left(left, present.earliest())
    }

    /// The same for a page that was listed to find late records.
    pub(super) fn leave_out_late(
        &mut self,
        keys: &[RowKey],
        fresh: &mut Vec<u32>,
    ) -> Option<Missed> {
        let left = self.known.leave_unplaced(keys, fresh);
        self.note_left(left, None)
    }

    /// `met`: when they were met. `None`: the position stands for it.
    fn note_left(&mut self, left: Vec<Stamp>, met: Option<Stamp>) -> Option<Missed> {
        if !left.is_empty() {
            self.flaw(Reason::IdsFull, format!("{} not collected", count(left.len(), "record")));
        }
        let position = || self.progress.map_or(Stamp::EPOCH, |progress| progress.position);
        self.left_out.missed(left.into_iter(), met.unwrap_or_else(position))
    }
}
