//! `queue` as people type it, beside a daemon that runs and one that is stopped.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::campaign::Campaign;
use crate::scene::{PATIENCE, Scene};
use crate::support::data::Kind;
use crate::support::process::Process;
use crate::syscalls::strace;

/// Coralogix is away, and so many activities wait.
fn with_waiting(count: usize) -> (Scene, Vec<u64>) {
    let mut scene = Scene::new();
    scene.ingress.server.take_away();
    let ids = scene.tenant().publish(Kind::Activities, count);
    scene.run();
    scene.wait_waiting(count as u64);
    (scene, ids)
}

fn said(scene: &Scene, args: &[&str], code: i32) -> String {
    let ended = scene.command(args);
    assert_eq!(ended.code, Some(code), "{args:?}\n{}{}", ended.out, ended.err);
    format!("{}{}", ended.out, ended.err)
}

#[test]
fn what_waits_can_be_looked_at_while_the_daemon_runs() {
    let (mut scene, ids) = with_waiting(120);
    let stats = said(&scene, &["queue", "stats"], 0);
    assert!(stats.contains("in use by the running daemon"), "{stats}");
    assert!(stats.contains("waiting      120 records in"), "{stats}");
    assert!(stats.contains("acme/activities"), "{stats}");
    assert!(stats.lines().all(|line| line.chars().count() <= 80 || line.contains(" /")), "{stats}");
    let json: serde_json::Value =
        serde_json::from_str(&said(&scene, &["queue", "stats", "--json"], 0)).unwrap();
    assert_eq!(json["waiting"], 120);
    assert_eq!(json["waiting_is_exact"], true);
    let status: serde_json::Value =
        serde_json::from_str(&said(&scene, &["status", "--json"], 1)).unwrap();
    assert_eq!((&json["id"], &json["told_by"]), (&status["queue"]["id"], &"daemon".into()));
    assert_eq!(json["id"].as_str().map(str::len), Some(32), "{json:#}");
    let told = format!("by the running process {}", scene.daemon().pid());
    assert!(stats.contains("from /") && stats.contains(&told), "{stats}");

    let list = said(&scene, &["queue", "list", "--limit", "7"], 0);
    assert_eq!(list.lines().count(), 1 + 7 + 1 + 1, "{list}");
    assert!(list.contains(&told), "{list}");
    assert!(list.contains(&ids[0].to_string()) && list.contains("and 113 more"), "{list}");
    let all = said(&scene, &["queue", "list", "--limit", "0", "--json"], 0);
    let listed: Vec<String> = all
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, ids.iter().map(u64::to_string).collect::<Vec<_>>());
    assert_eq!(said(&scene, &["queue", "list", "--stream", "acme/threats"], 0).lines().count(), 2);
    let unknown = said(&scene, &["queue", "list", "--stream", "acme/foo"], 2);
    for words in ["S1C-E437", "acme/foo", "acme/activities", "acme/threats"] {
        assert!(unknown.contains(words), "{unknown}");
    }

    let show = said(&scene, &["queue", "show", &ids[30].to_string()], 0);
    assert!(show.contains("waiting at") && show.contains("30 records before it"), "{show}");
    assert!(show.contains("\"activityType\""), "the record itself\n{show}");
    let none = said(&scene, &["queue", "show", "1000000000000000001"], 1);
    assert!(none.contains("is not in the queue"), "{none}");
    assert!(said(&scene, &["queue", "verify"], 0).contains("no damage was found"));

    // Looking has changed nothing.
    scene.ingress.server.bring_back();
    scene.settle();
    scene.stop();
    scene.assert_exactly_once();
    let show = said(&scene, &["queue", "show", &ids[30].to_string()], 0);
    assert!(show.contains("delivered (accepted by Coralogix)"), "{show}");
}

