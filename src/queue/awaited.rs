//! The records that damage took out of the queue, one by one, until SentinelOne sends them again.
//!
//! ```text
//!   frame given up --its keys--> awaited --polled again----------------------> seen
//!                                   '------a newer version of it is polled---> superseded
//!   all of a gap seen or superseded --> the gap is closed, and reported with how many were superseded
//! ```
//!
//! SentinelOne sends a threat only in its newest version, so a version that was replaced meanwhile
//! can't be had again. Promises: a gap is closed only once each of its keys is accounted for (keeps
//! P1). Never: reads the disk.

use std::collections::BTreeMap;

use super::gaps::Gone;
use super::index::{Batch, Pair};
use super::schema;
use crate::frame::Fields;
use crate::limits::{CHECKPOINT_KNOWN_IDS_MAX, KNOWN_IDS_CHUNK_MAX, KNOWN_IDS_MAX};
use crate::record::RowKey;

/// The number of the row with the count of superseded records; the other rows hold keys.
const HEAD: u16 = 0;
const VERSION: u8 = 1;
/// Keys of all gaps together: a gap whose keys would exceed it is not awaited and stays open (P5).
const KEYS_MAX: usize = KNOWN_IDS_MAX;
const _: () = assert!(KEYS_MAX / KNOWN_IDS_CHUNK_MAX < u16::MAX as usize);

/// The newest version of each record of a page.
pub(super) type Page = BTreeMap<u64, RowKey>;

/// The records that one gap waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    superseded: u32,
    chunks: BTreeMap<u16, Vec<RowKey>>,
}

/// By the gap's number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Awaited {
    gaps: BTreeMap<u64, Wanted>,
}

/// All records of a gap are accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Complete {
    pub gap: u64,
    /// How many of its records were replaced by newer versions before they could be had again.
    pub superseded: u32,
}

impl Wanted {
    /// Removes the keys that `page` accounts for, and adds the changed rows to the batch.
    fn settle(&mut self, gap: u64, page: &Page, batch: &mut Batch) {
        let before = self.superseded;
        for (number, keys) in &mut self.chunks {
            let all = keys.len();
            keys.retain(|key| match page.get(&key.id) {
                Some(came) if came.stamp > key.stamp => {
                    self.superseded += 1;
                    false
                }
                Some(came) => came.stamp != key.stamp,
                None => true,
            });
            match keys.len() {
                0 => batch.remove(schema::awaited_key(gap, *number)),
                len if len < all => batch.put(schema::awaited_key(gap, *number), encoded(keys)),
                _ => {}
            }
        }
        self.chunks.retain(|_, keys| !keys.is_empty());
        if self.superseded > before {
            batch.put(schema::awaited_key(gap, HEAD), self.head());
        }
    }

    fn keys(&self) -> Vec<RowKey> {
        self.chunks.values().flatten().copied().collect()
    }

    fn head(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.superseded.to_le_bytes());
        out
    }
}

