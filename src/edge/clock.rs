//! The two clocks: one for schedules, one for the calendar.
//!
//! Promises: schedules never see the calendar; the calendar follows the services, not the box,
//! as soon as one has answered (keeps P8). Never: sets a clock.

use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};

use crate::time::{Mono, Stamp};

/// Whose `Date` it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Tenant,
    Sink,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    date: Stamp,
    at: Mono,
}

impl Anchor {
    fn carried_to(self, now: Mono) -> Stamp {
        self.date + now.since(self.at)
    }
}

/// Calendar time as the services tell it.
#[derive(Debug, Default)]
pub struct Clock {
    tenant: Option<Anchor>,
    sink: Option<Anchor>,
}

impl Clock {
    /// Takes the `Date` of an answer that came over a verified connection.
    pub fn note(&mut self, source: Source, date: Option<&str>, now: Mono) {
        let Some(date) = date.and_then(Stamp::parse_http_date) else { return };
        let anchor = Some(Anchor { date, at: now });
        match source {
            Source::Tenant => self.tenant = anchor,
            Source::Sink => self.sink = anchor,
        }
    }

    /// Whether a service has told the time.
    pub fn is_told(&self) -> bool {
        self.sink.or(self.tenant).is_some()
    }

    /// The sink's clock is preferred, for calendar time is only used to judge how old an entry
    /// will look to the sink: a tenant whose clock is off must not cost entries their time.
    pub fn wall(&self, now: Mono) -> Stamp {
        match self.sink.or(self.tenant) {
            Some(anchor) => anchor.carried_to(now),
            None => local(),
        }
    }
}

/// The clock of all schedules. CLOCK_BOOTTIME, because the time in suspend counts as passed: a
/// box that slept eight hours has polls due at once, and its calendar stays right.
pub fn mono() -> Mono {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let ms = u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000;
    Mono(seconds.saturating_mul(1_000).saturating_add(ms))
}

/// Lets time pass between two drawings of a command that watches; the daemon sleeps elsewhere.
#[expect(clippy::disallowed_methods, reason = "the edge waits for the rest of the program")]
pub fn pause(span: crate::time::Span) {
    std::thread::sleep(span.as_duration());
}

/// The box's own idea of the calendar. May be decades off.
#[expect(clippy::disallowed_methods, reason = "the edge reads the clocks")]
pub fn local() -> Stamp {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => Stamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
        Err(before) => Stamp(0) - crate::time::Span::ms(before.duration().as_millis() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";
    const ONE: &str = "Sun, 06 Nov 1994 13:00:00 GMT";

    fn stamp(text: &str) -> Stamp {
        Stamp::parse_http_date(text).unwrap()
    }

    #[test]
    fn the_calendar_follows_the_services_and_the_sink_before_a_tenant() {
        let mut clock = Clock::default();
        let now = mono();
        assert!(!clock.is_told());
        assert!(clock.wall(now).since(local()) < Span::seconds(5));
        clock.note(Source::Tenant, Some(ONE), now);
        assert_eq!(clock.wall(now + Span::seconds(7)), stamp(ONE) + Span::seconds(7));
        assert!(clock.is_told());
        clock.note(Source::Sink, Some(NOON), now);
        clock.note(Source::Tenant, Some(ONE), now + Span::hours(1));
        assert_eq!(clock.wall(now + Span::hours(2)), stamp(NOON) + Span::hours(2));
    }

    #[test]
    fn an_unreadable_date_changes_nothing() {
        let mut clock = Clock::default();
        clock.note(Source::Sink, Some(NOON), Mono(1_000));
        clock.note(Source::Sink, Some("yesterday"), Mono(2_000));
        clock.note(Source::Sink, None, Mono(3_000));
        assert_eq!(clock.wall(Mono(4_000)), stamp(NOON) + Span::seconds(3));
    }

    #[test]
    fn the_schedule_clock_does_not_run_backwards() {
        let first = mono();
        assert!(mono() >= first);
        assert!(first > Mono::ZERO);
        // It counts from the boot; what counts from 1970 follows the calendar and its jumps (P8).
        assert!(first.since(Mono::ZERO) < Span::hours(24 * 365 * 30));
    }
}
