//! Where a JSON value ends: most bytes of a page are passed here.
//!
//! Promises: no allocation, no recursion, no panic, whatever the bytes. Never: judges what is within a
//! value; only strings and brackets are followed. Tested where it is used too, in `s1::json`.

use crate::word::equal;

/// The end of the value that begins at `start` with the byte `first`. `None`: it does not end.
#[inline(never)]
pub fn value_end(bytes: &[u8], start: usize, first: u8) -> Option<usize> {
    match first {
        b'"' => string_end(bytes, start + 1),
        b'{' | b'[' => container_end(bytes, start + 1),
        _ => scalar_end(bytes, start),
    }
}

/// The end of the string whose first byte inside the quotes is at `at`: just after its quote.
#[inline(never)]
pub fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        // Eight bytes at a time: strings are most of a record.
        while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*eight);
            let hits = equal(word, b'"') | equal(word, b'\\');
            if hits != 0 {
                at += hits.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            // What is escaped is passed with its backslash, so that it can't end the string.
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The end of the object or array whose first byte inside the bracket is at `at`.
fn container_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 1usize;
    loop {
        match *bytes.get(at)? {
            b'"' => {
                at = string_end(bytes, at + 1)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The end of a number or word: before whatever may follow a value.
fn scalar_end(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?;
    let length = rest.iter().position(|b| {
        matches!(b, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t' | b'"' | b'{' | b'[' | b':')
    });
    // A number that the end of the bytes cuts is no value: `{"a":12` may have been 123.
    length.filter(|length| *length > 0).map(|length| start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_it_ends() {
        for value in [r#""""#, r#""a\\\"}b""#, "{}", r#"{"a":[1,{"b":"]}"}]}"#, "12.5e3", "null"] {
            let text = format!("{value},1");
            let end = value_end(text.as_bytes(), 0, text.as_bytes()[0]);
            assert_eq!(end, Some(value.len()), "{value}");
        }
        for cut in [r#"""#, r#""a\""#, "{", r#"["]""#, "12", ""] {
            let first = cut.bytes().next().unwrap_or(b'1');
            assert_eq!(value_end(cut.as_bytes(), 0, first), None, "{cut}");
        }
        assert_eq!((string_end(b"x", 5), value_end(b"x", 5, b'1')), (None, None), "beyond the end");
    }
}
