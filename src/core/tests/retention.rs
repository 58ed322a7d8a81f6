//! The question for an older record: when it is asked, and what its answers mean.

use super::*;
use crate::core::place_tests::*;
use crate::core::reconcile::Reconcile;
use crate::core::source::PageFacts;
use crate::core::{Event, Health};
use crate::record::{QueueStatus, RowKey, Start};
use crate::time::Clocks;

fn step(stage: &mut Stage, event: Event) -> Action {
    let clocks = Clocks { local: Some(stage.time()), sink: None };
    stage.core.step(&Tick { now: stage.now, clocks, ..Tick::default() }, event)
}

fn fetched(stage: &mut Stage, stamp: Stamp) -> Action {
    let keys = vec![RowKey { stamp, id: 1 }];
    let page = Ok(PageFacts { keys, next: None, date: Some(stage.time()) });
    step(stage, Event::Fetched { stream: 0, page })
}

fn answer(stage: &mut Stage, result: Result<Older, SourceTrouble>) -> Action {
    step(stage, Event::Older { stream: 0, result })
}

/// Goes on until a page is requested.
fn to_page(stage: &mut Stage, mut action: Action) {
    for _ in 0..9 {
        action = match action {
            Action::Fetch(_) => return,
            Action::Sleep { until, .. } => {
                stage.now = until;
                step(stage, Event::Woke)
            }
            Action::TokenEnd { tenant } => step(stage, Event::TokenEnds { tenant, end: None }),
            Action::Store(keep) => {
                stage.missed.extend(keep.missed);
                step(stage, Event::Stored(Ok(QueueStatus::default())))
            }
            other => panic!("{other:?}"),
        };
    }
    panic!("no page is requested");
}

/// A stream that was not walked for days, and whose first row is younger than that.
fn doubtful() -> (Stage, Action) {
    let position = NOW - days(3);
    let progress = Some(Progress { position, from: position - OVERLAP });
    let mut stage = Stage::new(Start::Now, progress);
    stage.core.streams[0].reconcile = Reconcile::new(Span::hours(1), None, stage.now);
    stage.begin();
    let action = fetched(&mut stage, NOW - days(1));
    (stage, action)
}

#[test]
fn there_is_a_question_where_a_walk_begins_more_than_a_while_ago_and_misses_its_first_row() {
    let (from, doubt) = (NOW - days(9), Span::hours(limits::RETENTION_DOUBT_HOURS));
    let us = |stamp: Stamp, more: i64| Stamp(stamp.0 + more);
    let first = us(from, 1);
    let asks = |first, date| Retention::default().is_in_question(from, first, date, from);
    assert!(!asks(first, from + doubt) && asks(first, from + doubt + Span::ms(1)));
    assert!(!asks(from, NOW) && !asks(Stamp::UNREADABLE, NOW));
    let mut retention = Retention::default();
    retention.walk_ended(Some(NOW - doubt));
    assert!(!retention.is_in_question(from, first, NOW, from), "it was walked since");
    assert!(retention.is_in_question(from, first, NOW + Span::ms(1), from));
    assert_eq!(retention.answered(true), None);
    assert!(!retention.is_in_question(from, first, NOW + doubt, from), "it is answered");
    assert!(retention.is_in_question(us(from, 1), us(from, 2), NOW + doubt, from), "another walk");
}

#[test]
fn an_empty_page_with_a_cursor_is_followed_with_the_same_question_and_not_for_ever() {
    let (mut stage, mut action) = doubtful();
    let mut pages = 0;
    let asked = action.clone();
    let Action::Older { than, cursor: None, .. } = asked else { panic!("{asked:?}") };
    assert!(than > NOW - days(3) && than < NOW - days(1), "{than}");
    while let Action::Older { than: again, .. } = action {
        assert_eq!(again, than);
        pages += 1;
        assert!(pages <= limits::EMPTY_PAGES_MAX, "it never ends");
        action = answer(&mut stage, Ok(Older::Behind(Cursor(pages.to_string()))));
        if let Action::Older { cursor, .. } = &action {
            assert_eq!(*cursor, Some(Cursor(pages.to_string())));
        }
    }
    assert_eq!(pages, limits::EMPTY_PAGES_MAX);
    let Action::Store(keep) = action else { panic!("{action:?}") };
    let missed = keep.missed.expect("a gap");
    assert_eq!((missed.reason, missed.to), (GapReason::Retention, NOW - days(1)));
    assert_eq!((keep.progress.from, keep.fresh.len()), (NOW - days(1), 0));
}

#[test]
fn an_older_record_that_is_there_shows_that_none_was_lost_and_is_asked_for_once() {
    let (mut stage, _) = doubtful();
    let action = answer(&mut stage, Ok(Older::There));
    assert_eq!(stage.core.streams[0].lane.reason, Reason::Working);
    to_page(&mut stage, action);
    // The same page, and then it is stored.
    let action = fetched(&mut stage, NOW - days(1));
    assert!(matches!(&action, Action::Store(keep) if keep.missed.is_none()), "{action:?}");
}

#[test]
fn where_none_is_there_a_gap_is_noted_and_the_walk_goes_on_behind_it() {
    let (mut stage, _) = doubtful();
    let action = answer(&mut stage, Ok(Older::None { outside: false }));
    to_page(&mut stage, action);
    let gaps: Vec<_> = stage.missed.iter().map(|gap| (gap.from, gap.to, gap.reason)).collect();
    let from = NOW - days(3) - OVERLAP;
    assert_eq!(gaps, [(from, NOW - days(1), GapReason::Retention)]);
    assert_eq!(stage.progress(), Progress { position: NOW - days(3), from: NOW - days(1) });
    let action = fetched(&mut stage, NOW - days(1));
    assert!(matches!(&action, Action::Store(keep) if keep.missed.is_none()), "{action:?}");
    assert!(stage.core.streams[0].reconcile.is_on());
}

#[test]
fn a_record_that_is_not_older_is_no_answer_and_shows_that_no_filter_holds() {
    let (mut stage, _) = doubtful();
    let action = answer(&mut stage, Ok(Older::None { outside: true }));
    to_page(&mut stage, action);
    assert_eq!(stage.missed.len(), 1);
    assert_eq!(stage.reason(), Reason::FilterIgnored);
    assert_ne!(stage.core.view(stage.now).health(), Health::Healthy);
    assert!(!stage.core.streams[0].reconcile.is_on(), "nor do counts");
}

#[test]
fn a_run_with_once_tries_a_question_that_fails_a_few_times_and_another_process_for_longer() {
    let wait = Span::minutes(5);
    let tries = |mode| {
        let mut retention = Retention::default();
        (1..999).find(|_| retention.failed(Mono(0), wait, mode))
    };
    assert_eq!(tries(Mode::Once), Some(limits::ONCE_QUESTION_FAILURES_MAX));
    assert_eq!(tries(Mode::Daemon), Some(limits::LONE_FAILURES * limits::LONE_TIMES));
    // What failed before an answer says nothing of the next question.
    let mut retention = Retention::default();
    (1..limits::ONCE_QUESTION_FAILURES_MAX)
        .for_each(|_| _ = retention.failed(Mono(0), wait, Mode::Once));
    retention.is_in_question(NOW - days(9), NOW, NOW, NOW);
    assert_eq!(retention.answered(false), Some((NOW - days(9), NOW)));
    assert!(!retention.failed(Mono(0), wait, Mode::Once));
}
