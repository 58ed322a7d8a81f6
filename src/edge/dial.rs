//! How a connection is made: name, TCP or tunnel, TLS; and what is noticed on the way.
//!
//! Promises: every failure says at which step it was; a wait for the network ends soon after a
//! request to stop; no thread is made. Never: knows of HTTP.

use std::fmt;
use std::net::ToSocketAddrs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time as span;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, TcpConnector,
    Transport, TransportAdapter,
};
use ureq::{Error, Timeout};

use super::cause::Cause;
use super::clock::mono;
use super::proxy;
use super::secret::plain;
use super::tls::{Flaw, HandshakeFailed, Tls, cut_short};
use crate::limits::{ADDRESSES_MAX, NETWORK_WAIT_PIECE_MS};
use crate::record::NetTrouble;
use crate::time::Mono;

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
}

/// What is noticed of the one exchange that is under way. Shared with ureq's transports.
#[derive(Debug, Default)]
pub struct Wire {
    stop: Arc<AtomicBool>,
    /// How long an answer is still waited for after a request to stop.
    grace_ms: AtomicU64,
    /// Connections made so far. Unchanged over an exchange: an idle one was used again.
    made: AtomicU64,
    /// A byte of the answer has come.
    answered: AtomicBool,
    /// Sending failed, so the peer can't have the whole request.
    unsent: AtomicBool,
    steps: Mutex<Steps>,
    /// Bytes of all answers so far, as they came: compressed.
    pub received: AtomicU64,
}

impl Wire {
    pub fn new(stop: Arc<AtomicBool>) -> Wire {
        Wire { stop, ..Wire::default() }
    }

    /// Forgets the last exchange; how many connections were made so far.
    pub fn begin(&self, grace: Duration) -> u64 {
        self.grace_ms.store(grace.as_millis() as u64, Ordering::Relaxed);
        self.answered.store(false, Ordering::Relaxed);
        self.unsent.store(false, Ordering::Relaxed);
        *self.lock() = Steps::default();
        self.made.load(Ordering::Relaxed)
    }

    /// For a second peer that ends as this one does.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
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

    fn note(&self, change: impl FnOnce(&mut Steps)) {
        change(&mut self.lock());
    }

