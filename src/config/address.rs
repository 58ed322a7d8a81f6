//! Addresses as people paste them, to scheme and authority.
//!
//! Promises: what is returned has a scheme, a host in lower case, no path and no trailing slash.
//! Never: echoes a text that may hold a password; looks a name up.

use crate::config::units::ValueError;
use crate::message;
use crate::secret::Secret;

/// Coralogix's regions: the domain and the end of the host name that the browser shows.
/// Source: Coralogix documentation, "Coralogix domain". EU1's pages stand directly below
/// coralogix.com and are told apart by `is_eu1_page`.
const REGIONS: [(&str, &str); 9] = [
    ("us1.coralogix.com", "app.coralogix.us"),
    ("us2.coralogix.com", "app.cx498.coralogix.com"),
    ("us3.coralogix.com", "app.us3.coralogix.com"),
    ("eu1.coralogix.com", "app.eu1.coralogix.com"),
    ("eu2.coralogix.com", "app.eu2.coralogix.com"),
    ("ap1.coralogix.com", "app.coralogix.in"),
    ("ap2.coralogix.com", "app.coralogixsg.com"),
    ("ap3.coralogix.com", "app.ap3.coralogix.com"),
    ("gov1.coralogixgov.us", "app.gov1.coralogixgov.us"),
];

/// Paths that people paste with the ingest address, and that the collector adds itself.
const INGEST_PATHS: [&str; 3] = ["", "/logs/v1/singles", "/logs/v1/bulk"];

/// Whether `http://` may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    Allowed,
    Refused,
}

/// Reads a SentinelOne console's address, whichever of its pages was pasted.
pub fn tenant(text: &str, plain: Plain) -> Result<String, ValueError> {
    const HINT: &str =
        "copy the console's address from the browser, e.g. https://usea1-acme.sentinelone.net";
    let address = Address::read(text, HINT)?;
    address.refuse_plain(plain)?;
    if address.host.contains("coralogix") {
        return Err(ValueError::new(
            message::TENANT_IS_CORALOGIX,
            "this is an address of Coralogix, not of SentinelOne",
            HINT,
        ));
    }
    if address.scheme.is_none() && !address.host.contains(['.', '[']) {
        let hint = format!("the whole name may be {}.sentinelone.net", address.host);
        return Err(ValueError::new(
            message::ADDRESS_MISREAD,
            "this is not a complete host name",
            hint,
        ));
    }
    Ok(address.origin())
}

/// Reads the whole address of an ingest endpoint.
pub fn coralogix_url(text: &str, plain: Plain) -> Result<String, ValueError> {
    const HINT: &str = "e.g. https://ingress.eu2.coralogix.com";
    let address = Address::read(text, HINT)?;
    address.refuse_plain(plain)?;
    refuse_other_hosts(&address.host)?;
    let path = address.path.trim_end_matches('/');
    if !INGEST_PATHS.contains(&path) || address.has_query {
        return Err(ValueError::new(
            message::ADDRESS_MISREAD,
            "this address has a path",
            "write scheme and host only; the path of the API is added",
        ));
    }
    if address.scheme.is_none() && !address.host.contains(['.', '[']) {
        return Err(ValueError::new(
            message::ADDRESS_MISREAD,
            "this is not a complete host name",
            HINT,
        ));
    }
    Ok(address.origin())
}

/// Reads a region's domain to the address of its ingest endpoint.
pub fn coralogix_domain(text: &str) -> Result<String, ValueError> {
    const HINT: &str = "e.g. \"eu2.coralogix.com\"";
    let address = Address::read(text, HINT)?;
    let host = address.host.strip_prefix("ingress.").unwrap_or(&address.host);
    if let Some((domain, _)) =
        REGIONS.iter().find(|(domain, _)| domain.split('.').next() == Some(host))
    {
        let hint = format!("write \"{domain}\"");
        return Err(ValueError::new(
            message::DOMAIN_MISREAD,
            format!("{host:?} is a region, not a domain"),
            hint,
        ));
    }
    refuse_other_hosts(host)?;
    if address.port.is_some() {
        let hint = "write the full URL as coralogix.url instead";
        return Err(ValueError::new(message::DOMAIN_MISREAD, "a domain has no port", hint));
    }
    if !host.contains('.') || host.contains('[') {
        return Err(ValueError::new(
            message::DOMAIN_MISREAD,
            format!("{host:?} is not a domain"),
            HINT,
        ));
    }
    if !INGEST_PATHS.contains(&address.path.trim_end_matches('/')) || address.has_query {
        return Err(ValueError::new(message::DOMAIN_MISREAD, "a domain has no path", HINT));
    }
    Ok(format!("https://ingress.{host}"))
}

