//! Tells the program which commit it is built from, for `--version`, and the date that no clock can
//! rightly be before.
//!
//! Promises: builds the same without git and in a source archive; the variable
//! S1_CORALOGIX_COMMIT, set when the package is built, comes first. Never: runs a program, or takes
//! the time of building into the program: the same commit gives the same bytes.

use std::fs;
use std::path::{Path, PathBuf};

/// 2026-11-23, when this version was under way, in seconds since 1970. Raised with each release. A
/// commit's own date would be nicer, but it stands in git's compressed objects.
const RELEASED: i64 = 1_795_392_000;

fn main() {
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // Some builders set it to 0 or 1980 for all they build; then our own date is the better one.
    let given = option_env!("SOURCE_DATE_EPOCH").and_then(|text| text.trim().parse().ok());
    println!("cargo:rustc-env=S1_CORALOGIX_BUILT_AT={}", RELEASED.max(given.unwrap_or(RELEASED)));
    println!("cargo:rerun-if-env-changed=S1_CORALOGIX_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let given = option_env!("S1_CORALOGIX_COMMIT").map(str::to_owned);
    if let Some(commit) = given.or_else(|| commit(Path::new(env!("CARGO_MANIFEST_DIR")))) {
        println!("cargo:rustc-env=S1_CORALOGIX_COMMIT={commit}");
    }
}

/// The commit that HEAD names, in twelve digits.
fn commit(root: &Path) -> Option<String> {
    let (own, common) = git_dirs(&root.join(".git"))?;
    let head = read(&own.join("HEAD"))?;
    let hash = match head.strip_prefix("ref: ") {
        None => head,
        Some(name) => read(&common.join(name)).or_else(|| packed(&common, name))?,
    };
    let is_hash = hash.len() >= 40 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    is_hash.then(|| hash[..12].to_owned())
}

/// Where HEAD is, and where the branches are: two places in a linked worktree.
fn git_dirs(git: &Path) -> Option<(PathBuf, PathBuf)> {
    if git.is_dir() {
        return Some((git.to_owned(), git.to_owned()));
    }
    let own = git.parent()?.join(read(git)?.strip_prefix("gitdir: ")?);
    let common = match read(&own.join("commondir")) {
        Some(common) => own.join(common),
        None => own.clone(),
    };
    Some((own, common))
}

fn packed(common: &Path, name: &str) -> Option<String> {
    let line = |line: &str| line.strip_suffix(name)?.strip_suffix(' ').map(str::to_owned);
    read(&common.join("packed-refs"))?.lines().find_map(line)
}

/// A file's text; the next build looks again when it changed. A file that is not there is not
/// watched, for cargo would then build every time.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo:rerun-if-changed={}", path.display());
    Some(text.trim().to_owned())
}
