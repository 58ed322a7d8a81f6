//! The built program on a box whose clock is decades off: 1970, as without a battery, and 2040.
//!
//! Time can't be set for one process, and not at all for all of them. So a build for tests reads
//! the seconds to add to its calendar from a file, which the test writes as a person sets a clock.
//! A release has no such thing, so these tests are of test builds only.
#![cfg(debug_assertions)]

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::scene::Scene;
use crate::support::clock::{DAY, SECOND, at};
use crate::support::data::Kind;
use crate::support::ingress::AgeRule;

const VARIABLE: &str = "S1_CORALOGIX_TEST_CLOCK";
const DAY_SECONDS: i64 = DAY / SECOND;
/// No clock can rightly be before this.
const BUILT_AT: &str = env!("S1_CORALOGIX_BUILT_AT");

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn built_at() -> i64 {
    BUILT_AT.parse().unwrap()
}

struct Box {
    scene: Scene,
}

impl Box {
    /// A box between services whose certificates are valid only around the present.
    fn new() -> Box {
        let scene = Scene::new();
        let boxed = Box { scene };
        boxed.renew(built_at() - DAY_SECONDS, now() + 30 * DAY_SECONDS);
        // Late and future entries would be seen.
        boxed.scene.ingress.turn(|knobs| knobs.age = AgeRule::Drop);
        boxed
    }

    fn renew(&self, begins: i64, ends: i64) {
        for server in [&self.scene.tenant().server, &self.scene.ingress.server] {
            server.set_tls(self.scene.authority.server_valid(begins, ends));
        }
    }

    fn set_clock(&self, seconds: i64) {
        self.scene.write_file("shift", &(seconds - now()).to_string());
    }

