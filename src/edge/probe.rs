//! Tries each step on the way to a service and says which one fails and what to do about it.
//!
//! Promises: the way is the very one that `run` takes; each step is told as soon as it is known;
//! a step that can't be tried for an earlier one is told as skipped. Never: sends a record,
//! changes anything, or shows a secret (keeps P7).

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::clock::{self, mono};
use super::net::{Peer, Post, Request, hidden};
use super::real::{Door, SINGLES_PATH, ask};
use super::{Ask, certificate};
use crate::answer::{excerpt, retry_after};
use crate::config::Integration;
use crate::limits::{
    CLOCK_AGREES_SECONDS, PROBE_BACK_HOURS, SINK_ANSWER_BYTES_MAX, TOKEN_END_WARN_DAYS,
};
use crate::record::{Answer, Kind, NetTrouble};
use crate::s1::request::{Query, SYSTEM_INFO_PATH, page_path};
use crate::s1::token::{details_end, jwt_end};
use crate::secret::Secret;
use crate::time::{Mono, Span, Stamp};

/// One step and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: &'static str,
    pub outcome: Outcome,
    pub took: Span,
}

impl Step {
    /// One that needs no time worth telling.
    pub fn at_once(name: &'static str, outcome: Outcome) -> Step {
        Step { name, outcome, took: Span::ZERO }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed(String),
    /// Passed, but a person should know something.
    Noted(String),
    Failed {
        what: String,
        remedy: String,
        fault: Fault,
    },
    /// Not tried, and why.
    Skipped(&'static str),
}

/// Whose turn it is after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The way or the service: it may work later without a change here.
    Unreachable,
    /// A secret or a permission is refused.
    Refused,
    /// The config does not fit the world.
    Config,
    /// Nothing that is known.
    Unknown,
}

/// Where steps are told.
pub type Tell<'a> = &'a mut dyn FnMut(Step);

const NETWORK_FAILED: &str = "the service was not reached";
const SECRET_FAILED: &str = "there is no secret to try it with";
const TOKEN_FAILED: &str = "the token was not accepted";

/// Whether the secret can be read. Returns it for the steps that need it.
pub fn secret(door: &mut Door, tell: Tell) -> Option<Secret> {
    let begun = mono();
    let result = door.keeper.current();
    let outcome = match &result {
        Ok(_) => match door.keeper.exposure() {
            None => Outcome::Passed(format!("read from {}", door.keeper.origin())),
            Some(warning) => Outcome::Noted(warning),
        },
        Err(trouble) => {
            let (what, remedy) = what_and_remedy(&trouble.to_string());
            Outcome::Failed { what, remedy, fault: Fault::Config }
        }
    };
    tell(Step { name: "secret", outcome, took: mono().since(begun) });
    result.ok()
}

/// Every step to a tenant.
pub fn tenant(door: &mut Door, integration: &Integration, tell: Tell) {
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
    let outcome = match (&result, &token) {
        (Ok(answer), Some(_)) => judge_info(answer, &integration.tenant, &door.keeper.origin()),
        (Err(_), _) => Outcome::Skipped(NETWORK_FAILED),
        (_, None) => Outcome::Skipped(SECRET_FAILED),
    };
    let accepted = matches!(outcome, Outcome::Passed(_));
    let took = if token.is_some() && result.is_ok() { mono().since(ready) } else { Span::ZERO };
    tell(Step { name: "token", outcome, took });
    let why_not = match (&result, &token) {
        (Err(_), _) => NETWORK_FAILED,
        (Ok(_), None) => SECRET_FAILED,
        (Ok(_), Some(_)) => TOKEN_FAILED,
    };
    for &kind in &integration.streams {
        match accepted {
            true => stream(door, kind, tell),
            false => tell(skipped(kind.name(), why_not)),
        }
    }
    match (accepted, token) {
        (true, Some(token)) => token_end(door, &token, tell),
        _ => tell(skipped("token's end", why_not)),
    }
}

/// Every step to Coralogix.
pub fn team(door: &mut Door, tell: Tell) {
    let key = secret(door, tell);
    let begun = mono();
    let nothing = empty_batch();
    let result = door.peer.exchange(&Request {
        path: SINGLES_PATH,
        authorization: key.as_ref().map(|key| hidden("Bearer", key)),
        post: Some(Post { body: &nothing, gzip: true }),
        answer_bytes_max: SINK_ANSWER_BYTES_MAX,
        grace: Duration::ZERO,
    });
    let ready = network(&door.peer, begun, &result, "Coralogix domain", tell);
    let Ok(answer) = &result else {
        tell(skipped("domain", NETWORK_FAILED));
        return tell(skipped("key", NETWORK_FAILED));
    };
    let domain = judge_domain(answer, door.peer.base());
    let found = matches!(domain, Outcome::Passed(_));
    tell(Step { name: "domain", outcome: domain, took: mono().since(ready) });
    tell(match (found, key) {
        (false, _) => skipped("key", "the address does not answer as Coralogix does"),
        (true, None) => skipped("key", SECRET_FAILED),
        (true, Some(_)) => {
            let outcome = judge_key(answer, &door.keeper.origin());
            Step { name: "key", outcome, took: Span::ZERO }
        }
    });
}

/// A batch without records: it tells whether the key is taken and delivers nothing.
fn empty_batch() -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(b"[]").expect("writing to memory does not fail");
    gzip.finish().expect("writing to memory does not fail")
}

