//! A frame: consecutive entries of one stream, deflated once, as they lie on disk and travel.
//!
//! Holds the value and its form on disk (docs/QUEUE.md has it byte by byte). Promises: what
//! `decode` returns was written by `encode`, bit for bit, or the answer is a `FrameError`; numbers are
//! little-endian on every machine. Never: inflates, reads a file, or trusts a length it has not
//! checked.

use std::ops::Range;

use crate::limits::{
    FRAME_ENTRIES_MAX, FRAME_NUMBER_MAX, FRAME_RAW_BYTES_CEILING,
    INTEGRATION_NAME_BYTES_MAX as NAME_BYTES_MAX,
};
use crate::record::{Category, Progress, RowKey, Seq, StreamName};
use crate::time::Stamp;

/// What is known of one entry without inflating its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryMeta {
    pub key: RowKey,
    /// Length of its JSON, without the comma that follows it.
    pub raw_len: u32,
    /// Whether its JSON begins with `{"timestamp":` and a number made from `key.stamp`.
    pub stamped: bool,
}

/// Consecutive entries of one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub stream: StreamName,
    /// How far the stream has come after this frame.
    pub progress: Progress,
    /// Whether this frame ends its page. Only whole pages are adopted.
    pub last_of_page: bool,
    pub entries: Vec<EntryMeta>,
    /// Length and CRC-32 of the JSON: the entries with a comma between each two.
    pub raw_len: u32,
    pub raw_crc: u32,
    /// Deflate blocks of that JSON, none of them final, ending with a sync flush on a byte
    /// boundary, with no reference to anything before them.
    pub deflated: Vec<u8>,
}

/// Entries `skip .. skip + take` of a frame, as a request takes them.
#[derive(Clone, Debug)]
pub struct Piece {
    pub frame: Frame,
    pub skip: u32,
    pub take: u32,
}

/// A log file's header: magic, version, two zero bytes, first sequence number, CRC-32.
pub const FILE_HEADER_BYTES: usize = 24;
const FILE_MAGIC: [u8; 8] = *b"S1CXLOG\n";
const FILE_VERSION: u16 = 1;

/// A frame's header without the name that follows it.
pub const FRAME_HEADER_BYTES: usize = 80;
/// Enough bytes to read any frame's header with its name.
pub const FRAME_HEADER_BYTES_MAX: usize = FRAME_HEADER_BYTES + NAME_BYTES_MAX;
pub const FRAME_MAGIC: [u8; 3] = *b"S1F";
const FRAME_VERSION: u8 = 1;
const TABLE_ROW_BYTES: usize = 20;
const FLAG_LAST_OF_PAGE: u8 = 1;
/// The top bit of an entry's length says that it is stamped; no entry is this long.
const STAMPED_BIT: u32 = 1 << 31;
const _: () = assert!(FRAME_RAW_BYTES_CEILING < STAMPED_BIT as usize);
const _: () = assert!(NAME_BYTES_MAX <= u8::MAX as usize);

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Fewer bytes than the frame says it has.
    Cut,
    /// Not a frame's header.
    NotAHeader,
    /// Whole, and of a version that this program does not know: it is no damage.
    Newer,
    /// The header's checksum does not match.
    Header,
    /// The entry table's checksum does not match, or its lengths do not add up.
    Table,
    /// The deflated bytes' checksum does not match.
    Deflated,
}

impl FrameError {
    pub fn explain(self) -> &'static str {
        match self {
            FrameError::Cut => "it is cut short",
            FrameError::NotAHeader => "there is no frame header",
            FrameError::Newer => "a newer version of s1-coralogix wrote it",
            FrameError::Header => "the checksum of its header does not match",
            FrameError::Table => "the checksum of its entry table does not match",
            FrameError::Deflated => "the checksum of its records does not match",
        }
    }
}

