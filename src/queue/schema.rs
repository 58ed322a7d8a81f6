//! The keys and values of the index.
//!
//! One letter says what a key is about; the rest is big-endian so that keys sort as numbers do.
//! Values are little-endian like everything else on disk. Promises: an unreadable value is `None`,
//! never a guess.
//!
//! | key | value |
//! |---|---|
//! | `c` | `State`: head, next number, counters. Written last when an index is made: without it the index is not one |
//! | `q` seq | `Entry`: where a frame lies and what is in it |
//! | `s` number | a stream's name, its progress, its delivered progress |
//! | `k` number, newest stamp, chunk | ids of the overlap, 16 bytes each |
//! | `a` gap, number | which of the records that were lost to damage are still to come again (`awaited`) |
//! | `d` stream | `CoveredRow`: what was collected behind a position that damage set back |
//! | `h`, `g` number | the log of gaps: `gaps::Head`, and a `gaps::Row` for each |
//! | `b` number, newest creation, chunk | ids collected, with when they were created, 16 bytes each; of one kind in a chunk (`ChunkId::OUT_OF_TURN`) |
//! | `t` number | `TallyRow`: since when the ids in `b` are all there |
//! | `u` integration | the tenant it was collected from |
//! | `m` number | `origins::Move`: frames that were written under another name |

use crate::frame::Fields;
use crate::record::{Category, Covered, Progress, QueuePosition, RowKey, Seq, StreamName};
use crate::time::Stamp;

pub(super) const STATE: &[u8] = b"c";
/// The counters of the gap log. An index without them is read as one that never had a gap.
pub(super) const GAPS: &[u8] = b"h";
pub(super) const STATE_VERSION: u8 = 1;
const TALLY_VERSION: u8 = 1;
const COVERED_VERSION: u8 = 1;

/// The counters and the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub head: QueuePosition,
    pub next_seq: Seq,
    /// Entries that wait.
    pub records: u64,
    /// The log file written last, and the end of its last committed frame.
    pub tail: Tail,
    /// The number of the next chunk of ids.
    pub next_chunk: u64,
    pub parked: u64,
}

/// The end of what is committed in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    pub file: u64,
    pub end: u64,
}

impl State {
    pub fn encode(self) -> Vec<u8> {
        let mut out = vec![STATE_VERSION];
        for number in [self.head.seq.0, u64::from(self.head.skip), self.next_seq.0, self.records] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.tail.file, self.tail.end, self.next_chunk, self.parked] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Option<State> {
        let mut fields = Fields(bytes);
        if fields.u8()? != STATE_VERSION {
            return None;
        }
        Some(State {
            head: QueuePosition {
                seq: Seq(fields.u64()?),
                skip: u32::try_from(fields.u64()?).ok()?,
            },
            next_seq: Seq(fields.u64()?),
            records: fields.u64()?,
            tail: Tail { file: fields.u64()?, end: fields.u64()? },
            next_chunk: fields.u64()?,
            parked: fields.u64()?,
        })
    }
}

/// A frame's row in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub seq: Seq,
    /// The log file, by its first sequence number.
    pub file: u64,
    pub offset: u64,
    pub len: u32,
    pub entries: u32,
    pub raw_len: u32,
    /// The stream's number.
    pub stream: u16,
    pub progress: Progress,
    pub oldest: Stamp,
    pub newest: Stamp,
}

