//! Tests of TLS over a transport whose other end is a server in the same thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::{HandshakeKind, ServerConfig, ServerConnection};
use ureq::Timeout;
use ureq::unversioned::transport::time as span;

use super::*;
use crate::test_world::tls::Authority;
use crate::time::{BUILT_AT, Span};

#[test]
fn a_ca_file_without_a_certificate_is_refused() {
    let certificate_clock = Arc::default();
    assert!(Tls::new(None, &certificate_clock).is_ok());
    let empty = Tls::new(Some(b""), &certificate_clock).unwrap_err();
    assert!(empty.contains("no certificate"), "{empty}");
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    let second = Authority::new("Test CA").pem() + pem;
    for (pem, number) in [(pem, "certificate 1"), (&second, "certificate 2")] {
        let told = Tls::new(Some(pem.as_bytes()), &certificate_clock).unwrap_err();
        assert!(told.contains(number), "{told}");
    }
    let torn = Tls::new(Some(b"-----BEGIN CERTIFICATE-----\nAAAA"), &certificate_clock);
    assert!(torn.unwrap_err().contains("not a PEM file"));
}

/// A server, as a transport to it.
#[derive(Debug)]
struct Peer {
    server: Arc<Mutex<ServerConnection>>,
    buffers: LazyBuffers,
    /// What it sent and nobody has read.
    on_the_way: VecDeque<u8>,
    /// The reason of the time limit of each call.
    asked: Arc<Mutex<Vec<Timeout>>>,
    is_up: Arc<AtomicBool>,
}

impl Transport for Peer {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        lock(&self.asked).push(timeout.reason);
        let mut server = lock(&self.server);
        server.read_tls(&mut &self.buffers.output()[..amount])?;
        // A refusal reaches the client as an alert.
        let _ = server.process_new_packets();
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        lock(&self.asked).push(timeout.reason);
        let mut server = lock(&self.server);
        while self.is_up.load(Ordering::SeqCst) && server.wants_write() {
            server.write_tls(&mut self.on_the_way)?;
        }
        let room = self.buffers.input_append_buf();
        let amount = self.on_the_way.read(room)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.is_up.load(Ordering::SeqCst)
    }
}

/// A connection, and the server's side of it.
struct Pair {
    client: Result<TlsTransport, HandshakeFailed>,
    server: Arc<Mutex<ServerConnection>>,
    asked: Arc<Mutex<Vec<Timeout>>>,
    is_up: Arc<AtomicBool>,
}

fn connect(tls: &Tls, config: &Arc<ServerConfig>, is_up: bool) -> Pair {
    let server = Arc::new(Mutex::new(ServerConnection::new(Arc::clone(config)).unwrap()));
    let (asked, is_up) = (Arc::default(), Arc::new(AtomicBool::new(is_up)));
    let peer = Peer {
        server: Arc::clone(&server),
        buffers: LazyBuffers::new(CONNECTION_BUFFER_BYTES, CONNECTION_BUFFER_BYTES),
        on_the_way: VecDeque::new(),
        asked: Arc::clone(&asked),
        is_up: Arc::clone(&is_up),
    };
    let sock =
        TransportAdapter::new(Box::new(peer) as Box<dyn Transport>, Arc::new(span::Instant::now));
    Pair { client: tls.connect("localhost", sock), server, asked, is_up }
}

impl Pair {
    fn client(&mut self) -> &mut TlsTransport {
        self.client.as_mut().expect("it is connected")
    }

    /// What the client reads, of at most so many bytes.
    fn read(&mut self) -> Result<bool, Error> {
        self.client().await_input(limit(Timeout::RecvBody))
    }
}

fn limit(reason: Timeout) -> NextTimeout {
    let after = span::Duration::from_secs(600);
    NextTimeout { after, reason, ..NextTimeout::default() }
}

fn trusting(authority: &Authority) -> Tls {
    Tls::new(Some(authority.pem().as_bytes()), &Arc::default()).unwrap()
}

