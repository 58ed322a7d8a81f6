//! Life and death of the process: signals, `run --once`, exit codes, crash loops.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::scene::{PATIENCE, Scene};
use crate::support::data::Kind;
use crate::support::fault::{Fault, On};
use crate::support::tenant::{Closed, Seen};

#[test]
fn sigterm_and_sigint_end_well_with_everything_kept() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut scene = Scene::new();
        scene.ingress.fail(On::Singles, None, Fault::status(503));
        scene.tenant().publish(Kind::Activities, 1_500);
        scene.run();
        scene.wait_waiting(1_500);
        let told = Instant::now();
        let ended = scene.end_with(signal);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(told.elapsed() < Duration::from_secs(10));
        scene.ingress.heal();
        scene.run();
        scene.settle();
        scene.assert_exactly_once();
    }
}

#[test]
fn a_request_in_flight_does_not_outlive_its_timeout_when_told_to_stop() {
    for on_tenant in [true, false] {
        let mut scene = Scene::with(|s| s.be_impatient("3s"));
        if on_tenant {
            scene.tenant().fail(On::Stream(Kind::Activities), None, Fault::Stall);
        } else {
            scene.ingress.fail(On::Singles, None, Fault::Stall);
        }
        scene.tenant().publish(Kind::Activities, 10);
        scene.run();
        let stalled = match on_tenant {
            true => scene.tenant().wait_for(1, PATIENCE, |seen| seen.status == 0),
            false => scene.ingress.wait_for(1, PATIENCE, |got| got.status == 0),
        };
        assert!(stalled, "{}", scene.story());
        let told = Instant::now();
        scene.stop();
        assert!(told.elapsed() < Duration::from_secs(8), "{:?}", told.elapsed());
        scene.tenant().heal();
        scene.ingress.heal();
        scene.once_with_code(0);
        scene.assert_exactly_once();
    }
}

#[test]
fn sigusr1_polls_and_drains_now() {
    let mut scene = Scene::with(|s| s.integrations[0].poll_interval = "1h".to_string());
    scene.tenant().publish(Kind::Activities, 10);
    scene.run();
    scene.settle();
    scene.tenant().publish(Kind::Activities, 10);
    let asked = Instant::now();
    scene.signal(Signal::USR1);
    scene.settle();
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    scene.assert_exactly_once();
}

/// An interface that comes and goes sends one with each `ifup`; each was a request to each service.
#[test]
fn many_sigusr1_within_retry_min_are_one_poll() {
    let pace = Duration::from_secs(3);
    let mut scene = Scene::with(|s| {
        s.integrations[0].poll_interval = "1h".to_string();
        (s.retry_min, s.retry_max) = ("3s".to_string(), "3s".to_string());
    });
    let begun = Instant::now();
    scene.run();
    let count = |seen: &[Seen], kind| seen.iter().filter(|seen| seen.polls(kind)).count();
    let polled = |scene: &Scene, times: usize| {
        for kind in [Kind::Threats, Kind::Activities] {
            scene.wait_while_alive(
                &format!("{} are polled {times} times", kind.name()),
                |within| {
                    scene.tenant().wait(within, |seen| (count(seen, kind) >= times).then_some(()))
                },
            );
        }
    };
    polled(&scene, 1);
    for nth in 1..=20 {
        scene.signal(Signal::USR1);
        // Its line tells that both were heard, so the next is one of its own.
        scene.signal(Signal::HUP);
        scene.wait_while_alive("the signals are heard", |within| {
            let heard = |log: &str| log.matches("S1C-I009").count() >= nth;
            scene.daemon().wait_err_until(heard, within).then_some(())
        });
    }
    polled(&scene, 2);
    // A start counts as a try.
    let seen = scene.tenant().seen();
    let most = begun.elapsed().as_secs() / pace.as_secs();
    for kind in [Kind::Threats, Kind::Activities] {
        let polls = count(&seen, kind) as u64;
        assert!(polls <= most, "{polls} polls of {}, at most {most}", kind.name());
    }
}

