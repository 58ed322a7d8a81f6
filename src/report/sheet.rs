//! A file that is replaced regularly, on a disk or mount that may hang.
//!
//! Promises: a caller waits only briefly, and not at all once a write does not return; of several
//! contents that could not be written only the newest is kept; a change for the worse or the better
//! is reported once. Never: has more than one thread, or is waited for at the end of the process.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::status::replace;
use crate::limits::REPORT_HANG_SECONDS;
use crate::os::timeout_thread::{NoReply, Pending, TimeoutThread};
use crate::time::{Mono, Span};

/// A change to be logged.
#[derive(Debug)]
pub enum Turn {
    /// It could be written before, and can't any more.
    Fails(io::Error),
    /// A write has not returned for this long.
    Hangs(Span),
    /// The write returned.
    WrittenAgain { after: Span, skipped: u64 },
}

pub struct Sheet {
    file: PathBuf,
    write: fn(&Path, &[u8]) -> io::Result<()>,
    /// `None` before the first write, and where the system refuses a thread.
    helper: Option<TimeoutThread<()>>,
    /// The write in progress, and since when.
    under_way: Option<(Mono, Pending<io::Result<()>>)>,
    /// The newest content, to be written after that.
    next: Option<Vec<u8>>,
    /// Contents that were replaced by newer ones and never written.
    skipped: u64,
    is_hang_reported: bool,
    works: bool,
    turns: Vec<Turn>,
}

