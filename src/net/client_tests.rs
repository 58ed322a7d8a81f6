//! Tests of one exchange against small servers on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::client::{Client, Post, Request, hidden};
use super::loopback::{Server, Wired, answer, network, receive};
use super::proxy::ProxyEnvironment;
use super::tls::Tls;
use crate::cause::Cause;
use crate::config::Network;
use crate::record::Bound;
use crate::record::{Answer, Excess, NetTrouble};
use crate::secret::Secret;
use crate::test_world::tls::Authority;
use crate::time::{Span, Stamp};

pub(super) fn client_with(
    base: &str,
    network: &Network,
    tls: &Tls,
    stop: &Arc<AtomicBool>,
) -> Client {
    Client::new(base, network, tls, &ProxyEnvironment::default(), Arc::clone(stop)).unwrap()
}

pub(super) fn client(base: &str) -> Client {
    client_with(base, &network(), &Tls::new(None, &Arc::default()).unwrap(), &Arc::default())
}

pub(super) fn trusting(authority: &Authority) -> Tls {
    Tls::new(Some(authority.pem().as_bytes()), &Arc::default()).unwrap()
}

pub(super) fn get(path: &str) -> Request<'_> {
    Request {
        path,
        authorization: Some(hidden("ApiToken", &Secret::new("tok").unwrap())),
        post: None,
        answer_bytes_max: 1 << 20,
        grace: Duration::ZERO,
    }
}

pub(super) fn post(body: &[u8]) -> Request<'_> {
    Request { post: Some(Post { body, gzip: true, is_last: false }), ..get("/logs") }
}

pub(super) fn plain(
    script: impl Fn(&mut dyn Wired, usize) + Send + Sync + 'static,
) -> (Server, Client) {
    let server = Server::start(None, script);
    let client = client(&format!("http://127.0.0.1:{}", server.port));
    (server, client)
}

pub(super) fn body(result: Result<Answer, NetTrouble>) -> String {
    String::from_utf8(result.unwrap().body).unwrap()
}

#[test]
fn an_answer_brings_status_headers_and_body_and_the_connection_is_used_again() {
    let (server, client) = plain(|wire, _| {
        while let Some(request) = receive(wire) {
            let headers = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: 7\r\nAge: 90\r\n\
                           Content-Type: text/html\r\n";
            answer(wire, "429 Too Many Requests", headers, request.head.as_bytes());
        }
    });
    for _ in 0..3 {
        let answer = client.exchange(&get("/a?b=c%3D")).unwrap();
        assert_eq!(answer.status, 429);
        let date = Stamp::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert!(answer.sent_date.unwrap().since(date) < Span::minutes(1));
        assert_eq!(answer.retry_after, Some(crate::time::Span::seconds(7)));
        assert_eq!(answer.age, Some(crate::time::Span::seconds(90)));
        assert_eq!(answer.content_type.as_deref(), Some("text/html"));
        let head = String::from_utf8(answer.body).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("get /a?b=c%3d http/1.1\r\n"), "{head}");
        let version = env!("CARGO_PKG_VERSION");
        for line in [
            "authorization: apitoken tok",
            "accept-encoding: gzip",
            "accept: application/json",
            "cache-control: no-cache",
            "pragma: no-cache",
            &format!("user-agent: s1-coralogix/{version}"),
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
        }
    }
    assert_eq!(server.accepted(), 1);
    assert!(client.wire().received_bytes() > 300, "three answers");
}

#[test]
fn a_secret_is_in_no_debug_output() {
    let shown = format!("{:?}", get("/"));
    assert!(shown.contains("authorization") && !shown.contains("tok"), "{shown}");
}

#[test]
fn an_answer_of_a_stated_length_is_refused_by_it_and_its_head_is_told() {
    let (_server, client) = plain(|wire, _| {
        while receive(wire).is_some() {
            answer(wire, "200 OK", "", &vec![b'x'; 300_000]);
        }
    });
    for bytes_max in [1_000, 299_999] {
        let bounded = Request { answer_bytes_max: bytes_max, ..get("/") };
        let excess = Excess { bytes_min: 300_000, head: vec![b'x'; 16 << 10] };
        assert_eq!(client.exchange(&bounded), Err(NetTrouble::TooLong(excess)), "{bytes_max}");
    }
    let exact = Request { answer_bytes_max: 300_000, ..get("/") };
    assert_eq!(client.exchange(&exact).unwrap().body.len(), 300_000);
}

