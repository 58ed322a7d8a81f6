//! Pages that something between refuses, with everything or alone.

use crate::core::beyond_tests::{Bench, of_one_or_all, refusals, row};
use crate::core::failing::AskedFor;
use crate::core::place_tests::{NOW, Stage, days, stood};
use crate::core::source::{Pending, Then};
use crate::core::walk::{Next, Walk};
use crate::core::{Action, Event, Health, Reason};
use crate::limits;
use crate::record::{Cursor, Progress, Refusal, Refused, RowPlace, SourceTrouble, Start, Unread};
use crate::time::{Due, Mono, Span, Stamp};

use super::{State, TakenFor};

#[test]
fn a_page_that_is_refused_for_its_size_is_asked_for_with_fewer_rows() {
    for refusal in refusals() {
        for bears in [1, 7, 200] {
            let mut bench = Bench::new((0..1_500).map(|id| row(id, id)).collect());
            bench.bears = bears;
            bench.poll(bench.begun + Span::hours(2), &refusal, |_, _| false, |_| false);
            assert_eq!(bench.sorted(), bench.all_but(&[]), "{bears}: {refusal:?}");
            assert_eq!(bench.missed, [], "{bears}: {refusal:?}");
            assert_eq!(bench.stream.lane.reason.health(), Health::Healthy, "{bears}: {refusal:?}");
        }
    }
}

#[test]
fn where_everything_is_refused_one_small_request_a_try_is_made_and_it_is_told() {
    for refusal in refusals() {
        let mut bench = Bench::new((0..1_500).map(|id| row(id, id)).collect());
        let back = bench.begun + Span::hours(10);
        bench.poll(bench.begun + Span::minutes(594), &refusal, |_, _| false, |_| true);
        let reason = bench.stream.lane.reason;
        assert!([Reason::AddressRefused, Reason::Misdirected].contains(&reason), "{reason:?}");
        bench.poll(back, &refusal, |_, _| false, |now| now < back);
        let large = bench.asked.iter().filter(|(rows, at)| *rows > 1 && *at < back).count();
        let all = bench.asked.iter().filter(|(_, at)| *at < back).count();
        assert_eq!(large, 1, "{refusal:?}");
        // At three quarters of the longest wait.
        assert!(all <= 2 + 10 * 60 * 4 / (5 * 3), "{all} in ten hours of {refusal:?}");
        bench.poll(back + Span::minutes(6), &refusal, |_, _| false, |_| false);
        assert_eq!((bench.sorted(), &bench.missed[..]), (bench.all_but(&[]), &[][..]));
        let (first, _) = bench.asked.iter().filter(|(_, at)| *at >= back).nth(1).unwrap();
        assert_eq!(*first, 1_000, "nothing was learned of a size");
    }
}

#[test]
fn a_permission_that_is_missing_is_no_size() {
    for what in [Refused::Permission, Refused::Scope, Refused::Token] {
        let refusal = SourceTrouble::Forbidden(Refusal { what, words: "HTTP 403".into() });
        let mut bench = Bench::new((0..10).map(|id| row(id, id)).collect());
        bench.poll(bench.begun + Span::hours(5), &refusal, |id, _| id == 5, |_| false);
        assert!(bench.asked.iter().all(|(rows, _)| *rows == 1_000), "{what:?}");
    }
}

#[test]
fn a_cursor_is_not_blamed_for_ever_where_no_way_by_time_leads_on() {
    for refusal in refusals() {
        // A bulk change gives many one stamp.
        let rows = (0..40).map(|id| row(id, if (10..30).contains(&id) { 10 } else { id }));
        let mut bench = Bench::new(rows.collect());
        bench.bears = 6;
        bench.poll(bench.begun + Span::hours(10), &refusal, |id, _| id == 25, |_| false);
        assert_eq!(bench.sorted(), bench.all_but(&[25]), "{refusal:?}");
        assert_eq!(bench.missed.len(), 1, "{refusal:?}");
    }
}

#[test]
fn where_every_query_is_rejected_it_is_told_and_the_twin_is_asked_now_and_then() {
    let refusal = SourceTrouble::QueryRefused("HTTP 400".into());
    let mut bench = Bench::new((0..1_500).map(|id| row(id, id)).collect());
    let back = bench.begun + Span::hours(10);
    bench.poll(bench.begun + Span::minutes(590), &refusal, |_, _| false, |_| true);
    assert_eq!(bench.stream.lane.reason, Reason::QueryRefused);
    bench.poll(back, &refusal, |_, _| false, |now| now < back);
    let all = bench.asked.iter().filter(|(_, at)| *at < back).count();
    assert!(all <= 20 + 10 * 60 * 4 / (5 * 3), "{all} in ten hours");
    bench.poll(back + Span::minutes(20), &refusal, |_, _| false, |_| false);
    assert_eq!((bench.sorted(), &bench.missed[..]), (bench.all_but(&[]), &[][..]));
}

