//! The core and the order of rows: what a few that rise by chance may move, and what a doubt takes back.

use super::known::Known;
use super::place_tests::{NOW, Stage, days, fetch_from, stood};
use super::source_clock::Present;
use super::walk::Walk;
use super::*;
use crate::record::{GapReason, RowKey, Start};

#[test]
fn a_few_rows_that_rise_move_no_position_before_the_walk_is_whole() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let before = stage.progress();
    let at = |minutes| NOW - Span::minutes(minutes);
    stage.page(&[at(90), at(80)], Some("a"));
    // It rises by chance: what lies between is still to come.
    stage.page(&[at(70), at(20)], Some("b"));
    assert_eq!(stage.progress(), before);
    let many: Vec<Stamp> = (5..16).rev().map(at).collect();
    stage.page(&many, Some("c"));
    assert_eq!(stage.progress().position, at(5), "ten that rise are no chance");
}

#[test]
fn a_walk_that_comes_to_be_doubted_takes_nothing_in_twice() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let at = |minutes| NOW - Span::minutes(minutes);
    let three = [at(60), at(40), at(39)];
    let stream = &mut stage.core.streams[0];
    stream.known = Known::new(three.map(|stamp| RowKey { stamp, id: stamp.0 as u64 }));
    let taken = stage.core.streams[0].collected;
    stage.page(&[at(60)], Some("a"));
    stage.page(&[at(40)], Some("b"));
    // What stood at 39 changed since.
    stage.page(&[at(20)], Some("c"));
    stage.core.streams[0].not_stored();
    stage.page(&[at(60), at(40), at(20)], Some("a"));
    assert_eq!(stage.core.streams[0].collected - taken, 1, "each once");
}

#[test]
fn what_was_asked_for_by_time_moves_no_position_before_the_order_shows() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let before = stage.progress();
    let at = |minutes| NOW - Span::minutes(minutes);
    // They rise by chance, and what is older would come with the next page.
    stage.page(&[at(90), at(20)], Some("a"));
    assert_eq!(fetch_from(stage.refuse_cursor()), at(20));
    assert_eq!(fetch_from(stage.page(&[at(20), at(10)], None)), before.from);
    assert_eq!((stage.progress(), stage.reason()), (before, Reason::CursorsRefused));
    assert!(!stage.core.streams[0].caught_up);
    stage.page(&[at(90), at(20), at(60), at(10)], None);
    let stream = &stage.core.streams[0];
    assert_eq!((stream.collected, stream.caught_up), (4, true), "each once");

    let mut many = Stage::new(Start::Now, stood(NOW - days(1)));
    many.begin();
    let rows: Vec<Stamp> = (20..40).rev().map(at).collect();
    many.page(&rows[..8], Some("a"));
    assert_eq!(fetch_from(many.refuse_cursor()), rows[7]);
    many.page(&rows[7..], None);
    assert_eq!(many.progress().position, rows[19], "more than ten that rise are no chance");
}

#[test]
fn a_full_page_without_a_cursor_is_not_called_up_to_date() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let rows: Vec<Stamp> = (0..1_000).map(|n| NOW - Span::seconds(2_000 - n)).collect();
    let behind = fetch_from(stage.page(&rows, None));
    assert_eq!((behind, stage.core.streams[0].caught_up), (rows[999], false));
    stage.page(&[rows[999], NOW], None);
    let stream = &stage.core.streams[0];
    assert_eq!((stream.collected, stream.caught_up), (1_001, true));
    assert_eq!(stage.reason(), Reason::PollInterval);

    // Of one stamp, at a console that passes over no rows.
    let mut stuck = Stage::new(Start::Now, stood(NOW - days(1)));
    stuck.begin();
    let Action::Fetch(fetch) = stuck.page(&[NOW; 1_000], None) else { panic!() };
    assert_eq!((fetch.skip, fetch.cursor), (999, None));
    stuck.refuse_cursor();
    stuck.page(&[NOW; 1_000], None);
    assert_eq!((stuck.reason(), stuck.core.streams[0].caught_up), (Reason::CursorsMissing, false));
    assert_eq!(stuck.core.view(stuck.now).health(), Health::Degraded);
}

