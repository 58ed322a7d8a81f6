//! The queue on disk: frames in log files, an index of what waits, and a checkpoint in case both
//! are damaged.
//!
//! Promises: what `append` returned Ok for is returned by `peek`, in order, until `ack` (keeps P1);
//! the directory never outgrows `max_size_bytes` and nothing is dropped for it (P4); memory does
//! not grow with the backlog (P5); after an error a handle is not used any more (P9). Never: reads
//! a clock, or knows the content of a record.
//!
//! The order of durability, which everything rests on (docs/QUEUE.md):
//!
//! ```text
//! append: frames -> fdatasync(log file) [-> fsync(log/)] -> one index commit -> Ok
//! ack:    one index commit -> unlink what is delivered
//! start:  fsync what lies beyond the index -> adopt its whole pages -> Ok
//! ```
//!
//! States of a queue: *open*; *broken* after any failure of the index, when every call returns
//! `Broken` until `reopen` has built a new index from the log. An acknowledgement that failed this
//! way is remembered: positions stay the same over a `reopen`.

pub mod access;
mod ack;
pub mod adopt;
mod append;
mod awaited;
mod checkpoint;
mod crash_loop;
pub mod disk;
pub mod export;
pub mod gaps;
mod head;
mod head_file;
mod importing;
mod in_doubt;
pub mod index;
mod index_copy;
pub mod inspect;
pub mod learned;
pub mod left_behind;
mod log;
pub mod marks;
#[cfg(not(closed))]
#[path = "fakes/medium.rs"]
mod medium;
#[cfg(not(closed))]
#[path = "fakes/mem.rs"]
pub mod mem;
mod newer;
mod open;
mod origins;
mod parked;
mod parts;
mod peek;
mod quarantine;
pub mod real;
mod rebuild;
mod reopen;
mod replay;
mod schema;
mod set_back;
pub mod sled;
mod space;
mod streams;
mod tally;
mod trouble;
mod unindexed;

#[cfg(test)]
#[path = "tests/access.rs"]
mod access_tests;
#[cfg(test)]
#[path = "tests/ack.rs"]
mod ack_tests;
#[cfg(test)]
#[path = "tests/adopt.rs"]
mod adopt_tests;
#[cfg(test)]
#[path = "tests/alike.rs"]
mod alike_tests;
#[cfg(test)]
#[path = "tests/broken.rs"]
mod broken;
#[cfg(test)]
#[path = "tests/contract.rs"]
mod contract;
#[cfg(test)]
#[path = "tests/corrupt.rs"]
mod corrupt;
#[cfg(test)]
#[path = "tests/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "tests/format.rs"]
mod format_tests;
#[cfg(any(test, fuzzing))]
#[path = "tests/fuzz.rs"]
pub(crate) mod fuzz;
#[cfg(test)]
#[path = "tests/gaps.rs"]
mod gap_tests;
#[cfg(test)]
#[path = "tests/in_doubt.rs"]
mod in_doubt_tests;
#[cfg(test)]
#[path = "tests/newer.rs"]
mod newer_tests;
#[cfg(test)]
#[path = "tests/quarantine.rs"]
mod quarantine_tests;
#[cfg(test)]
#[path = "tests/rebuilt.rs"]
mod rebuilt_tests;
#[cfg(test)]
#[path = "tests/recovery.rs"]
mod recovery_tests;
#[cfg(test)]
#[path = "tests/renamed.rs"]
mod renamed_tests;
#[cfg(test)]
#[path = "tests/testing.rs"]
mod testing;
#[cfg(test)]
#[path = "tests/unindexed.rs"]
mod unindexed_tests;

use std::fmt;

use crate::frame::Piece;
use crate::message::Code;
use crate::record::{Gap, Hold, Opened, QueueStatus, RowKey, Sent, Seq, StreamName, StreamStatus};
use crate::time::{Mono, Stamp};
pub use append::Append;
pub use set_back::Back;
pub use trouble::{OpenError, QueueError};

use disk::{Disk, IndexOf, LockRefused};
use index::{Batch, Index, IndexFault};

/// The queue of the program.
pub type RealQueue = Queue<real::RealDisk>;
/// The queue of the simulation.
#[cfg(not(closed))]
pub type MemQueue = Queue<mem::MemDisk>;

/// A queue, the positions of its streams, and what was repaired.
pub type OpenedQueue<D> = (Queue<D>, Opened, Vec<Finding>);

