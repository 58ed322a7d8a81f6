//! Positions that moved while no two clocks agreed: what an earlier, wrong time passed over is
//! walked again, also by a later process and after the time has passed the position.

use super::place_tests::*;
use super::*;
use crate::record::{Kind, RowKey, Start, StreamLearned};

const AHEAD: Span = Span::hours(5);

/// A machine without a clock, and a tenant whose clock and records are five hours ahead: the
/// position follows them.
fn led_ahead() -> (Stage, Stamp) {
    let confirmed = NOW - Span::hours(1);
    let mut stage = Stage::new(Start::Now, stood(confirmed));
    (stage.local, stage.lie) = (None, Some(AHEAD));
    stage.begin();
    stage.page(&[NOW + AHEAD], None);
    assert_eq!(stage.progress().position, NOW + AHEAD);
    (stage, confirmed)
}

fn remembered(stage: &mut Stage) -> Option<Stamp> {
    stage.core.news();
    stage.core.learned.streams[0].confirmed
}

fn inherited(mode: Mode, position: Stamp, confirmed: Stamp) -> Stage {
    let learned = StreamLearned {
        confirmed: Some(confirmed),
        confirmed_from: Some(confirmed),
        ..StreamLearned::default()
    };
    let mut stage = Stage::of(Start::Now, stood(position), mode);
    stage.core.streams[0] = stage.core.streams[0].clone().remembering(&learned, None);
    stage
}

#[test]
fn a_position_that_a_lone_clock_led_ahead_goes_back_once_two_agree() {
    let (mut stage, confirmed) = led_ahead();
    assert_eq!(remembered(&mut stage), Some(confirmed));
    let since = stage.time();
    stage.lie = None;
    stage.page(&[], None);
    stage.sink = Some(NOW);
    let set = back(stage.page(&[], None));
    assert!(set.latest <= since && set.latest >= confirmed, "{set:?}");
    stage.set_back(&set);
    assert_eq!((remembered(&mut stage), stage.reason()), (None, Reason::PositionAhead));
}

#[test]
fn it_goes_back_also_after_the_time_has_passed_it() {
    let (mut stage, _) = led_ahead();
    let since = stage.time();
    stage.now = stage.now + AHEAD + AHEAD;
    stage.lie = None;
    stage.page(&[], None);
    assert!(stage.time() > stage.progress().position);
    stage.sink = Some(NOW);
    let set = back(stage.page(&[], None));
    assert!(set.latest <= since && !set.is_open, "{set:?}");
}

#[test]
fn a_later_process_walks_again_what_an_earlier_one_could_not_confirm() {
    let confirmed = NOW - Span::hours(9);
    let mut stage = inherited(Mode::Daemon, NOW - Span::hours(1), confirmed);
    stage.begin();
    assert_eq!(remembered(&mut stage), Some(confirmed), "one answer decides nothing");
    let set = back(stage.page(&[], None));
    assert_eq!((set.latest, set.begin.position, set.is_open), (confirmed, confirmed, false));
    stage.set_back(&set);
    assert_eq!((remembered(&mut stage), stage.reason()), (None, Reason::TimeUnconfirmed));
    stage.page(&[NOW - Span::hours(2)], None);
    stage.page(&[], None);
    assert_eq!(stage.core.view(stage.now).health(), Health::Healthy);
}

#[test]
fn what_no_two_clocks_confirm_is_no_end_for_a_later_process() {
    for (local, wanted) in [(None, End::TryLater), (Some(NOW), End::Done)] {
        let position = NOW - Span::hours(1);
        let mut stage = inherited(Mode::Once, position, position - Span::hours(1));
        stage.local = local;
        let mut action = stage.begin();
        for _ in 0..9 {
            action = match action {
                Action::SetBack(back) => stage.set_back(&back),
                Action::Exit(end) => {
                    assert_eq!(end, wanted, "{local:?}");
                    break;
                }
                _ => stage.page(&[], None),
            };
        }
        assert_eq!(action, Action::Exit(wanted));
    }
}

#[test]
fn a_position_that_two_clocks_confirm_stays() {
    let position = NOW - Span::hours(1);
    let mut stage = Stage::new(Start::Now, stood(position));
    stage.local = None;
    stage.begin();
    stage.page(&[NOW], None);
    assert_eq!(remembered(&mut stage), Some(position), "nobody else has told the time");
    stage.sink = Some(NOW);
    fetch_from(stage.page(&[NOW], None));
    assert_eq!((remembered(&mut stage), stage.progress().position), (None, NOW));
}

