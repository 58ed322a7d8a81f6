//! The core against answers that wear it out: each test is a way to spin, to sleep for ever, or to
//! end with the wrong word.

use super::*;
use crate::record::{
    Cursor, GapReason, Kind, NetTrouble, Progress, Refusal, Refused, RowKey, Seq, Start,
    StreamStatus, Total, Unread, WriteMode,
};

pub(super) const AT: Stamp = Stamp(1_800_000_000_000_000);
pub(super) const DONE: Progress = Progress { position: AT, from: AT };

pub(super) struct Driver {
    pub(super) core: Core,
    pub(super) now: Mono,
    pub(super) clocks: Clocks,
    /// The longest sleep so far.
    pub(super) longest: Span,
    steps: u32,
}

impl Driver {
    pub(super) fn new(mode: Mode, start: Start, progress: Option<Progress>) -> Driver {
        let stream = |kind| StreamPlan {
            tenant: 0,
            kind,
            poll_interval: Span::hours(1),
            start,
            overlap: Span::minutes(2),
            reconcile: Span::ZERO,
        };
        let plan = Plan {
            tenants: 1,
            streams: vec![stream(Kind::Threats), stream(Kind::Activities)],
            retry_min: Span::seconds(1),
            retry_max: Span::minutes(5),
            mode,
            write: WriteMode::Always,
            heartbeat: None,
            bounds: crate::window::Bounds::default(),
            tally_ids: None,
        };
        let now = Mono(1_000_000);
        let core = Core::new(plan, 7, now, opened(progress, 0));
        Driver { core, now, clocks: tick_at(now).clocks, longest: Span::ZERO, steps: 0 }
    }

    /// The next action that is no sleep.
    pub(super) fn go(&mut self, event: Event) -> Action {
        let tick = Tick { clocks: self.clocks, ..tick_at(self.now) };
        let mut action = self.core.step(&tick, event);
        while let Action::Sleep { until, .. } = action {
            self.longest = self.longest.max(until.since(self.now));
            self.now = until;
            let tick = Tick { clocks: self.clocks, ..tick_at(self.now) };
            action = self.core.step(&tick, Event::Woke);
        }
        self.steps += 1;
        assert!(self.steps < 20_000, "it never ends");
        action
    }
}

/// This machine's clock tells what the tenant's answers do.
pub(super) fn tick_at(now: Mono) -> Tick {
    let clocks = Clocks { local: Some(AT + Span::hours(1)), sink: None };
    Tick { now, clocks, ..Tick::default() }
}

pub(super) fn held(records: u64, room: Room) -> QueueStatus {
    QueueStatus { records, room, ..QueueStatus::default() }
}

pub(super) fn opened(progress: Option<Progress>, records: u64) -> Opened {
    let stream = StreamStatus { progress, ..StreamStatus::default() };
    Opened {
        held: held(records, Room::Free),
        streams: vec![stream; 2],
        learned: Learned::default(),
        unsettled: 0,
    }
}

pub(super) fn page(keys: Vec<RowKey>, next: Option<&str>) -> Result<PageFacts, SourceTrouble> {
    let next = next.map(|text| Cursor(text.to_owned()));
    Ok(PageFacts { keys, next, date: Some(AT + Span::hours(1)) })
}

pub(super) fn rows(count: u64) -> Vec<RowKey> {
    (0..count).map(|id| RowKey { stamp: AT, id }).collect()
}

#[test]
fn once_ends_when_nobody_tells_the_time() {
    let mut driver = Driver::new(Mode::Once, Start::Ago(Span::hours(24)), None);
    let mut action = driver.go(Event::Woke);
    while action == (Action::Info { tenant: 0 }) {
        action = driver.go(Event::Informed { tenant: 0, result: Ok(None) });
    }
    assert_eq!(action, Action::Exit(End::TryLater));
}

