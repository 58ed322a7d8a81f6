//! What a newer version wrote is refused whole, and what the system could not do is no damage.

use std::io::ErrorKind;

use super::disk::Disk;
use super::inspect::Inspector;
use super::mem::{Fault, MemDisk};
use super::testing::*;
use super::{OpenError, QueueError, checkpoint, log, schema};
use crate::frame::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES};
use crate::record::{QueuePosition, Seq};
use crate::time::Mono;

/// A closed queue in which two frames wait.
fn two_frames() -> MemDisk {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, _, _) = disk.open();
    for n in [1, 2] {
        let frames = page(&threats(), &[n], 1);
        queue.append(&threats(), &frames, progress(n, 0), &[key(n)]).unwrap();
    }
    queue.close(Mono(2));
    disk
}

/// Writes the version in a header and its checksum as a newer program would.
fn raise(bytes: &mut [u8], at: usize, crc_at: usize, name_len: usize) {
    bytes[at] += 1;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..crc_at]);
    crc.update(&bytes[crc_at + 4..crc_at + 4 + name_len]);
    let crc = crc.finalize().to_le_bytes();
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc);
}

fn raise_frame(bytes: &mut [u8]) {
    let name_len = threats().integration.len();
    raise(bytes, 3, FRAME_HEADER_BYTES - 4, name_len);
}

fn second_frame(bytes: &[u8]) -> usize {
    let body = &bytes[FILE_HEADER_BYTES + 4..];
    FILE_HEADER_BYTES + 4 + body.windows(4).position(|four| four == b"S1F\x01").unwrap()
}

/// All that lies on the disk but what a process holds, and the index.
fn everything(disk: &MemDisk) -> Vec<(String, Vec<u8>)> {
    let mut read = disk.clone();
    let paths = disk.files().into_iter().filter(|path| path != "lock");
    paths.map(|path| (path.clone(), read.read(&path, 0, 1 << 20).unwrap())).collect()
}

/// A start says that a newer version wrote this file, and leaves all as it is.
fn refused_and_not_touched(disk: &MemDisk, path: &str) {
    let before = (everything(disk), disk.indexes());
    let refused = disk.try_open(LIMITS).err();
    let is_refused = matches!(&refused, Some(OpenError::Newer { why, .. }) if why.contains(path));
    assert!(is_refused, "{path}: {refused:?}");
    assert_eq!((everything(disk), disk.indexes()), before, "{path}");
}

