//! Tests of the ledger: its rows, what is told, and its bound.

use super::*;
use crate::record::Kind;

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
