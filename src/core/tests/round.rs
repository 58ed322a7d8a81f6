//! Rounds of reconciliation, request by request: what each answer leads to.

use crate::core::lane::Lane;
use crate::core::reason::Reason;
use crate::core::reconcile::*;
use crate::record::{NetTrouble, Unread};

const PACE: Span = Span::seconds(15);
const WAIT: Span = Span::minutes(5);

fn at(seconds: i64) -> Stamp {
    Stamp::from_seconds(1_800_000_000 + seconds)
}

fn minutes(minutes: u64) -> Mono {
    Mono(Span::minutes(minutes).as_ms())
}

fn reset() -> SourceTrouble {
    SourceTrouble::Unreachable(NetTrouble::Broken("reset".into()))
}

fn new() -> Reconcile {
    Reconcile::new(Span::hours(1), None, Mono::ZERO)
}

/// In a round up to this second.
fn begun(closed: i64) -> Reconcile {
    let mut reconcile = new();
    reconcile.begin(Mono::ZERO, at(closed), 0);
    reconcile
}

/// The next request: whether it is a list, and of what.
fn next(reconcile: &mut Reconcile) -> Option<(bool, Option<Stamp>, Stamp)> {
    Some(match reconcile.next(0, PAGE_ROWS, at(0))? {
        Step::Count(count) => (false, count.from, count.to),
        Step::List(list) => (true, Some(list.from), list.to),
    })
}

const PAGE_ROWS: u32 = 10;

/// Records are counted from the second 0 on.
fn counted(reconcile: &mut Reconcile, collected: u64, there: Total) {
    let (is_list, from, _) = next(reconcile).expect("a count");
    assert!(!is_list);
    let from = from.unwrap_or(at(0));
    let counted = Counted { from, collected, there, date: None };
    reconcile.counted(minutes(1), PACE, PAGE_ROWS, Some(counted));
}

/// A page of a list came with so many rows, of which so many are late and so many unmatched.
fn listed(reconcile: &mut Reconcile, rows: u64, late: usize, unmatched: u64, cursor: Option<&str>) {
    let (is_list, from, _) = next(reconcile).expect("a list");
    assert!(is_list);
    let stamp = from.expect("a list begins somewhere");
    let keys = (0..rows).map(|id| RowKey { stamp, id }).collect();
    let page = PageFacts { keys, next: cursor.map(|text| Cursor(text.into())), date: None };
    reconcile.listed(minutes(1), PACE, &page, vec![stamp; late], unmatched);
}

/// A list is about to be requested for one second in which so many more are there.
fn listing_a_second(more: u64) -> Reconcile {
    let mut reconcile = new();
    reconcile.summary.until = Some(at(0));
    reconcile.begin(Mono::ZERO, at(1), 0);
    counted(&mut reconcile, 0, Total::Is(more));
    assert_eq!(next(&mut reconcile), Some((true, Some(at(0)), at(1))));
    reconcile
}

/// The list that is next fails, asked for with so many rows.
fn fails(reconcile: &mut Reconcile, rows: u32, is_rejected: bool) -> Option<Unlistable> {
    let trouble = SourceTrouble::TooLong(Unread::default());
    reconcile.could_not_list(minutes(1), rows, &trouble, is_rejected, WAIT)
}

/// No more requests in this round.
fn exhaust(reconcile: &mut Reconcile) -> u32 {
    (0..999)
        .find(|_| {
            reconcile.failed();
            next(reconcile).is_none()
        })
        .expect("a round ends")
        + 1
}

#[test]
fn failures_are_told_once_they_are_many_in_a_row_where_anything_is_compared() {
    let (mut on, mut off) = (new(), Reconcile::new(Span::ZERO, None, Mono::ZERO));
    for failures in 1..=limits::RECONCILE_FAILURES_TOLD + 1 {
        let fail = |lane: &mut Lane| {
            lane.fail(Mono::ZERO, PACE, Reason::BrokenAnswer, "HTTP 500".to_owned());
        };
        fail(&mut on.lane);
        fail(&mut off.lane);
        let told = (failures >= limits::RECONCILE_FAILURES_TOLD).then(|| "HTTP 500".to_owned());
        assert_eq!((on.failing(), off.failing()), (told, None), "{failures}");
    }
}

