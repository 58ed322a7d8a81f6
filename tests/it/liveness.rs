//! Whether `status` can tell a daemon that goes on from one that hangs or has lost its queue.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{PATIENCE, Scene};
use crate::support::data::Kind;
use crate::support::link::Link;
use crate::support::proxy::Proxy;
use crate::support::tenant::Seen;

/// The exit code of `status --json` and what it calls the daemon.
fn judged(scene: &Scene) -> (Option<i32>, String) {
    let ended = scene.command(&["status", "--json"]);
    let status: Value = serde_json::from_str(&ended.out).unwrap();
    (ended.code, status["liveness"].as_str().unwrap_or("nothing").to_owned())
}

#[test]
fn a_daemon_that_makes_no_steps_does_not_answer() {
    let mut scene = Scene::new();
    scene.run();
    scene.wait_status_is("/state", "healthy");
    assert_eq!(judged(&scene), (Some(0), "answers".to_owned()));
    assert_eq!(scene.command(&["status", "--alive"]).code, Some(0));
    scene.daemon().freeze();
    // Time passes only for the files.
    let long_ago = SystemTime::now() - Duration::from_secs(600);
    for file in [scene.path("status.json"), scene.queue_dir().join("lock")] {
        File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
    }
    assert_eq!(judged(&scene), (Some(1), "silent".to_owned()));
    let probe = scene.command(&["status", "--alive"]);
    assert_eq!(probe.code, Some(1));
    assert!(
        probe.err.contains("S1C-E435") && probe.err.contains("has not answered"),
        "{}",
        probe.err
    );
    scene.daemon().signal(Signal::CONT);
    scene.stop();
    assert_eq!(scene.command(&["status", "--alive"]).code, Some(1));
    assert_eq!(judged(&scene), (Some(3), "not_running".to_owned()));
}

/// One page takes longer than the supervisor waits: bytes that move are a sign of life.
#[test]
fn an_exchange_that_moves_feeds_the_watchdog_and_is_alive() {
    let link = Arc::new(Link::new(5_000, Duration::ZERO));
    let proxy = Proxy::over(link);
    let mut scene = Scene::with(|settings| {
        settings.proxy = Some(format!("http://{}", proxy.authority()));
    });
    // Some 18 s.
    scene.tenant().publish_with(Kind::Activities, 150, |draft| draft.size = 2_600);
    let ear = UnixDatagram::bind(scene.path("notify")).unwrap();
    ear.set_read_timeout(Some(PATIENCE)).unwrap();
    let notify = scene.path("notify").display().to_string();
    scene.run_with(&[("NOTIFY_SOCKET", notify), ("WATCHDOG_USEC", "2000000".to_owned())]);
    let asked = |seen: &[Seen]| seen.iter().any(|seen| seen.rows > 0).then_some(());
    scene.wait_while_alive("a page is asked for", |within| scene.tenant().wait(within, asked));
    let lock = scene.queue_dir().join("lock");
    let touched = || fs::metadata(&lock).unwrap().modified().unwrap();
    let before = touched();
    let mut buffer = [0; 512];
    let mut fed = 0;
    // The first may have been sent before.
    while fed < 4 {
        let length = ear.recv(&mut buffer).unwrap();
        fed += u32::from(buffer[..length].starts_with(b"WATCHDOG=1"));
    }
    assert!(scene.ledger.balance().delivered == 0 && touched() > before, "{}", scene.story());
    assert_eq!(scene.command(&["status", "--alive"]).code, Some(0));
    scene.kill();
}

/// Nothing is there to be delivered, either.
#[test]
fn a_daemon_that_polls_and_can_not_write_its_status_is_alive() {
    let mut scene = Scene::new();
    scene.once_with_code(0);
    let status = scene.path("status.json");
    let _ear = UnixDatagram::bind(scene.path("notify")).unwrap();
    // In the way of the new content, as a mount that hangs.
    fs::create_dir(scene.path("status.json.new")).unwrap();
    let notify = scene.path("notify").display().to_string();
    scene.run_with(&[("NOTIFY_SOCKET", notify), ("WATCHDOG_USEC", "2000000".to_owned())]);
    scene.wait_log("S1C-W014");
    let long_ago = SystemTime::now() - Duration::from_secs(600);
    let lock = scene.queue_dir().join("lock");
    for file in [&status, &lock] {
        File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
    }
    scene.wait_while_alive("a poll is a sign of life", |_| {
        scene.daemon().signal(Signal::USR1);
        (scene.command(&["status", "--alive"]).code == Some(0)).then_some(())
    });
    scene.kill();
}

#[test]
fn a_daemon_whose_queue_directory_was_removed_is_not_called_gone() {
    let mut scene = Scene::new();
    scene.run();
    scene.wait_status_is("/state", "healthy");
    // It would notice with its next write, and that is another story.
    scene.daemon().freeze();
    fs::remove_dir_all(scene.queue_dir()).unwrap();
    assert_eq!(judged(&scene), (Some(1), "queue_removed".to_owned()));
    assert!(scene.command(&["status"]).out.contains("S1C-E436"));
    scene.kill();
}
