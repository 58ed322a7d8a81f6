//! The sink's lane while answers say that something was not taken, and while a refusal is tried.

use super::lane::{Backoff, Lane};
use super::reason::Reason;
use super::sink::{Sink, Then};
use crate::prng::Prng;
use crate::record::{KeyTrial, QueuePosition, Sent, Seq, SinkVerdict};
use crate::time::{Due, Mono, Span};

#[derive(Clone)]
pub(super) struct Bench {
    pub(super) sink: Sink,
    pub(super) backoff: Backoff,
    pub(super) now: Mono,
}

pub(super) fn sent(entries: u32) -> Sent {
    Sent {
        first: QueuePosition { seq: Seq(1), skip: 0 },
        end: QueuePosition { seq: Seq(1), skip: entries },
        entries,
        own: 0,
        raw_bytes: 100,
    }
}

pub(super) fn accepted() -> SinkVerdict {
    SinkVerdict::Accepted { remark: None }
}

pub(super) fn doubt() -> SinkVerdict {
    SinkVerdict::InDoubt { words: "3 logs were not accepted".into(), count: Some(3) }
}

pub(super) fn forbidden() -> SinkVerdict {
    SinkVerdict::KeyRefused("HTTP 403".into())
}

impl Bench {
    pub(super) fn new() -> Bench {
        let backoff = Backoff { min: Span::seconds(1), max: Span::minutes(5), prng: Prng::new(1) };
        let sink = Sink::new(Lane::new(Mono::ZERO, backoff.min));
        Bench { sink, backoff, now: Mono(1_000_000) }
    }

    /// Once the lane is due.
    pub(super) fn answered(&mut self, entries: u32, verdict: &SinkVerdict) -> Then {
        if let Due::At(due) = self.sink.lane.due {
            self.now = self.now.max(due);
        }
        self.sink.answered(self.now, sent(entries), Span::ZERO, verdict, &mut self.backoff)
    }

    pub(super) fn tried(&mut self, trial: &KeyTrial) -> Then {
        self.sink.tried(self.now, trial, &mut self.backoff)
    }
}

#[test]
fn what_is_in_doubt_is_set_aside_and_not_well_until_a_batch_is_accepted() {
    let mut bench = Bench::new();
    let end = sent(5).end;
    assert_eq!(bench.answered(5, &doubt()), Then::Doubt { end });
    assert_eq!(bench.sink.lane.reason, Reason::InDoubt);
    assert_eq!(bench.sink.lane.detail, "3 logs were not accepted");
    assert_eq!(bench.sink.delivered, 0, "nothing counts as delivered");
    // A refusal that is being sorted out does not make it well.
    let malformed = SinkVerdict::Malformed("HTTP 400".into());
    assert_eq!(bench.answered(4, &malformed), Then::Keep);
    assert_eq!(bench.sink.lane.reason, Reason::InDoubt);
    assert_eq!(bench.answered(1, &malformed), Then::TryKey);
    assert_eq!(bench.tried(&KeyTrial::Good), Then::Park { at: sent(1).first });
    assert_eq!(bench.sink.lane.reason, Reason::InDoubt);
    // Nor does it that the collector's own words are taken, such as the gap of this very batch.
    let own = Sent { own: 2, ..sent(2) };
    let then = bench.sink.answered(bench.now, own, Span::ZERO, &accepted(), &mut bench.backoff);
    assert!(matches!(then, Then::Acknowledge { .. }));
    assert_eq!(bench.sink.lane.reason, Reason::InDoubt);
    assert!(matches!(bench.answered(3, &accepted()), Then::Acknowledge { .. }));
    assert_eq!(bench.sink.lane.reason, Reason::Working);
}

#[test]
fn a_sink_that_takes_nothing_does_not_empty_the_queue_into_doubt() {
    let mut bench = Bench::new();
    let begun = bench.now;
    let mut aside = 0;
    while bench.now < begun + Span::hours(10) {
        assert!(matches!(bench.answered(1_000, &doubt()), Then::Doubt { .. }));
        aside += 1;
    }
    // Half of retry.max on average.
    assert!((100..=330).contains(&aside), "{aside} batches in ten hours");
    bench.answered(5, &accepted());
    let due = bench.sink.lane.due;
    assert_eq!(due, Due::At(bench.now), "and then it goes on at once");
    bench.answered(5, &doubt());
    let Due::At(due) = bench.sink.lane.due else { panic!("never") };
    assert!(due.since(bench.now) <= Span::seconds(1), "the waits begin anew");
}

#[test]
fn a_403_of_the_content_is_halved_down_to_one_record_with_few_questions() {
    let mut bench = Bench::new();
    let (mut head, mut trials, mut sends) = (0, 0, 0);
    let mut parked = vec![];
    while head < 1_000 {
        let take = bench.sink.take().entries_max.min(1_000 - head);
        let is_bad = (head..head + take).contains(&613);
        sends += 1;
        let verdict = if is_bad { forbidden() } else { accepted() };
        let mut then = bench.answered(take, &verdict);
        if then == Then::TryKey {
            trials += 1;
            then = bench.tried(&KeyTrial::Good);
        }
        match then {
            Then::Acknowledge { .. } => head += take,
            Then::Park { .. } => {
                parked.push(head);
                head += 1;
            }
            Then::Keep => {
                assert_ne!(bench.sink.lane.reason, Reason::KeyRefused);
                let Due::At(due) = bench.sink.lane.due else { panic!("never") };
                bench.now = bench.now.max(due);
            }
            other => panic!("{other:?}"),
        }
        assert!(sends < 100, "it never ends");
    }
    assert_eq!(parked, [613]);
    // Once for the batch, and once more before the record is parked, perhaps after a half was taken.
    assert!(trials <= 20 && sends <= 40, "{trials} trials, {sends} batches");
}