/// The steps up to an answer: name, TCP, proxy, TLS, answer, clock. Returns when they were done.
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
        ("DNS", steps.resolved, format!("{name} is {}", steps.addresses.join(", "))),
        ("TCP", steps.connected, format!("connected to {first}")),
    ];
    if let Some(proxy) = &peer.proxied {
        done.push(("proxy", steps.tunnelled, format!("{proxy} opened a tunnel to {host}")));
    }
    if peer.base().starts_with("https://") {
        let version = steps.secured.map_or("", |(_, version)| version);
        let certificate = peer.tls().last_shown().map(|shown| describe(&shown));
        let text = format!("{version}, {}", certificate.unwrap_or_default());
        done.push(("TLS", steps.secured.map(|(at, _)| at), text));
    }
    done.push(("answer", result.as_ref().ok().map(|_| mono()), answered(result)));

    let mut last = begun;
    let mut trouble = result.as_ref().err();
    for (name, at, text) in done {
        match (at, trouble.take_if(|_| at.is_none())) {
            (Some(at), _) => {
                tell(Step { name, outcome: Outcome::Passed(text), took: at.since(last) });
                last = at;
            }
            (None, Some(trouble)) => {
                let outcome = net_failure(trouble, host, setting);
                tell(Step { name, outcome, took: mono().since(last) });
            }
            (None, None) => tell(skipped(name, NETWORK_FAILED)),
        }
    }
    tell(match result {
        Ok(answer) => Step { name: "clock", outcome: compare_clocks(answer), took: Span::ZERO },
        Err(_) => skipped("clock", NETWORK_FAILED),
    });
    last
}

fn answered(result: &Result<Answer, NetTrouble>) -> String {
    result.as_ref().map_or_else(|_| String::new(), |answer| format!("HTTP {}", answer.status))
}

fn describe(shown: &certificate::Summary) -> String {
    match shown.not_after {
        Some(end) => format!("signed by {}, valid until {}", shown.issuer, day(end)),
        None => format!("signed by {}", shown.issuer),
    }
}

fn net_failure(trouble: &NetTrouble, host: &str, setting: &str) -> Outcome {
    let text = trouble.to_string();
    let failed = |what: String, remedy: String, fault| Outcome::Failed { what, remedy, fault };
    match trouble {
        NetTrouble::Dns(_) => failed(
            text,
            format!(
                "Check the {setting} in the config for a typing error, and whether this machine \
                 can resolve names (/etc/resolv.conf)"
            ),
            Fault::Unreachable,
        ),
        NetTrouble::Connect(_) => failed(
            text,
            format!(
                "Let this machine open TCP connections to {host} (firewall, route), or give the \
                 proxy that leads there as network.proxy"
            ),
            Fault::Unreachable,
        ),
        NetTrouble::Proxy(_) => {
            let fault = match text.contains(" 407") {
                true => Fault::Refused,
                false => Fault::Unreachable,
            };
            let (what, remedy) = what_and_remedy(&text);
            failed(what, remedy, fault)
        }
        NetTrouble::Tls(_) => {
            let (what, remedy) = what_and_remedy(&text);
            failed(what, remedy, Fault::Unreachable)
        }
        NetTrouble::Timeout => failed(
            text,
            "Try again; if the line is slow, raise network.timeout".to_owned(),
            Fault::Unreachable,
        ),
        NetTrouble::Broken(_) | NetTrouble::TooLong => failed(
            text,
            format!("Try again; if it lasts, look for a firewall or proxy before {host}"),
            Fault::Unreachable,
        ),
        NetTrouble::Secret(_) => {
            let (what, remedy) = what_and_remedy(&text);
            failed(what, remedy, Fault::Config)
        }
    }
}

