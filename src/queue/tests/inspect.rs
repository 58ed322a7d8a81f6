//! A look into the log: what waits, what is damaged and where, what was set aside.

use super::*;
use crate::limits::LOG_FILE_BYTES_MAX;
use crate::queue::mem::MemDisk;
use crate::queue::testing::*;
use crate::record::{Kind, QueuePosition};
use crate::time::Mono;

fn inspector(disk: &MemDisk, head: Option<QueuePosition>) -> Inspector<MemDisk> {
    let daemon = head.map(|head| DaemonStatus { queue: None, head, is_running: true });
    Inspector::open(disk.clone(), daemon).unwrap()
}

#[test]
fn what_waits_is_told_while_the_queue_is_open() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[1, 2, 3], 3), progress(3, 1), &[]).unwrap();
    queue.append(&activities(), &page(&activities(), &[4, 5], 5), progress(5, 4), &[]).unwrap();
    let sent = queue.peek(crate::record::Take { entries_max: 2, ..ALL }).unwrap().unwrap().sent;
    let held = queue.ack(sent.end, Mono(1)).unwrap();
    let mut looked = inspector(&disk, Some(held.head));
    assert!(looked.head().by.is_exact());
    let contents = looked.contents(&mut |_, _| {});
    let seen: Vec<_> =
        contents.waiting.iter().map(|w| (w.stream.to_string(), w.skip, w.entries)).collect();
    assert_eq!(seen, [("acme/threats".into(), 2, 3), ("acme/activities".into(), 0, 2)]);
    let keys: Vec<u64> =
        looked.table(&contents.waiting[1]).unwrap().iter().map(|meta| meta.key.id).collect();
    assert_eq!(keys, [4, 5]);
    let frame = looked.read(&contents.waiting[1]).unwrap();
    assert_eq!(record(frame, 1).unwrap(), entry(&activities(), 5));
}

#[test]
fn without_a_word_of_the_daemon_the_checkpoint_tells_the_head() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[1, 2], 2), progress(2, 1), &[]).unwrap();
    let end = queue.peek(ALL).unwrap().unwrap().sent.end;
    queue.ack(end, Mono(1)).unwrap();
    queue.append(&threats(), &page(&threats(), &[3], 3), progress(3, 1), &[]).unwrap();
    let mut looked = inspector(&disk, None);
    assert!(!looked.head().by.is_exact());
    let contents = looked.contents(&mut |_, _| {});
    assert_eq!(contents.waiting.len(), 1);
}

#[test]
fn a_log_that_may_not_be_read_is_not_taken_for_an_empty_one() {
    let disk = MemDisk::new(128 << 20);
    drop(disk.open());
    for (kind, is_ok) in [(io::ErrorKind::PermissionDenied, false), (io::ErrorKind::NotFound, true)]
    {
        disk.fail_after(1, crate::queue::mem::Fault::Once(kind));
        assert_eq!(Inspector::open(disk.clone(), None).is_ok(), is_ok, "{kind}");
    }
}

#[test]
fn what_was_set_aside_is_listed_in_the_order_in_which_it_was() {
    let dir = TempDir::new("queue");
    let (queue, ..) = dir.open();
    drop(queue);
    let names: Vec<String> = (1..40).map(|n| format!("{n:06}-bad")).collect();
    for name in names.iter().rev() {
        std::fs::write(dir.path().join(QUARANTINE).join(name), b"bad").unwrap();
    }
    let listed = Inspector::open(dir.disk(), None).unwrap().quarantined();
    assert_eq!(listed.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), names);
}

#[test]
fn every_changed_byte_of_a_log_is_found() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[1, 2, 3], 3), progress(3, 1), &[]).unwrap();
    let file = disk.files().into_iter().find(|file| file.starts_with("log/")).unwrap();
    let len = inspector(&disk, None).files.bytes() as usize;
    assert!(inspector(&disk, None).verify(&mut |_, _| {}).damage.is_empty());
    for at in FILE_HEADER_BYTES..len {
        disk.tamper(&file, |bytes| bytes[at] ^= 0x10);
        let damage = inspector(&disk, None).verify(&mut |_, _| {}).damage;
        assert!(!damage.is_empty(), "byte {at}");
        disk.tamper(&file, |bytes| bytes[at] ^= 0x10);
    }
}

#[test]
fn parked_records_are_told_with_their_answer() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[1, 2], 2), progress(2, 1), &[]).unwrap();
    let first = queue.peek(ALL).unwrap().unwrap().sent.first;
    queue.park(first, Some(&entry(&threats(), 1)), "HTTP 400: no").unwrap();
    let parked = inspector(&disk, None).parked().unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].why.as_str(), parked[0].key), ("HTTP 400: no", Some(key(1))));
    assert_eq!(parked[0].stream, Some(threats()));
}

