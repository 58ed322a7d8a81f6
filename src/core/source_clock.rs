//! The time at a tenant: its `Date` headers as claims, compared with two other clocks.
//!
//! ```text
//!   no Date --a Date--> one claim --the next one agrees--> agreed --one that disagrees--> agreed, and one claim
//!                          ^---------- the next one disagrees ----'   two in a row that agree replace it
//! ```
//!
//! The other clocks are this machine's, if it can be right, and the time that Coralogix sent last.
//! If they disagree, two that agree outvote the third; without a majority the present may be
//! anywhere between the earliest and the latest. Promises: one claim alone moves nothing that is
//! stored (keeps P1, P8); a position is called impossible only if all clocks agree on that. Never:
//! reads a clock, or uses the local clock as SentinelOne's.

use crate::limits;
use crate::time::{BUILT_AT, Clocks, Mono, Span, Stamp};

/// A received time, and when it was received.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    pub date: Stamp,
    pub at: Mono,
}

impl Claim {
    pub fn carried_to(self, now: Mono) -> Stamp {
        self.date + now.since(self.at)
    }
}

#[derive(Clone, Debug, Default)]
pub struct SourceClock {
    /// The newest of at least two consecutive answers that agree.
    agreed: Option<Claim>,
    /// An answer that disagrees with `agreed`, or the first answer.
    single: Option<Claim>,
    /// The earliest time of any answer, as long as none agreed.
    earliest: Option<Claim>,
    answers: u32,
    dispute: Option<Dispute>,
    /// The earliest of all three clocks when they last agreed.
    unanimous: Option<Claim>,
}

/// How far a tenant's clock differed from the other clocks at its last answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dispute {
    pub by: Span,
    pub is_ahead: bool,
    /// Coralogix' clock disagrees; otherwise only this machine's does.
    pub with_sink: bool,
}

/// What is known of the present time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Present {
    /// No clock tells the time: the highest stamp is the best estimate.
    Unknown,
    /// One claim and no other clock: nothing that is stored may depend on it.
    Unconfirmed,
    /// It is between these times, both included. `is_backed`: SentinelOne's own clock and another
    /// one agree on that.
    Between { earliest: Stamp, latest: Stamp, is_backed: bool },
}

impl Present {
    pub fn earliest(self) -> Option<Stamp> {
        match self {
            Present::Between { earliest, .. } => Some(earliest),
            Present::Unknown | Present::Unconfirmed => None,
        }
    }

    pub fn latest(self) -> Option<Stamp> {
        match self {
            Present::Between { latest, .. } => Some(latest),
            Present::Unknown | Present::Unconfirmed => None,
        }
    }

    /// Whether SentinelOne's own clock and another one agree on it.
    pub fn is_backed(self) -> bool {
        matches!(self, Present::Between { is_backed: true, .. })
    }

    /// Whether a position may move to a record's stamp. A position far in the future would hide
    /// everything until that day.
    pub fn allows(self, stamp: Stamp) -> bool {
        match self {
            _ if stamp == Stamp::UNREADABLE => false,
            // Without any clock: a record of the year 2185 was seen once, and no position may
            // follow it.
            Present::Unknown => {
                stamp <= BUILT_AT + Span::hours(limits::UNKNOWN_TIME_AHEAD_HOURS_MAX)
            }
            Present::Unconfirmed => false,
            Present::Between { earliest, .. } => stamp <= earliest + ahead_max(),
        }
    }

    /// The latest stamp that may become a position.
    pub fn latest_place(self) -> Stamp {
        match self {
            Present::Unknown => BUILT_AT + Span::hours(limits::UNKNOWN_TIME_AHEAD_HOURS_MAX),
            Present::Unconfirmed => Stamp(Stamp::UNREADABLE.0 - 1),
            Present::Between { earliest, .. } => earliest + ahead_max(),
        }
    }

    /// Whether all clocks rule out a position.
    pub fn rules_out(self, position: Stamp) -> bool {
        match self {
            Present::Unknown | Present::Unconfirmed => false,
            Present::Between { latest, .. } => position > latest + ahead_max(),
        }
    }
}

impl SourceClock {
    /// Takes the `Date` of an answer.
    pub fn observe_date(&mut self, date: Option<Stamp>, now: Mono, clocks: Clocks) {
        let Some(date) = date else { return };
        let claim = Claim { date, at: now };
        self.answers = self.answers.saturating_add(1);
        let agrees = |other: Option<Claim>| other.is_some_and(|other| agree(other, claim, now));
        if agrees(self.agreed) || agrees(self.single) {
            self.agreed = Some(claim);
            self.single = None;
            self.unanimous = unanimous(claim, clocks).or(self.unanimous);
        } else {
            self.single = Some(claim);
            let before = self.earliest.filter(|before| before.carried_to(now) < date);
            self.earliest = before.or(Some(claim));
        }
        self.dispute = self.disputed(now, clocks);
    }

