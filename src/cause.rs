//! Why a step of `check` failed or has a warning: a stable name for each, its exit class, and its
//! message. docs/CHECK.md lists them; a test compares.
//!
//! Promises: a code never changes its meaning. Never: text for one case; that is the step's.

use crate::message::{self, Code};

/// Who has to act after a failure, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitClass {
    /// The network or the service, whose answer nothing here explains: it may work later without a
    /// change here.
    Unreachable,
    /// A secret or a permission is rejected.
    Refused,
    /// The config does not fit what was found.
    Config,
    /// A warning: it works, but a person should know.
    Warning,
}

macro_rules! causes {
    ($($name:ident $code:literal $exit_class:ident $message:ident,)*) => {
        /// Why a step failed, or why it passed with a warning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Cause {
            $($name,)*
        }

        impl Cause {
            #[cfg(not(closed))]
            pub const ALL: &[Cause] = &[$(Cause::$name,)*];

            /// Stable, for scripts.
            pub fn code(self) -> &'static str {
                match self { $(Cause::$name => $code,)* }
            }

            pub fn exit_class(self) -> ExitClass {
                match self { $(Cause::$name => ExitClass::$exit_class,)* }
            }

            /// What it is looked up by; there it says what it means.
            pub fn message(self) -> Code {
                match self { $(Cause::$name => message::$message,)* }
            }
        }
    };
}

causes! {
    ConfigInvalid "config_invalid" Config CHECK_CONFIG_INVALID,
    QueueUnusable "queue_unusable" Config CHECK_QUEUE_UNUSABLE,
    QueueLowRoom "queue_low_room" Warning CHECK_QUEUE_LOW_ROOM,
    StatusUnwritable "status_unwritable" Warning CHECK_STATUS_UNWRITABLE,
    MetricsUnwritable "metrics_unwritable" Warning CHECK_METRICS_UNWRITABLE,
    ClockBeforeBuild "clock_before_build" Warning CHECK_CLOCK_BEFORE_BUILD,
    SecretUnreadable "secret_unreadable" Config CHECK_SECRET_UNREADABLE,
    SecretExposed "secret_exposed" Warning CHECK_SECRET_EXPOSED,
    NameNotResolved "name_not_resolved" Unreachable CHECK_NAME_NOT_RESOLVED,
    NoRoute "no_route" Unreachable CHECK_NO_ROUTE,
    ConnectionRefused "connection_refused" Unreachable CHECK_CONNECTION_REFUSED,
    ConnectTimeout "connect_timeout" Unreachable CHECK_CONNECT_TIMEOUT,
    ConnectFailed "connect_failed" Unreachable CHECK_CONNECT_FAILED,
    ProxyUnreachable "proxy_unreachable" Unreachable CHECK_PROXY_UNREACHABLE,
    ProxyAuthentication "proxy_authentication" Refused CHECK_PROXY_AUTHENTICATION,
    ProxyForbids "proxy_forbids" Unreachable CHECK_PROXY_FORBIDS,
    ProxyRefuses "proxy_refuses" Unreachable CHECK_PROXY_REFUSES,
    TlsUntrusted "tls_untrusted" Unreachable CHECK_TLS_UNTRUSTED,
    CertificateExpired "certificate_expired" Unreachable CHECK_CERTIFICATE_EXPIRED,
    CertificateNotYetValid "certificate_not_yet_valid" Unreachable CHECK_CERTIFICATE_NOT_YET_VALID,
    ClockAhead "clock_ahead" Unreachable CHECK_CLOCK_AHEAD,
    ClockBehind "clock_behind" Unreachable CHECK_CLOCK_BEHIND,
    CertificateOtherName "certificate_other_name" Unreachable CHECK_CERTIFICATE_OTHER_NAME,
    TlsFailed "tls_failed" Unreachable CHECK_TLS_FAILED,
    NoAnswer "no_answer" Unreachable CHECK_NO_ANSWER,
    ConnectionBroken "connection_broken" Unreachable CHECK_CONNECTION_BROKEN,
    ClockOff "clock_off" Warning CHECK_CLOCK_OFF,
    LoginPage "login_page" Config CHECK_LOGIN_PAGE,
    NotAConsole "not_a_console" Config CHECK_NOT_A_CONSOLE,
    TokenRefused "token_refused" Refused CHECK_TOKEN_REFUSED,
    PermissionMissing "permission_missing" Refused CHECK_PERMISSION_MISSING,
    QueryRefused "query_refused" Unreachable CHECK_QUERY_REFUSED,
    TokenEndsSoon "token_ends_soon" Warning CHECK_TOKEN_ENDS_SOON,
    NotAnIngress "not_an_ingress" Config CHECK_NOT_AN_INGRESS,
    KeyUnknown "key_unknown" Refused CHECK_KEY_UNKNOWN,
    KeyWrongKind "key_wrong_kind" Refused CHECK_KEY_WRONG_KIND,
    Busy "busy" Unreachable CHECK_BUSY,
    UnknownAnswer "unknown_answer" Unreachable CHECK_UNKNOWN_ANSWER,
    ScopeMissing "scope_missing" Refused CHECK_SCOPE_MISSING,
    AddressRefused "address_refused" Unreachable CHECK_ADDRESS_REFUSED,
    ServiceClockOff "service_clock_off" Unreachable CHECK_SERVICE_CLOCK_OFF,
    ClocksDiffer "clocks_differ" Unreachable CHECK_CLOCKS_DIFFER,
    DateImpossible "date_impossible" Unreachable CHECK_DATE_IMPOSSIBLE,
    StartInFuture "start_in_future" Config CHECK_START_IN_FUTURE,
    KeysUnchecked "keys_unchecked" Config CHECK_KEYS_UNCHECKED,
    SinkBlocked "sink_blocked" Unreachable CHECK_SINK_BLOCKED,
    NotCoralogix "not_coralogix" Config CHECK_NOT_CORALOGIX,
    KeyUnproven "key_unproven" Warning CHECK_KEY_UNPROVEN,
    TenantChanged "tenant_changed" Config CHECK_TENANT_CHANGED,
    StreamOrphaned "stream_orphaned" Warning CHECK_STREAM_ORPHANED,
    QueueLeftBehind "queue_left_behind" Warning CHECK_QUEUE_LEFT_BEHIND,
    PagesSmaller "pages_smaller" Warning CHECK_PAGES_SMALLER,
    SystemRefuses "system_refuses" Unreachable CHECK_SYSTEM_REFUSES,
    AnsweredBetween "answered_between" Unreachable CHECK_ANSWERED_BETWEEN,
    ConfigDoubtful "config_doubtful" Warning CHECK_CONFIG_DOUBTFUL,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_words_for_scripts_and_none_stands_twice() {
        for (nth, cause) in Cause::ALL.iter().enumerate() {
            let code = cause.code();
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            let same = |other: &Cause| other.code() == code || other.message() == cause.message();
            assert!(!Cause::ALL[..nth].iter().any(same), "{code}");
        }
    }

    #[test]
    fn the_letter_of_a_cause_tells_a_warning_from_a_failure() {
        for cause in Cause::ALL {
            let is_warning = cause.message().level() == log::Level::Warn;
            assert_eq!(is_warning, cause.exit_class() == ExitClass::Warning, "{}", cause.code());
        }
    }
}
