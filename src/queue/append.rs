//! Taking a page in: frames to the log, then one commit of the index.

use super::awaited::{self, Awaited};
use super::disk::{Disk, is_full};
use super::gaps::{self, HEARTBEAT_ID, Ledger};
use super::index::{Batch, Opener, Pair};
use super::keys::{self, ChunkId, Entry, StreamRow, Tail};
use super::log::{self, DIR};
use super::streams::{chunked, earlier};
use super::tally::Change;
use super::{Queue, QueueError, put_state, put_stream};
use crate::frame::{self, FILE_HEADER_BYTES, Frame, Slot};
use crate::limits::{FRAME_RAW_BYTES_MAX, LOG_FILE_BYTES_MAX};
use crate::record::{Gap, Held, Place, Progress, RowKey, StreamName};

/// What comes with the frames of a page, in the same commit.
pub(super) struct Taking<'a> {
    pub progress: Progress,
    pub known: &'a [RowKey],
    /// The ids of the page's records, with when each was created.
    pub births: &'a [RowKey],
    pub gap: Option<Gap>,
}

/// A stream's row once a page of these frames is taken in.
fn row_after(row: &StreamRow, progress: Progress, entries: &[Entry]) -> StreamRow {
    let mut after = row.clone();
    after.progress = Some(progress);
    if after.delivered.is_none() {
        // Nothing is delivered yet, so all that was ever seen would have to be seen again.
        let oldest = entries.iter().map(|entry| entry.oldest).min();
        let first = oldest.map_or(progress.from, |oldest| oldest.min(progress.from));
        after.delivered = Some(earlier(progress, Progress { position: first, from: first }));
    }
    after
}

/// What was there before a page was written, to go back to.
struct Before {
    active: Option<(u64, u64)>,
    files: Vec<u64>,
}

/// Chunks of the overlap's ids as the index holds them.
pub(super) fn chunk_pairs(
    stream: u16,
    chunks: &[(ChunkId, Vec<RowKey>)],
) -> impl Iterator<Item = Pair> + '_ {
    chunks.iter().map(move |(chunk, ids)| (keys::chunk_key(stream, *chunk), ids_value(ids)))
}

/// What a page changes of a tally: the small part goes into the batch at once.
pub(super) fn tally_pairs<'a>(
    batch: &mut Batch,
    stream: u16,
    tallied: &'a Change,
) -> impl Iterator<Item = Pair> + use<'a> {
    tallied.forget.iter().for_each(|chunk| batch.remove(keys::birth_key(stream, *chunk)));
    match tallied.row {
        Some(row) => batch.put(keys::tally_key(stream), row.encode()),
        None if tallied.forget.is_empty() => {}
        None => batch.remove(keys::tally_key(stream)),
    }
    let learn = tallied.learn.iter();
    learn.map(move |(chunk, ids)| (keys::birth_key(stream, *chunk), ids_value(ids)))
}

fn ids_value(ids: &[RowKey]) -> Vec<u8> {
    let mut value = Vec::with_capacity(ids.len() * 16);
    keys::encode_ids(&mut value, ids);
    value
}

impl<D: Disk, O: Opener> Queue<D, O> {
    /// Takes a page of a stream in. When this returns Ok, the frames, the stream's progress and
    /// the ids survive a power cut, together. `known`: the page's ids at or after
    /// `progress.from`; older ones are forgotten. Without frames only progress and ids are kept.
    pub fn append(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        progress: Progress,
        known: &[RowKey],
    ) -> Result<Held, QueueError> {
        self.append_tallied(stream, frames, progress, known, &[])
    }

    /// The same, with the ids of the page's records and when each was created, for
    /// reconciliation. They are kept in the same commit.
    pub fn append_tallied(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        progress: Progress,
        known: &[RowKey],
        births: &[RowKey],
    ) -> Result<Held, QueueError> {
        self.take_in(stream, frames, Taking { progress, known, births, gap: None })
    }

    /// The same, of a stream that moves on over a range of which something is not collected: the gap
    /// is noted in the same commit.
    pub fn append_past(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        progress: Progress,
        known: &[RowKey],
        births: &[RowKey],
        gap: Gap,
    ) -> Result<Held, QueueError> {
        self.take_in(stream, frames, Taking { progress, known, births, gap: Some(gap) })
    }

