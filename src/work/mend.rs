//! What an outcome of the queue means for the core, and the repair of what failed.
//!
//! Promises: after a failure the core begins anew from what the queue then holds (keeps P9); what the system
//! refuses is tried again, and blames nothing on the disk. Never: goes on with a handle that failed.

use super::Worker;
use crate::core::{Event, StoreTrouble};
use crate::edge::Edge;
use crate::message::{self, tell};
use crate::queue::QueueError;
use crate::queue::disk::Disk;
use crate::queue::index::Opener;
use crate::record::Held;

impl<E: Edge, D: Disk, O: Opener> Worker<E, D, O> {
    /// What an outcome of the queue means for the core.
    pub(super) fn stored(&mut self, outcome: Result<Held, QueueError>) -> Event {
        match outcome {
            Ok(held) => Event::Stored(Ok(held)),
            Err(QueueError::DiskFull) => Event::Stored(Err(StoreTrouble::Full(self.queue.held()))),
            Err(trouble) => self.mend(trouble),
        }
    }

    /// A broken index is rebuilt, a damaged frame is set aside; either way the core begins anew
    /// from what the queue then holds (keeps P9).
    pub(super) fn mend(&mut self, trouble: QueueError) -> Event {
        self.let_go_of_hand();
        let trouble = match trouble {
            QueueError::DiskFull => {
                return Event::Stored(Err(StoreTrouble::Full(self.queue.held())));
            }
            // Told with what becomes of it.
            QueueError::NoSpace(_) => return self.reopen(),
            QueueError::Damaged { seq, why } => {
                tell!(
                    FRAME_DAMAGED,
                    "frame-damaged: The queue holds a damaged frame ({why}). It is moved to \
                     quarantine/, and SentinelOne is asked for its records again"
                );
                match self.queue.condemn(seq, &why) {
                    Ok(opened) => return Event::Opened(opened),
                    Err(QueueError::Damaged { why, .. }) => QueueError::Broken(why),
                    Err(broken @ QueueError::Broken(_)) => broken,
                    Err(refused) => return self.mend(refused),
                }
            }
            // Nothing is damaged: the lane that is concerned tries again later.
            QueueError::System(why) => return Event::Stored(Err(StoreTrouble::Failed(why))),
            QueueError::Denied(why) => {
                tell!(QUEUE_DENIED, "{why}. Check that the queue's user may write there");
                return Event::Dead;
            }
            QueueError::Newer(why) => {
                tell!(QUEUE_NEWER, "{why}. Nothing was changed: install that version again");
                return Event::Dead;
            }
            broken @ QueueError::Broken(_) => broken,
        };
        tell!(
            INDEX_FAILED,
            "{trouble}. The queue's index is rebuilt from its log; nothing queued is lost"
        );
        self.reopen()
    }

    /// Looks at the space there is; enough of it brings an index back that could not be written.
    pub(super) fn measure(&mut self) -> Event {
        let held = self.queue.held();
        match self.queue.may_be_indexed() {
            true => {
                self.let_go_of_hand();
                self.reopen()
            }
            false => Event::Measured(held),
        }
    }

    fn let_go_of_hand(&mut self) {
        (self.refused, self.doubted) = (None, None);
        self.hand = None;
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
                Event::Dead
            }
        }
    }
}
