//! Taking a stream back from a position that can't be right.
//!
//! Promises: progress, ids and gap are one commit; records collected near the new position stay
//! known as far as their ids are, so that they are not sent twice (keeps P2); the new position is
//! one that a walk has passed, not the stamp of a record that was only listed (keeps P1). Never:
//! decides that a position can't be right.

use super::append::chunk_pairs;
use super::disk::Disk;
use super::index::Batch;
use super::quarantine::Found;
use super::streams::{chunked, earlier};
use super::{Queue, QueueError, put_state, put_stream_back};
use crate::limits::KNOWN_IDS_MAX;
use crate::record::{
    Category, Gap, GapReason, Kind, Progress, QueueStatus, StreamName, StreamStatus,
};
use crate::time::{Span, Stamp};

/// The position to which a stream is taken back.
#[derive(Clone, Copy, Debug)]
pub struct Back {
    /// The latest possible stamp: the stream goes to the newest record collected before it.
    pub latest: Stamp,
    /// How far before that record the next walk starts.
    pub overlap: Span,
    /// Where the stream begins if no such record is known.
    pub begin: Progress,
    /// Whether records may have been missed before `begin`, which is a gap then.
    pub is_open: bool,
}

impl<D: Disk> Queue<D> {
    /// Takes a stream back, durably. It never moves it forward.
    pub fn set_back(
        &mut self,
        name: &StreamName,
        back: Back,
    ) -> Result<(QueueStatus, StreamStatus), QueueError> {
        self.index()?;
        let stream = self.streams.named(name);
        let (number, before) = (stream.number, stream.row.progress);
        let known_keys = stream.chunks().flat_map(|(_, keys)| keys);
        // Without ids collected out of turn, by a list or for a change while the position was
        // ahead: they may be dated after records that no walk has read.
        let stamps = known_keys.chain(stream.tally.in_turn()).map(|key| key.stamp);
        let newest = stamps.filter(|stamp| *stamp <= back.latest).max();
        let to = newest.map_or(back.begin, |newest| Progress {
            position: newest,
            from: newest - back.overlap,
        });
        let to = before.map_or(to, |before| earlier(before, to));

        let had = stream.known(to.from);
        let mut known = had.clone();
        // A walk does not identify a threat by its creation time.
        if name.category != Category::Polled(Kind::Threats) {
            // Only up to the present start of walks: from there on the tally may still contain ids
            // lost to damage.
            let until = before.map_or(to.from, |before| before.from);
            let keys = stream.tally.chunks().flat_map(|(_, keys)| keys).copied();
            known.extend(keys.filter(|key| key.stamp >= to.from && key.stamp < until));
        }
        let mut found = Found::from(to.from);
        found.known = known;
        self.add_waiting(number, &[], &mut found)?;
        let mut known = found.known;
        known.retain(|key| had.binary_search(key).is_err());
        known.truncate(KNOWN_IDS_MAX);

        let mut batch = Batch::default();
        if newest.is_none() && back.is_open {
            let gap = Gap::open(name, Stamp::UNREADABLE, to.from, GapReason::PositionAhead);
            self.gap_log.note(gap, &mut batch);
        }
        let chunks = chunked(&known, &mut self.state.next_chunk);
        let stream = self.streams.named(name);
        stream.row.progress = Some(to);
        stream.row.delivered = Some(stream.row.delivered.map_or(to, |now| earlier(now, to)));
        for (chunk, ids) in &chunks {
            stream.learn(*chunk, ids.clone());
        }
        // While the position was ahead, walks may have missed records in ranges that count as
        // collected.
        stream.uncover(&mut batch);
        put_stream_back(&mut batch, stream);
        put_state(&mut batch, &self.state);
        self.commit_with(batch, chunk_pairs(number, &chunks))?;
        // Otherwise a lost index would bring the old position back from the checkpoint.
        self.checkpoint_out_of_turn();
        Ok((self.held(), self.stream_status(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;
    use crate::queue::MemQueue;
    use crate::queue::mem::{Fault, MemDisk};
    use crate::queue::schema::ChunkId;
    use crate::queue::testing::*;
    use crate::record::{RowKey, Take};
    use crate::time::Mono;

    const NOW: Mono = Mono(1);

    fn back(latest: u64, is_open: bool) -> Back {
        let (latest, overlap) = (Stamp(latest as i64 * 1_000_000), Span::ZERO);
        Back { latest, overlap, begin: at(500), is_open }
    }

    fn at(n: i64) -> Progress {
        Progress { position: Stamp(n * 1_000_000), from: Stamp(n * 1_000_000) }
    }

    fn key(n: i64) -> RowKey {
        RowKey { stamp: Stamp(n * 1_000_000), id: n as u64 }
    }

    fn gaps<G: Fixture>(queue: &Queue<G::D>) -> Vec<(GapReason, Stamp, Stamp)> {
        queue.gaps().iter().map(|gap| (gap.reason, gap.from, gap.to)).collect()
    }

    fn a_stream_that_collected_nothing_begins_anew_with_a_gap<G: Fixture>(fixture: &G) {
        let (mut queue, ..) = fixture.open();
        queue.append(&threats(), &[], at(9_000), &[]).unwrap();
        let (_, stands) = queue.set_back(&threats(), back(600, true)).unwrap();
        assert_eq!(stands.progress, Some(at(500)));
        let gap = (GapReason::PositionAhead, Stamp::UNREADABLE, Stamp(500_000_000));
        assert_eq!(gaps::<G>(&queue), [gap]);
        drop(queue);
        let (mut queue, opened, _) = fixture.open();
        assert_eq!((opened.streams[0].progress, opened.held.unreported), (Some(at(500)), 1));
        // What is known to have begun in this process leaves nothing open.
        queue.append(&activities(), &[], at(9_000), &[]).unwrap();
        queue.set_back(&activities(), back(600, false)).unwrap();
        assert_eq!(queue.gaps().len(), 1);
        // Neither index nor log: the checkpoint knows it.
        queue.close(NOW);
        fixture.lose_index();
        let (queue, opened, _) = fixture.open();
        let stand = opened.streams.iter().map(|stream| stream.progress).collect::<Vec<_>>();
        assert_eq!(stand, [Some(at(500)), Some(at(500))]);
        assert_eq!(gaps::<G>(&queue), [gap]);
    }

    fn what_was_collected_says_how_far_back_and_stays_known<G: Fixture>(fixture: &G) {
        let (mut queue, ..) = fixture.open();
        queue.tally(&activities(), 1_000);
        queue.append(&activities(), &[], at(5), &[]).unwrap();
        let numbers: Vec<u64> = (0..5).collect();
        let mut frames = page(&activities(), &numbers, 5);
        for (n, entry) in frames[0].entries.iter_mut().enumerate() {
            entry.key = key([10, 20, 30, 40, 9_000][n]);
        }
        let created_keys: Vec<RowKey> = frames[0].entries.iter().map(|entry| entry.key).collect();
        let far = created_keys[4..].to_vec();
        queue.append_tallied(&activities(), &frames, at(9_000), &far, &created_keys).unwrap();
        let (_, stands) = queue.set_back(&activities(), back(600, true)).unwrap();
        assert_eq!(stands.progress, Some(at(40)));
        assert_eq!(stands.known, [key(40), key(9_000)], "neither comes again");
        assert!(queue.gaps().is_empty());
        drop(queue);
        let (_, opened, _) = fixture.open();
        assert_eq!(opened.streams[1], stands);
    }

    fn ids_that_it_may_go_back_to_stay_known<G: Fixture>(fixture: &G) {
        let (mut queue, ..) = fixture.open();
        let store = |queue: &mut Queue<G::D>, stamp: i64| {
            let frames = page(&threats(), &[stamp as u64], 1);
            queue.append(&threats(), &frames, at(stamp), &[key(stamp)]).unwrap();
        };
        store(&mut queue, 10);
        queue.keep_ids(&threats(), at(10).from);
        [20, 30, 40].into_iter().for_each(|stamp| store(&mut queue, stamp));
        drop(queue);
        let (mut queue, opened, _) = fixture.open();
        assert_eq!(opened.streams[0].known, [key(40)], "walks need no more");
        let (_, stands) = queue.set_back(&threats(), back(10, false)).unwrap();
        assert_eq!(stands.progress, Some(at(10)));
        assert_eq!(stands.known, [10, 20, 30, 40].map(key));
    }

    fn what_damage_took_is_not_known_again<G: Fixture>(fixture: &G) {
        let (mut queue, ..) = fixture.open();
        queue.tally(&activities(), 1_000);
        queue.append(&activities(), &[], at(5), &[]).unwrap();
        for stamp in [10, 9_000, 9_500] {
            let mut frames = page(&activities(), &[stamp], 1);
            frames[0].entries[0].key = key(stamp as i64);
            let created_keys = [key(stamp as i64)];
            queue
                .append_tallied(
                    &activities(),
                    &frames,
                    at(stamp as i64),
                    &created_keys,
                    &created_keys,
                )
                .unwrap();
            let taken = queue
                .peek(Take { entries_max: 9, raw_bytes_max: 1 << 20, until: None })
                .unwrap()
                .unwrap();
            queue.ack(taken.sent.end, NOW).unwrap();
        }
        // What lay at 9,000 is to be asked for again.
        queue.append(&activities(), &[], at(8_999), &[]).unwrap();
        let (_, stands) = queue.set_back(&activities(), back(600, true)).unwrap();
        assert_eq!(stands.progress, Some(at(10)));
        assert!(!stands.known.contains(&key(9_000)), "{:?}", stands.known);
    }

    fn what_was_collected_out_of_turn_says_nothing_of_how_far_back<G: Fixture>(fixture: &G) {
        let (mut queue, ..) = fixture.open();
        queue.tally(&threats(), 1_000);
        queue.append(&threats(), &[], at(5), &[]).unwrap();
        let mut take = |stamp: i64, created: i64, after: i64| {
            let mut frames = page(&threats(), &[stamp as u64], 1);
            frames[0].entries[0].key = RowKey { id: created as u64, ..key(stamp) };
            let known: Vec<RowKey> =
                (stamp >= after).then(|| frames[0].entries[0].key).into_iter().collect();
            queue.append_tallied(&threats(), &frames, at(after), &known, &[key(created)]).unwrap();
        };
        take(10, 10, 10);
        take(40, 40, 40);
        take(9_000, 9_000, 9_000);
        // Created since, and found by a list; and changed at a time ahead.
        take(300, 300, 9_000);
        take(9_100, 400, 9_100);
        drop(queue);
        let (mut queue, ..) = fixture.open();
        let (_, stands) = queue.set_back(&threats(), back(600, true)).unwrap();
        assert_eq!(stands.progress, Some(at(40)), "what came at 50 was never looked for");
        assert_eq!(queue.collected(&threats(), None, Stamp(9_500_000_000)).unwrap().1, 5);
    }

    fn what_is_listed_after_a_walk_that_stored_nothing_says_nothing_of_how_far_back<G: Fixture>(
        fixture: &G,
    ) {
        let (mut queue, ..) = fixture.open();
        queue.tally(&activities(), 1_000);
        queue.append(&activities(), &[], at(5), &[]).unwrap();
        let mut take = |stamp: i64, began: i64, after: i64| {
            let frames = page(&activities(), &[stamp as u64], 1);
            queue.walks_from(&activities(), at(began).from);
            queue.append_tallied(&activities(), &frames, at(after), &[], &[key(stamp)]).unwrap();
        };
        take(40, 10, 40);
        // Known rows alone took the walk to 9,000; then a list brought one of 300.
        take(300, 9_000, 9_000);
        let (_, stands) = queue.set_back(&activities(), back(600, true)).unwrap();
        assert_eq!(stands.progress, Some(at(40)), "what came at 50 was never looked for");
    }

    on_both!(
        a_stream_that_collected_nothing_begins_anew_with_a_gap,
        what_was_collected_says_how_far_back_and_stays_known,
        ids_that_it_may_go_back_to_stay_known,
        what_damage_took_is_not_known_again,
        what_was_collected_out_of_turn_says_nothing_of_how_far_back,
        what_is_listed_after_a_walk_that_stored_nothing_says_nothing_of_how_far_back,
    );

    /// Stores records of these stamps, a page each, and delivers them. Only the tally knows them then.
    fn deliver(queue: &mut MemQueue, name: &StreamName, stamps: &[i64]) {
        for stamp in stamps.iter().copied() {
            let mut frames = page(name, &[stamp as u64], 1);
            frames[0].entries[0].key = key(stamp);
            queue.append_tallied(name, &frames, at(stamp), &[], &[key(stamp)]).unwrap();
            let end = queue.peek(ALL).unwrap().unwrap().sent.end;
            queue.ack(end, NOW).unwrap();
        }
    }

    #[test]
    fn what_was_delivered_is_known_from_the_new_start_of_walks_to_the_old_one() {
        for (name, overlap, known) in [
            (activities(), 30, &[10, 40, 9_000][..]),
            (activities(), 29, &[40, 9_000]),
            // A walk does not identify a threat by when it was created.
            (threats(), 30, &[]),
        ] {
            let disk = MemDisk::new(128 << 20);
            let (mut queue, ..) = disk.open();
            queue.tally(&name, 1_000);
            queue.append(&name, &[], at(5), &[]).unwrap();
            deliver(&mut queue, &name, &[10, 40, 9_000, 9_500]);
            let back = Back { overlap: Span::seconds(overlap), ..back(600, true) };
            let (_, stands) = queue.set_back(&name, back).unwrap();
            let to = Progress { from: at(40 - overlap as i64).from, ..at(40) };
            assert_eq!(stands.progress, Some(to));
            let known: Vec<RowKey> = known.iter().copied().map(key).collect();
            assert_eq!(stands.known, known, "{name} {overlap}");
            assert!(queue.gaps().is_empty());
            let state = queue.state;
            drop(queue);
            let (queue, ..) = disk.open();
            assert_eq!(queue.state, state);
            assert_eq!(queue.stream_status(&name), stands);
        }
    }

    #[test]
    fn what_waits_is_known_and_held_once() {
        let (mut queue, ..) = MemDisk::new(128 << 20).open();
        let mut frames = page(&threats(), &[10, 20], 1);
        for (frame, stamp) in frames.iter_mut().zip([10, 20]) {
            frame.entries[0].key = key(stamp);
        }
        queue.append(&threats(), &frames, at(20), &[key(20)]).unwrap();
        let back = Back { overlap: Span::seconds(10), ..back(600, true) };
        let (_, stands) = queue.set_back(&threats(), back).unwrap();
        assert_eq!(stands.progress, Some(Progress { from: at(10).from, ..at(20) }));
        assert_eq!(stands.known, [10, 20].map(key));
        let stream = queue.streams.named(&threats());
        assert_eq!(stream.chunks().map(|(_, keys)| keys.len()).sum::<usize>(), 2);
    }

    #[test]
    fn no_more_ids_are_known_than_a_stream_may_have() {
        let (mut queue, ..) = MemDisk::new(128 << 20).open();
        queue.append(&activities(), &[], at(9_000), &[]).unwrap();
        let many = 0..KNOWN_IDS_MAX as i64 + 9;
        let keys = many.map(|n| RowKey { stamp: Stamp(10_000_000 + n), id: n as u64 });
        let chunk = ChunkId { newest: Stamp(11_000_000), number: 1 };
        queue.streams.named(&activities()).tally.learn(chunk, keys.collect());
        let back = Back { overlap: Span::seconds(1), ..back(600, true) };
        let (_, stands) = queue.set_back(&activities(), back).unwrap();
        assert_eq!(stands.known.len(), KNOWN_IDS_MAX);
    }

    #[test]
    fn without_its_index_nothing_is_set_back() {
        let (mut queue, ..) = MemDisk::new(128 << 20).open();
        queue.append(&threats(), &[], at(9_000), &[]).unwrap();
        queue.drop_index();
        assert!(queue.set_back(&threats(), back(600, true)).is_err());
        let (opened, _) = queue.reopen().unwrap();
        assert_eq!((opened.streams[0].progress, queue.gaps()), (Some(at(9_000)), vec![]));
        queue.go_unindexed("a test").unwrap();
        assert!(queue.set_back(&threats(), back(600, true)).is_err());
        let stands = queue.stream_status(&threats());
        assert_eq!((stands.progress, queue.gaps()), (Some(at(9_000)), vec![]));
    }

    #[test]
    fn ranges_that_walks_may_not_have_read_wholly_are_collected_again() {
        let (mut queue, ..) = MemDisk::new(128 << 20).open();
        queue.append(&threats(), &[], at(9_000), &[]).unwrap();
        queue.streams.named(&threats()).covered.add(Stamp(1), Stamp(i64::MAX));
        let (_, stands) = queue.set_back(&threats(), back(600, true)).unwrap();
        assert!(stands.covered.is_empty(), "{:?}", stands.covered);
        // Nor does any of it count as delivered, for a start from the checkpoint.
        assert_eq!(queue.streams.named(&threats()).row.delivered, Some(at(500)));
    }

    #[test]
    fn the_checkpoint_knows_it_at_once() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        queue.append(&threats(), &[], at(9_000), &[]).unwrap();
        queue.set_back(&threats(), back(600, true)).unwrap();
        drop(queue);
        disk.kill();
        disk.lose_indexes();
        let (queue, opened, _) = disk.open();
        assert_eq!((opened.streams[0].progress, queue.gaps().len()), (Some(at(500)), 1));
    }

    #[test]
    fn a_stream_is_never_set_forward() {
        let (mut queue, ..) = MemDisk::new(128 << 20).open();
        queue.append(&threats(), &[], at(100), &[]).unwrap();
        let (_, stands) = queue.set_back(&threats(), back(600, true)).unwrap();
        assert_eq!(stands.progress, Some(at(100)));
    }

    #[test]
    fn a_power_cut_at_any_operation_sets_it_back_with_its_gap_or_not_at_all() {
        for n in 1..40 {
            let disk = MemDisk::new(128 << 20);
            let (mut queue, ..) = disk.open();
            queue.append(&threats(), &[], at(9_000), &[]).unwrap();
            disk.fail_after(n, Fault::PowerOff);
            let set = queue.set_back(&threats(), back(600, true));
            let is_over = set.is_ok() && !disk.has_failed();
            drop(queue);
            disk.power_cut(&mut Prng::new(n));
            disk.heal();
            let (_, opened, _) = disk.open();
            let is_back = opened.streams[0].progress == Some(at(500));
            assert_eq!(opened.held.gaps, u64::from(is_back), "operation {n}");
            assert!(is_back || set.is_err(), "operation {n}");
            if is_over {
                return;
            }
        }
        panic!("it never ends");
    }
}
