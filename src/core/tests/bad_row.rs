//! How a bad row is found and passed over, request by request.

use super::*;

const T: Stamp = Stamp(1_800_000_000_000_000);
const WAIT: Span = Span::minutes(5);
/// So many microseconds after `T` the bad row stands, where nothing else is said.
const BAD: i64 = 2_500_000;

fn after(us: i64) -> Stamp {
    Stamp(T.0 + us)
}

fn key(us: i64) -> RowKey {
    RowKey { stamp: after(us), id: us as u64 }
}

fn too_long() -> SourceTrouble {
    SourceTrouble::TooLong(Unread::default())
}

fn learned(from: Stamp) -> StreamLearned {
    let at = RowPlace { from, is_after: true };
    let lone = Lone { at, way: Way::Refused, tries: 3, for_ms: Span::ZERO };
    StreamLearned { lone: Some(lone), ..StreamLearned::default() }
}

/// The row behind the one at `T` fails alone.
fn fails_alone(beyond: &mut Beyond, is_by_cursor: bool) -> bool {
    let place = (RowPlace { from: T, is_after: true }, 1);
    beyond.failed_alone(Mono(0), place, &too_long(), is_by_cursor, WAIT)
}

/// It has failed so often that it is to blame.
fn blamed(is_by_cursor: bool) -> Beyond {
    let mut beyond = Beyond::default();
    (1..limits::LONE_REFUSALS).for_each(|_| assert!(!fails_alone(&mut beyond, is_by_cursor)));
    assert!(fails_alone(&mut beyond, is_by_cursor));
    beyond
}

/// What is requested next: from, to, both in microseconds after `T`.
fn asks(beyond: &Beyond) -> Option<(i64, Option<i64>)> {
    let us = |stamp: Stamp| stamp.0 - T.0;
    beyond.asks().map(|rows| (us(rows.from), rows.to.map(us)))
}

/// Answers what is requested next: the bad row fails, and there is one a second after it. `None`: it failed.
fn answer(beyond: &mut Beyond, bad: i64, settled: Option<Stamp>) -> Option<Then> {
    let (from, to) = asks(beyond).expect("a request");
    let is_in = |us: i64| from <= us && to.is_none_or(|to| us < to);
    if is_in(bad) {
        beyond.failed(&too_long());
        return None;
    }
    let behind = bad + 1_000_000;
    let keys = if is_in(behind) { vec![key(behind)] } else { vec![] };
    Some(beyond.came(&keys, true, settled))
}

/// Goes on until the row itself is tried, or what stands beside it.
fn go_on(beyond: &mut Beyond, bad: i64, settled: Option<Stamp>) {
    for _ in 0..99 {
        if asks(beyond).is_none_or(|(from, _)| from == 0) {
            return;
        }
        answer(beyond, bad, settled);
    }
    panic!("it never ends");
}

/// The bad row was found, and everything before it is read again.
fn found(bad: i64) -> Beyond {
    let mut beyond = blamed(false);
    go_on(&mut beyond, bad, Some(after(99_000_000)));
    assert!(beyond.takes_beginning() && !beyond.takes_beginning());
    beyond
}

/// The row failed again, and what fails with it and comes around it is as expected; `true`: once more.
fn confirm(beyond: &mut Beyond, bad: i64) {
    assert!(fails_alone(beyond, false));
    go_on(beyond, bad, Some(after(99_000_000)));
}

/// What would be passed over is requested by its place.
fn beside(bad: i64) -> Beyond {
    let mut beyond = found(bad);
    for _ in 0..limits::LONE_CONFIRMS {
        assert_eq!(asks(&beyond), None);
        confirm(&mut beyond, bad);
    }
    assert_eq!(beyond.asks().map(|rows| (rows.from, rows.skip, rows.rows)), Some((T, 0, 1)));
    beyond
}