#[test]
fn where_all_cursors_are_rejected_and_no_other_way_leads_on_it_is_told() {
    let refusal = SourceTrouble::QueryRefused("HTTP 400".into());
    for (ties, takes_no_skip) in [(2_390, false), (2_390, true), (1_390, false), (1_390, true)] {
        let tied = 10..10 + ties;
        let rows = (0..2_500).map(|id| row(id, if tied.contains(&id) { 10 } else { id }));
        let mut bench = Bench::new(rows.collect());
        (bench.takes_no_cursor, bench.takes_no_skip) = (true, takes_no_skip);
        let mut searches = 0;
        for hour in 1..24 {
            let before = bench.asked.len();
            bench.poll(bench.begun + Span::hours(hour), &refusal, |_, _| false, |_| false);
            let asked = bench.asked.len() - before;
            // In some it is found out that no row behind the page is rejected alone.
            searches += usize::from(asked > 70);
            assert!(asked < 150, "{asked} in hour {hour}");
            let is_told = matches!(bench.stream.condition, Some((Reason::CursorsRefused, _)));
            assert!(is_told, "{hour}, {ties}: {:?}", bench.stream.condition);
        }
        assert!(searches <= 6, "{searches} in a day");
        assert_eq!(bench.missed, [], "{ties} {takes_no_skip}");
    }
}

#[test]
fn a_row_whose_query_is_rejected_like_all_cursors_is_no_false_gap_and_told() {
    let refusal = SourceTrouble::QueryRefused("HTTP 400".into());
    for takes_no_skip in [false, true] {
        let mut bench = Bench::new((0..1_500).map(|id| row(id, id * 2)).collect());
        (bench.takes_no_cursor, bench.takes_no_skip) = (true, takes_no_skip);
        bench.poll(bench.begun + Span::hours(20), &refusal, |id, _| id == 700, |_| false);
        assert_eq!((bench.sorted().len(), &bench.missed[..]), (700, &[][..]));
        assert_ne!(bench.stream.lane.reason.health(), Health::Healthy);
        bench.poll(bench.begun + Span::hours(40), &refusal, |_, _| false, |_| false);
        assert_eq!((bench.sorted(), &bench.missed[..]), (bench.all_but(&[]), &[][..]));
    }
}

/// Where a stream begins is stored like a page, and nothing was asked for: a lower limit of the console has to be
/// found all the same, and a first page that kills the process has to be noted.
#[test]
fn the_beginning_of_a_stream_shows_no_size() {
    let mut bench = Bench::new(vec![]);
    let progress = Progress { position: Stamp(1), from: Stamp(1) };
    let keep = bench.stream.keep(0, &[], vec![], progress);
    let pending = bench.stream.begin(keep);
    bench.stream.stored(bench.now, Span::seconds(1), pending, &mut bench.backoff);
    assert!(bench.stream.rows.is_new(2));
    bench.poll(bench.now + Span::minutes(3), &refusals()[0], |_, _| false, |_| false);
    assert!(!bench.stream.rows.is_new(limits::PAGE_ROWS_MAX));
}

/// Who redirects a page says nothing of the way it was asked for.
#[test]
fn a_page_by_its_place_that_is_redirected_ends_no_asking_by_place() {
    let mut bench = Bench::new(vec![]);
    let mut walk = Walk::starting(Stamp(1));
    walk.skip = 5;
    bench.stream.walk = Some(walk);
    let trouble = SourceTrouble::Misdirected("HTTP 302".into());
    bench.stream.fail(bench.now, AskedFor::Page, trouble, &mut bench.backoff);
    assert!(!bench.stream.takes_no_skip);
    assert!(bench.stream.walk.is_some_and(|walk| walk.skip == 5));
}

#[test]
fn where_everything_is_put_off_nothing_is_passed_over_at_the_pace_of_before() {
    for busy in of_one_or_all() {
        let mut bench = Bench::new((0..1_500).map(|id| row(id, id)).collect());
        let back = bench.begun + Span::hours(10);
        bench.poll(bench.begun + Span::minutes(594), &busy, |_, _| false, |_| true);
        assert_eq!(bench.stream.lane.reason, Reason::Busy, "it is told");
        bench.poll(back, &busy, |_, _| false, |now| now < back);
        // Half of the longest wait is the usual one.
        let all = bench.asked.iter().filter(|(_, at)| *at < back).count();
        assert!(all < 10 * 60 * 3 / 5, "{all} in ten hours of {busy:?}");
        bench.poll(back + Span::minutes(20), &busy, |_, _| false, |_| false);
        assert_eq!((bench.sorted(), &bench.missed[..]), (bench.all_but(&[]), &[][..]));
        let mut after = bench.asked.iter().filter(|(_, at)| *at >= back).map(|(rows, _)| *rows);
        assert_eq!(after.find(|rows| *rows > 1), Some(1_000), "nothing was learned of a size");
    }
}

