//! Whether the records that Coralogix accepted were still young enough when they arrived.
//!
//! A timestamp is checked before it is sent, with the time received before. If a virtual machine is
//! paused in between, the batch arrives with timestamps that are too old, and Coralogix drops those
//! records with a 200. The `Date` of its answer shows that.
//!
//! Promises: a batch that was too old by that `Date` is in doubt, not delivered (keeps P1). One
//! `Date` alone does not decide: Coralogix is asked a second time, with an empty array, which is
//! needed only after a jump of its clock or of ours (P6). Never: sends a batch again.

use crate::answer;
use crate::coralogix::body;
use crate::edge::Edge;
use crate::limits;
use crate::queue::disk::Disk;
use crate::queue::index::Opener;
use crate::record::{SinkVerdict, TrialKey};
use crate::time::Stamp;

use super::Worker;

impl<E: Edge, D: Disk, O: Opener> Worker<E, D, O> {
    /// The verdict on an accepted batch. `oldest`: its earliest timestamp; `date`: the answer's
    /// `Date`.
    pub(super) fn arrived(
        &mut self,
        remark: Option<String>,
        oldest: Option<Stamp>,
        date: Option<Stamp>,
    ) -> SinkVerdict {
        let too_old = oldest.zip(date).filter(|(oldest, date)| body::is_dropped(*oldest, *date));
        let Some((oldest, date)) = too_old else { return SinkVerdict::Accepted { remark } };
        let again = self.edge.try_key(TrialKey::Own).ok().as_ref().and_then(answer::date);
        if again.is_some_and(|date| !body::is_dropped(oldest, date)) {
            return SinkVerdict::Accepted { remark };
        }
        let words = format!(
            "by its Date, {}, the earliest timestamp in the batch, {}, was more than {} h old on arrival, \
             and such records are dropped",
            date.to_the_second(),
            oldest.to_the_second(),
            limits::STAMP_DROPPED_AGE_HOURS
        );
        SinkVerdict::InDoubt { words, count: None }
    }
}
