//! A `Date` is a claim: whatever a tenant says of the time, for one answer or for ever, every record
//! arrives once or a gap says that it may not (P1, P8).

use crate::claims::{activities, activities_polled_only};
use crate::scene::Scene;
use crate::support::clock::{Clock, DAY, HOUR, MINUTE, at, iso};
use crate::support::data::Kind;
use crate::support::tenant::lie::Lie;

// code:
const POSITION_AHEAD: &str = "S1C-W140";
const START_AHEAD: &str = "S1C-E144";

/// The reason of a gap.
const AHEAD: &str = "position_ahead";
const YEAR: i64 = 365 * DAY;

fn a_first_answer_ahead_loses_nothing(ahead: i64) {
    let mut scene = Scene::new();
    scene.publish_history(28);
    scene.tenant().publish(Kind::Threats, 28);
    scene.tenant().lie(Lie::DateAhead(ahead), 1);
    scene.run();
    scene.settle();
    scene.stop();
    scene.tenant().publish(Kind::Activities, 5);
    scene.tenant().publish(Kind::Threats, 5);
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.wait_healthy();
    assert_eq!(scene.status_told()["gaps"]["count"], 0, "{}", scene.story());
    scene.assert_exactly_once();
}

#[test]
fn a_first_answer_dated_30_hours_ahead_loses_nothing_also_after_a_restart() {
    a_first_answer_ahead_loses_nothing(30 * HOUR);
}

#[test]
fn a_first_answer_dated_ten_years_ahead_loses_nothing_also_after_a_restart() {
    a_first_answer_ahead_loses_nothing(10 * YEAR);
}

#[test]
fn what_was_told_while_one_date_was_ahead_is_not_shown_as_of_the_future() {
    let mut scene = Scene::with(activities);
    scene.publish_history(5);
    scene.tenant().lie(Lie::DateAhead(30 * HOUR), 1);
    scene.run();
    scene.settle();
    scene.wait_healthy();
    scene.poll_again();
    scene.stop();
    let status = scene.status().unwrap();
    let (told, shown) = (&status["last_trouble"]["at"], &status["updated"]);
    assert!(told.as_str().unwrap() <= shown.as_str().unwrap(), "{status:#}");
}

#[test]
fn two_first_answers_dated_ahead_lose_nothing_or_a_gap_says_so() {
    let mut scene = Scene::with(activities);
    scene.publish_history(28);
    scene.tenant().lie(Lie::DateAhead(30 * HOUR), 2);
    scene.run();
    scene.settle_or_tell();
    let fresh = scene.publish_now(5);
    scene.wait_delivered_of(&fresh);
    scene.wait_healthy();
    scene.poll_again_without_settling();
    scene.settle_or_tell();
    assert_eq!(scene.ledger.balance().duplicates, 0, "{}", scene.story());
}

#[test]
fn a_date_that_stays_30_hours_ahead_loses_nothing_and_is_not_healthy_until_it_is_right() {
    let mut scene = Scene::with(activities);
    scene.publish_history(28);
    scene.tenant().lie(Lie::DateAhead(30 * HOUR), None);
    scene.run();
    scene.settle();
    scene.wait_unhealthy();
    scene.publish_now(5);
    scene.settle();
    scene.wait_position_is_past();
    scene.tenant().be_honest();
    scene.publish_now(5);
    scene.settle();
    scene.wait_healthy();
    scene.assert_exactly_once();
}

/// All clocks are ahead at first, so that nothing speaks against where the stream then stands:
/// this is how a queue looks that an older version has written, or that was restored.
#[cfg(debug_assertions)]
fn with_a_position_ahead(ahead: i64, collected: usize) -> Scene {
    let mut scene = Scene::with(|s| {
        activities(s);
        // No certificate is good at both times.
        s.tls = false;
    });
    scene.write_file("shift", &(ahead / 1_000_000).to_string());
    scene.tenant().set_clock_ahead(ahead);
    scene.ingress.clock().set_ahead_us(ahead);
    scene.publish_now(collected);
    let shift = scene.path("shift").display().to_string();
    scene.run_with(&[("S1_CORALOGIX_TEST_CLOCK", shift)]);
    scene.wait_status_is("/streams/0/caught_up", "true");
    scene.settle();
    scene.stop();
    scene.write_file("shift", "0");
    scene.tenant().set_clock_ahead(0);
    scene.ingress.clock().set_ahead_us(0);
    scene
}

