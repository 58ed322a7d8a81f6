//! `head`: how far is delivered, in a few bytes that are overwritten in place.
//!
//! ```text
//! slot at 0, slot at 4096: "S1CXHED" version:u8 id:[32] seq:u64 skip:u32 crc:u32   (little endian)
//! ```
//!
//! The index says the same, and is what counts while it can be written. On a full disk it can't be; a
//! file system that copies what is written (btrfs, UBIFS, f2fs) has no space even for what frees space. So
//! the file is made while there is space, is asked not to be copied, and never grows.
//!
//! Promises: never says more than is delivered; a write that was torn leaves the slot before it; one of
//! another queue is passed over. Never: moves the head backwards.

use std::io;

use super::Queue;
use super::checkpoint::content;
use super::disk::{Disk, Item};
use super::index::Opener;
use super::marks::QueueId;
use crate::errno::{Says, says};
use crate::frame::Fields;
use crate::limits::{FRAME_ENTRIES_MAX, FRAME_NUMBER_MAX};
use crate::record::{Place, Seq};

pub(super) const FILE: &str = "head";
const MAGIC: &[u8; 7] = b"S1CXHED";
const VERSION: u8 = 1;
const ID_BYTES: usize = 32;
const SLOT_BYTES: usize = MAGIC.len() + 1 + ID_BYTES + 8 + 4 + 4;
/// Far enough apart that a disk tears at most one.
const SLOTS_AT: [usize; 2] = [0, 4_096];
/// A block for each.
const FILE_BYTES: usize = 8_192;

/// Where the next write goes, and what was written last.
#[derive(Debug, Default)]
pub(super) struct Noted {
    next_slot: usize,
    pub place: Place,
    /// Whether that survives a power cut.
    pub is_durable: bool,
    /// Whether the file is there.
    is_there: bool,
}

