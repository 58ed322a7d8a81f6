//! Chooses the next action when none follows from the last event: which lane is next, or how long
//! to sleep.
//!
//! Promises: due lanes take turns; no lane is used before its time (keeps P6); without space
//! nothing is fetched (keeps P4); a sleep ends with the first thing that may be done.

use crate::limits;
use crate::record::Room;
use crate::time::{Due, Mono, Span};

use super::source::{Beginning, Stream};
use super::source_clock::Present;
use super::{Action, Core, End, Lane, Mode, Reason, Tick, Token};

pub mod once;

/// A lane by its position in the round.
#[derive(Clone, Copy)]
pub(super) enum LaneId {
    Tenant(usize),
    Stream(usize),
    Sink,
    Reconcile(usize),
}

impl Core {
    pub(super) fn decide(&mut self, tick: &Tick) -> Action {
        self.used = None;
        self.note_called_ahead(tick.now);
        if tick.stop {
            return Action::Exit(End::Done);
        }
        if let Some(action) = self.say(tick) {
            return action;
        }
        if let Some(action) = self.ask_time(tick.now) {
            return action;
        }
        if let Some(end) = self.once_ended(tick.now) {
            return Action::Exit(end);
        }
        let now = tick.now;
        if self.held.room != Room::Free && self.space_check_at <= now {
            return Action::Measure;
        }
        let lanes = self.tenants.len() + 2 * self.streams.len() + 1;
        for step in 0..lanes {
            let at = (self.turn + step) % lanes;
            let lane = self.lane_at(at);
            if let Some(action) = self.use_lane(lane, now) {
                self.turn = (at + 1) % lanes;
                self.used = Some(lane);
                return action;
            }
        }
        // A round of reconciliation may just have ended, and with it all work: then the last own
        // record is due.
        if let Some(action) = self.say(tick) {
            return action;
        }
        if let Some(end) = self.once_ended(now) {
            return Action::Exit(end);
        }
        let (until, reason) = self.next_due(now);
        debug_assert!(until > now, "a sleep that is already over would spin: {reason:?}");
        if until > now {
            return Action::Sleep { until, reason };
        }
        // A fault of the program. In a release it continues at a slow pace and reports the fault:
        // all other lanes work.
        self.stalls = self.stalls.saturating_add(1);
        Action::Sleep { until: now + Span::seconds(limits::STALL_SECONDS), reason }
    }

    fn lane_at(&self, at: usize) -> LaneId {
        let (tenants, streams) = (self.tenants.len(), self.streams.len());
        match at {
            _ if at < tenants => LaneId::Tenant(at),
            _ if at < tenants + streams => LaneId::Stream(at - tenants),
            _ if at == tenants + streams => LaneId::Sink,
            _ => LaneId::Reconcile(at - tenants - streams - 1),
        }
    }

    pub(super) fn lane_mut(&mut self, lane: LaneId) -> &mut Lane {
        match lane {
            LaneId::Tenant(at) => &mut self.tenants[at].lane,
            LaneId::Stream(at) => &mut self.streams[at].lane,
            LaneId::Sink => &mut self.sink.lane,
            LaneId::Reconcile(at) => &mut self.streams[at].reconcile.lane,
        }
    }

    /// The lane's action if it is due and there is something to do.
    fn use_lane(&mut self, lane: LaneId, now: Mono) -> Option<Action> {
        match lane {
            LaneId::Tenant(tenant) => self.use_tenant(tenant, now),
            LaneId::Stream(stream) => self.use_stream(stream, now),
            LaneId::Sink => {
                let can = self.held.records > 0
                    && self.delivery.wait(now).is_none()
                    && self.sink.lane.due.is_over(now)
                    && !self.has_given_up(&self.sink.lane);
                can.then(|| match self.sink.probe() {
                    _ if self.sink.is_trial_due() => Action::TryKey,
                    Some(probe) => Action::SendAhead(probe),
                    None => Action::Send(self.sink.take()),
                })
            }
            LaneId::Reconcile(stream) => self.use_reconcile(stream, now),
        }
    }

