//! How a run with `--once` ends, and how often it tries before that.

use super::tests::{AT, DONE, Driver, held, page, rows};
use super::*;
use crate::record::{NetTrouble, Refusal, Refused, Seq, Start};

const TRIES: u32 = limits::ONCE_FAILURES_MAX;

/// What is answered to each action, and what was asked for.
struct Run {
    driver: Driver,
    held: QueueStatus,
    /// Pages of each stream, all but the last with a cursor.
    pages: u32,
    fetched: u32,
    measured: u32,
    noted: u32,
    sent: u32,
    /// The room that is measured, the last one from then on.
    rooms: Vec<Room>,
    /// So long each answer takes.
    took: Span,
    note: fn(u32, &mut QueueStatus) -> Option<StoreTrouble>,
    verdict: SinkVerdict,
    trial: KeyTrial,
    trouble: Option<SourceTrouble>,
    info: Result<Option<Stamp>, SourceTrouble>,
}

impl Run {
    fn new() -> Run {
        Run {
            driver: Driver::new(Mode::Once, Start::Now, Some(DONE)),
            held: held(0, Room::Free),
            pages: 1,
            fetched: 0,
            measured: 0,
            noted: 0,
            sent: 0,
            rooms: vec![],
            took: Span::ZERO,
            note: |_, held| {
                held.unreported = held.unreported.saturating_sub(1);
                None
            },
            verdict: SinkVerdict::Accepted { remark: None },
            trial: KeyTrial::Good,
            trouble: None,
            info: Ok(Some(AT + Span::hours(1))),
        }
    }

    fn end(&mut self) -> End {
        self.driver.core.hold(self.held);
        let mut action = self.driver.go(Event::Woke);
        loop {
            self.driver.now = self.driver.now + self.took;
            let event = match action {
                Action::Exit(end) => return end,
                Action::Fetch(Fetch { stream, .. }) => {
                    self.fetched += 1;
                    let next = format!("page {}", self.fetched);
                    let is_last = self.fetched > 2 * (self.pages - 1);
                    let new = rows(u64::from(self.fetched)).split_off(self.fetched as usize - 1);
                    let page = page(new, (!is_last).then_some(&next));
                    Event::Fetched { stream, page: self.trouble.clone().map_or(page, Err) }
                }
                Action::Store(_) => Event::Stored(Ok(self.held)),
                Action::Measure => {
                    self.measured += 1;
                    if !self.rooms.is_empty() {
                        self.held.room = self.rooms.remove(0);
                    }
                    Event::Measured(self.held)
                }
                Action::Note(_) => {
                    self.noted += 1;
                    let trouble = (self.note)(self.noted, &mut self.held);
                    Event::Noted(trouble.map_or(Ok(self.held), Err))
                }
                Action::Send(_) => {
                    self.sent += 1;
                    let end = QueuePosition { seq: Seq(1), skip: self.sent };
                    let first = QueuePosition::default();
                    let sent = Sent { first, end, entries: 1, own: 0, raw_bytes: 9 };
                    Event::Sent { sent, verdict: self.verdict.clone() }
                }
                Action::Ack { .. } | Action::Doubt { .. } => {
                    self.held.records -= 1;
                    Event::Stored(Ok(self.held))
                }
                Action::TryKey => Event::KeyTried(self.trial.clone()),
                Action::Info { tenant } => Event::Informed { tenant, result: self.info.clone() },
                Action::AskTime => Event::Woke,
                other => panic!("{other:?}"),
            };
            action = self.driver.go(event);
        }
    }
}

fn away() -> NetTrouble {
    NetTrouble::Connect("connection refused".into())
}

#[test]
fn without_space_it_ends_after_some_measurements() {
    for room in [Room::QueueFull, Room::DiskLow] {
        let mut run = Run { held: held(0, room), ..Run::new() };
        assert_eq!(run.end(), End::TryLater);
        assert_eq!((run.measured, run.fetched), (TRIES + 1, 0), "{room:?}");
    }
}

