//! What fails for its size is asked for or sent smaller, and what fails alone holds up nothing (P1, P6).
use std::sync::Arc;

use s1_coralogix::limits::PAGE_BYTES_MAX;
use serde_json::{Value, json};

use crate::notes::wait_said;
use crate::scene::Scene;
use crate::support::clock::HOUR;
use crate::support::data::{Draft, Kind};

/// One record of 400 that makes the sink, or what stands before it, answer so.
fn one_record_fails(answer: (u16, &'static str, &'static str), words: &str) {
    let (scene, list) = Scene::where_one_is_parked(answer);
    assert!(list.contains(words), "{list}");
    // The record that tells of the gap names it, as log and status do.
    let gap = &wait_said(&scene, "gap", 1)[0];
    let id = gap["record_id"].as_str().unwrap_or_default();
    assert!(!id.is_empty() && list.contains(id), "{gap}");
    let requests = scene.ingress.requests();
    // With two for each look at whether the sink is alive.
    assert!(requests < 90, "found by halving: {requests} requests");
}

#[test]
fn a_record_that_a_server_always_answers_with_500_holds_up_no_other() {
    one_record_fails((500, "application/json", r#"{"error":"internal"}"#), "HTTP 500");
    one_record_fails((504, "text/html", "<html>Gateway Time-out</html>"), "HTTP 504");
}

#[test]
fn a_record_that_always_gets_a_block_page_holds_up_no_other() {
    one_record_fails((451, "text/html", "<html>Blocked by policy</html>"), "HTTP 451");
    one_record_fails((200, "text/html", "<html>Blocked by policy</html>"), "HTTP 200");
    one_record_fails((302, "text/html", ""), "HTTP 302");
}

#[test]
fn a_record_that_always_gets_a_reset_holds_up_no_other() {
    one_record_fails((0, "", ""), "the connection broke");
}

/// At a sink that answers an empty array the same, only what is behind them shows that they are to blame;
/// and if nothing is accepted in between, an empty array shows less each time.
#[test]
fn records_that_are_answered_like_an_empty_array_or_side_by_side_hold_up_no_other() {
    const JSON: &str = "application/json";
    let failure = (500, JSON, r#"{"error":"internal"}"#);
    let cases = [
        (failure, false, 1),
        ((0, "", ""), false, 1),
        ((400, JSON, r#"{"message":"bad"}"#), false, 6),
        (failure, true, 6),
    ];
    for (answer, takes_empty, count) in cases {
        let mut scene = Scene::new();
        let ids = scene.tenant().publish(Kind::Activities, 400);
        let bad: Vec<String> =
            ids[123..123 + count].iter().map(|id| format!("\"id\": \"{id}\"")).collect();
        scene.ingress.turn(|knobs| {
            knobs.takes_empty = takes_empty;
            knobs.poison = Some(Arc::new(move |text| bad.iter().any(|id| text.contains(id))));
            knobs.poison_answer = answer;
        });
        scene.run();
        scene.wait_delivered(400 - count);
        scene.wait_status_is("/queue/parked", &count.to_string());
        scene.wait_status_is("/state", "healthy");
        let balance = scene.ledger.balance();
        assert_eq!((balance.lost, balance.duplicates), (count, 0), "{answer:?}: {balance}");
    }
}

#[test]
fn pages_that_a_gateway_gives_up_on_are_asked_for_with_fewer_rows() {
    let mut scene = Scene::new();
    scene.tenant().turn(|knobs| knobs.too_many_rows = 50);
    scene.tenant().publish(Kind::Activities, 1_500);
    scene.run();
    scene.wait_log("HTTP 504: 504 Gateway Time-out; 1000 rows were asked for, next 500");
    scene.settle();
    scene.assert_exactly_once();
    let pages = scene.tenant().seen();
    let failed = pages.iter().filter(|seen| seen.status == 504).count();
    assert!(failed <= 10, "{failed} of {} pages were asked for in vain", pages.len());
}

#[test]
fn a_thin_link_gets_batches_that_it_carries_in_time_and_nothing_twice() {
    let mut scene = Scene::with(|settings| settings.be_impatient("2s"));
    // The largest batch, some 130 KB, would take more than 4 s.
    scene.ingress.turn(|knobs| knobs.rate = Some(30_000));
    scene.tenant().publish(Kind::Activities, 1_200);
    scene.run();
    scene.settle();
    scene.assert_exactly_once();
    assert!(scene.ingress.got().iter().all(|got| got.wire_bytes < 45_000));
}

/// 400 records of the last hours, the 124th shaped so. Answers with its id.
fn one_of_400(scene: &Scene, kind: Kind, shape: impl Fn(&mut Draft)) -> u64 {
    let now = scene.tenant().clock().now_us();
    let mut nth = 0;
    let ids = scene.tenant().publish_between(kind, 400, now - 3 * HOUR, now - HOUR, |draft| {
        nth += 1;
        if nth == 124 {
            shape(draft);
        }
    });
    ids[123]
}

/// `id`: whether enough of the one came to tell it.
fn all_but_one_arrive(scene: &Scene, id: Option<u64>) -> Value {
    scene.wait_delivered(399);
    scene.wait_log("S1C-E225");
    scene.wait_status_is("/gaps/latest/0/reason", "unfetchable");
    scene.wait_status_is("/state", "healthy");
    let balance = scene.ledger.balance();
    assert_eq!((balance.lost, balance.duplicates), (1, 0), "{balance}");
    let words = match id {
        Some(id) => format!("the record's id is {id}"),
        None => "the record's id is not known".to_owned(),
    };
    scene.wait_log(&words);
    let told = wait_said(scene, "gap", 1).remove(0);
    let shown = scene.status().expect("it runs")["gaps"]["latest"][0].take();
    assert_eq!(shown["record_id"], json!(id.map(|id| id.to_string())), "{shown}");
    for member in ["record_id", "answer_bytes_min"] {
        assert_eq!(told[member], shown[member], "{told}");
    }
    assert!(told["words"].as_str().is_some_and(|told| told.contains(&words)), "{told}");
    told["answer_bytes_min"].clone()
}

#[test]
fn a_row_that_the_console_cannot_give_holds_up_no_other() {
    let ways =
        [(500, "HTTP 500"), (200, "JSON"), (403, "HTTP 403: Blocked by policy"), (429, "HTTP 429")];
    for (status, words) in ways {
        let mut scene = Scene::new();
        let bad = one_of_400(&scene, Kind::Activities, |_| {});
        scene.tenant().turn(|knobs| knobs.bad_row = Some((bad, status)));
        scene.run();
        scene.wait_log(words);
        // The JSON breaks right before the id.
        let bytes = all_but_one_arrive(&scene, None);
        assert_eq!(bytes.is_null(), status != 200, "{bytes}");
    }
}

#[test]
fn a_row_that_the_console_can_give_again_arrives_and_closes_its_gap() {
    let mut scene = Scene::new();
    let bad = one_of_400(&scene, Kind::Activities, |_| {});
    scene.tenant().turn(|knobs| knobs.bad_row = Some((bad, 500)));
    scene.run();
    all_but_one_arrive(&scene, None);
    scene.tenant().turn(|knobs| knobs.bad_row = None);
    // Found by its count.
    scene.wait_delivered(400);
    scene.wait_status_is("/gaps/count", "0");
    let told = wait_said(&scene, "gap", 2);
    let closed: Vec<&Value> = told.iter().map(|gap| &gap["closed"]).collect();
    assert_eq!(closed, [false, true], "{told:?}");
    scene.stop();
    scene.assert_exactly_once();
}

#[test]
fn a_row_of_30_megabytes_holds_up_no_other() {
    const SIZE: usize = 30 << 20;
    // Of an activity the id stands behind its data, of a threat before its indicators.
    for (kind, chunked) in
        [(Kind::Activities, false), (Kind::Threats, false), (Kind::Threats, true)]
    {
        let mut scene = Scene::new();
        scene.tenant().turn(|knobs| (knobs.gzip, knobs.chunked) = (false, chunked));
        let long = one_of_400(&scene, kind, |draft| draft.size = SIZE);
        scene.run();
        scene.wait_log("the page is longer than allowed");
        let bytes = all_but_one_arrive(&scene, (kind == Kind::Threats).then_some(long));
        // What does not say how long it is was read up to the bound.
        let least = if chunked { PAGE_BYTES_MAX } else { SIZE as u64 };
        assert!(bytes.as_u64().is_some_and(|bytes| bytes >= least), "{bytes}");
    }
}
