//! The manual pages, shell completions, messages and the dashboard, rendered from the declarations:
//! `cli::table` for what can be typed, `config::settings` for what can be set.
//!
//! `S1C_BLESS=1 cargo test --test shipped` writes them again. Promises: what is committed under
//! docs/ is what the program has. Never: part of the program.

#![expect(clippy::disallowed_methods, reason = "a test is told by its environment to write")]

mod bash;
mod book;
mod command_page;
mod config_page;
mod dashboard;
mod fish;
mod messages;
mod roff;
mod shells;
#[path = "../support/skip.rs"]
mod skip;
mod tree;
mod zsh;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use s1_coralogix::cli::declare::CommandSpec;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a file with what it should be; with `S1C_BLESS` it is made so.
fn hold(file: &str, rendered: &str) {
    let path = root().join(file);
    if std::env::var_os("S1C_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("it is below the root"))
            .expect("docs can be written");
        fs::write(&path, rendered).expect("docs can be written");
        return;
    }
    let shipped = fs::read_to_string(&path).unwrap_or_default();
    let differs = shipped.lines().zip(rendered.lines()).position(|(a, b)| a != b);
    assert!(
        shipped == rendered,
        "{file} is not what the declarations say, first in line {}; \
         S1C_BLESS=1 cargo test --test shipped writes it",
        differs.map_or(shipped.lines().count(), |line| line + 1)
    );
}

#[test]
fn the_manual_pages_are_those_of_the_declarations() {
    hold("docs/man/s1-coralogix.1", &command_page::render());
    hold("docs/man/s1-coralogix.toml.5", &config_page::render());
}

#[test]
fn the_example_config_is_that_of_the_declaration() {
    hold("packaging/config.example.toml", &s1_coralogix::config::example::render());
    hold("packaging/config.toml", &s1_coralogix::config::example::minimal());
}

#[test]
fn the_list_of_messages_is_that_of_the_declarations() {
    hold("docs/MESSAGES.md", &messages::render());
}

#[test]
fn the_dashboard_is_that_of_the_table_of_metrics() {
    hold("docs/dashboards/grafana.json", &dashboard::render());
}

#[test]
fn the_completions_are_those_of_the_declaration() {
    hold("docs/completions/s1-coralogix.bash", &bash::render());
    hold("docs/completions/_s1-coralogix", &zsh::render());
    hold("docs/completions/s1-coralogix.fish", &fish::render());
}

/// The words before the cursor, and what bash offers for the last of them.
const OFFERED: [(&str, &str); 5] = [
    ("ch", "check"),
    ("run --o", "--once"),
    ("-c file status --j", "--json"),
    ("--config = Cargo.to", "Cargo.toml"),
    ("check status", ""),
];

#[test]
fn a_shell_completes_what_is_declared() {
    let lines: String = OFFERED.iter().map(|(words, _)| format!("try {words}\n")).collect();
    let script = format!(
        "set -u; source docs/completions/s1-coralogix.bash; compopt() {{ :; }}\n\
         try() {{ COMP_WORDS=(s1-coralogix \"$@\"); COMP_CWORD=$#; _s1_coralogix; \
         echo \"${{COMPREPLY[*]}}\"; }}\n{lines}"
    );
    let bash = Command::new("bash").args(["--norc", "-c", &script]).current_dir(root()).output();
    let Ok(bash) = bash else {
        skip::skipped("there is no bash here");
        return;
    };
    let expected: String = OFFERED.iter().map(|(_, offered)| format!("{offered}\n")).collect();
    let told = String::from_utf8_lossy(&bash.stderr);
    assert_eq!(String::from_utf8_lossy(&bash.stdout), expected, "{told}");
}

/// What each tool, where it is there, says of the files.
#[test]
fn the_tools_that_read_them_have_nothing_to_say() {
    let pages = ["docs/man/s1-coralogix.1", "docs/man/s1-coralogix.toml.5"];
    for (tool, file) in [
        (&["mandoc", "-T", "lint", "-W", "style"][..], pages[0]),
        (&["mandoc", "-T", "lint", "-W", "style"], pages[1]),
        (&["groff", "-man", "-ww", "-Tutf8", "-z"], pages[0]),
        (&["groff", "-man", "-ww", "-Tutf8", "-z"], pages[1]),
        (&["bash", "-n"], "docs/completions/s1-coralogix.bash"),
        (&["zsh", "-n"], "docs/completions/_s1-coralogix"),
        (&["fish", "-n"], "docs/completions/s1-coralogix.fish"),
    ] {
        let ended = Command::new(tool[0]).args(&tool[1..]).arg(file).current_dir(root()).output();
        let Ok(ended) = ended else {
            skip::skipped(&format!("there is no {} here to read {file}", tool[0]));
            continue;
        };
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(ended.status.success() && said.is_empty(), "{tool:?} {file}: {said}");
    }
}

/// Every environment variable that the edge reads is declared. The names are found as text, for
/// there is no other list of them.
#[test]
fn every_variable_that_is_read_is_declared() {
    let declared: String =
        s1_coralogix::cli::table::ENVIRONMENT.iter().map(|row| row.0.to_uppercase()).collect();
    for entry in fs::read_dir(root().join("src/edge")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or("");
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let reads = ["variable(\"", "either(", "_VARIABLE: &str"];
            if !reads.iter().any(|read| line.contains(read)) {
                continue;
            }
            for name in line.split('"').skip(1).step_by(2) {
                let is_name = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
                let is_variable = name.bytes().all(is_name) || name.ends_with("_proxy");
                // Read by builds with debug assertions alone, for tests.
                let for_tests = name == "S1_CORALOGIX_TEST_CLOCK";
                let known = for_tests || declared.contains(&name.to_ascii_uppercase());
                assert!(known || !is_variable, "{name} is read: {line}");
            }
        }
    }
}

/// A path of commands as a name without spaces: `queue_parked_list`.
fn joined(path: &[&CommandSpec], between: &str) -> String {
    path.iter().map(|command| command.name).collect::<Vec<_>>().join(between)
}

#[test]
fn the_unit_shows_the_program_what_it_reads_of_the_kernel() {
    let unit = fs::read_to_string(root().join("packaging/systemd/s1-coralogix.service"))
        .expect("the unit is there");
    // Memory and kills are in /proc/meminfo and /proc/vmstat, which `pid` hides.
    let hides = unit.lines().any(|line| line.trim().starts_with("ProcSubset"));
    assert!(!hides && unit.contains("ProtectProc=invisible"), "{unit}");
}
