//! Windows of the day, and how fast a link may be used: what a metered link allows.
//!
//! Promises: a window that ends before it begins goes over midnight; no windows at all are an open
//! day. Never: knows a time zone or reads a clock.

use crate::record::Kind;
use crate::time::{Mono, Span};

const DAY_MINUTES: u32 = 24 * 60;

/// A part of every day, in minutes since midnight. Its end is the first minute outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    from: u32,
    to: u32,
}

impl Window {
    /// From one time of day to another one, in minutes since midnight; `to` may be 24:00.
    pub fn new(from: u32, to: u32) -> Option<Window> {
        let is_one = from < DAY_MINUTES && to <= DAY_MINUTES && from != to;
        is_one.then_some(Window { from, to })
    }

    fn holds(self, second: u32) -> bool {
        let (from, to) = (self.from * 60, self.to * 60);
        match from < to {
            true => (from..to).contains(&second),
            false => second >= from || second < to,
        }
    }

    fn opens_in(self, second: u32) -> Span {
        let day = DAY_MINUTES * 60;
        Span::seconds(u64::from((self.from * 60 + day - second) % day))
    }
}

/// When something may be done; empty: always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows(pub Vec<Window>);

impl Windows {
    /// How long it is until one of them is open, at a second of the local day.
    pub fn wait(&self, second_of_day: u32) -> Option<Span> {
        if self.0.is_empty() || self.0.iter().any(|window| window.holds(second_of_day)) {
            return None;
        }
        self.0.iter().map(|window| window.opens_in(second_of_day)).min()
    }
}

/// Whether the windows of a direction are open now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    #[default]
    Open,
    /// It opens then, as far as is known by now.
    Closed { opens: Mono },
}

/// What a direction has carried since the edge was opened, in bytes of HTTP bodies.
pub type Carried = u64;

/// How the links may be used, by what the core needs to know. The windows come by each tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes a second, on average over more than one request.
    pub delivery_rate: Option<u64>,
    pub polling_rate: Option<u64>,
    /// The most JSON in one request to the sink; `None`: what the protocol allows.
    pub body_raw_bytes: Option<u64>,
    /// How long nothing may move on the link before an exchange is given up.
    pub silence: Option<Span>,
    /// How long an exchange may take in all.
    pub whole: Option<Span>,
    /// Streams of one tenant that are collected first while there is a backlog.
    pub order: Vec<Kind>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(list: &[(u32, u32)]) -> Windows {
        Windows(list.iter().map(|(from, to)| Window::new(*from, *to).unwrap()).collect())
    }

    #[test]
    fn a_window_is_open_from_its_first_second_to_the_last_before_its_end() {
        let night = windows(&[(2 * 60, 4 * 60), (22 * 60, 60)]);
        let at = |h: u32, m: u32, s: u32| night.wait((h * 60 + m) * 60 + s);
        for (h, m, s, wait) in [
            (1, 59, 59, Some(1)),
            (2, 0, 0, None),
            (3, 59, 59, None),
            (4, 0, 0, Some(18 * 3_600)),
            (21, 59, 0, Some(60)),
            (22, 0, 0, None),
            (23, 59, 59, None),
            (0, 0, 0, None),
            (0, 59, 59, None),
            (1, 0, 0, Some(3_600)),
        ] {
            assert_eq!(at(h, m, s), wait.map(Span::seconds), "{h}:{m}:{s}");
        }
    }

    #[test]
    fn no_window_is_an_open_day_and_a_window_of_nothing_is_none() {
        assert_eq!(Windows::default().wait(0), None);
        assert_eq!(windows(&[(0, DAY_MINUTES)]).wait(86_399), None);
        for (from, to) in [(60, 60), (DAY_MINUTES, 60), (0, DAY_MINUTES + 1)] {
            assert_eq!(Window::new(from, to), None, "{from} {to}");
        }
    }
}
