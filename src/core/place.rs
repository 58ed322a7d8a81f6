//! Where a stream's position may be: its beginning, and the way back from a position that can't be
//! right.
//!
//! ```text
//!   no progress --beginning known--> stored, then its first page
//!        '------`start` ahead of every clock--> held until the config is corrected
//!   position ahead of every clock --SetBack--> the newest record collected before, less the overlap
//!                                       '-----> nothing was collected: where it would begin, and a gap
//! ```
//!
//! Promises: a position that all clocks rule out is set back whenever that is seen, no matter how
//! it came about (keeps P1). One that only SentinelOne's own clock rules out is shown, even after
//! its time has come, and is set back once another clock confirms that one; where all three clocks
//! allowed it and this machine's still does, two services alone do not; meanwhile Coralogix is
//! asked for its time at intervals. `--once` does not end as done while any clock contradicts a
//! position, while no two clocks agree on the time where a position began, or while SentinelOne
//! sends no time. Never: sets back because of one claim alone, since that would send records twice
//! (P2).

use crate::limits;
use crate::record::{Progress, QueueStatus, StreamStatus};
use crate::time::{Due, Mono, Span, Stamp};

use super::provisional::Provisional;
use super::source::Beginning;
use super::source_clock::{Claim, Present, near};
use super::{Action, Core, Reason, StorePage, StoreTrouble, Stream};

/// Takes a stream back to a possible position.
#[derive(Clone, Debug, PartialEq)]
pub struct SetBack {
    pub stream: usize,
    /// The latest possible stamp.
    pub latest: Stamp,
    pub overlap: Span,
    /// The progress if no record from before `latest` is known.
    pub begin: Progress,
    /// Whether records may have been missed before `begin`.
    pub is_open: bool,
}

/// SentinelOne's time when its clock first showed that a stream's position is ahead, and that
/// position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalledAhead {
    claim: Claim,
    position: Stamp,
}

impl Core {
    /// Stores the first progress of a stream, once it is known.
    pub(super) fn begin_stream(&mut self, stream: usize, now: Mono) -> Option<Action> {
        let Beginning::Known(progress) = self.beginning(&self.streams[stream], now) else {
            return None;
        };
        // The beginning of a stream is stored before its first page, so that a device that is off
        // for days continues from there, and not from a later `start`.
        self.may_begin(stream, progress, now);
        let state = &mut self.streams[stream];
        let keep = StorePage { compared: None, ..state.keep(stream, &[], vec![], progress) };
        let first = state.begin(keep.clone());
        state.began = Some(now);
        self.pending = Some(first);
        Some(Action::Store(keep))
    }

    pub(super) fn beginning(&self, stream: &Stream, now: Mono) -> Beginning {
        stream.beginning(&self.tenants[stream.plan.tenant], now, self.clocks)
    }

    /// Sets back a stream whose position can't be right.
    pub(super) fn set_back(&mut self, stream: usize, now: Mono) -> Option<Action> {
        let state = &self.streams[stream];
        if state.set_back_due > now {
            return None;
        }
        let (latest, (begin, is_open)) = self.way_back(state, now)?;
        let overlap = state.plan.overlap;
        Some(Action::SetBack(SetBack { stream, latest, overlap, begin, is_open }))
    }

    /// Whether a stream has to be set back now.
    pub(super) fn goes_back(&self, stream: &Stream, now: Mono) -> bool {
        stream.set_back_due <= now && self.way_back(stream, now).is_some()
    }

    /// For a stream that has to be set back: the latest possible position, and where it begins if
    /// nothing was collected before that.
    pub(super) fn way_back(&self, stream: &Stream, now: Mono) -> Option<(Stamp, (Progress, bool))> {
        if stream.hold.is_some() || self.start_is_ahead(stream, now) {
            return None;
        }
        let unconfirmed = self.unconfirmed_moves(stream, now);
        let unconfirmed = unconfirmed.map(|begins| (begins.0.position, begins));
        let ruled_out = || {
            let present = self.present(stream, now);
            let Present::Between { earliest, latest, .. } = present else { return None };
            if !self.is_ruled_out(stream, now) || self.is_vouched_for(stream, now) {
                return None;
            }
            // It has missed what became visible since the clock first showed that its position was
            // ahead.
            let called = self.proven_ahead(stream, now).and_then(|Claim { date, at }| {
                let begins = stream.begins_anew(date, at)?;
                Some((latest.min(date), begins))
            });
            called.or_else(|| Some((latest, stream.begins_anew(earliest, now)?)))
        };
        unconfirmed.into_iter().chain(ruled_out()).min_by_key(|(latest, _)| *latest)
    }

