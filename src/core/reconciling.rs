//! The rounds of reconciliation among the other lanes: when one may go on, and what its troubles
//! mean.
//!
//! Promises: nothing is compared while a walk is under way that may still bring what is missing,
//! nor without a token, room and a stream in good order; one stream's refusal stops no other. Never:
//! a stream's own lane fails for it.

use crate::limits;
use crate::plain::count;
use crate::record::{Kind, Room, SourceTrouble};
use crate::time::{Due, Mono, Span, Stamp};

use super::failing::AskedFor;
use super::lane::Why;
use super::reconcile::{Counted, Listed, Step};
use super::source::{Pending, Stream, Then, Token};
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
            && tenant.lane.failures == 0
            && state.progress.is_some()
            // Walks have not passed what lies behind a position that is ahead.
            && !self.may_be_ahead(state, now)
            && state.lane.failures == 0
            && state.lane.not_before <= now
            // Who is online for a moment does not try twice.
            && (self.plan.mode == Mode::Daemon || state.reconcile.lane.failures == 0)
            && !self.gave_up(&state.reconcile.lane);
        if !in_order {
            return false;
        }
        // A threat is met by a walk when it changed last, so one created long ago may still come. What
        // goes by its creation does not.
        let pressed = self.is_pressed(stream);
        let may_still_come = !state.is_between_walks();
        if may_still_come && (state.kind() == Kind::Threats || !pressed) {
            return false;
        }
        state.reconcile.in_round() || pressed || state.reconcile.is_due(source_now)
    }

    fn is_pressed(&self, stream: usize) -> bool {
        let state = &self.streams[stream];
        state.reconcile.is_pressed(state.collected, self.plan.tally_ids_max())
    }

    pub(super) fn use_reconcile(&mut self, stream: usize, now: Mono) -> Option<Action> {
        if self.polling.wait(now).is_some() || !self.may_reconcile(stream, now) {
            return None;
        }
        let pressed = self.is_pressed(stream);
        let tenant = self.streams[stream].plan.tenant;
        let source_now = self.tenants[tenant].clock.present(now, self.clocks).earliest()?;
        let state = &mut self.streams[stream];
        if !state.reconcile.lane.due.is_over(now) {
            return None;
        }
        if !state.reconcile.in_round() {
            let settled = state.settled(state.progress?);
            let closed = state.reconcile.closed(settled, source_now, pressed);
            state.reconcile.begin(closed, state.collected);
        }
        match state.reconcile.next(stream, state.rows.now(), source_now) {
            Some(Step::Count(count)) => Some(Action::Count(count)),
            Some(Step::List(list)) => Some(Action::List(list)),
            None => {
                // A tenant so busy that the next round is due already is asked at the pace all the
                // same, and what is due is never in the past of a lane that was passed over.
                let due = Due::At(now + self.reconcile_pace());
                self.streams[stream].reconcile.lane.rest(now, due, Why::PollInterval);
                None
            }
        }
    }

    pub(super) fn reconcile_pace(&self) -> Span {
        match self.plan.mode {
            Mode::Daemon => Span::seconds(limits::RECONCILE_PACE_SECONDS),
            Mode::Once => self.plan.retry_min,
        }
    }

    pub(super) fn counted(
        &mut self,
        now: Mono,
        stream: usize,
        counted: Result<Option<Counted>, SourceTrouble>,
    ) {
        match counted {
            Ok(counted) => {
                let date = counted.as_ref().and_then(|counted| counted.date);
                self.told_time(now, stream, date);
                let pace = self.reconcile_pace();
                self.streams[stream].reconcile.counted(now, pace, counted);
            }
            Err(trouble) => self.reconcile_failed(now, stream, AskedFor::Fact, trouble),
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
                self.told_time(tick.now, stream, listed.page.date);
                if listed.outside > 0 {
                    self.streams[stream].listed_outside(&listed);
                    return None;
                }
                let pending = self.streams[stream].listed_page(stream, listed);
                self.take_in(tick, pending)
            }
            Err(trouble) => {
                self.reconcile_failed(tick.now, stream, AskedFor::Page, trouble);
                None
            }
        }
    }

    fn told_time(&mut self, now: Mono, stream: usize, date: Option<Stamp>) {
        self.tenants[self.streams[stream].plan.tenant].clock.hear(date, now, self.clocks);
    }

    fn reconcile_failed(
        &mut self,
        now: Mono,
        stream: usize,
        asked_for: AskedFor,
        trouble: SourceTrouble,
    ) {
        let tenant = self.streams[stream].plan.tenant;
        let failures = self.streams[stream].reconcile.lane.failures;
        let (long, wait) = (self.backoff.long(), self.backoff.after(failures, None));
        let state = &mut self.streams[stream];
        state.reconcile.failed();
        if asked_for == AskedFor::Page && trouble.may_be_of_size() {
            state.rows.failed();
        }
        let (wait, why, detail) = match trouble {
            SourceTrouble::Busy { retry_after } => {
                state.reconcile.lane.heed(now, retry_after);
                (self.backoff.after(failures, retry_after), Why::Busy, String::new())
            }
            SourceTrouble::Unreachable(net) => (wait, Why::of(&net), net.to_string()),
            SourceTrouble::BrokenAnswer(text) | SourceTrouble::BrokenPage { why: text, .. } => {
                (wait, Why::BrokenAnswer, text)
            }
            SourceTrouble::TooLong(_) => (wait, Why::BrokenAnswer, String::new()),
            SourceTrouble::QueryRefused(text) if state.reconcile.restart_listing() => {
                (wait, Why::BrokenAnswer, text)
            }
            SourceTrouble::QueryRefused(text) => {
                state.reconcile.refuse(text.clone());
                (long, Why::QueryRefused, text)
            }
            SourceTrouble::Misdirected(text) => (long, Why::Misdirected, text),
            SourceTrouble::Forbidden(refusal) => (long, Why::of_refusal(&refusal), refusal.words),
            SourceTrouble::TokenDoubted(words) | SourceTrouble::TokenRefused(words) => {
                // Either the token is dead, which `/system/info` tells, or it may list but not count.
                self.tenants[tenant].token = Token::Doubted;
                self.tenants[tenant].lane.hurry(now);
                (long, Why::PermissionMissing, words)
            }
        };
        let lane = &mut self.streams[stream].reconcile.lane;
        lane.fail(now, wait, why, detail);
        if why == Why::Busy {
            let (due, not_before): (Due, Mono) = (lane.due, lane.not_before);
            self.rest_tenant(now, tenant, due, not_before);
        }
    }
}

impl Stream {
    /// A list holds rows of other times than asked for: it is no answer, nor is any count.
    pub fn listed_outside(&mut self, listed: &Listed) {
        let text = format!(
            "{} of {} listed, outside of the requested range",
            listed.outside,
            count(listed.page.keys.len(), "record")
        );
        self.reconcile.refuse(text.clone());
        self.condition = Some((Why::FilterIgnored, text));
    }

    /// What is to be stored of a page that was listed to find late records. The position stays.
    pub fn listed_page(&mut self, stream: usize, listed: Listed) -> Pending {
        let progress = self.progress.expect("only a stream that has begun is reconciled");
        let fresh = self.reconcile.fresh(&listed, |key| self.known.has(key));
        // A walk may meet those again that changed lately.
        let keep = self.keep(stream, &listed.page.keys, fresh, progress);
        let unseen = listed.unseen.iter().filter(|unseen| **unseen).count();
        let unmatched = (unseen - keep.fresh.len()) as u64;
        let (date, read) = (listed.page.date, (0, Span::ZERO));
        Pending { keep, date, read, then: Then::Listed(listed.page, unmatched) }
    }
}
