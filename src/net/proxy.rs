//! Which proxy leads to a host: `network.proxy`, or what the environment says.
//!
//! Promises: `network.proxy` alone decides where it is set. Never: prints a proxy's user or
//! password (keeps P7).

use std::net::IpAddr;

use ureq::{Proxy, ProxyProtocol};

use crate::os::host::variable;
use crate::problem::Problem;
use crate::secret::Secret;

/// The proxy variables of the environment, as they were when this was made.
#[derive(Clone, Default)]
pub struct ProxyEnvironment {
    /// For https.
    pub https: Option<String>,
    /// For http, which only `network.allow_http` permits.
    pub http: Option<String>,
    pub all: Option<String>,
    pub no: Option<String>,
}

impl ProxyEnvironment {
    /// Lower case wins, as it does for curl. HTTP_PROXY in capitals is not looked at, because a
    /// request header can set it in a CGI environment; nobody relies on it for https.
    pub fn read() -> ProxyEnvironment {
        let either = |lower, upper| variable(lower).or_else(|| variable(upper));
        ProxyEnvironment {
            https: either("https_proxy", "HTTPS_PROXY"),
            http: variable("http_proxy"),
            all: either("all_proxy", "ALL_PROXY"),
            no: either("no_proxy", "NO_PROXY"),
        }
    }
}

/// Why no proxy can be chosen. Names the setting, never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadProxy {
    pub setting: &'static str,
    pub why: &'static str,
}

/// The proxy for requests to `https://host` or `http://host`, or `None` for a direct connection.
pub fn choose(
    configured: Option<&Secret>,
    environment: &ProxyEnvironment,
    https: bool,
    host: &str,
) -> Result<Option<Proxy>, BadProxy> {
    if let Some(text) = configured {
        return parse("network.proxy", text.reveal()).map(Some);
    }
    let of_scheme = match https {
        true => ("HTTPS_PROXY", &environment.https),
        false => ("http_proxy", &environment.http),
    };
    for (setting, text) in [of_scheme, ("ALL_PROXY", &environment.all)] {
        if let Some(text) = text {
            if environment.no.as_deref().is_some_and(|list| is_exempt(list, host)) {
                return Ok(None);
            }
            return parse(setting, text).map(Some);
        }
    }
    Ok(None)
}

/// The proxy's address for people: host and port, nothing else.
pub fn address(proxy: &Proxy) -> String {
    format!("{}:{}", proxy.host(), proxy.port())
}

/// The status in ureq's text about a proxy that refused a tunnel.
pub fn status_in(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_ascii_digit()).find(|digits| digits.len() == 3)
}

/// ureq says "proxy server responded 407/407". People need what it means.
pub fn refusal(proxy: &str, text: &str) -> Problem {
    match status_in(text) {
        Some("407") => Problem::new(
            format!(
                "{proxy} answered 407: it requires a user name and password, or rejects the given \
                 ones"
            ),
            format!("Set network.proxy to http://USER:PASSWORD@{proxy}"),
        ),
        Some("403") => {
            format!("{proxy} answered 403: its rules don't allow this destination").into()
        }
        Some(status) => format!("{proxy} answered {status} to CONNECT").into(),
        None => format!("{proxy} did not answer like a proxy").into(),
    }
}

fn parse(setting: &'static str, text: &str) -> Result<Proxy, BadProxy> {
    let bad = |why| BadProxy { setting, why };
    let proxy = Proxy::new(text.trim())
        .map_err(|_| bad("it is not an address like http://user:password@proxy:3128"))?;
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => Ok(proxy),
        _ => Err(bad("only http:// and https:// proxies are supported, not SOCKS")),
    }
}

/// NO_PROXY as curl and Go read it: names match themselves and what is below them, a leading dot
/// or `*.` only what is below; addresses match themselves, ranges what is in them; `*` everything.
fn is_exempt(list: &str, host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok();
    list.split([',', ' ']).map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        if entry.is_empty() {
            return false;
        }
        if entry == "*" {
            return true;
        }
        if let Some(address) = address {
            return matches_address(&entry, address);
        }
        let entry = without_port(&entry).trim_end_matches('.');
        match entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')) {
            Some(parent) => is_below(&host, parent),
            None => host == entry || is_below(&host, entry),
        }
    })
}

