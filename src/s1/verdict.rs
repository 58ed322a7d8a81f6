//! What follows from an answer of SentinelOne.
//!
//! ```text
//!   200                 JSON                      Ok: the body may be scanned
//!   200                 a web page                BrokenAnswer
//!   200                 older than a minute       BrokenAnswer: a cache repeats it
//!   400, 414, 431       to a page                 QueryRefused: the cursor's, where there was one, or a
//!                                                 row's, as its twin shows (`core::twin`)
//!   the same            a web page, no cursor     Forbidden: a proxy's word is none on the query
//!   401, 403, 451       by `refusal`              Forbidden (permission, scope, address), or the token:
//!                                                 TokenRefused of /system/info, TokenDoubted of a page
//!   401, 403            asking for patience       Busy
//!   429                                           Busy
//!   5xx                 with Retry-After          Busy
//!   3xx, 404, 405, 407, 410, 511                  Misdirected
//!   501, 505            a web page                Misdirected
//!   anything else       also 5xx without it, or   BrokenAnswer
//!                       a 403 in unknown words
//! ```
//!
//! Promises: one pure function of status, headers and body; every status has a verdict, and it
//! contains the service's own words. Never: takes HTML for a page, or decides by the words of an
//! error, except for what a rejection is about (`refusal`).

use crate::answer::{cached, is_html, redirect_host};
use crate::record::{Answer, Refused, SourceTrouble};
use crate::s1::{refusal, words};

/// Whether the body of an answer to a page's request may be scanned.
pub fn page_verdict(answer: &Answer, had_cursor: bool) -> Result<(), SourceTrouble> {
    // 414 and 431: the request was too long, as a cursor may be.
    if [400, 414, 431].contains(&answer.status) {
        // Of a cursor a web page is believed: what it costs is another way of walking.
        if is_html(answer) && !had_cursor {
            return Err(SourceTrouble::Forbidden(refusal::by_another(answer)));
        }
        let asked = if had_cursor { "the cursor was refused" } else { "the query was refused" };
        let words = words::of_body(&answer.body);
        return Err(SourceTrouble::QueryRefused(format!("{asked}: {words}")));
    }
    // Not final: SentinelOne also sends 401 if a permission is missing.
    verdict(answer, SourceTrouble::TokenDoubted)
}

/// What `GET /system/info` shows of the token: `Ok` means that it is accepted.
pub fn info_verdict(answer: &Answer) -> Result<(), SourceTrouble> {
    verdict(answer, SourceTrouble::TokenRefused)?;
    words::check(&answer.body)
        .map_err(|why| SourceTrouble::BrokenAnswer(format!("HTTP 200: {why}")))
}

/// The status and the service's own words, for people.
pub fn describe(answer: &Answer) -> String {
    told_as(answer, "")
}

fn told_as(answer: &Answer, what: &str) -> String {
    format!("HTTP {}{what}: {}", answer.status, words::of_body(&answer.body))
}

fn verdict(
    answer: &Answer,
    token: impl FnOnce(String) -> SourceTrouble,
) -> Result<(), SourceTrouble> {
    if let Some(refusal) = refusal::of(answer) {
        return Err(match refusal.what {
            Refused::Token => token(refusal.words),
            _ => SourceTrouble::Forbidden(refusal),
        });
    }
    match answer.status {
        200 if is_html(answer) => {
            Err(SourceTrouble::BrokenAnswer(told_as(answer, " with a web page instead of JSON")))
        }
        200 => match cached(answer) {
            // Taken for the present, it would say "up to date" for as long as it is repeated.
            Some(age) => Err(SourceTrouble::BrokenAnswer(format!(
                "HTTP 200, {age} old: a cache in between answered; exempt the host from caching"
            ))),
            None => Ok(()),
        },
        401 | 403 if refusal::is_passing(answer) => {
            Err(SourceTrouble::Busy { retry_after: answer.retry_after, why: describe(answer) })
        }
        // A web server that is no console, or a portal that asks for a login.
        501 | 505 if is_html(answer) => Err(SourceTrouble::Misdirected(describe(answer))),
        511 => Err(SourceTrouble::Misdirected(describe(answer))),
        // Any error with a time to come back is a rate limit (keeps P6).
        429 | 500..=599 if answer.status == 429 || answer.retry_after.is_some() => {
            Err(SourceTrouble::Busy { retry_after: answer.retry_after, why: describe(answer) })
        }
        // Never followed: the token would be sent to the new address (keeps P7).
        300..=399 => Err(SourceTrouble::Misdirected(redirected(answer))),
        407 => Err(SourceTrouble::Misdirected(told_as(
            answer,
            ", a proxy asks for a password (network.proxy)",
        ))),
        404 | 405 | 410 => Err(SourceTrouble::Misdirected(describe(answer))),
        _ => Err(SourceTrouble::BrokenAnswer(describe(answer))),
    }
}

