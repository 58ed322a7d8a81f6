//! The core against claims of the time and of pages: each test is a way in which a record was once
//! passed over, or a stream would call itself up to date while it is not.

use super::known::Known;
use super::reconcile::Reconcile;
use super::*;
use crate::record::{Covered, Cursor, Kind, Progress, RowKey, Start, WriteMode};

pub(super) const NOW: Stamp = Stamp(1_800_000_000_000_000);
pub(super) const OVERLAP: Span = Span::minutes(2);
const POLL: Span = Span::minutes(1);
const BEGIN: Mono = Mono(1_000_000);

pub(super) fn days(days: u64) -> Span {
    Span::hours(24 * days)
}

pub(super) fn stood(position: Stamp) -> Option<Progress> {
    Some(Progress { position, from: position })
}

/// One stream, a tenant that tells the true time, and the witnesses beside it.
pub(super) struct Stage {
    pub(super) core: Core,
    pub(super) now: Mono,
    pub(super) local: Option<Stamp>,
    pub(super) sink: Option<Stamp>,
    /// What the tenant tells is off by so much.
    pub(super) lie: Option<Span>,
    /// The tenant tells no time.
    pub(super) is_mute: bool,
    /// What Coralogix says when it is asked for its time, and how often it was.
    pub(super) sink_answer: Option<Stamp>,
    pub(super) time_asked: u32,
    pub(super) infos: u32,
    /// The question for an older record fails.
    pub(super) fails_older: bool,
    /// The ranges stored as not collected.
    pub(super) missed: Vec<Missed>,
}

impl Stage {
    pub(super) fn new(start: Start, progress: Option<Progress>) -> Stage {
        Stage::of(start, progress, Mode::Daemon)
    }

    pub(super) fn of(start: Start, progress: Option<Progress>, mode: Mode) -> Stage {
        let kind = Kind::Activities;
        let (poll_interval, overlap, reconcile) = (POLL, OVERLAP, Span::ZERO);
        let stream = StreamPlan { tenant: 0, kind, poll_interval, start, overlap, reconcile };
        let plan = Plan {
            tenants: 1,
            streams: vec![stream],
            retry_min: Span::seconds(1),
            retry_max: Span::minutes(5),
            mode,
            write: WriteMode::Always,
            heartbeat: None,
            bounds: crate::window::Bounds::default(),
            tally_ids: None,
        };
        let streams = vec![StreamStatus { progress, ..StreamStatus::default() }];
        let opened = Opened {
            held: QueueStatus::default(),
            streams,
            learned: Learned::default(),
            unsettled: 0,
        };
        let core = Core::new(plan, 7, BEGIN, opened);
        let (local, sink, lie, is_mute) = (Some(NOW), None, None, false);
        let (sink_answer, time_asked, infos, now) = (None, 0, 0, BEGIN);
        let (fails_older, missed) = (false, vec![]);
        Stage {
            core,
            now,
            local,
            sink,
            lie,
            is_mute,
            sink_answer,
            time_asked,
            infos,
            fails_older,
            missed,
        }
    }

    /// The true time.
    pub(super) fn time(&self) -> Stamp {
        NOW + self.now.since(BEGIN)
    }

    fn told(&self) -> Option<Stamp> {
        let told = self.lie.map_or(self.time(), |lie| self.time() + lie);
        (!self.is_mute).then_some(told)
    }

    /// The next fetch, set-back or end; what is stored is stored, and questions are answered.
    pub(super) fn after(&mut self, event: Event) -> Action {
        let mut event = event;
        for _ in 0..1_000 {
            let passed = self.now.since(BEGIN);
            let [local, sink] = [self.local, self.sink].map(|at| at.map(|at| at + passed));
            let tick = Tick { now: self.now, clocks: Clocks { local, sink }, ..Tick::default() };
            event = match self.core.step(&tick, event) {
                Action::Sleep { until, .. } => {
                    self.now = until;
                    Event::Woke
                }
                Action::Info { tenant } => {
                    self.infos += 1;
                    Event::Informed { tenant, result: Ok(self.told()) }
                }
                Action::AskTime => {
                    self.time_asked += 1;
                    self.sink = self.sink.or(self.sink_answer);
                    Event::Woke
                }
                Action::TokenEnd { tenant } => Event::TokenEnds { tenant, end: None },
                Action::Store(keep) => {
                    self.missed.extend(keep.missed);
                    Event::Stored(Ok(QueueStatus::default()))
                }
                Action::Older { stream, .. } if self.fails_older => {
                    let result = Err(SourceTrouble::BrokenAnswer("HTTP 500".to_owned()));
                    Event::Older { stream, result }
                }
                Action::Older { stream, .. } => Event::Older { stream, result: Ok(Older::There) },
                action => return action,
            };
        }
        panic!("nothing happens")
    }

