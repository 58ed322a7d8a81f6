//! What is held of batches in doubt: kept with their gaps or not set aside at all, sent again once.

use super::Queue;
use super::QueueError;
use super::gaps::HEARTBEAT_ID;
use super::mem::{Fault, MemDisk};
use super::testing::*;
use crate::frame::Frame;
use crate::limits::QUARANTINE_BYTES_MAX;
use crate::prng::Prng;
use crate::record::{Gap, GapReason, QueuePosition, RowKey, Seq, StreamName, Take};
use crate::time::{Mono, Stamp};

const NOW: Mono = Mono(1);
const WORDS: &str = "HTTP 200: 3 logs were not accepted";

/// Three threats and two activities wait.
fn filled<G: Fixture>(fixture: &G) -> Queue<G::D> {
    let (mut queue, ..) = fixture.try_open(SMALL).unwrap();
    let known: Vec<RowKey> = (1..4).map(key).collect();
    queue.append(&threats(), &page(&threats(), &[1, 2, 3], 3), progress(3, 1), &known).unwrap();
    let known: Vec<RowKey> = (11..13).map(key).collect();
    let activities_page = page(&activities(), &[11, 12], 2);
    queue.append(&activities(), &activities_page, progress(12, 11), &known).unwrap();
    queue
}

fn doubt_all<G: Fixture>(queue: &mut Queue<G::D>) -> QueuePosition {
    let sent = queue.peek(ALL).unwrap().unwrap().sent;
    queue.doubt(sent.end, WORDS).unwrap();
    sent.first
}

fn drained<G: Fixture>(queue: &mut Queue<G::D>) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(peeked) = queue.peek(ALL).unwrap() {
        numbers.extend(all_numbers(&peeked).iter().map(|(_, n)| *n));
        queue.ack(peeked.sent.end, NOW).unwrap();
    }
    numbers
}

fn what(gap: &Gap) -> (String, GapReason, i64, i64, Option<u64>, bool) {
    (gap.stream.to_string(), gap.reason, gap.from.0, gap.to.0, gap.count, gap.closed)
}

fn own_words(ids: &[u64]) -> Vec<Frame> {
    let stream = StreamName::collector("acme");
    let mut frames = page(&stream, ids, 1);
    for (frame, id) in frames.iter_mut().zip(ids) {
        frame.entries[0].key.id = *id;
    }
    frames
}

fn a_batch_leaves_the_way_of_delivery_with_a_gap_for_each_stream<G: Fixture>(fixture: &G) {
    let mut queue = filled(fixture);
    let at = doubt_all::<G>(&mut queue);
    let held = queue.held();
    assert_eq!((held.records, held.doubt, held.gaps, held.unreported), (0, 1, 2, 2));
    let gaps: Vec<_> = queue.gaps().iter().map(what).collect();
    let in_doubt = GapReason::InDoubt;
    assert_eq!(gaps[0], ("acme/threats".into(), in_doubt, 1, 3, Some(3), false));
    assert_eq!(gaps[1], ("acme/activities".into(), in_doubt, 11, 12, Some(2), false));
    assert_eq!(queue.doubt_words(at).as_deref(), Some(WORDS));
    assert!(queue.peek(ALL).unwrap().is_none(), "never given out again by itself");
    drop(queue);
    let (queue, opened, _) = fixture.open();
    assert_eq!((opened.held.records, opened.held.doubt, opened.held.gaps), (0, 1, 2));
    assert_eq!(queue.doubts(), [at]);
}