    fn use_tenant(&self, tenant: usize, now: Mono) -> Option<Action> {
        let state = &self.tenants[tenant];
        let waits = self.polling.wait(now).is_some() || !state.lane.due.is_over(now);
        if waits || self.has_given_up(&state.lane) {
            return None;
        }
        let asks_end = state.token_end_due.is_over(now);
        if self.tenant_has_question(tenant, now) && !(asks_end && state.info_fails()) {
            return Some(Action::Info { tenant });
        }
        asks_end.then_some(Action::TokenEnd { tenant })
    }

    /// Whether `/system/info` has to be asked before the tenant's streams can go on.
    fn tenant_is_asked(&self, tenant: usize, now: Mono) -> bool {
        let state = &self.tenants[tenant];
        // Without a clock on this device the first page alone would be the only source of the time.
        let is_alone =
            !state.was_informed && state.clock.present(now, self.clocks) == Present::Unknown;
        state.token != Token::Good || is_alone || self.tenant_needs_clock(tenant, now)
    }

    /// Whether there is a question for the tenant, for its streams, for its time alone, or to see
    /// whether it is answered again.
    fn tenant_has_question(&self, tenant: usize, now: Mono) -> bool {
        self.tenant_is_asked(tenant, now)
            || self.tenant_is_ahead(tenant, now)
            || self.tenants[tenant].info_fails()
    }

    /// Whether a stream waits for its `start`: the clock by which that is in the future may have
    /// been wrong.
    pub(super) fn tenant_is_ahead(&self, tenant: usize, now: Mono) -> bool {
        let mut streams = self.streams.iter().filter(|stream| stream.plan.tenant == tenant);
        streams.any(|stream| stream.hold.is_none() && self.start_is_ahead(stream, now))
    }

    /// Whether a stream can't begin before SentinelOne's time is known.
    pub(super) fn tenant_needs_clock(&self, tenant: usize, now: Mono) -> bool {
        let mut streams = self.streams.iter().filter(|stream| stream.plan.tenant == tenant);
        streams.any(|stream| {
            stream.progress.is_none() && self.beginning(stream, now) == Beginning::Untimed
        })
    }

    fn use_stream(&mut self, stream: usize, now: Mono) -> Option<Action> {
        if let Some(action) = self.set_back(stream, now) {
            return Some(action);
        }
        let is_due = self.polling.wait(now).is_none() && self.streams[stream].lane.due.is_over(now);
        if !is_due || self.stream_is_blocked(stream, now) || self.stream_yields(stream, now) {
            return None;
        }
        if self.streams[stream].progress.is_none() {
            // If it is not held up by that, a small page brings the time in place of `/system/info`.
            return match self.tenant_is_asked(self.streams[stream].plan.tenant, now) {
                true => Some(Action::Fetch(Stream::fetch_of_nothing(stream))),
                false => self.begin_stream(stream, now),
            };
        }
        let fetch = self.streams[stream].fetch(stream);
        Some(Action::Fetch(fetch))
    }

    /// Whether anything besides its own lane keeps a stream from being fetched.
    fn stream_is_blocked(&self, stream: usize, now: Mono) -> bool {
        let stream = &self.streams[stream];
        let tenant = stream.plan.tenant;
        stream.hold.is_some()
            || self.held.room != Room::Free
            || self.tenants[tenant].token != Token::Good
            || (stream.progress.is_none()
                && !self.tenants[tenant].info_fails()
                && self.tenant_is_asked(tenant, now))
            || self.start_is_ahead(stream, now)
            || (self.plan.mode == Mode::Once && stream.caught_up)
            || self.has_given_up_stream(stream)
    }

    /// Whether another stream of the same tenant goes first: it is named before this one in the
    /// order, has a backlog, and may be fetched now. A stream that waits for any reason holds up no
    /// other.
    fn stream_yields(&self, stream: usize, now: Mono) -> bool {
        let order = &self.plan.bounds.order;
        let rank = |kind| order.iter().position(|first| *first == kind).unwrap_or(order.len());
        let own = &self.streams[stream].plan;
        self.streams.iter().enumerate().any(|(at, other)| {
            other.plan.tenant == own.tenant
                && rank(other.plan.kind) < rank(own.kind)
                && !other.caught_up
                && other.lane.due.is_over(now)
                && !self.stream_is_blocked(at, now)
        })
    }

