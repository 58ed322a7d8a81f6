//! What the collector says of itself: gaps and heartbeats, as Coralogix receives them.

use std::sync::Arc;

use rustix::process::Signal;
use serde_json::Value;

use crate::claims::activities;
use crate::scene::{PATIENCE, Scene};
use crate::support::clock::DAY;
use crate::support::data::Kind;
use crate::support::fault::{Fault, On};
use crate::support::world::Settings;

/// What was said so far, of one type.
pub fn said(scene: &Scene, what: &str) -> Vec<Value> {
    scene.ledger.look(|book| words(&book.notes, what))
}

fn words(notes: &[String], what: &str) -> Vec<Value> {
    let notes = notes.iter().map(|text| serde_json::from_str::<Value>(text).expect("an object"));
    let notes = notes.map(|mut word| word["collector"].take());
    notes.filter(|word| word["type"] == what).collect()
}

pub fn wait_said(scene: &Scene, what: &str, count: usize) -> Vec<Value> {
    let found = scene.ledger.wait(PATIENCE, |book| {
        let words = words(&book.notes, what);
        (words.len() >= count).then_some(words)
    });
    found.unwrap_or_else(|| panic!("not {count} of {what}\n{}", scene.story()))
}

/// Five records were collected; five were published two days later, and five four days after those.
/// `deletes`: SentinelOne keeps the last ones only.
pub fn after_a_silence_of_six_days(change: impl FnOnce(&mut Settings), deletes: bool) -> Scene {
    let mut scene = Scene::with(change);
    scene.tenant().publish(Kind::Activities, 5);
    scene.once_with_code(0);
    scene.pass(2 * DAY);
    scene.tenant().publish(Kind::Activities, 5);
    scene.pass(4 * DAY);
    scene.tenant().publish(Kind::Activities, 5);
    if deletes {
        scene.tenant().expire(scene.tenant().clock().now_us() - DAY);
    }
    scene
}

#[test]
fn what_sentinelone_deleted_unread_is_a_gap_told_once() {
    for deletes in [true, false] {
        let mut scene = after_a_silence_of_six_days(activities, deletes);
        scene.once_with_code(0);
        scene.once_with_code(0);
        let gaps = said(&scene, "gap");
        if !deletes {
            assert_eq!(gaps, Vec::<Value>::new());
            scene.assert_exactly_once();
            continue;
        }
        assert_eq!(gaps.len(), 1, "{gaps:?}\n{}", scene.story());
        let gap = &gaps[0];
        assert_eq!(gap["stream"], "acme/activities");
        assert_eq!(gap["reason"], "retention");
        assert_eq!(gap["records"], Value::Null, "nobody knows how many");
        assert!(gap["from"].as_str() < gap["to"].as_str(), "{gap}");
        let balance = scene.ledger.balance();
        assert_eq!((balance.delivered, balance.lost, balance.duplicates), (10, 5, 0));
        scene.run();
        scene.wait_status_is("/gaps/count", "1");
        scene.wait_status_is("/gaps/latest/0/reason", "retention");
        let shown = scene.command(&["status"]).out;
        assert!(shown.contains("1 gap recorded: records may be missing"), "{shown}");
    }
}

#[test]
fn a_threat_that_changed_during_a_long_silence_is_no_gap() {
    let mut scene = Scene::with(|s| s.integrations[0].streams = vec!["threats"]);
    let ids = scene.tenant().publish(Kind::Threats, 1);
    scene.once_with_code(0);
    // Its change leaves nothing of what was read, but it was created long ago.
    scene.pass(4 * DAY);
    scene.tenant().change_threats(&ids, |draft| draft.incident = "resolved");
    scene.once_with_code(0);
    assert_eq!(said(&scene, "gap"), Vec::<Value>::new());
    let asked = scene
        .tenant()
        .seen()
        .iter()
        .any(|seen| seen.query.iter().any(|(name, _)| name == "createdAt__lt"));
    assert!(asked, "there was a doubt\n{}", scene.story());
    scene.assert_exactly_once();
}

#[test]
fn a_refused_record_is_a_gap_told_once() {
    let mut scene = Scene::new();
    let ids = scene.tenant().publish(Kind::Activities, 200);
    let poison = format!("\"id\": \"{}\"", ids[77]);
    scene.ingress.turn(|knobs| {
        knobs.poison = Some(Arc::new(move |text| text.contains(&poison)));
    });
    scene.run();
    let gap = wait_said(&scene, "gap", 1).remove(0);
    assert_eq!((&gap["reason"], &gap["stream"]), (&"refused".into(), &"acme/activities".into()));
    assert_eq!((&gap["records"], &gap["closed"]), (&1.into(), &false.into()));
    let parked = scene.queue_dir().join(format!("parked/{}.log", gap["parked"].as_str().unwrap()));
    assert!(parked.exists(), "{gap}");
    scene.poll_again_without_settling();
    scene.stop();
    scene.once_with_code(0);
    assert_eq!(said(&scene, "gap").len(), 1);
    scene.run();
    scene.wait_status_is("/gaps/count", "1");
    scene.wait_status_is("/gaps/untold", "0");
}

