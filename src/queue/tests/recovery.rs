//! What is given up, set aside or built anew: on the disk as in memory, nothing lost, and no gap too many.

use std::io::ErrorKind;

use super::alike_tests::seen;
use super::disk::Disk;
use super::mem::{Fault, MemDisk};
pub(super) use super::quarantine_tests::{damaged as gaps_of, drained};
use super::testing::*;
use super::{MemQueue, QueueError, log};
use crate::frame::Frame;
use crate::record::{Opened, Probe, QueuePosition, RowKey, Seq, StreamName, Take};
use crate::time::{Mono, Stamp};

pub(super) const CAPACITY: u64 = 128 << 20;
pub(super) const ONE: Take = Take { entries_max: 1, ..ALL };

pub(super) fn open(disk: &MemDisk) -> (MemQueue, Opened, Vec<&'static str>) {
    let (queue, opened, findings) = disk.try_open(SMALL).unwrap();
    (queue, opened, findings.iter().map(|finding| finding.reason).collect())
}

pub(super) fn begun() -> (MemDisk, MemQueue) {
    let disk = MemDisk::new(CAPACITY);
    let queue = open(&disk).0;
    (disk, queue)
}

pub(super) fn dated(id: u64, stamp: i64) -> RowKey {
    RowKey { stamp: Stamp(stamp), id }
}

/// A page of these records in frames of `per_frame`, with which its stream is at 90 and asks from `from` on.
pub(super) fn put_keys(queue: &mut MemQueue, keys: &[RowKey], per_frame: usize, from: u64) {
    let numbers: Vec<u64> = keys.iter().map(|key| key.id).collect();
    let mut frames = page(&threats(), &numbers, per_frame);
    let entries = frames.iter_mut().flat_map(|frame| &mut frame.entries);
    entries.zip(keys).for_each(|(entry, key)| entry.key = *key);
    let at = progress(90, from);
    let known: Vec<RowKey> = keys.iter().filter(|key| key.stamp >= at.from).copied().collect();
    queue.append(&threats(), &frames, at, &known).unwrap();
}

pub(super) fn put(queue: &mut MemQueue, numbers: &[u64], per_frame: usize, from: u64) {
    let keys: Vec<RowKey> = numbers.iter().map(|n| key(*n)).collect();
    put_keys(queue, &keys, per_frame, from);
}

/// A page of own records: reports of gaps, or a heartbeat.
pub(super) fn tell(queue: &mut MemQueue, ids: &[u64]) {
    let own = StreamName::collector("acme");
    let frame = Frame { last_of_page: true, ..frame(&own, ids) };
    queue.append(&own, &[frame], progress(90, 90), &[]).unwrap();
}

pub(super) fn skip_to(queue: &mut MemQueue, seq: u64, skip: u32) {
    queue.ack(QueuePosition { seq: Seq(seq), skip }, Mono(1)).unwrap();
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hit {
    Records,
    Table,
}

pub(super) fn damage(disk: &MemDisk, queue: &mut MemQueue, seq: u64, hit: Hit) {
    let entry = queue.entries(Seq(seq), 1).unwrap().remove(0);
    assert_eq!(entry.seq, Seq(seq));
    let at = match hit {
        Hit::Records => (entry.offset + u64::from(entry.len)) as usize - 1,
        Hit::Table => entry.offset as usize + 20,
    };
    disk.tamper(&log::path(entry.file), |bytes| bytes[at] ^= 1);
}

pub(super) fn give_up(disk: &MemDisk, queue: &mut MemQueue, seq: u64, hit: Hit) {
    damage(disk, queue, seq, hit);
    queue.quarantine(Seq(seq), "a test").unwrap();
}

/// Which of these records are collected again.
pub(super) fn asked_again(queue: &MemQueue, keys: &[RowKey]) -> Vec<u64> {
    let stream = queue.stream_status(&threats());
    let from = stream.progress.unwrap().from;
    let is_known = |key: &RowKey| stream.known.contains(key) || stream.covered.has(key.stamp);
    keys.iter().filter(|key| key.stamp >= from && !is_known(key)).map(|key| key.id).collect()
}

pub(super) fn keys_of(numbers: impl IntoIterator<Item = u64>) -> Vec<RowKey> {
    numbers.into_iter().map(key).collect()
}

/// Opens what is on the disk, and finds there what is in memory.
pub(super) fn as_stored(disk: &MemDisk, queue: &mut MemQueue, told: &str) {
    let mut again = open(&disk.copy()).0;
    assert_eq!(seen(&mut again), seen(queue), "{told}");
    assert_eq!(again.origins, queue.origins, "{told}");
    let covered = |queue: &MemQueue| -> Vec<_> {
        queue.streams.iter().map(|stream| (stream.number, stream.covered.clone())).collect()
    };
    assert_eq!(covered(&again), covered(queue), "{told}");
}

/// What counts of a queue, whichever way it was opened.
pub(super) fn counts(queue: &mut MemQueue) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut all = seen(queue);
    all.forget_how();
    let streams = queue.streams.iter().map(|stream| {
        let progress = stream.row.progress;
        let known = stream.known(progress.map_or(Stamp::MIN, |progress| progress.from));
        (stream.row.name.clone(), progress, known, stream.covered.clone())
    });
    (all, streams.collect::<Vec<_>>())
}

