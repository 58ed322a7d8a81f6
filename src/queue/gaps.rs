//! The ledger of gaps: what P1 allows to be skipped, and whether anybody was told.
//!
//! ```text
//!   noted --a record of it is in the queue--> told --retried--> closed, to be told once more
//!     ^---the record's frame is damaged---------'
//! ```
//!
//! A gap is told by an ordinary frame of category `collector`, whose entry carries the gap's
//! number as its id; 0 is a heartbeat. Frame and mark are one commit, and a log without an index
//! says the same. Promises: no gap that nobody was told of is ever forgotten; the ledger is
//! bounded. Never: reads the disk.

use std::collections::BTreeMap;

use super::awaited::Complete;
use super::index::Batch;
use super::keys;
use crate::frame::Fields;
use crate::limits::{GAPS_MAX, GAPS_TOLD_AT_ONCE};
use crate::record::{Category, Gap, GapReason, Place, Seq, StreamName, Unread};
use crate::time::Stamp;

/// The id of a heartbeat's entry, where a gap's is its number.
pub const HEARTBEAT_ID: u64 = 0;
const ROW_VERSION: u8 = 1;
const CLOSED: u8 = 1;
/// What follows a row in the index: a letter, a length, and so many bytes. An unknown letter is passed
/// over, as all of it is by a program that knows none.
const UNREAD: u8 = b'u';

/// A gap and the frame that tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub gap: Gap,
    pub told: Option<Seq>,
}

/// What is one of a kind in the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The number of the newest gap.
    pub newest: u64,
    /// Gaps that were told and are no longer kept one by one.
    pub folded: u64,
    /// The frame of the newest heartbeat.
    pub heartbeat: Option<Seq>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ledger {
    pub head: Head,
    rows: BTreeMap<u64, Row>,
}

/// What a frame tells, by the ids of its entries.
pub(super) fn told_by(stream: &StreamName, ids: impl Iterator<Item = u64>) -> Vec<u64> {
    match stream.category {
        Category::Collector => ids.collect(),
        Category::Polled(_) => Vec::new(),
    }
}