    /// When the next lane becomes due, and the reason it waits.
    fn next_due(&self, now: Mono) -> (Mono, Reason) {
        let mut next = (now + Span::seconds(limits::SLEEP_SECONDS_MAX), Reason::NothingToSend);
        let mut sooner = |due: Due, reason: Reason| {
            if let Due::At(at) = due
                && at < next.0
            {
                next = (at, reason);
            }
        };
        let (polling, delivery) = (self.polling.wait(now), self.delivery.wait(now));
        let held_up = |due: Due, reason: Reason, wait: Option<(Mono, Reason)>| match (due, wait) {
            (Due::At(at), Some((until, reason))) if until > at => (Due::At(until), reason),
            _ => (due, reason),
        };
        let mut sooner = |due: Due, reason: Reason, wait| {
            let (due, reason) = held_up(due, reason, wait);
            sooner(due, reason);
        };
        for (tenant, state) in self.tenants.iter().enumerate() {
            if self.has_given_up(&state.lane) {
                continue;
            }
            if self.tenant_has_question(tenant, now) {
                sooner(state.lane.due, state.lane.reason, polling);
            } else if let (Due::At(lane), Due::At(end)) = (state.lane.due, state.token_end_due) {
                sooner(Due::At(lane.max(end)), Reason::PollInterval, polling);
            }
        }
        for (at, stream) in self.streams.iter().enumerate() {
            if !self.stream_is_blocked(at, now) {
                sooner(stream.lane.due, stream.lane.reason, polling);
            }
            if self.may_reconcile(at, now) {
                sooner(stream.reconcile.lane.due, Reason::PollInterval, polling);
            }
        }
        if self.held.records > 0 && !self.has_given_up(&self.sink.lane) {
            sooner(self.sink.lane.due, self.sink.lane.reason, delivery);
        }
        sooner(self.report_due(), Reason::PollInterval, None);
        match self.held.room {
            Room::Free => {}
            Room::QueueFull => sooner(Due::At(self.space_check_at), Reason::QueueFull, None),
            Room::DiskLow => sooner(Due::At(self.space_check_at), Reason::DiskLow, None),
        }
        next
    }

    /// In `--once`: whether nothing more is to be fetched.
    pub(super) fn streams_over(&self, now: Mono) -> bool {
        let no_room = self.held.room != Room::Free
            && (self.space_checks > limits::ONCE_FAILURES_MAX
                || self.has_given_up(&self.sink.lane));
        self.streams.iter().all(|stream| {
            let tenant = &self.tenants[stream.plan.tenant];
            // The last answer may have shown that it has to be set back.
            let is_whole = stream.caught_up && !self.goes_back(stream, now);
            let is_over = is_whole || self.start_is_ahead(stream, now);
            is_over
                || no_room
                || self.has_given_up_stream(stream)
                || self.has_given_up(&tenant.lane)
        })
    }

    /// Whether reconciliation still has something to compare.
    pub(super) fn compares(&self, now: Mono) -> bool {
        (0..self.streams.len()).any(|at| self.may_reconcile(at, now))
    }

    /// Whether a clock or a lack of one makes it possible that a stream's position is in the
    /// future.
    fn is_place_doubted(&self, now: Mono) -> bool {
        let mut streams = self.streams.iter();
        streams.any(|stream| {
            self.is_doubted(stream, now)
                || self.is_unconfirmed(stream, now)
                // It has to go back, and that could not be written.
                || self.way_back(stream, now).is_some()
        })
    }

