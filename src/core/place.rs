//! Where a stream may stand: its beginning, and the way back from a position that can't be true.
//!
//! ```text
//!   no progress --beginning known--> stored, then its first page
//!        '------`start` ahead of every clock--> held until the config is corrected
//!   position ahead of every clock --SetBack--> the newest record collected before, less the overlap
//!                                       '-----> nothing was collected: where it would begin, and a gap
//! ```
//!
//! Promises: a position that every witness of the time rules out is set back whenever it is seen,
//! wherever it came from (keeps P1); one that SentinelOne's own clock alone rules out is shown, and
//! `--once` does not end as done while any clock speaks against one, or while no
//! two of them agree on where it began. Never: sets back what one claim
//! alone speaks against, for that would send records twice (P2).

use crate::limits;
use crate::record::{Held, Progress, StreamHeld};
use crate::time::{Due, Mono, Span, Stamp};

use super::source::Beginning;
use super::source_clock::Present;
use super::{Action, Core, Keep, StoreTrouble, Stream, Why};

/// Takes a stream back to what can be true.
#[derive(Clone, Debug, PartialEq)]
pub struct SetBack {
    pub stream: usize,
    /// The latest stamp that can be true.
    pub latest: Stamp,
    pub overlap: Span,
    /// Where it begins if nothing is known of it that was collected before that.
    pub begin: Progress,
    /// Whether something may have been passed over before `begin`.
    pub is_open: bool,
}

impl Core {
    /// The first progress of a stream, once it is known.
    pub(super) fn begin_stream(&mut self, stream: usize, now: Mono) -> Option<Action> {
        let Beginning::Known(progress) = self.beginning(&self.streams[stream], now) else {
            return None;
        };
        // Where a stream begins is stored before its first page, so that a box that stays off for
        // days goes on from here, not from `start` before it came back.
        let state = &mut self.streams[stream];
        let keep = Keep { compared: None, ..state.keep(stream, &[], vec![], progress) };
        let first = state.begin(keep.clone());
        state.began = Some(now);
        self.pending = Some(first);
        Some(Action::Store(keep))
    }

    pub(super) fn beginning(&self, stream: &Stream, now: Mono) -> Beginning {
        stream.beginning(&self.tenants[stream.plan.tenant], now, self.clocks)
    }

    /// Sets a stream back that stands where it can't.
    pub(super) fn set_back(&mut self, stream: usize, now: Mono) -> Option<Action> {
        let state = &self.streams[stream];
        if !self.goes_back(state, now) {
            return None;
        }
        let Present::Between { earliest, latest, .. } = self.present(state, now) else {
            return None;
        };
        let (begin, is_open) = state.begins_anew(earliest, now)?;
        let overlap = state.plan.overlap;
        Some(Action::SetBack(SetBack { stream, latest, overlap, begin, is_open }))
    }

    /// Whether a stream is to be set back now.
    pub(super) fn goes_back(&self, stream: &Stream, now: Mono) -> bool {
        stream.hold.is_none()
            && stream.set_back_due <= now
            && self.is_ruled_out(stream, now)
            && !self.start_is_ahead(stream, now)
    }

    pub(super) fn was_set_back(
        &mut self,
        now: Mono,
        stream: usize,
        result: Result<(Held, StreamHeld), StoreTrouble>,
    ) {
        let state = &mut self.streams[stream];
        let before = state.progress.map_or(Stamp::MIN, |progress| progress.position);
        match result {
            Ok((held, stood)) => {
                let after = stood.progress.map_or(before, |progress| progress.from);
                state.reset(stood, now, now);
                let text = format!(
                    "it was at {} and is set back to {}",
                    before.to_the_second(),
                    after.to_the_second()
                );
                state.condition = Some((Why::PositionAhead, text));
                state.caught_up = false;
                state.lane.due = state.lane.due.min(Due::At(now.max(state.lane.not_before)));
                self.hold(held);
            }
            Err(trouble) => {
                if let StoreTrouble::Full(held) = trouble {
                    self.hold(held);
                }
                self.streams[stream].set_back_due = now + self.backoff.after(0, None);
            }
        }
    }

