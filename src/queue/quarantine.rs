//! Giving up damaged frames: their streams are set back to before them, and SentinelOne is asked
//! again.
//!
//! Promises: what is lost is noted as a gap in the same commit, with its keys if the frame's table
//! is readable (keeps P1); consecutive damaged frames are given up together, so that a stream is
//! set back once, and its ids from the new position on stay known (keeps P2).

use std::collections::BTreeMap;

use super::append::chunk_pairs;
use super::disk::Disk;
use super::index::Batch;
use super::schema::{self, Entry};
use super::streams::{chunked, earlier};
use super::{Queue, QueueError, log, put_state, put_stream_back};
use crate::frame::{EntryMeta, FRAME_HEADER_BYTES_MAX, Header};
use crate::limits::{
    KNOWN_IDS_MAX, STALE_CHUNKS_PER_COMMIT_MAX, TAKE_FRAMES_MAX, WAITING_KEYS_READ_MAX,
};
use crate::record::{
    Category, Covered, Gap, GapReason, Opened, Progress, QueuePosition, RowKey, Seq,
};
use crate::time::Stamp;

/// Frames read in one step while consecutive damaged ones are looked for.
const LOOK_AHEAD: usize = 32;

/// What one stream loses.
struct Loss {
    stream: u16,
    oldest: Stamp,
    newest: Stamp,
    records: u64,
    /// The keys of what was not delivered. `None`: a frame's table can't be read.
    keys: Option<Vec<RowKey>>,
    /// The keys in these frames that were delivered.
    delivered: Vec<RowKey>,
    /// Where to poll from, if a lost row has an unreadable stamp.
    undated: Option<Stamp>,
}

/// What a stream still has besides its loss.
#[derive(Debug)]
pub(super) struct Found {
    /// Where the next walk starts.
    pub from: Stamp,
    /// The keys from there on that have to be known, so that they are not collected twice.
    pub known: Vec<RowKey>,
    /// Ranges in which nothing is lost, so that their keys need not be known.
    pub covered: Covered,
    /// The newest known version of each lost record.
    newest: BTreeMap<u64, Stamp>,
}

impl Found {
    pub fn from(from: Stamp) -> Found {
        let (known, covered, newest) = (Vec::new(), Covered::default(), BTreeMap::new());
        Found { from, known, covered, newest }
    }
}

impl Loss {
    /// The first and last stamp of the loss, up to the end of the ranges in which everything else
    /// was collected.
    fn within(&self, covered: &Covered) -> Option<(Stamp, Stamp)> {
        let end = covered.end()?;
        let Some(keys) = &self.keys else { return Some((self.oldest, self.newest)) };
        let stamps = keys.iter().map(|key| key.stamp).filter(|stamp| *stamp < end);
        Some((stamps.clone().min()?, stamps.max()?))
    }
}

fn note_newest(newest: &mut BTreeMap<u64, Stamp>, key: &RowKey) {
    if let Some(stamp) = newest.get_mut(&key.id) {
        *stamp = key.stamp.max(*stamp);
    }
}

impl<D: Disk> Queue<D> {
    /// Takes an unreadable frame out of the queue, with the unreadable ones right after it, and
    /// sets their streams back, so that their records are polled again. Records of the streams that
    /// still wait are known, so they are not collected twice. The files go to `quarantine/` once
    /// their other frames are delivered.
    pub fn quarantine(&mut self, seq: Seq, why: &str) -> Result<Opened, QueueError> {
        self.index()?;
        let run = self.damaged_from(seq, why)?;
        let Some(last) = run.last().map(|(entry, _)| entry.seq) else { return Ok(self.opened()) };
        let seqs: Vec<Seq> = run.iter().map(|(entry, _)| entry.seq).collect();
        let skip = self.state.head.skip_in(seq);
        let losses = self.losses(&run, skip);

        let before = self.before();
        let mut batch = Batch::default();
        let mut found = Vec::new();
        for loss in &losses {
            found.push(self.go_back(loss, &seqs)?);
        }
        for (entry, _) in &run {
            batch.remove(schema::entry_key(entry.seq));
        }
        self.gap_log.mark_unreported(|seq| seqs.binary_search(&seq).is_ok(), &mut batch);
        let lost: u64 = losses.iter().map(|loss| loss.records).sum();
        self.state.records = self.state.records.saturating_sub(lost);
        if self.state.head.seq == seq {
            self.state.head = QueuePosition { seq: last.next(), skip: 0 };
        }
        let mut pairs = Vec::new();
        for (loss, found) in losses.iter().zip(found) {
            pairs.extend(self.note_loss(loss, &found, &mut batch));
            let chunks = chunked(&found.known, &mut self.state.next_chunk);
            pairs.extend(chunk_pairs(loss.stream, &chunks));
            if let Some(stream) = self.streams.numbered(loss.stream) {
                put_stream_back(&mut batch, stream);
                chunks.into_iter().for_each(|(chunk, ids)| stream.learn(chunk, ids));
            }
        }
        for stream in self.streams.iter_mut() {
            stream.put_covered(self.gap_log.head.newest, &mut batch);
        }
        put_state(&mut batch, &self.state);
        let quarantined = self.commit_with(batch, pairs.into_iter());
        self.or_as_before(before, quarantined)?;
        for (entry, why) in run {
            self.log.damaged.insert(entry.file, why);
        }
        self.note_oldest()?;
        self.give_back_files();
        self.checkpoint_out_of_turn();
        Ok(self.opened())
    }

