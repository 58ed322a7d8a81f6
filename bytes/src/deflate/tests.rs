//! What is deflated is inflated by two inflaters that are not ours.

use flate2::{Decompress, FlushDecompress};

use super::*;

/// The blocks are not final: a stored block that is ends them.
fn both_inflate(blocks: &[u8]) -> Vec<u8> {
    let ended = [blocks, &[1, 0, 0, 0xff, 0xff]].concat();
    let other = miniz_oxide::inflate::decompress_to_vec(&ended).unwrap();
    let mut text = Vec::with_capacity(other.len() + 1);
    let mut inflate = Decompress::new(false);
    let status = inflate.decompress_vec(&ended, &mut text, FlushDecompress::Finish).unwrap();
    assert_eq!(status, flate2::Status::StreamEnd);
    assert!(text == other);
    text
}

fn check(deflater: &mut Deflater, text: &[u8]) -> usize {
    let mut out = b"before".to_vec();
    deflater.deflate(text, &mut out);
    let blocks = out.strip_prefix(b"before").unwrap();
    assert!(both_inflate(blocks) == text, "{} bytes", text.len());
    assert!(blocks.ends_with(&[0, 0, 0xff, 0xff]));
    let most = text.len() + 5 * text.len().div_ceil(0xffff) + 10;
    assert!(blocks.len() <= most, "{} bytes of {}", blocks.len(), text.len());
    blocks.len()
}

/// xorshift64*, as good as these texts need.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<const N: usize>(&mut self, values: [u64; N]) -> u64 {
        values[self.below(N as u64) as usize]
    }
}

/// Noise of few or many kinds of bytes, runs, and copies from far and near.
fn text(random: &mut Random) -> Vec<u8> {
    let most = random.one_of([10, 300, 5_000, 100_000, 400_000]);
    let length = random.below(most) as usize;
    let kinds = random.one_of([1, 2, 10, 100, 256]);
    let mut text = Vec::new();
    while text.len() < length {
        let most = random.one_of([4, 20, 300, 3_000]);
        let count = 1 + random.below(most) as usize;
        match random.below(4) {
            0 => text.extend((0..count).map(|_| random.below(kinds) as u8)),
            1 => text.extend(std::iter::repeat_n(random.below(kinds) as u8, count)),
            _ if text.is_empty() => {}
            _ => {
                let most = random.one_of([10, 1_000, 40_000]).min(text.len() as u64);
                let back = 1 + random.below(most) as usize;
                for _ in 0..count {
                    text.push(text[text.len() - back]);
                }
            }
        }
    }
    text
}

#[test]
fn what_is_deflated_is_inflated_by_others() {
    let (mut random, mut deflater) = (Random(1), Deflater::default());
    for _ in 0..600 {
        check(&mut deflater, &text(&mut random));
    }
}

#[test]
fn the_same_text_gives_the_same_blocks_whatever_came_before() {
    let mut random = Random(7);
    let (mut used, mut before) = (Deflater::default(), Vec::new());
    for _ in 0..40 {
        let text = text(&mut random);
        let (mut one, mut other) = (Vec::new(), Vec::new());
        Deflater::default().deflate(&text, &mut one);
        used.deflate(&text, &mut other);
        assert!(one == other);
        before = other;
    }
    assert!(!before.is_empty());
    // Another text with the same end had its bytes at the same places, and remembered some that are
    // within copies here.
    for _ in 0..40 {
        let text: Vec<u8> = (0..40_000).map(|_| random.below(4) as u8).collect();
        let noise = (0..6_000).map(|_| random.below(256) as u8);
        let other: Vec<u8> = noise.chain(text[6_000..].iter().copied()).collect();
        let (mut one, mut again) = (Vec::new(), Vec::new());
        Deflater::default().deflate(&text, &mut one);
        used.deflate(&other, &mut Vec::new());
        used.deflate(&text, &mut again);
        assert!(one == again);
    }
}

#[test]
fn texts_at_the_limits() {
    let mut deflater = Deflater::default();
    assert_eq!(check(&mut deflater, b""), 5);
    for length in 0..600 {
        check(&mut deflater, &vec![b'a'; length]);
    }
    let noise = |length: usize| -> Vec<u8> {
        let mut random = Random(length as u64);
        (0..length).map(|_| random.next() as u8).collect()
    };
    for length in [0xfffe, 0xffff, 0x1_0000, 0x1_ffff, 300_000] {
        check(&mut deflater, &noise(length));
    }
    // A copy from as far as there may be, and one byte further.
    for gap in [WINDOW - 1, WINDOW, WINDOW + 1] {
        let mut text = b"0123456789abcdef".to_vec();
        text.extend(noise(gap - text.len()));
        text.extend_from_slice(b"0123456789abcdef");
        check(&mut deflater, &text);
    }
}

/// Symbols as rare as Fibonacci's numbers make the deepest tree there is: its codes are cut to 15 bits.
#[test]
fn codes_are_never_longer_than_they_may_be() {
    let (mut text, mut counts) = (Vec::new(), (1, 1));
    for byte in 0..24 {
        text.extend(std::iter::repeat_n(byte, counts.0));
        counts = (counts.1, counts.0 + counts.1);
    }
    let mut random = Random(3);
    for at in (1..text.len()).rev() {
        text.swap(at, random.below(at as u64 + 1) as usize);
    }
    check(&mut Deflater::default(), &text);
    let mut counts = [0; SYMBOLS];
    let mut two = (1, 1);
    for count in &mut counts[..40] {
        *count = two.0;
        two = (two.1, two.0 + two.1);
    }
    let codes = huffman::Codes::new(&counts, &counts[..DISTANCES]);
    for codes in [&codes.symbols[..40], &codes.distances] {
        assert!(codes.iter().all(|code| (1..=15).contains(&code.1)));
        let taken: u32 = codes.iter().map(|code| 1 << (15 - code.1)).sum();
        assert_eq!(taken, 1 << 15, "the code is complete");
    }
}

#[test]
fn every_distance_and_length_has_the_code_that_rfc_1951_gives_it() {
    let mut base = 1;
    for code in 0..DISTANCES {
        let extra = (code as u32 / 2).saturating_sub(1);
        for value in 0..1 << extra {
            assert_eq!(distance_code((base + value) as usize), (code, (value, extra)));
        }
        base += 1 << extra;
    }
    assert_eq!(base as usize, WINDOW + 1);
    let first = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
        131, 163, 195, 227, 258, 259,
    ];
    for (code, range) in first.windows(2).enumerate() {
        for length in range[0]..range[1] {
            let coded = length_code(length);
            assert_eq!((coded.0, coded.1.0), (257 + code, (length - range[0]) as u32), "{length}");
            assert!(range[1] - range[0] <= 1 << coded.1.1);
        }
    }
}
