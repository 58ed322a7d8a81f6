//! A small life of the queue, lived again and again with a fault at every single operation.
//!
//! The oracle: a source that can be polled again from any stamp, as SentinelOne can. At the end
//! everything published is delivered, byte for byte, and twice only where the fault allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use super::disk::Disk;
use super::mem::{Fault, MemDisk};
use super::testing::*;
use super::{MemQueue, QueueError, QueueLimits};
use crate::prng::Prng;
use crate::record::{Kind, Opened, Progress, QueuePosition, Room, RowKey, StreamName, Take};
use crate::time::{Mono, Stamp};

const OVERLAP: i64 = 25;
const STEPS: u64 = 60;
/// Small, so that the reserve is, and the many lives are short.
const SMALL: QueueLimits = QueueLimits { max_size_bytes: 4 << 20, min_free_bytes: 1 << 20 };

/// What the program's core keeps of a stream.
struct Walk {
    name: StreamName,
    published: u64,
    progress: Option<Progress>,
    known: BTreeSet<RowKey>,
}

struct Life {
    disk: MemDisk,
    queue: Option<MemQueue>,
    prng: Prng,
    walks: Vec<Walk>,
    delivered: BTreeMap<(Kind, u64), u32>,
    /// Records that were delivered but whose acknowledgement may not have been kept.
    in_doubt: u64,
    now: u64,
    reopened: u32,
    /// How often it went on without an index.
    unindexed: u32,
    /// Whether the index is written anew whenever the queue runs empty.
    renews: bool,
}

/// Whether a step met the fault and the queue is gone.
struct Gone;

impl Life {
    fn new(seed: u64) -> Life {
        let walk = |name| Walk { name, published: 0, progress: None, known: BTreeSet::new() };
        Life {
            disk: MemDisk::new(128 << 20),
            queue: None,
            prng: Prng::new(seed),
            walks: vec![walk(threats()), walk(activities())],
            delivered: BTreeMap::new(),
            in_doubt: 0,
            now: 0,
            reopened: 0,
            unindexed: 0,
            renews: seed.is_multiple_of(2),
        }
    }

    fn open(&mut self) -> Result<(), Gone> {
        let (mut queue, opened, _) = self.disk.try_open(SMALL).map_err(|_| Gone)?;
        if self.renews {
            queue.space.index_bytes_max = 0;
        }
        self.queue = Some(queue);
        self.take_over(opened);
        Ok(())
    }

    fn take_over(&mut self, opened: Opened) {
        for (walk, held) in self.walks.iter_mut().zip(opened.streams) {
            walk.progress = held.progress;
            walk.known = held.known.into_iter().collect();
        }
    }

    fn failed(&mut self, error: QueueError) -> Result<(), Gone> {
        match error {
            QueueError::DiskFull | QueueError::System(_) => Ok(()),
            QueueError::Denied(why) | QueueError::Newer(why) => panic!("{why}"),
            QueueError::Damaged { seq, why } => {
                let queue = self.queue.as_mut().ok_or(Gone)?;
                match queue.quarantine(seq, &why) {
                    Ok(opened) => self.take_over(opened),
                    Err(error) => return self.failed(error),
                }
                Ok(())
            }
            QueueError::NoSpace(_) | QueueError::Broken(_) => self.reopen(),
        }
    }

    fn reopen(&mut self) -> Result<(), Gone> {
        self.reopened += 1;
        let queue = self.queue.as_mut().ok_or(Gone)?;
        let Ok((opened, _)) = queue.reopen() else {
            self.queue = None;
            return Err(Gone);
        };
        self.unindexed += u32::from(queue.is_unindexed());
        self.take_over(opened);
        Ok(())
    }

    /// Looks whether the index can be written again, as the program does now and then.
    fn measure(&mut self) -> Result<(), Gone> {
        let queue = self.queue.as_mut().ok_or(Gone)?;
        queue.held();
        if queue.may_be_indexed() { self.reopen() } else { Ok(()) }
    }

