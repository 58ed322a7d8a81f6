//! A value that others can wait for: a mutex and a condition variable that belong together.
//!
//! Promises: a wait ends at once when its condition becomes true, and always at its deadline.
//! Never: sleeps.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    pub fn new(value: T) -> Watched<T> {
        Watched { value: Mutex::new(value), changed: Condvar::new() }
    }

    /// A thread that panicked has said so already; the others may still tell what they saw.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `look` finds something, at most `within`.
    pub fn wait<R>(&self, within: Duration, mut look: impl FnMut(&T) -> Option<R>) -> Option<R> {
        let deadline = Instant::now() + within;
        let mut value = self.lock();
        loop {
            if let Some(found) = look(&value) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            value =
                self.changed.wait_timeout(value, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
