//! A secret that can't print itself (keeps P7).
//!
//! Promises: `Debug` shows only that there is one; there is no `Display`, no `Serialize`. Never:
//! hands its text to anything but the header that carries it, and `report`, which removes it.

use std::fmt;

/// A token or key, already cut of white space and known to be a possible header value.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a text can't be a secret. Says where, never what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotASecret {
    Empty,
    /// No token or key has quotes; they come from a habit of other files.
    Quoted,
    /// A byte at this offset that no HTTP header value may have.
    BadByte {
        at: usize,
    },
}

impl fmt::Display for NotASecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotASecret::Empty => write!(f, "it is empty"),
            NotASecret::Quoted => write!(f, "it starts and ends with a quote; remove the quotes"),
            NotASecret::BadByte { at } => {
                write!(f, "the character at offset {at} is not allowed in an HTTP header")
            }
        }
    }
}

impl Secret {
    pub fn new(text: &str) -> Result<Secret, NotASecret> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NotASecret::Empty);
        }
        let is_in = |quote| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
        if is_in('"') || is_in('\'') {
            return Err(NotASecret::Quoted);
        }
        match text.bytes().position(|b| !b.is_ascii_graphic()) {
            Some(at) => Err(NotASecret::BadByte { at }),
            None => Ok(Secret(text.to_owned())),
        }
    }

    /// The text itself, for the one header or body that carries it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_trimmed_checked_and_never_printed() {
        let secret = Secret::new(" eyJ0.abc-_~\r\n").unwrap();
        assert_eq!(secret.reveal(), "eyJ0.abc-_~");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(Secret::new(" \n"), Err(NotASecret::Empty));
        assert_eq!(Secret::new("ab\ncd"), Err(NotASecret::BadByte { at: 2 }));
        assert_eq!(Secret::new("\"abc\"\n"), Err(NotASecret::Quoted));
        assert_eq!(Secret::new("'abc'"), Err(NotASecret::Quoted));
        assert_eq!(Secret::new("a\"b'c").unwrap().reveal(), "a\"b'c");
        assert_eq!(Secret::new("caf\u{e9}"), Err(NotASecret::BadByte { at: 3 }));
    }
}
