//! Taking a stream back from a position that can't be true.
//!
//! Promises: progress, ids and gap are one commit; what was collected near the new position and is
//! still known by its id stays known, so that it is not sent twice (keeps P2). Never: decides that a
//! position can't be true.

use super::append::chunk_pairs;
use super::disk::Disk;
use super::index::{Batch, Opener};
use super::keys;
use super::streams::{chunked, earlier};
use super::{Queue, QueueError, put_state, put_stream};
use crate::limits::KNOWN_IDS_MAX;
use crate::record::{
    Category, Gap, GapReason, Held, Kind, Progress, RowKey, StreamHeld, StreamName,
};
use crate::time::{Span, Stamp};

/// Where a stream is taken back to.
#[derive(Clone, Copy, Debug)]
pub struct Back {
    /// The latest stamp that can be true: to the newest record collected before it.
    pub latest: Stamp,
    /// How far before that record the next walk begins.
    pub overlap: Span,
    /// Where the stream begins if no such record is known.
    pub begin: Progress,
    /// Whether something may have been passed over before `begin`, which is a gap then.
    pub is_open: bool,
}

impl<D: Disk, O: Opener> Queue<D, O> {
    /// Takes a stream back, durably. It never moves forward.
    pub fn set_back(
        &mut self,
        name: &StreamName,
        back: Back,
    ) -> Result<(Held, StreamHeld), QueueError> {
        self.index()?;
        let stream = self.streams.named(name);
        let (number, before) = (stream.number, stream.row.progress);
        let known_keys = stream.chunks().flat_map(|(_, keys)| keys);
        let tally_keys = stream.tally.chunks().flat_map(|(_, keys)| keys);
        let stamps = known_keys.chain(tally_keys).map(|key| key.stamp);
        let newest = stamps.filter(|stamp| *stamp <= back.latest).max();
        let to = newest.map_or(back.begin, |newest| Progress {
            position: newest,
            from: newest - back.overlap,
        });
        let to = before.map_or(to, |before| earlier(before, to));

        let mut known = stream.known(to.from);
        // A threat's creation is not what a walk knows it by.
        if name.category != Category::Polled(Kind::Threats) {
            let keys = stream.tally.chunks().flat_map(|(_, keys)| keys).copied();
            known.extend(keys.filter(|key| key.stamp >= to.from));
        }
        let had: Vec<RowKey> = stream.known(to.from);
        self.add_waiting(number, to.from, None, &mut known)?;
        known.retain(|key| had.binary_search(key).is_err());
        known.truncate(KNOWN_IDS_MAX);

        let mut batch = Batch::default();
        if newest.is_none() && back.is_open {
            let gap = Gap {
                number: 0,
                stream: name.clone(),
                from: Stamp::UNREADABLE,
                to: to.from,
                reason: GapReason::PositionAhead,
                count: None,
                parked: None,
                closed: false,
            };
            self.ledger.note(gap, &mut batch);
        }
        let chunks = chunked(&known, &mut self.state.next_chunk);
        let stream = self.streams.named(name);
        stream.row.progress = Some(to);
        stream.row.delivered = Some(stream.row.delivered.map_or(to, |now| earlier(now, to)));
        if let Some(row) = &mut stream.tally.row {
            row.position = to.position;
            batch.put(keys::tally_key(number), row.encode());
        }
        for (chunk, ids) in &chunks {
            stream.learn(*chunk, ids.clone());
        }
        put_stream(&mut batch, stream);
        put_state(&mut batch, &self.state);
        self.commit_with(batch, chunk_pairs(number, &chunks))?;
        // Without it a lost index would bring the position back from the checkpoint.
        self.checkpoint_out_of_turn();
        Ok((self.held(), self.stream_held(name)))
    }
}
