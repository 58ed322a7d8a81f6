//! Finds files of a newer version before anything is changed.
//!
//! Promises: checks `head`, the checkpoint, and the beginning of each file in `log/`, `parked/` and
//! `doubt/`; rows of the index are checked where they are read. Never: writes, or takes something
//! unreadable or with a wrong checksum for newer.

use std::io;

use super::checkpoint::{self, Checkpoint};
use super::disk::Disk;
use super::head_file;
use super::log::{DIR, LogFiles};
use super::space::{DOUBT, PARKED};
use crate::errno::{Says, says};
use crate::frame::{self, FILE_HEADER_BYTES, FRAME_HEADER_BYTES_MAX, FrameError, Header};

/// The first file that a newer version wrote.
pub(super) fn find(disk: &mut impl Disk) -> io::Result<Option<String>> {
    let items = disk.list("")?;
    let named = |name: &str| items.iter().find(|item| item.name == name);
    if head_file::is_newer(disk) {
        return Ok(Some(head_file::FILE.to_owned()));
    }
    if let Some(item) = named(checkpoint::FILE)
        && let Ok(bytes) = checkpoint::read(disk, item.len)?
        && Checkpoint::is_newer(&bytes)
    {
        return Ok(Some(checkpoint::FILE.to_owned()));
    }
    if named(DIR).is_some()
        && let Some(file) = LogFiles::list(disk)?.newer(disk)?
    {
        return Ok(Some(file));
    }
    for dir in [PARKED, DOUBT] {
        if named(dir).is_some()
            && let Some(file) = find_beside(disk, dir)?
        {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// The same for the files in `parked/` or `doubt/`, which have the format of log files.
fn find_beside(disk: &mut impl Disk, dir: &str) -> io::Result<Option<String>> {
    let files = disk.list(dir)?.into_iter().filter(|item| item.name.ends_with(".log"));
    for path in files.map(|item| format!("{dir}/{}", item.name)) {
        let bytes = match disk.read(&path, 0, FILE_HEADER_BYTES + FRAME_HEADER_BYTES_MAX) {
            Err(error) if says(&error) == Says::Medium => continue,
            read => read?,
        };
        let first = Header::decode(bytes.get(FILE_HEADER_BYTES..).unwrap_or_default());
        if frame::is_newer_file(&bytes) || first.is_err_and(|bad| bad == FrameError::Newer) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::mem::{Fault, MemDisk};

    /// What the disk does not return is not newer; what the system refuses may be.
    #[test]
    fn a_file_beside_the_log_that_is_refused_is_not_passed_over() {
        for (kind, is_passed) in
            [(io::ErrorKind::Other, true), (io::ErrorKind::PermissionDenied, false)]
        {
            let mut disk = MemDisk::new(1 << 20);
            disk.create_dir(PARKED).unwrap();
            disk.create(&format!("{PARKED}/one.log")).unwrap();
            // The directory is listed, and the file is read.
            for (operation, is_ok) in [(1, false), (2, is_passed), (3, true)] {
                disk.fail_after(operation, Fault::Once(kind));
                let found = find_beside(&mut disk, PARKED);
                disk.heal();
                assert_eq!(found.is_ok(), is_ok, "{kind:?} at operation {operation}");
            }
        }
    }
}
