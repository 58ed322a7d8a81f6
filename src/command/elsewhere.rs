//! Whether the last run kept its queue in another directory: what waits there is not forgotten for a
//! changed `queue.dir`.
//!
//! Promises: reads only, takes no lock. All that is known of the last run is its status file, which
//! mostly lies in memory; after a reboot nothing is known of it. Never: moves anything.

use std::path::Path;

use crate::config::Config;
use crate::message::tell;
use crate::plain::count;
use crate::queue::inspect::Inspector;
use crate::queue::real::{RealDisk, is_in_use};
use crate::record::Category;
use crate::report::Status;

use super::told;

/// Says it, before the status file is written anew.
pub fn tell(config: &Config) {
    let Ok(status) = Status::read(&config.status_file) else { return };
    let (was, now) = (Path::new(&status.queue.dir), &config.queue.dir);
    let is_same = was == now || was.canonicalize().ok() == now.canonicalize().ok();
    // One in use is another daemon's, which goes on with it.
    if status.queue.dir.is_empty() || is_same || is_in_use(was) != Some(false) {
        return;
    }
    let told = told::of(&status, was);
    let Ok(mut looked) = Inspector::open(RealDisk::new(was), Some(told)) else { return };
    let waiting = looked.contents(&mut |_, _| {}).waiting;
    let records: u64 = waiting.iter().map(|frame| u64::from(frame.entries - frame.skip)).sum();
    let streams = looked.streams().filter(|(name, delivered, _)| {
        matches!(name.category, Category::Polled(_)) && delivered.is_some()
    });
    let streams = streams.count();
    if records > 0 || streams > 0 {
        tell!(
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
