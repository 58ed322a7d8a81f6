//! The lanes beside one another: who is next, what a sleep waits for, and what each event does to which.

use super::tests::{AT, DONE, Driver, held, opened, page, tick_at};
use super::*;
use crate::record::{NetTrouble, Progress, RowKey, Seq, Start, WriteMode};

const HOUR: Span = Span::hours(1);

fn accepted() -> SinkVerdict {
    SinkVerdict::Accepted { remark: None }
}

fn away() -> SinkVerdict {
    SinkVerdict::Unreachable(NetTrouble::Connect("connection refused".into()))
}

fn sent(entries: u32) -> Sent {
    let end = QueuePosition { seq: Seq(1), skip: entries };
    Sent { first: QueuePosition::default(), end, entries, own: 0, raw_bytes: 9 }
}

/// With its streams up to date for an hour, and what it does before that.
fn resting(records: u64) -> Driver {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let (core, now) = (&mut driver.core, driver.now);
    for stream in &mut core.streams {
        stream.caught_up = true;
        stream.lane.succeed(now, Due::At(now + HOUR), Reason::PollInterval);
    }
    core.sink.lane.succeed(now, Due::At(now), Reason::Working);
    core.tenants[0].lane.succeed(now, Due::At(now), Reason::Working);
    core.time_due = now + HOUR + HOUR;
    core.held.records = records;
    driver
}

impl Driver {
    /// The action after an event, which may be a sleep.
    fn step(&mut self, event: Event) -> Action {
        self.core.step(&tick_at(self.now), event)
    }

    fn sink(&self) -> LaneView {
        self.core.view(self.now).sink
    }
}

#[test]
fn a_sleep_ends_with_the_first_thing_that_may_be_done() {
    let ends = |driver: &mut Driver| match driver.step(Event::Woke) {
        Action::Sleep { until, .. } => until.since(driver.now),
        other => panic!("{other:?}"),
    };
    let longest = Span::seconds(limits::SLEEP_SECONDS_MAX);
    assert_eq!(ends(&mut resting(0)), longest);
    let mut driver = resting(0);
    driver.core.tenants[0].token_end_due = Due::At(driver.now + Span::seconds(20));
    assert_eq!(ends(&mut driver), Span::seconds(20), "the end of a token");
    driver.core.tenants[0].lane.due = Due::At(driver.now + Span::seconds(30));
    assert_eq!(ends(&mut driver), Span::seconds(30), "nor before the tenant may be asked");
    let mut driver = resting(0);
    driver.core.plan.heartbeat = Some(Span::seconds(25));
    driver.core.notes = SelfReports::new(&driver.core.plan, driver.now);
    assert_eq!(ends(&mut driver), Span::seconds(25), "a heartbeat");
    let mut driver = resting(0);
    let stream = &mut driver.core.streams[1];
    stream.reconcile = reconcile::Reconcile::new(HOUR, None, driver.now);
    stream.reconcile.lane.due = Due::At(driver.now + Span::seconds(15));
    assert_eq!(ends(&mut driver), Span::seconds(15), "a count");
    let mut driver = resting(0);
    driver.core.streams[1].lane.due = Due::At(driver.now + Span::seconds(10));
    assert_eq!(ends(&mut driver), Span::seconds(10), "a poll");
    let mut driver = resting(1);
    driver.core.sink.lane.due = Due::At(driver.now + Span::seconds(5));
    assert_eq!(ends(&mut driver), Span::seconds(5), "a batch");
}

