//! Tests of the gap log: its rows, what is told, and its bound.

use super::*;
use crate::record::Kind;
use std::collections::BTreeMap;

pub fn gap(n: u64) -> Gap {
    Gap {
        number: 0,
        stream: StreamName::polled("acme", Kind::Threats),
        from: Stamp(n as i64),
        to: Stamp(n as i64 + 1),
        reason: GapReason::Refused,
        count: Some(1),
        parked: Some(QueuePosition { seq: Seq(n), skip: 1 }),
        closed: false,
        unread: Unread::default(),
    }
}

fn noted(numbers: impl Iterator<Item = u64>) -> GapLog {
    let mut gap_log = GapLog::default();
    numbers.for_each(|n| {
        gap_log.note(gap(n), &mut Batch::default());
    });
    gap_log
}

#[test]
fn rows_are_read_as_they_were_written() {
    let mut open = Row { gap: gap(7), reported_in: None };
    open.gap.number = 3;
    let mut lost = Row { reported_in: Some(Seq(9)), ..open.clone() };
    lost.gap.reason = GapReason::Retention;
    (lost.gap.count, lost.gap.parked, lost.gap.closed) = (None, None, true);
    let mut unread = lost.clone();
    unread.gap.unread = Unread { id: Some(0), bytes_min: None };
    for row in [open, lost, unread] {
        let bytes = row.encode();
        assert_eq!(Row::decode(&bytes), Some(row.clone()));
        assert_eq!(Row::decode(&bytes[..bytes.len() - 1]), None);
        let later = [&bytes[..], b"z\x03\0\0\0abc"].concat();
        assert_eq!(Row::decode(&later), Some(row), "what a later program adds is passed over");
    }
    let head = Head { newest: 3, folded: 4, heartbeat: Some(Seq(5)) };
    assert_eq!(Head::decode(&mut Fields(&head.encode())), Some(head));
}

#[test]
fn a_parked_record_is_one_gap_whatever_becomes_of_it() {
    let mut gap_log = noted([5, 5].into_iter());
    assert_eq!((gap_log.open(), gap_log.unreported()), (1, 1));
    gap_log.mark_reported(Seq(8), &[1], &mut Batch::default());
    assert_eq!((gap_log.open(), gap_log.unreported()), (1, 0));
    gap_log.note(gap(5), &mut Batch::default());
    assert_eq!(gap_log.unreported(), 0, "the same again is nothing new");
    gap_log.note(Gap { closed: true, ..gap(5) }, &mut Batch::default());
    assert_eq!((gap_log.open(), gap_log.unreported()), (0, 1), "its end is told too");
    assert_eq!(gap_log.to_report()[0].number, 1);
}

#[test]
fn a_gap_whose_frame_is_lost_is_told_again() {
    let mut gap_log = noted(1..4);
    gap_log.mark_reported(Seq(8), &[1, 2], &mut Batch::default());
    gap_log.mark_reported(Seq(9), &[3, HEARTBEAT_ID], &mut Batch::default());
    gap_log.mark_unreported(|seq| seq == Seq(8), &mut Batch::default());
    let numbers: Vec<u64> = gap_log.to_report().iter().map(|gap| gap.number).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(gap_log.head.heartbeat, Some(Seq(9)));
}

#[test]
fn beyond_the_bound_reported_gaps_are_folded_and_unreported_ones_merged() {
    let many = GAPS_MAX as u64 + 50;
    let mut gap_log = noted(1..many + 1);
    assert_eq!(gap_log.rows.len(), GAPS_MAX);
    let first = gap_log.to_report().remove(0);
    assert_eq!((first.from, first.to, first.count), (Stamp(1), Stamp(52), Some(51)));
    let all: u64 = gap_log.rows().map(|row| row.gap.count.unwrap_or(0)).sum();
    assert_eq!(all, many, "no record of a gap is forgotten");
    let ids: Vec<u64> = gap_log.rows.keys().copied().collect();
    gap_log.mark_reported(Seq(7), &ids, &mut Batch::default());
    (0..10).for_each(|n| {
        gap_log.note(gap(n + 9_000), &mut Batch::default());
    });
    assert_eq!((gap_log.rows.len(), gap_log.head.folded), (GAPS_MAX, 10));
    assert_eq!(gap_log.open(), GAPS_MAX as u64 + 10);
}

