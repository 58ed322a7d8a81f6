//! Tries each step of a connection to a service, and says which one fails and what to do about it.
//!
//! Promises: the connection is made exactly as `run` makes it; each step is reported as soon as it
//! is known; a step that can't be tried because an earlier one failed is reported as skipped.
//! Never: sends a record with a key that somebody issued, changes anything, or shows a secret (keeps
//! P7).

use std::time::Duration;

use super::compare::{self, ServiceName};
use super::ingress::{self, Keys};
use super::interpret;
use super::sample::Sample;
use super::step::{Fault, Name, Outcome, Step};
use crate::answer;
use crate::cause::Cause;
use crate::config::Integration;
use crate::edge::Ask;
use crate::edge::system::{Service, ask};
use crate::edge::trial::{self, MadeUp};
use crate::limits::{PAGE_BYTES_MIN, SINK_ANSWER_BYTES_MAX};
use crate::net::certificate;
use crate::net::client::{Client, Request, hidden};
use crate::os::clock::{self, mono};
use crate::record::{Answer, NetTrouble};
use crate::s1::request::SYSTEM_INFO_PATH;
use crate::s1::token::{details_end, jwt_end};
use crate::secret::Secret;
use crate::time::{BUILT_AT, Mono, Span, Stamp};

/// Where steps are reported.
pub type Report<'a> = &'a mut dyn FnMut(Step);

const NETWORK_FAILED: &str = "the service was not reached";
const SECRET_FAILED: &str = "there is no secret to test it with";
const TOKEN_FAILED: &str = "the token was not accepted";

/// Whether the secret can be read. Returns it for later steps.
pub fn secret(service: &mut Service, report: Report) -> Option<Secret> {
    let begun = mono();
    let result = service.credential.current();
    let outcome = match &result {
        Ok(_) => match service.credential.exposure() {
            None => Outcome::Passed(format!("read from {}", service.credential.origin())),
            Some(warning) => Outcome::Noted(Fault::of(Cause::SecretExposed, warning)),
        },
        Err(trouble) => {
            let cause = match trouble {
                NetTrouble::System(_) => Cause::SystemRefuses,
                _ => Cause::SecretUnreadable,
            };
            Outcome::Failed(Fault::of(cause, trouble.problem()))
        }
    };
    report(Step { name: Name::Secret, outcome, took: mono().since(begun) });
    result.ok()
}

/// A third clock that decides which of two others is wrong; asked for only then.
pub type Third<'a> = &'a mut dyn FnMut() -> Option<Stamp>;

/// Every step to a tenant, with a page of each stream. Returns the tenant's `Date`.
pub fn tenant(
    service: &mut Service,
    integration: &Integration,
    samples: &[Sample],
    third: Third,
    report: Report,
) -> Option<Stamp> {
    let token = secret(service, report);
    let begun = mono();
    let result = service.client.exchange(&Request {
        path: SYSTEM_INFO_PATH,
        authorization: token.as_ref().map(|token| hidden("ApiToken", token)),
        post: None,
        answer_bytes_max: SINK_ANSWER_BYTES_MAX,
        grace: Duration::ZERO,
    });
    let ready = network(&service.client, begun, &result, "tenant", report);
    let name = ServiceName::Tenant(&integration.name);
    let is_right = clock_step(name, &result, &mut *third, report);
    let date = result.as_ref().ok().and_then(answer::date);
    let local = clock::local();
    match date.filter(|_| is_right) {
        Some(date) => compare::start(integration, ("SentinelOne's clock", date)).map(&mut *report),
        None => compare::start_by_local(integration, local).map(&mut *report),
    };
    let outcome = match (&result, &token) {
        (Ok(answer), Some(_)) => {
            interpret::info(answer, &integration.tenant, &service.credential.origin())
        }
        (Err(_), _) => Outcome::Skipped(NETWORK_FAILED),
        (_, None) => Outcome::Skipped(SECRET_FAILED),
    };
    let accepted = matches!(outcome, Outcome::Passed(_));
    let took = if token.is_some() && result.is_ok() { mono().since(ready) } else { Span::ZERO };
    report(Step { name: Name::Token, outcome, took });
    let why_not = match (&result, &token) {
        (Err(_), _) => NETWORK_FAILED,
        (Ok(_), None) => SECRET_FAILED,
        (Ok(_), Some(_)) => TOKEN_FAILED,
    };
    for sample in samples {
        report(match accepted {
            true => sample.step(service),
            false => Step::skipped(Name::Stream(sample.kind), why_not),
        });
    }
    match (accepted, token) {
        (true, Some(token)) => {
            let now = confirmed(date.filter(|_| is_right), local, third);
            token_end(service, &token, now, report);
        }
        _ => report(Step::skipped(Name::TokenEnd, why_not)),
    }
    date
}

