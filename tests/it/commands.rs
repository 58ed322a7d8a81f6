//! The commands as people type them: help, version, config errors, `check`, `status`.

use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::fault::{Fault, On};
use crate::support::process::Ended;
use crate::support::tenant::Closed;
use crate::support::tls::{Authority, Flaw};

fn both(ended: &Ended) -> String {
    format!("{}{}", ended.out, ended.err)
}

#[test]
fn help_and_version_are_there_for_every_command() {
    let scene = Scene::new();
    for args in [&["--help"][..], &["run", "--help"], &["check", "-h"], &["status", "--help"]] {
        let ended = scene.command(args);
        assert_eq!(ended.code, Some(0), "{args:?}");
        assert!(ended.out.contains("Usage: s1-coralogix"), "{args:?}: {}", ended.out);
    }
    let version = scene.command(&["--version"]);
    assert!(version.out.starts_with("s1-coralogix 0."), "{}", version.out);
    assert_eq!(scene.command(&["version"]).out, version.out);
    for args in [&["-h"][..], &["queue", "-h"], &["check", "-h"]] {
        let (summary, whole) = (scene.command(args), scene.command(&[args, &["--help"]].concat()));
        assert_eq!((summary.code, whole.code), (Some(0), Some(0)), "{args:?}");
        assert!(summary.out.lines().count() < whole.out.lines().count(), "{}", summary.out);
    }
}

#[test]
fn completions_are_the_files_that_packages_install() {
    let scene = Scene::new();
    let files =
        [("bash", "s1-coralogix.bash"), ("zsh", "_s1-coralogix"), ("fish", "s1-coralogix.fish")];
    for (shell, file) in files {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let shipped = std::fs::read_to_string(root.join("docs/completions").join(file)).unwrap();
        let ended = scene.command(&["completions", shell]);
        assert_eq!((ended.code, &ended.out), (Some(0), &shipped), "{shell}: {}", ended.err);
        assert!(shipped.contains("completions"), "{shell} completes this command too");
    }
    let other = scene.command(&["completions", "tcsh"]);
    assert_eq!(other.code, Some(2), "{}", both(&other));
    assert!(other.err.contains("bash, zsh, fish"), "{}", other.err);
}

#[test]
fn what_is_not_understood_ends_with_2_and_a_hint() {
    let scene = Scene::new();
    for args in [&["runn"][..], &["run", "--onec"], &[], &["status", "--once"]] {
        let ended = scene.command(args);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{args:?}");
        assert!(ended.err.contains("hint"), "{args:?}: {}", ended.err);
    }
    assert!(scene.command(&["chek"]).err.contains("check"));
}

#[test]
fn all_findings_in_a_config_come_at_once_with_place_and_caret_and_78() {
    let scene = Scene::new();
    let config = scene
        .config()
        .replace("max_size = \"1GiB\"", "max_size = \"lots\"")
        .replace("poll_interval", "poll_intervall")
        .replace("[log]\nlevel = \"debug\"", "[log]\nlevel = \"loud\"");
    scene.write_file("config.toml", &config);
    for args in [&["check", "--offline"][..], &["run"], &["run", "--once"]] {
        let ended = scene.command(args);
        assert_eq!(ended.code, Some(78), "{args:?}\n{}", both(&ended));
        let text = both(&ended);
        let line_of = |what: &str| config.lines().position(|l| l.contains(what)).unwrap() + 1;
        for (what, says) in
            [("lots", "max_size"), ("poll_intervall", "poll_interval"), ("loud", "level")]
        {
            let place = format!("config.toml:{}:", line_of(what));
            assert!(text.contains(&place) && text.contains(says), "{args:?}: {place}\n{text}");
        }
        assert!(text.matches('^').count() >= 3, "{text}");
    }
}

#[test]
fn the_config_as_shipped_sends_a_token_nowhere_and_says_what_to_fill_in() {
    let scene = Scene::new();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/config.example.toml");
    for args in [&["run"][..], &["run", "--once"], &["check", "--offline"]] {
        let args = [&["--config", shipped], args].concat();
        let ended = scene.start_bare(&args, &[]).wait(crate::scene::PATIENCE).unwrap();
        assert_eq!(ended.code, Some(78), "{args:?}\n{}", both(&ended));
        let text = both(&ended);
        for key in ["coralogix.domain", "integration.tenant"] {
            assert!(text.contains(&format!("S1C-E307 {key}: it is empty")), "{text}");
        }
    }
}

#[test]
fn a_config_that_is_not_there_is_told_with_its_path() {
    let scene = Scene::new();
    let missing = scene.path("nowhere.toml").display().to_string();
    let process = scene.start_bare(&["--config", &missing, "run"], &[]);
    let ended = process.wait(crate::scene::PATIENCE).unwrap();
    assert_eq!(ended.code, Some(78), "{}", ended.err);
    assert!(ended.err.contains(&missing));
}

