//! Queues that version 0.1 wrote, opened by the program of today: what 0.1 itself said of each is said
//! still, and it goes on where 0.1 stopped, with no hand in between.
//!
//! The directories are in tests/golden/format-1. Promises: each test has a copy of its own; what is
//! expected was written down from 0.1's own commands, never from today's. Never: writes below
//! tests/golden.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::scene::{PATIENCE, Scene, files_holding};
use crate::support::clock::DAY;
use crate::support::data::{Draft, Kind};
use crate::support::fault::{Fault, On};
use crate::support::ledger::{Book, StreamId};
use crate::support::tenant::Seen;
use crate::support::world::Settings;

const FORMAT_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-1");
const QUEUES: [&str; 5] = ["waiting", "killed", "parked", "index-lost", "empty"];

/// What a start may tell of the queue's files.
const FINDINGS: [&str; 8] = [
    "checkpoint-damaged",
    "index-replaced",
    "log-damaged",
    "log-tail-dropped",
    "page-adopted",
    "frame-damaged",
    "stream-orphaned",
    "stream-not-adopted",
];

/// A copy of a golden queue, its records back at the tenant.
struct Golden {
    scene: Scene,
    expected: Value,
    records: Vec<Record>,
}

struct Record {
    id: u64,
    raw: String,
}

impl Golden {
    fn open(name: &str) -> Golden {
        Golden::open_with(name, |_| {}, |_| {})
    }

