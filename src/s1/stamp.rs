//! The forms in which SentinelOne, and what stands in its place, writes a point in time.
//!
//! Promises: a stamp without zone is UTC; a number is taken for an epoch only where its length leaves
//! one meaning; no stamp passes through a float. Never: guesses. What is read in no way is `None`,
//! and the record keeps its bytes all the same.

use std::ops::Range;

use time::{Date, Month};

use super::json;
use crate::limits;
use crate::time::Stamp;

/// The stamp that stands in this JSON token: a text or a number.
pub(super) fn of_token(bytes: &[u8], token: &Range<usize>) -> Option<Stamp> {
    match json::plain(bytes, token) {
        Some(text) => read(text),
        None => epoch(std::str::from_utf8(bytes.get(token.clone())?).ok()?),
    }
}

/// Whether a stamp is one: a null date reads 1970, and no record is older than its maker.
pub(super) fn is_real(stamp: Stamp) -> bool {
    stamp >= Stamp::from_seconds(limits::SOURCE_STAMP_MIN_SECONDS)
}

/// Reads a text.
pub fn read(text: &str) -> Option<Stamp> {
    let text = text.trim();
    Stamp::parse(text).or_else(|| epoch(text)).or_else(|| calendar(text))
}

/// Seconds with 10 digits, or milliseconds with 13, and a fraction of them. Any other length could
/// be an id, or a time in a year that no record is of.
fn epoch(text: &str) -> Option<Stamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let unit_us = match whole.len() {
        10 => 1_000_000,
        13 => 1_000,
        _ => return None,
    };
    let whole: i64 = whole.parse().ok()?;
    Some(Stamp(whole * unit_us + micros(fraction) * unit_us / 1_000_000))
}

/// The first six digits of a fraction, as a number of millionths.
fn micros(fraction: &str) -> i64 {
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
    digits.fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
}

/// `2026-03-01 10:00:00.25`, with `T` or a space between, any number of fraction digits, and any
/// zone or none behind it.
fn calendar(text: &str) -> Option<Stamp> {
    let mut reader = Reader(text.as_bytes());
    let year = reader.number(4)?;
    reader.one_of(b"-")?;
    let month = Month::try_from(u8::try_from(reader.number(2)?).ok()?).ok()?;
    reader.one_of(b"-")?;
    let day = u8::try_from(reader.number(2)?).ok()?;
    reader.one_of(b"Tt ")?;
    let hour = reader.number(2)?;
    reader.one_of(b":")?;
    let minute = reader.number(2)?;
    reader.one_of(b":")?;
    let second = reader.number(2)?;
    // 60 is a leap second.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let fraction_us = match reader.one_of(b".,") {
        Some(()) => micros(reader.digits()?),
        None => 0,
    };
    let offset = zone(std::str::from_utf8(reader.0).ok()?.trim_start())?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, day).ok()?;
    let midnight = date.midnight().assume_utc().unix_timestamp();
    let seconds = midnight + hour * 3_600 + minute * 60 + second - offset;
    Some(Stamp(seconds * 1_000_000 + fraction_us))
}

