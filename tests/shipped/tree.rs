//! A walk over the declared commands.

use s1_coralogix::cli::declare::CommandSpec;
use s1_coralogix::cli::table::COMMANDS;

/// The program itself as an empty path, then each group and command behind its group.
pub fn paths() -> Vec<Vec<&'static CommandSpec>> {
    fn below(
        path: &[&'static CommandSpec],
        commands: &'static [CommandSpec],
        found: &mut Vec<Vec<&'static CommandSpec>>,
    ) {
        for command in commands {
            let path: Vec<_> = path.iter().copied().chain([command]).collect();
            found.push(path.clone());
            below(&path, command.below(), found);
        }
    }
    let mut found = vec![vec![]];
    below(&[], COMMANDS, &mut found);
    found
}

/// What may follow as a command.
pub fn below(path: &[&'static CommandSpec]) -> &'static [CommandSpec] {
    path.last().map_or(COMMANDS, |last| last.below())
}
