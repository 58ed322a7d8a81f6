//! How large the queue is and may be: `max_size`, `min_free`, the reserve, the quarantine (P4).
//!
//! Promises: the queue says that it is full before the disk does; when the disk says it first, the
//! reserve is given up so that acknowledging, which frees room, goes on. Never: drops a record.

use std::collections::BTreeMap;
use std::io;

use super::disk::Disk;
use super::index::{Index, Opener};
use super::{Queue, QueueError, QueueLimits};
use crate::limits::{
    DOUBT_BYTES_MAX, INDEX_BYTES_MAX, QUARANTINE_BYTES_MAX, QUEUE_SLACK_BYTES, RESERVE_BYTES,
    RESERVE_PAUSE_ASKED_MAX, ROOM_MARGIN_BYTES,
};
use crate::prng::Prng;
use crate::record::{Place, Room};

pub(super) const RESERVE: &str = "reserve";
pub(super) const QUARANTINE: &str = "quarantine";
pub(super) const PARKED: &str = "parked";
pub(super) const DOUBT: &str = "doubt";
/// The reserve is written in pieces of this size, longer than what file systems compress at once.
const RESERVE_PIECE_BYTES: usize = 256 << 10;

/// What is kept in mind about room.
#[derive(Debug)]
pub(super) struct Books {
    pub limits: QueueLimits,
    pub has_reserve: bool,
    pub parked_bytes: u64,
    /// The batches in doubt, and what each takes with its note.
    pub doubts: BTreeMap<Place, u64>,
    pub quarantine_bytes: u64,
    /// What the last page that was refused would have needed.
    refused_bytes: u64,
    full: Full,
    /// From this length on the index is written anew when that is cheap.
    pub index_bytes_max: u64,
}

/// When to try for the reserve again after the disk said that it was full. Each try writes it in
/// whole, and under a quota, where free bytes say nothing, what it freed itself looks like room.
#[derive(Debug, Default)]
struct Full {
    /// Free bytes and log bytes at that time.
    at: Option<(u64, u64)>,
    /// How often room was asked for since the last try, and how often it is asked in vain.
    asked: u32,
    pause: u32,
}

impl Full {
    fn is_due(&mut self, free: u64, log: u64, reserve: u64) -> bool {
        let Some((free_then, log_then)) = self.at else { return true };
        self.asked += 1;
        let more_free = free >= free_then.saturating_add(2 * reserve);
        let less_held = log < log_then && (log == 0 || log + 2 * reserve <= log_then);
        more_free || less_held || self.asked > self.pause
    }

    fn again(&mut self, free: u64, log: u64) {
        self.at = Some((free, log));
        self.asked = 0;
        self.pause = (2 * self.pause).clamp(1, RESERVE_PAUSE_ASKED_MAX);
    }
}

impl Books {
    pub fn new(limits: QueueLimits) -> Books {
        Books {
            limits,
            has_reserve: false,
            parked_bytes: 0,
            doubts: BTreeMap::new(),
            quarantine_bytes: 0,
            refused_bytes: 0,
            full: Full::default(),
            index_bytes_max: INDEX_BYTES_MAX,
        }
    }

    pub fn refused(&mut self, need: u64) {
        self.refused_bytes = need;
    }

    pub fn fits(&mut self) {
        self.refused_bytes = 0;
        self.full = Full::default();
    }

    /// What is held back for a full disk: less of a small queue.
    fn reserve_bytes(&self) -> u64 {
        RESERVE_BYTES.min(self.limits.max_size_bytes / 8)
    }

    /// What the batches in doubt may take.
    pub fn doubt_max(&self) -> u64 {
        DOUBT_BYTES_MAX.min(self.limits.max_size_bytes / 8)
    }

    fn doubt_bytes(&self) -> u64 {
        self.doubts.values().sum()
    }

