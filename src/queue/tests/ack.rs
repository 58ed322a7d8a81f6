//! What an acknowledgement leaves: nothing in the index, no file of what is delivered, and a checkpoint that
//! is written now and then.

use super::checkpoint::{self, Checkpoint};
use super::disk::Disk;
use super::mem::{Fault, MemDisk};
use super::testing::*;
use super::{MemQueue, log};
use crate::limits::{CHECKPOINT_KNOWN_IDS_MAX, CHECKPOINT_MINUTES_MIN, TAKE_FRAMES_MAX};
use crate::record::{Gap, GapReason, QueuePosition, Seq, Take};
use crate::time::{Mono, Span, Stamp};

fn written(disk: &MemDisk) -> Vec<u8> {
    disk.clone().read(checkpoint::FILE, 0, 1 << 20).unwrap()
}

fn ack_one(queue: &mut MemQueue, now: Mono) {
    let end = queue.peek(Take { entries_max: 1, ..ALL }).unwrap().unwrap().sent.end;
    queue.ack(end, now).unwrap();
}

fn minutes(minutes: u64) -> Mono {
    Mono::ZERO + Span::minutes(minutes)
}

#[test]
fn the_checkpoint_is_written_with_an_acknowledgement_once_its_time_has_come() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    let numbers: Vec<u64> = (1..10).collect();
    queue.append(&threats(), &page(&threats(), &numbers, 1), progress(9, 1), &[]).unwrap();
    let mut at = minutes(60);
    ack_one(&mut queue, at);
    for (pause, is_time) in [
        (CHECKPOINT_MINUTES_MIN - 1, false),
        (CHECKPOINT_MINUTES_MIN, true),
        (CHECKPOINT_MINUTES_MIN - 1, false),
        (CHECKPOINT_MINUTES_MIN + 1, true),
    ] {
        let before = written(&disk);
        ack_one(&mut queue, at + Span::minutes(pause));
        assert_eq!(written(&disk) != before, is_time, "after {pause} minutes");
        if is_time {
            at = at + Span::minutes(pause);
        }
    }
    // One that is written for a gap does not change when the next is due.
    let gap = Gap::open(&threats(), Stamp(9), Stamp(10), GapReason::Retention);
    let before = written(&disk);
    queue.append_past(&threats(), &[], progress(10, 9), &[], &[], gap).unwrap();
    let with_gap = written(&disk);
    assert_ne!(with_gap, before);
    ack_one(&mut queue, at + Span::minutes(CHECKPOINT_MINUTES_MIN - 1));
    assert_eq!(written(&disk), with_gap);
}

#[test]
fn a_checkpoint_has_the_newest_ids_within_its_bound() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    let many = CHECKPOINT_KNOWN_IDS_MAX as u64 + 100;
    let known: Vec<_> = (1..=many).map(key).collect();
    queue.append(&threats(), &[], progress(many, 1), &known).unwrap();
    queue.write_checkpoint(Mono(1));
    let read = Checkpoint::decode(&written(&disk)).unwrap();
    let expected: Vec<_> = (101..=many).map(key).collect();
    assert_eq!(read.streams[0].1, expected);
}

/// More frames than one commit takes are acknowledged in several.
#[test]
fn of_any_number_of_frames_at_once_nothing_is_left() {
    let many = TAKE_FRAMES_MAX as u64 + 70;
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    let mut frames = vec![frame(&threats(), &[1, 2]); many as usize];
    frames.iter_mut().for_each(|frame| frame.last_of_page = true);
    let last = frames.len() - 1;
    frames[last] = frame(&activities(), &[3, 4]);
    frames[last].last_of_page = true;
    queue.append(&threats(), &frames[..last], progress(2, 1), &[]).unwrap();
    queue.append(&activities(), &frames[last..], progress(4, 3), &[]).unwrap();
    let held = queue.ack(QueuePosition { seq: Seq(many), skip: 1 }, Mono(1)).unwrap();
    assert_eq!((held.records, held.oldest), (1, Some(Stamp(3))));
    let left: Vec<Seq> =
        queue.entries(Seq(0), 9_999).unwrap().iter().map(|entry| entry.seq).collect();
    assert_eq!(left, [Seq(many)]);
    let delivered = queue.streams.find(&threats()).unwrap().row.delivered;
    assert_eq!(delivered, Some(progress(2, 1)));
    drop(queue);
    assert_eq!(disk.open().1.held.records, 1);
}

