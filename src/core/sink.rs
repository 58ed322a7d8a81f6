//! The Coralogix side: how much to send, and what its answer means for the queue.
//!
//! ```text
//!   batch --2xx--> acknowledged
//!     |--2xx, "some was not taken"--> set aside in doubt; the next waits ever longer
//!     |--413/400--> halved ... one record --413/400--> parked
//!     |--401/403--> an empty array --taken--> as 400: the content is meant
//!     |                 '--refused--> kept: the key is, or this machine
//!     '--everything else--> kept, tried again later
//! ```
//!
//! Promises: only a 2xx that can be Coralogix' removes records as delivered (keeps P1); a poisoned
//! record costs a logarithm of the batch in requests and never blocks the rest; a sink that refuses
//! everything parks at most a few records quickly and then one each `retry.max`; what is in doubt is
//! not well until a batch is accepted without words against it.

use crate::limits;
use crate::record::{KeyTrial, Place, Sent, SinkVerdict, Take};
use crate::time::{Due, Mono};

use super::Action;
use super::lane::{Backoff, Lane, Why};

/// What to do with the batch that was just answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Then {
    Acknowledge {
        end: Place,
    },
    Park {
        at: Place,
    },
    /// The answer said that some of it was not taken.
    Doubt {
        end: Place,
    },
    /// An empty array is to tell whether the key was refused or the content.
    TryKey,
    /// Kept as it is; the lane says when to try again.
    Keep,
}

