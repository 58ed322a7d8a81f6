//! Tests of what is noticed of an exchange, over a transport that does what it is told.

use std::collections::VecDeque;
use std::io::ErrorKind;

use ureq::unversioned::transport::LazyBuffers;

use super::super::tls::CutShort;
use super::*;

const HOUR: Span = Span::hours(1);

/// A transport with one result for each call.
#[derive(Debug)]
struct Told {
    buffers: LazyBuffers,
    writes: VecDeque<Result<(), ErrorKind>>,
    /// How many bytes come.
    reads: VecDeque<Result<usize, ErrorKind>>,
}

impl Transport for Told {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, _amount: usize, _timeout: NextTimeout) -> Result<(), Error> {
        let result = self.writes.pop_front().expect("this is not to be written");
        result.map_err(|kind| Error::Io(kind.into()))
    }

    fn await_input(&mut self, _timeout: NextTimeout) -> Result<bool, Error> {
        let came = self.reads.pop_front().expect("this is not to be read");
        let came = came.map_err(|kind| Error::Io(kind.into()))?;
        self.buffers.input_append_buf()[..came].fill(b'x');
        self.buffers.input_appended(came);
        Ok(came > 0)
    }

    fn is_open(&mut self) -> bool {
        true
    }
}

fn meter<const W: usize, const R: usize>(
    writes: [Result<(), ErrorKind>; W],
    reads: [Result<usize, ErrorKind>; R],
) -> (Meter, Arc<Wire>) {
    let buffers = LazyBuffers::new(100, 100);
    let inner = Box::new(Told { buffers, writes: writes.into(), reads: reads.into() });
    let wire = Arc::new(Wire::default());
    (Meter { inner, wire: Arc::clone(&wire), hung_up: false }, wire)
}

fn write(meter: &mut Meter) -> Result<(), Error> {
    meter.transmit_output(1, NextTimeout::default())
}

fn read(meter: &mut Meter) -> Result<bool, Error> {
    meter.await_input(NextTimeout::default())
}

#[test]
fn a_peer_that_hangs_up_on_a_request_gets_no_more_of_it_and_its_answer_is_heard() {
    let (mut meter, wire) = meter([Ok(()), Err(ErrorKind::BrokenPipe)], [Ok(3), Ok(4), Ok(0)]);
    write(&mut meter).unwrap();
    assert!(meter.is_open() && !wire.is_unsent() && !wire.is_answered());
    write(&mut meter).unwrap();
    assert!(wire.is_unsent() && !meter.is_open());
    write(&mut meter).unwrap();
    assert!(read(&mut meter).unwrap() && wire.is_answered());
    assert!(read(&mut meter).unwrap() && !read(&mut meter).unwrap());
    assert_eq!(wire.received_bytes(), 7);
}

#[test]
fn a_connection_that_is_cut_is_never_taken_for_the_end_of_an_answer_nor_for_one_that_died() {
    use ErrorKind::{ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};

    for (kind, is_cut) in [
        (ConnectionReset, true),
        (ConnectionAborted, true),
        (UnexpectedEof, true),
        (TimedOut, false),
        (ErrorKind::PermissionDenied, false),
    ] {
        let (mut meter, wire) = meter([Err(kind)], [Err(kind)]);
        assert_eq!(write(&mut meter).is_ok(), is_cut, "{kind}");
        assert!(wire.is_unsent(), "{kind}");
        let Err(Error::Io(error)) = read(&mut meter) else { panic!("{kind}") };
        assert_eq!(error.get_ref().is_some_and(|inner| inner.is::<CutShort>()), is_cut, "{kind}");
        assert!(is_cut || error.kind() == kind);
        assert!(!wire.is_answered());
    }
}

#[test]
fn each_exchange_begins_with_nothing_of_the_one_before() {
    let wire = Wire::new(Arc::default(), HOUR);
    assert_eq!(wire.begin(Duration::ZERO, true), 0);
    assert!(wire.reuse(HOUR).is_some(), "it may be sent twice");
    wire.carried(5, 6);
    wire.note(|steps| steps.cause = Some(Cause::TlsFailed));
    wire.answered.store(true, Ordering::Relaxed);
    wire.unsent.store(true, Ordering::Relaxed);
    assert_eq!(wire.connections_made(), 0);
    wire.made.fetch_add(2, Ordering::Relaxed);

    assert_eq!(wire.begin(Duration::ZERO, false), 2);
    assert_eq!(wire.connections_made(), 2);
    assert_eq!(wire.reuse(HOUR), None);
    assert_eq!(wire.steps().cause, None);
    assert!(!wire.is_answered() && !wire.is_unsent());
    let NetTrouble::Timeout(late) = wire.late(Bound::Silence, HOUR) else { panic!() };
    assert_eq!((late.sent, late.received, late.after), (0, 0, HOUR));
}

#[test]
fn silence_ends_with_a_connection_or_with_progress_and_a_few_bytes_are_none() {
    let wire = Wire::new(Arc::default(), Span::ms(2_000));
    let is_silent = || wire.piece(NextTimeout::default(), Span::ZERO).is_err();
    let wait = || wire.moved.lock().unwrap().since = Mono(mono().0.saturating_sub(5_000));
    wire.begin(Duration::ZERO, true);
    assert!(!is_silent());
    wait();
    assert!(is_silent());
    wire.restart();
    assert!(!is_silent());
    wait();
    wire.carried(PROGRESS_BYTES - 2, 1);
    assert!(is_silent());
    wire.carried(0, 1);
    assert!(!is_silent(), "they add up");
    wire.carried(PROGRESS_BYTES - 1, 0);
    wire.restart();
    wait();
    wire.carried(PROGRESS_BYTES - 1, 0);
    assert!(is_silent(), "but not over connections");
}

#[test]
fn a_wait_without_grace_is_over_with_the_request_to_stop() {
    let stop = Arc::new(AtomicBool::new(false));
    let wire = Wire::new(Arc::clone(&stop), HOUR);
    assert!(!Stopping::default().is_over(&wire));
    stop.store(true, Ordering::SeqCst);
    assert!(Stopping::default().is_over(&wire));
    wire.begin(Duration::from_secs(3_600), true);
    assert!(!Stopping::default().is_over(&wire));
}

#[test]
fn an_address_is_blamed_only_where_there_is_one() {
    let wire = Wire::default();
    wire.blame_address();
    let addresses = [1, 2].map(|n| SocketAddr::from(([192, 0, 2, n], 443)));
    wire.note(|steps| steps.address = Some(addresses[0]));
    wire.blame_address();
    assert_eq!(wire.addresses.in_order(&addresses, mono()), [addresses[1], addresses[0]]);
    // A second client of the same service knows of it.
    let another = wire.another();
    assert_eq!(another.addresses.in_order(&addresses, mono()), [addresses[1], addresses[0]]);
}