#[test]
fn a_wish_long_after_the_last_use_is_granted_at_once() {
    let mut driver = resting(5);
    let answer = Event::Sent { sent: sent(5), verdict: away() };
    assert!(matches!(driver.step(Event::Woke), Action::Send(_)));
    let wishes = |driver: &Driver| Tick { poll_now: true, ..tick_at(driver.now) };
    let core = &mut driver.core;
    assert!(matches!(core.step(&tick_at(driver.now), answer), Action::Sleep { .. }));
    // A tenant's own question fails too.
    core.tenants[0].token = Token::Doubted;
    core.tenants[0].lane.fail(driver.now, HOUR, Reason::Unreachable, String::new());
    core.sink.lane.fail(driver.now, HOUR, Reason::Unreachable, String::new());
    core.streams.iter_mut().for_each(|stream| stream.lane.due = Due::Never);
    for _ in 0..5 {
        driver.now = driver.now + Span::minutes(1);
        assert!(matches!(driver.step(Event::Woke), Action::Sleep { .. }));
    }
    driver.now = driver.now + Span::minutes(1);
    let first = driver.core.step(&wishes(&driver), Event::Woke);
    let second = driver.step(Event::Woke);
    let asked = [&first, &second];
    assert!(asked.contains(&&Action::Info { tenant: 0 }), "{asked:?}");
    assert!(asked.iter().any(|action| matches!(action, Action::Send(_))), "{asked:?}");
}

#[test]
fn a_batch_that_is_put_off_again_and_again_is_tried_with_an_empty_array() {
    let mut driver = resting(5);
    let mut action = driver.go(Event::Woke);
    for _ in 0..limits::BATCH_BUSY_IN_A_ROW {
        assert!(matches!(action, Action::Send(_)), "{action:?}");
        let verdict = SinkVerdict::Busy { retry_after: None, why: "HTTP 429".into() };
        action = driver.go(Event::Sent { sent: sent(5), verdict });
    }
    assert_eq!(action, Action::TryKey);
}

#[test]
fn a_start_that_is_ahead_is_asked_about_at_long_intervals() {
    let mut driver = Driver::new(Mode::Daemon, Start::At(AT + Span::hours(300)), None);
    let (begun, mut infos, mut event) = (driver.now, 0, Event::Woke);
    while driver.now.since(begun) < Span::hours(3) {
        event = match driver.step(event) {
            Action::Info { tenant } => {
                infos += 1;
                assert!(infos < 100, "at {:?}", driver.now);
                let date = AT + HOUR + driver.now.since(begun);
                Event::Informed { tenant, result: Ok(Some(date)) }
            }
            Action::Sleep { until, .. } => {
                driver.now = until;
                Event::Woke
            }
            Action::TokenEnd { tenant } => Event::TokenEnds { tenant, end: None },
            Action::AskTime => Event::Woke,
            other => panic!("{other:?}"),
        };
    }
    // Each time after three quarters of `retry.max` at least, which is five minutes.
    assert!((30..=60).contains(&infos), "{infos}");
    assert_eq!(driver.core.view(driver.now).streams[0].lane.reason, Reason::StartAhead);
}

#[test]
fn the_end_of_a_token_is_asked_for_once_pages_come() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let (begun, mut asked) = (driver.now, 0);
    let end = AT + Span::hours(99);
    let mut action = driver.go(Event::Woke);
    while driver.now.since(begun) < Span::hours(5) {
        action = match action {
            Action::Fetch(Fetch { stream, .. }) => {
                driver.go(Event::Fetched { stream, page: page(vec![], None) })
            }
            Action::TokenEnd { tenant } => {
                asked += 1;
                driver.go(Event::TokenEnds { tenant, end: Some(end) })
            }
            Action::AskTime => driver.go(Event::Woke),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(asked, 1);
    let shown = |driver: &Driver| driver.core.view(driver.now).tenants[0].token_end;
    assert_eq!(shown(&driver), Some(end));
    driver.step(Event::TokenEnds { tenant: 0, end: None });
    assert_eq!(shown(&driver), Some(end), "what was not told this time");
}

#[test]
fn a_page_of_a_new_size_is_noted_before_it_is_asked_for() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let Action::Fetch(Fetch { stream, rows_max, .. }) = driver.go(Event::Woke) else { panic!() };
    let learned = driver.core.news().expect("the next process has to know");
    assert_eq!(learned.streams[stream].asking, Some(rows_max));
    assert!(driver.core.news().is_none(), "it is written once");
}

