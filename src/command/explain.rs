//! `explain`: what a message or a state means and what to do about it, on a device without a
//! browser.
//!
//! Never: reads a file; the texts are compiled in.

use super::{COLUMNS, Failure, print, wrapped};
use crate::cli::Exit;
use crate::message::topic::{self, TOPICS, Topic};
use crate::message::{self, Entry, PARTS};
use crate::plain;

/// Explains one message or state, or lists all.
pub fn explain(code: Option<&str>) -> Result<Exit, Failure> {
    let Some(typed) = code else { return print(&format!("{}\n{}", list(), states())) };
    match (message::find(typed), topic::find(typed)) {
        (Some(entry), _) => print(&whole(entry)),
        (None, Some(topic)) => print(&state(topic)),
        (None, None) => {
            let words: Vec<&str> = TOPICS.iter().map(|topic| topic.word).collect();
            let text = format!(
                "There is no message {:?} in this version. Copy the code from the message, e.g. \
                 {}, or name one of {}; without one all are listed",
                plain::one_line(typed),
                message::TOKEN_REFUSED,
                words.join(", ")
            );
            Err(Failure::new(message::CODE_UNKNOWN, Exit::Usage, text))
        }
    }
}

fn whole(entry: &Entry) -> String {
    let [meaning, remedy] = [entry.meaning, entry.remedy].map(|text| wrapped(text, 2, COLUMNS));
    format!("{}\n  {meaning}\n\nWhat to do\n  {remedy}\n", entry.code)
}

fn state(topic: &Topic) -> String {
    let [meaning, seen, remedy] =
        [topic.meaning, topic.seen, topic.remedy].map(|text| wrapped(text, 2, COLUMNS));
    format!("{}\n  {meaning}\n\nSeen in\n  {seen}\n\nWhat to do\n  {remedy}\n", topic.word)
}

/// The states as a table.
fn states() -> String {
    let mut out = String::from("States\n");
    for topic in TOPICS {
        let indent = 2 + STATE_CHARS + 2;
        let rows = [("", topic.meaning), ("Seen in: ", topic.seen), ("To do: ", topic.remedy)];
        for (nth, (label, text)) in rows.into_iter().enumerate() {
            let name = if nth == 0 { topic.word } else { "" };
            let text = wrapped(&format!("{label}{text}"), indent, COLUMNS);
            out += format!("  {name:<STATE_CHARS$}  {text}").trim_end();
            out.push('\n');
        }
    }
    out
}

/// The length of the longest state.
const STATE_CHARS: usize = "quarantine".len();

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
    fn every_state_fits_the_terminal_and_is_in_the_table() {
        let table = states();
        for topic in TOPICS {
            assert!(table.contains(&format!("\n  {} ", topic.word)), "{}: {table}", topic.word);
            let text = state(topic);
            assert!(
                text.contains("\n\nSeen in\n  ") && text.contains("\n\nWhat to do\n  "),
                "{text}"
            );
            assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        }
        assert!(table.lines().all(|line| line.chars().count() <= COLUMNS), "{table}");
        assert!(explain(Some("parked")).is_ok());
        let told = explain(Some("parkt")).unwrap_err().text;
        assert!(told.contains("gap, parked, doubt, quarantine"), "{told}");
    }

    #[test]
    fn an_unknown_code_is_told_harmlessly() {
        let failure = explain(Some("S1C-E9\u{1b}[2J")).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.text.starts_with("S1C-E426 There is no message"), "{}", failure.text);
        assert!(!failure.text.contains('\u{1b}'), "{}", failure.text);
    }
}
