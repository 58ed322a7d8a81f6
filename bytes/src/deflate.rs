//! Deflate (RFC 1951) for frames of records: made to take little time on JSON whose lines resemble each
//! other.
//!
//! Promises: what is appended ends on a byte boundary, refers to nothing before it, and any inflater reads
//! it; the same text gives the same blocks, whatever was deflated before. Never: a final block; more than
//! the text and five bytes for each 64 KiB begun, and ten.
//!
//! How: of eight bytes the place where they stood last is tried, nothing else. In records that share
//! most of their members this finds longer matches than level 1 of zlib, and about as many as its level 3
//! (measured, docs/PERFORMANCE.md): what is shorter than eight bytes is hardly worth the time.

mod huffman;

use huffman::{Code, Codes};

/// What a text may refer back to.
const WINDOW: usize = 32 << 10;
/// How many bytes are looked up together: the shortest match.
const HASHED: usize = 8;
const TABLE_BITS: u32 = 15;
/// Bytes that matched nothing, after which every second one is left out, then two of three, and so on.
const SKIP_BITS: u32 = 7;
/// But no more are left out at once: what follows noise begins to match soon.
const SKIP_MAX: usize = 31;
/// A block ends once it has so many matches: codes fit better where they are made for less.
const MATCHES_MAX: usize = 6 << 10;
const STORED_MAX: usize = 0xffff;

const LENGTH_MIN: usize = 3;
const LENGTH_MAX: usize = 258;
const END_OF_BLOCK: usize = 256;
const SYMBOLS: usize = END_OF_BLOCK + 30;
const DISTANCES: usize = 30;

/// A length or a distance: its code, and the bits that follow it.
type Coded = (usize, Code);

/// Of each number of bits more there are 2^GROUP codes, but of none twice as many.
fn coded<const GROUP: u32>(value: u32) -> Coded {
    let extra = (value | 1 << GROUP).ilog2() - GROUP;
    ((value >> extra) as usize + (extra << GROUP) as usize, (value & ((1 << extra) - 1), extra))
}

fn distance_code(distance: usize) -> Coded {
    coded::<1>(distance as u32 - 1)
}

/// The symbol. The greatest length has one of its own.
fn length_code(length: usize) -> Coded {
    let (code, more) =
        if length == LENGTH_MAX { (28, (0, 0)) } else { coded::<2>((length - LENGTH_MIN) as u32) };
    (END_OF_BLOCK + 1 + code, more)
}

/// Bytes as they are, then a copy of what stood `distance` before. The last of a text has no copy.
#[derive(Clone, Copy)]
struct Step {
    literals: usize,
    length: usize,
    distance: usize,
}

/// Holds its memory over texts, so that it need not be made anew.
pub struct Deflater {
    /// Where eight bytes of this hash stood last, modulo 2^16: what that leaves open, and what was never
    /// written, shows when the bytes are compared.
    table: Box<[u16; 1 << TABLE_BITS]>,
    steps: Vec<Step>,
}

impl Default for Deflater {
    fn default() -> Deflater {
        Deflater { table: Box::new([0; 1 << TABLE_BITS]), steps: Vec::new() }
    }
}

impl Deflater {
    /// Appends `text` as blocks.
    #[inline(never)]
    pub fn deflate(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let mut bits = Bits { at: out.len(), out, held: 0, count: 0 };
        self.table.fill(0);
        self.find(text, &mut bits);
        bits.stored(&[]);
    }

    /// Finds what stood before, and writes a block whenever there is enough of it.
    fn find(&mut self, text: &[u8], bits: &mut Bits<'_>) {
        // The next byte to look at, the first that no step has, and the first that no block has.
        let (mut at, mut open, mut begun) = (0, 0, 0);
        while let Some(here) = load(text, at) {
            let place = &mut self.table[hash(here)];
            let distance = usize::from((at as u16).wrapping_sub(*place));
            let then = at.wrapping_sub(distance);
            *place = at as u16;
            if !(1..=WINDOW).contains(&distance) || load(text, then) != Some(here) {
                at += 1 + ((at - open) >> SKIP_BITS).min(SKIP_MAX);
                continue;
            }
            let before = text[open..at].iter().rev().zip(text[..then].iter().rev());
            let start = at - before.take_while(|(this, that)| this == that).count();
            let end = at + HASHED + common(&text[at + HASHED..], &text[then + HASHED..]);
            let mut from = start;
            while from < end {
                // No more than one code means, and no rest that is less than one means.
                let length = match end - from {
                    259 | 260 => LENGTH_MAX - LENGTH_MIN,
                    left => left.min(LENGTH_MAX),
                };
                self.steps.push(Step { literals: from - open, length, distance });
                from += length;
                open = from;
            }
            // A place within the copy, for what begins there and goes on otherwise.
            if let Some(inner) = load(text, end - 2) {
                self.table[hash(inner)] = (end - 2) as u16;
            }
            at = end;
            if self.steps.len() >= MATCHES_MAX {
                block(&text[begun..end], &self.steps, bits);
                self.steps.clear();
                begun = end;
            }
        }
        self.steps.push(Step { literals: text.len() - open, length: 0, distance: 0 });
        block(&text[begun..], &self.steps, bits);
        self.steps.clear();
    }
}