#[test]
fn a_server_is_asked_for_its_time_alone() {
    let (_server, client) = plain(|wire, _| {
        let request = receive(wire).unwrap();
        assert_eq!(request.header("authorization"), None);
        answer(wire, "404 Not Found", "Date: Sat, 06 Nov 2094 08:49:37 GMT\r\n", b"");
    });
    let date = Stamp::parse_http_date("Sat, 06 Nov 2094 08:49:37 GMT").unwrap();
    assert!(client.date().is_some_and(|told| told.since(date) < Span::minutes(1) && told >= date));
    let (_server, client) = plain(|wire, _| drop(receive(wire)));
    assert_eq!(client.date(), None);
}

#[test]
fn a_post_carries_its_body_whole_and_a_redirect_is_not_followed() {
    let (server, client) = plain(|wire, _| {
        while let Some(request) = receive(wire) {
            assert_eq!(request.header("content-encoding"), Some("gzip"));
            assert_eq!(request.header("content-type"), Some("application/json"));
            let headers = "Location: http://127.0.0.1:1/elsewhere\r\n";
            answer(wire, "307 Temporary Redirect", headers, &request.body);
        }
    });
    let large: Vec<u8> = (0..700_000u32).map(|n| (n % 251) as u8).collect();
    let answer = client.exchange(&post(&large)).unwrap();
    assert_eq!(answer.status, 307);
    assert!(answer.body == large);
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_gzip_answer_is_inflated_and_bounded_inflated() {
    let (_server, client) = plain(|wire, _| {
        while receive(wire).is_some() {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gzip, &vec![b'x'; 300_000]).unwrap();
            answer(wire, "200 OK", "Content-Encoding: gzip\r\n", &gzip.finish().unwrap());
        }
    });
    assert_eq!(client.exchange(&get("/")).unwrap().body.len(), 300_000);
    let bounded = Request { answer_bytes_max: 299_999, ..get("/") };
    let head = vec![b'x'; 299_999];
    let excess = Excess { bytes_min: 300_000, head };
    assert_eq!(client.exchange(&bounded), Err(NetTrouble::TooLong(excess)));
    let exact = Request { answer_bytes_max: 300_000, ..get("/") };
    assert_eq!(client.exchange(&exact).unwrap().body.len(), 300_000);
}

#[test]
fn where_the_status_is_what_counts_a_long_answer_is_cut_off_one_byte_too_long() {
    let (_server, client) = plain(|wire, _| {
        while receive(wire).is_some() {
            answer(wire, "503 Busy", "", &vec![b'x'; 300_000]);
        }
    });
    for (bytes_max, len) in [(1_000, 1_001), (299_999, 300_000), (300_000, 300_000)] {
        let bounded = Request { answer_bytes_max: bytes_max, ..get("/") };
        let answer = client.exchange_cut_off(&bounded).unwrap();
        assert_eq!((answer.status, answer.body.len()), (503, len), "{bytes_max}");
    }
}

#[test]
fn a_body_that_is_cut_is_an_error_however_it_is_framed() {
    let authority = Authority::new("Test CA");
    let tls = authority.server_until("localhost", 2090);
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\":",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"data\":\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
    ] {
        for config in [None, Some(Arc::clone(&tls))] {
            let scheme = if config.is_some() { "https" } else { "http" };
            let server = Server::start(config, move |wire, _| {
                receive(wire);
                wire.write_all(head.as_bytes()).unwrap();
            });
            let base = format!("{scheme}://localhost:{}", server.port);
            let client = client_with(&base, &network(), &trusting(&authority), &Arc::default());
            let error = client.exchange(&get("/")).unwrap_err();
            assert!(matches!(error, NetTrouble::Broken(_)), "{head:?} {error:?}");
            assert_eq!(server.accepted(), 1, "a fresh connection that breaks is not tried again");
        }
    }
}

