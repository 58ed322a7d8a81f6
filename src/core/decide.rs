//! What to do next when nothing follows from the last event: whose turn it is, or how long to sleep.
//!
//! Promises: due lanes take turns; no lane is used before its time (keeps P6); with no room nothing
//! is fetched (keeps P4); a sleep ends with the first thing that may be done.

use crate::limits;
use crate::record::Room;
use crate::time::{Due, Mono, Span};

use super::{Action, Core, End, Keep, Lane, Mode, Mood, Tick, Token, Why};

/// A lane by its place in the round.
#[derive(Clone, Copy)]
enum LaneId {
    Tenant(usize),
    Stream(usize),
    Sink,
}

impl Core {
    pub(super) fn decide(&mut self, tick: &Tick) -> Action {
        if tick.stop {
            return Action::Exit(End::Done);
        }
        if let Some(end) = self.once_ended() {
            return Action::Exit(end);
        }
        let now = tick.now;
        if self.held.room != Room::Free && self.room_due <= now {
            return Action::Measure;
        }
        let lanes = self.tenants.len() + self.streams.len() + 1;
        for step in 0..lanes {
            let at = (self.turn + step) % lanes;
            if let Some(action) = self.use_lane(self.lane_at(at), now) {
                self.turn = (at + 1) % lanes;
                return action;
            }
        }
        let (until, why) = self.next_due(now);
        assert!(until > now, "a sleep that is already over would spin: {why:?}");
        Action::Sleep { until, why }
    }

    fn lane_at(&self, at: usize) -> LaneId {
        let tenants = self.tenants.len();
        match at {
            _ if at < tenants => LaneId::Tenant(at),
            _ if at < tenants + self.streams.len() => LaneId::Stream(at - tenants),
            _ => LaneId::Sink,
        }
    }

    /// The lane's action if it is due and there is something to do.
    fn use_lane(&mut self, lane: LaneId, now: Mono) -> Option<Action> {
        match lane {
            LaneId::Tenant(tenant) => self.use_tenant(tenant, now),
            LaneId::Stream(stream) => self.use_stream(stream, now),
            LaneId::Sink => {
                let can = self.held.records > 0
                    && self.sink.lane.due.is_over(now)
                    && !self.gave_up(&self.sink.lane);
                can.then(|| Action::Send(self.sink.take()))
            }
        }
    }

    fn use_tenant(&self, tenant: usize, now: Mono) -> Option<Action> {
        let state = &self.tenants[tenant];
        if !state.lane.due.is_over(now) || self.gave_up(&state.lane) {
            return None;
        }
        if self.tenant_is_asked(tenant, now) {
            return Some(Action::Info { tenant });
        }
        state.token_end_due.is_over(now).then_some(Action::TokenEnd { tenant })
    }

    /// Whether `/system/info` has to be asked before the tenant's streams can go on.
    fn tenant_is_asked(&self, tenant: usize, now: Mono) -> bool {
        let state = &self.tenants[tenant];
        let mut streams = self.streams.iter().filter(|stream| stream.plan.tenant == tenant);
        state.token != Token::Good
            || streams.any(|stream| {
                stream.progress.is_none() && stream.first_progress(state.now(now)).is_none()
            })
    }

    /// Whether a stream can't begin before SentinelOne's time is known.
    pub(super) fn tenant_needs_clock(&self, tenant: usize) -> bool {
        let mut streams = self.streams.iter().filter(|stream| stream.plan.tenant == tenant);
        streams.any(|stream| stream.progress.is_none() && stream.first_progress(None).is_none())
    }

