//! What the log of gaps keeps through restarts, lost indexes, damage, retries and purges.

use super::gaps::HEARTBEAT_ID;
use super::mem::{Fault, MemDisk};
use super::testing::*;
use super::{Append, Queue, QueueError};
use crate::frame::Frame;
use crate::record::{Gap, GapReason, QueuePosition, RowKey, Seq, StreamName, Take, Unread};
use crate::time::{Mono, Stamp};

const NOW: Mono = Mono(1);
const ONE: Take = Take { entries_max: 1, raw_bytes_max: 1 << 20, until: None };

fn own() -> StreamName {
    StreamName::collector("acme")
}

/// A frame that tells of these gaps, or is a heartbeat.
fn told(ids: &[u64]) -> Frame {
    let mut frame = frame(&own(), ids);
    for entry in &mut frame.entries {
        entry.key = RowKey { stamp: Stamp(1_000), id: entry.key.id };
    }
    Frame { last_of_page: true, ..frame }
}

fn tell<G: Fixture>(queue: &mut Queue<G::D>) -> Vec<u64> {
    let ids: Vec<u64> = queue.gaps_to_report().iter().map(|gap| gap.number).collect();
    if !ids.is_empty() {
        queue.append(&own(), &[told(&ids)], progress(1_000, 1_000), &[]).unwrap();
    }
    ids
}

fn park_first<G: Fixture>(queue: &mut Queue<G::D>) -> QueuePosition {
    let sent = queue.peek(ONE).unwrap().unwrap().sent;
    queue.park(sent.first, Some(b"{\"refused\":1}"), "400").unwrap();
    sent.first
}

fn started<G: Fixture>(fixture: &G) -> Queue<G::D> {
    let (mut queue, ..) = fixture.open();
    let frames = page(&threats(), &[1, 2, 3], 3);
    queue.append(&threats(), &frames, progress(3, 1), &[]).unwrap();
    queue
}

/// Cut at each operation of a page that steps over a range: on the disk is the gap, or a position before it.
#[test]
fn a_page_that_is_adopted_passes_over_nothing_unreported() {
    let range = Gap::open(&threats(), Stamp(4), Stamp(90), GapReason::Unfetchable);
    let (mut adopted, mut stored) = (0, 0);
    for n in 1..40 {
        let disk = MemDisk::new(128 << 20);
        let mut queue = started(&disk);
        disk.fail_after(n, Fault::PowerOff);
        let frames = page(&threats(), &[91, 92], 1);
        let after = progress(92, 90);
        let _ =
            queue.append_past(&threats(), &frames, after, &[key(91), key(92)], &[], range.clone());
        drop(queue);
        disk.kill();
        let (mut queue, opened, found) = disk.open();
        let position = opened.streams[0].progress.unwrap().position;
        assert_eq!(position > Stamp(4), queue.held().gaps == 1, "operation {n}");
        adopted += u32::from(found.contains(&"page-adopted"));
        stored += u32::from(queue.held().gaps == 1);
    }
    assert!(adopted > 0 && stored > 0, "{adopted} {stored}: it lost its teeth");
}

fn what(gap: &Gap) -> (GapReason, Stamp, Stamp, Option<u64>, bool) {
    (gap.reason, gap.from, gap.to, gap.count, gap.closed)
}

fn a_refused_record_is_a_gap_told_once<G: Fixture>(fixture: &G) {
    let mut queue = started(fixture);
    let at = park_first::<G>(&mut queue);
    assert_eq!((queue.held().gaps, queue.held().unreported), (1, 1));
    drop(queue);
    let (mut queue, opened, _) = fixture.open();
    assert_eq!((opened.held.gaps, opened.held.unreported), (1, 1), "noted with the head");
    let gap = queue.gaps().remove(0);
    assert_eq!(what(&gap), (GapReason::Refused, Stamp(1), Stamp(1), Some(1), false));
    assert_eq!((&gap.stream, gap.parked), (&threats(), Some(at)));
    assert_eq!(tell::<G>(&mut queue), [1]);
    let peeked = queue.peek(ALL).unwrap().unwrap();
    assert_eq!((peeked.sent.entries, peeked.sent.own), (3, 1));
    drop(queue);
    let (mut queue, opened, _) = fixture.open();
    assert_eq!((opened.held.gaps, opened.held.unreported), (1, 0));
    assert!(tell::<G>(&mut queue).is_empty());
}

