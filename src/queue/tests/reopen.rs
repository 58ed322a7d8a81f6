//! Going on after the index failed: what is kept, what is given up, and what is told.

use std::io::ErrorKind;

use super::super::disk::Disk;
use super::super::index::{Index, IndexFault, IndexStore};
use super::super::mem::{Fault, MemDisk};
use super::super::schema::{ChunkId, State};
use super::super::space::{QUARANTINE, RESERVE};
use super::super::testing::*;
use super::super::{MemQueue, OpenError, QueueError, QueueLimits};
use crate::limits::{INDEX_NO_SPACE_MAX, INDEX_REPLACED_MAX};
use crate::record::{Kind, Seq, Take};
use crate::time::{Mono, Stamp};

const ONE: Take = Take { entries_max: 1, ..ALL };
const CAPACITY: u64 = 128 << 20;
/// With a short reserve, which is quick to write.
const SMALL: QueueLimits = QueueLimits { max_size_bytes: 8 << 20, min_free_bytes: 0 };
const NOW: Mono = Mono(1);

fn store(queue: &mut MemQueue, numbers: &[u64]) {
    let last = numbers[numbers.len() - 1];
    let keys: Vec<_> = numbers.iter().map(|n| key(*n)).collect();
    let frames = page(&threats(), numbers, 1);
    queue.append_tallied(&threats(), &frames, progress(last, numbers[0]), &keys, &keys).unwrap();
}

fn take_one(queue: &mut MemQueue) -> Option<u64> {
    let given = queue.peek(ONE).unwrap()?;
    let (kind, number) = all_numbers(&given)[0];
    assert_eq!(kind, Kind::Threats);
    queue.ack(given.sent.end, NOW).unwrap();
    Some(number)
}

fn drain(queue: &mut MemQueue) -> Vec<u64> {
    let numbers: Vec<u64> = std::iter::from_fn(|| take_one(queue)).take(100).collect();
    assert!(numbers.len() < 100, "it comes again and again: {numbers:?}");
    numbers
}

/// Six records of two pages; the first one is delivered.
fn six(disk: &MemDisk) -> MemQueue {
    let (mut queue, ..) = disk.try_open(SMALL).unwrap();
    queue.tally(&threats(), 1_000);
    store(&mut queue, &[1, 2, 3]);
    store(&mut queue, &[4, 5, 6]);
    assert_eq!(take_one(&mut queue), Some(1));
    queue
}

fn reasons(queue: &mut MemQueue) -> Vec<&'static str> {
    let (_, findings) = queue.reopen().unwrap();
    findings.iter().map(|finding| finding.reason).collect()
}

/// Takes all space away, so that the index can't be written.
fn without_space(disk: &MemDisk, queue: &mut MemQueue) {
    disk.set_capacity(0);
    let end = queue.peek(ONE).unwrap().unwrap().sent.end;
    let refused = queue.ack(end, NOW);
    assert!(matches!(refused, Err(QueueError::NoSpace(_))), "{refused:?}");
    assert_eq!(reasons(queue), ["index-no-space"]);
    assert!(queue.is_unindexed() && queue.index.is_none());
    assert_eq!(
        disk.clone().index_store().newest().unwrap(),
        Some(queue.number),
        "it is the one to go on with"
    );
}

fn with_space(disk: &MemDisk, queue: &mut MemQueue) {
    disk.set_capacity(CAPACITY);
    assert!((0..500).any(|_| queue.may_be_indexed()), "there is space");
}

