//! The collector's own records, and when they are due: each gap once, a heartbeat at an interval.
//!
//! ```text
//!   an unreported gap --room--> Note(Gaps) --> Noted --> delivered as any record
//!   heartbeat due, none waiting --room--> Note(Heartbeat), or SendNote with an empty queue and
//!                                         `write = "on-failure"`: refused, it is stored
//! ```
//!
//! Promises: a gap is reported as soon as there is space, and tried again until it is (keeps P1);
//! at most one heartbeat waits, so that an outage of days does not fill the queue with them; own
//! records do not keep `--once` from ending. Never: counts an own record among the collected ones.

use crate::limits;
use crate::record::{QueueStatus, Room, SinkVerdict};
use crate::time::{Due, Mono, Span};

use super::{Action, Core, Mode, Plan, StoreTrouble, Tick, View};

/// An own record to be stored or sent.
#[derive(Clone, Debug, PartialEq)]
pub enum SelfReport {
    /// The next unreported gaps, which the queue knows.
    Gaps,
    /// The present state.
    Heartbeat(Box<View>),
}

/// When own records are due.
#[derive(Clone, Debug)]
pub(super) struct SelfReports {
    /// Never: heartbeats are off, or the only one of `--once` was made.
    heartbeat_due: Due,
    /// In `--once`: a last heartbeat is still to be made when the streams are done.
    last_word: bool,
    gaps_due: Mono,
    failures: u32,
    /// The record that was sent from memory and is not answered yet.
    in_hand: Option<SelfReport>,
}

impl SelfReports {
    pub fn new(plan: &Plan, now: Mono) -> SelfReports {
        // The first one shows that the start succeeded, so it comes soon, but not in a crash loop.
        let soon =
            plan.heartbeat.map(|every| now + every.min(Span::seconds(limits::SETTLED_SECONDS)));
        let due = soon.filter(|_| plan.mode == Mode::Daemon);
        SelfReports {
            heartbeat_due: due.map_or(Due::Never, Due::At),
            last_word: plan.mode == Mode::Once && plan.heartbeat.is_some(),
            gaps_due: now,
            failures: 0,
            in_hand: None,
        }
    }
}

impl Core {
    /// In `--once`: whether unreported gaps are left to the next run.
    pub(super) fn has_given_up_reporting(&self) -> bool {
        self.notes.failures >= limits::ONCE_FAILURES_MAX
            || self.space_checks > limits::ONCE_FAILURES_MAX
    }

    /// The own record that is due now, if any.
    pub(super) fn say(&mut self, tick: &Tick) -> Option<Action> {
        let now = tick.now;
        if self.held.room != Room::Free {
            return None;
        }
        if self.held.unreported > 0 && self.notes.gaps_due <= now {
            self.notes.gaps_due = now + self.backoff.after(self.notes.failures, None);
            return Some(Action::Note(SelfReport::Gaps));
        }
        let is_last = self.notes.last_word && self.streams_over(now) && !self.compares(tick.now);
        if self.held.heartbeat_waits || !(is_last || self.notes.heartbeat_due.is_over(now)) {
            return None;
        }
        self.notes.last_word = false;
        if let Due::At(_) = self.notes.heartbeat_due {
            let every = self.plan.heartbeat.expect("what is off is never due");
            self.notes.heartbeat_due = Due::At(now + every);
        }
        let note = SelfReport::Heartbeat(Box::new(self.view(now)));
        if !self.may_send_from_memory(tick) {
            return Some(Action::Note(note));
        }
        self.notes.in_hand = Some(note.clone());
        Some(Action::SendNote(note))
    }

    /// When `say` will have something, if only time is missing.
    pub(super) fn report_due(&self) -> Due {
        let gaps = Due::At(self.notes.gaps_due);
        match (self.held.room, self.held.unreported, self.held.heartbeat_waits) {
            (Room::QueueFull | Room::DiskLow, ..) | (Room::Free, 0, true) => Due::Never,
            (Room::Free, 0, false) => self.notes.heartbeat_due,
            (Room::Free, _, true) => gaps,
            (Room::Free, _, false) => gaps.min(self.notes.heartbeat_due),
        }
    }

    /// The own record was stored, or could not be.
    pub(super) fn noted(&mut self, now: Mono, result: Result<QueueStatus, StoreTrouble>) {
        match result {
            Ok(held) => {
                self.hold(held);
                self.notes.failures = 0;
                // If there are more gaps than one page holds, the next ones are reported at once.
                self.notes.gaps_due = now;
            }
            Err(trouble) => {
                if let StoreTrouble::Full(held) = trouble {
                    self.hold(held);
                    self.space_check_at = now + Span::seconds(limits::ROOM_CHECK_SECONDS);
                }
                self.notes.failures = self.notes.failures.saturating_add(1);
                self.notes.gaps_due = now + self.backoff.after(self.notes.failures, None);
            }
        }
    }

    /// A heartbeat sent from memory was answered. If it did not reach Coralogix, it is stored like
    /// everything else; if its content was rejected, the next one reports the same.
    pub(super) fn note_sent(&mut self, now: Mono, verdict: &SinkVerdict) -> Option<Action> {
        let note = self.notes.in_hand.take();
        // The interval counts from the end of sending: over a link that is slower than the
        // interval, nothing else would be done otherwise.
        if let (Due::At(due), Some(every)) = (self.notes.heartbeat_due, self.plan.heartbeat) {
            self.notes.heartbeat_due = Due::At(due.max(now + every));
        }
        match verdict {
            SinkVerdict::Accepted { remark } => {
                self.sink.accepted(now, 1, 1);
                self.sink.remarks += u64::from(remark.is_some());
                None
            }
            // The next one reports the same for a later time.
            SinkVerdict::InDoubt { words, .. } => {
                self.sink.doubted(now, 1, words, &mut self.backoff);
                None
            }
            SinkVerdict::TooLarge(_) | SinkVerdict::Malformed(_) => None,
            SinkVerdict::KeyRefused(_) | SinkVerdict::Blocked(_) => note.map(Action::Note),
            unheard => {
                self.sink.failed(now, unheard, &mut self.backoff);
                note.map(Action::Note)
            }
        }
    }
}