fn a_lost_index_forgets_no_gap<G: Fixture>(fixture: &G) {
    let mut queue = started(fixture);
    park_first::<G>(&mut queue);
    assert_eq!(tell::<G>(&mut queue), [1]);
    park_first::<G>(&mut queue);
    queue
        .append_past(
            &activities(),
            &[],
            progress(9, 9),
            &[],
            &[],
            Gap::open(&activities(), Stamp(5), Stamp(9), GapReason::Retention),
        )
        .unwrap();
    drop(queue);
    fixture.lose_index();
    let (queue, opened, findings) = fixture.open();
    assert_eq!(findings, ["index-replaced"]);
    assert_eq!(opened.held.gaps, 3, "{:?}", queue.gaps());
    let told: Vec<u64> = queue.gaps_to_report().iter().map(|gap| gap.number).collect();
    assert_eq!(told, [2, 3], "what waits in the log is told already");
    let lost = queue.gaps().into_iter().find(|gap| gap.reason == GapReason::Retention).unwrap();
    assert_eq!(what(&lost), (GapReason::Retention, Stamp(5), Stamp(9), None, false));
    assert_eq!(opened.streams[1].progress, Some(progress(9, 9)));
}

fn a_lost_index_finds_the_gaps_of_parked_records<G: Fixture>(fixture: &G) {
    let mut queue = started(fixture);
    let at = park_first::<G>(&mut queue);
    // As if it was noted by nobody but the index.
    queue.gap_log = super::gaps::GapLog::default();
    queue.close(NOW);
    fixture.lose_index();
    let (queue, opened, _) = fixture.open();
    assert_eq!((opened.held.gaps, opened.held.unreported), (1, 1));
    let gap = queue.gaps().remove(0);
    assert_eq!((gap.parked, &gap.stream), (Some(at), &threats()));
    assert_eq!(what(&gap), (GapReason::Refused, Stamp(1), Stamp(1), Some(1), false));
}

fn a_parked_record_that_waits_again_is_no_gap<G: Fixture>(fixture: &G) {
    let mut queue = started(fixture);
    park_first::<G>(&mut queue);
    drop(queue);
    fixture.lose_index();
    // The head goes back to the checkpoint's, before the record.
    let (mut queue, opened, _) = fixture.open();
    assert_eq!((opened.held.records, opened.held.gaps), (3, 0));
    park_first::<G>(&mut queue);
    assert_eq!(queue.held().gaps, 1);
}

fn a_frame_that_told_and_is_damaged_is_told_anew<G: Fixture>(fixture: &G) {
    let mut queue = started(fixture);
    park_first::<G>(&mut queue);
    tell::<G>(&mut queue);
    queue.append(&own(), &[told(&[HEARTBEAT_ID])], progress(1_000, 1_000), &[]).unwrap();
    assert!(queue.held().heartbeat_waits);
    assert_eq!(queue.held().unreported, 0);
    queue.quarantine(Seq(2), "damaged").unwrap();
    assert_eq!(queue.held().unreported, 1);
    assert_eq!(tell::<G>(&mut queue), [1]);
}

fn a_retried_record_is_in_the_queue_again_and_its_gap_is_closed<G: Fixture>(fixture: &G) {
    let mut queue = started(fixture);
    let at = park_first::<G>(&mut queue);
    tell::<G>(&mut queue);
    let before = queue.opened().streams;
    let held = queue.retry_parked(at).unwrap().unwrap();
    assert_eq!((held.gaps, held.unreported, held.parked, held.records), (0, 1, 0, 4));
    assert_eq!(queue.opened().streams, before, "its stream stays where it is");
    assert_eq!(queue.retry_parked(at).unwrap(), None);
    assert!(fixture.files("parked").is_empty());
    drop(queue);
    let (mut queue, opened, _) = fixture.open();
    assert_eq!((opened.held.gaps, opened.held.unreported, opened.held.parked), (0, 1, 0));
    let mut last = None;
    while let Some(peeked) = queue.peek(ALL).unwrap() {
        last = peeked.pieces.last().map(|piece| inflate(&piece.frame));
        queue.ack(peeked.sent.end, NOW).unwrap();
    }
    assert_eq!(last.unwrap(), b"{\"refused\":1}");
    assert_eq!(tell::<G>(&mut queue), [1], "that it is closed is told");
}

