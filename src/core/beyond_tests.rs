//! A source that can't give some of its rows: everything else is collected, and a gap says so.

use crate::prng::Prng;
use crate::record::{
    Cursor, Kind, NetTrouble, Progress, RowKey, SourceTrouble, Start, StreamHeld, Unread,
};
use crate::time::{Due, Mono, Span, Stamp};

use super::failing::AskedFor;
use super::lane::{Backoff, Why};
use super::plan::StreamPlan;
use super::source::{Fetch, Missed, PageFacts, Stream};
use super::source_clock::Present;

const AT: Stamp = Stamp(1_800_000_000_000_000);

/// One stream in front of rows of which some can't be fetched.
struct Bench {
    stream: Stream,
    rows: Vec<RowKey>,
    backoff: Backoff,
    begun: Mono,
    now: Mono,
    got: Vec<u64>,
    missed: Vec<Missed>,
    requests: u32,
    /// How coarsely the console filters by time.
    filter: Span,
    is_newest_first: bool,
    takes_no_skip: bool,
}

impl Bench {
    fn new(rows: Vec<RowKey>) -> Bench {
        let backoff = Backoff { min: Span::seconds(1), max: Span::minutes(5), prng: Prng::new(3) };
        let plan = StreamPlan {
            tenant: 0,
            kind: Kind::Threats,
            poll_interval: Span::minutes(1),
            start: Start::Now,
            overlap: Span::minutes(2),
            reconcile: Span::ZERO,
        };
        let progress = Some(Progress { position: AT, from: AT });
        let begun = Mono(1_000_000);
        let held = StreamHeld { progress, ..StreamHeld::default() };
        let stream = Stream::new(plan, held, begun, backoff.min);
        let (got, missed) = (vec![], vec![]);
        Bench {
            stream,
            rows,
            backoff,
            begun,
            now: begun,
            got,
            missed,
            requests: 0,
            filter: Span::ZERO,
            is_newest_first: false,
            takes_no_skip: false,
        }
    }

    fn date(&self) -> Stamp {
        AT + Span::hours(1) + self.now.since(self.begun)
    }

    /// Rows from a time on, by cursor or skip, as the console gives them.
    fn page(&self, fetch: &Fetch) -> (usize, PageFacts) {
        let visible = self.rows.iter().filter(|key| key.stamp <= self.date());
        let coarse = |stamp: Stamp| match self.filter.as_ms() as i64 * 1_000 {
            0 => stamp,
            grain => Stamp(stamp.0 / grain * grain),
        };
        let (begin, end) = (coarse(fetch.from), fetch.to.map(coarse));
        let is_asked = |key: &&RowKey| begin <= key.stamp && end.is_none_or(|end| key.stamp < end);
        let mut from: Vec<RowKey> = visible.filter(is_asked).copied().collect();
        if self.is_newest_first {
            from.reverse();
        }
        let at = match &fetch.cursor {
            Some(Cursor(text)) => text.parse().unwrap(),
            None => fetch.skip as usize,
        };
        let keys: Vec<RowKey> =
            from.iter().skip(at).take(fetch.rows_max as usize).copied().collect();
        let end = at + keys.len();
        let next = (end < from.len()).then(|| Cursor(end.to_string()));
        (at, PageFacts { keys, next, date: Some(self.date()) })
    }

    /// Polls until `until`; pages with a row that is `bad` fail so.
    fn poll(
        &mut self,
        until: Mono,
        trouble: &SourceTrouble,
        bad: impl Fn(u64, Mono) -> bool,
        dead: impl Fn(Mono) -> bool,
    ) {
        while self.now < until {
            let Due::At(due) = self.stream.lane.due else { panic!("never") };
            self.now = self.now.max(due);
            let fetch = self.stream.fetch(0);
            self.requests += 1;
            assert!(self.requests < 20_000, "it never ends");
            let (_, page) = self.page(&fetch);
            self.now = self.now + Span::ms(100);
            if self.takes_no_skip && fetch.skip > 0 {
                let refused = SourceTrouble::QueryRefused("skip: unknown".into());
                self.stream.fail(self.now, AskedFor::Page, refused, &mut self.backoff);
                continue;
            }
            if dead(self.now) || page.keys.iter().any(|key| bad(key.id, self.now)) {
                self.stream.fail(self.now, AskedFor::Page, trouble.clone(), &mut self.backoff);
                continue;
            }
            let date = self.date();
            let present = Present::Between { earliest: date, latest: date, is_backed: true };
            let pending = self.stream.page(0, &page, Span::ms(100), present);
            self.got.extend(pending.keep.fresh.iter().map(|at| page.keys[*at as usize].id));
            self.missed.extend(pending.keep.missed);
            self.stream.stored(self.now, Span::seconds(1), pending, &mut self.backoff);
        }
    }

