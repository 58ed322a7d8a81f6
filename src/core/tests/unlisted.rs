//! Seconds whose list fails: what is told of the row in them, and when they are requested again.

use super::*;

const WAIT: Span = Span::minutes(5);

fn at(seconds: u64) -> Stamp {
    Stamp::from_seconds(1_800_000_000 + seconds as i64)
}

fn minutes(minutes: u64) -> Mono {
    Mono(Span::minutes(minutes).as_ms())
}

fn range(second: u64) -> Unlistable {
    let unread = Unread::default();
    Unlistable { from: at(second), to: at(second + 1), excess: 1, unread }
}

#[test]
fn what_a_failure_tells_is_told_of_that_second_only_and_the_next_one_needs_less_time() {
    let told = Unread { id: Some(60), bytes_min: None };
    let says_more = SourceTrouble::BrokenPage { why: "half of a record".into(), unread: told };
    let says_nothing = SourceTrouble::BrokenAnswer("HTTP 500".into());
    let mut unlisted = Unlisted::default();
    let failed = |unlisted: &mut Unlisted, minute, second, trouble| {
        unlisted.failed(minutes(minute), at(second), trouble, WAIT)
    };
    // Another second fails in between, so this is no failure again and again.
    assert_eq!(failed(&mut unlisted, 0, 1, &says_more), None);
    assert_eq!(failed(&mut unlisted, 0, 2, &says_more), None);
    let to_blame = (0..60).find_map(|minute| {
        let unread = failed(&mut unlisted, minute, 1, &says_nothing)?;
        Some((minute, unread))
    });
    assert_eq!(to_blame, Some((30, Unread::default())), "that was the row of another second");
    unlisted.acquit();
    failed(&mut unlisted, 0, 1, &says_more);
    let to_blame = (1..60).find_map(|minute| failed(&mut unlisted, minute, 1, &says_nothing));
    assert_eq!(to_blame, Some(told), "also if a later failure tells nothing");
    unlisted.set_aside(minutes(60), range(1));
    let tries = (1..99).find(|_| failed(&mut unlisted, 60, 3, &says_nothing).is_some());
    assert_eq!(tries, Some(limits::LONE_FAILURES));
}

#[test]
fn what_is_set_aside_is_requested_again_after_a_day_and_the_earliest_are_forgotten_beyond_a_number()
{
    let most = limits::RECONCILE_SETTLED_MAX;
    for more in 0..3 {
        let mut unlisted = Unlisted::default();
        let all = most + more;
        (0..all as u64).for_each(|second| unlisted.set_aside(minutes(0), range(second)));
        let day = 60 * limits::UNLISTED_AGAIN_HOURS;
        assert_eq!(unlisted.take_due(minutes(day - 1)), []);
        let mut due = vec![];
        loop {
            let now = unlisted.take_due(minutes(day));
            if now.is_empty() {
                break;
            }
            assert!(now.len() <= limits::UNLISTED_AT_ONCE);
            due.extend(now.into_iter().map(|range| range.from));
        }
        let kept: Vec<Stamp> = (more as u64..all as u64).map(at).collect();
        assert_eq!(due, kept);
    }
}
