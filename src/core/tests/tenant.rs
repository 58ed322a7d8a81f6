//! What the answers about a tenant mean for it and for its streams.

use super::failing::AskedFor;
use super::tests::{AT, DONE, Driver, page, tick_at};
use super::*;
use crate::record::{NetTrouble, Refusal, Refused, Start};

const HOUR: Span = Span::hours(1);

/// The second stream is of another tenant.
fn two() -> Driver {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let (core, now) = (&mut driver.core, driver.now);
    core.plan.tenants = 2;
    core.tenants.push(Tenant::new(now, Span::ZERO));
    core.streams[1].plan.tenant = 1;
    core.tenants.iter_mut().for_each(|tenant| tenant.lane = Lane::new(now, Span::ZERO));
    driver
}

fn away() -> NetTrouble {
    NetTrouble::Connect("connection refused".into())
}

fn forbidden(what: Refused) -> SourceTrouble {
    SourceTrouble::Forbidden(Refusal { what, words: "HTTP 403".into() })
}

#[test]
fn a_question_that_fails_says_why() {
    let broken = |why: &str| SourceTrouble::BrokenAnswer(why.into());
    for (trouble, reason, detail) in [
        (SourceTrouble::Unreachable(away()), Reason::of(&away()), away().to_string()),
        (SourceTrouble::Misdirected("HTTP 404".into()), Reason::Misdirected, "HTTP 404".into()),
        (broken("HTTP 500"), Reason::BrokenAnswer, "HTTP 500".into()),
        (SourceTrouble::QueryRefused("no".into()), Reason::BrokenAnswer, "no".into()),
        (SourceTrouble::TokenRefused("HTTP 401".into()), Reason::TokenRefused, "HTTP 401".into()),
        (forbidden(Refused::Address), Reason::AddressRefused, "HTTP 403".into()),
    ] {
        let mut driver = two();
        let (core, now) = (&mut driver.core, driver.now);
        core.informed(now, 0, Err(trouble.clone()));
        let lane = &core.tenants[0].lane;
        assert_eq!((lane.reason, &lane.detail, lane.failures), (reason, &detail, 1));
        assert!(lane.due >= Due::At(now + Span::seconds(1)), "{trouble:?}");
        assert_eq!(core.tenants[0].token == Token::Refused, reason == Reason::TokenRefused);
        // None of them is asked to wait.
        assert_ne!(core.streams[0].lane.reason, Reason::Busy, "{trouble:?}");
        assert_eq!(core.streams[0].lane.not_before, Mono::ZERO, "{trouble:?}");
        // Once it answers, all is well.
        core.informed(now, 0, Ok(Some(AT)));
        let lane = &core.tenants[0].lane;
        assert_eq!((lane.reason, lane.failures, lane.due), (Reason::Working, 0, Due::At(now)));
        assert_eq!(core.tenants[0].token, Token::Good);
    }
}

#[test]
fn a_doubtful_token_is_asked_about_at_once_until_that_is_answered() {
    let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
    let Action::Fetch(Fetch { stream, .. }) = driver.go(Event::Woke) else { panic!() };
    driver.core.tenants[0].lane.rest(driver.now, Due::At(driver.now + HOUR), Reason::Working);
    let doubted = SourceTrouble::TokenDoubted("HTTP 401: no".into());
    let begun = driver.now;
    let mut action = driver.go(Event::Fetched { stream, page: Err(doubted) });
    assert_eq!((action, driver.now), (Action::Info { tenant: 0 }, begun));
    // Whatever else the question fails with says nothing of the token.
    for trouble in [SourceTrouble::BrokenAnswer("HTTP 500".into()), forbidden(Refused::Permission)]
    {
        action = driver.go(Event::Informed { tenant: 0, result: Err(trouble) });
        assert_eq!(action, Action::Info { tenant: 0 });
    }
    driver.go(Event::Informed { tenant: 0, result: Ok(Some(AT + HOUR)) });
    let lane = &driver.core.view(driver.now).streams[stream].lane;
    assert_eq!(lane.reason, Reason::PermissionMissing, "the token is accepted");
    assert!(lane.detail.ends_with("HTTP 401: no"), "{}", lane.detail);
}

