//! What an answer, or none, means for a person: the judgements behind the steps of `check`.
//!
//! Promises: an answer that was not foreseen never passes. Never: IO.

use super::cause::Cause;
use super::real::SINGLES_PATH;
use super::step::{Outcome, what_and_remedy};
use super::wire::Steps;
use crate::answer::{excerpt, redirect_host, retry_after};
use crate::limits::TOKEN_END_WARN_DAYS;
use crate::record::{Answer, Kind, NetTrouble, Refusal, Refused, SourceTrouble};
use crate::s1::verdict::{info_verdict, redirected, told};
use crate::s1::{page, refusal};
use crate::secret::Secret;
use crate::time::{Span, Stamp};

/// No answer came. `setting`: what of the config leads there.
pub fn no_answer(trouble: &NetTrouble, steps: &Steps, host: &str, setting: &str) -> Outcome {
    let text = trouble.to_string();
    let cause = steps.cause.unwrap_or(match trouble {
        NetTrouble::Dns(_) => Cause::NameNotResolved,
        NetTrouble::Connect(_) => Cause::ConnectFailed,
        NetTrouble::Proxy(_) => Cause::ProxyRefuses,
        NetTrouble::Tls(_) => Cause::TlsFailed,
        NetTrouble::Timeout(_) => Cause::NoAnswer,
        NetTrouble::Broken(_)
        | NetTrouble::Stopped
        | NetTrouble::TooLong(_)
        | NetTrouble::Endless(_) => Cause::ConnectionBroken,
        NetTrouble::Secret(_) => Cause::SecretUnreadable,
        NetTrouble::System(_) => Cause::SystemRefuses,
    });
    let remedy = match cause {
        Cause::NameNotResolved => format!(
            "Check the {setting} in the config for a typo, and whether this machine can resolve \
             names (/etc/resolv.conf)"
        ),
        Cause::NoRoute => format!(
            "Give this machine a route to {host} (ip route), or set network.proxy to the proxy \
             that reaches it"
        ),
        Cause::ConnectionRefused => format!(
            "Check host and port of the {setting} in the config; a firewall that rejects \
             connections looks the same"
        ),
        Cause::ConnectTimeout | Cause::ConnectFailed => format!(
            "Let this machine open TCP connections to {host} (firewall), or set network.proxy to \
             the proxy that reaches it"
        ),
        Cause::ProxyUnreachable => {
            "Check host and port of network.proxy (or of HTTPS_PROXY), and whether the proxy is \
             running"
                .to_owned()
        }
        Cause::NoAnswer => "Try again; on a slow link raise network.timeout".to_owned(),
        Cause::ConnectionBroken => {
            format!("Try again; if it lasts, look for a firewall or proxy in front of {host}")
        }
        // The others bring their own.
        _ => {
            let (what, remedy) = what_and_remedy(&text);
            return Outcome::failed(cause, what, remedy);
        }
    };
    Outcome::failed(cause, text, remedy)
}

/// What a tenant said to the question whether the token is alive: the daemon's own verdict.
pub fn info(answer: &Answer, tenant: &str, origin: &str) -> Outcome {
    match info_verdict(answer) {
        Ok(()) => {
            let version = console_version(&answer.body);
            Outcome::Passed(format!("accepted, console {version}"))
        }
        Err(SourceTrouble::TokenRefused(words) | SourceTrouble::TokenDoubted(words)) => {
            Outcome::failed(
                Cause::TokenRefused,
                format!("SentinelOne rejects the token ({words})"),
                format!(
                    "Check that {origin} contains the complete token of {tenant}, not of another \
                     console. Only if it does, generate a new API token for the service user in \
                     the console (Settings > Users > Service Users), which revokes the old one at \
                     once, and put it there"
                ),
            )
        }
        Err(SourceTrouble::Forbidden(refusal)) => forbidden(&refusal, tenant, None),
        Err(SourceTrouble::BrokenAnswer(_)) if answer.status == 200 && !tells_error(answer) => {
            not_a_console(answer, tenant)
        }
        Err(SourceTrouble::Misdirected(_)) => not_a_console(answer, tenant),
        Err(_) => try_later("SentinelOne", answer),
    }
}

/// Whether a 200 of the API says that it failed.
fn tells_error(answer: &Answer) -> bool {
    let body = serde_json::from_slice::<serde_json::Value>(&answer.body);
    body.is_ok_and(|body| body.get("errors").is_some_and(|errors| !errors.is_null()))
}