impl Ledger {
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.values()
    }

    /// Gaps that are not closed, those that were folded too.
    pub fn open(&self) -> u64 {
        self.head.folded + self.rows.values().filter(|row| !row.gap.closed).count() as u64
    }

    pub fn untold(&self) -> u64 {
        self.rows.values().filter(|row| row.told.is_none()).count() as u64
    }

    /// The next gaps to be told in one page: of one integration, oldest first.
    pub fn to_tell(&self) -> Vec<Gap> {
        let mut untold = self.rows.values().filter(|row| row.told.is_none()).peekable();
        let Some(first) = untold.peek().map(|row| row.gap.stream.integration.clone()) else {
            return Vec::new();
        };
        let same = untold.filter(|row| row.gap.stream.integration == first);
        same.take(GAPS_TOLD_AT_ONCE).map(|row| row.gap.clone()).collect()
    }

    pub fn of_parked(&self, at: Place) -> Option<&Gap> {
        let mut gaps = self.rows.values().map(|row| &row.gap);
        gaps.find(|gap| gap.parked == Some(at) && gap.reason != GapReason::InDoubt)
    }

    /// The gap of the same parked record, or of the same stream's records in a batch in doubt.
    pub fn of_place(&self, gap: &Gap) -> Option<&Gap> {
        use GapReason::{InDoubt, Refused};
        gap.parked?;
        self.rows.values().map(|row| &row.gap).find(|known| {
            let is_other =
                matches!((known.reason, gap.reason), (InDoubt, Refused) | (Refused, InDoubt));
            known.parked == gap.parked && known.stream == gap.stream && !is_other
        })
    }

    /// Whether there is a gap of this batch in doubt, whatever became of it.
    pub fn knows(&self, at: Place) -> bool {
        let mut gaps = self.rows.values().map(|row| &row.gap);
        gaps.any(|gap| gap.parked == Some(at) && gap.reason != GapReason::Refused)
    }

    /// The copy of a batch in doubt is given up: its gaps say so, and are told anew.
    pub fn give_up_copies(&mut self, at: Place, batch: &mut Batch) {
        self.change_doubts(at, batch, |gap| gap.parked = None);
    }

    /// What was in doubt is accepted.
    pub fn close_doubts(&mut self, at: Place, batch: &mut Batch) {
        self.change_doubts(at, batch, |gap| gap.closed = true);
    }

    fn change_doubts(&mut self, at: Place, batch: &mut Batch, change: impl Fn(&mut Gap)) {
        for (number, row) in &mut self.rows {
            let is_open = row.gap.reason == GapReason::InDoubt && !row.gap.closed;
            if is_open && row.gap.parked == Some(at) {
                change(&mut row.gap);
                row.told = None;
                batch.put(keys::gap_key(*number), row.encode());
            }
        }
    }

    /// Notes a gap; its number is given here. Of a parked record there is one gap, whatever
    /// becomes of it, so a later word replaces the earlier one and is told anew. Answers with the number.
    pub fn note(&mut self, gap: Gap, batch: &mut Batch) -> u64 {
        let known = self.of_place(&gap);
        let number = known.map_or(self.head.newest + 1, |known| known.number);
        if known.is_some_and(|known| Gap { number, ..gap.clone() } == *known) {
            return number;
        }
        self.head.newest = self.head.newest.max(number);
        let row = Row { gap: Gap { number, ..gap }, told: None };
        batch.put(keys::gap_key(number), row.encode());
        self.rows.insert(number, row);
        self.shorten(batch);
        batch.put(keys::GAPS.to_vec(), self.head.encode());
        number
    }

    /// Takes in a gap of another queue that nobody was told of, unless it did so before.
    pub fn take_over(&mut self, gap: Gap, batch: &mut Batch) {
        let number = gap.number;
        if !self.rows.contains_key(&number) {
            let row = Row { gap, told: None };
            batch.put(keys::gap_key(number), row.encode());
            self.load(row);
            self.shorten(batch);
        }
    }

    /// The next gap's number is higher than this.
    pub fn number_from(&mut self, newest: u64, batch: &mut Batch) {
        self.head.newest = self.head.newest.max(newest);
        batch.put(keys::GAPS.to_vec(), self.head.encode());
    }

    /// Whether there is a gap that says the same, but for its number.
    pub fn has(&self, gap: &Gap) -> bool {
        self.rows.values().any(|row| Gap { number: gap.number, ..row.gap.clone() } == *gap)
    }

    /// Whether a gap that is kept is of this stream.
    pub fn is_of(&self, number: u64, stream: &StreamName) -> bool {
        self.rows.get(&number).is_some_and(|row| row.gap.stream == *stream)
    }

    /// All that damage took is accounted for.
    pub fn close_damaged(&mut self, complete: &[Complete], batch: &mut Batch) {
        let closed = |row: &Row| {
            let complete = complete.iter().find(|complete| complete.gap == row.gap.number)?;
            let count = (complete.superseded > 0).then_some(u64::from(complete.superseded));
            Some(Row { gap: Gap { closed: true, count, ..row.gap.clone() }, told: None })
        };
        self.change(closed, batch);
    }

    /// Changes gaps and puts those that differ then. What became of one is told anew.
    pub fn change(&mut self, change: impl Fn(&Row) -> Option<Row>, batch: &mut Batch) {
        for (number, row) in &mut self.rows {
            if let Some(changed) = change(row) {
                *row = changed;
                batch.put(keys::gap_key(*number), row.encode());
            }
        }
    }

    /// A frame with these ids is in the queue.
    pub fn told(&mut self, seq: Seq, ids: &[u64], batch: &mut Batch) {
        for id in ids {
            if *id == HEARTBEAT_ID {
                self.head.heartbeat = Some(seq);
                batch.put(keys::GAPS.to_vec(), self.head.encode());
            } else if let Some(row) = self.rows.get_mut(id) {
                row.told = Some(seq);
                batch.put(keys::gap_key(*id), row.encode());
            }
        }
    }

    /// The frame that told of gaps is lost: they are to be told again.
    pub fn untell(&mut self, lost: impl Fn(Seq) -> bool, batch: &mut Batch) {
        for (number, row) in &mut self.rows {
            if row.told.is_some_and(&lost) {
                row.told = None;
                batch.put(keys::gap_key(*number), row.encode());
            }
        }
    }

    /// Keeps the ledger within its bound. Told gaps are folded first; untold ones are merged with
    /// their neighbours, for which less is known then.
    fn shorten(&mut self, batch: &mut Batch) {
        while self.rows.len() > GAPS_MAX {
            let told = self.rows.iter().find(|(_, row)| row.told.is_some());
            let gone = match told.map(|(number, row)| (*number, row.gap.closed)) {
                Some((number, closed)) => {
                    self.head.folded += u64::from(!closed);
                    Some(number)
                }
                None => self.merge(batch),
            };
            let Some(gone) = gone else { return };
            self.rows.remove(&gone);
            batch.remove(keys::gap_key(gone));
        }
    }

    /// Merges the oldest gap that has a like one with that; answers which of them is left over.
    fn merge(&mut self, batch: &mut Batch) -> Option<u64> {
        let like =
            |a: &Gap, b: &Gap| a.stream == b.stream && a.reason == b.reason && a.closed == b.closed;
        let pair = self.rows.values().find_map(|first| {
            let mut later = self.rows.range(first.gap.number + 1..).map(|(_, row)| &row.gap);
            let second = later.find(|second| like(&first.gap, second))?;
            Some((first.gap.number, second.clone()))
        });
        let (first, second) = pair?;
        let row = self.rows.get_mut(&first)?;
        row.gap.from = row.gap.from.min(second.from);
        row.gap.to = row.gap.to.max(second.to);
        row.gap.count = row.gap.count.zip(second.count).map(|(a, b)| a.saturating_add(b));
        row.gap.parked = None;
        if row.gap.unread != second.unread {
            row.gap.unread = Unread::default();
        }
        batch.put(keys::gap_key(first), row.encode());
        Some(second.number)
    }

    /// Everything, for a new index.
    pub fn put_all(&self, batch: &mut Batch) {
        for (number, row) in &self.rows {
            batch.put(keys::gap_key(*number), row.encode());
        }
        batch.put(keys::GAPS.to_vec(), self.head.encode());
    }

    /// What is known of a row that can't be fetched stands apart from its gap.
    pub fn know_unread(&mut self, number: u64, unread: Unread) {
        if let Some(row) = self.rows.get_mut(&number) {
            row.gap.unread = unread;
        }
    }

    /// Takes a row in as it was stored.
    pub fn load(&mut self, row: Row) {
        self.head.newest = self.head.newest.max(row.gap.number);
        self.rows.insert(row.gap.number, row);
    }
}

