//! What is fuzzed of the queue: log files and a checkpoint of any bytes, on a disk in memory.
//!
//! Promises: a queue opens on whatever lies there, gives all of it out or up in bounded steps, and
//! takes new pages afterwards. Checksums would keep a fuzzer out of everything behind them, so on
//! request they are made right first.

use super::checkpoint::{self, Checkpoint};
use super::disk::Disk as _;
use super::mem::MemDisk;
use super::{MemQueue, Queue, QueueError, QueueLimits, Settings, StreamSettings, log};
use crate::coralogix::body::assemble;
use crate::frame::{EntryMeta, FRAME_HEADER_BYTES, FRAME_MAGIC, Frame};
use crate::fuzz::steered;
use crate::pack::Packer;
use crate::record::{Kind, Progress, RowKey, Seq, StreamName, Take};
use crate::time::{Mono, Stamp};

pub(crate) const FIRST: Seq = Seq(1);
const LIMITS: QueueLimits = QueueLimits { max_size_bytes: 4 << 20, min_free_bytes: 0 };
const ALL: Take = Take { entries_max: 1_000, raw_bytes_max: 1 << 20, until: None };
/// Where a file of the input begins: as a log file does.
const FILE_MAGIC: &[u8] = b"S1CXLOG\n";
/// More steps than frames fit into the longest input of a fuzzer.
const STEPS_MAX: usize = 200_000;

/// Log files and, before the first of them, a checkpoint.
pub(crate) fn log(data: &[u8]) {
    let (steer, rest) = steered(data);
    let disk = laid_out(rest, steer & 1 != 0);
    let held = |queue: &mut MemQueue| queue.held().records;
    let mut queue = opened(&disk);
    let before = held(&mut queue);
    if steer & 2 != 0 {
        // A start that was cut right after it began is followed by one that finds the same.
        drop(queue);
        queue = opened(&disk);
        assert_eq!(held(&mut queue), before, "a second start finds what the first found");
    }
    drain(&mut queue);
    assert_eq!(held(&mut queue), 0, "all was given out or given up");
    let stream = StreamName::polled("acme", Kind::Threats);
    let progress = Progress { position: Stamp(9), from: Stamp(9) };
    let frames = [one_frame(&stream, progress)];
    match queue.append(&stream, &frames, progress, &[]) {
        Ok(_) => assert_eq!(held(&mut queue), 1),
        Err(error) => assert_eq!(error, QueueError::DiskFull, "a mended queue takes pages"),
    }
    let waits = held(&mut queue);
    queue.close(Mono(3));
    let mut queue = opened(&disk);
    assert_eq!(held(&mut queue), waits, "what was stored is there after a start");
    drain(&mut queue);
}

/// A checkpoint of any bytes, or one with a right checksum.
pub(crate) fn checkpoint(data: &[u8]) {
    let (steer, rest) = steered(data);
    let mut bytes = rest.to_vec();
    if steer & 1 != 0 {
        mend_checkpoint(&mut bytes);
    }
    let Some(read) = Checkpoint::decode(&bytes) else { return };
    assert_eq!(Checkpoint::decode(&read.encode()), Some(read), "read as it was written");
}

fn opened(disk: &MemDisk) -> MemQueue {
    let streams = Kind::ALL.map(|kind| StreamName::polled("acme", kind));
    let streams = streams.map(|name| StreamSettings { name, tally_ids_max: 0 }).to_vec();
    let settings = Settings { limits: LIMITS, streams, new_id: None };
    Queue::open(disk.clone(), settings).expect("any disk is mended").0
}

/// Gives everything out, or up where it is damaged.
fn drain(queue: &mut MemQueue) {
    for _ in 0..STEPS_MAX {
        let damaged = match queue.peek(ALL) {
            Ok(None) => return,
            Ok(Some(peeked)) => match assemble(&peeked.pieces, Stamp(0)) {
                Ok(body) => {
                    assert_eq!(body.entries, peeked.sent.entries);
                    queue.ack(peeked.sent.end, Mono(1)).expect("the disk is sound");
                    continue;
                }
                Err(bad) => peeked.seqs[bad.index],
            },
            Err(QueueError::Damaged { seq, .. }) => seq,
            Err(error) => panic!("a sound disk fails: {error}"),
        };
        queue.quarantine(damaged, "fuzzed").expect("what is damaged can be given up");
    }
    panic!("the queue does not drain");
}

fn one_frame(stream: &StreamName, progress: Progress) -> Frame {
    let mut packer = Packer::new(stream.clone());
    packer.push(b"{}", RowKey { stamp: Stamp(9), id: 9 }, false);
    packer.finish(progress).remove(0)
}

