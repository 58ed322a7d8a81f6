//! A row that SentinelOne can't return, or not in a readable form, and how a stream gets past it.
//!
//! ```text
//!   pages shrink to one row, and it fails --> Row, try after try
//!       ^                                      | to blame
//!       |                                      v
//!       |                    Search: [base, t) comes empty, or fails, for other and other t
//!       |                                      | low..high, a grain wide: empty before, fails with it
//!       |                                      v
//!       |            all before it is read again, for some may have become visible late
//!       |                                      |
//!       '--- another answer ----- Row fails, [base, high) fails, [base, low) is empty, [high, ..) comes
//!                                              | so often
//!                Inside: what stands from the last row that came to `high` is asked for by its place
//!                                              | nothing more
//!                        the stream goes on at `high`, with a gap from the last row that came
//! ```
//!
//! A row that moves when it changes can't be found by its place in the list, but by time: the first
//! row from `base` on is the bad one, so a range fails exactly if it contains that row, even if
//! there are more bad rows after it. It may have the stamp of the last row that came, with others
//! after it; those are requested by their place. Promises: no row is passed over that was not tried
//! often enough, and only if everything around it was seen to be as expected, repeatedly; what is
//! passed over is within a gap (keeps P1). Never: moves a position itself.

use crate::limits;
use crate::record::{Lone, RowKey, RowPlace, SourceTrouble, StreamLearned, Unread, Way};
use crate::time::{Mono, Span, Stamp};

use super::blame::Blame;

/// What is requested instead of the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    pub from: Stamp,
    /// Exclusive.
    pub to: Option<Stamp>,
    pub skip: u32,
    pub rows: u32,
}

/// What follows from rows that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The rows are not used; something else is requested soon.
    Look,
    /// The rows are kept; more is requested soon.
    Soon,
    /// There is nothing after the row yet from which the stream could go on.
    Later,
    /// The stream goes on at `from`, with a gap that begins at `gap`.
    Step { from: Stamp, gap: Stamp, unread: Unread },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Probe {
    #[default]
    Row,
    /// The range from the base up to this time.
    Search(Stamp),
    /// In turn: a range with the bad row, the one before it, and what comes after it.
    With,
    Before,
    Behind,
    /// The rows that would be passed over with the bad one, a number of them after a number of
    /// others.
    Inside(Pass),
}

/// One pass over rows by their place. Rows may move to an earlier place meanwhile, so passes are
/// repeated until one brings nothing new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pass {
    after: u32,
    rows: u32,
    failures: u32,
    is_new: bool,
    /// A request of this pass kept failing.
    is_bad: bool,
    /// Consecutive earlier passes that brought nothing new, and in how many of the last of them a
    /// request kept failing: in one of them that may be chance, in each of them hardly.
    idle: u32,
    bad: u32,
}

impl Pass {
    fn after_idle(idle: u32, bad: u32) -> Probe {
        Probe::Inside(Pass { rows: 1, idle, bad, ..Pass::default() })
    }
}

/// What is known of where the bad row is.
#[derive(Clone, Copy, Debug)]
struct Search {
    /// Everything before this has come, or is passed over.
    base: Stamp,
    /// There is no row from `base` to here.
    low: Stamp,
    /// The bad row is before this.
    high: Option<Stamp>,
    step: Span,
    /// The bad row has the stamp of the last row that came, so no range begins with it.
    is_tied: bool,
    confirms: u32,
    failures: u32,
}

