//! A reader of stderr that stalls, which stops nothing.

use rustix::process::Signal;

use crate::scene::{PATIENCE, Scene};
use crate::support::data::Kind;

/// Some lines of the start.
const ROOM: usize = 8 << 10;

/// A daemon whose stderr takes so many bytes and is not read: lines are lost, the loop goes on, and
/// what is published arrives.
fn unread(room: usize, level: &str) -> Scene {
    let mut scene = Scene::with(|s| s.log_level = level.to_string());
    scene.tenant().publish(Kind::Activities, 30);
    scene.run_unread(room);
    scene.wait_while_alive("lines are lost", |within| {
        scene.wait_status(within, |status| {
            (status.pointer("/log_lines_lost")?.as_u64()? > 0).then_some(())
        })
    });
    scene.tenant().publish(Kind::Activities, 30);
    scene.settle();
    scene
}

/// Ends by SIGTERM though nobody reads what it says.
fn hears_sigterm(scene: &mut Scene) {
    scene.daemon().signal(Signal::TERM);
    assert!(scene.daemon().wait_exit(PATIENCE), "SIGTERM is heard");
    scene.daemon().read_on();
    assert_eq!(scene.ended().code, Some(0));
    scene.assert_exactly_once();
}

#[test]
fn a_stderr_that_takes_nothing_from_the_start_stops_nothing() {
    let mut scene = unread(0, "debug");
    let shown = scene.command(&["status"]).out;
    assert!(shown.contains("S1C-W031"), "{shown}");
    hears_sigterm(&mut scene);
}

#[test]
fn a_reader_of_stderr_that_stalls_later_stops_nothing_and_reads_how_much_it_missed() {
    let mut scene = unread(ROOM, "trace");
    scene.daemon().read_on();
    scene.wait_log("S1C-W031");
    scene.stop();
    scene.assert_exactly_once();
    // A reader that is slow may stall it once more; each line lost is told of once.
    let log = scene.log();
    let told = log.lines().filter_map(|line| {
        let (before, _) = line.split_once(" of the log could not be written")?;
        before.split(' ').rev().nth(1)?.parse::<u64>().ok()
    });
    let lost = scene.status().and_then(|status| status.pointer("/log_lines_lost")?.as_u64());
    assert_eq!(Some(told.sum()), lost, "{log}");
}

#[test]
fn a_reader_that_never_reads_on_keeps_nothing_from_ending() {
    let mut scene = unread(ROOM, "trace");
    hears_sigterm(&mut scene);
}
