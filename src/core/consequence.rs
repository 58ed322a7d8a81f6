//! What follows from a request to SentinelOne that failed: how long to wait, the reason, and the
//! words for people. The one place for pages, counts, lists and questions about a tenant; whoever
//! asked handles only what means something else there.
//!
//! Never: decides what is requested next.

use crate::record::{Kind, SourceTrouble, Unread};
use crate::time::Span;

use super::Reason;
use super::lane::Backoff;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// Records of this kind, or their number.
    Records(Kind),
    /// The tenant itself.
    Tenant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Longer with each failure, and at least so long as the service asked for.
    Backoff(Option<Span>),
    /// A person has to act first.
    Long,
}

impl Wait {
    pub fn span(self, failures: u32, backoff: &mut Backoff) -> Span {
        match self {
            Wait::Backoff(retry_after) => backoff.after(failures, retry_after),
            Wait::Long => backoff.long(),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Consequence {
    pub wait: Wait,
    pub reason: Reason,
    pub detail: String,
}

impl Consequence {
    /// Another attempt may succeed.
    pub fn passing(reason: Reason, detail: String) -> Consequence {
        Consequence { wait: Wait::Backoff(None), reason, detail }
    }

    fn lasting(reason: Reason, detail: String) -> Consequence {
        Consequence { wait: Wait::Long, reason, detail }
    }

    pub fn of(trouble: SourceTrouble, asked: Of) -> Consequence {
        match trouble {
            SourceTrouble::Busy { retry_after, why } => {
                let detail = match retry_after {
                    Some(after) => format!("{why}; Retry-After {after}"),
                    None => why,
                };
                Consequence { wait: Wait::Backoff(retry_after), reason: Reason::Busy, detail }
            }
            SourceTrouble::Unreachable(net) => {
                Consequence::passing(Reason::of(&net), net.to_string())
            }
            SourceTrouble::BrokenAnswer(text) | SourceTrouble::BrokenPage { why: text, .. } => {
                Consequence::passing(Reason::BrokenAnswer, text)
            }
            SourceTrouble::TooLong(unread) => {
                Consequence::passing(Reason::BrokenAnswer, too_long(unread, asked))
            }
            SourceTrouble::QueryRefused(text) => match asked {
                Of::Records(_) => Consequence::lasting(Reason::QueryRefused, text),
                // There is nothing in it that a console could reject.
                Of::Tenant => Consequence::passing(Reason::BrokenAnswer, text),
            },
            SourceTrouble::Misdirected(text) => match asked {
                Of::Records(_) => Consequence::lasting(Reason::Misdirected, text),
                // No stream waits for it, and they ask at the same address.
                Of::Tenant => Consequence::passing(Reason::Misdirected, text),
            },
            SourceTrouble::Forbidden(refusal) => {
                let reason = Reason::of_refusal(&refusal);
                let detail = match (reason, asked) {
                    (Reason::PermissionMissing, Of::Records(kind)) => {
                        format!("grant \"{}\"; {}", kind.permission(), refusal.words)
                    }
                    _ => refusal.words,
                };
                Consequence::lasting(reason, detail)
            }
            SourceTrouble::TokenDoubted(words) | SourceTrouble::TokenRefused(words) => {
                Consequence::lasting(Reason::TokenRefused, words)
            }
        }
    }
}

fn too_long(unread: Unread, asked: Of) -> String {
    let least = unread.bytes_min.map_or(String::new(), |bytes| format!(": at least {bytes} bytes"));
    match asked {
        Of::Records(_) => format!("the page is longer than allowed (polling.max_page){least}"),
        Of::Tenant => format!("the response is longer than allowed{least}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Refusal, Refused};

    #[test]
    fn a_permission_that_is_missing_is_named_whoever_asks_for_records() {
        let refusal = |what| Refusal { what, words: "no".to_owned() };
        let of = |what, asked| Consequence::of(SourceTrouble::Forbidden(refusal(what)), asked);
        let records = Of::Records(Kind::Threats);
        assert_eq!(of(Refused::Permission, records).detail, "grant \"Endpoint Threats: View\"; no");
        assert_eq!(of(Refused::Permission, Of::Tenant).detail, "no");
        for what in [Refused::Token, Refused::Scope, Refused::Address] {
            let of_it = of(what, records);
            assert_eq!((of_it.detail.as_str(), of_it.wait), ("no", Wait::Long), "{what:?}");
        }
    }

    #[test]
    fn what_a_service_asks_for_is_said_and_kept() {
        let asked = Some(Span::seconds(40));
        let of_it = Consequence::of(SourceTrouble::busy(asked), Of::Tenant);
        assert_eq!((of_it.wait, of_it.reason), (Wait::Backoff(asked), Reason::Busy));
        assert!(of_it.detail.ends_with("; Retry-After 40s"), "{}", of_it.detail);
        let unread = Unread { id: None, bytes_min: Some(7) };
        let of_it = Consequence::of(SourceTrouble::TooLong(unread), Of::Records(Kind::Threats));
        assert!(of_it.detail.contains("polling.max_page): at least 7 bytes"), "{}", of_it.detail);
    }
}