/// Reads a proxy's address. It may hold a password, so nothing of it is ever shown.
pub fn proxy(text: &str) -> Result<Secret, ValueError> {
    const HINT: &str = "e.g. \"http://proxy.example.com:3128\" or, with a name and password, \
                        \"http://user:password@proxy.example.com:3128\" (write @ : / in them as \
                        %40 %3A %2F)";
    let text = text.trim();
    let (scheme, rest) = split_scheme(text);
    if !scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case("http")) {
        return Err(ValueError::new(
            message::PROXY_MISREAD,
            "only proxies with an http:// address are supported",
            HINT,
        ));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    // The texts of the inner errors may hold the place, which may be part of a password.
    let not_an_address =
        |_| ValueError::new(message::PROXY_MISREAD, "this is not the address of a proxy", HINT);
    let (host, port) = host_and_port(place, HINT).map_err(not_an_address)?;
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Secret::new(&format!("http://{user}{host}{port}")).map_err(|_| {
        ValueError::new(
            message::PROXY_MISREAD,
            "the address of the proxy has a character that is not allowed in a URL",
            HINT,
        )
    })
}

/// Whether a proxy's address holds a password.
pub fn has_user(proxy: &Secret) -> bool {
    proxy.reveal().contains('@')
}

/// A proxy's address for people, with `***` for its name and password.
pub fn without_user(proxy: &Secret) -> String {
    match proxy.reveal().rsplit_once('@') {
        Some((_, place)) => format!("http://***@{place}"),
        None => proxy.reveal().to_owned(),
    }
}

/// An address taken apart.
struct Address<'t> {
    /// In lower case, as typed; `None`: no scheme was typed.
    scheme: Option<String>,
    host: String,
    port: Option<u16>,
    path: &'t str,
    has_query: bool,
}

impl<'t> Address<'t> {
    fn read(text: &'t str, hint: &str) -> Result<Address<'t>, ValueError> {
        let (scheme, rest) = split_scheme(text.trim());
        let scheme = scheme.map(str::to_ascii_lowercase);
        if let Some(scheme) = scheme.as_deref().filter(|scheme| !["http", "https"].contains(scheme))
        {
            return Err(ValueError::new(
                message::ADDRESS_MISREAD,
                format!("{scheme:?} is not a scheme of the web"),
                hint,
            ));
        }
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        if scheme.is_none() && ["http:", "https:"].contains(&&rest[..end]) {
            return Err(ValueError::new(
                message::ADDRESS_MISREAD,
                "the scheme must be followed by two slashes",
                hint,
            ));
        }
        let (authority, tail) = rest.split_at(end);
        if text.contains('@') && authority.contains('@') {
            return Err(ValueError::new(
                message::ADDRESS_WITH_USER,
                "a user name or password is not allowed in this address",
                hint,
            ));
        }
        let path = tail.split(['?', '#']).next().unwrap_or("");
        let has_query = path.len() < tail.len();
        let (host, port) = host_and_port(authority, hint)?;
        let standard = if scheme.as_deref() == Some("http") { 80 } else { 443 };
        let port = port.filter(|port| *port != standard);
        Ok(Address { scheme, host, port, path, has_query })
    }

    fn refuse_plain(&self, plain: Plain) -> Result<(), ValueError> {
        if self.scheme.as_deref() == Some("http") && plain == Plain::Refused {
            return Err(ValueError::new(
                message::ADDRESS_PLAIN,
                "http:// would send the credential unencrypted",
                "write https://; for tests only, network.allow_http = true allows it",
            ));
        }
        Ok(())
    }

    fn origin(&self) -> String {
        let scheme = self.scheme.as_deref().unwrap_or("https");
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{}{port}", self.host)
    }
}

fn split_scheme(text: &str) -> (Option<&str>, &str) {
    match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    }
}

