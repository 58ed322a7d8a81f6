//! Rounds of reconciliation against a source that is told what to have and what to say.

use super::*;
use crate::limits::{PAGE_ROWS_MAX, RECONCILE_REQUESTS_MAX, TOTAL_CAP};
use crate::record::NetTrouble;

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
    /// What lists have brought that were whole.
    whole: Vec<Stamp>,
    /// What a poll takes in between the count and the list.
    polled: Vec<RowKey>,
    /// What becomes visible between the list and the next count.
    appears: Vec<RowKey>,
    /// No page comes that has one of these in it.
    bad: BTreeSet<RowKey>,
    /// What was set aside, and what each round of requests may take.
    aside: Vec<Unlistable>,
    requests_max: u32,
    /// Before each count that is answered one fails.
    blinks: bool,
    /// No more than so many hours are counted at once.
    counts_hours_max: Option<u64>,
    /// Each list begins with so many pages without a row.
    empty_pages: u32,
    empty: u32,
    /// How many rows a page is asked for.
    rows_max: u32,
    /// A page of more rows is rejected.
    rejects_above: u32,
    /// The query for a page with a bad row, or by a cursor, is rejected.
    rejects_bad: bool,
    rejects_cursors: bool,
    rejects_lists: bool,
    /// Pages have no more rows than that, whatever is asked for, and no cursor.
    cut_at: Option<usize>,
    /// What was told to be counted and not listed.
    told: Vec<(Stamp, Stamp, i64)>,
    /// Collected, and in no count of the collected ones.
    knows: Option<RowKey>,
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
            whole: vec![],
            polled: vec![],
            appears: vec![],
            bad: BTreeSet::new(),
            aside: vec![],
            requests_max: RECONCILE_REQUESTS_MAX,
            blinks: false,
            counts_hours_max: None,
            empty_pages: 0,
            empty: 0,
            rows_max: PAGE_ROWS_MAX,
            rejects_above: PAGE_ROWS_MAX,
            rejects_bad: false,
            rejects_cursors: false,
            rejects_lists: false,
            cut_at: None,
            told: vec![],
            knows: None,
        }
    }

    fn within(rows: &BTreeSet<RowKey>, from: Stamp, to: Stamp) -> impl Iterator<Item = &RowKey> {
        rows.range(RowKey { stamp: from, id: 0 }..RowKey { stamp: to, id: 0 })
    }

    /// One round to its end; answers with the requests it took.
    fn round(&mut self) -> u32 {
        self.now += HOUR;
        let source_now = at(self.now);
        let closed = self.reconcile.closed(source_now - Span::minutes(10), None, source_now, false);
        self.reconcile.begin(self.mono(), closed, 0);
        let mut requests = 0;
        while let Some(step) = self.reconcile.next(0, self.rows_max, source_now) {
            requests += 1;
            assert!(requests <= self.requests_max, "a round without end");
            match step {
                Step::Count(count) => {
                    let from = count.from.unwrap_or(at(0));
                    let there = Source::within(&self.there, from, count.to).count() as u64;
                    let collected = Source::within(&self.collected, from, count.to).count() as u64;
                    let there = (self.tells)(there);
                    let wide = Span::hours(self.counts_hours_max.unwrap_or(u64::MAX >> 32));
                    if self.blinks || count.to.since(from) > wide {
                        self.reconcile.failed();
                        self.reconcile.could_not_count(&reset());
                    }
                    if count.to.since(from) > wide {
                        continue;
                    }
                    let counted = Counted { from, collected, there, date: None };
                    self.reconcile.counted(self.mono(), PACE, self.rows_max, Some(counted));
                    while let Some(over) = self.reconcile.overcounts.to_tell() {
                        self.told.push((over.from, over.to, over.excess));
                        self.reconcile.overcounts.told(over.from);
                    }
                }
                Step::List(list) => self.list(&list),
            }
        }
        requests
    }

    fn list(&mut self, list: &List) {
        self.lists += 1;
        let is_by_cursor = self.rejects_cursors && list.cursor.is_some();
        if list.rows_max > self.rejects_above || is_by_cursor || self.rejects_lists {
            return self.rejected(list);
        }
        if self.reconcile.twin_came(self.mono(), PACE) {
            return;
        }
        self.collected.extend(self.polled.drain(..));
        let skip = list.cursor.as_ref().map_or(0, |cursor| cursor.0.parse().unwrap());
        self.empty = if skip > 0 || self.empty >= self.empty_pages { 0 } else { self.empty + 1 };
        if self.empty > 0 {
            let next = Some(Cursor("0".into()));
            let page = PageFacts { keys: vec![], next, date: None };
            return self.reconcile.listed(Mono::ZERO, PACE, &page, vec![], 0);
        }
        let rows = Source::within(&self.there, list.from, list.to).skip(skip);
        let most = self.cut_at.unwrap_or(usize::MAX).min(list.rows_max as usize);
        let keys: Vec<RowKey> = rows.take(most).copied().collect();
        if keys.iter().any(|key| self.bad.contains(key)) {
            return if self.rejects_bad { self.rejected(list) } else { self.fails(list, false) };
        }
        let more = self.cut_at.is_none() && keys.len() == list.rows_max as usize;
        let next = more.then(|| Cursor((skip + keys.len()).to_string()));
        let is_known = |key: &RowKey| self.collected.contains(key) || self.knows == Some(*key);
        let unseen = keys.iter().map(|key| !is_known(key)).collect();
        let listed = Listed { page: PageFacts { keys, next, date: None }, unseen, outside: 0 };
        let fresh = self.reconcile.fresh(&listed, |_| false);
        let late: Vec<Stamp> =
            fresh.iter().map(|at| listed.page.keys[*at as usize].stamp).collect();
        self.whole.extend(self.reconcile.late_once_whole(&listed.page, &late));
        for row in &fresh {
            let key = listed.page.keys[*row as usize];
            assert!(self.collected.insert(key), "sent twice");
            self.late.push(key);
        }
        self.reconcile.listed(Mono::ZERO, PACE, &listed.page, late, 0);
        self.there.extend(self.appears.drain(..));
    }

    fn rejected(&mut self, list: &List) {
        if self.reconcile.twin(0).is_some() {
            return self.reconcile.refuse("HTTP 400".into());
        }
        let rows = self.reconcile.rows_of_list(list.rows_max);
        if self.reconcile.is_of_a_row(rows) {
            return self.fails(list, true);
        }
        self.reconcile.failed();
        assert!(self.reconcile.list_fewer(rows) || self.reconcile.reject_cursor(), "it gives up");
    }
}

