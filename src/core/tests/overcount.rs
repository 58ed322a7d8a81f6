//! Which ranges are counted again, what is told of them, and what becomes of that.

use super::*;

fn at(seconds: i64) -> Stamp {
    Stamp::from_seconds(1_800_000_000 + seconds)
}

fn hours(hours: u64) -> Mono {
    Mono(Span::hours(hours).as_ms())
}

/// In each round the ranges given are found, each with one record too many.
fn found(rounds: &[&[(i64, i64)]]) -> Overcounts {
    let mut overs = Overcounts::default();
    for ranges in rounds {
        overs.begin_round(at(0));
        ranges.iter().for_each(|(from, to)| overs.found(hours(0), at(*from), at(*to), 1));
    }
    overs
}

fn ranges(overs: &Overcounts) -> Vec<(Stamp, Stamp)> {
    overs.by_from.values().map(|over| (over.from, over.to)).collect()
}

#[test]
fn what_is_told_is_listed_again_once_a_day_and_the_rest_each_time() {
    let mut overs = found(&[&[(0, 10)]]);
    let is_due = |overs: &Overcounts, hour| overs.by_from[&at(0)].is_to_be_listed(hours(hour));
    assert!(is_due(&overs, 0));
    overs.told(at(0));
    let day = limits::UNLISTED_AGAIN_HOURS;
    assert_eq!([0, day - 1, day].map(|hour| is_due(&overs, hour)), [false, false, true]);
}

#[test]
fn a_round_counts_those_first_that_nobody_was_told_of_and_all_in_their_turn() {
    let most = limits::UNLISTED_AT_ONCE;
    let all: Vec<(i64, i64)> = (0..2 * most as i64).map(|at| (10 * at, 10 * at + 5)).collect();
    let mut overs = found(&[&all]);
    let last = all.len() - 1;
    all[..last].iter().for_each(|(from, _)| overs.told(at(*from)));
    let closed = at(all[last].1);
    let mut asked = vec![];
    for _ in 0..3 {
        let round = overs.begin_round(closed);
        assert_eq!((round.len(), round[0]), (most, (at(all[last].0), closed)));
        asked.extend(round);
    }
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), all.len());
    // What is not closed any more waits.
    let round = overs.begin_round(closed - Span::ms(1));
    assert!(!round.contains(&(at(all[last].0), closed)), "{round:?}");
}

#[test]
fn one_is_asked_for_by_its_range_and_begins_later_once_ids_are_kept_from_later_on() {
    let begun = |from, to| {
        let mut overs = found(&[&[(0, 10)]]);
        let over = overs.of(Some(at(0)), at(from), at(to));
        assert_eq!(
            ranges(&overs),
            over.map(|over| (over.from, over.to)).into_iter().collect::<Vec<_>>()
        );
        over.map(|over| (over.from, over.to))
    };
    assert_eq!(begun(0, 10), Some((at(0), at(10))));
    assert_eq!(begun(9, 10), Some((at(9), at(10))));
    // Another range, or nothing is left of it.
    assert_eq!((begun(0, 9), begun(10, 10), begun(11, 10)), (None, None, None));
}

/// Only a later round that finds the same range tells of it.
#[test]
fn a_range_beside_another_one_is_none_that_was_found_before() {
    for beside in [(10, 20), (-10, 0)] {
        let mut overs = found(&[&[(0, 10)], &[beside]]);
        assert_eq!(overs.to_tell(), None, "{beside:?}");
        overs.begin_round(at(0));
        overs.found(hours(0), at(beside.0), at(beside.1), 1);
        assert_eq!(overs.to_tell().map(|over| over.from), Some(at(beside.0)));
    }
    for part in [(0, 10), (9, 20), (-10, 1), (2, 4)] {
        let overs = found(&[&[(0, 10)], &[part]]);
        assert_eq!(overs.to_tell().map(|over| over.from), Some(at(part.0)), "{part:?}");
    }
}

#[test]
fn what_is_found_of_a_range_replaces_what_was_known_within_it() {
    for within in [(0, 10), (0, 4), (6, 10), (2, 4)] {
        let mut overs = found(&[&[within]]);
        overs.found(hours(0), at(0), at(10), 0);
        assert_eq!(ranges(&overs), [], "{within:?}");
    }
    for around in [(-1, 10), (0, 11), (-5, 15)] {
        let mut overs = found(&[&[around]]);
        overs.found(hours(0), at(0), at(10), 0);
        assert_eq!(ranges(&overs), [(at(around.0), at(around.1))]);
    }
}

#[test]
fn a_part_of_what_was_told_is_told_and_more_than_that_is_not() {
    for (range, is_told) in [((0, 10), true), ((0, 4), true), ((6, 10), true), ((2, 4), true)]
        .into_iter()
        .chain([((-1, 10), false), ((0, 11), false), ((-5, 5), false), ((5, 15), false)])
    {
        let mut overs = found(&[&[(0, 10)]]);
        overs.told(at(0));
        overs.found(hours(0), at(range.0), at(range.1), 1);
        assert_eq!(overs.by_from[&at(range.0)].is_told, is_told, "{range:?}");
    }
}

#[test]
fn the_earliest_are_forgotten_beyond_a_number() {
    let most = limits::RECONCILE_SETTLED_MAX as i64;
    let mut overs = Overcounts::default();
    for second in 0..most + 2 {
        overs.found(hours(0), at(second), at(second + 1), 1);
        overs.told(at(second));
        assert_eq!(overs.told_of(), most.min(second + 1) as u64);
    }
    assert_eq!(overs.by_from.first_key_value().map(|(from, _)| *from), Some(at(2)));
}