    /// Takes in what belongs together.
    pub(super) fn take_in(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        taking: Taking<'_>,
    ) -> Result<Held, QueueError> {
        let Taking { progress, known, births, gap } = taking;
        self.index()?;
        let tally_ids_max = self.tally_ids_max_of(stream);
        let number = self.streams.named(stream).number;
        let (mut state, mut entries) = (self.state, Vec::new());
        if !frames.is_empty() {
            let in_log = self.progress_in_log(stream, progress, gap.as_ref());
            (state.tail, entries) = self.write_page(number, frames, in_log)?;
        }
        state.next_seq.0 += entries.len() as u64;
        // With nothing waiting the head may stand inside a frame that was given up: the first record
        // of this page must not be taken for a delivered one.
        if let Some(first) = entries.first().filter(|_| state.records == 0) {
            state.head = state.head.max(Place { seq: first.seq, skip: 0 });
        }
        state.records += entries.iter().map(|entry| u64::from(entry.entries)).sum::<u64>();
        let chunks = chunked(known, &mut state.next_chunk);
        let known_stream = self.streams.named(stream);
        let after = row_after(&known_stream.row, progress, &entries);
        let is_new = known_stream.row.delivered.is_none();
        let stale = known_stream.stale(progress.from);
        let begins = known_stream.row.progress.is_none().then_some(progress.position);
        let ids = (tally_ids_max, &mut state.next_chunk);
        let stood = known_stream.take_stood();
        let tallied = known_stream.tally.take(births, stood, progress, ids);
        let row_before = std::mem::replace(&mut known_stream.row, after);

        let mut batch = Batch::default();
        put_stream(&mut batch, known_stream);
        put_state(&mut batch, &state);
        for entry in &entries {
            batch.put(keys::entry_key(entry.seq), entry.encode());
        }
        for chunk in &stale {
            batch.remove(keys::chunk_key(number, *chunk));
        }
        let gap = gap.or_else(|| self.gap_before(stream, begins?));
        let before = self.settle_awaited(stream, frames, &mut batch);
        let ledger_changes = self.note_in_ledger(stream, frames, &entries, gap, &mut batch);
        let pairs = chunk_pairs(number, &chunks).chain(tally_pairs(&mut batch, number, &tallied));
        if let Err(error) = self.commit_with(batch, pairs) {
            self.streams.named(stream).row = row_before;
            // What was not stored did not come.
            if let Some((ledger, awaited)) = before {
                (self.ledger, self.awaited) = (ledger, awaited);
            }
            return Err(error);
        }
        let known_stream = self.streams.named(stream);
        known_stream.tally.apply(tallied);
        for chunk in stale {
            known_stream.unlearn(chunk);
        }
        for (chunk, keys) in chunks {
            known_stream.learn(chunk, keys);
        }
        self.oldest = self.oldest.or(entries.first().map(|entry| entry.oldest));
        self.state = state;
        self.room.fits();
        if is_new || ledger_changes {
            self.checkpoint_out_of_turn();
        }
        Ok(self.held())
    }

    /// How far a page's frames say that their stream has come. One that is adopted from the log must not pass
    /// over what only the commit tells of.
    fn progress_in_log(
        &mut self,
        stream: &StreamName,
        progress: Progress,
        gap: Option<&Gap>,
    ) -> Progress {
        let Some(gap) = gap else { return progress };
        let before_gap = Progress { position: gap.from, from: gap.from };
        self.streams.named(stream).row.progress.unwrap_or(before_gap)
    }

    /// What damage took may have come again. Answers with what there was before, where something may
    /// have changed.
    fn settle_awaited(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        batch: &mut Batch,
    ) -> Option<(Ledger, Awaited)> {
        if self.awaited.is_empty() || frames.is_empty() {
            return None;
        }
        let keys = frames.iter().flat_map(|frame| &frame.entries).map(|entry| entry.key);
        let page = awaited::newest_of(keys);
        let is_of = |gap: u64| self.ledger.is_of(gap, stream);
        // What SentinelOne has deleted is waited for for ever; most pages bring nothing of it.
        if !self.awaited.is_any_in(is_of, &page) {
            return None;
        }
        let before = (self.ledger.clone(), self.awaited.clone());
        let complete = self.awaited.came(is_of, &page, batch);
        self.ledger.close_damaged(&complete, batch);
        Some(before)
    }

    /// What is taken in may be a gap, or tell of gaps. Answers whether the ledger now says what
    /// nothing else would tell if the index were lost.
    fn note_in_ledger(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        entries: &[Entry],
        gap: Option<Gap>,
        batch: &mut Batch,
    ) -> bool {
        let ids = frames.iter().flat_map(|frame| &frame.entries).map(|entry| entry.key.id);
        let told = gaps::told_by(stream, ids);
        if let Some(last) = entries.last() {
            self.ledger.told(last.seq, &told, batch);
        }
        let is_gap = gap.is_some();
        if let Some(gap) = gap {
            self.ledger.note(gap, batch);
        }
        is_gap || told.iter().any(|id| *id != HEARTBEAT_ID)
    }

    fn tally_ids_max_of(&self, stream: &StreamName) -> usize {
        let found = self.tally_ids_max.iter().find(|(name, _)| name == stream);
        found.map_or(0, |(_, ids_max)| *ids_max)
    }

