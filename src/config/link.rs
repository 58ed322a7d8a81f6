//! Lists and rates: which streams, when, and how fast.
//!
//! Promises: everything wrong in a list is told at its place. Never: decides what is done with it.

use crate::config::leaf::{Check, Scope};
use crate::config::raw::Value;
use crate::config::settings::Shape;
use crate::config::units::{self, Misread};
use crate::config::{Delivery, Polling, suggest};
use crate::message;
use crate::record::Kind;
use crate::window::Windows;

impl Check<'_> {
    pub fn delivery(&mut self, scope: Scope<'_>) -> Delivery {
        Delivery {
            max_rate: self.rate(scope),
            windows: self.windows(scope),
            order: self.kinds(scope, "order", &[]),
        }
    }

    pub fn polling(&mut self, scope: Scope<'_>) -> Polling {
        Polling {
            max_rate: self.rate(scope),
            windows: self.windows(scope),
            // What can't be read is told, and as good as not given.
            max_page: Some(self.size(scope, "max_page")).filter(|bytes| *bytes > 0),
        }
    }

    fn rate(&mut self, scope: Scope<'_>) -> Option<u64> {
        let setting = scope.setting("max_rate");
        let read = |text: &str| {
            let rate = units::rate(text)?;
            let bound = |bytes| format!("\"{}/s\"", units::of_size(bytes));
            match setting.shape {
                Shape::Rate { min, .. } if rate < min => Err(Misread::new(
                    message::OUT_OF_RANGE,
                    "it is too slow",
                    format!("at least {}", bound(min)),
                )),
                Shape::Rate { max, .. } if rate > max => Err(Misread::new(
                    message::OUT_OF_RANGE,
                    "it is too fast",
                    format!("at most {}", bound(max)),
                )),
                _ => Ok(rate),
            }
        };
        scope.get("max_rate").and_then(|given| self.read(given, read))
    }

    fn windows(&mut self, scope: Scope<'_>) -> Windows {
        let Some(given) = scope.get("windows") else { return Windows::default() };
        let Value::List(texts) = &given.value else { return Windows::default() };
        let key = given.setting.full_name();
        if texts.is_empty() {
            let hint = "remove the line to allow any time, or write [\"22:00-06:00\"]";
            self.note(
                message::WINDOW_MISREAD,
                Some(given.span.clone()),
                &key,
                "there is no window in it",
                hint,
            );
        }
        let mut windows = vec![];
        for (text, span) in texts {
            match units::window(text) {
                Ok(window) => windows.push(window),
                Err(why) => self.note(why.code, Some(span.clone()), &key, why.problem, &why.hint),
            }
        }
        Windows(windows)
    }

    /// A list of streams; the fallback where it is missing.
    pub fn kinds(&mut self, scope: Scope<'_>, key: &str, fallback: &[Kind]) -> Vec<Kind> {
        const HINT: &str = "the streams are \"threats\", \"activities\" and \"alerts\"";
        let Some(given) = scope.get(key) else { return fallback.to_vec() };
        let key = given.setting.full_name();
        let Value::List(names) = &given.value else { return Vec::new() };
        if names.is_empty() {
            self.note(
                message::STREAM_MISREAD,
                Some(given.span.clone()),
                &key,
                "there is no stream in it",
                HINT,
            );
        }
        let mut kinds = Vec::new();
        for (name, span) in names {
            match Kind::from_name(name) {
                Some(kind) if kinds.contains(&kind) => {
                    let problem = format!("{name:?} is listed twice");
                    self.note(
                        message::STREAM_MISREAD,
                        Some(span.clone()),
                        &key,
                        problem,
                        "remove one of them",
                    );
                }
                Some(kind) => kinds.push(kind),
                None => {
                    // "agents" is no "alerts": beyond one slip of the finger all three are named.
                    let hint = suggest::nearest(name, Kind::ALL.map(Kind::name))
                        .filter(|known| suggest::distance(name, known) == 1)
                        .map(|known| format!("did you mean {known:?}?"));
                    let problem = format!("{name:?} is not a stream");
                    self.note(
                        message::STREAM_MISREAD,
                        Some(span.clone()),
                        &key,
                        problem,
                        hint.as_deref().unwrap_or(HINT),
                    );
                }
            }
        }
        kinds
    }
}
