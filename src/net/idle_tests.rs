//! Tests of connections that were idle and are silent when they are used again.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::client::{Client, Post, Request};
use super::loopback::{Server, answer, network, receive};
use super::proxy::ProxyEnvironment;
use super::tls::Tls;
use crate::config::Network;
use crate::record::NetTrouble;
use crate::time::Span;

const GET: Request<'_> = Request {
    path: "/",
    authorization: None,
    post: None,
    answer_bytes_max: 1 << 20,
    grace: Duration::ZERO,
};

/// A service whose first connection answers one request and is silent from then on; the others
/// answer each. The sender's end lets the silent one go.
fn silent_when_idle() -> (Server, Client, mpsc::Sender<()>) {
    let (release, hold) = mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let server = Server::start(None, move |wire, number| {
        while receive(wire).is_some() {
            answer(wire, "200 OK", "", b"ok");
            if number == 0 {
                receive(wire);
                let _ = hold.lock().unwrap().recv();
                return;
            }
        }
    });
    let network = Network { timeout: Span::ms(400), ..network() };
    let base = format!("http://127.0.0.1:{}", server.port);
    let tls = Tls::new(None, &Arc::default()).unwrap();
    let client =
        Client::new(&base, &network, &tls, &ProxyEnvironment::default(), Arc::default()).unwrap();
    (server, client, release)
}

/// Longer than what `take_each_for_old` calls sure.
fn idle_for_a_moment() {
    std::thread::park_timeout(Duration::from_millis(20));
}

#[test]
fn a_get_on_an_old_idle_connection_that_is_silent_is_asked_again_and_none_so_old_is_used_again() {
    let (server, client, _release) = silent_when_idle();
    client.wire().idle().take_each_for_old();
    client.exchange(&GET).unwrap();
    idle_for_a_moment();
    assert_eq!(client.exchange(&GET).unwrap().body, b"ok");
    assert_eq!(server.accepted(), 2);
    idle_for_a_moment();
    client.exchange(&GET).unwrap();
    assert_eq!(server.accepted(), 3, "this peer's idle connections are not trusted any more");
}

#[test]
fn a_get_on_a_young_idle_connection_that_is_silent_is_late_and_not_asked_again() {
    let (server, client, _release) = silent_when_idle();
    client.exchange(&GET).unwrap();
    let error = client.exchange(&GET).unwrap_err();
    assert!(matches!(error, NetTrouble::Timeout(_)), "{error:?}");
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_post_on_an_old_idle_connection_that_is_silent_is_never_sent_twice() {
    let (server, client, _release) = silent_when_idle();
    client.wire().idle().take_each_for_old();
    let post = || Request { post: Some(Post { body: b"[]", gzip: true, is_last: false }), ..GET };
    client.exchange(&post()).unwrap();
    idle_for_a_moment();
    let error = client.exchange(&post()).unwrap_err();
    assert!(matches!(error, NetTrouble::Timeout(_)), "{error:?}");
    assert_eq!(server.accepted(), 1);
    // But it is learned from: the next one has a connection of its own, and so has the one after.
    for accepted in [2, 3] {
        client.exchange(&post()).unwrap();
        assert_eq!(server.accepted(), accepted);
        idle_for_a_moment();
    }
}

#[test]
fn a_get_on_an_old_idle_connection_that_its_peer_closed_teaches_nothing_of_their_age() {
    let server = Server::start(None, |wire, number| {
        while receive(wire).is_some() {
            answer(wire, "200 OK", "", b"ok");
            if number == 0 {
                receive(wire);
                return;
            }
        }
    });
    let base = format!("http://127.0.0.1:{}", server.port);
    let tls = Tls::new(None, &Arc::default()).unwrap();
    let environment = ProxyEnvironment::default();
    let client = Client::new(&base, &network(), &tls, &environment, Arc::default()).unwrap();
    client.wire().idle().take_each_for_old();
    for accepted in [1, 2, 2] {
        assert_eq!(client.exchange(&GET).unwrap().body, b"ok");
        assert_eq!(server.accepted(), accepted);
        idle_for_a_moment();
    }
}
