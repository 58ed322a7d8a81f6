//! What `check` calls good `run` finds good: whatever keeps `run` from its queue or from a file that it
//! replaces, `check` tells before, with the same name.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use crate::owner::{give, is_root, tree};
use crate::scene::Scene;
use crate::support::data::Kind;

/// Somebody who is neither root nor the owner of the queue.
const ANOTHER: u32 = 65_533;

/// A queue that a run has left, with all its kinds of files.
fn scene(change: impl FnOnce(&Scene) -> String) -> Scene {
    let mut scene = Scene::new();
    scene.settings.extra = change(&scene);
    scene.write_config();
    scene.tenant().publish(Kind::Activities, 10);
    scene.once_with_code(0);
    scene
}

/// `check` fails and `run` ends, and both name this file.
fn assert_refused(scene: &mut Scene, path: &Path, code: i32) {
    let named = path.display().to_string();
    let ended = scene.command(&["check", "--offline"]);
    assert_eq!(ended.code, Some(78), "{named}\n{}", ended.out);
    assert!(ended.out.contains(&named), "{named}\n{}", ended.out);
    let ended = scene.once_with_code(code);
    assert!(ended.err.contains(&named), "{named}\n{}", ended.err);
}

fn assert_good(scene: &mut Scene) {
    let ended = scene.command(&["check", "--offline"]);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    scene.once_with_code(0);
}

#[test]
fn what_is_no_queue_is_refused_by_check_and_by_run() {
    let mut scene = scene(|_| String::new());
    let (queue, aside) = (scene.queue_dir(), scene.path("aside"));
    fs::hard_link(queue.join("lock"), scene.path("other")).unwrap();
    assert_refused(&mut scene, &queue.join("lock"), 1);
    fs::remove_file(scene.path("other")).unwrap();
    assert_good(&mut scene);

    for part in ["log", "parked", "doubt", "quarantine"] {
        fs::rename(queue.join(part), &aside).unwrap();
        fs::write(queue.join(part), "").unwrap();
        assert_refused(&mut scene, &queue.join(part), 1);
        fs::remove_file(queue.join(part)).unwrap();
        fs::rename(&aside, queue.join(part)).unwrap();
    }

    fs::rename(&queue, &aside).unwrap();
    for target in [scene.path("unmounted/queue"), queue.clone()] {
        symlink(target, &queue).unwrap();
        assert_refused(&mut scene, &queue, 1);
        fs::remove_file(&queue).unwrap();
    }
    fs::rename(&aside, &queue).unwrap();
    assert_good(&mut scene);
}

/// As `assert_refused`, with a remedy for the name itself: neither the disk nor the limits of the process are
/// to blame.
fn assert_strange(scene: &mut Scene, path: &Path, what: &str) {
    assert_refused(scene, path, 1);
    let told = format!("{} is {what}. Move it away", path.display());
    for text in [scene.command(&["check", "--offline"]).out, scene.log()] {
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // `check` has a line for the remedy.
        let flat = flat.replace(" Move it away", ". Move it away").replace("..", ".");
        assert!(flat.contains(&told), "{told}\n{text}");
    }
}

