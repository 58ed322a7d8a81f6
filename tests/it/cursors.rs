//! A cursor is a claim: that more lies behind it, and that it will be taken. One that leads back, or
//! that is refused, costs a bounded number of requests and no record (P1, P2, P6).

use std::time::Duration;

use crate::claims::activities_polled_only;
use crate::scene::Scene;
use crate::support::clock::SECOND;
use crate::support::data::Kind;
use crate::support::tenant::lie::{AT_THE_END, Lie};

// code:
const WALK_CIRCLES: &str = "S1C-W141";
const CURSORS_REFUSED: &str = "S1C-W146";
const CURSORS_MISSING: &str = "S1C-W149";

/// Pages that a walk may ask for beyond twice those that differ: it has to meet one again to know.
const A_HANDFUL: usize = 8;

/// The list is shown whole, then its last page leads back.
fn a_walk_that_leads_back_ends(rows_a_page: usize, rows: usize, period: usize) {
    let mut scene = Scene::with(activities_polled_only);
    scene.give_pages_of(rows_a_page);
    scene.tenant().lie(Lie::LeadsBack { page: AT_THE_END, period }, None);
    scene.publish_lately(rows);
    scene.run();
    scene.settle();
    scene.wait_log(WALK_CIRCLES);
    scene.publish_now(5);
    scene.settle();
    scene.wait_walks(Kind::Activities, 3);
    let (longest, pages) = (scene.longest_walk(Kind::Activities), (rows + 5) / rows_a_page + 1);
    assert!(longest <= 2 * pages + A_HANDFUL, "{longest} of {pages} pages\n{}", scene.story());
    scene.assert_told_once(WALK_CIRCLES);
    scene.tenant().be_honest();
    scene.publish_now(5);
    scene.settle();
    scene.wait_healthy();
    scene.assert_exactly_once();
}

#[test]
fn a_cursor_to_itself_ends_the_walk() {
    a_walk_that_leads_back_ends(1, 20, 1);
    a_walk_that_leads_back_ends(10, 45, 1);
    a_walk_that_leads_back_ends(100, 250, 1);
}

#[test]
fn two_pages_that_lead_to_each_other_end_the_walk() {
    a_walk_that_leads_back_ends(1, 20, 2);
    a_walk_that_leads_back_ends(10, 45, 2);
    a_walk_that_leads_back_ends(100, 250, 2);
}

#[test]
fn three_pages_in_a_circle_end_the_walk() {
    a_walk_that_leads_back_ends(1, 20, 3);
    a_walk_that_leads_back_ends(10, 45, 3);
    a_walk_that_leads_back_ends(100, 250, 3);
}

#[test]
fn a_page_in_the_middle_that_leads_to_itself_hides_nothing_without_a_word() {
    let mut scene = Scene::with(activities_polled_only);
    scene.give_pages_of(10);
    scene.tenant().lie(Lie::LeadsBack { page: 2, period: 1 }, None);
    scene.publish_lately(60);
    scene.run();
    scene.wait_log(WALK_CIRCLES);
    scene.wait_unhealthy();
    scene.assert_never_healthy_while_missing(20);
    scene.tenant().be_honest();
    scene.settle();
    scene.wait_healthy();
    scene.assert_told_once(WALK_CIRCLES);
    scene.assert_exactly_once();
}

/// How many lists were asked for.
fn lists(scene: &Scene) -> usize {
    scene.tenant().seen().iter().filter(|seen| seen.polls(Kind::Activities)).count()
}

fn publish_within(scene: &Scene, count: usize, seconds: i64) {
    let now = scene.tenant().clock().now_us();
    let (from, to) = (now - (seconds + 5) * SECOND, now - 5 * SECOND);
    scene.tenant().publish_between(Kind::Activities, count, from, to, |_| {});
}

/// Each page moves the walk on by time: three pages, three refused cursors, and a few polls.
#[test]
fn more_rows_than_a_page_within_the_overlap_arrive_though_every_cursor_is_refused() {
    let mut scene = Scene::with(activities_polled_only);
    scene.give_pages_of(1_000);
    scene.refuse_cursors(None);
    publish_within(&scene, 2_500, 25);
    scene.run();
    scene.settle();
    let asked = lists(&scene);
    assert!(asked <= 30, "{asked} requests for three pages\n{}", scene.story());
    scene.publish_now(5);
    scene.settle();
    scene.poll_again();
    scene.tenant().heal();
    scene.poll_again();
    scene.wait_healthy();
    scene.assert_exactly_once();
}

/// A page takes two seconds at this rate, so no cursor lives until it is used.
#[test]
fn cursors_that_expire_in_the_pauses_of_a_rate_cost_no_record_and_few_requests() {
    let mut scene = Scene::with(|s| {
        activities_polled_only(s);
        s.extra = "[polling]\nmax_rate = \"100KiB/s\"\n".to_string();
    });
    scene.give_pages_of(200);
    scene.tenant().lie(Lie::CursorsExpire(Duration::from_millis(300)), None);
    publish_within(&scene, 1_000, 60);
    scene.run();
    scene.settle();
    let asked = lists(&scene);
    assert!(asked <= 30, "{asked} requests for five pages\n{}", scene.story());
    scene.assert_exactly_once();
}

