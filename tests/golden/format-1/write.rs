//! Writes the golden queues of format 1 with the program of version 0.1 (README.md here says how).
//!
//! Holds five scenes; of each it keeps the queue's directory, the records, and what the program's own
//! commands say of a copy. Promises: everything below `queue/` is as the program left it, but for the
//! reserve, which is noise, and for the index that one scene takes away. Never: part of any build here.

use std::cell::RefCell;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::scene::{PATIENCE, Scene};
use crate::support::clock::{DAY, HOUR, at};
use crate::support::data::{Draft, Kind};
use crate::support::fault::{Fault, On};
use crate::support::ingress::Measured;
use crate::support::tenant::Seen;
use crate::support::world::Settings;

const FINDINGS: [&str; 6] = [
    "checkpoint-damaged",
    "index-replaced",
    "log-damaged",
    "log-tail-dropped",
    "page-adopted",
    "frame-damaged",
];

fn settings(s: &mut Settings) {
    s.integrations[0].streams = vec!["threats", "activities", "alerts"];
    s.integrations[0].start = "60d".to_string();
    s.max_size = "64MiB".to_string();
}

/// A scene, and every record that its tenant ever showed.
struct Stage {
    scene: Scene,
    drafts: RefCell<Vec<Draft>>,
}

impl Stage {
    fn with(change: impl FnOnce(&mut Settings)) -> Stage {
        let scene = Scene::with(|s| {
            settings(s);
            change(s);
        });
        Stage { scene, drafts: RefCell::default() }
    }

    /// Records dated within an hour, so many hours after the third of November.
    fn publish(&self, kind: Kind, count: usize, hours: i64) -> Vec<u64> {
        let from = at(2026, 11, 3) + hours * HOUR;
        self.scene.tenant().publish_between(kind, count, from, from + HOUR, |draft| {
            self.drafts.borrow_mut().push(draft.clone());
        })
    }

    fn publish_all(&self, counts: [usize; 3], hours: i64) -> [Vec<u64>; 3] {
        let [threats, activities, alerts] = counts;
        [
            self.publish(Kind::Threats, threats, hours),
            self.publish(Kind::Activities, activities, hours),
            self.publish(Kind::Alerts, alerts, hours),
        ]
    }

    fn refuse(&self) {
        self.scene.ingress.fail(On::Singles, None, Fault::status(503));
    }

    fn delivered(&self) -> usize {
        self.scene.ledger.balance().delivered
    }

    /// Keeps the directory, the records and what this program says of them.
    fn keep(&self, name: &str, is_expired: impl Fn(&Draft) -> bool) {
        let out = PathBuf::from(env::var_os("S1C_GOLDEN").expect("where to")).join(name);
        let _ = fs::remove_dir_all(&out);
        copy(&self.scene.queue_dir(), &out.join("queue"));
        let mut lines = String::new();
        for draft in self.drafts.borrow().iter() {
            let raw = String::from_utf8(draft.render()).unwrap();
            let delivered: u32 = self.scene.ledger.deliveries_of(draft.id).iter().sum();
            let line = json!({
                "stream": draft.kind.name(),
                "id": draft.id.to_string(),
                "created_us": draft.created_us,
                "updated_us": draft.updated_us,
                "delivered": delivered,
                "deleted_at_source": is_expired(draft),
                "raw": raw,
            });
            lines += &format!("{line}\n");
        }
        fs::write(out.join("records.jsonl"), lines).unwrap();
        let told = self.told(&out);
        fs::write(out.join("expected.json"), format!("{told:#}\n")).unwrap();
    }

    /// What the program says of a copy: its commands first, then its first start.
    fn told(&self, out: &Path) -> Value {
        let probe = probe(out);
        let mut told = json!({
            "empty_directories": empty(&out.join("queue"), Path::new("")),
            "list": lines(&probe, &["queue", "list", "--limit", "0", "--json"]),
            "parked": lines(&probe, &["queue", "parked", "list", "--json"]),
            "stats": stats(&probe),
            "show": self.shown(&probe),
        });
        let export = probe.path("queue.export");
        probe.command(&["queue", "export", export.to_str().unwrap()]);
        fs::copy(export, out.join("queue.export")).unwrap();
        told.as_object_mut().unwrap().extend(first_start(out));
        told
    }

    /// What `queue show` says of each record.
    fn shown(&self, probe: &Scene) -> serde_json::Map<String, Value> {
        let drafts = self.drafts.borrow();
        let ids = drafts.iter().map(|draft| draft.id.to_string());
        let said = ids.map(|id| {
            let said = probe.command(&["queue", "show", &id]).out;
            let line = said.lines().find(|line| line.contains(&id)).unwrap_or("").to_owned();
            (id, line.into())
        });
        said.collect()
    }
}

