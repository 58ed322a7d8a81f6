//! When a certificate does not fit the time it is judged at: whether the clock or the certificate is
//! to blame, and by how much, by the server's own `Date`.
//!
//! The handshake fails before a `Date` is known. So the server is asked once more over a connection
//! that is verified in every way (authority, name, signature) but at a time at which its certificate
//! is valid. Promises: that connection carries one GET without a secret, and its answer decides
//! nothing: it is shown to people. Never: lets real traffic through; moves the time that
//! certificates are judged at.

use super::certificate::Validity;
use super::tls::CertificateProblem;
use crate::cause::Cause;
use crate::os::clock::{Verdict, local};
use crate::time::Stamp;

/// What was found out about the two clocks.
#[derive(Clone, Debug)]
pub struct Finding {
    pub cause: Cause,
    /// The server's clock; `None`: it sent no `Date`.
    pub date: Option<Stamp>,
    /// A clause that is joined to the description of the certificate problem.
    pub what: String,
    pub remedy: String,
}

/// The validity of a certificate that did not fit the time, and a time at which it is valid.
pub fn time_flaw(flaw: Option<CertificateProblem>) -> Option<(Validity, Stamp)> {
    match flaw? {
        CertificateProblem::Ended(validity) => Some((validity, validity.ends)),
        CertificateProblem::NotBegun(validity) => Some((validity, validity.begins)),
        CertificateProblem::Untrusted
        | CertificateProblem::OtherName
        | CertificateProblem::Other => None,
    }
}

/// Compares this machine's clock with the server's and says which is wrong, or that the certificate
/// is.
pub fn find(
    host: &str,
    flaw: CertificateProblem,
    validity: Validity,
    date: Option<Stamp>,
) -> Finding {
    let ours = local();
    let (plain, remedy) = match flaw {
        CertificateProblem::Ended(_) => (
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
    // With this machine's clock before the build date, a time from other services may have shown
    // that a certificate has expired; once the clock is set, it decides instead of them.
    let (cause, by) = match Verdict::of(ours, theirs) {
        Verdict::Ahead(span) if validity.holds(theirs) => {
            (Cause::ClockAhead, format!("{span} ahead"))
        }
        Verdict::Behind(span) if validity.holds(theirs) => {
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
            Validity { begins: now - days(900), ends: now - days(800) },
            Validity { begins: now + days(800), ends: now + days(900) },
        );
        let inside = |validity: Validity| Some(validity.begins + days(10));
        for (flaw, validity, date, cause, says) in [
            (CertificateProblem::Ended(past), past, inside(past), Cause::ClockAhead, "890d ahead"),
            (
                CertificateProblem::NotBegun(next),
                next,
                inside(next),
                Cause::ClockBehind,
                "809d 23h behind",
            ),
            (
                CertificateProblem::Ended(past),
                past,
                Some(now),
                Cause::CertificateExpired,
                "says the same",
            ),
            (
                CertificateProblem::NotBegun(next),
                next,
                Some(now),
                Cause::CertificateNotYetValid,
                "the same",
            ),
            // Both clocks are outside, however far they are from each other.
            (
                CertificateProblem::Ended(past),
                past,
                Some(now - days(100)),
                Cause::CertificateExpired,
                "says the same",
            ),
            (
                CertificateProblem::NotBegun(next),
                next,
                Some(now + days(100)),
                Cause::CertificateNotYetValid,
                "the same",
            ),
            (
                CertificateProblem::Ended(past),
                past,
                None,
                Cause::CertificateExpired,
                "is not known",
            ),
        ] {
            let found = find("acme.test", flaw, validity, date);
            assert_eq!(found.cause, cause, "{found:?}");
            assert!(found.what.contains(says), "{found:?}");
            let shown = date.unwrap_or(now).to_the_second();
            assert!(date.is_none() || found.what.contains(&shown), "{found:?}");
        }
    }
}
