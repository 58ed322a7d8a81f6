//! The house rules, held by reading the sources.
//!
//! Promises: every broken rule of the whole tree is told at once, with file and line.
//! Never: judges what a compiler or clippy judges better.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module may use what stands on a lower floor, and its own floor as long as that makes no
/// circle. docs/ARCHITECTURE.md draws the same table.
const FLOORS: [(&str, u8); 31] = [
    ("time", 0),
    ("message", 0),
    ("cause", 0),
    ("prng", 0),
    ("problem", 0),
    ("errno", 0),
    ("json", 0),
    ("limits", 0),
    ("plain", 0),
    ("record", 0),
    ("secret", 0),
    ("window", 0),
    ("answer", 1),
    ("blocked", 1),
    ("s1", 1),
    ("coralogix", 1),
    ("frame", 1),
    ("pack", 1),
    ("config", 1),
    ("core", 2),
    ("os", 3),
    ("net", 4),
    ("queue", 4),
    ("edge", 5),
    ("work", 6),
    ("check", 7),
    ("report", 7),
    ("command", 8),
    ("cli", 8),
    ("lib", 9),
    ("main", 9),
];

/// The core decides and nothing else, so it knows the shared words only.
const CORE_KNOWS_UP_TO_FLOOR: u8 = 0;
/// Files, sockets, threads and the environment begin here.
const FLOOR_OF_IO: u8 = 3;

/// A file holds one idea. What a file of the program has above this its header argues for; tests at
/// its end count apart, and have no excuse.
const FILE_LINES_MAX: usize = 700;
/// How the line of a header begins that argues for the length of its file.
const ARGUES_LENGTH: &str = "//! Long because ";
const FUNCTION_LINES_MAX: usize = 70;

/// Never in the program, whatever the floor. Tests may.
const BANNED: [(&str, &str); 13] = [
    (".unwrap()", "use `expect` and say the invariant, or handle the case"),
    ("unsafe ", "nothing here is worth it"),
    ("todo!(", "finish it"),
    ("unimplemented!(", "finish it"),
    ("dbg!(", "remove it"),
    ("error!(", LOG),
    ("warn!(", LOG),
    ("info!(", LOG),
    ("debug!(", LOG),
    ("trace!(", LOG),
    ("log!(", LOG),
    ("#[allow(", "use #[expect(..., reason = \"...\")], which goes away with its cause"),
    ("#![allow(", "use #[expect(..., reason = \"...\")], which goes away with its cause"),
];

/// A message without a code can't be looked up.
const LOG: &str = "take log_message!, with a code of src/message";

/// Only in src/os, and how long it waits in src/net: the rest runs in simulation.
const AMBIENT: [&str; 5] =
    [MEASURES_WAITS, "SystemTime::now", "thread::sleep", "env::var", "process::exit"];
const MEASURES_WAITS: &str = "Instant::now";

/// Only in `MAKES_FILES`, which follows no link and sets modes.
const MAKING: [&str; 7] = [
    "File::create",
    "fs::write(",
    "fs::copy(",
    "create_new(true)",
    ".create(true)",
    "DirBuilder::",
    "fs::create_dir",
];
const MAKES_FILES: &str = "src/os/made.rs";

/// Never below `FLOOR_OF_IO`.
const IO: [&str; 10] = [
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "rustix::",
    "nix::",
    "ureq::",
];

/// Never in the core: their order is random, and a seed must live the same life again.
const UNORDERED: [&str; 2] = ["HashMap", "HashSet"];

/// For people, so only where people are spoken to.
const PRINTING: [&str; 4] = ["println!(", "eprintln!(", "print!(", "eprint!("];
const MAY_PRINT: [&str; 3] = ["command", "lib", "main"];
/// The two places where what goes to stderr has its code already.
const TOLD_IN: [&str; 2] = ["src/lib.rs", "src/command/mod.rs"];

/// Never in any file: places of one machine, hosts of registries. Cut in two, so that this file
/// keeps its own rule.
const BANNED_WORDS: [&str; 6] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tm", "p/"),
    concat!("/ho", "me/"),
    concat!("crates", ".io"),
    concat!("registry", ".npmjs"),
];

/// Written by others or by tools.
const NOT_OURS: [&str; 4] = [".git", "target", "Cargo.lock", "LICENSE"];

