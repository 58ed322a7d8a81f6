//! Command lines and their meaning; those that have none, and what is said of them.
//!
//! Never: runs a command.

use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
}

#[test]
fn every_command_line_has_its_meaning() {
    use Command::{Check, Help, Run, Status, Summary, Version};
    for (line, command, config) in [
        ("run", Run { once: false }, None),
        ("run --once", Run { once: true }, None),
        ("--once run", Run { once: true }, None),
        ("run --", Run { once: false }, None),
        ("check -c a.toml", Check { offline: false, json: false, strict: false }, Some("a.toml")),
        (
            "--config a.toml check --offline --json",
            Check { offline: true, json: true, strict: false },
            Some("a.toml"),
        ),
        ("check --strict", Check { offline: false, json: false, strict: true }, None),
        ("status --config=a=b", Status { json: false, watch: false, alive: false }, Some("a=b")),
        ("status --watch", Status { json: false, watch: true, alive: false }, None),
        ("status -w", Status { json: false, watch: true, alive: false }, None),
        ("status -w --json", Status { json: true, watch: true, alive: false }, None),
        ("status --alive", Status { json: false, watch: false, alive: true }, None),
        ("status --json", Status { json: true, watch: false, alive: false }, None),
        ("--help", Help(vec![]), None),
        ("help", Help(vec![]), None),
        ("help run", Help(vec!["run"]), None),
        ("run help", Help(vec!["run"]), None),
        ("-h", Summary(vec![]), None),
        ("check -h", Summary(vec!["check"]), None),
        ("-h --help", Help(vec![]), None),
        ("status --help --json", Help(vec!["status"]), None),
        ("--version", Version, None),
        ("-V", Version, None),
        ("version", Version, None),
    ] {
        let config = config.map(PathBuf::from);
        assert_eq!(parse(words(line)), Ok(Invocation { command, config }), "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_a_hint() {
    for (line, problem, hint) in [
        ("", "no command is given", "try run, or see --help"),
        ("rnu", "there is no command \"rnu\"", "did you mean run?"),
        ("start", "there is no command \"start\"", "the commands are run, check, status"),
        ("run --onec", "there is no option \"--onec\"", "did you mean --once?"),
        ("run -x", "there is no option \"-x\"", "see --help"),
        ("run --once=yes", "--once takes no value", "write --once alone"),
        ("run --offline", "--offline is not an option of run", "it is one of check"),
        ("run check", "two commands: run and check", "give one command"),
        ("run now", "unexpected argument \"now\" of run", "see s1-coralogix run --help"),
        ("run -- --once", "unexpected argument \"--once\" of run", "see s1-coralogix run --help"),
        ("run --config", "--config needs a file", "write --config FILE"),
        ("run --config=", "--config needs a file", "write --config FILE"),
        ("run -c a -c b", "--config is given twice", "give it once"),
    ] {
        let told = parse(words(line)).unwrap_err().to_string();
        assert!(told.contains(problem), "{line}: {told}");
        assert!(told.contains(hint), "{line}: {told}");
    }
}

/// A table with all that commands can have, for no command has all of it.
mod with_all_there_is {
    use super::super::*;
    use crate::cli::declare::Argument;

    const NOTHING: CommandSpec = CommandSpec {
        name: "",
        line: "",
        about: &[],
        more: &[],
        arguments: &[],
        options: &[],
        exits: &[],
        action: Action::Run(|given| {
            let path = given.file(0).map_or(String::new(), |file| file.display().to_string());
            usage(
                message::WORD_UNKNOWN,
                format!("took {path}"),
                given.argument(1).unwrap_or_default(),
            )
        }),
    };
    const FORMS: Value = Value { name: "FORM", hint: ValueHint::OneOf(&["old", "new"]) };
    const LEAF: CommandSpec = CommandSpec {
        name: "leaf",
        arguments: &[
            Argument {
                value: Value { name: "FILE", hint: ValueHint::File },
                line: "the file",
                needed: true,
            },
            Argument { value: FORMS, line: "the form", needed: false },
        ],
        ..NOTHING
    };
    const GROUP: CommandSpec =
        CommandSpec { name: "group", action: Action::Group(&[LEAF]), ..NOTHING };

    fn told(words: &[&str]) -> String {
        let mut typed = Typed { path: vec![&GROUP], ..Typed::default() };
        let result = words.iter().try_for_each(|word| typed.word(word, word.into()));
        result.and_then(|()| typed.meant().map(drop)).unwrap_err().to_string()
    }

    #[test]
    fn commands_in_groups_take_arguments_by_place() {
        for (words, says) in [
            (&["leaf", "help"][..], "took help"),
            (&["leaf", "a", "new"], "took a\nhint: new"),
            (&["leaf"], "group leaf needs FILE: the file\nhint: write s1-coralogix group leaf"),
            (&["leaf", "a", "odd"], "\"odd\" is not a FORM of FORM\nhint: it is one of old, new"),
            (&["leaf", "a", "old", "b"], "unexpected argument \"b\" of group leaf"),
            (&["laef"], "there is no command \"group laef\"\nhint: did you mean leaf?"),
            (&[], "group needs a command after it\nhint: one of leaf"),
        ] {
            let told = told(words);
            assert!(told.contains(says), "{words:?}: {told}");
        }
    }
}

#[test]
fn the_table_can_be_read_without_doubt() {
    let all = options();
    for option in &all {
        let same = || all.iter().filter(|other| other.name == option.name);
        assert!(option.name.starts_with("--"), "{}", option.name);
        assert!(same().all(|other| other.value.is_some() == option.value.is_some()));
        let everywhere = EVERYWHERE.iter().any(|other| other.name == option.name);
        assert!(!everywhere || same().count() == 1, "{} is everywhere", option.name);
        let namesake = |other: &&&Choice| other.short == option.short && other.name != option.name;
        assert!(option.short.is_none() || !all.iter().any(|o| namesake(&o)), "{}", option.name);
    }
    each(COMMANDS, &mut vec![], &mut |path| {
        let last = path.last().unwrap();
        let group = !last.below().is_empty();
        assert!(last.name != "help" && !last.line.ends_with('.'), "{}", names(path));
        assert!(!group || last.arguments.is_empty() && last.options.is_empty());
        let needed = last.arguments.iter().map(|argument| argument.needed);
        assert!(needed.is_sorted_by(|a, b| a >= b), "{}: needed ones come first", names(path));
    });
}
