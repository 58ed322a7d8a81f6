//! Continuing after the index failed: with the same index, with a new one from the log, or without
//! one.
//!
//! Promises: a failure loses nothing of what this process knows; an index that failed only because
//! the system refused space or a call is kept until another one counts. Never: calls such an index
//! broken.

use super::disk::Disk;
use super::index::{Index, IndexError, IndexFault, IndexStore};
use super::log::LogFiles;
use super::open::disk_error;
use super::rebuild::Base;
use super::schema::State;
use super::tally::Tally;
use super::unindexed::Since;
use super::{OpenError, Queue, QueueError};
use crate::limits::{INDEX_NO_SPACE_MAX, INDEX_REPLACED_MAX};
use crate::record::Covered;

/// What is done with the index that a new one replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Old {
    /// There is none.
    None,
    /// It is set aside, and the replacement is counted.
    Broken,
    /// It is kept until the new one counts: it could not be written, but it is not broken.
    Whole,
}

impl<D: Disk> Queue<D> {
    /// Continues after the index failed, with what this process knows.
    pub(super) fn restart(&mut self) -> Result<(), OpenError> {
        let refused_by = self.refused_by.take();
        let was_unindexed = self.unindexed.as_ref().map(|unindexed| unindexed.since);
        if was_unindexed == Some(Since::Start) {
            return self.start_again();
        }
        if matches!(refused_by, Some(IndexFault::System | IndexFault::Denied)) {
            // The system would refuse a new index too, and this one is not broken.
            match self.open_index() {
                Err(error) if matches!(error.fault, IndexFault::System | IndexFault::Denied) => {
                    self.refused_by = refused_by;
                    return Err(self.cannot_open(error));
                }
                _ => self.index.take().into_iter().for_each(Index::close),
            }
        }
        let old = match refused_by {
            // Its handle can't be used any more, but its content is good.
            Some(IndexFault::Full | IndexFault::System | IndexFault::Denied) => Old::Whole,
            _ if was_unindexed.is_some() => Old::Whole,
            _ => Old::Broken,
        };
        let number = self.number;
        let memory = self.streams.clone();
        let mut streams = memory.clone();
        for stream in streams.iter_mut() {
            stream.row.progress = stream.row.delivered;
            stream.forget_all();
            stream.tally = Tally::default();
            stream.covered = Covered::default();
        }
        let state = self.state;
        let State { head, next_seq, .. } = state;
        let head = head.max(self.noted.place);
        let base =
            Base { head, next_seq, is_blind: false, streams, memory: Some(memory), older: None };
        self.unindexed = None;
        let gap_log = self.gap_log.clone();
        if let Err(error) = self.replace_index(&base, old) {
            // Memory is kept for another try.
            self.drop_index();
            self.state = state;
            self.streams = base.memory.unwrap_or_default();
            let why = match error {
                OpenError::Full { why, .. } if old == Old::Whole => why,
                // Gaps in memory may not be on the disk; a new start reads what is.
                other => {
                    self.refused_by = refused_by;
                    return Err(other);
                }
            };
            // The index that was there has to be the one that is opened next.
            let is_gone =
                (number + 1..=self.number).all(|new| self.disk.index_store().remove(new).is_ok());
            self.number = if is_gone { number } else { self.number };
            self.gap_log = gap_log;
            return self.go_unindexed(&why);
        }
        if was_unindexed.is_some() {
            self.report_indexed();
        }
        self.disk.index_store().drop_copy();
        self.give_back_files();
        Ok(())
    }

    /// Starts again, once there is space for the index that could not be opened.
    fn start_again(&mut self) -> Result<(), OpenError> {
        let (place, before) = (self.disk.place(), self.state);
        self.unindexed = None;
        self.state = State::default();
        let log = LogFiles::list(&mut self.disk);
        let found = log.and_then(|log| {
            let items = self.disk.list("")?;
            self.log = log;
            self.find_checkpoint(&items)
        });
        let checkpoint = found.map_err(|error| disk_error(place, &error))?;
        if self.noted.place < before.head {
            (self.noted.place, self.noted.is_durable) = (before.head, false);
        }
        let started = self.start_index(&checkpoint, 0).and_then(|()| self.end_start());
        self.unmark(1);
        self.disk.index_store().drop_copy();
        started?;
        if !self.is_unindexed() {
            self.report_indexed();
            self.give_back_files();
        }
        Ok(())
    }

