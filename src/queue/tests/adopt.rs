//! What becomes of positions when names and addresses change: on the real disk and in memory, with a
//! lost index, and with the power cut or the process killed at every operation.

use super::adopt::{AdoptError, Claim, SaidBy};
use super::disk::Disk;
use super::mem::{Fault, MemDisk};
use super::testing::*;
use super::{MemQueue, Queue, QueueError};
use crate::prng::Prng;
use crate::record::{
    Gap, GapReason, Hold, Kind, Learned, Opened, Orphan, Progress, StreamLearned, StreamName,
};
use crate::time::{Mono, Stamp};

const NOW: Mono = Mono(1);
pub(super) const TENANT: &str = "https://one.sentinelone.net";
const OTHER: &str = "https://two.sentinelone.net";

/// What an integration `old` has collected: 40 threats that wait, in frames of 7.
fn collected() -> Progress {
    progress(39, 20)
}

pub(super) fn old() -> StreamName {
    StreamName::polled("old", Kind::Threats)
}

pub(super) fn claim(name: &str, name_was: Option<&str>, tenant: &str) -> Claim {
    let name_was = name_was.map(str::to_owned);
    Claim { name: name.to_owned(), name_was, tenant: tenant.to_owned() }
}

fn numbers_of(range: std::ops::Range<u64>) -> Vec<u64> {
    range.collect()
}

/// Takes records of a stream in; those at or after `from` are known.
fn take<G: Fixture>(
    queue: &mut Queue<G::D>,
    name: &StreamName,
    range: std::ops::Range<u64>,
    from: u64,
) {
    let numbers = numbers_of(range);
    let last = *numbers.last().unwrap();
    let known: Vec<_> = numbers.iter().filter(|n| **n >= from).map(|n| key(*n)).collect();
    queue.append(name, &page(name, &numbers, 7), progress(last, from), &known).unwrap();
}

/// A queue that collected as `old`, closed. The ground's own config names only acme's streams.
pub(super) fn lived<G: Fixture>(fixture: &G) {
    let (mut queue, ..) = fixture.open();
    queue.claim(&[claim("old", None, TENANT)]).unwrap();
    take::<G>(&mut queue, &old(), 0..40, 20);
    queue.close(NOW);
}

pub(super) fn claimed<G: Fixture>(
    fixture: &G,
    claims: &[Claim],
) -> (Queue<G::D>, Opened, Vec<&'static str>) {
    let (mut queue, ..) = fixture.open();
    let (opened, findings) = queue.claim(claims).unwrap();
    let reasons = findings.iter().map(|finding| finding.reason).collect();
    (queue, opened, reasons)
}

fn drain<G: Fixture>(queue: &mut Queue<G::D>) -> Vec<u64> {
    let mut drained = Vec::new();
    while let Some(peeked) = queue.peek(ALL).unwrap() {
        drained.extend(all_numbers(&peeked).iter().map(|(_, n)| *n));
        queue.ack(peeked.sent.end, NOW).unwrap();
    }
    drained
}

fn gaps_of<G: Fixture>(queue: &Queue<G::D>) -> Vec<(String, GapReason, i64, i64, bool)> {
    let what = |gap: Gap| (gap.stream.to_string(), gap.reason, gap.from.0, gap.to.0, gap.closed);
    queue.gaps().into_iter().map(what).collect()
}

fn a_position_that_no_stream_has_is_told<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (queue, opened, reasons) = claimed(fixture, &[claim("acme", None, TENANT)]);
    assert_eq!(reasons, ["stream-orphaned"]);
    assert_eq!(opened.streams[0].progress, None);
    let orphan = Orphan { name: old(), position: Stamp(39), tenant: Some(TENANT.to_owned()) };
    assert_eq!(queue.orphans(), [orphan]);
}

