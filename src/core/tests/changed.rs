//! A console that counts changes of threats right and leaves some out of its pages: none of those that were
//! counted by their creation before may be missed.

use std::collections::BTreeMap;

use super::*;
use crate::core::Event;
use crate::core::place_tests::*;
use crate::core::reconcile::{Listed, Reconcile};
use crate::core::source::{Missed, PageFacts};
use crate::core::source_clock::Present;
use crate::record::{Cursor, RowPlace, Start};

const THREATS: u64 = 40;
const PAGE: usize = 10;

/// Threats that were all counted by creation long ago, and change in turn.
struct Console {
    stage: Stage,
    /// The present versions.
    there: BTreeMap<u64, Stamp>,
    stored: BTreeSet<RowKey>,
    /// Pages in the middle of a walk lack each third row.
    lacks: bool,
    /// Each page is empty, and leads to another one.
    is_empty: bool,
    /// So many more are counted than there are.
    more: u64,
    counts: u32,
    /// How often it was counted by creation, and how a count by the last change fails.
    rounds: u32,
    fails: Option<SourceTrouble>,
    walks: u32,
    next: Option<Action>,
}

impl Console {
    fn new() -> Console {
        let mut stage = Stage::new(Start::Now, stood(NOW - Span::minutes(3)));
        stage.core.streams[0].plan.kind = Kind::Threats;
        stage.core.streams[0].reconcile = Reconcile::new(Span::hours(1), None, stage.now);
        let next = Some(stage.begin());
        let there = (0..THREATS).map(|id| (id, NOW - Span::hours(24))).collect();
        let (stored, lacks, more, counts, walks) = (BTreeSet::new(), false, 0, 0, 0);
        let (rounds, fails, is_empty) = (0, None, false);
        Console { stage, there, stored, lacks, is_empty, more, counts, rounds, fails, walks, next }
    }

    fn change(&mut self, ids: std::ops::Range<u64>) {
        let now = self.stage.time();
        for (at, id) in ids.enumerate() {
            self.there.insert(id, now - Span::ms(5 * at as u64));
        }
    }

    fn within(&self, from: Stamp, to: Stamp) -> Vec<RowKey> {
        let keys = self.there.iter().map(|(id, stamp)| RowKey { stamp: *stamp, id: *id });
        let keys: BTreeSet<RowKey> =
            keys.filter(|key| from <= key.stamp && key.stamp < to).collect();
        keys.into_iter().collect()
    }

    fn go_on(&mut self, span: Span) {
        let until = self.stage.time() + span;
        while self.stage.time() < until {
            self.go_one();
        }
    }

    /// Answers one request.
    fn go_one(&mut self) {
        let date = Some(self.stage.time());
        let event = match self.next.take().expect("an action") {
            Action::Fetch(fetch) => {
                self.walks += u32::from(fetch.cursor.is_none());
                let past = fetch.cursor.as_ref().map_or(0, |at| at.0.parse().expect("ours"));
                let all = self.within(fetch.from, Stamp::UNREADABLE);
                let mut keys: Vec<_> = all.iter().skip(past).take(PAGE).copied().collect();
                let is_middle = past + PAGE < all.len();
                let next = is_middle.then(|| Cursor((past + PAGE).to_string()));
                let next = next.or(self.is_empty.then(|| Cursor((past + 1).to_string())));
                keys.retain(|_| !self.is_empty);
                if is_middle && self.lacks {
                    keys.retain(|key| key.id % 3 > 0);
                }
                Event::Fetched { stream: 0, page: Ok(PageFacts { keys, next, date }) }
            }
            Action::Count(Count { by, from, to, .. }) => {
                let from = from.unwrap_or(NOW - Span::hours(2));
                let there = match by {
                    By::Creation => {
                        self.rounds += 1;
                        0
                    }
                    By::Change => {
                        self.counts += 1;
                        self.within(from, to).len() as u64 + self.more
                    }
                };
                let there = Total::Is(there);
                let counted = Counted { from, collected: 0, there, date };
                let fails = self.fails.clone().filter(|_| by == By::Change);
                Event::Counted { stream: 0, counted: fails.map_or(Ok(Some(counted)), Err) }
            }
            Action::List(_) => {
                let page = PageFacts { keys: vec![], next: None, date };
                let listed = Listed { page, unseen: vec![], outside: 0 };
                Event::Listed { stream: 0, listed: Ok(listed) }
            }
            other => panic!("{other:?}"),
        };
        self.next = Some(self.after(event));
    }

