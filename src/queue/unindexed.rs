//! Delivering from the log alone, while there is no space to write the index.
//!
//! ```text
//! commit or open: no space --give up the reserve, sync the file system, once more--> no space
//!     --> unindexed: peek reads the log; ack overwrites `head` in place, then gives files back
//!     --> the reserve could be written again --> reopen: the index, and let go up to `head`
//! ```
//!
//! Promises: records are returned in the order of the index, without a gap: at a missing or damaged
//! frame nothing further is returned, because what became of it could not be noted; no file is
//! removed before `head` permits it, durably. Never: stores, parks, quarantines or sets aside in
//! doubt, which all need a commit.

use std::collections::VecDeque;

use super::awaited::Awaited;
use super::checkpoint::Checkpoint;
use super::disk::{Disk, is_full};
use super::gaps::GapLog;
use super::index::Batch;
use super::log::{self, Depth, Found, LogFiles, Scan};
use super::replay::{Partial, Replay};
use super::schema::{Entry, State, Tail};
use super::{OpenError, Queue, QueueError, put_state};
use crate::limits::TAKE_FRAMES_MAX;
use crate::message;
use crate::record::{QueuePosition, QueueStatus, Seq};

/// What the process without an index knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// The checkpoint and the log: the index was never open.
    Start,
    /// The content of the index when it could not be written.
    Failure,
}

/// A walk through the log from the head on.
#[derive(Debug)]
pub(super) struct Unindexed {
    pub since: Since,
    files: VecDeque<(u64, u64)>,
    scan: Option<(u64, Scan)>,
    replay: Replay,
    /// Frames from the head on that were found and not acknowledged.
    window: VecDeque<Entry>,
    /// The number that the next frame has to have.
    next: Seq,
    /// Frames from here on do not count.
    until: Seq,
    /// No further frame can be returned.
    is_over: bool,
    /// There are more frames after a missing number.
    is_cut: bool,
    /// Files from this one on are kept, because the index has to learn from them.
    kept: u64,
}

/// The state before a record leaves the queue without being delivered.
pub(super) struct Before {
    state: State,
    gap_log: GapLog,
    awaited: Awaited,
}

impl Unindexed {
    /// `kept`: the first file that the index has to learn from, if there is one.
    pub fn new(
        (since, kept): (Since, Option<u64>),
        head: QueuePosition,
        until: Seq,
        log: &LogFiles,
    ) -> Unindexed {
        let files: VecDeque<(u64, u64)> = log.lens.iter().map(|(a, b)| (*a, *b)).collect();
        let head = head.seq.max(Seq(1));
        let first = files.front().map(|(first, _)| Seq(*first).max(head));
        let replay = Replay::new(head, first, Partial::Keep);
        Unindexed {
            since,
            files,
            scan: None,
            replay,
            window: VecDeque::new(),
            next: head,
            until,
            is_over: false,
            is_cut: false,
            kept: kept.unwrap_or(u64::MAX),
        }
    }

