//! What the body of a 2xx says of entries that were not taken.
//!
//! No body is documented, so the words are looked for that say in any system that something was
//! refused or thrown away, as text and as members of a JSON value. Promises: pure; a count of zero
//! or a negation ("0 rejected", "no errors", `"failed": 0`) says nothing against a batch; a count of
//! what was taken speaks against it only below the number that was sent; a body without such words
//! says nothing either. Never: judges a status, or who answered.

use serde_json::Value;

use super::taken_text::{is_all_clear, of_taken_value, of_text};
use super::taken_words::{NOTHING, NOUNS, OTHER_UNITS, USED_UP, YES, is_bad, is_good};

/// Some of the batch was not taken. How much, where it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken {
    pub count: Option<u64>,
}

/// What a body says against the batch of `sent` entries that it answers; `None`: nothing.
pub fn not_taken(body: &[u8], sent: u64) -> Option<NotTaken> {
    if body.trim_ascii() == b"false" {
        return UNCOUNTED;
    }
    let (mut found, mut read) = (None, 0);
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    while let Some(Ok(value)) = values.next() {
        // "300 logs ..." begins as a number does and is text.
        if !matches!(value, Value::Object(_) | Value::Array(_) | Value::String(_)) {
            break;
        }
        found = worst(found, of_value(&value, sent));
        read = values.byte_offset();
    }
    let rest = body.get(read..).unwrap_or_default();
    worst(found, of_text(&String::from_utf8_lossy(rest), sent))
}

/// Both, with the larger count.
pub(super) fn worst(one: Option<NotTaken>, other: Option<NotTaken>) -> Option<NotTaken> {
    match (one, other) {
        (Some(one), Some(other)) => Some(NotTaken { count: one.count.max(other.count) }),
        (one, other) => one.or(other),
    }
}

pub(super) const UNCOUNTED: Option<NotTaken> = Some(NotTaken { count: None });