#[test]
fn the_config_is_found_by_environment_too() {
    let scene = Scene::new();
    let path = scene.config_file().display().to_string();
    let process = scene.start_bare(&["check", "--offline"], &[("S1_CORALOGIX_CONFIG", path)]);
    let ended = process.wait(crate::scene::PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{}", both(&ended));
}

#[test]
fn a_config_that_others_can_read_may_hold_no_secret() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    let file = format!("api_token_file = \"{}\"", scene.path("acme.token").display());
    let inline = format!("api_token = \"{}\"", scene.tenant().token());
    scene.write_file("config.toml", &scene.config().replace(&file, &inline));
    assert_eq!(scene.command(&["check", "--offline"]).code, Some(0));
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(scene.config_file(), open).unwrap();
    let ended = scene.command(&["check", "--offline"]);
    assert_eq!(ended.code, Some(78), "{}", both(&ended));
    assert!(!both(&ended).contains(&scene.tenant().token()), "the secret is not shown");
}

#[test]
fn check_finds_everything_good_and_names_each_step() {
    let scene = Scene::new();
    let ended = scene.command(&["check"]);
    assert_eq!(ended.code, Some(0), "{}", both(&ended));
    for step in ["acme", "TLS", "Endpoint Threats: View", "Activity: View"] {
        assert!(ended.out.contains(step), "{step} is not named\n{}", ended.out);
    }
    assert_eq!(scene.ledger.balance().delivered, 0, "nothing is delivered");
    assert!(scene.ingress.got().iter().all(|got| got.entries == 0));
    assert!(!scene.queue_dir().join("log").exists() || scene.queue_bytes() < 1 << 16);
    assert_eq!(scene.command(&["check", "--offline"]).code, Some(0));
}

/// One thing wrong, the exit code for it, and a word that the remedy must have.
fn check_with(spoil: impl FnOnce(&Scene), code: i32, says: &str) {
    let scene = Scene::with(|s| {
        s.be_impatient("3s");
    });
    spoil(&scene);
    let ended = scene.command(&["check"]);
    let text = both(&ended);
    assert_eq!(ended.code, Some(code), "{says}\n{text}");
    assert!(text.to_lowercase().contains(&says.to_lowercase()), "no word of {says:?}\n{text}");
}

#[test]
fn check_says_what_to_do_about_each_thing_that_can_be_wrong() {
    check_with(|scene| scene.tenant().revoke_all_tokens(), 77, "token");
    let close = |kind: Kind, closed: Closed| {
        move |scene: &Scene| {
            scene.tenant().turn(|knobs| {
                knobs.closed.insert(kind, closed);
            });
        }
    };
    check_with(close(Kind::Threats, Closed::Forbidden), 77, "Endpoint Threats: View");
    check_with(close(Kind::Activities, Closed::Unauthorized), 77, "Activity: View");
    check_with(|scene| scene.ingress.accept_only_key("another"), 77, "Send-Your-Data");
    check_with(|scene| scene.tenant().server.take_away(), 75, "refused");
    check_with(|scene| scene.ingress.server.take_away(), 75, "refused");
    check_with(|scene| scene.ingress.fail(On::Singles, None, Fault::Stall), 75, "timeout");
    check_with(|scene| std::fs::remove_file(scene.path("acme.token")).unwrap(), 78, "acme.token");
    let takes_no_empty_batch =
        |scene: &Scene| scene.ingress.turn(|knobs| knobs.takes_empty = false);
    check_with(takes_no_empty_batch, 0, "key");
}

#[test]
fn check_tells_the_flaw_of_a_certificate() {
    for (flaw, says) in [(Flaw::Expired, "expired at"), (Flaw::OtherName, "not for localhost")] {
        check_with(|scene| scene.tenant().server.set_tls(scene.authority.server(flaw)), 75, says);
    }
    let stranger = Authority::new("somebody else");
    let strange = |scene: &Scene| scene.ingress.server.set_tls(stranger.server(Flaw::None));
    check_with(strange, 75, "ca_file");
}

