//! Starting: reads, repairs and adopts what the last run left.
//!
//! An index that opens and has its state is trusted; then only frames of the log that it does not
//! have are read. Otherwise it is set aside and a new one is built: from the whole log and the
//! checkpoint at a start, from the whole log and this process's memory at a `reopen`.

use std::io;

use super::append::{chunk_pairs, tally_pairs};
use super::awaited::Awaited;
use super::checkpoint::{self, Checkpoint};
use super::disk::{Disk, Item, is_full};
use super::gaps::{self, GapLog};
use super::index::{Batch, Index, IndexError, IndexFault, IndexStore};
use super::log::{DIR, Found, LogFiles, Scan, path};
use super::origins::Origins;
use super::rebuild::{Base, mark_reported, newer, take_in};
use super::reopen::Old;
use super::replay::{Page, Partial, Replay};
use super::schema::{self, State, StreamRow, Tail, TallyRow};
use super::space::{DOUBT, PARKED, QUARANTINE};
use super::streams::{Streams, chunked};
use super::{OpenError, Queue, QueueError, put_state, put_stream};
use crate::errno::{Says, says};
use crate::frame::Fields;
use crate::limits::INDEX_OPEN_ATTEMPTS_MAX;
use crate::message;
use crate::plain::count;
use crate::record::{QueuePosition, Seq};

/// A file `opening.<n>` exists while the index is being opened for the n-th consecutive time.
const MARKER: &str = "opening.";
/// Rows of the index read at a time.
const ROWS: usize = 1_024;

/// What an error of the disk means for a start.
pub(super) fn disk_error(place: String, error: &io::Error) -> OpenError {
    let why = error.to_string();
    match says(error) {
        Says::Denied => OpenError::Denied { place, why, remedy: None },
        Says::Full => OpenError::Full { place, why },
        Says::System => OpenError::System { place, why },
        Says::Medium => OpenError::Failed { place, why },
    }
}

/// The error of an index that must not be used any more.
fn broken(why: &str) -> IndexError {
    IndexError { fault: IndexFault::Broken, why: why.into() }
}

impl<D: Disk> Queue<D> {
    pub(super) fn start(&mut self) -> Result<(), OpenError> {
        let place = self.disk.place();
        self.refuse_newer()?;
        let prepared = self.prepare();
        let (checkpoint, attempts) = prepared.map_err(|error| disk_error(place, &error))?;
        let started = self.start_index(&checkpoint, attempts);
        let started = started.and_then(|()| self.end_start());
        // Opened or not, this start did not crash: the count begins anew.
        self.unmark(attempts + 1);
        self.disk.index_store().drop_copy();
        started?;
        if !self.is_unindexed() {
            // Left from an interrupted renewal of the index.
            let _ = self.disk.index_store().remove_below(self.number);
        }
        self.give_back_files();
        Ok(())
    }

    /// Records delivered without the index are removed from it too.
    pub(super) fn end_start(&mut self) -> Result<(), OpenError> {
        if self.is_unindexed() {
            return Ok(());
        }
        match self.catch_up_with_head() {
            Err(QueueError::NoSpace(_) | QueueError::Broken(_)) => self.restart()?,
            other => other.map_err(|error| self.cannot_go_on(error))?,
        }
        self.count_parked(self.state.head);
        Ok(())
    }

    /// Checks what is read before the index, and changes nothing.
    fn refuse_newer(&mut self) -> Result<(), OpenError> {
        let place = self.disk.place();
        let found = super::newer::find(&mut self.disk);
        let found = found.map_err(|error| disk_error(place.clone(), &error))?;
        found.map_or(Ok(()), |what| Err(OpenError::Newer { place, why: newer(&what).why }))
    }

    /// Makes the directories and reads what needs no index. Returns the checkpoint and how many
    /// consecutive starts ended while the index was being opened.
    fn prepare(&mut self) -> io::Result<(Checkpoint, u32)> {
        for dir in [DIR, QUARANTINE, PARKED, DOUBT] {
            self.disk.create_dir(dir)?;
        }
        self.disk.sync_dir("")?;
        self.count_bytes()?;
        self.log = LogFiles::list(&mut self.disk)?;
        let items = self.disk.list("")?;
        self.note_opened(&items)?;
        self.note_start(&items);
        self.prepare_head_file(&items)?;
        let markers = items.iter().filter_map(|item| item.name.strip_prefix(MARKER)?.parse().ok());
        let attempts = markers.max().unwrap_or(0);
        Ok((self.find_checkpoint(&items)?, attempts))
    }

