//! TLS over any transport: which roots are trusted, how a failure is described, and the transport.
//!
//! Promises: always verified, with the built-in roots and those of `network.ca_file`, at the times
//! of `certificate_clock`; a failed handshake comes with problem, reason and remedy; a connection
//! closed without close_notify is an error (keeps P1). Never: a way to switch verification off.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::certificate::{self, Summary, Validity};
use super::certificate_clock::{CertificateClock, Fixed, Shown, unix};
use crate::limits::CONNECTION_BUFFER_BYTES;
use crate::os::clock::{Anchor, Moment, Source, mono};
use crate::problem::Problem;
use crate::time::Stamp;

/// The source of the error of a connection that was closed without close_notify.
#[derive(Debug)]
pub struct CutShort;

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was closed mid-exchange")
    }
}

impl std::error::Error for CutShort {}

pub fn cut_short() -> Error {
    Error::Io(io::Error::other(CutShort))
}

/// The trusted roots, and the certificate that was last received.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    verifier: Arc<RecordingVerifier>,
    certificate_clock: Arc<CertificateClock>,
}

impl Tls {
    /// The built-in roots and those of `ca_pem`. The error says what is wrong with the file.
    pub fn new(
        ca_pem: Option<&[u8]>,
        certificate_clock: &Arc<CertificateClock>,
    ) -> Result<Tls, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = ca_pem {
            add_pem(&mut roots, pem)?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto()).build();
        Tls::with(verifier.map_err(|error| error.to_string())?, certificate_clock, None)
    }

    /// The same trust for another peer, which remembers its own last certificate.
    pub fn for_another_client(&self) -> Tls {
        Tls::with(self.verifier.inner.clone(), &self.certificate_clock, None)
            .expect("it was possible with the same parts")
    }

    /// The same trust at a fixed time: for asking a server for its time, never for a secret.
    pub fn at(&self, time: Stamp) -> Tls {
        Tls::with(self.verifier.inner.clone(), &self.certificate_clock, Some(time))
            .expect("it was possible with the same parts")
    }

    fn with(
        inner: Arc<WebPkiServerVerifier>,
        certificate_clock: &Arc<CertificateClock>,
        fixed: Option<Stamp>,
    ) -> Result<Tls, String> {
        let (time, by): (Arc<dyn TimeProvider>, _) = match fixed {
            Some(time) => (Arc::new(Fixed(time)), None),
            None => (certificate_clock.clone(), Some(certificate_clock.clone())),
        };
        let verifier = Arc::new(RecordingVerifier {
            inner,
            certificate_clock: by,
            shown: Mutex::default(),
            own: Mutex::default(),
        });
        let mut config = ClientConfig::builder_with_details(crypto(), time)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A peer is one host; the default keeps tickets for 256.
        config.resumption = rustls::client::Resumption::in_memory_sessions(2);
        Ok(Tls { config: Arc::new(config), verifier, certificate_clock: certificate_clock.clone() })
    }

    /// Takes a server's `Date` for the times at which certificates are verified. It counts within
    /// the validity of the certificate of the last handshake.
    pub fn observe_date(&self, source: Source, date: Stamp) {
        let Some(validity) = self.last_shown().and_then(|shown| shown.validity) else { return };
        let now = mono();
        if validity.holds(date) {
            *lock(&self.verifier.own) = Some(Anchor { date, at: now });
        }
        self.certificate_clock.observe(source, date, validity, now);
    }

    /// The certificate of the last handshake, trusted or not.
    pub fn last_shown(&self) -> Option<Summary> {
        lock(&self.verifier.shown).clone()
    }

    /// Makes a TLS connection over `sock`, whose time limit is set. The error is shown to people.
    pub fn connect(
        &self,
        host: &str,
        mut sock: TransportAdapter,
    ) -> Result<TlsTransport, HandshakeFailed> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Refusal::other(format!("{host} is not a name that a certificate can have"))
        })?;
        let mut connection = ClientConnection::new(self.config.clone(), name)
            .map_err(|error| Refusal::other(error.to_string()))?;
        self.verifier.note(None);
        while connection.is_handshaking() {
            connection.complete_io(&mut sock).map_err(|error| self.explain(host, error))?;
        }
        // A resumed session does not call the verifier; its certificate is the one verified before.
        let shown = connection.peer_certificates().and_then(|chain| chain.first());
        self.verifier.note(shown.and_then(|leaf| certificate::summary(leaf)));
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS 1.3",
        };
        let buffers = LazyBuffers::new(CONNECTION_BUFFER_BYTES, CONNECTION_BUFFER_BYTES);
        Ok(TlsTransport { buffers, connection, sock, version })
    }

    fn explain(&self, host: &str, error: io::Error) -> HandshakeFailed {
        if let Some(reason) = tls_reason(&error) {
            let shown = self.last_shown();
            return HandshakeFailed::Refused(refusal(host, reason, shown.as_ref()));
        }
        match Error::from(error) {
            Error::Io(error) => Refusal::other(match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => {
                    format!("{host} closed the connection during the handshake")
                }
                _ => {
                    format!("the handshake with {host} broke: {}", crate::os::secret::plain(&error))
                }
            }),
            other => HandshakeFailed::Transport(other),
        }
    }
}

