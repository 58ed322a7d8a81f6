//! The twin of a page that a device on the path rejected: a small request that shows whether only
//! that page is rejected, or everything. It is the same for one row that the console puts off, and
//! for a query that it rejects although neither a cursor nor the number of rows can be the reason.
//!
//! ```text
//!   page refused --> twin --> refused: everything is; told, and the twin is asked instead of a page
//!        ^             ^  |             from then on, at the pace of that
//!        |             |  comes: the size or the content of the page is
//!        |             |  v
//!        '-- soon -- fewer rows, down to one, and what stands around it
//!                      |  one row, refused again
//!                      '--'
//! ```
//!
//! Promises: while everything is rejected, there are no more requests than without a twin, and
//! smaller ones (keeps P6); a row counts as rejected alone only right after a twin came. Never:
//! takes a missing permission, scope or token for a matter of size, or stores what a twin brings.

use crate::limits;
use crate::record::{Progress, SourceTrouble};
use crate::time::{Due, Mono, Span, Stamp};

use super::lane::Backoff;
use super::reason::{Health, Reason};
use super::source::{Fetch, Pending, Stream, Then};
use super::source_clock::Present;
use super::walk::Walk;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unknown,
    /// It is requested next.
    Asked,
    /// It came, and each request since then is a different one.
    Came,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Twin {
    state: State,
    /// How often a cursor was taken for the reason since a page brought something new, or a walk
    /// ended. Beyond a limit, and once a page without a cursor was rejected too, cursors are not
    /// the reason.
    cursors_blamed: u32,
    /// How often a query was rejected since one was rejected as a twin, while no page came: that
    /// the query itself is the reason is then the usual case, and the twin is asked now and then.
    queries_refused: u32,
    /// Behind a page rejected with its cursor no row was found that is rejected alone, so for so many
    /// more rejections the cursor is taken for the reason.
    cursors_to_blame: u32,
    /// It came where it skipped a row, so that no skipping is the reason.
    takes_skip: bool,
    /// How long the page waits after the twin, if patience was asked for: as long as the twin
    /// waited after the page, so that no limit of requests in a time refuses only the page.
    wait: Span,
}

/// What a failure means.
pub(super) enum TakenFor {
    /// It is the failure of the request itself.
    As(SourceTrouble),
    /// It is for what was requested: the twin came. `is_by_cursor`: a cursor may be the reason too, for
    /// none of the walk was taken.
    OfPage { why: String, is_by_cursor: bool },
    /// The twin will show it, and is requested soon.
    Unknown(String),
}

impl Twin {
    pub fn is_asked(&self) -> bool {
        self.state == State::Asked
    }

    /// The same request is next: before it, the twin shows again whether everything is rejected.
    pub fn comes_first(&mut self) {
        if self.state == State::Came {
            self.state = State::Asked;
        }
    }

    /// The next request is made at `due`. `is_put_off`: because patience was asked for.
    pub fn waits_like(&mut self, now: Mono, due: Due, is_put_off: bool) {
        self.wait = match due {
            Due::At(due) if is_put_off => due.since(now),
            _ => Span::ZERO,
        };
    }

    /// The search for a row that is rejected alone ended without one.
    pub fn found_none(&mut self) {
        self.cursors_to_blame = limits::CURSORS_BLAMED_AFTER_SEARCH;
    }

    /// A page of a walk came. `leads_on`: it had something new, or was the last.
    pub fn page_came(&mut self, leads_on: bool) {
        self.state = State::Unknown;
        self.queries_refused = 0;
        if leads_on {
            (self.cursors_blamed, self.cursors_to_blame) = (0, 0);
        }
    }
}

impl Stream {
    /// A request that no record answers.
    pub(super) fn fetch_of_nothing(stream: usize) -> Fetch {
        let (from, to) = (Stamp::EPOCH, Some(Stamp::EPOCH + Span::ms(1)));
        Fetch { stream, from, to, cursor: None, rows_max: 1, skip: 0 }
    }

    /// The request of the twin: a range without records. It skips rows if what was rejected did.
    pub(super) fn twin_fetch(&self, stream: usize) -> Option<Fetch> {
        let skip = u32::from(self.skips_beside());
        self.twin.is_asked().then(|| Fetch { skip, ..Stream::fetch_of_nothing(stream) })
    }

    /// Whether rows are skipped to get at what stands beside a row that is to blame.
    fn skips_beside(&self) -> bool {
        self.beyond.asks().is_some_and(|rows| rows.skip > 0)
    }

    /// What is stored after a twin came: nothing.
    pub(super) fn twin_page(
        &self,
        stream: usize,
        progress: Progress,
        present: Present,
    ) -> Option<Pending> {
        self.twin.is_asked().then(|| {
            let keep = self.keep(stream, &[], vec![], progress);
            Pending { keep, then: Then::Twin, read: None, date: present.earliest() }
        })
    }

    pub(super) fn twin_came(&mut self, now: Mono, backoff: &Backoff) {
        self.twin.state = State::Came;
        self.twin.takes_skip |= self.skips_beside();
        self.beyond.seen_alive();
        let text = self.lane.detail.clone();
        let reason = self.reason_but(Reason::Working);
        let wait = backoff.min.max(std::mem::take(&mut self.twin.wait));
        self.lane.try_otherwise(now, wait, reason, text);
    }

