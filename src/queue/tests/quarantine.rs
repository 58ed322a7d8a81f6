//! What is given up of the queue: a gap until it came again, one step back, and nothing told twice.

use std::io::ErrorKind;

use super::disk::Disk;
use super::index::Batch;
use super::log;
use super::mem::{Fault, MemDisk};
use super::recovery_tests::{as_stored, dated};
use super::testing::*;
use super::{Queue, QueueError};
use crate::frame::EntryMeta;
use crate::limits::{FRAME_ENTRIES_MAX, GAPS_MAX, KNOWN_IDS_MAX, WAITING_KEYS_READ_MAX};
use crate::record::{Gap, GapReason, RowKey, Seq, Take};
use crate::time::{Mono, Stamp};

type MemQueue = Queue<MemDisk>;

/// A queue in which frames of one record each wait, and the bytes of these frames' records are damaged.
fn with_damaged(records: u64, damaged: &[u64]) -> (MemDisk, MemQueue) {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, _, _) = disk.open();
    for n in 1..=records {
        let frames = page(&threats(), &[n], 1);
        queue.append(&threats(), &frames, progress(n, n.saturating_sub(2)), &[key(n)]).unwrap();
    }
    let entries = queue.entries(Seq(1), 1_000).unwrap();
    for n in damaged {
        let entry = entries.iter().find(|entry| entry.seq == Seq(*n)).unwrap();
        let last = (entry.offset + u64::from(entry.len)) as usize - 1;
        disk.tamper(&log::path(entry.file), |bytes| bytes[last] ^= 1);
    }
    (disk, queue)
}

/// Delivers everything; answers with what was delivered and how often something was given up.
pub(super) fn drained(queue: &mut MemQueue) -> (Vec<u64>, usize) {
    let (mut delivered, mut given_up) = (Vec::new(), 0);
    loop {
        match queue.peek(ALL) {
            Ok(Some(peeked)) => {
                delivered.extend(all_numbers(&peeked).iter().map(|(_, n)| *n));
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

pub(super) fn damaged(queue: &MemQueue) -> Vec<Gap> {
    queue.gaps().into_iter().filter(|gap| gap.reason == GapReason::Damaged).collect()
}

fn poll_again(queue: &mut MemQueue, keys: &[RowKey]) {
    let numbers: Vec<u64> = keys.iter().map(|key| key.id).collect();
    let mut frames = page(&threats(), &numbers, 100);
    for (entry, key) in frames.iter_mut().flat_map(|frame| &mut frame.entries).zip(keys) {
        entry.key = *key;
    }
    queue.append(&threats(), &frames, progress(90, 88), &[]).unwrap();
}

#[test]
fn what_is_given_up_is_a_gap_until_all_of_it_came_again() {
    let (disk, mut queue) = with_damaged(6, &[3, 4]);
    let (delivered, given_up) = drained(&mut queue);
    assert_eq!((delivered, given_up), (vec![1, 2, 5, 6], 1), "frames in a row go at once");
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.from, gap.to, gap.count), (key(3).stamp, key(4).stamp, Some(2)));
    assert!(!gap.closed && queue.held().unreported == 1);
    poll_again(&mut queue, &[key(3)]);
    assert!(!damaged(&queue)[0].closed, "one is missing still");
    queue.close(Mono(2));
    let (mut queue, _, _) = disk.open();
    poll_again(&mut queue, &[key(4)]);
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.closed, gap.count), (true, None));
    assert_eq!((queue.held().gaps, queue.held().unreported), (0, 1), "its end is told");
}

#[test]
fn what_changed_meanwhile_is_told_as_superseded() {
    let (_, mut queue) = with_damaged(4, &[2, 3]);
    drained(&mut queue);
    let newer = RowKey { stamp: Stamp(80), ..key(2) };
    poll_again(&mut queue, &[newer, key(3)]);
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.closed, gap.count), (true, Some(1)), "one in a newer version only");
}

