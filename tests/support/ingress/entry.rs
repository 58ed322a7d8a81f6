//! One entry of a batch: read, checked, dated.
//!
//! Promises: what the reference calls required is required, unknown members are let by, and the
//! unit of a timestamp is guessed by its magnitude, as the real one seems to do.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::support::clock::{DAY, HOUR};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<'a> {
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    hi_res_timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    pub application_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub subsystem_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub computer_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    severity: Option<&'a RawValue>,
    #[serde(borrow)]
    pub category: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub class_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    json: Option<&'a RawValue>,
    #[serde(borrow)]
    log: Option<&'a RawValue>,
}

/// How an entry's own time relates to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dated {
    Absent,
    Fine(i64),
    TooOld(i64),
    TooFarAhead(i64),
}

impl<'a> Entry<'a> {
    /// What is missing, if anything is.
    pub fn lacks(&self) -> Option<&'static str> {
        let filled = |name: &Option<Cow<'_, str>>| name.as_ref().is_some_and(|n| !n.is_empty());
        if !filled(&self.application_name) {
            Some("applicationName")
        } else if !filled(&self.subsystem_name) {
            Some("subsystemName")
        } else if self.content().is_none() {
            Some("text")
        } else {
            None
        }
    }

    fn content(&self) -> Option<&'a RawValue> {
        self.text.or(self.json).or(self.log)
    }

    /// The event: a string's content, or the JSON of anything else.
    pub fn text(&self) -> Cow<'a, str> {
        let raw = self.content().map_or("", RawValue::get);
        if raw.starts_with('"') {
            serde_json::from_str::<Text<'a>>(raw).map_or(Cow::Borrowed(raw), |text| text.0)
        } else {
            Cow::Borrowed(raw)
        }
    }

    /// 1 when absent; `None`: not one of the six, and such an entry is dropped.
    pub fn severity(&self) -> Option<u8> {
        let Some(raw) = self.severity else { return Some(1) };
        raw.get().parse().ok().filter(|severity| (1..=6).contains(severity))
    }

    pub fn dated(&self, now_us: i64) -> Dated {
        let Some(us) = self.stamp_us() else { return Dated::Absent };
        if us < now_us - DAY {
            Dated::TooOld(us)
        } else if us > now_us + 4 * HOUR {
            Dated::TooFarAhead(us)
        } else {
            Dated::Fine(us)
        }
    }

    fn stamp_us(&self) -> Option<i64> {
        if let Some(raw) = self.hi_res_timestamp {
            return Some(raw.get().trim_matches('"').parse::<i64>().ok()? / 1_000);
        }
        let text = self.timestamp?.get().trim_matches('"');
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole: i64 = whole.parse().ok()?;
        let fraction: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
        Some(match whole {
            // Nanoseconds, microseconds, or milliseconds with a fraction.
            1_000_000_000_000_000_000.. => whole / 1_000,
            1_000_000_000_000_000.. => whole,
            _ => whole * 1_000 + fraction,
        })
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The entries of a body: a JSON array, or one object a line.
pub fn read_batch<'a>(body: &'a [u8], content_type: &str) -> Result<Vec<Entry<'a>>, String> {
    let why = |error: serde_json::Error| error.to_string();
    if content_type.starts_with("application/x-ndjson") {
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        return lines.map(|line| serde_json::from_slice(line).map_err(why)).collect();
    }
    serde_json::from_slice(body).map_err(why)
}