/// Troubles are told as "what went wrong. What to do".
fn what_and_remedy(text: &str) -> (String, String) {
    match text.rsplit_once(". ") {
        Some((what, remedy)) => (what.to_owned(), remedy.to_owned()),
        None => (
            text.to_owned(),
            "Ask whoever runs the network between this machine and the service".to_owned(),
        ),
    }
}

/// The clocks need not agree: the collector goes by the services' clocks (P8). But TLS goes by
/// this machine's, so a person should know.
fn compare_clocks(answer: &Answer) -> Outcome {
    let Some(theirs) = answer.date.as_deref().and_then(Stamp::parse_http_date) else {
        return Outcome::Skipped("the answer has no Date");
    };
    let ours = clock::local();
    let (ahead, behind) = (ours.since(theirs), theirs.since(ours));
    let apart = ahead.max(behind);
    if apart <= Span::seconds(CLOCK_AGREES_SECONDS) {
        return Outcome::Passed("this machine's clock agrees with the service's".to_owned());
    }
    let way = if ahead > behind { "ahead of" } else { "behind" };
    Outcome::Noted(format!(
        "this machine's clock is {apart} {way} the service's. Records keep their own times, but \
         certificates are judged by this clock: set it (NTP)"
    ))
}

fn judge_info(answer: &Answer, tenant: &str, origin: &str) -> Outcome {
    match answer.status {
        200 => match console_version(&answer.body) {
            Some(version) => Outcome::Passed(format!("accepted, console {version}")),
            None => not_a_console(answer, tenant),
        },
        401 | 403 => Outcome::Failed {
            what: format!("SentinelOne does not accept the token ({})", status_line(answer)),
            remedy: format!(
                "Generate a new API token for the service user (it ends the old one at once) and \
                 put it into {origin}"
            ),
            fault: Fault::Refused,
        },
        300..=399 | 404 | 405 | 410 => not_a_console(answer, tenant),
        _ => try_later("SentinelOne", answer),
    }
}

/// `data` of the answer of a console; its version where it tells one.
fn console_version(body: &[u8]) -> Option<String> {
    let info: serde_json::Value = serde_json::from_slice(body).ok()?;
    let data = info.get("data")?;
    let version = ["release", "version"].into_iter().find_map(|name| data.get(name)?.as_str());
    Some(version.map_or_else(|| "of unknown version".to_owned(), |text| excerpt(text.as_bytes())))
}

fn not_a_console(answer: &Answer, tenant: &str) -> Outcome {
    Outcome::Failed {
        what: format!(
            "{tenant} does not answer as a SentinelOne console ({})",
            status_line(answer)
        ),
        remedy: "Set tenant to the address that the browser shows for the console, like \
                 https://usea1-acme.sentinelone.net"
            .to_owned(),
        fault: Fault::Config,
    }
}

/// Whether a stream may be read: one row is asked for and thrown away.
fn stream(door: &mut Door, kind: Kind, tell: Tell) {
    let begun = mono();
    let from = clock::local().max(Stamp::EPOCH) - Span::hours(PROBE_BACK_HOURS);
    let path = page_path(&Query { kind, from: from.max(Stamp::EPOCH), cursor: None, rows_max: 1 });
    let outcome = match ask(door, &Ask::Page(path)) {
        Ok(answer) => judge_stream(&answer, kind),
        Err(trouble) => net_failure(&trouble, door.peer.base(), "tenant"),
    };
    tell(Step { name: kind.name(), outcome, took: mono().since(begun) });
}

