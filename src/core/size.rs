//! How much is requested or sent at once, if only the service and the link know their limits: rows
//! of a page, bytes of a batch.
//!
//! ```text
//!   new: --taken--> four times as much     failed: half as much
//!   then: --so many taken--> twice         taken, but slowly: as much as takes half of the bound
//! ```
//!
//! Promises: a size that failed is not tried again soon; each time that growing fails it is tried
//! half as often; a size that was measured to take more than half of the time limit is never used.
//! Never: falls below the least size.

use crate::limits;
use crate::time::Span;

#[derive(Clone, Debug)]
pub struct Size {
    now: u64,
    least: u64,
    most: u64,
    /// Nothing failed so far: it grows as fast as the link's measured speed permits.
    is_new: bool,
    /// Successes at this size since it changed.
    taken: u32,
    /// So many successes are needed before it grows.
    raise_after: u32,
    /// It grew, and has had fewer than `raise_after` successes since.
    is_raised: bool,
    /// The size that takes half of the time limit, at the last measured speed.
    paced: u64,
}

impl Size {
    /// Begins with `first` and grows to `most` with successes.
    pub fn beginning(least: u64, first: u64, most: u64) -> Size {
        assert!(0 < least && least <= first, "nothing can't be asked for");
        let most = most.max(least);
        Size {
            now: first.min(most),
            least,
            most,
            is_new: true,
            taken: 0,
            raise_after: limits::SIZE_RAISE_AFTER,
            is_raised: false,
            paced: u64::MAX,
        }
    }

    /// Limits it to `most` from now on.
    pub fn bound(&mut self, most: u64) {
        self.most = most.max(self.least);
        self.now = self.now.min(self.most);
    }

