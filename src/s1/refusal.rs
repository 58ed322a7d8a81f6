//! What a rejection (401, 403, 451) is about: the token, a permission, the scope, or the address.
//!
//! ```text
//!   no JSON (HTML, text, nothing), or 451      something in front of the console: Address
//!   JSON, "try again later", "too many..."     none: it passes (`is_passing`)
//!   JSON, of an address, a network, a WAF      Address (`blocked`)
//!   JSON, 401, in the console's form           Token; on a stream only a doubt of it
//!   JSON, 401, in another form                 Address: a gateway's or a proxy's
//!   JSON, 403, of permissions, or no detail    Permission
//!   JSON, 403, of a scope, product or license  Scope
//!   JSON, 403, anything else                   none: what it is about is not known
//! ```
//!
//! Promises: one pure function for the daemon and for `check`; the words are those of the service.
//! Never: finds a token bad for an answer that the console's API did not give, or for a 403: that the
//! words of a 403 speak of a token, a session or its scope does not make the token bad, and to replace it
//! ends the old one.

use serde_json::Value;

use super::words;
use crate::answer::page_text;
use crate::blocked::is_of_address;
use crate::record::{Answer, Refusal, Refused};

/// What is rejected; `None`: the answer is no rejection, or it does not say of what.
pub fn of(answer: &Answer) -> Option<Refusal> {
    if !matches!(answer.status, 401 | 403 | 451) || is_passing(answer) {
        return None;
    }
    let what = match (answer.status, api_error(answer)) {
        (451, _) | (_, None) => Refused::Address,
        _ if is_of_address(answer) => Refused::Address,
        (status, Some(json)) => of_json(status, &json)?,
    };
    Some(Refusal { what, ..by_another(answer) })
}

/// Whether a 401 or 403 asks for patience: what it says of a credential then need not be so.
pub fn is_passing(answer: &Answer) -> bool {
    const PASSING: &[&str] =
        &["again later", "again in ", "temporar", "too many requests", "rate limit", "throttl"];
    let json = api_error(answer).filter(|_| matches!(answer.status, 401 | 403));
    json.is_some_and(|_| {
        let text = String::from_utf8_lossy(&answer.body).to_lowercase();
        PASSING.iter().any(|phrase| text.contains(phrase))
    })
}

/// What something in front of the console refuses, whatever its status is.
pub fn by_another(answer: &Answer) -> Refusal {
    let words = match api_error(answer) {
        Some(_) => words::of_body(&answer.body),
        None => page_text(&answer.body),
    };
    let words = match words.as_str() {
        "" => format!("HTTP {}, without a word", answer.status),
        words => format!("HTTP {}: {words}", answer.status),
    };
    Refusal { what: Refused::Address, words }
}

/// The body of an answer that the API can have given: a JSON object that is not called a web page.
pub fn api_error(answer: &Answer) -> Option<Value> {
    let said = answer.content_type.as_deref().unwrap_or("").to_ascii_lowercase();
    let json: Value = serde_json::from_slice(&answer.body).ok()?;
    (json.is_object() && !said.contains("html")).then_some(json)
}

/// What a rejection says for which no role helps.
const SCOPE: &[&str] = &[
    "scope",
    "site user",
    "account user",
    "global",
    "enabled",
    "available",
    "license",
    "subscription",
    "entitle",
];

fn of_json(status: u16, json: &Value) -> Option<Refused> {
    let text = reasons(json);
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    let is_consoles = is_consoles(json);
    Some(match status {
        401 if is_consoles => Refused::Token,
        401 => Refused::Address,
        _ if text.is_empty() && is_consoles => Refused::Permission,
        _ if says(&["permission", "privilege"]) => Refused::Permission,
        _ if says(SCOPE) => Refused::Scope,
        // Words that say no more than the status does.
        _ if says(&["access denied", "forbidden", "unauthorized", "not authorized"]) => {
            Refused::Permission
        }
        _ => return None,
    })
}

/// Whether a rejection has the form of the console's own: a list of errors that are objects.
fn is_consoles(json: &Value) -> bool {
    json["errors"][0].is_object()
}