/// Three pages of one frame and one of two, in two files; the damage of each frame is reported with its
/// place, and all others are found.
#[test]
fn damage_is_told_with_its_place_and_hides_nothing_else() {
    let disk = MemDisk::new(256 << 20);
    let (mut queue, ..) = disk.open();
    for n in 1..4 {
        let one = [big_frame(&threats(), n, LOG_FILE_BYTES_MAX as usize / 3)];
        queue.append(&threats(), &one, progress(n, n), &[]).unwrap();
    }
    let two = page(&activities(), &[11, 12], 1);
    queue.append(&activities(), &two, progress(12, 11), &[]).unwrap();
    let all = inspector(&disk, None).contents(&mut |_, _| {});
    assert_eq!(all.waiting.len(), 5);
    assert_eq!((all.files, all.torn), (2, 0));
    for (nth, frame) in all.waiting.iter().enumerate() {
        // In its header: nothing tells how long it is.
        let flip = |bytes: &mut Vec<u8>| bytes[frame.offset as usize + 5] ^= 1;
        disk.tamper(&log::path(frame.file), flip);
        let mut steps = Vec::new();
        let contents = inspector(&disk, None).contents(&mut |done, of| steps.push((done, of)));
        disk.tamper(&log::path(frame.file), flip);
        // Long damage is told in pieces.
        let mut at = frame.offset;
        for piece in &contents.damage {
            assert_eq!((&piece.file, piece.offset), (&log::path(frame.file), at), "frame {nth}");
            at += piece.bytes;
        }
        assert_eq!(at, frame.offset + u64::from(frame.len), "frame {nth}");
        // A page of which the last frame is missing is not whole.
        let (left, torn) = if nth < 4 { (4, 0) } else { (3, 1) };
        assert_eq!((contents.waiting.len(), contents.torn), (left, torn), "frame {nth}");
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[1], (all.bytes, all.bytes));
        assert!(steps[0].0 > 0 && steps[0].0 < all.bytes && steps[0].1 == all.bytes, "{steps:?}");
    }
}

#[test]
fn a_frame_is_read_by_its_number_or_not_at_all() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[1, 2], 1), progress(2, 1), &[]).unwrap();
    let mut looked = inspector(&disk, None);
    let waiting = looked.contents(&mut |_, _| {}).waiting;
    assert_eq!(looked.table(&waiting[1]).unwrap().len(), 1);
    let another = Waiting { seq: waiting[0].seq, ..waiting[1].clone() };
    assert!(looked.table(&another).is_err());
    assert!(looked.read(&another).is_err());
}

#[test]
fn parked_records_come_in_the_order_in_which_they_were_refused() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    let numbers: Vec<u64> = (1..13).collect();
    queue.append(&threats(), &page(&threats(), &numbers, 12), progress(12, 1), &[]).unwrap();
    for n in numbers {
        let first = queue.peek(ALL).unwrap().unwrap().sent.first;
        queue.park(first, Some(&entry(&threats(), n)), "HTTP 400: no").unwrap();
    }
    let parked = inspector(&disk, None).parked().unwrap();
    let order: Vec<u64> = parked.iter().filter_map(|one| one.key).map(|key| key.id).collect();
    assert_eq!(order, (1..13).collect::<Vec<_>>());
}

/// A queue of a version that wrote no `head`: what was delivered since the checkpoint is not missing.
#[test]
fn files_that_may_be_delivered_are_not_missed() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[1, 2], 2), progress(2, 1), &[]).unwrap();
    queue.close(Mono(1));
    assert_eq!(inspector(&disk, None).contents(&mut |_, _| {}).missing, 0);
    for file in disk.files().iter().filter(|file| file.starts_with("log/")) {
        disk.clone().remove(file).unwrap();
    }
    assert_eq!(inspector(&disk, None).contents(&mut |_, _| {}).missing, 1, "it waited");
    disk.clone().remove(marks::CLOSED).unwrap();
    assert_eq!(inspector(&disk, None).contents(&mut |_, _| {}).missing, 0, "nobody knows");
}

