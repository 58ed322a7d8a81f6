//! The simulated Coralogix: keeps what it accepted, drops silently what is too old.
//!
//! Promises: a record whose timestamp is older than 24 h or more than 4 h ahead is dropped under a
//! 200, as the vendor's documents let one fear; the oracle then finds it missing.

use std::io::Read;

use s1_coralogix::coralogix::entry::OWN_CATEGORY;
use s1_coralogix::time::{Span, Stamp};
use serde::Deserialize;

#[derive(Deserialize)]
struct Entry {
    timestamp: Option<f64>,
    #[serde(rename = "applicationName")]
    application_name: String,
    #[serde(rename = "subsystemName")]
    subsystem_name: String,
    severity: u8,
    category: String,
    text: String,
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
}

#[derive(Default)]
pub struct Sink {
    pub received: Vec<Received>,
    pub words: Vec<Word>,
    pub dropped_for_age: u64,
}

impl Word {
    /// Whether this is the gap of a record that was refused.
    pub fn tells_of(&self, stream: &str, stamp: Stamp) -> bool {
        let read = |text: &Option<String>| text.as_deref().and_then(Stamp::parse);
        self.reason == "refused"
            && self.stream == stream
            && read(&self.from).is_some_and(|from| from <= stamp)
            && read(&self.to).is_some_and(|to| to >= stamp)
    }
}

impl Sink {
    /// How many entries a batch holds.
    pub fn count(gzip: &[u8]) -> usize {
        entries(gzip).len()
    }

    /// Takes a batch in. `poison` refuses the batch when it holds such a record.
    pub fn accept(&mut self, gzip: &[u8], now: Stamp, poison: impl Fn(&str) -> bool) -> bool {
        let entries = entries(gzip);
        let records = entries.iter().filter(|entry| entry.category != OWN_CATEGORY);
        if records.into_iter().any(|entry| poison(&entry.text)) {
            return false;
        }
        for entry in entries {
            assert!((1..=6).contains(&entry.severity));
            assert!(!entry.application_name.is_empty() && !entry.subsystem_name.is_empty());
            let stamp = entry.timestamp.map(|ms| Stamp((ms * 1_000.0) as i64));
            let fits = |stamp: Stamp| {
                now.since(stamp) <= Span::hours(24) && stamp.since(now) <= Span::hours(4)
            };
            if !stamp.is_none_or(fits) {
                self.dropped_for_age += 1;
            } else if entry.category == OWN_CATEGORY {
                let said: Said = serde_json::from_str(&entry.text).expect("a JSON object");
                self.words.push(said.collector);
            } else {
                self.received.push(Received { category: entry.category, text: entry.text });
            }
        }
        true
    }
}

fn entries(gzip: &[u8]) -> Vec<Entry> {
    let mut json = vec![];
    flate2::read::GzDecoder::new(gzip).read_to_end(&mut json).expect("one gzip member");
    assert!(json.len() < 2_000_000, "{} bytes", json.len());
    let entries: Vec<Entry> = serde_json::from_slice(&json).expect("a JSON array of entries");
    assert!(!entries.is_empty());
    entries
}
