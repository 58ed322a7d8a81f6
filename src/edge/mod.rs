//! The edge: how the program that decides meets the world outside.
//!
//! Holds: the trait `Edge`, which the simulation implements too, its types, and `System`, which
//! implements it over `os` and `net`. Promises: code that uses only the trait also runs in the
//! simulation. Never: decides what to do next.

pub mod system;
pub mod trial;

use crate::record::{Answer, CredentialId, Kills, NetTrouble, TrialKey};
use crate::time::{Clocks, Mono, SinkOff, Stamp};

pub use crate::net::service_times::Stamping;
pub use crate::os::signal::Signals;
pub use system::{SetupError, System};

/// The outside world: time, the two services, and the signals of people.
pub trait Edge {
    /// The clock of all schedules. Never runs backwards, and counts the time that a device is
    /// suspended.
    fn mono(&mut self) -> Mono;

    /// Calendar time for windows and for people: the newest `Date` of the sink, else of a tenant,
    /// plus what has passed since; before the first answer the local clock, or the build date if
    /// that is later. Only a hint; the age of an entry is judged by `stamping` (keeps P8).
    fn wall(&mut self) -> Stamp;

    /// The time on which two clocks agree, which is sure enough for the timestamps of own records.
    fn dated(&mut self) -> Option<Stamp>;

    /// Whether a service sent the time since the start. Until then `wall` is this machine's own
    /// clock, which may still show the time of the last power-off.
    fn has_server_time(&mut self) -> bool;

    /// The time by which the age of entries sent now is judged.
    fn stamping(&mut self) -> Stamping;

    /// The present by this machine's clock and by Coralogix', each where it can be right.
    fn clocks(&mut self) -> Clocks;

    /// How Coralogix' clock disagrees with every other, if it does.
    fn sink_off(&mut self) -> Option<SinkOff>;

    /// Seconds since midnight in this machine's time zone, at the time of `wall`.
    fn second_of_day(&mut self) -> u32;

    /// Bytes of all tenants' answers since the edge was made, as received: compressed.
    fn received_bytes(&mut self) -> u64;

    /// The longest answer of a tenant that is accepted, in bytes after decompression; bounded by
    /// this machine's memory.
    fn page_bytes_max(&mut self) -> u64;

    /// How many processes the kernel has killed for lack of memory. `None`: it does not count them.
    fn kills(&mut self) -> Option<Kills>;

    /// Sends a request to a tenant, given by its index in the config.
    fn ask(&mut self, tenant: usize, request: &Ask) -> Result<Answer, NetTrouble>;

    /// Takes the body of an answer back, whose memory serves the next one.
    fn reuse(&mut self, body: Vec<u8>);

    /// Posts one batch, a gzip member holding a JSON array.
    fn deliver(&mut self, gzip: &[u8]) -> Result<Answer, NetTrouble>;

    /// Posts an empty array, which delivers nothing: the answer shows whether the key is accepted.
    fn try_key(&mut self, key: TrialKey) -> Result<Answer, NetTrouble>;

    /// Waits until that time, or until a signal or a changed secret file. A caller that was woken
    /// reads `signals` or `fresh_credentials` before it sleeps again.
    fn sleep(&mut self, until: Mono) -> Woke;

    /// The signals since the last call. `stop` stays set.
    fn signals(&mut self) -> Signals;

    /// The secrets whose files changed since the last call. Cheap: looks at the files' state, does
    /// not read them.
    fn fresh_credentials(&mut self) -> Vec<CredentialId>;

    /// Bytes that this process has made the kernel write to disks; `None` where the kernel does not
    /// count.
    fn disk_written_bytes(&mut self) -> Option<u64>;

    /// When a tenant's token expires, as written in the token itself. `None`: it does not say, or
    /// it can't be read now.
    fn token_end(&mut self, tenant: usize) -> Option<Stamp>;
}

/// A request to a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A page of a stream: the path with its query, already encoded.
    Page(String),
    /// Whether the token is accepted; needs no permission.
    Info,
    /// When the token expires. The edge writes the body, because it contains the token.
    TokenDetails,
}

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woke {
    Time,
    Signal,
    Credential,
}
