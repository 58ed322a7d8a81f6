//! `checkpoint`: what survives when both the index and the log are damaged.
//!
//! Holds the head, the next frame number, and for each stream how far it is delivered. Written to a
//! new file that is renamed over the old one. If the queue is empty, it also holds the ids of the
//! overlap, so that a lost index then causes no duplicate. Promises: a record that is not delivered
//! never counts as settled in a checkpoint.

use std::io;

use super::awaited::Awaited;
use super::disk::{self, Disk};
use super::gaps::{self, GapLog};
use super::origins::Origins;
use super::schema::{self, StreamRow};
use crate::errno::{Says, says};
use crate::frame::Fields;
use crate::limits::{FRAME_ENTRIES_MAX, FRAME_NUMBER_MAX, STREAMS_MAX};
use crate::record::{QueuePosition, RowKey, Seq, Unread};

pub(super) const FILE: &str = "checkpoint";
const MAGIC: &[u8; 7] = b"S1CXCHK";
const VERSION: u8 = 1;
/// After the gap log come parts: a letter, a length, and so many bytes. A part with an unknown
/// letter is skipped.
const ORIGINS: u8 = b'o';
/// The numbers of gaps, each with what is known of its unfetchable row.
const UNREAD: u8 = b'u';
/// The records that gaps of damage still wait for.
const AWAITED: u8 = b'a';

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Checkpoint {
    pub head: QueuePosition,
    pub next_seq: Seq,
    /// With `progress` as far as delivered, and ids of delivered records.
    pub streams: Vec<(StreamRow, Vec<RowKey>)>,
    /// Empty in a checkpoint of a version without a gap log.
    pub gap_log: GapLog,
    /// Empty in a checkpoint of a version without origins.
    pub origins: Origins,
    /// Empty in a checkpoint of a version without awaited records.
    pub awaited: Awaited,
}

impl Checkpoint {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        out.extend_from_slice(&self.head.seq.0.to_le_bytes());
        out.extend_from_slice(&self.head.skip.to_le_bytes());
        out.extend_from_slice(&self.next_seq.0.to_le_bytes());
        out.extend_from_slice(&(self.streams.len() as u32).to_le_bytes());
        for (row, ids) in &self.streams {
            row.encode(&mut out);
            out.extend_from_slice(&(ids.len() as u32).to_le_bytes());
            schema::encode_ids(&mut out, ids);
        }
        out.extend_from_slice(&self.gap_log.head.encode());
        out.extend_from_slice(&(self.gap_log.rows().count() as u32).to_le_bytes());
        for row in self.gap_log.rows() {
            out.extend_from_slice(&row.encode_short());
        }
        put_part(&mut out, ORIGINS, &self.origins.encode());
        let unread = self.unread();
        if !unread.is_empty() {
            put_part(&mut out, UNREAD, &unread);
        }
        if !self.awaited.is_empty() {
            put_part(&mut out, AWAITED, &self.awaited.encode());
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn unread(&self) -> Vec<u8> {
        let mut out = vec![];
        let gaps = self.gap_log.rows().map(|row| &row.gap);
        for gap in gaps.filter(|gap| gap.unread != Unread::default()) {
            out.extend_from_slice(&gap.number.to_le_bytes());
            out.extend_from_slice(&gaps::encode_unread(gap.unread));
        }
        out
    }

    /// Whether a newer version wrote the file, or a row in it.
    pub fn is_newer(bytes: &[u8]) -> bool {
        let Some((version, content)) = content(bytes, MAGIC) else { return false };
        let mut has_newer_row = false;
        let mut is_unread = || Checkpoint::decode_content(content, &mut has_newer_row).is_none();
        version > VERSION || version == VERSION && is_unread() && has_newer_row
    }

    pub fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        let (version, content) = content(bytes, MAGIC)?;
        (version == VERSION).then(|| Checkpoint::decode_content(content, &mut false))?
    }

    /// `has_newer_row`: set if a row of a newer version is the reason for `None`.
    fn decode_content(content: &[u8], has_newer_row: &mut bool) -> Option<Checkpoint> {
        let mut fields = Fields(content);
        let head = QueuePosition { seq: Seq(fields.u64()?), skip: fields.u32()? };
        let next_seq = Seq(fields.u64()?);
        if head.seq.max(next_seq).0 > FRAME_NUMBER_MAX || head.skip as usize > FRAME_ENTRIES_MAX {
            return None;
        }
        let count = fields.u32()?;
        let mut streams = Vec::new();
        for _ in 0..count.min(STREAMS_MAX) {
            let row = StreamRow::decode(&mut fields)?;
            let ids = fields.u32()?;
            let ids = (0..ids).map(|_| schema::decode_id(&mut fields)).collect::<Option<_>>()?;
            streams.push((row, ids));
        }
        let mut gap_log = GapLog::default();
        if !fields.0.is_empty() {
            *has_newer_row = gaps::Head::is_newer(fields.0);
            gap_log.head = gaps::Head::decode(&mut fields)?;
            for _ in 0..fields.u32()? {
                *has_newer_row = gaps::Row::is_newer(fields.0);
                gap_log.load(gaps::Row::decode_short(&mut fields)?);
            }
        }
        let (mut origins, mut awaited) = (Origins::default(), Awaited::default());
        while !fields.0.is_empty() {
            let (letter, len) = (fields.u8()?, usize::try_from(fields.u32()?).ok()?);
            let (part, rest) = fields.0.split_at_checked(len)?;
            fields.0 = rest;
            let mut part = Fields(part);
            match letter {
                AWAITED => awaited = Awaited::decode(&mut part)?,
                ORIGINS => origins = Origins::decode(&mut part)?,
                UNREAD => {
                    while !part.0.is_empty() {
                        gap_log.set_unread(part.u64()?, gaps::decode_unread(&mut part)?);
                    }
                }
                _ => {}
            }
        }
        Some(Checkpoint { head, next_seq, streams, gap_log, origins, awaited })
    }