#[test]
fn damage_here_and_there_goes_back_without_forgetting_what_is_known() {
    let (_, mut queue) = with_damaged(9, &[2, 5, 8]);
    let (delivered, given_up) = drained(&mut queue);
    assert_eq!((delivered, given_up), (vec![1, 3, 4, 6, 7, 9], 3));
    let stream = queue.opened().streams.remove(0);
    let from = stream.progress.unwrap().from;
    let known: Vec<u64> = stream.known.iter().map(|key| key.id).collect();
    // The next walk begins at the first of them, and knows what is not lost.
    assert!(from <= key(2).stamp);
    let is_known = |n: &u64| known.contains(n) || stream.covered.has(key(*n).stamp);
    let lost = (1..=9).filter(|n| key(*n).stamp >= from && !is_known(n));
    assert_eq!(lost.collect::<Vec<_>>(), [2, 5, 8], "{known:?}");
}

#[test]
fn a_frame_at_the_end_of_the_overlap_repeats_nothing_of_it() {
    let (_, mut queue) = with_damaged(9, &[9]);
    let (delivered, _) = drained(&mut queue);
    assert_eq!(delivered, [1, 2, 3, 4, 5, 6, 7, 8]);
    let stream = queue.opened().streams.remove(0);
    let known: Vec<u64> = stream.known.iter().map(|key| key.id).collect();
    assert_eq!(stream.progress.unwrap().from, Stamp(7), "the overlap begins before the frame");
    assert_eq!(known, [7, 8], "and what it held is known");
}

#[test]
fn a_frame_that_tells_its_keys_no_more_leaves_the_gap_open() {
    let (disk, mut queue) = with_damaged(3, &[]);
    let entry = queue.entries(Seq(2), 1).unwrap().remove(0);
    disk.tamper(&log::path(entry.file), |bytes| bytes[entry.offset as usize + 20] ^= 1);
    let (delivered, _) = drained(&mut queue);
    assert_eq!(delivered, [1, 3]);
    poll_again(&mut queue, &[key(2)]);
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.closed, gap.count), (false, Some(1)), "nobody knows what it was");
}

/// A row whose stamp can't be read may lie anywhere behind where its page was asked for.
#[test]
fn a_frame_with_an_undated_row_goes_back_to_before_it_also_where_its_keys_are_lost() {
    for is_table_lost in [false, true] {
        let (disk, mut queue) = with_damaged(3, &[]);
        let mut frames = page(&threats(), &[40, 50], 2);
        frames[0].entries[1].key.stamp = Stamp::UNREADABLE;
        queue.append(&threats(), &frames, progress(40, 20), &[]).unwrap();
        let entry = queue.entries(Seq(4), 1).unwrap().remove(0);
        let last = entry.offset as usize + entry.len as usize - 1;
        let at = if is_table_lost { entry.offset as usize + 20 } else { last };
        disk.tamper(&log::path(entry.file), |bytes| bytes[at] ^= 1);
        assert_eq!(drained(&mut queue), (vec![1, 2, 3], 1));
        let from = queue.opened().streams.remove(0).progress.unwrap().from;
        assert!(from <= Stamp(20), "{from:?}, its keys are lost: {is_table_lost}");
    }
}

#[test]
fn a_log_that_is_lost_with_its_index_is_a_gap_of_each_stream() {
    let (disk, queue) = with_damaged(6, &[]);
    queue.close(Mono(5));
    disk.lose_indexes();
    disk.clone().remove(&log::path(1)).unwrap();
    let (queue, _, _) = disk.open();
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.from, gap.to, gap.closed), (Stamp(0), Stamp::UNREADABLE, false));
    assert_eq!(queue.gap_log.unreported(), 1);
    drop(queue);
    disk.lose_indexes();
    let (queue, _, _) = disk.open();
    assert_eq!(damaged(&queue).len(), 1, "the same hole is told once");
}

