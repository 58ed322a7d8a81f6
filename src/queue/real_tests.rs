//! Files of a real directory: no handle outlives its file, and nothing but a plain file is a lock.

use std::os::unix::fs::symlink;

use super::*;
use crate::test_world::temp::TempDir;

fn disk() -> (TempDir, RealDisk) {
    let dir = TempDir::new("real");
    let disk = RealDisk::new(dir.path());
    (dir, disk)
}

fn kind_of<T>(outcome: io::Result<T>) -> Option<io::ErrorKind> {
    outcome.err().map(|why| why.kind())
}

#[test]
fn a_handle_gone_bad_is_not_a_bad_file() {
    let (dir, mut disk) = disk();
    let path = dir.path().join("file");
    fs::write(&path, "whole").unwrap();
    // Nothing can be read from it.
    let bad = OpenOptions::new().write(true).open(&path).unwrap();
    disk.reader = Some(("file".to_owned(), bad));
    assert_eq!(disk.read("file", 0, 9).unwrap(), b"whole");
}

/// What can't be synced says so, which shows that the kernel was asked: in the page cache all
/// looks well until the power goes.
#[test]
fn syncing_asks_the_kernel() {
    let mut devices = RealDisk::new("/dev");
    assert!(devices.sync_data("null").is_err());
    devices.overwrite("null", 0, b"x").unwrap();
    assert!(devices.sync_data("null").is_err(), "nor through the handle that overwrites");
    assert!(RealDisk::new("/proc").sync_dir("").is_err());
    let (dir, _) = disk();
    assert!(RealDisk::new(dir.path().join("missing")).sync_all().is_err());
}

#[test]
fn a_lock_is_seen_by_others_while_it_is_held() {
    let (dir, mut disk) = disk();
    assert_eq!(disk.place(), dir.path().to_str().unwrap());
    assert_eq!((is_in_use(dir.path()), holder(dir.path())), (Some(false), None));
    disk.lock().unwrap();
    let own = Some(std::process::id());
    assert_eq!((is_in_use(dir.path()), holder(dir.path())), (Some(true), own));
    match RealDisk::new(dir.path()).lock() {
        Err(LockRefused::Held { holder }) => assert_eq!(holder, own),
        other => panic!("{other:?}"),
    }
    drop(disk);
    assert_eq!((is_in_use(dir.path()), holder(dir.path())), (Some(false), own));
}

#[test]
fn what_this_program_never_makes_is_no_lock() {
    for what in ["a symbolic link", "a hard link", "no file"] {
        let (dir, mut disk) = disk();
        let (lock, other) = (dir.path().join(LOCK), dir.path().join("other"));
        fs::write(&other, "theirs").unwrap();
        match what {
            "a symbolic link" => symlink(&other, &lock).unwrap(),
            "a hard link" => fs::hard_link(&other, &lock).unwrap(),
            _ => fs::create_dir(&lock).unwrap(),
        }
        let Err(LockRefused::Io(why)) = disk.lock() else { panic!("{what} is taken") };
        assert_eq!(why.kind(), io::ErrorKind::PermissionDenied, "{what}");
        assert!(why.to_string().contains(what), "{why}");
        assert_eq!(fs::read(&other).unwrap(), b"theirs", "{what}");
        if what == "a symbolic link" {
            assert_eq!((is_in_use(dir.path()), holder(dir.path())), (None, None));
        }
    }
}

#[test]
fn what_stands_in_the_way_of_a_lock_is_told() {
    let refused = take_lock(Path::new("/sys/lock")).unwrap_err();
    assert_ne!(refused.kind(), io::ErrorKind::NotFound, "{refused}");
    let (dir, _) = disk();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let Err(LockRefused::Io(why)) = RealDisk::new(&file).lock() else { panic!("it is locked") };
    assert!(why.to_string().starts_with("mkdir "), "{why}");
    assert!(disk().1.create_dir("missing/below").is_err());
}

