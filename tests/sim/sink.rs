//! The simulated Coralogix: keeps what it accepted, drops silently what is too old.
//!
//! Promises: a record whose timestamp is older than 24 h or more than 4 h ahead is dropped under a
//! 200, as the vendor's documents let one fear; the oracle then finds it missing.

use std::io::Read;

use s1_coralogix::coralogix::entry::OWN_CATEGORY;
use s1_coralogix::time::{Span, Stamp};
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Entry {
    timestamp: Option<f64>,
    #[serde(rename = "applicationName")]
    application_name: String,
    #[serde(rename = "subsystemName")]
    subsystem_name: String,
    severity: u8,
    category: String,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    pub category: String,
    pub text: String,
}

#[derive(Deserialize)]
struct Said {
    collector: Word,
}

/// What the collector said of itself.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Word {
    #[serde(rename = "type")]
    pub what: String,
    #[serde(default)]
    pub gap: u64,
    #[serde(default)]
    pub stream: String,
    pub from: Option<String>,
    pub to: Option<String>,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub closed: bool,
}

#[derive(Default)]
pub struct Sink {
    pub received: Vec<Received>,
    pub words: Vec<Word>,
    pub dropped_for_age: u64,
}

/// What of a batch is thrown away, and said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropping {
    Nothing,
    All,
    /// Every second entry.
    Some,
}

impl Word {
    /// Whether this is the gap of a record that was refused.
    pub fn tells_of(&self, stream: &str, stamp: Stamp) -> bool {
        self.reason == "refused" && self.covers(stream, stamp)
    }

    /// Whether it is a gap with a row in it that could not be fetched.
    pub fn passes_over(&self, stream: &str, stamp: Stamp) -> bool {
        self.reason == "unfetchable" && self.covers(stream, stamp)
    }

    fn covers(&self, stream: &str, stamp: Stamp) -> bool {
        let read = |text: &Option<String>| text.as_deref().and_then(Stamp::parse);
        self.stream == stream
            && read(&self.from).is_some_and(|from| from <= stamp)
            && read(&self.to).is_some_and(|to| to >= stamp)
    }

    /// Whether it is the gap of a refused record whose stamp could not be read.
    pub fn may_tell_of(&self, stream: &str) -> bool {
        self.reason == "refused" && self.stream == stream && self.from.is_none()
    }
}

impl Sink {
    /// Whether a batch holds such a record.
    pub fn holds(batch: &[Entry], is_one: impl Fn(&str) -> bool) -> bool {
        let mut records = batch.iter().filter(|entry| entry.category != OWN_CATEGORY);
        records.any(|entry| is_one(&entry.text))
    }

    /// Takes a batch in and judges its age by the true time. Answers how many entries it threw away and
    /// says so.
    pub fn accept(&mut self, batch: Vec<Entry>, now: Stamp, dropping: Dropping) -> usize {
        let mut dropped = 0;
        for (at, entry) in batch.into_iter().enumerate() {
            assert!((1..=6).contains(&entry.severity));
            assert!(!entry.application_name.is_empty() && !entry.subsystem_name.is_empty());
            let stamp = entry.timestamp.map(|ms| Stamp((ms * 1_000.0) as i64));
            let fits = |stamp: Stamp| {
                now.since(stamp) <= Span::hours(24) && stamp.since(now) <= Span::hours(4)
            };
            let is_dropped = match dropping {
                Dropping::Nothing => false,
                Dropping::All => true,
                Dropping::Some => at.is_multiple_of(2),
            };
            if is_dropped {
                dropped += 1;
            } else if !stamp.is_none_or(fits) {
                self.dropped_for_age += 1;
            } else if entry.category == OWN_CATEGORY {
                let said: Said = serde_json::from_str(&entry.text).expect("a JSON object");
                self.words.push(said.collector);
            } else {
                self.received.push(Received { category: entry.category, text: entry.text });
            }
        }
        dropped
    }
}

/// What a batch holds.
pub fn entries(gzip: &[u8]) -> Vec<Entry> {
    let mut json = vec![];
    flate2::read::GzDecoder::new(gzip).read_to_end(&mut json).expect("one gzip member");
    assert!(json.len() < 2_000_000, "{} bytes", json.len());
    let entries: Vec<Entry> = serde_json::from_slice(&json).expect("a JSON array of entries");
    entries
}

/// Poison is known by the record's number, so that both sides agree.
pub fn is_poison(text: &str, every: u64) -> bool {
    if every == 0 {
        return false;
    }
    let id = text.split(r#""id":""#).nth(1).and_then(|rest| rest.split('"').next());
    let number: u64 = id.and_then(|id| id.parse().ok()).expect("a record of ours has an id");
    number.is_multiple_of(every)
}
