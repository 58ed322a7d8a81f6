//! The test servers alone, for a collector that something else starts: a SentinelOne tenant with new
//! records all the time, a Coralogix ingress, and the ledger between them.
//!
//!     cargo run --example servers -- DIRECTORY
//!
//! writes `config.toml`, both secrets and the CA into the directory, then says `ready`. The file
//! `quiet` in it, made by anyone, ends the records; `stop` ends the servers, once everything has
//! arrived. The last line is the ledger; the exit code is 1 if anything is lost or changed.
//!
//! Promises: binds port 0 of 127.0.0.1 only; ends by itself after ten minutes.
//! Never: starts or signals another process.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it is a stage for tests: it prints, and ends at once if it breaks"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use support::data::Kind;
use support::program::Program;
use support::watched::Watched;
use support::world::{Settings, World};

const TICK: Duration = Duration::from_millis(100);
/// New records, each tenth of a second.
const NEW: usize = 40;
const LIFE: Duration = Duration::from_secs(600);
/// How long everything may take to arrive after `stop`.
const ARRIVAL: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        println!("usage: servers DIRECTORY");
        return ExitCode::from(2);
    };
    // The program is started by others: this name is never used.
    let world = World::new(Program::under_test("s1-coralogix"), Settings::default());
    write_files(&world, &directory);
    println!("ready");
    let never = Watched::new(());
    let begun = Instant::now();
    while !directory.join("stop").exists() && begun.elapsed() < LIFE {
        if !directory.join("quiet").exists() {
            world.tenant().publish(Kind::Activities, NEW);
            world.tenant().publish(Kind::Threats, NEW / 10);
        }
        never.wait(TICK, |()| None::<()>);
    }
    world.ledger.wait_complete(ARRIVAL);
    let balance = world.ledger.balance();
    println!("{balance}");
    match balance.lost + balance.changed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// What the package's own config would hold, but for the two addresses, the CA and the pace.
fn write_files(world: &World, directory: &Path) {
    let shown = directory.display();
    let config = format!(
        "[coralogix]\nurl = \"{}\"\napi_key_file = \"{shown}/coralogix.key\"\n\n\
         [[integration]]\nname = \"acme\"\ntenant = \"{}\"\n\
         api_token_file = \"{shown}/acme.token\"\npoll_interval = \"1s\"\n\n\
         [network]\nca_file = \"{shown}/ca.pem\"\n\n[retry]\nmin = \"100ms\"\nmax = \"1s\"\n",
        world.ingress.url(),
        world.tenant().url()
    );
    let ca = fs::read_to_string(world.path("ca.pem")).unwrap();
    let files = [
        ("config.toml", config, 0o644),
        ("ca.pem", ca, 0o644),
        ("coralogix.key", world.ingress.key() + "\n", 0o600),
        ("acme.token", world.tenant().token() + "\n", 0o600),
    ];
    for (name, text, mode) in files {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}
