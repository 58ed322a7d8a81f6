//! What an answer of Coralogix asks for.
//!
//! ```text
//!   200, 201, 202, 204  a body that can't be Coralogix'   Misdirected
//!                       says that some was not taken      InDoubt
//!                       anything else                     Accepted
//!   other 2xx                                             Misdirected
//!   413                                                   TooLarge
//!   403                 with Retry-After                  Busy
//!   401, 403            a web page, or about the address  Blocked
//!                       anything else                     KeyRefused
//!   402, 425, 429                                         Busy
//!   3xx, 404, 405, 407, 410, 421, 451                     Misdirected
//!   501, 505            a web page                        Misdirected
//!   511                                                   Misdirected
//!   other 4xx but 408   a web page                        Misdirected
//!                       anything else                     Malformed
//!   anything else       with Retry-After                  Busy
//!                       without                           Failed
//! ```
//!
//! Promises: every status has a verdict; `Accepted` needs one of four statuses and a body that can be
//! Coralogix' (keeps P1). A 2xx is a claim of whoever answers: a web page, a body without end and a
//! status that no ingress gives come from something in between. Never: takes a body that was not
//! seen before for a refusal, for none is documented; it is logged and counted.

use super::taken::not_taken;
use crate::answer::{begins_with_a_tag, excerpt};
use crate::blocked::is_of_address;
use crate::limits;
use crate::record::{Answer, KeyTrial, SinkVerdict};

/// `entries`: how many the batch had that is answered.
pub fn verdict(answer: &Answer, entries: u64) -> SinkVerdict {
    let why = || describe(answer);
    match answer.status {
        200..=299 => success(answer, entries),
        413 => SinkVerdict::TooLarge(why()),
        // Who names a time to come back at refuses neither the key nor the content (keeps P6).
        403 if answer.retry_after.is_some() => {
            SinkVerdict::Busy { retry_after: answer.retry_after, why: why() }
        }
        401 | 403 if is_blocked(answer) => SinkVerdict::Blocked(why()),
        401 | 403 => SinkVerdict::KeyRefused(why()),
        // 402: an account's matter, which passes; no record is to blame.
        402 | 425 | 429 => SinkVerdict::Busy { retry_after: answer.retry_after, why: why() },
        // A redirect is never followed: the key would go with it (keeps P7). 407 and 421 are a
        // proxy's or a gateway's, and 410 and 451 an address's; none of them is about a record.
        300..=399 | 404 | 405 | 407 | 410 | 421 | 451 => SinkVerdict::Misdirected(why()),
        // Something in between refuses the content or everything; an empty array tells which.
        400..=499 if not_coralogix(answer).is_some() => SinkVerdict::Misdirected(why()),
        // The content is refused; halving finds the record at fault.
        400..=499 if answer.status != 408 => SinkVerdict::Malformed(why()),
        // A web server that knows no POST, or a portal that asks for a login.
        501 | 505 if is_web_page(answer) => SinkVerdict::Misdirected(why()),
        511 => SinkVerdict::Misdirected(why()),
        _ if answer.retry_after.is_some() => {
            SinkVerdict::Busy { retry_after: answer.retry_after, why: why() }
        }
        // 408, 5xx, and what is no HTTP status at all: a server or a gateway gave up, perhaps on
        // this very batch.
        _ => SinkVerdict::Failed(why()),
    }
}

fn success(answer: &Answer, entries: u64) -> SinkVerdict {
    if let Some(why) = not_coralogix(answer) {
        return SinkVerdict::Misdirected(format!("{why} ({})", describe(answer)));
    }
    match not_taken(&answer.body, entries) {
        Some(not_taken) => SinkVerdict::InDoubt { words: describe(answer), count: not_taken.count },
        None => SinkVerdict::Accepted { remark: remark(answer) },
    }
}

const WEB_PAGE: Option<&str> =
    Some("a web page: a proxy, a filter or another web server answers, not Coralogix");

