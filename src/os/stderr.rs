//! Stderr, for which commands wait and the collector does not.
//!
//! A reader of stderr that stalls (a log driver, a hung terminal) lets the pipe fill, and then a
//! write blocks for ever and SIGTERM is not noticed. So after `never_wait` a line that is not
//! accepted at once is lost, and counted; the rest of a line that was accepted in part is written
//! first as soon as possible.
//!
//! Promises: after `never_wait` no call here blocks; a line is whole or absent, and lost lines are
//! reported. Never: changes how another process with the same stderr writes to it: `O_NONBLOCK`
//! belongs to the open file description, not to the descriptor, so it is set on one opened anew for
//! this process alone; where that is not possible, poll(2) is asked before each piece. For a file
//! on a disk poll(2) always says yes, and a write blocks all the same where the mount hangs: a
//! thread writes it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fstat};

use super::file_writer::FileWriter;
use crate::limits::{LAST_WORDS_MS, STDERR_PIECE_BYTES};

/// One for a process: every line to stderr goes through it.
static STDERR: Mutex<Lines> = Mutex::new(Lines::new());

/// From now on no write here waits for the reader of stderr.
pub fn never_wait() {
    lock().way = Way::without_waiting();
}

/// Writes a line, which ends with its line feed. If a loss of earlier lines is not reported yet,
/// this line is lost too: call `catch_up` first.
pub fn put(line: &[u8]) {
    lock().put(line);
}

/// Writes what is pending, if it is accepted by now: the rest of a line, then the line that `line`
/// makes from the number of lost lines.
pub fn catch_up(line: impl FnOnce(u64) -> Vec<u8>) {
    lock().catch_up(line);
}

/// How many lines were lost since the start.
pub fn lost() -> u64 {
    lock().lost
}

/// Before the process ends: writes pending lines, waiting a short time at most.
pub fn finish() {
    if let Way::Later(writer) = &lock().way {
        writer.finish(Duration::from_millis(LAST_WORDS_MS));
    }
}

fn lock() -> MutexGuard<'static, Lines> {
    STDERR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How bytes reach stderr.
#[derive(Debug)]
enum Way {
    /// By a write that may block.
    Waiting,
    /// By an open file description of this process alone, with `O_NONBLOCK`.
    Own(File),
    /// By writing a piece when poll(2) says that it is accepted. A pipe that is writable takes
    /// `PIPE_BUF`, a socket more. Only another process that writes at the same moment could make it
    /// block.
    Asked,
    /// By a `FileWriter`, with its thread.
    Later(FileWriter),
}

impl Way {
    fn without_waiting() -> Way {
        let stderr = io::stderr();
        let kind = fstat(&stderr).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            // A socket can't be opened anew. A terminal can: poll(2) may say that it accepts a
            // byte, and the write of the others would block.
            Ok(FileType::Fifo | FileType::CharacterDevice) => {
                let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
                let own = OpenOptions::new().write(true).custom_flags(flags).open(OF_THIS_PROCESS);
                // Refused where the pipe is another user's, as in a container that does not run as
                // root.
                own.map_or(Way::Asked, Way::Own)
            }
            // The same open file description, and so the same offset; but without the lock of std's
            // stderr.
            Ok(FileType::RegularFile) => stderr
                .as_fd()
                .try_clone_to_owned()
                .and_then(|same| FileWriter::start(File::from(same)))
                .map_or(Way::Asked, Way::Later),
            _ => Way::Asked,
        }
    }

    /// Writes as much as is accepted at once; returns how many bytes.
    fn offer(&mut self, bytes: &[u8]) -> usize {
        match self {
            Way::Waiting => {
                // A closed stderr is no error.
                let _ = io::stderr().write_all(bytes);
                bytes.len()
            }
            Way::Own(file) => in_pieces(bytes, |piece| file.write(piece)),
            Way::Asked => in_pieces(bytes, |piece| match takes(io::stderr())? {
                true => io::stderr().write(piece),
                false => Err(io::ErrorKind::WouldBlock.into()),
            }),
            Way::Later(writer) => match writer.offer(bytes) {
                true => bytes.len(),
                false => 0,
            },
        }
    }
}

/// The stderr of the process that opens this path.
const OF_THIS_PROCESS: &str = "/proc/self/fd/2";

