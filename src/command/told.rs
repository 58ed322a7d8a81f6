//! What a status file tells of the queue in a directory, for those who only look at it.
//!
//! Promises: reads only. Never: decides whether that is this queue; the inspector does, which sees both.

use std::path::Path;

use crate::queue::inspect::Told;
use crate::queue::marks::QueueId;
use crate::queue::real::{holder, is_in_use};
use crate::record::{Place, Seq};
use crate::report::Status;

/// The word of a status. The daemon runs only if it holds this directory itself: another process may, for a
/// command that changes the queue does.
pub fn of(status: &Status, dir: &Path) -> Told {
    let Status { queue, pid, .. } = status;
    Told {
        queue: QueueId::parse(&queue.id),
        head: Place { seq: Seq(queue.head_frame), skip: queue.head_entry },
        is_running: is_in_use(dir) == Some(true) && holder(dir) == Some(*pid),
    }
}
