//! A config that was changed: an integration renamed, a tenant at another address or another tenant, a
//! stream taken out and put back, a queue in another directory. No position is lost or misapplied
//! without a word.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use rustix::process::Signal;
use serde_json::Value;

use crate::scene::Scene;
use crate::support::clock::{DAY, HOUR};
use crate::support::data::Kind;

/// One stream, so that each record is told by its number alone, and what is late is not found by
/// counting.
fn one_stream() -> Scene {
    Scene::with(|s| {
        s.integrations[0].streams = vec!["activities"];
        s.integrations[0].reconcile = "0s".to_string();
    })
}

/// The first integration is called otherwise from now on.
fn rename(scene: &mut Scene, name: &str, name_was: Option<&str>) {
    scene.settings.integrations[0].name = name.to_string();
    scene.settings.integrations[0].name_was = name_was.map(str::to_string);
    let token = scene.tenant().token();
    scene.write_token(0, &token);
    scene.write_config();
}

fn says(scene: &Scene, args: &[&str], code: i32) -> String {
    let ended = scene.command(args);
    assert_eq!(ended.code, Some(code), "{args:?}\n{}{}", ended.out, ended.err);
    format!("{}{}", ended.out, ended.err)
}

/// 50 records collected, then 100 more while the box is off for three days; `start` is a day.
fn off_for_three_days(scene: &mut Scene) {
    scene.tenant().publish(Kind::Activities, 50);
    scene.once_with_code(0);
    scene.pass(DAY);
    scene.tenant().publish(Kind::Activities, 50);
    scene.pass(3 * DAY);
    scene.tenant().publish(Kind::Activities, 50);
}

fn gaps(scene: &Scene) -> Vec<Value> {
    scene.ledger.look(|book| {
        let notes = book.notes.iter().map(|text| serde_json::from_str::<Value>(text).unwrap());
        let words = notes.map(|mut word| word["collector"].take());
        words.filter(|word| word["type"] == "gap").collect()
    })
}

#[test]
fn a_renamed_integration_goes_on_where_it_was() {
    let mut scene = one_stream();
    off_for_three_days(&mut scene);
    rename(&mut scene, "acme-two", Some("acme"));
    scene.once_with_code(0);
    scene.assert_exactly_once();
    let log = scene.log();
    assert!(
        log.contains("S1C-I222 stream-adopted: acme/activities is now acme-two/activities"),
        "{log}"
    );
    assert!(!log.contains("S1C-W221"), "{log}");
    // Said again it does nothing, and without it all goes on.
    scene.once_with_code(0);
    rename(&mut scene, "acme-two", None);
    scene.once_with_code(0);
    scene.assert_exactly_once();
    assert_eq!(scene.log().matches("S1C-I222").count(), 1, "{}", scene.log());
    assert_eq!(gaps(&scene), Vec::<Value>::new());
}

#[test]
fn what_is_queued_under_the_old_name_is_delivered_once() {
    let mut scene = Scene::new();
    scene.ingress.server.take_away();
    scene.tenant().publish(Kind::Activities, 700);
    scene.tenant().publish(Kind::Threats, 40);
    scene.run();
    scene.wait_waiting(740);
    scene.kill();
    rename(&mut scene, "acme-two", Some("acme"));
    scene.run();
    scene.wait_log("S1C-I222");
    scene.tenant().publish(Kind::Activities, 30);
    scene.kill();
    scene.ingress.server.bring_back();
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.stop();
    scene.assert_exactly_once();
}

#[test]
fn a_running_daemon_adopts_after_sighup() {
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 30);
    scene.run();
    scene.settle();
    rename(&mut scene, "acme-two", Some("acme"));
    scene.signal(Signal::HUP);
    scene.wait_log("S1C-I222");
    scene.tenant().publish(Kind::Activities, 30);
    scene.settle();
    scene.poll_again();
    scene.stop();
    scene.assert_exactly_once();
}

