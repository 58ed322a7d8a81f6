//! `head`: how far the queue is delivered, and how far it was filled, in a few bytes that are
//! overwritten in place.
//!
//! ```text
//! slot at 0, slot at 4096:   "S1CXHED" version:u8 id:[32] seq:u64 skip:u32 crc:u32   (little endian)
//! slot at 512, slot at 4608: "S1CXNXT" version:u8 id:[32] seq:u64 0:u32 crc:u32
//! ```
//!
//! The index contains the same, and is what counts while it can be written. On a full disk it can't
//! be; a copy-on-write file system (btrfs, UBIFS, f2fs) has no space even for a change that frees
//! space. So the file is made while there is space, with copying switched off, and never grows.
//!
//! The second pair has the number after the last frame that counts: if both the index and the end
//! of the log are lost, nothing else shows that there were frames. It is synced with the first page
//! of each log file; in between a kill leaves it exact, and a power cut may leave an earlier
//! number.
//!
//! Promises: never claims more than is delivered, or than was stored; a torn write leaves the other
//! slot intact; a slot of another queue is ignored. Never: moves the head backwards.

use std::io;

use super::Queue;
use super::checkpoint::content;
use super::disk::{Disk, Item};
use super::marks::QueueId;
use crate::errno::{Says, says};
use crate::frame::Fields;
use crate::limits::{FRAME_ENTRIES_MAX, FRAME_NUMBER_MAX};
use crate::record::{QueuePosition, Seq};

pub(super) const FILE: &str = "head";
const MAGIC: &[u8; 7] = b"S1CXHED";
const NEXT_MAGIC: &[u8; 7] = b"S1CXNXT";
const VERSION: u8 = 1;
const ID_BYTES: usize = 32;
const SLOT_BYTES: usize = MAGIC.len() + 1 + ID_BYTES + 8 + 4 + 4;
/// Far enough apart that a torn write damages at most one slot of a pair.
const SLOTS_AT: [usize; 2] = [0, 4_096];
const NEXT_SLOTS_AT: [usize; 2] = [512, 4_608];
/// Two blocks, each with a slot of each pair.
const FILE_BYTES: usize = 8_192;

/// Where the next write goes, and what was written last.
#[derive(Debug, Default)]
pub(super) struct Noted {
    next_slot: usize,
    pub place: QueuePosition,
    /// Whether `place` survives a power cut.
    pub is_durable: bool,
    /// Whether the file is there.
    is_there: bool,
    /// The number after the last frame that counts.
    pub next: Seq,
    /// The slot to which `next` is written next.
    next_slot_of_next: usize,
}