#[test]
fn a_tenant_without_a_date_is_asked_ever_more_rarely() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, None);
    let begun = driver.now;
    driver.go(Event::Woke);
    for _ in 0..100 {
        driver.go(Event::Informed { tenant: 0, result: Ok(None) });
    }
    assert!(driver.now.since(begun) > Span::hours(2), "{}", driver.now.since(begun));
}

#[test]
fn once_does_not_sleep_out_a_long_retry_after() {
    let mut driver = Driver::new(Mode::Once, Start::Now, Some(DONE));
    let Action::Fetch(fetch) = driver.go(Event::Woke) else { panic!() };
    let busy = SourceTrouble::busy(Some(Span::hours(20)));
    let action = driver.go(Event::Fetched { stream: fetch.stream, page: Err(busy) });
    assert_eq!(action, Action::Exit(End::TryLater));
    assert!(driver.longest < Span::minutes(1));
}

#[test]
fn once_goes_on_by_time_after_a_refused_cursor() {
    once_goes_on_after(&SourceTrouble::QueryRefused("cursor".into()));
    once_goes_on_after(&SourceTrouble::Misdirected("HTTP 410".into()));
}

fn once_goes_on_after(refusal: &SourceTrouble) {
    let mut driver = Driver::new(Mode::Once, Start::Now, Some(DONE));
    let mut action = driver.go(Event::Woke);
    let mut refused = 0;
    loop {
        action = match action {
            Action::Fetch(Fetch { stream, cursor: Some(_), .. }) => {
                refused += 1;
                driver.go(Event::Fetched { stream, page: Err(refusal.clone()) })
            }
            Action::Fetch(Fetch { stream, .. }) => {
                let next = if refused < 2 { Some("next") } else { None };
                driver.go(Event::Fetched { stream, page: page(rows(1), next) })
            }
            Action::Store(_) => driver.go(Event::Stored(Ok(held(0, Room::Free)))),
            other => break assert_eq!(other, Action::Exit(End::Done)),
        };
    }
}

#[test]
fn once_catches_up_again_with_what_a_damaged_frame_set_back() {
    let mut driver = Driver::new(Mode::Once, Start::Now, Some(DONE));
    let mut action = driver.go(Event::Woke);
    let (mut fetched, mut damaged) = (0, false);
    let back = Progress { position: AT - Span::hours(1), from: AT - Span::hours(1) };
    loop {
        action = match action {
            Action::Fetch(Fetch { stream, .. }) => {
                fetched += 1;
                driver.go(Event::Fetched { stream, page: page(rows(1), None) })
            }
            Action::Store(_) => driver.go(Event::Stored(Ok(held(1, Room::Free)))),
            Action::Send(_) if !damaged && fetched >= 2 => {
                damaged = true;
                driver.go(Event::Opened(opened(Some(back), 0)))
            }
            Action::Send(_) => {
                let end = QueuePosition { seq: Seq(1), skip: 0 };
                let sent =
                    Sent { first: QueuePosition::default(), end, entries: 1, own: 0, raw_bytes: 9 };
                let verdict = SinkVerdict::Accepted { remark: None };
                driver.go(Event::Sent { sent, verdict })
            }
            Action::Ack { .. } => driver.go(Event::Stored(Ok(held(0, Room::Free)))),
            other => break assert_eq!(other, Action::Exit(End::Done)),
        };
    }
    assert!(damaged && fetched == 4, "{fetched} pages");
    assert!(driver.longest < Span::minutes(5), "it does not wait for the next poll");
}

#[test]
fn a_disk_that_damages_everything_makes_no_loop() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let begun = driver.now;
    let (mut action, mut fetched) = (driver.go(Event::Woke), 0);
    while fetched < 200 {
        action = match action {
            Action::Fetch(Fetch { stream, .. }) => {
                fetched += 1;
                driver.go(Event::Fetched { stream, page: page(rows(1_000), Some("next")) })
            }
            Action::Store(_) => driver.go(Event::Stored(Ok(held(1_000, Room::Free)))),
            Action::Send(_) => driver.go(Event::Opened(opened(Some(DONE), 0))),
            _ => driver.go(Event::TokenEnds { tenant: 0, end: None }),
        };
    }
    assert!(driver.now.since(begun) > Span::minutes(10), "{}", driver.now.since(begun));
}

