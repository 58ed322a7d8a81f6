//! The log files: append-only, each named by the number of its first frame.
//!
//! Promises: only a file created by this process is ever written to; a file that saw an error is
//! not written to again (keeps P9). A scan finds every whole frame, whatever lies between.

use std::collections::BTreeMap;
use std::io;

use super::disk::Disk;
use crate::frame::{
    self, EntryMeta, FILE_HEADER_BYTES, FRAME_HEADER_BYTES_MAX, FRAME_MAGIC, Header,
};
use crate::limits::FRAME_NUMBER_MAX;
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
        if let Some((header, table)) = self.frame_at(disk, begin) {
            self.offset += header.disk_len() as u64;
            return Found::Frame { header, offset: begin, table };
        }
        self.offset = self.next_magic(disk, begin + 1);
        Found::Damage { bytes: self.offset - begin }
    }

    fn frame_at(&self, disk: &mut impl Disk, at: u64) -> Option<(Header, Vec<EntryMeta>)> {
        let head = disk.read(&self.path, at, FRAME_HEADER_BYTES_MAX).ok()?;
        let header = Header::decode(&head).ok()?;
        if at + header.disk_len() as u64 > self.len {
            return None;
        }
        match self.depth {
            Depth::Header => return Some((header, Vec::new())),
            Depth::Table => {
                let len = header.head_len();
                let table = header.table(&disk.read(&self.path, at, len).ok()?).ok()?;
                return Some((header, table));
            }
            Depth::Whole => {}
        }
        let bytes = disk.read(&self.path, at, header.disk_len()).ok()?;
        let (header, frame) = frame::take(bytes).ok()?;
        Some((header, frame.entries))
    }

    /// Where the next whole frame may begin. What can't be read is passed over.
    fn next_magic(&self, disk: &mut impl Disk, from: u64) -> u64 {
        let mut at = from;
        while at < self.len {
            let bytes = disk.read(&self.path, at, WINDOW_BYTES).unwrap_or_default();
            let found = bytes.windows(FRAME_MAGIC.len()).position(|four| four == FRAME_MAGIC);
            if let Some(found) = found {
                return at + found as u64;
            }
            // The magic may lie across the border of two windows.
            at += (WINDOW_BYTES - FRAME_MAGIC.len() + 1) as u64;
        }
        self.len
    }
}