#[test]
fn a_new_name_alone_is_told_and_what_it_passes_over_is_a_gap_until_it_is_adopted() {
    let mut scene = one_stream();
    off_for_three_days(&mut scene);
    rename(&mut scene, "acme-two", None);
    let check = says(&scene, &["check"], 0);
    assert!(check.contains("S1C-W553") && check.contains("name_was = \"acme\""), "{check}");
    let json: Value = serde_json::from_str(&scene.command(&["check", "--json"]).out).unwrap();
    let step = &json["sections"][0]["steps"].as_array().unwrap()[2];
    assert_eq!((&step["step"], &step["cause"]), (&"positions".into(), &"stream_orphaned".into()));

    scene.run();
    scene.wait_delivered(100);
    scene.wait_status_is("/gaps/count", "1");
    scene.wait_status_is("/gaps/untold", "0");
    scene.wait_status_is("/queue/waiting", "0");
    let status = scene.status().unwrap();
    assert_eq!(status["orphans"][0]["name"], "acme/activities", "{status:#}");
    assert_eq!(status["orphans"][0]["tenant"], scene.tenant().url());
    assert_eq!(status["gaps"]["latest"][0]["reason"], "config_changed");
    let shown = says(&scene, &["status"], 0);
    assert!(shown.contains("S1C-W221 acme/activities was collected up to"), "{shown}");
    let stats = says(&scene, &["queue", "stats"], 0);
    assert!(
        stats.contains("no integration in the config continues from:\nacme/activities"),
        "{stats}"
    );
    let stats: Value =
        serde_json::from_str(&says(&scene, &["queue", "stats", "--json"], 0)).unwrap();
    assert_eq!(stats["orphans"][0]["name"], "acme/activities", "{stats:#}");
    scene.stop();
    let log = scene.log();
    assert_eq!(log.matches("S1C-W221 stream-orphaned: acme/activities").count(), 1, "{log}");
    assert!(log.contains("S1C-E224 A gap in acme-two/activities"), "{log}");
    let told = gaps(&scene);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["from"], status["orphans"][0]["position"]);
    assert_eq!(scene.ledger.balance().lost, 50);

    // What the message says: nothing is missing any more, and the gap is none.
    rename(&mut scene, "acme-two", Some("acme"));
    scene.run();
    scene.settle();
    scene.wait_status_is("/gaps/count", "0");
    scene.wait_status_is("/gaps/untold", "0");
    scene.wait_status_is("/queue/waiting", "0");
    scene.stop();
    scene.assert_nothing_lost();
    assert_eq!(gaps(&scene).last().unwrap()["closed"], true);
    assert!(!says(&scene, &["check"], 0).contains("S1C-W553"));
}

#[test]
fn an_earlier_beginning_under_a_new_name_is_no_gap() {
    let mut scene = one_stream();
    scene.tenant().publish(Kind::Activities, 20);
    scene.once_with_code(0);
    rename(&mut scene, "acme-two", None);
    scene.tenant().publish(Kind::Activities, 20);
    scene.once_with_code(0);
    scene.assert_nothing_lost();
    assert_eq!(gaps(&scene), Vec::<Value>::new());
}

#[test]
fn streams_are_adopted_by_hand_as_well() {
    let mut scene = one_stream();
    off_for_three_days(&mut scene);
    rename(&mut scene, "acme-two", None);
    for (args, code, words) in [
        (&["queue", "adopt"][..], 2, "S1C-E405"),
        (&["queue", "adopt", "acme", "acme-two", "--begin-anew"], 2, "S1C-E411"),
        (&["queue", "adopt", "acme", "acme-three"], 1, "S1C-E433"),
        (&["queue", "adopt", "acme-two", "acme-two"], 1, "S1C-E433"),
        (&["queue", "adopt", "acme"], 1, "queue adopt acme NEW"),
        (&["queue", "adopt", "acme-two"], 1, "S1C-E432"),
        (&["queue", "adopt", "nobody", "acme-two"], 1, "not in the config: acme/activities"),
        (&["queue", "adopt", "acme", "acme-two"], 0, "acme/activities is now acme-two/activities"),
        (&["queue", "adopt", "acme", "acme-two"], 1, "S1C-E432"),
        (&["queue", "adopt", "acme-two"], 0, "nothing was changed"),
    ] {
        let text = says(&scene, args, code);
        assert!(text.contains(words), "{args:?}: {text}");
    }
    scene.once_with_code(0);
    scene.assert_exactly_once();
    assert_eq!(gaps(&scene), Vec::<Value>::new());
}

