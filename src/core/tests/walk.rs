//! Walks and the ids they know, page by page.

use super::*;
use crate::record::{Covered, Progress};

pub(super) const OVERLAP: Span = Span::seconds(120);

pub(super) fn at(seconds: i64) -> Stamp {
    Stamp::from_seconds(1_800_000_000 + seconds)
}

pub(super) fn key(seconds: i64, id: u64) -> RowKey {
    RowKey { stamp: at(seconds), id }
}

pub(super) fn between(seconds: i64) -> Present {
    Present::Between { earliest: at(seconds), latest: at(seconds), is_backed: true }
}

pub(super) fn passed(walk: &mut Walk, stamps: &[i64], date: i64) {
    let keys: Vec<RowKey> = stamps.iter().map(|at| key(*at, *at as u64)).collect();
    walk.pass(&keys, between(date), Span::ZERO, OVERLAP);
}

pub(super) fn cursor(text: &str) -> Cursor {
    Cursor(text.to_owned())
}

/// The walk after a page with these keys, of which so many are new.
pub(super) fn after(mut walk: Walk, keys: &[RowKey], fresh: usize, next: Option<&str>) -> Next {
    walk.pass(keys, between(90_000), Span::ZERO, OVERLAP);
    let next = next.map(cursor);
    let (asked, is_joined, may_skip, covered) = (1_000, true, true, 0);
    let next = next.as_ref();
    walk.after(Passed { keys, fresh, next, known: 10, covered, asked, is_joined, may_skip })
}