#[test]
fn with_space_again_it_goes_on_and_counts_anew() {
    let full = Room::QueueFull;
    let mut rooms = vec![full; TRIES as usize];
    rooms.push(Room::Free);
    let mut run = Run { held: held(0, full), rooms, ..Run::new() };
    assert_eq!((run.end(), run.fetched, run.measured), (End::Done, 2, TRIES + 1));
    // It is full again after the first page.
    run.driver.core.streams.iter_mut().for_each(|stream| stream.caught_up = false);
    (run.measured, run.held.room) = (0, full);
    assert_eq!((run.end(), run.measured), (End::TryLater, TRIES + 1));
}

#[test]
fn what_waits_is_delivered_though_the_space_does_not_come_back() {
    let took = Span::seconds(20);
    let full = held(20, Room::QueueFull);
    let mut run = Run { held: QueueStatus { unreported: 1, ..full }, took, ..Run::new() };
    assert_eq!(run.end(), End::TryLater);
    assert!(run.measured > TRIES + 1 && run.sent == 20, "{} {}", run.measured, run.sent);
}

#[test]
fn a_sink_that_is_given_up_keeps_no_page_from_being_collected() {
    let (took, verdict) = (Span::seconds(9), SinkVerdict::Unreachable(away()));
    let mut run = Run { held: held(5, Room::Free), pages: 10, took, verdict, ..Run::new() };
    assert_eq!(run.end(), End::TryLater);
    assert_eq!(run.fetched, 20);
    assert!((2..=TRIES).contains(&run.sent), "{}", run.sent);
}

#[test]
fn a_gap_that_can_not_be_reported_is_left_to_the_next_run() {
    let unreported = |unreported| QueueStatus { unreported, ..held(0, Room::Free) };
    let mut run = Run { held: unreported(1), note: |_, _| None, ..Run::new() };
    run.note = |_, _| Some(StoreTrouble::Failed("EIO".into()));
    assert_eq!((run.end(), run.noted, run.fetched), (End::TryLater, TRIES, 2));
    assert!(run.driver.longest >= Span::seconds(1), "it is not tried again at once");
    // Without space.
    let mut run = Run { held: unreported(1), ..Run::new() };
    run.note = |_, held| {
        held.room = Room::DiskLow;
        Some(StoreTrouble::Full(*held))
    };
    let begun = run.driver.now;
    assert_eq!((run.end(), run.noted, run.measured), (End::TryLater, 1, TRIES + 1));
    let checks = Span::seconds(limits::ROOM_CHECK_SECONDS);
    let passed = run.driver.now.since(begun);
    assert!(passed >= checks.times(u64::from(TRIES) + 1), "it was just measured: {passed}");
    // With failures in between all are reported in the end.
    let mut run = Run { held: unreported(2), ..Run::new() };
    run.note = |noted, held| match noted % TRIES {
        0 => {
            held.unreported -= 1;
            None
        }
        _ => Some(StoreTrouble::Failed("EIO".into())),
    };
    assert_eq!((run.end(), run.noted), (End::Done, 2 * TRIES));
}

#[test]
fn several_pages_of_gaps_are_reported_one_right_after_the_other() {
    let mut run = Run { held: QueueStatus { unreported: 9, ..held(0, Room::Free) }, ..Run::new() };
    let begun = run.driver.now;
    assert_eq!((run.end(), run.noted), (End::Done, 9));
    assert!(run.driver.now.since(begun) < Span::seconds(4));
}

#[test]
fn the_way_it_ends_says_what_has_to_be_done() {
    let refused = SinkVerdict::KeyRefused("HTTP 401".into());
    let doubt = SinkVerdict::InDoubt { words: "1 log".into(), count: Some(1) };
    for (records, verdict, trial, end) in [
        (3, SinkVerdict::Accepted { remark: None }, KeyTrial::Good, End::Done),
        (1, doubt, KeyTrial::Good, End::InDoubt),
        (3, refused.clone(), KeyTrial::Refused(refused), End::Refused),
        (3, SinkVerdict::Unreachable(away()), KeyTrial::Good, End::TryLater),
        (3, SinkVerdict::Misdirected("HTTP 404".into()), KeyTrial::Good, End::TryLater),
    ] {
        let mut run = Run { held: held(records, Room::Free), verdict, trial, ..Run::new() };
        assert_eq!((run.end(), run.fetched), (end, 2));
    }
    let words = "HTTP 403".to_owned();
    let doubted = SourceTrouble::TokenDoubted("HTTP 401".into());
    for (trouble, info, end) in [
        (
            SourceTrouble::Forbidden(Refusal { what: Refused::Permission, words }),
            Ok(Some(AT + Span::hours(1))),
            End::Refused,
        ),
        (doubted, Err(SourceTrouble::TokenRefused("HTTP 401".into())), End::Refused),
        (SourceTrouble::Unreachable(away()), Ok(None), End::TryLater),
    ] {
        let mut run = Run { trouble: Some(trouble.clone()), info, ..Run::new() };
        assert_eq!(run.end(), end, "{trouble:?}");
    }
}

