//! `completions`: the completion files that packages install, for installations without a package.
//!
//! Promises: the text is that of docs/completions, which tests/shipped makes from `cli::table`.
//! Never: reads a file; the texts are compiled in.

use crate::cli::Shell;

/// The completion script of a shell.
pub fn of(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("../../docs/completions/s1-coralogix.bash"),
        Shell::Zsh => include_str!("../../docs/completions/_s1-coralogix"),
        Shell::Fish => include_str!("../../docs/completions/s1-coralogix.fish"),
    }
}