pub(super) fn bytes_of(disk: &MemDisk, path: &str) -> Vec<u8> {
    let mut found = Vec::new();
    disk.tamper(path, |bytes| found.clone_from(bytes));
    found
}

/// Frames in a row, the first delivered in part, are lost without what was delivered of them.
#[test]
fn what_was_given_up_is_on_the_disk_and_a_lost_index_adds_nothing_to_it() {
    let (disk, mut queue) = begun();
    put(&mut queue, &(1..=9).collect::<Vec<_>>(), 3, 1);
    skip_to(&mut queue, 1, 1);
    damage(&disk, &mut queue, 2, Hit::Records);
    give_up(&disk, &mut queue, 1, Hit::Records);
    assert_eq!(asked_again(&queue, &keys_of(1..=9)), [2, 3, 4, 5, 6]);
    let gaps = gaps_of(&queue);
    assert_eq!((gaps.len(), gaps[0].count, queue.held().records), (1, Some(5), 3));
    as_stored(&disk, &mut queue, "given up");
    drop(queue);
    disk.kill();
    disk.lose_indexes();
    let (mut queue, _, findings) = open(&disk);
    assert_eq!(gaps_of(&queue), gaps);
    assert!(!findings.contains(&"log-damaged"), "{findings:?}");
    assert_eq!(drained(&mut queue), (vec![7, 8, 9], 0));
}

#[test]
fn a_frame_in_the_middle_is_given_up_whatever_the_order_of_its_records() {
    for numbers in [[5, 4, 3, 2, 1], [3, 1, 5, 2, 4], [2, 1, 3, 5, 4], [1, 2, 3, 4, 5]] {
        let (disk, mut queue) = begun();
        put(&mut queue, &[20, 21], 1, 1);
        put(&mut queue, &numbers, 5, 1);
        put(&mut queue, &[30], 1, 1);
        give_up(&disk, &mut queue, 3, Hit::Records);
        let all = keys_of([1, 2, 3, 4, 5, 20, 21, 30]);
        assert_eq!(asked_again(&queue, &all), [1, 2, 3, 4, 5], "{numbers:?}");
        as_stored(&disk, &mut queue, "in the middle");
        assert_eq!(drained(&mut queue), (vec![20, 21, 30], 0));
        assert_eq!(queue.held().records, 0);
    }
}

#[test]
fn the_last_frames_are_counted_once() {
    let (disk, mut queue) = begun();
    put(&mut queue, &[1, 2, 3], 1, 1);
    damage(&disk, &mut queue, 3, Hit::Records);
    give_up(&disk, &mut queue, 2, Hit::Records);
    assert_eq!((gaps_of(&queue)[0].count, queue.held().records), (Some(2), 1));
}