/// Bytes written through a handle whose file has lost its name would be lost.
#[test]
fn what_is_removed_or_renamed_is_written_and_read_no_more() {
    type Away = fn(&mut RealDisk) -> io::Result<()>;
    let aways: [(&str, Away); 3] = [
        ("removed", |disk| disk.remove("a")),
        ("removed as a tree", |disk| disk.remove_tree("a")),
        ("renamed", |disk| disk.rename("a", "c")),
    ];
    for (what, away) in aways {
        let (_dir, mut disk) = disk();
        disk.create_steady("a", b"steady").unwrap();
        disk.append("a", b" and longer").unwrap();
        disk.overwrite("a", 0, b"STEADY").unwrap();
        assert_eq!(disk.read("a", 0, 99).unwrap(), b"STEADY and longer");
        away(&mut disk).unwrap();
        let missing = Some(io::ErrorKind::NotFound);
        assert_eq!(kind_of(disk.append("a", b"x")), missing, "{what}");
        assert_eq!(kind_of(disk.overwrite("a", 0, b"x")), missing, "{what}");
        assert_eq!(kind_of(disk.sync_data("a")), missing, "{what}");
        assert_eq!(kind_of(disk.read("a", 0, 9)), missing, "{what}");
    }
}

#[test]
fn a_file_that_takes_the_place_of_another_is_the_one_that_is_meant() {
    let (dir, mut disk) = disk();
    disk.create_steady("old", b"old").unwrap();
    disk.create("new").unwrap();
    disk.append("new", b"new").unwrap();
    disk.append("old", b"").unwrap();
    disk.overwrite("old", 0, b"OLD").unwrap();
    assert_eq!(disk.read("old", 0, 9).unwrap(), b"OLD");
    disk.rename("new", "old").unwrap();
    assert_eq!(disk.read("old", 0, 9).unwrap(), b"new");
    disk.append("old", b"er").unwrap();
    disk.overwrite("old", 0, b"N").unwrap();
    assert_eq!(fs::read(dir.path().join("old")).unwrap(), b"Newer");
}

#[test]
fn a_file_made_anew_in_a_directory_made_anew_is_the_one_that_is_meant() {
    let (dir, mut disk) = disk();
    for content in ["first", "second"] {
        disk.create_dir("d").unwrap();
        disk.create("d/log").unwrap();
        disk.append("d/log", content.as_bytes()).unwrap();
        assert_eq!(disk.read("d/log", 0, 9).unwrap(), content.as_bytes());
        disk.create_steady("d/head", b"______").unwrap();
        disk.overwrite("d/head", 0, content.as_bytes()).unwrap();
        disk.sync_data("d/head").unwrap();
        let head = fs::read_to_string(dir.path().join("d/head")).unwrap();
        assert!(head.starts_with(content), "{head}");
        assert_eq!(fs::read_to_string(dir.path().join("d/log")).unwrap(), content);
        disk.remove_tree("d").unwrap();
        assert!(!dir.path().join("d").exists());
    }
}

#[test]
fn each_of_several_files_gets_what_is_meant_for_it() {
    let (dir, mut disk) = disk();
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        disk.create_steady(name, b"........").unwrap();
    }
    for name in names.iter().chain(&names) {
        disk.append(name, name.as_bytes()).unwrap();
        disk.overwrite(name, 1, name.as_bytes()).unwrap();
        disk.sync_data(name).unwrap();
        assert!(disk.sync_data("missing").is_err(), "it is not another one that is synced");
    }
    for name in names {
        let content = fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(content, format!(".{name}......{name}{name}"));
        disk.truncate(name, 2).unwrap();
        assert_eq!(disk.read(name, 0, 99).unwrap(), format!(".{name}").as_bytes());
    }
    // Of the handles of this process, those to files of this directory.
    let handles = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = handles.filter_map(|handle| fs::read_link(handle.path()).ok());
    let held = targets.filter(|target| target.starts_with(dir.path())).count();
    assert!(held <= WRITERS_MAX + 2, "{held} files are held open");
}

#[test]
fn nothing_is_written_through_a_link() {
    let (dir, mut disk) = disk();
    let other = dir.path().join("other");
    fs::write(&other, "theirs").unwrap();
    symlink(&other, dir.path().join("link")).unwrap();
    assert!(disk.overwrite("link", 0, b"ours").is_err());
    assert!(disk.append("link", b"ours").is_err());
    assert!(disk.create_steady("link", b"ours").is_err());
    assert_eq!(fs::read(&other).unwrap(), b"theirs");
}
