//! What is known of a tenant's token and clock, and the patience it asks for.
//!
//! Promises: a 401 on one stream condemns the token only when `/system/info` confirms it; a 429 is
//! the whole tenant's (keeps P6). Never: touches the sink.

use crate::limits;
use crate::record::{Refusal, Refused, SourceTrouble};
use crate::time::{Due, Mono, Span, Stamp};

use super::failing::AskedFor;
use super::source::Token;
use super::{Core, Why};

impl Core {
    /// What a question about a stream, unanswered, means for it and for its tenant.
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
            state.lane.hurry(now);
            return;
        }
        let asked_for_patience = matches!(trouble, SourceTrouble::Busy { .. });
        self.streams[stream].fail(now, asked_for, trouble, &mut self.backoff);
        if asked_for_patience {
            let lane = &self.streams[stream].lane;
            self.rest_tenant(now, tenant, lane.due, lane.not_before);
        }
    }

    pub(super) fn token_changed(&mut self, now: Mono, tenant: usize) {
        let pace = self.backoff.min;
        let state = &mut self.tenants[tenant];
        state.token = Token::Good;
        state.doubted_by = None;
        state.token_end = None;
        state.token_end_due = Due::At(now);
        // Whatever it waited for was the old token's; the new one has the pace of a wish.
        state.lane.succeed(now, Due::Never, Why::Working);
        state.lane.wish(now, pace);
        for stream in self.streams.iter_mut().filter(|stream| stream.plan.tenant == tenant) {
            for lane in [&mut stream.lane, &mut stream.reconcile.lane] {
                if lane.why.is_refusal() {
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
        let state = &mut self.tenants[tenant];
        let doubted_by = state.doubted_by.take();
        match result {
            Ok(date) => {
                state.clock.hear(date, now, self.clocks);
                state.was_informed = true;
                state.token = Token::Good;
                // One that told it once and never again is not asked without a pause either.
                if needs_clock && date.is_none() {
                    let wait = self.backoff.after(state.lane.failures, None);
                    let text = "its responses have no Date header, or one before this program's \
                        build date; set `start` to a point in time";
                    state.lane.fail(now, wait, Why::BrokenAnswer, text.to_owned());
                } else {
                    state.lane.succeed(now, Due::At(now), Why::Working);
                }
                if let Some((stream, words)) = doubted_by {
                    // The token lives, so the 401 was about this stream's permission.
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
                state.token = Token::Refused;
                state.lane.fail(now, self.backoff.long(), Why::TokenRefused, words);
            }
            Err(SourceTrouble::Forbidden(refusal)) => {
                // Not a word about the token: what was doubted stays so.
                state.doubted_by = doubted_by;
                let why = Why::of_refusal(&refusal);
                state.lane.fail(now, self.backoff.long(), why, refusal.words);
            }
            Err(trouble) => {
                state.doubted_by = doubted_by;
                let (retry_after, why, detail) = match trouble {
                    SourceTrouble::Busy { retry_after } => (retry_after, Why::Busy, String::new()),
                    SourceTrouble::Unreachable(net) => (None, Why::of(&net), net.to_string()),
                    SourceTrouble::Misdirected(text) => (None, Why::Misdirected, text),
                    SourceTrouble::BrokenAnswer(text)
                    | SourceTrouble::BrokenPage { why: text, .. }
                    | SourceTrouble::QueryRefused(text) => (None, Why::BrokenAnswer, text),
                    _ => (None, Why::BrokenAnswer, String::new()),
                };
                let wait = self.backoff.after(state.lane.failures, retry_after);
                state.lane.fail(now, wait, why, detail);
                state.lane.heed(now, retry_after);
                if why == Why::Busy {
                    let (until, not_before) = (state.lane.due, state.lane.not_before);
                    self.rest_tenant(now, tenant, until, not_before);
                }
            }
        }
    }

    pub(super) fn token_ends(&mut self, now: Mono, tenant: usize, end: Option<Stamp>) {
        let state = &mut self.tenants[tenant];
        state.token_end = end.or(state.token_end);
        state.token_end_due = Due::At(now + Span::hours(limits::EXPIRY_CHECK_HOURS));
    }

    /// A tenant that asks for patience means all requests, not those of one stream (keeps P6).
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