/// A frame's header as read from disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub seq: Seq,
    pub stream: StreamName,
    /// The index of this frame within its page, from 0.
    pub page_index: u32,
    pub last_of_page: bool,
    pub entries: u32,
    pub raw_len: u32,
    pub raw_crc: u32,
    pub deflated_len: u32,
    pub progress: Progress,
    /// The oldest stamp of an entry that has one of its own.
    pub oldest: Stamp,
    /// The newest stamp of any entry's key.
    pub newest: Stamp,
    table_crc: u32,
    deflated_crc: u32,
}

/// Where in the queue and in its page a frame is put.
#[derive(Clone, Copy, Debug)]
pub struct FrameMeta {
    pub seq: Seq,
    pub page_index: u32,
    pub last_of_page: bool,
    pub progress: Progress,
}

impl Header {
    fn table_at(&self) -> usize {
        FRAME_HEADER_BYTES + self.stream.integration.len()
    }

    fn deflated_at(&self) -> usize {
        self.table_at() + Header::table_bytes(self.entries)
    }

    /// The length of the header, the name and the entry table.
    pub fn head_len(&self) -> usize {
        self.deflated_at()
    }

    /// The length of the whole frame on disk.
    pub fn disk_len(&self) -> usize {
        self.deflated_at() + self.deflated_len as usize
    }

    /// The length of the table of so many entries.
    pub fn table_bytes(entries: u32) -> usize {
        entries as usize * TABLE_ROW_BYTES
    }

    /// Reads a header, with the name, from the beginning of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Header, FrameError> {
        let fixed = bytes.get(..FRAME_HEADER_BYTES).ok_or(FrameError::Cut)?;
        if fixed[..3] != FRAME_MAGIC {
            return Err(FrameError::NotAHeader);
        }
        let mut fields = Fields(&fixed[3..]);
        let version = fields.u8().ok_or(FrameError::Header)?;
        let category = fields.u8();
        let flags = fields.u8().ok_or(FrameError::Header)?;
        let name_len = usize::from(fields.u16().ok_or(FrameError::Header)?);
        let name =
            bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + name_len).ok_or(FrameError::Cut)?;
        // Every version begins with a header of this length, its version and its checksum where they
        // are here: so one that is whole is told from one that is damaged.
        if header_crc(&fixed[..FRAME_HEADER_BYTES - 4], name) != last_u32(fixed) {
            return Err(FrameError::Header);
        }
        if version != FRAME_VERSION {
            return Err(if version > FRAME_VERSION {
                FrameError::Newer
            } else {
                FrameError::NotAHeader
            });
        }
        let category = category.and_then(Category::from_code).ok_or(FrameError::Header)?;
        let integration = String::from_utf8(name.to_vec()).map_err(|_| FrameError::Header)?;
        let header =
            fields.header(StreamName { integration, category }, flags).ok_or(FrameError::Header)?;
        let plausible = name_len <= NAME_BYTES_MAX
            && header.seq.0 <= FRAME_NUMBER_MAX
            && u64::from(header.page_index) <= header.seq.0
            && header.entries >= 1
            && header.entries as usize <= FRAME_ENTRIES_MAX
            && header.raw_len as usize <= FRAME_RAW_BYTES_CEILING
            && header.deflated_len as usize <= 2 * FRAME_RAW_BYTES_CEILING;
        plausible.then_some(header).ok_or(FrameError::Header)
    }

    /// Reads the entry table of the frame that begins `bytes`, checked by its own checksum, so
    /// that it can still be read when the records can't.
    pub fn table(&self, bytes: &[u8]) -> Result<Vec<EntryMeta>, FrameError> {
        let table = bytes.get(self.table_at()..self.deflated_at()).ok_or(FrameError::Cut)?;
        if crc32fast::hash(table) != self.table_crc {
            return Err(FrameError::Table);
        }
        let rows = table.chunks_exact(TABLE_ROW_BYTES).map(|row| {
            let mut fields = Fields(row);
            let key = RowKey { stamp: Stamp(fields.i64()?), id: fields.u64()? };
            let length = fields.u32()?;
            let stamped = length & STAMPED_BIT != 0;
            Some(EntryMeta { key, raw_len: length & !STAMPED_BIT, stamped })
        });
        let rows: Vec<EntryMeta> = rows.collect::<Option<_>>().ok_or(FrameError::Table)?;
        if json_len(&rows) != u64::from(self.raw_len) {
            return Err(FrameError::Table);
        }
        Ok(rows)
    }
}

