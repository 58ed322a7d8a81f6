//! Building a new index from the log.
//!
//! Promises: it contains every frame that counts and is not delivered; every stream has the
//! position of the log, or of this process's memory; an unfinished index does not count.

use std::collections::BTreeSet;
use std::io;

use super::append::{chunk_pairs, tally_pairs};
use super::awaited;
use super::disk::{Disk, IndexOf};
use super::gaps::{self, GapLog};
use super::index::{Batch, Index, IndexError, IndexFault, IndexStore};
use super::log::{Found, LogFiles, Scan};
use super::origins::Owner;
use super::replay::{Page, Partial, Replay};
use super::schema::{self, State};
use super::streams::{Stream, Streams, chunked, earlier};
use super::tally::Change;
use super::trouble::wrote_newer;
use super::{Queue, QueueError, log, put_state, put_stream};
use crate::errno::says;
use crate::record::{Category, Gap, GapReason, Progress, QueuePosition, Seq, StreamName};
use crate::time::{Mono, Stamp};

/// What is known besides the log when a new index is built.
pub(super) struct Base {
    pub head: QueuePosition,
    pub next_seq: Seq,
    /// There is no checkpoint that names the streams.
    pub is_blind: bool,
    /// The streams, with progress as far as delivered.
    pub streams: Streams,
    /// The streams as this process knows them; `None` at a start.
    pub memory: Option<Streams>,
    /// The streams of the index that it replaces, if that can be read, is older than it was, and has
    /// every gap that was noted.
    pub older: Option<Streams>,
}

impl<D: Disk> Queue<D> {
    /// Fills a new index from the whole log. The state is written last: without it the index does
    /// not count.
    pub(super) fn build(&mut self, base: &Base) -> Result<(), IndexError> {
        let damaged_before = std::mem::take(&mut self.log.damaged);
        self.log = LogFiles::list(&mut self.disk).map_err(|error| log_error(&error))?;
        self.log.damaged = damaged_before;
        let parked = self.parked().map_err(IndexError::from)?.len() as u64;
        let next_chunk = self.state.next_chunk;
        let head = base.head.max(QueuePosition { seq: Seq(1), skip: 0 });
        self.state = State { head, parked, next_chunk, ..State::default() };
        self.streams = base.streams.clone();
        let mut memory = base.memory.clone();
        let files: Vec<(u64, u64)> = self.log.lens.iter().map(|(a, b)| (*a, *b)).collect();
        let first = files.first().map(|(first, _)| Seq(*first).max(head.seq));
        let mut replay = Replay::new(head.seq, first, Partial::Keep);
        // Files before the first one were removed or are lost. Which one is unknown if the
        // checkpoint is gone too, or if it says that frames waited there.
        let may_wait = base.is_blind || base.next_seq > head.seq;
        if first.is_some_and(|first| first > head.seq) && may_wait {
            replay.missing_before();
        }
        let (mut damaged, mut before_head, mut next) = (0, 0, head.seq);
        let mut reported = BTreeSet::new();
        let mut batch = Batch::default();
        self.sync_log(files.iter().map(|(file, _)| *file)).map_err(IndexError::from)?;
        for (file, len) in files {
            let (mut scan, before) = (Scan::new(file, 0, len), damaged);
            next = Seq(file);
            loop {
                match scan.next(&mut self.disk) {
                    Found::End => break,
                    Found::Damage { bytes } => damaged += bytes,
                    Found::Unread(error) => return Err(log_error(&error)),
                    Found::Newer => return Err(newer(&log::path(file))),
                    Found::Frame { header, offset, table } => {
                        next = header.seq.next();
                        if header.seq <= head.seq {
                            before_head = damaged;
                        }
                        for page in replay.feed(file, offset, &header, &table) {
                            let told = self.put_found(page, base, &mut memory, &mut batch)?;
                            reported.extend(told);
                        }
                    }
                }
            }
            self.log.note_damage(file, damaged - before, scan.refused.as_deref());
        }
        replay.finish();
        // Frames that were counted are missing, and were not delivered.
        let is_cut = replay.next_seq().max(head.seq) < base.next_seq;
        let is_whole = !replay.hole && !is_cut;
        let reached = match memory {
            Some(memory) if is_whole => {
                self.streams = memory;
                None
            }
            other => other,
        };
        self.learn_known(base.older.as_ref().filter(|_| is_whole));
        // What is damaged before the head was given up, and is a gap already.
        let is_all_gone = next < head.seq && base.next_seq <= head.seq;
        let given_up = if is_all_gone { damaged } else { before_head };
        self.end_replay(&replay, damaged - given_up, base.next_seq, is_cut);
        self.repair_gap_log(&reported)?;
        if !is_whole {
            let lost = self.without_position(base);
            self.note_hole(reached.as_ref(), &lost, &mut batch);
        }
        self.write_streams(batch).map_err(IndexError::from)?;
        self.note_oldest().map_err(IndexError::from)
    }