    pub(super) fn begin(&mut self) -> Action {
        self.after(Event::Woke)
    }

    pub(super) fn page(&mut self, stamps: &[Stamp], next: Option<&str>) -> Action {
        let keys =
            stamps.iter().map(|stamp| RowKey { stamp: *stamp, id: stamp.0 as u64 }).collect();
        let next = next.map(|text| Cursor(text.to_owned()));
        let page = Ok(PageFacts { keys, next, date: self.told() });
        self.after(Event::Fetched { stream: 0, page })
    }

    pub(super) fn refuse_cursor(&mut self) -> Action {
        let page = Err(SourceTrouble::QueryRefused("Invalid cursor value received".to_owned()));
        self.after(Event::Fetched { stream: 0, page })
    }

    /// The queue knows of nothing that was collected.
    pub(super) fn set_back(&mut self, back: &SetBack) -> Action {
        let held = StreamStatus { progress: Some(back.begin), ..StreamStatus::default() };
        self.after(Event::SetBack {
            stream: back.stream,
            result: Ok((QueueStatus::default(), held)),
        })
    }

    pub(super) fn reason(&self) -> Reason {
        self.core.view(self.now).streams[0].lane.reason
    }

    pub(super) fn tenant_reason(&self) -> Reason {
        self.core.view(self.now).tenants[0].lane.reason
    }

    pub(super) fn progress(&self) -> Progress {
        self.core.streams[0].progress.expect("it has begun")
    }
}

pub(super) fn fetch_from(action: Action) -> Stamp {
    match action {
        Action::Fetch(fetch) => fetch.from,
        other => panic!("a page is asked for, not {other:?}"),
    }
}

pub(super) fn back(action: Action) -> SetBack {
    match action {
        Action::SetBack(back) => back,
        other => panic!("the stream is set back, not {other:?}"),
    }
}

#[test]
fn one_lying_date_moves_nothing() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let far = Stamp::from_seconds(6_500_000_000);
    stage.page(&[NOW], None);
    stage.lie = Some(days(90_000));
    stage.page(&[NOW, far], None);
    assert_eq!(stage.progress().position, NOW);
    stage.lie = None;
    let next = fetch_from(stage.page(&[NOW, far], None));
    assert!(next <= NOW && next >= NOW - OVERLAP, "{next}");
}

#[test]
fn on_a_box_without_a_clock_the_first_page_is_not_the_only_word_of_the_time() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.local = None;
    stage.begin();
    assert_eq!(stage.infos, 1);
    stage.page(&[NOW], None);
    assert_eq!(stage.progress().position, NOW);
}

#[test]
fn a_position_ahead_of_every_clock_is_set_back_and_the_stream_is_not_well_until_it_has_caught_up() {
    let mut stage = Stage::new(Start::Ago(days(1)), stood(NOW + days(2)));
    let fetched = stage.begin();
    assert!(fetch_from(fetched) > NOW, "nobody has told the time yet");
    let set = back(stage.page(&[], None));
    assert!(set.latest <= NOW + Span::minutes(2) && set.is_open, "{set:?}");
    let from = fetch_from(stage.set_back(&set));
    assert!(from <= NOW - Span::hours(23), "{from}");
    assert_eq!(
        (stage.reason(), stage.core.view(stage.now).health()),
        (Reason::PositionAhead, Health::Degraded)
    );
    let next = stage.page(&[NOW - Span::hours(3)], None);
    assert!(matches!(next, Action::Fetch(_)), "{next:?}");
    assert_eq!(stage.core.view(stage.now).health(), Health::Healthy);
}

