//! The times that the services sent, and what may be concluded from them.
//!
//! A `Date` is a claim. It is carried forward by the monotonic clock, which stops while a virtual
//! machine is paused, so a received time becomes unreliable; and a service's clock may be wrong
//! itself.
//!
//! ```text
//!   nothing, or old, or doubtful --> one entry goes alone and without `timestamp`; its answer has a Date
//!   a Date --another clock agrees--> judges what is sent
//!      '-----none does-------------> whole batches without `timestamp`, and the disagreement is shown
//!   no Date in an answer ----------> whole batches without `timestamp`
//! ```
//!
//! Promises: the age of an entry is judged by Coralogix' own clock, and only while another clock
//! agrees with it and nothing contradicts it (keeps P1, P8). Pure: each moment is a parameter, so
//! that the simulation runs this same code.

use crate::answer;
use crate::limits::{SINK_CLOCK_MINUTES_MAX, STAMP_AHEAD_OF_SOURCE_MINUTES_MAX};
use crate::os::clock::{Anchor, Moment, Source, Verdict, agree};
use crate::record::Answer;
use crate::time::{BUILT_AT, Clocks, Mono, SinkOff, Span, Stamp, Whose};

/// The time by which the age of an entry is judged: Coralogix drops one with an old `timestamp`,
/// with a 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamping {
    /// Coralogix' clock, received lately and not contradicted since; another one agrees with it.
    By(Stamp),
    /// Coralogix has sent no time that may be used. One entry goes alone and without `timestamp`;
    /// its answer brings the time. A tenant and this machine agree on this time, which is enough
    /// for a page that is sent from memory.
    Agreed(Stamp),
    /// As `Agreed`, but no two clocks agree.
    Unknown,
    /// Coralogix sends a time that no other clock agrees with: entries go without `timestamp`, in
    /// whole batches.
    Unconfirmed,
    /// Coralogix' answers have no `Date`: handled as `Unconfirmed`.
    Never,
}

/// What Coralogix last sent, and what was seen of it since.
#[derive(Clone, Copy, Debug)]
struct SinkClock {
    anchor: Anchor,
    /// This machine's clock when the `Date` was received.
    local: Stamp,
    /// The last time at which the monotonic clock is known not to have stopped: when the `Date` was
    /// received, or when a tenant last sent a time that fits it.
    confirmed: Mono,
    /// A tenant's clock has moved against it since.
    contradicted: bool,
    /// A delivery since then had no answer, or one without a `Date`. How long it took is not known,
    /// and a pause of the machine is a possible cause, so Coralogix has to send the time anew.
    unanswered: bool,
}

impl SinkClock {
    /// Whether this machine's clock advanced as the monotonic clock did: no step, no pause.
    fn is_steady(&self, now: Moment) -> bool {
        now.mono.since(self.confirmed) <= Span::minutes(SINK_CLOCK_MINUTES_MAX)
            && agree(now.local, self.local + now.mono.since(self.anchor.at))
    }

    fn may_judge(&self, now: Moment) -> bool {
        !self.contradicted && !self.unanswered && self.is_steady(now)
    }

    /// Compares with the `Date` that a tenant sends now; `before`: the one it sent last.
    fn compare(&mut self, date: Stamp, before: Option<Anchor>, now: Mono) {
        // A tenant whose clock is off by a constant amount still shows how much time has passed.
        let went_on = before.is_some_and(|before| {
            before.at <= self.confirmed && agree(date, before.carried_to(now))
        });
        match agree(date, self.anchor.carried_to(now)) || went_on {
            true => self.confirmed = now,
            false => self.contradicted = true,
        }
    }
}

/// Calendar time as the services tell it.
#[derive(Debug, Default)]
pub struct ServiceTimes {
    /// By the integration's index in the config.
    tenants: Vec<Option<Anchor>>,
    sink: Option<SinkClock>,
    /// Coralogix accepted something with an answer that has no `Date`.
    sink_is_silent: bool,
    /// Sent by a server whose certificate does not fit this machine's clock. Shown to people only.
    contested: Option<Anchor>,
}

