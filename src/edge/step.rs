//! A step of `check`: its name, how it went, and how long it took.
//!
//! Never: IO.

use super::cause::Cause;
use crate::message::Code;
use crate::record::Kind;
use crate::time::Span;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Config,
    Queue,
    /// What the queue remembers of streams and tenants.
    Positions,
    StatusFile,
    Secret,
    Dns,
    Tcp,
    Proxy,
    Tls,
    Answer,
    Clock,
    Start,
    Token,
    Stream(Kind),
    TokenEnd,
    Domain,
    Key,
}

impl Name {
    /// For people.
    pub fn shown(self) -> &'static str {
        match self {
            Name::Config => "config",
            Name::Queue => "queue",
            Name::Positions => "positions",
            Name::StatusFile => "status file",
            Name::Secret => "secret",
            Name::Dns => "DNS",
            Name::Tcp => "TCP",
            Name::Proxy => "proxy",
            Name::Tls => "TLS",
            Name::Answer => "answer",
            Name::Clock => "clock",
            Name::Start => "start",
            Name::Token => "token",
            Name::Stream(kind) => kind.name(),
            Name::TokenEnd => "token expiry",
            Name::Domain => "domain",
            Name::Key => "key",
        }
    }

    /// Stable, for scripts.
    pub fn code(self) -> &'static str {
        match self {
            Name::StatusFile => "status_file",
            Name::Dns => "dns",
            Name::Tcp => "tcp",
            Name::Tls => "tls",
            Name::TokenEnd => "token_end",
            plain => plain.shown(),
        }
    }
}

/// One step and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: Name,
    pub outcome: Outcome,
    pub took: Span,
}

impl Step {
    /// One that needs no time worth telling.
    pub fn at_once(name: Name, outcome: Outcome) -> Step {
        Step { name, outcome, took: Span::ZERO }
    }

    pub fn skipped(name: Name, why: &'static str) -> Step {
        Step::at_once(name, Outcome::Skipped(why))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed(String),
    /// Passed, but a person should know something.
    Noted(Told),
    Failed(Told),
    /// Not tried, and why.
    Skipped(&'static str),
}

/// What is wrong and what to do about it, without a stop at the end of either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub cause: Cause,
    /// What it is looked up by: the cause's, unless there is one that says more.
    pub code: Code,
    pub what: String,
    pub remedy: String,
}

impl Outcome {
    pub fn failed(cause: Cause, what: impl Into<String>, remedy: impl Into<String>) -> Outcome {
        Outcome::Failed(Told::new(cause, what.into(), remedy.into()))
    }

    pub fn noted(cause: Cause, what: impl Into<String>, remedy: impl Into<String>) -> Outcome {
        Outcome::Noted(Told::new(cause, what.into(), remedy.into()))
    }
}

impl Told {
    pub fn new(cause: Cause, what: String, remedy: String) -> Told {
        Told { cause, code: cause.message(), what, remedy }
    }
}

/// Troubles are told as "what went wrong. What to do".
pub fn what_and_remedy(text: &str) -> (String, String) {
    let text = text.strip_suffix('.').unwrap_or(text);
    match text.rsplit_once(". ") {
        Some((what, remedy)) => (what.to_owned(), remedy.to_owned()),
        None => (
            text.to_owned(),
            "Ask the operator of the network between this machine and the service".to_owned(),
        ),
    }
}