    /// The lane's reason, or `otherwise` if that is one that needs a person.
    fn reason_but(&self, otherwise: Reason) -> Reason {
        match self.lane.reason.health() {
            Health::Stuck => otherwise,
            _ => self.lane.reason,
        }
    }

    /// Makes the twin the next request.
    pub(super) fn ask_twin(
        &mut self,
        now: Mono,
        text: String,
        is_busy: bool,
        backoff: &mut Backoff,
    ) {
        if self.rows.now() == 1 {
            // Whatever the twin shows, no size is the reason.
            self.rows.failed();
        }
        let text = format!("{text}; a small request is next");
        let (wait, reason) = match is_busy {
            // Until the twin came it may be everything, so the pace is that of before.
            true => (backoff.after(self.lane.failures, None), Reason::Busy),
            // It was rejected as a twin too; until that one comes nothing is better.
            false if self.lane.reason == Reason::QueryRefused => {
                (backoff.after(1, None), Reason::QueryRefused)
            }
            false => (backoff.after(1, None), self.reason_but(Reason::BrokenAnswer)),
        };
        self.lane.try_otherwise(now, wait, reason, text);
    }

    /// What was said to a request that may be for what it asked for alone, or for everything.
    fn words_in_question<'a>(&self, trouble: &'a SourceTrouble) -> Option<&'a str> {
        match trouble {
            // Once is usual, and many rows are requested in smaller pages first.
            SourceTrouble::Busy { why, .. } => {
                let is_again = self.lane.reason == Reason::Busy || self.twin.state == State::Came;
                let is_ones = self.rows.now() == 1 && is_again;
                (is_ones || self.beyond.is_getting_past()).then_some(why)
            }
            SourceTrouble::QueryRefused(why) => {
                let is_due = self.twin.state == State::Came
                    || self.twin.queries_refused.is_multiple_of(limits::QUERIES_REFUSED_A_TWIN);
                // A number of rows that was accepted before, or one row, is not the reason.
                let is_number = self.rows.is_new(self.rows.now());
                (is_due && !is_number || self.beyond.asks().is_some()).then_some(why)
            }
            trouble => trouble.words_of_between(),
        }
    }

    /// What the failure of the last request means.
    pub(super) fn taken_for(&mut self, trouble: SourceTrouble) -> TakenFor {
        let is_refused_query = matches!(trouble, SourceTrouble::QueryRefused(_));
        if self.twin.is_asked() {
            return TakenFor::As(self.twin_failed(trouble));
        }
        let is_walk = self.beyond.asks().is_none();
        let has_cursor = is_walk && self.is_by_cursor();
        // A console may answer like this to a cursor that it no longer knows.
        let may_be_of_cursor = has_cursor
            && (is_refused_query || matches!(trouble, SourceTrouble::Misdirected(_)))
            && (self.twin.cursors_blamed < limits::CURSORS_BLAMED_MAX
                || is_refused_query && self.twin.cursors_to_blame > 0);
        let is_by_place = is_walk && !has_cursor && self.has_cursor();
        if may_be_of_cursor || is_refused_query && is_by_place {
            self.twin.cursors_blamed += 1;
            self.twin.cursors_to_blame = self.twin.cursors_to_blame.saturating_sub(1);
            if is_refused_query {
                self.twin.state = State::Unknown;
            }
            return TakenFor::As(trouble);
        }
        let Some(words) = self.words_in_question(&trouble) else {
            self.twin.state = State::Unknown;
            if is_refused_query && self.twin.queries_refused > 0 {
                self.twin.queries_refused += 1;
            }
            return TakenFor::As(trouble);
        };
        let is_of_skip = is_refused_query && self.skips_beside() && !self.twin.takes_skip;
        if self.twin.state != State::Came || is_of_skip {
            self.twin.state = State::Asked;
            return TakenFor::Unknown(words.to_owned());
        }
        let why = format!("{words}; a smaller request is answered");
        if is_walk && !has_cursor {
            self.twin.cursors_blamed = limits::CURSORS_BLAMED_MAX;
            if let Some(walk) = &mut self.walk {
                walk.acquit_cursors();
            }
        }
        // Who asks for patience does not mean the cursor.
        let is_busy = matches!(trouble, SourceTrouble::Busy { .. });
        let takes_cursors = self.walk.as_ref().is_some_and(Walk::takes_cursors);
        TakenFor::OfPage { why, is_by_cursor: has_cursor && !takes_cursors && !is_busy }
    }

    /// What the failure of the twin means. If it skipped a row, its rejection is for that.
    fn twin_failed(&mut self, trouble: SourceTrouble) -> SourceTrouble {
        let SourceTrouble::QueryRefused(why) = trouble else { return trouble };
        self.twin.state = State::Unknown;
        if self.skips_beside() {
            self.beyond.takes_no_skip();
            return SourceTrouble::BrokenAnswer(format!("{why}; no rows can be skipped"));
        }
        self.twin.queries_refused += 1;
        SourceTrouble::QueryRefused(why)
    }
}

#[cfg(test)]
#[path = "tests/twin.rs"]
mod tests;
