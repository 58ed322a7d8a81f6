//! Tests of the choice among addresses: with made-up sockets and a clock that is moved, and once
//! with the kernel's.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::super::tcp::Kernel;
use super::super::wire::Wire;
use super::*;

/// How an address behaves.
#[derive(Clone, Copy)]
enum Way {
    /// Connects after so many milliseconds.
    Answers(u64),
    Refuses,
    /// The network itself says no, at once.
    NoRoute,
    Silent,
}

/// A network that is told how each address behaves.
struct Net {
    now: Mono,
    ways: HashMap<SocketAddr, Way>,
    /// Which were begun, in order.
    begun: Vec<SocketAddr>,
    stop_at: Option<Mono>,
}

impl Net {
    fn new(ways: &[Way]) -> (Net, Vec<SocketAddr>) {
        let addresses: Vec<SocketAddr> =
            (0..ways.len() as u8).map(|n| ([192, 0, 2, n], 443).into()).collect();
        let ways = addresses.iter().copied().zip(ways.iter().copied()).collect();
        (Net { now: Mono(1_000_000), ways, begun: Vec::new(), stop_at: None }, addresses)
    }
}

impl Sockets for Net {
    type Attempt = (SocketAddr, Mono);
    type Made = SocketAddr;

    fn now(&mut self) -> Mono {
        self.now
    }

    fn begin(&mut self, address: SocketAddr) -> io::Result<Self::Attempt> {
        self.begun.push(address);
        match self.ways[&address] {
            Way::NoRoute => Err(ErrorKind::NetworkUnreachable.into()),
            Way::Answers(ms) => Ok((address, self.now + Span::ms(ms))),
            Way::Refuses => Ok((address, self.now + Span::ms(1))),
            Way::Silent => Ok((address, Mono(u64::MAX))),
        }
    }

    fn wait(
        &mut self,
        attempts: &[Waiting<Self::Attempt>],
        at_most: Span,
    ) -> io::Result<Option<usize>> {
        let until = self.now + at_most;
        let (place, at) = attempts
            .iter()
            .enumerate()
            .map(|(place, one)| (place, one.attempt.1))
            .min_by_key(|(_, at)| *at)
            .unwrap();
        self.now = until.min(at.max(self.now));
        Ok((at <= self.now).then_some(place))
    }

    fn end(&mut self, (address, _): Self::Attempt) -> io::Result<SocketAddr> {
        match self.ways[&address] {
            Way::Refuses => Err(ErrorKind::ConnectionRefused.into()),
            _ => Ok(address),
        }
    }

    fn is_over(&mut self) -> bool {
        self.stop_at.is_some_and(|at| self.now >= at)
    }
}

const LIMIT: Span = Span::seconds(10);

/// Connects, and tells how many milliseconds it took.
fn timed(
    memory: &Addresses,
    net: &mut Net,
    addresses: &[SocketAddr],
) -> (Result<SocketAddr, Lost>, u64) {
    let begun = net.now;
    net.begun.clear();
    let result = connect(memory, addresses, LIMIT, net).map(|(made, _)| made);
    (result, net.now.since(begun).as_ms())
}

#[test]
fn dead_addresses_before_a_living_one_cost_a_moment_once() {
    for dead in [1, 4, 8, 15] {
        let mut ways = vec![Way::Silent; dead];
        ways.push(Way::Answers(20));
        let (mut net, addresses) = Net::new(&ways);
        let memory = Addresses::default();
        let (first, took) = timed(&memory, &mut net, &addresses);
        assert_eq!((first.unwrap(), took), (addresses[dead], 250 * dead as u64 + 20));
        for _ in 0..3 {
            let (again, took) = timed(&memory, &mut net, &addresses);
            assert_eq!((again.unwrap(), took), (addresses[dead], 20));
            assert_eq!(net.begun, [addresses[dead]], "the dead are not even begun");
        }
        net.now = net.now + Span::minutes(DEAF_ADDRESS_MINUTES);
        timed(&memory, &mut net, &addresses).0.unwrap();
        assert_eq!(net.begun, addresses, "after a while they are as good as any");
    }
}

