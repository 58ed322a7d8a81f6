//! The log files: append-only, each named by the number of its first frame.
//!
//! Promises: only a file created by this process is ever written to; a file that had an error is
//! not written to again (keeps P9). A scan finds every complete frame, whatever damage is between
//! them.

use std::collections::BTreeMap;
use std::io;

use super::disk::Disk;
use crate::errno::{Says, says};
use crate::frame::{
    self, EntryMeta, FILE_HEADER_BYTES, FRAME_HEADER_BYTES_MAX, FRAME_MAGIC, FrameError, Header,
};
use crate::limits::FRAME_NUMBER_MAX;
use crate::plain::count;
use crate::record::Seq;

pub(super) const DIR: &str = "log";
/// Bytes read at a time when the next frame after damage is looked for.
const WINDOW_BYTES: usize = 64 << 10;

pub(super) fn path(first: u64) -> String {
    format!("{DIR}/{first:016x}.log")
}

fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|first| *first <= FRAME_NUMBER_MAX)
}

/// The log files, with their lengths.
#[derive(Clone, Debug, Default)]
pub(super) struct LogFiles {
    pub lens: BTreeMap<u64, u64>,
    /// The files in which damage was found, with its description.
    pub damaged: BTreeMap<u64, String>,
    /// The file that this process writes to.
    pub active: Option<u64>,
}

impl LogFiles {
    pub fn list(disk: &mut impl Disk) -> io::Result<LogFiles> {
        let items = disk.list(DIR)?;
        let lens = items.iter().filter_map(|item| Some((first_of(&item.name)?, item.len)));
        Ok(LogFiles { lens: lens.collect(), ..LogFiles::default() })
    }

    pub fn bytes(&self) -> u64 {
        self.lens.values().sum()
    }

    /// Notes how many bytes of a file are no frames, if any. `refused`: the medium's error for
    /// bytes that it did not return.
    pub fn note_damage(&mut self, file: u64, bytes: u64, refused: Option<&str>) {
        if bytes > 0 {
            let what = refused.map_or("not what was written".to_owned(), |why| {
                format!("not what was written, or not returned by the disk ({why})")
            });
            self.damaged.insert(file, format!("{what}: {} of this file", count(bytes, "byte")));
        }
    }

    /// The first file that a newer version wrote, or whose first frame it wrote. Each process
    /// begins a new file, so the first frame is enough.
    pub fn newer(&self, disk: &mut impl Disk) -> io::Result<Option<String>> {
        for (file, len) in &self.lens {
            let path = path(*file);
            let head = match disk.read(&path, 0, FILE_HEADER_BYTES) {
                Err(error) if says(&error) == Says::Medium => continue,
                head => head?,
            };
            let mut scan = Scan::new(*file, 0, *len).at_depth(Depth::Header);
            if frame::is_newer_file(&head) || matches!(scan.next(disk), Found::Newer) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    pub fn active_len(&self) -> Option<u64> {
        self.lens.get(&self.active?).copied()
    }

    /// Begins a new file and makes its name durable.
    pub fn begin(&mut self, disk: &mut impl Disk, first: Seq) -> io::Result<()> {
        let path = path(first.0);
        self.active = None;
        disk.create(&path)?;
        self.lens.insert(first.0, 0);
        disk.append(&path, &frame::file_header(first))?;
        self.lens.insert(first.0, FILE_HEADER_BYTES as u64);
        disk.sync_dir(DIR)?;
        self.active = Some(first.0);
        Ok(())
    }

    /// The files without a frame at or after `head`, if the last file ends before `next`.
    pub fn delivered(&self, head: Seq, next: Seq) -> Vec<u64> {
        let ends = self.lens.keys().skip(1).copied().chain([next.0]);
        let files = self.lens.keys().copied().zip(ends);
        files.take_while(|(_, end)| *end <= head.0).map(|(first, _)| first).collect()
    }
}

/// A result of a scan.
#[derive(Debug)]
pub(super) enum Found {
    Frame {
        header: Header,
        offset: u64,
        table: Vec<EntryMeta>,
    },
    /// Bytes that are no frame.
    Damage {
        bytes: u64,
    },
    /// The file could not be read, which does not mean that it is damaged.
    Unread(io::Error),
    /// A frame of a newer version.
    Newer,
    End,
}

/// How much of each frame a scan reads and checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// The header alone; the table found is empty.
    Header,
    /// The header and the table of entries.
    Table,
    /// Everything: a start acts only on this.
    Whole,
}

/// Walks through one log file.
#[derive(Debug)]
pub(super) struct Scan {
    path: String,
    offset: u64,
    len: u64,
    depth: Depth,
    /// The medium's last error for bytes that it did not return.
    pub refused: Option<String>,
}

impl Scan {
    /// Scans a file from `offset`, at least from the end of the file header. A damaged file header
    /// does not matter: frames contain everything needed.
    pub fn new(file: u64, offset: u64, len: u64) -> Scan {
        let offset = offset.max(FILE_HEADER_BYTES as u64);
        Scan { path: path(file), offset, len, depth: Depth::Whole, refused: None }
    }

