//! Lays stored frames end to end to one request body.
//!
//! Promises: the body is one gzip member (RFC 1952) whose content is a JSON array of exactly the
//! entries asked for, in order. Frames travel as they are stored; only what was cut, or has grown
//! too old for its timestamp, is inflated and deflated again. Never: alters an entry but for that
//! timestamp.

use std::fmt;

use crc32fast::Hasher;

use crate::coralogix::entry::STAMP_HEAD;
use crate::frame::{EntryMeta, Frame, Piece};
use crate::limits;
use crate::pack::{Deflater, Effort, PieceDeflater, SYNC_MARK, inflate, inflate_by_pieces};
use crate::time::{Span, Stamp};

/// Magic, deflate, no flags, no time, no hints, unknown system (RFC 1952 section 2.3).
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// CRC-32 and length.
const GZIP_TAIL_BYTES: usize = 8;
/// A stored block of one byte (RFC 1951 section 3.2.4): head, length, complement, the byte.
const STORED_BYTES: usize = 6;

/// One request's body.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    pub gzip: Vec<u8>,
    /// Length of the JSON.
    pub raw_bytes: u64,
    pub entries: u32,
    /// How many of the entries have no `timestamp`.
    pub unstamped: u32,
    /// The earliest and the latest `timestamp` among the others.
    pub stamps: Option<(Stamp, Stamp)>,
}

/// A frame that does not hold what its table says. The others of the batch may be sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFrame {
    /// Which of the pieces it is in.
    pub index: usize,
    pub why: &'static str,
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the frame can't be sent: {}", self.why)
    }
}

/// Assembles the pieces. `now` decides which timestamps may still travel: Coralogix drops what is
/// too old or too far ahead, possibly with a 200, and stamps the arrival on what has none.
pub fn assemble(pieces: &[Piece], now: Stamp) -> Result<Body, BadFrame> {
    let stored =
        pieces.iter().map(|piece| piece.frame.deflated.len() + STORED_BYTES).sum::<usize>();
    let own = GZIP_HEAD.len() + STORED_BYTES + GZIP_TAIL_BYTES;
    // What is deflated anew may come out a little longer.
    let mut writer = Writer::new(stored + stored / 64 + limits::PIECE_BYTES + own);
    let mut slow: Option<(Deflater, Vec<u8>)> = None;
    let (mut entries, mut unstamped, mut stamps) = (0, 0, None);
    writer.stored(b'[', false);
    for (index, piece) in pieces.iter().enumerate() {
        let bad = |why| BadFrame { index, why };
        let metas = checked(piece).map_err(bad)?;
        if metas.is_empty() {
            continue;
        }
        if entries > 0 {
            writer.stored(b',', false);
        }
        let keeps_stamp = |meta: &EntryMeta| meta.stamped && is_current(meta.key.stamp, now);
        entries += piece.take;
        unstamped += metas.iter().map(|meta| u32::from(!keeps_stamp(meta))).sum::<u32>();
        for meta in metas.iter().filter(|meta| keeps_stamp(meta)) {
            stamps = with_stamp(stamps, meta.key.stamp);
        }
        let is_whole = metas.len() == piece.frame.entries.len();
        let is_long = piece.frame.raw_len as usize > limits::FRAME_RAW_BYTES_MAX;
        if is_whole && metas.iter().all(|meta| !meta.stamped || keeps_stamp(meta)) {
            let frame = &piece.frame;
            writer.part(&frame.deflated, frame.raw_crc, frame.raw_len.into());
            continue;
        }
        if is_long && piece.frame.entries.len() == 1 {
            writer.unstamped(&piece.frame).map_err(bad)?;
            continue;
        }
        let (deflater, scratch) =
            slow.get_or_insert_with(|| (Deflater::new(Effort::Bulk), Vec::new()));
        let raw = cut(piece, now).map_err(bad)?;
        scratch.clear();
        deflater.deflate(&raw, scratch);
        writer.part(scratch, crc32fast::hash(&raw), raw.len() as u64);
    }
    writer.stored(b']', true);
    let (gzip, raw_bytes) = writer.finish();
    Ok(Body { gzip, raw_bytes, entries, unstamped, stamps })
}

