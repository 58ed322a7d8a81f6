//! What an index that is built anew knows, and what a start makes of files that were left behind: nothing
//! lost, nothing twice, and each gap as it was.

use std::io::ErrorKind;

use super::disk::Disk;
use super::gaps::HEARTBEAT_ID;
use super::index::IndexStore;
use super::mem::{Fault, MemDisk};
use super::recovery_tests::*;
use super::testing::*;
use super::{MemQueue, OpenError, QueueError, log};
use crate::prng::Prng;
use crate::record::Seq;
use crate::time::{Mono, Stamp};

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
    for what in ["waits", "is delivered", "is damaged"] {
        let (disk, mut queue) = begun();
        put(&mut queue, &[1], 1, 1);
        park_first(&mut queue).unwrap();
        let ids: Vec<u64> = queue.gaps_to_report().iter().map(|gap| gap.number).collect();
        tell(&mut queue, &[&ids[..], &[HEARTBEAT_ID]].concat());
        put(&mut queue, &[2], 1, 1);
        match what {
            "is delivered" => skip_to(&mut queue, 3, 0),
            "is damaged" => damage(&disk, &mut queue, 2, Hit::Records),
            _ => {}
        }
        queue.close(Mono(1));
        disk.lose_indexes();
        let mut queue = open(&disk).0;
        let again = queue.gaps_to_report().iter().any(|gap| ids.contains(&gap.number));
        assert_eq!(again, what == "is damaged", "{what}");
        assert_eq!(queue.held().heartbeat_waits, what == "waits", "{what}");
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
            disk.clone().index_store().remove(number).unwrap();
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
            disk.clone().index_store().remove(number).unwrap();
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

/// Nine records, of which the second three are given up: what is around them counts as collected.
fn collected_around_a_loss() -> (MemDisk, MemQueue) {
    let (disk, mut queue) = begun();
    put(&mut queue, &(1..=9).collect::<Vec<_>>(), 3, 9);
    skip_to(&mut queue, 2, 0);
    give_up(&disk, &mut queue, 2, Hit::Records);
    (disk, queue)
}

/// The process is killed, the log ends before the fourth frame, and the index is an older one.
fn cut_before_the_fourth(
    disk: &MemDisk,
    mut queue: MemQueue,
    older: super::mem::Indexes,
) -> MemQueue {
    let end = queue.entries(Seq(4), 1).unwrap()[0].offset as usize;
    drop(queue);
    disk.kill();
    disk.set_indexes(older);
    disk.tamper(&log::path(1), |bytes| bytes.truncate(end));
    open(disk).0
}

/// The gap outlives the next page, with which the numbers of the log go on.
#[test]
fn the_gap_of_a_log_that_was_cut_is_on_the_disk() {
    let (disk, mut queue) = begun();
    put(&mut queue, &[1, 2, 3], 1, 1);
    let older = disk.indexes();
    put(&mut queue, &[4], 1, 1);
    let mut queue = cut_before_the_fourth(&disk, queue, older);
    assert_eq!(gaps_of(&queue).len(), 1);
    let copy = disk.copy();
    copy.clone().remove(super::head_file::FILE).unwrap();
    assert_eq!(open(&copy).0.state.next_seq, Seq(5), "no number is given twice");
    put(&mut queue, &[5], 1, 1);
    as_stored(&disk, &mut queue, "gone on");
}

/// Records are missing, and which is unknown: nothing counts as collected any more.
#[test]
fn where_the_log_was_cut_no_range_is_said_to_be_collected() {
    let (disk, mut queue) = collected_around_a_loss();
    assert!(!queue.stream_status(&threats()).covered.is_empty());
    let older = disk.indexes();
    put(&mut queue, &[20], 1, 4);
    let mut queue = cut_before_the_fourth(&disk, queue, older);
    assert_eq!(gaps_of(&queue).len(), 2);
    assert!(queue.stream_status(&threats()).covered.is_empty());
    as_stored(&disk, &mut queue, "cut");
}

#[test]
fn a_page_that_only_the_log_has_ends_what_was_said_to_be_collected() {
    let (disk, mut queue) = collected_around_a_loss();
    assert!(queue.stream_status(&threats()).covered.has(Stamp(8)));
    let older = disk.indexes();
    put_keys(&mut queue, &[dated(77, 8)], 1, 4);
    assert!(queue.stream_status(&threats()).covered.is_empty());
    drop(queue);
    disk.kill();
    disk.set_indexes(older);
    let (queue, _, findings) = open(&disk);
    assert_eq!(findings, ["page-adopted"]);
    assert!(queue.stream_status(&threats()).covered.is_empty());
}

/// Nothing was cut off of the log, and what is damaged there is a gap already.
#[test]
fn what_was_given_up_is_not_told_again_when_the_index_is_lost() {
    for given_up in [&[1][..], &[2], &[3], &[1, 2, 3]] {
        for waits in [false, true] {
            let (disk, mut queue) = begun();
            put(&mut queue, &[1, 2, 3], 1, 1);
            given_up.iter().for_each(|seq| damage(&disk, &mut queue, *seq, Hit::Records));
            drained(&mut queue);
            if waits {
                put(&mut queue, &[4], 1, 1);
            }
            let gaps = gaps_of(&queue);
            assert_eq!(gaps.len(), 1);
            drop(queue);
            disk.kill();
            disk.lose_indexes();
            let (mut queue, _, findings) = open(&disk);
            assert_eq!(findings, ["index-replaced"], "{given_up:?}, {waits}");
            assert_eq!(gaps_of(&queue), gaps, "{given_up:?}, {waits}");
            assert_eq!(drained(&mut queue).0.len(), usize::from(waits), "{given_up:?}");
        }
    }
}

/// Given up because the disk did not return it, which a later look at the file does not show.
#[test]
fn a_file_of_which_a_frame_was_given_up_is_kept_also_after_a_new_index() {
    let (disk, mut queue) = begun();
    put(&mut queue, &[1, 2], 1, 1);
    queue.quarantine(Seq(1), "a test").unwrap();
    queue.drop_index();
    queue.reopen().unwrap();
    assert_eq!(drained(&mut queue), (vec![2], 0));
    assert_eq!(set_aside(&disk).len(), 1, "{:?}", disk.files());
}

/// What was delivered since the checkpoint is in no file any more, and nothing waited by it.
#[test]
fn files_that_were_given_back_since_the_checkpoint_are_no_hole() {
    let (disk, mut queue) = begun();
    put(&mut queue, &[1], 1, 1);
    drained(&mut queue);
    queue.close(Mono(1));
    let checkpoint = bytes_of(&disk, "checkpoint");
    for n in [2, 3] {
        put(&mut open(&disk).0, &[n], 1, 1);
    }
    let mut queue = open(&disk).0;
    skip_to(&mut queue, 3, 0);
    assert_eq!(Fixture::files(&disk, "log").len(), 1);
    drop(queue);
    disk.kill();
    disk.lose_indexes();
    disk.clone().remove(super::head_file::FILE).unwrap();
    disk.tamper("checkpoint", |bytes| *bytes = checkpoint);
    let (mut queue, _, findings) = open(&disk);
    assert_eq!((gaps_of(&queue), findings), (vec![], vec!["index-replaced"]));
    assert_eq!(drained(&mut queue), (vec![3], 0));
}

/// It would fail again with each acknowledgement, and each time one more would be set aside.
#[test]
fn an_index_that_cannot_be_renewed_stays_and_is_not_renewed_again() {
    let mut stayed = 0;
    for n in 1..60 {
        let (disk, mut queue) = begun();
        put(&mut queue, &[1], 1, 1);
        drained(&mut queue);
        queue.space.index_bytes_max = 0;
        disk.fail_after(n, Fault::Once(ErrorKind::Other));
        queue.renew_index(Mono(2));
        if !disk.has_failed() {
            assert!(stayed > 1, "{stayed}");
            return;
        }
        if Fixture::files(&disk, "quarantine").iter().any(|name| name.ends_with("index.1.txt")) {
            stayed += 1;
            assert!(queue.index.is_some() && queue.number == 0, "operation {n}");
            queue.renew_index(Mono(3));
            assert_eq!(queue.number, 0, "operation {n}");
            as_stored(&disk, &mut queue, &format!("operation {n}"));
        }
    }
    panic!("it does not end");
}

#[test]
fn of_an_older_index_no_ids_are_kept_that_walks_have_passed() {
    let (disk, mut queue) = begun();
    put(&mut queue, &[1, 2, 3], 1, 1);
    let older = disk.indexes();
    put(&mut queue, &[85], 1, 85);
    drained(&mut queue);
    queue.close(Mono(1));
    disk.set_indexes(older);
    let (mut queue, _, findings) = open(&disk);
    assert_eq!(findings, ["index-replaced"]);
    assert_eq!(queue.streams.named(&threats()).known(Stamp::MIN), [key(85)]);
}

/// Nothing waits before the next page: a record of it does not count as delivered, and a heartbeat
/// that is lost is made again.
#[test]
fn what_is_lost_with_the_log_waits_no_more() {
    let (disk, mut queue) = begun();
    put(&mut queue, &[1, 2], 1, 1);
    tell(&mut queue, &[HEARTBEAT_ID]);
    assert!(queue.held().heartbeat_waits);
    queue.close(Mono(1));
    disk.lose_indexes();
    disk.clone().remove(&log::path(1)).unwrap();
    let held = open(&disk).1.held;
    assert_eq!((held.records, held.head.seq, held.heartbeat_waits), (0, Seq(4), false));
}

/// Its name is that of the next file, unless it can't be removed.
#[test]
fn a_file_with_nothing_that_counts_leaves_its_number_when_it_is_gone() {
    let mut left = 0;
    for n in 1..200 {
        let (disk, mut queue) = begun();
        put(&mut queue, &[1], 1, 1);
        drop(queue);
        let mut files = disk.clone();
        files.create(&log::path(2)).unwrap();
        files.append(&log::path(2), &[0xaa; 100]).unwrap();
        disk.fail_after(n, Fault::Once(ErrorKind::Other));
        let opened = disk.try_open(SMALL);
        let has_failed = disk.has_failed();
        disk.heal();
        if let Ok((queue, ..)) = opened {
            let is_left = disk.files().contains(&log::path(2));
            left += u32::from(is_left);
            let next = if is_left { 3 } else { 2 };
            assert_eq!(queue.state.next_seq, Seq(next), "operation {n}");
        }
        if !has_failed {
            assert!(left > 0);
            return;
        }
    }
    panic!("it does not end");
}
