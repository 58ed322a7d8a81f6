//! Log lines from changes: two views of the core are compared, and what became different is told.
//!
//! Promises: a change is told once, with its reason; a condition that lasts is not repeated; and
//! a side that comes and goes every second is told ever more rarely, so that no remote party can
//! fill the log (keeps P10). Never: touches the core.

use crate::core::{LaneView, Mood, View, Why};
use crate::message::{self, Code};
use crate::plain::count;
use crate::time::{Mono, Span, Stamp};

use super::reconciled;

const QUIET_MIN: Span = Span::seconds(10);
const QUIET_MAX: Span = Span::hours(1);
/// Days before a token's end at which it is told.
const TOKEN_END_DAYS: [u64; 5] = [30, 14, 7, 3, 1];

/// How urgent the end of a token is; `None`: not at all.
pub fn token_end_code(days_left: u64) -> Option<Code> {
    match days_left {
        0..=3 => Some(message::TOKEN_ENDS_NOW),
        4..=30 => Some(message::TOKEN_ENDS_SOON),
        _ => None,
    }
}

/// Who is who, in the order of the config.
#[derive(Clone, Debug)]
pub struct Names {
    pub tenants: Vec<String>,
    pub streams: Vec<String>,
    /// Where each tenant's token is read from, and last where the API key is.
    pub secrets: Vec<String>,
}

pub struct Changes {
    names: Names,
    tenants: Vec<Told>,
    streams: Vec<Told>,
    sink: Told,
    caught_up: Vec<bool>,
    reconciled: Vec<reconciled::Told>,
    tokens: Vec<TokenTold>,
}

/// What was told of the end of one tenant's token.
#[derive(Clone, Debug, Default)]
struct TokenTold {
    end: Option<Stamp>,
    /// The threshold, and when.
    told: Option<(u64, Mono)>,
    /// Since when less is to be feared than was told.
    better_since: Option<Mono>,
}

/// The time of SentinelOne and the clock of schedules.
#[derive(Clone, Copy)]
struct Times {
    source: Option<Stamp>,
    mono: Mono,
}

/// What was last told of one lane, and until when it is better to be silent.
#[derive(Clone)]
struct Told {
    why: Option<Why>,
    at: Mono,
    quiet: Span,
    /// What was seen last, told or not, and since when.
    seen: (Option<Why>, Mono),
}

const NOTHING_TOLD: Told =
    Told { why: None, at: Mono::ZERO, quiet: Span::ZERO, seen: (None, Mono::ZERO) };

pub type Line = (Code, String);

impl Changes {
    pub fn new(names: Names) -> Changes {
        let told = NOTHING_TOLD;
        Changes {
            tenants: vec![told.clone(); names.tenants.len()],
            streams: vec![told.clone(); names.streams.len()],
            sink: told,
            caught_up: vec![false; names.streams.len()],
            reconciled: vec![reconciled::Told::default(); names.streams.len()],
            tokens: vec![TokenTold::default(); names.tenants.len()],
            names,
        }
    }

    /// What is to be told now.
    pub fn lines(&mut self, view: &View, now: Mono) -> Vec<Line> {
        let mut lines = vec![];
        for (at, tenant) in view.tenants.iter().enumerate() {
            let name = format!("SentinelOne {}", self.names.tenants[at]);
            lines.extend(self.tenants[at].tell(&name, &tenant.lane, now));
            let times = Times { source: tenant.source_now, mono: now };
            lines.extend(self.token_end(at, tenant.token_end, times));
        }
        for (at, stream) in view.streams.iter().enumerate() {
            // What its tenant or the queue suffers from is told there, once.
            let of_its_own = view.tenants[stream.tenant].lane.failures == 0;
            if of_its_own {
                lines.extend(self.streams[at].tell(&self.names.streams[at], &stream.lane, now));
            }
            let name = &self.names.streams[at];
            lines.extend(self.reconciled[at].tell(name, &stream.reconcile));
            if stream.caught_up && !self.caught_up[at] {
                self.caught_up[at] = true;
                let (name, n) = (&self.names.streams[at], count(stream.collected, "record"));
                lines.push((message::CAUGHT_UP, format!("{name}: caught up; {n} collected")));
            }
        }
        lines.extend(self.sink.tell("Coralogix", &view.sink, now));
        lines
    }