/// What is refused although nothing says that the token is bad. `kind`: the stream; none: the token
/// as a whole.
fn forbidden(refusal: &Refusal, tenant: &str, kind: Option<Kind>) -> Outcome {
    let words = &refusal.words;
    let out = kind
        .map_or_else(String::new, |kind| format!(", or remove \"{}\" from streams", kind.name()));
    match refusal.what {
        Refused::Token | Refused::Permission => {
            let permission = match kind {
                Some(kind) => format!("the permission \"{}\" is missing", kind.permission()),
                None => "a permission is missing".to_owned(),
            };
            let add = match kind {
                Some(kind) => format!("Add \"{}\" to", kind.permission()),
                None => "Add the permission that SentinelOne names to".to_owned(),
            };
            Outcome::failed(
                Cause::PermissionMissing,
                format!("{permission} ({words})"),
                format!("{add} the role of the service user (Settings > Users > Roles){out}"),
            )
        }
        Refused::Scope => Outcome::failed(
            Cause::ScopeMissing,
            format!("the scope of the token does not include this ({words})"),
            format!(
                "Follow SentinelOne's message: use a service user of a scope that has it (Settings \
                 > Users > Service Users){out}. Roles don't matter here, and the token is valid"
            ),
        ),
        Refused::Address => address_refused(tenant, words),
    }
}

/// Something before a service does not let this machine in.
fn address_refused(place: &str, words: &str) -> Outcome {
    Outcome::failed(
        Cause::AddressRefused,
        format!("an IP allow list, WAF or proxy in front of {place} blocks this machine ({words})"),
        format!(
            "Allow the address that this machine connects from (IP allow list of the service, \
             firewall, proxy), and let requests to {place} pass. The response is not from the \
             service's API, so it says nothing about the credential: leave that as it is"
        ),
    )
}

/// The version of a console, where it tells one.
fn console_version(body: &[u8]) -> String {
    let info = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
    let version = ["release", "version"].into_iter().find_map(|name| info["data"][name].as_str());
    version.map_or_else(|| "of unknown version".to_owned(), |text| excerpt(text.as_bytes()))
}

fn not_a_console(answer: &Answer, tenant: &str) -> Outcome {
    let (cause, what) = match answer.status == 200 && is_page(answer) {
        true => (
            Cause::LoginPage,
            "answers with a web page, like a login page or a captive \
            portal,",
        ),
        false => (Cause::NotAConsole, "does not answer as a SentinelOne console"),
    };
    let what = format!("{tenant} {what} ({})", status_line(answer));
    let host = redirect_host(answer).filter(|_| (300..400).contains(&answer.status));
    let also = host.map_or_else(String::new, |host| {
        format!(". It leads to {host}: if that is your console, write that")
    });
    Outcome::failed(
        cause,
        what.replace(", (", " ("),
        format!(
            "Set tenant to the address that the browser shows when you are logged in to the \
             console, like \
             https://usea1-acme.sentinelone.net{also}"
        ),
    )
}

/// What a tenant, whose token is good, said when it was asked for one row of a stream.
pub fn stream(answer: &Answer, kind: Kind, tenant: &str) -> Outcome {
    if let Some(refusal) = refusal::of(answer) {
        return forbidden(&refusal.beside_a_good_token(), tenant, Some(kind));
    }
    match answer.status {
        200 => match page::scan(&answer.body, kind) {
            Ok(_) => Outcome::Passed(format!("readable ({})", kind.permission())),
            Err(broken) => Outcome::failed(
                Cause::UnknownAnswer,
                format!("SentinelOne sent an unknown response (HTTP 200: {broken})"),
                "Try again; the daemon itself waits and retries",
            ),
        },
        400 | 404 => Outcome::failed(
            Cause::QueryRefused,
            format!("SentinelOne rejects the query ({})", told(answer)),
            format!(
                "This console may not offer {}; remove it from streams, or report this response",
                kind.name()
            ),
        ),
        _ => try_later("SentinelOne", answer),
    }
}

/// When a token that was accepted ends. `now`: the service's clock where it told one.
pub fn token_end(end: Option<Stamp>, now: Stamp) -> Outcome {
    let Some(end) = end else {
        return Outcome::Skipped("neither the token nor SentinelOne says when it expires");
    };
    if end <= now {
        // It was accepted a moment ago, so one of the clocks may be wrong.
        let text = format!("it expired {} ago, at {}", now.since(end), end.to_the_second());
        let remedy = "Generate a new one and put it in the same place; no restart is needed";
        return Outcome::noted(Cause::TokenEndsSoon, text, remedy);
    }
    let left = end.since(now);
    let text = format!("it expires on {}, in {left}", day(end));
    if left > Span::hours(24 * TOKEN_END_WARN_DAYS) {
        return Outcome::Passed(text);
    }
    Outcome::noted(
        Cause::TokenEndsSoon,
        text,
        "Generate a new one before then and put it in the same place; no restart is needed",
    )
}

