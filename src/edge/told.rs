//! What the services told of the time, and what may be concluded from it.
//!
//! A `Date` is a claim. It is carried forward by the clock of schedules, which stands still while a
//! virtual machine is paused, so what was told grows old; and a service may be wrong itself.
//!
//! Promises: the age of an entry is judged by Coralogix' own clock, and only while nothing speaks
//! against what it told; otherwise one entry without `timestamp` is sent, whose answer brings the time
//! (keeps P1, P8). Pure: each moment is handed in, so that the simulation runs this same code.

use super::clock::{Anchor, Moment, Source, Verdict, agree};
use crate::answer;
use crate::limits::SINK_CLOCK_MINUTES_MAX;
use crate::record::Answer;
use crate::time::{BUILT_AT, Clocks, Mono, Span, Stamp};

/// What judges how old an entry will look to Coralogix, which drops an old one with a 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamping {
    /// Coralogix' clock, told lately and not contradicted since.
    By(Stamp),
    /// Coralogix has told nothing that may be used. One entry goes alone and without `timestamp`; its
    /// answer brings the time. A tenant and this machine agree on this one, which is enough for a page
    /// that is sent from memory.
    Agreed(Stamp),
    /// The same, and nobody agrees.
    Unknown,
    /// Coralogix' answers tell no time: entries go without `timestamp`, in whole batches.
    Never,
}

/// What Coralogix last told, and what was seen of it since.
#[derive(Clone, Copy, Debug)]
struct SinkClock {
    anchor: Anchor,
    /// This machine's clock when it was told.
    local: Stamp,
    /// Until when the clock of schedules is known to have run on: when this was told, or when a tenant
    /// last told what fits it.
    confirmed: Mono,
    /// A tenant's clock has moved against it since.
    contradicted: bool,
    /// A delivery had no answer since. How long it lasts is not known, and a pause of the machine is
    /// among its causes, so Coralogix has to tell the time anew.
    unanswered: bool,
}

impl SinkClock {
    /// Whether this machine's clock ran on as the clock of schedules did: no step, no pause.
    fn is_steady(&self, now: Moment) -> bool {
        now.mono.since(self.confirmed) <= Span::minutes(SINK_CLOCK_MINUTES_MAX)
            && agree(now.local, self.local + now.mono.since(self.anchor.at))
    }

    fn may_judge(&self, now: Moment) -> bool {
        !self.contradicted && !self.unanswered && self.is_steady(now)
    }