/// The length of the JSON of consecutive entries with a comma between each two.
pub fn json_len(entries: &[EntryMeta]) -> u64 {
    let commas = entries.len().saturating_sub(1) as u64;
    entries.iter().map(|entry| u64::from(entry.raw_len)).sum::<u64>() + commas
}

/// The length that `encode` will add for this frame.
pub fn disk_len(frame: &Frame) -> u64 {
    let head = FRAME_HEADER_BYTES + frame.stream.integration.len();
    (head + frame.entries.len() * TABLE_ROW_BYTES + frame.deflated.len()) as u64
}

/// The stamps that a frame's header carries: the oldest entry's own, and the newest of any key.
/// Entries without a stamp of their own borrow one, possibly 1970, so they count for the newest
/// only: a bad one must not restart the stream in 1970 or in the far future.
pub fn stamps(entries: &[EntryMeta], progress: Progress) -> (Stamp, Stamp) {
    let own = entries.iter().filter(|entry| entry.stamped).map(|entry| entry.key.stamp).min();
    let borrowed = entries
        .iter()
        .map(|entry| entry.key.stamp)
        .filter(|at| *at > Stamp::EPOCH && *at < Stamp::UNREADABLE);
    let oldest = own.or_else(|| borrowed.min()).unwrap_or(progress.from);
    let newest = entries.iter().map(|entry| entry.key.stamp).max();
    (oldest, newest.unwrap_or(progress.position))
}

/// Adds a frame as it lies on disk to `out`.
pub fn encode(out: &mut Vec<u8>, frame: &Frame, slot: FrameMeta) {
    encode_head(out, frame, slot);
    out.extend_from_slice(&frame.deflated);
}

/// The same without the deflated blocks, which follow.
pub fn encode_head(out: &mut Vec<u8>, frame: &Frame, slot: FrameMeta) {
    let name = frame.stream.integration.as_bytes();
    debug_assert!(!frame.entries.is_empty() && frame.entries.len() <= FRAME_ENTRIES_MAX);
    debug_assert!(name.len() <= NAME_BYTES_MAX && json_len(&frame.entries) <= u64::from(u32::MAX));
    let mut table = Vec::with_capacity(frame.entries.len() * TABLE_ROW_BYTES);
    for entry in &frame.entries {
        table.extend_from_slice(&entry.key.stamp.0.to_le_bytes());
        table.extend_from_slice(&entry.key.id.to_le_bytes());
        let stamped = if entry.stamped { STAMPED_BIT } else { 0 };
        table.extend_from_slice(&(entry.raw_len | stamped).to_le_bytes());
    }
    let (oldest, newest) = stamps(&frame.entries, slot.progress);
    let begin = out.len();
    out.extend_from_slice(&FRAME_MAGIC);
    out.push(FRAME_VERSION);
    out.push(frame.stream.category.code());
    out.push(if slot.last_of_page { FLAG_LAST_OF_PAGE } else { 0 });
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(&slot.seq.0.to_le_bytes());
    for number in [
        slot.page_index,
        frame.entries.len() as u32,
        frame.raw_len,
        frame.raw_crc,
        frame.deflated.len() as u32,
        crc32fast::hash(&table),
        crc32fast::hash(&frame.deflated),
    ] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for stamp in [slot.progress.position, slot.progress.from, oldest, newest] {
        out.extend_from_slice(&stamp.0.to_le_bytes());
    }
    let crc = header_crc(&out[begin..], name);
    out.extend_from_slice(&crc.to_le_bytes());
    debug_assert_eq!(out.len() - begin, FRAME_HEADER_BYTES);
    out.extend_from_slice(name);
    out.extend_from_slice(&table);
}

