//! What is held of an exported queue: that it arrives whole, once, or not at all.

use super::*;
use crate::queue::MemQueue;
use crate::queue::adopt::{Claim, SaidBy};
use crate::queue::mem::MemDisk;
use crate::queue::testing::*;
use crate::record::{
    Gap, GapReason, Hold, Kind, Learned, Progress, QueuePosition, Seq, StreamLearned, Take,
};
use crate::time::{Mono, Span};

/// A queue with a page delivered, one delivered in part, and two that wait.
fn filled(disk: &MemDisk) -> MemQueue {
    let (mut queue, ..) = disk.open();
    let threats_page = |numbers: &[u64]| page(&threats(), numbers, 3);
    queue.append(&threats(), &threats_page(&[1, 2]), progress(2, 1), &[key(1), key(2)]).unwrap();
    let end = queue.peek(ALL).unwrap().unwrap().sent.end;
    queue.ack(end, Mono(1)).unwrap();
    let known: Vec<_> = (3..9).map(key).collect();
    queue.append(&threats(), &threats_page(&[3, 4, 5, 6, 7, 8]), progress(8, 3), &known).unwrap();
    let activities_page = page(&activities(), &[11, 12], 5);
    queue.append(&activities(), &activities_page, progress(12, 11), &[key(11), key(12)]).unwrap();
    let end = queue.peek(Take { entries_max: 2, ..ALL }).unwrap().unwrap().sent.end;
    queue.ack(end, Mono(2)).unwrap();
    queue
}

fn exported(queue: &mut MemQueue, parked: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    let parked: Vec<(Seq, Frame)> = parked.iter().map(|one| (Seq(1), one.clone())).collect();
    let tally = queue.export(&mut out, parked, &mut |_, _| {}).unwrap();
    assert_eq!(verify(&mut out.as_slice()).unwrap(), tally);
    out
}

fn imported(bytes: &[u8], disk: &MemDisk) -> Result<MemQueue, TransferError> {
    let (mut queue, ..) = disk.open();
    let tally = verify(&mut &bytes[..])?;
    queue.import(&mut &bytes[..], tally, &mut |_, _| {})?;
    Ok(queue)
}

#[test]
fn another_box_goes_on_exactly_where_this_one_stopped() {
    let (here, there) = (MemDisk::new(128 << 20), MemDisk::new(128 << 20));
    let mut queue = filled(&here);
    let bytes = exported(&mut queue, &[]);
    let before = all_numbers(&queue.peek(ALL).unwrap().unwrap());
    drop(imported(&bytes, &there).unwrap());
    // What counts is what a daemon finds there afterwards.
    let (mut other, opened, _) = there.open();
    assert_eq!(all_numbers(&other.peek(ALL).unwrap().unwrap()), before);
    assert_eq!(
        opened,
        queue
            .reopen()
            .map(|(opened, _)| opened)
            .map(|mut opened| {
                opened.held = other.held();
                // Nobody ended either queue in order.
                opened.unsettled = 1;
                opened
            })
            .unwrap()
    );
}

#[test]
fn a_parked_record_waits_again_on_the_other_box() {
    let (here, there) = (MemDisk::new(128 << 20), MemDisk::new(128 << 20));
    let mut queue = filled(&here);
    let bytes = exported(&mut queue, &page(&threats(), &[2], 1));
    let mut other = imported(&bytes, &there).unwrap();
    let numbers = all_numbers(&other.peek(ALL).unwrap().unwrap());
    assert_eq!(numbers[0], (crate::record::Kind::Threats, 2));
    assert_eq!(other.held().records, queue.held().records + 1);
}

#[test]
fn nothing_is_taken_in_twice() {
    let disk = MemDisk::new(128 << 20);
    let mut queue = filled(&disk);
    let bytes = exported(&mut queue, &[]);
    drop(queue);
    let refused = imported(&bytes, &disk).unwrap_err();
    assert!(matches!(refused, TransferError::Collected(_)), "{refused}");
}