    /// Begins with a size learned by another process. If it is less than the first size, that was
    /// once too much.
    pub fn begin_with(&mut self, learned: u64) {
        self.is_new &= learned >= self.now;
        self.now = learned.clamp(self.least, self.most);
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    /// Whether `tried` is so small that its success says little of larger sizes.
    pub fn is_small(&self, tried: u64) -> bool {
        tried < self.now.div_ceil(2)
    }

    /// `tried` failed in a way in which a smaller size may not.
    pub fn failed(&mut self, tried: u64) {
        if self.is_raised {
            self.raise_after = (self.raise_after * 2).min(limits::SIZE_RAISE_AFTER_MAX);
        }
        (self.is_raised, self.is_new, self.taken) = (false, false, 0);
        self.now = self.now.min(tried / 2).max(self.least);
    }

    /// Something smaller than the size succeeded: time has passed since the last failure.
    pub fn passed(&mut self) {
        self.taken = self.taken.saturating_add(1);
        let most = self.most.min(self.paced);
        if self.taken >= self.raise_after && self.now < most {
            self.hold();
            (self.is_raised, self.taken) = (true, 0);
            self.now = self.now.saturating_mul(2).min(most);
        }
    }

    /// The last growth succeeded, so the next one need not be as rare.
    fn hold(&mut self) {
        if self.is_raised {
            self.raise_after = (self.raise_after / 2).max(limits::SIZE_RAISE_AFTER);
        }
    }

    /// `tried` succeeded within `took` of the time limit `allowed`. A success that is much smaller
    /// than the size shows nothing of larger sizes, unless it was slow.
    pub fn succeeded(&mut self, tried: u64, took: Span, allowed: Option<Span>) {
        if tried == 0 {
            return;
        }
        let fits = allowed.map_or(u64::MAX, |allowed| fitting(tried, took, allowed));
        let is_small = self.is_small(tried);
        let is_slow = allowed
            .is_some_and(|allowed| took.as_ms() >= allowed.as_ms() / limits::PACE_SHOWS_PART);
        // A small success that was quick shows at least this speed.
        self.paced = if is_small && !is_slow { self.paced.max(fits) } else { fits };
        if fits < tried {
            (self.is_raised, self.is_new, self.taken) = (false, false, 0);
            self.now = self.now.min(fits).max(self.least);
            return;
        }
        if is_small {
            if is_slow {
                self.now = self.now.min(fits.max(self.least));
            }
            return;
        }
        self.taken = self.taken.saturating_add(1);
        if !self.is_new && self.taken < self.raise_after {
            return;
        }
        self.hold();
        let larger = self.now.saturating_mul(if self.is_new { 4 } else { 2 });
        let raised = larger.min(fits).min(self.most).max(self.least);
        (self.is_raised, self.taken) = (raised > self.now && !self.is_new, 0);
        self.now = raised;
    }
}

/// The size that takes half of the time limit, at the measured speed.
pub fn fitting(tried: u64, took: Span, allowed: Span) -> u64 {
    let took = u128::from(took.as_ms().max(1));
    let fits = u128::from(tried) * u128::from(allowed.as_ms() / 2) / took;
    u64::try_from(fits).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Span = Span::ms(1);
    const MINUTE: Span = Span::minutes(1);

    #[test]
    fn a_new_size_grows_with_each_that_is_taken_quickly() {
        let mut size = Size::beginning(1, 64, 1_000);
        let mut sizes = vec![];
        for _ in 0..4 {
            sizes.push(size.now());
            size.succeeded(size.now(), QUICK, Some(MINUTE));
        }
        assert_eq!(sizes, [64, 256, 1_000, 1_000]);
    }

    #[test]
    fn what_takes_long_is_asked_for_no_larger_than_takes_half_of_the_time() {
        let mut size = Size::beginning(1, 64, 10_000);
        size.succeeded(64, Span::seconds(10), Some(MINUTE));
        assert_eq!(size.now(), 192, "30 s at that pace");
        size.succeeded(192, Span::seconds(40), Some(MINUTE));
        assert_eq!(size.now(), 144, "it became slower");
    }

    #[test]
    fn a_small_one_says_nothing_of_what_else_fits() {
        let mut size = Size::beginning(1, 64, 10_000);
        size.succeeded(3, Span::seconds(3), Some(MINUTE));
        assert_eq!(size.now(), 64);
        size.succeeded(3, Span::seconds(9), Some(MINUTE));
        assert_eq!(size.now(), 10, "but where it is slow all the same");
        size.succeeded(3, Span::seconds(45), Some(MINUTE));
        assert_eq!(size.now(), 2, "but that it took longer than it may");
    }

    #[test]
    fn quiet_times_bring_it_back_to_what_the_link_was_measured_to_carry_and_no_further() {
        let mut size = Size::beginning(1, 1_000, 1_000);
        size.failed(1_000);
        size.succeeded(100, Span::seconds(25), Some(MINUTE));
        for _ in 0..100 {
            size.succeeded(0, Span::seconds(5), Some(MINUTE));
            size.succeeded(1, Span::seconds(3), Some(MINUTE));
            size.passed();
        }
        assert_eq!(size.now(), 120);
        // The link became another one.
        size.succeeded(1, Span::ms(20), Some(MINUTE));
        (0..100).for_each(|_| size.passed());
        assert_eq!(size.now(), 1_000);
    }

    #[test]
    fn each_growing_that_fails_makes_the_next_one_rarer() {
        let mut size = Size::beginning(1, 1_000, 1_000);
        let (mut failed, mut taken, mut at) = (0, 0, vec![]);
        for asked in 0..20_000 {
            if size.now() > 200 {
                size.failed(size.now());
                failed += 1;
                at.push(asked);
            } else {
                size.succeeded(size.now(), QUICK, None);
                taken += 1;
            }
        }
        assert!(failed < 26, "{failed} of {taken} at {at:?}");
        assert_eq!(size.now(), 125);
    }

    #[test]
    fn a_failure_now_and_then_keeps_no_size_small() {
        let mut size = Size::beginning(4, 1_000, 1_000);
        let (mut sum, tries) = (0, 100_000);
        for at in 0..tries {
            match at % 100 {
                0 => size.failed(size.now()),
                _ => size.succeeded(size.now(), QUICK, None),
            }
            sum += size.now();
        }
        assert!(sum / tries > 500, "{} on average", sum / tries);
    }

    #[test]
    fn it_grows_back_once_the_limit_is_gone_and_never_falls_below_its_least() {
        let mut size = Size::beginning(4, 1_000, 1_000);
        (0..20).for_each(|_| size.failed(size.now()));
        assert_eq!(size.now(), 4);
        let mut asked = 0;
        while size.now() < 1_000 {
            size.succeeded(size.now(), QUICK, Some(MINUTE));
            asked += 1;
        }
        assert!(asked <= 8 * limits::SIZE_RAISE_AFTER, "{asked}");
    }

    /// How many have to be taken until it grows, by quiet times or by full sizes.
    fn grows_after(size: &mut Size, is_quiet: bool) -> u32 {
        let before = size.now();
        for taken in 1..100 {
            match is_quiet {
                true => size.passed(),
                false => size.succeeded(size.now(), QUICK, None),
            }
            if size.now() > before {
                return taken;
            }
        }
        panic!("it never grows");
    }

    #[test]
    fn growing_becomes_rarer_with_each_failure_and_frequent_again_with_success() {
        for is_quiet in [true, false] {
            let mut size = Size::beginning(1, 64, 4_096);
            size.failed(64);
            let mut taken = vec![];
            for _ in 0..3 {
                taken.push(grows_after(&mut size, is_quiet));
                size.failed(64);
            }
            for _ in 0..5 {
                taken.push(grows_after(&mut size, is_quiet));
            }
            assert_eq!(taken, [2, 4, 8, 16, 16, 8, 4, 2], "{is_quiet}");
        }
    }

    #[test]
    fn what_succeeds_at_the_most_does_not_count_as_growing() {
        for (is_quiet, expected) in [(true, 32), (false, 8)] {
            let mut size = Size::beginning(1, 64, 64);
            size.failed(64);
            for _ in 0..3 {
                grows_after(&mut size, is_quiet);
                size.failed(64);
            }
            assert_eq!(grows_after(&mut size, is_quiet), 16);
            for _ in 0..100 {
                match is_quiet {
                    // It shows nothing of this size.
                    true => size.passed(),
                    // This growth has succeeded, once.
                    false => size.succeeded(64, QUICK, None),
                }
            }
            size.failed(64);
            assert_eq!(grows_after(&mut size, is_quiet), expected, "{is_quiet}");
        }
    }

    #[test]
    fn a_size_that_was_too_slow_is_not_exceeded_at_once() {
        let mut size = Size::beginning(1, 100, 10_000);
        size.succeeded(100, Span::seconds(30), Some(MINUTE));
        let mut quick = size.clone();
        quick.succeeded(100, QUICK, Some(MINUTE));
        assert_eq!((size.now(), quick.now()), (100, 400), "it took just what it may");
        size.succeeded(100, Span::seconds(60), Some(MINUTE));
        assert_eq!(size.now(), 50);
        size.succeeded(50, QUICK, Some(MINUTE));
        assert_eq!(size.now(), 50, "it is not new any more");
    }

    #[test]
    fn the_speed_of_a_small_one_counts_if_it_was_slow() {
        for (took, most) in [(Span::ms(10), 1_000_000), (Span::seconds(10), 30)] {
            let mut size = Size::beginning(1, 1_000, 1_000_000);
            size.failed(1_000);
            size.succeeded(10, took, Some(MINUTE));
            (0..100).for_each(|_| size.passed());
            assert_eq!(size.now(), most, "{took}");
        }
        let size = Size::beginning(1, 100, 100);
        assert!(size.is_small(49) && !size.is_small(50), "half of it shows the whole");
    }

    #[test]
    fn a_bound_and_what_was_learned_are_begun_with() {
        let mut size = Size::beginning(10, 100, 1_000);
        size.bound(50);
        assert_eq!(size.now(), 50);
        size.bound(1);
        assert_eq!(size.now(), 10);
        for (learned, next) in [(100, 400), (200, 800), (99, 99)] {
            let mut size = Size::beginning(10, 100, 1_000);
            size.begin_with(learned);
            size.succeeded(learned, QUICK, None);
            assert_eq!(size.now(), next, "less than the first was once too much");
        }
    }
}
