//! A lane: one thing that is done again and again, when it may next be done, and why not sooner.
//!
//! Promises: every wait has a reason; between two tries after a failure lies at least
//! `retry.min`, and Retry-After is never undercut (keeps P6).

use crate::limits;
use crate::message::{self, Code};
use crate::prng::Prng;
use crate::record::{Hold, NetTrouble, Refusal, Refused};
use crate::time::{Due, Mono, Span};

/// Why a lane is not in use this moment. Its text is what people read in log and status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Just started: the first use keeps the shortest backoff, so that a crash loop hammers nobody.
    Starting,
    /// In use, or about to be.
    Working,
    /// All was read; the next poll is due in a while.
    PollInterval,
    /// All was delivered.
    NothingToSend,
    /// Outside of the windows that the config leaves open.
    Window,
    /// What was carried takes its time, by max_rate.
    MaxRate,
    /// The other side asked for patience (429, 503, Retry-After).
    Busy,
    /// No answer: name, route, proxy, TLS, time.
    Unreachable,
    /// An answer that makes no sense (5xx, HTML, cut short).
    BrokenAnswer,
    /// The request itself was refused (400).
    QueryRefused,
    /// Redirected, not found, or a web page: the address is wrong, or something in between answers.
    Misdirected,
    /// The file with the token or key can't be read, or holds none.
    SecretUnreadable,
    /// The token is refused; needs a new one.
    TokenRefused,
    /// The token lacks a permission.
    PermissionMissing,
    /// The token's scope lacks a product or a level.
    ScopeMissing,
    /// What stands before the service does not let this machine in.
    AddressRefused,
    /// The Coralogix key is refused; needs another one.
    KeyRefused,
    /// Something in between refuses this machine with a web page.
    Blocked,
    /// The last answer said that some of its batch was not taken.
    InDoubt,
    /// One record after the other is refused: that is the sink's fault, not theirs.
    RefusesEverything,
    /// `queue.max_size` is reached: polling waits until something was delivered.
    QueueFull,
    /// Less than `queue.min_free` is left on the file system: polling waits.
    DiskLow,
    /// A page could not be written.
    StoreTrouble,
    /// The stream's position lies ahead of SentinelOne's clock; it is set back, or would be if all
    /// clocks agreed.
    PositionAhead,
    /// `start` lies in the future.
    StartAhead,
    /// SentinelOne's clock and others disagree.
    ClocksDisagree,
    /// Only SentinelOne says what time it is, or nobody.
    TimeUnconfirmed,
    /// Cursors lead back to pages that were read before.
    PagesLeadBack,
    /// One page without a record after the other, and each says that more follow.
    EmptyPages,
    /// Rows do not come in the order that was asked for.
    OrderIgnored,
    /// Rows come that are outside of the requested range.
    FilterIgnored,
    /// Cursors are refused, and there is no other way past the page.
    CursorsRefused,
    /// Its position was collected from another address: a person has to say what that means.
    TenantChanged,
}

/// How a reason is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mood {
    Fine,
    /// Passes by itself.
    Troubled,
    /// Needs a person.
    Stuck,
}

impl Mood {
    /// The stable name in the status file.
    pub fn name(self) -> &'static str {
        match self {
            Mood::Fine => "healthy",
            Mood::Troubled => "degraded",
            Mood::Stuck => "stuck",
        }
    }
}

impl Why {
    /// A secret that can't be read is no trouble of the network: it needs a person.
    pub fn of(net: &NetTrouble) -> Why {
        match net {
            NetTrouble::Secret(_) => Why::SecretUnreadable,
            _ => Why::Unreachable,
        }
    }

    pub fn of_refusal(refusal: &Refusal) -> Why {
        match refusal.what {
            Refused::Token => Why::TokenRefused,
            Refused::Permission => Why::PermissionMissing,
            Refused::Scope => Why::ScopeMissing,
            Refused::Address => Why::AddressRefused,
        }
    }

