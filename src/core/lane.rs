//! A lane: something that is done repeatedly, when it may be done next, and why not sooner.
//!
//! Promises: every wait has a reason; between two tries after a failure at least `retry.min`
//! passes, and Retry-After is never undercut (keeps P6).

use crate::limits;
use crate::prng::Prng;
use crate::record::Hold;
use crate::time::{Due, Mono, Span};

use super::reason::Reason;

/// When a lane may next be used, and why not sooner.
#[derive(Clone, Debug)]
pub struct Lane {
    pub due: Due,
    pub reason: Reason,
    /// Since when the lane has had this reason.
    pub since: Mono,
    /// Failures since the last success.
    pub failures: u32,
    /// The description of the last trouble, for people.
    pub detail: String,
    /// The end of Retry-After: no request is made before it (keeps P6).
    pub not_before: Mono,
    /// When it was last used, up to the end of everything that followed. A start counts as a use,
    /// so that neither a crash loop nor a config that changes repeatedly makes requests more
    /// frequent.
    pub tried: Mono,
}

impl Lane {
    pub fn new(now: Mono, first: Span) -> Lane {
        Lane {
            due: Due::At(now + first),
            reason: Reason::Starting,
            since: now,
            failures: 0,
            detail: String::new(),
            not_before: Mono::ZERO,
            tried: now,
        }
    }

    /// A lane that is not used until a person has decided and the program starts again.
    pub fn held(now: Mono, hold: &Hold) -> Lane {
        let detail = hold.explain();
        let (due, reason, failures) = (Due::Never, Reason::TenantChanged, 1);
        let (not_before, tried) = (Mono::ZERO, now);
        Lane { due, reason, since: now, failures, detail, not_before, tried }
    }

    pub fn rest(&mut self, now: Mono, due: Due, reason: Reason) {
        if self.reason != reason {
            self.since = now;
        }
        self.due = due;
        self.reason = reason;
    }

    /// A use succeeded: earlier failures are over.
    pub fn succeed(&mut self, now: Mono, due: Due, reason: Reason) {
        self.failures = 0;
        self.detail.clear();
        self.rest(now, due, reason);
    }

    /// A use failed: waits for `wait`.
    pub fn fail(&mut self, now: Mono, wait: Span, reason: Reason, detail: String) {
        self.failures = self.failures.saturating_add(1);
        self.detail = detail;
        self.rest(now, Due::At(now + wait), reason);
    }

    /// A use failed, and the next request is a different one: it is no repetition, so the backoff
    /// does not grow.
    pub fn try_otherwise(&mut self, now: Mono, wait: Span, reason: Reason, detail: String) {
        self.failures = self.failures.max(1);
        self.detail = detail;
        self.rest(now, Due::At(now + wait), reason);
    }

    /// A person or a changed credential asks for a use now. Other waits end, except Retry-After. It
    /// becomes due no sooner than `pace` after the last use, so that many such requests in that
    /// time are one, and a network interface that asks twenty times a second does not cause twenty
    /// requests (keeps P6).
    pub fn wish(&mut self, now: Mono, pace: Span) {
        let paced = now.max(self.tried + pace).max(self.not_before);
        self.due = self.due.min(Due::At(paced));
    }

    /// Makes it due now because of an answer on another lane, but not before the end of
    /// Retry-After.
    pub fn poll_now(&mut self, now: Mono) {
        self.due = Due::At(now.max(self.not_before));
    }

    /// No request is made before Retry-After is over, at most a day.
    pub fn honor_retry_after(&mut self, now: Mono, retry_after: Option<Span>) {
        let span = retry_after.unwrap_or(Span::ZERO);
        let until = now + span.min(Span::hours(limits::RETRY_AFTER_HOURS_MAX));
        self.not_before = self.not_before.max(until);
    }

    /// Another lane of the same tenant has to wait until `until`, so this one does too.
    pub fn wait_with(&mut self, now: Mono, until: Due, not_before: Mono) {
        self.not_before = self.not_before.max(not_before);
        if self.due < until {
            self.rest(now, until, Reason::Busy);
        }
    }
}

/// How long to wait after failures.
#[derive(Clone, Debug)]
pub struct Backoff {
    pub min: Span,
    pub max: Span,
    pub prng: Prng,
}

impl Backoff {
    /// Full jitter between `min` and a ceiling that doubles with each failure up to `max`; never
    /// below `retry_after` (keeps P6).
    pub fn after(&mut self, failures: u32, retry_after: Option<Span>) -> Span {
        assert!(self.min > Span::ZERO && self.min <= self.max);
        // The exponent is bounded so that the shift can't overflow; 2^32 times any minimum is
        // above any maximum.
        let doubled = self.min.0.saturating_mul(1 << failures.min(32));
        let ceiling = doubled.min(self.max.0);
        let jittered = self.min.0 + self.prng.below(ceiling - self.min.0 + 1);
        let floor = retry_after.unwrap_or(Span::ZERO);
        let floor = floor.min(Span::hours(limits::RETRY_AFTER_HOURS_MAX));
        let wait = Span(jittered).max(floor);
        assert!(wait >= self.min);
        wait
    }