#[test]
fn a_position_that_nobody_wants_is_forgotten_with_a_gap() {
    let mut scene = one_stream();
    scene.tenant().publish(Kind::Activities, 5);
    scene.once_with_code(0);
    rename(&mut scene, "acme-two", None);
    let text = says(&scene, &["queue", "adopt", "acme", "--begin-anew"], 0);
    assert!(text.contains("acme/activities is discarded"), "{text}");
    scene.once_with_code(0);
    assert!(!scene.log().contains("S1C-W221"), "{}", scene.log());
    let told = gaps(&scene);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["stream"], &told[0]["to"]), (&"acme/activities".into(), &Value::Null));
}

/// What collected from one tenant, and a config that has another one under the same name. The other
/// one's records are older than the position.
fn another_tenant() -> Scene {
    let mut scene = Scene::with(|s| {
        let mut other = s.integrations[0].clone();
        other.name = "other".to_string();
        s.integrations.push(other);
        s.integrations.iter_mut().for_each(|one| one.reconcile = "0s".to_string());
    });
    let other = scene.settings.integrations.pop().unwrap();
    scene.write_config();
    scene.tenants[1].publish(Kind::Activities, 30);
    scene.pass(HOUR);
    scene.tenants[0].publish(Kind::Activities, 20);
    scene.once_with_code(0);
    scene.tenants.swap(0, 1);
    scene.write_token(0, &scene.tenant().token());
    scene.write_config();
    drop(other);
    scene
}

#[test]
fn another_tenant_under_the_same_name_is_not_polled_before_a_person_has_spoken() {
    let mut scene = another_tenant();
    let urls = [scene.tenants[1].url(), scene.tenants[0].url()];
    let check: Value = serde_json::from_str(&says(&scene, &["check", "--json"], 78)).unwrap();
    let step = &check["sections"][1]["steps"][0];
    assert_eq!((&step["cause"], &step["code"]), (&"tenant_changed".into(), &"S1C-E552".into()));
    let offline = says(&scene, &["check", "--offline"], 78);
    for words in [urls[0].as_str(), &urls[1], "queue adopt acme,", "queue adopt acme --begin-anew"]
    {
        assert!(offline.contains(words), "{words}\n{offline}");
    }
    // What `check` asks is not counted.
    let polls = |scene: &Scene| scene.tenant().seen().iter().filter(|s| s.kind.is_some()).count();
    let before = polls(&scene);
    scene.once_with_code(78);
    let log = scene.log();
    let line = format!("(collected from {}, now {}; confirm it", urls[0], urls[1]);
    assert!(log.contains("S1C-E220 acme/activities") && log.contains(&line), "{log}");
    assert!(log.contains("S1C-E029"), "{log}");
    assert_eq!(polls(&scene), before);

    // The daemon goes on with everything else, and nobody's hurry makes it poll.
    scene.run();
    scene.wait_status_is("/streams/1/reason", "tenant_changed");
    scene.wait_status_is("/state", "stuck");
    scene.hurry();
    let text = says(&scene, &["status"], 1);
    assert!(text.contains("address changed") && text.contains("S1C-E220"), "{text}");
    assert!(says(&scene, &["queue", "adopt", "acme"], 1).contains("Stop it first"));
    scene.stop();
    assert_eq!(polls(&scene), before, "{}", scene.story());

    let text = says(&scene, &["queue", "adopt", "acme", "--begin-anew"], 0);
    assert!(text.contains("acme/activities is discarded"), "{text}");
    scene.once_with_code(0);
    scene.assert_exactly_once();
    let told = gaps(&scene);
    assert!(told.iter().all(|gap| gap["reason"] == "config_changed"), "{told:?}");
    assert_eq!(told.len(), 2, "one a stream: {told:?}");
    says(&scene, &["check"], 0);
}