#[test]
fn cursors_that_never_end_are_given_up_and_not_called_the_end() {
    let mut driver = Driver::new(Mode::Once, Start::Now, Some(DONE));
    let (mut action, mut fetched) = (driver.go(Event::Woke), 0u32);
    loop {
        action = match action {
            Action::Fetch(Fetch { stream, .. }) => {
                fetched += 1;
                let next = format!("page {fetched}");
                driver.go(Event::Fetched { stream, page: page(rows(1_000), Some(&next)) })
            }
            Action::Store(_) => driver.go(Event::Stored(Ok(held(0, Room::Free)))),
            other => break assert_eq!(other, Action::Exit(End::TryLater)),
        };
    }
    assert!(fetched < 300, "{fetched}");
}

#[test]
fn patience_asked_for_by_one_answer_is_the_whole_tenants_and_no_hurry_ends_it() {
    let wait = Span::minutes(50);
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    driver.go(Event::Woke);
    driver.core.tenants[0].token = Token::Doubted;
    let busy = SourceTrouble::busy(Some(wait));
    let begun = driver.now;
    let tick = tick_at(begun);
    driver.core.step(&tick, Event::Informed { tenant: 0, result: Err(busy) });
    let changed = vec![CredentialId::Token(0), CredentialId::Key];
    let tick = Tick { poll_now: true, changed, ..tick_at(begun) };
    let action = driver.core.step(&tick, Event::Woke);
    assert!(matches!(action, Action::Sleep { .. }), "{action:?}");
    driver.go(Event::Woke);
    assert!(driver.now.since(begun) >= wait, "{}", driver.now.since(begun));
}

/// Found by the simulation: the failure of a question that a new token had made needless was never
/// followed by a success, so the tenant seemed out of reach for ever, and nothing was compared.
#[test]
fn a_tenant_that_answers_a_stream_is_no_longer_out_of_reach() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let Action::Fetch(Fetch { stream, .. }) = driver.go(Event::Woke) else { panic!("a poll") };
    let page = Err(SourceTrouble::TokenDoubted("HTTP 401".into()));
    let asked = driver.go(Event::Fetched { stream, page });
    assert_eq!(asked, Action::Info { tenant: 0 });
    let changed = vec![CredentialId::Token(0)];
    let tick = Tick { changed, ..tick_at(driver.now) };
    let result = Err(SourceTrouble::Unreachable(NetTrouble::silent(Span::minutes(1))));
    let mut action = driver.core.step(&tick, Event::Informed { tenant: 0, result });
    for _ in 0..8 {
        action = match action {
            Action::Fetch(Fetch { stream, .. }) => {
                driver.go(Event::Fetched { stream, page: self::page(vec![], None) })
            }
            Action::TokenEnd { tenant } => driver.go(Event::TokenEnds { tenant, end: None }),
            Action::AskTime => driver.go(Event::Woke),
            Action::Sleep { until, .. } => {
                driver.now = until;
                driver.go(Event::Woke)
            }
            other => panic!("{other:?}"),
        };
    }
    let lane = &driver.core.view(driver.now).tenants[0].lane;
    // Nobody else tells the time here.
    assert_eq!((lane.failures, lane.reason), (0, Reason::TimeUnconfirmed), "{lane:?}");
}

#[test]
fn a_changed_key_does_not_undercut_the_sinks_retry_after() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let retry_after = Some(Span::minutes(50));
    let busy = SinkVerdict::Busy { retry_after, why: String::new() };
    let sink = &mut driver.core.sink;
    sink.failed(driver.now, &busy, &mut driver.core.backoff);
    sink.lane.wish(driver.now + Span::seconds(1), Span::seconds(1));
    assert_eq!(sink.lane.due, Due::At(driver.now + Span::minutes(50)));
    let net = SinkVerdict::Unreachable(NetTrouble::silent(Span::minutes(1)));
    sink.failed(driver.now + Span::hours(1), &net, &mut driver.core.backoff);
    sink.lane.wish(driver.now + Span::hours(1), Span::seconds(1));
    assert_eq!(sink.lane.due, Due::At(driver.now + Span::hours(1)));
}