/// When records were created is not in the file, so a count over them would miss what is there, and
/// reconciliation would bring it a second time.
#[test]
fn nothing_that_was_imported_is_counted() {
    let there = MemDisk::new(128 << 20);
    let bytes = exported(&mut filled(&MemDisk::new(128 << 20)), &[]);
    let (mut other, ..) = there.open();
    other.tally(&threats(), 1_000);
    other.import(&mut &bytes[..], verify(&mut &bytes[..]).unwrap(), &mut |_, _| {}).unwrap();
    drop(other);
    let (mut other, opened, _) = there.open();
    other.tally(&threats(), 1_000);
    let ever = Stamp::from_seconds(1_000_000);
    assert_eq!(other.collected(&threats(), None, ever), None);
    let position = opened.streams[0].progress.unwrap().position;
    let created_keys = [RowKey { stamp: Stamp::from_seconds(9), id: 9 }];
    let frames = page(&threats(), &[9], 3);
    other.append_tallied(&threats(), &frames, progress(9, 3), &[key(9)], &created_keys).unwrap();
    let (since, count) = other.collected(&threats(), None, ever).unwrap();
    assert!(since > position && count == 1, "{count} since {since}, {position}");
}

#[test]
fn every_changed_byte_and_every_cut_is_found_before_anything_is_taken_in() {
    let mut queue = filled(&MemDisk::new(128 << 20));
    let bytes = exported(&mut queue, &[]);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x20;
        assert!(verify(&mut changed.as_slice()).is_err(), "byte {at}");
        assert!(verify(&mut &bytes[..at]).is_err(), "cut at {at}");
    }
}

/// Imports these bytes into an empty queue whose power goes at each operation in turn, until an import is
/// not met by it. `then` gets the disk after each cut. Answers how many there were.
fn at_each_cut(bytes: &[u8], mut then: impl FnMut(&MemDisk, u64)) -> u64 {
    for n in 1..400 {
        let there = MemDisk::new(128 << 20);
        let (mut other, ..) = there.open();
        there.fail_after(n, crate::queue::mem::Fault::PowerOff);
        let tally = verify(&mut &bytes[..]).unwrap();
        if other.import(&mut &bytes[..], tally, &mut |_, _| {}).is_ok() {
            return n - 1;
        }
        drop(other);
        there.power_cut(&mut crate::prng::Prng::new(n));
        then(&there, n);
    }
    panic!("an import takes more operations than this");
}

#[test]
fn an_import_that_is_cut_short_leaves_a_queue_that_is_behind() {
    let mut queue = filled(&MemDisk::new(128 << 20));
    let bytes = exported(&mut queue, &[]);
    let met = at_each_cut(&bytes, |there, n| {
        let (mut other, opened, _) = there.open();
        let waiting = other.peek(ALL).unwrap().map_or(vec![], |peeked| all_numbers(&peeked));
        for (stream, kind) in opened.streams.iter().zip([1, 2]) {
            // Whatever is called known or passed is there.
            for key in &stream.known {
                let is_there = waiting.iter().any(|(k, id)| *k as u8 == kind && *id == key.id);
                assert!(is_there || key.id <= 4, "operation {n}: {key:?} is nowhere");
            }
            // What waits is not polled again, and a stream that waits for its turn does not begin at
            // `start`.
            let own = waiting.iter().filter(|(k, _)| *k as u8 == kind).map(|(_, id)| *id);
            let from = stream.progress.map_or(0, |progress| progress.from.0 as u64);
            for id in own.filter(|id| *id >= from) {
                assert!(stream.known.contains(&key(id)), "operation {n}: {id} is polled again");
            }
            assert!(stream.progress.is_some() || waiting.is_empty(), "operation {n}");
        }
        let is_there = |id| waiting.contains(&(Kind::Threats, id));
        assert_eq!(is_there(5), is_there(8), "operation {n}: half a page");
    });
    assert!(met > 10, "only {met} operations were cut");
}

