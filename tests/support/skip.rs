//! What a test says where it can't run.
//!
//! Promises: a skip is heard: it is counted where `.ci/run` asks for it (S1C_SKIPS names a file), and with
//! CI set it fails the test unless its reason is on the list, for there everything that a test looks for
//! is installed. Never: decides whether a test can run.

use std::io::Write as _;
use std::{env, fs};

/// Reasons that hold in CI too, each with where the test does run.
const EVERYWHERE: [(&str, &str); 3] = [
    (
        "S1C_PROGRAM names no static binary for this machine",
        ".ci/static runs it once more, with the binary that users install",
    ),
    (
        "the memory under an emulator is the emulator's",
        ".ci/static runs it with the native binaries",
    ),
    (
        "no mount that never answers: the kernel has no autofs, or this may not mount it",
        "hangs::one_thread_hears_signals_and_it_waits_for_no_file holds what it rests on",
    ),
];

/// Tests that `cargo test` ignores, each with the reason that it gives. `.ci/result` counts them as skips,
/// and fails for an ignored test that is not here.
#[expect(dead_code, reason = "read by .ci/result, as text")]
const IGNORED: [(&str, &str); 5] = [
    (
        "queue::processor_time_of_100_000_records",
        "a measurement, of a release build on a quiet machine",
    ),
    ("thin::shipped_settings_at_16_kbit", "takes 40 minutes"),
    ("thin::shipped_settings_at_2_kbit", "takes 10 minutes"),
    ("thin::shipped_settings_at_2_kbit_after_a_burst", "takes 10 minutes"),
    ("thin::shipped_settings_at_16_kbit_with_two_seconds_of_delay", "takes 20 minutes"),
];

/// Says that a test does not run here, or not all of it, and why.
pub fn skipped(why: &str) {
    let is_known = EVERYWHERE.iter().any(|(reason, _)| *reason == why);
    assert!(env::var_os("CI").is_none() || is_known, "CI must have what is missing here: {why}");
    eprintln!("skipped: {why}");
    if let Some(file) = env::var_os("S1C_SKIPS") {
        let file = fs::OpenOptions::new().create(true).append(true).open(file);
        let line = format!("skipped: {why}\n");
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("S1C_SKIPS can be written");
    }
}