    /// Takes a page of the log into the new index, and into `memory` if that does not have it;
    /// returns the frame that reports gaps, if any.
    fn put_found(
        &mut self,
        page: Page,
        base: &Base,
        memory: &mut Option<Streams>,
        batch: &mut Batch,
    ) -> Result<Option<Seq>, IndexError> {
        let page = self.owned(page);
        let is_new = page.entries[0].seq >= base.next_seq;
        let reported = self.note_found(&page, base.memory.is_none());
        self.put_page(batch, page.clone()).map_err(IndexError::from)?;
        if let Some(memory) = memory.as_mut().filter(|_| is_new) {
            let stream = memory.named(&page.stream);
            take_in(stream, &page, &mut self.state.next_chunk);
            learn(stream, &page, &mut self.state.next_chunk);
        }
        Ok(reported)
    }

    /// Learns the ids that an older index knows. With a whole log and no gap since, the record of each
    /// of them is delivered or waits.
    fn learn_known(&mut self, older: Option<&Streams>) {
        for from in older.into_iter().flat_map(Streams::iter) {
            let ids = from.known(Stamp::MIN);
            if self.streams.find(&from.row.name).is_some() {
                let stream = self.streams.named(&from.row.name);
                for (chunk, ids) in chunked(&ids, &mut self.state.next_chunk) {
                    stream.learn(chunk, ids);
                }
            }
        }
    }

