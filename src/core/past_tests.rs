//! A list of late records with some that can't be fetched: all others are collected, and a gap says so.

use std::collections::BTreeSet;

use super::plan::{Mode, Plan, StreamPlan};
use super::reconcile::{Counted, Listed};
use super::source::{Missed, PageFacts};
use super::{Action, Core, Event, Tick};
use crate::limits::RECONCILE_AGAIN_HOURS;
use crate::record::{
    Cursor, Held, Kind, Learned, Opened, Progress, RowKey, SourceTrouble, Start, StreamHeld, Total,
    Unread, WriteMode,
};
use crate::time::{Clocks, Mono, Span, Stamp};

const AT: Stamp = Stamp(1_800_000_000_000_000);
const BEGUN: Mono = Mono(1_000_000);

/// A stream whose polls find nothing, before a source that has some rows of long ago.
struct Bench {
    core: Core,
    now: Mono,
    rows: Vec<RowKey>,
    collected: BTreeSet<u64>,
    missed: Vec<Missed>,
    lists: u32,
    takes_no_skip: bool,
}

/// Rows of the last ten hours, ten minutes apart.
fn rows() -> Vec<RowKey> {
    (0..60).map(|id| RowKey { id, stamp: AT - Span::hours(10) + Span::minutes(10 * id) }).collect()
}

impl Bench {
    fn new(kind: Kind, late: &[u64]) -> Bench {
        let progress = Some(Progress { position: AT, from: AT });
        let stream = StreamPlan {
            tenant: 0,
            kind,
            poll_interval: Span::minutes(1),
            start: Start::Now,
            overlap: Span::minutes(2),
            reconcile: Span::hours(1),
        };
        let plan = Plan {
            tenants: 1,
            streams: vec![stream],
            retry_min: Span::seconds(1),
            retry_max: Span::minutes(5),
            mode: Mode::Daemon,
            write: WriteMode::Always,
            heartbeat: None,
            bounds: crate::window::Bounds::default(),
            tally_ids: None,
        };
        let streams = vec![StreamHeld { progress, ..StreamHeld::default() }];
        let held = Held::default();
        let opened = Opened { held, streams, learned: Learned::default(), unsettled: 0 };
        let rows = rows();
        let collected = rows.iter().map(|key| key.id).filter(|id| !late.contains(id)).collect();
        Bench {
            core: Core::new(plan, 7, BEGUN, opened),
            now: BEGUN,
            rows,
            collected,
            missed: vec![],
            lists: 0,
            takes_no_skip: false,
        }
    }

    fn date(&self) -> Stamp {
        AT + Span::hours(1) + self.now.since(BEGUN)
    }

    fn live(&mut self, span: Span, fails: impl Fn(u64, Mono) -> Option<SourceTrouble>) {
        let end = self.now + span;
        let (mut event, mut listed) = (Event::Woke, vec![]);
        while self.now < end {
            let clocks = Clocks { local: Some(self.date()), sink: None };
            let tick = Tick { now: self.now, clocks, ..Tick::default() };
            event = match self.core.step(&tick, event) {
                Action::Sleep { until, .. } => {
                    self.now = until;
                    Event::Woke
                }
                Action::Fetch(fetch) => {
                    let page = PageFacts { keys: vec![], next: None, date: Some(self.date()) };
                    Event::Fetched { stream: fetch.stream, page: Ok(page) }
                }
                Action::Info { tenant } => {
                    Event::Informed { tenant, result: Ok(Some(self.date())) }
                }
                Action::TokenEnd { tenant } => Event::TokenEnds { tenant, end: None },
                Action::Count(count) => {
                    let from = count.from.unwrap_or(AT - Span::hours(20));
                    let within = |key: &&RowKey| (from..count.to).contains(&key.stamp);
                    let rows: Vec<&RowKey> = self.rows.iter().filter(within).collect();
                    let is_collected = |key: &&&RowKey| self.collected.contains(&key.id);
                    let collected = rows.iter().filter(is_collected).count() as u64;
                    let (there, date) = (Total::Is(rows.len() as u64), Some(self.date()));
                    let counted = Ok(Some(Counted { from, collected, there, date }));
                    Event::Counted { stream: 0, counted }
                }
                Action::List(list) => {
                    self.lists += 1;
                    let cursor = list.cursor.as_ref().map(|Cursor(at)| at.parse().unwrap());
                    let at: usize = cursor.unwrap_or(list.skip as usize);
                    let within = |key: &&RowKey| (list.from..list.to).contains(&key.stamp);
                    let all: Vec<RowKey> = self.rows.iter().filter(within).copied().collect();
                    let keys: Vec<RowKey> =
                        all.iter().skip(at).take(list.rows_max as usize).copied().collect();
                    let next = (at + keys.len() < all.len())
                        .then(|| Cursor((at + keys.len()).to_string()));
                    let unseen = keys.iter().map(|key| !self.collected.contains(&key.id)).collect();
                    let failed = keys.iter().find_map(|key| fails(key.id, self.now));
                    listed = keys.clone();
                    let page = PageFacts { keys, next, date: Some(self.date()) };
                    let answer = match failed {
                        _ if self.takes_no_skip && list.skip > 0 => {
                            Err(SourceTrouble::QueryRefused("skip: unknown".into()))
                        }
                        Some(trouble) => Err(trouble),
                        None => Ok(Listed { page, unseen, outside: 0 }),
                    };
                    Event::Listed { stream: 0, listed: answer }
                }
                Action::Store(keep) => {
                    let fresh = keep.fresh.iter().map(|at| listed[*at as usize].id);
                    for id in fresh {
                        assert!(self.collected.insert(id), "{id} is sent twice");
                    }
                    self.missed.extend(keep.missed);
                    Event::Stored(Ok(Held::default()))
                }
                other => panic!("{other:?}"),
            };
        }
    }