    fn use_stream(&mut self, stream: usize, now: Mono) -> Option<Action> {
        if self.stream_is_blocked(stream, now) || !self.streams[stream].lane.due.is_over(now) {
            return None;
        }
        if self.streams[stream].progress.is_none() {
            let source_now = self.tenants[self.streams[stream].plan.tenant].now(now);
            let progress = self.streams[stream].first_progress(source_now)?;
            // Where a stream begins is stored before its first page, so that a box that stays
            // off for days goes on from here, not from `start` before it came back.
            let keep = Keep { stream, fresh: vec![], progress, known: vec![] };
            let first = self.streams[stream].begin(keep.clone());
            self.pending = Some(first);
            return Some(Action::Store(keep));
        }
        let fetch = self.streams[stream].fetch(stream);
        Some(Action::Fetch(fetch))
    }

    /// Whether something beside its own lane keeps a stream from being fetched.
    fn stream_is_blocked(&self, stream: usize, now: Mono) -> bool {
        let stream = &self.streams[stream];
        let tenant = stream.plan.tenant;
        self.held.room != Room::Free
            || self.tenants[tenant].token != Token::Good
            || (stream.progress.is_none() && self.tenant_is_asked(tenant, now))
            || (self.plan.mode == Mode::Once && stream.caught_up)
            || self.gave_up(&stream.lane)
    }

    /// When the next lane becomes due, and what it waits for.
    fn next_due(&self, now: Mono) -> (Mono, Why) {
        let mut next = (now + Span::seconds(limits::SLEEP_SECONDS_MAX), Why::NothingToSend);
        let mut sooner = |due: Due, why: Why| {
            if let Due::At(at) = due
                && at < next.0
            {
                next = (at, why);
            }
        };
        for (tenant, state) in self.tenants.iter().enumerate() {
            if self.gave_up(&state.lane) {
                continue;
            }
            if self.tenant_is_asked(tenant, now) {
                sooner(state.lane.due, state.lane.why);
            } else if let (Due::At(lane), Due::At(end)) = (state.lane.due, state.token_end_due) {
                sooner(Due::At(lane.max(end)), Why::PollInterval);
            }
        }
        for (at, stream) in self.streams.iter().enumerate() {
            if !self.stream_is_blocked(at, now) {
                sooner(stream.lane.due, stream.lane.why);
            }
        }
        if self.held.records > 0 && !self.gave_up(&self.sink.lane) {
            sooner(self.sink.lane.due, self.sink.lane.why);
        }
        match self.held.room {
            Room::Free => {}
            Room::QueueFull => sooner(Due::At(self.room_due), Why::QueueFull),
            Room::DiskLow => sooner(Due::At(self.room_due), Why::DiskLow),
        }
        next
    }

    /// In `--once` a lane is given up after a few failures, at once when a person is needed.
    fn gave_up(&self, lane: &Lane) -> bool {
        let long_wait = match lane.due {
            Due::At(due) => due.since(lane.since) > Span::minutes(1),
            Due::Never => true,
        };
        // Who was asked for patience together with a neighbour did not fail itself.
        self.plan.mode == Mode::Once
            && (lane.failures > 0 || lane.why == Why::Busy)
            && (lane.failures >= limits::ONCE_FAILURES_MAX
                || lane.why.mood() == Mood::Stuck
                || long_wait)
    }

    /// How `--once` ends, once nothing more can be done.
    fn once_ended(&self) -> Option<End> {
        if self.plan.mode == Mode::Daemon {
            return None;
        }
        if self.mended >= limits::ONCE_MENDS_MAX {
            return Some(End::TryLater);
        }
        let sink_over = self.held.records == 0 || self.gave_up(&self.sink.lane);
        let no_room = self.held.room != Room::Free
            && (self.room_checks > limits::ONCE_FAILURES_MAX || self.gave_up(&self.sink.lane));
        let streams_over = self.streams.iter().all(|stream| {
            let tenant = &self.tenants[stream.plan.tenant];
            stream.caught_up || no_room || self.gave_up(&stream.lane) || self.gave_up(&tenant.lane)
        });
        if !(sink_over && streams_over) {
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
        Some(match () {
            () if lanes.is_empty() => End::Done,
            () if lanes.iter().any(|lane| lane.why.is_refusal()) => End::Refused,
            () => End::TryLater,
        })
    }
}