impl Search {
    fn from(base: Stamp) -> Search {
        let (low, high) = (base, None);
        let step = Span::seconds(limits::BEYOND_STEP_SECONDS);
        Search { base, low, high, step, is_tied: false, confirms: 0, failures: 0 }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Beyond {
    blame: Blame<RowPlace>,
    /// The last row that came before the bad one, and how many rows with that stamp came.
    at: Option<RowPlace>,
    ties: usize,
    /// What a failed answer shows of the bad row.
    unread: Unread,
    probe: Probe,
    search: Option<Search>,
    /// How coarsely the console compares times, as far as it was seen.
    coarseness: Span,
    /// Rows later than this may still become visible.
    settled: Option<Stamp>,
    /// Everything before the bad row was read again since that was found.
    is_swept: bool,
    begins_anew: bool,
    /// The console rejects a request to skip rows, so the rows beside the bad one can't be
    /// requested.
    takes_no_skip: bool,
    /// The row fails by its cursor only, so far: the cursor may be the reason.
    is_by_cursor: bool,
    /// Something came since the row last failed: it is no outage, and more may be requested soon.
    is_alive: bool,
    /// Failed requests after which nothing else was requested soon: the number in a row, and the
    /// number of expected ones.
    in_a_row: u32,
    expected: u32,
}

impl Beyond {
    /// Begins with the row that an earlier process saw fail alone, if the stream has not got past
    /// it.
    pub fn remembering(learned: &StreamLearned, from: Option<Stamp>) -> Beyond {
        let lone = learned.lone.filter(|lone| from.is_some_and(|from| lone.at.from >= from));
        Beyond { blame: Blame::remembering(lone), ..Beyond::default() }
    }

    /// Whether a row is to blame, and its surroundings are being examined.
    pub fn is_getting_past(&self) -> bool {
        self.search.is_some()
    }

    pub fn lone(&self) -> Option<Lone<RowPlace>> {
        self.blame.lone()
    }

    pub fn asks(&self) -> Option<Rows> {
        let Search { base, low, high, .. } = self.search?;
        let range = |from, to| Some(Rows { from, to, skip: 0, rows: 1 });
        match self.probe {
            Probe::Row => None,
            Probe::Search(to) => range(base, Some(to)),
            Probe::With => range(base, high),
            Probe::Before => range(base, Some(low)),
            Probe::Behind => range(high?, None),
            Probe::Inside(Pass { after, rows, .. }) => {
                Some(Rows { from: self.at?.from, to: high, skip: after, rows })
            }
        }
    }

    /// Whether the walk has to begin anew, so that everything before the row is read once more.
    pub fn takes_beginning(&mut self) -> bool {
        std::mem::take(&mut self.begins_anew)
    }

    /// A page of one row failed, which the walk reached after `at` and `ties` rows of that stamp.
    /// `is_by_cursor`: its page was rejected with a cursor. Returns whether something else is requested
    /// next.
    pub fn failed_alone(
        &mut self,
        now: Mono,
        (at, ties): (RowPlace, usize),
        trouble: &SourceTrouble,
        is_by_cursor: bool,
        wait: Span,
    ) -> bool {
        // The row that failed there before has come since: this is another one with the same stamp.
        let is_next = self.at == Some(at) && self.ties != ties;
        if is_next {
            self.blame.acquit();
        }
        if is_next || self.at != Some(at) {
            self.forget();
            (self.at, self.ties, self.is_by_cursor) = (Some(at), ties, is_by_cursor);
        }
        self.is_by_cursor &= is_by_cursor;
        self.unread = trouble.unread().or(self.unread);
        self.is_alive = false;
        if !self.blame.failed_among_others(now, at, Way::of_source(trouble), wait) {
            self.probe = Probe::Row;
            return false;
        }
        match self.search {
            Some(Search { is_tied: true, .. }) if self.is_swept => self.probe = Probe::Behind,
            Some(_) if self.is_swept => self.probe = Probe::With,
            // It was found, but it was too recent then.
            Some(Search { high: Some(_), .. }) => self.search_anew(),
            _ => {
                self.settled = None;
                self.search_on();
            }
        }
        self.probe != Probe::Row
    }

    /// The earliest time at which the first row is the bad one.
    fn base(&self) -> Stamp {
        let at = self.at.expect("there is a row that failed");
        match at.is_after {
            false => at.from,
            true => Stamp(at.from.0.saturating_add(1)).max(at.from + self.coarseness),
        }
    }

    fn grain(&self) -> Span {
        self.coarseness.max(Span::ms(limits::BEYOND_GRAIN_MS))
    }

    fn coarsen(&mut self) {
        let most = Span::seconds(limits::BEYOND_GRAIN_SECONDS_MAX);
        self.coarseness = self.grain().times(2).min(most);
    }

    fn search_anew(&mut self) {
        self.search_from(self.base());
    }

    fn search_from(&mut self, base: Stamp) {
        (self.search, self.is_swept) = (Some(Search::from(base)), false);
        self.search_on();
    }

    /// Chooses the next request that narrows down where the bad row is.
    fn search_on(&mut self) {
        let (base, grain) = (self.base(), self.grain());
        let search = self.search.get_or_insert_with(|| Search::from(base));
        self.probe = match (search.high, self.settled) {
            (Some(high), settled) if search.is_tied || high.since(search.low) <= grain => {
                self.is_swept = settled.is_some_and(|settled| high <= settled);
                self.begins_anew = self.is_swept;
                // Its answer shows the time as well.
                if settled.is_none() { Probe::Behind } else { Probe::Row }
            }
            (Some(high), _) => {
                Probe::Search(search.low + Span(high.since(search.low).0.div_ceil(2)))
            }
            // From here on rows may still become visible, so an empty range shows nothing.
            (None, Some(settled)) if search.low >= settled => Probe::Row,
            // The row is gone.
            (None, None) if search.step > Span::hours(limits::BEYOND_STEP_HOURS_MAX) => Probe::Row,
            (None, settled) => {
                let to = search.low + search.step;
                search.step = search.step.times(2);
                Probe::Search(settled.map_or(to, |settled| to.min(settled)))
            }
        };
    }

    /// The range up to `to` is empty. `before`: what was settled until then. If the range may still
    /// get rows, or there was no row up to the former present, time has to pass; meanwhile the row
    /// itself is tried, at its pace.
    fn found_nothing(&mut self, before: Option<Stamp>, to: Stamp) {
        let Some(search) = &mut self.search else { return };
        let known = self.settled.map_or(to, |settled| settled.min(to));
        search.low = search.low.max(known);
        let is_all = search.high.is_none() && before.is_some_and(|before| to >= before);
        if known < to || is_all {
            search.step = search.step.min(Span::hours(limits::BEYOND_AGAIN_HOURS));
            self.probe = Probe::Row;
        } else {
            self.search_on();
        }
    }

    /// A request of a range failed. Returns whether something else is requested soon.
    pub fn failed(&mut self, trouble: &SourceTrouble) -> bool {
        let is_soon = self.probe_failed(trouble);
        if !is_soon {
            self.in_a_row += 1;
            self.expected += u32::from(self.in_a_row <= limits::LONE_FAILURES);
        }
        is_soon
    }

    /// How many failures were to be expected near a bad row: each came at most LONE_FAILURES
    /// requests after something that came.
    pub fn expected_failures(&self) -> u32 {
        self.expected.min(limits::BEYOND_EXPECTED_MAX)
    }

    /// The console rejects a request because it skips rows.
    pub fn takes_no_skip(&mut self) {
        (self.takes_no_skip, self.probe) = (true, Probe::Row);
    }

    fn probe_failed(&mut self, trouble: &SourceTrouble) -> bool {
        let Some(search) = &mut self.search else { return false };
        match &mut self.probe {
            _ if !trouble.may_be_of_size() => return false,
            Probe::Row => return false,
            Probe::Search(to) => {
                search.high = Some(*to);
                self.search_on();
            }
            Probe::With => {
                self.is_by_cursor = false;
                let is_before = search.low > search.base;
                self.probe = if is_before { Probe::Before } else { Probe::Behind };
            }
            Probe::Before => self.search_anew(),
            Probe::Behind => {
                search.failures += 1;
                let high = search.high;
                let is_another = search.failures >= limits::LONE_FAILURES;
                self.probe = Probe::Row;
                if let Some(high) = high.filter(|_| is_another) {
                    // Another bad row, right after it; or the console compares more coarsely than
                    // it is asked to.
                    self.coarsen();
                    self.search_from(high);
                }
                return false;
            }
            Probe::Inside(pass) if pass.rows > 1 => pass.rows /= 2,
            Probe::Inside(pass) => {
                pass.failures += 1;
                if pass.failures < limits::LONE_REFUSALS >> pass.idle {
                    return false;
                }
                // The next row is requested; soon, if any came since the last time.
                (pass.after, pass.failures, pass.is_bad) = (pass.after + 1, 0, true);
                self.is_by_cursor = false;
                return std::mem::take(&mut self.is_alive);
            }
        }
        self.is_alive
    }

    /// The rows of a range came. `settled`: no row before this becomes visible any more, by this
    /// answer's time. `is_new`: some of them were not collected yet.
    pub fn came(&mut self, keys: &[RowKey], is_new: bool, settled: Option<Stamp>) -> Then {
        let before = self.settled;
        (self.settled, self.is_alive, self.in_a_row) = (settled.max(self.settled), true, 0);
        let (Some(asked), Some(search), Some(at)) = (self.asks(), &mut self.search, self.at) else {
            return Then::Later;
        };
        if keys.first().is_some_and(|key| key.stamp < asked.from) {
            self.coarsen();
            self.search_anew();
            return Then::Look;
        }
        match (&mut self.probe, keys.first()) {
            (Probe::Search(to), None) => {
                let to = *to;
                self.found_nothing(before, to);
            }
            (Probe::Search(_), Some(_)) if search.high.is_none() && search.base > at.from => {
                // The bad row is none of those from the base on: it has the stamp of the last row
                // that came.
                (search.low, search.high) = (at.from, Some(search.base));
                search.is_tied = true;
                self.search_on();
            }
            (Probe::Before, None) => self.probe = Probe::Behind,
            (Probe::Behind, _) if !self.is_swept => self.search_on(),
            // There is nothing after it yet that it could hold up.
            (Probe::Behind, None) => self.probe = Probe::Row,
            (Probe::Behind, Some(_)) => return self.behind_came(),
            (Probe::Inside(pass), Some(_)) if pass.after < limits::SKIP_MAX => {
                let came = u32::try_from(keys.len()).unwrap_or(u32::MAX);
                pass.after = pass.after.saturating_add(came).min(limits::SKIP_MAX);
                pass.rows = (2 * pass.rows).min(limits::BEYOND_ROWS_MAX);
                (pass.failures, pass.is_new) = (0, pass.is_new | is_new);
            }
            (Probe::Inside(pass), _) => {
                let idle = if pass.is_new || is_new { 0 } else { pass.idle + 1 };
                // It may be one of those that can't be reached by skipping.
                let is_bad = pass.is_bad || pass.after >= limits::SKIP_MAX && !self.is_by_cursor;
                let bad = if is_bad && idle > 0 { pass.bad + 1 } else { 0 };
                match idle >= limits::BEYOND_IDLE_PASSES {
                    true if bad >= limits::BEYOND_IDLE_PASSES => return self.step(),
                    // The row is gone.
                    true if bad == 0 => self.end_search(),
                    // What failed before may come by now, and then no row is to blame.
                    _ => {
                        let idle = idle.min(limits::BEYOND_IDLE_PASSES - 1);
                        self.probe = Pass::after_idle(idle, bad);
                    }
                }
            }
            // What should fail came, or the other way round: the search begins anew if the row
            // fails again.
            _ => self.end_search(),
        }
        match self.probe {
            Probe::Row if self.begins_anew => Then::Look,
            Probe::Row => Then::Later,
            _ => Then::Soon,
        }
    }

    /// The rows after the bad one came, so the earlier failures were not theirs.
    fn behind_came(&mut self) -> Then {
        let Some(search) = &mut self.search else { return Then::Later };
        search.failures = 0;
        search.confirms += 1;
        self.probe = match search.confirms < limits::LONE_CONFIRMS {
            true => Probe::Row,
            // Nothing but a cursor was rejected, and what stands beside the row can't be requested.
            false if self.takes_no_skip && self.is_by_cursor => {
                self.end_search();
                return Then::Later;
            }
            false if self.takes_no_skip => return self.step(),
            false => Pass::after_idle(0, 0),
        };
        Then::Look
    }

    fn end_search(&mut self) {
        (self.search, self.probe, self.is_swept) = (None, Probe::Row, false);
    }

    fn step(&self) -> Then {
        let search = self.search.expect("a row that is passed over was found");
        let from = search.high.expect("what was found has an end");
        let gap = self.at.map_or(search.base, |at| at.from);
        Then::Step { from, gap, unread: self.unread }
    }

    /// The rows that came could not be stored.
    pub fn not_stored(&mut self) {
        self.forget();
    }

    /// Something else came since the row last failed.
    pub fn seen_alive(&mut self) {
        self.is_alive = true;
    }

    /// The stream goes on after the bad row.
    pub fn stepped(&mut self, now: Mono) {
        self.blame.set_aside(now);
        self.forget();
    }

    /// A page came, and the walk has reached `reached`; `None`: it has passed everything.
    pub fn passed(&mut self, reached: Option<Stamp>) {
        let at = self.at.or(self.lone().map(|lone| lone.at));
        if at.is_some_and(|at| reached.is_none_or(|reached| reached > at.from)) {
            self.acquit();
        }
    }

    pub fn acquit(&mut self) {
        self.blame.acquit();
        self.forget();
    }

    /// Forgets everything except which row is to blame.
    fn forget(&mut self) {
        let blame = std::mem::take(&mut self.blame);
        *self = Beyond { blame, ..Beyond::default() };
    }
}

#[cfg(test)]
#[path = "tests/bad_row.rs"]
mod tests;
