//! A stream that stands still: what its polls need not carry again.
//!
//! A walk starts at the overlap before the position, for what becomes visible late. Once one has come to
//! its end after that time had passed for the position itself, by SentinelOne's own clock and another that
//! agrees, nothing can be missing before it: the next walks start at the position. Promises: only
//! what was stored counts, and only while the stream stands there; counts go up to where walks start
//! (keeps P1). Never: anything that is stored.

use super::source::Stream;
use super::walk::Walk;
use crate::limits;
use crate::record::Progress;
use crate::time::{Span, Stamp};

impl Stream {
    /// A walk has come to its end, and the stream stands there once its last page is stored.
    pub(super) fn walk_ends_at(&mut self, position: Stamp, walk: &Walk) {
        let is_final = !self.flawed && walk.is_final(position);
        self.quiet = is_final.then_some(position);
    }

    /// Where the next walk starts.
    pub(super) fn next_start(&self, progress: Progress) -> Stamp {
        self.quiet.filter(|at| *at == progress.position).unwrap_or(progress.from)
    }

    /// Up to where it is for counts to find what is late: no walk looks there. They end with a whole
    /// second, which for a stream that stands still is the one after its position.
    pub(super) fn settled(&self, progress: Progress) -> Stamp {
        match self.next_start(progress) {
            start if start > progress.from => {
                start + Span::seconds(limits::SOURCE_COARSENESS_SECONDS)
            }
            start => start,
        }
    }
}