#[test]
fn a_dead_idle_connection_is_replaced_for_a_get_and_reported_for_a_post() {
    // The first answer on each connection is good; after the second request it hangs up.
    let script = |wire: &mut dyn Wired, _| {
        receive(wire);
        answer(wire, "200 OK", "", b"ok");
        receive(wire);
    };
    let (server, first) = plain(script);
    assert_eq!(body(first.exchange(&get("/"))), "ok");
    assert_eq!(body(first.exchange(&get("/"))), "ok");
    assert_eq!(server.accepted(), 2);

    let (server, second) = plain(script);
    assert_eq!(body(second.exchange(&post(b"[]"))), "ok");
    let error = second.exchange(&post(b"[]")).unwrap_err();
    assert!(matches!(error, NetTrouble::Broken(_)), "the service may have taken it: {error:?}");
    assert_eq!(server.accepted(), 1);
    assert_eq!(body(second.exchange(&post(b"[]"))), "ok");
}

#[test]
fn after_a_post_that_is_the_last_of_its_connection_the_next_has_another() {
    let (server, client) = plain(|wire, _| {
        assert_eq!(receive(wire).unwrap().header("connection"), Some("close"));
        answer(wire, "200 OK", "", b"ok");
        receive(wire);
    });
    for accepted in [1, 2] {
        let post = Some(Post { body: b"[]", gzip: true, is_last: true });
        assert_eq!(body(client.exchange(&Request { post, ..get("/logs") })), "ok");
        assert_eq!(server.accepted(), accepted);
    }
}

#[test]
fn an_answer_that_comes_before_the_request_is_sent_is_heard() {
    let large = vec![b'x'; 16 << 20];
    let authority = Authority::new("Test CA");
    let tls = authority.server_until("localhost", 2090);
    for config in [None, Some(tls)] {
        let scheme = if config.is_some() { "https" } else { "http" };
        // It reads the head only and closes, so that the rest of the body meets a reset.
        let server = Server::start(config, |wire, _| {
            let mut head = [0; 256];
            let _ = wire.read(&mut head);
            answer(wire, "413 Payload Too Large", "Connection: close\r\n", b"too long");
        });
        let base = format!("{scheme}://localhost:{}", server.port);
        let client = client_with(&base, &network(), &trusting(&authority), &Arc::default());
        let answer = client.exchange(&post(&large)).expect(scheme);
        assert_eq!((answer.status, server.accepted()), (413, 1));
    }
    // So it is where the answer is not whole, or too long.
    for (head, status, body) in [
        ("413 Payload Too Large\r\nContent-Length: 9", 413, "too"),
        ("503 Busy\r\nConnection: close", 503, &"x".repeat(1_000)),
        ("300 Multiple Choices\r\nContent-Length: 3", 300, "two"),
    ] {
        let whole = format!("HTTP/1.1 {head}\r\n\r\n{body}");
        let (_server, client) = plain(move |wire, _| {
            let mut head = [0; 256];
            let _ = wire.read(&mut head);
            let _ = wire.write_all(whole.as_bytes());
        });
        let answer = client.exchange(&Request { answer_bytes_max: 500, ..post(&large) });
        let answer = answer.expect(head);
        assert_eq!(answer.status, status);
        assert!(body.as_bytes().starts_with(&answer.body) && !answer.body.is_empty(), "{head}");
    }
    // But a 200 to half a request is no promise.
    let (_server, client) = plain(|wire, _| {
        let mut head = [0; 256];
        let _ = wire.read(&mut head);
        answer(wire, "200 OK", "Connection: close\r\n", b"");
    });
    let error = client.exchange(&post(&large)).unwrap_err();
    assert!(matches!(error, NetTrouble::Broken(_)), "{error:?}");
}

#[test]
fn a_post_that_was_not_sent_whole_on_an_idle_connection_is_sent_again() {
    let (server, client) = plain(|wire, number| {
        if number > 0 {
            let length = receive(wire).unwrap().body.len();
            return answer(wire, "200 OK", "", length.to_string().as_bytes());
        }
        receive(wire);
        answer(wire, "200 OK", "", b"ok");
        let mut head = [0; 256];
        let _ = wire.read(&mut head);
    });
    assert_eq!(body(client.exchange(&post(b"[]"))), "ok");
    let large = vec![b'x'; 16 << 20];
    assert_eq!(body(client.exchange(&post(&large))), large.len().to_string());
    assert_eq!(server.accepted(), 2);
}