    /// Whether this machine's clock allows a position, and so did all three when they last agreed:
    /// then two services that show the same earlier time do not rule it out. A proxy may write the
    /// `Date` of both.
    pub fn vouches_for(&self, position: Stamp, now: Mono, clocks: Clocks) -> bool {
        let then = self.unanimous.map(|claim| claim.carried_to(now));
        let vouch = |time: Option<Stamp>| time.is_some_and(|time| position <= time + ahead_max());
        vouch(then) && vouch(clocks.local)
    }

    pub fn was_told(&self) -> bool {
        self.answers > 0
    }

    /// Whether it has sent the time often and no two consecutive answers agreed, so that it
    /// confirms nothing.
    pub fn is_erratic(&self) -> bool {
        self.agreed.is_none() && self.answers >= limits::CLOCK_ANSWERS_MAX
    }

    /// The time on which two answers agree.
    pub fn agreed(&self, now: Mono) -> Option<Stamp> {
        self.agreed.map(|claim| claim.carried_to(now))
    }

    /// The earliest time that it sent and that no two consecutive answers have replaced: one claim
    /// is enough to doubt a position, but not to move it.
    pub fn least(&self, now: Mono) -> Option<Stamp> {
        let received = self.agreed.or(self.earliest).into_iter().chain(self.single);
        received.map(|claim| claim.carried_to(now)).min()
    }

    /// The same with the other clocks: the earliest possible present.
    pub fn least_present(&self, now: Mono, clocks: Clocks) -> Option<Stamp> {
        majority([self.least(now), clocks.sink, clocks.local]).earliest()
    }

    /// Its most likely time, for people: not confirmed if only one answer sent it.
    pub fn shown(&self, now: Mono) -> Option<Stamp> {
        self.agreed.or(self.single).map(|claim| claim.carried_to(now))
    }

    /// The time by which an expiry is judged: the earliest possible present. `None` if only one
    /// service tells it, because that may be wrong; this machine's clock counts if it can be right.
    pub fn confirmed(&self, now: Mono, clocks: Clocks) -> Option<Stamp> {
        let services = [self.shown(now), clocks.sink].into_iter().flatten().count();
        let is_alone = clocks.local.is_none() && services < 2;
        self.present(now, clocks).earliest().filter(|_| !is_alone)
    }

    /// What is known of the present, with the other clocks.
    pub fn present(&self, now: Mono, clocks: Clocks) -> Present {
        let own = self.shown(now);
        match (own, clocks.sink, clocks.local) {
            (None, None, None) => Present::Unknown,
            (Some(_), None, None) if self.agreed.is_none() => Present::Unconfirmed,
            (own, sink, local) => match majority([own, sink, local]) {
                Present::Between { earliest, latest, .. } => {
                    let own = own.filter(|_| self.single.is_none());
                    let others = || [sink, local].into_iter().flatten();
                    let is_backed = own.is_some_and(|own| others().any(|other| near(other, own)));
                    Present::Between { earliest, latest, is_backed }
                }
                other => other,
            },
        }
    }

    /// Whether any two clocks agree on the present.
    pub fn is_seconded(&self, now: Mono, clocks: Clocks) -> bool {
        seconded([self.shown(now), clocks.sink, clocks.local]).iter().any(Option::is_some)
    }

    /// Whether the two other clocks agree with each other, and not with this one.
    pub fn is_outvoted(&self, now: Mono, clocks: Clocks) -> bool {
        match (self.agreed(now), clocks.local, clocks.sink) {
            (Some(own), Some(local), Some(sink)) => near(local, sink) && !near(local, own),
            _ => false,
        }
    }

    /// The time for the beginning of a stream: it needs two answers that agree, and is the earliest
    /// of all clocks, also of one that is outvoted, because no walk looks before a beginning. If
    /// answers never agree, the earliest of all is used. `None`: more answers are needed.
    pub fn for_beginning(&self, now: Mono, clocks: Clocks) -> Option<Stamp> {
        let own = match self.agreed {
            Some(_) => self.shown(now),
            None if self.answers >= limits::CLOCK_ANSWERS_MAX => {
                self.earliest.map(|claim| claim.carried_to(now))
            }
            None => return None,
        };
        [own, clocks.sink, clocks.local].into_iter().flatten().min()
    }

