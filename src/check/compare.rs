//! Which of three clocks is wrong: this machine's, SentinelOne's and Coralogix'. For `check`.
//!
//! Promises: a clock is called wrong only where two others disagree with it, or where it is before
//! the build date; where two differ and no third is known, both are named. Never: sends a request,
//! or sets a clock.

use super::step::{Name, Outcome, Step};
use crate::answer;
use crate::cause::Cause;
use crate::config::Integration;
use crate::limits::{CLOCKS_APART_HOURS, STAMP_AHEAD_OF_SOURCE_MINUTES_MAX};
use crate::os::clock::Verdict;
use crate::record::{Answer, Start};
use crate::time::{BUILT_AT, Span, Stamp};

/// A service by the name that people use.
#[derive(Clone, Copy, Debug)]
pub enum ServiceName<'a> {
    Tenant(&'a str),
    Sink,
}

impl ServiceName<'_> {
    fn name(self) -> String {
        match self {
            ServiceName::Tenant(integration) => format!("SentinelOne {integration}"),
            ServiceName::Sink => "Coralogix".to_owned(),
        }
    }

    fn other(self) -> &'static str {
        match self {
            ServiceName::Tenant(_) => "Coralogix",
            ServiceName::Sink => "SentinelOne",
        }
    }

    fn remedy(self) -> String {
        let who = match self {
            ServiceName::Tenant(_) => "Have the operator of the console set its clock (NTP)",
            ServiceName::Sink => "Ask Coralogix",
        };
        format!("{who}, or the operator of a proxy or relay in between that sends its own Date")
    }
}

/// Compares the clock of a service that has answered. `ours`: this machine's clock; `third`: the
/// other service's, which is asked for only where it decides.
pub fn clocks(
    service: ServiceName,
    answer: &Answer,
    ours: Stamp,
    third: &mut dyn FnMut() -> Option<Stamp>,
) -> Outcome {
    let Some(theirs) = answer::date(answer) else {
        return match answer.sent_date {
            None => Outcome::Skipped("the response has no Date"),
            Some(date) => Outcome::failed(
                Cause::DateImpossible,
                format!(
                    "{} says it is {}, which is before this program's build date",
                    service.name(),
                    date.to_the_second()
                ),
                service.remedy(),
            ),
        };
    };
    let (by, way) = match Verdict::of(ours, theirs) {
        Verdict::Ahead(span) => (span, "ahead of"),
        Verdict::Behind(span) => (span, "behind"),
        _ => {
            return Outcome::Passed("this machine's clock agrees with the service's".to_owned());
        }
    };
    let ours_is_off = Outcome::noted(
        Cause::ClockOff,
        format!("this machine's clock is {by} {way} the service's"),
        "Set the clock (NTP). Records keep their own times, but certificate checks depend on it. If \
         this machine's clock is right, the service's, or that of a proxy in between, is wrong",
    );
    if !are_far(ours, theirs) {
        return ours_is_off;
    }
    let says = |who: &str, time: Stamp| format!("{who} says {}", time.to_the_second());
    let both = format!("{}, {}", says(&service.name(), theirs), says("this machine", ours));
    match third() {
        Some(third) if !are_far(theirs, third) => ours_is_off,
        Some(third) if ours < BUILT_AT => Outcome::failed(
            Cause::ClocksDiffer,
            format!(
                "two clocks differ, and this machine's is not set: {}, {}",
                says(&service.name(), theirs),
                says(service.other(), third)
            ),
            format!(
                "Set this machine's clock (NTP): it shows which one is off. {}",
                service.remedy()
            ),
        ),
        None if ours < BUILT_AT => ours_is_off,
        Some(third) => Outcome::failed(
            Cause::ServiceClockOff,
            format!("the service's clock is off: {both}, {}", says(service.other(), third)),
            service.remedy(),
        ),
        None if by >= Span::hours(CLOCKS_APART_HOURS) => Outcome::failed(
            Cause::ClocksDiffer,
            format!("two clocks differ by {by}, and there is no third one to compare: {both}"),
            format!("Set this machine's clock if it is wrong (NTP). {}", service.remedy()),
        ),
        None => ours_is_off,
    }
}

/// Whether two clocks differ by more than `STAMP_AHEAD_OF_SOURCE_MINUTES_MAX`.
pub fn are_far(one: Stamp, other: Stamp) -> bool {
    let most = Span::minutes(STAMP_AHEAD_OF_SOURCE_MINUTES_MAX);
    one.since(other) > most || other.since(one) > most
}

/// The failed step for a `start` that is in the future; `None` where it is not. `present`: a
/// clock's name and its time.
pub fn start(integration: &Integration, present: (&str, Stamp)) -> Option<Step> {
    let Start::At(start) = integration.start else { return None };
    let (whose, now) = present;
    let ahead = start.since(now);
    if ahead <= Span::minutes(STAMP_AHEAD_OF_SOURCE_MINUTES_MAX) {
        return None;
    }
    let outcome = Outcome::failed(
        Cause::StartInFuture,
        format!(
            "integration.start of {} is {}, which is {ahead} ahead of {whose}: nothing from before \
             then would be collected",
            integration.name,
            start.to_the_second()
        ),
        "Write a start in the past, e.g. \"24h\" or a time with the right year",
    );
    Some(Step::at_once(Name::Start, outcome))
}

