//! What an answer tells of an error, in SentinelOne's own words.
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

/// Whether an answer with a 200 is one: an object with one `data`, and without errors.
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
            b"errors" => errors = errors.take().or_else(|| of_errors(&walker.bytes[value])),
            _ => {}
        }
        Some(())
    });
    match (walked, errors, data) {
        (Some(()), Some(words), _) => Err(told(&words)),
        (Some(()), None, 1) if is_there && walker.peek().is_none() => Ok(()),
        (Some(()), None, 2..) => Err(TWICE.to_owned()),
        _ => Err(of_body(body)),
    }
}

/// Why an answer with errors is none, although its status says 200.
pub(super) fn told(words: &str) -> String {
    format!("the answer tells of an error: {words}")
}

/// Why an answer that says one thing twice is none.
pub(super) const TWICE: &str = "the answer has `data` twice";

fn of_value(errors: &Value) -> Option<String> {
    let list = match errors {
        Value::Null | Value::Bool(false) => return None,
        Value::String(text) if text.is_empty() => return None,
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
