//! Storing a page: frames to the log, then one commit of the index.

use super::awaited::{self, Awaited};
use super::disk::{Disk, is_full};
use super::gaps::{self, GapLog, HEARTBEAT_ID};
use super::index::{Batch, IndexFault, Pair};
use super::log::{self, DIR};
use super::schema::{self, ChunkId, Entry, StreamRow, Tail};
use super::streams::{chunked, earlier};
use super::tally::Change;
use super::{Queue, QueueError, put_state, put_stream};
use crate::errno::says;
use crate::frame::{self, FILE_HEADER_BYTES, Frame, FrameMeta};
use crate::limits::{FRAME_RAW_BYTES_MAX, LOG_FILE_BYTES_MAX};
use crate::record::{Covered, Gap, Progress, QueuePosition, QueueStatus, RowKey, StreamName};
use crate::time::Stamp;

/// What is stored in the same commit as the frames of a page.
pub struct Append<'a> {
    pub progress: Progress,
    pub known: &'a [RowKey],
    /// The ids of the page's records, with their creation times.
    pub created_keys: &'a [RowKey],
    /// A range that the stream passes over although something in it is not collected.
    pub gap: Option<Gap>,
    /// Stamps of records that only a complete list brought, and no walk: if one of them could not
    /// be fetched before, its gap is closed.
    pub late: &'a [Stamp],
}

/// A stream's row after a page of these frames is stored.
fn row_after(row: &StreamRow, progress: Progress, entries: &[Entry]) -> StreamRow {
    let mut after = row.clone();
    after.progress = Some(progress);
    if after.delivered.is_none() {
        // Nothing is delivered yet, so delivery begins with the oldest record of this page.
        let oldest = entries.iter().map(|entry| entry.oldest).min();
        let first = oldest.map_or(progress.from, |oldest| oldest.min(progress.from));
        after.delivered = Some(earlier(progress, Progress { position: first, from: first }));
    }
    after
}

/// The state before a page was written, to return to.
struct Before {
    active: Option<(u64, u64)>,
    files: Vec<u64>,
}

/// The ids of the overlap as rows of the index.
pub(super) fn chunk_pairs(
    stream: u16,
    chunks: &[(ChunkId, Vec<RowKey>)],
) -> impl Iterator<Item = Pair> + '_ {
    chunks.iter().map(move |(chunk, ids)| (schema::chunk_key(stream, *chunk), ids_value(ids)))
}

/// The rows for a page's change of a tally; the small part goes into the batch at once.
pub(super) fn tally_pairs<'a>(
    batch: &mut Batch,
    stream: u16,
    tallied: &'a Change,
) -> impl Iterator<Item = Pair> + use<'a> {
    tallied.forget.iter().for_each(|chunk| batch.remove(schema::tally_chunk_key(stream, *chunk)));
    match tallied.row {
        Some(row) => batch.put(schema::tally_key(stream), row.encode()),
        // Also where it had no ids: a page that is not counted ends the tally.
        None => batch.remove(schema::tally_key(stream)),
    }
    let learn = tallied.learn.iter();
    learn.map(move |(chunk, ids)| (schema::tally_chunk_key(stream, *chunk), ids_value(ids)))
}

fn ids_value(ids: &[RowKey]) -> Vec<u8> {
    let mut value = Vec::with_capacity(ids.len() * 16);
    schema::encode_ids(&mut value, ids);
    value
}

impl<D: Disk> Queue<D> {
    /// Stores a page. `known`: its ids at or after `progress.from`; older ones are forgotten, but
    /// for those that `keep_ids` names.
    pub fn append(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        progress: Progress,
        known: &[RowKey],
    ) -> Result<QueueStatus, QueueError> {
        let page = Append { progress, known, created_keys: &[], gap: None, late: &[] };
        self.append_page(stream, frames, page)
    }

    /// Whether the gap log has a gap of the same reason for the stream's records at the beginning
    /// of this one.
    pub fn has_gap_at(&self, gap: &Gap) -> bool {
        self.gap_log.has_at(gap)
    }

