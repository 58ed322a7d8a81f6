//! A line of the log as a JSON object, for programs that read the log.
//!
//! Promises: one object is one line, and its message is that of the text form with the same
//! characters escaped; `time`, `level`, `code` and `message` are always there. Never: decides what
//! is logged.

use std::sync::atomic::{AtomicBool, Ordering};

use log::Level;
use serde::Serialize;

use super::clock;
use crate::plain;
use crate::time::Stamp;

static IS_ON: AtomicBool = AtomicBool::new(false);

/// Whether lines are written as JSON.
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Switches the JSON form on or off.
pub fn set(is_on: bool) {
    IS_ON.store(is_on, Ordering::Relaxed);
}

/// The members, in this order.
#[derive(Serialize)]
struct Line<'t> {
    /// RFC 3339, UTC.
    time: String,
    level: String,
    /// Null only for a line that continues another line.
    code: Option<&'t str>,
    message: &'t str,
}

/// A JSON line with the present time.
pub fn line(level: Level, text: &str) -> String {
    line_at(clock::local(), level, text)
}

fn line_at(at: Stamp, level: Level, text: &str) -> String {
    let text = plain::line(text);
    let (code, message) = match code_in(&text) {
        Some((0, code)) => (Some(code), text[code.len()..].trim_start()),
        Some((_, code)) => (Some(code), &*text),
        None => (None, &*text),
    };
    let level = level.as_str().to_ascii_lowercase();
    let line = Line { time: at.to_the_second(), level, code, message };
    serde_json::to_string(&line).expect("texts can always be written") + "\n"
}

/// The first code in a text, such as S1C-E107, and its byte offset.
fn code_in(text: &str) -> Option<(usize, &str)> {
    let at = text.find("S1C-")?;
    let code = text.get(at..at + "S1C-E107".len())?;
    let (letter, number) = code["S1C-".len()..].split_at_checked(1)?;
    let is_code = letter.bytes().all(|byte| byte.is_ascii_uppercase())
        && number.bytes().all(|byte| byte.is_ascii_digit());
    is_code.then_some((at, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        line_at(Stamp::parse("2026-01-31T00:00:00Z").unwrap(), Level::Warn, text)
    }

    #[test]
    fn a_line_has_its_members_and_its_message_no_control_character() {
        for (text, members) in [
            ("S1C-W102 a \"b\"", r#""code":"S1C-W102","message":"a \"b\"""#),
            ("c.toml:3:1: S1C-E304 x", r#""code":"S1C-E304","message":"c.toml:3:1: S1C-E304 x""#),
            ("3 | x = 1", r#""code":null,"message":"3 | x = 1""#),
            ("S1C-\u{e9}", "\"code\":null,\"message\":\"S1C-\u{e9}\""),
            ("S1C-E107", r#""code":"S1C-E107","message":"""#),
            ("S1C-E1x7 a", r#""code":null,"message":"S1C-E1x7 a""#),
            ("S1C-e107 a", r#""code":null,"message":"S1C-e107 a""#),
            ("S1C-I001 a\n\u{1b}[2J", r#""code":"S1C-I001","message":"a\\n\\u001b[2J""#),
        ] {
            let head = r#"{"time":"2026-01-31T00:00:00Z","level":"warn","#;
            assert_eq!(told(text), format!("{head}{members}}}\n"), "{text}");
        }
    }
}
