//! A small HTTP/1.1 server on threads of the standard library, plain or TLS.
//!
//! Promises: keep-alive, chunked both ways, `Expect: 100-continue`; an answer can be slow, cut,
//! lost or reset at will; the whole server can be taken away and brought back on the same port.
//! Never: leaves a thread behind that waits for anything but its own peer.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::watched::Watched;
use super::wire::{Head, Reader, Wire, header};

/// One request as it came.
pub struct Request {
    pub at: Instant,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Which connection of this server it came on, from 1.
    pub connection: u64,
    /// Which request on that connection it is, from 1.
    pub nth: u32,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    pub fn accepts_gzip(&self) -> bool {
        self.header("accept-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("gzip"))
    }
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum After {
    #[default]
    KeepAlive,
    /// Says `Connection: close` and does so.
    Close,
    /// Closes without having said so, as a load balancer does with an idle connection.
    CloseQuietly,
    /// Resets as soon as the next request on this connection arrives.
    ResetOnReuse,
}

#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub chunked: bool,
    /// The connection breaks after this many bytes of the body.
    pub cut_after: Option<usize>,
    pub wait_before: Duration,
    /// This many bytes of the body at a time, with this pause between them.
    pub drip: Option<(usize, Duration)>,
    pub after: After,
}

impl Reply {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        let headers = vec![("Content-Type".to_string(), content_type.to_string())];
        Reply { status, headers, body: body.into(), ..Reply::default() }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_string(), value.into()));
        self
    }
}

/// What is done about a request.
pub enum Act {
    Reply(Box<Reply>),
    /// Ends the connection without an answer, and without a word of TLS.
    Close,
    /// Ends it with a TCP reset.
    Reset,
    /// Never answers. Ends when the peer does, or with the server.
    Stall,
}

impl From<Reply> for Act {
    fn from(reply: Reply) -> Act {
        Act::Reply(Box::new(reply))
    }
}

/// What a server serves.
pub trait Site: Send + Sync + 'static {
    /// Asked when the head was read and the body was not.
    fn on_head(&self, _request: &Request) -> Option<Act> {
        None
    }

    fn on_request(&self, request: &Request) -> Act;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Up,
    Away,
    Stopped,
}

struct Shared {
    site: Arc<dyn Site>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    life: Watched<Life>,
    accepting: AtomicBool,
    open: Mutex<HashMap<u64, TcpStream>>,
    connections: AtomicU64,
    failed_handshakes: AtomicU64,
}

impl Shared {
    /// Waits, unless the server goes away meanwhile. Says whether it is still there.
    fn pause(&self, span: Duration) -> bool {
        let gone = |life: &Life| (*life != Life::Up).then_some(());
        self.life.wait(span, gone).is_none()
    }
}

pub struct Server {
    port: u16,
    secure: bool,
    shared: Arc<Shared>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
    /// Bound and never listening: nobody else gets the port while the server is away.
    _kept: OwnedFd,
}

