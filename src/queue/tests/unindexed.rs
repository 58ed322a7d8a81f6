//! What leaves the queue undelivered while there is no space to write of it.

use std::io::ErrorKind;

use super::QueueError;
use super::mem::{Fault, MemDisk};
use super::testing::*;
use crate::record::{QueueStatus, Take};
use crate::time::Mono;

const ONE: Take = Take { entries_max: 1, ..ALL };
const CAPACITY: u64 = 128 << 20;

/// Lets each operation of what takes the first of three records aside find no space, and goes on without an
/// index until the next one is delivered and the process killed. Either the first was given out again, or
/// its gap is known. Answers how often the index was what found no space.
fn aside_without_space(
    aside: impl Fn(&mut super::MemQueue) -> Result<QueueStatus, QueueError>,
    damage: impl Fn(&MemDisk),
) -> u32 {
    let mut met = 0;
    for n in 1..60 {
        let disk = MemDisk::new(CAPACITY);
        let (mut queue, ..) = disk.open();
        queue.append(&threats(), &page(&threats(), &[1, 2, 3], 1), progress(3, 1), &[]).unwrap();
        damage(&disk);
        // Whether a commit that failed was made all the same goes by the number of operations.
        (0..n % 2).for_each(|_| assert_eq!(queue.held().records, 3));
        disk.fail_after(n, Fault::Once(ErrorKind::StorageFull));
        let outcome = aside(&mut queue);
        disk.heal();
        let Err(QueueError::NoSpace(_)) = outcome else { continue };
        met += 1;
        disk.set_capacity(0);
        queue.reopen().unwrap();
        assert!(queue.is_unindexed());
        assert!(matches!(aside(&mut queue), Err(QueueError::DiskFull)), "not without an index");
        let given = queue.peek(ONE).map(|peeked| peeked.unwrap());
        let is_first = given.as_ref().is_ok_and(|peeked| all_numbers(peeked)[0].1 == 1);
        if let Ok(given) = &given {
            queue.ack(given.sent.end, Mono(1)).unwrap();
        }
        drop(queue);
        disk.kill();
        disk.set_capacity(CAPACITY);
        let (queue, opened, _) = disk.open();
        let waits = opened.held.records == 3;
        assert!(is_first || waits || queue.gaps().len() == 1, "operation {n}: it is gone unheard");
    }
    met
}

/// Three pages of three processes, each in a file of the log of its own; the queue is open no more.
fn three_files(disk: &MemDisk) {
    for process in 0..3_u64 {
        let numbers: Vec<u64> = (process * 10 + 1..process * 10 + 6).collect();
        let (mut queue, ..) = disk.open();
        let frames = page(&threats(), &numbers, 1);
        let known: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
        queue.append(&threats(), &frames, progress(numbers[4], 1), &known).unwrap();
    }
    assert_eq!(Fixture::files(disk, "log").len(), 3);
}

/// Delivers what is given out, and answers with the numbers.
fn drain(queue: &mut super::MemQueue) -> (Vec<u64>, Result<(), QueueError>) {
    let mut numbers = Vec::new();
    loop {
        match queue.peek(ONE) {
            Ok(None) => return (numbers, Ok(())),
            Ok(Some(given)) => {
                numbers.extend(all_numbers(&given).iter().map(|(_, number)| *number));
                queue.ack(given.sent.end, Mono(1)).unwrap();
            }
            Err(error) => return (numbers, Err(error)),
        }
    }
}

const FIRST: [u64; 5] = [1, 2, 3, 4, 5];
const REST: [u64; 10] = [11, 12, 13, 14, 15, 21, 22, 23, 24, 25];