#[test]
fn a_process_that_lost_its_index_for_a_while_goes_on_where_it_stood() {
    let disk = MemDisk::new(CAPACITY);
    let mut queue = six(&disk);
    let stood = queue.stream_status(&threats());
    let chunk = ChunkId { newest: Stamp(6), number: 99 };
    queue.streams.named(&threats()).tally.learn(chunk, vec![key(1), key(6)]);
    assert!(!queue.may_be_indexed());
    without_space(&disk, &mut queue);
    assert!(!queue.may_be_indexed());
    assert_eq!(queue.held().records, 4);
    assert_eq!(take_one(&mut queue), Some(3));
    with_space(&disk, &mut queue);
    assert_eq!(reasons(&mut queue), ["index-written-again"]);
    assert!(!queue.is_unindexed());
    assert_eq!(Fixture::files(&disk, QUARANTINE), Vec::<String>::new(), "nothing is broken");
    assert_eq!(disk.clone().index_store().newest().unwrap(), Some(queue.number));
    assert_eq!(queue.stream_status(&threats()), stood);
    assert_eq!(queue.streams.named(&threats()).tally.unseen(&[1, 6]), [false, false]);
    let kept = disk.clone().index_store().open(0).unwrap().get(b"c").unwrap();
    assert_eq!((queue.number > 0, kept), (true, None), "the one before is removed");
    assert_eq!(take_one(&mut queue), Some(4));
    drop(queue);
    disk.kill();
    let (mut queue, opened, found) = disk.open();
    assert_eq!((opened.streams[0].clone(), found), (stood, vec![]));
    assert_eq!((drain(&mut queue), queue.gaps()), (vec![5, 6], vec![]));
}

/// How a process may stand that has to open its index again.
const BROKEN: fn(&MemDisk, &mut MemQueue) = |_, queue| queue.drop_index();
const FULL: fn(&MemDisk, &mut MemQueue) = |disk, queue| {
    without_space(disk, queue);
    with_space(disk, queue);
};
const STARTED_FULL: fn(&MemDisk, &mut MemQueue) = |disk, queue| {
    let spare = MemDisk::new(CAPACITY);
    let opened = spare.try_open(SMALL).unwrap().0;
    drop(std::mem::replace(queue, opened));
    disk.set_capacity(0);
    *queue = disk.try_open(SMALL).unwrap().0;
    assert!(queue.is_unindexed());
    assert_eq!(take_one(queue), Some(2));
    with_space(disk, queue);
};

/// Lets each operation of a `reopen` fail once with this error.
fn fail_each(
    stand: fn(&MemDisk, &mut MemQueue),
    kind: ErrorKind,
    look: impl Fn(&MemDisk, MemQueue, Result<(), OpenError>, &str),
) {
    for n in 1..200 {
        let disk = MemDisk::new(CAPACITY);
        let mut queue = six(&disk);
        stand(&disk, &mut queue);
        disk.fail_after(n, Fault::Once(kind));
        let outcome = queue.reopen().map(drop);
        let has_failed = disk.has_failed();
        disk.heal();
        look(&disk, queue, outcome, &format!("{kind}, operation {n}"));
        if !has_failed {
            return;
        }
    }
    panic!("it never ends");
}

fn ends_well(disk: &MemDisk, mut queue: MemQueue, expected: &[u64], told: &str) {
    assert_eq!(drain(&mut queue), expected, "{told}");
    assert_eq!(queue.gaps(), [], "{told}");
    drop(queue);
    disk.kill();
    let (mut queue, opened, _) = disk.try_open(SMALL).unwrap();
    assert_eq!(opened.streams[0].progress.map(|at| at.position), Some(Stamp(6)), "{told}");
    assert_eq!((drain(&mut queue), queue.gaps()), (vec![], vec![]), "{told}");
}

#[test]
fn a_reopen_that_the_system_refuses_leaves_all_for_the_next_start() {
    // The index itself may be whole, of a process that started without it.
    for (stand, expected, may_be_whole) in [
        (BROKEN, &[2, 3, 4, 5, 6][..], false),
        (FULL, &[3, 4, 5, 6], false),
        (STARTED_FULL, &[3, 4, 5, 6], true),
    ] {
        let refused = std::cell::Cell::new(0);
        fail_each(stand, ErrorKind::OutOfMemory, |disk, mut queue, outcome, told| {
            if outcome.is_err() {
                refused.set(refused.get() + 1);
                let is_whole = may_be_whole && queue.index.is_some();
                assert!(is_whole || queue.index.is_none(), "{told}: it was not finished");
                assert!(is_whole || queue.peek(ONE).is_err(), "{told}: it was not finished");
                queue.close_unsettled(Mono(9_999_999));
                disk.kill();
                queue = disk.try_open(SMALL).unwrap().0;
            }
            ends_well(disk, queue, expected, told);
        });
        assert!(refused.get() > 1, "it lost its teeth");
    }
}

