//! The index in sled 0.34, with workarounds for what was measured about it (docs/QUEUE.md).
//!
//! Promises: `commit` returns after an fdatasync of our own, because sled's `flush` is not one; a
//! panic of sled is an error here, and so is a call that does not return, unless the disk is the
//! reason: over a damaged file sled can loop for ever, in opening as in reading. A handle that
//! failed is leaked, because dropping it can hang. Never: asks sled for a length, a size, or a scan
//! to the end; calls an index broken because its disk is slow.
//!
//! All calls to sled are made on one thread, which is given up when it does not answer. sled starts
//! seven more for its IO on the first write.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::thread::set_current_timer_slack;

use super::index::{Batch, Index, IndexError, IndexFault, IndexStore, Pair};
use super::index_copy::IndexCopy;
use super::real::{LOCK, tree_bytes};
use crate::errno::{called, says};
use crate::limits::{
    DISK_QUICK_MS, INDEX_ANSWER_SECONDS_MAX, INDEX_LOCKED_PAUSE_MS, INDEX_LOCKED_TRIES_MAX,
    SLED_CACHE_BYTES, SLED_TIMER_SLACK_NS,
};
use crate::os::made;
use crate::os::timeout_thread::{NoReply, Pending, TimeoutThread};
use crate::plain::one_line;

/// The one directory in that of an index, for values larger than ours. Source: sled 0.34.
pub(super) const BLOBS: &str = "blobs";

/// What sled panics with when it is given no memory: for its buffer, and for an epoch.
const NO_MEMORY: [&str; 3] =
    ["failed to allocate", "converting zero into `Owned`", "memory allocation of"];

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside sled, where a panic is handled as an error: the caller reports it,
/// once.
pub fn is_inside() -> bool {
    INSIDE.get()
}

/// The indexes of a real directory: `index.<n>`.
#[derive(Clone, Debug)]
pub struct SledIndexStore {
    root: PathBuf,
    timeout: Duration,
    copy: Copy,
}

/// What is kept of an index that was opened, by its number.
#[derive(Clone, Debug)]
enum Copy {
    None,
    /// What it contained before.
    Of(u32, IndexCopy),
    /// It was given that again, which is done once.
    PutBack(u32),
}

impl SledIndexStore {
    pub fn new(root: impl Into<PathBuf>) -> SledIndexStore {
        let timeout = Duration::from_secs(INDEX_ANSWER_SECONDS_MAX);
        SledIndexStore { root: root.into(), timeout, copy: Copy::None }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.root.join(format!("index.{number}"))
    }

    fn numbers(&self) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        let list = |why| called("list", &self.root, why);
        for entry in fs::read_dir(&self.root).map_err(list)? {
            let name = entry.map_err(list)?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix("index."));
            numbers.extend(digits.and_then(|digits| digits.parse::<u32>().ok()));
        }
        Ok(numbers)
    }
}

/// The path of the index that a start would open, if there is one.
pub(super) fn newest(root: &Path) -> io::Result<Option<PathBuf>> {
    let opener = SledIndexStore::new(root);
    Ok(opener.numbers()?.into_iter().max().map(|number| opener.path(number)))
}

impl IndexStore for SledIndexStore {
    type Index = SledIndex;

    fn newest(&mut self) -> io::Result<Option<u32>> {
        Ok(self.numbers()?.into_iter().max())
    }

    fn open(&mut self, number: u32) -> Result<SledIndex, IndexError> {
        // sled waits for ever for a thread that could not be started; if this one can be started,
        // those can.
        let helper = TimeoutThread::start("index", self.timeout, || None).map_err(|error| {
            let why = format!("no thread could be started: {error}");
            IndexError { fault: IndexFault::NoThread, why }
        })?;
        let (path, root) = (self.path(number), self.root.clone());
        let mut index = SledIndex { path: path.clone(), root: root.clone(), helper: Some(helper) };
        if !matches!(self.copy, Copy::PutBack(same) if same == number) {
            let files = path.clone();
            let copy = index.ask(Whose::Disk, move |_| {
                IndexCopy::read(&files).map_err(|error| index_error(&error))
            })?;
            self.copy = copy.map_or(Copy::None, |copy| Copy::Of(number, copy));
        }
        index.ask(Whose::Sled, move |open| {
            let config = sled::Config::new()
                .path(&path)
                .cache_capacity(SLED_CACHE_BYTES)
                .flush_every_ms(None);
            remove_unfinished(&path).map_err(|error| index_error(&error))?;
            let named = |IndexError { fault, why }| {
                let why = format!("open {}: {why}", path.display());
                IndexError { fault, why }
            };
            let db = unlocked(|| unhurried(|| guarded(|| config.open()))).map_err(named)?;
            match make_durable(&path, &root) {
                Ok(file) => *open = Some((db, file)),
                Err(error) => {
                    std::mem::forget(db);
                    return Err(index_error(&error));
                }
            }
            Ok(())
        })?;
        Ok(index)
    }