impl Entry {
    /// The place after `skip` of its entries: after the last one that is the next frame.
    pub fn place(&self, skip: u32) -> QueuePosition {
        match skip < self.entries {
            true => QueuePosition { seq: self.seq, skip },
            false => QueuePosition { seq: self.seq.next(), skip: 0 },
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(62);
        out.extend_from_slice(&self.file.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        for number in [self.len, self.entries, self.raw_len] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.stream.to_le_bytes());
        for stamp in [self.progress.position, self.progress.from, self.oldest, self.newest] {
            out.extend_from_slice(&stamp.0.to_le_bytes());
        }
        out
    }

    pub fn decode(key: &[u8], value: &[u8]) -> Option<Entry> {
        let seq = Seq(u64::from_be_bytes(*key.get(1..)?.first_chunk()?));
        let mut fields = Fields(value);
        Some(Entry {
            seq,
            file: fields.u64()?,
            offset: fields.u64()?,
            len: fields.u32()?,
            entries: fields.u32()?,
            raw_len: fields.u32()?,
            stream: fields.u16()?,
            progress: fields.progress()?,
            oldest: Stamp(fields.i64()?),
            newest: Stamp(fields.i64()?),
        })
    }
}

/// A chunk of ids. The order is by the newest stamp, so that stale chunks come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChunkId {
    pub newest: Stamp,
    pub number: u64,
}

impl ChunkId {
    /// A bit in the number of a chunk of ids that were collected *out of turn*: created before the
    /// time from which walks were reading, and found by a list or by a later change. Such ids do
    /// not show that everything else created by then was collected.
    pub const OUT_OF_TURN: u64 = 1 << 63;

    pub fn is_out_of_turn(self) -> bool {
        self.number & ChunkId::OUT_OF_TURN != 0
    }
}

pub(super) fn entry_key(seq: Seq) -> Vec<u8> {
    let mut key = b"q".to_vec();
    key.extend_from_slice(&seq.0.to_be_bytes());
    key
}

pub(super) fn gap_key(number: u64) -> Vec<u8> {
    let mut key = b"g".to_vec();
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn awaited_key(gap: u64, number: u16) -> Vec<u8> {
    let mut key = b"a".to_vec();
    key.extend_from_slice(&gap.to_be_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn decode_awaited_key(key: &[u8]) -> Option<(u64, u16)> {
    let (gap, rest) = key.get(1..)?.split_first_chunk()?;
    Some((u64::from_be_bytes(*gap), u16::from_be_bytes(*rest.first_chunk()?)))
}

pub(super) fn stream_key(number: u16) -> Vec<u8> {
    let mut key = b"s".to_vec();
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// What reconciliation may rely on for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TallyRow {
    /// The tally has every collected record that was created from here on.
    pub since: Stamp,
    /// The stream's position when this row was written. If the stream has another one, a version
    /// without tallies moved it, and the tally is useless.
    pub position: Stamp,
    /// When SentinelOne's count was last compared, by SentinelOne's clock.
    pub compared: Option<Stamp>,
}

impl TallyRow {
    pub fn encode(self) -> Vec<u8> {
        let mut out = vec![TALLY_VERSION];
        for stamp in [self.since, self.position, self.compared.unwrap_or(Stamp::MIN)] {
            out.extend_from_slice(&stamp.0.to_le_bytes());
        }
        out
    }

    /// `None` also for an unknown version: then a tally begins anew.
    pub fn decode(value: &[u8]) -> Option<TallyRow> {
        let mut fields = Fields(value);
        if fields.u8()? != TALLY_VERSION {
            return None;
        }
        let [since, position] = [Stamp(fields.i64()?), Stamp(fields.i64()?)];
        let compared = Some(Stamp(fields.i64()?)).filter(|stamp| *stamp != Stamp::MIN);
        Some(TallyRow { since, position, compared })
    }
}

/// Ranges after the position of a stream that damage set back, which were collected already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CoveredRow {
    /// The stream's progress when this row was written, and the number of the newest gap. If they
    /// differ now, a version without this row has changed the stream, and may have given up records
    /// in these ranges.
    pub progress: Progress,
    pub newest_gap: u64,
    pub covered: Covered,
}

impl CoveredRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![COVERED_VERSION];
        for stamp in [self.progress.position, self.progress.from] {
            out.extend_from_slice(&stamp.0.to_le_bytes());
        }
        out.extend_from_slice(&self.newest_gap.to_le_bytes());
        for stamp in self.covered.ranges().iter().flat_map(|(from, to)| [from, to]) {
            out.extend_from_slice(&stamp.0.to_le_bytes());
        }
        out
    }

    /// `None` also for an unknown version: then more is collected again, and nothing is missed.
    pub fn decode(value: &[u8]) -> Option<CoveredRow> {
        let mut fields = Fields(value);
        if fields.u8()? != COVERED_VERSION {
            return None;
        }
        let (progress, newest_gap) = (fields.progress()?, fields.u64()?);
        let mut ranges = Vec::new();
        while !fields.0.is_empty() {
            ranges.push((Stamp(fields.i64()?), Stamp(fields.i64()?)));
        }
        Some(CoveredRow { progress, newest_gap, covered: Covered::of(ranges)? })
    }
}

