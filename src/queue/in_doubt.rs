//! Batches that Coralogix answered with success and a message that some records were not accepted:
//! set aside in `doubt/`, sent again, dropped. Each is a gap of each of its streams.
//!
//! ```text
//! doubt/<place>.log   a file header and the batch's frames, as in the log
//! doubt/<place>.txt   the words of the answer
//! ```
//!
//! Promises: a batch is removed from delivery together with the notes of its gaps, in one commit
//! (keeps P1); its frames are in `doubt/`, synced, before that; the directory is bounded (P4), and
//! if the copy of a batch is removed for newer ones, its gaps note that before. Own records make no
//! gap: otherwise a sink that does not accept them would be sent reports about them without end.
//! Never: decides that a batch is in doubt, or sends one again by itself.

use super::append::Append;
use super::disk::Disk;
use super::gaps::HEARTBEAT_ID;
use super::index::Batch;
use super::space::DOUBT;
use super::trouble::{beside, unusable};
use super::{Queue, QueueError};
use crate::coralogix::body;
use crate::frame::{self, Frame, FrameError, FrameMeta, Piece};
use crate::limits::{DOUBT_ENTRY_MIN, DOUBT_WORDS_BYTES_MAX, TAKE_FRAMES_MAX};
use crate::pack::Packer;
use crate::plain;
use crate::record::{
    Category, Gap, GapReason, Progress, QueuePosition, QueueStatus, RowKey, Seq, StreamName, Unread,
};
use crate::time::Stamp;

impl<D: Disk> Queue<D> {
    /// Sets everything from the head up to `end` aside, durably, and removes it from delivery.
    /// `words`: the answer's message. Heartbeats are dropped: the next one reports the same for a
    /// later time.
    pub fn doubt(&mut self, end: QueuePosition, words: &str) -> Result<QueueStatus, QueueError> {
        self.index()?;
        let at = self.state.head;
        if end <= at {
            return Ok(self.held());
        }
        let (seqs, mut frames) = self.frames_before(end)?;
        let before = self.before();
        let mut batch = Batch::default();
        if !frames.is_empty() {
            self.write_doubt(at, &seqs, &frames, words)?;
            self.name_at_present(&seqs, &mut frames);
            self.note_doubts(at, &frames, GapReason::InDoubt, &mut batch);
        }
        let gone = self.let_go(end, batch);
        self.or_as_before(before, gone)?;
        self.give_back_files();
        Ok(self.held())
    }

    /// The same for a page that was sent from memory: its stream's progress is stored in the same
    /// commit.
    pub fn doubt_page(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        (progress, known, created_keys): (Progress, &[RowKey], &[RowKey]),
        words: &str,
    ) -> Result<QueueStatus, QueueError> {
        self.index()?;
        let at = self.unqueued_place();
        self.write_doubt(at, &unqueued_seqs(at, frames), frames, words)?;
        let gap = gap_of(at, stream, frames);
        self.append_page(stream, &[], Append { progress, known, created_keys, gap, late: &[] })
    }

    /// The entries from the head up to `end`, as frames that contain nothing else, and the numbers
    /// of their frames.
    fn frames_before(&mut self, end: QueuePosition) -> Result<(Vec<Seq>, Vec<Frame>), QueueError> {
        let head = self.state.head;
        let (mut seqs, mut frames) = (Vec::new(), Vec::new());
        // One more than a request takes: the head may be after the last entry of its frame.
        for entry in self.entries(head.seq, TAKE_FRAMES_MAX + 1)? {
            if (QueuePosition { seq: entry.seq, skip: 0 }) >= end {
                break;
            }
            let from = head.skip_in(entry.seq);
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
            seqs.resize(frames.len(), entry.seq);
        }
        Ok((seqs, frames))
    }

