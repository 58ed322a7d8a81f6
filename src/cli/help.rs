//! The words of `--help`: all that a person at a terminal without these docs needs; and of `-h`,
//! the same on one screen.
//!
//! Promises: fits 80 columns; names every option, file, variable and exit code there is. Never:
//! knows what was typed beyond the command.

use std::fmt::Write as _;

use super::declare::{Choice, CommandSpec, Text};
use super::table::{ABOUT, COMMANDS, ENVIRONMENT, EVERYWHERE, FILES, FIRST_STEPS, LINE};
use super::{Exit, version};

/// What every terminal has, less one for those that break a full line.
const COLUMNS: usize = 79;

/// The text of `--help` for the command that these words name; the program's for none.
pub fn help(path: &[&str]) -> String {
    match found(path) {
        None => of_program(),
        Some(command) => of_command(&path.join(" "), command),
    }
}

/// The text of `-h` for the same: how it is called, and a line for each thing that can be typed.
pub fn summary(path: &[&str]) -> String {
    let Some(command) = found(path) else {
        let mut out = format!("{}\n  {LINE}\n\n{USAGE}", version());
        commands(&mut out, COMMANDS);
        options(&mut out, &[]);
        out += "\nMore: s1-coralogix --help, or man s1-coralogix\n";
        return out;
    };
    let name = path.join(" ");
    let usage = wrapped(&format!("Usage: s1-coralogix {}", shape(&name, command)), 7, COLUMNS);
    let mut out = format!("{usage}\n  {}\n", command.line);
    if !command.below().is_empty() {
        commands(&mut out, command.below());
    }
    options(&mut out, command.options);
    let _ = writeln!(out, "\nMore: s1-coralogix {name} --help");
    out
}

fn found(path: &[&str]) -> Option<&'static CommandSpec> {
    let mut found: Option<&CommandSpec> = None;
    for name in path {
        let below = found.map_or(COMMANDS, CommandSpec::below);
        found = below.iter().find(|command| command.name == *name);
    }
    found
}

const USAGE: &str = "Usage: s1-coralogix [OPTIONS] COMMAND\n";

fn of_program() -> String {
    let mut out = format!("{}\n", version());
    texts(&mut out, ABOUT);
    let _ = write!(out, "\n{USAGE}");
    commands(&mut out, COMMANDS);
    options(&mut out, &[]);
    texts(&mut out, FIRST_STEPS);
    texts(&mut out, &[Text::Rows("Files", FILES), Text::Rows("Environment", ENVIRONMENT)]);
    exits(&mut out, Exit::ALL.map(|exit| (exit, exit.explain())));
    out
}

fn of_command(name: &str, command: &CommandSpec) -> String {
    let mut out = format!("Usage: s1-coralogix {}\n", shape(name, command));
    texts(&mut out, command.about);
    if !command.below().is_empty() {
        commands(&mut out, command.below());
    }
    if !command.arguments.is_empty() {
        let each = command.arguments.iter().map(|one| (one.value.name.to_owned(), one.line));
        rows(&mut out, "Arguments", each);
    }
    options(&mut out, command.options);
    texts(&mut out, command.more);
    if command.below().is_empty() {
        let own = command.exits.iter().copied();
        let usage = (Exit::Usage, Exit::Usage.explain());
        let mut all: Vec<_> = own.chain([usage]).collect();
        all.sort_by_key(|(exit, _)| exit.code());
        exits(&mut out, all);
    }
    out += "\nThe other commands and all files and variables: s1-coralogix --help\n";
    out
}

/// `queue show [--json] [OPTIONS] ID`
pub fn shape(name: &str, command: &CommandSpec) -> String {
    let mut out = name.to_owned();
    for option in command.options {
        let _ = write!(out, " [{}]", option.typed());
    }
    out += " [OPTIONS]";
    if !command.below().is_empty() {
        out += " COMMAND";
    }
    for argument in command.arguments {
        let _ = match argument.needed {
            true => write!(out, " {}", argument.value.name),
            false => write!(out, " [{}]", argument.value.name),
        };
    }
    out
}

fn commands(out: &mut String, commands: &[CommandSpec]) {
    let each = commands.iter().map(|command| (command.name.to_owned(), command.line));
    rows(out, "Commands (each has its own --help)", each);
}

/// Those of a command, and those of all.
fn options(out: &mut String, own: &[Choice]) {
    let options = own.iter().chain(EVERYWHERE);
    rows(out, "Options", options.map(|option| (option.typed(), option.line)));
}

