//! A thread that hears all signals, notices a request to stop, and reports a slow disk, while the
//! loop waits for the system.
//!
//! A system call on a disk or mount that does not answer returns when that answers, or never, and
//! no signal ends it: a thread in such a call does not even run a handler, so every other thread
//! leaves the signals to this one. What was not acknowledged is sent again after the next start, so
//! the process may end at any moment, as after a power cut.
//!
//! Promises: after a request to stop the process has ended within `STOP_MS_MAX`, whatever the loop
//! waits for and whether or not the log is read; a slow disk is reported while it is slow, at most
//! once in `DISK_SLOW_TOLD_HOURS`. Never: ends a process without a request, or feeds the
//! supervisor's watchdog.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::clock::mono;
use super::signal;
use super::stderr;
use super::timeout_thread::TimeoutThread;
use crate::limits::{
    DISK_SLOW_SECONDS, DISK_SLOW_TOLD_HOURS, LAST_WORDS_MS, STOP_MS_MAX, WATCH_SECONDS,
};
use crate::message::{self, Code, log_message};
use crate::time::{Mono, Span};

/// The exit codes of a process that ends while the loop still waits: those that `cli::Exit` has for
/// done and failed.
const ABANDONED: i32 = 0;
const FORCED: i32 = 1;

/// What a step of the loop waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The queue's disk: a long step is reported.
    Queue,
    /// Other files, whose errors are reported by the code that uses them.
    Files,
    /// The network, whose waits have time limits of their own.
    Network,
}

/// One for a process: the state of its loop.
static LOOP: Mutex<Watched> = Mutex::new(Watched::new());

/// Starts the thread; from here on the caller, and every thread that it starts, leaves the signals
/// to it. An error where the system refuses a thread.
pub fn start(queue_dir: &Path) -> io::Result<()> {
    lock().place = queue_dir.display().to_string();
    let (ear, mouth) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, mouth.try_clone()?)?;
    }
    let watch = move || {
        // Kept open, so that a read never finds the pair closed.
        let _mouth = mouth;
        // The mask is not what the thread was started with only where others have set it.
        let _ = signal::listen();
        watch(ear)
    };
    std::thread::Builder::new().name("watch".to_owned()).spawn(watch)?;
    signal::leave_to_others()
}

/// The loop begins a step, and the one before is over. `what`: the step's name, for people.
pub fn begin(what: &'static str, on: On) {
    over(Some(Step { what, on, since: mono(), is_counted: false }));
}

/// The loop sleeps; a signal can wake it.
pub fn rest() {
    over(None);
}

/// Does a part of a step that waits for something else than the rest of it.
pub fn within<T>(what: &'static str, on: On, part: impl FnOnce() -> T) -> T {
    let step = over(Some(Step { what, on, since: mono(), is_counted: false }));
    let result = part();
    over(step);
    result
}

/// Ends the current step, and returns it.
fn over(next: Option<Step>) -> Option<Step> {
    let (step, slow) = lock().end(mono(), next);
    log_slow(slow);
    step
}

fn log_slow(line: Option<String>) {
    if let Some(line) = line {
        log_message!(DISK_SLOW, "{line}");
    }
}

fn lock() -> MutexGuard<'static, Watched> {
    LOOP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Never returns, because nobody else hears signals. A time limit that can't be set makes a wait
/// longer, and a read that fails makes it shorter.
fn watch(mut ear: UnixStream) -> ! {
    let mut bytes = [0; 64];
    let _ = ear.set_read_timeout(Some(Duration::from_secs(WATCH_SECONDS)));
    // A read succeeds only after a request to stop: reaching the time limit is an error, and so is
    // another signal.
    while ear.read(&mut bytes).is_err() {
        let slow = lock().look(mono());
        log_slow(slow);
    }
    let end = mono() + Span::ms(STOP_MS_MAX);
    loop {
        let left = end.since(mono());
        if left == Span::ZERO {
            leave();
        }
        let _ = ear.set_read_timeout(Some(left.as_duration()));
        // A second signal asks for the same.
        let _ = ear.read(&mut bytes);
    }
}

/// Ends the process although the loop has not ended.
#[expect(clippy::disallowed_methods, reason = "the loop can't return while it waits")]
fn leave() -> ! {
    let (code, exit, words) = lock().last_words();
    // The log may be what hangs, so another thread writes to it.
    let timeout = Duration::from_millis(LAST_WORDS_MS);
    if let Ok(helper) = TimeoutThread::start("last words", timeout, || ()) {
        let _ = helper.ask(move |()| {
            message::write(code, format_args!("{words}"));
            stderr::finish();
        });
    }
    std::process::exit(exit)
}

/// The current step of the loop, and how often the disk was slow.
struct Watched {
    /// The queue's directory.
    place: String,
    step: Option<Step>,
    /// Slow steps that were not reported yet.
    unreported: u64,
    reported_at: Option<Mono>,
}

struct Step {
    what: &'static str,
    on: On,
    since: Mono,
    /// The step was counted as slow.
    is_counted: bool,
}

impl Watched {
    const fn new() -> Watched {
        Watched { place: String::new(), step: None, unreported: 0, reported_at: None }
    }