    /// Each new row of a page is stored, and once.
    fn after(&mut self, event: Event) -> Action {
        let keys = match &event {
            Event::Fetched { page: Ok(page), .. } => page.keys.clone(),
            _ => vec![],
        };
        let before = self.stage.core.streams[0].collected;
        let action = self.stage.after(event);
        let new = keys.into_iter().filter(|key| self.stored.insert(*key)).count() as u64;
        assert_eq!(self.stage.core.streams[0].collected - before, new);
        action
    }

    fn missing(&self) -> Vec<RowKey> {
        let since = NOW - Span::minutes(3);
        let there = self.within(since, self.stage.time() - Span::minutes(2));
        there.into_iter().filter(|key| !self.stored.contains(key)).collect()
    }

    fn reason(&self) -> Reason {
        self.stage.core.view(self.stage.now).streams[0].lane.reason
    }
}

#[test]
fn changes_that_pages_lacked_once_are_counted_and_read_again() {
    let mut console = Console::new();
    console.go_on(Span::minutes(30));
    // The second time is read again as soon as the first.
    for _ in 0..2 {
        console.lacks = true;
        console.change(0..THREATS);
        // Until no walk reads them again.
        console.go_on(Span::minutes(10));
        console.lacks = false;
        assert!(console.missing().len() >= 8, "{:?}", console.missing());
        console.change(0..5);
        console.go_on(Span::minutes(75));
        assert_eq!((console.missing(), &console.stage.missed[..]), (vec![], &[] as &[Missed]));
        assert_eq!(console.reason(), Reason::PollInterval);
    }
}

/// The walk that reads again, because more was counted, ends with a flaw: the next one is whole, and what
/// is missing lies before its beginning.
#[test]
fn what_was_missed_is_not_forgotten_when_the_walk_that_reads_again_has_a_flaw() {
    let mut console = Console::new();
    console.go_on(Span::minutes(30));
    console.lacks = true;
    console.change(0..THREATS);
    console.go_on(Span::minutes(10));
    console.lacks = false;
    assert!(console.missing().len() >= 8, "{:?}", console.missing());
    let counts = console.counts;
    while console.counts == counts {
        console.go_one();
    }
    console.is_empty = true;
    while console.reason() != Reason::EmptyPages {
        console.go_one();
    }
    console.is_empty = false;
    console.go_on(Span::minutes(130));
    assert_eq!((console.missing(), &console.stage.missed[..]), (vec![], &[] as &[Missed]));
    assert_eq!(console.reason(), Reason::PollInterval);
}

#[test]
fn changes_are_counted_once_in_a_round_and_nothing_is_read_again_for_it() {
    let mut console = Console::new();
    for at in 0..12 {
        console.change(at..at + 20);
        console.go_on(Span::hours(1));
    }
    assert!((10..=13).contains(&console.counts), "{}", console.counts);
    assert_eq!((console.missing(), &console.stage.missed[..]), (vec![], &[] as &[Missed]));
    let Changed { read, last, .. } = &console.stage.core.streams[0].changed;
    assert!(read.len() <= 60 && last.len() == read.len(), "{} {}", read.len(), last.len());
    let before = console.walks;
    console.go_on(Span::hours(2));
    assert_eq!(console.walks - before, 120);
}

#[test]
fn changes_that_are_counted_and_never_listed_are_told_until_the_count_agrees() {
    let mut console = Console::new();
    console.go_on(Span::minutes(30));
    console.lacks = true;
    console.change(0..THREATS);
    console.go_on(Span::minutes(50));
    assert_eq!(console.stage.missed, []);
    console.go_on(Span::minutes(70));
    assert_eq!((console.reason(), console.stage.missed.len()), (Reason::CountsMore, 1));
    let gap = console.stage.missed[0];
    assert!(console.missing().iter().all(|key| gap.from <= key.stamp && key.stamp < gap.to));
    let walks = console.walks;
    console.go_on(Span::hours(10));
    assert_eq!((console.reason(), console.stage.missed.len()), (Reason::CountsMore, 1));
    // Read again with the second count, and then once a day: no walk more than polls.
    assert!(console.walks - walks <= 602, "{}", console.walks - walks);
    console.lacks = false;
    console.go_on(Span::hours(26));
    assert_eq!((console.missing(), console.reason()), (vec![], Reason::PollInterval));
    assert_eq!(console.stage.missed.len(), 1);
}

