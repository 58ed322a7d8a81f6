//! The shipped binary where it will live: memory, and a root that has nothing else in it.
//!
//! Promises: S1C_PROGRAM names a static binary for this machine, as .ci/static does; without it a test
//! says so and counts as passed. With it, root and a memory cgroup are needed for the box, and where
//! CI is set their absence fails the test. Every cgroup made here is removed again.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::campaign::Campaign;
use crate::scene::Scene;
use crate::support::cgroup::MemoryGroup;
use crate::support::data::Kind;
use crate::support::program::Program;
use crate::support::skip::skipped;
use crate::support::temp::TempDir;

/// What issue, README and docs/BUILDING.md promise of a collector that has nothing to do.
const IDLE_KIB: u64 = 8 << 10;
/// The memory of the smallest box, for the program and the pages of its files together.
const BOX_BYTES: u64 = 64 << 20;

/// The static binary under test, if it runs on this machine as it is.
fn shipped() -> Option<PathBuf> {
    match (env::var_os("S1C_PROGRAM"), env::var_os("S1C_RUNNER")) {
        (Some(binary), None) => Some(fs::canonicalize(binary).expect("S1C_PROGRAM is there")),
        _ => {
            skipped("S1C_PROGRAM names no static binary for this machine");
            None
        }
    }
}

#[test]
fn an_idle_collector_with_an_open_queue_is_small() {
    if shipped().is_none() {
        return;
    }
    let mut scene = Scene::new();
    scene.run();
    scene.poll_again();
    let empty = scene.daemon().rss_kib().expect("the system tells");
    scene.tenant().publish_with(Kind::Activities, 10, |draft| draft.size = 2_600);
    scene.settle();
    scene.poll_again();
    let idle = scene.daemon().rss_kib().expect("the system tells");
    println!("RSS {empty} KiB before the first record, {idle} KiB after the tenth");
    scene.stop();
    assert!(idle.max(empty) < IDLE_KIB, "{empty} and {idle} KiB");
}

#[test]
fn a_read_only_box_with_64_megabytes_and_nothing_but_the_binary_is_enough() {
    let Some(binary) = shipped() else { return };
    let ground = may_mount().and_then(|()| MemoryGroup::new(BOX_BYTES));
    let Some(group) = Campaign::given("box", ground) else { return };
    let root = TempDir::new("s1-coralogix-box");
    let mut scene = Scene::with(|settings| settings.status_file = "run/status.json".to_string());
    for writable in ["queue", "run"] {
        fs::create_dir(scene.path(writable)).unwrap();
    }
    let world = scene.path("");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packaging/box.sh");
    scene.program =
        Program::of(["sh".as_ref(), &*script, group.path(), root.path(), &world, &binary]);

    scene.ingress.server.take_away();
    scene.tenant().publish_with(Kind::Activities, 20_000, |draft| draft.size = 2_600);
    scene.tenant().publish(Kind::Threats, 300);
    scene.run();
    scene.wait_waiting(20_300);
    scene.kill();
    scene.run();
    scene.wait_up();
    scene.ingress.server.bring_back();
    scene.settle();
    scene.poll_again();
    scene.stop();
    println!("at most {} KiB with the pages of its files", group.peak() >> 10);
    scene.assert_exactly_once();
    assert_eq!(group.killed(), 0, "the kernel found no memory for it");
}

fn may_mount() -> Result<(), String> {
    let tools = Command::new("unshare").args(["--mount", "true"]).output();
    match tools.is_ok_and(|output| output.status.success()) {
        true => Ok(()),
        false => Err("no mount namespace may be made (root is needed)".to_string()),
    }
}
