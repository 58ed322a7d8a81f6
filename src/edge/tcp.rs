//! A TCP connection as ureq's lowest transport, and how it is made without waiting.
//!
//! ureq's own connector tries one address after the other, each alone; its transport can't be made
//! from a socket of ours. So this is one. Promises: an idle connection that died on the way is
//! noticed, before it is used or soon after; time that is over is told apart from a connection
//! that timed out. Never: waits without a limit it was given.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};

use super::addresses::{Sockets, Waiting};
use super::clock::mono;
use super::wire::{Stopping, Wire};
use crate::limits::{
    CONNECTION_BUFFER_BYTES, IDLE_PROBE_EVERY_SECONDS, IDLE_PROBE_SECONDS, IDLE_PROBES,
};
use crate::time::{Mono, Span};

/// Makes connections by system calls.
pub struct Kernel<'a> {
    wire: &'a Wire,
    stopping: Stopping,
}

impl Kernel<'_> {
    pub fn new(wire: &Wire) -> Kernel<'_> {
        Kernel { wire, stopping: Stopping::default() }
    }
}

impl Sockets for Kernel<'_> {
    type Attempt = OwnedFd;
    type Made = TcpStream;

    fn now(&mut self) -> Mono {
        mono()
    }

    fn begin(&mut self, address: SocketAddr) -> io::Result<OwnedFd> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&mut self, attempts: &[Waiting<OwnedFd>], at_most: Span) -> io::Result<Option<usize>> {
        let asked = |one| PollFd::new(one, PollFlags::OUT);
        let mut asked: Vec<PollFd<'_>> = attempts.iter().map(|one| asked(&one.attempt)).collect();
        let limit = Timespec::try_from(at_most.as_duration()).map_err(io::Error::other)?;
        match poll(&mut asked, Some(&limit)) {
            Ok(_) => Ok(asked.iter().position(|one| !one.revents().is_empty())),
            // A signal: whoever waits looks whether it means the end.
            Err(Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn end(&mut self, socket: OwnedFd) -> io::Result<TcpStream> {
        sockopt::socket_error(&socket)??;
        let stream = TcpStream::from(socket);
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        // A system without them serves all the same; only a dead connection is noticed later.
        let _ = keep_alive(&stream);
        Ok(stream)
    }

    fn is_over(&mut self) -> bool {
        self.stopping.is_over(self.wire)
    }
}

/// The kernel asks the peer now and then while nothing else goes: boxes on the way that forget idle
/// connections keep this one, or it is known to be dead before it is used again.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(IDLE_PROBE_SECONDS))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(IDLE_PROBE_EVERY_SECONDS))?;
    sockopt::set_tcp_keepcnt(stream, IDLE_PROBES)?;
    Ok(sockopt::set_socket_keepalive(stream, true)?)
}

/// A connection.
pub struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
    wire: Arc<Wire>,
    /// When something came last.
    heard: Mono,
    /// The kernel gives up on what is not acknowledged.
    is_doubted: bool,
    read_limit: Option<Duration>,
    write_limit: Option<Duration>,
}

impl std::fmt::Debug for Tcp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tcp").field("peer", &self.stream.peer_addr().ok()).finish_non_exhaustive()
    }
}

impl Tcp {
    pub fn new(stream: TcpStream, wire: Arc<Wire>) -> Tcp {
        let buffers = LazyBuffers::new(CONNECTION_BUFFER_BYTES, CONNECTION_BUFFER_BYTES);
        Tcp {
            stream,
            buffers,
            wire,
            heard: mono(),
            is_doubted: false,
            read_limit: None,
            write_limit: None,
        }
    }

    /// Whether nothing waits to be read: neither an end nor bytes that nobody asked for.
    fn is_quiet(&self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let read = (&self.stream).read(&mut [0]);
        self.stream.set_nonblocking(false)?;
        Ok(read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock))
    }

    /// A request on a connection that was idle for long: where the kernel's own acknowledgements
    /// stay away, the connection is dead and what asks may ask again.
    fn doubt(&mut self, limit: Option<Duration>) {
        let ms = limit.map_or(0, |limit| limit.as_millis() as u32);
        // As with the probes: without it the silence is noticed later.
        let is_set = sockopt::set_tcp_user_timeout(&self.stream, ms).is_ok();
        self.is_doubted = is_set && limit.is_some();
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let limit = limit_of(timeout)?;
        if limit != self.write_limit {
            self.stream.set_write_timeout(limit)?;
            self.write_limit = limit;
        }
        let output = &self.buffers.output()[..amount];
        (&self.stream).write_all(output).map_err(|error| or_late(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let limit = limit_of(timeout)?;
        if limit != self.read_limit {
            self.stream.set_read_timeout(limit)?;
            self.read_limit = limit;
        }
        let read = (&self.stream).read(self.buffers.input_append_buf());
        let amount = match read {
            // A signal ended the wait early: that is no more than a shorter piece of it.
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                return Err(Error::Timeout(timeout.reason));
            }
            read => read.map_err(|error| or_late(error, timeout))?,
        };
        self.buffers.input_appended(amount);
        self.heard = mono();
        if self.is_doubted {
            self.doubt(None);
        }
        Ok(amount > 0)
    }

    /// Asked before a connection is put aside and before it is used again.
    fn is_open(&mut self) -> bool {
        let idle = mono().since(self.heard);
        if !self.wire.idle().may_reuse(idle) || !self.is_quiet().unwrap_or(false) {
            return false;
        }
        if let Some(limit) = self.wire.reuse(idle) {
            self.doubt(Some(limit));
        }
        true
    }
}

fn limit_of(timeout: NextTimeout) -> Result<Option<Duration>, Error> {
    match timeout.not_zero() {
        _ if timeout.after.is_zero() => Err(Error::Timeout(timeout.reason)),
        limit => Ok(limit.map(|limit| *limit)),
    }
}

/// A limit on a socket shows as a call that would have to wait; `TimedOut` is the kernel's own word
/// that the connection is dead.
fn or_late(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}
