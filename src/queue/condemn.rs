//! Giving damaged frames up: their streams go back to before them, and SentinelOne is asked again.
//!
//! Promises: what is lost is a gap in the same commit, with its keys where the frame still tells them
//! (keeps P1); frames in a row that are damaged are given up together, so that a stream goes back once,
//! and what it knows from the earliest time that is asked for again stays known (keeps P2).

use std::collections::BTreeMap;

use super::append::chunk_pairs;
use super::disk::Disk;
use super::index::{Batch, Opener};
use super::keys::{self, Entry};
use super::streams::{chunked, earlier};
use super::{Queue, QueueError, log, put_state, put_stream_back};
use crate::frame::{EntryMeta, FRAME_HEADER_BYTES_MAX, Header};
use crate::limits::{KNOWN_IDS_MAX, STALE_CHUNKS_PER_COMMIT_MAX, TAKE_FRAMES_MAX};
use crate::record::{Category, Gap, GapReason, Opened, Place, Progress, RowKey, Seq};
use crate::time::Stamp;

/// Frames looked at in one step when a row of damaged ones is followed.
const LOOK_AHEAD: usize = 32;

/// What damage takes of one stream.
struct Loss {
    stream: u16,
    oldest: Stamp,
    newest: Stamp,
    records: u64,
    /// The keys of what was not delivered. `None`: a frame does not tell them any more.
    keys: Option<Vec<RowKey>>,
    /// The keys in them that were delivered.
    delivered: Vec<RowKey>,
    /// Where to ask from, should the stamp of a row that was not delivered be unreadable.
    undated: Option<Stamp>,
}

impl<D: Disk, O: Opener> Queue<D, O> {
    /// Takes a frame that can't be read out of the queue, and those right after it that can't be read
    /// either, and sets their streams back, so that their records are polled again. Records of the
    /// streams that still wait are known, so they are not taken twice. The files go to `quarantine/`
    /// once the rest of them is delivered.
    pub fn condemn(&mut self, seq: Seq, why: &str) -> Result<Opened, QueueError> {
        self.index()?;
        let run = self.damaged_from(seq, why)?;
        let Some(last) = run.last().map(|(entry, _)| entry.seq) else { return Ok(self.opened()) };
        let seqs: Vec<Seq> = run.iter().map(|(entry, _)| entry.seq).collect();
        let skip = if self.state.head.seq == seq { self.state.head.skip } else { 0 };
        let losses = self.losses(&run, skip);

        let before = self.before();
        let mut batch = Batch::default();
        let mut learned = Vec::new();
        for loss in &losses {
            learned.push(self.go_back(loss, &seqs)?);
        }
        for (entry, _) in &run {
            batch.remove(keys::entry_key(entry.seq));
        }
        self.ledger.untell(|told| seqs.binary_search(&told).is_ok(), &mut batch);
        let lost: u64 = losses.iter().map(|loss| loss.records).sum();
        self.state.records = self.state.records.saturating_sub(lost);
        if self.state.head.seq == seq {
            self.state.head = Place { seq: last.next(), skip: 0 };
        }
        let mut pairs = Vec::new();
        for (loss, known) in losses.iter().zip(learned) {
            pairs.extend(self.note_loss(loss, &known, &mut batch));
            let chunks = chunked(&known, &mut self.state.next_chunk);
            pairs.extend(chunk_pairs(loss.stream, &chunks));
            if let Some(stream) = self.streams.numbered(loss.stream) {
                put_stream_back(&mut batch, stream);
                chunks.into_iter().for_each(|(chunk, ids)| stream.learn(chunk, ids));
            }
        }
        put_state(&mut batch, &self.state);
        let condemned = self.commit_with(batch, pairs.into_iter());
        self.or_as_before(before, condemned)?;
        for (entry, why) in run {
            self.log.damaged.insert(entry.file, why);
        }
        self.note_oldest()?;
        self.give_back_files();
        self.checkpoint_out_of_turn();
        Ok(self.opened())
    }