#[test]
fn an_answer_is_as_slow_as_it_was_long_in_coming() {
    let mut driver = resting(5);
    let sink = std::mem::replace(&mut driver.core.sink, Sink::new(Lane::new(driver.now, HOUR)));
    driver.core.sink = sink.within(None, Some(Span::minutes(1)));
    let Action::Send(take) = driver.go(Event::Woke) else { panic!() };
    driver.now = driver.now + Span::seconds(50);
    let sent = Sent { raw_bytes: take.raw_bytes_max, ..sent(5) };
    driver.step(Event::Sent { sent, verdict: accepted() });
    let next = driver.core.sink.take().raw_bytes_max;
    assert_eq!(next, take.raw_bytes_max * 30 / 50, "what takes half of a minute");
}

#[test]
fn a_page_that_a_broken_queue_lost_is_fetched_and_stored_again() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let row = RowKey { stamp: AT + Span::minutes(1), id: 7 };
    let (mut action, mut stored, mut is_broken) = (driver.go(Event::Woke), 0, false);
    let mut largest = 0;
    for _ in 0..40 {
        action = match action {
            Action::Fetch(Fetch { stream, .. }) => {
                driver.go(Event::Fetched { stream, page: page(vec![row], None) })
            }
            Action::Store(_) if !is_broken => {
                is_broken = true;
                // The batch before it was being halved.
                driver.core.sink.answered(
                    driver.now,
                    sent(8),
                    Span::ZERO,
                    &SinkVerdict::Malformed("HTTP 400".into()),
                    &mut driver.core.backoff,
                );
                driver.go(Event::Opened(opened(Some(DONE), 1)))
            }
            Action::Store(keep) => {
                assert_eq!(keep.fresh, [0]);
                stored += 1;
                driver.go(Event::Stored(Ok(held(1, Room::Free))))
            }
            Action::Send(take) => {
                largest = largest.max(take.entries_max);
                driver.go(Event::Sent { sent: sent(1), verdict: accepted() })
            }
            Action::Ack { .. } => driver.go(Event::Stored(Ok(held(0, Room::Free)))),
            Action::TokenEnd { tenant } => driver.go(Event::TokenEnds { tenant, end: None }),
            Action::AskTime => driver.go(Event::Woke),
            other => panic!("{other:?}"),
        };
        if is_broken && stored == 0 && largest > 0 {
            assert_eq!(driver.core.streams[0].progress, Some(DONE), "nothing of it is stored");
        }
    }
    assert!(is_broken && stored == 2, "{stored}");
    assert_eq!(largest, limits::BODY_ENTRIES_MAX, "the head is another one");
}

#[test]
fn a_page_that_was_not_stored_is_read_again_with_all_before_it() {
    let full = || StoreTrouble::Full(held(3, Room::QueueFull));
    let failed = || StoreTrouble::Failed("EIO".into());
    for trouble in [full, failed] {
        let from = AT - Span::minutes(2);
        let before = Progress { position: AT, from };
        let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(before));
        // It became visible late; nothing later can come before the position.
        let late = RowKey { stamp: AT - Span::minutes(1), id: 7 };
        let Action::Fetch(first) = driver.go(Event::Woke) else { panic!() };
        driver.core.tenants[0].clock.observe_date(Some(AT + HOUR), driver.now, driver.clocks);
        let page = page(vec![late, RowKey { stamp: AT, id: 8 }], None);
        let stored = driver.go(Event::Fetched { stream: first.stream, page });
        assert!(matches!(stored, Action::Store(_)), "{stored:?}");
        let begun = driver.now;
        let mut action = driver.go(Event::Stored(Err(trouble())));
        let again = loop {
            action = match action {
                Action::Fetch(again) if again.stream == first.stream => break again,
                Action::Fetch(Fetch { stream, .. }) => {
                    driver.go(Event::Fetched { stream, page: self::page(vec![], None) })
                }
                Action::Measure => {
                    let checks = Span::seconds(limits::ROOM_CHECK_SECONDS);
                    assert!(driver.now.since(begun) >= checks, "it was just measured");
                    driver.go(Event::Measured(held(0, Room::Free)))
                }
                Action::Send(_) => driver.go(Event::Sent { sent: sent(3), verdict: away() }),
                Action::TokenEnd { tenant } => driver.go(Event::TokenEnds { tenant, end: None }),
                Action::AskTime => driver.go(Event::Woke),
                other => panic!("{other:?}"),
            };
        };
        assert_eq!((again.from, again.cursor), (from, None));
        assert_eq!(driver.core.streams[0].progress, Some(before));
        assert!(driver.now.since(begun) >= Span::seconds(1), "nor is that a loop");
    }
}

