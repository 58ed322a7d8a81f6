//! The queue's directory on a real file system.
//!
//! Promises: a handle that had an error is closed and never used again (keeps P9); files are
//! readable by their owner only, because they contain personal data from SentinelOne. Never: writes
//! through a link.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, OFlags};

use super::disk::{Disk, Item, LockRefused};
use super::sled::SledIndexStore;
use crate::errno::called;
use crate::os::made::{self, Readers};

/// Handles kept open for writing; the active log file and one more are enough.
const WRITERS_MAX: usize = 2;

/// A directory on a real file system.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    indexes: SledIndexStore,
    lock: Option<File>,
    writers: Vec<(String, File)>,
    reader: Option<(String, File)>,
    /// The file that is overwritten in place, with its path.
    steady: Option<(String, File)>,
}

/// The length of a process's number and its line feed.
const HOLDER_BYTES_MAX: u64 = 32;

/// The file in the queue's directory that the running process has locked.
pub const LOCK: &str = "lock";

/// Whether a process has the queue in this directory open. `None`: this process can't see it.
pub fn is_in_use(dir: &Path) -> Option<bool> {
    match look_at_lock(dir) {
        Ok(lock) => match lock.try_lock_shared() {
            Ok(()) => Some(false),
            Err(TryLockError::WouldBlock) => Some(true),
            Err(TryLockError::Error(_)) => None,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

/// The number of the process that last locked the queue in this directory.
pub fn holder(dir: &Path) -> Option<u32> {
    let mut text = String::new();
    look_at_lock(dir).ok()?.take(HOLDER_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn look_at_lock(dir: &Path) -> io::Result<File> {
    // Opening a FIFO or a device could block.
    let flags = made::flags(OFlags::NOFOLLOW | OFlags::NONBLOCK);
    OpenOptions::new().read(true).custom_flags(flags).open(dir.join(LOCK))
}

/// Why this file can't be a lock: this program never creates one like it.
fn strange(found: &fs::Metadata) -> Option<&'static str> {
    match () {
        () if found.is_symlink() => Some("a symbolic link"),
        () if !found.is_file() => Some("no file"),
        () if found.nlink() > 1 => Some("a hard link"),
        () => None,
    }
}

/// Opens the existing lock file for writing. It can't be made anew each time, because another
/// process may hold it; so a file with a second name (a hard link) is refused.
pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    let flags = made::flags(OFlags::NOFOLLOW | OFlags::NONBLOCK);
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    let found = match &opened {
        Ok(file) => file.metadata(),
        Err(_) => fs::symlink_metadata(path),
    };
    match found.ok().and_then(|found| strange(&found)) {
        None => opened.map_err(|why| called("open", path, why)),
        Some(what) => {
            let why = format!(
                "{} is {what}, which this program never creates: remove it",
                path.display()
            );
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
    }
}

/// Opens an existing file for reading. Opening a FIFO or a device could block.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(made::flags(OFlags::NONBLOCK)).open(path)
}

/// As `open_lock`; creates the file if it is missing.
fn take_lock(path: &Path) -> io::Result<File> {
    match open_lock(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            match made::file(path, Readers::Owner) {
                Err(why) if why.kind() != io::ErrorKind::AlreadyExists => {
                    Err(called("create", path, why))
                }
                // Also if another process has just created it.
                _ => open_lock(path),
            }
        }
        opened => opened,
    }
}

/// `is_in_use` takes the lock for a moment to see whether it is free; a daemon that starts in that
/// moment must not take it for another daemon.
fn lock_patiently(file: &File) -> Result<(), TryLockError> {
    const TRIES: u32 = 1_000;
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            other => return other,
        }
    }
    file.try_lock()
}

impl RealDisk {
    pub fn new(root: impl Into<PathBuf>) -> RealDisk {
        let root = root.into();
        let indexes = SledIndexStore::new(&root);
        RealDisk { root, indexes, lock: None, writers: Vec::new(), reader: None, steady: None }
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    /// Puts the call and the file in front of an error.
    fn named<T>(&self, call: &'static str, path: &str, outcome: io::Result<T>) -> io::Result<T> {
        outcome.map_err(|why| called(call, &self.path(path), why))
    }

    fn forget(&mut self, path: &str) {
        self.writers.retain(|(name, _)| name != path);
        self.reader.take_if(|(name, _)| name == path);
        self.steady.take_if(|(name, _)| name == path);
    }

    fn keep_writer(&mut self, path: &str, file: File) {
        if self.writers.len() >= WRITERS_MAX {
            self.writers.remove(0);
        }
        self.writers.push((path.to_owned(), file));
    }

    /// Runs an operation on a file open for writing, and closes the file if it fails.
    fn write(
        &mut self,
        call: &'static str,
        path: &str,
        action: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = match self.writers.iter().position(|(name, _)| name == path) {
            Some(at) => self.writers.remove(at).1,
            None => {
                let mut options = OpenOptions::new();
                options.append(true).custom_flags(made::no_link());
                self.named("open", path, options.open(self.path(path)))?
            }
        };
        self.named(call, path, action(&mut file))?;
        self.keep_writer(path, file);
        Ok(())
    }

    fn read_once(&mut self, path: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = match self.reader.take() {
            Some((name, file)) if name == path => file,
            _ => self.named("open", path, open(&self.path(path)))?,
        };
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.named("read", path, Err(error)),
            }
        }
        bytes.truncate(filled);
        self.reader = Some((path.to_owned(), file));
        Ok(bytes)
    }
}