    /// The stable name in the status file.
    pub fn code(self) -> &'static str {
        match self {
            Why::Starting => "starting",
            Why::Working => "working",
            Why::PollInterval => "poll_interval",
            Why::NothingToSend => "nothing_to_send",
            Why::Window => "window",
            Why::MaxRate => "max_rate",
            Why::Busy => "busy",
            Why::Unreachable => "unreachable",
            Why::BrokenAnswer => "broken_answer",
            Why::QueryRefused => "query_refused",
            Why::Misdirected => "misdirected",
            Why::SecretUnreadable => "secret_unreadable",
            Why::TokenRefused => "token_refused",
            Why::PermissionMissing => "permission_missing",
            Why::ScopeMissing => "scope_missing",
            Why::AddressRefused => "address_refused",
            Why::KeyRefused => "key_refused",
            Why::Blocked => "blocked",
            Why::InDoubt => "in_doubt",
            Why::RefusesEverything => "refuses_everything",
            Why::QueueFull => "queue_full",
            Why::DiskLow => "disk_low",
            Why::StoreTrouble => "store_trouble",
            Why::PositionAhead => "position_ahead",
            Why::StartAhead => "start_ahead",
            Why::ClocksDisagree => "clocks_disagree",
            Why::TimeUnconfirmed => "time_unconfirmed",
            Why::PagesLeadBack => "pages_lead_back",
            Why::EmptyPages => "empty_pages",
            Why::OrderIgnored => "order_ignored",
            Why::FilterIgnored => "filter_ignored",
            Why::CursorsRefused => "cursors_refused",
            Why::TenantChanged => "tenant_changed",
        }
    }

    pub fn explain(self) -> &'static str {
        match self {
            Why::Starting => "just started",
            Why::Working => "working",
            Why::PollInterval => "up to date; waiting for the next poll",
            Why::NothingToSend => "everything is delivered",
            Why::Window => "waiting for the next time window",
            Why::MaxRate => "limited by max_rate",
            Why::Busy => "is rate-limiting",
            Why::Unreachable => "is unreachable",
            Why::BrokenAnswer => "answers with errors",
            Why::QueryRefused => "rejects the query",
            Why::Misdirected => "is not at this address",
            Why::SecretUnreadable => "has no usable secret",
            Why::TokenRefused => {
                "the API token is rejected; check that its file has this tenant's token"
            }
            Why::PermissionMissing => "the API token lacks a permission",
            Why::ScopeMissing => "the scope of the API token does not include this",
            Why::AddressRefused => "an IP allow list, WAF or proxy blocks this machine",
            Why::KeyRefused => {
                "the API key is rejected; put a valid Send-Your-Data key into its file"
            }
            Why::Blocked => {
                "a web page in place of Coralogix blocks this machine: a proxy, a firewall or an \
                 address list; the API key is not the cause"
            }
            Why::InDoubt => "reports that some of a batch was not accepted; it is kept in doubt/",
            Why::RefusesEverything => "rejects every record",
            Why::QueueFull => "queue.max_size is reached; polling waits for delivery",
            Why::DiskLow => "the disk is full; polling waits for space",
            Why::StoreTrouble => "the queue can't be written",
            Why::PositionAhead => "its position is ahead of SentinelOne's clock",
            Why::StartAhead => "`start` is in the future; correct it in the config",
            Why::ClocksDisagree => "its clock disagrees with others",
            Why::TimeUnconfirmed => "no other source confirms its time",
            Why::PagesLeadBack => "its pages lead back to earlier ones",
            Why::EmptyPages => "answers with empty pages without end",
            Why::OrderIgnored => "does not return the requested order",
            Why::FilterIgnored => "does not keep to the requested range",
            Why::CursorsRefused => {
                "rejects its own cursors, and there is no other way past this page"
            }
            Why::TenantChanged => {
                "is not polled: its position belongs to another address; confirm it with `queue \
                 adopt`"
            }
        }
    }

    /// What it is looked up by; `None` where all is well.
    pub fn message(self) -> Option<Code> {
        Some(match self {
            Why::Starting
            | Why::Working
            | Why::PollInterval
            | Why::NothingToSend
            | Why::Window
            | Why::MaxRate => return None,
            Why::Busy => message::BUSY,
            Why::Unreachable => message::UNREACHABLE,
            Why::BrokenAnswer => message::BROKEN_ANSWER,
            Why::QueryRefused => message::QUERY_REFUSED,
            Why::Misdirected => message::MISDIRECTED,
            Why::SecretUnreadable => message::SECRET_UNREADABLE,
            Why::TokenRefused => message::TOKEN_REFUSED,
            Why::PermissionMissing => message::PERMISSION_MISSING,
            Why::ScopeMissing => message::SCOPE_MISSING,
            Why::AddressRefused => message::ADDRESS_REFUSED,
            Why::KeyRefused => message::KEY_REFUSED,
            Why::Blocked => message::SINK_BLOCKED,
            Why::InDoubt => message::IN_DOUBT,
            Why::RefusesEverything => message::REFUSES_EVERYTHING,
            Why::QueueFull => message::QUEUE_FULL,
            Why::DiskLow => message::DISK_LOW,
            Why::StoreTrouble => message::STORE_TROUBLE,
            Why::PositionAhead => message::POSITION_AHEAD,
            Why::StartAhead => message::START_AHEAD,
            Why::ClocksDisagree => message::CLOCKS_DISAGREE,
            Why::TimeUnconfirmed => message::TIME_UNCONFIRMED,
            Why::PagesLeadBack => message::PAGES_LEAD_BACK,
            Why::EmptyPages => message::EMPTY_PAGES,
            Why::OrderIgnored => message::ORDER_IGNORED,
            Why::FilterIgnored => message::FILTER_IGNORED,
            Why::CursorsRefused => message::CURSORS_REFUSED,
            Why::TenantChanged => message::TENANT_CHANGED,
        })
    }

    /// The level of its message says how bad it is.
    pub fn mood(self) -> Mood {
        match self.message().map(Code::level) {
            None => Mood::Fine,
            Some(log::Level::Error) => Mood::Stuck,
            Some(_) => Mood::Troubled,
        }
    }

    /// Whether a credential, permission or scope is to blame, which decides exit code 77 over 75. An
    /// address that is not let in is none of them: elsewhere the same config works.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Why::SecretUnreadable
                | Why::TokenRefused
                | Why::PermissionMissing
                | Why::ScopeMissing
                | Why::KeyRefused
        )
    }
}

