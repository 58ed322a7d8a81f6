//! What fails for its size or its content is sent smaller, and a record that fails alone is set aside.

use crate::prng::Prng;
use crate::record::{KeyTrial, NetTrouble, Place, Sent, Seq, SinkVerdict};
use crate::time::{Due, Mono, Span};

use super::lane::{Backoff, Lane, Why};
use super::sink::{Sink, Then};

const RECORD: u64 = 2_600;
const SILENCE: Span = Span::minutes(1);

/// A sink in front of `n` records, and what became of them.
struct Bench {
    sink: Sink,
    backoff: Backoff,
    now: Mono,
    head: u64,
    parked: Vec<u64>,
    /// Entries of each request, and when it was made.
    sends: Vec<(u64, Mono)>,
    trials: u32,
}

impl Bench {
    fn new() -> Bench {
        let backoff = Backoff { min: Span::seconds(1), max: Span::minutes(5), prng: Prng::new(3) };
        let sink = Sink::new(Lane::new(Mono::ZERO, backoff.min)).within(None, Some(SILENCE));
        let (parked, sends) = (vec![], vec![]);
        Bench { sink, backoff, now: Mono::ZERO, head: 0, parked, sends, trials: 0 }
    }

    /// Sends until `n` records are gone or `until` is over. `answer` gets the first record, how many
    /// there are, and the time, and says how long its answer takes.
    fn drain(
        &mut self,
        n: u64,
        until: Mono,
        mut answer: impl FnMut(u64, u64, Mono) -> (SinkVerdict, Span),
        trial: impl Fn(Mono) -> KeyTrial,
    ) {
        while self.head < n && self.now < until {
            let take = self.sink.take();
            let fit = (take.raw_bytes_max / RECORD).max(1);
            let entries = u64::from(take.entries_max).min(fit).min(n - self.head);
            let place = |at: u64| Place { seq: Seq(at), skip: 0 };
            let sent = Sent {
                first: place(self.head),
                end: place(self.head + entries),
                entries: entries as u32,
                own: 0,
                raw_bytes: entries * RECORD,
            };
            self.sends.push((entries, self.now));
            let (verdict, took) = answer(self.head, entries, self.now);
            self.now = self.now + took;
            let (now, backoff) = (self.now, &mut self.backoff);
            let mut then = self.sink.answered(now, sent, took, &verdict, backoff);
            if then == Then::TryKey {
                self.trials += 1;
                then = self.sink.tried(now, &trial(now), backoff);
            }
            match then {
                Then::Acknowledge { end } => self.head = end.seq.0,
                Then::Park { at } => {
                    self.parked.push(at.seq.0);
                    self.head += 1;
                }
                Then::Keep => {}
                other => panic!("{other:?}"),
            }
            let Due::At(due) = self.sink.lane.due else { panic!("never") };
            self.now = self.now.max(due);
        }
    }
}

fn accepted() -> (SinkVerdict, Span) {
    (SinkVerdict::Accepted { remark: None }, Span::ms(200))
}

fn failures() -> Vec<SinkVerdict> {
    let broken = NetTrouble::Broken("reset".into());
    vec![
        SinkVerdict::Failed("HTTP 500".into()),
        SinkVerdict::Unreachable(broken),
        SinkVerdict::Unreachable(NetTrouble::silent(Span::minutes(1))),
        SinkVerdict::Misdirected("HTTP 451".into()),
        SinkVerdict::Blocked("HTTP 403: <html>".into()),
    ]
}

/// The same, and what is surely for the content.
fn refusals() -> Vec<SinkVerdict> {
    let mut all = failures();
    all.push(SinkVerdict::Malformed("HTTP 400".into()));
    all
}

#[test]
fn one_record_that_always_fails_is_parked_and_all_others_arrive() {
    for failure in refusals() {
        for trial in [KeyTrial::Good, KeyTrial::Unchecked] {
            if trial == KeyTrial::Unchecked && matches!(failure, SinkVerdict::Blocked(_)) {
                continue;
            }
            let mut bench = Bench::new();
            let answer = |first: u64, entries: u64, _| match (first..first + entries).contains(&213)
            {
                true => (failure.clone(), Span::ms(50)),
                false => accepted(),
            };
            bench.drain(400, Mono::ZERO + Span::hours(3), answer, |_| trial.clone());
            assert_eq!(
                (bench.head, bench.parked.as_slice()),
                (400, [213].as_slice()),
                "{failure:?}"
            );
            assert!(bench.sends.len() < 45, "{} requests for {failure:?}", bench.sends.len());
            assert_eq!(bench.sink.lane.why, Why::Working);
        }
    }
}

