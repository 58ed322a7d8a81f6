//! The streams the queue knows, with the ids of their overlap in memory.
//!
//! The ids are in the index too; here they are so that a broken index costs none of them, and so
//! that stale ones are found without asking. Promises: at most `STORED_IDS_MAX` for one stream,
//! and then some of a page (P5).

use std::collections::BTreeMap;

use super::keys::{ChunkId, StreamRow};
use super::tally::Tally;
use crate::limits::{KNOWN_IDS_CHUNK_MAX, STALE_CHUNKS_PER_COMMIT_MAX, STORED_IDS_MAX};
use crate::record::{Progress, RowKey, StreamName};
use crate::time::Stamp;

/// One stream.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub number: u16,
    pub row: StreamRow,
    chunks: BTreeMap<ChunkId, Vec<RowKey>>,
    ids: usize,
    pub tally: Tally,
    /// Where walks began before the next page, if not where the last page left it.
    pub walks_from: Option<Stamp>,
}

impl Stream {
    /// Where the stream stood and walks began before the page that is taken in now.
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

    pub fn unlearn(&mut self, chunk: ChunkId) {
        if let Some(before) = self.chunks.remove(&chunk) {
            self.ids -= before.len();
        }
    }

    /// The chunks that are wholly before `from`, and the oldest ones of too many; a bounded
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

    /// Takes all chunks out.
    pub fn unlearn_all(&mut self) -> Vec<ChunkId> {
        self.ids = 0;
        std::mem::take(&mut self.chunks).into_keys().collect()
    }
}

/// Cuts ids into chunks of neighbours, so that a chunk grows stale all at once.
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
        self.all.push(Stream { number, row, chunks, ids: 0, tally, walks_from: None });
    }

    /// The stream of this name; a new one gets the next number.
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

/// The earlier of two progresses, member by member: what both agree is settled.
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
            stream.unlearn(chunk);
        }
        assert_eq!(stream.known(Stamp(0)).len(), STORED_IDS_MAX);
    }
}