/// When a lane may next be used, and why not sooner.
#[derive(Clone, Debug)]
pub struct Lane {
    pub due: Due,
    pub why: Why,
    /// Since when it has been for this reason.
    pub since: Mono,
    /// Failures since the last success.
    pub failures: u32,
    /// The last trouble in its own words, for people.
    pub detail: String,
    /// What Retry-After told: nobody's hurry undercuts it (keeps P6).
    pub not_before: Mono,
    /// When it was last used, up to the end of all that followed from it. A start counts as a use, so
    /// that neither a crash loop nor a config that changes again and again makes wishes faster.
    pub tried: Mono,
}

impl Lane {
    pub fn new(now: Mono, first: Span) -> Lane {
        Lane {
            due: Due::At(now + first),
            why: Why::Starting,
            since: now,
            failures: 0,
            detail: String::new(),
            not_before: Mono::ZERO,
            tried: now,
        }
    }

    /// One that is not used before a person has decided and the program starts anew.
    pub fn held(now: Mono, hold: &Hold) -> Lane {
        let Hold::TenantChanged { was, now: address } = hold;
        let detail = format!("collected from {was}, now {address}");
        let (due, why, failures) = (Due::Never, Why::TenantChanged, 1);
        let (not_before, tried) = (Mono::ZERO, now);
        Lane { due, why, since: now, failures, detail, not_before, tried }
    }

    pub fn rest(&mut self, now: Mono, due: Due, why: Why) {
        if self.why != why {
            self.since = now;
        }
        self.due = due;
        self.why = why;
    }

    /// Ended well: whatever went wrong before is over.
    pub fn succeed(&mut self, now: Mono, due: Due, why: Why) {
        self.failures = 0;
        self.detail.clear();
        self.rest(now, due, why);
    }

    /// Went wrong: waits for `wait`.
    pub fn fail(&mut self, now: Mono, wait: Span, why: Why, detail: String) {
        self.failures = self.failures.saturating_add(1);
        self.detail = detail;
        self.rest(now, Due::At(now + wait), why);
    }

    /// Went wrong, and what comes next is another request than the one that failed: it is no repetition,
    /// so that no backoff grows by it.
    pub fn try_otherwise(&mut self, now: Mono, wait: Span, why: Why, detail: String) {
        self.failures = self.failures.max(1);
        self.detail = detail;
        self.rest(now, Due::At(now + wait), why);
    }

    /// A person or a changed credential asked for it now. What it waited for may be over, unless
    /// the other side named the time. Wishes have a pace: they make it due no sooner than `pace`
    /// after its last use, so that many in that time are one, and a flapping interface that wishes
    /// twenty times a second is no twenty requests (keeps P6).
    pub fn wish(&mut self, now: Mono, pace: Span) {
        let paced = now.max(self.tried + pace).max(self.not_before);
        self.due = self.due.min(Due::At(paced));
    }

    /// An answer on another lane makes it due now, unless the other side named the time.
    pub fn hurry(&mut self, now: Mono) {
        self.due = Due::At(now.max(self.not_before));
    }

    /// Takes a Retry-After in.
    pub fn heed(&mut self, now: Mono, retry_after: Option<Span>) {
        let span = retry_after.unwrap_or(Span::ZERO);
        let until = now + span.min(Span::hours(limits::RETRY_AFTER_HOURS_MAX));
        self.not_before = self.not_before.max(until);
    }

    /// Another lane of the same tenant was asked for patience until `until`.
    pub fn wait_with(&mut self, now: Mono, until: Due, not_before: Mono) {
        self.not_before = self.not_before.max(not_before);
        if self.due < until {
            self.rest(now, until, Why::Busy);
        }
    }
}