    /// A name for a batch that was never in the log. No frame has as many entries as the second
    /// half of the name says.
    fn unqueued_place(&self) -> QueuePosition {
        let seq = self.state.next_seq;
        let first = QueuePosition { seq, skip: DOUBT_ENTRY_MIN };
        let used = self.space.doubts.range(first..).map(|(at, _)| at.skip);
        let noted = self.gap_log.rows().filter_map(|row| row.gap.parked);
        let noted = noted.filter(|at| at.seq == seq && *at >= first).map(|at| at.skip);
        let skip = used.chain(noted).max().map_or(DOUBT_ENTRY_MIN, |skip| skip.saturating_add(1));
        QueuePosition { seq, skip }
    }

    fn note_doubts(
        &mut self,
        at: QueuePosition,
        frames: &[Frame],
        reason: GapReason,
        batch: &mut Batch,
    ) {
        for stream in streams_of(frames) {
            if let Some(gap) = gap_of(at, &stream, frames) {
                self.gap_log.note(Gap { reason, ..gap }, batch);
            }
        }
    }

    fn write_doubt(
        &mut self,
        at: QueuePosition,
        seqs: &[Seq],
        frames: &[Frame],
        words: &str,
    ) -> Result<(), QueueError> {
        let mut bytes = frame::file_header(at.seq).to_vec();
        for (nth, (seq, frame)) in seqs.iter().zip(frames).enumerate() {
            let slot = FrameMeta {
                seq: *seq,
                // A reader refuses a place in a page that is after the frame's number.
                page_index: (nth as u64).min(seq.0) as u32,
                last_of_page: nth + 1 == frames.len(),
                progress: frame.progress,
            };
            frame::encode(&mut bytes, frame, slot);
        }
        let words = format!("{}\n", super::parked::cut(&plain::text(words), DOUBT_WORDS_BYTES_MAX));
        let need = (bytes.len() + words.len()) as u64;
        self.make_room_for_doubt(at, need)?;
        let written = self.write_beside(DOUBT, paths(at), &bytes, &words);
        match &written {
            Ok(()) => drop(self.space.doubts.insert(at, need)),
            Err(QueueError::DiskFull) => drop(self.space.doubts.remove(&at)),
            Err(_) => {}
        }
        written
    }