    /// The frame and those right after it that can't be read either, each with why.
    fn damaged_from(&mut self, seq: Seq, why: &str) -> Result<Vec<(Entry, String)>, QueueError> {
        let found = self.entries(seq, 1)?.first().copied().filter(|entry| entry.seq == seq);
        let Some(first) = found else { return Ok(Vec::new()) };
        let mut run = vec![(first, why.to_owned())];
        let mut from = seq.next();
        while run.len() < TAKE_FRAMES_MAX {
            let entries = self.entries(from, LOOK_AHEAD)?;
            let Some(last) = entries.last() else { break };
            from = last.seq.next();
            for entry in entries {
                match self.read_frame(&entry) {
                    Err(QueueError::Damaged { why, .. }) => run.push((entry, why)),
                    // What could not be looked at is looked at when it is its turn.
                    Ok(_) | Err(_) => return Ok(run),
                }
            }
        }
        Ok(run)
    }

    /// What is lost with these frames, by stream. `skip`: entries of the first that are delivered.
    fn losses(&mut self, run: &[(Entry, String)], skip: u32) -> Vec<Loss> {
        let mut losses: Vec<Loss> = Vec::new();
        for (at, (entry, _)) in run.iter().enumerate() {
            let skip = if at == 0 { skip.min(entry.entries) } else { 0 };
            let table = self.read_table(entry).ok();
            let keys = table.map(|table| table.iter().map(|meta| meta.key).collect::<Vec<_>>());
            let (gone, lost) = match keys {
                Some(mut keys) => {
                    let lost = keys.split_off((skip as usize).min(keys.len()));
                    (keys, Some(lost))
                }
                None => (Vec::new(), None),
            };
            let records = u64::from(entry.entries - skip);
            let has_undated = lost.iter().flatten().any(|key| key.stamp == Stamp::UNREADABLE);
            let undated = has_undated.then_some(entry.progress.from);
            match losses.iter_mut().find(|loss| loss.stream == entry.stream) {
                Some(loss) => {
                    loss.oldest = loss.oldest.min(entry.oldest);
                    loss.newest = loss.newest.max(entry.newest);
                    loss.records += records;
                    loss.keys = loss.keys.take().zip(lost).map(|(a, b)| [a, b].concat());
                    loss.delivered.extend(gone);
                    loss.undated = [loss.undated, undated].into_iter().flatten().min();
                }
                None => losses.push(Loss {
                    stream: entry.stream,
                    oldest: entry.oldest,
                    newest: entry.newest,
                    records,
                    keys: lost,
                    delivered: gone,
                    undated,
                }),
            }
        }
        losses
    }

    /// Sets a stream back to before what is lost; answers with the ids that stay known.
    fn go_back(&mut self, loss: &Loss, lost: &[Seq]) -> Result<Vec<RowKey>, QueueError> {
        let Some(stream) = self.streams.numbered(loss.stream) else {
            return Err(QueueError::Broken("a frame's stream is not in the index".into()));
        };
        // A row whose stamp can't be read lies anywhere behind where its page was asked for, and that is
        // not before what was delivered.
        let delivered = stream.row.delivered.map(|delivered| delivered.from);
        let before =
            loss.undated.map(|from| delivered.map_or(from, |delivered| delivered.min(from)));
        let low = before.map_or(loss.oldest, |before| before.min(loss.oldest));
        // The next walk begins there.
        let from = stream.row.progress.map_or(low, |now| now.from.min(low));
        let mut known = self.known_of_others(loss, from, lost)?;
        known.truncate(KNOWN_IDS_MAX);
        let stream = self.streams.numbered(loss.stream).expect("it was there");
        let back = Progress { position: low, from: low };
        stream.row.progress = Some(stream.row.progress.map_or(back, |now| earlier(now, back)));
        stream.row.delivered = Some(stream.row.delivered.map_or(back, |now| earlier(now, back)));
        let old_chunks = stream.unlearn_all();
        let mut batch = Batch::default();
        // Ids are forgotten before anything else: too few of them are only duplicates.
        for some in old_chunks.chunks(STALE_CHUNKS_PER_COMMIT_MAX) {
            for chunk in some {
                batch.remove(keys::chunk_key(loss.stream, *chunk));
            }
            self.commit(&std::mem::take(&mut batch))?;
        }
        Ok(known)
    }

