//! What a tenant's answers claim that is not so: the time, the end of a list, its order, its range.
//!
//! Promises: a tenant tells the truth until `Tenant::lie`, and again after as many answers as were
//! asked for, or from `Tenant::be_honest` on. Never: a lie about a record itself; what was published
//! stays as it stands in the ledger.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::query::{Order, Query, Refused};
use crate::support::clock::{Clock, http_date};
use crate::support::data::Kind;

/// Which requests for a list a lie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The first page of a walk.
    First,
    /// A page asked for with a cursor.
    Later,
    /// Everything that is new since a time.
    Polls,
    /// What lies before a time: counts and lists of a range.
    Ranges,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Lie {
    /// `Date` is ahead of the tenant's clock by so many microseconds; negative is behind.
    DateAhead(i64),
    /// `Date` is this time, whenever it is.
    DateIs(i64),
    /// Before each such page come so many others, each with a new cursor and this text in `data`.
    EmptyPages { before: Asked, count: u32, data: &'static str },
    /// The page of this number in a walk, from 1, or the last if there are fewer, points back to the
    /// page so many before the next: 1 is to itself.
    LeadsBack { page: usize, period: usize },
    /// No page has a cursor.
    NoCursor,
    /// Pages come in another order than was asked for.
    Ordered(Order),
    /// The time filters of such requests are ignored.
    FilterIgnored(Asked),
    /// A cursor is refused this long after it was given out.
    CursorsExpire(Duration),
}

/// `page` of `Lie::LeadsBack`: the walk is shown whole before it leads back.
pub const AT_THE_END: usize = usize::MAX;

struct ActiveLie {
    lie: Lie,
    left: Option<u32>,
}

/// The lies that are told now, and what they have to remember.
#[derive(Default)]
pub struct Lies {
    active: Vec<ActiveLie>,
    /// The cursors asked for in the walk that goes on, of each kind.
    walked: [Vec<Option<String>>; 3],
    given: HashMap<String, Instant>,
}

/// A page without a record, and the cursor that it points to.
pub struct EmptyPage {
    pub data: &'static str,
    pub next: String,
}

/// Points to the first page.
const BEGINNING: &str = "YmVnaW4";
/// Points to an empty page: its number, and the cursor of the page behind it.
const EMPTY: &str = "aG9sbG93";

impl Lies {
    /// `times: None` is until `clear`.
    pub fn add(&mut self, lie: Lie, times: Option<u32>) {
        self.active.push(ActiveLie { lie, left: times });
    }

    /// Cursors that were given out stay good.
    pub fn clear(&mut self) {
        self.active.clear();
    }

    /// What the first lie that is fit makes of it, counted as used.
    fn take<R>(&mut self, fit: impl Fn(&Lie) -> Option<R>) -> Option<R> {
        let (at, made) = self
            .active
            .iter()
            .enumerate()
            .find_map(|(at, active)| fit(&active.lie).map(|made| (at, made)))?;
        if let Some(left) = &mut self.active[at].left {
            *left -= 1;
            if *left == 0 {
                self.active.remove(at);
            }
        }
        Some(made)
    }

    /// The `Date` of an answer sent now.
    pub fn date(&mut self, clock: &Clock) -> String {
        let now_us = clock.now_us();
        let active = self.take(|lie| match lie {
            Lie::DateAhead(us) => Some(now_us + us),
            Lie::DateIs(us) => Some(*us),
            _ => None,
        });
        http_date(active.unwrap_or(now_us))
    }

    /// Takes away filters that are ignored.
    pub fn widen(&mut self, query: &mut Query) {
        let asked_for = query.asked_for();
        let is_ignored = self.take(|lie| (*lie == Lie::FilterIgnored(asked_for)).then_some(()));
        if is_ignored.is_some() {
            query.filters.clear();
        }
    }

    /// Turns a query for a page into what is answered instead, or into an empty page.
    pub fn bend(&mut self, kind: Kind, query: &mut Query) -> Result<Option<EmptyPage>, Refused> {
        let given = query.cursor.as_ref().and_then(|cursor| self.given.get(cursor)).copied();
        let lives = self.take(|lie| match lie {
            Lie::CursorsExpire(lives) => Some(*lives),
            _ => None,
        });
        if lives.zip(given).is_some_and(|(lives, given)| given.elapsed() > lives) {
            return Err(Refused::cursor());
        }
        let walked = &mut self.walked[kind as usize];
        if query.cursor.is_none() {
            walked.clear();
        }
        walked.push(query.cursor.clone());
        query.cursor.take_if(|cursor| cursor == BEGINNING);
        if let Some(page) = self.empty_page(query) {
            return Ok(Some(page));
        }
        let order = self.take(|lie| match lie {
            Lie::Ordered(order) => Some(*order),
            _ => None,
        });
        query.order = order.unwrap_or(query.order);
        Ok(None)
    }

    fn empty_page(&mut self, query: &mut Query) -> Option<EmptyPage> {
        // The cursor of an empty page stands for the page behind it.
        let (nth, behind) = match query.cursor.as_deref().and_then(read_empty) {
            Some((nth, behind)) => (nth, behind),
            None => (0, query.cursor.clone()),
        };
        query.cursor = behind.clone();
        let asked = if behind.is_none() { Asked::First } else { Asked::Later };
        let data = self.take(|lie| match lie {
            Lie::EmptyPages { before, count, data } if *before == asked && nth < *count => {
                Some(*data)
            }
            _ => None,
        })?;
        let behind = behind.unwrap_or_default();
        Some(EmptyPage { data, next: format!("{EMPTY}.{}.{behind}", nth + 1) })
    }

    /// The cursor that a page is given, instead of the true one.
    pub fn next(&mut self, kind: Kind, next: Option<String>) -> Option<String> {
        if self.take(|lie| (*lie == Lie::NoCursor).then_some(())).is_some() {
            return None;
        }
        let pages = self.walked[kind as usize].len();
        let period = self.take(|lie| match lie {
            Lie::LeadsBack { page, period } if pages >= *page || next.is_none() => Some(*period),
            _ => None,
        });
        let next = match period {
            None => next,
            Some(period) => {
                let back = &self.walked[kind as usize][pages.saturating_sub(period)];
                Some(back.clone().unwrap_or_else(|| BEGINNING.to_string()))
            }
        };
        if let Some(cursor) = &next {
            self.given.insert(cursor.clone(), Instant::now());
        }
        next
    }
}

fn read_empty(cursor: &str) -> Option<(u32, Option<String>)> {
    let (nth, behind) = cursor.strip_prefix(EMPTY)?.strip_prefix('.')?.split_once('.')?;
    Some((nth.parse().ok()?, Some(behind.to_string()).filter(|behind| !behind.is_empty())))
}
