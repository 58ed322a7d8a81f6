//! In which order the addresses of a host name are tried: attempts begin one after the other and
//! are waited for together, and addresses that did not answer lately come last.
//!
//! Promises: no address is left out; a silent one delays the others by a pause, it does not use up
//! their time; the wait is within its limit and ends with a request to stop; no thread is started.
//! Never: touches a socket; the caller implements `Sockets`.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use crate::limits::{
    DEAF_ADDRESS_MINUTES, DEAF_ADDRESSES_MAX, NETWORK_WAIT_PIECE_MS, NEXT_ADDRESS_MS_MAX,
    NEXT_ADDRESS_MS_MIN,
};
use crate::time::{Mono, Span};

/// What is remembered of the addresses of one service, over its connections.
#[derive(Debug, Default)]
pub struct Addresses(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// Addresses that did not answer, and when; the oldest entry first.
    deaf: Vec<(SocketAddr, Mono)>,
    /// How long the last successful connection took.
    took: Span,
}

impl Addresses {
    /// Notes that the address could not be connected to, or that no answer came over the
    /// connection.
    pub fn did_not_answer(&self, address: SocketAddr, now: Mono) {
        self.with(|memory| {
            memory.deaf.retain(|(known, _)| *known != address);
            memory.deaf.push((address, now));
            let surplus = memory.deaf.len().saturating_sub(DEAF_ADDRESSES_MAX);
            memory.deaf.drain(..surplus);
        });
    }

    fn answered(&self, address: SocketAddr, took: Span) {
        self.with(|memory| {
            memory.deaf.retain(|(known, _)| *known != address);
            memory.took = took;
        });
    }

    /// The resolver's order, except that addresses which did not answer lately come last.
    pub(super) fn in_order(&self, addresses: &[SocketAddr], now: Mono) -> Vec<SocketAddr> {
        let lately = Span::minutes(DEAF_ADDRESS_MINUTES);
        self.with(|memory| {
            memory.deaf.retain(|(_, at)| now.since(*at) < lately);
            let is_deaf = |address: &SocketAddr| memory.deaf.iter().any(|(one, _)| one == address);
            let (last, first): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(is_deaf);
            [first, last].concat()
        })
    }

    /// How long after one attempt the next address is tried as well, with `count` addresses left.
    /// Longer on a slow link, so that one connection is made and not several; but each address has
    /// at least half of `limit`.
    fn pause(&self, count: usize, limit: Span) -> Span {
        let usual = self.with(|memory| memory.took.times(2).as_ms());
        let usual = usual.clamp(NEXT_ADDRESS_MS_MIN, NEXT_ADDRESS_MS_MAX);
        Span::ms(usual.min(limit.as_ms() / (2 * count.max(1) as u64)))
    }

    fn with<R>(&self, look: impl FnOnce(&mut Memory) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Connections that are being made.
pub trait Sockets {
    type Attempt;
    type Made;

    fn now(&mut self) -> Mono;

    /// Begins to connect to the address, without waiting.
    fn begin(&mut self, address: SocketAddr) -> io::Result<Self::Attempt>;

    /// Waits until one attempt is decided and returns its index. `None`: none is decided yet.
    fn wait(
        &mut self,
        attempts: &[Waiting<Self::Attempt>],
        at_most: Span,
    ) -> io::Result<Option<usize>>;

    /// The result of a decided attempt.
    fn end(&mut self, attempt: Self::Attempt) -> io::Result<Self::Made>;

    /// Whether a request to stop ends the wait now.
    fn is_over(&mut self) -> bool;
}

#[derive(Debug)]
pub struct Waiting<A> {
    pub attempt: A,
    address: SocketAddr,
    begun: Mono,
}

/// Why no address could be connected to.
#[derive(Debug)]
pub enum Lost {
    /// At least one address had not answered when the time limit was reached.
    Late,
    /// Each attempt failed; this is the error of the last one.
    Failed(io::Error),
    /// The program was told to stop.
    Stopped,
}

/// Connects to the first of the addresses that answers.
pub fn connect<S: Sockets>(
    memory: &Addresses,
    addresses: &[SocketAddr],
    limit: Span,
    sockets: &mut S,
) -> Result<(S::Made, SocketAddr), Lost> {
    let begun = sockets.now();
    let mut left = memory.in_order(addresses, begun).into_iter().peekable();
    let pause = memory.pause(addresses.len(), limit);
    let end = begun + limit;
    let (mut next, mut waiting) = (begun, Vec::new());
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let now = sockets.now();
        if now >= end {
            let silent = waiting.iter().map(|one: &Waiting<_>| one.address);
            silent.for_each(|address| memory.did_not_answer(address, now));
            return Err(Lost::Late);
        }
        if let Some(address) = left.next_if(|_| waiting.is_empty() || now >= next) {
            match sockets.begin(address) {
                Ok(attempt) => {
                    waiting.push(Waiting { attempt, address, begun: now });
                    next = now + pause;
                }
                Err(error) => {
                    memory.did_not_answer(address, now);
                    failure = error;
                }
            }
            continue;
        }
        if waiting.is_empty() {
            return Err(Lost::Failed(failure));
        }
        let until = if left.peek().is_some() { next.min(end) } else { end };
        let at_most = until.since(now).min(Span::ms(NETWORK_WAIT_PIECE_MS));
        let decided = sockets.wait(&waiting, at_most).map_err(Lost::Failed)?;
        if sockets.is_over() {
            return Err(Lost::Stopped);
        }
        let Some(place) = decided else { continue };
        let one = waiting.remove(place);
        let now = sockets.now();
        match sockets.end(one.attempt) {
            Ok(made) => {
                // Addresses that were tried earlier and are still silent: trying them first the
                // next time would cost the same wait.
                let earlier = waiting.iter().take(place).map(|one| one.address);
                earlier.for_each(|address| memory.did_not_answer(address, now));
                memory.answered(one.address, now.since(one.begun));
                return Ok((made, one.address));
            }
            Err(error) => {
                memory.did_not_answer(one.address, now);
                failure = error;
                next = now;
            }
        }
    }
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
