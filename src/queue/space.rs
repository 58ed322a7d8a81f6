//! The size of the queue and its limits: `max_size`, `min_free`, the reserve, the quarantine (P4).
//!
//! Promises: the queue reports that it is full before the disk does; if the disk is full first, the
//! reserve is given up so that acknowledging, which frees space, goes on. Never: drops a record.

use std::collections::BTreeMap;
use std::io;

use super::disk::Disk;
use super::index::Index;
use super::{Queue, QueueError, QueueLimits};
use crate::limits::{
    DOUBT_BYTES_MAX, INDEX_BYTES_MAX, QUARANTINE_BYTES_MAX, QUEUE_SLACK_BYTES, RESERVE_BYTES,
    RESERVE_PAUSE_ASKED_MAX, ROOM_MARGIN_BYTES,
};
use crate::prng::Prng;
use crate::record::{QueuePosition, Room};

pub(super) const RESERVE: &str = "reserve";
pub(super) const QUARANTINE: &str = "quarantine";
pub(super) const PARKED: &str = "parked";
pub(super) const DOUBT: &str = "doubt";
/// The reserve is written in pieces of this size, longer than the units in which file systems
/// compress.
const RESERVE_PIECE_BYTES: usize = 256 << 10;

/// How much of the disk the queue uses, and may use.
#[derive(Debug)]
pub(super) struct SpaceUsage {
    pub limits: QueueLimits,
    pub has_reserve: bool,
    pub parked_bytes: u64,
    /// The batches in doubt, and the bytes of each with its note.
    pub doubts: BTreeMap<QueuePosition, u64>,
    pub quarantine_bytes: u64,
    /// The bytes that the last refused page would have needed.
    refused_bytes: u64,
    full: Full,
    /// From this length in bytes on, the index is built anew when that is cheap.
    pub index_bytes_max: u64,
}

/// When to write the reserve again after the disk was full. Each try writes the whole reserve;
/// under a quota, where free bytes show nothing, the space of the reserve itself looks free.
#[derive(Debug, Default)]
struct Full {
    /// Free bytes and bytes of the log when the disk was full.
    at: Option<(u64, u64)>,
    /// How often the space was checked since the last try, and after how many checks the next try
    /// is made in any case.
    asked: u32,
    pause: u32,
}

impl Full {
    /// Whether others freed space since the disk was full.
    fn has_more(&self, free: u64, reserve: u64) -> bool {
        self.at.is_some_and(|(then, _)| free >= then.saturating_add(2 * reserve))
    }

    fn is_due(&mut self, free: u64, log: u64, reserve: u64) -> bool {
        let Some((_, log_then)) = self.at else { return true };
        self.asked += 1;
        let less_held = log < log_then && (log == 0 || log + 2 * reserve <= log_then);
        self.has_more(free, reserve) || less_held || self.asked > self.pause
    }

    fn again(&mut self, free: u64, log: u64, reserve: u64) {
        // Where others freed space, what failed before says nothing of this disk.
        let pause = if self.has_more(free, reserve) { 0 } else { self.pause };
        self.at = Some((free, log));
        self.asked = 0;
        self.pause = (2 * pause).clamp(1, RESERVE_PAUSE_ASKED_MAX);
    }
}

