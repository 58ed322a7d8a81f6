//! A stream without new records: what its polls need not transfer again.
//!
//! A walk starts at the overlap before the position, for records that become visible late. Once a
//! walk has ended when that time had passed for the position itself, by SentinelOne's own clock and
//! another that agrees, nothing can be missing before the position: the next walks start there.
//! Promises: only what was stored counts, and only while the stream has that position; counts go up
//! to where walks start (keeps P1). A stream that stays quiet for long is counted beyond that, because
//! an empty list is a claim too (`Reconcile::closed`). Never: stores anything.

use super::source::Stream;
use super::walk::Walk;
use crate::limits;
use crate::record::Progress;
use crate::time::{Span, Stamp};

impl Stream {
    /// A walk has ended; the stream has this position once the walk's last page is stored.
    pub(super) fn walk_ends_at(&mut self, position: Stamp, walk: &Walk) {
        let is_final = !self.flawed && walk.is_final(position);
        self.quiet = is_final.then_some(position);
        let walked = walk.all_seen_before(self.plan.overlap);
        self.walked = walked.filter(|_| !self.flawed);
    }

    /// Where the next walk starts.
    pub(super) fn next_start(&self, progress: Progress) -> Stamp {
        self.quiet.filter(|at| *at == progress.position).unwrap_or(progress.from)
    }

    /// The time up to which counts have to find late records, because walks start after it. Counts
    /// end with a whole second, which for a stream without new records is the one after its
    /// position.
    pub(super) fn settled(&self, progress: Progress) -> Stamp {
        match self.next_start(progress) {
            start if start > progress.from => {
                start + Span::seconds(limits::SOURCE_COARSENESS_SECONDS)
            }
            start => start,
        }
    }
}
