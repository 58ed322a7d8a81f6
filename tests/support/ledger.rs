//! The ledger: what was published, what was delivered, and how the two differ.
//!
//! Promises: a record counts as delivered only when its bytes arrived exactly as they were
//! published; the comparison is by hash of all bytes, so a million records need little memory.
//! Never: trusts an id that the collector wrote.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::data::Kind;
use super::watched::Watched;

/// One stream of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub tenant: String,
    pub kind: Kind,
}

/// One version of a record that a tenant showed.
#[derive(Clone, Debug)]
pub struct Published {
    pub stream: StreamId,
    pub id: u64,
    pub position_us: i64,
    pub bytes: u32,
    /// A newer version took its place before or after it was delivered, so it may be missing.
    pub superseded: bool,
    pub deliveries: u32,
    /// The request that brought it first, from 1.
    pub first_request: Option<u32>,
}

#[derive(Clone, Default)]
pub struct Book {
    pub entries: Vec<Published>,
    by_bytes: HashMap<u64, usize>,
    newest: HashMap<(StreamId, u64), usize>,
    highest_delivered: HashMap<StreamId, i64>,
    required: usize,
    delivered: usize,
    duplicates: usize,
    out_of_order: Vec<usize>,
    /// Texts of `category: "collector"`: what the collector says of itself.
    pub notes: Vec<String>,
    /// Beginnings of texts that nobody published.
    pub changed: Vec<String>,
}

/// The sums at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub published: usize,
    pub delivered: usize,
    pub lost: usize,
    pub duplicates: usize,
    pub changed: usize,
    pub out_of_order: usize,
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "published {}, delivered {}, lost {}, duplicates {}, changed {}, out of order {}",
            self.published,
            self.delivered,
            self.lost,
            self.duplicates,
            self.changed,
            self.out_of_order
        )
    }
}

fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

impl Book {
    fn publish(&mut self, stream: StreamId, id: u64, position_us: i64, bytes: &[u8]) {
        // What can't be text is told as text: every bad sequence becomes U+FFFD.
        let text = String::from_utf8_lossy(bytes);
        let index = self.entries.len();
        let earlier = self.newest.insert((stream.clone(), id), index);
        if let Some(same) = earlier.filter(|at| self.entries[*at].position_us == position_us) {
            // Live state moved and the stamp did not: either wording is this version.
            self.newest.insert((stream, id), same);
            self.by_bytes.insert(hash_of(text.as_bytes()), same);
            return;
        }
        self.entries.push(Published {
            stream,
            id,
            position_us,
            bytes: u32::try_from(text.len()).unwrap(),
            superseded: false,
            deliveries: 0,
            first_request: None,
        });
        let twin = self.by_bytes.insert(hash_of(text.as_bytes()), index);
        assert!(twin.is_none(), "two records of a test have the same bytes");
        self.required += 1;
        if let Some(earlier) = earlier.map(|index| &mut self.entries[index]) {
            if !earlier.superseded && earlier.deliveries == 0 {
                self.required -= 1;
            }
            earlier.superseded = true;
        }
    }

    /// The text of one delivered entry. Says which published record it is.
    pub fn deliver(&mut self, request: u32, text: &str, category: &str) -> Option<usize> {
        let Some(index) = self.by_bytes.get(&hash_of(text.as_bytes())).copied() else {
            if category == "collector" {
                self.notes.push(text.to_string());
            } else if self.changed.len() < 1_000 {
                self.changed.push(text.chars().take(300).collect());
            }
            return None;
        };
        let entry = &mut self.entries[index];
        entry.deliveries += 1;
        if entry.deliveries > 1 {
            self.duplicates += 1;
            return Some(index);
        }
        entry.first_request = Some(request);
        if entry.superseded {
            // It was not required any more, and arrived after all.
            self.required += 1;
        }
        self.delivered += 1;
        let highest = self.highest_delivered.entry(entry.stream.clone()).or_insert(i64::MIN);
        if entry.position_us < *highest {
            self.out_of_order.push(index);
        }
        *highest = entry.position_us.max(*highest);
        Some(index)
    }

    /// From here on only what was not delivered yet is asked for. What was may come again, and then
    /// counts as a duplicate from `again`.
    pub fn begin_again(&mut self) {
        for entry in &mut self.entries {
            entry.superseded |= entry.deliveries > 0;
            (entry.deliveries, entry.first_request) = (0, None);
        }
        self.required = self.entries.iter().filter(|entry| !entry.superseded).count();
        (self.delivered, self.duplicates) = (0, 0);
        self.highest_delivered.clear();
        self.out_of_order.clear();
    }

    /// How many came that were not asked for any more.
    pub fn again(&self) -> usize {
        self.entries.iter().filter(|entry| entry.superseded && entry.deliveries > 0).count()
    }

    pub fn balance(&self) -> Balance {
        Balance {
            published: self.required,
            delivered: self.delivered,
            lost: self.required - self.delivered,
            duplicates: self.duplicates,
            changed: self.changed.len(),
            out_of_order: self.out_of_order.len(),
        }
    }

    pub fn missing(&self) -> impl Iterator<Item = &Published> {
        self.entries.iter().filter(|entry| entry.deliveries == 0 && !entry.superseded)
    }
}

/// A handle on the one ledger of a test.
#[derive(Clone, Default)]
pub struct Ledger {
    book: Arc<Watched<Book>>,
}

impl Ledger {
    pub fn publish(&self, stream: StreamId, id: u64, position_us: i64, bytes: &[u8]) {
        self.book.change(|book| book.publish(stream, id, position_us, bytes));
    }

    pub fn look<R>(&self, look: impl FnOnce(&Book) -> R) -> R {
        self.book.look(look)
    }

    pub fn change<R>(&self, change: impl FnOnce(&mut Book) -> R) -> R {
        self.book.change(change)
    }

    pub fn balance(&self) -> Balance {
        self.book.look(Book::balance)
    }

    pub fn wait<R>(&self, within: Duration, look: impl FnMut(&Book) -> Option<R>) -> Option<R> {
        self.book.wait(within, look)
    }

    /// Waits until everything that was published so far is delivered. Says whether it was. Gives up
    /// when nothing new is delivered for `silence`: a machine that is busy takes longer and moves.
    pub fn wait_complete(&self, silence: Duration) -> bool {
        loop {
            let before = self.look(|book| book.delivered);
            let moved = self.wait(silence, |book| {
                let complete = book.required == book.delivered;
                (complete || book.delivered != before).then_some(complete)
            });
            if moved != Some(false) {
                return moved.is_some();
            }
        }
    }

    /// The same, where the time that it takes is what is tested.
    pub fn wait_complete_within(&self, within: Duration) -> bool {
        self.wait(within, |book| (book.required == book.delivered).then_some(())).is_some()
    }

    pub fn wait_delivered(&self, count: usize, within: Duration) -> bool {
        self.wait(within, |book| (book.delivered >= count).then_some(())).is_some()
    }

    /// How often each version of one record was delivered, oldest version first.
    pub fn deliveries_of(&self, id: u64) -> Vec<u32> {
        self.look(|book| {
            book.entries.iter().filter(|entry| entry.id == id).map(|e| e.deliveries).collect()
        })
    }
}
