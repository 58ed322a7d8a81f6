//! What is given up, set aside or built anew: on the disk as in memory, nothing lost, and no gap too many.

use std::io::ErrorKind;

use super::alike_tests::seen;
use super::disk::Disk;
use super::gaps::HEARTBEAT_ID;
use super::mem::{Fault, MemDisk};
use super::testing::*;
use super::{MemQueue, OpenError, QueueError, QueueLimits, log};
use crate::frame::Frame;
use crate::prng::Prng;
use crate::record::{Gap, GapReason, Opened, Probe, QueuePosition, RowKey, Seq, StreamName, Take};
use crate::time::{Mono, Stamp};

const CAPACITY: u64 = 128 << 20;
const ONE: Take = Take { entries_max: 1, ..ALL };

/// Small, so that the reserve is, and a copy of the disk is quick.
const SMALL: QueueLimits = QueueLimits { max_size_bytes: 4 << 20, min_free_bytes: 1 << 20 };

fn open(disk: &MemDisk) -> (MemQueue, Opened, Vec<&'static str>) {
    let (queue, opened, findings) = disk.try_open(SMALL).unwrap();
    (queue, opened, findings.iter().map(|finding| finding.reason).collect())
}

fn begun() -> (MemDisk, MemQueue) {
    let disk = MemDisk::new(CAPACITY);
    let queue = open(&disk).0;
    (disk, queue)
}

fn dated(id: u64, stamp: i64) -> RowKey {
    RowKey { stamp: Stamp(stamp), id }
}

/// A page of these records in frames of `per_frame`, with which its stream is at 90 and asks from `from` on.
fn put_keys(queue: &mut MemQueue, keys: &[RowKey], per_frame: usize, from: u64) {
    let numbers: Vec<u64> = keys.iter().map(|key| key.id).collect();
    let mut frames = page(&threats(), &numbers, per_frame);
    let entries = frames.iter_mut().flat_map(|frame| &mut frame.entries);
    entries.zip(keys).for_each(|(entry, key)| entry.key = *key);
    let at = progress(90, from);
    let known: Vec<RowKey> = keys.iter().filter(|key| key.stamp >= at.from).copied().collect();
    queue.append(&threats(), &frames, at, &known).unwrap();
}

fn put(queue: &mut MemQueue, numbers: &[u64], per_frame: usize, from: u64) {
    let keys: Vec<RowKey> = numbers.iter().map(|n| key(*n)).collect();
    put_keys(queue, &keys, per_frame, from);
}

/// A page of own records: reports of gaps, or a heartbeat.
fn tell(queue: &mut MemQueue, ids: &[u64]) {
    let own = StreamName::collector("acme");
    let frame = Frame { last_of_page: true, ..frame(&own, ids) };
    queue.append(&own, &[frame], progress(90, 90), &[]).unwrap();
}

