//! An import that was interrupted, and how another import of the same file continues it.
//!
//! A file `importing` names the exported file and the number of the first frame that is imported.
//! It is written, durably, before anything is imported, and becomes `imported` once everything is.
//! Promises: nothing is imported twice, and whoever repeats an import that was complete is told so.
//! Never: outlasts the next run, because from then on the log does not show what was imported
//! (`imported` stays); other commands that change the queue or export it are refused until then.

use std::collections::BTreeMap;

use super::disk::{self, Disk};
use super::export::{Tally, TransferError};
use super::index::Batch;
use super::origins::Origins;
use super::parts::Unreported;
use super::{Queue, QueueError};
use crate::frame::Frame;
use crate::limits::TAKE_FRAMES_MAX;
use crate::record::{Category, Gap, GapReason, QueuePosition, RowKey, Seq, StreamName};

const IMPORTING: &str = "importing";
/// The same of the last import that was complete.
const IMPORTED: &str = "imported";
const BYTES_MAX: usize = 256;

/// What an interrupted import has taken over.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// Frames of each stream, from the first imported one on.
    frames: BTreeMap<StreamName, usize>,
    /// The keys of each batch in doubt.
    doubts: Vec<Vec<(StreamName, RowKey)>>,
    /// The highest gap number that this queue had given before; those of the file follow it.
    pub given: u64,
    pub is_going_on: bool,
}

impl Begun {
    /// Whether this page was imported before; if so, it is counted off.
    pub fn has(&mut self, page: &[Frame]) -> bool {
        let Some(stream) = page.first().map(|frame| &frame.stream) else { return false };
        let Some(left) = self.frames.get_mut(stream) else { return false };
        let Some(less) = left.checked_sub(page.len()) else { return false };
        *left = less;
        true
    }

    pub fn has_doubt(&self, frames: &[Frame]) -> bool {
        self.doubts.contains(&keys_of(frames))
    }
}

fn keys_of(frames: &[Frame]) -> Vec<(StreamName, RowKey)> {
    let keys = frames
        .iter()
        .flat_map(|frame| frame.entries.iter().map(|meta| (frame.stream.clone(), meta.key)));
    keys.collect()
}

/// The text that identifies an exported file. Of the counts it has those that the first version had,
/// so that a newer program continues what an older one began.
fn name_of(file: Tally) -> String {
    let Tally { streams, parked, frames, records, doubts, gaps, crc, .. } = file;
    format!("{crc:08x}-{streams}-{parked}-{frames}-{records}-{doubts}-{gaps}")
}

impl<D: Disk> Queue<D> {
    fn read_importing(&mut self, file: &str) -> Option<(String, Seq, u64)> {
        let text = String::from_utf8(self.disk.read(file, 0, BYTES_MAX).ok()?).ok()?;
        let mut words = text.split_whitespace();
        let (name, first, given) = (words.next()?, words.next()?, words.next()?);
        Some((name.to_owned(), Seq(first.parse().ok()?), given.parse().ok()?))
    }

    /// What an earlier import of this file has taken over; empty if there was none.
    pub(super) fn begun_import(&mut self, file: Tally) -> Result<Begun, TransferError> {
        let Some((name, first, given)) = self.read_importing(IMPORTING) else {
            return Ok(Begun { given: self.gap_log.head.newest, ..Begun::default() });
        };
        if name != name_of(file) {
            return Err(TransferError::Unfinished);
        }
        let mut begun = Begun { is_going_on: true, given, ..Begun::default() };
        let mut at = first;
        loop {
            let entries = self.entries(at, TAKE_FRAMES_MAX)?;
            let Some(last) = entries.last() else { break };
            at = last.seq.next();
            for entry in &entries {
                let stream = self.streams.numbered(entry.stream).map(|one| one.row.name.clone());
                *begun.frames.entry(stream.ok_or_else(unknown)?).or_default() += 1;
            }
        }
        let first = QueuePosition { seq: first, skip: 0 };
        for at in self.doubts().into_iter().filter(|at| *at >= first) {
            if !self.gap_log.knows(at) {
                // Interrupted before its gaps were noted.
                self.forget_doubt(at)?;
            } else if let Some(frames) = self.read_doubt(at)? {
                begun.doubts.push(keys_of(&frames));
            }
        }
        Ok(begun)
    }

