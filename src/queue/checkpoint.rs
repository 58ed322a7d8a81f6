//! `checkpoint`: what survives when both the index and the log are damaged.
//!
//! Holds the head, the next frame number, and for each stream how far it is delivered. Written
//! anew beside the old one and renamed over it. With an empty queue it also carries the ids of the
//! overlap, so that a lost index then costs not one duplicate. Promises: a checkpoint never speaks
//! of a record as settled that is not delivered.

use std::io;

use super::disk::{self, Disk};
use super::gaps::{self, Ledger};
use super::keys::{self, StreamRow};
use super::origins::Origins;
use crate::frame::Fields;
use crate::limits::{FRAME_ENTRIES_MAX, FRAME_NUMBER_MAX, STREAMS_MAX};
use crate::record::{Place, RowKey, Seq, Unread};

pub(super) const FILE: &str = "checkpoint";
const MAGIC: &[u8; 7] = b"S1CXCHK";
const VERSION: u8 = 1;
/// What follows the ledger: a letter, a length, and so many bytes. An unknown letter is passed over.
const ORIGINS: u8 = b'o';
/// The numbers of gaps, each with what is known of its row that can't be fetched.
const UNREAD: u8 = b'u';

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Checkpoint {
    pub head: Place,
    pub next_seq: Seq,
    /// With `progress` as far as delivered, and ids that are delivered.
    pub streams: Vec<(StreamRow, Vec<RowKey>)>,
    /// Absent from a checkpoint of a program that kept none.
    pub ledger: Ledger,
    /// Absent from a checkpoint of a program that did not know them.
    pub origins: Origins,
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
            keys::encode_ids(&mut out, ids);
        }
        out.extend_from_slice(&self.ledger.head.encode());
        out.extend_from_slice(&(self.ledger.rows().count() as u32).to_le_bytes());
        for row in self.ledger.rows() {
            out.extend_from_slice(&row.encode_short());
        }
        put_part(&mut out, ORIGINS, &self.origins.encode());
        let unread = self.unread();
        if !unread.is_empty() {
            put_part(&mut out, UNREAD, &unread);
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn unread(&self) -> Vec<u8> {
        let mut out = vec![];
        let gaps = self.ledger.rows().map(|row| &row.gap);
        for gap in gaps.filter(|gap| gap.unread != Unread::default()) {
            out.extend_from_slice(&gap.number.to_le_bytes());
            out.extend_from_slice(&gaps::encode_unread(gap.unread));
        }
        out
    }

    /// Whether a newer version wrote it.
    pub fn is_newer(bytes: &[u8]) -> bool {
        content(bytes, MAGIC).is_some_and(|(version, _)| version > VERSION)
    }

    pub fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        let (version, content) = content(bytes, MAGIC)?;
        if version != VERSION {
            return None;
        }
        let mut fields = Fields(content);
        let head = Place { seq: Seq(fields.u64()?), skip: fields.u32()? };
        let next_seq = Seq(fields.u64()?);
        if head.seq.max(next_seq).0 > FRAME_NUMBER_MAX || head.skip as usize > FRAME_ENTRIES_MAX {
            return None;
        }
        let count = fields.u32()?;
        let mut streams = Vec::new();
        for _ in 0..count.min(STREAMS_MAX) {
            let row = StreamRow::decode(&mut fields)?;
            let ids = fields.u32()?;
            let ids = (0..ids).map(|_| keys::decode_id(&mut fields)).collect::<Option<_>>()?;
            streams.push((row, ids));
        }
        let mut ledger = Ledger::default();
        if !fields.0.is_empty() {
            ledger.head = gaps::Head::decode(&mut fields)?;
            for _ in 0..fields.u32()? {
                ledger.load(gaps::Row::decode_short(&mut fields)?);
            }
        }
        let mut origins = Origins::default();
        while !fields.0.is_empty() {
            let (letter, len) = (fields.u8()?, usize::try_from(fields.u32()?).ok()?);
            let (part, rest) = fields.0.split_at_checked(len)?;
            fields.0 = rest;
            let mut part = Fields(part);
            match letter {
                ORIGINS => origins = Origins::decode(&mut part)?,
                UNREAD => {
                    while !part.0.is_empty() {
                        ledger.know_unread(part.u64()?, gaps::decode_unread(&mut part)?);
                    }
                }
                _ => {}
            }
        }
        Some(Checkpoint { head, next_seq, streams, ledger, origins })
    }

    pub fn write(bytes: &[u8], disk: &mut impl Disk) -> io::Result<()> {
        disk::replace(disk, FILE, bytes, true)
    }
}

/// What lies between such a beginning with its version and the checksum of all, if that is whole.
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
        let head = Place { seq: Seq(3), skip: 4 };
        let mut ledger = Ledger::default();
        ledger.note(gap(7), &mut Batch::default());
        let unread = Unread { id: Some(8), bytes_min: Some(9) };
        ledger.note(Gap { parked: None, unread, ..gap(8) }, &mut Batch::default());
        let mut origins = Origins::default();
        origins.learn("acme", "https://acme.sentinelone.net", &mut Batch::default());
        let streams = vec![(row, ids)];
        let checkpoint = Checkpoint { head, next_seq: Seq(9), streams, ledger, origins };
        let bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Checkpoint::decode(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn a_checkpoint_from_before_there_was_a_ledger_or_what_follows_it_is_read() {
        let checkpoint = Checkpoint { next_seq: Seq(9), ..Checkpoint::default() };
        let bytes = checkpoint.encode();
        let origins = 5 + Origins::default().encode().len();
        let ledger = 4 + gaps::Head::default().encode().len();
        for without in [origins, origins + ledger] {
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
}
