//! Colours for terminals: one meaning for each colour.
//!
//! Promises: a coloured text has the same width as the plain one; without colours it is the plain
//! one. Never: decides whether colours are wanted; `os::host` does.

use std::fmt;

use crate::core::Health;
use crate::plain;

/// The meaning of a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Good,
    Minding,
    Bad,
    /// Less important text.
    Dim,
}

impl Paint {
    /// The colour of a health, given its stable name.
    pub fn of_health(name: &str) -> Paint {
        match name {
            name if name == Health::Healthy.name() => Paint::Good,
            name if name == Health::Degraded.name() => Paint::Minding,
            _ => Paint::Bad,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Paint::Good => "32",
            Paint::Minding => "33",
            Paint::Bad => "31",
            Paint::Dim => "2",
        }
    }
}

/// A text for a terminal in which our colours are the only control sequences: whatever is put into it is
/// made plain before a colour is added, so that a text of others has none.
#[derive(Debug, Default)]
pub struct Painted(String);

impl Painted {
    /// Lines without a colour.
    pub fn of(text: &str) -> Painted {
        let mut painted = Painted::default();
        painted.put(text);
        painted
    }

    pub fn put(&mut self, text: &str) {
        self.0.push_str(&plain::text(text));
    }

    /// The text in this colour, if colours are shown.
    pub fn paint(&mut self, paint: Paint, text: &str, shown: bool) {
        let is_painted = shown && !text.is_empty();
        if is_painted {
            self.0.push_str("\x1b[");
            self.0.push_str(paint.code());
            self.0.push('m');
        }
        self.put(text);
        if is_painted {
            self.0.push_str("\x1b[0m");
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Write for Painted {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(paint: Paint, text: &str, shown: bool) -> String {
        let mut out = Painted::default();
        out.paint(paint, text, shown);
        out.0
    }

    #[test]
    fn a_state_of_health_has_one_colour_and_no_colour_is_the_text_itself() {
        assert_eq!(painted(Paint::of_health("healthy"), "fine", true), "\x1b[32mfine\x1b[0m");
        assert_eq!(painted(Paint::of_health("degraded"), "so", true), "\x1b[33mso\x1b[0m");
        assert_eq!(painted(Paint::of_health("stuck"), "x", true), "\x1b[31mx\x1b[0m");
        assert_eq!(painted(Paint::Bad, "x", false), "x");
    }

    #[test]
    fn of_what_a_terminal_obeys_only_our_colours_stay() {
        for theirs in ["\x1b[8m", "\x1b[2J", "\x1b]0;x\u{7}", "\x1b[1;31m", "\u{9b}31m", "\u{202e}"]
        {
            let shown = painted(Paint::Bad, theirs, true);
            let inner =
                shown.strip_prefix("\x1b[31m").and_then(|rest| rest.strip_suffix("\x1b[0m"));
            assert!(inner.is_some_and(|inner| inner.starts_with("\\u")), "{shown:?}");
            assert!(!Painted::of(theirs).as_str().contains(plain::is_harmful), "{theirs:?}");
        }
        assert_eq!(Painted::of("a\nb\n").as_str(), "a\nb\n");
    }
}