    /// Checks the current step; returns a line to report.
    fn look(&mut self, now: Mono) -> Option<String> {
        let step = self.step.as_mut()?;
        let took = now.since(step.since);
        let is_slow = step.on == On::Queue && took >= Span::seconds(DISK_SLOW_SECONDS);
        if !is_slow || step.is_counted {
            return None;
        }
        step.is_counted = true;
        let text = format!("{} has taken {took} so far", step.what);
        self.slow(&text, now)
    }

    /// Ends the step. One that became slow and ended between two checks counts too.
    fn end(&mut self, now: Mono, next: Option<Step>) -> (Option<Step>, Option<String>) {
        let line = self.look(now);
        (std::mem::replace(&mut self.step, next), line)
    }

    fn slow(&mut self, text: &str, now: Mono) -> Option<String> {
        self.unreported += 1;
        let every = Span::hours(DISK_SLOW_TOLD_HOURS);
        if self.reported_at.is_some_and(|at| now.since(at) < every) {
            return None;
        }
        let count = match std::mem::take(&mut self.unreported) {
            1 => String::new(),
            unreported => format!(", one of {unreported} such operations since the last report"),
        };
        self.reported_at = Some(now);
        Some(format!(
            "The disk of the queue in {} is slow: {text}{count}. Nothing is lost, but everything \
             else waits. Check the disk or SD card (dmesg, smartctl), or move queue.dir to a \
             better one",
            self.place
        ))
    }

    /// Message code, exit code and text of an end while the loop still waits.
    fn last_words(&self) -> (Code, i32, String) {
        let what = self.step.as_ref().map_or("finishing a step", |step| step.what);
        let text = format!(
            "{} s after the request to stop, the program is still busy with {what}, so it exits \
             without it. Nothing \
             is lost: what was not acknowledged is sent again",
            STOP_MS_MAX / 1_000
        );
        let place = &self.place;
        match self.step.as_ref().map(|step| step.on) {
            Some(On::Network) => (message::STOP_ABANDONED, ABANDONED, text),
            Some(On::Queue) => {
                let remedy = format!("the disk of {place} (mount, dmesg, smartctl)");
                (
                    message::STOP_FORCED,
                    FORCED,
                    format!("{text}. It does not answer: check {remedy}"),
                )
            }
            Some(On::Files) | None => {
                let remedy =
                    "check the mounts of the files that the config names, and of queue.dir (dmesg)";
                (message::STOP_FORCED, FORCED, format!("{text}. A file does not answer: {remedy}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Mono {
        Mono::ZERO + Span::seconds(second)
    }

    fn begun(watched: &mut Watched, on: On, second: u64) {
        watched.step =
            Some(Step { what: "storing a page", on, since: at(second), is_counted: false });
    }

    fn ended(watched: &mut Watched, second: u64) -> Option<String> {
        watched.end(at(second), None).1
    }

    #[test]
    fn a_slow_disk_is_told_while_it_is_slow_or_right_after_and_then_counted_for_an_hour() {
        let mut watched = Watched::new();
        begun(&mut watched, On::Queue, 0);
        assert_eq!(watched.look(at(19)), None);
        let told = watched.look(at(25)).unwrap();
        assert!(told.contains("storing a page has taken 25s so far. Nothing is lost"), "{told}");
        assert_eq!((watched.look(at(35)), ended(&mut watched, 40)), (None, None), "once");
        for second in [100, 200] {
            begun(&mut watched, On::Queue, second);
            assert_eq!(ended(&mut watched, second + 22), None, "counted");
        }
        begun(&mut watched, On::Queue, 3_700);
        let told = ended(&mut watched, 3_722).unwrap();
        assert!(told.contains("22s so far, one of 3 such operations"), "{told}");
    }

    /// Other tests have parts of steps too, and there is one loop for a process.
    #[test]
    fn after_a_part_of_a_step_the_step_goes_on_and_after_it_the_loop_rests() {
        let is_step_again = || {
            begin("the step", On::Network);
            let part = within("its part", On::Queue, || lock().step.as_ref().map(|step| step.what));
            let step = lock().step.as_ref().map(|step| step.what);
            part == Some("its part") && step == Some("the step")
        };
        assert!((0..1_000).any(|_| is_step_again()));
        let is_at_rest = || {
            rest();
            lock().step.is_none()
        };
        assert!((0..1_000).any(|_| is_at_rest()));
    }

    #[test]
    fn only_the_queues_disk_is_called_slow() {
        let mut watched = Watched::new();
        assert_eq!(watched.look(at(1_000)), None);
        for on in [On::Files, On::Network] {
            begun(&mut watched, on, 0);
            assert_eq!(watched.look(at(1_000)), None);
        }
        begun(&mut watched, On::Queue, 0);
        assert_eq!(ended(&mut watched, 19), None);
        assert_eq!(watched.look(at(1_000)), None, "it is over");
    }

    #[test]
    fn an_end_by_force_tells_what_did_not_answer() {
        let mut watched = Watched::new();
        for (on, code, exit, part) in [
            (On::Queue, message::STOP_FORCED, 1, "check the disk of"),
            (On::Files, message::STOP_FORCED, 1, "check the mounts"),
            (On::Network, message::STOP_ABANDONED, 0, "is sent again"),
        ] {
            begun(&mut watched, on, 0);
            let words = watched.last_words();
            assert_eq!((words.0, words.1), (code, exit));
            assert!(words.2.contains("busy with storing a page") && words.2.contains(part));
        }
    }
}
