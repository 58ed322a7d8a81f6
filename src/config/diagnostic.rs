//! Findings in the config, reported with their place: `file:line:column: key: problem`, the line, a
//! caret, a hint.
//!
//! Promises: a cited line never shows a secret, nor what might be one (keeps P7): the parts that
//! `Text::masks` names, and whatever stands right of a key that is not known to be harmless, are
//! shown as `***`. Never: prints by itself.

use std::fmt;
use std::ops::Range;

use crate::config::files::Files;
use crate::message::Code;
use crate::plain;

/// Cut here, so that a file without line ends can't fill the screen.
const LINE_CHARS_MAX: usize = 120;
const MASK: &str = "***";

/// Whether a finding stops the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The config can't be used.
    Error,
    /// The config is used, but a person should know.
    Warning,
}

/// Something to report about one place in the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub code: Code,
    pub file: String,
    /// Both count from 1. A finding about something that is not there stands at 1:1.
    pub line: usize,
    pub column: usize,
    /// `integration.poll_interval`, or what is closest to a key.
    pub key: String,
    pub problem: String,
    pub hint: Option<String>,
    pub(super) cited: Option<Cited>,
}

/// Every finding of one config, in the order of the file. At least one is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

/// A line to show, already masked, and which part of it to underline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cited {
    shown: String,
    from: usize,
    chars: usize,
}

/// A finding before its place is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Diagnostic {
    pub code: Code,
    pub span: Option<Range<usize>>,
    pub key: String,
    pub problem: String,
    pub hint: Option<String>,
}

/// The files that are spoken of.
pub(super) struct Text<'t> {
    pub files: &'t Files<'t>,
    /// Values that are never shown.
    pub masks: Vec<Range<usize>>,
    /// What is known of a key of this name, for where the syntax is broken.
    pub trust: fn(&str) -> Trust,
}

/// How far a key's value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// A setting without secrets: all of its line is shown.
    Harmless,
    /// A setting that may hold a secret: its name is shown.
    Secret,
    /// No setting: the "name" may itself be the rest of a secret, so nothing is shown.
    Unknown,
}

/// Which part of a line is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hide {
    /// What is masked by its span, because the file could be read.
    Masks,
    /// Every value but those of harmless keys, because the file could not be read.
    Doubtful,
}

impl Text<'_> {
    /// Looks up where a note's place is and what its line looks like.
    pub fn cite(&self, note: Diagnostic, hide: Hide) -> Finding {
        let Diagnostic { code, span, key, problem, hint } = note;
        let part = self.files.at(span.as_ref().map_or(0, |span| span.start));
        let file = part.source.name.to_owned();
        let Some(span) = span else {
            let (line, column, cited) = (1, 1, None);
            return Finding { code, file, line, column, key, problem, hint, cited };
        };
        let (text, first) = (self.files.text.as_str(), part.range.start);
        let at = floor_char(text, span.start);
        let start = text[first..at].rfind('\n').map_or(first, |newline| first + newline + 1);
        let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
        let end = start + text[start..end].trim_end_matches('\r').len();
        let line = text[first..start].matches('\n').count() + 1;
        let column = text[start..at].chars().count() + 1;
        let hidden = match hide {
            Hide::Masks => self.masks.clone(),
            Hide::Doubtful => self.doubtful(start, end).into_iter().collect(),
        };
        let marked = at..span.end.clamp(at, end.max(at));
        let cited = Some(show(text, start..end, &marked, &hidden));
        Finding { code, file, line, column, key, problem, hint, cited }
    }

    /// What of a line nobody can vouch for, where the file could not be read.
    fn doubtful(&self, start: usize, end: usize) -> Option<Range<usize>> {
        let text = self.files.text.as_str();
        let line = &text[start..end];
        let trimmed = line.trim_start();
        let is_header = trimmed.starts_with('[') && !trimmed.contains(['=', '"', '\'']);
        if trimmed.is_empty() || trimmed.starts_with('#') || is_header {
            return None;
        }
        let key = trimmed.split(|c: char| c == '=' || c.is_whitespace()).next().unwrap_or("");
        let is_one_setting = !line.contains(['{', '@']) && line.matches('=').count() <= 1;
        let from = match (self.trust)(key) {
            Trust::Harmless if is_one_setting => return None,
            Trust::Unknown => start,
            // Without `=` right behind it, the name might be anything.
            Trust::Harmless | Trust::Secret => {
                match trimmed[key.len()..].trim_start().strip_prefix('=') {
                    Some(value) => end - value.len(),
                    None => start,
                }
            }
        };
        let blank = text[from..end].len() - text[from..end].trim_start().len();
        Some(from + blank..end)
    }
}

