//! What time certificates are judged at, one by one.
//!
//! The base is the later of this machine's clock and the program's date. A certificate that has ended
//! by it is refused. One that has not begun by it may still be taken: a box without a battery is behind,
//! and any service that was verified may have told a later time. That a certificate has *ended* follows
//! from a told time only where this machine's clock can't be right (it is before the program's date),
//! and then only from a time on which a tenant and Coralogix agree, or from what that very server told.
//!
//! Promises: one service whose clock is off can't shut another out, now or after a restart, for what is
//! kept in `clock` was told by two and only helps as well (keeps P8); a `Date` counts only if it came
//! over a verified connection and lies within the life of the certificate that was verified. Never: sets
//! a clock.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use super::certificate::Life;
use super::clock::{Anchor, Moment, Source, agree, local};
use super::made::{self, Readers};
use super::secret::plain;
use crate::limits::{CLOCK_FILE_BYTES_MAX, CLOCK_KEPT_HOURS};
use crate::message::tell;
use crate::time::{BUILT_AT, Mono, Span, Stamp};

/// The file in the queue's directory that keeps the last time told over a power cut.
pub const FILE: &str = "clock";

/// The judge, shared by every connection.
#[derive(Debug, Default)]
pub struct Judge {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// By an earlier process.
    kept: Option<Stamp>,
    /// By their place in the config.
    tenants: Vec<Option<Anchor>>,
    sink: Option<Anchor>,
    file: Option<PathBuf>,
    /// A failure to write is told once.
    complained: bool,
}

impl Told {
    fn tenants(&self, now: Mono) -> impl Iterator<Item = Stamp> {
        self.tenants.iter().flatten().map(move |anchor| anchor.carried_to(now))
    }

    fn sink(&self, now: Mono) -> Option<Stamp> {
        self.sink.map(|anchor| anchor.carried_to(now))
    }

    /// The latest that anybody told: a claim.
    fn latest(&self, now: Mono) -> Option<Stamp> {
        self.tenants(now).chain(self.sink(now)).chain(self.kept).max()
    }

    /// The lower of what a tenant and Coralogix tell, where they agree.
    fn agreed(&self, now: Mono) -> Option<Stamp> {
        let sink = self.sink(now)?;
        self.tenants(now).filter(|tenant| agree(*tenant, sink)).map(|told| told.min(sink)).min()
    }
}

/// What is known of the server whose certificate is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    pub life: Option<Life>,
    /// What it told itself, over a connection that was verified.
    pub own: Option<Anchor>,
}

impl Judge {
    /// Begins with what an earlier process kept in the queue's directory. `may_write`: what is told
    /// now is kept there too.
    pub fn of_queue(dir: &Path, may_write: bool) -> Judge {
        let file = dir.join(FILE);
        let told = Told { kept: read(&file), file: may_write.then_some(file), ..Told::default() };
        Judge { told: Mutex::new(told) }
    }

