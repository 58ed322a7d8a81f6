//! Why no whole answer came.
//!
//! Promises: says at which step it was and what had been carried by then; what may be for the size or
//! the content of the exchange is told apart from what is not. Never: holds a secret.

use std::fmt;

use crate::problem::Problem;
use crate::time::Span;

/// Why an exchange brought no answer at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetTrouble {
    /// The name could not be resolved.
    Dns(Problem),
    /// No TCP connection: refused, no route, timed out while connecting.
    Connect(String),
    /// The proxy said no, with its status or words.
    Proxy(Problem),
    /// The TLS handshake failed: certificate, clock, protocol.
    Tls(Problem),
    /// Nothing moved for too long, or the whole exchange took too long.
    Timeout(Late),
    /// The connection broke, or what came was not HTTP.
    Broken(String),
    /// The answer is longer than the bound for it.
    TooLong(Excess),
    /// A 2xx whose body did not end in time.
    Endless(u16),
    /// It was given up because the program was told to stop.
    Stopped,
    /// A secret could not be read, so nothing was sent.
    Secret(Problem),
    /// The same, for what the system refused: neither the secret nor its file is to blame.
    System(Problem),
}

/// Which bound an exchange met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `network.timeout`: how long nothing may move, or too little to be called progress.
    Silence,
    /// `network.exchange_timeout`: how long an exchange may last though it moves.
    Whole,
}

/// An exchange that was given up, and what it had carried by then, TLS included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    pub bound: Bound,
    pub after: Span,
    pub sent: u64,
    pub received: u64,
}

/// An answer that is longer than its bound, as far as it was read.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Excess {
    /// It has at least so many bytes.
    pub bytes_min: u64,
    /// What it begins with.
    pub head: Vec<u8>,
}

/// What it begins with is records, and long.
impl fmt::Debug for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Excess").field("bytes_min", &self.bytes_min).finish_non_exhaustive()
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (after, sent, received) = (self.after, self.sent, self.received);
        match self.bound {
            Bound::Silence => write!(f, "no data for {after} (network.timeout)")?,
            Bound::Whole => write!(
                f,
                "it was not complete within {after} \
                (network.exchange_timeout)"
            )?,
        }
        write!(f, "; {sent} bytes sent, {received} received")
    }
}

impl NetTrouble {
    /// Nothing moved at all.
    #[cfg(not(closed))]
    pub fn silent(after: Span) -> NetTrouble {
        NetTrouble::Timeout(Late { bound: Bound::Silence, after, sent: 0, received: 0 })
    }

    pub fn problem(&self) -> Problem {
        match self {
            NetTrouble::Dns(why) => why.clone().after("name not resolved: "),
            NetTrouble::Connect(why) => Problem::from(format!("no connection: {why}")),
            NetTrouble::Proxy(why) => why.clone().after("the proxy refused: "),
            NetTrouble::Tls(why) => why.clone().after("TLS failed: "),
            NetTrouble::Timeout(late) => Problem::from(late.to_string()),
            NetTrouble::Broken(why) => Problem::from(format!("the connection broke: {why}")),
            NetTrouble::TooLong(_) => Problem::from("the response is longer than allowed"),
            NetTrouble::Endless(status) => {
                Problem::from(format!("the response (HTTP {status}) was not complete in time"))
            }
            NetTrouble::Stopped => Problem::from("aborted, because the program was asked to stop"),
            NetTrouble::Secret(why) | NetTrouble::System(why) => why.clone(),
        }
    }

    /// Whether the exchange had begun, so that a smaller one, or one of another content, may end
    /// otherwise.
    pub fn is_of_an_exchange(&self) -> bool {
        matches!(self, NetTrouble::Timeout(_) | NetTrouble::Broken(_))
    }
}

impl fmt::Display for NetTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem().fmt(f)
    }
}
