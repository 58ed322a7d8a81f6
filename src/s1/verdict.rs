//! What an answer of SentinelOne asks for.
//!
//! Promises: one pure function of status, headers and body; every status has a verdict. Never: takes
//! HTML for a page, or the words of an error into a decision: the status decides, words are for people.

use serde::Deserialize;

use crate::answer::{excerpt, one_line};
use crate::record::{Answer, SourceTrouble};

pub use crate::answer::retry_after;

/// Whether an answer to a page's request may be scanned.
pub fn page_verdict(answer: &Answer, had_cursor: bool) -> Result<(), SourceTrouble> {
    match answer.status {
        // Only half a verdict: SentinelOne also says 401 where a permission is missing.
        401 => Err(SourceTrouble::TokenDoubted),
        400 => {
            let asked = if had_cursor { "the cursor was refused" } else { "the query was refused" };
            Err(SourceTrouble::QueryRefused(format!("{asked}: {}", words(answer))))
        }
        _ => common_verdict(answer),
    }
}

/// What `GET /system/info` says of the token: `Ok` means that it lives.
pub fn info_verdict(answer: &Answer) -> Result<(), SourceTrouble> {
    match answer.status {
        401 => Err(SourceTrouble::TokenRefused),
        400 => Err(SourceTrouble::BrokenAnswer(format!("HTTP 400: {}", words(answer)))),
        _ => common_verdict(answer),
    }
}

fn common_verdict(answer: &Answer) -> Result<(), SourceTrouble> {
    let told = |what: &str| format!("HTTP {}{what}: {}", answer.status, words(answer));
    match answer.status {
        200 if is_html(answer) => {
            Err(SourceTrouble::BrokenAnswer(told(" with a web page instead of JSON")))
        }
        200 => Ok(()),
        403 => Err(SourceTrouble::Forbidden),
        429 | 503 => Err(SourceTrouble::Busy { retry_after: retry_after(answer) }),
        // Whatever broke there, it said when to come back (keeps P6).
        500..=599 if retry_after(answer).is_some() => {
            Err(SourceTrouble::Busy { retry_after: retry_after(answer) })
        }
        // Never followed: the token would go with it (keeps P7).
        300..=399 => Err(SourceTrouble::Misdirected(told(", a redirect"))),
        404 | 405 | 410 => Err(SourceTrouble::Misdirected(told(""))),
        _ => Err(SourceTrouble::BrokenAnswer(told(""))),
    }
}

fn is_html(answer: &Answer) -> bool {
    let said = answer.content_type.as_deref().unwrap_or("").to_ascii_lowercase();
    said.contains("html") || answer.body.trim_ascii_start().starts_with(b"<")
}

/// The error as SentinelOne words it, `title (code): detail`, else the beginning of the body.
fn words(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        errors: Vec<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        #[serde(default)]
        code: serde_json::Value,
        #[serde(default)]
        title: Option<String>,
        #[serde(default)]
        detail: Option<String>,
    }
    let reason = serde_json::from_slice::<Refusal>(&answer.body)
        .ok()
        .and_then(|refusal| refusal.errors.into_iter().next());
    let Some(Reason { code, title, detail }) = reason else {
        let excerpt = excerpt(&answer.body);
        return if excerpt.is_empty() { "(empty body)".to_owned() } else { excerpt };
    };
    let mut text = title.unwrap_or_default();
    if !code.is_null() {
        text.push_str(&format!(" ({code})"));
    }
    if let Some(detail) = detail.filter(|detail| !detail.is_empty()) {
        text.push_str(": ");
        text.push_str(&detail);
    }
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
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
            (401, JSON, r#"{"errors":[{"code":4010010}]}"#, Err(TokenDoubted)),
            (403, JSON, r#"{"errors":[{"code":4030010,"detail":null}]}"#, Err(Forbidden)),
            (
                404,
                None,
                "404 page not found",
                Err(Misdirected("HTTP 404: 404 page not found".into())),
            ),
            (302, None, "", Err(Misdirected("HTTP 302, a redirect: (empty body)".into()))),
            (429, HTML, too_many, Err(Busy { retry_after: None })),
            (503, HTML, too_many, Err(Busy { retry_after: None })),
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
        assert!(matches!(
            page_verdict(&answer(400, JSON, CURSOR_REFUSED), false),
            Err(QueryRefused(text)) if text.starts_with("the query was refused: Validation")
        ));
    }

    #[test]
    fn every_status_has_a_verdict_and_only_200_is_a_page() {
        for status in 0..=999 {
            let answer = answer(status, JSON, "{}");
            assert_eq!(page_verdict(&answer, false).is_ok(), status == 200, "{status}");
            assert_eq!(info_verdict(&answer).is_ok(), status == 200, "{status}");
        }
    }

    #[test]
    fn the_infos_refusal_is_the_tokens() {
        assert_eq!(info_verdict(&answer(401, JSON, "")), Err(SourceTrouble::TokenRefused));
        let busy = Answer { retry_after: Some("7".into()), ..answer(429, HTML, "") };
        let retry_after = Some(Span::seconds(7));
        assert_eq!(info_verdict(&busy), Err(SourceTrouble::Busy { retry_after }));
        let broken = Answer { status: 500, ..busy };
        assert_eq!(page_verdict(&broken, false), Err(SourceTrouble::Busy { retry_after }));
    }

    #[test]
    fn words_of_an_error_stay_on_one_line_and_short() {
        let long = format!(r#"{{"errors":[{{"title":"a\nb","detail":"{}"}}]}}"#, "x".repeat(999));
        let text = words(&answer(400, JSON, &long));
        assert!(text.starts_with("a b: xxx") && text.len() <= 200, "{text}");
        let other = r#"{"errors":[{"code":400,"title":"Bad Request","detail":""}]}"#;
        assert_eq!(words(&answer(400, JSON, other)), "Bad Request (400)");
        assert_eq!(words(&answer(400, JSON, r#"{"errors":["x"]}"#)), r#"{"errors":["x"]}"#);
    }
}
