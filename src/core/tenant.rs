//! The state of a tenant's token and clock, and waits for the whole tenant.
//!
//! Promises: a 401 on one stream counts against the token only if `/system/info` confirms it; a 429
//! applies to the whole tenant (keeps P6), but for one of a question that is not needed or of a row;
//! no stream waits for a `/system/info` that keeps failing. Never: uses the sink.

use crate::limits;
use crate::record::{Refusal, Refused, SourceTrouble};
use crate::time::{Due, Mono, Span, Stamp};

use super::consequence::{Consequence, Of};
use super::failing::AskedFor;
use super::source::Token;
use super::{Core, Mode, Reason};

const DATELESS: &str = "its responses have no Date header, or one before this program's build \
    date; set `start` to a point in time";

impl Core {
    /// What a failed request about a stream means for the stream and for its tenant.
    pub(super) fn fetch_failed(
        &mut self,
        now: Mono,
        stream: usize,
        asked_for: AskedFor,
        trouble: SourceTrouble,
    ) {
        let tenant = self.streams[stream].plan.tenant;
        if let SourceTrouble::TokenDoubted(words) = trouble {
            let state = &mut self.tenants[tenant];
            state.token = Token::Doubted;
            state.doubted_by = Some((stream, words));
            state.lane.poll_now(now);
            return;
        }
        let is_rate_limited = matches!(trouble, SourceTrouble::Busy { .. });
        self.streams[stream].fail(now, asked_for, trouble, &mut self.backoff);
        if self.plan.mode == Mode::Once {
            self.streams[stream].wait_briefly(now, self.backoff.min);
        }
        let lane = &self.streams[stream].lane;
        // Otherwise one row was found to be the reason.
        if is_rate_limited && lane.reason == Reason::Busy {
            self.rest_tenant(now, tenant, lane.due, lane.not_before);
        }
    }

    pub(super) fn token_changed(&mut self, now: Mono, tenant: usize) {
        let pace = self.backoff.min;
        let state = &mut self.tenants[tenant];
        state.token = Token::Good;
        state.doubted_by = None;
        state.info_failures = 0;
        state.token_end = None;
        state.token_end_due = Due::At(now);
        // Earlier waits were for the old token; a new one is tried at the pace of a request by a
        // person.
        state.lane.succeed(now, Due::Never, Reason::Working);
        state.lane.wish(now, pace);
        for stream in self.streams.iter_mut().filter(|stream| stream.plan.tenant == tenant) {
            for lane in [&mut stream.lane, &mut stream.reconcile.lane] {
                if lane.reason.is_credential() {
                    lane.wish(now, pace);
                }
            }
        }
    }

    pub(super) fn informed(
        &mut self,
        now: Mono,
        tenant: usize,
        result: Result<Option<Stamp>, SourceTrouble>,
    ) {
        let needs_clock = self.tenant_needs_clock(tenant, now);
        // A run with `--once` ends with the failure.
        let counts = u32::from(self.plan.mode == Mode::Daemon);
        let state = &mut self.tenants[tenant];
        let doubted_by = state.doubted_by.take();
        match result {
            Ok(date) => {
                state.clock.observe_date(date, now, self.clocks);
                (state.was_informed, state.info_failures) = (true, 0);
                state.token = Token::Good;
                // A tenant that sent its time only once needs a pause between requests too.
                if needs_clock && date.is_none() {
                    let wait = self.backoff.after(state.lane.failures, None);
                    state.lane.fail(now, wait, Reason::BrokenAnswer, DATELESS.to_owned());
                } else {
                    state.lane.succeed(now, Due::At(now), Reason::Working);
                }
                if let Some((stream, words)) = doubted_by {
                    // The token is accepted, so the 401 was about this stream's permission.
                    let refusal = Refusal { what: Refused::Permission, words };
                    let stream = &mut self.streams[stream];
                    let trouble = SourceTrouble::Forbidden(refusal);
                    stream.fail(now, AskedFor::Fact, trouble, &mut self.backoff);
                }
                if self.tenant_is_ahead(tenant, now) {
                    let wait = self.backoff.long();
                    let lane = &mut self.tenants[tenant].lane;
                    lane.due = lane.due.max(Due::At(now + wait));
                }
            }
            Err(SourceTrouble::TokenRefused(words) | SourceTrouble::TokenDoubted(words)) => {
                (state.token, state.info_failures) = (Token::Refused, 0);
                state.lane.fail(now, self.backoff.long(), Reason::TokenRefused, words);
            }
            Err(SourceTrouble::Forbidden(refusal)) => {
                // The rejection says nothing about the token: if that was doubtful, it stays so.
                state.doubted_by = doubted_by;
                state.info_failures = state.info_failures.saturating_add(counts);
                let forbidden = SourceTrouble::Forbidden(refusal);
                let Consequence { wait, reason, detail } = Consequence::of(forbidden, Of::Tenant);
                let wait = wait.span(state.lane.failures, &mut self.backoff);
                state.lane.fail(now, wait, reason, detail);
            }
            Err(trouble) => {
                state.doubted_by = doubted_by;
                // Who is not reached at all answers no page either.
                let is_away =
                    matches!(&trouble, SourceTrouble::Unreachable(net) if !net.is_of_an_exchange());
                if !is_away {
                    state.info_failures = state.info_failures.saturating_add(counts);
                }
                if let SourceTrouble::Busy { retry_after, .. } = trouble {
                    state.lane.honor_retry_after(now, retry_after);
                }
                let Consequence { wait, reason, detail } = Consequence::of(trouble, Of::Tenant);
                let wait = wait.span(state.lane.failures, &mut self.backoff);
                state.lane.fail(now, wait, reason, detail);
                if reason == Reason::Busy && !state.info_fails() {
                    let (until, not_before) = (state.lane.due, state.lane.not_before);
                    self.rest_tenant(now, tenant, until, not_before);
                }
            }
        }
    }

    /// A page came that a stream without a beginning requested for its time alone, because
    /// `/system/info` keeps failing.
    pub(super) fn timed(&mut self, now: Mono, stream: usize, date: Option<Stamp>) {
        let state = &mut self.streams[stream];
        self.tenants[state.plan.tenant].was_informed = true;
        match date {
            Some(_) => state.lane.succeed(now, Due::At(now), Reason::Working),
            None => {
                let wait = self.backoff.after(state.lane.failures, None);
                state.lane.fail(now, wait, Reason::BrokenAnswer, DATELESS.to_owned());
            }
        }
    }

    pub(super) fn token_ends(&mut self, now: Mono, tenant: usize, end: Option<Stamp>) {
        let state = &mut self.tenants[tenant];
        state.token_end = end.or(state.token_end);
        state.token_end_due = Due::At(now + Span::hours(limits::EXPIRY_CHECK_HOURS));
    }

    /// A rate limit of a tenant applies to all its requests, not to those of one stream (keeps P6).
    pub(super) fn rest_tenant(&mut self, now: Mono, tenant: usize, until: Due, not_before: Mono) {
        for stream in self.streams.iter_mut().filter(|stream| stream.plan.tenant == tenant) {
            stream.lane.wait_with(now, until, not_before);
            stream.reconcile.lane.wait_with(now, until, not_before);
        }
        let lane = &mut self.tenants[tenant].lane;
        lane.due = lane.due.max(until);
        lane.not_before = lane.not_before.max(not_before);
    }
}