#[test]
fn each_stream_is_tried_a_few_times() {
    let trouble = Some(SourceTrouble::Unreachable(away()));
    let mut run = Run { trouble, ..Run::new() };
    assert_eq!((run.end(), run.fetched), (End::TryLater, 2 * TRIES));
}

#[test]
fn a_queue_that_breaks_again_and_again_ends_it() {
    let mut driver = Driver::new(Mode::Once, Start::Now, Some(DONE));
    driver.core.held.records = 1;
    let (mut action, mut broken) = (driver.go(Event::Woke), 0);
    loop {
        action = match action {
            Action::Exit(end) => break assert_eq!(end, End::TryLater),
            Action::Fetch(Fetch { stream, .. }) => {
                driver.go(Event::Fetched { stream, page: page(vec![], None) })
            }
            Action::Send(_) => {
                broken += 1;
                driver.go(Event::Opened(super::tests::opened(Some(DONE), 1)))
            }
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(broken, limits::ONCE_REPAIRS_MAX);
}

#[test]
fn it_makes_one_heartbeat_when_nothing_else_is_left() {
    for (mode, notes) in [(Mode::Once, 1..=1), (Mode::Daemon, 100..=130)] {
        let mut driver = Driver::new(mode, Start::Now, Some(DONE));
        driver.core.plan.heartbeat = Some(Span::seconds(30));
        driver.core.notes = SelfReports::new(&driver.core.plan, driver.now);
        let (begun, mut fetched, mut noted) = (driver.now, 0, 0);
        let mut action = driver.go(Event::Woke);
        while driver.now.since(begun) < Span::hours(1) {
            action = match action {
                Action::Exit(end) => {
                    assert_eq!((end, mode), (End::Done, Mode::Once));
                    break;
                }
                Action::Fetch(Fetch { stream, .. }) => {
                    fetched += 1;
                    driver.go(Event::Fetched { stream, page: page(vec![], None) })
                }
                Action::Note(SelfReport::Heartbeat(_)) => {
                    noted += 1;
                    assert!(fetched >= 2 || mode == Mode::Daemon);
                    assert!(driver.now.since(begun) < Span::minutes(1) || noted > 1);
                    driver.go(Event::Noted(Ok(held(0, Room::Free))))
                }
                Action::TokenEnd { tenant } => driver.go(Event::TokenEnds { tenant, end: None }),
                Action::AskTime => driver.go(Event::Woke),
                other => panic!("{other:?}"),
            };
        }
        assert!(notes.contains(&noted), "{mode:?}: {noted}");
    }
}

#[test]
fn an_unreported_gap_waits_for_space_as_long_as_pages_do() {
    let mut run = Run::new();
    assert_eq!(run.end(), End::Done);
    run.held = QueueStatus { unreported: 1, ..held(0, Room::QueueFull) };
    assert_eq!(run.end(), End::TryLater);
    assert_eq!((run.measured, run.noted), (TRIES + 1, 0));
}

#[test]
fn a_report_that_finds_no_space_waits_until_there_is_some() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let unreported = |room| QueueStatus { unreported: 1, ..held(0, room) };
    driver.core.hold(unreported(Room::Free));
    assert_eq!(driver.go(Event::Woke), Action::Note(SelfReport::Gaps));
    let full = StoreTrouble::Full(unreported(Room::QueueFull));
    assert_eq!(driver.go(Event::Noted(Err(full))), Action::Measure);
}
