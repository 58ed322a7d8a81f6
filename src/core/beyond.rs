//! A row that SentinelOne can't give, or not in a form that can be read, and how a stream gets past it.
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
//! A row that moves when it changes can't be found by its place, but by time: the first row from `base`
//! on is the bad one, so that a range fails exactly if it reaches it, whatever else is bad behind it. It
//! may have the stamp of the last row that came, with others behind it; those are asked for by their place.
//! Promises: nothing is passed over that was not tried often enough, and only where all else was seen to
//! be as it should, again and again; what is passed over is within a gap (keeps P1). Never: moves a
//! position itself.

use crate::limits;
use crate::record::{Lone, RowKey, RowPlace, SourceTrouble, StreamLearned, Unread, Way};
use crate::time::{Mono, Span, Stamp};

use super::blame::Blame;

/// What is asked for instead of the next page.
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
    /// What came is left, and something else is asked for soon.
    Look,
    /// What came is kept, and more is asked for soon.
    Soon,
    /// Nothing behind it can be gone on from yet.
    Later,
    /// The stream goes on here, with a gap that begins there.
    Step { from: Stamp, gap: Stamp, unread: Unread },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Probe {
    #[default]
    Row,
    /// Up to this time.
    Search(Stamp),
    /// With the bad row, without it, and behind it.
    With,
    Before,
    Behind,
    /// So many rows of those that would be passed over with it, after so many.
    Inside(Pass),
}

/// Rows may move away from before the place while they are asked for: all are asked for again until that
/// brings nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pass {
    after: u32,
    rows: u32,
    failures: u32,
    is_new: bool,
    /// Something failed in this pass or one before it.
    is_bad: bool,
    /// Passes before this one that brought nothing.
    idle: u32,
}

impl Pass {
    fn after_idle(idle: u32, is_bad: bool) -> Probe {
        let (after, rows, failures, is_new) = (0, 1, 0, false);
        Probe::Inside(Pass { after, rows, failures, is_new, is_bad, idle })
    }
}

/// What is known of where a bad row stands.
#[derive(Clone, Copy, Debug)]
struct Search {
    /// Everything before this has come, or is passed over.
    base: Stamp,
    /// Nothing stands from `base` to here.
    low: Stamp,
    /// It stands before this.
    high: Option<Stamp>,
    step: Span,
    /// It has the stamp of the last row that came, so that no range begins with it.
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
    /// The last row that came before it.
    at: Option<RowPlace>,
    /// What came of it tells so much.
    unread: Unread,
    probe: Probe,
    search: Option<Search>,
    /// Of the console's filter, as far as it was seen.
    coarseness: Span,
    /// What lies further ahead than this may still become visible.
    settled: Option<Stamp>,
    /// All before it was read again since it was found.
    is_swept: bool,
    begins_anew: bool,
    /// The console refuses to pass over rows, so that those beside it can't be asked for.
    takes_no_skip: bool,
    /// Something came since the row last failed: it is no outage, and more may be asked for soon.
    is_alive: bool,
}

