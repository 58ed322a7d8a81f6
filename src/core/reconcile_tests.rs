//! Rounds of reconciliation against a source that is told what to have and what to say.

use super::*;
use crate::limits::{PAGE_ROWS_MAX, RECONCILE_REQUESTS_MAX, TOTAL_CAP};

const PACE: Span = Span::seconds(15);
const HOUR: u64 = 3_600;

fn at(seconds: u64) -> Stamp {
    Stamp::from_seconds(1_800_000_000 + seconds as i64)
}

/// A row's id is the second it was created in, times a thousand, and a number.
fn key(second: u64, number: u64) -> RowKey {
    RowKey { stamp: at(second), id: second * 1_000 + number }
}

struct Source {
    reconcile: Reconcile,
    there: BTreeSet<RowKey>,
    collected: BTreeSet<RowKey>,
    /// What is told instead of a count.
    tells: fn(u64) -> Total,
    now: u64,
    lists: u32,
    late: Vec<RowKey>,
    /// What a poll takes in between the count and the list.
    polled: Vec<RowKey>,
    /// What becomes visible between the list and the next count.
    appears: Vec<RowKey>,
}

fn honest(count: u64) -> Total {
    if count >= TOTAL_CAP { Total::Capped } else { Total::Is(count) }
}

impl Source {
    fn with(rows: impl Iterator<Item = RowKey>) -> Source {
        let there: BTreeSet<RowKey> = rows.collect();
        let reconcile = Reconcile::new(Span::hours(1), None, Mono::ZERO);
        let (collected, now) = (there.clone(), 200 * HOUR);
        Source {
            reconcile,
            there,
            collected,
            tells: honest,
            now,
            lists: 0,
            late: vec![],
            polled: vec![],
            appears: vec![],
        }
    }

    fn within(rows: &BTreeSet<RowKey>, from: Stamp, to: Stamp) -> impl Iterator<Item = &RowKey> {
        rows.range(RowKey { stamp: from, id: 0 }..RowKey { stamp: to, id: 0 })
    }

    /// One round to its end; answers with the requests it took.
    fn round(&mut self) -> u32 {
        self.now += HOUR;
        let source_now = at(self.now);
        let closed = self.reconcile.closed(source_now - Span::minutes(10), source_now, false);
        self.reconcile.begin(closed, 0);
        let mut requests = 0;
        while let Some(step) = self.reconcile.next(0, PAGE_ROWS_MAX, source_now) {
            requests += 1;
            assert!(requests <= RECONCILE_REQUESTS_MAX, "a round without end");
            match step {
                Step::Count(count) => {
                    let from = count.from.unwrap_or(at(0));
                    let there = Source::within(&self.there, from, count.to).count() as u64;
                    let collected = Source::within(&self.collected, from, count.to).count() as u64;
                    let there = (self.tells)(there);
                    let counted = Counted { from, collected, there, date: None };
                    self.reconcile.counted(Mono::ZERO, PACE, Some(counted));
                }
                Step::List(list) => self.list(&list),
            }
        }
        requests
    }

    fn list(&mut self, list: &List) {
        self.lists += 1;
        self.collected.extend(self.polled.drain(..));
        let skip = list.cursor.as_ref().map_or(0, |cursor| cursor.0.parse().unwrap());
        let rows = Source::within(&self.there, list.from, list.to).skip(skip);
        let keys: Vec<RowKey> = rows.take(list.rows_max as usize).copied().collect();
        let more = keys.len() == list.rows_max as usize;
        let next = more.then(|| Cursor((skip + keys.len()).to_string()));
        let unseen = keys.iter().map(|key| !self.collected.contains(key)).collect();
        let listed = Listed { page: PageFacts { keys, next, date: None }, unseen, outside: 0 };
        let fresh = self.reconcile.fresh(&listed, |_| false);
        for row in &fresh {
            let key = listed.page.keys[*row as usize];
            assert!(self.collected.insert(key), "sent twice");
            self.late.push(key);
        }
        self.reconcile.listed(Mono::ZERO, PACE, &listed.page, fresh.len() as u64, 0);
        self.there.extend(self.appears.drain(..));
    }
}

