//! What follows from a page that was sent or stored, or could not be.
//!
//! Promises: a page counts as collected once it is stored, or delivered from memory with its
//! progress stored (keeps P1); lack of space rests the lane concerned and drops nothing (P4).

use crate::limits;
use crate::record::{Progress, QueueStatus, Room, RowKey, SinkVerdict, Take, WriteMode};
use crate::time::{Mono, Span};

use super::provisional::Provisional;
use super::source::Pending;
use super::{Action, Core, Health, Reason, StorePage, StoreTrouble, Stream, Tick};

/// A page that was sent without being stored first.
#[derive(Clone, Debug)]
pub struct PageSent {
    /// Bytes of JSON in its body.
    pub raw_bytes: u64,
    pub verdict: SinkVerdict,
}

impl Stream {
    /// What is to be stored of these rows of a page; the stream's progress with it is `progress`.
    pub(super) fn keep(
        &self,
        stream: usize,
        keys: &[RowKey],
        fresh: Vec<u32>,
        progress: Progress,
    ) -> StorePage {
        let keys = fresh.iter().map(|at| keys[*at as usize]);
        let back_to = self.provisional.map(Provisional::ids_from);
        let ids_from = back_to.map_or(progress.from, |from| from.min(progress.from));
        let known = keys.filter(|key| key.stamp >= ids_from).collect();
        let walks_from = self.progress.unwrap_or(progress).from;
        let compared = self.reconcile.summary.compared;
        let (missed, late) = (None, vec![]);
        StorePage { stream, fresh, progress, walks_from, ids_from, known, missed, late, compared }
    }
}

impl Core {
    /// Handles a page: its new records are stored, or sent first and stored then.
    pub(super) fn take_in(&mut self, tick: &Tick, pending: Pending) -> Option<Action> {
        let StorePage { fresh, missed, late, .. } = &pending.keep;
        if fresh.is_empty() && missed.is_none() && late.is_empty() {
            // Nothing new, so nothing is written: an empty poll commits nothing.
            self.stream_stored(tick.now, pending);
            return None;
        }
        let keep = pending.keep.clone();
        self.pending = Some(pending);
        let Take { entries_max, raw_bytes_max, .. } = self.sink.take();
        let fits = !keep.fresh.is_empty() && keep.fresh.len() <= entries_max as usize;
        Some(if fits && self.may_send_from_memory(tick) {
            Action::SendPage { keep, raw_bytes_max }
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
            && self.sink.lane.reason.health() == Health::Healthy
            && self.sink.lane.due.is_over(tick.now)
            && self.delivery.wait(tick.now).is_none()
            // With `max_rate`, a whole page may take longer than network.timeout.
            && self.plan.bounds.body_raw_bytes.is_none()
            && !tick.stop
    }

    pub(super) fn page_sent(&mut self, now: Mono, sent: Option<PageSent>) -> Option<Action> {
        let pending = self.pending.as_mut().expect("a page was in hand when it was sent");
        let entries = u32::try_from(pending.keep.fresh.len()).expect("a page is small");
        let Some(PageSent { raw_bytes, verdict }) = sent else {
            return Some(Action::Store(pending.keep.clone()));
        };
        match verdict {
            SinkVerdict::Accepted { remark } => {
                self.sink.accepted(now, entries, 0);
                self.sink.remarks += u64::from(remark.is_some());
                // Delivered: only the stream's progress has to be stored.
                let keep = StorePage { fresh: vec![], ..pending.keep.clone() };
                Some(Action::Store(keep))
            }
            SinkVerdict::InDoubt { words, .. } => {
                self.sink.doubted(now, entries, &words, &mut self.backoff);
                Some(Action::DoubtPage(pending.keep.clone()))
            }
            // Whether the key or the content was rejected is found out when the page is sent from
            // the queue.
            SinkVerdict::KeyRefused(_) | SinkVerdict::Blocked(_) => {
                Some(Action::Store(pending.keep.clone()))
            }
            refused => {
                self.sink.page_failed(now, entries, raw_bytes, &refused, &mut self.backoff);
                Some(Action::Store(pending.keep.clone()))
            }
        }
    }

    pub(super) fn stored(&mut self, now: Mono, result: Result<QueueStatus, StoreTrouble>) {
        let pending = self.pending.take();
        match result {
            Ok(held) => {
                self.hold(held);
                match pending {
                    Some(pending) => self.stream_stored(now, pending),
                    None => self.repairs = 0,
                }
            }
            Err(StoreTrouble::Full(held)) => {
                self.hold(held);
                self.space_check_at = now + Span::seconds(limits::ROOM_CHECK_SECONDS);
                match pending {
                    Some(pending) => {
                        let stream = &mut self.streams[pending.keep.stream];
                        stream.not_stored();
                        // Nothing waits whose delivery could free space, so this page never fits.
                        if held.records == 0 {
                            stream.rows.failed();
                        }
                        if held.room == Room::Free {
                            let wait = self.backoff.after(stream.lane.failures, None);
                            let text = "a page did not fit; requesting fewer rows".to_owned();
                            stream.lane.fail(now, wait, Reason::QueueFull, text);
                        }
                    }
                    // An acknowledgement found no space: sending the same again at once would only
                    // make duplicates.
                    None => {
                        let wait = self.backoff.after(self.sink.lane.failures, None);
                        let text = "no space to note what was delivered".to_owned();
                        self.sink.lane.fail(now, wait, Reason::StoreTrouble, text);
                    }
                }
            }
            Err(StoreTrouble::Failed(why)) => {
                // The disk serves all lanes; only the lane concerned rests, so that nothing is
                // fetched that can't be stored, or sent again that can't be acknowledged.
                let lane = match pending {
                    Some(pending) => {
                        let stream = &mut self.streams[pending.keep.stream];
                        stream.not_stored();
                        &mut stream.lane
                    }
                    None => &mut self.sink.lane,
                };
                let wait = self.backoff.after(lane.failures, None);
                lane.fail(now, wait, Reason::StoreTrouble, why);
            }
        }
    }
}