/// A request of rows by their place fails until another one is next; how often it did.
fn failures_beside(beyond: &mut Beyond) -> u32 {
    let before = beyond.asks().map(|rows| rows.skip);
    (1..99)
        .find(|_| {
            beyond.failed(&too_long());
            beyond.asks().map(|rows| rows.skip) != before
        })
        .expect("it goes on")
}

/// One pass: the row at `T` comes, then the bad one fails if `is_bad`, then there is no more.
fn pass(beyond: &mut Beyond, is_new: bool, is_bad: bool) -> Then {
    assert_eq!(beyond.asks().map(|rows| (rows.skip, rows.rows)), Some((0, 1)));
    assert_eq!(beyond.came(&[key(0)], is_new, None), Then::Soon);
    assert_eq!(beyond.asks().map(|rows| rows.skip), Some(1));
    if is_bad {
        failures_beside(beyond);
        assert_eq!(beyond.asks().map(|rows| rows.skip), Some(2));
    }
    beyond.came(&[], false, None)
}

fn is_step(then: Then) -> bool {
    matches!(then, Then::Step { .. })
}

#[test]
fn what_an_earlier_process_saw_fail_is_remembered_unless_the_stream_is_past_it() {
    let lone = |from| Beyond::remembering(&learned(T), from).lone().map(|lone| lone.tries);
    assert_eq!([Some(T), Some(after(-1))].map(lone), [Some(3), Some(3)]);
    assert_eq!([Some(after(1)), None].map(lone), [None, None]);
}

#[test]
fn a_bad_row_is_found_within_a_grain_and_everything_before_it_is_read_again() {
    let mut beyond = found(BAD);
    assert_eq!(asks(&beyond), None, "the row is tried");
    assert!(fails_alone(&mut beyond, false));
    let Some((1, Some(high))) = asks(&beyond) else { panic!("{:?}", asks(&beyond)) };
    assert!(BAD < high && high <= BAD + 1_000, "{high}");
    // What fails with it, what comes before it and what comes behind it.
    assert_eq!(answer(&mut beyond, BAD, None), None);
    let Some((1, Some(low))) = asks(&beyond) else { panic!("{:?}", asks(&beyond)) };
    assert!(low <= BAD && high - low <= 1_000, "{low}");
    assert_eq!(answer(&mut beyond, BAD, None), Some(Then::Soon));
    assert_eq!(asks(&beyond), Some((high, None)));
    assert_eq!(answer(&mut beyond, BAD, None), Some(Then::Look));
    assert_eq!(asks(&beyond), None);
}

#[test]
fn where_nothing_is_between_the_rows_nothing_is_requested_before_the_bad_one() {
    let mut beyond = found(1);
    assert!(fails_alone(&mut beyond, false));
    answer(&mut beyond, 1, None);
    let (from, to) = asks(&beyond).expect("what is behind it");
    assert!(from > 1 && to.is_none(), "{from} {to:?}");
}

#[test]
fn a_row_is_passed_over_after_so_many_looks_around_it_and_two_passes_in_which_it_failed() {
    let mut beyond = beside(BAD);
    assert!(!is_step(pass(&mut beyond, false, true)));
    let Then::Step { from, gap, .. } = pass(&mut beyond, false, true) else { panic!("no step") };
    assert!(gap == T && from > after(BAD) && from <= after(BAD + 1_000), "{gap} {from}");
    // The next one like it needs no time any more.
    beyond.stepped(Mono(0));
    assert!(!beyond.is_getting_past() && beyond.lone().is_none());
    let place = (RowPlace { from, is_after: false }, 0);
    let failed = SourceTrouble::BrokenAnswer("HTTP 500".into());
    let tries = |beyond: &mut Beyond| {
        (1..99).find(|_| beyond.failed_alone(Mono(0), place, &failed, false, WAIT))
    };
    let many = limits::LONE_FAILURES * limits::LONE_TIMES;
    assert_eq!(tries(&mut beyond), Some(many), "it fails in another way");
    beyond.stepped(Mono(0));
    assert_eq!(tries(&mut beyond), Some(limits::LONE_FAILURES));
}