fn a_part_of_a_frame_is_all_that_is_set_aside<G: Fixture>(fixture: &G) {
    let mut queue = filled(fixture);
    let one = Take { entries_max: 1, ..ALL };
    let end = queue.peek(one).unwrap().unwrap().sent.end;
    queue.ack(end, NOW).unwrap();
    let sent = queue.peek(one).unwrap().unwrap().sent;
    queue.doubt(sent.end, WORDS).unwrap();
    assert_eq!(what(&queue.gaps()[0]).4, Some(1));
    assert_eq!(drained::<G>(&mut queue), [3, 11, 12]);
    queue.retry_doubt(sent.first).unwrap().unwrap();
    let peeked = queue.peek(ALL).unwrap().unwrap();
    assert_eq!(all_numbers(&peeked).iter().map(|(_, n)| *n).collect::<Vec<_>>(), [2]);
}

fn a_retry_puts_all_back_once_and_closes_the_gaps<G: Fixture>(fixture: &G) {
    let mut queue = filled(fixture);
    let at = doubt_all::<G>(&mut queue);
    let before = queue.opened().streams;
    let held = queue.retry_doubt(at).unwrap().unwrap();
    assert_eq!((held.records, held.doubt, held.gaps, held.unreported), (5, 0, 0, 2));
    assert_eq!(queue.opened().streams, before, "the streams stay where they are");
    assert_eq!(queue.retry_doubt(at).unwrap(), None);
    assert!(fixture.files("doubt").is_empty());
    drop(queue);
    let (mut queue, opened, _) = fixture.open();
    assert_eq!((opened.held.gaps, opened.held.unreported, opened.held.doubt), (0, 2, 0));
    assert_eq!(drained::<G>(&mut queue), [1, 2, 3, 11, 12]);
}

fn a_dropped_batch_stays_in_the_gap_log<G: Fixture>(fixture: &G) {
    let mut queue = filled(fixture);
    let at = doubt_all::<G>(&mut queue);
    let held = queue.drop_doubt(at).unwrap().unwrap();
    assert_eq!((held.gaps, held.unreported, held.doubt), (2, 2, 0));
    drop(queue);
    fixture.lose_index();
    let (queue, ..) = fixture.open();
    let reasons: Vec<_> = queue.gaps().iter().map(|gap| gap.reason).collect();
    assert_eq!(reasons, [GapReason::Purged; 2]);
}

fn a_lost_index_finds_the_gaps_of_batches_in_doubt<G: Fixture>(fixture: &G) {
    let mut queue = filled(fixture);
    let at = doubt_all::<G>(&mut queue);
    queue.close(NOW);
    fixture.lose_index();
    fixture.change("checkpoint", &|bytes| bytes.fill(0));
    let (mut queue, opened, _) = fixture.open();
    let waits = opened.held.records > 0;
    // Without a checkpoint the head goes back to what is still in the log, which is judged anew.
    assert_eq!(opened.held.gaps, if waits { 0 } else { 2 });
    assert_eq!(queue.doubts(), [at]);
    if waits {
        assert_eq!(drained::<G>(&mut queue), [1, 2, 3, 11, 12]);
        assert!(queue.doubts().is_empty(), "what was accepted since is in doubt no more");
    }
}

fn a_batch_that_waits_again_and_is_accepted_is_in_doubt_no_more<G: Fixture>(fixture: &G) {
    let mut queue = filled(fixture);
    let last = queue.peek(ALL).unwrap().unwrap().sent.end;
    let three = Take { entries_max: 3, ..ALL };
    let sent = queue.peek(three).unwrap().unwrap().sent;
    // The checkpoint knows the head before, and no gap.
    queue.write_checkpoint(NOW);
    queue.doubt(sent.end, WORDS).unwrap();
    drop(queue);
    fixture.lose_index();
    let (mut queue, opened, _) = fixture.open();
    assert_eq!((opened.held.records, opened.held.gaps, opened.held.doubt), (5, 0, 1));
    queue.ack(last, NOW).unwrap();
    let held = queue.held();
    assert_eq!((held.records, held.gaps, held.doubt), (0, 0, 0));
    assert!(fixture.files("doubt").is_empty());
}

