//! The gap log: what P1 allows to be skipped, and what of it was reported.
//!
//! ```text
//!   noted --a record of it is in the queue--> reported --retried--> closed, to be reported once more
//!     ^---the record's frame is damaged---------'
//! ```
//!
//! A gap is reported by an ordinary frame of category `collector`, whose entry has the gap's number
//! as its id; id 0 is a heartbeat. Frame and mark are one commit, and a log without an index shows
//! the same. Promises: no unreported gap is ever forgotten; the gap log is bounded. Never: reads
//! the disk.

use std::collections::BTreeMap;

use super::awaited::Complete;
use super::index::Batch;
use super::schema;
use crate::frame::Fields;
use crate::limits::{GAPS_MAX, GAPS_TOLD_AT_ONCE};
use crate::record::{
    Category, Gap, GapReason, Kind, QueuePosition, RowKey, Seq, StreamName, Unread,
};
use crate::time::{Span, Stamp};

/// The id of a heartbeat's entry, where a gap's is its number.
pub const HEARTBEAT_ID: u64 = 0;
const ROW_VERSION: u8 = 1;
const CLOSED: u8 = 1;
/// After a row in the index come parts: a letter, a length, and so many bytes. A part with an
/// unknown letter is skipped; a version without parts ignores all of them.
const UNREAD: u8 = b'u';

/// A gap and the frame that reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub gap: Gap,
    pub reported_in: Option<Seq>,
}

/// The counters of the gap log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The number of the newest gap.
    pub newest: u64,
    /// Gaps that were reported and are now only counted.
    pub folded: u64,
    /// The frame of the newest heartbeat.
    pub heartbeat: Option<Seq>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct GapLog {
    pub head: Head,
    rows: BTreeMap<u64, Row>,
    /// Open gaps of damage that no longer have a row of their own.
    gone: Vec<Gone>,
}

/// An open gap of damage without a row of its own, which may still wait for its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub number: u64,
    /// The gap into which it was merged. `None`: it is only counted.
    pub into: Option<u64>,
}

/// The numbers of the gaps that a frame reports, from the ids of its entries.
pub(super) fn reported_by(stream: &StreamName, ids: impl Iterator<Item = u64>) -> Vec<u64> {
    match stream.category {
        Category::Collector => ids.collect(),
        Category::Polled(_) => Vec::new(),
    }
}

