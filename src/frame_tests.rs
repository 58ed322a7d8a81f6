//! A frame on disk: what is written is read, and what is damaged is not.

use super::*;
use crate::record::Kind;

fn small() -> (Frame, FrameMeta) {
    let key = |us, id| RowKey { stamp: Stamp(us), id };
    let progress = Progress { position: Stamp(2_000_000), from: Stamp(1_000_000) };
    let entries = vec![
        EntryMeta { key: key(1_500_000, 7), raw_len: 2, stamped: true },
        EntryMeta { key: key(2_000_000, 1 << 63), raw_len: 4, stamped: false },
    ];
    let stream = StreamName::polled("acme", Kind::Activities);
    // A stored block of `{},null` followed by the empty block of a sync flush.
    let deflated = b"\x00\x07\x00\xf8\xff{},null\x00\x00\x00\xff\xff".to_vec();
    let raw_crc = crc32fast::hash(b"{},null");
    let frame =
        Frame { stream, progress, last_of_page: true, entries, raw_len: 7, raw_crc, deflated };
    (frame, FrameMeta { seq: Seq(0x17), page_index: 3, last_of_page: true, progress })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Files outlive the program that wrote them: this text changes only with the version.
#[test]
fn the_format_on_disk_is_this_one() {
    let (frame, slot) = small();
    let mut bytes = Vec::new();
    encode(&mut bytes, &frame, slot);
    assert_eq!(hex(&bytes), GOLDEN_FRAME);
    assert_eq!(hex(&file_header(Seq(0x17))), GOLDEN_FILE_HEADER);
}

const GOLDEN_FILE_HEADER: &str = "533143584c4f470a010000001700000000000000bfdcb58f";
const GOLDEN_FRAME: &str = concat!(
    "5331460102010400",
    "1700000000000000",
    "030000000200000007000000e6a401c411000000",
    "58f338ee2220a59b",
    "80841e000000000040420f0000000000",
    "60e316000000000080841e0000000000",
    "289ade99",
    "61636d65",
    "60e3160000000000070000000000000002000080",
    "80841e0000000000000000000000008004000000",
    "000700f8ff7b7d2c6e756c6c000000ffff"
);

#[test]
fn a_frame_is_read_as_it_was_written() {
    let (frame, slot) = small();
    let mut bytes = b"before".to_vec();
    encode(&mut bytes, &frame, slot);
    assert_eq!(bytes.len() as u64 - 6, disk_len(&frame));
    bytes.extend_from_slice(b"behind");
    assert_eq!(take(bytes[6..].to_vec()), decode(&bytes[6..]));
    let (header, read) = decode(&bytes[6..]).unwrap();
    assert_eq!(read, frame);
    assert_eq!((header.seq, header.page_index), (Seq(0x17), 3));
    assert_eq!((header.oldest, header.newest), (Stamp(1_500_000), Stamp(2_000_000)));
    assert_eq!(header.disk_len() as u64, disk_len(&frame));
}

#[test]
fn a_frame_of_nothing_but_unreadable_stamps_begins_where_its_page_did() {
    let (frame, slot) = small();
    let key = RowKey { stamp: Stamp::UNREADABLE, id: 7 };
    let entry = EntryMeta { key, stamped: false, ..frame.entries[0] };
    assert_eq!(stamps(&[entry], slot.progress).0, slot.progress.from);
}

#[test]
fn every_changed_bit_and_every_cut_is_noticed() {
    let (frame, slot) = small();
    let mut bytes = Vec::new();
    encode(&mut bytes, &frame, slot);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&damaged).is_err(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert_eq!(decode(&bytes[..len]).unwrap_err(), FrameError::Cut, "cut to {len}");
    }
}

#[test]
fn the_table_can_be_read_when_the_records_are_damaged() {
    let (frame, slot) = small();
    let mut bytes = Vec::new();
    encode(&mut bytes, &frame, slot);
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(decode(&bytes).unwrap_err(), FrameError::Deflated);
    assert_eq!(Header::decode(&bytes).unwrap().table(&bytes).unwrap(), frame.entries);
}
