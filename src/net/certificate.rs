//! Reads from a certificate what a person wants to know of it: who it is for, who signed it,
//! and until when it is valid.
//!
//! Promises: bounded by the input, never panics, `None` for what it does not understand. Never:
//! decides whether a certificate is trusted; that is rustls alone.

use crate::limits::CERTIFICATE_NAME_BYTES_MAX;
use crate::plain;
use crate::time::Stamp;

/// What a person wants to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub subject: String,
    pub issuer: String,
    pub validity: Option<Validity>,
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub begins: Stamp,
    pub ends: Stamp,
}

impl Validity {
    pub fn holds(self, at: Stamp) -> bool {
        self.begins <= at && at <= self.ends
    }
}

const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// id-at-commonName and id-at-organizationName (RFC 5280, appendix A.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// Reads a DER certificate (RFC 5280 section 4.1).
pub fn summary(der: &[u8]) -> Option<Summary> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut body, _) = expect(certificate, SEQUENCE)?;
    if let Some((_, rest)) = expect(body, VERSION) {
        body = rest;
    }
    let (_, body) = expect(body, INTEGER)?; // The serial number.
    let (_, body) = expect(body, SEQUENCE)?; // The signature's algorithm.
    let (issuer, body) = expect(body, SEQUENCE)?;
    let (validity, body) = expect(body, SEQUENCE)?;
    let (subject, _) = expect(body, SEQUENCE)?;
    Some(Summary {
        subject: name(subject),
        issuer: name(issuer),
        validity: read_validity(validity),
    })
}

fn read_validity(field: &[u8]) -> Option<Validity> {
    let (tag, text, after) = element(field)?;
    let begins = time(tag, text)?;
    let (tag, text, _) = element(after)?;
    Some(Validity { begins, ends: time(tag, text)? })
}

/// One element: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Longer than 4 bytes of length is no certificate.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |n, digit| n << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(tag, ..)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

/// "R11 (Let's Encrypt)": the common name, with the organization where there is one.
fn name(mut rdns: &[u8]) -> String {
    let (mut common, mut organization) = (None, None);
    while let Some((mut set, rest)) = expect(rdns, SET) {
        while let Some((pair, others)) = expect(set, SEQUENCE) {
            if let Some((oid, value)) = expect(pair, OID)
                && let Some((_, text, _)) = element(value)
            {
                match oid {
                    COMMON_NAME => common = Some(readable(text)),
                    ORGANIZATION => organization = Some(readable(text)),
                    _ => {}
                }
            }
            set = others;
        }
        rdns = rest;
    }
    match (common, organization) {
        (Some(common), Some(organization)) if common != organization => {
            format!("{common} ({organization})")
        }
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => "an unnamed authority".to_owned(),
    }
}

/// A remote party wrote this.
fn readable(text: &[u8]) -> String {
    plain::squeezed(&String::from_utf8_lossy(text), CERTIFICATE_NAME_BYTES_MAX)
}

/// UTCTime `YYMMDDHHMMSSZ` or GeneralizedTime `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<Stamp> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let full = match tag {
        UTC_TIME if text.len() == 13 => {
            let century = if text[..2].parse::<u8>().ok()? < 50 { "20" } else { "19" };
            format!("{century}{text}")
        }
        GENERALIZED_TIME if text.len() == 15 => text.to_owned(),
        _ => return None,
    };
    Stamp::parse(&format!(
        "{}-{}-{}T{}:{}:{}Z",
        &full[..4],
        &full[4..6],
        &full[6..8],
        &full[8..10],
        &full[10..12],
        &full[12..14]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["edge.test".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "R11");
        params.distinguished_name.push(DnType::OrganizationName, "Let's\u{7}\u{61c}\u{e0041}Test");
        params.not_after = date_time_ymd(2031, 2, 3);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_tells_who_signed_it_and_until_when() {
        let summary = summary(&certificate()).unwrap();
        assert_eq!(summary.issuer, "R11 (Let's Test)");
        assert_eq!(summary.subject, summary.issuer);
        let validity = summary.validity.unwrap();
        assert_eq!(validity.begins, Stamp::parse("1975-01-01T00:00:00Z").unwrap());
        assert_eq!(validity.ends, Stamp::parse("2031-02-03T00:00:00Z").unwrap());
        assert!(validity.holds(validity.begins) && validity.holds(validity.ends));
        assert!(!validity.holds(validity.ends + crate::time::Span::seconds(1)));
    }

    #[test]
    fn a_name_that_is_its_organizations_too_is_told_once() {
        let named = |common: Option<&str>, organization: Option<&str>| {
            let mut params = CertificateParams::new(vec!["edge.test".to_owned()]).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            let both = [(DnType::CommonName, common), (DnType::OrganizationName, organization)];
            for (kind, name) in both {
                name.into_iter()
                    .for_each(|name| params.distinguished_name.push(kind.clone(), name));
            }
            let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
            summary(&der).unwrap().issuer
        };
        assert_eq!(named(Some("Acme"), Some("Acme")), "Acme");
        assert_eq!(named(Some("R11"), Some("Acme")), "R11 (Acme)");
        assert_eq!(named(None, Some("Acme")), "Acme");
        assert_eq!(named(None, None), "an unnamed authority");
    }

    #[test]
    fn no_cut_and_no_flipped_byte_makes_it_panic() {
        let der = certificate();
        for end in 0..der.len() {
            let _ = summary(&der[..end]);
        }
        for at in 0..der.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = der.clone();
                bad[at] ^= flip;
                let _ = summary(&bad);
            }
        }
    }

    #[test]
    fn both_forms_of_time_are_read() {
        assert_eq!(time(UTC_TIME, b"491231235959Z"), Stamp::parse("2049-12-31T23:59:59Z"));
        assert_eq!(time(UTC_TIME, b"500101000000Z"), Stamp::parse("1950-01-01T00:00:00Z"));
        assert_eq!(
            time(GENERALIZED_TIME, b"20500101000000Z"),
            Stamp::parse("2050-01-01T00:00:00Z")
        );
        assert_eq!(time(UTC_TIME, b"5001010000Z"), None);
        for other in ["205001010000Z", "20500101000000", "20500101000000.5Z", "2050010100000Z0"] {
            assert_eq!(time(GENERALIZED_TIME, other.as_bytes()), None, "{other}");
        }
    }
}
