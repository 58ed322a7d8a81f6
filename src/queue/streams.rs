//! The streams the queue knows, with the ids of their overlap in memory.
//!
//! The ids are in the index too; they are in memory so that a broken index loses none of them, and
//! so that stale ones are found without reading. Promises: at most `STORED_IDS_MAX` for one stream,
//! plus some of a page (P5).

use std::collections::BTreeMap;

use super::index::Batch;
use super::schema::{self, ChunkId, CoveredRow, StreamRow};
use super::tally::Tally;
use crate::limits::{KNOWN_IDS_CHUNK_MAX, STALE_CHUNKS_PER_COMMIT_MAX, STORED_IDS_MAX};
use crate::record::{Covered, Progress, RowKey, StreamName};
use crate::time::Stamp;

/// One stream.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub number: u16,
    pub row: StreamRow,
    chunks: BTreeMap<ChunkId, Vec<RowKey>>,
    ids: usize,
    pub tally: Tally,
    /// Where walks started before the next page, if not where the last page left it.
    pub walks_from: Option<Stamp>,
    /// Ids at or after it stay known, if that is before where walks start: the stream may have to
    /// go back there.
    pub ids_from: Stamp,
    /// Ranges after a position that damage set back, which were collected already.
    pub covered: Covered,
    /// The index has a row for `covered`.
    pub has_covered_row: bool,
}

impl Stream {
    /// The stream's position, and where walks started, before the page that is stored now.
    pub fn take_stood(&mut self) -> Option<Progress> {
        let began = self.walks_from.take().unwrap_or(Stamp::MIN);
        self.row.progress.map(|at| Progress { from: at.from.max(began), ..at })
    }

    pub fn learn(&mut self, chunk: ChunkId, keys: Vec<RowKey>) {
        self.ids += keys.len();
        if let Some(before) = self.chunks.insert(chunk, keys) {
            self.ids -= before.len();
        }
    }

    pub fn forget(&mut self, chunk: ChunkId) {
        if let Some(before) = self.chunks.remove(&chunk) {
            self.ids -= before.len();
        }
    }

    /// The chunks that are entirely before `from`, and the oldest ones beyond the limit; a bounded
    /// number at a time, so that a commit stays small.
    pub fn stale(&self, from: Stamp) -> Vec<ChunkId> {
        let mut too_many = self.ids.saturating_sub(STORED_IDS_MAX);
        let mut stale = Vec::new();
        for (chunk, keys) in self.chunks.iter().take(STALE_CHUNKS_PER_COMMIT_MAX) {
            if chunk.newest >= from && too_many == 0 {
                break;
            }
            too_many = too_many.saturating_sub(keys.len());
            stale.push(*chunk);
        }
        stale
    }

    pub fn chunks(&self) -> impl Iterator<Item = (ChunkId, &Vec<RowKey>)> {
        self.chunks.iter().map(|(chunk, keys)| (*chunk, keys))
    }

    /// The known ids at or after `from`, oldest first.
    pub fn known(&self, from: Stamp) -> Vec<RowKey> {
        let keys = self.chunks.values().flatten().copied();
        let mut keys: Vec<RowKey> = keys.filter(|key| key.stamp >= from).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Stores the ranges that were collected already, with the stream's progress in this commit.
    pub fn put_covered(&mut self, newest_gap: u64, batch: &mut Batch) {
        match self.row.progress.filter(|_| !self.covered.is_empty()) {
            Some(progress) => {
                let row = CoveredRow { progress, newest_gap, covered: self.covered.clone() };
                batch.put(schema::covered_key(self.number), row.encode());
                self.has_covered_row = true;
            }
            None if self.has_covered_row => {
                batch.remove(schema::covered_key(self.number));
                self.has_covered_row = false;
            }
            None => {}
        }
    }

    /// Loads such a row, if it was written with the present progress.
    pub fn load_covered(&mut self, value: &[u8], newest_gap: u64) {
        self.has_covered_row = true;
        let is_of = |row: &CoveredRow| {
            Some(row.progress) == self.row.progress && row.newest_gap == newest_gap
        };
        self.covered = CoveredRow::decode(value)
            .filter(is_of)
            .map_or_else(Covered::default, |row| row.covered);
    }

    /// A page with these keys was stored. A new record within a range that counts as collected
    /// shows that the range was not complete.
    pub fn pass_covered(&mut self, mut keys: impl Iterator<Item = RowKey>) {
        if !self.covered.is_empty() && keys.any(|key| self.covered.has(key.stamp)) {
            self.covered = Covered::default();
        }
        if let Some(progress) = self.row.progress {
            self.covered.forget_before(progress.from);
        }
    }

    /// The stream was moved for another reason: ranges that were collected already are forgotten.
    pub fn uncover(&mut self, batch: &mut Batch) {
        self.covered = Covered::default();
        self.put_covered(0, batch);
    }

    /// Removes all chunks.
    pub fn forget_all(&mut self) -> Vec<ChunkId> {
        self.ids = 0;
        std::mem::take(&mut self.chunks).into_keys().collect()
    }
}

/// Divides ids into chunks of neighbouring stamps, so that a chunk becomes stale as a whole.
pub(super) fn chunked(keys: &[RowKey], next: &mut u64) -> Vec<(ChunkId, Vec<RowKey>)> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let chunks = keys.chunks(KNOWN_IDS_CHUNK_MAX).map(|chunk| {
        let newest = chunk.iter().map(|key| key.stamp).max().unwrap_or(Stamp::MIN);
        *next += 1;
        (ChunkId { newest, number: *next }, chunk.to_vec())
    });
    chunks.collect()
}

