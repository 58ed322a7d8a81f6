//! Reconciliation among the other lanes: when a round may go on, and what its failures mean.
//!
//! Promises: nothing is compared while a walk is in progress that may still bring missing records,
//! nor without a token, without space, or while the stream has a problem; the rejection of one
//! stream's count stops no other. Never: makes a stream's own lane fail.

use crate::limits;
use crate::plain::count;
use crate::record::{GapReason, Kind, Room, SourceTrouble, Unread};
use crate::time::{Due, Mono, Span, Stamp};

use super::consequence::{Consequence, Of, Wait};
use super::overcount::Overcount;
use super::reason::Reason;
use super::reconcile::{Counted, Listed, Step};
use super::source::{FoundBy, Missed, Pending, StorePage, Stream, Then, Token};
use super::unlisted::Unlistable;
use super::{Action, Core, Mode, Tick};

impl Core {
    /// Whether a stream's reconciliation has something to do once its lane is due.
    pub(super) fn may_reconcile(&self, stream: usize, now: Mono) -> bool {
        let state = &self.streams[stream];
        let tenant = &self.tenants[state.plan.tenant];
        let present = tenant.clock.present(now, self.clocks);
        let Some(source_now) = present.earliest() else { return false };
        let in_order = state.reconcile.is_on()
            && self.held.room == Room::Free
            && tenant.token == Token::Good
            && (tenant.lane.failures == 0 || tenant.info_fails())
            && state.progress.is_some()
            // Walks have not read everything before a position that is ahead.
            && !self.may_be_ahead(state, now)
            && state.lane.failures == 0
            && state.lane.not_before <= now
            // `--once` does not try twice.
            && (self.plan.mode == Mode::Daemon || state.reconcile.lane.failures == 0)
            && !self.has_given_up(&state.reconcile.lane);
        if !in_order {
            return false;
        }
        // A walk finds a threat by its last change, so one created long ago may still come. Kinds
        // that walks find by creation time do not.
        let nearly_full = self.ids_nearly_full(stream);
        let may_still_come = !state.is_between_walks();
        if may_still_come && (state.kind() == Kind::Threats || !nearly_full) {
            return false;
        }
        state.reconcile.in_round() || nearly_full || state.reconcile.is_due(source_now)
    }

    fn ids_nearly_full(&self, stream: usize) -> bool {
        let state = &self.streams[stream];
        state.reconcile.ids_nearly_full(state.collected, self.plan.tally_ids_max())
    }

    pub(super) fn use_reconcile(&mut self, stream: usize, now: Mono) -> Option<Action> {
        if self.polling.wait(now).is_some() || !self.may_reconcile(stream, now) {
            return None;
        }
        let nearly_full = self.ids_nearly_full(stream);
        let tenant = self.streams[stream].plan.tenant;
        let present = self.tenants[tenant].clock.present(now, self.clocks);
        let source_now = present.earliest()?;
        let state = &mut self.streams[stream];
        if !state.reconcile.lane.due.is_over(now) {
            return None;
        }
        if !state.reconcile.in_round() {
            let settled = state.settled(state.progress?);
            let walked = state.walked.filter(|_| present.is_backed());
            let closed = state.reconcile.closed(settled, walked, source_now, nearly_full);
            if let Some(count) = state.count_changed(stream, walked) {
                return Some(count);
            }
            state.reconcile.begin(now, closed, state.collected);
        }
        match state.reconcile.next(stream, state.rows.now(), source_now) {
            Some(Step::Count(count)) => Some(Action::Count(count)),
            Some(Step::List(list)) => Some(Action::List(list)),
            None => {
                // A tenant with so many records that the next round is due already is asked at the
                // pace all the same, and the due time is never in the past of a lane that was
                // passed over.
                let due = Due::At(now + self.reconcile_pace());
                self.streams[stream].reconcile.lane.rest(now, due, Reason::PollInterval);
                None
            }
        }
    }

    /// Its requests need not be further apart than the retries of anything else. So a row that fails
    /// alone is set aside after no fewer of the longest waits than with the usual `retry.max`.
    pub(super) fn reconcile_pace(&self) -> Span {
        match self.plan.mode {
            Mode::Daemon => self.plan.retry_max.min(Span::seconds(limits::RECONCILE_PACE_SECONDS)),
            Mode::Once => self.plan.retry_min,
        }
    }

