//! Records that Coralogix rejects: parked, sent again, dropped. Each is a gap.
//!
//! Promises: a record is removed from delivery together with the note of its gap, in one commit
//! (keeps P1); its bytes are in `parked/`, synced, before that. Own records make no gap: otherwise
//! a sink that rejects them would be sent reports about them without end. Never: decides that a
//! record is rejected.

use super::append::Append;
use super::disk::{Disk, is_full};
use super::gaps::HEARTBEAT_ID;
use super::index::Batch;
use super::origins::Owner;
use super::space::PARKED;
use super::trouble::{beside, unread, unusable};
use super::{Queue, QueueError};
use crate::frame::{self, Frame, FrameMeta};
use crate::limits::PARKED_WHY_BYTES_MAX;
use crate::plain;
use crate::record::{
    Category, Gap, GapReason, Progress, QueuePosition, QueueStatus, Seq, StreamName, Unread,
};

impl<D: Disk> Queue<D> {
    /// Parks the entry at the head, durably, and removes it from delivery: Coralogix rejects it,
    /// and it must not block others. It stays in `parked/` until a person decides. A heartbeat is
    /// dropped instead: the next one reports the same for a later time. `entry`: its JSON; `None`
    /// if its frame contains nothing else.
    pub fn park(
        &mut self,
        at: QueuePosition,
        entry: Option<&[u8]>,
        why: &str,
    ) -> Result<QueueStatus, QueueError> {
        self.index()?;
        if at < self.state.head {
            return Ok(self.held());
        }
        let head = self.state.head;
        let found = self.entries(head.seq, 1)?.first().copied();
        let found = found
            .filter(|found| at == QueuePosition { seq: found.seq, skip: head.skip_in(found.seq) });
        let Some(found) = found else {
            return Err(QueueError::Broken("the entry to park is not at the head".into()));
        };
        let whole = self.read_frame(&found)?;
        let Some(meta) = whole.entries.get(at.skip as usize).copied() else {
            return Err(QueueError::Broken("the entry to park is not in its frame".into()));
        };
        let frame = match entry {
            None if whole.entries.len() == 1 => Frame { last_of_page: true, ..whole },
            None => return Err(QueueError::Broken("the frame to park holds more".into())),
            Some(entry) => Frame {
                last_of_page: true,
                entries: vec![frame::EntryMeta { raw_len: entry.len() as u32, ..meta }],
                raw_len: entry.len() as u32,
                raw_crc: crc32fast::hash(entry),
                deflated: deflate(entry),
                ..whole
            },
        };
        let before = self.before();
        let mut batch = Batch::default();
        if frame.stream.category != Category::Collector || meta.key.id != HEARTBEAT_ID {
            self.write_parked(at, &frame, cut(why, PARKED_WHY_BYTES_MAX))?;
            self.state.parked += 1;
            self.count_parked(found.place(at.skip + 1));
            let stream = self.present_name(&frame.stream, at.seq);
            self.note_refused(at, &Frame { stream, ..frame }, &mut batch);
        }
        let gone = self.let_go(found.place(at.skip + 1), batch);
        self.or_as_before(before, gone)?;
        self.give_back_files();
        Ok(self.held())
    }

    fn note_refused(&mut self, at: QueuePosition, frame: &Frame, batch: &mut Batch) {
        if frame.stream.category != Category::Collector {
            self.gap_log.note(gap_of(at, frame, GapReason::Refused), batch);
        }
    }

    /// The places of the parked records, oldest first.
    pub fn parked(&mut self) -> Result<Vec<QueuePosition>, QueueError> {
        let items = self.disk.list(PARKED).map_err(|error| beside(PARKED, "listed", &error))?;
        let mut places: Vec<QueuePosition> =
            items.iter().filter_map(|item| place_of(&item.name)).collect();
        places.sort_unstable();
        Ok(places)
    }

    /// Counts the files of parked records before this place; from there on records wait, and a file
    /// is left from an interrupted parking. So a commit or a removal that failed does not leave a
    /// wrong number. Where they can't be listed, the number stays.
    pub(super) fn count_parked(&mut self, before: QueuePosition) {
        if let Ok(places) = self.parked() {
            self.state.parked = places.iter().filter(|at| **at < before).count() as u64;
        }
    }