impl ServiceTimes {
    /// Takes the time from an answer. A rejection without a `Date` says nothing about Coralogix: it
    /// may come from a device on the path, and so may a web page, whose time is that device's.
    pub fn observe_answer(&mut self, source: Source, answer: &Answer, now: Moment) {
        match answer::date(answer) {
            _ if answer::is_html(answer) => {
                if source == Source::Sink && answer.status < 300 {
                    self.sink_failed();
                }
            }
            None if answer.status >= 300 => {}
            date => self.note(source, date, now),
        }
    }

    fn note(&mut self, source: Source, date: Option<Stamp>, now: Moment) {
        let anchor = date.map(|date| Anchor { date, at: now.mono });
        match (source, anchor) {
            (Source::Sink, None) => {
                self.sink_is_silent = true;
                self.sink_failed();
            }
            (Source::Sink, Some(anchor)) => {
                self.sink_is_silent = false;
                self.sink = Some(SinkClock {
                    anchor,
                    local: now.local,
                    confirmed: now.mono,
                    contradicted: false,
                    unanswered: false,
                });
            }
            (Source::Tenant(_), None) => {}
            (Source::Tenant(tenant), Some(anchor)) => {
                let known = self.tenants.len().max(tenant + 1);
                self.tenants.resize(known, None);
                let before = self.tenants[tenant].replace(anchor);
                if let Some(sink) = &mut self.sink {
                    sink.compare(anchor.date, before, now.mono);
                }
            }
        }
    }

    /// Coralogix gave no answer, or none that tells the time.
    pub fn sink_failed(&mut self) {
        if let Some(sink) = &mut self.sink {
            sink.unanswered = true;
        }
    }

    /// Coralogix has another address from now on.
    pub fn forget_sink(&mut self) {
        (self.sink, self.sink_is_silent) = (None, false);
    }

    /// Takes the date of a server whose certificate does not fit this machine's clock.
    pub fn observe_contested(&mut self, date: Stamp, now: Mono) {
        self.contested = Some(Anchor { date, at: now });
    }

    /// The time by which the entries of a batch sent now are judged.
    pub fn stamping(&self, now: Moment) -> Stamping {
        match self.sink.filter(|sink| sink.may_judge(now)) {
            Some(sink) => match sink.anchor.carried_to(now.mono) {
                time if self.is_seconded(time, now) => Stamping::By(time),
                _ => Stamping::Unconfirmed,
            },
            // For records from the queue no other clock is good enough: a pause of the machine
            // stops its own clocks too.
            None if self.sink_is_silent => Stamping::Never,
            None => self.agreed(now).map_or(Stamping::Unknown, Stamping::Agreed),
        }
    }

    /// The time for the collector's own records: two clocks agree on it. A record dated by a wrong
    /// clock would be dropped with a 200.
    pub fn dated(&self, now: Moment) -> Option<Stamp> {
        match self.stamping(now) {
            Stamping::By(time) | Stamping::Agreed(time) => Some(time),
            Stamping::Unknown | Stamping::Unconfirmed | Stamping::Never => None,
        }
    }

    /// Whether another clock agrees with Coralogix'. What a tenant sent long ago counts as well: a
    /// pause since then would make the two disagree.
    fn is_seconded(&self, time: Stamp, now: Moment) -> bool {
        let tenants = self.tenants.iter().flatten().map(|anchor| anchor.carried_to(now.mono));
        tenants.chain(plausible(now)).any(|other| is_near(other, time))
    }

    /// How Coralogix' clock disagrees with every other, if it does.
    pub fn sink_off(&self, now: Moment) -> Option<SinkOff> {
        let sink = self.sink.filter(|sink| sink.is_steady(now))?;
        let time = sink.anchor.carried_to(now.mono);
        if self.is_seconded(time, now) {
            return None;
        }
        let tenant = self.newest_of_tenants().map(|anchor| anchor.carried_to(now.mono));
        let (other, whose) = match (plausible(now), tenant) {
            (Some(ours), Some(theirs)) if is_near(ours, theirs) => (theirs, Whose::Both),
            (Some(ours), _) => (ours, Whose::Machine),
            (None, theirs) => (theirs?, Whose::Tenant),
        };
        let by = time.since(other).max(other.since(time));
        Some(SinkOff { by, is_ahead: time > other, whose })
    }