#[test]
fn a_pass_that_brings_something_new_is_not_one_of_the_two() {
    let mut beyond = beside(BAD);
    for _ in 0..3 {
        assert!(!is_step(pass(&mut beyond, false, true)));
        assert!(!is_step(pass(&mut beyond, true, true)));
    }
    // Whichever of its answers brings it, and also two of them.
    for news in [[true, false], [true, true], [false, true]] {
        assert!(!is_step(pass(&mut beyond, false, true)));
        news.into_iter().for_each(|is_new| _ = beyond.came(&[key(0)], is_new, None));
        failures_beside(&mut beyond);
        assert!(!is_step(beyond.came(&[], false, None)), "{news:?}");
    }
    assert!(!is_step(pass(&mut beyond, false, true)));
    assert!(is_step(pass(&mut beyond, false, true)));
}

#[test]
fn a_row_that_fails_in_one_pass_only_is_looked_at_again_and_one_that_comes_is_to_blame_for_nothing()
{
    let mut beyond = beside(BAD);
    assert!(!is_step(pass(&mut beyond, false, false)));
    assert_eq!(pass(&mut beyond, false, true), Then::Soon);
    beyond.came(&[key(0)], false, None);
    assert_eq!(failures_beside(&mut beyond), 1 + limits::LONE_REFUSALS / 2);
    assert!(is_step(beyond.came(&[], false, None)));
    let mut beyond = beside(BAD);
    assert!(!is_step(pass(&mut beyond, false, true)));
    assert_eq!(pass(&mut beyond, false, false), Then::Later);
    assert!(!beyond.is_getting_past() && beyond.asks().is_none());
}

#[test]
fn a_request_by_place_is_made_so_often_and_half_as_often_in_a_further_pass() {
    let often = limits::LONE_REFUSALS;
    let mut beyond = beside(BAD);
    for tries in [often, often / 2] {
        assert_eq!(beyond.came(&[key(0)], false, None), Then::Soon);
        // Two rows are requested first.
        beyond.failed(&too_long());
        assert_eq!(beyond.asks().map(|rows| (rows.skip, rows.rows)), Some((1, 1)));
        (1..tries).for_each(|_| _ = beyond.failed(&too_long()));
        // What comes shows that the failures before it say nothing.
        assert_eq!(beyond.came(&[key(0)], false, None), Then::Soon);
        beyond.failed(&too_long());
        assert_eq!(failures_beside(&mut beyond), tries);
        assert_eq!(is_step(beyond.came(&[], false, None)), tries < often);
    }
}

#[test]
fn what_is_beyond_the_reach_of_places_counts_as_failed_unless_a_cursor_may_be_the_reason() {
    for is_by_cursor in [false, true] {
        let mut beyond = beside(BAD);
        beyond.is_by_cursor = is_by_cursor;
        let mut answers = 0;
        let then = loop {
            answers += 1;
            assert!(answers < 30, "it never ends");
            let rows = beyond.asks().expect("a request").rows;
            assert!(rows <= limits::BEYOND_ROWS_MAX);
            let then = beyond.came(&vec![key(0); rows as usize], false, None);
            if then != Then::Soon {
                break then;
            }
        };
        assert_eq!((is_step(then), then == Then::Later), (!is_by_cursor, is_by_cursor));
    }
}

#[test]
fn what_moves_into_a_page_at_the_reach_of_places_is_new_too() {
    let mut beyond = beside(BAD);
    let mut passes = 0;
    for _ in 0..60 {
        let Rows { skip, rows, .. } = beyond.asks().expect("a request");
        let is_last = skip == limits::SKIP_MAX;
        passes += u32::from(is_last);
        let then = beyond.came(&vec![key(0); rows as usize], is_last, None);
        assert_eq!(then, Then::Soon);
    }
    assert!(passes > 3, "{passes}");
}

