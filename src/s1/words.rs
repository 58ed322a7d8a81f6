//! What an answer says about an error, in SentinelOne's own words.
//!
//! Promises: an error is found beside `data` as well as without it; the words are one short line.
//! Never: decides by words alone what an answer is; that is `verdict`'s and `refusal`'s.

use serde_json::Value;

use super::json::Walker;
use crate::answer::excerpt;
use crate::plain::one_line;

/// Errors told of; further ones are left out.
const ERRORS_TOLD_MAX: usize = 3;

/// The words of a body: its errors', else its beginning.
pub fn of_body(body: &[u8]) -> String {
    let whole: Option<Value> = serde_json::from_slice(body).ok();
    let errors = whole.as_ref().and_then(|whole| whole.get("errors")).and_then(of_value);
    errors.unwrap_or_else(|| match excerpt(body) {
        text if text.is_empty() => "(empty body)".to_owned(),
        text => text,
    })
}

/// The words of an `errors` member, as it stands in the answer; `None`: it tells of none.
pub(super) fn of_errors(member: &[u8]) -> Option<String> {
    match serde_json::from_slice::<Value>(member) {
        Ok(value) => of_value(&value),
        Err(_) => Some(excerpt(member)),
    }
}

/// What a member of an answer with a 200 says of a failure, whatever stands beside it; `None`: nothing.
pub(super) fn of_member(name: &[u8], value: &[u8]) -> Option<String> {
    let name = String::from_utf8_lossy(name).to_lowercase().replace(['_', '-'], "");
    match name.as_str() {
        "errors" | "error" | "exception" | "exceptions" | "failure" | "failures" | "fault" => {
            of_errors(value)
        }
        "status" | "state" | "result" | "code" | "statuscode" | "httpstatus" => {
            is_bad_status(value).then(|| format!("{name}: {}", excerpt(value)))
        }
        "success" | "ok" | "successful" => {
            let is_not = matches!(value, b"false" | b"\"false\"");
            is_not.then(|| format!("{name}: false"))
        }
        // Any other warning may be about something that was not asked.
        "warning" | "warnings" => of_errors(value).filter(|text| {
            let text = text.to_lowercase();
            text.contains("partial") || says_failure(&text)
        }),
        "partial" | "incomplete" | "truncated" | "timedout" => {
            (value == b"true").then(|| format!("{name}: true"))
        }
        _ => None,
    }
}

/// What a member says for which an empty list is not the end: a failure, a warning or a way elsewhere.
fn of_empty(name: &[u8], value: &[u8]) -> Option<String> {
    let is = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    if is(&["warning", "warnings"]) {
        return of_errors(value);
    }
    if is(&["redirect"]) {
        return of_errors(value).map(|to| format!("redirect: {to}"));
    }
    let is_message = is(&["message", "detail", "details", "title", "reason", "msg"]);
    let text = serde_json::from_slice::<String>(value).ok().filter(|_| is_message)?;
    says_failure(&text).then(|| one_line(&text))
}

/// What the members of an answer that are none of its list say of a failure.
#[derive(Default)]
pub(super) struct Told {
    /// Whatever stands beside it.
    pub failure: Option<String>,
    /// If there are no rows.
    pub of_empty: Option<String>,
    /// There are further rows.
    pub has_more: bool,
}

impl Told {
    /// Notes what a member says.
    pub fn note(&mut self, name: &[u8], value: &[u8]) {
        self.failure = self.failure.take().or_else(|| of_member(name, value));
        self.of_empty = self.of_empty.take().or_else(|| of_empty(name, value));
        self.has_more |= name.eq_ignore_ascii_case(b"hasMore") && value == b"true";
    }
}

fn is_bad_status(value: &[u8]) -> bool {
    match serde_json::from_slice::<Value>(value) {
        Ok(Value::String(text)) => {
            says_failure(&text)
                || matches!(
                    &*text.trim().to_lowercase(),
                    "ko" | "nok" | "down" | "partial" | "fatal"
                )
                || text.trim().parse().is_ok_and(|code: u64| is_bad_code(code))
        }
        Ok(Value::Number(number)) => number.as_u64().is_some_and(is_bad_code),
        Ok(Value::Bool(is_good)) => !is_good,
        _ => false,
    }
}

/// An HTTP status, or one of SentinelOne's codes, which begin with one.
fn is_bad_code(code: u64) -> bool {
    matches!(code, 400..=599 | 4_000_000..=5_999_999)
}

fn says_failure(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "aborted",
        "denied",
        "error",
        "errors",
        "exception",
        "fail",
        "failed",
        "failure",
        "forbidden",
        "incomplete",
        "invalid",
        "partial_failure",
        "timeout",
        "unable",
        "unauthorized",
        "unavailable",
    ];
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
    let is_none = words.iter().any(|word| matches!(*word, "no" | "0" | "none" | "without"));
    let says = words.iter().any(|word| WORDS.contains(word)) || text.contains("timed out");
    says && !is_none
}

