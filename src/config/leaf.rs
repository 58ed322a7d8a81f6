//! One setting at a time: its text to its value, within its range, or a note and the default.
//!
//! Promises: whatever is wrong is noted at its place, and a value comes out all the same, so that
//! the rest can be checked too. Never: decides whether the config as a whole may be used.

use std::ops::Range;

use crate::config::Environment;
use crate::config::diagnostic::Diagnostic;
use crate::config::files::Files;
use crate::config::raw::{Given, Table, Value};
use crate::config::settings::{self, Fallback, Setting, Shape};
use crate::config::units::{self, ValueError};
use crate::limits;
use crate::message::{self, Code};
use crate::record::Start;
use crate::time::{Span, Stamp};

const DEFAULT_START: Start = Start::Ago(Span::hours(24));
/// The longest `start`: far above what SentinelOne keeps, far below what is only a typing error.
const START_DAYS_MAX: u64 = 10 * 366;

/// What was found so far.
pub struct Check<'e> {
    pub notes: Vec<Diagnostic>,
    pub files: &'e Files<'e>,
    pub environment: &'e Environment,
}

/// A section, whether it was typed or not.
#[derive(Clone, Copy)]
pub struct Scope<'r> {
    pub name: &'static str,
    pub table: Option<&'r Table>,
}

impl<'r> Scope<'r> {
    pub fn get(&self, key: &str) -> Option<&'r Given> {
        self.table.and_then(|table| table.get(key))
    }

    /// Whether a setting is there under a name that does not exist, which is reported already.
    pub fn is_mistyped(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.is_mistyped(key))
    }

    pub fn span(&self) -> Option<Range<usize>> {
        self.table.map(|table| table.span.clone())
    }

    pub fn setting(&self, key: &str) -> &'static Setting {
        settings::find(self.name, key).expect("only settings of the table are asked for")
    }
}

impl Check<'_> {
    pub fn required<'r>(&mut self, scope: Scope<'r>, key: &str) -> Option<&'r Given> {
        let given = scope.get(key);
        if given.is_none() && !scope.is_mistyped(key) {
            let setting = scope.setting(key);
            let hint = format!("add {key} = {}", setting.example);
            self.note(
                message::SETTING_MISSING,
                scope.span(),
                &setting.full_name(),
                "it is missing",
                &hint,
            );
        }
        given
    }

    /// An address, unless the line is still as empty as it is shipped.
    pub fn filled<'r>(&mut self, given: &'r Given) -> Option<&'r Given> {
        let is_empty = matches!(&given.value, Value::Text(text) if text.trim().is_empty());
        if is_empty {
            let Setting { key, example, .. } = given.setting;
            let or_else = match settings::is_repeated(given.setting.section) {
                true => ", or remove this section",
                false => "",
            };
            let hint = format!("fill it in, e.g. {key} = {example}{or_else}");
            let name = given.setting.full_name();
            self.note(
                message::SETTING_MISSING,
                Some(given.span.clone()),
                &name,
                "it is empty",
                &hint,
            );
        }
        Some(given).filter(|_| !is_empty)
    }

    /// A text, a path or a choice; the default where it is missing or wrong.
    pub fn text(&mut self, scope: Scope<'_>, key: &str) -> String {
        let setting = scope.setting(key);
        let read = |text: &str| match setting.shape {
            Shape::Path => path(text),
            Shape::Choice(words) => choice(text, words),
            Shape::Text { bytes_max } => label(text, bytes_max),
            _ => Ok(text.to_owned()),
        };
        let given = scope.get(key).and_then(|given| self.read(given, read));
        given.unwrap_or_else(|| default_text(setting).to_owned())
    }

    pub fn span(&mut self, scope: Scope<'_>, key: &str) -> Span {
        let setting = scope.setting(key);
        let read = |text: &str| {
            let span = units::span(text)?;
            match setting.shape {
                Shape::Span { min, .. } if span < min => Err(too("short", units::of_span(min))),
                Shape::Span { max, .. } if span > max => Err(too("long", units::of_span(max))),
                _ => Ok(span),
            }
        };
        let given = scope.get(key).and_then(|given| self.read(given, read));
        given.unwrap_or_else(|| units::span(default_text(setting)).unwrap_or_default())
    }

    pub fn size(&mut self, scope: Scope<'_>, key: &str) -> u64 {
        let setting = scope.setting(key);
        let read = |text: &str| {
            let size = units::size(text)?;
            match setting.shape {
                Shape::Size { min, .. } if size < min => Err(too("small", units::of_size(min))),
                Shape::Size { max, .. } if size > max => Err(too("large", units::of_size(max))),
                _ => Ok(size),
            }
        };
        let given = scope.get(key).and_then(|given| self.read(given, read));
        given.unwrap_or_else(|| units::size(default_text(setting)).unwrap_or_default())
    }

    pub fn start(&mut self, scope: Scope<'_>) -> Start {
        let Some(given) = scope.get("start") else { return DEFAULT_START };
        let start = self.read(given, start).unwrap_or(DEFAULT_START);
        let ahead = match (start, self.environment.now) {
            (Start::At(start), Some(now)) => start.since(now),
            _ => Span::ZERO,
        };
        // No error: a clock that is behind must not keep the daemon from its work.
        if ahead > Span::minutes(limits::STAMP_AHEAD_OF_SOURCE_MINUTES_MAX) {
            self.note(
                message::START_IN_FUTURE,
                Some(given.span.clone()),
                &given.setting.full_name(),
                format!("it is {ahead} ahead of this machine's clock"),
                "write a time in the past; nothing from before it is collected",
            );
        }
        start
    }

    /// Reads a text, and notes at its place what is wrong with it.
    pub fn read<T>(
        &mut self,
        given: &Given,
        read: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let Value::Text(text) = &given.value else { return None };
        let misread = match read(text) {
            Ok(value) => return Some(value),
            Err(misread) => misread,
        };
        let key = given.setting.full_name();
        self.note(misread.code, Some(given.span.clone()), &key, misread.problem, &misread.hint);
        None
    }

    /// Notes what is wrong; by its code it is an error or a warning.
    pub fn note(
        &mut self,
        code: Code,
        span: Option<Range<usize>>,
        key: &str,
        problem: impl Into<String>,
        hint: &str,
    ) {
        let (key, problem, hint) = (key.to_owned(), problem.into(), Some(hint.to_owned()));
        self.notes.push(Diagnostic { code, span, key, problem, hint });
    }
}

