//! A stream's state: what an opened queue leaves of it, where it begins, and what its first row tells.

use super::place_tests::{NOW, OVERLAP, Stage, days, stood};
use super::source::Beginning;
use super::*;
use crate::record::{Covered, Cursor, Progress, RowKey, Start};
use crate::time::Clocks;

fn row(stamp: Stamp) -> RowKey {
    RowKey { stamp, id: 7 }
}

fn page(keys: &[RowKey]) -> PageFacts {
    PageFacts { keys: keys.to_vec(), next: None, date: Some(NOW) }
}

fn covered(from: Stamp, to: Stamp) -> Covered {
    let mut covered = Covered::default();
    covered.add(from, to);
    covered
}

/// Collected up to a day ago, with a row known.
fn stream() -> Stream {
    let position = NOW - days(1);
    let stage = Stage::new(Start::Now, Some(Progress { position, from: position - OVERLAP }));
    let mut stream = stage.core.streams.into_iter().next().unwrap();
    stream.known = known::Known::new([row(position)]);
    stream
}

#[test]
fn an_opened_queue_decides_whether_a_stream_has_to_catch_up_again() {
    let (now, soon) = (Mono(2_000_000), Mono(2_007_000));
    let whole = stream().progress.unwrap();
    let back = Progress { position: whole.from, from: whole.from };
    let kept = row(whole.position);
    for (progress, known, covered, is_caught_up) in [
        (whole, vec![kept], Covered::default(), true),
        (whole, vec![], covered(whole.from, NOW), true),
        (whole, vec![], Covered::default(), false),
        (back, vec![kept], Covered::default(), false),
        (back, vec![], Covered::default(), false),
    ] {
        for reason in [Reason::PollInterval, Reason::BrokenAnswer] {
            let mut stream = stream();
            stream.caught_up = true;
            let poll = Due::At(now + Span::hours(1));
            stream.lane.rest(now, poll, reason);
            let (progress, covered) = (Some(progress), covered.clone());
            let held =
                StreamStatus { progress, known: known.clone(), covered, ..Default::default() };
            stream.reset(held, now, soon);
            assert_eq!((stream.caught_up, stream.progress), (is_caught_up, progress));
            // It need not wait for the next poll, but for what failed.
            let is_soon = !is_caught_up && reason == Reason::PollInterval;
            let due = if is_soon { Due::At(soon) } else { poll };
            assert_eq!(stream.lane.due, due, "{reason:?}");
            let then = if is_soon { Reason::Working } else { reason };
            assert_eq!(stream.lane.reason, then);
        }
    }
    let mut stream = stream();
    stream.lane.rest(now, Due::At(now), Reason::Working);
    let held = StreamStatus { progress: Some(whole), known: vec![kept], ..Default::default() };
    stream.reset(held, now, soon);
    assert_eq!(stream.lane.due, Due::At(soon), "a disk that damages everything makes no loop");
}

#[test]
fn an_opened_queue_begins_all_that_was_under_way_anew() {
    let now = Mono(2_000_000);
    let mut stream = stream();
    let progress = stream.progress.unwrap();
    let mut walk = walk::Walk::starting(NOW);
    walk.cursor = Some(Cursor("next".into()));
    stream.walk = Some(walk);
    stream.quiet = Some(progress.position);
    stream.walked = Some(NOW);
    stream.reconcile = reconcile::Reconcile::new(Span::hours(1), None, now);
    stream.reconcile.begin(now, NOW, 5);
    assert!(stream.reconcile.in_round());
    let known = vec![row(progress.position)];
    let held = StreamStatus { progress: Some(progress), known, ..Default::default() };
    stream.reset(held, now, now);
    assert!(!stream.reconcile.in_round() && stream.walked.is_none());
    let Fetch { from, cursor, .. } = stream.fetch(0);
    assert_eq!((from, cursor), (progress.from, None));
}