    pub(super) fn counted(
        &mut self,
        tick: &Tick,
        stream: usize,
        counted: Result<Option<Counted>, SourceTrouble>,
    ) -> Option<Action> {
        let now = tick.now;
        if self.streams[stream].changed.is_asked() {
            return self.changed_counted(tick, stream, counted);
        }
        match counted {
            Ok(counted) => {
                let date = counted.as_ref().and_then(|counted| counted.date);
                self.set_source_time(now, stream, date);
                let pace = self.reconcile_pace();
                let state = &mut self.streams[stream];
                state.reconcile.counted(now, pace, state.rows.now(), counted);
                state.reconcile.wait_for_list(now);
                let pending = state.overcounted(stream, state.reconcile.overcounts.to_tell()?);
                self.take_in(tick, pending)
            }
            Err(trouble) => {
                self.streams[stream].reconcile.could_not_count(&trouble);
                self.reconcile_failed(now, stream, trouble);
                None
            }
        }
    }

    pub(super) fn listed(
        &mut self,
        tick: &Tick,
        stream: usize,
        listed: Result<Listed, SourceTrouble>,
    ) -> Option<Action> {
        match listed {
            Ok(listed) => {
                self.set_source_time(tick.now, stream, listed.page.date);
                if listed.outside > 0 {
                    self.streams[stream].listed_outside(&listed);
                    return None;
                }
                let pace = self.reconcile_pace();
                if self.streams[stream].reconcile.twin_came(tick.now, pace) {
                    return None;
                }
                let pending = self.streams[stream].listed_page(stream, listed);
                self.take_in(tick, pending)
            }
            Err(trouble) => {
                let longest_wait = self.plan.retry_max;
                let state = &mut self.streams[stream];
                let is_busy = matches!(trouble, SourceTrouble::Busy { .. });
                let is_put_off = is_busy && state.reconcile.is_put_off_again();
                let was_twin = state.reconcile.twin(stream).is_some();
                let is_rejected = matches!(trouble, SourceTrouble::QueryRefused(_));
                let asked = state.reconcile.rows_of_list(state.rows.now());
                let trouble = state.of_list(tick.now, trouble, asked);
                if was_twin {
                    self.reconcile_failed(tick.now, stream, trouble);
                    return None;
                }
                // The pages of walks do not get smaller because of this: the range is divided instead.
                let may_be_of_size = trouble.may_be_of_size();
                let unlistable = may_be_of_size.then(|| {
                    let lists = &mut state.reconcile;
                    lists.could_not_list(tick.now, asked, &trouble, is_rejected, longest_wait)
                });
                let trouble = match trouble {
                    SourceTrouble::QueryRefused(text) if state.reconcile.list_fewer(asked) => {
                        SourceTrouble::BrokenAnswer(text)
                    }
                    trouble => trouble,
                };
                self.reconcile_failed(tick.now, stream, trouble);
                let state = &mut self.streams[stream];
                if is_put_off {
                    state.reconcile.put_off(tick.now, longest_wait);
                }
                let pending = state.passed_over(stream, unlistable.flatten()?);
                self.take_in(tick, pending)
            }
        }
    }

    pub(super) fn set_source_time(&mut self, now: Mono, stream: usize, date: Option<Stamp>) {
        self.tenants[self.streams[stream].plan.tenant].clock.observe_date(date, now, self.clocks);
    }

    pub(super) fn reconcile_failed(&mut self, now: Mono, stream: usize, trouble: SourceTrouble) {
        let tenant = self.streams[stream].plan.tenant;
        let failures = self.streams[stream].reconcile.lane.failures;
        let state = &mut self.streams[stream];
        state.reconcile.failed();
        let consequence = match trouble {
            SourceTrouble::QueryRefused(text) if state.reconcile.reject_cursor() => {
                Consequence::passing(Reason::BrokenAnswer, text)
            }
            SourceTrouble::TokenDoubted(words) | SourceTrouble::TokenRefused(words) => {
                // Either the token is no longer valid, which `/system/info` shows, or it may list
                // but not count.
                self.tenants[tenant].token = Token::Doubted;
                self.tenants[tenant].lane.poll_now(now);
                Consequence { wait: Wait::Long, reason: Reason::PermissionMissing, detail: words }
            }
            trouble => {
                if let SourceTrouble::Busy { retry_after, .. } = trouble {
                    state.reconcile.lane.honor_retry_after(now, retry_after);
                }
                if let SourceTrouble::QueryRefused(text) = &trouble {
                    state.reconcile.refuse(text.clone());
                }
                Consequence::of(trouble, Of::Records(state.plan.kind))
            }
        };
        let Consequence { wait, reason, detail } = consequence;
        let wait = wait.span(failures, &mut self.backoff);
        let lane = &mut self.streams[stream].reconcile.lane;
        lane.fail(now, wait, reason, detail);
        // Whatever it is taken for: so much patience was asked for.
        lane.due = lane.due.max(Due::At(lane.not_before));
        // The question is not needed: one that is put off each time must not slow down the streams.
        if reason == Reason::Busy && failures == 0 {
            let (due, not_before): (Due, Mono) = (lane.due, lane.not_before);
            self.rest_tenant(now, tenant, due, not_before);
        }
    }
}

