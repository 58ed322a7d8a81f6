//! What an exchange carries, as its transports see it: how much, how long nothing moved, and whether an
//! answer began.
//!
//! Promises: a request to stop is heard within a piece of any wait for an answer (`watch` hears it where
//! a request is being sent); silence is bounded, and so is a drip that is hardly more. Never: knows of
//! HTTP.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::time as span;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::addresses::Addresses;
use super::cause::Cause;
use super::clock::mono;
use super::idle::Idle;
use super::notify::Pulse;
use super::tls::{Flaw, cut_short};
use crate::limits::{NETWORK_WAIT_PIECE_MS, PROGRESS_BYTES};
use crate::record::{Bound, Late, NetTrouble};
use crate::time::{Mono, Span};

/// A trouble on its way through ureq's error type.
#[derive(Debug)]
pub struct Dialing(pub NetTrouble);

impl fmt::Display for Dialing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Dialing {}

pub fn trouble(trouble: NetTrouble) -> Error {
    Error::Other(Box::new(Dialing(trouble)))
}

/// When the steps of the last connection were done.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    pub resolved: Option<Mono>,
    /// The TCP connection, to the proxy where there is one.
    pub connected: Option<Mono>,
    /// The proxy's tunnel.
    pub tunnelled: Option<Mono>,
    /// The handshake, and the protocol's version.
    pub secured: Option<(Mono, &'static str)>,
    /// The addresses of the name that was looked up.
    pub addresses: Vec<String>,
    /// Why there is no connection.
    pub cause: Option<Cause>,
    /// What TLS does not like.
    pub flaw: Option<Flaw>,
    /// Where the connection without a proxy leads.
    pub address: Option<SocketAddr>,
}

/// What is noticed of the one exchange that is under way. Shared with ureq's transports.
#[derive(Debug, Default)]
pub struct Wire {
    stop: Arc<AtomicBool>,
    /// How long an answer is still waited for after a request to stop.
    grace_ms: AtomicU64,
    /// Connections made so far. Unchanged over an exchange: an idle one was used again.
    pub made: AtomicU64,
    /// A byte of the answer has come.
    answered: AtomicBool,
    /// Sending failed, so the peer can't have the whole request.
    unsent: AtomicBool,
    steps: Mutex<Steps>,
    /// Bytes of all answers so far, as they came: compressed.
    pub received: AtomicU64,
    /// How long nothing may move.
    silence: Span,
    moved: Mutex<Moved>,
    /// Where progress is told; set once the program runs.
    pub pulse: OnceLock<Pulse>,
    /// Those of the service, or of the proxy to it.
    pub addresses: Arc<Addresses>,
    idle: Mutex<Idle>,
}

/// When a wait began to be ended by a request to stop.
#[derive(Debug, Default)]
pub struct Stopping {
    since: Option<Mono>,
}

impl Stopping {
    /// Whether the request came and its grace is over.
    pub fn is_over(&mut self, wire: &Wire) -> bool {
        if !wire.stop.load(Ordering::SeqCst) {
            return false;
        }
        let now = mono();
        let since = *self.since.get_or_insert(now);
        now.since(since).as_ms() >= wire.grace_ms.load(Ordering::Relaxed)
    }
}

pub fn told_to_stop() -> Error {
    trouble(NetTrouble::Stopped)
}

/// What the exchange under way has carried, TLS included.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    sent: u64,
    received: u64,
    /// When there was progress, and what was carried since.
    since: Mono,
    little: u64,
}

impl Wire {
    pub fn new(stop: Arc<AtomicBool>, silence: Span) -> Wire {
        Wire { stop, silence, ..Wire::default() }
    }

