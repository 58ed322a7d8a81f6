//! What lies below HTTP: TLS, outages, slowness, the proxy; and how fast all of it is.

use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::data::Kind;
use crate::support::fault::{Fault, On};
use crate::support::ingress::Ingress;
use crate::support::ledger::Ledger;
use crate::support::proxy::Proxy;
use crate::support::tenant::Tenant;
use crate::support::tls::{Authority, Flaw, Signs};

const TIME: &str = "/sdk/v1/time";

#[test]
fn a_certificate_of_the_own_authority_is_trusted_and_flawed_ones_are_not() {
    let authority = Authority::new("the good one");
    let other = Authority::new("the other one");
    for (flaw, good) in [
        (Flaw::None, true),
        (Flaw::Expired, false),
        (Flaw::NotYetValid, false),
        (Flaw::OtherName, false),
    ] {
        let ingress = Ingress::start(Some(authority.server(flaw)), &Ledger::default());
        let get = |authority: &Authority| {
            let address = ingress.server.address();
            Client::connect(address, Some(authority.client())).unwrap().get(TIME, &[])
        };
        assert_eq!(get(&authority).is_ok(), good, "{flaw:?}");
        assert!(get(&other).is_err(), "{flaw:?}");
        ingress.server.set_tls(authority.server(Flaw::None));
        assert!(get(&authority).is_ok());
    }
}

#[test]
fn a_server_that_signs_with_another_key_is_trusted_in_no_version() {
    let authority = Authority::new("the good one");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (signs, good) in [(Signs::WithItsKey, true), (Signs::WithAnotherKey, false)] {
            let tls = authority.server_signing(version, signs);
            let ingress = Ingress::start(Some(tls), &Ledger::default());
            let address = ingress.server.address();
            let got = Client::connect(address, Some(authority.client())).unwrap().get(TIME, &[]);
            assert_eq!(got.is_ok(), good, "{version:?} {signs:?}");
        }
    }
}

#[test]
fn a_server_can_be_taken_away_and_brought_back_on_its_port() {
    let ingress = Ingress::start(None, &Ledger::default());
    let mut client = Client::plain(&ingress.server);
    assert!(client.get(TIME, &[]).is_ok());
    for _ in 0..3 {
        ingress.server.take_away();
        assert!(client.get(TIME, &[]).is_err(), "open connections end");
        let refused = Client::connect(ingress.server.address(), None).map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        ingress.server.bring_back();
        client = Client::plain(&ingress.server);
        assert!(client.get(TIME, &[]).is_ok());
    }
}

#[test]
fn answers_can_be_slow_drip_or_never_come() {
    let ingress = Ingress::start(None, &Ledger::default());
    let wait = Duration::from_millis(60);
    for fault in [Fault::Slow(wait), Fault::Drip(4, wait / 3)] {
        ingress.fail(On::Anything, 1, fault.clone());
        let begun = Instant::now();
        assert_eq!(Client::plain(&ingress.server).get(TIME, &[]).unwrap().status, 200);
        assert!(begun.elapsed() >= wait, "{fault:?}");
    }
    ingress.fail(On::Anything, 1, Fault::Stall);
    let server = &ingress.server;
    std::thread::scope(|scope| {
        let stalled = scope.spawn(|| Client::plain(server).get(TIME, &[]).is_err());
        assert!(ingress.wait_for(0, Duration::from_secs(5), |_| true));
        assert!(
            ingress.wait(Duration::from_secs(5), |s| (s.got.len() == 3).then_some(())).is_some()
        );
        server.drop_connections();
        assert!(stalled.join().unwrap(), "the stall ends with the connection");
    });
}

#[test]
fn the_proxy_wants_its_password_and_then_tunnels() {
    let ingress = Ingress::start(None, &Ledger::default());
    let proxy = Proxy::start(Some("user:pass word"));
    let port = ingress.server.port();
    let target = format!("127.0.0.1:{port}");
    let address = proxy.authority().parse().unwrap();
    let connect = |authorization: &str| {
        let mut client = Client::connect(address, None).unwrap();
        let headers = [("Proxy-Authorization", authorization)];
        let status = client.exchange("CONNECT", &target, &headers, b"").unwrap().status;
        (status, client)
    };
    assert_eq!(connect("Basic d3Jvbmc=").0, 407);
    // user:pass word
    let (status, mut client) = connect("Basic dXNlcjpwYXNzIHdvcmQ=");
    assert_eq!(status, 200);
    assert_eq!(client.get(TIME, &[]).unwrap().status, 200);
    proxy.refuse_with(Some(502));
    assert_eq!(connect("Basic dXNlcjpwYXNzIHdvcmQ=").0, 502);
    let seen = proxy.seen();
    assert_eq!(seen.iter().map(|seen| seen.status).collect::<Vec<_>>(), [407, 200, 502]);
    assert_eq!((seen[1].method.as_str(), &seen[1].authority), ("CONNECT", &target));
}

/// The servers must not be what a throughput test measures.
#[test]
fn twenty_thousand_records_are_published_and_served_in_seconds() {
    let authority = Authority::new("speed");
    let tenant = Tenant::start("acme", Some(authority.server(Flaw::None)), &Ledger::default());
    let begun = Instant::now();
    tenant.publish_with(Kind::Activities, 20_000, |draft| draft.size = 2_600);
    let published = begun.elapsed();
    let authorization = format!("ApiToken {}", tenant.token());
    let headers = [("Authorization", authorization.as_str()), ("Accept-Encoding", "gzip")];
    let mut client = Client::connect(tenant.server.address(), Some(authority.client())).unwrap();
    let begun = Instant::now();
    let mut cursor = String::new();
    let mut rows = 0;
    for _ in 0..20 {
        let target =
            format!("/web/api/v2.1/activities?limit=1000&skipCount=true&sortBy=createdAt{cursor}");
        let page = client.get(&target, &headers).unwrap();
        rows += tenant.seen().last().unwrap().rows;
        let text = page.text();
        let next = text.rsplit("\"nextCursor\": ").next().unwrap();
        cursor = next.split('"').nth(1).map_or(String::new(), |next| format!("&cursor={next}"));
    }
    println!("published in {published:?}, served in {:?}", begun.elapsed());
    assert_eq!(rows, 20_000);
    assert!(begun.elapsed() < Duration::from_secs(30));
}