    /// Reads on until there are `max` frames from `from` on, or no more.
    fn look(&mut self, disk: &mut impl Disk, from: Seq, max: usize) -> Result<(), QueueError> {
        while !self.is_over && self.window.iter().filter(|entry| entry.seq >= from).count() < max {
            let Some((file, scan)) = &mut self.scan else {
                match self.files.pop_front() {
                    Some((file, len)) => {
                        self.scan = Some((file, Scan::new(file, 0, len).at_depth(Depth::Header)));
                    }
                    None => self.is_over = true,
                }
                continue;
            };
            match scan.next(disk) {
                Found::End => self.scan = None,
                // A page that a crash cut off; if records are missing, a number is missing too.
                Found::Damage { .. } => {}
                Found::Unread(error) => {
                    let why = format!("the log could not be read: {error}");
                    return Err(QueueError::of_disk(&error, why, QueueError::System));
                }
                Found::Newer => {
                    let what = super::trouble::wrote_newer(&log::path(*file));
                    return Err(QueueError::Newer(what));
                }
                Found::Frame { header, offset, table } => {
                    let file = *file;
                    let pages = self.replay.feed(file, offset, &header, &table);
                    pages
                        .into_iter()
                        .flat_map(|page| page.entries)
                        .for_each(|entry| self.add(entry));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, entry: Entry) {
        self.is_cut |= entry.seq != self.next;
        self.is_over |= self.is_cut || entry.seq >= self.until;
        if !self.is_over {
            self.next = entry.seq.next();
            self.window.push_back(entry);
        }
    }

    /// The files without a frame at or after `head` that no index needs. The end of the last file
    /// is not known, because frames may be missing in it.
    pub fn delivered(&self, log: &LogFiles, head: Seq) -> Vec<u64> {
        let files = log.delivered(head, Seq(u64::MAX));
        files.into_iter().filter(|file| *file < self.kept).collect()
    }

    /// Counts the records from the head on, and finds the number after the last one that can be
    /// returned.
    fn count(
        mut self,
        disk: &mut impl Disk,
        head: QueuePosition,
    ) -> Result<(u64, Seq), QueueError> {
        let (mut records, mut from) = (0, head.seq);
        loop {
            self.look(disk, from, TAKE_FRAMES_MAX)?;
            let Some(last) = self.window.back() else { break };
            from = last.seq.next();
            records += self.window.iter().map(|entry| u64::from(entry.entries)).sum::<u64>();
            if let Some(first) = self.window.front().filter(|first| first.seq == head.seq) {
                records -= u64::from(head.skip.min(first.entries));
            }
            self.let_go(from);
        }
        // Records after a missing number wait too; how many, only the index knows.
        Ok((records + u64::from(self.is_cut), self.next))
    }

    #[cfg(test)]
    pub fn frames_held(&self) -> usize {
        self.window.len()
    }

    fn let_go(&mut self, before: Seq) {
        while self.window.front().is_some_and(|entry| entry.seq < before) {
            self.window.pop_front();
        }
    }
}

/// The file in which the last page of the log begins: its commit may have failed for lack of space,
/// and then no index has it. An unreadable file may contain that beginning, so all files are kept.
fn last_page(disk: &mut impl Disk, log: &LogFiles) -> Option<u64> {
    log.lens.iter().rev().find_map(|(file, len)| {
        let mut scan = Scan::new(*file, 0, *len).at_depth(Depth::Header);
        loop {
            match scan.next(disk) {
                Found::Frame { header, .. } if header.page_index == 0 => return Some(*file),
                Found::Frame { .. } | Found::Damage { .. } => {}
                Found::Unread(_) | Found::Newer => return Some(0),
                Found::End => return None,
            }
        }
    })
}

impl<D: Disk> Queue<D> {
    /// Whether it delivers from the log alone.
    pub fn is_unindexed(&self) -> bool {
        self.unindexed.is_some()
    }

    /// Whether the index can probably be written again; then call `reopen`. To be called regularly,
    /// because it tries to write the reserve.
    pub fn may_be_indexed(&mut self) -> bool {
        if self.is_unindexed() && !self.space.has_reserve {
            self.take_back_reserve();
        }
        self.is_unindexed() && self.space.has_reserve
    }

    /// The first `max` frames at or after `from`, as `entries` returns them, but without their
    /// streams.
    pub(super) fn unindexed_entries(
        &mut self,
        from: Seq,
        max: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        let Some(unindexed) = self.unindexed.as_mut() else { return Ok(Vec::new()) };
        unindexed.let_go(self.state.head.seq);
        unindexed.look(&mut self.disk, from, max)?;
        let entries = unindexed.window.iter().filter(|entry| entry.seq >= from);
        Ok(entries.take(max).copied().collect())
    }

    /// Removes everything before `end`: first durably in `head`, then on the disk. If `head` can't
    /// be written the files stay, and after a kill their records are delivered again.
    pub(super) fn ack_unindexed(&mut self, end: QueuePosition) -> Result<QueueStatus, QueueError> {
        let end = end.min(QueuePosition { seq: self.state.next_seq, skip: 0 });
        while self.state.head < end {
            let head = self.state.head;
            let span = usize::try_from(end.seq.0 - head.seq.0 + 1).unwrap_or(TAKE_FRAMES_MAX);
            let entries = self.unindexed_entries(head.seq, span.min(TAKE_FRAMES_MAX))?;
            let Some(last) = entries.last() else { break };
            let reached = end.min(QueuePosition { seq: last.seq.next(), skip: 0 });
            for entry in entries.iter().take_while(|entry| entry.seq <= reached.seq) {
                let from = head.skip_in(entry.seq).min(entry.entries);
                let to = if entry.seq == reached.seq { reached.skip } else { entry.entries };
                let gone = u64::from(to.min(entry.entries).saturating_sub(from));
                self.state.records = self.state.records.saturating_sub(gone);
            }
            self.state.head = reached;
        }
        match self.note_head(true) {
            // A full copy-on-write file system is no failure: then only this process knows the
            // head.
            Err(error) if !is_full(&error) => {
                return Err(self.disk_failed("`head` could not be written", &error));
            }
            _ => {}
        }
        self.note_oldest()?;
        self.give_back_files();
        Ok(self.held())
    }

    /// The state that `or_as_before` restores.
    pub(super) fn before(&self) -> Before {
        Before { state: self.state, gap_log: self.gap_log.clone(), awaited: self.awaited.clone() }
    }

    /// Restores the state in memory after a change whose commit found no space. Acknowledgements
    /// are not undone here, because Coralogix has the records; but a record counts as set aside or
    /// given up only once its gap is written, and until then `head` must not pass it.
    pub(super) fn or_as_before<T>(
        &mut self,
        before: Before,
        outcome: Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        if let Err(QueueError::NoSpace(_)) = outcome {
            (self.state, self.gap_log, self.awaited) =
                (before.state, before.gap_log, before.awaited);
        }
        outcome
    }

    /// Continues without an index, with what this process knows.
    pub(super) fn go_unindexed(&mut self, why: &str) -> Result<(), OpenError> {
        self.drop_index();
        let until = self.state.next_seq;
        let walk = |head, log: &LogFiles| Unindexed::new((Since::Failure, None), head, until, log);
        if self.state.head < self.noted.place {
            // Delivered by an earlier process that had no index either.
            self.state.head = self.noted.place;
            let counted = walk(self.state.head, &self.log).count(&mut self.disk, self.state.head);
            self.state.records = counted.map_err(|error| self.cannot_go_on(error))?.0;
        }
        self.unindexed = Some(walk(self.state.head, &self.log));
        self.report_unindexed(why);
        Ok(())
    }

    /// Starts without an index, from the checkpoint, `head` and the log.
    pub(super) fn start_unindexed(
        &mut self,
        checkpoint: &Checkpoint,
        why: &str,
    ) -> Result<(), OpenError> {
        self.drop_index();
        self.streams = self.take_from(checkpoint);
        let head =
            checkpoint.head.max(self.noted.place).max(QueuePosition { seq: Seq(1), skip: 0 });
        let parked = self.parked();
        let parked = parked.map_err(|error| self.cannot_go_on(error))?.len() as u64;
        let since = (Since::Start, last_page(&mut self.disk, &self.log));
        let ahead = Unindexed::new(since, head, Seq(u64::MAX), &self.log);
        let counted = ahead.count(&mut self.disk, head);
        let (records, until) = counted.map_err(|error| self.cannot_go_on(error))?;
        let next_seq = until.max(checkpoint.next_seq);
        let (file, end) = self.log.lens.last_key_value().map_or((0, 0), |(a, b)| (*a, *b));
        let next_chunk = self.state.next_chunk;
        let tail = Tail { file, end };
        self.state = State { head, next_seq, records, parked, tail, next_chunk };
        self.unindexed = Some(Unindexed::new(since, head, until, &self.log));
        let noted = self.note_oldest();
        noted.map_err(|error| self.cannot_go_on(error))?;
        self.report_unindexed(why);
        Ok(())
    }

    /// Records between the index's head and that of `head` were delivered without an index: they
    /// are removed from it too.
    pub(super) fn catch_up_with_head(&mut self) -> Result<(), QueueError> {
        let noted = self.noted.place;
        if noted <= self.state.head {
            return Ok(());
        }
        let mut batch = Batch::default();
        let settled = self.settle_doubts(noted, &mut batch);
        self.let_go(noted, batch)?;
        if (QueuePosition { seq: self.state.next_seq, skip: 0 }) < noted {
            // Frames that the index never had were delivered: their numbers must not be used again.
            self.state.next_seq = if noted.skip > 0 { noted.seq.next() } else { noted.seq };
            self.state.head = QueuePosition { seq: self.state.next_seq, skip: 0 };
            let mut batch = Batch::default();
            put_state(&mut batch, &self.state);
            self.commit(&batch)?;
            let _ = self.note_head(false);
        }
        for at in settled {
            self.forget_doubt(at)?;
        }
        Ok(())
    }

    pub(super) fn report_indexed(&mut self) {
        let text = "There is space for the queue's index again; polling continues".to_owned();
        self.find(message::INDEX_WRITTEN_AGAIN, "index-written-again", text);
    }

    fn report_unindexed(&mut self, why: &str) {
        let text = format!(
            "There is no space to write the queue's index ({why}). Records are delivered from the \
             log, which frees space; polling is paused"
        );
        self.find(message::INDEX_NO_SPACE, "index-no-space", text);
    }
}