    /// So many bytes went or came. Few are no progress: they add up until they are.
    fn carried(&self, sent: u64, received: u64) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.sent += sent;
        moved.received += received;
        moved.little += sent + received;
        if moved.little >= PROGRESS_BYTES {
            (moved.since, moved.little) = (mono(), 0);
            drop(moved);
            if let Some(pulse) = self.pulse.get() {
                pulse.beat();
            }
        }
    }

    /// Bytes of all answers so far, as they came.
    pub fn received_bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// How long nothing may move.
    pub fn silence(&self) -> Duration {
        self.silence.as_duration()
    }

    /// A connection came about: what comes next has its time from here.
    pub fn restart(&self) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        (moved.since, moved.little) = (mono(), 0);
    }

    /// How long nothing may move from now on.
    fn silence_left(&self) -> Duration {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = mono().since(moved.since);
        self.silence.as_duration().saturating_sub(silent.as_duration())
    }

    /// The exchange is given up for this bound.
    pub fn late(&self, bound: Bound, whole: Span) -> NetTrouble {
        let moved = *self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let after = match bound {
            Bound::Silence => self.silence,
            Bound::Whole => whole,
        };
        NetTrouble::Timeout(Late { bound, after, sent: moved.sent, received: moved.received })
    }

    fn silent(&self) -> Error {
        trouble(self.late(Bound::Silence, Span::ZERO))
    }

    /// Forgets the last exchange; how many connections were made so far. `is_safe`: the request may
    /// be sent twice.
    pub fn begin(&self, grace: Duration, is_safe: bool) -> u64 {
        self.idle().begin(is_safe);
        self.grace_ms.store(grace.as_millis() as u64, Ordering::Relaxed);
        self.answered.store(false, Ordering::Relaxed);
        self.unsent.store(false, Ordering::Relaxed);
        *self.lock() = Steps::default();
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        *moved = Moved { since: mono(), ..Moved::default() };
        self.made.load(Ordering::Relaxed)
    }

    /// For a second peer that ends as this one does.
    pub fn another(&self) -> Arc<Wire> {
        let wire = Wire::new(Arc::clone(&self.stop), self.silence);
        Arc::new(Wire { addresses: Arc::clone(&self.addresses), ..wire })
    }

    /// What is known of idle connections.
    pub fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was idle for so long is used: how soon it has to acknowledge what it carries.
    pub fn reuse(&self, idle: Span) -> Option<Duration> {
        self.idle().reuse(idle, self.silence)
    }

    /// The new connection of this exchange brought no answer.
    pub fn blame_address(&self) {
        if let Some(address) = self.steps().address {
            self.addresses.did_not_answer(address, mono());
        }
    }

    pub fn connections_made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    pub fn is_unsent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed)
    }

    pub fn steps(&self) -> Steps {
        self.lock().clone()
    }

    pub fn note(&self, change: impl FnOnce(&mut Steps)) {
        change(&mut self.lock());
    }

    pub fn blame(&self, cause: Cause) {
        self.note(|steps| steps.cause = Some(cause));
    }

    fn lock(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits in pieces, so that a request to stop is heard within one; gives up once nothing moves for too
/// long, whatever time is left for the whole.
#[derive(Debug)]
pub struct Patient {
    pub inner: Box<dyn Transport>,
    pub wire: Arc<Wire>,
}

impl Transport for Patient {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let silence = self.wire.silence_left();
        let is_whole = matches!(timeout.after, span::Duration::Exact(left) if left <= silence);
        let mut bounded = timeout;
        if !is_whole {
            // A limit of nothing would be none.
            bounded.after = span::Duration::Exact(silence.max(Duration::from_millis(1)));
        }
        match self.inner.transmit_output(amount, bounded) {
            Ok(()) => {
                self.wire.carried(amount as u64, 0);
                Ok(())
            }
            Err(Error::Timeout(_)) if !is_whole => Err(self.wire.silent()),
            Err(error) => Err(error),
        }
    }

    /// A constant piece also spares a system call a read, for ureq sets the socket's time limit
    /// only when it differs from the last.
    #[expect(clippy::disallowed_methods, reason = "the edge measures how long it waits")]
    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let begun = Instant::now();
        let piece = Duration::from_millis(NETWORK_WAIT_PIECE_MS);
        let mut stopping = Stopping::default();
        loop {
            let waited = begun.elapsed();
            if stopping.is_over(&self.wire) {
                return Err(told_to_stop());
            }
            let left = match timeout.after {
                span::Duration::Exact(limit) => limit.saturating_sub(waited),
                span::Duration::NotHappening => Duration::MAX,
            };
            if left.is_zero() {
                return Err(Error::Timeout(timeout.reason));
            }
            let silence = self.wire.silence_left();
            if silence.is_zero() {
                return Err(self.wire.silent());
            }
            let held = self.inner.buffers().input().len();
            let mut now = timeout;
            now.after = span::Duration::Exact(left.min(silence).min(piece));
            match self.inner.await_input(now) {
                Err(Error::Timeout(_)) => {}
                Ok(is_more) => {
                    let came = self.inner.buffers().input().len().saturating_sub(held);
                    self.wire.carried(0, came as u64);
                    return Ok(is_more);
                }
                result => return result,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// The outermost layer: notices whether the request went out and whether an answer began.
///
/// A peer that hangs up while the request is still being sent may have answered before, as
/// servers do with 413. So the rest of the request is let go and the answer is read; without one
/// the read tells that the connection is gone.
#[derive(Debug)]
pub struct Meter {
    pub inner: Box<dyn Transport>,
    pub wire: Arc<Wire>,
    pub hung_up: bool,
}

impl Transport for Meter {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.hung_up {
            return Ok(());
        }
        let result = self.inner.transmit_output(amount, timeout);
        if result.is_err() {
            self.wire.unsent.store(true, Ordering::Relaxed);
        }
        match result {
            Err(Error::Io(error)) if is_cut(error.kind()) => {
                self.hung_up = true;
                Ok(())
            }
            other => other,
        }
    }

    /// A reset is told apart from an end: ureq takes either for the end of a body that has no
    /// stated length, and such a body would pass for whole (keeps P1).
    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let held = self.inner.buffers().input().len();
        match self.inner.await_input(timeout) {
            Ok(true) => {
                let came = self.inner.buffers().input().len().saturating_sub(held);
                self.wire.received.fetch_add(came as u64, Ordering::Relaxed);
                self.wire.answered.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Err(Error::Io(error)) if is_cut(error.kind()) => Err(cut_short()),
            other => other,
        }
    }

    fn is_open(&mut self) -> bool {
        !self.hung_up && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// Whether the peer hung up.
pub fn is_cut(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
    };
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}