#[test]
fn ids_are_nearly_full_a_quarter_of_them_after_a_round_began() {
    let mut reconcile = new();
    let full = |reconcile: &Reconcile, collected| reconcile.ids_nearly_full(collected, 1_000);
    assert_eq!([249, 250].map(|collected| full(&reconcile, collected)), [false, true]);
    reconcile.begin(Mono::ZERO, at(0), 250);
    assert_eq!([250, 499, 500].map(|collected| full(&reconcile, collected)), [false, false, true]);
}

#[test]
fn a_stream_is_quiet_once_its_settled_time_is_more_than_an_interval_ago() {
    let hour = Stamp::from_seconds(3_600 * 500_000);
    let now = hour + Span::minutes(limits::RECONCILE_MARGIN_MINUTES);
    let settled = hour - Span::hours(1);
    let closed = |settled| new().closed(settled, Some(now), now, false);
    assert_eq!((closed(settled), closed(settled - Span::ms(1))), (settled, hour));
}

#[test]
fn a_round_that_had_no_more_requests_is_followed_by_one_sooner_and_goes_on_with_its_list() {
    for (closed, goes_on) in [(9_000, true), (9_001, true), (8_999, false)] {
        let mut reconcile = begun(9_000);
        counted(&mut reconcile, 1, Total::Is(2));
        assert_eq!(exhaust(&mut reconcile), limits::RECONCILE_REQUESTS_MAX - 1);
        assert_eq!(reconcile.summary.unchecked, 1);
        let soon = at(0) + Span::minutes(15);
        let is_due = [at(0), soon - Span::ms(1), soon].map(|now| reconcile.is_due(now));
        assert_eq!(is_due, [false, false, true]);
        reconcile.begin(Mono::ZERO, at(closed), 0);
        assert_eq!(next(&mut reconcile).map(|step| step.0), Some(goes_on), "{closed}");
    }
}

#[test]
fn nothing_is_left_of_a_round_that_is_given_up() {
    for is_over in [false, true] {
        let mut reconcile = begun(9_000);
        counted(&mut reconcile, 1, Total::Capped);
        counted(&mut reconcile, 1, Total::Is(2));
        if is_over {
            exhaust(&mut reconcile);
        }
        reconcile.abandon();
        assert!(!reconcile.in_round());
        reconcile.begin(Mono::ZERO, at(9_000), 0);
        assert_eq!(next(&mut reconcile), Some((false, None, at(9_000))));
        counted(&mut reconcile, 1, Total::Is(1));
        assert_eq!(next(&mut reconcile), None);
    }
}

#[test]
fn the_first_requests_of_a_round_follow_each_other_at_once_and_the_others_at_a_pace() {
    let mut reconcile = begun(9_000);
    for request in 1..=limits::RECONCILE_REQUESTS_AT_ONCE + 2 {
        counted(&mut reconcile, 1, Total::Capped);
        let wait = if request <= limits::RECONCILE_REQUESTS_AT_ONCE { Span::ZERO } else { PACE };
        assert_eq!(reconcile.lane.due, Due::At(minutes(1) + wait), "{request}");
    }
    let comparisons = u64::from(limits::RECONCILE_REQUESTS_AT_ONCE) + 2;
    assert_eq!(reconcile.summary.comparisons, comparisons);
}

