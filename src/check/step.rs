//! A step of `check`: its name, how it went, and how long it took.
//!
//! Never: IO.

use crate::cause::Cause;
use crate::message::Code;
use crate::problem::Problem;
use crate::record::Kind;
use crate::time::Span;

/// The name of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Config,
    Queue,
    /// The positions that the queue holds of streams and integrations.
    Positions,
    StatusFile,
    MetricsFile,
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
    /// The name for people.
    pub fn shown(self) -> &'static str {
        match self {
            Name::Config => "config",
            Name::Queue => "queue",
            Name::Positions => "positions",
            Name::StatusFile => "status file",
            Name::MetricsFile => "metrics",
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

    /// The stable name, for scripts.
    pub fn code(self) -> &'static str {
        match self {
            Name::StatusFile => "status_file",
            Name::MetricsFile => "metrics_file",
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
    /// A step that takes no measurable time.
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
    /// Passed, with a warning.
    Noted(Fault),
    Failed(Fault),
    /// Not tried, with the reason.
    Skipped(&'static str),
}

/// What a step found, both texts without a full stop at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub cause: Cause,
    /// The code for `explain`: that of the cause, unless a more precise one is known.
    pub code: Code,
    pub what: String,
    pub remedy: String,
}

impl Outcome {
    pub fn failed(cause: Cause, what: impl Into<String>, remedy: impl Into<String>) -> Outcome {
        Outcome::Failed(Fault::new(cause, what.into(), remedy.into()))
    }

    pub fn noted(cause: Cause, what: impl Into<String>, remedy: impl Into<String>) -> Outcome {
        Outcome::Noted(Fault::new(cause, what.into(), remedy.into()))
    }
}

impl Fault {
    pub fn new(cause: Cause, what: String, remedy: String) -> Fault {
        Fault { cause, code: cause.message(), what, remedy }
    }

    pub fn of(cause: Cause, problem: Problem) -> Fault {
        let remedy = problem.remedy.unwrap_or_else(|| {
            "Ask the operator of the network between this machine and the service".to_owned()
        });
        Fault::new(cause, problem.what, remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_a_stable_name() {
        for (name, code) in [
            (Name::Config, "config"),
            (Name::Queue, "queue"),
            (Name::Positions, "positions"),
            (Name::StatusFile, "status_file"),
            (Name::MetricsFile, "metrics_file"),
            (Name::Secret, "secret"),
            (Name::Dns, "dns"),
            (Name::Tcp, "tcp"),
            (Name::Proxy, "proxy"),
            (Name::Tls, "tls"),
            (Name::Answer, "answer"),
            (Name::Clock, "clock"),
            (Name::Start, "start"),
            (Name::Token, "token"),
            (Name::Stream(Kind::Threats), "threats"),
            (Name::TokenEnd, "token_end"),
            (Name::Domain, "domain"),
            (Name::Key, "key"),
        ] {
            assert_eq!(name.code(), code);
        }
    }
}