    fn present(&self, stream: &Stream, now: Mono) -> Present {
        self.tenants[stream.plan.tenant].clock.present(now, self.clocks)
    }

    /// Whether every witness says that the stream can't stand where it does. A tenant that told no
    /// time rules nothing out: positions go by its clock. Where a stream began and has seen nothing since,
    /// the tenant's own clock is enough: it takes back what it told, and nothing is sent twice for it.
    fn is_ruled_out(&self, stream: &Stream, now: Mono) -> bool {
        let clock = &self.tenants[stream.plan.tenant].clock;
        let stands = stream.progress.map(|progress| progress.position);
        let is_taken_back = stream.is_at_its_start()
            && clock.agreed(now).is_some_and(|time| ahead_of(time, stream).is_some());
        let present = self.present(stream, now);
        let is_impossible = stands.is_some_and(|position| present.rules_out(position));
        is_taken_back || clock.was_told() && is_impossible
    }

    /// Whether a stream waits for its `start` to be corrected.
    pub(super) fn start_is_ahead(&self, stream: &Stream, now: Mono) -> bool {
        match stream.progress {
            None => self.beginning(stream, now) == Beginning::Ahead,
            Some(_) if !self.is_ruled_out(stream, now) => false,
            Some(_) => {
                let earliest = self.present(stream, now).earliest();
                earliest.is_some_and(|earliest| stream.begins_anew(earliest, now).is_none())
            }
        }
    }

    /// Whether anything that SentinelOne told says that a stream stands ahead of its time, and it is not
    /// outvoted: what became visible since may lie behind, where no walk has looked.
    pub(super) fn may_be_ahead(&self, stream: &Stream, now: Mono) -> bool {
        let least = self.tenants[stream.plan.tenant].clock.least(now);
        least.is_some_and(|least| ahead_of(least, stream).is_some()) && self.is_doubted(stream, now)
    }

    /// Whether any witness of the time that is not outvoted says that a stream stands ahead of it. The
    /// next answers would tell; who is online for a moment has none, and must not call it done.
    pub(super) fn is_doubted(&self, stream: &Stream, now: Mono) -> bool {
        let clock = &self.tenants[stream.plan.tenant].clock;
        // A tenant that tells no time silences no other clock, once it has answered.
        let has_answered = clock.was_told() || stream.caught_up;
        let least = clock.least_present(now, self.clocks).filter(|_| has_answered);
        least.is_some_and(|least| ahead_of(least, stream).is_some())
    }

    /// Whether one word alone says that a stream stands where it can: nobody tells the time, or no two
    /// agree on it and no record has borne out where the stream began.
    pub(super) fn is_unconfirmed(&self, stream: &Stream, now: Mono) -> bool {
        match self.present(stream, now) {
            Present::Untold => self.tenants[stream.plan.tenant].was_informed,
            Present::Unconfirmed => false,
            Present::Between { .. } => {
                let clock = &self.tenants[stream.plan.tenant].clock;
                stream.is_at_its_start() && !clock.is_seconded(now, self.clocks)
            }
        }
    }

    /// How far a position is ahead of SentinelOne's own clock, unless two others say that the clock
    /// is behind; of every other clock where it tells no time.
    pub(super) fn position_ahead(&self, stream: &Stream, now: Mono) -> Option<Span> {
        let clock = &self.tenants[stream.plan.tenant].clock;
        // Where it tells no time, the others are all there is.
        let others = || self.present(stream, now).latest().filter(|_| !clock.was_told());
        let ahead = ahead_of(clock.agreed(now).or_else(others)?, stream)?;
        let is_backed = self.present(stream, now).allows(stream.progress?.position);
        (!is_backed).then_some(ahead)
    }
}

/// How far a stream stands ahead of a time, if by more than a clock may be off.
fn ahead_of(time: Stamp, stream: &Stream) -> Option<Span> {
    let ahead = stream.progress?.position.since(time);
    (ahead > Span::minutes(limits::STAMP_AHEAD_OF_SOURCE_MINUTES_MAX)).then_some(ahead)
}
