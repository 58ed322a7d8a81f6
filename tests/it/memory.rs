//! A source may send what it likes: 40 MiB for the program and its files bear it (P5).
//!
//! Promises: the program lives in a memory cgroup of that size, with the pages of its files, and the
//! kernel kills it at none of this. Every record arrives but one that no page can hold, which is a
//! gap. Needs root and a memory cgroup: see `support::cgroup`.

use std::time::Duration;

use crate::campaign::Campaign;
use crate::scene::Scene;
use crate::support::cgroup::MemoryGroup;
use crate::support::clock::{HOUR, MINUTE};
use crate::support::data::{Draft, Kind, Shape};
use crate::support::ingress::Measured;

const BOX_BYTES: u64 = 40 << 20;
/// Bears the longest page, and a few of its records.
const ROOMY_BYTES: u64 = 256 << 20;
/// Far too little for a page of 1,000 records of `LONG_BYTES`, which is nearly the longest page, and
/// enough for 500 beside the program.
const NARROW_BYTES: u64 = 20 << 20;
const LONG_BYTES: usize = 24_000;

struct Box {
    scene: Scene,
    group: MemoryGroup,
}

impl Box {
    fn new() -> Option<Box> {
        Box::of(BOX_BYTES)
    }

    /// A collector with so much memory and nothing published yet. The sink takes any length.
    fn of(bytes: u64) -> Option<Box> {
        if std::env::var_os("S1C_RUNNER").is_some() {
            crate::support::skip::skipped("the memory under an emulator is the emulator's");
            return None;
        }
        let group = Campaign::given("memory", MemoryGroup::new(bytes))?;
        let mut scene = Scene::new();
        scene.program = group.around(&scene.program);
        scene.ingress.turn(|knobs| knobs.size_limit = None);
        Some(Box { scene, group })
    }

    fn publish(&self, kind: Kind, count: usize, shape: impl FnMut(&mut Draft)) -> Vec<u64> {
        let now = self.scene.tenant().clock().now_us();
        let (from, to) = (now - 3 * HOUR, now - 5 * MINUTE);
        self.scene.tenant().publish_between(kind, count, from, to, shape)
    }

    /// Answers with the largest resident set, in bytes, where the system tells.
    fn assert_never_killed(&mut self, what: &str) -> Option<u64> {
        let peak = self.group.peak() >> 10;
        let rss = self.scene.daemon().peak_rss_kib();
        println!("{what}: RSS {rss:?} KiB at most, {peak} KiB with the pages of its files");
        assert!(self.scene.daemon().is_running(), "{}", self.scene.story());
        assert_eq!(self.group.killed(), 0, "the kernel found no memory for it");
        self.scene.stop();
        rss.map(|kib| kib << 10)
    }
}

fn records_of_60_kilobytes(gzip: bool) {
    let Some(mut small) = Box::new() else { return };
    small.scene.tenant().turn(|knobs| knobs.gzip = gzip);
    let long = |draft: &mut Draft| (draft.size, draft.noise) = (60_000, true);
    small.publish(Kind::Activities, 1_200, long);
    small.publish(Kind::Threats, 400, long);
    small.scene.run();
    small.scene.settle();
    small.scene.poll_again();
    small.scene.assert_exactly_once();
    small.assert_never_killed("records of 60 KB");
}

#[test]
fn forty_megabytes_are_enough_for_records_of_60_kilobytes() {
    records_of_60_kilobytes(false);
}

#[test]
fn forty_megabytes_are_enough_for_records_of_60_kilobytes_in_gzip() {
    records_of_60_kilobytes(true);
}

#[test]
fn forty_megabytes_are_enough_for_pages_of_20_megabytes_of_escaped_quotes() {
    let Some(mut small) = Box::new() else { return };
    small.publish(Kind::Activities, 20, |draft| draft.shape = Shape::Quotes(1 << 20));
    small.publish(Kind::Threats, 3, |draft| draft.shape = Shape::Quotes(6 << 20));
    small.scene.run();
    small.scene.settle();
    small.scene.poll_again();
    small.scene.assert_exactly_once();
    small.assert_never_killed("pages of 20 MiB of quotes");
}

/// One record of 200 is shaped so, and can't be carried.
fn all_but_one_arrive(what: &str, gzip: bool, shape: impl Fn(&mut Draft)) {
    let Some(mut small) = Box::new() else { return };
    small.scene.tenant().turn(|knobs| knobs.gzip = gzip);
    let mut nth = 0;
    small.publish(Kind::Activities, 200, |draft| {
        nth += 1;
        if nth == 124 {
            shape(draft);
        }
    });
    small.scene.run();
    small.scene.wait_delivered(199);
    small.scene.wait_log("S1C-E225");
    small.scene.wait_status_is("/gaps/latest/0/reason", "unfetchable");
    small.scene.wait_status_is("/state", "healthy");
    let balance = small.scene.ledger.balance();
    assert_eq!((balance.lost, balance.duplicates), (1, 0), "{balance}");
    small.assert_never_killed(what);
}

