//! What fails for its size or its content is sent smaller, and a record that fails alone is set aside.

use crate::limits;
use crate::prng::Prng;
use crate::record::{
    KeyTrial, NetTrouble, Probe, QueuePosition, Sent, Seq, SinkLearned, SinkVerdict, SourceTrouble,
    Start, WriteMode,
};
use crate::time::{Due, Mono, Span, Stamp};

use super::lane::{Backoff, Lane};
use super::place_tests::{NOW, Stage, days, stood};
use super::reason::Reason;
use super::sink::{Sink, Then};
use super::{Action, Event, PageSent};

const RECORD: u64 = 2_600;
const SILENCE: Span = Span::minutes(1);

/// A sink in front of `n` records, and what became of them.
struct Bench {
    sink: Sink,
    /// Bytes of a record.
    record: u64,
    backoff: Backoff,
    now: Mono,
    head: u64,
    parked: Vec<u64>,
    /// Entries of each request, and when it was made.
    sends: Vec<(u64, Mono)>,
    trials: u32,
    /// Accepted ahead of their turn, ever.
    ahead: Vec<u64>,
}

impl Bench {
    fn new() -> Bench {
        let backoff = Backoff { min: Span::seconds(1), max: Span::minutes(5), prng: Prng::new(3) };
        let sink = Sink::new(Lane::new(Mono::ZERO, backoff.min)).within(None, Some(SILENCE));
        let (parked, sends, ahead) = (vec![], vec![], vec![]);
        let (now, head, trials) = (Mono::ZERO, 0, 0);
        Bench { sink, record: RECORD, backoff, now, head, parked, sends, trials, ahead }
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
            if self.sink.is_trial_due() {
                self.trials += 1;
                let then = self.sink.tried(self.now, &trial(self.now), &mut self.backoff);
                self.follow(then);
                continue;
            }
            if let Some(probe) = self.sink.probe() {
                self.send_ahead(probe, n, &mut answer);
                continue;
            }
            let take = self.sink.take();
            let fit = (take.raw_bytes_max / self.record).max(1);
            let most = match take.until.map(|until| until.seq.0) {
                Some(until) if until == self.head => {
                    let then = self.sink.sent_before(self.sent(self.head, 1));
                    self.follow(then);
                    continue;
                }
                until => until.unwrap_or(n) - self.head,
            };
            let entries = u64::from(take.entries_max).min(fit).min(most);
            let sent = self.sent(self.head, entries);
            self.sends.push((entries, self.now));
            let (verdict, took) = answer(self.head, entries, self.now);
            self.now = self.now + took;
            let (now, backoff) = (self.now, &mut self.backoff);
            let mut then = self.sink.answered(now, sent, took, &verdict, backoff);
            if then == Then::TryKey {
                self.trials += 1;
                then = self.sink.tried(now, &trial(now), backoff);
            }
            self.follow(then);
        }
    }

    fn sent(&self, first: u64, entries: u64) -> Sent {
        let place = |at: u64| QueuePosition { seq: Seq(at), skip: 0 };
        let (end, raw_bytes) = (place(first + entries), entries * self.record);
        Sent { first: place(first), end, entries: entries as u32, own: 0, raw_bytes }
    }

    fn send_ahead(
        &mut self,
        probe: Probe,
        n: u64,
        mut answer: impl FnMut(u64, u64, Mono) -> (SinkVerdict, Span),
    ) {
        let is_accepted = |at: &u64| probe.sent.iter().any(|place| place.seq.0 == *at);
        let first = |from: u64| (from..n).find(|at| !is_accepted(at));
        let least = self.head + u64::from(probe.behind);
        let at = match probe.is_far {
            true => first(least),
            false => first(self.head + 1).filter(|next| *next >= least),
        };
        let probed = at.map(|at| {
            let (verdict, took) = answer(at, 1, self.now);
            self.now = self.now + took;
            if matches!(verdict, SinkVerdict::Accepted { .. }) {
                assert!(!self.ahead.contains(&at), "{at} is sent twice");
                self.ahead.push(at);
            }
            (self.sent(at, 1), verdict)
        });
        self.sink.probed(self.now, probed, &mut self.backoff);
        self.follow(Then::Keep);
    }

    fn follow(&mut self, then: Then) {
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
        SinkVerdict::KeyRefused("HTTP 403: {}".into()),
    ]
}