fn what_was_called_otherwise_goes_on<G: Fixture>(fixture: &G) {
    lived(fixture);
    let claims = [claim("acme", Some("old"), TENANT)];
    let (queue, opened, reasons) = claimed(fixture, &claims);
    assert_eq!(reasons, ["stream-adopted"]);
    assert_eq!(opened.streams[0].progress, Some(collected()));
    assert_eq!(opened.streams[0].known, (20..40).map(key).collect::<Vec<_>>());
    assert_eq!((queue.orphans(), opened.streams[0].hold.clone()), (vec![], None));
    drop(queue);
    // Said again it changes nothing, and what was queued is delivered as it is.
    let (mut queue, again, reasons) = claimed(fixture, &claims);
    assert_eq!((again.streams, reasons), (opened.streams, vec![]));
    assert_eq!(drain::<G>(&mut queue), numbers_of(0..40));
    queue.close(NOW);
    let (queue, ..) = claimed(fixture, &claims);
    let row = &queue.streams.find(&threats()).unwrap().row;
    assert_eq!((row.progress, row.delivered), (Some(collected()), Some(collected())));
}

fn a_name_that_nothing_is_known_of_is_no_trouble<G: Fixture>(fixture: &G) {
    let (_, opened, reasons) = claimed(fixture, &[claim("acme", Some("never"), TENANT)]);
    assert_eq!((opened.streams[0].progress, reasons), (None, vec![]));
}

fn a_lost_index_knows_the_new_name<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (queue, ..) = claimed(fixture, &[claim("acme", Some("old"), TENANT)]);
    drop(queue);
    fixture.lose_index();
    let (mut queue, opened, _) = claimed(fixture, &[claim("acme", None, TENANT)]);
    assert_eq!(opened.streams[0].progress, Some(collected()), "by the log, under its old name");
    assert_eq!(opened.streams[0].known, (20..40).map(key).collect::<Vec<_>>());
    assert_eq!(queue.orphans(), []);
    assert_eq!(queue.tenant_of("acme"), Some(TENANT));
    assert_eq!(drain::<G>(&mut queue), numbers_of(0..40));
}

fn a_later_beginning_is_a_gap_with_the_first_position<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (mut queue, ..) = claimed(fixture, &[claim("acme", None, TENANT)]);
    queue.append(&threats(), &[], progress(100, 100), &[]).unwrap();
    queue.append(&activities(), &[], progress(100, 100), &[]).unwrap();
    let gap = ("acme/threats".to_owned(), GapReason::ConfigChanged, 39, 100, false);
    assert_eq!(gaps_of::<G>(&queue), std::slice::from_ref(&gap), "no orphan of that kind, no gap");
    queue.append(&threats(), &[], progress(200, 200), &[]).unwrap();
    drop(queue);
    let (queue, ..) = claimed(fixture, &[claim("acme", None, TENANT)]);
    assert_eq!(gaps_of::<G>(&queue), [gap]);
}

/// Cut at each operation of the first page of a stream that begins later than another was collected to.
#[test]
fn a_first_page_that_is_adopted_brings_its_gap() {
    let (mut adopted, mut stored) = (0, 0);
    for n in 1..40 {
        let disk = MemDisk::new(128 << 20);
        lived(&disk);
        let (mut queue, ..) = claimed(&disk, &[claim("acme", None, TENANT)]);
        disk.fail_after(n, Fault::PowerOff);
        let _ = queue.append(&threats(), &page(&threats(), &[100], 1), progress(100, 90), &[]);
        drop(queue);
        disk.kill();
        let (queue, opened, found) = disk.open();
        assert_eq!(opened.streams[0].progress.is_some(), queue.gaps().len() == 1, "operation {n}");
        adopted += u32::from(found.contains(&"page-adopted"));
        stored += u32::from(queue.gaps().len() == 1);
    }
    assert!(adopted > 0 && stored > adopted, "{adopted} {stored}: it lost its teeth");
}

fn an_earlier_beginning_or_another_tenant_is_no_gap<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (mut queue, ..) = claimed(fixture, &[claim("acme", None, OTHER)]);
    queue.append(&threats(), &[], progress(100, 100), &[]).unwrap();
    assert_eq!(gaps_of::<G>(&queue), []);
    queue.begin_anew("acme", Some(TENANT)).unwrap();
    let before = queue.gaps().len();
    queue.append(&threats(), &[], progress(39, 39), &[]).unwrap();
    assert_eq!(queue.gaps().len(), before, "it begins where the orphan ended");
}