fn of_value(value: &Value, sent: u64) -> Option<NotTaken> {
    match value {
        Value::String(text) => of_text(text, sent),
        // Each of several counts its own part.
        Value::Array(items) => {
            let sent = if items.len() == 1 { sent } else { 0 };
            items.iter().map(|item| of_value(item, sent)).fold(None, worst)
        }
        Value::Object(members) => {
            let bad_zero = |(key, value): (&String, &Value)| {
                about(key) == About::NotTaken && number(value) == Some(0)
            };
            // OTLP: with none rejected, the message beside it is advice.
            let is_advice = members.iter().any(bad_zero);
            let of_member =
                |(key, value): (&String, &Value)| of_member(key, value, is_advice, sent);
            members.iter().map(of_member).fold(None, worst)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// What a member's value is about, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Taken,
    NotTaken,
    Status,
    /// A name, an id, a place or a time: a single word in it is no evidence.
    Label,
    Other,
}

const LABEL_ENDS: &[&str] = &[
    "date",
    "etag",
    "hash",
    "host",
    "hostname",
    "href",
    "id",
    "ids",
    "link",
    "name",
    "node",
    "path",
    "server",
    "span",
    "time",
    "timestamp",
    "trace",
    "uri",
    "url",
    "uuid",
    "version",
];

fn about(key: &str) -> About {
    let words = words_of_key(key);
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let has_bad = words.iter().any(|word| is_bad(word));
    let has_good = words.iter().any(|word| is_good(word));
    let is_negated = has(&["no", "not", "non", "without", "un"]);
    let is_used_up = has(&["limit", "limits", "limited", "quota", "quotas"])
        && (has(USED_UP) || has(&["rate"]) && has(&["limited"]));
    match () {
        () if (has_bad || is_used_up) && !is_negated => About::NotTaken,
        () if has_bad => About::Taken,
        () if has_good && is_negated => About::NotTaken,
        () if has_good => About::Taken,
        () if has(&["status", "state", "result", "outcome", "code", "level"]) => About::Status,
        () if words.last().is_some_and(|word| LABEL_ENDS.contains(&word.as_str())) => About::Label,
        () => About::Other,
    }
}

/// `rejectedLogRecords`, `rejected_log_records` and `Rejected-Log-Records` alike.
fn words_of_key(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in key.chars() {
        let is_border = !c.is_alphanumeric() || (c.is_uppercase() && was_lower);
        if is_border && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        was_lower = c.is_lowercase();
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words
}

fn of_member(key: &str, value: &Value, is_advice: bool, sent: u64) -> Option<NotTaken> {
    let counts_others = words_of_key(key).iter().any(|word| OTHER_UNITS.contains(&word.as_str()));
    let sent = if counts_others { 0 } else { sent };
    match (about(key), value) {
        (About::NotTaken, Value::String(text)) if is_advice && number(value).is_none() => {
            of_text(text, sent)
        }
        // OTLP's `partialSuccess` is there in a full success too; its members tell.
        (About::NotTaken, Value::Object(_)) if key.to_lowercase().starts_with("partial") => {
            of_value(value, sent)
        }
        (About::NotTaken, value) => of_refused(value),
        (About::Taken, value) => of_taken(key, value, sent),
        (About::Status, Value::Bool(false)) => UNCOUNTED,
        (About::Status, Value::String(text)) if is_bad_status(text) => UNCOUNTED,
        (About::Status, value) if is_bad_code(value) => UNCOUNTED,
        (About::Label, Value::String(text)) if !text.trim().contains(' ') => None,
        (_, value) => of_value(value, sent),
    }
}

fn is_bad_status(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    text.contains("warn")
        || matches!(&*text, "critical" | "down" | "false" | "fatal" | "ng" | "no" | "severe")
}

fn is_bad_code(value: &Value) -> bool {
    let is_below_zero = value.as_f64().is_some_and(|code| code < 0.0);
    is_below_zero || number(value).is_some_and(|code| (400..600).contains(&code))
}

/// The value of a member that names what was taken.
fn of_taken(key: &str, value: &Value, sent: u64) -> Option<NotTaken> {
    match (value, number(value)) {
        (Value::Bool(false), _) | (_, Some(0)) => UNCOUNTED,
        (_, Some(count)) if is_count(key, count) => missing(count, sent),
        (_, Some(_)) => None,
        (Value::Array(items), None) if items.is_empty() => UNCOUNTED,
        (Value::Array(items), None) => {
            // A list of what was taken. What was received may be anything.
            let is_list = items.iter().all(|item| item.is_number() || item.is_string())
                && is_count(key, 0)
                && !key.to_lowercase().contains("received");
            let few = if is_list { missing(items.len() as u64, sent) } else { None };
            worst(few, of_value(value, sent))
        }
        (Value::String(text), None) if is_no(text) => UNCOUNTED,
        (Value::String(text), None) => worst(of_taken_value(text, sent), of_text(text, sent)),
        (Value::Object(members), None) => {
            let of_count = |(name, value): (&String, &Value)| {
                let is_count = words_of_key(name)
                    .iter()
                    .all(|word| NOUNS.contains(&word.as_str()) && word != "total");
                number(value).filter(|_| is_count).and_then(|count| match count {
                    0 => UNCOUNTED,
                    count => missing(count, sent),
                })
            };
            worst(members.iter().map(of_count).fold(None, worst), of_value(value, sent))
        }
        (_, None) => None,
    }
}

fn missing(count: u64, sent: u64) -> Option<NotTaken> {
    let missing = sent.checked_sub(count).filter(|missing| *missing > 0)?;
    Some(NotTaken { count: Some(missing) })
}

/// Whether a number under this name counts entries: `accepted`, `acceptedLogRecords`, not
/// `acceptedAt`; `success: 1` is a yes, and one that was received may be the request.
fn is_count(key: &str, number: u64) -> bool {
    let words = words_of_key(key);
    let is_noun = |word: &str| NOUNS.contains(&word) || matches!(word, "of" | "n" | "successfully");
    let is_plain = words.iter().all(|word| is_good(word) || is_noun(word));
    let has_noun = words.iter().any(|word| is_noun(word));
    let is_yes = words.iter().any(|word| YES.contains(&word.as_str()));
    let is_one = number == 1 && words.iter().any(|word| word == "received");
    is_plain && (has_noun || !(is_one || is_yes && matches!(number, 0 | 1 | 200..=299)))
}

/// The value of a member that names what was not taken.
fn of_refused(value: &Value) -> Option<NotTaken> {
    match (value, number(value)) {
        (Value::Null | Value::Bool(false), _) | (_, Some(0)) => None,
        (_, Some(count)) => Some(NotTaken { count: Some(count) }),
        // A fraction or a negative number.
        (Value::Bool(true) | Value::Number(_), None) => UNCOUNTED,
        (Value::String(text), None) => {
            match NOTHING.contains(&text.trim().to_lowercase().as_str()) {
                true => None,
                false => of_text(text, 0)
                    .or_else(|| (!is_all_clear(text)).then_some(NotTaken { count: None })),
            }
        }
        (Value::Array(items), None) => items.iter().map(of_refused).fold(None, worst),
        (Value::Object(members), None) => members.values().map(of_refused).fold(None, worst),
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            let number = number.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0)?;
            format!("{number}").parse().ok()
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn is_no(text: &str) -> bool {
    matches!(text.trim().to_lowercase().as_str(), "false" | "no" | "0" | "none" | "nothing")
}

#[cfg(test)]
#[path = "taken_tests.rs"]
mod tests;