/// Every step to Coralogix. A made-up key goes first: it has to be rejected, and the real key is
/// sent only if the answer looks like Coralogix.
pub fn team(service: &mut Service, third: Third, report: Report) {
    let key = secret(service, report);
    let begun = mono();
    let made_up = MadeUp::like(key.as_ref());
    let result = made_up.post_nothing(&service.client);
    let ready = network(&service.client, begun, &result, "Coralogix domain", report);
    clock_step(ServiceName::Sink, &result, third, report);
    let Ok(answer) = &result else {
        report(Step::skipped(Name::Domain, NETWORK_FAILED));
        return report(Step::skipped(Name::Key, NETWORK_FAILED));
    };
    let base = service.client.base().to_owned();
    let domain =
        ingress::stranger(answer, &base).unwrap_or_else(|| interpret::domain(answer, &base));
    let found = matches!(domain, Outcome::Passed(_));
    report(Step { name: Name::Domain, outcome: domain, took: mono().since(ready) });
    report(match (found, key) {
        (false, _) => Step::skipped(Name::Key, "the address does not answer like Coralogix"),
        (true, None) => Step::skipped(Name::Key, SECRET_FAILED),
        (true, Some(key)) => {
            let begun = mono();
            let outcome = key_step(service, &key, &made_up, answer);
            Step { name: Name::Key, outcome, took: mono().since(begun) }
        }
    });
}

/// Whether keys are checked, and the key is accepted. `to_nothing`: the answer to an empty array with
/// the made-up key.
fn key_step(service: &Service, key: &Secret, made_up: &MadeUp, to_nothing: &Answer) -> Outcome {
    let (base, origin) = (service.client.base(), service.credential.origin());
    let rejects_nothing = ingress::keys(to_nothing) == Keys::Unproven;
    let to_record = match rejects_nothing.then(|| made_up.post_record(&service.client)) {
        Some(result) => match heard(service, result) {
            Ok(answer) => Some(answer),
            Err(outcome) => return outcome,
        },
        None => None,
    };
    let tried = to_record.as_ref().unwrap_or(to_nothing);
    match ingress::keys(tried) {
        Keys::Checked => {}
        Keys::Unchecked => return ingress::unchecked(tried, base),
        Keys::Unproven => return ingress::rejects_everything(tried, base),
        Keys::Unknown => return interpret::key(tried, key, &origin),
    }
    match heard(service, trial::post_nothing(&service.client, key)) {
        Err(outcome) => outcome,
        Ok(answer) if rejects_nothing && matches!(answer.status, 400 | 422) => {
            ingress::unproven(&answer)
        }
        Ok(answer) => interpret::key(&answer, key, &origin),
    }
}

/// An answer that Coralogix may have given.
fn heard(service: &Service, result: Result<Answer, NetTrouble>) -> Result<Answer, Outcome> {
    let base = service.client.base();
    let answer = result.map_err(|trouble| {
        let steps = service.client.wire().steps();
        interpret::no_answer(&trouble, &steps, base, "Coralogix domain")
    })?;
    match ingress::stranger(&answer, base) {
        Some(stranger) => Err(stranger),
        None => Ok(answer),
    }
}

/// The steps up to an answer: name, TCP, proxy, TLS, answer. Returns the time when they were done.
fn network(
    client: &Client,
    begun: Mono,
    result: &Result<Answer, NetTrouble>,
    setting: &'static str,
    report: Report,
) -> Mono {
    let steps = client.wire().steps();
    let host = client.base().split_once("://").map_or(client.base(), |(_, host)| host);
    let first = client.proxied.as_deref().unwrap_or(host);
    let name = first.rsplit_once(':').map_or(first, |(name, _)| name);
    let mut done = vec![
        (Name::Dns, steps.resolved, format!("{name} is {}", steps.addresses.join(", "))),
        (Name::Tcp, steps.connected, format!("connected to {first}")),
    ];
    if let Some(proxy) = &client.proxied {
        done.push((Name::Proxy, steps.tunnelled, format!("{proxy} opened a tunnel to {host}")));
    }
    if client.base().starts_with("https://") {
        let version = steps.secured.map_or("", |(_, version)| version);
        let certificate = client.tls().last_shown().map(|shown| describe(&shown));
        let text = format!("{version}, {}", certificate.unwrap_or_default());
        done.push((Name::Tls, steps.secured.map(|(at, _)| at), text));
    }
    done.push((Name::Answer, result.as_ref().ok().map(|_| mono()), answered(result)));

    let mut last = begun;
    let mut trouble = result.as_ref().err();
    for (name, at, text) in done {
        match (at, trouble.take_if(|_| at.is_none())) {
            (Some(at), _) => {
                report(Step { name, outcome: Outcome::Passed(text), took: at.since(last) });
                last = at;
            }
            (None, Some(trouble)) => {
                let finding = client.finding();
                let mut steps = steps.clone();
                steps.cause = finding.map(|finding| finding.cause).or(steps.cause);
                let outcome = interpret::no_answer(trouble, &steps, host, setting);
                report(Step { name, outcome, took: mono().since(last) });
            }
            (None, None) => report(Step::skipped(name, NETWORK_FAILED)),
        }
    }
    last
}

