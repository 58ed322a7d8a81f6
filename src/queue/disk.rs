//! Every file operation of the queue, behind one small trait.
//!
//! Promises: whatever the queue does to its directory goes through here, so that a test can make
//! any single operation fail or be the last one before the power goes. Paths are relative to the
//! queue's directory and use `/`. Never: interprets a byte.

use std::io;

use crate::errno::{Says, says};

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

    /// Creates a durable file of these bytes, for `overwrite`; it must not be there yet. A file system that
    /// copies what is written is asked not to for this one.
    fn create_steady(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Overwrites bytes within a file, in place.
    fn overwrite(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

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

    /// Returns when all that was removed is given back to the file system: one that copies what is written
    /// does that only now and then.
    fn sync_all(&mut self) -> io::Result<()>;

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

/// Whether an error says that there is no room, rather than that the disk is broken.
pub fn is_full(error: &io::Error) -> bool {
    says(error) == Says::Full
}