/// Answers so to whatever has one of these records.
fn refusing(
    marked: &[u64],
    verdict: SinkVerdict,
) -> impl Fn(u64, u64, Mono) -> (SinkVerdict, Span) {
    move |first, entries, _| match marked.iter().any(|at| (first..first + entries).contains(at)) {
        true => (verdict.clone(), Span::ms(50)),
        false => accepted(),
    }
}

fn hours(n: u64) -> Mono {
    Mono::ZERO + Span::hours(n)
}

fn forbidden() -> SinkVerdict {
    SinkVerdict::KeyRefused("HTTP 403: {}".into())
}

fn busy() -> SinkVerdict {
    SinkVerdict::Busy { retry_after: Some(Span::seconds(30)), why: "HTTP 429".into() }
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
            assert_eq!(bench.sink.lane.reason, Reason::Working);
        }
    }
}

#[test]
fn records_refused_like_a_bad_key_one_after_the_other_hold_up_no_other_for_ever() {
    let mut bench = Bench::new();
    bench.drain(213, hours(1), |_, _, _| accepted(), |_| KeyTrial::Unchecked);
    // The first of them is the first of its batch.
    let answer = refusing(&[213, 214, 300], forbidden());
    bench.drain(400, hours(3), answer, |_| KeyTrial::Unchecked);
    assert_eq!((bench.head, bench.parked.as_slice()), (400, [213, 214, 300].as_slice()));
}

#[test]
fn with_a_bad_key_nothing_is_parked_though_an_empty_array_is_taken_with_any_key() {
    for accepted_before in [0, 5] {
        let mut bench = Bench::new();
        bench.drain(accepted_before, hours(1), |_, _, _| accepted(), |_| KeyTrial::Unchecked);
        bench.sink.key_changed(bench.now, Span::ZERO);
        bench.drain(400, hours(100), |_, _, _| (forbidden(), Span::ms(9)), |_| KeyTrial::Unchecked);
        assert_eq!((bench.head, bench.parked.len()), (accepted_before, 0));
        assert_eq!(bench.sink.lane.reason, Reason::KeyRefused, "it is told");
        let sends = bench.sends.iter().filter(|(_, at)| *at > hours(1)).count();
        assert!(sends < 1_700, "{sends} requests in 99 hours");
        // A good one is put in its place.
        bench.sink.key_changed(bench.now, Span::ZERO);
        bench.drain(400, hours(101), |_, _, _| accepted(), |_| KeyTrial::Unchecked);
        assert_eq!((bench.head, bench.parked.len()), (400, 0));
        let bytes = bench.sink.take().raw_bytes_max;
        assert!(bytes >= limits::BODY_RAW_BYTES_FIRST, "no size is to blame: {bytes}");
    }
}

#[test]
fn a_key_that_ends_in_the_worst_moment_parks_few_and_ever_more_slowly() {
    let mut bench = Bench::new();
    let mut taken = 0;
    let answer = |first: u64, entries: u64, now| {
        let is_bad = (first..first + entries).contains(&213) || (taken >= 12 && now < hours(24));
        taken += u32::from(!is_bad);
        if is_bad { (forbidden(), Span::ms(9)) } else { accepted() }
    };
    bench.drain(400, hours(30), answer, |_| KeyTrial::Unchecked);
    assert_eq!(bench.head, 400);
    assert!(bench.parked.len() <= 7, "{:?}", bench.parked);
}

#[test]
fn a_record_that_always_meets_a_busy_sink_is_parked_and_the_waits_are_kept() {
    for trial in [KeyTrial::Good, KeyTrial::Unchecked] {
        let mut bench = Bench::new();
        let mut last = None;
        let refusing = refusing(&[213], busy());
        let answer = |first, entries, now: Mono| {
            let (verdict, took) = refusing(first, entries, now);
            assert!(last.is_none_or(|last: Mono| now.since(last) >= Span::seconds(30)), "{now:?}");
            last = matches!(verdict, SinkVerdict::Busy { .. }).then_some(now);
            (verdict, took)
        };
        bench.drain(400, hours(3), answer, |_| trial.clone());
        assert_eq!((bench.head, bench.parked.as_slice()), (400, [213].as_slice()));
        assert!(bench.sends.len() < 60, "{} requests", bench.sends.len());
    }
}

