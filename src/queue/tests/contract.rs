//! What any queue keeps, tried on the real disk with sled and on the one in memory.

use super::disk::Disk;
use super::testing::*;
use super::{OpenError, Queue, QueueError};
use crate::limits::{LOG_FILE_BYTES_MAX, RESERVE_BYTES};
use crate::prng::Prng;
use crate::record::{Kind, QueuePosition, Room, RowKey, Seq, StreamName, Take};
use crate::time::{Mono, Stamp};

const NOW: Mono = Mono(1);

fn append<G: Fixture>(
    queue: &mut Queue<G::D>,
    stream: &StreamName,
    range: std::ops::Range<u64>,
    per_frame: usize,
) {
    let numbers: Vec<u64> = range.collect();
    let last = *numbers.last().unwrap();
    let known: Vec<_> = numbers.iter().map(|n| key(*n)).collect();
    queue
        .append(stream, &page(stream, &numbers, per_frame), progress(last, numbers[0]), &known)
        .unwrap();
}

fn drain<G: Fixture>(queue: &mut Queue<G::D>, take: Take) -> Vec<u64> {
    let mut drained = Vec::new();
    while let Some(peeked) = queue.peek(take).unwrap() {
        drained.extend(all_numbers(&peeked).iter().map(|(_, n)| *n));
        queue.ack(peeked.sent.end, NOW).unwrap();
    }
    drained
}

fn records_come_out_in_order_whatever_is_taken_at_a_time<G: Fixture>(fixture: &G) {
    let (mut queue, opened, findings) = fixture.open();
    assert_eq!((opened.held.records, findings.len()), (0, 0));
    assert!(queue.peek(ALL).unwrap().is_none());
    let mut prng = Prng::new(1);
    let (mut next, mut drained) = (0, Vec::new());
    while drained.len() < 2_000 {
        if next < 2_000 && prng.chance(40) {
            append::<G>(&mut queue, &threats(), next..next + 50, 1 + prng.below(60) as usize);
            next += 50;
        }
        let entries_max = 1 + prng.below(70) as u32;
        let take = Take { entries_max, raw_bytes_max: prng.below(9_000), until: None };
        if let Some(peeked) = queue.peek(take).unwrap() {
            let sent = peeked.sent;
            assert!(sent.entries <= entries_max);
            assert!(sent.raw_bytes <= take.raw_bytes_max || sent.entries == 1);
            drained.extend(all_numbers(&peeked).iter().map(|(_, n)| *n));
            assert_eq!(queue.ack(sent.end, NOW).unwrap().records, next - drained.len() as u64);
        }
    }
    assert_eq!(drained, (0..2_000).collect::<Vec<_>>());
    assert_eq!(queue.held().oldest, None);
}

fn a_refused_batch_can_be_halved_down_to_one_record<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    append::<G>(&mut queue, &threats(), 0..8, 8);
    for entries_max in [8, 4, 2, 1] {
        let peeked =
            queue.peek(Take { entries_max, raw_bytes_max: 1 << 20, until: None }).unwrap().unwrap();
        assert_eq!(all_numbers(&peeked).len(), entries_max as usize);
        assert_eq!(peeked.sent.first, QueuePosition { seq: Seq(1), skip: 0 });
    }
    let two = Take { entries_max: 2, raw_bytes_max: 1 << 20, until: None };
    let end = queue.peek(two).unwrap().unwrap().sent.end;
    assert_eq!(end, QueuePosition { seq: Seq(1), skip: 2 });
    queue.ack(end, NOW).unwrap();
    drop(queue);
    let (mut queue, opened, _) = fixture.open();
    assert_eq!((opened.held.records, opened.held.head), (6, end));
    assert_eq!(drain::<G>(&mut queue, ALL), (2..8).collect::<Vec<_>>());
}

