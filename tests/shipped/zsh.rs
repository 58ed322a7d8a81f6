//! The completion for zsh: one function a command, each leading to those below it.

use std::fmt::Write as _;

use s1_coralogix::cli::declare::{Choice, CommandSpec, Value, ValueHint};
use s1_coralogix::cli::table::EVERYWHERE;

use crate::joined;
use crate::shells::quoted;
use crate::tree::{below, paths};

pub fn render() -> String {
    let mut out = String::from(
        "#compdef s1-coralogix\n\
         # Completion of s1-coralogix for zsh. Made from the declaration in src; tests/shipped \
         writes it.\n",
    );
    for path in paths().iter().rev() {
        function(&mut out, path);
    }
    out += "\nif [[ $funcstack[1] == _s1-coralogix ]]; then\n    _s1-coralogix \"$@\"\nelse\n    \
            compdef _s1-coralogix s1-coralogix\nfi\n";
    with_common(&out)
}

/// The script with what every command takes written once: the program contains it.
fn with_common(script: &str) -> String {
    let start = "        '(-c --config)'{-c+";
    let first = script.find(start).expect("every command takes --config");
    let end_mark = "[the version, and the commit it was built from]'";
    let length = script[first..].find(end_mark).expect("and --version") + end_mark.len();
    let block = &script[first..first + length];
    let rest = script.replace(block, "        $_s1_coralogix_common");
    let common = block.replace(" \\\n", "\n").replace("        ", "    ");
    let (head, functions) = rest.split_once("\n\n").expect("a head, then functions");
    format!("{head}\n\ntypeset -ga _s1_coralogix_common=(\n{common}\n)\n\n{functions}")
}

fn name(path: &[&'static CommandSpec]) -> String {
    match path.is_empty() {
        true => "_s1-coralogix".to_owned(),
        false => format!("_s1-coralogix-{}", joined(path, "-")),
    }
}

fn function(out: &mut String, path: &[&'static CommandSpec]) {
    let commands = below(path);
    let _ = writeln!(out, "\n{}() {{", name(path));
    if !commands.is_empty() {
        *out += "    local context state state_descr line\n    typeset -A opt_args\n";
    }
    let mut rows = vec![];
    let own = path.last().map_or(&[][..], |command| command.options);
    rows.extend(own.iter().chain(EVERYWHERE).map(option));
    for argument in path.last().map_or(&[][..], |command| command.arguments) {
        let optional = if argument.needed { ":" } else { "::" };
        rows.push(quoted(&format!("{optional}{}", offer(argument.value, argument.line))));
    }
    if !commands.is_empty() {
        rows.extend(["'1:command:->command'".to_owned(), "'*::argument:->argument'".to_owned()]);
    }
    *out += if commands.is_empty() { "    _arguments -s -S" } else { "    _arguments -C -s -S" };
    for row in rows {
        let _ = write!(out, " \\\n        {row}");
    }
    out.push('\n');
    if !commands.is_empty() {
        *out += "    case $state in\n    command)\n        local -a commands=(\n";
        for command in commands {
            let row = quoted(&format!("{}:{}", command.name, command.line));
            let _ = writeln!(out, "            {row}");
        }
        *out += "        )\n        _describe -t commands command commands\n        ;;\n    \
                 argument)\n        case $line[1] in\n";
        for command in commands {
            let path: Vec<_> = path.iter().copied().chain([command]).collect();
            let _ = writeln!(out, "        {}) {} ;;", command.name, name(&path));
        }
        *out += "        esac\n        ;;\n    esac\n";
    }
    *out += "}\n";
}

fn option(option: &Choice) -> String {
    let line = option.line.replace('[', "\\[").replace(']', "\\]");
    let value =
        option.value.map_or(String::new(), |value| format!(":{}", offer(value, value.name)));
    // A long option takes its value as the next word or after =.
    let equals = if option.value.is_some() { "=" } else { "" };
    match option.short {
        None => quoted(&format!("{}{equals}[{line}]{value}", option.name)),
        Some(short) => format!(
            "'({short} {0})'{{{short}{1},{0}{equals}}}{2}",
            option.name,
            if option.value.is_some() { "+" } else { "" },
            quoted(&format!("[{line}]{value}"))
        ),
    }
}

fn offer(value: Value, what: &str) -> String {
    let what = what.replace(':', "\\:");
    match value.hint {
        ValueHint::File => format!("{what}:_files"),
        ValueHint::OneOf(words) => format!("{what}:({})", words.join(" ")),
        ValueHint::Word => format!("{what}: "),
    }
}
