//! The Coralogix side: how much to send, and what its answer means for the queue.
//!
//! ```text
//!   batch --2xx--> acknowledged
//!     |--2xx, "some was not taken"--> set aside in doubt; the next waits ever longer
//!     |--413/400--> halved ... one record --413/400--> parked
//!     |--401/403, 3xx, 404, 451, a web page--> an empty array --taken--> the content is meant: halved
//!     |                                            '--not--> kept: the key is, or this machine
//!     |--5xx, reset, silence--> halved, with a wait each
//!     |      ... one record, again and again, over time --> an empty array --taken--> parked
//!     '--everything else--> kept, tried again later
//! ```
//!
//! Promises: only a 2xx that can be Coralogix' removes records as delivered (keeps P1); a poisoned
//! record costs a logarithm of the batch in requests and never blocks the rest; what failed is never
//! sent again as large for ever (P6); a sink that refuses everything parks at most a few records
//! quickly and then one each `retry.max`; what is in doubt is not well until records are accepted
//! without words against them.

use crate::limits;
use crate::record::{KeyTrial, Place, Sent, SinkLearned, SinkVerdict, Take, Way};
use crate::time::{Due, Mono, Span};

use super::Action;
use super::blame::Blame;
use super::lane::{Backoff, Lane, Why};
use super::size::Size;
use super::suspects::Suspects;

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
    /// JSON in one body.
    size: Size,
    /// How long nothing may move; a body is to take half of it at most.
    silence: Option<Span>,
    suspects: Suspects,
    parked_in_a_row: u32,
    /// Too many were refused one after the other: singles only, and a long wait before each park.
    cautious: bool,
    waited: bool,
    /// The batch of which an empty array is to tell what was meant.
    on_trial: Option<(Sent, SinkVerdict)>,
    /// Batches in doubt since one was accepted.
    doubted_in_a_row: u32,
    pub delivered: u64,
    pub remarks: u64,
}

impl Sink {
    pub fn new(lane: Lane) -> Sink {
        Sink {
            lane,
            size: bodies_up_to(limits::BODY_RAW_BYTES_MAX),
            silence: None,
            suspects: Suspects::default(),
            parked_in_a_row: 0,
            cautious: false,
            waited: false,
            on_trial: None,
            doubted_in_a_row: 0,
            delivered: 0,
            remarks: 0,
        }
    }

    /// Bodies are to be no longer than `raw_bytes`, if that is less than what the protocol allows, and
    /// to take half of `silence` at most.
    pub fn within(mut self, raw_bytes: Option<u64>, silence: Option<Span>) -> Sink {
        let most = raw_bytes.unwrap_or(limits::BODY_RAW_BYTES_MAX);
        self.size = bodies_up_to(most.min(limits::BODY_RAW_BYTES_MAX));
        self.silence = silence;
        self
    }

    /// Begins with what an earlier process learned.
    pub fn remembering(mut self, learned: SinkLearned) -> Sink {
        if let Some(bytes) = learned.body_bytes {
            self.size.begin_with(bytes);
        }
        self.suspects.blame = Blame::remembering(learned.lone);
        self
    }

    pub fn learned(&self) -> SinkLearned {
        let is_first = self.size.now() == limits::BODY_RAW_BYTES_FIRST;
        let body_bytes = (!is_first).then_some(self.size.now());
        SinkLearned { body_bytes, lone: self.suspects.blame.lone() }
    }

    pub fn take(&self) -> Take {
        let entries_max = match self.suspects.entries_max() {
            _ if self.cautious => 1,
            Some(entries) => entries,
            None => limits::BODY_ENTRIES_MAX,
        };
        Take { entries_max, raw_bytes_max: self.size.now() }
    }

    /// What was suspected is no longer where it was: the queue was opened anew.
    pub fn reset(&mut self, soon: Mono) {
        self.suspects.clear();
        self.on_trial = None;
        self.lane.due = self.lane.due.max(Due::At(soon));
    }