/// Compares the clocks. Returns whether the service's clock may be used.
fn clock_step(
    name: ServiceName,
    result: &Result<Answer, NetTrouble>,
    third: Third,
    report: Report,
) -> bool {
    let outcome = match result {
        Ok(answer) => compare::clocks(name, answer, clock::local(), third),
        Err(_) => Outcome::Skipped(NETWORK_FAILED),
    };
    let is_right = matches!(outcome, Outcome::Passed(_) | Outcome::Noted(_));
    report(Step::at_once(Name::Clock, outcome));
    is_right
}

fn answered(result: &Result<Answer, NetTrouble>) -> String {
    result.as_ref().map_or_else(|_| String::new(), |answer| format!("HTTP {}", answer.status))
}

fn describe(shown: &certificate::Summary) -> String {
    match shown.validity {
        Some(validity) => {
            format!("signed by {}, valid until {}", shown.issuer, interpret::day(validity.ends))
        }
        None => format!("signed by {}", shown.issuer),
    }
}

/// The problem of this machine's clock where it is before the build date. `None`: it can be right.
pub fn own_clock() -> Option<Outcome> {
    let ours = clock::local();
    (ours < BUILT_AT).then(|| {
        Outcome::noted(
            Cause::ClockBeforeBuild,
            format!(
                "this machine's clock says {}, which is before this program's build date; the \
                 expiry of certificates is checked at {}, their start against the latest time \
                 received from a service",
                ours.to_the_second(),
                interpret::day(BUILT_AT)
            ),
            "Set the clock (NTP)",
        )
    })
}

/// The time by which the expiry of a token is judged. `date`: the tenant's, where its clock is not
/// considered wrong. The remedy invalidates a token, so the time of one tenant alone is not enough.
fn confirmed(date: Option<Stamp>, local: Stamp, third: Third) -> Option<Stamp> {
    match (date, local >= BUILT_AT) {
        // Compared with this machine's clock already, and with the other service's where that
        // decides.
        (Some(date), true) => Some(date),
        (Some(date), false) => third().filter(|third| !compare::are_far(date, *third)),
        (None, can_be_right) => can_be_right.then_some(local),
    }
}

fn token_end(service: &mut Service, token: &Secret, now: Option<Stamp>, report: Report) {
    let begun = mono();
    let end = jwt_end(token.reveal()).or_else(|| {
        let answer = ask(service, &Ask::TokenDetails, PAGE_BYTES_MIN).ok()?;
        details_end(&answer.body).filter(|_| answer.status == 200)
    });
    let outcome = interpret::token_end(end, now);
    report(Step { name: Name::TokenEnd, outcome, took: mono().since(begun) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_token_is_judged_by_a_time_that_a_second_clock_confirms() {
        let at = |minutes: u64| BUILT_AT + Span::minutes(minutes);
        let before = BUILT_AT - Span::ms(1);
        for (date, local, third, by) in [
            (Some(at(90)), at(0), None, Some(at(90))),
            (Some(at(90)), at(99), None, Some(at(90))),
            (Some(at(90)), before, Some(at(95)), Some(at(95))),
            (Some(at(90)), before, Some(at(150)), None),
            (Some(at(90)), before, None, None),
            (None, at(5), None, Some(at(5))),
            (None, at(0), None, Some(at(0))),
            (None, before, Some(at(90)), None),
        ] {
            assert_eq!(confirmed(date, local, &mut || third), by, "{date:?} {local} {third:?}");
        }
    }
}
