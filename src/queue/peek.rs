//! Reads what waits, without removing it.

use super::disk::Disk;
use super::schema::Entry;
use super::{Peeked, Queue, QueueError, log};
use crate::frame::{self, Frame, FrameError, Piece, json_len};
use crate::limits::{AHEAD_ENTRIES_MAX, TAKE_FRAMES_MAX};
use crate::plain::count;
use crate::record::{Category, Probe, QueuePosition, Sent, Seq, StreamName, Take};

/// Rows of the index read at a time.
const LOOK_AHEAD: usize = 32;
/// The brackets around the entries.
const BRACKETS_BYTES: u64 = 2;

/// The pieces of a request so far.
#[derive(Default)]
struct PeekedBatch {
    pieces: Vec<Piece>,
    seqs: Vec<Seq>,
    entries: u32,
    own: u32,
    raw_bytes: u64,
}

impl PeekedBatch {
    /// The length of the body with `more` bytes of entries, including the comma before them.
    fn with(&self, more: u64) -> u64 {
        let comma = u64::from(!self.pieces.is_empty());
        self.raw_bytes.max(BRACKETS_BYTES) + comma + more
    }

    fn put(&mut self, seq: Seq, frame: Frame, (skip, take): (u32, u32), bytes: u64) {
        self.seqs.push(seq);
        self.raw_bytes = self.with(bytes);
        self.entries += take;
        if frame.stream.category == Category::Collector {
            self.own += take;
        }
        self.pieces.push(Piece { frame, skip, take });
    }
}

impl<D: Disk> Queue<D> {
    /// The oldest waiting entries: whole frames while they fit, else a part of the first, at least
    /// one entry. `None` if nothing waits. A damaged frame ends the result; as the first frame it
    /// is an error.
    pub fn peek(&mut self, take: Take) -> Result<Option<Peeked>, QueueError> {
        if !self.is_unindexed() {
            self.index()?;
        }
        if self.state.records == 0 {
            return Ok(None);
        }
        let head = self.state.head;
        let mut first = None;
        let mut end = head;
        let mut peeked = PeekedBatch::default();
        let mut from = head.seq;
        'frames: while peeked.pieces.len() < TAKE_FRAMES_MAX {
            let entries = self.entries(from, LOOK_AHEAD)?;
            let Some(last) = entries.last() else { break };
            from = last.seq.next();
            for entry in &entries {
                let skip = head.skip_in(entry.seq);
                if skip >= entry.entries {
                    continue;
                }
                let is_first = first.is_none();
                let ends_here = take.until.filter(|until| until.seq == entry.seq);
                if !is_first && (ends_here.is_some() || !fits(&peeked, entry, take)) {
                    break 'frames;
                }
                let frame = match self.read_frame(entry) {
                    Ok(frame) => frame,
                    Err(damaged) if is_first => return Err(self.not_without_index(damaged)),
                    Err(_) => break 'frames,
                };
                first.get_or_insert(QueuePosition { seq: entry.seq, skip });
                let (count, bytes) = if is_first {
                    let most = ends_here.map_or(u32::MAX, |until| until.skip.saturating_sub(skip));
                    part(&frame, skip, Take { entries_max: take.entries_max.min(most), ..take })
                } else {
                    (entry.entries, u64::from(entry.raw_len))
                };
                peeked.put(entry.seq, frame, (skip, count), bytes);
                end = entry.place(skip + count);
                if end.seq == entry.seq || ends_here.is_some() {
                    break 'frames;
                }
            }
        }
        let Some(first) = first else {
            return Err(self.index_inconsistent());
        };
        let (entries, own, raw_bytes) = (peeked.entries, peeked.own, peeked.raw_bytes);
        let sent = Sent { first, end, entries, own, raw_bytes };
        Ok(Some(Peeked { pieces: peeked.pieces, seqs: peeked.seqs, sent }))
    }

    /// One entry alone from behind the head, of a service's record. `None`: none of the next ones is
    /// one that may be sent ahead of its turn.
    pub fn peek_behind(&mut self, probe: &Probe) -> Result<Option<Peeked>, QueueError> {
        let head = self.state.head;
        let (mut waiting, mut passed) = (Waiting::default(), 0);
        let mut seq = head.seq;
        while self.state.records > 0 {
            let rows = self.entries(seq, LOOK_AHEAD)?;
            let Some(last) = rows.last() else { break };
            seq = last.seq.next();
            for row in rows.iter().filter(|row| head.skip_in(row.seq) < row.entries) {
                let Ok(frame) = self.read_frame(row) else { return Ok(None) };
                for skip in head.skip_in(row.seq)..row.entries {
                    if passed >= AHEAD_ENTRIES_MAX {
                        return Ok(None);
                    }
                    let id = frame.entries[skip as usize].key.id;
                    let is_sent = probe.sent.contains(&QueuePosition { seq: row.seq, skip });
                    let is_own = frame.stream.category == Category::Collector;
                    let is_due = passed >= probe.behind.max(1) && !is_sent && !is_own;
                    if is_due && waiting.lets_pass(&frame.stream, id, probe.is_far) {
                        return Ok(Some(alone(frame, row, skip)));
                    }
                    // The one at the head is left behind in any case.
                    if !is_sent {
                        waiting.put(&frame.stream, id, passed == 0);
                    }
                    passed += 1;
                }
            }
        }
        Ok(None)
    }

    /// Without an index a damaged frame can't be given up, because that needs a commit.
    fn not_without_index(&self, error: QueueError) -> QueueError {
        match error {
            QueueError::Damaged { why, .. } if self.is_unindexed() => {
                QueueError::System(format!("{why}; to go on, the queue's index needs space"))
            }
            other => other,
        }
    }

    /// The counters say that records wait but the index has no frame: it can't be trusted.
    fn index_inconsistent(&mut self) -> QueueError {
        if self.is_unindexed() {
            let why = "the log does not go on; to know why, the queue's index needs space";
            return QueueError::System(why.into());
        }
        let why = format!("it counts {}, but no frame waits", count(self.state.records, "record"));
        self.index_failed(super::index::IndexError { fault: super::IndexFault::Broken, why })
    }

    /// Reads a frame and checks that it is the one of the index row. Before it counts as damaged it
    /// is read a second time: the error may have been on the way from the disk, and a frame is
    /// given up for good.
    pub(super) fn read_frame(&mut self, entry: &Entry) -> Result<Frame, QueueError> {
        self.read_frame_once(entry).or_else(|_| self.read_frame_once(entry))
    }

    fn read_frame_once(&mut self, entry: &Entry) -> Result<Frame, QueueError> {
        let damaged = |why: String| QueueError::Damaged { seq: entry.seq, why };
        let path = log::path(entry.file);
        let bytes = self.disk.read(&path, entry.offset, entry.len as usize);
        let bytes = bytes.map_err(|error| {
            let why = format!("{path} can't be read: {error}");
            QueueError::of_disk(&error, why, damaged)
        })?;
        let (header, frame) = frame::take(bytes).map_err(|bad| {
            let why = format!("{path} at byte {}: {}", entry.offset, bad.explain());
            if bad == FrameError::Newer { QueueError::Newer(why) } else { damaged(why) }
        })?;
        if header.seq != entry.seq || header.entries != entry.entries {
            let what = format!("{path} at byte {}: there is another frame", entry.offset);
            return Err(damaged(what));
        }
        Ok(frame)
    }
}