impl Server {
    pub fn start(tls: Option<Arc<ServerConfig>>, site: Arc<dyn Site>) -> Server {
        let kept = bound((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = SocketAddr::try_from(rustix::net::getsockname(&kept).unwrap()).unwrap();
        let listener = listening(address);
        let port = address.port();
        let secure = tls.is_some();
        let shared = Arc::new(Shared {
            site,
            tls: Mutex::new(tls),
            life: Watched::new(Life::Up),
            accepting: AtomicBool::new(true),
            open: Mutex::default(),
            connections: AtomicU64::new(0),
            failed_handshakes: AtomicU64::new(0),
        });
        let server = Server { port, secure, shared, acceptor: Mutex::default(), _kept: kept };
        server.accept_on(listener);
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// `https://localhost:PORT`, or `http://…` for a plain server.
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.port)
    }

    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    pub fn failed_handshakes(&self) -> u64 {
        self.shared.failed_handshakes.load(Ordering::Relaxed)
    }

    /// For connections from now on.
    pub fn set_tls(&self, tls: Arc<ServerConfig>) {
        *self.shared.tls.lock().unwrap() = Some(tls);
    }

    fn accept_on(&self, listener: TcpListener) {
        self.shared.accepting.store(true, Ordering::SeqCst);
        let shared = Arc::clone(&self.shared);
        let acceptor = thread::spawn(move || accept(&listener, &shared));
        *self.acceptor.lock().unwrap() = Some(acceptor);
    }

    fn stop_accepting(&self, life: Life) {
        self.shared.life.change(|now| *now = life);
        if self.shared.accepting.swap(false, Ordering::SeqCst) {
            // Wakes the acceptor, which then sees that it is to end.
            let _ = TcpStream::connect(self.address());
        }
        if let Some(acceptor) = self.acceptor.lock().unwrap().take() {
            acceptor.join().unwrap();
        }
        self.drop_connections();
    }

    /// Ends every open connection; new ones are welcome.
    pub fn drop_connections(&self) {
        for socket in self.shared.open.lock().unwrap().values() {
            // A peer that is gone already is what is wanted.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }

    /// From now on connections are refused, and those that were open are gone.
    pub fn take_away(&self) {
        self.stop_accepting(Life::Away);
    }

    pub fn is_away(&self) -> bool {
        self.acceptor.lock().unwrap().is_none()
    }

    pub fn bring_back(&self) {
        assert!(self.acceptor.lock().unwrap().is_none(), "the server was not away");
        self.shared.life.change(|life| *life = Life::Up);
        self.accept_on(listening(self.address()));
    }
}

fn listening(address: SocketAddr) -> TcpListener {
    let socket = bound(address).unwrap();
    rustix::net::listen(&socket, 128).unwrap();
    TcpListener::from(socket)
}

/// A socket that has an address and does not listen. Only sockets made here share a port.
fn bound(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    Ok(socket)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop_accepting(Life::Stopped);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if !shared.accepting.load(Ordering::SeqCst) {
            return;
        }
        let Ok((socket, _)) = accepted else {
            // Out of file descriptors, most likely: give the others a moment to close theirs.
            shared.pause(Duration::from_millis(10));
            continue;
        };
        let id = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let shared = Arc::clone(shared);
        // Known before its thread runs, so that `take_away` can't miss it.
        shared.open.lock().unwrap().insert(id, socket.try_clone().unwrap());
        thread::spawn(move || {
            let end = serve(socket, id, &shared);
            shared.open.lock().unwrap().remove(&id);
            // The peer may be gone; that is a normal end of a connection.
            if let Ok(wire) = end {
                drop(wire);
            }
        });
    }
}

/// Serves one connection. The wire comes back so that it is dropped after its registered twin:
/// a reset is sent only when the last handle of a socket goes.
fn serve(socket: TcpStream, id: u64, shared: &Arc<Shared>) -> io::Result<Wire> {
    socket.set_nodelay(true)?;
    let tls = shared.tls.lock().unwrap().clone();
    let mut reader = Reader::new(match tls {
        None => Wire::Plain(socket),
        Some(tls) => {
            let mut connection = ServerConnection::new(tls).map_err(io::Error::other)?;
            let mut socket = socket;
            while connection.is_handshaking() {
                if let Err(error) = connection.complete_io(&mut socket) {
                    shared.failed_handshakes.fetch_add(1, Ordering::Relaxed);
                    return Err(error);
                }
            }
            Wire::ServerTls(Box::new(StreamOwned::new(connection, socket)))
        }
    });
    let mut nth = 0;
    let mut after = After::KeepAlive;
    while reader.wait_for_more()? {
        if after == After::ResetOnReuse {
            return reset(reader);
        }
        nth += 1;
        let (act, close) = answer(&mut reader, shared, id, nth)?;
        match act {
            Act::Close => return Ok(reader.into_parts().0),
            Act::Reset => return reset(reader),
            Act::Stall => {
                // Reading sees the peer's end; it sends nothing more while it waits for an answer.
                while reader.wait_for_more()? && shared.pause(Duration::from_millis(20)) {}
                return Ok(reader.into_parts().0);
            }
            Act::Reply(reply) => {
                after = reply.after;
                if !send(&mut reader.wire, &reply, shared, close)? {
                    return Ok(reader.into_parts().0);
                }
                if close || matches!(after, After::Close | After::CloseQuietly) {
                    reader.wire.end_politely();
                    return Ok(reader.into_parts().0);
                }
            }
        }
    }
    Ok(reader.into_parts().0)
}

fn reset(reader: Reader) -> io::Result<Wire> {
    let wire = reader.into_parts().0;
    rustix::net::sockopt::set_socket_linger(wire.socket(), Some(Duration::ZERO))?;
    Ok(wire)
}

/// Reads a request and asks the site about it. Also says whether the peer wants the connection
/// closed.
fn answer(reader: &mut Reader, shared: &Shared, id: u64, nth: u32) -> io::Result<(Act, bool)> {
    let head = reader.head()?;
    let mut words = head.first_line.split(' ');
    let mut word = || words.next().unwrap_or_default().to_string();
    let (method, target, version) = (word(), word(), word());
    let close = version == "HTTP/1.0"
        || head.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
    let mut request = Request {
        at: Instant::now(),
        method,
        target,
        headers: head.headers,
        body: Vec::new(),
        connection: id,
        nth,
    };
    if let Some(act) = shared.site.on_head(&request) {
        return Ok((act, close));
    }
    if request.header("expect").is_some_and(|v| v.eq_ignore_ascii_case("100-continue")) {
        reader.wire.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        reader.wire.flush()?;
    }
    let head = Head { first_line: String::new(), headers: std::mem::take(&mut request.headers) };
    reader.body(&head, &mut request.body)?;
    request.headers = head.headers;
    Ok((shared.site.on_request(&request), close))
}

/// Writes an answer. `false`: it was cut, and the connection must end here.
fn send(wire: &mut Wire, reply: &Reply, shared: &Shared, close: bool) -> io::Result<bool> {
    if !reply.wait_before.is_zero() && !shared.pause(reply.wait_before) {
        return Ok(false);
    }
    let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, reason(reply.status));
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if close || reply.after == After::Close {
        head.push_str("Connection: close\r\n");
    }
    if reply.chunked {
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
    } else {
        head.push_str(&format!("Content-Length: {}\r\n\r\n", reply.body.len()));
    }
    wire.write_all(head.as_bytes())?;
    let body = &reply.body[..reply.cut_after.unwrap_or(usize::MAX).min(reply.body.len())];
    let (step, pause) = reply.drip.unwrap_or((64 << 10, Duration::ZERO));
    for (nth, part) in body.chunks(step.max(1)).enumerate() {
        if nth > 0 && !pause.is_zero() {
            wire.flush()?;
            if !shared.pause(pause) {
                return Ok(false);
            }
        }
        if reply.chunked {
            wire.write_all(format!("{:x}\r\n", part.len()).as_bytes())?;
            wire.write_all(part)?;
            wire.write_all(b"\r\n")?;
        } else {
            wire.write_all(part)?;
        }
    }
    let whole = reply.cut_after.is_none();
    if whole && reply.chunked {
        wire.write_all(b"0\r\n\r\n")?;
    }
    wire.flush()?;
    Ok(whole)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        413 => "Payload Too Large",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