impl SpaceUsage {
    pub fn new(limits: QueueLimits) -> SpaceUsage {
        SpaceUsage {
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

    /// Bytes held back for a full disk; fewer in a small queue.
    fn reserve_bytes(&self) -> u64 {
        RESERVE_BYTES.min(self.limits.max_size_bytes / 8)
    }

    /// The limit of all batches in doubt, in bytes.
    pub fn doubt_max(&self) -> u64 {
        DOUBT_BYTES_MAX.min(self.limits.max_size_bytes / 8)
    }

    fn doubt_bytes(&self) -> u64 {
        self.doubts.values().sum()
    }

    /// The limit of the quarantine, in bytes: never a large part of a small queue.
    fn quarantine_max(&self) -> u64 {
        QUARANTINE_BYTES_MAX.min(self.limits.max_size_bytes / 8)
    }
}

impl<D: Disk> Queue<D> {
    /// The bytes of all files of the queue.
    pub(super) fn bytes(&mut self) -> u64 {
        let reserve = if self.space.has_reserve { self.space.reserve_bytes() } else { 0 };
        self.bytes_without_reserve() + reserve
    }

    fn bytes_without_reserve(&mut self) -> u64 {
        let index = self.index.as_mut().map_or(0, Index::bytes);
        let aside =
            self.space.parked_bytes + self.space.doubt_bytes() + self.space.quarantine_bytes;
        self.log.bytes() + index + aside
    }

    /// Whether `need` more bytes stay below `max_size`, with space for the reserve and the index.
    fn fits_within_size(&mut self, need: u64) -> bool {
        let held_back = self.space.reserve_bytes() + QUEUE_SLACK_BYTES;
        let planned = self.bytes_without_reserve() + held_back;
        planned.saturating_add(need) <= self.space.limits.max_size_bytes
    }

    fn fits_on_disk(&mut self, need: u64) -> bool {
        // A file system that can't report its free bytes reports an error when it is full.
        let free = self.disk.free_bytes().unwrap_or(u64::MAX);
        free >= self.space.limits.min_free_bytes.saturating_add(need)
    }

    /// Refuses a page that does not fit.
    pub(super) fn make_room(&mut self, need: u64) -> Result<(), QueueError> {
        if self.space.has_reserve && self.fits_within_size(need) && self.fits_on_disk(need) {
            return Ok(());
        }
        self.space.refused(need);
        Err(QueueError::DiskFull)
    }

    /// Whether an entry to be parked fits: it may use the slack within `max_size`.
    pub(super) fn may_park(&mut self, need: u64) -> bool {
        let planned = self.bytes_without_reserve() + self.space.reserve_bytes() + need;
        planned <= self.space.limits.max_size_bytes
    }

    /// Whether there is space for a page as large as the last refused one.
    pub(super) fn room_now(&mut self) -> Room {
        if !self.space.has_reserve && !self.is_unindexed() {
            self.take_back_reserve();
        }
        // If nothing waits, delivery can free nothing: a page that does not fit now never will, and
        // only a shorter one can be stored.
        let need = if self.state.records == 0 { 0 } else { self.space.refused_bytes };
        if !self.space.has_reserve || self.is_unindexed() || !self.fits_on_disk(need) {
            Room::DiskLow
        } else if !self.fits_within_size(need.max(ROOM_MARGIN_BYTES)) {
            Room::QueueFull
        } else {
            Room::Free
        }
    }

    /// Frees a few MiB on a full disk, so that the index can commit what frees more.
    pub(super) fn give_up_reserve(&mut self) {
        // A failed removal leaves the state as it was.
        let _ = self.disk.remove(RESERVE);
        let _ = self.disk.sync_all();
        self.space.has_reserve = false;
        let free = self.disk.free_bytes().unwrap_or(0);
        let reserve = self.space.reserve_bytes();
        self.space.full.again(free, self.log.bytes(), reserve);
    }

    pub(super) fn take_back_reserve(&mut self) {
        let free = self.disk.free_bytes().unwrap_or(u64::MAX);
        // `min_free` limits pages only. Without an index the reserve may use that space, because a
        // writable index lets delivery go on.
        let left = if self.is_unindexed() { 0 } else { self.space.limits.min_free_bytes };
        if free < left.saturating_add(self.space.reserve_bytes()) {
            return;
        }
        let log = self.log.bytes();
        let reserve = self.space.reserve_bytes();
        if !self.space.full.is_due(free, log, reserve) {
            return;
        }
        // A copy-on-write file system gives back what was removed, also by others, with a sync.
        self.space.has_reserve = self.write_reserve().is_ok()
            || self.disk.sync_all().is_ok() && self.write_reserve().is_ok();
        if !self.space.has_reserve {
            self.give_up_reserve();
        }
    }

    /// Writes all bytes of the reserve, because a sparse file allocates no blocks; the bytes are
    /// such that a compressing file system (UBIFS, btrfs) can't make them smaller.
    fn write_reserve(&mut self) -> io::Result<()> {
        match self.disk.remove(RESERVE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.disk.create(RESERVE)?;
        let bytes = self.space.reserve_bytes() as usize;
        let mut noise = Prng::new(RESERVE_BYTES);
        let words = (0..RESERVE_PIECE_BYTES / 8).flat_map(|_| noise.next_u64().to_le_bytes());
        let piece: Vec<u8> = words.collect();
        for written in (0..bytes).step_by(RESERVE_PIECE_BYTES) {
            self.disk.append(RESERVE, &piece[..RESERVE_PIECE_BYTES.min(bytes - written)])?;
        }
        self.disk.sync_data(RESERVE)?;
        self.disk.sync_dir("")
    }

    /// Reads the sizes of the queue's files.
    pub(super) fn count_bytes(&mut self) -> io::Result<()> {
        let items = self.disk.list("")?;
        let reserve = items.iter().find(|item| item.name == RESERVE);
        self.space.has_reserve = reserve.is_some_and(|item| item.len == self.space.reserve_bytes());
        self.space.parked_bytes = self.disk.tree_bytes(PARKED)?;
        self.space.quarantine_bytes = self.disk.tree_bytes(QUARANTINE)?;
        let items = self.disk.list(DOUBT)?;
        let place =
            |name: &str| super::parked::place_of(&format!("{}.log", name.strip_suffix(".txt")?));
        let notes = items.iter().filter_map(|item| Some((place(&item.name)?, item.len)));
        let notes: BTreeMap<QueuePosition, u64> = notes.collect();
        let batches = items.iter().filter_map(|item| {
            let at = super::parked::place_of(&item.name)?;
            Some((at, item.len + notes.get(&at).unwrap_or(&0)))
        });
        self.space.doubts = batches.collect();
        Ok(())
    }

    /// An unused name in the quarantine that sorts after all others there.
    pub(super) fn quarantine_name(&mut self, what: &str) -> String {
        let items = self.disk.list(QUARANTINE).unwrap_or_default();
        let used = items.iter().filter_map(|item| item.name.split('-').next()?.parse::<u64>().ok());
        format!("{:06}-{what}", used.max().unwrap_or(0) + 1)
    }

    /// Writes the reason beside a quarantined file, and removes the oldest files beyond the limit
    /// (P4 has no exception). Errors are ignored, because they must not stop the repair in
    /// progress.
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
            if bytes <= self.space.quarantine_max() {
                break;
            }
            let path = format!("{QUARANTINE}/{}", item.name);
            let freed = self.disk.tree_bytes(&path).unwrap_or(0);
            if self.disk.remove_tree(&path).is_ok() {
                bytes = bytes.saturating_sub(freed);
            }
        }
        self.space.quarantine_bytes = bytes;
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
    use super::{DOUBT, Full, PARKED, QUARANTINE, RESERVE, SpaceUsage};
    use crate::limits::RESERVE_PAUSE_ASKED_MAX;
    use crate::prng::Prng;
    use crate::queue::QueueError;
    use crate::queue::disk::Disk;
    use crate::queue::index::Index;
    use crate::queue::mem::{Fault, MemDisk};
    use crate::queue::testing::*;
    use crate::queue::{MemQueue, QueueLimits};
    use crate::record::{Room, Take};
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
        let left = Fixture::files(&disk, super::QUARANTINE);
        assert_eq!(left, Vec::<String>::new(), "nothing is broken");
    }

    #[test]
    fn what_others_remove_is_used_at_the_next_check_also_where_only_a_sync_gives_it_back() {
        let disk = MemDisk::new(CAPACITY);
        let (mut queue, ..) = disk.open();
        disk.copy_on_write();
        disk.set_capacity(CAPACITY - disk.clone().free_bytes().unwrap());
        let one = page(&threats(), &[1], 1);
        let refused = queue.append(&threats(), &one, progress(1, 1), &[key(1)]);
        assert!(refused.is_err());
        queue.give_up_reserve();
        disk.set_capacity(0);
        (0..20).for_each(|_| assert_eq!(queue.held().room, Room::DiskLow));
        disk.set_capacity(CAPACITY);
        disk.removed_by_others(CAPACITY - (1 << 20));
        assert_eq!(queue.held().room, Room::Free);
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
        let left = Fixture::files(&disk, super::QUARANTINE);
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

    /// What was free, and the length of the log, when the disk was full; the reserve has 10 bytes.
    fn full(free: u64, log: u64) -> Full {
        Full { at: Some((free, log)), asked: 0, pause: 100 }
    }

    #[test]
    fn the_reserve_is_tried_again_once_there_is_twice_its_space_more() {
        assert!(Full::default().is_due(0, 0, 10), "the disk was never full");
        for (free, log, is_due) in [
            (100, 50, false),
            (119, 50, false),
            (120, 50, true),
            // The log gave back so much, or all that it had.
            (100, 31, false),
            (100, 30, true),
            (100, 0, true),
            (100, 60, false),
        ] {
            assert_eq!(full(100, 50).is_due(free, log, 10), is_due, "{free} {log}");
        }
        assert!(full(100, 5).is_due(100, 0, 10), "the log is empty now");
        assert!(!full(100, 0).is_due(100, 0, 10), "it was empty before");
    }

    #[test]
    fn each_failure_doubles_the_checks_before_the_next_try() {
        let mut full = Full::default();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            full.again(100, 50, 10);
            let checks = (0..1_000).find(|_| full.is_due(100, 50, 10));
            pauses.push(checks.expect("it is tried again"));
        }
        let most = RESERVE_PAUSE_ASKED_MAX;
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, most, most]);
        // What others freed makes it another disk.
        full.again(120, 50, 10);
        assert_eq!((0..9).find(|_| full.is_due(120, 50, 10)), Some(1));
    }

    #[test]
    fn a_stored_page_ends_what_a_refused_one_began() {
        let mut space = SpaceUsage::new(LIMITS);
        space.refused(7);
        space.full.again(100, 50, 10);
        space.fits();
        assert_eq!(space.refused_bytes, 0);
        assert!(space.full.is_due(100, 50, 10));
    }

    #[test]
    fn of_a_small_queue_an_eighth_is_held_back() {
        for (max_size_bytes, reserve) in [(64 << 20, 4 << 20), (16 << 20, 2 << 20)] {
            let space = SpaceUsage::new(QueueLimits { max_size_bytes, ..LIMITS });
            assert_eq!(space.reserve_bytes(), reserve);
        }
    }

    /// A queue that has something of all there is: it waits, is parked, in doubt, and set aside.
    fn with_all(disk: &MemDisk) -> MemQueue {
        let (mut queue, ..) = disk.open();
        let numbers = [1, 2, 3, 4];
        queue.append(&threats(), &page(&threats(), &numbers, 1), progress(4, 4), &[]).unwrap();
        let one = Take { entries_max: 1, ..ALL };
        let first = queue.peek(one).unwrap().unwrap().sent.first;
        queue.park(first, None, "400").unwrap();
        let end = queue.peek(one).unwrap().unwrap().sent.end;
        queue.doubt(end, "1 was not accepted").unwrap();
        queue.disk.create("bad").unwrap();
        queue.disk.append("bad", &[7; 1_000]).unwrap();
        queue.set_aside("bad", "bad", "a test").unwrap();
        queue
    }

    #[test]
    fn every_file_that_grows_is_counted_at_once_and_by_the_next_start() {
        let disk = MemDisk::new(CAPACITY);
        let mut queue = with_all(&disk);
        for _ in 0..2 {
            let [log, parked, doubt, aside, reserve] = ["log", PARKED, DOUBT, QUARANTINE, RESERVE]
                .map(|path| disk.clone().tree_bytes(path).unwrap());
            assert!([log, parked, doubt, reserve].iter().all(|bytes| *bytes > 0) && aside > 1_000);
            let index = queue.index.as_mut().unwrap().bytes();
            assert_eq!(queue.held().bytes, log + parked + doubt + aside + reserve + index);
            queue.count_bytes().unwrap();
            assert_eq!(queue.held().bytes, log + parked + doubt + aside + reserve + index);
            drop(queue);
            (queue, ..) = disk.open();
        }
    }

    #[test]
    fn what_is_parked_may_take_the_slack_and_no_more() {
        let mut queue = with_all(&MemDisk::new(CAPACITY));
        let left = LIMITS.max_size_bytes - queue.held().bytes;
        assert!(queue.may_park(left) && !queue.may_park(left + 1));
    }

    #[test]
    fn a_reserve_that_is_not_whole_is_none() {
        let disk = MemDisk::new(CAPACITY);
        let (mut queue, ..) = disk.open();
        queue.space.has_reserve = false;
        queue.count_bytes().unwrap();
        assert!(queue.space.has_reserve);
        disk.tamper(RESERVE, |bytes| bytes.truncate(bytes.len() - 1));
        queue.count_bytes().unwrap();
        assert!(!queue.space.has_reserve);
        queue.disk.remove(RESERVE).unwrap();
        queue.space.has_reserve = true;
        queue.count_bytes().unwrap();
        assert!(!queue.space.has_reserve);
    }

    #[test]
    fn the_reserve_has_all_its_bytes_also_after_a_power_cut() {
        for seed in 1..5 {
            let disk = MemDisk::new(CAPACITY);
            // No multiple of the pieces in which it is written.
            let limits = QueueLimits { max_size_bytes: (17 << 20) + 8, ..LIMITS };
            let (queue, ..) = disk.try_open(limits).unwrap();
            let bytes = queue.space.reserve_bytes();
            assert_eq!(disk.clone().tree_bytes(RESERVE).unwrap(), bytes);
            drop(queue);
            disk.power_cut(&mut Prng::new(seed));
            assert_eq!(disk.clone().tree_bytes(RESERVE).unwrap(), bytes, "seed {seed}");
        }
    }

    #[test]
    fn a_reserve_given_up_is_not_written_again_by_the_next_check() {
        let disk = MemDisk::new(CAPACITY);
        let (mut queue, ..) = disk.open();
        let before = queue.held().bytes;
        queue.give_up_reserve();
        assert_eq!(queue.bytes(), before - queue.space.reserve_bytes());
        // Under a quota the free bytes show nothing.
        assert_eq!(queue.held().room, Room::DiskLow);
        assert_eq!(queue.held().room, Room::Free);
        assert_eq!(queue.held().bytes, before);
    }

    #[test]
    fn the_reserve_leaves_min_free_bytes_to_others() {
        let disk = MemDisk::new(CAPACITY);
        let (mut queue, ..) = disk.open();
        queue.disk.remove(RESERVE).unwrap();
        queue.space.has_reserve = false;
        let used = CAPACITY - disk.clone().free_bytes().unwrap();
        let need = queue.space.reserve_bytes() + LIMITS.min_free_bytes;
        for (free, is_written) in [(need - 1, false), (need, true)] {
            disk.set_capacity(used + free);
            queue.take_back_reserve();
            assert_eq!(queue.space.has_reserve, is_written, "{free}");
            assert_eq!(disk.files().iter().any(|file| file == RESERVE), is_written, "{free}");
        }
    }

    /// The first try finds no space before a sync, and then any operation fails once.
    #[test]
    fn a_reserve_counts_if_it_is_whole_and_is_gone_if_not() {
        let (mut written, mut refused) = (0, 0);
        let limits = QueueLimits { max_size_bytes: 16 << 20, ..LIMITS };
        for n in 1..30 {
            let disk = MemDisk::new(CAPACITY);
            let (mut queue, ..) = disk.try_open(limits).unwrap();
            queue.disk.remove(RESERVE).unwrap();
            queue.space.has_reserve = false;
            disk.copy_on_write();
            disk.removed_by_others(CAPACITY - (1 << 20));
            disk.fail_after(n, Fault::Once(std::io::ErrorKind::StorageFull));
            queue.take_back_reserve();
            disk.heal();
            let bytes = disk.clone().tree_bytes(RESERVE).unwrap();
            match queue.space.has_reserve {
                true => assert_eq!(bytes, queue.space.reserve_bytes(), "operation {n}"),
                false => assert!(!disk.files().iter().any(|file| file == RESERVE), "{n}: {bytes}"),
            }
            *(if queue.space.has_reserve { &mut written } else { &mut refused }) += 1;
        }
        assert!(written > 1 && refused > 1, "{written} {refused}: it lost its teeth");
    }

    #[test]
    fn the_oldest_in_the_quarantine_goes_first_in_whatever_order_the_disk_lists() {
        let dir = TempDir::new("queue");
        let (mut queue, ..) =
            dir.try_open(QueueLimits { max_size_bytes: 16 << 20, ..LIMITS }).unwrap();
        let most = queue.space.quarantine_max();
        let part = vec![7; usize::try_from(most / 4).unwrap()];
        for n in [5, 2, 9, 4, 7, 1, 8, 3, 6] {
            std::fs::write(dir.path().join(format!("{QUARANTINE}/{n:06}-bad")), &part).unwrap();
        }
        queue.after_quarantine("000009-bad", "a test");
        let left = Fixture::files(&dir, QUARANTINE);
        assert_eq!(left, ["000007-bad", "000008-bad", "000009-bad", "000009-bad.txt"]);
        assert_eq!(queue.space.quarantine_bytes, queue.disk.tree_bytes(QUARANTINE).unwrap());
    }
}