#[test]
fn a_range_whose_count_failed_twice_is_counted_in_parts_and_the_round_may_take_more_requests() {
    let mut reconcile = begun(9_000);
    reconcile.put_off = Some(WAIT);
    let whole = next(&mut reconcile);
    reconcile.failed();
    reconcile.could_not_count(&reset());
    assert_eq!((next(&mut reconcile), reconcile.is_put_off_again()), (whole, false));
    reconcile.failed();
    reconcile.could_not_count(&reset());
    let part = next(&mut reconcile).expect("a part");
    assert!(part.1.is_some() && part.2 == at(9_000), "{part:?}");
    let most = limits::RECONCILE_REQUESTS_MAX + limits::UNLISTED_REQUESTS;
    assert_eq!(exhaust(&mut reconcile), most - 2);
    // Whatever fails, it ends.
    let mut reconcile = begun(9_000);
    let requests = (0..999).find(|_| {
        reconcile.failed();
        reconcile.could_not_count(&reset());
        next(&mut reconcile).is_none()
    });
    let most = limits::RECONCILE_REQUESTS_MAX * limits::UNLISTED_ROUND_TIMES;
    let few = limits::RECONCILE_REQUESTS_MAX;
    assert!(requests.is_some_and(|requests| few < requests && requests < most), "{requests:?}");
}

#[test]
fn a_list_is_put_off_again_if_one_was_and_no_list_came_since_and_waits_as_long_as_then() {
    let mut reconcile = listing_a_second(2);
    assert!(!reconcile.is_put_off_again());
    reconcile.lane.rest(Mono::ZERO, Due::At(Mono::ZERO), Reason::Busy);
    assert!(reconcile.is_put_off_again());
    reconcile.lane.due = Due::At(minutes(3));
    reconcile.put_off(minutes(1), Span::minutes(9));
    assert_eq!(reconcile.lane.due, Due::At(minutes(3)));
    reconcile.lane.succeed(minutes(3), Due::At(minutes(3)), Reason::Working);
    assert!(reconcile.is_put_off_again());
    reconcile.wait_for_list(minutes(3));
    assert_eq!(reconcile.lane.due, Due::At(minutes(5)));
    listed(&mut reconcile, 1, 1, 0, Some("1"));
    assert!(!reconcile.is_put_off_again());
}

#[test]
fn what_is_set_aside_ends_its_range_and_the_waiting_for_its_list() {
    let mut reconcile = listing_a_second(2);
    for unchecked in 1..=2 {
        reconcile.put_off = Some(WAIT);
        let (from, to, unread) = (at(0), at(1), Unread::default());
        reconcile.set_aside(minutes(1), Unlistable { from, to, excess: 2, unread });
        assert!(!reconcile.is_put_off_again());
        assert_eq!(reconcile.summary.unchecked, unchecked);
    }
}

#[test]
fn fewer_rows_are_requested_only_of_a_list_without_a_cursor_and_down_to_one() {
    for (cursor, rows, is_fewer) in
        [(None, 2, true), (None, 9, true), (None, 1, false), (Some("1"), 9, false)]
    {
        let mut reconcile = listing_a_second(20);
        reconcile.listing.as_mut().unwrap().cursor = cursor.map(|text| Cursor(text.into()));
        assert_eq!(reconcile.list_fewer(rows), is_fewer, "{cursor:?} {rows}");
        let wanted = if is_fewer { rows / 2 } else { PAGE_ROWS };
        assert_eq!(reconcile.rows_of_list(PAGE_ROWS), wanted);
    }
    assert!(!begun(9).list_fewer(9), "there is no list");
}

#[test]
fn a_number_of_rows_that_was_answered_holds_for_the_round() {
    let mut reconcile = listing_a_second(20);
    assert!(reconcile.list_fewer(PAGE_ROWS));
    listed(&mut reconcile, 5, 5, 0, None);
    reconcile.ranges.push(Range::new(Some(at(2)), at(3), true));
    assert_eq!(reconcile.rows_of_list(PAGE_ROWS), 5);
    reconcile.abandon();
    reconcile.begin(Mono::ZERO, at(1), 0);
    assert_eq!(reconcile.rows_of_list(PAGE_ROWS), PAGE_ROWS);
}

