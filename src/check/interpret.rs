//! What an answer, or the lack of one, means for a person: the outcomes of the steps of `check`.
//!
//! Promises: an unforeseen answer never passes. Never: IO.

use super::step::{Fault, Outcome};
use crate::answer::{cached, excerpt, is_html, redirect_host};
use crate::cause::Cause;
use crate::coralogix::SINGLES_PATH;
use crate::coralogix::verdict::{is_blocked, verdict};
use crate::limits::TOKEN_END_WARN_DAYS;
use crate::net::wire::Steps;
use crate::record::{Answer, Kind, NetTrouble, Refusal, Refused, SinkVerdict, SourceTrouble};
use crate::s1::verdict::{describe, info_verdict, page_verdict, redirected};
use crate::s1::{page, refusal};
use crate::secret::Secret;
use crate::time::{Span, Stamp};

/// No answer came. `setting`: the setting with the address.
pub fn no_answer(trouble: &NetTrouble, steps: &Steps, host: &str, setting: &str) -> Outcome {
    let problem = trouble.problem();
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
        // The others know their remedy.
        _ => return Outcome::Failed(Fault::of(cause, problem)),
    };
    Outcome::failed(cause, problem.what, remedy)
}

/// A tenant's answer to the question whether the token is accepted, by the daemon's own verdict.
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
        Err(SourceTrouble::BrokenAnswer(words)) if cached(answer).is_some() => {
            answered_between(tenant, &words)
        }
        Err(SourceTrouble::BrokenAnswer(_)) if answer.status == 200 && !has_error(answer) => {
            not_a_console(answer, tenant)
        }
        Err(SourceTrouble::Misdirected(_)) if answer.status == 407 => {
            asks_for_password(answer, tenant)
        }
        Err(SourceTrouble::Misdirected(_)) => not_a_console(answer, tenant),
        Err(trouble) => try_later("SentinelOne", answer, is_passing(&trouble)),
    }
}

/// Whether the service asks for patience.
fn is_passing(trouble: &SourceTrouble) -> bool {
    matches!(trouble, SourceTrouble::Busy { .. })
}

/// Whether the body of a 200 reports an error.
fn has_error(answer: &Answer) -> bool {
    let body = serde_json::from_slice::<serde_json::Value>(&answer.body);
    body.is_ok_and(|body| body.get("errors").is_some_and(|errors| !errors.is_null()))
}

/// A rejection that does not say that the token is bad. `kind`: the stream; `None`: the token as a
/// whole.
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
                 > Users > Service Users){out}. Roles don't matter here"
            ),
        ),
        Refused::Address => address_refused(tenant, words),
    }
}

/// A device before the service rejects this machine's address.
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

fn asks_for_password(answer: &Answer, base: &str) -> Outcome {
    Outcome::failed(
        Cause::ProxyRefuses,
        format!("a proxy in front of {base} asks for a password ({})", status_line(answer)),
        format!(
            "Set network.proxy to that proxy, with user and password, or let it pass requests to \
             {base}"
        ),
    )
}

/// Something on the way to a console answered in its place.
fn answered_between(tenant: &str, words: &str) -> Outcome {
    Outcome::failed(
        Cause::AnsweredBetween,
        format!("something in front of {tenant} answered in its place ({words})"),
        format!(
            "Let requests to {tenant} pass the proxy or filter unchanged, and exempt it from \
             caching. The response is not the console's: leave streams and token as they are"
        ),
    )
}

/// The version of a console, if the answer contains one.
fn console_version(body: &[u8]) -> String {
    let info = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
    let version = ["release", "version"].into_iter().find_map(|name| info["data"][name].as_str());
    version.map_or_else(|| "of unknown version".to_owned(), |text| excerpt(text.as_bytes()))
}

