//! What the body of a 2xx says of entries that were not taken.
//!
//! No body is documented, so the words are looked for that say in any system that something was
//! refused or thrown away, as text and as members of a JSON value. Promises: pure; a count of zero
//! or a negation ("0 rejected", "no errors", `"failed": 0`) says nothing against a batch; a body
//! without such words says nothing either. Never: judges a status, or who answered.

use serde_json::Value;

/// Some of the batch was not taken. How much, where it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken {
    pub count: Option<u64>,
}

/// Says that something was not taken.
const BAD: &[&str] = &[
    "blocked",
    "corrupt",
    "corrupted",
    "denied",
    "discard",
    "discarded",
    "discarding",
    "discards",
    "drop",
    "dropped",
    "dropping",
    "drops",
    "error",
    "errored",
    "errors",
    "exceeded",
    "exceeding",
    "exceeds",
    "exception",
    "exhausted",
    "expired",
    "fail",
    "failed",
    "failing",
    "fails",
    "failure",
    "failures",
    "forbidden",
    "ignored",
    "incomplete",
    "invalid",
    "lost",
    "malformed",
    "missing",
    "oversized",
    "overflow",
    "partial",
    "partially",
    "refused",
    "reject",
    "rejected",
    "rejecting",
    "rejection",
    "rejections",
    "rejects",
    "skipped",
    "throttled",
    "throttling",
    "timeout",
    "truncated",
    "unable",
    "unaccepted",
    "unauthenticated",
    "unauthorised",
    "unauthorized",
    "unavailable",
    "undelivered",
    "unparsable",
    "unparseable",
    "unprocessable",
    "unprocessed",
    "unsuccessful",
    "unsupported",
];
/// Says that something was taken, and with a zero or a negation the contrary.
const GOOD: &[&str] = &[
    "accept",
    "accepted",
    "accepts",
    "complete",
    "completed",
    "delivered",
    "imported",
    "indexed",
    "ingest",
    "ingested",
    "ok",
    "persisted",
    "processed",
    "received",
    "saved",
    "stored",
    "succeeded",
    "success",
    "successful",
    "successfully",
    "taken",
    "valid",
    "written",
];
const ZERO: &[&str] = &["0", "no", "none", "zero", "nothing", "without", "neither", "nor"];
/// Values that say that there is nothing to say.
const NOTHING: &[&str] =
    &["", "0", "false", "n/a", "na", "nil", "no", "none", "null", "ok", "success", "-"];
const BUT: &[&str] = &["but", "however", "although", "except"];
/// With one of these a quota is not used up.
const WITHIN: &[&str] = &["within", "under", "below", "remaining", "left", "available"];
const TOO: &[&str] = &["big", "far", "large", "late", "long", "many", "old", "short", "small"];

/// What a body says against the batch it answers; `None`: nothing.
pub fn not_taken(body: &[u8]) -> Option<NotTaken> {
    let (mut found, mut read) = (None, 0);
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    while let Some(Ok(value)) = values.next() {
        // "300 logs ..." begins as a number does and is text.
        if !matches!(value, Value::Object(_) | Value::Array(_) | Value::String(_)) {
            break;
        }
        found = worst(found, of_value(&value));
        read = values.byte_offset();
    }
    let rest = body.get(read..).unwrap_or_default();
    worst(found, of_text(&String::from_utf8_lossy(rest)))
}

/// Both, with the larger count.
fn worst(one: Option<NotTaken>, other: Option<NotTaken>) -> Option<NotTaken> {
    match (one, other) {
        (Some(one), Some(other)) => Some(NotTaken { count: one.count.max(other.count) }),
        (one, other) => one.or(other),
    }
}

const UNCOUNTED: Option<NotTaken> = Some(NotTaken { count: None });

