//! Whether a record or row that fails alone is to blame, or the service.
//!
//! Promises: it is to blame only if it failed in one way, repeatedly, with the service seen working
//! after each try (keeps P1); the next one that fails in that way needs less time. Never: knows
//! what an answer said, or what follows.

use crate::limits;
use crate::record::{Lone, SinkVerdict, SourceTrouble, Way};
use crate::time::{Mono, Span};

impl Way {
    pub fn of_sink(verdict: &SinkVerdict) -> Way {
        match verdict {
            // Who answers in the sink's place does not refuse the record.
            SinkVerdict::Unreachable(_) | SinkVerdict::Failed(_) | SinkVerdict::Misdirected(_) => {
                Way::Failed
            }
            _ => Way::Refused,
        }
    }

    pub fn of_source(trouble: &SourceTrouble) -> Way {
        match trouble {
            SourceTrouble::TooLong(_) => Way::Refused,
            _ => Way::Failed,
        }
    }

    /// How often it has to fail in this way to be to blame, and over which time at least. With
    /// `in_a_row` earlier ones set aside and nothing accepted since, it is less and less likely
    /// that the next one is to blame.
    fn patience(self, is_known: bool, longest_wait: Span, in_a_row: u32) -> (u32, Span) {
        let doubled = 1 << in_a_row.min(limits::LONE_DOUBLINGS_MAX);
        match self {
            Way::Refused => (limits::LONE_REFUSALS, Span::ZERO),
            Way::Failed if is_known && in_a_row == 0 => (limits::LONE_FAILURES, Span::ZERO),
            Way::Failed => {
                let waits = u64::from(limits::LONE_WAITS * doubled);
                (limits::LONE_FAILURES * doubled, longest_wait.times(waits))
            }
        }
    }
}

#[derive(Clone, Debug)]
pub struct Blame<K> {
    lone: Option<Lone<K>>,
    /// When it last failed, if in this process.
    last: Option<Mono>,
    /// The way in which the last one to blame failed, and when it was set aside.
    known: Option<(Way, Mono)>,
}

impl<K> Default for Blame<K> {
    fn default() -> Self {
        Blame { lone: None, last: None, known: None }
    }
}

impl<K: Copy + PartialEq> Blame<K> {
    /// Begins with what an earlier process saw fail alone.
    pub fn remembering(lone: Option<Lone<K>>) -> Blame<K> {
        Blame { lone, ..Blame::default() }
    }

    pub fn lone(&self) -> Option<Lone<K>> {
        self.lone
    }

    /// It failed alone, and the service was seen working. Returns whether it is to blame now: it
    /// failed in this way only, often enough and for long enough. `in_a_row`: how many were set
    /// aside since anything was accepted.
    pub fn failed(
        &mut self,
        now: Mono,
        at: K,
        way: Way,
        longest_wait: Span,
        in_a_row: u32,
    ) -> bool {
        let new = Lone { at, way, tries: 0, for_ms: Span::ZERO };
        let lone = self.lone.get_or_insert(new);
        if lone.at != at || lone.way != way {
            *lone = new;
        } else if let Some(last) = self.last {
            lone.for_ms = Span(lone.for_ms.0.saturating_add(now.since(last).0));
        }
        self.last = Some(now);
        lone.tries = lone.tries.saturating_add(1);
        let is_known = self.known.is_some_and(|(known, at)| {
            known == way && now.since(at) < Span::hours(limits::BLAME_HOURS)
        });
        let (tries, time) = way.patience(is_known, longest_wait, in_a_row);
        // Processes that never live for so long need more tries instead.
        let is_long = lone.for_ms >= time || lone.tries >= tries * limits::LONE_TIMES;
        lone.tries >= tries && is_long
    }

    /// As `failed`, for one that is set aside only after others around it came or were accepted between
    /// its failures: a part of the time is enough.
    pub fn failed_among_others(&mut self, now: Mono, at: K, way: Way, longest_wait: Span) -> bool {
        self.failed(now, at, way, Span(longest_wait.0 / u64::from(limits::LONE_WAITS)), 0)
    }

    /// It is set aside.
    pub fn set_aside(&mut self, now: Mono) {
        self.known = self.lone.take().map(|lone| (lone.way, now)).or(self.known);
        self.last = None;
    }