#[test]
fn after_an_orderly_end_what_waits_is_exact() {
    let (mut scene, _) = with_waiting(120);
    scene.stop();
    let stats = said(&scene, &["queue", "stats"], 0);
    assert!(stats.contains("waiting      120 records in"), "{stats}");
    assert!(stats.contains("from the checkpoint of a clean stop"), "{stats}");
    // A daemon that is killed leaves no word of what it delivered last.
    scene.run();
    scene.wait_up();
    scene.kill();
    let stats = said(&scene, &["queue", "stats"], 0);
    assert!(stats.contains("waiting      at most 120 records in"), "{stats}");
    assert!(stats.contains("which did not stop cleanly"), "{stats}");
}

#[test]
fn the_status_file_of_another_queue_is_not_believed() {
    let (mut scene, ids) = with_waiting(30);
    scene.ingress.server.bring_back();
    scene.settle();
    scene.wait_status_is("/queue/waiting", "0");
    scene.kill();
    fs::rename(scene.queue_dir(), scene.path("earlier")).unwrap();
    let status = fs::read(scene.path("status.json")).unwrap();
    scene.ingress.server.take_away();
    scene.run();
    scene.wait_waiting(30);
    scene.kill();
    // As the earlier one left it, where nothing waits any more.
    fs::write(scene.path("status.json"), status).unwrap();
    let stats = said(&scene, &["queue", "stats"], 0);
    assert!(stats.contains("waiting      at most 30 records in"), "{stats}");
    assert!(stats.contains("belongs to another queue"), "{stats}");
    let show = said(&scene, &["queue", "show", &ids[3].to_string()], 0);
    assert!(!show.contains("accepted by Coralogix"), "{show}");
    assert!(show.contains("waiting at"), "{show}");
}

#[test]
fn what_changes_the_queue_asks_for_the_daemon_to_be_stopped() {
    let (mut scene, _) = with_waiting(5);
    let file = scene.path("queue.export");
    for args in [
        &["queue", "export", file.to_str().unwrap()][..],
        &["queue", "parked", "drop", "--all"],
        &["queue", "parked", "retry", "--all"],
    ] {
        let text = said(&scene, args, 1);
        assert!(text.contains("Stop it first"), "{args:?}: {text}");
    }
    assert!(!file.exists());
    scene.ingress.server.bring_back();
    scene.settle();
    scene.stop();
    scene.assert_exactly_once();
}