impl Sheet {
    pub fn new(file: PathBuf) -> Sheet {
        Sheet {
            file,
            write: replace,
            helper: None,
            under_way: None,
            next: None,
            skipped: 0,
            is_hang_reported: false,
            works: true,
            turns: vec![],
        }
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Writes this as soon as possible; waits up to `longest` for it unless a write hangs.
    pub fn put(&mut self, text: Vec<u8>, now: Mono, longest: Duration) {
        self.skipped += u64::from(self.next.replace(text).is_some());
        self.go_on(now, longest);
    }

    /// As `put`, for the last time: also waits for the write in progress, unless it hangs.
    pub fn finish(&mut self, text: Vec<u8>, now: Mono, longest: Duration) {
        if !self.is_hang_reported {
            self.collect(now, longest);
        }
        self.put(text, now, longest);
    }

    /// Whether the last content is in the file.
    pub fn is_written(&self) -> bool {
        self.works && self.under_way.is_none() && self.next.is_none()
    }

    fn go_on(&mut self, now: Mono, longest: Duration) {
        self.collect(now, Duration::ZERO);
        if self.under_way.is_some() {
            return;
        }
        let Some(text) = self.next.take() else { return };
        // Each caller gives its own limit, so the thread's timeout is unused.
        let start = || TimeoutThread::start("report", Duration::ZERO, || ());
        let Ok(helper) = self.helper.take().map_or_else(start, Ok) else {
            // A device that has no memory for one more thread still writes its status, in this one.
            let outcome = (self.write)(&self.file, &text);
            return self.written(outcome, now, now);
        };
        let (file, write) = (self.file.clone(), self.write);
        if let Ok(pending) = helper.begin(move |()| write(&file, &text)) {
            self.helper = Some(helper);
            self.under_way = Some((now, pending));
            self.collect(now, longest);
        }
    }

    /// The change since the last call, if there is one to log.
    pub fn look(&mut self, now: Mono) -> Option<Turn> {
        self.go_on(now, Duration::ZERO);
        if let Some((since, _)) = &self.under_way {
            let span = now.since(*since);
            if !self.is_hang_reported && span >= Span::seconds(REPORT_HANG_SECONDS) {
                self.is_hang_reported = true;
                self.turns.push(Turn::Hangs(span));
            }
        }
        (!self.turns.is_empty()).then(|| self.turns.remove(0))
    }

    /// Takes the result of the write in progress, if it comes in time.
    fn collect(&mut self, now: Mono, longest: Duration) {
        let Some((since, pending)) = self.under_way.take() else { return };
        match pending.wait(longest) {
            Ok(outcome) => self.written(outcome, since, now),
            Err(NoReply::TooLong) => self.under_way = Some((since, pending)),
            // The thread panicked, which has been logged. The next write gets a new one.
            Err(NoReply::Gone) => self.helper = None,
        }
    }

    fn written(&mut self, outcome: io::Result<()>, since: Mono, now: Mono) {
        match outcome {
            Ok(()) => self.works = true,
            Err(why) if self.works => {
                self.works = false;
                self.turns.push(Turn::Fails(why));
            }
            Err(_) => {}
        }
        let skipped = std::mem::take(&mut self.skipped);
        if std::mem::take(&mut self.is_hang_reported) {
            self.turns.push(Turn::WrittenAgain { after: now.since(since), skipped });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Read;

    use crate::test_world::temp::TempDir;

    const LONG: Duration = Duration::from_secs(60);

    fn at(second: u64) -> Mono {
        Mono::ZERO + Span::seconds(second)
    }

    /// A write that waits as long as nobody reads a pipe, as one on a mount waits for its server.
    fn into_pipe(file: &Path, text: &[u8]) -> io::Result<()> {
        fs::write(file, text)
    }

    #[test]
    fn what_can_be_written_is_there_at_once_and_a_failure_is_told_once() {
        let dir = TempDir::new("sheet");
        let file = dir.path().join("works");
        let mut sheet = Sheet::new(file.clone());
        sheet.put(b"one".to_vec(), at(0), LONG);
        assert_eq!(fs::read(&file).unwrap(), b"one");
        assert!(sheet.look(at(0)).is_none());
        fs::remove_file(&file).unwrap();
        let mut lost = Sheet::new(file.join("below/nothing"));
        lost.put(b"one".to_vec(), at(0), LONG);
        lost.put(b"two".to_vec(), at(1), LONG);
        assert!(matches!(lost.look(at(1)), Some(Turn::Fails(_))));
        assert!(lost.look(at(1)).is_none());
    }

    #[test]
    fn who_reads_while_it_is_written_sees_the_old_content_whole() {
        let dir = TempDir::new("sheet");
        let file = dir.path().join("whole");
        let mut sheet = Sheet::new(file.clone());
        sheet.put(b"the first".to_vec(), at(0), LONG);
        let mut opened = File::open(&file).unwrap();
        sheet.put(b"2nd".to_vec(), at(1), LONG);
        let mut read = String::new();
        opened.read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), fs::read(&file).unwrap()), ("the first", b"2nd".to_vec()));
    }

    #[test]
    fn a_write_that_hangs_is_not_waited_for_and_only_the_newest_content_follows_it() {
        let dir = TempDir::new("sheet");
        let pipe = dir.path().join("hangs");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        let mut sheet = Sheet { write: into_pipe, ..Sheet::new(pipe.clone()) };
        for second in 0..9 {
            let text = format!("{second}\n").into_bytes();
            sheet.put(text, at(second), Duration::from_millis(1));
            assert!(sheet.look(at(second)).is_none());
        }
        assert!(matches!(sheet.look(at(12)), Some(Turn::Hangs(span)) if span == Span::seconds(12)));
        assert!(sheet.look(at(60)).is_none(), "once");
        // The reader that it waited for, and which stays.
        let mut reader = File::options().read(true).write(true).open(&pipe).unwrap();
        let told = std::iter::repeat_with(|| {
            std::thread::yield_now();
            sheet.look(at(70))
        });
        let turn = told.flatten().next();
        let Some(Turn::WrittenAgain { after, skipped }) = turn else { panic!("{turn:?}") };
        assert_eq!((after, skipped), (Span::seconds(70), 7));
        sheet.finish(b"9\n".to_vec(), at(71), LONG);
        let mut written = [0; 6];
        reader.read_exact(&mut written).unwrap();
        assert_eq!(&written, b"0\n8\n9\n");
    }
}