#[test]
fn an_import_that_was_cut_short_goes_on_when_it_is_repeated() {
    let mut queue = filled(&MemDisk::new(128 << 20));
    queue.doubt(QueuePosition { seq: Seq(2), skip: 3 }, "1 was not accepted").unwrap();
    let frames = page(&activities(), &[13], 1);
    queue
        .doubt_page(&activities(), &frames, (progress(13, 11), &[key(13)], &[]), "not accepted")
        .unwrap();
    with_gaps(&mut queue);
    let bytes = exported(&mut queue, &page(&threats(), &[2], 1));
    let whole = {
        let there = MemDisk::new(128 << 20);
        state_of(&there, imported(&bytes, &there).unwrap())
    };
    let met = at_each_cut(&bytes, |there, n| {
        let again = match imported(&bytes, there) {
            // Only its last step was cut.
            Err(TransferError::Imported) => there.open().0,
            again => again.unwrap_or_else(|why| panic!("operation {n}: {why}")),
        };
        assert_eq!(state_of(there, again), whole, "operation {n}");
        let third = imported(&bytes, there).unwrap_err();
        assert!(matches!(third, TransferError::Imported), "operation {n}: {third}");
    });
    assert!(met > 20, "only {met} operations were cut");
}

/// What a daemon finds in it: what waits, how many batches are in doubt, and where each stream is.
fn state_of(disk: &MemDisk, queue: MemQueue) -> impl PartialEq + std::fmt::Debug + use<> {
    drop(queue);
    let (mut queue, opened, _) = disk.open();
    let ids = |piece: Piece| {
        let ids = piece.frame.entries.iter().map(|entry| entry.key.id).skip(piece.skip as usize);
        (piece.frame.stream.clone(), ids.collect::<Vec<_>>())
    };
    let peeked = queue.peek(ALL).unwrap().map_or(vec![], |peeked| peeked.pieces);
    let waits: Vec<_> = peeked.into_iter().map(ids).collect();
    let streams = opened.streams.into_iter().map(|stream| {
        let mut known = stream.known;
        known.sort_unstable();
        known.dedup();
        (stream.progress, known)
    });
    let gaps = queue.gaps().into_iter().map(|gap| (gap.stream, gap.from, gap.to, gap.count));
    let (gaps, unreported) = (gaps.collect::<Vec<_>>(), numbers_to_report(&queue));
    (waits, queue.doubts().len(), streams.collect::<Vec<_>>(), gaps, unreported)
}

#[test]
fn what_was_begun_is_given_up_once_the_queue_goes_on_otherwise() {
    let mut queue = filled(&MemDisk::new(128 << 20));
    let bytes = exported(&mut queue, &[]);
    let there = MemDisk::new(128 << 20);
    let (mut other, ..) = there.open();
    there.fail_after(20, crate::queue::mem::Fault::PowerOff);
    let tally = verify(&mut bytes.as_slice()).unwrap();
    other.import(&mut bytes.as_slice(), tally, &mut |_, _| {}).unwrap_err();
    drop(other);
    there.power_cut(&mut crate::prng::Prng::new(7));
    let longer = exported(&mut queue, &page(&threats(), &[2], 1));
    assert!(matches!(imported(&longer, &there).unwrap_err(), TransferError::Unfinished));
    let (mut other, ..) = there.open();
    assert!(other.end_import() && !other.end_import());
    drop(other);
    assert!(matches!(imported(&bytes, &there).unwrap_err(), TransferError::Collected(_)));
}

#[test]
fn bytes_after_the_end_are_found() {
    let mut bytes = exported(&mut filled(&MemDisk::new(128 << 20)), &[]);
    bytes.push(0);
    let refused = verify(&mut bytes.as_slice()).unwrap_err();
    assert!(refused.to_string().contains("bytes follow its end"), "{refused}");
}

/// Gap 1, or the next, is told in a frame that waits; the one after it is not.
fn with_gaps(queue: &mut MemQueue) -> [u64; 2] {
    let lost = |queue: &mut MemQueue, at: i64| {
        let gap = Gap::open(&activities(), Stamp(at), Stamp(at + 1), GapReason::Retention);
        queue.append_past(&activities(), &[], progress(12, 11), &[], &[], gap).unwrap();
        queue.gaps().last().unwrap().number
    };
    let told = lost(queue, 20);
    let own = StreamName::collector("acme");
    let frames = page(&own, &[told], 1);
    queue.append(&own, &frames, frames[0].progress, &[]).unwrap();
    [told, lost(queue, 30)]
}