    pub(super) fn was_set_back(
        &mut self,
        now: Mono,
        stream: usize,
        result: Result<(QueueStatus, StreamStatus), StoreTrouble>,
    ) {
        let before = self.streams[stream].progress.map_or(Stamp::MIN, |at| at.position);
        match result {
            Ok((held, stood)) => {
                let settled = self.settle_provisional(stream, now);
                let is_moved = stood.progress != self.streams[stream].progress;
                // What moved nothing would be done again at once.
                let again = if is_moved { Span::ZERO } else { self.backoff.long() };
                let state = &mut self.streams[stream];
                state.set_back_due = now + again;
                let after = stood.progress.map_or(before, |progress| progress.from);
                state.reset(stood, now, now);
                state.called_ahead = None;
                let is_inherited = settled.is_some_and(Provisional::is_inherited);
                let (before, after) = (before.to_the_second(), after.to_the_second());
                let text = format!("it was at {before} and is set back to {after}");
                state.condition = Some(match is_inherited {
                    true => (Reason::TimeUnconfirmed, format!("no two clocks agreed; {text}")),
                    false => (Reason::PositionAhead, text),
                });
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

    /// Whether all clocks rule out the stream's position. If the tenant sends no time, two others
    /// have to agree, because positions are stamps of its clock. If the stream began by the
    /// tenant's clock and has seen nothing since, that clock alone is enough: it corrects what it
    /// sent itself, and nothing is sent twice.
    fn is_ruled_out(&self, stream: &Stream, now: Mono) -> bool {
        let clock = &self.tenants[stream.plan.tenant].clock;
        let stands = stream.stands();
        // Not if it is outvoted: the others would put the stream where it is.
        let is_taken_back = stream.is_at_its_start()
            && !clock.is_outvoted(now, self.clocks)
            && clock.agreed(now).is_some_and(|time| ahead_of(time, stream).is_some());
        let present = self.present(stream, now);
        let is_impossible = stands.is_some_and(|position| present.rules_out(position));
        let is_judged =
            clock.was_told() || self.is_mute(stream) && clock.is_seconded(now, self.clocks);
        is_taken_back || is_judged && is_impossible || self.proven_ahead(stream, now).is_some()
    }

    /// Whether the only clocks against a position are two services' that went back together.
    fn is_vouched_for(&self, stream: &Stream, now: Mono) -> bool {
        let clock = &self.tenants[stream.plan.tenant].clock;
        stream.stands().is_some_and(|position| clock.vouches_for(position, now, self.clocks))
    }

    /// Notes which positions are ahead by SentinelOne's own clock.
    pub(super) fn note_called_ahead(&mut self, now: Mono) {
        for at in 0..self.streams.len() {
            self.streams[at].called_ahead = self.called_ahead(&self.streams[at], now);
        }
    }

    fn called_ahead(&self, stream: &Stream, now: Mono) -> Option<CalledAhead> {
        let clock = &self.tenants[stream.plan.tenant].clock;
        let (date, position) = (clock.agreed(now)?, stream.stands()?);
        let called = || {
            let is_ahead = self.position_ahead(stream, now).is_some();
            is_ahead.then_some(CalledAhead { claim: Claim { date, at: now }, position })
        };
        stream.called_ahead.or_else(called).filter(|called| {
            let is_same = near(called.claim.carried_to(now), date);
            let is_denied = self.bears_out(*called, now) == Some(false);
            is_same && !is_denied && !clock.is_outvoted(now, self.clocks)
        })
    }

    /// Whether another clock that agrees with SentinelOne's also shows that the noted position was
    /// ahead. `None`: there is no such clock.
    fn bears_out(&self, called: CalledAhead, now: Mono) -> Option<bool> {
        let CalledAhead { claim, position } = called;
        let others = [self.clocks.local, self.clocks.sink].into_iter().flatten();
        let back = now.since(claim.at);
        let agree = others.map(|time| time - back).filter(|time| near(*time, claim.date));
        agree.map(|time| ahead_by(position, time).is_some()).reduce(|a, b| a || b)
    }

    /// The time noted for a stream's position ahead, if another clock confirms it by now.
    fn proven_ahead(&self, stream: &Stream, now: Mono) -> Option<Claim> {
        let called = stream.called_ahead?;
        let is_proven =
            self.present(stream, now).is_backed() && self.bears_out(called, now) == Some(true);
        is_proven.then_some(called.claim)
    }

    /// Asks Coralogix for its time if no two clocks agree on a stream's position, and nothing is
    /// waiting whose delivery would bring the time.
    pub(super) fn ask_time(&mut self, now: Mono) -> Option<Action> {
        let is_due = self.time_due <= now && self.clocks.sink.is_none();
        let lane = &self.sink.lane;
        let is_idle = self.held.records == 0 && lane.failures == 0 && lane.due.is_over(now);
        let may_send = is_idle && self.delivery.wait(now).is_none();
        let wants = |stream: &Stream| {
            let clock = &self.tenants[stream.plan.tenant].clock;
            let is_alone = !clock.is_seconded(now, self.clocks);
            // A stream that waits for its `start` never is caught up.
            let waits = stream.caught_up || self.start_is_ahead(stream, now);
            waits && (is_alone || stream.called_ahead.is_some())
        };
        let is_wanted = is_due && may_send && self.streams.iter().any(wants);
        is_wanted.then(|| {
            self.time_due = now + Span::hours(limits::TIME_ASKED_HOURS);
            Action::AskTime
        })
    }

    /// Whether the tenant has answered without a time, so that only other clocks let the position
    /// move.
    fn is_mute(&self, stream: &Stream) -> bool {
        stream.caught_up && !self.tenants[stream.plan.tenant].clock.was_told()
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

    /// Whether a time that SentinelOne sent, and that is not outvoted, shows that a stream's
    /// position is ahead: records that became visible since then may be before that position, where
    /// no walk has looked.
    pub(super) fn may_be_ahead(&self, stream: &Stream, now: Mono) -> bool {
        let least = self.tenants[stream.plan.tenant].clock.least(now);
        least.is_some_and(|least| ahead_of(least, stream).is_some()) && self.is_doubted(stream, now)
    }

    /// Whether a clock that is not outvoted shows that a stream's position is ahead. The next
    /// answers would decide; `--once` does not wait for them and must not end as done.
    pub(super) fn is_doubted(&self, stream: &Stream, now: Mono) -> bool {
        let clock = &self.tenants[stream.plan.tenant].clock;
        // A tenant that has answered without a time does not keep other clocks from counting.
        let has_answered = clock.was_told() || self.is_mute(stream);
        let least = clock.least_present(now, self.clocks).filter(|_| has_answered);
        stream.called_ahead.is_some()
            || least.is_some_and(|least| ahead_of(least, stream).is_some())
    }

    /// Whether no more than one clock supports a stream's position: there is no time at all, or no
    /// two clocks agree and the position is still the one with which the stream began, or an
    /// earlier process moved it without that, or the tenant sends no time.
    pub(super) fn is_unconfirmed(&self, stream: &Stream, now: Mono) -> bool {
        match self.present(stream, now) {
            Present::Unknown => self.tenants[stream.plan.tenant].was_informed,
            Present::Unconfirmed => false,
            Present::Between { .. } => {
                let clock = &self.tenants[stream.plan.tenant].clock;
                let is_inherited = stream.provisional.is_some_and(Provisional::is_inherited);
                let is_of_one = stream.is_at_its_start() || self.is_mute(stream) || is_inherited;
                // Before the tenant has answered, there is nothing to be said.
                let is_informed = self.tenants[stream.plan.tenant].was_informed;
                let has_answered = clock.was_told() || is_informed || stream.caught_up;
                is_of_one && has_answered && !clock.is_seconded(now, self.clocks)
            }
        }
    }

    /// How far a position is ahead of SentinelOne's own clock, unless two others show that this
    /// clock is slow; if it sends no time, of the latest time that the others allow.
    pub(super) fn position_ahead(&self, stream: &Stream, now: Mono) -> Option<Span> {
        let clock = &self.tenants[stream.plan.tenant].clock;
        // Without a time of the tenant the others have to do.
        let others = || self.present(stream, now).latest().filter(|_| !clock.was_told());
        let ahead = ahead_of(clock.agreed(now).or_else(others)?, stream)?;
        let is_backed = self.present(stream, now).allows(stream.stands()?);
        (!is_backed).then_some(ahead)
    }
}

/// How far a stream's position is ahead of a time, if by more than the permitted difference of
/// clocks.
fn ahead_of(time: Stamp, stream: &Stream) -> Option<Span> {
    ahead_by(stream.stands()?, time)
}

pub(super) fn ahead_by(position: Stamp, time: Stamp) -> Option<Span> {
    let ahead = position.since(time);
    (ahead > Span::minutes(limits::STAMP_AHEAD_OF_SOURCE_MINUTES_MAX)).then_some(ahead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Mode;
    use crate::core::place_tests::{NOW, Stage, days, stood};
    use crate::core::reason::Reason;
    use crate::record::{Hold, Room, Start};
    use crate::time::Clocks;

    fn stage(position: Stamp) -> Stage {
        Stage::of(Start::Now, stood(position), Mode::Daemon)
    }

    /// The tenant tells these times, one after the other.
    fn tell(stage: &mut Stage, dates: &[Stamp]) {
        for date in dates {
            let clocks = stage.core.clocks;
            stage.core.tenants[0].clock.observe_date(Some(*date), stage.now, clocks);
        }
    }

    /// All clocks rule out its position.
    fn ruled_out(stage: &mut Stage) -> SetBack {
        stage.core.clocks = Clocks { local: Some(NOW), sink: None };
        tell(stage, &[NOW, NOW]);
        match stage.core.set_back(0, stage.now) {
            Some(Action::SetBack(back)) => back,
            other => panic!("{other:?}"),
        }
    }

    fn called(position: Stamp, now: Mono) -> CalledAhead {
        CalledAhead { claim: Claim { date: NOW, at: now }, position }
    }

    #[test]
    fn a_clock_that_agrees_bears_out_that_a_position_is_ahead_or_denies_it() {
        let [ahead, within] = [days(1), Span::minutes(15)].map(|by| NOW + by);
        let (near, far) = (Some(NOW + Span::minutes(9)), Some(NOW + days(9)));
        for (position, local, sink, borne_out) in [
            (ahead, Some(NOW), None, Some(true)),
            (ahead, far, near, Some(true)),
            (within, near, None, Some(false)),
            (within, near, Some(NOW), Some(true)),
            (within, Some(NOW), near, Some(true)),
            (ahead, far, far, None),
            (ahead, None, None, None),
        ] {
            let mut stage = stage(position);
            stage.core.clocks = Clocks { local, sink };
            let borne = stage.core.bears_out(called(position, stage.now), stage.now);
            assert_eq!(borne, borne_out, "{position:?} {local:?} {sink:?}");
        }
    }

    #[test]
    fn a_position_is_proven_ahead_only_by_a_time_that_another_clock_backs() {
        let position = NOW + days(1);
        let mut stage = stage(position);
        stage.core.clocks = Clocks { local: Some(NOW), sink: None };
        stage.core.streams[0].called_ahead = Some(called(position, stage.now));
        let proven = |stage: &Stage| stage.core.proven_ahead(&stage.core.streams[0], stage.now);
        tell(&mut stage, &[NOW, NOW, NOW + days(5)]);
        assert_eq!(proven(&stage), None, "it just told another time");
        tell(&mut stage, &[NOW]);
        assert!(proven(&stage).is_some());
    }

    #[test]
    fn a_stream_that_is_held_is_not_set_back() {
        let mut stage = stage(NOW + days(9));
        stage.core.clocks = Clocks { local: Some(NOW), sink: None };
        tell(&mut stage, &[NOW, NOW]);
        assert!(stage.core.set_back(0, stage.now).is_some());
        let [was, now] = ["https://a", "https://b"].map(str::to_owned);
        stage.core.streams[0].hold = Some(Hold::TenantChanged { was, now, other: None });
        assert_eq!(stage.core.set_back(0, stage.now), None);
    }

    #[test]
    fn a_stream_that_was_set_back_is_read_again_at_once() {
        for (is_moved, patience) in [(true, Span::ZERO), (false, Span::ZERO), (true, days(1))] {
            let mut stage = stage(NOW + days(9));
            let set_back = ruled_out(&mut stage);
            let (core, now) = (&mut stage.core, stage.now);
            core.streams[0].caught_up = true;
            core.streams[0].lane.fail(now, days(2), Reason::Misdirected, "HTTP 404".into());
            core.streams[0].lane.not_before = now + patience;
            let progress = if is_moved { set_back.begin } else { stood(NOW + days(9)).unwrap() };
            let status = StreamStatus { progress: Some(progress), ..StreamStatus::default() };
            let held = QueueStatus { records: 7, ..QueueStatus::default() };
            core.was_set_back(now, 0, Ok((held, status)));
            assert!(!core.streams[0].caught_up, "{is_moved}");
            assert_eq!(core.streams[0].lane.due, Due::At(now + patience), "{is_moved}");
            assert_eq!(core.held().records, 7);
        }
    }

    #[test]
    fn a_set_back_that_could_not_be_written_is_tried_again_later() {
        let full = QueueStatus { room: Room::DiskLow, ..QueueStatus::default() };
        for trouble in [StoreTrouble::Failed("EIO".into()), StoreTrouble::Full(full)] {
            let mut stage = stage(NOW + days(9));
            let set_back = ruled_out(&mut stage);
            let is_full = matches!(trouble, StoreTrouble::Full(_));
            stage.core.was_set_back(stage.now, set_back.stream, Err(trouble));
            assert_eq!(stage.core.set_back(0, stage.now), None, "a loop");
            let later = stage.now + Span::minutes(6);
            assert!(stage.core.set_back(0, later).is_some());
            assert_eq!(stage.core.held().room == Room::DiskLow, is_full);
        }
    }

    #[test]
    fn coralogix_is_asked_for_its_time_only_where_nothing_else_brings_it() {
        type Change = fn(&mut Stage);
        let changes: [(bool, Change); 7] = [
            (true, |_| {}),
            (false, |stage| stage.core.held.records = 1),
            (false, |stage| stage.core.sink.lane.failures = 1),
            (false, |stage| stage.core.sink.lane.due = Due::At(stage.now + days(1))),
            (false, |stage| stage.core.clocks.sink = Some(NOW)),
            (false, |stage| stage.core.streams[0].caught_up = false),
            (false, |stage| {
                let gate = crate::window::Gate::Closed { opens: stage.now + days(1) };
                stage.core.delivery.notice(stage.now, stage.now, gate, 0);
            }),
        ];
        for (at, (is_asked, change)) in changes.into_iter().enumerate() {
            let mut stage = stage(NOW);
            stage.core.streams[0].caught_up = true;
            stage.core.sink.lane.due = Due::At(stage.now);
            change(&mut stage);
            let asked = stage.core.ask_time(stage.now);
            assert_eq!(asked, is_asked.then_some(Action::AskTime), "{at}");
        }
    }

    #[test]
    fn nothing_is_compared_only_if_the_tenant_itself_speaks_against_a_position() {
        let before = NOW - days(2);
        for (dates, local, sink, is_ahead) in [
            (&[before][..], Some(NOW), None, true),
            // Two others outvote it.
            (&[before], Some(NOW), Some(NOW), false),
            // Only this machine's clock speaks against it.
            (&[NOW, NOW], Some(before), None, false),
            (&[NOW, NOW], Some(NOW), None, false),
        ] {
            let mut stage = stage(NOW);
            stage.core.clocks = Clocks { local, sink };
            tell(&mut stage, dates);
            let core = &stage.core;
            assert_eq!(core.may_be_ahead(&core.streams[0], stage.now), is_ahead, "{dates:?}");
        }
    }

    #[test]
    fn a_beginning_by_one_clock_alone_is_unconfirmed_once_anything_is_known_of_the_tenant() {
        for (is_told, is_informed, is_unconfirmed) in
            [(true, false, true), (false, true, true), (true, true, true), (false, false, false)]
        {
            let mut stage = stage(NOW);
            stage.core.clocks = Clocks { local: (!is_told).then_some(NOW), sink: None };
            tell(&mut stage, if is_told { &[NOW, NOW] } else { &[] });
            stage.core.tenants[0].was_informed = is_informed;
            let core = &stage.core;
            let shown = core.is_unconfirmed(&core.streams[0], stage.now);
            assert_eq!(shown, is_unconfirmed, "{is_told} {is_informed}");
        }
    }

    #[test]
    fn a_queue_that_went_back_takes_the_doubt_of_a_later_position() {
        for (position, is_doubted) in [(NOW + days(1), true), (NOW + days(2), true), (NOW, false)] {
            let mut stage = stage(NOW + days(1));
            let stream = &mut stage.core.streams[0];
            stream.called_ahead = Some(called(NOW + days(1), stage.now));
            let held = StreamStatus { progress: stood(position), ..StreamStatus::default() };
            stream.reset(held, stage.now, stage.now);
            assert_eq!(stream.called_ahead.is_some(), is_doubted, "{position:?}");
        }
    }
}