#[test]
fn without_space_nothing_is_fetched_and_what_was_sent_is_not_sent_again_at_once() {
    for trouble in [StoreTrouble::Full(held(5, Room::DiskLow)), StoreTrouble::Failed("EIO".into())]
    {
        let mut driver = resting(5);
        let is_full = matches!(trouble, StoreTrouble::Full(_));
        assert!(matches!(driver.step(Event::Woke), Action::Send(_)));
        let ack = driver.step(Event::Sent { sent: sent(5), verdict: accepted() });
        assert!(matches!(ack, Action::Ack { .. }), "{ack:?}");
        let rests = driver.step(Event::Stored(Err(trouble)));
        assert!(matches!(rests, Action::Sleep { .. }), "{rests:?}");
        let sink = driver.sink();
        assert_eq!((sink.reason, sink.failures), (Reason::StoreTrouble, 1));
        assert!(sink.next_in >= Some(Span::seconds(1)));
        assert_eq!(driver.core.held().room == Room::DiskLow, is_full);
    }
}

/// Sends from memory.
fn from_memory(heartbeat: Option<Span>) -> Driver {
    let mut driver = resting(0);
    driver.core.plan.write = WriteMode::OnFailure;
    driver.core.plan.heartbeat = heartbeat;
    driver.core.notes = SelfReports::new(&driver.core.plan, driver.now);
    driver.core.sink.lane = Lane::new(driver.now, Span::ZERO);
    driver
}

#[test]
fn what_is_answered_to_a_page_from_memory_counts_as_any_other_answer() {
    let words = "1 log was not accepted".to_owned();
    for (verdict, reason, delivered, remarks) in [
        (SinkVerdict::Accepted { remark: Some("new".into()) }, Reason::NothingToSend, 3, 1),
        (SinkVerdict::InDoubt { words, count: Some(1) }, Reason::InDoubt, 0, 0),
        (away(), Reason::Unreachable, 0, 0),
    ] {
        let mut driver = from_memory(None);
        driver.core.streams[0].lane.due = Due::At(driver.now);
        let Action::Fetch(Fetch { stream, .. }) = driver.step(Event::Woke) else { panic!() };
        let keys = (1..4).map(|id| RowKey { stamp: AT + Span::minutes(id), id }).collect();
        let action = driver.step(Event::Fetched { stream, page: page(keys, None) });
        assert!(matches!(action, Action::SendPage { .. }), "{action:?}");
        let sent = PageSent { raw_bytes: 900, verdict: verdict.clone() };
        let then = driver.step(Event::PageSent(Some(sent)));
        match &then {
            Action::Store(keep) => assert_eq!(keep.fresh.is_empty(), delivered > 0),
            Action::DoubtPage(keep) => assert_eq!((keep.fresh.len(), reason), (3, Reason::InDoubt)),
            other => panic!("{other:?}"),
        }
        driver.step(Event::Stored(Ok(held(0, Room::Free))));
        assert_eq!(driver.sink().reason, reason, "{verdict:?}");
        let sink = &driver.core.sink;
        assert_eq!((sink.delivered, sink.remarks), (delivered, remarks), "{verdict:?}");
    }
}

