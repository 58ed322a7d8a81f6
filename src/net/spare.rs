//! The memory of the last page, kept for the next one.
//!
//! Promises: holds one buffer, no longer than [`SPARE_BYTES_MAX`]; what is taken is empty. Never:
//! needed. Without it the system gives each page new memory, and clears it first, a fault for each 4 KiB.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::SPARE_BYTES_MAX;

#[derive(Clone, Debug, Default)]
pub struct Spare(Arc<Mutex<Vec<u8>>>);

impl Spare {
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.lock())
    }

    /// Gives a buffer whose content is not needed any more.
    pub fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() <= SPARE_BYTES_MAX {
            *self.lock() = buffer;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_buffer_is_kept_empty_and_none_that_is_long() {
        let spare = Spare::default();
        let other = spare.clone();
        spare.put(b"the last page".to_vec());
        let taken = other.take();
        assert!(taken.is_empty() && taken.capacity() > 0);
        assert_eq!(spare.take().capacity(), 0, "it was taken");
        spare.put(Vec::with_capacity(SPARE_BYTES_MAX + 1));
        assert_eq!(spare.take().capacity(), 0, "it is too long");
    }
}
