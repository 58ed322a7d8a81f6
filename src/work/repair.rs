//! What a result of the queue means for the core, and the repair after a failure.
//!
//! Promises: after a failure the core begins anew from what the queue then holds (keeps P9); a call
//! that the system refused is tried again, and is not taken for damage. Never: goes on with a
//! handle that failed.

use super::Worker;
use crate::core::{End, Event, StoreTrouble};
use crate::edge::Edge;
use crate::message::{self, log_message};
use crate::queue::disk::Disk;
use crate::queue::{OpenError, QueueError};
use crate::record::QueueStatus;

impl<E: Edge, D: Disk> Worker<E, D> {
    /// The event for a result of the queue.
    pub(super) fn stored(&mut self, outcome: Result<QueueStatus, QueueError>) -> Event {
        match outcome {
            Ok(held) => Event::Stored(Ok(held)),
            Err(QueueError::DiskFull) => Event::Stored(Err(StoreTrouble::Full(self.queue.held()))),
            Err(trouble) => self.repair(trouble),
        }
    }

    /// A broken index is rebuilt, a damaged frame is quarantined; in both cases the core begins
    /// anew from what the queue then holds (keeps P9).
    pub(super) fn repair(&mut self, trouble: QueueError) -> Event {
        self.let_go_of_page();
        let trouble = match trouble {
            QueueError::DiskFull => {
                return Event::Stored(Err(StoreTrouble::Full(self.queue.held())));
            }
            // Reported with its consequence, by `reopen`.
            QueueError::NoSpace(_) => return self.reopen(),
            QueueError::Damaged { seq, why } => {
                log_message!(
                    FRAME_DAMAGED,
                    "frame-damaged: The queue holds a damaged frame ({why}). It is moved to \
                     quarantine/, and SentinelOne is asked for its records again"
                );
                match self.queue.quarantine(seq, &why) {
                    Ok(opened) => return Event::Opened(opened),
                    Err(QueueError::Damaged { why, .. }) => QueueError::Broken(why),
                    Err(broken @ QueueError::Broken(_)) => broken,
                    Err(refused) => return self.repair(refused),
                }
            }
            // Nothing is damaged: the lane concerned tries again later.
            QueueError::System(why) => return Event::Stored(Err(StoreTrouble::Failed(why))),
            QueueError::Denied(why) => {
                log_message!(QUEUE_DENIED, "{why}. Check that the queue's user may write there");
                return Event::Dead(End::Denied);
            }
            QueueError::Newer(why) => {
                log_message!(QUEUE_NEWER, "{why}. Nothing was changed: install that version again");
                return Event::Dead(End::Newer);
            }
            broken @ QueueError::Broken(_) => broken,
        };
        log_message!(
            INDEX_FAILED,
            "{trouble}. The queue's index is rebuilt from its log; nothing queued is lost"
        );
        self.reopen()
    }

    /// Measures the space; if there is enough again, an index that could not be written is opened
    /// again.
    pub(super) fn measure(&mut self) -> Event {
        let held = self.queue.held();
        match self.queue.may_be_indexed() {
            true => {
                self.let_go_of_page();
                self.reopen()
            }
            false => Event::Measured(held),
        }
    }

    fn let_go_of_page(&mut self) {
        (self.refused, self.doubted) = (None, None);
        self.pending_page = None;
    }

    fn reopen(&mut self) -> Event {
        match self.queue.reopen() {
            Ok((opened, findings)) => {
                for finding in findings {
                    message::write(finding.code, format_args!("{finding}"));
                }
                Event::Opened(opened)
            }
            Err(why) => {
                message::write(why.message(), format_args!("{why}"));
                Event::Dead(end_of(&why))
            }
        }
    }
}

/// How the process ends when its queue can't be opened.
fn end_of(why: &OpenError) -> End {
    match why {
        OpenError::Newer { .. } => End::Newer,
        OpenError::System { .. } => End::Unavailable,
        OpenError::Denied { .. } => End::Denied,
        _ => End::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_broken_ends_as_broken() {
        let (place, why) = (String::new(), String::new());
        let of = |error: OpenError| end_of(&error);
        let newer = OpenError::Newer { place: place.clone(), why: why.clone() };
        let system = OpenError::System { place: place.clone(), why: why.clone() };
        let denied = OpenError::Denied { place: place.clone(), why: why.clone(), remedy: None };
        let failed = OpenError::Failed { place, why: why.clone() };
        let ends = [newer, system, denied, failed, OpenError::ReplacedTooOften { why }].map(of);
        let expected = [End::Newer, End::Unavailable, End::Denied, End::Broken, End::Broken];
        assert_eq!(ends, expected);
    }
}