/// The way most people come to it: the new name has begun before name_was is written.
fn a_name_that_has_begun_goes_back_and_its_gap_is_closed<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (mut queue, ..) = claimed(fixture, &[claim("acme", None, TENANT)]);
    queue.append(&threats(), &[], progress(100, 100), &[]).unwrap();
    take::<G>(&mut queue, &threats(), 100..130, 110);
    queue.close(NOW);
    let (mut queue, opened, _) = claimed(fixture, &[claim("acme", Some("old"), TENANT)]);
    assert_eq!(opened.streams[0].progress, Some(collected()), "the earlier position counts");
    let known: Vec<_> = (20..40).chain(110..130).map(key).collect();
    assert_eq!(opened.streams[0].known, known, "what is known of both stays known");
    let gap = ("acme/threats".to_owned(), GapReason::ConfigChanged, 39, 100, true);
    assert_eq!(gaps_of::<G>(&queue), [gap]);
    assert_eq!(opened.held.unreported, 1, "that it is closed is told");
    assert_eq!(opened.held.records, 70);
    assert_eq!(drain::<G>(&mut queue), (0..40).chain(100..130).collect::<Vec<_>>());
    drop(queue);
    let (_, opened, reasons) = claimed(fixture, &[claim("acme", None, TENANT)]);
    assert_eq!((opened.streams[0].progress, reasons), (Some(collected()), vec![]));
}

fn a_lost_index_does_not_undo_that_a_name_went_back<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (mut queue, ..) = claimed(fixture, &[claim("acme", None, TENANT)]);
    take::<G>(&mut queue, &threats(), 100..130, 110);
    drop(queue);
    let (queue, ..) = claimed(fixture, &[claim("acme", Some("old"), TENANT)]);
    drop(queue);
    fixture.lose_index();
    let (mut queue, opened, _) = claimed(fixture, &[claim("acme", None, TENANT)]);
    assert_eq!(opened.streams[0].progress, Some(collected()));
    let known: Vec<_> = (20..40).chain(100..130).map(key).collect();
    assert_eq!(opened.streams[0].known, known, "what waits of it is not polled again");
    assert_eq!(drain::<G>(&mut queue).len(), 70);
}

fn a_damaged_frame_of_the_old_name_sets_the_new_one_back<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (mut queue, ..) = claimed(fixture, &[claim("acme", Some("old"), TENANT)]);
    let seq = queue.peek(ALL).unwrap().unwrap().seqs[2];
    let opened = queue.quarantine(seq, "a test").unwrap();
    assert_eq!(opened.streams[0].progress, Some(progress(14, 14)));
}

fn another_address_holds_the_streams_until_a_person_has_spoken<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (queue, ..) = claimed(fixture, &[claim("acme", Some("old"), TENANT)]);
    queue.close(NOW);
    let moved = [claim("acme", None, OTHER)];
    let (was, now) = (TENANT.to_owned(), OTHER.to_owned());
    let hold = Hold::TenantChanged { was, now, other: None };
    for _ in 0..2 {
        let (mut queue, opened, _) = claimed(fixture, &moved);
        let holds: Vec<_> = opened.streams.iter().map(|stream| stream.hold.clone()).collect();
        assert_eq!(holds, [Some(hold.clone()), Some(hold.clone())]);
        assert_eq!(opened.streams[0].progress, Some(collected()));
        let (opened, _) = queue.reopen().unwrap();
        assert_eq!(opened.streams[0].hold, Some(hold.clone()), "also after a mend");
    }
    let (mut queue, ..) = fixture.open();
    queue.confirm_tenant("acme", OTHER).unwrap();
    queue.close(NOW);
    let (_, opened, _) = claimed(fixture, &moved);
    assert_eq!((opened.streams[0].progress, &opened.streams[0].hold), (Some(collected()), &None));
}

fn swapped_addresses_are_told_apart_from_a_new_one<G: Fixture>(fixture: &G) {
    let claims = |acme: &str, other: &str| [claim("acme", None, acme), claim("other", None, other)];
    let (mut queue, ..) = claimed(fixture, &claims(TENANT, OTHER));
    take::<G>(&mut queue, &threats(), 0..5, 0);
    queue.close(NOW);
    let third = "https://three.sentinelone.net";
    for (now, wanted) in [(OTHER, Some("other")), (third, None)] {
        let address = if wanted.is_some() { TENANT } else { OTHER };
        let (queue, opened, _) = claimed(fixture, &claims(now, address));
        let Some(Hold::TenantChanged { other, .. }) = &opened.streams[0].hold else { panic!() };
        assert_eq!(other.as_deref(), wanted);
        queue.close(NOW);
    }
}

