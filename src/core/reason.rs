//! Why something is not being done now: one row for each reason, with all that is said about it.
//!
//! Promises: whatever shows a reason (log, status, metrics, exit code) takes it from its row. Never: decides what
//! follows from a reason.

use crate::message::{self, Code};
use crate::record::{NetTrouble, Refusal, Refused};

/// What is said about a reason.
struct Row {
    /// The stable name in the status file.
    code: &'static str,
    /// In a word or two, for a table.
    state: &'static str,
    /// For people, after the name of what it concerns.
    text: &'static str,
    /// The message for `explain`, whose level is how bad it is; `None` where all is well.
    message: Option<Code>,
    /// A credential, permission or scope is the reason, for which the exit code is 77 and not 75. A
    /// rejected address is none of them: from elsewhere the same config works.
    is_credential: bool,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident, $row:expr;)*) => {
        /// Why a lane is not in use now. Its text is shown in log and status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            const fn row(self) -> Row {
                match self {
                    $(Reason::$name => $row,)*
                }
            }
        }
    };
}

/// All is well: it passes without a message.
const fn well(code: &'static str, state: &'static str, text: &'static str) -> Row {
    Row { code, state, text, message: None, is_credential: false }
}

const fn trouble(
    code: &'static str,
    state: &'static str,
    text: &'static str,
    message: Code,
) -> Row {
    Row { code, state, text, message: Some(message), is_credential: false }
}

const fn credential(
    code: &'static str,
    state: &'static str,
    text: &'static str,
    message: Code,
) -> Row {
    Row { is_credential: true, ..trouble(code, state, text, message) }
}