#[test]
fn one_claim_does_not_set_a_position_back() {
    for lie in [-30i64, -24 * 400] {
        let mut stage = Stage::new(Start::Now, stood(NOW));
        stage.local = None;
        stage.begin();
        stage.page(&[NOW], None);
        let told = Stamp(stage.time().0 + lie * 3_600_000_000);
        let page = Ok(PageFacts { keys: vec![], next: None, date: Some(told) });
        let next = stage.after(Event::Fetched { stream: 0, page });
        assert!(matches!(next, Action::Fetch(_)), "{next:?}");
    }
}

#[test]
fn a_position_that_only_the_tenant_speaks_against_is_shown() {
    let (position, from) = (NOW + days(2), NOW + days(2) - Span::minutes(2));
    let mut stage = Stage::new(Start::Now, Some(Progress { position, from }));
    stage.local = Some(NOW + days(2));
    stage.begin();
    stage.page(&[], None);
    let next = stage.page(&[], None);
    assert!(matches!(next, Action::Fetch(_)), "{next:?}");
    assert_eq!(stage.reason(), Reason::PositionAhead);
    // Coralogix agrees with the tenant: the local clock is outvoted.
    stage.sink = Some(NOW);
    back(stage.page(&[], None));
}

#[test]
fn what_was_said_to_be_collected_of_a_time_that_has_not_come_is_set_back_too() {
    let mut stage = Stage::new(Start::Ago(days(1)), stood(NOW - days(1)));
    let mut covered = Covered::default();
    covered.add(NOW - Span::hours(23), NOW + days(2));
    // Damage set it back from a position that was ahead.
    stage.core.streams[0].known = Known::beside([], covered);
    stage.begin();
    let passed_over = NOW - Span::hours(3);
    let set = back(stage.page(&[passed_over], None));
    assert!(set.latest <= NOW + Span::minutes(2), "{set:?}");
    assert_eq!(stage.core.streams[0].collected, 0);
    stage.set_back(&set);
    stage.page(&[passed_over], None);
    assert_eq!(stage.core.streams[0].collected, 1);
}

#[test]
fn nothing_is_compared_while_a_position_is_ahead_of_the_tenants_clock() {
    for (position, is_compared) in [(NOW + days(2), false), (NOW - days(2), true)] {
        let mut stage = Stage::new(Start::Now, stood(position));
        stage.core.streams[0].reconcile = Reconcile::new(Span::minutes(10), None, BEGIN);
        stage.local = Some(NOW + days(2));
        stage.begin();
        for _ in 0..3 {
            let next = stage.page(&[], None);
            assert_eq!(matches!(next, Action::Count(_)), is_compared, "{next:?}");
        }
    }
}

#[test]
fn once_is_not_done_while_any_clock_says_that_a_position_is_ahead() {
    let ends = |position, local, lies: [Option<Span>; 2]| {
        let mut stage = Stage::of(Start::Now, stood(position), Mode::Once);
        (stage.local, stage.lie) = (local, lies[0]);
        stage.begin();
        stage.lie = lies[1];
        (stage.page(&[], None), stage.reason())
    };
    let (ahead, two) = (NOW + days(2), Some(days(2)));
    let doubted = (Action::Exit(End::TryLater), Reason::PositionAhead);
    assert_eq!(ends(ahead, Some(ahead), [None, None]), doubted, "the tenant's own");
    assert_eq!(ends(ahead, None, [two, None]), doubted, "one of two claims");
    assert_eq!(ends(ahead, None, [None, two]), doubted, "the other one");
    assert_eq!(ends(ahead, Some(NOW), [two, two]), doubted, "this machine's");
    let (done, _) = ends(NOW, Some(NOW), [None, None]);
    assert_eq!(done, Action::Exit(End::Done));
    let (done, _) = ends(NOW - days(1), None, [two, None]);
    assert_eq!(done, Action::Exit(End::Done), "no clock speaks against it");
}