/// What follows when the list of a second fails: `true` for the list again, and its cursor.
fn after_failure(
    cursor: Option<&str>,
    rows: u32,
    is_rejected: bool,
) -> (bool, Option<Cursor>, bool) {
    let mut reconcile = listing_a_second(20);
    reconcile.listing.as_mut().unwrap().cursor = cursor.map(|text| Cursor(text.into()));
    assert_eq!(fails(&mut reconcile, rows, is_rejected), None);
    let is_twin = reconcile.twin(0).is_some();
    reconcile.rejections.is_twin_asked = false;
    let is_list = next(&mut reconcile).is_some_and(|step| step.0);
    if !is_list {
        counted(&mut reconcile, 0, Total::Is(20));
    }
    let Some(Step::List(list)) = reconcile.next(0, PAGE_ROWS, at(0)) else { panic!("a list") };
    (is_list, list.cursor, is_twin)
}

#[test]
fn a_list_of_a_second_that_fails_is_asked_for_in_smaller_pages_and_then_where_it_failed() {
    let cursor = Some(Cursor("7".into()));
    assert_eq!(after_failure(Some("7"), 2, false), (true, cursor.clone(), false));
    assert_eq!(after_failure(Some("7"), 1, false), (false, cursor, false));
    // A rejected cursor is not used again, with no number of rows.
    assert_eq!(after_failure(Some("7"), 2, true), (false, None, false));
    // Whether all lists are rejected is asked where no cursor can be the reason.
    assert_eq!(after_failure(None, 1, true), (false, None, true));
    assert_eq!(after_failure(None, 1, false), (false, None, false));
}

#[test]
fn a_list_that_came_shows_that_no_row_is_to_blame_and_that_not_all_are_rejected() {
    let fail = |reconcile: &mut Reconcile| {
        let aside = fails(reconcile, 1, false);
        counted(reconcile, 0, Total::Is(20));
        aside
    };
    for next_page in [None, Some("1")] {
        let mut reconcile = listing_a_second(20);
        (1..limits::LONE_REFUSALS).for_each(|_| assert_eq!(fail(&mut reconcile), None));
        listed(&mut reconcile, 1, 1, 0, next_page);
        if next_page.is_none() {
            counted(&mut reconcile, 0, Total::Is(20));
        }
        (1..limits::LONE_REFUSALS).for_each(|_| assert_eq!(fail(&mut reconcile), None));
        let aside = fails(&mut reconcile, 1, true);
        assert_eq!(aside.map(|range| range.from), Some(at(0)), "{next_page:?}");
        assert_eq!(reconcile.twin(0), None, "a list came");
    }
}

#[test]
fn pages_before_one_that_is_rejected_by_its_cursor_acquit_nothing() {
    let mut reconcile = listing_a_second(20);
    let mut aside = None;
    for _ in 0..limits::LONE_REFUSALS {
        assert_eq!(aside, None);
        listed(&mut reconcile, 1, 0, 0, Some("1"));
        aside = fails(&mut reconcile, PAGE_ROWS, true);
        counted(&mut reconcile, 0, Total::Is(20));
    }
    assert_eq!(aside.map(|range| (range.from, range.excess)), Some((at(0), 20)));
}

#[test]
fn a_count_leads_to_a_list_of_few_or_of_a_short_time_and_else_to_parts() {
    let few = u64::from(PAGE_ROWS * limits::RECONCILE_PAGES_MAX);
    let many = few + 1;
    for (ms, there, is_list) in [
        (9_000_000, Total::Is(few), true),
        (9_000_000, Total::Is(many), false),
        (2_000, Total::Is(many), false),
        (1_999, Total::Is(many), true),
        (2_000, Total::Capped, false),
        (1_999, Total::Capped, true),
    ] {
        let mut reconcile = new();
        reconcile.summary.until = Some(at(0));
        reconcile.begin(Mono::ZERO, at(0) + Span::ms(ms), 0);
        counted(&mut reconcile, 0, there);
        assert_eq!(next(&mut reconcile).map(|step| step.0), Some(is_list), "{ms} {there:?}");
    }
}