/// Whether an answer to a batch comes from Coralogix' place for logs.
pub fn domain(answer: &Answer, base: &str) -> Outcome {
    match answer.status {
        300..=399 | 404 | 405 | 410 => Outcome::failed(
            Cause::NotAnIngress,
            format!("{base} does not accept logs ({})", status_line(answer)),
            "Set coralogix.domain to the domain of your team (Settings > Domain), like \
             eu2.coralogix.com; it may differ from the one in the browser",
        ),
        _ => Outcome::Passed(format!("{base}{SINGLES_PATH} answers")),
    }
}

/// What Coralogix said to an empty array. Which status it gives for which key is not published;
/// 401 and 403 are told apart by what they mean everywhere.
pub fn key(answer: &Answer, key: &Secret, origin: &str) -> Outcome {
    let kind = match key.reveal() {
        key if key.starts_with("cxup_") => "this is a personal key (cxup_)",
        key if key.starts_with("cxtp_") => {
            "this has the prefix of such a key (cxtp_), so check that it is complete, still active \
             and of this team"
        }
        _ => "personal keys and query keys are rejected",
    };
    if let Some(outcome) = blocked(answer) {
        return outcome;
    }
    match answer.status {
        200..=299 => Outcome::Passed("accepted: an empty array was accepted".to_owned()),
        400 | 422 => Outcome::Passed(format!(
            "accepted: the key was accepted and only the empty array was not (HTTP {})",
            answer.status
        )),
        401 => Outcome::failed(
            Cause::KeyUnknown,
            format!(
                "Coralogix does not recognise the key in this region ({})",
                status_line(answer)
            ),
            format!(
                "Put a Send-Your-Data API key (Settings > API Keys) of this team into {origin}, and \
                 check that coralogix.domain is the domain of the same team: a key is valid in its \
                 own region only; {kind}"
            ),
        ),
        403 => Outcome::failed(
            Cause::KeyWrongKind,
            format!("Coralogix does not allow this key to send data ({})", status_line(answer)),
            format!(
                "Put an API key with the role preset SendData, a Send-Your-Data key (Settings > \
                 API Keys), into {origin}; {kind}"
            ),
        ),
        408 | 429 | 500..=599 => try_later("Coralogix", answer),
        _ => Outcome::failed(
            Cause::UnknownAnswer,
            format!("Coralogix sent an unknown response ({})", status_line(answer)),
            "Try again; if it lasts, ask Coralogix what this response means",
        ),
    }
}

/// Whether a refusal is not Coralogix': a web page, as what stands in between shows it. What answers
/// in another form, or without a word, may be Coralogix.
fn blocked(answer: &Answer) -> Option<Outcome> {
    let refusal = refusal::of(answer).filter(|refusal| refusal.what == Refused::Address)?;
    (is_page(answer) || answer.status == 451).then(|| address_refused("Coralogix", &refusal.words))
}

fn is_page(answer: &Answer) -> bool {
    let said = answer.content_type.as_deref().unwrap_or("").to_ascii_lowercase();
    said.contains("html") || answer.body.trim_ascii_start().starts_with(b"<")
}

fn try_later(service: &str, answer: &Answer) -> Outcome {
    let (cause, what) = match answer.status {
        408 | 429 | 500..=599 => (Cause::Busy, "can't answer now"),
        _ => (Cause::UnknownAnswer, "sent an unknown response"),
    };
    let wait = retry_after(answer).map_or_else(String::new, |span| format!(" in {span}"));
    Outcome::failed(
        cause,
        format!("{service} {what} ({})", status_line(answer)),
        format!("Try again{wait}; the daemon itself waits and retries"),
    )
}

fn status_line(answer: &Answer) -> String {
    let is_redirect = (300..400).contains(&answer.status);
    match (is_redirect, answer.body.trim_ascii()) {
        (true, _) => redirected(answer),
        (false, []) => format!("HTTP {}", answer.status),
        (false, _) => told(answer),
    }
}

/// The day of a time.
pub fn day(stamp: Stamp) -> String {
    let text = stamp.to_string();
    text.split_once('T').map_or(text.clone(), |(day, _)| day.to_owned())
}