/// A flapping interface sends SIGUSR1 twenty times a second, and each became a request.
#[test]
fn many_wishes_within_retry_min_are_one() {
    let storm = [Span::ms(0), Span::ms(50), Span::ms(500), Span::ms(999)];
    for fails in [false, true] {
        let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
        let (mut event, mut asked) = (Event::Woke, vec![vec![], vec![]]);
        while asked.iter().any(|times| times.len() < 50) {
            let changed = vec![CredentialId::Key, CredentialId::Token(0)];
            let tick = Tick { poll_now: true, changed, ..tick_at(driver.now) };
            event = match driver.core.step(&tick, event) {
                // Whatever the sleep was for, a signal ends it at once.
                Action::Sleep { until, .. } => {
                    let signal = driver.now + storm[asked[0].len() % 4].max(Span::ms(1));
                    driver.now = until.min(signal);
                    Event::Woke
                }
                Action::Fetch(Fetch { stream, .. }) => {
                    asked[stream].push(driver.now);
                    // The pace is counted from the end of a try.
                    driver.now = driver.now + Span::ms(300);
                    let broken = Err(SourceTrouble::BrokenAnswer("503".to_owned()));
                    let page = if fails { broken } else { page(vec![], None) };
                    Event::Fetched { stream, page }
                }
                Action::TokenEnd { tenant } => Event::TokenEnds { tenant, end: None },
                Action::Store(_) => Event::Stored(Ok(held(0, Room::Free))),
                other => panic!("{other:?}"),
            };
        }
        for times in &asked {
            let paces = times.windows(2).map(|pair| pair[1].since(pair[0]));
            let (least, most) = paces.fold((Span::hours(1), Span::ZERO), |(least, most), pace| {
                (least.min(pace), most.max(pace))
            });
            assert!(least >= Span::ms(1_300), "fails: {fails}: {least}");
            assert!(most < Span::seconds(4), "a wish is granted, fails: {fails}: {most}");
        }
    }
}

#[test]
fn a_wish_never_makes_a_lane_wait_longer() {
    let (now, pace) = (Mono(10_000), Span::minutes(1));
    let mut lane = Lane::new(now, Span::seconds(1));
    lane.wish(now, pace);
    assert_eq!(lane.due, Due::At(now + Span::seconds(1)));
    lane.rest(now, Due::Never, Reason::NothingToSend);
    lane.wish(now, pace);
    assert_eq!(lane.due, Due::At(now + pace));
    lane.honor_retry_after(now, Some(Span::hours(2)));
    lane.rest(now, Due::Never, Reason::Busy);
    lane.wish(now + Span::hours(1), pace);
    assert_eq!(lane.due, Due::At(now + Span::hours(2)));
}

#[test]
fn a_page_too_long_for_an_empty_queue_is_asked_for_in_parts() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let begun = driver.now;
    let (mut action, mut asked) = (driver.go(Event::Woke), vec![]);
    while asked.len() < 40 {
        action = match action {
            Action::Fetch(Fetch { stream, rows_max, .. }) => {
                asked.push(rows_max);
                driver.go(Event::Fetched { stream, page: page(rows(u64::from(rows_max)), None) })
            }
            Action::Store(_) => {
                let full = StoreTrouble::Full(held(0, Room::Free));
                driver.go(Event::Stored(Err(full)))
            }
            _ => driver.go(Event::TokenEnds { tenant: 0, end: None }),
        };
    }
    assert_eq!(asked.iter().min(), Some(&1));
    assert!(driver.now.since(begun) > Span::minutes(5), "nor is that a loop");
}