impl Source {
    fn mono(&self) -> Mono {
        Mono(Span::seconds(self.now).as_ms())
    }

    fn fails(&mut self, list: &List, is_rejected: bool) {
        let trouble = reset();
        let (now, longest_wait) = (self.mono(), Span::minutes(5));
        self.reconcile.failed();
        let rows = self.reconcile.rows_of_list(list.rows_max);
        let unlistable =
            self.reconcile.could_not_list(now, rows, &trouble, is_rejected, longest_wait);
        if let Some(unlistable) = unlistable {
            self.aside.push(unlistable);
            self.reconcile.set_aside(now, unlistable);
        }
    }
}

fn reset() -> SourceTrouble {
    SourceTrouble::Unreachable(NetTrouble::Broken("reset".into()))
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
    assert_eq!((source.lists, source.reconcile.summary.late), (0, 0));
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
    let summary = &source.reconcile.summary;
    assert_eq!((summary.late, summary.fewer, summary.unchecked), (3, 0, 0));
    assert_eq!(summary.last.as_ref().map(|last| last.late), Some(1));
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
    assert_eq!((source.lists, source.reconcile.summary.fewer), (0, 1));
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
    source.tells = |_| Total::Unknown;
    source.round();
    assert_eq!((source.lists, source.late.as_slice()), (1, [key(61, 9)].as_slice()));
    source.round();
    assert_eq!(source.reconcile.summary.unchecked, 1);
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
    assert_eq!(source.told, []);
    source.round();
    assert_eq!(source.told.iter().map(|told| told.2).collect::<Vec<_>>(), [1]);
    let lists = source.lists;
    (0..9).for_each(|_| _ = source.round());
    assert_eq!((source.lists, source.late.len(), source.told.len()), (lists, 0, 1));
    assert_eq!(source.reconcile.overcounts.told_of(), 1);
    source.tells = honest;
    source.round();
    assert_eq!((source.reconcile.overcounts.told_of(), source.reconcile.summary.fewer), (0, 0));
    assert_eq!(source.round(), 2);
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
    assert!(rounds > 1 && source.reconcile.summary.unchecked > 0);
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
    assert_eq!(source.told, []);
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
    assert_eq!(source.told, []);
}

