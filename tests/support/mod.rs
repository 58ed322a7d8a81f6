//! The world around the collector, made for tests and the demo: a SentinelOne tenant, a Coralogix
//! ingress, a proxy, all on loopback, speaking real HTTP and TLS, and the ledger that compares what
//! was published with what was delivered.
//!
//! Promises: binds port 0 of 127.0.0.1 only; every behaviour the two references are unsure of is a
//! knob that can be turned while the collector runs; nothing waits for luck, only for conditions.
//! Never: uses code of the collector, so that a mistake there can't be agreed with here.
#![allow(dead_code, reason = "each test binary and the demo use another part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test world has clocks of its own, and a failure in it should end the test at once"
)]

pub mod cgroup;
pub mod client;
pub mod clock;
pub mod data;
pub mod fault;
pub mod http;
pub mod ingress;
pub mod ledger;
pub mod link;
pub mod process;
pub mod program;
pub mod proxy;
pub mod skip;
pub mod temp;
pub mod tenant;
pub mod tls;
pub mod watched;
pub mod wire;
pub mod world;
