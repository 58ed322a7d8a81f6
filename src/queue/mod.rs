//! The queue on disk: frames in log files, an index of what waits, a checkpoint for the worst day.
//!
//! Promises: what `append` answered with Ok for is given out by `peek`, in order, until `ack`
//! (keeps P1); the directory never outgrows `max_size_bytes` and nothing is dropped for it (P4);
//! memory does not grow with the backlog (P5); after an error nothing of a handle is trusted (P9).
//! Never: reads a clock, or knows what is in a record.
//!
//! The order of durability, which everything rests on (docs/QUEUE.md):
//!
//! ```text
//! append: frames -> fdatasync(log file) [-> fsync(log/)] -> one index commit -> Ok
//! ack:    one index commit -> unlink what is delivered
//! start:  fsync what lies beyond the index -> adopt its whole pages -> Ok
//! ```
//!
//! States of a queue: *open*; *broken* after any failure of the index, when every call answers
//! `Broken` until `reopen` has built a new index from the log. An acknowledgement that met the
//! failure is remembered: places stay what they are over a `reopen`.

mod ack;
pub mod adopt;
mod append;
mod awaited;
pub mod bundle;
mod checkpoint;
mod condemn;
pub mod disk;
pub mod gaps;
mod head;
mod head_file;
mod importing;
mod in_doubt;
pub mod index;
pub mod inspect;
mod keys;
pub mod learned;
mod log;
pub mod marks;
mod medium;
pub mod mem;
mod open;
mod origins;
mod parked;
mod parts;
mod peek;
pub mod real;
mod rebuild;
mod reopen;
mod replay;
mod room;
mod set_back;
pub mod sled;
mod starts;
mod streams;
mod tally;
mod trouble;
mod unindexed;

#[cfg(test)]
mod adopt_tests;
#[cfg(test)]
mod alike_tests;
#[cfg(test)]
mod broken;
#[cfg(test)]
mod condemn_tests;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod corrupt;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod format_tests;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod gap_tests;
#[cfg(test)]
mod in_doubt_tests;
#[cfg(test)]
mod newer_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod unindexed_tests;

use std::fmt;

use crate::frame::Piece;
use crate::message::Code;
use crate::record::{Gap, Held, Hold, Opened, RowKey, Sent, Seq, StreamHeld, StreamName};
use crate::time::{Mono, Stamp};
pub use set_back::Back;
pub use trouble::{OpenError, QueueError};

use disk::{Disk, LockRefused};
use index::{Batch, Index, IndexFault, Opener};

/// The queue as the program runs it.
pub type RealQueue = Queue<real::RealDisk, sled::SledOpener>;
/// The queue as the simulation runs it.
pub type MemQueue = Queue<mem::MemDisk, mem::MemOpener>;

/// A queue, where its streams stand, and what was repaired.
pub type OpenedQueue<D, O> = (Queue<D, O>, Opened, Vec<Finding>);

/// What the config says about the queue's size (P4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    pub max_size_bytes: u64,
    pub min_free_bytes: u64,
}

/// What was found and repaired, for the log. The reason is stable; the text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub code: Code,
    pub reason: &'static str,
    pub text: String,
}

/// What a request may carry, and where it ends.
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
pub struct Queue<D: Disk, O: Opener> {
    disk: D,
    opener: O,
    /// `None` once it failed.
    index: Option<O::Index>,
    number: u32,
    /// What it failed for, where it is not to blame.
    refused_by: Option<IndexFault>,
    /// Delivery goes on without it.
    unindexed: Option<unindexed::Unindexed>,
    noted: head_file::Noted,
    /// What the config said before there was an index to say it to.
    claims: Option<Vec<adopt::Claim>>,
    replaced: u32,
    /// How often it was written anew for want of space.
    lacked_space: u32,
    configured: Vec<StreamName>,
    streams: streams::Streams,
    ledger: gaps::Ledger,
    awaited: awaited::Awaited,
    origins: origins::Origins,
    /// Integrations that must not be polled.
    holds: Vec<(String, Hold)>,
    log: log::LogFiles,
    state: keys::State,
    oldest: Option<Stamp>,
    room: room::Books,
    checkpointed: ack::Checkpointed,
    findings: Vec<Finding>,
    /// Starts in a row before this one that ended before they had settled.
    unsettled: u32,
    /// Ids of each stream that are kept for reconciliation; 0: it is off.
    tally_ids_max: Vec<(StreamName, usize)>,
    /// Not before it was identified.
    id: Option<marks::QueueId>,
    /// What was last written of what was learned, and of what is being asked for.
    learned: Option<(learned::File, std::collections::BTreeMap<String, u32>)>,
}

