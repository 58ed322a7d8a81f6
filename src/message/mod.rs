//! Every message a person can meet: its stable code, what it means, and what to do.
//!
//! Promises: a code never changes its meaning and no number is used twice, so that it can be
//! searched for, alerted on, and named in a ticket; the level is the code's, so that the letter is
//! always right; docs/MESSAGES.md is made from these tables. Never: text of one case, with its
//! names and numbers; that is written where the message is logged.
//!
//! The first digit tells where it belongs: 0 the process, 1 the two services, 2 the queue, 3 the
//! config, 4 the command line, 5 a step of `check`.

mod check;
mod process;
mod service;
mod setting;
mod storage;
pub mod topic;
mod usage;

use std::fmt;

use log::{Level, Record};

/// What identifies a message: `S1C-E107`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code {
    level: Level,
    number: u16,
}

/// What is to be known of a code.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub code: Code,
    pub meaning: &'static str,
    pub remedy: &'static str,
}

/// One first digit and its messages.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub title: &'static str,
    pub entries: &'static [Entry],
}

/// All there are.
pub const PARTS: [Part; 6] = [
    Part { title: "The process", entries: process::TABLE },
    Part { title: "SentinelOne and Coralogix", entries: service::TABLE },
    Part { title: "The queue", entries: storage::TABLE },
    Part { title: "The config", entries: setting::TABLE },
    Part { title: "The command line", entries: usage::TABLE },
    Part { title: "Steps of check", entries: check::TABLE },
];

/// Declares codes: name, level, number, meaning, remedy.
macro_rules! codes {
    ($($name:ident $level:ident $number:literal $meaning:literal $remedy:literal;)*) => {
        use super::{Code, Entry};
        use log::Level;

        $(#[doc = $meaning] pub const $name: Code = Code::new(Level::$level, $number);)*

        pub(super) const TABLE: &[Entry] =
            &[$(Entry { code: $name, meaning: $meaning, remedy: $remedy },)*];
    };
}
use codes;

pub use check::*;
pub use process::*;
pub use service::*;
pub use setting::*;
pub use storage::*;
pub use usage::*;

impl Code {
    const fn new(level: Level, number: u16) -> Code {
        Code { level, number }
    }

    pub fn level(self) -> Level {
        self.level
    }

    #[cfg(not(closed))]
    pub fn number(self) -> u16 {
        self.number
    }

    fn letter(self) -> char {
        match self.level {
            Level::Error => 'E',
            Level::Warn => 'W',
            Level::Info => 'I',
            Level::Debug => 'D',
            Level::Trace => 'T',
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S1C-{}{:03}", self.letter(), self.number)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Every message, in the order of its number.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    PARTS.iter().flat_map(|part| part.entries)
}

/// The message that a person means by `S1C-E107`, `e107` or `107`.
pub fn find(typed: &str) -> Option<&'static Entry> {
    let typed = typed.trim();
    let rest = match typed.get(..4) {
        Some(start) if start.eq_ignore_ascii_case("S1C-") => &typed[4..],
        _ => typed,
    };
    let number: u16 = rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).parse().ok()?;
    all().find(|entry| entry.code.number == number)
}

/// Writes a line to the log. The logger is asked directly: `log`'s macros are compiled out below
/// WARN in what is shipped, for those of other crates are never shown (docs/BUILDING.md).
pub fn write(code: Code, text: fmt::Arguments<'_>) {
    if code.level <= log::max_level() {
        let args = format_args!("{code} {text}");
        let target = env!("CARGO_CRATE_NAME");
        log::logger().log(&Record::builder().level(code.level).target(target).args(args).build());
    }
}

/// Writes a line to the log: a code of this module by its name, then as `format!`.
macro_rules! log_message {
    ($code:ident, $($text:tt)+) => {
        $crate::message::write($crate::message::$code, format_args!($($text)+))
    };
}
pub(crate) use log_message;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_begin_with_the_digit_of_their_part() {
        let mut before = 0;
        for (digit, part) in PARTS.iter().enumerate() {
            for entry in part.entries {
                let number = entry.code.number;
                assert_eq!(usize::from(number / 100), digit, "{}", entry.code);
                assert!(number > before, "{} does not stand in order, or twice", entry.code);
                before = number;
            }
        }
    }

    #[test]
    fn every_message_says_in_whole_sentences_what_it_means_and_what_to_do() {
        for Entry { code, meaning, remedy } in all() {
            for text in [meaning, remedy] {
                assert!(text.len() > 15 && text.ends_with('.'), "{code}: {text}");
                assert!(!text.contains("  ") && !text.contains('\n'), "{code}: {text}");
            }
        }
    }

    #[test]
    fn a_code_is_found_however_it_is_typed() {
        for typed in ["S1C-E107", "s1c-e107", "E107", "107", " S1C-107 ", "S1C-W107"] {
            assert_eq!(find(typed).map(|entry| entry.code), Some(TOKEN_REFUSED), "{typed}");
        }
        for typed in ["", "S1C-", "S1C-E999", "token", "S1C-E107x", "ü"] {
            assert!(find(typed).is_none(), "{typed}");
        }
        assert_eq!(TOKEN_REFUSED.to_string(), "S1C-E107");
        assert_eq!(STARTS.to_string(), "S1C-I001");
    }
}
