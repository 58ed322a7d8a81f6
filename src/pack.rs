//! Packs rendered entries to frames, deflated once for the disk and the wire, and opens them again.
//!
//! Promises: a frame's deflate blocks end on a byte boundary and refer to nothing before them, so
//! frames can be laid end to end; no frame but one of a single entry is longer than its bound.
//! Never: changes an entry.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use s1_coralogix_bytes::deflate;

use crate::frame::{EntryMeta, Frame};
use crate::limits;
use crate::record::{Progress, RowKey, StreamName};
use crate::time::Stamp;

/// How hard to compress, by the size of the page. The CPU of a box is short while it catches up on
/// full pages, flash and uplink are short all the time, and in steady state a page is a few
/// records. docs/PERFORMANCE.md has what each takes and leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// A page that fills a frame or more: by the deflater of `bytes`.
    Bulk,
    /// A page that fits into one frame: zlib's level 6.
    Small,
}

/// What a sync flush ends with: the length of an empty stored block, and its complement.
pub const SYNC_MARK: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Makes deflate blocks that can stand after any others.
pub struct Deflater(Method);

enum Method {
    Bulk(deflate::Deflater),
    Zlib(Compress),
}

impl Deflater {
    pub fn new(effort: Effort) -> Deflater {
        match effort {
            Effort::Bulk => Deflater(Method::Bulk(deflate::Deflater::default())),
            Effort::Small => Deflater::with_level(6),
        }
    }

    pub fn with_level(level: u32) -> Deflater {
        Deflater(Method::Zlib(Compress::new(Compression::new(level), false)))
    }

    /// Appends `raw` to `out` as deflate blocks, none of them final, up to a byte boundary.
    pub fn deflate(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            Method::Bulk(bulk) => bulk.deflate(raw, out),
            Method::Zlib(compress) => deflate_with_zlib(compress, raw, out),
        }
    }
}

/// The same for what is given piece by piece, ended by `finish`: zlib's level 1.
pub struct PieceDeflater {
    compress: Compress,
}

impl Default for PieceDeflater {
    fn default() -> PieceDeflater {
        PieceDeflater { compress: Compress::new(Compression::new(1), false) }
    }
}

impl PieceDeflater {
    /// Appends what of `piece` leaves the deflater already.
    pub fn add(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while !rest.is_empty() {
            out.reserve(limits::PIECE_BYTES);
            let before = self.compress.total_in();
            self.compress
                .compress_vec(rest, out, FlushCompress::None)
                .expect("a deflate stream takes any input");
            let taken = self.compress.total_in() - before;
            rest = &rest[usize::try_from(taken).expect("no more than the piece")..];
        }
    }

    /// Appends the rest, up to a byte boundary.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        loop {
            out.reserve(limits::PIECE_BYTES);
            let status = self
                .compress
                .compress_vec(&[], out, FlushCompress::Sync)
                .expect("a deflate stream can be flushed");
            if out.len() < out.capacity() || status == Status::BufError {
                return;
            }
        }
    }
}

fn deflate_with_zlib(compress: &mut Compress, raw: &[u8], out: &mut Vec<u8>) {
    compress.reset();
    out.reserve(raw.len() / 4 + 256);
    loop {
        let done = usize::try_from(compress.total_in()).expect("no more than raw was read");
        let status = compress
            .compress_vec(&raw[done..], out, FlushCompress::Sync)
            .expect("a fresh deflate stream takes any input");
        let all_read = compress.total_in() == raw.len() as u64;
        // Room that is left over means that the flush is complete; so does no progress.
        if (all_read && out.len() < out.capacity()) || status == Status::BufError {
            return;
        }
        out.reserve(raw.len() / 8 + 256);
    }
}

/// A frame's JSON. The reason is for a person; the frame is damaged, or was never one.
pub fn inflate(frame: &Frame) -> Result<Vec<u8>, &'static str> {
    let length = frame.raw_len as usize;
    if length > limits::FRAME_RAW_BYTES_CEILING {
        return Err("its JSON is longer than any frame's");
    }
    let mut decompress = Decompress::new(false);
    // A little room beyond the end, so that more than was promised shows.
    let mut raw = Vec::with_capacity(length + 16);
    loop {
        let done = usize::try_from(decompress.total_in()).expect("no more than the frame was read");
        let (read, written) = (done, raw.len());
        decompress
            .decompress_vec(&frame.deflated[done..], &mut raw, FlushDecompress::None)
            .map_err(|_| "its blocks can't be inflated")?;
        let moved = decompress.total_in() != read as u64 || raw.len() != written;
        if !moved || raw.len() > length || decompress.total_in() == frame.deflated.len() as u64 {
            break;
        }
    }
    let all_read = decompress.total_in() == frame.deflated.len() as u64;
    if raw.len() != length || !all_read {
        return Err("its JSON has another length than its header says");
    }
    if crc32fast::hash(&raw) != frame.raw_crc {
        return Err("its JSON has another checksum than its header says");
    }
    Ok(raw)
}

