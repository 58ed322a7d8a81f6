//! The two clocks: one for schedules, one for the calendar.
//!
//! Promises: schedules never see the calendar; the calendar follows the services, not the box,
//! as soon as one has answered (keeps P8). Never: sets a clock.

use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};

use crate::limits::CLOCK_OFF_MINUTES;
use crate::time::{Clocks, Mono, Span, Stamp};

/// No clock can rightly be before this: the build's date, or the release's (build.rs).
pub const BUILT_AT: Stamp = Stamp::from_seconds(match i64::from_str_radix(BUILT_AT_TEXT, 10) {
    Ok(seconds) => seconds,
    Err(_) => panic!("build.rs writes a whole number"),
});
const BUILT_AT_TEXT: &str = env!("S1_CORALOGIX_BUILT_AT");

/// Whose `Date` it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Tenant,
    Sink,
}

/// A date and when it was told.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    pub date: Stamp,
    pub at: Mono,
}

impl Anchor {
    pub fn carried_to(self, now: Mono) -> Stamp {
        self.date + now.since(self.at)
    }
}

/// Calendar time as the services tell it.
#[derive(Debug, Default)]
pub struct Clock {
    tenant: Option<Anchor>,
    sink: Option<Anchor>,
    /// Told by a server whose certificate does not fit this machine's clock. Shown to people only.
    doubted: Option<Anchor>,
}

/// How this machine's clock stands to the services'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No service has told the time yet.
    Unknown,
    Right,
    Ahead(Span),
    Behind(Span),
    /// No service has told the time yet, but it is before this program was built.
    BeforeBuild,
}

impl Verdict {
    pub fn of(ours: Stamp, theirs: Stamp) -> Verdict {
        let (ahead, behind) = (ours.since(theirs), theirs.since(ours));
        let most = Span::minutes(CLOCK_OFF_MINUTES);
        match (ahead > most, behind > most) {
            (true, _) => Verdict::Ahead(ahead),
            (_, true) => Verdict::Behind(behind),
            _ => Verdict::Right,
        }
    }

    /// Whether a person should set the clock.
    pub fn is_off(self) -> bool {
        matches!(self, Verdict::Ahead(_) | Verdict::Behind(_) | Verdict::BeforeBuild)
    }

    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            Verdict::Unknown => "unknown",
            Verdict::Right => "right",
            Verdict::Ahead(_) => "ahead",
            Verdict::Behind(_) => "behind",
            Verdict::BeforeBuild => "before_build",
        }
    }

    /// How far it is ahead, negative when it is behind.
    pub fn ahead_seconds(self) -> Option<i64> {
        let seconds = |span: Span| i64::try_from(span.as_ms() / 1_000).unwrap_or(i64::MAX);
        match self {
            Verdict::Ahead(span) => Some(seconds(span)),
            Verdict::Behind(span) => Some(-seconds(span)),
            Verdict::Unknown | Verdict::Right | Verdict::BeforeBuild => None,
        }
    }
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

    /// Takes the date of a server whose certificate does not fit this machine's clock.
    pub fn doubt(&mut self, date: Stamp, now: Mono) {
        self.doubted = Some(Anchor { date, at: now });
    }

    /// How this machine's clock stands now.
    pub fn verdict(&self, now: Mono) -> Verdict {
        match (self.sink.or(self.tenant).or(self.doubted), local()) {
            (Some(anchor), ours) => Verdict::of(ours, anchor.carried_to(now)),
            (None, ours) if ours < BUILT_AT => Verdict::BeforeBuild,
            (None, _) => Verdict::Unknown,
        }
    }

    /// Whether a service has told the time.
    pub fn is_told(&self) -> bool {
        self.sink.or(self.tenant).is_some()
    }

    /// What besides a tenant's own `Date` tells the present.
    pub fn witnesses(&self, now: Mono) -> Clocks {
        let ours = local();
        Clocks {
            local: (ours >= BUILT_AT).then_some(ours),
            sink: self.sink.map(|anchor| anchor.carried_to(now)),
        }
    }

    /// The sink's clock is preferred, for calendar time is only used to judge how old an entry
    /// will look to the sink: a tenant whose clock is off must not cost entries their time.
    pub fn wall(&self, now: Mono) -> Stamp {
        match self.sink.or(self.tenant) {
            Some(anchor) => anchor.carried_to(now),
            None => local().max(BUILT_AT),
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
pub fn local() -> Stamp {
    #[cfg(debug_assertions)]
    return shifted(system());
    #[cfg(not(debug_assertions))]
    system()
}

/// In a build for tests only: a clock that a test sets, as a person sets a machine's. The variable
/// names a file with the seconds to add, which is read at each look. A release has no such thing.
#[cfg(debug_assertions)]
fn shifted(now: Stamp) -> Stamp {
    static FILE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let file = FILE.get_or_init(|| super::host::variable("S1_CORALOGIX_TEST_CLOCK"));
    let seconds = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    match seconds.and_then(|text| text.trim().parse::<i64>().ok()) {
        Some(seconds) => Stamp(now.0.saturating_add(seconds.saturating_mul(1_000_000))),
        None => now,
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge reads the clocks")]
fn system() -> Stamp {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => Stamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
        Err(before) => Stamp(0) - Span::ms(before.duration().as_millis() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_clock_that_is_minutes_off_is_off_and_one_set_right_is_right_again() {
        let (ours, most) = (local(), Span::minutes(CLOCK_OFF_MINUTES));
        assert_eq!(Verdict::of(ours, ours + most), Verdict::Right);
        assert_eq!(Verdict::of(ours + most, ours), Verdict::Right);
        let more = Span(most.0 + 1_000);
        assert_eq!(Verdict::of(ours + more, ours).ahead_seconds(), Some(301));
        assert_eq!(Verdict::of(ours, ours + more).ahead_seconds(), Some(-301));
        let (mut clock, now) = (Clock::default(), mono());
        assert_eq!(clock.verdict(now), Verdict::Unknown);
        clock.doubt(ours - Span::hours(24), now);
        assert!(matches!(clock.verdict(now), Verdict::Ahead(_)));
        // A verified answer counts over a doubted one.
        clock.note(Source::Tenant, Some(NOON), now);
        let Verdict::Ahead(span) = clock.verdict(now) else { panic!("since 1994") };
        assert!(span > Span::hours(24 * 365 * 30));
    }

    #[test]
    fn the_build_is_older_than_now() {
        assert!(BUILT_AT <= local() && BUILT_AT > stamp(NOON));
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