#[test]
fn who_collected_what_is_told_from_the_checkpoint() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    let (old, none) =
        (StreamName::polled("old", Kind::Threats), StreamName::polled("none", Kind::Threats));
    let own = StreamName::collector("acme");
    queue.append(&threats(), &[], progress(5, 5), &[]).unwrap();
    queue.append(&old, &[], progress(7, 7), &[]).unwrap();
    queue.append(&none, &[], progress(7, 7), &[]).unwrap();
    queue.append(&own, &page(&own, &[0], 1), progress(7, 7), &[]).unwrap();
    for (name, tenant) in [("acme", "https://a.example"), ("old", "https://b.example")] {
        queue.confirm_tenant(name, tenant).unwrap();
    }
    queue.begin_anew("none", Some("https://c.example")).unwrap();
    let id = QueueId::parse(&"a".repeat(32)).unwrap();
    queue.identify(id.clone());
    queue.close(Mono(1));
    let looked = inspector(&disk, None);
    assert_eq!(looked.id(), Some(&id));
    assert!(looked.has_checkpoint());
    let orphan = |name: &StreamName, at, tenant: &str| {
        let (name, tenant) = (name.clone(), Some(tenant.to_owned()));
        Orphan { name, position: Stamp(at), tenant }
    };
    let (here, gone) =
        (orphan(&threats(), 5, "https://a.example"), orphan(&old, 7, "https://b.example"));
    assert_eq!(looked.orphans(&[threats()]), std::slice::from_ref(&gone));
    assert_eq!(looked.orphans(&[]), [here, gone]);
    assert_eq!(looked.orphans(&[threats(), old]), []);
    let tenants = ["acme", "old", "none", "never"].map(|name| looked.tenant_of(name));
    assert_eq!(tenants, [Some("https://a.example"), Some("https://b.example"), None, None]);
    disk.tamper(checkpoint::FILE, |bytes| bytes.truncate(9));
    let looked = inspector(&disk, None);
    assert!(!looked.has_checkpoint() && looked.orphans(&[]).is_empty());
    assert_eq!(looked.tenant_of("acme"), None);
}

/// A directory that is not there has nothing in it; one that can't be read may have anything.
#[test]
fn what_can_not_be_read_is_not_called_empty() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    queue.append(&threats(), &page(&threats(), &[1], 1), progress(1, 1), &[]).unwrap();
    let refuse = || {
        disk.fail_after(1, crate::queue::mem::Fault::Always(io::ErrorKind::PermissionDenied));
    };
    refuse();
    assert!(Inspector::open(disk.clone(), None).is_err());
    disk.heal();
    let mut looked = inspector(&disk, None);
    assert!(looked.parked().unwrap().is_empty() && looked.doubts().unwrap().is_empty());
    assert!(looked.quarantined().is_empty());
    refuse();
    assert!(looked.parked().is_err() && looked.doubts().is_err());
    let contents = looked.contents(&mut |_, _| {});
    assert_eq!((contents.unread.len(), contents.damage.len()), (1, 0));
    assert_eq!(contents.unread[0].0, log::path(1));
    disk.heal();
    // Another process's queue that was only just made.
    let empty = MemDisk::new(1 << 20);
    let mut looked = inspector(&empty, None);
    assert!(looked.parked().unwrap().is_empty() && looked.doubts().unwrap().is_empty());
}

#[test]
fn batches_in_doubt_come_in_the_order_in_which_they_were_sent() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    for n in 1..13 {
        queue.append(&threats(), &page(&threats(), &[n], 1), progress(n, 1), &[]).unwrap();
    }
    let frame = page(&threats(), &(20..32).collect::<Vec<_>>(), 12);
    queue.append(&threats(), &frame, progress(31, 20), &[]).unwrap();
    for n in 1..25 {
        let end = queue.peek(crate::record::Take { entries_max: 1, ..ALL }).unwrap().unwrap();
        queue.doubt(end.sent.end, &format!("some of {n}")).unwrap();
    }
    disk.tamper("doubt/0000000000000003-0.log", |bytes| bytes[60] ^= 1);
    let doubts = inspector(&disk, None).doubts().unwrap();
    let words: Vec<String> = doubts.iter().map(|one| one.words.clone()).collect();
    assert_eq!(words, (1..25).map(|n| format!("some of {n}")).collect::<Vec<_>>());
    assert!(doubts.iter().all(|one| one.bytes > 0 && !one.name.ends_with(".log")));
    for (nth, doubt) in doubts.iter().enumerate() {
        assert_eq!(doubt.frames.as_ref().is_ok_and(|frames| frames.len() == 1), nth != 2);
    }
}

#[test]
fn what_was_set_aside_is_listed_without_its_notes() {
    let disk = MemDisk::new(128 << 20);
    let (mut queue, ..) = disk.open();
    let mut files = disk.clone();
    for name in ["b.log", "a.log"] {
        let path = format!("{QUARANTINE}/{name}");
        files.create(&path).unwrap();
        files.append(&path, b"12345").unwrap();
        queue.set_aside(&path, name, "a test").unwrap();
    }
    let listed = inspector(&disk, None).quarantined();
    assert!(Fixture::files(&disk, QUARANTINE).len() > 2, "there are notes");
    assert_eq!(listed.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), [5, 5]);
    assert!(listed.is_sorted() && listed[0].0.ends_with("b.log"), "{listed:?}");
}
