//! README, SECURITY, CONTRIBUTING and the pages of docs/, held against the program they describe.
//!
//! Promises: every page is in the book, every link leads somewhere, every command of this program
//! can be typed, every config can be used, every code exists, and the record that is shown is the
//! one that is sent. Never: judges the words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use s1_coralogix::config::{self, Environment, Source};
use s1_coralogix::coralogix::entry::{self, Labels};
use s1_coralogix::record::Kind;
use s1_coralogix::s1::page;
use s1_coralogix::s1::severity::{self, ActivityWords};
use s1_coralogix::{cli, message};

use crate::root;

const TOP: [&str; 4] = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"];
const SUMMARY: &str = "docs/SUMMARY.md";

/// What a fragment of a config leaves out.
const CORALOGIX: &str = "[coralogix]\ndomain = \"eu2.coralogix.com\"\napi_key_file = \"/k\"\n";
const TENANT: &str =
    "tenant = \"https://usea1-acme.sentinelone.net\"\napi_token_file = \"/etc/acme.token\"\n";

/// A Markdown file by its path below the root.
struct Page {
    path: String,
    text: String,
}

impl Page {
    fn read(path: &str) -> Page {
        let text = fs::read_to_string(root().join(path)).unwrap_or_default();
        assert!(!text.is_empty(), "{path} can be read");
        Page { path: path.to_owned(), text }
    }

    /// Lines outside of blocks of code, numbered from 1.
    fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_code = false;
        let mut prose = Vec::new();
        for (i, line) in self.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code {
                prose.push((i + 1, line));
            }
        }
        prose
    }

    /// The blocks of code in a language, each with the number of the line before it.
    fn blocks(&self, language: &str) -> Vec<(usize, String)> {
        let mut blocks = Vec::new();
        let mut open: Option<(usize, String, bool)> = None;
        for (i, line) in self.text.lines().enumerate() {
            open = match (open, line.trim_start().strip_prefix("```")) {
                (None, Some(named)) => Some((i + 1, String::new(), named == language)),
                (Some((at, text, wanted)), Some(_)) => {
                    blocks.extend(wanted.then_some((at, text)));
                    None
                }
                (Some((at, text, wanted)), None) => Some((at, format!("{text}{line}\n"), wanted)),
                (None, None) => None,
            };
        }
        blocks
    }

    /// The block of code below a comment of this name, its lines without their indentation as one.
    fn shown(&self, name: &str) -> String {
        let comment = format!("<!-- {name} -->\n");
        let (_, after) = self.text.split_once(&comment).expect("the page has the comment");
        let block = after.split("```").nth(1).expect("a block follows");
        block.lines().skip(1).map(str::trim).collect()
    }

    /// The targets of its links, with the line of each.
    fn links(&self) -> Vec<(usize, &str)> {
        let mut links = Vec::new();
        for (number, line) in self.prose() {
            for (at, _) in line.match_indices("](") {
                let target = &line[at + 2..];
                links.extend(target.split_once(')').map(|(target, _)| (number, target)));
            }
        }
        links
    }

    /// What links may name after `#`, made from the headings as the forges and mdbook do.
    fn anchors(&self) -> BTreeSet<String> {
        let heading = |line: &str| -> Option<String> {
            let title = line.trim_start_matches('#');
            let is_heading = title.len() < line.len() && title.starts_with(' ');
            let keep = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
            let title: String = title.trim().to_lowercase().chars().filter(keep).collect();
            is_heading.then(|| title.replace(' ', "-"))
        };
        self.prose().iter().filter_map(|(_, line)| heading(line)).collect()
    }
}

