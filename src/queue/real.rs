//! The queue's directory on a real file system.
//!
//! Promises: a handle that has seen an error is closed and never used again (keeps P9); files are
//! readable by their owner only, for they hold what SentinelOne says about people's machines. Never: writes
//! through a link.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, OFlags};

use super::disk::{Disk, Item, LockRefused};
use crate::edge::made::{self, Readers};

/// Handles kept open for writing; the log file in use and one more are enough.
const WRITERS_MAX: usize = 2;

/// A directory on a real file system.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    lock: Option<File>,
    writers: Vec<(String, File)>,
    reader: Option<(String, File)>,
    /// The file that is overwritten in place.
    steady: Option<(String, File)>,
}

/// A process's number and the end of its line.
const HOLDER_BYTES_MAX: u64 = 32;

/// The file in the queue's directory that the running process holds.
pub const LOCK: &str = "lock";

/// Whether a process has the queue in this directory open. `None`: it can't be seen from here.
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

/// The number of the process that took the queue in this directory last.
pub fn holder(dir: &Path) -> Option<u32> {
    let mut text = String::new();
    look_at_lock(dir).ok()?.take(HOLDER_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn look_at_lock(dir: &Path) -> io::Result<File> {
    // What is no file could keep whoever opens it waiting.
    let flags = made::flags(OFlags::NOFOLLOW | OFlags::NONBLOCK);
    OpenOptions::new().read(true).custom_flags(flags).open(dir.join(LOCK))
}

/// Opens the lock for writing, and creates it where there is none. It can't be made anew each time, for
/// another process may hold it; so one that is also something else's name is refused.
fn open_lock(path: &Path) -> io::Result<File> {
    let flags = made::flags(OFlags::NOFOLLOW | OFlags::NONBLOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags);
    let strange = |what: &str| {
        let why =
            format!("{} is {what}, which this program never creates: remove it", path.display());
        io::Error::new(io::ErrorKind::PermissionDenied, why)
    };
    let opened = options.open(path).or_else(|why| match why.kind() {
        io::ErrorKind::NotFound => match made::file(path, Readers::Owner) {
            Err(why) if why.kind() != io::ErrorKind::AlreadyExists => Err(why),
            // Also where another process was as quick.
            _ => options.open(path),
        },
        _ => Err(why),
    });
    let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    let file = opened.map_err(|why| if is_link { strange("a symbolic link") } else { why })?;
    let found = file.metadata()?;
    match () {
        () if !found.is_file() => Err(strange("no file")),
        () if found.nlink() > 1 => Err(strange("a hard link")),
        () => Ok(file),
    }
}

/// `is_in_use` holds the lock for a moment to see whether it can be had; a daemon that starts in that
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
        let (lock, writers, reader, steady) = (None, Vec::new(), None, None);
        RealDisk { root: root.into(), lock, writers, reader, steady }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
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

    /// Does one thing with a file open for writing, and closes the file when it fails.
    fn write(
        &mut self,
        path: &str,
        action: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = match self.writers.iter().position(|(name, _)| name == path) {
            Some(at) => self.writers.remove(at).1,
            None => {
                let mut options = OpenOptions::new();
                options.append(true).custom_flags(made::no_link()).open(self.path(path))?
            }
        };
        action(&mut file)?;
        self.keep_writer(path, file);
        Ok(())
    }

    fn read_once(&mut self, path: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = match self.reader.take() {
            Some((name, file)) if name == path => file,
            _ => File::open(self.path(path))?,
        };
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        self.reader = Some((path.to_owned(), file));
        Ok(bytes)
    }
}

impl Disk for RealDisk {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn lock(&mut self) -> Result<(), LockRefused> {
        made::directories(&self.root).map_err(LockRefused::Io)?;
        let path = self.path(LOCK);
        let mut file = open_lock(&path).map_err(LockRefused::Io)?;
        match lock_patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockRefused::Held { holder: holder(&self.root) });
            }
            Err(TryLockError::Error(error)) => return Err(LockRefused::Io(error)),
        }
        // The number is for people only; the lock is the kernel's. So a full disk is no reason
        // to fail here.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        self.lock = Some(file);
        Ok(())
    }

    fn create_dir(&mut self, dir: &str) -> io::Result<()> {
        match made::directory(&self.path(dir), Readers::Owner) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn list(&mut self, dir: &str) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        for entry in fs::read_dir(self.path(dir))? {
            let entry = entry?;
            let meta = entry.metadata()?;
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                items.push(Item { name, len: meta.len(), is_dir: meta.is_dir() });
            }
        }
        Ok(items)
    }

    fn create(&mut self, path: &str) -> io::Result<()> {
        self.forget(path);
        let file = made::file(&self.path(path), Readers::Owner)?;
        self.keep_writer(path, file);
        Ok(())
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(path, |file| file.write_all(bytes))
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        self.write(path, |file| file.set_len(len))
    }

    fn create_steady(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.forget(path);
        let mut file = made::file(&self.path(path), Readers::Owner)?;
        // To be asked while the file is empty. A file system without such a flag overwrites in place by
        // itself, or never does.
        let flags = rustix::fs::ioctl_getflags(&file);
        let _ = flags.and_then(|flags| rustix::fs::ioctl_setflags(&file, flags | IFlags::NOCOW));
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn overwrite(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = match self.steady.take() {
            Some((name, file)) if name == path => file,
            _ => {
                let mut options = OpenOptions::new();
                options.write(true).custom_flags(made::no_link()).open(self.path(path))?
            }
        };
        file.write_all_at(bytes, offset)?;
        self.steady = Some((path.to_owned(), file));
        Ok(())
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        if let Some((name, file)) = self.steady.take_if(|(name, _)| name == path) {
            file.sync_data()?;
            self.steady = Some((name, file));
            return Ok(());
        }
        self.write(path, |file| file.sync_data())
    }

    fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        File::open(self.path(dir))?.sync_all()
    }

    fn read(&mut self, path: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        // A second try on a fresh handle tells a handle gone bad from a bad sector.
        self.read_once(path, offset, len).or_else(|_| self.read_once(path, offset, len))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.forget(from);
        self.forget(to);
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.forget(path);
        fs::remove_file(self.path(path))
    }

    fn remove_tree(&mut self, path: &str) -> io::Result<()> {
        self.forget(path);
        let full = self.path(path);
        if fs::symlink_metadata(&full)?.is_dir() {
            fs::remove_dir_all(full)
        } else {
            fs::remove_file(full)
        }
    }

    fn tree_bytes(&mut self, path: &str) -> io::Result<u64> {
        tree_bytes(&self.path(path))
    }

    fn sync_all(&mut self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.root)?)?)
    }

    fn free_bytes(&mut self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
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
mod tests {
    use super::*;

    #[test]
    fn a_handle_gone_bad_is_not_a_bad_file() {
        let dir = crate::edge::loopback::scratch_dir("real");
        let path = dir.path().join("file");
        fs::write(&path, "whole").unwrap();
        let mut disk = RealDisk::new(dir.path());
        // Nothing can be read from it.
        let bad = OpenOptions::new().write(true).open(&path).unwrap();
        disk.reader = Some(("file".to_owned(), bad));
        assert_eq!(disk.read("file", 0, 9).unwrap(), b"whole");
    }

    /// What can't be synced says so, which shows that the kernel was asked: in the page cache all
    /// looks well until the power goes.
    #[test]
    fn syncing_asks_the_kernel() {
        assert!(RealDisk::new("/dev").sync_data("null").is_err());
        assert!(RealDisk::new("/proc").sync_dir("").is_err());
    }
}
