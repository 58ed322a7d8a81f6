//! What a walk concludes from single pages: the order, what is passed twice, and how it goes on.

use super::tests::{OVERLAP, after, after_last, at, between, cursor, key, page, passed, rising};
use super::*;
use crate::record::Covered;

fn rows(seconds: &[i64]) -> Vec<RowKey> {
    seconds.iter().map(|at| key(*at, *at as u64)).collect()
}

/// Rows of one stamp, which show no order.
fn alike(ids: std::ops::Range<u64>) -> Vec<RowKey> {
    ids.map(|id| key(5, id)).collect()
}

/// A page without anything special, of which nothing is new.
fn facts<'a>(keys: &'a [RowKey], next: Option<&'a Cursor>) -> Passed<'a> {
    let (fresh, known, covered, asked, is_joined, may_skip) = (0, 10, 0, 1_000, true, true);
    Passed { keys, fresh, next, known, covered, asked, is_joined, may_skip }
}

/// After a full page of as many rows, at a console that skips none.
fn after_full(mut walk: Walk, keys: &[RowKey]) -> Next {
    walk.pass(keys, between(90_000), Span::ZERO, OVERLAP);
    let (fresh, asked) = (keys.len(), keys.len() as u32);
    walk.after(Passed { fresh, asked, may_skip: false, ..facts(keys, None) })
}

#[test]
fn a_row_is_out_of_order_or_shows_the_order_if_it_differs_by_more_than_a_second() {
    for (stamps, is_out, rises) in [
        (&[10, 9][..], false, false),
        (&[10, 8], true, false),
        (&[10], false, false),
        (&[10, 11], false, false),
        (&[10, 12], false, true),
    ] {
        let mut walk = Walk::starting(at(0));
        passed(&mut walk, stamps, 90_000);
        assert_eq!((walk.disordered, walk.rose), (is_out, rises), "{stamps:?}");
    }
}

#[test]
fn a_page_without_a_time_settles_nothing_of_the_whole_walk() {
    let mut walk = Walk::starting(at(0));
    walk.pass(&rows(&[10, 20]), Present::Unconfirmed, Span::ZERO, OVERLAP);
    passed(&mut walk, &[1_000, 500], 90_000);
    walk.end(OVERLAP);
    assert_eq!(walk.next_from(at(1_000), OVERLAP), at(0));
    assert!(!walk.is_final(at(10)));
    assert_eq!(walk.all_seen_before(OVERLAP), None);
    // With a time, all that was visible then was seen, but for what becomes visible late.
    let mut walk = Walk::starting(at(0));
    passed(&mut walk, &[1_000, 500], 90_000);
    walk.end(OVERLAP);
    assert_eq!(walk.next_from(at(1_000), OVERLAP), at(880));
    assert_eq!(walk.all_seen_before(OVERLAP), Some(at(90_000) - OVERLAP));
}

#[test]
fn the_end_of_a_walk_in_order_settles_no_more_than_its_pages_did() {
    // Held up for hours between two pages, among new records.
    let mut walk = Walk::starting(at(0));
    passed(&mut walk, &[100, 200], 201);
    passed(&mut walk, &[8_000, 8_001], 90_000);
    let before = walk.next_from(at(8_001), OVERLAP);
    walk.end(OVERLAP);
    assert_eq!(walk.next_from(at(8_001), OVERLAP), before);
}

#[test]
fn the_next_row_comes_after_one_that_was_passed_if_there_is_one() {
    let mut walk = Walk::starting(at(0));
    assert_eq!(walk.next_row(), RowPlace { from: at(0), is_after: false });
    passed(&mut walk, &[7], 90_000);
    assert_eq!(walk.next_row(), RowPlace { from: at(7), is_after: true });
}

#[test]
fn cursors_that_begin_to_repeat_after_a_while_are_found_soon() {
    let mut walk = Walk::starting(at(0));
    let known = rows(&[0]);
    let names = ["a", "b", "c"].into_iter().chain(["d", "e", "f", "g", "h"].into_iter().cycle());
    for (pages, name) in names.enumerate() {
        match after(walk, &known, 0, Some(name)) {
            Next::Page(next) => walk = *next,
            other => return assert_eq!(other, Next::Circle),
        }
        assert!(pages < 24, "no other way leads on");
    }
}