/// A stream in good order whose counts are answered so, for an hour; answers with the fetches and
/// counts of the first stream.
fn reconciling(counted: &Result<Option<Counted>, SourceTrouble>, mode: Mode) -> (u32, u32, Driver) {
    let mut driver = Driver::new(mode, Start::Now, Some(DONE));
    for stream in &mut driver.core.streams {
        stream.plan.poll_interval = Span::minutes(1);
        stream.reconcile = reconcile::Reconcile::new(Span::hours(1), None, driver.now);
    }
    let (begun, mut fetched, mut counts) = (driver.now, 0, 0);
    let mut action = driver.go(Event::Woke);
    while driver.now.since(begun) < Span::hours(1) {
        action = match action {
            Action::Fetch(Fetch { stream, .. }) => {
                fetched += u32::from(stream == 0);
                driver.go(Event::Fetched { stream, page: page(vec![], None) })
            }
            Action::Count(Count { stream, .. }) => {
                counts += u32::from(stream == 0);
                driver.go(Event::Counted { stream, counted: counted.clone() })
            }
            Action::Info { tenant } => {
                driver.go(Event::Informed { tenant, result: Ok(Some(AT + Span::hours(1))) })
            }
            Action::TokenEnd { tenant } => driver.go(Event::TokenEnds { tenant, end: None }),
            Action::AskTime => driver.go(Event::Woke),
            Action::Exit(_) => break,
            other => panic!("{other:?}"),
        };
    }
    (fetched, counts, driver)
}

#[test]
fn counts_that_fail_stand_in_no_polls_way() {
    for trouble in [
        SourceTrouble::BrokenAnswer("500".into()),
        SourceTrouble::Unreachable(NetTrouble::silent(Span::minutes(1))),
        SourceTrouble::TokenDoubted("HTTP 401".into()),
        SourceTrouble::Forbidden(Refusal { what: Refused::Scope, words: "HTTP 403".into() }),
        SourceTrouble::Misdirected("404".into()),
        SourceTrouble::TooLong(Unread::default()),
    ] {
        let (fetched, counts, driver) = reconciling(&Err(trouble.clone()), Mode::Daemon);
        assert!(fetched > 50, "{trouble:?}: {fetched} polls in an hour");
        assert!((1..40).contains(&counts), "{trouble:?}: {counts} counts in an hour");
        assert!(driver.core.view(driver.now).streams[0].lane.failures == 0, "{trouble:?}");
    }
}

#[test]
fn a_console_that_refuses_to_count_is_not_asked_again() {
    let refused = Err(SourceTrouble::QueryRefused("Unknown field".into()));
    let (fetched, counts, driver) = reconciling(&refused, Mode::Daemon);
    assert!(fetched > 50 && counts == 1, "{fetched} {counts}");
    let view = driver.core.view(driver.now);
    assert_eq!(view.streams[0].reconcile.summary.refused.as_deref(), Some("Unknown field"));
    assert!(!view.streams[0].reconcile.on);
}

#[test]
fn once_compares_before_it_ends_and_does_not_wait_for_a_count_that_fails() {
    for counted in [Ok(None), Err(SourceTrouble::BrokenAnswer("500".into()))] {
        let (fetched, counts, driver) = reconciling(&counted, Mode::Once);
        assert_eq!((fetched, counts), (1, 1), "{counted:?}");
        assert!(driver.longest < Span::minutes(1));
    }
}

#[test]
fn patience_asked_for_by_a_count_is_the_whole_tenants() {
    let busy = Err(SourceTrouble::busy(Some(Span::minutes(50))));
    let (fetched, counts, _) = reconciling(&busy, Mode::Daemon);
    assert!(fetched <= 12 && counts <= 2, "{fetched} polls, {counts} counts");
}

/// A busy tenant: by the end of each round so much was collected that the next one is due at once.
#[test]
fn rounds_that_press_each_other_keep_the_pace() {
    let pace = |seconds: u64| 2 * 3_600 / seconds;
    let (counts, most) =
        (counts_in_an_hour(Span::minutes(5)), pace(limits::RECONCILE_PACE_SECONDS));
    assert!(counts > 20 && counts <= most, "{counts} counts in an hour, {most} at most");
    let often = counts_in_an_hour(Span::seconds(5));
    assert!(often > most && often <= pace(5), "{often} counts in an hour, 5 s apart");
}

