//! What the sink concludes from each answer: what is sent next and when, and what it says of itself.

use super::in_doubt_tests::{Bench, accepted, doubt, forbidden, sent};
use super::reason::Reason;
use super::sink::Then;
use crate::limits;
use crate::record::{
    KeyTrial, Lone, NetTrouble, QueuePosition, Sent, Seq, SinkLearned, SinkVerdict, Way,
};
use crate::time::{Due, Span};

const ALL: u32 = limits::BODY_ENTRIES_MAX;

fn malformed() -> SinkVerdict {
    SinkVerdict::Malformed("HTTP 400".into())
}

fn failed() -> SinkVerdict {
    SinkVerdict::Failed("HTTP 500".into())
}

/// An empty array fails too.
fn fails() -> KeyTrial {
    KeyTrial::Failed(failed())
}

/// Nothing was sent.
fn away() -> SinkVerdict {
    SinkVerdict::Unreachable(NetTrouble::Connect("connection refused".into()))
}

fn busy() -> SinkVerdict {
    SinkVerdict::Busy { retry_after: Some(Span::minutes(7)), why: "HTTP 429".into() }
}

fn blocked() -> SinkVerdict {
    SinkVerdict::Blocked("HTTP 403: <html>".into())
}

fn remark() -> SinkVerdict {
    SinkVerdict::Accepted { remark: Some("new words".into()) }
}

/// The record so far behind the head.
fn behind(at: u32) -> Sent {
    let place = |skip| QueuePosition { seq: Seq(1), skip };
    Sent { first: place(at), end: place(at + 1), ..sent(1) }
}

impl Bench {
    fn most(&self) -> u32 {
        self.sink.take().entries_max
    }

    fn wait(&mut self) {
        let Due::At(due) = self.sink.lane.due else { panic!("never") };
        self.now = self.now.max(due);
    }

    /// How long it waits.
    fn pause(&self) -> Span {
        let Due::At(due) = self.sink.lane.due else { panic!("never") };
        due.since(self.now)
    }

    fn of_bytes(&mut self, entries: u32, raw_bytes: u64, verdict: &SinkVerdict) -> Then {
        self.wait();
        let sent = Sent { raw_bytes, ..sent(entries) };
        self.sink.answered(self.now, sent, Span::ZERO, verdict, &mut self.backoff)
    }

    /// Several or one fail, and an empty array tells this, if it is asked for.
    fn fail(&mut self, entries: u32, verdict: &SinkVerdict, trial: &KeyTrial) -> Then {
        let then = self.answered(entries, verdict);
        let is_asked = then == Then::TryKey || self.sink.is_trial_due();
        if is_asked { self.tried(trial) } else { then }
    }