fn not_a_console(answer: &Answer, tenant: &str) -> Outcome {
    let (cause, what) = match answer.status == 200 && is_html(answer) {
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
    let past = match is_html(answer) {
        true => {
            ". If it is that already, a proxy, filter or portal in between answers: let it pass this machine"
        }
        false => "",
    };
    Outcome::failed(
        cause,
        what.replace(", (", " ("),
        format!(
            "Set tenant to the address that the browser shows when you are logged in to the \
             console, like \
             https://usea1-acme.sentinelone.net{also}{past}"
        ),
    )
}

/// The answer of a tenant, whose token is accepted, to a request for one row of a stream, by the
/// daemon's own verdict.
pub fn stream(answer: &Answer, kind: Kind, tenant: &str) -> Outcome {
    if let Some(refusal) = refusal::of(answer) {
        return forbidden(&refusal.beside_a_good_token(), tenant, Some(kind));
    }
    match page_verdict(answer, false) {
        Err(SourceTrouble::Misdirected(_)) if answer.status == 407 => {
            asks_for_password(answer, tenant)
        }
        Ok(()) => match page::scan(&answer.body, kind) {
            Ok(_) => Outcome::Passed(format!("readable ({})", kind.permission())),
            Err(broken) => Outcome::failed(
                Cause::UnknownAnswer,
                format!("SentinelOne sent an unknown response (HTTP 200: {broken})"),
                "Try again; the daemon itself waits and retries",
            ),
        },
        // The console was there a moment ago, and refuses a query in JSON.
        Err(SourceTrouble::QueryRefused(_) | SourceTrouble::Misdirected(_))
            if refusal::api_error(answer).is_some() =>
        {
            Outcome::failed(
                Cause::QueryRefused,
                format!("SentinelOne rejects the query ({})", status_line(answer)),
                format!(
                    "This console may not offer {}; remove it from streams, or report this response",
                    kind.name()
                ),
            )
        }
        Err(
            SourceTrouble::QueryRefused(_)
            | SourceTrouble::Misdirected(_)
            | SourceTrouble::Forbidden(_),
        ) => answered_between(tenant, &status_line(answer)),
        Err(SourceTrouble::BrokenAnswer(words)) if answer.status == 200 => {
            answered_between(tenant, &words)
        }
        Err(trouble) => try_later("SentinelOne", answer, is_passing(&trouble)),
    }
}

/// When an accepted token expires. `now`: a time that this machine's clock or a second service
/// confirms.
pub fn token_end(end: Option<Stamp>, now: Option<Stamp>) -> Outcome {
    let Some(end) = end else {
        return Outcome::Skipped("neither the token nor SentinelOne says when it expires");
    };
    let Some(now) = now else {
        return Outcome::Passed(format!(
            "it expires on {}; no second clock confirms the time, so it is not known how soon that is",
            day(end)
        ));
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

/// Whether the answer to a batch comes from Coralogix' log endpoint, by the daemon's own verdict.
pub fn domain(answer: &Answer, base: &str) -> Outcome {
    match (verdict(answer, 0), answer.status) {
        (SinkVerdict::Misdirected(_), 407) => asks_for_password(answer, base),
        // 451 is about this machine's address: the step of the key says so.
        (SinkVerdict::Misdirected(_), status) if status != 451 => Outcome::failed(
            Cause::NotAnIngress,
            format!("{base} does not accept logs ({})", status_line(answer)),
            "Set coralogix.domain to the domain of your team (Settings > Domain), like \
             eu2.coralogix.com; it may differ from the one in the browser",
        ),
        _ => Outcome::Passed(format!("{base}{SINGLES_PATH} answers")),
    }
}

/// Coralogix' answer to an empty array, by the daemon's own verdict. Which status it gives for which
/// key is not published; 401 and 403 are read by their meaning in HTTP.
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
    match (verdict(answer, 0), answer.status) {
        (SinkVerdict::Accepted { .. } | SinkVerdict::InDoubt { .. }, _) => {
            Outcome::Passed("accepted: an empty array was accepted".to_owned())
        }
        (SinkVerdict::Malformed(_), 400 | 422) => Outcome::Passed(format!(
            "accepted: the key was accepted and only the empty array was not (HTTP {})",
            answer.status
        )),
        (SinkVerdict::KeyRefused(_), 401) => Outcome::failed(
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
        (SinkVerdict::KeyRefused(_), _) => Outcome::failed(
            Cause::KeyWrongKind,
            format!("Coralogix does not allow this key to send data ({})", status_line(answer)),
            format!(
                "Put an API key with the role preset SendData, a Send-Your-Data key (Settings > \
                 API Keys), into {origin}; {kind}"
            ),
        ),
        (SinkVerdict::Busy { .. } | SinkVerdict::Failed(_), _) => {
            try_later("Coralogix", answer, true)
        }
        _ => Outcome::failed(
            Cause::UnknownAnswer,
            format!("Coralogix sent an unknown response ({})", status_line(answer)),
            "Try again; if it lasts, ask Coralogix what this response means",
        ),
    }
}

/// The outcome, where a rejection is about this machine's address and not the key.
fn blocked(answer: &Answer) -> Option<Outcome> {
    let refusal = refusal::of(answer).filter(|refusal| refusal.what == Refused::Address)?;
    let is_blocked = is_blocked(answer) || answer.status == 451;
    is_blocked.then(|| address_refused("Coralogix", &refusal.words))
}

/// `is_passing`: the daemon's verdict takes the answer for something that passes. What a server says
/// that gave up passes too.
fn try_later(service: &str, answer: &Answer, is_passing: bool) -> Outcome {
    let (cause, what) = match is_passing || matches!(answer.status, 408 | 500..=599) {
        true => (Cause::Busy, "can't answer now"),
        false => (Cause::UnknownAnswer, "sent an unknown response"),
    };
    let wait = answer.retry_after.map_or_else(String::new, |span| format!(" in {span}"));
    let remedy = match answer.status {
        403 if !is_passing => format!(
            "Follow the message of {service}. It does not say that the credential is bad: leave that as it \
             is until its page in the console says so"
        ),
        _ => format!("Try again{wait}; the daemon itself waits and retries"),
    };
    Outcome::failed(cause, format!("{service} {what} ({})", status_line(answer)), remedy)
}

fn status_line(answer: &Answer) -> String {
    let is_redirect = (300..400).contains(&answer.status);
    match (is_redirect, answer.body.trim_ascii()) {
        (true, _) => redirected(answer),
        (false, []) => format!("HTTP {}", answer.status),
        (false, _) => describe(answer),
    }
}

/// The date of a time, without the time of day.
pub fn day(stamp: Stamp) -> String {
    let text = stamp.to_string();
    text.split_once('T').map_or(text.clone(), |(day, _)| day.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause_of(outcome: &Outcome) -> Option<Cause> {
        match outcome {
            Outcome::Noted(fault) | Outcome::Failed(fault) => Some(fault.cause),
            Outcome::Passed(_) | Outcome::Skipped(_) => None,
        }
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() }
    }

    #[test]
    fn each_way_to_have_no_answer_has_its_remedy() {
        for (cause, remedy) in [
            (Cause::NameNotResolved, "/etc/resolv.conf"),
            (Cause::NoRoute, "ip route"),
            (Cause::ConnectionRefused, "Check host and port of the tenant"),
            (Cause::ConnectTimeout, "open TCP connections to acme.test"),
            (Cause::ConnectFailed, "open TCP connections to acme.test"),
            (Cause::ProxyUnreachable, "Check host and port of network.proxy"),
            (Cause::NoAnswer, "raise network.timeout"),
            (Cause::ConnectionBroken, "firewall or proxy in front of acme.test"),
        ] {
            let steps = Steps { cause: Some(cause), ..Steps::default() };
            let trouble = NetTrouble::Connect("acme.test:443: no".to_owned());
            let told = no_answer(&trouble, &steps, "acme.test", "tenant");
            let Outcome::Failed(fault) = &told else { panic!("{told:?}") };
            assert!(fault.cause == cause && fault.remedy.contains(remedy), "{fault:?}");
        }
    }

    #[test]
    fn what_is_no_console_is_told_by_its_page_or_by_its_age() {
        let good = answer(200, r#"{"data":{"release":"x"}}"#);
        let old = Answer { age: Some(Span::hours(24)), ..good.clone() };
        let page = "<html>hi";
        for (answer, cause) in [
            (good, None),
            (old, Some(Cause::AnsweredBetween)),
            (answer(200, page), Some(Cause::LoginPage)),
            (answer(200, "hi"), Some(Cause::NotAConsole)),
            (answer(404, page), Some(Cause::NotAConsole)),
            (answer(404, ""), Some(Cause::NotAConsole)),
        ] {
            assert_eq!(cause_of(&info(&answer, "acme.test", "file")), cause, "{answer:?}");
        }
    }

    #[test]
    fn a_token_is_told_of_a_month_before_it_ends() {
        let now = Stamp::parse("2026-11-03T00:00:00Z").unwrap();
        let month = Span::hours(24 * 30);
        for (end, begin) in [
            (now - Span::seconds(1), Some("it expired 1s ago")),
            (now, Some("it expired ")),
            (now + Span::seconds(1), Some("it expires on ")),
            (now + Span::hours(100), Some("it expires on ")),
            (now + month, Some("it expires on ")),
            (now + month + Span::seconds(1), None),
        ] {
            let told = token_end(Some(end), Some(now));
            match (&told, begin) {
                (Outcome::Noted(fault), Some(begin)) => {
                    assert!(fault.what.starts_with(begin), "{end} {fault:?}");
                }
                (Outcome::Passed(_), None) => {}
                _ => panic!("{end} {told:?}"),
            }
        }
    }

    #[test]
    fn an_address_that_is_refused_is_no_wrong_domain_and_no_wrong_key() {
        assert!(matches!(domain(&answer(451, ""), "https://c"), Outcome::Passed(_)));
        assert_eq!(cause_of(&domain(&answer(404, ""), "https://c")), Some(Cause::NotAnIngress));
        let secret = Secret::new("cxtp_made_up").unwrap();
        let dead = r#"{"errors":[{"code":4010010,"detail":null,"title":"Authentication Failed"}]}"#;
        for (answer, cause) in [
            (answer(451, ""), Cause::AddressRefused),
            (answer(401, "<html>Your IP address is not allowed"), Cause::AddressRefused),
            (answer(403, "<html>Access denied"), Cause::AddressRefused),
            (answer(401, ""), Cause::KeyUnknown),
            (answer(401, dead), Cause::KeyUnknown),
            (answer(403, ""), Cause::KeyWrongKind),
        ] {
            assert_eq!(cause_of(&key(&answer, &secret, "file")), Some(cause), "{answer:?}");
        }
    }
}
