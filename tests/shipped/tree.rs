//! A walk over the declared commands.

use s1_coralogix::cli::declare::Declared;
use s1_coralogix::cli::table::COMMANDS;

/// The program itself as an empty path, then each group and command behind its group.
pub fn paths() -> Vec<Vec<&'static Declared>> {
    fn below(
        path: &[&'static Declared],
        commands: &'static [Declared],
        found: &mut Vec<Vec<&'static Declared>>,
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
pub fn below(path: &[&'static Declared]) -> &'static [Declared] {
    path.last().map_or(COMMANDS, |last| last.below())
}
