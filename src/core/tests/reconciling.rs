//! Reconciliation of one stream against a console that fails some of its requests: what is late is
//! found, what can't be found is told, and nothing else waits for it.

use std::collections::BTreeSet;

use super::*;
use crate::core::place_tests::*;
use crate::core::reconcile::{Count, List, Reconcile};
use crate::core::source::PageFacts;
use crate::core::{Event, Health};
use crate::record::{Cursor, RowKey, Start, Total};
use crate::time::Clocks;

/// A request of reconciliation; a list with the rows that would come.
enum Asked<'a> {
    Count(&'a Count),
    List(&'a List, &'a [RowKey]),
}

/// How a request fails, if it does.
type Says = Box<dyn FnMut(&Asked<'_>) -> Option<SourceTrouble>>;

struct Console {
    stage: Stage,
    there: BTreeSet<RowKey>,
    collected: BTreeSet<RowKey>,
    says: Says,
    /// The most rows in a page of a list.
    page_rows: usize,
    polls: u32,
    counts: Vec<Mono>,
    lists: Vec<(u32, Mono)>,
    /// After a failure no request of reconciliation is made before this.
    not_before: Mono,
    next: Option<Action>,
}

fn key(hours_ago: u64, id: u64) -> RowKey {
    RowKey { stamp: NOW - Span::hours(hours_ago), id }
}

fn broken() -> SourceTrouble {
    SourceTrouble::BrokenAnswer("HTTP 500".into())
}

fn rejected() -> SourceTrouble {
    SourceTrouble::QueryRefused("HTTP 400".into())
}

impl Console {
    /// Has these rows, none of which was collected.
    fn with(
        rows: impl IntoIterator<Item = RowKey>,
        says: impl FnMut(&Asked<'_>) -> Option<SourceTrouble> + 'static,
    ) -> Console {
        let mut stage = Stage::new(Start::Now, stood(NOW));
        stage.core.streams[0].reconcile = Reconcile::new(Span::hours(1), None, stage.now);
        let next = Some(stage.begin());
        let (there, collected) = (rows.into_iter().collect(), BTreeSet::new());
        let (polls, counts, lists, not_before) = (0, vec![], vec![], Mono::ZERO);
        let (says, page_rows): (Says, _) = (Box::new(says), usize::MAX);
        Console { stage, there, collected, says, page_rows, polls, counts, lists, not_before, next }
    }

    fn within(rows: &BTreeSet<RowKey>, from: Stamp, to: Stamp) -> Vec<RowKey> {
        let range = RowKey { stamp: from, id: 0 }..RowKey { stamp: to, id: 0 };
        rows.range(range).copied().collect()
    }

    fn go_on(&mut self, span: Span) {
        let until = self.stage.time() + span;
        while self.stage.time() < until {
            self.go_one();
        }
    }

    fn go_one(&mut self) {
        let date = Some(self.stage.time());
        self.next = Some(match self.next.take().expect("an action") {
            Action::Fetch(_) => {
                self.polls += 1;
                self.stage.page(&[], None)
            }
            Action::Count(count) => {
                let from = count.from.unwrap_or(NOW - Span::hours(24));
                let there = Console::within(&self.there, from, count.to).len() as u64;
                let collected = Console::within(&self.collected, from, count.to).len() as u64;
                let counted = Counted { from, collected, there: Total::Is(there), date };
                self.counts.push(self.stage.now);
                let says = self.said(&Asked::Count(&count));
                let counted = says.map_or(Ok(Some(counted)), Err);
                self.stage.after(Event::Counted { stream: 0, counted })
            }
            Action::List(list) => {
                let listed = self.listed(&list);
                self.stage.after(Event::Listed { stream: 0, listed })
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(self.stage.core.streams[0].collected as usize, self.collected.len());
    }

    fn listed(&mut self, list: &List) -> Result<Listed, SourceTrouble> {
        let skip = list.cursor.as_ref().map_or(0, |cursor| cursor.0.parse().unwrap());
        let all = Console::within(&self.there, list.from, list.to);
        let most = self.page_rows.min(list.rows_max as usize);
        let keys: Vec<RowKey> = all.iter().skip(skip).take(most).copied().collect();
        self.lists.push((list.rows_max, self.stage.now));
        if let Some(trouble) = self.said(&Asked::List(list, &keys)) {
            return Err(trouble);
        }
        let end = skip + keys.len();
        let next = (end < all.len()).then(|| Cursor(end.to_string()));
        let unseen = keys.iter().map(|key| self.collected.insert(*key)).collect();
        let page = PageFacts { keys, next, date: Some(self.stage.time()) };
        Ok(Listed { page, unseen, outside: 0 })
    }

    fn said(&mut self, asked: &Asked<'_>) -> Option<SourceTrouble> {
        let now = self.stage.now;
        assert!(now >= self.not_before, "too soon after a failure");
        let trouble = (self.says)(asked);
        let wait = match &trouble {
            Some(SourceTrouble::Busy { retry_after: Some(after), .. }) => *after,
            Some(_) => Span::seconds(1),
            None => Span::ZERO,
        };
        self.not_before = now + wait;
        trouble
    }

    fn refused(&self) -> bool {
        self.stage.core.streams[0].reconcile.summary.refused.is_some()
    }

    /// All but these were found, and for each of these there is a gap.
    fn has_all_but(&self, bad: &[RowKey]) {
        let missing: Vec<RowKey> = self.there.difference(&self.collected).copied().collect();
        assert_eq!(missing, bad);
        assert_eq!(self.stage.missed.len(), bad.len(), "{:?}", self.stage.missed);
        for (key, gap) in bad.iter().zip(&self.stage.missed) {
            assert!(gap.from <= key.stamp && key.stamp < gap.to, "{gap:?}");
        }
    }
}

#[test]
fn a_list_that_fails_is_listed_in_parts_and_a_row_that_always_fails_becomes_a_gap() {
    let (bad, late) = (key(9, 5), [key(3, 1), key(10, 4), key(19, 2)]);
    for trouble in [broken(), rejected(), SourceTrouble::busy(None)] {
        let fails = trouble.clone();
        let rows = late.into_iter().chain([bad]);
        let mut console = Console::with(rows, move |asked| match asked {
            Asked::List(_, rows) if rows.contains(&bad) => Some(fails.clone()),
            _ => None,
        });
        console.go_on(Span::hours(12));
        console.has_all_but(&[bad]);
        assert!(!console.refused(), "{trouble:?}");
        assert!(console.polls > 12 * 60 - 20, "{trouble:?}: {} polls", console.polls);
        let lists = console.lists.len();
        console.go_on(Span::hours(6));
        assert_eq!(console.lists.len(), lists, "{trouble:?}: it is set aside");
    }
}

/// A list that is put off has its count answered, so nothing but its own wait grows.
#[test]
fn a_list_that_is_put_off_each_time_waits_ever_longer_after_its_count_and_nobody_else_does() {
    for patience in [None, Some(Span::minutes(7))] {
        let mut console = Console::with([key(3, 1), key(9, 2)], move |asked| match asked {
            Asked::List(..) => Some(SourceTrouble::busy(patience)),
            Asked::Count(_) => None,
        });
        console.go_on(Span::hours(2));
        let (lists, polls) = (console.lists.len(), console.polls);
        let wait = patience.unwrap_or(Span::minutes(5));
        let most = 2 * 60 * 60_000 / wait.as_ms() as usize / 2 + 16;
        assert!((9..=most).contains(&lists), "{patience:?}: {lists} lists, {most} at most");
        // Once everybody waits, for it may be meant for all.
        let once = patience.map_or(0, |patience| patience.as_ms() / 60_000) as u32;
        assert!((119 - once - 3..=121 - once).contains(&polls), "{patience:?}: {polls} polls");
        for (_, at) in console.lists.iter().skip(10) {
            let count = console.counts.iter().rfind(|count| *count < at).expect("a count");
            assert!(at.since(*count) >= Span::minutes(4), "{}", at.since(*count));
        }
    }
}

#[test]
fn a_list_that_was_put_off_once_slows_down_none_that_fails_in_another_way() {
    let mut lists = 0;
    let mut console = Console::with([key(9, 1)], move |asked| match asked {
        Asked::List(..) => {
            lists += 1;
            Some(if lists == 1 { SourceTrouble::busy(None) } else { broken() })
        }
        Asked::Count(_) => None,
    });
    console.go_on(Span::minutes(10));
    assert!(console.lists.len() > 15, "{} lists", console.lists.len());
}

#[test]
fn a_console_that_rejects_so_many_rows_is_asked_for_fewer_and_not_for_parts() {
    let mut console = Console::with((2..20).map(|hour| key(hour, hour)), |asked| match asked {
        Asked::List(list, _) if list.rows_max > 100 => Some(rejected()),
        _ => None,
    });
    console.go_on(Span::minutes(50));
    console.has_all_but(&[]);
    let rows: Vec<u32> = console.lists.iter().map(|(rows, _)| *rows).collect();
    assert_eq!(rows, [1_000, 500, 250, 125, 62]);
    assert!(!console.refused());
}

#[test]
fn a_cursor_that_is_rejected_once_is_not_used_again_and_the_list_begins_anew() {
    let mut cursors = 0;
    let mut console = Console::with((0..12).map(|id| key(9, id)), move |asked| match asked {
        Asked::List(List { cursor: Some(_), .. }, _) => {
            cursors += 1;
            (cursors == 1).then(rejected)
        }
        _ => None,
    });
    console.page_rows = 5;
    console.go_on(Span::minutes(50));
    console.has_all_but(&[]);
    assert_eq!((console.lists.len(), console.refused()), (5, false));
}

#[test]
fn where_all_lists_are_rejected_a_list_of_nothing_shows_it_and_it_is_not_compared_again() {
    let mut console = Console::with([key(9, 1)], |asked| match asked {
        Asked::List(..) => Some(rejected()),
        Asked::Count(_) => None,
    });
    console.go_on(Span::hours(9));
    assert!(console.refused());
    assert!(console.lists.len() <= 12 && console.stage.missed.is_empty());
    assert!(console.polls > 9 * 60 - 20);
}

#[test]
fn a_list_of_nothing_that_is_put_off_waits_and_decides_nothing() {
    let mut put_off = 0;
    let bad = key(9, 1);
    let mut console = Console::with([bad, key(3, 2)], move |asked| match asked {
        Asked::List(List { from: Stamp::EPOCH, .. }, _) if put_off < 2 => {
            put_off += 1;
            Some(SourceTrouble::busy(Some(Span::minutes(20))))
        }
        Asked::List(_, rows) if rows.contains(&bad) => Some(rejected()),
        _ => None,
    });
    console.go_on(Span::hours(12));
    console.has_all_but(&[bad]);
    assert!(!console.refused());
}

#[test]
fn rows_from_outside_of_a_listed_range_are_not_taken_and_end_the_comparing() {
    let mut console = Console::with([key(9, 1)], |_| None);
    while !matches!(console.next, Some(Action::List(_))) {
        console.go_one();
    }
    let page = PageFacts { keys: vec![key(1, 7), key(9, 1)], next: None, date: None };
    let listed = Ok(Listed { page, unseen: vec![true; 2], outside: 1 });
    console.next = Some(console.stage.after(Event::Listed { stream: 0, listed }));
    assert_eq!(console.stage.core.streams[0].collected, 0);
    let view = console.stage.core.view(console.stage.now);
    assert_eq!(
        (view.streams[0].lane.reason, view.health()),
        (Reason::FilterIgnored, Health::Degraded)
    );
    assert!(console.refused());
    let counts = console.counts.len();
    console.go_on(Span::hours(3));
    assert_eq!((console.counts.len(), console.lists.len()), (counts, 0));
}

#[test]
fn a_source_that_counts_no_wide_range_is_compared_in_parts() {
    let mut console = Console::with([key(9, 1)], |asked| match asked {
        Asked::Count(Count { from, to, .. }) => {
            let from = from.unwrap_or(*to - Span::hours(24 * 7));
            (to.since(from) > Span::hours(6)).then(broken)
        }
        Asked::List(..) => None,
    });
    console.go_on(Span::hours(9));
    console.has_all_but(&[]);
    assert!(console.stage.core.streams[0].reconcile.summary.until.is_some());
}

#[test]
fn a_round_whose_requests_all_fail_ends_and_holds_up_no_poll() {
    for trouble in [broken(), SourceTrouble::busy(Some(Span::minutes(10)))] {
        let says = trouble.clone();
        let mut console = Console::with([], move |_| Some(says.clone()));
        console.go_on(Span::hours(24));
        let summary = &console.stage.core.streams[0].reconcile.summary;
        assert!((1..=24).contains(&summary.unchecked), "{trouble:?}: {}", summary.unchecked);
        // The patience that was asked for first is everybody's.
        assert!(console.polls >= 24 * 60 - 12, "{trouble:?}: {} polls", console.polls);
    }
}

fn step(stage: &mut Stage, event: Event, poll_now: bool) -> Action {
    let clocks = Clocks { local: Some(stage.time()), sink: None };
    stage.core.step(&Tick { now: stage.now, clocks, poll_now, ..Tick::default() }, event)
}

/// Up to the first count.
fn counting() -> Console {
    let mut console = Console::with([], |_| None);
    while !matches!(console.next, Some(Action::Count(_))) {
        console.go_one();
    }
    console
}

#[test]
fn a_token_that_may_not_count_is_looked_at_at_once() {
    for trouble in
        [SourceTrouble::TokenDoubted("401".into()), SourceTrouble::TokenRefused("401".into())]
    {
        let mut console = counting();
        let counted = Event::Counted { stream: 0, counted: Err(trouble) };
        console.stage.core.tenants[0].lane.due = Due::Never;
        let action = step(&mut console.stage, counted, false);
        assert_eq!(action, Action::Info { tenant: 0 });
        assert_eq!(console.stage.core.tenants[0].token, Token::Doubted);
    }
}

#[test]
fn nobodys_hurry_undercuts_the_patience_that_a_count_was_asked_for() {
    let mut console = counting();
    let patience = Span::minutes(30);
    let until = console.stage.now + patience;
    let counted = Err(SourceTrouble::busy(Some(patience)));
    step(&mut console.stage, Event::Counted { stream: 0, counted }, false);
    console.stage.now = console.stage.now + Span::minutes(2);
    while console.stage.now < until {
        match step(&mut console.stage, Event::Woke, true) {
            Action::Sleep { until, .. } => console.stage.now = until,
            Action::TokenEnd { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    // Nothing is compared before its end.
    let before = Mono(until.0 - 1);
    let may = |now| console.stage.core.may_reconcile(0, now);
    assert_eq!([before, until].map(may), [false, true]);
}

/// Whatever an answer is for, its date is one.
#[test]
fn the_date_of_each_answer_tells_the_time() {
    let date = Some(NOW);
    let (by_creation, by_change) = (None, Some(NOW - Span::hours(2)));
    for changed_from in [by_creation, by_change] {
        let mut stage = Stage::new(Start::Now, stood(NOW));
        if let Some(from) = changed_from {
            let stream = &mut stage.core.streams[0];
            (stream.plan.kind, stream.caught_up) = (Kind::Threats, true);
            stream.changed.begins(from);
            assert!(stream.count_changed(0, Some(NOW)).is_some());
        }
        let counted =
            Counted { from: NOW - Span::hours(1), collected: 0, there: Total::Is(0), date };
        step(&mut stage, Event::Counted { stream: 0, counted: Ok(Some(counted)) }, false);
        assert!(stage.core.tenants[0].clock.was_told(), "{changed_from:?}");
    }
    let mut stage = Stage::new(Start::Now, stood(NOW));
    let page = PageFacts { keys: vec![], next: None, date };
    let listed = Ok(Listed { page, unseen: vec![], outside: 0 });
    step(&mut stage, Event::Listed { stream: 0, listed }, false);
    assert!(stage.core.tenants[0].clock.was_told());
}