#[test]
fn a_sink_that_is_busy_above_a_size_gets_everything_in_smaller_batches() {
    let mut bench = Bench::new();
    let answer = |_, entries, _| if entries > 7 { (busy(), Span::ms(50)) } else { accepted() };
    bench.drain(1_000, hours(9), answer, |_| KeyTrial::Good);
    assert_eq!((bench.head, bench.parked.len()), (1_000, 0));
}

#[test]
fn a_sink_that_is_busy_for_all_parks_nothing_and_gets_whole_batches_after_it() {
    // A quota that is used up may spare empty arrays.
    for trial in [KeyTrial::Failed(busy()), KeyTrial::Good] {
        let mut bench = Bench::new();
        let answer = |first, _, now| match now < hours(7) && first > 0 {
            true => (busy(), Span::ms(50)),
            false => accepted(),
        };
        bench.drain(5_000, hours(8), answer, |_| trial.clone());
        assert_eq!((bench.head, bench.parked.len()), (5_000, 0), "{trial:?}");
        let after = bench.sends.iter().filter(|(_, at)| *at >= hours(7)).count();
        assert!(after < 35, "{after} requests for 13 MB");
        let shrunk = bench.sends.iter().filter(|(n, at)| *n == 1 && *at < hours(7)).count();
        assert!(shrunk == 0 || trial == KeyTrial::Good, "{shrunk} were sent alone");
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
fn where_an_empty_array_fails_too_all_but_a_bad_record_arrive() {
    for failure in failures() {
        let mut bench = Bench::new();
        let trial = KeyTrial::Failed(SinkVerdict::Failed("HTTP 500".into()));
        let answer = refusing(&[1_713], failure.clone());
        bench.drain(3_000, hours(9), answer, |_| trial.clone());
        assert_eq!((bench.head, &bench.parked[..]), (3_000, &[1_713][..]), "{failure:?}");
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
fn a_sink_that_fails_above_a_number_of_short_records_gets_everything_in_smaller_batches() {
    let too_large = SinkVerdict::TooLarge("HTTP 413".into());
    for failure in refusals().into_iter().chain([too_large]) {
        let mut bench = Bench::new();
        bench.record = 60;
        let answer = |_, entries, _| match entries > 5 {
            true => (failure.clone(), Span::ms(50)),
            false => accepted(),
        };
        bench.drain(3_000, Mono::ZERO + Span::hours(40), answer, |_| KeyTrial::Good);
        assert_eq!((bench.head, bench.parked.len()), (3_000, 0), "{failure:?}");
        let refused = bench.sends.iter().filter(|(entries, _)| *entries > 5).count();
        assert!(refused < 70, "{refused} of {}: {failure:?}", bench.sends.len());
        // Another process begins with what was learned.
        let learned = bench.sink.learned();
        let next = Sink::new(Lane::new(Mono::ZERO, Span::seconds(1))).remembering(learned);
        assert!(next.take().entries_max <= 10, "{learned:?}");
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

#[test]
fn a_413_lowers_the_bytes_and_success_raises_them_again() {
    let Bench { mut sink, mut backoff, .. } = Bench::new();
    let sent = |raw_bytes| Sent {
        first: QueuePosition::default(),
        end: QueuePosition { seq: Seq(1), skip: 0 },
        entries: 500,
        own: 0,
        raw_bytes,
    };
    let large = SinkVerdict::TooLarge("413".into());
    let fine = SinkVerdict::Accepted { remark: None };
    let mut answered = |raw_bytes, verdict: &SinkVerdict| {
        sink.answered(Mono(0), sent(raw_bytes), Span::ZERO, verdict, &mut backoff);
        sink.take().raw_bytes_max
    };
    assert_eq!(answered(64 << 10, &fine), 256 << 10, "while all goes well it grows quickly");
    assert_eq!(answered(256 << 10, &large), 128 << 10);
    for _ in 1..limits::SIZE_RAISE_AFTER {
        assert_eq!(answered(128 << 10, &fine), 128 << 10);
    }
    assert_eq!(answered(128 << 10, &fine), 256 << 10);
    answered(256 << 10, &large);
    assert_eq!(sink.lane.detail, "413; the batch had 500 records, 262144 bytes");
}

#[test]
fn a_hiccup_with_two_short_records_teaches_no_number() {
    let mut bench = Bench::new();
    bench.record = 60;
    let mut tries = 0;
    let answer = |_, _, _| {
        tries += 1;
        match tries {
            1 => (SinkVerdict::Failed("HTTP 503".into()), Span::ms(50)),
            _ => accepted(),
        }
    };
    bench.drain(2, Mono::ZERO + Span::hours(1), answer, |_| KeyTrial::Good);
    assert_eq!((bench.head, bench.sink.learned().body_entries), (2, None));
}

#[test]
fn a_page_of_more_records_than_the_sink_takes_is_not_sent_from_memory() {
    for (learned, is_sent) in [(None, true), (Some(5), true), (Some(4), false)] {
        let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
        stage.core.plan.write = WriteMode::OnFailure;
        let learned = SinkLearned { body_entries: learned, ..SinkLearned::default() };
        stage.core.sink = stage.core.sink.clone().remembering(learned);
        stage.begin();
        let rows: Vec<Stamp> = (1..=5).rev().map(|n| NOW - Span::seconds(n)).collect();
        let next = stage.page(&rows, None);
        assert_eq!(matches!(next, Action::SendPage { .. }), is_sent, "{learned:?}: {next:?}");
    }
}

#[test]
fn a_page_that_failed_from_memory_is_sent_from_the_queue_in_smaller_batches() {
    let cases = [
        (SinkVerdict::Failed("HTTP 504".into()), 3),
        (SinkVerdict::TooLarge("HTTP 413".into()), 3),
        (SinkVerdict::Malformed("HTTP 400".into()), 3),
        (SinkVerdict::Unreachable(NetTrouble::Broken("reset".into())), 3),
        // Nothing of it was sent.
        (SinkVerdict::Unreachable(NetTrouble::Connect("refused".into())), limits::BODY_ENTRIES_MAX),
        // An empty array shows what was meant.
        (SinkVerdict::KeyRefused("HTTP 401".into()), limits::BODY_ENTRIES_MAX),
    ];
    for (verdict, next) in cases {
        let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
        stage.core.plan.write = WriteMode::OnFailure;
        stage.begin();
        let rows: Vec<Stamp> = (1..=5).rev().map(|n| NOW - Span::seconds(n)).collect();
        assert!(matches!(stage.page(&rows, None), Action::SendPage { .. }));
        let said = format!("{verdict:?}");
        stage.after(Event::PageSent(Some(PageSent { raw_bytes: 13_000, verdict })));
        assert_eq!(stage.core.sink.take().entries_max, next, "{said}");
    }
}

/// A console that answers 503 with Retry-After to each page above 200 rows: the wait is kept, and the
/// page does not stay as large for ever.
#[test]
fn a_page_that_is_put_off_again_and_again_gets_smaller_and_no_wait_gets_shorter() {
    let patience = Span::seconds(30);
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    let (mut next, mut asked) = (stage.begin(), vec![]);
    for _ in 0..10 {
        let Action::Fetch(fetch) = &next else { panic!("{next:?}") };
        asked.push((fetch.rows_max, stage.now));
        if fetch.rows_max <= 200 {
            break;
        }
        let why = "HTTP 503".to_owned();
        let busy = SourceTrouble::Busy { retry_after: Some(patience), why };
        next = stage.after(Event::Fetched { stream: 0, page: Err(busy) });
    }
    let rows: Vec<u32> = asked.iter().map(|(rows, _)| *rows).collect();
    assert_eq!(rows, [1_000, 1_000, 500, 250, 125], "once says nothing of the size");
    let waits = asked.windows(2).map(|pair| pair[1].1.since(pair[0].1));
    assert!(waits.into_iter().all(|wait| wait >= patience), "{asked:?}");
    stage.page(&[NOW], None);
    assert_eq!(stage.reason(), Reason::PollInterval);
}

#[test]
fn one_that_fails_alone_is_parked_once_one_behind_it_is_accepted_if_no_empty_array_is() {
    let failed = || KeyTrial::Failed(SinkVerdict::Failed("HTTP 500".into()));
    for verdict in [SinkVerdict::Failed("HTTP 500".into()), failures().remove(1)] {
        let mut bench = Bench::new();
        bench.drain(400, hours(2), refusing(&[120], verdict.clone()), |_| failed());
        assert_eq!((bench.head, &bench.parked[..]), (400, &[120][..]), "{verdict:?}");
        assert_eq!(bench.ahead, [121, 122, 123], "in their order: {verdict:?}");
        assert!(bench.sends.len() < 80, "{verdict:?}: {}", bench.sends.len());
    }
}

#[test]
fn several_side_by_side_are_parked_in_hours() {
    let marked: Vec<u64> = (120..130).collect();
    for verdict in [SinkVerdict::Failed("HTTP 500".into()), failures().remove(1)] {
        let mut bench = Bench::new();
        bench.drain(400, hours(6), refusing(&marked, verdict.clone()), |_| KeyTrial::Good);
        assert_eq!((bench.head, &bench.parked[..]), (400, &marked[..]), "{verdict:?}");
    }
}

#[test]
fn what_nothing_was_accepted_after_is_parked_once_one_behind_it_is() {
    // At the head when the process begins, at a sink that accepts an empty array with any key.
    for verdict in [forbidden(), SinkVerdict::Blocked("HTTP 403: <html>".into()), busy()] {
        let mut bench = Bench::new();
        bench.drain(400, hours(3), refusing(&[0], verdict.clone()), |_| KeyTrial::Unchecked);
        assert_eq!((bench.head, &bench.parked[..]), (400, &[0][..]), "{verdict:?}");
    }
}

#[test]
fn a_sink_that_accepts_nothing_has_nothing_parked_however_many_are_sent_ahead() {
    let verdict = SinkVerdict::Failed("HTTP 500".into());
    let failed = || KeyTrial::Failed(SinkVerdict::Failed("HTTP 500".into()));
    let mut bench = Bench::new();
    bench.drain(400, hours(48), |_, _, _| (verdict.clone(), Span::ms(50)), |_| failed());
    assert_eq!((bench.head, bench.parked.len()), (0, 0));
    // It works again, for a while each time.
    let sometimes = |_, _, now: Mono| match (now.0 / Span::minutes(20).0).is_multiple_of(2) {
        true => accepted(),
        false => (verdict.clone(), Span::ms(50)),
    };
    bench.drain(40_000, hours(60), sometimes, |_| failed());
    assert_eq!((bench.head, bench.parked.len()), (40_000, 0));
}

#[test]
fn what_was_accepted_with_another_key_blames_no_record() {
    let failed = || KeyTrial::Failed(SinkVerdict::Failed("HTTP 500".into()));
    let mut bench = Bench::new();
    while bench.ahead.len() < 3 {
        let soon = bench.now + Span::ms(1);
        bench
            .drain(400, soon, refusing(&[7], SinkVerdict::Failed("HTTP 500".into())), |_| failed());
    }
    assert_eq!((bench.head, bench.parked.len()), (7, 0));
    bench.sink.key_changed(bench.now, Span::seconds(1));
    let bad = || (forbidden(), Span::ms(50));
    bench.drain(400, hours(9), |_, _, _| bad(), |_| KeyTrial::Refused(forbidden()));
    assert_eq!((bench.head, bench.parked.len()), (7, 0));
}

#[test]
fn with_none_behind_it_nothing_is_parked_and_the_pace_stays() {
    let failed = || KeyTrial::Failed(SinkVerdict::Failed("HTTP 500".into()));
    let mut bench = Bench::new();
    bench
        .drain(10, hours(10), refusing(&[9], SinkVerdict::Failed("HTTP 500".into())), |_| failed());
    assert_eq!((bench.head, bench.parked.len()), (9, 0));
    let late = bench.sends.iter().filter(|(_, at)| *at > hours(1)).count();
    assert!(late < 9 * 40, "{late}");
    // More come.
    bench.drain(400, hours(12), refusing(&[9], SinkVerdict::Failed("HTTP 500".into())), |_| {
        failed()
    });
    assert_eq!((bench.head, &bench.parked[..]), (400, &[9][..]));
}

/// A queue of `n` records in front of a sink that refuses those `poisoned` names. Returns the
/// records delivered, the records parked and the requests it took.
fn drain(n: u64, poisoned: impl Fn(u64) -> bool) -> (Vec<u64>, Vec<u64>, u32) {
    let mut backoff = Backoff { min: Span::seconds(1), max: Span::minutes(5), prng: Prng::new(1) };
    let mut sink = Sink::new(Lane::new(Mono::ZERO, backoff.min));
    let (mut head, mut now, mut requests) = (0, Mono::ZERO, 0);
    let (mut delivered, mut parked) = (vec![], vec![]);
    while head < n {
        let take = u64::from(sink.take().entries_max).min(n - head);
        let place = |at: u64| QueuePosition { seq: Seq(at), skip: 0 };
        let sent = Sent {
            first: place(head),
            end: place(head + take),
            entries: take as u32,
            own: 0,
            raw_bytes: take * 2_000,
        };
        requests += 1;
        assert!(requests < 100_000, "it never ends");
        let verdict = if (head..head + take).any(&poisoned) {
            SinkVerdict::Malformed("400".into())
        } else {
            SinkVerdict::Accepted { remark: None }
        };
        let mut then = sink.answered(now, sent, Span::ZERO, &verdict, &mut backoff);
        if then == Then::TryKey {
            then = sink.tried(now, &KeyTrial::Good, &mut backoff);
        }
        match then {
            Then::Acknowledge { end } => {
                delivered.extend(head..end.seq.0);
                head = end.seq.0;
            }
            Then::Park { at } => {
                parked.push(at.seq.0);
                head += 1;
            }
            Then::Keep => {}
            other => panic!("{other:?}"),
        }
        if let Due::At(due) = sink.lane.due {
            now = now.max(due);
        }
    }
    (delivered, parked, requests)
}

#[test]
fn a_poisoned_record_is_parked_alone_in_a_logarithm_of_requests() {
    let (delivered, parked, requests) = drain(1_000, |at| at == 613);
    assert_eq!(parked, [613]);
    assert_eq!(delivered.len(), 999);
    assert!(delivered.is_sorted());
    assert!(requests <= 2 * 10 + 2, "{requests}");
}

#[test]
fn every_second_record_poisoned_is_still_sorted_out() {
    let (delivered, parked, _) = drain(100, |at| at % 2 == 1);
    assert_eq!((delivered.len(), parked.len()), (50, 50));
}

#[test]
fn a_sink_that_refuses_everything_parks_slowly() {
    let mut backoff = Backoff { min: Span::seconds(1), max: Span::minutes(5), prng: Prng::new(1) };
    let mut sink = Sink::new(Lane::new(Mono::ZERO, backoff.min));
    let (mut now, mut parked) = (Mono::ZERO, 0);
    while now < Mono::ZERO + Span::hours(1) {
        let entries = sink.take().entries_max.min(1_000);
        let sent = Sent {
            first: QueuePosition::default(),
            end: QueuePosition { seq: Seq(1), skip: 0 },
            entries,
            own: 0,
            raw_bytes: u64::from(entries) * 2_000,
        };
        let verdict = SinkVerdict::Malformed("400".into());
        let mut then = sink.answered(now, sent, Span::ZERO, &verdict, &mut backoff);
        if then == Then::TryKey {
            then = sink.tried(now, &KeyTrial::Good, &mut backoff);
        }
        parked += u32::from(matches!(then, Then::Park { .. }));
        let refuses = sink.lane.reason == Reason::RefusesEverything;
        assert!(!refuses || sink.take().entries_max == 1, "then no number is to blame");
        let Due::At(due) = sink.lane.due else { panic!("never") };
        now = now.max(due);
    }
    assert!(parked <= limits::PARKED_IN_A_ROW_MAX + 16, "{parked} parked in an hour");
    assert!(parked > limits::PARKED_IN_A_ROW_MAX, "it never stops for good");
}
