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
    let tally = queue.export(&mut out, &parked, &mut |_, _| {}).unwrap();
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
        }
    });
    assert!(met > 10, "only {met} operations were cut");
}

#[test]
fn an_import_that_was_cut_short_goes_on_when_it_is_repeated() {
    let mut queue = filled(&MemDisk::new(128 << 20));
    queue.doubt(QueuePosition { seq: Seq(2), skip: 3 }, "1 was not accepted").unwrap();
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