#[test]
fn no_record_is_parked_for_an_outage_and_the_next_batches_are_whole() {
    for failure in failures() {
        let mut bench = Bench::new();
        let back = Mono::ZERO + Span::hours(30);
        let answer = |_, _, now| match now < back {
            true => (failure.clone(), Span::ms(50)),
            false => accepted(),
        };
        let dead = KeyTrial::Failed(failure.clone());
        bench.drain(5_000, back + Span::hours(1), answer, |_| dead.clone());
        assert_eq!((bench.head, bench.parked.len()), (5_000, 0), "{failure:?}");
        let after = bench.sends.iter().filter(|(_, at)| *at >= back).count();
        assert!(after < 35, "{after} requests for 13 MB after {failure:?}");
    }
}

#[test]
fn a_sink_that_fails_above_a_size_gets_everything_in_smaller_batches() {
    for most in [1, 2, 7, 50, 200] {
        for failure in refusals() {
            let mut bench = Bench::new();
            let answer = |_, entries, _| match entries > most {
                true => (failure.clone(), Span::ms(50)),
                false => accepted(),
            };
            bench.drain(3_000, Mono::ZERO + Span::hours(40), answer, |_| KeyTrial::Good);
            assert_eq!((bench.head, bench.parked.len()), (3_000, 0), "{most}: {failure:?}");
            let refused = bench.sends.iter().filter(|(entries, _)| *entries > most).count();
            assert!(refused < 40, "{refused} of {} for {most}: {failure:?}", bench.sends.len());
        }
    }
}

#[test]
fn a_thin_link_gets_what_it_carries_and_nothing_twice() {
    for bytes_a_second in [250, 2_000, 20_000, 1_000_000] {
        let mut bench = Bench::new();
        // Compressed to a tenth. What takes longer than the silence allowed arrives all the same.
        let mut late = 0;
        let answer = |_, entries: u64, _| {
            let took = Span(100 + entries * RECORD * 100 / bytes_a_second);
            if took > SILENCE {
                late += entries;
                return (SinkVerdict::Unreachable(NetTrouble::silent(Span::minutes(1))), SILENCE);
            }
            (SinkVerdict::Accepted { remark: None }, took)
        };
        bench.drain(3_300, Mono::ZERO + Span::hours(3), answer, |_| KeyTrial::Good);
        assert_eq!((bench.head, late), (3_300, 0), "at {bytes_a_second} bytes a second");
        let needed = Span(3_300 * RECORD * 100 / bytes_a_second);
        let took = bench.now.since(Mono::ZERO);
        assert!(took.as_ms() < needed.as_ms() * 11 / 10 + 60_000, "{took:?} instead of {needed:?}");
    }
}

#[test]
fn a_link_that_becomes_thin_costs_one_batch() {
    let mut bench = Bench::new();
    let mut late = 0;
    let answer = |_, entries: u64, now: Mono| {
        let bytes_a_second = if now < Mono(3_000) { 1_000_000 } else { 2_000 };
        let took = Span(100 + entries * RECORD * 100 / bytes_a_second);
        match took > SILENCE {
            true => {
                late += 1;
                (SinkVerdict::Unreachable(NetTrouble::silent(Span::minutes(1))), SILENCE)
            }
            false => (SinkVerdict::Accepted { remark: None }, took),
        }
    };
    bench.drain(30_000, Mono::ZERO + Span::hours(9), answer, |_| KeyTrial::Good);
    assert_eq!(bench.head, 30_000);
    assert!(late <= 2, "{late} batches were sent that the link does not carry");
}

#[test]
fn a_record_that_fails_alone_is_given_time() {
    let mut bench = Bench::new();
    let healed = Mono::ZERO + Span::minutes(9);
    let answer = |first: u64, _, now| match first == 0 && now < healed {
        true => (SinkVerdict::Failed("HTTP 500".into()), Span::ms(5)),
        false => accepted(),
    };
    bench.drain(10, Mono::ZERO + Span::hours(1), answer, |_| KeyTrial::Good);
    assert_eq!((bench.head, bench.parked.len()), (10, 0));
}