/// An export takes the addresses along, so another machine holds what this one would have held.
#[test]
fn an_imported_position_of_another_tenant_is_not_polled_either() {
    let mut scene = another_tenant();
    let urls = [scene.tenants[1].url(), scene.tenants[0].url()];
    let file = scene.path("queue.export").display().to_string();
    says(&scene, &["queue", "export", &file], 0);
    fs::rename(scene.queue_dir(), scene.path("old-machine")).unwrap();
    let text = says(&scene, &["queue", "import", &file], 0);
    assert!(!text.contains("S1C-W"), "{text}");
    says(&scene, &["check", "--offline"], 78);
    for _ in 0..2 {
        scene.once_with_code(78);
    }
    let log = scene.log();
    let line = format!("collected from {}, now {}", urls[0], urls[1]);
    assert!(log.contains("S1C-E220 acme/activities") && log.contains(&line), "{log}");

    rename(&mut scene, "acme-two", None);
    let stats = says(&scene, &["queue", "stats"], 0);
    assert!(stats.contains(&format!("  from {}", urls[0])), "{stats}");
    rename(&mut scene, "acme", None);
    says(&scene, &["queue", "adopt", "acme", "--begin-anew"], 0);
    scene.once_with_code(0);
    scene.assert_exactly_once();
}

/// Each integration's positions are of the address that the other one has now, so the config shows
/// that a confirmation would be wrong: it would pass over records without a gap.
#[test]
fn swapped_names_are_not_confirmed_and_go_on_once_they_are_swapped_back() {
    let mut scene = Scene::with(|s| {
        let mut other = s.integrations[0].clone();
        other.name = "other".to_string();
        s.integrations.push(other);
    });
    let swap = |scene: &mut Scene| {
        scene.tenants.swap(0, 1);
        for nth in [0, 1] {
            scene.write_token(nth, &scene.tenants[nth].token());
        }
        scene.write_config();
    };
    scene.tenants[0].publish(Kind::Activities, 20);
    scene.once_with_code(0);
    scene.pass(HOUR);
    scene.tenants[1].publish(Kind::Activities, 20);
    scene.once_with_code(0);
    swap(&mut scene);
    scene.once_with_code(78);
    let log = scene.log();
    let remedy = "give each integration its former name back";
    assert!(log.contains("S1C-E220 acme/activities") && log.contains(remedy), "{log}");
    assert!(!log.contains("queue adopt"), "{log}");
    for args in [&["check", "--offline"][..], &["queue", "adopt", "acme"]] {
        let text = says(&scene, args, if args[0] == "check" { 78 } else { 1 });
        assert!(text.contains(remedy), "{text}");
    }
    let text = says(&scene, &["queue", "adopt", "other"], 1);
    assert!(text.contains("S1C-E433") && text.contains("acme"), "{text}");
    swap(&mut scene);
    scene.tenants[0].publish(Kind::Activities, 20);
    scene.once_with_code(0);
    scene.assert_exactly_once();
}

#[test]
fn one_tenant_under_a_new_address_goes_on_once_that_is_confirmed() {
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 20);
    scene.tenant().publish(Kind::Threats, 20);
    scene.once_with_code(0);
    let url = scene.tenant().url();
    let moved = url.replace("localhost", "127.0.0.1");
    assert_ne!(url, moved);
    scene.write_file("config.toml", &scene.config().replace(&url, &moved));
    scene.tenant().publish(Kind::Activities, 20);
    scene.once_with_code(78);
    let text = says(&scene, &["queue", "adopt", "acme"], 0);
    assert!(text.contains(&format!("kept for {moved}")), "{text}");
    scene.once_with_code(0);
    scene.assert_exactly_once();
    // A mistyped address needs no command: the right one is not another one.
    scene.write_file("config.toml", &scene.config().replace(&url, "https://nowhere.invalid"));
    scene.once_with_code(78);
    scene.write_file("config.toml", &scene.config().replace(&url, &moved));
    scene.once_with_code(0);
    scene.assert_exactly_once();
    assert_eq!(gaps(&scene), Vec::<Value>::new());
}

