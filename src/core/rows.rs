//! How many rows are requested in a page: as many as the source and the link were seen to manage.
//!
//! Promises: a page that failed in a way that may be caused by its size is requested with half as
//! many rows, down to one; one that takes more than half of the time limit of an exchange is not
//! requested again in that size. An outage teaches nothing: if even one row failed, the next page
//! that comes is followed by full ones. A page during which the kernel killed a process for lack of
//! memory is not requested again in that size until many smaller ones were full.

use super::size::Size;
use crate::limits;
use crate::record::{Bears, StreamLearned};
use crate::time::Span;

#[derive(Clone, Debug)]
pub struct Rows {
    size: Size,
    /// A page of one row failed, and none came since: its size is not the reason.
    one_failed: bool,
    /// The most rows requested in a page that this process received.
    taken: u32,
    /// The time limit of an exchange.
    whole: Option<Span>,
    bears: Option<Bears>,
    /// Full pages since `bears` was last raised.
    full: u32,
    /// The last process ended during a page, and none with a new row has come since.
    is_after_end: bool,
}

impl Rows {
    pub fn new(whole: Option<Span>) -> Rows {
        let size = up_to(limits::PAGE_ROWS_MAX);
        Rows { size, one_failed: false, taken: 0, whole, bears: None, full: 0, is_after_end: false }
    }

    /// Begins with what earlier processes learned. If one ended during a page, half of that page is
    /// requested.
    pub fn remembering(mut self, learned: &StreamLearned) -> Rows {
        self.bears = learned.bears;
        self.size.bound(u64::from(self.most()));
        if let Some(rows) = learned.rows {
            self.size.begin_with(u64::from(rows));
        }
        if let Some(asked) = learned.asking {
            self.size.failed(u64::from(asked));
            self.is_after_end = true;
        }
        self
    }

    /// The rows of a page, if they differ from what a new process begins with.
    pub fn learned(&self) -> Option<u32> {
        (self.now() < limits::PAGE_ROWS_MAX).then_some(self.now())
    }

    /// The limit after a process was killed, as it is remembered for the next one.
    pub fn bears(&self) -> Option<Bears> {
        self.bears
    }

    fn most(&self) -> u32 {
        self.bears.map_or(limits::PAGE_ROWS_MAX, |bears| bears.rows.min(limits::PAGE_ROWS_MAX))
    }

    /// Whether this process has not received a page as large yet.
    pub fn is_new(&self, rows: u32) -> bool {
        rows > self.taken.max(1)
    }

    pub fn now(&self) -> u32 {
        u32::try_from(self.size.now()).expect("no more than a page of rows")
    }

    /// A page failed in a way in which a smaller one may not.
    pub fn failed(&mut self) {
        self.one_failed |= self.now() == 1;
        self.size.failed(self.size.now());
    }

    /// A row was to blame and is passed over: the size is not the reason.
    pub fn recover(&mut self) {
        (self.size, self.one_failed) = (up_to(self.most()), false);
    }

    /// A page that was requested with the present number of rows was stored. A page with fewer rows
    /// shows that there were no more. A list of reconciliation is requested with a size of its own.
    pub fn accepted(&mut self) {
        self.taken = self.taken.max(self.now());
    }

    /// A page of a walk was read. After a process that ended during a page, pages without a new row do not
    /// raise the size: otherwise each process would read what is known, and end where the last one did.
    pub fn page_read(&mut self, rows: usize, took: Span, is_new: bool) {
        self.is_after_end &= !is_new;
        if !self.is_after_end {
            self.read(rows, took);
        }
    }

    /// A page or list of `rows` rows was read within `took`, and stored.
    pub fn read(&mut self, rows: usize, took: Span) {
        if std::mem::take(&mut self.one_failed) {
            self.size = up_to(self.most());
            return;
        }
        if rows >= self.now() as usize {
            self.raise_what_memory_bears();
        }
        let is_small = self.size.is_small(rows as u64);
        self.size.succeeded(rows as u64, took, self.whole);
        // A stream without new records has no larger pages, and its size has to recover for lists.
        if is_small {
            self.size.passed();
        }
    }

    /// A full page came: after enough of them a larger one may fit into memory.
    fn raise_what_memory_bears(&mut self) {
        let Some(bears) = self.bears.as_mut().filter(|bears| bears.rows < limits::PAGE_ROWS_MAX)
        else {
            return;
        };
        self.full += 1;
        if self.full >= bears.after {
            self.full = 0;
            bears.rows = bears.rows.saturating_mul(2).min(limits::PAGE_ROWS_MAX);
            self.size.bound(u64::from(bears.rows));
        }
    }
}