fn an_address_without_a_position_is_learned<G: Fixture>(fixture: &G) {
    for tenant in [TENANT, OTHER] {
        let (queue, opened, _) = claimed(fixture, &[claim("acme", None, tenant)]);
        assert_eq!(queue.tenant_of("acme"), Some(tenant));
        assert_eq!(opened.streams[0].hold, None);
        queue.close(NOW);
    }
}

fn what_begins_anew_leaves_a_gap_and_its_records_are_delivered<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (queue, ..) = claimed(fixture, &[claim("acme", Some("old"), TENANT)]);
    queue.close(NOW);
    let (mut queue, ..) = fixture.open();
    let forgotten = queue.begin_anew("acme", Some(OTHER)).unwrap();
    assert_eq!(forgotten, [(threats(), Stamp(39))]);
    assert_eq!(queue.begin_anew("acme", Some(OTHER)).unwrap(), []);
    let unknown = Stamp::UNREADABLE.0;
    let gap = ("acme/threats".to_owned(), GapReason::ConfigChanged, 39, unknown, false);
    for lost in [false, true] {
        if lost {
            fixture.lose_index();
        }
        drop(queue);
        let opened;
        (queue, opened, _) = claimed(fixture, &[claim("acme", None, OTHER)]);
        let stream = &opened.streams[0];
        assert_eq!((stream.progress, &stream.hold), (None, &None), "{lost}");
        assert_eq!(gaps_of::<G>(&queue), std::slice::from_ref(&gap), "{lost}");
        assert_eq!(opened.held.records, 40, "{lost}");
    }
    assert_eq!(drain::<G>(&mut queue), numbers_of(0..40));
}

fn an_orphan_can_be_forgotten<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (mut queue, ..) = fixture.open();
    assert_eq!(queue.begin_anew("old", None).unwrap(), [(old(), Stamp(39))]);
    queue.close(NOW);
    let (queue, _, reasons) = claimed(fixture, &[claim("acme", None, TENANT)]);
    assert_eq!((queue.orphans(), reasons), (vec![], vec![]));
    assert_eq!(queue.tenant_of("old"), None, "nothing in the queue is its any more");
}

fn two_addresses_are_one_tenant_only_where_a_person_says_so<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (mut queue, ..) = claimed(fixture, &[claim("acme", None, OTHER)]);
    take::<G>(&mut queue, &threats(), 100..110, 100);
    let differ = AdoptError::OtherTenant { was: TENANT.to_owned(), now: OTHER.to_owned() };
    assert_eq!(queue.adopt_streams("old", "acme", SaidBy::Config), Err(differ));
    let (opened, findings) = queue.claim(&[claim("acme", Some("old"), OTHER)]).unwrap();
    let reasons: Vec<_> = findings.iter().map(|finding| finding.reason).collect();
    assert_eq!(reasons, ["stream-not-adopted", "stream-orphaned"]);
    let told = &findings[1].text;
    assert!(
        told.contains("S1C-E223 says what to do") && !told.contains("write name_was"),
        "{told}"
    );
    assert_eq!(opened.streams[0].progress, Some(progress(109, 100)));
    assert_eq!(queue.adopt_streams("old", "acme", SaidBy::Person).unwrap().len(), 1);
    let (opened, _) = queue.claim(&[claim("acme", None, OTHER)]).unwrap();
    assert_eq!((opened.streams[0].progress, &opened.streams[0].hold), (Some(collected()), &None));
}