fn with_stamp(range: Option<(Stamp, Stamp)>, stamp: Stamp) -> Option<(Stamp, Stamp)> {
    let (first, last) = range.unwrap_or((stamp, stamp));
    Some((first.min(stamp), last.max(stamp)))
}

/// The JSON of a piece's first entry, as it was rendered: to be parked.
pub fn entry_at(piece: &Piece) -> Result<Vec<u8>, BadFrame> {
    let bad = |why| BadFrame { index: 0, why };
    if checked(piece).map_err(bad)?.is_empty() {
        return Err(bad("there is no entry at this place"));
    }
    let raw = inflate(&piece.frame).map_err(bad)?;
    let (_, entry) = ranges(piece).next().expect("a piece that was checked has its entries");
    Ok(raw[entry].to_vec())
}

/// The JSON of each of a piece's entries, as it was rendered.
pub fn entries(piece: &Piece) -> Result<Vec<Vec<u8>>, BadFrame> {
    let bad = |why| BadFrame { index: 0, why };
    checked(piece).map_err(bad)?;
    let raw = inflate(&piece.frame).map_err(bad)?;
    let entries = ranges(piece).take(piece.take as usize);
    Ok(entries.map(|(_, range)| raw[range].to_vec()).collect())
}

/// Whether Coralogix takes an entry with this timestamp.
fn is_current(stamp: Stamp, now: Stamp) -> bool {
    !is_too_old(stamp, now) && stamp <= now + Span::hours(limits::STAMP_AHEAD_HOURS_MAX)
}

/// Whether an entry with this timestamp can't be sent with it, now or at any time later.
pub fn is_too_old(stamp: Stamp, now: Stamp) -> bool {
    stamp < now - Span::hours(limits::STAMP_AGE_HOURS_MAX)
}

/// Whether Coralogix drops an entry with this timestamp that arrives now.
pub fn is_dropped(stamp: Stamp, now: Stamp) -> bool {
    stamp < now - Span::hours(limits::STAMP_DROPPED_AGE_HOURS)
        || stamp > now + Span::hours(limits::STAMP_DROPPED_AHEAD_HOURS)
}

/// The piece's own entries, after the frame's table was held against its other numbers.
fn checked(piece: &Piece) -> Result<&[EntryMeta], &'static str> {
    let frame = &piece.frame;
    let commas = (frame.entries.len() as u64).saturating_sub(1);
    let lengths = frame.entries.iter().map(|meta| u64::from(meta.raw_len)).sum::<u64>();
    if lengths + commas != u64::from(frame.raw_len) {
        return Err("its table of entries does not add up");
    }
    if !frame.deflated.ends_with(&SYNC_MARK) {
        return Err("its blocks don't end on a byte");
    }
    let first = piece.skip as usize;
    first
        .checked_add(piece.take as usize)
        .and_then(|end| frame.entries.get(first..end))
        .ok_or("it has fewer entries than are asked of it")
}

/// Where each of the piece's entries lies in its frame's JSON.
fn ranges(piece: &Piece) -> impl Iterator<Item = (&EntryMeta, std::ops::Range<usize>)> {
    let mut at = 0;
    let places = piece.frame.entries.iter().map(move |meta| {
        let start = at;
        at = start + meta.raw_len as usize + 1;
        (meta, start..at - 1)
    });
    places.skip(piece.skip as usize).take(piece.take as usize)
}

/// The piece's JSON alone, without the timestamps that may no longer travel.
fn cut(piece: &Piece, now: Stamp) -> Result<Vec<u8>, &'static str> {
    let raw = inflate(&piece.frame)?;
    let mut out = Vec::with_capacity(raw.len());
    for (meta, range) in ranges(piece) {
        if !out.is_empty() {
            out.push(b',');
        }
        let entry = &raw[range];
        if !meta.stamped || is_current(meta.key.stamp, now) {
            out.extend_from_slice(entry);
            continue;
        }
        out.push(b'{');
        out.extend_from_slice(behind_stamp(entry)?);
    }
    Ok(out)
}