/// How long to wait after failures.
#[derive(Clone, Debug)]
pub struct Backoff {
    pub min: Span,
    pub max: Span,
    pub prng: Prng,
}

impl Backoff {
    /// Full jitter between `min` and a ceiling that doubles with each failure up to `max`; never
    /// below `retry_after` (keeps P6).
    pub fn after(&mut self, failures: u32, retry_after: Option<Span>) -> Span {
        assert!(self.min > Span::ZERO && self.min <= self.max);
        // The exponent is bounded so that the shift can't overflow; 2^32 times any minimum is
        // above any maximum.
        let doubled = self.min.0.saturating_mul(1 << failures.min(32));
        let ceiling = doubled.min(self.max.0);
        let jittered = self.min.0 + self.prng.below(ceiling - self.min.0 + 1);
        let floor = retry_after.unwrap_or(Span::ZERO);
        let floor = floor.min(Span::hours(limits::RETRY_AFTER_HOURS_MAX));
        let wait = Span(jittered).max(floor);
        assert!(wait >= self.min);
        wait
    }

    /// Before the first use after a start. Each start before it that did not live long doubles the
    /// wait, up to `max`, so that a crash loop asks ever less; after a good one it is `min`.
    pub fn at_start(&mut self, unsettled: u32) -> Span {
        let ceiling = self.min.0.saturating_mul(1 << unsettled.min(32)).min(self.max.0);
        let least = (ceiling / 2).max(self.min.0);
        Span(least + self.prng.below(ceiling - least + 1))
    }

    /// For what only a person can mend: near the longest wait, jittered so that a fleet of boxes
    /// does not come back in step.
    pub fn long(&mut self) -> Span {
        let least = self.min.0.max(self.max.0 / 4 * 3);
        Span(least + self.prng.below(self.max.0 - least + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff { min: Span::seconds(1), max: Span::minutes(5), prng: Prng::new(7) }
    }

    #[test]
    fn backoff_doubles_stays_in_bounds_and_honours_retry_after() {
        let mut backoff = backoff();
        for failures in [0, 1, 5, 9, 40, u32::MAX] {
            let ceiling = (1_000u64 << failures.min(20)).min(300_000);
            let mut highest = 0;
            for _ in 0..2_000 {
                let wait = backoff.after(failures, None);
                assert!(wait >= Span::seconds(1) && wait.0 <= ceiling, "{failures}: {wait:?}");
                highest = highest.max(wait.0);
            }
            assert!(highest > ceiling / 10 * 9, "{failures}: the jitter reaches the ceiling");
        }
        assert!(backoff.after(0, Some(Span::hours(3))) == Span::hours(3));
        assert!(backoff.after(0, Some(Span::hours(300))) == Span::hours(24));
    }

    #[test]
    fn each_start_that_did_not_settle_doubles_the_first_wait() {
        let mut backoff = backoff();
        assert_eq!(backoff.at_start(0), Span::seconds(1));
        for (unsettled, least, most) in
            [(1, 1_000, 2_000), (4, 8_000, 16_000), (40, 150_000, 300_000)]
        {
            for _ in 0..500 {
                let wait = backoff.at_start(unsettled).0;
                assert!((least..=most).contains(&wait), "{unsettled}: {wait}");
            }
        }
    }

    #[test]
    fn the_long_wait_is_near_the_maximum() {
        let mut backoff = backoff();
        for _ in 0..1_000 {
            let wait = backoff.long();
            assert!(wait >= Span::seconds(225) && wait <= Span::minutes(5));
        }
    }

    #[test]
    fn a_refusal_is_the_credentials_or_the_addresses() {
        for (what, code, is_refusal) in [
            (Refused::Token, "token_refused", true),
            (Refused::Permission, "permission_missing", true),
            (Refused::Scope, "scope_missing", true),
            (Refused::Address, "address_refused", false),
        ] {
            let why = Why::of_refusal(&Refusal { what, words: String::new() });
            assert_eq!((why.code(), why.is_refusal(), why.mood()), (code, is_refusal, Mood::Stuck));
        }
    }

    #[test]
    fn since_tells_when_the_reason_began_not_when_it_was_repeated() {
        let mut lane = Lane::new(Mono(5), Span::seconds(1));
        lane.fail(Mono(10), Span::seconds(1), Why::Busy, "429".into());
        lane.fail(Mono(20), Span::seconds(1), Why::Busy, "429".into());
        assert_eq!((lane.since, lane.failures), (Mono(10), 2));
        lane.succeed(Mono(30), Due::Never, Why::NothingToSend);
        assert_eq!((lane.since, lane.failures), (Mono(30), 0));
    }
}