/// As `start`, by this machine's clock alone; `None` where that clock can't be right.
pub fn start_by_local(integration: &Integration, local: Stamp) -> Option<Step> {
    if local < BUILT_AT {
        return None;
    }
    start(integration, ("this machine's clock", local))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::loopback::{config, inline};

    fn hours(hours: i64) -> Stamp {
        Stamp(BUILT_AT.0 + hours * 3_600_000_000)
    }

    fn answer(date: Stamp) -> Answer {
        Answer { sent_date: Some(date), ..Answer::default() }
    }

    /// What is said where the service, this machine and the third tell these hours.
    fn said(theirs: i64, ours: i64, third: Option<i64>) -> &'static str {
        let service = ServiceName::Tenant("acme");
        match clocks(service, &answer(hours(theirs)), hours(ours), &mut || third.map(hours)) {
            Outcome::Passed(_) => "agrees",
            Outcome::Noted(fault) | Outcome::Failed(fault) => fault.cause.code(),
            Outcome::Skipped(why) => why,
        }
    }

    #[test]
    fn of_three_clocks_the_odd_one_is_wrong() {
        for (theirs, ours, third, wanted) in [
            (1_000, 1_000, None, "agrees"),
            (1_000, 1_000, Some(1_048), "agrees"),
            (1_048, 1_000, Some(1_000), "service_clock_off"),
            (952, 1_000, Some(1_000), "service_clock_off"),
            (1_000, 952, Some(1_000), "clock_off"),
            (1_000, 1_048, Some(1_000), "clock_off"),
            (1_000, 1_048, Some(1_096), "service_clock_off"),
            (1_000, 1_048, None, "clocks_differ"),
            // A clock from before the program is wrong whatever the others say, and they may differ.
            (1_000, -500_000, None, "clock_off"),
            (1_000, -500_000, Some(1_000), "clock_off"),
            (1_048, -500_000, Some(1_000), "clocks_differ"),
            (-500_000, 1_000, Some(1_000), "date_impossible"),
        ] {
            assert_eq!(said(theirs, ours, third), wanted, "{theirs} {ours} {third:?}");
        }
    }

    #[test]
    fn each_clock_and_who_sets_it_is_named() {
        for (service, names, remedy) in [
            (ServiceName::Tenant("acme"), ["SentinelOne acme says", "Coralogix says"], "console"),
            (ServiceName::Sink, ["Coralogix says", "SentinelOne says"], "Ask Coralogix"),
        ] {
            let third = &mut || Some(hours(1_000));
            let told = clocks(service, &answer(hours(1_048)), hours(1_000), third);
            let Outcome::Failed(fault) = told else { panic!("{told:?}") };
            assert!(names.iter().all(|name| fault.what.contains(name)), "{}", fault.what);
            assert!(fault.remedy.contains(remedy), "{}", fault.remedy);
        }
    }

    #[test]
    fn clocks_are_judged_up_to_their_limits() {
        let at = |minutes: u64| hours(1_000) + Span::minutes(minutes);
        for (minutes, is_far) in [(9, false), (10, false), (11, true)] {
            assert_eq!(are_far(at(0), at(minutes)), is_far, "{minutes}");
            assert_eq!(are_far(at(minutes), at(0)), is_far, "{minutes}");
        }
        // Without a third one, a clock that is off by less than an hour is this machine's.
        for (minutes, cause) in [(59, Cause::ClockOff), (60, Cause::ClocksDiffer)] {
            let told = clocks(ServiceName::Sink, &answer(at(minutes)), at(0), &mut || None);
            let (Outcome::Noted(fault) | Outcome::Failed(fault)) = told else { panic!("{told:?}") };
            assert_eq!(fault.cause, cause, "{minutes}");
        }
        // One that tells the time of the build can be right.
        assert_eq!(said(48, 0, None), "clocks_differ");
        assert_eq!(said(48, 0, Some(0)), "service_clock_off");
        let mut integration = config("http://t", inline("t"), inline("k")).integrations.remove(0);
        for (minutes, is_told) in [(10, false), (11, true)] {
            integration.start = Start::At(BUILT_AT + Span::minutes(minutes));
            assert_eq!(start_by_local(&integration, BUILT_AT).is_some(), is_told, "{minutes}");
        }
    }

    #[test]
    fn a_third_clock_is_asked_for_only_where_it_decides() {
        let near = answer(hours(1_000) + Span::minutes(9));
        let outcome = clocks(ServiceName::Sink, &near, hours(1_000), &mut || panic!("not asked"));
        let Outcome::Noted(fault) = outcome else { panic!("{outcome:?}") };
        assert!(fault.remedy.contains("If this machine's clock is right"), "{}", fault.remedy);
        let none =
            clocks(ServiceName::Sink, &Answer::default(), hours(0), &mut || panic!("not asked"));
        assert_eq!(none, Outcome::Skipped("the response has no Date"));
    }

    #[test]
    fn a_start_in_the_future_is_told_by_a_clock_that_can_be_right() {
        let mut integration = config("http://t", inline("t"), inline("k")).integrations.remove(0);
        integration.start = Start::At(hours(8_760));
        let Some(Step { name: Name::Start, outcome: Outcome::Failed(fault), .. }) =
            start_by_local(&integration, hours(1))
        else {
            panic!("it lies a year ahead")
        };
        assert_eq!(fault.cause, Cause::StartInFuture);
        assert!(fault.what.contains("integration.start of acme is 2027-"), "{fault:?}");
        assert!(start_by_local(&integration, hours(-1)).is_none(), "a clock that can't be right");
        assert!(start_by_local(&integration, hours(8_761)).is_none());
        for start in [Start::Now, Start::Ago(Span::hours(24)), Start::At(hours(0))] {
            integration.start = start;
            assert!(start_by_local(&integration, hours(0)).is_none(), "{start:?}");
        }
    }
}