/// What the config says about the queue's size (P4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    pub max_size_bytes: u64,
    pub min_free_bytes: u64,
}

/// What the config says about one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    pub name: StreamName,
    /// How many ids are kept for reconciliation; 0: it is off.
    pub tally_ids_max: usize,
}

/// What the config says about the queue.
#[derive(Clone, Debug)]
pub struct Settings {
    pub limits: QueueLimits,
    /// In the config's order, which that of the answers follows.
    pub streams: Vec<StreamSettings>,
    /// Given to a queue that has no id.
    pub new_id: Option<marks::QueueId>,
}

/// What was found and repaired, for the log. The reason is a stable name; the text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub code: Code,
    pub reason: &'static str,
    pub text: String,
}

/// The records of one request, and where they end.
#[derive(Clone, Debug)]
pub struct Peeked {
    pub pieces: Vec<Piece>,
    /// The numbers of the pieces' frames.
    pub seqs: Vec<Seq>,
    pub sent: Sent,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.text)
    }
}

/// The queue.
#[derive(Debug)]
pub struct Queue<D: Disk> {
    disk: D,
    /// `None` once it failed.
    index: Option<IndexOf<D>>,
    number: u32,
    /// The fault of the system, if the index failed without being broken.
    refused_by: Option<IndexFault>,
    /// The streams of an index that came back older than it was, with the same gaps, for the ids that
    /// it knows.
    older: Option<streams::Streams>,
    /// Set while records are delivered without the index.
    unindexed: Option<unindexed::Unindexed>,
    noted: head_file::Noted,
    /// The config's names and addresses, to be applied once there is an index.
    claims: Option<Vec<adopt::Claim>>,
    replaced: u32,
    /// How often the index was rebuilt for lack of space.
    lacked_space: u32,
    configured: Vec<StreamSettings>,
    streams: streams::Streams,
    gap_log: gaps::GapLog,
    awaited: awaited::Awaited,
    origins: origins::Origins,
    /// Queues that were used before this one.
    left_behind: Vec<left_behind::LeftBehind>,
    /// Integrations that must not be polled, with the reason.
    holds: Vec<(String, Hold)>,
    log: log::LogFiles,
    state: schema::State,
    oldest: Option<Stamp>,
    space: space::SpaceUsage,
    checkpointed: ack::Checkpointed,
    findings: Vec<Finding>,
    /// Consecutive starts before this one that ended before they had settled.
    unsettled: u32,
    /// `None`: it has none, and none could be written.
    id: Option<marks::QueueId>,
    /// The last written contents of `learned` and `asking`.
    learned: Option<(learned::File, std::collections::BTreeMap<String, u32>)>,
}

impl<D: Disk> Queue<D> {
    /// Opens the queue, creates it if need be, and repairs what the last run left behind.
    pub fn open(disk: D, settings: Settings) -> Result<OpenedQueue<D>, OpenError> {
        let mut queue = Queue {
            disk,
            index: None,
            number: 0,
            refused_by: None,
            older: None,
            unindexed: None,
            noted: head_file::Noted::default(),
            claims: None,
            replaced: 0,
            lacked_space: 0,
            configured: settings.streams,
            streams: streams::Streams::default(),
            gap_log: gaps::GapLog::default(),
            awaited: awaited::Awaited::default(),
            origins: origins::Origins::default(),
            left_behind: Vec::new(),
            holds: Vec::new(),
            log: log::LogFiles::default(),
            state: schema::State::default(),
            oldest: None,
            space: space::SpaceUsage::new(settings.limits),
            checkpointed: ack::Checkpointed::default(),
            findings: Vec::new(),
            unsettled: 0,
            id: None,
            learned: None,
        };
        queue.lock()?;
        queue.read_left_behind();
        queue.start()?;
        if let Some(id) = settings.new_id {
            queue.identify(id);
        }
        let opened = queue.opened();
        let findings = std::mem::take(&mut queue.findings);
        Ok((queue, opened, findings))
    }

    /// Replaces a broken index by a new one built from the log. Acknowledgements of this process
    /// stay.
    pub fn reopen(&mut self) -> Result<(Opened, Vec<Finding>), OpenError> {
        self.restart()?;
        while let Some(claims) = self.claims.take_if(|_| self.unindexed.is_none()) {
            match self.claim(&claims) {
                // Each replacement is counted and limited, so this ends.
                Err(QueueError::NoSpace(_) | QueueError::Broken(_)) => {
                    self.claims = Some(claims);
                    self.restart()?;
                }
                claimed => return claimed.map_err(|error| self.cannot_go_on(error)),
            }
        }
        Ok((self.opened(), std::mem::take(&mut self.findings)))
    }

