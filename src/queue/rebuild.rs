//! Building a new index from the log.
//!
//! Promises: every frame that counts and is not delivered is in it, every stream stands where the
//! log, or what this process knows, says; an index that is not finished does not count.

use std::collections::BTreeSet;
use std::io;

use super::append::{chunk_pairs, tally_pairs};
use super::disk::Disk;
use super::gaps::{self, Ledger};
use super::index::{Batch, Index, IndexError, IndexFault, Opener};
use super::keys::{self, State};
use super::log::{Found, LogFiles, Scan};
use super::origins::Owner;
use super::replay::{Page, Partial, Replay};
use super::streams::{Stream, Streams, chunked, earlier};
use super::tally::Change;
use super::trouble::wrote_newer;
use super::{Queue, QueueError, log, put_state, put_stream};
use crate::errno::says;
use crate::record::{Category, Gap, GapReason, Place, Progress, Seq};
use crate::time::{Mono, Stamp};

/// What a new index is built on.
pub(super) struct Base {
    pub head: Place,
    pub next_seq: Seq,
    /// As far as delivered.
    pub streams: Streams,
    /// What this process knows beyond that.
    pub memory: Option<Streams>,
}

impl<D: Disk, O: Opener> Queue<D, O> {
    /// Fills a new index from the whole log. The state is written last: without it the index does
    /// not count.
    pub(super) fn build(&mut self, base: &Base) -> Result<(), IndexError> {
        let damaged_before = std::mem::take(&mut self.log.damaged);
        self.log = LogFiles::list(&mut self.disk).map_err(|error| log_error(&error))?;
        self.log.damaged = damaged_before;
        let parked = self.parked_places().map_err(|error| log_error(&error))?.len() as u64;
        let next_chunk = self.state.next_chunk;
        let head = base.head.max(Place { seq: Seq(1), skip: 0 });
        self.state = State { head, parked, next_chunk, ..State::default() };
        self.streams = base.streams.clone();
        let mut memory = base.memory.clone();
        let files: Vec<(u64, u64)> = self.log.lens.iter().map(|(a, b)| (*a, *b)).collect();
        let first = files.first().map(|(first, _)| Seq(*first).max(head.seq));
        let mut replay = Replay::new(head.seq, first, Partial::Keep);
        // Files before the first one were given back, or are lost. Nothing tells which, where the
        // checkpoint is gone too, or says that frames waited there.
        let is_blind = base.next_seq == Seq::default();
        if first.is_some_and(|first| first > head.seq) && (is_blind || base.next_seq > head.seq) {
            replay.missing_before();
        }
        let mut damaged = 0;
        let mut told_in_log = BTreeSet::new();
        let (mut batch, mut none) = (Batch::default(), Batch::default());
        self.sync_log(files.iter().map(|(file, _)| *file)).map_err(IndexError::from)?;
        for (file, len) in files {
            let (mut scan, before) = (Scan::new(file, 0, len), (damaged, replay.hole));
            loop {
                match scan.next(&mut self.disk) {
                    Found::End => break,
                    Found::Damage { bytes } => damaged += bytes,
                    Found::Unread(error) => return Err(log_error(&error)),
                    Found::Newer => return Err(newer(&log::path(file))),
                    Found::Frame { header, offset, table } => {
                        for page in replay.feed(file, offset, &header, &table) {
                            let page = self.owned(page);
                            let is_new = page.entries[0].seq >= base.next_seq;
                            told_in_log.extend(tell(&mut self.ledger, &page, &mut none));
                            self.put_page(&mut batch, page.clone()).map_err(IndexError::from)?;
                            if let Some(memory) = memory.as_mut().filter(|_| is_new) {
                                let stream = memory.named(&page.stream);
                                take_in(stream, &page, &mut self.state.next_chunk);
                                learn(stream, &page, &mut self.state.next_chunk);
                            }
                        }
                    }
                }
            }
            self.log.note_damage(file, damaged - before.0);
        }
        replay.finish();
        // Frames that were counted are not there any more, and were not delivered.
        let is_cut = replay.next_seq().max(head.seq) < base.next_seq;
        let is_whole = !replay.hole && !is_cut;
        let reached = match memory {
            Some(memory) if is_whole => {
                self.streams = memory;
                None
            }
            other => other,
        };
        self.end_replay(&replay, damaged, base.next_seq);
        self.mend_ledger(&told_in_log)?;
        if !is_whole {
            self.note_hole(reached.as_ref(), &mut batch);
        }
        self.write_streams(batch).map_err(IndexError::from)?;
        self.note_oldest().map_err(IndexError::from)
    }