fn a_page_from_memory_moves_its_stream_with_its_gap<G: Fixture>(fixture: &G) {
    let (mut queue, ..) = fixture.open();
    let frames = page(&threats(), &[1, 2, 3], 2);
    let known: Vec<RowKey> = (1..4).map(key).collect();
    let taking = (progress(3, 1), known.as_slice(), &[][..]);
    let held = queue.doubt_page(&threats(), &frames, taking, WORDS).unwrap();
    assert_eq!((held.records, held.doubt, held.gaps), (0, 1, 1));
    queue
        .doubt_page(&threats(), &page(&threats(), &[4], 1), (progress(4, 1), &[], &[]), WORDS)
        .unwrap();
    assert_eq!(queue.doubts().len(), 2, "each has a name of its own");
    let state = queue.opened().streams;
    drop(queue);
    let (mut queue, opened, _) = fixture.open();
    assert_eq!(opened.streams, state);
    assert_eq!(opened.streams[0].progress, Some(progress(4, 1)));
    for at in queue.doubts() {
        queue.retry_doubt(at).unwrap().unwrap();
    }
    assert_eq!(queue.held().gaps, 0);
    assert_eq!(drained::<G>(&mut queue), [1, 2, 3, 4]);
    drop(queue);
    // And the log has no hole for it.
    fixture.lose_index();
    let (_, _, findings) = fixture.open();
    assert_eq!(findings, ["index-replaced"]);
}

fn the_collectors_own_words_make_no_gap<G: Fixture>(fixture: &G) {
    let mut queue = filled(fixture);
    drained::<G>(&mut queue);
    let own = StreamName::collector("acme");
    queue.append(&own, &own_words(&[HEARTBEAT_ID]), progress(20, 20), &[]).unwrap();
    doubt_all::<G>(&mut queue);
    let held = queue.held();
    assert_eq!((held.records, held.gaps, held.doubt), (0, 0, 0), "a heartbeat is forgotten");
    queue.append(&own, &own_words(&[7]), progress(21, 21), &[]).unwrap();
    let at = doubt_all::<G>(&mut queue);
    let held = queue.held();
    assert_eq!((held.gaps, held.unreported, held.doubt), (0, 0, 1), "what tells of a gap is kept");
    assert_eq!(queue.retry_doubt(at).unwrap().unwrap().records, 1);
}

fn damage_can_be_given_up_and_the_gap_stays<G: Fixture>(fixture: &G) {
    let mut queue = filled(fixture);
    let at = doubt_all::<G>(&mut queue);
    fixture.change(&format!("doubt/{at}.log"), &|bytes| bytes[60] ^= 1);
    assert!(matches!(queue.retry_doubt(at), Err(QueueError::Damaged { .. })));
    let held = queue.drop_doubt(at).unwrap().unwrap();
    assert_eq!((held.gaps, held.doubt), (2, 0));
    assert!(fixture.files("doubt").is_empty());
    assert!(fixture.files("quarantine").iter().any(|name| name.ends_with(&format!("doubt-{at}"))));
}

fn the_oldest_copies_are_given_up_and_that_is_told<G: Fixture>(fixture: &G) {
    let limits = super::QueueLimits { max_size_bytes: 16 << 20, min_free_bytes: 0 };
    assert!(limits.max_size_bytes / 8 < QUARANTINE_BYTES_MAX);
    let (mut queue, ..) = fixture.try_open(limits).unwrap();
    let mut given_up = 0;
    for nth in 1..9 {
        // Half a MiB each; two MiB are allowed.
        let big = big_frame(&threats(), nth, 1 << 19);
        queue.append(&threats(), &[big], progress(nth, nth), &[]).unwrap();
        let end = QueuePosition { seq: Seq(nth + 1), skip: 0 };
        let held = queue.doubt(end, WORDS).unwrap();
        assert_eq!(held.gaps, nth, "each stays noted");
        assert_eq!(held.doubt, nth.min(3), "no copy is given up while there is room");
        let gaps = queue.gaps();
        given_up = gaps.iter().filter(|gap| gap.parked.is_none()).count();
        let is_first = |gap: &Gap| gap.from == Stamp(1) && gap.explain().contains("discarded");
        assert_eq!(gaps.iter().any(is_first), given_up > 0);
    }
    assert!(given_up >= 4, "{given_up} given up");
    let gaps = queue.gaps();
    let copies = queue.space.doubts.clone();
    drop(queue);
    let (queue, ..) = fixture.try_open(limits).unwrap();
    assert_eq!((queue.gaps(), &queue.space.doubts), (gaps, &copies), "and so a start finds it");
    drop(queue);
    fixture.lose_index();
    let (queue, ..) = fixture.try_open(limits).unwrap();
    let told = queue.gaps().iter().filter(|gap| gap.parked.is_none()).count();
    assert_eq!(told, given_up, "also one that has only the checkpoint");
}

