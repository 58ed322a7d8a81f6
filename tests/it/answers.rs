//! Answers with a 200 that are none, and stamps in every form: what SentinelOne says is read for what
//! it says, and what can't be read is told (P1, P10).

use crate::scene::Scene;
use crate::support::clock::at;
use crate::support::data::{Kind, Shape};
use crate::support::fault::{Fault, On};
use crate::support::world::Settings;

const JSON: &str = "application/json";
const FAILED: &str = r#"{"data": [], "errors": [{"code": 5000010, "detail": "shard 3 is late", "title": "Partial"}], "pagination": {"nextCursor": null, "totalItems": 0}}"#;
const WORDS: &str = "Partial (5000010): shard 3 is late";

fn since_2026(settings: &mut Settings) {
    settings.integrations[0].start = "2026-01-01T00:00:00Z".to_string();
}

/// Taken for the end of the list, it would say "up to date".
fn assert_no_end(body: impl Into<Vec<u8>>, words: &str) {
    let mut scene = Scene::with(since_2026);
    scene.tenant().publish(Kind::Activities, 20);
    scene.tenant().fail(On::Stream(Kind::Activities), None, Fault::answer(200, JSON, body));
    scene.run();
    scene.wait_status_is("/streams/1/reason", "broken_answer");
    scene.wait_log(words);
    scene.wait_status_is("/state", "degraded");
    scene.tenant().heal();
    scene.settle();
    scene.assert_exactly_once();
}

#[test]
fn an_empty_list_beside_errors_is_no_end() {
    for body in [
        FAILED.to_string(),
        FAILED.replace("\"data\": [], ", ""),
        FAILED.replace("[{", "{").replace("}]", "}"),
    ] {
        assert_no_end(body, WORDS);
    }
}

