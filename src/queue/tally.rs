//! The ids of collected records of a stream, by SentinelOne's creation time: reconciliation counts
//! them and finds late records with them.
//!
//! Promises: from `TallyRow::since` on it has every collected id, so that a count is exact and an
//! id that is missing was never collected; it has at most as many ids as configured, and drops the
//! oldest while `since` moves up (keeps P5). Never: decides what is fetched, or holds an id whose
//! record is neither in the queue nor delivered.

use std::collections::BTreeMap;

use super::schema::{ChunkId, TallyRow};
use super::streams::chunked;
use crate::limits::{
    KNOWN_IDS_CHUNK_MAX, RECONCILE_BACK_HOURS, TALLY_CHUNK_HOURS_MAX, TALLY_CHUNKS_PER_COMMIT_MAX,
};
use crate::record::{Progress, RowKey};
use crate::time::{Span, Stamp};

#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// `None` until the first page that is counted.
    pub row: Option<TallyRow>,
    chunks: BTreeMap<ChunkId, Vec<RowKey>>,
    ids: usize,
}

/// A page's change of a tally; written in the page's commit, then applied.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    pub row: Option<TallyRow>,
    pub learn: Vec<(ChunkId, Vec<RowKey>)>,
    pub forget: Vec<ChunkId>,
}

impl Tally {
    pub fn learn(&mut self, chunk: ChunkId, keys: Vec<RowKey>) {
        self.ids += keys.len();
        if let Some(before) = self.chunks.insert(chunk, keys) {
            self.ids -= before.len();
        }
    }

    fn forget(&mut self, chunk: ChunkId) {
        if let Some(before) = self.chunks.remove(&chunk) {
            self.ids -= before.len();
        }
    }

    /// Removes everything.
    pub fn clear(&mut self) -> Vec<ChunkId> {
        let chunks = std::mem::take(self).chunks;
        chunks.into_keys().collect()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.row.is_none() && self.chunks.is_empty()
    }

    /// The ids that walks collected in turn: whatever was visible and created before one of them
    /// had been passed by a walk when it was collected.
    pub fn in_turn(&self) -> impl Iterator<Item = &RowKey> {
        let chunks = self.chunks.iter().filter(|(chunk, _)| !chunk.is_out_of_turn());
        chunks.flat_map(|(_, keys)| keys)
    }

    pub fn chunks(&self) -> impl Iterator<Item = (ChunkId, &Vec<RowKey>)> {
        self.chunks.iter().map(|(chunk, keys)| (*chunk, keys))
    }

    /// How many records were created in `from..to`.
    pub fn count(&self, from: Stamp, to: Stamp) -> u64 {
        let in_range = |key: &&RowKey| key.stamp >= from && key.stamp < to;
        // A chunk is named by its newest stamp, so chunks before `from` need not be read.
        let first = ChunkId { newest: from, number: 0 };
        self.chunks.range(first..).flat_map(|(_, keys)| keys).filter(in_range).count() as u64
    }

    /// Which of these ids are missing. By the id alone: a threat is here once, with any number of
    /// versions.
    pub fn unseen(&self, ids: &[u64]) -> Vec<bool> {
        let mut wanted: Vec<(u64, usize)> = ids.iter().copied().zip(0..).collect();
        wanted.sort_unstable();
        let mut unseen = vec![true; ids.len()];
        let (Some(low), Some(high)) = (wanted.first(), wanted.last()) else { return unseen };
        let range = low.0..=high.0;
        for key in self.chunks.values().flatten().filter(|key| range.contains(&key.id)) {
            let first = wanted.partition_point(|(id, _)| *id < key.id);
            wanted[first..].iter().take_while(|(id, _)| *id == key.id).for_each(|(_, at)| {
                unseen[*at] = false;
            });
        }
        unseen
    }

    /// The change for a page with these keys by creation time, if at most `ids_max` are kept; 0:
    /// none. `before`: the stream's progress before the page: a new tally begins there.
    pub fn take(
        &self,
        created_keys: &[RowKey],
        before: Option<Progress>,
        after: Progress,
        (ids_max, next_chunk): (usize, &mut u64),
    ) -> Change {
        let mut change = Change::default();
        if ids_max == 0 {
            change.forget = self.chunks.keys().take(TALLY_CHUNKS_PER_COMMIT_MAX).copied().collect();
            return change;
        }
        let begin = before.map_or(after.from, |before| before.position);
        let mut row = self.row.unwrap_or(TallyRow {
            since: whole_second_after(begin),
            position: after.position,
            compared: None,
        });
        row.position = after.position;
        let ids: Vec<u64> = created_keys.iter().map(|key| key.id).collect();
        let unseen = self.unseen(&ids);
        let fresh = created_keys
            .iter()
            .zip(unseen)
            .filter(|(key, unseen)| *unseen && key.stamp >= row.since);
        let fresh: Vec<RowKey> = fresh.map(|(key, _)| *key).collect();
        let taken = fresh.len();
        let turn = before.unwrap_or(after).from;
        let (in_turn, out_of_turn) = fresh.into_iter().partition(|key| key.stamp >= turn);
        self.join(in_turn, 0, next_chunk, &mut change);
        self.join(out_of_turn, ChunkId::OUT_OF_TURN, next_chunk, &mut change);
        let horizon = after.position - Span::hours(RECONCILE_BACK_HOURS);
        let mut too_many = (self.ids + taken).saturating_sub(ids_max);
        for (chunk, keys) in self.chunks.iter().take(TALLY_CHUNKS_PER_COMMIT_MAX) {
            if chunk.newest >= horizon && too_many == 0 || change.forget.contains(chunk) {
                break;
            }
            too_many = too_many.saturating_sub(keys.len());
            row.since = row.since.max(whole_second_after(chunk.newest));
            change.forget.push(*chunk);
        }
        change.row = Some(row);
        change
    }

