//! The collector as a child process: its output, its signals, its end.
//!
//! Promises: only a child of this process is ever signalled, and never after it was reaped, so a
//! signal can't reach a stranger who got its number; a child that a test forgets is killed.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::program::Program;
use super::watched::Watched;

/// How a child ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// User and system time of all its life; `None` where the system does not tell.
    pub cpu: Option<Duration>,
    pub out: String,
    pub err: String,
}

/// What is left of a child: its status, and its processor time where the system tells.
type Reaped = (ExitStatus, Option<Duration>);

pub struct Process {
    pid: u32,
    /// `None` until the child is reaped; changed and signalled under the same lock.
    ended: Arc<Watched<Option<Reaped>>>,
    out: Arc<Watched<String>>,
    err: Arc<Watched<String>>,
    /// Whether what it writes to stderr is read.
    reads: Arc<Watched<bool>>,
    /// It has exited, though it may not be reaped.
    exited: Arc<Watched<bool>>,
}

impl Process {
    /// Starts a program with these arguments and nothing but these environment variables.
    pub fn start(program: &Program, args: &[&str], environment: &[(&str, String)]) -> Process {
        let (pipe, stderr) = std::io::pipe().unwrap();
        Process::start_on(program, args, environment, (pipe, stderr), true)
    }

    /// Starts it with a stderr that takes so many more bytes and is read by nobody before `read_on`.
    pub fn start_unread(
        program: &Program,
        args: &[&str],
        environment: &[(&str, String)],
        room: usize,
    ) -> Process {
        let (mut pipe, mut stderr) = std::io::pipe().unwrap();
        let flags = fcntl_getfl(&stderr).unwrap();
        fcntl_setfl(&stderr, flags | OFlags::NONBLOCK).unwrap();
        while stderr.write(&[b'\n'; 512]).is_ok() {}
        fcntl_setfl(&stderr, flags).unwrap();
        pipe.read_exact(&mut vec![0; room]).unwrap();
        Process::start_on(program, args, environment, (pipe, stderr), false)
    }

    /// Starts it as systemd does: `JOURNAL_STREAM` names the very stream that stderr is.
    pub fn start_as_service(program: &Program, args: &[&str]) -> Process {
        let (pipe, stderr) = std::io::pipe().unwrap();
        let stat = rustix::fs::fstat(&stderr).unwrap();
        let stream = format!("{}:{}", stat.st_dev, stat.st_ino);
        let environment = [("JOURNAL_STREAM", stream)];
        Process::start_on(program, args, &environment, (pipe, stderr), true)
    }

    fn start_on(
        program: &Program,
        args: &[&str],
        environment: &[(&str, String)],
        (pipe, stderr): (PipeReader, PipeWriter),
        is_read: bool,
    ) -> Process {
        let mut child = program
            .command()
            .args(args)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("failed to start {program:?}: {error}"));
        let (out, err) = (Arc::new(Watched::default()), Arc::new(Watched::default()));
        let stdout = child.stdout.take().unwrap();
        let (reads, exited) = (Arc::new(Watched::new(is_read)), Arc::new(Watched::new(false)));
        let always = Arc::new(Watched::new(true));
        let readers = [
            follow(stdout, Arc::clone(&out), always),
            follow(pipe, Arc::clone(&err), Arc::clone(&reads)),
        ];
        let process = Process { pid: child.id(), ended: Arc::default(), out, err, reads, exited };
        let (ended, exited) = (Arc::clone(&process.ended), Arc::clone(&process.exited));
        thread::spawn(move || reap(child, readers, &ended, &exited));
        process
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn out(&self) -> String {
        self.out.look(String::clone)
    }

    pub fn err(&self) -> String {
        self.err.look(String::clone)
    }

    pub fn is_running(&self) -> bool {
        self.ended.look(Option::is_none)
    }

