//! A page is a claim: that a list ends here, is sorted as asked, holds what was asked for. Where that
//! is not so, every record still arrives once, and what can't is told (P1, P2, P6).

use serde_json::Value;

use crate::claims::{activities, activities_polled_only};
use crate::notes::{after_a_silence_of_six_days, said, wait_said};
use crate::scene::{PATIENCE, Scene};
use crate::support::clock::{DAY, MINUTE};
use crate::support::data::Kind;
use crate::support::fault::{Fault, On};
use crate::support::tenant::Seen;
use crate::support::tenant::lie::{Asked, Lie};
use crate::support::tenant::query::Order;

// code:
const ORDER_BROKEN: &str = "S1C-W142";
const FILTER_IGNORED: &str = "S1C-W143";
const EMPTY_PAGES: &str = "S1C-W145";

/// Pages of one walk without a record that may be asked for, and a handful with some.
const EMPTY_PAGES_MAX: usize = 128;

fn rows_behind_empty_pages_arrive(before: Asked, count: u32, data: &'static str) {
    let mut scene = Scene::with(activities_polled_only);
    scene.give_pages_of(10);
    scene.tenant().lie(Lie::EmptyPages { before, count, data }, None);
    scene.publish_lately(30);
    scene.run();
    scene.settle();
    scene.publish_now(25);
    scene.settle();
    scene.poll_again();
    scene.wait_healthy();
    scene.assert_not_told(EMPTY_PAGES);
    scene.assert_exactly_once();
}

#[test]
fn an_empty_page_in_the_middle_of_a_walk_is_followed() {
    rows_behind_empty_pages_arrive(Asked::Later, 1, "");
}

#[test]
fn an_empty_page_at_the_beginning_of_a_walk_is_followed() {
    rows_behind_empty_pages_arrive(Asked::First, 1, "");
}

#[test]
fn several_empty_pages_in_a_row_are_followed() {
    rows_behind_empty_pages_arrive(Asked::First, 4, "");
    rows_behind_empty_pages_arrive(Asked::Later, 4, "");
}

#[test]
fn a_page_of_empty_objects_is_followed_and_nothing_of_it_is_sent() {
    rows_behind_empty_pages_arrive(Asked::First, 1, "{}");
    rows_behind_empty_pages_arrive(Asked::Later, 2, "{}, {}");
}

#[test]
fn empty_pages_without_an_end_are_bounded_and_told_and_nothing_is_up_to_date() {
    let mut scene = Scene::with(activities_polled_only);
    scene.give_pages_of(10);
    let without_end = Lie::EmptyPages { before: Asked::Later, count: u32::MAX, data: "" };
    scene.tenant().lie(without_end, None);
    scene.publish_lately(30);
    scene.run();
    scene.wait_log(EMPTY_PAGES);
    scene.wait_unhealthy();
    scene.wait_walks(Kind::Activities, 2);
    scene.watch(EMPTY_PAGES_MAX, |status| {
        let said = (&status["state"], &status["streams"][0]["reason"]);
        assert!(said.0 != "healthy" && said.1 != "poll_interval", "{status:#}");
    });
    let shown = scene.command(&["status"]).out;
    assert!(!shown.contains("up to date"), "{shown}");
    let longest = scene.longest_walk(Kind::Activities);
    assert!(longest <= EMPTY_PAGES_MAX, "{longest} pages in one walk\n{}", scene.story());
    scene.assert_told_once(EMPTY_PAGES);
    scene.tenant().be_honest();
    scene.settle();
    scene.wait_healthy();
    scene.assert_exactly_once();
}

fn with_pages_in(order: Order) -> Scene {
    let scene = Scene::with(activities_polled_only);
    scene.give_pages_of(10);
    scene.tenant().lie(Lie::Ordered(order), None);
    scene.publish_history(45);
    scene
}

fn rows_in_another_order_arrive_once(order: Order) {
    let mut scene = with_pages_in(order);
    scene.run();
    scene.settle();
    for _ in 0..3 {
        scene.publish_now(5);
        scene.settle();
        scene.poll_again();
    }
    scene.wait_log(ORDER_BROKEN);
    scene.assert_told_once(ORDER_BROKEN);
    scene.tenant().be_honest();
    scene.publish_now(5);
    scene.settle();
    scene.wait_healthy();
    scene.assert_exactly_once();
}

#[test]
fn the_newest_first_over_several_pages_arrive_once() {
    rows_in_another_order_arrive_once(Order::Descending);
}

#[test]
fn shuffled_pages_arrive_once() {
    rows_in_another_order_arrive_once(Order::Shuffled);
}

fn a_refused_cursor_loses_nothing_in(order: Order) {
    let mut scene = with_pages_in(order);
    scene.refuse_cursors(1);
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.wait_log(ORDER_BROKEN);
    scene.assert_told_once(ORDER_BROKEN);
    scene.assert_exactly_once();
}

#[test]
fn a_refused_cursor_among_the_newest_first_loses_nothing() {
    a_refused_cursor_loses_nothing_in(Order::Descending);
}

#[test]
fn a_refused_cursor_among_shuffled_pages_loses_nothing() {
    a_refused_cursor_loses_nothing_in(Order::Shuffled);
}

fn a_kill_between_pages_loses_nothing_in(order: Order) {
    let mut scene = with_pages_in(order);
    scene.tenant().fail(On::Cursor, None, Fault::Stall);
    // With nothing delivered no acknowledgement can be cut off by the kill.
    scene.ingress.server.take_away();
    scene.run();
    let asked_for_more = |seen: &Seen| seen.parameter("cursor").is_some();
    assert!(scene.tenant().wait_for(1, PATIENCE, asked_for_more), "{}", scene.story());
    scene.kill();
    scene.tenant().heal();
    scene.ingress.server.bring_back();
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.assert_exactly_once();
}