#[test]
fn sighup_takes_a_good_new_config_and_tells_a_bad_one_and_keeps_the_old() {
    let mut scene = Scene::with(|s| s.integrations[0].streams = vec!["activities"]);
    scene.tenant().publish(Kind::Activities, 10);
    scene.run();
    scene.settle();
    let good = scene.config();
    scene.write_file("config.toml", &good.replace("poll_interval", "pol_interval"));
    scene.signal(Signal::HUP);
    scene.wait_log("pol_interval");
    scene.tenant().publish(Kind::Activities, 10);
    scene.settle();
    scene.tenant().publish(Kind::Threats, 10);
    scene.settings.integrations[0].streams = vec!["activities", "threats"];
    scene.write_config();
    scene.signal(Signal::HUP);
    scene.settle();
    assert!(scene.daemon().is_running());
    scene.stop();
    scene.assert_exactly_once();
}

#[test]
fn sighup_reads_the_directory_beside_the_config_too() {
    let mut scene = Scene::with(|s| s.integrations[0].streams = vec!["activities"]);
    std::fs::create_dir(scene.path("config.d")).unwrap();
    scene.write_file("config.d/10.toml", "[log]\nlevel = \"loud\"\n");
    let ended = scene.command(&["run"]);
    assert_eq!(ended.code, Some(78), "{}", ended.err);
    assert!(ended.err.contains("config.d/10.toml:2:9: S1C-E"), "{}", ended.err);

    scene.write_file("config.d/10.toml", "[integration]\nname = \"x\"\n");
    assert_eq!(scene.command(&["check", "--offline"]).code, Some(78));
    std::fs::remove_file(scene.path("config.d/10.toml")).unwrap();
    scene.tenant().publish(Kind::Activities, 10);
    scene.run();
    scene.settle();
    // The rest of the config stays as the first file says.
    scene.write_file("config.d/10.toml", "[heartbeat]\nno_such_setting = 1\n");
    scene.signal(Signal::HUP);
    scene.wait_log("config.d/10.toml:2:1: heartbeat.no_such_setting");
    scene.write_file("config.d/10.toml", "[retry]\nmax = \"7m\"\n");
    scene.signal(Signal::HUP);
    scene.wait_log("The new config is in use");
    scene.tenant().publish(Kind::Activities, 10);
    scene.settle();
    let check = scene.command(&["check", "--offline"]);
    assert!(check.out.contains("valid, with 1 file of "), "{}", check.out);
    scene.stop();
    scene.assert_exactly_once();
}

#[test]
fn once_ends_with_75_when_coralogix_cant_be_reached_and_keeps_everything() {
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 1_200);
    scene.ingress.server.take_away();
    scene.once_with_code(75);
    // SentinelOne need not be asked again: the records are here.
    scene.tenant().server.take_away();
    scene.ingress.server.bring_back();
    scene.once_with_code(75);
    assert!(scene.ledger.wait_complete(PATIENCE), "drained from the queue\n{}", scene.story());
    scene.tenant().server.bring_back();
    scene.once_with_code(0);
    scene.assert_exactly_once();
}

#[test]
fn once_ends_with_77_when_a_credential_or_permission_is_refused() {
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 100);
    let key = scene.ingress.key();
    scene.ingress.accept_only_key("another");
    scene.once_with_code(77);
    scene.ingress.accept_only_key(&key);
    scene.tenant().turn(|knobs| {
        knobs.closed.insert(Kind::Threats, Closed::Forbidden);
    });
    scene.once_with_code(77);
    assert!(scene.ledger.wait_complete(PATIENCE), "the other stream went on\n{}", scene.story());
    scene.tenant().revoke_all_tokens();
    scene.once_with_code(77);
    let token = scene.tenant().rotate_token(1 << 50);
    scene.tenant().turn(|knobs| knobs.closed.clear());
    scene.write_token(0, &token);
    scene.once_with_code(0);
    scene.assert_exactly_once();
}