/// The same piece by piece, for what is longer than a frame should be. The pieces are worth nothing
/// before all of them were found sound.
pub fn inflate_by_pieces(frame: &Frame, mut put: impl FnMut(&[u8])) -> Result<(), &'static str> {
    let mut decompress = Decompress::new(false);
    let mut piece = Vec::with_capacity(limits::PIECE_BYTES);
    let (mut length, mut crc) = (0, crc32fast::Hasher::new());
    loop {
        let read = decompress.total_in();
        let done = usize::try_from(read).expect("no more than the frame was read");
        piece.clear();
        decompress
            .decompress_vec(&frame.deflated[done..], &mut piece, FlushDecompress::None)
            .map_err(|_| "its blocks can't be inflated")?;
        length += piece.len();
        if length > frame.raw_len as usize || decompress.total_in() == read && piece.is_empty() {
            break;
        }
        crc.update(&piece);
        put(&piece);
    }
    let all_read = decompress.total_in() == frame.deflated.len() as u64;
    if length != frame.raw_len as usize || !all_read {
        return Err("its JSON has another length than its header says");
    }
    match crc.finalize() == frame.raw_crc {
        true => Ok(()),
        false => Err("its JSON has another checksum than its header says"),
    }
}

/// The memory that packing takes, kept over pages: asked for anew, the system clears each 4 KiB of it.
#[derive(Default)]
pub struct Buffers {
    raw: Vec<u8>,
    deflated: Vec<u8>,
    bulk: Option<Deflater>,
}

/// Collects the entries of one page of one stream.
pub struct Packer {
    stream: StreamName,
    /// Whether a frame was filled, and the frames after it are deflated like it.
    is_bulk: bool,
    entries: Vec<EntryMeta>,
    /// The lowest stamp so far.
    lowest: Stamp,
    frames: Vec<Frame>,
    buffers: Buffers,
}

impl Packer {
    pub fn new(stream: StreamName) -> Packer {
        Packer::with_buffers(stream, Buffers::default())
    }

    /// With memory that was used before.
    pub fn with_buffers(stream: StreamName, buffers: Buffers) -> Packer {
        let (lowest, frames, entries) = (Stamp::UNREADABLE, Vec::new(), Vec::new());
        Packer { stream, is_bulk: false, entries, lowest, frames, buffers }
    }

    /// Adds an entry. `stamped` says that it begins with a timestamp made from `key.stamp`.
    pub fn push(&mut self, entry: &[u8], key: RowKey, stamped: bool) {
        let is_full = self.buffers.raw.len() + 1 + entry.len() > limits::FRAME_RAW_BYTES_MAX
            || self.entries.len() >= limits::FRAME_ENTRIES_MAX;
        if is_full && !self.entries.is_empty() {
            self.close_frame(Effort::Bulk);
        }
        if !self.entries.is_empty() {
            self.buffers.raw.push(b',');
        }
        self.buffers.raw.extend_from_slice(entry);
        let raw_len = u32::try_from(entry.len()).expect("an entry is bounded by its page");
        self.entries.push(EntryMeta { key, raw_len, stamped });
        self.lowest = self.lowest.min(key.stamp);
    }

    /// Adds an entry in a frame of its own, piece by piece: it is never whole in memory. Deflated it is
    /// hardly longer than `text_bytes`, so there is room for it at once.
    pub fn push_by_pieces(
        &mut self,
        key: RowKey,
        stamped: bool,
        text_bytes: usize,
        render: impl FnOnce(&mut dyn FnMut(&[u8])),
    ) {
        if !self.entries.is_empty() {
            self.close_frame(Effort::Bulk);
        }
        self.is_bulk = true;
        let mut deflater = PieceDeflater::default();
        let (mut deflated, mut crc, mut length) = (Vec::new(), crc32fast::Hasher::new(), 0);
        deflated.reserve_exact(text_bytes + 2 * limits::PIECE_BYTES);
        render(&mut |piece| {
            crc.update(piece);
            length += piece.len();
            deflater.add(piece, &mut deflated);
        });
        deflater.finish(&mut deflated);
        deflated.shrink_to_fit();
        let raw_len = u32::try_from(length).expect("an entry is bounded by its page");
        self.frames.push(Frame {
            stream: self.stream.clone(),
            progress: Progress { position: key.stamp, from: key.stamp },
            last_of_page: false,
            entries: vec![EntryMeta { key, raw_len, stamped }],
            raw_len,
            raw_crc: crc.finalize(),
            deflated,
        });
        self.lowest = self.lowest.min(key.stamp);
    }