    /// Puts a parked record back at the end of the queue and closes its gap, in one commit. Its
    /// stream's progress stays. `Ok(None)`: there is no such record.
    pub fn retry_parked(&mut self, at: QueuePosition) -> Result<Option<QueueStatus>, QueueError> {
        let Some(frame) = self.read_parked(at)? else { return Ok(None) };
        // A retry that was interrupted, or whose file could not be removed, has put it back
        // already.
        if self.gap_log.of_parked(at).is_some_and(|gap| gap.closed) {
            return self.forget_parked(at);
        }
        let gap = Gap { closed: true, ..gap_of(at, &frame, GapReason::Refused) };
        let progress = self.streams.find(&frame.stream).and_then(|stream| stream.row.progress);
        // A stream that is not known any more must not get a position later than this record.
        let oldest = Progress { position: gap.from, from: gap.from };
        let progress = progress.unwrap_or(oldest);
        let frame = Frame { progress, ..frame };
        let stream = frame.stream.clone();
        let is_own = stream.category == Category::Collector;
        let append = Append {
            progress,
            known: &[],
            created_keys: &[],
            gap: (!is_own).then_some(gap),
            late: &[],
        };
        self.append_page(&stream, std::slice::from_ref(&frame), append)?;
        self.forget_parked(at)
    }

    /// Drops a parked record; the gap log keeps a note of it. `Ok(None)`: there is no such record.
    /// A file that can't be read is quarantined instead, and the gap noted at the rejection stays
    /// as it is.
    pub fn drop_parked(&mut self, at: QueuePosition) -> Result<Option<QueueStatus>, QueueError> {
        let frame = match self.read_parked(at) {
            Err(QueueError::Damaged { why, .. }) => {
                let (path, _) = paths(at);
                let set_aside = self.set_aside(&path, &format!("parked-{at}"), &why);
                self.count_parked(self.state.head);
                set_aside.map_err(|error| beside(&path, "set aside", &error))?;
                return self.let_parked_go(at);
            }
            read => read?,
        };
        let Some(frame) = frame else { return Ok(None) };
        let mut batch = Batch::default();
        if frame.stream.category != Category::Collector {
            self.gap_log.note(gap_of(at, &frame, GapReason::Purged), &mut batch);
        }
        self.commit(&batch)?;
        self.checkpoint_out_of_turn();
        self.forget_parked(at)
    }

    /// Removes the files of a parked record that was put back or dropped.
    fn forget_parked(&mut self, at: QueuePosition) -> Result<Option<QueueStatus>, QueueError> {
        let (path, _) = paths(at);
        let removed = self.disk.remove(&path).and_then(|()| self.disk.sync_dir(PARKED));
        self.count_parked(self.state.head);
        removed.map_err(|error| beside(&path, "removed", &error))?;
        self.let_parked_go(at)
    }

    /// The file is gone; removes its note, and its bytes from the space usage.
    fn let_parked_go(&mut self, at: QueuePosition) -> Result<Option<QueueStatus>, QueueError> {
        let (_, note) = paths(at);
        // Without its record the note is useless.
        let _ = self.disk.remove(&note);
        // Once more: that the file is gone may have been seen while its directory could not be listed.
        self.count_parked(self.state.head);
        let mut batch = Batch::default();
        super::put_state(&mut batch, &self.state);
        self.commit(&batch)?;
        let counted = self.disk.tree_bytes(PARKED);
        self.space.parked_bytes = counted.unwrap_or(self.space.parked_bytes);
        Ok(Some(self.held()))
    }

    /// A parked record as a frame of its own.
    fn read_parked(&mut self, at: QueuePosition) -> Result<Option<Frame>, QueueError> {
        let (path, _) = paths(at);
        let Some(bytes) = self.read_beside(&path, at.seq)? else { return Ok(None) };
        match frame::take(bytes) {
            Ok((_, mut frame)) => {
                frame.stream = self.present_name(&frame.stream, at.seq);
                Ok(Some(frame))
            }
            Err(bad) => Err(unusable(&path, at.seq, bad)),
        }
    }

    /// The present name of the stream of a frame with this name and number: under the old name a
    /// frame would make that stream again.
    pub(super) fn present_name(&self, name: &StreamName, seq: Seq) -> StreamName {
        match self.origins.owner(name, seq) {
            Owner::Stream(name) | Owner::Nobody(name) => name,
        }
    }

    /// Notes the records in `parked/` that the gap log does not have, because the index was lost.
    /// Records at or after the head still wait; their files are left from an interrupted parking.
    pub(super) fn recover_parked(&mut self) -> Result<(), QueueError> {
        let places = self.parked()?;
        let head = self.state.head;
        for at in places.into_iter().filter(|at| *at < head) {
            if self.gap_log.of_parked(at).is_some() {
                continue;
            }
            match self.read_parked(at) {
                Ok(Some(frame)) => self.note_refused(at, &frame, &mut Batch::default()),
                // A damaged file does not show its stream; the file itself can still be inspected.
                Ok(None) | Err(QueueError::Damaged { .. }) => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(())
    }

    fn write_parked(
        &mut self,
        at: QueuePosition,
        frame: &Frame,
        why: &str,
    ) -> Result<(), QueueError> {
        let mut bytes = frame::file_header(at.seq).to_vec();
        let slot =
            FrameMeta { seq: at.seq, page_index: 0, last_of_page: true, progress: frame.progress };
        frame::encode(&mut bytes, frame, slot);
        if !self.may_park(bytes.len() as u64) {
            return Err(QueueError::DiskFull);
        }
        let words = format!("{}\n", plain::text(why));
        self.write_beside(PARKED, paths(at), &bytes, &words)?;
        // Counted again, because the same entry may have been parked before a power cut.
        let counted = self.disk.tree_bytes(PARKED);
        self.space.parked_bytes = counted.unwrap_or(self.space.parked_bytes);
        Ok(())
    }

    /// The content after the header of a file in `parked/` or `doubt/`. `Ok(None)`: there is no
    /// such file.
    pub(super) fn read_beside(
        &mut self,
        path: &str,
        seq: Seq,
    ) -> Result<Option<Vec<u8>>, QueueError> {
        let header = frame::FILE_HEADER_BYTES;
        let read = self.disk.tree_bytes(path).and_then(|len| {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            self.disk.read(path, header as u64, len.saturating_sub(header))
        });
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unread(path, seq, &error)),
        }
    }