    /// Asks `verify` about a certificate at each time that may decide.
    pub fn verdict<T>(
        &self,
        shown: Shown,
        now: Moment,
        verify: impl Fn(Stamp) -> Result<T, rustls::Error>,
    ) -> Result<T, rustls::Error> {
        let base = now.local.max(BUILT_AT);
        let (latest, agreed) = {
            let told = self.lock();
            (told.latest(now.mono), told.agreed(now.mono))
        };
        let accepted = match (verify(base), latest) {
            (Err(why), Some(told)) if begins_later(&why) && told > base => {
                // One that told too late a time makes it begin, and not end.
                let at = shown.life.map_or(told, |life| told.min(life.ends));
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

    /// Takes the date that a server told over a verified connection. `life`: how long the
    /// certificate that was verified is valid.
    pub fn hear(&self, source: Source, date: Stamp, life: Life, now: Mono) {
        if !life.holds(date) {
            return;
        }
        let mut told = self.lock();
        let anchor = Some(Anchor { date, at: now });
        match source {
            Source::Tenant(tenant) => {
                let known = told.tenants.len().max(tenant + 1);
                told.tenants.resize(known, None);
                told.tenants[tenant] = anchor;
            }
            Source::Sink => told.sink = anchor,
        }
        told.keep(now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Told {
    /// Writes the time down when the file is a day behind, which is one small write a day.
    fn keep(&mut self, now: Mono) {
        let (Some(file), Some(agreed)) = (&self.file, self.agreed(now)) else { return };
        let stale = Span::hours(CLOCK_KEPT_HOURS);
        let is_due =
            self.kept.is_none_or(|kept| agreed.since(kept) >= stale || kept.since(agreed) >= stale);
        // Before the queue is there, there is no place for it.
        if !is_due || !file.parent().is_some_and(Path::is_dir) {
            return;
        }
        // Kept or not, the next attempt is a day away: the flash is spared.
        self.kept = Some(agreed);
        if let Err(why) = write(file, agreed)
            && !self.complained
        {
            self.complained = true;
            tell!(
                CLOCK_NOT_KEPT,
                "Failed to keep the time in {}: {}. After a power cut, certificates newer than \
                 this program can't be checked until the clock is set",
                file.display(),
                plain(&why)
            );
        }
    }
}

/// The base, which is all that TLS itself wants to know.
impl TimeProvider for Judge {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(local().max(BUILT_AT)))
    }
}

/// A judge that goes by one fixed time: for asking a server for its time, never for more.
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

/// A file that is not there, cut or strange keeps nothing.
fn read(file: &Path) -> Option<Stamp> {
    let mut text = String::new();
    File::open(file).ok()?.take(CLOCK_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Stamp::parse(text.trim())
}

/// Whole or not at all, and on the medium: it is needed after a power cut.
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
    use crate::edge::loopback::scratch_dir;

    const LONG: Life = Life { begins: Stamp::EPOCH, ends: Stamp(i64::MAX) };
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
    fn judged(judge: &Judge, now: Moment, life: (u64, u64), own: Option<Anchor>) -> &'static str {
        let life = Life { begins: day(life.0), ends: day(life.1) };
        let verify = |time: Stamp| {
            let error = match time {
                time if time < life.begins => CertificateError::NotValidYet,
                time if time > life.ends => CertificateError::Expired,
                _ => return Ok(()),
            };
            Err(rustls::Error::InvalidCertificate(error))
        };
        match judge.verdict(Shown { life: Some(life), own }, now, verify) {
            Ok(()) => "valid",
            Err(why) if begins_later(&why) => "not begun",
            Err(_) => "ended",
        }
    }

    fn told(claims: &[(Source, u64)]) -> Judge {
        let judge = Judge::default();
        claims.iter().for_each(|(source, n)| judge.hear(*source, day(*n), LONG, Mono(5_000)));
        judge
    }

    #[test]
    fn a_plausible_clock_alone_says_that_a_certificate_has_ended() {
        let both = [(TENANT, 100), (Source::Sink, 100)];
        for claims in [&[][..], &both[..1], &both[1..], &both[..]] {
            let judge = told(claims);
            let own = Some(Anchor { date: day(100), at: Mono(0) });
            assert_eq!(judged(&judge, at(day(5)), (0, 30), own), "valid", "{claims:?}");
            assert_eq!(judged(&judge, at(day(31)), (0, 30), own), "ended", "{claims:?}");
        }
    }

    #[test]
    fn any_told_time_makes_a_certificate_begin_and_none_that_is_too_late_ends_it() {
        for now in [at(day(2)), in_1970()] {
            assert_eq!(judged(&told(&[]), now, (10, 30), None), "not begun");
            for claim in [(TENANT, 12), (Source::Sink, 12), (TENANT, 100)] {
                assert_eq!(judged(&told(&[claim]), now, (10, 30), None), "valid", "{claim:?}");
            }
            assert_eq!(judged(&told(&[(TENANT, 9)]), now, (10, 30), None), "not begun");
        }
    }

    #[test]
    fn without_a_clock_of_its_own_a_machine_needs_two_services_or_the_server_itself_for_an_end() {
        let now = in_1970();
        for life in [(0, 30), (10, 30)] {
            for claims in
                [&[(TENANT, 100)][..], &[(Source::Sink, 100)], &[(TENANT, 100), (Source::Sink, 20)]]
            {
                assert_eq!(judged(&told(claims), now, life, None), "valid", "{claims:?}");
            }
            let agreed = told(&[(Source::Tenant(1), 3), (TENANT, 100), (Source::Sink, 100)]);
            assert_eq!(judged(&agreed, now, life, None), "ended");
        }
        let own = |n| Some(Anchor { date: day(n), at: now.mono });
        assert_eq!(judged(&told(&[]), now, (0, 30), own(31)), "ended");
        assert_eq!(judged(&told(&[]), now, (0, 30), own(29)), "valid");
    }

    #[test]
    fn a_date_outside_the_life_of_the_certificate_that_vouches_for_it_is_not_taken() {
        let judge = Judge::default();
        judge.hear(Source::Sink, day(100), Life { begins: day(0), ends: day(90) }, Mono(0));
        assert_eq!(judged(&judge, at(day(1)), (50, 60), None), "not begun");
    }

    #[test]
    fn only_what_two_services_tell_outlives_the_process_and_is_written_once_a_day() {
        let dir = scratch_dir("judge");
        let file = dir.path().join(FILE);
        let hear = |judge: &Judge, source, date| judge.hear(source, date, LONG, Mono(0));
        let looks = Judge::of_queue(dir.path(), false);
        hear(&looks, TENANT, day(50));
        hear(&looks, Source::Sink, day(50));
        assert_eq!(read(&file), None, "a look writes nothing");

        let judge = Judge::of_queue(dir.path(), true);
        hear(&judge, TENANT, day(150));
        assert_eq!(read(&file), None, "one service alone");
        hear(&judge, Source::Sink, day(50));
        assert_eq!(read(&file), None, "they disagree");
        for (hours, kept) in [(0, 0), (23, 0), (25, 25), (1, 1)] {
            hear(&judge, TENANT, day(50) + Span::hours(hours));
            hear(&judge, Source::Sink, day(50) + Span::hours(hours));
            assert_eq!(read(&file), Some(day(50) + Span::hours(kept)));
        }
        let next = Judge::of_queue(dir.path(), true);
        assert_eq!(judged(&next, in_1970(), (20, 90), None), "valid");
        // What was kept, true or not, ends nothing.
        assert_eq!(judged(&next, in_1970(), (0, 30), None), "valid");
        assert_eq!(judged(&next, at(day(1)), (0, 30), None), "valid");
        for torn in ["2125-", ""] {
            fs::write(&file, torn).unwrap();
            let next = Judge::of_queue(dir.path(), true);
            assert_eq!(judged(&next, in_1970(), (20, 90), None), "not begun");
        }
    }
}
