//! What a command, an option and an argument are, as a declaration.
//!
//! Promises: the words of a declaration are plain text; whoever shows them breaks the lines.
//! Never: holds what someone typed.

use super::{Command, Exit, Given, Usage};

/// A command of the program, or a group of commands.
pub struct CommandSpec {
    pub name: &'static str,
    /// What it does, in the list of commands.
    pub line: &'static str,
    /// What it does, at length.
    pub about: &'static [Text],
    /// What is told below the options.
    pub more: &'static [Text],
    pub arguments: &'static [Argument],
    pub options: &'static [Choice],
    /// How it may end, `Exit::Usage` aside, which is the same for all.
    pub exits: &'static [(Exit, &'static str)],
    pub action: Action,
}

/// What a command does: it runs, or it is a group of others.
pub enum Action {
    /// Arguments and options, of which this makes what is to be done.
    Run(fn(&Given) -> Result<Command, Usage>),
    /// The name of one of these.
    Group(&'static [CommandSpec]),
}

/// An option: it begins with two hyphens and may stand anywhere on the command line.
pub struct Choice {
    /// With its hyphens. A name takes a value in all commands that have it, or in none.
    pub name: &'static str,
    /// One letter with its hyphen; it means the same in all commands that have it.
    pub short: Option<&'static str>,
    pub value: Option<Value>,
    pub line: &'static str,
}

/// An argument that is found by its place.
pub struct Argument {
    pub value: Value,
    pub line: &'static str,
    pub needed: bool,
}

/// The value of an option or argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value {
    /// As help calls it: `FILE`.
    pub name: &'static str,
    pub hint: ValueHint,
}

/// What a shell may offer for a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueHint {
    File,
    OneOf(&'static [&'static str]),
    /// Nothing that could be known ahead.
    Word,
}

/// A piece of text for people.
#[derive(Clone, Copy)]
pub enum Text {
    Paragraph(&'static str),
    /// A title and rows of two columns.
    Rows(&'static str, &'static [(&'static str, &'static str)]),
    /// A title and lines to be typed or copied as they are.
    Lines(&'static str, &'static [&'static str]),
}

impl CommandSpec {
    /// The commands of a group; none of a command.
    pub fn below(&self) -> &'static [CommandSpec] {
        match self.action {
            Action::Run(_) => &[],
            Action::Group(commands) => commands,
        }
    }
}

impl Choice {
    /// An option without a value.
    pub const fn flag(name: &'static str, line: &'static str) -> Choice {
        Choice { name, short: None, value: None, line }
    }

    /// `-c, --config FILE`
    pub fn typed(&self) -> String {
        let short = self.short.map_or(String::new(), |short| format!("{short}, "));
        let value = self.value.map_or(String::new(), |value| format!(" {}", value.name));
        format!("{short}{}{value}", self.name)
    }
}