#[test]
fn a_connection_that_brought_a_part_of_an_answer_or_was_new_is_no_dead_idle_one() {
    for is_new in [false, true] {
        let (server, client) = plain(move |wire, _| {
            receive(wire);
            if !is_new {
                answer(wire, "200 OK", "", b"ok");
                receive(wire);
                let _ = wire.write_all(b"HTTP/1.1 2");
            }
        });
        if !is_new {
            assert_eq!(body(client.exchange(&get("/"))), "ok");
        }
        assert!(matches!(client.exchange(&get("/")), Err(NetTrouble::Broken(_))));
        assert_eq!(server.accepted(), 1, "{is_new}");
    }
}

#[test]
fn an_address_that_accepts_and_says_nothing_comes_last_the_next_time() {
    for scheme in ["http", "https"] {
        let [silent, other] = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = [&silent, &other].map(|one| one.local_addr().unwrap());
        let (connect_timeout, timeout) = match scheme {
            "http" => (Span::seconds(10), Span::ms(50)),
            _ => (Span::ms(50), Span::seconds(3)),
        };
        let network = Network { connect_timeout, timeout, ..network() };
        let base = format!("{scheme}://{}", addresses[0]);
        let tls = Tls::new(None, &Arc::default()).unwrap();
        let client = client_with(&base, &network, &tls, &Arc::default());
        let error = client.exchange(&get("/")).unwrap_err();
        match scheme {
            "http" => assert!(matches!(error, NetTrouble::Timeout(_)), "{error:?}"),
            _ => {
                let limit = "not complete within network.connect_timeout";
                assert!(error.to_string().contains(limit), "{error:?}");
                assert_eq!(client.wire().steps().cause, Some(Cause::TlsFailed));
            }
        }
        let now = crate::os::clock::mono();
        let order = client.wire().addresses.in_order(&addresses, now);
        assert_eq!(order, [addresses[1], addresses[0]], "{scheme}");
    }
}

#[test]
fn a_yes_whose_body_does_not_end_is_told_where_the_status_is_what_counts() {
    let ask = |status: &'static str, is_cut: bool| {
        let server = Server::start(None, move |wire, _| {
            receive(wire);
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\n");
            let _ = wire.write_all(head.as_bytes());
            if !is_cut {
                // Until the client goes.
                let _ = wire.read(&mut [0]);
            }
        });
        let client = hurried(&server, Span::ms(300), Span::minutes(1));
        client.exchange_cut_off(&post(b"[]")).unwrap_err()
    };
    std::thread::scope(|scope| {
        let [yes, no, cut] = [("200 OK", false), ("503 Busy", false), ("200 OK", true)]
            .map(|(status, is_cut)| scope.spawn(move || ask(status, is_cut)))
            .map(|asking| asking.join().unwrap());
        assert_eq!(yes, NetTrouble::Endless(200));
        assert!(matches!(no, NetTrouble::Timeout(_)), "{no:?}");
        assert!(matches!(cut, NetTrouble::Broken(_)), "{cut:?}");
    });
}

#[test]
fn a_get_is_tried_again_only_once() {
    let (server, client) = plain(|wire, number| {
        receive(wire);
        if number == 0 {
            answer(wire, "200 OK", "", b"ok");
            receive(wire);
        }
    });
    assert_eq!(body(client.exchange(&get("/"))), "ok");
    assert!(matches!(client.exchange(&get("/")), Err(NetTrouble::Broken(_))));
    assert_eq!(server.accepted(), 2);
}