    pub fn write(bytes: &[u8], disk: &mut impl Disk) -> io::Result<()> {
        disk::replace(disk, FILE, bytes, true)
    }
}

/// The bytes of the file; the inner `Err`: the medium does not return them.
pub(super) fn read(disk: &mut impl Disk, len: u64) -> io::Result<Result<Vec<u8>, String>> {
    match disk.read(FILE, 0, len as usize) {
        Err(error) if says(&error) == Says::Medium => {
            Ok(Err(format!("The disk does not return this checkpoint: {error}.")))
        }
        read => read.map(Ok),
    }
}

/// The content between magic and version at the beginning and the checksum at the end, if the
/// checksum is right.
pub(super) fn content<'a>(bytes: &'a [u8], magic: &[u8]) -> Option<(u8, &'a [u8])> {
    let (content, crc) = bytes.split_last_chunk()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (version, content) = content.strip_prefix(magic)?.split_first()?;
    Some((*version, content))
}

fn put_part(out: &mut Vec<u8>, letter: u8, part: &[u8]) {
    out.push(letter);
    out.extend_from_slice(&(part.len() as u32).to_le_bytes());
    out.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::gaps::tests::gap;
    use crate::queue::index::Batch;
    use crate::record::{Gap, Kind, Progress, StreamName};
    use crate::time::Stamp;

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_or_not_at_all() {
        let name = StreamName::polled("acme", Kind::Alerts);
        let progress = Some(Progress { position: Stamp(5), from: Stamp(4) });
        let row = StreamRow { name, progress, delivered: progress };
        let ids = vec![RowKey { stamp: Stamp(5), id: 6 }];
        let head = QueuePosition { seq: Seq(3), skip: 4 };
        let mut gap_log = GapLog::default();
        gap_log.note(gap(7), &mut Batch::default());
        let unread = Unread { id: Some(8), bytes_min: Some(9) };
        gap_log.note(Gap { parked: None, unread, ..gap(8) }, &mut Batch::default());
        let mut origins = Origins::default();
        origins.learn("acme", "https://acme.sentinelone.net", &mut Batch::default());
        let streams = vec![(row, ids)];
        let mut awaited = Awaited::default();
        awaited.want(1, &[RowKey { stamp: Stamp(5), id: 6 }], 2);
        let next_seq = Seq(9);
        let checkpoint = Checkpoint { head, next_seq, streams, gap_log, origins, awaited };
        let bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Checkpoint::decode(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn a_checkpoint_from_before_there_was_a_gap_log_or_what_follows_it_is_read() {
        let checkpoint = Checkpoint { next_seq: Seq(9), ..Checkpoint::default() };
        let bytes = checkpoint.encode();
        let origins = 5 + Origins::default().encode().len();
        let gap_log = 4 + gaps::Head::default().encode().len();
        for without in [origins, origins + gap_log] {
            let mut old = bytes[..bytes.len() - 4 - without].to_vec();
            old.extend_from_slice(&crc32fast::hash(&old).to_le_bytes());
            assert_eq!(Checkpoint::decode(&old).as_ref(), Some(&checkpoint), "{without}");
        }
    }

    #[test]
    fn what_a_later_program_adds_to_a_checkpoint_is_passed_over() {
        let checkpoint = Checkpoint { next_seq: Seq(9), ..Checkpoint::default() };
        let bytes = checkpoint.encode();
        let mut new = bytes[..bytes.len() - 4].to_vec();
        new.extend_from_slice(b"z\x03\0\0\0abc");
        new.extend_from_slice(&crc32fast::hash(&new).to_le_bytes());
        assert_eq!(Checkpoint::decode(&new), Some(checkpoint));
    }

    #[test]
    fn a_place_that_no_queue_reaches_is_damage() {
        let (last, entries) = (FRAME_NUMBER_MAX, FRAME_ENTRIES_MAX as u32);
        for (seq, skip, next_seq, is_read) in [
            (last, entries, last, true),
            (last + 1, 0, last, false),
            (1, 0, last + 1, false),
            (1, entries + 1, last, false),
        ] {
            let head = QueuePosition { seq: Seq(seq), skip };
            let next_seq = Seq(next_seq);
            let checkpoint = Checkpoint { head, next_seq, ..Checkpoint::default() };
            let read = Checkpoint::decode(&checkpoint.encode());
            assert_eq!(read, is_read.then_some(checkpoint), "{head:?} {next_seq:?}");
        }
    }
}
