//! What is shown of a lane: its own reason, or what hides behind a good one.

use super::*;
use crate::core::place_tests::{NOW, Stage, days, stood};
use crate::core::throttle::Direction;
use crate::record::{Hold, Progress, Room, Start};
use crate::time::Clocks;
use crate::window::Gate;

fn stage(mode: Mode) -> Stage {
    Stage::of(Start::Now, stood(NOW - days(1)), mode)
}

fn off() -> Option<SinkOff> {
    Some(SinkOff { by: Span::hours(3), is_ahead: true, whose: Whose::Both })
}

#[test]
fn days_left_of_a_token_are_whole_ones_and_known_with_the_time_alone() {
    let mut view = stage(Mode::Daemon).core.view(Mono(1_000_000)).tenants.remove(0);
    let left = |view: &mut TenantView, end, now| {
        (view.token_end, view.confirmed_now) = (end, now);
        view.token_days_left()
    };
    let (second, end) = (Span::seconds(1), NOW + days(5));
    for (now, days_left) in [
        (NOW, 5),
        (NOW + second, 4),
        (NOW + days(3), 2),
        (end - second, 0),
        (end, 0),
        (end + second, -1),
        (end + days(3), -3),
    ] {
        assert_eq!(left(&mut view, Some(end), Some(now)), Some(days_left), "{now:?}");
    }
    assert_eq!(left(&mut view, Some(end), None), None);
    assert_eq!(left(&mut view, None, Some(NOW)), None);
}

#[test]
fn a_stream_lags_behind_the_sources_time() {
    let mut view = stage(Mode::Daemon).core.view(Mono(1_000_000)).streams.remove(0);
    assert_eq!(view.lag(Some(NOW)), Some(days(1)));
    assert_eq!(view.lag(Some(NOW - days(2))), Some(Span::ZERO), "it is ahead of that");
    assert_eq!(view.lag(None), None);
    view.progress = None::<Progress>;
    assert_eq!(view.lag(Some(NOW)), None);
}

#[test]
fn what_no_request_can_change_is_shown_on_a_sink_that_works_and_hides_no_trouble() {
    for (records, failures, reason) in [
        (0, 0, Reason::NothingToSend),
        (0, 1, Reason::KeyRefused),
        (9, 0, Reason::Working),
        (9, 1, Reason::KeyRefused),
    ] {
        let mut stage = stage(Mode::Daemon);
        let core = &mut stage.core;
        core.held.records = records;
        match failures {
            0 => core.sink.lane.succeed(stage.now, Due::At(stage.now), Reason::Working),
            _ => core.sink.lane.fail(stage.now, days(1), Reason::KeyRefused, "HTTP 401".into()),
        }
        let shown = |core: &Core| core.view(stage.now).sink;
        assert_eq!(shown(core).reason, reason);
        core.leave_behind(Some("5 records in queue a".into()));
        let (is_well, lane) = (failures == 0, shown(core));
        let detail = if is_well { "5 records in queue a" } else { "HTTP 401" };
        assert_eq!(lane.reason, if is_well { Reason::QueueLeftBehind } else { reason });
        assert_eq!((lane.detail.as_str(), lane.next_in.is_none()), (detail, is_well));
        core.sink_off = off();
        let lane = shown(core);
        assert_eq!(lane.reason, if is_well { Reason::ClocksDisagree } else { reason });
        assert_eq!(lane.next_in.is_none(), is_well);
    }
}

#[test]
fn clocks_that_disagree_hide_no_trouble_of_a_tenant() {
    let mut stage = stage(Mode::Daemon);
    let clocks = Clocks { local: Some(NOW), sink: Some(NOW) };
    for _ in 0..2 {
        stage.core.tenants[0].clock.observe_date(Some(NOW + days(2)), stage.now, clocks);
    }
    let (now, core) = (stage.now, &mut stage.core);
    core.tenants[0].lane.succeed(now, Due::At(now), Reason::Working);
    assert_eq!(core.view(now).tenants[0].lane.reason, Reason::ClocksDisagree);
    core.tenants[0].lane.fail(now, days(1), Reason::TokenRefused, "HTTP 401".into());
    let lane = &core.view(now).tenants[0].lane;
    assert_eq!((lane.reason, lane.detail.as_str()), (Reason::TokenRefused, "HTTP 401"));
}

#[test]
fn a_stream_is_as_well_as_what_it_waits_for() {
    let mut stage = stage(Mode::Daemon);
    let (now, core) = (stage.now, &mut stage.core);
    core.streams[0].lane.succeed(now, Due::At(now), Reason::Working);
    let reason = |core: &Core| core.view(now).streams[0].lane.reason;
    assert_eq!(reason(core), Reason::Working);
    for (room, shown) in [(Room::QueueFull, Reason::QueueFull), (Room::DiskLow, Reason::DiskLow)] {
        core.held.room = room;
        assert_eq!(reason(core), shown);
    }
    core.tenants[0].lane.fail(now, days(1), Reason::TokenRefused, "HTTP 401".into());
    assert_eq!(reason(core), Reason::TokenRefused);
    let [was, is] = ["https://a", "https://b"].map(str::to_owned);
    core.streams[0].hold = Some(Hold::TenantChanged { was, now: is, other: None });
    let lane = &core.view(now).streams[0].lane;
    assert_eq!((lane.reason, lane.next_in), (Reason::TenantChanged, None));
}

#[test]
fn a_run_with_once_that_nothing_speaks_against_shows_no_doubt() {
    for mode in [Mode::Once, Mode::Daemon] {
        let mut stage = stage(mode);
        stage.begin();
        assert_eq!(stage.reason().health(), Health::Healthy, "{mode:?}: {:?}", stage.reason());
    }
}

#[test]
fn a_window_or_a_rate_is_shown_if_it_is_what_a_lane_waits_for_longest() {
    let (closed, now) = (Mono(1_000_000), Mono(1_060_000));
    let opens = now + Span::minutes(9);
    let mut windows = Direction::new(None);
    windows.notice(closed, closed, Gate::Closed { opens }, 0);
    let mut rate = Direction::new(Some(1_000));
    rate.notice(now, now, Gate::Open, 0);
    rate.notice(now, now, Gate::Open, 540_000);
    let lane = |reason, wait| {
        let mut lane = Lane::new(Mono(1_050_000), Span::ZERO);
        lane.rest(now, wait, reason);
        LaneView::of(&lane, now)
    };
    let soon = Due::At(now + Span::minutes(1));
    for (direction, reason, since) in
        [(&windows, Reason::Window, Span::minutes(1)), (&rate, Reason::MaxRate, Span::ZERO)]
    {
        for due in [soon, Due::Never, Due::At(Mono(opens.0 - 1))] {
            let before = lane(Reason::PollInterval, due);
            let shown = before.clone().held_up(direction, now);
            assert_eq!((shown.reason, shown.next_in), (reason, Some(Span::minutes(9))));
            assert_eq!(shown.for_span, since, "{due:?}");
        }
        for (own, due) in [
            (Reason::PollInterval, Due::At(opens)),
            (Reason::PollInterval, Due::At(opens + Span::minutes(1))),
            (Reason::Busy, soon),
        ] {
            let before = lane(own, due);
            assert_eq!(before.clone().held_up(direction, now), before);
        }
    }
    assert_eq!(
        lane(Reason::PollInterval, soon).held_up(&Direction::new(None), now).reason,
        Reason::PollInterval
    );
}