    /// The clock of the tenant that answered last, if that was lately and this machine's agrees.
    /// Another tenant may have answered before a pause, which also stopped this machine's clocks.
    fn agreed(&self, now: Moment) -> Option<Stamp> {
        let newest = self.newest_of_tenants()?;
        let is_recent = now.mono.since(newest.at) <= Span::minutes(SINK_CLOCK_MINUTES_MAX);
        let time = newest.carried_to(now.mono);
        (is_recent && plausible(now).is_some_and(|ours| agree(time, ours))).then_some(time)
    }

    fn newest_of_tenants(&self) -> Option<Anchor> {
        self.tenants.iter().flatten().max_by_key(|anchor| anchor.at).copied()
    }

    /// The clocks that tell the present besides a tenant's own `Date`. Where a tenant disagrees
    /// with Coralogix the core decides, so nothing is left out here.
    pub fn witnesses(&self, now: Moment) -> Clocks {
        let sink = self.sink.filter(|sink| sink.is_steady(now));
        Clocks { local: plausible(now), sink: sink.map(|sink| sink.anchor.carried_to(now.mono)) }
    }

    /// How this machine's clock stands now. It is right where any service agrees with it.
    pub fn verdict(&self, now: Moment) -> Verdict {
        let carried = |anchor: Anchor| anchor.carried_to(now.mono);
        let received = self.sink().into_iter().chain(self.tenants.iter().flatten().copied());
        if received.map(carried).any(|theirs| agree(now.local, theirs)) {
            return Verdict::Right;
        }
        match self.best().or(self.contested) {
            Some(anchor) => Verdict::of(now.local, carried(anchor)),
            None if now.local < BUILT_AT => Verdict::BeforeBuild,
            None => Verdict::Unknown,
        }
    }

    fn sink(&self) -> Option<Anchor> {
        self.sink.map(|sink| sink.anchor)
    }

    /// Coralogix' time, else the newest of the tenants'.
    fn best(&self) -> Option<Anchor> {
        self.sink().or(self.newest_of_tenants())
    }

    /// Whether a service has sent the time.
    pub fn has_time(&self) -> bool {
        self.best().is_some()
    }

    /// Calendar time for windows and for people; never for judging how old an entry is. It is that
    /// of Coralogix, a tenant or this machine, in this order, of which another one agrees; if no two
    /// do, the services' counts.
    pub fn wall(&self, now: Moment) -> Stamp {
        let newest = self.newest_of_tenants();
        let is_other = |anchor: &Anchor| newest.is_some_and(|newest| newest.at != anchor.at);
        let told = || {
            let others = self.tenants.iter().flatten().copied().filter(is_other);
            let received = self.sink().into_iter().chain(newest).chain(others);
            received.map(|anchor| anchor.carried_to(now.mono)).chain(plausible(now)).enumerate()
        };
        let is_seconded = |(at, time): &(usize, Stamp)| {
            told().any(|(other, theirs)| other != *at && is_near(theirs, *time))
        };
        told().find(is_seconded).or_else(|| told().next()).map_or(BUILT_AT, |(_, time)| time)
    }
}

/// This machine's clock, where it can be right.
fn plausible(now: Moment) -> Option<Stamp> {
    (now.local >= BUILT_AT).then_some(now.local)
}

