//! What was set aside, put back or given up one after the other: parked records, batches in doubt.
//!
//! Promises: the first that fails ends it, and what was done before is told; the queue is closed
//! either way.

use super::place_of;
use crate::cli::Exit;
use crate::command::Failure;
use crate::edge::clock;
use crate::message::Code;
use crate::plain;
use crate::queue::{QueueError, RealQueue};
use crate::record::{Held, Place};

/// A kind of things set aside, for people.
pub struct Kind {
    pub one: &'static str,
    /// Before a name that is none of them.
    pub none_named: &'static str,
    /// The command that names them.
    pub list: &'static str,
    /// What a failure is looked up by.
    pub stays: Code,
}

/// Does it to each of these, and tells of how many.
pub fn each(
    mut queue: RealQueue,
    names: &[String],
    what: &str,
    kind: &Kind,
    act: impl Fn(&mut RealQueue, Place) -> Result<Option<Held>, QueueError>,
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
    let told = plain::count(done, kind.one);
    match failed {
        None => Ok(told),
        Some(why) => {
            let text = format!("Failed to {what}: {why}. {told} done before");
            Err(Failure::new(kind.stays, Exit::Failed, text))
        }
    }
}