/// The name of an integration: part of the queue's records and of log lines, so it is kept to
/// what needs no quoting anywhere.
pub fn name(text: &str) -> Result<String, ValueError> {
    const HINT: &str = "letters, digits, dot, hyphen and underscore, starting with a letter or \
        digit, e.g. \"acme\"";
    let text = text.trim();
    if text.is_empty() {
        return Err(ValueError::new(message::NAME_MISREAD, "it is empty", HINT));
    }
    if text.len() > limits::INTEGRATION_NAME_BYTES_MAX {
        let max = limits::INTEGRATION_NAME_BYTES_MAX;
        return Err(ValueError::new(
            message::NAME_MISREAD,
            format!("it is longer than {max} characters"),
            HINT,
        ));
    }
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !text.bytes().all(is_plain) || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(ValueError::new(
            message::NAME_MISREAD,
            format!("{text:?} is not a plain name"),
            HINT,
        ));
    }
    Ok(text.to_owned())
}

fn label(text: &str, bytes_max: usize) -> Result<String, ValueError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ValueError::new(
            message::LABEL_MISREAD,
            "it is empty",
            "Coralogix rejects records without it",
        ));
    }
    if text.len() > bytes_max {
        return Err(ValueError::new(
            message::LABEL_MISREAD,
            format!("it is longer than {bytes_max} bytes"),
            "shorten it",
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(ValueError::new(
            message::LABEL_MISREAD,
            "it has a control character",
            "write plain text",
        ));
    }
    Ok(text.to_owned())
}

fn path(text: &str) -> Result<String, ValueError> {
    const HINT: &str = "write the full path, starting with /";
    if text.contains('\0') {
        return Err(ValueError::new(message::PATH_MISREAD, "a path has no NUL character", HINT));
    }
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err(ValueError::new(
            message::PATH_MISREAD,
            format!("{text:?} is not an absolute path"),
            HINT,
        )),
    }
}

fn choice(text: &str, words: &[&str]) -> Result<String, ValueError> {
    let lower = text.trim().to_ascii_lowercase();
    if words.contains(&lower.as_str()) {
        return Ok(lower);
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    Err(ValueError::new(
        message::CHOICE_MISREAD,
        format!("{text:?} is not an accepted value"),
        format!("write one of {}", quoted.join(", ")),
    ))
}

fn start(text: &str) -> Result<Start, ValueError> {
    let start = units::start(text)?;
    let is_odd = match start {
        Start::Ago(span) => span > Span::hours(24).times(START_DAYS_MAX),
        // SentinelOne was founded in 2013; a year outside of these is a slip of the finger.
        Start::At(at) => {
            let years = [2013, 2100].map(|year| Stamp::parse(&format!("{year}-01-01T00:00:00Z")));
            Some(at) < years[0] || Some(at) >= years[1]
        }
        Start::Now => false,
    };
    match is_odd {
        true => Err(ValueError::new(
            message::START_MISREAD,
            format!("{text:?} can't be where the records of a tenant begin"),
            "write a time from 2013 on, or how long ago, e.g. \"24h\"",
        )),
        false => Ok(start),
    }
}

fn too(what: &str, bound: String) -> ValueError {
    let side = if ["short", "small"].contains(&what) { "least" } else { "most" };
    ValueError::new(
        message::OUT_OF_RANGE,
        format!("it is too {what}"),
        format!("at {side} {bound:?}"),
    )
}

fn default_text(setting: &Setting) -> &'static str {
    match setting.fallback {
        Fallback::Value(toml) => toml.trim_matches('"'),
        Fallback::Required | Fallback::Words(_) => "",
    }
}
