//! TLS over any transport: which roots are trusted, how a refusal is told, and the transport.
//!
//! Promises: always verified, with the built-in roots and those of `network.ca_file`; a refusal
//! arrives as `NetTrouble::Tls` with its reason; a connection cut without a proper end is an
//! error (keeps P1). Never: a way to switch verification off.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::certificate::{self, Summary};
use crate::limits::CONNECTION_BUFFER_BYTES;
use crate::time::Stamp;

/// Where connections end that had no proper end.
#[derive(Debug)]
pub struct CutShort;

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was closed in the middle")
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
}

impl Tls {
    /// The built-in roots and those of `ca_pem`. The error says what is wrong with the file.
    pub fn new(ca_pem: Option<&[u8]>) -> Result<Tls, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = ca_pem {
            add_pem(&mut roots, pem)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| error.to_string())?;
        let witness = Arc::new(Witness { inner, shown: Mutex::default() });
        let mut config = builder(provider)?
            .dangerous()
            .with_custom_certificate_verifier(witness.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A handful of hosts; the default keeps tickets for 256.
        config.resumption = rustls::client::Resumption::in_memory_sessions(8);
        Ok(Tls { config: Arc::new(config), witness })
    }

    /// The certificate that the last handshake was shown, whether it was trusted or not.
    pub fn last_shown(&self) -> Option<Summary> {
        self.witness.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a TLS connection over `sock`, whose time limit is set. The error is for people.
    pub fn connect(
        &self,
        host: &str,
        mut sock: TransportAdapter,
    ) -> Result<TlsTransport, HandshakeFailed> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            HandshakeFailed::Refused(format!("{host} is not a name that a certificate can have"))
        })?;
        let mut connection = ClientConnection::new(self.config.clone(), name)
            .map_err(|error| HandshakeFailed::Refused(error.to_string()))?;
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
            return HandshakeFailed::Refused(refusal(host, reason, self.last_shown().as_ref()));
        }
        match Error::from(error) {
            Error::Io(error) => HandshakeFailed::Refused(match error.kind() {
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
    Refused(String),
    /// What lies below: a time limit, a request to stop.
    Transport(Error),
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
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
        0 => Err("there is no certificate (-----BEGIN CERTIFICATE-----) in it".to_owned()),
        _ => Ok(()),
    }
}

/// Passes every question on to rustls' own verifier and remembers which certificate was shown,
/// so that a refusal can name who signed it: on networks that open TLS, that is the answer.
#[derive(Debug)]
struct Witness {
    inner: Arc<WebPkiServerVerifier>,
    shown: Mutex<Option<Summary>>,
}

impl Witness {
    fn note(&self, shown: Option<Summary>) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
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
        self.note(certificate::summary(end_entity));
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
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

/// A refusal in words that say what to do.
fn refusal(host: &str, reason: &rustls::Error, shown: Option<&Summary>) -> String {
    let signer = shown.map_or_else(String::new, |shown| format!(", signed by {}", shown.issuer));
    let rustls::Error::InvalidCertificate(reason) = reason else {
        return format!("{host}: {reason}");
    };
    match reason {
        CertificateError::UnknownIssuer => format!(
            "the certificate of {host}{signer}, is not trusted: that authority is not known here. \
             If your network opens TLS, give its authority's certificate as network.ca_file"
        ),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the certificate of {host}{signer}, ended at {}, and this machine's clock says {}. \
             If the clock is right the server has to renew it",
            calendar(*not_after),
            calendar(*time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the certificate of {host}{signer}, begins at {}, but this machine's clock says {}. \
             Set the clock (NTP)",
            calendar(*not_before),
            calendar(*time)
        ),
        CertificateError::NotValidForNameContext { presented, .. } => {
            // rustls tells them as `DnsName("host")`.
            let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
            let names = presented.iter().map(bare).collect::<Vec<_>>().join(", ");
            let names = crate::answer::one_line(&names);
            format!(
                "the server shows a certificate{signer}, for {names} and not for {host}. Look for \
                 a typing error in this address, or for a proxy or firewall that answers in the \
                 service's place"
            )
        }
        other => format!("the certificate of {host}{signer}, is not valid: {other}"),
    }
}

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
        assert!(Tls::new(None).is_ok());
        let empty = Tls::new(Some(b"")).unwrap_err();
        assert!(empty.contains("no certificate"), "{empty}");
        let key = Tls::new(Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"));
        assert!(key.unwrap_err().contains("certificate 1"));
        let torn = Tls::new(Some(b"-----BEGIN CERTIFICATE-----\nAAAA"));
        assert!(torn.unwrap_err().contains("not a PEM file"));
    }
}