#[test]
fn no_more_is_remembered_than_allowed_and_nothing_is_taken_for_missing() {
    let mut changed = Changed::default();
    assert_eq!(changed.begins(Stamp(1_000_000)), Stamp(1_000_000));
    let keys = |ids: std::ops::Range<u64>| -> Vec<RowKey> {
        ids.map(|id| RowKey { stamp: Stamp(2_000_000 + 1_000 * id as i64), id }).collect()
    };
    changed.passed(&keys(0..10_000));
    assert_eq!((changed.read.len(), changed.last.len()), (limits::CHANGED_IDS_MAX, 2_048));
    let (from, to) = changed.next_range(Some(Stamp(11_500_000))).unwrap();
    assert!(from > Stamp(2_000_000 + 7_952_000) && to == Stamp(11_000_000), "{from} {to}");
    assert!(!changed.counted(Mono(0), Total::Is(to.since(from).as_ms())));
    // Of a time that is read again only what is remembered can be new.
    let mut again = Changed { again: Some(Stamp(3_000_000)), ..changed.clone() };
    again.begins(Stamp(12_000_000));
    assert!(keys(1_500..10_000).iter().all(|key| !again.is_new(key)));
    assert!(again.is_new(&RowKey { stamp: Stamp(11_500_001), id: 77_777 }));
    assert!(again.is_new(&RowKey { stamp: Stamp(12_000_000), id: 9_999 + 1 }));
}

#[test]
fn a_count_by_the_last_change_that_fails_stands_in_no_way_of_the_others() {
    let failed = SourceTrouble::BrokenAnswer("HTTP 500".into());
    let refused = SourceTrouble::QueryRefused("Unknown field".into());
    let busy = SourceTrouble::busy(Some(Span::minutes(50)));
    for (trouble, counts, walks) in [
        (failed, 3..=5, 230..=250),
        // It is not asked for again.
        (refused, 1..=1, 230..=250),
        // Such patience is everybody's.
        (busy, 2..=4, 30..=170),
    ] {
        let mut console = Console::new();
        console.fails = Some(trouble.clone());
        console.change(0..THREATS);
        console.go_on(Span::hours(4));
        assert!(counts.contains(&console.counts), "{trouble:?}: {} counts", console.counts);
        assert!(walks.contains(&console.walks), "{trouble:?}: {} walks", console.walks);
        assert!((2..=16).contains(&console.rounds), "{trouble:?}: {} rounds", console.rounds);
    }
}

#[test]
fn a_walk_that_reads_again_begins_at_once_and_before_anything_else_is_compared() {
    let mut console = Console::new();
    console.go_on(Span::minutes(30));
    (console.more, console.rounds) = (1, 0);
    // Also where the next poll is not due yet.
    let (counts, now) = loop {
        console.go_one();
        if let Some(Action::Count(Count { by: By::Change, from, .. })) = console.next {
            break (from, console.stage.now);
        }
    };
    console.stage.core.streams[0].lane.due = Due::At(now + Span::minutes(1));
    console.go_one();
    let Some(Action::Fetch(fetch)) = &console.next else { panic!("{:?}", console.next) };
    assert!(Some(fetch.from) <= counts && console.stage.now == now, "{fetch:?}");
    assert!(!console.stage.core.streams[0].caught_up);
    assert_eq!(console.rounds, 0);
}

#[test]
fn only_threats_are_counted_by_their_last_change_and_only_between_walks() {
    for (kind, is_between, is_counted) in [
        (Kind::Threats, true, true),
        (Kind::Threats, false, false),
        (Kind::Activities, true, false),
        (Kind::Activities, false, false),
    ] {
        let mut stage = Stage::new(Start::Now, stood(NOW));
        let stream = &mut stage.core.streams[0];
        stream.plan.kind = kind;
        stream.caught_up = is_between;
        stream.changed.begins(NOW - Span::hours(2));
        let count = stream.count_changed(0, Some(NOW));
        assert_eq!(count.is_some(), is_counted, "{kind:?}, {is_between}");
    }
}

const SECOND: i64 = 1_000_000;

fn key(seconds: i64, id: u64) -> RowKey {
    RowKey { stamp: Stamp(seconds * SECOND), id }
}

fn hours(hours: u64) -> Mono {
    Mono(Span::hours(hours).as_ms())
}

/// A walk from the tenth second on has read these.
fn having_read(keys: &[RowKey]) -> Changed {
    let mut changed = Changed::default();
    changed.begins(Stamp(10 * SECOND));
    changed.passed(keys);
    changed
}