#[test]
fn a_reopen_can_be_tried_again_with_what_the_process_knows() {
    for (stand, expected) in [(BROKEN, &[2, 3, 4, 5, 6][..]), (FULL, &[3, 4, 5, 6])] {
        fail_each(stand, ErrorKind::OutOfMemory, |disk, mut queue, outcome, told| {
            if outcome.is_err() {
                let State { next_seq, records, .. } = queue.state;
                assert_eq!((next_seq, records), (Seq(7), expected.len() as u64), "{told}");
                queue.reopen().unwrap();
            }
            assert!(queue.streams.named(&threats()).known(Stamp(0)).contains(&key(4)), "{told}");
            assert_eq!(queue.held().records, expected.len() as u64, "{told}");
            ends_well(disk, queue, expected, told);
        });
    }
}

/// `parked/` could not be listed: that says nothing of the index.
fn is_of_parked(outcome: &Result<(), OpenError>) -> bool {
    matches!(outcome, Err(OpenError::System { why, .. }) if why.starts_with("parked could not be"))
}

#[test]
fn one_more_failure_of_an_index_is_met_with_one_more_index() {
    fail_each(BROKEN, ErrorKind::Other, |disk, queue, outcome, told| {
        if is_of_parked(&outcome) {
            return;
        }
        assert!(outcome.is_ok(), "{told}: {outcome:?}");
        // A frame that the disk did not return is lost, and told.
        if queue.gaps().is_empty() {
            ends_well(disk, queue, &[2, 3, 4, 5, 6], told);
        }
    });
}

#[test]
fn a_disk_that_is_full_for_a_moment_gets_the_reserve() {
    let lacked = std::cell::Cell::new(0);
    fail_each(BROKEN, ErrorKind::StorageFull, |disk, queue, outcome, told| {
        if is_of_parked(&outcome) {
            return;
        }
        assert!(outcome.is_ok() && !queue.is_unindexed(), "{told}: {outcome:?}");
        // One that lacked space is not broken.
        assert_eq!(queue.replaced + queue.lacked_space, if queue.number > 1 { 2 } else { 1 });
        lacked.set(lacked.get() + queue.lacked_space);
        ends_well(disk, queue, &[2, 3, 4, 5, 6], told);
    });
    assert!(lacked.get() > 1, "{lacked:?}");
}

/// Nothing could be noted of what was lost or set aside.
#[test]
fn without_an_index_nothing_is_given_up_or_parked() {
    let disk = MemDisk::new(CAPACITY);
    let mut queue = six(&disk);
    without_space(&disk, &mut queue);
    // As far as the disk is concerned it could be.
    disk.set_capacity(CAPACITY);
    let before = (queue.stream_status(&threats()), queue.state, queue.gaps());
    let first = queue.peek(ONE).unwrap().unwrap().sent.first;
    assert_eq!(queue.quarantine(Seq(4), "a test").map(drop), Err(QueueError::DiskFull));
    assert_eq!(queue.park(first, None, "400").map(drop), Err(QueueError::DiskFull));
    assert_eq!((queue.stream_status(&threats()), queue.state, queue.gaps()), before);
    assert_eq!(Fixture::files(&disk, "parked"), Vec::<String>::new());
}

#[test]
fn without_an_index_a_damaged_record_is_not_called_damaged() {
    let disk = MemDisk::new(CAPACITY);
    let mut queue = six(&disk);
    let entry = queue.entries(Seq(3), 1).unwrap().remove(0);
    without_space(&disk, &mut queue);
    let last = (entry.offset + u64::from(entry.len)) as usize - 1;
    disk.tamper("log/0000000000000001.log", |bytes| bytes[last] ^= 1);
    let refused = queue.peek(ONE).map(drop);
    assert!(matches!(refused, Err(QueueError::System(_))), "{refused:?}");
}

/// Its log may be whole and the index broken: then nobody knows what waits.
#[test]
fn a_broken_index_for_which_there_is_no_space_is_not_gone_on_without() {
    let disk = MemDisk::new(CAPACITY);
    let mut queue = six(&disk);
    queue.drop_index();
    disk.set_capacity(0);
    let refused = queue.reopen().map(drop);
    assert!(matches!(refused, Err(OpenError::Full { .. })), "{refused:?}");
    assert!(!queue.is_unindexed() && queue.index.is_none());
    disk.set_capacity(CAPACITY);
    queue.reopen().unwrap();
    ends_well(&disk, queue, &[2, 3, 4, 5, 6], "with space");
}

