//! What time certificates are judged at: the highest of this machine's clock, the build's date, and
//! what a verified server last told.
//!
//! Promises: never less than any of them, so that a box without a battery works from its first
//! minute; a `Date` counts only if it came over a verified connection and lies within the life of
//! the very certificate that was verified; of two services that disagree the lower counts, so that
//! one whose clock is off can't shut the other out (keeps P8). Never: makes a certificate pass that
//! the highest of these clocks says has ended; sets a clock.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use super::certificate::Life;
use super::clock::{Anchor, BUILT_AT, Source, local, mono};
use super::secret::plain;
use crate::limits::{CLOCK_FILE_BYTES_MAX, CLOCK_KEPT_HOURS};
use crate::message::tell;
use crate::time::{Mono, Span, Stamp};

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
    tenant: Option<Anchor>,
    sink: Option<Anchor>,
    file: Option<PathBuf>,
    /// A failure to write is told once.
    complained: bool,
}

impl Told {
    /// What the services tell, or told an earlier process.
    fn floor(&self, now: Mono) -> Option<Stamp> {
        let told = [self.tenant, self.sink].into_iter().flatten();
        told.map(|anchor| anchor.carried_to(now)).min().or(self.kept)
    }
}

impl Judge {
    /// Begins with what an earlier process kept in the queue's directory. `may_write`: what is told
    /// now is kept there too.
    pub fn of_queue(dir: &Path, may_write: bool) -> Judge {
        let file = dir.join(FILE);
        let told = Told { kept: read(&file), file: may_write.then_some(file), ..Told::default() };
        Judge { told: Mutex::new(told) }
    }

    /// The time to judge certificates at.
    pub fn now(&self) -> Stamp {
        let floor = self.lock().floor(mono());
        local().max(BUILT_AT).max(floor.unwrap_or(BUILT_AT))
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
            Source::Tenant => told.tenant = anchor,
            Source::Sink => told.sink = anchor,
        }
        told.keep(now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Writes the time down when the file is a day behind, which is one small write a day.
    fn keep(&mut self, now: Mono) {
        let (Some(file), Some(floor)) = (&self.file, self.floor(now)) else { return };
        let stale = Span::hours(CLOCK_KEPT_HOURS);
        let is_due =
            self.kept.is_none_or(|kept| floor.since(kept) >= stale || kept.since(floor) >= stale);
        // Before the queue is there, there is no place for it.
        if !is_due || !file.parent().is_some_and(Path::is_dir) {
            return;
        }
        // Kept or not, the next attempt is a day away: the flash is spared.
        self.kept = Some(floor);
        if let Err(why) = write(file, floor)
            && !self.complained
        {
            self.complained = true;
            tell!(
                CLOCK_NOT_KEPT,
                "Failed to keep the time in {}: {}. After a power cut, certificates newer than \
                 this program can't be judged before the clock is set",
                file.display(),
                plain(&why)
            );
        }
    }
}

impl TimeProvider for Judge {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(self.now()))
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

fn unix(stamp: Stamp) -> UnixTime {
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
    let mut out = File::create(&new)?;
    out.write_all(format!("{}\n", stamp.to_the_second()).as_bytes())?;
    out.sync_all()?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::loopback::scratch_dir;

    fn days(days: u64) -> Span {
        Span::hours(24 * days)
    }

    fn life(from: Stamp, until: Stamp) -> Life {
        Life { begins: from, ends: until }
    }

    #[test]
    fn the_time_is_never_below_the_build_nor_the_local_clock() {
        let judge = Judge::default();
        // The clock goes on between two looks, so the local one is looked at first.
        let before = local();
        assert!(judge.now() >= BUILT_AT.max(before));
        let long = life(Stamp::EPOCH, BUILT_AT + days(40_000));
        judge.hear(Source::Sink, BUILT_AT - days(4_000), long, mono());
        let before = local();
        assert!(judge.now() >= BUILT_AT.max(before));
    }

    #[test]
    fn what_a_verified_server_told_is_carried_forward_and_the_lower_of_two_counts() {
        let judge = Judge::default();
        let (now, ahead) = (mono(), local().max(BUILT_AT));
        let long = life(Stamp::EPOCH, ahead + days(40_000));
        judge.hear(Source::Tenant, ahead + days(100), long, now);
        assert!(judge.now() >= ahead + days(100));
        judge.hear(Source::Sink, ahead + days(10), long, now);
        assert!(judge.now() >= ahead + days(10) && judge.now() < ahead + days(11));
    }

    #[test]
    fn a_date_outside_the_life_of_the_certificate_that_vouches_for_it_is_not_taken() {
        let judge = Judge::default();
        let ahead = local().max(BUILT_AT);
        judge.hear(Source::Sink, ahead + days(100), life(ahead, ahead + days(90)), mono());
        assert!(judge.now() < ahead + days(1));
    }

    #[test]
    fn the_time_outlives_the_process_and_is_written_once_a_day() {
        let dir = scratch_dir("judge");
        let ahead = local().max(BUILT_AT) + days(50);
        let long = life(Stamp::EPOCH, ahead + days(90));
        let looks = Judge::of_queue(dir.path(), false);
        looks.hear(Source::Sink, ahead, long, mono());
        assert_eq!(read(&dir.path().join(FILE)), None, "a look writes nothing");
        let judge = Judge::of_queue(dir.path(), true);
        for (hours, kept) in [(0, 0), (23, 0), (25, 25)] {
            judge.hear(Source::Sink, ahead + Span::hours(hours), long, mono());
            let found = read(&dir.path().join(FILE)).unwrap();
            assert_eq!(found.to_the_second(), (ahead + Span::hours(kept)).to_the_second());
        }
        let next = Judge::of_queue(dir.path(), true);
        assert!(next.now() > ahead);
        // A service that tells an earlier time is believed over the file.
        next.hear(Source::Sink, ahead - days(49), long, mono());
        assert!(next.now() < ahead);
        fs::write(dir.path().join(FILE), "2125-").unwrap();
        assert!(Judge::of_queue(dir.path(), true).now() < ahead);
    }
}