/// A copy, with both services out of reach.
fn probe(out: &Path) -> Scene {
    let probe = Scene::with(settings);
    copy(&out.join("queue"), &probe.queue_dir());
    probe.ingress.server.take_away();
    for kind in Kind::ALL {
        probe.tenant().fail(On::Stream(kind), None, Fault::status(503));
    }
    probe
}

fn lines(probe: &Scene, args: &[&str]) -> Vec<Value> {
    let said = probe.command(args).out;
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Without what is true of this machine and this moment only.
fn stats(probe: &Scene) -> Value {
    let said = probe.command(&["queue", "stats", "--json"]).out;
    let mut stats: Value = serde_json::from_str(&said).unwrap();
    let members = stats.as_object_mut().unwrap();
    ["dir", "in_use"].iter().for_each(|name| drop(members.remove(*name)));
    stats
}

/// What a first start finds, asks for, and tells in its status.
fn first_start(out: &Path) -> serde_json::Map<String, Value> {
    let mut probe = probe(out);
    probe.run();
    let first = Kind::ALL.map(|kind| (kind, first_request(&probe, kind)));
    let status = probe.wait_status(PATIENCE, |status| {
        (status["streams"].as_array()?.len() == 3).then(|| status.clone())
    });
    let status = status.expect("a status");
    probe.kill();
    let log = probe.log();
    let findings: Vec<&str> = FINDINGS.into_iter().filter(|reason| log.contains(reason)).collect();
    let streams: serde_json::Map<String, Value> = first
        .into_iter()
        .map(|(kind, (filter, value))| {
            let name = format!("acme/{}", kind.name());
            let streams = status["streams"].as_array().unwrap();
            let stream = streams.iter().find(|stream| stream["name"] == *name).unwrap();
            let first = json!({ "filter": filter, "value": value });
            (name, json!({ "position": stream["position"], "first_request": first }))
        })
        .collect();
    let queue: serde_json::Map<String, Value> =
        ["waiting", "parked", "head_frame", "head_entry", "oldest"]
            .map(|name| (name.to_owned(), status["queue"][name].clone()))
            .into_iter()
            .collect();
    let told = json!({
        "written_by": status["version"],
        "findings": findings,
        "streams": streams,
        "queue": queue,
        "gaps": status["gaps"],
    });
    told.as_object().unwrap().clone()
}

/// From where a stream is asked for at first.
fn first_request(scene: &Scene, kind: Kind) -> (String, String) {
    let first = scene.tenant().wait(PATIENCE, |seen: &[Seen]| {
        seen.iter().find(|seen| seen.polls(kind)).map(|seen| seen.query.clone())
    });
    let query = first.unwrap_or_else(|| panic!("{} are not asked for", kind.name()));
    query.into_iter().find(|(name, _)| name.ends_with("__gte")).expect("a time to begin with")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let place = to.join(entry.file_name().unwrap());
        match entry.is_dir() {
            true => copy(&entry, &place),
            false if entry.ends_with("reserve") => {}
            false => drop(fs::copy(&entry, place).unwrap()),
        }
    }
}

/// git keeps no empty directory, so they are named.
fn empty(root: &Path, below: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join(below)).unwrap();
    let names: Vec<PathBuf> = entries.map(|entry| below.join(entry.unwrap().file_name())).collect();
    if names.is_empty() {
        return vec![below.display().to_string()];
    }
    let mut found: Vec<String> = names
        .iter()
        .filter(|name| root.join(name).is_dir())
        .flat_map(|name| empty(root, name))
        .collect();
    found.sort();
    found
}

#[test]
fn waiting() {
    let mut stage = Stage::with(|_| {});
    stage.publish_all([12, 20, 8], 0);
    stage.scene.run();
    stage.scene.settle();
    stage.scene.wait_status_is("/queue/waiting", "0");
    // Small batches, so that the head comes to stand within a frame.
    stage.scene.ingress.turn(|knobs| {
        knobs.size_limit = Some((9_000, Measured::Inflated));
        knobs.slow = Duration::from_millis(300);
    });
    stage.publish(Kind::Activities, 24, 2);
    stage.scene.wait_delivered(44);
    stage.refuse();
    stage.publish_all([7, 15, 5], 4);
    stage.scene.wait_waiting(27);
    stage.publish_all([3, 9, 2], 6);
    let (published, scene) = (40 + 24 + 27 + 14, &stage.scene);
    scene.wait_status(PATIENCE, |status| {
        let waiting = status["queue"]["waiting"].as_u64()? as usize;
        (waiting + stage.delivered() == published).then_some(())
    });
    stage.scene.stop();
    stage.keep("waiting", |_| false);
}