    /// Reads less of each frame, which is faster. Before something is acted upon, the frame is read
    /// whole.
    pub fn at_depth(self, depth: Depth) -> Scan {
        Scan { depth, ..self }
    }

    pub fn next(&mut self, disk: &mut impl Disk) -> Found {
        if self.offset >= self.len {
            return Found::End;
        }
        let begin = self.offset;
        let next = match self.frame_at(disk, begin) {
            Ok((header, table)) => {
                self.offset += header.disk_len() as u64;
                return Found::Frame { header, offset: begin, table };
            }
            Err(Unusable::Unread(error)) => Err(error),
            Err(Unusable::Frame(FrameError::Newer)) => return Found::Newer,
            Err(Unusable::Frame(_)) => self.next_magic(disk, begin + 1),
        };
        match next {
            Ok(next) => {
                self.offset = next;
                Found::Damage { bytes: next - begin }
            }
            Err(error) => Found::Unread(error),
        }
    }

    fn frame_at(
        &mut self,
        disk: &mut impl Disk,
        at: u64,
    ) -> Result<(Header, Vec<EntryMeta>), Unusable> {
        let header = Header::decode(&self.read(disk, at, FRAME_HEADER_BYTES_MAX)?)?;
        if at + header.disk_len() as u64 > self.len {
            return Err(FrameError::Cut.into());
        }
        match self.depth {
            Depth::Header => return Ok((header, Vec::new())),
            Depth::Table => {
                let table = header.table(&self.read(disk, at, header.head_len())?)?;
                return Ok((header, table));
            }
            Depth::Whole => {}
        }
        let (header, frame) = frame::take(self.read(disk, at, header.disk_len())?)?;
        Ok((header, frame.entries))
    }

    /// Reads bytes; what the medium does not return is empty.
    fn read(&mut self, disk: &mut impl Disk, at: u64, len: usize) -> io::Result<Vec<u8>> {
        match disk.read(&self.path, at, len) {
            Err(error) if says(&error) == Says::Medium => {
                self.refused = Some(error.to_string());
                Ok(Vec::new())
            }
            read => read,
        }
    }