impl<D: Disk, O: Opener> Queue<D, O> {
    /// Opens the queue, creates it if need be, and repairs what the last run left behind.
    /// `streams`: those of the config, in its order; the answer is in that order.
    pub fn open(
        disk: D,
        opener: O,
        limits: QueueLimits,
        streams: &[StreamName],
    ) -> Result<OpenedQueue<D, O>, OpenError> {
        let mut queue = Queue {
            disk,
            opener,
            index: None,
            number: 0,
            refused_by: None,
            unindexed: None,
            noted: head_file::Noted::default(),
            claims: None,
            replaced: 0,
            lacked_space: 0,
            configured: streams.to_vec(),
            streams: streams::Streams::default(),
            ledger: gaps::Ledger::default(),
            awaited: awaited::Awaited::default(),
            origins: origins::Origins::default(),
            holds: Vec::new(),
            log: log::LogFiles::default(),
            state: keys::State::default(),
            oldest: None,
            room: room::Books::new(limits),
            checkpointed: ack::Checkpointed::default(),
            findings: Vec::new(),
            unsettled: 0,
            tally_ids_max: Vec::new(),
            id: None,
            learned: None,
        };
        queue.lock()?;
        queue.start()?;
        let opened = queue.opened();
        let findings = std::mem::take(&mut queue.findings);
        Ok((queue, opened, findings))
    }

    /// Replaces a broken index by a new one built from the log. What was acknowledged in this
    /// process stays acknowledged.
    pub fn reopen(&mut self) -> Result<(Opened, Vec<Finding>), OpenError> {
        self.restart()?;
        while let Some(claims) = self.claims.take_if(|_| self.unindexed.is_none()) {
            match self.claim(&claims) {
                // Each of them counts, so this ends.
                Err(QueueError::NoSpace(_) | QueueError::Broken(_)) => {
                    self.claims = Some(claims);
                    self.restart()?;
                }
                claimed => return claimed.map_err(|error| self.cannot_go_on(error)),
            }
        }
        Ok((self.opened(), std::mem::take(&mut self.findings)))
    }

    /// Counters; nothing is scanned (P5). Also takes back the reserve when there is room again.
    pub fn held(&mut self) -> Held {
        let room = self.room_now();
        Held {
            records: self.state.records,
            bytes: self.bytes(),
            head: self.state.head,
            oldest: self.oldest,
            parked: self.state.parked,
            doubt: self.room.doubts.len() as u64,
            gaps: self.ledger.open(),
            untold: self.ledger.untold(),
            heartbeat_waits: self
                .ledger
                .head
                .heartbeat
                .is_some_and(|seq| seq >= self.state.head.seq),
            room,
        }
    }

    /// The gaps that are kept one by one, oldest first.
    pub fn gaps(&self) -> Vec<Gap> {
        self.ledger.rows().map(|row| row.gap.clone()).collect()
    }

    /// The next gaps that nobody was told of: of one integration, no more than one page tells.
    pub fn gaps_to_tell(&self) -> Vec<Gap> {
        self.ledger.to_tell()
    }

    /// How many ids of a stream to keep for reconciliation; 0, as without this call: none.
    pub fn tally(&mut self, stream: &StreamName, ids_max: usize) {
        self.tally_ids_max.retain(|(name, _)| name != stream);
        self.tally_ids_max.push((stream.clone(), ids_max));
    }

    /// How many records of a stream were collected that were created in `from..to`, and from when
    /// on that is known; `None` when nothing of it is.
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

    /// Which of these records of a stream, each with when it was created, were never collected. What was
    /// created before that is known counts as collected: nobody knows (keeps P2).
    pub fn unseen(&self, stream: &StreamName, births: &[RowKey]) -> Vec<bool> {
        let Some(stream) = self.streams.find(stream) else { return vec![false; births.len()] };
        let Some(row) = stream.tally.row else { return vec![false; births.len()] };
        let ids: Vec<u64> = births.iter().map(|key| key.id).collect();
        let unseen = stream.tally.unseen(&ids).into_iter().zip(births);
        unseen.map(|(unseen, key)| unseen && key.stamp >= row.since).collect()
    }