    /// What the quarantine may take: never a large part of a small queue.
    fn quarantine_max(&self) -> u64 {
        QUARANTINE_BYTES_MAX.min(self.limits.max_size_bytes / 8)
    }
}

impl<D: Disk, O: Opener> Queue<D, O> {
    /// What all files of the queue take on disk.
    pub(super) fn bytes(&mut self) -> u64 {
        let reserve = if self.room.has_reserve { self.room.reserve_bytes() } else { 0 };
        self.bytes_without_reserve() + reserve
    }

    fn bytes_without_reserve(&mut self) -> u64 {
        let index = self.index.as_mut().map_or(0, Index::bytes);
        let aside = self.room.parked_bytes + self.room.doubt_bytes() + self.room.quarantine_bytes;
        self.log.bytes() + index + aside
    }

    /// Whether `need` bytes more stay below `max_size`, with room for the reserve and the index.
    fn fits_within_size(&mut self, need: u64) -> bool {
        let held_back = self.room.reserve_bytes() + QUEUE_SLACK_BYTES;
        let planned = self.bytes_without_reserve() + held_back;
        planned.saturating_add(need) <= self.room.limits.max_size_bytes
    }

    fn fits_on_disk(&mut self, need: u64) -> bool {
        // A file system that can't say what is free will say when it is full.
        let free = self.disk.free_bytes().unwrap_or(u64::MAX);
        free >= self.room.limits.min_free_bytes.saturating_add(need)
    }

    /// Refuses what would not fit.
    pub(super) fn make_room(&mut self, need: u64) -> Result<(), QueueError> {
        if self.room.has_reserve && self.fits_within_size(need) && self.fits_on_disk(need) {
            return Ok(());
        }
        self.room.refused(need);
        Err(QueueError::DiskFull)
    }

    /// Whether an entry to be parked fits: within `max_size` it may use the slack.
    pub(super) fn may_park(&mut self, need: u64) -> bool {
        let planned = self.bytes_without_reserve() + self.room.reserve_bytes() + need;
        planned <= self.room.limits.max_size_bytes
    }

    /// Whether there is room for a page as large as the last one that was refused.
    pub(super) fn room_now(&mut self) -> Room {
        if !self.room.has_reserve && !self.is_unindexed() {
            self.take_back_reserve();
        }
        // With nothing waiting there is nothing that draining could free: a page that does not fit
        // now never will, and only a shorter one can go on.
        let need = if self.state.records == 0 { 0 } else { self.room.refused_bytes };
        if !self.room.has_reserve || self.is_unindexed() || !self.fits_on_disk(need) {
            Room::DiskLow
        } else if !self.fits_within_size(need.max(ROOM_MARGIN_BYTES)) {
            Room::QueueFull
        } else {
            Room::Free
        }
    }

    /// Frees a few MiB of a full disk, so that the index can commit what frees more.
    pub(super) fn give_up_reserve(&mut self) {
        // Failing to remove it changes nothing for the worse.
        let _ = self.disk.remove(RESERVE);
        let _ = self.disk.sync_all();
        self.room.has_reserve = false;
        let free = self.disk.free_bytes().unwrap_or(0);
        self.room.full.again(free, self.log.bytes());
    }

    pub(super) fn take_back_reserve(&mut self) {
        let free = self.disk.free_bytes().unwrap_or(u64::MAX);
        // What is left to others is of pages; an index that can be written lets what waits go on.
        let left = if self.is_unindexed() { 0 } else { self.room.limits.min_free_bytes };
        if free < left.saturating_add(self.room.reserve_bytes()) {
            return;
        }
        let log = self.log.bytes();
        let reserve = self.room.reserve_bytes();
        if !self.room.full.is_due(free, log, reserve) {
            return;
        }
        if self.write_reserve().is_ok() {
            self.room.has_reserve = true;
        } else {
            self.give_up_reserve();
        }
    }

