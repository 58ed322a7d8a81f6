//! A store that failed once is left alone (P9): what a failing operation leaves behind, and what the
//! queue may still do with it.
//!
//! Promises: every operation of an `append` is failed once; the layers around, which would mend what
//! is wrong here, are not looked at.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use super::adopt::{AdoptError, SaidBy};
use super::disk::Disk;
use super::mem::{Fault, MemDisk};
use super::testing::*;
use super::{MemQueue, QueueError};
use crate::record::{QueuePosition, QueueStatus, Room, Seq};
use crate::time::Mono;

/// More operations than an `append` has.
const OPERATIONS_MAX: u64 = 60;

fn store(queue: &mut MemQueue, numbers: &[u64]) -> Result<QueueStatus, QueueError> {
    let last = *numbers.last().unwrap();
    let keys: Vec<_> = numbers.iter().map(|n| key(*n)).collect();
    queue.append(&threats(), &page(&threats(), numbers, 2), progress(last, 0), &keys)
}

fn log_lens(disk: &MemDisk) -> BTreeMap<String, u64> {
    let items = disk.clone().list("log").unwrap();
    items.into_iter().map(|item| (item.name, item.len)).collect()
}

/// Fails each operation of the second of two pages once, and shows what is then there.
fn fail_each(
    kind: ErrorKind,
    look: impl Fn(&MemDisk, &mut MemQueue, QueueError, BTreeMap<String, u64>),
) {
    let mut failed = 0;
    for n in 1..OPERATIONS_MAX {
        let disk = MemDisk::new(64 << 20);
        let (mut queue, _, _) = disk.open();
        store(&mut queue, &[1, 2, 3]).unwrap();
        let before = log_lens(&disk);
        disk.fail_after(n, Fault::Once(kind));
        let outcome = store(&mut queue, &[4, 5, 6, 7, 8]);
        let has_failed = disk.has_failed();
        disk.heal();
        if let Err(error) = outcome {
            failed += 1;
            look(&disk, &mut queue, error, before);
        } else if !has_failed {
            break;
        }
    }
    assert!(failed > 3, "only {failed} operations failed: the test lost its teeth");
}

#[test]
fn half_a_page_does_not_stay_in_the_log_where_nothing_was_committed() {
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        fail_each(kind, |disk, queue, _, before| {
            // A commit that failed may have been made; the page then belongs there.
            if queue.index.is_some() {
                assert_eq!(log_lens(disk), before);
                let counted: Vec<u64> = queue.log.lens.values().copied().collect();
                assert_eq!(counted, before.values().copied().collect::<Vec<_>>());
            }
            let row = &queue.streams.find(&threats()).unwrap().row;
            assert_eq!(row.progress, Some(progress(3, 0)), "nothing of it is passed over");
        });
    }
}

/// Nothing works from some operation on, so that half a page can't be taken back: its records count by the
/// log, which only a new index reads.
#[test]
fn what_can_not_be_taken_back_of_a_page_is_left_to_a_new_index() {
    for is_first in [false, true] {
        let mut left = 0;
        for n in 1..OPERATIONS_MAX {
            let disk = MemDisk::new(64 << 20);
            let (mut queue, _, _) = disk.try_open(SMALL).unwrap();
            if !is_first {
                store(&mut queue, &[1, 2, 3]).unwrap();
            }
            let before = log_lens(&disk);
            disk.fail_after(n, Fault::Always(ErrorKind::Other));
            let outcome = store(&mut queue, &[4, 5, 6, 7, 8]);
            disk.heal();
            if outcome.is_ok() {
                break;
            }
            left += u32::from(log_lens(&disk) != before);
            assert!(log_lens(&disk) == before || queue.index.is_none(), "operation {n}");
        }
        assert!(left > 3, "{left}");
    }
}

/// What was taken back stays away, also if the power goes then: its numbers are given again.
#[test]
fn a_page_that_was_taken_back_does_not_come_back_after_a_power_cut() {
    for n in 1..12 {
        for seed in 0..6 {
            let disk = MemDisk::new(64 << 20);
            let (mut queue, _, _) = disk.try_open(SMALL).unwrap();
            disk.fail_after(n, Fault::Once(ErrorKind::StorageFull));
            let outcome = store(&mut queue, &[4, 5, 6]);
            disk.heal();
            let is_undone = matches!(outcome, Err(QueueError::DiskFull));
            assert!(!is_undone || queue.log.lens.is_empty(), "operation {n}: it is counted");
            drop(queue);
            disk.power_cut(&mut crate::prng::Prng::new(seed));
            assert!(!is_undone || log_lens(&disk).is_empty(), "operation {n}");
        }
    }
}

/// The gap of a record that came is closed with its page, or not at all.
#[test]
fn a_gap_stays_open_where_the_page_that_closes_it_is_not_stored() {
    let mut failed = 0;
    for n in 1..OPERATIONS_MAX {
        let disk = MemDisk::new(64 << 20);
        let (mut queue, _, _) = disk.try_open(SMALL).unwrap();
        let reason = crate::record::GapReason::Unfetchable;
        let gap = crate::record::Gap {
            unread: crate::record::Unread { id: Some(4), bytes_min: None },
            ..crate::record::Gap::open(&threats(), key(4).stamp, key(5).stamp, reason)
        };
        assert!(!queue.has_gap_at(&gap));
        queue.append_past(&threats(), &[], progress(3, 0), &[], &[], gap.clone()).unwrap();
        assert!(queue.has_gap_at(&gap));
        disk.fail_after(n, Fault::Once(ErrorKind::Other));
        let frames = page(&threats(), &[4], 1);
        let outcome = queue.append_tallied(&threats(), &frames, progress(4, 0), &[], &[key(4)]);
        let has_failed = disk.has_failed();
        disk.heal();
        failed += u32::from(outcome.is_err());
        assert_eq!(queue.gaps()[0].closed, outcome.is_ok(), "operation {n}");
        if !has_failed {
            break;
        }
    }
    assert!(failed > 2, "{failed}");
}