pub(super) fn covered_key(stream: u16) -> Vec<u8> {
    let mut key = b"d".to_vec();
    key.extend_from_slice(&stream.to_be_bytes());
    key
}

pub(super) fn tenant_key(integration: &str) -> Vec<u8> {
    let mut key = b"u".to_vec();
    key.extend_from_slice(integration.as_bytes());
    key
}

pub(super) fn move_key(number: u64) -> Vec<u8> {
    let mut key = b"m".to_vec();
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn tally_key(stream: u16) -> Vec<u8> {
    let mut key = b"t".to_vec();
    key.extend_from_slice(&stream.to_be_bytes());
    key
}

pub(super) fn chunk_key(stream: u16, chunk: ChunkId) -> Vec<u8> {
    lettered_chunk_key(b'k', stream, chunk)
}

pub(super) fn tally_chunk_key(stream: u16, chunk: ChunkId) -> Vec<u8> {
    lettered_chunk_key(b'b', stream, chunk)
}

fn lettered_chunk_key(letter: u8, stream: u16, chunk: ChunkId) -> Vec<u8> {
    let mut key = vec![letter];
    key.extend_from_slice(&stream.to_be_bytes());
    // With the sign bit inverted, negative stamps sort before positive ones.
    key.extend_from_slice(&(chunk.newest.0 ^ i64::MIN).to_be_bytes());
    key.extend_from_slice(&chunk.number.to_be_bytes());
    key
}

pub(super) fn decode_chunk_key(key: &[u8]) -> Option<(u16, ChunkId)> {
    let (stream, rest) = key.get(1..)?.split_first_chunk()?;
    let (newest, rest) = rest.split_first_chunk()?;
    let newest = Stamp(i64::from_be_bytes(*newest) ^ i64::MIN);
    let number = u64::from_be_bytes(*rest.first_chunk()?);
    Some((u16::from_be_bytes(*stream), ChunkId { newest, number }))
}

pub(super) fn encode_ids(out: &mut Vec<u8>, ids: &[RowKey]) {
    for key in ids {
        out.extend_from_slice(&key.stamp.0.to_le_bytes());
        out.extend_from_slice(&key.id.to_le_bytes());
    }
}

pub(super) fn decode_id(fields: &mut Fields<'_>) -> Option<RowKey> {
    Some(RowKey { stamp: Stamp(fields.i64()?), id: fields.u64()? })
}

/// A stream's name and progress, as in the index and the checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StreamRow {
    pub name: StreamName,
    pub progress: Option<Progress>,
    pub delivered: Option<Progress>,
}

