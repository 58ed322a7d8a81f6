//! Delivering from the log alone, while there is no space to write the index.
//!
//! ```text
//! commit or open: no space --give up the reserve, sync the file system, once more--> no space
//!     --> unindexed: peek reads the log; ack overwrites `head` in place, then gives files back
//!     --> the reserve could be written again --> reopen: the index, and let go up to `head`
//! ```
//!
//! Promises: what is given out here comes in the order of the index, without a gap: where a frame is
//! missing or damaged nothing further is given out, for what became of it could not be noted; no file is
//! given back before `head` says, durably, that it may be. Never: takes anything in, parks, condemns or
//! doubts, which all need a commit.

use std::collections::VecDeque;

use super::awaited::Awaited;
use super::checkpoint::Checkpoint;
use super::disk::{Disk, is_full};
use super::gaps::Ledger;
use super::index::{Batch, Opener};
use super::keys::{Entry, State, Tail};
use super::log::{self, Depth, Found, LogFiles, Scan};
use super::replay::{Partial, Replay};
use super::{OpenError, Queue, QueueError, put_state};
use crate::limits::TAKE_FRAMES_MAX;
use crate::message;
use crate::record::{Held, Place, Seq};

/// What the process knows that has no index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// What the checkpoint and the log say: the index was never open.
    Start,
    /// What the index said before it could not be written.
    Failure,
}

/// A way through the log from the head on.
#[derive(Debug)]
pub(super) struct Unindexed {
    pub since: Since,
    files: VecDeque<(u64, u64)>,
    scan: Option<(u64, Scan)>,
    replay: Replay,
    /// Frames from the head on that were found and not let go of.
    window: VecDeque<Entry>,
    /// The number that the next frame must have.
    next: Seq,
    /// Frames from here on do not count.
    until: Seq,
    /// Nothing further can be given out.
    is_over: bool,
    /// There is more, behind a number that is missing.
    is_cut: bool,
    /// Files from this on stay for the index to learn from.
    kept: u64,
}

/// What changes where a record leaves the queue undelivered.
pub(super) struct Before {
    state: State,
    ledger: Ledger,
    awaited: Awaited,
}

impl Unindexed {
    /// `kept`: the file in which what an index is to learn begins, if there is any.
    pub fn new(
        (since, kept): (Since, Option<u64>),
        head: Place,
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

    /// Looks further until there are `max` frames from `from` on, or there are no more.
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
                // A page that a crash cut off; where records are missing a number is missing too.
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

    /// The files that hold nothing at or after `head` and that no index needs. Where the last one ends is not
    /// known, for frames may be missing in it.
    pub fn delivered(&self, log: &LogFiles, head: Seq) -> Vec<u64> {
        let files = log.delivered(head, Seq(u64::MAX));
        files.into_iter().filter(|file| *file < self.kept).collect()
    }

    /// Counts the records from the head on, and finds the number after the last one that can be given out.
    fn count(mut self, disk: &mut impl Disk, head: Place) -> Result<(u64, Seq), QueueError> {
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
        // What lies behind a missing number waits too; how much, only the index knows.
        Ok((records + u64::from(self.is_cut), self.next))
    }

    fn let_go(&mut self, before: Seq) {
        while self.window.front().is_some_and(|entry| entry.seq < before) {
            self.window.pop_front();
        }
    }
}

/// The file in which the last page of the log begins: its commit may be one that found no space, and
/// then no index knows of it. What can't be read may be any of it.
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

impl<D: Disk, O: Opener> Queue<D, O> {
    /// Whether it delivers from the log alone.
    pub fn is_unindexed(&self) -> bool {
        self.unindexed.is_some()
    }

    /// Whether the index can be written again, for all that is known: `reopen` then. To be asked now and
    /// then, for it tries to write what is held back.
    pub fn may_be_indexed(&mut self) -> bool {
        if self.is_unindexed() && !self.room.has_reserve {
            self.take_back_reserve();
        }
        self.is_unindexed() && self.room.has_reserve
    }

    /// The first `max` frames at or after `from`, as `entries` gives them. Of which stream they are is
    /// not said.
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

