//! The time at which certificates are verified.
//!
//! The base is the later of this machine's clock and the program's build date. A certificate that
//! has expired by it is refused. One that is not valid yet by it may still be accepted: the clock
//! of a device without a battery is behind, and any verified service may have sent a later time. A
//! received time can show that a certificate has *expired* only where this machine's clock can't be
//! right (it is before the build date), and then only a time on which a tenant and Coralogix agree,
//! or one that this very server sent.
//!
//! Promises: one service whose clock is off can't shut another out, now or after a restart, for what is
//! kept in `clock` was sent by two and only helps as well (keeps P8); a `Date` counts only if it came
//! over a verified connection and lies within the validity of the certificate that was verified. Never: sets
//! a clock.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use super::certificate::Validity;
use crate::limits::{CLOCK_FILE_BYTES_MAX, CLOCK_KEPT_HOURS};
use crate::message::log_message;
use crate::os::clock::{Anchor, Moment, Source, agree, local};
use crate::os::made::{self, Readers};
use crate::os::regular;
use crate::os::secret::plain;
use crate::os::watch::{self, On};
use crate::time::{BUILT_AT, Mono, Span, Stamp};

/// The file in the queue's directory that keeps the last time received over a power cut.
pub const FILE: &str = "clock";

/// The clock of certificates, shared by every connection.
#[derive(Debug, Default)]
pub struct CertificateClock {
    received: Mutex<ReceivedTimes>,
}

#[derive(Debug, Default)]
struct ReceivedTimes {
    /// The time in the file, written by an earlier process.
    kept: Option<Stamp>,
    /// By the integration's index in the config.
    tenants: Vec<Option<Anchor>>,
    sink: Option<Anchor>,
    file: Option<PathBuf>,
    /// Whether a failure to write was reported, which is done once.
    is_failure_reported: bool,
}

impl ReceivedTimes {
    fn tenants(&self, now: Mono) -> impl Iterator<Item = Stamp> {
        self.tenants.iter().flatten().map(move |anchor| anchor.carried_to(now))
    }

    fn sink(&self, now: Mono) -> Option<Stamp> {
        self.sink.map(|anchor| anchor.carried_to(now))
    }

    /// The latest time that any service sent: it is a claim, not confirmed.
    fn latest(&self, now: Mono) -> Option<Stamp> {
        self.tenants(now).chain(self.sink(now)).chain(self.kept).max()
    }

    /// The earlier of what a tenant and Coralogix sent, where the two agree.
    fn agreed(&self, now: Mono) -> Option<Stamp> {
        let sink = self.sink(now)?;
        self.tenants(now).filter(|tenant| agree(*tenant, sink)).map(|tenant| tenant.min(sink)).min()
    }
}

/// What is known of the server whose certificate is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    pub validity: Option<Validity>,
    /// The `Date` that this server sent itself, over a verified connection.
    pub own: Option<Anchor>,
}

impl CertificateClock {
    /// Reads the time that an earlier process wrote into the queue's directory. `may_write`: times
    /// received from now on are written there too.
    pub fn of_queue(dir: &Path, may_write: bool) -> CertificateClock {
        let file = dir.join(FILE);
        let received = ReceivedTimes {
            kept: read(&file),
            file: may_write.then_some(file),
            ..ReceivedTimes::default()
        };
        CertificateClock { received: Mutex::new(received) }
    }

    /// Calls `verify` with each time that may decide.
    pub fn verdict<T>(
        &self,
        shown: Shown,
        now: Moment,
        verify: impl Fn(Stamp) -> Result<T, rustls::Error>,
    ) -> Result<T, rustls::Error> {
        let base = now.local.max(BUILT_AT);
        let (latest, agreed) = {
            let received = self.lock();
            (received.latest(now.mono), received.agreed(now.mono))
        };
        let accepted = match (verify(base), latest) {
            (Err(why), Some(latest)) if begins_later(&why) && latest > base => {
                // A time beyond the certificate's end would make it expired instead of valid, so
                // the end is the latest that is tried.
                let at = shown.validity.map_or(latest, |validity| latest.min(validity.ends));
                verify(at).map_err(|_| why)?
            }
            (verdict, _) => verdict?,
        };
        if now.local < BUILT_AT {
            let own = shown.own.map(|anchor| anchor.carried_to(now.mono));
            for later in own.into_iter().chain(agreed).filter(|time| *time > base) {
                if let Err(why) = verify(later)
                    && has_ended(&why)
                {
                    return Err(why);
                }
            }
        }
        Ok(accepted)
    }

    /// Takes the date that a server sent over a verified connection. `validity`: that of the
    /// verified certificate; a date outside of it is ignored.
    pub fn observe(&self, source: Source, date: Stamp, validity: Validity, now: Mono) {
        if !validity.holds(date) {
            return;
        }
        let mut received = self.lock();
        let anchor = Some(Anchor { date, at: now });
        match source {
            Source::Tenant(tenant) => {
                let known = received.tenants.len().max(tenant + 1);
                received.tenants.resize(known, None);
                received.tenants[tenant] = anchor;
            }
            Source::Sink => received.sink = anchor,
        }
        received.keep(now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ReceivedTimes> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begins_later(why: &rustls::Error) -> bool {
    use CertificateError::{NotValidYet, NotValidYetContext};
    matches!(why, rustls::Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }))
}

fn has_ended(why: &rustls::Error) -> bool {
    use CertificateError::{Expired, ExpiredContext};
    matches!(why, rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }))
}