    /// Notes the gap, and what has to come again before it is closed; answers with what is to be stored.
    fn note_loss(
        &mut self,
        loss: &Loss,
        known: &[RowKey],
        batch: &mut Batch,
    ) -> Vec<super::index::Pair> {
        let Some(stream) = self.streams.numbered(loss.stream) else { return Vec::new() };
        let stream = stream.row.name.clone();
        if stream.category == Category::Collector || loss.records == 0 {
            return Vec::new();
        }
        // `known` is sorted by stamp, so the newest of an id is the last.
        let newest: BTreeMap<u64, Stamp> = known.iter().map(|key| (key.id, key.stamp)).collect();
        let is_newer = |key: &RowKey| newest.get(&key.id).is_some_and(|stamp| *stamp > key.stamp);
        let keys = loss.keys.iter().flatten().copied();
        let (newer, awaited): (Vec<RowKey>, Vec<RowKey>) = keys.partition(is_newer);
        let superseded = newer.len();
        let is_all = loss.keys.as_ref().is_some_and(|keys| keys.len() == superseded);
        let count = if is_all { superseded as u64 } else { loss.records };
        let gap = Gap::open(&stream, loss.oldest, loss.newest, GapReason::Damaged);
        let gap = Gap { count: Some(count), closed: is_all, ..gap };
        let number = self.ledger.note(gap, batch);
        self.awaited.want(number, &awaited, superseded as u32)
    }

    /// The ids of this stream at or after `from` that are not lost.
    fn known_of_others(
        &mut self,
        loss: &Loss,
        from: Stamp,
        lost: &[Seq],
    ) -> Result<Vec<RowKey>, QueueError> {
        // Not from the tally: it still has what an earlier damage took, and that is polled again.
        let before = self.streams.numbered(loss.stream);
        let mut known = before.map_or(Vec::new(), |stream| stream.known(from));
        match &loss.keys {
            Some(keys) => {
                let mut keys = keys.clone();
                keys.sort_unstable();
                known.retain(|key| keys.binary_search(key).is_err());
                known.extend(loss.delivered.iter().filter(|key| key.stamp >= from));
            }
            // Its ids can't be told from the others, but none of them lies outside of this.
            None => known.retain(|key| key.stamp > loss.newest || key.stamp < loss.oldest),
        }
        self.add_waiting(loss.stream, from, lost, &mut known)?;
        Ok(known)
    }

    /// Adds the keys at or after `oldest` of what waits of a stream, but for some frames; sorted, and
    /// each once.
    pub(super) fn add_waiting(
        &mut self,
        stream: u16,
        oldest: Stamp,
        but: &[Seq],
        known: &mut Vec<RowKey>,
    ) -> Result<(), QueueError> {
        let mut from = self.state.head.seq;
        while known.len() < KNOWN_IDS_MAX {
            let entries = self.entries(from, TAKE_FRAMES_MAX)?;
            let Some(last) = entries.last() else { break };
            from = last.seq.next();
            let others = entries.iter().filter(|entry| {
                entry.stream == stream
                    && but.binary_search(&entry.seq).is_err()
                    && entry.newest >= oldest
            });
            for entry in others {
                // A table that can't be read belongs to a frame that is condemned in its turn.
                let table = self.read_table(entry).unwrap_or_default();
                let keys = table.iter().map(|entry| entry.key);
                known.extend(keys.filter(|key| key.stamp >= oldest));
            }
        }
        known.sort_unstable();
        known.dedup();
        Ok(())
    }

    /// Reads only what a frame says of its entries.
    fn read_table(&mut self, entry: &Entry) -> Result<Vec<EntryMeta>, ()> {
        let len = FRAME_HEADER_BYTES_MAX + Header::table_bytes(entry.entries);
        let len = len.min(entry.len as usize);
        let bytes = self.disk.read(&log::path(entry.file), entry.offset, len).map_err(|_| ())?;
        let header = Header::decode(&bytes).map_err(|_| ())?;
        if header.seq != entry.seq || header.entries != entry.entries {
            return Err(());
        }
        header.table(&bytes).map_err(|_| ())
    }
}