    pub fn answered(
        &mut self,
        now: Mono,
        sent: Sent,
        took: Span,
        verdict: &SinkVerdict,
        backoff: &mut Backoff,
    ) -> Then {
        assert!(sent.entries > 0, "a request without entries is never sent");
        match verdict {
            SinkVerdict::Accepted { remark } => {
                self.accepted(now, sent.entries, sent.own);
                self.size.succeeded(sent.raw_bytes, took, self.silence);
                self.remarks += u64::from(remark.is_some());
                Then::Acknowledge { end: sent.end }
            }
            SinkVerdict::InDoubt { words, .. } => {
                self.doubted(now, sent.entries, words, backoff);
                Then::Doubt { end: sent.end }
            }
            SinkVerdict::KeyRefused(_) | SinkVerdict::Blocked(_) | SinkVerdict::Misdirected(_) => {
                if self.suspects.is_content_refused() && sent.entries > 1 {
                    return self.halve(now, sent, verdict);
                }
                self.on_trial = Some((sent, verdict.clone()));
                Then::TryKey
            }
            SinkVerdict::TooLarge(text) if sent.entries > 1 => {
                if sent.raw_bytes <= 2 * limits::BODY_RAW_BYTES_MIN {
                    self.suspects.failed(sent);
                }
                self.size.failed(sent.raw_bytes);
                self.again(now, text.clone())
            }
            SinkVerdict::Malformed(_) if sent.entries > 1 => self.halve(now, sent, verdict),
            SinkVerdict::TooLarge(text) | SinkVerdict::Malformed(text) => {
                self.refused_single(now, sent, text, backoff)
            }
            SinkVerdict::Failed(_) => self.unclear(now, sent, verdict, backoff),
            SinkVerdict::Unreachable(net) if net.is_of_an_exchange() => {
                self.unclear(now, sent, verdict, backoff)
            }
            SinkVerdict::Busy { .. } | SinkVerdict::Unreachable(_) => {
                self.failed(now, verdict, backoff);
                Then::Keep
            }
        }
    }

    /// The sink failed, or this batch made it fail.
    fn unclear(
        &mut self,
        now: Mono,
        sent: Sent,
        verdict: &SinkVerdict,
        backoff: &mut Backoff,
    ) -> Then {
        if sent.entries > 1 {
            self.suspects.failed(sent);
            // The next batch is another one.
            let wait = backoff.after(1, None);
            self.lane.try_otherwise(now, wait, why_of(verdict), verdict.words());
            return Then::Keep;
        }
        self.suspects.failed_alone(sent);
        self.on_trial = Some((sent, verdict.clone()));
        Then::TryKey
    }

    /// What an empty array told: goes on with the batch that failed or was refused.
    pub fn tried(&mut self, now: Mono, trial: &KeyTrial, backoff: &mut Backoff) -> Then {
        let Some((sent, verdict)) = self.on_trial.take() else { return Then::Keep };
        match trial {
            KeyTrial::Unchecked if is_of_the_key(&verdict) => {
                let text =
                    format!("{}; an empty array is accepted there with any key", verdict.words());
                let trouble = match verdict {
                    SinkVerdict::Blocked(_) => SinkVerdict::Blocked(text),
                    _ => SinkVerdict::KeyRefused(text),
                };
                self.suspects.blame.acquit();
                self.failed(now, &trouble, backoff);
                Then::Keep
            }
            // Whoever takes any key still shows that it is alive, and takes what this is not.
            KeyTrial::Good | KeyTrial::Unchecked if sent.entries > 1 => {
                self.suspects.refused_with_a_good_key(sent);
                self.again(now, verdict.words())
            }
            KeyTrial::Good | KeyTrial::Unchecked => self.lone_failed(now, sent, &verdict, backoff),
            KeyTrial::Refused(trouble) | KeyTrial::Failed(trouble) => {
                self.suspects.blame.acquit();
                self.failed(now, trouble, backoff);
                Then::Keep
            }
        }
    }

