//! Whether a refusal is about where a request comes from: an address, a network, a country, or what
//! a firewall thinks of it. The same for both services, whoever words it, in JSON or in plain text.
//!
//! ```text
//!   "IP", an allow list, WAF, a country, a network policy                 so, whatever else is said
//!   203.0.113.7                                                           so, unless it says that a
//!                                                                         credential is bad
//!   "blocked", "firewall", "location", "proxy", "your network"            so, unless it speaks of a
//!                                                                         role, a scope or a credential
//! ```
//!
//! Promises: pure; of a JSON value only the members count that say why. Never: takes a link, a version
//! or a member that describes the request for a reason; finds a credential bad or good.

use std::net::IpAddr;

use serde_json::Value;

use crate::record::Answer;

/// One of these words or phrases is enough.
const CERTAIN: &[&str] = &[
    "access policy",
    "allow list",
    "allowlist",
    "allowlisted",
    "blacklisted",
    "captcha",
    "cidr",
    "cidrs",
    "client address",
    "cloudflare",
    "cloudfront",
    "countries",
    "country",
    "deny list",
    "denylist",
    "embargo",
    "embargoed",
    "geo",
    "geoblock",
    "geoblocked",
    "geofence",
    "geographic",
    "geographical",
    "geoip",
    "geolocation",
    "imperva",
    "incapsula",
    "ip",
    "ips",
    "ipv4",
    "ipv6",
    "network zone",
    "proxy authentication",
    "remote address",
    "sanctioned",
    "security rule",
    "source address",
    "subnet",
    "support id",
    "this address",
    "trusted network",
    "trusted networks",
    "untrusted network",
    "waf",
    "white list",
    "whitelist",
    "whitelisted",
    "your address",
    "your location",
    "your region",
];
/// These are names of products and permissions too.
const LIKELY: &[&str] = &[
    "automated traffic",
    "blacklist",
    "block list",
    "blocked",
    "blocking",
    "blocklist",
    "bot",
    "by policy",
    "conditional access",
    "firewall",
    "from outside",
    "location",
    "network policies",
    "network policy",
    "perimeter",
    "proxy",
    "security policy",
    "suspicious activity",
    "this network",
    "tor",
    "vpn",
    "your network",
];
/// With one of these a likely word is about something else.
const OF_A_CREDENTIAL: &[&str] = &[
    "account",
    "api key",
    "content",
    "credential",
    "credentials",
    "enabled",
    "feature",
    "key",
    "license",
    "licence",
    "password",
    "permission",
    "permissions",
    "privilege",
    "privileges",
    "role",
    "roles",
    "scope",
    "scopes",
    "token",
    "user",
    "users",
];
/// With one of these, words of a credential say that it is bad or lacks something; an address beside
/// them only tells whose it was.
const IS_BAD: &[&str] = &[
    "disabled",
    "does not have",
    "expired",
    "invalid",
    "lacks",
    "missing",
    "not found",
    "not valid",
    "required",
    "revoked",
    "unauthorized",
    "unknown",
    "wrong",
];
/// How the name of a member ends whose value says why. What others hold describes the request, the
/// server or the client.
const REASONS: &[&str] = &[
    "cause",
    "code",
    "description",
    "detail",
    "details",
    "error",
    "errors",
    "faultstring",
    "message",
    "messages",
    "msg",
    "reason",
    "reasons",
    "title",
];

/// Whether what an answer says is about the place that it was asked from.
pub fn is_of_address(answer: &Answer) -> bool {
    let whole: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let mut text = String::new();
    match &whole {
        Some(value) => gather(value, &mut text),
        None => text.push_str(&String::from_utf8_lossy(&answer.body)),
    }
    says_address(&text)
}

fn says_address(text: &str) -> bool {
    let text = text.to_lowercase();
    // A link leads elsewhere.
    let text: Vec<&str> = text.split_whitespace().filter(|word| !word.contains("://")).collect();
    let text = text.join(" ");
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let line = format!(" {} ", words.join(" "));
    let has = |phrases: &[&str]| phrases.iter().any(|one| line.contains(&format!(" {one} ")));
    let is_credential = has(OF_A_CREDENTIAL);
    let is_bad = is_credential && has(IS_BAD) || has(&["authentication failed"]);
    has(CERTAIN) || has(LIKELY) && !is_credential || has_address(&text) && !is_bad
}

