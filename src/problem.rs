//! What is wrong, and what a person can do about it: one value on its way from where it is found to
//! where it is read.
//!
//! Promises: neither part ends with a full stop, and neither is cut out of a text. Never: holds a
//! secret.

use std::fmt::{self, Display};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub what: String,
    /// `None`: none is known where it was found.
    pub remedy: Option<String>,
}

impl Problem {
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Problem {
        let remedy = Some(remedy.into()).filter(|remedy| !remedy.is_empty());
        Problem { what: what.into(), remedy }
    }

    /// The same, after what it happened to.
    pub fn after(self, subject: impl Display) -> Problem {
        Problem { what: format!("{subject}{}", self.what), ..self }
    }
}

impl From<String> for Problem {
    fn from(what: String) -> Problem {
        Problem { what, remedy: None }
    }
}

impl From<&str> for Problem {
    fn from(what: &str) -> Problem {
        Problem::from(what.to_owned())
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.remedy {
            Some(remedy) => write!(f, "{}. {remedy}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_a_sentence_of_its_own_and_what_comes_before_stays_before() {
        let problem = Problem::new("no answer. None at all", "Check the cable");
        let problem = problem.after("name not resolved: ");
        assert_eq!(problem.remedy.as_deref(), Some("Check the cable"));
        assert_eq!(
            problem.to_string(),
            "name not resolved: no answer. None at all. Check the cable"
        );
        assert_eq!(Problem::new("no answer", ""), Problem::from("no answer"));
    }
}
