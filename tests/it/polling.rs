//! Polling: every record that a tenant shows arrives once, in order and unchanged, whatever its
//! answers look like (P1, P2, P3).

use std::time::Duration;

use crate::scene::{PATIENCE, Scene};
use crate::support::clock::{DAY, HOUR, MINUTE, SECOND, at, iso, read_query_time};
use crate::support::data::{Kind, Shape};
use crate::support::fault::{Fault, On, RetryAfter};
use crate::support::ingress::{AgeRule, Measured};
use crate::support::tenant::Totals;
use crate::support::world::Integration;

#[test]
fn two_streams_arrive_once_in_order_and_unchanged_and_again_after_a_restart() {
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 2_500);
    scene.tenant().publish(Kind::Threats, 1_200);
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.stop();
    scene.run();
    scene.tenant().publish(Kind::Threats, 7);
    scene.settle();
    scene.poll_again();
    scene.stop();
    assert_eq!(scene.ledger.balance().delivered, 3_707);
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn run_once_twice_brings_everything_and_nothing_twice() {
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 1_300);
    scene.tenant().publish(Kind::Threats, 40);
    scene.once_with_code(0);
    assert_eq!(scene.ledger.balance().delivered, 1_340);
    scene.tenant().publish(Kind::Activities, 3);
    scene.once_with_code(0);
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn more_records_of_one_stamp_than_fit_on_two_pages() {
    let mut scene = Scene::new();
    let stamp = scene.tenant().clock().now_us() - HOUR;
    scene.tenant().publish_between(Kind::Activities, 2_500, stamp, stamp, |_| {});
    scene.tenant().publish_between(Kind::Threats, 1_001, stamp, stamp, |_| {});
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.tenant().publish(Kind::Activities, 5);
    scene.settle();
    scene.assert_exactly_once();
}

#[test]
fn records_that_become_visible_after_their_neighbours() {
    let mut scene = Scene::new();
    scene.run();
    for _ in 0..3 {
        scene.tenant().turn(|knobs| knobs.visible_after = Duration::from_secs(3));
        scene.tenant().publish(Kind::Activities, 5);
        scene.tenant().publish(Kind::Threats, 5);
        scene.tenant().turn(|knobs| knobs.visible_after = Duration::ZERO);
        scene.tenant().publish(Kind::Activities, 50);
        scene.tenant().publish(Kind::Threats, 50);
        scene.settle();
    }
    scene.poll_again();
    scene.assert_exactly_once();
}

#[test]
fn every_version_of_a_threat_that_was_seen_and_a_bulk_change() {
    let mut scene = Scene::new();
    let ids = scene.tenant().publish(Kind::Threats, 1_500);
    scene.run();
    scene.settle();
    scene.tenant().change_threats(&ids, |draft| draft.incident = "in_progress");
    scene.settle();
    scene.tenant().change_threats(&ids[..3], |draft| draft.verdict = "true_positive");
    scene.tenant().touch_agent(ids[700]);
    scene.settle();
    scene.poll_again();
    assert_eq!(scene.ledger.deliveries_of(ids[0]), [1, 1, 1]);
    assert_eq!(scene.ledger.deliveries_of(ids[700]), [1, 1]);
    scene.assert_exactly_once();
}

#[test]
fn odd_records_of_every_kind_unchanged() {
    let mut scene =
        Scene::with(|s| s.integrations[0].streams = vec!["threats", "activities", "alerts"]);
    let ten_mebibytes = Some((10_485_760, Measured::Inflated));
    scene.ingress.turn(|knobs| knobs.size_limit = ten_mebibytes);
    for kind in Kind::ALL {
        let tenant = scene.tenant();
        for shape in [
            Shape::BigNumbers,
            Shape::Typography,
            Shape::BrokenUtf8,
            Shape::OddComputer,
            Shape::Macro(1 << 20),
            Shape::Macro(3 << 20),
        ] {
            tenant.publish_shaped(kind, shape);
            tenant.publish(kind, 3);
        }
    }
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.assert_exactly_once();
    scene.assert_in_order();
}

