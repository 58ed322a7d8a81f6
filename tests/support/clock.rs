//! A server's own calendar clock, which may be off, and the texts of times.
//!
//! Promises: no code shared with the collector reads or writes these times.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::format_description::well_known::Rfc3339;
use time::{Month, OffsetDateTime, PrimitiveDateTime, Time};

pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// Microseconds since 1970, shifted by a knob.
#[derive(Clone, Default)]
pub struct Clock {
    ahead_us: Arc<AtomicI64>,
}

impl Clock {
    pub fn now_us(&self) -> i64 {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(real.as_micros()).unwrap() + self.ahead_us.load(Ordering::Relaxed)
    }

    pub fn set_ahead_us(&self, us: i64) {
        self.ahead_us.store(us, Ordering::Relaxed);
    }

    /// The `Date` header of an answer sent now.
    pub fn http_date(&self) -> String {
        http_date(self.now_us())
    }
}

pub fn http_date(us: i64) -> String {
    let since = Duration::from_micros(u64::try_from(us.max(0)).unwrap());
    httpdate::fmt_http_date(UNIX_EPOCH + since)
}

/// `2026-01-02T03:04:05.678901Z`, as SentinelOne writes its times.
pub fn iso(us: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1_000).unwrap();
    format!(
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

/// The forms SentinelOne takes in a query: RFC 3339, and `2020-08-14 14:09:44.959263` as UTC.
pub fn read_query_time(text: &str) -> Option<i64> {
    let us = |at: OffsetDateTime| i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000)).ok();
    OffsetDateTime::parse(text, &Rfc3339).ok().and_then(us).or_else(|| {
        let zoned = format!("{}Z", text.replacen(' ', "T", 1));
        (text.len() >= 19 && text.as_bytes()[10] == b' ')
            .then(|| OffsetDateTime::parse(&zoned, &Rfc3339).ok())?
            .and_then(us)
    })
}

/// A time of the calendar in microseconds, for tests that need a fixed one.
pub fn at(year: i32, month: u8, day: u8) -> i64 {
    let date = time::Date::from_calendar_date(year, Month::try_from(month).unwrap(), day).unwrap();
    let at = PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_utc();
    at.unix_timestamp() * SECOND
}