/// What waits before an entry that may be sent ahead of its turn.
#[derive(Default)]
struct Waiting {
    records: Vec<(StreamName, u64)>,
    /// The streams of those behind the head.
    streams: Vec<StreamName>,
}

impl Waiting {
    /// No older version of a record comes after a newer one; and unless it goes far, the record at
    /// the head alone comes after newer ones of its stream.
    fn lets_pass(&self, stream: &StreamName, id: u64, is_far: bool) -> bool {
        let mut records = self.records.iter();
        (is_far || !self.streams.contains(stream))
            && !records.any(|(of, record)| *record == id && of == stream)
    }

    fn put(&mut self, stream: &StreamName, id: u64, is_head: bool) {
        self.records.push((stream.clone(), id));
        if !is_head && !self.streams.contains(stream) {
            self.streams.push(stream.clone());
        }
    }
}

/// The request of one entry.
fn alone(frame: Frame, row: &Entry, skip: u32) -> Peeked {
    let mut peeked = PeekedBatch::default();
    let bytes = json_len(&frame.entries[skip as usize..=skip as usize]);
    peeked.put(row.seq, frame, (skip, 1), bytes);
    let (first, end) = (row.place(skip), row.place(skip + 1));
    let sent = Sent { first, end, entries: 1, own: 0, raw_bytes: peeked.raw_bytes };
    Peeked { pieces: peeked.pieces, seqs: peeked.seqs, sent }
}

fn fits(peeked: &PeekedBatch, entry: &Entry, take: Take) -> bool {
    peeked.with(u64::from(entry.raw_len)) <= take.raw_bytes_max
        && peeked.entries.saturating_add(entry.entries) <= take.entries_max
}

