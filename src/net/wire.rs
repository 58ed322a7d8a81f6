//! What an exchange carries, as its transports see it: how many bytes, how long nothing moved, and
//! whether an answer began.
//!
//! Promises: a request to stop is noticed within one piece of any wait for an answer (in `watch`
//! where a request is being sent); silence is bounded, and so is a transfer of only a few bytes at
//! a time. Never: knows of HTTP.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::time as span;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::addresses::Addresses;
use super::idle::Idle;
use super::tls::{CertificateProblem, cut_short};
use crate::cause::Cause;
use crate::limits::{NETWORK_WAIT_PIECE_MS, PROGRESS_BYTES};
use crate::os::clock::mono;
use crate::os::notify::Pulse;
use crate::record::{Bound, Late, NetTrouble};
use crate::time::{Mono, Span};

/// A `NetTrouble` inside ureq's error type.
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
    /// When TCP was connected, to the proxy where there is one.
    pub connected: Option<Mono>,
    /// When the proxy's tunnel was open.
    pub tunnelled: Option<Mono>,
    /// When the handshake was done, and the protocol's version.
    pub secured: Option<(Mono, &'static str)>,
    /// The addresses to which the name resolved.
    pub addresses: Vec<String>,
    /// Why there is no connection.
    pub cause: Option<Cause>,
    /// What is wrong with the certificate or the handshake.
    pub flaw: Option<CertificateProblem>,
    /// The address of the service, where no proxy is used.
    pub address: Option<SocketAddr>,
}

/// What is noticed of the current exchange. Shared with ureq's transports.
#[derive(Debug, Default)]
pub struct Wire {
    stop: Arc<AtomicBool>,
    /// How long an answer is still waited for after a request to stop.
    grace_ms: AtomicU64,
    /// Connections made so far. Unchanged over an exchange: an idle one was used again.
    pub made: AtomicU64,
    /// A byte of the answer was received.
    answered: AtomicBool,
    /// Sending failed, so the peer can't have the whole request.
    unsent: AtomicBool,
    steps: Mutex<Steps>,
    /// Bytes of all answers so far, as received: compressed.
    pub received: AtomicU64,
    /// How long nothing may move before an exchange is given up.
    silence: Span,
    moved: Mutex<Moved>,
    /// Where progress is reported as a sign of life; set once the program runs.
    pub pulse: OnceLock<Pulse>,
    /// The addresses of the service, or of the proxy to it.
    pub addresses: Arc<Addresses>,
    idle: Mutex<Idle>,
}

/// Since when a wait has known of a request to stop.
#[derive(Debug, Default)]
pub struct Stopping {
    since: Option<Mono>,
}

impl Stopping {
    /// Whether a stop was requested and its grace period is over.
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

/// Bytes that the current exchange has carried, TLS included.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    sent: u64,
    received: u64,
    /// When there last was progress, and the bytes carried since.
    since: Mono,
    little: u64,
}

impl Wire {
    pub fn new(stop: Arc<AtomicBool>, silence: Span) -> Wire {
        Wire { stop, silence, ..Wire::default() }
    }

    /// Notes bytes sent, once the peer's kernel acknowledged them, and bytes received. A few bytes
    /// are no progress: they add up until they are.
    pub fn carried(&self, sent: u64, received: u64) {
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

    /// Bytes of all answers so far, as received: compressed.
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

    /// A connection was made: the time that nothing may move begins anew.
    pub fn restart(&self) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        (moved.since, moved.little) = (mono(), 0);
    }

    /// How much is left of the time that nothing may move.
    fn silence_left(&self) -> Duration {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = mono().since(moved.since);
        self.silence.as_duration().saturating_sub(silent.as_duration())
    }

    /// The error of an exchange that reached this time limit.
    pub fn late(&self, bound: Bound, whole: Span) -> NetTrouble {
        let moved = *self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let after = match bound {
            Bound::Silence => self.silence,
            Bound::Whole => whole,
        };
        NetTrouble::Timeout(Late { bound, after, sent: moved.sent, received: moved.received })
    }

    /// How long the next piece of a wait may last after `waited`; an error where nothing has moved
    /// for too long, or the time for the whole exchange is over.
    pub fn piece(&self, timeout: NextTimeout, waited: Span) -> Result<Duration, Error> {
        let left = match timeout.after {
            span::Duration::Exact(limit) => limit.saturating_sub(waited.as_duration()),
            span::Duration::NotHappening => Duration::MAX,
        };
        if left.is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        let silence = self.silence_left();
        if silence.is_zero() {
            return Err(trouble(self.late(Bound::Silence, Span::ZERO)));
        }
        Ok(left.min(silence).min(Duration::from_millis(NETWORK_WAIT_PIECE_MS)))
    }

    /// Forgets the last exchange; returns how many connections were made so far. `is_safe`: the
    /// request may be sent twice.
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

    /// For a second client that stops together with this one.
    pub fn another(&self) -> Arc<Wire> {
        let wire = Wire::new(Arc::clone(&self.stop), self.silence);
        Arc::new(Wire { addresses: Arc::clone(&self.addresses), ..wire })
    }

    /// What is known of the idle connections to this service.
    pub fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that was idle for so long is used: returns how soon it has to acknowledge the
    /// request.
    pub fn reuse(&self, idle: Span) -> Option<Duration> {
        self.idle().reuse(idle, self.silence)
    }

    /// The new connection of this exchange brought no answer, so its address is noted as silent.
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

/// Waits in pieces, so that a request to stop is noticed within one; gives up once nothing moves
/// for too long, even if the whole exchange has time left.
#[derive(Debug)]
pub struct Interruptible {
    pub inner: Box<dyn Transport>,
    pub wire: Arc<Wire>,
}

impl Transport for Interruptible {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    /// Here the connection below waits in pieces itself, because it knows how much of a piece was
    /// sent.
    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
    }

    /// A constant piece also spares a system call a read, for a socket's time limit is set only when
    /// it differs from the last.
    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let begun = mono();
        let mut stopping = Stopping::default();
        loop {
            if stopping.is_over(&self.wire) {
                return Err(told_to_stop());
            }
            let mut now = timeout;
            now.after = span::Duration::Exact(self.wire.piece(timeout, mono().since(begun))?);
            match self.inner.await_input(now) {
                Err(Error::Timeout(_)) => {}
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
/// A peer that closes the connection while the request is still being sent may have answered
/// before, as servers do with 413. So the rest of the request is dropped and the answer is read; if
/// there is none, the read reports the closed connection.
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

    /// A reset is distinguished from an end: ureq takes either for the end of a body without a
    /// stated length, and a cut body would be accepted as whole (keeps P1).
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

/// Whether the peer closed the connection.
pub fn is_cut(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
    };
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
