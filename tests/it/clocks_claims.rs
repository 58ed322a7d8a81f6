//! What a wrong clock of one service may do, and what not: a `Date` is a claim.
#![cfg(debug_assertions)]

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::scene::Scene;
use crate::support::clock::{DAY, HOUR, SECOND, iso};
use crate::support::data::Kind;
use crate::support::fault::{Fault, On};
use crate::support::ingress::AgeRule;

/// A machine's clock for test builds: a file with the seconds to add.
const VARIABLE: &str = "S1_CORALOGIX_TEST_CLOCK";
const DAY_SECONDS: i64 = DAY / SECOND;

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// The environment of a machine whose clock is this far off.
fn machine_off_by(scene: &Scene, seconds: i64) -> [(&'static str, String); 2] {
    scene.write_file("shift", &seconds.to_string());
    let file = scene.path("shift").display().to_string();
    [(VARIABLE, file), ("LANG", "C.UTF-8".to_string())]
}

fn run_off_by(scene: &mut Scene, seconds: i64) {
    let environment = machine_off_by(scene, seconds);
    scene.run_with(&environment);
}

/// A tenant with a certificate for years and a clock far ahead, and a sink whose certificate ends
/// before that.
fn between_a_lying_tenant_and_a_short_certificate() -> Scene {
    let scene = Scene::new();
    let begins = now() - 10 * DAY_SECONDS;
    let years = scene.authority.server_valid(begins, now() + 400 * DAY_SECONDS);
    scene.tenant().server.set_tls(years);
    let weeks = scene.authority.server_valid(begins, now() + 30 * DAY_SECONDS);
    scene.ingress.server.set_tls(weeks);
    scene.tenant().set_clock_ahead(100 * DAY);
    scene.tenant().publish(Kind::Activities, 40);
    scene
}

#[test]
fn a_tenant_that_is_far_ahead_shuts_coralogix_out_neither_now_nor_after_a_restart() {
    let mut scene = between_a_lying_tenant_and_a_short_certificate();
    scene.run();
    scene.wait_delivered(1);
    assert!(!scene.queue_dir().join("clock").exists(), "one service's word is not kept");
    scene.stop();
    // What an earlier version kept of it harms nobody either.
    scene.write_file("queue/clock", &format!("{}\n", iso((now() + 100 * DAY_SECONDS) * SECOND)));
    scene.tenant().publish(Kind::Activities, 10);
    scene.run();
    scene.settle();
    assert!(!scene.log().contains("checked at"), "{}", scene.log());
    scene.stop();
    scene.assert_nothing_lost();
}

/// The same on a box without a clock of its own, for which one claim is all it has at first.
#[test]
fn nor_on_a_machine_that_wakes_in_1970() {
    let mut scene = between_a_lying_tenant_and_a_short_certificate();
    run_off_by(&mut scene, 10 - now());
    scene.wait_delivered(1);
    assert!(!scene.log().contains("checked at"), "{}", scene.log());
    scene.stop();
}

/// A virtual machine is paused for three days: its clocks stand still, the services' go on. The sink
/// was away when it began, and drops what is dated too early with a 200.
#[test]
fn after_a_pause_of_the_machine_nothing_is_sent_with_the_time_of_before() {
    let mut scene = Scene::with(|settings| settings.integrations[0].streams = vec!["activities"]);
    scene.ingress.turn(|knobs| knobs.age = AgeRule::Drop);
    scene.tenant().publish(Kind::Activities, 5);
    scene.run();
    scene.settle();
    scene.ingress.server.take_away();
    scene.tenant().publish(Kind::Activities, 550);
    scene.wait_waiting(550);
    scene.wait_status_is("/coralogix/reason", "unreachable");
    scene.tenant().set_clock_ahead(3 * DAY);
    scene.ingress.clock().set_ahead_us(3 * DAY);
    scene.ingress.server.bring_back();
    scene.settle();
    assert_eq!(scene.ingress.look(|state| state.dropped), 0, "{}", scene.story());
    scene.stop();
    scene.assert_nothing_lost();
}

/// The same where the sink was never away: only the tenant's next answer shows the pause.
#[test]
fn a_pause_shows_in_the_answer_that_brings_the_records() {
    let mut scene = Scene::with(|settings| settings.integrations[0].streams = vec!["activities"]);
    scene.ingress.turn(|knobs| knobs.age = AgeRule::Drop);
    scene.tenant().publish(Kind::Activities, 5);
    scene.run();
    scene.settle();
    // Published before the pause, seen after it.
    scene.tenant().server.take_away();
    scene.tenant().publish(Kind::Activities, 300);
    scene.tenant().set_clock_ahead(3 * DAY);
    scene.ingress.clock().set_ahead_us(3 * DAY);
    scene.tenant().server.bring_back();
    scene.settle();
    assert_eq!(scene.ingress.look(|state| state.dropped), 0, "{}", scene.story());
    scene.stop();
    scene.assert_nothing_lost();
}

/// A tenant two days ahead dates its records so. Until Coralogix itself has told the time nothing is
/// dated by the tenant's.
#[test]
fn the_first_record_goes_alone_and_without_a_time_though_a_tenant_has_told_one() {
    let mut scene = Scene::with(|settings| settings.integrations[0].streams = vec!["activities"]);
    scene.ingress.turn(|knobs| knobs.age = AgeRule::Drop);
    scene.tenant().set_clock_ahead(2 * DAY);
    scene.tenant().publish(Kind::Activities, 60);
    for _ in 0..2 {
        scene.run();
        scene.wait_delivered(60);
        scene.stop();
        scene.tenant().publish(Kind::Activities, 60);
        scene.run();
        scene.settle();
        scene.stop();
    }
    assert_eq!(scene.ingress.look(|state| state.dropped), 0, "{}", scene.story());
    let got = scene.ingress.got();
    assert_eq!(got[0].entries, 1, "the first goes alone");
    scene.assert_nothing_lost();
}

/// A box whose clock was saved three days ago and restored: no service has told the time yet.
#[test]
fn a_machine_that_is_days_behind_dates_nothing_by_its_own_clock() {
    let mut scene = Scene::with(|settings| {
        settings.integrations[0].streams = vec!["activities"];
        settings.integrations[0].start = "48h".to_string();
    });
    scene.ingress.turn(|knobs| knobs.age = AgeRule::Drop);
    scene.tenant().publish_between(
        Kind::Activities,
        30,
        now() * SECOND - 26 * HOUR,
        now() * SECOND - 25 * HOUR,
        |_| {},
    );
    run_off_by(&mut scene, -3 * DAY_SECONDS);
    scene.settle();
    assert_eq!(scene.ingress.look(|state| state.dropped), 0, "{}", scene.story());
    scene.stop();
    scene.assert_nothing_lost();
}

/// What Coralogix drops for its age by the true time, under a 200 that says nothing of it, whatever its `Date`
/// says.
fn drops_by_the_true_time(scene: &Scene, date_ahead: (i64, Option<u32>)) {
    scene.ingress.turn(|knobs| {
        knobs.age = AgeRule::DropUnsaid;
        knobs.date_ahead = date_ahead;
    });
}

fn assert_nothing_was_dropped(scene: &Scene) {
    assert_eq!(scene.ingress.look(|state| state.dropped), 0, "{}", scene.story());
}

fn a_wrong_clock_of_coralogix_dates_nothing(ahead: i64) {
    let mut scene = Scene::with(|settings| {
        settings.integrations[0].streams = vec!["activities"];
        settings.integrations[0].start = "72h".to_string();
    });
    drops_by_the_true_time(&scene, (ahead, None));
    let old = (now() * SECOND - 40 * HOUR, now() * SECOND - 39 * HOUR);
    scene.tenant().publish_between(Kind::Activities, 300, old.0, old.1, |_| {});
    scene.tenant().publish(Kind::Activities, 300);
    scene.run();
    scene.settle();
    scene.wait_status_is("/coralogix/reason", "clocks_disagree");
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    let told = format!("{way} this machine's and SentinelOne's");
    scene.wait_log("S1C-W147 Coralogix: its clock disagrees with others (it is 1d ");
    let detail = scene.status_told()["coralogix"]["detail"].to_string();
    assert!(detail.contains(&told), "{detail}");
    let sent = scene.ingress.requests();
    assert!(sent <= 10, "{sent} requests for 600 records");
    assert_nothing_was_dropped(&scene);
    scene.ingress.turn(|knobs| knobs.date_ahead = (0, None));
    scene.tenant().publish(Kind::Activities, 5);
    scene.settle();
    scene.wait_status_is("/state", "healthy");
    scene.stop();
    assert_nothing_was_dropped(&scene);
    scene.assert_exactly_once();
}

#[test]
fn coralogix_30_hours_behind_is_outvoted_and_dates_nothing() {
    a_wrong_clock_of_coralogix_dates_nothing(-30 * HOUR);
}

#[test]
fn coralogix_30_hours_ahead_is_outvoted_and_dates_nothing() {
    a_wrong_clock_of_coralogix_dates_nothing(30 * HOUR);
}

/// Nobody speaks against Coralogix' clock, and nobody for it.
#[test]
fn coralogix_alone_dates_nothing_on_a_machine_of_1970_whose_tenant_tells_no_time() {
    let mut scene = Scene::with(|settings| settings.integrations[0].streams = vec!["activities"]);
    scene.settings.integrations[0].start = iso(now() * SECOND - 72 * HOUR);
    scene.write_config();
    drops_by_the_true_time(&scene, (-30 * HOUR, None));
    scene.tenant().turn(|knobs| knobs.date = false);
    let old = (now() * SECOND - 40 * HOUR, now() * SECOND - 39 * HOUR);
    scene.tenant().publish_between(Kind::Activities, 300, old.0, old.1, |_| {});
    run_off_by(&mut scene, 10 - now());
    scene.settle();
    scene.stop();
    assert_nothing_was_dropped(&scene);
    scene.assert_exactly_once();
}

/// Records wait, and Coralogix puts them off, when a virtual machine is paused for three days.
fn paused_before_a_batch(change: impl FnOnce(&mut crate::support::world::Settings)) -> Scene {
    let mut scene = Scene::with(|settings| {
        settings.integrations[0].streams = vec!["activities"];
        change(settings);
    });
    drops_by_the_true_time(&scene, (0, None));
    scene.tenant().publish(Kind::Activities, 5);
    scene.run();
    scene.settle();
    scene.ingress.fail(On::Singles, None, Fault::answer(429, "text/plain", "later"));
    scene.tenant().publish(Kind::Activities, 550);
    scene.wait_waiting(550);
    scene.tenant().server.take_away();
    scene.tenant().set_clock_ahead(3 * DAY);
    scene.ingress.clock().set_ahead_us(3 * DAY);
    scene.ingress.heal();
    scene
}

/// The sink was never away, and its answer to the first batch is what shows the pause.
#[test]
fn what_was_too_old_on_arrival_after_a_pause_is_in_doubt_and_can_be_sent_again() {
    let mut scene = paused_before_a_batch(|_| {});
    scene.wait_status_is("/gaps/latest/0/reason", "in_doubt");
    scene.wait_status_is("/queue/waiting", "0");
    let dropped = scene.ingress.look(|state| state.dropped);
    assert!(dropped > 0, "{}", scene.story());
    let kept = scene.command(&["queue", "doubt", "list", "--json"]).out;
    let kept: Vec<Value> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(kept.len(), 1, "the next ones go by the new time\n{kept:?}");
    assert_eq!(kept[0]["streams"][0]["records"], dropped, "{kept:?}");
    assert_eq!(scene.ledger.balance().lost, dropped);
    scene.stop();
    scene.tenant().server.bring_back();
    let retried = scene.command(&["queue", "doubt", "retry", "--all"]);
    assert_eq!(retried.code, Some(0), "{retried:?}");
    scene.run();
    scene.settle();
    scene.wait_status_is("/gaps/count", "0");
    scene.wait_status_is("/state", "healthy");
    scene.stop();
    scene.assert_exactly_once();
}

/// One answer alone puts nothing in doubt: Coralogix is asked once more.
#[test]
fn a_single_wrong_date_puts_nothing_in_doubt() {
    let mut scene = Scene::with(|settings| settings.integrations[0].streams = vec!["activities"]);
    scene.tenant().publish(Kind::Activities, 5);
    scene.run();
    scene.settle();
    drops_by_the_true_time(&scene, (3 * DAY, Some(1)));
    scene.tenant().publish(Kind::Activities, 50);
    scene.settle();
    scene.tenant().publish(Kind::Activities, 50);
    scene.settle();
    scene.wait_status_is("/queue/waiting", "0");
    scene.wait_status_is("/gaps/count", "0");
    let asked = scene.ingress.got().iter().filter(|got| got.entries == 0).count();
    assert_eq!(asked, 1, "{}", scene.story());
    scene.stop();
    assert_nothing_was_dropped(&scene);
    scene.assert_exactly_once();
}

/// A tenant 100 days ahead makes no token expired that lives 60 more, neither to the daemon nor to `check`, and on
/// no machine.
#[test]
fn a_token_is_not_called_expired_by_one_wrong_clock() {
    for shift in [0, 10 - now()] {
        let mut scene = Scene::new();
        let token = scene.tenant().rotate_to_jwt(60 * DAY + HOUR);
        scene.tenant().set_clock_ahead(100 * DAY);
        scene.write_token(0, &token);
        scene.tenant().publish(Kind::Activities, 5);
        run_off_by(&mut scene, shift);
        scene.settle();
        scene.wait_status_is("/integrations/0/token_days_left", "60");
        scene.wait_status_is("/integrations/0/reason", "clocks_disagree");
        scene.stop();
        let status = scene.command(&["status"]).out;
        assert!(!scene.log().contains("S1C-E117") && !status.contains("S1C-E117"), "{status}");
        let (_, document) = check(&scene, &[], shift);
        let told = steps(&document, "token_end");
        assert!(matches!(&told[..], [(_, None, text)] if text.contains("expires on")), "{told:?}");
    }
}

#[test]
fn where_coralogix_tells_no_time_batches_go_whole_and_it_is_said_once() {
    let mut scene = Scene::with(|settings| settings.integrations[0].streams = vec!["activities"]);
    scene.ingress.turn(|knobs| knobs.date = false);
    scene.tenant().turn(|knobs| knobs.date = false);
    scene.settings.integrations[0].start = iso(now() * SECOND - HOUR);
    scene.write_config();
    scene.tenant().publish(Kind::Activities, 300);
    scene.run();
    scene.settle();
    scene.tenant().publish(Kind::Activities, 300);
    scene.settle();
    let sent = scene.ingress.requests();
    assert!(sent <= 10, "{sent} requests for 600 records");
    let stored = scene.ingress.stored();
    assert!(stored.iter().all(|entry| !entry.stamped), "nothing is dated");
    assert_eq!(scene.log().matches("S1C-W150").count(), 1, "{}", scene.log());
    scene.stop();
    scene.assert_exactly_once();
}

#[test]
fn coralogix_is_asked_once_for_its_time_where_this_machine_and_the_tenant_disagree() {
    let mut scene = Scene::new();
    run_off_by(&mut scene, 3 * HOUR / SECOND);
    scene.wait_while_alive("Coralogix is asked for its time", |within| {
        scene.ingress.wait(within, |state| (!state.got.is_empty()).then_some(()))
    });
    // Polls go on meanwhile, and what there is to deliver is delivered.
    scene.tenant().publish(Kind::Activities, 5);
    scene.settle();
    scene.stop();
    let asked = scene.ingress.got().iter().filter(|got| got.entries == 0).count();
    assert_eq!(asked, 1, "nothing was to be sent, and no two clocks agreed");
    scene.assert_exactly_once();
    let mut right = Scene::new();
    right.run();
    right.tenant().publish(Kind::Activities, 5);
    right.settle();
    right.stop();
    assert!(right.ingress.got().iter().all(|got| got.entries > 0), "two clocks agree");
}

fn steps(document: &Value, step: &str) -> Vec<(String, Option<String>, String)> {
    let mut found = vec![];
    for section in document["sections"].as_array().unwrap() {
        for told in section["steps"].as_array().unwrap().iter().filter(|s| s["step"] == step) {
            let text = |key: &str| told[key].as_str().unwrap_or_default().to_string();
            let about = section["about"].as_str().unwrap().to_string();
            found.push((about, told["cause"].as_str().map(str::to_string), text("text")));
        }
    }
    found
}

fn check(scene: &Scene, args: &[&str], off_by: i64) -> (Option<i32>, Value) {
    let args: Vec<&str> = ["check", "--json"].iter().chain(args).copied().collect();
    let ended = scene.command_with(&args, &machine_off_by(scene, off_by));
    let document = serde_json::from_str(&ended.out).unwrap_or_else(|why| panic!("{why} {ended:?}"));
    (ended.code, document)
}

/// The cause of the clock step of the tenant's section and of Coralogix', and the exit code.
fn clocks(tenant: i64, sink: i64, machine: i64) -> (Option<i32>, Option<String>, Option<String>) {
    let scene = Scene::new();
    scene.tenant().set_clock_ahead(tenant);
    scene.ingress.clock().set_ahead_us(sink);
    let (code, document) = check(&scene, &[], machine / SECOND);
    let told = steps(&document, "clock");
    let of = |about: &str| told.iter().find(|(a, ..)| a == about).and_then(|(_, c, _)| c.clone());
    (code, of("integration"), of("coralogix"))
}

#[test]
fn check_fails_for_the_odd_clock_of_three() {
    let is = |cause: &str| Some(cause.to_string());
    assert_eq!(clocks(0, 0, 0), (Some(0), None, None));
    for days in [2, -2] {
        assert_eq!(clocks(days * DAY, 0, 0), (Some(75), is("service_clock_off"), None));
        assert_eq!(clocks(0, days * DAY, 0), (Some(75), None, is("service_clock_off")));
        assert_eq!(clocks(0, 0, days * DAY), (Some(0), is("clock_off"), is("clock_off")));
    }
    // A console of 1970.
    let seconds_since_1970 = -now() * SECOND + DAY;
    assert_eq!(clocks(seconds_since_1970, 0, 0), (Some(75), is("date_impossible"), None));
}

#[test]
fn check_names_both_clocks_where_no_third_can_be_asked() {
    let scene = Scene::new();
    scene.tenant().set_clock_ahead(2 * DAY);
    scene.ingress.server.take_away();
    let (code, document) = check(&scene, &[], 0);
    let told = steps(&document, "clock");
    assert_eq!(told[0].1.as_deref(), Some("clocks_differ"), "{document:#}");
    assert_eq!(code, Some(75));
}

#[test]
fn check_fails_where_the_start_lies_ahead() {
    let with_start = |start: i64| {
        let scene = Scene::new();
        let text =
            scene.config().replace("start = \"24h\"", &format!("start = \"{}\"", iso(start)));
        scene.write_file("config.toml", &text);
        scene
    };
    let year = with_start((now() + 365 * DAY_SECONDS) * SECOND);
    for args in [&[][..], &["--offline"]] {
        let (code, document) = check(&year, args, 0);
        assert_eq!(code, Some(78), "{document:#}");
        let [(about, cause, text)] = &steps(&document, "start")[..] else {
            panic!("one step: {document:#}")
        };
        assert_eq!((about.as_str(), cause.as_deref()), ("integration", Some("start_in_future")));
        assert!(text.contains("integration.start of acme"), "{text}");
    }
    // Where it stands is said with file and line, as of other settings.
    let shown = year.command(&["check", "--offline"]);
    let is_cited = shown.out.contains("config.toml:") && shown.out.contains("[S1C-W340]");
    assert!(is_cited && shown.out.contains(": integration.start: it is 36"), "{shown:?}");
    // To a machine that is behind it only looks so, which the services know better.
    let yesterday = with_start((now() - DAY_SECONDS) * SECOND);
    let (code, document) = check(&yesterday, &[], -3 * DAY_SECONDS);
    assert_eq!((code, steps(&document, "start").len()), (Some(0), 0), "{document:#}");
}