#[test]
fn a_page_is_blank_if_it_leads_on_without_a_row_that_did_not_come_before() {
    let next = cursor("next");
    let next = Some(&next);
    let begun = Walk::starting(at(0));
    assert!(begun.is_blank(&facts(&[], next)), "an empty one");
    assert!(!begun.is_blank(&facts(&rows(&[1]), next)));
    assert!(!begun.is_blank(&facts(&[], None)), "an end");
    let by_cursor = page(after(begun.clone(), &rows(&[1, 2]), 2, Some("next")));
    assert!(by_cursor.is_blank(&facts(&rows(&[2]), next)));
    assert!(!by_cursor.is_blank(&facts(&rows(&[2]), None)));
    assert!(!by_cursor.is_blank(&facts(&rows(&[2, 3]), next)));
    // One that goes on by time begins with rows that came.
    let by_time = by_cursor.after_refused_cursor().unwrap();
    assert!(!by_time.is_blank(&facts(&rows(&[2]), next)));
    assert!(by_time.is_blank(&facts(&[], next)));
    // One that goes on by place has come to rows after those.
    let by_place = page(after_last(begun, &alike(0..3), 3, false));
    assert!(by_place.is_blank(&facts(&alike(2..3), next)));
}

#[test]
fn a_row_counts_as_covered_once() {
    let mut covered = Covered::default();
    covered.add(at(0), at(100));
    let known = Known::beside([], covered);
    let walk = page(after(Walk::starting(at(0)), &rows(&[1, 2]), 0, Some("next")));
    assert_eq!(walk.covered(&known, &rows(&[2, 3, 4, 200])), 2);
    assert_eq!(walk.covered(&known, &rows(&[1, 2])), 0, "it ends as the one before it");
}

#[test]
fn a_page_by_place_begins_with_a_row_that_came_before() {
    let mut covered = Covered::default();
    covered.add(at(1_000), at(2_000));
    let known = Known::beside(rows(&[500]), covered);
    let walk = page(after_last(Walk::starting(at(0)), &alike(0..3), 3, false));
    for (first, is_joined) in [(5, true), (500, true), (1_500, true), (700, false)] {
        let keys = if first == 5 { alike(2..4) } else { rows(&[first, first + 1]) };
        assert_eq!(walk.is_joined(&known, &keys), is_joined, "{first}");
    }
    assert!(!walk.is_joined(&known, &[]));
    assert!(Walk::starting(at(0)).is_joined(&known, &rows(&[700])), "any other page need not");
}

#[test]
fn a_known_row_that_did_not_come_throws_doubt_on_the_order() {
    let of = |seconds: i64| Known::new(rows(&[seconds]));
    let proof: Vec<i64> =
        (1..=i64::from(limits::ORDER_SHOWN_BY_ROWS) + 1).map(|n| 10 * n).collect();
    for (known, was_doubted, stamps, is_in_order) in [
        (of(50), false, &[10, 100][..], false),
        (of(50), false, &[10, 50, 100], true),
        (of(50), true, &[10, 50, 100], false),
        (of(55), true, &proof, true),
        // What has the stamp of the first or last row need not have come.
        (of(0), false, &[10, 100], true),
        (of(100), false, &[10, 100], true),
        (of(101), false, &[10, 100], true),
    ] {
        let mut walk = Walk::starting(at(0));
        let keys: Vec<RowKey> = stamps.iter().map(|at| key(*at, 1_000 + *at as u64)).collect();
        let known = match stamps.contains(&50) {
            true => Known::new([key(50, 1_050)]),
            false => known,
        };
        walk.pass(&keys, between(90_000), Span::ZERO, OVERLAP);
        walk.weigh(&known, was_doubted, keys.len());
        assert_eq!(walk.is_in_order(), is_in_order, "{stamps:?} {was_doubted}");
    }
}