#[test]
fn where_nothing_is_missing_before_a_position_counts_end_with_its_second() {
    let mut stream = stream();
    let progress = stream.progress.unwrap();
    for (quiet, settled) in [
        (None, progress.from),
        (Some(progress.position), progress.position + Span::seconds(1)),
        (Some(progress.from), progress.from),
    ] {
        stream.quiet = quiet;
        assert_eq!(stream.settled(progress), settled, "{quiet:?}");
    }
    stream.quiet = Some(progress.position);
    let same = Progress { from: progress.position, ..progress };
    assert_eq!(stream.settled(same), same.from, "it has no overlap to leave out");
}

#[test]
fn a_stream_is_at_its_start_until_it_has_seen_a_record() {
    let at_start = |known: Vec<RowKey>, covered| {
        let stage = Stage::new(Start::Now, stood(NOW));
        let mut stream = stage.core.streams.into_iter().next().unwrap();
        stream.known = known::Known::beside(known, covered);
        stream.is_at_its_start()
    };
    assert!(at_start(vec![], Covered::default()));
    assert!(!at_start(vec![row(NOW)], Covered::default()));
    assert!(!at_start(vec![], covered(NOW - days(1), NOW)));
    assert!(!at_start(vec![row(NOW)], covered(NOW - days(1), NOW)));
}

#[test]
fn a_start_that_is_given_counts_as_ahead_only_by_a_time_that_is_sure() {
    let start = NOW + days(1);
    let known = |from| Beginning::Known(Progress { position: from, from });
    let none: &[Stamp] = &[];
    for (dates, is_informed, local, expected) in [
        (&[NOW, NOW][..], true, Some(NOW), Beginning::Ahead),
        // One answer does not show it.
        (&[NOW], true, Some(NOW), Beginning::Untimed),
        (none, false, Some(NOW), Beginning::Untimed),
        // Who tells no time can't be asked for it again.
        (none, true, Some(NOW), Beginning::Ahead),
        // Another clock has reached it.
        (&[NOW, NOW], true, Some(start + days(1)), known(start)),
        (none, true, Some(start + days(1)), known(start)),
        (none, false, None, known(start)),
    ] {
        let mut stage = Stage::new(Start::At(start), None);
        let core = &mut stage.core;
        let clocks = Clocks { local, sink: None };
        for date in dates {
            core.tenants[0].clock.observe_date(Some(*date), stage.now, clocks);
        }
        core.tenants[0].was_informed = is_informed;
        let beginning = core.streams[0].beginning(&core.tenants[0], stage.now, clocks);
        assert_eq!(beginning, expected, "{dates:?} {is_informed} {local:?}");
    }
}

#[test]
fn a_first_row_long_after_the_last_walk_asks_for_an_older_record() {
    let long = NOW - days(3);
    let progress = Progress { position: long, from: long - OVERLAP };
    let asks = |known: Vec<RowKey>, covered: Covered, keys: &[RowKey]| {
        let stage = Stage::new(Start::Now, Some(progress));
        let mut stream = stage.core.streams.into_iter().next().unwrap();
        stream.known = known::Known::beside(known, covered);
        stream.fetch(0);
        stream.doubts(&page(keys), Some(NOW))
    };
    let first = row(NOW - Span::hours(1));
    let older = Some(long + Span::seconds(1));
    assert_eq!(asks(vec![], Covered::default(), &[first]), older, "after the newest that was read");
    assert_eq!(asks(vec![row(long)], Covered::default(), &[row(Stamp::UNREADABLE), first]), older);
    // It came before, or is where all was collected, so nothing was deleted there.
    assert_eq!(asks(vec![first], Covered::default(), &[first]), None);
    assert_eq!(asks(vec![], covered(long, NOW), &[first]), None);
    assert_eq!(asks(vec![], Covered::default(), &[]), None);
}