#[test]
fn an_index_that_is_lost_after_all_was_delivered_is_no_gap() {
    let (disk, mut queue) = with_damaged(6, &[]);
    drained(&mut queue);
    queue.close(Mono(5));
    disk.lose_indexes();
    let (queue, _, _) = disk.open();
    assert_eq!(damaged(&queue), []);
}

/// A drained queue that was closed, and 300 records in it since; its index is lost.
fn waiting_after_a_clean_stop() -> MemDisk {
    let (disk, mut queue) = with_damaged(9, &[]);
    drained(&mut queue);
    queue.close(Mono(5));
    let (mut queue, ..) = disk.open();
    let numbers: Vec<u64> = (10..310).collect();
    let (frames, keys) = (page(&threats(), &numbers, 10), numbers.iter().map(|n| key(*n)));
    queue.append(&threats(), &frames, progress(309, 300), &keys.collect::<Vec<_>>()).unwrap();
    drop(queue);
    disk.kill();
    disk.lose_indexes();
    disk
}

#[test]
fn what_was_taken_in_since_the_checkpoint_is_a_gap_where_log_and_index_are_lost() {
    let whole = waiting_after_a_clean_stop();
    let (queue, ..) = whole.open();
    assert_eq!((damaged(&queue), queue.state.records), (vec![], 300), "the log is whole");
    for what in ["the log", "its newest file", "a byte of the last frame", "the end of it"] {
        let disk = waiting_after_a_clean_stop();
        let files = Fixture::files(&disk, log::DIR);
        let newest = format!("{}/{}", log::DIR, files.last().unwrap());
        match what {
            "the log" => files.iter().for_each(|name| {
                disk.clone().remove(&format!("{}/{name}", log::DIR)).unwrap();
            }),
            "its newest file" => disk.clone().remove(&newest).unwrap(),
            "the end of it" => disk.tamper(&newest, |bytes| bytes.truncate(bytes.len() - 900)),
            _ => disk.tamper(&newest, |bytes| *bytes.last_mut().unwrap() ^= 1),
        }
        let (queue, opened, _) = disk.open();
        let from = opened.streams[0].progress.unwrap().position;
        let gaps =
            damaged(&queue).into_iter().map(|gap| (gap.stream, gap.from, gap.to, gap.closed));
        let told = (threats(), from, Stamp::UNREADABLE, false);
        assert!(gaps.collect::<Vec<_>>().contains(&told), "{what}: {:?}", damaged(&queue));
        assert!(from <= key(9).stamp, "{what} is asked for again");
    }
}

#[test]
fn a_stream_whose_position_is_lost_too_is_a_gap_from_any_time_on() {
    let (disk, queue) = with_damaged(3, &[]);
    drop(queue);
    disk.kill();
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[4], 1), progress(4, 3), &[key(4)]).unwrap();
    drop(queue);
    disk.kill();
    disk.lose_indexes();
    disk.tamper("checkpoint", |bytes| bytes[12] ^= 1);
    disk.clone().remove(&log::path(1)).unwrap();
    let (queue, opened, _) = disk.open();
    assert_eq!(opened.streams[0].progress, None);
    let gaps = damaged(&queue).into_iter().map(|gap| (gap.stream, gap.from, gap.to));
    let from_any = |name| (name, Stamp::EPOCH, Stamp::UNREADABLE);
    assert_eq!(gaps.collect::<Vec<_>>(), [from_any(threats()), from_any(activities())]);
}

/// An index that came back older goes on with what is in the log; without that it lacks something.
#[test]
fn an_older_index_whose_log_is_lost_is_a_gap() {
    for is_lost in [false, true] {
        let (disk, mut queue) = with_damaged(3, &[]);
        let older = disk.indexes();
        queue.append(&threats(), &page(&threats(), &[4], 1), progress(4, 3), &[key(4)]).unwrap();
        let end = queue.entries(Seq(4), 1).unwrap().remove(0).offset as usize;
        drop(queue);
        disk.kill();
        disk.set_indexes(older);
        if is_lost {
            disk.tamper(&log::path(1), |bytes| bytes.truncate(end));
        }
        let (queue, ..) = disk.open();
        assert_eq!(damaged(&queue).is_empty(), !is_lost);
    }
}

