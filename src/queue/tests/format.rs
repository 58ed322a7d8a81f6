//! The rows of the index and the checkpoint, byte by byte, as version 0.1 wrote them (commit
//! 5a9c81d; whole directories of it are in tests/golden).
//!
//! Promises: what these bytes mean never changes, whatever is added to the formats. A new version of a
//! row gets bytes of its own beside them.

use super::checkpoint::Checkpoint;
use super::gaps::{GapLog, Head, Row};
use super::schema::{self, ChunkId, Entry, State, StreamRow, Tail, TallyRow};
use super::testing::hex;
use crate::frame::Fields;
use crate::record::{
    Category, Gap, GapReason, Kind, Progress, QueuePosition, RowKey, Seq, StreamName, Unread,
};
use crate::time::Stamp;

const CHUNK: ChunkId = ChunkId { newest: Stamp(-2), number: 0x0706_0504_0302_0100 };

fn state() -> State {
    State {
        head: QueuePosition { seq: Seq(0x17), skip: 4 },
        next_seq: Seq(0x1a),
        records: 1_000,
        tail: Tail { file: 0x16, end: 70_000 },
        next_chunk: 9,
        parked: 2,
    }
}

fn entry() -> Entry {
    Entry {
        seq: Seq(0x0102_0304),
        file: 0x16,
        offset: 24,
        len: 500,
        entries: 12,
        raw_len: 2_000,
        stream: 3,
        progress: Progress { position: Stamp(2_000_000), from: Stamp(-1) },
        oldest: Stamp(1_500_000),
        newest: Stamp(2_000_000),
    }
}

fn stream() -> StreamRow {
    let progress = |us| Some(Progress { position: Stamp(us), from: Stamp(us - 1) });
    StreamRow {
        name: StreamName::polled("acme", Kind::Alerts),
        progress: progress(0x0807_0605_0403_0201),
        delivered: None,
    }
}

fn ids() -> Vec<RowKey> {
    vec![RowKey { stamp: Stamp(5), id: 6 }, RowKey { stamp: Stamp(-2), id: 1 << 63 }]
}

fn tally(compared: Option<Stamp>) -> TallyRow {
    TallyRow { since: Stamp(-5), position: Stamp(2_000_000), compared }
}

fn refused() -> Row {
    let gap = Gap {
        number: 3,
        stream: StreamName::polled("acme", Kind::Threats),
        from: Stamp(1_500_000),
        to: Stamp(1_500_001),
        reason: GapReason::Refused,
        count: Some(1),
        parked: Some(QueuePosition { seq: Seq(0x17), skip: 5 }),
        closed: false,
        unread: Unread::default(),
    };
    Row { gap, reported_in: Some(Seq(0x19)) }
}

fn deleted() -> Row {
    let Row { gap, .. } = refused();
    let stream = StreamName::polled("acme", Kind::Activities);
    let gap =
        Gap { number: 4, stream, reason: GapReason::Retention, count: None, parked: None, ..gap };
    Row { gap, reported_in: None }
}

fn purged() -> Row {
    let Row { gap, reported_in } = refused();
    let stream = StreamName { integration: "acme".to_owned(), category: Category::Collector };
    Row {
        gap: Gap { number: 5, stream, reason: GapReason::Purged, closed: true, ..gap },
        reported_in,
    }
}

fn head() -> Head {
    Head { newest: 5, folded: 1, heartbeat: Some(Seq(0x18)) }
}

fn ids_value() -> Vec<u8> {
    let mut out = Vec::new();
    schema::encode_ids(&mut out, &ids());
    out
}

fn stream_value() -> Vec<u8> {
    let mut out = Vec::new();
    stream().encode(&mut out);
    out
}

