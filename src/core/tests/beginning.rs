//! Where a stream begins, when that is taken back, and what is believed of a tenant that tells no time.

use super::place_tests::{NOW, OVERLAP, Stage, back, days, fetch_from, stood};
use super::{Action, End, Event, Mode, Opened, Reason};
use crate::record::{Learned, Progress, QueueStatus, Start, StreamStatus};
use crate::time::{Span, Stamp};

/// Nothing was collected from there, so nothing is sent twice for it.
#[test]
fn a_beginning_goes_back_once_the_tenant_alone_takes_its_time_back() {
    let mut stage = Stage::new(Start::Now, stood(NOW + days(2)));
    stage.local = Some(NOW + days(2));
    stage.begin();
    // One answer is no clock yet.
    assert!(matches!(stage.page(&[], None), Action::Fetch(_)));
    back(stage.page(&[], None));
}

/// A stream that has seen records, of a tenant that tells no time, beside these clocks.
fn mute(mode: Mode, position: Stamp, local: Option<Stamp>, sink: Option<Stamp>) -> Stage {
    let progress = Progress { position, from: position - OVERLAP };
    let mut stage = Stage::of(Start::Ago(days(1)), Some(progress), mode);
    (stage.is_mute, stage.local, stage.sink) = (true, local, sink);
    stage.begin();
    stage
}

#[test]
fn once_is_done_at_a_tenant_that_tells_no_time_where_two_others_agree_on_it() {
    let far = NOW + days(365);
    let (done, later) = (Action::Exit(End::Done), Action::Exit(End::TryLater));
    for (local, sink, ends, reason) in [
        (Some(far), None, &later, Reason::TimeUnconfirmed),
        (None, Some(far), &later, Reason::TimeUnconfirmed),
        (Some(far), Some(far), &done, Reason::PollInterval),
    ] {
        let mut stage = mute(Mode::Once, far - days(1), local, sink);
        assert_eq!(&end_of(&mut stage, far - days(1)), ends, "{local:?} {sink:?}");
        let tenant = stage.tenant_reason();
        assert!(reason == Reason::PollInterval || tenant == reason, "{tenant:?}");
    }
    // One of the two says that it stands ahead.
    let mut stage = mute(Mode::Once, far - days(1), Some(far), Some(NOW));
    assert_eq!(end_of(&mut stage, far - days(1)), later);
}

/// What one clock alone says is asked for once more.
fn end_of(stage: &mut Stage, record: Stamp) -> Action {
    match stage.page(&[record], None) {
        Action::Fetch(_) => stage.page(&[], None),
        end => end,
    }
}

#[test]
fn a_position_at_a_tenant_that_tells_no_time_is_set_back_where_two_others_rule_it_out() {
    let far = NOW + days(365);
    let mut agreed = mute(Mode::Daemon, far, Some(NOW), Some(NOW));
    agreed.page(&[], None);
    back(agreed.page(&[], None));
    for sink in [None, Some(NOW - Span::hours(1))] {
        let mut alone = mute(Mode::Daemon, far, Some(NOW), sink);
        alone.page(&[], None);
        let next = alone.page(&[], None);
        assert!(matches!(next, Action::Fetch(_)), "{sink:?}: {next:?}");
        assert_eq!(alone.reason(), Reason::PositionAhead, "{sink:?}: it is told");
    }
}

#[test]
fn a_stream_begins_where_two_answers_and_a_witness_agree() {
    let day = Start::Ago(days(1));
    // Right; the tenant's clock ahead; the local one not there; the local one ahead.
    for (lie, local, begins) in [
        (None, Some(NOW), NOW),
        (Some(Span::hours(30)), Some(NOW), NOW),
        (None, None, NOW),
        (None, Some(NOW + days(400)), NOW),
    ] {
        let mut stage = Stage::new(day, None);
        (stage.lie, stage.local) = (lie, local);
        let from = fetch_from(stage.begin());
        let about = (begins - days(1))..=(begins - days(1) + Span::minutes(2));
        assert!(about.contains(&from), "{lie:?} {local:?}: {from}");
        assert_eq!(stage.infos, 2, "one answer is a claim");
    }
}

#[test]
fn a_start_in_the_future_is_held_and_begins_once_it_is_corrected() {
    let ahead = Start::At(NOW + days(365));
    let mut once = Stage::of(ahead, None, Mode::Once);
    assert_eq!(once.begin(), Action::Exit(End::Misconfigured));
    assert_eq!(once.reason(), Reason::StartAhead);
    // Stored by an earlier version: held likewise, and set back with the right config.
    let mut held = Stage::of(ahead, stood(NOW + days(365)), Mode::Once);
    let mut action = held.begin();
    for _ in 0..3 {
        action = match action {
            Action::Fetch(_) => held.page(&[], None),
            action => action,
        };
    }
    assert_eq!(action, Action::Exit(End::Misconfigured));
    let mut mended = Stage::new(Start::Ago(days(1)), stood(NOW + days(365)));
    mended.begin();
    back(mended.page(&[], None));
    // A little ahead is now.
    let mut near = Stage::new(Start::At(NOW + Span::minutes(8)), None);
    let from = fetch_from(near.begin());
    let ahead = (from.0 - NOW.0) / 1_000_000;
    assert!((-1..=60).contains(&ahead), "{ahead} s");
    // A start that only a wrong local clock calls future begins.
    let mut behind = Stage::new(Start::At(NOW - days(1)), None);
    behind.local = Some(NOW - days(9));
    assert_eq!(fetch_from(behind.begin()), NOW - days(1));
}