/// The pages of docs/, `SUMMARY.md` not among them.
fn docs() -> Vec<Page> {
    let entries = fs::read_dir(root().join("docs")).expect("docs/ is there");
    let names = entries.map(|entry| entry.expect("and can be read").file_name());
    let mut paths: Vec<String> =
        names.map(|name| format!("docs/{}", name.to_string_lossy())).collect();
    paths.retain(|path| path.ends_with(".md") && path != SUMMARY);
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

/// All of them, but for the changelog of versions that had other commands.
fn pages() -> Vec<Page> {
    TOP[..3].iter().map(|path| Page::read(path)).chain(docs()).collect()
}

fn report(broken: &[String]) {
    assert!(broken.is_empty(), "{} untrue:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn the_book_has_every_page_once() {
    let summary = Page::read(SUMMARY);
    let mut listed: Vec<String> =
        summary.links().iter().map(|(_, target)| format!("docs/{target}")).collect();
    listed.sort();
    let there: Vec<String> = docs().into_iter().map(|page| page.path).collect();
    assert_eq!(listed, there);
}

/// A page of docs/ links to no file elsewhere, so that the book and a package of it have no dead
/// link.
#[test]
fn every_link_leads_somewhere() {
    let mut all = pages();
    all.extend([Page::read(TOP[3]), Page::read(SUMMARY)]);
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        all.iter().map(|page| (page.path.as_str(), page.anchors())).collect();
    let mut broken = Vec::new();
    for page in &all {
        let folder = if page.path.starts_with("docs/") { "docs/" } else { "" };
        for (line, target) in page.links() {
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.path.clone() } else { format!("{folder}{file}") };
            let has_anchor = || anchors.get(file.as_str()).is_some_and(|all| all.contains(anchor));
            let leads = !file.contains("..")
                && root().join(&file).exists()
                && (anchor.is_empty() || has_anchor());
            if !leads {
                broken.push(format!("{}:{line}: {target} is not there", page.path));
            }
        }
    }
    report(&broken);
}

/// The arguments of each call of this program in a line of a shell.
fn calls(line: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let line = line.split(" #").next().unwrap_or("");
    for part in line.split(['|', ';', '&', '(', ')', '>', '<', '`', '$']) {
        let mut words = part.split_whitespace().skip_while(|word| {
            let is_assignment = word.contains('=') && !word.starts_with('-');
            is_assignment || ["sudo", "exec", "then", "do", "!", "if", "while"].contains(word)
        });
        let Some(program) = words.next() else { continue };
        if program == "s1-coralogix" || program.ends_with("/s1-coralogix") {
            found.push(words.map(|word| word.trim_matches(['"', '\'']).to_owned()).collect());
        }
    }
    found
}

#[test]
fn every_command_can_be_typed() {
    let mut broken = Vec::new();
    let mut typed = 0;
    for page in pages() {
        let mut lines: Vec<(usize, String)> = Vec::new();
        for (at, block) in page.blocks("sh") {
            let whole = block.replace("\\\n", " ");
            lines.extend(whole.lines().map(|line| (at, line.to_owned())));
        }
        for (number, line) in page.prose() {
            let spans = line.split('`').skip(1).step_by(2);
            let calls = spans.filter(|span| span.starts_with("s1-coralogix "));
            lines.extend(calls.map(|span| (number, span.to_owned())));
        }
        for (number, line) in lines {
            for arguments in calls(&line) {
                typed += 1;
                if let Err(usage) = cli::parse(arguments) {
                    broken.push(format!("{}:{number}: {line}: {usage}", page.path));
                }
            }
        }
    }
    report(&broken);
    assert!(typed > 60, "{typed}");
}

/// Whether a config, whole or a fragment, can be used and gives no reason for a warning.
fn judge(fragment: &str) -> Result<(), String> {
    let mut text = fragment.to_owned();
    let mut base = String::new();
    if !text.contains("[coralogix]") {
        base += CORALOGIX;
    }
    match text.contains("[[integration]]") {
        false => base = format!("{base}[[integration]]\nname = \"acme\"\n{TENANT}"),
        true if !text.contains("tenant =") => {
            text = text.replace("[[integration]]\n", &format!("[[integration]]\n{TENANT}"));
        }
        true => {}
    }
    let sources = [Source::text("what is left out", &base), Source::text("the page", &text)];
    let found = match config::parse(&sources, &Environment::default()) {
        Ok((_, warnings)) => warnings,
        Err(findings) => findings.0,
    };
    let problems: Vec<String> =
        found.iter().map(|it| format!("{}: {} {}", it.code, it.key, it.problem)).collect();
    problems.is_empty().then_some(()).ok_or_else(|| problems.join("; "))
}

#[test]
fn every_config_can_be_used() {
    let mut broken = Vec::new();
    let mut judged = 0;
    for page in pages() {
        for (number, block) in page.blocks("toml") {
            judged += 1;
            if let Err(problem) = judge(&block) {
                broken.push(format!("{}:{number}: {problem}", page.path));
            }
        }
    }
    report(&broken);
    assert!(judged > 8, "{judged}");
}

/// The firewall table names domains that the program takes for regions of Coralogix.
#[test]
fn every_region_can_be_set() {
    let install = Page::read("docs/INSTALL.md");
    let rows = install.text.lines().filter(|line| line.contains("| `ingress."));
    let mut domains = 0;
    for row in rows {
        let host = row.split('`').find(|part| part.starts_with("ingress.")).unwrap_or("");
        let domain = host.trim_start_matches("ingress.");
        let config = CORALOGIX.replace("eu2.coralogix.com", domain);
        assert_eq!(judge(&config), Ok(()), "{row}");
        domains += 1;
    }
    assert_eq!(domains, 9);
    let hosts = |page: &Page| -> BTreeSet<String> {
        let words = page.text.split(|c: char| c.is_whitespace() || c == '`');
        words.filter(|word| word.starts_with("ingress.")).map(str::to_owned).collect()
    };
    let in_readme = hosts(&Page::read("README.md"));
    assert!(in_readme.is_superset(&hosts(&install)), "README has the same table");
}

#[test]
fn every_code_exists() {
    let mut broken = Vec::new();
    for page in pages() {
        for (i, line) in page.text.lines().enumerate() {
            for (at, _) in line.match_indices("S1C-") {
                let typed: String = line[at..].chars().take(8).collect();
                if !typed.ends_with(|c: char| c.is_ascii_digit()) {
                    continue; // `S1C-` alone, or S1C-E5xx
                }
                let is_it = message::find(&typed).is_some_and(|e| e.code.to_string() == typed);
                if !is_it {
                    broken.push(format!("{}:{}: there is no {typed}", page.path, i + 1));
                }
            }
        }
    }
    report(&broken);
}

#[test]
fn the_record_that_is_shown_is_the_one_that_is_sent() {
    let shown = Page::read("docs/WHAT-ARRIVES.md");
    for (kind, name) in [(Kind::Threats, "threat"), (Kind::Activities, "activity")] {
        let body =
            format!("{{\"data\":[{}]}}", shown.shown(&format!("{name} as SentinelOne sends it")));
        let page = page::scan(body.as_bytes(), kind).expect("it is a page");
        let labels = Labels::new("acme", "SentinelOne", "acme", "edge-1");
        let mut sent = Vec::new();
        entry::render(&mut sent, &labels, kind, &page.rows[0], body.as_bytes());
        let sent = String::from_utf8(sent).expect("an entry is text");
        assert_eq!(shown.shown(&format!("{name} as it is sent to Coralogix")), sent);
    }
}

/// README shows the same entry, cut within its text.
#[test]
fn the_readme_shows_the_same_record() {
    let entry = Page::read("docs/WHAT-ARRIVES.md").shown("threat as it is sent to Coralogix");
    let shortened = Page::read("README.md").shown("threat, shortened");
    let before_text = |entry: &str| entry.split_once("\"text\":").unwrap().0.to_owned();
    assert_eq!(before_text(&shortened), before_text(&entry));
}

/// A message that requires action, of those that a running collector writes.
#[test]
fn every_problem_of_a_running_collector_can_be_looked_up() {
    let page = Page::read("docs/TROUBLESHOOTING.md");
    let codes = message::all().map(|entry| entry.code);
    let wanted: Vec<String> = codes
        .filter(|code| code.number() < 300 && code.level() == log::Level::Error)
        .map(|code| code.to_string())
        .collect();
    let missing: Vec<String> =
        wanted.iter().filter(|code| !page.text.contains(&format!("[{code}]"))).cloned().collect();
    report(&missing);
    assert!(wanted.len() > 40, "{}", wanted.len());
}

/// The numbers of activity types in the table's rows that have one severity.
#[test]
fn the_severity_table_is_the_programs() {
    let page = Page::read("docs/WHAT-ARRIVES.md");
    let mut types = 0;
    for row in page.text.lines().filter(|line| line.starts_with("| activity: ")) {
        let severity: u8 = row.trim_end_matches(" |").rsplit(' ').next().unwrap().parse().unwrap();
        for list in row.split(['(', ')']).skip(1).step_by(2) {
            for part in list.split(", ") {
                let (first, last) = part.split_once(" to ").unwrap_or((part, part));
                let range = first.parse::<u32>().unwrap()..=last.parse::<u32>().unwrap();
                for number in range {
                    let found = severity::of_activity(number, ActivityWords::default());
                    assert_eq!(found, severity, "{number} in: {row}");
                    types += 1;
                }
            }
        }
    }
    assert!(types > 40, "{types}");
}

/// README says what is promised, docs/RELIABILITY.md which tests guard it: the same ten, and tests
/// that are there.
#[test]
fn every_promise_has_its_tests() {
    let readme = Page::read("README.md");
    let guards = Page::read("docs/RELIABILITY.md");
    for number in 1..=10 {
        let begins = format!("| P{number} |");
        let row = |page: &Page| -> String {
            let rows: Vec<&str> =
                page.text.lines().filter(|line| line.starts_with(&begins)).collect();
            assert_eq!(rows.len(), 1, "{}: {begins}", page.path);
            rows[0].to_owned()
        };
        row(&readme);
        let guarded = row(&guards);
        let paths: Vec<&str> = guarded.split('`').skip(1).step_by(2).collect();
        assert!(!paths.is_empty(), "{guarded}");
        for path in paths {
            assert!(root().join(path).exists(), "P{number}: {path} is not there");
        }
    }
}

#[test]
fn the_rules_see_what_they_look_for() {
    let page = Page {
        path: "docs/X.md".to_owned(),
        text: "# A b: c\n[x](Y.md#z) and [q](R.md)\n```sh\n[no](link)\n```\n".to_owned(),
    };
    assert_eq!(page.links(), [(2, "Y.md#z"), (2, "R.md")]);
    assert_eq!(page.anchors(), BTreeSet::from(["a-b-c".to_owned()]));
    assert_eq!(page.blocks("sh"), [(3, "[no](link)\n".to_owned())]);
    let words = |line: &str| -> Vec<String> {
        calls(line).into_iter().map(|arguments| arguments.join(" ")).collect()
    };
    assert_eq!(words("sudo s1-coralogix check --json | jq . # x"), ["check --json"]);
    assert_eq!(words("A=b /usr/bin/s1-coralogix run && s1-coralogix status"), ["run", "status"]);
    assert_eq!(words("service s1-coralogix start; # s1-coralogix x"), [""; 0]);
    assert!(judge("[queue]\nmax_sise = \"1GiB\"\n").is_err_and(|it| it.contains("max_sise")));
}