fn a_reopened_queue_knows_all_it_was_told<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    append::<G>(&mut queue, &threats(), 0..300, 40);
    append::<G>(&mut queue, &activities(), 1_000..1_010, 3);
    queue.append(&activities(), &[], progress(1_020, 1_005), &[]).unwrap();
    let before = queue.opened();
    assert_eq!(before.streams[0].known.len(), 300);
    assert_eq!(before.streams[1].known, (1_005..1_010).map(key).collect::<Vec<_>>());
    assert_eq!(before.streams[1].progress, Some(progress(1_020, 1_005)));
    queue.close(NOW);
    let (mut queue, opened, findings) = fixture.open();
    assert_eq!(opened.streams, before.streams);
    assert_eq!(opened.held.records, 310);
    assert_eq!(findings, [] as [&str; 0]);
    let expected: Vec<u64> = (0..300).chain(1_000..1_010).collect();
    assert_eq!(drain::<G>(&mut queue, ALL), expected);
}

fn ids_before_the_overlap_are_forgotten<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    for at in (0..3_000).step_by(100) {
        append::<G>(&mut queue, &threats(), at..at + 100, 50);
    }
    drop(queue);
    let (queue, opened, _) = fixture.open();
    assert_eq!(opened.streams[0].known, (2_900..3_000).map(key).collect::<Vec<_>>());
    let chunks = queue.streams.find(&threats()).unwrap().chunks().count();
    assert!(chunks <= 2, "{chunks} chunks are kept");
}

fn append_tallied<G: Fixture>(queue: &mut Queue<G::D>, range: std::ops::Range<u64>) {
    let numbers: Vec<u64> = range.collect();
    let last = *numbers.last().unwrap();
    let created_keys: Vec<_> = numbers.iter().map(|n| created_key(*n)).collect();
    let (at, frames) = (progress(last, last), page(&threats(), &numbers, 50));
    queue.append_tallied(&threats(), &frames, at, &[], &created_keys).unwrap();
}

/// Created a second apart, whatever the stamp that the stream goes by.
fn created_key(number: u64) -> RowKey {
    RowKey { stamp: Stamp::from_seconds(number as i64), ..key(number) }
}

fn collected<G: Fixture>(queue: &Queue<G::D>) -> Option<(i64, u64)> {
    let collected = queue.collected(&threats(), None, Stamp::from_seconds(1_000_000));
    collected.map(|(since, count)| (since.0 / 1_000_000, count))
}

fn what_was_collected_is_counted_over_starts_and_broken_indexes<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    queue.tally(&threats(), 1_000);
    for at in (10..310).step_by(50) {
        append_tallied::<G>(&mut queue, at..at + 50);
    }
    queue.compared(&threats(), Stamp(77));
    append_tallied::<G>(&mut queue, 310..320);
    assert_eq!(collected::<G>(&queue), Some((1, 310)));
    drain::<G>(&mut queue, ALL);
    // The index fails and is built anew within the process.
    queue.drop_index();
    queue.reopen().unwrap();
    assert_eq!(collected::<G>(&queue), Some((1, 310)));
    drop(queue);
    let (mut queue, opened, _) = fixture.open();
    assert_eq!(collected::<G>(&queue), Some((1, 310)));
    assert_eq!(opened.streams[0].compared, Some(Stamp(77)));
    assert_eq!(queue.unseen(&threats(), &[created_key(9), created_key(12)]), [true, false]);
    // A smaller share moves the beginning up.
    queue.tally(&threats(), 100);
    append_tallied::<G>(&mut queue, 320..330);
    let (since, count) = collected::<G>(&queue).unwrap();
    assert!(since > 200 && count == 330 - since as u64, "{count} since {since}");
    // Of what was created before that nobody knows whether it was collected.
    let [gone, missing] = [created_key(12), RowKey { id: 9_000, ..created_key(325) }];
    assert_eq!(queue.unseen(&threats(), &[gone, missing, created_key(325)]), [false, true, false]);
    // None forgets all, in the index too.
    queue.tally(&threats(), 0);
    append_tallied::<G>(&mut queue, 330..340);
    assert_eq!(collected::<G>(&queue), None);
    assert_eq!(queue.unseen(&threats(), &[created_key(9_000)]), [false]);
    drop(queue);
    let (queue, _, _) = fixture.open();
    assert_eq!(collected::<G>(&queue), None);
    assert!(queue.streams.find(&threats()).unwrap().tally.is_empty());
}