/// Why a 2xx, or a 4xx that would be about the content, can't be Coralogix', and who seems to answer;
/// `None`: it can, or the status alone says what is to be done.
pub fn not_coralogix(answer: &Answer) -> Option<&'static str> {
    match answer.status {
        401..=405 | 407 | 408 | 410 | 421 | 425 | 429 | 451 => None,
        400..=499 => WEB_PAGE.filter(|_| is_web_page(answer)),
        0..=199 | 300.. => None,
        203 => Some("a proxy answers that changes answers, not Coralogix"),
        status if !matches!(status, 200 | 201 | 202 | 204) => {
            Some("another kind of server answers, not Coralogix")
        }
        _ if is_web_page(answer) => WEB_PAGE,
        _ if answer.body.len() as u64 > limits::SINK_ANSWER_BYTES_MAX => {
            Some("an answer longer than Coralogix gives: another server answers, not Coralogix")
        }
        _ if is_of_another_type(answer) => Some(
            "an answer of another type than JSON or text: another server answers, not Coralogix",
        ),
        _ if !is_text(&answer.body) => {
            Some("bytes that are no text: a proxy or another server answers, not Coralogix")
        }
        _ => None,
    }
}

/// Whether a refusal is not about the key: something in between shows a page, or speaks of where the
/// request comes from. What answers in another form, or without a word, may be Coralogix.
pub fn is_blocked(answer: &Answer) -> bool {
    matches!(answer.status, 401 | 403) && (is_web_page(answer) || is_of_address(answer))
}

/// Whether an answer is made for a browser. No ingress sends one, with any status.
pub fn is_web_page(answer: &Answer) -> bool {
    let kind = kind(answer);
    let is_of_the_web = ["image/", "video/", "audio/", "font/", "text/css"]
        .iter()
        .any(|prefix| kind.starts_with(prefix));
    is_of_the_web
        || ["html", "xml", "javascript"].iter().any(|word| kind.contains(word))
        || begins_with_a_tag(&answer.body)
}

fn kind(answer: &Answer) -> String {
    answer.content_type.as_deref().unwrap_or("").trim_ascii().to_ascii_lowercase()
}

/// Whether it calls itself something else than JSON or text. gRPC tells of a failure beside an empty
/// body; of other types an empty body says nothing that could be misread.
fn is_of_another_type(answer: &Answer) -> bool {
    let kind = kind(answer);
    let is_usual = kind.is_empty() || kind.contains("json") || kind.starts_with("text/plain");
    !is_usual && (!answer.body.is_empty() || kind.contains("grpc"))
}

/// Whether a person could read it: bytes that were compressed, or are of another encoding than UTF-8,
/// may say anything.
fn is_text(body: &[u8]) -> bool {
    let is_control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    std::str::from_utf8(body).is_ok_and(|text| !text.contains(is_control))
}

/// What the answers to an empty array say of the key; it is posted with the key and, only where that
/// was taken, with one that nobody issued. `is_checked` asks whether that one is refused. Whatever
/// else becomes of a key that nobody issued says nothing of the sink.
pub fn key_trial(own: SinkVerdict, is_checked: impl FnOnce() -> bool) -> KeyTrial {
    if !takes_empty(&own) {
        return match own {
            own if own.is_of_the_key() => KeyTrial::Refused(own),
            other => KeyTrial::Failed(unknown(other)),
        };
    }
    match own {
        _ if is_checked() => KeyTrial::Good,
        SinkVerdict::Malformed(_) => KeyTrial::Unproven(own),
        _ => KeyTrial::Unchecked,
    }
}

/// Who finds an empty array too large takes nothing, and no ingress does so.
fn unknown(verdict: SinkVerdict) -> SinkVerdict {
    match verdict {
        SinkVerdict::TooLarge(why) => SinkVerdict::Misdirected(why),
        other => other,
    }
}

/// Whether this answer to an empty array shows that the key was let by: it may still dislike that
/// the array is empty.
fn takes_empty(verdict: &SinkVerdict) -> bool {
    use SinkVerdict::{Accepted, InDoubt, Malformed};
    matches!(verdict, Accepted { .. } | InDoubt { .. } | Malformed(_))
}

/// What a 2xx says beyond yes, for a person to read.
fn remark(answer: &Answer) -> Option<String> {
    let body = answer.body.trim_ascii();
    let usual = body.is_empty()
        || body == b"{}"
        || body == b"[]"
        || body == b"null"
        || body.eq_ignore_ascii_case(b"ok")
        || body.eq_ignore_ascii_case(b"\"ok\"");
    (!usual).then(|| excerpt(body))
}