#[test]
fn what_is_no_longer_there_is_noted_of_an_hour_and_looked_at_more_closely_in_more() {
    for (ms, there, fewer) in [(3_600_000, 7, 2), (3_600_001, 7, 0), (3_600_001, 0, 9)] {
        let mut reconcile = new();
        reconcile.summary.until = Some(at(0));
        reconcile.begin(Mono::ZERO, at(0) + Span::ms(ms), 0);
        counted(&mut reconcile, 9, Total::Is(there));
        assert_eq!(reconcile.summary.fewer, fewer, "{ms} {there}");
        let (_, from, _) = next(&mut reconcile).expect("a count");
        assert_eq!(from.is_some(), fewer == 0);
    }
}

#[test]
fn a_range_in_which_ever_more_is_there_is_listed_so_often() {
    let mut reconcile = begun(9_000);
    counted(&mut reconcile, 0, Total::Is(1));
    let mut lists = 0;
    while next(&mut reconcile).is_some_and(|step| step.0) {
        lists += 1;
        assert!(lists < 9);
        listed(&mut reconcile, 0, 0, 0, None);
        counted(&mut reconcile, 0, Total::Is(u64::from(lists) + 1));
    }
    assert_eq!(lists, limits::RECONCILE_LISTS_MAX);
}

/// An excess that was explained once explains no record that comes later.
#[test]
fn what_a_list_shows_replaces_what_was_explained_of_its_range() {
    let mut reconcile = begun(9_000);
    reconcile.settle(at(50), 3);
    reconcile.settle(at(9_001), 1);
    counted(&mut reconcile, 10, Total::Is(15));
    listed(&mut reconcile, 5, 0, 0, None);
    counted(&mut reconcile, 10, Total::Is(10));
    assert_eq!(next(&mut reconcile), None);
    reconcile.begin(Mono::ZERO, at(9_000), 0);
    counted(&mut reconcile, 10, Total::Is(13));
    assert_eq!(next(&mut reconcile).map(|step| step.0), Some(true), "three are looked for");
    assert_eq!(reconcile.settled.get(&at(9_001)), Some(&1));
}

#[test]
fn what_is_gone_between_a_list_and_its_count_is_noted_with_the_rest() {
    let mut reconcile = begun(9_000);
    for fewer in [2, 5] {
        counted(&mut reconcile, 10, Total::Is(11));
        listed(&mut reconcile, 1, 0, 0, None);
        counted(&mut reconcile, 10, Total::Is(if fewer == 2 { 8 } else { 7 }));
        assert_eq!((reconcile.summary.fewer, next(&mut reconcile)), (fewer, None));
        reconcile.begin(Mono::ZERO, at(9_000), 0);
        reconcile.settled.clear();
    }
}

#[test]
fn rows_that_are_known_without_being_counted_so_are_no_excess() {
    for (pages, there) in [(&[2][..], 5), (&[1, 1], 5), (&[1, 0, 2], 6)] {
        let mut reconcile = begun(9_000);
        counted(&mut reconcile, 3, Total::Is(there));
        let (last, before) = pages.split_last().unwrap();
        for unmatched in before {
            listed(&mut reconcile, 1, 0, *unmatched, Some("1"));
        }
        listed(&mut reconcile, 1, 0, *last, None);
        counted(&mut reconcile, 3, Total::Is(there));
        assert_eq!(next(&mut reconcile), None);
        assert_eq!(reconcile.overcounts.begin_round(at(9_000)), [], "{pages:?}");
        reconcile.begin(Mono::ZERO, at(9_000), 0);
        counted(&mut reconcile, 3, Total::Is(there));
        assert_eq!(next(&mut reconcile), None, "it is explained");
    }
}

#[test]
fn a_list_that_begins_anew_counts_its_rows_once() {
    let mut reconcile = begun(9_000);
    counted(&mut reconcile, 3, Total::Is(4));
    listed(&mut reconcile, 4, 0, 1, Some("4"));
    assert!(reconcile.reject_cursor());
    listed(&mut reconcile, 4, 0, 1, None);
    counted(&mut reconcile, 3, Total::Is(5));
    assert_eq!(next(&mut reconcile).map(|step| step.0), Some(true), "one has come since");
}