fn host_and_port(authority: &str, hint: &str) -> Result<(String, Option<u16>), ValueError> {
    let (host, port) = match authority.rfind(']') {
        Some(end) => authority.split_at(end + 1),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some("") => None,
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => {
                return Err(ValueError::new(
                    message::ADDRESS_MISREAD,
                    "the port is not a number from 1 to 65535",
                    hint,
                ));
            }
        },
        None => {
            return Err(ValueError::new(message::ADDRESS_MISREAD, "this is not an address", hint));
        }
    };
    if is_host(&host) {
        return Ok((host, port));
    }
    let problem = match host.is_ascii() {
        _ if host.is_empty() => "there is no host in this address",
        true => "the host has a character that is not allowed in a host name",
        false => "the host has letters beyond ASCII; write it in its xn-- form",
    };
    Err(ValueError::new(message::ADDRESS_MISREAD, problem, hint))
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

/// Refuses hosts of Coralogix that take no logs, and names the one that does.
fn refuse_other_hosts(host: &str) -> Result<(), ValueError> {
    let below = |domain: &str| {
        host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    };
    if let Some((domain, _)) = REGIONS.iter().find(|(_, page)| below(page)) {
        let hint = format!("this team's domain is \"{domain}\"");
        return Err(ValueError::new(
            message::DOMAIN_IS_PAGE,
            "this is a web page of Coralogix that does not accept records",
            hint,
        ));
    }
    if is_eu1_page(host) {
        return Err(ValueError::new(
            message::DOMAIN_IS_PAGE,
            "this is a web page of Coralogix that does not accept records",
            "a team at https://TEAM.coralogix.com has the domain \"eu1.coralogix.com\"",
        ));
    }
    if let Some(domain) = host.strip_prefix("api.").filter(|rest| rest.contains("coralogix")) {
        let hint = format!("write coralogix.domain = \"{domain}\"");
        return Err(ValueError::new(
            message::DOMAIN_IS_PAGE,
            "this host of Coralogix does not accept records",
            hint,
        ));
    }
    Ok(())
}

