//! What a failed page means for its stream, and for what comes after a row that always fails.
//!
//! Promises: a page that may have failed because of its size is requested smaller; a row is passed
//! over only as `beyond` decides, and with a gap (keeps P1). Never: shortens the wait of a lane
//! below its backoff, except to examine the surroundings of a row.

use crate::record::{GapReason, Progress, SourceTrouble};
use crate::time::{Due, Mono, Span};

use super::Reason;
use super::beyond::{Rows, Then as Step};
use super::consequence::{Consequence, Of};
use super::lane::Backoff;
use super::source::{FoundBy, Missed, PageFacts, Pending, StorePage, Stream, Then};
use super::source_clock::Present;
use super::twin::TakenFor;

/// The purpose of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedFor {
    Page,
    /// Something whose size does not depend on what was learned.
    Fact,
}

impl Stream {
    /// What is to be stored of rows that were requested near one that fails alone.
    pub(super) fn rows_beside(
        &mut self,
        stream: usize,
        progress: Progress,
        asked: Rows,
        page: &PageFacts,
        (took, present): (Span, Present),
    ) -> Pending {
        let mut fresh = self.known.fresh(&page.keys, asked.from);
        fresh.retain(|at| self.changed.is_new(&page.keys[*at as usize]));
        self.known.leave_unplaced(&page.keys, &mut fresh);
        let allowed = page.keys.iter().map(|key| key.stamp).filter(|stamp| present.allows(*stamp));
        let date = match present {
            // Without a time the newest record is the best clock.
            Present::Unknown => allowed.max(),
            present => present.earliest().map(|now| now - took),
        };
        // Before this no record becomes visible later.
        let settled = date.map(|date| date - self.plan.overlap);
        let then = self.beyond.came(&page.keys, !fresh.is_empty(), settled);
        match then {
            Step::Look => fresh.clear(),
            // The row that is passed over would be counted, and never read.
            Step::Step { .. } => self.changed.forget(),
            Step::Soon | Step::Later => self.changed.passed(&page.keys),
        }
        let (after, missed) = match then {
            Step::Step { from, gap, unread } => {
                let (reason, gap) = (GapReason::Unfetchable, gap.min(from));
                let found_by = FoundBy::Walk;
                let missed = Missed { from: gap, to: from, reason, unread, found_by };
                let from = from.max(progress.from);
                (Progress { position: progress.position.max(from), from }, Some(missed))
            }
            _ => (progress, None),
        };
        let keep = StorePage { missed, ..self.keep(stream, &page.keys, fresh, after) };
        Pending { keep, then: Then::Beside(then), read: None, date: present.earliest() }
    }

    /// The rows requested near a bad one are stored.
    pub(super) fn stored_beside(&mut self, now: Mono, then: Step, backoff: &mut Backoff) {
        let (reason, text) = (self.lane.reason, self.lane.detail.clone());
        if !self.beyond.is_getting_past() {
            self.twin.found_none();
        }
        match then {
            Step::Step { .. } => {
                self.beyond.stepped(now);
                self.rows.recover();
                self.walk = None;
                self.lane.succeed(now, Due::At(now), Reason::Working);
            }
            Step::Look | Step::Soon => self.lane.try_otherwise(now, backoff.min, reason, text),
            Step::Later => {
                let wait = backoff.after(self.lane.failures, None);
                self.lane.fail(now, wait, reason, text);
            }
        }
    }

    /// Makes the next page smaller if its size may be the reason, and requests the surroundings of
    /// a row that fails alone. `is_by_cursor`: so far only a cursor was rejected. Returns whether
    /// something else is requested soon.
    fn shrink(
        &mut self,
        now: Mono,
        trouble: &SourceTrouble,
        is_by_cursor: bool,
        backoff: &Backoff,
    ) -> bool {
        if self.beyond.asks().is_some() {
            return self.beyond.failed(trouble);
        }
        if !trouble.may_be_of_size() {
            let may_be_of_size = match trouble {
                SourceTrouble::QueryRefused(_) => self.may_be_too_many(),
                // Who asks for patience with the same page again and again may mean its size.
                SourceTrouble::Busy { .. } => self.lane.reason == Reason::Busy,
                _ => false,
            };
            if may_be_of_size {
                self.rows.failed();
            }
            return false;
        }
        let is_single = self.rows.now() == 1;
        self.rows.failed();
        // If the order was not kept, it is not known which rows come before this one.
        let walk = self.walk.as_ref().filter(|walk| is_single && !walk.disordered);
        let Some(walk) = walk else { return false };
        let place = (walk.next_row(), walk.ties());
        self.beyond.failed_alone(now, place, trouble, is_by_cursor, backoff.max)
    }

    /// Whether a rejection may be because of the number of rows: a console may have a lower limit.
    /// With a cursor and a number that was accepted before, the cursor is the more likely reason.
    /// If one row is rejected too, the query is the reason.
    fn may_be_too_many(&self) -> bool {
        !self.has_cursor() || self.rows.is_new(self.rows.now())
    }

    /// Whether the page is requested by a cursor.
    pub(super) fn is_by_cursor(&self) -> bool {
        self.walk.as_ref().is_some_and(|walk| walk.has_cursor())
    }

    /// Whether the page is requested by a cursor, or by its place.
    pub(super) fn has_cursor(&self) -> bool {
        self.walk.as_ref().is_some_and(|walk| walk.has_cursor() || walk.skip > 0)
    }

