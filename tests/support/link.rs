//! A thin link: so many bytes a second each way, shared by all that goes over it, and a delay.
//!
//! Promises: over any time no more is carried than the rate allows and one piece beside it; what was
//! carried is counted, each way. Never: loses or reorders a byte of a connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What goes at once: a packet's worth, or a tenth of a second's where that is less.
const PIECE_BYTES_MAX: u64 = 1_400;
const PIECE_BYTES_MIN: u64 = 64;

/// One direction.
pub struct Way {
    /// Bytes a second.
    rate: u64,
    delay: Duration,
    /// When what was carried so far has taken its time.
    paid: Mutex<Instant>,
    carried: AtomicU64,
}

pub struct Link {
    pub up: Way,
    pub down: Way,
}

impl Link {
    /// Both ways alike.
    pub fn new(bytes_a_second: u64, delay: Duration) -> Link {
        Link { up: Way::new(bytes_a_second, delay), down: Way::new(bytes_a_second, delay) }
    }

    /// Bytes that went up and down.
    pub fn carried(&self) -> (u64, u64) {
        (self.up.carried.load(Ordering::Relaxed), self.down.carried.load(Ordering::Relaxed))
    }
}

impl Way {
    fn new(rate: u64, delay: Duration) -> Way {
        assert!(rate > 0, "a link without a rate carries nothing");
        Way { rate, delay, paid: Mutex::new(Instant::now()), carried: AtomicU64::new(0) }
    }

    fn piece(&self) -> usize {
        (self.rate / 10).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX) as usize
    }

    /// Waits as long as so many bytes take.
    fn pass(&self, bytes: usize) {
        let cost = Duration::from_nanos(bytes as u64 * 1_000_000_000 / self.rate);
        let done = {
            let mut paid = self.paid.lock().unwrap();
            *paid = (*paid).max(Instant::now()) + cost;
            *paid
        };
        thread::sleep(done.saturating_duration_since(Instant::now()));
        self.carried.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Carries all that comes from one end to the other, and then the end of it.
    pub fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let (ahead, arrives) = mpsc::channel::<(Instant, Vec<u8>)>();
        let end = to.try_clone();
        thread::scope(|scope| {
            scope.spawn(move || -> io::Result<()> {
                for (at, piece) in arrives {
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                    to.write_all(&piece)?;
                }
                Ok(())
            });
            let mut piece = vec![0; self.piece()];
            while let Ok(read @ 1..) = from.read(&mut piece) {
                self.pass(read);
                if ahead.send((Instant::now() + self.delay, piece[..read].to_vec())).is_err() {
                    break;
                }
            }
            drop(ahead);
        });
        // Either may be gone already.
        let _ = end.and_then(|end| end.shutdown(Shutdown::Both));
        let _ = from.shutdown(Shutdown::Both);
    }
}
