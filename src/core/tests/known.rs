//! Which keys are known, and which records move no position.

use super::*;

fn at(seconds: i64) -> Stamp {
    Stamp::from_seconds(1_800_000_000 + seconds)
}

fn key(seconds: i64) -> RowKey {
    RowKey { stamp: at(seconds), id: seconds as u64 }
}

fn stood(position: Stamp, from: Stamp) -> Progress {
    Progress { position, from }
}

#[test]
fn only_what_is_later_than_the_latest_place_moves_no_position() {
    let mut known = Known::default();
    let unreadable = |less: i64| RowKey { stamp: Stamp(Stamp::UNREADABLE.0 - less), id: 1 };
    assert_eq!([0, 1].map(|less| known.is_unplaced(&unreadable(less))), [true, false]);
    known.places_end_at(at(5));
    assert_eq!([5, 6].map(|second| known.is_unplaced(&key(second))), [false, true]);
}

#[test]
fn what_moves_no_position_is_left_out_only_where_too_many_like_it_are_known() {
    let most = limits::UNPLACED_IDS_MAX as i64;
    let keys = [key(-5), key(most + 1)];
    let left_out = |first: i64, count: i64| {
        let mut known = Known::new((first..first + count).map(key));
        known.places_end_at(at(0));
        let mut fresh = vec![0, 1];
        let left = known.leave_unplaced(&keys, &mut fresh);
        (fresh, left)
    };
    assert_eq!(left_out(1, most), (vec![0], vec![keys[1].stamp]));
    assert_eq!(left_out(1, most - 1), (vec![0, 1], vec![]));
    assert_eq!(left_out(-most, most + 1), (vec![0, 1], vec![]), "they move positions");
}

#[test]
fn a_range_has_what_is_known_from_its_beginning_on_and_before_its_end() {
    let known = Known::new([key(5)]);
    let has = |from, to| known.has_between(at(from), at(to), |known| *known == key(5));
    assert_eq!(
        [has(5, 6), has(0, 9), has(0, 5), has(6, 9), has(5, 5)],
        [true, true, false, false, false]
    );
    assert!(!has(6, 5) && !known.has_between(at(0), at(9), |_| false));
    assert!(known.has(&key(5)) && !known.has(&key(6)));
}

#[test]
fn known_keys_reach_back_to_the_first_of_them() {
    let known = Known::new([key(5), key(7)]);
    assert_eq!([4, 5, 6].map(|second| known.reaches_back_to(at(second))), [false, true, true]);
    assert!(!Known::default().reaches_back_to(at(9)));
}

#[test]
fn what_was_covered_before_the_next_walk_is_forgotten_with_its_keys() {
    let covered = Covered::of(vec![(at(0), at(10))]).unwrap();
    let mut known = Known::beside([key(3)], covered);
    known.remember(&[key(20)], stood(at(20), at(15)));
    assert_eq!((known.covered_to(), known.count()), (None, 1));
    assert!(
        !Known::new([key(20)]).lacks_some_of(&known),
        "a queue that has the same lacks nothing"
    );
}

#[test]
fn ids_that_were_let_go_of_before_the_position_change_nothing_for_the_next_walk() {
    let most = limits::KNOWN_IDS_MAX as i64;
    let mut known = Known::default();
    let keys: Vec<RowKey> = (0..most).map(key).collect();
    let all = stood(at(most), at(0));
    assert_eq!((known.remember(&keys, all), known.count()), (all, most as usize));
    let progress = known.remember(&[key(most)], all);
    assert_eq!(progress.from, Stamp(at(0).0 + 1), "one was too many");
    assert_eq!(known.after_whole_walk(progress), progress);
}