#[test]
fn forty_megabytes_are_enough_for_a_record_of_20_megabytes_of_escaped_quotes() {
    all_but_one_arrive("a record of 20 MiB of quotes", true, |draft| {
        draft.shape = Shape::Quotes(20 << 20);
    });
}

#[test]
fn forty_megabytes_are_enough_for_a_record_of_30_megabytes() {
    all_but_one_arrive("a record of 30 MB", false, |draft| draft.size = 30_000_000);
    all_but_one_arrive("a record of 30 MB in gzip", true, |draft| draft.size = 30_000_000);
}

/// Alone in their pages, and nothing to compress: what is held is held whole.
fn publish_what_just_fits(small: &Box, bytes: usize) {
    let noise = |draft: &mut Draft| (draft.size, draft.noise) = (bytes, true);
    small.publish(Kind::Activities, 2, noise);
    small.publish(Kind::Threats, 1, |draft| draft.shape = Shape::Quotes(bytes - 4_000));
    small.publish(Kind::Alerts, 1, noise);
}

fn records_that_just_fit(memory: u64, page: u64) {
    let Some(mut small) = Box::of(memory) else { return };
    small.scene.settings.integrations[0].streams.push("alerts");
    small.scene.write_config();
    publish_what_just_fits(&small, page as usize - (64 << 10));
    small.scene.run();
    small.scene.settle();
    small.scene.poll_again();
    small.scene.assert_exactly_once();
    let bound = BESIDE_PAGES_BYTES + 4 * page;
    let most = small.assert_never_killed(&format!("records of {} KiB", page >> 10));
    assert!(most.is_none_or(|most| most < bound), "{most:?}, and {bound} is promised");
}

/// What README promises: so much, and four times the longest page.
const BESIDE_PAGES_BYTES: u64 = 14 << 20;

#[test]
fn forty_megabytes_are_enough_for_records_that_just_fit() {
    records_that_just_fit(BOX_BYTES, (BOX_BYTES - BESIDE_PAGES_BYTES) / 4);
}

#[test]
fn the_longest_pages_of_a_large_machine_take_what_is_promised() {
    records_that_just_fit(1 << 30, 24 << 20);
}

#[test]
fn forty_megabytes_are_enough_to_park_records_that_just_fit() {
    let Some(mut small) = Box::new() else { return };
    let bytes = (BOX_BYTES - BESIDE_PAGES_BYTES) as usize / 4 - (64 << 10);
    small.publish(Kind::Threats, 50, |_| {});
    small.publish(Kind::Activities, 2, |draft| (draft.size, draft.noise) = (bytes, true));
    small.scene.ingress.turn(|knobs| knobs.size_limit = Some((2_000_000, Measured::Inflated)));
    small.scene.run();
    small.scene.wait_delivered(50);
    small.scene.wait_status_is("/queue/parked", "2");
    small.assert_never_killed("parked records");
}

/// The bound of a page is chosen at the start; something else may take the memory afterwards.
#[test]
fn a_page_that_killed_the_process_is_not_asked_for_again_and_again() {
    let Some(mut small) = Box::of(ROOMY_BYTES) else { return };
    let mut count = None;
    let mut is_whole = false;
    while !is_whole {
        small.group.limit(ROOMY_BYTES);
        small.scene.run();
        small.scene.wait_log("S1C-I044");
        small.group.limit(NARROW_BYTES);
        // Not before: with the room there was, all of it may be polled by now.
        let count = *count.get_or_insert_with(|| {
            let long = |draft: &mut Draft| draft.size = LONG_BYTES;
            small.scene.tenant().publish_with(Kind::Activities, 2_000, long).len()
        });
        while small.scene.daemon().is_running() && !is_whole {
            is_whole = small.scene.ledger.wait_delivered(count, Duration::from_millis(250));
        }
        small.scene.kill();
        assert!(small.group.killed() < 20, "{}", small.scene.story());
    }
    let killed = small.group.killed();
    println!("killed {killed} times");
    assert!((1..=4).contains(&killed), "{killed}\n{}", small.scene.story());
    assert!(small.scene.log().contains("S1C-W046"), "{}", small.scene.story());
    assert_eq!(small.scene.ledger.balance().lost, 0);
}

#[test]
fn polling_max_page_bounds_a_page_and_is_told() {
    let mut scene = Scene::with(|settings| {
        settings.extra = "[polling]\nmax_page = \"1MiB\"\n".to_string();
    });
    scene.tenant().publish_with(Kind::Activities, 60, |draft| draft.size = 60_000);
    scene.run();
    scene.wait_log("S1C-I044 Pages of up to 1MiB are accepted, as set by polling.max_page");
    scene.settle();
    scene.assert_exactly_once();
    let most = scene.tenant().seen().iter().map(|seen| seen.rows).filter(|rows| *rows < 18).max();
    assert!(most.is_some_and(|most| most > 6), "pages are as long as they may be: {most:?}");
}