    fn put_back(&mut self, number: u32) -> io::Result<bool> {
        match std::mem::replace(&mut self.copy, Copy::PutBack(number)) {
            Copy::Of(same, copy) if same == number => copy.put_back().map(|()| true),
            _ => Ok(false),
        }
    }

    fn drop_copy(&mut self) {
        self.copy = Copy::None;
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

/// Tries again while the index is locked. The queue's own lock is held, so no other process has it:
/// it is an earlier handle of this process, whose threads have not released the file yet.
fn unlocked<T>(mut open: impl FnMut() -> Result<T, IndexError>) -> Result<T, IndexError> {
    for _ in 1..INDEX_LOCKED_TRIES_MAX {
        match open() {
            Err(error) if error.fault == IndexFault::Locked => {
                // Nothing unparks this thread; a spurious wake-up only makes the next try earlier.
                std::thread::park_timeout(Duration::from_millis(INDEX_LOCKED_PAUSE_MS));
            }
            outcome => return outcome,
        }
    }
    open()
}

/// Opens an index whose threads the kernel may wake late from a wait that nothing ended: they inherit
/// this from the thread that starts them, which keeps it too if the index is open.
fn unhurried<T, E>(open: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // Refused, they wake once a second each and do nothing.
    let _ = set_current_timer_slack(NonZeroU64::new(SLED_TIMER_SLACK_NS));
    let opened = open();
    if opened.is_err() {
        let _ = set_current_timer_slack(None);
    }
    opened
}

/// Removes a snapshot that sled had not finished when it was killed: sled reads the file whose name
/// sorts last, even if it is incomplete, and calls the index corrupt. A snapshot counts only once
/// it is renamed, and until then the previous one exists.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|why| called("list", path, why))?,
    };
    for entry in entries {
        let entry = entry.map_err(|why| called("list", path, why))?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|n| n.starts_with("snap.") && n.ends_with(".generating")) {
            fs::remove_file(entry.path()).map_err(|why| called("unlink", &entry.path(), why))?;
        }
    }
    Ok(())
}

/// Removes an index. A leaked handle of it keeps no space allocated.
fn remove_whole(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(made::no_link());
    if let Ok(file) = options.open(path.join("db"))
        // Not where another name has it too.
        && file.metadata().is_ok_and(|found| found.nlink() == 1)
    {
        let _ = file.set_len(0);
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// sled creates its files without syncing them or their names.
fn make_durable(path: &Path, root: &Path) -> io::Result<File> {
    let db = path.join("db");
    let file = OpenOptions::new().read(true).write(true).open(&db);
    let file = file.map_err(|why| called("open", &db, why))?;
    file.sync_all().map_err(|why| called("fsync", &db, why))?;
    sync(&path.join("conf"))?;
    sync(path)?;
    sync(root)?;
    Ok(file)
}

fn sync(path: &Path) -> io::Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|why| called("fsync", path, why))
}

/// sled's handle, and a handle of our own on its file for fdatasync. `None` once anything failed.
type Open = Option<(sled::Db, File)>;

/// An open sled database.
#[derive(Debug)]
pub struct SledIndex {
    path: PathBuf,
    /// The queue's directory.
    root: PathBuf,
    /// `None` once anything failed.
    helper: Option<TimeoutThread<Open>>,
}

/// Whose answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// sled's, which may never come.
    Sled,
    /// The kernel's alone, which comes when the disk has finished.
    Disk,
}

/// Writes a few bytes to the queue's disk and syncs them, in a thread of its own, to see whether
/// the disk answers. The file is the lock, which contains this process's number anyway. `None`: the
/// system refuses a thread.
fn ask_disk(root: &Path) -> Option<Pending<io::Result<()>>> {
    let lock = root.join(LOCK);
    let helper = TimeoutThread::start("disk", Duration::ZERO, || ()).ok()?;
    let write = move |(): &mut ()| {
        // The lock is held, so the file was not replaced. If the disk hangs, only this thread
        // waits.
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(made::no_link());
        let mut file = options.open(lock)?;
        writeln!(file, "{}", std::process::id())?;
        file.sync_data()
    };
    helper.begin(write).ok()
}