    /// The wait before the first use after a start. Each consecutive earlier start that ended early
    /// doubles it, up to `max`, so that a crash loop asks less and less; otherwise it is `min`.
    pub fn at_start(&mut self, unsettled: u32) -> Span {
        let ceiling = self.min.0.saturating_mul(1 << unsettled.min(32)).min(self.max.0);
        let least = (ceiling / 2).max(self.min.0);
        Span(least + self.prng.below(ceiling - least + 1))
    }

    /// The wait for something that only a person can repair: close to the longest one, with jitter
    /// so that many devices do not retry at the same time.
    pub fn long(&mut self) -> Span {
        let least = self.min.0.max(self.max.0 / 4 * 3);
        Span(least + self.prng.below(self.max.0 - least + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff { min: Span::seconds(1), max: Span::minutes(5), prng: Prng::new(7) }
    }

    #[test]
    fn backoff_doubles_stays_in_bounds_and_honours_retry_after() {
        let mut backoff = backoff();
        for failures in [0, 1, 5, 9, 40, u32::MAX] {
            let ceiling = (1_000u64 << failures.min(20)).min(300_000);
            let mut highest = 0;
            for _ in 0..2_000 {
                let wait = backoff.after(failures, None);
                assert!(wait >= Span::seconds(1) && wait.0 <= ceiling, "{failures}: {wait:?}");
                highest = highest.max(wait.0);
            }
            assert!(highest > ceiling / 10 * 9, "{failures}: the jitter reaches the ceiling");
        }
        assert!(backoff.after(0, Some(Span::hours(3))) == Span::hours(3));
        assert!(backoff.after(0, Some(Span::hours(300))) == Span::hours(24));
    }

    #[test]
    fn each_start_that_did_not_settle_doubles_the_first_wait() {
        let mut backoff = backoff();
        assert_eq!(backoff.at_start(0), Span::seconds(1));
        for (unsettled, least, most) in
            [(1, 1_000, 2_000), (4, 8_000, 16_000), (40, 150_000, 300_000)]
        {
            for _ in 0..500 {
                let wait = backoff.at_start(unsettled).0;
                assert!((least..=most).contains(&wait), "{unsettled}: {wait}");
            }
        }
    }

    #[test]
    fn the_long_wait_is_near_the_maximum() {
        let mut backoff = backoff();
        for _ in 0..1_000 {
            let wait = backoff.long();
            assert!(wait >= Span::seconds(225) && wait <= Span::minutes(5));
        }
    }

    #[test]
    fn since_tells_when_the_reason_began_not_when_it_was_repeated() {
        let mut lane = Lane::new(Mono(5), Span::seconds(1));
        lane.fail(Mono(10), Span::seconds(1), Reason::Busy, "429".into());
        lane.fail(Mono(20), Span::seconds(1), Reason::Busy, "429".into());
        assert_eq!((lane.since, lane.failures), (Mono(10), 2));
        lane.succeed(Mono(30), Due::Never, Reason::NothingToSend);
        assert_eq!((lane.since, lane.failures), (Mono(30), 0));
    }

    #[test]
    fn waits_of_which_the_least_is_the_longest_have_no_jitter() {
        let mut backoff = Backoff { min: Span::seconds(9), max: Span::seconds(9), ..backoff() };
        for failures in [0, 1, 40] {
            assert_eq!(backoff.after(failures, None), Span::seconds(9));
        }
        assert_eq!((backoff.long(), backoff.at_start(5)), (Span::seconds(9), Span::seconds(9)));
    }

    #[test]
    fn a_lane_tells_the_last_trouble_until_it_is_over() {
        let (mut lane, now) = (Lane::new(Mono(5), Span::seconds(1)), Mono(10));
        lane.try_otherwise(now, Span::seconds(1), Reason::Busy, "429".into());
        assert_eq!((lane.detail.as_str(), lane.failures), ("429", 1));
        lane.try_otherwise(now, Span::seconds(1), Reason::Busy, "503".into());
        assert_eq!((lane.detail.as_str(), lane.failures), ("503", 1), "it is no repetition");
        lane.succeed(now, Due::Never, Reason::Working);
        assert_eq!((lane.detail.as_str(), lane.failures), ("", 0));
    }

    #[test]
    fn an_answer_elsewhere_makes_a_lane_due_but_not_before_the_patience_asked_for() {
        let (mut lane, now) = (Lane::new(Mono(5), Span::hours(1)), Mono(1_000));
        lane.poll_now(now);
        assert_eq!(lane.due, Due::At(now));
        lane.honor_retry_after(now, Some(Span::minutes(5)));
        lane.poll_now(now);
        assert_eq!(lane.due, Due::At(now + Span::minutes(5)));
    }

    #[test]
    fn a_lane_that_waits_longer_than_its_tenant_keeps_its_own_reason() {
        let (now, until) = (Mono(1_000), Mono(9_000));
        for (due, reason) in
            [(8_999, Reason::Busy), (9_000, Reason::PollInterval), (9_001, Reason::PollInterval)]
        {
            let mut lane = Lane::new(Mono(5), Span::ZERO);
            lane.rest(now, Due::At(Mono(due)), Reason::PollInterval);
            lane.wait_with(now, Due::At(until), until);
            assert_eq!((lane.due, lane.reason), (Due::At(Mono(due.max(9_000))), reason));
            assert_eq!(lane.not_before, until);
        }
    }
}