#[test]
fn where_no_row_can_be_skipped_the_looks_around_the_bad_one_are_enough() {
    // The range with the row, which has no cursor, failed as well.
    let mut beyond = blamed(true);
    beyond.takes_no_skip = true;
    go_on(&mut beyond, BAD, Some(after(99_000_000)));
    let mut then = None;
    for _ in 0..limits::LONE_CONFIRMS {
        assert!(!then.is_some_and(is_step) && fails_alone(&mut beyond, true));
        (0..3).for_each(|_| then = answer(&mut beyond, BAD, None));
    }
    assert!(then.is_some_and(is_step), "{then:?}");
}

/// The bad row has the stamp of the row at `T`: the range behind that one comes.
fn tied(is_by_cursor: bool) -> Beyond {
    let mut beyond = blamed(is_by_cursor);
    assert_eq!(beyond.came(&[key(5)], true, Some(after(99_000_000))), Then::Look);
    assert!(beyond.is_getting_past() && beyond.takes_beginning());
    beyond
}

/// What is behind the row came so often.
fn tied_and_confirmed(beyond: &mut Beyond, is_by_cursor: bool) -> Then {
    let mut then = Then::Look;
    for _ in 0..limits::LONE_CONFIRMS {
        assert_eq!(then, Then::Look);
        assert!(fails_alone(beyond, is_by_cursor));
        assert_eq!(asks(beyond), Some((1, None)));
        then = beyond.came(&[key(5)], true, None);
    }
    then
}

#[test]
fn a_row_that_fails_by_its_cursor_only_is_not_passed_over_where_nothing_else_can_be_requested() {
    for (first, then_by_cursor, is_passed) in
        [(true, true, false), (true, false, true), (false, true, true)]
    {
        let mut beyond = tied(first);
        beyond.takes_no_skip = true;
        let then = tied_and_confirmed(&mut beyond, then_by_cursor);
        assert_eq!(is_step(then), is_passed, "{first} {then_by_cursor}");
        assert_eq!(beyond.is_getting_past(), is_passed);
    }
    // By its place it failed as well.
    let mut beyond = tied(true);
    assert_eq!(tied_and_confirmed(&mut beyond, true), Then::Look);
    assert_eq!(failures_beside(&mut beyond), limits::LONE_REFUSALS);
    beyond.takes_no_skip();
    assert!(fails_alone(&mut beyond, true));
    assert!(is_step(beyond.came(&[key(5)], true, None)));
}

#[test]
fn what_was_found_too_early_is_looked_for_again() {
    let first = Some((1, Some(1_000_001)));
    // Rows may still become visible around it.
    let mut beyond = blamed(false);
    assert_eq!(asks(&beyond), first);
    go_on(&mut beyond, 500_300, Some(after(500_200)));
    let found = beyond.search.and_then(|search| Some(search.high?.since(search.low)));
    assert!(found.is_some_and(|found| found <= Span::ms(1)), "{found:?}");
    assert!(!beyond.takes_beginning() && asks(&beyond).is_none());
    assert!(fails_alone(&mut beyond, false));
    assert_eq!(asks(&beyond), Some((1, Some(500_200))), "from its beginning on, up to there");
    // With the stamp of the row before it there is nothing to request yet.
    let mut beyond = blamed(false);
    assert_eq!(beyond.came(&[key(5)], true, Some(after(0))), Then::Later);
    assert!(beyond.is_getting_past() && !fails_alone(&mut beyond, false));
}

