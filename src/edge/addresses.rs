//! Which of a name's addresses is connected to: they are begun one after the other and waited for
//! together, and those that did not answer lately come last.
//!
//! Promises: no address is left out; one that is silent costs the others a moment, not a share of
//! their time; the wait is within its limit and ends with a request to stop; no thread is made.
//! Never: touches a socket. Who calls brings `Sockets`.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use crate::limits::{
    DEAF_ADDRESS_MINUTES, DEAF_ADDRESSES_MAX, NETWORK_WAIT_PIECE_MS, NEXT_ADDRESS_MS_MAX,
    NEXT_ADDRESS_MS_MIN,
};
use crate::time::{Mono, Span};

/// What is remembered of the addresses of one service.
#[derive(Debug, Default)]
pub struct Addresses(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// Those that did not answer, and when; the oldest first.
    deaf: Vec<(SocketAddr, Mono)>,
    /// How long the last connection took to come about.
    took: Span,
}

impl Addresses {
    /// It could not be connected to, or said nothing once it was.
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

    /// The resolver's order, but that those which did not answer lately stand last.
    fn in_order(&self, addresses: &[SocketAddr], now: Mono) -> Vec<SocketAddr> {
        let lately = Span::minutes(DEAF_ADDRESS_MINUTES);
        self.with(|memory| {
            memory.deaf.retain(|(_, at)| now.since(*at) < lately);
            let is_deaf = |address: &SocketAddr| memory.deaf.iter().any(|(one, _)| one == address);
            let (last, first): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(is_deaf);
            [first, last].concat()
        })
    }

    /// After how long the next of so many addresses is begun beside one that has not answered yet.
    /// On a slow link later, so that one connection is made and not many; but each has at least
    /// half of the limit.
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

    /// Begins to connect, without waiting.
    fn begin(&mut self, address: SocketAddr) -> io::Result<Self::Attempt>;

    /// Waits until one of them is decided: its place. `None`: none is yet.
    fn wait(
        &mut self,
        attempts: &[Waiting<Self::Attempt>],
        at_most: Span,
    ) -> io::Result<Option<usize>>;

    /// What was decided.
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

/// Why there is no connection.
#[derive(Debug)]
pub enum Lost {
    /// At least one address had not answered when the time was over.
    Late,
    /// Each one was refused or out of reach; this is what the last one met.
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
                // Who was asked before and is still silent: asking it first would cost that again.
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
