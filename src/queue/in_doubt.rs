//! Batches that Coralogix answered with success and with words that some of it was not taken: set
//! aside in `doubt/`, put back, thrown away. Each is a gap of each of its streams.
//!
//! ```text
//! doubt/<place>.log   a file header and the batch's frames, as in the log
//! doubt/<place>.txt   the words of the answer
//! ```
//!
//! Promises: a batch leaves the way of delivery together with the notes of its gaps, in one commit
//! (keeps P1); its frames are in `doubt/`, synced, before that; the directory is bounded (P4), and
//! that the copy of a batch was given up for newer ones is noted in its gaps before the copy goes.
//! The collector's own words make no gap: a sink that doubts them would be told of it without end.
//! Never: decides that a batch is in doubt, or sends one again by itself.

use super::append::Taking;
use super::disk::{Disk, is_full};
use super::gaps::HEARTBEAT_ID;
use super::index::{Batch, Opener};
use super::room::DOUBT;
use super::{Queue, QueueError};
use crate::coralogix::body;
use crate::frame::{self, FILE_HEADER_BYTES, Frame, Piece, Slot};
use crate::limits::{DOUBT_ENTRY_MIN, DOUBT_WORDS_BYTES_MAX, TAKE_FRAMES_MAX};
use crate::pack::Packer;
use crate::plain;
use crate::record::{
    Category, Gap, GapReason, Held, Place, Progress, RowKey, Seq, StreamName, Unread,
};
use crate::time::Stamp;

impl<D: Disk, O: Opener> Queue<D, O> {
    /// Sets everything from the head up to `end` aside, durably, and lets go of it. `words`: what
    /// the answer said. Heartbeats are forgotten: the next one says the same of a later time.
    pub fn doubt(&mut self, end: Place, words: &str) -> Result<Held, QueueError> {
        self.index()?;
        let at = self.state.head;
        if end <= at {
            return Ok(self.held());
        }
        let frames = self.frames_before(end)?;
        let before = self.before();
        let mut batch = Batch::default();
        if !frames.is_empty() {
            self.write_doubt(at, &frames, words)?;
            self.note_doubts(at, &frames, GapReason::InDoubt, &mut batch);
        }
        let gone = self.let_go(end, batch);
        self.or_as_before(before, gone)?;
        self.give_back_files();
        Ok(self.held())
    }

    /// The same for a page that was sent from memory: its stream moves on with it, in one commit.
    pub fn doubt_page(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        (progress, known, births): (Progress, &[RowKey], &[RowKey]),
        words: &str,
    ) -> Result<Held, QueueError> {
        self.index()?;
        let at = self.unqueued_place();
        self.write_doubt(at, frames, words)?;
        let gap = gap_of(at, stream, frames);
        self.take_in(stream, &[], Taking { progress, known, births, gap })
    }

    /// What waits from the head up to `end`, as frames that hold nothing else.
    fn frames_before(&mut self, end: Place) -> Result<Vec<Frame>, QueueError> {
        let head = self.state.head;
        let mut frames = Vec::new();
        // One more than a request takes: the head may stand behind the last entry of its frame.
        for entry in self.entries(head.seq, TAKE_FRAMES_MAX + 1)? {
            if (Place { seq: entry.seq, skip: 0 }) >= end {
                break;
            }
            let from = if entry.seq == head.seq { head.skip } else { 0 };
            let to = if entry.seq == end.seq { end.skip.min(entry.entries) } else { entry.entries };
            if from >= to {
                continue;
            }
            let frame = self.read_frame(&entry)?;
            if is_heartbeat(&frame) {
                continue;
            }
            let cut = part(frame, from, to);
            let damaged = |why: &str| QueueError::Damaged { seq: entry.seq, why: why.to_owned() };
            frames.extend(cut.map_err(|bad| damaged(bad.why))?);
        }
        Ok(frames)
    }