fn counts_in_an_hour(retry_max: Span) -> u64 {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    driver.core.plan.retry_max = retry_max;
    for stream in &mut driver.core.streams {
        stream.plan.poll_interval = Span::minutes(1);
        stream.reconcile = reconcile::Reconcile::new(Span::hours(1), None, driver.now);
    }
    let (begun, mut counts) = (driver.now, 0);
    let mut action = driver.go(Event::Woke);
    while driver.now.since(begun) < Span::hours(1) {
        action = match action {
            Action::Fetch(Fetch { stream, .. }) => {
                driver.go(Event::Fetched { stream, page: page(vec![], None) })
            }
            Action::Count(Count { stream, by, .. }) => {
                counts += 1;
                driver.core.streams[stream].collected += 100_000;
                let there = match by {
                    By::Creation => crate::record::Total::Is(7),
                    By::Change => crate::record::Total::Is(0),
                };
                let counted =
                    Counted { from: AT - Span::hours(1), collected: 7, there, date: None };
                driver.go(Event::Counted { stream, counted: Ok(Some(counted)) })
            }
            Action::Info { tenant } => {
                driver.go(Event::Informed { tenant, result: Ok(Some(AT + Span::hours(1))) })
            }
            Action::TokenEnd { tenant } => driver.go(Event::TokenEnds { tenant, end: None }),
            other => panic!("{other:?}"),
        };
    }
    counts
}

#[test]
fn threats_are_not_compared_while_a_walk_may_still_bring_them() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    driver.core.clocks.local = Some(AT + Span::hours(9));
    for stream in &mut driver.core.streams {
        stream.reconcile = reconcile::Reconcile::new(Span::hours(1), None, driver.now);
        stream.collected = 1_000_000;
    }
    let may = |driver: &Driver| [0, 1].map(|at| driver.core.may_reconcile(at, driver.now));
    assert_eq!(
        may(&driver),
        [false, true],
        "what goes by its creation may when its ids are nearly full"
    );
    driver.core.streams[0].caught_up = true;
    assert_eq!(may(&driver), [true, true]);
}

#[test]
fn a_late_record_that_changed_lately_is_known_to_the_walks() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let keys = vec![RowKey { stamp: AT - Span::hours(5), id: 1 }, RowKey { stamp: AT, id: 2 }];
    let page = PageFacts { keys: keys.clone(), next: None, date: None };
    let listed = Listed { page, unseen: vec![true; 2], outside: 0 };
    let pending = driver.core.streams[0].listed_page(0, listed);
    assert_eq!((pending.keep.fresh, pending.keep.known), (vec![0, 1], vec![keys[1]]));
    assert_eq!(pending.keep.progress, DONE, "the position stays");
}