#[test]
fn a_limit_of_requests_in_a_time_is_taken_for_no_row() {
    for seconds in [2, 5, 20, 90] {
        let mut bench = Bench::new((0..300).map(|id| row(id, id)).collect());
        let last = std::cell::Cell::new(None);
        let limit = |now: Mono| {
            let is_soon = |last: Mono| now.since(last) < Span::seconds(seconds);
            let is_refused = last.get().is_some_and(is_soon);
            if !is_refused {
                last.set(Some(now));
            }
            is_refused
        };
        // One row at a time, as after an outage of other reasons.
        (0..12).for_each(|_| bench.stream.rows.failed());
        let end = bench.begun + Span::hours(12);
        bench.poll(end, &SourceTrouble::busy(None), |_, _| false, limit);
        assert_eq!((bench.sorted(), &bench.missed[..]), (bench.all_but(&[]), &[][..]), "{seconds}");
    }
}

#[test]
fn a_row_that_is_known_to_be_put_off_makes_nobody_else_wait() {
    let patience = Span::seconds(30);
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    let (mut next, mut twins) = (stage.begin(), 0);
    for _ in 0..25 {
        let Action::Fetch(fetch) = &next else { panic!("{next:?}") };
        let is_twin = fetch.from == Stamp::EPOCH;
        twins += u32::from(is_twin);
        next = match is_twin {
            true => stage.page(&[], None),
            false => {
                let page = Err(SourceTrouble::busy(Some(patience)));
                stage.after(Event::Fetched { stream: 0, page })
            }
        };
    }
    let others_wait_until = stage.core.tenants[0].lane.not_before;
    assert!(twins >= 5, "{twins} small requests");
    assert!(stage.now.since(others_wait_until) >= patience.times(5), "{others_wait_until:?}");
}

fn rejected() -> SourceTrouble {
    SourceTrouble::QueryRefused("HTTP 400".into())
}

fn blocked() -> SourceTrouble {
    let words = "HTTP 403: Blocked by policy".to_owned();
    SourceTrouble::Forbidden(Refusal { what: Refused::Address, words })
}

fn redirected() -> SourceTrouble {
    SourceTrouble::Misdirected("HTTP 302".into())
}

/// A stream that asks for one row, by a cursor or not, and whether the twin came right before.
fn asking(has_cursor: bool, state: State) -> Bench {
    let mut bench = Bench::new(vec![]);
    (0..12).for_each(|_| bench.stream.rows.failed());
    let mut walk = Walk::starting(Stamp(1));
    walk.cursor = has_cursor.then(|| Cursor("a".into()));
    (bench.stream.walk, bench.stream.twin.state) = (Some(walk), state);
    bench
}

/// Whether the failure is that of the request itself, of what was requested, or to be shown by the twin.
fn taken_for(bench: &mut Bench, trouble: SourceTrouble) -> &'static str {
    match bench.stream.taken_for(trouble) {
        TakenFor::As(_) => "as",
        TakenFor::OfPage { .. } => "page",
        TakenFor::Unknown(_) => "twin",
    }
}

/// A row is to blame, and its surroundings are requested.
fn getting_past(bench: &mut Bench) {
    let place = (RowPlace { from: Stamp(1), is_after: false }, 0);
    let too_long = SourceTrouble::TooLong(Unread::default());
    let beyond = &mut bench.stream.beyond;
    while !beyond.failed_alone(Mono(0), place, &too_long, false, Span::ZERO) {}
    assert!(beyond.asks().is_some() && !beyond.failed(&too_long));
}

#[test]
fn only_right_after_the_twin_a_rejection_is_that_of_the_page() {
    for trouble in [rejected(), blocked(), redirected()] {
        let taken = |bench: &mut Bench| taken_for(bench, trouble.clone());
        assert_eq!(taken(&mut asking(false, State::Came)), "page", "{trouble:?}");
        assert_eq!(taken(&mut asking(false, State::Unknown)), "twin", "{trouble:?}");
        // A page has come since, or something else failed.
        let mut bench = asking(false, State::Came);
        bench.stream.twin.page_came(false);
        assert_eq!(taken(&mut bench), "twin", "{trouble:?}");
        let mut bench = asking(false, State::Came);
        let broken = SourceTrouble::BrokenAnswer("HTTP 500".into());
        assert_eq!(taken_for(&mut bench, broken), "as");
        assert_eq!(taken(&mut bench), "twin", "{trouble:?}");
    }
    // A cursor was rejected since, and the walk went on without it.
    let mut bench = asking(true, State::Came);
    assert_eq!(taken_for(&mut bench, rejected()), "as");
    bench.stream.walk = Some(Walk::starting(Stamp(1)));
    assert_eq!(taken_for(&mut bench, rejected()), "twin");
}

