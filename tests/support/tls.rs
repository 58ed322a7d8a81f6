//! Certificates made on the spot, good ones and the bad ones that a collector must refuse.
//!
//! Promises: a CA per test, its key never leaves the process; only `ca.pem` is written out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    Expired,
    NotYetValid,
    OtherName,
}

/// Whose key a server signs the handshake with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    WithItsKey,
    /// As somebody does who has copied the chain, which everyone may, and has not its key.
    WithAnotherKey,
}

/// A certificate authority of the test's own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        Authority::named(&[(DnType::CommonName, name)])
    }

    pub fn named(names: &[(DnType, &str)]) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Authority { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    /// The certificate that a collector is to trust.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes that certificate to a file.
    pub fn write_pem(&self, dir: &Path) -> PathBuf {
        let path = dir.join("ca.pem");
        std::fs::write(&path, self.pem()).unwrap();
        path
    }

    /// TLS of a server on `localhost` with a certificate of this life, in seconds since 1970.
    pub fn server_valid(&self, begins: i64, ends: i64) -> Arc<ServerConfig> {
        let at = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let names = vec!["localhost".to_string(), "127.0.0.1".to_string()];
        self.server_with(names, |params| {
            params.not_before = at(begins);
            params.not_after = at(ends);
        })
    }

    /// TLS of a server on this host, valid until a year begins.
    pub fn server_until(&self, host: &str, end_year: i32) -> Arc<ServerConfig> {
        Arc::new(self.server_of(host, [1975, end_year], rustls::DEFAULT_VERSIONS))
    }

    /// The same with both years, and the versions of TLS that it speaks.
    pub fn server_of(
        &self,
        host: &str,
        years: [i32; 2],
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let (certificate, key) = self.certificate(vec![host.to_owned()], |params| {
            [params.not_before, params.not_after] = years.map(|year| date_time_ymd(year, 1, 1));
        });
        config(versions, certificate, &key)
    }

    /// TLS of a server on `localhost` and 127.0.0.1.
    pub fn server(&self, flaw: Flaw) -> Arc<ServerConfig> {
        let names = match flaw {
            Flaw::OtherName => vec!["elsewhere.example".to_string()],
            _ => vec!["localhost".to_string(), "127.0.0.1".to_string()],
        };
        self.server_with(names, |params| match flaw {
            Flaw::Expired => {
                params.not_before = date_time_ymd(2019, 1, 1);
                params.not_after = date_time_ymd(2020, 1, 1);
            }
            Flaw::NotYetValid => params.not_before = date_time_ymd(2095, 1, 1),
            Flaw::None | Flaw::OtherName => {}
        })
    }

    /// TLS of a server on `localhost` that speaks this version alone and shows a good chain.
    pub fn server_signing(
        &self,
        version: &'static SupportedProtocolVersion,
        signs: Signs,
    ) -> Arc<ServerConfig> {
        let (certificate, own) = self.certificate(vec!["localhost".to_string()], |_| {});
        let key = match signs {
            Signs::WithItsKey => own,
            Signs::WithAnotherKey => KeyPair::generate().unwrap(),
        };
        let key = rustls::crypto::ring::sign::any_supported_type(&der(&key)).unwrap();
        // Not `with_single_cert`, which looks whether the two fit.
        let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    fn server_with(
        &self,
        names: Vec<String>,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        let (certificate, key) = self.certificate(names, change);
        Arc::new(config(rustls::DEFAULT_VERSIONS, certificate, &key))
    }

    fn certificate(
        &self,
        names: Vec<String>,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (CertificateDer<'static>, KeyPair) {
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "test server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key)
    }

    /// TLS of a client that trusts this authority and no other.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.issuer.der().to_vec())).unwrap();
        Arc::new(
            ClientConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )
    }
}

fn config(
    versions: &[&'static SupportedProtocolVersion],
    certificate: CertificateDer<'static>,
    key: &KeyPair,
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], der(key))
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn der(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