impl Disk for RealDisk {
    type Indexes = SledIndexStore;

    fn index_store(&mut self) -> &mut SledIndexStore {
        &mut self.indexes
    }

    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn lock(&mut self) -> Result<(), LockRefused> {
        let made = made::directories(&self.root);
        made.map_err(|why| LockRefused::Io(called("mkdir", &self.root, why)))?;
        let path = self.path(LOCK);
        let mut file = take_lock(&path).map_err(LockRefused::Io)?;
        match lock_patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockRefused::Held { holder: holder(&self.root) });
            }
            Err(TryLockError::Error(error)) => {
                return Err(LockRefused::Io(called("flock", &path, error)));
            }
        }
        // The number is only for people; the lock itself is the kernel's. So a full disk is no
        // reason to fail here.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        self.lock = Some(file);
        Ok(())
    }

    fn create_dir(&mut self, dir: &str) -> io::Result<()> {
        match made::directory(&self.path(dir), Readers::Owner) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => self.named("mkdir", dir, other),
        }
    }

    fn list(&mut self, dir: &str) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        for entry in self.named("list", dir, fs::read_dir(self.path(dir)))? {
            let entry = self.named("list", dir, entry)?;
            let meta = entry.metadata().map_err(|why| called("stat", &entry.path(), why))?;
            // A name that is not UTF-8 was not made by this program.
            if let Ok(name) = entry.file_name().into_string() {
                items.push(Item { name, len: meta.len(), is_dir: meta.is_dir() });
            }
        }
        Ok(items)
    }

    fn create(&mut self, path: &str) -> io::Result<()> {
        self.forget(path);
        let file = self.named("create", path, made::file(&self.path(path), Readers::Owner))?;
        self.keep_writer(path, file);
        Ok(())
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.write("write", path, |file| file.write_all(bytes))
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        self.write("truncate", path, |file| file.set_len(len))
    }

    fn create_steady(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.forget(path);
        let mut file = self.named("create", path, made::file(&self.path(path), Readers::Owner))?;
        // Has to be set while the file is empty. A file system without this flag overwrites in
        // place anyway, or never does.
        let flags = rustix::fs::ioctl_getflags(&file);
        let _ = flags.and_then(|flags| rustix::fs::ioctl_setflags(&file, flags | IFlags::NOCOW));
        self.named("write", path, file.write_all(bytes).and_then(|()| file.sync_all()))
    }

    fn overwrite(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = match self.steady.take() {
            Some((name, file)) if name == path => file,
            _ => {
                let mut options = OpenOptions::new();
                options.write(true).custom_flags(made::no_link());
                self.named("open", path, options.open(self.path(path)))?
            }
        };
        self.named("write", path, file.write_all_at(bytes, offset))?;
        self.steady = Some((path.to_owned(), file));
        Ok(())
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        if let Some((name, file)) = self.steady.take_if(|(name, _)| name == path) {
            self.named("fdatasync", path, file.sync_data())?;
            self.steady = Some((name, file));
            return Ok(());
        }
        self.write("fdatasync", path, |file| file.sync_data())
    }

    fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        let synced = File::open(self.path(dir)).and_then(|dir| dir.sync_all());
        self.named("fsync", dir, synced)
    }

    fn read(&mut self, path: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        // A second try with a new handle distinguishes a bad handle from a bad sector.
        self.read_once(path, offset, len).or_else(|_| self.read_once(path, offset, len))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.forget(from);
        self.forget(to);
        self.named("rename", from, fs::rename(self.path(from), self.path(to)))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.forget(path);
        self.named("unlink", path, fs::remove_file(self.path(path)))
    }

    fn remove_tree(&mut self, path: &str) -> io::Result<()> {
        self.forget(path);
        let full = self.path(path);
        let removed = fs::symlink_metadata(&full).and_then(|found| match found.is_dir() {
            true => fs::remove_dir_all(full),
            false => fs::remove_file(full),
        });
        self.named("remove", path, removed)
    }

    fn tree_bytes(&mut self, path: &str) -> io::Result<u64> {
        self.named("stat", path, tree_bytes(&self.path(path)))
    }

    fn sync_all(&mut self) -> io::Result<()> {
        let synced = File::open(&self.root).and_then(|root| Ok(rustix::fs::syncfs(root)?));
        self.named("syncfs", "", synced)
    }

    fn free_bytes(&mut self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root).map_err(io::Error::from);
        let stat = self.named("statvfs", "", stat)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The bytes of a file, or of all files below a directory. Symbolic links are not followed.
pub(super) fn tree_bytes(path: &Path) -> io::Result<u64> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        sum += tree_bytes(&entry?.path())?;
    }
    Ok(sum)
}

#[cfg(test)]
#[path = "real_tests.rs"]
mod tests;