fn a_count_whose_index_is_lost_begins_anew<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    queue.tally(&threats(), 1_000);
    append_tallied::<G>(&mut queue, 10..60);
    queue.close(NOW);
    fixture.lose_index();
    let (mut queue, _, _) = fixture.open();
    assert_eq!(collected::<G>(&queue), None, "nothing is claimed that is not known");
    queue.tally(&threats(), 1_000);
    append_tallied::<G>(&mut queue, 60..70);
    let (since, count) = collected::<G>(&queue).unwrap();
    assert_eq!(count, 70 - (since as u64).max(60));
}

fn a_page_kept_by_who_tallies_nothing_ends_the_count<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    queue.tally(&threats(), 1_000);
    append_tallied::<G>(&mut queue, 10..60);
    let row = queue.streams.named(&threats()).tally.row;
    append_tallied::<G>(&mut queue, 60..70);
    // As an older program would have left it: the stream moved, the count did not.
    let mut batch = super::index::Batch::default();
    batch.put(super::schema::tally_key(0), row.unwrap().encode());
    queue.commit(&batch).unwrap();
    drop(queue);
    let (queue, _, _) = fixture.open();
    assert_eq!(collected::<G>(&queue), None);
}

fn an_index_that_is_lost_is_built_anew_from_the_log<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    append::<G>(&mut queue, &threats(), 0..100, 10);
    append::<G>(&mut queue, &activities(), 500..600, 30);
    let sixty = Take { entries_max: 60, raw_bytes_max: 1 << 20, until: None };
    let end = queue.peek(sixty).unwrap().unwrap().sent.end;
    queue.ack(end, NOW).unwrap();
    queue.close(NOW);
    fixture.lose_index();
    let (mut queue, opened, findings) = fixture.open();
    assert_eq!(findings, ["index-replaced"]);
    assert_eq!(opened.held.records, 140, "the checkpoint of the close knows the head");
    assert_eq!(opened.streams[0].progress, Some(progress(99, 0)));
    assert_eq!(opened.streams[1].known, (500..600).map(key).collect::<Vec<_>>());
    let expected: Vec<u64> = (60..100).chain(500..600).collect();
    assert_eq!(drain::<G>(&mut queue, ALL), expected);
    drop(queue);
    let (_, opened, findings) = fixture.open();
    assert_eq!((opened.held.records, findings.len()), (0, 0));
}

fn an_index_lost_with_an_empty_queue_costs_no_duplicate<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    append::<G>(&mut queue, &threats(), 0..100, 10);
    drain::<G>(&mut queue, ALL);
    queue.close(NOW);
    fixture.lose_index();
    let (_, opened, _) = fixture.open();
    assert_eq!(opened.held.records, 0);
    assert_eq!(opened.streams[0].progress, Some(progress(99, 0)));
    assert_eq!(opened.streams[0].known, (0..100).map(key).collect::<Vec<_>>());
}