    fn all_but(&self, bad: &[u64]) -> Vec<u64> {
        self.rows.iter().map(|key| key.id).filter(|id| !bad.contains(id)).collect()
    }

    fn sorted(&self) -> Vec<u64> {
        let mut got = self.got.clone();
        got.sort_unstable();
        got
    }
}

fn row(id: u64, second: u64) -> RowKey {
    RowKey { id, stamp: AT + Span::seconds(second) }
}

fn troubles() -> Vec<SourceTrouble> {
    vec![
        SourceTrouble::TooLong(Unread::default()),
        SourceTrouble::BrokenAnswer("HTTP 500".into()),
        SourceTrouble::Unreachable(NetTrouble::Broken("reset".into())),
        SourceTrouble::Unreachable(NetTrouble::silent(Span::minutes(1))),
    ]
}

#[test]
fn a_row_that_cannot_be_fetched_holds_up_no_other() {
    for trouble in troubles() {
        let mut bench = Bench::new((0..3_000).map(|id| row(id, id)).collect());
        let bad = [1_713];
        let end = bench.begun + Span::hours(3);
        bench.poll(end, &trouble, |id, _| bad.contains(&id), |_| false);
        assert_eq!(bench.sorted(), bench.all_but(&bad), "{trouble:?}");
        let [missed] = bench.missed[..] else { panic!("{:?}", bench.missed) };
        assert!(missed.from <= row(1_713, 1_713).stamp && row(1_713, 1_713).stamp <= missed.to);
        assert!(missed.to <= row(0, 1_714).stamp, "no more than that is a gap: {missed:?}");
        assert_eq!(bench.stream.lane.why, Why::PollInterval, "{trouble:?}");
        assert!(bench.requests < 420, "{} requests", bench.requests);
    }
}

#[test]
fn several_in_a_row_and_at_one_time_hold_up_no_other() {
    // A bulk change gives many one stamp.
    let rows = (0..900).map(|id| row(id, if (200..700).contains(&id) { 200 } else { id }));
    let bad = [3, 4, 5, 250, 251, 600, 699, 700, 701];
    for trouble in troubles() {
        let mut bench = Bench::new(rows.clone().collect());
        let end = bench.begun + Span::hours(30);
        bench.poll(end, &trouble, |id, _| bad.contains(&id), |_| false);
        let (got, want) = (bench.sorted(), bench.all_but(&bad));
        let lost: Vec<_> = want.iter().filter(|id| !got.contains(id)).collect();
        assert_eq!((got.len(), lost), (want.len(), vec![]), "{trouble:?}");
        for id in bad {
            let stamp = rows.clone().find(|row| row.id == id).unwrap().stamp;
            let is_told = bench.missed.iter().any(|gap| gap.from <= stamp && stamp <= gap.to);
            assert!(is_told, "{id} is in none of {:?}", bench.missed);
        }
    }
}

#[test]
fn an_outage_passes_over_nothing() {
    for trouble in troubles() {
        let mut bench = Bench::new((0..2_000).map(|id| row(id, id)).collect());
        let back = bench.begun + Span::hours(20);
        bench.poll(back + Span::minutes(30), &trouble, |_, _| false, |now| now < back);
        assert_eq!(bench.sorted(), bench.all_but(&[]), "{trouble:?}");
        assert_eq!(bench.missed, [], "{trouble:?}");
    }
}

#[test]
fn an_outage_after_which_one_row_still_fails_passes_over_no_other() {
    let trouble = SourceTrouble::BrokenAnswer("HTTP 500".into());
    let rows = (0..40).map(|id| row(id, if id < 10 { id } else { 14_400 + id }));
    let mut bench = Bench::new(rows.collect());
    let outage =
        |now: Mono| (9_000..36_000).contains(&(now.since(Mono(1_000_000)).as_ms() / 1_000));
    bench.poll(bench.begun + Span::hours(20), &trouble, |id, _| id == 9, outage);
    assert_eq!((bench.sorted(), bench.missed.len()), (bench.all_but(&[9]), 1));
}