/// A file that can't be removed stays counted, until it can be; one that is gone is not.
#[test]
fn a_file_is_given_back_once_it_is_gone() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[1], 1), progress(1, 1), &[]).unwrap();
    disk.fail_after(1, Fault::Once(std::io::ErrorKind::Other));
    assert!(!queue.give_back_file(1));
    assert_eq!((queue.log.lens.contains_key(&1), queue.log.active), (true, Some(1)));
    disk.clone().remove(&log::path(1)).unwrap();
    assert!(queue.give_back_file(1));
    assert_eq!((queue.log.lens.len(), queue.log.active), (0, None));
}

/// Bytes of a log file that are no frames are kept aside, not removed with it.
#[test]
fn a_file_in_which_damage_was_found_is_set_aside_when_all_else_of_it_is_delivered() {
    for is_damaged in [true, false] {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        let frames = page(&threats(), &[1, 2, 3], 1);
        for (frame, n) in frames.iter().zip(1..) {
            let one = crate::frame::Frame { last_of_page: true, ..frame.clone() };
            queue.append(&threats(), &[one], progress(n, n), &[]).unwrap();
        }
        let second = queue.entries(Seq(2), 1).unwrap()[0];
        drop(queue);
        disk.lose_indexes();
        if is_damaged {
            disk.tamper(&log::path(1), |bytes| bytes[second.offset as usize + 5] ^= 1);
        }
        let (mut queue, ..) = disk.open();
        while let Some(peeked) = queue.peek(ALL).unwrap() {
            queue.ack(peeked.sent.end, Mono(1)).unwrap();
        }
        queue.give_back_file(1);
        let aside = Fixture::files(&disk, "quarantine");
        assert_eq!(aside.iter().any(|name| name.ends_with(".log")), is_damaged, "{aside:?}");
        assert!(!disk.files().contains(&log::path(1)));
        assert!(queue.log.damaged.is_empty());
    }
}

/// With the index lost, a gap is not reported a second time; a heartbeat says nothing that would be missed.
#[test]
fn the_checkpoint_knows_at_once_which_gaps_are_reported() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    let gap = Gap::open(&threats(), Stamp(9), Stamp(10), GapReason::Retention);
    queue.append_past(&threats(), &[], progress(10, 9), &[], &[], gap).unwrap();
    let own = crate::record::StreamName::collector("acme");
    let mut tell = |id: u64| {
        let before = written(&disk);
        let mut frames = page(&own, &[id + 1], 1);
        frames[0].entries[0].key.id = id;
        queue.append(&own, &frames, progress(20 + id, 20), &[]).unwrap();
        written(&disk) != before
    };
    // The first page of a stream is in the checkpoint anyway.
    assert!(tell(super::gaps::HEARTBEAT_ID));
    assert!(!tell(super::gaps::HEARTBEAT_ID));
    assert!(tell(1));
    assert!(!tell(super::gaps::HEARTBEAT_ID));
}

/// What did not fit is asked for again only until something fits.
#[test]
fn a_page_that_fits_ends_that_the_queue_is_full() {
    let limits = super::QueueLimits { max_size_bytes: 16 << 20, min_free_bytes: 0 };
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.try_open(limits).unwrap();
    queue.append(&threats(), &page(&threats(), &[1], 1), progress(1, 1), &[]).unwrap();
    assert_eq!(queue.held().room, crate::record::Room::Free);
    let big = [big_frame(&threats(), 2, 15 << 20)];
    queue.append(&threats(), &big, progress(2, 1), &[]).unwrap_err();
    assert_eq!(queue.held().room, crate::record::Room::QueueFull);
    queue.append(&threats(), &page(&threats(), &[2], 1), progress(2, 1), &[]).unwrap();
    assert_eq!(queue.held().room, crate::record::Room::Free);
}

/// The disk turns out to be full only when the page is written: it is not tried again before there is space.
#[test]
fn a_page_for_which_the_disk_had_no_space_waits_for_it() {
    for n in 1..20 {
        let disk = MemDisk::new(24 << 20);
        let (mut queue, ..) = disk.open();
        queue.append(&threats(), &page(&threats(), &[1], 1), progress(1, 1), &[]).unwrap();
        disk.fail_after(n, Fault::Once(std::io::ErrorKind::StorageFull));
        let big = [big_frame(&threats(), 2, 9 << 20)];
        let stored = queue.append(&threats(), &big, progress(2, 1), &[]);
        disk.heal();
        let Err(super::QueueError::DiskFull) = stored else { continue };
        disk.set_capacity(14 << 20);
        let rooms: Vec<_> = (0..100).map(|_| queue.held().room).collect();
        assert!(!rooms.contains(&crate::record::Room::Free), "operation {n}");
        disk.set_capacity(64 << 20);
        assert!((0..100).any(|_| queue.held().room == crate::record::Room::Free), "operation {n}");
        return;
    }
    panic!("no page was refused");
}

