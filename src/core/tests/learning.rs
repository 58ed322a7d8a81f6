//! What is written for the next process, and when.

use super::*;
use crate::core::place_tests::*;
use crate::core::reconcile::List;
use crate::core::{Event, PageFacts, Tick};
use crate::record::{
    Bears, Lone, QueuePosition, QueueStatus, RowKey, RowPlace, Seq, SourceTrouble, Start, Way,
};
use crate::time::{Clocks, Span, Stamp};

/// One step, with the action that it leads to.
fn step(stage: &mut Stage, event: Event) -> Action {
    let clocks = Clocks { local: Some(stage.time()), sink: None };
    let action = stage.core.step(&Tick { now: stage.now, clocks, ..Tick::default() }, event);
    if let Action::Sleep { until, .. } = &action {
        stage.now = *until;
    }
    action
}

fn asking(stage: &mut Stage) -> Option<Option<u32>> {
    stage.core.news().map(|learned| learned.streams[0].asking)
}

fn page(stage: &Stage, keys: Vec<RowKey>) -> Event {
    Event::Fetched { stream: 0, page: Ok(PageFacts { keys, next: None, date: Some(stage.time()) }) }
}

/// A stage that asks for its first page.
fn asked() -> Stage {
    let mut stage = Stage::new(Start::Now, stood(NOW - Span::hours(1)));
    assert!(matches!(stage.begin(), Action::Fetch(_)));
    stage
}

#[test]
fn a_page_larger_than_any_before_is_noted_before_it_is_requested_and_once() {
    let mut stage = asked();
    assert_eq!(asking(&mut stage), Some(Some(1_000)));
    // It is requested again after a failure: nothing is written for that.
    let reset = SourceTrouble::busy(None);
    let mut action = step(&mut stage, Event::Fetched { stream: 0, page: Err(reset) });
    while !matches!(action, Action::Fetch(_)) {
        assert_eq!(asking(&mut stage), None, "{action:?}");
        action = match action {
            Action::Info { tenant } => {
                step(&mut stage, Event::Informed { tenant, result: Ok(Some(NOW)) })
            }
            _ => step(&mut stage, Event::Woke),
        };
    }
    assert_eq!(asking(&mut stage), None);
    // It came, but while it is not stored it is in memory.
    let keys = vec![RowKey { stamp: NOW - Span::minutes(9), id: 1 }];
    let came = page(&stage, keys);
    assert!(matches!(step(&mut stage, came), Action::Store(_)));
    assert_eq!(asking(&mut stage), None);
    step(&mut stage, Event::Stored(Ok(QueueStatus::default())));
    assert_eq!(asking(&mut stage), Some(None));
    // And from then on a page as large is none that ended a process.
    stage.page(&[], None);
    assert_eq!(asking(&mut stage), None);
}

#[test]
fn a_process_that_ends_in_order_leaves_no_note_of_a_page() {
    let mut stage = asked();
    assert_eq!(asking(&mut stage), Some(Some(1_000)));
    let failed = Event::Fetched { stream: 0, page: Err(SourceTrouble::busy(None)) };
    let stop = Tick { now: stage.now, stop: true, ..Tick::default() };
    assert!(matches!(stage.core.step(&stop, failed), Action::Exit(_)));
    assert_eq!(asking(&mut stage), Some(None));
}

#[test]
fn a_list_larger_than_any_page_is_noted_too() {
    let mut stage = asked();
    let list = |rows_max| {
        let (from, to) = (Stamp::EPOCH, NOW);
        Action::List(List { stream: 0, from, to, cursor: None, rows_max })
    };
    stage.core.note_asking(&list(500));
    assert_eq!(asking(&mut stage), Some(Some(500)));
    // One row is no size that a process could do without.
    stage.core.note_asking(&list(1));
    assert_eq!(asking(&mut stage), Some(None));
}

#[test]
fn the_note_of_a_page_is_that_of_its_stream() {
    let mut stage = asked();
    let other = stage.core.streams[0].clone();
    stage.core.streams.push(other);
    let asked = stage.core.news().unwrap().streams.iter().map(|stream| stream.asking);
    assert_eq!(asked.collect::<Vec<_>>(), [Some(1_000), None]);
}

#[test]
fn a_size_is_written_again_once_it_has_halved_or_doubled() {
    for (before, after, is_written) in [
        (Some(100), Some(100), false),
        (Some(100), Some(199), false),
        (Some(100), Some(200), true),
        (Some(100), Some(51), false),
        (Some(100), Some(50), true),
        (Some(3), Some(5), false),
        (Some(5), Some(3), false),
        (Some(1), Some(2), true),
        (None, Some(1), true),
        (Some(1), None, true),
        (None, None, false),
    ] {
        assert_eq!(is_other(before, after), is_written, "{before:?} {after:?}");
    }
}

#[test]
fn everything_that_is_learned_is_news_and_a_size_that_is_about_the_same_is_none() {
    let none = Learned { streams: vec![StreamLearned::default(); 2], ..Learned::default() };
    assert!(!is_news(&none, &none.clone()));
    let sink = |sink| Learned { sink, ..none.clone() };
    let stream =
        |stream| Learned { streams: vec![StreamLearned::default(), stream], ..none.clone() };
    let of_sink = SinkLearned::default();
    let of_stream = StreamLearned::default();
    let at = RowPlace { from: NOW, is_after: false };
    let (way, tries, for_ms) = (Way::Failed, 1, Span::ZERO);
    let entry = Lone { at: QueuePosition { seq: Seq(1), skip: 0 }, way, tries, for_ms };
    for learned in [
        sink(SinkLearned { lone: Some(entry), ..of_sink }),
        sink(SinkLearned { body_bytes: Some(1 << 20), ..of_sink }),
        sink(SinkLearned { body_entries: Some(100), ..of_sink }),
        stream(StreamLearned { asking: Some(1_000), ..of_stream }),
        stream(StreamLearned { lone: Some(Lone { at, way, tries, for_ms }), ..of_stream }),
        stream(StreamLearned { bears: Some(Bears { rows: 500, after: 64 }), ..of_stream }),
        stream(StreamLearned { confirmed: Some(NOW), ..of_stream }),
        stream(StreamLearned { is_beginning: true, ..of_stream }),
        stream(StreamLearned { rows: Some(500), ..of_stream }),
        Learned { streams: vec![], ..none.clone() },
    ] {
        assert!(is_news(&none, &learned) && is_news(&learned, &none), "{learned:?}");
        assert!(!is_news(&learned, &learned.clone()), "{learned:?}");
    }
    let body = |bytes| sink(SinkLearned { body_bytes: Some(bytes), ..of_sink });
    assert!(!is_news(&body(1_000), &body(1_900)));
}