fn encode(id: &str, head: Place) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    out.extend_from_slice(&owner(id));
    out.extend_from_slice(&head.seq.0.to_le_bytes());
    out.extend_from_slice(&head.skip.to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn decode(slot: &[u8], id: &str) -> Option<Place> {
    let (version, content) = content(slot, MAGIC)?;
    let (of, fields) = content.split_at_checked(ID_BYTES)?;
    let is_own = of == owner(id);
    let mut fields = Fields(fields);
    let head = Place { seq: Seq(fields.u64()?), skip: fields.u32()? };
    let is_place = head.seq.0 <= FRAME_NUMBER_MAX && head.skip as usize <= FRAME_ENTRIES_MAX;
    (version == VERSION && is_own && is_place).then_some(head)
}

/// An id as a slot has it; zeros where there is none.
fn owner(id: &str) -> [u8; ID_BYTES] {
    let mut owner = [0; ID_BYTES];
    owner.iter_mut().zip(id.bytes()).for_each(|(at, byte)| *at = byte);
    owner
}

fn slots(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    SLOTS_AT.iter().filter_map(|at| bytes.get(*at..*at + SLOT_BYTES))
}

/// Whether a newer version wrote it.
pub(super) fn is_newer(disk: &mut impl Disk) -> bool {
    let bytes = disk.read(FILE, 0, FILE_BYTES).unwrap_or_default();
    slots(&bytes).any(|slot| content(slot, MAGIC).is_some_and(|(version, _)| version > VERSION))
}

/// How far this queue is delivered for certain. What can't be read says nothing.
pub(super) fn read(disk: &mut impl Disk, id: Option<&QueueId>) -> Option<Place> {
    read_slots(disk, id).unwrap_or_default().into_iter().max().flatten()
}

fn read_slots(disk: &mut impl Disk, id: Option<&QueueId>) -> io::Result<Vec<Option<Place>>> {
    let bytes = match disk.read(FILE, 0, FILE_BYTES) {
        Err(error) if says(&error) == Says::Medium => Vec::new(),
        read => read?,
    };
    Ok(slots(&bytes).map(|slot| decode(slot, id.map_or("", QueueId::as_str))).collect())
}

impl<D: Disk, O: Opener> Queue<D, O> {
    /// Reads it, and makes it where there is none, if there is space.
    pub(super) fn prepare_head_file(&mut self, items: &[Item]) -> io::Result<()> {
        let id = QueueId::read(&mut self.disk);
        let read = read_slots(&mut self.disk, id.as_ref())?;
        let place = read.iter().copied().max().flatten().unwrap_or_default();
        // The newest is never written over.
        let next_slot = usize::from(read.first().is_some_and(|first| *first == Some(place)));
        let found = items.iter().find(|item| item.name == FILE);
        let is_whole = found.is_some_and(|item| item.len == FILE_BYTES as u64);
        if found.is_some() && !is_whole {
            // One whose making was cut short.
            let _ = self.disk.remove(FILE);
        }
        let is_there = is_whole || self.make_head_file().is_ok();
        let is_durable = is_whole && self.disk.sync_data(FILE).is_ok();
        self.noted = Noted { next_slot, place, is_durable, is_there };
        self.id = id;
        Ok(())
    }

    fn make_head_file(&mut self) -> io::Result<()> {
        let made = self.disk.create_steady(FILE, &[0; FILE_BYTES]);
        let made = made.and_then(|()| self.disk.sync_dir(""));
        if made.is_err() {
            let _ = self.disk.remove(FILE);
        }
        made
    }

    /// Notes it anew: the queue has an id now.
    pub(super) fn note_head_by_id(&mut self) {
        self.noted.place = Place::default();
        let _ = self.note_head(false);
    }

    /// Notes how far is delivered. `is_durable`: it survives a power cut once this returns Ok.
    pub(super) fn note_head(&mut self, is_durable: bool) -> io::Result<()> {
        let head = self.state.head;
        if head <= self.noted.place && (self.noted.is_durable || !is_durable) {
            return Ok(());
        }
        let head = head.max(self.noted.place);
        if !self.noted.is_there {
            self.make_head_file()?;
            self.noted.is_there = true;
        }
        let slot = encode(self.id(), head);
        self.disk.overwrite(FILE, SLOTS_AT[self.noted.next_slot] as u64, &slot)?;
        self.noted.is_durable = false;
        if is_durable {
            self.disk.sync_data(FILE)?;
        }
        self.noted.is_durable = is_durable;
        self.noted.place = head;
        self.noted.next_slot = (self.noted.next_slot + 1) % SLOTS_AT.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::mem::MemDisk;
    use crate::queue::testing::*;
    use crate::time::Mono;

    fn id(text: &str) -> QueueId {
        QueueId::parse(&text.repeat(ID_BYTES)).unwrap()
    }

    /// As version 0.1 writes it: it can be read for ever.
    #[test]
    fn a_slot_is_read_as_it_was_written_or_not_at_all() {
        let head = Place { seq: Seq(3), skip: 4 };
        let slot = encode(id("a").as_str(), head);
        let owner = "61".repeat(ID_BYTES);
        let golden = format!("53314358484544{:02x}{owner}030000000000000004000000e26c8425", 1);
        assert_eq!(hex(&slot), golden);
        assert_eq!(decode(&slot, id("a").as_str()), Some(head));
        assert_eq!(decode(&slot, id("b").as_str()), None, "another queue's");
        assert_eq!(decode(&slot, ""), None);
        let nameless = encode("", head);
        assert_eq!(decode(&nameless, ""), Some(head));
        assert_eq!(decode(&nameless, id("a").as_str()), None);
        for bit in 0..slot.len() * 8 {
            let mut damaged = slot.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged, id("a").as_str()), None, "bit {bit}");
        }
    }

    #[test]
    fn what_is_delivered_is_noted_in_turn_in_two_slots() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        queue.append(&threats(), &page(&threats(), &[1, 2, 3], 1), progress(3, 1), &[]).unwrap();
        let mut heads = vec![];
        for _ in 0..3 {
            let one = crate::record::Take { entries_max: 1, ..ALL };
            let end = queue.peek(one).unwrap().unwrap().sent.end;
            heads.push(queue.ack(end, Mono(1)).unwrap().head);
            assert_eq!(read(&mut disk.clone(), None), heads.last().copied());
        }
        let bytes = disk.clone().read(FILE, 0, FILE_BYTES).unwrap();
        assert_eq!(bytes.len(), FILE_BYTES);
        let found: Vec<_> = slots(&bytes).filter_map(|slot| decode(slot, "")).collect();
        assert_eq!(found, [heads[2], heads[1]]);
        // Torn, the one before it counts.
        disk.tamper(FILE, |bytes| bytes[20] ^= 1);
        assert_eq!(read(&mut disk.clone(), None), Some(heads[1]));
    }

    #[test]
    fn a_newer_version_is_seen() {
        let disk = MemDisk::new(128 << 20);
        drop(disk.open());
        assert!(!is_newer(&mut disk.clone()));
        disk.tamper(FILE, |bytes| {
            let mut slot = encode("", Place { seq: Seq(1), skip: 0 });
            slot[MAGIC.len()] = VERSION + 1;
            let end = slot.len() - 4;
            let crc = crc32fast::hash(&slot[..end]);
            slot[end..].copy_from_slice(&crc.to_le_bytes());
            bytes[..SLOT_BYTES].copy_from_slice(&slot);
        });
        assert!(is_newer(&mut disk.clone()));
        let refused = disk.try_open(LIMITS);
        assert!(matches!(refused, Err(crate::queue::OpenError::Newer { .. })), "{refused:?}");
    }
}