    /// One record failed alone, and an empty array was taken right after it.
    fn lone_failed(
        &mut self,
        now: Mono,
        sent: Sent,
        verdict: &SinkVerdict,
        backoff: &mut Backoff,
    ) -> Then {
        let (way, in_a_row) = (Way::of_sink(verdict), self.parked_in_a_row);
        if self.suspects.blame.failed(now, sent.first, way, backoff.max, in_a_row) {
            self.suspects.blame.set_aside(now);
            return self.refused_single(now, sent, &verdict.words(), backoff);
        }
        // Once may be a hiccup of what stands in between.
        let alive = |words: String| format!("{words}; an empty array is accepted");
        let trouble = match verdict {
            SinkVerdict::Unreachable(net) => SinkVerdict::Unreachable(net.clone()),
            other => SinkVerdict::Failed(alive(other.words())),
        };
        self.failed(now, &trouble, backoff);
        Then::Keep
    }

    /// Success was answered, with words that some was not taken. Each such answer makes the next
    /// batch wait longer, else a sink that takes nothing would empty the queue into `doubt/`.
    pub fn doubted(&mut self, now: Mono, entries: u32, words: &str, backoff: &mut Backoff) {
        self.passed(entries);
        let wait = backoff.after(self.doubted_in_a_row, None);
        self.doubted_in_a_row = self.doubted_in_a_row.saturating_add(1);
        self.lane.fail(now, wait, Why::InDoubt, words.to_owned());
    }

    fn passed(&mut self, entries: u32) {
        if let Some(too_large) = self.suspects.passed(entries) {
            self.size.failed(too_large);
        }
    }

    /// A request from memory was accepted: nothing in the queue is concerned.
    /// The collector's `own` words among the entries are no records.
    pub fn accepted(&mut self, now: Mono, entries: u32, own: u32) {
        self.delivered += u64::from(entries.saturating_sub(own));
        self.parked_in_a_row = 0;
        self.cautious = false;
        self.waited = false;
        self.passed(entries);
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
            SinkVerdict::Failed(why) => {
                (backoff.after(failures, None), Why::BrokenAnswer, why.clone())
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

    /// One of these entries is refused for what it is, or all of them for their number.
    fn halve(&mut self, now: Mono, sent: Sent, verdict: &SinkVerdict) -> Then {
        self.suspects.failed(sent);
        self.again(now, verdict.words())
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
        self.suspects.clear();
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

fn why_of(verdict: &SinkVerdict) -> Why {
    match verdict {
        SinkVerdict::Unreachable(net) => Why::of(net),
        _ => Why::BrokenAnswer,
    }
}

fn is_of_the_key(verdict: &SinkVerdict) -> bool {
    matches!(verdict, SinkVerdict::KeyRefused(_) | SinkVerdict::Blocked(_))
}

fn bodies_up_to(raw_bytes: u64) -> Size {
    let (least, first) = (limits::BODY_RAW_BYTES_MIN, limits::BODY_RAW_BYTES_FIRST);
    Size::beginning(least, first, raw_bytes)
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
            match sink.answered(now, sent, Span::ZERO, &verdict, &mut backoff) {
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
            if let Then::Park { .. } = sink.answered(now, sent, Span::ZERO, &verdict, &mut backoff)
            {
                parked += 1;
            }
            let refuses = sink.lane.why == Why::RefusesEverything;
            assert!(!refuses || sink.take().entries_max == 1, "then no number is to blame");
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
        let fine = SinkVerdict::Accepted { remark: None };
        let mut answered = |raw_bytes, verdict: &SinkVerdict| {
            sink.answered(Mono(0), sent(raw_bytes), Span::ZERO, verdict, &mut backoff);
            sink.take().raw_bytes_max
        };
        assert_eq!(answered(64 << 10, &fine), 256 << 10, "while all goes well it grows quickly");
        assert_eq!(answered(256 << 10, &large), 128 << 10);
        for _ in 1..limits::SIZE_RAISE_AFTER {
            assert_eq!(answered(128 << 10, &fine), 128 << 10);
        }
        assert_eq!(answered(128 << 10, &fine), 256 << 10);
    }
}
