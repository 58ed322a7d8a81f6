//! An import that was cut short, and how the next one of the same file goes on.
//!
//! A file `importing` names the exported file and the number before which no frame is of it. It is written,
//! durably, before anything of the file is taken in, and removed once all is. Promises: what was taken in
//! before is not taken in twice. Never: lasts beyond the next run or any other change of the queue, for from
//! then on what lies in the log does not tell any more what was taken in.

use std::collections::BTreeMap;

use super::bundle::{BundleError, Tally};
use super::disk::{self, Disk};
use super::index::{Batch, Opener};
use super::parts::Untold;
use super::{Queue, QueueError};
use crate::frame::Frame;
use crate::limits::TAKE_FRAMES_MAX;
use crate::record::{Category, Gap, GapReason, Place, RowKey, Seq, StreamName};

const IMPORTING: &str = "importing";
const BYTES_MAX: usize = 256;

/// What an import that was cut short has taken in.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// Frames of each stream, from the file's first on.
    frames: BTreeMap<StreamName, usize>,
    /// What is in each batch in doubt.
    doubts: Vec<Vec<(StreamName, RowKey)>>,
    /// Gaps that this queue had numbered before; those of the file are numbered on from there.
    pub given: u64,
    pub is_going_on: bool,
}

impl Begun {
    /// Whether this page was taken in before; it is counted off then.
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

/// What a file is recognised by.
fn name_of(file: Tally) -> String {
    let Tally { streams, parked, frames, records, doubts, gaps, crc } = file;
    format!("{crc:08x}-{streams}-{parked}-{frames}-{records}-{doubts}-{gaps}")
}

impl<D: Disk, O: Opener> Queue<D, O> {
    fn read_importing(&mut self) -> Option<(String, Seq, u64)> {
        let text = String::from_utf8(self.disk.read(IMPORTING, 0, BYTES_MAX).ok()?).ok()?;
        let mut words = text.split_whitespace();
        let (name, first, given) = (words.next()?, words.next()?, words.next()?);
        Some((name.to_owned(), Seq(first.parse().ok()?), given.parse().ok()?))
    }

    /// What an earlier import of this file has taken in; nothing where there was none.
    pub(super) fn begun_import(&mut self, file: Tally) -> Result<Begun, BundleError> {
        let Some((name, first, given)) = self.read_importing() else {
            return Ok(Begun { given: self.ledger.head.newest, ..Begun::default() });
        };
        if name != name_of(file) {
            return Err(BundleError::Unfinished);
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
        let first = Place { seq: first, skip: 0 };
        for at in self.doubts().into_iter().filter(|at| *at >= first) {
            if !self.ledger.knows(at) {
                // Cut off before it counted.
                self.forget_doubt(at)?;
            } else if let Some(frames) = self.read_doubt(at)? {
                begun.doubts.push(keys_of(&frames));
            }
        }
        Ok(begun)
    }

    /// From here on something of the file is taken in.
    pub(super) fn note_importing(&mut self, file: Tally, given: u64) -> Result<(), BundleError> {
        let text = format!("{} {} {given}\n", name_of(file), self.state.next_seq.0);
        Ok(disk::replace(&mut self.disk, IMPORTING, text.as_bytes(), true)?)
    }

    /// The gaps that nobody was told of and that nothing else of an export leads to: batches in doubt are
    /// noted anew, and what was parked waits again.
    pub(super) fn untold(&self) -> Untold {
        let rows = self.ledger.rows().filter(|row| row.told.is_none());
        let gaps = rows.map(|row| &row.gap).filter(|gap| {
            let is_kept = matches!(gap.reason, GapReason::Refused | GapReason::InDoubt);
            !(is_kept && gap.parked.is_some() && !gap.closed)
        });
        // What lies in `parked/` and `doubt/` has another name in another queue.
        let gaps = gaps.map(|gap| Gap { parked: None, ..gap.clone() }).collect();
        Untold { newest: self.ledger.head.newest, gaps }
    }

    /// Gaps that these frames tell of keep their numbers.
    pub(super) fn number_past(&mut self, frames: &[Frame]) -> Result<(), QueueError> {
        let own = frames.iter().filter(|frame| frame.stream.category == Category::Collector);
        let newest = own.flat_map(|frame| &frame.entries).map(|entry| entry.key.id).max();
        if newest.is_some_and(|newest| newest > self.ledger.head.newest) {
            let mut batch = Batch::default();
            self.ledger.number_from(newest.unwrap_or_default(), &mut batch);
            self.commit(&batch)?;
        }
        Ok(())
    }

    /// Notes the gaps of another queue, to be told by this one.
    pub(super) fn take_untold(&mut self, untold: Untold, given: u64) -> Result<(), BundleError> {
        let (mut ledger, mut batch) = (self.ledger.clone(), Batch::default());
        for gap in untold.gaps {
            let number = gap.number.saturating_add(given);
            ledger.take_over(Gap { number, ..gap }, &mut batch);
        }
        ledger.number_from(untold.newest.saturating_add(given), &mut batch);
        self.commit(&batch)?;
        self.ledger = ledger;
        self.checkpoint_out_of_turn();
        Ok(())
    }

    /// All of the file is taken in, or will not be. Answers whether one was being imported.
    pub fn end_import(&mut self) -> bool {
        let removed = self.disk.remove(IMPORTING).and_then(|()| self.disk.sync_dir(""));
        removed.is_ok()
    }
}

fn unknown() -> QueueError {
    QueueError::Broken("a frame in the index is of no stream".into())
}