#[test]
fn a_heartbeat_tells_how_the_collector_fares_and_is_no_record() {
    for write in ["always", "on-failure"] {
        let mut scene = Scene::with(|s| {
            s.heartbeat = "1s".to_string();
            s.write = write.to_string();
        });
        scene.tenant().publish(Kind::Activities, 30);
        scene.tenant().publish(Kind::Threats, 12);
        scene.run();
        scene.settle();
        let before = said(&scene, "heartbeat").len();
        let beat = wait_said(&scene, "heartbeat", before + 3).pop().unwrap();
        assert_eq!(beat["state"], "healthy", "{beat:#}");
        assert_eq!(beat["version"], env!("CARGO_PKG_VERSION"));
        assert!(!beat["host"].as_str().unwrap().is_empty());
        let collected: Vec<u64> = beat["streams"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stream| stream["collected"].as_u64().unwrap())
            .collect();
        assert_eq!(collected.iter().sum::<u64>(), 42, "{beat:#}");
        assert_eq!(beat["coralogix"]["delivered"], 42, "{beat:#}");
        assert_eq!(beat["queue"]["waiting"], 0, "{beat:#}");
        assert_eq!(beat["token_days_left"], 299, "{beat:#}");
        assert!(beat["disk_written_bytes"].is_u64(), "{beat:#}");
        scene.wait_status_is("/coralogix/delivered", "42");
        if write == "on-failure" {
            let log = std::fs::read_dir(scene.queue_dir().join("log")).unwrap();
            assert_eq!(log.count(), 0, "nothing was written for it");
        }
        scene.stop();
        scene.assert_exactly_once();
    }
}

#[test]
fn an_outage_makes_no_pile_of_heartbeats() {
    for write in ["always", "on-failure"] {
        let mut scene = Scene::with(|s| {
            s.heartbeat = "1s".to_string();
            s.write = write.to_string();
        });
        scene.ingress.fail(On::Singles, None, Fault::status(503));
        scene.tenant().publish(Kind::Activities, 10);
        scene.run();
        scene.wait_waiting(11);
        let refused = scene.ingress.requests();
        assert!(scene.ingress.wait_for(refused + 20, PATIENCE, |got| got.status == 503));
        scene.wait_status_is("/queue/waiting", "11");
        scene.ingress.heal();
        wait_said(&scene, "heartbeat", 3);
        scene.stop();
        scene.assert_exactly_once();
    }
}

#[test]
fn once_says_one_word_at_its_end() {
    let mut scene = Scene::with(|s| s.heartbeat = "5m".to_string());
    scene.tenant().publish(Kind::Activities, 10);
    scene.once_with_code(0);
    assert_eq!(said(&scene, "heartbeat").len(), 1, "{}", scene.story());
    // While Coralogix is away one waits, however often it is tried.
    scene.ingress.server.take_away();
    scene.once_with_code(75);
    scene.once_with_code(75);
    scene.ingress.server.bring_back();
    scene.once_with_code(0);
    let beats = said(&scene, "heartbeat").len();
    assert!((2..=3).contains(&beats), "{beats}\n{}", scene.story());
    scene.assert_exactly_once();
}

#[test]
fn each_start_that_dies_early_waits_longer_than_the_one_before() {
    let mut scene = Scene::with(|s| {
        s.retry_min = "200ms".to_string();
        s.retry_max = "1h".to_string();
    });
    let mut asked = vec![];
    for _ in 0..9 {
        let before = scene.tenant().requests();
        scene.run();
        scene.wait_up();
        // Three seconds, or the first request.
        let within = std::time::Duration::from_secs(3);
        scene.tenant().wait(within, |seen| (seen.len() > before).then_some(()));
        scene.kill();
        asked.push(scene.tenant().requests() - before);
    }
    assert!(asked[0] > 0 && asked[1] > 0, "{asked:?}");
    assert_eq!(asked[7..], [0, 0], "{asked:?}");
    assert!(scene.log().contains("8 starts in a row ended within a minute"), "{}", scene.log());
    // An end in order is no crash.
    scene.run();
    scene.wait_up();
    scene.end_with(Signal::TERM);
    scene.tenant().publish(Kind::Activities, 10);
    scene.run();
    scene.settle();
    scene.assert_exactly_once();
}
