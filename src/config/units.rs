//! Lengths of time, sizes and starts as people write them.
//!
//! Promises: what is read is exact and what is written by `of_span` and `of_size` reads back as
//! the same value. Never: guesses a missing unit.

use crate::message::{self, Code};
use crate::record::Start;
use crate::time::{Span, Stamp};
use crate::window::Window;

/// Why a text is not the value it should be, and how it should look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    pub code: Code,
    pub problem: String,
    pub hint: String,
}

impl ValueError {
    pub fn new(code: Code, problem: impl Into<String>, hint: impl Into<String>) -> ValueError {
        ValueError { code, problem: problem.into(), hint: hint.into() }
    }
}

const SPAN_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

const SPAN_HINT: &str =
    "write a whole number and one unit of ms, s, m, h or d, e.g. \"60s\" or \"5m\"";
const SIZE_HINT: &str = "write a whole number and a unit, e.g. \"1GiB\", \"64MiB\" or \"100MB\"";

/// Reads `200ms`, `60s`, `5m`, `24h`, `7d`.
pub fn span(text: &str) -> Result<Span, ValueError> {
    let (number, unit) = number_and_unit(message::SPAN_MISREAD, text, "a duration", SPAN_HINT)?;
    let Some((_, ms)) = SPAN_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(ValueError::new(
            message::SPAN_MISREAD,
            format!("{unit:?} is not a unit of time"),
            SPAN_HINT,
        ));
    };
    match number.checked_mul(*ms) {
        Some(ms) => Ok(Span::ms(ms)),
        None => {
            Err(ValueError::new(message::SPAN_MISREAD, format!("{text:?} is too long"), SPAN_HINT))
        }
    }
}

/// Reads `1GiB`, `64MiB`, `100MB`, `0`. Upper and lower case are the same.
pub fn size(text: &str) -> Result<u64, ValueError> {
    if text.trim() == "0" {
        return Ok(0);
    }
    let (number, unit) = number_and_unit(message::SIZE_MISREAD, text, "a size", SIZE_HINT)?;
    let Some((_, bytes)) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))
    else {
        return Err(ValueError::new(
            message::SIZE_MISREAD,
            format!("{unit:?} is not a unit of size"),
            SIZE_HINT,
        ));
    };
    match number.checked_mul(*bytes) {
        Some(bytes) => Ok(bytes),
        None => {
            Err(ValueError::new(message::SIZE_MISREAD, format!("{text:?} is too large"), SIZE_HINT))
        }
    }
}

/// Reads `256KiB/s`: bytes a second.
pub fn rate(text: &str) -> Result<u64, ValueError> {
    const HINT: &str = "write a size per second, e.g. \"256KiB/s\"";
    match text.trim().strip_suffix("/s") {
        Some(bytes) => size(bytes)
            .map_err(|misread| ValueError::new(message::RATE_MISREAD, misread.problem, HINT)),
        None => Err(ValueError::new(
            message::RATE_MISREAD,
            format!("{text:?} is not a size per second"),
            HINT,
        )),
    }
}

/// Reads `02:00-04:00`.
pub fn window(text: &str) -> Result<Window, ValueError> {
    const HINT: &str = "write two times of day, e.g. \"22:00-06:00\"";
    let minutes = |text: &str| {
        let (hours, minutes) = text.trim().split_once(':')?;
        let is_two = |digits: &str| digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        if !is_two(hours) || !is_two(minutes) {
            return None;
        }
        let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
        (minutes < 60).then_some(hours * 60 + minutes)
    };
    let read = |text: &str| {
        let (from, to) = text.split_once('-')?;
        Window::new(minutes(from)?, minutes(to)?)
    };
    read(text).ok_or_else(|| {
        ValueError::new(
            message::WINDOW_MISREAD,
            format!("{text:?} is not a window from hh:mm to hh:mm"),
            HINT,
        )
    })
}

/// Reads `now`, a duration before now, or an RFC 3339 time.
pub fn start(text: &str) -> Result<Start, ValueError> {
    const HINT: &str = "write \"24h\", \"7d\", \"now\", or a time like \"2026-01-31T00:00:00Z\"";
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") {
        return Ok(Start::Now);
    }
    if let Some(at) = Stamp::parse(text) {
        return Ok(Start::At(at));
    }
    if text.contains(['-', ':']) {
        return Err(ValueError::new(
            message::START_MISREAD,
            format!("{text:?} is not an RFC 3339 time with date, time of day and zone"),
            HINT,
        ));
    }
    span(text)
        .map(Start::Ago)
        .map_err(|misread| ValueError::new(message::START_MISREAD, misread.problem, HINT))
}

/// A span as the config would have it: the largest unit that divides it.
pub fn of_span(span: Span) -> String {
    let ms = span.as_ms();
    let (name, unit) = SPAN_UNITS
        .iter()
        .rev()
        .find(|(_, unit)| ms != 0 && ms.is_multiple_of(*unit))
        .unwrap_or(&SPAN_UNITS[1]);
    format!("{}{name}", ms / unit)
}

