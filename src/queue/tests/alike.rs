//! After whatever was done, the queue that is opened from what is on the disk is the queue in memory.
//!
//! Random lives of every operation; after each one a copy of the disk is opened and told apart from the
//! queue that goes on. A change that reaches memory and not the index, or the index and not memory, is
//! seen at once.

use std::collections::BTreeSet;

use super::adopt::{Claim, SaidBy};
use super::gaps::{HEARTBEAT_ID, Row};
use super::index::Index;
use super::mem::MemDisk;
use super::schema::{self, Entry, State};
use super::set_back::Back;
use super::testing::*;
use super::{MemQueue, QueueError};
use crate::frame::Frame;
use crate::limits::LOG_FILE_BYTES_MAX;
use crate::prng::Prng;
use crate::record::{Gap, GapReason, Kind, QueuePosition, QueueStatus, RowKey, StreamName, Take};
use crate::time::{Mono, Span, Stamp};

const LIVES: u64 = 24;
const STEPS: u64 = 60;
const TALLY_IDS: usize = 40;

/// All that a start must find again.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    held: QueueStatus,
    entries: Vec<Entry>,
    streams: Vec<(String, Vec<RowKey>)>,
    tallies: Vec<(String, Vec<RowKey>)>,
    gaps: Vec<Row>,
    folded: u64,
    newest_gap: u64,
    doubts: Vec<QueuePosition>,
    parked: Vec<QueuePosition>,
    awaited: String,
    state: State,
    origins: String,
}

impl Seen {
    /// Leaves out what is another after another way to the same queue.
    pub(super) fn forget_how(&mut self) {
        self.streams.clear();
        self.tallies.clear();
        self.state.next_chunk = 0;
    }
}

pub(super) fn seen(queue: &mut MemQueue) -> Seen {
    let held = QueueStatus { bytes: 0, ..queue.held() };
    let entries = queue.entries(held.head.seq, 100_000).unwrap();
    let mut streams: Vec<_> = queue
        .streams
        .iter()
        .map(|stream| (format!("{:?}", stream.row), stream.known(Stamp::MIN)))
        .collect();
    streams.sort();
    let mut tallies: Vec<_> = queue
        .streams
        .iter()
        .map(|stream| {
            let mut keys: Vec<RowKey> =
                stream.tally.chunks().flat_map(|(_, keys)| keys).copied().collect();
            keys.sort_unstable();
            (format!("{} {:?}", stream.row.name, stream.tally.row), keys)
        })
        .collect();
    tallies.sort();
    Seen {
        held,
        entries,
        streams,
        tallies,
        gaps: queue.gap_log.rows().cloned().collect(),
        folded: queue.gap_log.head.folded,
        newest_gap: queue.gap_log.head.newest,
        doubts: queue.doubts(),
        parked: queue.parked().unwrap(),
        awaited: format!("{:?}", queue.awaited),
        state: queue.state,
        origins: format!("{:?}", queue.origins),
    }
}

/// The keys in the index that nothing in memory has: a start would take them for those of a later stream of
/// the same number, or never remove them.
fn strays(queue: &mut MemQueue) -> Vec<Vec<u8>> {
    let mut own = BTreeSet::from([schema::STATE.to_vec(), schema::GAPS.to_vec()]);
    let head = queue.state.head.seq;
    own.extend(queue.entries(head, 100_000).unwrap().iter().map(|one| schema::entry_key(one.seq)));
    for stream in queue.streams.iter() {
        let number = stream.number;
        own.extend([schema::stream_key(number), schema::tally_key(number)]);
        own.extend(stream.chunks().map(|(chunk, _)| schema::chunk_key(number, chunk)));
        let tallied = stream.tally.chunks();
        own.extend(tallied.map(|(chunk, _)| schema::tally_chunk_key(number, chunk)));
        own.extend(stream.has_covered_row.then(|| schema::covered_key(number)));
    }
    own.extend(queue.gap_log.rows().map(|row| schema::gap_key(row.gap.number)));
    own.extend(queue.awaited.pairs().into_iter().map(|(key, _)| key));
    own.extend(queue.origins.pairs().into_iter().map(|(key, _)| key));
    let all = queue.index().unwrap().range(b"", b"", usize::MAX).unwrap();
    all.into_iter().map(|(key, _)| key).filter(|key| !own.contains(key)).collect()
}

/// A stream of an integration that the config does not name.
fn orphan() -> StreamName {
    StreamName::polled("old", Kind::Threats)
}

/// When these were created: a tally counts from a whole second on.
fn created(keys: &[RowKey]) -> Vec<RowKey> {
    keys.iter().map(|key| RowKey { stamp: Stamp(key.stamp.0 * 1_000_000), ..*key }).collect()
}

struct Life {
    disk: MemDisk,
    queue: MemQueue,
    prng: Prng,
    next: u64,
    now: u64,
}