#[test]
fn where_the_order_is_ignored_no_row_is_passed_over() {
    let trouble = SourceTrouble::BrokenAnswer("HTTP 500".into());
    let mut bench = Bench::new((0..100).map(|id| row(id, id * 60)).collect());
    bench.is_newest_first = true;
    bench.poll(bench.begun + Span::hours(10), &trouble, |id, _| id == 60, |_| false);
    let from = bench.stream.progress.map(|progress| progress.from);
    assert_eq!((&bench.missed[..], from), (&[][..], Some(AT)));
    assert_eq!(bench.stream.lane.why, Why::BrokenAnswer, "it is told");
}

#[test]
fn a_console_that_takes_no_skip_holds_up_no_other_either() {
    let trouble = SourceTrouble::BrokenAnswer("HTTP 500".into());
    let mut bench = Bench::new((0..100).map(|id| row(id, id * 60)).collect());
    bench.takes_no_skip = true;
    bench.poll(bench.begun + Span::hours(3), &trouble, |id, _| id == 60, |_| false);
    assert_eq!((bench.sorted(), bench.missed.len()), (bench.all_but(&[60]), 1));
}

#[test]
fn a_console_that_filters_by_the_second_holds_up_no_other_either() {
    let trouble = SourceTrouble::BrokenAnswer("HTTP 500".into());
    let rows = (0..90).map(|id| RowKey { id, stamp: AT + Span::ms(id * 2_700 + 13) });
    let mut bench = Bench::new(rows.collect());
    bench.filter = Span::seconds(1);
    bench.poll(bench.begun + Span::hours(30), &trouble, |id, _| id == 25 || id == 26, |_| false);
    assert_eq!(bench.sorted(), bench.all_but(&[25, 26]));
}

#[test]
fn the_last_row_is_waited_for_and_what_comes_after_it_is_not_held_up() {
    let trouble = SourceTrouble::BrokenAnswer("HTTP 500".into());
    // Nothing comes after the ninth for two hours.
    let rows = (0..30).map(|id| row(id, if id < 10 { id } else { 10_800 + id }));
    let mut bench = Bench::new(rows.collect());
    bench.poll(bench.begun + Span::minutes(110), &trouble, |id, _| id == 9, |_| false);
    assert_eq!((bench.got.len(), bench.missed.len()), (9, 0));
    assert_eq!(bench.stream.lane.why, Why::BrokenAnswer, "it is told");
    bench.poll(bench.begun + Span::hours(3), &trouble, |id, _| id == 9, |_| false);
    assert_eq!((bench.sorted(), bench.missed.len()), (bench.all_but(&[9]), 1));
    let mut healed = Bench::new((0..10).map(|id| row(id, id)).collect());
    let back = healed.begun + Span::hours(2);
    healed.poll(back + Span::minutes(20), &trouble, |id, now| id == 9 && now < back, |_| false);
    assert_eq!((healed.got.len(), healed.missed.len()), (10, 0));
}

#[test]
fn a_row_behind_that_comes_now_and_then_is_not_passed_over() {
    let mut bench = Bench::new(vec![row(1, 1), row(2, 2), row(3, 3), row(4, 9)]);
    let asked = std::cell::Cell::new(0);
    let bad = |id, _| match id {
        2 => true,
        // Four times in a row, twice, and never so often as would be its fault.
        3 => asked.replace(asked.get() + 1) % 6 < 4 && asked.get() <= 12,
        _ => false,
    };
    bench.poll(
        bench.begun + Span::hours(60),
        &SourceTrouble::TooLong(Unread::default()),
        bad,
        |_| false,
    );
    assert_eq!(bench.sorted(), bench.all_but(&[2]));
}

#[test]
fn the_gap_of_a_row_says_what_its_tries_told_of_it() {
    let told = Unread { id: Some(60), bytes_min: Some(30 << 20) };
    for (trouble, unread) in [
        (SourceTrouble::TooLong(told), told),
        (SourceTrouble::BrokenPage { why: "the JSON is malformed".into(), unread: told }, told),
        (SourceTrouble::BrokenAnswer("HTTP 500".into()), Unread::default()),
    ] {
        let mut bench = Bench::new((0..100).map(|id| row(id, id * 60)).collect());
        bench.poll(bench.begun + Span::hours(3), &trouble, |id, _| id == 60, |_| false);
        let missed: Vec<Unread> = bench.missed.iter().map(|missed| missed.unread).collect();
        assert_eq!(missed, [unread], "{trouble:?}");
    }
}