fn exits(out: &mut String, exits: impl IntoIterator<Item = (Exit, &'static str)>) {
    let each = exits.into_iter().map(|(exit, text)| (exit.code().to_string(), text));
    rows(out, "Exit status", each);
}

fn texts(out: &mut String, texts: &[Text]) {
    for text in texts {
        match text {
            Text::Paragraph(text) => {
                let _ = writeln!(out, "\n{}", wrapped(text, 0, COLUMNS));
            }
            Text::Rows(title, list) => {
                rows(out, title, list.iter().map(|(name, text)| ((*name).to_owned(), *text)));
            }
            Text::Lines(title, lines) => {
                let _ = writeln!(out, "\n{title}:");
                for line in *lines {
                    let _ = writeln!(out, "  {line}");
                }
            }
        }
    }
}

/// A title and two columns.
fn rows<'a>(out: &mut String, title: &str, rows: impl IntoIterator<Item = (String, &'a str)>) {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 3;
    let _ = writeln!(out, "\n{title}:");
    for (name, text) in rows {
        let _ = writeln!(out, "  {name:<width$}{}", wrapped(text, width + 2, COLUMNS));
    }
}

/// Breaks a text between words so that no line, indented as the first one will be, is longer
/// than `columns`. A longer word stays whole: it may be a path or an address to be copied.
pub fn wrapped(text: &str, indent: usize, columns: usize) -> String {
    let (mut out, mut used) = (String::new(), indent);
    for word in text.split(' ') {
        let chars = word.chars().count();
        if !out.is_empty() && used + 1 + chars > columns {
            out.push_str(&format!("\n{:indent$}", ""));
            used = indent;
        } else if !out.is_empty() {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += chars;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::parse::each;
    use super::*;
    use crate::cli::CONFIG_DEFAULT;
    use crate::config::settings::{self, Fallback};

    #[test]
    fn every_text_fits_the_screen_and_names_what_there_is() {
        let mut pages = vec![(vec![], help(&[]))];
        each(COMMANDS, &mut vec![], &mut |path| {
            let names: Vec<&str> = path.iter().map(|command| command.name).collect();
            let (last, page) = (path.last().unwrap(), help(&names));
            let above = help(&names[..names.len() - 1]);
            assert!(above.contains(&format!("\n  {} ", last.name)), "{names:?}: {above}");
            for option in last.options.iter().chain(EVERYWHERE) {
                assert!(page.contains(&format!("\n  {} ", option.typed())), "{names:?}: {page}");
            }
            for (exit, _) in last.exits {
                assert!(page.contains(&format!("\n  {} ", exit.code())), "{names:?}: {page}");
            }
            pages.push((names, page));
        });
        for (names, page) in pages {
            for line in page.lines() {
                assert!(line.chars().count() <= 80, "{names:?}: {line}");
                assert_eq!(line.trim_end(), line, "{names:?}");
            }
            assert!(page.contains(&format!("Usage: s1-coralogix {}", names.join(" "))), "{page}");
        }
    }

    #[test]
    fn a_summary_fits_one_screen_and_names_what_can_be_typed() {
        const ROWS: usize = 24;
        let mut pages = vec![(vec![], summary(&[]))];
        each(COMMANDS, &mut vec![], &mut |path| {
            let names: Vec<&str> = path.iter().map(|command| command.name).collect();
            let (last, page) = (path.last().unwrap(), summary(&names));
            for option in last.options.iter().chain(EVERYWHERE) {
                assert!(page.contains(&format!("\n  {} ", option.typed())), "{names:?}: {page}");
            }
            for below in last.below() {
                assert!(page.contains(&format!("\n  {} ", below.name)), "{names:?}: {page}");
            }
            assert!(page.contains(last.line), "{names:?}: {page}");
            pages.push((names, page));
        });
        for command in COMMANDS {
            assert!(pages[0].1.contains(&format!("\n  {} ", command.name)), "{}", pages[0].1);
        }
        for (names, page) in pages {
            assert!(page.lines().count() <= ROWS, "{names:?}: {page}");
            assert!(page.lines().all(|line| line.chars().count() <= 80), "{names:?}: {page}");
            assert!(page.len() < help(&names).len(), "{names:?}");
        }
    }

    #[test]
    fn the_program_s_help_names_every_exit_code_file_and_variable() {
        let page = help(&[]);
        for exit in Exit::ALL {
            assert!(page.contains(&format!("\n  {} ", exit.code())), "{exit:?}: {page}");
        }
        for (name, _) in FILES.iter().chain(ENVIRONMENT) {
            assert!(page.contains(&format!("\n  {name} ")), "{name}: {page}");
        }
    }

    #[test]
    fn the_named_files_are_those_that_are_used() {
        let named = |text: &str| FILES.iter().any(|(file, _)| file.trim_end_matches('/') == text);
        assert!(named(CONFIG_DEFAULT));
        for (section, key) in [("queue", "dir"), ("status", "file")] {
            let setting = settings::find(section, key).expect("it is a setting");
            let Fallback::Value(value) = setting.fallback else {
                panic!("{section}.{key} has a default");
            };
            assert!(named(value.trim_matches('"')), "{value}");
        }
    }

    #[test]
    fn a_long_text_is_broken_between_words() {
        assert_eq!(wrapped("a bc def", 2, 6), "a bc\n  def");
        assert_eq!(wrapped("a bc def", 2, 10), "a bc def");
        assert_eq!(wrapped("/a/long/path x", 2, 6), "/a/long/path\n  x");
        assert_eq!(wrapped("", 2, 6), "");
    }
}