    fn lacks(&self) -> Vec<u64> {
        let ids = self.rows.iter().map(|key| key.id);
        ids.filter(|id| !self.collected.contains(id)).collect()
    }

    fn ranges(&self) -> Vec<(Stamp, Stamp, Option<u64>)> {
        let of = |missed: &Missed| (missed.from, missed.to, missed.unread.id);
        self.missed.iter().map(of).collect()
    }
}

fn broken() -> SourceTrouble {
    SourceTrouble::BrokenAnswer("HTTP 500".into())
}

#[test]
fn a_late_record_that_cannot_be_fetched_ends_no_list() {
    let told = Unread { id: Some(40), bytes_min: Some(30 << 20) };
    for (trouble, id) in [(broken(), None), (SourceTrouble::TooLong(told), Some(40))] {
        let mut bench = Bench::new(Kind::Activities, &[10, 40, 41, 59]);
        bench.live(Span::hours(3), |id, _| (id == 40).then(|| trouble.clone()));
        assert_eq!(bench.lacks(), [40], "{trouble:?}");
        let stamp = |id: usize| bench.rows[id].stamp;
        assert_eq!(bench.ranges(), [(stamp(39), stamp(41), id)]);
        assert!(bench.lists < 60, "{}", bench.lists);
    }
}

#[test]
fn neighbours_and_the_first_and_the_last_end_no_list_either() {
    let mut bench = Bench::new(Kind::Activities, &[0, 7, 20, 21, 50, 59]);
    let bad = [0, 20, 21, 59];
    bench.live(Span::hours(8), |id, _| bad.contains(&id).then(broken));
    assert_eq!(bench.lacks(), bad);
    for id in bad {
        let stamp = bench.rows[id as usize].stamp;
        let is_told = bench.missed.iter().any(|gap| gap.from <= stamp && stamp <= gap.to);
        assert!(is_told, "{id} is in none of {:?}", bench.missed);
    }
    // Of a threat it is only known when the listed ones were created.
    let mut bench = Bench::new(Kind::Threats, &[40, 41]);
    bench.live(Span::hours(3), |id, _| (id == 40).then(broken));
    assert_eq!((bench.lacks(), bench.missed.len()), (vec![40], 1));
    let (from, to, _) = bench.ranges()[0];
    assert!(from <= bench.rows[0].stamp && bench.rows[59].stamp < to);
}

#[test]
fn it_is_asked_for_again_once_in_a_while() {
    let mut bench = Bench::new(Kind::Activities, &[40]);
    bench.live(Span::hours(3), |id, _| (id == 40).then(broken));
    let lists = bench.lists;
    bench.live(Span::hours(RECONCILE_AGAIN_HOURS - 5), |id, _| (id == 40).then(broken));
    assert_eq!(bench.lists, lists, "not with each round");
    bench.live(Span::hours(8), |_, _| None);
    assert!(bench.lacks().is_empty(), "{:?}", bench.lacks());
}

#[test]
fn an_outage_of_lists_passes_over_nothing() {
    let mut bench = Bench::new(Kind::Activities, &[10, 40]);
    let end = BEGUN + Span::minutes(100);
    bench.live(Span::hours(5), |_, now| (now < end).then(broken));
    assert_eq!((bench.lacks(), bench.ranges()), (vec![], vec![]));
}

#[test]
fn where_no_place_can_be_asked_for_the_list_ends_there_and_polls_go_on() {
    let mut bench = Bench::new(Kind::Activities, &[10, 40, 41]);
    bench.takes_no_skip = true;
    bench.live(Span::hours(3), |id, _| (id == 40).then(broken));
    assert_eq!((bench.lacks(), bench.ranges()), (vec![40, 41], vec![]));
    let view = bench.core.view(bench.now);
    assert_eq!(view.streams[0].reconcile.tale.refused, None);
    assert!(view.streams[0].reconcile.tale.unchecked > 0);
}
