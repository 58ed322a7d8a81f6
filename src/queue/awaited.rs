//! What damage took out of the queue, record by record, until SentinelOne gave it again.
//!
//! ```text
//!   frame given up --its keys--> awaited --polled again----------------------> seen
//!                                   '------a newer version of it is polled---> superseded
//!   all of a gap seen or superseded --> the gap is closed, and told with how many were superseded
//! ```
//!
//! A threat is given in its newest version only, so one that changed meanwhile can't be had again as it
//! was. Promises: a gap is closed only once each of its keys is accounted for (keeps P1). Never: reads
//! the disk.

use std::collections::BTreeMap;

use super::index::{Batch, Pair};
use super::keys;
use crate::frame::Fields;
use crate::limits::{KNOWN_IDS_CHUNK_MAX, KNOWN_IDS_MAX};
use crate::record::RowKey;

/// The number of the row that tells how many were superseded; the others hold keys.
const HEAD: u16 = 0;
const VERSION: u8 = 1;
/// Keys of all gaps: those of a gap that would be beyond it are not waited for, and it stays open (P5).
const KEYS_MAX: usize = KNOWN_IDS_MAX;
const _: () = assert!(KEYS_MAX / KNOWN_IDS_CHUNK_MAX < u16::MAX as usize);

/// The newest version of each record of a page.
pub(super) type Page = BTreeMap<u64, RowKey>;

/// What one gap waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    superseded: u32,
    chunks: BTreeMap<u16, Vec<RowKey>>,
}

/// By the number of the gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Awaited {
    gaps: BTreeMap<u64, Wanted>,
}

/// All of a gap is accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Complete {
    pub gap: u64,
    /// So many of its records were replaced by newer versions before they could be had again.
    pub superseded: u32,
}

impl Wanted {
    /// Takes out what `page` accounts for, and puts what changed.
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
                0 => batch.remove(keys::awaited_key(gap, *number)),
                len if len < all => batch.put(keys::awaited_key(gap, *number), encoded(keys)),
                _ => {}
            }
        }
        self.chunks.retain(|_, keys| !keys.is_empty());
        if self.superseded > before {
            batch.put(keys::awaited_key(gap, HEAD), self.head());
        }
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

    /// Waits for these keys of a gap, of which so many more are superseded already. Answers with what is
    /// to be stored.
    pub fn want(&mut self, gap: u64, keys: &[RowKey], superseded: u32) -> Vec<Pair> {
        if keys.is_empty() || self.keys().count() + keys.len() > KEYS_MAX {
            return Vec::new();
        }
        let chunks = keys.chunks(KNOWN_IDS_CHUNK_MAX).map(<[RowKey]>::to_vec);
        let chunks = (HEAD + 1..).zip(chunks).collect();
        self.gaps.insert(gap, Wanted { superseded, chunks });
        self.pairs_of(gap)
    }

    fn keys(&self) -> impl Iterator<Item = (u64, &RowKey)> {
        self.gaps
            .iter()
            .flat_map(|(gap, wanted)| wanted.chunks.values().flatten().map(move |key| (*gap, key)))
    }

    /// Whether a page brings anything that is waited for. `is_of`: whether a gap is of its stream.
    pub fn is_any_in(&self, is_of: impl Fn(u64) -> bool, page: &Page) -> bool {
        let mut keys = self.keys();
        keys.any(|(gap, key)| {
            page.get(&key.id).is_some_and(|came| came.stamp >= key.stamp) && is_of(gap)
        })
    }

    /// A page was taken in. `is_of`: whether a gap is of its stream. Answers with the gaps that are
    /// complete by it.
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
                batch.remove(keys::awaited_key(*gap, HEAD));
            }
        }
        self.gaps.retain(|_, wanted| !wanted.chunks.is_empty());
        complete
    }

    /// Takes a row in as it was stored.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (gap, number) = keys::decode_awaited_key(key)?;
        let wanted = self.gaps.entry(gap).or_default();
        let mut fields = Fields(value);
        if number == HEAD {
            wanted.superseded = (fields.u8()? == VERSION).then(|| fields.u32())??;
            return Some(());
        }
        let ids = (0..value.len() / 16).map(|_| keys::decode_id(&mut fields));
        wanted.chunks.insert(number, ids.collect::<Option<_>>()?);
        Some(())
    }

    /// Everything, for a new index.
    pub fn pairs(&self) -> Vec<Pair> {
        self.gaps.keys().flat_map(|gap| self.pairs_of(*gap)).collect()
    }

    fn pairs_of(&self, gap: u64) -> Vec<Pair> {
        let Some(wanted) = self.gaps.get(&gap) else { return Vec::new() };
        let head = (keys::awaited_key(gap, HEAD), wanted.head());
        let chunks = wanted.chunks.iter();
        let chunks = chunks.map(|(number, keys)| (keys::awaited_key(gap, *number), encoded(keys)));
        [head].into_iter().chain(chunks).collect()
    }
}

/// Of a record that is in a page twice, its newest version.
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
    keys::encode_ids(&mut out, keys);
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
}