#[test]
fn without_a_count_a_list_explains_what_it_could_not_match_and_is_told_if_it_found_any() {
    for late in [0, 2] {
        let mut reconcile = begun(9_000);
        counted(&mut reconcile, 3, Total::Unknown);
        listed(&mut reconcile, 5, late, 2, None);
        assert_eq!(next(&mut reconcile), None);
        let last = reconcile.summary.last.as_ref().map(|last| (last.late, last.there));
        assert_eq!(last, (late > 0).then_some((late as u64, None)));
        reconcile.begin(Mono::ZERO, at(9_000), 0);
        counted(&mut reconcile, 3, Total::Is(5));
        assert_eq!(next(&mut reconcile), None);
    }
}

#[test]
fn a_list_that_is_cut_is_listed_in_parts_and_what_it_found_is_told() {
    for late in [0, 2] {
        let mut reconcile = begun(9_000);
        counted(&mut reconcile, 3, Total::Is(40));
        listed(&mut reconcile, u64::from(PAGE_ROWS), late, 0, None);
        let part = next(&mut reconcile).expect("a part");
        assert!(!part.0 && part.1 > Some(at(0)), "{part:?}");
        let last = reconcile.summary.last.as_ref().map(|last| last.late);
        assert_eq!(last, (late > 0).then_some(late as u64));
    }
}

#[test]
fn a_list_is_cut_where_its_last_page_is_full_and_lacks_rows_that_were_counted() {
    let cut = |there, collected, rows, last| {
        let (from, to) = (at(0), at(9));
        let difference = Difference { from, to, there, collected, late: 0 };
        Listing { asked: 10, rows, ..Listing::new(difference, None, 0) }.is_cut(last)
    };
    assert!(cut(Some(20), 5, 10, 10) && cut(None, 5, 10, 10));
    // All that were counted, just those that were collected, or a page that is not full.
    assert!(!cut(Some(10), 5, 10, 10) && !cut(Some(20), 10, 10, 10) && !cut(Some(20), 5, 9, 9));
    assert!(!cut(Some(5), 5, 10, 10) && !cut(None, 5, 9, 9));
}

#[test]
fn pages_without_a_row_are_followed_so_often_in_a_row_and_explain_nothing() {
    let mut reconcile = begun(9_000);
    counted(&mut reconcile, 3, Total::Is(4));
    for _ in 0..2 {
        (1..limits::EMPTY_PAGES_MAX / 4).for_each(|_| listed(&mut reconcile, 0, 0, 0, Some("1")));
        listed(&mut reconcile, 1, 0, 0, Some("1"));
    }
    // The requests of a round end sooner than these pages.
    reconcile.round.as_mut().unwrap().requests_max = 999;
    for _ in 1..limits::EMPTY_PAGES_MAX {
        listed(&mut reconcile, 0, 0, 0, Some("1"));
    }
    assert_eq!((reconcile.summary.unchecked, next(&mut reconcile).unwrap().0), (0, true));
    listed(&mut reconcile, 0, 0, 0, Some("1"));
    assert_eq!((reconcile.summary.unchecked, next(&mut reconcile)), (1, None));
    reconcile.begin(Mono::ZERO, at(9_000), 0);
    counted(&mut reconcile, 3, Total::Is(4));
    assert_eq!(next(&mut reconcile).map(|step| step.0), Some(true), "it is looked for again");
}

#[test]
fn differences_that_end_are_forgotten_and_the_earliest_beyond_a_number() {
    let mut reconcile = new();
    let most = limits::RECONCILE_SETTLED_MAX as i64;
    reconcile.settle(at(-1), 2);
    reconcile.settle(at(-1), -2);
    assert!(reconcile.settled.is_empty());
    for second in 0..most + 2 {
        reconcile.settle(at(second), 1);
        assert_eq!(reconcile.settled.len() as i64, most.min(second + 1));
    }
    assert_eq!(reconcile.settled.first_key_value().map(|(at, _)| *at), Some(at(2)));
}