    /// Builds the next index, with several tries if needed. A broken one is set aside.
    pub(super) fn replace_index(&mut self, base: &Base, old: Old) -> Result<(), OpenError> {
        let (mut last, number) = (old, self.number);
        let mut why = "the index failed again and again".to_owned();
        loop {
            self.drop_index();
            if last == Old::Broken {
                if self.replaced >= INDEX_REPLACED_MAX {
                    return Err(OpenError::ReplacedTooOften { why });
                }
                self.replaced += 1;
                let name = self.quarantine_name(&format!("index.{}", self.number));
                // If it can't be moved, it keeps its number and is not opened again.
                if self.disk.index_store().set_aside(self.number, &name).is_ok() {
                    self.after_quarantine(&name, &format!("This index was replaced: {why}."));
                }
            }
            if last == Old::Whole {
                if self.lacked_space >= INDEX_NO_SPACE_MAX {
                    let why = "it could not be written, again and again".to_owned();
                    return Err(OpenError::ReplacedTooOften { why });
                }
                self.lacked_space += 1;
            }
            if last != Old::None {
                self.number += 1;
            }
            let had_reserve = self.space.has_reserve;
            match self.open_index().and_then(|()| self.build(base)) {
                Ok(()) => break,
                Err(error) if error.fault == IndexFault::Broken => {
                    (why, last) = (error.why, Old::Broken);
                }
                // The reserve was given up meanwhile: try once more with the space that this freed.
                Err(error) if error.fault == IndexFault::Full && had_reserve => {
                    if self.space.has_reserve {
                        self.give_up_reserve();
                    }
                    self.drop_index();
                    let _ = self.disk.index_store().remove(self.number);
                    last = Old::Whole;
                }
                Err(error) => return Err(self.cannot_open(error)),
            }
        }
        if old == Old::Whole && self.number > number {
            // Files that remain are removed at the next start.
            let _ = self.disk.index_store().remove_below(self.number);
        }
        Ok(())
    }

    pub(super) fn drop_index(&mut self) {
        if let Some(index) = self.index.take() {
            index.forget();
        }
    }

    /// Opens the index of the current number; on a full disk the reserve is given up for it.
    pub(super) fn open_index(&mut self) -> Result<(), IndexError> {
        let mut opened = self.disk.index_store().open(self.number);
        if let Err(error) = &opened
            && error.fault == IndexFault::Full
            && self.space.has_reserve
        {
            self.give_up_reserve();
            opened = self.disk.index_store().open(self.number);
        }
        self.index = Some(opened?);
        Ok(())
    }

    pub(super) fn cannot_open(&mut self, error: IndexError) -> OpenError {
        let (place, why) = (self.disk.place(), error.why);
        match error.fault {
            IndexFault::Full => OpenError::Full { place, why },
            IndexFault::Locked => OpenError::Locked { place, holder: None },
            IndexFault::Denied => OpenError::Denied { place, why, remedy: None },
            IndexFault::NoThread => OpenError::NoThread { why },
            IndexFault::System => OpenError::System { place, why },
            IndexFault::Newer => OpenError::Newer { place, why },
            IndexFault::Broken | IndexFault::Unfinished => OpenError::Failed { place, why },
        }
    }

    pub(super) fn cannot_go_on(&mut self, error: QueueError) -> OpenError {
        let (place, why) = (self.disk.place(), error.to_string());
        match error {
            QueueError::Newer(why) => OpenError::Newer { place, why },
            QueueError::System(why) => OpenError::System { place, why },
            QueueError::Denied(why) => OpenError::Denied { place, why, remedy: None },
            QueueError::DiskFull | QueueError::NoSpace(_) => OpenError::Full { place, why },
            QueueError::Broken(_) | QueueError::Damaged { .. } => OpenError::Failed { place, why },
        }
    }
}

#[cfg(test)]
#[path = "tests/reopen.rs"]
mod tests;