    /// The counters; nothing is scanned (P5). Also writes the reserve again if there is space.
    pub fn held(&mut self) -> QueueStatus {
        let room = self.room_now();
        QueueStatus {
            records: self.state.records,
            bytes: self.bytes(),
            head: self.state.head,
            oldest: self.oldest,
            parked: self.state.parked,
            doubt: self.space.doubts.len() as u64,
            gaps: self.gap_log.open(),
            unreported: self.gap_log.unreported(),
            heartbeat_waits: self
                .gap_log
                .head
                .heartbeat
                .is_some_and(|seq| seq >= self.state.head.seq),
            room,
        }
    }

    /// The gaps that have a row of their own, oldest first.
    pub fn gaps(&self) -> Vec<Gap> {
        self.gap_log.rows().map(|row| row.gap.clone()).collect()
    }

    /// The next unreported gaps: of one integration, at most as many as one page holds.
    pub fn gaps_to_report(&self) -> Vec<Gap> {
        self.gap_log.to_report()
    }

    /// How many records of a stream created in `from..to` were collected, and the time from which
    /// on this is known; `None` if nothing of the range is known.
    pub fn collected(
        &self,
        stream: &StreamName,
        from: Option<Stamp>,
        to: Stamp,
    ) -> Option<(Stamp, u64)> {
        let tally = &self.streams.find(stream)?.tally;
        let from = tally.row?.since.max(from.unwrap_or(Stamp::MIN));
        (from < to).then(|| (from, tally.count(from, to)))
    }

    /// Which of these records of a stream, given with their creation times, were never collected. A
    /// record created before the tally begins counts as collected, because it is not known (keeps
    /// P2).
    pub fn unseen(&self, stream: &StreamName, created_keys: &[RowKey]) -> Vec<bool> {
        let Some(stream) = self.streams.find(stream) else {
            return vec![false; created_keys.len()];
        };
        let Some(row) = stream.tally.row else { return vec![false; created_keys.len()] };
        let ids: Vec<u64> = created_keys.iter().map(|key| key.id).collect();
        let unseen = stream.tally.unseen(&ids).into_iter().zip(created_keys);
        unseen.map(|(unseen, key)| unseen && key.stamp >= row.since).collect()
    }

    /// Notes when a stream was compared; stored with its next page, never alone.
    pub fn compared(&mut self, stream: &StreamName, at: Stamp) {
        if let Some(row) = &mut self.streams.named(stream).tally.row {
            row.compared = Some(at);
        }
    }

    /// Where walks started before the next stored page, if that moved since the last one: records
    /// created before it are *out of turn* (`ChunkId::OUT_OF_TURN`).
    pub fn walks_from(&mut self, stream: &StreamName, began: Stamp) {
        self.streams.named(stream).walks_from = Some(began);
    }

    /// Keeps the ids at or after `from`, whatever the next pages' progress, because the stream may
    /// have to go back there.
    pub fn keep_ids(&mut self, stream: &StreamName, from: Stamp) {
        self.streams.named(stream).ids_from = from;
    }

    /// Writes the checkpoint and closes the index. If the program ends without this call, the next
    /// start only takes longer.
    pub fn close(mut self, now: Mono) {
        self.settle();
        self.close_unsettled(now);
    }

    /// As `close`, for a process that can't go on: the next start counts it.
    pub fn close_unsettled(mut self, now: Mono) {
        // Without an index, memory may lack facts that only the index has, so no checkpoint is
        // written.
        if !self.is_unindexed()
            && let Some(crc) = self.write_checkpoint(now)
        {
            self.note_closed(crc);
        }
        if let Some(index) = self.index.take() {
            index.close();
        }
    }

    fn opened(&mut self) -> Opened {
        let held = self.held();
        let streams = self.configured.iter().map(|stream| self.stream_status(&stream.name));
        let streams = streams.collect();
        let learned = self.read_learned();
        Opened { held, streams, learned, unsettled: self.unsettled }
    }