#[test]
fn a_second_that_can_not_be_listed_becomes_a_gap_and_is_set_aside_once_that_is_stored() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let stream = &mut driver.core.streams[0];
    stream.reconcile = reconcile::Reconcile::new(Span::hours(1), None, driver.now);
    let from = AT - Span::hours(9);
    let bad = from + Span::ms(300);
    let trouble = SourceTrouble::BrokenAnswer("half of a record".into());
    let (mut lists, mut gaps) = (0, 0);
    let mut action = driver.go(Event::Woke);
    for _ in 0..400 {
        action = match action {
            Action::Fetch(Fetch { stream, .. }) => {
                driver.go(Event::Fetched { stream, page: page(vec![], None) })
            }
            Action::Count(Count { stream, from: begins, to, .. }) => {
                let begins = begins.unwrap_or(AT - Span::hours(20));
                let is_within = stream == 0 && begins <= bad && bad < to;
                let there = Total::Is(u64::from(is_within));
                let counted = Counted { from: begins, collected: 0, there, date: None };
                driver.go(Event::Counted { stream, counted: Ok(Some(counted)) })
            }
            Action::List(List { stream, .. }) => {
                lists += 1;
                driver.go(Event::Listed { stream, listed: Err(trouble.clone()) })
            }
            Action::Store(StorePage { missed, fresh, progress, .. }) => {
                assert_eq!((fresh, progress), (vec![], DONE), "the position stays");
                let missed = missed.expect("nothing else is stored");
                assert_eq!((missed.from, missed.reason), (from, GapReason::Unfetchable));
                assert!(missed.to >= AT, "a threat may have changed since");
                gaps += 1;
                let full = Err(StoreTrouble::Full(held(0, Room::Free)));
                let stored = if gaps == 1 { full } else { Ok(held(0, Room::Free)) };
                driver.go(Event::Stored(stored))
            }
            Action::Info { tenant } => {
                driver.go(Event::Informed { tenant, result: Ok(Some(AT + Span::hours(1))) })
            }
            Action::TokenEnd { tenant } => driver.go(Event::TokenEnds { tenant, end: None }),
            Action::AskTime => driver.go(Event::Woke),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(gaps, 2, "stored again where it did not fit, and then no more");
    let most = limits::LONE_FAILURES * limits::LONE_TIMES + 40;
    assert!(lists > limits::LONE_FAILURES && lists <= most, "{lists} lists");
}

#[test]
fn a_question_that_is_put_off_again_and_again_holds_up_no_page() {
    for patience in [None, Some(Span::minutes(1))] {
        let position = AT - Span::hours(72);
        let before = Progress { position, from: position - Span::minutes(2) };
        let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(before));
        let (mut action, mut put_off, mut last) = (driver.go(Event::Woke), 0, Mono::ZERO);
        let mut is_stored = false;
        while !is_stored {
            action = match action {
                Action::Fetch(Fetch { stream, .. }) => {
                    assert!(driver.now.since(last) >= patience.unwrap_or(Span::seconds(1)));
                    driver.go(Event::Fetched { stream, page: page(rows(1), None) })
                }
                Action::Older { stream, .. } => {
                    (put_off, last) = (put_off + 1, driver.now);
                    let result = Err(SourceTrouble::busy(patience));
                    driver.go(Event::Older { stream, result })
                }
                Action::Store(keep) => {
                    is_stored = !keep.fresh.is_empty();
                    driver.go(Event::Stored(Ok(held(0, Room::Free))))
                }
                Action::TokenEnd { tenant } => driver.go(Event::TokenEnds { tenant, end: None }),
                other => panic!("{other:?}"),
            };
            assert!(put_off < 100, "it never ends");
        }
        assert!(put_off >= limits::LONE_FAILURES, "{put_off}");
    }
}

/// Ways in which `/system/info` alone may fail for ever.
fn info_troubles() -> Vec<SourceTrouble> {
    let words = "HTTP 403: blocked".to_owned();
    vec![
        SourceTrouble::BrokenAnswer("HTTP 500".into()),
        SourceTrouble::Misdirected("HTTP 404".into()),
        SourceTrouble::busy(None),
        SourceTrouble::busy(Some(Span::seconds(50))),
        SourceTrouble::Unreachable(NetTrouble::silent(Span::minutes(1))),
        SourceTrouble::Forbidden(Refusal { what: Refused::Address, words }),
    ]
}

/// Goes on until both streams have collected something, or `until` is over.
fn collect(driver: &mut Driver, info: &Result<Option<Stamp>, SourceTrouble>, until: Mono) {
    let mut action = driver.go(Event::Woke);
    while driver.now < until {
        action = match action {
            Action::Info { tenant } => driver.go(Event::Informed { tenant, result: info.clone() }),
            Action::Fetch(Fetch { stream, to: Some(_), .. }) => {
                driver.go(Event::Fetched { stream, page: page(vec![], None) })
            }
            Action::Fetch(Fetch { stream, .. }) => {
                driver.go(Event::Fetched { stream, page: page(rows(1), None) })
            }
            Action::Store(_) => driver.go(Event::Stored(Ok(held(0, Room::Free)))),
            Action::TokenEnd { tenant } => driver.go(Event::TokenEnds { tenant, end: None }),
            Action::AskTime => driver.go(Event::Woke),
            Action::Exit(_) => return,
            other => panic!("{other:?}"),
        };
    }
}

