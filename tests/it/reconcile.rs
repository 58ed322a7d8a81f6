//! Reconciliation: what became visible hours after every poll had passed it is found by SentinelOne's
//! count, and sent once (P1, P2).

use crate::scene::Scene;
use crate::support::clock::{HOUR, MINUTE, SECOND};
use crate::support::data::Kind;
use crate::support::tenant::Seen;

/// A day of records, collected and compared; then some of hours ago, which no poll looks for.
fn with_late_records(scene: &mut Scene) {
    publish(scene, 400, 60, (20, 2));
    scene.run();
    scene.settle();
    scene.wait_status_is("/streams/0/reconciliation/comparisons", "1");
    scene.wait_status_is("/streams/1/reconciliation/comparisons", "1");
    publish(scene, 3, 2, (9, 5));
    scene.poll_again_without_settling();
    assert_eq!(scene.ledger.balance().delivered, 460, "no poll finds them");
}

fn publish(scene: &Scene, activities: usize, threats: usize, (from, to): (i64, i64)) {
    let tenant = scene.tenant();
    // A little apart from the others, for no two records have one id.
    let now = tenant.clock().now_us() + i64::try_from(activities).unwrap();
    let (from, to) = (now - from * HOUR, now - to * HOUR);
    tenant.publish_between(Kind::Activities, activities, from, to, |_| {});
    tenant.publish_between(Kind::Threats, threats, from, to, |_| {});
}

fn counts(scene: &Scene) -> usize {
    let seen = scene.tenant().seen();
    seen.iter().filter(|seen| seen.parameter("countOnly").is_some()).count()
}

#[test]
fn records_of_hours_ago_are_found_by_the_next_count_and_sent_once() {
    let mut scene = Scene::new();
    with_late_records(&mut scene);
    assert_eq!(counts(&scene), 2, "one count a stream an hour when all agrees");
    scene.pass(2 * HOUR);
    scene.settle();
    scene.wait_status_is("/streams/0/reconciliation/late_records", "2");
    scene.wait_status_is("/streams/1/reconciliation/late_records", "3");
    scene.wait_log("acme/activities: 3 records became visible only after polling");
    scene.pass(4 * HOUR);
    scene.poll_again();
    scene.stop();
    scene.assert_exactly_once();
    assert_eq!(scene.log().matches("became visible only after").count(), 2, "told once a stream");
}

#[test]
fn what_was_collected_is_still_known_after_a_kill_and_found_by_once_too() {
    let mut scene = Scene::new();
    with_late_records(&mut scene);
    scene.wait_waiting(0);
    scene.kill();
    scene.pass(2 * HOUR);
    scene.once_with_code(0);
    assert_eq!(scene.ledger.balance().delivered, 465);
    // Two hours later everything is compared again, and nothing is sent again.
    scene.pass(4 * HOUR);
    scene.once_with_code(0);
    scene.assert_exactly_once();
}

#[test]
fn turned_off_it_asks_nothing() {
    let mut scene = Scene::with(|settings| settings.integrations[0].reconcile = "0s".to_string());
    publish(&scene, 400, 60, (20, 2));
    scene.run();
    scene.settle();
    scene.pass(2 * HOUR);
    scene.poll_again();
    scene.wait_status_is("/streams/0/reconciliation/on", "false");
    assert_eq!(counts(&scene), 0);
    scene.assert_exactly_once();
}

/// One of the records that no poll looks for can't be fetched. Its second is tried again and again at the
/// pace of `retry.max`.
#[test]
fn a_late_record_that_cannot_be_fetched_holds_up_no_other_and_is_told_as_a_gap() {
    let mut scene = Scene::with(|settings| {
        let integration = &mut settings.integrations[0];
        integration.streams = vec!["activities"];
        integration.overlap = "1s".to_owned();
        // So that each round compares no more than the seconds since the last one anew.
        integration.reconcile = "1s".to_owned();
    });
    let publish = |scene: &Scene, count: usize, from: i64, to: i64| {
        scene.tenant().publish_between(Kind::Activities, count, from, to, |_| {})
    };
    let now = scene.tenant().clock().now_us();
    publish(&scene, 50, now - 2 * HOUR, now - HOUR);
    publish(&scene, 1, now - MINUTE, now);
    scene.run();
    scene.settle();
    // Before the position, and soon old enough to be compared.
    let at = scene.tenant().clock().now_us() - 5 * MINUTE + 10 * SECOND;
    let late = publish(&scene, 3, at, at + 6 * SECOND);
    scene.tenant().turn(|knobs| knobs.bad_row = Some((late[1], 500)));
    for tries in [10, 14] {
        scene.wait_while_alive(&format!("{tries} lists fail"), |within| {
            let count = |seen: &[Seen]| seen.iter().filter(|seen| seen.status == 500).count();
            scene.tenant().wait(within, |seen| (count(seen) >= tries).then_some(()))
        });
    }
    scene.wait_log("S1C-E225");
    scene.wait_delivered(53);
    scene.wait_status_is("/gaps/latest/0/reason", "unfetchable");
    scene.wait_status_is("/streams/0/reconciliation/late_records", "2");
    scene.wait_status_is("/state", "healthy");
    let now = scene.tenant().clock().now_us();
    publish(&scene, 1, now, now + SECOND);
    scene.wait_delivered(54);
    let balance = scene.ledger.balance();
    assert_eq!((balance.lost, balance.duplicates), (1, 0), "{balance}");
    let failed = scene.tenant().seen().iter().filter(|seen| seen.status == 500).count();
    assert!(failed < 40, "{failed} requests failed");
}
