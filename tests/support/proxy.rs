//! An HTTP proxy that only knows CONNECT, with basic authentication, and a thin link behind it on demand.
//!
//! Promises: forwards to loopback and nowhere else, whatever host was named; writes down every
//! request with its authorization.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::link::Link;
use super::watched::Watched;
use super::wire::{Reader, Wire};

/// What the ends of a thin link hold of what is to go over it.
const THIN_BUFFER_BYTES: usize = 4 << 10;

#[derive(Default)]
struct State {
    link: Option<Arc<Link>>,
    credentials: Option<String>,
    refuse_with: Option<u16>,
    seen: Vec<Connect>,
}

/// One request to the proxy.
#[derive(Clone, Debug)]
pub struct Connect {
    pub method: String,
    /// `host:port` as it was asked for.
    pub authority: String,
    pub authorization: Option<String>,
    pub status: u16,
}

pub struct Proxy {
    port: u16,
    state: Arc<Watched<State>>,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// `credentials`: `user:password`, when the proxy wants them.
    pub fn start(credentials: Option<&str>) -> Proxy {
        let credentials = credentials.map(str::to_string);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Proxy::serving(listener, State { credentials, ..State::default() })
    }

    /// All tunnels lead over one link.
    pub fn over(link: Arc<Link>) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // Of its own, so that what was not carried yet waits where it would before a real link.
        set_socket_recv_buffer_size(&listener, THIN_BUFFER_BYTES).unwrap();
        Proxy::serving(listener, State { link: Some(link), ..State::default() })
    }

    fn serving(listener: TcpListener, state: State) -> Proxy {
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Watched::new(state));
        let stopped = Arc::new(AtomicBool::new(false));
        let (served, stop) = (Arc::clone(&state), Arc::clone(&stopped));
        let acceptor = thread::spawn(move || {
            for socket in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(socket) = socket else { continue };
                let state = Arc::clone(&served);
                // A broken tunnel is the peers' business; they see it.
                thread::spawn(move || drop(serve(socket, &state)));
            }
        });
        Proxy { port, state, stopped, acceptor: Some(acceptor) }
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn refuse_with(&self, status: Option<u16>) {
        self.state.change(|state| state.refuse_with = status);
    }

    pub fn seen(&self) -> Vec<Connect> {
        self.state.look(|state| state.seen.clone())
    }

    pub fn wait_for(&self, count: usize, within: Duration) -> bool {
        self.state.wait(within, |state| (state.seen.len() >= count).then_some(())).is_some()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
    }
}

fn serve(socket: TcpStream, state: &Watched<State>) -> io::Result<()> {
    let mut reader = Reader::new(Wire::Plain(socket));
    let head = reader.head()?;
    let mut words = head.first_line.split(' ');
    let method = words.next().unwrap_or_default().to_string();
    let authority = words.next().unwrap_or_default().to_string();
    let authorization = head.header("proxy-authorization").map(str::to_string);
    let status = state.change(|state| {
        let wanted = state.credentials.as_ref().map(|c| format!("Basic {}", STANDARD.encode(c)));
        let status = match (wanted, state.refuse_with) {
            (_, Some(status)) => status,
            (Some(wanted), None) if authorization.as_ref() != Some(&wanted) => 407,
            _ if method != "CONNECT" => 405,
            _ => 200,
        };
        let authority = authority.clone();
        state.seen.push(Connect { method, authority, authorization, status });
        status
    });
    if status != 200 {
        let challenge = match status {
            407 => "Proxy-Authenticate: Basic realm=\"proxy\"\r\n",
            _ => "",
        };
        let answer = format!("HTTP/1.1 {status} No\r\n{challenge}Content-Length: 0\r\n\r\n");
        return reader.wire.write_all(answer.as_bytes());
    }
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.unwrap_or(0)));
    let Ok(mut upstream) = upstream else {
        return reader.wire.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    };
    reader.wire.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (wire, ahead) = reader.into_parts();
    upstream.write_all(&ahead)?;
    if let Some(link) = state.look(|state| state.link.clone()) {
        let (client, back) = (wire.socket().try_clone()?, wire.socket().try_clone()?);
        let (server, forth) = (upstream.try_clone()?, upstream);
        thread::scope(|scope| {
            scope.spawn(|| link.down.copy(server, back));
            link.up.copy(client, forth);
        });
        return Ok(());
    }
    let mut client = wire.socket().try_clone()?;
    let (mut back_from, mut back_to) = (upstream.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let _ = io::copy(&mut back_from, &mut back_to);
        let _ = back_to.shutdown(Shutdown::Both);
    });
    let _ = io::copy(&mut client, &mut upstream);
    let _ = upstream.shutdown(Shutdown::Both);
    let _ = back.join();
    Ok(())
}