fn numbers_to_report(queue: &MemQueue) -> Vec<u64> {
    queue.gaps_to_report().iter().map(|gap| gap.number).collect()
}

#[test]
fn a_gap_that_nobody_was_told_of_is_told_by_the_other_box() {
    let there = MemDisk::new(128 << 20);
    let mut queue = filled(&MemDisk::new(128 << 20));
    let [_, unreported] = with_gaps(&mut queue);
    let gap = queue.gaps_to_report().remove(0);
    let bytes = exported(&mut queue, &[]);
    let other = imported(&bytes, &there).unwrap();
    assert_eq!(other.gaps_to_report(), [gap]);
    drop(other);
    there.lose_indexes();
    let (mut other, ..) = there.open();
    assert_eq!(numbers_to_report(&other), [unreported]);
    assert_eq!(with_gaps(&mut other), [unreported + 1, unreported + 2], "no number is given twice");
}

#[test]
fn gaps_of_both_boxes_are_told_whatever_their_numbers() {
    let alerts = StreamName::polled("acme", Kind::Alerts);
    for has_unreported in [true, false] {
        let there = MemDisk::new(128 << 20);
        let (mut other, ..) = there.open();
        let gap = Gap::open(&alerts, Stamp(1), Stamp(2), GapReason::Purged);
        other.append_past(&alerts, &[], progress(2, 1), &[], &[], gap).unwrap();
        let before = numbers_to_report(&other);
        drop(other);
        let mut queue = filled(&MemDisk::new(128 << 20));
        let [_, unreported] = with_gaps(&mut queue);
        if !has_unreported {
            let own = StreamName::collector("acme");
            let frames = page(&own, &[unreported], 1);
            queue.append(&own, &frames, frames[0].progress, &[]).unwrap();
        }
        let bytes = exported(&mut queue, &[]);
        let mut other = imported(&bytes, &there).unwrap();
        let mut wanted = before.clone();
        wanted.extend(has_unreported.then_some(unreported + before[0]));
        assert_eq!(numbers_to_report(&other), wanted);
        assert_eq!(
            with_gaps(&mut other)[0],
            unreported + before[0] + 1,
            "no number is given twice"
        );
        drop(other);
        there.lose_indexes();
        let (other, ..) = there.open();
        assert_eq!(numbers_to_report(&other)[..wanted.len()], wanted);
    }
}

#[test]
fn an_export_without_unreported_gaps_is_read_by_a_program_that_knows_none() {
    let mut queue = filled(&MemDisk::new(128 << 20));
    assert_eq!(exported(&mut queue, &[])[8..12], 1u32.to_le_bytes());
    queue.doubt(QueuePosition { seq: Seq(2), skip: 3 }, "1 was not accepted").unwrap();
    assert_eq!(exported(&mut queue, &[])[8..12], 2u32.to_le_bytes(), "their gaps go with them");
    with_gaps(&mut queue);
    assert_eq!(exported(&mut queue, &[])[8..12], 3u32.to_le_bytes());
}

const TENANT: &str = "https://one.sentinelone.net";
const OTHER: &str = "https://two.sentinelone.net";

fn claims(name: &str, tenant: &str) -> [Claim; 1] {
    [Claim { name: name.to_owned(), name_was: None, tenant: tenant.to_owned() }]
}

/// `filled`, with acme's address and the position of an integration that the config does not name.
fn filled_from(tenant: &str, disk: &MemDisk) -> MemQueue {
    let mut queue = filled(disk);
    queue.claim(&claims("acme", tenant)).unwrap();
    let gone = StreamName::polled("gone", Kind::Threats);
    queue.append(&gone, &[], progress(5, 5), &[]).unwrap();
    queue.confirm_tenant("gone", OTHER).unwrap();
    queue
}

