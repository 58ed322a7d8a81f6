//! How many rows a page is asked for: what the source and the link were seen to bear.
//!
//! Promises: a page that failed in a way that may be its size is asked for with half as many rows, down
//! to one; one that takes more than half of the time allowed for an exchange is not asked for again as
//! large. An outage teaches nothing: where even one row failed, the next page that comes is followed by
//! full ones.

use super::size::Size;
use crate::limits;
use crate::record::StreamLearned;
use crate::time::Span;

#[derive(Clone, Debug)]
pub struct Rows {
    size: Size,
    /// A page of one row failed, and none came since: its size is not to blame.
    one_failed: bool,
    /// The most rows of a page that this process took in.
    taken: u32,
    /// How long an exchange may take in all.
    whole: Option<Span>,
}

impl Rows {
    pub fn new(whole: Option<Span>) -> Rows {
        Rows { size: full(), one_failed: false, taken: 0, whole }
    }

    /// Begins with what earlier processes learned. One that ended in a page asks for half of it.
    pub fn remembering(mut self, learned: &StreamLearned) -> Rows {
        if let Some(rows) = learned.rows {
            self.size.begin_with(u64::from(rows));
        }
        if let Some(asked) = learned.asking {
            self.size.failed(u64::from(asked));
        }
        self
    }

    /// Rows of a page, if that is not what every process begins with.
    pub fn learned(&self) -> Option<u32> {
        (self.now() < limits::PAGE_ROWS_MAX).then_some(self.now())
    }

    /// Whether no page as large was taken in by this process yet.
    pub fn is_new(&self, rows: u32) -> bool {
        rows > self.taken.max(1)
    }

    pub fn now(&self) -> u32 {
        u32::try_from(self.size.now()).expect("no more than a page of rows")
    }

    /// A page failed in a way that a smaller one may not.
    pub fn failed(&mut self) {
        self.one_failed |= self.now() == 1;
        self.size.failed(self.size.now());
    }

    /// A row was to blame and is passed over: no size is.
    pub fn recover(&mut self) {
        (self.size, self.one_failed) = (full(), false);
    }

    /// A page of so many rows was read within `took`, and stored.
    pub fn read(&mut self, rows: usize, took: Span) {
        // What fewer rows than asked for says of more is that they would have been no more.
        self.taken = self.taken.max(self.now());
        if std::mem::take(&mut self.one_failed) {
            self.size = full();
            return;
        }
        let is_small = self.size.is_small(rows as u64);
        self.size.succeeded(rows as u64, took, self.whole);
        // A quiet stream has no larger pages, and its size has to come back for what is listed.
        if is_small {
            self.size.passed();
        }
    }
}

fn full() -> Size {
    let most = u64::from(limits::PAGE_ROWS_MAX);
    Size::beginning(1, most, most)
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