fn a_damaged_frame_is_polled_again_and_nothing_else_is<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    append::<G>(&mut queue, &activities(), 500..520, 10);
    append::<G>(&mut queue, &threats(), 0..30, 10);
    append::<G>(&mut queue, &threats(), 30..60, 10);
    let entry = queue.entries(Seq(4), 1).unwrap()[0];
    drop(queue);
    let path = super::log::path(entry.file);
    fixture.change(&path, &|bytes| bytes[(entry.offset + u64::from(entry.len)) as usize - 9] ^= 4);

    let (mut queue, _, _) = fixture.open();
    let first = queue.peek(ALL).unwrap().unwrap();
    assert_eq!(all_numbers(&first).len(), 30, "what lies before the damage is given out");
    queue.ack(first.sent.end, NOW).unwrap();
    let Err(QueueError::Damaged { seq, why }) = queue.peek(ALL) else { panic!("not noticed") };
    assert_eq!(seq, Seq(4));
    let opened = queue.quarantine(seq, &why).unwrap();
    assert_eq!(opened.streams[0].progress, Some(progress(10, 10)));
    let stands = &opened.streams[0];
    let is_taken = |n: &u64| stands.known.contains(&key(*n)) || stands.covered.has(key(*n).stamp);
    assert_eq!((10..60).filter(|n| !is_taken(n)).collect::<Vec<_>>(), (10..20).collect::<Vec<_>>());
    assert_eq!(opened.streams[1].progress, Some(progress(519, 500)));
    assert_eq!(opened.held.records, 40);
    // Polled again.
    append::<G>(&mut queue, &threats(), 10..20, 10);
    let expected: Vec<u64> = (20..60).chain(10..20).collect();
    assert_eq!(drain::<G>(&mut queue, ALL), expected);
    queue.close(NOW);
    let (_, opened, _) = fixture.open();
    assert_eq!(opened.held.records, 0);
    let set_aside = fixture.files("quarantine");
    assert!(set_aside.iter().any(|name| name.ends_with(".log")), "{set_aside:?}");
    assert!(set_aside.iter().any(|name| name.ends_with(".log.txt")), "{set_aside:?}");
}

fn damage_of_index_and_log_together_goes_back_to_before_it<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    for at in (0..60).step_by(10) {
        append::<G>(&mut queue, &threats(), at..at + 10, 5);
    }
    let entry = queue.entries(Seq(5), 1).unwrap()[0];
    drop(queue);
    fixture.lose_index();
    let path = super::log::path(entry.file);
    fixture.change(&path, &|bytes| bytes[entry.offset as usize + 90..][..100].fill(0));
    let (mut queue, opened, findings) = fixture.open();
    assert_eq!(findings, ["index-replaced", "log-damaged"]);
    assert_eq!(opened.streams[0].progress, Some(progress(19, 10)));
    let known: Vec<_> = (10..20).chain(25..60).map(key).collect();
    assert_eq!(opened.streams[0].known, known);
    let expected: Vec<u64> = (0..20).chain(25..60).collect();
    assert_eq!(drain::<G>(&mut queue, ALL), expected);
}

fn without_index_and_log_the_checkpoint_tells_where_to_begin<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    append::<G>(&mut queue, &threats(), 100..160, 20);
    let twenty = Take { entries_max: 20, raw_bytes_max: 1 << 20, until: None };
    let end = queue.peek(twenty).unwrap().unwrap().sent.end;
    queue.ack(end, NOW).unwrap();
    queue.close(NOW);
    fixture.lose_index();
    for name in fixture.files("log") {
        fixture.change(&format!("log/{name}"), &|bytes| bytes.fill(0));
    }
    let (queue, opened, findings) = fixture.open();
    assert_eq!(findings, ["index-replaced", "log-damaged"]);
    assert_eq!(opened.held.records, 0);
    assert_eq!(opened.streams[0].progress, Some(progress(119, 100)));
    assert!(queue.state.next_seq >= Seq(4), "numbers are not used twice");
}

/// Where a late record's frame was given up, and all but the checkpoint is lost after it, the stream
/// begins before that record and not behind what was delivered.
fn the_checkpoint_goes_back_with_a_frame_that_was_given_up<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    append::<G>(&mut queue, &threats(), 200..220, 20);
    let end = queue.peek(ALL).unwrap().unwrap().sent.end;
    queue.ack(end, NOW).unwrap();
    let mut late = page(&threats(), &[100, 101], 20);
    late[0].progress = progress(219, 200);
    queue.append(&threats(), &late, progress(219, 200), &[key(100), key(101)]).unwrap();
    append::<G>(&mut queue, &threats(), 220..240, 20);
    queue.quarantine(Seq(2), "a test").unwrap();
    queue.close(NOW);
    fixture.lose_index();
    for name in fixture.files("log") {
        fixture.change(&format!("log/{name}"), &|bytes| bytes.fill(0));
    }
    let (_queue, opened, _) = fixture.open();
    let from = opened.streams[0].progress.map(|progress| progress.from);
    assert_eq!(from, Some(Stamp(100)));
}