fn a_purged_record_stays_in_the_gap_log<G: Fixture>(fixture: &G) {
    let mut queue = started(fixture);
    let at = park_first::<G>(&mut queue);
    tell::<G>(&mut queue);
    assert_eq!(queue.parked().unwrap(), [at]);
    let held = queue.drop_parked(at).unwrap().unwrap();
    assert_eq!((held.gaps, held.unreported, held.parked), (1, 1, 0));
    assert_eq!(queue.parked().unwrap(), []);
    drop(queue);
    let (queue, ..) = fixture.open();
    let gap = queue.gaps().remove(0);
    assert_eq!(what(&gap), (GapReason::Purged, Stamp(1), Stamp(1), Some(1), false));
}

fn a_damaged_parked_record_can_be_given_up_and_its_gap_stays<G: Fixture>(fixture: &G) {
    let mut queue = started(fixture);
    let at = park_first::<G>(&mut queue);
    fixture.change(&format!("parked/{at}.log"), &|bytes| bytes[60] ^= 1);
    assert!(matches!(queue.retry_parked(at), Err(QueueError::Damaged { .. })));
    let held = queue.drop_parked(at).unwrap().unwrap();
    assert_eq!((held.gaps, held.parked), (1, 0));
    assert_eq!(fixture.files("parked"), [""; 0]);
    assert!(fixture.files("quarantine").iter().any(|name| name.ends_with(&format!("parked-{at}"))));
    assert_eq!(queue.drop_parked(at).unwrap(), None);
    assert_eq!(what(&queue.gaps()[0]).0, GapReason::Refused);
}

fn the_collectors_own_words_make_no_gap<G: Fixture>(fixture: &G) {
    let mut queue = started(fixture);
    park_first::<G>(&mut queue);
    tell::<G>(&mut queue);
    queue.append(&own(), &[told(&[HEARTBEAT_ID])], progress(1_000, 1_000), &[]).unwrap();
    let end = QueuePosition { seq: Seq(2), skip: 0 };
    queue.ack(end, NOW).unwrap();
    park_first::<G>(&mut queue);
    assert_eq!((queue.held().gaps, queue.held().unreported, queue.held().parked), (1, 0, 2));
    park_first::<G>(&mut queue);
    let held = queue.held();
    assert_eq!((held.parked, held.records), (2, 0), "a heartbeat is forgotten");
    assert!(!held.heartbeat_waits);
}