#[test]
fn a_log_file_that_saw_an_error_is_not_written_to_again() {
    // A full disk leaves the queue in use, so nothing but this promise starts a new file.
    fail_each(ErrorKind::StorageFull, |disk, queue, error, _| {
        if matches!(error, QueueError::Broken(_) | QueueError::NoSpace(_)) {
            queue.reopen().unwrap();
        }
        // The core asks for room before it stores again; that takes the reserve back.
        let has_room = (0..100).any(|_| queue.held().room == Room::Free);
        assert!(has_room);
        let seen = log_lens(disk);
        store(queue, &[4, 5, 6, 7, 8]).unwrap();
        let after = log_lens(disk);
        for (name, len) in &seen {
            let now = after.get(name);
            assert!(now.is_none_or(|now| now == len), "{name} grew after an error");
        }
    });
}

/// What helps is another thing for each.
#[test]
fn the_error_of_a_commit_tells_what_the_disk_said() {
    type Is = fn(&QueueError) -> bool;
    let kinds: [(ErrorKind, Is); 4] = [
        (ErrorKind::Other, |error| matches!(error, QueueError::Broken(_))),
        (ErrorKind::OutOfMemory, |error| matches!(error, QueueError::System(_))),
        (ErrorKind::PermissionDenied, |error| matches!(error, QueueError::Denied(_))),
        (ErrorKind::StorageFull, |error| matches!(error, QueueError::NoSpace(_))),
    ];
    for (kind, is_it) in kinds {
        let disk = MemDisk::new(64 << 20);
        let (mut queue, _, _) = disk.try_open(SMALL).unwrap();
        // The commit is the only operation of a page without records.
        disk.fail_after(1, Fault::Once(kind));
        let error = queue.append(&threats(), &[], progress(3, 0), &[]).unwrap_err();
        assert!(is_it(&error) && queue.index.is_none(), "{kind}: {error:?}");
    }
}

#[test]
fn an_index_whose_commit_failed_is_not_asked_again() {
    let broken = std::cell::Cell::new(0);
    fail_each(ErrorKind::Other, |disk, queue, error, before| {
        // The page is in the log, so it was the commit after it that failed.
        if log_lens(disk) != before {
            broken.set(broken.get() + 1);
            assert!(matches!(error, QueueError::Broken(_)));
            assert!(queue.index.is_none(), "the handle is kept");
            assert!(matches!(store(queue, &[9]), Err(QueueError::Broken(_))));
            assert!(matches!(queue.peek(ALL), Err(QueueError::Broken(_))), "reads too");
        }
    });
    assert!(broken.get() > 0, "no commit failed: the test lost its teeth");
}

/// Also where there is nothing to be done: what is said of a queue must not come from memory alone.
#[test]
fn nothing_is_done_or_written_without_an_index() {
    type Act = fn(&mut MemQueue) -> bool;
    let is_broken =
        |outcome: Result<QueueStatus, QueueError>| matches!(outcome, Err(QueueError::Broken(_)));
    let acts: [(&str, Act); 8] = [
        ("ack", |queue| matches!(queue.ack(START, Mono(1)), Err(QueueError::Broken(_)))),
        ("claim", |queue| matches!(queue.claim(&[]), Err(QueueError::Broken(_)))),
        ("begin anew", |queue| {
            matches!(queue.begin_anew("acme", None), Err(QueueError::Broken(_)))
        }),
        ("adopt", |queue| {
            let adopted = queue.adopt_streams("old", "acme", SaidBy::Person);
            matches!(adopted, Err(AdoptError::Queue(QueueError::Broken(_))))
        }),
        ("append", |queue| matches!(store(queue, &[9]), Err(QueueError::Broken(_)))),
        ("doubt", |queue| matches!(queue.doubt(START, "some"), Err(QueueError::Broken(_)))),
        ("doubt all", |queue| {
            let end = QueuePosition { seq: Seq(9), skip: 0 };
            matches!(queue.doubt(end, "some"), Err(QueueError::Broken(_)))
        }),
        ("doubt page", |queue| {
            let frames = page(&threats(), &[9], 1);
            let done = queue.doubt_page(&threats(), &frames, (progress(9, 9), &[], &[]), "some");
            matches!(done, Err(QueueError::Broken(_)))
        }),
    ];
    for has_records in [true, false] {
        for (what, act) in acts {
            let disk = MemDisk::new(64 << 20);
            let (mut queue, _, _) = disk.try_open(SMALL).unwrap();
            if has_records {
                store(&mut queue, &[1, 2, 3]).unwrap();
            }
            // The commit is the only operation of a page without records.
            disk.fail_after(1, Fault::Once(ErrorKind::Other));
            let failed = queue.append(&threats(), &[], progress(3, 0), &[]);
            assert!(is_broken(failed) && queue.index.is_none());
            let mut read = disk.clone();
            let mut files = || {
                disk.files()
                    .into_iter()
                    .map(|path| (path.clone(), read.read(&path, 0, 1 << 20).unwrap()))
                    .collect::<Vec<_>>()
            };
            let before = files();
            assert!(act(&mut queue), "{what}, with records: {has_records}");
            assert_eq!(files(), before, "{what}, with records: {has_records}");
        }
    }
}

const START: QueuePosition = QueuePosition { seq: Seq(1), skip: 0 };