#[test]
fn a_dead_address_is_never_left_out_and_forgotten_once_it_answers() {
    let (mut net, addresses) = Net::new(&[Way::Silent, Way::Answers(5)]);
    let memory = Addresses::default();
    timed(&memory, &mut net, &addresses).0.unwrap();
    net.ways.insert(addresses[0], Way::Answers(5));
    net.ways.insert(addresses[1], Way::Refuses);
    assert_eq!(timed(&memory, &mut net, &addresses).0.unwrap(), addresses[0]);
    assert_eq!(net.begun, [addresses[1], addresses[0]]);
    timed(&memory, &mut net, &addresses).0.unwrap();
    assert_eq!(net.begun, [addresses[0]], "it is first again");
}

#[test]
fn an_address_that_is_refused_or_out_of_reach_costs_no_wait() {
    let (mut net, addresses) = Net::new(&[Way::NoRoute, Way::Refuses, Way::Answers(7)]);
    let (made, took) = timed(&Addresses::default(), &mut net, &addresses);
    assert_eq!((made.unwrap(), took), (addresses[2], 8));
}

/// A link slower than the pause: the first to answer is taken, however many were begun, and the
/// next connection begins one alone.
#[test]
fn on_a_slow_link_one_connection_is_made_and_not_many() {
    let (mut net, addresses) = Net::new(&[Way::Answers(900); 4]);
    let memory = Addresses::default();
    let (made, took) = timed(&memory, &mut net, &addresses);
    assert_eq!((made.unwrap(), took, net.begun.len()), (addresses[0], 900, 4));
    timed(&memory, &mut net, &addresses).0.unwrap();
    assert_eq!(net.begun, [addresses[0]]);
}

#[test]
fn each_address_has_half_the_limit_on_the_slowest_link() {
    let (mut net, addresses) = Net::new(&[Way::Answers(4_900); 16]);
    let memory = Addresses::default();
    memory.answered(addresses[0], Span::seconds(9));
    net.ways.extend(addresses[..15].iter().map(|address| (*address, Way::Silent)));
    let (made, took) = timed(&memory, &mut net, &addresses);
    assert!(took <= LIMIT.as_ms(), "{took}");
    assert_eq!(made.unwrap(), addresses[15]);
}

#[test]
fn where_nothing_answers_the_limit_is_kept_and_said_apart_from_a_refusal() {
    let (mut net, addresses) = Net::new(&[Way::Silent, Way::Refuses]);
    let memory = Addresses::default();
    let (lost, took) = timed(&memory, &mut net, &addresses);
    assert!(matches!(lost, Err(Lost::Late)), "{lost:?}");
    assert_eq!(took, LIMIT.as_ms());
    let (mut net, addresses) = Net::new(&[Way::NoRoute, Way::Refuses]);
    let Err(Lost::Failed(error)) = timed(&memory, &mut net, &addresses).0 else { panic!() };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let (mut net, addresses) = Net::new(&[Way::Refuses, Way::NoRoute]);
    let Err(Lost::Failed(error)) = timed(&memory, &mut net, &addresses).0 else { panic!() };
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
}

#[test]
fn whatever_did_not_answer_once_comes_last_the_next_time() {
    for way in [Way::Silent, Way::NoRoute, Way::Refuses] {
        let (mut net, addresses) = Net::new(&[way, Way::Answers(5)]);
        let memory = Addresses::default();
        timed(&memory, &mut net, &addresses[..1]).0.unwrap_err();
        timed(&memory, &mut net, &addresses).0.unwrap();
        assert_eq!(net.begun, addresses[1..]);
        // Until it answers.
        net.ways.insert(addresses[0], Way::Answers(5));
        timed(&memory, &mut net, &addresses[..1]).0.unwrap();
        timed(&memory, &mut net, &addresses).0.unwrap();
        assert_eq!(net.begun, addresses[..1]);
    }
}