#[test]
fn a_new_token_is_tried_for_all_that_the_old_one_held_up() {
    let mut driver = two();
    let (core, now) = (&mut driver.core, driver.now);
    for tenant in &mut core.tenants {
        tenant.token = Token::Refused;
        tenant.doubted_by = Some((0, "HTTP 401".into()));
        tenant.info_failures = limits::INFO_FAILURES_MAX;
        tenant.token_end = Some(AT);
        tenant.lane.fail(now, HOUR, Reason::TokenRefused, "HTTP 401".into());
    }
    for stream in &mut core.streams {
        stream.lane.fail(now, HOUR, Reason::PermissionMissing, "HTTP 403".into());
        stream.reconcile.lane.fail(now, HOUR, Reason::BrokenAnswer, "HTTP 500".into());
    }
    let later = now + Span::minutes(1);
    core.token_changed(later, 0);
    let [new, other] = [&core.tenants[0], &core.tenants[1]];
    assert_eq!((new.token, &new.doubted_by, new.info_failures), (Token::Good, &None, 0));
    assert_eq!((new.token_end, new.token_end_due), (None, Due::At(later)));
    assert_eq!((new.lane.reason, new.lane.failures), (Reason::Working, 0));
    assert_eq!(new.lane.due, Due::At(later));
    assert_eq!((other.token, other.lane.due), (Token::Refused, Due::At(now + HOUR)));
    let due = |at: usize| [&core.streams[at].lane, &core.streams[at].reconcile.lane].map(|l| l.due);
    let [waits, tried] = [now + HOUR, later].map(Due::At);
    assert_eq!((due(0), due(1)), ([tried, waits], [waits, waits]));
    // A count that failed for it too.
    core.streams[0].reconcile.lane.fail(now, HOUR, Reason::TokenRefused, "HTTP 401".into());
    core.token_changed(later, 0);
    assert_eq!(core.streams[0].reconcile.lane.due, tried);
}

#[test]
fn patience_is_the_whole_tenants_and_not_another_ones() {
    let patience = Span::minutes(50);
    let busy = || Err(SourceTrouble::busy(Some(patience)));
    let mut driver = two();
    let (core, now) = (&mut driver.core, driver.now);
    core.informed(now, 0, busy());
    let until = now + patience;
    for lane in [&core.tenants[0].lane, &core.streams[0].lane, &core.streams[0].reconcile.lane] {
        assert!(lane.due >= Due::At(until) && lane.not_before == until, "{lane:?}");
    }
    for lane in [&core.tenants[1].lane, &core.streams[1].lane, &core.streams[1].reconcile.lane] {
        assert!(lane.due < Due::At(until) && lane.not_before < until, "{lane:?}");
    }
    // What a page asks for.
    let mut driver = two();
    let (core, now) = (&mut driver.core, driver.now);
    core.fetch_failed(now, 0, AskedFor::Page, SourceTrouble::busy(Some(patience)));
    for lane in [&core.tenants[0].lane, &core.streams[0].lane, &core.streams[0].reconcile.lane] {
        assert!(lane.due >= Due::At(now + patience) && lane.not_before == now + patience);
    }
    // Where the question always fails, no stream waits for it.
    let mut driver = two();
    let (core, now) = (&mut driver.core, driver.now);
    core.tenants[0].info_failures = limits::INFO_FAILURES_MAX;
    core.informed(now, 0, busy());
    assert_eq!(core.streams[0].lane.not_before, Mono::ZERO);
    assert_ne!(core.streams[0].lane.reason, Reason::Busy);
    assert!(core.tenants[0].lane.due >= Due::At(now + patience));
}