#[test]
fn modules_use_only_what_stands_below_them() {
    let mut broken = Vec::new();
    let mut beside: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in program() {
        let own = source.floor();
        for (number, used) in source.uses() {
            let Some(floor) = floor_of(&used) else { continue };
            let is_core_looking_up = source.module == "core" && floor > CORE_KNOWS_UP_TO_FLOOR;
            if used == source.module {
                continue;
            }
            if floor > own || is_core_looking_up {
                broken.push(source.at(number, &format!("{} must not use {used}", source.module)));
            } else if floor == own {
                beside.entry(source.module.clone()).or_default().insert(used);
            }
        }
    }
    for module in beside.keys() {
        if reaches(&beside, module, module) {
            broken.push(format!("{module} uses itself through others of its floor"));
        }
    }
    report(broken);
}

#[test]
fn every_module_has_a_floor() {
    let broken = program()
        .into_iter()
        .filter(|source| floor_of(&source.module).is_none())
        .map(|source| source.at(1, "its module is not in the table of floors"));
    report(broken.collect());
}

#[test]
fn every_source_begins_with_what_it_holds() {
    let is_told = |source: &Source| {
        let first = source.text.lines().next().unwrap_or("");
        first.starts_with("//! ") && !first.contains("to be written")
    };
    let broken = sources()
        .into_iter()
        .filter(|source| !is_told(source))
        .map(|source| source.at(1, "begin with //!: what it holds, promises, and never does"));
    report(broken.collect());
}

#[test]
fn files_and_functions_are_short() {
    let mut broken = Vec::new();
    let program: BTreeSet<PathBuf> = program().into_iter().map(|source| source.path).collect();
    for source in sources() {
        let is_program = program.contains(&source.path);
        broken.extend(source.length_problems(is_program));
        for (number, lines) in source.functions() {
            if lines > FUNCTION_LINES_MAX {
                let problem = format!("a function of {lines} lines; {FUNCTION_LINES_MAX} is most");
                broken.push(source.at(number, &problem));
            }
        }
    }
    report(broken);
}

#[test]
fn the_program_makes_no_banned_call() {
    let mut broken = Vec::new();
    for source in program() {
        let floor = source.floor();
        for (number, line) in source.code() {
            let mut ban = |word: &str, remedy: &str| {
                if line.contains(word) {
                    broken.push(source.at(number, &format!("{word}: {remedy}")));
                }
            };
            BANNED.iter().for_each(|(word, remedy)| ban(word, remedy));
            if source.module != "os" {
                let may = |word: &&&str| source.module == "net" && **word == MEASURES_WAITS;
                let banned = AMBIENT.iter().filter(|word| !may(word));
                banned.for_each(|word| ban(word, "only src/os may"));
            }
            if floor < FLOOR_OF_IO {
                IO.iter().for_each(|word| ban(word, "nothing below floor 3 touches the world"));
            }
            if !source.path.ends_with(MAKES_FILES) {
                MAKING.iter().for_each(|word| ban(word, "take os::made"));
            }
            if source.module == "core" {
                UNORDERED.iter().for_each(|word| ban(word, "take the BTree one"));
            }
            if !TOLD_IN.iter().any(|file| source.path.ends_with(file)) {
                ban("eprint", "take command::print_error, with a code");
            }
            if !MAY_PRINT.contains(&source.module.as_str()) {
                PRINTING.iter().for_each(|word| ban(word, "log it, or return it to a command"));
            }
        }
    }
    report(broken);
}

/// A code in the list that nothing tells would send people looking for what can't happen.
#[test]
fn every_message_that_is_declared_is_told() {
    let all = program();
    let (declaring, telling): (Vec<&Source>, Vec<&Source>) =
        all.iter().partition(|source| source.module == "message");
    let told: String = telling
        .iter()
        .flat_map(|source| source.code())
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    let words: BTreeSet<&str> =
        told.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let mut declared = 0;
    let mut broken = Vec::new();
    for source in declaring {
        for (number, line) in source.code() {
            let mut parts = line.trim_start().split(' ');
            let (name, level) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            if !["Error", "Warn", "Info", "Debug", "Trace"].contains(&level) {
                continue;
            }
            declared += 1;
            if !words.contains(name) {
                broken.push(source.at(number, &format!("{name} is told nowhere")));
            }
        }
    }
    assert_eq!(declared, s1_coralogix::message::all().count(), "they are found as text");
    report(broken);
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    let mut broken = Vec::new();
    for path in files(&root()) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (i, line) in text.lines().enumerate() {
            if let Some(word) = BANNED_WORDS.iter().find(|word| line.contains(*word)) {
                broken.push(format!("{}:{}: {word}", path.display(), i + 1));
            }
        }
    }
    report(broken);
}