#[test]
fn each_way_to_have_no_connection_is_told_apart() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = unused.local_addr().unwrap().port();
    drop(unused);
    let error = client(&format!("http://127.0.0.1:{port}")).exchange(&get("/")).unwrap_err();
    let NetTrouble::Connect(why) = error else { panic!("{error:?}") };
    assert_eq!(why, format!("127.0.0.1:{port}: Connection refused"));

    // RFC 6761: a name below .invalid never resolves.
    let error = client("http://tenant.invalid").exchange(&get("/")).unwrap_err();
    let NetTrouble::Dns(why) = error else { panic!("{error:?}") };
    assert!(why.what.starts_with("tenant.invalid: "), "{why}");

    let strict = Network { allow_http: false, ..network() };
    let base = format!("http://127.0.0.1:{port}");
    let client =
        client_with(&base, &strict, &Tls::new(None, &Arc::default()).unwrap(), &Arc::default());
    let error = client.exchange(&get("/")).unwrap_err();
    assert!(error.to_string().contains("network.allow_http"), "{error}");
}

#[test]
fn a_silent_server_is_a_timeout_and_a_talkative_stranger_is_broken() {
    let (release, hold) = mpsc::channel::<()>();
    let hold = std::sync::Mutex::new(hold);
    let server = Server::start(None, move |wire, _| {
        receive(wire);
        let _ = hold.lock().unwrap().recv();
    });
    let hasty = Network { timeout: Span::ms(200), ..network() };
    let base = format!("http://127.0.0.1:{}", server.port);
    let client =
        client_with(&base, &hasty, &Tls::new(None, &Arc::default()).unwrap(), &Arc::default());
    let error = client.exchange(&get("/")).unwrap_err();
    let NetTrouble::Timeout(late) = error else { panic!("{error:?}") };
    assert_eq!((late.bound, late.after, late.received), (Bound::Silence, Span::ms(200), 0));
    assert!(late.sent > 20, "the request went out: {late}");
    drop(release);

    let (_server, client) = plain(|wire, _| {
        receive(wire);
        wire.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n").unwrap();
    });
    let error = client.exchange(&get("/")).unwrap_err();
    assert!(matches!(error, NetTrouble::Broken(_)), "{error:?}");
}

/// A server that answers with a body of 64 KiB, some bytes at a time with a pause after each.
fn dripping(bytes: usize, pause: Duration) -> Server {
    Server::start(None, move |wire, _| {
        receive(wire);
        let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT";
        let head = format!("HTTP/1.1 200 OK\r\n{date}\r\nContent-Length: {}\r\n\r\n", 64 << 10);
        let mut left = 64 << 10;
        let mut sent = wire.write_all(head.as_bytes());
        while left > 0 && sent.is_ok() {
            let piece = bytes.min(left);
            left -= piece;
            sent = wire.write_all(&vec![b' '; piece]);
            std::thread::park_timeout(pause);
        }
    })
}

fn hurried(server: &Server, timeout: Span, exchange_timeout: Span) -> Client {
    let network = Network { timeout, exchange_timeout, ..network() };
    let base = format!("http://127.0.0.1:{}", server.port);
    client_with(&base, &network, &Tls::new(None, &Arc::default()).unwrap(), &Arc::default())
}

#[test]
fn an_answer_that_keeps_coming_may_take_longer_than_the_silence_allowed() {
    let server = dripping(4 << 10, Duration::from_millis(100));
    let client = hurried(&server, Span::ms(700), Span::minutes(1));
    let answer = client.exchange(&get("/")).unwrap();
    assert_eq!(answer.body.len(), 64 << 10);
    // What the head says of the time is older than the end of the body.
    let date = Stamp::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
    assert!(answer.sent_date.unwrap() >= date + Span::seconds(1), "{:?}", answer.sent_date);
}

/// A server with little room that takes `bytes` of a request in small pieces, with a pause after each, and
/// then does the rest of the script. What it has no room for lies in the client's kernel, as before a
/// thin link.
fn sipping<S>(bytes: usize, pause: Duration, rest: S) -> Server
where
    S: Fn(&mut dyn Wired) + Send + Sync + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 8 << 10).unwrap();
    Server::over(listener, None, move |wire, _| {
        let (mut piece, mut taken) = (vec![0; 4 << 10], 0);
        while taken < bytes {
            match wire.read(&mut piece) {
                Ok(read @ 1..) => taken += read,
                _ => return,
            }
            std::thread::park_timeout(pause);
        }
        rest(wire);
    })
}