/// What follows the timestamp at the beginning of an entry, and its comma.
fn behind_stamp(entry: &[u8]) -> Result<&[u8], &'static str> {
    let rest = entry.strip_prefix(STAMP_HEAD).ok_or("an entry lacks the timestamp it claims")?;
    let number = rest.iter().position(|b| *b == b',').ok_or("an entry is nothing but a stamp")?;
    Ok(&rest[number + 1..])
}

/// A gzip member in the making.
struct Writer {
    gzip: Vec<u8>,
    crc: Hasher,
    raw_bytes: u64,
}

impl Writer {
    fn new(bytes: usize) -> Writer {
        let mut gzip = Vec::with_capacity(bytes);
        gzip.extend_from_slice(&GZIP_HEAD);
        Writer { gzip, crc: Hasher::new(), raw_bytes: 0 }
    }

    /// One byte as a stored block. The writer always stands on a byte boundary.
    fn stored(&mut self, byte: u8, is_final: bool) {
        let block: [u8; STORED_BYTES] = [u8::from(is_final), 1, 0, 0xfe, 0xff, byte];
        self.gzip.extend_from_slice(&block);
        self.crc.update(&[byte]);
        self.raw_bytes += 1;
    }

    /// Blocks that end on a byte boundary, with the checksum and length of what they hold.
    fn part(&mut self, deflated: &[u8], raw_crc: u32, raw_len: u64) {
        self.gzip.extend_from_slice(deflated);
        self.crc.combine(&Hasher::new_with_initial_len(raw_crc, raw_len));
        self.raw_bytes += raw_len;
    }