fn without_cursors(publish: impl Fn(&Scene)) -> Scene {
    let mut scene = Scene::with(activities_polled_only);
    scene.give_pages_of(1_000);
    scene.tenant().lie(Lie::NoCursor, None);
    publish(&scene);
    scene.run();
    scene
}

fn full_pages_without_a_cursor_are_no_end(publish: impl Fn(&Scene)) {
    let scene = without_cursors(publish);
    scene.settle();
    let asked = lists(&scene);
    assert!(asked <= 30, "{asked} requests for a few pages\n{}", scene.story());
    scene.publish_now(5);
    scene.settle();
    scene.poll_again();
    scene.wait_healthy();
    scene.assert_not_told(CURSORS_MISSING);
    scene.assert_exactly_once();
}

#[test]
fn more_rows_than_a_page_within_the_overlap_arrive_though_no_page_has_a_cursor() {
    full_pages_without_a_cursor_are_no_end(|scene| publish_within(scene, 2_500, 25));
}

/// Fewer rows come than were asked for, and no cursor: nothing but their round number says that more may follow.
#[test]
fn pages_that_a_limit_of_the_consoles_own_cuts_are_no_end_though_no_page_has_a_cursor() {
    let mut scene = Scene::with(activities_polled_only);
    scene.give_pages_of(100);
    scene.tenant().lie(Lie::NoCursor, None);
    publish_within(&scene, 1_500, 25);
    scene.once_with_code(0);
    let asked = lists(&scene);
    assert!(asked <= 20, "{asked} requests for 15 pages\n{}", scene.story());
    scene.run();
    scene.publish_now(5);
    scene.settle();
    scene.poll_again();
    scene.wait_healthy();
    scene.assert_exactly_once();
}

fn publish_of_one_stamp(scene: &Scene, count: usize) {
    let stamp = scene.tenant().clock().now_us() - 30 * SECOND;
    scene.tenant().publish_between(Kind::Activities, count, stamp, stamp, |_| {});
}

#[test]
fn more_rows_of_one_stamp_than_a_page_arrive_though_no_page_has_a_cursor() {
    full_pages_without_a_cursor_are_no_end(|scene| publish_of_one_stamp(scene, 1_500));
}

/// No more than 1,000 rows can be passed over.
#[test]
fn far_more_rows_of_one_stamp_than_a_page_without_a_cursor_are_told() {
    let scene = without_cursors(|scene| publish_of_one_stamp(scene, 3_500));
    scene.wait_delivered(1_999);
    scene.wait_log(CURSORS_MISSING);
    scene.wait_unhealthy();
    scene.assert_never_healthy_while_missing(4);
    scene.assert_told_once(CURSORS_MISSING);
    scene.tenant().be_honest();
    scene.settle();
    scene.wait_healthy();
    scene.assert_exactly_once();
}

/// Nothing but a cursor leads past a page of a single stamp. Ten walks without progress take longer
/// than ten shortest waits, by far: what has come before is no success.
#[test]
fn more_rows_of_one_stamp_than_a_page_with_every_cursor_refused_are_told_and_asked_for_ever_more_rarely()
 {
    let mut scene = Scene::with(|s| {
        activities_polled_only(s);
        s.retry_max = "5s".to_string();
    });
    scene.give_pages_of(1_000);
    scene.refuse_cursors(None);
    let stamp = scene.tenant().clock().now_us() - 30 * SECOND;
    scene.tenant().publish_between(Kind::Activities, 1_500, stamp, stamp, |_| {});
    scene.run();
    scene.wait_delivered(1_000);
    scene.wait_log(CURSORS_REFUSED);
    scene.wait_unhealthy();
    scene.assert_never_healthy_while_missing(4);
    // It looks for a row behind the page that is rejected alone, and then at that pace.
    let asks = |seen: &crate::support::tenant::Seen| seen.kind == Some(Kind::Activities);
    scene.wait_while_alive("requests are rare", |within| {
        scene.tenant().wait_for(1, within, asks);
        let seen = scene.tenant().seen();
        let times: Vec<_> = seen.iter().filter(|seen| asks(seen)).map(|seen| seen.at).collect();
        let last = times.last_chunk::<7>()?;
        (last[6] - last[0] >= Duration::from_secs(9)).then_some(())
    });
    assert_ne!(scene.status_told()["streams"][0]["reason"], "poll_interval", "{}", scene.story());
    let begins = |seen: &&crate::support::tenant::Seen| {
        seen.polls(Kind::Activities) && seen.parameter("cursor").is_none()
    };
    let seen = scene.tenant().seen();
    let times: Vec<_> = seen.iter().filter(begins).map(|seen| seen.at).collect();
    for ten in times.windows(10) {
        let took = ten[9] - ten[0];
        assert!(took >= Duration::from_millis(1_500), "ten walks in {took:?}\n{}", scene.story());
    }
    scene.assert_told_once(CURSORS_REFUSED);
    scene.tenant().heal();
    scene.settle();
    scene.wait_healthy();
    scene.assert_exactly_once();
}