/// `acme.coralogix.com`, but not `eu2.coralogix.com` nor a region yet to come.
fn is_eu1_page(host: &str) -> bool {
    let Some(label) = host.strip_suffix(".coralogix.com").filter(|label| !label.contains('.'))
    else {
        return false;
    };
    let letters = label.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_region = letters.len() < label.len()
        && (2..=4).contains(&letters.len())
        && letters.bytes().all(|b| b.is_ascii_alphabetic());
    !is_region && label != "ingress" && label != "private"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_taken_as_the_browser_shows_it() {
        let ours = "https://usea1-acme.sentinelone.net";
        for text in [
            "https://usea1-acme.sentinelone.net",
            "https://usea1-acme.sentinelone.net/",
            " https://USEA1-Acme.SentinelOne.net/login ",
            "usea1-acme.sentinelone.net",
            "usea1-acme.sentinelone.net/dashboard",
            "https://usea1-acme.sentinelone.net/web/api/v2.1/",
            "https://usea1-acme.sentinelone.net:443/incidents/threats?filter=a#b",
            "https://usea1-acme.sentinelone.net.",
        ] {
            assert_eq!(tenant(text, Plain::Refused).as_deref(), Ok(ours), "{text}");
        }
        assert_eq!(
            tenant("http://127.0.0.1:8080/", Plain::Allowed).as_deref(),
            Ok("http://127.0.0.1:8080")
        );
        assert_eq!(
            tenant("https://[::1]:8443", Plain::Refused).as_deref(),
            Ok("https://[::1]:8443")
        );
        assert_eq!(
            tenant("https://relay:8443", Plain::Refused).as_deref(),
            Ok("https://relay:8443")
        );
    }

    #[test]
    fn what_is_no_tenant_is_told() {
        for (text, problem) in [
            ("http://a.sentinelone.net", "http:// would send the credential unencrypted"),
            ("ftp://a.sentinelone.net", "\"ftp\" is not a scheme of the web"),
            ("acme", "this is not a complete host name"),
            ("", "there is no host in this address"),
            ("https://", "there is no host in this address"),
            ("https://a b.net", "the host has a character that is not allowed in a host name"),
            ("https://acmé.net", "the host has letters beyond ASCII; write it in its xn-- form"),
            ("https://a.net:70000", "the port is not a number from 1 to 65535"),
            ("https://u:p@a.net", "a user name or password is not allowed in this address"),
            ("https://a.app.coralogix.us", "this is an address of Coralogix, not of SentinelOne"),
            ("https:/a.net", "the scheme must be followed by two slashes"),
        ] {
            let told = tenant(text, Plain::Refused).unwrap_err();
            assert_eq!(told.problem, problem, "{text}");
        }
    }

    #[test]
    fn a_domain_leads_to_its_ingest_address() {
        for (text, url) in [
            ("eu2.coralogix.com", "https://ingress.eu2.coralogix.com"),
            ("EU2.Coralogix.com", "https://ingress.eu2.coralogix.com"),
            ("https://ingress.eu2.coralogix.com/", "https://ingress.eu2.coralogix.com"),
            ("ingress.us1.coralogix.com/logs/v1/singles", "https://ingress.us1.coralogix.com"),
            ("private.eu2.coralogix.com", "https://ingress.private.eu2.coralogix.com"),
            ("gov1.coralogixgov.us", "https://ingress.gov1.coralogixgov.us"),
            ("cx498.coralogix.com", "https://ingress.cx498.coralogix.com"),
            ("coralogix.com", "https://ingress.coralogix.com"),
            ("us9.coralogix.com", "https://ingress.us9.coralogix.com"),
        ] {
            assert_eq!(coralogix_domain(text).as_deref(), Ok(url), "{text}");
        }
    }

    #[test]
    fn a_page_of_coralogix_gets_a_hint_with_the_domain() {
        for (text, domain) in [
            ("acme.app.coralogix.us", "us1.coralogix.com"),
            ("acme.app.cx498.coralogix.com", "us2.coralogix.com"),
            ("https://acme.app.us3.coralogix.com/#/query", "us3.coralogix.com"),
            ("acme.coralogix.com", "eu1.coralogix.com"),
            ("https://acme.app.eu2.coralogix.com", "eu2.coralogix.com"),
            ("acme.app.coralogix.in", "ap1.coralogix.com"),
            ("acme.app.coralogixsg.com", "ap2.coralogix.com"),
            ("acme.app.ap3.coralogix.com", "ap3.coralogix.com"),
            ("EU2", "eu2.coralogix.com"),
            ("api.eu2.coralogix.com", "eu2.coralogix.com"),
        ] {
            let told = coralogix_domain(text).unwrap_err();
            assert!(told.hint.contains(&format!("\"{domain}\"")), "{text}: {told:?}");
        }
        assert!(coralogix_url("https://acme.app.eu2.coralogix.com", Plain::Refused).is_err());
    }

    #[test]
    fn a_url_is_a_scheme_and_a_host() {
        for (text, url) in [
            (
                "https://ingress.private.eu2.coralogix.com",
                "https://ingress.private.eu2.coralogix.com",
            ),
            (
                "https://ingress.eu2.coralogix.com/logs/v1/singles",
                "https://ingress.eu2.coralogix.com",
            ),
            ("relay.example.com:8443", "https://relay.example.com:8443"),
        ] {
            assert_eq!(coralogix_url(text, Plain::Refused).as_deref(), Ok(url), "{text}");
        }
        assert!(coralogix_url("http://localhost:1", Plain::Refused).is_err());
        assert!(coralogix_url("http://localhost:1", Plain::Allowed).is_ok());
        assert!(coralogix_url("https://relay.example.com/coralogix", Plain::Refused).is_err());
    }

    #[test]
    fn a_proxy_is_read_and_its_password_never_told() {
        for (text, url) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("proxy.example.com:3128/", "http://proxy.example.com:3128"),
            ("http://u:p%40@10.0.0.1:8080", "http://u:p%40@10.0.0.1:8080"),
            ("http://u:p@w@proxy:1", "http://u:p@w@proxy:1"),
        ] {
            assert_eq!(proxy(text).unwrap().reveal(), url, "{text}");
        }
        for text in [
            "http://u:s3cret/x@proxy:1",
            "socks5://u:s3cret@p",
            "http://u:s3 cret@p",
            "",
            "u:s3cret",
        ] {
            let told = format!("{:?}", proxy(text).unwrap_err());
            assert!(!told.contains("s3"), "{told}");
        }
    }
}