/// How many seconds a zone is ahead of UTC.
fn zone(text: &str) -> Option<i64> {
    if ["", "z", "utc", "gmt"].iter().any(|utc| text.eq_ignore_ascii_case(utc)) {
        return Some(0);
    }
    let mut reader = Reader(text.as_bytes());
    let ahead = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    reader.one_of(b"+-")?;
    let hours = reader.number(2)?;
    let minutes = match reader.0 {
        [] => 0,
        _ => {
            let _ = reader.one_of(b":");
            reader.number(2)?
        }
    };
    let fits = reader.0.is_empty() && hours <= 23 && minutes <= 59;
    fits.then_some(ahead * (hours * 3_600 + minutes * 60))
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (head, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        head.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    }

    /// As many digits as there are, at least one.
    fn digits(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|b| !b.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        std::str::from_utf8(digits).ok().filter(|digits| !digits.is_empty())
    }

    fn one_of(&mut self, wanted: &[u8]) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        wanted.contains(first).then(|| self.0 = rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<Stamp> {
        let json = format!(" {text},");
        of_token(json.as_bytes(), &(1..1 + text.len()))
    }

    #[test]
    fn every_form_of_one_moment_is_read_as_the_same_stamp() {
        let moment = Stamp::parse("2026-03-01T10:00:00.25Z");
        for text in [
            r#""2026-03-01T10:00:00.25Z""#,
            r#""2026-03-01T10:00:00.250""#,
            r#""2026-03-01 10:00:00.25""#,
            r#""2026-03-01 10:00:00.25Z""#,
            r#""2026-03-01t10:00:00.250000000z""#,
            r#""2026-03-01 10:00:00.25 UTC""#,
            r#""2026-03-01T10:00:00,25GMT""#,
            r#""2026-03-01T10:00:00.25+0000""#,
            r#""2026-03-01T10:00:00.25+00:00""#,
            r#""2026-03-01T10:00:00.25+00""#,
            r#""2026-03-01T10:00:00.25-0000""#,
            r#""2026-03-01T15:30:00.25+0530""#,
            r#""2026-03-01T15:30:00.25+05:30""#,
            r#""2026-03-01 00:00:00.25 -10:00""#,
            r#""2026-02-28T22:00:00.25-12""#,
            r#"" 2026-03-01T10:00:00.25 ""#,
            "1772359200250",
            r#""1772359200250""#,
            "1772359200250.0",
            "1772359200.25",
            r#""1772359200.25""#,
        ] {
            assert_eq!(at(text), moment, "{text}");
        }
        assert_eq!(at("1772359200"), Stamp::parse("2026-03-01T10:00:00Z"));
        assert_eq!(at("\"1772359200\""), Stamp::parse("2026-03-01T10:00:00Z"));
    }

    #[test]
    fn one_to_nine_fraction_digits_are_read_with_and_without_a_zone() {
        for zone in ["", "Z", "+0000", "+00:00"] {
            for digits in 1..=9 {
                let fraction = &"123456789"[..digits];
                let us = micros(fraction);
                let text = format!("\"2026-03-01T10:00:00.{fraction}{zone}\"");
                let whole = Stamp::parse("2026-03-01T10:00:00Z").unwrap();
                assert_eq!(at(&text), Some(Stamp(whole.0 + us)), "{text}");
            }
        }
        assert_eq!([micros("1"), micros("123456789")], [100_000, 123_456]);
    }

    #[test]
    fn what_could_mean_two_things_or_nothing_is_not_read() {
        for text in [
            "null",
            "\"\"",
            "\"soon\"",
            "{}",
            "true",
            "0",
            "1",
            "-1772359200",
            "17723592000",
            "177235920025",
            "17723592002500",
            "1056789012345678901",
            "1.772359200250e12",
            r#""2026-03-01""#,
            r#""2026-03-01T10:00""#,
            r#""2026-02-30T10:00:00""#,
            r#""2026-13-01T10:00:00""#,
            r#""2026-03-01T24:00:00""#,
            r#""2026-03-01T10:00:00.""#,
            r#""2026-03-01T10:00:00 CET""#,
            r#""2026-03-01T10:00:00+1""#,
            r#""2026-03-01T10:00:00+05300""#,
            r#""2026-03-01T10:00:00Z[UTC]""#,
            r#""03/01/2026 10:00:00""#,
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn a_null_date_is_read_and_is_none() {
        let null = at(r#""1970-01-01T00:00:00Z""#).unwrap();
        assert_eq!(null, Stamp::EPOCH);
        assert!(!is_real(null) && !is_real(Stamp::MIN));
        assert!(is_real(at(r#""2013-01-01 00:00:00""#).unwrap()));
    }
}