#[test]
fn a_tenant_that_answers_a_page_is_reached_and_its_token_may_still_be_doubted() {
    for (token, failures, info_failures, is_over) in [
        (Token::Good, 1, 0, true),
        (Token::Good, 1, limits::INFO_FAILURES_MAX - 1, true),
        (Token::Good, 1, limits::INFO_FAILURES_MAX, false),
        (Token::Doubted, 1, 0, false),
        (Token::Good, 0, 0, false),
    ] {
        let now = Mono(1_000_000);
        let mut tenant = Tenant::new(now, HOUR);
        (tenant.token, tenant.info_failures) = (token, info_failures);
        tenant.lane.failures = failures;
        tenant.answers(now);
        let reason = if is_over { Reason::Working } else { Reason::Starting };
        assert_eq!(
            (tenant.lane.reason, tenant.lane.failures == 0),
            (reason, is_over || failures == 0)
        );
        assert_eq!(tenant.lane.due == Due::At(now), is_over, "{token:?} {failures}");
    }
}

#[test]
fn a_page_for_the_time_alone_stands_in_for_the_question() {
    for date in [Some(AT), None] {
        let mut driver = Driver::new(Mode::Daemon, Start::Now, None);
        let (core, now) = (&mut driver.core, driver.now);
        core.tenants[0].info_failures = limits::INFO_FAILURES_MAX;
        core.timed(now, 0, date);
        assert!(core.tenants[0].was_informed);
        let lane = &core.streams[0].lane;
        let reason = if date.is_some() { Reason::Working } else { Reason::BrokenAnswer };
        assert_eq!((lane.reason, lane.due == Due::At(now)), (reason, date.is_some()));
    }
}

#[test]
fn a_page_with_rows_outside_of_its_range_makes_counts_useless() {
    for (by, is_outside) in [(0, false), (1_000_000, false), (1_000_001, true)] {
        let mut driver = Driver::new(Mode::Daemon, Start::Now, Some(DONE));
        for stream in &mut driver.core.streams {
            stream.reconcile = reconcile::Reconcile::new(HOUR, None, driver.now);
        }
        let Action::Fetch(Fetch { stream, from, .. }) = driver.go(Event::Woke) else { panic!() };
        let key = crate::record::RowKey { stamp: Stamp(from.0 - by), id: 9 };
        let event = Event::Fetched { stream, page: page(vec![key], None) };
        driver.core.step(&tick_at(driver.now), event);
        let state = &driver.core.streams[stream];
        assert_eq!(state.reconcile.is_on(), !is_outside, "{by}");
        let condition = state.condition.as_ref().map(|(reason, _)| *reason);
        assert_eq!(condition, is_outside.then_some(Reason::FilterIgnored), "{by}");
    }
}

#[test]
fn only_a_run_with_once_waits_briefly_while_it_looks_beside_a_row() {
    let brief = Span::seconds(limits::ONCE_WAIT_BESIDE_SECONDS);
    let broken = SourceTrouble::BrokenAnswer("half of a record".into());
    for (mode, is_brief) in [(Mode::Once, true), (Mode::Daemon, false)] {
        let mut driver = Driver::new(mode, Start::Now, Some(DONE));
        let (core, mut now) = (&mut driver.core, driver.now);
        let place = crate::record::RowPlace { from: DONE.from, is_after: false };
        for _ in 0..100 {
            now = now + Span::minutes(5);
            let wait = Span::minutes(5);
            core.streams[0].beyond.failed_alone(now, (place, 0), &broken, false, wait);
        }
        core.streams[0].lane.failures = 9;
        let mut longest = Span::ZERO;
        for _ in 0..20 {
            core.fetch_failed(now, 0, AskedFor::Fact, SourceTrouble::Unreachable(away()));
            let Due::At(due) = core.streams[0].lane.due else { panic!("never") };
            longest = longest.max(due.since(now));
        }
        assert_eq!(longest <= brief, is_brief, "{mode:?}: {longest}");
    }
}