    /// Writes such a file and its note, durably. If there is no space, neither remains.
    pub(super) fn write_beside(
        &mut self,
        dir: &str,
        (path, note): (String, String),
        bytes: &[u8],
        words: &str,
    ) -> Result<(), QueueError> {
        let written = self.write_whole(&note, words.as_bytes());
        let written = written.and_then(|()| self.write_whole(&path, bytes));
        let written = written.and_then(|()| self.disk.sync_dir(dir));
        match written {
            Err(error) if is_full(&error) => {
                let _ = self.disk.remove(&path);
                let _ = self.disk.remove(&note);
                self.give_up_reserve();
                Err(QueueError::DiskFull)
            }
            written => written.map_err(|error| beside(&path, "written", &error)),
        }
    }

    /// Writes a new file: one of this name may be left from an interrupted parking.
    pub(super) fn write_whole(&mut self, path: &str, bytes: &[u8]) -> std::io::Result<()> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.disk.create(path)?;
        self.disk.append(path, bytes)?;
        self.disk.sync_data(path)
    }
}

/// The gap of a parked record.
fn gap_of(at: QueuePosition, frame: &Frame, reason: GapReason) -> Gap {
    let stamp = frame.entries.first().map_or(frame.progress.from, |entry| entry.key.stamp);
    Gap {
        number: 0,
        stream: frame.stream.clone(),
        from: stamp,
        to: stamp,
        reason,
        count: Some(1),
        parked: Some(at),
        closed: false,
        unread: Unread { id: frame.entries.first().map(|entry| entry.key.id), bytes_min: None },
    }
}

/// The path of a parked record, and the path of the answer's text.
fn paths(at: QueuePosition) -> (String, String) {
    let stem = format!("{PARKED}/{at}");
    (format!("{stem}.log"), format!("{stem}.txt"))
}

/// The position in the name of a file in `parked/`.
pub(super) fn place_of(name: &str) -> Option<QueuePosition> {
    let (seq, skip) = name.strip_suffix(".log")?.split_once('-')?;
    Some(QueuePosition { seq: Seq(u64::from_str_radix(seq, 16).ok()?), skip: skip.parse().ok()? })
}

/// Compresses one entry in the form of a frame's body: no final block, ending on a byte border.
fn deflate(bytes: &[u8]) -> Vec<u8> {
    use flate2::{Compress, Compression, FlushCompress};
    let mut deflater = Compress::new(Compression::fast(), false);
    let mut out = Vec::with_capacity(bytes.len() / 2 + 1024);
    loop {
        let done = deflater.total_in() as usize;
        let room = out.capacity();
        let outcome = deflater.compress_vec(&bytes[done..], &mut out, FlushCompress::Sync);
        debug_assert!(outcome.is_ok(), "deflating into memory does not fail");
        if deflater.total_in() as usize == bytes.len() && out.len() < room {
            return out;
        }
        out.reserve(bytes.len() / 2 + 1024);
    }
}

/// The beginning of a text, cut between two characters.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise takes more space than it is long; at some length it just fills the space set aside.
    #[test]
    fn an_entry_of_any_length_is_compressed_as_a_whole() {
        let mut noise = crate::prng::Prng::new(7);
        let noise: Vec<u8> = (0..9_000).map(|_| noise.next_u64() as u8).collect();
        for len in [0, 1, 900].into_iter().chain(1_990..2_060).chain([4_000, 9_000]) {
            let deflated = deflate(&noise[..len]);
            assert!(deflated.ends_with(&[0, 0, 255, 255]), "{len} does not end on a byte border");
            let mut raw = Vec::with_capacity(len + 64);
            let mut inflater = flate2::Decompress::new(false);
            inflater.decompress_vec(&deflated, &mut raw, flate2::FlushDecompress::Sync).unwrap();
            assert!(raw == noise[..len], "{len}");
        }
    }
}
