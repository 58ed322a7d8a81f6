//! The index in sled 0.34, with what was measured about it built in (docs/QUEUE.md).
//!
//! Promises: `commit` returns after an fdatasync of our own, because sled's `flush` is not one;
//! a panic of sled is an error here, and so is silence: over a damaged file sled can spin for ever, in
//! opening as in reading. A handle that failed is leaked, because dropping it can hang. Never: asks
//! sled for a length, a size, or a scan to the end.
//!
//! Everything is asked of sled on one thread, which is given up when it does not answer. sled starts
//! seven more for its IO on the first write. These eight are the only threads of the program besides
//! the main one.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::helper::{Helper, Silence};
use super::index::{Batch, Index, IndexError, IndexFault, Opener, Pair};
use super::real::tree_bytes;
use crate::answer::one_line;
use crate::limits::{
    INDEX_ANSWER_SECONDS_MAX, INDEX_LOCKED_PAUSE_MS, INDEX_LOCKED_TRIES_MAX, SLED_CACHE_BYTES,
};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside sled, where a panic is an answer like any other: it is told by
/// whoever gets it, once.
pub fn is_inside() -> bool {
    INSIDE.get()
}

/// The indexes of a real directory: `index.<n>`.
#[derive(Clone, Debug)]
pub struct SledOpener {
    root: PathBuf,
    patience: Duration,
}

impl SledOpener {
    pub fn new(root: impl Into<PathBuf>) -> SledOpener {
        SledOpener { root: root.into(), patience: Duration::from_secs(INDEX_ANSWER_SECONDS_MAX) }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.root.join(format!("index.{number}"))
    }

    fn numbers(&self) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix("index."));
            numbers.extend(digits.and_then(|digits| digits.parse::<u32>().ok()));
        }
        Ok(numbers)
    }
}

impl Opener for SledOpener {
    type Index = SledIndex;

    fn newest(&mut self) -> io::Result<Option<u32>> {
        Ok(self.numbers()?.into_iter().max())
    }

    fn open(&mut self, number: u32) -> Result<SledIndex, IndexError> {
        // sled waits for ever for a thread that could not be started; where this one can, those can.
        let helper = Helper::start("index", self.patience, || None).map_err(|error| {
            let why = format!("no thread could be started: {error}");
            IndexError { fault: IndexFault::NoThread, why }
        })?;
        let (path, root) = (self.path(number), self.root.clone());
        let mut index = SledIndex { path: path.clone(), helper: Some(helper) };
        index.ask(move |open| {
            let config = sled::Config::new()
                .path(&path)
                .cache_capacity(SLED_CACHE_BYTES)
                .flush_every_ms(None);
            remove_unfinished(&path).map_err(|error| told(&error))?;
            let db = unlocked(|| guarded(|| config.open()))?;
            match make_durable(&path, &root) {
                Ok(file) => *open = Some((db, file)),
                Err(error) => {
                    std::mem::forget(db);
                    return Err(told(&error));
                }
            }
            Ok(())
        })?;
        Ok(index)
    }

    fn set_aside(&mut self, number: u32, name: &str) -> io::Result<()> {
        let quarantine = self.root.join("quarantine");
        fs::rename(self.path(number), quarantine.join(name))?;
        sync(&quarantine)?;
        sync(&self.root)
    }

    fn remove_below(&mut self, number: u32) -> io::Result<()> {
        for older in self.numbers()?.into_iter().filter(|older| *older < number) {
            fs::remove_dir_all(self.path(older))?;
        }
        Ok(())
    }
}

/// Tries again while the index is locked. The queue's own lock is held by then, so no other process
/// has it: it is an earlier handle of this one, whose threads have yet to let go of the file.
fn unlocked<T>(mut open: impl FnMut() -> Result<T, IndexError>) -> Result<T, IndexError> {
    for _ in 1..INDEX_LOCKED_TRIES_MAX {
        match open() {
            Err(error) if error.fault == IndexFault::Locked => {
                // Nobody unparks this thread; should it wake early all the same, it only asks sooner.
                std::thread::park_timeout(Duration::from_millis(INDEX_LOCKED_PAUSE_MS));
            }
            outcome => return outcome,
        }
    }
    open()
}