    /// Stores a page with everything that belongs to it. When this returns Ok, all of it survives a
    /// power cut, together. Without frames only the rest is stored.
    pub fn append_page(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        append: Append<'_>,
    ) -> Result<QueueStatus, QueueError> {
        let Append { progress, known, created_keys, gap, late } = append;
        self.index()?;
        let tally_ids_max = self.tally_ids_max_of(stream);
        let number = self.streams.named(stream).number;
        let (mut state, mut entries) = (self.state, Vec::new());
        if !frames.is_empty() {
            let in_log = self.progress_in_log(stream, progress, gap.as_ref());
            (state.tail, entries) = self.write_page(number, frames, in_log)?;
        }
        state.next_seq.0 += entries.len() as u64;
        // When nothing waits, the head may point inside a frame that was given up: the first record
        // of this page must not count as delivered.
        if let Some(first) = entries.first().filter(|_| state.records == 0) {
            state.head = state.head.max(QueuePosition { seq: first.seq, skip: 0 });
        }
        state.records += entries.iter().map(|entry| u64::from(entry.entries)).sum::<u64>();
        let chunks = chunked(known, &mut state.next_chunk);
        let known_stream = self.streams.named(stream);
        let after = row_after(&known_stream.row, progress, &entries);
        let is_new = known_stream.row.delivered.is_none();
        let stale = known_stream.stale(progress.from.min(known_stream.ids_from));
        let begins = known_stream.row.progress.is_none().then_some(progress.position);
        let ids = (tally_ids_max, &mut state.next_chunk);
        let stood = known_stream.take_stood();
        let tallied = known_stream.tally.take(created_keys, stood, progress, ids);
        let row_before = std::mem::replace(&mut known_stream.row, after);

        let mut batch = Batch::default();
        put_stream(&mut batch, known_stream);
        put_state(&mut batch, &state);
        for entry in &entries {
            batch.put(schema::entry_key(entry.seq), entry.encode());
        }
        for chunk in &stale {
            batch.remove(schema::chunk_key(number, *chunk));
        }
        let gap = gap.or_else(|| self.gap_before(stream, begins?));
        let before = self.settle_gaps(stream, frames, (created_keys, late), &mut batch);
        let has_settled = before.is_some();
        let gap_log_changes = self.note_in_gap_log(stream, frames, &entries, gap, &mut batch);
        let covered_before = self.pass_covered(stream, frames, &mut batch);
        let pairs = chunk_pairs(number, &chunks).chain(tally_pairs(&mut batch, number, &tallied));
        if let Err(error) = self.commit_with(batch, pairs) {
            let known_stream = self.streams.named(stream);
            (known_stream.row, known_stream.covered) = (row_before, covered_before);
            // The page was not stored, so its records have not come.
            if let Some((gap_log, awaited)) = before {
                (self.gap_log, self.awaited) = (gap_log, awaited);
            }
            return Err(error);
        }
        let known_stream = self.streams.named(stream);
        known_stream.tally.apply(tallied);
        for chunk in stale {
            known_stream.forget(chunk);
        }
        for (chunk, keys) in chunks {
            known_stream.learn(chunk, keys);
        }
        self.oldest = self.oldest.or(entries.first().map(|entry| entry.oldest));
        self.state = state;
        let changes_checkpoint = is_new || gap_log_changes || has_settled;
        Ok(self.committed(&entries, changes_checkpoint))
    }

    /// The memory after a page was committed.
    fn committed(&mut self, entries: &[Entry], changes_checkpoint: bool) -> QueueStatus {
        let begins_file = |entry: &Entry| entry.offset == FILE_HEADER_BYTES as u64;
        self.note_next(entries.iter().any(begins_file));
        self.space.fits();
        if changes_checkpoint {
            self.checkpoint_out_of_turn();
        }
        self.held()
    }

    /// The progress written in a page's frames. A page that a start adopts from the log must not
    /// pass over a gap that only the commit contains, so with a gap it is the progress before.
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