/// A queue in which so many records wait, `per` to a frame.
fn with_many(records: u64, per: usize) -> (MemDisk, MemQueue) {
    let disk = MemDisk::new(512 << 20);
    let (mut queue, ..) = disk.open();
    for first in (1..=records).step_by(1_000) {
        let numbers: Vec<u64> = (first..first + 1_000).collect();
        let keys: Vec<RowKey> = numbers.iter().map(|n| key(*n)).collect();
        let last = first + 999;
        let frames = page(&threats(), &numbers, per);
        queue.append(&threats(), &frames, progress(last, last - 1), &keys).unwrap();
    }
    (disk, queue)
}

/// Damages the records of the frame with this number and gives it up.
fn give_up(disk: &MemDisk, queue: &mut MemQueue, seq: u64) {
    let entry = queue.entries(Seq(seq), 1).unwrap().remove(0);
    let last = (entry.offset + u64::from(entry.len)) as usize - 1;
    disk.tamper(&log::path(entry.file), |bytes| bytes[last] ^= 1);
    queue.quarantine(Seq(seq), "a test").unwrap();
}

/// Which of the records up to that number are collected again.
fn asked_again(queue: &MemQueue, records: u64) -> Vec<u64> {
    let stream = queue.stream_status(&threats());
    let from = stream.progress.unwrap().from;
    let is_known = |key: &RowKey| stream.known.binary_search(key).is_ok();
    let keys = (1..=records).map(key).filter(|key| key.stamp >= from);
    keys.filter(|key| !is_known(key) && !stream.covered.has(key.stamp)).map(|key| key.id).collect()
}

#[test]
fn of_a_long_backlog_nothing_but_what_was_lost_is_collected_again() {
    let (disk, mut queue) = with_many(90_000, 250);
    give_up(&disk, &mut queue, 1);
    let first: Vec<u64> = (1..=250).collect();
    assert_eq!(asked_again(&queue, 90_000), first);
    // Far from it, and after a power cut.
    give_up(&disk, &mut queue, 301);
    let both: Vec<u64> = first.iter().copied().chain(75_001..=75_250).collect();
    assert_eq!(asked_again(&queue, 90_000), both);
    drop(queue);
    disk.kill();
    let (mut queue, ..) = disk.open();
    assert_eq!(asked_again(&queue, 90_000), both);
    // A page of it came again.
    let keys: Vec<RowKey> = (1..=200).map(key).collect();
    let frames = page(&threats(), &(1..=200).collect::<Vec<_>>(), 100);
    queue.append(&threats(), &frames, progress(200, 190), &keys).unwrap();
    let left: Vec<u64> = (201..=250).chain(75_001..=75_250).collect();
    assert_eq!(asked_again(&queue, 90_000), left);
    drop(queue);
    disk.kill();
    let (mut queue, ..) = disk.open();
    assert_eq!(asked_again(&queue, 90_000), left);
    // Once it stands where it stood before, it is told no more.
    queue.append(&threats(), &[], progress(90_000, 89_999), &[]).unwrap();
    assert!(queue.stream_status(&threats()).covered.is_empty());
    drop(queue);
    disk.kill();
    let (queue, ..) = disk.open();
    assert!(!queue.streams.find(&threats()).unwrap().has_covered_row, "nor stored");
}

