//! A Coralogix ingress: `/logs/v1/singles` and what is known or feared of it.
//!
//! Promises: where the reference is unsure (sizes, ages, rejections, remarks) every possibility is
//! a knob; each accepted entry is compared with the ledger byte by byte and written down with the
//! request that brought it.
//! Never: deduplicates, as the real one does not.

mod entry;
mod site;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::clock::Clock;
use super::fault::{Fault, On, Rules};
use super::http::Server;
use super::ledger::Ledger;
use super::watched::Watched;

/// What a size limit is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    OnTheWire,
    Inflated,
}

/// What happens to an entry dated more than 24 h back or 4 h ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgeRule {
    #[default]
    Keep,
    /// Dropped, with a 200 and a sentence in the body.
    Drop,
    /// Dropped, with a 200 as if it had been taken.
    DropUnsaid,
    /// Stamped with the time of receipt.
    Restamp,
}

/// What happens to an entry that lacks a required member or is poisoned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rejection {
    /// 400 for the whole batch.
    #[default]
    Batch,
    /// 200 without that entry.
    Entry,
}

/// What happens to an entry longer than 32 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongRule {
    #[default]
    Keep,
    Cut,
    Drop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Good,
    /// Known, but of a kind that may not send logs.
    Forbidden,
}

pub type Poison = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What can be turned while the ingress serves.
#[derive(Clone)]
pub struct Knobs {
    pub keys: HashMap<String, Key>,
    pub size_limit: Option<(usize, Measured)>,
    pub age: AgeRule,
    pub rejection: Rejection,
    pub long: LongRule,
    /// Texts that can't be taken.
    pub poison: Option<Poison>,
    /// What a batch with such a text is answered: status, content type, body; 0 is a reset.
    pub poison_answer: (u16, &'static str, &'static str),
    /// The body of a plain 200.
    pub accepted_body: &'static str,
    pub accepted_status: u16,
    /// Whether `[]` is taken, or refused with 400, or as what is poisoned.
    pub takes_empty: bool,
    /// Answers to encodings other than gzip.
    pub bad_encoding_status: u16,
    pub slow: Duration,
    /// Bytes a second that a body takes to come through; it is taken even if nobody waits any more.
    pub rate: Option<u64>,
    /// Whether answers carry a `Date`.
    pub date: bool,
    /// How far that is ahead of the clock by which it judges ages, and for how many answers.
    pub date_ahead: (i64, Option<u32>),
}

impl Knobs {
    /// How far the `Date` of the next answer is ahead.
    fn take_date_ahead(&mut self) -> i64 {
        match &mut self.date_ahead {
            (_, Some(0)) => 0,
            (ahead, Some(times)) => {
                *times -= 1;
                *ahead
            }
            (ahead, None) => *ahead,
        }
    }
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            keys: HashMap::new(),
            size_limit: Some((2_000_000, Measured::Inflated)),
            age: AgeRule::Keep,
            rejection: Rejection::Batch,
            long: LongRule::Keep,
            poison: None,
            poison_answer: (400, "application/json", r#"{"message":"input malformed"}"#),
            accepted_body: "",
            accepted_status: 200,
            takes_empty: true,
            bad_encoding_status: 415,
            slow: Duration::ZERO,
            rate: None,
            date: true,
            date_ahead: (0, None),
        }
    }
}

/// One request as it was served.
#[derive(Clone, Debug)]
pub struct Got {
    pub at: Instant,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub connection: u64,
    pub wire_bytes: usize,
    pub raw_bytes: usize,
    /// Entries in the body, accepted or not.
    pub entries: usize,
    /// 0: no answer was sent.
    pub status: u16,
    /// Whether the entries were taken, whatever was answered.
    pub taken: bool,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        super::wire::header(&self.headers, name)
    }
}

