//! Whether the records that Coralogix accepted had a timestamp that it takes when they arrived.
//!
//! A timestamp is checked before it is sent, with the time received before. If a virtual machine is
//! paused in between, the batch arrives with timestamps that are too old, and Coralogix drops those
//! records with a 200. So it does with timestamps far ahead, by clocks that agree and are wrong. The
//! `Date` of its answer shows that.
//!
//! Promises: a batch that was too old or too far ahead by that `Date` is in doubt, not delivered
//! (keeps P1). One `Date` alone does not decide: Coralogix is asked a second time, with an empty
//! array, which is needed only after a jump of its clock or of ours (P6). Never: sends a batch again.

use crate::answer;
use crate::coralogix::body;
use crate::edge::Edge;
use crate::limits;
use crate::queue::disk::Disk;
use crate::record::{SinkVerdict, TrialKey};
use crate::time::Stamp;

use super::Worker;

impl<E: Edge, D: Disk> Worker<E, D> {
    /// The verdict on an accepted batch. `stamps`: its earliest and its latest timestamp; `date`:
    /// the answer's `Date`.
    pub(super) fn arrived(
        &mut self,
        remark: Option<String>,
        stamps: Option<(Stamp, Stamp)>,
        date: Option<Stamp>,
    ) -> SinkVerdict {
        let dropped = |date: Stamp| {
            let (first, last) = stamps?;
            [(first, "earliest"), (last, "latest")]
                .into_iter()
                .find(|(stamp, _)| body::is_dropped(*stamp, date))
        };
        let Some((date, (stamp, which))) = date.and_then(|date| Some((date, dropped(date)?)))
        else {
            return SinkVerdict::Accepted { remark };
        };
        let again = self.edge.try_key(TrialKey::Own).ok().as_ref().and_then(answer::date);
        if again.is_some_and(|date| !body::is_dropped(stamp, date)) {
            return SinkVerdict::Accepted { remark };
        }
        let limit = match stamp < date {
            true => format!("more than {} h old", limits::STAMP_DROPPED_AGE_HOURS),
            false => format!("more than {} h ahead", limits::STAMP_DROPPED_AHEAD_HOURS),
        };
        let words = format!(
            "by its Date, {}, the {which} timestamp in the batch, {}, was {limit} on arrival, and \
             such records are dropped",
            date.to_the_second(),
            stamp.to_the_second(),
        );
        SinkVerdict::InDoubt { words, count: None }
    }
}