/// Removes a snapshot that sled had not finished when it was killed: sled reads the file whose name
/// sorts last, also half-written, and calls the index corrupt. Only its renaming makes a snapshot
/// count, and until then the one before it is there.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|n| n.starts_with("snap.") && n.ends_with(".generating")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// sled creates its files without an fsync of them or of their names.
fn make_durable(path: &Path, root: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path.join("db"))?;
    file.sync_all()?;
    sync(&path.join("conf"))?;
    sync(path)?;
    sync(root)?;
    Ok(file)
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// sled's handle with our own of its file, for fdatasync. `None` once anything failed.
type Open = Option<(sled::Db, File)>;

/// An open sled database.
#[derive(Debug)]
pub struct SledIndex {
    path: PathBuf,
    /// `None` once anything failed.
    helper: Option<Helper<Open>>,
}

impl SledIndex {
    /// Does one thing on the thread. After an error, a panic or silence nothing is asked any more:
    /// sled is poisoned by a single error, and its drop then waits for what never comes.
    fn ask<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut Open) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let Some(helper) = &self.helper else {
            let why = "the index failed before and is not asked again".to_owned();
            return Err(IndexError { fault: IndexFault::Broken, why });
        };
        let answer = helper.ask(|open| {
            let outcome = job(open);
            if outcome.is_err() {
                std::mem::forget(open.take());
            }
            outcome
        });
        let outcome = answer.unwrap_or_else(|silence| {
            let why = match silence {
                Silence::TooLong => format!(
                    "sled did not answer within {INDEX_ANSWER_SECONDS_MAX} s; until the next start \
                     its thread may keep a processor busy"
                ),
                Silence::Gone => "the thread of the index ended".to_owned(),
            };
            Err(IndexError { fault: IndexFault::Broken, why })
        });
        if outcome.is_err() {
            self.give_up();
        }
        outcome
    }

    /// Does one thing with the database.
    fn with<T: Send + 'static>(
        &mut self,
        action: impl FnOnce(&sled::Db) -> Result<T, sled::Error> + Send + 'static,
    ) -> Result<T, IndexError> {
        self.ask(|open| {
            let (db, _) = open.as_ref().ok_or_else(|| IndexError {
                fault: IndexFault::Broken,
                why: "the index is not open".to_owned(),
            })?;
            guarded(|| action(db))
        })
    }

    /// The thread ends once it is idle, and leaks the handle. One that never gets idle stays.
    fn give_up(&mut self) {
        if let Some(helper) = self.helper.take() {
            helper.leave(|open| std::mem::forget(open.take()));
        }
    }
}

impl Index for SledIndex {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let key = key.to_vec();
        self.with(move |db| Ok(db.get(key)?.map(|value| value.to_vec())))
    }

    fn range(&mut self, prefix: &[u8], from: &[u8], max: usize) -> Result<Vec<Pair>, IndexError> {
        let (prefix, from) = (prefix.to_vec(), from.to_vec());
        self.with(move |db| {
            let mut pairs = Vec::new();
            for pair in db.range(from..).take(max) {
                let (key, value) = pair?;
                if !key.starts_with(&prefix) {
                    break;
                }
                pairs.push((key.to_vec(), value.to_vec()));
            }
            Ok(pairs)
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), IndexError> {
        batch.check();
        let mut changes = sled::Batch::default();
        for (key, value) in &batch.changes {
            match value {
                Some(value) => changes.insert(key.as_slice(), value.as_slice()),
                None => changes.remove(key.as_slice()),
            }
        }
        self.with(|db| {
            db.apply_batch(changes)?;
            db.flush().map(|_| ())
        })?;
        self.ask(|open| {
            open.as_ref().map_or(Ok(()), |(_, file)| file.sync_data().map_err(|e| told(&e)))
        })
    }

    fn bytes(&mut self) -> u64 {
        // Only for the books, so a file that vanishes while it is counted counts nothing.
        tree_bytes(&self.path).unwrap_or(0)
    }

    fn close(mut self) {
        // Whatever comes of it: what counts is on the disk.
        let _ = self.ask(|open| {
            let closed = open.take();
            let _ = inside(|| drop(closed));
            Ok(())
        });
    }

    fn forget(mut self) {
        self.give_up();
    }
}

fn inside<T>(action: impl FnOnce() -> T) -> std::thread::Result<T> {
    INSIDE.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(action));
    INSIDE.set(false);
    outcome
}

