//! Whether `status` can tell a daemon that goes on from one that hangs or has lost its queue.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::scene::Scene;

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
        probe.err.contains("S1C-E435") && probe.err.contains("does not answer"),
        "{}",
        probe.err
    );
    scene.daemon().signal(Signal::CONT);
    scene.stop();
    assert_eq!(scene.command(&["status", "--alive"]).code, Some(1));
    assert_eq!(judged(&scene), (Some(3), "not_running".to_owned()));
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