impl StreamRow {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let name = self.name.integration.as_bytes();
        out.push(self.name.category.code());
        out.push(name.len() as u8);
        out.extend_from_slice(name);
        for progress in [self.progress, self.delivered] {
            out.push(u8::from(progress.is_some()));
            let progress =
                progress.unwrap_or(Progress { position: Stamp::EPOCH, from: Stamp::EPOCH });
            out.extend_from_slice(&progress.position.0.to_le_bytes());
            out.extend_from_slice(&progress.from.0.to_le_bytes());
        }
    }

    pub fn decode(fields: &mut Fields<'_>) -> Option<StreamRow> {
        let category = Category::from_code(fields.u8()?)?;
        let integration = fields.text_u8()?;
        let mut next = || Some((fields.u8()? != 0).then_some(fields.progress()?));
        let (progress, delivered) = (next()?, next()?);
        Some(StreamRow { name: StreamName { integration, category }, progress, delivered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    #[test]
    fn values_are_read_as_they_were_written() {
        let progress = Progress { position: Stamp(-5), from: Stamp(i64::MIN) };
        let entry = Entry {
            seq: Seq(1 << 40),
            file: 1 << 39,
            offset: 77,
            len: 5,
            entries: 6,
            raw_len: 7,
            stream: 8,
            progress,
            oldest: Stamp(-9),
            newest: Stamp(10),
        };
        assert_eq!(Entry::decode(&entry_key(entry.seq), &entry.encode()), Some(entry));
        let state = State {
            head: QueuePosition { seq: Seq(3), skip: 4 },
            next_seq: Seq(5),
            records: 6,
            tail: Tail { file: 7, end: 8 },
            next_chunk: 9,
            parked: 10,
        };
        assert_eq!(State::decode(&state.encode()), Some(state));
        assert_eq!(State::decode(&state.encode()[..20]), None);
        for compared in [None, Some(Stamp(3))] {
            let row = TallyRow { since: Stamp(-1), position: Stamp(2), compared };
            assert_eq!(TallyRow::decode(&row.encode()), Some(row));
            assert_eq!(TallyRow::decode(&row.encode()[..24]), None);
        }
        let mut covered = Covered::default();
        covered.add(Stamp(-9), Stamp(4));
        covered.add(Stamp(6), Stamp(7));
        let row = CoveredRow { progress, newest_gap: 3, covered };
        assert_eq!(CoveredRow::decode(&row.encode()), Some(row.clone()));
        assert_eq!(CoveredRow::decode(&row.encode()[..50]), None);
        let name = StreamName::polled("acme", Kind::Alerts);
        let row = StreamRow { name, progress: Some(progress), delivered: None };
        let mut bytes = Vec::new();
        row.encode(&mut bytes);
        assert_eq!(StreamRow::decode(&mut Fields(&bytes)), Some(row));
    }

    #[test]
    fn chunks_sort_by_their_newest_stamp() {
        let mut keys = Vec::new();
        for (stamp, number) in [(i64::MIN, 9), (-1, 8), (0, 3), (1, 2), (i64::MAX, 1)] {
            let chunk = ChunkId { newest: Stamp(stamp), number };
            assert_eq!(decode_chunk_key(&chunk_key(7, chunk)), Some((7, chunk)));
            keys.push(chunk_key(7, chunk));
        }
        assert!(keys.is_sorted());
    }

    #[test]
    fn keys_sort_as_their_numbers_do() {
        let numbers = [0, 1, 0xff, 0x100, 0xffff, u64::MAX];
        let long: [fn(u64) -> Vec<u8>; 3] = [gap_key, move_key, |seq| entry_key(Seq(seq))];
        let short: [fn(u16) -> Vec<u8>; 3] = [stream_key, covered_key, tally_key];
        for of in long {
            assert!(numbers.map(of).is_sorted_by(|a, b| a < b));
        }
        for of in short {
            assert!([0, 1, 0xff, 0x100, 0xffff].map(of).is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn a_bit_of_its_number_tells_what_a_chunk_has() {
        let of = |number| ChunkId { newest: Stamp(1), number };
        for number in [1, u64::MAX >> 1] {
            assert!(!of(number).is_out_of_turn());
            assert!(of(number | ChunkId::OUT_OF_TURN).is_out_of_turn());
        }
    }
}
