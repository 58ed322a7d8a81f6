//! What the collector says of itself, and when: gaps once each, a heartbeat now and then.
//!
//! ```text
//!   a gap nobody was told of --room--> Note(Gaps) --> Noted --> delivered as any record
//!   heartbeat due, none waiting --room--> Note(Heartbeat), or SendNote with an empty queue and
//!                                         `write = "on-failure"`: refused, it is stored
//! ```
//!
//! Promises: a gap is told as soon as there is room, and asked for again until it is (keeps P1);
//! at most one heartbeat waits, so that an outage of days fills no queue with them; what is said
//! keeps no `--once` from ending. Never: counts a word of its own as a record.

use crate::limits;
use crate::record::{Held, Room, SinkVerdict};
use crate::time::{Due, Mono, Span};

use super::{Action, Core, Mode, Plan, StoreTrouble, Tick, View};

/// What the collector is to say of itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// The next gaps that nobody was told of, as the queue names them.
    Gaps,
    /// How it fares, as of now.
    Heartbeat(Box<View>),
}

/// When what is to be said.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    /// Never: heartbeats are off, or the only one of `--once` was said.
    heartbeat_due: Due,
    /// In `--once`: still to be said when the streams are done.
    last_word: bool,
    gaps_due: Mono,
    failures: u32,
    /// What was sent from memory.
    in_hand: Option<Note>,
}

impl Notes {
    pub fn new(plan: &Plan, now: Mono) -> Notes {
        // The first tells that a start went well, so it comes soon, but not in a crash loop.
        let soon =
            plan.heartbeat.map(|every| now + every.min(Span::seconds(limits::SETTLED_SECONDS)));
        let due = soon.filter(|_| plan.mode == Mode::Daemon);
        Notes {
            heartbeat_due: due.map_or(Due::Never, Due::At),
            last_word: plan.mode == Mode::Once && plan.heartbeat.is_some(),
            gaps_due: now,
            failures: 0,
            in_hand: None,
        }
    }
}

impl Core {
    /// In `--once`: whether gaps that nobody was told of are left to the next run.
    pub(super) fn gave_up_telling(&self) -> bool {
        self.notes.failures >= limits::ONCE_FAILURES_MAX
            || self.room_checks > limits::ONCE_FAILURES_MAX
    }

    /// What is to be said now.
    pub(super) fn say(&mut self, tick: &Tick) -> Option<Action> {
        let now = tick.now;
        if self.held.room != Room::Free {
            return None;
        }
        if self.held.untold > 0 && self.notes.gaps_due <= now {
            self.notes.gaps_due = now + self.backoff.after(self.notes.failures, None);
            return Some(Action::Note(Note::Gaps));
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
        let note = Note::Heartbeat(Box::new(self.view(now)));
        if !self.may_send_from_memory(tick) {
            return Some(Action::Note(note));
        }
        self.notes.in_hand = Some(note.clone());
        Some(Action::SendNote(note))
    }

    /// When `say` has something to say, as far as time is all it waits for.
    pub(super) fn say_due(&self) -> Due {
        let gaps = Due::At(self.notes.gaps_due);
        match (self.held.room, self.held.untold, self.held.heartbeat_waits) {
            (Room::QueueFull | Room::DiskLow, ..) | (Room::Free, 0, true) => Due::Never,
            (Room::Free, 0, false) => self.notes.heartbeat_due,
            (Room::Free, _, true) => gaps,
            (Room::Free, _, false) => gaps.min(self.notes.heartbeat_due),
        }
    }

    /// What was to be said is in the queue, or is not.
    pub(super) fn noted(&mut self, now: Mono, result: Result<Held, StoreTrouble>) {
        match result {
            Ok(held) => {
                self.hold(held);
                self.notes.failures = 0;
                // More than one page tells is told at once.
                self.notes.gaps_due = now;
            }
            Err(trouble) => {
                if let StoreTrouble::Full(held) = trouble {
                    self.hold(held);
                    self.room_due = now + Span::seconds(limits::ROOM_CHECK_SECONDS);
                }
                self.notes.failures = self.notes.failures.saturating_add(1);
                self.notes.gaps_due = now + self.backoff.after(self.notes.failures, None);
            }
        }
    }

    /// A heartbeat sent from memory was answered. Where nobody heard it, it is stored like
    /// everything else; where it is refused for what it is, the next one says the same.
    pub(super) fn note_sent(&mut self, now: Mono, verdict: &SinkVerdict) -> Option<Action> {
        let note = self.notes.in_hand.take();
        // From its end on: over a link that takes longer for it than its interval, nothing else would be
        // done.
        if let (Due::At(due), Some(every)) = (self.notes.heartbeat_due, self.plan.heartbeat) {
            self.notes.heartbeat_due = Due::At(due.max(now + every));
        }
        match verdict {
            SinkVerdict::Accepted { remark } => {
                self.sink.accepted(now, 1, 1);
                self.sink.remarks += u64::from(remark.is_some());
                None
            }
            // The next one says the same of a later time.
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