/// A row each twenty seconds for six days.
fn week() -> impl Iterator<Item = RowKey> {
    (0..6 * 24 * HOUR / 20).map(|n| key(20 * n + 7, 1))
}

#[test]
fn a_round_that_agrees_takes_one_request_for_the_new_and_one_for_all_before() {
    let mut source = Source::with(week());
    assert_eq!(source.round(), 1, "the first has nothing before it");
    assert_eq!(source.round(), 2);
    assert_eq!((source.lists, source.reconcile.tale.late), (0, 0));
}

#[test]
fn one_late_record_among_many_is_found_in_a_logarithm_of_requests_and_once() {
    let mut source = Source::with(week());
    source.round();
    for second in [3, 50 * HOUR + 1, 143 * HOUR] {
        source.there.insert(key(second, 9));
        let requests = source.round();
        assert!(requests <= 16, "{requests} requests");
        assert_eq!(source.late.pop(), Some(key(second, 9)));
        assert_eq!(source.round(), 2, "it is not looked for again");
    }
    let tale = &source.reconcile.tale;
    assert_eq!((tale.late, tale.fewer, tale.unchecked), (3, 0, 0));
    assert_eq!(tale.last.as_ref().map(|last| last.late), Some(1));
}

#[test]
fn the_highest_number_ever_told_is_no_count() {
    let mut source = Source::with((0..60_000).map(|n| key(n * 8, 1)));
    // Were it a count, it would be less than what was collected, and so no trouble.
    source.there.insert(key(400_003, 9));
    for _ in 0..3 {
        source.round();
    }
    assert_eq!(source.late, [key(400_003, 9)]);
}

#[test]
fn what_sentinelone_no_longer_has_is_noted_once_and_not_looked_for() {
    let mut source = Source::with(week());
    source.round();
    source.there.remove(&key(20 * 777 + 7, 1));
    source.round();
    assert_eq!((source.lists, source.reconcile.tale.fewer), (0, 1));
    assert_eq!(source.round(), 2);
    // A late one is still found beside it.
    source.there.insert(key(20 * 777 + 9, 9));
    source.round();
    assert_eq!(source.late, [key(20 * 777 + 9, 9)]);
}

#[test]
fn a_late_record_does_not_hide_behind_a_deleted_one_of_another_day() {
    let mut source = Source::with(week());
    source.round();
    source.there.remove(&key(20 * 777 + 7, 1));
    source.there.remove(&key(20 * 778 + 7, 1));
    source.there.insert(key(100 * HOUR, 9));
    source.round();
    assert_eq!(source.late, [key(100 * HOUR, 9)]);
}

#[test]
fn without_a_count_the_new_is_listed_and_the_old_is_told_as_unchecked() {
    let mut source = Source::with((0..500).map(|n| key(n * 60, 1)));
    source.there.insert(key(61, 9));
    source.tells = |_| Total::Untold;
    source.round();
    assert_eq!((source.lists, source.late.as_slice()), (1, [key(61, 9)].as_slice()));
    source.round();
    assert_eq!(source.reconcile.tale.unchecked, 1);
}

#[test]
fn a_count_of_nothing_beside_collected_records_does_no_harm() {
    let mut source = Source::with(week());
    source.round();
    source.tells = |_| Total::Is(0);
    assert_eq!(source.round(), 2);
    source.tells = honest;
    source.there.insert(key(99, 9));
    for _ in 0..4 {
        source.round();
    }
    assert_eq!(source.late, [key(99, 9)]);
}

#[test]
fn a_count_that_the_list_does_not_bear_out_is_not_chased() {
    let mut source = Source::with((0..500).map(|n| key(n * 60, 1)));
    source.tells = |count| Total::Is(count + u64::from(count > 0));
    source.round();
    let lists = source.lists;
    source.round();
    source.round();
    assert_eq!((source.lists, source.late.len()), (lists, 0));
}

#[test]
fn a_great_many_late_records_are_found_over_rounds_that_end() {
    let mut source = Source::with(week());
    source.round();
    source.there.extend((0..100_000).map(|n| key(40 * HOUR + n, 9)));
    let mut rounds = 0;
    while source.late.len() < 100_000 {
        rounds += 1;
        assert!(rounds < 20, "{} found", source.late.len());
        source.round();
    }
    assert!(rounds > 1 && source.reconcile.tale.unchecked > 0);
}