#[test]
fn damage_is_found_and_its_place_is_told() {
    let (mut scene, _) = with_waiting(50);
    scene.kill();
    let log = fs::read_dir(scene.queue_dir().join("log")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.len() - 9;
    bytes[at] ^= 0xff;
    fs::write(&log, bytes).unwrap();
    let text = said(&scene, &["queue", "verify"], 1);
    assert!(text.contains("bytes damaged") && text.contains("log/00"), "{text}");
    fs::rename(scene.queue_dir(), scene.path("elsewhere")).unwrap();
    said(&scene, &["queue", "verify"], 2);
    fs::rename(scene.path("elsewhere"), scene.queue_dir()).unwrap();
    scene.ingress.server.bring_back();
    scene.run();
    scene.settle();
    scene.assert_nothing_lost();
}

#[test]
fn another_box_goes_on_where_this_one_stopped_and_nothing_comes_twice() {
    let (mut scene, _) = with_waiting(1_500);
    scene.stop();
    let file = scene.path("queue.export");
    let export = said(&scene, &["queue", "export", file.to_str().unwrap()], 0);
    assert!(export.contains("1500 records waiting"), "{export}");
    assert!(
        said(&scene, &["queue", "export", file.to_str().unwrap()], 1).contains("exists already")
    );
    // The other box: the same config, an empty directory.
    fs::rename(scene.queue_dir(), scene.path("old-box")).unwrap();
    let mut damaged = fs::read(&file).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    scene.write_file("damaged.export", "");
    fs::write(scene.path("damaged.export"), damaged).unwrap();
    let refused = scene.path("damaged.export");
    let text = said(&scene, &["queue", "import", refused.to_str().unwrap()], 1);
    assert!(text.contains("nothing was changed"), "{text}");
    let import = said(&scene, &["queue", "import", file.to_str().unwrap()], 0);
    assert!(import.contains("1500 records waiting"), "{import}");
    let mut longer = fs::read(&file).unwrap();
    longer.push(b'\n');
    fs::write(scene.path("longer.export"), longer).unwrap();
    let refused = scene.path("longer.export");
    let text = said(&scene, &["queue", "import", refused.to_str().unwrap()], 1);
    assert!(text.contains("bytes follow its end"), "{text}");
    // Whoever repeats it, because the first was killed as it ended, is told what is true.
    let again = said(&scene, &["queue", "import", file.to_str().unwrap()], 0);
    assert!(again.contains("was imported into this queue before"), "{again}");
    assert!(said(&scene, &["queue", "stats"], 0).contains("1500"), "{again}");
    scene.ingress.server.bring_back();
    scene.tenant().publish(Kind::Threats, 20);
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.stop();
    scene.assert_exactly_once();
    scene.assert_in_order();
}

/// `queue import` killed at the n-th sync of what it writes.
fn cut_short(scene: &Scene, file: &Path, nth: usize) {
    let strace = strace().expect("asked for before").into_os_string();
    let kill = format!("inject=fdatasync:signal=KILL:when={nth}");
    let args = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &kill];
    let runner = [strace].into_iter().chain(args.into_iter().map(OsString::from));
    let config = scene.config_file();
    let args = ["--config", config.to_str().unwrap(), "queue", "import", file.to_str().unwrap()];
    let process = Process::start(&scene.program.under(runner), &args, &[]);
    let ended = process.wait(PATIENCE).expect("an import ends");
    assert_ne!(ended.code, Some(0), "{}{}", ended.out, ended.err);
}

#[test]
fn frames_that_were_counted_and_are_gone_are_missed() {
    let (mut scene, _) = with_waiting(120);
    scene.stop();
    said(&scene, &["queue", "verify"], 0);
    let log = scene.queue_dir().join("log");
    let files: Vec<_> = fs::read_dir(&log).unwrap().map(|file| file.unwrap().path()).collect();
    for file in files {
        fs::remove_file(file).unwrap();
    }
    let verified = said(&scene, &["queue", "verify"], 1);
    assert!(verified.contains("S1C-E425") && verified.contains("not in the log"), "{verified}");
    let stats = said(&scene, &["queue", "stats"], 0);
    assert!(stats.contains("missing      "), "{stats}");
}

#[test]
fn a_daemon_that_is_started_after_half_an_import_says_so_once_and_loses_nothing() {
    if !Campaign::is_possible("half an import", strace().map(drop)) {
        return;
    }
    let (mut scene, _) = with_waiting(3_000);
    scene.stop();
    let file = scene.path("queue.export");
    said(&scene, &["queue", "export", file.to_str().unwrap()], 0);
    fs::rename(scene.queue_dir(), scene.path("old-box")).unwrap();
    cut_short(&scene, &file, 6);
    assert!(scene.queue_dir().join("importing").exists(), "it was not cut short in the middle");
    let stats = said(&scene, &["queue", "stats"], 0);
    assert!(!stats.contains("3000 records"), "all was taken in: {stats}");
    // Half of a queue is not exported for a whole one, and stays what it is.
    let half = scene.path("half.export");
    for args in
        [&["queue", "export", half.to_str().unwrap()][..], &["queue", "parked", "retry", "--all"]]
    {
        let refused = said(&scene, args, 1);
        assert!(
            refused.contains("S1C-E422") && refused.contains("Import the same file again"),
            "{refused}"
        );
    }
    assert!(!half.exists() && scene.queue_dir().join("importing").exists());
    scene.ingress.server.bring_back();
    scene.run();
    scene.wait_log("S1C-W229");
    scene.settle();
    scene.stop();
    scene.assert_exactly_once();
    scene.run();
    scene.settle();
    assert_eq!(scene.log().matches("S1C-W229").count(), 1, "{}", scene.log());
}