impl Awaited {
    pub fn is_empty(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Waits for these keys of a gap; `superseded` more of its records are superseded already.
    /// Returns the rows to store.
    pub fn want(&mut self, gap: u64, keys: &[RowKey], superseded: u32) -> Vec<Pair> {
        if keys.is_empty() || self.keys().count() + keys.len() > KEYS_MAX {
            return Vec::new();
        }
        let chunks = keys.chunks(KNOWN_IDS_CHUNK_MAX).map(<[RowKey]>::to_vec);
        let chunks = (HEAD + 1..).zip(chunks).collect();
        self.gaps.insert(gap, Wanted { superseded, chunks });
        self.pairs_of(gap)
    }

    /// An open gap is no longer kept by itself: the gap that it was merged into waits for its
    /// records too, if it is known for both which those are. Otherwise neither can be known to be
    /// complete.
    pub fn follow(&mut self, Gone { number, into }: Gone, batch: &mut Batch) {
        let gone = self.forget(number, batch);
        let Some(into) = into else { return };
        let kept = self.forget(into, batch);
        if let Some((gone, kept)) = gone.zip(kept) {
            let keys = [kept.keys(), gone.keys()].concat();
            let pairs = self.want(into, &keys, kept.superseded + gone.superseded);
            pairs.into_iter().for_each(|(key, value)| batch.put(key, value));
        }
    }

    fn forget(&mut self, gap: u64, batch: &mut Batch) -> Option<Wanted> {
        let wanted = self.gaps.remove(&gap)?;
        [HEAD].iter().chain(wanted.chunks.keys()).for_each(|number| {
            batch.remove(schema::awaited_key(gap, *number));
        });
        Some(wanted)
    }

    /// For the checkpoint: as many gaps as it may hold keys of.
    pub fn encode(&self) -> Vec<u8> {
        let (mut out, mut room) = (Vec::new(), CHECKPOINT_KNOWN_IDS_MAX);
        for (gap, wanted) in &self.gaps {
            let keys = wanted.keys();
            if keys.len() <= room {
                room -= keys.len();
                out.extend_from_slice(&gap.to_le_bytes());
                out.extend_from_slice(&wanted.superseded.to_le_bytes());
                out.extend_from_slice(&(keys.len() as u32).to_le_bytes());
                schema::encode_ids(&mut out, &keys);
            }
        }
        out
    }

    /// What `encode` made.
    pub fn decode(fields: &mut Fields<'_>) -> Option<Awaited> {
        let mut awaited = Awaited::default();
        while !fields.0.is_empty() {
            let (gap, superseded, count) = (fields.u64()?, fields.u32()?, fields.u32()?);
            let keys = (0..count).map(|_| schema::decode_id(fields)).collect::<Option<Vec<_>>>()?;
            awaited.want(gap, &keys, superseded);
        }
        Some(awaited)
    }

    fn keys(&self) -> impl Iterator<Item = (u64, &RowKey)> {
        self.gaps
            .iter()
            .flat_map(|(gap, wanted)| wanted.chunks.values().flatten().map(move |key| (*gap, key)))
    }

    /// Whether a page contains an awaited record. `is_of`: whether a gap is of the page's stream.
    pub fn is_any_in(&self, is_of: impl Fn(u64) -> bool, page: &Page) -> bool {
        let mut keys = self.keys();
        keys.any(|(gap, key)| {
            page.get(&key.id).is_some_and(|came| came.stamp >= key.stamp) && is_of(gap)
        })
    }

    /// A page was stored. `is_of`: whether a gap is of the page's stream. Returns the gaps that are
    /// complete now.
    pub fn came(
        &mut self,
        is_of: impl Fn(u64) -> bool,
        page: &Page,
        batch: &mut Batch,
    ) -> Vec<Complete> {
        let mut complete = Vec::new();
        for (gap, wanted) in &mut self.gaps {
            if !is_of(*gap) {
                continue;
            }
            wanted.settle(*gap, page, batch);
            if wanted.chunks.is_empty() {
                complete.push(Complete { gap: *gap, superseded: wanted.superseded });
                batch.remove(schema::awaited_key(*gap, HEAD));
            }
        }
        self.gaps.retain(|_, wanted| !wanted.chunks.is_empty());
        complete
    }

    /// Whether a newer version wrote this row; the head row tells it for all rows of its gap.
    pub fn is_newer(key: &[u8], value: &[u8]) -> bool {
        let is_head = schema::decode_awaited_key(key).is_some_and(|(_, number)| number == HEAD);
        is_head && value.first().is_some_and(|version| *version > VERSION)
    }

    /// Loads a stored row.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (gap, number) = schema::decode_awaited_key(key)?;
        let wanted = self.gaps.entry(gap).or_default();
        let mut fields = Fields(value);
        if number == HEAD {
            wanted.superseded = (fields.u8()? == VERSION).then(|| fields.u32())??;
            return Some(());
        }
        let ids = (0..value.len() / 16).map(|_| schema::decode_id(&mut fields));
        wanted.chunks.insert(number, ids.collect::<Option<_>>()?);
        Some(())
    }

    /// All rows, for a new index.
    pub fn pairs(&self) -> Vec<Pair> {
        self.gaps.keys().flat_map(|gap| self.pairs_of(*gap)).collect()
    }

    fn pairs_of(&self, gap: u64) -> Vec<Pair> {
        let Some(wanted) = self.gaps.get(&gap) else { return Vec::new() };
        let head = (schema::awaited_key(gap, HEAD), wanted.head());
        let chunks = wanted.chunks.iter();
        let chunks =
            chunks.map(|(number, keys)| (schema::awaited_key(gap, *number), encoded(keys)));
        [head].into_iter().chain(chunks).collect()
    }
}