    /// Closes gaps of unfetchable or lost records that this page contains. Returns the previous gap
    /// log and awaited records, if they may have changed. `late`: what a complete list has brought.
    fn settle_gaps(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        (created_keys, late): (&[RowKey], &[Stamp]),
        batch: &mut Batch,
    ) -> Option<(GapLog, Awaited)> {
        let fetched = self.gap_log.fetched(stream, created_keys, late);
        let before = (!fetched.is_empty()).then(|| (self.gap_log.clone(), self.awaited.clone()));
        self.gap_log.close(&fetched, batch);
        let before_awaited = self.settle_awaited(stream, frames, batch);
        before.or(before_awaited)
    }

    /// Notes records lost to damage that have come again. Returns the previous gap log and awaited
    /// records, if they may have changed.
    fn settle_awaited(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        batch: &mut Batch,
    ) -> Option<(GapLog, Awaited)> {
        if self.awaited.is_empty() || frames.is_empty() {
            return None;
        }
        let keys = frames.iter().flat_map(|frame| &frame.entries).map(|entry| entry.key);
        let page = awaited::newest_of(keys);
        let is_of = |gap: u64| self.gap_log.is_of(gap, stream);
        // Records that SentinelOne has deleted are awaited for ever, and most pages contain none of
        // the others.
        if !self.awaited.is_any_in(is_of, &page) {
            return None;
        }
        let before = (self.gap_log.clone(), self.awaited.clone());
        let complete = self.awaited.came(is_of, &page, batch);
        self.gap_log.close_damaged(&complete, batch);
        Some(before)
    }

    /// Updates the ranges after the stream's position that were collected already. Returns the
    /// previous ones.
    fn pass_covered(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        batch: &mut Batch,
    ) -> Covered {
        let known_stream = self.streams.named(stream);
        let before = known_stream.covered.clone();
        let keys = frames.iter().flat_map(|frame| &frame.entries).map(|entry| entry.key);
        known_stream.pass_covered(keys);
        known_stream.put_covered(self.gap_log.head.newest, batch);
        before
    }

    /// Notes the page's gap, or the gaps that it reports. Returns whether the gap log now contains
    /// something that would be lost with the index.
    fn note_in_gap_log(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        entries: &[Entry],
        gap: Option<Gap>,
        batch: &mut Batch,
    ) -> bool {
        let ids = frames.iter().flat_map(|frame| &frame.entries).map(|entry| entry.key.id);
        let reported = gaps::reported_by(stream, ids);
        if let Some(last) = entries.last() {
            self.gap_log.mark_reported(last.seq, &reported, batch);
        }
        let is_gap = gap.is_some();
        if let Some(gap) = gap {
            self.gap_log.note(gap, batch);
        }
        self.follow_gone(batch);
        is_gap || reported.iter().any(|id| *id != HEARTBEAT_ID)
    }

    fn tally_ids_max_of(&self, stream: &StreamName) -> usize {
        let found = self.configured.iter().find(|known| known.name == *stream);
        found.map_or(0, |known| known.tally_ids_max)
    }

    /// Commits a batch with as many chunks of ids as fit, and the other chunks after it: ids
    /// without their records would be a loss, records without their ids are only delivered twice.
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

    /// Writes a page's frames durably; after a failure nothing of them remains.
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
                    self.space.refused(need);
                }
                if let Err(kept) = &undone {
                    // Frames of an unacknowledged page may remain in the log. A new index built
                    // from the log decides: they count if their page is complete.
                    self.drop_index();
                    // What the system refuses would be refused to a new index too.
                    let fault = IndexFault::of(says(kept));
                    let is_refused = matches!(fault, IndexFault::System | IndexFault::Denied);
                    self.refused_by = Some(fault).filter(|_| is_refused);
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
            let slot = FrameMeta {
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

    /// A frame is one write, except for one that is too long to be in memory twice.
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

    /// Removes what was written of a page, durably. The files are not written to again.
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