/// What was found while it was built is found again by the next one.
#[test]
fn gaps_of_an_index_that_was_not_finished_are_not_noted() {
    let mut met = 0;
    for n in 1..200 {
        let disk = MemDisk::new(CAPACITY);
        let mut queue = six(&disk);
        damage_header(&disk, 5);
        queue.drop_index();
        queue.refused_by = Some(IndexFault::Full);
        queue.space.has_reserve = false;
        disk.fail_after(n, Fault::Once(ErrorKind::StorageFull));
        let outcome = queue.reopen().map(drop);
        let has_failed = disk.has_failed();
        disk.heal();
        if outcome.is_ok() {
            assert_eq!(queue.gaps().is_empty(), queue.is_unindexed(), "operation {n}");
            met += u32::from(queue.is_unindexed());
        }
        if !has_failed {
            assert!(met > 3, "{met}");
            return;
        }
    }
    panic!("it never ends");
}

#[test]
fn a_start_that_finds_the_disk_full_opens_the_index_in_the_place_of_the_reserve() {
    let disk = MemDisk::new(CAPACITY);
    drop(six(&disk));
    let used = CAPACITY - disk.clone().free_bytes().unwrap();
    disk.set_capacity(used - 1);
    let (mut queue, _, findings) = disk.try_open(SMALL).unwrap();
    assert_eq!((queue.is_unindexed(), findings), (false, vec![]));
    assert!(!disk.files().iter().any(|file| file == RESERVE));
    assert_eq!(drain(&mut queue), [2, 3, 4, 5, 6]);
}

/// Of the frame with this number.
fn damage_header(disk: &MemDisk, lost: usize) {
    let log = format!("log/{}", Fixture::files(disk, "log")[0]);
    disk.tamper(&log, |bytes| {
        let at = bytes.windows(3).enumerate().filter(|(_, three)| three == b"S1F");
        let frame = at.map(|(at, _)| at).nth(lost - 1).unwrap();
        bytes[frame + 9] ^= 1;
    });
}

#[test]
fn what_the_log_lost_while_the_index_was_broken_is_collected_again() {
    for lost in [5, 8] {
        let disk = MemDisk::new(CAPACITY);
        let mut queue = six(&disk);
        store(&mut queue, &[7, 8, 9]);
        damage_header(&disk, lost);
        let lost = key(lost as u64);
        let chunk = ChunkId { newest: Stamp(9), number: 99 };
        queue.streams.named(&threats()).tally.learn(chunk, vec![lost]);
        queue.drop_index();
        let (opened, _) = queue.reopen().unwrap();
        let stands = &opened.streams[0];
        assert!(stands.progress.unwrap().from <= lost.stamp, "{:?}", stands.progress);
        assert!(!stands.known.contains(&lost), "{:?}", stands.known);
        let stream = queue.streams.named(&threats());
        assert!(!stream.known(Stamp(0)).contains(&lost));
        assert_eq!(stream.tally.unseen(&[lost.id]), [true]);
        assert!(!queue.gaps().is_empty(), "and told");
    }
}

#[test]
fn an_index_that_only_the_system_refuses_is_kept_however_often_it_is_refused() {
    let disk = MemDisk::new(CAPACITY);
    let mut queue = six(&disk);
    disk.fail_after(1, Fault::Always(ErrorKind::OutOfMemory));
    let refused = queue.set_back(&threats(), back_to_itself());
    assert!(matches!(refused, Err(QueueError::System(_))), "{refused:?}");
    for _ in 0..20 {
        let again = queue.reopen().map(drop);
        assert!(matches!(again, Err(OpenError::System { .. })), "{again:?}");
    }
    disk.heal();
    assert_eq!(reasons(&mut queue), Vec::<&str>::new());
    assert_eq!(Fixture::files(&disk, QUARANTINE), Vec::<String>::new());
    ends_well(&disk, queue, &[2, 3, 4, 5, 6], "healed");
}