#[test]
fn a_damaged_frame_stops_delivery_and_its_file_stays() {
    let disk = MemDisk::new(CAPACITY);
    three_files(&disk);
    // The header of the third frame of the last file.
    let last = format!("log/{}", Fixture::files(&disk, "log").pop().unwrap());
    disk.tamper(&last, |bytes| {
        let at = bytes.windows(4).enumerate().filter(|(_, four)| four.starts_with(b"S1F"));
        let third = at.map(|(at, _)| at).nth(2).unwrap();
        bytes[third + 9] ^= 1;
    });
    disk.set_capacity(0);
    let (mut queue, ..) = disk.open();
    assert!(queue.is_unindexed());
    let (numbers, ended) = drain(&mut queue);
    assert_eq!(numbers, [&FIRST[..], &REST[..7]].concat());
    assert!(matches!(ended, Err(QueueError::System(_))), "{ended:?}");
    assert!(queue.held().records > 0, "something waits");
    drop(queue);
    disk.kill();
    let (queue, ..) = disk.open();
    assert!(Fixture::files(&disk, "log").contains(&last["log/".len()..].to_owned()));
    drop(queue);
    disk.set_capacity(CAPACITY);
    let (mut queue, ..) = disk.open();
    let damaged = drain(&mut queue).1;
    let Err(QueueError::Damaged { seq, why }) = damaged else { panic!("{damaged:?}") };
    queue.quarantine(seq, &why).unwrap();
    assert_eq!(queue.gaps().len(), 1);
    assert_eq!(drain(&mut queue), (vec![24, 25], Ok(())));
}

/// Each operation of the start after a process without an index finds no space, once.
#[test]
fn what_was_delivered_without_an_index_is_no_hole_for_the_next_start() {
    let mut met = 0;
    for n in 1..90 {
        let disk = MemDisk::new(CAPACITY);
        three_files(&disk);
        disk.set_capacity(0);
        let (mut queue, ..) = disk.open();
        for number in FIRST {
            let given = queue.peek(ONE).unwrap().unwrap();
            assert_eq!(all_numbers(&given)[0].1, number);
            queue.ack(given.sent.end, Mono(1)).unwrap();
        }
        drop(queue);
        disk.kill();
        assert_eq!(Fixture::files(&disk, "log").len(), 2, "the first file is given back");
        disk.set_capacity(CAPACITY);
        disk.fail_after(n, Fault::Once(ErrorKind::StorageFull));
        let opened = disk.try_open(LIMITS);
        met += u32::from(disk.has_failed());
        disk.heal();
        let mut numbers = Vec::new();
        if let Ok((mut queue, ..)) = opened {
            let given = queue.peek(ONE).unwrap().unwrap();
            numbers.push(all_numbers(&given)[0].1);
            queue.ack(given.sent.end, Mono(1)).unwrap();
            drop(queue);
        }
        disk.kill();
        let (mut queue, opened, found) = disk.open();
        numbers.extend(drain(&mut queue).0);
        assert_eq!(numbers, REST, "operation {n}");
        assert_eq!(queue.gaps(), [], "operation {n}: {found:?}");
        let position = opened.streams[0].progress.map(|progress| progress.position);
        assert_eq!(position, Some(key(25).stamp), "operation {n}");
    }
    assert!(met > 10, "{met}: it lost its teeth");
}

/// A page of long records lies in several files, and the commit that told the index of it was not made.
#[test]
fn a_long_page_that_only_the_log_knows_is_learned_once_there_is_an_index() {
    let disk = MemDisk::new(CAPACITY);
    let (mut queue, ..) = disk.open();
    // The checkpoint knows of the stream, as that of every stream that has begun.
    queue.append(&threats(), &[], progress(0, 0), &[]).unwrap();
    let before = disk.indexes();
    let mut frames = page(&threats(), &[1, 2, 3, 4, 5], 1);
    frames.iter_mut().for_each(|frame| frame.deflated = vec![7; 3 << 20]);
    let known: Vec<_> = FIRST.iter().map(|number| key(*number)).collect();
    queue.append(&threats(), &frames, progress(5, 1), &known).unwrap();
    drop(queue);
    disk.kill();
    disk.set_indexes(before);
    assert_eq!(Fixture::files(&disk, "log").len(), 5);
    for _ in 0..2 {
        disk.set_capacity(0);
        let (mut queue, ..) = disk.open();
        assert!(queue.is_unindexed());
        while let Some(given) = queue.peek(ONE).unwrap() {
            queue.ack(given.sent.end, Mono(1)).unwrap();
        }
        drop(queue);
        disk.kill();
    }
    disk.set_capacity(CAPACITY);
    let (_, opened, _) = disk.open();
    assert_eq!(opened.held.records, 0);
    assert_eq!(opened.streams[0].progress, Some(progress(5, 1)));
    assert_eq!(opened.streams[0].known, known);
    assert_eq!(Fixture::files(&disk, "log"), Vec::<String>::new(), "then it is given back");
}

