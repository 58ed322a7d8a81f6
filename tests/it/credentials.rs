//! Credentials: refused, revoked, replaced, missing a permission; nothing is lost and nobody is
//! hammered (P1, P6, P7).

use std::time::{Duration, Instant};

use crate::scene::{PATIENCE, Scene};
use crate::support::clock::{DAY, HOUR};
use crate::support::data::Kind;
use crate::support::ingress::Key;
use crate::support::tenant::Closed;
use crate::support::world::Integration;

#[test]
fn a_revoked_token_holds_and_a_new_one_in_its_file_is_used_at_once() {
    let mut scene = Scene::with(|s| s.retry_max = "60s".to_string());
    scene.tenant().publish(Kind::Activities, 100);
    scene.run();
    scene.settle();
    scene.tenant().revoke_all_tokens();
    scene.tenant().publish(Kind::Activities, 100);
    scene.wait_status_is("/integrations/0/reason", "token_refused");
    let refused = scene.tenant().seen().iter().filter(|seen| seen.status == 401).count();
    assert!(refused <= 4, "{refused} requests with a dead token");
    let token = scene.tenant().rotate_token(30 * DAY);
    scene.write_token(0, &token);
    let changed = Instant::now();
    scene.settle();
    assert!(changed.elapsed() < Duration::from_secs(20), "long before the next probe");
    scene.assert_exactly_once();
}