/// What lies between the lost records, or is dated as they are, is known wherever it is now.
#[test]
fn what_is_dated_between_lost_records_is_not_collected_again() {
    for hit in [Hit::Records, Hit::Table] {
        let (disk, mut queue) = begun();
        let lost = [dated(1, 10), dated(5, 15)];
        let waiting = [dated(100, 10), dated(102, 12), dated(103, 15)];
        put_keys(&mut queue, &lost, 2, 50);
        waiting.iter().for_each(|key| put_keys(&mut queue, &[*key], 1, 50));
        give_up(&disk, &mut queue, 1, hit);
        let all = [&lost[..], &waiting].concat();
        assert_eq!(asked_again(&queue, &all), [1, 5], "{hit:?}");
        as_stored(&disk, &mut queue, "between");
    }
    // In the same frame, delivered.
    let (disk, mut queue) = begun();
    let keys = [dated(1, 10), dated(4, 12), dated(2, 10), dated(3, 14)];
    put_keys(&mut queue, &keys, 4, 50);
    put(&mut queue, &[60], 1, 50);
    skip_to(&mut queue, 1, 2);
    give_up(&disk, &mut queue, 1, Hit::Records);
    assert_eq!(asked_again(&queue, &[&keys[..], &[key(60)]].concat()), [2, 3]);
}

#[test]
fn without_its_table_a_frame_may_have_held_all_from_its_oldest_to_its_newest() {
    let (disk, mut queue) = begun();
    for numbers in [[7, 8, 9], [1, 2, 3], [4, 5, 6]] {
        put(&mut queue, &numbers, 3, 1);
    }
    skip_to(&mut queue, 3, 0);
    give_up(&disk, &mut queue, 3, Hit::Table);
    assert_eq!(asked_again(&queue, &keys_of(1..=9)), [4, 5, 6]);
}

/// A record in the overlap is asked for anyway, and does not end what was collected before it.
#[test]
fn a_loss_in_the_overlap_leaves_what_is_before_it_collected() {
    let (disk, mut queue) = begun();
    put(&mut queue, &(1..=10).collect::<Vec<_>>(), 10, 9);
    put(&mut queue, &[3, 9], 2, 9);
    skip_to(&mut queue, 2, 0);
    give_up(&disk, &mut queue, 2, Hit::Records);
    assert_eq!(asked_again(&queue, &keys_of(1..=10)), [3, 9]);
}

/// Of frames in a row the oldest record decides, and the beginning of the query of an undated one.
#[test]
fn frames_in_a_row_go_back_to_before_the_oldest_of_them_and_no_further() {
    for hit in [Hit::Records, Hit::Table] {
        for (second, from) in [(dated(2, 40), 40), (dated(2, Stamp::UNREADABLE.0), 20)] {
            let (disk, mut queue) = begun();
            put_keys(&mut queue, &[dated(9, 5)], 1, 5);
            skip_to(&mut queue, 2, 0);
            put_keys(&mut queue, &[dated(1, 50)], 1, 45);
            put_keys(&mut queue, &[dated(3, 40), second], 2, 20);
            put_keys(&mut queue, &[dated(7, 70)], 1, 55);
            damage(&disk, &mut queue, 3, hit);
            give_up(&disk, &mut queue, 2, hit);
            let now = queue.stream_status(&threats()).progress.unwrap().from;
            let is_dated = from == 40;
            assert!(if is_dated { now == Stamp(40) } else { now <= Stamp(20) }, "{hit:?}: {now:?}");
        }
    }
}

#[test]
fn a_newer_version_that_was_delivered_supersedes_the_lost_one() {
    let (disk, mut queue) = begun();
    put_keys(&mut queue, &[dated(2, 80)], 1, 1);
    put_keys(&mut queue, &[dated(2, 20)], 1, 1);
    skip_to(&mut queue, 2, 0);
    give_up(&disk, &mut queue, 2, Hit::Records);
    let gap = gaps_of(&queue).remove(0);
    assert_eq!((gap.closed, gap.count), (true, Some(1)));
}

/// Whole, but not the frame that belongs there: neither its records nor its keys are those.
#[test]
fn another_frame_in_the_place_of_one_is_damage() {
    let (disk, mut queue) = begun();
    for n in [1, 8] {
        queue.append(&threats(), &[big_frame(&threats(), n, 4_000)], progress(90, 1), &[]).unwrap();
    }
    let entries = queue.entries(Seq(1), 2).unwrap();
    assert_eq!(entries[0].len, entries[1].len);
    disk.tamper(&log::path(entries[0].file), |bytes| {
        let (at, len) = (entries[1].offset as usize, entries[1].len as usize);
        bytes.copy_within(at..at + len, entries[0].offset as usize);
    });
    let refused = queue.peek(ALL).map(|peeked| peeked.map(|peeked| peeked.sent));
    let Err(QueueError::Damaged { seq, why }) = refused else { panic!("{refused:?}") };
    assert_eq!(seq, Seq(1));
    queue.quarantine(seq, &why).unwrap();
    put(&mut queue, &[1, 8], 1, 1);
    assert!(!gaps_of(&queue)[0].closed, "nobody knows what it was");
}