on_both!(
    a_batch_leaves_the_way_of_delivery_with_a_gap_for_each_stream,
    a_part_of_a_frame_is_all_that_is_set_aside,
    a_retry_puts_all_back_once_and_closes_the_gaps,
    a_dropped_batch_stays_in_the_gap_log,
    a_lost_index_finds_the_gaps_of_batches_in_doubt,
    a_batch_that_waits_again_and_is_accepted_is_in_doubt_no_more,
    a_page_from_memory_moves_its_stream_with_its_gap,
    the_collectors_own_words_make_no_gap,
    damage_can_be_given_up_and_the_gap_stays,
    the_oldest_copies_are_given_up_and_that_is_told,
);

#[test]
fn a_power_cut_at_any_operation_of_a_doubt_loses_neither_batch_nor_gap() {
    for n in 1..80 {
        let disk = MemDisk::new(128 << 20);
        let mut queue = filled(&disk);
        let sent = queue.peek(ALL).unwrap().unwrap().sent;
        disk.fail_after(n, Fault::PowerOff);
        let doubted = queue.doubt(sent.end, WORDS);
        let is_over = doubted.is_ok() && !disk.has_failed();
        drop(queue);
        disk.power_cut(&mut Prng::new(n));
        disk.heal();
        let (mut queue, opened, _) = disk.open();
        let waits = opened.held.records;
        assert!(matches!((waits, opened.held.gaps), (5, 0) | (0, 2)), "operation {n}: {waits}");
        if doubted.is_ok() {
            assert_eq!(opened.held.gaps, 2, "operation {n}");
        }
        if waits == 0 {
            queue.retry_doubt(sent.first).unwrap().expect("the batch is there with its gaps");
        }
        assert_eq!(drained::<MemDisk>(&mut queue), [1, 2, 3, 11, 12], "operation {n}");
        assert!(queue.doubts().is_empty(), "operation {n}");
        if is_over {
            return;
        }
    }
    panic!("it never ends");
}

#[test]
fn a_power_cut_at_any_operation_of_a_page_in_doubt_moves_the_stream_with_its_gap() {
    for n in 1..80 {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        disk.fail_after(n, Fault::PowerOff);
        let frames = page(&threats(), &[1, 2, 3], 2);
        let doubted = queue.doubt_page(&threats(), &frames, (progress(3, 1), &[], &[]), WORDS);
        let is_over = doubted.is_ok() && !disk.has_failed();
        drop(queue);
        disk.power_cut(&mut Prng::new(n));
        disk.heal();
        let (mut queue, opened, _) = disk.open();
        let moved = opened.streams[0].progress == Some(progress(3, 1));
        assert_eq!(opened.held.gaps, u64::from(moved), "operation {n}");
        assert!(moved || doubted.is_err(), "operation {n}");
        if moved {
            let at = queue.doubts()[0];
            queue.retry_doubt(at).unwrap().expect("the page is there with its gap");
            assert_eq!(drained::<MemDisk>(&mut queue), [1, 2, 3], "operation {n}");
        }
        if is_over {
            return;
        }
    }
    panic!("it never ends");
}