#[test]
fn the_addresses_of_the_positions_go_along() {
    let there = MemDisk::new(128 << 20);
    let bytes = exported(&mut filled_from(TENANT, &MemDisk::new(128 << 20)), &[]);
    assert_eq!(bytes[8..12], 4u32.to_le_bytes());
    // Permanent, as every part of the file.
    let mut part = b"o\x4d\0\0\0\x01\x02\0\0\0\x04acme\x1b\0".to_vec();
    part.extend_from_slice(TENANT.as_bytes());
    part.extend_from_slice(b"\x04gone\x1b\0");
    part.extend_from_slice(OTHER.as_bytes());
    part.extend_from_slice(&[0; 4]);
    assert!(bytes.windows(part.len()).any(|window| window == part));
    drop(imported(&bytes, &there).unwrap());
    for _ in 0..2 {
        let (mut queue, ..) = there.open();
        let (opened, findings) = queue.claim(&claims("acme", OTHER)).unwrap();
        let (was, now) = (TENANT.to_owned(), OTHER.to_owned());
        let hold = Hold::TenantChanged { was, now, other: None };
        assert_eq!(opened.streams[0].hold, Some(hold));
        assert!(findings[0].text.contains(&format!(" from {OTHER} but")), "{}", findings[0].text);
        drop(queue);
        there.lose_indexes();
    }
}

#[test]
fn an_import_that_is_cut_short_leaves_no_position_without_its_address() {
    let bytes = exported(&mut filled_from(TENANT, &MemDisk::new(128 << 20)), &[]);
    let mut positions = 0;
    at_each_cut(&bytes, |there, n| {
        let (mut queue, ..) = there.open();
        let (opened, _) = queue.claim(&claims("acme", OTHER)).unwrap();
        for stream in opened.streams.iter().filter(|stream| stream.progress.is_some()) {
            assert!(stream.hold.is_some(), "operation {n}");
            positions += 1;
        }
    });
    assert!(positions > 10, "{positions}");
}

/// What waits of a stream that was renamed, or whose position was discarded, gives no other stream a
/// position on the other machine.
#[test]
fn frames_of_an_earlier_name_and_of_a_discarded_position_bring_no_position() {
    for is_renamed in [true, false] {
        let there = MemDisk::new(128 << 20);
        let (mut queue, ..) = MemDisk::new(128 << 20).open();
        let old = StreamName::polled("old", Kind::Threats);
        queue.append(&old, &page(&old, &[1, 2], 1), progress(2, 1), &[key(1), key(2)]).unwrap();
        match is_renamed {
            true => drop(queue.adopt_streams("old", "acme", SaidBy::Person).unwrap()),
            false => drop(queue.begin_anew("old", None).unwrap()),
        }
        let gaps = queue.gaps().len();
        let mut other = imported(&exported(&mut queue, &[]), &there).unwrap();
        assert_eq!((other.orphans(), other.gaps().len()), (vec![], gaps));
        assert_eq!(other.held().records, 2);
        drop(other);
        for _ in 0..2 {
            let (other, opened, _) = there.open();
            assert_eq!((other.orphans(), opened.held.records), (vec![], 2));
            assert_eq!(opened.streams[0].progress, is_renamed.then(|| progress(2, 1)));
            there.lose_indexes();
        }
    }
}

