//! Small servers on loopback for the tests of the network client and of its users: plain, TLS, and
//! a proxy.
//!
//! Each connection runs one script. Promises: port 0, no fixed waits. Never: leaves the machine.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::config::{self, Config, Delivery, Integration, Network, Polling, SecretSource};
use crate::record::{Kind, Start, WriteMode};
use crate::secret::Secret;
use crate::time::Span;

/// One connection as a script sees it.
pub trait Wired: Read + Write + Send {}
impl<T: Read + Write + Send> Wired for T {}

/// What a client sent.
pub struct Received {
    pub head: String,
    pub body: Vec<u8>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Reads one request; `None` when the client is gone.
pub fn receive(wire: &mut dyn Wired) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match wire.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let mut request = Received { head: String::from_utf8(head).unwrap(), body: Vec::new() };
    let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    request.body.resize(length, 0);
    wire.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// An answer with a length, on a connection that stays.
pub fn answer(wire: &mut dyn Wired, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    let _ = wire.write_all(&[head.as_bytes(), body].concat());
    let _ = wire.flush();
}

pub struct Server {
    pub port: u16,
    /// Connections accepted so far.
    pub accepted: Arc<AtomicUsize>,
}

impl Server {
    /// Runs `script` on each connection, with the connection's number from 0.
    pub fn start<S>(tls: Option<Arc<ServerConfig>>, script: S) -> Server
    where
        S: Fn(&mut dyn Wired, usize) + Send + Sync + 'static,
    {
        Server::over(TcpListener::bind("127.0.0.1:0").unwrap(), tls, script)
    }

    /// The same, over a socket of the caller's.
    pub fn over<S>(listener: TcpListener, tls: Option<Arc<ServerConfig>>, script: S) -> Server
    where
        S: Fn(&mut dyn Wired, usize) + Send + Sync + 'static,
    {
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, script) = (Arc::clone(&accepted), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let (tls, script) = (tls.clone(), Arc::clone(&script));
                thread::spawn(move || serve(stream, tls, |wire| script(wire, number)));
            }
        });
        Server { port, accepted }
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn serve(
    stream: io::Result<TcpStream>,
    tls: Option<Arc<ServerConfig>>,
    script: impl Fn(&mut dyn Wired),
) {
    let Ok(mut stream) = stream else { return };
    // As real servers do: what the system holds back is lost when a reset follows.
    stream.set_nodelay(true).unwrap();
    match tls {
        None => script(&mut stream),
        Some(config) => {
            let connection = ServerConnection::new(config).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            script(&mut stream);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }
}

/// A CONNECT proxy. Answers `refusal` instead when there is one; gives the head of each request
/// to `saw`.
pub fn proxy<F>(refusal: Option<&'static str>, saw: F) -> Server
where
    F: Fn(&str) + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let (count, saw) = (Arc::clone(&accepted), Arc::new(saw));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            let saw = Arc::clone(&saw);
            thread::spawn(move || tunnel(client, refusal, &*saw));
        }
    });
    Server { port, accepted }
}

fn tunnel(mut client: TcpStream, refusal: Option<&str>, saw: &dyn Fn(&str)) {
    let Some(request) = receive(&mut client) else { return };
    saw(&request.head);
    if let Some(status) = refusal {
        return answer(&mut client, status, "", b"");
    }
    let target = request.head.split(' ').nth(1).unwrap().to_owned();
    let Ok(server) = TcpStream::connect(target) else {
        return answer(&mut client, "502 Bad Gateway", "", b"");
    };
    let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let (mut from, mut to) = (server, client);
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// The network settings of the tests.
pub fn network() -> Network {
    Network {
        proxy: None,
        ca_file: None,
        connect_timeout: Span::seconds(10),
        timeout: Span::seconds(20),
        exchange_timeout: Span::minutes(1),
        allow_http: true,
    }
}

pub fn inline(text: &str) -> SecretSource {
    SecretSource::Inline(Secret::new(text).unwrap())
}

/// A config with one tenant, where tenant and sink are at one address.
pub fn config(base: &str, token: SecretSource, key: SecretSource) -> Config {
    let integration = Integration {
        name: "acme".to_owned(),
        name_was: None,
        tenant: base.to_owned(),
        api_token: token,
        application_name: "acme".to_owned(),
        subsystem_name: "SentinelOne".to_owned(),
        streams: vec![Kind::Threats, Kind::Activities],
        poll_interval: Span::seconds(60),
        start: Start::Now,
        overlap: Span::seconds(120),
        reconcile: Span::ZERO,
    };
    Config {
        delivery: Delivery::default(),
        polling: Polling::default(),
        coralogix: config::Coralogix { url: base.to_owned(), api_key: key },
        queue: config::Queue {
            // `check` looks whether it could be made; no test makes it.
            dir: std::env::temp_dir().join("s1-coralogix-unmade"),
            max_size_bytes: 1 << 30,
            min_free_bytes: 1 << 20,
            write: WriteMode::Always,
        },
        integrations: vec![integration],
        network: network(),
        retry: config::Retry { min: Span::seconds(1), max: Span::minutes(5) },
        heartbeat: None,
        log_level: log::LevelFilter::Info,
        log_json: false,
        status_file: std::env::temp_dir().join("s1-coralogix-status.json"),
        metrics_file: None,
    }
}