#[test]
fn a_cursor_is_blamed_so_often_until_a_page_leads_on() {
    for leads_on in [false, true] {
        let mut bench = asking(true, State::Unknown);
        (0..limits::CURSORS_BLAMED_MAX).for_each(|_| {
            assert_eq!(taken_for(&mut bench, rejected()), "as");
        });
        assert_eq!(taken_for(&mut bench, rejected()), "twin");
        bench.stream.twin.page_came(leads_on);
        let wanted = if leads_on { "as" } else { "twin" };
        assert_eq!(taken_for(&mut bench, rejected()), wanted);
    }
    // A page with a cursor that is blocked says nothing of cursors.
    let mut bench = asking(true, State::Came);
    assert_eq!(taken_for(&mut bench, blocked()), "page");
    assert_eq!(taken_for(&mut bench, redirected()), "as");
    // Nor does what is requested beside a row, whatever the walk has.
    let mut bench = asking(true, State::Unknown);
    getting_past(&mut bench);
    assert_eq!(taken_for(&mut bench, rejected()), "twin");
}

#[test]
fn where_the_twin_is_rejected_too_it_is_asked_for_each_so_many_rejections() {
    let mut bench = asking(false, State::Unknown);
    assert_eq!(taken_for(&mut bench, rejected()), "twin");
    assert_eq!(taken_for(&mut bench, rejected()), "as");
    let broken = SourceTrouble::BrokenAnswer("HTTP 500".into());
    for _ in 0..2 {
        for _ in 1..limits::QUERIES_REFUSED_A_TWIN {
            assert_eq!(taken_for(&mut bench, broken.clone()), "as");
            assert_eq!(taken_for(&mut bench, rejected()), "as");
        }
        assert_eq!(taken_for(&mut bench, rejected()), "twin");
        assert_eq!(taken_for(&mut bench, rejected()), "as");
    }
    bench.stream.twin.page_came(false);
    assert_eq!(taken_for(&mut bench, rejected()), "twin", "a page came");
    // Numbers of rows that were rejected before one row is requested do not count.
    let mut bench = Bench::new(vec![]);
    (0..3).for_each(|_| assert_eq!(taken_for(&mut bench, rejected()), "as"));
    (0..12).for_each(|_| bench.stream.rows.failed());
    assert_eq!(taken_for(&mut bench, rejected()), "twin");
}

#[test]
fn the_twin_asks_for_a_range_and_waits_and_what_it_shows_needs_no_person() {
    let mut bench = asking(false, State::Unknown);
    let now = bench.now;
    bench.stream.fail(now, AskedFor::Page, blocked(), &mut bench.backoff);
    let lane = &bench.stream.lane;
    assert!(lane.due >= Due::At(now + bench.backoff.min) && lane.failures == 1);
    assert!(lane.detail.contains("a small request is next"), "{}", lane.detail);
    let twin = bench.stream.fetch(0);
    assert!(twin.to.is_some_and(|to| twin.from < to) && twin.rows_max == 1, "{twin:?}");
    bench.stream.fail(now, AskedFor::Page, blocked(), &mut bench.backoff);
    assert_eq!(bench.stream.lane.reason.health(), Health::Stuck, "all is blocked");
    getting_past(&mut bench);
    bench.stream.twin_came(now, &bench.backoff);
    assert_ne!(bench.stream.lane.reason.health(), Health::Stuck);
    // It is no outage, so what is beside the row may be requested soon.
    assert!(bench.stream.beyond.failed(&SourceTrouble::TooLong(Unread::default())));
}

#[test]
fn a_page_of_the_walk_that_has_something_new_or_is_the_last_acquits_cursors() {
    for (fresh, is_last, leads_on) in
        [(vec![0], false, true), (vec![], true, true), (vec![], false, false)]
    {
        let mut bench = asking(true, State::Came);
        let stream = &mut bench.stream;
        stream.twin.cursors_blamed = 1;
        let progress = stream.progress.unwrap();
        let row = row(1, 1);
        let keep = stream.keep(0, &[row], fresh, progress);
        let walk = Walk::starting(progress.from);
        let then = Then::Walk(if is_last { Next::Whole } else { Next::page(walk) });
        let pending = Pending { keep, then, read: Some((1, Span::ZERO)), date: None };
        stream.stored(bench.now, Span::ZERO, pending, &mut bench.backoff);
        assert_eq!(stream.twin.state, State::Unknown);
        assert_eq!(stream.twin.cursors_blamed, u32::from(!leads_on), "{is_last}");
    }
}
