//! The Coralogix side: how much to send, and what its answer means for the queue.
//!
//! ```text
//!   batch --2xx--> acknowledged
//!     |--2xx, "some was not taken"--> set aside in doubt; the next waits ever longer
//!     |--413/400--> halved ... one record --> an empty array --taken--> parked
//!     |                                           '--not, or the same answer--> kept
//!     |--401/403, 3xx, 404, 451, a web page--> an empty array --taken--> the content is meant: halved
//!     |                                            '--not--> kept: the key is, or this machine; halved
//!     |                                                where others were accepted with this key
//!     |            '--taken with any key--> halved; one record alone is parked only where others were
//!     |                 accepted with this key: soon, if that was since it was refused, else over time
//!     |--429, Retry-After, again and again--> after the wait an empty array --taken--> the same
//!     |--5xx, reset, silence--> halved, with a wait each
//!     |      ... one record, again and again, over time --> an empty array --taken--> parked
//!     '--everything else--> kept, tried again later
//! ```
//!
//! Promises: only a 2xx that can be Coralogix' removes records as delivered (keeps P1); a record
//! that is always rejected costs a logarithm of the batch in requests and never blocks the others;
//! a batch that failed is not sent again in that size for ever (P6); a sink that rejects everything
//! causes a few records to be parked quickly and then one per `retry.max`; after a batch in doubt
//! the lane is not healthy until records are accepted without such a message.

use crate::limits;
use crate::plain::count;
use crate::record::{KeyTrial, QueuePosition, Sent, SinkLearned, SinkVerdict, Take, Way};
use crate::time::{Due, Mono, Span};

use super::Action;
use super::blame::Blame;
use super::lane::{Backoff, Lane};
use super::reason::Reason;
use super::size::Size;
use super::suspects::{Suspects, TooMuch};

mod ahead;
mod question;

use ahead::Ahead;
use question::{Proof, is_busy};

/// What to do with the batch that was just answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Then {
    Acknowledge {
        end: QueuePosition,
    },
    Park {
        at: QueuePosition,
    },
    /// The answer said that some records were not accepted.
    Doubt {
        end: QueuePosition,
    },
    /// An empty array has to show whether the key was rejected or the content.
    TryKey,
    /// The batch is kept as it is; the lane says when to try again.
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
    /// Bytes of JSON in one body.
    size: Size,
    /// Records in one body, used if fewer bytes did not help.
    entries: Size,
    /// The number of records that was too many when the bytes were not the reason.
    too_many: Option<u32>,
    /// The time in which something has to move; a body should take at most half of it.
    silence: Option<Span>,
    suspects: Suspects,
    ahead: Ahead,
    proof: Proof,
    /// The batch for which the sink last said that it is busy, and how often in a row.
    busy: Option<(QueuePosition, u32)>,
    parked_in_a_row: u32,
    /// Too many records were rejected one after the other: from now on one record at a time, and a
    /// long wait before each is parked.
    cautious: bool,
    waited: bool,
    /// The batch whose rejection an empty array has to explain.
    on_trial: Option<(Sent, SinkVerdict)>,
    /// Batches in doubt since the last accepted one.
    doubted_in_a_row: u32,
    pub delivered: u64,
    pub remarks: u64,
}

impl Sink {
    pub fn new(lane: Lane) -> Sink {
        Sink {
            lane,
            size: bodies_up_to(limits::BODY_RAW_BYTES_MAX),
            entries: Size::beginning(1, ENTRIES_MAX, ENTRIES_MAX),
            too_many: None,
            silence: None,
            suspects: Suspects::default(),
            ahead: Ahead::default(),
            proof: Proof::None,
            busy: None,
            parked_in_a_row: 0,
            cautious: false,
            waited: false,
            on_trial: None,
            doubted_in_a_row: 0,
            delivered: 0,
            remarks: 0,
        }
    }

