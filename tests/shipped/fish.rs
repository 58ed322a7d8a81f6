//! The completion for fish: one line for each thing that may be typed, with where it may be.

use std::fmt::Write as _;

use s1_coralogix::cli::declare::{Choice, ValueHint};
use s1_coralogix::cli::table::EVERYWHERE;

use crate::joined;
use crate::shells::{quoted, with_value};
use crate::tree::{below, paths};

pub fn render() -> String {
    let known: Vec<String> =
        paths()[1..].iter().map(|path| format!("/{}", joined(path, "/"))).collect();
    let mut out = String::from(
        "# Completion of s1-coralogix for fish. Made from the declaration in src; tests/shipped \
         writes it.\n\n\
         # Whether the words so far lead to this command and, if a place is named, so many \
         arguments.\n\
         function __s1_coralogix_at\n    set -l at ''\n    set -l place 0\n    set -l skip no\n    \
         for word in (commandline -opc)[2..-1]\n        if test $skip = yes\n            \
         set skip no\n            continue\n        end\n        switch $word\n",
    );
    let _ = write!(
        out,
        "            case {}\n                set skip yes\n            case '-*'\n            \
         case '*'\n                switch $at/$word\n                    case {}\n                        \
         set at $at/$word\n                    case '*'\n                        \
         set place (math $place + 1)\n                end\n        end\n    end\n    \
         test \"$at\" = \"$argv[1]\"; and test (count $argv) = 1 -o \"$place\" = \"$argv[2]\"\nend\n\n",
        with_value().join(" "),
        known.join(" "),
    );
    out += "complete -c s1-coralogix -f\n";
    EVERYWHERE.iter().for_each(|one| option(&mut out, None, one));
    for path in paths() {
        let at = if path.is_empty() { String::new() } else { format!("/{}", joined(&path, "/")) };
        for command in below(&path) {
            let _ = writeln!(
                out,
                "complete -c s1-coralogix -n \"__s1_coralogix_at '{at}'\" -a {} -d {}",
                command.name,
                quoted(command.line)
            );
        }
        let Some(last) = path.last() else { continue };
        last.options.iter().for_each(|one| option(&mut out, Some(&at), one));
        for (place, argument) in last.arguments.iter().enumerate() {
            let offer = match argument.value.hint {
                ValueHint::File => "-F".to_owned(),
                ValueHint::OneOf(words) => format!("-a {}", quoted(&words.join(" "))),
                ValueHint::Word => continue,
            };
            let _ = writeln!(
                out,
                "complete -c s1-coralogix -n \"__s1_coralogix_at '{at}' {place}\" {offer}"
            );
        }
    }
    out
}

fn option(out: &mut String, at: Option<&str>, option: &Choice) {
    let place = at.map_or(String::new(), |at| format!(" -n \"__s1_coralogix_at '{at}'\""));
    let letter = |short: &str| format!(" -s {}", &short[1..]);
    let short = option.short.map_or(String::new(), letter);
    let value = match option.value.map(|value| value.hint) {
        None => String::new(),
        Some(ValueHint::File) => " -r -F".to_owned(),
        Some(ValueHint::OneOf(words)) => format!(" -x -a {}", quoted(&words.join(" "))),
        Some(ValueHint::Word) => " -x".to_owned(),
    };
    let (long, line) = (&option.name[2..], quoted(option.line));
    let _ = writeln!(out, "complete -c s1-coralogix{place}{short} -l {long}{value} -d {line}");
}