/// What each test of a fault does, with its name.
type Act = fn(&mut MemQueue) -> Result<(), QueueError>;

pub(super) fn give_up_first(queue: &mut MemQueue) -> Result<(), QueueError> {
    queue.quarantine(Seq(1), "a test").map(drop)
}

pub(super) fn park_first(queue: &mut MemQueue) -> Result<(), QueueError> {
    queue.park(QueuePosition { seq: Seq(1), skip: 0 }, Some(b"{\"refused\":1}"), "400").map(drop)
}

pub(super) fn drop_first(queue: &mut MemQueue) -> Result<(), QueueError> {
    queue.drop_parked(QueuePosition { seq: Seq(1), skip: 0 }).map(drop)
}

/// What is said to be done is on the disk; what is not can be done again.
#[test]
fn a_fault_while_something_is_set_aside_leaves_disk_and_memory_alike() {
    let acts: [(&str, Act); 4] = [
        ("give up", give_up_first),
        ("park", park_first),
        ("drop", drop_first),
        ("drop damaged", drop_first),
    ];
    for ((what, act), kind) in acts
        .into_iter()
        .flat_map(|act| [ErrorKind::Other, ErrorKind::StorageFull].map(|k| (act, k)))
    {
        for n in 1..60 {
            let told = format!("{what}, {kind} at operation {n}");
            let (disk, mut queue) = begun();
            put(&mut queue, &[1, 2, 3, 4], 2, 1);
            match what {
                "give up" => damage(&disk, &mut queue, 1, Hit::Records),
                "drop" | "drop damaged" => park_first(&mut queue).unwrap(),
                _ => {}
            }
            if what == "drop damaged" {
                disk.tamper(&format!("parked/{:016x}-0.log", 1), |bytes| {
                    *bytes.last_mut().unwrap() ^= 1;
                });
            }
            disk.fail_after(n, Fault::Once(kind));
            let done = act(&mut queue);
            if !disk.has_failed() {
                assert!(n > 3, "{told}");
                break;
            }
            disk.heal();
            if let Err(error) = done {
                let is_full = matches!(error, QueueError::DiskFull | QueueError::NoSpace(_));
                assert!(kind == ErrorKind::StorageFull || !is_full, "{told}: {error}");
                assert!(
                    what != "park" || is_full == (kind == ErrorKind::StorageFull),
                    "{told}: {error}"
                );
                if what == "park" && error == QueueError::DiskFull {
                    assert_eq!(Fixture::files(&disk, "parked"), [""; 0], "{told}");
                    assert!(!queue.space.has_reserve, "{told}");
                }
                if matches!(error, QueueError::NoSpace(_) | QueueError::Broken(_)) {
                    queue.reopen().unwrap();
                }
                act(&mut queue).unwrap_or_else(|error| panic!("{told}: {error}"));
            }
            as_stored(&disk, &mut queue, &told);
            let parked = queue.parked().unwrap().len();
            assert_eq!(parked, usize::from(what == "park"), "{told}");
            if what == "park" {
                assert_eq!(queue.held().parked, 1, "{told}");
            }
        }
    }
}

#[test]
fn parked_records_are_listed_in_the_order_of_the_queue() {
    let (disk, mut queue) = begun();
    put(&mut queue, &(1..=12).collect::<Vec<_>>(), 12, 1);
    let places = [9, 10].map(|skip| QueuePosition { seq: Seq(1), skip });
    skip_to(&mut queue, 1, 9);
    let refused = queue.park(places[0], None, "400");
    assert!(refused.is_err(), "a frame of several is not parked as one record");
    assert_eq!((queue.parked().unwrap(), queue.held().head), (vec![], places[0]));
    for at in places {
        queue.park(at, Some(b"{}"), "400").unwrap();
        as_stored(&disk, &mut queue, "parked");
        assert_eq!(queue.space.parked_bytes, disk.copy().tree_bytes("parked").unwrap());
    }
    assert_eq!(queue.parked().unwrap(), places);
    queue.drop_parked(places[0]).unwrap();
    as_stored(&disk, &mut queue, "dropped");
    assert_eq!(queue.space.parked_bytes, disk.copy().tree_bytes("parked").unwrap());
    let gaps = queue.gaps();
    drop(queue);
    disk.kill();
    disk.lose_indexes();
    assert_eq!(open(&disk).0.gaps(), gaps, "what a person decided outlives the index");
}