#[test]
fn an_index_that_was_not_finished_does_not_hide_the_one_before_it() {
    let disk = MemDisk::new(CAPACITY);
    three_files(&disk);
    super::index::Opener::open(&mut disk.opener(), 1).unwrap();
    let (_, opened, found) = disk.open();
    assert_eq!(found, Vec::<&str>::new());
    assert_eq!((opened.held.records, opened.streams[0].known.len()), (15, 15));
}

#[test]
fn a_refused_record_is_not_passed_without_its_gap() {
    let met = aside_without_space(
        |queue| {
            let first = queue.peek(ONE)?.expect("three wait").sent.first;
            queue.park(first, None, "400")
        },
        |_| (),
    );
    assert!(met > 0, "it lost its teeth");
}

#[test]
fn a_batch_in_doubt_is_not_passed_without_its_gap() {
    let met = aside_without_space(
        |queue| {
            let end = queue.peek(ONE)?.expect("three wait").sent.end;
            queue.doubt(end, "1 was not accepted")
        },
        |_| (),
    );
    assert!(met > 0, "it lost its teeth");
}

#[test]
fn a_damaged_frame_is_not_passed_without_its_gap() {
    let met = aside_without_space(
        |queue| match queue.peek(ONE) {
            Err(QueueError::Damaged { seq, why }) => {
                queue.quarantine(seq, &why).map(|opened| opened.held)
            }
            Err(QueueError::System(_)) => Err(QueueError::DiskFull),
            // Its gap was written before something else found no space.
            other => other.and(Err(QueueError::DiskFull)),
        },
        |disk| {
            let name = format!("log/{}", Fixture::files(disk, "log").remove(0));
            disk.tamper(&name, |bytes| {
                let end = bytes.len() / 3;
                bytes[end] ^= 0xff;
            });
        },
    );
    assert!(met > 0, "it lost its teeth");
}

/// What the config says of the names and addresses counts as soon as there is an index again, whatever fails
/// meanwhile: otherwise a stream would be polled from another tenant.
#[test]
fn a_config_that_was_read_without_an_index_is_followed_once_there_is_one() {
    let claim = |tenant: &str| super::adopt::Claim {
        name: "acme".to_owned(),
        name_was: None,
        tenant: tenant.to_owned(),
    };
    let mut met = 0;
    for n in 1..200 {
        let disk = MemDisk::new(CAPACITY);
        let (mut queue, ..) = disk.try_open(SMALL).unwrap();
        queue.claim(&[claim("https://one.example")]).unwrap();
        queue.append(&threats(), &page(&threats(), &[1], 1), progress(1, 1), &[]).unwrap();
        queue.close(Mono(1));
        disk.set_capacity(0);
        let (mut queue, ..) = disk.try_open(SMALL).unwrap();
        assert!(queue.is_unindexed());
        // The last claim counts: this config is of another address.
        queue.claim(&[claim("https://one.example")]).unwrap();
        queue.claim(&[claim("https://two.example")]).unwrap();
        disk.set_capacity(CAPACITY);
        disk.fail_after(n, Fault::Once(ErrorKind::Other));
        let mut reopened = queue.reopen();
        let has_failed = disk.has_failed();
        disk.heal();
        if reopened.is_err() || queue.is_unindexed() {
            reopened = queue.reopen();
        }
        let (opened, _) = reopened.unwrap_or_else(|why| panic!("operation {n}: {why:?}"));
        assert!(!queue.is_unindexed(), "operation {n}");
        assert!(opened.streams[0].hold.is_some(), "operation {n}: it would be polled");
        met += u32::from(has_failed);
        if !has_failed {
            break;
        }
    }
    assert!(met > 5, "{met}");
}