    /// A name for what was never in the log. No frame has as many entries as its second half says.
    fn unqueued_place(&self) -> Place {
        let seq = self.state.next_seq;
        let first = Place { seq, skip: DOUBT_ENTRY_MIN };
        let used = self.room.doubts.range(first..).map(|(at, _)| at.skip);
        let noted = self.ledger.rows().filter_map(|row| row.gap.parked);
        let noted = noted.filter(|at| at.seq == seq && *at >= first).map(|at| at.skip);
        let skip = used.chain(noted).max().map_or(DOUBT_ENTRY_MIN, |skip| skip.saturating_add(1));
        Place { seq, skip }
    }

    fn note_doubts(&mut self, at: Place, frames: &[Frame], reason: GapReason, batch: &mut Batch) {
        for stream in streams_of(frames) {
            if let Some(gap) = gap_of(at, &stream, frames) {
                self.ledger.note(Gap { reason, ..gap }, batch);
            }
        }
    }

    fn write_doubt(&mut self, at: Place, frames: &[Frame], words: &str) -> Result<(), QueueError> {
        let mut bytes = frame::file_header(at.seq).to_vec();
        for (nth, frame) in frames.iter().enumerate() {
            let slot = Slot {
                seq: Seq(at.seq.0 + nth as u64),
                page_index: nth as u32,
                last_of_page: nth + 1 == frames.len(),
                progress: frame.progress,
            };
            frame::encode(&mut bytes, frame, slot);
        }
        let words = format!("{}\n", super::parked::cut(&plain::text(words), DOUBT_WORDS_BYTES_MAX));
        let need = (bytes.len() + words.len()) as u64;
        self.make_room_for_doubt(at, need)?;
        let (path, note) = paths(at);
        let written = self.write_whole(&note, words.as_bytes());
        let written = written.and_then(|()| self.write_whole(&path, &bytes));
        let written = written.and_then(|()| self.disk.sync_dir(DOUBT));
        match written {
            Ok(()) => {
                self.room.doubts.insert(at, need);
                Ok(())
            }
            Err(error) if is_full(&error) => {
                let _ = self.disk.remove(&path);
                let _ = self.disk.remove(&note);
                self.room.doubts.remove(&at);
                self.give_up_reserve();
                Err(QueueError::DiskFull)
            }
            Err(error) => Err(QueueError::Broken(format!("{path} could not be written: {error}"))),
        }
    }

    /// Gives the oldest copies up for a newer one. Its own bytes are those of a write cut short.
    fn make_room_for_doubt(&mut self, at: Place, need: u64) -> Result<(), QueueError> {
        loop {
            let others = self.room.doubts.iter().filter(|(place, _)| **place != at);
            let held: u64 = others.clone().map(|(_, bytes)| bytes).sum();
            let oldest = others.map(|(place, _)| *place).next();
            let fits = held + need <= self.room.doubt_max() && self.may_park(need);
            match oldest {
                Some(oldest) if !fits => {
                    let mut batch = Batch::default();
                    self.ledger.give_up_copies(oldest, &mut batch);
                    self.commit(&batch)?;
                    self.checkpoint_out_of_turn();
                    self.forget_doubt(oldest)?;
                }
                None if !self.may_park(need) => return Err(QueueError::DiskFull),
                _ => return Ok(()),
            }
        }
    }

    /// The places of the batches in doubt, oldest first.
    pub fn doubts(&self) -> Vec<Place> {
        self.room.doubts.keys().copied().collect()
    }

    /// What the answer to a batch said.
    pub fn doubt_words(&mut self, at: Place) -> Option<String> {
        let (_, note) = paths(at);
        let words = self.disk.read(&note, 0, DOUBT_WORDS_BYTES_MAX + 1).ok()?;
        Some(String::from_utf8_lossy(&words).trim().to_owned())
    }

