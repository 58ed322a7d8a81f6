//! Ranges of a stream's time of which everything was collected, though its position is before them.
//!
//! Damage sets a position back to before what it took. What lies between that and where the stream
//! stood is in the queue or delivered, and far more than can be remembered by its ids. Promises: a range
//! is forgotten rather than made longer (keeps P1: too short a range costs only duplicates); at most
//! `COVERED_RANGES_MAX` of them (P5).

use crate::limits::COVERED_RANGES_MAX;
use crate::time::Stamp;

/// Ranges in order, apart from each other, each without its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    ranges: Vec<(Stamp, Stamp)>,
}

impl Covered {
    /// Of ranges that were stored. `None`: they are not what `ranges` gave.
    pub fn of(ranges: Vec<(Stamp, Stamp)>) -> Option<Covered> {
        let ends = ranges.iter().flat_map(|(from, to)| [from, to]);
        let is_apart = ends.is_sorted_by(|a, b| a < b);
        (is_apart && ranges.len() <= COVERED_RANGES_MAX).then_some(Covered { ranges })
    }

    pub fn ranges(&self) -> &[(Stamp, Stamp)] {
        &self.ranges
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn has(&self, stamp: Stamp) -> bool {
        let behind = self.ranges.partition_point(|(from, _)| *from <= stamp);
        behind > 0 && stamp < self.ranges[behind - 1].1
    }

    /// Whether one range has all from the one stamp to the other.
    pub fn has_all(&self, from: Stamp, to: Stamp) -> bool {
        self.ranges.iter().any(|(first, end)| *first <= from && to < *end)
    }

    /// Whether everything that another one has is in this one too.
    pub fn has_all_of(&self, other: &Covered) -> bool {
        other.ranges.iter().all(|(from, to)| self.has_all(*from, Stamp(to.0 - 1)))
    }

    pub fn end(&self) -> Option<Stamp> {
        self.ranges.last().map(|(_, to)| *to)
    }

    /// Everything from here to before there was collected.
    pub fn add(&mut self, from: Stamp, to: Stamp) {
        if from >= to {
            return;
        }
        let (mut first, mut end) = (from, to);
        self.ranges.retain(|(from, to)| {
            let is_apart = *to < first || *from > end;
            if !is_apart {
                (first, end) = (first.min(*from), end.max(*to));
            }
            is_apart
        });
        let at = self.ranges.partition_point(|(from, _)| *from < first);
        self.ranges.insert(at, (first, end));
        self.shorten();
    }

    /// What is dated from the one stamp to the other is to be collected again.
    pub fn remove(&mut self, from: Stamp, to: Stamp) {
        let behind = Stamp(to.0.saturating_add(1));
        let parts = self
            .ranges
            .iter()
            .flat_map(|(first, end)| [(*first, (*end).min(from)), ((*first).max(behind), *end)]);
        self.ranges = parts.filter(|(from, to)| from < to).collect();
        // A range that touches none of it came twice.
        self.ranges.dedup();
        self.shorten();
    }

    /// What is before this is not asked for any more.
    pub fn forget_before(&mut self, from: Stamp) {
        self.ranges.retain(|(_, to)| *to > from);
    }

    fn shorten(&mut self) {
        while self.ranges.len() > COVERED_RANGES_MAX {
            let lengths = self.ranges.iter().map(|(from, to)| to.0.abs_diff(from.0)).enumerate();
            let shortest = lengths.min_by_key(|(_, length)| *length).map(|(at, _)| at);
            self.ranges.remove(shortest.expect("more than the bound is more than none"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(ranges: &[(i64, i64)]) -> Covered {
        let mut covered = Covered::default();
        ranges.iter().for_each(|(from, to)| covered.add(Stamp(*from), Stamp(*to)));
        covered
    }

    fn ranges(covered: &Covered) -> Vec<(i64, i64)> {
        covered.ranges().iter().map(|(from, to)| (from.0, to.0)).collect()
    }

    #[test]
    fn ranges_that_meet_are_one() {
        for (added, is) in [
            (vec![(1, 3), (5, 7)], vec![(1, 3), (5, 7)]),
            (vec![(5, 7), (1, 3), (3, 5)], vec![(1, 7)]),
            (vec![(1, 9), (3, 4)], vec![(1, 9)]),
            (vec![(3, 4), (1, 9)], vec![(1, 9)]),
            (vec![(4, 4), (5, 3)], vec![]),
        ] {
            assert_eq!(ranges(&covered(&added)), is, "{added:?}");
        }
    }

    #[test]
    fn what_is_removed_is_not_covered() {
        for (from, to, is) in [
            (4, 5, vec![(1, 4), (6, 10), (20, 30)]),
            (1, 1, vec![(2, 10), (20, 30)]),
            (9, 20, vec![(1, 9), (21, 30)]),
            (12, 15, vec![(1, 10), (20, 30)]),
            (0, 99, vec![]),
            (5, i64::MAX, vec![(1, 5)]),
        ] {
            let mut covered = covered(&[(1, 10), (20, 30)]);
            covered.remove(Stamp(from), Stamp(to));
            assert_eq!(ranges(&covered), is, "{from} to {to}");
            for stamp in 0..40 {
                let is_in = is.iter().any(|(from, to)| (*from..*to).contains(&stamp));
                assert_eq!(covered.has(Stamp(stamp)), is_in, "{stamp}");
            }
        }
    }

    #[test]
    fn what_is_stored_is_read_again_and_what_makes_no_sense_is_not() {
        let covered = covered(&[(1, 10), (20, 30)]);
        assert_eq!(Covered::of(covered.ranges().to_vec()), Some(covered));
        for ranges in [[(5, 5), (7, 8)], [(1, 9), (8, 12)], [(7, 9), (1, 2)]] {
            let ranges = ranges.map(|(from, to)| (Stamp(from), Stamp(to))).to_vec();
            assert_eq!(Covered::of(ranges), None);
        }
    }

    #[test]
    fn of_too_many_the_shortest_is_forgotten() {
        let mut covered = Covered::default();
        for n in 0..COVERED_RANGES_MAX as i64 + 1 {
            covered.add(Stamp(n * 100), Stamp(n * 100 + if n == 7 { 5 } else { 50 }));
        }
        assert_eq!(covered.ranges().len(), COVERED_RANGES_MAX);
        assert!(!covered.has(Stamp(701)) && covered.has(Stamp(601)) && covered.has(Stamp(801)));
    }

    #[test]
    fn what_is_passed_is_forgotten() {
        let mut covered = covered(&[(1, 10), (20, 30)]);
        covered.forget_before(Stamp(10));
        assert_eq!(ranges(&covered), [(20, 30)]);
        assert!(covered.has_all(Stamp(20), Stamp(29)) && !covered.has_all(Stamp(20), Stamp(30)));
        assert_eq!(covered.end(), Some(Stamp(30)));
    }
}