    /// The checkpoint; empty if there is none, or if it is damaged, which sets it aside.
    pub(super) fn find_checkpoint(&mut self, items: &[Item]) -> io::Result<Checkpoint> {
        let Some(item) = items.iter().find(|item| item.name == checkpoint::FILE) else {
            return Ok(Checkpoint::default());
        };
        let read = checkpoint::read(&mut self.disk, item.len)?.and_then(|bytes| {
            let mismatch = || "The checksum of this checkpoint does not match.".to_owned();
            Checkpoint::decode(&bytes).ok_or_else(mismatch)
        });
        let why = match read {
            Ok(checkpoint) => return Ok(checkpoint),
            Err(why) => why,
        };
        self.set_aside(checkpoint::FILE, checkpoint::FILE, &why)?;
        let text = format!("{why} It was moved to {QUARANTINE}/.");
        self.find(message::CHECKPOINT_DAMAGED, "checkpoint-damaged", text);
        Ok(Checkpoint::default())
    }

    fn newest_index(&mut self) -> Result<Option<u32>, OpenError> {
        let newest = self.disk.index_store().newest();
        newest.map_err(|error| disk_error(self.disk.place(), &error))
    }

    pub(super) fn start_index(
        &mut self,
        checkpoint: &Checkpoint,
        attempts: u32,
    ) -> Result<(), OpenError> {
        let newest = self.newest_index()?;
        self.number = newest.unwrap_or(0);
        let mut why = match newest {
            Some(_) => format!("opening it did not complete, {attempts} times in a row"),
            None => "it is not there".to_owned(),
        };
        if newest.is_some() && attempts < INDEX_OPEN_ATTEMPTS_MAX {
            let marked = self.mark(attempts + 1);
            marked.map_err(|error| disk_error(self.disk.place(), &error))?;
            match self.open_index().and_then(|()| self.load(checkpoint)) {
                Ok(()) => match self.adopt(checkpoint.next_seq) {
                    Ok(()) => return Ok(()),
                    Err(QueueError::NoSpace(_)) => return self.restart(),
                    Err(error @ QueueError::Broken(_)) => {
                        let text = format!("The index failed: {error}.");
                        self.find(message::INDEX_REPLACED, "index-replaced", text);
                        return self.restart();
                    }
                    Err(error) => return Err(self.cannot_go_on(error)),
                },
                Err(error) => {
                    self.drop_index();
                    if error.fault == IndexFault::Full {
                        return self.start_unindexed(checkpoint, &error.why);
                    }
                    let is_unfinished = error.fault == IndexFault::Unfinished;
                    let is_bad = is_unfinished || error.fault == IndexFault::Broken;
                    if is_bad && self.disk.index_store().put_back(self.number).unwrap_or(false) {
                        // One look does not make it bad: sled may not have been given all of it.
                        return self.start_index(checkpoint, attempts);
                    }
                    if is_unfinished && self.disk.index_store().remove(self.number).is_ok() {
                        // The index that it was to replace still counts, if there is one.
                        if self.newest_index()?.is_some() {
                            return self.start_index(checkpoint, attempts);
                        }
                    } else if !is_unfinished && error.fault != IndexFault::Broken {
                        return Err(self.cannot_open(error));
                    }
                    why = error.why;
                }
            }
        }
        let is_fresh =
            newest.is_none() && self.log.lens.is_empty() && *checkpoint == Checkpoint::default();
        if !is_fresh {
            let text = format!("The index is not usable: {why}. A new one was built from the log.");
            self.find(message::INDEX_REPLACED, "index-replaced", text);
        }
        let streams = self.take_from(checkpoint);
        let head = checkpoint.head.max(self.noted.place);
        let next_seq = checkpoint.next_seq.max(self.noted.next);
        let old = if newest.is_some() { Old::Broken } else { Old::None };
        let is_blind = checkpoint.next_seq == Seq::default();
        let older = self.older.take();
        let base = Base { head, next_seq, is_blind, streams, memory: None, older };
        match self.replace_index(&base, old) {
            Err(OpenError::Full { why, .. }) if !self.log.lens.is_empty() => {
                let _ = self.disk.index_store().remove(self.number);
                self.start_unindexed(checkpoint, &why)
            }
            other => other,
        }
    }

