//! Tries each step on the way to a service and says which one fails and what to do about it.
//!
//! Promises: the way is the very one that `run` takes; each step is told as soon as it is known;
//! a step that can't be tried for an earlier one is told as skipped. Never: sends a record,
//! changes anything, or shows a secret (keeps P7).

use std::time::Duration;

use super::cause::Cause;
use super::clock::{self, mono};
use super::compare::{self, Service};
use super::ingress::{self, Keys};
use super::net::{Peer, Request, hidden};
use super::real::{Door, ask};
use super::sample::Sample;
use super::step::{Name, Outcome, Step, what_and_remedy};
use super::{Ask, certificate, trial, verdicts};
use crate::answer;
use crate::config::Integration;
use crate::limits::{PAGE_BYTES_MIN, SINK_ANSWER_BYTES_MAX};
use crate::record::{Answer, NetTrouble};
use crate::s1::request::SYSTEM_INFO_PATH;
use crate::s1::token::{details_end, jwt_end};
use crate::secret::Secret;
use crate::time::{BUILT_AT, Mono, Span, Stamp};

/// Where steps are told.
pub type Tell<'a> = &'a mut dyn FnMut(Step);

const NETWORK_FAILED: &str = "the service was not reached";
const SECRET_FAILED: &str = "there is no secret to test it with";
const TOKEN_FAILED: &str = "the token was not accepted";

/// Whether the secret can be read. Returns it for the steps that need it.
pub fn secret(door: &mut Door, tell: Tell) -> Option<Secret> {
    let begun = mono();
    let result = door.keeper.current();
    let outcome = match &result {
        Ok(_) => match door.keeper.exposure() {
            None => Outcome::Passed(format!("read from {}", door.keeper.origin())),
            Some(warning) => {
                let (what, remedy) = what_and_remedy(&warning);
                Outcome::noted(Cause::SecretExposed, what, remedy)
            }
        },
        Err(trouble) => {
            let (what, remedy) = what_and_remedy(&trouble.to_string());
            let cause = match trouble {
                NetTrouble::System(_) => Cause::SystemRefuses,
                _ => Cause::SecretUnreadable,
            };
            Outcome::failed(cause, what, remedy)
        }
    };
    tell(Step { name: Name::Secret, outcome, took: mono().since(begun) });
    result.ok()
}

/// A clock that decides which of two others is wrong, asked for only then.
pub type Third<'a> = &'a mut dyn FnMut() -> Option<Stamp>;

/// Every step to a tenant, with a page of each stream. Returns the time it told.
pub fn tenant(
    door: &mut Door,
    integration: &Integration,
    samples: &[Sample],
    third: Third,
    tell: Tell,
) -> Option<Stamp> {
    let token = secret(door, tell);
    let begun = mono();
    let result = door.peer.exchange(&Request {
        path: SYSTEM_INFO_PATH,
        authorization: token.as_ref().map(|token| hidden("ApiToken", token)),
        post: None,
        answer_bytes_max: SINK_ANSWER_BYTES_MAX,
        grace: Duration::ZERO,
    });
    let ready = network(&door.peer, begun, &result, "tenant", tell);
    let service = Service::Tenant(&integration.name);
    let is_right = clock_step(service, &result, third, tell);
    let date = result.as_ref().ok().and_then(answer::date);
    let local = clock::local();
    match date.filter(|_| is_right) {
        Some(date) => compare::start(integration, ("SentinelOne's clock", date)).map(&mut *tell),
        None => compare::start_by_local(integration, local).map(&mut *tell),
    };
    let outcome = match (&result, &token) {
        (Ok(answer), Some(_)) => verdicts::info(answer, &integration.tenant, &door.keeper.origin()),
        (Err(_), _) => Outcome::Skipped(NETWORK_FAILED),
        (_, None) => Outcome::Skipped(SECRET_FAILED),
    };
    let accepted = matches!(outcome, Outcome::Passed(_));
    let took = if token.is_some() && result.is_ok() { mono().since(ready) } else { Span::ZERO };
    tell(Step { name: Name::Token, outcome, took });
    let why_not = match (&result, &token) {
        (Err(_), _) => NETWORK_FAILED,
        (Ok(_), None) => SECRET_FAILED,
        (Ok(_), Some(_)) => TOKEN_FAILED,
    };
    for sample in samples {
        tell(match accepted {
            true => sample.step(door),
            false => Step::skipped(Name::Stream(sample.kind), why_not),
        });
    }
    match (accepted, token) {
        (true, Some(token)) => {
            let now = date.filter(|_| is_right);
            token_end(door, &token, now.unwrap_or(local), tell);
        }
        _ => tell(Step::skipped(Name::TokenEnd, why_not)),
    }
    date
}

/// Every step to Coralogix. A made-up key goes first: it has to be refused, and only what then looks
/// like Coralogix is shown the real one.
pub fn team(door: &mut Door, third: Third, tell: Tell) {
    let key = secret(door, tell);
    let begun = mono();
    let result = trial::post_nothing(&door.peer, &trial::made_up(key.as_ref()));
    let ready = network(&door.peer, begun, &result, "Coralogix domain", tell);
    clock_step(Service::Sink, &result, third, tell);
    let Ok(answer) = &result else {
        tell(Step::skipped(Name::Domain, NETWORK_FAILED));
        return tell(Step::skipped(Name::Key, NETWORK_FAILED));
    };
    let base = door.peer.base().to_owned();
    let domain =
        ingress::stranger(answer, &base).unwrap_or_else(|| verdicts::domain(answer, &base));
    let found = matches!(domain, Outcome::Passed(_));
    tell(Step { name: Name::Domain, outcome: domain, took: mono().since(ready) });
    tell(match (found, key) {
        (false, _) => Step::skipped(Name::Key, "the address does not answer like Coralogix"),
        (true, None) => Step::skipped(Name::Key, SECRET_FAILED),
        (true, Some(key)) => {
            let begun = mono();
            let outcome = key_step(door, &key, answer);
            Step { name: Name::Key, outcome, took: mono().since(begun) }
        }
    });
}