fn the_queue_is_full_before_max_size_and_goes_on_when_drained<G: Fixture>(fixture: &G) {
    let limits = super::QueueLimits { max_size_bytes: 16 << 20, min_free_bytes: 0 };
    let (mut queue, _, _) = fixture.try_open(limits).unwrap();
    assert_eq!(queue.held().room, Room::Free);
    let mut noise = Prng::new(9);
    let mut big = frame(&threats(), &[1]);
    big.deflated = (0..1 << 18).flat_map(|_| (noise.next_u64() as u32).to_le_bytes()).collect();
    let mut taken = 0;
    let refused = loop {
        match queue.append(&threats(), std::slice::from_ref(&big), progress(1, 1), &[]) {
            Ok(held) => assert!(held.bytes <= limits.max_size_bytes, "{held:?}"),
            Err(error) => break error,
        }
        taken += 1;
    };
    assert_eq!(refused, QueueError::DiskFull);
    assert!((8..=12).contains(&taken), "{taken} MiB were taken");
    let held = queue.held();
    assert_eq!((held.room, held.records), (Room::QueueFull, taken));
    // Progress costs next to nothing and is still kept.
    queue.append(&activities(), &[], progress(5, 5), &[]).unwrap();
    let half = QueuePosition { seq: Seq(taken / 2 + 3), skip: 0 };
    assert!(queue.ack(half, NOW).unwrap().bytes < held.bytes, "given back while draining");
    assert_eq!(queue.held().room, Room::Free);
    queue.append(&threats(), std::slice::from_ref(&big), progress(1, 1), &[]).unwrap();
    let end = QueuePosition { seq: Seq(u64::MAX), skip: 0 };
    let held = queue.ack(end, NOW).unwrap();
    assert_eq!(held.records, 0);
    assert!(held.bytes < RESERVE_BYTES + (3 << 20), "{held:?}");
}

fn files_are_bounded_and_given_back<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    let mut noise = Prng::new(9);
    let mut big = frame(&threats(), &[1]);
    big.deflated = (0..1 << 17).flat_map(|_| (noise.next_u64() as u32).to_le_bytes()).collect();
    let frames = vec![big; 20];
    queue.append(&threats(), &frames, progress(1, 1), &[]).unwrap();
    assert!(queue.log.lens.len() >= 3);
    assert!(queue.log.lens.values().all(|len| *len <= LOG_FILE_BYTES_MAX));
    drop(queue);
    let (mut queue, _, _) = fixture.open();
    assert_eq!(queue.held().records, 20);
    queue.ack(QueuePosition { seq: Seq(20), skip: 0 }, NOW).unwrap();
    assert_eq!(queue.log.lens.len(), 1, "one frame waits in one file");
    queue.ack(QueuePosition { seq: Seq(21), skip: 0 }, NOW).unwrap();
    assert_eq!(fixture.files("log"), [] as [&str; 0]);
}

fn a_second_process_is_refused<G: Fixture>(fixture: &G) {
    let (queue, _, _) = fixture.open();
    let Err(error) = fixture.try_open(LIMITS) else { panic!("opened twice") };
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("another s1-coralogix"), "{error}");
    drop(queue);
    fixture.open();
}

