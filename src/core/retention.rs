//! Whether SentinelOne still has what a stream has not read yet.
//!
//! ```text
//!   last walk ... deleted by age ...|oldest record .................. now
//!   ^from                            ^the first row of the page
//!   '-------- a gap: it may have held records --------'
//! ```
//!
//! SentinelOne deletes by age. After a long time without a walk, the next one may begin before the
//! oldest record that still exists, and the answer does not show that. So when a walk begins far in
//! the past, and its first row is not one that was read before, SentinelOne is asked for any record
//! created no later than what was read last: one such record shows that nothing after it was
//! deleted for its age. A stream without any record gives no reason to ask. Promises: a range that
//! may have lost records is noted, in the same write that moves the stream past it (keeps P1). The
//! answer is a claim: only a record that is in fact older counts, and a page without a record but
//! with a cursor is followed. Never: says that records were lost, because that can't be known.

use crate::limits;
use crate::record::{Cursor, GapReason, Progress, SourceTrouble, Unread, Way};
use crate::time::{Due, Mono, Span, Stamp};

use super::blame::Blame;
use super::failing::AskedFor;
use super::source::FoundBy;
use super::{Action, Core, Missed, Mode, Reason, StorePage, Tick};

/// SentinelOne's answer to the request for any record from before a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Older {
    /// An older record came.
    There,
    /// No record came that is known to be older. `outside`: a younger one came, so the filter was
    /// ignored.
    None { outside: bool },
    /// No record came, and there is another page.
    Behind(Cursor),
}

#[derive(Clone, Debug)]
pub struct Retention {
    /// SentinelOne's time when a walk of this process last ended.
    walked: Option<Stamp>,
    /// Where the walk in question begins, and the stamp of its first row.
    asked: Option<(Stamp, Stamp)>,
    /// The requested record has to be older than this; and the number of pages without a record so
    /// far.
    than: Stamp,
    empty_pages: u32,
    /// The beginning of the walk for which no further question is needed.
    settled: Option<Stamp>,
    /// How the requested record failed, each time right after a page that came.
    blame: Blame<()>,
}

impl Default for Retention {
    fn default() -> Retention {
        let (walked, asked, settled) = (None, None, None);
        let (than, empty_pages, blame) = (Stamp::MIN, 0, Blame::default());
        Retention { walked, asked, than, empty_pages, settled, blame }
    }
}

impl Retention {
    /// A walk from `from` got `first` at `date`; a record created before `than` would answer the
    /// question. Returns whether there is a question.
    pub fn is_in_question(&mut self, from: Stamp, first: Stamp, date: Stamp, than: Stamp) -> bool {
        let behind = date.since(self.walked.map_or(from, |walked| walked.max(from)));
        let is_in_question = behind > Span::hours(limits::RETENTION_DOUBT_HOURS)
            && first > from
            && first != Stamp::UNREADABLE
            && self.settled != Some(from);
        if is_in_question {
            self.asked = Some((from, first));
            (self.than, self.empty_pages) = (than, 0);
        }
        is_in_question
    }

    /// The requested record did not come. Returns whether it is to blame for that. A run with
    /// `--once` does not live for as long as the blame takes, and the next one would begin anew.
    fn failed(&mut self, now: Mono, longest_wait: Span, mode: Mode) -> bool {
        let is_to_blame = self.blame.failed(now, (), Way::Failed, longest_wait, 0);
        let tries = self.blame.lone().map_or(0, |lone| lone.tries);
        is_to_blame || mode == Mode::Once && tries >= limits::ONCE_QUESTION_FAILURES_MAX
    }

    /// Whether another page is requested after one without a record.
    fn follows(&mut self) -> bool {
        self.empty_pages += 1;
        self.empty_pages < limits::EMPTY_PAGES_MAX
    }

    pub fn walk_ended(&mut self, date: Option<Stamp>) {
        self.walked = date.or(self.walked);
    }

    /// The question is answered; returns the range that may have lost records, unless SentinelOne
    /// still has older ones.
    fn answered(&mut self, has_older: bool) -> Option<(Stamp, Stamp)> {
        let (from, first) = self.asked.take()?;
        self.settled = Some(from);
        self.blame.acquit();
        (!has_older).then_some((from, first))
    }
}

impl Core {
    /// Whether the requested record is one that can't be returned.
    fn is_older_to_blame(&mut self, stream: usize, now: Mono, trouble: &SourceTrouble) -> bool {
        let (longest_wait, mode) = (self.backoff.max, self.plan.mode);
        let may_be_of_record = trouble.may_be_of_size()
            || trouble.words_of_between().is_some()
            || matches!(trouble, SourceTrouble::Busy { .. });
        may_be_of_record && self.streams[stream].retention.failed(now, longest_wait, mode)
    }

    pub(super) fn older(
        &mut self,
        tick: &Tick,
        stream: usize,
        result: Result<Older, SourceTrouble>,
    ) -> Option<Action> {
        let now = tick.now;
        let has_older = match result {
            Ok(Older::Behind(cursor)) if self.streams[stream].retention.follows() => {
                let than = self.streams[stream].retention.than;
                if tick.stop {
                    return None;
                }
                return Some(Action::Older { stream, than, cursor: Some(cursor) });
            }
            Ok(Older::None { outside: true }) => {
                self.streams[stream].ignores_filter("a record that is no older than requested");
                false
            }
            Ok(Older::None { outside: false } | Older::Behind(_)) => false,
            Ok(Older::There) => true,
            // The next answer would be the same, and holding the stream up is worse than a gap in
            // which nothing may be missing.
            Err(SourceTrouble::QueryRefused(_) | SourceTrouble::TooLong(_)) => false,
            // The same if the one requested record is one that can't be returned.
            Err(trouble) if self.is_older_to_blame(stream, now, &trouble) => {
                if let SourceTrouble::Busy { retry_after, .. } = trouble {
                    let until = now + self.backoff.after(1, retry_after);
                    let tenant = self.streams[stream].plan.tenant;
                    self.rest_tenant(now, tenant, Due::At(until), until);
                }
                false
            }
            Err(trouble) => {
                self.fetch_failed(now, stream, AskedFor::Fact, trouble);
                return None;
            }
        };
        let state = &mut self.streams[stream];
        let Some((from, to)) = state.retention.answered(has_older) else {
            state.lane.rest(now, Due::At(now.max(state.lane.not_before)), Reason::Working);
            return None;
        };
        let progress = Progress { from: to, ..state.progress? };
        let (reason, unread) = (GapReason::Retention, Unread::default());
        let missed = Some(Missed { from, to, reason, unread, found_by: FoundBy::Walk });
        let keep =
            StorePage { compared: None, missed, ..state.keep(stream, &[], vec![], progress) };
        self.pending = Some(state.begin(keep.clone()));
        Some(Action::Store(keep))
    }
}

#[cfg(test)]
#[path = "tests/retention.rs"]
mod tests;
