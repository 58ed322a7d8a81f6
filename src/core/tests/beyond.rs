//! A source that can't give some of its rows: everything else is collected, and a gap says so.

use crate::prng::Prng;
use crate::record::{
    Cursor, Kind, Lone, NetTrouble, Progress, Refusal, Refused, RowKey, RowPlace, SourceTrouble,
    Start, StreamLearned, StreamStatus, Unread, Way,
};
use crate::time::{Due, Mono, Span, Stamp};

use super::beyond::Beyond;
use super::decide::once::gives_up;
use super::failing::AskedFor;
use super::lane::Backoff;
use super::plan::StreamPlan;
use super::reason::Reason;
use super::source::{Fetch, Missed, PageFacts, Stream};
use super::source_clock::Present;

const AT: Stamp = Stamp(1_800_000_000_000_000);

/// One stream in front of rows of which some can't be fetched.
pub(super) struct Bench {
    pub(super) stream: Stream,
    rows: Vec<RowKey>,
    pub(super) backoff: Backoff,
    pub(super) begun: Mono,
    pub(super) now: Mono,
    pub(super) got: Vec<u64>,
    pub(super) missed: Vec<Missed>,
    requests: u32,
    /// So many rows each request asked for, and when it was made.
    pub(super) asked: Vec<(u32, Mono)>,
    /// A page of more rows fails.
    pub(super) bears: usize,
    /// How coarsely the console filters by time.
    filter: Span,
    is_newest_first: bool,
    pub(super) takes_no_skip: bool,
    pub(super) takes_no_cursor: bool,
    /// The first time that the row is asked for by its place alone is the last that it fails.
    heals_at_skip: bool,
    is_healed: bool,
}

