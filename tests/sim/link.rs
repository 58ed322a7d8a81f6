//! A metered link: the windows and rates of a life, and the judge that watches each request.
//!
//! Promises: a request outside of its windows, or sooner than the rate allows, fails the life.

use std::sync::OnceLock;

use s1_coralogix::prng::Prng;
use s1_coralogix::record::Kind;
use s1_coralogix::time::{Span, Stamp};
use s1_coralogix::window::{Bounds, Window, Windows};

const DAY_SECONDS: i64 = 86_400;
/// A `Date` has whole seconds, and what was told a while ago is carried on from there.
const COARSENESS_SECONDS: i64 = 2;

/// One direction of the link.
#[derive(Clone, Debug, Default)]
pub struct Way {
    pub windows: Windows,
    pub rate: Option<u64>,
    /// When what was carried has taken its time, in milliseconds since birth.
    paid: u64,
    /// For how many minutes of a day it is open, once that was asked for.
    open: OnceLock<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct Link {
    pub delivery: Way,
    pub polling: Way,
    /// How far local time is from UTC.
    pub offset_seconds: i64,
    pub order: Vec<Kind>,
}

impl Link {
    /// Half of all lives have no limits. A stream of its own, so that the rest of a life is what
    /// it would be without.
    pub fn draw(seed: u64) -> Link {
        let mut prng = Prng::new(seed ^ 0x11_4b);
        if prng.chance(50) {
            return Link::default();
        }
        let mut way = || Way {
            windows: Windows(match prng.chance(60) {
                true => (0..1 + prng.below(2)).map(|_| window(&mut prng)).collect(),
                false => vec![],
            }),
            rate: prng.chance(50).then(|| 4_096 << prng.below(6)),
            paid: 0,
            open: OnceLock::new(),
        };
        let (delivery, polling) = (way(), way());
        let offset_seconds = 1_800 * prng.below(52) as i64 - 12 * 3_600;
        let order = if prng.chance(50) { vec![Kind::Threats] } else { vec![] };
        Link { delivery, polling, offset_seconds, order }
    }

    pub fn bounds(&self) -> Bounds {
        Bounds {
            delivery_rate: self.delivery.rate,
            polling_rate: self.polling.rate,
            body_raw_bytes: self.delivery.rate.map(|rate| rate * 30),
            silence: Some(crate::bears::SILENCE),
            whole: Some(crate::bears::WHOLE),
            order: self.order.clone(),
        }
    }

    /// What windows add to the time until everything has arrived: a day for each direction.
    pub fn patience(&self) -> u64 {
        let days =
            [&self.delivery, &self.polling].into_iter().filter(|way| !way.windows.0.is_empty());
        days.count() as u64 * 24 * 3_600_000
    }

    pub fn has_windows(&self) -> bool {
        [&self.delivery, &self.polling].into_iter().any(|way| !way.windows.0.is_empty())
    }

    pub fn second_of_day(&self, at: Stamp) -> u32 {
        let local = at.0.div_euclid(1_000_000) + self.offset_seconds;
        u32::try_from(local.rem_euclid(DAY_SECONDS)).expect("a day is short")
    }

    /// A new process knows nothing of what was carried before.
    pub fn boot(&mut self) {
        self.delivery.paid = 0;
        self.polling.paid = 0;
    }

    /// Fails the life if this may not be now.
    pub fn begin(&self, way: &Way, what: &str, at: Stamp, now: u64, binds: bool) {
        let second = |back: i64| self.second_of_day(Stamp(at.0 - back * 1_000_000));
        let closed = |back| way.windows.wait(second(back)).is_some();
        let outside = binds && closed(0) && closed(COARSENESS_SECONDS);
        assert!(!outside, "{what} outside of its windows, at {at}");
        assert!(now >= way.paid, "{what} {} ms sooner than the rate allows", way.paid - now);
    }
}

impl Way {
    /// For how many minutes of a day a request may begin.
    pub fn open_minutes(&self) -> u64 {
        *self.open.get_or_init(|| {
            let open = (0..24 * 60).filter(|minute| self.windows.wait(minute * 60).is_none());
            (open.count() as u64).max(1)
        })
    }

    pub fn carry(&mut self, begun: u64, bytes: u64) {
        if let Some(rate) = self.rate {
            // Down, for the program rounds up.
            self.paid = self.paid.max(begun) + Span(bytes * 1_000 / rate).as_ms();
        }
    }
}

fn window(prng: &mut Prng) -> Window {
    let from = prng.below(24 * 60) as u32;
    let length = 60 + prng.below(10 * 60) as u32;
    Window::new(from, (from + length) % (24 * 60)).expect("it is shorter than a day")
}
