//! The times this program knows, as types that can't be mixed up.
//!
//! Holds: `Mono` (schedules), `Stamp` (SentinelOne's and the wall's microseconds), `Span` (a length).
//! Promises: arithmetic saturates; "never" and "unknown" are values, not big numbers (keeps P8).
//! Never: reads a clock. Clocks are read at the edge and handed down.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A length of time in milliseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Span(pub u64);

impl Span {
    pub const ZERO: Span = Span(0);

    pub const fn ms(ms: u64) -> Span {
        Span(ms)
    }

    pub const fn seconds(s: u64) -> Span {
        Span(s.saturating_mul(1_000))
    }

    pub const fn minutes(m: u64) -> Span {
        Span::seconds(m.saturating_mul(60))
    }

    pub const fn hours(h: u64) -> Span {
        Span::minutes(h.saturating_mul(60))
    }

    pub const fn as_ms(self) -> u64 {
        self.0
    }

    pub const fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    pub const fn times(self, n: u64) -> Span {
        Span(self.0.saturating_mul(n))
    }
}

/// "45s", "12m", "3h 20m", "2d 4h": two units at most, for people.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0 / 1_000;
        let (d, h, m) = (s / 86_400, s / 3_600 % 24, s / 60 % 60);
        match (d, h, m, s) {
            (0, 0, 0, 0) => write!(f, "{}ms", self.0),
            (0, 0, 0, s) => write!(f, "{s}s"),
            (0, 0, m, s) if s % 60 == 0 => write!(f, "{m}m"),
            (0, 0, m, s) => write!(f, "{m}m {}s", s % 60),
            (0, h, 0, _) => write!(f, "{h}h"),
            (0, h, m, _) => write!(f, "{h}h {m}m"),
            (d, 0, _, _) => write!(f, "{d}d"),
            (d, h, _, _) => write!(f, "{d}d {h}h"),
        }
    }
}

/// Milliseconds on a clock that never runs backwards. Its zero means nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    pub const ZERO: Mono = Mono(0);

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Mono) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for Mono {
    type Output = Mono;
    fn add(self, span: Span) -> Mono {
        Mono(self.0.saturating_add(span.0))
    }
}

/// A point in calendar time, microseconds since 1970-01-01T00:00:00Z.
///
/// SentinelOne stamps its records in microseconds (reference: Management API v2.1, `createdAt`), so
/// a position is one of these. The wall clock is one too, but only ever a hint (P8).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Stamp(pub i64);

impl Stamp {
    /// Below every real stamp: "nothing seen yet".
    pub const MIN: Stamp = Stamp(i64::MIN);
    /// Above every real stamp: a record whose own stamp can't be read. It moves no position and is
    /// remembered for ever, so that it is neither lost nor sent twice.
    pub const UNREADABLE: Stamp = Stamp(i64::MAX);
    pub const EPOCH: Stamp = Stamp(0);

    pub const fn from_ms(ms: i64) -> Stamp {
        Stamp(ms.saturating_mul(1_000))
    }

    pub const fn from_seconds(s: i64) -> Stamp {
        Stamp(s.saturating_mul(1_000_000))
    }

    /// How much later this is than `earlier`; zero when it is not.
    pub fn since(self, earlier: Stamp) -> Span {
        let us = i128::from(self.0) - i128::from(earlier.0);
        Span(u64::try_from(us.max(0) / 1_000).unwrap_or(u64::MAX))
    }

    /// Reads an RFC 3339 time with any number of fraction digits and any offset, as SentinelOne
    /// and people write them. Digits below the microsecond are cut.
    pub fn parse(text: &str) -> Option<Stamp> {
        parse_plain_utc(text).or_else(|| {
            let at = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?;
            i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000)).ok().map(Stamp)
        })
    }

    /// RFC 3339 without the fraction, for people.
    pub fn to_the_second(self) -> String {
        let text = self.to_string();
        match text.split_once('.') {
            Some((whole, _)) => format!("{whole}Z"),
            None => text,
        }
    }

    /// Reads an HTTP date (RFC 9110 section 5.6.7, all three forms).
    pub fn parse_http_date(text: &str) -> Option<Stamp> {
        let at = httpdate::parse_http_date(text.trim()).ok()?;
        let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_micros()).ok().map(Stamp)
    }
}