#[test]
fn a_name_of_another_kind_within_the_queue_is_told_by_check_and_by_run() {
    let mut scene = scene(|_| String::new());
    let (queue, aside) = (scene.queue_dir(), scene.path("aside"));
    for name in ["closed", "reserve", "index.0/db", "index.0/conf"] {
        let path = queue.join(name);
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        assert_strange(&mut scene, &path, "a directory");
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
    let log = fs::read_dir(queue.join("log")).unwrap().next().unwrap().unwrap().path();
    for path in [queue.join("index.0/db"), queue.join("index.0"), log] {
        fs::rename(&path, &aside).unwrap();
        for target in [&aside, &scene.path("nowhere")] {
            symlink(target, &path).unwrap();
            let led = format!("a link to {}", target.display());
            assert_strange(&mut scene, &path, &led);
            fs::remove_file(&path).unwrap();
        }
        fs::rename(&aside, &path).unwrap();
    }
    for name in ["log", "parked", "doubt", "quarantine"] {
        let path = queue.join(name);
        fs::rename(&path, &aside).unwrap();
        symlink(scene.path("unmounted"), &path).unwrap();
        assert_refused(&mut scene, &path, 1);
        assert!(scene.log().contains("which is not there"), "{}", scene.log());
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
    // What is only ever replaced may be anything.
    for name in ["clock", "learned"] {
        let _ = fs::remove_file(queue.join(name));
        rustix::fs::mkfifoat(rustix::fs::CWD, queue.join(name), 0o600.into()).unwrap();
    }
    assert_good(&mut scene);
}

#[test]
fn a_checkpoint_of_a_newer_version_is_told_by_check_too() {
    let mut scene = scene(|_| String::new());
    let file = scene.queue_dir().join("checkpoint");
    let before = fs::read(&file).unwrap();
    let mut bytes = before[..before.len() - 4].to_vec();
    bytes[7] += 1;
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    fs::write(&file, &bytes).unwrap();
    let ended = scene.command(&["check", "--offline"]);
    assert_eq!(ended.code, Some(78), "{}", ended.out);
    assert!(
        ended.out.contains("S1C-E227") && ended.out.contains("wrote checkpoint"),
        "{}",
        ended.out
    );
    let ended = scene.once_with_code(78);
    assert!(ended.err.contains("S1C-E227"), "{}", ended.err);
    assert_eq!(fs::read(&file).unwrap(), bytes, "nothing was changed");
    fs::write(&file, before).unwrap();
    assert_good(&mut scene);
}

/// As after a restore of some files by root.
#[test]
fn what_belongs_to_another_within_the_queue_is_told_by_check_and_by_run() {
    if !is_root() {
        return;
    }
    let mut scene = scene(|_| String::new());
    scene.ingress.server.take_away();
    scene.tenant().publish(Kind::Activities, 10);
    scene.once_with_code(75);
    scene.ingress.server.bring_back();
    tree(&scene.path(".")).iter().for_each(|path| give(path));
    let ended = scene.command(&["check", "--offline"]);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let queue = scene.queue_dir();
    let log = fs::read_dir(queue.join("log")).unwrap().next().unwrap().unwrap().path();
    let mut parts: Vec<PathBuf> = [
        "index.0",
        "index.0/db",
        "doubt",
        "parked",
        "quarantine",
        "checkpoint",
        "head",
        "id",
        "lock",
    ]
    .iter()
    .map(|part| queue.join(part))
    .collect();
    parts.push(log);
    for part in parts {
        chown(&part, Some(0), Some(0)).unwrap();
        assert_refused(&mut scene, &part, 1);
        give(&part);
    }
    assert_good(&mut scene);
    scene.assert_exactly_once();
}

/// `check` warns of it, and a run says that it can't write it.
fn assert_unwritable(scene: &mut Scene, step: &str, says: &str) {
    let ended = scene.command(&["check", "--offline"]);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(ended.out.contains(&format!("note {step}")), "{step}\n{}", ended.out);
    let ended = scene.once_with_code(0);
    assert!(ended.err.contains(says), "{}", ended.err);
}

#[test]
fn a_file_that_can_not_be_replaced_is_told_by_check_and_by_run() {
    let metrics =
        |scene: &Scene| format!("[metrics]\nfile = \"{}\"\n", scene.path("s1.prom").display());
    let mut scene = scene(metrics);
    for (name, step, says) in [
        ("status.json", "status file", "Failed to write the status file"),
        ("s1.prom", "metrics", "Failed to write metrics"),
    ] {
        for name in [name.to_owned(), format!("{name}.new")] {
            let _ = fs::remove_file(scene.path(&name));
            fs::create_dir(scene.path(&name)).unwrap();
            assert_unwritable(&mut scene, step, says);
            fs::remove_dir(scene.path(&name)).unwrap();
        }
    }
    let ended = scene.command(&["check", "--offline"]);
    assert!(ended.out.contains("ok   metrics"), "{}", ended.out);
}

#[test]
fn what_is_anothers_in_a_sticky_directory_is_told_by_check_and_by_run() {
    if !is_root() {
        return;
    }
    let metrics =
        |scene: &Scene| format!("[metrics]\nfile = \"{}\"\n", scene.path("tmp/s1.prom").display());
    let mut scene = scene(metrics);
    tree(&scene.path(".")).iter().for_each(|path| give(path));
    let (dir, file) = (scene.path("tmp"), scene.path("tmp/s1.prom"));
    chown(&dir, Some(0), Some(0)).unwrap();
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o1777)).unwrap();
    assert_good(&mut scene);
    chown(&file, Some(ANOTHER), Some(ANOTHER)).unwrap();
    assert_unwritable(&mut scene, "metrics", "Failed to write metrics");
    chown(&file, Some(65_534), None).unwrap();
    assert_good(&mut scene);
}

/// Writing the status replaces a file: no name that the queue has is one for it.
#[test]
fn no_file_of_a_queue_is_taken_for_the_status() {
    let mut scene = scene(|_| String::new());
    scene.run();
    let mut names: Vec<String> = fs::read_dir(scene.queue_dir())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    scene.stop();
    assert!(names.len() > 8, "{names:?}");
    // Present only while the index is opened, or a file is imported.
    names.extend(["opening.1", "importing", "imported", "left-behind"].map(str::to_owned));
    for name in names {
        let path = scene.queue_dir().join(&name);
        scene.settings.status_file = path.display().to_string();
        scene.write_config();
        let ended = scene.command(&["check", "--offline"]);
        assert_eq!(ended.code, Some(78), "{name}\n{}{}", ended.out, ended.err);
        assert!(
            format!("{}{}", ended.out, ended.err).contains("S1C-E342"),
            "{name}\n{}",
            ended.err
        );
    }
}