    /// How often the head has to fail so until it is parked.
    fn tries(&mut self, verdict: &SinkVerdict, trial: &KeyTrial) -> u32 {
        for tries in 1..200 {
            match self.fail(1, verdict, trial) {
                Then::Keep => {}
                Then::Park { at } => {
                    assert_eq!(at, sent(1).first);
                    return tries;
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("it is never parked");
    }

    /// How often the head has to fail so until one behind it is sent.
    fn tries_before_probe(&mut self, verdict: &SinkVerdict, trial: &KeyTrial) -> u32 {
        for tries in 1..200 {
            assert_eq!(self.fail(1, verdict, trial), Then::Keep);
            if self.sink.probe().is_some() {
                return tries;
            }
        }
        panic!("none is sent");
    }

    fn probed(&mut self, probed: Option<(Sent, SinkVerdict)>) {
        self.wait();
        self.sink.probed(self.now, probed, &mut self.backoff);
    }
}

/// The head has failed for so long that one behind it is sent next.
fn suspected() -> Bench {
    let mut bench = Bench::new();
    bench.tries_before_probe(&failed(), &fails());
    bench
}

/// Others were accepted, and the next failure of the head shows that it is to blame.
fn almost_to_blame(verdict: &SinkVerdict, trial: &KeyTrial) -> Bench {
    let mut bench = Bench::new();
    bench.answered(1, &accepted());
    for _ in 0..200 {
        let before = bench.clone();
        if bench.fail(1, verdict, trial) != Then::Keep {
            return before;
        }
    }
    panic!("it is never parked");
}

#[test]
fn what_was_learned_is_begun_with_and_told_again() {
    let lone = Lone { at: sent(1).first, way: Way::Failed, tries: 3, for_ms: Span::seconds(9) };
    let learned = SinkLearned { body_bytes: Some(8_192), body_entries: Some(50), lone: Some(lone) };
    assert_eq!(Bench::new().sink.learned(), SinkLearned::default(), "of a new one");
    let mut bench = Bench::new();
    bench.sink = bench.sink.remembering(learned);
    assert_eq!(bench.sink.learned(), learned);
    // What is accepted lets it grow again.
    for _ in 0..limits::SIZE_RAISE_AFTER {
        assert_eq!(bench.most(), 50);
        bench.answered(50, &accepted());
    }
    assert_eq!(bench.most(), 100);
}

#[test]
fn a_queue_that_is_opened_anew_has_another_head() {
    let mut bench = Bench::new();
    bench.answered(10, &malformed());
    assert_eq!(bench.most(), 5);
    let soon = bench.now + Span::seconds(7);
    bench.sink.reset(soon);
    assert_eq!((bench.most(), bench.sink.lane.due), (ALL, Due::At(soon)));
    // The answer to an empty array is about a record that may be another one.
    assert_eq!(bench.answered(1, &malformed()), Then::TryKey);
    bench.sink.reset(soon);
    assert_eq!(bench.tried(&KeyTrial::Good), Then::Keep);
    for _ in 0..2 {
        bench.answered(3, &busy());
    }
    bench.sink.reset(soon);
    bench.answered(3, &busy());
    assert!(!bench.sink.is_trial_due(), "it was put off once");
    let mut bench = suspected();
    bench.probed(Some((behind(1), accepted())));
    assert!(bench.sink.take().until.is_some());
    bench.sink.reset(soon);
    assert_eq!((bench.sink.take().until, bench.sink.probe()), (None, None));
}

#[test]
fn what_was_sent_ahead_is_not_sent_again() {
    let mut bench = suspected();
    bench.probed(Some((behind(1), accepted())));
    assert_eq!(bench.sink.take().until, Some(behind(1).first));
    bench.tries_before_probe(&failed(), &fails());
    bench.probed(Some((behind(2), doubt())));
    assert_eq!(bench.sink.lane.reason, Reason::InDoubt);
    assert_eq!(bench.sink.take().until, Some(behind(1).first));
    assert!(matches!(bench.answered(1, &accepted()), Then::Acknowledge { .. }));
    let then = bench.sink.sent_before(behind(1));
    assert_eq!(then, Then::Acknowledge { end: behind(1).end });
    assert_eq!(bench.sink.take().until, Some(behind(2).first), "the one right behind it");
    assert_eq!(bench.sink.sent_before(behind(2)), Then::Doubt { end: behind(2).end });
    assert_eq!(bench.sink.take().until, None);
}

#[test]
fn an_answer_to_one_sent_ahead_counts_as_any_other() {
    for (own, delivered) in [(0, 1), (1, 0)] {
        let mut bench = suspected();
        let said = bench.sink.lane.clone();
        bench.probed(Some((Sent { own, ..behind(1) }, remark())));
        let lane = &bench.sink.lane;
        assert_eq!((bench.sink.delivered, bench.sink.remarks), (delivered, 1));
        // The head is tried once more soon, and nothing is well before that.
        assert_eq!((lane.reason, &lane.detail, lane.failures), (said.reason, &said.detail, 1));
        assert!((Span::seconds(1)..=Span::seconds(2)).contains(&bench.pause()));
    }
    let away_is = Reason::of(&NetTrouble::Connect(String::new()));
    for (probed, reason) in [
        (Some((behind(1), away())), away_is),
        (Some((behind(1), malformed())), Reason::BrokenAnswer),
        (None, Reason::BrokenAnswer),
    ] {
        let mut bench = suspected();
        let failures = bench.sink.lane.failures;
        bench.probed(probed.clone());
        assert!(bench.pause() >= Span::seconds(1), "{probed:?}");
        let lane = &bench.sink.lane;
        assert_eq!((lane.reason, lane.failures), (reason, failures + 1), "{probed:?}");
        assert!(lane.detail.contains("HTTP 500") || reason == away_is, "{probed:?}");
        assert_eq!((bench.sink.delivered, bench.sink.take().until), (0, None));
    }
}

#[test]
fn one_that_is_not_accepted_ahead_is_followed_by_another_one() {
    let empty = KeyTrial::Unproven(malformed());
    for (verdict, trial, expected) in [
        (failed(), fails(), [1, 2, 3, 4, 5, 6, 1, 2]),
        // An empty array is answered otherwise, so those next to the head may be like it.
        (malformed(), empty, [1, 2, 4, 8, 16, 32, 1, 2]),
    ] {
        let mut bench = Bench::new();
        for (n, behind_head) in expected.into_iter().enumerate() {
            bench.tries_before_probe(&verdict, &trial);
            let probe = bench.sink.probe().unwrap();
            assert_eq!((probe.behind, probe.is_far), (behind_head, verdict == malformed()));
            // In the end there is none so far behind.
            let refusal = if n % 2 == 0 { malformed() } else { away() };
            bench.probed((n != 5).then(|| (behind(behind_head), refusal)));
        }
    }
}

#[test]
fn what_shows_another_reason_takes_the_suspicion_from_the_head() {
    type Turn = fn(&mut Bench);
    let turns: [(&str, Turn); 9] = [
        ("another one is accepted", |bench| bench.sink.accepted(bench.now, 1, 0)),
        ("it is in doubt", |bench| assert!(bench.answered(1, &doubt()) != Then::Keep)),
        ("the sink is not reached", |bench| assert_eq!(bench.answered(1, &away()), Then::Keep)),
        ("nor by an empty array", |bench| {
            bench.fail(1, &failed(), &KeyTrial::Failed(away()));
        }),
        ("several are sent", |bench| {
            bench.fail(5, &forbidden(), &KeyTrial::Refused(forbidden()));
        }),
        ("the sink is busy", |bench| {
            for _ in 0..limits::BATCH_BUSY_IN_A_ROW {
                bench.fail(1, &busy(), &KeyTrial::Refused(forbidden()));
            }
        }),
        ("it is parked", |bench| {
            assert!(bench.fail(1, &malformed(), &KeyTrial::Good) != Then::Keep);
        }),
        ("another key is used", |bench| bench.sink.key_changed(bench.now, Span::ZERO)),
        ("the queue is opened anew", |bench| bench.sink.reset(bench.now)),
    ];
    for (what, turn) in turns {
        let mut bench = suspected();
        turn(&mut bench);
        assert_eq!(bench.sink.probe(), None, "{what}");
        assert_eq!(bench.fail(1, &failed(), &fails()), Then::Keep, "{what}");
        assert_eq!(bench.sink.probe(), None, "{what}");
    }
}

#[test]
fn what_shows_another_reason_begins_the_count_of_failures_anew() {
    let mut bench = almost_to_blame(&failed(), &KeyTrial::Good);
    let (mut refused, mut early) = (bench.clone(), bench.clone());
    assert_ne!(bench.fail(1, &failed(), &KeyTrial::Good), Then::Keep);
    refused.fail(1, &failed(), &KeyTrial::Refused(forbidden()));
    assert_eq!(refused.fail(1, &failed(), &KeyTrial::Good), Then::Keep);
    // Nothing was accepted with the present key.
    early.sink.key_changed(early.now, Span::ZERO);
    early.fail(1, &forbidden(), &KeyTrial::Unchecked);
    assert_eq!(early.fail(1, &failed(), &KeyTrial::Good), Then::Keep);
    // What is rejected like a bad key is tried anew with another one.
    let mut bench = almost_to_blame(&forbidden(), &KeyTrial::Unchecked);
    let mut changed = bench.clone();
    assert_ne!(bench.fail(1, &failed(), &KeyTrial::Good), Then::Keep, "the same key");
    changed.sink.key_changed(changed.now, Span::ZERO);
    assert_eq!(changed.fail(1, &failed(), &KeyTrial::Good), Then::Keep);
}

#[test]
fn the_next_one_that_fails_in_a_known_way_needs_less_time() {
    let mut bench = Bench::new();
    bench.answered(1, &accepted());
    assert!(bench.tries(&failed(), &KeyTrial::Good) > limits::LONE_FAILURES);
    bench.answered(1, &accepted());
    assert_eq!(bench.tries(&failed(), &KeyTrial::Good), limits::LONE_FAILURES);
    // The same of one that was shown to be to blame by those behind it.
    let mut bench = Bench::new();
    let long = bench.tries_before_probe(&failed(), &fails());
    for at in 1..=limits::LONE_CONFIRMS {
        assert!(bench.sink.probe().is_some(), "{at}");
        bench.probed(Some((behind(at), accepted())));
        let is_shown = at == limits::LONE_CONFIRMS;
        let then = bench.fail(1, &failed(), &fails());
        assert_eq!(then != Then::Keep, is_shown, "{at}: {then:?}");
    }
    bench.answered(1, &accepted());
    let short = bench.tries_before_probe(&failed(), &fails());
    assert!(short == limits::LONE_FAILURES && short <= long, "{short} {long}");
}

/// Fails together, and is accepted in these parts.
fn apart(bench: &mut Bench, entries: u32, raw_bytes: u64, parts: &[u32]) {
    assert_eq!(bench.of_bytes(entries, raw_bytes, &failed()), Then::Keep);
    assert_eq!(parts.iter().sum::<u32>(), entries);
    for part in parts {
        bench.answered(*part, &accepted());
    }
}

#[test]
fn a_number_that_is_too_many_is_learned_only_if_that_shows_again() {
    let least = 2 * limits::BODY_RAW_BYTES_MIN;
    for (raw_bytes, entries, parts, most) in [
        (least, 8, &[4, 4][..], 4),
        (least, 10, &[4, 4, 2], 5),
        // That is far from what failed before.
        (least, 11, &[4, 4, 3], ALL),
        // The bytes may be the reason.
        (least + 1, 8, &[4, 4], ALL),
        (least * 9, 8, &[4, 4], ALL),
    ] {
        let mut bench = Bench::new();
        apart(&mut bench, 5, raw_bytes, &[2, 3]);
        let mut meanwhile = bench.clone();
        assert_eq!(bench.most(), ALL, "once may be a temporary problem");
        apart(&mut bench, entries, raw_bytes, parts);
        assert_eq!(bench.most(), most, "{entries} of {raw_bytes}");
        // As many were accepted in between.
        meanwhile.answered(5, &accepted());
        apart(&mut meanwhile, entries, raw_bytes, parts);
        assert_eq!(meanwhile.most(), ALL, "{entries} of {raw_bytes}");
    }
}

#[test]
fn a_body_that_can_not_be_shorter_gets_fewer_records() {
    let too_large = SinkVerdict::TooLarge("HTTP 413".into());
    for (more, most) in [(0, 5), (1, ALL)] {
        let mut bench = Bench::new();
        bench.of_bytes(10, 2 * limits::BODY_RAW_BYTES_MIN + more, &too_large);
        assert_eq!(bench.sink.take().raw_bytes_max, limits::BODY_RAW_BYTES_MIN);
        assert_eq!(bench.most(), most, "{more}");
    }
}

#[test]
fn a_size_is_not_learned_from_one_that_failed_alone() {
    let refused = KeyTrial::Refused(forbidden());
    for (verdict, trial) in
        [(malformed(), refused), (failed(), fails()), (forbidden(), KeyTrial::Unchecked)]
    {
        let mut bench = Bench::new();
        assert_eq!(bench.fail(2, &verdict, &trial), Then::Keep);
        assert_eq!(bench.most(), 1, "{verdict:?}");
        assert_eq!(bench.fail(1, &verdict, &trial), Then::Keep);
        bench.answered(1, &accepted());
        assert_eq!(bench.most(), ALL, "{verdict:?}");
        let bytes = bench.sink.take().raw_bytes_max;
        assert_eq!(bytes, limits::BODY_RAW_BYTES_FIRST, "{verdict:?}");
    }
    // Nor from what failed together with another key.
    let mut bench = Bench::new();
    bench.fail(2, &forbidden(), &KeyTrial::Unchecked);
    bench.sink.key_changed(bench.now, Span::ZERO);
    for _ in 0..2 {
        bench.answered(1, &accepted());
    }
    assert_eq!(bench.sink.take().raw_bytes_max, limits::BODY_RAW_BYTES_FIRST);
}

#[test]
fn an_empty_array_is_asked_for_once_for_all_halves() {
    for trial in [KeyTrial::Good, KeyTrial::Unchecked] {
        let mut bench = Bench::new();
        assert_eq!(bench.answered(8, &forbidden()), Then::TryKey);
        assert_eq!(bench.tried(&trial), Then::Keep);
        assert_eq!((bench.most(), bench.pause()), (4, Span::ZERO), "{trial:?}");
        assert_eq!(bench.answered(4, &forbidden()), Then::Keep, "{trial:?}");
        assert_eq!(bench.most(), 2, "{trial:?}");
        assert_eq!(bench.answered(1, &forbidden()), Then::TryKey, "{trial:?}");
    }
}

#[test]
fn where_an_empty_array_does_not_tell_fewer_are_sent_if_that_may_help() {
    let refused = KeyTrial::Refused(forbidden());
    for (is_proven, trial, most) in [
        (false, fails(), 5),
        (true, fails(), 5),
        // Others were accepted with this key.
        (true, refused.clone(), 5),
        (false, refused, ALL),
    ] {
        let mut bench = Bench::new();
        if is_proven {
            bench.answered(1, &accepted());
        }
        assert_eq!(bench.fail(10, &forbidden(), &trial), Then::Keep);
        assert_eq!(bench.most(), most, "{is_proven} {trial:?}");
    }
    // One alone can't become fewer, and says nothing of a size.
    let mut bench = Bench::new();
    bench.fail(1, &forbidden(), &fails());
    bench.answered(1, &accepted());
    assert_eq!(bench.sink.take().raw_bytes_max, limits::BODY_RAW_BYTES_FIRST);
}

#[test]
fn what_does_not_reach_the_sink_says_nothing_of_the_batch() {
    let mut bench = Bench::new();
    assert_eq!(bench.answered(10, &away()), Then::Keep);
    let lane = &bench.sink.lane;
    assert_eq!((bench.most(), lane.failures), (ALL, 1));
    assert_eq!(lane.reason, Reason::of(&NetTrouble::Connect(String::new())));
    assert!(bench.pause() >= Span::seconds(1));
    // What breaks on the way may.
    let net = NetTrouble::Broken("reset".into());
    assert_eq!(bench.answered(10, &SinkVerdict::Unreachable(net.clone())), Then::Keep);
    assert_eq!((bench.most(), bench.sink.lane.reason), (5, Reason::of(&net)));
    assert_ne!(Reason::of(&net), Reason::BrokenAnswer);
    // Sent from memory.
    for (entries, most) in [(1, ALL), (2, 1)] {
        let mut bench = Bench::new();
        bench.sink.page_failed(bench.now, entries, 100, &failed(), &mut bench.backoff);
        assert_eq!((bench.most(), bench.sink.lane.failures), (most, 1));
    }
}

#[test]
fn halves_that_are_in_doubt_are_gone_too() {
    let mut bench = Bench::new();
    bench.answered(10, &malformed());
    for most in [5, 3, ALL] {
        assert_eq!(bench.most(), most);
        bench.answered(5, &doubt());
    }
}

#[test]
fn halves_go_at_once_and_end_a_failure() {
    let mut bench = Bench::new();
    bench.answered(10, &away());
    bench.now = bench.now + Span::hours(1);
    bench.answered(10, &malformed());
    assert_eq!(bench.sink.lane.due, Due::At(bench.now));
    assert_eq!(bench.sink.lane.reason, Reason::Working, "nothing is in doubt");
    bench.answered(5, &remark());
    bench.answered(5, &remark());
    assert_eq!((bench.sink.remarks, bench.sink.delivered), (2, 10));
    bench.sink.accepted(bench.now, 1, 1);
    assert_eq!((bench.sink.lane.reason, bench.sink.delivered), (Reason::Working, 10));
}

#[test]
fn a_batch_that_is_put_off_three_times_in_a_row_is_questioned() {
    for meanwhile in [None, Some(accepted())] {
        let mut bench = Bench::new();
        for times in 1..limits::BATCH_BUSY_IN_A_ROW {
            assert_eq!(bench.answered(10, &busy()), Then::Keep);
            assert!(!bench.sink.is_trial_due(), "{times}");
            assert!(bench.pause() >= Span::minutes(7));
        }
        if let Some(verdict) = &meanwhile {
            bench.answered(10, verdict);
        }
        bench.answered(10, &busy());
        assert_eq!(bench.sink.is_trial_due(), meanwhile.is_none());
    }
    let mut bench = Bench::new();
    for _ in 0..limits::BATCH_BUSY_IN_A_ROW {
        bench.answered(10, &busy());
    }
    bench.wait();
    assert_eq!(bench.tried(&KeyTrial::Good), Then::Keep);
    let lane = &bench.sink.lane;
    assert_eq!((bench.most(), lane.reason, lane.failures), (5, Reason::Busy, 1));
    assert!(bench.pause() >= Span::minutes(7), "the smaller batch waits as long");
}

#[test]
fn a_few_are_parked_quickly_and_then_one_at_a_time_after_a_long_wait() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        for n in 0..limits::PARKED_IN_A_ROW_MAX {
            assert_eq!(bench.most(), ALL, "{n}");
            bench.now = bench.now + Span::seconds(5);
            let then = bench.fail(1, &malformed(), &KeyTrial::Good);
            assert_eq!(then, Then::Park { at: sent(1).first }, "{n}");
            assert_eq!(bench.sink.lane.due, Due::At(bench.now), "{n}");
            assert_eq!(bench.sink.lane.reason, Reason::Working, "{n}");
        }
        for _ in 0..3 {
            assert_eq!(bench.fail(1, &malformed(), &KeyTrial::Good), Then::Keep);
            assert_eq!((bench.most(), bench.sink.lane.reason), (1, Reason::RefusesEverything));
            assert!(bench.pause() > Span::minutes(3));
            assert_ne!(bench.fail(1, &malformed(), &KeyTrial::Good), Then::Keep);
        }
        bench.answered(1, &accepted());
    }
}

#[test]
fn a_suspect_that_is_parked_leaves_whole_batches() {
    let mut bench = Bench::new();
    bench.answered(2, &malformed());
    assert_ne!(bench.fail(1, &malformed(), &KeyTrial::Good), Then::Keep);
    assert_eq!(bench.most(), ALL);
}

#[test]
fn what_is_in_question_is_parked_soon_if_others_are_accepted_since() {
    let like_empty = KeyTrial::Unproven(malformed());
    let refusals = limits::LONE_REFUSALS..=limits::LONE_REFUSALS;
    for (verdict, trial, reason, tries) in [
        (forbidden(), KeyTrial::Unchecked, Reason::BrokenAnswer, refusals.clone()),
        (blocked(), KeyTrial::Unchecked, Reason::BrokenAnswer, refusals.clone()),
        (malformed(), like_empty, Reason::BrokenAnswer, refusals.clone()),
        (busy(), KeyTrial::Good, Reason::Busy, limits::LONE_FAILURES..=20),
    ] {
        // Two are in question, and one of them is accepted alone.
        let mut bench = Bench::new();
        bench.answered(1, &accepted());
        bench.fail(2, &forbidden(), &KeyTrial::Unchecked);
        assert_eq!(bench.most(), 1);
        bench.answered(1, &accepted());
        let mut once = bench.clone();
        assert_eq!(once.fail(1, &verdict, &trial), Then::Keep);
        assert_eq!(once.sink.lane.reason, reason, "{verdict:?}");
        let counted = bench.tries(&verdict, &trial);
        assert!(tries.contains(&counted), "{verdict:?}: {counted}");
    }
    // With nothing accepted it is told which it is.
    for (verdict, reason) in [(forbidden(), Reason::KeyRefused), (blocked(), Reason::Blocked)] {
        let mut bench = Bench::new();
        bench.fail(1, &verdict, &KeyTrial::Unchecked);
        assert_eq!(bench.sink.lane.reason, reason);
    }
}

#[test]
fn another_key_is_tried_without_a_long_wait() {
    let mut bench = Bench::new();
    bench.fail(1, &forbidden(), &KeyTrial::Refused(forbidden()));
    assert!(bench.pause() > Span::minutes(3));
    bench.sink.key_changed(bench.now, Span::seconds(1));
    assert_eq!(bench.sink.lane.due, Due::At(bench.now));
}

#[test]
fn what_was_rejected_with_another_key_blames_no_record() {
    let mut bench = almost_to_blame(&forbidden(), &KeyTrial::Unchecked);
    bench.now = bench.now + Span::hours(1);
    let mut same = bench.clone();
    assert_ne!(same.fail(1, &failed(), &KeyTrial::Good), Then::Keep);
    bench.sink.key_changed(bench.now, Span::seconds(1));
    assert_eq!(bench.fail(1, &failed(), &KeyTrial::Good), Then::Keep);
}