/// Reads the frame that begins `bytes`, every checksum checked.
pub fn decode(bytes: &[u8]) -> Result<(Header, Frame), FrameError> {
    let (header, frame, deflated) = checked(bytes)?;
    let deflated = bytes[deflated].to_vec();
    Ok((header, Frame { deflated, ..frame }))
}

/// The same of bytes that nobody else needs: they become the frame's.
pub fn take(mut bytes: Vec<u8>) -> Result<(Header, Frame), FrameError> {
    let (header, frame, deflated) = checked(&bytes)?;
    bytes.truncate(deflated.end);
    bytes.drain(..deflated.start);
    Ok((header, Frame { deflated: bytes, ..frame }))
}

/// A frame without its blocks, and where they lie.
fn checked(bytes: &[u8]) -> Result<(Header, Frame, Range<usize>), FrameError> {
    let header = Header::decode(bytes)?;
    let deflated = bytes.get(header.deflated_at()..header.disk_len()).ok_or(FrameError::Cut)?;
    let entries = header.table(bytes)?;
    if crc32fast::hash(deflated) != header.deflated_crc {
        return Err(FrameError::Deflated);
    }
    let frame = Frame {
        stream: header.stream.clone(),
        progress: header.progress,
        last_of_page: header.last_of_page,
        entries,
        raw_len: header.raw_len,
        raw_crc: header.raw_crc,
        deflated: Vec::new(),
    };
    let place = header.deflated_at()..header.disk_len();
    Ok((header, frame, place))
}

/// A log file's header.
pub fn file_header(first: Seq) -> [u8; FILE_HEADER_BYTES] {
    let mut out = [0; FILE_HEADER_BYTES];
    out[..8].copy_from_slice(&FILE_MAGIC);
    out[8..10].copy_from_slice(&FILE_VERSION.to_le_bytes());
    out[12..20].copy_from_slice(&first.0.to_le_bytes());
    let crc = crc32fast::hash(&out[..20]);
    out[20..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Whether `bytes` begin with the header of a log file, whole, that a newer version wrote.
pub fn is_newer_file(bytes: &[u8]) -> bool {
    let Some(head) = bytes.get(..FILE_HEADER_BYTES) else { return false };
    let is_whole = head[..8] == FILE_MAGIC && crc32fast::hash(&head[..20]) == last_u32(head);
    is_whole && Fields(&head[8..]).u16().is_some_and(|version| version > FILE_VERSION)
}

fn header_crc(fixed: &[u8], name: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(fixed);
    crc.update(name);
    crc.finalize()
}

fn last_u32(bytes: &[u8]) -> u32 {
    bytes.last_chunk().map_or(0, |tail| u32::from_le_bytes(*tail))
}

/// Little-endian numbers taken one after another from bytes.
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*number)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    /// A text whose length stands before it in one byte.
    pub fn text_u8(&mut self) -> Option<String> {
        let len = usize::from(self.u8()?);
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }

    pub fn progress(&mut self) -> Option<Progress> {
        Some(Progress { position: Stamp(self.i64()?), from: Stamp(self.i64()?) })
    }

    fn header(&mut self, stream: StreamName, flags: u8) -> Option<Header> {
        let seq = Seq(self.u64()?);
        let (page_index, entries) = (self.u32()?, self.u32()?);
        let (raw_len, raw_crc) = (self.u32()?, self.u32()?);
        let deflated_len = self.u32()?;
        let (table_crc, deflated_crc) = (self.u32()?, self.u32()?);
        let progress = self.progress()?;
        Some(Header {
            seq,
            stream,
            page_index,
            last_of_page: flags & FLAG_LAST_OF_PAGE != 0,
            entries,
            raw_len,
            raw_crc,
            deflated_len,
            progress,
            oldest: Stamp(self.i64()?),
            newest: Stamp(self.i64()?),
            table_crc,
            deflated_crc,
        })
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
pub(crate) mod tests;