/// Continues to wait for a late answer until the disk can't be the reason: it answered at once, and
/// again after one more timeout. An error of the disk is an answer too.
fn outwait<T>(late: &Pending<T>, timeout: Duration, root: &Path) -> Result<T, NoReply> {
    let quick = Duration::from_millis(DISK_QUICK_MS);
    let mut was_quick = false;
    loop {
        let mut is_quick = true;
        if let Some(disk) = ask_disk(root) {
            while matches!(disk.wait(quick), Err(NoReply::TooLong)) {
                is_quick = false;
                match late.wait(Duration::ZERO) {
                    Err(NoReply::TooLong) => {}
                    answer => return answer,
                }
            }
        }
        if is_quick && was_quick {
            return late.wait(Duration::ZERO);
        }
        was_quick = is_quick;
        match late.wait(timeout) {
            Err(NoReply::TooLong) => {}
            answer => return answer,
        }
    }
}

impl SledIndex {
    /// Runs one call on the thread. After an error, a panic or a timeout no more calls are made:
    /// sled is poisoned by a single error, and its drop then waits for ever.
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
        let answer = begun.and_then(|pending| match (whose, pending.wait(helper.timeout())) {
            (Whose::Sled, Err(NoReply::TooLong)) => outwait(&pending, helper.timeout(), &self.root),
            (Whose::Disk, Err(NoReply::TooLong)) => pending.wait_on(),
            (_, answer) => answer,
        });
        let outcome = answer.unwrap_or_else(|silence| {
            let why = match silence {
                NoReply::TooLong => format!(
                    "sled did not answer within {} s, though the disk did; until the next start its \
                     thread may keep a processor busy",
                    2 * INDEX_ANSWER_SECONDS_MAX
                ),
                NoReply::Gone => "the thread of the index ended".to_owned(),
            };
            Err(IndexError { fault: IndexFault::Broken, why })
        });
        if outcome.is_err() {
            self.give_up();
        }
        outcome
    }

    /// Runs one call on the database.
    fn with<T: Send + 'static>(
        &mut self,
        action: impl FnOnce(&sled::Db) -> Result<T, sled::Error> + Send + 'static,
    ) -> Result<T, IndexError> {
        let path = self.path.clone();
        let outcome = self.ask(Whose::Sled, |open| {
            let (db, _) = open.as_ref().ok_or_else(not_open)?;
            guarded(|| action(db))
        });
        outcome.map_err(|IndexError { fault, why }| {
            let why = format!("read or write {}: {why}", path.display());
            IndexError { fault, why }
        })
    }

    /// The thread ends once it is idle, and leaks the handle. A thread that hangs stays.
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
        let path = self.path.clone();
        self.ask(Whose::Disk, move |open| {
            let (_, file) = open.as_ref().ok_or_else(not_open)?;
            let synced = file.sync_data();
            synced.map_err(|why| index_error(&called("fdatasync", &path.join("db"), why)))
        })
    }

    fn bytes(&mut self) -> u64 {
        // Only for the space usage, so a file that vanishes during the count has no bytes.
        tree_bytes(&self.path).unwrap_or(0)
    }

    fn close(mut self) {
        // The result does not matter: everything that counts is on the disk.
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

fn not_open() -> IndexError {
    IndexError { fault: IndexFault::Broken, why: "the index is not open".to_owned() }
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
        Ok(Err(sled::Error::Io(error))) => Err(index_error(&error)),
        Ok(Err(error)) => Err(IndexError { fault: IndexFault::Broken, why: error.to_string() }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let text = one_line(text.unwrap_or("no reason given"));
            if NO_MEMORY.iter().any(|known| text.contains(known)) {
                let why = format!("there is not enough memory (sled: {text})");
                return Err(IndexError { fault: IndexFault::System, why });
            }
            let why = format!("sled panicked: {text}");
            Err(IndexError { fault: IndexFault::Broken, why })
        }
    }
}

/// The number in sled's text of an error of the system: `Os { code: 116, kind: .. }`.
fn errno_in(text: &str) -> Option<i32> {
    let digits = text.split_once("Os { code: ")?.1;
    digits.split(',').next()?.parse().ok()
}

fn index_error(error: &io::Error) -> IndexError {
    let text = error.to_string();
    // sled wraps the error of flock in one of kind Other; only its text shows it.
    if text.contains("could not acquire lock") {
        return IndexError { fault: IndexFault::Locked, why: text };
    }
    let of_system = errno_in(&text).map(io::Error::from_raw_os_error);
    let error = of_system.as_ref().unwrap_or(error);
    let fault = match text.contains("StorageFull") || text.contains("QuotaExceeded") {
        true => IndexFault::Full,
        false => IndexFault::of(says(error)),
    };
    IndexError { fault, why: error.to_string() }
}

#[cfg(test)]
#[path = "tests/sled.rs"]
mod tests;