    /// Notes when a stream was compared; written with its next page, never alone.
    pub fn compared(&mut self, stream: &StreamName, at: Stamp) {
        if let Some(row) = &mut self.streams.named(stream).tally.row {
            row.compared = Some(at);
        }
    }

    /// Where walks began before the page that is taken in next, if that moved since the last page that
    /// was: what was created before it comes out of its turn.
    pub fn walks_from(&mut self, stream: &StreamName, began: Stamp) {
        self.streams.named(stream).walks_from = Some(began);
    }

    /// Writes the checkpoint and ends the index properly. What is not called before the program
    /// ends costs nothing but time at the next start.
    pub fn close(mut self, now: Mono) {
        self.settle();
        self.close_unsettled(now);
    }

    /// The same for a process that ends because it can't go on: the next start counts it.
    pub fn close_unsettled(mut self, now: Mono) {
        // What the index says and the checkpoint does not, only the index knows.
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
        let streams = self.configured.iter().map(|name| self.stream_held(name));
        let streams = streams.collect();
        let learned = self.read_learned();
        Opened { held, streams, learned, unsettled: self.unsettled }
    }

    fn stream_held(&self, name: &StreamName) -> StreamHeld {
        let mut holds = self.holds.iter();
        let hold = holds.find(|(held, _)| *held == name.integration).map(|(_, hold)| hold.clone());
        let Some(stream) = self.streams.find(name) else {
            return StreamHeld { hold, ..StreamHeld::default() };
        };
        let progress = stream.row.progress;
        let from = progress.map_or(Stamp::MIN, |progress| progress.from);
        let compared = stream.tally.row.and_then(|row| row.compared);
        StreamHeld { progress, known: stream.known(from), compared, hold }
    }

    fn lock(&mut self) -> Result<(), OpenError> {
        let place = self.disk.place();
        self.disk.lock().map_err(|refused| match refused {
            LockRefused::Held { holder } => OpenError::Locked { place, holder },
            LockRefused::Io(error) => open::disk_error(place, &error),
        })
    }

    /// Makes one commit. Its failure ends the index (P9).
    fn commit(&mut self, batch: &Batch) -> Result<(), QueueError> {
        let made = self.index()?.commit(batch);
        made.map_err(|error| self.index_failed(error))
    }

    fn index(&mut self) -> Result<&mut O::Index, QueueError> {
        if self.is_unindexed() {
            return Err(QueueError::DiskFull);
        }
        self.index.as_mut().ok_or_else(|| QueueError::Broken("the index failed before".into()))
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
    fn entries(&mut self, from: Seq, max: usize) -> Result<Vec<keys::Entry>, QueueError> {
        if self.is_unindexed() {
            return self.unindexed_entries(from, max);
        }
        let pairs = self.index()?.range(b"q", &keys::entry_key(from), max);
        let pairs = pairs.map_err(|error| self.index_failed(error))?;
        let entries = pairs.iter().map(|(key, value)| keys::Entry::decode(key, value));
        entries.collect::<Option<Vec<_>>>().ok_or_else(|| {
            self.index_failed(index::IndexError {
                fault: IndexFault::Broken,
                why: "an entry of the index is unreadable".into(),
            })
        })
    }

    /// The disk failed outside the index. The log file in use is not trusted any more.
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

    /// Notes the stamp of the oldest frame waiting.
    fn note_oldest(&mut self) -> Result<(), QueueError> {
        self.oldest = match self.state.records {
            0 => None,
            _ => self.entries(self.state.head.seq, 1)?.first().map(|entry| entry.oldest),
        };
        Ok(())
    }
}

/// The changes that store what is one of a kind and a stream's row.
fn put_state(batch: &mut Batch, state: &keys::State) {
    batch.put(keys::STATE.to_vec(), state.encode());
}

/// A stream that went back. What is counted of it stays counted: a start takes the count where its stream
/// stands.
fn put_stream_back(batch: &mut Batch, stream: &mut streams::Stream) {
    if let (Some(row), Some(at)) = (&mut stream.tally.row, stream.row.progress) {
        row.position = at.position;
        batch.put(keys::tally_key(stream.number), row.encode());
    }
    put_stream(batch, stream);
}

fn put_stream(batch: &mut Batch, stream: &streams::Stream) {
    let mut value = Vec::new();
    stream.row.encode(&mut value);
    batch.put(keys::stream_key(stream.number), value);
}
