//! Walks and the ids they know, page by page.

use super::*;

const OVERLAP: Span = Span::seconds(120);

fn at(seconds: i64) -> Stamp {
    Stamp::from_seconds(1_800_000_000 + seconds)
}

fn key(seconds: i64, id: u64) -> RowKey {
    RowKey { stamp: at(seconds), id }
}

fn between(seconds: i64) -> Present {
    Present::Between { earliest: at(seconds), latest: at(seconds), is_backed: true }
}

fn passed(walk: &mut Walk, stamps: &[i64], date: i64) {
    let keys: Vec<RowKey> = stamps.iter().map(|at| key(*at, *at as u64)).collect();
    walk.pass(&keys, between(date), Span::ZERO, OVERLAP);
}

fn cursor(text: &str) -> Cursor {
    Cursor(text.to_owned())
}

/// The walk after a page with these keys, of which so many are new.
fn after(mut walk: Walk, keys: &[RowKey], fresh: usize, next: Option<&str>) -> Next {
    walk.pass(keys, between(90_000), Span::ZERO, OVERLAP);
    let next = next.map(cursor);
    walk.after(Passed { keys, fresh, next: next.as_ref(), known: 10 })
}

fn page(next: Next) -> Walk {
    match next {
        Next::Page(walk) => walk,
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
    let mut untold = Walk::starting(at(0));
    untold.pass(&[key(10_000, 1)], Present::Untold, Span::ZERO, OVERLAP);
    assert_eq!(untold.next_from(at(10_000), OVERLAP), at(9_880));
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
                Next::Page(next) => walk = next,
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
