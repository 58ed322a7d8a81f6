//! What the core makes of windows, rates and the order of streams.

use super::*;
use crate::record::{
    Kind, Opened, Progress, QueuePosition, RowKey, Sent, Seq, SinkVerdict, Start, StreamStatus,
    WriteMode,
};
use crate::window::Bounds;

const BEGIN: Mono = Mono(1_000_000);

fn date() -> Stamp {
    Stamp::from_seconds(1_800_000_000)
}

fn core(records: u64, bounds: Bounds) -> Core {
    let stream = |kind| StreamPlan {
        tenant: 0,
        kind,
        poll_interval: Span::minutes(1),
        start: Start::Now,
        overlap: Span::minutes(1),
        reconcile: Span::ZERO,
    };
    let plan = Plan {
        tenants: 1,
        streams: vec![stream(Kind::Activities), stream(Kind::Threats)],
        retry_min: Span::seconds(1),
        retry_max: Span::minutes(1),
        mode: Mode::Daemon,
        write: WriteMode::Always,
        heartbeat: None,
        bounds,
        tally_ids: None,
    };
    let progress = Some(Progress { position: date(), from: date() });
    let streams = vec![StreamStatus { progress, ..StreamStatus::default() }; 2];
    let held = QueueStatus { records, ..QueueStatus::default() };
    Core::new(plan, 7, BEGIN, Opened { held, streams, learned: Learned::default(), unsettled: 0 })
}

/// All clocks tell the same time.
fn base() -> Tick {
    Tick { clocks: Clocks { local: Some(date()), sink: None }, ..Tick::default() }
}

fn sent() -> Event {
    let end = QueuePosition { seq: Seq(1), skip: 0 };
    let sent = Sent { first: QueuePosition::default(), end, entries: 5, own: 0, raw_bytes: 9 };
    Event::Sent { sent, verdict: SinkVerdict::Accepted { remark: None } }
}

#[test]
fn outside_of_its_windows_a_direction_rests_and_the_other_does_not() {
    let opens = BEGIN + Span::hours(5);
    let mut core = core(5, Bounds::default());
    let mut now = BEGIN;
    let mut event = Event::Woke;
    let (mut fetched, mut done) = (0, 0);
    while now < opens {
        let tick = Tick { now, delivery: Gate::Closed { opens }, ..base() };
        event = match core.step(&tick, event) {
            Action::Sleep { until, .. } => {
                assert!(until > now && until <= opens, "{until:?}");
                now = until;
                Event::Woke
            }
            Action::Fetch(Fetch { stream, .. }) => {
                fetched += 1;
                let page = Ok(PageFacts { keys: vec![], next: None, date: Some(date()) });
                Event::Fetched { stream, page }
            }
            Action::TokenEnd { tenant } => Event::TokenEnds { tenant, end: None },
            other => panic!("{other:?}"),
        };
        done += 1;
        assert!(done < 5_000, "it spins");
    }
    assert!(fetched > 100, "{fetched}");
    let view = core.view(BEGIN + Span::hours(4));
    assert_eq!((view.sink.reason, view.sink.next_in), (Reason::Window, Some(Span::hours(1))));
    assert_eq!(view.sink.for_span, Span::hours(4));
    let tick = Tick { now: opens, poll_now: true, ..base() };
    assert!(matches!(core.step(&tick, Event::Woke), Action::Send(_)));
}

#[test]
fn nobodys_hurry_opens_a_window() {
    let opens = BEGIN + Span::hours(5);
    let mut core = core(5, Bounds::default());
    let closed = Gate::Closed { opens };
    let changed = vec![CredentialId::Key, CredentialId::Token(0)];
    let now = BEGIN + Span::hours(1);
    let tick = Tick { now, poll_now: true, changed, delivery: closed, polling: closed, ..base() };
    let action = core.step(&tick, Event::Woke);
    let Action::Sleep { until, reason } = action else { panic!("{action:?}") };
    assert!(until <= now + Span::seconds(limits::SLEEP_SECONDS_MAX), "it looks again: {reason:?}");
}

#[test]
fn a_batch_is_followed_by_the_pause_that_its_bytes_cost() {
    let bounds =
        Bounds { delivery_rate: Some(1_000), body_raw_bytes: Some(30_000), ..Bounds::default() };
    let mut core = core(5, bounds);
    let begun = BEGIN + Span::seconds(1);
    let polling = Gate::Closed { opens: BEGIN + Span::hours(9) };
    let tick = |now, sent| Tick { now, sent, polling, ..base() };
    core.step(&tick(BEGIN, 77), Event::Woke);
    let Action::Send(take) = core.step(&tick(begun, 77), Event::Woke) else { panic!("due") };
    assert_eq!(take.raw_bytes_max, 30_000);
    let now = begun + Span::seconds(2);
    assert!(matches!(core.step(&tick(now, 5_077), sent()), Action::Ack { .. }));
    let held = QueueStatus { records: 5, ..QueueStatus::default() };
    let action = core.step(&tick(now, 5_077), Event::Stored(Ok(held)));
    let rested = Action::Sleep { until: begun + Span::seconds(5), reason: Reason::MaxRate };
    assert_eq!(action, rested);
    assert_eq!(core.view(now).sink.reason, Reason::MaxRate);
    let now = begun + Span::seconds(5);
    assert!(matches!(core.step(&tick(now, 5_077), Event::Woke), Action::Send(_)));
}

/// The streams in the order in which their pages are asked for, three pages each.
fn fetched(bounds: Bounds, fail_first: bool) -> Vec<Kind> {
    let mut core = core(0, bounds);
    let (mut now, mut event, mut pages) = (BEGIN, Event::Woke, vec![]);
    let kinds = [Kind::Activities, Kind::Threats];
    while pages.len() < 6 {
        let tick = Tick { now, ..base() };
        event = match core.step(&tick, event) {
            Action::Sleep { until, .. } => {
                now = until;
                Event::Woke
            }
            Action::Fetch(Fetch { stream, .. }) => {
                pages.push(kinds[stream]);
                let n = pages.iter().filter(|kind| **kind == kinds[stream]).count() as u64;
                let broken = Err(SourceTrouble::BrokenAnswer("500".to_owned()));
                let page = match fail_first && kinds[stream] == Kind::Threats {
                    true => broken,
                    false => Ok(PageFacts {
                        keys: vec![RowKey { stamp: date() + Span(n), id: n }],
                        next: (n < 3).then(|| crate::record::Cursor("c".to_owned())),
                        date: Some(date() + Span::minutes(1)),
                    }),
                };
                Event::Fetched { stream, page }
            }
            Action::Store(_) => Event::Stored(Ok(QueueStatus::default())),
            Action::TokenEnd { tenant } => Event::TokenEnds { tenant, end: None },
            other => panic!("{other:?}"),
        };
    }
    pages
}

#[test]
fn a_stream_that_is_named_first_is_read_to_its_end_first_and_holds_up_nobody_in_trouble() {
    use Kind::{Activities, Threats};
    let turns = fetched(Bounds::default(), false);
    assert_eq!(turns, [Activities, Threats, Activities, Threats, Activities, Threats]);
    let first = || Bounds { order: vec![Threats], ..Bounds::default() };
    let ordered = fetched(first(), false);
    assert_eq!(ordered, [Threats, Threats, Threats, Activities, Activities, Activities]);
    let failing = fetched(first(), true);
    assert!(failing[..4].contains(&Activities), "{failing:?}");
}
