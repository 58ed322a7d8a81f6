//! Tests of one connection over loopback, whose other end the test has in its hand.

use std::net::TcpListener;

use ureq::Timeout;
use ureq::unversioned::transport::time as span;

use super::*;
use crate::limits::IDLE_ACKNOWLEDGED_SECONDS_MAX;
use crate::record::{Bound, NetTrouble};

/// A connection, its peer, and what is noticed of it.
fn connected() -> (Tcp, TcpStream, Arc<Wire>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (peer, _) = listener.accept().unwrap();
    let wire = Arc::new(Wire::new(Arc::default(), Span::minutes(1)));
    wire.begin(Duration::ZERO, true);
    (Tcp::new(stream, Arc::clone(&wire)), peer, wire)
}

fn within(ms: u64) -> NextTimeout {
    let after = span::Duration::from_millis(ms);
    NextTimeout { after, reason: Timeout::SendBody, ..NextTimeout::default() }
}

const LONG: u64 = 60_000;

/// Bytes that count as sent in this exchange.
fn sent(wire: &Wire) -> u64 {
    let NetTrouble::Timeout(late) = wire.late(Bound::Silence, Span::ZERO) else { panic!() };
    late.sent
}

/// Waits until the peer's kernel has all.
fn settle(tcp: &Tcp) {
    while unacknowledged(&tcp.stream) != Some(0) {
        std::thread::yield_now();
    }
}

#[test]
fn bytes_count_as_sent_once_they_are_acknowledged_and_in_their_exchange_only() {
    const NEVER: Mono = Mono(u64::MAX);
    let (mut tcp, _peer, wire) = connected();
    tcp.sent.due = NEVER;
    tcp.transmit_output(1_000, within(LONG)).unwrap();
    settle(&tcp);
    tcp.look_at_sent();
    assert_eq!(sent(&wire), 0, "it is not looked at each time");
    let begun = mono();
    tcp.sent.due = Mono::ZERO;
    tcp.transmit_output(1, within(LONG)).unwrap();
    assert!(sent(&wire) >= 1_000);
    assert!(tcp.sent.due > begun, "and not again at once");
    for (bytes, all) in [(0, 1_001), (0, 1_001), (300, 1_301)] {
        tcp.sent.due = NEVER;
        tcp.transmit_output(bytes, within(LONG)).unwrap();
        settle(&tcp);
        tcp.sent.due = Mono::ZERO;
        tcp.look_at_sent();
        assert_eq!(sent(&wire), all, "each byte once");
    }
    tcp.sent.due = NEVER;
    tcp.transmit_output(300, within(LONG)).unwrap();
    settle(&tcp);
    assert!(tcp.is_open());
    wire.begin(Duration::ZERO, true);
    tcp.sent.due = Mono::ZERO;
    tcp.look_at_sent();
    assert_eq!(sent(&wire), 0, "those of the exchange before");
}

#[test]
fn a_write_that_finds_no_room_ends_with_its_time() {
    let (mut tcp, _peer, _wire) = connected();
    let write = |_| tcp.transmit_output(CONNECTION_BUFFER_BYTES, within(20)).err();
    // The first one has sent a part, and those after it nothing.
    for error in (0..10_000).filter_map(write).take(5) {
        assert!(matches!(error, Error::Timeout(Timeout::SendBody)), "{error:?}");
    }
}

#[test]
fn a_read_tells_data_from_the_end_and_has_no_time_where_none_is_left() {
    let (mut tcp, mut peer, wire) = connected();
    tcp.heard = Mono::ZERO;
    peer.write_all(b"data").unwrap();
    assert!(tcp.await_input(within(LONG)).unwrap());
    assert_eq!(tcp.buffers.input(), b"data");
    assert!(tcp.heard > Mono::ZERO, "it was not idle since the boot");
    assert_eq!(sent(&wire), 0);
    for _ in 0..2 {
        let late = tcp.await_input(within(5));
        assert!(matches!(late, Err(Error::Timeout(_))), "{late:?}");
    }
    peer.write_all(b"more").unwrap();
    let late = tcp.await_input(within(0));
    assert!(matches!(late, Err(Error::Timeout(_))), "{late:?}");
    assert!(tcp.await_input(within(LONG)).unwrap());
    drop(peer);
    assert!(!tcp.await_input(within(LONG)).unwrap());
}

#[test]
fn an_idle_connection_is_open_only_while_nothing_came() {
    let (mut tcp, mut peer, _wire) = connected();
    assert!(tcp.is_open());
    let flags = rustix::fs::fcntl_getfl(&tcp.stream).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "reads wait, and do not spin");
    peer.write_all(b"408").unwrap();
    assert_eq!(tcp.stream.peek(&mut [0]).unwrap(), 1);
    assert!(!tcp.is_open(), "bytes that nobody asked for");
    let (mut tcp, peer, _wire) = connected();
    drop(peer);
    assert_eq!(tcp.stream.peek(&mut [0]).unwrap(), 0);
    assert!(!tcp.is_open(), "its peer closed it");
}

#[test]
fn an_old_connection_has_to_acknowledge_a_request_soon_until_it_answers() {
    let (mut tcp, mut peer, wire) = connected();
    let limit = |tcp: &Tcp| u64::from(sockopt::tcp_user_timeout(&tcp.stream).unwrap());
    assert_eq!((tcp.is_open(), limit(&tcp)), (true, 0), "a young one need not");
    wire.idle().take_each_for_old();
    tcp.heard = Mono(mono().0.saturating_sub(100));
    assert_eq!((tcp.is_open(), limit(&tcp)), (true, 1_000 * IDLE_ACKNOWLEDGED_SECONDS_MAX));
    peer.write_all(b"data").unwrap();
    assert!(tcp.await_input(within(LONG)).unwrap());
    assert_eq!(limit(&tcp), 0, "a long answer may pause");
}