impl Head {
    pub fn encode(self) -> Vec<u8> {
        let mut out = vec![ROW_VERSION];
        let heartbeat = self.heartbeat.map_or(0, |seq| seq.0);
        for number in [self.newest, self.folded, heartbeat] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    pub fn decode(fields: &mut Fields<'_>) -> Option<Head> {
        if fields.u8()? != ROW_VERSION {
            return None;
        }
        let (newest, folded, heartbeat) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let heartbeat = (heartbeat > 0).then_some(Seq(heartbeat));
        Some(Head { newest, folded, heartbeat })
    }
}

/// What is known of a row that can't be fetched, as it stands behind a gap.
pub(super) fn encode_unread(unread: Unread) -> Vec<u8> {
    let mut out = vec![u8::from(unread.id.is_some()) | u8::from(unread.bytes_min.is_some()) << 1];
    for number in [unread.id, unread.bytes_min] {
        out.extend_from_slice(&number.unwrap_or(0).to_le_bytes());
    }
    out
}

pub(super) fn decode_unread(fields: &mut Fields<'_>) -> Option<Unread> {
    let known = fields.u8()?;
    let (id, bytes_min) = (fields.u64()?, fields.u64()?);
    Some(Unread {
        id: (known & 1 > 0).then_some(id),
        bytes_min: (known & 2 > 0).then_some(bytes_min),
    })
}

impl Row {
    /// As it stands in the index.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.encode_short();
        if self.gap.unread != Unread::default() {
            let unread = encode_unread(self.gap.unread);
            out.push(UNREAD);
            out.extend_from_slice(&(unread.len() as u32).to_le_bytes());
            out.extend_from_slice(&unread);
        }
        out
    }

    /// What `encode` made.
    pub fn decode(value: &[u8]) -> Option<Row> {
        let mut fields = Fields(value);
        let mut row = Row::decode_short(&mut fields)?;
        while !fields.0.is_empty() {
            let (letter, len) = (fields.u8()?, usize::try_from(fields.u32()?).ok()?);
            let (part, rest) = fields.0.split_at_checked(len)?;
            fields.0 = rest;
            if letter == UNREAD {
                row.gap.unread = decode_unread(&mut Fields(part))?;
            }
        }
        Some(row)
    }

    /// Without what follows it, as it stands in the checkpoint.
    pub fn encode_short(&self) -> Vec<u8> {
        let gap = &self.gap;
        let mut out = vec![ROW_VERSION, gap.reason as u8, if gap.closed { CLOSED } else { 0 }];
        out.push(gap.stream.category.code());
        out.push(gap.stream.integration.len() as u8);
        out.extend_from_slice(gap.stream.integration.as_bytes());
        for stamp in [gap.from, gap.to] {
            out.extend_from_slice(&stamp.0.to_le_bytes());
        }
        // Numbers of frames and of records begin with 1, so that 0 is none.
        let parked = gap.parked.unwrap_or_default();
        let told = self.told.map_or(0, |seq| seq.0);
        for number in [gap.number, gap.count.unwrap_or(0), told, parked.seq.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&parked.skip.to_le_bytes());
        out
    }

    /// Whether a newer version wrote it, or names a reason that this one does not know.
    pub fn is_newer(value: &[u8]) -> bool {
        let known = GapReason::ALL.map(|reason| reason as u8);
        let [version, reason, ..] = value else { return false };
        *version > ROW_VERSION
            || *version == ROW_VERSION && known.iter().all(|known| known < reason)
    }

    pub fn decode_short(fields: &mut Fields<'_>) -> Option<Row> {
        if fields.u8()? != ROW_VERSION {
            return None;
        }
        let code = fields.u8()?;
        let reason = GapReason::ALL.into_iter().find(|reason| *reason as u8 == code)?;
        let closed = fields.u8()? == CLOSED;
        let category = Category::from_code(fields.u8()?)?;
        let integration = fields.text_u8()?;
        let (from, to) = (Stamp(fields.i64()?), Stamp(fields.i64()?));
        let (number, count, told) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let parked = Place { seq: Seq(fields.u64()?), skip: fields.u32()? };
        let gap = Gap {
            number,
            stream: StreamName { integration, category },
            from,
            to,
            reason,
            count: (count > 0).then_some(count),
            parked: (parked.seq.0 > 0).then_some(parked),
            closed,
            unread: Unread::default(),
        };
        Some(Row { gap, told: (told > 0).then_some(Seq(told)) })
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
pub(super) mod tests;
