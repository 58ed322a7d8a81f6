//! The entries at the head of the queue among which one, or their number, is to blame for a failure.
//!
//! ```text
//!   a batch fails --> its entries are suspects --> half of them is tried, and so on
//!     all were taken in smaller batches: the batch was too large, and that is learned
//!     one failed alone: it is to blame, or the sink is; an empty array after each try tells which
//! ```
//!
//! Promises: a fault among n entries costs a logarithm of n in requests; a size is learned only where
//! no record is to blame and none failed alone. Never: knows what an answer said.

use crate::record::{Place, Sent};

use super::blame::Blame;

#[derive(Clone, Debug, Default)]
pub struct Suspects {
    entries: u32,
    /// The smallest batch of several that failed.
    failed_raw_bytes: Option<u64>,
    /// The key is good: what is refused like a bad one is so for its content.
    content_refused: bool,
    pub blame: Blame<Place>,
}

impl Suspects {
    /// How many may be sent at once; `None`: nothing is suspected.
    pub fn entries_max(&self) -> Option<u32> {
        (self.entries > 0).then(|| self.entries.div_ceil(2))
    }

    pub fn is_content_refused(&self) -> bool {
        self.content_refused
    }

    /// These were refused together, and it was found out that the key is not meant.
    pub fn refused_with_a_good_key(&mut self, sent: Sent) {
        self.failed(sent);
        self.content_refused = true;
    }

    /// These failed together: there are too many of them, or one is to blame, or none.
    pub fn failed(&mut self, sent: Sent) {
        self.entries = sent.entries;
        let smallest = self.failed_raw_bytes.unwrap_or(u64::MAX);
        self.failed_raw_bytes = Some(smallest.min(sent.raw_bytes));
    }

    /// One failed alone: that shows that it was not for their number.
    pub fn failed_alone(&mut self, sent: Sent) {
        (self.entries, self.failed_raw_bytes) = (sent.entries, None);
    }

    /// So many were let go of from the head on. Answers with the size that they turned out to be too
    /// large for, once the last of them is.
    pub fn passed(&mut self, entries: u32) -> Option<u64> {
        self.blame.acquit();
        self.entries = self.entries.saturating_sub(entries);
        if self.entries > 0 {
            return None;
        }
        let too_large = self.failed_raw_bytes;
        self.clear();
        too_large
    }

    /// The one to blame is found, or the head is another one.
    pub fn clear(&mut self) {
        self.blame.acquit();
        *self = Suspects { blame: std::mem::take(&mut self.blame), ..Suspects::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Seq;

    fn sent(entries: u32, raw_bytes: u64) -> Sent {
        let end = Place { seq: Seq(1), skip: entries };
        Sent { first: Place { seq: Seq(1), skip: 0 }, end, entries, own: 0, raw_bytes }
    }

    #[test]
    fn a_size_is_learned_once_all_that_failed_together_were_taken_apart() {
        let mut suspects = Suspects::default();
        suspects.failed(sent(100, 200_000));
        assert_eq!(suspects.entries_max(), Some(50));
        suspects.failed(sent(50, 100_000));
        assert_eq!(suspects.entries_max(), Some(25));
        assert_eq!(suspects.passed(25), None);
        assert_eq!(suspects.entries_max(), Some(13));
        assert_eq!(suspects.passed(13), None);
        assert_eq!(suspects.passed(12), Some(100_000));
        assert_eq!((suspects.entries_max(), suspects.passed(5)), (None, None));
    }

    #[test]
    fn where_one_failed_alone_no_size_is_learned() {
        let mut suspects = Suspects::default();
        suspects.failed(sent(2, 5_000));
        suspects.failed_alone(sent(1, 2_500));
        assert_eq!(suspects.passed(1), None);
    }
}
