//! The lists of mutants that no test catches (tests/mutants/left).
//!
//! Promises: each of them has a reason, and each reason stands in one sentence at the top of its list.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What is wrong with a list: its name and its text.
fn wrong(name: &str, text: &str) -> Vec<String> {
    let heads = text.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(": "));
    let mut uses: BTreeMap<&str, usize> = heads.map(|(slug, _)| (slug, 0)).collect();
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let Some(mutant) = line.strip_prefix("    ") else { continue };
        let slug = mutant.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        match slug.and_then(|(slug, _)| uses.get_mut(slug)) {
            Some(used) => *used += 1,
            None => found.push(format!(
                "{name}:{}: no reason, or none that the top explains: {mutant}",
                i + 1
            )),
        }
    }
    let unused = uses.iter().filter(|(_, used)| **used == 0);
    found.extend(unused.map(|(slug, _)| format!("{name}: nothing has the reason {slug}")));
    found
}

#[test]
fn what_no_test_catches_has_a_reason() {
    let lists = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants/left");
    let mut found = Vec::new();
    let mut read = 0;
    for list in fs::read_dir(lists).unwrap() {
        let list = list.unwrap().path();
        let name = list.file_name().unwrap().to_string_lossy().into_owned();
        found.extend(wrong(&name, &fs::read_to_string(&list).unwrap()));
        read += 1;
    }
    assert!(read > 0);
    assert!(found.is_empty(), "{} in all:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_list_is_judged_by_its_lines() {
    let list = "# speed: Less work.\n# other: Unused.\nsrc/a.rs\n  f\n    [speed] < -> <=\n    + -> -\n    [x] ! left out\n";
    assert_eq!(
        wrong("a", list),
        [
            "a:6: no reason, or none that the top explains: + -> -",
            "a:7: no reason, or none that the top explains: [x] ! left out",
            "a: nothing has the reason other",
        ]
    );
}
