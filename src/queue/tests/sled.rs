//! sled as it fails: what ends a handle, and what does not.

use super::*;
use rustix::io::Errno;

use crate::queue::testing::TempDir;

/// The kernel answers fdatasync on it with an error, which shows that it was asked.
const NOT_SYNCED: &str = "/dev/null";

fn one_change() -> Batch {
    let mut batch = Batch::default();
    batch.put(b"c".to_vec(), vec![1]);
    batch
}

fn created(dir: &TempDir) -> SledIndexStore {
    SledIndexStore::new(dir.path())
}

#[test]
fn a_snapshot_that_a_kill_left_half_written_costs_nothing() {
    let dir = TempDir::new("queue");
    let mut index = created(&dir).open(0).unwrap();
    index.commit(&one_change()).unwrap();
    index.close();
    // A start writes its snapshot before it is renamed; this one was killed after the open.
    let folder = dir.path().join("index.0");
    for half in [&b""[..], b"too short", b"long enough and yet no snapshot at all"] {
        let unfinished = folder.join("snap.7FFFFFFFFFFFFFFF.generating");
        fs::write(&unfinished, half).unwrap();
        let mut index = SledIndexStore::new(dir.path()).open(0).unwrap();
        assert_eq!(index.get(b"c").unwrap(), Some(vec![1]));
        assert!(!unfinished.exists());
        index.close();
    }
}

#[test]
fn a_commit_ends_with_an_fdatasync_of_our_own_and_its_failure_ends_the_handle() {
    let dir = TempDir::new("queue");
    let mut index = created(&dir).open(0).unwrap();
    index.commit(&one_change()).unwrap();
    index
        .ask(Whose::Sled, |open| {
            open.as_mut().unwrap().1 = OpenOptions::new().write(true).open(NOT_SYNCED).unwrap();
            Ok(())
        })
        .unwrap();
    assert!(index.commit(&one_change()).is_err());
    assert!(index.helper.is_none() && index.get(b"c").is_err());
}

#[test]
fn a_panic_or_an_error_of_sled_ends_the_handle() {
    let dir = TempDir::new("queue");
    let mut index = created(&dir).open(0).unwrap();
    let error = index.with::<()>(|_| panic!("on purpose")).unwrap_err();
    assert!(error.why.contains("on purpose"));
    assert!(index.helper.is_none() && index.commit(&one_change()).is_err());
    let mut index = created(&dir).open(1).unwrap();
    index.with::<()>(|_| Err(sled::Error::Unsupported("on purpose".into()))).unwrap_err();
    assert!(index.helper.is_none() && index.get(b"c").is_err());
}

#[test]
fn what_sled_creates_is_synced_with_its_names() {
    let dir = TempDir::new("queue");
    created(&dir).open(0).unwrap().close();
    let path = dir.path().join("index.0");
    assert!(make_durable(&path, dir.path()).is_ok());
    assert!(make_durable(&path, Path::new("/proc")).is_err(), "the directory of the index");
    for file in ["conf", "db"] {
        let (there, aside) = (path.join(file), path.join("aside"));
        fs::rename(&there, &aside).unwrap();
        std::os::unix::fs::symlink(NOT_SYNCED, &there).unwrap();
        assert!(make_durable(&path, dir.path()).is_err(), "{file}");
        fs::rename(&aside, &there).unwrap();
    }
}

#[test]
fn a_panic_inside_is_one_line_for_whoever_asked() {
    let error = guarded(|| -> Result<(), sled::Error> {
        assert!(is_inside());
        panic!("first line\nsecond line")
    });
    assert_eq!(error.unwrap_err().why, "sled panicked: first line second line");
    assert!(!is_inside());
}

#[test]
fn a_handle_that_lets_go_late_is_waited_for_and_one_that_never_does_is_told() {
    let locked = || Err(IndexError { fault: IndexFault::Locked, why: "locked".into() });
    let mut tries = 0;
    let outcome = unlocked(|| {
        tries += 1;
        if tries < 3 { locked() } else { Ok(tries) }
    });
    assert_eq!(outcome.map_err(|error| error.fault), Ok(3));
    let mut tries = 0;
    let outcome = unlocked(|| -> Result<(), IndexError> {
        tries += 1;
        Err(IndexError { fault: IndexFault::Broken, why: "broken".into() })
    });
    assert_eq!((outcome.unwrap_err().fault, tries), (IndexFault::Broken, 1));
    let dir = TempDir::new("queue");
    created(&dir).open(0).unwrap().close();
    let holder = File::open(dir.path().join("index.0/db")).unwrap();
    holder.lock().unwrap();
    assert_eq!(created(&dir).open(0).unwrap_err().fault, IndexFault::Locked);
}