#[test]
fn once_sets_a_position_back_that_its_last_answer_rules_out() {
    let mut stage = Stage::of(Start::Ago(days(1)), stood(NOW + days(2)), Mode::Once);
    stage.local = None;
    stage.begin();
    let set = back(stage.page(&[], None));
    let from = fetch_from(stage.set_back(&set));
    assert!(from < NOW, "{from}");
    assert_eq!(stage.page(&[NOW], None), Action::Exit(End::Done));
}

#[test]
fn a_stream_set_back_in_the_process_that_began_it_knows_what_it_passed_over() {
    let mut stage = Stage::new(Start::Ago(days(1)), None);
    (stage.local, stage.lie) = (None, Some(Span::hours(30)));
    assert!(fetch_from(stage.begin()) > NOW);
    stage.page(&[], None);
    stage.lie = None;
    stage.page(&[], None);
    let set = back(stage.page(&[], None));
    assert!(!set.is_open, "{set:?}");
    let begin = set.begin.from;
    assert!(begin >= NOW - days(1) && begin <= NOW - days(1) + Span::minutes(1), "{begin}");
}

#[test]
fn records_dated_ahead_with_their_console_are_all_known_when_it_is_corrected() {
    let mut stage = Stage::new(Start::Ago(days(1)), None);
    stage.lie = Some(days(2));
    stage.begin();
    let ahead: Vec<Stamp> = (0..10).map(|n| NOW + days(2) + Span::seconds(n)).collect();
    let mut next = NOW;
    for _ in 0..3 {
        next = fetch_from(stage.page(&ahead, None));
        assert!(next <= NOW + Span::minutes(15), "{next}");
    }
    assert_eq!(stage.core.streams[0].collected, 10);
    assert_eq!(stage.tenant_reason(), Reason::ClocksDisagree);
    stage.lie = None;
    let mut new = vec![];
    for n in 0..5 {
        // What raised a doubt is asked for again at once, so the time alone does not tell them apart.
        new.push(stage.time() + Span::seconds(n));
        let rows = new.iter().chain(&ahead).copied();
        let asked: Vec<Stamp> = rows.filter(|stamp| *stamp >= next).collect();
        next = fetch_from(stage.page(&asked, None));
        assert!(next <= stage.time() + Span::seconds(n), "{next}");
    }
    assert_eq!(stage.core.streams[0].collected, 15, "each once");
    assert_eq!(stage.core.view(stage.now).health(), Health::Healthy);
}

/// This machine is days behind, the console was days ahead, and nothing waits whose delivery would bring the time.
#[test]
fn coralogix_is_asked_for_its_time_where_one_clock_alone_calls_start_ahead() {
    let mut stage = Stage::new(Start::At(NOW - Span::hours(1)), stood(NOW + Span::hours(3)));
    (stage.local, stage.sink_answer) = (Some(NOW - days(2)), Some(NOW));
    stage.begin();
    let action = match stage.page(&[], None) {
        Action::Fetch(_) => stage.page(&[], None),
        other => other,
    };
    back(action);
    assert_eq!(stage.time_asked, 1);
}

#[test]
fn an_empty_page_with_a_cursor_is_no_end() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    for n in 0..3 {
        let Action::Fetch(fetch) = stage.page(&[], Some(&format!("cursor {n}"))) else { panic!() };
        assert_eq!(fetch.cursor, Some(Cursor(format!("cursor {n}"))));
    }
    stage.page(&[NOW], None);
    assert_eq!(stage.core.streams[0].collected, 1);
    let mut pages = 0;
    while stage.reason() != Reason::EmptyPages {
        pages += 1;
        assert!(pages <= limits::EMPTY_PAGES_MAX, "it never ends");
        stage.page(&[], Some(&format!("endless {pages}")));
    }
    assert_eq!(stage.core.view(stage.now).health(), Health::Degraded);
}