impl Stream {
    /// A list has rows from outside of its range: neither it nor any count is usable.
    pub fn listed_outside(&mut self, listed: &Listed) {
        let text = format!(
            "{} of {} listed, outside of the requested range",
            listed.outside,
            count(listed.page.keys.len(), "record")
        );
        self.reconcile.refuse(text.clone());
        self.condition = Some((Reason::FilterIgnored, text));
    }

    /// What the failure of a list means. The count before it was answered, so not everything is
    /// rejected, nor put off if that happens again.
    fn of_list(&mut self, now: Mono, trouble: SourceTrouble, asked: u32) -> SourceTrouble {
        match trouble {
            SourceTrouble::Busy { retry_after, why } if self.reconcile.is_put_off_again() => {
                self.reconcile.lane.honor_retry_after(now, retry_after);
                SourceTrouble::BrokenAnswer(format!("{why}; counts are answered"))
            }
            SourceTrouble::QueryRefused(why) if self.reconcile.is_of_a_row(asked) => {
                SourceTrouble::BrokenAnswer(format!("{why}; counts are answered"))
            }
            trouble => match trouble.words_of_between() {
                Some(words) => SourceTrouble::BrokenAnswer(words.to_owned()),
                None => trouble,
            },
        }
    }

    /// The gap of a range that can't be listed.
    fn passed_over(&self, stream: usize, range: Unlistable) -> Pending {
        let Unlistable { from, to, unread, .. } = range;
        self.missed_by_count(stream, (from, to), unread, Then::PassedOver(range))
    }

    /// The gap of a range in which more is counted than listed.
    fn overcounted(&self, stream: usize, over: Overcount) -> Pending {
        self.missed_by_count(
            stream,
            (over.from, over.to),
            Unread::default(),
            Then::Overcounted(over.from),
        )
    }

    /// A gap of a range of creation times.
    pub(super) fn missed_by_count(
        &self,
        stream: usize,
        (from, to): (Stamp, Stamp),
        unread: Unread,
        then: Then,
    ) -> Pending {
        let progress = self.progress.expect("only a stream that has begun is reconciled");
        // A threat was created in the range, and may have changed at any time since.
        let to = match self.kind() {
            Kind::Threats => progress.position.max(to),
            Kind::Activities | Kind::Alerts => to,
        };
        let (reason, found_by) = (GapReason::Unfetchable, FoundBy::Count);
        let missed = Missed { from, to, reason, unread, found_by };
        let keep = StorePage { missed: Some(missed), ..self.keep(stream, &[], vec![], progress) };
        Pending { keep, date: None, read: None, then }
    }

    /// What is to be stored of a page that was listed to find late records. The position stays.
    pub fn listed_page(&mut self, stream: usize, listed: Listed) -> Pending {
        let progress = self.progress.expect("only a stream that has begun is reconciled");
        let mut fresh = self.reconcile.fresh(&listed, |key| self.known.has(key));
        let missed = self.leave_out_late(&listed.page.keys, &mut fresh);
        // A walk may meet the recently changed ones of these again.
        let late: Vec<Stamp> =
            fresh.iter().map(|at| listed.page.keys[*at as usize].stamp).collect();
        let whole = self.reconcile.late_once_whole(&listed.page, &late);
        let keep = self.keep(stream, &listed.page.keys, fresh, progress);
        let keep = StorePage { late: whole, missed, ..keep };
        let unseen = listed.unseen.iter().filter(|unseen| **unseen).count();
        let unmatched = (unseen - keep.fresh.len()) as u64;
        let (date, read) = (listed.page.date, None);
        Pending { keep, date, read, then: Then::Listed(listed.page, unmatched, late) }
    }
}

#[cfg(test)]
#[path = "tests/reconciling.rs"]
mod tests;