#[test]
fn a_kill_between_pages_with_the_newest_first_loses_nothing() {
    a_kill_between_pages_loses_nothing_in(Order::Descending);
}

#[test]
fn a_kill_between_shuffled_pages_loses_nothing() {
    a_kill_between_pages_loses_nothing_in(Order::Shuffled);
}

#[test]
fn a_filter_that_walks_find_ignored_repeats_nothing_and_is_told() {
    let mut scene = Scene::with(activities);
    scene.tenant().lie(Lie::FilterIgnored(Asked::Polls), None);
    scene.publish_history(100);
    scene.run();
    scene.settle();
    for _ in 0..3 {
        scene.publish_now(5);
        scene.settle();
        scene.poll_again();
    }
    scene.wait_log(FILTER_IGNORED);
    let is_shown = |status: &Value| {
        let is_on = status["streams"][0]["reconciliation"]["on"] == true;
        (status["state"] != "healthy" || !is_on).then_some(())
    };
    scene.wait_while_alive("the status shows it", |within| scene.wait_status(within, is_shown));
    let told = scene.status_told();
    assert!(is_shown(&told).is_some(), "{told:#}");
    scene.assert_told_once(FILTER_IGNORED);
    scene.assert_exactly_once();
}

/// Rows of two weeks ago are in no range that is compared, and once newer ones came nothing is
/// remembered of them: only the range itself tells that they were collected.
#[test]
fn a_filter_that_counts_find_ignored_repeats_nothing_and_ends_reconciliation() {
    let mut scene = Scene::with(|s| {
        activities(s);
        s.integrations[0].start = "30d".to_string();
        s.integrations[0].reconcile = "1m".to_string();
    });
    let now = scene.tenant().clock().now_us();
    let (from, to) = (now - 20 * DAY, now - 10 * DAY);
    scene.tenant().publish_between(Kind::Activities, 50, from, to, |_| {});
    scene.run();
    scene.settle();
    scene.publish_history(50);
    scene.settle();
    scene.poll_again();
    scene.tenant().lie(Lie::FilterIgnored(Asked::Ranges), None);
    // The next comparison is due.
    scene.tenant().set_clock_ahead(2 * MINUTE);
    scene.wait_status_is("/streams/0/reconciliation/on", "false");
    scene.wait_log(FILTER_IGNORED);
    scene.publish_now(5);
    scene.settle();
    scene.poll_again();
    scene.assert_told_once(FILTER_IGNORED);
    scene.assert_exactly_once();
}

/// Records that nobody has read were deleted by age, and a lie hides it.
fn what_was_deleted_unread_is_a_gap_whatever(lie: Lie) {
    let mut scene = after_a_silence_of_six_days(activities_polled_only, true);
    scene.tenant().lie(lie, None);
    scene.once_with_code(0);
    let gaps = wait_said(&scene, "gap", 1);
    assert_eq!((gaps.len(), &gaps[0]["reason"]), (1, &Value::from("retention")), "{gaps:?}");
    let balance = scene.ledger.balance();
    assert_eq!((balance.delivered, balance.lost, balance.duplicates), (10, 5, 0));
}

#[test]
fn a_filter_that_is_ignored_hides_no_gap_of_what_was_deleted_unread() {
    what_was_deleted_unread_is_a_gap_whatever(Lie::FilterIgnored(Asked::Ranges));
}

#[test]
fn empty_pages_hide_no_gap_of_what_was_deleted_unread() {
    let before = Asked::First;
    what_was_deleted_unread_is_a_gap_whatever(Lie::EmptyPages { before, count: 2, data: "" });
}

/// The record that shows that nothing was deleted stands behind a page without one.
#[test]
fn an_empty_page_makes_no_gap_where_nothing_was_deleted() {
    let mut scene = Scene::with(activities_polled_only);
    scene.tenant().publish(Kind::Activities, 5);
    scene.once_with_code(0);
    scene.pass(4 * DAY);
    scene.tenant().publish(Kind::Activities, 5);
    scene.tenant().lie(Lie::EmptyPages { before: Asked::First, count: 2, data: "" }, None);
    scene.once_with_code(0);
    assert_eq!(said(&scene, "gap"), Vec::<Value>::new());
    scene.assert_exactly_once();
}

/// More than a walk remembers stand before the beginning of the stream.
#[test]
fn rows_behind_very_many_older_ones_arrive_though_the_filter_is_ignored() {
    let mut scene = Scene::with(|s| {
        activities_polled_only(s);
        s.integrations[0].start = "1h".to_string();
    });
    scene.give_pages_of(1_000);
    scene.tenant().lie(Lie::FilterIgnored(Asked::Polls), None);
    let now = scene.tenant().clock().now_us();
    scene.tenant().publish_between(Kind::Activities, 18_000, now - 9 * DAY, now - DAY, |_| {});
    scene.run();
    scene.wait_log(FILTER_IGNORED);
    let new = scene.publish_now(20);
    scene.wait_delivered_of(&new);
    scene.wait_unhealthy();
    // Another walk.
    scene.wait_asked(25);
    scene.assert_told_once(FILTER_IGNORED);
    let balance = scene.ledger.balance();
    assert_eq!((balance.delivered, balance.duplicates), (20, 0));
}
