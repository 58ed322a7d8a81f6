//! Which failures make the next page smaller, and how far what stands beside a bad row is asked for.

use super::*;
use crate::core::beyond_tests::Bench;
use crate::core::walk::Walk;
use crate::limits;
use crate::record::{Cursor, RowPlace, Unread};

fn rejected() -> SourceTrouble {
    SourceTrouble::QueryRefused("HTTP 400".into())
}

fn too_long() -> SourceTrouble {
    SourceTrouble::TooLong(Unread::default())
}

/// A stream in a walk that goes on by a cursor or not.
fn walking(has_cursor: bool) -> Bench {
    let mut bench = Bench::new(vec![]);
    let mut walk = Walk::starting(bench.stream.progress.unwrap().from);
    walk.cursor = has_cursor.then(|| Cursor("next".into()));
    bench.stream.walk = Some(walk);
    bench
}

fn fail(bench: &mut Bench, trouble: SourceTrouble) {
    bench.stream.fail(bench.now, AskedFor::Page, trouble, &mut bench.backoff);
}

#[test]
fn a_rejected_page_gets_smaller_unless_its_cursor_is_the_reason() {
    let smaller = "; 1000 rows were asked for, next 500";
    for (has_cursor, came_before, is_smaller) in
        [(false, false, true), (true, false, true), (true, true, false)]
    {
        let mut bench = walking(has_cursor);
        if came_before {
            bench.stream.rows.accepted();
        }
        fail(&mut bench, rejected());
        let (rows, detail) = (bench.stream.rows.now(), &bench.stream.lane.detail);
        assert_eq!(rows, if is_smaller { 500 } else { 1_000 }, "{has_cursor} {came_before}");
        assert_eq!(detail.ends_with(smaller), is_smaller, "{detail}");
    }
    // Where a small request is rejected too, a number that came before may be too many now.
    let mut bench = walking(false);
    bench.stream.rows.accepted();
    for rows in [1_000, 1_000, 500] {
        fail(&mut bench, rejected());
        assert_eq!(bench.stream.rows.now(), rows, "{}", bench.stream.lane.detail);
    }
}

#[test]
fn it_is_told_that_the_rows_around_one_that_fails_alone_are_next() {
    let mut bench = walking(false);
    (0..12).for_each(|_| bench.stream.rows.failed());
    let next = "; one row was requested; the rows around it are next";
    for failures in 1..=limits::LONE_REFUSALS {
        fail(&mut bench, too_long());
        let detail = &bench.stream.lane.detail;
        assert_eq!(detail.ends_with(next), failures == limits::LONE_REFUSALS, "{detail}");
    }
}

#[test]
fn beside_a_bad_row_nothing_is_asked_for_where_rows_may_still_become_visible() {
    let mut bench = walking(false);
    let stream = &mut bench.stream;
    let from = stream.progress.unwrap().from;
    let place = (RowPlace { from, is_after: false }, 0);
    while !stream.beyond.failed_alone(bench.now, place, &too_long(), false, Span::ZERO) {}
    assert_eq!(stream.fetch(0).to, Some(from + Span::seconds(limits::BEYOND_STEP_SECONDS)));
    // The next step would be twice as long.
    let settled = from + Span::seconds(2 * limits::BEYOND_STEP_SECONDS);
    let took = Span::seconds(10);
    let date = settled + stream.plan.overlap + took;
    let present = Present::Between { earliest: date, latest: date, is_backed: true };
    let page = PageFacts { keys: vec![], next: None, date: Some(date) };
    stream.page(0, &page, took, present);
    assert_eq!(stream.fetch(0).to, Some(settled));
}