#[test]
fn other_integrations_go_on_while_one_is_held() {
    let mut scene = Scene::with(|s| {
        let mut other = s.integrations[0].clone();
        other.name = "other".to_string();
        s.integrations.push(other);
    });
    scene.tenants[0].publish(Kind::Activities, 5);
    scene.once_with_code(0);
    let url = scene.tenant().url();
    let moved = url.replace("localhost", "127.0.0.1");
    scene.write_file("config.toml", &scene.config().replace(&url, &moved));
    scene.tenants[1].publish(Kind::Activities, 25);
    scene.once_with_code(78);
    scene.assert_exactly_once();
}

#[test]
fn a_stream_taken_out_and_put_back_goes_on_whatever_start_says() {
    let mut scene = Scene::with(|s| s.integrations[0].reconcile = "0s".to_string());
    scene.tenant().publish(Kind::Activities, 20);
    scene.tenant().publish(Kind::Threats, 20);
    scene.once_with_code(0);
    scene.settings.integrations[0].streams = vec!["threats"];
    scene.write_config();
    scene.tenant().publish(Kind::Activities, 20);
    scene.once_with_code(0);
    let log = scene.log();
    assert!(log.contains("S1C-W221 stream-orphaned: acme/activities"), "{log}");
    assert!(log.contains("Put \"activities\" back into its streams"), "{log}");
    scene.pass(2 * DAY);
    scene.tenant().publish(Kind::Activities, 20);
    scene.settings.integrations[0].streams = vec!["threats", "activities"];
    scene.settings.integrations[0].start = "now".to_string();
    scene.write_config();
    scene.once_with_code(0);
    scene.assert_exactly_once();
}

#[test]
fn a_queue_that_was_left_behind_is_told_of() {
    let mut scene = Scene::new();
    scene.ingress.server.take_away();
    scene.tenant().publish(Kind::Activities, 33);
    scene.once_with_code(75);
    let (was, now) = (scene.queue_dir(), scene.path("queue-two"));
    let config = scene.config().replace(was.to_str().unwrap(), now.to_str().unwrap());
    // Moved with all that is in it, nothing is left behind.
    fs::rename(&was, &now).unwrap();
    scene.write_file("config.toml", &config);
    scene.once_with_code(75);
    assert!(!scene.log().contains("S1C-W028"), "{}", scene.log());
    fs::rename(&now, scene.path("queue-three")).unwrap();
    let config = config.replace("queue-two\"", "queue-four\"");
    fs::rename(scene.path("queue-three"), &now).unwrap();
    scene.write_file("config.toml", &config);
    scene.once_with_code(75);
    let log = scene.log();
    let line = format!(
        "S1C-W028 queue.dir changed from {} to {}: 33 records waiting and the positions of 2 \
         streams are in the old directory",
        now.display(),
        scene.path("queue-four").display()
    );
    assert!(log.contains(&line), "{line}\n{log}");
    scene.once_with_code(75);
    assert_eq!(scene.log().matches("S1C-W028").count(), 1, "once: {}", scene.log());
}

