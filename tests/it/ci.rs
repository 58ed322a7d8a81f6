//! The closing line of `.ci/run`: what was not tried is counted, and permitted by name.

use std::fs;
use std::process::Command;

use crate::support::temp::TempDir;

/// The exit code of `.ci/result` and all that it prints, for these lines of `cargo test`.
fn result_of(lines: &str) -> (Option<i32>, String) {
    let dir = TempDir::new("ci");
    let (log, skips) = (dir.path().join("log"), dir.path().join("skips"));
    fs::write(&log, lines).unwrap();
    fs::write(&skips, "skipped: no busybox\n").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/result");
    let ended = Command::new(script).args([log, skips]).output().unwrap();
    let text = [ended.stdout, ended.stderr].concat();
    (ended.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn an_ignored_test_is_a_skip_that_is_permitted_by_name() {
    let known = "test thin::shipped_settings_at_16_kbit ... ignored, takes 40 minutes\n";
    let counts = "test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out\n";
    let (code, told) = result_of(&format!("test a::b ... ok\n{known}{counts}"));
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("7 passed, 0 failed, 2 skipped\n"), "{told}");
    assert!(told.contains("ignored: thin::shipped_settings_at_16_kbit, takes"), "{told}");
    let (code, told) = result_of(&format!("test thin::another ... ignored\n{known}{counts}"));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("not permitted by tests/support/skip.rs: thin::another"), "{told}");
    assert!(told.contains("7 passed, 0 failed, 3 skipped\n"), "{told}");
    let (code, told) =
        result_of("test result: FAILED. 7 passed; 1 failed; 0 ignored; 0 measured\n");
    assert_eq!(code, Some(1), "{told}");
    assert_eq!(result_of("").0, Some(1), "nothing ran");
}