    /// From here on parts of the file are imported.
    pub(super) fn note_importing(&mut self, file: Tally, given: u64) -> Result<(), TransferError> {
        let text = format!("{} {} {given}\n", name_of(file), self.state.next_seq.0);
        Ok(disk::replace(&mut self.disk, IMPORTING, text.as_bytes(), true)?)
    }

    /// The addresses of all integrations that have a position. Moves are not part of it: they are of
    /// frames by their number, and imported frames get other numbers.
    pub(super) fn origins_of_positions(&self) -> Origins {
        let mut origins = Origins::default();
        for (name, tenant) in self.origins.tenants().filter(|(name, _)| self.has_positions(name)) {
            origins.learn(name, tenant, &mut Batch::default());
        }
        origins
    }

    /// An error if an integration has positions here of another address than in the file.
    pub(super) fn fits_origins(&self, origins: &Origins) -> Result<(), TransferError> {
        for (name, there) in origins.tenants() {
            let here = self.origins.tenant(name).filter(|here| here != there);
            if let Some(here) = here.filter(|_| self.has_positions(name)) {
                let (here, there) = (here.to_owned(), there.clone());
                return Err(TransferError::OtherTenant { integration: name.clone(), here, there });
            }
        }
        Ok(())
    }

    /// Stores the addresses of the file's positions, before any of these.
    pub(super) fn take_origins(&mut self, taken: &Origins) -> Result<(), QueueError> {
        for (name, tenant) in taken.tenants() {
            self.confirm_tenant(name, tenant)?;
        }
        Ok(())
    }

    /// The unreported gaps that nothing else in an export implies: batches in doubt are noted again
    /// by the import, and parked records wait again.
    pub(super) fn unreported(&self) -> Unreported {
        let rows = self.gap_log.rows().filter(|row| row.reported_in.is_none());
        let gaps = rows.map(|row| &row.gap).filter(|gap| {
            let is_kept = matches!(gap.reason, GapReason::Refused | GapReason::InDoubt);
            !(is_kept && gap.parked.is_some() && !gap.closed)
        });
        // Files in `parked/` and `doubt/` get other names in another queue.
        let gaps = gaps.map(|gap| Gap { parked: None, ..gap.clone() }).collect();
        Unreported { newest: self.gap_log.head.newest, gaps }
    }

    /// Gaps that these frames report keep their numbers, so new numbers begin after them.
    pub(super) fn number_past(&mut self, frames: &[Frame]) -> Result<(), QueueError> {
        let own = frames.iter().filter(|frame| frame.stream.category == Category::Collector);
        let newest = own.flat_map(|frame| &frame.entries).map(|entry| entry.key.id).max();
        if newest.is_some_and(|newest| newest > self.gap_log.head.newest) {
            let mut batch = Batch::default();
            self.gap_log.number_from(newest.unwrap_or_default(), &mut batch);
            self.commit(&batch)?;
        }
        Ok(())
    }

    /// Notes the unreported gaps of another queue, so that this one reports them.
    pub(super) fn take_unreported(
        &mut self,
        unreported: Unreported,
        given: u64,
    ) -> Result<(), TransferError> {
        let (mut gap_log, mut batch) = (self.gap_log.clone(), Batch::default());
        for gap in unreported.gaps {
            let number = gap.number.saturating_add(given);
            gap_log.take_over(Gap { number, ..gap }, &mut batch);
        }
        gap_log.number_from(unreported.newest.saturating_add(given), &mut batch);
        self.commit(&batch)?;
        self.gap_log = gap_log;
        self.checkpoint_out_of_turn();
        Ok(())
    }

    /// Whether an import was interrupted and may be continued.
    pub fn is_importing(&mut self) -> bool {
        self.read_importing(IMPORTING).is_some()
    }

    /// Whether the last import that was complete was of this file.
    pub(super) fn was_imported(&mut self, file: Tally) -> bool {
        self.read_importing(IMPORTED).is_some_and(|(name, ..)| name == name_of(file))
    }

    /// The import is complete. Where a file system has lost the note of it, repeating it is refused
    /// as for any other queue that has positions.
    pub(super) fn complete_import(&mut self) -> Result<(), TransferError> {
        self.disk.rename(IMPORTING, IMPORTED)?;
        Ok(self.disk.sync_dir("")?)
    }

    /// The import is given up. Returns whether there was one.
    pub fn end_import(&mut self) -> bool {
        let removed = self.disk.remove(IMPORTING).and_then(|()| self.disk.sync_dir(""));
        removed.is_ok()
    }
}

fn unknown() -> QueueError {
    QueueError::Broken("a frame in the index is of no stream".into())
}