fn skip_to(queue: &mut MemQueue, seq: u64, skip: u32) {
    queue.ack(QueuePosition { seq: Seq(seq), skip }, Mono(1)).unwrap();
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Hit {
    Records,
    Table,
}

fn damage(disk: &MemDisk, queue: &mut MemQueue, seq: u64, hit: Hit) {
    let entry = queue.entries(Seq(seq), 1).unwrap().remove(0);
    assert_eq!(entry.seq, Seq(seq));
    let at = match hit {
        Hit::Records => (entry.offset + u64::from(entry.len)) as usize - 1,
        Hit::Table => entry.offset as usize + 20,
    };
    disk.tamper(&log::path(entry.file), |bytes| bytes[at] ^= 1);
}

fn give_up(disk: &MemDisk, queue: &mut MemQueue, seq: u64, hit: Hit) {
    damage(disk, queue, seq, hit);
    queue.quarantine(Seq(seq), "a test").unwrap();
}

/// Which of these records are collected again.
fn asked_again(queue: &MemQueue, keys: &[RowKey]) -> Vec<u64> {
    let stream = queue.stream_status(&threats());
    let from = stream.progress.unwrap().from;
    let is_known = |key: &RowKey| stream.known.contains(key) || stream.covered.has(key.stamp);
    keys.iter().filter(|key| key.stamp >= from && !is_known(key)).map(|key| key.id).collect()
}

fn keys_of(numbers: impl IntoIterator<Item = u64>) -> Vec<RowKey> {
    numbers.into_iter().map(key).collect()
}

fn gaps_of(queue: &MemQueue) -> Vec<Gap> {
    queue.gaps().into_iter().filter(|gap| gap.reason == GapReason::Damaged).collect()
}

/// Opens what is on the disk, and finds there what is in memory.
fn as_stored(disk: &MemDisk, queue: &mut MemQueue, told: &str) {
    let mut again = open(&disk.copy()).0;
    assert_eq!(seen(&mut again), seen(queue), "{told}");
    assert_eq!(again.origins, queue.origins, "{told}");
    let covered = |queue: &MemQueue| -> Vec<_> {
        queue.streams.iter().map(|stream| (stream.number, stream.covered.clone())).collect()
    };
    assert_eq!(covered(&again), covered(queue), "{told}");
}

/// What counts of a queue, whichever way it was opened.
fn counts(queue: &mut MemQueue) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut all = seen(queue);
    all.forget_how();
    let streams = queue.streams.iter().map(|stream| {
        let progress = stream.row.progress;
        let known = stream.known(progress.map_or(Stamp::MIN, |progress| progress.from));
        (stream.row.name.clone(), progress, known, stream.covered.clone())
    });
    (all, streams.collect::<Vec<_>>())
}

fn bytes_of(disk: &MemDisk, path: &str) -> Vec<u8> {
    let mut found = Vec::new();
    disk.tamper(path, |bytes| found.clone_from(bytes));
    found
}

