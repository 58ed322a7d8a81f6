//! What leaves the queue undelivered while there is no space to write of it.

use std::io::ErrorKind;

use super::QueueError;
use super::disk::Disk;
use super::index::IndexStore;
use super::mem::{Fault, MemDisk};
use super::testing::*;
use crate::record::{QueuePosition, QueueStatus, Seq, Take};
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
                assert!(numbers.len() < 100, "it comes again and again: {numbers:?}");
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
    disk.clone().index_store().open(1).unwrap();
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

/// Also where it tells an address for the first time, which is a commit that may fail.
#[test]
fn a_config_whose_commit_fails_is_followed_by_the_next_index() {
    let mut met = 0;
    for n in 1..200 {
        let disk = MemDisk::new(CAPACITY);
        let (mut queue, ..) = disk.try_open(SMALL).unwrap();
        queue.append(&threats(), &page(&threats(), &[1], 1), progress(1, 1), &[]).unwrap();
        queue.close(Mono(1));
        disk.set_capacity(0);
        let (mut queue, ..) = disk.try_open(SMALL).unwrap();
        let (name, tenant) = ("acme".to_owned(), "https://one.example".to_owned());
        queue.claim(&[super::adopt::Claim { name, name_was: None, tenant }]).unwrap();
        disk.set_capacity(CAPACITY);
        disk.fail_after(n, Fault::Once(ErrorKind::Other));
        let reopened = queue.reopen().map(drop);
        let has_failed = disk.has_failed();
        disk.heal();
        if reopened.is_ok() && !queue.is_unindexed() {
            met += u32::from(has_failed);
            assert_eq!(queue.tenant_of("acme"), Some("https://one.example"), "operation {n}");
        }
        if !has_failed {
            assert!(met > 5, "{met}");
            return;
        }
    }
    panic!("it never ends");
}

/// The queue of three files, opened without space for its index.
fn started_without_space(disk: &MemDisk) -> super::MemQueue {
    disk.set_capacity(0);
    let (queue, _, found) = disk.open();
    assert!(queue.is_unindexed() && queue.index.is_none());
    assert_eq!(found, ["index-no-space"]);
    queue
}

/// Gives the space back, and answers with what is reported then.
fn indexed_again(disk: &MemDisk, queue: &mut super::MemQueue) -> Vec<&'static str> {
    disk.set_capacity(CAPACITY);
    assert!((0..500).any(|_| queue.may_be_indexed()), "there is space");
    let (_, findings) = queue.reopen().unwrap();
    assert!(!queue.is_unindexed());
    assert!(!disk.files().iter().any(|file| file.starts_with("opening.")), "{:?}", disk.files());
    findings.iter().map(|finding| finding.reason).collect()
}

fn held_frames(queue: &super::MemQueue) -> usize {
    queue.unindexed.as_ref().unwrap().frames_held()
}

#[test]
fn the_log_is_walked_in_order_and_little_of_it_is_held() {
    let disk = MemDisk::new(CAPACITY);
    three_files(&disk);
    let mut queue = started_without_space(&disk);
    for (from, max) in [(1, 3), (3, 2), (5, 1), (4, 4)] {
        let entries = queue.entries(Seq(from), max).unwrap();
        let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq.0).collect();
        assert_eq!(seqs, (from..from + max as u64).collect::<Vec<_>>());
        assert!(held_frames(&queue) < 15, "the whole log is in memory");
    }
    let all = [&FIRST[..], &REST[..]].concat();
    for (nth, number) in all.iter().enumerate() {
        assert_eq!(queue.held().oldest, Some(key(*number).stamp));
        assert_eq!(queue.held().records, (all.len() - nth) as u64);
        let given = queue.peek(ONE).unwrap().unwrap();
        assert_eq!(all_numbers(&given)[0].1, *number);
        queue.ack(given.sent.end, Mono(1)).unwrap();
        assert!(held_frames(&queue) <= all.len() - nth, "what is delivered is in memory");
        // A file goes when a later one begins with what waits; the last one may have to be learned.
        let left = 3 - (nth + 1).min(10) / 5;
        assert_eq!(Fixture::files(&disk, "log").len(), left, "after {number}");
    }
    assert_eq!((queue.held().records, queue.held().oldest), (0, None));
}

