//! TLS over any transport: which roots are trusted, how a refusal is told, and the transport.
//!
//! Promises: always verified, with the built-in roots and those of `network.ca_file`, at the times
//! of `judge`; a refusal arrives with its flaw, reason and remedy; a connection cut without a proper
//! end is an error (keeps P1). Never: a way to switch verification off.

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

use super::certificate::{self, Life, Summary};
use super::clock::{Anchor, Moment, Source, mono};
use super::judge::{Fixed, Judge, Shown, unix};
use crate::limits::CONNECTION_BUFFER_BYTES;
use crate::time::Stamp;

/// Where connections end that had no proper end.
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

/// What is trusted, and what was last shown.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    witness: Arc<Witness>,
    judge: Arc<Judge>,
}

impl Tls {
    /// The built-in roots and those of `ca_pem`. The error says what is wrong with the file.
    pub fn new(ca_pem: Option<&[u8]>, judge: &Arc<Judge>) -> Result<Tls, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = ca_pem {
            add_pem(&mut roots, pem)?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto()).build();
        Tls::with(verifier.map_err(|error| error.to_string())?, judge, None)
    }

    /// The same trust for another peer, with a memory of its own of what was shown.
    pub fn for_a_peer(&self) -> Tls {
        Tls::with(self.witness.inner.clone(), &self.judge, None)
            .expect("it was possible with the same parts")
    }

    /// The same trust at another time: for asking a server what time it has, never for a secret.
    pub fn at(&self, time: Stamp) -> Tls {
        Tls::with(self.witness.inner.clone(), &self.judge, Some(time))
            .expect("it was possible with the same parts")
    }

    fn with(
        inner: Arc<WebPkiServerVerifier>,
        judge: &Arc<Judge>,
        fixed: Option<Stamp>,
    ) -> Result<Tls, String> {
        let (time, by): (Arc<dyn TimeProvider>, _) = match fixed {
            Some(time) => (Arc::new(Fixed(time)), None),
            None => (judge.clone(), Some(judge.clone())),
        };
        let witness =
            Arc::new(Witness { inner, judge: by, shown: Mutex::default(), own: Mutex::default() });
        let mut config = ClientConfig::builder_with_details(crypto(), time)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(witness.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A peer is one host; the default keeps tickets for 256.
        config.resumption = rustls::client::Resumption::in_memory_sessions(2);
        Ok(Tls { config: Arc::new(config), witness, judge: judge.clone() })
    }

    /// Lets what the server told of the time count for what certificates are judged at. The certificate
    /// that the last handshake was shown vouches for it.
    pub fn hear(&self, source: Source, date: Stamp) {
        let Some(life) = self.last_shown().and_then(|shown| shown.life) else { return };
        let now = mono();
        if life.holds(date) {
            *lock(&self.witness.own) = Some(Anchor { date, at: now });
        }
        self.judge.hear(source, date, life, now);
    }

    /// The certificate that the last handshake was shown, whether it was trusted or not.
    pub fn last_shown(&self) -> Option<Summary> {
        lock(&self.witness.shown).clone()
    }

    /// Makes a TLS connection over `sock`, whose time limit is set. The error is for people.
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
        self.witness.note(None);
        while connection.is_handshaking() {
            connection.complete_io(&mut sock).map_err(|error| self.explain(host, error))?;
        }
        // A resumed session asks no verifier; its certificate is the one verified before.
        let shown = connection.peer_certificates().and_then(|chain| chain.first());
        self.witness.note(shown.and_then(|leaf| certificate::summary(leaf)));
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
                _ => format!("the handshake with {host} broke: {}", super::secret::plain(&error)),
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
    /// What lies below: a time limit, a request to stop.
    Transport(Error),
}

/// A refusal for people, and what it is.
#[derive(Debug)]
pub struct Refusal {
    pub flaw: Flaw,
    pub what: String,
    /// Empty where nothing is known to help.
    pub remedy: String,
}

impl Refusal {
    fn other(what: String) -> HandshakeFailed {
        HandshakeFailed::Refused(Refusal { flaw: Flaw::Other, what, remedy: String::new() })
    }
}

/// What is wrong with a certificate, or with the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nobody who is trusted signed it.
    Untrusted,
    /// It, or one that it hangs on, had ended at the time it was judged at. Its own life is told.
    Ended(Life),
    /// It had not begun.
    NotBegun(Life),
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

