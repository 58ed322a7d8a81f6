//! How much is asked for or sent at once, where only the other side and the link know how much they
//! bear: rows of a page, bytes of a batch.
//!
//! ```text
//!   new: --taken--> four times as much     failed: half as much
//!   then: --so many taken--> twice         taken, but slowly: as much as takes half of the bound
//! ```
//!
//! Promises: what failed for its size is not tried again as large; each time that growing fails it is
//! tried half as often; what is measured to take more than half of the time allowed is never asked
//! for. Never: falls below its least.

use crate::limits;
use crate::time::Span;

#[derive(Clone, Debug)]
pub struct Size {
    now: u64,
    least: u64,
    most: u64,
    /// Nothing failed so far: it grows as fast as the link is measured to bear.
    is_new: bool,
    /// Taken at this size, since it changed.
    taken: u32,
    /// So many have to be taken before it grows.
    raise_after: u32,
    /// It grew, and not as many were taken since.
    is_raised: bool,
    /// What takes half of the time allowed, at the pace that was last measured.
    paced: u64,
}

impl Size {
    /// Begins with `first` and grows to `most` as it is seen to fit.
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

    /// It was learned by another process. What is less than the beginning was once too much.
    pub fn begin_with(&mut self, learned: u64) {
        self.is_new &= learned >= self.now;
        self.now = learned.clamp(self.least, self.most);
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    /// Whether it is so much smaller than it might be that it says little of what else fits.
    pub fn is_small(&self, tried: u64) -> bool {
        tried < self.now.div_ceil(2)
    }

    /// `tried` failed in a way that a smaller one may not.
    pub fn failed(&mut self, tried: u64) {
        if self.is_raised {
            self.raise_after = (self.raise_after * 2).min(limits::SIZE_RAISE_AFTER_MAX);
        }
        (self.is_raised, self.is_new, self.taken) = (false, false, 0);
        self.now = self.now.min(tried / 2).max(self.least);
    }

    /// Something was taken that was smaller than it might have been: it is time that a failure passed.
    pub fn passed(&mut self) {
        self.taken = self.taken.saturating_add(1);
        let most = self.most.min(self.paced);
        if self.taken >= self.raise_after && self.now < most {
            self.hold();
            (self.is_raised, self.taken) = (true, 0);
            self.now = self.now.saturating_mul(2).min(most);
        }
    }

    /// The last growing held, so that the next one need not be as rare.
    fn hold(&mut self) {
        if self.is_raised {
            self.raise_after = (self.raise_after / 2).max(limits::SIZE_RAISE_AFTER);
        }
    }

    /// `tried` was taken within `took` of the time allowed. What is much smaller than it might have
    /// been says nothing of how much else fits, but where it took long all the same.
    pub fn succeeded(&mut self, tried: u64, took: Span, allowed: Option<Span>) {
        if tried == 0 {
            return;
        }
        let fits = allowed.map_or(u64::MAX, |allowed| fitting(tried, took, allowed));
        let is_small = self.is_small(tried);
        let is_slow = allowed
            .is_some_and(|allowed| took.as_ms() >= allowed.as_ms() / limits::PACE_SHOWS_PART);
        // What was quick for its time on the way shows at least so much.
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

/// How much takes half of the time that is allowed, at the pace that was measured.
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
}