#[test]
fn refused_cursors_stop_no_stream_and_only_progress_ends_a_failure() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    // A page holds two rows; all fall into the overlap.
    let rows: Vec<Stamp> = (0..40).map(|n| NOW - Span::seconds(40 - n)).collect();
    let (mut asked, mut refused) = (0, 0);
    let mut action = stage.begin();
    while stage.core.streams[0].collected < 40 {
        asked += 1;
        assert!(asked < 100, "{} collected", stage.core.streams[0].collected);
        action = match action {
            Action::Fetch(Fetch { cursor: Some(_), .. }) => {
                refused += 1;
                stage.refuse_cursor()
            }
            Action::Fetch(Fetch { from, .. }) => {
                let page: Vec<Stamp> =
                    rows.iter().copied().filter(|at| *at >= from).take(2).collect();
                stage.page(&page, Some("next"))
            }
            other => panic!("{other:?}"),
        };
    }
    assert!(refused <= limits::CURSORS_REFUSED_MAX, "{refused}");

    // Two rows of one stamp fill the page, and there is no way past them: told, and ever more rarely.
    let mut stuck = Stage::new(Start::Now, stood(NOW));
    let begun = stuck.now;
    let mut action = stuck.begin();
    // First it is found out that no row behind the page is rejected alone.
    for _ in 0..120 {
        action = match action {
            Action::Fetch(Fetch { cursor: Some(_), .. }) => stuck.refuse_cursor(),
            Action::Fetch(Fetch { to: Some(_), rows_max: 1, .. }) => stuck.page(&[], None),
            _ => stuck.page(&[NOW, NOW], Some("next")),
        };
    }
    assert_eq!(stuck.core.view(stuck.now).health(), Health::Degraded);
    assert!(!stuck.core.streams[0].caught_up);
    assert!(stuck.now.since(begun) > Span::minutes(40), "{}", stuck.now.since(begun));
}

#[test]
fn a_console_that_refuses_so_many_rows_is_asked_for_fewer() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let rows: Vec<Stamp> = (0..40).map(|n| NOW - Span::seconds(40 - n)).collect();
    let begun = stage.now;
    let mut action = stage.begin();
    let mut asked = vec![];
    while stage.core.streams[0].collected < 40 {
        let Action::Fetch(Fetch { rows_max, from, .. }) = action else { panic!("{action:?}") };
        asked.push(rows_max);
        assert!(asked.len() < 20, "{asked:?}");
        action = match rows_max > 200 {
            true => stage.refuse_cursor(),
            false => {
                let page: Vec<Stamp> = rows.iter().copied().filter(|at| *at >= from).collect();
                stage.page(&page, None)
            }
        };
    }
    assert_eq!(asked, [1_000, 500, 250, 125]);
    assert!(stage.now.since(begun) < Span::minutes(10), "{}", stage.now.since(begun));

    // Where one row is refused too, the query is: it is told, and asked for ever more rarely.
    let mut refused = Stage::new(Start::Now, stood(NOW));
    refused.begin();
    let begun = refused.now;
    (0..30).for_each(|_| drop(refused.refuse_cursor()));
    let lane = &refused.core.streams[0].lane;
    assert_eq!(lane.reason, Reason::QueryRefused);
    assert!(refused.now.since(begun) > Span::minutes(60), "{}", refused.now.since(begun));
    refused.page(&[NOW], None);
    assert_eq!(refused.core.streams[0].rows.now(), limits::PAGE_ROWS_MAX);
}

#[test]
fn rows_in_another_order_hold_the_position_until_the_walk_is_whole() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let before = stage.progress();
    let at = |minutes| NOW - Span::minutes(minutes);
    stage.page(&[at(1), at(5)], Some("a"));
    assert_eq!((stage.progress(), stage.reason()), (before, Reason::OrderIgnored));
    // The walk breaks off: nothing was passed over.
    assert_eq!(fetch_from(stage.refuse_cursor()), before.from);
    stage.page(&[at(1), at(5)], Some("a"));
    stage.page(&[at(9), at(20)], None);
    assert_eq!(stage.progress().position, at(1));
    assert_eq!(stage.core.streams[0].collected, 4, "each once");
    assert_eq!(stage.reason(), Reason::OrderIgnored, "told for as long as it lasts");
    stage.page(&[at(1), NOW], None);
    assert_eq!(stage.reason(), Reason::PollInterval);
}