fn a_stream_that_comes_back_goes_on_whatever_start_says<G: Fixture>(fixture: &G) {
    let (mut queue, ..) = claimed(fixture, &[claim("acme", None, TENANT)]);
    take::<G>(&mut queue, &threats(), 0..40, 20);
    queue.close(NOW);
    // While it is not in the config it is an orphan; nothing of it is forgotten.
    let limits = super::QueueLimits { max_size_bytes: 64 << 20, min_free_bytes: 1 << 20 };
    let (mut queue, ..) = Queue::open(fixture.disk(), settings(limits, &[activities()])).unwrap();
    let (_, findings) = queue.claim(&[claim("acme", None, TENANT)]).unwrap();
    assert_eq!(findings[0].reason, "stream-orphaned");
    queue.close(NOW);
    let (_, opened, _) = claimed(fixture, &[claim("acme", None, TENANT)]);
    assert_eq!(opened.streams[0].progress, Some(collected()));
    assert_eq!(opened.streams[0].known.len(), 20);
}

fn only_the_streams_of_the_name_are_adopted<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (mut queue, ..) = claimed(fixture, &[claim("acme", None, TENANT)]);
    let elder = StreamName::polled("elder", Kind::Threats);
    queue.append(&elder, &[], progress(5, 5), &[]).unwrap();
    assert_eq!(queue.adopt_streams("acme", "acme", SaidBy::Person).unwrap(), []);
    let adopted = queue.adopt_streams("old", "acme", SaidBy::Person).unwrap();
    assert_eq!(adopted.iter().map(|one| &one.was).collect::<Vec<_>>(), [&old()]);
    let orphans: Vec<_> = queue.orphans().into_iter().map(|orphan| orphan.name).collect();
    assert_eq!(orphans, [elder]);
}

/// The name in use is the one that is further behind, in its position and in what is delivered.
fn a_name_that_is_behind_stays_where_it_is<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (mut queue, ..) = claimed(fixture, &[claim("acme", None, TENANT)]);
    drain::<G>(&mut queue);
    take::<G>(&mut queue, &threats(), 5..10, 6);
    queue.adopt_streams("old", "acme", SaidBy::Person).unwrap();
    let is_behind = |queue: &Queue<G::D>| {
        let row = &queue.streams.find(&threats()).unwrap().row;
        assert_eq!(row.progress, Some(progress(9, 6)));
        assert_eq!(row.delivered, Some(progress(5, 5)), "nothing of it was delivered yet");
    };
    is_behind(&queue);
    drop(queue);
    is_behind(&fixture.open().0);
}

/// Another machine goes on from the position that two clocks confirmed, and so does another name.
fn a_position_that_clocks_did_not_confirm_is_not_adopted<G: Fixture>(fixture: &G) {
    let (mut queue, ..) = Queue::open(fixture.disk(), settings(LIMITS, &[old()])).unwrap();
    take::<G>(&mut queue, &old(), 0..40, 20);
    let confirmed = StreamLearned {
        confirmed: Some(Stamp(30)),
        confirmed_from: Some(Stamp(15)),
        ..StreamLearned::default()
    };
    queue.learn(&Learned { streams: vec![confirmed], ..Learned::default() }, None);
    queue.close(NOW);
    let (mut queue, ..) = fixture.open();
    // What was learned of a stream stays while nobody claims it.
    queue
        .learn(&Learned { streams: vec![StreamLearned::default(); 2], ..Learned::default() }, None);
    let adopted = queue.adopt_streams("old", "acme", SaidBy::Person).unwrap();
    assert_eq!(adopted[0].position, Stamp(30));
    let row = &queue.streams.find(&threats()).unwrap().row;
    assert_eq!(row.progress, Some(progress(30, 15)));
}

/// The number of the stream that is no more is given to another stream, which knows no ids.
fn nothing_of_an_absorbed_stream_is_taken_for_another_ones<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (mut queue, ..) = claimed(fixture, &[claim("acme", None, TENANT)]);
    queue.tally(&threats(), 100);
    let created: Vec<_> = (100..130).map(key).collect();
    queue.append_tallied(&threats(), &[], progress(129, 100), &created, &created).unwrap();
    queue.adopt_streams("old", "acme", SaidBy::Person).unwrap();
    drop(queue);
    let (mut queue, ..) = fixture.open();
    queue.append(&activities(), &[], progress(7, 7), &[]).unwrap();
    drop(queue);
    let (queue, opened, findings) = fixture.open();
    assert_eq!((opened.streams[1].known.len(), findings), (0, vec![]));
    assert!(queue.streams.find(&activities()).unwrap().tally.is_empty());
    assert_eq!(opened.streams[0].known.len(), 20 + 30, "both are known of the one that is left");
}