    /// Commits a batch together with as many chunks of ids as fit, the others after it: ids without
    /// their records would be a loss, records without their ids are only delivered twice.
    pub(super) fn commit_with(
        &mut self,
        mut batch: Batch,
        chunks: impl Iterator<Item = Pair>,
    ) -> Result<(), QueueError> {
        for (key, value) in chunks {
            if batch.is_half_full() {
                self.commit(&std::mem::take(&mut batch))?;
            }
            batch.put(key, value);
        }
        self.commit(&batch)
    }

    /// Writes a page's frames and makes them durable, or leaves nothing of them.
    fn write_page(
        &mut self,
        stream: u16,
        frames: &[Frame],
        progress: Progress,
    ) -> Result<(Tail, Vec<Entry>), QueueError> {
        let need = frames.iter().map(frame::disk_len).sum::<u64>() + FILE_HEADER_BYTES as u64;
        self.make_room(need)?;
        let active = self.log.active.zip(self.log.active_len());
        let mut before = Before { active, files: Vec::new() };
        match self.write_frames(stream, frames, progress, &mut before) {
            Ok(entries) => {
                let file = self.log.active.expect("a page was just written to it");
                let end = self.log.active_len().unwrap_or(0);
                Ok((Tail { file, end }, entries))
            }
            Err(error) => {
                let undone = self.undo(&before);
                if is_full(&error) {
                    self.give_up_reserve();
                    self.room.refused(need);
                }
                if undone.is_err() {
                    // Frames may be in the log that nobody was told of. A new index, built from
                    // it, tells: they count if their page is whole.
                    self.drop_index();
                } else if is_full(&error) {
                    return Err(QueueError::DiskFull);
                }
                Err(self.disk_failed("the log could not be written", &error))
            }
        }
    }

    fn write_frames(
        &mut self,
        stream: u16,
        frames: &[Frame],
        progress: Progress,
        before: &mut Before,
    ) -> std::io::Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(frames.len());
        let mut bytes = Vec::new();
        for (at, frame) in frames.iter().enumerate() {
            let is_last = at + 1 == frames.len();
            let seq = crate::record::Seq(self.state.next_seq.0 + at as u64);
            let slot = Slot {
                seq,
                page_index: at as u32,
                last_of_page: is_last,
                progress: if is_last { progress } else { frame.progress },
            };
            bytes.clear();
            frame::encode_head(&mut bytes, frame, slot);
            let len = (bytes.len() + frame.deflated.len()) as u64;
            let fits = self.log.active_len().is_some_and(|used| used + len <= LOG_FILE_BYTES_MAX);
            if !fits {
                if let Some(full) = self.log.active.take() {
                    self.disk.sync_data(&log::path(full))?;
                }
                before.files.push(seq.0);
                self.log.begin(&mut self.disk, seq)?;
            }
            let file = self.log.active.expect("a file was begun when there was none");
            self.write_frame(&log::path(file), &mut bytes, &frame.deflated)?;
            let used = self.log.lens.entry(file).or_default();
            let offset = *used;
            *used += len;
            let (oldest, newest) = frame::stamps(&frame.entries, slot.progress);
            entries.push(Entry {
                seq,
                file,
                offset,
                len: len as u32,
                entries: frame.entries.len() as u32,
                raw_len: frame.raw_len,
                stream,
                progress: slot.progress,
                oldest,
                newest,
            });
        }
        let file = self.log.active.expect("a page has at least one frame");
        self.disk.sync_data(&log::path(file))?;
        Ok(entries)
    }

    /// A frame is one write, but for one that is too long to be in memory twice.
    fn write_frame(
        &mut self,
        path: &str,
        head: &mut Vec<u8>,
        deflated: &[u8],
    ) -> std::io::Result<()> {
        if deflated.len() > FRAME_RAW_BYTES_MAX {
            self.disk.append(path, head)?;
            return self.disk.append(path, deflated);
        }
        head.extend_from_slice(deflated);
        self.disk.append(path, head)
    }

    /// Takes back what was written of a page, durably. The files are not written to again.
    fn undo(&mut self, before: &Before) -> std::io::Result<()> {
        self.log.active = None;
        let mut undone = Ok(());
        for file in &before.files {
            let removed = match self.disk.remove(&log::path(*file)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => {
                    self.log.lens.remove(file);
                    Ok(())
                }
            };
            undone = undone.and(removed);
        }
        if !before.files.is_empty() {
            undone = undone.and(self.disk.sync_dir(DIR));
        }
        if let Some((file, len)) = before.active {
            let path = log::path(file);
            let cut = self.disk.truncate(&path, len).and_then(|()| self.disk.sync_data(&path));
            if cut.is_ok() {
                self.log.lens.insert(file, len);
            }
            undone = undone.and(cut);
        }
        undone
    }
}