fn up_to(most: u32) -> Size {
    Size::beginning(1, u64::from(most), u64::from(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_fails_above_a_size_is_soon_asked_for_less_and_rarely_for_more() {
        let mut rows = Rows::new(None);
        let (mut read, mut failed) = (0, 0);
        while read < 100_000 {
            if rows.now() > 200 {
                rows.failed();
                failed += 1;
            } else {
                let came = rows.now() as usize;
                read += came;
                rows.read(came, Span::seconds(1));
            }
        }
        assert_eq!(rows.now(), 125);
        assert!(failed <= 12, "{failed} of the pages failed");
    }

    #[test]
    fn an_outage_is_forgotten_with_the_first_page_that_comes() {
        let mut rows = Rows::new(None);
        (0..40).for_each(|_| rows.failed());
        assert_eq!(rows.now(), 1);
        rows.read(1, Span::seconds(1));
        assert_eq!(rows.now(), limits::PAGE_ROWS_MAX);
    }

    #[test]
    fn what_killed_a_process_is_not_asked_for_again_before_many_full_pages_came() {
        let bears = Some(Bears { rows: 250, after: 64 });
        let learned = StreamLearned { asking: Some(500), bears, ..StreamLearned::default() };
        let mut rows = Rows::new(None).remembering(&learned);
        for page in 0..64 {
            assert_eq!(rows.now(), 250, "{page}");
            rows.read(3, Span::ms(1));
            rows.read(250, Span::ms(1));
        }
        (0..8).for_each(|_| rows.read(250, Span::ms(1)));
        assert_eq!((rows.now(), rows.bears()), (500, Some(Bears { rows: 500, after: 64 })));
        // Neither an outage nor a row to blame forgets it.
        (0..40).for_each(|_| rows.failed());
        rows.read(1, Span::ms(1));
        assert_eq!(rows.now(), 500);
        rows.recover();
        assert_eq!(rows.now(), 500);
    }

    #[test]
    fn after_an_end_during_a_page_known_rows_raise_nothing_before_new_ones_came() {
        let learned =
            StreamLearned { rows: Some(124), asking: Some(124), ..StreamLearned::default() };
        let mut rows = Rows::new(None).remembering(&learned);
        (0..9).for_each(|_| rows.page_read(62, Span::ms(1), false));
        assert_eq!(rows.now(), 62);
        (0..9).for_each(|_| rows.page_read(62, Span::ms(1), true));
        assert!(rows.now() > 62);
    }

    #[test]
    fn what_memory_bears_is_raised_by_full_pages_only_and_by_so_many_each_time() {
        let bears = |rows| Some(Bears { rows, after: 64 });
        let learned = StreamLearned { bears: bears(125), ..StreamLearned::default() };
        let mut rows = Rows::new(None).remembering(&learned);
        (0..999).for_each(|_| rows.read(124, Span::ms(1)));
        assert_eq!((rows.now(), rows.bears()), (125, bears(125)));
        for raised in [250, 500] {
            let before = rows.bears();
            let full = rows.now() as usize;
            (1..64).for_each(|_| rows.read(full, Span::ms(1)));
            assert_eq!(rows.bears(), before);
            rows.read(full, Span::ms(1));
            assert_eq!(rows.bears(), bears(raised));
            (0..9).for_each(|_| rows.read(rows.now() as usize / 2, Span::ms(1)));
        }
    }

    #[test]
    fn a_size_is_learned_where_it_is_less_than_a_page_may_have_and_until_a_row_is_passed_over() {
        let mut rows = Rows::new(None);
        assert_eq!(rows.learned(), None);
        (0..40).for_each(|_| rows.failed());
        assert_eq!(rows.learned(), Some(1));
        rows.recover();
        assert_eq!((rows.now(), rows.learned()), (limits::PAGE_ROWS_MAX, None));
        rows.failed();
        // Nothing of the one row is left.
        rows.read(500, Span::ms(1));
        assert_eq!(rows.learned(), Some(500));
    }

    #[test]
    fn a_quiet_stream_gets_its_size_back() {
        let mut rows = Rows::new(None);
        (0..7).for_each(|_| rows.failed());
        let mut polls = 0;
        while rows.now() < limits::PAGE_ROWS_MAX {
            rows.read(1, Span::ms(10));
            polls += 1;
        }
        assert!(polls <= 8 * limits::SIZE_RAISE_AFTER, "{polls}");
    }

    #[test]
    fn a_page_takes_half_of_the_time_allowed_at_most() {
        let mut rows = Rows::new(Some(Span::minutes(10)));
        rows.read(1_000, Span::minutes(8));
        assert_eq!(rows.now(), 625);
        rows.read(3, Span::seconds(30));
        assert_eq!(rows.now(), 625, "a few rows say nothing of many");
        rows.read(60, Span::minutes(3));
        assert_eq!(rows.now(), 100, "but where they took long all the same");
    }
}