/// The console sorts and filters by its own column, whatever the text of the record says.
#[test]
fn records_whose_own_stamp_is_absent_or_senseless() {
    let mut scene = Scene::new();
    let now = scene.tenant().clock().now_us();
    let odd = [Shape::NoStamp, Shape::StampText("1970-01-01T00:00:00Z"), Shape::StampText("soon")];
    for (nth, shape) in odd.into_iter().enumerate() {
        let stamp = now - HOUR + MINUTE * nth as i64;
        for kind in [Kind::Activities, Kind::Threats] {
            scene.tenant().publish_between(kind, 1, stamp, stamp, |d| d.shape = shape.clone());
        }
    }
    scene.run();
    scene.settle();
    scene.tenant().publish(Kind::Activities, 20);
    scene.tenant().publish(Kind::Threats, 20);
    scene.settle();
    scene.assert_nothing_lost();
}

#[test]
fn records_dated_in_the_next_century_do_not_end_their_stream() {
    let mut scene = Scene::new();
    let far = at(2185, 7, 21);
    scene.tenant().publish_between(Kind::Activities, 1, far, far, |_| {});
    scene.tenant().publish_between(Kind::Threats, 1, far, far, |_| {});
    scene.run();
    scene.settle();
    scene.tenant().publish(Kind::Activities, 20);
    scene.tenant().publish(Kind::Threats, 20);
    scene.settle();
    scene.poll_again();
    scene.assert_exactly_once();
}