fn of_value(value: &Value) -> Option<NotTaken> {
    match value {
        Value::String(text) => of_text(text),
        Value::Array(items) => items.iter().map(of_value).fold(None, worst),
        Value::Object(members) => {
            let bad_zero = |(key, value): (&String, &Value)| {
                about(key) == About::NotTaken && number(value) == Some(0)
            };
            // OTLP: with none rejected, the message beside it is advice.
            let is_advice = members.iter().any(bad_zero);
            let of_member = |(key, value): (&String, &Value)| of_member(key, value, is_advice);
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
    Other,
}

fn about(key: &str) -> About {
    let words = words_of_key(key);
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let is_negated = has(&["no", "not", "non", "without", "un"]);
    match () {
        () if has(BAD) && !is_negated => About::NotTaken,
        () if has(BAD) => About::Taken,
        () if has(GOOD) && is_negated => About::NotTaken,
        () if has(GOOD) => About::Taken,
        () if has(&["status", "state", "result", "outcome", "code", "level"]) => About::Status,
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

fn of_member(key: &str, value: &Value, is_advice: bool) -> Option<NotTaken> {
    match (about(key), value) {
        (About::NotTaken, Value::String(text)) if is_advice && number(value).is_none() => {
            of_text(text)
        }
        // OTLP's `partialSuccess` is there in a full success too; its members tell.
        (About::NotTaken, Value::Object(_)) if key.to_lowercase().starts_with("partial") => {
            of_value(value)
        }
        (About::NotTaken, value) => of_refused(value),
        (About::Taken, Value::Bool(false)) => UNCOUNTED,
        (About::Taken, Value::Array(items)) if items.is_empty() => UNCOUNTED,
        (About::Taken, Value::String(text)) if is_no(text) => UNCOUNTED,
        (About::Taken, value) if number(value) == Some(0) => UNCOUNTED,
        (About::Status, Value::String(text)) if text.to_lowercase().contains("warn") => UNCOUNTED,
        (About::Status, value) if number(value).is_some_and(|n| (400..600).contains(&n)) => {
            UNCOUNTED
        }
        (_, value) => of_value(value),
    }
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
                false => of_text(text)
                    .or_else(|| (!is_all_clear(text)).then_some(NotTaken { count: None })),
            }
        }
        (Value::Array(items), None) => items.iter().map(of_refused).fold(None, worst),
        (Value::Object(members), None) => members.values().map(of_refused).fold(None, worst),
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => {
            number.as_u64().or_else(|| number.as_f64().filter(|n| *n == 0.0).map(|_| 0))
        }
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn is_no(text: &str) -> bool {
    matches!(text.trim().to_lowercase().as_str(), "false" | "no" | "0" | "none")
}

/// "No errors" as the value of `errors`.
fn is_all_clear(text: &str) -> bool {
    clauses(text).iter().flatten().any(|word| ZERO.contains(&word.as_str()))
}

/// What a sentence says, clause by clause.
fn of_text(text: &str) -> Option<NotTaken> {
    let clauses = clauses(text);
    clauses.iter().map(|clause| of_clause(clause)).fold(None, worst)
}

/// Words and the signs that give a word a value, in clauses: `rejected`, `=`, `5`.
fn clauses(text: &str) -> Vec<Vec<String>> {
    let mut clauses = vec![Vec::new()];
    let mut word = String::new();
    let chars: Vec<char> = text.to_lowercase().chars().collect();
    for (at, c) in chars.iter().copied().enumerate() {
        let is_digit =
            |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_ascii_digit());
        let within_number = is_digit(at.checked_sub(1)) && is_digit(Some(at + 1));
        match c {
            // Thousands.
            ',' if within_number => continue,
            '.' if within_number => word.push('.'),
            '\'' | '\u{2019}' => word.push('\''),
            c if c.is_alphanumeric() => word.push(c),
            _ => {
                end_word(&mut clauses, &mut word);
                match c {
                    ':' | '=' | '/' => push(&mut clauses, c.to_string()),
                    '.' | ',' | ';' | '!' | '?' | '(' | ')' | '|' => {
                        clauses.push(Vec::new());
                    }
                    _ => {}
                }
            }
        }
    }
    end_word(&mut clauses, &mut word);
    clauses
}

fn end_word(clauses: &mut Vec<Vec<String>>, word: &mut String) {
    let word = std::mem::take(word);
    match word.as_str() {
        "" => {}
        but if BUT.contains(&but) => clauses.push(Vec::new()),
        _ => push(clauses, word),
    }
}

fn push(clauses: &mut [Vec<String>], word: String) {
    clauses.last_mut().expect("there is always a clause").push(word);
}

fn of_clause(clause: &[String]) -> Option<NotTaken> {
    let word = |at: usize| clause.get(at).map_or("", String::as_str);
    let mut found = None;
    for at in 0..clause.len() {
        let said = match word(at) {
            bad if BAD.contains(&bad) => of_bad(clause, at),
            good if GOOD.contains(&good) => of_good(clause, at),
            "too" if TOO.contains(&word(at + 1)) => of_bad(clause, at),
            "older" | "larger" | "longer" | "more" if word(at + 1) == "than" => of_bad(clause, at),
            "not" if word(at + 1) == "all" => UNCOUNTED,
            "not" if matches!(word(at + 1), "allowed" | "permitted") => of_bad(clause, at),
            "quota" | "quotas" => {
                let is_within = clause.iter().any(|word| WITHIN.contains(&word.as_str()));
                if is_within { None } else { UNCOUNTED }
            }
            "limit" | "limits" if matches!(word(at + 1), "reached" | "hit") => UNCOUNTED,
            _ => None,
        };
        found = worst(found, said);
    }
    found
}

/// How much of what a word names there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Much {
    None,
    Some(Option<u64>),
    /// Nothing is said of how much.
    Unsaid,
}

fn of_bad(clause: &[String], at: usize) -> Option<NotTaken> {
    let not = negated(clause, at) && !clause[..at].windows(2).any(|two| two == ["not", "all"]);
    match value_after(clause, at).unwrap_or_else(|| before(clause, at)) {
        Much::None => None,
        Much::Some(count) => Some(NotTaken { count }),
        Much::Unsaid if not => None,
        Much::Unsaid => match clause.get(at + 1).and_then(|next| next.parse::<u64>().ok()) {
            Some(0) => None,
            count => Some(NotTaken { count }),
        },
    }
}

fn of_good(clause: &[String], at: usize) -> Option<NotTaken> {
    let is_not = negated(clause, at);
    match (value_after(clause, at), before(clause, at)) {
        (Some(Much::None), _) => UNCOUNTED,
        (Some(_), _) => None,
        // None that was not accepted.
        (None, Much::None) if is_not => None,
        (None, Much::None) => UNCOUNTED,
        (None, Much::Some(count)) if is_not => Some(NotTaken { count }),
        (None, Much::Unsaid) if is_not => UNCOUNTED,
        (None, _) => None,
    }
}

fn is_negation(word: &str) -> bool {
    matches!(word, "not" | "never" | "cannot" | "cant" | "dont" | "nothing")
        || word.ends_with("n't")
}

/// Whether a negation stands before the word, with no other outcome in between.
fn negated(clause: &[String], at: usize) -> bool {
    let back = clause[..at].iter().rev().take_while(|word| !is_outcome(word) && *word != ":");
    let mut back = back.filter(|word| *word != "nothing");
    back.any(|word| is_negation(word))
}

fn is_outcome(word: &str) -> bool {
    BAD.contains(&word) || GOOD.contains(&word)
}

/// `failed: 0`, `failed records = 3`, `accepted: none`.
fn value_after(clause: &[String], at: usize) -> Option<Much> {
    let sign = (at + 1..clause.len().min(at + 4)).find(|at| matches!(&*clause[*at], ":" | "="))?;
    if clause[at + 1..sign].iter().any(|word| is_outcome(word)) {
        return None;
    }
    let value = clause.get(sign + 1)?.as_str();
    // `success: 0 errors` tells of the errors.
    if clause.get(sign + 2).is_some_and(|next| is_outcome(next)) {
        return None;
    }
    match value {
        "false" | "null" | "nil" => Some(Much::None),
        "true" => Some(Much::Some(None)),
        value => amount(value),
    }
}

/// `5 logs were rejected`, `none of them was dropped`: the nearest number or negation before it.
fn before(clause: &[String], at: usize) -> Much {
    for here in (0..at).rev() {
        let word = clause[here].as_str();
        let is_list = |word: &str| matches!(word, "and" | "or");
        match word {
            ":" | "=" => return Much::Unsaid,
            // "failed or dropped" share their number; "300 accepted 5 rejected" do not.
            word if is_outcome(word) && !clause.get(here + 1).is_some_and(|next| is_list(next)) => {
                return Much::Unsaid;
            }
            word => match amount(word) {
                None => {}
                // "0 of 300", "0/300": the first of the two.
                Some(_) if here >= 2 && matches!(&*clause[here - 1], "of" | "/") => {}
                Some(much) => return much,
            },
        }
    }
    Much::Unsaid
}

fn amount(word: &str) -> Option<Much> {
    if ZERO.contains(&word) {
        return Some(Much::None);
    }
    let number: f64 =
        word.parse().ok().filter(|_| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(match number {
        0.0 => Much::None,
        _ => Much::Some(word.parse().ok()),
    })
}

#[cfg(test)]
#[path = "taken_tests.rs"]
mod tests;