#[test]
fn what_moves_no_position_and_may_have_been_sent_is_not_taken_in_again_and_the_stream_is_not_well()
{
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let undated = |id| RowKey { stamp: Stamp::UNREADABLE, id };
    let known = Known::new((0..limits::UNPLACED_IDS_MAX as u64).map(undated));
    stage.core.streams[0].known = known;
    let page = |stage: &Stage, ids: [u64; 2]| {
        let placed = RowKey { stamp: NOW, id: 1 };
        let keys = ids.into_iter().map(undated).chain([placed]).collect();
        Event::Fetched {
            stream: 0,
            page: Ok(PageFacts { keys, next: None, date: Some(stage.time()) }),
        }
    };
    stage.after(page(&stage, [0, 1]));
    assert_eq!((stage.core.streams[0].collected, stage.reason()), (1, Reason::PollInterval));
    for _ in 0..3 {
        stage.after(page(&stage, [0, u64::MAX]));
        assert_eq!((stage.core.streams[0].collected, stage.reason()), (1, Reason::IdsFull));
        assert_eq!(stage.core.view(stage.now).health(), Health::Degraded);
    }
}

#[test]
fn what_is_left_out_for_want_of_room_is_a_gap_that_is_noted_once() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let undated = |id| RowKey { stamp: Stamp::UNREADABLE, id };
    let stream = &mut stage.core.streams[0];
    stream.known = Known::new((0..limits::UNPLACED_IDS_MAX as u64).map(undated));
    let (day, at) = (days(1), Present::Between { earliest: NOW, latest: NOW, is_backed: true });
    let today = Stamp(NOW.0 - NOW.0 % (day.as_ms() as i64 * 1_000));
    let mut left = |keys: &[RowKey]| {
        let mut fresh: Vec<u32> = (0..keys.len() as u32).collect();
        let mut walk = Walk::starting(NOW);
        let missed = stream.leave_out(&mut walk, keys, &mut fresh, at);
        // As once it is stored.
        missed.iter().for_each(|missed| stream.left_out.noted(missed));
        (fresh, missed.map(|missed| (missed.from, missed.to, missed.reason)))
    };
    let reason = GapReason::IdsFull;
    assert_eq!(left(&[RowKey { stamp: NOW, id: 1 }]), (vec![0], None));
    let placed = RowKey { stamp: NOW, id: 2 };
    let unread = [placed, undated(u64::MAX)];
    assert_eq!(left(&unread), (vec![0], Some((today, today + day, reason))));
    assert_eq!(left(&unread), (vec![0], None), "it is noted");
    let ahead = RowKey { stamp: today + days(3), id: u64::MAX };
    let noted = Some((today + days(3), today + days(4), reason));
    assert_eq!(left(&[ahead]), (vec![], noted));
    assert_eq!(left(&[ahead]), (vec![], None));
}

#[test]
fn what_only_a_list_brings_is_left_out_with_a_gap_too() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let undated = |id| RowKey { stamp: Stamp::UNREADABLE, id };
    let stream = &mut stage.core.streams[0];
    stream.known = Known::new((0..limits::UNPLACED_IDS_MAX as u64).map(undated));
    let late = RowKey { stamp: NOW - days(2), id: u64::MAX - 1 };
    let page = PageFacts { keys: vec![undated(u64::MAX), late], next: None, date: None };
    let pending = stream.listed_page(0, Listed { page, unseen: vec![true; 2], outside: 0 });
    assert_eq!(pending.keep.fresh, [1]);
    // It is no late record that a count could still be short of.
    assert!(matches!(pending.then, super::source::Then::Listed(_, 1, _)), "{:?}", pending.then);
    let missed = pending.keep.missed.expect("a gap");
    assert_eq!(missed.reason, GapReason::IdsFull);
    assert!(missed.from <= NOW - days(1) && NOW - days(1) < missed.to, "{missed:?}");
}