    /// Small chunks are joined once they are as many as the last one holds, so that a stream of
    /// single records makes few of them and each id is written only a few times.
    fn join(&self, mut ids: Vec<RowKey>, kind: u64, next_chunk: &mut u64, change: &mut Change) {
        let Some(newest) = ids.iter().map(|key| key.stamp).max() else { return };
        let of_kind = |chunk: &ChunkId| chunk.is_out_of_turn() == (kind == ChunkId::OUT_OF_TURN);
        for (chunk, keys) in self.chunks.iter().rev().filter(|(chunk, _)| of_kind(chunk)) {
            let oldest = keys.first().map_or(newest, |key| key.stamp);
            let spans_long = newest.since(oldest) > Span::hours(TALLY_CHUNK_HOURS_MAX);
            let is_long = keys.len() + ids.len() > KNOWN_IDS_CHUNK_MAX;
            if keys.len() > ids.len() || is_long || spans_long {
                break;
            }
            ids.extend(keys);
            change.forget.push(*chunk);
        }
        let chunks = chunked(&ids, next_chunk).into_iter();
        let named = |chunk: ChunkId| ChunkId { number: chunk.number | kind, ..chunk };
        change.learn.extend(chunks.map(|(chunk, keys)| (named(chunk), keys)));
    }

    pub fn apply(&mut self, change: Change) {
        change.forget.into_iter().for_each(|chunk| self.forget(chunk));
        change.learn.into_iter().for_each(|(chunk, keys)| self.learn(chunk, keys));
        if change.row.is_some() || self.chunks.is_empty() {
            self.row = change.row;
        }
    }
}