    /// Lets go of everything before `end`: first durably in `head`, then on the disk. Where `head` can't
    /// be written the files stay, and after a kill what they hold is delivered again.
    pub(super) fn ack_unindexed(&mut self, end: Place) -> Result<Held, QueueError> {
        let end = end.min(Place { seq: self.state.next_seq, skip: 0 });
        while self.state.head < end {
            let head = self.state.head;
            let span = usize::try_from(end.seq.0 - head.seq.0 + 1).unwrap_or(TAKE_FRAMES_MAX);
            let entries = self.unindexed_entries(head.seq, span.min(TAKE_FRAMES_MAX))?;
            let Some(last) = entries.last() else { break };
            let reached = end.min(Place { seq: last.seq.next(), skip: 0 });
            for entry in entries.iter().take_while(|entry| entry.seq <= reached.seq) {
                let from = if entry.seq == head.seq { head.skip.min(entry.entries) } else { 0 };
                let to = if entry.seq == reached.seq { reached.skip } else { entry.entries };
                let gone = u64::from(to.min(entry.entries).saturating_sub(from));
                self.state.records = self.state.records.saturating_sub(gone);
            }
            self.state.head = reached;
        }
        match self.note_head(true) {
            // On what copies files and lets none be kept in place: known to this process alone.
            Err(error) if !is_full(&error) => {
                return Err(self.disk_failed("`head` could not be written", &error));
            }
            _ => {}
        }
        self.note_oldest()?;
        self.give_back_files();
        Ok(self.held())
    }

    /// What `or_as_before` goes back to.
    pub(super) fn before(&self) -> Before {
        Before { state: self.state, ledger: self.ledger.clone(), awaited: self.awaited.clone() }
    }

    /// Undoes in memory what found no space on the disk. What Coralogix accepted is a fact and stays let go
    /// of; that a record was set aside or given up is none before its gap is written, and `head` must not
    /// pass it.
    pub(super) fn or_as_before<T>(
        &mut self,
        before: Before,
        outcome: Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        if let Err(QueueError::NoSpace(_)) = outcome {
            (self.state, self.ledger, self.awaited) = (before.state, before.ledger, before.awaited);
        }
        outcome
    }

    /// Goes on without an index, with what this process knows.
    pub(super) fn go_unindexed(&mut self, why: &str) -> Result<(), OpenError> {
        self.drop_index();
        let until = self.state.next_seq;
        let walk = |head, log: &LogFiles| Unindexed::new((Since::Failure, None), head, until, log);
        if self.state.head < self.noted.place {
            // Delivered by a process that had no index either.
            self.state.head = self.noted.place;
            let counted = walk(self.state.head, &self.log).count(&mut self.disk, self.state.head);
            self.state.records = counted.map_err(|error| self.cannot_go_on(error))?.0;
        }
        self.unindexed = Some(walk(self.state.head, &self.log));
        self.tell_unindexed(why);
        Ok(())
    }

    /// Starts without an index, with what the checkpoint, `head` and the log say.
    pub(super) fn start_unindexed(
        &mut self,
        checkpoint: &Checkpoint,
        why: &str,
    ) -> Result<(), OpenError> {
        self.drop_index();
        self.streams = self.take_from(checkpoint);
        let head = checkpoint.head.max(self.noted.place).max(Place { seq: Seq(1), skip: 0 });
        let place = self.disk.place();
        let parked = self.parked_places();
        let parked = parked.map_err(|error| super::open::disk_error(place, &error))?.len() as u64;
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
        self.tell_unindexed(why);
        Ok(())
    }

    /// What `head` says beyond the index was delivered without it: it is let go of there too.
    pub(super) fn catch_up_with_head(&mut self) -> Result<(), QueueError> {
        let noted = self.noted.place;
        if noted <= self.state.head {
            return Ok(());
        }
        let mut batch = Batch::default();
        let settled = self.settle_doubts(noted, &mut batch);
        self.let_go(noted, batch)?;
        if (Place { seq: self.state.next_seq, skip: 0 }) < noted {
            // Frames the index never knew were delivered: no other may have their numbers.
            self.state.next_seq = if noted.skip > 0 { noted.seq.next() } else { noted.seq };
            self.state.head = Place { seq: self.state.next_seq, skip: 0 };
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

    pub(super) fn tell_indexed(&mut self) {
        let text = "There is space for the queue's index again; polling continues".to_owned();
        self.find(message::INDEX_WRITTEN_AGAIN, "index-written-again", text);
    }

    fn tell_unindexed(&mut self, why: &str) {
        let text = format!(
            "There is no space to write the queue's index ({why}). Records are delivered from the \
             log, which frees space; polling is paused"
        );
        self.find(message::INDEX_NO_SPACE, "index-no-space", text);
    }
}