    /// Where the next frame may begin. Unreadable bytes are skipped.
    fn next_magic(&mut self, disk: &mut impl Disk, from: u64) -> io::Result<u64> {
        let mut at = from;
        while at < self.len {
            let bytes = self.read(disk, at, WINDOW_BYTES)?;
            let found = bytes.windows(FRAME_MAGIC.len()).position(|four| four == FRAME_MAGIC);
            if let Some(found) = found {
                return Ok(at + found as u64);
            }
            // The magic may cross the border of two windows.
            at += (WINDOW_BYTES - FRAME_MAGIC.len() + 1) as u64;
        }
        Ok(self.len)
    }
}

/// Why there is no frame at an offset.
enum Unusable {
    Unread(io::Error),
    Frame(FrameError),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Unusable {
        Unusable::Unread(error)
    }
}

impl From<FrameError> for Unusable {
    fn from(error: FrameError) -> Unusable {
        Unusable::Frame(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::mem::{Fault, MemDisk};
    use crate::queue::testing::*;

    /// A log with one file, which has these bytes after its header.
    fn log_of(bytes: &[u8]) -> MemDisk {
        let disk = MemDisk::new(64 << 20);
        let mut files = disk.clone();
        files.create_dir(DIR).unwrap();
        files.create(&path(1)).unwrap();
        files.append(&path(1), &frame::file_header(Seq(1))).unwrap();
        files.append(&path(1), bytes).unwrap();
        disk
    }

    fn encoded() -> Vec<u8> {
        let (frame, mut bytes) = (frame(&threats(), &[1, 2]), Vec::new());
        let progress = frame.progress;
        let slot = frame::FrameMeta { seq: Seq(7), page_index: 0, last_of_page: true, progress };
        frame::encode(&mut bytes, &frame, slot);
        bytes
    }

    /// Wherever the border of two windows lies: within its magic, before it or after it.
    #[test]
    fn the_first_frame_after_damage_is_found_wherever_it_begins() {
        let frame = encoded();
        for damage in (1..9).chain(WINDOW_BYTES - 8..WINDOW_BYTES + 8) {
            let bytes = [&vec![0; damage][..], &frame].concat();
            let mut disk = log_of(&bytes);
            let len = (FILE_HEADER_BYTES + bytes.len()) as u64;
            let mut scan = Scan::new(1, 0, len);
            let found = scan.next(&mut disk);
            assert!(
                matches!(found, Found::Damage { bytes } if bytes == damage as u64),
                "{damage}: {found:?}"
            );
            let at = (FILE_HEADER_BYTES + damage) as u64;
            let found = scan.next(&mut disk);
            assert!(
                matches!(&found, Found::Frame { header, offset, .. }
                    if header.seq == Seq(7) && *offset == at),
                "{damage}: {found:?}"
            );
            assert!(matches!(scan.next(&mut disk), Found::End));
        }
    }

    /// What the medium does not return is damage, with its words; what the system refuses is not.
    #[test]
    fn a_refused_read_is_no_damage() {
        for (kind, is_damage) in
            [(io::ErrorKind::Other, true), (io::ErrorKind::PermissionDenied, false)]
        {
            let mut disk = log_of(&encoded());
            let len = disk.list(DIR).unwrap()[0].len;
            disk.fail_after(1, Fault::Always(kind));
            let mut scan = Scan::new(1, 0, len);
            let found = scan.next(&mut disk);
            assert_eq!(matches!(found, Found::Damage { .. }), is_damage, "{kind:?}: {found:?}");
            assert_eq!(matches!(found, Found::Unread(_)), !is_damage, "{kind:?}: {found:?}");
            assert_eq!(scan.refused.is_some(), is_damage, "{kind:?}");
        }
    }

    #[test]
    fn a_first_read_that_is_refused_is_not_taken_for_a_file_of_this_version() {
        for (kind, is_ok) in
            [(io::ErrorKind::Other, true), (io::ErrorKind::PermissionDenied, false)]
        {
            let mut disk = log_of(&encoded());
            let files = LogFiles::list(&mut disk).unwrap();
            disk.fail_after(1, Fault::Once(kind));
            assert_eq!(files.newer(&mut disk).is_ok(), is_ok, "{kind:?}");
        }
    }

    #[test]
    fn names_that_no_frame_has_are_no_log_files() {
        let name = |first: u64| path(first).strip_prefix("log/").unwrap().to_owned();
        for first in [1, FRAME_NUMBER_MAX] {
            assert_eq!(first_of(&name(first)), Some(first));
        }
        for other in [&name(FRAME_NUMBER_MAX + 1), "1.log", "0000000000000001", "x"] {
            assert_eq!(first_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_is_begun_for_certain_or_not_written_to() {
        for n in 1..5 {
            let mut disk = MemDisk::new(64 << 20);
            disk.create_dir(DIR).unwrap();
            disk.sync_dir("").unwrap();
            let mut log = LogFiles { active: Some(7), ..LogFiles::default() };
            disk.fail_after(n, Fault::Once(io::ErrorKind::Other));
            let begun = log.begin(&mut disk, Seq(9));
            assert_eq!(begun.is_ok(), n == 4, "operation {n}");
            assert_eq!(log.active, begun.is_ok().then_some(9), "operation {n}");
            let on_disk = disk.files().contains(&path(9));
            assert_eq!(log.lens.contains_key(&9), on_disk, "what is there is counted: {n}");
            if begun.is_ok() {
                disk.heal();
                disk.power_cut(&mut crate::prng::Prng::new(n));
                assert!(disk.files().contains(&path(9)), "its name is durable");
            }
        }
    }
}
