//! A reader that walks over JSON and remembers where things lie, without building anything.
//!
//! Promises: it never allocates, recurses or panics, whatever the bytes; in well-formed JSON every
//! range is exactly the value's bytes. Never: judges a value it only passes. What is inside a record
//! is SentinelOne's business: a stray `NaN` must not hold up the stream behind it, so inside a
//! value only strings and brackets are followed.

use std::ops::Range;

use s1_coralogix_bytes::json::{string_end, value_end};

/// A place in the bytes, moving forward. `None` from any method means: the JSON ends or breaks at
/// `at`.
pub(super) struct Walker<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Walker<'a> {
    #[cfg(test)]
    pub fn new(bytes: &'a [u8]) -> Walker<'a> {
        Walker { bytes, at: 0 }
    }

    /// At the beginning, behind a byte order mark if there is one.
    pub fn after_mark(bytes: &'a [u8]) -> Walker<'a> {
        let mark = "\u{feff}".as_bytes();
        Walker { bytes, at: if bytes.starts_with(mark) { mark.len() } else { 0 } }
    }

    /// The next byte that is no white space.
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    pub fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// Passes one value, whatever it is, and tells where it was.
    pub fn value(&mut self) -> Option<Range<usize>> {
        let first = self.peek()?;
        let start = self.at;
        self.at = value_end(self.bytes, start, first)?;
        Some(start..self.at)
    }

    /// Walks an object. `each` gets the walker before a member's value, and the member's name as
    /// it stands between its quotes; it has to pass the value. A value that is no object is passed.
    pub fn members(
        &mut self,
        mut each: impl FnMut(&mut Walker<'a>, &'a [u8]) -> Option<()>,
    ) -> Option<()> {
        if self.peek()? != b'{' {
            return self.value().map(drop);
        }
        self.at += 1;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            if self.peek()? != b'"' {
                return None;
            }
            let start = self.at + 1;
            self.at = string_end(self.bytes, start)?;
            let name = &self.bytes[start..self.at - 1];
            self.take(b':')?;
            each(self, name)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }
}

/// The inside of a string token, when it needs no decoding.
pub(super) fn plain<'a>(bytes: &'a [u8], token: &Range<usize>) -> Option<&'a str> {
    let text = bytes.get(token.clone())?.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if text.contains(&b'\\') { None } else { std::str::from_utf8(text).ok() }
}

/// The text of a string token, decoded; `None` for anything that is not a well-formed string.
pub(super) fn decoded(bytes: &[u8], token: &Range<usize>) -> Option<String> {
    serde_json::from_slice(bytes.get(token.clone())?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;

    #[test]
    fn a_value_ends_where_it_ends() {
        for value in [
            "0",
            "-1.5e7",
            "true",
            "null",
            "NaN",
            "\"\"",
            "\"a\"",
            "\"12345678\"",
            "\"\\\"\"",
            "\"\\\\\"",
            "\"1234567\\\"89012345678\"",
            "[]",
            "{}",
            "[[],[{}],\"]\"]",
            "{\"}\":{\"a\":[\"\\\\\"]}}",
        ] {
            for after in [",", " ", "]", "}", ",\"x\"", ",12345678901234567890"] {
                let text = format!("  {value}{after}");
                let mut walker = Walker::new(text.as_bytes());
                assert_eq!(walker.value(), Some(2..2 + value.len()), "{text}");
            }
            if value.len() > 1 {
                for cut in 0..value.len() {
                    assert_eq!(
                        Walker::new(&value.as_bytes()[..cut]).value(),
                        None,
                        "{value} {cut}"
                    );
                }
            }
        }
    }

    #[test]
    fn members_are_found_and_broken_objects_told() {
        let names = |text: &str| {
            let mut names = Vec::new();
            let mut walker = Walker::new(text.as_bytes());
            walker.members(|walker, name| {
                names.push(String::from_utf8_lossy(name).into_owned());
                walker.value().map(drop)
            })?;
            (walker.at == text.len()).then_some(names)
        };
        assert_eq!(names("{}"), Some(vec![]));
        assert_eq!(names("[1]"), Some(vec![]));
        assert_eq!(names(" { \"a\" : 1 , \"b\":{\"c\":2}}"), Some(vec!["a".into(), "b".into()]));
        for broken in ["", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\" 1}", "{\"a\":1,}", "{a:1}"]
        {
            assert_eq!(names(broken), None, "{broken}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut prng = Prng::new(11);
        for _ in 0..20_000 {
            let length = prng.below(40) as usize;
            let alphabet = b"{}[]\",:\\ a1\n";
            let bytes: Vec<u8> =
                (0..length).map(|_| alphabet[prng.below(alphabet.len() as u64) as usize]).collect();
            let mut walker = Walker::new(&bytes);
            while walker.value().is_some() {}
            let _ = Walker::new(&bytes).members(|walker, _| walker.value().map(drop));
            assert!(walker.at <= bytes.len());
        }
    }
}