/// Renders a line with its masks, and finds where in the rendering the marked part lies.
fn show(text: &str, line: Range<usize>, marked: &Range<usize>, hidden: &[Range<usize>]) -> Cited {
    let mut shown = String::new();
    let (mut from, mut chars, mut count) = (None, 0, 0);
    let mut at = line.start;
    while at < line.end {
        let mask = hidden.iter().find(|mask| mask.contains(&at));
        let next = match mask {
            Some(mask) => ceil_char(text, mask.end.min(line.end)),
            None => at + text[at..].chars().next().map_or(1, char::len_utf8),
        };
        let piece_chars = match mask {
            Some(_) => {
                shown.push_str(MASK);
                MASK.len()
            }
            None => {
                // A tab is as wide as the terminal likes; a caret below it needs one column.
                shown.extend(
                    text[at..next].chars().map(|c| if plain::is_harmful(c) { ' ' } else { c }),
                );
                1
            }
        };
        let is_marked = next > marked.start && (at < marked.end || at == marked.start);
        if is_marked {
            from.get_or_insert(count);
            chars += piece_chars;
        }
        count += piece_chars;
        at = next;
    }
    if count > LINE_CHARS_MAX {
        shown = shown.chars().take(LINE_CHARS_MAX).chain(['…']).collect();
    }
    let from = from.unwrap_or(count).min(LINE_CHARS_MAX);
    Cited { shown, from, chars: chars.clamp(1, LINE_CHARS_MAX + 1 - from) }
}