    /// Limits bodies to `raw_bytes`, if that is less than the protocol's limit, and to what takes
    /// half of `silence`.
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
        if let Some(entries) = learned.body_entries {
            self.entries.begin_with(u64::from(entries));
        }
        self.suspects.blame = Blame::remembering(learned.lone);
        self
    }

    pub fn learned(&self) -> SinkLearned {
        let is_first = self.size.now() == limits::BODY_RAW_BYTES_FIRST;
        let body_bytes = (!is_first).then_some(self.size.now());
        let body_entries = Some(self.entries_max()).filter(|most| *most < limits::BODY_ENTRIES_MAX);
        SinkLearned { body_bytes, body_entries, lone: self.suspects.blame.lone() }
    }

    pub fn take(&self) -> Take {
        let entries_max = match self.suspects.entries_max() {
            _ if self.cautious => 1,
            Some(entries) => entries,
            None => self.entries_max(),
        };
        Take { entries_max, raw_bytes_max: self.size.now(), until: self.ahead.first() }
    }

    fn entries_max(&self) -> u32 {
        u32::try_from(self.entries.now()).expect("no more than a body may have")
    }

    /// The queue was opened again, so suspected records may be at other positions.
    pub fn reset(&mut self, soon: Mono) {
        self.suspects.clear();
        self.ahead = Ahead::default();
        (self.on_trial, self.busy) = (None, None);
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
                self.ahead.forget_before(sent.end);
                self.size.succeeded(sent.raw_bytes, took, self.silence);
                self.entries.succeeded(u64::from(sent.entries), took, None);
                self.too_many = self.too_many.filter(|many| sent.entries < *many);
                self.remarks += u64::from(remark.is_some());
                Then::Acknowledge { end: sent.end }
            }
            SinkVerdict::InDoubt { words, .. } => {
                self.doubted(now, sent.entries, words, backoff);
                Then::Doubt { end: sent.end }
            }
            SinkVerdict::KeyRefused(_) | SinkVerdict::Blocked(_) | SinkVerdict::Misdirected(_) => {
                let is_asked = self.suspects.is_content_refused() || self.suspects.is_in_question();
                if is_asked && sent.entries > 1 {
                    return self.halve(now, sent, verdict);
                }
                self.on_trial = Some((sent, verdict.clone()));
                Then::TryKey
            }
            SinkVerdict::TooLarge(_) if sent.entries > 1 => {
                if sent.raw_bytes <= 2 * limits::BODY_RAW_BYTES_MIN {
                    self.suspects.failed(sent.entries, sent.raw_bytes);
                }
                self.size.failed(sent.raw_bytes);
                self.again(now, of_batch(&sent, verdict))
            }
            SinkVerdict::Malformed(_) if sent.entries > 1 => self.halve(now, sent, verdict),
            // Whoever refuses everything refuses this too.
            SinkVerdict::TooLarge(_) | SinkVerdict::Malformed(_) => {
                self.suspects.failed_alone(sent);
                self.on_trial = Some((sent, verdict.clone()));
                Then::TryKey
            }
            SinkVerdict::Failed(_) => self.unclear(now, sent, verdict, backoff),
            SinkVerdict::Unreachable(net) if net.is_of_an_exchange() => {
                self.unclear(now, sent, verdict, backoff)
            }
            SinkVerdict::Busy { .. } => self.put_off(now, sent, verdict, backoff),
            SinkVerdict::Unreachable(_) => {
                self.ahead.acquit();
                self.failed(now, verdict, backoff);
                Then::Keep
            }
        }
    }

    /// Either the sink failed, or something in this batch made it fail.
    fn unclear(
        &mut self,
        now: Mono,
        sent: Sent,
        verdict: &SinkVerdict,
        backoff: &mut Backoff,
    ) -> Then {
        if sent.entries > 1 {
            self.suspects.failed(sent.entries, sent.raw_bytes);
            // The next batch is a different one.
            let wait = backoff.after(1, None);
            let text = of_batch(&sent, verdict);
            self.lane.try_otherwise(now, wait, reason_of(verdict), text);
            return Then::Keep;
        }
        self.suspects.failed_alone(sent);
        self.on_trial = Some((sent, verdict.clone()));
        Then::TryKey
    }

    /// The result of the empty array: goes on with the batch that failed or was rejected.
    pub fn tried(&mut self, now: Mono, trial: &KeyTrial, backoff: &mut Backoff) -> Then {
        let Some((sent, verdict)) = self.on_trial.take() else { return Then::Keep };
        match trial {
            // An explicit refusal of the content counts though an empty array fails, if others were
            // accepted.
            KeyTrial::Failed(SinkVerdict::Failed(_) | SinkVerdict::Unreachable(_))
                if verdict.is_of_the_content() && self.proof != Proof::None =>
            {
                self.questioned(now, sent, &verdict, backoff)
            }
            KeyTrial::Refused(trouble) | KeyTrial::Failed(trouble) => {
                self.suspects.blame.acquit();
                // Fewer records lose nothing, and show whether others are accepted.
                let may_be = matches!(trial, KeyTrial::Failed(_)) || self.proof != Proof::None;
                if may_be && sent.entries > 1 && !is_busy(&verdict) {
                    self.suspects.failed(sent.entries, sent.raw_bytes);
                }
                if self.is_to_blame_although(now, trial, &sent, &verdict, backoff.max) {
                    return self.head_to_blame(now, sent, &verdict, backoff);
                }
                self.failed(now, trouble, backoff);
                Then::Keep
            }
            _ if is_busy(&verdict) => self.questioned(now, sent, &verdict, backoff),
            KeyTrial::Unproven(empty) if *empty == verdict => {
                self.questioned(now, sent, &verdict, backoff)
            }
            KeyTrial::Unchecked | KeyTrial::Unproven(_) if verdict.is_of_the_key() => {
                self.questioned(now, sent, &verdict, backoff)
            }
            // A sink that accepts any key is working too, and accepts an empty array but not this
            // batch.
            _ if sent.entries > 1 => {
                let text = of_batch(&sent, &verdict);
                self.suspects.refused_with_a_good_key(sent);
                self.again(now, text)
            }
            _ if verdict.is_of_the_content() => {
                self.refused_single(now, sent, &verdict.words(), backoff)
            }
            _ => self.lone_failed(now, sent, &verdict, backoff),
        }
    }

    /// A record failed alone, and an empty array was accepted right after it.
    fn lone_failed(
        &mut self,
        now: Mono,
        sent: Sent,
        verdict: &SinkVerdict,
        backoff: &mut Backoff,
    ) -> Then {
        let (way, in_a_row) = (Way::of_sink(verdict), self.parked_in_a_row);
        if self.suspects.blame.failed(now, sent.first, way, backoff.max, in_a_row)
            || self.is_shown_to_blame(now, sent.first, backoff.max, true)
        {
            return self.head_to_blame(now, sent, verdict, backoff);
        }
        // A single failure may be a temporary problem on the path.
        let alive = |words: String| format!("{words}; an empty array is accepted");
        let trouble = match verdict {
            SinkVerdict::Unreachable(net) => SinkVerdict::Unreachable(net.clone()),
            other => SinkVerdict::Failed(alive(other.words())),
        };
        self.failed(now, &trouble, backoff);
        Then::Keep
    }

    /// The answer was success, with a message that some records were not accepted. Each such answer
    /// makes the wait before the next batch longer; otherwise a sink that accepts nothing would
    /// empty the queue into `doubt/`.
    pub fn doubted(&mut self, now: Mono, entries: u32, words: &str, backoff: &mut Backoff) {
        self.passed(entries);
        self.doubt_seen(now, words, backoff);
    }

    fn doubt_seen(&mut self, now: Mono, words: &str, backoff: &mut Backoff) {
        let wait = backoff.after(self.doubted_in_a_row, None);
        self.doubted_in_a_row = self.doubted_in_a_row.saturating_add(1);
        self.lane.fail(now, wait, Reason::InDoubt, words.to_owned());
    }

    fn passed(&mut self, entries: u32) {
        self.ahead.acquit();
        if let Some(TooMuch { entries, raw_bytes }) = self.suspects.passed(entries) {
            self.size.failed(raw_bytes);
            if raw_bytes > 2 * limits::BODY_RAW_BYTES_MIN {
                return;
            }
            // No body has fewer bytes: the number of records is the reason, unless it was a
            // temporary problem.
            match self.too_many.replace(entries) {
                Some(before) if entries <= 2 * before => self.entries.failed(u64::from(entries)),
                _ => {}
            }
        }
    }

    /// A request from memory was accepted: the queue is not affected. `own`: the entries that are
    /// own records, which are not counted.
    pub fn accepted(&mut self, now: Mono, entries: u32, own: u32) {
        self.delivered += u64::from(entries.saturating_sub(own));
        self.busy = None;
        self.something_accepted();
        self.passed(entries);
        // An accepted own record does not show that other records are accepted.
        if self.doubted_in_a_row > 0 && entries <= own {
            return self.lane.rest(now, Due::At(now), Reason::InDoubt);
        }
        self.doubted_in_a_row = 0;
        self.lane.succeed(now, Due::At(now), Reason::Working);
    }

    /// A page from memory failed. Its records are next in the queue, which was empty: they are sent
    /// in smaller batches if their number or size may be the reason.
    pub fn page_failed(
        &mut self,
        now: Mono,
        entries: u32,
        raw_bytes: u64,
        verdict: &SinkVerdict,
        backoff: &mut Backoff,
    ) {
        let may_be_of_the_batch = match verdict {
            SinkVerdict::Unreachable(net) => net.is_of_an_exchange(),
            SinkVerdict::Failed(_) | SinkVerdict::TooLarge(_) | SinkVerdict::Malformed(_) => true,
            _ => false,
        };
        if may_be_of_the_batch && entries > 1 {
            self.suspects.failed(entries, raw_bytes);
        }
        self.failed(now, verdict, backoff);
    }

    /// A rejection that concerns all batches alike, or no answer at all.
    pub fn failed(&mut self, now: Mono, verdict: &SinkVerdict, backoff: &mut Backoff) {
        let failures = self.lane.failures;
        let (wait, reason, detail) = match verdict {
            SinkVerdict::KeyRefused(text) => (backoff.long(), Reason::KeyRefused, text.clone()),
            SinkVerdict::Blocked(text) => (backoff.long(), Reason::Blocked, text.clone()),
            SinkVerdict::Misdirected(text) => (backoff.long(), Reason::Misdirected, text.clone()),
            SinkVerdict::Busy { retry_after, why } => {
                self.lane.honor_retry_after(now, *retry_after);
                (backoff.after(failures, *retry_after), Reason::Busy, why.clone())
            }
            SinkVerdict::Failed(why) => {
                (backoff.after(failures, None), Reason::BrokenAnswer, why.clone())
            }
            SinkVerdict::Unreachable(net) => {
                (backoff.after(failures, None), Reason::of(net), net.to_string())
            }
            // The content is the reason; a batch from memory is stored and tried again from the
            // queue.
            SinkVerdict::TooLarge(_)
            | SinkVerdict::Malformed(_)
            | SinkVerdict::InDoubt { .. }
            | SinkVerdict::Accepted { .. } => return,
        };
        self.lane.fail(now, wait, reason, detail);
    }

    /// One of these entries is rejected because of its content, or all of them because of their
    /// number.
    fn halve(&mut self, now: Mono, sent: Sent, verdict: &SinkVerdict) -> Then {
        let text = of_batch(&sent, verdict);
        self.suspects.failed(sent.entries, sent.raw_bytes);
        self.again(now, text)
    }

    /// The next, smaller batch goes at once: a batch can be halved only a limited number of times.
    fn again(&mut self, now: Mono, text: String) -> Then {
        self.lane.detail = text;
        self.lane.rest(now, Due::At(now), self.at_work());
        Then::Keep
    }

    /// After a batch in doubt the lane shows that until a batch is accepted.
    fn at_work(&self) -> Reason {
        if self.doubted_in_a_row > 0 { Reason::InDoubt } else { Reason::Working }
    }

    fn refused_single(&mut self, now: Mono, sent: Sent, text: &str, backoff: &mut Backoff) -> Then {
        self.suspects.clear();
        self.ahead.acquit();
        if self.parked_in_a_row >= limits::PARKED_IN_A_ROW_MAX && !self.waited {
            self.cautious = true;
            self.waited = true;
            self.lane.fail(now, backoff.long(), Reason::RefusesEverything, text.to_owned());
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

/// What was said of a batch that is sent again in parts, with its size.
fn of_batch(sent: &Sent, verdict: &SinkVerdict) -> String {
    let records = count(sent.entries, "record");
    format!("{}; the batch had {records}, {} bytes", verdict.words(), sent.raw_bytes)
}

fn reason_of(verdict: &SinkVerdict) -> Reason {
    match verdict {
        SinkVerdict::Unreachable(net) => Reason::of(net),
        _ => Reason::BrokenAnswer,
    }
}

const ENTRIES_MAX: u64 = limits::BODY_ENTRIES_MAX as u64;

fn bodies_up_to(raw_bytes: u64) -> Size {
    let (least, first) = (limits::BODY_RAW_BYTES_MIN, limits::BODY_RAW_BYTES_FIRST);
    Size::beginning(least, first, raw_bytes)
}
