//! A direction of the link, to the sink or from the source: its windows and its rate limit.
//!
//! Promises: nothing is begun while the window is closed; in any period no more is transferred than
//! the rate permits plus one request. Never: stops a request that has begun.

use crate::time::{Mono, Span};
use crate::window::{Carried, Gate};

use super::Reason;

#[derive(Clone, Debug)]
pub struct Direction {
    rate: Option<u64>,
    gate: Gate,
    closed_since: Mono,
    /// The bytes transferred up to the last call; `None` before the first.
    carried: Option<Carried>,
    /// When the transferred bytes have used up their time at the permitted rate.
    paid: Mono,
}

impl Direction {
    pub fn new(rate: Option<u64>) -> Direction {
        assert!(rate != Some(0), "a rate of nothing would wait for ever");
        let (gate, zero) = (Gate::Open, Mono::ZERO);
        Direction { rate, gate, closed_since: zero, carried: None, paid: zero }
    }

    /// Takes the tick's values. `begun`: when the last action was given, which is when the transfer
    /// since then began.
    pub fn notice(&mut self, now: Mono, begun: Mono, gate: Gate, carried: Carried) {
        if self.gate == Gate::Open && gate != Gate::Open {
            self.closed_since = now;
        }
        self.gate = gate;
        let before = self.carried.replace(carried).unwrap_or(carried);
        if let Some(rate) = self.rate {
            let bytes = carried.saturating_sub(before);
            let cost = Span(bytes.saturating_mul(1_000).div_ceil(rate));
            self.paid = self.paid.max(if bytes > 0 { begun } else { Mono::ZERO }) + cost;
        }
    }

    /// Until when nothing may be begun, and why; `None`: it may be begun now.
    pub fn wait(&self, now: Mono) -> Option<(Mono, Reason)> {
        match self.gate {
            Gate::Closed { opens } if opens > now => Some((opens, Reason::Window)),
            // The window is about to open; the next tick shows it.
            Gate::Closed { .. } => Some((now + Span::ms(1), Reason::Window)),
            Gate::Open if self.paid > now => Some((self.paid, Reason::MaxRate)),
            Gate::Open => None,
        }
    }

    /// Since when the gate has been closed.
    pub fn closed_since(&self) -> Mono {
        self.closed_since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_over_any_time_but_for_one_request() {
        let mut direction = Direction::new(Some(1_000));
        let (mut now, mut carried, mut begun) = (Mono(5_000_000), 0, Mono(5_000_000));
        let mut log = vec![];
        for (bytes, took) in [(3_000, 100), (0, 9), (500, 4_000), (2_500, 1), (10, 0), (9_000, 1)] {
            direction.notice(now, begun, Gate::Open, carried);
            while let Some((until, reason)) = direction.wait(now) {
                assert_eq!(reason, Reason::MaxRate);
                now = until;
                direction.notice(now, begun, Gate::Open, carried);
            }
            (begun, carried) = (now, carried + bytes);
            log.push((now, bytes));
            now = now + Span::ms(took);
        }
        for (i, (from, _)) in log.iter().enumerate() {
            for (j, (to, last)) in log.iter().enumerate().skip(i) {
                let between: u64 = log[i..=j].iter().map(|(_, bytes)| bytes).sum();
                assert!(between - last <= to.since(*from).as_ms(), "{i} to {j}: {between}");
            }
        }
        assert!(now < Mono(5_000_000) + Span::seconds(10), "and no slower: {now:?}");
    }

    #[test]
    fn what_was_carried_before_the_first_look_costs_nothing() {
        let mut direction = Direction::new(Some(1));
        direction.notice(Mono(10), Mono(10), Gate::Open, 1 << 40);
        assert_eq!(direction.wait(Mono(10)), None);
    }

    #[test]
    fn a_closed_gate_tells_when_it_opens_and_since_when_it_is_closed() {
        let mut direction = Direction::new(None);
        let opens = Mono(9_000);
        for now in [Mono(100), Mono(200)] {
            direction.notice(now, now, Gate::Closed { opens }, 0);
            assert_eq!(direction.wait(now), Some((opens, Reason::Window)));
        }
        assert_eq!(direction.closed_since(), Mono(100));
        for late in [opens, opens + Span::seconds(5)] {
            let (until, _) = direction.wait(late).expect("only a tick opens it");
            assert!(until > late, "a wait that is over would spin");
        }
        direction.notice(opens, opens, Gate::Open, 0);
        assert_eq!(direction.wait(opens), None);
    }
}