/// Whether a piece would be accepted at once.
fn takes(stream: impl AsFd) -> io::Result<bool> {
    let mut asked = [PollFd::new(&stream, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A closed pipe counts as accepting: its write fails at once.
    Ok(poll(&mut asked, Some(&at_once))? > 0)
}

/// Writes pieces up to the first that is not accepted whole.
fn in_pieces(bytes: &[u8], mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        let piece = &bytes[done..bytes.len().min(done + STDERR_PIECE_BYTES)];
        match write(piece) {
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(taken) => done += taken,
        }
    }
    done
}

/// What is to be written, and what was lost.
struct Lines {
    way: Way,
    /// The rest of a line that was accepted in part.
    owed: Vec<u8>,
    /// Lost lines that were not reported yet.
    unreported: u64,
    lost: u64,
}

impl Lines {
    const fn new() -> Lines {
        Lines { way: Way::Waiting, owed: Vec::new(), unreported: 0, lost: 0 }
    }

    fn put(&mut self, line: &[u8]) {
        let is_clear = self.owed.is_empty() && self.unreported == 0;
        if !is_clear || !self.begin(line) {
            self.unreported += 1;
            self.lost += 1;
        }
    }

    fn catch_up(&mut self, line: impl FnOnce(u64) -> Vec<u8>) {
        if !self.owed.is_empty() {
            let owed = std::mem::take(&mut self.owed);
            let done = self.way.offer(&owed);
            self.owed = owed[done..].to_vec();
        }
        if self.owed.is_empty() && self.unreported > 0 && self.begin(&line(self.unreported)) {
            self.unreported = 0;
        }
    }

    /// Writes a line, or the beginning of one and keeps the rest; `false`: nothing was accepted.
    fn begin(&mut self, line: &[u8]) -> bool {
        let done = self.way.offer(line);
        if done > 0 {
            self.owed = line[done..].to_vec();
        }
        done > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_piece_that_a_signal_interrupts_is_written_and_one_that_is_refused_ends_the_line() {
        let bytes = vec![b'x'; 3 * STDERR_PIECE_BYTES];
        let mut calls = 0;
        let interrupted = |piece: &[u8]| {
            calls += 1;
            match calls % 2 {
                1 => Err(io::ErrorKind::Interrupted.into()),
                _ => Ok(piece.len()),
            }
        };
        assert_eq!(in_pieces(&bytes, interrupted), bytes.len());
        assert_eq!(in_pieces(&bytes, |_| Err(io::ErrorKind::WouldBlock.into())), 0);
        assert_eq!(in_pieces(&bytes, |_| Ok(0)), 0);
    }

    #[test]
    fn no_line_begins_within_another_and_none_tells_of_no_loss() {
        let (mut lines, mut reader) = piped();
        lines.catch_up(|lost| panic!("{lost} lost"));
        let long = vec![b'x'; 1 << 20];
        lines.put(&long);
        assert!(!lines.owed.is_empty() && lines.lost == 0);
        let mut room = vec![0; 64 << 10];
        assert!(reader.read(&mut room).unwrap() > 0);
        let owed = lines.owed.len();
        lines.put(b"next\n");
        assert_eq!((lines.owed.len(), lines.lost), (owed, 1), "it is lost, whatever room there is");
        drop(reader);
    }

    /// Lines into a pipe of which the test has the reading end.
    fn piped() -> (Lines, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        (Lines { way: Way::Own(file), ..Lines::new() }, reader)
    }

    #[test]
    fn a_stalled_reader_costs_whole_lines_and_is_told_how_many_once_it_reads() {
        // Lengths below and above what a pipe takes whole.
        for length in [80, 3_000, 5_000, 100_000] {
            let (mut lines, mut reader) = piped();
            let line = |n: u64| format!("{n} {}\n", "x".repeat(length)).into_bytes();
            let told = |n: u64| format!("{n} lost\n").into_bytes();
            let (mut written, mut said) = (0, Vec::new());
            while lines.lost < 5 {
                lines.catch_up(told);
                lines.put(&line(written));
                written += 1;
            }
            assert!(lines.owed.len() < line(0).len());
            // What is read makes room for the rest, the count and all that follows.
            let mut bytes = [0; 64 << 10];
            while lines.unreported > 0 || !lines.owed.is_empty() {
                let n = reader.read(&mut bytes).unwrap();
                said.extend_from_slice(&bytes[..n]);
                lines.catch_up(told);
            }
            lines.put(b"after\n");
            let lost = lines.lost;
            drop(lines);
            reader.read_to_end(&mut said).unwrap();
            let said = String::from_utf8(said).unwrap();
            // The count is short, so there may be room for it where there is none for a line.
            let (counts, whole): (Vec<&str>, Vec<&str>) =
                said.lines().partition(|line| line.ends_with(" lost"));
            let told: u64 =
                counts.iter().map(|line| line[..line.len() - 5].parse::<u64>().unwrap()).sum();
            assert_eq!(told, lost, "{length}");
            assert_eq!(whole.len() as u64, written - lost + 1, "{length}");
            let lines = whole.split_last().unwrap().1;
            let rest = "x".repeat(length);
            assert!(lines.iter().all(|line| line.split_once(' ').unwrap().1 == rest), "{length}");
            assert_eq!(*whole.last().unwrap(), "after");
        }
    }

    #[test]
    fn a_pipe_is_asked_whether_it_takes_a_piece() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut writer = File::from(std::os::fd::OwnedFd::from(writer));
        let mut written = 0;
        while takes(&writer).unwrap() {
            // Would block if the check were wrong, because nothing reads the pipe.
            written += writer.write(&[b'x'; STDERR_PIECE_BYTES]).unwrap();
        }
        let mut bytes = vec![0; written];
        reader.read_exact(&mut bytes).unwrap();
        assert!(takes(&writer).unwrap());
        drop(reader);
        assert!(takes(&writer).unwrap(), "a write fails at once");
        assert_eq!(in_pieces(b"x", |piece| writer.write(piece)), 0);
    }

    #[test]
    fn a_file_is_always_written() {
        assert!(takes(File::options().write(true).open("/dev/null").unwrap()).unwrap());
        assert_eq!(in_pieces(&[b'x'; 10_000], |piece| Ok(piece.len().min(4_000))), 10_000);
    }
}
