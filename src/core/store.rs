//! What follows from a page that was sent or stored, or was not.
//!
//! Promises: a page counts as taken once it is stored, or delivered from memory with its progress
//! stored (keeps P1); want of room rests the lane concerned and drops nothing (P4).

use crate::limits;
use crate::record::{Held, Progress, Room, RowKey, SinkVerdict, WriteMode};
use crate::time::{Mono, Span};

use super::source::Pending;
use super::{Action, Core, Keep, Mood, StoreTrouble, Stream, Tick, Why};

impl Stream {
    /// What is to be kept of these rows of a page, with which the stream stands at `progress`.
    pub(super) fn keep(
        &self,
        stream: usize,
        keys: &[RowKey],
        fresh: Vec<u32>,
        progress: Progress,
    ) -> Keep {
        let keys = fresh.iter().map(|at| keys[*at as usize]);
        let known = keys.filter(|key| key.stamp >= progress.from).collect();
        let walks_from = self.progress.unwrap_or(progress).from;
        let compared = self.reconcile.tale.compared;
        Keep { stream, fresh, progress, walks_from, known, missed: None, compared }
    }
}

impl Core {
    /// What is done with a page: its new records are stored, or sent first and stored then.
    pub(super) fn take_in(&mut self, tick: &Tick, pending: Pending) -> Option<Action> {
        if pending.keep.fresh.is_empty() && pending.keep.missed.is_none() {
            // Nothing new: nothing to write (an empty poll commits nothing).
            self.stream_stored(tick.now, pending);
            return None;
        }
        let keep = pending.keep.clone();
        self.pending = Some(pending);
        Some(if !keep.fresh.is_empty() && self.may_send_from_memory(tick) {
            Action::SendPage { keep, raw_bytes_max: self.sink.take().raw_bytes_max }
        } else {
            Action::Store(keep)
        })
    }

    fn stream_stored(&mut self, now: Mono, pending: Pending) {
        let pace = self.reconcile_pace();
        let stream = &mut self.streams[pending.keep.stream];
        stream.stored(now, pace, pending, &mut self.backoff);
    }

    pub(super) fn may_send_from_memory(&self, tick: &Tick) -> bool {
        self.plan.write == WriteMode::OnFailure
            && self.held.records == 0
            && self.sink.lane.why.mood() == Mood::Fine
            && self.sink.lane.due.is_over(tick.now)
            && self.delivery.wait(tick.now).is_none()
            // A whole page may be more than the rate lets through within network.timeout.
            && self.plan.bounds.body_raw_bytes.is_none()
            && !tick.stop
    }

    pub(super) fn page_sent(&mut self, now: Mono, verdict: Option<SinkVerdict>) -> Option<Action> {
        let pending = self.pending.as_mut().expect("a page was in hand when it was sent");
        match verdict {
            Some(SinkVerdict::Accepted { remark }) => {
                let entries = u32::try_from(pending.keep.fresh.len()).expect("a page is small");
                self.sink.accepted(now, entries, 0);
                self.sink.remarks += u64::from(remark.is_some());
                // Delivered: only how far the stream has come is left to be stored.
                let keep = Keep { fresh: vec![], ..pending.keep.clone() };
                Some(Action::Store(keep))
            }
            Some(SinkVerdict::InDoubt { words, .. }) => {
                let entries = u32::try_from(pending.keep.fresh.len()).expect("a page is small");
                self.sink.doubted(now, entries, &words, &mut self.backoff);
                Some(Action::DoubtPage(pending.keep.clone()))
            }
            // Whether the key is meant or the content is found out from the queue.
            Some(SinkVerdict::KeyRefused(_) | SinkVerdict::Blocked(_)) => {
                Some(Action::Store(pending.keep.clone()))
            }
            Some(refused) => {
                self.sink.failed(now, &refused, &mut self.backoff);
                Some(Action::Store(pending.keep.clone()))
            }
            None => Some(Action::Store(pending.keep.clone())),
        }
    }

    pub(super) fn stored(&mut self, now: Mono, result: Result<Held, StoreTrouble>) {
        let pending = self.pending.take();
        match result {
            Ok(held) => {
                self.hold(held);
                match pending {
                    Some(pending) => self.stream_stored(now, pending),
                    None => self.mended = 0,
                }
            }
            Err(StoreTrouble::Full(held)) => {
                self.hold(held);
                self.room_due = now + Span::seconds(limits::ROOM_CHECK_SECONDS);
                match pending {
                    Some(pending) => {
                        let stream = &mut self.streams[pending.keep.stream];
                        stream.not_stored();
                        // Nothing waits that could make room, so this page never fits.
                        if held.records == 0 {
                            stream.rows.failed();
                        }
                        if held.room == Room::Free {
                            let wait = self.backoff.after(stream.lane.failures, None);
                            let text = "a page did not fit; requesting fewer rows".to_owned();
                            stream.lane.fail(now, wait, Why::QueueFull, text);
                        }
                    }
                    // An acknowledgement found no room: sending the same again at once would only
                    // make duplicates.
                    None => {
                        let wait = self.backoff.after(self.sink.lane.failures, None);
                        let text = "no space to note what was delivered".to_owned();
                        self.sink.lane.fail(now, wait, Why::StoreTrouble, text);
                    }
                }
            }
            Err(StoreTrouble::Failed(why)) => {
                // The disk serves all lanes; rest the one concerned rather than fetch what can't
                // be kept, or send again what can't be acknowledged.
                let lane = match pending {
                    Some(pending) => {
                        let stream = &mut self.streams[pending.keep.stream];
                        stream.not_stored();
                        &mut stream.lane
                    }
                    None => &mut self.sink.lane,
                };
                let wait = self.backoff.after(lane.failures, None);
                lane.fail(now, wait, Why::StoreTrouble, why);
            }
        }
    }
}