    /// Puts a batch back at the end of the queue and closes its gaps, each stream's records with its
    /// gap in one commit. Its streams stay where they are. `Ok(None)`: there is no such batch.
    pub fn retry_doubt(&mut self, at: Place) -> Result<Option<Held>, QueueError> {
        let Some(frames) = self.read_doubt(at)? else { return Ok(None) };
        let still_waits = !is_unqueued(at) && at >= self.state.head && self.is_in_log(at.seq);
        // A retry that was cut short has put some of the streams back already.
        let is_done = |gap: &Gap| self.ledger.of_place(gap).is_some_and(|known| known.closed);
        let left: Vec<StreamName> = streams_of(&frames)
            .into_iter()
            .filter(|stream| !gap_of(at, stream, &frames).is_some_and(|gap| is_done(&gap)))
            .collect();
        for stream in left.iter().filter(|_| !still_waits) {
            let gap = gap_of(at, stream, &frames).map(|gap| Gap { closed: true, ..gap });
            let progress = self.streams.find(stream).and_then(|stream| stream.row.progress);
            // A stream that nobody knows any more may not begin anywhere for the sake of this.
            let oldest = gap.as_ref().map_or(Stamp::EPOCH, |gap| gap.from);
            let oldest = Progress { position: oldest, from: oldest };
            let progress = progress.unwrap_or(oldest);
            let own = frames.iter().filter(|frame| frame.stream == *stream);
            let own: Vec<Frame> = own.map(|frame| Frame { progress, ..frame.clone() }).collect();
            self.take_in(stream, &own, Taking { progress, known: &[], births: &[], gap })?;
        }
        self.forget_doubt(at).map(Some)
    }

    /// Throws a batch away; that it is gone stays in the ledger. `Ok(None)`: there is no such batch.
    /// What can't be read any more is set aside instead, and its gaps stay as they are.
    pub fn drop_doubt(&mut self, at: Place) -> Result<Option<Held>, QueueError> {
        let frames = match self.read_doubt(at) {
            Err(QueueError::Damaged { why, .. }) => {
                let (path, _) = paths(at);
                let set_aside = self.set_aside(&path, &format!("doubt-{at}"), &why);
                set_aside.map_err(|error| QueueError::Broken(format!("{path} stays: {error}")))?;
                return self.forget_doubt(at).map(Some);
            }
            read => read?,
        };
        let Some(frames) = frames else { return Ok(None) };
        let mut batch = Batch::default();
        self.note_doubts(at, &frames, GapReason::Purged, &mut batch);
        self.commit(&batch)?;
        self.checkpoint_out_of_turn();
        self.forget_doubt(at).map(Some)
    }

