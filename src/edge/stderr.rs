//! Stderr, which commands wait for and the collector does not.
//!
//! A reader of stderr that stalls (a log driver, a dead terminal) fills its pipe, and then a write
//! waits for ever, deaf to SIGTERM. So after `never_wait` a line that is not taken at once is lost,
//! and counted; the rest of one that was taken in part goes first as soon as it can.
//!
//! Promises: after `never_wait` no call here waits; a line is whole or absent, and what is absent is
//! told. Never: changes how another process that has the same stderr open writes to it: `O_NONBLOCK`
//! belongs to the open file, not to the descriptor, so it is set on one opened anew for this process
//! alone; where that can't be had, stderr is asked before each piece whether it takes one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fstat};

use crate::limits::STDERR_PIECE_BYTES;

/// One for a process: whoever writes to stderr does it by this.
static STDERR: Mutex<Lines> = Mutex::new(Lines::new());

/// From now on nothing that is written here waits for whoever reads stderr.
pub fn never_wait() {
    lock().way = Way::without_waiting();
}

/// Writes a line, which ends with its line feed. Where lines were lost before it and that is not told
/// yet, it is lost too: call `catch_up` first.
pub fn put(line: &[u8]) {
    lock().put(line);
}

/// Writes what is owed, if it is taken by now: the rest of a line, then the line that `told` makes of
/// how many were lost.
pub fn catch_up(told: impl FnOnce(u64) -> Vec<u8>) {
    lock().catch_up(told);
}

/// How many lines were lost since the start.
pub fn lost() -> u64 {
    lock().lost
}

fn lock() -> MutexGuard<'static, Lines> {
    STDERR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How bytes reach stderr.
#[derive(Debug)]
enum Way {
    /// By a write that may wait.
    Waiting,
    /// By an open file of this process alone, whose writes do not wait.
    Own(File),
    /// By a write of a piece that poll(2) says is taken. A pipe that can be written takes `PIPE_BUF`,
    /// a socket more. Only another process that writes at this very moment could make it wait.
    Asked,
}

impl Way {
    fn without_waiting() -> Way {
        let stderr = io::stderr();
        let kind = fstat(&stderr).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            // A socket can't be opened anew, and a file on a disk has no reader to wait for. A
            // terminal can: it may say that it takes a byte and then wait for room for the others.
            Ok(FileType::Fifo | FileType::CharacterDevice) => {
                let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
                let own = OpenOptions::new().write(true).custom_flags(flags).open(OF_THIS_PROCESS);
                // Refused where the pipe is another user's, as in a container that is not root's.
                own.map_or(Way::Asked, Way::Own)
            }
            _ => Way::Asked,
        }
    }

    /// Writes as much as is taken at once; how much that was.
    fn offer(&mut self, bytes: &[u8]) -> usize {
        match self {
            Way::Waiting => {
                // Whoever closed it has read enough.
                let _ = io::stderr().write_all(bytes);
                bytes.len()
            }
            Way::Own(file) => in_pieces(bytes, |piece| file.write(piece)),
            Way::Asked => in_pieces(bytes, |piece| match takes(io::stderr())? {
                true => io::stderr().write(piece),
                false => Err(io::ErrorKind::WouldBlock.into()),
            }),
        }
    }
}

/// Stderr of whoever looks.
const OF_THIS_PROCESS: &str = "/proc/self/fd/2";

/// Whether a piece is taken at once.
fn takes(stream: impl AsFd) -> io::Result<bool> {
    let mut asked = [PollFd::new(&stream, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A closed pipe counts too: its write fails at once.
    Ok(poll(&mut asked, Some(&at_once))? > 0)
}

/// Writes pieces up to the first that is not taken whole.
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

/// What is written, what is owed, and what was lost.
struct Lines {
    way: Way,
    /// The rest of a line that was taken in part.
    owed: Vec<u8>,
    /// Lines lost that no line has told of.
    untold: u64,
    lost: u64,
}

impl Lines {
    const fn new() -> Lines {
        Lines { way: Way::Waiting, owed: Vec::new(), untold: 0, lost: 0 }
    }

    fn put(&mut self, line: &[u8]) {
        let is_clear = self.owed.is_empty() && self.untold == 0;
        if !is_clear || !self.begin(line) {
            self.untold += 1;
            self.lost += 1;
        }
    }

    fn catch_up(&mut self, told: impl FnOnce(u64) -> Vec<u8>) {
        if !self.owed.is_empty() {
            let owed = std::mem::take(&mut self.owed);
            let done = self.way.offer(&owed);
            self.owed = owed[done..].to_vec();
        }
        if self.owed.is_empty() && self.untold > 0 && self.begin(&told(self.untold)) {
            self.untold = 0;
        }
    }

    /// Writes a line, or the beginning of one whose rest is owed; `false`: nothing of it was taken.
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
            while lines.untold > 0 || !lines.owed.is_empty() {
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
            // Would wait for ever if the answer were wrong: nobody reads meanwhile.
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