fn checkpoint() -> Checkpoint {
    let mut gap_log = GapLog::default();
    [refused(), deleted(), purged()].into_iter().for_each(|row| gap_log.load(row));
    gap_log.head = head();
    Checkpoint {
        head: state().head,
        next_seq: state().next_seq,
        streams: vec![(stream(), ids())],
        gap_log,
        ..Checkpoint::default()
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[test]
fn the_keys_of_the_index_are_these() {
    for (key, golden) in [
        (schema::STATE.to_vec(), "63"),
        (schema::GAPS.to_vec(), "68"),
        (schema::entry_key(entry().seq), ENTRY_KEY),
        (schema::stream_key(0x0102), STREAM_KEY),
        (schema::chunk_key(0x0102, CHUNK), CHUNK_KEY),
        (schema::tally_chunk_key(0x0102, CHUNK), TALLY_CHUNK_KEY),
        (schema::tally_key(0x0102), TALLY_KEY),
        (schema::gap_key(3), GAP_KEY),
    ] {
        assert_eq!(hex(&key), golden);
    }
    for key in [CHUNK_KEY, TALLY_CHUNK_KEY] {
        assert_eq!(schema::decode_chunk_key(&bytes(key)), Some((0x0102, CHUNK)));
    }
}

#[test]
fn the_rows_of_the_index_are_these() {
    assert_eq!(hex(&state().encode()), STATE);
    assert_eq!(State::decode(&bytes(STATE)), Some(state()));
    assert_eq!(hex(&entry().encode()), ENTRY);
    assert_eq!(Entry::decode(&bytes(ENTRY_KEY), &bytes(ENTRY)), Some(entry()));
    assert_eq!(hex(&stream_value()), STREAM);
    assert_eq!(StreamRow::decode(&mut Fields(&bytes(STREAM))), Some(stream()));
    for (compared, golden) in [(Some(Stamp(3)), TALLY), (None, TALLY_NEVER_COMPARED)] {
        assert_eq!(hex(&tally(compared).encode()), golden);
        assert_eq!(TallyRow::decode(&bytes(golden)), Some(tally(compared)));
    }
    let value = bytes(IDS);
    let mut fields = Fields(&value);
    let read: Vec<RowKey> = (0..2).map(|_| schema::decode_id(&mut fields).unwrap()).collect();
    assert_eq!((hex(&ids_value()).as_str(), read), (IDS, ids()));
}

#[test]
fn the_rows_of_the_gap_log_are_these() {
    for (row, golden) in [(refused(), REFUSED), (deleted(), DELETED), (purged(), PURGED)] {
        assert_eq!(hex(&row.encode()), golden);
        assert_eq!(Row::decode(&bytes(golden)), Some(row));
        assert!(!Row::is_newer(&bytes(golden)));
    }
    assert_eq!(hex(&head().encode()), GAPS);
    assert_eq!(Head::decode(&mut Fields(&bytes(GAPS))), Some(head()));
}

/// Parts have been added behind the gap log since; what is before them stays as it was.
#[test]
fn a_checkpoint_of_version_0_1_is_read_and_begins_like_one_of_today() {
    let golden = bytes(CHECKPOINT);
    assert_eq!(Checkpoint::decode(&golden), Some(checkpoint()));
    assert!(!Checkpoint::is_newer(&golden));
    let (content, _) = golden.split_last_chunk::<4>().unwrap();
    assert!(checkpoint().encode().starts_with(content));
}

const STATE: &str = concat!(
    "01170000000000000004000000000000001a00000000000000e80300000000000016000000000000",
    "00701101000000000009000000000000000200000000000000"
);
const ENTRY_KEY: &str = "710000000001020304";
const ENTRY: &str = concat!(
    "16000000000000001800000000000000f40100000c000000d0070000030080841e0000000000ffff",
    "ffffffffffff60e316000000000080841e0000000000"
);
const STREAM_KEY: &str = "730102";
const STREAM: &str =
    "030461636d6501010203040506070800020304050607080000000000000000000000000000000000";
const CHUNK_KEY: &str = "6b01027ffffffffffffffe0706050403020100";
const TALLY_CHUNK_KEY: &str = "6201027ffffffffffffffe0706050403020100";
const IDS: &str = "05000000000000000600000000000000feffffffffffffff0000000000000080";
const TALLY_KEY: &str = "740102";
const TALLY: &str = "01fbffffffffffffff80841e00000000000300000000000000";
const TALLY_NEVER_COMPARED: &str = "01fbffffffffffffff80841e00000000000000000000000080";
const GAP_KEY: &str = "670000000000000003";
const REFUSED: &str = concat!(
    "010100010461636d6560e316000000000061e3160000000000030000000000000001000000000000",
    "001900000000000000170000000000000005000000"
);
const DELETED: &str = concat!(
    "010200020461636d6560e316000000000061e3160000000000040000000000000000000000000000",
    "000000000000000000000000000000000000000000"
);
const PURGED: &str = concat!(
    "010301040461636d6560e316000000000061e3160000000000050000000000000001000000000000",
    "001900000000000000170000000000000005000000"
);
const GAPS: &str = "01050000000000000001000000000000001800000000000000";
const CHECKPOINT: &str = concat!(
    "5331435843484b011700000000000000040000001a0000000000000001000000030461636d650101",
    "02030405060708000203040506070800000000000000000000000000000000000200000005000000",
    "000000000600000000000000feffffffffffffff0000000000000080010500000000000000010000",
    "0000000000180000000000000003000000010100010461636d6560e316000000000061e316000000",
    "00000300000000000000010000000000000019000000000000001700000000000000050000000102",
    "00020461636d6560e316000000000061e31600000000000400000000000000000000000000000000",
    "00000000000000000000000000000000000000010301040461636d6560e316000000000061e31600",
    "00000000050000000000000001000000000000001900000000000000170000000000000005000000",
    "dc518c93"
);