fn describe(answer: &Answer) -> String {
    let words = excerpt(&answer.body);
    if words.is_empty() {
        format!("HTTP {}", answer.status)
    } else {
        format!("HTTP {}: {words}", answer.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() }
    }

    fn of_kind(kind: &str, status: u16, body: &str) -> Answer {
        Answer { content_type: Some(kind.to_owned()), ..answer(status, body) }
    }

    fn bytes(body: &[u8]) -> Answer {
        Answer { status: 200, body: body.to_vec(), ..Answer::default() }
    }

    #[test]
    fn every_answer_has_a_verdict() {
        use SinkVerdict::*;
        let accepted = |remark: Option<&str>| Accepted { remark: remark.map(str::to_owned) };
        for (status, body, expected) in [
            (200, "", accepted(None)),
            (200, " {} \n", accepted(None)),
            (204, "OK", accepted(None)),
            (202, "\"ok\"", accepted(None)),
            (201, "thank you", accepted(Some("thank you"))),
            (
                200,
                "2 logs\nwere dropped",
                InDoubt { words: "HTTP 200: 2 logs were dropped".into(), count: Some(2) },
            ),
            (413, "", TooLarge("HTTP 413".into())),
            (400, "bad\x07", Malformed("HTTP 400: bad".into())),
            (400, "<html>", Misdirected("HTTP 400: <html>".into())),
            (411, " <!DOCTYPE html>", Misdirected("HTTP 411: <!DOCTYPE html>".into())),
            (422, "<html>", Misdirected("HTTP 422: <html>".into())),
            // A batch can really be too large for what stands between; halving loses nothing.
            (413, "<html>", TooLarge("HTTP 413: <html>".into())),
            (429, "<html>", Busy { retry_after: None, why: "HTTP 429: <html>".into() }),
            (415, "", Malformed("HTTP 415".into())),
            (422, "", Malformed("HTTP 422".into())),
            (401, "", KeyRefused("HTTP 401".into())),
            (401, "<html>", Blocked("HTTP 401: <html>".into())),
            (403, "{}", KeyRefused("HTTP 403: {}".into())),
            (403, "<html>", Blocked("HTTP 403: <html>".into())),
            (403, "IP not allowed", Blocked("HTTP 403: IP not allowed".into())),
            (401, "blocked by WAF", Blocked("HTTP 401: blocked by WAF".into())),
            (403, "API key blocked", KeyRefused("HTTP 403: API key blocked".into())),
            (301, "", Misdirected("HTTP 301".into())),
            (404, "", Misdirected("HTTP 404".into())),
            (405, "", Misdirected("HTTP 405".into())),
            (402, "", Busy { retry_after: None, why: "HTTP 402".into() }),
            (408, "", Failed("HTTP 408".into())),
            (429, "slow", Busy { retry_after: None, why: "HTTP 429: slow".into() }),
            (500, "", Failed("HTTP 500".into())),
            (503, "", Failed("HTTP 503".into())),
            (599, "", Failed("HTTP 599".into())),
        ] {
            assert_eq!(verdict(&answer(status, body), 300), expected);
        }
    }

    #[test]
    fn only_four_statuses_can_accept() {
        for status in 0..=999 {
            let accepted =
                matches!(verdict(&answer(status, ""), 300), SinkVerdict::Accepted { .. });
            assert_eq!(accepted, matches!(status, 200 | 201 | 202 | 204), "{status}");
        }
    }

    #[test]
    fn what_is_not_made_by_an_ingress_accepts_nothing() {
        let long = "x".repeat(limits::SINK_ANSWER_BYTES_MAX as usize + 1);
        for (answer, who) in [
            (answer(203, ""), "a proxy answers"),
            (answer(206, ""), "another kind of server"),
            (answer(226, ""), "another kind of server"),
            (answer(299, ""), "another kind of server"),
            (of_kind("text/html", 200, ""), "a web page"),
            (of_kind(" Text/HTML; charset=utf-8", 200, "ok"), "a web page"),
            (of_kind("application/xhtml+xml", 201, ""), "a web page"),
            (of_kind("text/xml", 200, ""), "a web page"),
            (of_kind("image/gif", 200, "GIF89a"), "a web page"),
            (of_kind("application/grpc", 200, ""), "another type"),
            (of_kind("application/grpc+proto", 200, "x"), "another type"),
            (of_kind("application/octet-stream", 200, "OK"), "another type"),
            (of_kind("text/css+x", 200, "ok"), "a web page"),
            (of_kind("multipart/mixed", 202, "ok"), "another type"),
            (answer(200, "\n\u{feff}<html>"), "a web page"),
            (answer(200, "\0\0<html>"), "a web page"),
            (bytes(b"\xff\xfe<\0h\0t\0m\0l\0>\0"), "a web page"),
            (bytes(b"\xfe\xff\0<\0h\0t\0m\0l\0>"), "a web page"),
            (bytes(b"\xff\xfeo\0k\0"), "bytes that are no text"),
            (bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\x03"), "bytes that are no text"),
            (bytes(b"\x78\x9c\xcb\x4f"), "bytes that are no text"),
            (bytes(b"\x0b\x02\x80{}\x03"), "bytes that are no text"),
            (of_kind("application/json", 200, "\n <!doctype html>"), "a web page"),
            (answer(200, "\u{feff}<html>Welcome to nginx!</html>"), "a web page"),
            (answer(200, &long), "longer than Coralogix gives"),
        ] {
            let SinkVerdict::Misdirected(words) = verdict(&answer, 300) else {
                panic!("{:?}", verdict(&answer, 300))
            };
            assert!(words.contains(who) && words.contains("not Coralogix"), "{words}");
            assert!(words.contains(&format!("HTTP {}", answer.status)), "{words}");
        }
        for (kind, body) in [
            ("application/json", "{}"),
            ("Application/JSON; charset=utf-8", "{}"),
            ("application/x-ndjson", "{}\n"),
            ("application/problem+json", "{}"),
            ("text/plain", "OK"),
            ("text/plain;charset=UTF-8", "300 accept\u{e9}s\r\n"),
            ("application/octet-stream", ""),
            ("", "a < b"),
        ] {
            let verdict = verdict(&of_kind(kind, 200, body), 300);
            assert!(matches!(verdict, SinkVerdict::Accepted { .. }), "{kind}: {verdict:?}");
        }
    }

    #[test]
    fn an_empty_array_tells_the_key_from_the_content() {
        use SinkVerdict::*;
        let taken = || Accepted { remark: None };
        let disliked = || Malformed("HTTP 400".into());
        let refused = || KeyRefused("HTTP 403".into());
        let busy = || Busy { retry_after: None, why: "HTTP 503".into() };
        for (own, made_up, expected) in [
            (taken(), refused(), KeyTrial::Good),
            (disliked(), refused(), KeyTrial::Good),
            (taken(), Blocked("HTTP 403".into()), KeyTrial::Good),
            (taken(), taken(), KeyTrial::Unchecked),
            (disliked(), disliked(), KeyTrial::Unproven(disliked())),
            (disliked(), busy(), KeyTrial::Unproven(disliked())),
            (taken(), disliked(), KeyTrial::Unchecked),
            (taken(), busy(), KeyTrial::Unchecked),
            (
                taken(),
                Unreachable(crate::record::NetTrouble::Broken("reset".into())),
                KeyTrial::Unchecked,
            ),
            (refused(), taken(), KeyTrial::Refused(refused())),
            (Blocked("x".into()), taken(), KeyTrial::Refused(Blocked("x".into()))),
            (busy(), refused(), KeyTrial::Failed(busy())),
        ] {
            assert_eq!(key_trial(own, || made_up.is_of_the_key()), expected);
        }
        key_trial(refused(), || panic!("a refused key needs no second question"));
    }

    #[test]
    fn a_web_page_to_an_empty_array_is_no_sign_of_life() {
        for status in [400, 411, 413, 418, 422] {
            let page = || verdict(&of_kind("text/html", status, "<html>"), 0);
            let trial = key_trial(page(), || panic!("{status}: it was not taken"));
            assert!(matches!(trial, KeyTrial::Failed(SinkVerdict::Misdirected(_))), "{trial:?}");
            assert!(not_coralogix(&answer(status, "<html>")).is_some(), "{status}");
            assert!(not_coralogix(&answer(status, "{}")).is_none(), "{status}");
        }
    }

    #[test]
    fn a_wish_to_wait_is_heard() {
        let asked = Answer { retry_after: Some(Span::seconds(9)), ..answer(429, "") };
        let retry_after = Some(Span::seconds(9));
        assert_eq!(verdict(&asked, 300), SinkVerdict::Busy { retry_after, why: "HTTP 429".into() });
        let forbidden = Answer { status: 403, ..asked };
        assert_eq!(
            verdict(&forbidden, 300),
            SinkVerdict::Busy { retry_after, why: "HTTP 403".into() }
        );
    }
}
