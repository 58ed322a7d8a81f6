//! What goes wrong with the disk of a life beside power cuts: errors once and for a while, others that
//! fill it, and rot that is found at the next boot.
//!
//! Promises: in one life it is either the log that rots or the rest; all of it ends when the faults of
//! the life do.

use std::io::ErrorKind;

use s1_coralogix::prng::Prng;
use s1_coralogix::queue::disk::Disk as _;
use s1_coralogix::queue::mem::{Fault, Indexes, MemDisk};

use crate::world::Shared;

pub const CAPACITY: u64 = 64 << 20;
/// Everything here by the name it is counted under.
pub const FAULTS: [&str; 8] = [
    "disk failed",
    "disk failed on",
    "disk full",
    "log rotted",
    "log cut",
    "index lost",
    "index older",
    "checkpoint rotted",
];
/// After one of these a record may arrive twice, and after what waited behind it.
pub const MENDED: [&str; 7] = [
    "disk failed",
    "disk failed on",
    "log rotted",
    "log cut",
    "index lost",
    "index older",
    "checkpoint rotted",
];
const DISK_DEAD_ACTIONS_MAX: u64 = 40;

/// What the index once was, to come back as if all since were lost.
#[derive(Default)]
pub struct Rot {
    older: Option<Indexes>,
}

/// The disk as the next boot finds it.
pub fn boot(disk: &MemDisk, shared: &mut Shared, prng: &mut Prng, rot: &mut Rot) {
    disk.heal();
    if shared.now >= shared.faults.end {
        shared.disk_dead_for = 0;
        disk.set_capacity(CAPACITY);
        return;
    }
    if shared.disk_dead_for > 0 {
        // Each boot takes a while, too.
        shared.disk_dead_for = shared.disk_dead_for.saturating_sub(5);
        disk.fail_after(1 + prng.below(30), Fault::Always(ErrorKind::Other));
    }
    if !prng.chance(shared.faults.rot_percent) {
        if prng.chance(20) {
            rot.older = Some(disk.indexes());
        }
        return;
    }
    let mut logs: Vec<String> = disk.files();
    logs.retain(|path| path.starts_with("log/"));
    let log = (!logs.is_empty()).then(|| logs[prng.below(logs.len() as u64) as usize].clone());
    let at = prng.next_u64() as usize;
    let flip = |bytes: &mut Vec<u8>| {
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] ^= 1 << (at % 8);
        }
    };
    let what = if shared.faults.log_rots { prng.below(2) } else { 2 + prng.below(3) };
    match (what, log, rot.older.take()) {
        (0, Some(log), _) => {
            disk.tamper(&log, flip);
            shared.meet("log rotted");
        }
        (1, Some(log), _) => {
            disk.tamper(&log, |bytes| bytes.truncate(at % (bytes.len() + 1)));
            shared.meet("log cut");
        }
        (2, ..) => {
            disk.lose_indexes();
            shared.meet("index lost");
        }
        (3, _, Some(older)) => {
            disk.set_indexes(older);
            shared.meet("index older");
        }
        (0 | 1, None, _) => {}
        _ => {
            disk.tamper("checkpoint", flip);
            shared.meet("checkpoint rotted");
        }
    }
}

/// An operation of the disk fails now and then, or all of them for a while.
pub fn fail(disk: &MemDisk, shared: &mut Shared) {
    if shared.disk_dead_for > 0 {
        return;
    }
    let permille = shared.faults.disk_permille;
    let n = 1 + shared.prng.below(12);
    if shared.hit("disk failed", permille) {
        let kinds = [ErrorKind::StorageFull, ErrorKind::Other];
        disk.fail_after(n, Fault::Once(kinds[shared.prng.below(2) as usize]));
    } else if shared.hit("disk failed on", permille / 2) {
        shared.disk_dead_for = 1 + shared.prng.below(DISK_DEAD_ACTIONS_MAX);
        disk.fail_after(n, Fault::Always(ErrorKind::Other));
    }
}

/// An action is over: what failed once works again, what failed for a while goes on failing.
pub fn heal(disk: &MemDisk, shared: &mut Shared) {
    shared.disk_dead_for = shared.disk_dead_for.saturating_sub(1);
    if shared.disk_dead_for == 0 || shared.now >= shared.faults.end {
        shared.disk_dead_for = 0;
        disk.heal();
    }
}

/// Something else fills the disk to its last bytes, frees a little, and fills it again.
pub fn fill(disk: &MemDisk, shared: &mut Shared) {
    if !shared.faults.disk_full.contains(&shared.now) {
        return disk.set_capacity(CAPACITY);
    }
    if shared.hit("disk full", 50) {
        disk.set_capacity(CAPACITY);
        let used = CAPACITY - disk.clone().free_bytes().unwrap_or(CAPACITY);
        disk.set_capacity(used + shared.prng.below(3 << 20));
    }
}
