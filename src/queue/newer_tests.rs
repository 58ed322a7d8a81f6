//! What a newer version wrote is refused whole, and what the system could not do is no damage.

use std::io::ErrorKind;

use super::disk::Disk;
use super::mem::{Fault, MemDisk};
use super::testing::*;
use super::{OpenError, QueueError, checkpoint, keys, log};
use crate::frame::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES};
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
            let before = (everything(&disk), disk.indexes());
            let refused = disk.try_open(LIMITS).err();
            let is_refused =
                matches!(&refused, Some(OpenError::Newer { why, .. }) if why.contains(path));
            assert!(is_refused, "{path}: {refused:?}");
            assert_eq!((everything(&disk), disk.indexes()), before, "{path}");
        }
    }
}

#[test]
fn an_index_of_a_newer_version_is_refused_and_stays_where_it_is() {
    let disk = two_frames();
    disk.tamper_index(keys::STATE, |state| state[0] += 1);
    let indexes = disk.indexes();
    let refused = disk.try_open(LIMITS).err();
    assert!(matches!(refused, Some(OpenError::Newer { .. })), "{refused:?}");
    assert_eq!(disk.indexes(), indexes);
}

#[test]
fn a_newer_frame_among_others_is_not_given_up() {
    let disk = two_frames();
    disk.tamper(&log::path(1), |bytes| {
        let at = second_frame(bytes);
        raise_frame(&mut bytes[at..]);
    });
    let (mut queue, _, _) = disk.open();
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
