//! Delivery: only a 2xx deletes, everything else keeps, halves or parks (P1, P2).

use std::sync::Arc;
use std::time::Duration;

use crate::scene::{PATIENCE, Scene};
use crate::support::clock::{DAY, HOUR, read_query_time};
use crate::support::data::{Kind, Shape};
use crate::support::fault::{Fault, On, RetryAfter};
use crate::support::http::After;
use crate::support::ingress::{AgeRule, Got, Ingress, LongRule, Measured, Rejection, Stored};
use crate::support::ledger::Book;

#[test]
fn an_entry_carries_what_the_design_says() {
    let mut scene =
        Scene::with(|s| s.integrations[0].streams = vec!["threats", "activities", "alerts"]);
    // The first of all goes without its time, and its answer brings Coralogix'.
    scene.tenant().publish(Kind::Activities, 1);
    scene.run();
    scene.settle();
    let threats = scene.tenant().publish_with(Kind::Threats, 2, |draft| {
        draft.confidence = "malicious";
        draft.mitigation = if draft.id % 2 == 0 { "mitigated" } else { "not_mitigated" };
    });
    let activity = scene.tenant().publish_with(Kind::Activities, 1, |d| d.activity_type = 19)[0];
    let alert = scene.tenant().publish_with(Kind::Alerts, 1, |d| d.alert_severity = "Critical")[0];
    scene.settle();
    let stored = |id: u64| -> Stored {
        let index = scene.ledger.look(|book| book.entries.iter().position(|e| e.id == id));
        scene.ingress.stored().into_iter().find(|stored| stored.published == index).unwrap()
    };
    for id in threats {
        let threat = stored(id);
        assert_eq!(threat.severity, if id % 2 == 0 { 5 } else { 6 });
        assert_eq!(&*threat.category, "threats");
        let stamp = read_query_time(&scene.tenant().stamp_of(Kind::Threats, id)).unwrap();
        assert!(threat.stamped && threat.stamp_us == stamp, "to the microsecond");
        assert_eq!(*threat.computer, *format!("WS-{:04}", id % 9_973));
    }
    let activity = stored(activity);
    assert_eq!((activity.severity, &*activity.category), (5, "activities"));
    let alert = stored(alert);
    assert_eq!((alert.severity, &*alert.category), (6, "alerts"));
    assert_eq!((&*alert.application, &*alert.subsystem), ("acme-app", "SentinelOne"));
    assert_eq!(&*alert.class_name, "acme");
}