    fn poll(&mut self, at: usize) -> Result<(), Gone> {
        let rows = 1 + self.prng.below(40) as usize;
        let per_frame = 1 + self.prng.below(15) as usize;
        let walk = &mut self.walks[at];
        let from = walk.progress.map_or(0, |progress| progress.from.0.max(0)) as u64;
        let fresh = (from..walk.published).filter(|n| !walk.known.contains(&key(*n)));
        let fresh: Vec<u64> = fresh.take(rows).collect();
        let Some(last) = fresh.last() else { return Ok(()) };
        let position = walk.progress.map_or(Stamp(0), |p| p.position).max(key(*last).stamp);
        let from = walk.progress.map_or(0, |p| p.from.0).max(position.0 - OVERLAP);
        // What is still missing before the overlap keeps the walk from moving past it.
        let missing = (0..walk.published).find(|n| {
            *n as i64 >= walk.progress.map_or(0, |p| p.from.0)
                && !walk.known.contains(&key(*n))
                && !fresh.contains(n)
        });
        let from = from.min(missing.map_or(i64::MAX, |n| n as i64));
        let progress = Progress { position, from: Stamp(from) };
        let known: Vec<RowKey> =
            fresh.iter().map(|n| key(*n)).filter(|key| key.stamp >= progress.from).collect();
        let frames = page(&walk.name, &fresh, per_frame);
        let name = walk.name.clone();
        let queue = self.queue.as_mut().ok_or(Gone)?;
        match queue.append(&name, &frames, progress, &known) {
            Ok(_) => {
                let walk = &mut self.walks[at];
                walk.progress = Some(progress);
                walk.known.extend(known);
                walk.known.retain(|key| key.stamp >= progress.from);
                Ok(())
            }
            Err(error) => self.failed(error),
        }
    }

    fn drain(&mut self) -> Result<(), Gone> {
        let entries_max = 1 + self.prng.below(60) as u32;
        let take = Take { entries_max, raw_bytes_max: 1 << 20, until: None };
        let queue = self.queue.as_mut().ok_or(Gone)?;
        let peeked = match queue.peek(take) {
            Ok(None) => return Ok(()),
            Ok(Some(peeked)) => peeked,
            Err(error) => return self.failed(error),
        };
        let sent = all_numbers(&peeked);
        for record in &sent {
            *self.delivered.entry(*record).or_default() += 1;
        }
        self.ack(peeked.sent.end, sent.len() as u64)
    }

    fn ack(&mut self, end: QueuePosition, sent: u64) -> Result<(), Gone> {
        self.now += 40_000;
        let queue = self.queue.as_mut().ok_or(Gone)?;
        let Err(error) = queue.ack(end, Mono(self.now)) else { return Ok(()) };
        self.in_doubt += sent;
        self.failed(error)
    }

    /// One turn of the program. The fault may end it anywhere.
    fn step(&mut self) -> Result<(), Gone> {
        if self.queue.is_none() {
            self.open()?;
        }
        match self.prng.below(10) {
            0..=4 => {
                let at = self.prng.below(2) as usize;
                self.walks[at].published += self.prng.below(30);
                self.poll(at)
            }
            5 => {
                // A restart, now and then in an orderly way.
                if let Some(queue) = self.queue.take()
                    && self.prng.chance(50)
                {
                    queue.close(Mono(self.now));
                }
                Ok(())
            }
            _ => {
                self.measure()?;
                self.drain()
            }
        }
    }

    fn step_until_it_fails(&mut self) {
        for _ in 0..STEPS {
            if self.step().is_err() || self.disk.has_failed() {
                break;
            }
        }
    }

    /// Lives on without faults until all is delivered, and answers how often something came twice.
    fn end(mut self, told: &str) -> u64 {
        for _ in 0..2_000 {
            let published: u64 = self.walks.iter().map(|walk| walk.published).sum();
            let records = self.queue.as_mut().map(|queue| queue.held().records);
            if records == Some(0) && self.delivered.len() as u64 == published {
                break;
            }
            if self.queue.is_none() {
                assert!(self.open().is_ok(), "{told}: cannot be opened");
            }
            for at in 0..2 {
                let _ = self.measure();
                let _ = self.poll(at);
                let _ = self.drain();
            }
        }
        let published: u64 = self.walks.iter().map(|walk| walk.published).sum();
        for walk in &self.walks {
            for n in 0..walk.published {
                assert!(self.delivered.contains_key(&(kind_of(&walk.name), n)), "{told}: lost {n}");
            }
        }
        assert_eq!(self.delivered.len() as u64, published, "{told}");
        self.delivered.values().map(|times| u64::from(times - 1)).sum()
    }
}

/// How many operations a life has that meets no fault.
fn operations(seed: u64) -> u64 {
    let mut life = Life::new(seed);
    for _ in 0..STEPS {
        assert!(life.step().is_ok());
    }
    let operations = life.disk.operations();
    assert_eq!(life.end("no fault"), 0, "nothing comes twice without a fault");
    operations
}