/// Checks that the body of a 200 is an object with one `data` member and without errors.
pub fn check(body: &[u8]) -> Result<(), String> {
    let mut walker = Walker::after_mark(body);
    let (mut data, mut is_there, mut errors) = (0u32, false, None);
    let walked = walker.members(|walker, name| {
        let value = walker.value()?;
        match name {
            b"data" => {
                data += 1;
                is_there |= &walker.bytes[value] != b"null";
            }
            _ => errors = errors.take().or_else(|| of_member(name, &walker.bytes[value])),
        }
        Some(())
    });
    match (walked, errors, data) {
        (Some(()), Some(words), _) => Err(in_words(&words)),
        (Some(()), None, 1) if is_there && walker.peek().is_none() => Ok(()),
        (Some(()), None, 2..) => Err(TWICE.to_owned()),
        _ => Err(of_body(body)),
    }
}

/// The error of a 200 that contains errors.
pub(super) fn in_words(words: &str) -> String {
    format!("the answer tells of an error: {words}")
}

/// The error of a body in which a member occurs twice.
pub(super) const TWICE: &str = "the answer has `data` twice";

fn of_value(errors: &Value) -> Option<String> {
    let list = match errors {
        Value::Null | Value::Bool(false) => return None,
        Value::Number(number) if number.as_u64() == Some(0) => return None,
        Value::String(text) if matches!(text.trim(), "" | "none" | "0") => return None,
        Value::Object(members) if members.is_empty() => return None,
        Value::Array(list) if list.is_empty() => return None,
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let lines: Vec<String> = list.iter().take(ERRORS_TOLD_MAX).map(of_one).collect();
    Some(one_line(&lines.join("; ")))
}

/// One error: `title (code): detail`, or whatever it is.
fn of_one(error: &Value) -> String {
    let Some(members) = error.as_object() else { return plain(error) };
    let member = |names: &[&str]| {
        names.iter().filter_map(|name| members.get(*name)).map(plain).find(|text| !text.is_empty())
    };
    let code = member(&["code"]).map(|code| format!("({code})"));
    let head = [member(&["title", "message"]), code];
    let head = head.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let parts = [Some(head).filter(|head| !head.is_empty()), member(&["detail"])];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    if text.is_empty() { error.to_string() } else { text }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_title_code_and_detail() {
        for (body, words) in [
            ("", "(empty body)"),
            ("404 page not found\n", "404 page not found"),
            (
                r#"{"errors":[{"code":4030010,"detail":"no","title":"Forbidden"}]}"#,
                "Forbidden (4030010): no",
            ),
            (r#"{"errors":[{"code":400,"title":"Bad Request","detail":""}]}"#, "Bad Request (400)"),
            (r#"{"data":[],"errors":[{"message":"timed out"}]}"#, "timed out"),
            (r#"{"errors":["x","y"]}"#, "x; y"),
            (r#"{"errors":"x"}"#, "x"),
            (r#"{"errors":{"detail":{"a":1}}}"#, r#"{"a":1}"#),
            (r#"{"errors":[{}]}"#, "{}"),
            (r#"{"errors":[]}"#, r#"{"errors":[]}"#),
        ] {
            assert_eq!(of_body(body.as_bytes()), words, "{body}");
        }
    }

    #[test]
    fn words_stay_on_one_line_and_short() {
        let long = format!(r#"{{"errors":[{{"title":"a\nb","detail":"{}"}}]}}"#, "x".repeat(999));
        let text = of_body(long.as_bytes());
        assert!(text.starts_with("a b: xxx") && text.len() <= 200, "{text}");
    }

    #[test]
    fn an_answer_with_errors_or_two_of_data_is_none() {
        for (body, why) in [
            (r#"{"data":{"version":"1"}}"#, None),
            (r#"{"errors":null,"data":{}}"#, None),
            (r#"{"error":null,"status":"ok","code":200,"success":true,"data":{}}"#, None),
            (r#"{"error":"e","data":{}}"#, Some("the answer tells of an error: e")),
            (
                r#"{"data":{},"status":"error"}"#,
                Some(r#"the answer tells of an error: status: "error""#),
            ),
            (r#"{"errors":[],"data":[]}"#, None),
            (r#"{"data":{},"errors":[{"title":"t"}]}"#, Some("the answer tells of an error: t")),
            (
                r#"{"errors":[{"title":"t"}],"data":{},"errors":[]}"#,
                Some("the answer tells of an error: t"),
            ),
            (r#"{"errors":NaN,"data":{}}"#, Some("the answer tells of an error: NaN")),
            (r#"{"data":{},"data":{}}"#, Some("the answer has `data` twice")),
            (r#"{"data":null}"#, Some(r#"{"data":null}"#)),
            ("{}", Some("{}")),
            ("", Some("(empty body)")),
            (r#"{"data":{}} <html>"#, Some(r#"{"data":{}} <html>"#)),
            ("[]", Some("[]")),
        ] {
            let why = why.map_or(Ok(()), |why| Err(why.to_owned()));
            assert_eq!(check(body.as_bytes()), why, "{body}");
        }
    }
}
