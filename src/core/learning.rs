//! What is worth knowing in the next process, and when it is written down.
//!
//! Promises: before the first page of a size is asked for it is written that it is, so that a start
//! that dies in it is followed by one that asks for half; a size is written again only when it changed
//! by half or twice, so that a quiet box writes nothing. Never: anything that a promise rests on, for
//! the file may be gone.

use crate::record::{Learned, SinkLearned, StreamLearned};

use super::{Action, Core};

impl Core {
    /// What is to be written down before the action is done that was last given.
    pub fn news(&mut self) -> Option<&Learned> {
        let learned = self.learned();
        if !is_news(&self.learned, &learned) {
            return None;
        }
        self.learned = learned;
        Some(&self.learned)
    }

    /// Which stream is asked for a page of a size that this process took none in of.
    pub(super) fn note_asking(&mut self, action: &Action) {
        let asked = match action {
            Action::Fetch(fetch) => Some((fetch.stream, fetch.rows_max)),
            Action::List(list) => Some((list.stream, list.rows_max)),
            // The page is in hand.
            _ if self.pending.is_some() => return,
            Action::Exit(_) => None,
            // One that failed will be asked for again: to say so once is enough.
            _ => self.asking,
        };
        self.asking = asked.filter(|(stream, rows)| self.streams[*stream].rows.is_new(*rows));
    }

    fn learned(&self) -> Learned {
        let streams = self.streams.iter().enumerate().map(|(at, stream)| StreamLearned {
            rows: stream.rows.learned(),
            asking: self.asking.filter(|(asked, _)| *asked == at).map(|(_, rows)| rows),
            lone: stream.beyond.lone(),
        });
        Learned { sink: self.sink.learned(), streams: streams.collect() }
    }
}

fn is_news(before: &Learned, after: &Learned) -> bool {
    let SinkLearned { body_bytes, lone } = after.sink;
    lone != before.sink.lone
        || is_other(before.sink.body_bytes, body_bytes)
        || before.streams.len() != after.streams.len()
        || before.streams.iter().zip(&after.streams).any(|(before, after)| {
            before.asking != after.asking
                || before.lone != after.lone
                || is_other(before.rows.map(u64::from), after.rows.map(u64::from))
        })
}

/// Whether a size changed by so much that it is worth a write.
fn is_other(before: Option<u64>, after: Option<u64>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => before >= 2 * after || after >= 2 * before,
        (before, after) => before != after,
    }
}