#[cfg(debug_assertions)]
fn a_stored_position_ahead_is_set_back(ahead: i64, before: impl Fn(&Scene)) {
    let mut scene = with_a_position_ahead(ahead, 5);
    before(&scene);
    scene.publish_history(20);
    let fresh = scene.publish_now(20);
    scene.run();
    scene.wait_delivered_of(&fresh);
    scene.wait_log(POSITION_AHEAD);
    scene.wait_position_is_past();
    scene.settle_or_tell();
    let told = scene.status_told();
    assert_eq!(told["gaps"]["latest"][0]["reason"], AHEAD, "{told:#}");
    scene.poll_again_without_settling();
    scene.wait_healthy();
    scene.assert_told_once(POSITION_AHEAD);
    scene.stop();
    scene.run();
    let fresh = scene.publish_now(5);
    scene.wait_delivered_of(&fresh);
    scene.wait_healthy();
    scene.settle_or_tell();
    scene.assert_told_once(POSITION_AHEAD);
    assert_eq!(scene.ledger.balance().duplicates, 0, "{}", scene.story());
}

#[cfg(debug_assertions)]
#[test]
fn a_stored_position_two_days_ahead_is_set_back_and_told_once() {
    a_stored_position_ahead_is_set_back(2 * DAY, |_| {});
}

#[cfg(debug_assertions)]
#[test]
fn a_stored_position_a_year_ahead_is_set_back_and_told_once() {
    a_stored_position_ahead_is_set_back(YEAR, |_| {});
}

/// The queue moves to another box.
#[cfg(debug_assertions)]
#[test]
fn an_imported_position_two_days_ahead_is_set_back_and_told_once() {
    a_stored_position_ahead_is_set_back(2 * DAY, |scene| {
        let file = scene.path("queue.export").display().to_string();
        let queue = |args: &[&str]| {
            let ended = scene.command(args);
            assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
        };
        queue(&["queue", "export", &file]);
        std::fs::rename(scene.queue_dir(), scene.path("old-box")).unwrap();
        queue(&["queue", "import", &file]);
    });
}

/// As a future `start` left it behind: nothing was ever collected.
#[cfg(debug_assertions)]
#[test]
fn a_queue_that_never_collected_and_stands_a_year_ahead_heals_by_itself() {
    let mut scene = with_a_position_ahead(YEAR, 0);
    scene.publish_history(20);
    scene.run();
    scene.settle();
    scene.wait_log(POSITION_AHEAD);
    scene.publish_now(5);
    scene.settle();
    scene.wait_healthy();
    scene.wait_position_is_past();
    scene.assert_told_once(POSITION_AHEAD);
    scene.assert_exactly_once();
}

/// A box without a clock has only the tenant's word, and it is wrong twice in a row.
#[cfg(debug_assertions)]
#[test]
fn where_two_wrong_dates_are_all_there_is_the_position_is_set_back_when_they_are_right() {
    let mut scene = Scene::with(|s| {
        activities(s);
        s.tls = false;
    });
    scene.write_file("shift", &(-scene.tenant().clock().now_us() / 1_000_000).to_string());
    scene.publish_history(28);
    scene.tenant().lie(Lie::DateAhead(30 * HOUR), None);
    let shift = scene.path("shift").display().to_string();
    scene.run_with(&[("S1_CORALOGIX_TEST_CLOCK", shift)]);
    scene.wait_status_is("/streams/0/caught_up", "true");
    scene.tenant().be_honest();
    let fresh = scene.publish_now(5);
    scene.wait_delivered_of(&fresh);
    scene.settle_or_tell();
    scene.wait_log(POSITION_AHEAD);
    scene.wait_position_is_past();
    scene.wait_healthy();
    scene.assert_told_once(POSITION_AHEAD);
    assert_eq!(scene.ledger.balance().duplicates, 0, "{}", scene.story());
}

fn one_lying_date_beside_a_record_of(far: i64, lie: Lie) {
    let mut scene = Scene::with(activities_polled_only);
    scene.publish_now(20);
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.tenant().publish_between(Kind::Activities, 1, far, far, |_| {});
    scene.tenant().lie(lie, 1);
    scene.wait_asked(3);
    scene.publish_now(20);
    scene.settle();
    scene.poll_again();
    scene.wait_position_is_past();
    scene.wait_healthy();
    scene.assert_exactly_once();
}

#[test]
fn one_date_of_2176_beside_a_record_of_2176_does_not_end_the_stream() {
    let far = at(2176, 3, 1);
    one_lying_date_beside_a_record_of(far, Lie::DateIs(far));
}