#[test]
fn what_ends_where_rows_are_settled_needs_no_wait() {
    let mut beyond = blamed(false);
    beyond.came(&[], true, Some(after(99_000_000)));
    go_on(&mut beyond, BAD, None);
    let high = beyond.search.and_then(|search| search.high).expect("it was found");
    for (settled, is_swept) in [(high, true), (Stamp(high.0 - 1), false)] {
        let mut beyond = blamed(false);
        // The time is told with the last answer only: that of what is behind the row.
        go_on_failing(&mut beyond, high);
        assert_eq!(beyond.asks().map(|rows| (rows.from, rows.to)), Some((high, None)));
        let then = beyond.came(&[key(9_000_000)], true, Some(settled));
        assert_eq!((then == Then::Look, beyond.takes_beginning()), (is_swept, is_swept));
    }
}

/// As `go_on`, without a time in any answer, up to what is requested behind `high`.
fn go_on_failing(beyond: &mut Beyond, high: Stamp) {
    for _ in 0..99 {
        if beyond.asks().is_some_and(|rows| rows.from == high) {
            return;
        }
        answer(beyond, BAD, None);
    }
    panic!("it never ends");
}

#[test]
fn where_no_row_is_and_none_can_become_visible_nothing_more_is_requested() {
    // Up to the present.
    let mut beyond = blamed(false);
    assert_eq!(beyond.came(&[], false, Some(after(1_000_001))), Then::Later);
    assert_eq!(asks(&beyond), None);
    // Before the present it goes on at once, and at the former present it waits.
    let mut beyond = blamed(false);
    let settled = Some(after(5_000_001));
    assert_eq!(beyond.came(&[], false, settled), Then::Soon);
    assert_eq!(asks(&beyond), Some((1, Some(3_000_001))));
    assert_eq!(beyond.came(&[], false, settled), Then::Soon);
    assert_eq!(asks(&beyond), Some((1, Some(5_000_001))));
    assert_eq!(beyond.came(&[], false, settled), Then::Later);
    // Without any time the row is gone at last.
    let mut beyond = blamed(false);
    let answers = (1..60).find(|_| beyond.came(&[], false, None) == Then::Later);
    assert!(answers.is_some_and(|answers| answers > 20), "{answers:?}");
}

#[test]
fn an_empty_range_that_may_still_get_rows_shows_nothing() {
    let mut beyond = blamed(false);
    beyond.failed(&too_long());
    assert_eq!(asks(&beyond), Some((1, Some(500_001))));
    assert_eq!(beyond.came(&[], false, Some(after(400_000))), Then::Later);
    assert_eq!(asks(&beyond), None);
}

#[test]
fn a_range_that_comes_where_the_row_should_be_ends_the_search() {
    // The range from the beginning had the row, and its half comes with a row.
    let mut beyond = blamed(false);
    beyond.failed(&too_long());
    assert_eq!(beyond.came(&[key(5)], true, Some(after(99_000_000))), Then::Later);
    assert!(!beyond.is_getting_past());
    // No row came before the bad one, so it can't have the stamp of any.
    let mut beyond = Beyond::default();
    let place = (RowPlace { from: T, is_after: false }, 0);
    while !beyond.failed_alone(Mono(0), place, &too_long(), false, WAIT) {}
    assert_eq!(asks(&beyond), Some((0, Some(1_000_000))));
    assert_eq!(beyond.came(&[key(5)], true, Some(after(99_000_000))), Then::Later);
    assert!(!beyond.is_getting_past());
}

#[test]
fn what_is_behind_the_row_is_waited_for_and_what_was_found_is_kept() {
    let mut beyond = found(BAD);
    assert!(fails_alone(&mut beyond, false));
    answer(&mut beyond, BAD, None);
    answer(&mut beyond, BAD, None);
    assert_eq!(beyond.came(&[], false, None), Then::Later);
    assert!(beyond.is_getting_past() && asks(&beyond).is_none());
    assert!(fails_alone(&mut beyond, false));
    assert!(asks(&beyond).is_some_and(|(from, to)| from == 1 && to.is_some_and(|to| to > BAD)));
}