#[test]
fn a_parked_record_is_shown_sent_again_or_given_up() {
    let mut scene = Scene::new();
    let ids = scene.tenant().publish(Kind::Activities, 60);
    let poison: Vec<String> = [7, 31].map(|n| format!("\"id\": \"{}\"", ids[n])).to_vec();
    scene.ingress.turn(|knobs| {
        knobs.poison = Some(Arc::new(move |text| poison.iter().any(|one| text.contains(one))));
    });
    scene.run();
    scene.wait_status_is("/queue/parked", "2");
    let list = said(&scene, &["queue", "parked", "list"], 0);
    assert!(list.contains(&ids[7].to_string()) && list.contains(&ids[31].to_string()), "{list}");
    let names: Vec<String> = said(&scene, &["queue", "parked", "list", "--json"], 0)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .collect();
    let show = said(&scene, &["queue", "parked", "show", &names[0]], 0);
    assert!(show.contains("rejected with: ") && show.contains("\"activityType\""), "{show}");
    scene.wait_status_is("/queue/waiting", "0");
    scene.stop();
    let life = |id: u64, code: i32| said(&scene, &["queue", "show", &id.to_string()], code);
    for id in [ids[7], ids[31]] {
        let shown = life(id, 0);
        assert!(!shown.contains("accepted by Coralogix"), "{shown}");
        assert!(shown.contains("rejected by Coralogix, parked as"), "{shown}");
    }
    let shown = life(ids[8], 0);
    assert!(shown.contains("delivered (accepted by Coralogix)"), "{shown}");
    said(&scene, &["queue", "parked", "retry", "nonsense"], 1);
    said(&scene, &["queue", "parked", "retry", &names[0]], 0);
    let dropped = said(&scene, &["queue", "parked", "drop", &names[1]], 0);
    assert!(dropped.contains("1 record discarded"), "{dropped}");
    let shown = life(ids[31], 1);
    assert!(!shown.contains("accepted by Coralogix"), "{shown}");
    assert!(shown.contains("an operator dropped records"), "{shown}");
    let shown = life(ids[7], 0);
    assert!(!shown.contains("accepted by Coralogix"), "{shown}");
    assert!(shown.contains("waiting at"), "{shown}");
    assert!(said(&scene, &["queue", "parked", "list"], 0).contains("No record is parked"));
    scene.ingress.turn(|knobs| knobs.poison = None);
    scene.run();
    scene.wait_delivered(59);
    scene.wait_status_is("/queue/waiting", "0");
    scene.stop();
    let story = format!("{list}\n{names:?}\n{}", scene.story());
    assert_eq!(scene.ledger.deliveries_of(ids[7]), [1], "{story}");
    assert_eq!(scene.ledger.deliveries_of(ids[31]), [0], "{story}");
}

#[test]
fn one_of_anything_is_told_as_one() {
    let mut scene = Scene::with(|settings| settings.integrations[0].streams = vec!["activities"]);
    scene.ingress.server.take_away();
    scene.tenant().publish(Kind::Activities, 1);
    scene.run();
    scene.wait_waiting(1);
    let shown = scene.command(&["status"]).out;
    scene.stop();
    let mut told = format!("{}{shown}", scene.log());
    let file = scene.path("queue.s1c").display().to_string();
    for command in [&["queue", "stats"][..], &["queue", "verify"], &["queue", "export", &file]] {
        told += &said(&scene, command, 0);
    }
    for many in ["record", "frame", "file", "stream", "batch", "thing", "place", "line", "byte"] {
        let (number, plural) = (format!(" 1 {many}s"), format!(" 1 {many}es"));
        assert!(!told.contains(&number) && !told.contains(&plural), "{many}: {told}");
    }
    for one in ["1 record in 1 frame", "Stopped; 1 record waiting in the queue", "of 1 stream were"]
    {
        assert!(told.contains(one), "{one}: {told}");
    }
}
