//! What the files of an index contained before sled opened it.
//!
//! sled takes a part that the system does not return for one that was never written: it continues
//! with what is left, and writes over the rest. Promises: everything is read before sled reads it,
//! so an error of the system is met here, where it is no damage; an index that then opens damaged,
//! empty or older is opened once more with the content that it had. Never: holds more than
//! `INDEX_BYTES_MAX` in memory; follows a link.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::errno::{Says, called, says};
use crate::limits::INDEX_BYTES_MAX;
use crate::os::made::{self, Readers};

/// sled reads every file whose name begins with `snap.`; this name must not.
const TEMPORARY: &str = "put-back";
/// Bytes of one read.
const PIECE: usize = 64 << 10;

/// The content of an index, small enough to be held in memory.
#[derive(Clone)]
pub(super) struct IndexCopy {
    dir: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl std::fmt::Debug for IndexCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IndexCopy of {} files in {}", self.files.len(), self.dir.display())
    }
}

impl IndexCopy {
    /// Reads all files of an index. `None`: there is no index, it is too large for a copy, or the
    /// medium does not return a part, which sled is left to judge.
    pub fn read(dir: &Path) -> io::Result<Option<IndexCopy>> {
        match open(dir, OFlags::DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let entries = fs::read_dir(dir).map_err(|why| called("list", dir, why))?;
        let mut copy = IndexCopy { dir: dir.to_owned(), files: Vec::new() };
        let (mut left, mut is_whole) = (INDEX_BYTES_MAX, true);
        for entry in entries {
            let entry = entry.map_err(|why| called("list", dir, why))?;
            if entry.file_name() == super::sled::BLOBS {
                continue;
            }
            let path = entry.path();
            match read_through(&path, &mut left) {
                Ok(Some(bytes)) => copy.files.push((path, bytes)),
                Ok(None) => is_whole = false,
                Err(error) if says(&error) == Says::Medium => is_whole = false,
                Err(error) => return Err(error),
            }
        }
        Ok(Some(copy).filter(|_| is_whole))
    }

    /// Gives the files this content again, as new files, and removes those that were not there: a
    /// handle that was given up may still have the others open, and keeps the lock of `db`.
    pub fn put_back(&self) -> io::Result<()> {
        for (path, bytes) in &self.files {
            let temporary = self.dir.join(TEMPORARY);
            let mut file = made::file_anew(&temporary, Readers::Owner)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
        }
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let is_kept = path.file_name().is_some_and(|name| name == super::sled::BLOBS)
                || self.files.iter().any(|(kept, _)| *kept == path);
            if !is_kept {
                fs::remove_file(path)?;
            }
        }
        File::open(&self.dir)?.sync_all()
    }
}

fn open(path: &Path, kind: OFlags) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(made::flags(OFlags::NOFOLLOW | kind));
    options.open(path).map_err(|why| called("open", path, why))
}

/// Reads a file to its end. Returns its bytes if no more than `left` are needed, and takes them
/// from it.
fn read_through(path: &Path, left: &mut u64) -> io::Result<Option<Vec<u8>>> {
    // A pipe is left to sled, whose thread is given up if it waits for ever.
    let file = open(path, OFlags::NONBLOCK)?;
    // As sled reads: what is refused is refused here first.
    let (mut bytes, mut read, mut piece) = (Vec::new(), 0, vec![0; PIECE]);
    loop {
        let got = match file.read_at(&mut piece, read) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A pipe has no places, and no content to give back.
            Err(error) if error.raw_os_error() == Some(Errno::SPIPE.raw_os_error()) => {
                return Ok(None);
            }
            got => got.map_err(|why| called("read", path, why))?,
        };
        read += got as u64;
        if read <= *left {
            bytes.extend_from_slice(&piece[..got]);
        } else {
            bytes = Vec::new();
        }
        if got == 0 {
            break;
        }
    }
    let fits = read <= *left;
    *left = left.saturating_sub(read);
    Ok(fits.then_some(bytes))
}

#[cfg(test)]
#[path = "tests/index_copy.rs"]
mod tests;
