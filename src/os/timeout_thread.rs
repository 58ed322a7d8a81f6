//! A thread that does one job after another for a caller that must not wait for ever, and that is
//! given up when it does not answer.
//!
//! Promises: a caller gets an answer or, after a bounded time, none; a job that panics gives no
//! answer and ends the thread; a thread that hangs does not keep the process from ending. Never:
//! waited for when it is dropped.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::limits::STOP_LOOK_MS;

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// It takes longer than it should: it may loop, or wait for ever.
    TooLong,
    /// The thread has ended.
    Gone,
}

/// The thread and its state `S`, which only that thread accesses.
#[derive(Debug)]
pub struct TimeoutThread<S> {
    jobs: Sender<Job<S>>,
    timeout: Duration,
}

impl<S: 'static> TimeoutThread<S> {
    /// Starts the thread; an error where the system refuses one.
    pub fn start(
        name: &str,
        timeout: Duration,
        state: impl FnOnce() -> S + Send + 'static,
    ) -> io::Result<TimeoutThread<S>> {
        let (jobs, asked) = mpsc::channel::<Job<S>>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut state = state();
            for job in asked {
                job(&mut state);
            }
        })?;
        Ok(TimeoutThread { jobs, timeout })
    }

    /// Runs a job, and waits for its answer until the timeout.
    pub fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, NoReply> {
        self.begin(job)?.wait(self.timeout)
    }

    /// Runs a job after those before it, without waiting.
    pub fn begin<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<Pending<T>, NoReply> {
        // Not a channel of `T`: each kind of channel takes 2 KB of the program.
        let answer = Arc::new(Mutex::new(None));
        let (done, ended) = mpsc::channel();
        let to = Arc::clone(&answer);
        let job: Job<S> = Box::new(move |state| {
            let given = job(state);
            *to.lock().unwrap_or_else(PoisonError::into_inner) = Some(given);
            // The caller may have timed out; the result is dropped.
            let _ = done.send(());
        });
        self.jobs.send(job).map_err(|_| NoReply::Gone)?;
        Ok(Pending { answer, end: End(ended) })
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// A job that may be running. Its answer comes once.
#[derive(Debug)]
pub struct Pending<T> {
    answer: Arc<Mutex<Option<T>>>,
    end: End,
}

/// When a job ends, without its answer.
#[derive(Debug)]
pub struct End(Receiver<()>);

impl End {
    fn wait(&self, longest: Duration) -> Result<(), NoReply> {
        self.0.recv_timeout(longest).map_err(|error| match error {
            RecvTimeoutError::Timeout => NoReply::TooLong,
            RecvTimeoutError::Disconnected => NoReply::Gone,
        })
    }

    pub fn is_reached(&self) -> bool {
        self.wait(Duration::ZERO) != Err(NoReply::TooLong)
    }

    fn wait_unless(&self, longest: Duration, stops: &dyn Fn() -> bool) -> Result<(), NoReply> {
        let piece = Duration::from_millis(STOP_LOOK_MS);
        let mut left = longest;
        loop {
            let outcome = self.wait(left.min(piece));
            left = left.saturating_sub(piece);
            let goes_on = matches!(outcome, Err(NoReply::TooLong)) && !left.is_zero() && !stops();
            if !goes_on {
                return outcome;
            }
        }
    }
}

impl<T> Pending<T> {
    pub fn wait(&self, longest: Duration) -> Result<T, NoReply> {
        self.end.wait(longest)?;
        self.taken()
    }

    /// Waits for the answer without a limit.
    pub fn wait_on(&self) -> Result<T, NoReply> {
        self.end.0.recv().map_err(|_| NoReply::Gone)?;
        self.taken()
    }

    /// Waits in pieces, so that a request to stop is noticed.
    pub fn wait_unless(&self, longest: Duration, stops: impl Fn() -> bool) -> Result<T, NoReply> {
        self.end.wait_unless(longest, &stops)?;
        self.taken()
    }

    /// Gives the answer up, and keeps when the job ends.
    pub fn without_answer(self) -> End {
        self.end
    }

    fn taken(&self) -> Result<T, NoReply> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(NoReply::Gone)
    }
}

impl<S: 'static> TimeoutThread<S> {
    /// Gives the thread up, with one last job, should it ever finish the current one.
    pub fn leave(self, last: impl FnOnce(&mut S) + Send + 'static) {
        // The thread may have ended already.
        let _ = self.jobs.send(Box::new(last));
    }

    #[cfg(test)]
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_or_the_wait_ends() {
        let helper = TimeoutThread::start("test", Duration::from_secs(60), || 1).unwrap();
        assert_eq!(helper.ask(|n| std::mem::replace(n, 2)), Ok(1));
        assert_eq!(helper.ask(|n| *n), Ok(2));
        let gone = helper.ask(|_| -> u32 { std::panic::resume_unwind(Box::new("on purpose")) });
        assert_eq!(gone, Err(NoReply::Gone));
        assert_eq!(helper.ask(|n| *n), Err(NoReply::Gone));
        let (release, held) = mpsc::channel::<()>();
        let stuck = TimeoutThread::start("test", Duration::from_millis(1), || held).unwrap();
        assert_eq!(stuck.ask(|held| held.recv().is_ok()), Err(NoReply::TooLong));
        drop(release);
    }

    #[test]
    fn a_thread_that_is_given_up_does_one_last_job() {
        let helper = TimeoutThread::start("test", Duration::from_secs(60), || 7).unwrap();
        let (tell, told) = mpsc::channel();
        helper.leave(move |state| tell.send(*state).unwrap());
        assert_eq!(told.recv(), Ok(7));
    }

    #[test]
    fn a_job_goes_on_without_being_waited_for_and_a_request_to_stop_ends_a_wait() {
        let (release, held) = mpsc::channel::<()>();
        let helper = TimeoutThread::start("test", Duration::ZERO, || held).unwrap();
        let pending = helper.begin(|held| held.recv().is_ok()).unwrap();
        assert_eq!(pending.wait(Duration::ZERO), Err(NoReply::TooLong));
        assert_eq!(pending.wait_unless(Duration::MAX, || true), Err(NoReply::TooLong));
        release.send(()).unwrap();
        assert_eq!(pending.wait_on(), Ok(true));
        assert_eq!(pending.wait_on(), Err(NoReply::Gone), "an answer comes once");
    }
}