/// Two digits of a fraction, or none, are a time like any other.
#[test]
fn stamps_with_fewer_digits_are_read() {
    let mut scene = Scene::with(|s| s.integrations[0].start = "2026-01-01T00:00:00Z".to_string());
    let stamp = at(2026, 1, 2);
    for (us, text) in [(250_000, "2026-01-02T00:00:00.25Z"), (1_000_000, "2026-01-02T00:00:01Z")] {
        let exact = stamp + us;
        scene.tenant().publish_between(Kind::Activities, 1, exact, exact, |draft| {
            draft.shape = Shape::StampText(text);
        });
    }
    scene.once_with_code(0);
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn every_page_repeats_filter_sort_and_limit_and_nothing_unknown() {
    let mut scene =
        Scene::with(|s| s.integrations[0].streams = vec!["threats", "activities", "alerts"]);
    for kind in Kind::ALL {
        scene.tenant().publish(kind, 1_100);
    }
    scene.run();
    scene.settle();
    for (kind, filter, sort) in [
        (Kind::Threats, "updatedAt__gte", "updatedAt"),
        (Kind::Activities, "createdAt__gte", "createdAt"),
        (Kind::Alerts, "reportedAt__gte", "alertInfoReportedAt"),
    ] {
        let seen = scene.tenant().seen();
        let pages: Vec<_> = seen.iter().filter(|seen| seen.polls(kind)).collect();
        assert!(pages.iter().any(|page| page.parameter("cursor").is_some()));
        for page in pages {
            assert_eq!(page.status, 200);
            assert!(page.parameter(filter).is_some(), "{:?}", page.query);
            assert_eq!(page.parameter("sortBy"), Some(sort));
            assert_eq!(page.parameter("sortOrder"), Some("asc"));
            assert_eq!(page.parameter("limit"), Some("1000"));
            assert_eq!(page.parameter("skipCount"), Some("true"));
            let token = format!("ApiToken {}", scene.tenant().token());
            assert_eq!(page.header("authorization"), Some(token.as_str()));
            assert!(page.header("user-agent").unwrap().starts_with("s1-coralogix/"));
            assert!(page.header("accept-encoding").unwrap().contains("gzip"));
        }
    }
    assert!(scene.tenant().server.connections() <= 3, "connections are kept");
    scene.assert_exactly_once();
}

#[test]
fn pages_without_totals_with_an_extra_empty_page_and_in_chunks() {
    let mut scene = Scene::new();
    scene.tenant().turn(|knobs| {
        knobs.totals = Totals::Missing;
        knobs.extra_empty_page = true;
        knobs.chunked = true;
    });
    scene.tenant().publish(Kind::Activities, 2_000);
    scene.run();
    scene.settle();
    scene.tenant().turn(|knobs| {
        knobs.totals = Totals::Wrong;
        knobs.gzip = false;
    });
    scene.tenant().publish(Kind::Activities, 1_500);
    scene.settle();
    scene.assert_exactly_once();
}

#[test]
fn every_broken_answer_is_asked_for_again() {
    let faults = [
        Fault::too_many(None),
        Fault::unavailable(None),
        Fault::bad_gateway_text(),
        Fault::internal_error_json(),
        Fault::internal_error_spring(),
        Fault::status(501),
        Fault::status(504),
        Fault::html_with_200(),
        Fault::json_garbage_with_200(),
        Fault::Cut,
        Fault::DataNull,
        Fault::DataObject,
        Fault::NoPagination,
        Fault::Close,
        Fault::Reset,
        Fault::Slow(Duration::from_millis(300)),
        Fault::Drip(200_000, Duration::from_millis(20)),
    ];
    let mut scene = Scene::new();
    scene.run();
    for fault in faults {
        for on in [On::Stream(Kind::Threats), On::Stream(Kind::Activities), On::Cursor] {
            scene.tenant().fail(on, 1, fault.clone());
        }
        scene.tenant().publish(Kind::Activities, 1_200);
        scene.tenant().publish(Kind::Threats, 3);
        scene.hurry();
        scene.settle();
        scene.tenant().heal();
    }
    scene.poll_again();
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn a_refused_cursor_costs_nothing_the_walk_goes_on_by_time() {
    let mut scene = Scene::new();
    let body = r#"{"errors":[{"code":4000010,"detail":"Invalid cursor value received","title":"Validation Error"}]}"#;
    scene.tenant().fail(On::Cursor, 2, Fault::answer(400, "application/json", body));
    scene.tenant().publish(Kind::Activities, 3_500);
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.assert_exactly_once();
}

#[test]
fn retry_after_is_honoured_in_both_forms() {
    let wait = Duration::from_secs(2);
    for form in [RetryAfter::Seconds(2), RetryAfter::Date(Duration::from_secs(3))] {
        let mut scene = Scene::new();
        scene.tenant().publish(Kind::Activities, 10);
        scene.tenant().fail(On::Stream(Kind::Activities), 1, Fault::too_many(Some(form)));
        scene.run();
        scene.settle();
        let seen = scene.tenant().seen();
        let refused = seen.iter().position(|seen| seen.status == 429).unwrap();
        let next = seen[refused..].iter().filter(|seen| seen.kind == Some(Kind::Activities)).nth(1);
        let gap = next.unwrap().at - seen[refused].at;
        assert!(gap >= wait, "{form:?}: came back after {gap:?}");
    }
}

#[test]
fn a_record_longer_than_a_page_may_be_does_not_end_the_stream() {
    let mut scene = Scene::new();
    let ten_mebibytes = Some((10_485_760, Measured::Inflated));
    scene.ingress.turn(|knobs| knobs.size_limit = ten_mebibytes);
    // Twelve records of three megabytes are more than one answer may hold.
    for _ in 0..12 {
        scene.tenant().publish_shaped(Kind::Threats, Shape::Macro(3 << 20));
    }
    scene.tenant().publish(Kind::Threats, 30);
    scene.run();
    scene.settle();
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn a_first_start_begins_where_the_config_says_by_the_tenants_own_clock() {
    for (start, expected_ago) in
        [("2h", Some(2 * HOUR)), ("now", Some(0)), ("2025-01-02T03:04:05Z", None)]
    {
        let mut scene = Scene::with(|s| s.integrations[0].start = start.to_string());
        // Not from before the program's date, which no clock can be.
        scene.tenant().set_clock_ahead(-6 * HOUR);
        let now = scene.tenant().clock().now_us();
        scene.run();
        let from = scene.tenant().wait(PATIENCE, |seen| {
            let page = seen.iter().find(|seen| seen.kind == Some(Kind::Activities))?;
            page.parameter("createdAt__gte").map(str::to_string)
        });
        let from = from.unwrap_or_else(|| panic!("no page was asked for\n{}", scene.story()));
        match expected_ago {
            // The overlap may already be taken off.
            Some(ago) => {
                let off = (now - ago) - read_query_time(&from).unwrap();
                assert!((-MINUTE..=3 * MINUTE).contains(&off), "{start}: {from}, now {}", iso(now));
            }
            None => {
                assert!(from.as_str() <= "2025-01-02T03:04:05Z" && from.as_str() > "2025-01-02T02")
            }
        }
    }
}

#[test]
fn a_wrong_clock_of_the_box_loses_and_misdates_nothing() {
    // The services live ten years in the future of the box, which is what 1970 looks like to them.
    let mut scene = Scene::new();
    let ahead = 3_650 * DAY;
    scene.tenant().set_clock_ahead(ahead);
    scene.ingress.clock().set_ahead_us(ahead);
    scene.ingress.turn(|knobs| knobs.age = AgeRule::Drop);
    scene.tenant().publish(Kind::Activities, 500);
    scene.tenant().publish(Kind::Threats, 500);
    scene.run();
    scene.settle();
    scene.assert_exactly_once();
    let now = scene.ingress.clock().now_us();
    for stored in scene.ingress.stored() {
        assert!((stored.stamp_us - now).abs() < 5 * MINUTE, "dated {}", iso(stored.stamp_us));
    }
}

#[test]
fn a_slow_or_silent_tenant_does_not_stop_another() {
    let mut scene = Scene::with(|s| {
        s.integrations.push(Integration::new("globex"));
        s.be_impatient("2s");
    });
    scene.tenants[0].fail(On::Anything, None, Fault::Stall);
    scene.tenants[1].publish(Kind::Activities, 1_500);
    scene.run();
    scene.wait_delivered(1_500);
    scene.tenants[0].heal();
    scene.tenants[0].publish(Kind::Threats, 100);
    scene.settle();
    scene.assert_exactly_once();
    let names: Vec<String> =
        scene.ingress.stored().iter().map(|stored| stored.application.to_string()).collect();
    assert_eq!(names.iter().filter(|name| *name == "globex-app").count(), 1_500);
    assert_eq!(names.iter().filter(|name| *name == "acme-app").count(), 100);
}

#[test]
fn an_outage_of_the_tenant_costs_time_and_nothing_else() {
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 100);
    scene.run();
    scene.settle();
    scene.tenant().server.take_away();
    scene.tenant().publish(Kind::Activities, 2_500);
    scene.wait_status_is("/state", "degraded");
    scene.tenant().server.bring_back();
    scene.settle();
    scene.poll_again();
    scene.wait_status_is("/state", "healthy");
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn polling_is_as_rare_as_the_config_says() {
    let mut scene = Scene::with(|s| s.integrations[0].poll_interval = "2s".to_string());
    scene.tenant().publish(Kind::Activities, 1);
    scene.run();
    scene.settle();
    let polls = |seen: &crate::support::tenant::Seen| seen.kind == Some(Kind::Activities);
    assert!(scene.tenant().wait_for(3, PATIENCE, polls));
    let seen = scene.tenant().seen();
    let times: Vec<_> = seen.iter().filter(|seen| polls(seen)).map(|seen| seen.at).collect();
    let last_gap = times[times.len() - 1] - times[times.len() - 2];
    let least = Duration::from_micros(u64::try_from(19 * SECOND / 10).unwrap());
    assert!(last_gap >= least, "polled after {last_gap:?}");
}
