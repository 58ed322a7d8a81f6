//! A file on a mount that may hang, written by a thread of its own.
//!
//! No system call tells whether a write to a file on a disk would block, and none prevents it.
//!
//! Promises: a caller never waits; accepted lines are written in order and whole, unless the
//! process ends before; if the file can't be written (a full disk), they are kept for the next try.
//! Never: holds more than `STDERR_WAITING_BYTES_MAX`, except for a single line that is longer.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::signal;
use crate::limits::STDERR_WAITING_BYTES_MAX;

#[derive(Debug)]
pub struct FileWriter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Bytes that the thread is writing now.
    in_hand: usize,
    /// The last write failed. It is tried again with the next line.
    failed: bool,
}

impl FileWriter {
    /// Starts the thread; an error where the system refuses one.
    pub fn start(file: impl Write + Send + 'static) -> io::Result<FileWriter> {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        let write = move || {
            // It may wait for its mount, and then hears none. Where that fails, one may be late.
            let _ = signal::leave_to_others();
            writer.write_all_to(file)
        };
        std::thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok(FileWriter(shared))
    }

    /// Accepts all of the bytes, or none where too many wait already.
    pub fn offer(&self, bytes: &[u8]) -> bool {
        let mut waiting = self.0.lock();
        let held = waiting.bytes.len() + waiting.in_hand;
        let is_taken = held == 0 || held + bytes.len() <= STDERR_WAITING_BYTES_MAX;
        if is_taken {
            waiting.bytes.extend_from_slice(bytes);
        }
        waiting.failed = false;
        self.0.changed.notify_all();
        is_taken
    }

    /// Waits until all accepted bytes are written or can't be written, at most this long.
    pub fn finish(&self, longest: Duration) {
        let is_under_way =
            |waiting: &mut Waiting| !waiting.failed && waiting.bytes.len() + waiting.in_hand > 0;
        // Written, failed or too late: what is left after the wait is lost.
        let _ = self.0.changed.wait_timeout_while(self.0.lock(), longest, is_under_way);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: writes accepted bytes until the process ends.
    fn write_all_to(&self, mut file: impl Write) {
        loop {
            let mut bytes = self.take();
            let mut written = 0;
            while written < bytes.len() {
                match file.write(&bytes[written..]) {
                    Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => break,
                    Ok(taken) => written += taken,
                }
            }
            bytes.drain(..written);
            let mut waiting = self.lock();
            (waiting.in_hand, waiting.failed) = (0, !bytes.is_empty());
            bytes.append(&mut waiting.bytes);
            waiting.bytes = bytes;
            self.changed.notify_all();
        }
    }

    /// Waits for bytes and takes all of them to write.
    fn take(&self) -> Vec<u8> {
        let nothing = |waiting: &mut Waiting| waiting.failed || waiting.bytes.is_empty();
        let waiting = self.changed.wait_while(self.lock(), nothing);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        waiting.in_hand = waiting.bytes.len();
        std::mem::take(&mut waiting.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{self, Receiver, Sender};

    const LONG: Duration = Duration::from_secs(60);

    /// A file that writes once it is let, or fails as it is told.
    struct Held {
        lets: Receiver<io::Result<usize>>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = self.lets.recv().unwrap_or(Ok(usize::MAX))?;
            let taken = bytes.len().min(most);
            let _ = self.written.send(bytes[..taken].to_vec());
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn held() -> (FileWriter, Sender<io::Result<usize>>, Receiver<Vec<u8>>) {
        let ((lets, let_by), (written, got)) = (mpsc::channel(), mpsc::channel());
        (FileWriter::start(Held { lets: let_by, written }).unwrap(), lets, got)
    }

    #[test]
    fn a_file_that_hangs_makes_nobody_wait_and_takes_what_there_was_room_for_once_it_writes() {
        let (writer, lets, got) = held();
        let line = [[b'x'; 1_023].as_slice(), b"\n"].concat();
        let mut taken = 0;
        while writer.offer(&line) {
            taken += 1;
        }
        assert_eq!(taken, STDERR_WAITING_BYTES_MAX / line.len());
        writer.finish(Duration::ZERO);
        drop(lets);
        writer.finish(LONG);
        let written: Vec<u8> = got.try_iter().flatten().collect();
        assert!(written == line.repeat(taken));
        assert!(writer.offer(&line), "there is room again");
        writer.finish(LONG);
        assert_eq!(got.try_recv(), Ok(line));
    }

    #[test]
    fn what_is_being_written_counts_as_held_and_what_comes_meanwhile_is_written_after_it() {
        let (writer, lets, got) = held();
        let first = vec![b'x'; STDERR_WAITING_BYTES_MAX - 4];
        assert!(writer.offer(&first));
        while writer.0.lock().in_hand < first.len() {
            std::thread::yield_now();
        }
        assert!(!writer.offer(b"12345"), "there is no room");
        assert!(writer.offer(b"two\n"));
        lets.send(Err(io::ErrorKind::Interrupted.into())).unwrap();
        lets.send(Ok(first.len())).unwrap();
        writer.finish(Duration::ZERO);
        drop(lets);
        writer.finish(LONG);
        let written: Vec<u8> = got.try_iter().flatten().collect();
        assert!(written == [&first[..], b"two\n"].concat());
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_written_with_the_next_line() {
        let (writer, lets, got) = held();
        lets.send(Ok(2)).unwrap();
        lets.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        assert!(writer.offer(b"one\n"));
        writer.finish(LONG);
        assert_eq!(got.try_recv().unwrap(), b"on");
        drop(lets);
        assert!(got.recv_timeout(Duration::from_millis(20)).is_err(), "not before the next line");
        assert!(writer.offer(b"two\n"));
        writer.finish(LONG);
        let rest: Vec<u8> = got.try_iter().flatten().collect();
        assert_eq!(rest, b"e\ntwo\n");
    }

    #[test]
    fn a_line_that_is_longer_than_all_that_may_wait_is_taken_alone() {
        let (writer, lets, got) = held();
        let long = vec![b'x'; 2 * STDERR_WAITING_BYTES_MAX];
        assert!(writer.offer(&long));
        assert!(!writer.offer(b"x\n"));
        drop(lets);
        writer.finish(LONG);
        assert_eq!(got.try_iter().flatten().count(), long.len());
    }
}