#[test]
fn killed() {
    let mut stage = Stage::with(|_| {});
    stage.publish_all([9, 16, 4], 0);
    stage.scene.run();
    stage.scene.settle();
    stage.scene.wait_status_is("/queue/waiting", "0");
    stage.refuse();
    stage.publish_all([6, 11, 3], 2);
    stage.scene.wait_waiting(20);
    stage.scene.kill();
    // Once more, until the end comes between a page's frames and its commit.
    let mut waiting = 20;
    for nth in 0..6 {
        stage.publish(Kind::Activities, 2, 4 + nth);
        let log = stage.scene.log_bytes();
        stage.scene.run();
        let began = Instant::now();
        while stage.scene.log_bytes() == log {
            assert!(began.elapsed() < PATIENCE, "{}", stage.scene.story());
        }
        stage.scene.kill();
        waiting += 2;
        let copied = stage.scene.path("copied");
        let _ = fs::remove_dir_all(&copied);
        copy(&stage.scene.queue_dir(), &copied);
        let probe = Scene::with(settings);
        copy(&copied, &probe.queue_dir());
        probe.ingress.server.take_away();
        let said = probe.command(&["queue", "parked", "retry", "--all"]);
        println!("{nth}: {waiting} {} {}", said.out, said.err);
        if said.err.contains("page-adopted") {
            stage.keep("killed", |_| false);
            return;
        }
    }
    panic!("no page was ahead of the index; try again");
}

#[test]
fn parked() {
    let mut stage = Stage::with(|s| s.heartbeat = "1h".to_string());
    let [threats, activities, _] = stage.publish_all([8, 18, 4], 0);
    let refused = [threats[3], activities[2], activities[9], activities[10]];
    let texts: Vec<String> = refused
        .iter()
        .flat_map(|id| [format!("\"id\": \"{id}\""), format!("\"id\":\"{id}\"")])
        .collect();
    stage.scene.ingress.turn(|knobs| {
        knobs.poison = Some(Arc::new(move |text| texts.iter().any(|one| text.contains(one))));
    });
    stage.scene.run();
    stage.scene.wait_status_is("/queue/parked", "4");
    stage.scene.wait_status_is("/gaps/untold", "0");
    stage.scene.wait_status_is("/queue/waiting", "0");
    stage.scene.stop();
    let name = |id: u64| {
        let list = stage.scene.command(&["queue", "parked", "list", "--json"]).out;
        let rows = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut rows = rows.filter(|row| row["id"] == id.to_string());
        rows.next().unwrap()["name"].as_str().unwrap().to_owned()
    };
    let (dropped, retried) = (name(refused[1]), name(refused[2]));
    for (what, name) in [("drop", dropped), ("retry", retried)] {
        let said = stage.scene.command(&["queue", "parked", what, &name]);
        assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    }
    // What was collected is deleted at the source, and something that nobody had asked for yet.
    stage.publish(Kind::Activities, 6, 3 * 24);
    let deleted = at(2026, 11, 3) + 4 * DAY;
    stage.scene.tenant().expire(deleted);
    stage.publish(Kind::Activities, 10, 6 * 24);
    stage.refuse();
    // So that a heartbeat waits too.
    stage.scene.settings.heartbeat = "1s".to_string();
    stage.scene.write_config();
    stage.scene.run();
    stage.scene.wait_status_is("/gaps/count", "4");
    stage.scene.wait_status_is("/gaps/untold", "0");
    stage.scene.wait_waiting(15);
    stage.scene.stop();
    stage.keep("parked", |draft| draft.created_us < deleted);
}

#[test]
fn index_lost() {
    let mut stage = Stage::with(|_| {});
    stage.publish_all([9, 16, 4], 0);
    stage.scene.run();
    stage.scene.settle();
    stage.scene.wait_status_is("/queue/waiting", "0");
    stage.scene.stop();
    stage.refuse();
    stage.publish_all([6, 11, 3], 2);
    stage.scene.run();
    stage.scene.wait_waiting(20);
    stage.publish_all([4, 7, 2], 4);
    stage.scene.wait_waiting(33);
    stage.scene.kill();
    let below = fs::read_dir(stage.scene.queue_dir()).unwrap();
    for entry in below.map(|entry| entry.unwrap().path()) {
        if entry.file_name().unwrap().to_str().unwrap().starts_with("index.") {
            fs::remove_dir_all(entry).unwrap();
        }
    }
    stage.keep("index-lost", |_| false);
}

#[test]
fn empty_queue() {
    let mut stage = Stage::with(|_| {});
    stage.publish_all([6, 8, 3], 0);
    stage.scene.run();
    stage.scene.settle();
    stage.scene.poll_again();
    stage.scene.wait_status_is("/queue/waiting", "0");
    stage.scene.stop();
    stage.keep("empty", |_| false);
}
