//! The queue as a user meets it: kills, full disks, damage, a second process, memory and disk.
//!
//! The campaigns that fail or cut at every single operation live with the queue's own tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::scene::{PATIENCE, Scene};
use crate::support::data::Kind;
use crate::support::fault::{Fault, On};

#[test]
fn twenty_five_kills_lose_nothing() {
    let mut scene = Scene::new();
    scene.tenant().turn(|knobs| knobs.slow = Duration::from_millis(15));
    scene.ingress.turn(|knobs| knobs.slow = Duration::from_millis(15));
    let mut published = 0;
    for kill in 0..25 {
        scene.tenant().publish_with(Kind::Activities, 150, |draft| draft.size = 2_600);
        scene.tenant().publish(Kind::Threats, 50);
        published += 200;
        scene.run();
        // Somewhere between the first request and the last delivery, elsewhere each time.
        match kill % 5 {
            0 => assert!(scene.tenant().wait_for(1 + kill / 5, PATIENCE, |_| true)),
            1 => assert!(scene.ingress.wait_for(1, PATIENCE, |_| true)),
            2 => scene.wait_delivered(published - 200 + kill * 7),
            3 => scene.wait_delivered(published - 60),
            _ => assert!(scene.tenant().wait_for(4, PATIENCE, |seen| seen.rows > 0)),
        }
        scene.kill();
    }
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.stop();
    scene.assert_nothing_lost();
    let balance = scene.ledger.balance();
    let largest = scene.ingress.got().iter().map(|got| got.entries).max().unwrap();
    assert!(balance.duplicates <= 25 * largest, "at most a batch a kill: {balance}");
}

#[test]
fn kills_while_coralogix_is_away_lose_and_repeat_nothing() {
    let mut scene = Scene::new();
    scene.ingress.server.take_away();
    for nth in 1..=5 {
        scene.tenant().publish(Kind::Activities, 1_100);
        scene.run();
        scene.wait_waiting(nth * 1_100);
        scene.kill();
    }
    scene.ingress.server.bring_back();
    scene.run();
    scene.settle();
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn a_second_process_on_the_same_queue_is_refused_with_a_clear_message() {
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 10);
    scene.run();
    scene.settle();
    let second = scene.command(&["run"]);
    assert_eq!(second.code, Some(1), "{}", second.err);
    let dir = scene.queue_dir().display().to_string();
    assert!(second.err.contains(&dir), "names the directory\n{}", second.err);
    scene.tenant().publish(Kind::Activities, 10);
    scene.settle();
    scene.stop();
    scene.assert_exactly_once();
}

#[test]
fn a_full_queue_stops_the_polling_and_never_drops() {
    let mut scene = Scene::with(|s| s.max_size = "16MiB".to_string());
    scene.ingress.server.take_away();
    scene.tenant().publish_with(Kind::Activities, 12_000, |draft| {
        draft.size = 2_600;
        draft.noise = true;
    });
    scene.run();
    scene.wait_status_is("/queue/room", "queue_full");
    assert!(scene.queue_bytes() <= 16 << 20, "{} bytes on disk", scene.queue_bytes());
    let polled = scene.tenant().requests();
    scene.ingress.server.bring_back();
    scene.settle();
    assert!(scene.tenant().requests() > polled, "polling goes on once there is room");
    scene.wait_status_is("/queue/room", "free");
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn with_too_little_free_space_nothing_is_polled_until_there_is_some() {
    let mut scene = Scene::with(|s| s.min_free = "1TiB".to_string());
    scene.tenant().publish(Kind::Activities, 50);
    scene.run();
    scene.wait_status_is("/queue/room", "disk_low");
    assert_eq!(scene.ledger.balance().delivered, 0);
    scene.settings.min_free = "1MiB".to_string();
    scene.write_config();
    scene.signal(rustix::process::Signal::HUP);
    scene.settle();
    scene.assert_exactly_once();
}

/// A queue with records in it, and the daemon stopped by a kill.
fn filled() -> Scene {
    let mut scene = Scene::new();
    scene.ingress.fail(On::Singles, None, Fault::status(503));
    scene.tenant().publish_with(Kind::Activities, 3_000, |draft| draft.size = 2_600);
    scene.tenant().publish(Kind::Threats, 700);
    scene.run();
    scene.wait_waiting(3_700);
    scene.kill();
    scene.ingress.heal();
    scene
}

fn files_of(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).map(|entries| entries.flatten().collect::<Vec<_>>());
    let mut files: Vec<PathBuf> = entries
        .unwrap_or_default()
        .iter()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(fs::DirEntry::path)
        .collect();
    files.sort();
    files
}

#[test]
fn without_its_index_the_queue_is_rebuilt_from_the_log() {
    let mut scene = filled();
    for index in files_of(&scene.queue_dir(), "index.") {
        fs::remove_dir_all(index).unwrap();
    }
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.stop();
    scene.assert_exactly_once();
}

#[test]
fn a_damaged_index_is_set_aside_and_nothing_is_lost() {
    let mut scene = filled();
    let index = files_of(&scene.queue_dir(), "index.").pop().expect("the queue has an index");
    for file in files_of(&index, "") {
        if file.is_file() {
            let length = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
            fs::write(&file, vec![0x5a; length.max(512)]).unwrap();
        }
    }
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.stop();
    scene.assert_nothing_lost();
    assert_eq!(scene.ledger.balance().duplicates, 0, "nothing had been delivered before");
}