    /// Takes what a tenant tells now; `before`: what it told last.
    fn compare(&mut self, date: Stamp, before: Option<Anchor>, now: Mono) {
        // A tenant whose clock is off, and always as far, has still seen the same time pass.
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
pub struct Told {
    /// By their place in the config.
    tenants: Vec<Option<Anchor>>,
    sink: Option<SinkClock>,
    /// Coralogix took something with an answer that has no `Date`.
    sink_is_silent: bool,
    /// Told by a server whose certificate does not fit this machine's clock. Shown to people only.
    doubted: Option<Anchor>,
}

impl Told {
    /// Takes what an answer tells of the time. Of an answer that refuses, having no `Date` says
    /// nothing: it may be of something on the way.
    pub fn hear(&mut self, source: Source, answer: &Answer, now: Moment) {
        match answer::date(answer) {
            None if answer.status >= 300 => {}
            date => self.note(source, date, now),
        }
    }

    fn note(&mut self, source: Source, date: Option<Stamp>, now: Moment) {
        let anchor = date.map(|date| Anchor { date, at: now.mono });
        match (source, anchor) {
            (Source::Sink, None) => self.sink_is_silent = true,
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

    /// Coralogix gave no answer.
    pub fn sink_failed(&mut self) {
        if let Some(sink) = &mut self.sink {
            sink.unanswered = true;
        }
    }

    /// Coralogix is at another address from now on.
    pub fn forget_sink(&mut self) {
        (self.sink, self.sink_is_silent) = (None, false);
    }

    /// Takes the date of a server whose certificate does not fit this machine's clock.
    pub fn doubt(&mut self, date: Stamp, now: Mono) {
        self.doubted = Some(Anchor { date, at: now });
    }

    /// What a batch that is sent now is judged by.
    pub fn stamping(&self, now: Moment) -> Stamping {
        match self.sink.filter(|sink| sink.may_judge(now)) {
            Some(sink) => Stamping::By(sink.anchor.carried_to(now.mono)),
            // No other clock is good enough for the queue: a pause of the machine stops those here.
            None if self.sink_is_silent => Stamping::Never,
            None => self.agreed(now).map_or(Stamping::Unknown, Stamping::Agreed),
        }
    }

    /// The time that dates what the collector says of itself: two clocks agree on it. What is dated by
    /// one that is off would be dropped with a 200.
    pub fn dated(&self, now: Moment) -> Option<Stamp> {
        match self.stamping(now) {
            Stamping::By(time) => {
                let tenants = self.tenants.iter().flatten().map(|told| told.carried_to(now.mono));
                let mut others = tenants.chain([now.local]);
                others.any(|other| agree(time, other)).then_some(time)
            }
            Stamping::Agreed(time) => Some(time),
            Stamping::Unknown | Stamping::Never => None,
        }
    }

    /// A tenant's clock that agrees with this machine's, of those that told lately.
    fn agreed(&self, now: Moment) -> Option<Stamp> {
        let recent =
            |anchor: &&Anchor| now.mono.since(anchor.at) <= Span::minutes(SINK_CLOCK_MINUTES_MAX);
        let told = self.tenants.iter().flatten().filter(recent);
        told.map(|anchor| anchor.carried_to(now.mono))
            .find(|time| now.local >= BUILT_AT && agree(*time, now.local))
    }

    /// What besides a tenant's own `Date` tells the present. What a tenant tells against Coralogix is
    /// for the core to weigh, so it takes nothing away here.
    pub fn witnesses(&self, now: Moment) -> Clocks {
        let sink = self.sink.filter(|sink| sink.is_steady(now));
        Clocks {
            local: (now.local >= BUILT_AT).then_some(now.local),
            sink: sink.map(|sink| sink.anchor.carried_to(now.mono)),
        }
    }

    /// How this machine's clock stands now. It is right where any service agrees with it.
    pub fn verdict(&self, now: Moment) -> Verdict {
        let carried = |anchor: Anchor| anchor.carried_to(now.mono);
        let heard = self.sink().into_iter().chain(self.tenants.iter().flatten().copied());
        if heard.map(carried).any(|theirs| agree(now.local, theirs)) {
            return Verdict::Right;
        }
        match self.best().or(self.doubted) {
            Some(anchor) => Verdict::of(now.local, carried(anchor)),
            None if now.local < BUILT_AT => Verdict::BeforeBuild,
            None => Verdict::Unknown,
        }
    }

    fn sink(&self) -> Option<Anchor> {
        self.sink.map(|sink| sink.anchor)
    }

    /// The sink's before the newest of the tenants': for schedules of the day and for people.
    fn best(&self) -> Option<Anchor> {
        let newest = self.tenants.iter().flatten().max_by_key(|anchor| anchor.at);
        self.sink().or(newest.copied())
    }

    /// Whether a service has told the time.
    pub fn is_told(&self) -> bool {
        self.best().is_some()
    }

    /// Calendar time for windows and for people; never for judging how old an entry is.
    pub fn wall(&self, now: Moment) -> Stamp {
        match self.best() {
            Some(anchor) => anchor.carried_to(now.mono),
            None => now.local.max(BUILT_AT),
        }
    }
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

    /// Coralogix told noon at noon.
    fn told_at_noon() -> Told {
        let mut told = Told::default();
        told.note(Source::Sink, Some(NOON), at(0));
        told
    }

    #[test]
    fn the_calendar_follows_the_services_and_the_sink_before_a_tenant() {
        let mut told = Told::default();
        assert!(!told.is_told());
        assert_eq!(told.wall(at(0)), NOON);
        assert_eq!(told.wall(off(0, Stamp(0))), BUILT_AT);
        told.note(TENANT, Some(clock(60)), at(0));
        assert!(told.is_told());
        assert_eq!(told.wall(at(7)), clock(67));
        told.note(Source::Sink, Some(NOON), at(0));
        told.note(TENANT, Some(clock(200)), at(60));
        assert_eq!(told.wall(at(120)), clock(120));
        told.note(Source::Sink, None, at(120));
        assert_eq!(told.wall(at(121)), clock(121), "no Date changes nothing");
    }

    #[test]
    fn stamps_are_judged_by_coralogix_alone_and_not_before_it_has_told() {
        let mut told = Told::default();
        assert_eq!(told.stamping(at(0)), Stamping::Unknown);
        told.note(TENANT, Some(clock(2_880)), at(0));
        assert_eq!(told.stamping(at(0)), Stamping::Unknown, "a tenant two days ahead");
        told.note(TENANT, Some(NOON), at(0));
        assert_eq!(told.stamping(at(1)), Stamping::Agreed(clock(1)));
        assert_eq!(told.stamping(off(1, Stamp(0))), Stamping::Unknown, "a box of 1970");
        told.note(Source::Sink, Some(clock(9)), at(0));
        assert_eq!(told.stamping(at(1)), Stamping::By(clock(10)));
    }

    #[test]
    fn the_collectors_own_words_are_dated_by_a_clock_that_another_agrees_with() {
        let mut told = Told::default();
        assert_eq!(told.dated(at(0)), None);
        told.note(Source::Sink, Some(clock(5_256_000)), at(0));
        assert_eq!(told.dated(at(0)), None, "ten years ahead");
        told.note(Source::Sink, Some(NOON), at(0));
        assert_eq!(told.dated(at(1)), Some(clock(1)), "this machine agrees");
        assert_eq!(told.dated(off(0, Stamp(0))), None, "a box of 1970");
        let box_of_1970 = |minutes| off(minutes, Stamp(0) + Span::minutes(minutes));
        let mut told = Told::default();
        told.note(Source::Sink, Some(NOON), box_of_1970(0));
        assert_eq!(told.dated(box_of_1970(1)), None);
        told.note(TENANT, Some(clock(1)), box_of_1970(1));
        assert_eq!(told.dated(box_of_1970(1)), Some(clock(1)), "a tenant agrees");
    }

    #[test]
    fn what_coralogix_told_grows_old_unless_a_tenant_has_seen_the_same_time_pass() {
        let mut told = told_at_noon();
        assert_eq!(told.stamping(at(60)), Stamping::By(clock(60)));
        assert_eq!(told.stamping(at(61)), Stamping::Unknown);
        // One that is a day off, but always as far, confirms too.
        for ahead in [0, 1_440] {
            let mut told = told_at_noon();
            told.note(TENANT, Some(clock(ahead)), at(0));
            told.note(Source::Sink, Some(NOON), at(0));
            for minutes in [50, 100, 150] {
                told.note(TENANT, Some(clock(ahead + minutes)), at(minutes));
                assert_eq!(told.stamping(at(minutes)), Stamping::By(clock(minutes)));
            }
            assert_eq!(told.witnesses(at(150)).sink, Some(clock(150)));
        }
        told.note(Source::Sink, Some(clock(61)), at(61));
        assert_eq!(told.stamping(at(62)), Stamping::By(clock(62)));
    }

    #[test]
    fn a_pause_that_a_tenant_or_this_machine_shows_ends_what_coralogix_told() {
        let days = 3 * 1_440;
        // The clock of schedules stood still for three days; the tenant shows it.
        let mut told = told_at_noon();
        told.note(TENANT, Some(clock(1)), at(1));
        told.note(TENANT, Some(clock(days + 2)), at(2));
        assert_eq!(told.stamping(at(2)), Stamping::Unknown);
        told.note(TENANT, Some(clock(days + 3)), at(3));
        assert_eq!(told.stamping(at(3)), Stamping::Unknown, "that it goes on is no help");
        // This machine's clock was set after it.
        let told = told_at_noon();
        assert_eq!(told.stamping(off(2, clock(days))), Stamping::Unknown);
        assert_eq!(told.witnesses(off(2, clock(days))).sink, None);
        // It was set back by an hour.
        let mut told = told_at_noon();
        told.note(Source::Sink, Some(clock(100)), at(100));
        assert_eq!(told.stamping(off(101, clock(41))), Stamping::Unknown);
    }

    #[test]
    fn after_a_delivery_without_an_answer_coralogix_has_to_tell_the_time_anew() {
        let mut told = told_at_noon();
        told.sink_failed();
        assert_eq!(told.stamping(at(1)), Stamping::Unknown);
        // The machine may be paused between this and the next delivery.
        told.note(TENANT, Some(clock(2)), at(2));
        assert_eq!(told.stamping(at(2)), Stamping::Agreed(clock(2)));
        told.note(Source::Sink, Some(clock(3)), at(3));
        assert_eq!(told.stamping(at(3)), Stamping::By(clock(3)));
    }

    #[test]
    fn a_sink_without_a_date_is_asked_once_and_then_trusted_with_whole_batches() {
        let mut told = Told::default();
        told.note(Source::Sink, None, at(0));
        assert_eq!(told.stamping(at(0)), Stamping::Never);
        told.note(TENANT, Some(clock(500)), at(1));
        told.note(TENANT, Some(clock(2)), at(2));
        assert_eq!(told.stamping(at(2)), Stamping::Never, "a pause would stop both");
        told.note(Source::Sink, Some(clock(71)), at(71));
        assert_eq!(told.stamping(at(71)), Stamping::By(clock(71)));
        told.forget_sink();
        assert_eq!(told.stamping(at(71)), Stamping::Unknown);
    }

    #[test]
    fn the_core_gets_each_clock_only_where_it_can_be_right() {
        let told = told_at_noon();
        assert_eq!(told.witnesses(at(5)), Clocks { local: Some(clock(5)), sink: Some(clock(5)) });
        assert_eq!(told.witnesses(at(61)).sink, None);
        assert_eq!(Told::default().witnesses(off(0, BUILT_AT - Span::ms(1))), Clocks::default());
        // A tenant that jumps takes Coralogix' word from nobody.
        let mut told = told_at_noon();
        told.note(TENANT, Some(clock(1_800)), at(1));
        assert_eq!(told.witnesses(at(1)).sink, Some(clock(1)));
    }

    #[test]
    fn this_machines_clock_is_right_where_any_service_says_so() {
        let mut told = Told::default();
        assert_eq!(told.verdict(at(0)), Verdict::Unknown);
        assert_eq!(told.verdict(off(0, Stamp(0))), Verdict::BeforeBuild);
        told.doubt(clock(1_440), at(0).mono);
        assert!(matches!(told.verdict(at(0)), Verdict::Behind(_)));
        // A tenant that is a hundred days ahead does not make a right clock wrong, once Coralogix has
        // answered too.
        told.note(TENANT, Some(clock(144_000)), at(0));
        assert_eq!(told.verdict(at(0)), Verdict::Behind(Span::minutes(144_000)));
        told.note(Source::Sink, Some(NOON), at(0));
        assert_eq!(told.verdict(at(1)), Verdict::Right);
        assert_eq!(told.verdict(off(1, clock(11))), Verdict::Ahead(Span::minutes(10)));
    }
}