#[test]
fn a_token_rotated_while_pages_are_read_loses_nothing() {
    let mut scene = Scene::new();
    scene.tenant().turn(|knobs| knobs.slow = Duration::from_millis(30));
    scene.tenant().publish(Kind::Activities, 8_000);
    scene.run();
    for round in 1..=3 {
        scene.wait_delivered(round * 2_000);
        let token = match round {
            2 => scene.tenant().rotate_to_jwt(10 * DAY),
            _ => scene.tenant().rotate_token(10 * DAY),
        };
        scene.write_token(0, &token);
    }
    scene.settle();
    scene.poll_again();
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn a_missing_permission_stops_its_stream_alone_however_it_is_told() {
    for (closed, kind) in
        [(Closed::Forbidden, Kind::Threats), (Closed::Unauthorized, Kind::Activities)]
    {
        let mut scene = Scene::new();
        scene.tenant().turn(|knobs| {
            knobs.closed.insert(kind, closed);
        });
        for kind in [Kind::Threats, Kind::Activities] {
            scene.tenant().publish(kind, 100);
        }
        scene.run();
        scene.wait_delivered(100);
        let stream = if kind == Kind::Threats { 0 } else { 1 };
        scene.wait_status_is(&format!("/streams/{stream}/reason"), "permission_missing");
        scene.tenant().turn(|knobs| knobs.closed.clear());
        scene.settle();
        scene.assert_exactly_once();
    }
}

#[test]
fn a_refused_key_holds_delivery_while_the_queue_fills_and_a_new_one_is_used_at_once() {
    for refusal in [None, Some(Key::Forbidden)] {
        let mut scene = Scene::with(|s| s.retry_max = "60s".to_string());
        scene.tenant().publish(Kind::Activities, 50);
        scene.run();
        scene.settle();
        let old = scene.ingress.key();
        scene.ingress.accept_only_key("cxtp_TheSecondKey");
        if let Some(refusal) = refusal {
            scene.ingress.turn(|knobs| {
                knobs.keys.insert(old, refusal);
            });
        }
        scene.tenant().publish(Kind::Activities, 1_100);
        scene.wait_waiting(1_100);
        scene.wait_status_is("/coralogix/reason", "key_refused");
        scene.wait_status_is("/state", "stuck");
        let refused = scene.ingress.got().iter().filter(|g| [401, 403].contains(&g.status)).count();
        assert!((1..=3).contains(&refused), "{refused} requests with a dead key");
        scene.write_key("cxtp_TheSecondKey");
        let changed = Instant::now();
        scene.settle();
        assert!(changed.elapsed() < Duration::from_secs(20), "long before the next probe");
        scene.assert_exactly_once();
        scene.assert_in_order();
    }
}

#[test]
fn a_refused_token_of_one_tenant_does_not_concern_another() {
    let mut scene = Scene::with(|s| s.integrations.push(Integration::new("globex")));
    scene.tenants[0].revoke_all_tokens();
    scene.tenants[0].publish(Kind::Activities, 10);
    scene.tenants[1].publish(Kind::Activities, 1_500);
    scene.run();
    scene.wait_delivered(1_500);
    scene.wait_status_is("/integrations/0/reason", "token_refused");
    let token = scene.tenants[0].rotate_token(DAY * 30);
    scene.write_token(0, &token);
    scene.settle();
    scene.assert_exactly_once();
}

#[test]
fn a_token_that_ends_soon_is_told_ahead() {
    for jwt in [false, true] {
        let mut scene = Scene::new();
        let lives = 2 * DAY + HOUR;
        let token = match jwt {
            true => scene.tenant().rotate_to_jwt(lives),
            false => scene.tenant().rotate_token(lives),
        };
        scene.write_token(0, &token);
        scene.tenant().publish(Kind::Activities, 1);
        scene.run();
        scene.settle();
        scene.wait_status_is("/integrations/0/token_days_left", "2");
        scene.wait_log("the API token expires in");
        if jwt {
            let asked =
                |seen: &crate::support::tenant::Seen| seen.path.contains("api-token-details");
            assert!(!scene.tenant().seen().iter().any(asked), "a JWT tells its own end");
        }
    }
}

#[test]
fn secrets_come_from_the_environment_too() {
    let mut scene = Scene::with(|s| s.secrets_from_environment = true);
    scene.tenant().publish(Kind::Activities, 10);
    let environment = [
        ("CORALOGIX_API_KEY", format!(" {}\n", scene.ingress.key())),
        ("S1_API_TOKEN", scene.tenant().token()),
    ];
    scene.run_with(&environment);
    scene.settle();
    scene.assert_exactly_once();
}

#[test]
fn secrets_come_from_systemd_credentials_too() {
    let mut scene = Scene::new();
    let plain = scene.path("acme.token").display().to_string();
    let config = scene.config().replace(&plain, "$CREDENTIALS_DIRECTORY/acme.token");
    scene.write_file("config.toml", &config);
    scene.tenant().publish(Kind::Activities, 10);
    let directory = scene.path("").display().to_string();
    scene.run_with(&[("CREDENTIALS_DIRECTORY", directory)]);
    scene.settle();
    scene.assert_exactly_once();
}

#[test]
fn secrets_appear_in_no_log_status_queue_or_command_line() {
    let mut scene = Scene::with(|s| {
        s.log_level = "trace".to_string();
        s.be_impatient("1s");
    });
    let secrets = vec![scene.tenant().token(), scene.ingress.key()];
    scene.tenant().publish(Kind::Activities, 300);
    scene.run();
    let arguments =
        std::fs::read(format!("/proc/{}/cmdline", scene.daemon().pid())).unwrap_or_default();
    scene.settle();
    scene.ingress.accept_only_key("another");
    scene.tenant().publish(Kind::Activities, 300);
    scene.wait_status_is("/coralogix/reason", "key_refused");
    scene.tenant().revoke_all_tokens();
    scene.wait_status_is("/integrations/0/reason", "token_refused");
    let checked = scene.command(&["check"]);
    scene.stop();
    scene.assert_secrets_kept(&secrets);
    for secret in &secrets {
        assert!(!String::from_utf8_lossy(&arguments).contains(secret));
        assert!(!checked.out.contains(secret) && !checked.err.contains(secret));
        let asked = scene.tenant().seen();
        assert!(asked.iter().all(|seen| !format!("{:?}", seen.query).contains(secret)));
    }
}

#[test]
fn a_secret_file_that_is_gone_or_empty_is_told_and_waited_for() {
    for text in [None, Some(" \n")] {
        let mut scene = Scene::new();
        scene.tenant().publish(Kind::Activities, 20);
        scene.run();
        scene.settle();
        let key = scene.ingress.key();
        match text {
            None => std::fs::remove_file(scene.path("coralogix.key")).unwrap(),
            Some(text) => scene.write_file("coralogix.key", text),
        }
        scene.tenant().publish(Kind::Activities, 20);
        scene.wait_log("coralogix.key");
        scene.write_key(&key);
        assert!(scene.ledger.wait_complete(PATIENCE), "{}", scene.story());
        scene.assert_exactly_once();
    }
}

#[test]
fn the_process_shows_its_secrets_to_nobody_on_the_machine() {
    let mut scene = Scene::with(|s| s.secrets_from_environment = true);
    let (key, token) = (scene.ingress.key(), scene.tenant().token());
    scene.run_with(&[("CORALOGIX_API_KEY", key.clone()), ("S1_API_TOKEN", token.clone())]);
    scene.tenant().publish(Kind::Activities, 10);
    scene.settle();
    let proc = std::path::PathBuf::from(format!("/proc/{}", scene.daemon().pid()));
    let read = |name: &str| std::fs::read(proc.join(name)).unwrap_or_default();
    let command_line = String::from_utf8_lossy(&read("cmdline")).into_owned();
    assert!(!command_line.contains(&key) && !command_line.contains(&token), "{command_line}");
    let limits = String::from_utf8_lossy(&read("limits")).into_owned();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "no core dumps: {core}");
    // Nothing is started that could inherit the environment.
    let threads = std::fs::read_dir(proc.join("task")).unwrap().flatten();
    for children in threads.filter_map(|task| std::fs::read(task.path().join("children")).ok()) {
        assert!(children.is_empty(), "the daemon has a child");
    }
    scene.stop();
}

#[test]
fn a_secret_that_is_not_there_is_told_as_that_and_used_once_it_is() {
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 10);
    std::fs::remove_file(scene.path("acme.token")).unwrap();
    let ended = scene.once_with_code(77);
    assert!(ended.err.contains("has no usable secret"), "{}", ended.err);
    assert!(!ended.err.contains("can't be reached"), "{}", ended.err);
    scene.run();
    scene.wait_status_is("/streams/0/reason", "secret_unreadable");
    scene.write_token(0, &scene.tenant().token());
    scene.settle();
    scene.assert_exactly_once();
}