fn report(broken: Vec<String>) {
    assert!(broken.is_empty(), "{} broken rules:\n{}", broken.len(), broken.join("\n"));
}

/// A Rust file.
struct Source {
    path: PathBuf,
    /// The first name below src: `config` for src/config/check.rs; empty outside of src.
    module: String,
    text: String,
}

impl Source {
    fn read(path: PathBuf) -> Source {
        let text = fs::read_to_string(&path).expect("a source is readable text");
        let below = path.strip_prefix(root().join("src")).unwrap_or(Path::new(""));
        let first = below.iter().next().map(|part| part.to_string_lossy().into_owned());
        let module = first.unwrap_or_default().trim_end_matches(".rs").to_owned();
        Source { path, module, text }
    }

    fn at(&self, line: usize, problem: &str) -> String {
        let path = self.path.strip_prefix(root()).unwrap_or(&self.path);
        format!("{}:{line}: {problem}", path.display())
    }

    fn floor(&self) -> u8 {
        floor_of(&self.module).unwrap_or(u8::MAX)
    }

    /// How many lines come before the tests at the end.
    fn lines_before_tests(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.windows(2).position(|pair| {
            pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        });
        tests.unwrap_or(lines.len())
    }

    /// What is wrong with how long the file is. Only a file of the program may argue for its length.
    fn length_problems(&self, is_program: bool) -> Vec<String> {
        let code = self.lines_before_tests();
        let tests = self.text.lines().count() - code;
        let mut header = self.text.lines().take_while(|line| line.starts_with("//!"));
        let argues = is_program && header.any(|line| line.starts_with(ARGUES_LENGTH));
        let mut problems = Vec::new();
        if code > FILE_LINES_MAX && !argues {
            let remedy = match is_program {
                true => "divide it between two ideas, or argue in its header: Long because ...",
                false => "divide it",
            };
            let problem = format!("{code} lines, and {FILE_LINES_MAX} is most: {remedy}");
            problems.push(self.at(code, &problem));
        }
        if code <= FILE_LINES_MAX && argues {
            problems.push(self.at(1, "it argues for a length that it does not have"));
        }
        if tests > FILE_LINES_MAX {
            let problem =
                format!("{tests} lines of tests, and {FILE_LINES_MAX} is most: divide them");
            problems.push(self.at(code + tests, &problem));
        }
        problems
    }

    /// The lines of code, numbered from 1: no comments, nothing from the tests at the end on.
    fn code(&self) -> Vec<(usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let end = self.lines_before_tests();
        let is_code = |line: &str| !line.trim_start().starts_with("//");
        lines[..end]
            .iter()
            .enumerate()
            .filter(|(_, line)| is_code(line))
            .map(|(i, line)| (i + 1, line.split(" // ").next().unwrap_or(line)))
            .collect()
    }

    /// Modules of this crate that are named, with the line.
    fn uses(&self) -> Vec<(usize, String)> {
        let code = self.code();
        let joined: String = code.iter().map(|(_, line)| format!("{line}\n")).collect();
        let mut uses = Vec::new();
        for (at, _) in joined.match_indices("crate::") {
            let before = joined[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let number = code[joined[..at].matches('\n').count()].0;
            let names = first_names(&joined[at + "crate::".len()..]);
            uses.extend(names.into_iter().map(|name| (number, name)));
        }
        uses
    }

    /// Each function's first line and how many lines it has. rustfmt puts the closing brace
    /// below the beginning, which finds it.
    fn functions(&self) -> Vec<(usize, usize)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let begins = |line: &str| {
            let words = line.trim_start().split(' ');
            words.take_while(|word| !word.contains(['=', '/', '"'])).take(4).any(|w| w == "fn")
        };
        let mut found = Vec::new();
        for (i, line) in lines.iter().enumerate() {
            if !begins(line) || line.ends_with([';', '}']) {
                continue;
            }
            let indent = &line[..line.len() - line.trim_start().len()];
            let ends = |line: &&str| match line.strip_prefix(indent) {
                Some(rest) => rest == "}" || rest.starts_with(')') && rest.ends_with(';'),
                None => false,
            };
            let after = lines[i..].iter().position(ends).unwrap_or(lines.len() - 1 - i);
            found.push((i + 1, after + 1));
        }
        found
    }
}