    /// Takes gaps and origins from the checkpoint; returns its streams.
    pub(super) fn take_from(&mut self, checkpoint: &Checkpoint) -> Streams {
        let mut streams = Streams::default();
        for (row, ids) in &checkpoint.streams {
            let stream = streams.named(&row.name);
            stream.row = row.clone();
            for (chunk, ids) in chunked(ids, &mut self.state.next_chunk) {
                stream.learn(chunk, ids);
            }
        }
        self.gap_log = checkpoint.gap_log.clone();
        self.origins = checkpoint.origins.clone();
        self.awaited = checkpoint.awaited.clone();
        streams
    }

    pub(super) fn unmark(&mut self, attempts: u32) {
        for attempt in 1..=attempts {
            let _ = self.disk.remove(&format!("{MARKER}{attempt}"));
        }
        let _ = self.disk.sync_dir("");
    }

    fn mark(&mut self, attempt: u32) -> io::Result<()> {
        let marker = format!("{MARKER}{attempt}");
        match self.disk.create(&marker) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // On a full disk the start has to go on: delivering frees space.
            Err(error) if is_full(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.disk.sync_dir(""),
        }
    }

    /// Reads the state and the streams of an index that was opened.
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), IndexError> {
        let Some(index) = self.index.as_mut() else { return Err(broken("it is not open")) };
        let Some(state) = index.get(schema::STATE)? else {
            let why = "it came back empty or was never finished".into();
            return Err(IndexError { fault: IndexFault::Unfinished, why });
        };
        if state.first().is_some_and(|version| *version > schema::STATE_VERSION) {
            return Err(newer("the index"));
        }
        let state = State::decode(&state).ok_or_else(|| broken("its state is unreadable"))?;
        let mut streams = Streams::default();
        each(index, b"s", |key, value| {
            let number = u16::from_be_bytes(*key.get(1..)?.first_chunk()?);
            streams.add(number, StreamRow::decode(&mut Fields(value))?);
            Some(())
        })?;
        each(index, b"k", |key, value| {
            let (number, chunk) = schema::decode_chunk_key(key)?;
            let mut fields = Fields(value);
            let ids = (0..value.len() / 16).map(|_| schema::decode_id(&mut fields));
            streams.numbered(number)?.learn(chunk, ids.collect::<Option<_>>()?);
            Some(())
        })?;
        each(index, b"b", |key, value| {
            let (number, chunk) = schema::decode_chunk_key(key)?;
            let mut fields = Fields(value);
            let ids = (0..value.len() / 16).map(|_| schema::decode_id(&mut fields));
            streams.numbered(number)?.tally.learn(chunk, ids.collect::<Option<_>>()?);
            Some(())
        })?;
        each(index, b"t", |key, value| {
            let stream = streams.numbered(u16::from_be_bytes(*key.get(1..)?.first_chunk()?))?;
            let position = stream.row.progress.map(|progress| progress.position);
            let row = TallyRow::decode(value);
            stream.tally.row = row.filter(|row| Some(row.position) == position);
            Some(())
        })?;
        let (gap_log, awaited) = load_gaps(index)?;
        if checkpoint.head > state.head || checkpoint.next_seq > state.next_seq {
            // With a gap since, it may know ids that have to come again.
            let has_all_gaps = gap_log.head.newest == checkpoint.gap_log.head.newest;
            self.older = Some(streams).filter(|_| has_all_gaps);
            return Err(broken("it came back older than it was"));
        }
        each(index, b"d", |key, value| {
            let stream = streams.numbered(u16::from_be_bytes(*key.get(1..)?.first_chunk()?));
            stream.into_iter().for_each(|stream| stream.load_covered(value, gap_log.head.newest));
            Some(())
        })?;
        let mut origins = Origins::default();
        each(index, b"u", |key, value| origins.load_tenant(key, value))?;
        each(index, b"m", |_, value| origins.load_move(value))?;
        (self.state, self.streams, self.gap_log) = (state, streams, gap_log);
        (self.origins, self.awaited) = (origins, awaited);
        Ok(())
    }

    /// Takes over the complete pages in the log that the index does not have.
    fn adopt(&mut self, next_seq: Seq) -> Result<(), QueueError> {
        let tail = self.state.tail;
        let beyond: Vec<(u64, u64, u64)> = self
            .log
            .lens
            .range(tail.file..)
            .map(|(file, len)| (*file, if *file == tail.file { tail.end } else { 0 }, *len))
            .filter(|(_, from, len)| from < len)
            .collect();
        let floor = self.state.next_seq;
        let mut replay = Replay::new(floor, Some(floor), Partial::Drop);
        let mut damaged = 0;
        self.sync_log(beyond.iter().map(|(file, ..)| *file))?;
        for (file, from, len) in beyond {
            let mut scan = Scan::new(file, from, len);
            loop {
                match scan.next(&mut self.disk) {
                    Found::End => break,
                    Found::Damage { bytes } => damaged += bytes,
                    Found::Unread(error) => {
                        return Err(self.disk_failed("the log could not be read", &error));
                    }
                    Found::Newer => return Err(QueueError::Newer(newer(&path(file)).why)),
                    Found::Frame { header, offset, table } => {
                        for page in replay.feed(file, offset, &header, &table) {
                            self.adopt_page(page)?;
                        }
                    }
                }
            }
        }
        replay.finish();
        if replay.hole {
            // Complete pages after missing ones: those were acknowledged, so the index is older
            // than it was. The whole log shows more than its end.
            return Err(QueueError::Broken("it came back older than the log".into()));
        }
        let is_cut = self.state.next_seq < self.noted.next;
        self.end_replay(&replay, damaged, next_seq.max(self.noted.next), is_cut);
        if is_cut {
            // The index is older than it was, and the missing pages are not in the log either.
            let mut batch = Batch::default();
            self.note_hole(None, &[], &mut batch);
            put_state(&mut batch, &self.state);
            self.commit(&batch)?;
        }
        self.note_oldest()
    }

    fn adopt_page(&mut self, mut page: Page) -> Result<(), QueueError> {
        let records = page.entries.iter().map(|entry| u64::from(entry.entries)).sum::<u64>();
        let of = &page.stream;
        let text = format!(
            "Added from the log, missing in the index: {} of {of}.",
            count(records, "record")
        );
        self.find(message::PAGE_ADOPTED, "page-adopted", text);
        let chunks = chunked(&page.ids, &mut self.state.next_chunk);
        let begins = self.streams.named(&page.stream).row.progress.is_none();
        let begins = page.progress.map(|progress| progress.position).filter(|_| begins);
        let gap = begins.and_then(|begins| self.gap_before(&page.stream, begins));
        let stream = self.streams.named(&page.stream);
        let tallied = take_in(stream, &page, &mut self.state.next_chunk);
        let number = stream.number;
        let mut batch = Batch::default();
        put_stream(&mut batch, stream);
        for (chunk, ids) in &chunks {
            stream.learn(*chunk, ids.clone());
        }
        for entry in &mut page.entries {
            entry.stream = number;
            batch.put(schema::entry_key(entry.seq), entry.encode());
            self.state.next_seq = entry.seq.next();
            self.state.tail = Tail { file: entry.file, end: entry.offset + u64::from(entry.len) };
        }
        self.state.records += records;
        mark_reported(&mut self.gap_log, &page, &mut batch);
        self.settle_found(&page, &mut batch);
        if let Some(gap) = gap {
            self.gap_log.note(gap, &mut batch);
        }
        if let Some(stream) = self.streams.numbered(number) {
            stream.pass_covered(page.ids.iter().copied());
            stream.put_covered(self.gap_log.head.newest, &mut batch);
        }
        put_state(&mut batch, &self.state);
        let created_keys = tally_pairs(&mut batch, number, &tallied);
        self.commit_with(batch, chunk_pairs(number, &chunks).chain(created_keys))
    }

    /// Sets where the log continues, and reports what was found in it. `is_cut`: frames that were
    /// counted are missing at its end.
    pub(super) fn end_replay(
        &mut self,
        replay: &Replay,
        damaged: u64,
        next_seq: Seq,
        is_cut: bool,
    ) {
        self.state.next_seq = replay.next_seq().max(next_seq).max(self.state.head.seq);
        if self.state.records == 0 {
            self.state.head = QueuePosition { seq: self.state.next_seq, skip: 0 };
        }
        // A file beyond everything that counts contains only an incomplete page, or nothing
        // readable, and its name is needed for the next file.
        let beyond: Vec<u64> =
            self.log.lens.range(self.state.next_seq.0..).map(|(file, _)| *file).collect();
        for file in beyond {
            if !self.give_back_file(file) {
                self.state.next_seq = self.state.next_seq.max(Seq(file).next());
            }
        }
        if let Some((file, len)) = self.log.lens.last_key_value() {
            self.state.tail = Tail { file: *file, end: *len };
        }
        let is_damaged = damaged > 0;
        let damaged = count(damaged, "byte");
        if replay.hole || is_cut {
            let text = format!(
                "Frames are missing in the log ({damaged} damaged). Every stream goes \
                 back to before them, and SentinelOne is asked again."
            );
            self.find(message::LOG_DAMAGED, "log-damaged", text);
        } else if replay.dropped > 0 || is_damaged {
            let dropped = count(replay.dropped, "frame");
            let text = format!(
                "The end of the log was cut off ({dropped}, {damaged}); it was never counted, and \
                 SentinelOne is asked for it again."
            );
            self.find(message::LOG_TAIL_DROPPED, "log-tail-dropped", text);
        }
    }

    /// What is adopted may be only in the page cache, so it is made durable first.
    pub(super) fn sync_log(&mut self, files: impl Iterator<Item = u64>) -> Result<(), QueueError> {
        let mut synced = Ok(());
        for file in files {
            synced = synced.and_then(|()| self.disk.sync_data(&super::log::path(file)));
        }
        let synced = synced.and_then(|()| self.disk.sync_dir(DIR));
        synced.map_err(|error| self.disk_failed("the log could not be made durable", &error))
    }
}