impl GapLog {
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.values()
    }

    /// Gaps that are not closed, including those that are only counted.
    pub fn open(&self) -> u64 {
        self.head.folded + self.rows.values().filter(|row| !row.gap.closed).count() as u64
    }

    pub fn unreported(&self) -> u64 {
        self.rows.values().filter(|row| row.reported_in.is_none()).count() as u64
    }

    /// The next gaps to report in one page: of one integration, oldest first.
    pub fn to_report(&self) -> Vec<Gap> {
        let mut unreported = self.rows.values().filter(|row| row.reported_in.is_none()).peekable();
        let Some(first) = unreported.peek().map(|row| row.gap.stream.integration.clone()) else {
            return Vec::new();
        };
        let same = unreported.filter(|row| row.gap.stream.integration == first);
        same.take(GAPS_TOLD_AT_ONCE).map(|row| row.gap.clone()).collect()
    }

    pub fn of_parked(&self, at: QueuePosition) -> Option<&Gap> {
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

    /// The open gap of records that were left out because their ids can't be remembered, if it
    /// touches the days of this one: such records occur at each poll, and one gap reports them all.
    fn of_days(&self, gap: &Gap) -> Option<&Gap> {
        self.rows.values().map(|row| &row.gap).find(|known| {
            let is_like = known.reason == GapReason::IdsFull && known.reason == gap.reason;
            let touches = known.from <= gap.to && gap.from <= known.to;
            is_like && known.stream == gap.stream && !known.closed && touches
        })
    }

    fn widened(&self, gap: Gap) -> Gap {
        match self.of_days(&gap) {
            Some(known) => Gap { from: gap.from.min(known.from), to: gap.to.max(known.to), ..gap },
            None => gap,
        }
    }

    /// Whether there is a gap of this batch in doubt, in any state.
    pub fn knows(&self, at: QueuePosition) -> bool {
        let mut gaps = self.rows.values().map(|row| &row.gap);
        gaps.any(|gap| gap.parked == Some(at) && gap.reason != GapReason::Refused)
    }

    /// The copy of a batch in doubt is removed: its gaps note that, and are reported again.
    pub fn give_up_copies(&mut self, at: QueuePosition, batch: &mut Batch) {
        self.change_doubts(at, batch, |gap| gap.parked = None);
    }

    /// A batch in doubt is accepted: its gaps are closed.
    pub fn close_doubts(&mut self, at: QueuePosition, batch: &mut Batch) {
        self.change_doubts(at, batch, |gap| gap.closed = true);
    }

    fn change_doubts(&mut self, at: QueuePosition, batch: &mut Batch, change: impl Fn(&mut Gap)) {
        for (number, row) in &mut self.rows {
            let is_open = row.gap.reason == GapReason::InDoubt && !row.gap.closed;
            if is_open && row.gap.parked == Some(at) {
                change(&mut row.gap);
                row.reported_in = None;
                batch.put(schema::gap_key(*number), row.encode());
            }
        }
    }

    /// Notes a gap and gives it a number, which is returned. A parked record has one gap: a later
    /// state replaces the earlier one and is reported again.
    pub fn note(&mut self, gap: Gap, batch: &mut Batch) -> u64 {
        let gap = self.widened(gap);
        let known = self.of_place(&gap).or_else(|| self.of_days(&gap));
        let number = known.map_or(self.head.newest + 1, |known| known.number);
        if known.is_some_and(|known| Gap { number, ..gap.clone() } == *known) {
            return number;
        }
        self.head.newest = self.head.newest.max(number);
        let row = Row { gap: Gap { number, ..gap }, reported_in: None };
        batch.put(schema::gap_key(number), row.encode());
        self.rows.insert(number, row);
        self.shorten(batch);
        batch.put(schema::GAPS.to_vec(), self.head.encode());
        number
    }

    /// Takes over an unreported gap of another queue, unless that was done already.
    pub fn take_over(&mut self, gap: Gap, batch: &mut Batch) {
        let number = gap.number;
        if !self.rows.contains_key(&number) {
            let row = Row { gap, reported_in: None };
            batch.put(schema::gap_key(number), row.encode());
            self.load(row);
            self.shorten(batch);
        }
    }

    /// Numbers of new gaps are higher than this from now on.
    pub fn number_from(&mut self, newest: u64, batch: &mut Batch) {
        self.head.newest = self.head.newest.max(newest);
        batch.put(schema::GAPS.to_vec(), self.head.encode());
    }

    /// Whether there is the same gap, apart from its number.
    pub fn has(&self, gap: &Gap) -> bool {
        self.rows.values().any(|row| Gap { number: gap.number, ..row.gap.clone() } == *gap)
    }

    /// Whether there is an open gap of this reason for the stream's records at the beginning of
    /// `gap`.
    pub fn has_at(&self, gap: &Gap) -> bool {
        let within = gap.from..gap.to.min(gap.from + Span::seconds(1));
        self.rows.values().map(|row| &row.gap).any(|known| {
            let is_like = known.reason == gap.reason && known.stream == gap.stream && !known.closed;
            is_like && known.from < within.end && known.to > within.start
        })
    }

    /// Whether the gap with this number has a row and is of this stream.
    pub fn is_of(&self, number: u64, stream: &StreamName) -> bool {
        self.rows.get(&number).is_some_and(|row| row.gap.stream == *stream)
    }

    /// The gaps of unfetchable records that came after all, found by the record's id. If the id is
    /// unknown: by a stamp from a complete list (`late`) in the last second of the gap, because the
    /// record was at the end of its gap and lists are divided at whole seconds. Not for threats,
    /// which are listed by another time than that of the gap.
    pub fn fetched(&self, stream: &StreamName, came: &[RowKey], late: &[Stamp]) -> Vec<u64> {
        let unfetchable = self.rows.values().map(|row| &row.gap).filter(|gap| {
            gap.reason == GapReason::Unfetchable && !gap.closed && gap.stream == *stream
        });
        let is_by_creation = stream.category != Category::Polled(Kind::Threats);
        let second = |stamp: Stamp| stamp.0.div_euclid(1_000_000);
        let is_of = |gap: &Gap, stamp: Stamp| {
            (gap.from..gap.to).contains(&stamp) && second(stamp) == second(Stamp(gap.to.0 - 1))
        };
        let fetched = unfetchable.filter(|gap| match gap.unread.id {
            Some(id) => came.iter().any(|key| key.id == id),
            None => is_by_creation && late.iter().any(|stamp| is_of(gap, *stamp)),
        });
        fetched.map(|gap| gap.number).collect()
    }

    /// Closes these gaps.
    pub fn close(&mut self, numbers: &[u64], batch: &mut Batch) {
        let closed = |row: &Row| {
            let gap = Gap { closed: true, ..row.gap.clone() };
            numbers.contains(&row.gap.number).then_some(Row { gap, reported_in: None })
        };
        self.change(closed, batch);
    }

    /// All records that damage took are accounted for.
    pub fn close_damaged(&mut self, complete: &[Complete], batch: &mut Batch) {
        let closed = |row: &Row| {
            let complete = complete.iter().find(|complete| complete.gap == row.gap.number)?;
            let count = (complete.superseded > 0).then_some(u64::from(complete.superseded));
            Some(Row { gap: Gap { closed: true, count, ..row.gap.clone() }, reported_in: None })
        };
        self.change(closed, batch);
    }

    /// Changes gaps and stores the changed ones.
    pub fn change(&mut self, change: impl Fn(&Row) -> Option<Row>, batch: &mut Batch) {
        for (number, row) in &mut self.rows {
            if let Some(changed) = change(row) {
                *row = changed;
                batch.put(schema::gap_key(*number), row.encode());
            }
        }
    }

    /// A frame that reports these gaps is in the queue.
    pub fn mark_reported(&mut self, seq: Seq, ids: &[u64], batch: &mut Batch) {
        for id in ids {
            if *id == HEARTBEAT_ID {
                self.head.heartbeat = Some(seq);
                batch.put(schema::GAPS.to_vec(), self.head.encode());
            } else if let Some(row) = self.rows.get_mut(id) {
                row.reported_in = Some(seq);
                batch.put(schema::gap_key(*id), row.encode());
            }
        }
    }

    /// The frame that reported gaps is lost: they have to be reported again.
    pub fn mark_unreported(&mut self, lost: impl Fn(Seq) -> bool, batch: &mut Batch) {
        for (number, row) in &mut self.rows {
            if row.reported_in.is_some_and(&lost) {
                row.reported_in = None;
                batch.put(schema::gap_key(*number), row.encode());
            }
        }
    }

    /// Keeps the gap log within its limit. Reported gaps are reduced to a count first; others are
    /// merged with their neighbours, which loses details.
    fn shorten(&mut self, batch: &mut Batch) {
        while self.rows.len() > GAPS_MAX {
            let gone = match self.to_fold().map(|(number, row)| (*number, row.gap.closed)) {
                Some((number, closed)) => {
                    self.head.folded += u64::from(!closed);
                    self.note_gone(number, None);
                    Some(number)
                }
                None => self.merge(batch),
            };
            let Some(gone) = gone else { return };
            self.rows.remove(&gone);
            batch.remove(schema::gap_key(gone));
        }
    }

    /// The reported gap whose row is needed least: a closed one, or else one that does not wait for
    /// lost records; of these the oldest.
    fn to_fold(&self) -> Option<(&u64, &Row)> {
        let reported = self.rows.iter().filter(|(_, row)| row.reported_in.is_some());
        reported.min_by_key(|(number, row)| {
            (!row.gap.closed, row.gap.reason == GapReason::Damaged, **number)
        })
    }

    fn note_gone(&mut self, number: u64, into: Option<u64>) {
        let gap = self.rows.get(&number).map(|row| &row.gap);
        if gap.is_some_and(|gap| gap.reason == GapReason::Damaged && !gap.closed) {
            self.gone.push(Gone { number, into });
        }
    }

    /// The open gaps of damage that lost their row since the last call.
    pub fn take_gone(&mut self) -> Vec<Gone> {
        std::mem::take(&mut self.gone)
    }

    /// Merges the oldest gap that has a similar one with that; returns the number that is gone.
    fn merge(&mut self, batch: &mut Batch) -> Option<u64> {
        let like =
            |a: &Gap, b: &Gap| a.stream == b.stream && a.reason == b.reason && a.closed == b.closed;
        let pair = self.rows.values().find_map(|first| {
            let mut later = self.rows.range(first.gap.number + 1..).map(|(_, row)| &row.gap);
            let second = later.find(|second| like(&first.gap, second))?;
            Some((first.gap.number, second.clone()))
        });
        let (first, second) = pair?;
        self.note_gone(second.number, Some(first));
        let row = self.rows.get_mut(&first)?;
        row.gap.from = row.gap.from.min(second.from);
        row.gap.to = row.gap.to.max(second.to);
        row.gap.count = row.gap.count.zip(second.count).map(|(a, b)| a.saturating_add(b));
        row.gap.parked = None;
        if row.gap.unread != second.unread {
            row.gap.unread = Unread::default();
        }
        batch.put(schema::gap_key(first), row.encode());
        Some(second.number)
    }

    /// Stores everything, for a new index.
    pub fn put_all(&self, batch: &mut Batch) {
        for (number, row) in &self.rows {
            batch.put(schema::gap_key(*number), row.encode());
        }
        batch.put(schema::GAPS.to_vec(), self.head.encode());
    }

    /// What is known of an unfetchable row is stored separately from its gap.
    pub fn set_unread(&mut self, number: u64, unread: Unread) {
        if let Some(row) = self.rows.get_mut(&number) {
            row.gap.unread = unread;
        }
    }

    /// Loads a stored row.
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

    /// Whether a newer version wrote it.
    pub fn is_newer(value: &[u8]) -> bool {
        value.first().is_some_and(|version| *version > ROW_VERSION)
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

/// What is known of an unfetchable row, as a part after a gap.
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
    /// The row as in the index.
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

    /// The row without the parts after it, as in the checkpoint.
    pub fn encode_short(&self) -> Vec<u8> {
        let gap = &self.gap;
        let mut out = vec![ROW_VERSION, gap.reason as u8, if gap.closed { CLOSED } else { 0 }];
        out.push(gap.stream.category.code());
        out.push(gap.stream.integration.len() as u8);
        out.extend_from_slice(gap.stream.integration.as_bytes());
        for stamp in [gap.from, gap.to] {
            out.extend_from_slice(&stamp.0.to_le_bytes());
        }
        // Numbers of frames and of parked positions begin with 1, so 0 means none.
        let parked = gap.parked.unwrap_or_default();
        let reported_in = self.reported_in.map_or(0, |seq| seq.0);
        for number in [gap.number, gap.count.unwrap_or(0), reported_in, parked.seq.0] {
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
        let (number, count, reported_in) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let parked = QueuePosition { seq: Seq(fields.u64()?), skip: fields.u32()? };
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
        Some(Row { gap, reported_in: (reported_in > 0).then_some(Seq(reported_in)) })
    }
}

#[cfg(test)]
#[path = "tests/gap_log.rs"]
pub(super) mod tests;