/// A frame of which all records are delivered is the head's frame until the next one is.
#[test]
fn a_delivered_frame_at_the_head_is_nothing_that_waits() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[1, 2], 2), progress(2, 1), &[]).unwrap();
    let held = queue.ack(QueuePosition { seq: Seq(1), skip: 2 }, Mono(1)).unwrap();
    assert_eq!((held.records, held.oldest), (0, None));
}

#[test]
fn a_heartbeat_waits_until_it_is_delivered() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    let own = crate::record::StreamName::collector("acme");
    let mut frames = page(&own, &[1], 1);
    frames[0].entries[0].key.id = super::gaps::HEARTBEAT_ID;
    assert!(!queue.held().heartbeat_waits);
    queue.append(&own, &frames, progress(1, 1), &[]).unwrap();
    assert!(queue.held().heartbeat_waits);
    ack_one(&mut queue, Mono(1));
    assert!(!queue.held().heartbeat_waits);
}

/// The tally begins at a time from which on it has every record: at that time exactly, and before its end.
#[test]
fn a_tally_speaks_of_what_was_created_since_it_began() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.tally(&threats(), 1_000);
    let created = |n: i64, id: u64| crate::record::RowKey { stamp: Stamp::from_seconds(n), id };
    let at = crate::record::Progress { position: Stamp::from_seconds(9), from: Stamp(1) };
    let frames = page(&threats(), &[9], 1);
    queue.append_tallied(&threats(), &frames, at, &[], &[created(9, 9)]).unwrap();
    let since = queue.collected(&threats(), None, Stamp::from_seconds(99)).unwrap().0;
    let second = since.0 / 1_000_000;
    assert_eq!(queue.collected(&threats(), None, since), None);
    assert_eq!(queue.collected(&threats(), Some(Stamp::from_seconds(50)), since), None);
    let keys =
        [created(9, 9), created(second - 1, 70), created(second, 71), created(second + 1, 72)];
    assert_eq!(queue.unseen(&threats(), &keys), [false, false, true, true]);
}

/// A page that is stored while nothing is tallied is not counted, so that the count before it is over: also
/// where that had no record yet, and the page does not move its stream.
#[test]
fn a_tally_without_ids_ends_with_a_page_that_is_not_counted() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.tally(&threats(), 1_000);
    queue.append_tallied(&threats(), &[], progress(5, 5), &[], &[]).unwrap();
    let ever = Stamp::from_seconds(1_000_000);
    assert!(queue.collected(&threats(), None, ever).is_some());
    queue.tally(&threats(), 0);
    queue.append(&threats(), &page(&threats(), &[5], 1), progress(5, 5), &[]).unwrap();
    assert_eq!(queue.collected(&threats(), None, ever), None);
    drop(queue);
    assert_eq!(disk.open().0.collected(&threats(), None, ever), None);
}

/// Nothing tells any more which gap they are of: the records are polled again, and that is all.
#[test]
fn records_of_a_gap_that_is_only_counted_are_awaited_no_more() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[1], 1), progress(1, 1), &[]).unwrap();
    let entry = queue.entries(Seq(1), 1).unwrap()[0];
    let last = (entry.offset + u64::from(entry.len)) as usize - 1;
    disk.tamper(&log::path(entry.file), |bytes| bytes[last] ^= 1);
    let Err(super::QueueError::Damaged { seq, why }) = queue.peek(ALL) else { panic!() };
    queue.quarantine(seq, &why).unwrap();
    assert!(!queue.awaited.is_empty());
    let own = crate::record::StreamName::collector("acme");
    let number = queue.gaps()[0].number;
    let mut frames = page(&own, &[number], 1);
    frames[0].entries[0].key.id = number;
    queue.append(&own, &frames, progress(1, 1), &[]).unwrap();
    for n in 0..crate::limits::GAPS_MAX as i64 {
        let at = Stamp(100 + n);
        let gap = Gap::open(&threats(), at, at, GapReason::Retention);
        queue.append_past(&threats(), &[], progress(1, 1), &[], &[], gap).unwrap();
    }
    assert!(queue.gaps().iter().all(|gap| gap.number != number));
    assert!(queue.awaited.is_empty());
    drop(queue);
    assert!(disk.open().0.awaited.is_empty());
}