#[test]
fn an_import_says_whose_address_is_unknown() {
    for (tenant, wanted) in [(None, vec!["acme"]), (Some(TENANT), vec![])] {
        let mut queue = filled(&MemDisk::new(128 << 20));
        tenant.map(|tenant| queue.claim(&claims("acme", tenant)).unwrap());
        let bytes = exported(&mut queue, &[]);
        let (mut other, ..) = MemDisk::new(128 << 20).open();
        // An address that was learned without a position is no reason against it.
        other.claim(&claims("acme", OTHER)).unwrap();
        let tally = verify(&mut &bytes[..]).unwrap();
        let unknown = other.import(&mut &bytes[..], tally, &mut |_, _| {}).unwrap();
        assert_eq!(unknown.into_iter().collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn positions_of_another_address_are_not_added_to_those_of_an_integration() {
    let there = MemDisk::new(128 << 20);
    let (mut other, ..) = there.open();
    other.claim(&claims("acme", OTHER)).unwrap();
    let alerts = StreamName::polled("acme", Kind::Alerts);
    other.append(&alerts, &[], progress(5, 5), &[]).unwrap();
    drop(other);
    let bytes = exported(&mut filled_from(TENANT, &MemDisk::new(128 << 20)), &[]);
    let refused = imported(&bytes, &there).unwrap_err();
    assert!(matches!(refused, TransferError::OtherTenant { .. }), "{refused}");
    let (mut other, ..) = there.open();
    assert!(!other.end_import(), "an import was begun");
    assert_eq!(other.tenant_of("acme"), Some(OTHER));
    assert_eq!(other.held().records, 0);
}

#[test]
fn another_box_goes_on_from_the_position_that_two_clocks_confirmed() {
    let (here, there) = (MemDisk::new(128 << 20), MemDisk::new(128 << 20));
    let mut queue = filled(&here);
    let reached = queue.reopen().unwrap().0.streams[1].progress.unwrap();
    let [position, from] = [reached.position, reached.from].map(|at| at - Span::seconds(5));
    let confirmed = Some(Progress { position, from });
    let mut learned = Learned { streams: vec![StreamLearned::default(); 2], ..Learned::default() };
    (learned.streams[1].confirmed, learned.streams[1].confirmed_from) =
        (Some(position), Some(from));
    queue.learn(&learned, None);
    let bytes = exported(&mut queue, &[]);
    drop(imported(&bytes, &there).unwrap());
    assert_eq!(there.open().1.streams[1].progress, confirmed);
    assert_eq!(queue.reopen().unwrap().0.streams[1].progress, Some(reached), "here it stays");
}

/// A batch in doubt is in doubt there too: with its words, its gap and its records, and not sent by itself.
#[test]
fn a_batch_in_doubt_goes_along() {
    let (here, there) = (MemDisk::new(128 << 20), MemDisk::new(128 << 20));
    let mut queue = filled(&here);
    let gap = Gap::open(&activities(), Stamp(20), Stamp(21), GapReason::Retention);
    queue.append_past(&activities(), &[], progress(12, 11), &[], &[], gap).unwrap();
    // The gap's report is in the batch, beside records.
    let own = StreamName::collector("acme");
    let mut frames = page(&own, &[1], 1);
    frames[0].entries[0].key.id = 1;
    queue.append(&own, &frames, frames[0].progress, &[]).unwrap();
    let end = queue.peek(ALL).unwrap().unwrap().sent.end;
    queue.doubt(end, "1 was not accepted").unwrap();
    let bytes = exported(&mut queue, &[]);
    // There, two numbers of gaps are given already.
    let alerts = StreamName::polled("acme", Kind::Alerts);
    let (mut other, ..) = there.open();
    for at in [1, 5] {
        let gap = Gap::open(&alerts, Stamp(at), Stamp(at + 1), GapReason::Purged);
        other.append_past(&alerts, &[], progress(9, 1), &[], &[], gap).unwrap();
    }
    drop(other);
    drop(imported(&bytes, &there).unwrap());
    let (mut other, opened, _) = there.open();
    assert_eq!((opened.held.records, opened.held.doubt), (0, 1));
    let at = other.doubts()[0];
    assert_eq!(other.doubt_words(at).as_deref(), Some("1 was not accepted"));
    let in_doubt: Vec<_> =
        other.gaps().into_iter().filter(|gap| gap.reason == GapReason::InDoubt).collect();
    assert_eq!(in_doubt.iter().map(|gap| gap.count).collect::<Vec<_>>(), [Some(4), Some(2)]);
    assert!(in_doubt.iter().all(|gap| gap.number > 3), "no number is given twice: {in_doubt:?}");
    other.retry_doubt(at).unwrap().unwrap();
    let pieces = other.peek(ALL).unwrap().unwrap().pieces;
    let ids: Vec<Vec<u64>> = pieces
        .iter()
        .map(|piece| piece.frame.entries.iter().map(|entry| entry.key.id).collect())
        .collect();
    assert_eq!(ids, [vec![5], vec![6, 7, 8], vec![11, 12], vec![3]]);
}

#[test]
fn numbers_of_gaps_that_were_reported_and_delivered_are_not_given_again() {
    let (here, there) = (MemDisk::new(128 << 20), MemDisk::new(128 << 20));
    let mut queue = filled(&here);
    for at in [20, 30, 40] {
        let gap = Gap::open(&activities(), Stamp(at), Stamp(at + 1), GapReason::Retention);
        queue.append_past(&activities(), &[], progress(12, 11), &[], &[], gap).unwrap();
    }
    let own = StreamName::collector("acme");
    let frames = page(&own, &[2, 3], 2);
    queue.append(&own, &frames, frames[0].progress, &[]).unwrap();
    while let Some(peeked) = queue.peek(ALL).unwrap() {
        queue.ack(peeked.sent.end, Mono(1)).unwrap();
    }
    assert_eq!(numbers_to_report(&queue), [1]);
    drop(imported(&exported(&mut queue, &[]), &there).unwrap());
    for is_lost in [false, true] {
        if is_lost {
            there.lose_indexes();
        }
        let (mut other, ..) = there.copy().open();
        assert_eq!(numbers_to_report(&other), [1], "index lost: {is_lost}");
        assert_eq!(with_gaps(&mut other), [4, 5], "index lost: {is_lost}");
    }
}

/// Its copy is given up, so that nothing in the file shows it: the gap itself goes along.
#[test]
fn a_gap_of_a_batch_that_is_no_more_goes_along() {
    let mut queue = filled(&MemDisk::new(128 << 20));
    let mut batch = crate::queue::index::Batch::default();
    for (reason, parked, closed) in [
        (GapReason::InDoubt, None, false),
        (GapReason::Refused, Some(QueuePosition { seq: Seq(1), skip: 0 }), true),
        (GapReason::Refused, Some(QueuePosition { seq: Seq(1), skip: 1 }), false),
        (GapReason::Purged, Some(QueuePosition { seq: Seq(1), skip: 2 }), false),
    ] {
        let gap = Gap::open(&threats(), Stamp(1), Stamp(2), reason);
        queue.gap_log.note(Gap { parked, closed, ..gap }, &mut batch);
    }
    let there = MemDisk::new(128 << 20);
    let other = imported(&exported(&mut queue, &[]), &there).unwrap();
    assert_eq!(numbers_to_report(&other), [1, 2, 4], "a parked record waits again instead");
}

/// A file that was written whole is no file to be taken in if what it says can't be.
#[test]
fn parts_that_can_not_be_read_or_do_not_fit_together_are_found() {
    let written = |parts: &[(u8, Vec<u8>)], tally: Tally| {
        let mut out = Vec::new();
        let mut writer = Writer { out: &mut out, crc: crc32fast::Hasher::new() };
        writer.bytes(MAGIC).unwrap();
        writer.bytes(&VERSION_OF_DOUBTS.to_le_bytes()).unwrap();
        parts.iter().for_each(|(tag, bytes)| writer.part(*tag, bytes).unwrap());
        writer.part(b'e', &tally.encode(VERSION_OF_DOUBTS)).unwrap();
        let crc = writer.crc.clone().finalize();
        writer.bytes(&crc.to_le_bytes()).unwrap();
        out
    };
    let tallied = |streams: u64, parked: u64, doubts: u64, frames: u64| {
        let records = frames;
        Tally { streams, parked, doubts, frames, records, ..Tally::default() }
    };
    let told = |parts: &[(u8, Vec<u8>)], tally| {
        let bytes = written(parts, tally);
        verify(&mut bytes.as_slice()).err().map(|why| why.to_string())
    };
    let encoded = |stream: &StreamName, last_of_page: bool| {
        encode_frame(&Frame { last_of_page, ..frame(stream, &[1]) })
    };
    let whole = |stream: &StreamName| (b'f', encoded(stream, true));
    let begun = |stream: &StreamName| (b'f', encoded(stream, false));
    assert_eq!(told(&[whole(&threats())], tallied(0, 0, 0, 1)), None);
    assert_eq!(told(&[begun(&threats()), whole(&threats())], tallied(0, 0, 0, 2)), None);
    for (parts, tally, wanted) in [
        (vec![(b's', vec![9; 3])], tallied(1, 0, 0, 0), "a stream in it can't be read"),
        (vec![(b'p', vec![9; 3])], tallied(0, 1, 0, 0), ""),
        (vec![(b'd', vec![9; 3])], tallied(0, 0, 1, 0), "a batch in doubt in it can't be read"),
        (vec![(b'x', vec![9; 3])], tallied(0, 0, 0, 0), "a part of it is invalid"),
        (vec![begun(&threats())], tallied(0, 0, 0, 1), "the number of its parts is wrong"),
        (vec![whole(&threats())], tallied(0, 0, 0, 2), "the number of its parts is wrong"),
        (
            vec![begun(&threats()), whole(&activities())],
            tallied(0, 0, 0, 2),
            "a page in it is incomplete",
        ),
    ] {
        let told = told(&parts, tally).unwrap_or_else(|| panic!("{wanted}: it is accepted"));
        assert!(told.contains(wanted), "{told}");
    }
    let mut long = [&MAGIC[..], &VERSION.to_le_bytes(), b"f"].concat();
    long.extend_from_slice(&(EXPORT_PART_BYTES_MAX as u32 + 1).to_le_bytes());
    let refused = verify(&mut long.as_slice()).unwrap_err();
    assert!(refused.to_string().contains("a part of it is invalid"), "{refused}");
}

/// The frame at the head is the only one of its page, and delivered in part; or it is delivered whole, and
/// then it is not even read.
#[test]
fn what_is_left_of_a_page_is_a_page() {
    for (skip, expected) in [(1, vec![2, 11]), (2, vec![11])] {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        queue.append(&threats(), &page(&threats(), &[1, 2], 2), progress(2, 1), &[]).unwrap();
        queue.append(&activities(), &page(&activities(), &[11], 1), progress(11, 11), &[]).unwrap();
        queue.ack(QueuePosition { seq: Seq(1), skip }, Mono(1)).unwrap();
        if skip == 2 {
            let first = queue.entries(Seq(1), 1).unwrap()[0];
            let last = (first.offset + u64::from(first.len)) as usize - 1;
            disk.tamper(&crate::queue::log::path(first.file), |bytes| bytes[last] ^= 1);
        }
        let bytes = exported(&mut queue, &[]);
        let mut other = imported(&bytes, &MemDisk::new(128 << 20)).unwrap();
        let numbers = all_numbers(&other.peek(ALL).unwrap().unwrap());
        assert_eq!(numbers.iter().map(|(_, id)| *id).collect::<Vec<_>>(), expected);
    }
}

/// A file that keeps what is written until it is told to pass it on, as a buffered one does.
#[derive(Default)]
struct Buffered {
    held: Vec<u8>,
    passed_on: Vec<u8>,
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.passed_on.append(&mut self.held);
        Ok(())
    }
}

#[test]
fn the_file_is_whole_when_the_export_returns_and_both_tell_how_far_they_are() {
    let mut queue = filled(&MemDisk::new(128 << 20));
    let all = queue.held().records;
    let (mut out, mut steps) = (Buffered::default(), Vec::new());
    // A parked record's frame need not be the last of a page.
    let parked = [(Seq(1), Frame { last_of_page: false, ..frame(&threats(), &[2]) })];
    let tally =
        queue.export(&mut out, parked.to_vec(), &mut |done, of| steps.push((done, of))).unwrap();
    assert_eq!(verify(&mut out.passed_on.as_slice()).unwrap(), tally);
    assert_eq!(steps.last(), Some(&(all, all)));
    assert!(steps.is_sorted() && steps.iter().all(|(_, of)| *of == all), "{steps:?}");
    let (mut other, ..) = MemDisk::new(128 << 20).open();
    let mut steps = Vec::new();
    other
        .import(&mut out.passed_on.as_slice(), tally, &mut |done, of| steps.push((done, of)))
        .unwrap();
    let all = all + 1;
    // One page of two frames, one of one, and the parked record.
    assert_eq!(steps, [(1, all), (all - 2, all), (all, all)]);
    let numbers = all_numbers(&other.peek(ALL).unwrap().unwrap());
    assert_eq!(numbers[0], (Kind::Threats, 2));
}

/// The reports are in the log as soon as that; the end of the file may never be imported.
#[test]
fn numbers_of_imported_reports_are_not_given_again() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.number_past(&page(&StreamName::collector("acme"), &[7], 1)).unwrap();
    drop(queue);
    assert_eq!(disk.open().0.gap_log.head.newest, 7);
}
