//! Colours for terminals: one meaning for each colour.
//!
//! Promises: a coloured text has the same width as the plain one; without colours it is the plain
//! one. Never: decides whether colours are wanted; `os::host` does.

use crate::core::Health;

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

    /// The text in this colour, if colours are shown.
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
    fn a_state_of_health_has_one_colour_and_no_colour_is_the_text_itself() {
        assert_eq!(Paint::of_health("healthy").on("fine", true), "\x1b[32mfine\x1b[0m");
        assert_eq!(Paint::of_health("degraded").on("so", true), "\x1b[33mso\x1b[0m");
        assert_eq!(Paint::of_health("stuck").on("x", true), "\x1b[31mx\x1b[0m");
        assert_eq!(Paint::Bad.on("x", false), "x");
    }
}