#[test]
fn what_was_delivered_meanwhile_is_not_collected_again_either() {
    let (disk, mut queue) = with_many(2_000, 100);
    // Of a list: records of long ago and of late in one frame.
    let frames = page(&threats(), &[3, 1_950], 2);
    queue.append(&threats(), &frames, progress(2_000, 1_999), &[]).unwrap();
    let end = queue.entries(Seq(21), 1).unwrap().remove(0);
    while let Some(peeked) = queue.peek(ALL).unwrap() {
        let next = peeked.sent.end.min(crate::record::QueuePosition { seq: end.seq, skip: 0 });
        queue.ack(next, Mono(1)).unwrap();
        if next.seq == end.seq {
            break;
        }
    }
    give_up(&disk, &mut queue, 21);
    assert_eq!(asked_again(&queue, 2_000).len(), 1_948, "from the first to the last of it");
    let (disk, mut queue) = with_many(2_000, 100);
    let ended = queue.entries(Seq(2), 1).unwrap().remove(0).seq;
    queue.ack(crate::record::QueuePosition { seq: ended, skip: 0 }, Mono(1)).unwrap();
    give_up(&disk, &mut queue, 2);
    assert_eq!(asked_again(&queue, 2_000), (101..=200).collect::<Vec<_>>());
}

/// Its newer version waits where nothing is asked for again, so that it would be waited for for ever.
#[test]
fn what_has_changed_since_and_waits_far_from_it_is_superseded() {
    let (disk, mut queue) = with_many(2_000, 100);
    let newer = RowKey { stamp: Stamp(1_500), ..key(2) };
    let mut frames = page(&threats(), &[2], 1);
    frames[0].entries[0].key = newer;
    queue.append(&threats(), &frames, progress(2_000, 1_999), &[]).unwrap();
    give_up(&disk, &mut queue, 1);
    let rest: Vec<RowKey> = (1..=100).filter(|n| *n != 2).map(key).collect();
    poll_again(&mut queue, &rest);
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.closed, gap.count), (true, Some(1)));
}

/// A program that knows nothing of what is covered gave another frame up, or moved the position.
#[test]
fn what_another_program_changed_since_is_not_covered() {
    let (disk, mut queue) = with_many(2_000, 100);
    give_up(&disk, &mut queue, 1);
    let stands = queue.stream_status(&threats()).progress.unwrap();
    let number = queue.streams.find(&threats()).unwrap().number;
    queue.close(Mono(2));
    let row = super::schema::covered_key(number);
    for (what, is_covered) in [("nothing", true), ("the position", false), ("a gap", false)] {
        let (indexes, disk) = (disk.indexes(), disk.clone());
        disk.tamper_index(&row, |value| match what {
            "the position" => value[1] ^= 1,
            "a gap" => value[17] ^= 1,
            _ => {}
        });
        let (queue, ..) = disk.open();
        let stream = queue.stream_status(&threats());
        assert_eq!((stream.progress, stream.covered.is_empty()), (Some(stands), !is_covered));
        queue.close(Mono(3));
        disk.set_indexes(indexes);
    }
}

#[test]
fn a_record_that_was_missing_where_all_was_said_to_be_collected_ends_that() {
    let (disk, mut queue) = with_many(2_000, 100);
    give_up(&disk, &mut queue, 1);
    let between = RowKey { stamp: Stamp(1_000), id: 7 };
    let mut frames = page(&threats(), &[7], 1);
    frames[0].entries[0].key = between;
    queue.append(&threats(), &frames, progress(1, 1), &[]).unwrap();
    assert!(queue.stream_status(&threats()).covered.is_empty());
}

#[test]
fn a_gap_is_closed_though_the_index_was_lost_while_it_was_open() {
    let (disk, mut queue) = with_damaged(6, &[3, 4]);
    drained(&mut queue);
    poll_again(&mut queue, &[key(3)]);
    for number in [4, 9] {
        drained(&mut queue);
        queue.close(Mono(2));
        disk.lose_indexes();
        queue = disk.open().0;
        assert!(!damaged(&queue)[0].closed, "{number}");
    }
    poll_again(&mut queue, &[key(4)]);
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.closed, gap.count), (true, None));
    // What came in a page of which only the log tells.
    for is_index_lost in [false, true] {
        let (disk, mut queue) = with_damaged(6, &[3]);
        drained(&mut queue);
        let before = disk.indexes();
        poll_again(&mut queue, &[key(3)]);
        drop(queue);
        disk.kill();
        match is_index_lost {
            true => disk.lose_indexes(),
            false => disk.set_indexes(before),
        }
        let (queue, ..) = disk.open();
        assert!(damaged(&queue)[0].closed, "{is_index_lost}");
    }
}

