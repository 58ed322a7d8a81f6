//! The judge of a life: compares what was published with what was received.
//!
//! Promises: lost, changed, out of order, twice without a reason, too often: each fails the life
//! with its seed.

use std::collections::{BTreeMap, BTreeSet};

use s1_coralogix::record::Kind;
use s1_coralogix::time::Stamp;

use crate::disk;
use crate::lies::Claim;
use crate::tenant::Published;
use crate::watch::stream_of;
use crate::world::{Shared, is_poison};

/// A record was sent ahead of its turn.
pub const SENT_AHEAD: &str = "sent ahead";
/// The question whether there is any older record was not answered three times in a row.
pub const UNANSWERED: &str = "older not answered";
/// Faults that may make duplicates: a lost acknowledgement, a crash, a disk that forgot.
const EXCUSES: [&str; 2] = ["reply lost", "cut"];

pub fn judge(shared: &Shared, retry_max_ms: u64) {
    // A list brings those in the version they have by then, whose place in line is still to come.
    let very_late: BTreeSet<u64> = (shared.tenant.rows.iter())
        .filter(|row| row.is_very_late(shared.tenant.overlap))
        .map(|row| row.id)
        .collect();
    let published: BTreeMap<&str, &Published> =
        (shared.tenant.rows.iter()).map(|row| (row.json.as_str(), row)).collect();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut newest: BTreeMap<Kind, Stamp> = BTreeMap::new();
    let excused = EXCUSES.iter().chain(&disk::MENDED).any(|fault| shared.met.contains_key(fault))
        || shared.lies.told_any(Claim::repeats)
        || is_led_ahead(shared);
    // What a sink dropped comes behind what it kept, if a cut makes the batch wait again.
    // Rows behind one that fails alone are not held up by it, and it may come after all; failures by chance, one
    // after the other, look the same.
    let reordered = shared.lies.told_any(|claim| claim.reorders() || claim.drops())
        // What fails alone comes after it, if it is accepted after all.
        || shared.met.contains_key(SENT_AHEAD)
        || shared.met.contains_key("page not borne")
        || shared.met.contains_key("row by its place")
        || is_led_ahead(shared);
    for received in &shared.sink.received {
        let text = received.text.as_str();
        let Some(row) = published.get(text) else {
            panic!("a record arrived that was never published, or was changed: {text}");
        };
        let (kind, stamp) = (row.kind, row.stamp);
        assert_eq!(received.category, kind.name());
        if !seen.insert(text) {
            assert!(excused, "{text} arrived twice though nothing broke");
            continue;
        }
        let newest = newest.entry(kind).or_insert(Stamp::MIN);
        // What a failing disk lost is polled again and comes after what waited behind it.
        let mended = disk::MENDED.iter().any(|fault| shared.met.contains_key(fault));
        let listed = very_late.contains(&row.id);
        // A threat that changes moves the rows behind it, so one of them is passed over. A page of one row
        // can't show that; the walk is repeated, and brings it after newer ones.
        let moved = kind == Kind::Threats && shared.met.contains_key("page by its place");
        let fine = stamp >= *newest || row.is_late() || listed || mended || reordered || moved;
        assert!(fine, "{kind:?} {stamp} arrived after {newest}");
        // What is dated ahead comes when it is there.
        if !listed && !row.is_ahead() {
            *newest = (*newest).max(stamp);
        }
    }
    for row in shared.tenant.rows.iter().filter(|row| shared.is_wanted(row)) {
        let there = seen.contains(row.json.as_str());
        let poison = is_poison(&row.json, shared.poison_every);
        // Where a lie never ends the watch has seen to it that nobody was told all is well.
        let excused = shared.is_told_missing(row) || shared.lies.last_for_ever();
        assert!(there || poison || excused, "{:?} {} of {} was lost", row.kind, row.id, row.stamp);
        let bad = shared.bears.is_bad(&row.json);
        assert!(!(there && (poison || bad)));
    }
    judge_words(shared, excused);
    let too_old = shared.sink.dropped_for_age;
    // What was under way when the machine stood still is missing unless a gap tells of it.
    let is_told = shared.lies.may_agree() || shared.met.contains_key("pause");
    assert!(too_old == 0 || is_told, "{too_old} records were sent with a stamp too old");
    check_rate(shared, "sink", shared.sent_in_outage, &shared.faults.sink_outage, retry_max_ms);
    check_rate(
        shared,
        "source",
        shared.asked_in_outage,
        &shared.faults.source_outage,
        retry_max_ms,
    );
}

/// Whether a position may have followed a record's wrong stamp where SentinelOne told no time to hold it against:
/// it is set back, and what lay at it is no longer known.
fn is_led_ahead(shared: &Shared) -> bool {
    shared.lies.told_any(Claim::is_mute) && shared.lies.told_any(|claim| claim == Claim::FarAhead)
}

/// Each refused record is a gap that was told, once unless something broke, and once more when it is closed;
/// nothing else is one.
fn judge_words(shared: &Shared, excused: bool) {
    let unreported: Vec<&str> = shared.unreported().collect();
    let excused_unreported = shared.lies.last_for_ever();
    assert!(
        unreported.is_empty() || excused_unreported,
        "nobody was told of the gaps of {unreported:?}"
    );
    let mut told = BTreeSet::new();
    for word in shared.sink.words.iter().filter(|word| word.what == "gap") {
        let is_true = shared.tenant.rows.iter().any(|row| {
            let (stream, unreadable) = (stream_of(row), shared.lies.any(Claim::is_of_records));
            let is_refused = is_poison(&row.json, shared.poison_every)
                && (word.tells_of(&stream, row.stamp) || (unreadable && word.may_tell_of(&stream)));
            let is_bad = shared.bears.is_bad(&row.json);
            let is_by_chance = word.reason == "refused"
                && shared.has_failed_alone(row)
                && word.tells_of(&stream, row.stamp);
            is_refused || is_by_chance || (is_bad && word.passes_over(&stream, row.stamp))
        });
        // A stream that rot has sent back to its beginning can't know what there was in between.
        let went_back = disk::MENDED.iter().any(|fault| shared.met.contains_key(fault));
        // Nor what was damaged came again.
        let is_of_damage = ["retention", "damaged"].contains(&word.reason.as_str());
        let is_doubt = went_back && is_of_damage || shared.is_led_to(&word.reason);
        // Nor where the one record that tells can't be fetched.
        // And failures by chance, three in a row of a run with --once, or more over time, look the same.
        let may_be_unasked = shared.bears.are_rows_bad() || shared.met.contains_key(UNANSWERED);
        let is_unasked = word.reason == "retention" && may_be_unasked;
        assert!(is_true || is_doubt || is_unasked, "a gap that is none: {word:?}");
        assert!(
            told.insert((word.gap, word.closed)) || excused,
            "told twice though nothing broke: {word:?}"
        );
    }
}

/// Into an outage goes one request each half of the longest backoff, on average, and a few more
/// after each boot while the backoff grows. Five lanes ask the source.
fn check_rate(
    shared: &Shared,
    side: &str,
    requests: u64,
    outage: &std::ops::Range<u64>,
    retry_max_ms: u64,
) {
    let lanes = if side == "source" { 5 } else { 1 };
    let steady = (outage.end - outage.start) / (retry_max_ms / 4);
    let allowed = lanes * (steady + 30 * (shared.boots + 1));
    assert!(
        requests <= allowed,
        "{requests} requests into an outage of the {side}, {allowed} at most"
    );
}
