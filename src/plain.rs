//! Text of others, fit for a terminal, a log line, a file that people read.
//!
//! A service, a certificate or a file can hold characters that a terminal obeys, that reorder what stands
//! around them, or that can't be seen. Promises: one list of them for every output; what is shown in their
//! place is what JSON writes, so that JSON stays JSON. Never: changes anything else.

use std::borrow::Cow;
use std::fmt::Display;
use std::fmt::Write as _;

use crate::limits::EXCERPT_BYTES_MAX;

/// Whether a character commands, reorders or hides instead of being read.
pub fn is_harmful(c: char) -> bool {
    // C0, DEL and C1, line ends among them.
    c.is_control()
        || matches!(c,
            // The order of Arabic letters; the marks, embeddings and isolates of the order are below.
            '\u{61c}'
            // Ends of lines and paragraphs; annotations between the lines.
            | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}'
            // What need not be seen: Unicode's Default_Ignorable_Code_Point. Soft hyphen, joiners and
            // fillers, zero width, variation selectors, invisible operators, deprecated forms, the byte
            // order mark, controls of shorthand and of musical notation, and tags, which spell whole
            // texts unseen.
            | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Text in full. Its lines stay lines; what is harmful is shown by its number.
pub fn text(text: &str) -> Cow<'_, str> {
    shown(text, Some('\n'))
}

/// Text in full on one line.
pub fn line(text: &str) -> Cow<'_, str> {
    match text.contains('\t') {
        true => Cow::Owned(shown(&text.replace('\t', " "), None).into_owned()),
        false => shown(text, None),
    }
}

/// So many of something, as it is said of one or of many.
pub fn count(n: impl Display, one: &str) -> String {
    let n = n.to_string();
    let ending = match n.as_str() {
        "1" => "",
        _ if one.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{n} {one}{ending}")
}

/// The beginning of a text on one line: white space is squeezed, and what is harmful is white space.
pub fn one_line(text: &str) -> String {
    squeezed(text, EXCERPT_BYTES_MAX)
}

/// The same, of so many bytes at most.
pub fn squeezed(text: &str, bytes_max: usize) -> String {
    let mut line = String::new();
    for c in text.chars() {
        let c = if c.is_whitespace() || is_harmful(c) { ' ' } else { c };
        if c == ' ' && (line.is_empty() || line.ends_with(' ')) {
            continue;
        }
        if line.len() + c.len_utf8() > bytes_max {
            break;
        }
        line.push(c);
    }
    line.truncate(line.trim_end().len());
    line
}

/// Shows what is harmful by its number, but for the character that is kept.
fn shown(text: &str, kept: Option<char>) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_harmful(c) && Some(c) != kept {
            true => put_number(&mut out, c),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// As JSON escapes it.
fn put_number(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends of each class, as published by Unicode.
    const HARMFUL: [(&str, &[char]); 14] = [
        ("C0", &['\0', '\u{7}', '\t', '\n', '\r', '\u{1b}', '\u{1f}']),
        ("DEL and C1", &['\u{7f}', '\u{80}', '\u{85}', '\u{9b}', '\u{9f}']),
        ("the order of Arabic", &['\u{61c}']),
        ("marks of the order", &['\u{200e}', '\u{200f}']),
        ("embeddings and overrides", &['\u{202a}', '\u{202b}', '\u{202d}', '\u{202e}']),
        ("isolates", &['\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}']),
        ("tags", &['\u{e0000}', '\u{e0001}', '\u{e0041}', '\u{e007f}']),
        (
            "unseen",
            &['\u{ad}', '\u{180e}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}'],
        ),
        ("ends of lines", &['\u{2028}', '\u{2029}']),
        ("annotations", &['\u{fff9}', '\u{fffb}']),
        (
            "joiners and fillers",
            &['\u{34f}', '\u{115f}', '\u{1160}', '\u{17b4}', '\u{17b5}', '\u{3164}', '\u{ffa0}'],
        ),
        (
            "variation selectors",
            &['\u{180b}', '\u{180d}', '\u{180f}', '\u{fe00}', '\u{fe0f}', '\u{e0100}', '\u{e01ef}'],
        ),
        ("operators and deprecated forms", &['\u{2061}', '\u{2064}', '\u{206a}', '\u{206f}']),
        (
            "controls of notations, and what is reserved for such",
            &[
                '\u{1bca0}',
                '\u{1bca3}',
                '\u{1d173}',
                '\u{1d17a}',
                '\u{2065}',
                '\u{fff0}',
                '\u{fff8}',
                '\u{e0fff}',
            ],
        ),
    ];

    #[test]
    fn one_of_something_is_told_as_one() {
        for (n, one, told) in [
            (0, "record", "0 records"),
            (1, "record", "1 record"),
            (2, "parked record", "2 parked records"),
            (1, "batch", "1 batch"),
            (11, "batch", "11 batches"),
        ] {
            assert_eq!(count(n, one), told);
        }
    }

    #[test]
    fn no_output_lets_a_harmful_character_through() {
        for (class, chars) in HARMFUL {
            for c in chars {
                let bad = format!("a{c}b");
                assert!(is_harmful(*c), "{class} {c:?}");
                assert_eq!(one_line(&bad), "a b", "{class} {c:?}");
                assert!(!line(&bad).contains(*c), "{class} {c:?}");
                let stays = *c == '\n';
                assert_eq!(text(&bad).contains(*c), stays, "{class} {c:?}");
            }
        }
    }

    #[test]
    fn what_is_read_stays_as_it_is() {
        let good = "caf\u{e9} \u{20ac} \u{65e5}\u{672c} \u{5e2}\u{627} \u{1f600} \\u202e ~";
        assert!(matches!(text(good), Cow::Borrowed(same) if same == good));
        assert_eq!(line(good).as_ref(), good);
        assert_eq!(text("a\nb\n"), "a\nb\n");
        assert_eq!(line("a\tb"), "a b");
    }

    #[test]
    fn json_stays_json_and_loses_nothing() {
        let all: String = HARMFUL.iter().flat_map(|(_, chars)| chars.iter()).collect();
        let json = serde_json::to_string_pretty(&[all.as_str()]).unwrap();
        let shown = text(&json);
        assert!(shown.chars().all(|c| c == '\n' || !is_harmful(c)), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [all]);
    }

    #[test]
    fn what_is_harmful_is_shown_by_its_number() {
        assert_eq!(text("\x1b[31m"), "\\u001b[31m");
        assert_eq!(text("\u{e0041}"), "\\udb40\\udc41");
    }
}