/// An older index knows ids that damage took out of the queue since: those have to come again. Where
/// nothing was lost since, what it knows is delivered or waits.
#[test]
fn of_an_older_index_no_id_is_kept_that_was_lost_since() {
    for bad in [&[5][..], &[]] {
        let (disk, mut queue) = with_damaged(6, bad);
        let older = disk.indexes();
        for n in 1..=5 {
            match queue.peek(Take { entries_max: 1, ..ALL }) {
                Ok(peeked) => drop(queue.ack(peeked.unwrap().sent.end, Mono(n)).unwrap()),
                Err(QueueError::Damaged { seq, why }) => drop(queue.quarantine(seq, &why).unwrap()),
                Err(other) => panic!("{other}"),
            }
        }
        queue.close(Mono(9));
        disk.set_indexes(older);
        let (queue, ..) = disk.open();
        assert_eq!(damaged(&queue).len(), bad.len());
        let again = asked_again(&queue, 6);
        assert!(bad.iter().all(|lost| again.contains(lost)), "{again:?} without {bad:?}");
        assert!(!bad.is_empty() || again.is_empty(), "{again:?}");
    }
}

/// A page of one frame with these keys; `known` are all ids that its stream knows then.
fn put(queue: &mut MemQueue, keys: &[RowKey], from: u64, known: &[RowKey]) {
    let numbers: Vec<u64> = keys.iter().map(|key| key.id).collect();
    let mut frames = page(&threats(), &numbers, keys.len());
    frames[0].entries.iter_mut().zip(keys).for_each(|(entry, key)| entry.key = *key);
    queue.append(&threats(), &frames, progress(90, from), known).unwrap();
}

fn begun() -> (MemDisk, MemQueue) {
    let disk = MemDisk::new(128 << 20);
    let queue = disk.try_open(SMALL).unwrap().0;
    (disk, queue)
}

/// It is known, so that it is not collected again, and nothing else would close its gap.
#[test]
fn what_waits_a_second_time_in_the_same_version_is_not_waited_for() {
    let (disk, mut queue) = begun();
    put(&mut queue, &[key(1), key(2)], 1, &[key(1), key(2)]);
    put(&mut queue, &[key(2), key(3)], 1, &[key(3)]);
    give_up(&disk, &mut queue, 1);
    assert_eq!(asked_again(&queue, 3), [1]);
    assert!(!damaged(&queue)[0].closed);
    put(&mut queue, &[key(1)], 1, &[key(1)]);
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.closed, gap.count), (true, None));
    as_stored(&disk, &mut queue, "the rest came");
    // Where all of it waits, nothing is missing.
    give_up(&disk, &mut queue, 3);
    let gap = damaged(&queue).remove(1);
    assert_eq!((gap.closed, gap.count), (false, Some(1)));
    let (disk, mut queue) = begun();
    put(&mut queue, &[key(2)], 1, &[]);
    put(&mut queue, &[key(2)], 1, &[]);
    give_up(&disk, &mut queue, 1);
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.closed, gap.count), (true, None));
    as_stored(&disk, &mut queue, "all of it waits");
}