/// Why each error of an answer is one, in small letters: its detail, or its title where it has none.
fn reasons(json: &Value) -> String {
    let errors = json.get("errors").unwrap_or(json);
    let list = errors.as_array().map_or(std::slice::from_ref(errors), Vec::as_slice);
    let reason = |error: &Value| {
        let member = |name: &&str| {
            let value = error.get(*name)?;
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (!value.is_null() && !text.trim().is_empty()).then_some(text)
        };
        let told = ["detail", "title", "message", "error"].iter().find_map(member);
        told.or_else(|| error.as_str().map(str::to_owned)).unwrap_or_default()
    };
    list.iter().map(reason).collect::<Vec<_>>().join(" ").trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/json";
    const HTML: &str = "text/html; charset=utf-8";

    fn refused(status: u16, content_type: &str, body: &str) -> Option<(Refused, String)> {
        let answer = Answer {
            status,
            content_type: (!content_type.is_empty()).then(|| content_type.to_owned()),
            body: body.as_bytes().to_vec(),
            ..Answer::default()
        };
        of(&answer).map(|refusal| (refusal.what, refusal.words))
    }

    fn error(code: u32, title: &str, detail: &str) -> String {
        format!(r#"{{"errors":[{{"code":{code},"detail":{detail},"title":"{title}"}}]}}"#)
    }

    #[test]
    fn a_json_refusal_is_told_by_its_detail() {
        use Refused::*;
        let insufficient = "Insufficient permissions";
        for (status, title, detail, what) in [
            (401, "Authentication Failed", "null", Token),
            (401, "Unauthorized", "\"An error occurred.\"", Token),
            (401, "Unauthorized", "\"Your IP address is not allowed\"", Address),
            (403, insufficient, "null", Permission),
            (403, insufficient, "\"\"", Permission),
            (403, insufficient, "\"User does not have required permissions.\"", Permission),
            (403, "Forbidden", "null", Permission),
            (403, "Forbidden", "\"Access denied\"", Permission),
            (403, "Forbidden", "\"This scope does not have Custom Rules enabled.\"", Scope),
            (403, "This scope does not have Custom Rules enabled.", "null", Scope),
            (403, insufficient, "\"Action is not allowed to site users\"", Scope),
            (403, insufficient, "\"Action limited to global admins.\"", Scope),
            (403, insufficient, "\"Feature X is not available for the scope\"", Scope),
            (
                403,
                insufficient,
                "\"User scope level is account. Please provide a valid id\"",
                Scope,
            ),
            (403, "Forbidden", "\"Your license does not include this\"", Scope),
            (403, "Forbidden", "\"Invalid permissions for this API token\"", Permission),
            (403, "Forbidden", "\"The scope of the API token is not valid here\"", Scope),
            (403, insufficient, "\"Missing permission: Blocklist: View\"", Permission),
            (403, insufficient, "\"Missing permission: Network Policy: View\"", Permission),
            (
                403,
                insufficient,
                "\"User a@b.c (203.0.113.7) does not have the required permission\"",
                Permission,
            ),
            (403, insufficient, "\"Your IP address has no permission\"", Address),
            (403, insufficient, "\"IP address not allowed\"", Address),
            (403, "IP address not allowed", "null", Address),
            (401, "Unauthorized", "\"Denied by network policy\"", Address),
            (403, insufficient, "\"Request blocked by WAF\"", Address),
            (403, "Forbidden", "\"Access from your location is not permitted\"", Address),
            (403, "Forbidden", "\"Access blocked by security policy\"", Address),
            (403, insufficient, "\"User lacks the permission Firewall Control\"", Permission),
            (403, insufficient, "\"Firewall Control is not in the scope\"", Scope),
            (401, "Unauthorized", "\"The user is blocked\"", Token),
            (401, "Unauthorized", "\"Wrong token, please try again\"", Token),
            (403, insufficient, "\"Source is not in the allowlist\"", Address),
            (451, "Unavailable", "null", Address),
        ] {
            let body = error(status * 10_000 + 10, title, detail);
            let status = u16::try_from(status).unwrap();
            let found = refused(status, JSON, &body).unwrap();
            assert_eq!(found.0, what, "{body}");
            assert!(found.1.starts_with(&format!("HTTP {status}: {title} (")), "{found:?}");
            assert_eq!(found.1.contains(detail.trim_matches('"')), detail != "null", "{found:?}");
        }
        for (body, what) in [
            (r#"{"message":"Forbidden"}"#, Permission),
            (r#"{"errors":["no IP like this"]}"#, Address),
            (r#"{"status":403,"error":"Forbidden","path":"/x"}"#, Permission),
            (
                r#"{"errors":[{"title":"Forbidden"}],"request":{"remote":"203.0.113.7"}}"#,
                Permission,
            ),
        ] {
            assert_eq!(refused(403, JSON, body).unwrap().0, what, "{body}");
            assert_eq!(refused(403, "", body).unwrap().0, what, "{body}");
        }
    }

    #[test]
    fn a_401_in_another_form_is_not_the_consoles() {
        for body in [
            "{}",
            r#"{"message":"Jwt is missing"}"#,
            r#"{"error":"login_required","login_url":"https://sso.example/login"}"#,
            r#"{"errors":["Unauthorized"]}"#,
        ] {
            assert_eq!(refused(401, JSON, body).unwrap().0, Refused::Address, "{body}");
        }
    }

    #[test]
    fn a_403_in_words_that_are_not_known_is_about_nothing_that_is_known() {
        let detail = |words: &str| error(4_030_010, "Forbidden", &format!("\"{words}\""));
        for body in [
            "{}",
            r#"{"errors":[]}"#,
            r#"{"message":"The API token has expired"}"#,
            &detail("The account has expired"),
            &detail("The API token has expired"),
            &detail("CSRF token missing or invalid"),
            &detail("Session token expired; please log in again"),
            &detail("Two factor authentication required"),
            &detail("Something that was never seen"),
        ] {
            assert_eq!(refused(403, JSON, body), None, "{body}");
        }
    }

    #[test]
    fn what_asks_for_patience_is_no_refusal() {
        for (status, words) in [
            (401, "Authentication is temporarily unavailable"),
            (401, "Please try again later"),
            (403, "Too many requests, rate limit exceeded"),
        ] {
            let body = error(u32::from(status) * 10_000 + 10, "t", &format!("\"{words}\""));
            assert_eq!(refused(status, JSON, &body), None, "{body}");
            let answer = Answer { status, body: body.into_bytes(), ..Answer::default() };
            assert!(is_passing(&answer), "{words}");
        }
    }

    #[test]
    fn an_address_beside_the_consoles_words_refuses_no_address() {
        for detail in ["null", "\"token of user from 203.0.113.7 is not valid\""] {
            let error = error(4_010_010, "Authentication Failed", detail);
            let body = error.replacen('{', r#"{"version":"23.4.1.7","#, 1);
            assert_eq!(refused(401, JSON, &body).unwrap().0, Refused::Token, "{body}");
        }
    }

    #[test]
    fn what_is_no_json_is_not_the_consoles_word() {
        let page = "<html><head><title>403</title><style>b{}</style></head><body>\
                    <h1>Access denied</h1> Your IP address is not allowed</body></html>";
        let json = error(4_010_010, "Authentication Failed", "null");
        for status in [401, 403, 451] {
            for (content_type, body, words) in [
                (HTML, page, "403 Access denied Your IP address is not allowed"),
                ("", page, "403 Access denied Your IP address is not allowed"),
                ("text/plain", "blocked by policy", "blocked by policy"),
                (JSON, "[]", "[]"),
                (JSON, "{\"errors\":", "{\"errors\":"),
                (HTML, json.as_str(), json.as_str()),
            ] {
                let told = format!("HTTP {status}: {words}");
                assert_eq!(refused(status, content_type, body), Some((Refused::Address, told)));
            }
            let told = format!("HTTP {status}, without a word");
            assert_eq!(refused(status, "", " \n"), Some((Refused::Address, told)));
        }
    }

    #[test]
    fn only_401_403_and_451_are_refusals_and_words_alone_make_only_401_the_tokens() {
        let body = error(1, "Forbidden", "null");
        for status in 0..=999 {
            let found = refused(status, JSON, &body);
            assert_eq!(found.is_some(), matches!(status, 401 | 403 | 451), "{status}");
            assert_eq!(found.is_some_and(|found| found.0 == Refused::Token), status == 401);
        }
    }
}
