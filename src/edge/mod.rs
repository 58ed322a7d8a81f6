//! The edge: the only place with sockets, clocks, signals and the environment.
//!
//! Holds: the trait `Edge`, which the simulation implements too, and the words it speaks.
//! Promises: one request in flight at a time (keeps P6); a secret leaves only in the header or
//! body that carries it (keeps P7); no redirect is followed. Never: decides what to do next.

pub mod addresses;
pub mod cause;
pub mod certificate;
pub mod clock;
pub mod compare;
pub mod config_file;
pub mod dial;
pub mod doubt;
pub mod ground;
pub mod helper;
pub mod host;
pub mod idle;
pub mod ingress;
pub mod judge;
pub mod keeper;
pub mod logging;
pub mod made;
pub mod memory;
pub mod net;
pub mod notify;
pub mod owner;
pub mod probe;
pub mod progress;
pub mod proxy;
pub mod reach;
pub mod real;
pub mod sample;
pub mod secret;
mod setup;
pub mod signal;
pub mod stderr;
pub mod step;
pub mod tcp;
pub mod tls;
pub mod told;
pub mod trial;
pub mod verdicts;
pub mod watch;
pub mod wire;
pub mod zone;

#[cfg(test)]
mod idle_tests;
#[cfg(test)]
pub mod loopback;
#[cfg(test)]
mod net_tests;
#[cfg(test)]
mod probe_tests;

use crate::record::{Answer, Credential, NetTrouble, TrialKey};
use crate::time::{Clocks, Mono, Stamp};

pub use real::Real;
pub use setup::SetupError;
pub use told::Stamping;

/// The world outside: time, the two services, and the people who send signals.
pub trait Edge {
    /// The clock of all schedules. Never runs backwards, and counts the time a box is suspended.
    fn mono(&mut self) -> Mono;

    /// Calendar time for windows and for people: the newest `Date` of the sink, else of a tenant, plus
    /// what has passed since; before the first answer the local clock, or the build's date if that is
    /// later. Only ever a hint; what judges the age of an entry is `stamping` (keeps P8).
    fn wall(&mut self) -> Stamp;

    /// The time, where two clocks agree on it, which is sure enough to date the collector's own words.
    fn dated(&mut self) -> Option<Stamp>;

    /// Whether a service told the time since the start. Until then `wall` is the box's own clock,
    /// which may stand where the box was switched off.
    fn wall_is_told(&mut self) -> bool;

    /// What judges the age of what is sent now.
    fn stamping(&mut self) -> Stamping;

    /// What this machine and Coralogix tell of the present, each where it can be right.
    fn clocks(&mut self) -> Clocks;

    /// Seconds since midnight by the box's time zone, at the time that `wall` tells.
    fn second_of_day(&mut self) -> u32;

    /// Bytes of HTTP that all tenants answered with since the edge was made, as they came:
    /// compressed.
    fn received_bytes(&mut self) -> u64;

    /// The longest answer of a tenant that is taken, inflated: what this machine's memory bears.
    fn page_bytes_max(&mut self) -> u64;

    /// Asks a tenant, by its place in the config.
    fn ask(&mut self, tenant: usize, request: &Ask) -> Result<Answer, NetTrouble>;

    /// Posts one batch, a gzip member holding a JSON array.
    fn deliver(&mut self, gzip: &[u8]) -> Result<Answer, NetTrouble>;

    /// Posts an empty array, which delivers nothing: what is answered tells of the key.
    fn try_key(&mut self, key: TrialKey) -> Result<Answer, NetTrouble>;

    /// Waits until then, or until a signal or a changed secret file asks for attention. A caller
    /// that was woken reads `signals` or `fresh_credentials` before it sleeps again.
    fn sleep(&mut self, until: Mono) -> Woke;

    /// What people asked for since the last call. `stop` stays set once it is.
    fn signals(&mut self) -> Signals;

    /// The secrets whose files changed since the last call. Cheap: looks, does not read.
    fn fresh_credentials(&mut self) -> Vec<Credential>;

    /// What this process has made the kernel write to disks; `None` where it does not tell.
    fn disk_written_bytes(&mut self) -> Option<u64>;

    /// The end of a tenant's token as the token itself tells it. `None`: it doesn't, or it can't
    /// be read now.
    fn token_end(&mut self, tenant: usize) -> Option<Stamp>;
}

/// A question to a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A page of a stream: the path with its query, already encoded.
    Page(String),
    /// Whether the token is alive; needs no permission.
    Info,
    /// When the token ends. The edge writes the body, for the token is in it.
    TokenDetails,
}

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woke {
    Time,
    Signal,
    Credential,
}

/// What was asked for by signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// SIGTERM or SIGINT: no new request, commit, leave.
    pub stop: bool,
    /// SIGHUP: the config is read again.
    pub reload: bool,
    /// SIGUSR1: poll and drain now.
    pub poll_now: bool,
}