reasons! {
    /// Just started: the first use waits for the shortest backoff, so that a crash loop does not
    /// send many requests.
    Starting, well("starting", "starting", "just started");
    /// In use, or about to be.
    Working, well("working", "working", "working");
    /// Everything was read; the next poll is not due yet.
    PollInterval, well("poll_interval", "up to date", "up to date; waiting for the next poll");
    /// Everything was delivered.
    NothingToSend, well("nothing_to_send", "all delivered", "everything is delivered");
    /// Outside of the configured windows.
    Window, well("window", "outside window", "waiting for the next time window");
    /// Waiting to stay below `max_rate`.
    MaxRate, well("max_rate", "at max_rate", "limited by max_rate");
    /// Rate-limited (429, or 503 with Retry-After).
    Busy, trouble("busy", "rate-limited", "is rate-limiting", message::BUSY);
    /// No answer: DNS, route, proxy, TLS, or a timeout.
    Unreachable, trouble("unreachable", "unreachable", "is unreachable", message::UNREACHABLE);
    /// An invalid answer (5xx, HTML, cut off).
    BrokenAnswer, trouble(
        "broken_answer", "broken answers",
        "answers with errors",
        message::BROKEN_ANSWER,
    );
    /// The request itself was rejected (400).
    QueryRefused, trouble(
        "query_refused", "query rejected",
        "rejects the query",
        message::QUERY_REFUSED,
    );
    /// Redirected, not found, or a web page: the address is wrong, or a device on the path answers.
    Misdirected, trouble(
        "misdirected", "wrong address",
        "is not at this address",
        message::MISDIRECTED,
    );
    /// The file with the token or key can't be read, or contains none.
    SecretUnreadable, credential(
        "secret_unreadable", "no secret",
        "has no usable secret",
        message::SECRET_UNREADABLE,
    );
    /// The token is rejected; a new one is needed.
    TokenRefused, credential(
        "token_refused", "token rejected",
        "the API token is rejected; check that its file has this tenant's token",
        message::TOKEN_REFUSED,
    );
    /// The token lacks a permission.
    PermissionMissing, credential(
        "permission_missing", "permission missing",
        "the API token lacks a permission",
        message::PERMISSION_MISSING,
    );
    /// The token's scope lacks a product or a level.
    ScopeMissing, credential(
        "scope_missing", "scope missing",
        "the scope of the API token does not include this",
        message::SCOPE_MISSING,
    );
    /// Something before the service rejects this machine's address.
    AddressRefused, trouble(
        "address_refused", "address blocked",
        "an IP allow list, WAF or proxy blocks this machine",
        message::ADDRESS_REFUSED,
    );
    /// The Coralogix key is rejected; another one is needed.
    KeyRefused, credential(
        "key_refused", "key rejected",
        "the API key is rejected; put a valid Send-Your-Data key into its file",
        message::KEY_REFUSED,
    );
    /// A device on the path rejects the requests with a web page.
    Blocked, trouble(
        "blocked", "blocked by a filter",
        "something in between blocks this machine: a proxy, a firewall or an address list; the API \
         key is not the cause",
        message::SINK_BLOCKED,
    );
    /// The last answer said that some records of its batch were not accepted.
    InDoubt, trouble(
        "in_doubt", "in doubt",
        "may not have accepted all of a batch; it is kept in doubt/",
        message::IN_DOUBT,
    );
    /// One record after the other is rejected: the sink is the reason, not the records.
    RefusesEverything, trouble(
        "refuses_everything", "rejects everything",
        "rejects every record",
        message::REFUSES_EVERYTHING,
    );
    /// Records wait in a queue that is not used any more.
    QueueLeftBehind, trouble(
        "queue_left_behind", "left behind",
        "does not get the records that wait in a queue.dir of before",
        message::QUEUE_LEFT_BEHIND,
    );
    /// `queue.max_size` is reached: polling waits until something was delivered.
    QueueFull, trouble(
        "queue_full", "queue full",
        "queue.max_size is reached; polling waits for delivery",
        message::QUEUE_FULL,
    );
    /// Less than `queue.min_free` is left on the file system: polling waits.
    DiskLow, trouble(
        "disk_low", "disk full",
        "the disk is full; polling waits for space",
        message::DISK_LOW,
    );
    /// A page could not be written.
    StoreTrouble, trouble(
        "store_trouble", "queue not writable",
        "the queue can't be written",
        message::STORE_TROUBLE,
    );
    /// The stream's position is ahead of SentinelOne's clock; it is set back, or would be if all
    /// clocks agreed.
    PositionAhead, trouble(
        "position_ahead", "position ahead",
        "its position is ahead of SentinelOne's clock",
        message::POSITION_AHEAD,
    );
    /// `start` is in the future.
    StartAhead, trouble(
        "start_ahead", "start in the future",
        "`start` is in the future; correct it in the config",
        message::START_AHEAD,
    );
    /// SentinelOne's clock and others disagree.
    ClocksDisagree, trouble(
        "clocks_disagree", "clocks disagree",
        "its clock disagrees with others",
        message::CLOCKS_DISAGREE,
    );
    /// Only one clock tells the time, or none.
    TimeUnconfirmed, trouble(
        "time_unconfirmed", "time unconfirmed",
        "no other source confirms its time",
        message::TIME_UNCONFIRMED,
    );
    /// Cursors lead back to pages that were read already.
    PagesLeadBack, trouble(
        "pages_lead_back", "pages lead back",
        "its pages lead back to earlier ones",
        message::PAGES_LEAD_BACK,
    );
    /// Consecutive pages without a record, each with a cursor to the next.
    EmptyPages, trouble(
        "empty_pages", "empty pages",
        "answers with empty pages without end",
        message::EMPTY_PAGES,
    );
    /// Rows do not come in the requested order.
    OrderIgnored, trouble(
        "order_ignored", "order ignored",
        "does not return the requested order",
        message::ORDER_IGNORED,
    );
    /// Rows come that are outside of the requested range.
    FilterIgnored, trouble(
        "filter_ignored", "filter ignored",
        "does not keep to the requested range",
        message::FILTER_IGNORED,
    );
    /// More records are counted than are listed, by two rounds of reconciliation.
    CountsMore, trouble(
        "counts_more", "counts disagree",
        "counts more records than it lists, so some may be missing",
        message::COUNTS_MORE,
    );
    /// Cursors are rejected, and there is no other way past the page.
    CursorsRefused, trouble(
        "cursors_refused", "cursors rejected",
        "rejects its own cursors, and there is no other way past this page",
        message::CURSORS_REFUSED,
    );
    /// A full page has no cursor, and there is no other way past it.
    CursorsMissing, trouble(
        "cursors_missing", "no cursors",
        "gives no cursor after a full page, and there is no other way past it",
        message::CURSORS_MISSING,
    );
    /// There are more records that move no position than ids can be remembered.
    IdsFull, trouble(
        "ids_full", "ids full",
        "has more records without a usable time than are remembered; new ones are not collected",
        message::IDS_FULL,
    );
    /// The position was collected from another address: a person has to decide what that means.
    TenantChanged, trouble(
        "tenant_changed", "address changed",
        "is not polled: its position belongs to another address",
        message::TENANT_CHANGED,
    );
}

