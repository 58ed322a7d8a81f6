//! The network client: one HTTP exchange with one service, and all that it rests on.
//!
//! Holds, from the top down: `client` (an exchange), `dial` (how a connection is made) over
//! `proxy`, `addresses`, `tcp` (with `acknowledged`) and `tls`, `wire` (what an exchange carries)
//! with `spare` (where it is put) and `idle` (how old a connection may be); for the time `service_times`,
//! for certificates `certificate`, `certificate_clock` and `clock_blame`. Promises: one request in flight at a time (keeps P6); a
//! secret leaves only in the header or body that carries it (keeps P7); no redirect is followed.
//! Never: knows what is asked or posted.

pub mod acknowledged;
pub mod addresses;
pub mod certificate;
pub mod certificate_clock;
pub mod client;
pub mod clock_blame;
pub mod dial;
pub mod idle;
pub mod proxy;
pub mod service_times;
pub mod spare;
pub mod tcp;
pub mod tls;
pub mod wire;

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod client_tls_tests;
#[cfg(test)]
mod idle_tests;
#[cfg(test)]
pub mod loopback;