    /// The streams that may have had a position which is now unknown.
    fn without_position(&self, base: &Base) -> Vec<StreamName> {
        if base.memory.is_some() {
            return Vec::new();
        }
        let has_position = |name: &StreamName| {
            self.streams.find(name).is_some_and(|stream| stream.row.progress.is_some())
        };
        let in_log = self.streams.iter().map(|stream| &stream.row.name);
        // A stream that is not in the checkpoint has begun in the log, or never.
        let configured = self.configured.iter().map(|stream| &stream.name);
        let configured = configured.filter(|_| base.is_blind);
        let mut names: Vec<StreamName> = Vec::new();
        for name in in_log.chain(configured).filter(|name| !has_position(name)) {
            if matches!(name.category, Category::Polled(_)) && !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Notes gaps for records missing in the log, of unknown streams: for each stream from its
    /// position on, and without a beginning for the streams in `lost`, whose position is unknown.
    pub(super) fn note_hole(
        &mut self,
        memory: Option<&Streams>,
        lost: &[StreamName],
        batch: &mut Batch,
    ) {
        self.streams.iter_mut().for_each(|stream| stream.uncover(batch));
        let polled = self.streams.iter().map(|stream| &stream.row);
        let polled = polled.filter(|row| matches!(row.name.category, Category::Polled(_)));
        let gaps = polled.filter_map(|row| {
            let from = row.progress?.position;
            let known = memory.and_then(|memory| memory.find(&row.name)?.row.progress);
            let to = known.map_or(Stamp::UNREADABLE, |progress| progress.position);
            (from < to).then(|| Gap::open(&row.name, from, to, GapReason::Damaged))
        });
        let of_all = |name| Gap::open(name, Stamp::EPOCH, Stamp::UNREADABLE, GapReason::Damaged);
        let gaps = gaps.chain(lost.iter().map(of_all));
        // The hole exists until everything before it is delivered, so its gaps may be noted
        // already.
        let gaps: Vec<Gap> = gaps.filter(|gap| !self.gap_log.has(gap)).collect();
        for gap in gaps {
            self.gap_log.note(gap, batch);
        }
    }

    /// Replaces a long index by a small new one, when it contains nothing that is not in memory
    /// too. The checkpoint is written first: with it, a start that finds the new index unfinished
    /// loses nothing and repeats nothing.
    pub(super) fn renew_index(&mut self, now: Mono) {
        let is_long = |index: &mut IndexOf<D>| index.bytes() > self.space.index_bytes_max;
        if self.state.records > 0 || !self.index.as_mut().is_some_and(is_long) {
            return;
        }
        if self.write_checkpoint(now).is_none() {
            return;
        }
        let (old, old_number) = (self.index.take(), self.number);
        self.number += 1;
        let renewed = self.open_index().map_err(|error| error.why);
        match renewed
            .and_then(|()| self.write_streams(Batch::default()).map_err(|error| error.to_string()))
        {
            Ok(()) => {
                if let Some(old) = old {
                    old.close();
                }
                // Files that remain are removed at the next start.
                let _ = self.disk.index_store().remove_below(self.number);
            }
            Err(why) => {
                self.drop_index();
                self.space.index_bytes_max = u64::MAX;
                let name = self.quarantine_name(&format!("index.{}", self.number));
                if self.disk.index_store().set_aside(self.number, &name).is_ok() {
                    self.after_quarantine(&name, &format!("This index was not finished: {why}."));
                    (self.index, self.number) = (old, old_number);
                } else if let Some(old) = old {
                    // Two indexes, and the newer one is unfinished: only a third one helps.
                    old.forget();
                }
            }
        }
    }

    /// Marks gaps as unreported whose report should wait in the log and does not. Notes gaps for
    /// files in `parked/` and `doubt/` that the gap log does not have.
    fn repair_gap_log(&mut self, reported_in_log: &BTreeSet<Seq>) -> Result<(), IndexError> {
        let head = self.state.head.seq;
        let lost = |seq: Seq| seq >= head && !reported_in_log.contains(&seq);
        self.gap_log.mark_unreported(lost, &mut Batch::default());
        self.gap_log.head.heartbeat.take_if(|seq| lost(*seq));
        self.recover_parked()?;
        self.recover_doubts()?;
        Ok(())
    }

    /// Applies a page of the log to the gap log, which is written as a whole with the new index;
    /// returns the frame that reports gaps, if any. `is_start`: memory does not show which awaited
    /// records have come since, so the page is searched for them.
    fn note_found(&mut self, page: &Page, is_start: bool) -> Option<Seq> {
        let mut none = Batch::default();
        if is_start {
            self.settle_found(page, &mut none);
        }
        mark_reported(&mut self.gap_log, page, &mut none)
    }

    /// A page of the log may contain records that damage took, collected again since.
    pub(super) fn settle_found(&mut self, page: &Page, batch: &mut Batch) {
        let came = awaited::newest_of(page.ids.iter().copied());
        let is_of = |gap: u64| self.gap_log.is_of(gap, &page.stream);
        let complete = self.awaited.came(is_of, &came, batch);
        self.gap_log.close_damaged(&complete, batch);
    }

    /// The page under the present name of its stream. A page written before its stream was set back
    /// or began anew has no progress, because it does not show where the stream is now.
    fn owned(&self, page: Page) -> Page {
        match self.origins.owner(&page.stream, page.entries[0].seq) {
            Owner::Stream(name) => Page { stream: name, ..page },
            Owner::Nobody(name) => Page { stream: name, progress: None, ..page },
        }
    }

    fn put_page(&mut self, batch: &mut Batch, mut page: Page) -> Result<(), QueueError> {
        let stream = self.streams.named(&page.stream);
        take_in(stream, &page, &mut self.state.next_chunk);
        learn(stream, &page, &mut self.state.next_chunk);
        let number = stream.number;
        let head = self.state.head;
        for entry in &mut page.entries {
            entry.stream = number;
            batch.put(schema::entry_key(entry.seq), entry.encode());
            let gone = head.skip_in(entry.seq).min(entry.entries);
            self.state.records += u64::from(entry.entries - gone);
        }
        if batch.is_half_full() {
            self.commit(&std::mem::take(batch))?;
        }
        Ok(())
    }

    fn write_streams(&mut self, mut batch: Batch) -> Result<(), QueueError> {
        let mut streams = std::mem::take(&mut self.streams);
        let mut outcome = Ok(());
        for stream in streams.iter_mut() {
            if let Some(progress) = stream.row.progress {
                forget_stale(stream, progress);
            }
            put_stream(&mut batch, stream);
            stream.put_covered(self.gap_log.head.newest, &mut batch);
            let chunks: Vec<_> = stream.chunks().map(|(id, ids)| (id, ids.clone())).collect();
            let learn = stream.tally.chunks().map(|(id, ids)| (id, ids.clone())).collect();
            let tallied = Change { row: stream.tally.row, learn, forget: vec![] };
            let mut batch = std::mem::take(&mut batch);
            let created_keys = tally_pairs(&mut batch, stream.number, &tallied);
            let made =
                self.commit_with(batch, chunk_pairs(stream.number, &chunks).chain(created_keys));
            outcome = outcome.and(made);
        }
        self.streams = streams;
        outcome?;
        let others = [self.origins.pairs(), self.awaited.pairs()].concat();
        if !others.is_empty() {
            self.commit_with(std::mem::take(&mut batch), others.into_iter())?;
        }
        self.gap_log.put_all(&mut batch);
        put_state(&mut batch, &self.state);
        self.commit(&batch)
    }
}

/// Adds a counted page to its stream; returns the change of the stream's tally, if it has one. The
/// log does not contain a threat's creation time, so its stamp is used: at most a count differs
/// once, while the id is known.
pub(super) fn take_in(stream: &mut Stream, page: &Page, next_chunk: &mut u64) -> Change {
    let before = stream.row.progress;
    let oldest = Progress { position: page.oldest, from: page.oldest };
    // After a hole a stream keeps its last known position, or none if it had none, because its
    // first pages may be missing.
    if let Some(progress) = page.progress {
        stream.row.progress = Some(progress);
    }
    if stream.row.delivered.is_none() {
        stream.row.delivered = stream.row.progress.map(|progress| earlier(progress, oldest));
    }
    let Some(after) = stream.row.progress.filter(|_| stream.tally.row.is_some()) else {
        return Change::default();
    };
    let change = stream.tally.take(&page.ids, before, after, (usize::MAX, next_chunk));
    stream.tally.apply(change.clone());
    change
}

/// Marks the gaps that a page of own records reports; returns the page's last frame, which counts
/// as the report, or `None` if it reports none.
pub(super) fn mark_reported(gap_log: &mut GapLog, page: &Page, batch: &mut Batch) -> Option<Seq> {
    let reported = gaps::reported_by(&page.stream, page.ids.iter().map(|key| key.id));
    let last = page.entries.last()?.seq;
    gap_log.mark_reported(last, &reported, batch);
    (!reported.is_empty()).then_some(last)
}

/// Learns a page's ids, and forgets those that are stale by now, so that memory stays bounded.
fn learn(stream: &mut Stream, page: &Page, next_chunk: &mut u64) {
    if stream.row.name.category == Category::Collector {
        // Ids of own records are never looked up.
        return;
    }
    for (chunk, ids) in chunked(&page.ids, next_chunk) {
        stream.learn(chunk, ids);
    }
    // For a stream without progress all ids are useful, as many as may be kept.
    let begins = Progress { position: Stamp::MIN, from: Stamp::MIN };
    forget_stale(stream, stream.row.progress.unwrap_or(begins));
}

fn forget_stale(stream: &mut Stream, progress: Progress) {
    loop {
        let stale = stream.stale(progress.from);
        if stale.is_empty() {
            return;
        }
        for chunk in stale {
            stream.forget(chunk);
        }
    }
}

/// The error of an index that a newer version wrote, which must not be changed.
pub(super) fn newer(what: &str) -> IndexError {
    IndexError { fault: IndexFault::Newer, why: wrote_newer(what) }
}

impl From<QueueError> for IndexError {
    fn from(error: QueueError) -> IndexError {
        let fault = match error {
            QueueError::System(_) => IndexFault::System,
            QueueError::Denied(_) => IndexFault::Denied,
            QueueError::Newer(_) => IndexFault::Newer,
            QueueError::DiskFull | QueueError::NoSpace(_) => IndexFault::Full,
            QueueError::Broken(_) | QueueError::Damaged { .. } => IndexFault::Broken,
        };
        IndexError { fault, why: error.to_string() }
    }
}

fn log_error(error: &io::Error) -> IndexError {
    IndexError {
        fault: IndexFault::of(says(error)),
        why: format!("the log could not be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::STORED_IDS_MAX;
    use crate::queue::testing::{key, progress, threats};
    use crate::record::RowKey;

    fn page(ids: Vec<RowKey>, after: Option<Progress>) -> Page {
        let oldest = ids.iter().map(|key| key.stamp).min().unwrap();
        Page { stream: threats(), entries: vec![], ids, progress: after, oldest }
    }

    #[test]
    fn a_stream_without_a_position_knows_no_more_ids_than_may_be_kept() {
        let (mut streams, mut next_chunk) = (Streams::default(), 0);
        let stream = streams.named(&threats());
        let half = STORED_IDS_MAX as u64 / 2;
        for first in [0, half, 2 * half] {
            let ids = (first..first + half).map(key).collect();
            learn(stream, &page(ids, None), &mut next_chunk);
        }
        let known = stream.known(Stamp::MIN);
        assert!(known.len() <= STORED_IDS_MAX, "{}", known.len());
        assert!(known.contains(&key(3 * half - 1)) && !known.contains(&key(0)), "the newest");
    }

    /// Where log and index are lost later, the stream goes on before its first page.
    #[test]
    fn of_a_stream_that_begins_in_the_log_nothing_is_delivered_yet() {
        let (mut streams, mut next_chunk) = (Streams::default(), 0);
        let stream = streams.named(&threats());
        let delivered = |stream: &Stream| stream.row.delivered;
        take_in(stream, &page(vec![key(3)], None), &mut next_chunk);
        assert_eq!(delivered(stream), None, "its position is not known");
        take_in(stream, &page(vec![key(9), key(5)], Some(progress(90, 80))), &mut next_chunk);
        assert_eq!(delivered(stream), Some(progress(5, 5)));
        take_in(stream, &page(vec![key(2)], Some(progress(91, 81))), &mut next_chunk);
        assert_eq!(delivered(stream), Some(progress(5, 5)), "what moves it is an acknowledgement");
    }
}