/// What the kernel takes at once, and what it does not.
const UPLOADS: [usize; 2] = [200 << 10, 8 << 20];

#[test]
fn a_request_that_keeps_leaving_the_kernels_buffer_is_no_silence() {
    for bytes in UPLOADS {
        let pause = Duration::from_secs(4) / (bytes / (4 << 10)) as u32;
        let server = sipping(bytes, pause, |wire| {
            answer(wire, "200 OK", "", b"ok");
            while matches!(wire.read(&mut [0; 4 << 10]), Ok(1..)) {}
        });
        let client = hurried(&server, Span::ms(2_000), Span::minutes(10));
        assert_eq!(body(client.exchange(&post(&vec![b'x'; bytes]))), "ok", "{bytes}");
    }
}

#[test]
fn a_request_that_stays_in_the_kernels_buffer_is_silence() {
    for bytes in UPLOADS {
        let (release, hold) = mpsc::channel::<()>();
        let hold = std::sync::Mutex::new(hold);
        let server = sipping(64 << 10, Duration::ZERO, move |_| {
            let _ = hold.lock().unwrap().recv();
        });
        let client = hurried(&server, Span::ms(700), Span::minutes(10));
        let error = client.exchange(&post(&vec![b'x'; bytes])).unwrap_err();
        let NetTrouble::Timeout(late) = error else { panic!("{error:?}") };
        assert_eq!(late.bound, Bound::Silence);
        assert!((64 << 10..100 << 10).contains(&late.sent), "what was acknowledged: {late}");
        drop(release);
    }
}

#[test]
fn a_drip_now_and_then_is_silence() {
    let server = dripping(1, Duration::from_millis(10));
    let client = hurried(&server, Span::ms(300), Span::minutes(10));
    let error = client.exchange(&get("/")).unwrap_err();
    let NetTrouble::Timeout(late) = error else { panic!("{error:?}") };
    assert_eq!(late.bound, Bound::Silence);
    assert!(late.received > 0, "{late}");
}

#[test]
fn an_answer_that_keeps_coming_is_given_up_in_the_end() {
    let server = dripping(2 << 10, Duration::from_millis(100));
    let client = hurried(&server, Span::ms(800), Span::ms(900));
    let error = client.exchange(&get("/")).unwrap_err();
    let NetTrouble::Timeout(late) = error else { panic!("{error:?}") };
    assert_eq!((late.bound, late.after), (Bound::Whole, Span::ms(900)));
    assert!(late.to_string().contains("network.exchange_timeout"), "{late}");
}

#[test]
fn a_request_to_stop_ends_a_wait_that_has_no_grace() {
    let stop = Arc::new(AtomicBool::new(false));
    let (release, hold) = mpsc::channel::<()>();
    let hold = std::sync::Mutex::new(hold);
    let stopper = Arc::clone(&stop);
    let server = Server::start(None, move |wire, _| {
        receive(wire);
        stopper.store(true, Ordering::SeqCst);
        let _ = hold.lock().unwrap().recv();
    });
    let base = format!("http://127.0.0.1:{}", server.port);
    let client = client_with(&base, &network(), &Tls::new(None, &Arc::default()).unwrap(), &stop);
    let error = client.exchange(&get("/")).unwrap_err();
    assert!(error.to_string().contains("asked to stop"), "{error}");
    drop(release);
}

#[test]
fn a_delivery_in_flight_is_still_answered_after_a_request_to_stop() {
    let stop = Arc::new(AtomicBool::new(false));
    let stopper = Arc::clone(&stop);
    let server = Server::start(None, move |wire, _| {
        while receive(wire).is_some() {
            stopper.store(true, Ordering::SeqCst);
            answer(wire, "200 OK", "", b"ok");
        }
    });
    let base = format!("http://127.0.0.1:{}", server.port);
    let client = client_with(&base, &network(), &Tls::new(None, &Arc::default()).unwrap(), &stop);
    let patient = || Request { grace: Duration::from_secs(10), ..post(b"[]") };
    assert_eq!(body(client.exchange(&patient())), "ok");
    assert_eq!(body(client.exchange(&patient())), "ok");
}