/// How many entries from `skip` on fit, at least one, and their length with commas.
fn part(frame: &Frame, skip: u32, take: Take) -> (u32, u64) {
    let rest = &frame.entries[skip as usize..];
    let mut count = 1;
    let mut bytes = json_len(&rest[..1]);
    for entry in &rest[1..] {
        let more = bytes + 1 + u64::from(entry.raw_len);
        if count >= take.entries_max || more + BRACKETS_BYTES > take.raw_bytes_max {
            break;
        }
        (count, bytes) = (count + 1, more);
    }
    (count, bytes)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::queue::mem::{Fault, MemDisk};
    use crate::queue::testing::*;
    use crate::record::Room;

    fn far(behind: u32, sent: &[QueuePosition]) -> Probe {
        Probe { behind, sent: sent.to_vec(), is_far: true }
    }

    #[test]
    fn a_frame_is_read_again_before_it_is_called_damaged() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, _, _) = disk.open();
        let frames = page(&threats(), &[1, 2, 3], 3);
        queue.append(&threats(), &frames, progress(3, 1), &[]).unwrap();
        // The first operation asks the index, the second reads the frame.
        disk.fail_after(2, Fault::Once(ErrorKind::Other));
        let peeked = queue.peek(ALL).unwrap().unwrap();
        assert!(disk.has_failed());
        assert_eq!(peeked.sent.entries, 3);
        disk.heal();
        disk.fail_after(2, Fault::Always(ErrorKind::Other));
        let error = queue.peek(ALL).unwrap_err();
        assert!(matches!(error, QueueError::Damaged { .. }), "{error}");
    }

    #[test]
    fn what_was_accepted_ahead_ends_a_batch_and_is_taken_alone() {
        for per_frame in [1, 2, 3, 6] {
            let disk = MemDisk::new(128 << 20);
            let (mut queue, _, _) = disk.open();
            let frames = page(&threats(), &[1, 2, 3, 4, 5, 6], per_frame);
            queue.append(&threats(), &frames, progress(6, 1), &[]).unwrap();
            let ahead = queue.peek_behind(&far(2, &[])).unwrap().unwrap().sent;
            assert_eq!(ahead.entries, 1);
            let until = Take { until: Some(ahead.first), ..ALL };
            for left in (1..3).rev() {
                let before = queue.peek(until).unwrap().unwrap().sent;
                assert!((1..=left).contains(&before.entries), "{per_frame}: {before:?}");
                let one = queue.peek(Take { entries_max: 1, ..until }).unwrap().unwrap().sent;
                queue.ack(one.end, crate::time::Mono::ZERO).unwrap();
            }
            assert_eq!(queue.peek(until).unwrap().unwrap().sent, ahead, "{per_frame}");
            let behind = queue.peek_behind(&far(0, &[ahead.first])).unwrap().unwrap().sent;
            assert_eq!(behind.first, ahead.end);
            assert!(queue.peek_behind(&far(4, &[])).unwrap().is_none());
        }
    }

    #[test]
    fn a_version_is_never_taken_ahead_of_an_older_one() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, _, _) = disk.open();
        for (numbers, position) in [([1, 2, 3], 3), ([2, 1, 4], 6)] {
            let frames = page(&threats(), &numbers, 3);
            queue.append(&threats(), &frames, progress(position, 1), &[]).unwrap();
        }
        let last = queue.peek_behind(&far(5, &[])).unwrap().unwrap().sent;
        let after_three = queue.peek_behind(&far(3, &[])).unwrap().unwrap().sent;
        assert_eq!(after_three, last, "2 and 1 wait in an older version");
    }

    #[test]
    fn only_the_head_comes_after_newer_ones_of_its_stream_unless_it_has_to_be_far() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, _, _) = disk.open();
        let near = |behind, sent: &[QueuePosition]| Probe { is_far: false, ..far(behind, sent) };
        let frames = page(&threats(), &[1, 2, 3, 4], 3);
        queue.append(&threats(), &frames, progress(4, 1), &[]).unwrap();
        let next = queue.peek_behind(&near(1, &[])).unwrap().unwrap().sent;
        assert_eq!(next.first.skip, 1);
        assert!(queue.peek_behind(&near(2, &[])).unwrap().is_none(), "the second waits");
        let second = queue.peek_behind(&near(2, &[next.first])).unwrap().unwrap().sent;
        assert_eq!(second.first, next.end);
        let frames = page(&activities(), &[7], 1);
        queue.append(&activities(), &frames, progress(7, 1), &[]).unwrap();
        let other = queue.peek_behind(&near(2, &[])).unwrap().unwrap();
        assert_eq!(other.pieces[0].frame.stream, activities());
    }

    #[test]
    fn a_page_longer_than_an_empty_queue_does_not_close_it() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, _, _) = disk.open();
        let mut frame = page(&threats(), &[1], 1).remove(0);
        frame.deflated = vec![0; LIMITS.max_size_bytes as usize];
        let refused = queue.append(&threats(), &[frame], progress(1, 1), &[]);
        assert_eq!(refused, Err(QueueError::DiskFull));
        assert_eq!(queue.held().room, Room::Free);
        let frames = page(&threats(), &[1], 1);
        queue.append(&threats(), &frames, progress(1, 1), &[]).unwrap();
    }
}
