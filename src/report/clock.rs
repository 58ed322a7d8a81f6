//! What is said of this machine's clock: once when it is off, once when it is right again.
//!
//! Promises: a clock that is off is told once, however its offset moves; services whose clocks come
//! and go can't fill the log (keeps P10). Never: reads a clock.

use super::changes::Line;
use crate::edge::clock::Verdict;
use crate::message;
use crate::time::{Mono, Span};

/// Between two lines, so that a service whose `Date` jumps is not repeated.
const QUIET: Span = Span::hours(1);

/// How the clock stands, and what was told of it.
#[derive(Debug)]
pub struct Told {
    now: Verdict,
    off: bool,
    at: Option<Mono>,
}

impl Default for Told {
    fn default() -> Told {
        Told { now: Verdict::Unknown, off: false, at: None }
    }
}

impl Told {
    pub fn now(&self) -> Verdict {
        self.now
    }

    /// What is to be said now.
    pub fn hear(&mut self, verdict: Verdict, now: Mono) -> Option<Line> {
        self.now = verdict;
        let quiet = self.at.is_some_and(|at| now.since(at) < QUIET);
        // The first good news comes at once: somebody has just set the clock and looks.
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
        let mut told = Told::default();
        let at = |minute: u64| Mono(minute * 60_000);
        assert_eq!(told.hear(Verdict::Unknown, at(0)), None);
        let (code, line) = told.hear(Verdict::BeforeBuild, at(1)).unwrap();
        assert_eq!(code, message::CLOCK_BEFORE_BUILD);
        assert!(line.contains("before the build date of this program"), "{line}");
        for minute in 2..500 {
            assert_eq!(told.hear(Verdict::Behind(Span::hours(minute)), at(minute)), None);
        }
        assert_eq!(told.hear(Verdict::Right, at(501)).unwrap().0, message::CLOCK_RIGHT);
        assert_eq!(told.hear(Verdict::Right, at(502)), None);
    }

    #[test]
    fn a_clock_that_comes_and_goes_cannot_fill_the_log() {
        let mut told = Told::default();
        let mut lines = 0;
        for second in 0..86_400 {
            let off = Verdict::Ahead(Span::hours(1));
            let verdict = if second % 2 == 0 { off } else { Verdict::Right };
            lines += u32::from(told.hear(verdict, Mono(second * 1_000)).is_some());
        }
        assert!((2..=48).contains(&lines), "{lines} lines in a day");
    }
}