/// Each would wake the processor once a second otherwise, for ever.
#[test]
fn threads_of_sled_may_be_woken_late_and_the_thread_of_an_index_that_is_not_open_not() {
    let dir = TempDir::new("queue");
    let mut index = created(&dir).open(0).unwrap();
    index.commit(&one_change()).unwrap();
    let slack = |thread: &str| {
        let slack = fs::read_to_string(format!("/proc/{thread}/timerslack_ns")).unwrap();
        slack.trim().parse::<u64>().unwrap()
    };
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let threads: Vec<_> = tasks
        .filter(|task| {
            // Others may end meanwhile.
            let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
            name.starts_with("sled-io-")
        })
        .map(|task| task.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(threads.len() >= 7, "{threads:?}");
    for thread in threads {
        assert_eq!(slack(&thread), SLED_TIMER_SLACK_NS);
    }
    let now = move || slack(&rustix::thread::gettid().to_string());
    std::thread::spawn(move || {
        let usual = now();
        assert_eq!((unhurried(|| Err::<(), ()>(())), now()), (Err(()), usual));
        assert_eq!((unhurried(|| Ok::<(), ()>(())), now()), (Ok(()), SLED_TIMER_SLACK_NS));
    })
    .join()
    .unwrap();
}

#[test]
fn an_index_that_does_not_answer_is_given_up() {
    let dir = TempDir::new("queue");
    let mut opener = created(&dir);
    opener.timeout = Duration::ZERO;
    // Now and then even that is enough for it.
    let error = (10..1_000).find_map(|number| opener.open(number).err()).unwrap();
    assert!(error.why.contains("did not answer"), "{error}");
    assert_eq!(error.fault, IndexFault::Broken);
    // It is out of the way, whatever its thread may still be doing.
    opener.timeout = Duration::from_secs(60);
    let mut index = opener.open(1).unwrap();
    index.commit(&one_change()).unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    index.helper.as_mut().unwrap().set_timeout(Duration::from_millis(1));
    let error = index.with(move |_| Ok(held.recv().is_ok())).unwrap_err();
    assert!(error.why.contains("did not answer") && index.get(b"c").is_err());
    drop(release);
}

#[test]
fn an_index_on_a_disk_that_does_not_answer_is_waited_for() {
    let dir = TempDir::new("queue");
    let mut index = created(&dir).open(0).unwrap();
    // Opening a pipe for writing waits for its reader, as a write waits for a card.
    let lock = dir.path().join("lock");
    rustix::fs::mkfifoat(rustix::fs::CWD, &lock, 0o600.into()).unwrap();
    // Long enough for a loaded machine to run sled's thread once the disk has answered.
    index.helper.as_mut().unwrap().set_timeout(Duration::from_secs(5));
    let (answer, answers) = std::sync::mpsc::channel::<()>();
    let disk = std::thread::spawn(move || {
        // Opened once the disk was asked; sled answers before the disk does.
        let mut disk = File::open(lock).unwrap();
        answer.send(()).unwrap();
        io::copy(&mut disk, &mut io::sink()).unwrap();
    });
    let outcome = index.with(move |_| Ok(answers.recv().is_ok()));
    assert_eq!(outcome.map_err(|error| error.why), Ok(true));
    disk.join().unwrap();
    // What only the kernel is asked for takes as long as it takes: nobody asks the disk.
    index.helper.as_mut().unwrap().set_timeout(Duration::from_millis(1));
    let (answer, answers) = std::sync::mpsc::channel::<()>();
    let late = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_millis(50));
        answer.send(()).unwrap();
    });
    let outcome = index.ask(Whose::Disk, move |_| Ok(answers.recv().is_ok()));
    assert_eq!(outcome.map_err(|error| error.why), Ok(true));
    late.join().unwrap();
    index.commit(&one_change()).unwrap();
}

#[test]
fn what_the_system_says_is_told_in_words_and_is_no_damage() {
    let shown = |errno: Errno| format!("{:?}", io::Error::from(errno));
    for (errno, fault) in [
        (Errno::STALE, IndexFault::System),
        (Errno::NOMEM, IndexFault::System),
        (Errno::ROFS, IndexFault::Denied),
        (Errno::NOSPC, IndexFault::Full),
        (Errno::IO, IndexFault::Broken),
    ] {
        let error = index_error(&io::Error::new(io::Error::from(errno).kind(), shown(errno)));
        assert_eq!(error.why, io::Error::from(errno).to_string());
        assert_eq!(error.fault, fault, "{errno:?}");
    }
    for text in ["failed to allocate critical IO buffer", "converting zero into `Owned`"] {
        let error = guarded::<()>(|| panic!("{text}")).unwrap_err();
        assert_eq!(error.fault, IndexFault::System, "{text}");
        assert!(error.why.contains("not enough memory"));
    }
}

