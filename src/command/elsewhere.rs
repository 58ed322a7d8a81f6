//! What `run` does about queues in other directories that were used before the configured one, so
//! that what waits there is not forgotten when `queue.dir` is changed.
//!
//! Promises: a new queue notes the one that was used before it, before it has a position of its own.
//! Never: changes anything in another directory.

use crate::check::left_behind::{Before, in_words, waiting};
use crate::config::Config;
use crate::message::log_message;
use crate::queue::RealQueue;

/// What waits in other directories, in words; `None`: nothing. `before`: the queue of the last run.
pub fn look(config: &Config, queue: &mut RealQueue, before: Option<Before>) -> Option<String> {
    let is_new = queue.is_new();
    let dir = config.queue.dir.display();
    if let Some(before) = before.filter(|before| before.is_told(is_new)) {
        let (was, held) = (&before.left.dir, before.held());
        log_message!(
            QUEUE_DIR_CHANGED,
            "queue.dir changed from {was} to {dir}: {held}. To continue with that queue, stop the \
             service and set queue.dir back"
        );
        if is_new {
            let mut all = before.earlier;
            all.push(before.left);
            if let Err(why) = queue.leave_behind(all) {
                log_message!(
                    QUEUE_LEFT_BEHIND,
                    "Failed to note in {dir} which queue was used before: {why}. The next start \
                     will not know of it"
                );
            }
        }
    }
    in_words(&waiting(queue.left_behind(), &config.queue.dir))
}