    fn blame(&self, cause: Cause) {
        self.note(|steps| steps.cause = Some(cause));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks names up in this thread: the system's own limits bound it, and a box that has no memory
/// for one more thread still resolves.
#[derive(Debug)]
pub struct Names {
    pub wire: Arc<Wire>,
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let (host, port) = host_and_port(uri)?;
        let failed = |why: String| {
            self.wire.blame(Cause::NameNotResolved);
            trouble(NetTrouble::Dns(format!("{host}: {why}")))
        };
        let found = (host.as_str(), port).to_socket_addrs().map_err(|error| {
            let text = plain(&error);
            let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
            failed(text.to_owned())
        })?;
        let mut addresses = self.empty();
        for address in found.take(ADDRESSES_MAX) {
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(failed("the name has no address".to_owned()));
        }
        self.wire.note(|steps| {
            steps.resolved = Some(mono());
            steps.addresses = addresses.iter().map(|address| address.ip().to_string()).collect();
        });
        Ok(addresses)
    }
}

fn host_and_port(uri: &Uri) -> Result<(String, u16), Error> {
    let host = uri.host().ok_or_else(|| Error::BadUri("no host".to_owned()))?;
    let port = match (uri.port_u16(), uri.scheme_str()) {
        (Some(port), _) => port,
        (None, Some("http")) => 80,
        (None, _) => 443,
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

/// Makes connections: TCP or a proxy's tunnel, then TLS where the address asks for it.
#[derive(Debug)]
pub struct Dialer {
    pub tls: Tls,
    pub wire: Arc<Wire>,
}

impl Connector<()> for Dialer {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let (host, port) = host_and_port(details.uri)?;
        let raw = match self.tunnel(details)? {
            Some(tunnel) => tunnel,
            None => {
                let tcp = TcpConnector::default()
                    .connect(details, None::<()>)
                    .map_err(|error| {
                        self.wire.blame(cause_of(&error));
                        not_connected(&host, port, error)
                    })?
                    .ok_or(Error::ConnectionFailed)?;
                self.wire.note(|steps| steps.connected = Some(mono()));
                Box::new(tcp) as Box<dyn Transport>
            }
        };
        let patient = Patient { inner: raw, wire: Arc::clone(&self.wire) };
        let ready: Box<dyn Transport> = match details.needs_tls() {
            true => self.secure(details, &host, patient)?,
            false => Box::new(patient),
        };
        self.wire.made.fetch_add(1, Ordering::Relaxed);
        let wire = Arc::clone(&self.wire);
        Ok(Some(Box::new(Meter { inner: ready, wire, hung_up: false })))
    }
}

impl Dialer {
    /// A tunnel through the proxy; `None` where there is no proxy.
    fn tunnel(&self, details: &ConnectionDetails) -> Result<Option<Box<dyn Transport>>, Error> {
        let Some(proxy) = details.config.proxy() else { return Ok(None) };
        let address = proxy::address(proxy);
        let tunnel =
            ConnectProxyConnector::default().connect(details, None::<()>).map_err(|error| {
                self.blame_proxy(&error);
                not_tunnelled(&address, error)
            })?;
        self.wire.note(|steps| steps.tunnelled = Some(mono()));
        Ok(tunnel.map(|tunnel| Box::new(tunnel) as Box<dyn Transport>))
    }

    fn blame_proxy(&self, error: &Error) {
        let cause = match error {
            Error::ConnectProxyFailed(text) => match proxy::status_told(text) {
                Some("407") => Cause::ProxyAuthentication,
                Some("403") => Cause::ProxyForbids,
                _ => Cause::ProxyRefuses,
            },
            // TLS to the proxy itself has been blamed where it failed.
            _ if self.wire.steps().flaw.is_some() => return,
            _ if self.wire.steps().connected.is_some() => Cause::ProxyRefuses,
            _ => Cause::ProxyUnreachable,
        };
        self.wire.blame(cause);
    }

    fn secure(
        &self,
        details: &ConnectionDetails,
        host: &str,
        below: Patient,
    ) -> Result<Box<dyn Transport>, Error> {
        let mut sock = TransportAdapter::new(
            Box::new(below) as Box<dyn Transport>,
            Arc::clone(&details.current_time),
        );
        sock.set_timeout(what_is_left(details));
        match self.tls.connect(host, sock) {
            Ok(transport) => {
                let version = transport.version;
                self.wire.note(|steps| steps.secured = Some((mono(), version)));
                Ok(Box::new(transport))
            }
            Err(HandshakeFailed::Refused(refusal)) => {
                self.wire.note(|steps| {
                    steps.cause = Some(match refusal.flaw {
                        Flaw::Untrusted => Cause::TlsUntrusted,
                        Flaw::Ended(_) => Cause::CertificateExpired,
                        Flaw::NotBegun(_) => Cause::CertificateNotYetValid,
                        Flaw::OtherName => Cause::CertificateOtherName,
                        Flaw::Other => Cause::TlsFailed,
                    });
                    steps.flaw = Some(refusal.flaw);
                });
                Err(trouble(NetTrouble::Tls(sentence(&refusal.what, &refusal.remedy))))
            }
            Err(HandshakeFailed::Transport(Error::Timeout(Timeout::Connect))) => {
                self.wire.blame(Cause::TlsFailed);
                Err(trouble(NetTrouble::Tls(format!(
                    "the handshake with {host} was not done within network.connect_timeout"
                ))))
            }
            Err(HandshakeFailed::Transport(error)) => Err(error),
        }
    }
}

/// "What is wrong. What to do".
pub fn sentence(what: &str, remedy: &str) -> String {
    match remedy {
        "" => what.to_owned(),
        remedy => format!("{what}. {remedy}"),
    }
}

/// Why there is no TCP connection.
fn cause_of(error: &Error) -> Cause {
    use std::io::ErrorKind;
    match error {
        Error::Timeout(_) => Cause::ConnectTimeout,
        Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Cause::ConnectionRefused,
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => Cause::NoRoute,
            ErrorKind::TimedOut => Cause::ConnectTimeout,
            _ => Cause::ConnectFailed,
        },
        _ => Cause::ConnectFailed,
    }
}

/// What the steps before TLS left of the time to connect.
fn what_is_left(details: &ConnectionDetails) -> NextTimeout {
    let mut timeout = details.timeout;
    let now = (details.current_time)();
    if let (span::Duration::Exact(limit), span::Instant::Exact(begun), span::Instant::Exact(now)) =
        (timeout.after, details.now, now)
    {
        let spent = now.saturating_duration_since(begun);
        timeout.after = span::Duration::Exact(limit.saturating_sub(spent));
    }
    timeout
}

fn not_connected(host: &str, port: u16, error: Error) -> Error {
    match error {
        Error::Io(error) => {
            trouble(NetTrouble::Connect(format!("{host}:{port}: {}", plain(&error))))
        }
        Error::Timeout(Timeout::Connect) => trouble(NetTrouble::Connect(format!(
            "{host}:{port}: no answer within network.connect_timeout"
        ))),
        other => other,
    }
}

fn not_tunnelled(address: &str, error: Error) -> Error {
    trouble(match error {
        Error::ConnectProxyFailed(text) => NetTrouble::Proxy(proxy::refusal(address, &text)),
        Error::Other(other) => match other.downcast::<Dialing>() {
            Ok(dialing) => match dialing.0 {
                NetTrouble::Dns(why) => NetTrouble::Dns(format!("the proxy {why}")),
                NetTrouble::Connect(why) => NetTrouble::Connect(format!("the proxy {why}")),
                NetTrouble::Tls(why) => NetTrouble::Tls(format!("the proxy {address}: {why}")),
                other => other,
            },
            Err(other) => NetTrouble::Proxy(format!("{address}: {other}")),
        },
        Error::Timeout(_) => {
            NetTrouble::Proxy(format!("{address}: no answer within network.connect_timeout"))
        }
        other => NetTrouble::Proxy(format!("{address}: {other}")),
    })
}

/// Waits in pieces, so that a request to stop is heard within one.
#[derive(Debug)]
struct Patient {
    inner: Box<dyn Transport>,
    wire: Arc<Wire>,
}

impl Transport for Patient {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
    }