/// More is counted than listed from the second 100 to 110, which was told, and is explained.
fn overcounted(until: i64) -> Reconcile {
    let mut reconcile = new();
    reconcile.summary.until = Some(at(until));
    reconcile.overcounts.found(Mono::ZERO, at(100), at(110), 5);
    reconcile.overcounts.told(at(100));
    reconcile.settle(at(100), 5);
    reconcile.begin(minutes(1), at(200), 0);
    assert_eq!(next(&mut reconcile), Some((false, Some(at(100)), at(110))));
    reconcile
}

#[test]
fn what_is_counted_and_not_listed_stays_told_whatever_else_is_counted_from_there_on() {
    let mut reconcile = overcounted(100);
    counted(&mut reconcile, 1, Total::Is(6));
    assert_eq!(next(&mut reconcile), Some((false, Some(at(100)), at(200))));
    counted(&mut reconcile, 2, Total::Is(7));
    assert_eq!((reconcile.overcounts.told_of(), reconcile.summary.fewer), (5, 0));
    assert_eq!(next(&mut reconcile), Some((false, None, at(100))));
}

#[test]
fn what_is_counted_and_not_listed_is_no_longer_told_once_no_ids_of_it_are_kept() {
    let mut reconcile = overcounted(200);
    reconcile.counted(minutes(1), PACE, PAGE_ROWS, None);
    assert_eq!(reconcile.overcounts.told_of(), 0);
    // In part, it is as before.
    let mut reconcile = overcounted(200);
    let counted = Counted { from: at(105), collected: 1, there: Total::Is(6), date: None };
    reconcile.counted(minutes(1), PACE, PAGE_ROWS, Some(counted));
    assert_eq!(next(&mut reconcile), Some((false, None, at(200))));
    assert_eq!(reconcile.overcounts.told_of(), 5);
    assert_eq!(reconcile.settled, BTreeMap::from([(at(105), 5)]));
}

#[test]
fn where_nothing_is_compared_nothing_is_told_of_counts() {
    let mut reconcile = overcounted(200);
    reconcile.refuse("HTTP 400".into());
    assert_eq!((reconcile.overcounts.told_of(), reconcile.is_on()), (0, false));
    assert_eq!((reconcile.in_round(), reconcile.failing()), (false, None));
}

#[test]
fn a_list_of_nothing_is_one_request_of_the_round_and_shows_that_lists_come() {
    let mut reconcile = listing_a_second(20);
    assert!(!reconcile.twin_came(minutes(2), PACE));
    assert_eq!(fails(&mut reconcile, 1, true), None);
    assert!(!reconcile.is_of_a_row(1), "that is not known yet");
    let twin = reconcile.twin(0).expect("a list of nothing");
    assert!(twin.from < twin.to && twin.to <= Stamp::EPOCH + Span::seconds(1), "{twin:?}");
    let requests = reconcile.round.as_ref().map(|round| round.requests);
    assert!(reconcile.twin_came(minutes(2), PACE));
    assert_eq!(reconcile.round.as_ref().map(|round| round.requests), requests.map(|all| all + 1));
    assert_eq!(reconcile.lane.due, Due::At(minutes(2)));
    counted(&mut reconcile, 0, Total::Is(20));
    assert!(reconcile.is_of_a_row(1) && !reconcile.is_of_a_row(2));
    assert_eq!(fails(&mut reconcile, 1, true), None);
    assert_eq!(reconcile.twin(0), None, "once is enough");
}

#[test]
fn a_cursor_is_the_reason_of_its_rejection_so_often() {
    let mut reconcile = listing_a_second(20);
    for _ in 0..limits::CURSORS_REFUSED_MAX {
        listed(&mut reconcile, 1, 0, 0, Some("1"));
        assert!(!reconcile.is_of_a_row(PAGE_ROWS));
        assert!(reconcile.reject_cursor());
    }
    assert!(!reconcile.reject_cursor(), "there is none");
    listed(&mut reconcile, 1, 0, 0, Some("1"));
    assert!(reconcile.is_of_a_row(PAGE_ROWS));
}
