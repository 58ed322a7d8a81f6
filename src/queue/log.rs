//! The log files: append-only, each named by the number of its first frame.
//!
//! Promises: only a file created by this process is ever written to; a file that saw an error is
//! not written to again (keeps P9). A scan finds every whole frame, whatever lies between.

use std::collections::BTreeMap;
use std::io;

use super::disk::Disk;
use crate::errno::{Says, says};
use crate::frame::{
    self, Bad, EntryMeta, FILE_HEADER_BYTES, FRAME_HEADER_BYTES_MAX, FRAME_MAGIC, Header,
};
use crate::limits::FRAME_NUMBER_MAX;
use crate::plain::count;
use crate::record::Seq;

pub(super) const DIR: &str = "log";
/// How much is read at a time when looking for the next frame after damage.
const WINDOW_BYTES: usize = 64 << 10;

pub(super) fn path(first: u64) -> String {
    format!("{DIR}/{first:016x}.log")
}

fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|first| *first <= FRAME_NUMBER_MAX)
}

/// The files that are there, with their lengths.
#[derive(Clone, Debug, Default)]
pub(super) struct LogFiles {
    pub lens: BTreeMap<u64, u64>,
    /// The ones in which damage was seen, and what it was.
    pub damaged: BTreeMap<u64, String>,
    /// The one this process writes to.
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

    /// Remembers how many bytes of a file are no frames; of none, nothing.
    pub fn note_damage(&mut self, file: u64, bytes: u64) {
        if bytes > 0 {
            self.damaged.insert(
                file,
                format!("not what was written: {} of this file", count(bytes, "byte")),
            );
        }
    }

    /// The first file that a newer version wrote, or whose first frame it wrote. Each process begins a
    /// file of its own.
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

    /// The files that hold nothing at or after `head`, given that the last ends before `next`.
    pub fn delivered(&self, head: Seq, next: Seq) -> Vec<u64> {
        let ends = self.lens.keys().skip(1).copied().chain([next.0]);
        let files = self.lens.keys().copied().zip(ends);
        files.take_while(|(_, end)| *end <= head.0).map(|(first, _)| first).collect()
    }
}

/// What a scan came upon.
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
    /// The file could not be read, which says nothing of what is in it.
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
    /// Everything: what a start trusts.
    Whole,
}

/// Walks through one log file.
#[derive(Debug)]
pub(super) struct Scan {
    path: String,
    offset: u64,
    len: u64,
    depth: Depth,
}

impl Scan {
    /// Scans a file from `offset`, or from its beginning, where a damaged file header is no
    /// obstacle: frames carry all that is needed.
    pub fn new(file: u64, offset: u64, len: u64) -> Scan {
        let offset = offset.max(FILE_HEADER_BYTES as u64);
        Scan { path: path(file), offset, len, depth: Depth::Whole }
    }

    /// Reads less of each frame, for a quick look. What is acted upon is read whole.
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
            Err(Unusable::Bad(Bad::Newer)) => return Found::Newer,
            Err(Unusable::Bad(_)) => self.next_magic(disk, begin + 1),
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
        &self,
        disk: &mut impl Disk,
        at: u64,
    ) -> Result<(Header, Vec<EntryMeta>), Unusable> {
        let header = Header::decode(&self.read(disk, at, FRAME_HEADER_BYTES_MAX)?)?;
        if at + header.disk_len() as u64 > self.len {
            return Err(Bad::Cut.into());
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

    /// Reads; of what the medium does not give there is nothing.
    fn read(&self, disk: &mut impl Disk, at: u64, len: usize) -> io::Result<Vec<u8>> {
        match disk.read(&self.path, at, len) {
            Err(error) if says(&error) == Says::Medium => Ok(Vec::new()),
            read => read,
        }
    }

    /// Where the next whole frame may begin. What can't be read is passed over.
    fn next_magic(&self, disk: &mut impl Disk, from: u64) -> io::Result<u64> {
        let mut at = from;
        while at < self.len {
            let bytes = self.read(disk, at, WINDOW_BYTES)?;
            let found = bytes.windows(FRAME_MAGIC.len()).position(|four| four == FRAME_MAGIC);
            if let Some(found) = found {
                return Ok(at + found as u64);
            }
            // The magic may lie across the border of two windows.
            at += (WINDOW_BYTES - FRAME_MAGIC.len() + 1) as u64;
        }
        Ok(self.len)
    }
}

/// Why there is no frame to be had at a place.
enum Unusable {
    Unread(io::Error),
    Bad(Bad),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Unusable {
        Unusable::Unread(error)
    }
}

impl From<Bad> for Unusable {
    fn from(bad: Bad) -> Unusable {
        Unusable::Bad(bad)
    }
}