    /// The page's frames. `progress` is where the stream stands after all of them; a frame before
    /// the last claims no more than what is in it and before it.
    pub fn finish(self, progress: Progress) -> Vec<Frame> {
        self.finish_with_buffers(progress).0
    }

    /// The same, and the memory for the next page.
    pub fn finish_with_buffers(mut self, progress: Progress) -> (Vec<Frame>, Buffers) {
        if !self.entries.is_empty() {
            self.close_frame(Effort::Small);
        }
        let mut reached = progress.from.min(self.lowest);
        for frame in &mut self.frames {
            // A stamp beyond the page's own position is too far in the future to be used; it does
            // not show how far this frame takes the stream.
            let believed = frame.entries.iter().map(|entry| entry.key.stamp);
            let believed = believed.filter(|stamp| *stamp <= progress.position).max();
            reached = reached.max(believed.unwrap_or(reached));
            let position = reached.min(progress.position);
            frame.progress = Progress { position, from: progress.from.min(position) };
        }
        if let Some(last) = self.frames.last_mut() {
            last.progress = progress;
            last.last_of_page = true;
        }
        (self.frames, self.buffers)
    }

    /// The effort counts for the first frame; the others of the page follow it.
    fn close_frame(&mut self, effort: Effort) {
        let Buffers { raw, deflated, bulk } = &mut self.buffers;
        deflated.clear();
        self.is_bulk |= effort == Effort::Bulk;
        if self.is_bulk {
            bulk.get_or_insert_with(|| Deflater::new(Effort::Bulk)).deflate(raw, deflated);
        } else {
            Deflater::new(Effort::Small).deflate(raw, deflated);
        }
        self.frames.push(Frame {
            stream: self.stream.clone(),
            // Set right by `finish`, which knows the page's.
            progress: Progress { position: self.lowest, from: self.lowest },
            last_of_page: false,
            entries: std::mem::take(&mut self.entries),
            raw_len: u32::try_from(raw.len()).expect("a frame is bounded by its page"),
            raw_crc: crc32fast::hash(raw),
            deflated: deflated.as_slice().to_vec(),
        });
        raw.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;
    use crate::record::Kind;

    fn stream() -> StreamName {
        StreamName::polled("acme", Kind::Threats)
    }

    fn pack(entries: &[Vec<u8>], progress: Progress) -> Vec<Frame> {
        let mut packer = Packer::new(stream());
        for (at, entry) in entries.iter().enumerate() {
            let key = RowKey { stamp: Stamp(10 + at as i64), id: at as u64 };
            packer.push(entry, key, at % 2 == 0);
        }
        packer.finish(progress)
    }

    #[test]
    fn frames_hold_what_was_pushed_in_order_and_within_their_bounds() {
        let mut prng = Prng::new(1);
        for round in 0..25 {
            let entries: Vec<Vec<u8>> = (0..1 + prng.below(300))
                .map(|_| {
                    let longest = if prng.chance(3) { 600_000 } else { 4_000 };
                    let noisy = prng.chance(20);
                    (0..1 + prng.below(longest))
                        .map(|_| if noisy { prng.next_u64() as u8 } else { b'a' })
                        .collect()
                })
                .collect();
            let progress = Progress { position: Stamp(1_000), from: Stamp(5) };
            let frames = pack(&entries, progress);
            let mut left = entries.iter();
            for frame in &frames {
                let expected: Vec<_> = left.by_ref().take(frame.entries.len()).cloned().collect();
                assert_eq!(inflate(frame).unwrap(), expected.join(&b','), "round {round}");
                let fits = frame.raw_len as usize <= limits::FRAME_RAW_BYTES_MAX;
                assert!(fits || frame.entries.len() == 1);
                assert!(frame.deflated.ends_with(&SYNC_MARK));
                let lengths: Vec<_> = frame.entries.iter().map(|e| e.raw_len as usize).collect();
                assert_eq!(lengths, expected.iter().map(Vec::len).collect::<Vec<_>>());
            }
            assert!(left.next().is_none());
        }
    }

    #[test]
    fn what_is_packed_by_pieces_is_the_same() {
        let mut prng = Prng::new(3);
        for length in [1, 1_000, 700_000, 3_000_000] {
            let noise: Vec<u8> = (0..length).map(|_| prng.next_u64() as u8).collect();
            let even = vec![b'"'; length];
            for entry in [noise, even] {
                let (mut packer, key) = (Packer::new(stream()), RowKey { stamp: Stamp(7), id: 1 });
                packer.push(b"{}", RowKey { stamp: Stamp(6), id: 0 }, false);
                packer.push_by_pieces(key, true, length, |put| {
                    entry.chunks(limits::PIECE_BYTES + 3).for_each(put);
                });
                packer.push(b"{}", RowKey { stamp: Stamp(8), id: 2 }, false);
                let frames = packer.finish(Progress { position: Stamp(8), from: Stamp(6) });
                assert_eq!(frames.len(), 3);
                assert_eq!(inflate(&frames[1]).unwrap(), entry);
                assert!(frames[1].deflated.ends_with(&SYNC_MARK));
                let mut pieces = Vec::new();
                inflate_by_pieces(&frames[1], |piece| pieces.extend_from_slice(piece)).unwrap();
                assert_eq!(pieces, entry);
                assert_eq!(frames[1].progress, Progress { position: Stamp(7), from: Stamp(6) });
                let mut cut = frames[1].clone();
                cut.raw_len -= 1;
                assert!(inflate_by_pieces(&cut, |_| {}).is_err());
                (cut.raw_len, cut.raw_crc) = (cut.raw_len + 1, cut.raw_crc ^ 1);
                assert!(inflate_by_pieces(&cut, |_| {}).is_err());
            }
        }
    }

    #[test]
    fn a_frame_claims_only_what_is_in_it_and_before_it() {
        let entries = vec![vec![b'x'; limits::FRAME_RAW_BYTES_MAX]; 4];
        let frames = pack(&entries, Progress { position: Stamp(12), from: Stamp(11) });
        let seen: Vec<_> = frames
            .iter()
            .map(|frame| (frame.progress.position.0, frame.progress.from.0, frame.last_of_page))
            .collect();
        assert_eq!(seen, [(10, 10, false), (11, 11, false), (12, 11, false), (12, 11, true)]);
        assert_eq!(frames[1].entries[0].key, RowKey { stamp: Stamp(11), id: 1 });
        assert_eq!([frames[0].entries[0].stamped, frames[1].entries[0].stamped], [true, false]);
    }

    #[test]
    fn an_empty_page_has_no_frame() {
        assert_eq!(pack(&[], Progress { position: Stamp(1), from: Stamp(1) }), []);
    }

    #[test]
    fn a_frame_never_holds_too_many_entries() {
        let entries = vec![b"{}".to_vec(); limits::FRAME_ENTRIES_MAX + 1];
        let frames = pack(&entries, Progress { position: Stamp(1), from: Stamp(1) });
        let counts: Vec<_> = frames.iter().map(|frame| frame.entries.len()).collect();
        assert_eq!(counts, [limits::FRAME_ENTRIES_MAX, 1]);
    }

    #[test]
    fn a_damaged_frame_is_told_and_never_inflated_beyond_its_length() {
        let whole = pack(&[vec![b'a'; 5_000]], Progress { position: Stamp(1), from: Stamp(1) });
        let whole = &whole[0];
        let mut prng = Prng::new(9);
        for _ in 0..2_000 {
            let mut frame = whole.clone();
            match prng.below(3) {
                0 => frame.raw_len = prng.below(20_000) as u32,
                1 => frame.deflated.truncate(prng.below(whole.deflated.len() as u64) as usize),
                _ => {
                    let at = prng.below(whole.deflated.len() as u64) as usize;
                    frame.deflated[at] ^= 1 << prng.below(8);
                }
            }
            // A flipped bit may lie where it changes nothing; then the JSON is the same.
            if let Ok(raw) = inflate(&frame) {
                assert_eq!(raw, vec![b'a'; 5_000]);
            }
        }
        let mut frame = whole.clone();
        frame.raw_len = u32::MAX;
        assert_eq!(inflate(&frame), Err("its JSON is longer than any frame's"));
        frame.raw_len = whole.raw_len;
        frame.raw_crc ^= 1;
        assert_eq!(inflate(&frame), Err("its JSON has another checksum than its header says"));
    }
}
