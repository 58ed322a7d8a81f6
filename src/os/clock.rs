//! This machine's two clocks, one for schedules and one for the calendar, and what an answer's `Date`
//! adds to them.
//!
//! Promises: schedules never see the calendar; the calendar follows the services, not the box,
//! as soon as one has answered (keeps P8). Never: sets a clock. What the services sent is kept by
//! `service_times`.

use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};

use crate::limits::CLOCK_OFF_MINUTES;
use crate::time::{Mono, Span, Stamp};

/// Which service sent a `Date`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// By the integration's index in the config.
    Tenant(usize),
    Sink,
}

/// A date and when it was received.
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

/// This machine's two clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub mono: Mono,
    pub local: Stamp,
}

impl Moment {
    pub fn now() -> Moment {
        Moment { mono: mono(), local: local() }
    }
}

/// Whether two clocks are so near to each other that neither is considered wrong.
pub fn agree(one: Stamp, other: Stamp) -> bool {
    Verdict::of(one, other) == Verdict::Right
}

/// How this machine's clock compares with the services'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No service has sent the time yet.
    Unknown,
    Right,
    Ahead(Span),
    Behind(Span),
    /// No service has sent the time yet, but this machine's clock is before the build date.
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

    /// How far this machine's clock is ahead; negative when it is behind.
    pub fn ahead_seconds(self) -> Option<i64> {
        let seconds = |span: Span| i64::try_from(span.as_ms() / 1_000).unwrap_or(i64::MAX);
        match self {
            Verdict::Ahead(span) => Some(seconds(span)),
            Verdict::Behind(span) => Some(-seconds(span)),
            Verdict::Unknown | Verdict::Right | Verdict::BeforeBuild => None,
        }
    }
}

/// The clock of all schedules. CLOCK_BOOTTIME, because time in suspend counts as passed: a device
/// that slept eight hours has polls due at once, and its calendar stays right.
pub fn mono() -> Mono {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let ms = u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000;
    Mono(seconds.saturating_mul(1_000).saturating_add(ms))
}

/// The clock from which the kernel takes the times of files.
pub fn of_files() -> Stamp {
    system()
}

/// This machine's calendar time. May be decades off.
pub fn local() -> Stamp {
    #[cfg(debug_assertions)]
    return shifted(system());
    #[cfg(not(debug_assertions))]
    system()
}

/// In a build for tests only: lets a test set the clock, as a person sets a machine's. The variable
/// names a file with the seconds to add, which is read at each call. A release build ignores it.
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

#[expect(clippy::disallowed_methods, reason = "this module reads the clocks")]
fn system() -> Stamp {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => Stamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
        Err(before) => Stamp(0) - Span::ms(before.duration().as_millis() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::BUILT_AT;

    #[test]
    fn a_clock_that_is_minutes_off_is_off() {
        let (ours, most) = (local(), Span::minutes(CLOCK_OFF_MINUTES));
        assert_eq!(Verdict::of(ours, ours + most), Verdict::Right);
        assert_eq!(Verdict::of(ours + most, ours), Verdict::Right);
        let more = Span(most.0 + 1_000);
        assert_eq!(Verdict::of(ours + more, ours).ahead_seconds(), Some(301));
        assert_eq!(Verdict::of(ours, ours + more).ahead_seconds(), Some(-301));
    }

    #[test]
    fn each_verdict_has_its_code() {
        for (verdict, code, is_off) in [
            (Verdict::Unknown, "unknown", false),
            (Verdict::Right, "right", false),
            (Verdict::Ahead(Span::hours(1)), "ahead", true),
            (Verdict::Behind(Span::hours(1)), "behind", true),
            (Verdict::BeforeBuild, "before_build", true),
        ] {
            assert_eq!((verdict.code(), verdict.is_off()), (code, is_off));
        }
    }

    #[test]
    fn files_are_dated_by_the_clock_of_the_kernel() {
        let dir = crate::test_world::temp::TempDir::new("clock-files");
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let written = std::fs::metadata(&file).unwrap().modified().unwrap();
        let written = written.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let written = Stamp(i64::try_from(written.as_micros()).unwrap());
        let now = of_files();
        assert!(
            now.since(written).max(written.since(now)) < Span::minutes(1),
            "{written:?} {now:?}"
        );
    }

    #[test]
    fn the_build_is_older_than_now() {
        assert!(BUILT_AT <= local() && BUILT_AT > Stamp::parse("2026-01-01T00:00:00Z").unwrap());
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