/// Whether two clocks are so near that neither is considered wrong where a timestamp is judged.
/// `check` and the core use the same limit.
fn is_near(one: Stamp, other: Stamp) -> bool {
    one.since(other).max(other.since(one)) <= Span::minutes(STAMP_AHEAD_OF_SOURCE_MINUTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Stamp = Stamp(1_900_000_000_000_000);
    const TENANT: Source = Source::Tenant(0);

    /// So many minutes after noon, on a machine whose clock is right.
    fn at(minutes: u64) -> Moment {
        off(minutes, NOON + Span::minutes(minutes))
    }

    /// The same on one whose clock says `local`.
    fn off(minutes: u64, local: Stamp) -> Moment {
        Moment { mono: Mono(1_000) + Span::minutes(minutes), local }
    }

    fn clock(minutes: u64) -> Stamp {
        NOON + Span::minutes(minutes)
    }

    /// Coralogix sent noon at noon.
    fn received_at_noon() -> ServiceTimes {
        let mut times = ServiceTimes::default();
        times.note(Source::Sink, Some(NOON), at(0));
        times
    }

    #[test]
    fn the_calendar_follows_the_services_and_the_sink_before_a_tenant() {
        let mut times = ServiceTimes::default();
        assert!(!times.has_time());
        assert_eq!(times.wall(at(0)), NOON);
        assert_eq!(times.wall(off(0, Stamp(0))), BUILT_AT);
        times.note(TENANT, Some(clock(60)), at(0));
        assert!(times.has_time());
        assert_eq!(times.wall(at(7)), clock(67));
        times.note(Source::Sink, Some(NOON), at(0));
        times.note(TENANT, Some(clock(200)), at(60));
        assert_eq!(times.wall(at(120)), clock(120));
        times.note(Source::Sink, None, at(120));
        assert_eq!(times.wall(at(121)), clock(121), "no Date changes nothing");
    }

    #[test]
    fn the_calendar_does_not_follow_coralogix_where_two_others_agree() {
        let mut times = ServiceTimes::default();
        times.note(TENANT, Some(NOON), at(0));
        times.note(Source::Sink, Some(clock(720)), at(0));
        assert_eq!(times.wall(at(1)), clock(1));
        assert_eq!(times.wall(off(1, Stamp(0))), clock(721), "no two agree");
        assert_eq!(times.wall(off(1, clock(721))), clock(721));
        times.note(Source::Tenant(1), Some(clock(60)), at(1));
        assert_eq!(times.wall(at(1)), clock(1), "the tenant that answered last is wrong");
    }

    #[test]
    fn stamps_are_judged_by_coralogix_alone_and_not_before_it_has_sent_a_time() {
        let mut times = ServiceTimes::default();
        assert_eq!(times.stamping(at(0)), Stamping::Unknown);
        times.note(TENANT, Some(clock(2_880)), at(0));
        assert_eq!(times.stamping(at(0)), Stamping::Unknown, "a tenant two days ahead");
        times.note(TENANT, Some(NOON), at(0));
        assert_eq!(times.stamping(at(1)), Stamping::Agreed(clock(1)));
        assert_eq!(times.stamping(off(1, Stamp(0))), Stamping::Unknown, "a box of 1970");
        times.note(Source::Sink, Some(clock(9)), at(0));
        assert_eq!(times.stamping(at(1)), Stamping::By(clock(10)));
    }

    #[test]
    fn the_collectors_own_words_are_dated_by_a_clock_that_another_agrees_with() {
        let mut times = ServiceTimes::default();
        assert_eq!(times.dated(at(0)), None);
        times.note(Source::Sink, Some(clock(5_256_000)), at(0));
        assert_eq!(times.dated(at(0)), None, "ten years ahead");
        times.note(Source::Sink, Some(NOON), at(0));
        assert_eq!(times.dated(at(1)), Some(clock(1)), "this machine agrees");
        for (sent, said) in [(10, Stamping::By(clock(10))), (11, Stamping::Unconfirmed)] {
            times.note(Source::Sink, Some(clock(sent)), at(0));
            assert_eq!(times.stamping(at(0)), said, "{sent} minutes apart");
        }
        times.note(Source::Sink, Some(NOON), at(0));
        assert_eq!(times.dated(off(0, Stamp(0))), None, "a box of 1970");
        let box_of_1970 = |minutes| off(minutes, Stamp(0) + Span::minutes(minutes));
        let mut times = ServiceTimes::default();
        times.note(Source::Sink, Some(NOON), box_of_1970(0));
        assert_eq!(times.dated(box_of_1970(1)), None);
        times.note(TENANT, Some(clock(1)), box_of_1970(1));
        assert_eq!(times.dated(box_of_1970(1)), Some(clock(1)), "a tenant agrees");
    }

    #[test]
    fn coralogix_clock_judges_only_where_another_agrees_and_who_speaks_against_it_is_told() {
        let hours_30 = Span::hours(30);
        for (sent, is_ahead) in [(NOON - hours_30, false), (NOON + hours_30, true)] {
            let by = |whose| Some(SinkOff { by: hours_30, is_ahead, whose });
            let mut times = ServiceTimes::default();
            times.note(TENANT, Some(NOON), at(0));
            times.note(Source::Sink, Some(sent), at(0));
            assert_eq!(times.stamping(at(1)), Stamping::Unconfirmed);
            assert_eq!(times.dated(at(1)), None);
            assert_eq!(times.sink_off(at(1)), by(Whose::Both));
            let mut times = ServiceTimes::default();
            times.note(TENANT, Some(NOON), off(0, Stamp(0)));
            times.note(Source::Sink, Some(sent), off(0, Stamp(0)));
            assert_eq!(times.stamping(off(0, Stamp(0))), Stamping::Unconfirmed, "a box of 1970");
            assert_eq!(times.sink_off(off(0, Stamp(0))), by(Whose::Tenant));
            // Two against one: this machine's clock is as far off, and the tenant's is outvoted.
            let mut times = ServiceTimes::default();
            times.note(TENANT, Some(NOON), off(0, sent));
            times.note(Source::Sink, Some(sent), off(0, sent));
            assert_eq!(times.stamping(off(0, sent)), Stamping::By(sent));
            assert_eq!(times.sink_off(off(0, sent)), None);
            // No tenant has told a time.
            let mut times = ServiceTimes::default();
            times.note(Source::Sink, Some(sent), at(0));
            assert_eq!(times.stamping(at(1)), Stamping::Unconfirmed);
            assert_eq!(times.sink_off(at(1)), by(Whose::Machine));
            let mut times = ServiceTimes::default();
            times.note(Source::Sink, Some(sent), off(0, Stamp(0)));
            assert_eq!(times.stamping(off(0, Stamp(0))), Stamping::Unconfirmed);
            assert_eq!(times.sink_off(off(0, Stamp(0))), None, "nobody speaks against it");
            // All three disagree.
            let mut times = ServiceTimes::default();
            times.note(TENANT, Some(clock(60)), at(0));
            times.note(Source::Sink, Some(sent), at(0));
            assert_eq!(times.sink_off(at(1)), by(Whose::Machine));
        }
    }

    #[test]
    fn of_two_tenants_the_one_that_answered_last_bears_out_this_machine() {
        let days = 3 * 1_440;
        let mut times = ServiceTimes::default();
        times.note(TENANT, Some(NOON), at(0));
        times.note(Source::Tenant(1), Some(NOON), at(0));
        assert_eq!(times.stamping(at(1)), Stamping::Agreed(clock(1)));
        assert_eq!(times.stamping(at(60)), Stamping::Agreed(clock(60)));
        assert_eq!(times.stamping(at(61)), Stamping::Unknown, "that is long ago");
        // A pause of three days stopped this machine's clock too.
        times.note(Source::Tenant(1), Some(clock(days + 2)), at(2));
        assert_eq!(times.stamping(at(2)), Stamping::Unknown);
        times.note(TENANT, Some(clock(days + 3)), at(3));
        assert_eq!(times.stamping(off(3, clock(days + 3))), Stamping::Agreed(clock(days + 3)));
    }

    #[test]
    fn what_coralogix_sent_grows_old_unless_a_tenant_has_seen_the_same_time_pass() {
        let mut times = received_at_noon();
        assert_eq!(times.stamping(at(60)), Stamping::By(clock(60)));
        assert_eq!(times.stamping(at(61)), Stamping::Unknown);
        // One that is a day off, but always as far, confirms too.
        for ahead in [0, 1_440] {
            let mut times = received_at_noon();
            times.note(TENANT, Some(clock(ahead)), at(0));
            times.note(Source::Sink, Some(NOON), at(0));
            for minutes in [50, 100, 150] {
                times.note(TENANT, Some(clock(ahead + minutes)), at(minutes));
                assert_eq!(times.stamping(at(minutes)), Stamping::By(clock(minutes)));
            }
            assert_eq!(times.witnesses(at(150)).sink, Some(clock(150)));
        }
        times.note(Source::Sink, Some(clock(61)), at(61));
        assert_eq!(times.stamping(at(62)), Stamping::By(clock(62)));
    }

    #[test]
    fn a_pause_that_a_tenant_or_this_machine_shows_ends_what_coralogix_sent() {
        let days = 3 * 1_440;
        // The clock of schedules stood still for three days; the tenant shows it.
        let mut times = received_at_noon();
        times.note(TENANT, Some(clock(1)), at(1));
        times.note(TENANT, Some(clock(days + 2)), at(2));
        assert_eq!(times.stamping(at(2)), Stamping::Unknown);
        times.note(TENANT, Some(clock(days + 3)), at(3));
        assert_eq!(times.stamping(at(3)), Stamping::Unknown, "that it goes on is no help");
        // This machine's clock was set after it.
        let times = received_at_noon();
        assert_eq!(times.stamping(off(2, clock(days))), Stamping::Unknown);
        assert_eq!(times.witnesses(off(2, clock(days))).sink, None);
        // It was set back by an hour.
        let mut times = received_at_noon();
        times.note(Source::Sink, Some(clock(100)), at(100));
        assert_eq!(times.stamping(off(101, clock(41))), Stamping::Unknown);
    }

    #[test]
    fn after_a_delivery_without_an_answer_coralogix_has_to_tell_the_time_anew() {
        let mut times = received_at_noon();
        times.sink_failed();
        assert_eq!(times.stamping(at(1)), Stamping::Unknown);
        // The machine may be paused between this and the next delivery.
        times.note(TENANT, Some(clock(2)), at(2));
        assert_eq!(times.stamping(at(2)), Stamping::Agreed(clock(2)));
        times.note(Source::Sink, Some(clock(3)), at(3));
        assert_eq!(times.stamping(at(3)), Stamping::By(clock(3)));
    }

    #[test]
    fn an_acceptance_without_a_date_confirms_no_time_that_was_sent_before() {
        let mut times = received_at_noon();
        times.note(Source::Sink, None, at(1));
        assert_eq!(times.stamping(at(1)), Stamping::Never);
        // One that refuses may come from something on the way.
        let mut times = received_at_noon();
        let refusal = Answer { status: 429, ..Answer::default() };
        times.observe_answer(Source::Sink, &refusal, at(1));
        assert_eq!(times.stamping(at(1)), Stamping::By(clock(1)));
        for (status, said) in [(204, Stamping::Never), (300, Stamping::By(clock(1)))] {
            let mut times = received_at_noon();
            times.observe_answer(Source::Sink, &Answer { status, ..Answer::default() }, at(1));
            assert_eq!(times.stamping(at(1)), said, "{status}");
        }
        // One with a time after it takes that back, also where a later one fails.
        let mut times = received_at_noon();
        times.note(Source::Sink, None, at(1));
        times.note(Source::Sink, Some(clock(2)), at(2));
        times.sink_failed();
        assert_eq!(times.stamping(at(3)), Stamping::Unknown);
    }

    #[test]
    fn a_web_page_that_says_yes_for_coralogix_ends_its_time_and_no_other_page_does() {
        for (source, status, said) in [
            (Source::Sink, 200, Stamping::Unknown),
            (Source::Sink, 299, Stamping::Unknown),
            (Source::Sink, 300, Stamping::By(clock(1))),
            (Source::Sink, 503, Stamping::By(clock(1))),
            (TENANT, 200, Stamping::By(clock(1))),
            (TENANT, 503, Stamping::By(clock(1))),
        ] {
            let body = b"<html>Welcome</html>".to_vec();
            let mut times = received_at_noon();
            times.observe_answer(source, &Answer { status, body, ..Answer::default() }, at(1));
            assert_eq!(times.stamping(at(1)), said, "{source:?} {status}");
        }
    }

    #[test]
    fn the_time_of_a_web_page_is_nobodys() {
        let page = |date| Answer {
            status: 200,
            sent_date: date,
            body: b"<html>Welcome</html>".to_vec(),
            ..Answer::default()
        };
        for source in [Source::Sink, TENANT] {
            let mut times = ServiceTimes::default();
            times.observe_answer(source, &page(Some(clock(500))), at(1));
            assert_eq!(times.witnesses(at(1)).sink, None, "{source:?}");
            assert!(times.newest_of_tenants().is_none(), "{source:?}");
        }
        // Nor does one without a time show that Coralogix sends none.
        let mut times = received_at_noon();
        times.observe_answer(Source::Sink, &page(None), at(1));
        assert_ne!(times.stamping(at(1)), Stamping::Never);
    }

    #[test]
    fn a_sink_without_a_date_is_asked_once_and_then_trusted_with_whole_batches() {
        let mut times = ServiceTimes::default();
        times.note(Source::Sink, None, at(0));
        assert_eq!(times.stamping(at(0)), Stamping::Never);
        times.note(TENANT, Some(clock(500)), at(1));
        times.note(TENANT, Some(clock(2)), at(2));
        assert_eq!(times.stamping(at(2)), Stamping::Never, "a pause would stop both");
        times.note(Source::Sink, Some(clock(71)), at(71));
        assert_eq!(times.stamping(at(71)), Stamping::By(clock(71)));
        times.forget_sink();
        assert_eq!(times.stamping(at(71)), Stamping::Unknown);
    }

    #[test]
    fn the_core_gets_each_clock_only_where_it_can_be_right() {
        let times = received_at_noon();
        assert_eq!(times.witnesses(at(5)), Clocks { local: Some(clock(5)), sink: Some(clock(5)) });
        assert_eq!(times.witnesses(at(61)).sink, None);
        assert_eq!(
            ServiceTimes::default().witnesses(off(0, BUILT_AT - Span::ms(1))),
            Clocks::default()
        );
        let just = ServiceTimes::default().witnesses(off(0, BUILT_AT));
        assert_eq!(just, Clocks { local: Some(BUILT_AT), sink: None });
        // A tenant that jumps takes Coralogix' word from nobody.
        let mut times = received_at_noon();
        times.note(TENANT, Some(clock(1_800)), at(1));
        assert_eq!(times.witnesses(at(1)).sink, Some(clock(1)));
    }

    #[test]
    fn this_machines_clock_is_right_where_any_service_says_so() {
        let mut times = ServiceTimes::default();
        assert_eq!(times.verdict(at(0)), Verdict::Unknown);
        assert_eq!(times.verdict(off(0, Stamp(0))), Verdict::BeforeBuild);
        assert_eq!(times.verdict(off(0, BUILT_AT)), Verdict::Unknown);
        times.observe_contested(clock(1_440), at(0).mono);
        assert!(matches!(times.verdict(at(0)), Verdict::Behind(_)));
        // A tenant that is a hundred days ahead does not make a right clock wrong, once Coralogix has
        // answered too.
        times.note(TENANT, Some(clock(144_000)), at(0));
        assert_eq!(times.verdict(at(0)), Verdict::Behind(Span::minutes(144_000)));
        times.note(Source::Sink, Some(NOON), at(0));
        assert_eq!(times.verdict(at(1)), Verdict::Right);
        assert_eq!(times.verdict(off(1, clock(11))), Verdict::Ahead(Span::minutes(10)));
    }
}
