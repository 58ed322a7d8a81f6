//! Eight bytes looked at together, by arithmetic on one number.
//!
//! Promises: the high bit of each byte that is meant is marked, and the lowest mark is never wrong. Those
//! above it may be, for the subtraction borrows: no mark at all means that there is no such byte.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The bytes that are this one.
#[inline(always)]
pub fn equal(word: u64, byte: u8) -> u64 {
    let zeroed = word ^ (ONES * u64::from(byte));
    zeroed.wrapping_sub(ONES) & !zeroed & HIGHS
}

/// The bytes below a space.
#[inline(always)]
pub fn below_space(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word & HIGHS
}