/// A size as the config would have it: the largest binary unit that divides it.
pub fn of_size(bytes: u64) -> String {
    let binary = SIZE_UNITS.iter().filter(|(_, unit)| unit.is_power_of_two());
    let (name, unit) = binary
        .rev()
        .find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit))
        .unwrap_or(&SIZE_UNITS[0]);
    format!("{}{name}", bytes / unit)
}

fn number_and_unit<'t>(
    code: Code,
    text: &'t str,
    what: &str,
    hint: &str,
) -> Result<(u64, &'t str), ValueError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = (&text[..end], text[end..].trim_start());
    if digits.is_empty() {
        return Err(ValueError::new(code, format!("{text:?} is not {what}"), hint));
    }
    if unit.is_empty() {
        return Err(ValueError::new(code, format!("{text:?} has no unit"), hint));
    }
    if unit.starts_with(['.', ',']) {
        return Err(ValueError::new(code, format!("{text:?} is not a whole number"), hint));
    }
    match digits.parse() {
        Ok(number) => Ok((number, unit)),
        Err(_) => Err(ValueError::new(code, format!("{text:?} is too large"), hint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_in_every_unit_and_written_back() {
        for (text, ms) in [
            ("200ms", 200),
            ("60s", 60_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            (" 90 s ", 90_000),
            ("0s", 0),
        ] {
            assert_eq!(span(text), Ok(Span::ms(ms)), "{text}");
            assert_eq!(span(&of_span(Span::ms(ms))), Ok(Span::ms(ms)), "{text}");
        }
        assert_eq!(of_span(Span::seconds(120)), "2m");
        assert_eq!(of_span(Span::ZERO), "0s");
    }

    #[test]
    fn what_is_no_span_is_told_with_its_reason() {
        for (text, problem) in [
            ("60", "\"60\" has no unit"),
            ("", "\"\" is not a duration"),
            ("s", "\"s\" is not a duration"),
            ("-5s", "\"-5s\" is not a duration"),
            ("1.5h", "\"1.5h\" is not a whole number"),
            ("5min", "\"min\" is not a unit of time"),
            ("5M", "\"M\" is not a unit of time"),
            ("1h30m", "\"h30m\" is not a unit of time"),
            ("99999999999999999999s", "\"99999999999999999999s\" is too large"),
            ("9999999999999999d", "\"9999999999999999d\" is too long"),
        ] {
            assert_eq!(span(text).unwrap_err().problem, problem, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_every_unit_and_written_back() {
        for (text, bytes) in [
            ("1GiB", 1 << 30),
            ("64MiB", 64 << 20),
            ("100MB", 100_000_000),
            ("512KiB", 512 << 10),
            ("512kib", 512 << 10),
            ("10 mb", 10_000_000),
            ("1TB", 1_000_000_000_000),
            ("4096B", 4096),
            ("0", 0),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(size(&of_size(bytes)), Ok(bytes), "{text}");
        }
        assert_eq!(size("1G").unwrap_err().problem, "\"G\" is not a unit of size");
        assert_eq!(size("1024").unwrap_err().problem, "\"1024\" has no unit");
        assert_eq!(size("99999999TiB").unwrap_err().problem, "\"99999999TiB\" is too large");
    }

    #[test]
    fn a_rate_is_a_size_for_each_second() {
        assert_eq!(rate("256KiB/s"), Ok(256 << 10));
        assert_eq!(rate(" 1 MB/s "), Ok(1_000_000));
        for text in ["256KiB", "1/s", "KiB/s", "10Mbit/s"] {
            assert!(rate(text).unwrap_err().hint.contains("256KiB/s"), "{text}");
        }
    }

    #[test]
    fn a_window_is_two_times_of_the_day() {
        assert_eq!(window("02:00-04:30").ok(), Window::new(120, 270));
        assert_eq!(window(" 22:00 - 06:00 ").ok(), Window::new(22 * 60, 360));
        assert_eq!(window("00:00-24:00").ok(), Window::new(0, 24 * 60));
        for text in ["2:00-4:00", "02:00", "02:00-02:00", "24:00-02:00", "02:60-03:00", "a-b", ""] {
            assert!(window(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_start_is_a_span_a_time_or_now() {
        assert_eq!(start("24h"), Ok(Start::Ago(Span::hours(24))));
        assert_eq!(start("now"), Ok(Start::Now));
        assert_eq!(start("1970-01-01T00:00:01Z"), Ok(Start::At(Stamp::from_seconds(1))));
        assert_eq!(start("1970-01-01T01:00:00+01:00"), Ok(Start::At(Stamp::EPOCH)));
        let problem = start("2026-01-31").unwrap_err().problem;
        assert!(problem.contains("RFC 3339"), "{problem}");
        assert!(start("yesterday").is_err());
    }
}