/// The one form nearly every record has, read without a general parser: it is on the hot path,
/// once a record. Anything unusual returns `None` and takes the general way.
fn parse_plain_utc(text: &str) -> Option<Stamp> {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| -> Option<i64> {
        bytes
            .get(from..to)?
            .iter()
            .try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let plain = bytes.len() == 27
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[10] == b'T'
        && bytes[13] == b':'
        && bytes[16] == b':'
        && bytes[19] == b'.'
        && bytes[26] == b'Z';
    if !plain {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let month = time::Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date =
        time::Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?)
            .ok()?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = i64::from(date.to_julian_day()) - 2_440_588; // 1970-01-01 as a Julian day.
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Stamp(seconds * 1_000_000 + digits(20, 26)?))
}

impl Add<Span> for Stamp {
    type Output = Stamp;
    fn add(self, span: Span) -> Stamp {
        Stamp(self.0.saturating_add(span_us(span)))
    }
}

impl Sub<Span> for Stamp {
    type Output = Stamp;
    fn sub(self, span: Span) -> Stamp {
        Stamp(self.0.saturating_sub(span_us(span)))
    }
}

fn span_us(span: Span) -> i64 {
    i64::try_from(span.0).unwrap_or(i64::MAX).saturating_mul(1_000)
}

/// RFC 3339 in UTC with six digits, the form SentinelOne answers with and takes back.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000) else {
            return write!(f, "(time {} us)", self.0);
        };
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.microsecond()
        )
    }
}

/// No clock can rightly be before this: the build's date, or the release's (build.rs).
pub const BUILT_AT: Stamp = Stamp::from_seconds(match i64::from_str_radix(BUILT_AT_TEXT, 10) {
    Ok(seconds) => seconds,
    Err(_) => panic!("build.rs writes a whole number"),
});
const BUILT_AT_TEXT: &str = env!("S1_CORALOGIX_BUILT_AT");

/// Witnesses of the present besides a tenant's own `Date`. Each may be wrong: nothing durable rests on
/// one of them alone (keeps P8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// This machine's clock, where it can be right: not before the program's date.
    pub local: Option<Stamp>,
    /// Coralogix' clock as it sent it to this process, carried forward; `None` where it has sent none,
    /// or what it sent has grown old or was contradicted since.
    pub sink: Option<Stamp>,
}

/// How far Coralogix' clock is from the others, none of which agrees with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkOff {
    pub by: Span,
    pub is_ahead: bool,
    /// The clock that it is compared with.
    pub whose: Whose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Machine,
    Tenant,
    /// This machine's and that of the tenant that answered last, which agree.
    Both,
}

/// When something may next be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    At(Mono),
    /// Not before something happens.
    Never,
}

impl Due {
    pub fn is_over(self, now: Mono) -> bool {
        matches!(self, Due::At(at) if at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read_in_every_form_that_was_seen() {
        for (text, us) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.25Z", 250_000),
            ("1970-01-01T00:00:01.003000Z", 1_003_000),
            ("1970-01-01T01:00:00.000001+01:00", 1),
            ("2022-04-05T09:06:38.941691Z", 1_649_149_598_941_691),
            ("2022-04-05T09:06:38.941691999Z", 1_649_149_598_941_691),
            ("2185-07-21T23:34:33.709552Z", 6_802_270_473_709_552),
            ("1969-12-31T23:59:59.999999Z", -1),
        ] {
            assert_eq!(Stamp::parse(text), Some(Stamp(us)), "{text}");
        }
        for text in ["", "now", "2022-13-05T09:06:38.941691Z", "2022-04-05T25:06:38.941691Z"] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_stamp_is_written_as_it_was_read() {
        for text in ["2022-04-05T09:06:38.941691Z", "2185-07-21T23:34:33.709552Z"] {
            assert_eq!(Stamp::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_quick_reader_agrees_with_the_general_one() {
        for day in 0..40_000 {
            let stamp = Stamp(day * 86_400_000_000 + 37_000_123_456 + day);
            let text = stamp.to_string();
            assert_eq!(parse_plain_utc(&text), Some(stamp), "{text}");
            let general = OffsetDateTime::parse(&text, &Rfc3339).unwrap();
            assert_eq!(general.unix_timestamp_nanos(), i128::from(stamp.0) * 1_000);
        }
    }

    #[test]
    fn http_dates_are_read_in_all_three_forms() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(Stamp::parse_http_date(text), Some(Stamp::from_seconds(784_111_777)));
        }
        assert_eq!(Stamp::parse_http_date("tomorrow"), None);
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Stamp::MIN - Span::hours(1), Stamp::MIN);
        assert_eq!(Stamp(i64::MAX) + Span(u64::MAX), Stamp(i64::MAX));
        assert_eq!(Mono(5).since(Mono(9)), Span::ZERO);
        assert_eq!(Stamp(0).since(Stamp::MIN), Span(9_223_372_036_854_775));
    }
}
