//! What the program makes on disk: who may look at it, and that nothing of others is written to.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::owner::tree;
use crate::scene::Scene;
use crate::support::data::Kind;

const THEIRS: &str = "theirs, and of nobody's concern\n";

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// With a status file in a directory that is not there, and metrics.
fn scene() -> Scene {
    let mut scene = Scene::with(|s| s.status_file = "run/status.json".to_owned());
    let metrics = scene.path("s1.prom").display().to_string();
    scene.settings.extra = format!("[metrics]\nfile = \"{metrics}\"\n");
    scene.write_config();
    scene
}

/// Somebody else's file, which only its owner may read.
fn theirs(scene: &Scene) -> PathBuf {
    scene.write_file("theirs", THEIRS);
    scene.path("theirs")
}

fn assert_untouched(file: &Path) {
    assert_eq!(fs::read_to_string(file).unwrap(), THEIRS);
    assert_eq!(mode(file), 0o600);
}

/// A queue with a record parked, a batch in doubt and a checkpoint set aside, left by a daemon that was
/// started under this umask.
fn with_all_kinds_of_files(umask: &str) -> Scene {
    let mut scene = scene();
    let words = format!("umask {umask} && exec \"$@\"");
    scene.program = scene.program.under(["sh", "-c", &words, "sh"].map(OsString::from));
    let ids = scene.tenant().publish(Kind::Activities, 40);
    let poison = format!("\"id\": \"{}\"", ids[7]);
    scene.ingress.turn(|knobs| {
        knobs.poison = Some(std::sync::Arc::new(move |text| text.contains(&poison)));
    });
    scene.run();
    scene.wait_delivered(39);
    scene.wait_status_is("/queue/parked", "1");
    scene.stop();
    fs::write(scene.queue_dir().join("checkpoint"), "damaged").unwrap();
    scene.ingress.turn(|knobs| knobs.accepted_body = r#"{"message":"48 logs were not accepted"}"#);
    scene.tenant().publish(Kind::Activities, 10);
    scene.run();
    scene.wait_status_is("/coralogix/reason", "in_doubt");
    scene.stop();
    let file = scene.path("queue.s1c").display().to_string();
    let ended = scene.command(&["queue", "export", &file]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    scene
}

#[test]
fn what_is_made_is_its_owners_alone_whatever_the_umask_and_the_status_is_for_everybody() {
    for umask in ["000", "077", "0277"] {
        let scene = with_all_kinds_of_files(umask);
        let queue = scene.queue_dir();
        let mut kinds = BTreeSet::new();
        for path in tree(&queue) {
            let wanted = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&path), wanted, "umask {umask}: {}", path.display());
            let below = path.strip_prefix(&queue).unwrap().to_string_lossy().into_owned();
            kinds.insert(below.split('/').next().unwrap().to_owned());
            kinds.extend(path.extension().map(|ending| format!(".{}", ending.display())));
        }
        for kind in
            "log index.0 parked doubt quarantine checkpoint reserve lock clock .log .txt".split(' ')
        {
            assert!(kinds.contains(kind), "{kind} was looked at: {kinds:?}");
        }
        for (name, wanted) in
            [("queue.s1c", 0o600), ("run", 0o755), ("run/status.json", 0o644), ("s1.prom", 0o644)]
        {
            assert_eq!(mode(&scene.path(name)), wanted, "umask {umask}: {name}");
        }
    }
}

#[test]
fn nothing_is_written_through_a_link_that_somebody_planted() {
    let mut scene = scene();
    let theirs = theirs(&scene);
    for dir in ["run", "queue"] {
        fs::create_dir(scene.path(dir)).unwrap();
    }
    let names = ["run/status.json.new", "s1.prom.new", "queue/clock.new", "queue.s1c.part"];
    for name in names {
        symlink(&theirs, scene.path(name)).unwrap();
    }
    scene.tenant().publish(Kind::Activities, 40);
    scene.run();
    scene.settle();
    scene.stop();
    let file = scene.path("queue.s1c").display().to_string();
    let ended = scene.command(&["queue", "export", &file]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_untouched(&theirs);
    for name in names {
        let made = scene.path(name).with_extension("");
        let made = if name == "queue/clock.new" { scene.path("queue/clock") } else { made };
        let found = fs::symlink_metadata(&made).unwrap();
        assert!(found.is_file(), "{} is the program's own", made.display());
        assert!(fs::symlink_metadata(scene.path(name)).is_err(), "{name} is gone");
    }
}

/// The lock can't be made anew, for another process may hold it.
#[test]
fn a_lock_that_is_another_name_of_something_else_is_refused() {
    for is_symbolic in [true, false] {
        let mut scene = scene();
        let theirs = theirs(&scene);
        let lock = scene.queue_dir().join("lock");
        fs::create_dir(scene.queue_dir()).unwrap();
        let what = match is_symbolic {
            true => symlink(&theirs, &lock).map(|()| "a symbolic link").unwrap(),
            false => fs::hard_link(&theirs, &lock).map(|()| "a hard link").unwrap(),
        };
        scene.tenant().publish(Kind::Activities, 10);
        scene.once_with_code(1);
        let told = format!("{} is {what}", lock.display());
        assert!(scene.log().contains(&told), "{}", scene.log());
        assert_untouched(&theirs);
        fs::remove_file(&lock).unwrap();
        scene.once_with_code(0);
        scene.assert_exactly_once();
    }
}