/// A gap log with what a start would find of it.
#[derive(Default)]
struct Kept {
    gap_log: GapLog,
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn put(into: &mut BTreeMap<Vec<u8>, Vec<u8>>, batch: Batch) {
    for (key, value) in batch.changes {
        match value {
            Some(value) => drop(into.insert(key, value)),
            None => drop(into.remove(&key)),
        }
    }
}

impl Kept {
    fn does(&mut self, what: &str, change: impl FnOnce(&mut GapLog, &mut Batch)) {
        let mut batch = Batch::default();
        change(&mut self.gap_log, &mut batch);
        put(&mut self.stored, batch);
        let (mut all, mut batch) = (BTreeMap::new(), Batch::default());
        self.gap_log.put_all(&mut batch);
        put(&mut all, batch);
        assert_eq!(self.stored, all, "{what}");
    }
}

/// The rows below the bound and beyond it, of two streams and two reasons, folded, merged, told, lost.
#[test]
fn what_is_stored_of_the_gap_log_is_all_of_it() {
    let mut kept = Kept::default();
    let many = GAPS_MAX as u64 + 60;
    let other = StreamName::polled("acme", Kind::Activities);
    for n in 1..many {
        let mut one = gap(n);
        if n % 3 == 0 {
            one = Gap { reason: GapReason::InDoubt, stream: other.clone(), ..one };
        }
        kept.does("noted", |gap_log, batch| {
            gap_log.note(one.clone(), batch);
        });
        kept.does("noted again", |gap_log, batch| {
            gap_log.note(one, batch);
        });
        if n % 50 == 0 {
            let told: Vec<u64> =
                kept.gap_log.to_report().iter().take(4).map(|gap| gap.number).collect();
            kept.does("told", |gap_log, batch| {
                gap_log.mark_reported(Seq(n), &[&told[..], &[HEARTBEAT_ID]].concat(), batch);
            });
            kept.does("untold", |gap_log, batch| {
                gap_log.mark_unreported(|seq| seq.0 + 60 < n, batch)
            });
        }
        let at = QueuePosition { seq: Seq(n), skip: 1 };
        if n % 21 == 0 {
            kept.does("given up", |gap_log, batch| gap_log.give_up_copies(at, batch));
        } else if n % 6 == 0 {
            kept.does("closed", |gap_log, batch| gap_log.close_doubts(at, batch));
        }
    }
    let told: Vec<u64> = kept.gap_log.rows.keys().copied().take(70).collect();
    kept.does("told", |gap_log, batch| gap_log.mark_reported(Seq(9_000), &told, batch));
    kept.does("taken over", |gap_log, batch| {
        (1..90).for_each(|n| {
            gap_log.take_over(Gap { number: 10_000 + n, ..gap(20_000 + n) }, batch);
        });
        gap_log.number_from(20_000, batch);
    });
    kept.does("changed", |gap_log, batch| {
        let closed = |row: &Row| {
            (!row.gap.closed)
                .then(|| Row { gap: Gap { closed: true, ..row.gap.clone() }, reported_in: None })
        };
        gap_log.change(closed, batch);
    });
}

/// What becomes of a batch in doubt changes its own open gaps and is told; another's stay as they are.
#[test]
fn only_the_open_gaps_of_the_batch_change_with_it() {
    let in_doubt = |n| Gap { reason: GapReason::InDoubt, ..gap(n) };
    let mut gap_log = GapLog::default();
    for one in [in_doubt(1), in_doubt(2), gap(3), Gap { closed: true, ..in_doubt(4) }] {
        gap_log.note(one, &mut Batch::default());
    }
    gap_log.mark_reported(Seq(7), &[1, 2, 3, 4], &mut Batch::default());
    for n in 1..=4 {
        let mut changed = gap_log.clone();
        changed.close_doubts(QueuePosition { seq: Seq(n), skip: 1 }, &mut Batch::default());
        let expected = if n <= 2 { vec![n] } else { Vec::new() };
        let told: Vec<u64> = changed.to_report().iter().map(|gap| gap.number).collect();
        assert_eq!(told, expected, "batch {n}");
        let closed = changed.rows().filter(|row| row.gap.closed).count();
        assert_eq!(closed, 1 + expected.len(), "batch {n}");
    }
}

/// Only gaps of one stream, one reason and one state become one, and it reaches from the first to the last.
#[test]
fn what_is_merged_is_alike() {
    let mut gap_log = GapLog::default();
    let other = StreamName::polled("acme", Kind::Activities);
    gap_log.note(Gap { closed: true, ..gap(500) }, &mut Batch::default());
    gap_log.note(Gap { stream: other, ..gap(501) }, &mut Batch::default());
    gap_log.note(
        Gap { reason: GapReason::Retention, parked: None, ..gap(502) },
        &mut Batch::default(),
    );
    let unread = Unread { id: Some(7), bytes_min: None };
    (0..GAPS_MAX as u64 - 2).for_each(|n| {
        // The second is the earlier one.
        let from = if n == 1 { 590 } else { 600 + n };
        gap_log.note(Gap { unread, ..gap(from) }, &mut Batch::default());
    });
    assert_eq!(gap_log.rows.len(), GAPS_MAX);
    let rows: Vec<&Row> = gap_log.rows().collect();
    assert!(rows[0].gap.closed, "{rows:?}");
    assert_eq!((rows[1].gap.from, rows[2].gap.from), (Stamp(501), Stamp(502)));
    let merged = &rows[3].gap;
    assert_eq!((merged.from, merged.to), (Stamp(590), Stamp(601)));
    assert_eq!((merged.count, merged.parked, merged.unread), (Some(2), None, unread));
    gap_log.note(gap(9_000), &mut Batch::default());
    let merged = &gap_log.rows().nth(3).unwrap().gap;
    assert_eq!((merged.count, merged.unread), (Some(3), unread), "of the third the same is known");
}

#[test]
fn the_same_gap_is_known_by_all_but_its_number() {
    let gap_log = noted(1..3);
    assert!(gap_log.has(&Gap { number: 77, ..gap(2) }));
    assert!(!gap_log.has(&gap(3)));
    assert!(!gap_log.has(&Gap { closed: true, ..gap(2) }));
}

/// There are such records at each poll, so that one gap tells of them for as long as its days touch.
#[test]
fn records_left_out_for_want_of_room_for_their_ids_are_one_gap() {
    let left = |from: i64, to: i64| Gap {
        reason: GapReason::IdsFull,
        from: Stamp(from),
        to: Stamp(to),
        count: None,
        parked: None,
        ..gap(1)
    };
    let mut gap_log = GapLog::default();
    let mut note = |gap: Gap| {
        let number = gap_log.note(gap, &mut Batch::default());
        let unreported = gap_log.unreported();
        gap_log.mark_reported(Seq(8), &[number], &mut Batch::default());
        (number, unreported)
    };
    assert_eq!(note(left(20, 30)), (1, 1));
    assert_eq!(note(left(22, 28)), (1, 0), "that is said already");
    assert_eq!(note(left(30, 40)), (1, 1));
    assert_eq!(note(left(10, 20)), (1, 1));
    let other = StreamName::polled("acme", Kind::Activities);
    assert_eq!(note(Gap { stream: other, ..left(20, 30) }), (2, 1));
    assert_eq!(note(left(50, 60)), (3, 1));
    let first = &gap_log.rows[&1].gap;
    assert_eq!((first.from, first.to), (Stamp(10), Stamp(40)));
}

#[test]
fn a_gap_that_may_yet_be_closed_is_kept_longest() {
    let mut gap_log = GapLog::default();
    let batch = &mut Batch::default();
    let reason = GapReason::Damaged;
    let awaited = gap_log.note(Gap { reason, parked: None, ..gap(1) }, batch);
    let open = gap_log.note(gap(2), batch);
    let closed = gap_log.note(Gap { closed: true, ..gap(3) }, batch);
    gap_log.mark_reported(Seq(7), &[awaited, open, closed], batch);
    let mut gone = Vec::new();
    for n in 0..GAPS_MAX as u64 {
        gap_log.note(gap(n + 10), batch);
        gone.extend(
            [awaited, open, closed]
                .into_iter()
                .filter(|number| !gap_log.rows.contains_key(number) && !gone.contains(number))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(gone, [closed, open, awaited]);
    assert_eq!(gap_log.take_gone(), [Gone { number: awaited, into: None }]);
    assert_eq!((gap_log.head.folded, gap_log.take_gone()), (2, vec![]));
}

#[test]
fn gaps_of_damage_that_are_merged_tell_which_stands_for_both() {
    let mut gap_log = GapLog::default();
    for n in 0..GAPS_MAX as u64 + 1 {
        let closed = n % 2 == 1;
        let gap = Gap { reason: GapReason::Damaged, parked: None, closed, ..gap(n) };
        gap_log.note(gap, &mut Batch::default());
    }
    assert_eq!(gap_log.take_gone(), [Gone { number: 3, into: Some(1) }]);
}

/// By its place a gap of a parked record is told from that of a batch in doubt.
#[test]
fn a_place_leads_to_the_gap_of_its_own_kind() {
    let in_doubt = |n| Gap { reason: GapReason::InDoubt, ..gap(n) };
    let mut gap_log = GapLog::default();
    for one in [in_doubt(1), gap(2), in_doubt(3), gap(3)] {
        gap_log.note(one, &mut Batch::default());
    }
    let at = |n| QueuePosition { seq: Seq(n), skip: 1 };
    let parked = [1, 2, 3, 4].map(|n| gap_log.of_parked(at(n)).map(|gap| gap.number));
    assert_eq!(parked, [None, Some(2), Some(4), None]);
    assert_eq!([1, 2, 3, 4].map(|n| gap_log.knows(at(n))), [true, false, true, false]);
    let other = StreamName::polled("acme", Kind::Activities);
    let of = |number, stream: &StreamName| gap_log.is_of(number, stream);
    assert!(of(1, &gap(1).stream) && !of(1, &other) && !of(9, &gap(1).stream));
}

/// The gap of the next record that can't be fetched, one second long, is looked for: what lies before or
/// after it, was closed, or has another reason or stream, is another gap.
#[test]
fn a_gap_at_the_same_beginning_is_an_open_one_of_its_kind_that_overlaps_its_first_second() {
    const SECOND: u64 = 1_000_000;
    let reason = GapReason::Unfetchable;
    let over = |from: u64, to: u64| Gap {
        reason,
        from: Stamp(from as i64),
        to: Stamp(to as i64),
        parked: None,
        ..gap(1)
    };
    let wanted = over(10 * SECOND, 20 * SECOND);
    let other = StreamName::polled("acme", Kind::Activities);
    for (known, is_there) in [
        (wanted.clone(), true),
        (over(10 * SECOND + 1, 30 * SECOND), true),
        (over(11 * SECOND - 1, 30 * SECOND), true),
        (over(11 * SECOND, 30 * SECOND), false),
        (over(15 * SECOND, 30 * SECOND), false),
        (over(0, 10 * SECOND), false),
        (over(0, 9 * SECOND), false),
        (over(0, 10 * SECOND + 1), true),
        (over(0, 40 * SECOND), true),
        (Gap { closed: true, ..wanted.clone() }, false),
        (Gap { stream: other, ..wanted.clone() }, false),
        (Gap { reason: GapReason::Retention, ..wanted.clone() }, false),
    ] {
        let mut gap_log = GapLog::default();
        gap_log.note(known.clone(), &mut Batch::default());
        assert_eq!(gap_log.has_at(&wanted), is_there, "{known:?}");
        // A gap that is shorter than a second ends where it ends.
        let short = over(10 * SECOND, 10 * SECOND + 2);
        let overlaps = is_there && known.from < short.to;
        assert_eq!(gap_log.has_at(&short), overlaps, "{known:?}");
    }
    assert!(!GapLog::default().has_at(&wanted));
}

#[test]
fn a_record_at_the_very_end_of_its_gap_is_found_by_its_stamp() {
    const SECOND: i64 = 1_000_000;
    let stream = StreamName::polled("acme", Kind::Activities);
    let mut gap_log = GapLog::default();
    let one = Gap {
        reason: GapReason::Unfetchable,
        stream: stream.clone(),
        from: Stamp(5 * SECOND),
        to: Stamp(20 * SECOND),
        parked: None,
        ..gap(1)
    };
    gap_log.note(one, &mut Batch::default());
    for (late, is_it) in [
        (19 * SECOND, true),
        (20 * SECOND - 1, true),
        (19 * SECOND - 1, false),
        (20 * SECOND, false),
    ] {
        assert_eq!(!gap_log.fetched(&stream, &[], &[Stamp(late)]).is_empty(), is_it, "{late}");
    }
}

#[test]
fn gaps_of_another_queue_stay_within_the_bound_and_are_numbered_before_new_ones() {
    let mut gap_log = GapLog::default();
    for n in 1..=GAPS_MAX as u64 + 40 {
        gap_log.take_over(Gap { number: n, ..gap(n) }, &mut Batch::default());
        assert!(gap_log.rows.len() <= GAPS_MAX);
    }
    let all: u64 = gap_log.rows().map(|row| row.gap.count.unwrap_or(0)).sum();
    assert_eq!(all, GAPS_MAX as u64 + 40, "no record of a gap is forgotten");
    let mut loaded = GapLog::default();
    loaded.load(Row { gap: Gap { number: 7, ..gap(7) }, reported_in: None });
    assert_eq!(loaded.note(gap(8), &mut Batch::default()), 8, "no number is given twice");
}

/// What is known of only one of two records is not said of both.
#[test]
fn gaps_of_different_records_that_are_merged_name_neither() {
    let mut gap_log = GapLog::default();
    for n in 0..=GAPS_MAX as u64 {
        let unread = Unread { id: Some(n), bytes_min: Some(n) };
        let reason = GapReason::Unfetchable;
        gap_log.note(Gap { reason, parked: None, unread, ..gap(n) }, &mut Batch::default());
    }
    let first = gap_log.to_report().remove(0);
    assert_eq!((first.count, first.unread), (Some(2), Unread::default()));
}

#[test]
fn each_half_of_what_is_known_of_an_unread_record_is_stored_by_itself() {
    for (id, bytes_min) in
        [(None, None), (None, Some(5)), (Some(0), None), (Some(4), Some(0)), (Some(4), Some(5))]
    {
        let unread = Unread { id, bytes_min };
        assert_eq!(decode_unread(&mut Fields(&encode_unread(unread))), Some(unread));
    }
}

#[test]
fn only_a_later_version_and_a_later_reason_are_newer() {
    let last = GapReason::ALL.map(|reason| reason as u8).into_iter().max().unwrap();
    for (version, reason, is_newer) in [
        (ROW_VERSION, 1, false),
        (ROW_VERSION, last, false),
        (ROW_VERSION, last + 1, true),
        (ROW_VERSION, u8::MAX, true),
        (ROW_VERSION + 1, 1, true),
        (ROW_VERSION - 1, u8::MAX, false),
    ] {
        assert_eq!(Row::is_newer(&[version, reason, 0]), is_newer, "{version} {reason}");
    }
    assert!(!Row::is_newer(&[ROW_VERSION + 1]), "damage");
}
