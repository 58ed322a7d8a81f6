//! What a status file says of the queue in a directory, for commands that only read the queue.
//!
//! Promises: reads only. Never: decides whether the status is of this queue; the inspector does,
//! which knows both.

use std::path::Path;

use crate::queue::inspect::DaemonStatus;
use crate::queue::marks::QueueId;
use crate::queue::real::{holder, is_in_use};
use crate::record::{QueuePosition, Seq};
use crate::report::Status;

/// The content of a status. The daemon counts as running only if its process holds the lock of this
/// directory: a command that changes the queue holds it too.
pub fn of(status: &Status, dir: &Path) -> DaemonStatus {
    let Status { queue, pid, .. } = status;
    DaemonStatus {
        queue: QueueId::parse(&queue.id),
        head: QueuePosition { seq: Seq(queue.head_frame), skip: queue.head_entry },
        is_running: is_in_use(dir) == Some(true) && holder(dir) == Some(*pid),
    }
}
