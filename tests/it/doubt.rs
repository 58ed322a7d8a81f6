//! Batches of which Coralogix said that some was not taken: kept, told, sent again once (P1, P2).

use serde_json::Value;

use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::ingress::Rejection;

const WORDS: &str = r#"{"message":"48 logs were not accepted"}"#;

fn said(scene: &Scene, args: &[&str], code: i32) -> String {
    let ended = scene.command(args);
    assert_eq!(ended.code, Some(code), "{args:?}\n{}{}", ended.out, ended.err);
    format!("{}{}", ended.out, ended.err)
}

fn rows(scene: &Scene) -> Vec<Value> {
    let text = said(scene, &["queue", "doubt", "list", "--json"], 0);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn records_of(scene: &Scene) -> u64 {
    let streams = rows(scene);
    let streams = streams.iter().flat_map(|row| row["streams"].as_array().unwrap());
    let of_records = streams.filter(|stream| stream["name"] == "acme/activities");
    of_records.map(|stream| stream["records"].as_u64().unwrap()).sum()
}

/// A sink that takes nothing of 48 records and says so with a 200.
fn refused_in_a_200(change: impl FnOnce(&mut crate::support::world::Settings)) -> Scene {
    let mut scene = Scene::with(change);
    scene.ingress.turn(|knobs| {
        knobs.rejection = Rejection::Entry;
        knobs.poison = Some(std::sync::Arc::new(|text| text.contains("\"activityType\"")));
        knobs.accepted_body = WORDS;
    });
    scene.tenant().publish(Kind::Activities, 48);
    scene.run();
    scene
}

#[test]
fn what_a_200_says_was_not_taken_is_kept_told_and_sent_again_once() {
    let mut scene = refused_in_a_200(|_| {});
    scene.wait_status_is("/coralogix/reason", "in_doubt");
    scene.wait_status_is("/queue/waiting", "0");
    assert_eq!(scene.ledger.balance().delivered, 0);
    assert_eq!(records_of(&scene), 48);
    scene.wait_status_is("/state", "degraded");
    let gap = "/gaps/latest/0";
    scene.wait_status_is(&format!("{gap}/reason"), "in_doubt");
    scene.wait_status_is(&format!("{gap}/stream"), "acme/activities");
    let status = said(&scene, &["status"], 1);
    assert!(status.contains("in doubt") && status.contains("not accepted"), "{status}");
    assert_eq!(scene.log().matches("S1C-W130").count(), 1, "told once\n{}", scene.log());
    let id = scene.ledger.look(|book| book.entries[7].id).to_string();
    let show = said(&scene, &["queue", "show", &id], 0);
    assert!(show.contains("may not have accepted") && show.contains("not accepted"), "{show}");
    assert!(!show.contains("delivered (accepted by Coralogix)"), "{show}");

    let busy = said(&scene, &["queue", "doubt", "retry", "--all"], 1);
    assert!(busy.contains("Stop it first"), "{busy}");
    scene.stop();
    assert!(said(&scene, &["queue", "verify"], 0).contains("batches in doubt read"));
    let name = rows(&scene)[0]["name"].as_str().unwrap().to_owned();
    let whole = said(&scene, &["queue", "doubt", "show", &name], 0);
    assert!(whole.contains("not accepted") && whole.contains("\"activityType\""), "{whole}");
    said(&scene, &["queue", "doubt", "retry", "nonsense"], 1);
    said(&scene, &["queue", "doubt", "retry", "--all"], 0);
    assert!(said(&scene, &["queue", "doubt", "list"], 0).contains("No batch is in doubt"));
    scene.ingress.turn(|knobs| {
        knobs.poison = None;
        knobs.accepted_body = "";
    });
    scene.run();
    scene.settle();
    scene.wait_status_is("/queue/waiting", "0");
    scene.wait_status_is("/queue/doubt", "0");
    scene.wait_status_is("/gaps/count", "0");
    scene.wait_status_is("/state", "healthy");
    scene.assert_exactly_once();
}

#[test]
fn a_page_sent_from_memory_is_kept_in_doubt_too() {
    let mut scene = refused_in_a_200(|settings| settings.write = "on-failure".to_string());
    scene.wait_status_is("/coralogix/reason", "in_doubt");
    scene.wait_while_alive("all are in doubt", |_| (records_of(&scene) == 48).then_some(()));
    scene.poll_again_without_settling();
    assert_eq!(records_of(&scene), 48, "not collected again");
    scene.stop();
    scene.ingress.turn(|knobs| {
        knobs.poison = None;
        knobs.accepted_body = "";
    });
    said(&scene, &["queue", "doubt", "retry", "--all"], 0);
    scene.run();
    scene.settle();
    scene.wait_status_is("/gaps/count", "0");
    scene.assert_exactly_once();
}

#[test]
fn a_batch_given_up_is_told_as_purged() {
    let mut scene = refused_in_a_200(|_| {});
    scene.wait_status_is("/coralogix/reason", "in_doubt");
    scene.wait_status_is("/queue/waiting", "0");
    scene.stop();
    let dropped = said(&scene, &["queue", "doubt", "drop", "--all"], 0);
    assert!(dropped.contains("discarded"), "{dropped}");
    scene.run();
    scene.wait_status_is("/gaps/latest/0/reason", "purged");
    scene.wait_status_is("/queue/doubt", "0");
    let id = scene.ledger.look(|book| book.entries[7].id).to_string();
    let ended = scene.command(&["queue", "show", &id]);
    assert!(!ended.out.contains("delivered (accepted by Coralogix)"), "{}", ended.out);
}

#[test]
fn once_does_not_call_it_done() {
    let mut scene = Scene::new();
    scene.ingress.turn(|knobs| knobs.accepted_body = "2 logs were dropped");
    scene.tenant().publish(Kind::Activities, 30);
    scene.once_with_code(1);
    assert!(scene.log().contains("S1C-E134"), "{}", scene.log());
    assert_eq!(records_of(&scene), 30);
}

/// The first of 30 records goes alone, so that each of these counts is below what is sent after it.
#[test]
fn a_count_of_the_taken_below_what_was_sent_is_a_doubt() {
    for body in [
        r#"{"accepted":14,"total":30}"#,
        r#"{"ingested":"14/29"}"#,
        "14 logs accepted",
        "Accepted 0 of 29 logs",
        r#"{"message":"Not accepted: 29"}"#,
        r#"{"unsent":3}"#,
        "3 logs could not be parsed",
        r#"{"status":"KO"}"#,
    ] {
        let mut scene = Scene::new();
        scene.ingress.turn(|knobs| knobs.accepted_body = body);
        scene.tenant().publish(Kind::Activities, 30);
        scene.once_with_code(1);
        assert!(scene.log().contains("S1C-E134"), "{body}\n{}", scene.log());
        assert!(records_of(&scene) >= 29, "{body}");
    }
}

#[test]
fn a_number_that_counts_no_records_is_no_doubt() {
    for body in [
        "202 Accepted",
        "accepted at 00:00:00",
        r#"{"accepted":30,"total":30}"#,
        r#"{"success":1,"receivedBytes":12}"#,
        r#"{"dropped":0,"errors":[]}"#,
    ] {
        let mut scene = Scene::new();
        scene.ingress.turn(|knobs| knobs.accepted_body = body);
        scene.tenant().publish(Kind::Activities, 30);
        scene.once_with_code(0);
        scene.assert_exactly_once();
    }
}

#[test]
fn a_batch_in_doubt_moves_to_another_box_and_stays_in_doubt() {
    let mut scene = refused_in_a_200(|_| {});
    scene.wait_status_is("/coralogix/reason", "in_doubt");
    scene.wait_status_is("/queue/waiting", "0");
    scene.stop();
    let file = scene.path("queue.export");
    let export = said(&scene, &["queue", "export", file.to_str().unwrap()], 0);
    assert!(export.contains(" batches in doubt"), "{export}");
    std::fs::rename(scene.queue_dir(), scene.path("old-box")).unwrap();
    said(&scene, &["queue", "import", file.to_str().unwrap()], 0);
    assert_eq!(records_of(&scene), 48);
    scene.ingress.turn(|knobs| {
        knobs.poison = None;
        knobs.accepted_body = "";
    });
    said(&scene, &["queue", "doubt", "retry", "--all"], 0);
    scene.run();
    scene.settle();
    scene.assert_exactly_once();
}