#[test]
fn requests_are_gzip_of_at_most_one_and_a_half_mebibytes_on_a_kept_connection() {
    let mut scene = Scene::new();
    scene.tenant().publish_with(Kind::Activities, 6_000, |draft| draft.size = 2_600);
    scene.run();
    scene.settle();
    for got in scene.ingress.got() {
        assert_eq!((got.status, got.method.as_str()), (200, "POST"));
        assert!(got.raw_bytes <= 3 << 19, "{} bytes", got.raw_bytes);
        assert_eq!(got.header("content-encoding"), Some("gzip"));
        assert_eq!(got.header("content-type"), Some("application/json"));
        assert!(got.header("user-agent").unwrap().starts_with("s1-coralogix/"));
        let compressed = got.wire_bytes * 3 < got.raw_bytes || got.entries < 50;
        assert!(compressed, "{} of {}", got.wire_bytes, got.raw_bytes);
    }
    assert!(scene.ingress.server.connections() <= 2);
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn with_coralogix_away_the_queue_grows_and_then_drains() {
    let mut scene = Scene::new();
    scene.ingress.server.take_away();
    scene.tenant().publish(Kind::Activities, 2_500);
    scene.tenant().publish(Kind::Threats, 500);
    scene.run();
    scene.wait_waiting(3_000);
    scene.wait_status_is("/coralogix/reason", "unreachable");
    scene.ingress.server.bring_back();
    scene.settle();
    scene.wait_status_is("/queue/waiting", "0");
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn busy_and_broken_answers_are_tried_again_and_cost_nothing() {
    let mut scene = Scene::new();
    scene.run();
    let refusals = [408, 429, 500, 502, 503, 504].map(Fault::status);
    let broken = [Fault::Close, Fault::Reset, Fault::ResetBeforeBody, Fault::unavailable(None)];
    for fault in refusals.into_iter().chain(broken) {
        scene.ingress.fail(On::Singles, 2, fault);
        scene.tenant().publish(Kind::Activities, 150);
        scene.hurry();
        scene.settle();
    }
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn retry_after_is_honoured_in_both_forms() {
    for form in [RetryAfter::Seconds(2), RetryAfter::Date(Duration::from_secs(3))] {
        for fault in [Fault::too_many(Some(form)), Fault::unavailable(Some(form))] {
            let mut scene = Scene::new();
            scene.ingress.fail(On::Singles, 1, fault);
            scene.tenant().publish(Kind::Activities, 10);
            scene.run();
            scene.settle();
            let got = scene.ingress.got();
            let gap = got[1].at - got[0].at;
            assert!(gap >= Duration::from_secs(2), "{form:?}: came back after {gap:?}");
            scene.assert_exactly_once();
        }
    }
}

#[test]
fn lost_replies_bring_one_batch_twice_each_and_lose_nothing() {
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 1_000);
    scene.run();
    scene.settle();
    for fault in [Fault::LostReply, Fault::LostReplyByReset] {
        let before = scene.ledger.balance().duplicates;
        scene.ingress.fail(On::Singles, 1, fault);
        scene.tenant().publish(Kind::Threats, 100);
        scene.settle();
        let twice = |book: &Book| (book.balance().duplicates > before).then_some(());
        let comes_again = scene.ledger.wait(PATIENCE, twice).is_some();
        assert!(comes_again, "the batch comes again\n{}", scene.story());
        scene.poll_again();
        let duplicates = scene.ledger.balance().duplicates - before;
        // The second time batches are smaller: what was lost might have been too large.
        assert!((25..=100).contains(&duplicates), "{duplicates}: and only that batch");
    }
    scene.assert_nothing_lost();
}

#[test]
fn a_poisoned_record_is_parked_and_the_rest_goes_on() {
    let mut scene = Scene::new();
    let ids = scene.tenant().publish(Kind::Activities, 400);
    let poison = format!("\"id\": \"{}\"", ids[123]);
    scene.ingress.turn(|knobs| knobs.poison = Some(Arc::new(move |text| text.contains(&poison))));
    scene.run();
    scene.wait_delivered(399);
    scene.wait_status_is("/queue/parked", "1");
    scene.tenant().publish(Kind::Activities, 100);
    scene.wait_delivered(499);
    scene.poll_again_without_settling();
    let balance = scene.ledger.balance();
    assert_eq!((balance.lost, balance.duplicates, balance.out_of_order), (1, 0, 0), "{balance}");
    assert_eq!(scene.log().matches("is parked").count(), 1, "told once\n{}", scene.log());
    assert!(scene.ingress.requests() < 60, "found by halving");
    let parked = std::fs::read_dir(scene.queue_dir().join("parked")).unwrap().count();
    assert!(parked >= 1, "the record is kept");
}

#[test]
fn a_sink_that_drops_poison_and_says_so_parks_nothing() {
    let mut scene = Scene::new();
    scene.ingress.turn(|knobs| {
        knobs.rejection = Rejection::Entry;
        knobs.poison = Some(Arc::new(|text| text.contains("\"activityType\": 90,")));
    });
    // In one batch, and that is the first.
    scene.tenant().publish(Kind::Activities, 48);
    scene.run();
    scene.wait_delivered(42);
    scene.wait_status_is("/queue/waiting", "0");
    scene.wait_status_is("/queue/parked", "0");
    scene.wait_status_is("/queue/doubt", "1");
    scene.wait_status_is("/coralogix/reason", "in_doubt");
}

#[test]
fn the_documented_size_limits_are_never_met() {
    for limit in [2_000_000, 2_097_152, 10_485_760] {
        for measured in [Measured::OnTheWire, Measured::Inflated] {
            let mut scene = Scene::new();
            scene.ingress.turn(|knobs| knobs.size_limit = Some((limit, measured)));
            scene.tenant().publish_with(Kind::Activities, 2_000, |draft| draft.size = 2_600);
            scene.once_with_code(0);
            assert!(scene.ingress.got().iter().all(|got| got.status == 200), "{limit}");
            scene.assert_exactly_once();
        }
    }
}

#[test]
fn a_smaller_limit_halves_the_batches_and_a_record_beyond_it_is_parked() {
    let mut scene = Scene::new();
    scene.ingress.turn(|knobs| knobs.size_limit = Some((60_000, Measured::Inflated)));
    scene.tenant().publish_with(Kind::Activities, 500, |draft| draft.size = 2_600);
    scene.tenant().publish_with(Kind::Threats, 1, |draft| draft.size = 90_000);
    scene.tenant().publish_with(Kind::Threats, 20, |draft| draft.size = 5_000);
    scene.run();
    scene.wait_delivered(520);
    scene.wait_status_is("/queue/parked", "1");
    let balance = scene.ledger.balance();
    assert_eq!((balance.lost, balance.duplicates, balance.out_of_order), (1, 0, 0), "{balance}");
}

#[test]
fn three_day_old_records_reach_a_sink_that_drops_old_ones_quietly() {
    for rule in [AgeRule::Drop, AgeRule::Restamp, AgeRule::Keep] {
        let mut scene = Scene::with(|s| s.integrations[0].start = "96h".to_string());
        scene.ingress.turn(|knobs| knobs.age = rule);
        let now = scene.tenant().clock().now_us();
        for kind in [Kind::Activities, Kind::Threats] {
            scene.tenant().publish_between(kind, 600, now - 3 * DAY, now, |_| {});
        }
        scene.once_with_code(0);
        scene.assert_exactly_once();
        scene.assert_in_order();
        let stored = scene.ingress.stored();
        let own = stored.iter().filter(|stored| stored.stamped).count();
        let expected = 1_200 * 23 / 72;
        assert!(own.abs_diff(expected) < 30, "{own} of about {expected} keep their own time");
    }
}

#[test]
fn records_that_age_in_the_queue_are_dated_when_they_are_sent() {
    let mut scene = Scene::new();
    scene.ingress.turn(|knobs| knobs.age = AgeRule::Drop);
    scene.ingress.fail(On::Singles, None, Fault::status(503));
    scene.tenant().publish(Kind::Activities, 300);
    scene.run();
    scene.wait_waiting(300);
    // Two days pass for both services; the box was switched off.
    scene.stop();
    scene.pass(2 * DAY);
    scene.ingress.heal();
    scene.run();
    scene.settle();
    scene.assert_nothing_lost();
    let stored = scene.ingress.stored();
    assert!(stored.iter().all(|stored| stored.received_us - stored.stamp_us < HOUR));
}

#[test]
fn redirects_are_never_followed_and_the_key_stays_home() {
    let mut scene = Scene::new();
    let elsewhere = Ingress::start(None, &scene.ledger);
    for status in [301, 302, 307, 308] {
        let to = format!("{}/logs/v1/singles", elsewhere.url());
        scene.ingress.fail(On::Singles, 1, Fault::Redirect { status, to: to.clone() });
        scene.tenant().fail(On::Stream(Kind::Threats), 1, Fault::Redirect { status, to });
    }
    scene.tenant().publish(Kind::Activities, 10);
    scene.tenant().publish(Kind::Threats, 10);
    scene.run();
    scene.settle();
    assert_eq!(elsewhere.server.connections(), 0);
    scene.assert_exactly_once();
}

#[test]
fn connections_that_die_between_requests_cost_nothing() {
    for after in [After::Close, After::CloseQuietly, After::ResetOnReuse] {
        let mut scene = Scene::new();
        scene.run();
        scene.ingress.fail(On::Singles, 3, Fault::Then(after));
        scene.tenant().fail(On::Stream(Kind::Activities), 3, Fault::Then(after));
        for _ in 0..4 {
            scene.tenant().publish(Kind::Activities, 50);
            scene.hurry();
            scene.settle();
        }
        scene.assert_exactly_once();
    }
}

#[test]
fn a_200_with_an_unknown_body_is_accepted_told_once_and_counted() {
    let mut scene = Scene::new();
    for _ in 0..5 {
        scene.ingress.fail(On::Singles, 1, Fault::Remark("3 of your logs were not to our taste"));
    }
    scene.run();
    for _ in 0..5 {
        scene.tenant().publish(Kind::Activities, 10);
        scene.settle();
    }
    scene.wait_status_is("/coralogix/remarks", "5");
    assert_eq!(scene.log().to_lowercase().matches("with a message").count(), 1);
    scene.assert_exactly_once();
}

#[test]
fn known_bodies_and_every_2xx_are_plain_successes() {
    for (status, body) in [(200, ""), (200, "{}"), (200, "OK"), (201, ""), (202, ""), (204, "")] {
        let mut scene = Scene::new();
        scene.ingress.turn(|knobs| {
            knobs.accepted_status = status;
            knobs.accepted_body = body;
        });
        scene.tenant().publish(Kind::Activities, 10);
        scene.once_with_code(0);
        scene.assert_exactly_once();
    }
}

#[test]
fn a_silent_sink_is_given_up_after_the_timeout_and_tried_again() {
    let mut scene = Scene::with(|s| s.be_impatient("1s"));
    scene.ingress.fail(On::Singles, 2, Fault::Stall);
    scene.tenant().publish(Kind::Activities, 100);
    scene.run();
    scene.settle();
    scene.assert_exactly_once();
    let got: Vec<Got> = scene.ingress.got();
    assert!(got[1].at - got[0].at >= Duration::from_millis(950));
}

#[test]
fn long_records_are_delivered_whole() {
    let mut scene = Scene::new();
    scene.ingress.turn(|knobs| knobs.long = LongRule::Keep);
    for size in [29_000, 33_000, 200_000, 1_400_000] {
        scene.tenant().publish_with(Kind::Activities, 2, |draft| draft.size = size);
    }
    scene.ingress.turn(|knobs| knobs.size_limit = Some((10_485_760, Measured::Inflated)));
    scene.tenant().publish_shaped(Kind::Threats, Shape::Macro(3 << 20));
    scene.once_with_code(0);
    scene.assert_exactly_once();
}
