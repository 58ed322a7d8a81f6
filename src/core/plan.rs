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

    /// How many ids of this stream.
    pub fn tally_ids_of(&self, stream: &StreamPlan) -> usize {
        if stream.reconcile > Span::ZERO { self.tally_ids_max() } else { 0 }
    }

    pub(super) fn check(&self) {
        assert!(!self.streams.is_empty(), "a plan has a stream");
        assert!(self.streams.iter().all(|stream| stream.tenant < self.tenants));
        assert!(self.heartbeat.is_none_or(|every| every > Span::ZERO));
        assert!(self.retry_min > Span::ZERO && self.retry_min <= self.retry_max);
        assert!(self.streams.iter().all(|stream| stream.poll_interval > Span::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(reconcile: &[Span]) -> Plan {
        let stream = |reconcile: &Span| StreamPlan {
            tenant: 0,
            kind: Kind::Threats,
            poll_interval: Span::minutes(1),
            start: Start::Now,
            overlap: Span::minutes(1),
            reconcile: *reconcile,
        };
        Plan {
            tenants: 1,
            streams: reconcile.iter().map(stream).collect(),
            retry_min: Span::seconds(1),
            retry_max: Span::minutes(1),
            mode: Mode::Daemon,
            write: WriteMode::Always,
            heartbeat: None,
            bounds: Bounds::default(),
            tally_ids: None,
        }
    }

    #[test]
    fn the_ids_kept_for_reconciliation_are_shared_by_the_streams_that_have_it() {
        let (on, off) = (Span::hours(1), Span::ZERO);
        for (streams, ids) in [
            (vec![on, on, on, off], limits::TALLY_IDS_MAX / 3),
            (vec![on; 5], limits::TALLY_IDS_MAX / 5),
            (vec![on, off], limits::TALLY_IDS_OF_A_STREAM_MAX),
            (vec![off], limits::TALLY_IDS_OF_A_STREAM_MAX),
            (vec![on; 500], limits::TALLY_IDS_OF_A_STREAM_MIN),
        ] {
            assert_eq!(plan(&streams).tally_ids_max(), ids, "{} streams", streams.len());
            let set = Plan { tally_ids: Some(7), ..plan(&streams) };
            assert_eq!(set.tally_ids_max(), 7);
        }
    }

    #[test]
    fn a_plan_out_of_range_makes_no_core() {
        use crate::core::Core;
        use crate::record::{Learned, Opened, QueueStatus, StreamStatus};
        let made = |plan: Plan| {
            let streams = vec![StreamStatus::default(); plan.streams.len()];
            let (held, learned) = (QueueStatus::default(), Learned::default());
            let opened = Opened { held, streams, learned, unsettled: 0 };
            let new = || Core::new(plan, 7, crate::time::Mono(1_000_000), opened);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(new)).is_ok()
        };
        let good = plan(&[Span::ZERO]);
        assert!(made(good.clone()));
        assert!(!made(plan(&[])));
        assert!(!made(Plan { tenants: 0, ..good.clone() }));
        assert!(!made(Plan { heartbeat: Some(Span::ZERO), ..good.clone() }));
        assert!(!made(Plan { retry_min: Span::ZERO, ..good.clone() }));
        assert!(!made(Plan { retry_min: Span::hours(1), ..good }));
    }
}
