//! A seeded source of jitter.
//!
//! Promises: the same seed gives the same numbers on every machine, so that a simulated life can
//! be lived again. Never: used for anything secret.

/// xorshift64* (Vigna 2016, "An experimental exploration of Marsaglia's xorshift generators").
#[derive(Clone, Debug)]
pub struct Prng(u64);

impl Prng {
    pub fn new(seed: u64) -> Prng {
        // An odd multiplier spreads small seeds; zero is the one state that never leaves itself.
        Prng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`. The bias of the remainder is below 1 in 2^32 for any `n` used here.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "there is no number below zero");
        (self.next_u64() >> 8) % n
    }

    #[cfg(not(closed))]
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
