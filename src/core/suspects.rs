//! The entries at the head of the queue, one of which, or their number, is to blame for a failure.
//!
//! ```text
//!   a batch fails --> its entries are suspects --> half of them is tried, and so on
//!     all were taken in smaller batches: the batch was too large, and that is learned
//!     one failed alone: it is to blame, or the sink is; an empty array after each try tells which
//! ```
//!
//! Promises: one bad entry among n costs a logarithm of n in requests; a size is learned only if no
//! record is to blame and none failed alone. Never: knows what an answer said.

use crate::record::{QueuePosition, Sent};

use super::blame::Blame;

/// A batch that was too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch {
    pub entries: u32,
    pub raw_bytes: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Suspects {
    entries: u32,
    /// The smallest batch of several that failed.
    smallest: Option<TooMuch>,
    /// The key is good: a rejection like that of a bad key is because of the content.
    content_refused: bool,
    /// They are rejected like a bad key, or put off, by a sink that accepts an empty array: the
    /// reason may be the content, the key, or that the sink accepts only empty arrays.
    in_question: bool,
    pub blame: Blame<QueuePosition>,
}

impl Suspects {
    /// How many entries may be sent at once; `None`: nothing is suspected.
    pub fn entries_max(&self) -> Option<u32> {
        (self.entries > 0).then(|| self.entries.div_ceil(2))
    }

    pub fn is_content_refused(&self) -> bool {
        self.content_refused
    }

    pub fn is_in_question(&self) -> bool {
        self.in_question
    }

    /// Puts the entries in question. Returns whether they were not before.
    pub fn question(&mut self) -> bool {
        !std::mem::replace(&mut self.in_question, true)
    }

    /// These were rejected together, and the key was found to be good.
    pub fn refused_with_a_good_key(&mut self, sent: Sent) {
        self.failed(sent.entries, sent.raw_bytes);
        self.content_refused = true;
    }

    /// These failed together: there are too many of them, or one is to blame, or none.
    pub fn failed(&mut self, entries: u32, raw_bytes: u64) {
        self.entries = entries;
        self.smallest = Some(match self.smallest {
            None => TooMuch { entries, raw_bytes },
            Some(most) => TooMuch {
                entries: most.entries.min(entries),
                raw_bytes: most.raw_bytes.min(raw_bytes),
            },
        });
    }

    /// What failed together says nothing of a size.
    pub fn forget_size(&mut self) {
        self.smallest = None;
    }

    /// One failed alone, so their number was not the reason.
    pub fn failed_alone(&mut self, sent: Sent) {
        (self.entries, self.smallest) = (sent.entries, None);
    }

    /// `entries` were removed from the head. Returns the size that was too large, once the last
    /// suspect is removed.
    pub fn passed(&mut self, entries: u32) -> Option<TooMuch> {
        self.blame.acquit();
        self.entries = self.entries.saturating_sub(entries);
        if self.entries > 0 {
            return None;
        }
        let too_much = self.smallest;
        self.clear();
        too_much
    }

    /// The one to blame is found, or the head is another entry.
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
        let end = QueuePosition { seq: Seq(1), skip: entries };
        Sent { first: QueuePosition { seq: Seq(1), skip: 0 }, end, entries, own: 0, raw_bytes }
    }

    #[test]
    fn a_size_is_learned_once_all_that_failed_together_were_taken_apart() {
        let mut suspects = Suspects::default();
        suspects.failed(100, 200_000);
        assert_eq!(suspects.entries_max(), Some(50));
        suspects.failed(50, 100_000);
        assert_eq!(suspects.entries_max(), Some(25));
        assert_eq!(suspects.passed(25), None);
        assert_eq!(suspects.entries_max(), Some(13));
        assert_eq!(suspects.passed(13), None);
        assert_eq!(suspects.passed(12), Some(TooMuch { entries: 50, raw_bytes: 100_000 }));
        assert_eq!((suspects.entries_max(), suspects.passed(5)), (None, None));
    }

    #[test]
    fn where_one_failed_alone_no_size_is_learned() {
        let mut suspects = Suspects::default();
        suspects.failed(2, 5_000);
        suspects.failed_alone(sent(1, 2_500));
        assert_eq!(suspects.passed(1), None);
    }

    #[test]
    fn what_is_in_question_or_refused_with_a_good_key_is_so_until_the_suspects_are_done_with() {
        let mut suspects = Suspects::default();
        let state = |suspects: &Suspects| {
            (suspects.entries_max(), suspects.is_content_refused(), suspects.is_in_question())
        };
        assert_eq!(state(&suspects), (None, false, false));
        assert_eq!([suspects.question(), suspects.question()], [true, false]);
        suspects.refused_with_a_good_key(sent(8, 9_000));
        assert_eq!(state(&suspects), (Some(4), true, true));
        assert_eq!(suspects.passed(5), None);
        assert_eq!(state(&suspects), (Some(2), true, true));
        assert_eq!(suspects.passed(3), Some(TooMuch { entries: 8, raw_bytes: 9_000 }));
        assert_eq!(state(&suspects), (None, false, false));
    }

    #[test]
    fn no_size_is_learned_of_what_was_put_off_or_of_one_that_failed_before_others_did() {
        let mut suspects = Suspects::default();
        suspects.failed(8, 9_000);
        suspects.forget_size();
        assert_eq!(suspects.passed(8), None);
        suspects.failed_alone(sent(1, 100));
        assert_eq!((suspects.entries_max(), suspects.passed(1)), (Some(1), None));
        suspects.failed(1, 100);
        suspects.failed_alone(sent(1, 100));
        suspects.failed(2, 5_000);
        assert_eq!(suspects.passed(2), Some(TooMuch { entries: 2, raw_bytes: 5_000 }));
    }

    #[test]
    fn one_that_was_passed_or_is_no_more_at_the_head_is_not_blamed_any_further() {
        for ends in [|suspects: &mut Suspects| _ = suspects.passed(1), Suspects::clear] {
            let mut suspects = Suspects::default();
            suspects.failed(9, 900);
            let at = QueuePosition { seq: Seq(1), skip: 0 };
            let now = crate::time::Mono(0);
            let long = crate::time::Span::ZERO;
            assert!(!suspects.blame.failed(now, at, crate::record::Way::Refused, long, 0));
            ends(&mut suspects);
            assert_eq!(suspects.blame.lone(), None);
        }
    }
}