impl Then {
    pub fn action(self) -> Option<Action> {
        match self {
            Then::Acknowledge { end } => Some(Action::Ack { end }),
            Then::Park { at } => Some(Action::Park { at }),
            Then::Doubt { end } => Some(Action::Doubt { end }),
            Then::TryKey => Some(Action::TryKey),
            Then::Keep => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Sink {
    pub lane: Lane,
    raw_bytes_max: u64,
    /// What `raw_bytes_max` is raised to at most.
    raw_bytes_most: u64,
    accepted_in_a_row: u32,
    /// Entries from the head on, one of which is to blame for a refusal.
    suspects: u32,
    parked_in_a_row: u32,
    /// Too many were refused one after the other: singles only, and a long wait before each park.
    cautious: bool,
    waited: bool,
    /// The batch that was refused as a bad key is, until it is known what was meant.
    on_trial: Option<(Sent, SinkVerdict)>,
    /// The key is good: what is refused like a bad one is so for its content.
    content_refused: bool,
    /// Batches in doubt since one was accepted.
    doubted_in_a_row: u32,
    pub delivered: u64,
    pub remarks: u64,
}

impl Sink {
    pub fn new(lane: Lane) -> Sink {
        Sink {
            lane,
            raw_bytes_max: limits::BODY_RAW_BYTES_MAX,
            raw_bytes_most: limits::BODY_RAW_BYTES_MAX,
            accepted_in_a_row: 0,
            suspects: 0,
            parked_in_a_row: 0,
            cautious: false,
            waited: false,
            on_trial: None,
            content_refused: false,
            doubted_in_a_row: 0,
            delivered: 0,
            remarks: 0,
        }
    }

    /// Bodies are to be no longer than this, if it is less than what the protocol allows.
    pub fn with_bodies_of(mut self, raw_bytes: Option<u64>) -> Sink {
        if let Some(raw_bytes) = raw_bytes {
            let least = limits::BODY_RAW_BYTES_MIN;
            self.raw_bytes_most = raw_bytes.clamp(least, limits::BODY_RAW_BYTES_MAX);
            self.raw_bytes_max = self.raw_bytes_most;
        }
        self
    }

    pub fn take(&self) -> Take {
        let entries_max = match (self.cautious, self.suspects) {
            (true, _) => 1,
            (false, 0) => limits::BODY_ENTRIES_MAX,
            (false, suspects) => suspects.div_ceil(2),
        };
        Take { entries_max, raw_bytes_max: self.raw_bytes_max }
    }

    /// What was suspected is no longer where it was: the queue was opened anew.
    pub fn reset(&mut self, soon: Mono) {
        self.suspects = 0;
        self.on_trial = None;
        self.content_refused = false;
        self.lane.due = self.lane.due.max(Due::At(soon));
    }

    pub fn answered(
        &mut self,
        now: Mono,
        sent: Sent,
        verdict: &SinkVerdict,
        backoff: &mut Backoff,
    ) -> Then {
        assert!(sent.entries > 0, "a request without entries is never sent");
        match verdict {
            SinkVerdict::Accepted { remark } => {
                self.accepted(now, sent.entries, sent.own);
                self.remarks += u64::from(remark.is_some());
                Then::Acknowledge { end: sent.end }
            }
            SinkVerdict::InDoubt { words, .. } => {
                self.doubted(now, sent.entries, words, backoff);
                Then::Doubt { end: sent.end }
            }
            SinkVerdict::KeyRefused(text) | SinkVerdict::Blocked(text)
                if self.content_refused && sent.entries > 1 =>
            {
                self.halve(now, sent, text)
            }
            SinkVerdict::KeyRefused(_) | SinkVerdict::Blocked(_) => {
                self.on_trial = Some((sent, verdict.clone()));
                Then::TryKey
            }
            SinkVerdict::TooLarge(text) if sent.entries > 1 => {
                self.accepted_in_a_row = 0;
                if sent.raw_bytes <= 2 * limits::BODY_RAW_BYTES_MIN {
                    self.suspects = sent.entries;
                } else {
                    self.raw_bytes_max = sent.raw_bytes / 2;
                }
                self.again(now, text.clone())
            }
            SinkVerdict::Malformed(text) if sent.entries > 1 => self.halve(now, sent, text),
            SinkVerdict::TooLarge(text) | SinkVerdict::Malformed(text) => {
                self.refused_single(now, sent, text, backoff)
            }
            other => {
                self.failed(now, other, backoff);
                Then::Keep
            }
        }
    }

    /// What an empty array told of the key: goes on with the batch that was refused.
    pub fn tried(&mut self, now: Mono, trial: &KeyTrial, backoff: &mut Backoff) -> Then {
        let Some((sent, verdict)) = self.on_trial.take() else { return Then::Keep };
        let (SinkVerdict::KeyRefused(text) | SinkVerdict::Blocked(text)) = &verdict else {
            return Then::Keep;
        };
        match trial {
            KeyTrial::Good if sent.entries > 1 => {
                self.content_refused = true;
                return self.halve(now, sent, text);
            }
            KeyTrial::Good => return self.refused_single(now, sent, text, backoff),
            KeyTrial::Refused(trouble) | KeyTrial::Failed(trouble) => {
                self.failed(now, trouble, backoff);
            }
            KeyTrial::Unchecked => {
                let text = format!("{text}; an empty array is taken there with any key");
                let trouble = match verdict {
                    SinkVerdict::Blocked(_) => SinkVerdict::Blocked(text),
                    _ => SinkVerdict::KeyRefused(text),
                };
                self.failed(now, &trouble, backoff);
            }
        }
        Then::Keep
    }

    /// Success was answered, with words that some was not taken. Each such answer makes the next
    /// batch wait longer, else a sink that takes nothing would empty the queue into `doubt/`.
    pub fn doubted(&mut self, now: Mono, entries: u32, words: &str, backoff: &mut Backoff) {
        self.accepted_in_a_row = 0;
        self.less_suspects(entries);
        let wait = backoff.after(self.doubted_in_a_row, None);
        self.doubted_in_a_row = self.doubted_in_a_row.saturating_add(1);
        self.lane.fail(now, wait, Why::InDoubt, words.to_owned());
    }

    fn less_suspects(&mut self, entries: u32) {
        self.suspects = self.suspects.saturating_sub(entries);
        self.content_refused &= self.suspects > 0;
    }

    /// A request from memory was accepted: nothing in the queue is concerned.
    /// The collector's `own` words among the entries are no records.
    pub fn accepted(&mut self, now: Mono, entries: u32, own: u32) {
        self.delivered += u64::from(entries.saturating_sub(own));
        self.parked_in_a_row = 0;
        self.cautious = false;
        self.waited = false;
        self.less_suspects(entries);
        self.accepted_in_a_row = self.accepted_in_a_row.saturating_add(1);
        if self.accepted_in_a_row.is_multiple_of(limits::BODY_RAISE_AFTER) {
            let raised = self.raw_bytes_max.saturating_mul(2);
            self.raw_bytes_max = raised.min(self.raw_bytes_most);
        }
        // That the collector's own words are taken says nothing of the records.
        if self.doubted_in_a_row > 0 && entries <= own {
            return self.lane.rest(now, Due::At(now), Why::InDoubt);
        }
        self.doubted_in_a_row = 0;
        self.lane.succeed(now, Due::At(now), Why::Working);
    }

    /// A refusal that concerns all batches alike, or no answer at all.
    pub fn failed(&mut self, now: Mono, verdict: &SinkVerdict, backoff: &mut Backoff) {
        let failures = self.lane.failures;
        let (wait, why, detail) = match verdict {
            SinkVerdict::KeyRefused(text) => (backoff.long(), Why::KeyRefused, text.clone()),
            SinkVerdict::Blocked(text) => (backoff.long(), Why::Blocked, text.clone()),
            SinkVerdict::Misdirected(text) => (backoff.long(), Why::Misdirected, text.clone()),
            SinkVerdict::Busy { retry_after, why } => {
                self.lane.heed(now, *retry_after);
                (backoff.after(failures, *retry_after), Why::Busy, why.clone())
            }
            SinkVerdict::Unreachable(net) => {
                (backoff.after(failures, None), Why::of(net), net.to_string())
            }
            // Judged by content; a batch from memory is stored and judged again from there.
            SinkVerdict::TooLarge(_)
            | SinkVerdict::Malformed(_)
            | SinkVerdict::InDoubt { .. }
            | SinkVerdict::Accepted { .. } => return,
        };
        self.lane.fail(now, wait, why, detail);
    }

    /// One of these entries is refused for what it is.
    fn halve(&mut self, now: Mono, sent: Sent, text: &str) -> Then {
        self.accepted_in_a_row = 0;
        self.suspects = sent.entries;
        self.again(now, text.to_owned())
    }

    /// The next, smaller batch goes at once: a batch is halved a bounded number of times.
    fn again(&mut self, now: Mono, text: String) -> Then {
        self.lane.detail = text;
        self.lane.rest(now, Due::At(now), self.at_work());
        Then::Keep
    }

    /// What is in doubt stays so until a batch is accepted.
    fn at_work(&self) -> Why {
        if self.doubted_in_a_row > 0 { Why::InDoubt } else { Why::Working }
    }

    fn refused_single(&mut self, now: Mono, sent: Sent, text: &str, backoff: &mut Backoff) -> Then {
        self.suspects = 0;
        self.content_refused = false;
        self.accepted_in_a_row = 0;
        if self.parked_in_a_row >= limits::PARKED_IN_A_ROW_MAX && !self.waited {
            self.cautious = true;
            self.waited = true;
            self.lane.fail(now, backoff.long(), Why::RefusesEverything, text.to_owned());
            return Then::Keep;
        }
        self.waited = false;
        self.parked_in_a_row = self.parked_in_a_row.saturating_add(1);
        if !self.cautious {
            self.lane.rest(now, Due::At(now), self.at_work());
        }
        Then::Park { at: sent.first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;
    use crate::record::Seq;
    use crate::time::Span;

    /// A queue of `n` records in front of a sink that refuses those `poisoned` names. Returns the
    /// records delivered, the records parked and the requests it took.
    fn drain(n: u64, poisoned: impl Fn(u64) -> bool) -> (Vec<u64>, Vec<u64>, u32) {
        let mut backoff =
            Backoff { min: Span::seconds(1), max: Span::minutes(5), prng: Prng::new(1) };
        let mut sink = Sink::new(Lane::new(Mono::ZERO, backoff.min));
        let (mut head, mut now, mut requests) = (0, Mono::ZERO, 0);
        let (mut delivered, mut parked) = (vec![], vec![]);
        while head < n {
            let take = u64::from(sink.take().entries_max).min(n - head);
            let place = |at: u64| Place { seq: Seq(at), skip: 0 };
            let sent = Sent {
                first: place(head),
                end: place(head + take),
                entries: take as u32,
                own: 0,
                raw_bytes: take * 2_000,
            };
            requests += 1;
            assert!(requests < 100_000, "it never ends");
            let verdict = if (head..head + take).any(&poisoned) {
                SinkVerdict::Malformed("400".into())
            } else {
                SinkVerdict::Accepted { remark: None }
            };
            match sink.answered(now, sent, &verdict, &mut backoff) {
                Then::Acknowledge { end } => {
                    delivered.extend(head..end.seq.0);
                    head = end.seq.0;
                }
                Then::Park { at } => {
                    parked.push(at.seq.0);
                    head += 1;
                }
                Then::Keep => {}
                other => panic!("{other:?}"),
            }
            if let Due::At(due) = sink.lane.due {
                now = now.max(due);
            }
        }
        (delivered, parked, requests)
    }

    #[test]
    fn a_poisoned_record_is_parked_alone_in_a_logarithm_of_requests() {
        let (delivered, parked, requests) = drain(1_000, |at| at == 613);
        assert_eq!(parked, [613]);
        assert_eq!(delivered.len(), 999);
        assert!(delivered.is_sorted());
        assert!(requests <= 2 * 10 + 2, "{requests}");
    }

    #[test]
    fn every_second_record_poisoned_is_still_sorted_out() {
        let (delivered, parked, _) = drain(100, |at| at % 2 == 1);
        assert_eq!((delivered.len(), parked.len()), (50, 50));
    }

    #[test]
    fn a_sink_that_refuses_everything_parks_slowly() {
        let mut backoff =
            Backoff { min: Span::seconds(1), max: Span::minutes(5), prng: Prng::new(1) };
        let mut sink = Sink::new(Lane::new(Mono::ZERO, backoff.min));
        let (mut now, mut parked) = (Mono::ZERO, 0);
        while now < Mono::ZERO + Span::hours(1) {
            let entries = sink.take().entries_max.min(1_000);
            let sent = Sent {
                first: Place::default(),
                end: Place { seq: Seq(1), skip: 0 },
                entries,
                own: 0,
                raw_bytes: u64::from(entries) * 2_000,
            };
            let verdict = SinkVerdict::Malformed("400".into());
            if let Then::Park { .. } = sink.answered(now, sent, &verdict, &mut backoff) {
                parked += 1;
            }
            let Due::At(due) = sink.lane.due else { panic!("never") };
            now = now.max(due);
        }
        assert!(parked <= limits::PARKED_IN_A_ROW_MAX + 16, "{parked} parked in an hour");
        assert!(parked > limits::PARKED_IN_A_ROW_MAX, "it never stops for good");
    }

    #[test]
    fn a_413_lowers_the_bytes_and_success_raises_them_again() {
        let mut backoff =
            Backoff { min: Span::seconds(1), max: Span::minutes(5), prng: Prng::new(1) };
        let mut sink = Sink::new(Lane::new(Mono::ZERO, backoff.min));
        let sent = |raw_bytes| Sent {
            first: Place::default(),
            end: Place { seq: Seq(1), skip: 0 },
            entries: 500,
            own: 0,
            raw_bytes,
        };
        let large = SinkVerdict::TooLarge("413".into());
        assert_eq!(sink.answered(Mono(0), sent(1_500_000), &large, &mut backoff), Then::Keep);
        assert_eq!(sink.take().raw_bytes_max, 750_000);
        for _ in 0..limits::BODY_RAISE_AFTER {
            let fine = SinkVerdict::Accepted { remark: None };
            sink.answered(Mono(0), sent(700_000), &fine, &mut backoff);
        }
        assert_eq!(sink.take().raw_bytes_max, 1_500_000);
    }
}