#[test]
fn nothing_is_compared_that_a_stream_was_set_back_behind() {
    let mut source = Source::with(week());
    source.round();
    let closed = at(40 * HOUR);
    source.reconcile.begin(Mono::ZERO, closed, 0);
    while let Some(step) = source.reconcile.next(0, PAGE_ROWS_MAX, at(source.now)) {
        let Step::Count(count) = step else { panic!("{step:?}") };
        assert!(count.to <= closed, "walks have yet to come to {}", count.to);
        let counted = Counted { from: at(0), collected: 7, there: Total::Is(7), date: None };
        source.reconcile.counted(Mono::ZERO, PACE, source.rows_max, Some(counted));
    }
}

#[test]
fn an_hour_is_closed_when_it_is_past_by_a_margin_and_settled() {
    let reconcile = Reconcile::new(Span::hours(1), None, Mono::ZERO);
    let hour = Stamp::from_seconds(3_600 * 500_000);
    let closed =
        |settled: Span, now: Span| reconcile.closed(hour + settled, None, hour + now, false);
    let (margin, long) = (60 * limits::RECONCILE_MARGIN_MINUTES, Span::hours(9));
    assert_eq!(closed(long, Span::hours(1)), hour);
    assert_eq!(closed(long, Span::seconds(HOUR + margin - 1)), hour);
    assert_eq!(closed(long, Span::seconds(HOUR + margin)), hour + Span::hours(1));
    // What walks still look at is theirs.
    assert_eq!(closed(Span::ms(1_500), long), hour + Span::seconds(1));
    let nearly_full = reconcile.closed(hour + long, None, hour + Span::seconds(margin + 119), true);
    assert_eq!(nearly_full, hour + Span::minutes(1));
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

/// A source with so many rows that fail, all of which the walks have passed over.
fn with_bad(seconds: &[u64]) -> Source {
    let mut source = Source::with(week());
    source.round();
    source.requests_max = RECONCILE_REQUESTS_MAX * limits::UNLISTED_ROUND_TIMES;
    source.bad = seconds.iter().map(|second| key(*second, 5)).collect();
    source.there.extend(&source.bad);
    source
}

#[test]
fn what_is_late_beside_a_row_that_fails_is_found_and_its_second_set_aside_once() {
    let bad = [50 * HOUR + 7, 50 * HOUR + 127, 100 * HOUR + 7];
    let mut source = with_bad(&bad);
    let late = [50 * HOUR + 5, 50 * HOUR + 8, 50 * HOUR + 9, 143 * HOUR];
    source.there.extend(late.map(|second| key(second, 9)));
    (0..8).for_each(|_| _ = source.round());
    source.late.sort();
    assert_eq!(source.late, late.map(|second| key(second, 9)));
    let mut aside: Vec<_> = source.aside.iter().map(|range| (range.from, range.to)).collect();
    aside.sort();
    assert_eq!(aside, bad.map(|second| (at(second), at(second + 1))));
    let lists = source.lists;
    assert_eq!(source.round(), 2, "neither is looked for again");
    // But once a day, and what comes by then is collected.
    source.bad.remove(&key(bad[0], 5));
    (0..24).for_each(|_| _ = source.round());
    assert_eq!((source.late.pop(), source.late.len()), (Some(key(bad[0], 5)), 4));
    assert_eq!(source.whole.last(), Some(&at(bad[0])), "and its gap is closed");
    assert_eq!(source.lists - lists, 3, "each was listed once more");
    assert_eq!(source.aside.len(), 3, "a gap tells of each once");
    let lists = source.lists;
    (0..23).for_each(|_| assert!(source.round() <= 6, "two, and two for each"));
    assert!(source.lists - lists <= 2, "once a day");
}

#[test]
fn a_row_is_not_to_blame_while_counts_fail_as_well() {
    let mut source = with_bad(&[50 * HOUR + 7]);
    source.blinks = true;
    (0..50).for_each(|_| _ = source.round());
    assert!(source.lists > 50, "{} lists", source.lists);
    assert_eq!(source.aside, []);
    source.blinks = false;
    source.round();
    assert_eq!(source.aside.len(), 1);
}

#[test]
fn a_range_that_lists_fail_in_is_divided_at_whole_seconds_that_are_the_same_for_all() {
    let us = |us: i64| Stamp(us);
    assert_eq!(roundest_second(us(1), us(1_000_000)), None);
    assert_eq!(roundest_second(us(1), us(1_000_001)), Some(us(1_000_000)));
    assert_eq!(roundest_second(us(3_500_000), us(9_200_000)), Some(us(8_000_000)));
    assert_eq!(roundest_second(us(8_000_000), us(12_000_000)), Some(us(10_000_000)));
    assert_eq!(roundest_second(us(8_000_000), us(9_000_000)), None);
}

#[test]
fn a_source_that_counts_no_wide_range_is_asked_for_parts_of_it() {
    let mut source = Source::with(week());
    source.requests_max = RECONCILE_REQUESTS_MAX * limits::UNLISTED_ROUND_TIMES;
    source.counts_hours_max = Some(20);
    source.there.insert(key(50 * HOUR + 1, 9));
    (0..3).for_each(|_| _ = source.round());
    assert_eq!(source.late, [key(50 * HOUR + 1, 9)]);
    assert!(source.reconcile.summary.until.is_some(), "the rounds were whole");
}

#[test]
fn a_list_does_not_end_at_an_empty_page_with_a_cursor() {
    let mut source = Source::with(week());
    source.round();
    source.there.insert(key(3, 9));
    source.empty_pages = 2;
    source.round();
    assert_eq!(source.late, [key(3, 9)]);
    // Nor are empty pages followed for ever, and nothing is explained by them.
    source.there.insert(key(4, 9));
    source.empty_pages = u32::MAX;
    source.round();
    source.empty_pages = 0;
    source.empty = 0;
    source.round();
    assert_eq!(source.late, [3, 4].map(|second| key(second, 9)));
}

#[test]
fn where_pages_are_of_one_row_a_late_record_is_found_within_a_round_all_the_same() {
    let mut source = Source::with(week());
    source.rows_max = 1;
    source.round();
    source.there.insert(key(50 * HOUR + 1, 9));
    let requests = source.round();
    assert_eq!(source.late, [key(50 * HOUR + 1, 9)], "{requests} requests");
    assert_eq!(source.whole, [at(50 * HOUR + 1)], "with the last page of its list, and once");
}

/// A list that names no next page is not whole for that.
#[test]
fn a_late_record_behind_a_list_that_is_cut_is_found() {
    for (cut_at, rows_max) in [(50, PAGE_ROWS_MAX), (PAGE_ROWS_MAX as usize, 62)] {
        let mut source = Source::with((0..400).map(|n| key(160 * HOUR + n, 1)));
        source.cut_at = Some(cut_at);
        source.rows_max = rows_max;
        source.round();
        let late = key(160 * HOUR + 300, 2);
        source.there.insert(late);
        source.round();
        assert_eq!(source.late, [late], "{cut_at} of {rows_max}");
        assert_eq!(source.reconcile.summary.late, 1);
        assert!(source.round() <= 2, "all agrees");
    }
}

/// The number of rows that a console takes is learned once a round, not once for each range.
#[test]
fn behind_a_console_that_takes_few_rows_what_is_late_is_found_and_a_bad_row_set_aside() {
    let bad = 50 * HOUR + 7;
    let mut source = with_bad(&[bad]);
    source.rejects_above = 3;
    source.there.extend((100..120).map(|number| key(bad, number)));
    finds_what_is_late_beside(&mut source, bad, 8);
}

/// Within so many rounds the second of the bad row is set aside, and no other.
fn finds_what_is_late_beside(source: &mut Source, bad: u64, rounds: u32) {
    let late = [50 * HOUR + 9, 143 * HOUR];
    source.there.extend(late.map(|second| key(second, 9)));
    (0..rounds).for_each(|_| _ = source.round());
    let found = |second: u64| source.late.contains(&key(second, 9));
    assert!(late.into_iter().all(found), "{:?}", source.late);
    let aside: Vec<_> = source.aside.iter().map(|range| range.from).collect();
    assert_eq!(aside, [at(bad)]);
    assert!(source.round() <= 2, "all agrees");
}

#[test]
fn a_row_whose_query_is_rejected_is_set_aside_and_what_is_late_beside_it_found() {
    for crowd in [0, 20] {
        let bad = 50 * HOUR + 7;
        let mut source = with_bad(&[bad]);
        (source.rejects_bad, source.rows_max) = (true, 5);
        source.there.extend((100..100 + crowd).map(|number| key(bad, number)));
        finds_what_is_late_beside(&mut source, bad, 12);
    }
}

#[test]
fn where_all_lists_are_rejected_none_is_requested_again() {
    let mut source = Source::with(week());
    source.round();
    source.rejects_lists = true;
    source.there.insert(key(50 * HOUR + 9, 9));
    source.round();
    assert!(source.reconcile.summary.refused.is_some());
    assert!(source.lists < 14, "{} lists", source.lists);
    assert_eq!((source.aside.len(), source.reconcile.summary.late), (0, 0));
}

#[test]
fn where_all_cursors_are_rejected_what_is_late_is_found_by_dividing() {
    let mut source = Source::with(week());
    (source.rejects_cursors, source.rows_max) = (true, 5);
    source.requests_max = RECONCILE_REQUESTS_MAX * limits::UNLISTED_ROUND_TIMES;
    source.round();
    let late = [50 * HOUR + 9, 143 * HOUR].map(|second| key(second, 9));
    source.there.extend(late);
    (0..4).for_each(|_| _ = source.round());
    source.late.sort_unstable();
    assert_eq!((source.late.as_slice(), source.aside.len()), (&late[..], 0));
}

/// A round that had no more requests goes on where it was, not at its beginning.
#[test]
fn a_second_with_more_pages_than_a_round_has_requests_is_listed_to_its_end() {
    let crowded = 50 * HOUR + 7;
    let mut source = Source::with(week().chain((0..300).map(|number| key(crowded, number + 10))));
    source.rejects_above = 2;
    source.round();
    let late = key(crowded, 999);
    source.there.insert(late);
    (0..16).for_each(|_| _ = source.round());
    assert_eq!((source.late, source.whole), (vec![late], vec![late.stamp]));
}

/// Rows that were collected and are not counted as collected are in the list: nothing is missing.
#[test]
fn what_is_listed_and_no_longer_known_as_collected_is_no_excess() {
    let mut source = Source::with(week());
    source.round();
    // As one whose creation can't be read: no range has it, and its id is known.
    let known = key(50 * HOUR, 8);
    source.there.insert(known);
    source.knows = Some(known);
    (0..3).for_each(|_| _ = source.round());
    assert_eq!((source.late.as_slice(), source.told.as_slice()), (&[][..], &[][..]));
    assert!(source.lists > 0 && source.round() == 2);
}

#[test]
fn a_list_that_is_put_off_again_waits_ever_longer_and_a_count_without_a_list_does_not() {
    let mut reconcile = Reconcile::new(Span::hours(1), None, Mono::ZERO);
    let at = |minute: u64| Mono::ZERO + Span::minutes(minute);
    let waits = (1..=7).map(|minute| {
        reconcile.lane.due = Due::At(at(minute) + Span::seconds(1));
        reconcile.put_off(at(minute), Span::seconds(20));
        let Due::At(due) = reconcile.lane.due else { panic!("never") };
        due.since(at(minute))
    });
    let seconds = [1, 2, 4, 8, 16, 20, 20].map(Span::seconds);
    assert_eq!(waits.collect::<Vec<_>>(), seconds);
    reconcile.lane.due = Due::At(at(9));
    reconcile.wait_for_list(at(9));
    assert_eq!(reconcile.lane.due, Due::At(at(9)), "no list follows");
}