fn a_hold_ends_when_the_config_is_put_right<G: Fixture>(fixture: &G) {
    let right = [claim("acme", None, TENANT)];
    let (mut queue, ..) = claimed(fixture, &right);
    take::<G>(&mut queue, &threats(), 0..5, 0);
    let (opened, _) = queue.claim(&[claim("acme", None, OTHER)]).unwrap();
    assert!(opened.streams[0].hold.is_some());
    let (opened, _) = queue.claim(&right).unwrap();
    assert_eq!(opened.streams[0].hold, None);
}

on_both!(
    only_the_streams_of_the_name_are_adopted,
    a_name_that_is_behind_stays_where_it_is,
    a_position_that_clocks_did_not_confirm_is_not_adopted,
    nothing_of_an_absorbed_stream_is_taken_for_another_ones,
    a_hold_ends_when_the_config_is_put_right,
    a_position_that_no_stream_has_is_told,
    what_was_called_otherwise_goes_on,
    a_name_that_nothing_is_known_of_is_no_trouble,
    a_lost_index_knows_the_new_name,
    a_later_beginning_is_a_gap_with_the_first_position,
    an_earlier_beginning_or_another_tenant_is_no_gap,
    a_name_that_has_begun_goes_back_and_its_gap_is_closed,
    a_lost_index_does_not_undo_that_a_name_went_back,
    a_damaged_frame_of_the_old_name_sets_the_new_one_back,
    another_address_holds_the_streams_until_a_person_has_spoken,
    swapped_addresses_are_told_apart_from_a_new_one,
    an_address_without_a_position_is_learned,
    what_begins_anew_leaves_a_gap_and_its_records_are_delivered,
    an_orphan_can_be_forgotten,
    two_addresses_are_one_tenant_only_where_a_person_says_so,
    a_stream_that_comes_back_goes_on_whatever_start_says,
);

/// Everything a change of names does, one after the other: a name that has begun, then adopted, then
/// begun anew for another tenant.
fn changes(queue: &mut MemQueue) -> Result<(), QueueError> {
    queue.claim(&[claim("acme", Some("old"), TENANT)])?;
    queue.begin_anew("acme", Some(OTHER))?;
    queue.append(&threats(), &[], progress(500, 500), &[])?;
    Ok(())
}

/// A queue whose new name has begun, and whose old one is still there.
fn begun() -> MemDisk {
    let disk = MemDisk::new(128 << 20);
    lived(&disk);
    let (mut queue, ..) = claimed(&disk, &[claim("acme", None, TENANT)]);
    queue.append(&threats(), &[], progress(100, 100), &[]).unwrap();
    take::<MemDisk>(&mut queue, &threats(), 100..130, 110);
    queue.close(NOW);
    disk
}

/// Whatever the fault, a record is either at or behind the position, so that it is polled again, or it
/// waits or was delivered; and what is passed over is a gap.
fn holds_together(queue: &mut MemQueue, opened: &Opened, told: &str) {
    let stream = &opened.streams[0];
    let position = stream.progress.map(|progress| progress.position.0);
    let orphan = queue.orphans().first().map(|orphan| orphan.position.0);
    let gaps = gaps_of::<MemDisk>(queue);
    let open = |from: i64| gaps.iter().any(|gap| gap.2 == from && !gap.4);
    match (orphan, position) {
        // Not adopted yet: what lies between is noted, and name_was can still be followed.
        (Some(39), Some(129)) => assert!(open(39), "{told}: {gaps:?}"),
        // Adopted, and the gap is none any more.
        (None, Some(39)) => assert!(!open(39), "{told}: {gaps:?}"),
        // Begun anew.
        (None, None | Some(500)) => assert!(open(39), "{told}: {gaps:?}"),
        other => panic!("{told}: {other:?} {gaps:?}"),
    }
    let mut waiting = drain::<MemDisk>(queue);
    waiting.sort_unstable();
    assert_eq!(waiting, (0..40).chain(100..130).collect::<Vec<_>>(), "{told}");
}

