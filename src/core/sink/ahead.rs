//! Records that are sent ahead of their turn: whether the one at the head is to blame, or the sink.
//!
//! ```text
//!   the head fails alone, again and again, and an empty array is not accepted, or does not show
//!   enough: others before it were parked, or nothing was accepted with this key
//!     --> one behind it --not accepted--> the head; then another behind it
//!         '--accepted--> the head once more --failed, three times so--> parked
//!                        '--when it is its turn: acknowledged, without being sent again
//! ```
//!
//! While an empty array fails, or is refused otherwise than the head, all may fail: then one is sent of which no other of its
//! stream waits, so that at most the head comes after newer ones (P3). Otherwise one that is 1, 2,
//! 4, ... after the head, because those next to it may fail like it.
//!
//! Promises: the head is parked only if it failed often and for long enough, and again right after
//! each of several others was accepted (keeps P1); few are ahead. Never: sends a version of a
//! record ahead of an older one (the queue chooses).

use crate::core::blame::Blame;
use crate::limits;
use crate::record::{Probe, QueuePosition, Sent, SinkVerdict, Way};
use crate::time::{Mono, Span};

use super::{Backoff, Proof, Sink, Then};

/// What was answered to a record that is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Accepted,
    InDoubt,
}

#[derive(Clone, Debug, Default)]
pub struct Ahead {
    /// The failures of the head, whatever was answered to empty arrays.
    blame: Blame<QueuePosition>,
    is_due: bool,
    is_far: bool,
    /// How often in a row one behind was not accepted, and after how many failures of the head in a
    /// row one was.
    failed: u32,
    shown: u32,
    /// One was accepted since the head failed last.
    is_shown: bool,
    /// Those that were taken, and whether one was not in doubt.
    taken: Vec<(Sent, Taken)>,
}

impl Ahead {
    /// The head is another entry, or nothing speaks against it any more.
    pub fn acquit(&mut self) {
        self.blame.acquit();
        (self.is_due, self.shown, self.is_shown) = (false, 0, false);
    }

    /// Where a batch has to end.
    pub fn first(&self) -> Option<QueuePosition> {
        self.taken.iter().map(|(sent, _)| sent.first).min()
    }

    /// Everything before `head` is gone from the queue.
    pub fn forget_before(&mut self, head: QueuePosition) {
        self.taken.retain(|(sent, _)| sent.first >= head);
    }
}

impl Sink {
    /// The record behind the head that is to be sent instead of the next batch.
    pub fn probe(&self) -> Option<Probe> {
        let Ahead { is_due, is_far, failed, taken, .. } = &self.ahead;
        let behind = match is_far {
            true => 1 << (failed % limits::AHEAD_ENTRIES_MAX.ilog2()),
            false => 1 + failed % limits::AHEAD_ENTRIES_MAX,
        };
        let sent = || taken.iter().map(|(sent, _)| sent.first).collect();
        is_due.then(|| Probe { behind, sent: sent(), is_far: *is_far })
    }

    /// The head failed alone. Returns whether it is to blame: it failed often and for long enough,
    /// and again each time after one behind it was accepted. If only that is missing, one is sent
    /// next. `is_far`: an empty array is accepted.
    pub(super) fn is_shown_to_blame(
        &mut self,
        now: Mono,
        head: QueuePosition,
        longest_wait: Span,
        is_far: bool,
    ) -> bool {
        let ahead = &mut self.ahead;
        ahead.forget_before(head);
        ahead.shown = match std::mem::take(&mut ahead.is_shown) {
            true => ahead.shown + 1,
            false => 0,
        };
        // However it fails each time.
        let may_be = ahead.blame.failed_among_others(now, head, Way::Failed, longest_wait);
        let is_shown = ahead.shown >= limits::LONE_CONFIRMS;
        ahead.is_due = may_be && !is_shown && ahead.taken.len() < limits::AHEAD_MAX;
        ahead.is_far = is_far;
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
                self.ahead.is_shown = true;
                self.ahead.taken.push((sent, Taken::Accepted));
                // The sink works, and the head is tried once more.
                self.lane.failures = 0;
                let (reason, detail) = (self.lane.reason, self.lane.detail.clone());
                self.lane.try_otherwise(now, backoff.after(1, None), reason, detail);
            }
            Some((sent, SinkVerdict::InDoubt { words, .. })) => {
                self.ahead.taken.push((sent, Taken::InDoubt));
                self.doubt_seen(now, &words, backoff);
            }
            Some((_, verdict)) => {
                self.ahead.failed = self.ahead.failed.wrapping_add(1);
                match verdict.is_of_the_content() {
                    true => self.still_failing(now, backoff),
                    false => self.failed(now, &verdict, backoff),
                }
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

    /// The head is a record that was sent ahead of its turn.
    pub fn sent_before(&mut self, sent: Sent) -> Then {
        let taken = self.ahead.taken.iter().find(|(before, _)| before.first == sent.first);
        let (before, taken) = *taken.expect("only one that was sent ends a batch");
        assert_eq!(before.end, sent.end, "it is taken alone");
        self.passed(sent.entries);
        self.ahead.forget_before(sent.end);
        match taken {
            Taken::Accepted => Then::Acknowledge { end: sent.end },
            Taken::InDoubt => Then::Doubt { end: sent.end },
        }
    }

    /// Any record was accepted: the key is good, and the sink does not refuse everything.
    pub(super) fn something_accepted(&mut self) {
        self.proof = Proof::Since;
        self.parked_in_a_row = 0;
        self.cautious = false;
    }
}