/// Ranges begin at whole seconds, because SentinelOne may compare in whole seconds only.
fn whole_second_after(stamp: Stamp) -> Stamp {
    const SECOND: i64 = 1_000_000;
    Stamp(stamp.0.saturating_add(SECOND).div_euclid(SECOND).saturating_mul(SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Stamp {
        Stamp::from_seconds(1_800_000_000 + seconds)
    }

    fn created_key(seconds: i64) -> RowKey {
        RowKey { stamp: at(seconds), id: 7_000 + seconds as u64 }
    }

    fn progress(seconds: i64) -> Progress {
        Progress { position: at(seconds), from: at(seconds - 120) }
    }

    /// A tally that took these pages in, remembering so many.
    fn tallied(pages: impl Iterator<Item = Vec<RowKey>>, ids_max: usize) -> Tally {
        let (mut tally, mut next_chunk, mut before) = (Tally::default(), 0, None);
        for page in pages {
            let newest = page.iter().map(|key| key.stamp).max().unwrap();
            let after = Progress { position: newest, from: at(0) };
            let change = tally.take(&page, before, after, (ids_max, &mut next_chunk));
            tally.apply(change);
            before = Some(after);
        }
        tally
    }

    #[test]
    fn what_is_remembered_is_counted_by_its_creation_and_found_by_its_id() {
        let tally = tallied((1..1_000).map(|n| vec![created_key(n)]), 5_000);
        assert_eq!(tally.count(at(1), at(1_000)), 999);
        assert_eq!(tally.count(at(10), at(20)), 10);
        assert_eq!(
            tally.unseen(&[7_005, 9, 7_005, 7_999, 8_000]),
            [false, true, false, false, true]
        );
        assert!(tally.chunks.len() < 30, "{} chunks for 999 single records", tally.chunks.len());
    }

    #[test]
    fn an_id_counts_once_whatever_its_versions() {
        let pages = [vec![created_key(5), created_key(6)], vec![created_key(6), created_key(7)]];
        assert_eq!(tallied(pages.into_iter(), 100).count(at(0), at(100)), 3);
    }

    #[test]
    fn too_many_ids_move_the_beginning_up_and_all_after_it_are_there() {
        let tally =
            tallied((1..1_000).map(|n| vec![created_key(2 * n), created_key(2 * n + 1)]), 500);
        let since = tally.row.unwrap().since;
        assert!(tally.ids <= 500 && since > at(1_000), "{} ids since {since}", tally.ids);
        let expected = at(2_000).since(since).as_ms() / 1_000;
        assert_eq!(tally.count(since, at(2_000)), expected);
    }

    #[test]
    fn what_is_older_than_the_horizon_is_forgotten() {
        let hour = 3_600;
        let far = (RECONCILE_BACK_HOURS + 2 * TALLY_CHUNK_HOURS_MAX) as i64;
        let tally = tallied((0..far).map(|n| vec![created_key(n * hour + 1)]), 5_000);
        assert!(tally.row.unwrap().since > at(hour), "{:?}", tally.row);
    }

    #[test]
    fn a_tally_begun_in_the_middle_speaks_of_what_comes_after() {
        let mut next_chunk = 0;
        let page = [created_key(99), created_key(101)];
        let ids = (100, &mut next_chunk);
        let change = Tally::default().take(&page, Some(progress(100)), progress(101), ids);
        assert_eq!(change.row.unwrap().since, at(101));
        assert_eq!(change.learn[0].1, [created_key(101)]);
    }

    #[test]
    fn told_to_remember_nothing_it_forgets() {
        let mut tally = tallied((1..100).map(|n| vec![created_key(n)]), 5_000);
        let mut next_chunk = 999;
        let change = tally.take(&[created_key(100)], None, progress(100), (0, &mut next_chunk));
        tally.apply(change);
        assert!(tally.is_empty());
    }

    #[test]
    fn a_chunk_that_is_learned_again_counts_once() {
        let (mut tally, chunk) = (Tally::default(), ChunkId { newest: at(9), number: 1 });
        tally.learn(chunk, (1..4).map(created_key).collect());
        tally.learn(chunk, (1..5).map(created_key).collect());
        assert_eq!((tally.ids, tally.count(at(0), at(9))), (4, 4));
    }

    #[test]
    fn clearing_names_every_chunk_and_leaves_nothing() {
        let mut tally = tallied((1..9).map(|n| vec![created_key(n), created_key(n + 100)]), 50);
        let held: Vec<ChunkId> = tally.chunks().map(|(chunk, _)| chunk).collect();
        assert!(!held.is_empty());
        assert_eq!(tally.clear(), held);
        assert!(tally.is_empty() && tally.ids == 0);
    }

    #[test]
    fn what_was_created_before_the_start_of_walks_is_kept_apart() {
        let (mut tally, mut next_chunk) = (Tally::default(), 7);
        let before = Progress { position: at(50), from: at(100) };
        for page in [[98, 99, 100, 101], [95, 96, 102, 103]] {
            let page = page.map(created_key);
            let ids = (100, &mut next_chunk);
            tally.apply(tally.take(&page, Some(before), progress(110), ids));
        }
        let mut in_turn: Vec<RowKey> = tally.in_turn().copied().collect();
        in_turn.sort_unstable();
        assert_eq!(in_turn, [100, 101, 102, 103].map(created_key));
        assert_eq!(tally.count(at(0), at(1_000)), 8, "and counted all the same");
    }

    #[test]
    fn the_horizon_itself_is_remembered() {
        let after = progress(0);
        let horizon = after.position - Span::hours(RECONCILE_BACK_HOURS);
        for (newest, stays) in [(horizon, true), (Stamp(horizon.0 - 1), false)] {
            let mut tally = Tally::default();
            tally.learn(ChunkId { newest, number: 1 }, vec![RowKey { stamp: newest, id: 1 }]);
            let change = tally.take(&[], Some(after), after, (100, &mut 1));
            assert_eq!(change.forget.is_empty(), stays, "{newest}");
        }
    }

    #[test]
    fn no_more_is_forgotten_than_the_limit_asks_for() {
        let row = TallyRow { since: at(0), position: at(30), compared: None };
        let mut tally = Tally { row: Some(row), ..Tally::default() };
        for n in 0..3 {
            let keys: Vec<RowKey> = (10 * n..10 * n + 10).map(created_key).collect();
            tally.learn(ChunkId { newest: keys[9].stamp, number: n as u64 }, keys);
        }
        for (ids_max, forgotten) in [(30, 0), (29, 1), (20, 1), (19, 2)] {
            let change = tally.take(&[], Some(progress(30)), progress(30), (ids_max, &mut 9));
            assert_eq!(change.forget.len(), forgotten, "{ids_max}");
            assert_eq!(change.row.unwrap().since, at(10 * forgotten as i64), "{ids_max}");
        }
    }

    #[test]
    fn single_records_are_written_only_a_few_times() {
        let (mut tally, mut next_chunk, mut written) = (Tally::default(), 0, 0);
        let after = Progress { position: at(0), from: at(0) };
        for n in 1..=1_000 {
            let change =
                tally.take(&[created_key(n)], Some(after), after, (9_999, &mut next_chunk));
            written += change.learn.iter().map(|(_, keys)| keys.len()).sum::<usize>();
            tally.apply(change);
        }
        assert_eq!(tally.ids, 1_000);
        assert!(written <= 10_000, "{written} ids were written for 1,000 records");
    }
}
