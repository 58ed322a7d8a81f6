//! When a certificate does not fit the time it is judged at: whether the clock or the certificate is
//! to blame, and by how much, by the server's own `Date`.
//!
//! The handshake fails before a `Date` is known. So the server is asked once more over a connection
//! that is verified in every way (authority, name, signature) but at a time at which its certificate
//! is valid. Promises: that connection carries one GET without a secret, and its answer decides
//! nothing: it is shown to people. Never: lets real traffic through; moves the time that
//! certificates are judged at.

use super::cause::Cause;
use super::certificate::Life;
use super::clock::{Verdict, local};
use super::tls::Flaw;
use crate::time::Stamp;

/// What was found out.
#[derive(Clone, Debug)]
pub struct Finding {
    pub cause: Cause,
    /// The server's clock, where it told one.
    pub date: Option<Stamp>,
    /// What follows the words about the certificate.
    pub what: String,
    pub remedy: String,
}

/// The life of a certificate that did not fit the time, and a time at which it does.
pub fn time_flaw(flaw: Option<Flaw>) -> Option<(Life, Stamp)> {
    match flaw? {
        Flaw::Ended(life) => Some((life, life.ends)),
        Flaw::NotBegun(life) => Some((life, life.begins)),
        Flaw::Untrusted | Flaw::OtherName | Flaw::Other => None,
    }
}

/// Who is to blame.
pub fn find(host: &str, flaw: Flaw, life: Life, date: Option<Stamp>) -> Finding {
    let ours = local();
    let (plain, remedy) = match flaw {
        Flaw::Ended(_) => (
            Cause::CertificateExpired,
            format!("If this machine's clock is right, {host} must renew its certificate"),
        ),
        _ => (Cause::CertificateNotYetValid, "Set this machine's clock (NTP)".to_owned()),
    };
    let Some(theirs) = date else {
        return Finding {
            cause: plain,
            date,
            what: format!("its own clock is not known; this machine's says {}", at(ours)),
            remedy,
        };
    };
    // Where this machine's clock can't be right, others may have told that a certificate has ended; a
    // clock that is set decides instead of them.
    let (cause, by) = match Verdict::of(ours, theirs) {
        Verdict::Ahead(span) if life.holds(theirs) => (Cause::ClockAhead, format!("{span} ahead")),
        Verdict::Behind(span) if life.holds(theirs) => {
            (Cause::ClockBehind, format!("{span} behind"))
        }
        _ => {
            return Finding {
                cause: plain,
                date,
                what: format!("and its own clock, {}, says the same", at(theirs)),
                remedy: format!("This machine's clock is right: {host} needs a valid certificate"),
            };
        }
    };
    Finding {
        cause,
        date,
        what: format!(
            "this machine's clock says {} and is {by}, for {host} says {}",
            at(ours),
            at(theirs)
        ),
        remedy: "Set this machine's clock (NTP); no restart is needed and nothing is lost"
            .to_owned(),
    }
}

fn at(stamp: Stamp) -> String {
    stamp.to_the_second()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn days(days: u64) -> Span {
        Span::hours(24 * days)
    }

    #[test]
    fn the_servers_own_clock_tells_whether_clock_or_certificate_is_to_blame() {
        let now = local();
        let (past, next) = (
            Life { begins: now - days(900), ends: now - days(800) },
            Life { begins: now + days(800), ends: now + days(900) },
        );
        let inside = |life: Life| Some(life.begins + days(10));
        for (flaw, life, date, cause, says) in [
            (Flaw::Ended(past), past, inside(past), Cause::ClockAhead, "890d ahead"),
            (Flaw::NotBegun(next), next, inside(next), Cause::ClockBehind, "809d 23h behind"),
            (Flaw::Ended(past), past, Some(now), Cause::CertificateExpired, "says the same"),
            (Flaw::NotBegun(next), next, Some(now), Cause::CertificateNotYetValid, "the same"),
            (Flaw::Ended(past), past, None, Cause::CertificateExpired, "is not known"),
        ] {
            let found = find("acme.test", flaw, life, date);
            assert_eq!(found.cause, cause, "{found:?}");
            assert!(found.what.contains(says), "{found:?}");
        }
    }
}
