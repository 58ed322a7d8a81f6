//! The completion for bash 4 and later, without the bash-completion package.

use std::fmt::Write as _;

use s1_coralogix::cli::declare::{Value, ValueHint};
use s1_coralogix::cli::table::EVERYWHERE;

use crate::joined;
use crate::shells::{options, with_value};
use crate::tree::{below, paths};

const HEAD: &str = "\
# Completion of s1-coralogix for bash. Made from the declaration in src; tests/shipped writes it.

_s1_coralogix() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local at= place=0 skip= word words= i
    # A value after = comes as a word of its own.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $skip ]]; then
            [[ $word == = ]] || skip=
            continue
        fi
";

const TAIL: &str = "\
    if [[ $words == FILES ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")
    else
        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")
    fi
}

complete -F _s1_coralogix s1-coralogix
";

pub fn render() -> String {
    let mut out = HEAD.to_owned();
    let groups = paths().into_iter().filter(|path| !path.is_empty());
    let known: Vec<String> = groups.map(|path| format!("/{}", joined(&path, "/"))).collect();
    let _ = write!(
        out,
        "        case $word in\n            {}) skip=yes ;;\n            -*) ;;\n            *)\n                case $at/$word in\n                    {}) at=$at/$word ;;\n                    *) ((++place)) ;;\n                esac\n                ;;\n        esac\n    done\n",
        with_value().join(" | "),
        known.join(" | "),
    );
    values(&mut out);
    out += "    if [[ $cur == -* ]]; then\n        case $at in\n";
    for path in paths() {
        let own = path.last().map_or(&[][..], |command| command.options);
        let names: Vec<&str> = own.iter().chain(EVERYWHERE).map(|option| option.name).collect();
        let at = if path.is_empty() { "''".to_owned() } else { format!("/{}", joined(&path, "/")) };
        let _ = writeln!(out, "            {at}) words=\"{}\" ;;", names.join(" "));
    }
    out += "        esac\n    else\n        case $at:$place in\n";
    for path in paths() {
        let at = if path.is_empty() { String::new() } else { format!("/{}", joined(&path, "/")) };
        let names: Vec<&str> = below(&path).iter().map(|command| command.name).collect();
        if !names.is_empty() {
            let _ = writeln!(out, "            {at}:*) words=\"{}\" ;;", names.join(" "));
        }
        let arguments = path.last().map_or(&[][..], |command| command.arguments);
        for (place, argument) in arguments.iter().enumerate() {
            let _ =
                writeln!(out, "            {at}:{place}) words=\"{}\" ;;", offer(argument.value));
        }
    }
    out += "        esac\n    fi\n";
    out + TAIL
}

/// After an option with a value.
fn values(out: &mut String) {
    *out += "    case $prev in\n";
    let mut told = vec![];
    for option in options() {
        let Some(value) = option.value else { continue };
        if told.contains(&option.name) {
            continue;
        }
        told.push(option.name);
        let names: Vec<&str> = option.short.into_iter().chain([option.name]).collect();
        let _ = writeln!(
            out,
            "        {})\n            words=\"{}\" at=value\n            ;;",
            names.join(" | "),
            offer(value)
        );
    }
    *out += "    esac\n";
}

fn offer(value: Value) -> String {
    match value.hint {
        ValueHint::File => "FILES".to_owned(),
        ValueHint::OneOf(words) => words.join(" "),
        ValueHint::Word => String::new(),
    }
}