/// All streams, by their number in the index.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    all: Vec<Stream>,
}

impl Streams {
    pub fn add(&mut self, number: u16, row: StreamRow) {
        let (chunks, tally) = (BTreeMap::new(), Tally::default());
        let covered = Covered::default();
        let stream = Stream {
            number,
            row,
            chunks,
            ids: 0,
            tally,
            walks_from: None,
            ids_from: Stamp::UNREADABLE,
            covered,
            has_covered_row: false,
        };
        self.all.push(stream);
    }

    /// The stream with this name; a new one gets the next number.
    pub fn named(&mut self, name: &StreamName) -> &mut Stream {
        let at = match self.all.iter().position(|stream| stream.row.name == *name) {
            Some(at) => at,
            None => {
                let used = self.all.iter().map(|stream| stream.number + 1).max();
                let row = StreamRow { name: name.clone(), progress: None, delivered: None };
                self.add(used.unwrap_or(0), row);
                self.all.len() - 1
            }
        };
        &mut self.all[at]
    }

    pub fn find(&self, name: &StreamName) -> Option<&Stream> {
        self.all.iter().find(|stream| stream.row.name == *name)
    }

    pub fn numbered(&mut self, number: u16) -> Option<&mut Stream> {
        self.all.iter_mut().find(|stream| stream.number == number)
    }

    pub fn remove(&mut self, number: u16) {
        self.all.retain(|stream| stream.number != number);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.all.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.all.iter_mut()
    }
}