/// The range that is counted in the next round.
fn next_range(changed: &mut Changed, walked: i64) -> Option<(i64, i64)> {
    changed.round_begins();
    let range = changed.next_range(Some(Stamp(walked * SECOND)));
    assert_eq!(changed.is_asked(), range.is_some());
    range.map(|(from, to)| (from.0 / SECOND, to.0 / SECOND))
}

#[test]
fn of_what_is_read_again_those_are_new_that_were_not_read() {
    let mut changed = having_read(&[key(10, 1), key(15, 2), key(20, 3)]);
    changed.again = Some(Stamp(10 * SECOND));
    assert_eq!(changed.begins(Stamp(20 * SECOND)), Stamp(10 * SECOND));
    assert!(![key(10, 1), key(15, 2), key(9, 4)].iter().any(|key| changed.is_new(key)));
    assert!([key(10, 4), key(15, 5), key(16, 2)].iter().all(|key| changed.is_new(key)));
    // From there on the ids that are known decide.
    assert!(changed.is_new(&key(20, 3)));
}

#[test]
fn whole_seconds_after_the_first_row_and_before_what_was_walked_are_counted() {
    let mut changed = having_read(&[]);
    assert_eq!(next_range(&mut changed, 11), None);
    assert_eq!(next_range(&mut changed, 10), None);
    assert_eq!(next_range(&mut changed, 12), Some((11, 12)));
}

#[test]
fn a_count_of_none_agrees_only_where_none_was_read() {
    for (keys, there, next) in [
        (&[][..], 0, 12),
        (&[key(11, 1), key(13, 2)], 0, 11),
        (&[key(11, 1), key(13, 2)], 1, 12),
        (&[key(11, 1), key(13, 2)], 2, 12),
    ] {
        let mut changed = having_read(keys);
        assert_eq!(next_range(&mut changed, 20), Some((11, 20)));
        assert!(!changed.counted(hours(0), Total::Is(there)));
        assert_eq!(next_range(&mut changed, 21), Some((next, 21)), "{there} of {}", keys.len());
    }
}

#[test]
fn what_was_told_is_told_again_where_more_is_missing_and_read_again_for_that_or_once_a_day() {
    let mut changed = having_read(&[key(11, 1)]);
    // Whether it is read again, and whether that is to be told.
    let mut round = |hour: u64, more: u64| {
        assert!(next_range(&mut changed, 20).is_some());
        let is_read = changed.counted(hours(hour), Total::Is(1 + more));
        if is_read {
            changed.next_range(Some(Stamp(20 * SECOND)));
            assert!(!changed.counted(hours(hour), Total::Is(1 + more)));
        }
        let is_to_tell = changed.to_tell().is_some();
        changed.told();
        (is_read, is_to_tell, changed.told_of())
    };
    let day = limits::UNLISTED_AGAIN_HOURS;
    assert_eq!(round(0, 5), (true, false, 5));
    assert_eq!(round(1, 5), (false, false, 5));
    assert_eq!(round(day - 1, 4), (false, false, 5));
    assert_eq!(round(day, 5), (true, false, 5));
    assert_eq!(round(day, 6), (true, true, 6));
    assert_eq!(round(2 * day, 4), (true, false, 4));
    assert_eq!(round(2 * day, 0), (false, false, 0));
}

#[test]
fn beside_a_bad_row_in_a_walk_that_reads_again_nothing_that_was_read_is_stored_again() {
    let mut stream = Console::new().stage.core.streams.remove(0);
    let again = NOW - Span::minutes(13);
    let key = |id| RowKey { stamp: again + Span::ms(100), id };
    (stream.walk, stream.changed) = (None, Changed::default());
    stream.changed.begins(again);
    stream.changed.passed(&[key(1)]);
    stream.changed.again = Some(again);
    assert_eq!(stream.fetch(0).from, again);
    let place = (RowPlace { from: again, is_after: false }, 0);
    let too_long = SourceTrouble::TooLong(Unread::default());
    while !stream.beyond.failed_alone(Mono(0), place, &too_long, false, Span::ZERO) {}
    assert!(stream.fetch(0).to.is_some_and(|to| key(1).stamp < to));
    let page = PageFacts { keys: vec![key(1), key(2)], next: None, date: Some(NOW) };
    let present = Present::Between { earliest: NOW, latest: NOW, is_backed: true };
    assert_eq!(stream.page(0, &page, Span::ZERO, present).keep.fresh, [1]);
}