#[test]
fn a_page_without_a_new_row_is_work_and_ends_no_failure() {
    for failures in [0, 1] {
        let mut stage = Stage::new(Start::Now, stood(NOW - Span::minutes(5)));
        stage.begin();
        let lane = &mut stage.core.streams[0].lane;
        match failures {
            0 => lane.rest(stage.now, lane.due, Reason::PollInterval),
            _ => lane.fail(stage.now, Span::ZERO, Reason::BrokenAnswer, "HTTP 500".into()),
        }
        assert!(matches!(stage.page(&[], Some("next")), Action::Fetch(_)));
        let lane = &stage.core.streams[0].lane;
        let reason = if failures == 0 { Reason::Working } else { Reason::BrokenAnswer };
        assert_eq!((lane.reason, lane.failures), (reason, failures));
    }
}

#[test]
fn a_walk_that_missed_something_is_told_until_one_did_not() {
    let mut stage = Stage::new(Start::Now, stood(NOW - Span::hours(1)));
    stage.begin();
    let old = NOW - Span::minutes(30);
    stage.page(&[old], Some("a"));
    stage.page(&[old], Some("a"));
    assert_eq!(stage.reason(), Reason::PagesLeadBack);
    // The next walk only begins.
    stage.page(&[old], Some("b"));
    let condition = stage.core.streams[0].condition.as_ref().map(|(reason, _)| *reason);
    assert_eq!(condition, Some(Reason::PagesLeadBack));
    stage.page(&[old + Span::minutes(1)], None);
    assert_eq!(stage.core.streams[0].condition, None);
}

fn ago(minutes: u64) -> Stamp {
    NOW - Span::minutes(minutes)
}

#[test]
fn rows_in_another_order_move_where_walks_start_once_all_were_read() {
    let mut stage = Stage::new(Start::Now, stood(ago(90)));
    stage.begin();
    stage.page(&[ago(30), ago(60)], None);
    let from = ago(30) - OVERLAP;
    assert_eq!(stage.progress(), Progress { position: ago(30), from });
}

#[test]
fn the_first_row_out_of_order_takes_back_where_the_next_walk_starts() {
    let mut stage = Stage::new(Start::Now, stood(ago(90)));
    stage.begin();
    let rising: Vec<Stamp> = (0..15).map(|at| ago(60 - at)).collect();
    stage.page(&rising, Some("a"));
    assert_eq!(stage.progress().from, ago(46) - OVERLAP);
    stage.page(&[ago(70)], Some("b"));
    assert_eq!(stage.progress(), Progress { position: ago(46), from: ago(90) });
}

#[test]
fn a_walk_does_not_go_on_by_time_where_a_known_row_did_not_come() {
    for (known, is_stuck) in [(ago(50), true), (ago(39), false)] {
        let mut stage = Stage::new(Start::Now, stood(ago(60)));
        stage.begin();
        stage.core.streams[0].known = known::Known::new([row(known)]);
        stage.page(&[ago(55), ago(40)], Some("a"));
        let from = place_tests::fetch_from(stage.refuse_cursor());
        assert_eq!(from == ago(60), is_stuck, "{known:?}: {from:?}");
        assert_eq!(stage.reason() == Reason::CursorsRefused, is_stuck);
    }
}

#[test]
fn an_order_that_was_broken_is_doubted_until_a_walk_proves_it() {
    let mut stage = Stage::new(Start::At(ago(90)), stood(ago(90)));
    stage.begin();
    stage.page(&[ago(30), ago(60)], Some("a"));
    stage.page(&[], None);
    let start = stage.progress().from;
    let mut later = [1, 2, 3].map(|minute| ago(30) + Span::minutes(minute)).into_iter();
    for _ in 0..2 {
        // A few in order are chance: no walk goes on by time after them.
        let keys = [ago(30), later.next().unwrap()];
        stage.page(&keys, Some("b"));
        assert_eq!(place_tests::fetch_from(stage.refuse_cursor()), start);
    }
    let rising: Vec<Stamp> = (0..15).map(|at| ago(29 - at)).collect();
    stage.page(&rising, Some("c"));
    assert_eq!(place_tests::fetch_from(stage.refuse_cursor()), ago(15), "that is none");
}