#[test]
fn each_write_and_read_has_its_own_time_limit_and_only_a_close_notify_is_an_end() {
    let authority = Authority::new("Test CA");
    let tls = trusting(&authority);
    for is_cut in [false, true] {
        let mut pair = connect(&tls, &authority.server_until("localhost", 2090), true);
        let client = pair.client();
        assert!(client.is_open());
        client.buffers().output()[..5].copy_from_slice(b"hello");
        lock(&pair.asked).clear();
        pair.client().transmit_output(5, limit(Timeout::SendBody)).unwrap();
        assert_eq!(lock(&pair.asked).drain(..).next(), Some(Timeout::SendBody));
        let mut heard = [0; 5];
        lock(&pair.server).reader().read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");

        lock(&pair.server).writer().write_all(b"world").unwrap();
        assert!(pair.read().unwrap());
        assert_eq!(lock(&pair.asked).first(), Some(&Timeout::RecvBody));
        assert_eq!(pair.client().buffers().input(), b"world");
        if !is_cut {
            lock(&pair.server).send_close_notify();
            assert!(!pair.read().unwrap(), "the end of an answer");
            continue;
        }
        pair.is_up.store(false, Ordering::SeqCst);
        assert!(!pair.client().is_open());
        let Err(Error::Io(error)) = pair.read() else { panic!("it is not the end") };
        assert!(error.get_ref().is_some_and(|inner| inner.is::<CutShort>()), "{error:?}");
    }
}

#[test]
fn a_connection_tells_its_version_and_asks_for_the_protocol_that_it_speaks() {
    let authority = Authority::new("Test CA");
    let tls = trusting(&authority);
    for (versions, told) in [
        (rustls::DEFAULT_VERSIONS, "TLS 1.3"),
        (&[&rustls::version::TLS13][..], "TLS 1.3"),
        (&[&rustls::version::TLS12][..], "TLS 1.2"),
    ] {
        let mut config = authority.server_of("localhost", [1975, 2090], versions);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut pair = connect(&tls, &Arc::new(config), true);
        assert_eq!(pair.client().version, told);
        assert_eq!(lock(&pair.server).alpn_protocol(), Some(&b"http/1.1"[..]));
    }
}

#[test]
fn the_certificate_that_is_told_is_that_of_the_last_handshake_resumed_or_not() {
    let authority = Authority::new("Test CA");
    let (tls, config) = (trusting(&authority), authority.server_until("localhost", 2090));
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut pair = connect(&tls, &config, true);
        // With this the tickets come.
        lock(&pair.server).writer().write_all(b"x").unwrap();
        assert!(pair.read().unwrap());
        assert_eq!(lock(&pair.server).handshake_kind(), Some(kind));
        assert_eq!(tls.last_shown().unwrap().issuer, "Test CA");
    }
    let failed = connect(&tls, &config, false).client.unwrap_err();
    let HandshakeFailed::Refused(refusal) = failed else { panic!("{failed:?}") };
    let told = refusal.problem.to_string();
    assert!(told.contains("localhost closed the connection during the handshake"), "{told}");
    assert_eq!(tls.last_shown(), None, "this peer has shown none");
}

#[test]
fn a_date_counts_for_a_server_itself_only_within_the_certificate_that_it_has_shown() {
    let authority = Authority::new("Test CA");
    let tls = trusting(&authority);
    let own = || lock(&tls.verifier.own).map(|anchor| anchor.date);
    let day = BUILT_AT + Span::hours(24);
    tls.observe_date(Source::Sink, day);
    assert_eq!(own(), None, "no handshake");
    connect(&tls, &authority.server_until("localhost", 2090), true).client();
    tls.observe_date(Source::Sink, Stamp::parse("2091-01-01T00:00:00Z").unwrap());
    assert_eq!(own(), None);
    tls.observe_date(Source::Sink, day);
    assert_eq!(own(), Some(day));
}

#[test]
fn a_wrong_signature_names_the_certificate_and_where_to_look() {
    let shown = Summary { subject: "edge".into(), issuer: "Some CA".into(), validity: None };
    let reason = rustls::Error::InvalidCertificate(CertificateError::BadSignature);
    let told = refusal("acme.test", &reason, Some(&shown)).problem.to_string();
    for words in ["signature is wrong", "acme.test, signed by Some CA", "a proxy, a firewall"] {
        assert!(told.contains(words), "{told}");
    }
}