#[test]
fn a_part_of_a_frame_is_acknowledged_and_counted_without_an_index() {
    let disk = MemDisk::new(CAPACITY);
    let (mut queue, ..) = disk.open();
    queue
        .append(&threats(), &page(&threats(), &[1, 2, 3, 4, 5, 6], 3), progress(6, 1), &[])
        .unwrap();
    let end = queue.peek(ONE).unwrap().unwrap().sent.end;
    queue.ack(end, Mono(1)).unwrap();
    drop(queue);
    disk.kill();
    for left in [5, 4] {
        let mut queue = started_without_space(&disk);
        assert_eq!(queue.held().records, left);
        let given = queue.peek(ONE).unwrap().unwrap();
        assert_eq!(all_numbers(&given)[0].1, 7 - left);
        let held = queue.ack(given.sent.end, Mono(1)).unwrap();
        assert_eq!(held.records, left - 1);
        drop(queue);
        disk.kill();
    }
    let mut queue = started_without_space(&disk);
    assert_eq!(queue.held().records, 3);
    assert_eq!(drain(&mut queue), (vec![4, 5, 6], Ok(())));
}

#[test]
fn what_no_commit_counted_is_not_given_out_without_an_index() {
    let mut met = 0;
    for n in 1..60 {
        let disk = MemDisk::new(CAPACITY);
        let (mut queue, ..) = disk.open();
        let store = |queue: &mut super::MemQueue, numbers: &[u64]| {
            let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
            let last = numbers[numbers.len() - 1];
            queue.append(&threats(), &page(&threats(), numbers, 1), progress(last, 1), &keys)
        };
        store(&mut queue, &[1, 2, 3]).unwrap();
        disk.fail_after(n, Fault::Once(ErrorKind::StorageFull));
        let stored = store(&mut queue, &[4, 5]);
        let has_failed = disk.has_failed();
        disk.heal();
        if !has_failed {
            break;
        }
        let Err(QueueError::NoSpace(_)) = stored else { continue };
        met += 1;
        disk.set_capacity(0);
        let (_, findings) = queue.reopen().unwrap();
        assert_eq!(findings[0].reason, "index-no-space");
        assert_eq!(queue.peek(ALL).unwrap().unwrap().sent.entries, 3, "operation {n}");
        assert_eq!(drain(&mut queue), (vec![1, 2, 3], Ok(())), "operation {n}");
        assert_eq!(indexed_again(&disk, &mut queue), ["index-written-again"]);
        let stands = queue.streams.named(&threats()).row.progress.unwrap();
        let (rest, ended) = drain(&mut queue);
        assert_eq!((stands, rest, ended), (progress(5, 1), vec![4, 5], Ok(())), "operation {n}");
    }
    assert!(met > 0, "it lost its teeth");
}

#[test]
fn an_acknowledgement_that_could_not_be_noted_is_told() {
    let before = MemDisk::new(CAPACITY);
    three_files(&before);
    let mut told = 0;
    for n in 1..12 {
        let disk = before.copy();
        let mut queue = started_without_space(&disk);
        let end = queue.peek(ONE).unwrap().unwrap().sent.end;
        disk.fail_after(n, Fault::Once(ErrorKind::Other));
        let acked = queue.ack(end, Mono(1));
        drop(queue);
        disk.kill();
        let mut queue = started_without_space(&disk);
        let first = all_numbers(&queue.peek(ONE).unwrap().unwrap())[0].1;
        assert!(first == 2 || acked.is_err(), "operation {n}: it comes again");
        told += u32::from(acked.is_err());
    }
    assert!(told > 0, "it lost its teeth");
}