#[test]
fn a_power_cut_at_any_operation_of_a_retry_loses_nothing() {
    for n in 1..200 {
        let disk = MemDisk::new(128 << 20);
        let mut queue = filled(&disk);
        let at = doubt_all::<MemDisk>(&mut queue);
        disk.fail_after(n, Fault::PowerOff);
        let is_over = queue.retry_doubt(at).is_ok() && !disk.has_failed();
        drop(queue);
        disk.power_cut(&mut Prng::new(n));
        disk.heal();
        let (mut queue, ..) = disk.open();
        for at in queue.doubts() {
            queue.retry_doubt(at).unwrap();
        }
        assert_eq!(queue.held().gaps, 0, "operation {n}");
        let mut numbers = drained::<MemDisk>(&mut queue);
        numbers.sort_unstable();
        // A page that was in the log and not in the index is adopted, and its batch is retried again.
        assert!(numbers.len() <= 5 + 3, "operation {n}: {numbers:?}");
        numbers.dedup();
        assert_eq!(numbers, [1, 2, 3, 11, 12], "operation {n}");
        if is_over {
            assert!(n > 5, "only {n} operations were cut");
            return;
        }
    }
    panic!("it never ends");
}

#[test]
fn a_full_disk_keeps_the_batch_waiting() {
    let disk = MemDisk::new(128 << 20);
    let mut queue = filled(&disk);
    let sent = queue.peek(ALL).unwrap().unwrap().sent;
    disk.fail_after(1, Fault::Once(std::io::ErrorKind::StorageFull));
    let mut refused = 0;
    for _ in 0..20 {
        match queue.doubt(sent.end, WORDS) {
            Ok(_) => break,
            Err(QueueError::DiskFull) => {
                refused += 1;
                assert_eq!(queue.held().records, 5);
            }
            Err(_) => drop(queue.reopen().unwrap()),
        }
    }
    assert!(refused <= 1);
    assert_eq!(queue.held().doubt, 1);
}

fn gaps_at(queue: &super::MemQueue, at: QueuePosition) -> usize {
    queue.gaps().iter().filter(|gap| gap.parked == Some(at)).count()
}

/// Every part of a frame: what is set aside does not wait, and what waits is not set aside.
#[test]
fn any_part_of_a_frame_is_set_aside_once() {
    for from in 0..3 {
        for to in from + 1..=3 {
            let disk = MemDisk::new(128 << 20);
            let mut queue = filled(&disk);
            let at = |skip| QueuePosition { seq: Seq(1), skip };
            queue.ack(at(from), NOW).unwrap();
            queue.doubt(at(to), WORDS).unwrap();
            let parts = queue.read_doubt(at(from)).unwrap().unwrap();
            let ids: Vec<u64> =
                parts.iter().flat_map(|frame| &frame.entries).map(|entry| entry.key.id).collect();
            assert_eq!(ids, (u64::from(from) + 1..=u64::from(to)).collect::<Vec<_>>());
            let gap = Some(u64::from(to - from));
            assert_eq!(queue.gaps()[0].count, gap, "{from}..{to}");
            let rest: Vec<u64> = (u64::from(to) + 1..4).chain([11, 12]).collect();
            assert_eq!(drained::<MemDisk>(&mut queue), rest, "{from}..{to}");
        }
    }
}

/// The head may be after the last entry of its frame. That frame is delivered: it is neither counted nor
/// read, and as many as a request takes follow it.
#[test]
fn a_whole_request_after_a_delivered_frame_is_set_aside() {
    let many = crate::limits::TAKE_FRAMES_MAX as u64;
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    let mut frames = vec![frame(&threats(), &[1]); many as usize + 1];
    frames.iter_mut().for_each(|frame| frame.last_of_page = true);
    queue.append(&threats(), &frames, progress(1, 1), &[]).unwrap();
    queue.ack(QueuePosition { seq: Seq(1), skip: 1 }, NOW).unwrap();
    let first = queue.entries(Seq(1), 1).unwrap()[0];
    let last = (first.offset + u64::from(first.len)) as usize - 1;
    disk.tamper(&super::log::path(first.file), |bytes| bytes[last] ^= 1);
    let held = queue.doubt(QueuePosition { seq: Seq(many + 2), skip: 0 }, WORDS).unwrap();
    assert_eq!((held.records, queue.gaps()[0].count), (0, Some(many)));
}

