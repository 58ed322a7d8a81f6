//! Tests of one exchange by TLS and through proxies, against small servers on loopback.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use super::client_tests::*;
use super::loopback::{Server, answer, network, proxy, receive};
use super::tls::Tls;
use crate::cause::Cause;
use crate::config::Network;
use crate::record::{Answer, NetTrouble};
use crate::secret::Secret;
use crate::test_world::tls::Authority;

#[test]
fn a_known_authority_is_trusted_and_the_connection_says_who_signed() {
    let authority = Authority::new("Test CA");
    let server = Server::start(Some(authority.server_until("localhost", 2090)), |wire, _| {
        while receive(wire).is_some() {
            answer(wire, "200 OK", "", b"ok");
        }
    });
    let base = format!("https://localhost:{}", server.port);
    let tls = trusting(&authority);
    let client = client_with(&base, &network(), &tls, &Arc::default());
    for _ in 0..2 {
        assert_eq!(body(client.exchange(&get("/"))), "ok");
    }
    assert_eq!(server.accepted(), 1);
    assert_eq!(client.tls().last_shown().unwrap().issuer, "Test CA");
}

fn refused_by_tls(config: Arc<rustls::ServerConfig>, tls: &Tls) -> (String, Option<Cause>) {
    let server = Server::start(Some(config), |wire, _| {
        receive(wire);
    });
    let base = format!("https://localhost:{}", server.port);
    let client = client_with(&base, &network(), tls, &Arc::default());
    let error = client.exchange(&get("/"));
    let Err(NetTrouble::Tls(why)) = error else { panic!("{error:?}") };
    (why.to_string(), client.wire().steps().cause)
}

#[test]
fn a_refused_certificate_says_why_and_what_to_do() {
    let (ours, theirs) = (Authority::new("Our CA"), Authority::new("Inspecting Firewall CA"));
    let tls = trusting(&ours);
    for (config, words, blamed) in [
        (
            theirs.server_until("localhost", 2090),
            ["Inspecting Firewall CA", "network.ca_file"],
            Cause::TlsUntrusted,
        ),
        (
            ours.server_until("localhost", 2001),
            ["expired at 2001-01-01", "clock is right"],
            Cause::CertificateExpired,
        ),
        (
            ours.server_until("other.test", 2090),
            ["not for localhost", "other.test"],
            Cause::CertificateOtherName,
        ),
    ] {
        let (why, cause) = refused_by_tls(config, &tls);
        assert!(words.iter().all(|word| why.contains(word)), "{why}");
        assert_eq!(cause, Some(blamed));
    }
}

/// What is asked of a server whose certificate does not fit the clock: its time, once, without a
/// secret, and never again for a while.
#[test]
fn a_server_whose_certificate_ended_is_asked_for_its_time_and_learns_no_secret() {
    let authority = Authority::new("Our CA");
    let heads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let server = Server::start(Some(authority.server_until("localhost", 2001)), move |wire, _| {
        while let Some(request) = receive(wire) {
            seen.lock().unwrap().push(request.head);
            answer(wire, "200 OK", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", b"");
        }
    });
    let base = format!("https://localhost:{}", server.port);
    let stop = Arc::default();
    let client = client_with(&base, &network(), &trusting(&authority), &stop);
    for _ in 0..3 {
        let error = client.exchange(&get("/web/api"));
        let Err(NetTrouble::Tls(why)) = error else { panic!("{error:?}") };
        // Before the program's date nobody's clock is right, so this blames no other clock.
        assert!(why.what.contains("its own clock is not known"), "{why}");
        let finding = client.finding().unwrap();
        assert_eq!(finding.cause, crate::cause::Cause::CertificateExpired);
    }
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(heads[0].starts_with("GET / HTTP/1.1\r\n"), "{heads:?}");
    assert!(!heads[0].to_lowercase().contains("authorization"), "{heads:?}");
    // An exchange that fails for another reason has nothing to say of clocks.
    stop.store(true, Ordering::SeqCst);
    assert_eq!(client.exchange(&get("/web/api")), Err(NetTrouble::Stopped));
    assert!(client.finding().is_none());
}

#[test]
fn a_server_without_tls_is_a_tls_trouble() {
    let server = Server::start(None, |wire, _| {
        let _ = wire.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let client = client(&format!("https://localhost:{}", server.port));
    let error = client.exchange(&get("/")).unwrap_err();
    assert!(matches!(error, NetTrouble::Tls(_)), "{error:?}");
}

fn through(proxy: &Server, target: u16, authority: &Authority) -> Result<Answer, NetTrouble> {
    let address = format!("http://user:p%40ss@127.0.0.1:{}", proxy.port);
    let network = Network { proxy: Some(Secret::new(&address).unwrap()), ..network() };
    let base = format!("https://localhost:{target}");
    client_with(&base, &network, &trusting(authority), &Arc::default()).exchange(&get("/"))
}

#[test]
fn a_proxy_tunnels_and_learns_nothing_but_the_host() {
    let authority = Authority::new("Test CA");
    let server = Server::start(Some(authority.server_until("localhost", 2090)), |wire, _| {
        receive(wire);
        answer(wire, "200 OK", "", b"ok");
    });
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let proxy = proxy(None, move |head| tell.lock().unwrap().send(head.to_owned()).unwrap());
    assert_eq!(body(through(&proxy, server.port, &authority)), "ok");
    let head = told.recv().unwrap();
    assert!(head.starts_with(&format!("CONNECT localhost:{} ", server.port)), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic dXNlcjpwQHNz\r\n"), "{head}");
    assert!(!head.contains("ApiToken"));
}

#[test]
fn a_proxys_no_is_told_without_its_password() {
    let authority = Authority::new("Test CA");
    for (status, words) in [
        ("407 Proxy Authentication Required", "user name and password"),
        ("403 Forbidden", "rules"),
        ("502 Bad Gateway", "502"),
    ] {
        let proxy = proxy(Some(status), |_| {});
        let error = through(&proxy, 9, &authority).unwrap_err();
        assert!(matches!(error, NetTrouble::Proxy(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(words) && !text.contains("p@ss") && !text.contains("p%40"), "{text}");
    }
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = Server { port: unused.local_addr().unwrap().port(), accepted: Arc::default() };
    drop(unused);
    let error = through(&gone, 9, &authority).unwrap_err();
    let NetTrouble::Connect(why) = error else { panic!("{error:?}") };
    assert!(why.starts_with("the proxy 127.0.0.1:"), "{why}");
}