/// Passes every question on to rustls' own verifier, at the times that the judge says, and remembers
/// which certificate was shown, so that a refusal can name who signed it: on networks that open TLS,
/// that is the answer.
#[derive(Debug)]
struct Witness {
    inner: Arc<WebPkiServerVerifier>,
    /// `None`: the time of the configuration decides.
    judge: Option<Arc<Judge>>,
    shown: Mutex<Option<Summary>>,
    /// What this server told of the time.
    own: Mutex<Option<Anchor>>,
}

impl Witness {
    fn note(&self, shown: Option<Summary>) {
        *lock(&self.shown) = shown;
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let summary = certificate::summary(end_entity);
        let life = summary.as_ref().and_then(|summary| summary.life);
        self.note(summary);
        let inner = |now| {
            let (host, staple) = (server_name, ocsp_response);
            self.inner.verify_server_cert(end_entity, intermediates, host, staple, now)
        };
        match &self.judge {
            None => inner(now),
            Some(judge) => {
                let shown = Shown { life, own: *lock(&self.own) };
                judge.verdict(shown, Moment::now(), |time| inner(unix(time)))
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

/// A refusal in words, with what to do.
fn refusal(host: &str, reason: &rustls::Error, shown: Option<&Summary>) -> Refusal {
    let signer = shown.map_or_else(String::new, |shown| format!(", signed by {}", shown.issuer));
    let life = shown.and_then(|shown| shown.life);
    let of_time = |flaw: fn(Life) -> Flaw| life.map_or(Flaw::Other, flaw);
    let rustls::Error::InvalidCertificate(reason) = reason else {
        let what = format!("{host}: {reason}");
        return Refusal { flaw: Flaw::Other, what, remedy: String::new() };
    };
    let (flaw, what, remedy) = match reason {
        CertificateError::UnknownIssuer => {
            let authority = shown.map_or("its authority".to_owned(), |shown| shown.issuer.clone());
            (
                Flaw::Untrusted,
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
            of_time(Flaw::Ended),
            format!(
                "the certificate of {host}{signer}, expired at {}; checked at {}",
                calendar(*not_after),
                calendar(*time)
            ),
            "If this machine's clock is right, the server must renew it".to_owned(),
        ),
        CertificateError::NotValidYetContext { time, not_before } => (
            of_time(Flaw::NotBegun),
            format!(
                "the certificate of {host}{signer}, is valid from {}; checked at {}",
                calendar(*not_before),
                calendar(*time)
            ),
            "Set this machine's clock (NTP)".to_owned(),
        ),
        CertificateError::NotValidForNameContext { presented, .. } => {
            // rustls tells them as `DnsName("host")`.
            let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
            let names = presented.iter().map(bare).collect::<Vec<_>>().join(", ");
            let names = crate::plain::one_line(&names);
            (
                Flaw::OtherName,
                format!("the server shows a certificate{signer}, for {names} and not for {host}"),
                "Check this address for a typo, or look for a proxy or firewall that answers \
                 in the service's place"
                    .to_owned(),
            )
        }
        CertificateError::BadSignature => {
            (Flaw::Other, wrong_signature(host, &signer), ANSWERED_BY_ANOTHER.to_owned())
        }
        other => (
            Flaw::Other,
            format!("the certificate of {host}{signer}, is not valid: {other}"),
            String::new(),
        ),
    };
    Refusal { flaw, what, remedy }
}

/// Of the handshake, or of the chain.
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

    /// Everything is written through to the socket, so that an error here means that the peer
    /// can't have the whole request.
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
                // No close_notify: someone between may have cut it, so what came is not whole.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(cut_short());
                }
                Err(error) => return Err(error.into()),
            }
            self.connection.read_tls(&mut self.sock)?;
            self.connection.process_new_packets().map_err(|error| {
                Error::Io(io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
            })?;
            // What TLS itself has to say in between. If it can't be written, or the rest of a
            // request can't, there may still be an answer to read; the next read tells.
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
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_certificate_is_refused() {
        let judge = Arc::default();
        assert!(Tls::new(None, &judge).is_ok());
        let empty = Tls::new(Some(b""), &judge).unwrap_err();
        assert!(empty.contains("no certificate"), "{empty}");
        let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
        let key = Tls::new(Some(pem), &judge);
        assert!(key.unwrap_err().contains("certificate 1"));
        let torn = Tls::new(Some(b"-----BEGIN CERTIFICATE-----\nAAAA"), &judge);
        assert!(torn.unwrap_err().contains("not a PEM file"));
    }
}