/// So many rows of one stamp.
fn alike(count: u32) -> Event {
    let keys = (0..u64::from(count)).map(|id| RowKey { stamp: ago(60), id }).collect();
    Event::Fetched { stream: 0, page: Ok(PageFacts { keys, next: None, date: Some(NOW) }) }
}

fn fetch(action: Action) -> Fetch {
    match action {
        Action::Fetch(fetch) => fetch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_console_that_skips_no_rows_is_not_asked_to_again() {
    let mut stage = Stage::new(Start::Now, stood(ago(90)));
    let asked = fetch(stage.begin()).rows_max;
    assert_eq!(fetch(stage.after(alike(asked))).skip, asked - 1);
    let begun = stage.now;
    let again = fetch(stage.refuse_cursor());
    assert_eq!((again.from, again.skip), (ago(90), 0));
    assert!(stage.now.since(begun) >= Span::seconds(1));
    let condition = stage.core.streams[0].condition.as_ref().map(|(reason, _)| *reason);
    assert_eq!(condition, Some(Reason::CursorsMissing), "rows may be missing");
    for _ in 0..2 {
        let again = fetch(stage.after(alike(asked)));
        assert_eq!((again.from, again.skip), (ago(90), 0));
    }
}

#[test]
fn after_a_rejected_request_to_skip_a_walk_goes_on_by_time() {
    let mut stage = Stage::new(Start::Now, stood(ago(90)));
    stage.begin();
    while stage.core.streams[0].rows.now() > 3 {
        stage.core.streams[0].rows.failed();
    }
    let count = stage.core.streams[0].rows.now();
    let rising: Vec<Stamp> = (0..u64::from(count)).map(|at| ago(60 - at)).collect();
    assert_eq!(fetch(stage.page(&rising, None)).skip, count - 1);
    let next = fetch(stage.refuse_cursor());
    assert_eq!((next.from, next.skip), (*rising.last().unwrap(), 0));
}

#[test]
fn what_was_let_go_of_at_a_position_does_not_come_again_with_every_walk() {
    let position = ago(30);
    let mut stage = Stage::new(Start::Now, stood(position));
    stage.begin();
    let many = (0..=limits::KNOWN_IDS_MAX as u64).map(|id| RowKey { stamp: position, id });
    let mut known = known::Known::new(many);
    let progress = stage.progress();
    stage.core.streams[0].progress = Some(known.remember(&[], progress));
    stage.core.streams[0].known = known;
    stage.page(&[], None);
    assert_eq!(stage.progress().from, Stamp(position.0 + 1));
}

type Turn = fn(&mut Stream, Mono);

/// After each of these what is under way has to be asked for again.
fn breaks() -> [(&'static str, Turn); 2] {
    let reset = |stream: &mut Stream, now| {
        let known = vec![row(stream.progress.unwrap().position)];
        let held = StreamStatus { progress: stream.progress, known, ..Default::default() };
        stream.reset(held, now, now);
    };
    [("the queue is opened anew", reset), ("a page is not stored", |stream, _| stream.not_stored())]
}

#[test]
fn what_walks_have_read_of_changed_threats_counts_only_while_it_is_stored() {
    for (what, turn) in breaks() {
        let mut stream = stream();
        stream.plan.kind = crate::record::Kind::Threats;
        stream.fetch(0);
        stream.changed.passed(&[row(NOW)]);
        assert!(stream.changed.has(&row(NOW)));
        turn(&mut stream, Mono(2_000_000));
        assert!(!stream.changed.has(&row(NOW)), "{what}");
    }
    // What was missed is found by comparing what was read.
    let missed: Turn = |stream, _| stream.flaw(Reason::PagesLeadBack, String::new());
    let beside: Turn = |stream, _| {
        rows_beside(stream, beside_from(NOW), &[row(NOW + Span::ms(1))]);
        assert!(stream.changed.has(&row(NOW + Span::ms(1))));
    };
    for turn in [missed, beside] {
        let mut stream = stream();
        stream.plan.kind = crate::record::Kind::Threats;
        stream.fetch(0);
        stream.changed.passed(&[row(NOW)]);
        turn(&mut stream, Mono(2_000_000));
        assert!(stream.changed.has(&row(NOW)));
    }
}

/// The row at this place fails alone until what is around it is requested; returns when that is.
fn looks_beside(stream: &mut Stream, place: crate::record::RowPlace) -> Mono {
    let trouble = SourceTrouble::BrokenAnswer("half of a record".into());
    let mut now = Mono(2_000_000);
    for _ in 0..100 {
        now = now + Span::minutes(5);
        stream.beyond.failed_alone(now, (place, 0), &trouble, false, Span::minutes(5));
        if stream.beyond.asks().is_some() {
            break;
        }
    }
    now
}

#[test]
fn the_surroundings_of_a_row_are_looked_at_anew_after_a_break() {
    for (what, turn) in breaks() {
        let mut stream = stream();
        let from = stream.progress.unwrap().from;
        let place = crate::record::RowPlace { from, is_after: false };
        let now = looks_beside(&mut stream, place);
        assert!(stream.beyond.asks().is_some() && stream.beyond.lone().is_some());
        turn(&mut stream, now);
        assert!(stream.beyond.asks().is_none(), "{what}");
    }
}

#[test]
fn a_row_that_failed_alone_is_acquitted_by_a_page_that_passes_it() {
    for (first, is_acquitted) in [(ago(50), true), (ago(80), false)] {
        let mut stage = Stage::new(Start::Now, stood(ago(90)));
        stage.begin();
        let place = crate::record::RowPlace { from: ago(70), is_after: false };
        let trouble = SourceTrouble::BrokenAnswer("half of a record".into());
        let stream = &mut stage.core.streams[0];
        stream.beyond.failed_alone(stage.now, (place, 0), &trouble, false, Span::minutes(5));
        stage.page(&[first], Some("next"));
        assert_eq!(stage.core.streams[0].beyond.lone().is_none(), is_acquitted, "{first:?}");
        stage.page(&[ago(40)], None);
        assert!(stage.core.streams[0].beyond.lone().is_none());
    }
}

#[test]
fn a_small_request_that_is_asked_for_shows_nothing_of_the_first_row() {
    let trouble = || SourceTrouble::Misdirected("HTTP 404".into());
    for (what, turn) in breaks() {
        let mut stream = stream();
        let position = NOW - days(3);
        stream.progress = Some(Progress { position, from: position - OVERLAP });
        stream.fetch(0);
        let mut backoff = lane::Backoff {
            min: Span::seconds(1),
            max: Span::minutes(5),
            prng: crate::prng::Prng::new(1),
        };
        stream.fail(Mono(2_000_000), failing::AskedFor::Page, trouble(), &mut backoff);
        assert!(stream.twin.is_asked());
        let first = row(NOW - Span::hours(1));
        assert_eq!(stream.doubts(&page(&[first]), Some(NOW)), None);
        turn(&mut stream, Mono(2_000_000));
        assert!(!stream.twin.is_asked(), "{what}");
        stream.fetch(0);
        assert!(stream.doubts(&page(&[first]), Some(NOW)).is_some());
    }
}

fn beside_from(from: Stamp) -> beyond::Rows {
    beyond::Rows { from, to: None, skip: 0, rows: 10 }
}

/// The indices of the rows that are taken, of those requested beside one that fails.
fn rows_beside(stream: &mut Stream, asked: beyond::Rows, keys: &[RowKey]) -> Vec<u32> {
    let progress = stream.progress.unwrap();
    let present = source_clock::Present::Between { earliest: NOW, latest: NOW, is_backed: true };
    stream.rows_beside(0, progress, asked, &page(keys), (Span::ZERO, present)).keep.fresh
}

#[test]
fn rows_beside_one_that_fails_are_taken_in_as_others_are() {
    let mut stream = stream();
    let ahead = NOW + days(1);
    let many = (0..limits::UNPLACED_IDS_MAX as u64).map(|id| RowKey { stamp: ahead, id });
    stream.known = known::Known::new(many);
    stream.known.places_end_at(NOW);
    let keys = [RowKey { stamp: ahead, id: u64::MAX }, row(ago(5))];
    let taken = rows_beside(&mut stream, beside_from(ago(9)), &keys);
    assert_eq!(taken, [1], "no more ids without a place can be remembered");
    // A console that compares in whole seconds sends more than it is asked for.
    let mut stream = self::stream();
    let place = crate::record::RowPlace { from: ago(60), is_after: false };
    looks_beside(&mut stream, place);
    let asked = stream.beyond.asks().unwrap();
    let keys = [row(asked.from - Span::ms(1)), RowKey { stamp: asked.from, id: 8 }];
    assert_eq!(rows_beside(&mut stream, asked, &keys), [] as [u32; 0], "they are looked at");
}

#[test]
fn a_row_that_is_passed_over_ends_the_failure_and_whole_pages_come_next() {
    let mut stream = stream();
    let (now, whole) = (Mono(2_000_000), stream.rows.now());
    stream.fetch(0);
    stream.walk.as_mut().unwrap().cursor = Some(Cursor("next".into()));
    (0..20).for_each(|_| stream.rows.failed());
    stream.lane.fail(now, Span::hours(1), Reason::BrokenAnswer, "half of a record".into());
    let mut backoff = lane::Backoff {
        min: Span::seconds(1),
        max: Span::minutes(5),
        prng: crate::prng::Prng::new(1),
    };
    let unread = crate::record::Unread::default();
    let step = beyond::Then::Step { from: ago(60), gap: ago(61), unread };
    stream.stored_beside(now, step, &mut backoff);
    let Fetch { cursor, rows_max, .. } = stream.fetch(0);
    assert_eq!((cursor, rows_max), (None, whole));
    let lane = &stream.lane;
    assert_eq!((lane.reason, lane.failures, lane.due), (Reason::Working, 0, Due::At(now)));
}

#[test]
fn a_small_request_that_is_rejected_breaks_off_no_walk() {
    for (trouble, reason) in [
        (SourceTrouble::QueryRefused("no".into()), Reason::QueryRefused),
        (SourceTrouble::Misdirected("HTTP 404".into()), Reason::Misdirected),
    ] {
        let mut stream = stream();
        let now = Mono(2_000_000);
        let mut backoff = lane::Backoff {
            min: Span::seconds(1),
            max: Span::minutes(5),
            prng: crate::prng::Prng::new(1),
        };
        stream.fetch(0);
        let first = SourceTrouble::Misdirected("HTTP 404".into());
        stream.fail(now, failing::AskedFor::Page, first, &mut backoff);
        assert!(stream.twin.is_asked());
        let cursor = Some(Cursor("next".into()));
        stream.walk.as_mut().unwrap().cursor = cursor.clone();
        stream.fail(now, failing::AskedFor::Page, trouble, &mut backoff);
        assert_eq!(stream.lane.reason, reason);
        assert_eq!(stream.walk.as_ref().map(|walk| walk.cursor.clone()), Some(cursor));
    }
}

#[test]
fn what_is_left_out_by_each_poll_is_one_gap() {
    let mut stage = Stage::new(Start::Now, stood(ago(90)));
    stage.begin();
    let undated = |id| RowKey { stamp: Stamp::UNREADABLE, id };
    let many = (0..limits::UNPLACED_IDS_MAX as u64).map(undated);
    stage.core.streams[0].known = known::Known::new(many);
    for id in 0..3 {
        let (keys, date) = (vec![undated(u64::MAX - id)], Some(stage.time()));
        let page = Ok(PageFacts { keys, next: None, date });
        stage.after(Event::Fetched { stream: 0, page });
    }
    assert_eq!(stage.missed.len(), 1, "{:?}", stage.missed);
}
