//! What an answer, or none, means for a person: the judgements behind the steps of `check`.
//!
//! Promises: an answer that was not foreseen never passes. Never: IO.

use super::cause::Cause;
use super::clock::{self, Verdict};
use super::dial::Steps;
use super::real::SINGLES_PATH;
use super::step::{Outcome, what_and_remedy};
use crate::answer::{excerpt, retry_after};
use crate::limits::TOKEN_END_WARN_DAYS;
use crate::record::{Answer, Kind, NetTrouble};
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
        NetTrouble::Timeout => Cause::NoAnswer,
        NetTrouble::Broken(_) | NetTrouble::TooLong | NetTrouble::Endless(_) => {
            Cause::ConnectionBroken
        }
        NetTrouble::Secret(_) => Cause::SecretUnreadable,
    });
    let remedy = match cause {
        Cause::NameNotResolved => format!(
            "Check the {setting} in the config for a typing error, and whether this machine can \
             resolve names (/etc/resolv.conf)"
        ),
        Cause::NoRoute => format!(
            "Give this machine a way to {host} (ip route), or give the proxy that leads there as \
             network.proxy"
        ),
        Cause::ConnectionRefused => format!(
            "Check host and port of the {setting} in the config; a firewall that rejects answers \
             the same"
        ),
        Cause::ConnectTimeout | Cause::ConnectFailed => format!(
            "Let this machine open TCP connections to {host} (firewall), or give the proxy that \
             leads there as network.proxy"
        ),
        Cause::ProxyUnreachable => {
            "Check host and port of network.proxy (or of HTTPS_PROXY), and whether the proxy runs"
                .to_owned()
        }
        Cause::NoAnswer => "Try again; if the line is slow, raise network.timeout".to_owned(),
        Cause::ConnectionBroken => {
            format!("Try again; if it lasts, look for a firewall or proxy before {host}")
        }
        // The others bring their own.
        _ => {
            let (what, remedy) = what_and_remedy(&text);
            return Outcome::failed(cause, what, remedy);
        }
    };
    Outcome::failed(cause, text, remedy)
}

/// The clocks need not agree: the collector goes by the services' clocks (P8). But a person
/// should know.
pub fn compare_clocks(answer: &Answer) -> Outcome {
    let Some(theirs) = told(answer) else {
        return Outcome::Skipped("the answer has no Date");
    };
    let (by, way) = match Verdict::of(clock::local(), theirs) {
        Verdict::Ahead(span) => (span, "ahead of"),
        Verdict::Behind(span) => (span, "behind"),
        _ => {
            return Outcome::Passed("this machine's clock agrees with the service's".to_owned());
        }
    };
    Outcome::noted(
        Cause::ClockOff,
        format!("this machine's clock is {by} {way} the service's"),
        "Set the clock (NTP). Records keep their own times, but certificates are judged by it",
    )
}

/// The time a service told.
pub fn told(answer: &Answer) -> Option<Stamp> {
    answer.date.as_deref().and_then(Stamp::parse_http_date)
}

/// What a tenant said to the question whether the token is alive.
pub fn info(answer: &Answer, tenant: &str, origin: &str) -> Outcome {
    match answer.status {
        200 => match console_version(&answer.body) {
            Some(version) => Outcome::Passed(format!("accepted, console {version}")),
            None => not_a_console(answer, tenant),
        },
        401 | 403 => Outcome::failed(
            Cause::TokenRefused,
            format!("SentinelOne does not accept the token ({})", status_line(answer)),
            format!(
                "In the console (Settings > Users > Service Users) generate a new API token for \
                 the service user, which ends the old one at once, and put it into {origin}"
            ),
        ),
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
    let html = answer.content_type.as_deref().is_some_and(|kind| kind.starts_with("text/html"))
        || answer.body.trim_ascii_start().starts_with(b"<");
    let (cause, what) = match answer.status == 200 && html {
        true => (Cause::LoginPage, "answers with a web page, as a login page or a portal does,"),
        false => (Cause::NotAConsole, "does not answer as a SentinelOne console"),
    };
    let what = format!("{tenant} {what} ({})", status_line(answer));
    Outcome::failed(
        cause,
        what.replace(", (", " ("),
        "Set tenant to the address that the browser shows once you are in the console, like \
         https://usea1-acme.sentinelone.net",
    )
}

/// What a tenant said when it was asked for one row of a stream.
pub fn stream(answer: &Answer, kind: Kind) -> Outcome {
    let permission = kind.permission();
    match answer.status {
        200 if is_page(&answer.body) => Outcome::Passed(format!("may be read ({permission})")),
        401 | 403 => Outcome::failed(
            Cause::PermissionMissing,
            format!("the permission \"{permission}\" is missing ({})", status_line(answer)),
            format!(
                "Add \"{permission}\" to the role of the service user (Settings > Users > Roles), \
                 or take \"{}\" out of streams",
                kind.name()
            ),
        ),
        400 | 404 => Outcome::failed(
            Cause::QueryRefused,
            format!("SentinelOne refuses the query ({})", status_line(answer)),
            format!(
                "This console may not offer {}; take it out of streams, or report this answer",
                kind.name()
            ),
        ),
        _ => try_later("SentinelOne", answer),
    }
}

/// `data` may be null: some consoles say an empty page so.
fn is_page(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|page| page.get("data").is_some())
}