#[test]
fn a_fault_at_any_operation_leaves_it_undone_or_done_and_it_can_be_done_again() {
    let counted = begun();
    let (mut queue, ..) = counted.open();
    let before = counted.operations();
    changes(&mut queue).unwrap();
    let operations = counted.operations() - before;
    assert!(operations > 20, "{operations}");
    let mut seen = std::collections::BTreeSet::new();
    for n in 1..=operations {
        for is_killed in [false, true] {
            let told = format!("operation {n}, killed: {is_killed}");
            let disk = begun();
            let (mut queue, ..) = disk.open();
            disk.fail_after(n, Fault::PowerOff);
            let _ = changes(&mut queue);
            drop(queue);
            match is_killed {
                true => disk.kill(),
                false => disk.power_cut(&mut Prng::new(n)),
            }
            let (mut queue, opened, _) = disk.open();
            seen.insert(opened.streams[0].progress.map(|progress| progress.position.0));
            holds_together(&mut queue, &opened, &told);
            drop(queue);
            // Done again, it is done.
            let (mut queue, ..) = disk.open();
            changes(&mut queue).unwrap_or_else(|why| panic!("{told}: {why}"));
            assert_eq!(queue.orphans(), [], "{told}");
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [None, Some(39), Some(129), Some(500)]);
}

#[test]
fn a_queue_of_a_program_that_knew_no_addresses_learns_them() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    take::<MemDisk>(&mut queue, &threats(), 0..40, 20);
    queue.close(NOW);
    let (queue, opened, reasons) = claimed(&disk, &[claim("acme", None, TENANT)]);
    assert_eq!((reasons, opened.streams[0].hold.clone()), (vec![], None));
    drop(queue);
    let (_, opened, _) = claimed(&disk, &[claim("acme", None, OTHER)]);
    assert!(opened.streams[0].hold.is_some());
}

/// With the index lost, only the checkpoint tells what a person or the config has said.
#[test]
fn what_was_said_of_a_name_is_in_the_checkpoint_at_once() {
    type Say = fn(&mut MemQueue);
    let says: [(&str, Say); 5] = [
        ("adopt", |queue| drop(queue.adopt_streams("old", "acme", SaidBy::Person).unwrap())),
        ("confirm", |queue| queue.confirm_tenant("old", OTHER).unwrap()),
        ("begin anew", |queue| drop(queue.begin_anew("old", None).unwrap())),
        ("begin anew elsewhere", |queue| drop(queue.begin_anew("old", Some(OTHER)).unwrap())),
        ("claim", |queue| drop(queue.claim(&[claim("acme", None, OTHER)]).unwrap())),
    ];
    for (what, say) in says {
        let disk = MemDisk::new(128 << 20);
        lived(&disk);
        let (mut queue, ..) = disk.open();
        queue.write_checkpoint(NOW);
        let written = || disk.clone().read("checkpoint", 0, 1 << 20).unwrap();
        let before = written();
        say(&mut queue);
        let after = written();
        queue.write_checkpoint(NOW);
        assert!(after != before && after == written(), "{what}");
    }
}

/// A gap that is not a config's, of another stream, or without an end is not closed by a stream that goes
/// back before it.
#[test]
fn only_the_gap_that_a_later_beginning_left_is_closed() {
    let disk = MemDisk::new(128 << 20);
    lived(&disk);
    let (mut queue, ..) = claimed(&disk, &[claim("acme", None, TENANT)]);
    queue.append(&threats(), &[], progress(100, 100), &[]).unwrap();
    let gap = |stream: &StreamName, from: i64, to: Stamp, reason| {
        Gap::open(stream, Stamp(from), to, reason)
    };
    let config = GapReason::ConfigChanged;
    let mut batch = super::index::Batch::default();
    for one in [
        gap(&threats(), 60, Stamp(70), GapReason::Retention),
        gap(&activities(), 60, Stamp(70), config),
        gap(&threats(), 60, Stamp::UNREADABLE, config),
        gap(&threats(), 38, Stamp(70), config),
    ] {
        queue.gap_log.note(one, &mut batch);
    }
    queue.adopt_streams("old", "acme", SaidBy::Person).unwrap();
    let closed: Vec<bool> = queue.gaps().iter().map(|gap| gap.closed).collect();
    assert_eq!(closed, [true, false, false, false, false]);
}