#[test]
fn status_shows_the_daemon_and_says_when_it_is_not_running() {
    let mut scene = Scene::new();
    let none = scene.command(&["status"]);
    assert_ne!(none.code, Some(0), "{}", both(&none));
    assert!(both(&none).to_lowercase().contains("not running"), "{}", both(&none));
    scene.tenant().publish(Kind::Activities, 120);
    scene.run();
    scene.settle();
    scene.wait_status_is("/coralogix/delivered", "120");
    let ended = scene.command(&["status"]);
    assert_eq!(ended.code, Some(0), "{}", both(&ended));
    for word in ["acme/threats", "acme/activities", "120"] {
        assert!(ended.out.contains(word), "{word}\n{}", ended.out);
    }
    let json = scene.command(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(status["queue"]["waiting"], 0);
    assert_eq!(status["pid"], scene.daemon().pid());
    scene.kill();
    let dead = scene.command(&["status"]);
    assert!(both(&dead).to_lowercase().contains("not running"), "{}", both(&dead));
}

#[test]
fn check_tells_who_can_read_a_secret_and_where_the_queue_can_not_be() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    let open = |name: &str, mode| {
        std::fs::set_permissions(scene.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open("acme.token", 0o644);
    open("", 0o755);
    for args in [&["check"][..], &["check", "--offline"]] {
        let ended = scene.command(args);
        assert_eq!(ended.code, Some(0), "it can still be used\n{}", both(&ended));
        assert!(ended.out.contains("Every user of this machine can read"), "{}", ended.out);
        assert!(!ended.out.contains("everything works\n"), "{}", ended.out);
    }
    let ended = scene.command(&["run", "--once"]);
    assert_eq!(ended.err.matches("can read the secret file").count(), 1, "{}", ended.err);
    let queue = scene.queue_dir().display().to_string();
    let below_a_file = scene.path("acme.token").join("queue").display().to_string();
    scene.write_file("config.toml", &scene.config().replace(&queue, &below_a_file));
    let ended = scene.command(&["check", "--offline"]);
    assert_eq!(ended.code, Some(78), "{}", both(&ended));
    assert!(ended.out.contains("acme.token is not a directory"), "{}", ended.out);
}

#[test]
fn a_log_level_that_does_not_exist_is_told_and_stops_nothing() {
    let scene = Scene::new();
    let ended = scene.command_with(&["run", "--once"], &[("S1_CORALOGIX_LOG", "loud".to_string())]);
    assert_eq!(ended.code, Some(0), "{}", both(&ended));
    assert!(ended.err.contains("S1_CORALOGIX_LOG is \"loud\""), "{}", ended.err);
}

#[test]
fn the_directory_of_the_status_file_is_made_for_a_person_without_a_service_manager() {
    let scene = Scene::new();
    let file = scene.path("status.json").display().to_string();
    let elsewhere = scene.path("run/status.json").display().to_string();
    scene.write_file("config.toml", &scene.config().replace(&file, &elsewhere));
    assert_eq!(scene.command(&["run", "--once"]).code, Some(0));
    assert!(scene.path("run/status.json").exists());
    let status = scene.command(&["status"]);
    assert_eq!(status.code, Some(3), "{}", both(&status));
    assert!(status.out.contains(": not running\n"), "{}", status.out);
}

#[test]
fn anybody_may_read_the_status_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    // A file for its owner alone, as a strict umask would make it.
    scene.write_file("status.json.new", "");
    assert_eq!(scene.command(&["run", "--once"]).code, Some(0));
    let mode = std::fs::metadata(scene.path("status.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn the_status_is_true_within_seconds_when_all_is_quiet() {
    let mut scene = Scene::with(|s| s.integrations[0].poll_interval = "1h".to_string());
    scene.tenant().publish(Kind::Activities, 1_500);
    scene.run();
    scene.settle();
    let quiet = std::time::Duration::from_secs(10);
    let told = scene.wait_status(quiet, |status| {
        let whole = status.pointer("/coralogix/delivered")? == 1_500
            && status.pointer("/queue/waiting")? == 0
            && status.pointer("/streams/1/caught_up")? == true;
        whole.then_some(())
    });
    assert!(told.is_some(), "the status is stale\n{}", scene.story());
}

#[test]
fn the_log_suits_its_reader() {
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 1);
    scene.run();
    scene.settle();
    let plain = scene.stop().err;
    assert!(!plain.contains('\u{1b}'), "no colours without a terminal");
    let level = [("S1_CORALOGIX_LOG", "error".to_string())];
    scene.run_with(&level);
    scene.tenant().publish(Kind::Activities, 1);
    scene.settle();
    assert_eq!(scene.stop().err, "", "the environment overrides the config");
}

#[test]
fn under_systemd_each_line_has_its_priority_and_no_time() {
    let scene = Scene::with(|s| s.log_level = "info".to_string());
    scene.tenant().revoke_all_tokens();
    let service = scene.run_as_service();
    assert!(service.wait_err("token is rejected", crate::scene::PATIENCE), "{}", service.err());
    service.signal(rustix::process::Signal::TERM);
    let log = service.wait(crate::scene::PATIENCE).unwrap().err;
    let year = crate::support::clock::iso(scene.tenant().clock().now_us())[..5].to_string();
    for line in log.lines() {
        let priority = line.strip_prefix('<').and_then(|rest| rest.split_once('>')?.0.parse().ok());
        assert!(priority.is_some_and(|priority: u8| priority <= 7), "{line}");
        assert!(!line.starts_with(&format!("<6>{year}")), "{line}");
    }
    let refused = log.lines().find(|line| line.contains("token is rejected")).unwrap();
    assert!(refused.starts_with("<3>"), "{refused}");
}