fn encode(magic: &[u8; 7], id: &str, head: QueuePosition) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.push(VERSION);
    out.extend_from_slice(&owner(id));
    out.extend_from_slice(&head.seq.0.to_le_bytes());
    out.extend_from_slice(&head.skip.to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn decode(magic: &[u8; 7], slot: &[u8], id: &str) -> Option<QueuePosition> {
    let (version, content) = content(slot, magic)?;
    let (of, fields) = content.split_at_checked(ID_BYTES)?;
    let is_own = of == owner(id);
    let mut fields = Fields(fields);
    let head = QueuePosition { seq: Seq(fields.u64()?), skip: fields.u32()? };
    let is_place = head.seq.0 <= FRAME_NUMBER_MAX && head.skip as usize <= FRAME_ENTRIES_MAX;
    (version == VERSION && is_own && is_place).then_some(head)
}

/// A queue's id as in a slot; zeros if it has none.
fn owner(id: &str) -> [u8; ID_BYTES] {
    let mut owner = [0; ID_BYTES];
    owner.iter_mut().zip(id.bytes()).for_each(|(at, byte)| *at = byte);
    owner
}

fn slots(bytes: &[u8], at: [usize; 2]) -> impl Iterator<Item = &[u8]> {
    at.into_iter().filter_map(|at| bytes.get(at..at + SLOT_BYTES))
}

/// Whether a newer version wrote the file.
pub(super) fn is_newer(disk: &mut impl Disk) -> bool {
    let bytes = disk.read(FILE, 0, FILE_BYTES).unwrap_or_default();
    let is_newer = |slot, magic| content(slot, magic).is_some_and(|(version, _)| version > VERSION);
    slots(&bytes, SLOTS_AT).any(|slot| is_newer(slot, MAGIC))
        || slots(&bytes, NEXT_SLOTS_AT).any(|slot| is_newer(slot, NEXT_MAGIC))
}

/// How far this queue is delivered for certain. `None`: no slot can be read.
pub(super) fn read(disk: &mut impl Disk, id: Option<&QueueId>) -> Option<QueuePosition> {
    read_slots(disk, id).unwrap_or_default().heads.into_iter().max().flatten()
}

/// The content of the slots of each pair.
#[derive(Default)]
struct Slots {
    heads: Vec<Option<QueuePosition>>,
    nexts: Vec<Option<QueuePosition>>,
}

impl Slots {
    /// The newest position of a pair, and the slot to overwrite: never the newest one.
    fn newest(pair: &[Option<QueuePosition>]) -> (QueuePosition, usize) {
        let place = pair.iter().copied().max().flatten().unwrap_or_default();
        (place, usize::from(pair.first().is_some_and(|first| *first == Some(place))))
    }
}

fn read_slots(disk: &mut impl Disk, id: Option<&QueueId>) -> io::Result<Slots> {
    let bytes = match disk.read(FILE, 0, FILE_BYTES) {
        Err(error) if says(&error) == Says::Medium => Vec::new(),
        read => read?,
    };
    let id = id.map_or("", QueueId::as_str);
    let heads = slots(&bytes, SLOTS_AT).map(|slot| decode(MAGIC, slot, id));
    let nexts = slots(&bytes, NEXT_SLOTS_AT).map(|slot| decode(NEXT_MAGIC, slot, id));
    Ok(Slots { heads: heads.collect(), nexts: nexts.collect() })
}

impl<D: Disk> Queue<D> {
    /// Reads the file, and makes it if it is missing and there is space.
    pub(super) fn prepare_head_file(&mut self, items: &[Item]) -> io::Result<()> {
        let id = QueueId::read(&mut self.disk)?;
        let read = read_slots(&mut self.disk, id.as_ref())?;
        let (place, next_slot) = Slots::newest(&read.heads);
        let (next, next_slot_of_next) = Slots::newest(&read.nexts);
        let found = items.iter().find(|item| item.name == FILE);
        let is_whole = found.is_some_and(|item| item.len == FILE_BYTES as u64);
        if found.is_some() && !is_whole {
            // Left from an interrupted creation.
            let _ = self.disk.remove(FILE);
        }
        let is_there = is_whole || self.make_head_file().is_ok();
        let is_durable = is_whole && self.disk.sync_data(FILE).is_ok();
        let next = next.seq;
        self.noted = Noted { next_slot, place, is_durable, is_there, next, next_slot_of_next };
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

    /// Writes it again, because the queue has an id now.
    pub(super) fn note_head_by_id(&mut self) {
        self.noted.place = QueuePosition::default();
        let _ = self.note_head(false);
        self.noted.next = Seq::default();
        self.note_next(true);
    }

    /// Writes the number after the last committed frame. A write error is ignored: the number is
    /// needed only if both the index and the log are lost.
    pub(super) fn note_next(&mut self, is_durable: bool) {
        let next = self.state.next_seq;
        if next <= self.noted.next || !self.noted.is_there {
            return;
        }
        let slot = encode(NEXT_MAGIC, self.id(), QueuePosition { seq: next, skip: 0 });
        let at = NEXT_SLOTS_AT[self.noted.next_slot_of_next] as u64;
        if self.disk.overwrite(FILE, at, &slot).is_err() {
            return;
        }
        self.noted.next = next;
        self.noted.next_slot_of_next = (self.noted.next_slot_of_next + 1) % NEXT_SLOTS_AT.len();
        if is_durable && self.disk.sync_data(FILE).is_ok() {
            self.noted.is_durable = true;
        }
    }

    /// Writes the head. `is_durable`: it survives a power cut once this returns Ok.
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
        let slot = encode(MAGIC, self.id(), head);
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
        let head = QueuePosition { seq: Seq(3), skip: 4 };
        let slot = encode(MAGIC, id("a").as_str(), head);
        let owner = "61".repeat(ID_BYTES);
        let golden = format!("53314358484544{:02x}{owner}030000000000000004000000e26c8425", 1);
        assert_eq!(hex(&slot), golden);
        assert_eq!(decode(MAGIC, &slot, id("a").as_str()), Some(head));
        assert_eq!(decode(MAGIC, &slot, id("b").as_str()), None, "another queue's");
        assert_eq!(decode(MAGIC, &slot, ""), None);
        let nameless = encode(MAGIC, "", head);
        assert_eq!(decode(MAGIC, &nameless, ""), Some(head));
        assert_eq!(decode(MAGIC, &nameless, id("a").as_str()), None);
        for bit in 0..slot.len() * 8 {
            let mut damaged = slot.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(MAGIC, &damaged, id("a").as_str()), None, "bit {bit}");
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
        let found = slots(&bytes, SLOTS_AT).filter_map(|slot| decode(MAGIC, slot, ""));
        let found: Vec<_> = found.collect();
        assert_eq!(found, [heads[2], heads[1]]);
        // Torn, the one before it counts.
        disk.tamper(FILE, |bytes| bytes[20] ^= 1);
        assert_eq!(read(&mut disk.clone(), None), Some(heads[1]));
    }

    /// A file of the log is removed after that.
    #[test]
    fn what_was_noted_already_is_made_durable_when_it_has_to_be() {
        for seed in 0..8 {
            let disk = MemDisk::new(128 << 20);
            let (mut queue, ..) = disk.open();
            let frames = page(&threats(), &[1, 2], 1);
            queue.append(&threats(), &frames, progress(2, 1), &[]).unwrap();
            queue.note_head(true).unwrap();
            let one = crate::record::Take { entries_max: 1, ..ALL };
            let end = queue.peek(one).unwrap().unwrap().sent.end;
            let head = queue.ack(end, Mono(1)).unwrap().head;
            assert!(queue.noted.place == head && !queue.noted.is_durable);
            queue.note_head(true).unwrap();
            drop(queue);
            disk.power_cut(&mut crate::prng::Prng::new(seed));
            assert_eq!(read(&mut disk.clone(), None), Some(head), "seed {seed}");
        }
    }

    #[test]
    fn a_newer_version_is_seen() {
        let disk = MemDisk::new(128 << 20);
        drop(disk.open());
        assert!(!is_newer(&mut disk.clone()));
        disk.tamper(FILE, |bytes| {
            let mut slot = encode(MAGIC, "", QueuePosition { seq: Seq(1), skip: 0 });
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

    #[test]
    fn how_far_was_taken_in_is_noted_with_each_page_and_durably_with_each_log_file() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        queue.identify(QueueId::parse(&"a".repeat(ID_BYTES)).unwrap());
        let next = |disk: &MemDisk| {
            let slots = read_slots(&mut disk.clone(), Some(&id("a"))).unwrap();
            Slots::newest(&slots.nexts).0.seq
        };
        for n in 1..=3 {
            queue.append(&threats(), &page(&threats(), &[n], 1), progress(n, n), &[]).unwrap();
            assert_eq!(next(&disk), Seq(n + 1));
        }
        // Of a page that was not taken in nothing is said.
        let refused =
            queue.append(&threats(), &[big_frame(&threats(), 4, 80 << 20)], progress(4, 4), &[]);
        assert!(refused.is_err());
        assert_eq!(next(&disk), Seq(4));
        drop(queue);
        disk.power_cut(&mut crate::prng::Prng::new(3));
        assert!(next(&disk) >= Seq(2), "the first page of the file is noted durably");
        disk.tamper(FILE, |bytes| bytes[NEXT_SLOTS_AT[0]..].fill(0));
        assert_eq!(next(&disk), Seq(0));
    }

    #[test]
    fn a_place_that_no_queue_reaches_is_not_read() {
        let entries = FRAME_ENTRIES_MAX as u32;
        for (seq, skip, is_read) in [
            (FRAME_NUMBER_MAX, entries, true),
            (FRAME_NUMBER_MAX + 1, 0, false),
            (1, entries + 1, false),
        ] {
            let place = QueuePosition { seq: Seq(seq), skip };
            assert_eq!(decode(MAGIC, &encode(MAGIC, "", place), ""), is_read.then_some(place));
        }
    }

    fn noted(disk: &MemDisk, id: Option<&QueueId>) -> ([Option<u64>; 2], [Option<u64>; 2]) {
        let read = read_slots(&mut disk.clone(), id).unwrap();
        let numbers = |slots: &[Option<QueuePosition>]| {
            let mut numbers = [slots[0], slots[1]].map(|slot| slot.map(|place| place.seq.0));
            numbers.sort_unstable();
            numbers
        };
        (numbers(&read.heads), numbers(&read.nexts))
    }

    /// A write may be torn, so the older slot of a pair is written to, also by the next process.
    #[test]
    fn the_last_two_places_stand_in_the_two_slots_whoever_wrote_them() {
        for is_reopened in [false, true] {
            let disk = MemDisk::new(128 << 20);
            let (mut queue, ..) = disk.open();
            for n in 1..6 {
                if is_reopened {
                    drop(queue);
                    (queue, ..) = disk.open();
                }
                let frames = page(&threats(), &[n], 1);
                queue.append(&threats(), &frames, progress(n, n), &[]).unwrap();
                queue.note_next(false);
                let end = QueuePosition { seq: Seq(n + 1), skip: 0 };
                queue.ack(end, Mono(1)).unwrap();
                let before = (n > 1).then_some(n);
                let both = [before, Some(n + 1)];
                assert_eq!(noted(&disk, None), (both, both), "{n}, reopened: {is_reopened}");
            }
        }
    }

    #[test]
    fn a_queue_that_gets_its_id_says_again_how_far_it_is() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        queue.append(&threats(), &page(&threats(), &[1, 2], 1), progress(2, 1), &[]).unwrap();
        queue.ack(QueuePosition { seq: Seq(2), skip: 0 }, Mono(1)).unwrap();
        let own = id("a");
        assert_eq!(noted(&disk, Some(&own)), ([None; 2], [None; 2]));
        queue.identify(id("a"));
        assert_eq!(noted(&disk, Some(&own)), ([None, Some(2)], [None, Some(3)]));
        assert_eq!(queue.id(), own.as_str());
    }

    /// What was said to be durable is, whatever was written or not synced before it.
    #[test]
    fn a_head_that_was_noted_durably_survives_a_power_cut() {
        let one = |n: u64| QueuePosition { seq: Seq(n), skip: 0 };
        for seed in 0..12 {
            for fails_at in [0, 5, 6, 7, 8, 9, 10, 11, 12] {
                let disk = MemDisk::new(128 << 20);
                let (mut queue, ..) = disk.try_open(SMALL).unwrap();
                let frames = page(&threats(), &[1, 2, 3], 1);
                queue.append(&threats(), &frames, progress(3, 1), &[]).unwrap();
                queue.ack(one(2), Mono(1)).unwrap();
                drop(queue);
                // Another process finds what may not be synced, and one of its operations fails.
                disk.kill();
                if fails_at > 0 {
                    disk.fail_after(fails_at, crate::queue::mem::Fault::Once(io::ErrorKind::Other));
                }
                let Ok((mut queue, ..)) = disk.try_open(SMALL) else { continue };
                disk.heal();
                if seed % 2 == 0 {
                    queue.note_next(seed % 4 == 0);
                }
                if seed % 3 == 0 {
                    queue.ack(one(3), Mono(1)).unwrap();
                    let frames = page(&threats(), &[4], 1);
                    queue.append(&threats(), &frames, progress(4, 1), &[]).unwrap();
                }
                let head = queue.held().head;
                queue.note_head(true).unwrap();
                drop(queue);
                disk.power_cut(&mut crate::prng::Prng::new(seed));
                let read = read(&mut disk.clone(), None);
                assert_eq!(read, Some(head), "seed {seed}, operation {fails_at}");
            }
        }
    }

    #[test]
    fn a_file_that_could_not_be_made_is_made_once_there_is_space() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.try_open(SMALL).unwrap();
        disk.clone().remove(FILE).unwrap();
        queue.noted.is_there = false;
        queue.append(&threats(), &page(&threats(), &[1, 2], 1), progress(2, 1), &[]).unwrap();
        for n in 2..4 {
            queue.ack(QueuePosition { seq: Seq(n), skip: 0 }, Mono(1)).unwrap();
            queue.note_head(true).unwrap();
            let head = read(&mut disk.clone(), None).map(|head| head.seq);
            assert_eq!(head, Some(Seq(n)), "it is made once and stays");
        }
    }

    #[test]
    fn how_far_was_taken_in_survives_with_the_first_page_of_a_file() {
        for seed in 0..16 {
            let disk = MemDisk::new(128 << 20);
            let (mut queue, ..) = disk.try_open(SMALL).unwrap();
            queue.append(&threats(), &page(&threats(), &[1], 1), progress(1, 1), &[]).unwrap();
            drop(queue);
            disk.power_cut(&mut crate::prng::Prng::new(seed));
            assert_eq!(noted(&disk, None).1, [None, Some(2)], "seed {seed}");
        }
    }
}
