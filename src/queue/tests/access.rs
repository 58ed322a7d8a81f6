//! What a start could not work with is refused before it, and nothing else is. What belongs to another user
//! is examined by `tests/it/access.rs`, because a unit test can't change its user.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::OpenError;
use super::access::{has_index, look};
use super::testing::*;
use crate::record::QueuePosition;
use crate::time::Mono;

/// A directory with all kinds of files that a queue has.
fn queue() -> TempDir {
    let dir = TempDir::new("queue");
    let (mut queue, ..) = dir.open();
    queue.append(&threats(), &page(&threats(), &[1, 2, 3], 1), progress(3, 1), &[]).unwrap();
    let first = queue.peek(ALL).unwrap().unwrap().sent.first;
    queue.park(first, Some(&entry(&threats(), 1)), "400").unwrap();
    let end = QueuePosition { seq: queue.held().head.seq.next(), skip: 0 };
    queue.doubt(end, "some").unwrap();
    queue.close(Mono(1));
    assert_eq!(told(dir.path()), None);
    dir
}

/// What is said against a directory.
fn told(dir: &Path) -> Option<String> {
    match look(dir).err()? {
        OpenError::Denied { why, remedy, .. } => {
            Some(format!("{why}. {}", remedy.unwrap_or_default()))
        }
        other => Some(other.to_string()),
    }
}

fn assert_refused(dir: &Path, path: &Path, what: &str) {
    let told = told(dir).unwrap_or_else(|| panic!("{} is accepted", path.display()));
    assert!(told.contains(&path.display().to_string()) && told.contains(what), "{told}");
}

fn make_fifo(path: &Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o600.into()).unwrap();
}

#[test]
fn a_directory_without_a_queue_is_good() {
    let dir = TempDir::new("queue");
    let missing = dir.path().join("missing");
    assert_eq!((told(&missing), told(&missing.join("below/it"))), (None, None), "it can be made");
    assert_eq!(told(dir.path()), None, "nothing in it is needed");
    assert!(!has_index(dir.path()));
    assert!(has_index(queue().path()));
}

/// A start makes the lock, so the rest is looked at all the same.
#[test]
fn without_a_lock_the_rest_of_a_queue_is_looked_at() {
    let dir = queue();
    fs::remove_file(dir.path().join("lock")).unwrap();
    assert_eq!(told(dir.path()), None);
    let checkpoint = dir.path().join("checkpoint");
    fs::remove_file(&checkpoint).unwrap();
    fs::create_dir(&checkpoint).unwrap();
    assert_refused(dir.path(), &checkpoint, "checkpoint");
}

#[test]
fn what_is_not_the_directory_of_a_queue_is_named() {
    let dir = TempDir::new("queue");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert_refused(&file, &file, "is not a directory");
    assert_refused(&file.join("below/it"), &file, "is not a directory");
    let link = dir.path().join("link");
    for target in [dir.path().join("unmounted"), link.clone()] {
        symlink(target, &link).unwrap();
        assert_refused(&link, &link, "which is not there. Mount or create");
        assert_refused(&link.join("below"), &link, "which is not there. Mount or create");
        fs::remove_file(&link).unwrap();
    }
    // The name can't be had at all: that is no reason to look above it.
    let long = dir.path().join("n".repeat(300));
    assert_refused(&long, &long, "stat");
}

#[test]
fn what_takes_the_place_of_a_queues_own_is_named() {
    let dir = queue();
    let aside = dir.path().join("aside");
    let within = |name: &str| dir.path().join(name);
    fs::hard_link(within("lock"), &aside).unwrap();
    assert_refused(dir.path(), &within("lock"), "which this program never creates");
    fs::remove_file(&aside).unwrap();
    for name in ["log", "quarantine", "parked", "doubt"] {
        fs::rename(within(name), &aside).unwrap();
        fs::write(within(name), "").unwrap();
        assert_refused(dir.path(), &within(name), "is not a directory. Move it away");
        fs::remove_file(within(name)).unwrap();
        symlink(within("unmounted"), within(name)).unwrap();
        assert_refused(dir.path(), &within(name), "move the link away");
        fs::remove_file(within(name)).unwrap();
        assert_eq!(told(dir.path()), None, "a directory that is missing is made");
        fs::rename(&aside, within(name)).unwrap();
    }
    for name in ["closed", "reserve", "index.0/db"] {
        fs::rename(within(name), &aside).unwrap();
        fs::create_dir(within(name)).unwrap();
        assert_refused(dir.path(), &within(name), "is a directory. Move it away");
        fs::remove_dir(within(name)).unwrap();
        fs::rename(&aside, within(name)).unwrap();
    }
    fs::rename(within("index.0"), &aside).unwrap();
    fs::write(within("index.0"), "").unwrap();
    assert_refused(dir.path(), &within("index.0"), "list");
    fs::remove_file(within("index.0")).unwrap();
    fs::rename(&aside, within("index.0")).unwrap();
    assert_eq!(told(dir.path()), None);
}

/// Only what a start reads has to be readable; whatever else lies there does not matter.
#[test]
fn a_file_that_a_start_reads_is_a_regular_one() {
    let dir = queue();
    let aside = dir.path().join("aside");
    for name in ["checkpoint", "head", "id"] {
        let path = dir.path().join(name);
        let was_there = fs::rename(&path, &aside).is_ok();
        assert_eq!(told(dir.path()), None, "{name} may be missing");
        make_fifo(&path);
        assert_refused(dir.path(), &path, "is no regular file. Move it away");
        fs::remove_file(&path).unwrap();
        if was_there {
            fs::rename(&aside, &path).unwrap();
        }
    }
    for part in ["log", "parked", "doubt"] {
        for (name, is_read) in [("x.log", true), ("x.txt", false), ("x", false)] {
            let path = dir.path().join(part).join(name);
            make_fifo(&path);
            match is_read {
                true => assert_refused(dir.path(), &path, "is no regular file. Move it away"),
                false => assert_eq!(told(dir.path()), None, "{part}/{name}"),
            }
            fs::remove_file(&path).unwrap();
        }
    }
    let link = dir.path().join("log/x.log");
    symlink(dir.path().join("head"), &link).unwrap();
    assert_refused(dir.path(), &link, "is a link to");
    fs::remove_file(&link).unwrap();
    // A link to itself is no name that vanished; one to nothing counts as that.
    let link = dir.path().join("parked/x.log");
    symlink(&link, &link).unwrap();
    assert_refused(dir.path(), &link, "stat");
    fs::remove_file(&link).unwrap();
    symlink(dir.path().join("nothing"), &link).unwrap();
    assert_eq!(told(dir.path()), None);
}