#[test]
fn a_stream_that_stands_still_does_not_carry_its_overlap_with_each_poll() {
    let last = NOW - Span::minutes(1);
    for local in [Some(NOW), None] {
        let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
        stage.local = local;
        stage.begin();
        let rows = [last - Span::seconds(30), last];
        let mut from = vec![];
        for _ in 0..6 {
            from.push(fetch_from(stage.page(&rows, None)));
            let settled = stage.time() - POLL - OVERLAP >= last;
            assert!(settled || from[from.len() - 1] < last - Span::seconds(30), "{from:?}");
        }
        // One clock alone is not enough.
        let still = if local.is_some() { last } else { last - OVERLAP };
        assert_eq!(from[5], still, "{local:?}");
        // What comes new has its overlap looked at again, and nothing is taken in twice.
        let new = stage.time() - Span::seconds(30);
        let next = fetch_from(stage.page(&[last, new], None));
        assert_eq!((next <= new - OVERLAP, stage.core.streams[0].collected), (true, 3));
    }
}

#[test]
fn what_was_not_stored_is_read_again_where_a_stream_stands_still() {
    let last = NOW - Span::minutes(10);
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    stage.page(&[last], None);
    assert_eq!(fetch_from(stage.page(&[last], None)), last);
    stage.core.streams[0].not_stored();
    assert!(stage.core.streams[0].fetch(0).from < last);
}

#[test]
fn a_first_page_of_one_stamp_shows_no_order() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let before = stage.progress();
    stage.page(&[NOW - Span::minutes(1); 20], Some("a"));
    assert_eq!(stage.progress(), before, "what is older may come with the next page");
    assert_eq!(fetch_from(stage.refuse_cursor()), before.from);
    stage.page(&[NOW - Span::minutes(1); 20], Some("a"));
    stage.page(&[NOW - Span::minutes(9)], None);
    assert_eq!(
        (stage.progress().position, stage.core.streams[0].collected),
        (NOW - Span::minutes(1), 2)
    );
}

#[test]
fn rows_outside_of_the_range_are_not_taken_and_shown() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let old: Vec<Stamp> = (2..50).map(|n| NOW - days(n)).rev().collect();
    stage.page(&[old.as_slice(), &[NOW]].concat(), None);
    assert_eq!(stage.core.streams[0].collected, 1);
    assert_eq!(stage.reason(), Reason::FilterIgnored);
    assert!(!stage.core.streams[0].reconcile.is_on());
    stage.page(&[NOW], None);
    assert_eq!(stage.reason(), Reason::PollInterval);
}

#[test]
fn a_circle_of_cursors_ends_and_is_not_called_the_end() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let mut pages = 0;
    while stage.reason() != Reason::PagesLeadBack {
        pages += 1;
        assert!(pages < 30, "it goes round and round");
        stage.page(&[NOW], Some(["a", "b", "c"][pages % 3]));
    }
    assert!(!stage.core.streams[0].caught_up);
    assert_eq!(stage.core.view(stage.now).health(), Health::Degraded);
    stage.page(&[NOW], None);
    assert_eq!(stage.reason(), Reason::PollInterval);
}

#[test]
fn no_position_follows_what_came_after_a_page_that_led_on_without_a_new_record() {
    let from = NOW - days(1);
    let row = |minute: u64| from + Span::minutes(minute);
    for blank in [&[][..], &[0, 1, 2]] {
        let mut stage = Stage::new(Start::Now, stood(from));
        let blank: Vec<Stamp> = blank.iter().map(|minute| row(*minute)).collect();
        stage.begin();
        // The rows of the second page are there, and do not come.
        let pages: [(Vec<Stamp>, Option<&str>); 3] = [
            ((0..20).map(row).collect(), Some("a")),
            (blank, Some("b")),
            ((40..61).map(row).collect(), None),
        ];
        for (page, next) in pages {
            stage.page(&page, next);
        }
        assert!(stage.progress().position <= row(19), "{:?}", stage.progress());
        assert_eq!(stage.core.view(stage.now).streams[0].collected, 41);
        for (page, next) in [(0..20, Some("a")), (20..40, Some("b")), (40..61, None)] {
            stage.page(&page.map(row).collect::<Vec<_>>(), next);
        }
        assert_eq!(stage.progress().position, row(60));
        assert_eq!(stage.core.view(stage.now).streams[0].collected, 61);
    }
}