fn has_address(text: &str) -> bool {
    let is_edge = |c: char| !c.is_alphanumeric() && !matches!(c, '.' | ':');
    let mut before = "";
    text.split(is_edge).any(|word| {
        let word = word.trim_end_matches(['.', ':']);
        let is_version = matches!(std::mem::replace(&mut before, word), "version" | "release");
        !is_version && word.contains(['.', ':']) && word.len() > 2 && word.parse::<IpAddr>().is_ok()
    })
}

/// The texts of a value that say why, without the names of its members.
fn gather(value: &Value, text: &mut String) {
    match value {
        Value::String(one) => {
            text.push_str(one);
            text.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, text)),
        Value::Object(members) => {
            for (name, value) in members {
                let name = name.to_lowercase();
                if has_objects(value) || REASONS.iter().any(|end| name.ends_with(end)) {
                    gather(value, text);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether its members tell by their own names what they are.
fn has_objects(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(has_objects),
        value => value.is_object(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_of(body: &str) -> bool {
        is_of_address(&Answer { status: 403, body: body.into(), ..Answer::default() })
    }

    #[test]
    fn refusals_of_a_place_are_told_in_json_and_in_text() {
        for text in [
            "Your IP address is not allowed",
            "Requests from 203.0.113.7 are not allowed",
            "2001:db8::7 may not connect.",
            "not in the allow list",
            "Source is not whitelisted",
            "Request blocked by WAF",
            "Access blocked by security policy",
            "The request was blocked.",
            "Access denied: your country is not served",
            "Not available in your region",
            "Access from your location is not permitted",
            "denied by network policy",
            "Connections from this network are not allowed",
            "Firewall rule 12",
            "Blocked by Cloudflare",
            "The requested URL was rejected. Your support ID is 123",
            "Proxy authentication required",
            "VPN users are not served: IP 10.0.0.1",
            "The API key may not be used from 203.0.113.7",
            "This token is not valid from this IP",
        ] {
            for body in [
                text.to_owned(),
                serde_json::json!({"message": text}).to_string(),
                serde_json::json!({"errors": [{"title": "Forbidden", "detail": text}]}).to_string(),
                serde_json::json!({"error": {"reason": [text]}}).to_string(),
                serde_json::json!({"error_description": text}).to_string(),
                serde_json::json!({"errors": [text]}).to_string(),
                serde_json::json!([text]).to_string(),
            ] {
                assert!(is_of(&body), "{body}");
            }
        }
    }

    #[test]
    fn refusals_of_a_credential_are_not() {
        for body in [
            "",
            "{}",
            "Forbidden",
            "Unauthorized",
            "Authentication Failed",
            "invalid API key",
            "the key is of another region",
            "Insufficient permissions",
            "User does not have the permission Firewall Control",
            "This scope does not have Network Quarantine enabled.",
            "The user is blocked",
            "API key blocked",
            "token blocked by policy",
            "Action is not allowed to site users",
            "forbidden content",
            "released in version 1.2.3",
            "at 12:30",
            r#"{"ip":false,"message":"Forbidden"}"#,
            r#"{"message":"Unauthorized","version":"2.14.0.3"}"#,
            r#"{"message":"Invalid API key","clientIp":"203.0.113.7"}"#,
            r#"{"message":"API key revoked","docs":"https://x/ip"}"#,
            r#"{"message":"API key revoked, see https://x.example/ip/203.0.113.7"}"#,
            r#"{"error":"key not found","instance":"10.2.3.4:8080"}"#,
            r#"{"error":{"message":"Forbidden","request":{"remote":"203.0.113.7"}}}"#,
            r#"{"errors":[{"detail":"token of user from 203.0.113.7 is not valid"}]}"#,
            "Authentication failed for 203.0.113.7",
            "Unauthorized. Gateway version 2.14.0.3",
            "Gateway v2.14.0.3: unauthorized",
        ] {
            assert!(!is_of(body), "{body}");
        }
    }
}
