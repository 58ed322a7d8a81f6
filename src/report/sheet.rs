//! A file that is replaced again and again, on a disk or mount that may hang.
//!
//! Promises: whoever writes waits a moment at most, and not at all once a write has not come back; of
//! what could not be written meanwhile only the newest waits; a change for the worse or the better is
//! told once. Never: has more than one thread, or is waited for at the end of the process.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::status::replace;
use crate::edge::helper::{Helper, Pending, Silence};
use crate::limits::REPORT_HANG_SECONDS;
use crate::time::{Mono, Span};

/// What is worth a line.
#[derive(Debug)]
pub enum Turn {
    /// It could be written before, and can't any more.
    Fails(io::Error),
    /// A write has not come back for so long.
    Hangs(Span),
    /// ... and now it did.
    WrittenAgain { after: Span, skipped: u64 },
}

pub struct Sheet {
    file: PathBuf,
    write: fn(&Path, &[u8]) -> io::Result<()>,
    /// `None` before the first write, and where the system grants no thread.
    helper: Option<Helper<()>>,
    /// Since when a write has been under way.
    under_way: Option<(Mono, Pending<io::Result<()>>)>,
    /// The newest content, which waits for it.
    next: Option<Vec<u8>>,
    /// What waited before it and was never written.
    skipped: u64,
    is_told_to_hang: bool,
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
            is_told_to_hang: false,
            works: true,
            turns: vec![],
        }
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Writes this as soon as it can be; where nothing hangs it waits so long for it.
    pub fn put(&mut self, text: Vec<u8>, now: Mono, longest: Duration) {
        self.skipped += u64::from(self.next.replace(text).is_some());
        self.go_on(now, longest);
    }

    /// The same for the last time, so also what is under way is waited for, unless it hangs.
    pub fn finish(&mut self, text: Vec<u8>, now: Mono, longest: Duration) {
        if !self.is_told_to_hang {
            self.collect(now, longest);
        }
        self.put(text, now, longest);
    }

    fn go_on(&mut self, now: Mono, longest: Duration) {
        self.collect(now, Duration::ZERO);
        if self.under_way.is_some() {
            return;
        }
        let Some(text) = self.next.take() else { return };
        // Whoever waits says how long, so this thread's own patience is nobody's.
        let start = || Helper::start("report", Duration::ZERO, || ());
        let Ok(helper) = self.helper.take().map_or_else(start, Ok) else {
            // A box that has no memory for one more thread still tells how it is.
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

    /// What is worth a line since this was last asked.
    pub fn look(&mut self, now: Mono) -> Option<Turn> {
        self.go_on(now, Duration::ZERO);
        if let Some((since, _)) = &self.under_way {
            let span = now.since(*since);
            if !self.is_told_to_hang && span >= Span::seconds(REPORT_HANG_SECONDS) {
                self.is_told_to_hang = true;
                self.turns.push(Turn::Hangs(span));
            }
        }
        (!self.turns.is_empty()).then(|| self.turns.remove(0))
    }

    /// Takes the answer of a write under way, if it comes in time.
    fn collect(&mut self, now: Mono, longest: Duration) {
        let Some((since, pending)) = self.under_way.take() else { return };
        match pending.wait(longest) {
            Ok(outcome) => self.written(outcome, since, now),
            Err(Silence::TooLong) => self.under_way = Some((since, pending)),
            // It panicked, which has been told. The next write gets another thread.
            Err(Silence::Gone) => self.helper = None,
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
        if std::mem::take(&mut self.is_told_to_hang) {
            self.turns.push(Turn::WrittenAgain { after: now.since(since), skipped });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Read;

    const LONG: Duration = Duration::from_secs(60);

    fn at(second: u64) -> Mono {
        Mono::ZERO + Span::seconds(second)
    }

    fn scratch(name: &str) -> PathBuf {
        let name = format!("s1-coralogix-sheet-{}-{name}", std::process::id());
        std::env::temp_dir().join(name)
    }

    /// A write that waits as long as nobody reads a pipe, as one on a mount waits for its server.
    fn into_pipe(file: &Path, text: &[u8]) -> io::Result<()> {
        fs::write(file, text)
    }

    #[test]
    fn what_can_be_written_is_there_at_once_and_a_failure_is_told_once() {
        let file = scratch("works");
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
        let file = scratch("whole");
        let mut sheet = Sheet::new(file.clone());
        sheet.put(b"the first".to_vec(), at(0), LONG);
        let mut opened = File::open(&file).unwrap();
        sheet.put(b"2nd".to_vec(), at(1), LONG);
        let mut read = String::new();
        opened.read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), fs::read(&file).unwrap()), ("the first", b"2nd".to_vec()));
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_write_that_hangs_is_not_waited_for_and_only_the_newest_content_follows_it() {
        let pipe = scratch("hangs");
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
        fs::remove_file(&pipe).unwrap();
    }
}
