//! What all shells have in common: quoting, and options whose value is the next word.

use s1_coralogix::cli::declare::Choice;
use s1_coralogix::cli::table::EVERYWHERE;

use crate::tree::paths;

/// Names and letters of all options with a value, each once.
pub fn with_value() -> Vec<&'static str> {
    let of = |option: &'static Choice| option.short.into_iter().chain([option.name]);
    let mut names: Vec<&str> =
        options().into_iter().filter(|o| o.value.is_some()).flat_map(of).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Every option, those of every command first.
pub fn options() -> Vec<&'static Choice> {
    let mut all: Vec<&Choice> = EVERYWHERE.iter().collect();
    for path in paths() {
        all.extend(path.last().iter().flat_map(|command| command.options));
    }
    all
}

/// In single quotes, with those inside brought along.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