impl ReceivedTimes {
    /// Writes the time down when the file is a day behind, which is one small write a day.
    fn keep(&mut self, now: Mono) {
        let (Some(file), Some(agreed)) = (&self.file, self.agreed(now)) else { return };
        let stale = Span::hours(CLOCK_KEPT_HOURS);
        let is_due =
            self.kept.is_none_or(|kept| agreed.since(kept) >= stale || kept.since(agreed) >= stale);
        // The directory does not exist before the queue is created.
        if !is_due || !file.parent().is_some_and(Path::is_dir) {
            return;
        }
        // Whether the write succeeds or not, the next one is a day away: it spares the flash
        // memory.
        self.kept = Some(agreed);
        if let Err(why) = watch::within("keeping the time", On::Queue, || write(file, agreed))
            && !self.is_failure_reported
        {
            self.is_failure_reported = true;
            log_message!(
                CLOCK_NOT_KEPT,
                "Failed to keep the time in {}: {}. After a power cut, certificates newer than \
                 this program can't be checked until the clock is set",
                file.display(),
                plain(&why)
            );
        }
    }
}

/// rustls itself asks for one time; it gets the base.
impl TimeProvider for CertificateClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(local().max(BUILT_AT)))
    }
}

/// A clock with one fixed time: only for asking a server for its time.
#[derive(Debug)]
pub struct Fixed(pub Stamp);

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(self.0))
    }
}

