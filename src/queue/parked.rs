//! Records that Coralogix refuses: set aside, put back, thrown away. Each is a gap.
//!
//! Promises: a record leaves the way of delivery together with the note of its gap, in one commit
//! (keeps P1); its bytes are in `parked/`, synced, before that. The collector's own words make no
//! gap of their own, else a sink that refuses them would be told of it without end. Never: decides
//! that a record is refused.

use super::append::Taking;
use super::disk::{Disk, is_full};
use super::gaps::HEARTBEAT_ID;
use super::index::{Batch, Opener};
use super::origins::Owner;
use super::room::PARKED;
use super::{Queue, QueueError};
use crate::frame::{self, Frame, Slot};
use crate::limits::PARKED_WHY_BYTES_MAX;
use crate::plain;
use crate::record::{Category, Gap, GapReason, Held, Place, Progress, Seq, Unread};

impl<D: Disk, O: Opener> Queue<D, O> {
    /// Sets the entry at the head aside, durably, and lets go of it: Coralogix refuses it, and it
    /// shall not stand in the way. It stays in `parked/` until a person decides. A heartbeat is
    /// forgotten instead: the next one says the same of a later time.
    /// `entry`: its JSON; `None` where its frame holds nothing else.
    pub fn park(&mut self, at: Place, entry: Option<&[u8]>, why: &str) -> Result<Held, QueueError> {
        self.index()?;
        if at < self.state.head {
            return Ok(self.held());
        }
        let next = Place { seq: at.seq, skip: at.skip + 1 };
        let head = self.state.head;
        let found = self.entries(head.seq, 1)?.first().copied();
        let found = found.filter(|found| {
            let skip = if found.seq == head.seq { head.skip } else { 0 };
            at == Place { seq: found.seq, skip }
        });
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
            self.note_refused(at, &frame, &mut batch);
        }
        let end =
            if next.skip >= found.entries { Place { seq: at.seq.next(), skip: 0 } } else { next };
        let gone = self.let_go(end, batch);
        self.or_as_before(before, gone)?;
        self.give_back_files();
        Ok(self.held())
    }

    fn note_refused(&mut self, at: Place, frame: &Frame, batch: &mut Batch) {
        if frame.stream.category != Category::Collector {
            self.ledger.note(gap_of(at, frame, GapReason::Refused), batch);
        }
    }

    /// The places of the parked records, oldest first.
    pub fn parked(&mut self) -> Result<Vec<Place>, QueueError> {
        let places = self.parked_places();
        places.map_err(|error| self.disk_failed("parked/ can't be read", &error))
    }

    pub(super) fn parked_places(&mut self) -> std::io::Result<Vec<Place>> {
        let items = self.disk.list(PARKED)?;
        let mut places: Vec<Place> = items.iter().filter_map(|item| place_of(&item.name)).collect();
        places.sort_unstable();
        Ok(places)
    }

    /// Puts a parked record back at the end of the queue and closes its gap, in one commit. Its
    /// stream stays where it is. `Ok(None)`: there is no such record.
    pub fn retry_parked(&mut self, at: Place) -> Result<Option<Held>, QueueError> {
        let Some(frame) = self.read_parked(at)? else { return Ok(None) };
        let gap = Gap { closed: true, ..gap_of(at, &frame, GapReason::Refused) };
        let progress = self.streams.find(&frame.stream).and_then(|stream| stream.row.progress);
        // A stream that nobody knows any more may not begin anywhere for the sake of this record.
        let oldest = Progress { position: gap.from, from: gap.from };
        let progress = progress.unwrap_or(oldest);
        let frame = Frame { progress, ..frame };
        let stream = frame.stream.clone();
        let is_own = stream.category == Category::Collector;
        let taking = Taking { progress, known: &[], births: &[], gap: (!is_own).then_some(gap) };
        self.take_in(&stream, std::slice::from_ref(&frame), taking)?;
        self.forget_parked(at)
    }

    /// Throws a parked record away; that it is gone stays in the ledger. `Ok(None)`: there is no
    /// such record. What can't be read any more is set aside instead: the gap that was noted when it
    /// was refused stays as it is.
    pub fn drop_parked(&mut self, at: Place) -> Result<Option<Held>, QueueError> {
        let frame = match self.read_parked(at) {
            Err(QueueError::Damaged { why, .. }) => {
                let (path, _) = paths(at);
                let set_aside = self.set_aside(&path, &format!("parked-{at}"), &why);
                set_aside.map_err(|error| QueueError::Broken(format!("{path} stays: {error}")))?;
                return self.let_parked_go(at);
            }
            read => read?,
        };
        let Some(frame) = frame else { return Ok(None) };
        let mut batch = Batch::default();
        if frame.stream.category != Category::Collector {
            self.ledger.note(gap_of(at, &frame, GapReason::Purged), &mut batch);
        }
        self.commit(&batch)?;
        self.checkpoint_out_of_turn();
        self.forget_parked(at)
    }

    /// Removes the files of a parked record that is in the queue again, or given up.
    fn forget_parked(&mut self, at: Place) -> Result<Option<Held>, QueueError> {
        let (path, _) = paths(at);
        let removed = self.disk.remove(&path).and_then(|()| self.disk.sync_dir(PARKED));
        removed.map_err(|error| QueueError::Broken(format!("{path} stays: {error}")))?;
        self.let_parked_go(at)
    }

    /// The file is gone; so are its note and its place in the books.
    fn let_parked_go(&mut self, at: Place) -> Result<Option<Held>, QueueError> {
        let (_, note) = paths(at);
        // Without its record the note means nothing to anybody.
        let _ = self.disk.remove(&note);
        self.state.parked = self.state.parked.saturating_sub(1);
        let mut batch = Batch::default();
        super::put_state(&mut batch, &self.state);
        self.commit(&batch)?;
        let counted = self.disk.tree_bytes(PARKED);
        self.room.parked_bytes = counted.unwrap_or(self.room.parked_bytes);
        Ok(Some(self.held()))
    }

    /// A parked record as a frame of its own.
    fn read_parked(&mut self, at: Place) -> Result<Option<Frame>, QueueError> {
        let (path, _) = paths(at);
        let header = frame::FILE_HEADER_BYTES;
        let read = self.disk.tree_bytes(&path).and_then(|len| {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            self.disk.read(&path, header as u64, len.saturating_sub(header))
        });
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(QueueError::Broken(format!("{path}: {error}"))),
        };
        match frame::take(bytes) {
            Ok((_, mut frame)) => {
                // Under the name that its stream has now, or it would make the old one anew.
                frame.stream = match self.origins.owner(&frame.stream, at.seq) {
                    Owner::Stream(name) | Owner::Nobody(name) => name,
                };
                Ok(Some(frame))
            }
            Err(bad) => {
                Err(QueueError::Damaged { seq: at.seq, why: format!("{path}: {}", bad.explain()) })
            }
        }
    }

    /// Notes what `parked/` holds and the ledger does not know: the index that knew is lost.
    /// Records at or after the head still wait, and their files are left from a park cut short.
    pub(super) fn recover_parked(&mut self) -> std::io::Result<()> {
        let places = self.parked_places()?;
        let head = self.state.head;
        for at in places.into_iter().filter(|at| *at < head) {
            if self.ledger.of_parked(at).is_some() {
                continue;
            }
            // What can't be read says nothing of a stream; the file itself is still there to see.
            if let Ok(Some(frame)) = self.read_parked(at) {
                self.note_refused(at, &frame, &mut Batch::default());
            }
        }
        Ok(())
    }

    fn write_parked(&mut self, at: Place, frame: &Frame, why: &str) -> Result<(), QueueError> {
        let mut bytes = frame::file_header(at.seq).to_vec();
        let slot =
            Slot { seq: at.seq, page_index: 0, last_of_page: true, progress: frame.progress };
        frame::encode(&mut bytes, frame, slot);
        if !self.may_park(bytes.len() as u64) {
            return Err(QueueError::DiskFull);
        }
        let (path, note) = paths(at);
        let written = self.write_whole(&note, format!("{}\n", plain::text(why)).as_bytes());
        let written = written.and_then(|()| self.write_whole(&path, &bytes));
        let written = written.and_then(|()| self.disk.sync_dir(PARKED));
        match written {
            Ok(()) => {
                // Counted anew, for the same entry may have been parked before a power cut.
                let counted = self.disk.tree_bytes(PARKED);
                self.room.parked_bytes = counted.unwrap_or(self.room.parked_bytes);
                Ok(())
            }
            Err(error) if is_full(&error) => {
                let _ = self.disk.remove(&path);
                let _ = self.disk.remove(&note);
                self.give_up_reserve();
                Err(QueueError::DiskFull)
            }
            Err(error) => Err(QueueError::Broken(format!("{path} could not be written: {error}"))),
        }
    }

    /// Writes a file from scratch: one of the name may be left from a park that was cut short.
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

/// The gap that a parked record is.
fn gap_of(at: Place, frame: &Frame, reason: GapReason) -> Gap {
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
        unread: Unread::default(),
    }
}

/// Where a record is parked, and where the answer beside it.
fn paths(at: Place) -> (String, String) {
    let stem = format!("{PARKED}/{at}");
    (format!("{stem}.log"), format!("{stem}.txt"))
}

/// The place that a file in `parked/` is named after.
pub(super) fn place_of(name: &str) -> Option<Place> {
    let (seq, skip) = name.strip_suffix(".log")?.split_once('-')?;
    Some(Place { seq: Seq(u64::from_str_radix(seq, 16).ok()?), skip: skip.parse().ok()? })
}

/// Deflates one entry as a frame holds it: no final block, ending on a byte border.
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

/// The beginning of a text, cut at a character's border.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}