#[test]
fn a_new_tenant_whose_info_never_works_is_collected_all_the_same() {
    for trouble in info_troubles() {
        for clocks in [Clocks::default(), tick_at(Mono::ZERO).clocks] {
            for start in [Start::Ago(Span::hours(24)), Start::At(AT - Span::hours(9))] {
                let mut driver = Driver::new(Mode::Daemon, start, None);
                driver.clocks = clocks;
                let end = driver.now + Span::minutes(30);
                collect(&mut driver, &Err(trouble.clone()), end);
                let collected: Vec<u64> =
                    driver.core.streams.iter().map(|stream| stream.collected).collect();
                assert_eq!(collected, [1, 1], "{trouble:?} {clocks:?}");
                if clocks.local.is_some() && matches!(start, Start::At(_)) {
                    continue; // Nothing is asked of it.
                }
                let reason = driver.core.view(driver.now).tenants[0].lane.reason;
                assert_ne!(reason.health(), Health::Healthy, "it is told: {trouble:?} {clocks:?}");
                let end = driver.now + Span::minutes(90);
                collect(&mut driver, &Ok(Some(AT + Span::hours(1))), end);
                let lane = &driver.core.tenants[0].lane;
                assert_eq!((lane.failures, lane.reason), (0, Reason::Working), "{trouble:?}");
            }
        }
    }
}

#[test]
fn a_new_tenant_that_answers_nothing_but_pages_without_a_date_is_asked_ever_more_rarely() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, None);
    let begun = driver.now;
    let mut action = driver.go(Event::Woke);
    for _ in 0..200 {
        action = match action {
            Action::Info { tenant } => {
                let result = Err(SourceTrouble::BrokenAnswer("HTTP 500".into()));
                driver.go(Event::Informed { tenant, result })
            }
            Action::Fetch(Fetch { stream, .. }) => {
                let page = Ok(PageFacts { keys: vec![], next: None, date: None });
                driver.go(Event::Fetched { stream, page })
            }
            Action::TokenEnd { tenant } => driver.go(Event::TokenEnds { tenant, end: None }),
            other => panic!("{other:?}"),
        };
    }
    assert!(driver.now.since(begun) > Span::hours(1), "{}", driver.now.since(begun));
}

#[test]
fn a_page_under_way_is_gone_once_the_queue_is_opened_anew_and_what_that_holds_is_sent() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let Action::Fetch(Fetch { stream, .. }) = driver.go(Event::Woke) else { panic!("a poll") };
    let stored = driver.go(Event::Fetched { stream, page: page(rows(1), None) });
    assert!(matches!(stored, Action::Store(_)), "{stored:?}");
    let mut action = driver.go(Event::Opened(opened(Some(DONE), 1)));
    while !matches!(action, Action::Ack { .. }) {
        action = match action {
            Action::Fetch(Fetch { stream, .. }) => {
                driver.go(Event::Fetched { stream, page: page(vec![], None) })
            }
            Action::Send(_) => {
                let end = QueuePosition { seq: Seq(1), skip: 1 };
                let first = QueuePosition::default();
                let sent = Sent { first, end, entries: 1, own: 0, raw_bytes: 9 };
                driver.go(Event::Sent { sent, verdict: SinkVerdict::Accepted { remark: None } })
            }
            _ => driver.go(Event::TokenEnds { tenant: 0, end: None }),
        };
    }
    driver.go(Event::Stored(Ok(held(0, Room::Free))));
    assert_eq!(driver.core.streams[stream].collected, 0, "that was the acknowledgement");
}