#[test]
fn a_page_from_memory_never_gets_the_name_of_another_one() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    let mut places = Vec::new();
    for n in 1..5 {
        let frames = page(&threats(), &[n], 1);
        queue.doubt_page(&threats(), &frames, (progress(n, 1), &[], &[]), WORDS).unwrap();
        let at = *queue.doubts().last().unwrap();
        // Only the gap log still has it.
        queue.drop_doubt(at).unwrap().unwrap();
        places.push(at);
    }
    places.dedup();
    assert_eq!((places.len(), queue.gaps().len()), (4, 4), "{places:?}");
}

/// The words are cut, and what is kept of them is shown.
#[test]
fn words_of_any_length_are_shown_to_their_bound() {
    let max = crate::limits::DOUBT_WORDS_BYTES_MAX;
    for len in [0, 1, max - 1, max, max + 1] {
        let disk = MemDisk::new(128 << 20);
        let mut queue = filled(&disk);
        let sent = queue.peek(ALL).unwrap().unwrap().sent;
        queue.doubt(sent.end, &"w".repeat(len)).unwrap();
        let words = queue.doubt_words(sent.first).unwrap();
        assert_eq!(words.is_empty(), len == 0);
        match len <= max {
            true => assert_eq!(words, "w".repeat(len)),
            false => assert!(words.len() >= max - 3 && words.len() <= max, "{}", words.len()),
        }
    }
}

#[test]
fn a_batch_that_waits_again_is_not_put_back_beside_it() {
    let disk = MemDisk::new(128 << 20);
    let mut queue = filled(&disk);
    queue.write_checkpoint(NOW);
    let at = doubt_all::<MemDisk>(&mut queue);
    let gaps = queue.gaps();
    drop(queue);
    disk.lose_indexes();
    let (mut queue, opened, _) = disk.open();
    assert_eq!((opened.held.records, queue.state.head), (5, at));
    // Its gaps are known, as from a checkpoint written in between, until it is accepted.
    let mut batch = super::index::Batch::default();
    for gap in gaps {
        queue.gap_log.note(gap, &mut batch);
    }
    queue.commit(&batch).unwrap();
    let mut accepted = disk.copy().open().0;
    assert_eq!(accepted.held().gaps, 2);
    assert_eq!(drained::<MemDisk>(&mut accepted), [1, 2, 3, 11, 12]);
    assert_eq!((accepted.held().gaps, accepted.doubts()), (0, vec![]));
    assert_eq!(queue.retry_doubt(at).unwrap().unwrap().records, 5);
    assert_eq!(drained::<MemDisk>(&mut queue), [1, 2, 3, 11, 12]);
}