    /// The frame and the unreadable ones right after it, each with its error.
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
                    // A frame that could not be read for another reason is handled when it is the
                    // first.
                    Ok(_) | Err(_) => return Ok(run),
                }
            }
        }
        Ok(run)
    }

    /// The loss of each stream by these frames. `skip`: delivered entries of the first frame.
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
            let undated = |key: &RowKey| key.stamp == Stamp::UNREADABLE;
            // Without a readable table, the newest stamp of the frame shows whether one of its rows
            // is undated.
            let has_undated = match &lost {
                Some(lost) => lost.iter().any(undated),
                None => entry.newest == Stamp::UNREADABLE,
            };
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

    /// Sets a stream back to before the loss.
    fn go_back(&mut self, loss: &Loss, lost: &[Seq]) -> Result<Found, QueueError> {
        let Some(stream) = self.streams.numbered(loss.stream) else {
            return Err(QueueError::Broken("a frame's stream is not in the index".into()));
        };
        // A row with an unreadable stamp may be dated anywhere after the start of its page's query,
        // and that start is not before the delivered progress.
        let delivered = stream.row.delivered.map(|delivered| delivered.from);
        let before =
            loss.undated.map(|from| delivered.map_or(from, |delivered| delivered.min(from)));
        let low = before.map_or(loss.oldest, |before| before.min(loss.oldest));
        // The next walk starts there.
        let from = stream.row.progress.map_or(low, |now| now.from.min(low));
        let mut covered = stream.covered.clone();
        if let (Some(now), Category::Polled(_)) = (stream.row.progress, stream.row.name.category) {
            covered.add(low, now.from);
            if let Some((oldest, newest)) = loss.within(&covered) {
                covered.remove(oldest, newest);
            }
        }
        let found = self.known_of_others(loss, Found { covered, ..Found::from(from) }, lost)?;
        let stream = self.streams.numbered(loss.stream).expect("it was there");
        let back = Progress { position: low, from: low };
        stream.row.progress = Some(stream.row.progress.map_or(back, |now| earlier(now, back)));
        stream.row.delivered = Some(stream.row.delivered.map_or(back, |now| earlier(now, back)));
        stream.covered = found.covered.clone();
        let old_chunks = stream.forget_all();
        let mut batch = Batch::default();
        // Ids are removed before anything else: a missing id only causes a duplicate.
        for some in old_chunks.chunks(STALE_CHUNKS_PER_COMMIT_MAX) {
            for chunk in some {
                batch.remove(schema::chunk_key(loss.stream, *chunk));
            }
            self.commit(&std::mem::take(&mut batch))?;
        }
        Ok(found)
    }

    /// Notes the gap, and the records that have to come again before it is closed; returns the rows
    /// to store.
    fn note_loss(
        &mut self,
        loss: &Loss,
        found: &Found,
        batch: &mut Batch,
    ) -> Vec<super::index::Pair> {
        let Some(stream) = self.streams.numbered(loss.stream) else { return Vec::new() };
        let stream = stream.row.name.clone();
        if stream.category == Category::Collector || loss.records == 0 {
            return Vec::new();
        }
        let newest = |key: &RowKey| found.newest.get(&key.id).copied().unwrap_or(Stamp::MIN);
        let keys = loss.keys.as_deref().unwrap_or_default();
        let superseded = keys.iter().filter(|key| newest(key) > key.stamp).count();
        // What waits elsewhere in the same version is known, so it does not come again.
        let awaited: Vec<RowKey> =
            keys.iter().filter(|key| newest(key) < key.stamp).copied().collect();
        let is_all = loss.keys.is_some() && awaited.is_empty();
        let count = if is_all { superseded as u64 } else { loss.records };
        let gap = Gap::open(&stream, loss.oldest, loss.newest, GapReason::Damaged);
        let gap = Gap { count: Some(count).filter(|count| *count > 0), closed: is_all, ..gap };
        let number = self.gap_log.note(gap, batch);
        let pairs = self.awaited.want(number, &awaited, superseded as u32);
        match self.follow_gone(batch) {
            true => self.awaited.pairs(),
            false => pairs,
        }
    }

    /// Updates the awaited records of gaps that lost their row. Returns whether there were any.
    pub(super) fn follow_gone(&mut self, batch: &mut Batch) -> bool {
        let gone = self.gap_log.take_gone();
        gone.iter().for_each(|gone| self.awaited.follow(*gone, batch));
        !gone.is_empty()
    }

    /// The ids of this stream that are not lost and have to be known.
    fn known_of_others(
        &mut self,
        loss: &Loss,
        mut found: Found,
        lost: &[Seq],
    ) -> Result<Found, QueueError> {
        let from = found.from;
        // Not from the tally: it still contains ids lost to earlier damage, which have to be polled
        // again.
        let before = self.streams.numbered(loss.stream);
        found.known = before.map_or(Vec::new(), |stream| stream.known(from));
        match &loss.keys {
            Some(keys) => {
                let mut keys = keys.clone();
                keys.sort_unstable();
                found.known.retain(|key| keys.binary_search(key).is_err());
                found.known.extend(loss.delivered.iter().filter(|key| key.stamp >= from));
            }
            // The lost ids are unknown, but their stamps are within the frame's oldest and newest.
            None => {
                let is_outside = |key: &RowKey| key.stamp > loss.newest || key.stamp < loss.oldest;
                found.known.retain(is_outside);
            }
        }
        // A newer version of a lost record is in a later frame, unless that is lost too.
        let ids = loss.keys.iter().flatten().map(|key| (key.id, Stamp::MIN));
        found.newest = ids.collect();
        found.known.iter().for_each(|key| note_newest(&mut found.newest, key));
        found.known.retain(|key| !found.covered.has(key.stamp));
        self.add_waiting(loss.stream, lost, &mut found)?;
        found.known.truncate(KNOWN_IDS_MAX);
        Ok(found)
    }

    /// Adds the keys of the stream's waiting frames that have to be known, except those of the
    /// frames `but`; sorted, without duplicates. If too many wait to read all tables, the rest does
    /// not count as collected.
    pub(super) fn add_waiting(
        &mut self,
        stream: u16,
        but: &[Seq],
        found: &mut Found,
    ) -> Result<(), QueueError> {
        let (mut from, mut looked_at) = (self.state.head.seq, 0);
        let is_known = |found: &Found| found.known.len() >= KNOWN_IDS_MAX;
        while !is_known(found) || !found.newest.is_empty() {
            let entries = self.entries(from, TAKE_FRAMES_MAX)?;
            let Some(last) = entries.last() else { break };
            from = last.seq.next();
            let others = entries.iter().filter(|entry| {
                entry.stream == stream
                    && but.binary_search(&entry.seq).is_err()
                    && entry.newest >= found.from
            });
            for entry in others {
                let is_covered = found.covered.has_all(entry.oldest, entry.newest);
                if (is_covered || is_known(found)) && found.newest.is_empty() {
                    continue;
                }
                if looked_at >= WAITING_KEYS_READ_MAX {
                    found.covered.remove(entry.oldest, Stamp::UNREADABLE);
                    continue;
                }
                // An unreadable table belongs to a frame that will be quarantined itself.
                let table = self.read_table(entry).unwrap_or_default();
                looked_at += table.len();
                for key in table.iter().map(|entry| entry.key) {
                    note_newest(&mut found.newest, &key);
                    if key.stamp >= found.from && !found.covered.has(key.stamp) {
                        found.known.push(key);
                    }
                }
            }
        }
        found.known.sort_unstable();
        found.known.dedup();
        Ok(())
    }

    /// Reads only the table of a frame's entries.
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