    /// Removes the files of a batch.
    pub(super) fn forget_doubt(&mut self, at: Place) -> Result<Held, QueueError> {
        let (path, note) = paths(at);
        let removed = match self.disk.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => self.disk.sync_dir(DOUBT),
        };
        removed.map_err(|error| QueueError::Broken(format!("{path} stays: {error}")))?;
        // Without its batch the note means nothing to anybody.
        let _ = self.disk.remove(&note);
        self.room.doubts.remove(&at);
        Ok(self.held())
    }

    /// A batch in doubt that waits again, for the index that knew was lost, is accepted now: its gaps
    /// are closed in the batch that lets go of it. Answers with the files to be removed then.
    pub(super) fn settle_doubts(&mut self, end: Place, batch: &mut Batch) -> Vec<Place> {
        let settled = self.room.doubts.range(self.state.head..end).map(|(at, _)| *at);
        let settled: Vec<Place> = settled.filter(|at| !is_unqueued(*at)).collect();
        settled.iter().for_each(|at| self.ledger.close_doubts(*at, batch));
        settled
    }

    /// The frames of a batch in doubt.
    pub(super) fn read_doubt(&mut self, at: Place) -> Result<Option<Vec<Frame>>, QueueError> {
        let (path, _) = paths(at);
        let read = self.disk.tree_bytes(&path).and_then(|len| {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let header = FILE_HEADER_BYTES;
            self.disk.read(&path, header as u64, len.saturating_sub(header))
        });
        match read {
            Ok(bytes) => match decode(&bytes) {
                Ok(frames) => Ok(Some(frames)),
                Err(why) => Err(QueueError::Damaged { seq: at.seq, why: format!("{path}: {why}") }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(QueueError::Broken(format!("{path}: {error}"))),
        }
    }

    /// Notes what `doubt/` holds and the ledger does not know: the index that knew is lost. What
    /// still waits in the log is sent again and judged by its new answer.
    pub(super) fn recover_doubts(&mut self) {
        for at in self.doubts() {
            let waits = !is_unqueued(at) && at >= self.state.head && self.is_in_log(at.seq);
            if waits || self.ledger.knows(at) {
                continue;
            }
            // What can't be read says nothing of a stream; the file itself is still there to see.
            if let Ok(Some(frames)) = self.read_doubt(at) {
                self.note_doubts(at, &frames, GapReason::InDoubt, &mut Batch::default());
            }
        }
    }

    fn is_in_log(&self, seq: Seq) -> bool {
        self.log.lens.range(..=seq.0).next_back().is_some()
    }

    /// Takes a batch in that was in doubt on another box: it is not sent by itself here either.
    pub(super) fn import_doubt(&mut self, frames: &[Frame], words: &str) -> Result<(), QueueError> {
        let at = self.unqueued_place();
        let mut batch = Batch::default();
        self.write_doubt(at, frames, words)?;
        self.note_doubts(at, frames, GapReason::InDoubt, &mut batch);
        self.commit(&batch)
    }
}

/// Whether a batch never was in the log.
fn is_unqueued(at: Place) -> bool {
    at.skip >= DOUBT_ENTRY_MIN
}

fn is_heartbeat(frame: &Frame) -> bool {
    frame.stream.category == Category::Collector
        && frame.entries.iter().all(|meta| meta.key.id == HEARTBEAT_ID)
}

/// The streams of a batch, the collector's own words last.
fn streams_of(frames: &[Frame]) -> Vec<StreamName> {
    let mut streams: Vec<StreamName> = Vec::new();
    for frame in frames {
        if !streams.contains(&frame.stream) {
            streams.push(frame.stream.clone());
        }
    }
    streams.sort_by_key(|stream| stream.category == Category::Collector);
    streams
}

/// The gap that a stream's records in a batch are; the collector's own words are none.
fn gap_of(at: Place, stream: &StreamName, frames: &[Frame]) -> Option<Gap> {
    if stream.category == Category::Collector {
        return None;
    }
    let entries = frames.iter().filter(|frame| frame.stream == *stream).flat_map(|f| &f.entries);
    let count = entries.clone().count() as u64;
    let stamps = entries.map(|meta| meta.key.stamp);
    let dated = stamps.clone().filter(|stamp| *stamp != Stamp::UNREADABLE);
    Some(Gap {
        number: 0,
        stream: stream.clone(),
        from: dated.clone().min().or_else(|| stamps.clone().min())?,
        to: dated.max().or_else(|| stamps.max())?,
        reason: GapReason::InDoubt,
        count: Some(count),
        parked: Some(at),
        closed: false,
        unread: Unread::default(),
    })
}

/// Some entries of a frame as frames of their own.
fn part(frame: Frame, from: u32, to: u32) -> Result<Vec<Frame>, body::BadFrame> {
    if from == 0 && to as usize >= frame.entries.len() {
        return Ok(vec![frame]);
    }
    let mut packer = Packer::new(frame.stream.clone());
    let (progress, last_of_page) = (frame.progress, frame.last_of_page);
    let piece = Piece { frame, skip: from, take: to - from };
    let metas = &piece.frame.entries[from as usize..];
    for (entry, meta) in body::entries(&piece)?.iter().zip(metas) {
        packer.push(entry, meta.key, meta.stamped);
    }
    let mut frames = packer.finish(progress);
    if let Some(last) = frames.last_mut() {
        last.last_of_page = last_of_page;
    }
    Ok(frames)
}

/// The frames of a file, every checksum checked, and nothing beside them.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Frame>, &'static str> {
    let (mut frames, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (header, frame) = frame::decode(rest).map_err(|bad| bad.explain())?;
        rest = &rest[header.disk_len()..];
        let is_last = header.last_of_page;
        frames.push(frame);
        if is_last {
            break;
        }
    }
    match frames.last().is_some_and(|last| last.last_of_page) && rest.is_empty() {
        true => Ok(frames),
        false => Err("its end is missing"),
    }
}

/// Where a batch lies, and where the words of its answer.
fn paths(at: Place) -> (String, String) {
    let stem = format!("{DOUBT}/{at}");
    (format!("{stem}.log"), format!("{stem}.txt"))
}