/// As many as asked for by the environment of the build, for long runs; a few otherwise.
fn seeds() -> std::ops::Range<u64> {
    let asked = option_env!("S1_CORALOGIX_QUEUE_SEEDS").and_then(|text| text.parse().ok());
    1..asked.unwrap_or(2) + 1
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing() {
    let mut most_twice = 0;
    for seed in seeds() {
        for n in 1..=operations(seed) {
            let told = format!("seed {seed}, power cut at operation {n}");
            let mut life = Life::new(seed);
            life.disk.fail_after(n, Fault::PowerOff);
            life.step_until_it_fails();
            life.queue = None;
            let mut cut = Prng::new(seed * 1_000_003 + n);
            life.disk.power_cut(&mut cut);
            if life.open().is_err() {
                panic!("{told}: cannot be opened");
            }
            for _ in 0..10 {
                let _ = life.step();
            }
            let (in_doubt, twice) = (life.in_doubt, life.end(&told));
            assert!(twice <= in_doubt, "{told}: {twice} came twice, {in_doubt} were in doubt");
            most_twice = most_twice.max(twice);
        }
    }
    assert!(most_twice <= 60, "{most_twice} records came twice: more than a request");
}

#[test]
fn a_power_cut_while_starting_after_a_power_cut_loses_nothing() {
    for seed in seeds() {
        let all = operations(seed);
        for n in (1..=all).step_by(7) {
            let mut cut = Prng::new(seed * 7_000_003 + n);
            let told = format!("seed {seed}, second power cut after operation {n}");
            let mut life = Life::new(seed);
            life.disk.fail_after(n, Fault::PowerOff);
            life.step_until_it_fails();
            for second in 1..12 {
                life.queue = None;
                life.disk.power_cut(&mut cut);
                life.disk.fail_after(second, Fault::PowerOff);
                let _ = life.open();
            }
            life.queue = None;
            life.disk.power_cut(&mut cut);
            life.end(&told);
        }
    }
}

#[test]
fn an_error_at_any_operation_loses_nothing() {
    for seed in seeds() {
        for kind in [ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::OutOfMemory] {
            for n in 1..=operations(seed) {
                let told = format!("seed {seed}, {kind} at operation {n}");
                let mut life = Life::new(seed);
                life.disk.fail_after(n, Fault::Once(kind));
                for _ in 0..STEPS {
                    let _ = life.step();
                }
                assert!(life.reopened <= 2, "{told}: reopened {} times", life.reopened);
                life.end(&told);
            }
        }
    }
}

#[test]
fn a_disk_that_fails_for_good_from_any_operation_on_loses_nothing() {
    for seed in seeds() {
        for kind in [ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::OutOfMemory] {
            for n in (1..=operations(seed)).step_by(5) {
                let told = format!("seed {seed}, {kind} from operation {n} on");
                let mut life = Life::new(seed);
                life.disk.fail_after(n, Fault::Always(kind));
                for _ in 0..STEPS {
                    let _ = life.step();
                }
                life.queue = None;
                life.disk.heal();
                life.end(&told);
            }
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_even_when_the_power_goes_later() {
    for seed in seeds() {
        for n in (1..=operations(seed)).step_by(3) {
            let told = format!("seed {seed}, killed at operation {n}, then a power cut");
            let mut life = Life::new(seed);
            life.disk.fail_after(n, Fault::PowerOff);
            life.step_until_it_fails();
            life.queue = None;
            life.disk.kill();
            for _ in 0..5 {
                assert!(life.step().is_ok(), "{told}");
            }
            life.queue = None;
            life.disk.power_cut(&mut Prng::new(n));
            life.end(&told);
        }
    }
}

/// A kill leaves frames in the page cache only. Adopted without a sync they would vanish with the
/// power, under an index that speaks of them.
#[test]
fn what_a_start_adopts_survives_the_power_cut_after_it() {
    let mut adopted = 0;
    for n in 1..40 {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        disk.fail_after(n, Fault::PowerOff);
        let _ = queue.append(
            &threats(),
            &page(&threats(), &[1, 2, 3], 2),
            progress(3, 1),
            &[key(1), key(2), key(3)],
        );
        drop(queue);
        disk.kill();
        let (mut queue, ..) = disk.open();
        let records = queue.held().records;
        drop(queue);
        adopted += records;
        disk.power_cut(&mut Prng::new(n));
        let (mut queue, ..) = disk.open();
        assert_eq!(queue.held().records, records, "operation {n}");
        let peeked = queue.peek(ALL).expect("what was adopted can be read");
        assert_eq!(peeked.map_or(0, |peeked| all_numbers(&peeked).len() as u64), records);
    }
    assert!(adopted > 0, "no kill left a page to adopt");
}

#[test]
fn a_lost_index_at_any_time_loses_nothing() {
    for seed in seeds() {
        for steps in 1..STEPS {
            let told = format!("seed {seed}, index lost after {steps} steps");
            let mut life = Life::new(seed);
            for _ in 0..steps {
                assert!(life.step().is_ok());
            }
            life.queue = None;
            life.disk.lose_indexes();
            for _ in 0..5 {
                assert!(life.step().is_ok(), "{told}");
            }
            life.end(&told);
        }
    }
}

#[test]
fn a_disk_filled_by_others_pauses_the_queue_and_loses_nothing() {
    for seed in 1..40 {
        let told = format!("seed {seed}");
        let mut life = Life::new(seed);
        for _ in 0..20 {
            assert!(life.step().is_ok(), "{told}");
        }
        // From nothing at all to a little less than a page needs.
        let used = (128 << 20) - life.disk.clone().free_bytes().unwrap();
        life.disk.set_capacity(used + seed * 100);
        if life.queue.is_none() {
            let _ = life.open();
        }
        let mut refused = false;
        for _ in 0..40 {
            let _ = life.step();
            let room = life.queue.as_mut().map(|queue| queue.held().room);
            refused |= room == Some(Room::DiskLow);
        }
        assert!(refused, "{told}: the queue says that the disk is full");
        while life.queue.as_mut().is_some_and(|queue| queue.held().records > 0) {
            assert!(life.drain().is_ok(), "{told}: a full disk is drained");
        }
        life.disk.set_capacity(128 << 20);
        if let Some(queue) = &mut life.queue {
            assert_eq!(queue.held().room, Room::Free, "{told}: it goes on");
        }
        assert_eq!(life.end(&told), 0, "{told}: nothing came twice");
    }
}

/// A disk on which not a byte more can be written, whatever is removed: as btrfs, with others that take
/// what is freed.
/// As on btrfs with others that take what is freed. Every fourth turn it is killed, or the power goes.
#[test]
fn a_disk_filled_to_the_last_byte_is_drained_without_an_index() {
    let (mut without, mut started_without) = (0, 0);
    for seed in 1..60 {
        let told = format!("seed {seed}");
        let mut life = Life::new(seed);
        assert!((0..20).all(|_| life.step().is_ok()), "{told}");
        life.disk.set_capacity(0);
        for turn in 0.. {
            assert!(turn < 2_000, "{told}: it is drained");
            if turn % 4 == 3 {
                life.queue = None;
                match seed % 2 {
                    0 => life.disk.kill(),
                    _ => life.disk.power_cut(&mut Prng::new(seed + turn)),
                }
            }
            if life.queue.is_none() {
                assert!(life.open().is_ok(), "{told}: it starts");
                started_without += u32::from(life.queue.as_ref().unwrap().is_unindexed());
            }
            assert!(life.drain().is_ok() && life.measure().is_ok(), "{told}: it is drained");
            if life.queue.as_mut().is_some_and(|queue| queue.held().records == 0) {
                break;
            }
        }
        without += life.unindexed;
        let in_doubt = life.in_doubt;
        life.disk.set_capacity(128 << 20);
        let twice = life.end(&told);
        assert!(twice <= in_doubt, "{told}: {twice} came twice, {in_doubt} were in doubt");
    }
    assert!(without > 0 && started_without > 0, "{without} {started_without}: it lost its teeth");
}

#[test]
fn an_index_that_came_back_older_loses_nothing() {
    for seed in 1..40 {
        for steps in (5..STEPS).step_by(5) {
            let told = format!("seed {seed}, index as it was before {steps} steps");
            let mut life = Life::new(seed);
            for _ in 0..10 {
                assert!(life.step().is_ok(), "{told}");
            }
            let before = life.disk.indexes();
            for _ in 0..steps {
                assert!(life.step().is_ok(), "{told}");
            }
            life.queue = None;
            life.disk.set_indexes(before);
            life.end(&told);
        }
    }
}