    /// The one entry of a long frame without its timestamp. It is never whole in memory.
    fn unstamped(&mut self, frame: &Frame) -> Result<(), &'static str> {
        let (mut crc, mut length, mut cut) = (Hasher::new(), 0, None);
        let mut deflater = PieceDeflater::default();
        let mut put = |piece: &[u8], gzip: &mut Vec<u8>| {
            crc.update(piece);
            length += piece.len() as u64;
            deflater.add(piece, gzip);
        };
        inflate_by_pieces(frame, |piece| match &cut {
            Some(Ok(())) => put(piece, &mut self.gzip),
            Some(Err(_)) => {}
            // The first piece is far longer than a timestamp.
            None => {
                cut = Some(behind_stamp(piece).map(|rest| {
                    put(b"{", &mut self.gzip);
                    put(rest, &mut self.gzip);
                }));
            }
        })?;
        cut.unwrap_or(Err("an entry lacks the timestamp it claims"))?;
        deflater.finish(&mut self.gzip);
        self.crc.combine(&Hasher::new_with_initial_len(crc.finalize(), length));
        self.raw_bytes += length;
        Ok(())
    }

    fn finish(mut self) -> (Vec<u8>, u64) {
        self.gzip.extend_from_slice(&self.crc.finalize().to_le_bytes());
        // The length modulo 2^32, as RFC 1952 has it.
        self.gzip.extend_from_slice(&(self.raw_bytes as u32).to_le_bytes());
        (self.gzip, self.raw_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::Value;

    use super::*;
    use crate::coralogix::entry::{Labels, render_own};
    use crate::pack::Packer;
    use crate::prng::Prng;
    use crate::record::{Kind, Progress, RowKey, StreamName};

    const NOW: Stamp = Stamp(1_800_000_000_000_000);

    /// The content, and that nothing follows the one member.
    fn gunzip(body: &Body) -> String {
        let mut rest = body.gzip.as_slice();
        let mut text = String::new();
        flate2::bufread::GzDecoder::new(&mut rest).read_to_string(&mut text).unwrap();
        assert!(rest.is_empty(), "{} bytes after the member", rest.len());
        assert_eq!(text.len() as u64, body.raw_bytes);
        text
    }

    fn frames_of(texts: &[(String, Option<Stamp>)]) -> Vec<Frame> {
        let name = StreamName::polled("acme", Kind::Threats);
        let mut packer = Packer::new(name);
        for (at, (text, stamp)) in texts.iter().enumerate() {
            let mut entry = Vec::new();
            let labels = Labels::new("app", "sub", "acme", "host");
            render_own(&mut entry, &labels, *stamp, 3, text);
            let key = RowKey { stamp: stamp.unwrap_or(Stamp::EPOCH), id: at as u64 };
            packer.push(&entry, key, stamp.is_some());
        }
        packer.finish(Progress { position: NOW, from: NOW })
    }

    fn whole(frame: &Frame) -> Piece {
        Piece { frame: frame.clone(), skip: 0, take: frame.entries.len() as u32 }
    }

    /// What was put in, and whether its timestamp still travels.
    fn random_texts(prng: &mut Prng) -> Vec<(String, Option<Stamp>)> {
        let mixed = prng.chance(50);
        (0..prng.below(400))
            .map(|_| {
                let hours = if mixed { prng.below(30) as i64 - 25 } else { -1 };
                let stamp = Stamp(NOW.0 + hours * 3_600_000_000 + prng.below(1_000_000) as i64);
                let text: String =
                    (0..prng.below(900)).map(|_| char::from(b' ' + prng.below(95) as u8)).collect();
                (text.repeat(1 + prng.below(4) as usize), prng.chance(95).then_some(stamp))
            })
            .collect()
    }

    #[test]
    fn any_cut_of_any_frames_is_one_valid_member_of_exactly_these_entries() {
        let mut prng = Prng::new(7);
        for round in 0..80 {
            let texts = random_texts(&mut prng);
            let frames = frames_of(&texts);
            let mut pieces: Vec<Piece> = frames.iter().map(whole).collect();
            let mut expected = texts.as_slice();
            if prng.chance(60) && !pieces.is_empty() {
                // The first may begin late and the last end early, as after a partial refusal.
                let skip = prng.below(pieces[0].take.into()) as u32;
                pieces[0].skip += skip;
                pieces[0].take -= skip;
                let last = pieces.last_mut().unwrap();
                let less = prng.below(last.take.into()) as u32;
                last.take -= less;
                expected = &expected[skip as usize..expected.len() - less as usize];
            }
            let body = assemble(&pieces, NOW).unwrap();
            let entries: Vec<Value> = serde_json::from_str(&gunzip(&body)).unwrap();
            assert_eq!(entries.len(), expected.len(), "round {round}");
            assert_eq!(body.entries as usize, expected.len());
            let (mut unstamped, mut stamps) = (0, None);
            for (entry, (text, stamp)) in entries.iter().zip(expected) {
                assert_eq!(entry["text"], text.as_str(), "round {round}");
                let travels = stamp.filter(|stamp| is_current(*stamp, NOW));
                let ms = travels.map(|stamp| stamp.0 as f64 / 1_000.0);
                assert_eq!(entry.get("timestamp").and_then(Value::as_f64), ms, "round {round}");
                unstamped += u32::from(travels.is_none());
                stamps = travels.map_or(stamps, |stamp| with_stamp(stamps, stamp));
            }
            assert_eq!((body.unstamped, body.stamps), (unstamped, stamps), "round {round}");
        }
    }

    #[test]
    fn a_long_entry_loses_its_timestamp_and_nothing_else() {
        let old = NOW - Span::hours(30);
        for text in ["\\\"".repeat(700_000), "x".repeat(300_000)] {
            let texts =
                [("a".to_owned(), Some(old)), (text, Some(old)), ("b".to_owned(), Some(NOW))];
            let pieces: Vec<Piece> = frames_of(&texts).iter().map(whole).collect();
            assert!(pieces[1].frame.entries.len() == 1, "it is alone");
            let body = assemble(&pieces, NOW).unwrap();
            let entries: Vec<Value> = serde_json::from_str(&gunzip(&body)).unwrap();
            assert_eq!(entries.len(), 3);
            assert!(entries[1].get("timestamp").is_none() && entries[1]["severity"] == 3);
            assert_eq!(entries[1]["text"], texts[1].0.as_str());
            let mut damaged = pieces[1].clone();
            damaged.frame.raw_crc ^= 1;
            assert!(assemble(&[damaged], NOW).is_err());
        }
    }

    #[test]
    fn nothing_is_an_empty_array() {
        let body = assemble(&[], NOW).unwrap();
        assert_eq!((gunzip(&body).as_str(), body.entries), ("[]", 0));
    }

    #[test]
    fn fresh_frames_travel_as_they_are_stored() {
        let texts = [("a".repeat(500), Some(NOW)), ("b".repeat(500), Some(NOW))];
        let frame = &frames_of(&texts)[0];
        let body = assemble(&[whole(frame), whole(frame)], NOW).unwrap();
        let found = body.gzip.windows(frame.deflated.len()).filter(|w| *w == frame.deflated);
        assert_eq!(found.count(), 2);
        assert_eq!(serde_json::from_str::<Vec<Value>>(&gunzip(&body)).unwrap().len(), 4);
    }

    #[test]
    fn a_timestamp_travels_for_23_hours_and_up_to_one_ahead() {
        let hour = 3_600_000_000;
        for (offset, travels) in [
            (-23 * hour - 1, false),
            (-23 * hour, true),
            (0, true),
            (hour, true),
            (hour + 1, false),
            (-10_000 * hour, false),
        ] {
            let frames = frames_of(&[("x".to_owned(), Some(Stamp(NOW.0 + offset)))]);
            let body = assemble(&[whole(&frames[0])], NOW).unwrap();
            assert_eq!(gunzip(&body).starts_with("[{\"timestamp\":"), travels, "{offset}");
            assert_eq!(body.unstamped, u32::from(!travels));
        }
    }

    #[test]
    fn one_entry_can_be_taken_out_as_it_was_rendered() {
        let texts: Vec<_> = (0..5).map(|n| (format!("text {n}"), Some(Stamp(n)))).collect();
        let frame = &frames_of(&texts)[0];
        for skip in 0..5 {
            let piece = Piece { frame: frame.clone(), skip, take: 1 };
            let entry: Value = serde_json::from_slice(&entry_at(&piece).unwrap()).unwrap();
            assert_eq!(entry["text"], format!("text {skip}"));
            assert!(entry.get("timestamp").is_some());
        }
        assert!(entry_at(&Piece { frame: frame.clone(), skip: 5, take: 1 }).is_err());
        assert!(entry_at(&Piece { frame: frame.clone(), skip: 0, take: 0 }).is_err());
    }

    #[test]
    fn a_frame_that_is_not_what_it_says_is_told_by_its_index() {
        let sound =
            frames_of(&[("a".to_owned(), Some(NOW)), ("b".to_owned(), Some(NOW))]).remove(0);
        let damaged = |damage: fn(&mut Piece)| {
            let mut pieces = [whole(&sound), whole(&sound)];
            damage(&mut pieces[1]);
            assemble(&pieces, NOW)
        };
        for (damage, why) in [
            (
                (|piece: &mut Piece| piece.frame.raw_len += 1) as fn(&mut Piece),
                "its table of entries does not add up",
            ),
            (|piece| piece.take = 3, "it has fewer entries than are asked of it"),
            (|piece| piece.skip = u32::MAX, "it has fewer entries than are asked of it"),
            (|piece| piece.frame.deflated.truncate(20), "its blocks don't end on a byte"),
            (
                |piece| {
                    piece.take = 1;
                    piece.frame.raw_crc ^= 1;
                },
                "its JSON has another checksum than its header says",
            ),
        ] {
            assert_eq!(damaged(damage), Err(BadFrame { index: 1, why }));
        }
    }
}
