//! What a round of reconciliation remembers until it is over: its bounds, the parts of the time that
//! are left, and the list that is being read.
//!
//! Promises: a round has a limited number of requests, and more only where one of them failed (keeps
//! P6). Never: decides what a difference means.

use super::Difference;
use crate::core::walk::may_be_cut;
use crate::limits;
use crate::record::Cursor;
use crate::time::Stamp;

/// A part of the time that is to be compared.
#[derive(Clone, Debug)]
pub struct Range {
    pub from: Option<Stamp>,
    pub to: Stamp,
    /// Whether it was never compared before.
    pub is_new: bool,
    /// How often it was listed in this round, and how many rows the lists found that are collected
    /// but not counted as such.
    pub lists: u32,
    pub unmatched: u64,
    /// How many rows the last list brought.
    pub rows: u64,
    /// The smallest excess of SentinelOne's count over the collected records, after a list.
    pub least: i64,
    /// The most rows requested in one list page: a larger one failed.
    pub rows_max: u32,
    /// A larger one was rejected.
    pub is_limited: bool,
    /// The cursor of the page of one row that failed, and the unmatched rows before it.
    pub failed_at: Option<(Option<Cursor>, u64)>,
    /// A page of it was rejected, and so was its cursor: it is listed from its beginning each time.
    pub is_rejected: bool,
    /// How often its count failed.
    pub counts_failed: u32,
    /// It was set aside before, so one failure is enough to set it aside again.
    pub was_aside: bool,
    /// An earlier round counted more in it than was listed.
    pub is_overcounted: bool,
}

impl Range {
    pub fn new(from: Option<Stamp>, to: Stamp, is_new: bool) -> Range {
        Range {
            from,
            to,
            is_new,
            lists: 0,
            unmatched: 0,
            rows: 0,
            least: i64::MAX,
            rows_max: limits::PAGE_ROWS_MAX,
            is_limited: false,
            failed_at: None,
            is_rejected: false,
            counts_failed: 0,
            was_aside: false,
            is_overcounted: false,
        }
    }
}

/// A range that is being listed.
#[derive(Clone, Debug)]
pub struct Listing {
    pub difference: Difference,
    pub cursor: Option<Cursor>,
    /// Rows that walks know and that are not among the collected ones that were counted.
    pub unmatched: u64,
    /// The stamps of rows in the list that had not been collected.
    pub late: Vec<Stamp>,
    /// Consecutive pages without a row, each with a cursor.
    pub empty_pages: u32,
    /// How many rows the last page was asked for, and how many have come in all.
    pub asked: u32,
    pub rows: u64,
}

impl Listing {
    pub fn new(difference: Difference, cursor: Option<Cursor>, unmatched: u64) -> Listing {
        let (late, empty_pages, asked, rows) = (vec![], 0, 0, 0);
        Listing { difference, cursor, unmatched, late, empty_pages, asked, rows }
    }

    /// Whether the list may be cut: its last page has no cursor although fewer rows came than were
    /// counted, and has as many rows as a page may have. If just as many came as were collected,
    /// the count is wrong instead.
    pub fn is_cut(&self, last: usize) -> bool {
        let Difference { there, collected, .. } = self.difference;
        let lacks_some = there.is_some_and(|there| self.rows < there && self.rows != collected);
        let is_full = last >= self.asked as usize;
        is_full && (there.is_none() || lacks_some) || may_be_cut(last) && lacks_some
    }
}

#[derive(Clone, Debug)]
pub struct Round {
    /// The end of the compared time.
    pub closed: Stamp,
    pub requests: u32,
    pub requests_max: u32,
    /// The rows of a list page that was answered after larger ones were rejected.
    pub answered: Option<u32>,
}

impl Round {
    pub fn new(closed: Stamp) -> Round {
        let requests_max = limits::RECONCILE_REQUESTS_MAX;
        Round { closed, requests: 0, requests_max, answered: None }
    }

    /// A list or a count failed: finding the one row among many that fails takes more requests.
    pub fn allow_more(&mut self) {
        let most = limits::RECONCILE_REQUESTS_MAX * limits::UNLISTED_ROUND_TIMES;
        self.requests_max = (self.requests_max + limits::UNLISTED_REQUESTS).min(most);
    }
}

#[cfg(test)]
#[path = "../tests/round.rs"]
mod tests;