/// As many ids are known as may be: one more that waits is the one that counts.
#[test]
fn a_newer_version_that_waits_is_found_and_known_however_much_is_known() {
    let (disk, mut queue) = begun();
    put(&mut queue, &[dated(2, 20)], 1, &[]);
    let many: Vec<RowKey> = (1_000..).take(KNOWN_IDS_MAX + 100).map(key).collect();
    put(&mut queue, &[dated(2, 80)], 1, &many);
    give_up(&disk, &mut queue, 1);
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.closed, gap.count), (true, Some(1)));
    let known = queue.streams.named(&threats()).known(Stamp::MIN);
    assert_eq!(known.len(), KNOWN_IDS_MAX);
    assert_eq!(known[0], dated(2, 80), "it is not collected again");
}

/// A newer version of what is lost may be in what was not read: it has to come again.
#[test]
fn what_is_too_much_to_be_read_does_not_count_as_collected() {
    let disk = MemDisk::new(512 << 20);
    let (mut queue, ..) = disk.open();
    put(&mut queue, &[dated(2, 20)], 1_000, &[]);
    let ids: Vec<u64> = (10..).take(FRAME_ENTRIES_MAX).collect();
    let mut frame = frame(&threats(), &[1]);
    let entry = frame.entries.remove(0);
    frame.raw_len = (entry.raw_len + 1) * ids.len() as u32 - 1;
    frame.entries = ids.iter().map(|id| EntryMeta { key: dated(*id, 100), ..entry }).collect();
    let mut frames = vec![frame; WAITING_KEYS_READ_MAX / FRAME_ENTRIES_MAX + 2];
    let last = frames.last_mut().unwrap();
    last.entries.iter_mut().for_each(|entry| entry.key.stamp = Stamp(300));
    queue.append(&threats(), &frames, progress(1_000, 1_000), &[]).unwrap();
    give_up(&disk, &mut queue, 1);
    let covered = queue.stream_status(&threats()).covered;
    assert!(covered.has(Stamp(150)) && !covered.has(Stamp(300)), "{covered:?}");
}

/// The log of gaps is full, and an earlier gap stands for the new one too.
#[test]
fn a_gap_that_is_merged_with_another_waits_for_what_both_lack() {
    let (disk, mut queue) = begun();
    (1..=4).for_each(|n| put(&mut queue, &[key(n)], 1, &[]));
    give_up(&disk, &mut queue, 1);
    for n in 1..GAPS_MAX as i64 {
        let mut batch = Batch::default();
        let gap = Gap::open(&activities(), Stamp(n), Stamp(n + 1), GapReason::Retention);
        queue.gap_log.note(gap, &mut batch);
        queue.commit(&batch).unwrap();
    }
    give_up(&disk, &mut queue, 3);
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.from, gap.to, gap.count), (Stamp(1), Stamp(3), Some(2)));
    as_stored(&disk, &mut queue, "merged");
    put(&mut queue, &[key(3)], 1, &[]);
    assert!(!damaged(&queue)[0].closed);
    put(&mut queue, &[key(1)], 1, &[]);
    assert!(damaged(&queue)[0].closed);
    as_stored(&disk, &mut queue, "closed");
}

/// The only one that waits: nothing else is read after it, whose failure would tell.
#[test]
fn a_frame_whose_gap_could_not_be_noted_is_not_given_up() {
    let mut met = 0;
    for (n, kind) in
        (1..40).flat_map(|n| [ErrorKind::Other, ErrorKind::StorageFull].map(|kind| (n, kind)))
    {
        let (disk, mut queue) = begun();
        put(&mut queue, &[key(1)], 1, &[]);
        disk.fail_after(n, Fault::Once(kind));
        let given_up = queue.quarantine(Seq(1), "a test").map(drop);
        if queue.index.is_some() {
            continue;
        }
        met += 1;
        assert!(given_up.is_err(), "operation {n}: {kind}");
        let is_full = matches!(given_up, Err(QueueError::NoSpace(_)));
        assert_eq!(is_full, kind == ErrorKind::StorageFull, "operation {n}");
        if is_full {
            assert_eq!((queue.state.head.seq, damaged(&queue).len()), (Seq(1), 0), "{n}");
        }
    }
    assert!(met > 1, "{met}");
}