impl Life {
    fn new(seed: u64) -> Life {
        let disk = MemDisk::new(256 << 20);
        let (mut queue, ..) = disk.open();
        tallied(&mut queue);
        Life { disk, queue, prng: Prng::new(seed), next: 1, now: 1 }
    }

    fn numbers(&mut self, most: u64) -> Vec<u64> {
        let first = self.next;
        self.next += 1 + self.prng.below(most);
        (first..self.next).collect()
    }

    fn stream(&mut self) -> StreamName {
        match self.prng.below(5) {
            0 => orphan(),
            1 | 2 => activities(),
            _ => threats(),
        }
    }

    fn page(&mut self) -> (StreamName, Vec<Frame>, Vec<RowKey>, u64) {
        let stream = self.stream();
        let numbers = self.numbers(9);
        let per_frame = 1 + self.prng.below(4) as usize;
        let frames = page(&stream, &numbers, per_frame);
        let keys: Vec<RowKey> = numbers.iter().map(|n| key(*n)).collect();
        (stream, frames, keys, numbers[0])
    }

    fn take(&mut self) -> Take {
        Take { entries_max: 1 + self.prng.below(6) as u32, ..ALL }
    }

    /// The name of what was done, for a failure.
    fn step(&mut self) -> &'static str {
        self.now += 1_000 * (1 + self.prng.below(400));
        match self.prng.below(16) {
            0..5 => self.append(),
            5 => self.append_past(),
            6..9 => self.ack(),
            9 => self.park(),
            10 => self.doubt(),
            11 => self.doubt_page(),
            12 => self.decide(),
            13 => self.tell(),
            14 if self.prng.chance(50) => self.append_untallied(),
            14 => self.set_back(),
            _ => self.claim(),
        }
    }

    fn append(&mut self) -> &'static str {
        let (stream, frames, keys, first) = self.page();
        let last = keys[keys.len() - 1].id;
        let at = progress(last, first.saturating_sub(self.prng.below(6)));
        self.queue.append_tallied(&stream, &frames, at, &keys, &created(&keys)).unwrap();
        "append"
    }

    /// A page without records, stored for a config that tallies nothing.
    fn append_untallied(&mut self) -> &'static str {
        let stream = self.stream();
        let known = self.queue.streams.find(&stream);
        let Some(at) = known.and_then(|known| known.row.progress) else { return "nothing" };
        self.queue.tally(&stream, 0);
        self.queue.append(&stream, &[], at, &[]).unwrap();
        tallied(&mut self.queue);
        "append untallied"
    }

    fn append_past(&mut self) -> &'static str {
        let (stream, frames, keys, first) = self.page();
        let last = keys[keys.len() - 1].id;
        let passed = Stamp(first as i64);
        let gap = Gap::open(&stream, passed, passed, GapReason::Unfetchable);
        let after = progress(last, first);
        let created = created(&keys);
        self.queue.append_past(&stream, &frames, after, &keys, &created, gap).unwrap();
        "append past"
    }

    fn ack(&mut self) -> &'static str {
        let take = self.take();
        if let Some(peeked) = self.queue.peek(take).unwrap() {
            self.queue.ack(peeked.sent.end, Mono(self.now)).unwrap();
        }
        "ack"
    }

    fn park(&mut self) -> &'static str {
        if let Some(peeked) = self.queue.peek(Take { entries_max: 1, ..ALL }).unwrap() {
            self.queue.park(peeked.sent.first, Some(b"{\"refused\":1}"), "400").unwrap();
        }
        "park"
    }

    fn doubt(&mut self) -> &'static str {
        let take = self.take();
        if let Some(peeked) = self.queue.peek(take).unwrap() {
            self.queue.doubt(peeked.sent.end, "some was not taken").unwrap();
        }
        "doubt"
    }

    fn doubt_page(&mut self) -> &'static str {
        let (stream, frames, keys, first) = self.page();
        let last = keys[keys.len() - 1].id;
        let at = (progress(last, first), &keys[..], &created(&keys)[..]);
        self.queue.doubt_page(&stream, &frames, at, "some was not taken").unwrap();
        "doubt page"
    }

    /// What is parked or in doubt is sent again or dropped.
    fn decide(&mut self) -> &'static str {
        let parked = self.queue.parked().unwrap();
        let doubts = self.queue.doubts();
        let is_retry = self.prng.chance(50);
        if let Some(at) = self.one_of(&parked) {
            match is_retry {
                true => self.queue.retry_parked(at).unwrap(),
                false => self.queue.drop_parked(at).unwrap(),
            };
        }
        if let Some(at) = self.one_of(&doubts) {
            match is_retry {
                true => self.queue.retry_doubt(at).unwrap(),
                false => self.queue.drop_doubt(at).unwrap(),
            };
        }
        "decide"
    }

    fn tell(&mut self) -> &'static str {
        let mut ids: Vec<u64> = self.queue.gaps_to_report().iter().map(|gap| gap.number).collect();
        if self.prng.chance(30) {
            ids.push(HEARTBEAT_ID);
        }
        if !ids.is_empty() {
            let own = StreamName::collector("acme");
            let mut frame = frame(&own, &ids);
            frame.last_of_page = true;
            let at = progress(self.next, self.next);
            self.queue.append(&own, &[frame], at, &[]).unwrap();
        }
        "tell"
    }

    fn set_back(&mut self) -> &'static str {
        let stream = self.stream();
        let at = self.next.saturating_sub(self.prng.below(30));
        let back = Back {
            latest: Stamp(at as i64),
            overlap: Span::ZERO,
            begin: progress(at / 2, at / 2),
            is_open: self.prng.chance(50),
        };
        self.queue.set_back(&stream, back).unwrap();
        "set back"
    }

    fn claim(&mut self) -> &'static str {
        let tenant = "https://acme.example";
        match self.prng.below(6) {
            0 => self.queue.confirm_tenant("acme", "https://other.example").unwrap(),
            1 => drop(self.queue.begin_anew("acme", Some(tenant)).unwrap()),
            2 => drop(self.queue.begin_anew("old", None).unwrap()),
            3 | 4 => drop(self.queue.adopt_streams("old", "acme", SaidBy::Person).unwrap()),
            _ => {
                let claim = Claim { name: "acme".into(), tenant: tenant.into(), name_was: None };
                self.queue.claim(&[claim]).unwrap();
            }
        }
        "claim"
    }

    fn one_of(&mut self, places: &[QueuePosition]) -> Option<QueuePosition> {
        let nth = self.prng.below(places.len().max(1) as u64) as usize;
        places.get(nth).copied()
    }

    /// Damages a frame that waits, and has it found.
    fn damage(&mut self) {
        let entries = self.queue.entries(self.queue.state.head.seq, 100).unwrap();
        let nth = self.prng.below(entries.len().max(1) as u64) as usize;
        let Some(entry) = entries.get(nth).copied() else { return };
        let at = entry.offset as usize + entry.len as usize - 1;
        self.disk.tamper(&super::log::path(entry.file), |bytes| bytes[at] ^= 1);
        loop {
            match self.queue.peek(ALL) {
                Ok(None) => break,
                Ok(Some(peeked)) => drop(self.queue.ack(peeked.sent.end, Mono(self.now)).unwrap()),
                Err(QueueError::Damaged { seq, why }) => {
                    self.queue.quarantine(seq, &why).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn tallied(queue: &mut MemQueue) {
    queue.tally(&threats(), TALLY_IDS);
    queue.tally(&activities(), TALLY_IDS);
    queue.tally(&orphan(), TALLY_IDS);
}

#[test]
fn what_a_start_finds_is_what_was_in_memory() {
    let mut counted = 0;
    for seed in 0..LIVES {
        let mut life = Life::new(seed);
        for nth in 0..STEPS {
            let done = life.step();
            if done != "append" && life.prng.chance(10) {
                life.damage();
            }
            let (mut again, _, findings) = life.disk.copy().open();
            tallied(&mut again);
            let told = format!("seed {seed}, step {nth}: {done}");
            assert!(!findings.contains(&"index-replaced"), "{told}: {findings:?}");
            assert_eq!(seen(&mut again), seen(&mut life.queue), "{told}");
            assert_eq!(strays(&mut life.queue), Vec::<Vec<u8>>::new(), "{told}");
            counted += life
                .queue
                .streams
                .iter()
                .map(|stream| stream.tally.chunks().count())
                .sum::<usize>();
        }
    }
    assert!(counted > 100, "{counted}: no tally holds anything");
}

/// The file that is full is on the disk before the next one tells that the page is whole.
#[test]
fn a_page_over_several_log_files_survives_a_power_cut() {
    for seed in 0..16 {
        let disk = MemDisk::new(256 << 20);
        let (mut queue, ..) = disk.open();
        let mut frames: Vec<Frame> =
            (1..6).map(|n| big_frame(&threats(), n, LOG_FILE_BYTES_MAX as usize / 2)).collect();
        frames.iter_mut().take(4).for_each(|frame| frame.last_of_page = false);
        queue.append(&threats(), &frames, progress(5, 1), &[]).unwrap();
        drop(queue);
        disk.power_cut(&mut Prng::new(seed));
        let (mut queue, opened, findings) = disk.open();
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(opened.held.records, 5);
        let entries = queue.entries(opened.held.head.seq, 100).unwrap();
        assert!(entries[0].file < entries[4].file, "it lies in one file");
        for (entry, frame) in entries.iter().zip(&frames) {
            assert_eq!(queue.read_frame(entry).unwrap().deflated, frame.deflated, "seed {seed}");
        }
    }
}
