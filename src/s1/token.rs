//! When a token ends, from the token itself or from what SentinelOne says of it.
//!
//! Promises: reads only; a text that is not understood is `None`, for the end is a convenience and
//! no condition of work. Never: judges a token; only SentinelOne does.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use crate::json;
use crate::time::Stamp;

/// RFC 7515 leaves the padding out; some issuers keep it.
const JWT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The `exp` of a JWT (RFC 7519 section 4.1.4: seconds, a fraction is allowed).
pub fn jwt_end(token: &str) -> Option<Stamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: serde_json::Number,
    }
    let mut parts = token.trim().split('.');
    let (_header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims: Claims = json::read(&JWT_BASE64.decode(claims).ok()?).ok()?;
    let seconds = claims.exp.as_i64().or_else(|| claims.exp.as_f64().map(|s| s as i64))?;
    (seconds > 0).then(|| Stamp::from_seconds(seconds))
}

/// `expiresAt` of the answer to `POST users/api-token-details`.
pub fn details_end(body: &[u8]) -> Option<Stamp> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Details {
        expires_at: String,
    }
    #[derive(Deserialize)]
    struct Envelope {
        data: Details,
    }
    super::words::check(body).ok()?;
    let envelope: Envelope = json::read(body).ok()?;
    super::stamp::read(&envelope.data.expires_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn the_end_of_a_jwt_is_read_and_anything_else_has_none() {
        let end = Some(Stamp::from_seconds(1_800_000_000));
        assert_eq!(jwt_end(&jwt(r#"{"sub":"a?>","exp":1800000000,"type":"x"}"#)), end);
        assert_eq!(jwt_end(&jwt(r#"{"exp":1800000000.75}"#)), end);
        let padded = base64::engine::general_purpose::URL_SAFE.encode(r#"{"exp":1800000000 }"#);
        assert_eq!(jwt_end(&format!("e30.{padded}.c2ln")), end);
        for token in [
            String::new(),
            "2800792076".repeat(8),
            "a.b".to_owned(),
            "a.b.c".to_owned(),
            "a.b.c.d".to_owned(),
            jwt(r#"{"sub":"a"}"#),
            jwt(r#"{"exp":"soon"}"#),
            jwt(r#"{"exp":-1}"#),
        ] {
            assert_eq!(jwt_end(&token), None, "{token}");
        }
    }

    #[test]
    fn the_end_that_sentinelone_tells_is_read() {
        let body = br#"{"data":{"createdAt":"2026-01-01T00:00:00.5Z","expiresAt":"2026-07-01T00:00:00Z"}}"#;
        assert_eq!(details_end(body), Stamp::parse("2026-07-01T00:00:00Z"));
        let naive = br#"{"data":{"expiresAt":"2026-07-01 00:00:00"}}"#;
        assert_eq!(details_end(naive), Stamp::parse("2026-07-01T00:00:00Z"));
        let failed = r#"{"data":{"expiresAt":"2026-07-01T00:00:00Z"},"errors":[{"title":"no"}]}"#;
        let nothing = ["", "null", "{\"data\":null}", "{\"data\":{\"expiresAt\":null}}", "<html>"];
        for body in nothing.into_iter().chain([failed]) {
            assert_eq!(details_end(body.as_bytes()), None, "{body}");
        }
    }
}