#[test]
fn where_a_console_skips_no_rows_a_page_that_may_be_cut_is_the_last_one() {
    let keys = alike(0..10);
    let mut walk = Walk::starting(at(0));
    walk.pass(&keys, between(90_000), Span::ZERO, OVERLAP);
    for (may_skip, is_end) in [(true, false), (false, true)] {
        let facts = Passed { may_skip, fresh: 10, ..facts(&keys, None) };
        assert_eq!(walk.is_end(&facts), is_end);
        assert_eq!(walk.clone().after(facts) == Next::Whole, is_end);
    }
}

#[test]
fn as_many_rows_are_skipped_as_a_console_allows() {
    let skipped = limits::SKIP_MAX;
    for rows in [skipped, skipped + 1, skipped + 2] {
        let next = after_last(Walk::starting(at(0)), &alike(0..u64::from(rows)), rows, false);
        match next {
            Next::Page(walk) => assert_eq!(walk.skip, rows - 1),
            other => assert_eq!((other, rows), (Next::NoCursor, skipped + 2)),
        }
    }
}

#[test]
fn a_full_page_that_the_next_one_joins_has_not_moved() {
    let walk = page(after_last(Walk::starting(at(0)), &rising(1..4), 3, false));
    let mut walk = page(after_last(walk, &rising(3..6), 3, true));
    walk.weigh(&Known::default(), false, 3);
    assert!(!walk.may_have_moved());
    assert_eq!(after_last(walk, &rising(5..6), 3, true), Next::Whole);
}

#[test]
fn a_rejected_request_to_skip_rows_is_followed_by_one_by_time() {
    let walk = page(after_last(Walk::starting(at(0)), &rising(1..4), 3, false));
    let by_time = walk.without_skip().expect("its rows came in order");
    assert_eq!((by_time.from, by_time.skip), (at(3), 0));
    let walk = page(after_last(Walk::starting(at(0)), &alike(0..3), 3, false));
    assert_eq!(walk.without_skip(), None);
}

#[test]
fn what_a_walk_may_have_missed_is_told_by_its_end() {
    let begin = || Walk::starting(at(0));
    assert_eq!(after_full(begin(), &alike(0..3)), Next::NoCursor);
    // Too few rows show that they come in order, so going on by time may have passed over some.
    let walk = page(after_full(begin(), &rising(1..4)));
    assert_eq!((walk.from, walk.skip), (at(3), 0));
    assert_eq!(after(walk, &rising(3..4), 0, None), Next::NoCursor);
    let walk = page(after(begin(), &rising(1..4), 3, Some("next")));
    let walk = walk.after_refused_cursor().unwrap();
    assert_eq!(after(walk, &rising(3..4), 0, None), Next::Unproven);
    let walk = page(after(begin(), &rising(1..4), 3, Some("next")));
    let walk = page(after(walk, &rising(1..4), 0, Some("next")));
    assert!(walk.cursor.is_none(), "the cursor leads back");
    assert_eq!(after(walk, &rising(3..4), 0, None), Next::Circle);
}

#[test]
fn the_next_walk_starts_before_what_this_one_left_out() {
    let mut known = Known::new((0..limits::UNPLACED_IDS_MAX as u64).map(|id| key(50_000, id)));
    known.places_end_at(at(1_000));
    let keys = rows(&[900, 3_000, 2_000]);
    for (is_full, left, next) in
        [(true, vec![at(3_000), at(2_000)], at(2_000)), (false, vec![], at(9_880))]
    {
        let mut walk = Walk::starting(at(0));
        let mut fresh = vec![0, 1, 2];
        let none = Known::default();
        assert_eq!(
            walk.leave_unplaced(if is_full { &known } else { &none }, &keys, &mut fresh),
            left
        );
        assert_eq!(fresh.len(), 3 - left.len());
        passed(&mut walk, &[10_000], 90_000);
        assert_eq!(walk.next_from(at(10_000), OVERLAP), next);
    }
}

#[test]
fn a_cursor_is_compared_with_twice_as_many_that_follow_each_time() {
    for (circle, found) in [(1, 2), (2, 4), (3, 7), (8, 16), (9, 25)] {
        let mut trail = Trail::default();
        let mut seen = (1u64..).filter(|at| trail.leads_back(&cursor(&(at % circle).to_string())));
        assert_eq!(seen.next(), Some(found), "{circle}");
    }
}