    /// With other settings, or where something else than usual is to be expected of it.
    fn open_with(
        name: &str,
        change: impl FnOnce(&mut Settings),
        expect: impl FnOnce(&mut Value),
    ) -> Golden {
        let scene = Scene::with(|s| {
            s.integrations[0].streams = Kind::ALL.map(Kind::name).to_vec();
            change(s);
        });
        let golden = Path::new(FORMAT_1).join(name);
        let text = |file: &str| fs::read_to_string(golden.join(file)).unwrap();
        let mut expected: Value = serde_json::from_str(&text("expected.json")).unwrap();
        expect(&mut expected);
        copy(&golden.join("queue"), &scene.queue_dir());
        for empty in expected["empty_directories"].as_array().unwrap() {
            make_dir(&scene.queue_dir().join(empty.as_str().unwrap()));
        }
        let lines: Vec<Value> =
            text("records.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!lines.is_empty());
        let records = lines.iter().map(|line| restore(&scene, line)).collect();
        // What 0.1 delivered, and what it parked or gave up, is not to come any more.
        let golden = Golden { scene, expected, records };
        let waiting = golden.waiting();
        golden.scene.ledger.change(|book| {
            let settled = book.entries.iter_mut().filter(|entry| !waiting.contains(&entry.id));
            settled.for_each(|entry| entry.deliveries = 1);
            book.begin_again();
        });
        golden
    }

    fn list(&self) -> &Vec<Value> {
        self.expected["list"].as_array().unwrap()
    }

    /// The records of the tenant that wait, in the order of the log.
    fn waiting(&self) -> Vec<u64> {
        let rows = self.list().iter().filter(|row| row["stream"] != "acme/collector");
        rows.map(|row| row["id"].as_str().unwrap().parse().unwrap()).collect()
    }

    /// The collector's own records that wait.
    fn words(&self) -> usize {
        self.list().len() - self.waiting().len()
    }

    fn lines(&self, args: &[&str]) -> Vec<Value> {
        let ended = self.scene.command(args);
        assert_eq!(ended.code, Some(0), "{args:?}\n{}{}", ended.out, ended.err);
        ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn assert_parked(&self) {
        let parked = self.lines(&["queue", "parked", "list", "--json"]);
        let expected = self.expected["parked"].as_array().unwrap();
        assert_eq!(parked.len(), expected.len());
        parked.iter().zip(expected).for_each(|(now, then)| assert_holds(now, then, "parked"));
    }

    /// What the commands that only look say of it, and that they change nothing.
    fn assert_seen(&self) {
        let before = contents(&self.scene.queue_dir());
        let list = self.lines(&["queue", "list", "--limit", "0", "--json"]);
        assert_eq!(list, *self.list());
        let stats: Value =
            serde_json::from_str(&self.scene.command(&["queue", "stats", "--json"]).out).unwrap();
        assert_holds(&stats, &self.expected["stats"], "stats");
        self.assert_parked();
        for record in &self.records {
            let id = record.id.to_string();
            let shown = self.scene.command(&["queue", "show", &id]).out;
            let (what, is_here) = gist(self.expected["show"][&id].as_str().unwrap());
            assert!(shown.contains(what), "{what:?} of {shown}");
            assert!(!is_here || shown.contains(&record.raw), "{shown}");
        }
        assert!(contents(&self.scene.queue_dir()) == before, "looking changes nothing");
    }

    /// Starts the daemon while Coralogix takes nothing, so that all that waits can be counted.
    fn start(&mut self) {
        self.scene.ingress.fail(On::Singles, None, Fault::status(503));
        self.scene.run();
        self.assert_asked_from_there();
        let status = self.scene.wait_status(PATIENCE, |status| {
            (status["streams"].as_array()?.len() == 3).then(|| status.clone())
        });
        let status = status.unwrap_or_else(|| panic!("no status\n{}", self.scene.story()));
        assert_holds(&status["queue"], &self.expected["queue"], "queue");
        for stream in status["streams"].as_array().unwrap() {
            let expected = &self.expected["streams"][text(&stream["name"])];
            assert_eq!(stream["position"], expected["position"], "{stream:#}");
        }
        assert_eq!(status["orphans"], Value::Array(Vec::new()));
        assert_gaps(&status, &self.expected["gaps"]);
    }

    /// Each stream is asked for from where 0.1 would have asked.
    fn assert_asked_from_there(&self) {
        for kind in Kind::ALL {
            let expected = &self.expected["streams"][format!("acme/{}", kind.name())];
            let (name, value) =
                (&expected["first_request"]["filter"], &expected["first_request"]["value"]);
            let first = self.scene.wait_while_alive("the stream is asked for", |within| {
                let first = |seen: &[Seen]| seen.iter().find(|seen| seen.polls(kind)).cloned();
                self.scene.tenant().wait(within, first)
            });
            assert_eq!(first.parameter(&text(name)), value.as_str(), "{first:?}");
        }
    }

    fn found(&self) -> Vec<&str> {
        let log = self.scene.log();
        FINDINGS.into_iter().filter(|reason| log.contains(reason)).collect()
    }

    /// From what it holds on to what is new, and after an orderly end once more.
    fn goes_on(&mut self) {
        self.scene.ingress.heal();
        self.publish();
        self.scene.settle();
        self.scene.poll_again();
        self.assert_delivered();
        let status = self.scene.status().unwrap();
        assert_gaps(&status, &self.expected["gaps"]);
        self.scene.stop();
        self.assert_parked();
        let found = self.found().len();
        self.publish();
        self.scene.once_with_code(0);
        self.assert_delivered();
        self.assert_parked();
        assert_eq!(self.found().len(), found, "{}", self.scene.log());
    }

    fn publish(&self) {
        for kind in Kind::ALL {
            self.scene.tenant().publish(kind, 3);
        }
    }

    /// Everything that waited, and nothing else of what 0.1 knew, byte for byte and once.
    fn assert_delivered(&self) {
        self.scene.assert_exactly_once();
        let again = self.scene.ledger.look(Book::again);
        assert_eq!(again, 0, "came although 0.1 had settled it\n{}", self.scene.story());
        let (notes, words) = (self.scene.ledger.look(|book| book.notes.len()), self.words());
        assert_eq!(notes, words, "the collector's own\n{}", self.scene.story());
    }
}

fn a_queue_goes_on(name: &str) {
    let mut golden = Golden::open(name);
    golden.start();
    assert_eq!(json!(golden.found()), golden.expected["findings"]);
    golden.goes_on();
}

/// Of all names and bytes, in their order.
const CRC: u32 = 3_184_368_439;

#[test]
fn the_golden_queues_are_as_version_0_1_left_them() {
    let mut crc = crc32fast::Hasher::new();
    let root = Path::new(FORMAT_1);
    for (path, bytes) in QUEUES.iter().flat_map(|name| contents(&root.join(name))) {
        crc.update(path.strip_prefix(root).unwrap().to_str().unwrap().as_bytes());
        crc.update(&bytes.unwrap());
    }
    assert_eq!(crc.finalize(), CRC);
}

#[test]
fn what_version_0_1_said_of_a_queue_is_said_still() {
    QUEUES.into_iter().for_each(|name| Golden::open(name).assert_seen());
}

#[test]
fn a_queue_of_version_0_1_whose_records_wait_goes_on() {
    a_queue_goes_on("waiting");
}

#[test]
fn a_queue_of_version_0_1_that_was_killed_within_a_page_goes_on() {
    a_queue_goes_on("killed");
}

#[test]
fn a_queue_of_version_0_1_with_parked_records_and_gaps_goes_on() {
    a_queue_goes_on("parked");
}

#[test]
fn a_queue_of_version_0_1_without_its_index_goes_on() {
    a_queue_goes_on("index-lost");
}

#[test]
fn a_queue_of_version_0_1_that_is_empty_goes_on() {
    a_queue_goes_on("empty");
}

/// 0.1 noted no addresses, so the first start takes the one that is configured.
#[test]
fn the_first_start_learns_the_address_that_version_0_1_did_not_note() {
    let mut golden = Golden::open("empty");
    let url = golden.scene.tenant().url();
    let holding = |golden: &Golden| files_holding(&golden.scene.queue_dir(), url.as_bytes());
    assert_eq!(holding(&golden), Vec::<String>::new());
    golden.scene.once_with_code(0);
    assert_ne!(holding(&golden), Vec::<String>::new());
}

/// The log and the checkpoint alone say the same.
#[test]
fn queues_of_version_0_1_whose_index_is_damaged_go_on() {
    for name in ["waiting", "killed", "parked", "empty"] {
        let mut golden = Golden::open(name);
        let index = golden.scene.queue_dir().join("index.0/db");
        let length = fs::metadata(&index).unwrap().len();
        fs::write(&index, vec![0; usize::try_from(length).unwrap()]).unwrap();
        golden.start();
        assert_eq!(golden.found(), ["index-replaced"], "{name}");
        golden.goes_on();
    }
}

/// What is not whole was never acknowledged: it is asked for again.
#[test]
fn a_page_of_version_0_1_that_lost_its_end_is_asked_for_again() {
    let mut golden = Golden::open("killed");
    let newest = contents(&golden.scene.queue_dir().join("log")).pop().unwrap().0;
    let length = fs::metadata(&newest).unwrap().len();
    fs::OpenOptions::new().write(true).open(newest).unwrap().set_len(length - 1).unwrap();
    golden.scene.run();
    golden.scene.wait_log("log-tail-dropped");
    golden.goes_on();
    assert_eq!(golden.found(), ["log-tail-dropped"]);
}

/// An export carries no gaps, and what was parked waits again on the other box.
#[test]
fn an_export_of_version_0_1_is_imported() {
    for name in QUEUES {
        let expect = |expected: &mut Value| {
            let parked = expected["parked"].take();
            expected["parked"] = json!([]);
            expected["gaps"] = json!({ "count": 0, "untold": 0, "latest": [] });
            let list = expected["list"].as_array_mut().unwrap();
            list.extend(parked.as_array().unwrap().iter().cloned());
        };
        let mut golden = Golden::open_with(name, |_| {}, expect);
        fs::remove_dir_all(golden.scene.queue_dir()).unwrap();
        let file = Path::new(FORMAT_1).join(name).join("queue.export");
        let ended = golden.scene.command(&["queue", "import", file.to_str().unwrap()]);
        assert_eq!(ended.code, Some(0), "{name}: {}{}", ended.out, ended.err);
        golden.scene.run();
        golden.assert_asked_from_there();
        golden.scene.poll_again();
        golden.goes_on();
    }
}

/// The machine's clock can be moved in a build for tests.
#[cfg(debug_assertions)]
#[test]
fn queues_of_version_0_1_go_on_after_ten_years() {
    for name in QUEUES {
        // No certificate is good at both times.
        let mut golden = Golden::open_with(name, |s| s.tls = false, |_| {});
        golden.scene.pass(10 * 365 * DAY);
        golden.start();
        golden.goes_on();
    }
}

/// The record as the tenant showed it, there again unless it was deleted.
fn restore(scene: &Scene, line: &Value) -> Record {
    let kind = Kind::ALL.into_iter().find(|kind| line["stream"] == kind.name()).unwrap();
    let id = text(&line["id"]).parse().unwrap();
    let us = |name: &str| line[name].as_i64().unwrap();
    let draft = Draft { id, updated_us: us("updated_us"), ..Draft::new(kind, us("created_us"), 0) };
    let raw = text(&line["raw"]);
    match line["deleted_at_source"].as_bool().unwrap() {
        true => {
            let stream = StreamId { tenant: "acme".to_owned(), kind };
            scene.ledger.publish(stream, id, draft.position_us(), raw.as_bytes());
        }
        false => scene.tenant().restore(draft, raw.as_bytes()),
    }
    Record { id, raw }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// What is the same in the words of every version, and whether the record itself is shown.
fn gist(said: &str) -> (&str, bool) {
    for (word, end) in [("waiting at ", ","), ("delivered (accepted by Coralogix)", "\n")] {
        if let Some(at) = said.find(word) {
            let rest = &said[at..];
            return (rest.split_once(end).map_or(rest, |(before, _)| before), true);
        }
    }
    match said.find("parked as ") {
        Some(at) => (&said[at..], false),
        None => ("is not in the queue", false),
    }
}

/// Every member that was told then has the same value now; there may be more of them.
fn assert_holds(now: &Value, then: &Value, what: &str) {
    for (name, value) in then.as_object().unwrap() {
        assert_eq!(now[name], *value, "{what}: {name}\n{now:#}");
    }
}

/// The gaps are what they were; their words for people may be others.
fn assert_gaps(status: &Value, then: &Value) {
    let now = &status["gaps"];
    assert_eq!((&now["count"], &now["untold"]), (&then["count"], &then["untold"]), "{now:#}");
    let (now, then) = (now["latest"].as_array().unwrap(), then["latest"].as_array().unwrap());
    assert_eq!(now.len(), then.len(), "{now:#?}");
    for (now, then) in now.iter().zip(then) {
        let mut then = then.clone();
        then.as_object_mut().unwrap().remove("text");
        assert_holds(now, &then, "gap");
    }
}

fn make_dir(path: &Path) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    make_dir(to);
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let place = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &place);
        } else {
            fs::copy(&entry, &place).unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn contents(dir: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.clone(), fs::read(&path).ok())),
        }
    }
    found.sort();
    found
}