    /// Sends a signal, unless the child has ended already.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid).unwrap()).unwrap();
        self.ended.look(|ended| {
            if ended.is_none() {
                // The child may be ending this moment: then there is nothing left to signal.
                let _ = kill_process(pid, signal);
            }
        });
    }

    /// Stops it where it is; `Signal::CONT` lets it go on.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let pid = Pid::from_raw(i32::try_from(self.pid).unwrap()).unwrap();
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(pid), options).is_err_and(|error| error == rustix::io::Errno::INTR)
        {
        }
    }

    /// Reads stderr from now on.
    pub fn read_on(&self) {
        self.reads.change(|reads| *reads = true);
    }

    /// Waits for the child's end by itself, whether or not its stderr is read; `wait` tells how it was.
    pub fn wait_exit(&self, within: Duration) -> bool {
        self.exited.wait(within, |exited| exited.then_some(())).is_some()
    }

    /// Waits for the child's end by itself.
    pub fn wait(&self, within: Duration) -> Option<Ended> {
        let (status, cpu) = self.ended.wait(within, |ended| *ended)?;
        messages_have_codes(&self.err(), status.code());
        Some(Ended {
            cpu,
            code: status.code(),
            signal: status.signal(),
            out: self.out(),
            err: self.err(),
        })
    }

    /// `kill -9`, and waits until the child is gone.
    pub fn kill(&self) -> Ended {
        self.signal(Signal::KILL);
        self.wait(Duration::from_secs(30)).expect("SIGKILL ends every process")
    }

    /// Waits until the child has written this to stderr.
    pub fn wait_err(&self, text: &str, within: Duration) -> bool {
        self.wait_err_until(|err| err.contains(text), within)
    }

    /// Waits until the child has written this to stdout.
    pub fn wait_out(&self, text: &str, within: Duration) -> bool {
        self.out.wait(within, |out| out.contains(text).then_some(())).is_some()
    }

    /// Waits until what the child has written to stderr is as wanted.
    pub fn wait_err_until(&self, wanted: impl Fn(&str) -> bool, within: Duration) -> bool {
        self.err.wait(within, |err| wanted(err).then_some(())).is_some()
    }

    /// The largest resident set so far, in KiB; `None` where the system does not tell. Of the pages
    /// of files, which are this build's text and its libraries', as many count as the shipped binary
    /// may have, which is static and bounded by `packaging/build.sh`.
    pub fn peak_rss_kib(&self) -> Option<u64> {
        const SHIPPED_TEXT_KIB: u64 = 4 << 10;
        let files = self.memory_kib("RssFile:")?;
        Some(self.memory_kib("VmHWM:")?.saturating_sub(files) + SHIPPED_TEXT_KIB.min(files))
    }

    /// The resident set of this moment.
    pub fn rss_kib(&self) -> Option<u64> {
        self.memory_kib("VmRSS:")
    }

    fn memory_kib(&self, name: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

/// Every message that this project's tests ever meet can be looked up (docs/MESSAGES.md): each line of
/// the log, and whatever a failing command says first.
fn messages_have_codes(err: &str, code: Option<i32>) {
    // What was killed may have been killed within a line.
    let whole = &err[..err.rfind('\n').map_or(0, |end| end + 1)];
    for line in whole.lines() {
        let levels = ["[ERROR] ", "[WARN ] ", "[INFO ] ", "[DEBUG] ", "[TRACE] "];
        let text = levels.iter().find_map(|level| line.split_once(level)).map(|(_, text)| text);
        assert!(text.is_none_or(begins_with_code), "a line of the log without a code: {line}");
    }
    let is_failure = code.is_some_and(|code| code != 0 && code != 101);
    let first = whole.lines().next().filter(|_| is_failure);
    assert!(first.is_none_or(|line| line.contains("S1C-")), "a failure without a code: {err}");
}

/// `S1C-E107 ...`, once.
fn begins_with_code(text: &str) -> bool {
    let digits = text.get(5..8).unwrap_or("");
    let is_number = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
    text.starts_with("S1C-") && is_number && text.matches("S1C-").count() == 1
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.read_on();
        self.ended.wait(Duration::from_secs(30), |ended| *ended);
    }
}

fn follow(
    mut pipe: impl Read + Send + 'static,
    to: Arc<Watched<String>>,
    reads: Arc<Watched<bool>>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while reads.wait(Duration::from_secs(60), |reads| reads.then_some(())).is_none() {}
        let mut buffer = [0; 8 << 10];
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            to.change(|text| text.push_str(&String::from_utf8_lossy(&buffer[..read])));
        }
    })
}

fn reap(
    mut child: Child,
    readers: [thread::JoinHandle<()>; 2],
    to: &Watched<Option<Reaped>>,
    exited: &Watched<bool>,
) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // Waits without reaping: until the status is taken under the lock, the number stays ours.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while waitid(WaitId::Pid(pid), options).is_err_and(|error| error == rustix::io::Errno::INTR) {}
    exited.change(|exited| *exited = true);
    for reader in readers {
        reader.join().unwrap();
    }
    let cpu = cpu_of(child.id());
    to.change(|ended| *ended = Some((child.wait().unwrap(), cpu)));
}

/// User and system time of a process that may have ended but was not reaped.
fn cpu_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so counting begins behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // USER_HZ is 100 on every Linux there is.
    Some(Duration::from_millis(ticks * 10))
}