fn guarded<T>(action: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, IndexError> {
    match inside(action) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(told(&error)),
        Ok(Err(error)) => Err(IndexError { fault: IndexFault::Broken, why: error.to_string() }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let why = format!("sled panicked: {}", one_line(text.unwrap_or("no reason given")));
            Err(IndexError { fault: IndexFault::Broken, why })
        }
    }
}

fn told(error: &io::Error) -> IndexError {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    let why = error.to_string();
    // sled wraps the error of flock in one of kind Other and says so in its text only.
    let fault = if why.contains("could not acquire lock") {
        IndexFault::Locked
    } else if super::disk::is_full(error) || why.contains("StorageFull") {
        IndexFault::Full
    } else if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) {
        IndexFault::Denied
    } else {
        IndexFault::Broken
    };
    IndexError { fault, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::TempDir;

    /// The kernel answers fdatasync on it with an error, which shows that it was asked.
    const NOT_SYNCED: &str = "/dev/null";

    fn one_change() -> Batch {
        let mut batch = Batch::default();
        batch.put(b"c".to_vec(), vec![1]);
        batch
    }

    fn created(dir: &TempDir) -> SledOpener {
        fs::create_dir_all(&dir.0).unwrap();
        SledOpener::new(&dir.0)
    }

    #[test]
    fn a_snapshot_that_a_kill_left_half_written_costs_nothing() {
        let dir = TempDir::new();
        let mut index = created(&dir).open(0).unwrap();
        index.commit(&one_change()).unwrap();
        index.close();
        // A start writes its snapshot before it is renamed; this one was killed after the open.
        let folder = dir.0.join("index.0");
        for half in [&b""[..], b"too short", b"long enough and yet no snapshot at all"] {
            let unfinished = folder.join("snap.7FFFFFFFFFFFFFFF.generating");
            fs::write(&unfinished, half).unwrap();
            let mut index = SledOpener::new(&dir.0).open(0).unwrap();
            assert_eq!(index.get(b"c").unwrap(), Some(vec![1]));
            assert!(!unfinished.exists());
            index.close();
        }
    }

    #[test]
    fn a_commit_ends_with_an_fdatasync_of_our_own_and_its_failure_ends_the_handle() {
        let dir = TempDir::new();
        let mut index = created(&dir).open(0).unwrap();
        index.commit(&one_change()).unwrap();
        index
            .ask(|open| {
                open.as_mut().unwrap().1 = OpenOptions::new().write(true).open(NOT_SYNCED).unwrap();
                Ok(())
            })
            .unwrap();
        assert!(index.commit(&one_change()).is_err());
        assert!(index.helper.is_none() && index.get(b"c").is_err());
    }

    #[test]
    fn a_panic_or_an_error_of_sled_ends_the_handle() {
        let dir = TempDir::new();
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
        let dir = TempDir::new();
        created(&dir).open(0).unwrap().close();
        let path = dir.0.join("index.0");
        assert!(make_durable(&path, &dir.0).is_ok());
        assert!(make_durable(&path, Path::new("/proc")).is_err(), "the directory of the index");
        for file in ["conf", "db"] {
            let (there, aside) = (path.join(file), path.join("aside"));
            fs::rename(&there, &aside).unwrap();
            std::os::unix::fs::symlink(NOT_SYNCED, &there).unwrap();
            assert!(make_durable(&path, &dir.0).is_err(), "{file}");
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
        let dir = TempDir::new();
        created(&dir).open(0).unwrap().close();
        let holder = File::open(dir.0.join("index.0/db")).unwrap();
        holder.lock().unwrap();
        assert_eq!(created(&dir).open(0).unwrap_err().fault, IndexFault::Locked);
    }

    #[test]
    fn an_index_that_does_not_answer_is_given_up() {
        let dir = TempDir::new();
        let mut opener = created(&dir);
        opener.patience = Duration::ZERO;
        let error = opener.open(0).unwrap_err();
        assert!(error.why.contains("did not answer"), "{error}");
        assert_eq!(error.fault, IndexFault::Broken);
        // It is out of the way, whatever its thread may still be doing.
        opener.patience = Duration::from_secs(60);
        let mut index = opener.open(1).unwrap();
        index.commit(&one_change()).unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        index.helper.as_mut().unwrap().set_patience(Duration::from_millis(1));
        let error = index.with(move |_| Ok(held.recv().is_ok())).unwrap_err();
        assert!(error.why.contains("did not answer") && index.get(b"c").is_err());
        drop(release);
    }
}
