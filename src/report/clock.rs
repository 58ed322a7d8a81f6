//! The messages about this machine's clock: one when it is off, one when it is right again.
//!
//! Promises: a clock that is off is reported once, however its offset changes; services whose
//! clocks keep changing can't fill the log (keeps P10). Never: reads a clock.

use super::changes::Line;
use crate::message;
use crate::os::clock::Verdict;
use crate::time::{Mono, Span};

/// The least time between two lines, so that a service whose `Date` jumps does not cause many.
const QUIET: Span = Span::hours(1);

/// The clock's present verdict, and what was reported of it.
#[derive(Debug)]
pub struct Reported {
    now: Verdict,
    off: bool,
    at: Option<Mono>,
}

impl Default for Reported {
    fn default() -> Reported {
        Reported { now: Verdict::Unknown, off: false, at: None }
    }
}

impl Reported {
    pub fn now(&self) -> Verdict {
        self.now
    }

    /// Takes the verdict; returns the line to log.
    pub fn observe(&mut self, verdict: Verdict, now: Mono) -> Option<Line> {
        self.now = verdict;
        let quiet = self.at.is_some_and(|at| now.since(at) < QUIET);
        // Good news is logged at once: somebody has probably just set the clock and waits for it.
        let is_news = verdict.is_off() != self.off && !(quiet && verdict.is_off());
        if !is_news || verdict == Verdict::Unknown {
            return None;
        }
        (self.off, self.at) = (verdict.is_off(), Some(now));
        let advice = "Records keep their own times, but certificate checks depend on it: set it \
            (NTP). If it is right, a service's is wrong: `s1-coralogix check` compares them";
        Some(match verdict {
            Verdict::Ahead(span) => (
                message::CLOCK_OFF,
                format!("This machine's clock is {span} ahead of the services'. {advice}"),
            ),
            Verdict::Behind(span) => (
                message::CLOCK_OFF,
                format!("This machine's clock is {span} behind the services'. {advice}"),
            ),
            Verdict::BeforeBuild => (
                message::CLOCK_BEFORE_BUILD,
                format!(
                    "This machine's clock is before the build date of this program, so it is \
                     wrong. Until it is set, the expiry of certificates is checked against the \
                     build date, and their start against the latest time received from a service. \
                     {advice}"
                ),
            ),
            Verdict::Right | Verdict::Unknown => {
                (message::CLOCK_RIGHT, "This machine's clock agrees with the services'".to_owned())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_once_and_its_setting_too() {
        let mut reported = Reported::default();
        let at = |minute: u64| Mono(minute * 60_000);
        assert_eq!(reported.observe(Verdict::Unknown, at(0)), None);
        let (code, line) = reported.observe(Verdict::BeforeBuild, at(1)).unwrap();
        assert_eq!(code, message::CLOCK_BEFORE_BUILD);
        assert!(line.contains("before the build date of this program"), "{line}");
        for minute in 2..500 {
            assert_eq!(reported.observe(Verdict::Behind(Span::hours(minute)), at(minute)), None);
        }
        assert_eq!(reported.observe(Verdict::Right, at(501)).unwrap().0, message::CLOCK_RIGHT);
        assert_eq!(reported.observe(Verdict::Right, at(502)), None);
    }

    #[test]
    fn a_clock_that_comes_and_goes_cannot_fill_the_log() {
        let mut reported = Reported::default();
        let mut lines = 0;
        for second in 0..86_400 {
            let off = Verdict::Ahead(Span::hours(1));
            let verdict = if second % 2 == 0 { off } else { Verdict::Right };
            lines += u32::from(reported.observe(verdict, Mono(second * 1_000)).is_some());
        }
        assert!((2..=48).contains(&lines), "{lines} lines in a day");
    }
}
