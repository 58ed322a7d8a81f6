//! What lies beside the log of an integration that has another name now.

use std::collections::BTreeSet;

use super::Queue;
use super::adopt_tests::{TENANT, claim, lived, old};
use super::disk::Disk;
use super::mem::MemDisk;
use super::testing::*;
use crate::frame::{self, Frame};
use crate::record::{QueuePosition, Take};

fn a_parked_record_of_the_old_name_comes_back_under_the_new_one<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (mut queue, ..) = fixture.open();
    let first = queue.peek(ALL).unwrap().unwrap().sent.first;
    queue.park(first, Some(&entry(&old(), 0)), "no").unwrap();
    queue.claim(&[claim("acme", Some("old"), TENANT)]).unwrap();
    assert_eq!(queue.gaps()[0].stream, threats(), "it is told under the name in use");
    queue.retry_parked(first).unwrap().unwrap();
    assert_eq!(queue.orphans(), []);
    let held = queue.held();
    assert_eq!((held.records, held.gaps), (40, 0));
}

/// A parked record as its file has it.
fn raw_parked<D: Disk>(queue: &mut Queue<D>, at: QueuePosition) -> Frame {
    let path = format!("parked/{at}.log");
    let bytes = queue.read_beside(&path, at.seq).unwrap().unwrap();
    frame::take(bytes).unwrap().1
}

/// Records of the old name that are rejected or come in doubt, before the name changes and after,
/// and what becomes of them then: all are of the name in use.
fn what_lies_beside_the_log_follows_the_name<G: Fixture>(fixture: &G) {
    lived(fixture);
    let (mut queue, ..) = fixture.open();
    let rename = |queue: &mut Queue<G::D>| {
        queue.claim(&[claim("acme", Some("old"), TENANT)]).unwrap();
    };
    let next = |queue: &mut Queue<G::D>| {
        let take = Take { entries_max: 7, ..ALL };
        queue.peek(take).unwrap().unwrap().sent
    };
    let park = |queue: &mut Queue<G::D>, n| {
        let first = next(queue).first;
        queue.park(first, Some(&entry(&old(), n)), "no").unwrap();
    };
    // Waits in the log: 0 to 39, in frames of 7.
    park(&mut queue, 0);
    let end = next(&mut queue).end;
    queue.doubt(end, "1 was not accepted").unwrap();
    let (sent, progress) = (page(&old(), &[40, 41], 7), progress(41, 20));
    queue.doubt_page(&old(), &sent, (progress, &[key(40), key(41)], &[]), "1 more").unwrap();
    rename(&mut queue);
    let first = next(&mut queue).first;
    park(&mut queue, first.skip.into());
    let end = next(&mut queue).end;
    queue.doubt(end, "another was not accepted").unwrap();
    let names = |queue: &Queue<G::D>| {
        queue.gaps().into_iter().map(|gap| gap.stream).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&queue), [threats()].into());

    // Another box takes all of it over under the name in use.
    let parked = queue.parked().unwrap();
    let parked: Vec<_> =
        parked.into_iter().map(|at| (at.seq, raw_parked(&mut queue, at))).collect();
    let mut bytes = Vec::new();
    let tally = queue.export(&mut bytes, parked, &mut |_, _| {}).unwrap();
    let (mut other, ..) = MemDisk::new(128 << 20).open();
    other.import(&mut bytes.as_slice(), tally, &mut |_, _| {}).unwrap();
    assert_eq!(other.orphans(), []);

    let before = queue.held();
    let doubts = queue.doubts();
    assert_eq!(doubts.len(), 3);
    queue.drop_doubt(doubts[0]).unwrap().unwrap();
    for at in &doubts[1..] {
        queue.retry_doubt(*at).unwrap().unwrap();
    }
    for at in queue.parked().unwrap() {
        queue.retry_parked(at).unwrap().unwrap();
    }
    let after = queue.held();
    assert_eq!((queue.orphans(), names(&queue)), (vec![], [threats()].into()));
    // That of the batch that was dropped stays.
    assert!(after.records > before.records && after.gaps == 1, "{before:?} {after:?}");
}

on_both!(
    a_parked_record_of_the_old_name_comes_back_under_the_new_one,
    what_lies_beside_the_log_follows_the_name,
);
