//! Records that are sent ahead of their turn: whether the one at the head is to blame, or the sink.
//!
//! ```text
//!   the head fails alone, again and again, and an empty array is not accepted, or does not show
//!   enough: others before it were parked, or nothing was accepted with this key
//!     --> one behind it, 1, 2, 4, ... after it --not accepted--> the head; then one further behind
//!         '--accepted--> the head once more --failed--> parked
//!                        '--when it is its turn: acknowledged, without being sent again
//! ```
//!
//! Promises: the head is parked only if it failed often and for long enough, and once more right
//! after another record was accepted (keeps P1); a few records are ahead at most. Never: sends a
//! version of a record ahead of an older one (the queue chooses).

use std::collections::VecDeque;

use crate::core::blame::Blame;
use crate::limits;
use crate::record::{QueuePosition, Sent, SinkVerdict, Way};
use crate::time::{Mono, Span};

use super::{Backoff, Proof, Sink, Then};

/// A request for one record behind the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// At least so many records after the head.
    pub behind: u32,
    /// And not before this.
    pub from: QueuePosition,
}

#[derive(Clone, Debug, Default)]
pub struct Ahead {
    /// The failures of the head, whatever was answered to empty arrays.
    blame: Blame<QueuePosition>,
    is_due: bool,
    /// How often in a row a record behind was not accepted.
    failed: u32,
    /// One was accepted since the head failed last.
    is_shown: bool,
    /// Those accepted, in order.
    accepted: VecDeque<Sent>,
}

impl Ahead {
    /// The head is another entry, or nothing speaks against it any more.
    pub fn acquit(&mut self) {
        self.blame.acquit();
        (self.is_due, self.failed, self.is_shown) = (false, 0, false);
    }

    /// Where a batch has to end.
    pub fn first(&self) -> Option<QueuePosition> {
        self.accepted.front().map(|sent| sent.first)
    }

    /// Everything before `head` is gone from the queue.
    pub fn forget_before(&mut self, head: QueuePosition) {
        self.accepted.retain(|sent| sent.first >= head);
    }
}

impl Sink {
    /// The record behind the head that is to be sent instead of the next batch.
    pub fn probe(&self) -> Option<Probe> {
        let steps = limits::AHEAD_ENTRIES_MAX.ilog2();
        let from = self.ahead.accepted.back().map_or(QueuePosition::default(), |sent| sent.end);
        let behind = 1 << (self.ahead.failed % steps);
        self.ahead.is_due.then_some(Probe { behind, from })
    }

    /// The head failed alone. Returns whether it is to blame: it failed often and for long enough,
    /// and a record behind it was accepted since it failed before. If only that is missing, one is
    /// sent next.
    pub(super) fn is_shown_to_blame(
        &mut self,
        now: Mono,
        head: QueuePosition,
        way: Way,
        longest_wait: Span,
    ) -> bool {
        let ahead = &mut self.ahead;
        ahead.forget_before(head);
        let is_shown = std::mem::take(&mut ahead.is_shown);
        let may_be = ahead.blame.failed(now, head, way, longest_wait, 0);
        ahead.is_due = may_be && !is_shown && ahead.accepted.len() < limits::AHEAD_MAX;
        may_be && is_shown
    }

    pub(super) fn head_to_blame(
        &mut self,
        now: Mono,
        sent: Sent,
        verdict: &SinkVerdict,
        backoff: &mut Backoff,
    ) -> Then {
        self.suspects.blame.set_aside(now);
        self.ahead.blame.set_aside(now);
        self.refused_single(now, sent, &verdict.words(), backoff)
    }

    /// What was answered to a record that was sent ahead of its turn; `None`: the queue has none.
    pub fn probed(
        &mut self,
        now: Mono,
        probed: Option<(Sent, SinkVerdict)>,
        backoff: &mut Backoff,
    ) {
        self.ahead.is_due = false;
        match probed {
            Some((sent, SinkVerdict::Accepted { remark })) => {
                self.remarks += u64::from(remark.is_some());
                self.delivered += u64::from(sent.entries - sent.own);
                self.something_accepted();
                (self.ahead.is_shown, self.ahead.failed) = (true, 0);
                self.ahead.accepted.push_back(sent);
                // The sink works, and the head is tried once more.
                self.lane.failures = 0;
                let (reason, detail) = (self.lane.reason, self.lane.detail.clone());
                self.lane.try_otherwise(now, backoff.after(1, None), reason, detail);
            }
            Some((_, verdict)) if !verdict.is_of_the_content() => {
                self.ahead.failed = self.ahead.failed.wrapping_add(1);
                let failures = self.lane.failures;
                self.failed(now, &verdict, backoff);
                if self.lane.failures == failures {
                    self.still_failing(now, backoff);
                }
            }
            Some(_) => {
                self.ahead.failed = self.ahead.failed.wrapping_add(1);
                self.still_failing(now, backoff);
            }
            None => {
                self.ahead.failed = 0;
                self.still_failing(now, backoff);
            }
        }
    }

    fn still_failing(&mut self, now: Mono, backoff: &mut Backoff) {
        let (reason, detail) = (self.lane.reason, self.lane.detail.clone());
        let wait = backoff.after(self.lane.failures, None);
        self.lane.fail(now, wait, reason, detail);
    }

    /// The head is a record that was accepted ahead of its turn.
    pub fn sent_before(&mut self, sent: Sent) -> Then {
        self.passed(sent.entries);
        self.ahead.forget_before(sent.end);
        Then::Acknowledge { end: sent.end }
    }

    /// Any record was accepted: the key is good, and the sink does not refuse everything.
    pub(super) fn something_accepted(&mut self) {
        self.proof = Proof::Since;
        self.parked_in_a_row = 0;
        self.cautious = false;
        self.waited = false;
    }
}