#[test]
fn what_is_answered_to_a_heartbeat_from_memory_counts_and_what_was_not_heard_is_stored() {
    let words = "1 log was not accepted".to_owned();
    let refused = SinkVerdict::KeyRefused("HTTP 401".into());
    for (verdict, reason, is_stored, remarks) in [
        (SinkVerdict::Accepted { remark: Some("new".into()) }, Reason::Working, false, 1),
        (SinkVerdict::InDoubt { words, count: Some(1) }, Reason::InDoubt, false, 0),
        (SinkVerdict::Malformed("HTTP 400".into()), Reason::Starting, false, 0),
        (refused, Reason::Starting, true, 0),
        (away(), Reason::Unreachable, true, 0),
    ] {
        let every = Span::seconds(30);
        let mut driver = from_memory(Some(every));
        let Action::SendNote(note) = driver.go(Event::Woke) else { panic!() };
        // Sending takes longer than the interval.
        driver.now = driver.now + Span::seconds(100);
        let begun = driver.now;
        let then = driver.step(Event::NoteSent(verdict.clone()));
        assert_eq!(then == Action::Note(note), is_stored, "{verdict:?}");
        assert_eq!(driver.core.sink.lane.reason, reason, "{verdict:?}");
        let sink = &driver.core.sink;
        assert_eq!((sink.delivered, sink.remarks), (0, remarks), "{verdict:?}");
        let event = if is_stored { Event::Noted(Ok(held(0, Room::Free))) } else { Event::Woke };
        let next = driver.go(event);
        assert!(matches!(next, Action::SendNote(_) | Action::Note(_)), "{next:?}");
        assert_eq!(driver.now.since(begun), every, "{verdict:?}");
    }
}

#[test]
fn an_own_record_that_breaks_the_queue_each_time_makes_no_loop() {
    let mut driver = resting(0);
    driver.core.held.unreported = 1;
    let unreported = QueueStatus { unreported: 1, ..held(0, Room::Free) };
    let begun = driver.now;
    let mut action = driver.step(Event::Woke);
    for _ in 0..10 {
        let told = driver.now;
        assert_eq!(action, Action::Note(SelfReport::Gaps));
        let reopened = Opened { held: unreported, ..opened(Some(DONE), 0) };
        action = driver.go(Event::Opened(reopened));
        while !matches!(action, Action::Note(_)) {
            action = match action {
                Action::Fetch(Fetch { stream, .. }) => {
                    driver.go(Event::Fetched { stream, page: page(vec![], None) })
                }
                Action::TokenEnd { tenant } => driver.go(Event::TokenEnds { tenant, end: None }),
                Action::AskTime => driver.go(Event::Woke),
                other => panic!("{other:?}"),
            };
        }
        assert!(driver.now.since(told) >= Span::seconds(1));
    }
    assert!(driver.now.since(begun) >= Span::seconds(10));
}

/// Counts what it is told, and loses power after some actions.
struct Counting {
    actions: u32,
    observed: u32,
    remembered: Vec<Learned>,
}

impl World for Counting {
    fn tick(&mut self) -> Tick {
        tick_at(Mono(1_000_000 + 60_000 * u64::from(self.actions)))
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        self.actions += 1;
        assert_eq!(self.observed, self.actions, "before it is done");
        if let Action::Fetch(Fetch { stream, .. }) = action {
            assert!(self.remembered.last().unwrap().streams[stream].asking.is_some());
            return Some(Event::Fetched { stream, page: page(vec![], None) });
        }
        (self.actions < 20).then_some(Event::Woke)
    }

    fn remember(&mut self, learned: &Learned) {
        self.remembered.push(learned.clone());
    }

    fn observe(&mut self, _core: &Core, _now: Mono, _next: &Action) {
        self.observed += 1;
    }
}

#[test]
fn the_world_sees_each_action_and_what_is_learned_before_it_is_done() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let mut world = Counting { actions: 0, observed: 0, remembered: vec![] };
    assert_eq!(run(&mut driver.core, &mut world), None);
    assert!(!world.remembered.is_empty() && world.actions >= 20);
}
