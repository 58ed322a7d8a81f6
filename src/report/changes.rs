//! Log lines from changes: two views of the core are compared, and what became different is reported.
//!
//! Promises: a change is reported once, with its reason; a condition that lasts is not repeated;
//! and a lane that changes every second is reported ever more rarely, so that no remote party can
//! fill the log (keeps P10). Never: changes the core.

use crate::core::{Health, LaneView, Reason, View};
use crate::message::{self, Code};
use crate::plain::count;
use crate::time::{Mono, Span, Stamp};

use super::reconciled;

const QUIET_MIN: Span = Span::seconds(10);
const QUIET_MAX: Span = Span::hours(1);
/// Days before a token expires at which that is reported.
const TOKEN_END_DAYS: [u64; 5] = [30, 14, 7, 3, 1];

/// The message for a token with so many days left; `None`: no message yet.
pub fn token_end_code(days_left: u64) -> Option<Code> {
    match days_left {
        0..=3 => Some(message::TOKEN_ENDS_NOW),
        4..=30 => Some(message::TOKEN_ENDS_SOON),
        _ => None,
    }
}

/// The names of integrations and streams, in the order of the config.
#[derive(Clone, Debug)]
pub struct Names {
    pub tenants: Vec<String>,
    pub streams: Vec<String>,
    /// Where each tenant's token is read from; the last entry is for the API key.
    pub secrets: Vec<String>,
}

pub struct Changes {
    names: Names,
    tenants: Vec<LastReported>,
    streams: Vec<LastReported>,
    sink: LastReported,
    caught_up: Vec<bool>,
    reconciled: Vec<reconciled::Reported>,
    tokens: Vec<TokenReported>,
}

/// What was reported of the expiry of one tenant's token.
#[derive(Clone, Debug, Default)]
struct TokenReported {
    end: Option<Stamp>,
    /// The threshold in days, and when it was reported.
    reported: Option<(u64, Mono)>,
    /// Since when more time is left than was reported.
    better_since: Option<Mono>,
}

/// Calendar time, which decides about expiry, and the monotonic time.
#[derive(Clone, Copy)]
struct Times {
    confirmed: Option<Stamp>,
    mono: Mono,
}

/// What was last reported of one lane, and until when nothing more is reported.
#[derive(Clone)]
struct LastReported {
    reason: Option<Reason>,
    at: Mono,
    quiet: Span,
    /// The reason seen last, reported or not, and since when.
    seen: (Option<Reason>, Mono),
}

const NOTHING_REPORTED: LastReported =
    LastReported { reason: None, at: Mono::ZERO, quiet: Span::ZERO, seen: (None, Mono::ZERO) };

pub type Line = (Code, String);

impl Changes {
    pub fn new(names: Names) -> Changes {
        let reported = NOTHING_REPORTED;
        Changes {
            tenants: vec![reported.clone(); names.tenants.len()],
            streams: vec![reported.clone(); names.streams.len()],
            sink: reported,
            caught_up: vec![false; names.streams.len()],
            reconciled: vec![reconciled::Reported::default(); names.streams.len()],
            tokens: vec![TokenReported::default(); names.tenants.len()],
            names,
        }
    }

    /// What is to be reported now.
    pub fn lines(&mut self, view: &View, now: Mono) -> Vec<Line> {
        let mut lines = vec![];
        for (at, tenant) in view.tenants.iter().enumerate() {
            let name = format!("SentinelOne {}", self.names.tenants[at]);
            lines.extend(self.tenants[at].report(&name, &tenant.lane, now));
            let times = Times { confirmed: tenant.confirmed_now, mono: now };
            lines.extend(self.token_end(at, tenant.token_end, times));
        }
        for (at, stream) in view.streams.iter().enumerate() {
            // A problem of its tenant or of the queue is reported there, once.
            let of_its_own = view.tenants[stream.tenant].lane.failures == 0;
            if of_its_own {
                lines.extend(self.streams[at].report(&self.names.streams[at], &stream.lane, now));
            }
            let name = &self.names.streams[at];
            lines.extend(self.reconciled[at].report(name, &stream.reconcile));
            if stream.caught_up && !self.caught_up[at] {
                self.caught_up[at] = true;
                let (name, n) = (&self.names.streams[at], count(stream.collected, "record"));
                lines.push((message::CAUGHT_UP, format!("{name}: caught up; {n} collected")));
            }
        }
        lines.extend(self.sink.report("Coralogix", &view.sink, now));
        lines
    }

    fn token_end(&mut self, tenant: usize, end: Option<Stamp>, now: Times) -> Option<Line> {
        let (end, present) = (end?, now.confirmed?);
        let left = end.since(present);
        let days = left.as_ms().div_ceil(86_400_000);
        if !self.tokens[tenant].is_news(end, days, now.mono) {
            return None;
        }
        let code = token_end_code(days)?;
        let name = &self.names.tenants[tenant];
        let ends = match end <= present {
            true => format!("expired {} ago", present.since(end)),
            false => format!("expires in {left}"),
        };
        Some((
            code,
            format!(
                "SentinelOne {name}: the API token {ends}, at {}. Generate a new one and put it \
                 into the token file; no restart is needed",
                end.to_the_second()
            ),
        ))
    }
}

