//! What is given up of the queue: a gap until it came again, one step back, and nothing told twice.

use super::disk::Disk;
use super::log;
use super::mem::MemDisk;
use super::testing::*;
use super::{Queue, QueueError};
use crate::record::{Gap, GapReason, RowKey, Seq};
use crate::time::{Mono, Stamp};

type MemQueue = Queue<MemDisk, super::mem::MemOpener>;

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
fn drained(queue: &mut MemQueue) -> (Vec<u64>, usize) {
    let (mut delivered, mut given_up) = (Vec::new(), 0);
    loop {
        match queue.peek(ALL) {
            Ok(Some(peeked)) => {
                delivered.extend(all_numbers(&peeked).iter().map(|(_, n)| *n));
                queue.ack(peeked.sent.end, Mono(1)).unwrap();
            }
            Ok(None) => return (delivered, given_up),
            Err(QueueError::Damaged { seq, why }) => {
                queue.condemn(seq, &why).unwrap();
                given_up += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

fn damaged(queue: &MemQueue) -> Vec<Gap> {
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
    assert!(!gap.closed && queue.held().untold == 1);
    poll_again(&mut queue, &[key(3)]);
    assert!(!damaged(&queue)[0].closed, "one is missing still");
    queue.close(Mono(2));
    let (mut queue, _, _) = disk.open();
    poll_again(&mut queue, &[key(4)]);
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.closed, gap.count), (true, None));
    assert_eq!((queue.held().gaps, queue.held().untold), (0, 1), "its end is told");
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
    let lost = (1..=9).filter(|n| key(*n).stamp >= from && !known.contains(n));
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

#[test]
fn a_log_that_is_lost_with_its_index_is_a_gap_of_each_stream() {
    let (disk, queue) = with_damaged(6, &[]);
    queue.close(Mono(5));
    disk.lose_indexes();
    disk.clone().remove(&log::path(1)).unwrap();
    let (queue, _, _) = disk.open();
    let gap = damaged(&queue).remove(0);
    assert_eq!((gap.from, gap.to, gap.closed), (Stamp(0), Stamp::UNREADABLE, false));
    assert_eq!(queue.ledger.untold(), 1);
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