fn floor_char(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn ceil_char(text: &str, at: usize) -> usize {
    (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// The letter of a code says how bad it is.
fn severity(code: Code) -> Severity {
    match code.level() {
        log::Level::Error => Severity::Error,
        _ => Severity::Warning,
    }
}

impl Diagnostic {
    pub fn severity(&self) -> Severity {
        severity(self.code)
    }
}

impl Finding {
    pub fn severity(&self) -> Severity {
        severity(self.code)
    }

    /// On one line, without hint and code.
    pub fn what(&self) -> String {
        let Finding { file, line, column, key, problem, .. } = self;
        format!("{file}:{line}:{column}: {key}: {problem}")
    }

    /// On one line, for the log, which puts the code before it.
    pub fn brief(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}{hint}", self.what())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if self.severity() == Severity::Warning {
            write!(f, "warning: ")?;
        }
        write!(f, "{} {}: {}", self.code, self.key, self.problem)?;
        if let Some(Cited { shown, from, chars }) = &self.cited {
            let number = self.line.to_string();
            let gutter = " ".repeat(number.len());
            write!(f, "\n  {number} | {shown}")?;
            write!(f, "\n  {gutter} | {}^{}", " ".repeat(*from), "~".repeat(chars - 1))?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::files::Source;

    fn trust(key: &str) -> Trust {
        match key {
            "domain" => Trust::Harmless,
            "api_key" => Trust::Secret,
            _ => Trust::Unknown,
        }
    }

    fn check(text: &str, marked: &str, masks: &[&str], hide: Hide, expected: &str) {
        let range = |part: &str| {
            let at = text.find(part).expect("the part is in the text");
            at..at + part.len()
        };
        let files = Files::join(&[Source::text("c.toml", text)]);
        let source =
            Text { files: &files, masks: masks.iter().map(|mask| range(mask)).collect(), trust };
        let note = Diagnostic {
            code: crate::message::SETTING_UNKNOWN,
            span: Some(range(marked)),
            key: "k".to_owned(),
            problem: "p".to_owned(),
            hint: Some("h".to_owned()),
        };
        assert_eq!(source.cite(note, hide).to_string(), expected);
    }

    #[test]
    fn a_finding_shows_its_line_with_a_caret() {
        check(
            "a = 1\r\n\tb = \"zwölf\" # x\r\n",
            "\"zwölf\"",
            &[],
            Hide::Masks,
            "c.toml:2:6: S1C-E304 k: p\n  2 |  b = \"zwölf\" # x\n    |      ^~~~~~~\n  hint: h",
        );
    }

    #[test]
    fn a_masked_value_is_not_shown_nor_its_length() {
        check(
            "x = { api_key = \"abcdefgh\", y = 1 }",
            "y = 1",
            &["\"abcdefgh\""],
            Hide::Masks,
            "c.toml:1:29: S1C-E304 k: p\n  1 | x = { api_key = ***, y = 1 }\n    |                      ^~~~~\n  hint: h",
        );
        check(
            "api_key = \"abcdefgh\"",
            "\"abcdefgh\"",
            &["\"abcdefgh\""],
            Hide::Masks,
            "c.toml:1:11: S1C-E304 k: p\n  1 | api_key = ***\n    |           ^~~\n  hint: h",
        );
    }

    #[test]
    fn where_the_syntax_is_broken_only_harmless_lines_are_shown() {
        let cite = |text: &str| {
            let files = Files::join(&[Source::text("c", text)]);
            let source = Text { files: &files, masks: vec![], trust };
            let note = Diagnostic {
                code: crate::message::SETTING_UNKNOWN,
                span: Some(text.len()..text.len()),
                key: "syntax".to_owned(),
                problem: "p".to_owned(),
                hint: None,
            };
            let shown = source.cite(note, Hide::Doubtful).to_string();
            shown.lines().nth(1).unwrap()["  1 | ".len()..].to_owned()
        };
        assert_eq!(cite("domain = eu2"), "domain = eu2");
        assert_eq!(cite("  domain eu2"), "  domain eu2");
        assert_eq!(cite("[coralogix"), "[coralogix");
        assert_eq!(cite("api_key = s3cret"), "api_key = ***");
        assert_eq!(cite("api_key s3cret"), "***");
        assert_eq!(cite("s3cret"), "***");
        assert_eq!(cite("domain = { api_key = s3cret"), "domain = ***");
        assert_eq!(cite("domain = http://a:s3cret@b"), "domain = ***");
        assert_eq!(cite("domain = \"x\" api_key = s3cret"), "domain = ***");
        assert_eq!(cite("s3cret=="), "***");
        assert_eq!(cite("api_key \"s3cret==\""), "***");
        assert_eq!(cite("[x] api_key = s3cret"), "***");
    }

    #[test]
    fn a_long_line_is_cut_and_its_caret_stays_on_it() {
        let text = format!("a = \"{}\" @", "x".repeat(500));
        let files = Files::join(&[Source::text("c", &text)]);
        let source = Text { files: &files, masks: vec![], trust };
        let note = Diagnostic {
            code: crate::message::TENANT_TWICE,
            span: Some(text.len() - 1..text.len()),
            key: "k".to_owned(),
            problem: "p".to_owned(),
            hint: None,
        };
        let shown = source.cite(note, Hide::Masks).to_string();
        assert!(shown.lines().all(|line| line.chars().count() < 140), "{shown}");
        assert!(shown.starts_with("c:1:508: warning: S1C-W311 k: p"), "{shown}");
    }
}