    /// A rejected cursor is given up at once: the walk goes on by time. The same holds for a page
    /// that was requested by its place.
    fn refused_query(&mut self, text: String, backoff: &mut Backoff) -> (Span, Reason, String) {
        if let Some(walk) = self.walk.take_if(|walk| walk.skip > 0) {
            self.takes_no_skip = true;
            self.walk = walk.without_skip();
            if self.walk.is_none() {
                self.flaw(Reason::CursorsMissing, text.clone());
            }
            let is_stuck = self.walk.is_none();
            let reason = if is_stuck { Reason::CursorsMissing } else { Reason::BrokenAnswer };
            return (backoff.after(self.lane.failures, None), reason, text);
        }
        let Some(walk) = self.walk.take().filter(|walk| walk.cursor.is_some()) else {
            return (backoff.long(), Reason::QueryRefused, text);
        };
        self.walk = walk.after_refused_cursor();
        if self.walk.is_none() {
            self.flaw(Reason::CursorsRefused, text.clone());
        }
        let is_stuck = matches!(self.condition, Some((Reason::CursorsRefused, _)));
        let reason = if is_stuck { Reason::CursorsRefused } else { Reason::BrokenAnswer };
        (backoff.after(self.lane.failures, None), reason, text)
    }

    /// What a failed fetch means for this stream. What it means for the token is handled by the
    /// tenant.
    pub fn fail(
        &mut self,
        now: Mono,
        asked_for: AskedFor,
        trouble: SourceTrouble,
        backoff: &mut Backoff,
    ) {
        let is_busy = matches!(trouble, SourceTrouble::Busy { .. });
        if let SourceTrouble::Busy { retry_after, .. } = trouble {
            self.lane.honor_retry_after(now, retry_after);
        }
        self.failed(now, asked_for, trouble, is_busy, backoff);
        // Whatever else follows: so much patience was asked for.
        self.lane.due = self.lane.due.max(Due::At(self.lane.not_before));
        // Once a row is to blame, what fails and what comes around it shows that.
        let is_open = is_busy && !self.beyond.is_getting_past();
        self.twin.waits_like(now, self.lane.due, is_open);
    }

    fn failed(
        &mut self,
        now: Mono,
        asked_for: AskedFor,
        trouble: SourceTrouble,
        is_busy: bool,
        backoff: &mut Backoff,
    ) {
        let is_twin = asked_for == AskedFor::Page && self.twin.is_asked();
        let is_page = asked_for == AskedFor::Page && !is_twin;
        let taken_for = match asked_for {
            AskedFor::Page => self.taken_for(trouble),
            AskedFor::Fact => TakenFor::As(trouble),
        };
        let (trouble, is_by_cursor) = match taken_for {
            TakenFor::As(trouble) => (trouble, false),
            TakenFor::OfPage { why, is_by_cursor } => {
                (SourceTrouble::BrokenAnswer(why), is_by_cursor)
            }
            TakenFor::Unknown(text) => return self.ask_twin(now, text, is_busy, backoff),
        };
        let asked = self.rows.now();
        let is_by_range = is_twin || self.beyond.asks().is_some();
        let is_other_next = is_page && self.shrink(now, &trouble, is_by_cursor, backoff);
        let (wait, reason, mut detail) = self.consequence(trouble, asked, is_by_range, backoff);
        // The next request is a different one, so it may be made soon, but not sooner than it was
        // asked for.
        let next = self.rows.now();
        if next < asked {
            detail.push_str(&format!("; {asked} rows were asked for, next {next}"));
            if reason != Reason::Busy {
                let soon = wait.min(backoff.after(1, None));
                return self.lane.try_otherwise(now, soon, reason, detail);
            }
        }
        if is_other_next {
            detail.push_str("; one row was requested; the rows around it are next");
            return self.lane.try_otherwise(now, wait.min(backoff.after(1, None)), reason, detail);
        }
        self.twin.comes_first();
        self.lane.fail(now, wait, reason, detail);
    }

    /// Sets the wait after a failure and the text for people. `asked`: the rows requested; the next
    /// request has fewer if their number may be the reason. `is_by_range`: the request was not for
    /// a page of the walk.
    fn consequence(
        &mut self,
        trouble: SourceTrouble,
        asked: u32,
        is_by_range: bool,
        backoff: &mut Backoff,
    ) -> (Span, Reason, String) {
        let failures = self.lane.failures;
        let consequence = match trouble {
            SourceTrouble::QueryRefused(text) if is_by_range => {
                Consequence::passing(Reason::QueryRefused, text)
            }
            SourceTrouble::QueryRefused(text) if self.rows.now() < asked => {
                Consequence::passing(Reason::BrokenAnswer, text)
            }
            SourceTrouble::QueryRefused(text) => return self.refused_query(text, backoff),
            // A console may answer like this to a cursor that it no longer knows.
            SourceTrouble::Misdirected(text) if !is_by_range && self.is_by_cursor() => {
                return self.refused_query(text, backoff);
            }
            trouble => Consequence::of(trouble, Of::Records(self.plan.kind)),
        };
        let wait = consequence.wait.span(failures, backoff);
        (wait, consequence.reason, consequence.detail)
    }
}

#[cfg(test)]
#[path = "tests/failing.rs"]
mod tests;
