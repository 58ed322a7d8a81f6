//! Signals as values, and a sleep that a signal ends at once.
//!
//! A handler sets a flag and writes a byte into a socket pair; the sleep is a read of that pair
//! with a time limit. So no thread is needed, and no signal is lost between checking the flags and
//! sleeping. Never: acts on a signal.
//!
//! The kernel runs a handler in one thread that does not block the signal, and begins with the main
//! one. While that waits for a mount (autofs, NFS, fsfreeze) its handlers do not run, and no other
//! thread is tried. So a program whose main thread may wait like that leaves the signals to a thread
//! that never does.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

/// What signals have asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// SIGTERM or SIGINT: begin no request, commit, exit.
    pub stop: bool,
    /// SIGHUP: the config is read again.
    pub reload: bool,
    /// SIGUSR1: poll and drain now.
    pub poll_now: bool,
}

/// No handler runs in this thread any more, nor in one that it starts: another thread has to
/// `listen`.
pub fn leave_to_others() -> io::Result<()> {
    Ok(handled().thread_block()?)
}

/// Handlers run in this thread, also where whoever started the program has blocked the signals.
pub fn listen() -> io::Result<()> {
    Ok(handled().thread_unblock()?)
}

/// A write beyond the largest size of a file (`ulimit -f`) fails with EFBIG, which is told, instead
/// of ending the program without a word. For this thread and those that it starts.
pub fn no_end_by_file_size() -> io::Result<()> {
    let signal: SigSet = [Signal::SIGXFSZ].into_iter().collect();
    Ok(signal.thread_block()?)
}

fn handled() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1].into_iter().collect()
}

/// Receives signals. One for a process.
#[derive(Debug)]
pub struct Inbox {
    pipe: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    poll_now: Arc<AtomicBool>,
    registered: Vec<SigId>,
    /// Kept open, so that a read never finds the pair closed, which would end every wait at once.
    _writer: UnixStream,
}

impl Inbox {
    pub fn open() -> io::Result<Inbox> {
        let (mut inbox, writer) = Inbox::unregistered()?;
        for (signal, flag) in [
            (SIGTERM, &inbox.stop),
            (SIGINT, &inbox.stop),
            (SIGHUP, &inbox.reload),
            (SIGUSR1, &inbox.poll_now),
        ] {
            // The flag first: handlers run in this order, so the flag is set before its byte
            // arrives.
            inbox.registered.push(signal_hook::flag::register(signal, Arc::clone(flag))?);
            let writer = writer.try_clone()?;
            inbox.registered.push(signal_hook::low_level::pipe::register(signal, writer)?);
        }
        Ok(inbox)
    }

    /// An inbox without handlers, and the other end of its pair.
    fn unregistered() -> io::Result<(Inbox, UnixStream)> {
        let (pipe, writer) = UnixStream::pair()?;
        let inbox = Inbox {
            pipe,
            stop: Arc::default(),
            reload: Arc::default(),
            poll_now: Arc::default(),
            registered: Vec::new(),
            _writer: writer.try_clone()?,
        };
        Ok((inbox, writer))
    }

    /// An inbox without handlers, for tests: signals are for the whole process.
    #[cfg(test)]
    pub fn deaf() -> io::Result<Inbox> {
        Inbox::unregistered().map(|(inbox, _)| inbox)
    }

    /// The flag that ends waits for the network early.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    pub fn is_pending(&self) -> bool {
        [&self.stop, &self.reload, &self.poll_now].iter().any(|flag| flag.load(Ordering::SeqCst))
    }

    /// The signals since the last call; `stop` stays set.
    pub fn take(&mut self) -> Signals {
        Signals {
            stop: self.stop.load(Ordering::SeqCst),
            reload: self.reload.swap(false, Ordering::SeqCst),
            poll_now: self.poll_now.swap(false, Ordering::SeqCst),
        }
    }

    /// Waits for a signal, at most this long. An error ends the wait early and is not reported: the
    /// caller checks flags and clock in any case.
    pub fn wait(&mut self, longest: Duration) {
        // A time limit of zero is an error, as it would mean none.
        let longest = longest.max(Duration::from_millis(1));
        if self.pipe.set_read_timeout(Some(longest)).is_ok() {
            let mut bytes = [0; 64];
            let _ = self.pipe.read(&mut bytes);
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock::mono;
    use crate::time::Span;
    use signal_hook::low_level::raise;

    #[test]
    fn a_thread_leaves_signals_to_others_until_it_listens() {
        let is_left = || SigSet::thread_get_mask().unwrap().contains(Signal::SIGHUP);
        let seen = std::thread::spawn(move || {
            leave_to_others().unwrap();
            let left = is_left();
            listen().unwrap();
            (left, is_left())
        });
        assert_eq!(seen.join().unwrap(), (true, false));
    }

    /// One test, for signals are the whole process's.
    #[test]
    fn a_signal_ends_the_wait_and_is_told_once_but_a_stop_stays() {
        let mut inbox = Inbox::open().unwrap();
        assert_eq!(inbox.take(), Signals::default());

        raise(SIGUSR1).unwrap();
        raise(SIGHUP).unwrap();
        let before = mono();
        inbox.wait(Duration::from_secs(30));
        assert!(mono().since(before) < Span::seconds(10));
        assert!(inbox.is_pending());
        assert_eq!(inbox.take(), Signals { stop: false, reload: true, poll_now: true });
        assert_eq!(inbox.take(), Signals::default());

        raise(SIGTERM).unwrap();
        assert!(inbox.take().stop);
        assert!(inbox.take().stop);
        assert!(inbox.stop_flag().load(Ordering::SeqCst));
    }
}
