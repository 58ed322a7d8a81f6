//! The black-box tests: the built program between a tenant and an ingress on loopback, and the
//! tests of those two servers themselves.
//!
//! Promises: no test waits for luck, binds anything but port 0 of loopback, or signals a process
//! that it did not start.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a failure in a test should end it at once, and tests have clocks of their own"
)]

#[path = "../support/mod.rs"]
mod support;

mod acceptance;
mod access;
mod addresses;
mod adopt;
mod answers;
mod appliance;
mod autofs;
mod campaign;
mod check;
mod ci;
mod claims;
mod clock;
mod clocks_claims;
mod commands;
mod credentials;
mod cursors;
mod damage;
mod dates;
mod delivery;
mod doubt;
mod formats;
mod full;
mod golden;
mod hangs;
mod inotify;
mod kill;
mod lifecycle;
mod liveness;
mod made;
mod memory;
mod metrics;
mod mounted_fs;
mod mutants;
mod network;
mod notes;
mod openwrt;
mod oracle;
mod owner;
mod packages;
mod pages;
mod plain;
mod polling;
mod power;
mod queue;
mod queue_commands;
mod reconcile;
mod refusals;
mod relay;
mod scene;
mod servers;
mod severity;
mod shown;
mod shrink;
mod soak;
mod stalled;
mod status_schema;
mod syscalls;
mod thin;
mod tidy;
mod windows;