/// When a token that was accepted ends. `now`: the service's clock where it told one.
pub fn token_end(end: Option<Stamp>, now: Stamp) -> Outcome {
    let Some(end) = end else {
        return Outcome::Skipped("neither the token nor SentinelOne tells when it ends");
    };
    let left = end.since(now);
    let text = match left {
        // It was accepted a moment ago.
        Span::ZERO => format!("it ends now, at {}", end.to_the_second()),
        _ => format!("it ends on {}, in {left}", day(end)),
    };
    if left > Span::hours(24 * TOKEN_END_WARN_DAYS) {
        return Outcome::Passed(text);
    }
    Outcome::noted(
        Cause::TokenEndsSoon,
        text,
        "Generate a new one before then and put it into the same place; no restart is needed",
    )
}

/// Whether an answer to a batch comes from Coralogix' place for logs.
pub fn domain(answer: &Answer, base: &str) -> Outcome {
    match answer.status {
        300..=399 | 404 | 405 | 410 => Outcome::failed(
            Cause::NotAnIngress,
            format!("{base} has no place for logs ({})", status_line(answer)),
            "Set coralogix.domain to the domain of your team (Settings > Domain), like \
             eu2.coralogix.com; it is not always the one in the browser",
        ),
        _ => Outcome::Passed(format!("{base}{SINGLES_PATH} answers")),
    }
}

/// What Coralogix said to an empty array. Which status it gives for which key is not published;
/// 401 and 403 are told apart by what they mean everywhere.
pub fn key(answer: &Answer, key: &Secret, origin: &str) -> Outcome {
    let kind = match key.reveal().starts_with("cxtp_") {
        true => "this one begins as personal keys do",
        false => "personal keys and keys for queries are refused",
    };
    match answer.status {
        200..=299 => Outcome::Passed("accepted: an empty array was taken".to_owned()),
        400 | 422 => Outcome::Passed(format!(
            "accepted: the key was taken and only the empty array was not (HTTP {})",
            answer.status
        )),
        401 => Outcome::failed(
            Cause::KeyUnknown,
            format!("Coralogix does not know the key here ({})", status_line(answer)),
            format!(
                "Put a Send-Your-Data API key (Settings > API Keys) of this team into {origin}, and \
                 see that coralogix.domain is the domain of the same team: a key is known in its \
                 own region only; {kind}"
            ),
        ),
        403 => Outcome::failed(
            Cause::KeyWrongKind,
            format!("Coralogix does not let this key send data ({})", status_line(answer)),
            format!(
                "Put an API key with the role preset SendData, a Send-Your-Data key (Settings > \
                 API Keys), into {origin}; {kind}"
            ),
        ),
        408 | 429 | 500..=599 => try_later("Coralogix", answer),
        _ => Outcome::failed(
            Cause::UnknownAnswer,
            format!("Coralogix gave an unknown answer ({})", status_line(answer)),
            "Try again; if it lasts, ask Coralogix what this answer means",
        ),
    }
}

fn try_later(service: &str, answer: &Answer) -> Outcome {
    let (cause, what) = match answer.status {
        408 | 429 | 500..=599 => (Cause::Busy, "can't answer now"),
        _ => (Cause::UnknownAnswer, "gave an unknown answer"),
    };
    let wait = retry_after(answer).map_or_else(String::new, |span| format!(" in {span}"));
    Outcome::failed(
        cause,
        format!("{service} {what} ({})", status_line(answer)),
        format!("Try again{wait}; the collector itself waits and goes on"),
    )
}

fn status_line(answer: &Answer) -> String {
    let words = excerpt(&answer.body);
    match words.is_empty() {
        true => format!("HTTP {}", answer.status),
        false => format!("HTTP {}: {words}", answer.status),
    }
}

/// The day of a time.
pub fn day(stamp: Stamp) -> String {
    let text = stamp.to_string();
    text.split_once('T').map_or(text.clone(), |(day, _)| day.to_owned())
}