/// What is behind the row fails, so often, and the row is tried after each time.
fn behind_fails(beyond: &mut Beyond, times: u32) {
    for _ in 0..times {
        assert!(fails_alone(beyond, false));
        answer(beyond, BAD, None);
        answer(beyond, BAD, None);
        assert!(asks(beyond).is_some_and(|(_, to)| to.is_none()));
        assert!(!beyond.failed(&too_long()));
    }
}

#[test]
fn what_fails_behind_the_row_again_and_again_is_another_one_and_looked_for_less_finely() {
    let often = limits::LONE_FAILURES;
    let mut beyond = found(BAD);
    behind_fails(&mut beyond, often - 1);
    assert_eq!(asks(&beyond), None);
    confirm(&mut beyond, BAD);
    // It came in between, so it is not to blame yet.
    behind_fails(&mut beyond, often - 1);
    assert_eq!(asks(&beyond), None);
    behind_fails(&mut beyond, 1);
    let (from, to) = asks(&beyond).expect("another search");
    assert!(from > BAD && to == Some(from + 1_000_000), "{from} {to:?}");
    let bad = from + 500_000;
    while asks(&beyond).is_some() {
        answer(&mut beyond, bad, Some(after(99_000_000)));
    }
    let Search { low, high, .. } = beyond.search.expect("it was found");
    let grain = high.expect("an end").since(low);
    assert!(grain > Span::ms(limits::BEYOND_GRAIN_MS), "{grain}");
}

#[test]
fn nothing_is_shown_by_a_query_that_is_rejected() {
    let rejected = SourceTrouble::QueryRefused("HTTP 400".into());
    let mut beyond = blamed(false);
    beyond.seen_alive();
    let before = asks(&beyond);
    assert!(!beyond.failed(&rejected));
    assert_eq!(asks(&beyond), before);
}

#[test]
fn more_is_requested_soon_only_if_something_came_since_the_row_failed() {
    let mut beyond = blamed(false);
    assert!(!beyond.failed(&too_long()));
    beyond.seen_alive();
    assert!(beyond.failed(&too_long()));
    beyond.came(&[], false, Some(after(99_000_000)));
    assert!(beyond.failed(&too_long()));
    let mut beyond = found(BAD);
    beyond.came(&[], false, None);
    assert!(fails_alone(&mut beyond, false));
    assert!(!beyond.failed(&too_long()), "that was before");
}

#[test]
fn so_many_failures_in_a_row_are_expected_near_a_bad_row() {
    let often = limits::LONE_FAILURES;
    let mut beyond = blamed(false);
    (0..often + 9).for_each(|_| _ = beyond.failed(&SourceTrouble::QueryRefused("400".into())));
    assert_eq!(beyond.expected_failures(), often);
    beyond.came(&[], false, None);
    beyond.failed(&SourceTrouble::QueryRefused("400".into()));
    assert_eq!(beyond.expected_failures(), often + 1);
}

#[test]
fn nothing_is_left_of_a_search_for_what_was_not_stored_passed_or_acquitted() {
    let ends: [fn(&mut Beyond); 5] = [
        Beyond::not_stored,
        Beyond::acquit,
        |beyond| beyond.passed(None),
        |beyond| beyond.passed(Some(after(1))),
        |beyond| beyond.stepped(Mono(0)),
    ];
    for (at, end) in ends.into_iter().enumerate() {
        let mut beyond = beside(BAD);
        beyond.passed(Some(T));
        assert!(beyond.is_getting_past(), "the walk is not past it");
        end(&mut beyond);
        assert!(!beyond.is_getting_past() && beyond.asks().is_none());
        // What was not stored may still be to blame.
        assert_eq!((beyond.lone().is_some(), beyond.expected_failures()), (at == 0, 0));
    }
    let mut beyond = Beyond::remembering(&learned(T), Some(T));
    beyond.passed(Some(after(1)));
    assert_eq!(beyond.lone(), None);
}
