//! A batch that is rejected like a bad key, or put off repeatedly, by a sink that accepts an empty
//! array: the reason may be the content, the key, or that it accepts only empty arrays. And a record
//! that gets the same answer as an empty array: the sink may refuse everything so.
//!
//! ```text
//!   together --> halved, as often as it takes: that loses nothing, and what is accepted meanwhile
//!                shows that neither the key is meant nor everything
//!   alone    --> others were accepted since it was refused first: parked as any that is refused
//!            --> others were accepted before, with the same key: parked, with ever more patience
//!            --> nothing was accepted with this key by this process: kept, until one behind it is
//! ```
//!
//! Promises: with a key with which nothing was accepted nothing is parked; a batch that is put off
//! is neither sent again nor tried with an empty array before its wait is over (keeps P6). Never:
//! takes the acceptance of an empty array for a sign that the key is good.

use crate::limits;
use crate::record::{KeyTrial, Sent, SinkVerdict, Way};
use crate::time::{Mono, Span};

use super::{Backoff, Reason, Sink, Then};

/// Whether anything was accepted with this key in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    #[default]
    None,
    /// Before the batch in question was rejected.
    Before,
    /// Since then, or nothing is in question.
    Since,
}

impl Sink {
    /// Whether an empty array is due, instead of the next batch, to show whether the sink accepts
    /// anything.
    pub fn is_trial_due(&self) -> bool {
        self.on_trial.as_ref().is_some_and(|(_, verdict)| is_busy(verdict))
    }

    /// Another key is used from now on: earlier acceptance does not show that it is good.
    pub fn key_changed(&mut self, now: Mono, pace: Span) {
        self.lane.wish(now, pace);
        self.proof = Proof::None;
        self.ahead.acquit();
        // Halving with a bad key says nothing of a size.
        self.suspects.forget_size();
        if self.suspects.is_in_question() {
            self.suspects.blame.acquit();
        }
    }

    /// The sink is busy, or says so for this batch.
    pub(super) fn put_off(
        &mut self,
        now: Mono,
        sent: Sent,
        verdict: &SinkVerdict,
        backoff: &mut Backoff,
    ) -> Then {
        let before = self.busy.filter(|(at, _)| *at == sent.first).map_or(0, |(_, times)| times);
        self.busy = Some((sent.first, before.saturating_add(1)));
        // Nothing is sent before the wait is over.
        if before + 1 >= limits::BATCH_BUSY_IN_A_ROW || self.suspects.is_in_question() {
            self.on_trial = Some((sent, verdict.clone()));
        }
        self.failed(now, verdict, backoff);
        Then::Keep
    }

    /// An empty array was accepted, which shows neither that the key is good nor that the sink
    /// accepts more. Halving loses nothing, and what is accepted meanwhile shows the rest.
    pub(super) fn questioned(
        &mut self,
        now: Mono,
        sent: Sent,
        verdict: &SinkVerdict,
        backoff: &mut Backoff,
    ) -> Then {
        if self.suspects.question() && self.proof == Proof::Since {
            self.proof = Proof::Before;
        }
        if sent.entries > 1 {
            return self.questioned_together(now, sent, verdict, backoff);
        }
        self.suspects.failed_alone(sent);
        let (trouble, way, in_a_row) = self.question_of_one(verdict);
        let is_to_blame = match self.proof {
            Proof::None => {
                self.suspects.blame.acquit();
                false
            }
            _ => self.suspects.blame.failed(now, sent.first, way, backoff.max, in_a_row),
        };
        if is_to_blame || self.is_shown_to_blame(now, sent.first, backoff.max, true) {
            return self.refused_single(now, sent, &verdict.words(), backoff);
        }
        self.failed(now, &trouble, backoff);
        Then::Keep
    }

    /// One record failed alone, and an empty array was not accepted: whether one behind it shows that the
    /// record is to blame.
    pub(super) fn is_to_blame_although(
        &mut self,
        now: Mono,
        trial: &KeyTrial,
        sent: &Sent,
        verdict: &SinkVerdict,
        longest_wait: Span,
    ) -> bool {
        let is_reached = match trial {
            KeyTrial::Failed(SinkVerdict::Unreachable(net)) => net.is_of_an_exchange(),
            _ => true,
        };
        if !is_reached || sent.entries > 1 || is_busy(verdict) {
            self.ahead.acquit();
            return false;
        }
        self.is_shown_to_blame(now, sent.first, longest_wait, false)
    }

    /// What is reported of one record in question, in which way it failed, and how much longer it
    /// is tried.
    fn question_of_one(&self, verdict: &SinkVerdict) -> (SinkVerdict, Way, u32) {
        let words = verdict.words();
        let any_key = || format!("{words}; an empty array is accepted there with any key");
        let is_same = verdict.is_of_the_content();
        let like_empty = || format!("{words}; an empty array is not accepted either");
        match (verdict, self.proof) {
            (_, Proof::Since) if is_same => (SinkVerdict::Failed(like_empty()), Way::Refused, 0),
            _ if is_same => {
                (SinkVerdict::Misdirected(like_empty()), Way::Failed, self.parked_in_a_row)
            }
            (SinkVerdict::Busy { .. }, Proof::Since) => (verdict.clone(), Way::Failed, 0),
            // An exhausted quota may still accept empty arrays, for a day.
            (SinkVerdict::Busy { .. }, _) => {
                (verdict.clone(), Way::Failed, limits::LONE_DOUBLINGS_MAX)
            }
            (_, Proof::Since) => {
                let why = format!("{words}; an empty array is accepted, and so are other records");
                (SinkVerdict::Failed(why), Way::Refused, 0)
            }
            (SinkVerdict::Blocked(_), _) => {
                (SinkVerdict::Blocked(any_key()), Way::Failed, self.parked_in_a_row)
            }
            _ => (SinkVerdict::KeyRefused(any_key()), Way::Failed, self.parked_in_a_row),
        }
    }

    fn questioned_together(
        &mut self,
        now: Mono,
        sent: Sent,
        verdict: &SinkVerdict,
        backoff: &mut Backoff,
    ) -> Then {
        let SinkVerdict::Busy { retry_after, why } = verdict else {
            return self.halve(now, sent, verdict);
        };
        self.suspects.failed(sent.entries, sent.raw_bytes);
        let half = sent.entries.div_ceil(2);
        let text = format!(
            "{why}; an empty array is accepted; {} records were sent together, next {half}",
            sent.entries
        );
        // The next batch is a different one, and the sink answers.
        self.lane.failures = 0;
        self.lane.try_otherwise(now, backoff.after(1, *retry_after), Reason::Busy, text);
        Then::Keep
    }
}

pub fn is_busy(verdict: &SinkVerdict) -> bool {
    matches!(verdict, SinkVerdict::Busy { .. })
}
