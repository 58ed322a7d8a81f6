//! What the rejection of a list is about: its cursor, a row in it, or lists altogether.
//!
//! ```text
//!   with a cursor       the cursor, twice; then a row: the range is divided, which also needs fewer cursors,
//!                       and a second is listed from its beginning
//!   many rows           their number: fewer are requested
//!   one row             a row, if any list came; if none did, a list of nothing is requested next, and
//!                       where that one is rejected too, all lists are
//! ```
//!
//! Promises: no rejection leads to the same list for ever. Never: IO; finds which row it is.

use super::{List, Reconcile};
use crate::limits;
use crate::time::{Mono, Span, Stamp};

/// What rejected lists have shown in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rejections {
    /// How often a cursor was taken for the reason.
    pub cursors: u32,
    /// A list came, so that lists are not rejected altogether.
    pub was_listed: bool,
    /// A list of nothing is requested next.
    pub is_twin_asked: bool,
}

impl Rejections {
    /// Whether another rejected cursor is not the reason: a divided range needs fewer of them, if it was.
    pub fn are_cursors_innocent(&self) -> bool {
        self.cursors >= limits::CURSORS_REFUSED_MAX
    }
}

impl Reconcile {
    /// Whether the rejection of a list of so many rows is taken for that of a row in it. It is taken back
    /// if a list of nothing, which is requested next, is rejected too.
    pub fn is_of_a_row(&self, rows: u32) -> bool {
        let is_by_cursor = self.listing.as_ref().is_some_and(|listing| listing.cursor.is_some());
        match is_by_cursor {
            _ if self.rejections.is_twin_asked => false,
            true => self.rejections.are_cursors_innocent(),
            false => rows == 1,
        }
    }

    /// The list of nothing, if it is next.
    pub fn twin(&self, stream: usize) -> Option<List> {
        let (from, to) = (Stamp::EPOCH, Stamp::EPOCH + Span::seconds(1));
        let list = List { stream, from, to, cursor: None, rows_max: 1 };
        self.rejections.is_twin_asked.then_some(list)
    }

    /// A list came. Returns whether it was that of nothing.
    pub fn twin_came(&mut self, now: Mono, pace: Span) -> bool {
        let was_asked = std::mem::take(&mut self.rejections.is_twin_asked);
        if was_asked {
            self.rejections.was_listed = true;
            self.made(now, pace);
        }
        was_asked
    }

    /// The list begins again at its range, if it was requested by a cursor: that is taken for the reason
    /// of its rejection.
    pub fn reject_cursor(&mut self) -> bool {
        let was_by_cursor = self.restart_listing();
        self.rejections.cursors += u32::from(was_by_cursor);
        was_by_cursor
    }
}