pub fn unix(stamp: Stamp) -> UnixTime {
    let seconds = u64::try_from(stamp.0.div_euclid(1_000_000)).unwrap_or(0);
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

/// What is missing, truncated, malformed or no regular file gives no time, and is replaced by the next
/// one.
fn read(file: &Path) -> Option<Stamp> {
    let mut text = String::new();
    regular::open(file).ok()?.take(CLOCK_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Stamp::parse(text.trim())
}

/// Written whole or not at all, and fsynced: it is needed after a power cut.
fn write(file: &Path, stamp: Stamp) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut out = made::file_anew(&new, Readers::Owner)?;
    out.write_all(format!("{}\n", stamp.to_the_second()).as_bytes())?;
    out.sync_all()?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world::temp::TempDir;

    const LONG: Validity = Validity { begins: Stamp::EPOCH, ends: Stamp(i64::MAX) };
    const TENANT: Source = Source::Tenant(0);

    fn days(days: u64) -> Span {
        Span::hours(24 * days)
    }

    /// So many days after the program was made.
    fn day(n: u64) -> Stamp {
        BUILT_AT + days(n)
    }

    /// A machine whose clock says so.
    fn at(local: Stamp) -> Moment {
        Moment { mono: Mono(5_000), local }
    }

    /// Without a battery.
    fn in_1970() -> Moment {
        at(Stamp::from_seconds(10))
    }

    /// How a certificate fares that is valid from day to day.
    fn verdict_of(
        clock: &CertificateClock,
        now: Moment,
        validity: (u64, u64),
        own: Option<Anchor>,
    ) -> &'static str {
        let validity = Validity { begins: day(validity.0), ends: day(validity.1) };
        let verify = |time: Stamp| {
            let error = match time {
                time if time < validity.begins => CertificateError::NotValidYet,
                time if time > validity.ends => CertificateError::Expired,
                _ => return Ok(()),
            };
            Err(rustls::Error::InvalidCertificate(error))
        };
        match clock.verdict(Shown { validity: Some(validity), own }, now, verify) {
            Ok(()) => "valid",
            Err(why) if begins_later(&why) => "not begun",
            Err(_) => "ended",
        }
    }

    fn clock_of(claims: &[(Source, u64)]) -> CertificateClock {
        let clock = CertificateClock::default();
        claims.iter().for_each(|(source, n)| clock.observe(*source, day(*n), LONG, Mono(5_000)));
        clock
    }

    #[test]
    fn a_plausible_clock_alone_says_that_a_certificate_has_ended() {
        let both = [(TENANT, 100), (Source::Sink, 100)];
        for claims in [&[][..], &both[..1], &both[1..], &both[..]] {
            let clock = clock_of(claims);
            let own = Some(Anchor { date: day(100), at: Mono(0) });
            assert_eq!(verdict_of(&clock, at(day(5)), (0, 30), own), "valid", "{claims:?}");
            assert_eq!(verdict_of(&clock, at(day(31)), (0, 30), own), "ended", "{claims:?}");
            assert_eq!(verdict_of(&clock, at(day(0)), (0, 30), own), "valid", "as old as this");
        }
    }

    #[test]
    fn any_received_time_makes_a_certificate_begin_and_none_that_is_too_late_ends_it() {
        for now in [at(day(2)), in_1970()] {
            assert_eq!(verdict_of(&clock_of(&[]), now, (10, 30), None), "not begun");
            for claim in [(TENANT, 12), (Source::Sink, 12), (TENANT, 100)] {
                assert_eq!(
                    verdict_of(&clock_of(&[claim]), now, (10, 30), None),
                    "valid",
                    "{claim:?}"
                );
            }
            assert_eq!(verdict_of(&clock_of(&[(TENANT, 9)]), now, (10, 30), None), "not begun");
        }
    }

    #[test]
    fn without_a_clock_of_its_own_a_machine_needs_two_services_or_the_server_itself_for_an_end() {
        let now = in_1970();
        for validity in [(0, 30), (10, 30)] {
            for claims in
                [&[(TENANT, 100)][..], &[(Source::Sink, 100)], &[(TENANT, 100), (Source::Sink, 20)]]
            {
                assert_eq!(
                    verdict_of(&clock_of(claims), now, validity, None),
                    "valid",
                    "{claims:?}"
                );
            }
            let agreed = clock_of(&[(Source::Tenant(1), 3), (TENANT, 100), (Source::Sink, 100)]);
            assert_eq!(verdict_of(&agreed, now, validity, None), "ended");
        }
        // What two agree on may be before the certificate's begin, which a third has seen pass.
        let early = clock_of(&[(Source::Tenant(1), 5), (TENANT, 100), (Source::Sink, 5)]);
        assert_eq!(verdict_of(&early, now, (10, 30), None), "valid");
        let own = |n| Some(Anchor { date: day(n), at: now.mono });
        assert_eq!(verdict_of(&clock_of(&[]), now, (0, 30), own(31)), "ended");
        assert_eq!(verdict_of(&clock_of(&[]), now, (0, 30), own(29)), "valid");
    }

    #[test]
    fn a_date_outside_the_validity_of_the_certificate_that_carried_it_is_not_taken() {
        let clock = CertificateClock::default();
        clock.observe(Source::Sink, day(100), Validity { begins: day(0), ends: day(90) }, Mono(0));
        assert_eq!(verdict_of(&clock, at(day(1)), (50, 60), None), "not begun");
    }

    #[test]
    fn a_pipe_in_the_place_of_the_file_gives_no_time_and_is_not_waited_for() {
        let dir = TempDir::new("certificate-clock-pipe");
        let file = dir.path().join(FILE);
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, 0o600.into()).unwrap();
        let clock = CertificateClock::of_queue(dir.path(), true);
        assert_eq!(verdict_of(&clock, in_1970(), (20, 90), None), "not begun");
        for source in [TENANT, Source::Sink] {
            clock.observe(source, day(50), LONG, Mono(0));
        }
        assert_eq!(read(&file), Some(day(50)), "the next time takes its place");
    }

    #[test]
    fn a_time_that_can_not_be_kept_is_told_once() {
        let dir = TempDir::new("certificate-clock-full");
        fs::create_dir(dir.path().join("clock.new")).unwrap();
        let clock = CertificateClock::of_queue(dir.path(), true);
        for n in [50, 60] {
            clock.observe(TENANT, day(n), LONG, Mono(0));
            clock.observe(Source::Sink, day(n), LONG, Mono(0));
            assert!(clock.lock().is_failure_reported);
        }
        assert_eq!(read(&dir.path().join(FILE)), None);
    }

    #[test]
    fn only_what_two_services_send_outlives_the_process_and_is_written_once_a_day() {
        let dir = TempDir::new("certificate-clock");
        let file = dir.path().join(FILE);
        let observe =
            |clock: &CertificateClock, source, date| clock.observe(source, date, LONG, Mono(0));
        let looks = CertificateClock::of_queue(dir.path(), false);
        observe(&looks, TENANT, day(50));
        observe(&looks, Source::Sink, day(50));
        assert_eq!(read(&file), None, "a look writes nothing");

        let clock = CertificateClock::of_queue(dir.path(), true);
        observe(&clock, TENANT, day(150));
        assert_eq!(read(&file), None, "one service alone");
        observe(&clock, Source::Sink, day(50));
        assert_eq!(read(&file), None, "they disagree");
        for (hours, kept) in [(0, 0), (23, 0), (25, 25), (49, 49), (25, 25), (1, 1)] {
            observe(&clock, TENANT, day(50) + Span::hours(hours));
            observe(&clock, Source::Sink, day(50) + Span::hours(hours));
            assert_eq!(read(&file), Some(day(50) + Span::hours(kept)));
        }
        let next = CertificateClock::of_queue(dir.path(), true);
        assert_eq!(verdict_of(&next, in_1970(), (20, 90), None), "valid");
        // What was kept, true or not, ends nothing.
        assert_eq!(verdict_of(&next, in_1970(), (0, 30), None), "valid");
        assert_eq!(verdict_of(&next, at(day(1)), (0, 30), None), "valid");
        for torn in ["2125-", ""] {
            fs::write(&file, torn).unwrap();
            let next = CertificateClock::of_queue(dir.path(), true);
            assert_eq!(verdict_of(&next, in_1970(), (20, 90), None), "not begun");
        }
    }
}