fn load(text: &[u8], at: usize) -> Option<u64> {
    let bytes = text.get(at..)?.first_chunk::<HASHED>()?;
    Some(u64::from_le_bytes(*bytes))
}

fn hash(bytes: u64) -> usize {
    (bytes.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - TABLE_BITS)) as usize
}

/// How many bytes both begin with.
fn common(one: &[u8], other: &[u8]) -> usize {
    let mut at = 0;
    while let (Some(this), Some(that)) = (load(one, at), load(other, at)) {
        if this != that {
            return at + (this ^ that).trailing_zeros() as usize / 8;
        }
        at += HASHED;
    }
    let rest = one[at..].iter().zip(&other[at..]);
    at + rest.take_while(|(this, that)| this == that).count()
}

/// Writes one block, as it is where codes would make it longer.
fn block(text: &[u8], steps: &[Step], bits: &mut Bits<'_>) {
    let (mut symbols, mut distances) = ([0; SYMBOLS], [0; DISTANCES]);
    symbols[END_OF_BLOCK] = 1;
    let (mut at, mut more) = (0, 0);
    for step in steps {
        let literals = &text[at..at + step.literals];
        literals.iter().for_each(|byte| symbols[usize::from(*byte)] += 1);
        if step.length > 0 {
            let (length, distance) = (length_code(step.length), distance_code(step.distance));
            symbols[length.0] += 1;
            distances[distance.0] += 1;
            more += (length.1.1 + distance.1.1) as usize;
        }
        at += step.literals + step.length;
    }
    let codes = Codes::new(&symbols, &distances);
    let bytes = (codes.bits(&symbols, &distances) + more) / 8 + 1;
    if bytes >= text.len() + 5 * text.len().div_ceil(STORED_MAX) {
        text.chunks(STORED_MAX).for_each(|chunk| bits.stored(chunk));
        return;
    }
    bits.room(bytes);
    codes.write_header(|code| {
        bits.add(code);
        bits.flush();
    });
    let mut at = 0;
    for step in steps {
        let literals = &text[at..at + step.literals];
        for three in literals.chunks(3) {
            three.iter().for_each(|byte| bits.add(codes.symbols[usize::from(*byte)]));
            bits.flush();
        }
        if step.length > 0 {
            let (length, distance) = (length_code(step.length), distance_code(step.distance));
            bits.add(codes.symbols[length.0]);
            bits.add(length.1);
            bits.add(codes.distances[distance.0]);
            bits.add(distance.1);
            bits.flush();
        }
        at += step.literals + step.length;
    }
    bits.add(codes.symbols[END_OF_BLOCK]);
    bits.flush();
}

/// What is appended. Three codes, or a length and a distance with what they need, fit into `held` beside
/// less than a byte.
struct Bits<'a> {
    out: &'a mut Vec<u8>,
    /// Where the next byte comes; behind it is room.
    at: usize,
    held: u64,
    count: u32,
}

impl Bits<'_> {
    /// Makes room for so many bytes, and for what `flush` writes beyond them.
    fn room(&mut self, bytes: usize) {
        self.out.resize(self.at + bytes + 2 * size_of::<u64>(), 0);
    }

    #[inline(always)]
    fn add(&mut self, (value, count): (u32, u32)) {
        self.held |= u64::from(value) << self.count;
        self.count += count;
    }

    #[inline(always)]
    fn flush(&mut self) {
        let room =
            self.out[self.at..].first_chunk_mut().expect("room was made for what was counted");
        *room = self.held.to_le_bytes();
        self.at += self.count as usize / 8;
        self.held >>= self.count & !7;
        self.count &= 7;
    }

    /// A block of bytes as they are, which begin and end on a byte boundary.
    fn stored(&mut self, bytes: &[u8]) {
        self.room(0);
        self.add((0, 3));
        self.count = self.count.next_multiple_of(8);
        self.flush();
        self.out.truncate(self.at);
        let length = bytes.len() as u16;
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(&(!length).to_le_bytes());
        self.out.extend_from_slice(bytes);
        self.at = self.out.len();
    }
}

#[cfg(test)]
mod tests;