/// What of `doubt/` neither waits nor is in the gap log is noted again: delivery has passed it, the log has
/// nothing of it, or it was never there.
#[test]
fn a_start_without_an_index_notes_each_batch_that_does_not_wait() {
    let three = Take { entries_max: 3, ..ALL };
    for is_passed in [true, false] {
        let disk = MemDisk::new(128 << 20);
        let mut queue = filled(&disk);
        queue.write_checkpoint(NOW);
        let sent = queue.peek(three).unwrap().unwrap().sent;
        queue.doubt(sent.end, WORDS).unwrap();
        if is_passed {
            let end = queue.peek(ALL).unwrap().unwrap().sent.end;
            queue.state.head = end;
            queue.note_head(true).unwrap();
        }
        drop(queue);
        disk.lose_indexes();
        if !is_passed {
            for name in Fixture::files(&disk, "log") {
                super::disk::Disk::remove(&mut disk.clone(), &format!("log/{name}")).unwrap();
            }
        }
        let (mut queue, ..) = disk.open();
        assert_eq!(gaps_at(&queue, sent.first), 1, "passed: {is_passed}");
        let before = queue.held().records;
        let after = queue.retry_doubt(sent.first).unwrap().unwrap().records;
        assert_eq!(after, before + 3, "passed: {is_passed}");
    }
    let disk = MemDisk::new(128 << 20);
    let mut queue = filled(&disk);
    queue.write_checkpoint(NOW);
    let frames = page(&threats(), &[5], 1);
    queue.doubt_page(&threats(), &frames, (progress(5, 5), &[], &[]), WORDS).unwrap();
    let at = queue.doubts()[0];
    drop(queue);
    disk.lose_indexes();
    super::disk::Disk::remove(&mut disk.clone(), "checkpoint").unwrap();
    let (queue, ..) = disk.open();
    assert_eq!(gaps_at(&queue, at), 1, "it was never in the log");
}

/// Whatever fails while a batch is dropped, it is there until it is dropped, and a file that can't be read
/// is kept.
#[test]
fn a_batch_is_dropped_whole_or_not_at_all() {
    for kind in [std::io::ErrorKind::PermissionDenied, std::io::ErrorKind::Other] {
        for is_damaged in [false, true] {
            let mut failed = 0;
            for n in 1..40 {
                let disk = MemDisk::new(128 << 20);
                let mut queue = filled(&disk);
                let at = doubt_all::<MemDisk>(&mut queue);
                let path = format!("doubt/{at}.log");
                if is_damaged {
                    disk.tamper(&path, |bytes| bytes[60] ^= 1);
                }
                disk.fail_after(n, Fault::Once(kind));
                let dropped = queue.drop_doubt(at);
                let has_failed = disk.has_failed();
                disk.heal();
                let told = format!("operation {n}, {kind:?}, damaged: {is_damaged}: {dropped:?}");
                if dropped.is_err() {
                    failed += 1;
                    queue.reopen().unwrap();
                    assert_eq!(queue.doubts(), [at], "{told}");
                    queue.drop_doubt(at).unwrap();
                }
                assert!(!disk.files().contains(&path), "{told}");
                let aside = Fixture::files(&disk, "quarantine");
                let is_kept = aside.iter().any(|name| name.ends_with(&format!("doubt-{at}")));
                assert!(is_kept || !is_damaged, "{told}: {aside:?}");
                drop(queue);
                let (queue, opened, _) = disk.try_open(SMALL).unwrap();
                assert_eq!((opened.held.doubt, queue.gaps().len()), (0, 2), "{told}");
                if !has_failed {
                    break;
                }
            }
            assert!(failed > 2, "only {failed} operations failed");
        }
    }
}

#[test]
fn the_records_of_a_batch_come_back_before_the_collectors_own() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    let own = StreamName::collector("acme");
    queue.append(&own, &own_words(&[7]), progress(21, 21), &[]).unwrap();
    queue.append(&threats(), &page(&threats(), &[1, 2], 2), progress(2, 1), &[]).unwrap();
    let at = doubt_all::<MemDisk>(&mut queue);
    queue.retry_doubt(at).unwrap().unwrap();
    let pieces = queue.peek(ALL).unwrap().unwrap().pieces;
    let streams: Vec<StreamName> = pieces.into_iter().map(|piece| piece.frame.stream).collect();
    assert_eq!(streams, [threats(), own]);
}

