//! What a page that failed means for its stream, and what lies behind a row that always fails.
//!
//! Promises: what may have failed for its size is asked for smaller; a row is passed over only as
//! `beyond` says, and with a gap (keeps P1). Never: ends a lane's waits sooner than its backoff, but to
//! look behind a row.

use crate::record::{GapReason, Progress, SourceTrouble};
use crate::time::{Due, Mono, Span};

use super::Why;
use super::beyond::{Rows, Then as Step};
use super::lane::Backoff;
use super::source::{Keep, Missed, PageFacts, Pending, Stream, Then};
use super::source_clock::Present;

/// What a question that failed was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedFor {
    Page,
    /// Something that is no smaller whatever was learned.
    Fact,
}

impl Stream {
    /// What is to be stored of rows that were asked for near one that fails alone.
    pub(super) fn rows_beside(
        &mut self,
        stream: usize,
        progress: Progress,
        asked: Rows,
        page: &PageFacts,
        (took, present): (Span, Present),
    ) -> Pending {
        let mut fresh = self.known.fresh(&page.keys, asked.from);
        let allowed = page.keys.iter().map(|key| key.stamp).filter(|stamp| present.allows(*stamp));
        let date = match present {
            // The latest record is the best clock there is.
            Present::Untold => allowed.max(),
            told => told.earliest().map(|now| now - took),
        };
        // What is settled hides no record that becomes visible later.
        let settled = date.map(|date| date - self.plan.overlap);
        let then = self.beyond.came(&page.keys, !fresh.is_empty(), settled);
        if then == Step::Look {
            fresh.clear();
        }
        let (after, missed) = match then {
            Step::Step { from, gap, unread } => {
                let (reason, gap) = (GapReason::Unfetchable, gap.min(from));
                let missed = Missed { from: gap, to: from, reason, unread };
                let from = from.max(progress.from);
                (Progress { position: progress.position.max(from), from }, Some(missed))
            }
            _ => (progress, None),
        };
        let keep = Keep { missed, ..self.keep(stream, &page.keys, fresh, after) };
        let read = (page.keys.len(), Span::ZERO);
        Pending { keep, then: Then::Beside(then), read, date: present.earliest() }
    }

    /// They are stored.
    pub(super) fn stored_beside(&mut self, now: Mono, then: Step, backoff: &mut Backoff) {
        let (why, text) = (self.lane.why, self.lane.detail.clone());
        match then {
            Step::Step { .. } => {
                self.beyond.stepped(now);
                self.rows.recover();
                self.walk = None;
                self.lane.succeed(now, Due::At(now), Why::Working);
            }
            Step::Look | Step::Soon => self.lane.try_otherwise(now, backoff.min, why, text),
            Step::Later => {
                let wait = backoff.after(self.lane.failures, None);
                self.lane.fail(now, wait, why, text);
            }
        }
    }

    /// What may have failed for its size is asked for smaller, and what stands around one row that
    /// fails alone is asked for. Answers whether something else is asked for soon.
    fn shrink(&mut self, now: Mono, trouble: &SourceTrouble, backoff: &Backoff) -> bool {
        if self.beyond.asks().is_some() {
            return self.beyond.failed(trouble);
        }
        if !trouble.may_be_of_size() {
            return false;
        }
        let is_single = self.rows.now() == 1;
        self.rows.failed();
        // Where the order was not kept, nobody knows what was seen before the row.
        let walk = self.walk.as_ref().filter(|walk| is_single && !walk.disordered);
        let Some(walk) = walk else { return false };
        self.beyond.failed_alone(now, walk.next_row(), trouble, backoff.max)
    }

    /// A cursor that is refused is given up at once: the walk goes on by time.
    fn refused_query(&mut self, text: String, backoff: &mut Backoff) -> (Span, Why, String) {
        let Some(walk) = self.walk.take().filter(|walk| walk.cursor.is_some()) else {
            return (backoff.long(), Why::QueryRefused, text);
        };
        self.walk = walk.after_refused_cursor();
        if self.walk.is_none() {
            self.flaw(Why::CursorsRefused, text.clone());
        }
        let is_stuck = matches!(self.condition, Some((Why::CursorsRefused, _)));
        let why = if is_stuck { Why::CursorsRefused } else { Why::BrokenAnswer };
        (backoff.after(self.lane.failures, None), why, text)
    }

    /// What a failed fetch means for this stream. Doubts about the token are the tenant's.
    pub fn fail(
        &mut self,
        now: Mono,
        asked_for: AskedFor,
        trouble: SourceTrouble,
        backoff: &mut Backoff,
    ) {
        let failures = self.lane.failures;
        let asked = self.rows.now();
        let is_by_range = self.beyond.asks().is_some();
        let is_page = asked_for == AskedFor::Page;
        let is_other_next = is_page && self.shrink(now, &trouble, backoff);
        let (wait, why, mut detail) = match trouble {
            SourceTrouble::Busy { retry_after } => {
                let told = retry_after.map_or_else(String::new, |s| format!("Retry-After {s}"));
                self.lane.heed(now, retry_after);
                (backoff.after(failures, retry_after), Why::Busy, told)
            }
            SourceTrouble::Unreachable(net) => {
                (backoff.after(failures, None), Why::of(&net), net.to_string())
            }
            SourceTrouble::BrokenAnswer(text) | SourceTrouble::BrokenPage { why: text, .. } => {
                (backoff.after(failures, None), Why::BrokenAnswer, text)
            }
            SourceTrouble::TooLong(_) => {
                let text = "the page is longer than allowed".to_owned();
                (backoff.after(failures, None), Why::BrokenAnswer, text)
            }
            SourceTrouble::QueryRefused(text) if is_by_range => {
                (backoff.after(failures, None), Why::QueryRefused, text)
            }
            SourceTrouble::QueryRefused(text) => self.refused_query(text, backoff),
            SourceTrouble::Misdirected(text) => (backoff.long(), Why::Misdirected, text),
            SourceTrouble::Forbidden(refusal) => {
                let why = Why::of_refusal(&refusal);
                let text = match why {
                    Why::PermissionMissing => {
                        format!("grant \"{}\"; {}", self.plan.kind.permission(), refusal.words)
                    }
                    _ => refusal.words,
                };
                (backoff.long(), why, text)
            }
            SourceTrouble::TokenDoubted(words) | SourceTrouble::TokenRefused(words) => {
                (backoff.long(), Why::TokenRefused, words)
            }
        };
        // The next request is another one, so that it may be made soon.
        let next = self.rows.now();
        if next < asked {
            detail.push_str(&format!("; {asked} rows were asked for, next {next}"));
            return self.lane.try_otherwise(now, wait.min(backoff.after(1, None)), why, detail);
        }
        if is_other_next {
            detail.push_str("; one row was requested; the rows around it are next");
            return self.lane.try_otherwise(now, wait.min(backoff.after(1, None)), why, detail);
        }
        self.lane.fail(now, wait, why, detail);
    }
}
