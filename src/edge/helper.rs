//! A thread that does one job after another for whoever must not wait for ever, and is given up when it
//! does not answer.
//!
//! Promises: whoever asks gets an answer or, after a bounded time, none; a job that panics is no
//! answer either, and ends the thread; a thread that hangs keeps no process from ending. Never: waited
//! for when it is dropped.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use crate::limits::STOP_LOOK_MS;

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It takes longer than anything healthy: it may spin, or wait for ever.
    TooLong,
    /// The thread has ended.
    Gone,
}

/// The thread, and `S`, which nobody else ever touches.
#[derive(Debug)]
pub struct Helper<S> {
    jobs: Sender<Job<S>>,
    patience: Duration,
}

impl<S: 'static> Helper<S> {
    /// Starts the thread. The system may grant none.
    pub fn start(
        name: &str,
        patience: Duration,
        state: impl FnOnce() -> S + Send + 'static,
    ) -> io::Result<Helper<S>> {
        let (jobs, asked) = mpsc::channel::<Job<S>>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut state = state();
            for job in asked {
                job(&mut state);
            }
        })?;
        Ok(Helper { jobs, patience })
    }

    /// Has a job done, and waits for its answer as long as patience lasts.
    pub fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, Silence> {
        self.begin(job)?.wait(self.patience)
    }

    /// Has a job done once those before it are, without waiting.
    pub fn begin<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<Pending<T>, Silence> {
        let (answer, answered) = mpsc::channel();
        let job: Job<S> = Box::new(move |state| {
            // Nobody may be waiting any more; then the answer is nobody's.
            let _ = answer.send(job(state));
        });
        self.jobs.send(job).map_err(|_| Silence::Gone)?;
        Ok(Pending(answered))
    }

    pub fn patience(&self) -> Duration {
        self.patience
    }
}

/// A job that may be under way. Its answer comes once.
#[derive(Debug)]
pub struct Pending<T>(Receiver<T>);

impl<T> Pending<T> {
    pub fn wait(&self, longest: Duration) -> Result<T, Silence> {
        self.0.recv_timeout(longest).map_err(|error| match error {
            RecvTimeoutError::Timeout => Silence::TooLong,
            RecvTimeoutError::Disconnected => Silence::Gone,
        })
    }

    /// However long it takes.
    pub fn wait_on(&self) -> Result<T, Silence> {
        self.0.recv().map_err(|_| Silence::Gone)
    }

    /// Waits in pieces, so that a request to stop is heard.
    pub fn wait_unless(&self, longest: Duration, stops: impl Fn() -> bool) -> Result<T, Silence> {
        let piece = Duration::from_millis(STOP_LOOK_MS);
        let mut left = longest;
        loop {
            let outcome = self.wait(left.min(piece));
            left = left.saturating_sub(piece);
            let goes_on = matches!(outcome, Err(Silence::TooLong)) && !left.is_zero() && !stops();
            if !goes_on {
                return outcome;
            }
        }
    }
}

impl<S: 'static> Helper<S> {
    /// Leaves the thread to itself, with one last thing to do should it ever come to it.
    pub fn leave(self, last: impl FnOnce(&mut S) + Send + 'static) {
        // It may have ended already.
        let _ = self.jobs.send(Box::new(last));
    }

    #[cfg(test)]
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_or_the_wait_ends() {
        let helper = Helper::start("test", Duration::from_secs(60), || 1).unwrap();
        assert_eq!(helper.ask(|n| std::mem::replace(n, 2)), Ok(1));
        assert_eq!(helper.ask(|n| *n), Ok(2));
        let gone = helper.ask(|_| -> u32 { std::panic::resume_unwind(Box::new("on purpose")) });
        assert_eq!(gone, Err(Silence::Gone));
        assert_eq!(helper.ask(|n| *n), Err(Silence::Gone));
        let (release, held) = mpsc::channel::<()>();
        let stuck = Helper::start("test", Duration::from_millis(1), || held).unwrap();
        assert_eq!(stuck.ask(|held| held.recv().is_ok()), Err(Silence::TooLong));
        drop(release);
    }

    #[test]
    fn a_job_goes_on_without_being_waited_for_and_a_request_to_stop_ends_a_wait() {
        let (release, held) = mpsc::channel::<()>();
        let helper = Helper::start("test", Duration::ZERO, || held).unwrap();
        let pending = helper.begin(|held| held.recv().is_ok()).unwrap();
        assert_eq!(pending.wait(Duration::ZERO), Err(Silence::TooLong));
        assert_eq!(pending.wait_unless(Duration::MAX, || true), Err(Silence::TooLong));
        release.send(()).unwrap();
        assert_eq!(pending.wait_on(), Ok(true));
        assert_eq!(pending.wait_on(), Err(Silence::Gone), "an answer comes once");
    }
}