fn back_to_itself() -> super::super::Back {
    let begin = progress(6, 1);
    let overlap = crate::time::Span::ZERO;
    super::super::Back { latest: Stamp(i64::MAX), overlap, begin, is_open: false }
}

#[test]
fn an_index_that_the_system_refuses_once_more_is_not_called_broken() {
    let stand = |_: &MemDisk, queue: &mut MemQueue| {
        queue.drop_index();
        queue.refused_by = Some(IndexFault::System);
    };
    fail_each(stand, ErrorKind::OutOfMemory, |disk, mut queue, outcome, told| {
        if outcome.is_err() {
            queue.reopen().unwrap();
        }
        assert_eq!(queue.replaced, 0, "{told}");
        assert_eq!(Fixture::files(disk, QUARANTINE), Vec::<String>::new(), "{told}");
        ends_well(disk, queue, &[2, 3, 4, 5, 6], told);
    });
}

#[test]
fn an_index_that_turns_out_broken_after_the_system_refused_it_is_replaced() {
    let disk = MemDisk::new(CAPACITY);
    let mut queue = six(&disk);
    queue.drop_index();
    queue.refused_by = Some(IndexFault::System);
    disk.fail_after(1, Fault::Once(ErrorKind::Other));
    queue.reopen().unwrap();
    ends_well(&disk, queue, &[2, 3, 4, 5, 6], "replaced");
}

#[test]
fn replacements_are_counted_and_what_was_replaced_is_set_aside_with_the_reason() {
    let disk = MemDisk::new(CAPACITY);
    let mut queue = six(&disk);
    for n in 0..INDEX_REPLACED_MAX {
        queue.drop_index();
        queue.reopen().unwrap();
        let noted = Fixture::files(&disk, QUARANTINE).pop().unwrap();
        assert!(noted.ends_with(&format!("-index.{n}.txt")), "{noted}");
        assert_eq!(disk.clone().index_store().newest().unwrap(), Some(n + 1));
    }
    queue.drop_index();
    let last = queue.reopen().map(drop);
    assert!(matches!(last, Err(OpenError::ReplacedTooOften { .. })), "{last:?}");
}

#[test]
fn an_index_that_lacked_space_is_replaced_more_often_and_not_set_aside() {
    let disk = MemDisk::new(CAPACITY);
    let mut queue = six(&disk);
    for n in 0..=INDEX_NO_SPACE_MAX {
        queue.drop_index();
        queue.refused_by = Some(IndexFault::Full);
        let outcome = queue.reopen().map(drop);
        assert_eq!(outcome.is_ok(), n < INDEX_NO_SPACE_MAX, "{n}: {outcome:?}");
    }
    assert_eq!(disk.clone().index_store().newest().unwrap(), Some(INDEX_NO_SPACE_MAX));
    assert_eq!(Fixture::files(&disk, QUARANTINE), Vec::<String>::new());
}

#[test]
fn a_start_does_not_try_a_failing_index_for_ever() {
    for n in 1..300 {
        let disk = MemDisk::new(CAPACITY);
        disk.fail_after(n, Fault::Always(ErrorKind::Other));
        let opened = disk.try_open(SMALL).map(drop);
        if !disk.has_failed() {
            return;
        }
        drop(opened);
    }
    panic!("it never ends");
}

#[test]
fn files_whose_acknowledgement_failed_are_given_back_by_the_new_index() {
    for n in 1..20 {
        let disk = MemDisk::new(CAPACITY);
        drop(six(&disk));
        let (mut queue, ..) = disk.try_open(SMALL).unwrap();
        store(&mut queue, &[7]);
        assert_eq!(Fixture::files(&disk, "log").len(), 2);
        let end = queue.peek(Take { entries_max: 5, ..ALL }).unwrap().unwrap().sent.end;
        disk.fail_after(n, Fault::Once(ErrorKind::Other));
        let acked = queue.ack(end, NOW);
        disk.heal();
        if !matches!(acked, Err(QueueError::Broken(_))) || queue.state.head != end {
            continue;
        }
        queue.reopen().unwrap();
        assert_eq!(Fixture::files(&disk, "log").len(), 1);
        return;
    }
    panic!("no acknowledgement failed");
}