/// Reads the gap log and the records that its gaps still wait for.
fn load_gaps(index: &mut impl Index) -> Result<(GapLog, Awaited), IndexError> {
    let (mut gap_log, mut awaited) = (GapLog::default(), Awaited::default());
    let mut is_newer = false;
    each(index, b"g", |_, value| {
        is_newer |= gaps::Row::is_newer(value);
        if !is_newer {
            gap_log.load(gaps::Row::decode(value)?);
        }
        Some(())
    })?;
    each(index, b"a", |key, value| {
        is_newer |= Awaited::is_newer(key, value);
        if is_newer { Some(()) } else { awaited.load(key, value) }
    })?;
    if let Some(head) = index.get(schema::GAPS)? {
        is_newer |= gaps::Head::is_newer(&head);
        if !is_newer {
            let head = gaps::Head::decode(&mut Fields(&head));
            gap_log.head = head.ok_or_else(|| broken("the head of its gap log is unreadable"))?;
        }
    }
    match is_newer {
        true => Err(newer("a gap in the index")),
        false => Ok((gap_log, awaited)),
    }
}

/// Calls a function for all rows of one letter, reading a bounded number at a time.
fn each(
    index: &mut impl Index,
    prefix: &[u8],
    mut row: impl FnMut(&[u8], &[u8]) -> Option<()>,
) -> Result<(), IndexError> {
    let mut from = prefix.to_vec();
    loop {
        let pairs = index.range(prefix, &from, ROWS)?;
        for (key, value) in &pairs {
            row(key, value).ok_or_else(|| broken("one of its rows is unreadable"))?;
        }
        let Some((last, _)) = pairs.last().filter(|_| pairs.len() == ROWS) else { return Ok(()) };
        from.clone_from(last);
        from.push(0);
    }
}