    fn token_end(&mut self, tenant: usize, end: Option<Stamp>, now: Times) -> Option<Line> {
        let (end, source_now) = (end?, now.source?);
        let left = end.since(source_now);
        let days = left.as_ms().div_ceil(86_400_000);
        if !self.tokens[tenant].is_news(end, days, now.mono) {
            return None;
        }
        let code = token_end_code(days)?;
        let name = &self.names.tenants[tenant];
        let ends = match end <= source_now {
            true => format!("expired {} ago", source_now.since(end)),
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

impl TokenTold {
    /// Whether so many days left are to be told: each threshold once, whatever the time does that
    /// SentinelOne tells. One that is told by mistake is forgotten after an hour of better news.
    fn is_news(&mut self, end: Stamp, days: u64, now: Mono) -> bool {
        let threshold = TOKEN_END_DAYS.into_iter().filter(|threshold| days <= *threshold).min();
        if self.end != Some(end) {
            *self = TokenTold { end: Some(end), ..TokenTold::default() };
        }
        let is_better = match (self.told, threshold) {
            (Some((told, _)), Some(threshold)) => threshold > told,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let better_since = *self.better_since.get_or_insert(now);
        if !is_better {
            self.better_since = None;
        } else if now.since(better_since) > QUIET_MAX {
            self.told = threshold.map(|threshold| (threshold, now));
            return false;
        }
        let Some(threshold) = threshold else { return false };
        let is_quiet = self.told.is_some_and(|(_, at)| now.since(at) < QUIET_MAX);
        let is_worse = self.told.is_none_or(|(told, _)| threshold < told);
        if is_worse && !is_quiet {
            self.told = Some((threshold, now));
        }
        is_worse && !is_quiet
    }
}

impl Told {
    fn tell(&mut self, name: &str, lane: &LaneView, now: Mono) -> Option<Line> {
        let mood = lane.why.mood();
        let current = (mood != Mood::Fine).then_some(lane.why);
        let calm = now.since(self.seen.1) > QUIET_MAX;
        if current != self.seen.0 {
            self.seen = (current, now);
        }
        if current == self.why {
            return None;
        }
        let stuck = mood == Mood::Stuck;
        if self.quiet > Span::ZERO && now.since(self.at) < self.quiet && !stuck {
            return None;
        }
        // Each line makes the next one wait longer; an hour of calm makes up for it.
        self.quiet = if calm || self.quiet == Span::ZERO {
            QUIET_MIN
        } else {
            Span(self.quiet.0.saturating_mul(2).min(QUIET_MAX.0))
        };
        self.at = now;
        let before = std::mem::replace(&mut self.why, current);
        Some(match current {
            None => (message::WORKS_AGAIN, format!("{name}: works again")),
            Some(why) => {
                let code = why.message().expect("what is not fine has a message");
                // What waits for a person has no time of its own.
                let next =
                    lane.next_in.map_or(String::new(), |next| format!("; next try in {next}"));
                let detail = match lane.detail.as_str() {
                    "" => String::new(),
                    detail => format!(" ({detail})"),
                };
                let still = if before.is_some() { "now " } else { "" };
                (code, format!("{name}: {still}{}{detail}{next}", why.explain()))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(why: Why) -> LaneView {
        LaneView {
            why,
            for_span: Span::ZERO,
            next_in: Some(Span::seconds(5)),
            failures: 1,
            detail: "HTTP 503".into(),
        }
    }

    #[test]
    fn a_lasting_trouble_is_told_once_and_so_is_its_end() {
        let mut told = NOTHING_TOLD;
        let mut lines = vec![];
        for minute in 0..600 {
            let now = Mono(minute * 60_000);
            let why = if (10..500).contains(&minute) { Why::Busy } else { Why::Working };
            lines.extend(told.tell("Coralogix", &lane(why), now));
        }
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0].0, message::BUSY);
        assert_eq!(lines[1], (message::WORKS_AGAIN, "Coralogix: works again".into()));
    }

    #[test]
    fn each_threshold_of_a_tokens_end_is_told_once() {
        let (mut told, end) = (TokenTold::default(), Stamp::from_seconds(1_900_000_000));
        let at = |day: u64| Mono(day * 86_400_000);
        let days: Vec<u64> = (0..60)
            .filter(|day| told.is_news(end, 60 - day, at(*day)))
            .map(|day| 60 - day)
            .collect();
        assert_eq!(days, TOKEN_END_DAYS);
        // A new token has thresholds of its own.
        assert!(told.is_news(end + Span::hours(1), 29, at(60)));
    }

    #[test]
    fn a_source_whose_time_jumps_cannot_fill_the_log_with_a_tokens_end() {
        let (mut told, end) = (TokenTold::default(), Stamp::from_seconds(1_900_000_000));
        let mut lines = 0;
        for second in 0..86_400 {
            let days = [90, 0, 10, 400][second as usize % 4];
            lines += u32::from(told.is_news(end, days, Mono(second * 1_000)));
        }
        assert!((1..=24).contains(&lines), "{lines} lines in a day");
        // What was told by mistake does not hide what is true later.
        let later = |hours: u64| Mono((24 + hours) * 3_600_000);
        for hours in 0..24 {
            assert!(!told.is_news(end, 40, later(hours)));
        }
        assert!(told.is_news(end, 30, later(24)));
    }

    #[test]
    fn a_side_that_comes_and_goes_cannot_fill_the_log() {
        let mut told = NOTHING_TOLD;
        let mut lines = 0;
        for second in 0..86_400 {
            let why = if second % 2 == 0 { Why::Busy } else { Why::Working };
            lines += u32::from(told.tell("Coralogix", &lane(why), Mono(second * 1_000)).is_some());
        }
        assert!((2..=40).contains(&lines), "{lines} lines in a day");
    }
}
