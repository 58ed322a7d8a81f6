//! Tests of the ledger: its rows, what is told, and its bound.

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
        parked: Some(Place { seq: Seq(n), skip: 1 }),
        closed: false,
        unread: Unread::default(),
    }
}

fn noted(numbers: impl Iterator<Item = u64>) -> Ledger {
    let mut ledger = Ledger::default();
    numbers.for_each(|n| {
        ledger.note(gap(n), &mut Batch::default());
    });
    ledger
}

#[test]
fn rows_are_read_as_they_were_written() {
    let mut open = Row { gap: gap(7), told: None };
    open.gap.number = 3;
    let mut lost = Row { told: Some(Seq(9)), ..open.clone() };
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
    let mut ledger = noted([5, 5].into_iter());
    assert_eq!((ledger.open(), ledger.untold()), (1, 1));
    ledger.told(Seq(8), &[1], &mut Batch::default());
    assert_eq!((ledger.open(), ledger.untold()), (1, 0));
    ledger.note(gap(5), &mut Batch::default());
    assert_eq!(ledger.untold(), 0, "the same again is nothing new");
    ledger.note(Gap { closed: true, ..gap(5) }, &mut Batch::default());
    assert_eq!((ledger.open(), ledger.untold()), (0, 1), "its end is told too");
    assert_eq!(ledger.to_tell()[0].number, 1);
}

#[test]
fn a_gap_whose_frame_is_lost_is_told_again() {
    let mut ledger = noted(1..4);
    ledger.told(Seq(8), &[1, 2], &mut Batch::default());
    ledger.told(Seq(9), &[3, HEARTBEAT_ID], &mut Batch::default());
    ledger.untell(|seq| seq == Seq(8), &mut Batch::default());
    let numbers: Vec<u64> = ledger.to_tell().iter().map(|gap| gap.number).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(ledger.head.heartbeat, Some(Seq(9)));
}

#[test]
fn beyond_the_bound_told_gaps_are_folded_and_untold_ones_merged() {
    let many = GAPS_MAX as u64 + 50;
    let mut ledger = noted(1..many + 1);
    assert_eq!(ledger.rows.len(), GAPS_MAX);
    let first = ledger.to_tell().remove(0);
    assert_eq!((first.from, first.to, first.count), (Stamp(1), Stamp(52), Some(51)));
    let all: u64 = ledger.rows().map(|row| row.gap.count.unwrap_or(0)).sum();
    assert_eq!(all, many, "no record of a gap is forgotten");
    let ids: Vec<u64> = ledger.rows.keys().copied().collect();
    ledger.told(Seq(7), &ids, &mut Batch::default());
    (0..10).for_each(|n| {
        ledger.note(gap(n + 9_000), &mut Batch::default());
    });
    assert_eq!((ledger.rows.len(), ledger.head.folded), (GAPS_MAX, 10));
    assert_eq!(ledger.open(), GAPS_MAX as u64 + 10);
}

/// A ledger with what a start would find of it.
#[derive(Default)]
struct Kept {
    ledger: Ledger,
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
    fn does(&mut self, what: &str, change: impl FnOnce(&mut Ledger, &mut Batch)) {
        let mut batch = Batch::default();
        change(&mut self.ledger, &mut batch);
        put(&mut self.stored, batch);
        let (mut all, mut batch) = (BTreeMap::new(), Batch::default());
        self.ledger.put_all(&mut batch);
        put(&mut all, batch);
        assert_eq!(self.stored, all, "{what}");
    }
}