pub(super) fn page(next: Next) -> Walk {
    match next {
        Next::Page(walk) => *walk,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_walk_through_old_records_settles_them_up_to_the_overlap() {
    let mut walk = Walk::starting(at(0));
    passed(&mut walk, &[1_000], 90_000);
    assert_eq!(walk.next_from(at(1_000), OVERLAP), at(880));
}

#[test]
fn a_walk_among_new_records_starts_again_before_the_lag() {
    let mut walk = Walk::starting(at(0));
    passed(&mut walk, &[1_000], 1_001);
    assert_eq!(walk.next_from(at(1_000), OVERLAP), at(880));
}

#[test]
fn a_walk_held_up_for_hours_among_new_records_does_not_settle_them() {
    let mut walk = Walk::starting(at(0));
    passed(&mut walk, &[1_000], 1_001);
    // Five hours later, with the queue free again, the cursor goes on: a record of second 900
    // that became visible in between lies behind it.
    passed(&mut walk, &[19_000], 19_001);
    assert!(walk.next_from(at(19_000), OVERLAP) <= at(900));
}

#[test]
fn a_date_behind_the_records_is_not_believed() {
    let mut walk = Walk::starting(at(0));
    walk.pass(&[key(500, 1)], between(0), Span::ZERO, OVERLAP);
    assert_eq!(walk.next_from(at(500), OVERLAP), at(0), "its horizon lies before the walk");
    let mut unknown = Walk::starting(at(0));
    unknown.pass(&[key(10_000, 1)], Present::Unknown, Span::ZERO, OVERLAP);
    assert_eq!(unknown.next_from(at(10_000), OVERLAP), at(9_880));
}

#[test]
fn one_claim_of_the_time_settles_nothing() {
    let mut walk = Walk::starting(at(0));
    walk.pass(&[key(10_000, 1)], Present::Unconfirmed, Span::ZERO, OVERLAP);
    passed(&mut walk, &[20_000], 90_000);
    assert_eq!(walk.next_from(at(20_000), OVERLAP), at(0));
}

#[test]
fn rows_in_another_order_settle_nothing_before_the_walk_is_whole() {
    let mut walk = Walk::starting(at(0));
    passed(&mut walk, &[9_000, 8_999, 100], 9_010);
    assert!(walk.disordered);
    passed(&mut walk, &[50, 9_020], 9_030);
    assert_eq!(walk.next_from(at(9_020), OVERLAP), at(0));
    walk.end(OVERLAP);
    assert_eq!(walk.next_from(at(9_020), OVERLAP), at(8_890), "by the time it began");
    let mut coarse = Walk::starting(at(0));
    coarse.pass(
        &[RowKey { stamp: Stamp(at(5).0 + 900_000), id: 1 }, key(5, 2)],
        between(9),
        Span::ZERO,
        OVERLAP,
    );
    assert!(!coarse.disordered, "within a second is no other order");
}

#[test]
fn a_page_settles_what_was_visible_when_it_was_asked_for() {
    let mut walk = Walk::starting(at(0));
    // Asked for at 1,075, all of it there at 1,950.
    walk.pass(&[key(1_000, 1)], between(1_950), Span::seconds(875), OVERLAP);
    passed(&mut walk, &[2_000], 2_010);
    assert_eq!(walk.next_from(at(2_000), OVERLAP), at(955));
    let mut walk = Walk::starting(at(0));
    walk.pass(&[key(9_000, 1), key(100, 2)], between(9_010), Span::seconds(300), OVERLAP);
    walk.end(OVERLAP);
    assert_eq!(walk.next_from(at(9_000), OVERLAP), at(8_590), "by the time it was begun");
}

#[test]
fn an_empty_page_with_a_new_cursor_is_followed_within_a_bound() {
    let mut walk = Walk::starting(at(0));
    for n in 1..limits::EMPTY_PAGES_MAX {
        walk = page(after(walk, &[], 0, Some(&format!("page {n}"))));
    }
    assert_eq!(after(walk.clone(), &[], 0, Some("last")), Next::NothingButEmptyPages);
    let rows = [key(10, 1)];
    let walk = page(after(walk, &rows, 1, Some("more")));
    assert!(matches!(after(walk.clone(), &[], 0, Some("on")), Next::Page(_)));
    assert_eq!(after(walk, &[], 0, None), Next::Whole);
}

#[test]
fn cursors_that_lead_back_end_soon_whatever_the_period() {
    for period in 1..8u32 {
        let rows = [key(10, 1)];
        let mut walk = page(after(Walk::starting(at(0)), &rows, 1, Some("cursor 0")));
        let mut pages = 0;
        loop {
            pages += 1;
            assert!(pages < 60, "period {period}");
            let name = format!("cursor {}", pages % period);
            match after(walk, &rows, 0, Some(&name)) {
                Next::Page(next) => walk = *next,
                other => break assert_eq!(other, Next::Circle),
            }
        }
    }
}

#[test]
fn one_cursor_for_all_pages_is_followed_as_long_as_it_brings_something_new() {
    let mut walk = Walk::starting(at(0));
    for n in 1..50 {
        walk = page(after(walk, &[key(n, n as u64)], 1, Some("scroll")));
        assert_eq!(walk.cursor, Some(cursor("scroll")));
    }
    // Then by time from where it stands, and from there it leads nowhere.
    let walk = page(after(walk, &[key(49, 49)], 0, Some("scroll")));
    assert_eq!((walk.from, walk.cursor.clone()), (at(49), None));
    let walk = page(after(walk, &[key(49, 49)], 0, Some("scroll")));
    assert_eq!(after(walk, &[key(49, 49)], 0, Some("scroll")), Next::Circle);
}

#[test]
fn after_a_refused_cursor_a_walk_goes_on_by_time_and_soon_without_cursors() {
    let mut walk = Walk::starting(at(0));
    for n in 1..10 {
        walk = page(after(walk, &[key(n, 1), key(n + 1, 2)], 1, Some("next")));
        if walk.cursor.is_some() {
            assert!(n <= i64::from(limits::CURSORS_REFUSED_MAX), "{n}");
            walk = walk.after_refused_cursor().unwrap();
        }
        assert_eq!((walk.from, walk.cursor.clone()), (at(n + 1), None));
    }
    // More records of one stamp than a page: there is no way past them.
    assert_eq!(after(walk, &[key(10, 7), key(10, 8)], 0, Some("next")), Next::Stuck);
    let mut disordered = Walk::starting(at(0));
    passed(&mut disordered, &[50, 10], 90);
    assert_eq!(disordered.after_refused_cursor(), None, "what lies before was not passed yet");
}

#[test]
fn known_rows_and_repeats_in_a_page_are_not_fresh() {
    let known = Known::new([key(1, 1), key(2, 2)]);
    let rows = [key(1, 1), key(2, 3), key(2, 3), key(3, 2)];
    assert_eq!(known.fresh(&rows, at(0)), [1, 3]);
}

#[test]
fn a_row_before_the_walk_is_settled_and_not_fresh() {
    assert_eq!(Known::default().fresh(&[key(1, 1), key(2, 2)], at(2)), [1]);
}

#[test]
fn a_changed_threat_is_fresh_again() {
    let known = Known::new([key(1, 1)]);
    assert_eq!(known.fresh(&[key(2, 1)], at(0)), [0]);
}

#[test]
fn what_lies_before_the_next_walk_is_forgotten() {
    let mut known = Known::new([key(1, 1), key(2, 2)]);
    let progress = Progress { position: at(200), from: at(2) };
    assert_eq!(known.remember(&[key(200, 3)], progress), progress);
    assert_eq!(known.count(), 2);
}

#[test]
fn too_many_ids_shorten_the_overlap_but_never_pass_the_position() {
    let mut known = Known::default();
    let rows: Vec<RowKey> = (0..limits::KNOWN_IDS_MAX as u64 + 10).map(|id| key(5, id)).collect();
    let progress = Progress { position: at(5), from: at(0) };
    assert_eq!(known.remember(&rows, progress), Progress { position: at(5), from: at(5) });
    assert_eq!(known.count(), limits::KNOWN_IDS_MAX);
}

#[test]
fn ids_let_go_of_at_the_position_do_not_come_again_with_every_walk() {
    let mut known = Known::default();
    let rows: Vec<RowKey> = (0..limits::KNOWN_IDS_MAX as u64 + 10).map(|id| key(5, id)).collect();
    let progress = known.remember(&rows, Progress { position: at(5), from: at(0) });
    assert!(!known.fresh(&rows, progress.from).is_empty(), "within the walk they are not known");
    let progress = known.after_whole_walk(progress);
    assert!(known.fresh(&rows, progress.from).is_empty());
    let few = Known::new([key(1, 1)]);
    let progress = Progress { position: at(5), from: at(0) };
    assert_eq!(few.after_whole_walk(progress), progress);
}

#[test]
fn what_was_forgotten_for_want_of_room_is_not_fresh_to_a_walk_under_way() {
    let rows: Vec<RowKey> =
        (0..limits::KNOWN_IDS_MAX as i64 + 10).map(|n| key(n, n as u64)).collect();
    let mut known = Known::new(rows.clone());
    let progress = Progress { position: rows[rows.len() - 1].stamp, from: at(0) };
    known.remember(&[], progress);
    assert!(known.fresh(&rows, at(0)).is_empty());
}

/// What no position may follow yet was passed all the same: a row that fails behind it stands there.
#[test]
fn the_next_row_stands_behind_what_was_passed_also_where_the_clock_is_behind() {
    let mut walk = Walk::starting(at(0));
    passed(&mut walk, &[1_000, 90_000], 1_000);
    assert_eq!(walk.reached(), at(1_000));
    assert_eq!(walk.next_row(), RowPlace { from: at(90_000), is_after: true });
}

#[test]
fn a_stray_row_dated_far_ahead_hides_no_row_that_fails_behind_it() {
    let mut walk = Walk::starting(at(0));
    passed(&mut walk, &[1_000, 5_000_000_000, 1_100], 90_000);
    assert_eq!(walk.next_row(), RowPlace { from: at(1_100), is_after: true });
}

#[test]
fn in_a_query_that_begins_with_a_known_row_the_next_one_shows_the_order() {
    let mut walk = Walk::starting(at(0));
    for n in 1..=i64::from(limits::ORDER_SHOWN_BY_ROWS) {
        assert!(!walk.proves_order(), "{n}");
        walk = page(after(walk, &[key(10 * n, 1), key(10 * n + 10, 1)], 1, Some("next")));
        if walk.cursor.is_some() {
            walk = walk.after_refused_cursor().unwrap();
        }
    }
    assert!(walk.proves_order());
}

/// The walk after a page without a cursor, of as many rows as were asked for or fewer.
pub(super) fn after_last(mut walk: Walk, keys: &[RowKey], asked: u32, is_joined: bool) -> Next {
    walk.pass(keys, between(90_000), Span::ZERO, OVERLAP);
    let (fresh, known, may_skip) = (keys.len(), 10, true);
    walk.after(Passed { keys, fresh, next: None, known, covered: 0, asked, is_joined, may_skip })
}

pub(super) fn rising(rows: std::ops::Range<i64>) -> Vec<RowKey> {
    rows.map(|n| key(n, n as u64)).collect()
}

#[test]
fn what_stands_behind_a_full_page_without_a_cursor_is_asked_for_by_its_place() {
    let walk = page(after_last(Walk::starting(at(0)), &rising(1..4), 3, false));
    assert_eq!(
        (walk.from, walk.cursor.clone(), walk.skip),
        (at(0), None, 2),
        "from its last row on"
    );
    assert_eq!(after_last(walk.clone(), &rising(3..4), 3, true), Next::Whole);
    assert_eq!(after_last(walk.clone(), &rising(4..5), 3, false), Next::RowsMoved);
    assert_eq!(after_last(walk.clone(), &[], 3, false), Next::RowsMoved);
    let walk = page(after_last(walk, &rising(3..6), 3, true));
    assert_eq!(walk.skip, 4);
    // The pages have become pages of one row meanwhile.
    let walk = page(after_last(walk, &rising(5..6), 1, true));
    assert_eq!(walk.skip, 5);
    assert_eq!(after_last(walk, &[], 1, false), Next::Whole);
}

#[test]
fn a_walk_that_went_row_by_row_and_brought_something_new_is_walked_again() {
    for (fresh, next) in [(1, Next::Again), (0, Next::Whole)] {
        let walk = page(after_last(Walk::starting(at(0)), &rising(1..2), 1, false));
        let mut walk = page(after_last(walk, &rising(1..2), 1, true));
        walk.weigh(&Known::default(), false, fresh);
        assert_eq!((walk.skip, walk.may_have_moved()), (1, fresh > 0));
        assert_eq!(after_last(walk, &[], 1, false), next);
    }
}

#[test]
fn what_stands_behind_a_full_page_in_order_is_asked_for_by_time() {
    let walk = page(after_last(Walk::starting(at(0)), &rising(1..21), 20, false));
    assert_eq!((walk.from, walk.skip), (at(20), 0));
    assert_eq!(after_last(walk.clone(), &rising(20..21), 20, true), Next::Whole);
    let one = page(after_last(walk, &rising(20..21), 1, true));
    assert_eq!((one.from, one.skip), (at(20), 0), "time does not move there");
    assert_eq!(after_last(one.clone(), &rising(20..21), 2, true), Next::Whole);
    let one = page(after_last(one, &rising(20..21), 1, true));
    assert_eq!(one.skip, 1);
    assert_eq!(after_last(one, &[], 1, false), Next::Whole);
}

/// Fewer rows than were asked for, and no cursor.
#[test]
fn what_stands_behind_a_page_that_may_be_cut_is_asked_for() {
    let last = |walk, keys: &[RowKey], is_joined| after_last(walk, keys, 1_000, is_joined);
    let begin = || Walk::starting(at(0));
    for rows in [20, 25, 100] {
        let walk = page(last(begin(), &rising(1..rows + 1), false));
        assert_eq!((walk.from, walk.skip), (at(rows), 0), "they come in order");
        assert_eq!(last(walk, &rising(rows..rows + 1), true), Next::Whole);
        assert_eq!(last(begin(), &rising(1..rows + 2), false), Next::Whole);
    }
    // By its place, where nothing shows the order.
    let alike = |ids: std::ops::Range<u64>| -> Vec<RowKey> { ids.map(|id| key(5, id)).collect() };
    let walk = page(last(begin(), &alike(0..10), false));
    assert_eq!((walk.from, walk.skip), (at(0), 9));
    assert_eq!(last(walk.clone(), &alike(9..10), true), Next::Whole);
    // Nothing but the number speaks against such a page.
    assert_eq!(last(walk.clone(), &alike(0..10), true), Next::Whole, "none is passed over");
    assert_eq!(last(walk.clone(), &[], false), Next::Whole, "the last row has moved");
    // Something stood behind one: they are cut.
    let walk = page(last(walk, &alike(9..19), true));
    assert_eq!(walk.skip, 18);
    assert_eq!(last(walk.clone(), &alike(9..19), true), Next::NoCursor);
    assert_eq!(last(walk, &[], false), Next::RowsMoved);
}

#[test]
fn a_full_page_without_a_cursor_that_nothing_leads_past_is_told() {
    let of_one_stamp =
        |ids: std::ops::Range<u64>| -> Vec<RowKey> { ids.map(|id| key(5, id)).collect() };
    let walk = page(after_last(Walk::starting(at(0)), &of_one_stamp(0..1_000), 1_000, false));
    assert_eq!(walk.skip, 999);
    let all = after_last(walk.clone(), &of_one_stamp(999..1_999), 1_000, true);
    assert_eq!(all, Next::NoCursor, "no more rows can be passed over");
    let same = after_last(walk, &of_one_stamp(0..1_000), 1_000, true);
    assert_eq!(same, Next::NoCursor, "the console passes over none");
}

#[test]
fn far_more_rows_than_are_remembered_before_what_was_asked_for_are_no_circle() {
    let mut walk = Walk::starting(at(50_000));
    for n in 0..40 {
        let old = rising(1_000 * n..1_000 * (n + 1));
        walk = page(after(walk, &old, 0, Some(&format!("page {n}"))));
    }
    assert_eq!(after(walk.clone(), &[key(50_001, 1)], 1, None), Next::Whole);
    // Rows of the same times again lead nowhere.
    let mut pages = 0;
    let circle = loop {
        pages += 1;
        assert!(pages < 40, "it never ends");
        match after(walk, &rising(0..1_000), 0, Some(&format!("again {pages}"))) {
            Next::Page(next) => walk = *next,
            other => break other,
        }
    };
    assert_eq!(circle, Next::Circle);
}

/// Takes in what a walk finds fresh of pages of a thousand, and answers how many that were and how many were left.
fn walked(known: &mut Known, rows: &[RowKey], progress: Progress) -> (usize, usize) {
    let (mut walk, mut taken, mut left) = (Walk::starting(progress.from), 0, 0);
    for page in rows.chunks(1_000) {
        let mut fresh = known.fresh(page, progress.from);
        known.places_end_at(between(90_000).latest_place());
        left += walk.leave_unplaced(known, page, &mut fresh).len();
        walk.pass(page, between(90_000), Span::ZERO, OVERLAP);
        let keys: Vec<RowKey> = fresh.iter().map(|at| page[*at as usize]).collect();
        taken += keys.len();
        assert_eq!(known.remember(&keys, progress), progress, "the overlap stays");
        assert!(known.count() <= limits::KNOWN_IDS_MAX);
    }
    (taken, left)
}

#[test]
fn more_records_without_a_usable_time_than_are_remembered_come_once_and_new_ones_are_left() {
    for stamp in [Stamp::UNREADABLE, at(900_000)] {
        let unplaced = |ids: std::ops::Range<u64>| ids.map(|id| RowKey { stamp, id });
        let placed: Vec<RowKey> = rising(89_000..89_100);
        let rows: Vec<RowKey> = placed.iter().copied().chain(unplaced(0..70_000)).collect();
        let progress = Progress { position: at(89_100), from: at(88_900) };
        let mut known = Known::default();
        assert_eq!(walked(&mut known, &rows, progress), (70_100, 0));
        for _ in 0..3 {
            assert_eq!(walked(&mut known, &rows, progress), (0, 70_100 - limits::KNOWN_IDS_MAX));
        }
        // What has a time is taken in as ever, and a new start takes up where it was.
        let late: Vec<RowKey> = rising(89_200..89_250);
        let mut again = Known::new(known.keys.iter().copied());
        for known in [&mut known, &mut again] {
            let all: Vec<RowKey> = late.iter().copied().chain(rows.clone()).collect();
            let (taken, left) = walked(known, &all, progress);
            assert_eq!((taken, left), (50, 70_150 - limits::KNOWN_IDS_MAX));
        }
    }
}

/// A walk over rows all of which were collected, by ids that nobody remembers. `is_one_cursor`: each page comes
/// with the same one. Answers with how it ended and how many rows were taken.
fn over_covered(pages: &[Vec<RowKey>], is_one_cursor: bool) -> (Next, usize) {
    let mut covered = Covered::default();
    covered.add(at(2_000), at(300_000));
    let known = Known::beside([], covered);
    let (mut walk, mut taken) = (Walk::starting(at(0)), 0);
    for (number, keys) in pages.iter().enumerate() {
        let mut fresh = known.fresh(keys, walk.from);
        fresh.retain(|at| !walk.has_passed(&keys[*at as usize]));
        taken += fresh.len();
        let next = cursor(&if is_one_cursor { "scroll".to_owned() } else { number.to_string() });
        let next = (number + 1 < pages.len()).then_some(&next);
        let covered = walk.covered(&known, keys);
        let (fresh, asked, is_joined, may_skip) = (fresh.len(), 1_002, true, true);
        walk.pass(keys, between(400_000), Span::ZERO, OVERLAP);
        let passed = Passed { keys, fresh, next, known: 0, covered, asked, is_joined, may_skip };
        match walk.after(passed) {
            Next::Page(next) => walk = *next,
            end => return (end, taken),
        }
    }
    panic!("it has not ended");
}

#[test]
fn what_was_collected_and_is_not_known_is_passed_and_not_taken() {
    let rows = rising(1_000..201_000);
    for is_in_order in [true, false] {
        for is_one_cursor in [false, true] {
            let mut pages: Vec<Vec<RowKey>> = rows.chunks(1_001).map(<[_]>::to_vec).collect();
            if !is_in_order {
                pages.reverse();
            }
            assert_eq!(over_covered(&pages, is_one_cursor), (Next::Whole, 1_000), "{is_in_order}");
        }
    }
    // One page again and again is a circle all the same.
    for is_one_cursor in [false, true] {
        let mut pages = vec![rising(2_000..3_000)];
        pages.extend((0..400).map(|_| rising(50_000..51_000).into_iter().rev().collect()));
        assert_eq!(over_covered(&pages, is_one_cursor).0, Next::Circle);
    }
}

#[test]
fn what_was_covered_and_is_no_more_is_lacked() {
    let covered = |ranges: &[(i64, i64)]| {
        let mut covered = Covered::default();
        ranges.iter().for_each(|(from, to)| covered.add(at(*from), at(*to)));
        covered
    };
    let before = Known::beside([key(15, 1)], covered(&[(0, 10)]));
    for (keys, ranges, lacks) in [
        (vec![key(15, 1)], vec![(0, 10)], false),
        (vec![], vec![(0, 20)], false),
        (vec![], vec![(0, 10)], true),
        // Damage took a record of that time.
        (vec![key(15, 1)], vec![(0, 4), (5, 10)], true),
        (vec![key(15, 1)], vec![], true),
    ] {
        let known = Known::beside(keys, covered(&ranges));
        assert_eq!(known.lacks_some_of(&before), lacks, "{ranges:?}");
    }
}
