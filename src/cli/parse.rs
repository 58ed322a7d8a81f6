//! The command line, read by the table.
//!
//! Promises: what is not understood is refused with a hint, never ignored; a path need not be
//! UTF-8. Never: knows a command by name.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::declare::{Action, Choice, CommandSpec, Value, ValueHint};
use super::table::{COMMANDS, EVERYWHERE};
use super::{Command, Invocation};
use crate::config::suggest;
use crate::message::{self, Code};

/// Arguments that make no sense. Its text goes to stderr, the exit code is `Exit::Usage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    code: Code,
    problem: String,
    hint: String,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s1-coralogix: {} {}\nhint: {}", self.code, self.problem, self.hint)
    }
}

impl std::error::Error for Usage {}

/// Refuses a command line.
pub fn usage<T>(
    code: Code,
    problem: impl Into<String>,
    hint: impl Into<String>,
) -> Result<T, Usage> {
    Err(Usage { code, problem: problem.into(), hint: hint.into() })
}

/// What was given to a command: its options and arguments, all of which it has.
#[derive(Default)]
pub struct Given {
    /// By the name with hyphens; a flag has no value.
    options: Vec<(&'static str, Option<OsString>)>,
    arguments: Vec<OsString>,
}

impl Given {
    /// Whether the option was given.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == option)
    }

    /// The value of an option, as text.
    pub fn value(&self, option: &str) -> Option<String> {
        let value = self.raw(option)?;
        Some(value.to_string_lossy().into_owned())
    }

    /// The value of an option, as a path.
    pub fn path(&self, option: &str) -> Option<PathBuf> {
        self.raw(option).map(PathBuf::from)
    }

    /// The argument at a place, counted from 0, as text.
    pub fn argument(&self, place: usize) -> Option<String> {
        self.arguments.get(place).map(|argument| argument.to_string_lossy().into_owned())
    }

    /// The argument at a place, counted from 0, as a path.
    pub fn file(&self, place: usize) -> Option<PathBuf> {
        self.arguments.get(place).map(PathBuf::from)
    }

    fn raw(&self, option: &str) -> Option<&OsString> {
        self.options.iter().find(|(name, _)| *name == option)?.1.as_ref()
    }
}

/// Reads the arguments after the program's name. Options may stand before and after the command;
/// after `--` there are none.
pub fn parse<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Result<Invocation, Usage> {
    let mut typed = Typed::default();
    let mut args = args.into_iter().map(Into::into);
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy().into_owned();
        match text.as_str() {
            "--" if !typed.is_words_only => typed.is_words_only = true,
            _ if text.starts_with('-') && text != "-" && !typed.is_words_only => {
                typed.option(&text, &arg, &mut args)?;
            }
            _ => typed.word(&text, arg)?,
        }
    }
    typed.meant()
}

/// What was typed so far, before it is known what it means together.
#[derive(Default)]
struct Typed {
    /// The command and the groups it is in, from the outside.
    path: Vec<&'static CommandSpec>,
    given: Given,
    wants_help: bool,
    /// All of it, not only a summary.
    wants_whole_help: bool,
    is_words_only: bool,
}

impl Typed {
    fn option(
        &mut self,
        text: &str,
        arg: &OsStr,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Usage> {
        let typed_name = text.split('=').next().unwrap_or(text);
        let option = known(typed_name)?;
        let name = option.name;
        self.wants_whole_help |= typed_name == "--help";
        // From the bytes, for a path need not be UTF-8.
        let joined = (typed_name.len() < text.len() && text.starts_with("--"))
            .then(|| OsStr::from_bytes(&arg.as_bytes()[typed_name.len() + 1..]).to_owned());
        let value = match option.value {
            None if joined.is_some() => {
                return usage(
                    message::OPTION_VALUE,
                    format!("{name} takes no value"),
                    format!("write {name} alone"),
                );
            }
            None => None,
            Some(value) => {
                let given = joined.or_else(|| rest.next()).filter(|given| !given.is_empty());
                let Some(given) = given else {
                    let kind = if value.name == "FILE" { "file" } else { value.name };
                    return usage(
                        message::OPTION_VALUE,
                        format!("{name} needs a {kind}"),
                        format!("write {name} {}", value.name),
                    );
                };
                is_one_of(name, value, &given)?;
                Some(given)
            }
        };
        if value.is_some() && self.given.has(name) {
            return usage(message::OPTION_TWICE, format!("{name} is given twice"), "give it once");
        }
        self.given.options.push((name, value));
        Ok(())
    }

    fn word(&mut self, text: &str, arg: OsString) -> Result<(), Usage> {
        let Some(command) = self.path.last() else {
            return self.command(text, COMMANDS);
        };
        if let Action::Group(commands) = command.action {
            return self.command(text, commands);
        }
        match command.arguments.get(self.given.arguments.len()) {
            Some(argument) => {
                is_one_of(argument.value.name, argument.value, &arg)?;
                self.given.arguments.push(arg);
                Ok(())
            }
            None if text == "help" && command.arguments.is_empty() => {
                self.wants_help = true;
                Ok(())
            }
            None if COMMANDS.iter().any(|other| other.name == text) => {
                let problem = format!("two commands: {} and {text}", self.names());
                usage(message::COMMAND_TWICE, problem, "give one command")
            }
            None => usage(
                message::ARGUMENT_SPARE,
                format!("unexpected argument {text:?} of {}", self.names()),
                format!("see s1-coralogix {} --help", self.names()),
            ),
        }
    }

    fn command(&mut self, name: &str, known: &'static [CommandSpec]) -> Result<(), Usage> {
        if name == "help" {
            self.wants_help = true;
            return Ok(());
        }
        if let Some(command) = known.iter().find(|command| command.name == name) {
            self.path.push(command);
            return Ok(());
        }
        let names: Vec<&str> = known.iter().map(|command| command.name).collect();
        let hint = match suggest::nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("the commands are {}; see --help", names.join(", ")),
        };
        let place = match self.path.is_empty() {
            true => String::new(),
            false => format!("{} ", self.names()),
        };
        usage(
            message::COMMAND_UNKNOWN,
            format!("there is no command \"{place}{}\"", name.escape_debug()),
            hint,
        )
    }

