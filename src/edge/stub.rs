//! What the edge needs of SentinelOne's API: paths, one body, and a token's own end.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::record::{Cursor, Kind};
use crate::secret::Secret;
use crate::time::Stamp;

pub const SYSTEM_INFO_PATH: &str = "/web/api/v2.1/system/info";
pub const TOKEN_DETAILS_PATH: &str = "/web/api/v2.1/users/api-token-details";

/// A secret is visible ASCII, but a quote or backslash in it would still break the JSON.
pub fn token_details_body(token: &Secret) -> Vec<u8> {
    serde_json::json!({ "data": { "apiToken": token.reveal() } }).to_string().into_bytes()
}

/// One page of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub kind: Kind,
    pub from: Stamp,
    pub cursor: Option<&'a Cursor>,
    pub rows_max: u32,
}

/// Path and query of a first page.
pub fn page_path(query: &Query<'_>) -> String {
    let (list, filter, sort) = match query.kind {
        Kind::Threats => ("threats", "updatedAt__gte", "updatedAt"),
        Kind::Activities => ("activities", "createdAt__gte", "createdAt"),
        Kind::Alerts => ("cloud-detection/alerts", "reportedAt__gte", "alertInfoReportedAt"),
    };
    assert!(query.cursor.is_none(), "only first pages are asked for here");
    format!(
        "/web/api/v2.1/{list}?{filter}={}&sortBy={sort}&sortOrder=asc&limit={}&skipCount=true",
        query.from.to_string().replace(':', "%3A"),
        query.rows_max,
    )
}

/// The `exp` of a JSON Web Token; tokens of the older form have none.
pub fn jwt_end(token: &str) -> Option<Stamp> {
    let claims = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims.get("exp")?.as_f64().map(|seconds| Stamp::from_seconds(seconds as i64))
}

/// `data.expiresAt` of the answer to `TOKEN_DETAILS_PATH`.
pub fn details_end(body: &[u8]) -> Option<Stamp> {
    let details: serde_json::Value = serde_json::from_slice(body).ok()?;
    Stamp::parse(details.get("data")?.get("expiresAt")?.as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_end_is_read_from_both_places() {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"sub":"u","exp":1893456000}"#);
        let token = format!("eyJh.{claims}.c2ln");
        assert_eq!(jwt_end(&token), Some(Stamp::from_seconds(1_893_456_000)));
        assert_eq!(jwt_end("2800792076abc"), None);
        let body = br#"{"data":{"createdAt":"x","expiresAt":"2030-01-01T00:00:00Z"}}"#;
        assert_eq!(details_end(body), Some(Stamp::from_seconds(1_893_456_000)));
        assert_eq!(details_end(b"<html>"), None);
        let token = Secret::new("a\"b").unwrap();
        assert_eq!(token_details_body(&token), br#"{"data":{"apiToken":"a\"b"}}"#);
    }
}