/// A gap that was reported under its old name stays as it was reported.
#[test]
fn only_what_was_not_reported_yet_is_reported_under_the_new_name() {
    let disk = MemDisk::new(128 << 20);
    lived(&disk);
    let (mut queue, ..) = disk.open();
    let mut batch = super::index::Batch::default();
    let other = StreamName::polled("elder", Kind::Threats);
    for (stream, from) in [(old(), 1), (old(), 5), (other.clone(), 7)] {
        let gap = Gap::open(&stream, Stamp(from), Stamp(from + 1), GapReason::Retention);
        queue.gap_log.note(gap, &mut batch);
    }
    queue.gap_log.mark_reported(crate::record::Seq(1), &[1], &mut batch);
    queue.adopt_streams("old", "acme", SaidBy::Person).unwrap();
    let streams: Vec<StreamName> = queue.gaps().into_iter().map(|gap| gap.stream).collect();
    assert_eq!(streams, [old(), threats(), other]);
    assert_eq!(queue.held().unreported, 2);
}

/// More addresses than one commit takes are learned in several.
#[test]
fn the_addresses_of_any_number_of_integrations_are_learned() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    let claims: Vec<Claim> = (0..400)
        .map(|n| claim(&format!("of-{n}"), None, &format!("{n}{}", "a".repeat(500))))
        .collect();
    queue.claim(&claims).unwrap();
    drop(queue);
    let (queue, ..) = disk.open();
    assert!(claims.iter().all(|claim| queue.tenant_of(&claim.name) == Some(&claim.tenant)));
}

/// A stream that begins elsewhere, or stands for two, has not collected what one of them had.
#[test]
fn what_was_collected_ahead_is_not_taken_over() {
    for is_adopted in [true, false] {
        let disk = MemDisk::new(128 << 20);
        lived(&disk);
        let (mut queue, ..) = claimed(&disk, &[claim("acme", None, TENANT)]);
        take::<MemDisk>(&mut queue, &threats(), 100..130, 110);
        let mut batch = super::index::Batch::default();
        for name in [old(), threats()] {
            let stream = queue.streams.named(&name);
            stream.covered.add(Stamp(200), Stamp(300));
            stream.put_covered(queue.gap_log.head.newest, &mut batch);
        }
        queue.commit(&batch).unwrap();
        let covered = |disk: &MemDisk| !disk.copy().open().1.streams[0].covered.is_empty();
        assert!(covered(&disk));
        match is_adopted {
            true => drop(queue.adopt_streams("old", "acme", SaidBy::Person).unwrap()),
            false => drop(queue.begin_anew("acme", None).unwrap()),
        }
        let known = queue.streams.find(&threats()).unwrap();
        assert!(known.covered.is_empty() && !covered(&disk), "adopted: {is_adopted}");
    }
}

/// What another tenant collected says nothing of what this one has.
#[test]
fn a_stream_that_begins_anew_knows_no_record() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.try_open(SMALL).unwrap();
    let keys = [key(1), key(2)];
    queue.append(&threats(), &page(&threats(), &[1, 2], 1), progress(2, 1), &keys).unwrap();
    queue.begin_anew("acme", None).unwrap();
    drop(queue);
    let mut queue = disk.try_open(SMALL).unwrap().0;
    assert_eq!(queue.streams.named(&threats()).known(Stamp::MIN), []);
}

/// A power cut inside a long commit may leave the index empty.
#[test]
fn a_long_tally_is_forgotten_in_several_commits() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.try_open(SMALL).unwrap();
    queue.append(&threats(), &[], progress(2, 1), &[]).unwrap();
    let tally = &mut queue.streams.named(&threats()).tally;
    for number in 0..crate::limits::INDEX_COMMIT_BYTES_MAX as u64 / 16 {
        tally.learn(super::schema::ChunkId { newest: Stamp(1), number }, vec![]);
    }
    // The index in memory refuses a commit that is too long.
    queue.begin_anew("acme", None).unwrap();
}