    /// How its time disagreed with all other clocks at its last answer, if it did.
    pub fn dispute(&self) -> Option<Dispute> {
        self.dispute
    }

    fn disputed(&self, now: Mono, clocks: Clocks) -> Option<Dispute> {
        let own = self.agreed(now).filter(|_| self.single.is_none())?;
        let other = clocks.sink.or(clocks.local)?;
        let is_backed = [clocks.sink, clocks.local].into_iter().flatten().any(|at| near(at, own));
        (!is_backed).then(|| Dispute {
            by: own.since(other).max(other.since(own)),
            is_ahead: own > other,
            with_sink: clocks.sink.is_some(),
        })
    }
}

/// The range of the times that agree with one another, or of all if none do.
fn majority(witnesses: [Option<Stamp>; 3]) -> Present {
    let backed = seconded(witnesses);
    let voices = if backed.iter().any(Option::is_some) { backed } else { witnesses };
    let voices = || voices.into_iter().flatten();
    match voices().min().zip(voices().max()) {
        Some((earliest, latest)) => Present::Between { earliest, latest, is_backed: false },
        None => Present::Unknown,
    }
}

/// The times with which another one agrees.
fn seconded([a, b, c]: [Option<Stamp>; 3]) -> [Option<Stamp>; 3] {
    let agree = |one: Option<Stamp>, other: Option<Stamp>| {
        one.zip(other).is_some_and(|(one, other)| near(one, other))
    };
    let (ab, ac, bc) = (agree(a, b), agree(a, c), agree(b, c));
    [a.filter(|_| ab || ac), b.filter(|_| ab || bc), c.filter(|_| ac || bc)]
}

/// The earliest of the three clocks, if all agree.
fn unanimous(own: Claim, clocks: Clocks) -> Option<Claim> {
    let (sink, local) = clocks.sink.zip(clocks.local)?;
    let (earliest, latest) = (own.date.min(sink).min(local), own.date.max(sink).max(local));
    near(earliest, latest).then_some(Claim { date: earliest, ..own })
}

fn agree(a: Claim, b: Claim, now: Mono) -> bool {
    near(a.carried_to(now), b.carried_to(now))
}

pub fn near(a: Stamp, b: Stamp) -> bool {
    a.since(b).max(b.since(a)) <= ahead_max()
}