    /// The service was not seen working, or it did not fail this time: the failures so far show
    /// nothing.
    pub fn acquit(&mut self) {
        (self.lone, self.last) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Span = Span::minutes(5);

    fn at(minute: u64) -> Mono {
        Mono(Span::minutes(minute).as_ms())
    }

    #[test]
    fn one_is_to_blame_after_several_tries_and_some_time() {
        let mut blame = Blame::default();
        for minute in 0..30 {
            assert!(!blame.failed(at(minute), 1, Way::Failed, WAIT, 0), "{minute}");
        }
        assert!(blame.failed(at(30), 1, Way::Failed, WAIT, 0));
        blame.set_aside(at(30));
        for _ in 1..limits::LONE_FAILURES {
            assert!(!blame.failed(at(31), 2, Way::Failed, WAIT, 0), "a few tries are not enough");
        }
        assert!(blame.failed(at(31), 2, Way::Failed, WAIT, 0), "the next like it needs less time");
    }

    #[test]
    fn those_after_which_nothing_was_taken_need_ever_more_time() {
        let mut blame = Blame::default();
        let mut begun = 0;
        for (in_a_row, minutes) in [(0, 30), (1, 60), (2, 120), (3, 240), (4, 480), (5, 480)] {
            for minute in begun..begun + minutes {
                assert!(
                    !blame.failed(at(minute), in_a_row, Way::Failed, WAIT, in_a_row),
                    "{minute}"
                );
            }
            begun += minutes;
            assert!(blame.failed(at(begun), in_a_row, Way::Failed, WAIT, in_a_row), "{begun}");
            blame.set_aside(at(begun));
        }
    }

    #[test]
    fn another_way_and_another_side_that_is_not_alive_begin_anew() {
        let mut blame = Blame::default();
        for minute in 0..29 {
            assert!(!blame.failed(at(minute), 1, Way::Failed, WAIT, 0));
        }
        assert!(!blame.failed(at(29), 1, Way::Refused, WAIT, 0));
        for minute in 30..60 {
            assert!(!blame.failed(at(minute), 1, Way::Failed, WAIT, 0), "{minute}");
        }
        for minute in 60..200 {
            blame.acquit();
            assert!(!blame.failed(at(minute), 1, Way::Failed, WAIT, 0), "{minute}");
        }
    }

    #[test]
    fn who_answers_in_the_sinks_place_does_not_refuse_the_record() {
        let words = || "HTTP 200: <html>".to_owned();
        assert_eq!(Way::of_sink(&SinkVerdict::Misdirected(words())), Way::Failed);
        assert_eq!(Way::of_sink(&SinkVerdict::Malformed(words())), Way::Refused);
    }

    #[test]
    fn among_others_that_come_one_wait_is_enough() {
        let mut blame = Blame::default();
        for minute in 0..5 {
            assert!(!blame.failed_among_others(at(minute), 1, Way::Failed, WAIT), "{minute}");
        }
        (0..2).for_each(|_| {
            assert!(!blame.failed_among_others(at(5), 1, Way::Failed, WAIT), "too few tries");
        });
        assert!(blame.failed_among_others(at(5), 1, Way::Failed, WAIT));
    }

    /// How many failures at one moment it takes until one is to blame, if it ever is.
    fn tries_at_once(blame: &mut Blame<u32>, now: Mono, at: u32, way: Way) -> Option<u32> {
        (1..100).find(|_| blame.failed(now, at, way, WAIT, 0))
    }

    #[test]
    fn without_any_time_many_more_failures_are_needed() {
        let most = Some(limits::LONE_FAILURES * limits::LONE_TIMES);
        assert_eq!(tries_at_once(&mut Blame::default(), at(0), 1, Way::Failed), most);
    }

    #[test]
    fn what_one_to_blame_has_shown_is_good_for_that_way_and_for_a_day() {
        let (few, many) = (limits::LONE_FAILURES, limits::LONE_FAILURES * limits::LONE_TIMES);
        let day = limits::BLAME_HOURS * 60;
        for (way, minute, tries) in [
            (Way::Failed, day - 1, few),
            (Way::Failed, day, many),
            // The time since the one before it is not its own.
            (Way::Refused, day - 1, many),
        ] {
            let mut blame = Blame::default();
            tries_at_once(&mut blame, at(0), 1, way);
            blame.set_aside(at(0));
            let next = tries_at_once(&mut blame, at(minute), 2, Way::Failed);
            assert_eq!(next, Some(tries), "{way:?}, {minute}");
        }
    }

    #[test]
    fn a_page_that_is_too_long_is_so_each_time() {
        let too_long = SourceTrouble::TooLong(crate::record::Unread::default());
        assert_eq!(Way::of_source(&too_long), Way::Refused);
        assert_eq!(Way::of_source(&SourceTrouble::BrokenAnswer("500".into())), Way::Failed);
    }

    #[test]
    fn one_that_is_refused_is_to_blame_after_a_few_refusals() {
        let mut blame = Blame::default();
        for _ in 1..limits::LONE_REFUSALS {
            assert!(!blame.failed(at(0), 1, Way::Refused, WAIT, 0));
        }
        assert!(blame.failed(at(0), 1, Way::Refused, WAIT, 0));
    }
}