/// A disk with the files of an input on it.
fn laid_out(data: &[u8], mended: bool) -> MemDisk {
    let disk = MemDisk::new(1 << 30);
    let mut view = disk.clone();
    let mut write = |path: &str, bytes: &[u8]| {
        // Two files of one name: the first is it.
        if view.create(path).is_ok() {
            view.append(path, bytes).expect("there is room");
        }
    };
    let begins: Vec<usize> =
        (0..data.len()).filter(|at| data[*at..].starts_with(FILE_MAGIC)).collect();
    let head = &data[..begins.first().copied().unwrap_or(data.len())];
    if !head.is_empty() {
        let mut bytes = head.to_vec();
        if mended {
            mend_checkpoint(&mut bytes);
        }
        // A newer version's is refused, and nothing is mended.
        if !Checkpoint::is_newer(&bytes) {
            write(checkpoint::FILE, &bytes);
        }
    }
    disk.clone().create_dir(log::DIR).expect("nothing fails here");
    let ends = begins.iter().skip(1).copied().chain([data.len()]);
    for (from, to) in begins.iter().copied().zip(ends) {
        let mut bytes = data[from..to].to_vec();
        if mended {
            mend_frames(&mut bytes);
        }
        let first = bytes.get(12..20).and_then(|number| number.first_chunk());
        let first = first.map_or(FIRST.0, |number| u64::from_le_bytes(*number));
        write(&log::path(first), &bytes);
    }
    disk
}

fn mend_checkpoint(bytes: &mut [u8]) {
    if let Some((content, crc)) = bytes.split_last_chunk_mut::<4>() {
        *crc = crc32fast::hash(content).to_le_bytes();
    }
}

/// Makes the checksums of all that looks like a frame right, as far as its lengths allow.
pub(crate) fn mend_frames(bytes: &mut [u8]) {
    let mut at = 0;
    while at + FRAME_HEADER_BYTES <= bytes.len() {
        match bytes[at..].starts_with(&FRAME_MAGIC) {
            true => at += mend_frame(&mut bytes[at..]).max(1),
            false => at += 1,
        }
    }
}

/// Answers with the frame's length, or 0 when it does not fit.
fn mend_frame(bytes: &mut [u8]) -> usize {
    let number =
        |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("a whole header"));
    let (entries, deflated) = (number(20) as usize, number(32) as usize);
    let name_end = FRAME_HEADER_BYTES + usize::from(u16::from_le_bytes([bytes[6], bytes[7]]));
    let table_end = name_end.saturating_add(entries.saturating_mul(20));
    let end = table_end.saturating_add(deflated);
    if end > bytes.len() {
        return 0;
    }
    let table = &bytes[name_end..table_end];
    let lengths = table.chunks_exact(20).map(|row| {
        let length = u32::from_le_bytes(*row[16..].first_chunk().expect("a whole row"));
        EntryMeta {
            key: RowKey { stamp: Stamp(0), id: 0 },
            raw_len: length & !(1 << 31),
            stamped: false,
        }
    });
    let raw_len = crate::frame::json_len(&lengths.collect::<Vec<_>>());
    let (table_crc, deflated_crc) =
        (crc32fast::hash(table), crc32fast::hash(&bytes[table_end..end]));
    put(bytes, 24, raw_len.min(u64::from(u32::MAX)) as u32);
    put(bytes, 36, table_crc);
    put(bytes, 40, deflated_crc);
    let raw_crc = raw_crc_of(bytes, end);
    put(bytes, 28, raw_crc);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..FRAME_HEADER_BYTES - 4]);
    crc.update(&bytes[FRAME_HEADER_BYTES..name_end]);
    put(bytes, FRAME_HEADER_BYTES - 4, crc.finalize());
    end
}

/// The checksum of what the frame's blocks inflate to, where they do.
fn raw_crc_of(bytes: &[u8], end: usize) -> u32 {
    let deflated = u32::from_le_bytes(*bytes[32..].first_chunk().expect("a whole header")) as usize;
    let raw_len = u32::from_le_bytes(*bytes[24..].first_chunk().expect("a whole header"));
    let mut inflater = flate2::Decompress::new(false);
    let mut raw = Vec::with_capacity((raw_len as usize).min(1 << 20) + 16);
    let flush = flate2::FlushDecompress::Sync;
    let _ = inflater.decompress_vec(&bytes[end - deflated..end], &mut raw, flush);
    crc32fast::hash(&raw)
}

fn put(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}
