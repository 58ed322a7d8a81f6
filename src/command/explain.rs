//! `explain`: what a message means and what to do about it, on a box without a browser.
//!
//! Never: reads anything; it is all in the program.

use super::{COLUMNS, Failure, print, wrapped};
use crate::cli::Exit;
use crate::message::{self, Entry, PARTS};
use crate::plain;

/// Explains one message, or lists all.
pub fn explain(code: Option<&str>) -> Result<Exit, Failure> {
    let Some(typed) = code else { return print(&list()) };
    match message::find(typed) {
        Some(entry) => print(&whole(entry)),
        None => {
            let text = format!(
                "There is no message {:?} in this version. Copy the code from the message, e.g. \
                 {}; without one all are listed",
                plain::one_line(typed),
                message::TOKEN_REFUSED
            );
            Err(Failure::new(message::CODE_UNKNOWN, Exit::Usage, text))
        }
    }
}

fn whole(entry: &Entry) -> String {
    let [meaning, remedy] = [entry.meaning, entry.remedy].map(|text| wrapped(text, 2, COLUMNS));
    format!("{}\n  {meaning}\n\nWhat to do\n  {remedy}\n", entry.code)
}

fn list() -> String {
    let mut out = String::new();
    for (nth, part) in PARTS.iter().enumerate() {
        out += &format!("{}{}\n", if nth > 0 { "\n" } else { "" }, part.title);
        for entry in part.entries {
            let indent = 2 + "S1C-E000".len() + 2;
            let meaning = wrapped(entry.meaning, indent, COLUMNS);
            out += &format!("  {}  {meaning}\n", entry.code);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_fits_the_terminal_and_stands_in_the_list() {
        let list = list();
        for entry in message::all() {
            assert!(list.contains(&format!("\n  {}  ", entry.code)), "{}", entry.code);
            assert!(whole(entry).contains("\n\nWhat to do\n  "));
            assert!(whole(entry).lines().all(|line| line.chars().count() <= COLUMNS));
        }
        assert!(list.lines().all(|line| line.chars().count() <= COLUMNS));
        assert!(list.starts_with("The process\n  S1C-I001  "), "{list}");
    }

    #[test]
    fn an_unknown_code_is_told_harmlessly() {
        let failure = explain(Some("S1C-E9\u{1b}[2J")).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.text.starts_with("S1C-E426 There is no message"), "{}", failure.text);
        assert!(!failure.text.contains('\u{1b}'), "{}", failure.text);
    }
}