#[test]
fn what_two_clocks_confirm_is_not_noted_at_all() {
    let mut stage = Stage::new(Start::Now, stood(NOW - Span::hours(1)));
    stage.begin();
    stage.page(&[NOW], None);
    assert_eq!((remembered(&mut stage), stage.progress().position), (None, NOW));
}

#[test]
fn the_note_is_there_before_the_page_is_stored_and_its_ids_stay_known() {
    let confirmed = NOW - Span::hours(1);
    let mut stage = Stage::new(Start::Now, stood(confirmed));
    stage.local = None;
    stage.begin();
    let Stage { core, now, .. } = &mut stage;
    let tick = Tick { now: *now, ..Tick::default() };
    let keys = [1, 2].map(|id| RowKey { stamp: NOW - Span::minutes(30 / id), id });
    let page = PageFacts { keys: keys.to_vec(), next: None, date: Some(NOW) };
    let stored = core.step(&tick, Event::Fetched { stream: 0, page: Ok(page) });
    let Action::Store(keep) = stored else { panic!("{stored:?}") };
    assert_eq!(core.news().and_then(|learned| learned.streams[0].confirmed), Some(confirmed));
    assert_eq!((keep.ids_from, keep.known), (confirmed, keys.to_vec()));
    assert_eq!(core.streams[0].kind(), Kind::Activities);
}

/// A stream that has not begun, on a machine without a clock, at a tenant five hours ahead.
fn begun_ahead(start: Start) -> Stage {
    let mut stage = Stage::new(start, None);
    (stage.local, stage.lie) = (None, Some(AHEAD));
    stage.begin();
    stage.core.news();
    let begun = stage.core.learned.streams[0];
    assert!(begun.is_beginning && begun.confirmed.is_some());
    stage
}

#[test]
fn a_stream_that_began_by_a_lone_clock_begins_anew_once_two_agree() {
    for (start, span) in [(Start::Now, Span::ZERO), (Start::Ago(days(1)), days(1))] {
        let mut stage = begun_ahead(start);
        stage.now = stage.now + AHEAD + AHEAD;
        stage.lie = None;
        stage.page(&[], None);
        stage.sink = Some(NOW);
        let set = back(stage.page(&[], None));
        let wanted = NOW - span;
        assert!(set.begin.position.since(wanted) < Span::minutes(1), "{set:?}");
        assert!(!set.is_open && set.begin.position >= wanted, "{set:?}");
    }
}

#[test]
fn what_a_later_process_finds_begun_by_a_lone_clock_begins_no_later_than_it_would_now() {
    let learned = begun_ahead(Start::Now).core.learned.streams[0];
    let began = learned.confirmed_progress().unwrap();
    // Also after the time has passed it: nobody can tell any more what the clock showed.
    for passed in [Span::hours(1), Span::hours(10)] {
        let mut stage = Stage::new(Start::Now, Some(began));
        stage.core.streams[0] = stage.core.streams[0].clone().remembering(&learned, None);
        stage.now = stage.now + passed;
        stage.begin();
        let set = back(stage.page(&[], None));
        assert!(set.is_open, "{passed}");
        assert!(set.begin.position <= began.position.min(stage.time()), "{set:?}");
        stage.set_back(&set);
        assert_eq!(remembered(&mut stage), None);
    }
}

#[test]
fn a_stream_with_a_start_of_its_own_is_sure_where_it_began() {
    let start = NOW - days(3);
    let mut stage = Stage::new(Start::At(start), None);
    stage.local = None;
    stage.begin();
    stage.page(&[start], None);
    assert_eq!(remembered(&mut stage), None);
}

#[test]
fn a_position_that_nothing_moved_since_it_was_confirmed_is_confirmed() {
    let position = NOW - Span::hours(1);
    let mut stage = inherited(Mode::Daemon, position, position);
    stage.begin();
    for _ in 0..3 {
        fetch_from(stage.page(&[], None));
    }
    assert_eq!((remembered(&mut stage), stage.reason()), (None, Reason::PollInterval));
}