fn a_record_that_could_not_be_fetched_closes_its_gap_when_it_comes<G: Fixture>(fixture: &G) {
    let mut queue = started(fixture);
    let unread = Unread { id: Some(7), bytes_min: None };
    // The record stood in the third second.
    let open = |stream: StreamName, reason| Gap::open(&stream, Stamp(3), Stamp(2_000_900), reason);
    for gap in [
        Gap { unread, ..open(threats(), GapReason::Unfetchable) },
        open(threats(), GapReason::Unfetchable),
        open(activities(), GapReason::Unfetchable),
        open(activities(), GapReason::Retention),
    ] {
        let after = progress(2_000_900, 2_000_900);
        queue.append_past(&gap.stream.clone(), &[], after, &[], &[], gap).unwrap();
    }
    assert_eq!(tell::<G>(&mut queue), [1, 2, 3, 4]);
    let mut come = |stream: StreamName, ids: &[u64], late: &[i64]| {
        let frames = if ids.is_empty() { vec![] } else { page(&stream, ids, 1) };
        let keys: Vec<RowKey> = ids.iter().copied().map(key).collect();
        let late: Vec<Stamp> = late.iter().copied().map(Stamp).collect();
        let after = progress(3_000_000, 3_000_000);
        let (progress, created_keys, late) = (after, &keys[..], &late[..]);
        let append = Append { progress, known: &[], created_keys, gap: None, late };
        queue.append_page(&stream, &frames, append).unwrap();
        let closed = queue.gaps().into_iter().filter(|gap| gap.closed);
        closed.map(|gap| gap.number).collect::<Vec<u64>>()
    };
    let none: [u64; 0] = [];
    assert_eq!(come(activities(), &[2_000_899], &[]), none, "a walk has brought another");
    assert_eq!(
        come(activities(), &[7], &[1_999_999]),
        none,
        "of another second, and another stream"
    );
    assert_eq!(come(threats(), &[2_000_898], &[2_000_898]), none, "it was listed by its creation");
    assert_eq!(come(threats(), &[7], &[]), [1], "whoever has brought it");
    assert_eq!(come(activities(), &[], &[2_000_000]), [1, 3], "by the last page of a list");
    drop(queue);
    let (mut queue, opened, _) = fixture.open();
    assert_eq!((opened.held.gaps, opened.held.unreported), (2, 2));
    assert_eq!(tell::<G>(&mut queue), [1, 3], "what became of them is told");
}

on_both!(
    a_record_that_could_not_be_fetched_closes_its_gap_when_it_comes,
    a_refused_record_is_a_gap_told_once,
    a_lost_index_forgets_no_gap,
    a_lost_index_finds_the_gaps_of_parked_records,
    a_parked_record_that_waits_again_is_no_gap,
    a_frame_that_told_and_is_damaged_is_told_anew,
    a_retried_record_is_in_the_queue_again_and_its_gap_is_closed,
    a_purged_record_stays_in_the_gap_log,
    a_damaged_parked_record_can_be_given_up_and_its_gap_stays,
    the_collectors_own_words_make_no_gap,
);

#[test]
fn a_power_cut_at_any_operation_of_a_park_loses_neither_record_nor_gap() {
    for n in 1..60 {
        let disk = MemDisk::new(128 << 20);
        let mut queue = started(&disk);
        let sent = queue.peek(ONE).unwrap().unwrap().sent;
        disk.fail_after(n, super::mem::Fault::PowerOff);
        let parked = queue.park(sent.first, Some(b"{}"), "400");
        let is_over = parked.is_ok() && !disk.has_failed();
        drop(queue);
        disk.power_cut(&mut crate::prng::Prng::new(n));
        disk.heal();
        let (mut queue, opened, _) = disk.open();
        let waits = opened.held.head <= sent.first;
        assert_eq!(opened.held.gaps, u64::from(!waits), "operation {n}: {:?}", queue.gaps());
        if !matches!(parked, Err(QueueError::Broken(_))) && parked.is_ok() {
            assert_eq!(opened.held.gaps, 1, "operation {n}");
        }
        assert_eq!(queue.peek(ALL).unwrap().unwrap().sent.entries, if waits { 3 } else { 2 });
        if is_over {
            return;
        }
    }
    panic!("parking never ends");
}

#[test]
fn a_power_cut_at_any_operation_of_a_skip_moves_the_stream_with_its_gap_or_not_at_all() {
    for n in 1..40 {
        let disk = MemDisk::new(128 << 20);
        let mut queue = started(&disk);
        disk.fail_after(n, super::mem::Fault::PowerOff);
        let range = Gap::open(&threats(), Stamp(5), Stamp(90), GapReason::Retention);
        let skipped = queue.append_past(&threats(), &[], progress(3, 90), &[], &[], range);
        let is_over = skipped.is_ok() && !disk.has_failed();
        drop(queue);
        disk.power_cut(&mut crate::prng::Prng::new(n));
        disk.heal();
        let (_, opened, _) = disk.open();
        let is_there = opened.streams[0].progress == Some(progress(3, 90));
        assert_eq!(opened.held.gaps, u64::from(is_there), "operation {n}");
        assert!(is_there || skipped.is_err(), "operation {n}");
        if is_over {
            return;
        }
    }
    panic!("skipping never ends");
}
