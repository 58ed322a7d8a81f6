//! The index in sled 0.34, with what was measured about it built in (docs/QUEUE.md).
//!
//! Promises: `commit` returns after an fdatasync of our own, because sled's `flush` is not one;
//! a panic of sled is an error here, and so is silence, where the disk is not its reason: over a damaged
//! file sled can spin for ever, in opening as in reading. A handle that failed is leaked, because
//! dropping it can hang. Never: asks sled for a length, a size, or a scan to the end; calls an index
//! broken because its disk is slow.
//!
//! Everything is asked of sled on one thread, which is given up when it does not answer. sled starts
//! seven more for its IO on the first write.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::index::{Batch, Index, IndexError, IndexFault, Opener, Pair};
use super::real::{LOCK, tree_bytes};
use crate::edge::helper::{Helper, Pending, Silence};
use crate::edge::made;
use crate::errno::says;
use crate::limits::{
    DISK_QUICK_MS, INDEX_ANSWER_SECONDS_MAX, INDEX_LOCKED_PAUSE_MS, INDEX_LOCKED_TRIES_MAX,
    SLED_CACHE_BYTES,
};
use crate::plain::one_line;

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
        let mut index = SledIndex { path: path.clone(), root: root.clone(), helper: Some(helper) };
        index.ask(Whose::Sled, move |open| {
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

    fn remove(&mut self, number: u32) -> io::Result<()> {
        remove_whole(&self.path(number))?;
        sync(&self.root)
    }

    fn remove_below(&mut self, number: u32) -> io::Result<()> {
        for older in self.numbers()?.into_iter().filter(|older| *older < number) {
            remove_whole(&self.path(older))?;
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

/// Removes an index. A handle of it that was leaked keeps no space.
fn remove_whole(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(made::no_link());
    let _ = options.open(path.join("db")).and_then(|file| file.set_len(0));
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
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
    /// The queue's directory.
    root: PathBuf,
    /// `None` once anything failed.
    helper: Option<Helper<Open>>,
}

/// Whose answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// sled's, which may never come.
    Sled,
    /// The kernel's alone, which comes when the disk has done its work.
    Disk,
}

/// Asks the disk of the queue for a write of a few bytes and its fdatasync, by a thread of its own. The
/// file is the lock, whose content is this process' number anyway. `None`: no thread is to be had.
fn ask_disk(root: &Path) -> Option<Pending<io::Result<()>>> {
    let lock = root.join(LOCK);
    let helper = Helper::start("disk", Duration::ZERO, || ()).ok()?;
    let write = move |(): &mut ()| {
        // It is held, so it is what it was; whatever keeps the disk is waited for here.
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(made::no_link());
        let mut file = options.open(lock)?;
        writeln!(file, "{}", std::process::id())?;
        file.sync_data()
    };
    helper.begin(write).ok()
}

/// Waits on for what has not answered in time, until the disk is no reason any more: it answered at
/// once, and again after one more patience. An error of the disk is an answer.
fn outwait<T>(late: &Pending<T>, patience: Duration, root: &Path) -> Result<T, Silence> {
    let quick = Duration::from_millis(DISK_QUICK_MS);
    let mut was_quick = false;
    loop {
        let mut is_quick = true;
        if let Some(disk) = ask_disk(root) {
            while matches!(disk.wait(quick), Err(Silence::TooLong)) {
                is_quick = false;
                match late.wait(Duration::ZERO) {
                    Err(Silence::TooLong) => {}
                    answer => return answer,
                }
            }
        }
        if is_quick && was_quick {
            return late.wait(Duration::ZERO);
        }
        was_quick = is_quick;
        match late.wait(patience) {
            Err(Silence::TooLong) => {}
            answer => return answer,
        }
    }
}

impl SledIndex {
    /// Does one thing on the thread. After an error, a panic or silence nothing is asked any more:
    /// sled is poisoned by a single error, and its drop then waits for what never comes.
    fn ask<T: Send + 'static>(
        &mut self,
        whose: Whose,
        job: impl FnOnce(&mut Open) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let Some(helper) = &self.helper else {
            let why = "the index failed before and is not asked again".to_owned();
            return Err(IndexError { fault: IndexFault::Broken, why });
        };
        let begun = helper.begin(|open| {
            let outcome = job(open);
            if outcome.is_err() {
                std::mem::forget(open.take());
            }
            outcome
        });
        let answer = begun.and_then(|pending| match (whose, pending.wait(helper.patience())) {
            (Whose::Sled, Err(Silence::TooLong)) => {
                outwait(&pending, helper.patience(), &self.root)
            }
            (Whose::Disk, Err(Silence::TooLong)) => pending.wait_on(),
            (_, answer) => answer,
        });
        let outcome = answer.unwrap_or_else(|silence| {
            let why = match silence {
                Silence::TooLong => format!(
                    "sled did not answer within {} s, though the disk did; until the next start its \
                     thread may keep a processor busy",
                    2 * INDEX_ANSWER_SECONDS_MAX
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
        self.ask(Whose::Sled, |open| {
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
        self.ask(Whose::Disk, |open| {
            open.as_ref().map_or(Ok(()), |(_, file)| file.sync_data().map_err(|e| told(&e)))
        })
    }

    fn bytes(&mut self) -> u64 {
        // Only for the books, so a file that vanishes while it is counted counts nothing.
        tree_bytes(&self.path).unwrap_or(0)
    }

    fn close(mut self) {
        // Whatever comes of it: what counts is on the disk.
        let _ = self.ask(Whose::Sled, |open| {
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
    let why = error.to_string();
    // sled wraps the error of flock in one of kind Other and says so in its text only.
    let fault = if why.contains("could not acquire lock") {
        IndexFault::Locked
    } else if why.contains("StorageFull") || why.contains("QuotaExceeded") {
        IndexFault::Full
    } else {
        IndexFault::of(says(error))
    };
    IndexError { fault, why }
}

#[cfg(test)]
#[path = "sled_tests.rs"]
mod tests;
