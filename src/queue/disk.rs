//! Every file operation of the queue, behind one small trait.
//!
//! Promises: whatever the queue does to its directory goes through here, so that a test can make
//! any single operation fail or be the last one before the power goes. Paths are relative to the
//! queue's directory and use `/`. Never: interprets a byte.

use std::io;

use rustix::io::Errno;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub name: String,
    pub len: u64,
    pub is_dir: bool,
}

/// Why the directory could not be taken for this process alone.
#[derive(Debug)]
pub enum LockRefused {
    /// Another process has it.
    Held {
        holder: Option<u32>,
    },
    Io(io::Error),
}

/// The queue's directory.
pub trait Disk {
    /// The directory as a person would type it.
    fn place(&self) -> String;

    /// Takes the directory for this process, until this value is dropped. Creates it if need be.
    fn lock(&mut self) -> Result<(), LockRefused>;

    /// Creates a directory; one that is there already is as good.
    fn create_dir(&mut self, dir: &str) -> io::Result<()>;

    /// The names in a directory, in any order. The queue's own is `""`.
    fn list(&mut self, dir: &str) -> io::Result<Vec<Item>>;

    /// Creates an empty file that must not be there yet.
    fn create(&mut self, path: &str) -> io::Result<()>;

    /// Adds to the end of a file. After an error any part of the bytes may have been added.
    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()>;

    /// Returns when a file's bytes and length would survive a power cut. Its name: `sync_dir`.
    fn sync_data(&mut self, path: &str) -> io::Result<()>;

    /// Returns when the names in a directory would survive a power cut.
    fn sync_dir(&mut self, dir: &str) -> io::Result<()>;

    /// Reads at most `len` bytes; fewer only at the end of the file.
    fn read(&mut self, path: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Renames, atomically, over whatever has the new name.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&mut self, path: &str) -> io::Result<()>;

    /// Removes a file, or a directory with all it holds.
    fn remove_tree(&mut self, path: &str) -> io::Result<()>;

    /// The bytes of a file, or of all files below a directory.
    fn tree_bytes(&mut self, path: &str) -> io::Result<u64>;

    /// What the file system has left for this program.
    fn free_bytes(&mut self) -> io::Result<u64>;
}

/// Writes a file whole under another name and renames it over the old one. `is_durable`: it survives a
/// power cut once this returns.
pub fn replace(disk: &mut impl Disk, name: &str, bytes: &[u8], is_durable: bool) -> io::Result<()> {
    let new = format!("{name}.new");
    // One may be left from a write that was cut short.
    match disk.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk.create(&new)?;
    disk.append(&new, bytes)?;
    if is_durable {
        disk.sync_data(&new)?;
    }
    disk.rename(&new, name)?;
    if is_durable { disk.sync_dir("") } else { Ok(()) }
}

/// What the error of a call says of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// There is no space.
    Full,
    /// This process may not: its rights, or a file system that can't be written.
    Denied,
    /// The system could not just now, or never can: descriptors, memory, locks, a file server, a call that the
    /// file system lacks. Nothing of what is on the disk.
    System,
    /// What is there can't be had, or is not there.
    Medium,
}

/// Only what says that the medium failed may be taken for damage.
pub fn says(error: &io::Error) -> Says {
    use io::ErrorKind::{
        FileTooLarge, Interrupted, InvalidInput, NotADirectory, OutOfMemory, PermissionDenied,
        QuotaExceeded, ReadOnlyFilesystem, ResourceBusy, StaleNetworkFileHandle, StorageFull,
        TimedOut, Unsupported, WouldBlock,
    };
    match (error.kind(), error.raw_os_error().map(Errno::from_raw_os_error)) {
        (StorageFull | QuotaExceeded | FileTooLarge, _) => Says::Full,
        (PermissionDenied | ReadOnlyFilesystem | NotADirectory, _) => Says::Denied,
        (
            Interrupted
            | InvalidInput
            | OutOfMemory
            | ResourceBusy
            | StaleNetworkFileHandle
            | TimedOut
            | Unsupported
            | WouldBlock,
            _,
        )
        | (_, Some(Errno::MFILE | Errno::NFILE | Errno::NOLCK)) => Says::System,
        _ => Says::Medium,
    }
}

/// Whether an error says that there is no room, rather than that the disk is broken.
pub fn is_full(error: &io::Error) -> bool {
    says(error) == Says::Full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_medium_says_is_damage() {
        let of = |errno: Errno| says(&io::Error::from(errno));
        for full in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert_eq!(of(full), Says::Full, "{full:?}");
        }
        for denied in [Errno::ACCESS, Errno::PERM, Errno::ROFS, Errno::NOTDIR] {
            assert_eq!(of(denied), Says::Denied, "{denied:?}");
        }
        for system in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::INTR,
            Errno::STALE,
            Errno::NOLCK,
            Errno::INVAL,
            Errno::NOSYS,
            Errno::OPNOTSUPP,
            Errno::AGAIN,
            Errno::BUSY,
            Errno::TIMEDOUT,
        ] {
            assert_eq!(of(system), Says::System, "{system:?}");
        }
        for medium in [Errno::IO, Errno::NOENT, Errno::BADMSG, Errno::UCLEAN] {
            assert_eq!(of(medium), Says::Medium, "{medium:?}");
        }
    }
}
