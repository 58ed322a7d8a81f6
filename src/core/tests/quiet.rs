//! A console whose lists say less than its counts: nobody may be told that all is well.

use std::collections::BTreeSet;

use super::place_tests::*;
use super::reconcile::{Counted, Listed, Reconcile};
use super::source::Missed;
use super::*;
use crate::record::{GapReason, RowKey, Start, Total};

/// A stage with a console that has a record each ten minutes, and what was stored of it.
struct Console {
    stage: Stage,
    there: BTreeSet<RowKey>,
    collected: BTreeSet<RowKey>,
    /// Pages of walks have no more rows than that, and no cursor.
    walk_rows: usize,
    /// The same of lists.
    list_rows: usize,
    /// So many more are counted than there are in the hour from this time on.
    overcounts: Option<(Stamp, u64)>,
    counts: u32,
    lists: u32,
    next: Option<Action>,
}

impl Console {
    fn new() -> Console {
        let mut stage = Stage::new(Start::Now, stood(NOW - Span::hours(1)));
        stage.core.streams[0].reconcile = Reconcile::new(Span::hours(1), None, stage.now);
        let next = Some(stage.begin());
        let (there, collected) = (BTreeSet::new(), BTreeSet::new());
        let (walk_rows, list_rows, overcounts, counts, lists) =
            (usize::MAX, usize::MAX, None, 0, 0);
        Console { stage, there, collected, walk_rows, list_rows, overcounts, counts, lists, next }
    }

    /// The rows of a range that are visible.
    fn within(&self, from: Stamp, to: Stamp) -> Vec<RowKey> {
        let now = self.stage.time();
        let is_in = |key: &&RowKey| key.stamp >= from && key.stamp < to && key.stamp <= now;
        self.there.iter().filter(is_in).copied().collect()
    }

    /// Goes on until so long from now, with a record each ten minutes.
    fn pass(&mut self, span: Span) {
        let until = self.stage.time() + span;
        let mut at = self.stage.time() + Span::minutes(10);
        while at < until {
            self.there.insert(RowKey { stamp: at, id: at.0 as u64 });
            at = at + Span::minutes(10);
        }
        self.go_on(until);
    }

    fn go_on(&mut self, until: Stamp) {
        while self.stage.time() < until {
            let event = match self.next.take().expect("an action") {
                Action::Fetch(fetch) => {
                    let mut keys = self.within(fetch.from, Stamp::UNREADABLE);
                    keys.truncate(self.walk_rows);
                    self.page(fetch.stream, keys)
                }
                Action::Count(Count { stream, from, to, .. }) => {
                    self.counts += 1;
                    let from = from.unwrap_or(NOW - Span::hours(1));
                    let more = self.overcounts.filter(|(at, _)| from <= *at && *at < to);
                    let there = self.within(from, to).len() as u64 + more.map_or(0, |more| more.1);
                    let is_in = |key: &&RowKey| key.stamp >= from && key.stamp < to;
                    let collected = self.collected.iter().filter(is_in).count() as u64;
                    let (there, date) = (Total::Is(there), Some(self.stage.time()));
                    Event::Counted {
                        stream,
                        counted: Ok(Some(Counted { from, collected, there, date })),
                    }
                }
                Action::List(list) => {
                    self.lists += 1;
                    let mut keys = self.within(list.from, list.to);
                    keys.truncate(self.list_rows);
                    let unseen: Vec<bool> =
                        keys.iter().map(|key| !self.collected.contains(key)).collect();
                    let page = PageFacts { keys, next: None, date: Some(self.stage.time()) };
                    Event::Listed { stream: 0, listed: Ok(Listed { page, unseen, outside: 0 }) }
                }
                other => panic!("{other:?}"),
            };
            self.next = Some(self.after(event));
        }
    }

    fn page(&self, stream: usize, keys: Vec<RowKey>) -> Event {
        Event::Fetched {
            stream,
            page: Ok(PageFacts { keys, next: None, date: Some(self.stage.time()) }),
        }
    }

    /// What the core does next; what is new in a page counts as collected, once.
    fn after(&mut self, event: Event) -> Action {
        let keys = match &event {
            Event::Fetched { page: Ok(page), .. } => page.keys.clone(),
            Event::Listed { listed: Ok(listed), .. } => listed.page.keys.clone(),
            _ => vec![],
        };
        let before = self.stage.core.streams[0].collected;
        let action = self.stage.after(event);
        let new = keys.into_iter().filter(|key| self.collected.insert(*key)).count() as u64;
        let taken = self.stage.core.streams[0].collected - before;
        assert_eq!(taken, new, "each is stored, and once");
        action
    }