#[test]
fn a_queue_of_a_newer_version_is_refused_and_not_touched() {
    let log = log::path(1);
    let file = |bytes: &mut Vec<u8>| raise(bytes, 8, 20, 0);
    let frame = |bytes: &mut Vec<u8>| raise_frame(&mut bytes[FILE_HEADER_BYTES..]);
    let checkpoint = |bytes: &mut Vec<u8>| {
        let crc_at = bytes.len() - 4;
        raise(bytes, 7, crc_at, 0);
    };
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
    for (path, change) in [
        (log.as_str(), &file as Change<'_>),
        (log.as_str(), &frame),
        (checkpoint::FILE, &checkpoint),
    ] {
        for has_index in [true, false] {
            let disk = two_frames();
            if !has_index {
                disk.lose_indexes();
            }
            disk.tamper(path, |bytes| change(bytes));
            refused_and_not_touched(&disk, path);
        }
    }
}

#[test]
fn an_index_of_a_newer_version_is_refused_and_stays_where_it_is() {
    let gap = [schema::GAPS.to_vec(), schema::gap_key(1), schema::awaited_key(1, 0)];
    let rows = [schema::STATE.to_vec()].into_iter().chain(gap);
    for row in rows {
        let disk = two_frames();
        let (mut queue, ..) = disk.open();
        // What is given up is a gap, and waited for.
        queue.quarantine(Seq(1), "a test").unwrap();
        queue.close(Mono(3));
        disk.tamper_index(&row, |value| value[0] += 1);
        let before = (everything(&disk), disk.indexes());
        let refused = disk.try_open(LIMITS).err();
        assert!(matches!(refused, Some(OpenError::Newer { .. })), "{row:?}: {refused:?}");
        assert_eq!(disk.indexes(), before.1, "{row:?}");
        let aside = disk.files().into_iter().find(|path| path.starts_with("quarantine/"));
        assert_eq!(aside, None, "{row:?}");
    }
}

#[test]
fn a_row_of_a_newer_version_in_the_checkpoint_is_refused_too() {
    let disk = two_frames();
    let (mut queue, ..) = disk.open();
    queue.quarantine(Seq(1), "a test").unwrap();
    let (head, row) = (queue.gap_log.head.encode(), queue.gap_log.rows().next().cloned().unwrap());
    queue.close(Mono(3));
    for part in [head, row.encode_short()] {
        let disk = disk.copy();
        disk.tamper(checkpoint::FILE, |bytes| {
            let at = bytes.windows(part.len()).position(|some| some == part).unwrap();
            let crc_at = bytes.len() - 4;
            raise(bytes, at, crc_at, 0);
        });
        refused_and_not_touched(&disk, checkpoint::FILE);
    }
}

/// The queue with its first record parked, or its first frame in doubt, and the file that has it.
fn with_aside() -> [(MemDisk, &'static str); 2] {
    let of = |aside: fn(&mut super::MemQueue), file| {
        let disk = two_frames();
        let (mut queue, ..) = disk.open();
        aside(&mut queue);
        queue.close(Mono(3));
        (disk, file)
    };
    [
        of(
            |queue| assert!(queue.park(FIRST, None, "400").is_ok()),
            "parked/0000000000000001-0.log",
        ),
        of(|queue| assert!(queue.doubt(SECOND, "some").is_ok()), "doubt/0000000000000001-0.log"),
    ]
}

#[test]
fn what_a_newer_version_set_aside_is_refused_and_not_touched() {
    let change_file = |bytes: &mut Vec<u8>| raise(bytes, 8, 20, 0);
    let change_frame = |bytes: &mut Vec<u8>| raise_frame(&mut bytes[FILE_HEADER_BYTES..]);
    for change in [&change_file as &dyn Fn(&mut Vec<u8>), &change_frame] {
        for (disk, path) in with_aside() {
            for has_index in [true, false] {
                let disk = disk.copy();
                if !has_index {
                    disk.lose_indexes();
                }
                disk.tamper(path, |bytes| change(bytes));
                refused_and_not_touched(&disk, path);
                let looked = Inspector::open(disk, None).err().map(|why| why.kind());
                assert_eq!(looked, Some(ErrorKind::Unsupported), "{path}");
            }
        }
    }
}

#[test]
fn what_a_newer_version_set_aside_is_neither_sent_again_nor_dropped() {
    type Act = fn(&mut super::MemQueue) -> Result<(), QueueError>;
    let acts: [[Act; 2]; 2] = [
        [|queue| queue.retry_parked(FIRST).map(drop), |queue| queue.drop_parked(FIRST).map(drop)],
        [|queue| queue.retry_doubt(FIRST).map(drop), |queue| queue.drop_doubt(FIRST).map(drop)],
    ];
    for ((disk, path), acts) in with_aside().into_iter().zip(acts) {
        let (mut queue, ..) = disk.open();
        disk.tamper(path, |bytes| raise_frame(&mut bytes[FILE_HEADER_BYTES..]));
        for act in acts {
            let done = act(&mut queue);
            assert!(matches!(done, Err(QueueError::Newer(_))), "{path}: {done:?}");
        }
        assert!(disk.files().iter().any(|file| file == path), "{path}");
    }
}

#[test]
fn a_newer_frame_among_others_is_not_given_up() {
    let disk = two_frames();
    disk.tamper(&log::path(1), |bytes| {
        let at = second_frame(bytes);
        raise_frame(&mut bytes[at..]);
    });
    let (mut queue, _, _) = disk.open();
    let contents = Inspector::open(disk.clone(), None).unwrap().contents(&mut |_, _| {});
    let unread: Vec<&str> = contents.unread.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!((unread, contents.damage.len()), (vec![&*log::path(1)], 0));
    let first = queue.peek(ALL).unwrap().unwrap();
    queue.ack(first.sent.end, Mono(1)).unwrap();
    let error = queue.peek(ALL).unwrap_err();
    assert!(matches!(error, QueueError::Newer(_)), "{error}");
    drop(queue);
    disk.lose_indexes();
    let refused = disk.try_open(LIMITS).err();
    assert!(matches!(refused, Some(OpenError::Newer { .. })), "{refused:?}");
}

#[test]
fn a_version_whose_checksum_does_not_match_is_damage() {
    let disk = two_frames();
    disk.tamper(&log::path(1), |bytes| bytes[FILE_HEADER_BYTES + 3] += 1);
    let (mut queue, _, _) = disk.open();
    let error = queue.peek(ALL).unwrap_err();
    assert!(matches!(error, QueueError::Damaged { .. }), "{error}");
}

/// What the system can't do now it may do later, and nothing is set aside for it.
#[test]
fn what_the_system_refuses_is_neither_damage_nor_a_reason_to_begin_anew() {
    for kind in
        [ErrorKind::OutOfMemory, ErrorKind::PermissionDenied, ErrorKind::StaleNetworkFileHandle]
    {
        let disk = two_frames();
        let before = everything(&disk);
        for n in 1..40 {
            disk.fail_after(n, Fault::Once(kind));
            let opened = disk.try_open(LIMITS);
            let has_failed = disk.has_failed();
            if let Ok((mut queue, ..)) = opened {
                let peeked = queue.peek(ALL);
                let is_damage = matches!(peeked, Err(QueueError::Damaged { .. }));
                assert!(!is_damage, "{kind} at operation {n}: {peeked:?}");
            }
            disk.heal();
            // A start that goes well removes the marks of those that did not.
            drop(disk.open());
            let aside = disk.files().into_iter().find(|path| path.starts_with("quarantine/"));
            assert_eq!(aside, None, "{kind} {n}");
            if !has_failed {
                break;
            }
        }
        let (mut queue, _, findings) = disk.open();
        assert_eq!(findings, [""; 0], "{kind}");
        assert_eq!(queue.peek(ALL).unwrap().unwrap().sent.entries, 2, "{kind}");
        drop(queue);
        let logs = |all: &[(String, Vec<u8>)]| {
            let logs = all.iter().filter(|(path, _)| path.starts_with("log/"));
            logs.cloned().collect::<Vec<_>>()
        };
        assert_eq!(logs(&everything(&disk)), logs(&before), "{kind}");
    }
}

/// The index is sound, whatever befalls the files beside the log.
#[test]
fn what_the_system_refuses_beside_the_log_leaves_the_index_where_it_is() {
    for kind in [ErrorKind::OutOfMemory, ErrorKind::PermissionDenied, ErrorKind::Other] {
        for (what, aside) in ASIDE {
            for n in 1..60 {
                let disk = two_frames();
                let (mut queue, ..) = disk.open();
                disk.fail_after(n, Fault::Once(kind));
                let done = aside(&mut queue);
                let has_failed = disk.has_failed();
                disk.heal();
                let at = format!("{what}, {kind} at operation {n}: {done:?}");
                let broken = match &done {
                    Err(QueueError::Broken(why)) => Some(why.as_str()),
                    _ => None,
                };
                // What the medium does to the index itself and to the log is another matter.
                let is_other = kind == ErrorKind::Other
                    && broken.is_none_or(|why| !why.contains("parked") && !why.contains("doubt"));
                assert!(broken.is_none() || is_other, "{at}");
                if broken.is_some() || queue.index.is_none() {
                    queue.reopen().unwrap();
                }
                aside(&mut queue).unwrap_or_else(|why| panic!("{at}, and then {why}"));
                queue.close(Mono(3));
                let (mut queue, _, findings) = disk.open();
                let waits = queue.peek(ALL).unwrap().map_or(0, |peeked| peeked.sent.entries);
                assert_eq!((findings, waits), (vec![], 2), "{at}");
                let files = Fixture::files(&disk, "quarantine");
                assert!(kind == ErrorKind::Other || files.is_empty(), "{at}: {files:?}");
                if !has_failed {
                    break;
                }
            }
        }
    }
}

const FIRST: QueuePosition = QueuePosition { seq: Seq(1), skip: 0 };
const SECOND: QueuePosition = QueuePosition { seq: Seq(2), skip: 0 };

type Aside = fn(&mut super::MemQueue) -> Result<(), QueueError>;
const ASIDE: [(&str, Aside); 2] = [("parked", park_and_retry), ("in doubt", doubt_and_retry)];

/// Sets the first record aside, and puts it back; to be repeated where it failed.
fn park_and_retry(queue: &mut super::MemQueue) -> Result<(), QueueError> {
    queue.park(FIRST, None, "400")?;
    queue.retry_parked(FIRST).map(drop)
}

fn doubt_and_retry(queue: &mut super::MemQueue) -> Result<(), QueueError> {
    queue.doubt(SECOND, "partial")?;
    queue.retry_doubt(FIRST).map(drop)
}

#[test]
fn a_parked_file_that_is_refused_is_named_with_what_was_to_be_done() {
    let file = "parked/0000000000000001-0.log";
    let disk = two_frames();
    let (mut queue, ..) = disk.open();
    queue.park(FIRST, None, "400").unwrap();
    let refused = |queue: &mut super::MemQueue, kind| {
        disk.fail_after(1, Fault::Once(kind));
        let refused = queue.retry_parked(FIRST).unwrap_err();
        disk.heal();
        refused
    };
    let why = refused(&mut queue, ErrorKind::PermissionDenied);
    let told = format!("{file} could not be read: permission denied");
    assert_eq!(why, QueueError::Denied(told));
    let why = refused(&mut queue, ErrorKind::OutOfMemory);
    assert!(matches!(&why, QueueError::System(why) if why.contains(file)), "{why:?}");
    // What the medium does not give is damaged, and nothing else is.
    let why = refused(&mut queue, ErrorKind::Other);
    assert!(matches!(&why, QueueError::Damaged { why, .. } if why.contains(file)), "{why:?}");
}

#[test]
fn a_checkpoint_that_the_disk_does_not_return_is_not_blamed_for_its_checksum() {
    let mut told = Vec::new();
    for n in 1..60 {
        let disk = two_frames();
        disk.fail_after(n, Fault::Once(ErrorKind::Other));
        let findings = disk.try_open(LIMITS).map_or(Vec::new(), |(_, _, findings)| findings);
        let of_checkpoint = findings.into_iter().filter(|one| one.reason == "checkpoint-damaged");
        told.extend(of_checkpoint.map(|one| one.text));
    }
    assert!(!told.is_empty());
    for text in told {
        assert!(text.starts_with("The disk does not return this checkpoint: "), "{text}");
    }
}