    /// Removes the oldest copies to make space for a newer one. Bytes at `at` itself are those of
    /// an interrupted write.
    fn make_room_for_doubt(&mut self, at: QueuePosition, need: u64) -> Result<(), QueueError> {
        loop {
            let others = self.space.doubts.iter().filter(|(place, _)| **place != at);
            let held: u64 = others.clone().map(|(_, bytes)| bytes).sum();
            let oldest = others.map(|(place, _)| *place).next();
            let fits = held + need <= self.space.doubt_max() && self.may_park(need);
            match oldest {
                Some(oldest) if !fits => {
                    let mut batch = Batch::default();
                    self.gap_log.give_up_copies(oldest, &mut batch);
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
    pub fn doubts(&self) -> Vec<QueuePosition> {
        self.space.doubts.keys().copied().collect()
    }

    /// The message of the answer to a batch.
    pub fn doubt_words(&mut self, at: QueuePosition) -> Option<String> {
        let (_, note) = paths(at);
        let words = self.disk.read(&note, 0, DOUBT_WORDS_BYTES_MAX + 1).ok()?;
        Some(String::from_utf8_lossy(&words).trim().to_owned())
    }

    /// Puts a batch back at the end of the queue and closes its gaps, each stream's records with
    /// its gap in one commit. The streams' progress stays. `Ok(None)`: there is no such batch.
    pub fn retry_doubt(&mut self, at: QueuePosition) -> Result<Option<QueueStatus>, QueueError> {
        let Some(frames) = self.read_doubt(at)? else { return Ok(None) };
        let still_waits = !is_unqueued(at) && at >= self.state.head && self.is_in_log(at.seq);
        // An interrupted retry has put some of the streams back already.
        let is_done = |gap: &Gap| self.gap_log.of_place(gap).is_some_and(|known| known.closed);
        let left: Vec<StreamName> = streams_of(&frames)
            .into_iter()
            .filter(|stream| !gap_of(at, stream, &frames).is_some_and(|gap| is_done(&gap)))
            .collect();
        for stream in left.iter().filter(|_| !still_waits) {
            let gap = gap_of(at, stream, &frames).map(|gap| Gap { closed: true, ..gap });
            let progress = self.streams.find(stream).and_then(|stream| stream.row.progress);
            // A stream that is not known any more must not get a position later than these records.
            let oldest = gap.as_ref().map_or(Stamp::EPOCH, |gap| gap.from);
            let oldest = Progress { position: oldest, from: oldest };
            let progress = progress.unwrap_or(oldest);
            let own = frames.iter().filter(|frame| frame.stream == *stream);
            let own: Vec<Frame> = own.map(|frame| Frame { progress, ..frame.clone() }).collect();
            self.append_page(
                stream,
                &own,
                Append { progress, known: &[], created_keys: &[], gap, late: &[] },
            )?;
        }
        self.forget_doubt(at).map(Some)
    }

    /// Drops a batch; the gap log keeps a note of it. `Ok(None)`: there is no such batch. A file
    /// that can't be read is quarantined instead, and its gaps stay as they are.
    pub fn drop_doubt(&mut self, at: QueuePosition) -> Result<Option<QueueStatus>, QueueError> {
        let frames = match self.read_doubt(at) {
            Err(QueueError::Damaged { why, .. }) => {
                let (path, _) = paths(at);
                let set_aside = self.set_aside(&path, &format!("doubt-{at}"), &why);
                set_aside.map_err(|error| beside(&path, "set aside", &error))?;
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
    pub(super) fn forget_doubt(&mut self, at: QueuePosition) -> Result<QueueStatus, QueueError> {
        let (path, note) = paths(at);
        let removed = match self.disk.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => self.disk.sync_dir(DOUBT),
        };
        removed.map_err(|error| beside(&path, "removed", &error))?;
        // Without its batch the note is useless.
        let _ = self.disk.remove(&note);
        self.space.doubts.remove(&at);
        Ok(self.held())
    }

    /// A batch in doubt may wait in the log again, because the index without it was lost. If it is
    /// accepted now, its gaps are closed in the same commit. Returns the batches whose files are to
    /// be removed after that.
    pub(super) fn settle_doubts(
        &mut self,
        end: QueuePosition,
        batch: &mut Batch,
    ) -> Vec<QueuePosition> {
        let settled = self.space.doubts.range(self.state.head..end).map(|(at, _)| *at);
        let settled: Vec<QueuePosition> = settled.filter(|at| !is_unqueued(*at)).collect();
        settled.iter().for_each(|at| self.gap_log.close_doubts(*at, batch));
        settled
    }

    /// The frames of a batch in doubt.
    pub(super) fn read_doubt(
        &mut self,
        at: QueuePosition,
    ) -> Result<Option<Vec<Frame>>, QueueError> {
        let (path, _) = paths(at);
        let Some(bytes) = self.read_beside(&path, at.seq)? else { return Ok(None) };
        let (seqs, mut frames) =
            decode_numbered(&bytes).map_err(|bad| unusable(&path, at.seq, bad))?;
        self.name_at_present(&seqs, &mut frames);
        Ok(Some(frames))
    }

    /// Gives each frame the present name of its stream. Their copies keep the name that goes with
    /// their number, as the log does.
    fn name_at_present(&self, seqs: &[Seq], frames: &mut [Frame]) {
        for (seq, frame) in seqs.iter().zip(frames) {
            frame.stream = self.present_name(&frame.stream, *seq);
        }
    }

    /// Notes the batches in `doubt/` that the gap log does not have, because the index was lost. A
    /// batch that still waits in the log is sent again, and the new answer decides.
    pub(super) fn recover_doubts(&mut self) -> Result<(), QueueError> {
        for at in self.doubts() {
            let waits = !is_unqueued(at) && at >= self.state.head && self.is_in_log(at.seq);
            if waits || self.gap_log.knows(at) {
                continue;
            }
            match self.read_doubt(at) {
                Ok(Some(frames)) => {
                    self.note_doubts(at, &frames, GapReason::InDoubt, &mut Batch::default());
                }
                // A damaged file does not show its streams; the file itself can still be inspected.
                Ok(None) | Err(QueueError::Damaged { .. }) => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(())
    }

    fn is_in_log(&self, seq: Seq) -> bool {
        self.log.lens.range(..=seq.0).next_back().is_some()
    }

    /// Imports a batch that was in doubt on another machine: it is not sent by itself here either.
    pub(super) fn import_doubt(&mut self, frames: &[Frame], words: &str) -> Result<(), QueueError> {
        let at = self.unqueued_place();
        let mut batch = Batch::default();
        self.write_doubt(at, &unqueued_seqs(at, frames), frames, words)?;
        self.note_doubts(at, frames, GapReason::InDoubt, &mut batch);
        self.commit(&batch)
    }
}

/// Whether a batch was never in the log.
fn is_unqueued(at: QueuePosition) -> bool {
    at.skip >= DOUBT_ENTRY_MIN
}

/// The numbers of frames that were never in the log: before that of the next frame, so that they
/// follow each move that comes.
fn unqueued_seqs(at: QueuePosition, frames: &[Frame]) -> Vec<Seq> {
    vec![Seq(at.seq.0.saturating_sub(1)); frames.len()]
}

fn is_heartbeat(frame: &Frame) -> bool {
    frame.stream.category == Category::Collector
        && frame.entries.iter().all(|meta| meta.key.id == HEARTBEAT_ID)
}

/// The streams of a batch, with own records last.
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

/// The gap of a stream's records in a batch; own records have none.
fn gap_of(at: QueuePosition, stream: &StreamName, frames: &[Frame]) -> Option<Gap> {
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

/// A range of a frame's entries as frames of their own.
fn part(frame: Frame, from: u32, to: u32) -> Result<Vec<Frame>, body::BadFrame> {
    if from == 0 && to as usize >= frame.entries.len() {
        return Ok(vec![frame]);
    }
    let mut packer = Packer::new(frame.stream.clone());
    let progress = frame.progress;
    let piece = Piece { frame, skip: from, take: to - from };
    let metas = &piece.frame.entries[from as usize..];
    for (entry, meta) in body::entries(&piece)?.iter().zip(metas) {
        packer.push(entry, meta.key, meta.stamped);
    }
    Ok(packer.finish(progress))
}

/// The frames of a file; every checksum has to be right, and nothing else may be in it.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
    decode_numbered(bytes).map(|(_, frames)| frames)
}

/// The same with their numbers.
fn decode_numbered(bytes: &[u8]) -> Result<(Vec<Seq>, Vec<Frame>), FrameError> {
    let (mut seqs, mut frames, mut rest) = (Vec::new(), Vec::new(), bytes);
    while !rest.is_empty() {
        let (header, frame) = frame::decode(rest)?;
        rest = &rest[header.disk_len()..];
        let is_last = header.last_of_page;
        seqs.push(header.seq);
        frames.push(frame);
        if is_last {
            break;
        }
    }
    match frames.last().is_some_and(|last| last.last_of_page) && rest.is_empty() {
        true => Ok((seqs, frames)),
        false => Err(FrameError::Cut),
    }
}

/// The path of a batch, and the path of its answer's message.
fn paths(at: QueuePosition) -> (String, String) {
    let stem = format!("{DOUBT}/{at}");
    (format!("{stem}.log"), format!("{stem}.txt"))
}
