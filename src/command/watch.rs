//! `status --watch`: the same page again and again, or lines of JSON.
//!
//! Promises: a page is as wide as the terminal and never scrolls, also when the size changes, and
//! is gone at the end; the reader of the lines may close the pipe. Never: decides about what is
//! shown.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;

use log::Level;

use crate::cli::Exit;
use crate::message;
use crate::os::host;
use crate::os::signal::Inbox;
use crate::plain;
use crate::time::Span;

use super::colour::Painted;
use super::status::{document, table};
use super::{COLUMNS, Failure, drawn, put};

/// The daemon writes its status at most every second.
const EVERY: Span = Span::seconds(2);
/// Rows of a terminal whose size is unknown.
const ROWS: usize = 24;

/// Switches to the alternate screen, and back. Source: xterm, control sequences, mode 1049.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// Draws over the previous page, so that nothing flickers and the scrollback stays as it was.
pub fn on_terminal(config_file: &Path) -> Result<Exit, Failure> {
    if !std::io::stdout().is_terminal() {
        let text = "--watch needs a terminal. Leave it out, or add --json";
        return Err(Failure::new(message::NO_TERMINAL, Exit::Usage, text));
    }
    drawn(ENTER)?;
    let ended = again_and_again(|| {
        let (wide, high) = host::terminal().unwrap_or((COLUMNS, ROWS));
        let text = match table(config_file, wide, host::shows_colour()) {
            Ok((text, _)) => text,
            Err(failure) => Painted::of(&failure.text),
        };
        drawn(&page(text.as_str(), wide, high))
    });
    drawn(LEAVE)?;
    ended
}

/// One document per line, for programs.
pub fn as_lines(config_file: &Path) -> Result<Exit, Failure> {
    let mut shown = String::new();
    again_and_again(|| match document(config_file) {
        Ok((value, _)) => {
            shown.clear();
            drawn(&plain::text(&format!("{value}\n")))
        }
        Err(failure) => {
            // Reported once, because it may last for days.
            if shown != failure.text {
                put(Level::Error, &failure.text);
                shown = failure.text;
            }
            Ok(true)
        }
    })
}

/// Repeats until a signal or a closed pipe.
fn again_and_again(mut show: impl FnMut() -> Result<bool, Failure>) -> Result<Exit, Failure> {
    let mut inbox = Inbox::open().map_err(|why| {
        Failure::new(message::PRINT_FAILED, Exit::Failed, format!("Failed to hear signals: {why}"))
    })?;
    while show()? {
        inbox.wait(EVERY.as_duration());
        let came = inbox.take();
        // A terminal that is closed sends SIGHUP.
        if came.stop || came.reload {
            break;
        }
    }
    Ok(Exit::Done)
}

/// The output that shows a text from the top left corner: no line wider than the terminal and none
/// below its end.
fn page(text: &str, wide: usize, high: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let fits = lines.len() <= high;
    let shown = if fits { lines.len() } else { high.saturating_sub(1) };
    let mut out = String::from("\x1b[H");
    for (nth, line) in lines[..shown].iter().enumerate() {
        let end = if nth == 0 { "" } else { "\r\n" };
        let _ = write!(out, "{end}{}\x1b[K", cut(line, wide));
    }
    if !fits {
        let left = lines.len() - shown;
        let text =
            format!("... {} more; s1-coralogix status shows all", plain::count(left, "line"));
        let end = if shown == 0 { "" } else { "\r\n" };
        let _ = write!(out, "{end}{}\x1b[K", cut(&text, wide));
    }
    out + "\x1b[J"
}

/// The first `wide` characters of a line; colour sequences have no width and are kept.
fn cut(line: &str, wide: usize) -> String {
    let (mut out, mut count, mut is_code) = (String::new(), 0, false);
    for c in line.chars() {
        is_code |= c == '\x1b';
        if is_code || count < wide {
            out.push(c);
        }
        count += usize::from(!is_code);
        is_code &= !c.is_ascii_alphabetic();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that a page leaves on a terminal, without what moves the cursor.
    fn shown(text: &str, wide: usize, high: usize) -> Vec<String> {
        let page = page(text, wide, high);
        let page = page.strip_prefix("\x1b[H").and_then(|page| page.strip_suffix("\x1b[J"));
        let lines = page.expect("it begins at the top").split("\r\n");
        lines.map(|line| line.replace("\x1b[K", "")).collect()
    }

    #[test]
    fn a_page_keeps_its_head_and_never_scrolls() {
        let text: String = (1..=30).map(|n| format!("line {n}\n")).collect();
        assert_eq!(shown(&text, 80, 40).len(), 30);
        assert_eq!(shown(&text, 80, 30).len(), 30);
        let short = shown(&text, 80, 16);
        assert_eq!((short.len(), short[0].as_str()), (16, "line 1"));
        assert_eq!(short[15], "... 15 lines more; s1-coralogix status shows all");
        assert_eq!(shown(&text, 80, 1).len(), 1);
        assert!(!page(&text, 80, 16).ends_with('\n'), "a line end in the last row scrolls");
    }

    #[test]
    fn a_line_is_cut_at_the_edge_and_its_colour_ends() {
        assert_eq!(cut("abcdef", 4), "abcd");
        assert_eq!(cut("ab", 4), "ab");
        assert_eq!(cut("a\x1b[31mbcdef\x1b[0mgh", 4), "a\x1b[31mbcd\x1b[0m");
        assert_eq!(cut("zwölf", 4), "zwöl");
    }
}