fn a_parked_record_is_kept_aside_and_does_not_stand_in_the_way<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    append::<G>(&mut queue, &threats(), 0..3, 3);
    let one = QueuePosition { seq: Seq(1), skip: 1 };
    queue.ack(one, NOW).unwrap();
    let held = queue.park(one, Some(&entry(&threats(), 1)), "400: no\u{1F4A5}\u{202e}").unwrap();
    assert_eq!((held.records, held.parked), (1, 1));
    assert_eq!(held.head, QueuePosition { seq: Seq(1), skip: 2 });
    assert_eq!(queue.park(one, Some(b"{}"), "again").unwrap().parked, 1);
    assert_eq!(drain::<G>(&mut queue, ALL), [2]);
    drop(queue);
    fixture.lose_index();
    let (mut queue, opened, _) = fixture.open();
    assert_eq!(opened.held.parked, 1);
    let files = fixture.files("parked");
    assert_eq!(files, ["0000000000000001-1.log", "0000000000000001-1.txt"]);
    let bytes = queue.disk.read(&format!("parked/{}", files[0]), 24, 1 << 20).unwrap();
    let (_, frame) = crate::frame::decode(&bytes).unwrap();
    let piece = crate::frame::Piece { frame, skip: 0, take: 1 };
    assert_eq!(numbers(&piece), [(Kind::Threats, 1)]);
    let note = queue.disk.read(&format!("parked/{}", files[1]), 0, 1 << 10).unwrap();
    assert_eq!(note, "400: no\u{1F4A5}\\u202e\n".as_bytes(), "people read it on a terminal");
}

fn an_index_that_grew_is_written_anew_when_the_queue_is_empty<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    queue.space.index_bytes_max = 0;
    append::<G>(&mut queue, &threats(), 0..100, 1);
    let before = queue.opened().streams;
    assert_eq!(drain::<G>(&mut queue, ALL).len(), 100);
    assert_eq!(queue.number, 1);
    append::<G>(&mut queue, &activities(), 0..10, 1);
    drop(queue);
    let (mut queue, opened, findings) = fixture.open();
    assert_eq!((queue.number, findings.len()), (1, 0));
    assert_eq!(opened.streams[0], before[0]);
    assert_eq!(drain::<G>(&mut queue, ALL), (0..10).collect::<Vec<_>>());
    assert!(!fixture.files("").contains(&"index.0".to_owned()));
}

fn starts_that_died_in_the_index_set_it_aside<G: Fixture>(fixture: &G) {
    let (mut queue, _, _) = fixture.open();
    append::<G>(&mut queue, &threats(), 0..10, 5);
    queue.disk.create("opening.1").unwrap();
    drop(queue);
    let (mut queue, _, findings) = fixture.open();
    assert_eq!(findings, [] as [&str; 0], "once may be a power cut");
    queue.disk.create("opening.2").unwrap();
    drop(queue);
    let (mut queue, opened, findings) = fixture.open();
    assert_eq!(findings, ["index-replaced"]);
    assert_eq!(opened.held.records, 10);
    assert_eq!(drain::<G>(&mut queue, ALL), (0..10).collect::<Vec<_>>());
    assert!(!fixture.files("").iter().any(|name| name.starts_with("opening")));
}

on_both!(
    records_come_out_in_order_whatever_is_taken_at_a_time,
    a_refused_batch_can_be_halved_down_to_one_record,
    a_reopened_queue_knows_all_it_was_told,
    ids_before_the_overlap_are_forgotten,
    what_was_collected_is_counted_over_starts_and_broken_indexes,
    a_count_whose_index_is_lost_begins_anew,
    a_page_kept_by_who_tallies_nothing_ends_the_count,
    an_index_that_is_lost_is_built_anew_from_the_log,
    an_index_lost_with_an_empty_queue_costs_no_duplicate,
    a_damaged_frame_is_polled_again_and_nothing_else_is,
    damage_of_index_and_log_together_goes_back_to_before_it,
    without_index_and_log_the_checkpoint_tells_where_to_begin,
    the_checkpoint_goes_back_with_a_frame_that_was_given_up,
    the_queue_is_full_before_max_size_and_goes_on_when_drained,
    files_are_bounded_and_given_back,
    a_second_process_is_refused,
    a_parked_record_is_kept_aside_and_does_not_stand_in_the_way,
    an_index_that_grew_is_written_anew_when_the_queue_is_empty,
    starts_that_died_in_the_index_set_it_aside,
);