    /// Writes the reserve in full, for a hole holds nothing back, with bytes that a file system
    /// which compresses (UBIFS, btrfs) cannot make smaller.
    fn write_reserve(&mut self) -> io::Result<()> {
        match self.disk.remove(RESERVE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.disk.create(RESERVE)?;
        let bytes = self.room.reserve_bytes() as usize;
        let mut noise = Prng::new(RESERVE_BYTES);
        let words = (0..RESERVE_PIECE_BYTES / 8).flat_map(|_| noise.next_u64().to_le_bytes());
        let piece: Vec<u8> = words.collect();
        for written in (0..bytes).step_by(RESERVE_PIECE_BYTES) {
            self.disk.append(RESERVE, &piece[..RESERVE_PIECE_BYTES.min(bytes - written)])?;
        }
        self.disk.sync_data(RESERVE)?;
        self.disk.sync_dir("")
    }

    /// Reads the sizes of what is there.
    pub(super) fn count_bytes(&mut self) -> io::Result<()> {
        let items = self.disk.list("")?;
        let reserve = items.iter().find(|item| item.name == RESERVE);
        self.room.has_reserve = reserve.is_some_and(|item| item.len == self.room.reserve_bytes());
        self.room.parked_bytes = self.disk.tree_bytes(PARKED)?;
        self.room.quarantine_bytes = self.disk.tree_bytes(QUARANTINE)?;
        let items = self.disk.list(DOUBT)?;
        let place =
            |name: &str| super::parked::place_of(&format!("{}.log", name.strip_suffix(".txt")?));
        let notes = items.iter().filter_map(|item| Some((place(&item.name)?, item.len)));
        let notes: BTreeMap<Place, u64> = notes.collect();
        let batches = items.iter().filter_map(|item| {
            let at = super::parked::place_of(&item.name)?;
            Some((at, item.len + notes.get(&at).unwrap_or(&0)))
        });
        self.room.doubts = batches.collect();
        Ok(())
    }

    /// A name in the quarantine that nothing has yet and that sorts after all others there.
    pub(super) fn quarantine_name(&mut self, what: &str) -> String {
        let items = self.disk.list(QUARANTINE).unwrap_or_default();
        let used = items.iter().filter_map(|item| item.name.split('-').next()?.parse::<u64>().ok());
        format!("{:06}-{what}", used.max().unwrap_or(0) + 1)
    }

    /// Puts the reason beside what was set aside, and removes the oldest of too much (P4 has no
    /// exception). Nothing here may stop the repair it belongs to, so errors are passed over.
    pub(super) fn after_quarantine(&mut self, name: &str, why: &str) {
        let note = format!("{QUARANTINE}/{name}.txt");
        let text = format!("{why}\n");
        let _ = self.disk.create(&note).and_then(|()| self.disk.append(&note, text.as_bytes()));
        let _ = self.disk.sync_data(&note);
        let _ = self.disk.sync_dir(QUARANTINE);
        let mut items = self.disk.list(QUARANTINE).unwrap_or_default();
        items.sort_by(|a, b| a.name.cmp(&b.name));
        let mut bytes = self.disk.tree_bytes(QUARANTINE).unwrap_or(0);
        for item in items {
            if bytes <= self.room.quarantine_max() {
                break;
            }
            let path = format!("{QUARANTINE}/{}", item.name);
            let freed = self.disk.tree_bytes(&path).unwrap_or(0);
            if self.disk.remove_tree(&path).is_ok() {
                bytes = bytes.saturating_sub(freed);
            }
        }
        self.room.quarantine_bytes = bytes;
    }

    /// Moves a file to the quarantine, with the reason beside it.
    pub(super) fn set_aside(&mut self, path: &str, what: &str, why: &str) -> io::Result<()> {
        let name = self.quarantine_name(what);
        self.disk.rename(path, &format!("{QUARANTINE}/{name}"))?;
        self.after_quarantine(&name, why);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::queue::QueueError;
    use crate::queue::disk::Disk;
    use crate::queue::mem::{Fault, MemDisk};
    use crate::queue::testing::*;
    use crate::record::Room;
    use crate::time::Mono;

    const CAPACITY: u64 = 128 << 20;

    #[test]
    fn the_last_min_free_bytes_of_the_disk_are_left_to_others() {
        let disk = MemDisk::new(CAPACITY);
        let (mut queue, ..) = disk.open();
        let threats = threats();
        let one = page(&threats, &[1], 1);
        queue.append(&threats, &one, progress(1, 1), &[key(1)]).unwrap();
        let used = CAPACITY - disk.clone().free_bytes().unwrap();
        disk.set_capacity(used + LIMITS.min_free_bytes - 1);
        let two = page(&threats, &[2], 1);
        let refused = queue.append(&threats, &two, progress(2, 2), &[key(2)]);
        assert!(matches!(refused, Err(QueueError::DiskFull)), "{refused:?}");
        assert_eq!(queue.held().room, Room::DiskLow);
        disk.set_capacity(CAPACITY);
        assert_eq!(queue.held().room, Room::Free);
        queue.append(&threats, &two, progress(2, 2), &[key(2)]).unwrap();
        assert_eq!(queue.held().records, 2);
    }

    #[test]
    fn where_what_is_removed_is_free_only_later_the_reserve_is_waited_for() {
        let disk = MemDisk::new(CAPACITY);
        let (mut queue, ..) = disk.open();
        let one = page(&threats(), &[1, 2], 1);
        queue.append(&threats(), &one, progress(1, 1), &[key(1)]).unwrap();
        let used = CAPACITY - disk.clone().free_bytes().unwrap();
        disk.copy_on_write();
        disk.set_capacity(used - 1);
        let end = queue.peek(ALL).unwrap().unwrap().sent.end;
        let refused = queue.ack(end, Mono(1));
        assert!(matches!(refused, Err(QueueError::NoSpace(_))), "{refused:?}");
        let (opened, findings) = queue.reopen().unwrap();
        assert!(!queue.is_unindexed(), "the reserve is enough: {findings:?}");
        assert_eq!((opened.held.records, findings), (0, vec![]));
        let left = Ground::files(&disk, super::QUARANTINE);
        assert_eq!(left, Vec::<String>::new(), "nothing is broken");
    }

    #[test]
    fn of_what_is_set_aside_the_oldest_goes_when_it_is_too_much() {
        let disk = MemDisk::new(CAPACITY);
        let (mut queue, ..) = disk.open();
        let most = LIMITS.max_size_bytes / 8;
        let part = vec![7; usize::try_from(most / 4).unwrap()];
        for _ in 0..9 {
            queue.disk.create("bad").unwrap();
            queue.disk.append("bad", &part).unwrap();
            queue.set_aside("bad", "bad", "a test").unwrap();
            assert!(queue.disk.tree_bytes(super::QUARANTINE).unwrap() <= most);
        }
        let left = Ground::files(&disk, super::QUARANTINE);
        assert!(left.contains(&"000009-bad".to_owned()), "{left:?}");
        assert!(!left.contains(&"000001-bad".to_owned()), "{left:?}");
    }

    #[test]
    fn a_disk_that_says_it_is_full_gets_the_reserve_back() {
        let threats = threats();
        let one = page(&threats, &[1], 1);
        let mut given_up = 0;
        for n in 1..10 {
            let disk = MemDisk::new(CAPACITY);
            let (mut queue, ..) = disk.open();
            assert!(disk.files().iter().any(|file| file == super::RESERVE));
            disk.fail_after(n, Fault::Once(std::io::ErrorKind::StorageFull));
            if queue.append(&threats, &one, progress(1, 1), &[key(1)]).is_err() {
                assert!(!disk.files().iter().any(|file| file == super::RESERVE), "operation {n}");
                given_up += 1;
            }
        }
        assert!(given_up > 1, "no operation was refused");
    }
}