fn is_below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

fn without_port(entry: &str) -> &str {
    match entry.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => entry,
    }
}

fn matches_address(entry: &str, address: IpAddr) -> bool {
    if let Some((network, bits)) = entry.split_once('/') {
        let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
            return false;
        };
        return match (network, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                bits <= 32 && (a.to_bits() ^ b.to_bits()).leading_zeros() >= bits
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                bits <= 128 && (a.to_bits() ^ b.to_bits()).leading_zeros() >= bits
            }
            _ => false,
        };
    }
    let bare = entry.trim_matches(['[', ']']);
    bare.parse::<IpAddr>()
        .or_else(|_| without_port(entry).trim_matches(['[', ']']).parse())
        .is_ok_and(|other| other == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_refusal_is_told_in_words() {
        for (text, words) in [
            ("proxy server responded 407/407", "user name and password"),
            ("proxy server responded 403/403", "rules"),
            ("proxy server responded 502/502", "answered 502"),
            ("proxy server did not respond", "did not answer"),
        ] {
            let told = refusal("proxy:3128", text).to_string();
            assert!(told.contains(words) && told.contains("proxy:3128"), "{told}");
        }
    }

    #[test]
    fn no_proxy_exempts_what_people_expect() {
        for (list, host, exempt) in [
            ("acme.net", "acme.net", true),
            ("acme.net", "usea1.acme.net", true),
            ("acme.net", "notacme.net", false),
            (".acme.net", "usea1.acme.net", true),
            (".acme.net", "acme.net", false),
            ("*.acme.net", "usea1.acme.net", true),
            ("other, ACME.net:443", "acme.NET.", true),
            ("*", "anything", true),
            ("", "anything", false),
            (" , ,", "anything", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1:8080", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.0/8", "10.99.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "11.0.0.1", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/8", "10.128.0.1", true),
            ("10.0.0.0/9", "10.128.0.1", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.0", false),
            ("fd00::/8", "fd80::1", true),
            ("fd00::/9", "fd80::1", false),
            ("fd00::/8", "[fe00::1]", false),
            ("fd00::1/128", "fd00::1", true),
            ("fd00::1/128", "fd00::", false),
            ("fd00::1/129", "fd00::1", false),
            ("acme.net:x", "acme.net", false),
            ("acme.net", ".acme.net", false),
            ("fd00::/8", "[fd12::1]", true),
            ("[::1]", "::1", true),
            ("0.0.0.1", "a.0.0.0.1x", false),
        ] {
            assert_eq!(is_exempt(list, host), exempt, "{list:?} {host}");
        }
    }

    fn environment() -> ProxyEnvironment {
        ProxyEnvironment {
            https: Some("http://u:p@secure:3128".into()),
            http: None,
            all: Some("all:1080".into()),
            no: Some("inner.net".into()),
        }
    }

    fn chosen(configured: Option<&str>, https: bool, host: &str) -> Option<String> {
        let configured = configured.map(|text| Secret::new(text).unwrap());
        choose(configured.as_ref(), &environment(), https, host)
            .unwrap()
            .map(|proxy| address(&proxy))
    }

    #[test]
    fn the_config_decides_and_else_the_environment() {
        assert_eq!(chosen(None, true, "x.net"), Some("secure:3128".into()));
        assert_eq!(chosen(None, false, "x.net"), Some("all:1080".into()));
        assert_eq!(chosen(None, true, "a.inner.net"), None);
        assert_eq!(chosen(Some("http://mine:8080"), true, "inner.net"), Some("mine:8080".into()));
    }

    #[test]
    fn a_bad_proxy_is_named_by_its_setting_and_not_printed() {
        for text in ["socks5://user:hunter2@host:1", "://hunter2", "http://"] {
            let secret = Secret::new(text).unwrap();
            let bad = choose(Some(&secret), &environment(), true, "x.net").unwrap_err();
            assert_eq!(bad.setting, "network.proxy");
            assert!(!format!("{bad:?}").contains("hunter2"));
        }
    }
}