#[test]
fn what_an_empty_array_tells_decides_what_is_refused() {
    let busy = SinkVerdict::Busy { retry_after: Some(Span::minutes(7)), why: "HTTP 429".into() };
    let blocked = SinkVerdict::Blocked("HTTP 403: <html>".into());
    for (trial, reason) in [
        (KeyTrial::Refused(forbidden()), Reason::KeyRefused),
        (KeyTrial::Refused(blocked), Reason::Blocked),
        (KeyTrial::Unchecked, Reason::KeyRefused),
        (KeyTrial::Failed(busy), Reason::Busy),
        (KeyTrial::Failed(SinkVerdict::Misdirected("HTTP 404".into())), Reason::Misdirected),
    ] {
        for entries in [1, 700] {
            // Several are halved where any key is taken for nothing.
            if entries > 1 && trial == KeyTrial::Unchecked {
                continue;
            }
            let mut bench = Bench::new();
            assert_eq!(bench.answered(entries, &forbidden()), Then::TryKey);
            assert_eq!(bench.tried(&trial), Then::Keep, "{trial:?}");
            assert_eq!(bench.sink.lane.reason, reason, "{trial:?}");
            let Due::At(due) = bench.sink.lane.due else { panic!("never") };
            let least = if reason == Reason::Busy { Span::minutes(7) } else { Span::minutes(3) };
            assert!(
                due >= bench.now + least,
                "{trial:?} is asked again after {}",
                due.since(bench.now)
            );
        }
    }
}

#[test]
fn a_trial_that_a_reopened_queue_overtook_means_nothing() {
    let mut bench = Bench::new();
    assert_eq!(bench.answered(5, &forbidden()), Then::TryKey);
    bench.sink.reset(bench.now);
    assert_eq!(bench.tried(&KeyTrial::Good), Then::Keep);
}

#[test]
fn a_refusal_of_the_content_parks_only_where_an_empty_array_is_taken() {
    let misdirected = SinkVerdict::Misdirected("HTTP 400: <html>".into());
    for refusal in
        [SinkVerdict::Malformed("HTTP 400".into()), SinkVerdict::TooLarge("HTTP 413".into())]
    {
        for (trial, reason) in [
            (KeyTrial::Refused(forbidden()), Reason::KeyRefused),
            (KeyTrial::Failed(misdirected.clone()), Reason::Misdirected),
        ] {
            let mut bench = Bench::new();
            for _ in 0..50 {
                assert_eq!(bench.answered(1, &refusal), Then::TryKey);
                assert_eq!(bench.tried(&trial), Then::Keep);
                assert_eq!(bench.sink.lane.reason, reason);
            }
        }
        for trial in [KeyTrial::Good, KeyTrial::Unchecked] {
            let mut bench = Bench::new();
            assert_eq!(bench.answered(1, &refusal), Then::TryKey);
            assert_eq!(bench.tried(&trial), Then::Park { at: sent(1).first });
        }
    }
}

#[test]
fn a_record_that_is_refused_like_an_empty_array_is_parked_only_after_others_were_accepted() {
    let refusal = SinkVerdict::Malformed("HTTP 400".into());
    let empty = KeyTrial::Unproven(refusal.clone());
    let mut bench = Bench::new();
    for _ in 0..2_000 {
        assert_eq!(bench.answered(1, &refusal), Then::TryKey);
        assert_eq!(bench.tried(&empty), Then::Keep);
        assert_eq!(bench.sink.lane.reason, Reason::Misdirected);
    }
    assert!(matches!(bench.answered(1, &accepted()), Then::Acknowledge { .. }));
    let begun = bench.now;
    let mut then = Then::Keep;
    while then == Then::Keep && bench.now < begun + Span::hours(2) {
        assert_eq!(bench.answered(1, &refusal), Then::TryKey);
        then = bench.tried(&empty);
    }
    assert_eq!(then, Then::Park { at: sent(1).first });
    // The same where an empty array fails.
    let mut bench = Bench::new();
    bench.answered(1, &accepted());
    let (begun, mut then) = (bench.now, Then::Keep);
    let fails = KeyTrial::Failed(SinkVerdict::Failed("HTTP 500".into()));
    while then == Then::Keep && bench.now < begun + Span::hours(2) {
        assert_eq!(bench.answered(1, &refusal), Then::TryKey);
        then = bench.tried(&fails);
    }
    assert_eq!(then, Then::Park { at: sent(1).first });
    // Other words are about the content.
    let other = SinkVerdict::Malformed("HTTP 400: field missing".into());
    let mut bench = Bench::new();
    bench.answered(1, &other);
    assert_eq!(bench.tried(&empty), Then::Park { at: sent(1).first });
}