    fn missing(&self, before: Span) -> Vec<RowKey> {
        let past = self.within(Stamp::EPOCH, self.stage.time() - before);
        past.into_iter().filter(|key| !self.collected.contains(key)).collect()
    }

    fn reason(&self) -> Reason {
        self.stage.core.view(self.stage.now).streams[0].lane.reason
    }
}

#[test]
fn what_only_counts_show_after_the_last_record_of_the_walks_is_listed() {
    for walk_rows in [0, 7] {
        let mut console = Console::new();
        console.pass(Span::hours(3));
        assert_eq!((console.missing(Span::minutes(2)), console.lists), (vec![], 0));
        console.walk_rows = 0;
        let position = console.stage.progress().position;
        console.pass(Span::hours(9));
        console.walk_rows = walk_rows;
        console.pass(Span::hours(9));
        assert_eq!(console.missing(Span::minutes(130)), []);
        assert!(console.counts < 3 * 21 + 20 && console.lists <= 21, "{}", console.counts);
        assert!(walk_rows > 0 || console.stage.progress().position == position);
        // Walks that see them again know them.
        console.walk_rows = usize::MAX;
        console.pass(Span::hours(3));
        assert_eq!(console.missing(Span::minutes(2)), []);
        assert_ne!(console.reason(), Reason::CountsMore);
        assert_eq!(console.stage.missed, []);
    }
}

#[test]
fn a_stream_without_records_is_counted_up_to_its_walks_in_two_requests_an_hour() {
    let mut console = Console::new();
    console.pass(Span::hours(3));
    let counts = console.counts;
    console.go_on(console.stage.time() + Span::hours(24));
    assert_eq!(console.lists, 0);
    assert!((24..=49).contains(&(console.counts - counts)), "{}", console.counts - counts);
}

#[test]
fn what_is_counted_and_never_listed_is_told_until_it_comes() {
    let mut console = Console::new();
    console.pass(Span::hours(3));
    (console.walk_rows, console.list_rows) = (0, 0);
    console.pass(Span::hours(9));
    assert_eq!(
        (console.reason(), console.reason().health()),
        (Reason::CountsMore, Health::Degraded)
    );
    let told = |console: &Console, key: &RowKey| {
        let is_in = |gap: &Missed| gap.from <= key.stamp && key.stamp < gap.to;
        console.stage.missed.iter().any(is_in)
    };
    let missing = console.missing(Span::hours(5));
    let untold: Vec<_> = missing.iter().filter(|key| !told(&console, key)).collect();
    assert!(missing.len() > 20 && untold.is_empty(), "{untold:?} of {}", missing.len());
    assert!(console.stage.missed.iter().all(|gap| gap.reason == GapReason::Unfetchable));
    assert!(console.lists < 9 * 7, "{} lists in nine hours", console.lists);
    let gaps = console.stage.missed.len();
    // A list that recovers is met within a day, and so are walks.
    console.list_rows = usize::MAX;
    console.pass(Span::hours(27));
    assert_eq!(console.missing(Span::minutes(130)), []);
    assert_eq!((console.reason(), console.stage.missed.len()), (Reason::PollInterval, gaps));
}

#[test]
fn a_count_that_is_too_high_is_told_in_the_second_round_and_once_and_until_it_agrees() {
    let mut console = Console::new();
    console.pass(Span::hours(4));
    console.overcounts = Some((console.stage.time() - Span::hours(2), 2));
    let begun = console.stage.time();
    while console.lists == 0 {
        console.pass(Span::minutes(5));
    }
    console.pass(Span::minutes(30));
    let listed = console.lists;
    assert_eq!((console.stage.missed.len(), console.reason()), (0, Reason::PollInterval));
    console.pass(Span::hours(1));
    assert_eq!((console.stage.missed.len(), console.reason()), (1, Reason::CountsMore));
    console.pass(Span::hours(12));
    assert_eq!((console.stage.missed.len(), console.reason()), (1, Reason::CountsMore));
    assert!(console.lists <= 2 * listed, "{} after {listed}", console.lists);
    console.overcounts = None;
    console.pass(Span::minutes(70));
    assert_eq!((console.stage.missed.len(), console.reason()), (1, Reason::PollInterval));
    assert_eq!(console.missing(Span::minutes(2)), []);
    assert!(console.stage.time().since(begun) < Span::hours(17));
}