#[test]
fn what_waits_in_a_queue_left_behind_is_told_until_it_is_delivered_and_what_is_passed_over_is_a_gap()
 {
    let mut scene = one_stream();
    scene.ingress.server.take_away();
    scene.tenant().publish(Kind::Activities, 33);
    scene.once_with_code(75);
    scene.pass(DAY);
    scene.tenant().publish(Kind::Activities, 20);
    scene.pass(3 * DAY);
    scene.tenant().publish(Kind::Activities, 5);
    let (was, now) = (scene.queue_dir(), scene.path("queue-two"));
    let before = scene.config();
    let after = before.replace(was.to_str().unwrap(), now.to_str().unwrap());
    scene.write_file("config.toml", &after);
    let check = says(&scene, &["check", "--offline"], 0);
    let held = format!(
        "queue.dir was {} at the last run, and {} is new: 33 records waiting and the positions of 1 \
         stream are in the old directory",
        was.display(),
        now.display()
    );
    assert!(check.contains(&held) && check.contains("Set queue.dir back"), "{check}");
    assert!(check.contains("[S1C-W557]"), "{check}");
    scene.ingress.server.bring_back();

    scene.run();
    scene.wait_delivered(5);
    scene.wait_status_is("/gaps/count", "1");
    scene.wait_status_is("/gaps/untold", "0");
    scene.wait_status_is("/queue/waiting", "0");
    scene.stop();
    assert_eq!(scene.status().unwrap()["gaps"]["latest"][0]["reason"], "config_changed");
    assert_eq!(scene.ledger.balance().lost, 53);
    // Only the queue itself knows it now.
    fs::remove_file(scene.path("status.json")).unwrap();
    scene.run();
    scene.wait_status_is("/coralogix/reason", "queue_left_behind");
    scene.wait_status_is("/state", "degraded");
    let held = format!("33 records in {}", was.display());
    let shown = says(&scene, &["status"], 1);
    assert!(shown.contains("S1C-W047") && shown.contains(was.to_str().unwrap()), "{shown}");
    scene.stop();
    assert!(scene.log().contains(&held), "{}", scene.log());
    let check = says(&scene, &["check", "--offline"], 0);
    let told = format!("queue.dir was {} before: 33 records waiting there", was.display());
    assert!(check.contains(&told), "{check}");

    // What the message says: nothing is missing any more, and nothing is told any more.
    scene.write_file("config.toml", &before);
    scene.once_with_code(0);
    scene.assert_nothing_lost();
    scene.write_file("config.toml", &after);
    scene.run();
    scene.wait_status_is("/state", "healthy");
    scene.stop();
    let check = says(&scene, &["check", "--offline"], 0);
    assert!(!check.contains("S1C-W557"), "{check}");
}

#[test]
fn of_a_queue_that_is_gone_the_status_file_says_what_is_passed_over() {
    let mut scene = one_stream();
    scene.tenant().publish(Kind::Activities, 20);
    scene.once_with_code(0);
    let position = scene.status().unwrap()["streams"][0]["position"].clone();
    scene.pass(3 * DAY);
    let (was, now) = (scene.queue_dir(), scene.path("queue-two"));
    fs::remove_dir_all(&was).unwrap();
    let config = scene.config().replace(was.to_str().unwrap(), now.to_str().unwrap());
    scene.write_file("config.toml", &config);
    scene.tenant().publish(Kind::Activities, 5);
    scene.once_with_code(0);
    let gap = scene.status().unwrap()["gaps"]["latest"][0].clone();
    assert_eq!((&gap["reason"], &gap["from"]), (&"config_changed".into(), &position));
    assert_eq!(scene.status().unwrap()["state"], "healthy");
}

#[test]
fn what_root_adopts_belongs_to_the_queues_owner() {
    const SOMEBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        crate::support::skip::skipped("only root can give files away");
        return;
    }
    let mut scene = one_stream();
    scene.tenant().publish(Kind::Activities, 5);
    scene.once_with_code(0);
    rename(&mut scene, "acme-two", None);
    let files = |scene: &Scene| {
        let mut found = vec![scene.queue_dir()];
        let mut at = 0;
        while at < found.len() {
            if found[at].is_dir() {
                found.extend(fs::read_dir(&found[at]).unwrap().map(|entry| entry.unwrap().path()));
            }
            at += 1;
        }
        found
    };
    files(&scene).iter().for_each(|path| chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap());
    says(&scene, &["queue", "adopt", "acme", "acme-two"], 0);
    for path in files(&scene) {
        assert_eq!(fs::metadata(&path).unwrap().uid(), SOMEBODY, "{}", path.display());
    }
}