impl TokenReported {
    /// Whether this number of days left is to be reported: each threshold once, even if
    /// SentinelOne's time jumps. A threshold reported because of a wrong time is forgotten after an
    /// hour with a better one.
    fn is_news(&mut self, end: Stamp, days: u64, now: Mono) -> bool {
        let threshold = TOKEN_END_DAYS.into_iter().filter(|threshold| days <= *threshold).min();
        if self.end != Some(end) {
            *self = TokenReported { end: Some(end), ..TokenReported::default() };
        }
        let is_better = match (self.reported, threshold) {
            (Some((reported, _)), Some(threshold)) => threshold > reported,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let better_since = *self.better_since.get_or_insert(now);
        if !is_better {
            self.better_since = None;
        } else if now.since(better_since) > QUIET_MAX {
            self.reported = threshold.map(|threshold| (threshold, now));
            return false;
        }
        let Some(threshold) = threshold else { return false };
        let is_quiet = self.reported.is_some_and(|(_, at)| now.since(at) < QUIET_MAX);
        let is_worse = self.reported.is_none_or(|(reported, _)| threshold < reported);
        if is_worse && !is_quiet {
            self.reported = Some((threshold, now));
        }
        is_worse && !is_quiet
    }
}

impl LastReported {
    fn report(&mut self, name: &str, lane: &LaneView, now: Mono) -> Option<Line> {
        let health = lane.reason.health();
        let current = (health != Health::Healthy).then_some(lane.reason);
        let calm = now.since(self.seen.1) > QUIET_MAX;
        if current != self.seen.0 {
            self.seen = (current, now);
        }
        if current == self.reason {
            return None;
        }
        let stuck = health == Health::Stuck;
        if self.quiet > Span::ZERO && now.since(self.at) < self.quiet && !stuck {
            return None;
        }
        // Each line makes the pause before the next one longer; an hour without a line resets it.
        self.quiet = if calm || self.quiet == Span::ZERO {
            QUIET_MIN
        } else {
            Span(self.quiet.0.saturating_mul(2).min(QUIET_MAX.0))
        };
        self.at = now;
        let before = std::mem::replace(&mut self.reason, current);
        Some(match current {
            None => (message::WORKS_AGAIN, format!("{name}: works again")),
            Some(reason) => {
                let code = reason.message().expect("what is not fine has a message");
                // A lane that needs a person has no next attempt, and one that is used now, or was
                // used last in this run, does not wait for it.
                let next = lane.next_in.filter(|next| *next > Span::ZERO);
                let next = next.map_or(String::new(), |next| format!("; next try after {next}"));
                let detail = match lane.detail.as_str() {
                    "" => String::new(),
                    detail => format!(" ({detail})"),
                };
                let still = if before.is_some() { "now " } else { "" };
                (code, format!("{name}: {still}{}{detail}{next}", reason.explain()))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(reason: Reason) -> LaneView {
        LaneView {
            reason,
            for_span: Span::ZERO,
            next_in: Some(Span::seconds(5)),
            failures: 1,
            detail: "HTTP 503".into(),
        }
    }

    #[test]
    fn a_lasting_trouble_is_told_once_and_so_is_its_end() {
        let mut reported = NOTHING_REPORTED;
        let mut lines = vec![];
        for minute in 0..600 {
            let now = Mono(minute * 60_000);
            let reason = if (10..500).contains(&minute) { Reason::Busy } else { Reason::Working };
            lines.extend(reported.report("Coralogix", &lane(reason), now));
        }
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0].0, message::BUSY);
        assert_eq!(lines[1], (message::WORKS_AGAIN, "Coralogix: works again".into()));
    }

    #[test]
    fn a_next_try_is_told_only_if_it_is_waited_for() {
        for (next_in, told) in [(Some(Span::seconds(5)), true), (Some(Span::ZERO), false)] {
            let lane = LaneView { next_in, ..lane(Reason::Busy) };
            let mut reported = NOTHING_REPORTED;
            let (_, text) = reported.report("Coralogix", &lane, Mono(1)).unwrap();
            assert_eq!(text.contains("next try"), told, "{text}");
        }
    }

    #[test]
    fn each_threshold_of_a_tokens_end_is_told_once() {
        let (mut reported, end) = (TokenReported::default(), Stamp::from_seconds(1_900_000_000));
        let at = |day: u64| Mono(day * 86_400_000);
        let days: Vec<u64> = (0..60)
            .filter(|day| reported.is_news(end, 60 - day, at(*day)))
            .map(|day| 60 - day)
            .collect();
        assert_eq!(days, TOKEN_END_DAYS);
        // A new token has thresholds of its own.
        assert!(reported.is_news(end + Span::hours(1), 29, at(60)));
    }

    #[test]
    fn a_source_whose_time_jumps_cannot_fill_the_log_with_a_tokens_end() {
        let (mut reported, end) = (TokenReported::default(), Stamp::from_seconds(1_900_000_000));
        let mut lines = 0;
        for second in 0..86_400 {
            let days = [90, 0, 10, 400][second as usize % 4];
            lines += u32::from(reported.is_news(end, days, Mono(second * 1_000)));
        }
        assert!((1..=24).contains(&lines), "{lines} lines in a day");
        // What was reported by mistake does not hide what is true later.
        let later = |hours: u64| Mono((24 + hours) * 3_600_000);
        for hours in 0..24 {
            assert!(!reported.is_news(end, 40, later(hours)));
        }
        assert!(reported.is_news(end, 30, later(24)));
    }

    #[test]
    fn a_side_that_comes_and_goes_cannot_fill_the_log() {
        let mut reported = NOTHING_REPORTED;
        let mut lines = 0;
        for second in 0..86_400 {
            let reason = if second % 2 == 0 { Reason::Busy } else { Reason::Working };
            lines += u32::from(
                reported.report("Coralogix", &lane(reason), Mono(second * 1_000)).is_some(),
            );
        }
        assert!((2..=40).contains(&lines), "{lines} lines in a day");
    }
}
