//! Warns if the last run had its queue in another directory, so that records waiting there are not
//! forgotten when `queue.dir` is changed.
//!
//! Promises: reads only, takes no lock. The only trace of the last run is its status file, which is
//! usually in memory; after a reboot there is none. Never: moves anything.

use std::path::Path;

use crate::config::Config;
use crate::message::log_message;
use crate::plain::count;
use crate::queue::inspect::Inspector;
use crate::queue::real::{RealDisk, is_in_use};
use crate::record::Category;
use crate::report::Status;

use super::daemon_status;

/// Logs the warning. To be called before the status file is replaced.
pub fn warn(config: &Config) {
    let Ok(status) = Status::read(&config.status_file) else { return };
    let (was, now) = (Path::new(&status.queue.dir), &config.queue.dir);
    let is_same = was == now || was.canonicalize().ok() == now.canonicalize().ok();
    // A queue that is in use belongs to another daemon, which goes on with it.
    if status.queue.dir.is_empty() || is_same || is_in_use(was) != Some(false) {
        return;
    }
    let daemon = daemon_status::of(&status, was);
    let Ok(mut looked) = Inspector::open(RealDisk::new(was), Some(daemon)) else { return };
    let waiting = looked.contents(&mut |_, _| {}).waiting;
    let records: u64 = waiting.iter().map(|frame| u64::from(frame.entries - frame.skip)).sum();
    let streams = looked.streams().filter(|(name, delivered, _)| {
        matches!(name.category, Category::Polled(_)) && delivered.is_some()
    });
    let streams = streams.count();
    if records > 0 || streams > 0 {
        log_message!(
            QUEUE_DIR_CHANGED,
            "queue.dir changed from {} to {}: {} waiting and the positions of {} are in the old \
             directory. To continue with it, stop the service and set \
             queue.dir back, or move that directory to the new place before the start",
            was.display(),
            now.display(),
            count(records, "record"),
            count(streams, "stream")
        );
    }
}