/// Found by the simulation: the poll's record was taken for one that can't be found, and in its place
/// the next late one was never looked for.
#[test]
fn a_poll_between_count_and_list_hides_no_later_record() {
    let mut source = Source::with(week());
    source.round();
    let (polled, late, later) = (key(50 * HOUR, 8), key(50 * HOUR + 1, 9), key(51 * HOUR, 9));
    source.there.extend([polled, late]);
    source.polled = vec![polled];
    source.round();
    assert_eq!(source.late, [late]);
    source.there.insert(later);
    source.round();
    assert_eq!(source.late, [late, later]);
    assert_eq!(source.round(), 2);
}

#[test]
fn what_appears_while_a_range_is_listed_is_listed_too() {
    let mut source = Source::with(week());
    source.round();
    let (late, later) = (key(50 * HOUR, 9), key(50 * HOUR + 2, 9));
    source.there.insert(late);
    source.appears = vec![later];
    source.round();
    assert_eq!(source.late, [late, later]);
    assert_eq!(source.round(), 2);
}

/// Found by the simulation: a count of 0 is a lie, the truth after it is listed, and a record appears
/// before it is counted again.
#[test]
fn a_record_that_appears_while_a_lie_is_put_right_is_found() {
    let mut source = Source::with(week());
    source.round();
    source.tells = |_| Total::Is(0);
    source.round();
    source.tells = honest;
    let late = key(50 * HOUR, 9);
    source.appears = vec![late];
    source.there.insert(key(99, 9));
    for _ in 0..4 {
        source.round();
    }
    source.late.sort_unstable();
    assert_eq!(source.late, [key(99, 9), late]);
}

#[test]
fn nothing_is_compared_that_a_stream_was_set_back_behind() {
    let mut source = Source::with(week());
    source.round();
    let closed = at(40 * HOUR);
    source.reconcile.begin(closed, 0);
    while let Some(step) = source.reconcile.next(0, PAGE_ROWS_MAX, at(source.now)) {
        let Step::Count(count) = step else { panic!("{step:?}") };
        assert!(count.to <= closed, "walks have yet to come to {}", count.to);
        let counted = Counted { from: at(0), collected: 7, there: Total::Is(7), date: None };
        source.reconcile.counted(Mono::ZERO, PACE, Some(counted));
    }
}

#[test]
fn an_hour_is_closed_when_it_is_past_by_a_margin_and_settled() {
    let reconcile = Reconcile::new(Span::hours(1), None, Mono::ZERO);
    let hour = Stamp::from_seconds(3_600 * 500_000);
    let closed = |settled: Span, now: Span| reconcile.closed(hour + settled, hour + now, false);
    let (margin, long) = (60 * limits::RECONCILE_MARGIN_MINUTES, Span::hours(9));
    assert_eq!(closed(long, Span::hours(1)), hour);
    assert_eq!(closed(long, Span::seconds(HOUR + margin - 1)), hour);
    assert_eq!(closed(long, Span::seconds(HOUR + margin)), hour + Span::hours(1));
    // What walks still look at is theirs.
    assert_eq!(closed(Span::ms(1_500), long), hour + Span::seconds(1));
    let pressed = reconcile.closed(hour + long, hour + Span::seconds(margin + 119), true);
    assert_eq!(pressed, hour + Span::minutes(1));
}

#[test]
fn a_round_is_due_by_sentinelones_own_clock_and_over_starts() {
    let reconcile = Reconcile::new(Span::hours(1), Some(at(0)), Mono::ZERO);
    assert!(!reconcile.is_due(at(HOUR - 1)) && reconcile.is_due(at(HOUR)));
    assert!(Reconcile::new(Span::hours(1), None, Mono::ZERO).is_due(at(0)));
}

#[test]
fn a_clock_that_was_set_back_stops_no_rounds() {
    let after = |compared| Reconcile::new(Span::hours(1), Some(compared), Mono::ZERO);
    let now = at(HOUR);
    assert!(after(now - Span::hours(1)).is_due(now));
    assert!(!after(now - Span::minutes(59)).is_due(now));
    assert!(!after(now).is_due(now));
    assert!(after(now + Span::hours(24 * 365)).is_due(now), "compared in a year from now");
}