/// The earlier of two progresses, member by member: what both have passed is settled.
pub(super) fn earlier(a: Progress, b: Progress) -> Progress {
    Progress { position: a.position.min(b.position), from: a.from.min(b.from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    fn key(us: i64) -> RowKey {
        RowKey { stamp: Stamp(us), id: us as u64 }
    }

    #[test]
    fn chunks_before_from_are_stale_and_too_many_ids_are_too() {
        let mut streams = Streams::default();
        let name = StreamName::polled("acme", Kind::Threats);
        let stream = streams.named(&name);
        let keys: Vec<RowKey> = (0..1_000).map(key).collect();
        let mut next = 0;
        for (chunk, keys) in chunked(&keys, &mut next) {
            stream.learn(chunk, keys);
        }
        assert_eq!(stream.chunks.len(), 5);
        assert_eq!(stream.stale(Stamp(0)), []);
        assert_eq!(stream.stale(Stamp(239)), []);
        assert_eq!(stream.stale(Stamp(240)).len(), 1);
        assert_eq!(stream.stale(Stamp(9_999)).len(), 5);
        assert_eq!(stream.known(Stamp(990)), (990..1_000).map(key).collect::<Vec<_>>());
        let keys: Vec<RowKey> = (2_000..2_000 + STORED_IDS_MAX as i64).map(key).collect();
        for (chunk, keys) in chunked(&keys, &mut next) {
            stream.learn(chunk, keys);
        }
        assert_eq!(stream.stale(Stamp(0)).len(), 5);
        for chunk in stream.stale(Stamp(0)) {
            stream.forget(chunk);
        }
        assert_eq!(stream.known(Stamp(0)).len(), STORED_IDS_MAX);
    }

    fn acme() -> StreamName {
        StreamName::polled("acme", Kind::Threats)
    }

    fn progress(position: i64, from: i64) -> Progress {
        Progress { position: Stamp(position), from: Stamp(from) }
    }

    /// A stream at 90 that has collected what lies from 60 to 70 already.
    fn covered(streams: &mut Streams) -> &mut Stream {
        let stream = streams.named(&acme());
        stream.row.progress = Some(progress(90, 50));
        stream.covered.add(Stamp(60), Stamp(70));
        stream
    }

    #[test]
    fn where_walks_started_counts_for_one_page() {
        let mut streams = Streams::default();
        let stream = streams.named(&acme());
        stream.walks_from = Some(Stamp(1));
        assert_eq!(stream.take_stood(), None, "it has not begun");
        stream.row.progress = Some(progress(50, 20));
        for (began, from) in [(None, 20), (Some(30), 30), (None, 20), (Some(10), 20)] {
            stream.walks_from = began.map(Stamp);
            assert_eq!(stream.take_stood(), Some(progress(50, from)), "{began:?}");
            assert_eq!(stream.walks_from, None);
        }
    }

    #[test]
    fn the_limit_counts_what_is_held() {
        let mut streams = Streams::default();
        let stream = streams.named(&acme());
        let [first, second] = [1, 2].map(|number| ChunkId { newest: Stamp(9), number });
        stream.learn(first, (1..4).map(key).collect());
        stream.learn(first, (1..5).map(key).collect());
        assert_eq!(stream.ids, 4);
        stream.learn(second, (5..8).map(key).collect());
        stream.forget(first);
        stream.forget(first);
        assert_eq!((stream.ids, stream.known(Stamp(0)).len()), (3, 3));
        assert_eq!(stream.forget_all(), [second]);
        assert_eq!((stream.ids, stream.known(Stamp(0)).len()), (0, 0));
    }

    #[test]
    fn ids_in_any_order_become_chunks_of_neighbours_without_doubles() {
        let mut next = 40;
        let last = 2 * KNOWN_IDS_CHUNK_MAX as i64;
        let keys: Vec<RowKey> = (1..=last).rev().chain([5, 5, last]).map(key).collect();
        let chunks = chunked(&keys, &mut next);
        let newest: Vec<_> =
            chunks.iter().map(|(chunk, _)| (chunk.newest.0, chunk.number)).collect();
        assert_eq!(newest, [(last / 2, 41), (last, 42)]);
        assert_eq!(next, 42, "the next page does not overwrite them");
        let ids = chunks.into_iter().flat_map(|(_, keys)| keys);
        assert_eq!(ids.collect::<Vec<_>>(), (1..=last).map(key).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_collected_already_is_stored_with_its_progress_and_removed_once() {
        let (mut streams, mut after) = (Streams::default(), Streams::default());
        let mut batch = Batch::default();
        let stream = streams.named(&acme());
        stream.row.progress = Some(progress(90, 50));
        stream.put_covered(3, &mut batch);
        stream.uncover(&mut batch);
        assert!(batch.is_empty(), "most streams never have any");
        let stream = covered(&mut streams);
        stream.put_covered(3, &mut batch);
        let row_key = schema::covered_key(stream.number);
        let [(at, Some(row))] = &batch.changes[..] else { panic!("{batch:?}") };
        assert_eq!(*at, row_key);
        // The next process.
        let started = after.named(&acme());
        started.row.progress = stream.row.progress;
        started.load_covered(row, 3);
        assert_eq!(started.covered, stream.covered);
        for stream in [stream, started] {
            let mut batch = Batch::default();
            stream.uncover(&mut batch);
            assert!(stream.covered.is_empty());
            assert_eq!(batch.changes, [(row_key.clone(), None)]);
            stream.uncover(&mut batch);
            assert_eq!(batch.changes.len(), 1, "it is not removed again");
        }
    }

    #[test]
    fn only_a_record_within_it_or_the_start_of_walks_behind_it_ends_a_range() {
        for (keys, from, stays) in [
            (vec![59, 70], 50, true),
            (vec![], 69, true),
            (vec![59, 60], 50, false),
            (vec![69], 50, false),
            (vec![], 70, false),
        ] {
            let mut streams = Streams::default();
            let stream = covered(&mut streams);
            stream.row.progress = Some(progress(90, from));
            stream.pass_covered(keys.iter().copied().map(key));
            assert_eq!(!stream.covered.is_empty(), stays, "{keys:?} {from}");
        }
    }

    #[test]
    fn a_stream_that_is_removed_is_gone_and_no_other() {
        let mut streams = Streams::default();
        let names = [Kind::Threats, Kind::Activities].map(|kind| StreamName::polled("acme", kind));
        let numbers = names.each_ref().map(|name| streams.named(name).number);
        streams.remove(numbers[0]);
        assert!(streams.find(&names[0]).is_none());
        assert_eq!(streams.find(&names[1]).map(|stream| stream.number), Some(numbers[1]));
        assert_ne!(streams.named(&names[0]).number, numbers[1], "a new number");
    }
}
