//! What the queue's tests share: made-up records, frames of them, and directories to put them in.

use super::disk::Disk;
use super::mem::MemDisk;
use super::real::RealDisk;
use super::{
    Append, OpenError, OpenedQueue, Peeked, Queue, QueueError, QueueLimits, Settings,
    StreamSettings,
};
use crate::frame::{EntryMeta, Frame, Piece};
use crate::record::{Category, Gap, Kind, Opened, Progress, QueueStatus, RowKey, StreamName, Take};
pub(super) use crate::test_world::temp::TempDir;
use crate::time::Stamp;

pub(super) const LIMITS: QueueLimits =
    QueueLimits { max_size_bytes: 64 << 20, min_free_bytes: 1 << 20 };
/// For tests that open a queue very often: a start writes an eighth of its size.
pub(super) const SMALL: QueueLimits =
    QueueLimits { max_size_bytes: 4 << 20, min_free_bytes: 1 << 20 };
pub(super) const ALL: Take = Take { entries_max: 100_000, raw_bytes_max: 1 << 30, until: None };

/// Makes a test of each of these, with a queue in memory and with one on the disk.
macro_rules! on_both {
    ($($name:ident,)*) => {
        mod in_memory {
            $(
                #[test]
                fn $name() {
                    super::$name(&crate::queue::mem::MemDisk::new(256 << 20));
                }
            )*
        }
        mod on_disk {
            $(
                #[test]
                fn $name() {
                    super::$name(&crate::test_world::temp::TempDir::new("queue"));
                }
            )*
        }
    };
}
pub(super) use on_both;

/// Settings of a queue that keeps no ids for reconciliation, until `tally`.
pub(super) fn settings(limits: QueueLimits, streams: &[StreamName]) -> Settings {
    let stream = |name: &StreamName| StreamSettings { name: name.clone(), tally_ids_max: 0 };
    Settings { limits, streams: streams.iter().map(stream).collect(), new_id: None }
}

/// A place for a queue, to be opened as often as a test likes.
pub(super) trait Fixture {
    type D: Disk;

    fn disk(&self) -> Self::D;

    /// Takes the index away, as a damage of the disk may.
    fn lose_index(&self);

    fn change(&self, path: &str, change: &dyn Fn(&mut Vec<u8>));

    fn files(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.disk().list(dir).unwrap().into_iter().map(|item| item.name).collect();
        names.sort();
        names
    }

    fn try_open(&self, limits: QueueLimits) -> Result<OpenedQueue<Self::D>, OpenError> {
        Queue::open(self.disk(), settings(limits, &[threats(), activities()]))
    }

    fn open(&self) -> (Queue<Self::D>, Opened, Vec<&'static str>) {
        let (queue, opened, findings) = self.try_open(LIMITS).unwrap();
        (queue, opened, findings.iter().map(|finding| finding.reason).collect())
    }
}

impl Fixture for MemDisk {
    type D = MemDisk;

    fn disk(&self) -> MemDisk {
        self.clone()
    }

    fn lose_index(&self) {
        self.lose_indexes();
    }

    fn change(&self, path: &str, change: &dyn Fn(&mut Vec<u8>)) {
        self.tamper(path, change);
    }
}

/// Pages of which a test says only what it is about.
impl<D: Disk> Queue<D> {
    /// From here on so many ids of a stream are kept for reconciliation, as if the queue was opened
    /// with these settings.
    pub(crate) fn tally(&mut self, stream: &StreamName, ids_max: usize) {
        let settings = StreamSettings { name: stream.clone(), tally_ids_max: ids_max };
        match self.configured.iter_mut().find(|known| known.name == *stream) {
            Some(known) => *known = settings,
            None => self.configured.push(settings),
        }
    }

    /// A page with its ids at or after `progress.from`, and when each record was created.
    pub(crate) fn append_tallied(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        progress: Progress,
        known: &[RowKey],
        created_keys: &[RowKey],
    ) -> Result<QueueStatus, QueueError> {
        let append = Append { progress, known, created_keys, gap: None, late: &[] };
        self.append_page(stream, frames, append)
    }

    /// The same, with a gap.
    pub(crate) fn append_past(
        &mut self,
        stream: &StreamName,
        frames: &[Frame],
        progress: Progress,
        known: &[RowKey],
        created_keys: &[RowKey],
        gap: Gap,
    ) -> Result<QueueStatus, QueueError> {
        let gap = Some(gap);
        self.append_page(stream, frames, Append { progress, known, created_keys, gap, late: &[] })
    }
}

impl Fixture for TempDir {
    type D = RealDisk;

    fn disk(&self) -> RealDisk {
        RealDisk::new(self.path())
    }

    fn lose_index(&self) {
        for entry in std::fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("index.") {
                std::fs::write(path.join("db"), b"not a database").unwrap();
            }
        }
    }

    fn change(&self, path: &str, change: &dyn Fn(&mut Vec<u8>)) {
        let path = self.path().join(path);
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }
}

pub(super) use crate::frame::tests::hex;

pub(super) fn threats() -> StreamName {
    StreamName::polled("acme", Kind::Threats)
}

