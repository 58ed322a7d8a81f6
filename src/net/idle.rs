//! How old an idle connection may be when it is used again; learned for each service.
//!
//! Promises: a service, or a network device on the path, that drops idle connections costs one
//! exchange, not one in each round. Never: decides whether a request may be sent twice.

use std::time::Duration;

use crate::limits::{
    IDLE_ACKNOWLEDGED_SECONDS_MAX, IDLE_CONNECTION_SECONDS_MAX, IDLE_CONNECTION_SURE_SECONDS,
};
use crate::time::Span;

/// What is known of the idle connections to one service.
#[derive(Debug)]
pub struct Idle {
    /// The longest idle time after which a connection is used again.
    most: Span,
    /// An idle time that every peer allows.
    sure: Span,
    /// How long the current connection was idle before this exchange.
    was: Span,
    /// The current request may be sent twice.
    is_safe: bool,
    /// An old connection was dead; the next exchange shows whether its age was the reason.
    is_suspect: bool,
}

impl Default for Idle {
    fn default() -> Idle {
        Idle {
            most: Span::seconds(IDLE_CONNECTION_SECONDS_MAX),
            sure: Span::seconds(IDLE_CONNECTION_SURE_SECONDS),
            was: Span::ZERO,
            is_safe: false,
            is_suspect: false,
        }
    }
}

impl Idle {
    /// Before an exchange.
    pub fn begin(&mut self, is_safe: bool) {
        (self.was, self.is_safe) = (Span::ZERO, is_safe);
    }

    /// Whether a connection that was idle for so long may be used.
    pub fn may_reuse(&self, idle: Span) -> bool {
        idle <= self.most
    }

    /// An idle connection is used: returns how soon it has to acknowledge the request, before
    /// another connection is made instead. `silence`: how long an answer is waited for. A request
    /// that can't be sent again gets no such limit: it may still arrive.
    pub fn reuse(&mut self, idle: Span, silence: Span) -> Option<Duration> {
        self.was = idle;
        let most = Span::seconds(IDLE_ACKNOWLEDGED_SECONDS_MAX);
        let limit = most.min(Span::ms(silence.as_ms() / 2)).as_duration();
        (self.is_safe && idle > self.sure).then_some(limit)
    }

    /// The current connection was dead. Returns whether it had been idle for longer than every peer
    /// allows; if so, and if the next exchange succeeds, connections of that age are not used
    /// again.
    pub fn was_dead(&mut self) -> bool {
        self.is_suspect = self.was > self.sure;
        self.is_suspect
    }

    /// Whether the exchange after one over a dead connection succeeded. If not, the link is to
    /// blame, not the age.
    pub fn ended(&mut self, is_well: bool) {
        if std::mem::take(&mut self.is_suspect) && is_well {
            self.most = self.sure;
        }
    }

    #[cfg(test)]
    pub fn take_each_for_old(&mut self) {
        self.sure = Span::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_lives_over_the_default_poll_interval_until_one_of_its_age_was_dead() {
        let mut idle = Idle::default();
        let minute = Span::seconds(60);
        assert!(idle.may_reuse(minute) && idle.may_reuse(Span::seconds(180)));
        assert!(!idle.may_reuse(Span::seconds(181)));

        idle.begin(true);
        idle.reuse(Span::seconds(5), minute);
        assert!(!idle.was_dead(), "a young one that breaks tells nothing of old ones");
        idle.reuse(minute, minute);
        assert!(idle.may_reuse(minute) && idle.was_dead());
        idle.ended(false);
        assert!(idle.may_reuse(minute), "the link was down");
        assert!(idle.was_dead());
        idle.ended(true);
        assert!(!idle.may_reuse(minute) && idle.may_reuse(Span::seconds(20)));
    }

    #[test]
    fn only_what_may_be_sent_twice_has_to_be_acknowledged_soon() {
        let mut idle = Idle::default();
        let (old, timeout) = (Span::seconds(60), Span::seconds(60));
        idle.begin(true);
        assert_eq!(idle.reuse(old, timeout), Some(Duration::from_secs(10)));
        assert_eq!(idle.reuse(old, Span::seconds(4)), Some(Duration::from_secs(2)));
        assert_eq!(idle.reuse(Span::seconds(3), timeout), None);
        idle.begin(false);
        assert_eq!(idle.reuse(old, timeout), None);
    }
}