    /// `queue parked list`
    fn names(&self) -> String {
        names(&self.path)
    }

    fn meant(self) -> Result<Invocation, Usage> {
        let config = self.given.path("--config");
        let path = || self.path.iter().map(|command| command.name).collect();
        let command = match self.path.last() {
            _ if self.wants_help || self.wants_whole_help => Command::Help(path()),
            _ if self.given.has("--help") => Command::Summary(path()),
            _ if self.given.has("--version") => Command::Version,
            None => {
                return usage(
                    message::COMMAND_MISSING,
                    "no command is given",
                    "try run, or see --help",
                );
            }
            Some(last) => match last.action {
                Action::Run(meaning) => {
                    self.options_belong(last)?;
                    self.arguments_are_there(last)?;
                    meaning(&self.given)?
                }
                Action::Group(commands) => {
                    let names: Vec<&str> = commands.iter().map(|command| command.name).collect();
                    let problem = format!("{} needs a command after it", self.names());
                    return usage(
                        message::COMMAND_MISSING,
                        problem,
                        format!("one of {}; see --help", names.join(", ")),
                    );
                }
            },
        };
        Ok(Invocation { command, config })
    }

    fn options_belong(&self, command: &CommandSpec) -> Result<(), Usage> {
        let own = |name: &str| command.options.iter().chain(EVERYWHERE).any(|o| o.name == name);
        match self.given.options.iter().find(|(name, _)| !own(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let mut others = vec![];
                each(COMMANDS, &mut vec![], &mut |path| {
                    let last = path.last().expect("a path names a command");
                    if last.options.iter().any(|option| option.name == *name) {
                        others.push(names(path));
                    }
                });
                let problem = format!("{name} is not an option of {}", self.names());
                usage(
                    message::OPTION_ELSEWHERE,
                    problem,
                    format!("it is one of {}", others.join(", ")),
                )
            }
        }
    }

    fn arguments_are_there(&self, command: &CommandSpec) -> Result<(), Usage> {
        match command.arguments.get(self.given.arguments.len()) {
            Some(argument) if argument.needed => {
                let (names, value) = (self.names(), argument.value.name);
                let problem = format!("{names} needs {value}: {}", argument.line);
                usage(
                    message::ARGUMENT_MISSING,
                    problem,
                    format!("write s1-coralogix {names} {value}"),
                )
            }
            _ => Ok(()),
        }
    }
}

/// Shows each command, and each group before its commands, as the path that leads to it.
pub fn each(
    commands: &'static [CommandSpec],
    path: &mut Vec<&'static CommandSpec>,
    show: &mut impl FnMut(&[&'static CommandSpec]),
) {
    for command in commands {
        path.push(command);
        show(path);
        each(command.below(), path, show);
        path.pop();
    }
}

/// `queue parked list`
pub fn names(path: &[&'static CommandSpec]) -> String {
    path.iter().map(|command| command.name).collect::<Vec<_>>().join(" ")
}

/// Every option there is, some more than once.
fn options() -> Vec<&'static Choice> {
    let mut all: Vec<&Choice> = EVERYWHERE.iter().collect();
    each(COMMANDS, &mut vec![], &mut |path| {
        all.extend(path.last().expect("a path names a command").options);
    });
    all
}

fn known(typed: &str) -> Result<&'static Choice, Usage> {
    let all = options();
    let found = all.iter().find(|option| option.name == typed || option.short == Some(typed));
    if let Some(option) = found {
        return Ok(option);
    }
    let hint = match suggest::nearest(typed, all.iter().map(|option| option.name)) {
        Some(near) => format!("did you mean {near}?"),
        None => "see --help".to_owned(),
    };
    usage(message::OPTION_UNKNOWN, format!("there is no option {typed:?}"), hint)
}

fn is_one_of(of: &str, value: Value, given: &OsStr) -> Result<(), Usage> {
    match value.hint {
        ValueHint::OneOf(words) if !words.iter().any(|word| *word == given) => {
            let problem = format!("{:?} is not a {} of {of}", given.to_string_lossy(), value.name);
            usage(message::WORD_UNKNOWN, problem, format!("it is one of {}", words.join(", ")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