#[test]
fn a_refusal_does_not_delay_the_next_address_while_another_is_silent() {
    let (mut net, addresses) = Net::new(&[Way::Silent, Way::Refuses, Way::Answers(7)]);
    let (made, took) = timed(&Addresses::default(), &mut net, &addresses);
    assert_eq!((made.unwrap(), took), (addresses[2], 250 + 1 + 7));
}

#[test]
fn a_request_to_stop_ends_the_wait_and_blames_nobody() {
    let (mut net, addresses) = Net::new(&[Way::Silent, Way::Silent]);
    let memory = Addresses::default();
    net.stop_at = Some(net.now + Span::seconds(3));
    let (lost, took) = timed(&memory, &mut net, &addresses);
    assert!(matches!(lost, Err(Lost::Stopped)), "{lost:?}");
    assert!(took <= 3_000 + NETWORK_WAIT_PIECE_MS, "{took}");
    memory.with(|memory| assert!(memory.deaf.is_empty()));
}

#[test]
fn the_memory_is_bounded() {
    let memory = Addresses::default();
    for port in 0..1_000 {
        memory.did_not_answer(([192, 0, 2, 1], port).into(), Mono(5));
    }
    memory.with(|memory| assert_eq!(memory.deaf.len(), DEAF_ADDRESSES_MAX));
    // One address that fails again and again makes no other forgotten.
    let [one, again] = [1, 2].map(|n| SocketAddr::from(([192, 0, 2, n], 443)));
    memory.did_not_answer(one, Mono(5));
    (0..1_000).for_each(|_| memory.did_not_answer(again, Mono(6)));
    let fresh = ([192, 0, 2, 3], 443).into();
    assert_eq!(memory.in_order(&[one, fresh], Mono(7)), [fresh, one]);
}

/// A listener that accepts nobody and whose queue is full stands for a dead address.
#[test]
fn the_kernel_connects_past_an_address_that_is_silent() {
    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let silent = TcpListener::from(socket);
    let wait = std::time::Duration::from_millis(300);
    let dead = silent.local_addr().unwrap();
    let mut full = Vec::new();
    while let Ok(one) = std::net::TcpStream::connect_timeout(&dead, wait) {
        full.push(one);
    }
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = unused.local_addr().unwrap();
    drop(unused);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let living = listener.local_addr().unwrap();

    let (memory, wire) = (Addresses::default(), Wire::default());
    let addresses = [dead, refusing, living];
    for _ in 0..2 {
        let mut kernel = Kernel::new(&wire);
        let (stream, address) =
            connect(&memory, &addresses, Span::minutes(5), &mut kernel).unwrap();
        assert_eq!((stream.peer_addr().unwrap(), address), (living, living));
        let probed = rustix::net::sockopt::socket_keepalive(&stream).unwrap();
        let after = rustix::net::sockopt::tcp_keepidle(&stream).unwrap();
        assert!(probed && after.as_secs() == crate::limits::IDLE_PROBE_SECONDS);
        let every = rustix::net::sockopt::tcp_keepintvl(&stream).unwrap();
        let count = rustix::net::sockopt::tcp_keepcnt(&stream).unwrap();
        assert_eq!(every.as_secs(), crate::limits::IDLE_PROBE_EVERY_SECONDS);
        assert_eq!(count, crate::limits::IDLE_PROBES);
        let flags = rustix::fs::fcntl_getfl(&stream).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "reads wait, and do not spin");
        assert!(stream.nodelay().unwrap(), "the last piece of a request waits for nothing");
    }
    let order = memory.in_order(&addresses, crate::os::clock::mono());
    assert_eq!(order, [living, dead, refusing]);
}

#[test]
fn the_kernel_connects_to_nothing_after_a_request_to_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stop = std::sync::Arc::new(true.into());
    let wire = Wire::new(stop, Span::seconds(10));
    let addresses = [listener.local_addr().unwrap()];
    let lost = connect(&Addresses::default(), &addresses, LIMIT, &mut Kernel::new(&wire));
    assert!(matches!(lost, Err(Lost::Stopped)), "{lost:?}");
}
