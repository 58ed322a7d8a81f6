//! A TCP connection as ureq's lowest transport, and how it is made without waiting.
//!
//! ureq's own connector tries one address after the other, each alone, and its transport can't be
//! made from an existing socket; hence this one. Promises: an idle connection that died is noticed,
//! before it is used or soon after; a time limit of ours is distinguished from a connection that
//! the kernel timed out; bytes are reported to `Wire` as carried only when they have left the
//! kernel's send buffer, or were received. Never: waits without a limit it was given.

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

use super::acknowledged::unacknowledged;
use super::addresses::{Sockets, Waiting};
use super::wire::{Stopping, Wire};
use crate::limits::{
    ACKNOWLEDGED_REST_TIMES, CONNECTION_BUFFER_BYTES, IDLE_PROBE_EVERY_SECONDS, IDLE_PROBE_SECONDS,
    IDLE_PROBES, NETWORK_WAIT_PIECE_MS,
};
use crate::os::clock::mono;
use crate::time::{Mono, Span};

/// Makes connections by system calls, without blocking.
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
            // EINTR: the caller checks for a request to stop.
            Err(Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn end(&mut self, socket: OwnedFd) -> io::Result<TcpStream> {
        sockopt::socket_error(&socket)??;
        let stream = TcpStream::from(socket);
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        // A system without these options works too; a dead connection is only noticed later.
        let _ = keep_alive(&stream);
        Ok(stream)
    }

    fn is_over(&mut self) -> bool {
        self.stopping.is_over(self.wire)
    }
}

/// TCP keep-alive probes: devices on the path that forget idle connections keep this one, or it is
/// known to be dead before it is used again.
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
    /// When data was last received.
    heard: Mono,
    /// TCP_USER_TIMEOUT is set: the kernel gives up when data is not acknowledged in time.
    is_doubted: bool,
    read_limit: Option<Duration>,
    write_limit: Option<Duration>,
    sent: Sent,
}

/// How many bytes were written to a connection, and how many of them have left the send buffer.
#[derive(Debug, Default)]
struct Sent {
    written: u64,
    /// Bytes that were reported to `Wire`.
    told: u64,
    /// When the send buffer is looked at next. An exchange that is answered before costs no look.
    due: Mono,
}

impl Sent {
    /// Bytes of earlier exchanges do not count for this one.
    fn begin(&mut self, wire: &Wire) {
        *self = Sent { written: self.written, told: self.written, due: mono() + pause(wire) };
    }
}

/// The interval between looks: several within the time that nothing may move.
fn pause(wire: &Wire) -> Span {
    let most = Span::ms(NETWORK_WAIT_PIECE_MS);
    most.min(Span::ms(wire.silence().as_millis() as u64 / 4))
}

impl std::fmt::Debug for Tcp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tcp").field("peer", &self.stream.peer_addr().ok()).finish_non_exhaustive()
    }
}

impl Tcp {
    pub fn new(stream: TcpStream, wire: Arc<Wire>) -> Tcp {
        let buffers = LazyBuffers::new(CONNECTION_BUFFER_BYTES, CONNECTION_BUFFER_BYTES);
        let mut sent = Sent::default();
        sent.begin(&wire);
        Tcp {
            stream,
            buffers,
            wire,
            heard: mono(),
            is_doubted: false,
            read_limit: None,
            write_limit: None,
            sent,
        }
    }

    /// Reports to `Wire`, at intervals, what the peer's kernel has acknowledged; where that can't
    /// be known, what this kernel has taken.
    fn look_at_sent(&mut self) {
        let begun = mono();
        if self.sent.told == self.sent.written || begun < self.sent.due {
            return;
        }
        let gone = self.sent.written.saturating_sub(unacknowledged(&self.stream).unwrap_or(0));
        let now = mono();
        // Reading the tables of a machine with many connections takes long, so the pause grows with
        // it.
        let rest = now.since(begun).times(ACKNOWLEDGED_REST_TIMES);
        self.sent.due = now + rest.max(pause(&self.wire));
        if gone > self.sent.told {
            self.wire.carried(gone - self.sent.told, 0);
            self.sent.told = gone;
        }
    }

    /// Whether nothing can be read: neither the end of the connection nor unrequested bytes.
    fn is_quiet(&self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let read = (&self.stream).read(&mut [0]);
        self.stream.set_nonblocking(false)?;
        Ok(read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock))
    }

    /// For a request on a connection that was idle for long: without acknowledgements from the
    /// peer's kernel the connection is dead, and the request may be sent again.
    fn doubt(&mut self, limit: Option<Duration>) {
        let ms = limit.map_or(0, |limit| limit.as_millis() as u32);
        // As with the probes: where it can't be set, silence is noticed later.
        let is_set = sockopt::set_tcp_user_timeout(&self.stream, ms).is_ok();
        self.is_doubted = is_set && limit.is_some();
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let begun = mono();
        let mut done = 0;
        while done < amount {
            let limit = Some(self.wire.piece(timeout, mono().since(begun))?);
            if limit != self.write_limit {
                self.stream.set_write_timeout(limit)?;
                self.write_limit = limit;
            }
            match (&self.stream).write(&self.buffers.output()[done..amount]) {
                Ok(0) => return Err(Error::Io(ErrorKind::WriteZero.into())),
                Ok(taken) => {
                    done += taken;
                    self.sent.written += taken as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A socket's read limit is reported as `WouldBlock`.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(Error::Io(error)),
            }
            self.look_at_sent();
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let limit = limit_of(timeout)?;
        if limit != self.read_limit {
            self.stream.set_read_timeout(limit)?;
            self.read_limit = limit;
        }
        let read = (&self.stream).read(self.buffers.input_append_buf());
        let amount = match read {
            // A signal ended the wait early: handled as a shorter piece of it.
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                return Err(Error::Timeout(timeout.reason));
            }
            read => read.map_err(|error| {
                if error.kind() == ErrorKind::WouldBlock {
                    self.look_at_sent();
                }
                or_late(error, timeout)
            })?,
        };
        self.buffers.input_appended(amount);
        self.wire.carried(0, amount as u64);
        self.heard = mono();
        if self.is_doubted {
            self.doubt(None);
        }
        Ok(amount > 0)
    }

    /// Called before a connection is put aside and before it is used again.
    fn is_open(&mut self) -> bool {
        let idle = mono().since(self.heard);
        if !self.wire.idle().may_reuse(idle) || !self.is_quiet().unwrap_or(false) {
            return false;
        }
        if let Some(limit) = self.wire.reuse(idle) {
            self.doubt(Some(limit));
        }
        self.sent.begin(&self.wire);
        true
    }
}

fn limit_of(timeout: NextTimeout) -> Result<Option<Duration>, Error> {
    match timeout.not_zero() {
        _ if timeout.after.is_zero() => Err(Error::Timeout(timeout.reason)),
        limit => Ok(limit.map(|limit| *limit)),
    }
}

/// A socket's time limit is reported as `WouldBlock`; `TimedOut` means that the kernel found the
/// connection dead.
fn or_late(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;