#[test]
fn a_console_with_an_empty_page_in_each_walk_moves_its_position_in_the_end() {
    let from = NOW - days(1);
    let mut stage = Stage::new(Start::Now, stood(from));
    stage.begin();
    for walk in 0..=limits::BLANK_WALKS {
        assert!(stage.progress().position <= from, "{walk}");
        stage.page(&[], Some("a"));
        stage.page(&[from + Span::minutes(9)], None);
    }
    assert_eq!(stage.progress().position, from + Span::minutes(9));
}

#[test]
fn a_question_for_older_records_that_always_fails_does_not_hold_up_a_run_with_once() {
    let progress = Some(Progress { position: NOW - days(3), from: NOW - days(3) - OVERLAP });
    let mut stage = Stage::of(Start::Now, progress, Mode::Once);
    stage.fails_older = true;
    let mut action = stage.begin();
    for _ in 0..9 {
        action = match action {
            Action::Fetch(_) => stage.page(&[NOW - days(1)], None),
            action => {
                assert_eq!(action, Action::Exit(End::Done));
                assert_eq!(stage.progress().position, NOW - days(1));
                return;
            }
        };
    }
    panic!("it never ends: {action:?}");
}

#[test]
fn a_slow_clock_that_two_others_outvote_takes_no_beginning_back() {
    let right = NOW + Span::hours(2);
    let mut stage = Stage::new(Start::Now, stood(right));
    (stage.local, stage.sink) = (Some(right), Some(right));
    for _ in 0..3 {
        let from = fetch_from(stage.begin());
        assert!(right <= from && from < right + Span::minutes(1), "{from}");
        stage.page(&[], None);
    }
}

#[test]
fn a_stream_begins_by_the_earliest_clock_also_where_two_others_outvote_it() {
    let ahead = Span::hours(12);
    let mut stage = Stage::new(Start::Ago(days(1)), None);
    (stage.sink, stage.lie) = (Some(NOW + ahead), Some(ahead));
    let from = fetch_from(stage.begin());
    assert!(from <= NOW + Span::minutes(1) - days(1), "{from}");
}

#[test]
fn two_services_that_go_back_together_send_nothing_again_and_are_told() {
    let mut stage = Stage::new(Start::Ago(days(1)), stood(NOW - days(1)));
    let true_time = Span::minutes(40);
    let right = Some(NOW + true_time);
    (stage.local, stage.sink, stage.lie) = (right, right, Some(true_time));
    stage.begin();
    for _ in 0..3 {
        let seen = stage.time() + true_time;
        stage.page(&[seen], None);
    }
    let position = stage.progress().position;
    assert!(position >= NOW + true_time);
    (stage.sink, stage.lie) = (Some(NOW), None);
    for _ in 0..5 {
        fetch_from(stage.page(&[], None));
        assert_eq!(stage.progress().position, position);
    }
    assert_eq!(stage.core.view(stage.now).health(), Health::Degraded);
}

#[test]
fn a_stream_that_never_saw_a_record_is_well_before_the_first_answer_of_a_process() {
    let mut stage = Stage::new(Start::Ago(days(1)), stood(NOW - days(1)));
    stage.begin();
    assert_eq!(stage.core.view(stage.now).health(), Health::Healthy);
}

#[test]
fn a_set_back_that_moves_nothing_is_not_repeated_at_once() {
    let mut stage = Stage::new(Start::Ago(days(1)), stood(NOW + days(2)));
    stage.begin();
    let set = back(stage.page(&[], None));
    let progress = Some(stage.progress());
    let held = StreamStatus { progress, ..StreamStatus::default() };
    let result = Ok((QueueStatus::default(), held));
    fetch_from(stage.after(Event::SetBack { stream: set.stream, result }));
}
