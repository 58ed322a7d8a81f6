//! The part of the configuration that controls the core.
//!
//! Promises: a plan is complete and in range; the core asserts it once, when it is made.

use crate::limits;
use crate::record::{Kind, Start, WriteMode};
use crate::time::Span;
use crate::window::Bounds;

#[derive(Clone, Debug)]
pub struct Plan {
    pub tenants: usize,
    pub streams: Vec<StreamPlan>,
    pub retry_min: Span,
    pub retry_max: Span,
    pub mode: Mode,
    pub write: WriteMode,
    /// The interval of heartbeats; `None`: there are none.
    pub heartbeat: Option<Span>,
    pub bounds: Bounds,
    /// Ids of each stream that are kept for reconciliation; `None`: its share of the limit.
    pub tally_ids: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct StreamPlan {
    pub tenant: usize,
    pub kind: Kind,
    pub poll_interval: Span,
    pub start: Start,
    pub overlap: Span,
    /// The interval at which SentinelOne's count is compared with what was collected; zero: never.
    pub reconcile: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until a request to stop.
    Daemon,
    /// Until every stream has been walked to its end and the queue is empty, or a service cannot be used any more.
    Once,
}

impl Plan {
    /// How many ids of each stream the queue keeps for reconciliation.
    pub fn tally_ids_max(&self) -> usize {
        let streams = self.streams.iter().filter(|stream| stream.reconcile > Span::ZERO).count();
        let share = (limits::TALLY_IDS_MAX / streams.max(1))
            .clamp(limits::TALLY_IDS_OF_A_STREAM_MIN, limits::TALLY_IDS_OF_A_STREAM_MAX);
        self.tally_ids.unwrap_or(share)
    }

    pub(super) fn check(&self) {
        assert!(!self.streams.is_empty(), "a plan has a stream");
        assert!(self.streams.iter().all(|stream| stream.tenant < self.tenants));
        assert!(self.heartbeat.is_none_or(|every| every > Span::ZERO));
        assert!(self.retry_min > Span::ZERO && self.retry_min <= self.retry_max);
        assert!(self.streams.iter().all(|stream| stream.poll_interval > Span::ZERO));
    }
}
