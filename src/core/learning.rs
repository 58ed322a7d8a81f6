//! What the next process should know, and when it is written.
//!
//! Promises: before a page of a new size is requested, that is written, so that after a process
//! died in such a page the next one requests half of it; a learned size is written again only when
//! it has halved or doubled, so that an idle device writes nothing. Never: contains anything that a
//! promise depends on, because the file may be gone; but for `provisional`, which nothing else that
//! lasts could hold back.

use crate::record::{Learned, SinkLearned, StreamLearned};

use super::{Action, Core};

impl Core {
    /// What has to be written before the action just given is executed.
    pub fn news(&mut self) -> Option<&Learned> {
        let learned = self.learned();
        if !is_news(&self.learned, &learned) {
            return None;
        }
        self.learned = learned;
        Some(&self.learned)
    }

    /// Notes for which stream a page is requested that is larger than any received in this process.
    pub(super) fn note_asking(&mut self, action: &Action) {
        let asked = match action {
            Action::Fetch(fetch) => Some((fetch.stream, fetch.rows_max)),
            Action::List(list) => Some((list.stream, list.rows_max)),
            // The page is pending.
            _ if self.pending.is_some() => return,
            Action::Exit(_) => None,
            // After a failure the page will be requested again: the note stays, so that it is
            // written only once.
            _ => self.asking,
        };
        self.asking = asked.filter(|(stream, rows)| self.streams[*stream].rows.is_new(*rows));
    }

    fn learned(&self) -> Learned {
        let streams = self.streams.iter().enumerate().map(|(at, stream)| {
            let learned = StreamLearned {
                rows: stream.rows.learned(),
                asking: self.asking.filter(|(asked, _)| *asked == at).map(|(_, rows)| rows),
                lone: stream.beyond.lone(),
                bears: stream.rows.bears(),
                ..StreamLearned::default()
            };
            stream.provisional.map_or(learned, |provisional| provisional.note(learned))
        });
        Learned { sink: self.sink.learned(), streams: streams.collect(), kills: None }
    }
}

fn is_news(before: &Learned, after: &Learned) -> bool {
    let SinkLearned { body_bytes, body_entries, lone } = after.sink;
    lone != before.sink.lone
        || is_other(before.sink.body_bytes, body_bytes)
        || is_other(before.sink.body_entries.map(u64::from), body_entries.map(u64::from))
        || before.streams.len() != after.streams.len()
        || before.streams.iter().zip(&after.streams).any(|(before, after)| {
            before.asking != after.asking
                || before.lone != after.lone
                || before.bears != after.bears
                || before.confirmed != after.confirmed
                || before.is_beginning != after.is_beginning
                || is_other(before.rows.map(u64::from), after.rows.map(u64::from))
        })
}

/// Whether a size has changed enough to be written.
fn is_other(before: Option<u64>, after: Option<u64>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => before >= 2 * after || after >= 2 * before,
        (before, after) => before != after,
    }
}

#[cfg(test)]
#[path = "tests/learning.rs"]
mod tests;
