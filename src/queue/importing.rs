//! An import that was cut short, and how the next one of the same file goes on.
//!
//! A file `importing` names the exported file and the number before which no frame is of it. It is written,
//! durably, before anything of the file is taken in, and removed once all is. Promises: what was taken in
//! before is not taken in twice. Never: lasts beyond the next run or any other change of the queue, for from
//! then on what lies in the log does not tell any more what was taken in.

use std::collections::BTreeMap;

use super::bundle::{BundleError, Tally};
use super::disk::{self, Disk};
use super::index::Opener;
use super::{Queue, QueueError};
use crate::frame::Frame;
use crate::limits::TAKE_FRAMES_MAX;
use crate::record::{Place, RowKey, Seq, StreamName};

const IMPORTING: &str = "importing";
const BYTES_MAX: usize = 256;

/// What an import that was cut short has taken in.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// Frames of each stream, from the file's first on.
    frames: BTreeMap<StreamName, usize>,
    /// What is in each batch in doubt.
    doubts: Vec<Vec<(StreamName, RowKey)>>,
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
    let Tally { streams, parked, frames, records, doubts, crc } = file;
    format!("{crc:08x}-{streams}-{parked}-{frames}-{records}-{doubts}")
}

impl<D: Disk, O: Opener> Queue<D, O> {
    fn read_importing(&mut self) -> Option<(String, Seq)> {
        let text = String::from_utf8(self.disk.read(IMPORTING, 0, BYTES_MAX).ok()?).ok()?;
        let (name, first) = text.trim_end().split_once(' ')?;
        Some((name.to_owned(), Seq(first.parse().ok()?)))
    }

    /// What an earlier import of this file has taken in; nothing where there was none.
    pub(super) fn begun_import(&mut self, file: Tally) -> Result<Begun, BundleError> {
        let Some((name, first)) = self.read_importing() else { return Ok(Begun::default()) };
        if name != name_of(file) {
            return Err(BundleError::Unfinished);
        }
        let mut begun = Begun { is_going_on: true, ..Begun::default() };
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
    pub(super) fn note_importing(&mut self, file: Tally) -> Result<(), BundleError> {
        let text = format!("{} {}\n", name_of(file), self.state.next_seq.0);
        Ok(disk::replace(&mut self.disk, IMPORTING, text.as_bytes(), true)?)
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
