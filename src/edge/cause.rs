//! Why a step of `check` failed or wants a look: a stable code each, whose turn it is, and what it
//! means. docs/CHECK.md lists them; a test compares.
//!
//! Promises: a code never changes its meaning. Never: words for one case; those are the step's.

/// Whose turn it is after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The way or the service: it may work later without a change here.
    Unreachable,
    /// A secret or a permission is refused.
    Refused,
    /// The config does not fit the world.
    Config,
    /// Nothing that is known.
    Unknown,
    /// Nobody's yet: it works, but a person should know.
    Warning,
}

macro_rules! causes {
    ($($name:ident $code:literal $fault:ident $meaning:literal,)*) => {
        /// Why a step failed, or why it passed with a warning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Cause {
            $(#[doc = $meaning] $name,)*
        }

        impl Cause {
            pub const ALL: &[Cause] = &[$(Cause::$name,)*];

            /// Stable, for scripts.
            pub fn code(self) -> &'static str {
                match self { $(Cause::$name => $code,)* }
            }

            pub fn fault(self) -> Fault {
                match self { $(Cause::$name => Fault::$fault,)* }
            }

            /// In a few words, for the table of causes.
            pub fn meaning(self) -> &'static str {
                match self { $(Cause::$name => $meaning,)* }
            }
        }
    };
}

causes! {
    ConfigInvalid "config_invalid" Config "the config can't be read or does not make sense",
    QueueUnusable "queue_unusable" Config "the queue's directory can't be used",
    QueueLowRoom "queue_low_room" Warning "less is free than queue.min_free",
    StatusUnwritable "status_unwritable" Warning "the status file can't be written",
    ClockBeforeBuild "clock_before_build" Warning "the clock is before the program's own date",
    SecretUnreadable "secret_unreadable" Config "a token or key can't be read",
    SecretExposed "secret_exposed" Warning "everyone on the machine can read a secret",
    NameNotResolved "name_not_resolved" Unreachable "the host name has no address",
    NoRoute "no_route" Unreachable "the network has no way to the host",
    ConnectionRefused "connection_refused" Unreachable "nothing listens at this address",
    ConnectTimeout "connect_timeout" Unreachable "connecting got no answer",
    ConnectFailed "connect_failed" Unreachable "connecting failed in another way",
    ProxyUnreachable "proxy_unreachable" Unreachable "the proxy can't be reached",
    ProxyAuthentication "proxy_authentication" Refused "the proxy wants a name and password (407)",
    ProxyForbids "proxy_forbids" Unreachable "the proxy does not allow this host (403)",
    ProxyRefuses "proxy_refuses" Unreachable "the proxy opens no tunnel",
    TlsUntrusted "tls_untrusted" Unreachable "an authority that is not known signed the certificate",
    CertificateExpired "certificate_expired" Unreachable "the certificate has ended",
    CertificateNotYetValid "certificate_not_yet_valid" Unreachable "the certificate has not begun",
    ClockAhead "clock_ahead" Unreachable "the clock is ahead, so a good certificate looks ended",
    ClockBehind "clock_behind" Unreachable "the clock is behind, so a good certificate looks too new",
    CertificateOtherName "certificate_other_name" Unreachable "the certificate is for another host",
    TlsFailed "tls_failed" Unreachable "TLS failed in another way",
    NoAnswer "no_answer" Unreachable "connected, but no answer came in time",
    ConnectionBroken "connection_broken" Unreachable "the connection ended within the answer",
    ClockOff "clock_off" Warning "the clock is minutes off",
    LoginPage "login_page" Config "the tenant's address answers with a web page",
    NotAConsole "not_a_console" Config "the tenant's address is not that of a console",
    TokenRefused "token_refused" Refused "SentinelOne does not accept the token",
    PermissionMissing "permission_missing" Refused "the token may not read this stream",
    QueryRefused "query_refused" Unknown "SentinelOne refuses the query",
    TokenEndsSoon "token_ends_soon" Warning "the token ends within 30 days",
    NotAnIngress "not_an_ingress" Config "the Coralogix address takes no logs",
    KeyUnknown "key_unknown" Refused "Coralogix does not know the key (401): mistyped, or of another region",
    KeyWrongKind "key_wrong_kind" Refused "Coralogix knows the key, but it may not send data (403)",
    Busy "busy" Unreachable "the service asks to come back later",
    UnknownAnswer "unknown_answer" Unknown "an answer that says nothing known",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_words_for_scripts_and_none_stands_twice() {
        for (nth, cause) in Cause::ALL.iter().enumerate() {
            let code = cause.code();
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            assert!(!Cause::ALL[..nth].iter().any(|other| other.code() == code), "{code}");
        }
    }
}
