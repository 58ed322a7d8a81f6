//! Puts back or drops several items that were set aside: parked records, or batches in doubt.
//!
//! Promises: the first failure ends it, and what was done before is reported; the queue is closed
//! in any case.

use super::place_of;
use crate::cli::Exit;
use crate::command::Failure;
use crate::message::Code;
use crate::os::clock;
use crate::plain;
use crate::queue::{QueueError, RealQueue};
use crate::record::{QueuePosition, QueueStatus};

/// A kind of item, for people.
pub struct Kind {
    pub one: &'static str,
    /// The text before a name that does not exist.
    pub none_named: &'static str,
    /// The command that lists the names.
    pub list: &'static str,
    /// The code of the message about a failure.
    pub stays: Code,
}

/// Applies the action to each of these, and reports how many were done.
pub fn each(
    mut queue: RealQueue,
    names: &[String],
    what: &str,
    kind: &Kind,
    act: impl Fn(&mut RealQueue, QueuePosition) -> Result<Option<QueueStatus>, QueueError>,
) -> Result<String, Failure> {
    let mut done = 0;
    let mut failed = None;
    for name in names {
        match place_of(name).map_or(Ok(None), |at| act(&mut queue, at)) {
            Ok(Some(_)) => done += 1,
            Ok(None) => {
                let (none, name, list) = (kind.none_named, plain::one_line(name), kind.list);
                failed = Some(format!("{none} {name}; `{list}` shows them"));
                break;
            }
            Err(why) => {
                failed = Some(why.to_string());
                break;
            }
        }
    }
    queue.close(clock::mono());
    let counted = plain::count(done, kind.one);
    match failed {
        None => Ok(counted),
        Some(why) => {
            let text = format!("Failed to {what}: {why}. {counted} done before");
            Err(Failure::new(kind.stays, Exit::Failed, text))
        }
    }
}