#[test]
fn where_head_cannot_be_written_delivery_goes_on_and_nothing_comes_again() {
    let disk = MemDisk::new(CAPACITY);
    three_files(&disk);
    disk.clone().remove("head").unwrap();
    let mut queue = started_without_space(&disk);
    assert_eq!(drain(&mut queue), ([&FIRST[..], &REST[..]].concat(), Ok(())));
    assert_eq!(Fixture::files(&disk, "log").len(), 3, "only this process knows the head");
    assert_eq!(indexed_again(&disk, &mut queue), ["index-written-again"]);
    assert_eq!(queue.held().records, 0);
    assert_eq!(Fixture::files(&disk, "log"), Vec::<String>::new());
    drop(queue);
    disk.kill();
    let (mut queue, opened, _) = disk.open();
    assert_eq!(drain(&mut queue), (vec![], Ok(())));
    assert_eq!(opened.streams[0].progress.map(|at| at.position), Some(key(25).stamp));
}

#[test]
fn a_process_that_started_without_an_index_goes_on_with_one() {
    let disk = MemDisk::new(CAPACITY);
    three_files(&disk);
    let mut queue = started_without_space(&disk);
    for number in [1, 2, 3, 4, 5, 11, 12] {
        let given = queue.peek(ONE).unwrap().unwrap();
        assert_eq!(all_numbers(&given)[0].1, number);
        queue.ack(given.sent.end, Mono(1)).unwrap();
    }
    assert_eq!(indexed_again(&disk, &mut queue), ["index-written-again"]);
    assert_eq!(Fixture::files(&disk, super::space::QUARANTINE), Vec::<String>::new());
    assert_eq!(queue.held().records, 8);
    let stands = queue.stream_status(&threats());
    drop(queue);
    disk.kill();
    let (mut queue, opened, found) = disk.open();
    assert_eq!((&opened.streams[0], found), (&stands, vec![]));
    assert_eq!(drain(&mut queue), (REST[2..].to_vec(), Ok(())));
    assert_eq!(stands.progress, Some(progress(25, 1)));
    assert_eq!((stands.known.len(), queue.gaps()), (15, vec![]));
}

#[test]
fn a_start_without_an_index_takes_the_streams_from_the_checkpoint() {
    let disk = MemDisk::new(CAPACITY);
    three_files(&disk);
    let (mut queue, ..) = disk.open();
    assert_eq!(drain(&mut queue).0.len(), 15);
    queue.append(&threats(), &page(&threats(), &[31], 1), progress(31, 31), &[]).unwrap();
    queue.close(Mono(9_999_999));
    disk.set_capacity(0);
    let (mut queue, opened, _) = disk.open();
    assert!(queue.is_unindexed());
    let position = opened.streams[0].progress.map(|progress| progress.position);
    assert_eq!(position, Some(key(25).stamp), "what is delivered");
    assert_eq!(drain(&mut queue), (vec![31], Ok(())));
}

#[test]
fn a_log_that_cannot_be_read_is_told_by_a_start_without_an_index() {
    let before = MemDisk::new(CAPACITY);
    three_files(&before);
    before.clone().remove("reserve").unwrap();
    before.clone().sync_dir("").unwrap();
    before.set_capacity(0);
    for n in 1..200 {
        let disk = before.copy();
        disk.fail_after(n, Fault::Once(ErrorKind::OutOfMemory));
        let opened = disk.try_open(LIMITS);
        let has_failed = disk.has_failed();
        if let Ok((mut queue, opened, _)) = opened {
            disk.heal();
            assert_eq!(opened.held.oldest, Some(key(1).stamp), "operation {n}");
            assert_eq!(drain(&mut queue).0.len(), 15, "operation {n}");
        }
        if !has_failed {
            return;
        }
    }
    panic!("it never ends");
}

