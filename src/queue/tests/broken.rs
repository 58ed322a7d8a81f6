//! A store that failed once is left alone (P9): what a failing operation leaves behind, and what the
//! queue may still do with it.
//!
//! Promises: every operation of an `append` is failed once; the layers around, which would mend what
//! is wrong here, are not looked at.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use super::disk::Disk;
use super::mem::{Fault, MemDisk};
use super::testing::*;
use super::{MemQueue, QueueError};
use crate::record::{QueueStatus, Room};

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
            }
        });
    }
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
