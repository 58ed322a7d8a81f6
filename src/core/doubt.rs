//! Whether SentinelOne still has what a stream has not read yet.
//!
//! ```text
//!   last walk ... deleted by age ...|oldest record .................. now
//!   ^from                            ^the first row of the page
//!   '-------- a gap: it may have held records --------'
//! ```
//!
//! SentinelOne deletes by age. After a long silence a walk may begin before the oldest record there
//! is, and nothing in the answer says so. So when a walk begins far behind, and its first row is
//! not one that was read before, it is asked for anything created no later than what was
//! read last: one such record shows that nothing after it was deleted for its age. A stream without any record
//! is no reason for doubt. Promises: a range that may have lost records is noted, in the same
//! write that moves the stream past it (keeps P1). Never: claims that records were lost; nobody
//! knows.

use crate::limits;
use crate::record::{GapReason, Progress, SourceTrouble, Unread, Way};
use crate::time::{Due, Mono, Span, Stamp};

use super::blame::Blame;
use super::failing::AskedFor;
use super::{Action, Core, Keep, Missed, Tick, Why};

#[derive(Clone, Debug, Default)]
pub struct Doubt {
    /// SentinelOne's time when a walk of this process last came to its end.
    walked: Option<Stamp>,
    /// Where the walk in doubt begins, and its first row.
    raised: Option<(Stamp, Stamp)>,
    /// The walk's begin that is beyond doubt.
    settled: Option<Stamp>,
    /// How the one record that is asked for failed, each time right after a page that came.
    blame: Blame<()>,
}

impl Doubt {
    /// A walk from `from` got `first` at `date`.
    pub fn rises(&mut self, from: Stamp, first: Stamp, date: Stamp) -> bool {
        let behind = date.since(self.walked.map_or(from, |walked| walked.max(from)));
        let is_doubtful = behind > Span::hours(limits::RETENTION_DOUBT_HOURS)
            && first > from
            && first != Stamp::UNREADABLE
            && self.settled != Some(from);
        if is_doubtful {
            self.raised = Some((from, first));
        }
        is_doubtful
    }

    /// The record asked for did not come. Answers whether it is to blame for that.
    fn failed(&mut self, now: Mono, longest_wait: Span) -> bool {
        self.blame.failed(now, (), Way::Failed, longest_wait, 0)
    }

    pub fn walk_ended(&mut self, date: Option<Stamp>) {
        self.walked = date.or(self.walked);
    }

    /// The doubt is over; answers with the range that may have lost records, unless SentinelOne
    /// still has older ones.
    fn ends(&mut self, has_older: bool) -> Option<(Stamp, Stamp)> {
        let (from, first) = self.raised.take()?;
        self.settled = Some(from);
        self.blame.acquit();
        (!has_older).then_some((from, first))
    }
}

impl Core {
    pub(super) fn older(
        &mut self,
        tick: &Tick,
        stream: usize,
        result: Result<bool, SourceTrouble>,
    ) -> Option<Action> {
        let now = tick.now;
        let has_older = match result {
            Ok(has_older) => has_older,
            // It won't be answered another time either, and to hold the stream up for it is worse
            // than to note a gap that may be none.
            Err(SourceTrouble::QueryRefused(_) | SourceTrouble::TooLong(_)) => false,
            // Nor if the one record that is asked for is one that can't be given.
            Err(trouble)
                if trouble.may_be_of_size()
                    && self.streams[stream].doubt.failed(now, self.backoff.max) =>
            {
                false
            }
            Err(trouble) => {
                self.fetch_failed(now, stream, AskedFor::Fact, trouble);
                return None;
            }
        };
        let state = &mut self.streams[stream];
        let Some((from, to)) = state.doubt.ends(has_older) else {
            state.lane.rest(now, Due::At(now), Why::Working);
            return None;
        };
        let progress = Progress { from: to, ..state.progress? };
        let (reason, unread) = (GapReason::Retention, Unread::default());
        let missed = Some(Missed { from, to, reason, unread });
        let keep = Keep { compared: None, missed, ..state.keep(stream, &[], vec![], progress) };
        self.pending = Some(state.begin(keep.clone()));
        Some(Action::Store(keep))
    }
}
