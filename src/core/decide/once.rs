//! When a run with `--once` gives up a lane.
//!
//! Promises: a few failures end the lane's part of the run; a failure that needs a person, or a
//! long wait, ends it at once; a failure that is known to be one row's does not, so that each run
//! gets further. Never: uses a lane.

use crate::limits;
use crate::time::{Due, Mono, Span};

use crate::core::{Core, Health, Lane, Mode, Reason, Stream};

impl Core {
    /// In `--once` a lane is given up after a few failures, and at once if a person is needed.
    pub(in crate::core) fn has_given_up(&self, lane: &Lane) -> bool {
        self.plan.mode == Mode::Once && gives_up(lane, limits::ONCE_FAILURES_MAX)
    }

    pub(in crate::core) fn has_given_up_stream(&self, stream: &Stream) -> bool {
        self.plan.mode == Mode::Once && gives_up(&stream.lane, stream.once_failures_max())
    }
}

impl Stream {
    /// After how many consecutive failures a lane is given up in a run with `--once`.
    pub(in crate::core) fn once_failures_max(&self) -> u32 {
        match self.beyond.is_getting_past() {
            true => limits::ONCE_FAILURES_BESIDE_MAX + self.beyond.expected_failures(),
            false => limits::ONCE_FAILURES_MAX,
        }
    }

    /// The surroundings of a bad row have to be examined in one run, because the next one would
    /// begin anew. So no wait is long, except one that was requested.
    pub(in crate::core) fn wait_briefly(&mut self, now: Mono, least: Span) {
        if self.beyond.is_getting_past() {
            let soon = now + Span::seconds(limits::ONCE_WAIT_BESIDE_SECONDS).max(least);
            self.lane.due = self.lane.due.min(Due::At(soon.max(self.lane.not_before)));
        }
    }
}

/// Whether a run with `--once` goes on without this lane.
pub(in crate::core) fn gives_up(lane: &Lane, failures_max: u32) -> bool {
    let long_wait = match lane.due {
        // The reason may be older than the last try.
        Due::At(due) => due.since(lane.since.max(lane.tried)) > Span::minutes(1),
        Due::Never => true,
    };
    // A lane that waits because another lane of its tenant was rate-limited did not fail itself.
    (lane.failures > 0 || lane.reason == Reason::Busy)
        && (lane.failures >= failures_max || lane.reason.health() == Health::Stuck || long_wait)
}