/// A position two days ahead of the tenant's clock, which this machine's alone contradicts until the time has
/// passed it.
fn overtaken(sink: Option<Stamp>) -> (Stage, Action) {
    let position = NOW + days(2);
    let progress = Progress { position, from: position - OVERLAP };
    let mut stage = Stage::new(Start::Ago(days(1)), Some(progress));
    stage.local = Some(NOW + days(30));
    stage.begin();
    stage.page(&[], None);
    let mut next = stage.page(&[], None);
    assert_eq!(stage.reason(), Reason::PositionAhead);
    while stage.time() < position {
        assert!(matches!(next, Action::Fetch(_)), "nobody else says so: {next:?}");
        stage.now = stage.now + Span::hours(1);
        next = stage.page(&[], None);
    }
    stage.now = stage.now + Span::hours(5);
    stage.page(&[], None);
    assert_eq!(stage.reason(), Reason::PositionAhead, "what was passed over is still owed");
    stage.sink = sink;
    let next = stage.page(&[], None);
    (stage, next)
}

#[test]
fn a_position_that_the_time_has_passed_is_set_back_once_another_clock_bears_out_that_it_was_ahead()
{
    let (mut stage, next) = overtaken(Some(NOW));
    let set = back(next);
    assert!(set.latest <= NOW + Span::minutes(5) && set.is_open, "{set:?}");
    let from = fetch_from(stage.set_back(&set));
    assert!(from <= NOW - Span::hours(23), "{from}");
    stage.page(&[], None);
    assert_eq!(stage.reason(), Reason::PollInterval);
}

#[test]
fn a_position_is_not_set_back_by_a_clock_that_two_others_contradict_or_that_was_corrected() {
    let (outvoted, next) = overtaken(Some(NOW + days(30)));
    assert!(matches!(next, Action::Fetch(_)), "{next:?}");
    assert_eq!(outvoted.reason(), Reason::PollInterval, "it was never ahead");
    let (mut corrected, next) = overtaken(None);
    assert!(matches!(next, Action::Fetch(_)), "{next:?}");
    corrected.lie = Some(days(3));
    corrected.page(&[], None);
    assert_eq!(corrected.reason(), Reason::PositionAhead, "one answer takes nothing back");
    assert!(matches!(corrected.page(&[], None), Action::Fetch(_)));
    assert_eq!(corrected.reason(), Reason::PollInterval);
}

#[test]
fn coralogix_is_asked_for_its_time_where_no_two_others_agree_on_it() {
    let once = |answer| {
        let progress = Progress { position: NOW + days(2), from: NOW + days(2) - OVERLAP };
        let mut stage = Stage::of(Start::Ago(days(1)), Some(progress), Mode::Once);
        (stage.local, stage.lie) = (Some(NOW + days(4_900)), Some(days(3_650)));
        stage.sink_answer = answer;
        stage.begin();
        let end = end_of(&mut stage, NOW + days(2));
        (end, stage.time_asked)
    };
    assert_eq!(once(Some(NOW)), (Action::Exit(End::TryLater), 1), "it stands ahead");
    assert_eq!(once(Some(NOW + days(3_650))), (Action::Exit(End::Done), 1));

    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    for _ in 0..300 {
        stage.page(&[], None);
    }
    assert_eq!(stage.time_asked, 0, "two agree");
    let mut alone = Stage::new(Start::Now, stood(NOW - days(1)));
    alone.local = None;
    alone.begin();
    let begun = alone.now;
    for _ in 0..300 {
        alone.page(&[], None);
    }
    let hours = alone.now.since(begun).as_ms() / 3_600_000;
    assert!((3..=hours as u32 + 1).contains(&alone.time_asked), "{}", alone.time_asked);
}

#[test]
fn a_position_within_the_reach_of_another_clock_is_not_set_back() {
    // Two seconds between the clocks, and a record dated as far ahead as the later one allows.
    let position = NOW + Span::minutes(10) + Span::seconds(1);
    let progress = Progress { position, from: position - OVERLAP };
    let mut stage = Stage::new(Start::Ago(days(1)), Some(progress));
    stage.local = Some(NOW + Span::seconds(2));
    stage.begin();
    for _ in 0..4 {
        let next = stage.page(&[], None);
        assert!(matches!(next, Action::Fetch(_)), "{next:?}");
    }
    assert_eq!(stage.reason(), Reason::PollInterval);
}

#[test]
fn a_start_that_was_ahead_when_it_was_called_so_holds_nobody_up() {
    let start = NOW + Span::hours(2);
    let mut stage = Stage::new(Start::At(start), stood(start));
    stage.local = Some(NOW + days(30));
    stage.begin();
    while stage.time() < start + Span::hours(1) {
        stage.page(&[], None);
        stage.now = stage.now + Span::minutes(10);
    }
    stage.local = Some(NOW);
    let set = back(stage.page(&[], None));
    assert_eq!(set.begin.from, start);
    stage.set_back(&set);
    stage.page(&[], None);
    assert_eq!(stage.reason(), Reason::PollInterval);
}

#[test]
fn a_queue_that_is_opened_anew_takes_no_doubt_away() {
    let (mut stage, _) = overtaken(None);
    let streams =
        vec![StreamStatus { progress: Some(stage.progress()), ..StreamStatus::default() }];
    let (held, learned) = (QueueStatus::default(), Learned::default());
    let next = stage.after(Event::Opened(Opened { held, streams, learned, unsettled: 0 }));
    assert!(matches!(next, Action::Fetch(_)), "{next:?}");
    stage.page(&[], None);
    assert_eq!(stage.reason(), Reason::PositionAhead, "what was passed over is still owed");
}