pub(super) fn activities() -> StreamName {
    StreamName::polled("acme", Kind::Activities)
}

/// The list that a stream of records is polled from.
pub(super) fn kind_of(stream: &StreamName) -> Kind {
    match stream.category {
        Category::Polled(kind) => kind,
        Category::Collector => panic!("{stream} holds no records"),
    }
}

/// Record `n` of a stream has stamp and id `n`.
pub(super) fn key(n: u64) -> RowKey {
    RowKey { stamp: Stamp(n as i64), id: n }
}

pub(super) fn entry(stream: &StreamName, n: u64) -> Vec<u8> {
    let mut noise = crate::prng::Prng::new(n);
    let noise: String = (0..n % 7).map(|_| format!("{:016x}", noise.next_u64())).collect();
    format!("{{\"of\":\"{stream}\",\"n\":{n},\"noise\":\"{noise}\"}}").into_bytes()
}

pub(super) fn progress(position: u64, from: u64) -> Progress {
    Progress { position: Stamp(position as i64), from: Stamp(from as i64) }
}

/// Raw deflate with a sync flush, as `pack` makes it.
pub(super) fn deflate(raw: &[u8]) -> Vec<u8> {
    let mut deflater = flate2::Compress::new(flate2::Compression::new(3), false);
    let mut out = Vec::with_capacity(raw.len() + 256);
    deflater.compress_vec(raw, &mut out, flate2::FlushCompress::Sync).unwrap();
    assert_eq!(deflater.total_in() as usize, raw.len());
    out
}

pub(super) fn inflate(frame: &Frame) -> Vec<u8> {
    let mut raw = Vec::with_capacity(frame.raw_len as usize + 16);
    let mut inflater = flate2::Decompress::new(false);
    inflater.decompress_vec(&frame.deflated, &mut raw, flate2::FlushDecompress::Sync).unwrap();
    assert_eq!(raw.len(), frame.raw_len as usize);
    assert_eq!(crc32fast::hash(&raw), frame.raw_crc);
    raw
}

/// A frame of these records.
pub(super) fn frame(stream: &StreamName, numbers: &[u64]) -> Frame {
    let raws: Vec<Vec<u8>> = numbers.iter().map(|n| entry(stream, *n)).collect();
    let entries = numbers.iter().zip(&raws).map(|(n, raw)| EntryMeta {
        key: key(*n),
        raw_len: raw.len() as u32,
        stamped: true,
    });
    let raw = raws.join(&b","[..]);
    let last = *numbers.last().unwrap();
    Frame {
        stream: stream.clone(),
        progress: progress(last, last),
        last_of_page: false,
        entries: entries.collect(),
        raw_len: raw.len() as u32,
        raw_crc: crc32fast::hash(&raw),
        deflated: deflate(&raw),
    }
}

/// A frame of one record that takes so many bytes on disk; they are noise, not to be inflated.
pub(super) fn big_frame(stream: &StreamName, n: u64, bytes: usize) -> Frame {
    let mut noise = crate::prng::Prng::new(n);
    let deflated = (0..bytes / 4).flat_map(|_| (noise.next_u64() as u32).to_le_bytes()).collect();
    Frame { deflated, last_of_page: true, ..frame(stream, &[n]) }
}

/// A page of these records in frames of `per_frame`.
pub(super) fn page(stream: &StreamName, numbers: &[u64], per_frame: usize) -> Vec<Frame> {
    let mut frames: Vec<Frame> =
        numbers.chunks(per_frame).map(|numbers| frame(stream, numbers)).collect();
    if let Some(last) = frames.last_mut() {
        last.last_of_page = true;
    }
    frames
}

/// The records of a piece, after checking that they are byte for byte what went in.
pub(super) fn numbers(piece: &Piece) -> Vec<(Kind, u64)> {
    let raw = inflate(&piece.frame);
    let mut at = 0;
    let mut numbers = Vec::new();
    for (nth, meta) in piece.frame.entries.iter().enumerate() {
        let bytes = &raw[at..at + meta.raw_len as usize];
        at += meta.raw_len as usize + 1;
        assert_eq!(bytes, entry(&piece.frame.stream, meta.key.id), "torn record");
        if (piece.skip..piece.skip + piece.take).contains(&(nth as u32)) {
            numbers.push((kind_of(&piece.frame.stream), meta.key.id));
        }
    }
    numbers
}

/// The records of a request, after checking what is said of it.
pub(super) fn all_numbers(peeked: &Peeked) -> Vec<(Kind, u64)> {
    let numbers: Vec<(Kind, u64)> = peeked.pieces.iter().flat_map(numbers).collect();
    assert_eq!(numbers.len(), peeked.sent.entries as usize);
    let bodies = peeked.pieces.iter().flat_map(|piece| {
        let part = piece.skip as usize..(piece.skip + piece.take) as usize;
        piece.frame.entries[part].iter().map(|meta| u64::from(meta.raw_len))
    });
    let expected = 2 + bodies.sum::<u64>() + numbers.len() as u64 - 1;
    assert_eq!(peeked.sent.raw_bytes, expected);
    numbers
}