/// Why there is no TLS connection.
#[derive(Debug)]
pub enum HandshakeFailed {
    /// TLS itself: trust, names, clock, protocol, or a peer that hung up on it.
    Refused(Refusal),
    /// The transport below: a time limit, a request to stop.
    Transport(Error),
}

/// Why a handshake failed, for people, and which problem it is.
#[derive(Debug)]
pub struct Refusal {
    pub flaw: CertificateProblem,
    pub problem: Problem,
}

impl Refusal {
    fn other(what: String) -> HandshakeFailed {
        HandshakeFailed::Refused(Refusal { flaw: CertificateProblem::Other, problem: what.into() })
    }
}

/// What is wrong with a certificate, or with the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateProblem {
    /// No trusted authority signed it.
    Untrusted,
    /// It, or one of its chain, had expired at the time of verification. The server certificate's
    /// own validity follows.
    Ended(Validity),
    /// It was not valid yet.
    NotBegun(Validity),
    /// It is for another host.
    OtherName,
    Other,
}

fn crypto() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn add_pem(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), String> {
    let mut added = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("it is not a PEM file: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("certificate {} can't be used: {error}", added + 1))?;
        added += 1;
    }
    match added {
        0 => Err("it contains no certificate (-----BEGIN CERTIFICATE-----)".to_owned()),
        _ => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes every question on to rustls' own verifier, at the times of the certificate clock, and
/// remembers which certificate was received, so that an error can name its issuer: on networks that
/// intercept TLS, that is the explanation.
#[derive(Debug)]
struct RecordingVerifier {
    inner: Arc<WebPkiServerVerifier>,
    /// `None`: the fixed time of the TLS configuration decides.
    certificate_clock: Option<Arc<CertificateClock>>,
    shown: Mutex<Option<Summary>>,
    /// The `Date` that this server sent.
    own: Mutex<Option<Anchor>>,
}

impl RecordingVerifier {
    fn note(&self, shown: Option<Summary>) {
        *lock(&self.shown) = shown;
    }
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let summary = certificate::summary(end_entity);
        let validity = summary.as_ref().and_then(|summary| summary.validity);
        self.note(summary);
        let inner = |now| {
            let (host, staple) = (server_name, ocsp_response);
            self.inner.verify_server_cert(end_entity, intermediates, host, staple, now)
        };
        match &self.certificate_clock {
            None => inner(now),
            Some(certificate_clock) => {
                let shown = Shown { validity, own: *lock(&self.own) };
                certificate_clock.verdict(shown, Moment::now(), |time| inner(unix(time)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn tls_reason(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>()
}

/// The description of a failed handshake, with its remedy.
fn refusal(host: &str, reason: &rustls::Error, shown: Option<&Summary>) -> Refusal {
    let signer = shown.map_or_else(String::new, |shown| format!(", signed by {}", shown.issuer));
    let validity = shown.and_then(|shown| shown.validity);
    let of_time =
        |flaw: fn(Validity) -> CertificateProblem| validity.map_or(CertificateProblem::Other, flaw);
    let rustls::Error::InvalidCertificate(reason) = reason else {
        let what = format!("{host}: {reason}");
        return Refusal { flaw: CertificateProblem::Other, problem: what.into() };
    };
    let (flaw, what, remedy) = match reason {
        CertificateError::UnknownIssuer => {
            let authority = shown.map_or("its authority".to_owned(), |shown| shown.issuer.clone());
            (
                CertificateProblem::Untrusted,
                format!(
                    "the certificate of {host} is not trusted: its issuer, {authority}, is not \
                     trusted"
                ),
                format!(
                    "This looks like TLS inspection by CN={authority}: set network.ca_file to that \
                     authority's certificate, or have {host} exempted from inspection"
                ),
            )
        }
        CertificateError::ExpiredContext { time, not_after } => (
            of_time(CertificateProblem::Ended),
            format!(
                "the certificate of {host}{signer}, expired at {}; checked at {}",
                calendar(*not_after),
                calendar(*time)
            ),
            "If this machine's clock is right, the server must renew it".to_owned(),
        ),
        CertificateError::NotValidYetContext { time, not_before } => (
            of_time(CertificateProblem::NotBegun),
            format!(
                "the certificate of {host}{signer}, is valid from {}; checked at {}",
                calendar(*not_before),
                calendar(*time)
            ),
            "Set this machine's clock (NTP)".to_owned(),
        ),
        CertificateError::NotValidForNameContext { presented, .. } => {
            // rustls formats the names as `DnsName("host")`.
            let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
            let names = presented.iter().map(bare).collect::<Vec<_>>().join(", ");
            let names = crate::plain::one_line(&names);
            (
                CertificateProblem::OtherName,
                format!("the server shows a certificate{signer}, for {names} and not for {host}"),
                "Check this address for a typo, or look for a proxy or firewall that answers \
                 in the service's place"
                    .to_owned(),
            )
        }
        CertificateError::BadSignature => (
            CertificateProblem::Other,
            wrong_signature(host, &signer),
            ANSWERED_BY_ANOTHER.to_owned(),
        ),
        other => (
            CertificateProblem::Other,
            format!("the certificate of {host}{signer}, is not valid: {other}"),
            String::new(),
        ),
    };
    Refusal { flaw, problem: Problem::new(what, remedy) }
}

/// A bad signature, of the handshake or of the chain.
fn wrong_signature(host: &str, signer: &str) -> String {
    format!(
        "a signature is wrong: the server shows the certificate of {host}{signer}, and does not have \
         its key, or the certificate was changed"
    )
}

const ANSWERED_BY_ANOTHER: &str =
    "Look for what answers in the service's place: a proxy, a firewall, a false address in DNS";

fn calendar(time: UnixTime) -> String {
    Stamp::from_seconds(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)).to_the_second()
}

/// A TLS connection as ureq wants one.
pub struct TlsTransport {
    buffers: LazyBuffers,
    connection: ClientConnection,
    sock: TransportAdapter,
    /// "TLS 1.3", for people.
    pub version: &'static str,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    /// Everything is written through to the socket, so that an error here means that the peer can't
    /// have received the whole request.
    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.sock.set_timeout(timeout);
        let mut rest = &self.buffers.output()[..amount];
        while !rest.is_empty() {
            let taken = self.connection.writer().write(rest)?;
            rest = &rest[taken..];
            write_through(&mut self.connection, &mut self.sock)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.sock.set_timeout(timeout);
        loop {
            let input = self.buffers.input_append_buf();
            match self.connection.reader().read(input) {
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // No close_notify: someone on the path may have cut the connection, so the data may
                // be incomplete.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(cut_short());
                }
                Err(error) => return Err(error.into()),
            }
            self.connection.read_tls(&mut self.sock)?;
            self.connection.process_new_packets().map_err(|error| {
                Error::Io(io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
            })?;
            // TLS records of the protocol itself, such as key updates. If they can't be written, or
            // the rest of a request can't, there may still be an answer to read; the next read
            // shows it.
            let _ = write_through(&mut self.connection, &mut self.sock);
        }
    }

    fn is_open(&mut self) -> bool {
        self.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

fn write_through(connection: &mut ClientConnection, sock: &mut TransportAdapter) -> io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(sock)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