    /// A constant piece also spares a system call a read, for ureq sets the socket's time limit
    /// only when it differs from the last.
    #[expect(clippy::disallowed_methods, reason = "the edge measures how long it waits")]
    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let begun = Instant::now();
        let piece = Duration::from_millis(NETWORK_WAIT_PIECE_MS);
        let grace = Duration::from_millis(self.wire.grace_ms.load(Ordering::Relaxed));
        let mut stopping_since = None;
        loop {
            let waited = begun.elapsed();
            if self.wire.stop.load(Ordering::SeqCst) {
                let since = *stopping_since.get_or_insert(waited);
                if waited - since >= grace {
                    let why = "given up, because the program was told to stop".to_owned();
                    return Err(trouble(NetTrouble::Broken(why)));
                }
            }
            let left = match timeout.after {
                span::Duration::Exact(limit) => limit.saturating_sub(waited),
                span::Duration::NotHappening => Duration::MAX,
            };
            if left.is_zero() {
                return Err(Error::Timeout(timeout.reason));
            }
            let mut now = timeout;
            now.after = span::Duration::Exact(left.min(piece));
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
/// A peer that hangs up while the request is still being sent may have answered before, as
/// servers do with 413. So the rest of the request is let go and the answer is read; without one
/// the read tells that the connection is gone.
#[derive(Debug)]
struct Meter {
    inner: Box<dyn Transport>,
    wire: Arc<Wire>,
    hung_up: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_port_of_its_scheme() {
        for (uri, host, port) in [
            ("https://a.net", "a.net", 443),
            ("http://a.net", "a.net", 80),
            ("https://[::1]:8443", "::1", 8443),
        ] {
            let found = host_and_port(&uri.parse().unwrap()).unwrap();
            assert_eq!(found, (host.to_owned(), port));
        }
    }
}