/// How bad a reason is, as the log and the status say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    Healthy,
    /// Temporary.
    Degraded,
    /// Needs a person.
    Stuck,
}

impl Health {
    /// The stable name in the status file.
    pub fn name(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::Stuck => "stuck",
        }
    }
}

impl Reason {
    /// The reason for a network trouble. An unreadable secret is a reason of its own: it needs a
    /// person.
    pub fn of(net: &NetTrouble) -> Reason {
        match net {
            NetTrouble::Secret(_) => Reason::SecretUnreadable,
            _ => Reason::Unreachable,
        }
    }

    pub fn of_refusal(refusal: &Refusal) -> Reason {
        match refusal.what {
            Refused::Token => Reason::TokenRefused,
            Refused::Permission => Reason::PermissionMissing,
            Refused::Scope => Reason::ScopeMissing,
            Refused::Address => Reason::AddressRefused,
        }
    }

    /// The reason of this name in a status file, which another version may have written.
    pub fn named(code: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.code() == code)
    }

    /// The stable name in the status file.
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// In a word or two.
    pub fn state(self) -> &'static str {
        self.row().state
    }

    pub fn explain(self) -> &'static str {
        self.row().text
    }

    /// The message code, for `explain`; `None` where all is well.
    pub fn message(self) -> Option<Code> {
        self.row().message
    }

    /// How bad a reason is, by the level of its message.
    pub fn health(self) -> Health {
        match self.message().map(Code::level) {
            None => Health::Healthy,
            Some(log::Level::Error) => Health::Stuck,
            Some(_) => Health::Degraded,
        }
    }

    /// Whether a credential, permission or scope is the reason.
    pub fn is_credential(self) -> bool {
        self.row().is_credential
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_the_credentials_or_the_addresses() {
        for (what, code, is_refusal) in [
            (Refused::Token, "token_refused", true),
            (Refused::Permission, "permission_missing", true),
            (Refused::Scope, "scope_missing", true),
            (Refused::Address, "address_refused", false),
        ] {
            let reason = Reason::of_refusal(&Refusal { what, words: String::new() });
            assert_eq!(
                (reason.code(), reason.is_credential(), reason.health()),
                (code, is_refusal, Health::Stuck)
            );
        }
    }

    #[test]
    fn each_name_is_one_reasons_alone_and_leads_back_to_it() {
        for reason in Reason::ALL.iter().copied() {
            assert_eq!(Reason::named(reason.code()), Some(reason), "{}", reason.code());
            let same = Reason::ALL.iter().filter(|other| other.state() == reason.state());
            assert_eq!(same.count(), 1, "{}", reason.state());
            assert!(!reason.state().contains('_') || reason == Reason::MaxRate, "{reason:?}");
        }
        assert_eq!(Reason::named("of_a_later_version"), None);
    }

    #[test]
    fn an_unreadable_secret_is_told_from_a_service_that_is_not_reached() {
        let problem = crate::problem::Problem::new("no such file", "write it");
        for (net, reason) in [
            (NetTrouble::Secret(problem.clone()), Reason::SecretUnreadable),
            (NetTrouble::System(problem.clone()), Reason::Unreachable),
            (NetTrouble::Dns(problem), Reason::Unreachable),
            (NetTrouble::Broken("reset".into()), Reason::Unreachable),
        ] {
            assert_eq!(Reason::of(&net), reason, "{net:?}");
        }
    }
}