#[test]
fn once_drains_what_a_daemon_left_behind() {
    let mut scene = Scene::new();
    scene.ingress.fail(On::Singles, None, Fault::status(503));
    scene.tenant().publish(Kind::Threats, 2_100);
    scene.run();
    scene.wait_waiting(2_100);
    scene.kill();
    scene.ingress.heal();
    scene.once_with_code(0);
    assert_eq!(scene.ledger.balance().delivered, 2_100);
    scene.assert_exactly_once();
}

#[test]
fn a_crash_loop_hammers_nobody() {
    let mut scene = Scene::with(|s| {
        s.retry_min = "500ms".to_string();
        s.retry_max = "2s".to_string();
    });
    scene.ingress.fail(On::Singles, None, Fault::status(503));
    scene.tenant().publish(Kind::Activities, 10);
    scene.run();
    scene.wait_waiting(10);
    scene.kill();
    let (asked, sent) = (scene.tenant().requests(), scene.ingress.requests());
    let begun = Instant::now();
    for _ in 0..8 {
        scene.run();
        scene.wait_up();
        scene.kill();
    }
    let allowed = 8 + usize::try_from(begun.elapsed().as_millis() / 250).unwrap();
    let (asked, sent) = (scene.tenant().requests() - asked, scene.ingress.requests() - sent);
    assert!(asked <= 3 * allowed && sent <= allowed, "{asked} and {sent} requests in 8 lives");
}

#[test]
fn a_condition_that_lasts_is_told_once() {
    let mut scene = Scene::with(|s| s.log_level = "info".to_string());
    scene.ingress.fail(On::Singles, None, Fault::status(503));
    scene.tenant().publish(Kind::Activities, 10);
    scene.run();
    assert!(scene.ingress.wait_for(20, PATIENCE, |got| got.status == 503));
    let lines = scene.log().lines().filter(|line| line.contains("Coralogix")).count();
    assert!(lines <= 3, "{lines} lines\n{}", scene.log());
}

/// A text without its line ends.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn settings_that_a_reload_refuses_are_told_by_status_until_good_ones_come() {
    let mut scene = Scene::new();
    scene.run();
    scene.wait_healthy();
    scene.wait_status_is("/settings_refused", "null");
    let good = scene.config();
    let ca = good.replacen("ca_file = \"", "ca_file = \"/nonexistent", 1);
    assert_ne!(ca, good);
    for (bad, why) in [
        (good.replacen("[network]", "[network]\nno_such_setting = 1", 1), "S1C-E304"),
        (ca, "failed to read network.ca_file /nonexistent"),
    ] {
        scene.write_file("config.toml", &bad);
        scene.signal(Signal::HUP);
        scene.wait_while_alive("the refusal is told", |within| {
            scene.wait_status(within, |status| {
                let text = status.pointer("/settings_refused/text")?.as_str()?;
                text.contains(why).then_some(())
            })
        });
        // Whoever asks may be told another config than the one that is wrong now.
        scene.write_file("config.toml", &good);
        let told = words(&scene.command(&["status"]).out);
        assert!(told.contains("New settings are rejected since") && told.contains(why), "{told}");
        scene.signal(Signal::HUP);
        scene.wait_status_is("/settings_refused", "null");
    }
    // What starts it made no config of settings that are wrong.
    scene.write_file("config.refused", "no_such_setting\nis unknown\n");
    let told = words(&scene.command(&["status"]).out);
    assert!(told.contains("are in effect: no_such_setting is unknown"), "{told}");
    let told = scene.command(&["status", "--json"]).out;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["settings_refused"]["code"], "S1C-E010", "{told}");
    assert!(told["settings_refused"]["since"].as_str().is_some_and(|since| since > "2020"));
    scene.settle();
    scene.assert_exactly_once();
}