#[test]
fn only_unfinished_snapshots_are_removed() {
    let dir = TempDir::new("queue");
    let names = ["conf", "db", "snap.0000000000000001", "snap.1.generating", "x.generating"];
    names.iter().for_each(|name| fs::write(dir.path().join(name), name).unwrap());
    remove_unfinished(dir.path()).unwrap();
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["conf", "db", "snap.0000000000000001", "x.generating"]);
    assert!(remove_unfinished(&dir.path().join("none")).is_ok(), "there is no index yet");
    assert!(remove_unfinished(&dir.path().join("db")).is_err(), "this is no directory");
}

#[test]
fn an_index_that_is_removed_takes_no_space_though_its_handle_was_leaked() {
    let dir = TempDir::new("queue");
    let mut opener = created(&dir);
    let mut index = opener.open(3).unwrap();
    index.commit(&one_change()).unwrap();
    let path = dir.path().join("index.3");
    assert_eq!(index.bytes(), tree_bytes(&path).unwrap());
    assert_eq!(newest(dir.path()).unwrap(), Some(path.clone()));
    index.forget();
    let leaked = File::open(path.join("db")).unwrap();
    assert!(leaked.metadata().unwrap().len() > 0);
    opener.remove(3).unwrap();
    assert_eq!((leaked.metadata().unwrap().len(), path.exists()), (0, false));
    opener.remove(3).expect("it is gone already");
    assert_eq!(newest(dir.path()).unwrap(), None);
    fs::write(&path, "no directory").unwrap();
    assert!(opener.remove(3).is_err(), "what is not gone is told");
}

#[test]
fn an_index_is_set_aside_under_the_name_given() {
    let dir = TempDir::new("queue");
    let mut opener = created(&dir);
    opener.open(2).unwrap().close();
    assert!(opener.set_aside(2, "000001-index.2").is_err(), "there is no quarantine");
    fs::create_dir(dir.path().join("quarantine")).unwrap();
    opener.set_aside(2, "000001-index.2").unwrap();
    assert!(dir.path().join("quarantine/000001-index.2/db").exists());
    assert_eq!(opener.newest().unwrap(), None);
}

#[test]
fn the_disk_is_asked_by_writing_to_the_lock() {
    let dir = TempDir::new("queue");
    let lock = dir.path().join(LOCK);
    fs::write(&lock, "").unwrap();
    let asked = ask_disk(dir.path()).expect("there is a thread for it");
    asked.wait_on().unwrap().unwrap();
    assert_eq!(fs::read_to_string(&lock).unwrap(), format!("{}\n", std::process::id()));
}

#[test]
fn a_disk_that_answers_once_gives_sled_one_more_timeout() {
    let dir = TempDir::new("queue");
    fs::write(dir.path().join(LOCK), "").unwrap();
    let (answer, answers) = std::sync::mpsc::channel::<()>();
    let sled = TimeoutThread::start("test", Duration::ZERO, || answers).unwrap();
    let late = sled.begin(|answers| answers.recv().is_ok()).unwrap();
    let answering = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_millis(30));
        answer.send(()).unwrap();
    });
    assert_eq!(outwait(&late, Duration::from_secs(60), dir.path()), Ok(true));
    answering.join().unwrap();
}

#[test]
fn a_full_disk_and_a_used_up_quota_are_told_from_sleds_words_alone() {
    for (text, fault) in [
        ("IO error: StorageFull", IndexFault::Full),
        ("IO error: QuotaExceeded", IndexFault::Full),
        ("IO error: NotFound", IndexFault::Broken),
        ("could not acquire lock on it", IndexFault::Locked),
    ] {
        assert_eq!(index_error(&io::Error::other(text)).fault, fault, "{text}");
    }
}

#[test]
fn a_handle_that_lets_go_is_given_the_time_for_it() {
    let (let_go, released) = std::sync::mpsc::channel::<()>();
    let holder = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_millis(50));
        let_go.send(()).unwrap();
    });
    let locked = |_| IndexError { fault: IndexFault::Locked, why: "locked".into() };
    assert!(unlocked(|| released.try_recv().map_err(locked)).is_ok());
    holder.join().unwrap();
}
