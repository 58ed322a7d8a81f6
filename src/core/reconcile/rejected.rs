//! What the rejection of a list is about: its cursor, a row in it, or lists altogether.
//!
//! ```text
//!   with a cursor       the cursor, twice; then a row: the range is divided, which also needs fewer cursors
//!   many rows           their number: fewer are requested
//!   one row             a row, if any list came, or its range can be divided; otherwise all lists
//! ```
//!
//! Promises: no rejection leads to the same list for ever. Never: IO; finds which row it is.

use super::round::Listing;
use super::{Reconcile, roundest_second};
use crate::limits;

/// What rejected lists have shown in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rejections {
    /// How often a cursor was taken for the reason.
    pub cursors: u32,
    /// A list came, so that lists are not rejected altogether.
    pub was_listed: bool,
}

impl Rejections {
    /// Whether another rejected cursor is not the reason: a divided range needs fewer of them, if it was.
    pub fn are_cursors_innocent(&self) -> bool {
        self.cursors >= limits::CURSORS_REFUSED_MAX
    }
}

impl Reconcile {
    /// Whether the rejection of a list of so many rows is about a row in it.
    pub fn is_of_a_row(&self, rows: u32) -> bool {
        let Some(Listing { difference, cursor, .. }) = &self.listing else { return false };
        let is_divisible = roundest_second(difference.from, difference.to).is_some();
        match cursor {
            Some(_) => self.rejections.are_cursors_innocent(),
            None => rows == 1 && (self.rejections.was_listed || is_divisible),
        }
    }

    /// The list begins again at its range, if it was requested by a cursor: that is taken for the reason
    /// of its rejection.
    pub fn reject_cursor(&mut self) -> bool {
        let was_by_cursor = self.restart_listing();
        self.rejections.cursors += u32::from(was_by_cursor);
        was_by_cursor
    }
}
