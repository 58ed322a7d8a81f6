//! The simulated Coralogix: keeps what it accepted, drops silently what is too old.
//!
//! Promises: a record whose timestamp is older than 24 h or more than 4 h ahead is dropped under a
//! 200, as the vendor's documents let one fear; the oracle then finds it missing.

use std::io::Read;

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

#[derive(Default)]
pub struct Sink {
    pub received: Vec<Received>,
    pub dropped_for_age: u64,
}

impl Sink {
    /// How many entries a batch holds.
    pub fn count(gzip: &[u8]) -> usize {
        entries(gzip).len()
    }

    /// Takes a batch in. `poison` refuses the batch when it holds such a record.
    pub fn accept(&mut self, gzip: &[u8], now: Stamp, poison: impl Fn(&str) -> bool) -> bool {
        let entries = entries(gzip);
        if entries.iter().any(|entry| poison(&entry.text)) {
            return false;
        }
        for entry in entries {
            assert!((1..=6).contains(&entry.severity));
            assert!(!entry.application_name.is_empty() && !entry.subsystem_name.is_empty());
            let stamp = entry.timestamp.map(|ms| Stamp((ms * 1_000.0) as i64));
            let fits = |stamp: Stamp| {
                now.since(stamp) <= Span::hours(24) && stamp.since(now) <= Span::hours(4)
            };
            if stamp.is_none_or(fits) {
                self.received.push(Received { category: entry.category, text: entry.text });
            } else {
                self.dropped_for_age += 1;
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
