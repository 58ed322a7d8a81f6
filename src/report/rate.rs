//! How many records are collected and delivered a minute: an average over the last minutes.
//!
//! Promises: a bounded number of samples, whatever the pace. Never: reads a clock.

use std::collections::VecDeque;

use crate::time::{Mono, Span};

/// The interval of the samples.
const EVERY: Span = Span::seconds(30);
/// The unit of a rate.
const MINUTE: Span = Span::minutes(1);
/// Samples kept: five minutes.
const SAMPLES_MAX: usize = 11;

/// Counters at points of time.
#[derive(Debug, Default)]
pub struct Rates {
    samples: VecDeque<(Mono, Vec<u64>)>,
}

impl Rates {
    /// Takes a sample when the last one is old enough.
    pub fn note(&mut self, now: Mono, counters: &[u64]) {
        let is_due = self.samples.back().is_none_or(|(at, _)| now.since(*at) >= EVERY);
        if is_due {
            self.samples.push_back((now, counters.to_vec()));
            while self.samples.len() > SAMPLES_MAX {
                self.samples.pop_front();
            }
        }
    }

    /// How much each counter grew a minute, on average since the oldest sample. Until that is a
    /// minute old: how much it grew at all, because an extrapolated number would include records
    /// that never came.
    pub fn per_minute(&self, now: Mono, counters: &[u64]) -> Vec<u64> {
        let Some((at, then)) = self.samples.front() else { return vec![0; counters.len()] };
        let ms = now.since(*at).as_ms().max(MINUTE.as_ms());
        let grown = counters.iter().zip(then).map(|(now, then)| now.saturating_sub(*then));
        grown.map(|grown| grown.saturating_mul(60_000).div_ceil(ms)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_five_minutes() {
        let mut rates = Rates::default();
        for second in 0..3_600 {
            let fast = if second < 1_800 { second * 100 } else { 180_000 + (second - 1_800) };
            rates.note(Mono(second * 1_000), &[fast, second * 2]);
            assert!(rates.samples.len() <= SAMPLES_MAX);
            if second == 1_700 {
                assert_eq!(
                    rates.per_minute(Mono(second * 1_000), &[fast, second * 2]),
                    [6_000, 120]
                );
            }
        }
        let now = Mono(3_600_000);
        assert_eq!(rates.per_minute(now, &[181_800, 7_200]), [60, 120]);
    }

    #[test]
    fn a_moment_after_the_start_is_no_rush() {
        let mut rates = Rates::default();
        rates.note(Mono(5), &[0]);
        assert_eq!(rates.per_minute(Mono(6), &[10]), [10]);
        assert_eq!(rates.per_minute(Mono(59_000), &[5_757]), [5_757]);
        assert_eq!(rates.per_minute(Mono(120_005), &[10]), [5]);
    }
}