impl Beyond {
    /// What an earlier process saw fail alone, if the stream did not get past it.
    pub fn remembering(learned: &StreamLearned, from: Option<Stamp>) -> Beyond {
        let lone = learned.lone.filter(|lone| from.is_some_and(|from| lone.at.from >= from));
        Beyond { blame: Blame::remembering(lone), ..Beyond::default() }
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

    /// Whether the walk is to begin anew, so that all before the row is read once more.
    pub fn takes_beginning(&mut self) -> bool {
        std::mem::take(&mut self.begins_anew)
    }

    /// A page of one row failed that the walk came to after `at`. Answers whether something else is asked
    /// for next.
    pub fn failed_alone(
        &mut self,
        now: Mono,
        at: RowPlace,
        trouble: &SourceTrouble,
        wait: Span,
    ) -> bool {
        if self.at != Some(at) {
            self.forget();
            self.at = Some(at);
        }
        self.unread = trouble.unread().or(self.unread);
        self.is_alive = false;
        if !self.blame.failed(now, at, Way::of_source(trouble), wait, 0) {
            self.probe = Probe::Row;
            return false;
        }
        match self.search {
            Some(Search { is_tied: true, .. }) if self.is_swept => self.probe = Probe::Behind,
            Some(_) if self.is_swept => self.probe = Probe::With,
            // Found, but too young when it was.
            Some(Search { high: Some(_), .. }) => self.search_anew(),
            _ => {
                self.settled = None;
                self.search_on();
            }
        }
        self.probe != Probe::Row
    }

    /// The first time at which only the bad row can stand.
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

    /// What is asked for next to find where the bad row stands.
    fn search_on(&mut self) {
        let (base, grain) = (self.base(), self.grain());
        let search = self.search.get_or_insert_with(|| Search::from(base));
        self.probe = match (search.high, self.settled) {
            (Some(high), settled) if search.is_tied || high.since(search.low) <= grain => {
                self.is_swept = settled.is_some_and(|settled| high <= settled);
                self.begins_anew = self.is_swept;
                // What comes tells the time as well.
                if settled.is_none() { Probe::Behind } else { Probe::Row }
            }
            (Some(high), _) => {
                Probe::Search(search.low + Span(high.since(search.low).0.div_ceil(2)))
            }
            // Nothing can be told of where anything may still become visible.
            (None, Some(settled)) if search.low >= settled => Probe::Row,
            // It is gone.
            (None, None) if search.step > Span::hours(limits::BEYOND_STEP_HOURS_MAX) => Probe::Row,
            (None, settled) => {
                let to = search.low + search.step;
                search.step = search.step.times(2);
                Probe::Search(settled.map_or(to, |settled| to.min(settled)))
            }
        };
    }

    /// Nothing came that stands before `to`. `before`: what was settled until then. Where that tells nothing
    /// of what was asked for, or nothing stood up to what was the present, time has to pass; meanwhile the
    /// row itself is tried, at its pace.
    fn found_nothing(&mut self, before: Option<Stamp>, to: Stamp) {
        let Some(search) = &mut self.search else { return };
        let told = self.settled.map_or(to, |settled| settled.min(to));
        search.low = search.low.max(told);
        let is_all = search.high.is_none() && before.is_some_and(|before| to >= before);
        if told < to || is_all {
            search.step = search.step.min(Span::hours(limits::BEYOND_AGAIN_HOURS));
            self.probe = Probe::Row;
        } else {
            self.search_on();
        }
    }

    /// What was asked for of a range failed. Answers whether something else is asked for soon.
    pub fn failed(&mut self, trouble: &SourceTrouble) -> bool {
        let Some(search) = &mut self.search else { return false };
        let is_refused = matches!(trouble, SourceTrouble::QueryRefused(_));
        match &mut self.probe {
            Probe::Inside(_) if is_refused => {
                (self.takes_no_skip, self.probe) = (true, Probe::Row);
                return false;
            }
            _ if !trouble.may_be_of_size() => return false,
            Probe::Row => return false,
            Probe::Search(to) => {
                search.high = Some(*to);
                self.search_on();
            }
            Probe::With if search.low > search.base => self.probe = Probe::Before,
            Probe::With => self.probe = Probe::Behind,
            Probe::Before => self.search_anew(),
            Probe::Behind => {
                search.failures += 1;
                let high = search.high;
                let is_another = search.failures >= limits::LONE_FAILURES;
                self.probe = Probe::Row;
                if let Some(high) = high.filter(|_| is_another) {
                    // Another one, right behind it; or the console filters more coarsely than is asked.
                    self.coarsen();
                    self.search_from(high);
                }
                return false;
            }
            Probe::Inside(pass) if pass.rows > 1 => pass.rows /= 2,
            Probe::Inside(pass) => {
                (pass.failures, pass.is_bad) = (pass.failures + 1, true);
                if pass.failures >= limits::LONE_REFUSALS >> pass.idle {
                    (pass.after, pass.failures) = (pass.after + 1, 0);
                }
                return false;
            }
        }
        self.is_alive
    }

    /// What was asked for of a range came. `settled`: nothing becomes visible any more before this, as far
    /// as the answer tells. `is_new`: some of it was not collected yet.
    pub fn came(&mut self, keys: &[RowKey], is_new: bool, settled: Option<Stamp>) -> Then {
        let before = self.settled;
        (self.settled, self.is_alive) = (settled.max(self.settled), true);
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
                // The bad row is none of those that begin here.
                (search.low, search.high) = (at.from, Some(search.base));
                search.is_tied = true;
                self.search_on();
            }
            (Probe::Before, None) => self.probe = Probe::Behind,
            (Probe::Behind, _) if !self.is_swept => self.search_on(),
            // Nothing lies behind it yet that it could hold up.
            (Probe::Behind, None) => self.probe = Probe::Row,
            (Probe::Behind, Some(_)) => {
                // It comes, so that what failed before was not its fault.
                search.failures = 0;
                search.confirms += 1;
                self.probe = match search.confirms < limits::LONE_CONFIRMS {
                    true => Probe::Row,
                    false if self.takes_no_skip => return self.step(),
                    false => Pass::after_idle(0, false),
                };
                return Then::Look;
            }
            (Probe::Inside(pass), Some(_)) if pass.after < limits::SKIP_MAX => {
                let came = u32::try_from(keys.len()).unwrap_or(u32::MAX);
                pass.after = pass.after.saturating_add(came).min(limits::SKIP_MAX);
                pass.rows = (2 * pass.rows).min(limits::BEYOND_ROWS_MAX);
                (pass.failures, pass.is_new) = (0, pass.is_new | is_new);
            }
            (Probe::Inside(pass), _) => {
                let idle = if pass.is_new || is_new { 0 } else { pass.idle + 1 };
                let is_done = idle >= limits::BEYOND_IDLE_PASSES;
                // It may be one of those that are out of reach.
                match pass.is_bad || pass.after >= limits::SKIP_MAX {
                    true if is_done => return self.step(),
                    // It is gone.
                    false if is_done => self.end_search(),
                    is_bad => self.probe = Pass::after_idle(idle, is_bad),
                }
            }
            // What was to fail came, or the other way round: it is looked for anew if it fails again.
            _ => self.end_search(),
        }
        match self.probe {
            Probe::Row if self.begins_anew => Then::Look,
            Probe::Row => Then::Later,
            _ => Then::Soon,
        }
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

    /// What came could not be stored.
    pub fn not_stored(&mut self) {
        self.forget();
    }

    /// The stream goes on behind it.
    pub fn stepped(&mut self, now: Mono) {
        self.blame.set_aside(now);
        self.forget();
    }

    /// A page came after which the walk stands here; `None`: it passed all there is.
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

    /// All but who is to blame.
    fn forget(&mut self) {
        let blame = std::mem::take(&mut self.blame);
        *self = Beyond { blame, ..Beyond::default() };
    }
}