/// Whether the key is taken where `made_up` answered one that nobody issued.
fn key_step(door: &Door, key: &Secret, made_up: &Answer) -> Outcome {
    let (base, origin) = (door.peer.base(), door.keeper.origin());
    let keys = ingress::keys(made_up);
    match keys {
        Keys::Unchecked => return ingress::unchecked(made_up, base),
        Keys::Unknown => return verdicts::key(made_up, key, &origin),
        Keys::Checked | Keys::Unproven => {}
    }
    match trial::post_nothing(&door.peer, key) {
        Err(trouble) => {
            let steps = door.peer.wire().steps();
            verdicts::no_answer(&trouble, &steps, base, "Coralogix domain")
        }
        Ok(answer) => match ingress::stranger(&answer, base) {
            Some(stranger) => stranger,
            None if keys == Keys::Unproven && matches!(answer.status, 400 | 422) => {
                ingress::unproven(&answer)
            }
            None => verdicts::key(&answer, key, &origin),
        },
    }
}

/// The steps up to an answer: name, TCP, proxy, TLS, answer. Returns when they were done.
fn network(
    peer: &Peer,
    begun: Mono,
    result: &Result<Answer, NetTrouble>,
    setting: &'static str,
    tell: Tell,
) -> Mono {
    let steps = peer.wire().steps();
    let host = peer.base().split_once("://").map_or(peer.base(), |(_, host)| host);
    let first = peer.proxied.as_deref().unwrap_or(host);
    let name = first.rsplit_once(':').map_or(first, |(name, _)| name);
    let mut done = vec![
        (Name::Dns, steps.resolved, format!("{name} is {}", steps.addresses.join(", "))),
        (Name::Tcp, steps.connected, format!("connected to {first}")),
    ];
    if let Some(proxy) = &peer.proxied {
        done.push((Name::Proxy, steps.tunnelled, format!("{proxy} opened a tunnel to {host}")));
    }
    if peer.base().starts_with("https://") {
        let version = steps.secured.map_or("", |(_, version)| version);
        let certificate = peer.tls().last_shown().map(|shown| describe(&shown));
        let text = format!("{version}, {}", certificate.unwrap_or_default());
        done.push((Name::Tls, steps.secured.map(|(at, _)| at), text));
    }
    done.push((Name::Answer, result.as_ref().ok().map(|_| mono()), answered(result)));

    let mut last = begun;
    let mut trouble = result.as_ref().err();
    for (name, at, text) in done {
        match (at, trouble.take_if(|_| at.is_none())) {
            (Some(at), _) => {
                tell(Step { name, outcome: Outcome::Passed(text), took: at.since(last) });
                last = at;
            }
            (None, Some(trouble)) => {
                let finding = peer.finding();
                let mut steps = steps.clone();
                steps.cause = finding.map(|finding| finding.cause).or(steps.cause);
                let outcome = verdicts::no_answer(trouble, &steps, host, setting);
                tell(Step { name, outcome, took: mono().since(last) });
            }
            (None, None) => tell(Step::skipped(name, NETWORK_FAILED)),
        }
    }
    last
}

/// How the clocks stand to each other. Returns whether the service's may be gone by.
fn clock_step(
    service: Service,
    result: &Result<Answer, NetTrouble>,
    third: Third,
    tell: Tell,
) -> bool {
    let outcome = match result {
        Ok(answer) => compare::clocks(service, answer, clock::local(), third),
        Err(_) => Outcome::Skipped(NETWORK_FAILED),
    };
    let is_right = matches!(outcome, Outcome::Passed(_) | Outcome::Noted(_));
    tell(Step::at_once(Name::Clock, outcome));
    is_right
}

fn answered(result: &Result<Answer, NetTrouble>) -> String {
    result.as_ref().map_or_else(|_| String::new(), |answer| format!("HTTP {}", answer.status))
}

fn describe(shown: &certificate::Summary) -> String {
    match shown.life {
        Some(life) => {
            format!("signed by {}, valid until {}", shown.issuer, verdicts::day(life.ends))
        }
        None => format!("signed by {}", shown.issuer),
    }
}

/// Whether this machine's clock can be right at all. `None`: it can.
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
                verdicts::day(BUILT_AT)
            ),
            "Set the clock (NTP)",
        )
    })
}

fn token_end(door: &mut Door, token: &Secret, now: Stamp, tell: Tell) {
    let begun = mono();
    let end = jwt_end(token.reveal()).or_else(|| {
        let answer = ask(door, &Ask::TokenDetails, PAGE_BYTES_MIN).ok()?;
        details_end(&answer.body).filter(|_| answer.status == 200)
    });
    let outcome = verdicts::token_end(end, now);
    tell(Step { name: Name::TokenEnd, outcome, took: mono().since(begun) });
}