    fn environment(&self) -> [(&'static str, String); 2] {
        let file = self.scene.path("shift").display().to_string();
        [(VARIABLE, file), ("LANG", "C.UTF-8".to_string())]
    }

    fn run(&mut self) {
        let environment = self.environment();
        self.scene.run_with(&environment);
    }

    fn check(&self) -> Value {
        let ended = self.scene.command_with(&["check", "--json"], &self.environment());
        serde_json::from_str(&ended.out).unwrap_or_else(|why| panic!("{why}\n{}", ended.out))
    }

    fn cause_of(&self, section: usize, step: &str) -> Option<String> {
        let document = self.check();
        let steps = document["sections"][section]["steps"].as_array().unwrap().clone();
        let found = steps.into_iter().find(|told| told["step"] == step).unwrap();
        found["cause"].as_str().map(str::to_string)
    }

    fn warnings_of_the_clock(&self) -> usize {
        let log = self.scene.log();
        log.lines().filter(|l| l.contains("WARN") && l.contains("This machine's clock is")).count()
    }
}

#[test]
fn a_box_that_wakes_in_1970_works_from_its_first_minute() {
    let mut boxed = Box::new();
    boxed.set_clock(10);
    assert_eq!(boxed.cause_of(0, "clock").as_deref(), Some("clock_before_build"));
    assert_eq!(boxed.cause_of(1, "tls"), None);
    assert_eq!(boxed.cause_of(1, "clock").as_deref(), Some("clock_off"));
    boxed.scene.tenant().publish(Kind::Activities, 150);
    boxed.run();
    boxed.scene.settle();
    boxed.scene.wait_status_is("/clock/state", "behind");
    boxed.scene.poll_again();
    assert_eq!(boxed.warnings_of_the_clock(), 1, "{}", boxed.scene.log());
    let status = boxed.scene.status().unwrap();
    let behind = status["clock"]["ahead_seconds"].as_i64().unwrap();
    assert!((behind + now()).abs() < 3_600, "{status:#}");
    let shown = boxed.scene.command(&["status"]);
    assert!(shown.out.contains("behind"), "{}", shown.out);
    boxed.scene.assert_exactly_once();
    // Every entry that Coralogix got has its own time or none, never one of 1970.
    let stored = boxed.scene.ingress.stored();
    assert_eq!(stored.len(), 150);

    // The clock is set while the daemon runs: that is told, and no restart is needed.
    boxed.set_clock(now());
    boxed.scene.tenant().publish(Kind::Activities, 10);
    boxed.scene.settle();
    boxed.scene.wait_log("This machine's clock agrees with the services'");
    boxed.scene.wait_status_is("/clock/state", "right");
    boxed.scene.stop();
}

/// The program is older than the certificates: only what a service told before the power cut helps.
#[test]
fn the_time_that_a_service_told_outlives_a_power_cut() {
    let mut boxed = Box::new();
    let begins = built_at() + DAY_SECONDS / 2;
    if begins > now() {
        println!("this build is younger than half a day, so no certificate is newer than it");
        return;
    }
    boxed.renew(begins, now() + 30 * DAY_SECONDS);
    boxed.set_clock(10);
    assert_eq!(boxed.cause_of(1, "tls").as_deref(), Some("clock_behind"));
    boxed.set_clock(now());
    boxed.scene.tenant().publish(Kind::Activities, 20);
    boxed.run();
    boxed.scene.settle();
    boxed.scene.poll_again();
    boxed.scene.kill();
    assert!(boxed.scene.queue_dir().join("clock").exists());

    boxed.set_clock(10);
    boxed.scene.tenant().publish(Kind::Activities, 20);
    boxed.run();
    boxed.scene.settle();
    assert_eq!(boxed.cause_of(1, "tls"), None);
    boxed.scene.stop();
    boxed.scene.assert_nothing_lost();
}

#[test]
fn a_box_of_2040_says_by_how_much_keeps_everything_and_recovers_when_the_clock_is_set() {
    let mut boxed = Box::new();
    boxed.scene.tenant().publish(Kind::Activities, 120);
    boxed.set_clock(at(2040, 1, 1) / SECOND);
    let days = (at(2040, 1, 1) / SECOND - now()) / DAY_SECONDS;
    assert_eq!(boxed.cause_of(1, "tls").as_deref(), Some("clock_ahead"));
    assert_eq!(boxed.cause_of(2, "tls").as_deref(), Some("clock_ahead"));
    boxed.run();
    boxed.scene.wait_log(&format!("{days}d"));
    boxed.scene.wait_status_is("/clock/state", "ahead");
    assert_eq!(boxed.warnings_of_the_clock(), 1, "{}", boxed.scene.log());
    let status = boxed.scene.status().unwrap();
    let detail = status["integrations"][0]["detail"].as_str().unwrap_or_default();
    let stream = status["streams"][0]["detail"].as_str().unwrap_or_default();
    let told = format!("{detail}{stream}");
    assert!(told.contains("ahead") && told.contains("Set this machine's clock"), "{status:#}");
    assert_eq!(boxed.scene.ledger.balance().delivered, 0);
    let asked = boxed.scene.tenant().seen();
    assert!(asked.iter().all(|seen| seen.header("authorization").is_none()), "{asked:?}");

    boxed.set_clock(now());
    boxed.scene.settle();
    boxed.scene.wait_status_is("/clock/state", "right");
    boxed.scene.stop();
    boxed.scene.assert_exactly_once();
}

/// The clock jumps ahead while records wait: they wait until it is set.
#[test]
fn records_in_the_queue_outlast_a_clock_that_jumps_to_2040() {
    let mut boxed = Box::new();
    boxed.set_clock(now());
    boxed.scene.ingress.server.take_away();
    boxed.scene.tenant().publish(Kind::Activities, 80);
    boxed.run();
    boxed.scene.wait_waiting(80);
    boxed.set_clock(at(2040, 1, 1) / SECOND);
    boxed.scene.tenant().server.drop_connections();
    boxed.scene.ingress.server.bring_back();
    boxed.scene.wait_log("ahead");
    boxed.scene.wait_status_is("/coralogix/reason", "unreachable");
    assert_eq!(boxed.scene.ledger.balance().delivered, 0);
    boxed.set_clock(now());
    boxed.scene.settle();
    boxed.scene.stop();
    boxed.scene.assert_exactly_once();
}