/// Pages of a record each, each in a file of the log of its own; the queue is open.
pub(super) fn files(disk: &MemDisk, pages: u64) -> MemQueue {
    for n in 1..=pages {
        let mut queue = open(disk).0;
        put(&mut queue, &[n], 1, 1);
    }
    assert_eq!(Fixture::files(disk, "log").len() as u64, pages);
    open(disk).0
}

pub(super) fn set_aside(disk: &MemDisk) -> Vec<String> {
    let names = Fixture::files(disk, "quarantine");
    names.into_iter().filter(|name| !name.ends_with(".txt")).collect()
}

#[test]
fn a_file_is_given_back_with_the_last_record_in_it() {
    let disk = MemDisk::new(CAPACITY);
    let mut queue = files(&disk, 3);
    park_first(&mut queue).unwrap();
    assert_eq!(Fixture::files(&disk, "log").len(), 2, "after it was parked");
    give_up(&disk, &mut queue, 2, Hit::Records);
    assert_eq!((Fixture::files(&disk, "log").len(), set_aside(&disk).len()), (1, 1));
}

/// Only the file that is damaged is kept for a person to look at.
#[test]
fn a_damaged_file_is_told_from_the_whole_ones_also_by_a_new_index() {
    let disk = MemDisk::new(CAPACITY);
    let mut queue = files(&disk, 3);
    damage(&disk, &mut queue, 1, Hit::Records);
    drop(queue);
    disk.kill();
    disk.lose_indexes();
    let mut queue = open(&disk).0;
    assert!(!gaps_of(&queue).is_empty());
    drained(&mut queue);
    assert_eq!(set_aside(&disk).len(), 1, "{:?}", set_aside(&disk));
}

#[test]
fn the_first_file_of_what_waits_is_missed_by_a_new_index() {
    let disk = MemDisk::new(CAPACITY);
    let queue = files(&disk, 3);
    queue.close(Mono(1));
    disk.lose_indexes();
    disk.clone().remove(&log::path(1)).unwrap();
    let (queue, _, findings) = open(&disk);
    assert_eq!(gaps_of(&queue).len(), 1, "{findings:?}");
}

#[test]
fn a_request_is_as_long_as_it_may_be() {
    for per_frame in [3, 6] {
        let (_, mut queue) = begun();
        put(&mut queue, &[1, 2, 3, 4, 5, 6], per_frame, 1);
        let all = queue.peek(ALL).unwrap().unwrap().sent;
        let mut entries = |less| {
            let take = Take { raw_bytes_max: all.raw_bytes - less, ..ALL };
            queue.peek(take).unwrap().unwrap().sent.entries
        };
        assert_eq!((entries(0), entries(1)), (6, if per_frame == 3 { 3 } else { 5 }));
    }
}

#[test]
fn a_record_far_behind_the_head_is_found() {
    let (_, mut queue) = begun();
    put(&mut queue, &(1..=40).collect::<Vec<_>>(), 1, 1);
    let probe = Probe { behind: 35, sent: vec![], is_far: true };
    let far = queue.peek_behind(&probe).unwrap().unwrap().sent;
    assert_eq!(far.first, QueuePosition { seq: Seq(36), skip: 0 });
}

#[test]
fn an_empty_queue_whose_index_failed_says_so() {
    let mut met = 0;
    for n in 1..30 {
        let (disk, mut queue) = begun();
        disk.fail_after(n, Fault::Once(ErrorKind::Other));
        let stored = queue.append(&threats(), &page(&threats(), &[1], 1), progress(1, 1), &[]);
        if !disk.has_failed() {
            break;
        }
        if stored.is_err() && queue.index.is_none() {
            met += 1;
            assert!(queue.peek(ALL).is_err(), "{n}");
        }
    }
    assert!(met > 0);
}