/// The modules that begin a path after `crate::`: one name, or those of a list in braces.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(list) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut from) = (0, Vec::new(), 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&list[from..at]));
                from = at + 1;
            }
            '}' => {
                names.push(name(&list[from..at]));
                break;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn floor_of(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

fn reaches(beside: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(module) = next.pop() {
        for used in beside.get(module).into_iter().flatten() {
            if used == to {
                return true;
            }
            if seen.insert(used) {
                next.push(used);
            }
        }
    }
    false
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of ours.
fn sources() -> Vec<Source> {
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    files(&root()).into_iter().filter(is_rust).map(Source::read).collect()
}

/// What becomes the program: src, without the files that are only compiled for tests.
fn program() -> Vec<Source> {
    let all: Vec<Source> = sources().into_iter().filter(|s| !s.module.is_empty()).collect();
    let tests: BTreeSet<PathBuf> = all.iter().flat_map(test_files).collect();
    all.into_iter().filter(|source| !tests.contains(&source.path)).collect()
}

/// The files behind `#[cfg(test)] mod name;`, with or without a `#[path]` between; what is compiled
/// for the fuzzer too is no more a part of the program.
fn test_files(source: &Source) -> Vec<PathBuf> {
    let beside = source.path.with_file_name("");
    let folder = match source.path.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") | None => beside.clone(),
        Some(_) => source.path.with_extension(""),
    };
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    let is_for_tests = |line: &str| ["#[cfg(test)]", "#[cfg(any(test, fuzzing))]"].contains(&line);
    for (i, _) in lines.iter().enumerate().filter(|(_, line)| is_for_tests(line)) {
        let next = lines.get(i + 1).copied().unwrap_or("");
        let named = next.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]"));
        let module = next.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        let module = module.strip_prefix("mod ");
        match (named, module.and_then(|module| module.strip_suffix(';'))) {
            (Some(file), _) => {
                let file = beside.join(file);
                found.push(file.canonicalize().unwrap_or(file));
            }
            (None, Some(name)) => {
                found.push(folder.join(format!("{name}.rs")));
                found.push(folder.join(name).join("mod.rs"));
            }
            (None, None) => {}
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder of the repository is readable")
        .map(|entry| entry.expect("so are its entries").path())
        .collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if NOT_OURS.contains(&name.as_str()) || path.is_symlink() {
            continue;
        }
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn the_rules_see_what_they_look_for() {
    let source = |text: &str| Source {
        path: root().join("src/core/lane.rs"),
        module: "core".to_owned(),
        text: text.to_owned(),
    };
    let uses = |text: &str| -> Vec<String> {
        source(text).uses().into_iter().map(|(_, name)| name).collect()
    };
    assert_eq!(uses("use crate::queue::disk;\n"), ["queue"]);
    assert_eq!(uses("use crate::{\n    a::{b, c},\n    d,\n};\n"), ["a", "d"]);
    assert_eq!(uses("fn x() -> crate::edge::Y {\n}\n"), ["edge"]);
    assert_eq!(uses("// use crate::a;\nmy_crate::b();\n$crate::c!();\n"), [""; 0]);
    assert_eq!(uses("#[cfg(test)]\nmod tests {\n    use crate::edge;\n}\n"), [""; 0]);
    let long = format!(
        "    pub fn long(\n        a: u8,\n    ) {{\n{}    }}\n",
        "        x();\n".repeat(80)
    );
    assert_eq!(source(&long).functions(), [(1, 84)]);
    let too_long = |header: &str, code: usize, tests: usize, is_program: bool| {
        let tests = match tests {
            0 => String::new(),
            _ => format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "x();\n".repeat(tests - 3)),
        };
        let text = format!("//! One idea.\n{header}{}{tests}", "x();\n".repeat(code));
        !source(&text).length_problems(is_program).is_empty()
    };
    let why = "//! Long because it is one table.\n";
    assert!(!too_long("", 699, 700, true));
    assert!(too_long("", 700, 0, true));
    assert!(!too_long(why, 699, 700, true));
    assert!(too_long(why, 698, 700, true), "nothing to argue for");
    assert!(too_long(why, 699, 701, true), "tests have no excuse");
    assert!(too_long(why, 699, 0, false), "nor has a file of tests");
    assert!(too_long("let x = 1;\n//! Long because it is.\n", 699, 0, true), "not in the header");
    let short =
        "trait T {\n    fn a(&self);\n    fn b(\n        c: u8,\n    ) -> u8;\n    fn d() {}\n}\n";
    assert_eq!(source(short).functions(), [(3, 3)]);
}
