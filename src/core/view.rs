//! What the core thinks, as a value: for the log, the status file and the tests.
//!
//! Promises: a snapshot; nothing in it can change the core. Two snapshots differ exactly when
//! something a person cares about has changed.

use crate::record::{Held, Kind, Progress};
use crate::time::{Due, Mono, Span, Stamp};

use super::pace::Direction;
use super::source_clock::Dispute;
use super::{Core, Lane, Mode, Mood, Stream, Tale, Tenant, Why};

#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub held: Held,
    pub tenants: Vec<TenantView>,
    pub streams: Vec<StreamView>,
    pub sink: LaneView,
    pub delivered: u64,
    pub remarks: u64,
    pub uptime: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LaneView {
    pub why: Why,
    /// How long it has been so.
    pub for_span: Span,
    /// How long until it is used again; `None` while something else has to happen first.
    pub next_in: Option<Span>,
    pub failures: u32,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TenantView {
    pub lane: LaneView,
    pub token_end: Option<Stamp>,
    /// SentinelOne's own time now.
    pub source_now: Option<Stamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StreamView {
    pub tenant: usize,
    pub kind: Kind,
    pub lane: LaneView,
    pub progress: Option<Progress>,
    pub collected: u64,
    pub caught_up: bool,
    pub known: usize,
    pub reconcile: ReconcileView,
}

/// What came of comparing counts.
#[derive(Clone, Debug, PartialEq)]
pub struct ReconcileView {
    pub on: bool,
    /// Whether a round is under way, so that its numbers still move.
    pub in_round: bool,
    pub tale: Tale,
}

impl View {
    /// The worst mood of all lanes.
    pub fn mood(&self) -> Mood {
        let tenants = self.tenants.iter().map(|tenant| tenant.lane.why.mood());
        let streams = self.streams.iter().map(|stream| stream.lane.why.mood());
        tenants.chain(streams).chain([self.sink.why.mood()]).max().unwrap_or(Mood::Fine)
    }
}

impl TenantView {
    /// Whole days until the token ends, negative once it has; by SentinelOne's clock, else `wall`.
    pub fn token_days_left(&self, wall: Stamp) -> Option<i64> {
        const DAY_US: i64 = 86_400_000_000;
        let now = self.source_now.unwrap_or(wall);
        self.token_end.map(|end| end.0.saturating_sub(now.0).div_euclid(DAY_US))
    }
}

impl StreamView {
    /// How far the newest record collected is behind SentinelOne's clock.
    pub fn lag(&self, source_now: Option<Stamp>) -> Option<Span> {
        let position = self.progress.map(|progress| progress.position);
        position.zip(source_now).map(|(position, now)| now.since(position))
    }
}

impl Core {
    pub fn view(&self, now: Mono) -> View {
        let tenants = self.tenants.iter().enumerate().map(|(at, tenant)| TenantView {
            lane: self.tenant_lane(at, tenant, now),
            token_end: tenant.token_end,
            source_now: tenant.clock.shown(now),
        });
        let streams = self.streams.iter().enumerate().map(|(at, stream)| StreamView {
            tenant: stream.plan.tenant,
            kind: stream.kind(),
            lane: self.stream_lane(stream, now),
            progress: stream.progress,
            collected: stream.collected,
            caught_up: stream.caught_up,
            known: self.streams[at].known.count(),
            reconcile: ReconcileView {
                on: stream.reconcile.is_on(),
                in_round: stream.reconcile.in_round(),
                tale: stream.reconcile.tale.clone(),
            },
        });
        let idle = self.held.records == 0 && self.sink.lane.failures == 0;
        let sink = LaneView::of(&self.sink.lane, now).held_up(&self.delivery, now);
        View {
            held: self.held,
            tenants: tenants.collect(),
            streams: streams.collect(),
            sink: if idle { LaneView { why: Why::NothingToSend, ..sink } } else { sink },
            delivered: self.sink.delivered,
            remarks: self.sink.remarks,
            uptime: now.since(self.started),
        }
    }

    /// Whether nobody but the tenant says that its streams stand where they can.
    fn is_time_unconfirmed(&self, tenant: usize, now: Mono) -> bool {
        let mut streams = self.streams.iter().filter(|stream| stream.plan.tenant == tenant);
        streams.any(|stream| stream.progress.is_some() && self.is_unconfirmed(stream, now))
    }

    fn tenant_lane(&self, at: usize, tenant: &Tenant, now: Mono) -> LaneView {
        let lane = LaneView::of(&tenant.lane, now);
        match tenant.clock.dispute() {
            Some(Dispute { by, is_ahead, with_sink }) if lane.why.mood() == Mood::Fine => {
                let way = if is_ahead { "ahead of" } else { "behind" };
                let other = if with_sink { "Coralogix'" } else { "this machine's" };
                let detail = format!("it is {by} {way} {other}");
                LaneView { why: Why::ClocksDisagree, detail, ..lane }
            }
            None if lane.why.mood() == Mood::Fine && self.is_time_unconfirmed(at, now) => {
                LaneView { why: Why::TimeUnconfirmed, ..lane }
            }
            _ => lane,
        }
    }

    fn stream_lane(&self, stream: &Stream, now: Mono) -> LaneView {
        let lane = LaneView::of(&stream.lane, now);
        let why = self.stream_why(stream);
        if stream.hold.is_some() {
            // Nobody's hurry makes it try.
            return LaneView { why, next_in: None, ..lane };
        }
        if why.mood() != Mood::Fine {
            return LaneView { why, ..lane };
        }
        match self.stream_condition(stream, now) {
            Some((why, detail)) => LaneView { why, detail, ..lane },
            None => LaneView { why, ..lane }.held_up(&self.polling, now),
        }
    }

    /// What keeps a stream waiting: its tenant's token, the queue's room, or its own lane.
    fn stream_why(&self, stream: &Stream) -> Why {
        use crate::record::Room;
        let tenant = &self.tenants[stream.plan.tenant].lane;
        match self.held.room {
            _ if stream.hold.is_some() => Why::TenantChanged,
            _ if tenant.failures > 0 => tenant.why,
            Room::QueueFull => Why::QueueFull,
            Room::DiskLow => Why::DiskLow,
            Room::Free => stream.lane.why,
        }
    }

    /// What leaves it doubtful that a stream sees all there is, though it is polled.
    fn stream_condition(&self, stream: &Stream, now: Mono) -> Option<(Why, String)> {
        if self.start_is_ahead(stream, now) {
            return Some((Why::StartAhead, String::new()));
        }
        if let Some(by) = self.position_ahead(stream, now) {
            return Some((Why::PositionAhead, format!("by {by}")));
        }
        let is_erratic = self.tenants[stream.plan.tenant].clock.is_erratic();
        if (self.plan.mode == Mode::Once || is_erratic) && self.is_doubted(stream, now) {
            return Some((Why::PositionAhead, "by one of the available clocks".to_owned()));
        }
        stream.condition.clone()
    }
}

impl LaneView {
    /// A lane that is well and waits longer for its window or its pace than for anything else.
    fn held_up(self, direction: &Direction, now: Mono) -> LaneView {
        let Some((until, why)) = direction.wait(now) else { return self };
        let wait = until.since(now);
        if self.why.mood() != Mood::Fine || self.next_in.is_some_and(|next| next >= wait) {
            return self;
        }
        let for_span = match why {
            Why::Window => now.since(direction.closed_since()),
            _ => self.for_span,
        };
        LaneView { why, for_span, next_in: Some(wait), ..self }
    }

    fn of(lane: &Lane, now: Mono) -> LaneView {
        LaneView {
            why: lane.why,
            for_span: now.since(lane.since),
            next_in: match lane.due {
                Due::At(due) => Some(due.since(now)),
                Due::Never => None,
            },
            failures: lane.failures,
            detail: lane.detail.clone(),
        }
    }
}
