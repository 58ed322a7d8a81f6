//! Positions that moved while no two clocks agreed on the time.
//!
//! ```text
//!   confirmed --moves, no two clocks agree--> provisional --two agree: it never was ahead--> confirmed
//!                                                '--two agree, and it was ahead, or an earlier process
//!                                                   moved it--> SetBack to the position confirmed last
//! ```
//!
//! Promises: before the first such move is stored, the position that was confirmed last is written
//! to the file `learned`, if the disk takes it, so that a later process knows of it, also after the time has passed the
//! position (keeps P1, P8). What an earlier process could not confirm counts as wrong, because
//! nobody can tell any more what its clocks showed. A stream that began by a time that nobody
//! confirmed begins anew; what an earlier process may have missed before its beginning is a gap.
//! Never: takes a stream back while no two clocks agree, or because of a move of this process that
//! was not ahead.

use crate::record::{Progress, Start, StreamLearned};
use crate::time::{Mono, Stamp};

use super::place::ahead_by;
use super::source_clock::Present;
use super::{Action, Core, Stream};

/// What is known of a position that no two clocks confirm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Provisional {
    /// What was confirmed last, or with which the stream began.
    confirmed: Progress,
    /// The stream began there, by a time that nobody confirmed.
    is_beginning: bool,
    /// Its moves in this process; `None` if an earlier one made them.
    moves: Option<Moves>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Moves {
    /// Where it was furthest ahead of the time, and when.
    furthest: (Stamp, Mono),
    /// There was one, so that a later process has to know of it.
    is_made: bool,
}

impl Provisional {
    pub fn of_an_earlier_process(learned: &StreamLearned) -> Option<Provisional> {
        let (confirmed, is_beginning) = (learned.confirmed_progress()?, learned.is_beginning);
        Some(Provisional { confirmed, is_beginning, moves: None })
    }

    /// Of a stream that begins with this progress, because it is said to be `time`.
    pub fn beginning(progress: Progress, time: Stamp, now: Mono) -> Provisional {
        let moves = Moves { furthest: (time, now), is_made: true };
        Provisional { confirmed: progress, is_beginning: true, moves: Some(moves) }
    }

    /// Ids at or after it stay known.
    pub fn ids_from(self) -> Stamp {
        self.confirmed.from
    }

    pub fn is_inherited(self) -> bool {
        self.moves.is_none()
    }

    fn began(confirmed: Progress, now: Mono) -> Provisional {
        let furthest = (confirmed.position, now);
        let moves = Moves { furthest, is_made: false };
        Provisional { confirmed, is_beginning: false, moves: Some(moves) }
    }

    /// Whether a later process has to know of it.
    fn is_to_be_noted(self) -> bool {
        self.moves.is_none_or(|moves| moves.is_made)
    }

    pub fn note(self, learned: StreamLearned) -> StreamLearned {
        if !self.is_to_be_noted() {
            return learned;
        }
        let Provisional { confirmed, is_beginning, .. } = self;
        let (position, from) = (Some(confirmed.position), Some(confirmed.from));
        StreamLearned { confirmed: position, confirmed_from: from, is_beginning, ..learned }
    }

    fn stands(mut self, position: Stamp, now: Mono) -> Provisional {
        if let Some(Moves { furthest, is_made, .. }) = &mut self.moves {
            *is_made |= position > self.confirmed.position;
            if position - now.since(furthest.1) > furthest.0 {
                *furthest = (position, now);
            }
        }
        self
    }

    /// Whether a stream at this position has anything to go back from.
    fn is_beyond(self, position: Stamp) -> bool {
        self.is_beginning || position > self.confirmed.position
    }

    /// Whether the position was ahead at any moment, if it is `time` now, or that can't be known.
    fn was_ahead(self, time: Stamp, now: Mono) -> bool {
        self.moves.is_none_or(|Moves { furthest: (position, at), .. }| {
            ahead_by(position, time - now.since(at)).is_some()
        })
    }
}

impl Core {
    /// Notes that a stream is about to begin with this progress.
    pub(super) fn may_begin(&mut self, stream: usize, progress: Progress, now: Mono) {
        let state = &self.streams[stream];
        let time = match state.plan.start {
            Start::At(_) => None,
            Start::Now => Some(progress.position),
            Start::Ago(span) => Some(progress.position + span),
        };
        let unconfirmed = time.filter(|_| self.seconded_time(state, now).is_none());
        self.streams[stream].provisional =
            unconfirmed.map(|time| Provisional::beginning(progress, time, now));
    }

    /// Notes the position of a stream that a page may move now.
    pub(super) fn may_move(&mut self, stream: usize, now: Mono) {
        let state = &self.streams[stream];
        if state.provisional.is_none() && self.seconded_time(state, now).is_none() {
            let provisional = state.progress.map(|progress| Provisional::began(progress, now));
            self.streams[stream].provisional = provisional;
        }
    }

    /// Notes which positions are still provisional, and where they are with the next action.
    pub(super) fn note_provisional(&mut self, action: &Action, now: Mono) {
        for at in 0..self.streams.len() {
            self.streams[at].provisional = self.provisional(&self.streams[at], now);
        }
        if let Action::Store(keep) | Action::DoubtPage(keep) = action {
            let provisional = &mut self.streams[keep.stream].provisional;
            *provisional = provisional.map(|place| place.stands(keep.progress.position, now));
        }
    }

    fn provisional(&self, stream: &Stream, now: Mono) -> Option<Provisional> {
        let provisional = stream.provisional?;
        let stands = stream.stands().unwrap_or(provisional.confirmed.position);
        let noted = provisional.stands(stands, now);
        let is_back = !noted.is_beyond(stands);
        let is_settled = |time| is_back || !noted.was_ahead(time, now);
        (!self.seconded_time(stream, now).is_some_and(is_settled)).then_some(noted)
    }

    /// Where a stream has to go back to, because its position was moved by clocks that others
    /// contradict, or that nobody confirmed before the process ended; and whether records may have
    /// been missed before that.
    pub(super) fn unconfirmed_moves(&self, stream: &Stream, now: Mono) -> Option<(Progress, bool)> {
        let provisional = stream.provisional?;
        let time = self.seconded_time(stream, now)?;
        if !provisional.is_beyond(stream.stands()?) || !provisional.was_ahead(time, now) {
            return None;
        }
        let confirmed = provisional.confirmed;
        if provisional.is_beginning {
            let (begin, is_open) = stream.begins_anew(time, now)?;
            let is_earlier = begin.position < confirmed.position;
            return Some((if is_earlier { begin } else { confirmed }, is_open));
        }
        Some((confirmed, false))
    }

    /// After a stream was set back: what two clocks say of the time holds from there on.
    pub(super) fn settle_provisional(&mut self, stream: usize, now: Mono) -> Option<Provisional> {
        let is_settled = self.seconded_time(&self.streams[stream], now).is_some();
        self.streams[stream].provisional.take_if(|_| is_settled)
    }

    /// The earlier of the times on which two clocks agree.
    fn seconded_time(&self, stream: &Stream, now: Mono) -> Option<Stamp> {
        let clock = &self.tenants[stream.plan.tenant].clock;
        match clock.present(now, self.clocks) {
            Present::Between { earliest, .. } if clock.is_seconded(now, self.clocks) => {
                Some(earliest)
            }
            _ => None,
        }
    }
}