fn ahead_max() -> Span {
    Span::minutes(limits::STAMP_AHEAD_OF_SOURCE_MINUTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Stamp = Stamp(1_800_000_000_000_000);
    const AT: Mono = Mono(5_000_000);
    const NONE: Clocks = Clocks { local: None, sink: None };

    fn days(days: u64) -> Span {
        Span::hours(24 * days)
    }

    fn clock(dates: &[Stamp]) -> SourceClock {
        let mut clock = SourceClock::default();
        dates.iter().for_each(|date| clock.observe_date(Some(*date), AT, NONE));
        clock
    }

    fn local(stamp: Stamp) -> Clocks {
        Clocks { local: Some(stamp), sink: None }
    }

    fn both(local: Stamp, sink: Stamp) -> Clocks {
        Clocks { local: Some(local), sink: Some(sink) }
    }

    fn range(present: Present) -> Option<(Stamp, Stamp)> {
        present.earliest().zip(present.latest())
    }

    #[test]
    fn one_claim_alone_confirms_nothing_and_two_that_agree_do() {
        let one = clock(&[NOW]);
        assert_eq!(one.present(AT, NONE), Present::Unconfirmed);
        assert_eq!(one.for_beginning(AT, local(NOW)), None, "a second answer is asked for");
        let mut two = one.clone();
        two.observe_date(Some(NOW + Span::minutes(1)), AT + Span::minutes(1), NONE);
        assert_eq!(two.agreed(AT + Span::minutes(2)), Some(NOW + Span::minutes(2)));
        assert!(SourceClock::default().present(AT, NONE) == Present::Unknown);
    }

    #[test]
    fn the_present_is_seconded_by_any_two_that_agree() {
        let (received, ahead) = (clock(&[NOW, NOW]), NOW + days(3_650));
        assert!(received.is_seconded(AT, local(NOW)) && !received.is_seconded(AT, local(ahead)));
        assert!(clock(&[ahead]).is_seconded(AT, both(NOW, NOW)));
        assert!(
            !received.is_seconded(AT, NONE)
                && !received.is_seconded(AT, both(ahead, NOW - days(9)))
        );
    }

    #[test]
    fn no_service_alone_tells_that_an_end_has_passed() {
        let ahead = NOW + days(100);
        for (received, clocks, wanted) in [
            (&[ahead, ahead][..], NONE, None),
            (&[], Clocks { local: None, sink: Some(ahead) }, None),
            (&[], NONE, None),
            (&[ahead, ahead], local(NOW), Some(NOW)),
            (&[ahead, ahead], both(NOW, NOW), Some(NOW)),
            (&[ahead, ahead], Clocks { local: None, sink: Some(NOW) }, Some(NOW)),
            (&[ahead, ahead], Clocks { local: None, sink: Some(ahead) }, Some(ahead)),
            (&[ahead, ahead], both(NOW, ahead), Some(ahead)),
            (&[], local(NOW), Some(NOW)),
        ] {
            assert_eq!(clock(received).confirmed(AT, clocks), wanted, "{received:?} {clocks:?}");
        }
    }

    #[test]
    fn no_present_lets_a_position_follow_a_stamp_that_cannot_be_read() {
        let received = clock(&[NOW, NOW]).present(AT, local(NOW));
        assert!(received.allows(NOW) && Present::Unknown.allows(BUILT_AT));
        for present in [received, Present::Unknown, Present::Unconfirmed] {
            assert!(!present.allows(Stamp::UNREADABLE), "{present:?}");
        }
    }

    #[test]
    fn a_single_lie_changes_nothing_that_was_agreed() {
        for lie in [NOW + days(3_650), NOW - days(2)] {
            let clock = clock(&[NOW, NOW, lie]);
            assert_eq!(clock.agreed(AT), Some(NOW));
            assert!(clock.present(AT, NONE).allows(NOW));
            assert!(!clock.present(AT, NONE).allows(NOW + days(1)));
        }
        // Two in a row are no slip: the clock was set.
        assert_eq!(
            clock(&[NOW, NOW, NOW + days(2), NOW + days(2)]).agreed(AT),
            Some(NOW + days(2))
        );
    }

    #[test]
    fn one_claim_is_enough_to_doubt_and_two_witnesses_against_it_are_not() {
        let ahead = NOW + days(2);
        assert_eq!(clock(&[ahead, ahead]).least(AT), Some(ahead));
        for received in [&[NOW, ahead][..], &[ahead, NOW], &[ahead, ahead, NOW]] {
            assert_eq!(clock(received).least(AT), Some(NOW), "{received:?}");
            assert_eq!(clock(received).least_present(AT, local(ahead)), Some(NOW));
            assert_eq!(clock(received).least_present(AT, both(ahead, ahead)), Some(ahead));
        }
        assert_eq!(SourceClock::default().least(AT), None);
    }

    #[test]
    fn two_witnesses_outvote_the_third_and_two_that_disagree_leave_a_range() {
        let ahead = clock(&[NOW + days(2), NOW + days(2)]);
        let seen = |clock: &SourceClock, clocks| range(clock.present(AT, clocks));
        assert_eq!(seen(&ahead, both(NOW, NOW)), Some((NOW, NOW)));
        assert_eq!(seen(&ahead, local(NOW)), Some((NOW, NOW + days(2))));
        let right = clock(&[NOW, NOW]);
        assert_eq!(seen(&right, both(NOW - days(9), NOW)), Some((NOW, NOW)));
        let far = both(NOW + days(9), NOW - days(9));
        assert_eq!(seen(&right, far), Some((NOW - days(9), NOW + days(9))));
    }

    #[test]
    fn its_own_clock_is_backed_by_another_that_agrees_and_by_none_that_outvotes_it() {
        let backed = |dates: &[Stamp], clocks| clock(dates).present(AT, clocks).is_backed();
        assert!(backed(&[NOW, NOW], local(NOW + Span::minutes(9))));
        assert!(backed(&[NOW, NOW], both(NOW - days(9), NOW)));
        for (dates, clocks) in [
            (&[NOW, NOW][..], NONE),
            (&[NOW, NOW], local(NOW + days(1))),
            (&[NOW - days(1), NOW - days(1)], both(NOW, NOW)),
            (&[NOW, NOW, NOW - days(1)], both(NOW, NOW)),
        ] {
            assert!(!backed(dates, clocks), "{dates:?} {clocks:?}");
        }
    }

    #[test]
    fn a_stream_begins_at_the_earliest_that_is_plausible() {
        let ahead = clock(&[NOW + Span::hours(30); 2]);
        assert_eq!(ahead.for_beginning(AT, local(NOW)), Some(NOW));
        assert_eq!(ahead.for_beginning(AT, NONE), Some(NOW + Span::hours(30)));
        let both_ahead = both(NOW, NOW + Span::hours(30));
        assert_eq!(ahead.for_beginning(AT, both_ahead), Some(NOW), "two may be wrong");
        let never = clock(&[NOW + days(1), NOW + days(5), NOW + days(9), NOW + days(20)]);
        assert_eq!(never.for_beginning(AT, NONE), Some(NOW + days(1)));
    }

    #[test]
    fn a_position_is_impossible_only_when_every_witness_says_so() {
        let right = clock(&[NOW, NOW]);
        let position = NOW + days(2);
        assert!(right.present(AT, local(NOW)).rules_out(position));
        assert!(!right.present(AT, local(NOW + days(2))).rules_out(position));
        assert!(right.present(AT, both(NOW + days(2), NOW)).rules_out(position), "outvoted");
        assert!(!clock(&[NOW]).present(AT, NONE).rules_out(position), "one claim is not enough");
    }

    #[test]
    fn two_services_that_go_back_together_rule_out_nothing_that_all_three_clocks_allowed() {
        let (all, later) = (both(NOW, NOW), AT + Span::minutes(5));
        let mut clock = SourceClock::default();
        let mut answer = |date, at, clocks| {
            clock.observe_date(Some(date), at, clocks);
            clock.clone()
        };
        let first = answer(NOW, AT, all);
        assert!(!first.vouches_for(NOW, AT, all), "one answer");
        assert!(answer(NOW, AT, all).vouches_for(NOW, AT, all));
        let (time, behind) = (NOW + Span::minutes(5), NOW - Span::minutes(35));
        let off = both(time, behind);
        answer(behind, later, off);
        let lying = answer(behind, later, off);
        assert!(lying.present(later, off).rules_out(time), "by two to one");
        assert!(lying.vouches_for(time, later, off));
        assert!(!lying.vouches_for(time + days(1), later, off), "nobody has ever allowed it");
        assert!(!lying.vouches_for(time, later, both(behind, behind)), "all say so");
        let set = answer(behind, later, both(behind, behind));
        assert!(!set.vouches_for(time, later, off), "all three agreed on less since");
    }

    #[test]
    fn a_dispute_names_how_far_the_tenants_clock_is_off() {
        let dispute = |clocks| {
            let mut ahead = clock(&[NOW + days(2)]);
            ahead.observe_date(Some(NOW + days(2)), AT, clocks);
            ahead.dispute()
        };
        let with_sink = Some(Dispute { by: days(2), is_ahead: true, with_sink: true });
        assert_eq!(dispute(both(NOW, NOW)), with_sink);
        assert_eq!(dispute(local(NOW)).map(|dispute| dispute.with_sink), Some(false));
        assert_eq!(dispute(both(NOW, NOW + days(2))), None, "the local clock is off");
        assert_eq!(dispute(NONE), None);
    }

    #[test]
    fn what_may_become_a_position_ends_where_the_latest_place_says() {
        let mut presents = vec![Present::Unknown];
        presents.push(clock(&[NOW, NOW]).present(AT, local(NOW)));
        for present in presents {
            let latest = present.latest_place();
            assert!(present.allows(latest) && !present.rules_out(latest), "{present:?}");
            assert!(!present.allows(Stamp(latest.0 + 1)), "{present:?}");
        }
        // No position moves, so none of what is known is out of place but what can't be read.
        assert!(Present::Unconfirmed.latest_place() < Stamp::UNREADABLE);
        assert!(Present::Unconfirmed.latest_place() > NOW + days(40_000));
        assert!(Present::Unknown.allows(BUILT_AT + days(365)), "a build may be old");
    }

    #[test]
    fn a_clock_is_erratic_once_enough_answers_came_and_no_two_agreed() {
        let dates = [NOW, NOW + days(1), NOW + days(5), NOW + days(9), NOW + days(20)];
        let most = limits::CLOCK_ANSWERS_MAX as usize;
        for count in 0..=dates.len() {
            assert_eq!(clock(&dates[..count]).is_erratic(), count >= most, "{count}");
        }
        assert!(!clock(&[NOW; 6]).is_erratic());
    }

    #[test]
    fn those_two_of_three_clocks_count_that_agree() {
        let (near, far) = (Some(NOW), Some(NOW + days(9)));
        for clocks in [
            [near, near, far],
            [near, far, near],
            [far, near, near],
            [near, near, near],
            [near, near, None],
            [None, None, None],
        ] {
            let is_far = |clock: Option<Stamp>| clock == far;
            assert_eq!(seconded(clocks), clocks.map(|clock| clock.filter(|_| !is_far(clock))));
        }
        assert_eq!(seconded([near, far, None]), [None; 3]);
    }
}