/// The newest version of each record.
pub(super) fn newest_of(keys: impl Iterator<Item = RowKey>) -> Page {
    let mut page = Page::new();
    for key in keys {
        let newest = page.entry(key.id).or_insert(key);
        *newest = (*newest).max(key);
    }
    page
}

fn encoded(keys: &[RowKey]) -> Vec<u8> {
    let mut out = Vec::with_capacity(keys.len() * 16);
    schema::encode_ids(&mut out, keys);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Stamp;

    fn key(id: u64, stamp: i64) -> RowKey {
        RowKey { stamp: Stamp(stamp), id }
    }

    fn page(keys: &[RowKey]) -> Page {
        newest_of(keys.iter().copied())
    }

    fn come(awaited: &mut Awaited, keys: &[RowKey]) -> Vec<Complete> {
        awaited.came(|_| true, &page(keys), &mut Batch::default())
    }

    #[test]
    fn a_gap_is_complete_once_each_key_came_again_or_in_a_newer_version() {
        let mut awaited = Awaited::default();
        let keys: Vec<RowKey> = (0..500).map(|id| key(id, 10)).collect();
        awaited.want(7, &keys, 2);
        assert_eq!(come(&mut awaited, &keys[..499]), []);
        assert_eq!(come(&mut awaited, &[key(499, 9)]), [], "an older version is another record");
        let complete = Complete { gap: 7, superseded: 3 };
        assert_eq!(come(&mut awaited, &[key(499, 11)]), [complete]);
        assert!(awaited.is_empty());
    }

    #[test]
    fn what_another_stream_brings_is_not_waited_for() {
        let mut awaited = Awaited::default();
        awaited.want(7, &[key(1, 1)], 0);
        let batch = &mut Batch::default();
        assert!(!awaited.is_any_in(|_| false, &page(&[key(1, 1)])));
        let came = awaited.came(|_| false, &page(&[key(1, 1)]), batch);
        assert!(came.is_empty() && batch.is_empty() && !awaited.is_empty());
    }

    #[test]
    fn a_page_that_brings_nothing_of_it_is_told_from_one_that_does() {
        let mut awaited = Awaited::default();
        awaited.want(7, &[key(1, 5)], 0);
        for (came, is_any) in
            [(key(1, 5), true), (key(1, 6), true), (key(1, 4), false), (key(2, 5), false)]
        {
            assert_eq!(awaited.is_any_in(|_| true, &page(&[came])), is_any, "{came:?}");
        }
    }

    #[test]
    fn no_more_keys_are_held_than_of_one_stream() {
        let mut awaited = Awaited::default();
        let keys: Vec<RowKey> = (0..KEYS_MAX as u64).map(|id| key(id, 1)).collect();
        assert!(!awaited.want(1, &keys, 0).is_empty());
        assert!(awaited.want(2, &[key(9, 9)], 0).is_empty(), "its gap stays open");
    }

    #[test]
    fn what_two_gaps_wait_for_is_waited_for_by_the_one_that_stands_for_both() {
        let mut awaited = Awaited::default();
        let mut rows: BTreeMap<_, _> =
            awaited.want(7, &[key(1, 1), key(2, 2)], 1).into_iter().collect();
        rows.extend(awaited.want(8, &[key(3, 3)], 2));
        let mut batch = Batch::default();
        awaited.follow(Gone { number: 8, into: Some(7) }, &mut batch);
        for (key, value) in batch.changes {
            match value {
                Some(value) => drop(rows.insert(key, value)),
                None => drop(rows.remove(&key)),
            }
        }
        assert_eq!(rows, awaited.pairs().into_iter().collect());
        assert_eq!(come(&mut awaited, &[key(1, 1), key(2, 2)]), []);
        assert_eq!(come(&mut awaited, &[key(3, 3)]), [Complete { gap: 7, superseded: 3 }]);
        // Where one of them does not tell, or stands for others that do not, it is never complete.
        for (waits, into) in [(7, Some(9)), (9, Some(9)), (7, None)] {
            let mut awaited = Awaited::default();
            awaited.want(waits, &[key(1, 1)], 0);
            awaited.follow(Gone { number: 7, into }, &mut Batch::default());
            assert!(come(&mut awaited, &[key(1, 1)]).is_empty() && awaited.pairs().is_empty());
        }
    }

    #[test]
    fn a_checkpoint_has_what_is_waited_for_within_its_bound() {
        let mut awaited = Awaited::default();
        awaited.want(7, &(0..300).map(|id| key(id, 10)).collect::<Vec<_>>(), 1);
        awaited.want(9, &[key(5, 6)], 0);
        let read = |awaited: &Awaited| Awaited::decode(&mut Fields(&awaited.encode()));
        assert_eq!(read(&awaited), Some(awaited.clone()));
        let bytes = awaited.encode();
        assert_eq!(Awaited::decode(&mut Fields(&bytes[..bytes.len() - 1])), None);
        let many: Vec<RowKey> = (0..CHECKPOINT_KNOWN_IDS_MAX as u64).map(|id| key(id, 1)).collect();
        awaited.want(8, &many, 0);
        let left: Vec<u64> = read(&awaited).unwrap().gaps.into_keys().collect();
        assert_eq!(left, [7, 9], "the gap of which there is no room stays open");
    }

    #[test]
    fn what_is_stored_is_read_again_as_it_was() {
        let mut awaited = Awaited::default();
        awaited.want(7, &(0..300).map(|id| key(id, 10)).collect::<Vec<_>>(), 1);
        let mut batch = Batch::default();
        awaited.came(|_| true, &page(&[key(1, 11), key(2, 10)]), &mut batch);
        let mut rows: BTreeMap<_, _> = awaited.pairs().into_iter().collect();
        // Only what changed is written.
        assert_eq!(batch.changes.len(), 2);
        rows.extend(batch.changes.into_iter().map(|(key, value)| (key, value.unwrap())));
        let mut read = Awaited::default();
        rows.iter().for_each(|(key, value)| read.load(key, value).unwrap());
        assert_eq!(read, awaited);
    }

    /// What is stored and what is in memory stay the same, whatever comes in whatever order.
    #[test]
    fn nothing_stays_stored_of_what_came() {
        let mut awaited = Awaited::default();
        let first: Vec<RowKey> = (0..300).map(|id| key(id, 10)).collect();
        let mut rows: BTreeMap<_, _> = awaited.want(7, &first, 0).into_iter().collect();
        rows.extend(awaited.want(8, &[key(900, 10)], 0));
        for came in [
            vec![key(3, 10), key(4, 11)],
            (200..300).map(|id| key(id, 10)).collect(),
            vec![key(900, 12)],
            (0..200).map(|id| key(id, 10)).collect(),
        ] {
            let mut batch = Batch::default();
            awaited.came(|_| true, &page(&came), &mut batch);
            for (key, value) in batch.changes {
                match value {
                    Some(value) => drop(rows.insert(key, value)),
                    None => drop(rows.remove(&key)),
                }
            }
            assert_eq!(rows, awaited.pairs().into_iter().collect(), "{came:?}");
        }
        assert!(awaited.is_empty());
    }

    #[test]
    fn of_two_versions_in_a_page_the_newer_counts() {
        for came in [[key(1, 5), key(1, 9)], [key(1, 9), key(1, 5)]] {
            let mut awaited = Awaited::default();
            awaited.want(7, &[key(1, 7)], 0);
            assert_eq!(come(&mut awaited, &came), [Complete { gap: 7, superseded: 1 }]);
        }
    }

    #[test]
    fn a_checkpoint_is_filled_to_its_bound_and_not_beyond_it() {
        let many = |from: u64, count: usize| -> Vec<RowKey> {
            (from..from + count as u64).map(|id| key(id, 1)).collect()
        };
        for (last, is_kept) in [(0, true), (1, false)] {
            let mut awaited = Awaited::default();
            awaited.want(1, &many(0, 5_000), 0);
            awaited.want(2, &many(10_000, 3_000), 0);
            awaited.want(3, &many(20_000, CHECKPOINT_KNOWN_IDS_MAX - 8_000 + last), 0);
            let read = Awaited::decode(&mut Fields(&awaited.encode())).unwrap();
            assert_eq!(read.gaps.contains_key(&3), is_kept);
            assert!(read.gaps.contains_key(&1) && read.gaps.contains_key(&2));
        }
    }
}