    fn stream_status(&self, name: &StreamName) -> StreamStatus {
        let mut holds = self.holds.iter();
        let hold = holds.find(|(held, _)| *held == name.integration).map(|(_, hold)| hold.clone());
        let Some(stream) = self.streams.find(name) else {
            return StreamStatus { hold, ..StreamStatus::default() };
        };
        let progress = stream.row.progress;
        let from = progress.map_or(Stamp::MIN, |progress| progress.from);
        let compared = stream.tally.row.and_then(|row| row.compared);
        let covered = stream.covered.clone();
        StreamStatus { progress, known: stream.known(from), covered, compared, hold }
    }

    fn lock(&mut self) -> Result<(), OpenError> {
        let place = self.disk.place();
        self.disk.lock().map_err(|refused| match refused {
            LockRefused::Held { holder } => OpenError::Locked { place, holder },
            LockRefused::Io(error) => open::disk_error(place, &error),
        })
    }

    /// Commits a batch. A failure ends the index (P9).
    fn commit(&mut self, batch: &Batch) -> Result<(), QueueError> {
        let made = self.index()?.commit(batch);
        made.map_err(|error| self.index_failed(error))
    }

    fn index(&mut self) -> Result<&mut IndexOf<D>, QueueError> {
        if self.is_unindexed() {
            return Err(QueueError::DiskFull);
        }
        let why = match self.refused_by {
            Some(_) => "the system refused a call, so the index has to be opened again",
            None => "the index failed before",
        };
        self.index.as_mut().ok_or_else(|| QueueError::Broken(why.into()))
    }

    fn index_failed(&mut self, error: index::IndexError) -> QueueError {
        if let Some(index) = self.index.take() {
            index.forget();
        }
        if error.fault == IndexFault::Full {
            self.give_up_reserve();
        }
        self.refused_by = match error.fault {
            IndexFault::System | IndexFault::Denied | IndexFault::Full => Some(error.fault),
            _ => None,
        };
        match error.fault {
            IndexFault::Full => QueueError::NoSpace(error.why),
            IndexFault::System => QueueError::System(error.why),
            IndexFault::Denied => QueueError::Denied(error.why),
            _ => QueueError::Broken(error.why),
        }
    }

    /// The first `max` entries at or after `from`.
    fn entries(&mut self, from: Seq, max: usize) -> Result<Vec<schema::Entry>, QueueError> {
        if self.is_unindexed() {
            return self.unindexed_entries(from, max);
        }
        let pairs = self.index()?.range(b"q", &schema::entry_key(from), max);
        let pairs = pairs.map_err(|error| self.index_failed(error))?;
        let entries = pairs.iter().map(|(key, value)| schema::Entry::decode(key, value));
        entries.collect::<Option<Vec<_>>>().ok_or_else(|| {
            self.index_failed(index::IndexError {
                fault: IndexFault::Broken,
                why: "an entry of the index is unreadable".into(),
            })
        })
    }

    /// The disk failed outside the index. The active log file is not written to any more.
    fn disk_failed(&mut self, what: &str, error: &std::io::Error) -> QueueError {
        self.log.active = None;
        let why = format!("{what}: {error}");
        match disk::is_full(error) {
            true => QueueError::Broken(why),
            false => QueueError::of_disk(error, why, QueueError::Broken),
        }
    }

    fn find(&mut self, code: Code, reason: &'static str, text: String) {
        self.findings.push(Finding { code, reason, text });
    }

    /// Reads the stamp of the oldest waiting frame.
    fn note_oldest(&mut self) -> Result<(), QueueError> {
        self.oldest = match self.state.records {
            0 => None,
            _ => self.entries(self.state.head.seq, 1)?.first().map(|entry| entry.oldest),
        };
        Ok(())
    }
}

/// The change that stores the counters and the head.
fn put_state(batch: &mut Batch, state: &schema::State) {
    batch.put(schema::STATE.to_vec(), state.encode());
}

/// Stores a stream that was set back. Its tally stays: a start accepts a tally only with the same
/// position as its stream, so that is changed too.
fn put_stream_back(batch: &mut Batch, stream: &mut streams::Stream) {
    if let (Some(row), Some(at)) = (&mut stream.tally.row, stream.row.progress) {
        row.position = at.position;
        batch.put(schema::tally_key(stream.number), row.encode());
    }
    put_stream(batch, stream);
}

fn put_stream(batch: &mut Batch, stream: &streams::Stream) {
    let mut value = Vec::new();
    stream.row.encode(&mut value);
    batch.put(schema::stream_key(stream.number), value);
}