    /// Nobody knows whose records are missing in the log: from where each stream goes on anything may be.
    fn note_hole(&mut self, memory: Option<&Streams>, batch: &mut Batch) {
        let polled = self.streams.iter().map(|stream| &stream.row);
        let polled = polled.filter(|row| matches!(row.name.category, Category::Polled(_)));
        let gaps = polled.filter_map(|row| {
            let from = row.progress?.position;
            let known = memory.and_then(|memory| memory.find(&row.name)?.row.progress);
            let to = known.map_or(Stamp::UNREADABLE, |progress| progress.position);
            (from < to).then(|| Gap::open(&row.name, from, to, GapReason::Damaged))
        });
        // The hole is there until what lies before it is delivered.
        let gaps: Vec<Gap> = gaps.filter(|gap| !self.ledger.has(gap)).collect();
        for gap in gaps {
            self.ledger.note(gap, batch);
        }
    }

    /// Writes a long index anew, small, once there is nothing in it but what is in memory too.
    /// The checkpoint comes first: with it, a start that finds the new index unfinished loses
    /// nothing and repeats nothing.
    pub(super) fn renew_index(&mut self, now: Mono) {
        let is_long = |index: &mut O::Index| index.bytes() > self.room.index_bytes_max;
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
                // What stays is removed at the next start.
                let _ = self.opener.remove_below(self.number);
            }
            Err(why) => {
                self.drop_index();
                self.room.index_bytes_max = u64::MAX;
                let name = self.quarantine_name(&format!("index.{}", self.number));
                if self.opener.set_aside(self.number, &name).is_ok() {
                    self.after_quarantine(&name, &format!("This index was not finished: {why}."));
                    (self.index, self.number) = (old, old_number);
                } else if let Some(old) = old {
                    // Two indexes, and the newer is not whole: only a third one helps.
                    old.forget();
                }
            }
        }
    }

    /// What waits in the log tells which gaps are told; what should wait there and does not is to
    /// be told again. `parked/` and `doubt/` tell of gaps that were noted nowhere else yet.
    fn mend_ledger(&mut self, told_in_log: &BTreeSet<Seq>) -> Result<(), IndexError> {
        let head = self.state.head.seq;
        let lost = |seq: Seq| seq >= head && !told_in_log.contains(&seq);
        self.ledger.untell(lost, &mut Batch::default());
        self.ledger.head.heartbeat.take_if(|seq| lost(*seq));
        self.recover_parked().map_err(|error| log_error(&error))?;
        self.recover_doubts();
        Ok(())
    }

    /// The page under the name that its stream has now. What was written before a stream went back or
    /// began anew says nothing of where it is.
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
            batch.put(keys::entry_key(entry.seq), entry.encode());
            let gone = if entry.seq == head.seq { head.skip.min(entry.entries) } else { 0 };
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
            let chunks: Vec<_> = stream.chunks().map(|(id, ids)| (id, ids.clone())).collect();
            let learn = stream.tally.chunks().map(|(id, ids)| (id, ids.clone())).collect();
            let tallied = Change { row: stream.tally.row, learn, forget: vec![] };
            let mut batch = std::mem::take(&mut batch);
            let births = tally_pairs(&mut batch, stream.number, &tallied);
            let made = self.commit_with(batch, chunk_pairs(stream.number, &chunks).chain(births));
            outcome = outcome.and(made);
        }
        self.streams = streams;
        outcome?;
        let others = [self.origins.pairs(), self.awaited.pairs()].concat();
        if !others.is_empty() {
            self.commit_with(std::mem::take(&mut batch), others.into_iter())?;
        }
        self.ledger.put_all(&mut batch);
        put_state(&mut batch, &self.state);
        self.commit(&batch)
    }
}

/// What a page that counts makes of its stream; answers with what it makes of a tally that was
/// begun. When a threat was created is not in the log: its stamp is taken for it, which only makes
/// a count differ once, while its id is known.
pub(super) fn take_in(stream: &mut Stream, page: &Page, next_chunk: &mut u64) -> Change {
    let before = stream.row.progress;
    let oldest = Progress { position: page.oldest, from: page.oldest };
    // Behind a hole a stream stays where it is known to have been: at its very beginning, where
    // nothing is known of it, for its first pages may be what is missing.
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

/// Marks what a page of the collector's own words tells; answers with the frame that counts as its
/// teller.
pub(super) fn tell(ledger: &mut Ledger, page: &Page, batch: &mut Batch) -> Option<Seq> {
    let told = gaps::told_by(&page.stream, page.ids.iter().map(|key| key.id));
    let last = page.entries.last()?.seq;
    ledger.told(last, &told, batch);
    (!told.is_empty()).then_some(last)
}

/// Takes a page's ids in, and forgets those that are stale by now, so that memory stays bounded.
fn learn(stream: &mut Stream, page: &Page, next_chunk: &mut u64) {
    if stream.row.name.category == Category::Collector {
        // Nobody is asked for these again.
        return;
    }
    for (chunk, ids) in chunked(&page.ids, next_chunk) {
        stream.learn(chunk, ids);
    }
    // Of a stream that begins anew all ids are of use, as many as may be kept.
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
            stream.unlearn(chunk);
        }
    }
}

/// What a newer version wrote is touched by nobody.
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
