//! The loops that touch every byte of a record: how text stands inside a JSON string, where a value ends
//! ([`json`]), and [`deflate`].
//!
//! Promises: no panic, whatever the bytes; escaping allocates nothing but for what is appended. Never:
//! inlined into the program, where it would be compiled small again: it is a crate so that it is compiled
//! for speed. Escaping is tested where it is used too, in `coralogix::entry`.

pub mod deflate;
pub mod json;
mod word;

use word::{below_space, equal};

/// Bytes that are looked at together.
const BLOCK: usize = 8;
/// What is escaped before it is appended, so that the vector is asked for room once in so many bytes.
const WINDOW: usize = 1024;
/// How far one step writes at most: a block, or what is clean of it and the longest escape.
const STEP_MAX: usize = BLOCK + 6;

/// Appends `text`, which is UTF-8, as the inside of a JSON string.
///
/// A block is copied whole, clean or not, and the place moves on by as many bytes as were clean. In JSON
/// every eighth byte or so is a quote: copying run by run takes twice as long (measured).
#[inline(never)]
pub fn escape(out: &mut Vec<u8>, text: &[u8]) {
    let mut window = [0u8; WINDOW];
    let (mut to, mut from) = (0, 0);
    out.reserve(text.len() + text.len() / 4);
    while let Some(block) = text.get(from..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
        if to > WINDOW - STEP_MAX {
            out.extend_from_slice(&window[..to]);
            to = 0;
        }
        let room: &mut [u8; STEP_MAX] =
            window[to..].first_chunk_mut().expect("room for a step was made");
        room[..BLOCK].copy_from_slice(block);
        let clean = first_special(block);
        if clean >= BLOCK {
            to += BLOCK;
            from += BLOCK;
            continue;
        }
        let byte = block[clean];
        if byte >= b' ' {
            // A quote or a backslash: nearly all there is to escape.
            room[clean] = b'\\';
            room[clean + 1] = byte;
            to += clean + 2;
        } else {
            let (escaped, length) = escaped(byte);
            room[clean..clean + escaped.len()].copy_from_slice(&escaped);
            to += clean + length;
        }
        from += clean + 1;
    }
    out.extend_from_slice(&window[..to]);
    for byte in &text[from..] {
        let (escaped, length) = escaped(*byte);
        out.extend_from_slice(&escaped[..length]);
    }
}

/// How many control characters there are, of which an entry writes each as at most six bytes. JSON has none
/// as they are but for blanks, which do not count.
#[inline(never)]
pub fn controls(text: &[u8]) -> usize {
    let is_control = |byte: &&u8| **byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    let count = |bytes: &[u8]| bytes.iter().filter(is_control).count();
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let few = blocks.iter().filter(|block| below_space(u64::from_le_bytes(**block)) != 0);
    few.map(|block| count(block)).sum::<usize>() + count(rest)
}

/// The place of the first byte that can't stand as it is; `BLOCK` where there is none.
#[inline(always)]
fn first_special(block: &[u8; BLOCK]) -> usize {
    let word = u64::from_le_bytes(*block);
    let special = equal(word, b'"') | equal(word, b'\\') | below_space(word);
    special.trailing_zeros() as usize / 8
}

/// A byte as it stands inside a JSON string, and how long that is.
fn escaped(byte: u8) -> ([u8; 6], usize) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let letter = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        0..0x20 => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            return ([b'\\', b'u', b'0', b'0', high, low], 6);
        }
        _ => return ([byte, 0, 0, 0, 0, 0], 1),
    };
    ([b'\\', letter, 0, 0, 0, 0], 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_counted_and_blanks_are_not() {
        let text: Vec<u8> = (0..=u8::MAX).cycle().take(256 * 300).collect();
        assert_eq!(controls(&text), (32 - 3) * 300);
        assert_eq!(controls(&[0; 1_000]), 1_000);
        assert_eq!(controls(b"\t\n\r"), 0);
    }

    #[test]
    fn the_first_special_byte_is_found_whatever_stands_behind_it() {
        let seconds = [0, 1, 0x1f, b' ', b'!', b'"', b'#', b'[', b'\\', b']', 0x7f, 0x80, 0xff];
        for (first, second) in (0..=u8::MAX).flat_map(|one| seconds.map(|two| (one, two))) {
            for at in 0..BLOCK - 1 {
                let mut block = [b'x'; BLOCK];
                (block[at], block[at + 1]) = (first, second);
                let is_special = |b: &u8| *b == b'"' || *b == b'\\' || *b < b' ';
                let place = block.iter().position(is_special).unwrap_or(BLOCK);
                assert_eq!(first_special(&block), place, "{block:?}");
            }
        }
    }
}