/// One entry that was taken.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The request that brought it, from 1.
    pub request: u32,
    pub received_us: i64,
    /// The entry's own time, or that of its receipt.
    pub stamp_us: i64,
    /// Whether the entry brought a time of its own.
    pub stamped: bool,
    pub application: Arc<str>,
    pub subsystem: Arc<str>,
    pub computer: Arc<str>,
    pub category: Arc<str>,
    pub class_name: Arc<str>,
    pub severity: u8,
    pub text_bytes: u32,
    /// Its number in the ledger; `None`: nobody published these bytes.
    pub published: Option<usize>,
}

#[derive(Default)]
pub struct State {
    pub knobs: Knobs,
    pub rules: Rules,
    pub got: Vec<Got>,
    pub stored: Vec<Stored>,
    /// Entries that a rule dropped although the answer was 200.
    pub dropped: usize,
    /// What a request did that the reference does not allow, in words.
    pub complaints: Vec<String>,
    names: HashMap<String, Arc<str>>,
    requests: u32,
    /// Requests read and not yet written down.
    in_hand: u32,
}

struct Inner {
    clock: Clock,
    ledger: Ledger,
    state: Watched<State>,
}

/// The handle of a test on its ingress; serves until it is dropped.
pub struct Ingress {
    inner: Arc<Inner>,
    pub server: Server,
}

impl Ingress {
    pub fn start(tls: Option<Arc<ServerConfig>>, ledger: &Ledger) -> Ingress {
        let inner = Arc::new(Inner {
            clock: Clock::default(),
            ledger: ledger.clone(),
            state: Watched::new(State::default()),
        });
        let site = Arc::clone(&inner);
        let ingress = Ingress { inner, server: Server::start(tls, site) };
        ingress.accept_only_key("cxtp_0123456789abcdefTheFirstKey");
        ingress
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    pub fn turn(&self, turn: impl FnOnce(&mut Knobs)) {
        self.inner.state.change(|state| turn(&mut state.knobs));
    }

    /// From now on this key is good and every other unknown.
    pub fn accept_only_key(&self, key: &str) {
        self.turn(|knobs| knobs.keys = HashMap::from([(key.to_string(), Key::Good)]));
    }

    pub fn key(&self) -> String {
        let good = |state: &State| {
            let mut keys = state.knobs.keys.iter();
            keys.find(|(_, key)| **key == Key::Good).map(|(name, _)| name.clone())
        };
        self.inner.state.look(good).expect("one key is good")
    }

    pub fn fail(&self, on: On, times: impl Into<Option<u32>>, fault: Fault) {
        let times = times.into();
        self.inner.state.change(|state| state.rules.add(on, times, fault));
    }

    pub fn heal(&self) {
        self.inner.state.change(|state| state.rules.clear());
    }

    /// Looks between requests: what the ledger has heard of is written down here too.
    pub fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        let mut look = Some(look);
        let calm = self.inner.state.wait(Duration::from_secs(5), |state| {
            (state.in_hand == 0).then(|| look.take().map(|look| look(state)))
        });
        calm.flatten().expect("no request is in hand for five seconds")
    }

    pub fn got(&self) -> Vec<Got> {
        self.look(|state| state.got.clone())
    }

    pub fn requests(&self) -> usize {
        self.look(|state| state.got.len())
    }

    pub fn stored(&self) -> Vec<Stored> {
        self.look(|state| state.stored.clone())
    }

    pub fn wait<R>(&self, within: Duration, look: impl FnMut(&State) -> Option<R>) -> Option<R> {
        self.inner.state.wait(within, look)
    }

    /// Waits for this many more requests that satisfy `count`.
    pub fn wait_for(&self, more: usize, within: Duration, count: impl Fn(&Got) -> bool) -> bool {
        let before = self.requests();
        self.wait(within, |state| {
            let new = state.got.get(before..).unwrap_or_default();
            (new.iter().filter(|got| count(got)).count() >= more).then_some(())
        })
        .is_some()
    }
}