fn judge_stream(answer: &Answer, kind: Kind) -> Outcome {
    let permission = kind.permission();
    match answer.status {
        200 if is_page(&answer.body) => Outcome::Passed(format!("may be read ({permission})")),
        401 | 403 => Outcome::Failed {
            what: format!("the permission \"{permission}\" is missing ({})", status_line(answer)),
            remedy: format!(
                "Add \"{permission}\" to the role of the service user (Settings > Users > Roles), \
                 or take \"{}\" out of streams",
                kind.name()
            ),
            fault: Fault::Refused,
        },
        400 | 404 => Outcome::Failed {
            what: format!("SentinelOne refuses the query ({})", status_line(answer)),
            remedy: format!(
                "This console may not offer {}; take it out of streams, or report this answer",
                kind.name()
            ),
            fault: Fault::Unknown,
        },
        _ => try_later("SentinelOne", answer),
    }
}

/// `data` may be null: some consoles say an empty page so.
fn is_page(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|page| page.get("data").is_some())
}

fn token_end(door: &mut Door, token: &Secret, tell: Tell) {
    let begun = mono();
    let end = jwt_end(token.reveal()).or_else(|| {
        let answer = ask(door, &Ask::TokenDetails).ok()?;
        details_end(&answer.body).filter(|_| answer.status == 200)
    });
    let outcome = judge_end(end, clock::local());
    tell(Step { name: "token's end", outcome, took: mono().since(begun) });
}

fn judge_end(end: Option<Stamp>, now: Stamp) -> Outcome {
    let Some(end) = end else {
        return Outcome::Skipped("neither the token nor SentinelOne tells when it ends");
    };
    let left = end.since(now);
    if left == Span::ZERO {
        // It was accepted a moment ago, so it is the clock that is wrong, or it ends just now.
        return Outcome::Noted(format!(
            "it ends at {}, which this machine's clock has passed",
            end.to_the_second()
        ));
    }
    let text = format!("it ends on {}, in {left}", day(end));
    if left <= Span::hours(24 * TOKEN_END_WARN_DAYS) {
        return Outcome::Noted(format!(
            "{text}. Generate a new one before then and put it into the same place"
        ));
    }
    Outcome::Passed(text)
}

fn judge_domain(answer: &Answer, base: &str) -> Outcome {
    match answer.status {
        300..=399 | 404 | 405 | 410 => Outcome::Failed {
            what: format!("{base} has no place for logs ({})", status_line(answer)),
            remedy: "Set coralogix.domain to the domain of your team (Settings > Domain), like \
                     eu2.coralogix.com; it is not always the one in the browser"
                .to_owned(),
            fault: Fault::Config,
        },
        _ => Outcome::Passed(format!("{base}{SINGLES_PATH} answers")),
    }
}

/// What Coralogix said to an empty array.
fn judge_key(answer: &Answer, origin: &str) -> Outcome {
    match answer.status {
        200..=299 => Outcome::Passed("accepted: an empty array was taken".to_owned()),
        400 | 422 => Outcome::Passed(format!(
            "accepted: the key was taken and only the empty array was not (HTTP {})",
            answer.status
        )),
        401 | 403 => Outcome::Failed {
            what: format!("Coralogix does not accept the key ({})", status_line(answer)),
            remedy: format!(
                "Put a Send-Your-Data API key of this very team and domain into {origin} (Data \
                 Flow > API Keys); keys for queries and personal keys are refused"
            ),
            fault: Fault::Refused,
        },
        408 | 429 | 500..=599 => try_later("Coralogix", answer),
        _ => Outcome::Failed {
            what: format!("Coralogix gave an unknown answer ({})", status_line(answer)),
            remedy: "Try again; if it lasts, ask Coralogix what this answer means".to_owned(),
            fault: Fault::Unknown,
        },
    }
}

fn try_later(service: &str, answer: &Answer) -> Outcome {
    let wait = retry_after(answer).map_or_else(String::new, |span| format!(" in {span}"));
    Outcome::Failed {
        what: format!("{service} can't answer now ({})", status_line(answer)),
        remedy: format!("Try again{wait}; the collector itself waits and goes on"),
        fault: Fault::Unreachable,
    }
}

fn status_line(answer: &Answer) -> String {
    let words = excerpt(&answer.body);
    match words.is_empty() {
        true => format!("HTTP {}", answer.status),
        false => format!("HTTP {}: {words}", answer.status),
    }
}

fn day(stamp: Stamp) -> String {
    let text = stamp.to_string();
    text.split_once('T').map_or(text.clone(), |(day, _)| day.to_owned())
}

fn skipped(name: &'static str, why: &'static str) -> Step {
    Step::at_once(name, Outcome::Skipped(why))
}