#[test]
fn a_damaged_log_file_is_kept_aside_and_its_records_are_polled_again() {
    let mut scene = filled();
    let file = files_of(&scene.queue_dir().join("log"), "").remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 64] {
        *byte ^= 0xff;
    }
    fs::write(&file, bytes).unwrap();
    scene.run();
    scene.settle();
    scene.poll_again();
    assert!(!files_of(&scene.queue_dir().join("quarantine"), "").is_empty(), "set aside");
    scene.stop();
    scene.assert_nothing_lost();
}

#[test]
fn an_empty_log_directory_means_that_everything_is_polled_again() {
    let mut scene = filled();
    for file in files_of(&scene.queue_dir().join("log"), "") {
        fs::remove_file(file).unwrap();
    }
    scene.run();
    scene.settle();
    scene.stop();
    scene.assert_nothing_lost();
}

#[test]
fn the_disk_is_given_back_once_all_is_delivered() {
    let mut scene = filled();
    let full = scene.queue_bytes();
    scene.run();
    scene.settle();
    scene.wait_status_is("/queue/waiting", "0");
    scene.stop();
    let reserve = 4 << 20;
    let left = scene.queue_bytes().saturating_sub(reserve);
    assert!(left < 3 << 20, "{left} bytes beside the reserve; {full} when full");
    let log = scene.log_bytes();
    assert!(log <= 256 << 10, "{log} bytes of log");
}

#[test]
fn with_write_on_failure_records_pass_without_touching_the_log() {
    let mut scene = Scene::with(|s| s.write = "on-failure".to_string());
    scene.run();
    // Each batch that is taken shows that the link bears a larger one.
    for count in [60, 240, 900] {
        scene.tenant().publish(Kind::Activities, count);
        scene.settle();
    }
    scene.tenant().publish(Kind::Threats, 100);
    scene.settle();
    let bytes = scene.log_bytes();
    assert!(bytes < 64 << 10, "{bytes} bytes were written");
    scene.ingress.fail(On::Singles, None, Fault::status(503));
    scene.tenant().publish(Kind::Activities, 500);
    scene.wait_waiting(500);
    scene.kill();
    scene.ingress.heal();
    scene.run();
    scene.settle();
    scene.poll_again();
    scene.assert_exactly_once();
    scene.assert_in_order();
}

#[test]
fn kills_with_write_on_failure_lose_nothing() {
    let mut scene = Scene::with(|s| s.write = "on-failure".to_string());
    scene.ingress.turn(|knobs| knobs.slow = Duration::from_millis(20));
    for nth in 1..=10 {
        scene.tenant().publish(Kind::Activities, 200);
        scene.run();
        scene.wait_delivered(nth * 200 - 199);
        scene.kill();
    }
    scene.run();
    scene.settle();
    scene.assert_nothing_lost();
}

/// 120,000 records of 2.6 KB wait; memory stays below 32 MiB while filling and while draining, and
/// the disk is given back (P5).
#[test]
fn memory_stays_small_with_120_000_records_waiting() {
    const COUNT: usize = 120_000;
    let mut scene = Scene::new();
    scene.ingress.server.take_away();
    scene.tenant().publish_with(Kind::Activities, COUNT, |draft| draft.size = 2_600);
    scene.run();
    scene.wait_waiting(COUNT as u64);
    let filled = scene.daemon().peak_rss_kib();
    let full = scene.queue_bytes();
    scene.ingress.server.bring_back();
    scene.settle();
    let drained = scene.daemon().peak_rss_kib();
    scene.wait_status_is("/queue/waiting", "0");
    scene.stop();
    println!("peak RSS {filled:?} KiB filled, {drained:?} KiB drained; {full} bytes on disk");
    scene.assert_exactly_once();
    scene.assert_in_order();
    assert!(drained.is_none_or(|kib| kib < 32 << 10), "{drained:?} KiB");
    // The reserve, and what sled keeps of its file; nothing of the log.
    assert!(scene.queue_bytes() < 12 << 20, "{} of {full} bytes are left", scene.queue_bytes());
    assert_eq!(scene.log_bytes(), 0, "log files are left");
}

/// The processor time of 100,000 records of 2.6 KB, TLS on both sides and gzip to Coralogix:
/// `cargo test --release --test it -- --ignored --nocapture processor_time`.
#[test]
#[ignore = "a measurement, of a release build on a quiet machine"]
fn processor_time_of_100_000_records() {
    for compressed_pages in [false, true] {
        let mut scene = Scene::with(|s| s.log_level = "info".to_string());
        scene.tenant().turn(|knobs| knobs.gzip = compressed_pages);
        scene.tenant().publish_with(Kind::Activities, 100_000, |draft| draft.size = 2_600);
        let begun = Instant::now();
        let ended = scene.once_with_code(0);
        println!(
            "pages {}: {:?} of processor time in {:.1?}, {} requests",
            if compressed_pages { "in gzip" } else { "as they are" },
            ended.cpu,
            begun.elapsed(),
            scene.ingress.requests()
        );
        scene.assert_exactly_once();
    }
}
