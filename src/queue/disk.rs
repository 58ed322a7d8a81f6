//! Every file operation of the queue, behind one small trait.
//!
//! Promises: every access to the queue's directory goes through this trait, so that a test can make
//! any single operation fail or be the last one before a power cut. Paths are relative to the
//! queue's directory and use `/`. Never: interprets a byte.

use std::io;

use super::index::IndexStore;
use crate::errno::{Says, says};

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub name: String,
    pub len: u64,
    pub is_dir: bool,
}

/// Why the directory could not be locked.
#[derive(Debug)]
pub enum LockRefused {
    /// Another process has it.
    Held {
        holder: Option<u32>,
    },
    Io(io::Error),
}

/// The queue's directory, with the indexes in it.
pub trait Disk {
    type Indexes: IndexStore;

    fn index_store(&mut self) -> &mut Self::Indexes;

    /// The directory as a person would type it.
    fn place(&self) -> String;

    /// Locks the directory until this value is dropped. Creates the directory if it is missing.
    fn lock(&mut self) -> Result<(), LockRefused>;

    /// Creates a directory; an existing one is no error.
    fn create_dir(&mut self, dir: &str) -> io::Result<()>;

    /// The names in a directory, in any order. The queue's own is `""`.
    fn list(&mut self, dir: &str) -> io::Result<Vec<Item>>;

    /// Creates an empty file; an existing one is an error.
    fn create(&mut self, path: &str) -> io::Result<()>;

    /// Appends to a file. After an error any part of the bytes may have been appended.
    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()>;

    /// Creates a durable file of these bytes, for `overwrite`; an existing one is an error. A
    /// copy-on-write file system is asked not to copy this file.
    fn create_steady(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Overwrites bytes within a file, in place.
    fn overwrite(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when a file's bytes and length would survive a power cut. For its name: `sync_dir`.
    fn sync_data(&mut self, path: &str) -> io::Result<()>;

    /// Returns when the names in a directory would survive a power cut.
    fn sync_dir(&mut self, dir: &str) -> io::Result<()>;

    /// Reads at most `len` bytes; fewer only at the end of the file.
    fn read(&mut self, path: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Renames atomically; an existing file of the new name is replaced.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&mut self, path: &str) -> io::Result<()>;

    /// Removes a file, or a directory with its content.
    fn remove_tree(&mut self, path: &str) -> io::Result<()>;

    /// The bytes of a file, or of all files below a directory.
    fn tree_bytes(&mut self, path: &str) -> io::Result<u64>;

    /// Returns when the space of removed files is free: a copy-on-write file system frees it only
    /// from time to time.
    fn sync_all(&mut self) -> io::Result<()>;

    /// The free bytes that this program may use.
    fn free_bytes(&mut self) -> io::Result<u64>;
}

/// The open index of a directory.
pub(super) type IndexOf<D> = <<D as Disk>::Indexes as IndexStore>::Index;

/// Writes a file whole under another name and renames it over the old one. `is_durable`: it survives a
/// power cut once this returns.
pub fn replace(disk: &mut impl Disk, name: &str, bytes: &[u8], is_durable: bool) -> io::Result<()> {
    let new = format!("{name}.new");
    // A file may be left from an interrupted write.
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

/// Whether an error says that there is no space, and not that the disk is broken.
pub fn is_full(error: &io::Error) -> bool {
    says(error) == Says::Full
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::mem::{Fault, MemDisk};

    #[test]
    fn a_file_is_replaced_whole_or_the_failure_is_told() {
        for n in 1..8 {
            let disk = MemDisk::new(1 << 20);
            let mut files = disk.clone();
            replace(&mut files, "name", b"before", true).unwrap();
            disk.fail_after(n, Fault::Once(io::ErrorKind::Other));
            let replaced = replace(&mut files, "name", b"after", true);
            assert_eq!(replaced.is_ok(), n == 7, "operation {n}");
            disk.heal();
            let found = files.read("name", 0, 99).unwrap();
            assert!(found == b"after" || replaced.is_err() && found == b"before", "operation {n}");
            replace(&mut files, "name", b"again", true).unwrap();
        }
    }
}