/// The same in the forms that other servers have.
#[test]
fn an_empty_list_beside_another_word_of_failure_is_no_end() {
    let plain = r#"{"data": [], "pagination": {"nextCursor": null, "totalItems": 0}, "X"}"#;
    for (beside, words) in [
        (r#""error": "shard 3 is late""#, "shard 3 is late"),
        (r#""status": "error""#, "status: \"error\""),
        (r#""success": false"#, "success: false"),
        (r#""message": "request timed out""#, "request timed out"),
    ] {
        let body = plain.replace(r#""X""#, beside);
        assert_no_end(body, words);
    }
}

/// The same where it stands beside the cursor, or beside the list as a warning or a way elsewhere.
#[test]
fn an_empty_list_beside_a_word_of_failure_one_level_down_is_no_end() {
    for (body, words) in [
        (r#"{"data": [], "meta": {"error": "shard 3 is late"}}"#, "shard 3 is late"),
        (r#"{"data": [], "pagination": {"error": "shard 3 is late"}}"#, "shard 3 is late"),
        (r#"{"data": [], "warnings": ["query was partially executed"]}"#, "partially executed"),
        (r#"{"data": [], "redirect": "https://sso.example"}"#, "redirect: "),
        (
            r#"{"data": [], "pagination": {"nextCursor": null, "hasMore": true}}"#,
            "it says that more follows",
        ),
    ] {
        assert_no_end(body, words);
    }
}

/// Taken for the present, a cache's answer would say "up to date" for ever.
#[test]
fn what_a_cache_repeats_is_no_answer_to_the_daemon_and_to_check() {
    let words = "a cache in between answered";
    for on in [On::Stream(Kind::Activities), On::SystemInfo] {
        let mut scene = Scene::with(since_2026);
        scene.tenant().publish(Kind::Activities, 20);
        scene.tenant().fail(on, None, Fault::Aged(3_600));
        let check = scene.command(&["check", "--json"]);
        assert_eq!(check.code, Some(75), "{}", check.out);
        assert!(check.out.contains(words), "{}", check.out);
        assert!(check.out.contains("\"answered_between\""), "{}", check.out);
        assert!(check.out.contains("exempt it from caching"), "{}", check.out);
        scene.run();
        // The daemon asks for the info only where it doubts the token or the time.
        if on != On::SystemInfo {
            scene.wait_log(words);
            scene.wait_status_is("/streams/1/reason", "broken_answer");
        }
        scene.tenant().heal();
        scene.settle();
        scene.assert_exactly_once();
    }
}

/// What is fresh enough is taken, and each request says that it wants no cached answer.
#[test]
fn a_young_answer_is_taken_and_each_request_asks_past_caches() {
    let mut scene = Scene::with(since_2026);
    scene.tenant().publish(Kind::Activities, 20);
    scene.tenant().fail(On::Anything, None, Fault::Aged(5));
    scene.once_with_code(0);
    scene.assert_exactly_once();
    let seen = scene.tenant().seen();
    for request in seen.iter().filter(|request| request.method == "GET") {
        assert_eq!(request.header("cache-control"), Some("no-cache"), "{request:?}");
        assert_eq!(request.header("pragma"), Some("no-cache"), "{request:?}");
    }
}

#[test]
fn a_list_that_is_there_twice_is_no_list() {
    let twice = r#"{"data": [{"id": "1", "createdAt": "2026-02-01T00:00:00Z"}], "data": [], "pagination": {"nextCursor": null}}"#;
    let mut scene = Scene::with(since_2026);
    scene.tenant().publish(Kind::Activities, 20);
    scene.tenant().fail(On::Stream(Kind::Activities), None, Fault::answer(200, JSON, twice));
    scene.run();
    scene.wait_status_is("/streams/1/reason", "broken_answer");
    scene.wait_log("the answer has `data` twice");
    scene.tenant().heal();
    scene.settle();
    scene.assert_exactly_once();
}

/// A console that says beside its version that it failed has said nothing of the token.
#[test]
fn an_info_beside_errors_is_none_to_the_daemon_and_to_check() {
    let body = FAILED.replace("[]", r#"{"release": "x"}"#);
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 5);
    scene.tenant().fail(On::SystemInfo, None, Fault::answer(200, JSON, body));
    let check = scene.command(&["check"]);
    assert_eq!(check.code, Some(75), "{}", check.out);
    assert!(
        check.out.replace("\n                          ", " ").contains(WORDS),
        "{}",
        check.out
    );
    let ended = scene.once_with_code(75);
    assert!(ended.err.contains(WORDS), "{}", ended.err);
    scene.tenant().heal();
    scene.once_with_code(0);
    scene.assert_exactly_once();
}

/// All of these moments lie long after `start`; read, they carry the position along.
#[test]
fn stamps_without_zone_with_a_plain_offset_and_as_numbers_are_read() {
    const LAST: &str = "2026-01-02T00:01:10.000000Z";
    let forms = [
        Shape::StampText("2026-01-02T00:00:10"),
        Shape::StampText("2026-01-02 00:00:20.5"),
        Shape::StampText("2026-01-02T00:00:30.123456789"),
        Shape::StampText("2026-01-02T00:00:40.000+0000"),
        Shape::StampText("2026-01-02T05:30:50+05:30"),
        Shape::StampJson("1767312060000"),
        Shape::StampText("1767312070000"),
    ];
    let us = [10_000_000, 20_500_000, 30_123_456, 40_000_000, 50_000_000, 60_000_000, 70_000_000];
    let mut scene = Scene::with(since_2026);
    for kind in [Kind::Activities, Kind::Threats] {
        for (shape, us) in forms.iter().zip(us) {
            let stamp = at(2026, 1, 2) + us;
            scene.tenant().publish_between(kind, 1, stamp, stamp, |d| d.shape = shape.clone());
        }
    }
    scene.once_with_code(0);
    scene.assert_exactly_once();
    scene.assert_in_order();
    let status = scene.status().expect("a status was written");
    assert_eq!(status["streams"][0]["position"], LAST, "{status:#}");
    assert_eq!(status["streams"][1]["position"], LAST, "{status:#}");
    assert_eq!(status["coralogix"]["unreadable_stamps"], 0, "{status:#}");
    assert!(!scene.log().contains("S1C-W124"), "{}", scene.log());
}

#[test]
fn stamps_that_can_not_be_read_are_counted_and_told_once_a_stream() {
    let mut scene = Scene::with(since_2026);
    let odd = [
        Shape::NoStamp,
        Shape::StampText("1970-01-01T00:00:00Z"),
        Shape::StampText("soon"),
        Shape::StampJson("0"),
    ];
    for kind in [Kind::Activities, Kind::Threats] {
        for (nth, shape) in odd.iter().enumerate() {
            let stamp = at(2026, 1, 2) + nth as i64;
            scene.tenant().publish_between(kind, 1, stamp, stamp, |d| d.shape = shape.clone());
        }
        scene.tenant().publish(kind, 3);
    }
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.wait_status_is("/coralogix/unreadable_stamps", "8");
    let text = scene.command(&["status"]);
    assert!(
        text.out.contains("S1C-W124 8 records had a time that can't be parsed"),
        "{}",
        text.out
    );
    assert_eq!(scene.log().matches("S1C-W124").count(), 2, "{}", scene.log());
    scene.assert_exactly_once();
}