/// Delivers everything; answers with what was delivered and how often something was given up.
fn drained(queue: &mut MemQueue) -> (Vec<u64>, usize) {
    let (mut delivered, mut given_up) = (Vec::new(), 0);
    loop {
        match queue.peek(ALL) {
            Ok(Some(peeked)) => {
                let pieces = peeked.pieces.iter();
                delivered.extend(pieces.flat_map(|piece| {
                    let part = piece.skip as usize..(piece.skip + piece.take) as usize;
                    piece.frame.entries[part].iter().map(|entry| entry.key.id)
                }));
                queue.ack(peeked.sent.end, Mono(1)).unwrap();
            }
            Ok(None) => return (delivered, given_up),
            Err(QueueError::Damaged { seq, why }) => {
                queue.quarantine(seq, &why).unwrap();
                given_up += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
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

fn give_up_first(queue: &mut MemQueue) -> Result<(), QueueError> {
    queue.quarantine(Seq(1), "a test").map(drop)
}

fn park_first(queue: &mut MemQueue) -> Result<(), QueueError> {
    queue.park(QueuePosition { seq: Seq(1), skip: 0 }, Some(b"{\"refused\":1}"), "400").map(drop)
}

fn drop_first(queue: &mut MemQueue) -> Result<(), QueueError> {
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
fn files(disk: &MemDisk, pages: u64) -> MemQueue {
    for n in 1..=pages {
        let mut queue = open(disk).0;
        put(&mut queue, &[n], 1, 1);
    }
    assert_eq!(Fixture::files(disk, "log").len() as u64, pages);
    open(disk).0
}

fn set_aside(disk: &MemDisk) -> Vec<String> {
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

/// Something of everything, and what was on the disk before the last pages of it.
struct Scene {
    disk: MemDisk,
    queue: MemQueue,
    indexes: super::mem::Indexes,
    checkpoint: Vec<u8>,
}

impl Scene {
    fn new() -> Scene {
        let (disk, mut queue) = begun();
        put(&mut queue, &(1..=9).collect::<Vec<_>>(), 3, 9);
        put(&mut queue, &[10, 11, 12], 2, 9);
        skip_to(&mut queue, 2, 0);
        give_up(&disk, &mut queue, 2, Hit::Records);
        assert!(!queue.stream_status(&threats()).covered.is_empty());
        let (indexes, checkpoint) = (disk.indexes(), bytes_of(&disk, "checkpoint"));
        put(&mut queue, &[4, 5], 1, 6);
        let ids: Vec<u64> = queue.gaps_to_report().iter().map(|gap| gap.number).collect();
        tell(&mut queue, &[&ids[..], &[HEARTBEAT_ID]].concat());
        let (frames, keys) = (page(&activities(), &[7, 8], 1), keys_of([7, 8]));
        queue.append(&activities(), &frames, progress(8, 7), &keys).unwrap();
        Scene { disk, queue, indexes, checkpoint }
    }

    /// The process is killed, and neither index nor checkpoint have the last pages.
    fn killed(self) -> MemDisk {
        drop(self.queue);
        self.disk.kill();
        self.disk.set_indexes(self.indexes);
        self.disk.tamper("checkpoint", |bytes| *bytes = self.checkpoint);
        self.disk
    }
}

#[test]
fn pages_that_only_the_log_has_count_as_they_did() {
    let mut scene = Scene::new();
    let before = counts(&mut scene.queue);
    let disk = scene.killed();
    let (mut queue, _, findings) = open(&disk);
    assert_eq!(findings, ["page-adopted"; 3]);
    assert_eq!(counts(&mut queue), before);
    as_stored(&disk, &mut queue, "adopted");
    assert_eq!(open(&disk.copy()).2, [""; 0], "they are taken over once");
    put(&mut queue, &[50], 1, 9);
    as_stored(&disk, &mut queue, "gone on");
}

#[test]
fn an_index_that_is_built_from_memory_and_log_has_what_the_one_before_had() {
    let Scene { disk, mut queue, .. } = Scene::new();
    let before = counts(&mut queue);
    disk.lose_indexes();
    queue.reopen().unwrap();
    assert_eq!(counts(&mut queue), before);
    as_stored(&disk, &mut queue, "reopened");
}

#[test]
fn a_lost_index_leaves_every_gap_as_the_log_tells_of_it() {
    let mut scene = Scene::new();
    // What damage took has come again, in a page that only the log has.
    put(&mut scene.queue, &[6], 1, 9);
    let told = |queue: &mut MemQueue| {
        let held = queue.held();
        (queue.gaps(), held.unreported, held.heartbeat_waits, held.records)
    };
    let before = told(&mut scene.queue);
    assert!(gaps_of(&scene.queue)[0].closed);
    let disk = scene.killed();
    disk.lose_indexes();
    let mut queue = open(&disk).0;
    assert_eq!(told(&mut queue), before);
    as_stored(&disk, &mut queue, "built anew");
}

/// A report that waits in the log counts; one that is lost there is made again.
#[test]
fn a_report_that_is_lost_with_the_index_is_made_again() {
    for (what, unreported) in [("waits", 0), ("is delivered", 0), ("is damaged", 1)] {
        let (disk, mut queue) = begun();
        put(&mut queue, &[1], 1, 1);
        park_first(&mut queue).unwrap();
        let ids: Vec<u64> = queue.gaps_to_report().iter().map(|gap| gap.number).collect();
        tell(&mut queue, &[&ids[..], &[HEARTBEAT_ID]].concat());
        match what {
            "is delivered" => drop(drained(&mut queue)),
            "is damaged" => damage(&disk, &mut queue, 2, Hit::Records),
            _ => {}
        }
        queue.close(Mono(1));
        disk.lose_indexes();
        let held = open(&disk).0.held();
        assert_eq!(held.unreported.min(1), unreported, "{what}");
        assert_eq!(held.heartbeat_waits, what == "waits", "{what}");
    }
}

/// Whether a page whose commit failed is in the log is only known by the new index.
#[test]
fn a_page_of_unknown_fate_is_known_if_it_waits() {
    for n in 1..40 {
        let (disk, mut queue) = begun();
        put(&mut queue, &[1, 2, 3], 1, 1);
        disk.fail_after(n, Fault::Once(ErrorKind::Other));
        let frames = page(&threats(), &[4, 5], 1);
        let stored = queue.append(&threats(), &frames, progress(95, 2), &keys_of([4, 5]));
        if !disk.has_failed() {
            break;
        }
        disk.heal();
        if matches!(stored, Err(QueueError::Broken(_))) {
            queue.reopen().unwrap();
        }
        let stream = queue.stream_status(&threats());
        let waits = queue.held().records == 5;
        assert_eq!(stream.progress, Some(if waits { progress(95, 2) } else { progress(90, 1) }));
        assert_eq!(stream.known.contains(&key(5)), waits, "operation {n}");
        as_stored(&disk, &mut queue, &format!("operation {n}"));
    }
}

/// What this process remembers of its streams does not count past a hole in the log.
#[test]
fn a_hole_in_the_log_sets_back_what_waits_there_and_nothing_else() {
    let (disk, mut queue) = begun();
    queue.append(&activities(), &page(&activities(), &[1, 2], 1), progress(2, 1), &[]).unwrap();
    skip_to(&mut queue, 3, 0);
    put(&mut queue, &[1, 2, 3, 4, 5, 6], 1, 6);
    damage(&disk, &mut queue, 5, Hit::Records);
    disk.lose_indexes();
    let (opened, findings) = queue.reopen().unwrap();
    assert!(findings.iter().any(|finding| finding.reason == "log-damaged"), "{findings:?}");
    assert!(opened.streams[0].progress.unwrap().from <= key(3).stamp);
    assert_eq!(opened.streams[1].progress, Some(progress(2, 1)));
    let gaps = gaps_of(&queue);
    assert!(gaps.len() == 1 && gaps[0].stream == threats(), "{gaps:?}");
    as_stored(&disk, &mut queue, "hole");
}

#[test]
fn what_is_torn_at_the_end_of_the_log_is_told_once() {
    for (what, is_index_lost) in
        ["half a page", "garbage"].into_iter().flat_map(|what| [(what, false), (what, true)])
    {
        let (disk, mut queue) = begun();
        put(&mut queue, &[1], 1, 1);
        let (indexes, files) = (disk.indexes(), disk.files());
        let files = files.into_iter().filter(|path| !path.starts_with("log/"));
        let files: Vec<_> = files.map(|path| (bytes_of(&disk, &path), path)).collect();
        if what == "half a page" {
            put(&mut queue, &[2, 3], 1, 1);
            let end = queue.entries(Seq(3), 1).unwrap()[0].offset as usize;
            disk.tamper(&log::path(1), |bytes| bytes.truncate(end));
        } else {
            disk.tamper(&log::path(1), |bytes| bytes.extend([0xaa; 100]));
        }
        drop(queue);
        disk.kill();
        disk.set_indexes(indexes);
        for (before, path) in files {
            disk.tamper(&path, |bytes| *bytes = before);
        }
        if is_index_lost {
            disk.lose_indexes();
        }
        let (queue, opened, findings) = open(&disk);
        assert!(findings.contains(&"log-tail-dropped"), "{what}, {is_index_lost}: {findings:?}");
        assert_eq!((opened.held.records, gaps_of(&queue).len()), (1, 0), "{what}");
        drop(queue);
        disk.kill();
        if is_index_lost {
            assert_eq!(open(&disk).2, [""; 0], "{what}: it is told again");
        }
    }
}

/// What a process wrote and did not sync is still in the page cache when the next one starts.
#[test]
fn what_a_start_takes_from_the_log_outlives_a_power_cut() {
    let mut met = 0;
    for n in 1..30 {
        for is_index_lost in [false, true] {
            let (disk, mut queue) = begun();
            put(&mut queue, &[1], 1, 1);
            disk.fail_after(n, Fault::PowerOff);
            let frames = page(&threats(), &[2, 3], 1);
            let _ = queue.append(&threats(), &frames, progress(90, 1), &[]);
            drop(queue);
            if !disk.has_failed() {
                assert!(met > 0);
                return;
            }
            disk.kill();
            if is_index_lost {
                disk.lose_indexes();
            }
            let (queue, opened, _) = open(&disk);
            met += u32::from(opened.held.records == 3);
            drop(queue);
            for seed in 0..2 {
                let cut = disk.copy();
                cut.power_cut(&mut Prng::new(seed));
                let (mut queue, again, findings) = open(&cut);
                assert_eq!(again.held.records, opened.held.records, "{n}: {findings:?}");
                let numbers = all_numbers(&queue.peek(ALL).unwrap().unwrap());
                assert_eq!(numbers.len() as u64, again.held.records);
            }
        }
    }
    panic!("it does not end");
}

/// More rows of one letter than are read at a time.
#[test]
fn a_long_index_is_read_to_its_end() {
    let (disk, mut queue) = begun();
    for n in 1..=1_030 {
        queue.append(&threats(), &[], progress(n, 1), &[key(n)]).unwrap();
    }
    drop(queue);
    let known = open(&disk).0.stream_status(&threats()).known;
    assert_eq!(known.len(), 1_030);
}

#[test]
fn an_index_older_than_the_checkpoint_neither_repeats_nor_hides_anything() {
    for (what, has_head_file) in
        ["delivered since", "lost since"].into_iter().flat_map(|what| [(what, true), (what, false)])
    {
        let (disk, mut queue) = begun();
        put(&mut queue, &[1, 2, 3], 1, 1);
        let older = disk.indexes();
        let mut end = 0;
        match what {
            "delivered since" => drop(drained(&mut queue)),
            _ => {
                put(&mut queue, &[4], 1, 1);
                end = queue.entries(Seq(4), 1).unwrap()[0].offset as usize;
            }
        }
        queue.close(Mono(1));
        disk.set_indexes(older);
        // A program that knew no such file left none.
        let is_other = |path: &String| !path.contains('/') && path != "checkpoint";
        for path in disk.files().iter().filter(|path| !has_head_file && is_other(path)) {
            disk.clone().remove(path).unwrap();
        }
        if end > 0 {
            disk.tamper(&log::path(1), |bytes| bytes.truncate(end));
        }
        let mut queue = open(&disk).0;
        match what {
            "delivered since" => assert_eq!(drained(&mut queue).0, [0; 0]),
            _ => assert_eq!(gaps_of(&queue).len(), 1),
        }
        as_stored(&disk, &mut queue, what);
    }
}

#[test]
fn an_index_that_is_not_there_is_told_unless_the_queue_is_new() {
    assert_eq!(open(&MemDisk::new(CAPACITY)).2, [""; 0]);
    for what in ["frames", "a checkpoint"] {
        let (disk, mut queue) = begun();
        put(&mut queue, &[1], 1, 1);
        if what == "a checkpoint" {
            drained(&mut queue);
        }
        queue.close(Mono(1));
        match what {
            "frames" => disk.clone().remove("checkpoint").unwrap(),
            _ => {
                for name in Fixture::files(&disk, "log") {
                    disk.clone().remove(&format!("log/{name}")).unwrap();
                }
            }
        }
        for number in 0..9 {
            super::index::Opener::remove(&mut disk.opener(), number).unwrap();
        }
        assert!(open(&disk).2.contains(&"index-replaced"), "{what}");
    }
}

/// Without space for a new index what is in the log is delivered; without a log nothing can go on.
#[test]
fn a_lost_index_and_no_space_leave_the_log_to_be_delivered() {
    for has_log in [true, false] {
        let (disk, mut queue) = begun();
        put(&mut queue, &[1], 1, 1);
        queue.close(Mono(1));
        if !has_log {
            disk.clone().remove(&log::path(1)).unwrap();
        }
        for number in 0..9 {
            super::index::Opener::remove(&mut disk.opener(), number).unwrap();
        }
        disk.set_capacity(0);
        match disk.try_open(SMALL) {
            Ok((mut queue, ..)) if has_log => {
                assert!(queue.is_unindexed());
                assert_eq!(drained(&mut queue).0, [1]);
            }
            opened => {
                let is_full = matches!(opened, Err(OpenError::Full { .. }));
                assert!(is_full && !has_log, "with a log: {has_log}");
            }
        }
    }
}

#[test]
fn a_damaged_checkpoint_is_kept_to_be_looked_at() {
    let (disk, mut queue) = begun();
    put(&mut queue, &[1], 1, 1);
    queue.close(Mono(1));
    disk.tamper("checkpoint", |bytes| *bytes.last_mut().unwrap() ^= 1);
    let (queue, _, findings) = open(&disk);
    assert_eq!(findings, ["checkpoint-damaged"]);
    drop(queue);
    let kept = set_aside(&disk);
    assert!(kept.len() == 1 && kept[0].ends_with("checkpoint"), "{kept:?}");
}

/// A start that dies while it opens the index leaves a mark that outlives a power cut, and is counted.
#[test]
fn starts_that_die_while_they_open_the_index_are_counted() {
    let (disk, mut queue) = begun();
    put(&mut queue, &[1], 1, 1);
    drop(queue);
    disk.kill();
    let mut disk = disk;
    for attempt in 1..=2 {
        let mark = format!("opening.{attempt}");
        let died = (1..200).find_map(|n| {
            let copy = disk.copy();
            copy.fail_after(n, Fault::PowerOff);
            assert!(copy.try_open(SMALL).is_err(), "no start leaves the mark {attempt}");
            copy.power_cut(&mut Prng::new(n));
            copy.files().contains(&mark).then_some((n, copy))
        });
        let (n, marked) = died.unwrap();
        // The mark is made by the operation before the one that makes it durable.
        for (kind, goes_on) in [(ErrorKind::Other, false), (ErrorKind::StorageFull, true)] {
            let made = (1..=n).map(|at| {
                let copy = disk.copy();
                copy.fail_after(at, Fault::Once(kind));
                copy.try_open(SMALL).is_ok()
            });
            let made: Vec<bool> = made.collect();
            assert_eq!(made[n as usize - 3], goes_on, "{kind} {n}: {made:?}");
        }
        disk = marked;
    }
    let (mut queue, _, findings) = open(&disk);
    assert_eq!(findings, ["index-replaced"]);
    assert_eq!(drained(&mut queue), (vec![1], 0));
    assert!(!disk.files().iter().any(|name| name.starts_with("opening.")));
}

/// An index that grew is replaced when nothing waits, and what fails then costs nothing.
#[test]
fn an_index_is_renewed_whole_or_stays() {
    for n in 0..60 {
        let (disk, mut queue) = begun();
        put(&mut queue, &[1, 2, 3], 1, 1);
        let told = format!("operation {n}");
        queue.space.index_bytes_max = 0;
        queue.renew_index(Mono(1));
        as_stored(&disk, &mut queue, "while records wait");
        queue.space.index_bytes_max = u64::MAX;
        drained(&mut queue);
        queue.space.index_bytes_max = 0;
        if n > 0 {
            disk.fail_after(n, Fault::Once(ErrorKind::Other));
        }
        queue.renew_index(Mono(2));
        let is_over = n > 0 && !disk.has_failed();
        disk.heal();
        if queue.peek(ONE).is_err() {
            queue.reopen().unwrap();
        }
        as_stored(&disk, &mut queue, &told);
        put(&mut queue, &[4], 1, 1);
        as_stored(&disk, &mut queue, &told);
        drop(queue);
        disk.kill();
        let (queue, opened, _) = open(&disk);
        assert_eq!(opened.held.records, 1, "{told}");
        drop(queue);
        let indexes = format!("{:?}", disk.indexes());
        assert_eq!(indexes.matches(": {[").count(), 1, "{told}: an older one is left");
        if is_over {
            return;
        }
    }
    panic!("it does not end");
}

/// Frames of before do not count for the stream that began anew, also after a start.
#[test]
fn what_began_anew_is_known_to_the_next_start() {
    let (disk, mut queue) = begun();
    put(&mut queue, &[1, 2], 1, 1);
    queue.begin_anew("acme", Some("https://acme.example")).unwrap();
    as_stored(&disk, &mut queue, "begun anew");
}

/// The gap outlives the next page, with which the numbers of the log go on.
#[test]
fn the_gap_of_a_log_that_was_cut_is_on_the_disk() {
    let (disk, mut queue) = begun();
    put(&mut queue, &[1, 2, 3], 1, 1);
    let older = disk.indexes();
    put(&mut queue, &[4], 1, 1);
    let end = queue.entries(Seq(4), 1).unwrap()[0].offset as usize;
    drop(queue);
    disk.kill();
    disk.set_indexes(older);
    disk.tamper(&log::path(1), |bytes| bytes.truncate(end));
    let mut queue = open(&disk).0;
    assert_eq!(gaps_of(&queue).len(), 1);
    put(&mut queue, &[5], 1, 1);
    as_stored(&disk, &mut queue, "gone on");
}
