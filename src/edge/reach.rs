//! Looks at files that may lie on a mount that hangs.
//!
//! Promises: whoever asks waits `SECRET_ANSWER_MS` at most, less after a request to stop; a look that
//! takes longer keeps its thread, and the next one gets another, so that one mount that hangs holds up
//! nothing but what lies on it. Never: looks at a file again before the last look at it came back;
//! that is the caller's to keep, by `Late`.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use super::helper::{Helper, Pending, Silence};
use crate::limits::SECRET_ANSWER_MS;

/// Has looks done by a thread.
#[derive(Default)]
pub struct Reach {
    stop: Arc<AtomicBool>,
    /// The thread, while it has nothing to do.
    idle: Mutex<Option<Helper<()>>>,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").finish_non_exhaustive()
    }
}

/// A look that has not come back.
#[derive(Debug)]
pub struct Late(Pending<()>);

impl Late {
    pub fn is_over(&self) -> bool {
        self.0.wait(Duration::ZERO) != Err(Silence::TooLong)
    }
}

impl Reach {
    pub fn new(stop: Arc<AtomicBool>) -> Reach {
        Reach { stop, idle: Mutex::default() }
    }

    /// Looks. Where the system grants no thread, it is done in this one.
    pub fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Late> {
        let patience = Duration::from_millis(SECRET_ANSWER_MS);
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let helper = match idle.map_or_else(|| Helper::start("files", patience, || ()), Ok) {
            Ok(helper) => helper,
            Err(_) => return Ok(look()),
        };
        let (answer, answered) = mpsc::channel();
        let begun = helper.begin(move |()| {
            // Whoever asked may have given up.
            let _ = answer.send(look());
        });
        // A thread that has ended has panicked, which has been told; its look is over.
        let pending = begun.expect("a thread that is kept is alive");
        let outcome = pending.wait_unless(patience, || self.stop.load(Ordering::SeqCst));
        match (outcome, answered.try_recv()) {
            (Ok(()), Ok(found)) => {
                *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(helper);
                Ok(found)
            }
            _ => Err(Late(pending)),
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert!(reach.ask(move || held.recv()).is_err());
        drop(release);
    }
}