/// What an earlier process delivered without an index is known from `head` alone.
#[test]
fn what_head_says_is_delivered_is_passed_without_an_index_and_with_one() {
    for (noted, waits, records) in [
        (QueuePosition { seq: Seq(3), skip: 1 }, &[6, 7, 8, 9][..], 4),
        (QueuePosition { seq: Seq(4), skip: 0 }, &[7, 8, 9], 3),
        (QueuePosition { seq: Seq(2), skip: 0 }, &[3, 4, 5, 6, 7, 8, 9], 7),
        (QueuePosition { seq: Seq(1), skip: 0 }, &[3, 4, 5, 6, 7, 8, 9], 7),
    ] {
        for without in [true, false] {
            let disk = MemDisk::new(CAPACITY);
            let (mut queue, ..) = disk.open();
            let frames = page(&threats(), &[1, 2, 3, 4, 5, 6, 7, 8, 9], 2);
            queue.append(&threats(), &frames, progress(9, 1), &[]).unwrap();
            let end = QueuePosition { seq: Seq(2), skip: 0 };
            queue.ack(end, Mono(1)).unwrap();
            queue.noted.place = noted;
            match without {
                true => queue.go_unindexed("a test").unwrap(),
                false => queue.catch_up_with_head().unwrap(),
            }
            assert_eq!(queue.held().records, records, "{noted:?}");
            assert_eq!(drain(&mut queue), (waits.to_vec(), Ok(())), "{noted:?}");
        }
    }
}

#[test]
fn numbers_that_were_delivered_are_not_used_again() {
    for (noted, next) in [
        (QueuePosition { seq: Seq(7), skip: 0 }, 7),
        (QueuePosition { seq: Seq(7), skip: 2 }, 8),
        (QueuePosition { seq: Seq(4), skip: 0 }, 4),
    ] {
        let disk = MemDisk::new(CAPACITY);
        let (mut queue, ..) = disk.open();
        let frames = page(&threats(), &[1, 2, 3], 1);
        queue.append(&threats(), &frames, progress(3, 1), &[]).unwrap();
        queue.noted.place = noted;
        queue.catch_up_with_head().unwrap();
        let place = QueuePosition { seq: Seq(next), skip: 0 };
        assert_eq!((queue.state.head, queue.state.next_seq), (place, Seq(next)));
        let state = queue.state;
        drop(queue);
        disk.kill();
        let (mut queue, opened, _) = disk.open();
        assert_eq!((queue.state, opened.held.records), (state, 0));
        queue.append(&threats(), &page(&threats(), &[4], 1), progress(4, 1), &[]).unwrap();
        assert_eq!(drain(&mut queue), (vec![4], Ok(())));
    }
}

#[test]
fn an_index_that_could_not_be_finished_is_not_kept_beside_the_walk() {
    let disk = MemDisk::new(CAPACITY);
    three_files(&disk);
    let (mut queue, ..) = disk.open();
    queue.start_unindexed(&super::checkpoint::Checkpoint::default(), "a test").unwrap();
    assert!(queue.index.is_none());
    assert_eq!(drain(&mut queue).0.len(), 15);
}

/// As after an index that came back older: the batch waits in the log again.
#[test]
fn a_batch_in_doubt_that_was_delivered_without_an_index_is_settled() {
    let disk = MemDisk::new(CAPACITY);
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[1, 2, 3], 1), progress(3, 1), &[]).unwrap();
    let end = queue.peek(ONE).unwrap().unwrap().sent.end;
    assert_eq!(queue.doubt(end, "1 was not accepted").unwrap().doubt, 1);
    queue.state.head = QueuePosition { seq: Seq(1), skip: 0 };
    queue.noted.place = end;
    queue.catch_up_with_head().unwrap();
    assert_eq!(queue.held().doubt, 0);
    assert_eq!(Fixture::files(&disk, super::space::DOUBT), Vec::<String>::new());
    assert_eq!(drain(&mut queue), (vec![2, 3], Ok(())));
}