    /// How `--once` ends, once nothing more can be done.
    fn once_ended(&self, now: Mono) -> Option<End> {
        if self.plan.mode == Mode::Daemon {
            return None;
        }
        if self.repairs >= limits::ONCE_REPAIRS_MAX {
            return Some(End::TryLater);
        }
        let sink_over = self.held.records == 0 || self.has_given_up(&self.sink.lane);
        // An unreported gap is tried again, but not for ever: it stays in the queue.
        let is_unreported = self.held.unreported > 0;
        let is_said = !is_unreported || self.has_given_up_reporting();
        if !(sink_over && is_said && self.streams_over(now)) || self.compares(now) {
            return None;
        }
        let mut lanes = vec![];
        if self.held.records > 0 {
            lanes.push(&self.sink.lane);
        }
        for stream in self.streams.iter().filter(|stream| !stream.caught_up) {
            lanes.push(&stream.lane);
            lanes.push(&self.tenants[stream.plan.tenant].lane);
        }
        let is_ahead = self.streams.iter().any(|stream| self.start_is_ahead(stream, now));
        Some(match () {
            () if is_ahead => End::Misconfigured,
            () if lanes.is_empty() && self.sink.lane.reason == Reason::InDoubt => End::InDoubt,
            () if lanes.is_empty() && (is_unreported || self.is_place_doubted(now)) => {
                End::TryLater
            }
            () if lanes.is_empty() => End::Done,
            () if lanes.iter().any(|lane| lane.reason.is_credential()) => End::Refused,
            () => End::TryLater,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Event, Fetch, PageFacts, Plan, StorePage, StreamPlan};
    use crate::record::{
        Kind, NetTrouble, Opened, Progress, QueuePosition, QueueStatus, Refusal, Refused, RowKey,
        Sent, Seq, SinkVerdict, SourceTrouble, Start, StreamStatus, WriteMode,
    };
    use crate::time::{Clocks, Stamp};

    const BEGIN: Mono = Mono(1_000_000);
    const MINUTE: Span = Span::minutes(1);

    fn date() -> Stamp {
        Stamp::from_seconds(1_800_000_000)
    }

    fn held(records: u64, room: Room) -> QueueStatus {
        QueueStatus { records, room, ..QueueStatus::default() }
    }

    /// A core with two streams of one tenant, both begun, and the time.
    struct Driven {
        core: Core,
        now: Mono,
    }

    impl Driven {
        fn new(held: QueueStatus) -> Driven {
            let (poll_interval, overlap) = (MINUTE, MINUTE);
            let start = Start::Now;
            let reconcile = Span::ZERO;
            let stream =
                |kind| StreamPlan { tenant: 0, kind, poll_interval, start, overlap, reconcile };
            let plan = Plan {
                tenants: 1,
                streams: vec![stream(Kind::Threats), stream(Kind::Activities)],
                retry_min: Span::seconds(1),
                retry_max: MINUTE,
                mode: Mode::Daemon,
                write: WriteMode::Always,
                heartbeat: None,
                bounds: crate::window::Bounds::default(),
                tally_ids: None,
            };
            let progress = Some(Progress { position: date(), from: date() });
            let streams = vec![StreamStatus { progress, ..StreamStatus::default() }; 2];
            let core = Core::new(
                plan,
                7,
                BEGIN,
                Opened { held, streams, learned: crate::record::Learned::default(), unsettled: 0 },
            );
            Driven { core, now: BEGIN }
        }

        /// The next action that is no sleep, and when it came.
        fn after(&mut self, event: Event) -> Action {
            let mut event = event;
            loop {
                let clocks = Clocks { local: Some(date()), sink: None };
                let tick = Tick { now: self.now, clocks, ..Tick::default() };
                match self.core.step(&tick, event) {
                    Action::Sleep { until, .. } => (self.now, event) = (until, Event::Woke),
                    action => return action,
                }
            }
        }

        fn after_the_first_fetch(&mut self, page: Result<PageFacts, SourceTrouble>) -> Action {
            let Action::Fetch(Fetch { stream, .. }) = self.after(Event::Woke) else {
                panic!("streams that have begun are fetched")
            };
            self.after(Event::Fetched { stream, page })
        }
    }

    #[test]
    fn nothing_is_done_right_after_a_start_so_that_a_crash_loop_hammers_nobody() {
        let mut driven = Driven::new(held(5, Room::Free));
        driven.after(Event::Woke);
        assert!(driven.now >= BEGIN + Span::seconds(1));
    }

    #[test]
    fn with_no_room_nothing_is_fetched_and_delivery_goes_on() {
        for room in [Room::QueueFull, Room::DiskLow] {
            let mut driven = Driven::new(held(5, room));
            let (mut event, mut sends) = (Event::Woke, 0);
            while driven.now < BEGIN + Span::hours(1) {
                event = match driven.after(event) {
                    Action::Measure => Event::Measured(held(5, room)),
                    Action::Send(_) => {
                        sends += 1;
                        let end = QueuePosition { seq: Seq(1), skip: 0 };
                        let sent = Sent {
                            first: QueuePosition::default(),
                            end,
                            entries: 5,
                            own: 0,
                            raw_bytes: 9,
                        };
                        let verdict =
                            SinkVerdict::Unreachable(NetTrouble::silent(Span::minutes(1)));
                        Event::Sent { sent, verdict }
                    }
                    other => panic!("{room:?}: {other:?}"),
                };
            }
            assert!(sends > 10, "{room:?}: {sends}");
            let freed = driven.after(Event::Measured(held(0, Room::Free)));
            assert!(matches!(freed, Action::Fetch(_)), "{freed:?}");
        }
    }

    #[test]
    fn a_tenant_that_asks_for_patience_is_left_alone_by_all_its_streams() {
        let mut driven = Driven::new(held(0, Room::Free));
        let retry_after = Some(Span::hours(1));
        driven.after_the_first_fetch(Err(SourceTrouble::busy(retry_after)));
        assert!(driven.now >= BEGIN + Span::hours(1), "{:?}", driven.now);
    }

    #[test]
    fn a_stream_without_permission_stops_no_other() {
        let mut driven = Driven::new(held(0, Room::Free));
        let refusal = Refusal { what: Refused::Permission, words: "HTTP 403".to_owned() };
        let next = driven.after_the_first_fetch(Err(SourceTrouble::Forbidden(refusal)));
        assert!(matches!(next, Action::Fetch(Fetch { stream: 1, .. })), "{next:?}");
        // Told as a 401 it is the same, once the token was seen to live.
        let mut driven = Driven::new(held(0, Room::Free));
        let doubted = SourceTrouble::TokenDoubted("HTTP 401: no".to_owned());
        let next = driven.after_the_first_fetch(Err(doubted));
        assert_eq!(next, Action::Info { tenant: 0 });
        let next = driven.after(Event::Informed { tenant: 0, result: Ok(Some(date())) });
        assert!(matches!(next, Action::Fetch(Fetch { stream: 1, .. })), "{next:?}");
        let told = driven.core.view(driven.now).streams[0].lane.detail.clone();
        assert_eq!(told, "grant \"Endpoint Threats: View\"; HTTP 401: no");
    }

    #[test]
    fn a_refused_cursor_is_not_used_again() {
        let mut driven = Driven::new(held(0, Room::Free));
        let key = RowKey { stamp: date(), id: 1 };
        let next = Some(crate::record::Cursor("c".to_owned()));
        let page = PageFacts { keys: vec![key], next, date: Some(date()) };
        let mut action = driven.after_the_first_fetch(Ok(page));
        let mut cursors = vec![];
        while cursors.len() < 2 {
            let event = match action {
                Action::Store(_) => Event::Stored(Ok(held(0, Room::Free))),
                Action::Fetch(Fetch { stream, cursor, .. }) if stream == 0 => {
                    cursors.push(cursor);
                    let page = Err(SourceTrouble::QueryRefused("400".to_owned()));
                    Event::Fetched { stream, page }
                }
                Action::Fetch(Fetch { stream, .. }) => {
                    let page = Ok(PageFacts { keys: vec![], next: None, date: Some(date()) });
                    Event::Fetched { stream, page }
                }
                Action::TokenEnd { tenant } => Event::TokenEnds { tenant, end: None },
                other => panic!("{other:?}"),
            };
            action = driven.after(event);
        }
        assert!(cursors[0].is_some() && cursors[1].is_none(), "{cursors:?}");
    }

    #[test]
    fn a_record_dated_far_ahead_moves_no_position() {
        let mut driven = Driven::new(held(0, Room::Free));
        let far = RowKey { stamp: date() + Span::hours(24 * 365 * 100), id: 1 };
        let page = PageFacts { keys: vec![far], next: None, date: Some(date() + MINUTE) };
        let stored = driven.after_the_first_fetch(Ok(page));
        let Action::Store(StorePage { fresh, progress, .. }) = stored else { panic!("{stored:?}") };
        assert_eq!((fresh.as_slice(), progress.position), ([0].as_slice(), date()));
    }
}