/// The rows below the bound and beyond it, of two streams and two reasons, folded, merged, told, lost.
#[test]
fn what_is_stored_of_the_ledger_is_all_of_it() {
    let mut kept = Kept::default();
    let many = GAPS_MAX as u64 + 60;
    let other = StreamName::polled("acme", Kind::Activities);
    for n in 1..many {
        let mut one = gap(n);
        if n % 3 == 0 {
            one = Gap { reason: GapReason::InDoubt, stream: other.clone(), ..one };
        }
        kept.does("noted", |ledger, batch| {
            ledger.note(one.clone(), batch);
        });
        kept.does("noted again", |ledger, batch| {
            ledger.note(one, batch);
        });
        if n % 50 == 0 {
            let told: Vec<u64> =
                kept.ledger.to_tell().iter().take(4).map(|gap| gap.number).collect();
            kept.does("told", |ledger, batch| {
                ledger.told(Seq(n), &[&told[..], &[HEARTBEAT_ID]].concat(), batch);
            });
            kept.does("untold", |ledger, batch| ledger.untell(|seq| seq.0 + 60 < n, batch));
        }
        let at = Place { seq: Seq(n), skip: 1 };
        if n % 21 == 0 {
            kept.does("given up", |ledger, batch| ledger.give_up_copies(at, batch));
        } else if n % 6 == 0 {
            kept.does("closed", |ledger, batch| ledger.close_doubts(at, batch));
        }
    }
    let told: Vec<u64> = kept.ledger.rows.keys().copied().take(70).collect();
    kept.does("told", |ledger, batch| ledger.told(Seq(9_000), &told, batch));
    kept.does("taken over", |ledger, batch| {
        (1..90).for_each(|n| {
            ledger.take_over(Gap { number: 10_000 + n, ..gap(20_000 + n) }, batch);
        });
        ledger.number_from(20_000, batch);
    });
    kept.does("changed", |ledger, batch| {
        let closed = |row: &Row| {
            (!row.gap.closed)
                .then(|| Row { gap: Gap { closed: true, ..row.gap.clone() }, told: None })
        };
        ledger.change(closed, batch);
    });
}

/// What becomes of a batch in doubt changes its own open gaps and is told; another's stay as they are.
#[test]
fn only_the_open_gaps_of_the_batch_change_with_it() {
    let in_doubt = |n| Gap { reason: GapReason::InDoubt, ..gap(n) };
    let mut ledger = Ledger::default();
    for one in [in_doubt(1), in_doubt(2), gap(3), Gap { closed: true, ..in_doubt(4) }] {
        ledger.note(one, &mut Batch::default());
    }
    ledger.told(Seq(7), &[1, 2, 3, 4], &mut Batch::default());
    for n in 1..=4 {
        let mut changed = ledger.clone();
        changed.close_doubts(Place { seq: Seq(n), skip: 1 }, &mut Batch::default());
        let expected = if n <= 2 { vec![n] } else { Vec::new() };
        let told: Vec<u64> = changed.to_tell().iter().map(|gap| gap.number).collect();
        assert_eq!(told, expected, "batch {n}");
        let closed = changed.rows().filter(|row| row.gap.closed).count();
        assert_eq!(closed, 1 + expected.len(), "batch {n}");
    }
}

/// Only gaps of one stream, one reason and one state become one, and it reaches from the first to the last.
#[test]
fn what_is_merged_is_alike() {
    let mut ledger = Ledger::default();
    let other = StreamName::polled("acme", Kind::Activities);
    ledger.note(Gap { closed: true, ..gap(500) }, &mut Batch::default());
    ledger.note(Gap { stream: other, ..gap(501) }, &mut Batch::default());
    ledger.note(
        Gap { reason: GapReason::Retention, parked: None, ..gap(502) },
        &mut Batch::default(),
    );
    let unread = Unread { id: Some(7), bytes_min: None };
    (0..GAPS_MAX as u64 - 2).for_each(|n| {
        // The second is the earlier one.
        let from = if n == 1 { 590 } else { 600 + n };
        ledger.note(Gap { unread, ..gap(from) }, &mut Batch::default());
    });
    assert_eq!(ledger.rows.len(), GAPS_MAX);
    let rows: Vec<&Row> = ledger.rows().collect();
    assert!(rows[0].gap.closed, "{rows:?}");
    assert_eq!((rows[1].gap.from, rows[2].gap.from), (Stamp(501), Stamp(502)));
    let merged = &rows[3].gap;
    assert_eq!((merged.from, merged.to), (Stamp(590), Stamp(601)));
    assert_eq!((merged.count, merged.parked, merged.unread), (Some(2), None, unread));
    ledger.note(gap(9_000), &mut Batch::default());
    let merged = &ledger.rows().nth(3).unwrap().gap;
    assert_eq!((merged.count, merged.unread), (Some(3), unread), "of the third the same is known");
}

#[test]
fn the_same_gap_is_known_by_all_but_its_number() {
    let ledger = noted(1..3);
    assert!(ledger.has(&Gap { number: 77, ..gap(2) }));
    assert!(!ledger.has(&gap(3)));
    assert!(!ledger.has(&Gap { closed: true, ..gap(2) }));
}