/// A record without a time says nothing of when the others are from.
#[test]
fn a_gap_of_a_batch_reaches_from_its_first_dated_record_to_its_last() {
    let none = Stamp::UNREADABLE.0;
    for (stamps, from, to) in
        [([none, 9, 5], 5, 9), ([5, none, 5], 5, 5), ([none; 3], none, none), ([7, 8, 9], 7, 9)]
    {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        let mut frames = page(&threats(), &[1, 2, 3], 3);
        for (entry, stamp) in frames[0].entries.iter_mut().zip(stamps) {
            entry.key.stamp = Stamp(stamp);
        }
        queue.doubt_page(&threats(), &frames, (progress(3, 1), &[], &[]), WORDS).unwrap();
        let gap = &queue.gaps()[0];
        assert_eq!((gap.from.0, gap.to.0), (from, to), "{stamps:?}");
    }
}

#[test]
fn a_file_that_does_not_end_with_the_last_frame_of_its_batch_is_not_read() {
    let encoded = |last_of_page: bool| {
        let (frame, mut bytes) = (frame(&threats(), &[1, 2]), Vec::new());
        let (seq, progress) = (Seq(1), frame.progress);
        let slot = crate::frame::FrameMeta { seq, page_index: 0, last_of_page, progress };
        crate::frame::encode(&mut bytes, &frame, slot);
        bytes
    };
    let read = |bytes: &[u8]| super::in_doubt::decode(bytes).ok().map(|frames| frames.len());
    assert_eq!(read(&[encoded(false), encoded(true)].concat()), Some(2));
    assert_eq!(read(&encoded(false)), None);
    assert_eq!(read(&[encoded(true), encoded(true)].concat()), None);
    assert_eq!(read(&[encoded(true), vec![0]].concat()), None);
    assert_eq!(read(&[]), None);
}

#[test]
fn a_batch_for_which_there_is_no_room_keeps_waiting() {
    let limits = super::QueueLimits { max_size_bytes: 16 << 20, min_free_bytes: 0 };
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.try_open(limits).unwrap();
    let mut records = 0;
    while queue
        .append(&threats(), &[big_frame(&threats(), records, 1 << 20)], progress(records, 0), &[])
        .is_ok()
    {
        records += 1;
    }
    assert!(records > 4, "{records}");
    let end = QueuePosition { seq: Seq(records + 1), skip: 0 };
    assert!(matches!(queue.doubt(end, WORDS), Err(QueueError::DiskFull)));
    let held = queue.held();
    assert_eq!((held.records, held.doubt, held.gaps), (records, 0, 0));
    assert!(Fixture::files(&disk, "doubt").is_empty());
}

/// A file of the log in which nothing waits is removed, as after an acknowledgement.
#[test]
fn the_files_of_a_batch_are_given_back() {
    let disk = MemDisk::new(128 << 20);
    drop(filled(&disk));
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[4], 1), progress(4, 1), &[]).unwrap();
    assert_eq!(Fixture::files(&disk, "log").len(), 2);
    doubt_all::<MemDisk>(&mut queue);
    assert_eq!(Fixture::files(&disk, "log").len(), 1);
}

/// It waits nowhere then, so it is in doubt still, and sent again when a person says so.
#[test]
fn a_batch_whose_log_is_lost_with_all_else_is_kept_and_put_back() {
    let disk = MemDisk::new(128 << 20);
    let mut queue = filled(&disk);
    let at = doubt_all::<MemDisk>(&mut queue);
    drop(queue);
    disk.kill();
    disk.lose_indexes();
    let is_lost = |path: &String| path.starts_with("log/") || !path.contains('/');
    for path in disk.files().iter().filter(|path| is_lost(path)) {
        super::disk::Disk::remove(&mut disk.clone(), path).unwrap();
    }
    let (mut queue, opened, _) = disk.try_open(SMALL).unwrap();
    assert_eq!((opened.held.doubt, queue.doubts()), (1, vec![at]));
    assert_eq!(gaps_at(&queue, at), 2);
    assert_eq!(queue.retry_doubt(at).unwrap().unwrap().records, 5);
    assert_eq!(drained::<MemDisk>(&mut queue), [1, 2, 3, 11, 12]);
}
