//! Accesses files (secrets, `network.ca_file`, the config on SIGHUP) that may be on a mount that hangs.
//!
//! Promises: a caller waits `SECRET_ANSWER_MS` at most, less after a request to stop; a call that
//! takes longer keeps its thread, and the next one gets another, so that a mount that hangs delays
//! only what is on it. Never: looks at a file again before the last look at it returned; the caller
//! has to keep to that, by `Late`.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::timeout_thread::{End, TimeoutThread};
use crate::limits::SECRET_ANSWER_MS;

/// Runs calls that may hang in a thread.
#[derive(Default)]
pub struct Reach {
    stop: Arc<AtomicBool>,
    /// The thread, while it has nothing to do.
    idle: Mutex<Option<TimeoutThread<()>>>,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").finish_non_exhaustive()
    }
}

/// A call that has not returned.
#[derive(Debug)]
pub struct Late(End);

impl Late {
    pub fn is_over(&self) -> bool {
        self.0.is_reached()
    }
}

impl Reach {
    pub fn new(stop: Arc<AtomicBool>) -> Reach {
        Reach { stop, idle: Mutex::default() }
    }

    /// Runs `look` in the thread, or in this one where the system refuses a thread.
    pub fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Late> {
        let timeout = Duration::from_millis(SECRET_ANSWER_MS);
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let helper = match idle.map_or_else(|| TimeoutThread::start("files", timeout, || ()), Ok) {
            Ok(helper) => helper,
            Err(_) => return Ok(look()),
        };
        // A thread that has ended has panicked, which has been logged; its call is over.
        let pending = helper.begin(move |()| look()).expect("a thread that is kept is alive");
        match pending.wait_unless(timeout, || self.stop.load(Ordering::SeqCst)) {
            Ok(found) => {
                *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(helper);
                Ok(found)
            }
            Err(_) => Err(Late(pending.without_answer())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_look_that_hangs_is_given_up_and_holds_up_no_other() {
        let reach = Reach::default();
        assert_eq!(reach.ask(|| 1).unwrap(), 1);
        let (release, held) = mpsc::channel::<()>();
        let late = reach.ask(move || held.recv()).unwrap_err();
        assert!(!late.is_over());
        assert_eq!(reach.ask(|| 2).unwrap(), 2);
        release.send(()).unwrap();
        while !late.is_over() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_request_to_stop_ends_the_wait_at_once() {
        let stop = Arc::new(AtomicBool::new(true));
        let reach = Reach::new(stop);
        assert_eq!(reach.ask(|| 1).unwrap(), 1, "what answers is heard all the same");
        let (release, held) = mpsc::channel::<()>();
        let begun = super::super::clock::mono();
        assert!(reach.ask(move || held.recv()).is_err());
        let took = super::super::clock::mono().since(begun);
        assert!(took < crate::time::Span::ms(SECRET_ANSWER_MS), "{took}");
        drop(release);
    }
}