/// A redirect and its target, for people.
pub fn redirected(answer: &Answer) -> String {
    let to = redirect_host(answer).map_or_else(String::new, |host| format!(" to {host}"));
    told_as(answer, &format!(", a redirect{to}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Refusal;
    use crate::time::Span;

    fn answer(status: u16, content_type: Option<&str>, body: &str) -> Answer {
        Answer {
            status,
            content_type: content_type.map(str::to_owned),
            body: body.as_bytes().to_vec(),
            ..Answer::default()
        }
    }

    const JSON: Option<&str> = Some("application/json");
    const HTML: Option<&str> = Some("text/html; charset=utf-8");
    const CURSOR_REFUSED: &str = r#"{"errors":[{"code":4000010,"detail":"Invalid cursor value received","title":"Validation Error"}]}"#;

    #[test]
    fn every_answer_to_a_page_has_a_verdict() {
        use SourceTrouble::*;
        let too_many = "<html>\r\n<head><title>429 Too Many Requests</title></head></html>";
        let shown = too_many.replace("\r\n", " ");
        for (status, content_type, body, verdict) in [
            (200, JSON, "{\"data\":[]}", Ok(())),
            (200, None, "{\"data\":[]}", Ok(())),
            (
                200,
                HTML,
                "<html>sign in",
                Err(BrokenAnswer("HTTP 200 with a web page instead of JSON: <html>sign in".into())),
            ),
            (
                200,
                JSON,
                " \n<!DOCTYPE html>",
                Err(BrokenAnswer("HTTP 200 with a web page instead of JSON: <!DOCTYPE html>".into())),
            ),
            (
                400,
                JSON,
                CURSOR_REFUSED,
                Err(QueryRefused(
                    "the cursor was refused: Validation Error (4000010): Invalid cursor value received"
                        .into(),
                )),
            ),
            (
                401,
                JSON,
                r#"{"errors":[{"code":4010010}]}"#,
                Err(TokenDoubted("HTTP 401: (4010010)".into())),
            ),
            (
                403,
                JSON,
                r#"{"errors":[{"code":4030010,"detail":null}]}"#,
                forbidden(Refused::Permission, "HTTP 403: (4030010)"),
            ),
            (401, HTML, "<p>no", forbidden(Refused::Address, "HTTP 401: no")),
            (
                404,
                None,
                "404 page not found",
                Err(Misdirected("HTTP 404: 404 page not found".into())),
            ),
            (302, None, "", Err(Misdirected("HTTP 302, a redirect: (empty body)".into()))),
            (
                429,
                HTML,
                too_many,
                Err(Busy { retry_after: None, why: format!("HTTP 429: {shown}") }),
            ),
            (503, HTML, too_many, Err(BrokenAnswer(format!("HTTP 503: {shown}")))),
            (500, JSON, r#"{"status":500}"#, Err(BrokenAnswer("HTTP 500: {\"status\":500}".into()))),
            (
                501,
                JSON,
                r#"{"errors":[{"code":5010010,"detail":null,"title":"Not supported"}]}"#,
                Err(BrokenAnswer("HTTP 501: Not supported (5010010)".into())),
            ),
            (502, None, "Bad Gateway", Err(BrokenAnswer("HTTP 502: Bad Gateway".into()))),
            (204, None, "", Err(BrokenAnswer("HTTP 204: (empty body)".into()))),
            (418, None, "tea", Err(BrokenAnswer("HTTP 418: tea".into()))),
        ] {
            assert_eq!(page_verdict(&answer(status, content_type, body), true), verdict);
        }
    }

    #[test]
    fn a_refused_query_without_a_cursor_is_the_querys() {
        assert!(matches!(
            page_verdict(&answer(400, JSON, CURSOR_REFUSED), false),
            Err(SourceTrouble::QueryRefused(text)) if text.starts_with("the query was refused: Validation")
        ));
    }

    #[test]
    fn a_web_page_is_no_word_on_the_query() {
        for status in [400, 414, 431] {
            let page = answer(status, HTML, "<p>blocked</p>");
            let words = format!("HTTP {status}: blocked");
            assert_eq!(page_verdict(&page, false), forbidden(Refused::Address, &words));
            assert!(matches!(page_verdict(&page, true), Err(SourceTrouble::QueryRefused(_))));
        }
    }

    #[test]
    fn a_proxy_that_asks_for_a_password_is_told_as_that() {
        let Err(SourceTrouble::Misdirected(words)) = page_verdict(&answer(407, HTML, ""), false)
        else {
            panic!("no console sends it")
        };
        assert!(words.contains("network.proxy"), "{words}");
    }

    fn forbidden(what: Refused, words: &str) -> Result<(), SourceTrouble> {
        Err(SourceTrouble::Forbidden(Refusal { what, words: words.to_owned() }))
    }

    #[test]
    fn every_status_has_a_verdict_and_only_200_is_a_page() {
        for status in 0..=999 {
            let answer = answer(status, JSON, r#"{"data":{}}"#);
            assert_eq!(page_verdict(&answer, false).is_ok(), status == 200, "{status}");
            assert_eq!(info_verdict(&answer).is_ok(), status == 200, "{status}");
        }
    }

    #[test]
    fn the_infos_refusal_is_the_tokens_only_where_the_api_says_so() {
        let refused =
            r#"{"errors":[{"code":4010010,"detail":null,"title":"Authentication Failed"}]}"#;
        let words = "Authentication Failed (4010010)";
        assert_eq!(
            info_verdict(&answer(401, JSON, refused)),
            Err(SourceTrouble::TokenRefused(format!("HTTP 401: {words}")))
        );
        assert_eq!(
            info_verdict(&answer(403, JSON, refused)),
            Err(SourceTrouble::BrokenAnswer(format!("HTTP 403: {words}")))
        );
        let ended = refused.replace("null", "\"The API token has expired\"");
        let words = format!("HTTP 403: {words}: The API token has expired");
        assert_eq!(
            info_verdict(&answer(403, JSON, &ended)),
            Err(SourceTrouble::BrokenAnswer(words.clone()))
        );
        assert_eq!(
            page_verdict(&answer(403, JSON, &ended), false),
            Err(SourceTrouble::BrokenAnswer(words))
        );
        for (status, content_type, body) in
            [(401, HTML, "<b>Your IP</b>"), (403, HTML, "<b>Your IP</b>"), (451, None, "Your IP")]
        {
            let words = format!("HTTP {status}: Your IP");
            let verdict = info_verdict(&answer(status, content_type, body));
            assert_eq!(verdict, forbidden(Refused::Address, &words));
        }
    }

    #[test]
    fn an_info_that_tells_of_an_error_says_nothing_of_the_token() {
        let body = r#"{"data":{"version":"1"},"errors":[{"title":"half of it failed"}]}"#;
        for (body, words) in [
            (body, "the answer tells of an error: half of it failed"),
            ("", "(empty body)"),
            ("{}", "{}"),
        ] {
            assert_eq!(
                info_verdict(&answer(200, JSON, body)),
                Err(SourceTrouble::BrokenAnswer(format!("HTTP 200: {words}")))
            );
        }
    }

    #[test]
    fn patience_is_asked_for_with_and_without_a_time() {
        let busy = Answer { retry_after: Some(Span::seconds(7)), ..answer(429, HTML, "") };
        let retry_after = Some(Span::seconds(7));
        let told = |status: u16| {
            let why = format!("HTTP {status}: (empty body)");
            Err(SourceTrouble::Busy { retry_after, why })
        };
        assert_eq!(info_verdict(&busy), told(429));
        for status in [500, 503] {
            let broken = Answer { status, ..busy.clone() };
            assert_eq!(page_verdict(&broken, false), told(status));
        }
    }

    #[test]
    fn what_a_cache_has_had_for_longer_is_no_answer_of_the_present() {
        let aged = |seconds| Answer {
            age: Some(Span::seconds(seconds)),
            ..answer(200, JSON, r#"{"data":{}}"#)
        };
        for seconds in [0, 60] {
            assert_eq!(page_verdict(&aged(seconds), false), Ok(()), "{seconds}");
            assert_eq!(info_verdict(&aged(seconds)), Ok(()), "{seconds}");
        }
        let words =
            "HTTP 200, 1m 1s old: a cache in between answered; exempt the host from caching";
        let broken = Err(SourceTrouble::BrokenAnswer(words.to_owned()));
        assert_eq!(page_verdict(&aged(61), true), broken);
        assert_eq!(info_verdict(&aged(61)), broken);
    }

    #[test]
    fn a_redirect_tells_where_it_leads() {
        let location = Some("https://new.example/web/api/v2.1?token=s3cret".to_owned());
        let moved = Answer { location, ..answer(301, HTML, "") };
        let described = "HTTP 301, a redirect to new.example: (empty body)";
        assert_eq!(
            page_verdict(&moved, false),
            Err(SourceTrouble::Misdirected(described.to_owned()))
        );
        assert_eq!(info_verdict(&moved), Err(SourceTrouble::Misdirected(described.to_owned())));
    }
}
