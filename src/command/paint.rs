//! Colour for terminals: one meaning, one colour.
//!
//! Promises: a painted text has the same width as the plain one; without colours it is the plain
//! one. Never: asks whether colours are wanted, that is the edge's.

use crate::core::Mood;

/// How things stand, as a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Good,
    Minding,
    Bad,
    /// What is only there to be looked past.
    Dim,
}

impl Paint {
    /// The colour of a mood's stable name.
    pub fn of_mood(name: &str) -> Paint {
        match name {
            name if name == Mood::Fine.name() => Paint::Good,
            name if name == Mood::Troubled.name() => Paint::Minding,
            _ => Paint::Bad,
        }
    }

    /// The text in this colour, when colours are shown.
    pub fn on(self, text: &str, shown: bool) -> String {
        let code = match self {
            Paint::Good => "32",
            Paint::Minding => "33",
            Paint::Bad => "31",
            Paint::Dim => "2",
        };
        match shown && !text.is_empty() {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mood_has_one_colour_and_no_colour_is_the_text_itself() {
        assert_eq!(Paint::of_mood("healthy").on("fine", true), "\x1b[32mfine\x1b[0m");
        assert_eq!(Paint::of_mood("degraded").on("so", true), "\x1b[33mso\x1b[0m");
        assert_eq!(Paint::of_mood("stuck").on("x", true), "\x1b[31mx\x1b[0m");
        assert_eq!(Paint::Bad.on("x", false), "x");
    }
}
