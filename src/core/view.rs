//! The state of the core as a value: for the log, the status file and the tests.
//!
//! Promises: a snapshot that can't change the core. Two snapshots differ exactly if something that
//! matters to a person has changed.

use crate::plain::count;
use crate::record::{Kind, Progress, QueueStatus};
use crate::time::{Due, Mono, SinkOff, Span, Stamp, Whose};

use super::source_clock::Dispute;
use super::throttle::Direction;
use super::{Core, Health, Lane, Mode, Reason, ReconcileSummary, Stream, Tenant};

#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub held: QueueStatus,
    pub tenants: Vec<TenantView>,
    pub streams: Vec<StreamView>,
    pub sink: LaneView,
    pub delivered: u64,
    pub remarks: u64,
    pub uptime: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LaneView {
    pub reason: Reason,
    /// How long the lane has had this reason.
    pub for_span: Span,
    /// How long until it is used again; `None` if something else has to happen first.
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
    /// The time by which the token's expiry is judged.
    pub confirmed_now: Option<Stamp>,
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

/// The results of comparing counts.
#[derive(Clone, Debug, PartialEq)]
pub struct ReconcileView {
    pub on: bool,
    /// Whether a round is in progress, so that the numbers still change.
    pub in_round: bool,
    /// Why its requests have failed for so long that it compares nothing.
    pub failing: Option<String>,
    pub summary: ReconcileSummary,
}

impl View {
    /// The worst health of all lanes.
    pub fn health(&self) -> Health {
        let tenants = self.tenants.iter().map(|tenant| tenant.lane.reason.health());
        let streams = self.streams.iter().map(|stream| stream.lane.reason.health());
        tenants.chain(streams).chain([self.sink.reason.health()]).max().unwrap_or(Health::Healthy)
    }
}

impl TenantView {
    /// Whole days until the token expires, negative after that; `None` while no time is confirmed.
    pub fn token_days_left(&self) -> Option<i64> {
        const DAY_US: i64 = 86_400_000_000;
        let (end, now) = self.token_end.zip(self.confirmed_now)?;
        Some(end.0.saturating_sub(now.0).div_euclid(DAY_US))
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
            confirmed_now: tenant.clock.confirmed(now, self.clocks),
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
                failing: stream.reconcile.failing(),
                summary: stream.reconcile.summary.clone(),
            },
        });
        View {
            held: self.held,
            tenants: tenants.collect(),
            streams: streams.collect(),
            sink: self.sink_lane(now),
            delivered: self.sink.delivered,
            remarks: self.sink.remarks,
            uptime: now.since(self.started),
        }
    }

    fn sink_lane(&self, now: Mono) -> LaneView {
        let idle = self.held.records == 0 && self.sink.lane.failures == 0;
        let lane = LaneView::of(&self.sink.lane, now).held_up(&self.delivery, now);
        let lane = if idle { LaneView { reason: Reason::NothingToSend, ..lane } } else { lane };
        match self.sink_off {
            Some(SinkOff { by, is_ahead, whose }) if lane.reason.health() == Health::Healthy => {
                let way = if is_ahead { "ahead of" } else { "behind" };
                let other = match whose {
                    Whose::Machine => "this machine's",
                    Whose::Tenant => "SentinelOne's",
                    Whose::Both => "this machine's and SentinelOne's",
                };
                let detail = format!("it is {by} {way} {other}; records go without timestamp");
                // No request can change this.
                LaneView { reason: Reason::ClocksDisagree, detail, next_in: None, ..lane }
            }
            _ => match &self.left_behind {
                Some(left) if lane.reason.health() == Health::Healthy => {
                    let (reason, detail) = (Reason::QueueLeftBehind, left.clone());
                    LaneView { reason, detail, next_in: None, ..lane }
                }
                _ => lane,
            },
        }
    }

    /// Whether only the tenant's own clock supports the positions of its streams.
    fn is_time_unconfirmed(&self, tenant: usize, now: Mono) -> bool {
        let mut streams = self.streams.iter().filter(|stream| stream.plan.tenant == tenant);
        streams.any(|stream| stream.progress.is_some() && self.is_unconfirmed(stream, now))
    }

    fn tenant_lane(&self, at: usize, tenant: &Tenant, now: Mono) -> LaneView {
        let lane = LaneView::of(&tenant.lane, now);
        match tenant.clock.dispute() {
            Some(Dispute { by, is_ahead, with_sink })
                if lane.reason.health() == Health::Healthy =>
            {
                let way = if is_ahead { "ahead of" } else { "behind" };
                let other = if with_sink { "Coralogix'" } else { "this machine's" };
                let detail = format!("it is {by} {way} {other}");
                LaneView { reason: Reason::ClocksDisagree, detail, ..lane }
            }
            None if lane.reason.health() == Health::Healthy
                && self.is_time_unconfirmed(at, now) =>
            {
                LaneView { reason: Reason::TimeUnconfirmed, ..lane }
            }
            _ => lane,
        }
    }

    fn stream_lane(&self, stream: &Stream, now: Mono) -> LaneView {
        let lane = LaneView::of(&stream.lane, now);
        let reason = self.stream_reason(stream);
        if stream.hold.is_some() {
            // No request can change this.
            return LaneView { reason, next_in: None, ..lane };
        }
        if reason.health() != Health::Healthy {
            return LaneView { reason, ..lane };
        }
        match self.stream_condition(stream, now) {
            Some((reason, detail)) => LaneView { reason, detail, ..lane },
            None => LaneView { reason, ..lane }.held_up(&self.polling, now),
        }
    }

    /// Why a stream waits: its tenant's token, the space of the queue, or its own lane.
    fn stream_reason(&self, stream: &Stream) -> Reason {
        use crate::record::Room;
        let tenant = &self.tenants[stream.plan.tenant].lane;
        match self.held.room {
            _ if stream.hold.is_some() => Reason::TenantChanged,
            _ if tenant.failures > 0 => tenant.reason,
            Room::QueueFull => Reason::QueueFull,
            Room::DiskLow => Reason::DiskLow,
            Room::Free => stream.lane.reason,
        }
    }

    /// Why it is doubtful that a stream sees everything, although it is polled.
    fn stream_condition(&self, stream: &Stream, now: Mono) -> Option<(Reason, String)> {
        if self.start_is_ahead(stream, now) {
            return Some((Reason::StartAhead, String::new()));
        }
        if let Some(by) = self.position_ahead(stream, now) {
            return Some((Reason::PositionAhead, format!("by {by}")));
        }
        if stream.called_ahead.is_some() {
            return Some((
                Reason::PositionAhead,
                "until the time passed it; records of that time may be missing".to_owned(),
            ));
        }
        let is_erratic = self.tenants[stream.plan.tenant].clock.is_erratic();
        if (self.plan.mode == Mode::Once || is_erratic) && self.is_doubted(stream, now) {
            return Some((Reason::PositionAhead, "by one of the available clocks".to_owned()));
        }
        stream.condition.clone().or_else(|| {
            let more = stream.counts_more();
            (more > 0).then(|| (Reason::CountsMore, format!("{} more", count(more, "record"))))
        })
    }
}

impl LaneView {
    /// A healthy lane that waits longer for its window or its rate limit than for anything else.
    fn held_up(self, direction: &Direction, now: Mono) -> LaneView {
        let Some((until, reason)) = direction.wait(now) else { return self };
        let wait = until.since(now);
        if self.reason.health() != Health::Healthy || self.next_in.is_some_and(|next| next >= wait)
        {
            return self;
        }
        let for_span = match reason {
            Reason::Window => now.since(direction.closed_since()),
            _ => self.for_span,
        };
        LaneView { reason, for_span, next_in: Some(wait), ..self }
    }

    fn of(lane: &Lane, now: Mono) -> LaneView {
        LaneView {
            reason: lane.reason,
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

#[cfg(test)]
#[path = "tests/view.rs"]
mod tests;