impl Bench {
    pub(super) fn new(rows: Vec<RowKey>) -> Bench {
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
        let held = StreamStatus { progress, ..StreamStatus::default() };
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
            asked: vec![],
            bears: usize::MAX,
            filter: Span::ZERO,
            is_newest_first: false,
            takes_no_skip: false,
            takes_no_cursor: false,
            heals_at_skip: false,
            is_healed: false,
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
    pub(super) fn poll(
        &mut self,
        until: Mono,
        trouble: &SourceTrouble,
        bad: impl Fn(u64, Mono) -> bool,
        dead: impl Fn(Mono) -> bool,
    ) {
        while self.now < until {
            self.step(trouble, &bad, &dead);
        }
    }

    fn step(
        &mut self,
        trouble: &SourceTrouble,
        bad: impl Fn(u64, Mono) -> bool,
        dead: impl Fn(Mono) -> bool,
    ) {
        let Due::At(due) = self.stream.lane.due else { panic!("never") };
        self.now = self.now.max(due);
        let fetch = self.stream.fetch(0);
        self.requests += 1;
        self.asked.push((fetch.rows_max, self.now));
        assert!(self.requests < 20_000, "it never ends");
        let (_, page) = self.page(&fetch);
        self.now = self.now + Span::ms(100);
        self.stream.lane.tried = self.now;
        let is_no_skip = self.takes_no_skip && fetch.skip > 0;
        if is_no_skip || self.takes_no_cursor && fetch.cursor.is_some() {
            let refused = SourceTrouble::QueryRefused("skip or cursor: unknown".into());
            return self.stream.fail(self.now, AskedFor::Page, refused, &mut self.backoff);
        }
        let is_long = page.keys.len() > self.bears;
        let fails = is_long || dead(self.now) || page.keys.iter().any(|key| bad(key.id, self.now));
        let was_healed = self.is_healed;
        self.is_healed |= self.heals_at_skip && fetch.skip > 0 && fetch.rows_max == 1;
        if fails && !was_healed {
            return self.stream.fail(self.now, AskedFor::Page, trouble.clone(), &mut self.backoff);
        }
        let date = self.date();
        let present = Present::Between { earliest: date, latest: date, is_backed: true };
        let pending = self.stream.page(0, &page, Span::ms(100), present);
        self.got.extend(pending.keep.fresh.iter().map(|at| page.keys[*at as usize].id));
        self.missed.extend(pending.keep.missed);
        self.stream.stored(self.now, Span::seconds(1), pending, &mut self.backoff);
    }

    /// Runs with `--once`, some minutes apart, until one comes to the end. Answers with how many it took.
    fn run_once_and_again(
        &mut self,
        most: u32,
        trouble: &SourceTrouble,
        bad: impl Fn(u64, Mono) -> bool,
    ) -> u32 {
        for run in 1..=most {
            let (before, begun) = (self.requests, self.now);
            while !self.stream.caught_up {
                if gives_up(&self.stream.lane, self.stream.once_failures_max()) {
                    break;
                }
                self.step(trouble, &bad, |_| false);
                self.stream.wait_briefly(self.now, self.backoff.min);
                let long = Span::minutes(20);
                assert!(self.now.since(begun) < long, "a run of {:?}", self.now.since(begun));
            }
            if self.stream.caught_up {
                return run;
            }
            assert!(self.requests - before < 1_000, "{} in one run", self.requests - before);
            self.now = self.now + Span::minutes(5);
            self.start_anew();
        }
        let (got, all) = (self.got.len(), self.rows.len());
        panic!("{most} runs were not enough: {got} of {all} after {trouble:?}");
    }

    /// Another process, with what is on disk.
    fn start_anew(&mut self) {
        let (rows, lone) = (self.stream.rows.learned(), self.stream.beyond.lone());
        let learned = StreamLearned { rows, lone, ..StreamLearned::default() };
        let progress = self.stream.progress;
        let is_known = |key: &&RowKey| {
            self.got.contains(&key.id) && progress.is_some_and(|at| key.stamp >= at.from)
        };
        let known = self.rows.iter().filter(is_known).copied().collect();
        let held = StreamStatus { progress, known, ..StreamStatus::default() };
        let plan = self.stream.plan.clone();
        let stream = Stream::new(plan, held, self.now, self.backoff.min);
        self.stream = stream.remembering(&learned, None);
    }

    pub(super) fn all_but(&self, bad: &[u64]) -> Vec<u64> {
        self.rows.iter().map(|key| key.id).filter(|id| !bad.contains(id)).collect()
    }

    pub(super) fn sorted(&self) -> Vec<u64> {
        let mut got = self.got.clone();
        got.sort_unstable();
        got
    }
}

pub(super) fn row(id: u64, second: u64) -> RowKey {
    RowKey { id, stamp: AT + Span::seconds(second) }
}

/// Whatever something between may say of a page or of everything.
pub(super) fn refusals() -> Vec<SourceTrouble> {
    let words = "HTTP 403: Blocked by policy".to_owned();
    vec![
        SourceTrouble::Forbidden(Refusal { what: Refused::Address, words }),
        SourceTrouble::Misdirected("HTTP 302, a redirect".into()),
    ]
}

/// What a console says of one row as well as of everything.
pub(super) fn of_one_or_all() -> Vec<SourceTrouble> {
    vec![SourceTrouble::busy(None), SourceTrouble::busy(Some(Span::seconds(2)))]
}

fn troubles() -> Vec<SourceTrouble> {
    let others = vec![
        SourceTrouble::TooLong(Unread::default()),
        SourceTrouble::BrokenAnswer("HTTP 500".into()),
        SourceTrouble::Unreachable(NetTrouble::Broken("reset".into())),
        SourceTrouble::Unreachable(NetTrouble::silent(Span::minutes(1))),
        SourceTrouble::QueryRefused("HTTP 400".into()),
    ];
    others.into_iter().chain(refusals()).chain(of_one_or_all()).collect()
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
        assert_eq!(bench.stream.lane.reason, Reason::PollInterval, "{trouble:?}");
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
fn a_row_that_comes_in_the_end_is_no_gap() {
    for trouble in troubles() {
        let mut bench = Bench::new((0..100).map(|id| row(id, id * 60)).collect());
        bench.heals_at_skip = true;
        bench.poll(bench.begun + Span::hours(10), &trouble, |id, _| id == 60, |_| false);
        assert!(bench.is_healed, "{trouble:?}");
        assert_eq!((bench.sorted(), &bench.missed[..]), (bench.all_but(&[]), &[][..]));
    }
}

#[test]
fn runs_with_once_get_past_a_row_that_cannot_be_fetched() {
    for trouble in troubles() {
        let mut bench = Bench::new((0..100).map(|id| row(id, id * 30)).collect());
        let runs = bench.run_once_and_again(20, &trouble, |id, _| id == 60);
        assert_eq!(bench.sorted(), bench.all_but(&[60]), "{trouble:?}, {runs} runs");
        let stamp = row(60, 60 * 30).stamp;
        let [missed] = bench.missed[..] else { panic!("{:?}", bench.missed) };
        assert!(missed.from <= stamp && stamp <= missed.to, "{missed:?}");
    }
}

#[test]
fn runs_with_once_get_past_rows_side_by_side_that_cannot_be_fetched() {
    for trouble in troubles() {
        for (bad, is_tied) in [
            (&[60, 61][..], false),
            (&[60, 61, 62], false),
            (&[30, 60, 61], false),
            (&[60, 61], true),
        ] {
            let is_one = |id: u64| is_tied && bad.contains(&id);
            let second = |id: u64| if is_one(id) { 1_800 } else { id * 30 };
            let mut bench = Bench::new((0..100).map(|id| row(id, second(id))).collect());
            let runs = bench.run_once_and_again(60, &trouble, |id, _| bad.contains(&id));
            assert_eq!(bench.sorted(), bench.all_but(bad), "{trouble:?}, {runs} runs");
            for id in bad {
                let stamp = row(*id, second(*id)).stamp;
                let is_told = bench.missed.iter().any(|gap| gap.from <= stamp && stamp <= gap.to);
                assert!(is_told, "{id} is in none of {:?}", bench.missed);
            }
        }
    }
}

#[test]
fn rows_of_one_stamp_that_fail_now_and_then_are_no_bad_row() {
    let trouble = SourceTrouble::BrokenAnswer("HTTP 500".into());
    for seed in 0..40 {
        // A bulk change gives many one stamp.
        let rows = (0..60).map(|id| row(id, if (10..50).contains(&id) { 10 } else { id }));
        let mut bench = Bench::new(rows.collect());
        let prng = std::cell::RefCell::new(Prng::new(seed));
        // Larger pages fail all the same, so that each row is asked for alone.
        bench.bears = 1;
        let chance = |_: Mono| prng.borrow_mut().chance(45);
        bench.poll(bench.begun + Span::hours(12), &trouble, |_, _| false, chance);
        assert_eq!((bench.sorted(), &bench.missed[..]), (bench.all_but(&[]), &[][..]), "{seed}");
    }
}

#[test]
fn a_run_with_once_ends_soon_when_all_fails_while_it_looks_beside_a_row() {
    let trouble = SourceTrouble::BrokenAnswer("HTTP 500".into());
    for dead_after in 1..60 {
        let mut bench = Bench::new((0..100).map(|id| row(id, id * 30)).collect());
        bench.stream.beyond = known_lone(row(59, 59 * 30).stamp);
        let mut steps = 0;
        let is_over = |bench: &Bench| {
            gives_up(&bench.stream.lane, bench.stream.once_failures_max()) || bench.stream.caught_up
        };
        while !is_over(&bench) && steps < dead_after {
            bench.step(&trouble, |id, _| id == 60, |_| false);
            steps += 1;
        }
        let mut failed = 0;
        while !is_over(&bench) {
            bench.step(&trouble, |_, _| true, |_| true);
            failed += 1;
        }
        assert!(failed < 40, "{failed} requests after {dead_after}");
        assert_eq!(bench.missed, []);
    }
}

/// What was seen so often that it is to blame.
fn known_lone(from: Stamp) -> Beyond {
    let at = RowPlace { from, is_after: true };
    let lone = Lone { at, way: Way::Failed, tries: 1_000, for_ms: Span::hours(1) };
    let learned = StreamLearned { lone: Some(lone), ..StreamLearned::default() };
    Beyond::remembering(&learned, Some(AT))
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
    assert_eq!(bench.stream.lane.reason, Reason::BrokenAnswer, "it is told");
}

#[test]
fn a_console_that_takes_no_skip_holds_up_no_other_either() {
    for trouble in troubles() {
        let mut bench = Bench::new((0..100).map(|id| row(id, id * 60)).collect());
        bench.takes_no_skip = true;
        bench.poll(bench.begun + Span::hours(3), &trouble, |id, _| id == 60, |_| false);
        assert_eq!((bench.sorted(), bench.missed.len()), (bench.all_but(&[60]), 1), "{trouble:?}");
        // What has the row's stamp is behind it, and can't be reached.
        let tied = |id: u64| row(id, if (40..80).contains(&id) { 40 } else { id });
        let mut bench = Bench::new((0..100).map(tied).collect());
        bench.takes_no_skip = true;
        bench.poll(bench.begun + Span::hours(9), &trouble, |id, _| id == 60, |_| false);
        let behind = (80..100).filter(|id| bench.got.contains(id)).count();
        assert_eq!((behind, bench.missed.len()), (20, 1), "{trouble:?}");
    }
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
    assert_eq!(bench.stream.lane.reason, Reason::BrokenAnswer, "it is told");
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

#[test]
fn a_row_that_is_put_off_is_asked_for_no_sooner_than_was_said() {
    let patience = Span::seconds(40);
    let mut bench = Bench::new((0..100).map(|id| row(id, id * 60)).collect());
    let put_off = std::cell::RefCell::new(vec![]);
    let bad = |id, now| {
        let is_bad = id == 60;
        put_off.borrow_mut().extend(is_bad.then_some(now));
        is_bad
    };
    let busy = SourceTrouble::busy(Some(patience));
    bench.poll(bench.begun + Span::hours(9), &busy, bad, |_| false);
    assert_eq!((bench.sorted(), bench.missed.len()), (bench.all_but(&[60]), 1));
    for failed in put_off.borrow().iter() {
        let next = bench.asked.iter().map(|(_, at)| *at).find(|at| at >= failed);
        assert!(next.is_none_or(|at| at.since(*failed) >= patience), "{failed:?}, then {next:?}");
    }
}
