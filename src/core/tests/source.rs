//! What a stream keeps of its pages: whether the order shows, how long a position waits, and what a list that
//! was stored or not leaves behind.

use super::*;
use crate::core::beyond_tests::Bench;
use crate::core::reconcile::{Counted, Step};
use crate::record::Total;

const PACE: Span = Span::seconds(15);

/// Where the stream stands.
fn progress(stream: &Stream) -> Progress {
    stream.progress.expect("it has begun")
}

/// Rows a minute apart, behind its position.
fn rising(stream: &Stream, rows: u64) -> Vec<RowKey> {
    let from = progress(stream).position;
    (1..=rows).map(|id| RowKey { stamp: from + Span::minutes(id), id }).collect()
}

#[test]
fn the_order_stays_doubted_until_so_many_rows_of_a_walk_keep_it() {
    let many = u64::from(limits::ORDER_SHOWN_BY_ROWS) + 5;
    for (rows, is_doubted) in [(3, true), (many, false)] {
        let mut stream = Bench::new(vec![]).stream;
        stream.is_order_doubted = true;
        let keys = rising(&stream, rows);
        let date = progress(&stream).position + Span::hours(9);
        let present = Present::Between { earliest: date, latest: date, is_backed: true };
        stream.fetch(0);
        let page = PageFacts { keys, next: Some(Cursor("next".into())), date: Some(date) };
        stream.page(0, &page, Span::ZERO, present);
        assert_eq!(stream.is_order_doubted, is_doubted, "{rows}");
    }
}

#[test]
fn a_position_waits_after_a_blank_page_only_while_less_than_half_of_the_ids_are_kept() {
    let mut stream = Bench::new(vec![]).stream;
    let from = progress(&stream).from;
    let mut walk = Walk::starting(from);
    walk.has_blank = true;
    let half = limits::KNOWN_IDS_MAX as u64 / 2;
    for (ids, waits) in [(0, true), (half - 1, true), (half, false)] {
        stream.known = Known::new((0..ids).map(|id| RowKey { stamp: from, id }));
        assert_eq!(stream.waits_after_blank(&walk, false), waits, "{ids}");
    }
}

#[test]
fn after_an_end_during_a_page_only_pages_with_a_new_row_raise_the_size() {
    for (fresh, is_raised) in [(vec![], false), (vec![0], true)] {
        let mut bench = Bench::new(vec![]);
        let (rows, asking) = (Some(124), Some(124));
        let learned = StreamLearned { rows, asking, ..StreamLearned::default() };
        bench.stream = bench.stream.remembering(&learned, None);
        assert_eq!(bench.stream.rows.now(), 62);
        for _ in 0..9 {
            let stream = &mut bench.stream;
            let keys = rising(stream, 62);
            let keep = stream.keep(0, &keys, fresh.clone(), progress(stream));
            let then = Then::Walk(Next::page(Walk::starting(keep.progress.from)));
            let read = Some((keys.len(), Span::ms(1)));
            let pending = Pending { keep, then, read, date: None };
            stream.stored(bench.now, PACE, pending, &mut bench.backoff);
        }
        assert_eq!(bench.stream.rows.now() > 62, is_raised);
    }
}

#[test]
fn a_list_ends_an_outage_and_its_rows_were_read_like_those_of_a_page() {
    let mut bench = Bench::new(vec![]);
    let stream = &mut bench.stream;
    let (progress, keys) = (progress(stream), rising(stream, 2));
    stream.changed.begins(progress.from);
    (0..12).for_each(|_| stream.rows.failed());
    assert_eq!(stream.rows.now(), 1);
    let keep = stream.keep(0, &keys, vec![1], progress);
    let page = PageFacts { keys: keys.clone(), next: None, date: None };
    let pending = Pending { keep, then: Then::Listed(page, 0, vec![]), read: None, date: None };
    stream.stored(bench.now, PACE, pending, &mut bench.backoff);
    assert_eq!(stream.rows.now(), limits::PAGE_ROWS_MAX);
    // Otherwise more would be counted than was read, and a gap would say so.
    assert!(keys.iter().all(|key| stream.changed.has(key)));
}

#[test]
fn a_list_of_which_a_page_was_not_stored_begins_anew() {
    let mut bench = Bench::new(vec![]);
    let (stream, now) = (&mut bench.stream, bench.now);
    let from = progress(stream).from;
    stream.reconcile = Reconcile::new(Span::hours(1), None, now);
    let reconcile = &mut stream.reconcile;
    reconcile.begin(now, from + Span::minutes(9), 0);
    assert!(matches!(reconcile.next(0, 10, from), Some(Step::Count(_))));
    let counted = Counted { from, collected: 0, there: Total::Is(4), date: None };
    reconcile.counted(now, PACE, 10, Some(counted));
    let cursor = |reconcile: &mut Reconcile| match reconcile.next(0, 10, from) {
        Some(Step::List(list)) => list.cursor,
        other => panic!("{other:?}"),
    };
    assert_eq!(cursor(reconcile), None);
    let next = Some(Cursor("behind the first".into()));
    let keys = vec![RowKey { stamp: from, id: 1 }];
    let page = PageFacts { keys, next: next.clone(), date: None };
    reconcile.listed(now, PACE, &page, vec![], 1);
    assert_eq!(cursor(reconcile), next);
    stream.not_stored();
    assert_eq!(cursor(&mut stream.reconcile), None);
}