#[test]
fn one_date_ten_years_ahead_beside_a_record_nine_years_ahead_does_not_end_the_stream() {
    let far = Clock::default().now_us() + 9 * YEAR;
    one_lying_date_beside_a_record_of(far, Lie::DateAhead(10 * YEAR));
}

fn with_a_start_in_a_year() -> Scene {
    let scene = Scene::with(|s| {
        activities(s);
        s.integrations[0].start = iso(Clock::default().now_us() + YEAR);
    });
    scene.publish_history(20);
    scene
}

fn correct_the_start(scene: &mut Scene) {
    scene.settings.integrations[0].start = "24h".to_string();
    scene.write_config();
}

#[test]
fn a_start_in_the_future_is_told_stores_nothing_and_a_restart_with_a_right_one_collects_all() {
    let mut scene = with_a_start_in_a_year();
    scene.run();
    scene.wait_log(START_AHEAD);
    scene.wait_status_is("/state", "stuck");
    scene.wait_status_is("/streams/0/position", "null");
    assert_eq!(scene.command(&["status"]).code, Some(1), "{}", scene.story());
    scene.assert_told_once(START_AHEAD);
    scene.stop();
    correct_the_start(&mut scene);
    scene.run();
    scene.settle();
    scene.wait_healthy();
    scene.assert_exactly_once();
}

#[test]
fn a_start_in_the_future_that_is_corrected_is_taken_by_a_reload() {
    let mut scene = with_a_start_in_a_year();
    scene.run();
    scene.wait_status_is("/state", "stuck");
    correct_the_start(&mut scene);
    scene.signal(rustix::process::Signal::HUP);
    scene.settle();
    scene.wait_healthy();
    scene.assert_exactly_once();
}

#[test]
fn once_with_a_start_in_the_future_ends_as_misconfigured_and_with_a_right_one_collects_all() {
    let mut scene = with_a_start_in_a_year();
    let ended = scene.once_with_code(78);
    assert!(ended.err.contains(START_AHEAD), "{}", ended.err);
    assert_eq!(scene.ledger.balance().delivered, 0);
    correct_the_start(&mut scene);
    scene.once_with_code(0);
    scene.assert_exactly_once();
}

/// More than the ids that are kept, so that nothing but the position spares a second delivery.
#[test]
fn a_date_of_1970_for_ever_repeats_nothing_of_more_records_than_ids_are_kept() {
    let now = Clock::default().now_us();
    let mut scene = Scene::with(|s| {
        activities(s);
        s.integrations[0].start = iso(now - 30 * HOUR);
    });
    scene.tenant().lie(Lie::DateIs(0), None);
    let (from, to) = (now - 28 * HOUR, now - MINUTE);
    scene.tenant().publish_between(Kind::Activities, 66_600, from, to, |_| {});
    scene.run();
    scene.settle();
    scene.wait_walks(Kind::Activities, 3);
    scene.poll_again();
    scene.publish_now(5);
    scene.settle();
    scene.assert_exactly_once();
}

#[test]
fn a_date_of_1970_and_a_start_that_needs_the_time_is_told_with_a_remedy_until_it_is_right() {
    let mut scene = Scene::with(activities);
    scene.publish_history(20);
    scene.tenant().lie(Lie::DateIs(0), None);
    scene.run();
    scene.wait_unhealthy();
    scene.wait_while_alive("the remedy is told", |within| {
        scene.wait_status(within, |status| {
            let detail = |side: &str| status[side][0]["detail"].as_str().unwrap_or("").to_string();
            let told = format!("{}{}", detail("integrations"), detail("streams"));
            told.contains("start").then_some(())
        })
    });
    scene.assert_never_healthy_while_missing(0);
    scene.tenant().be_honest();
    scene.settle();
    scene.wait_healthy();
    scene.assert_exactly_once();
}

#[test]
fn a_console_two_days_ahead_that_is_corrected_loses_and_repeats_nothing() {
    let mut scene = Scene::with(activities);
    scene.tenant().set_clock_ahead(2 * DAY);
    scene.publish_now(10);
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.tenant().set_clock_ahead(0);
    scene.publish_now(25);
    scene.settle();
    scene.poll_again();
    scene.wait_position_is_past();
    scene.wait_healthy();
    assert_eq!(scene.ledger.balance().delivered, 35, "{}", scene.story());
    scene.assert_exactly_once();
}
