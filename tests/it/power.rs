//! Campaign 1, power cut: the queue lies on a file system of its own, which is shut down without
//! flushing its journal while the program works, and mounted again.
//!
//! Promises: after each cut, what had been stored is delivered with the tenant out of reach, so that
//! nothing can be polled again in its place (P1); what had been acknowledged does not come again
//! (P2); in the end nothing is lost. A cut is set off by what the program does to its files, as the
//! kernel tells it, or by its requests; where it landed is read from both, and every moment of
//! `MUST_BE_MET` must have been met. `S1C_CUTS=1000` cuts more often. Needs root, loop devices,
//! mkfs.ext4 and xfs_io; where one is missing the test says so, and with CI set it fails.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use s1_coralogix::prng::Prng;

use crate::campaign::Campaign;
use crate::inotify::{Step, Trail, What};
use crate::mounted_fs::{FileSystem, Fuse, MountedFs};
use crate::oracle::{Doings, Oracle};
use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::ingress::Measured;
use crate::support::tenant::Seen;
use crate::support::watched::Watched;

const CUTS: u64 = 20;
/// A boot that never comes to where it was to be cut is cut when this is over.
const LONGEST_BOOT: Duration = Duration::from_secs(3);
/// Longer than a drain takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The tenant's clock goes on by so much before each cut.
const FIVE_MINUTES_US: i64 = 300_000_000;
/// XFS makes nothing smaller than 300 MiB.
const DISK_BYTES: u64 = 320 << 20;
/// Where cuts must have landed, by what the program had done to its files and asked for.
const MUST_BE_MET: [&str; 6] = [
    "a new queue's index",
    "a new queue's first drain",
    "taking a page in",
    "file rotation",
    "the drain",
    "the rebuild",
];

/// What a boot is meant to be doing when it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// The queue is being made, its index too, or gets its first page.
    New,
    /// The same boot that made the queue delivers many small batches: the index is not yet as long
    /// as its file will be, so that what it appends is lost unless its own sync is made.
    Young,
    /// Pages are taken in.
    Poll,
    /// One log file after the other is filled.
    Rotate,
    /// Many small batches are delivered and acknowledged.
    Drain,
    /// A queue that has much is opened.
    Start,
    /// The index is gone and built anew.
    Rebuild,
}

/// What sets a cut off.
#[derive(Clone, Copy, Debug)]
enum Trip {
    /// The nth step of this sort.
    File(What, &'static str, u64),
    Pages(usize),
    Batches(usize),
}

#[test]
fn power_cuts_lose_nothing_that_was_stored() {
    let ground = MountedFs::possible(&["mkfs.ext4", "xfs_io"]);
    if !Campaign::is_possible("power cut", ground) {
        return;
    }
    let mut campaign = Campaign::new("power cut", "S1C_CUTS", CUTS);
    let kinds = [FileSystem::Ext4, FileSystem::Xfs];
    for kind in kinds.iter().filter(|kind| !kind.is_there()) {
        campaign.note(kind.name(), 0);
        eprintln!("no cuts on {0}: this kernel or machine has no {0}", kind.name());
    }
    let kinds: Vec<FileSystem> = kinds.into_iter().filter(|kind| kind.is_there()).collect();
    for life in 0.. {
        if campaign.is_over() {
            break;
        }
        let kind = kinds[life % kinds.len()];
        let is_young = matches!(life % 4, 0 | 3);
        one_queue(&mut campaign, kind, is_young);
    }
    // A machine may be too busy for a cut to land where it was aimed.
    for again in 0..4 {
        let missed: Vec<&str> =
            MUST_BE_MET.into_iter().filter(|moment| campaign.met_so_far(moment) == 0).collect();
        if missed.is_empty() || campaign.wanted < CUTS {
            break;
        }
        assert!(again < 3, "no cut landed in {missed:?}\n{campaign}");
        one_queue(&mut campaign, kinds[0], again == 1);
    }
    campaign.end();
}

/// From the first second of a queue to the loss of its index.
fn aims(prng: &mut Prng, is_young: bool) -> Vec<Aim> {
    let mut middle = [Aim::Poll, Aim::Drain, Aim::Rotate, Aim::Start, Aim::Drain, Aim::Poll];
    for at in (1..middle.len()).rev() {
        middle.swap(at, usize::try_from(prng.below(at as u64 + 1)).expect("small"));
    }
    let mut aims = if is_young { vec![Aim::Young, Aim::Drain] } else { vec![Aim::New; 2] };
    aims.extend(middle);
    aims.extend([Aim::Rebuild, Aim::Rebuild]);
    aims
}

/// One queue's life of cuts. A round that fails ends it.
fn one_queue(campaign: &mut Campaign, kind: FileSystem, is_young: bool) {
    let mut scene = Scene::with(|settings| {
        settings.retry_max = "100ms".into();
        // What was lost shall not be found again by looking twice.
        settings.integrations[0].overlap = "0s".into();
    });
    let ground = MountedFs::new(scene.queue_dir(), kind, DISK_BYTES, &[]);
    let mut oracle = Oracle::default();
    let mut all_well = true;
    for (nth, aim) in aims(&mut campaign.prng, is_young).into_iter().enumerate() {
        let ahead = FIVE_MINUTES_US * i64::try_from(nth + 1).expect("small");
        scene.pass(ahead);
        let cut = || one_cut(campaign, &mut scene, &ground, &mut oracle, aim);
        let outcome = caught(cut);
        campaign.met(format!("on {}", kind.name()));
        all_well = campaign.round(outcome.map_err(|why| format!("{aim:?} on {kind:?}: {why}")));
        if !all_well {
            break;
        }
    }
    if all_well {
        let end = || check_final_state(&mut scene, &mut oracle);
        campaign.life(caught(end).map_err(|why| format!("the end on {kind:?}: {why}")));
    }
    let balance = scene.ledger.balance();
    campaign.settle(&balance);
    let before = oracle.repeated_before_leniency.unwrap_or(balance.duplicates);
    campaign.note("duplicated before the index was deleted", before as u64);
}

/// A panic of a round is its failure.
fn caught(round: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(round)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.unwrap_or_else(|| "it panicked".into()))
    })
}

/// Everything there is must come, in order and nothing twice that was acknowledged.
fn check_final_state(scene: &mut Scene, oracle: &mut Oracle) -> Result<(), String> {
    scene.run();
    if !scene.ledger.wait_complete(PATIENCE) {
        return Err(format!("not all is delivered in the end\n{}", scene.story()));
    }
    scene.poll_again();
    scene.stop();
    oracle.repeated(scene)?;
    let balance = scene.ledger.balance();
    match (balance.lost, balance.changed, balance.out_of_order) {
        (0, 0, 0) => Ok(()),
        _ => Err(format!("{balance}\n{}", scene.story())),
    }
}

/// One boot that ends with a cut, and if anything is owed, one without the tenant that pays it.
fn one_cut(
    campaign: &mut Campaign,
    scene: &mut Scene,
    ground: &MountedFs,
    oracle: &mut Oracle,
    aim: Aim,
) -> Result<(), String> {
    let is_new = !oracle.has_stored();
    prepare(scene, ground, oracle, aim, &mut campaign.prng)?;
    let trip = trip(aim, &mut campaign.prng);
    let longest = if aim == Aim::New { 1_000 } else { 3_000 };
    let delay = Duration::from_micros(campaign.prng.below(longest));
    oracle.boots(scene);
    let fuse = Arc::new(Fuse::armed(ground));
    let trail = follow(ground, &fuse, trip, delay);
    let (pages, batches) = (scene.tenant().requests(), scene.ingress.requests());
    scene.run();
    match trip {
        Trip::File(..) => fuse.wait(LONGEST_BOOT),
        Trip::Pages(count) => {
            scene.tenant().wait(LONGEST_BOOT, |seen| (seen.len() >= pages + count).then_some(()));
            pause(delay);
        }
        Trip::Batches(count) => {
            let enough = |got: usize| (got >= batches + count).then_some(());
            scene.ingress.wait(LONGEST_BOOT, |state| enough(state.got.len()));
            pause(delay);
        }
    }
    fuse.blow();
    scene.kill();
    let steps = trail.ended();
    ground.mount_again();
    let at = fuse.blown_at().expect("it was blown");
    let doings = oracle.fault(scene, at)?;
    campaign.met(moment(&steps, doings, is_new, aim));
    if scene.ingress.server.is_away() {
        scene.ingress.server.bring_back();
    }
    let owed = scene.ledger.look(|book| oracle.owed(book));
    campaign.at_stake += owed as u64;
    match owed {
        0 => Ok(()),
        _ => pay(scene, oracle, owed),
    }
}

/// Nothing can be polled: what arrives now was on the disk.
fn pay(scene: &mut Scene, oracle: &mut Oracle, owed: usize) -> Result<(), String> {
    scene.tenant().server.take_away();
    scene.run();
    let is_paid = |scene: &Scene, within| {
        let paid = |book: &_| (oracle.owed(book) == 0).then_some(());
        scene.ledger.wait(within, paid).is_some()
    };
    // A machine that is busy takes longer, and moves.
    let (mut end, mut left, mut paid) = (Instant::now() + PATIENCE, owed, false);
    while !paid && Instant::now() < end && scene.daemon().is_running() {
        let still = scene.ledger.look(|book| oracle.owed(book));
        if still != left {
            (end, left) = (Instant::now() + PATIENCE, still);
        }
        // What it says is looked at before what came: once nothing waits, nothing more will come.
        let is_empty = waits_for_nothing(scene);
        paid = is_paid(scene, Duration::from_millis(100));
        if is_empty && !paid {
            break;
        }
    }
    if !paid {
        let still = scene.ledger.look(|book| oracle.owed(book));
        return Err(format!(
            "{owed} stored records were owed, {still} are lost\n{}",
            scene.story()
        ));
    }
    // Let it note that too, as a rule: what comes twice shall be the cuts' doing.
    for _ in 0..50 {
        if waits_for_nothing(scene) {
            break;
        }
        pause(Duration::from_millis(20));
    }
    scene.kill();
    scene.tenant().server.bring_back();
    oracle.repeated(scene)
}

fn waits_for_nothing(scene: &Scene) -> bool {
    let pid = u64::from(scene.daemon().pid());
    scene.status().is_some_and(|status| {
        status["pid"].as_u64() == Some(pid) && status["queue"]["waiting"].as_u64() == Some(0)
    })
}

/// Publishes what the boot shall work on; fills the queue where it is to be opened full.
fn prepare(
    scene: &mut Scene,
    ground: &MountedFs,
    oracle: &mut Oracle,
    aim: Aim,
    prng: &mut Prng,
) -> Result<(), String> {
    let few = 100 + usize::try_from(prng.below(900)).expect("small");
    let (count, size, noise) = match aim {
        Aim::New => (few, 600, false),
        Aim::Young => (1_900, 1_200, false),
        Aim::Poll => (few + 1_000, 1_200, false),
        Aim::Rotate => (6_000, 2_600, true),
        Aim::Drain | Aim::Start | Aim::Rebuild => (few + 600, 1_200, false),
    };
    // Spread over the five minutes that the tenant's clock went on since the last cut.
    let now_us = scene.tenant().clock().now_us();
    let (from_us, to_us) = (now_us - FIVE_MINUTES_US + 20_000_000, now_us - 1_000_000);
    scene.tenant().publish_between(Kind::Activities, count, from_us, to_us, |draft| {
        draft.size = size;
        draft.noise = noise;
    });
    scene.tenant().publish_between(Kind::Threats, few / 10, from_us, to_us, |_| {});
    // A small limit makes many batches, each with an acknowledgement of its own.
    let limit = if matches!(aim, Aim::Drain | Aim::Young) { 25_000 } else { 2_000_000 };
    scene.ingress.turn(|knobs| knobs.size_limit = Some((limit, Measured::Inflated)));
    let is_away = aim != Aim::Young && (aim != Aim::New || prng.chance(50));
    if is_away {
        scene.ingress.server.take_away();
    }
    if matches!(aim, Aim::Drain | Aim::Start | Aim::Rebuild) {
        fill(scene, oracle)?;
    }
    if aim == Aim::Drain {
        scene.ingress.server.bring_back();
    }
    if aim == Aim::Rebuild {
        oracle.be_lenient(scene);
        for item in std::fs::read_dir(ground.place()).expect("the queue's directory").flatten() {
            if item.file_name().to_string_lossy().starts_with("index.") {
                std::fs::remove_dir_all(item.path()).expect("the index of a dead program");
            }
        }
    }
    Ok(())
}

/// A boot that takes all in, and delivers nothing, and is killed.
fn fill(scene: &mut Scene, oracle: &mut Oracle) -> Result<(), String> {
    oracle.boots(scene);
    let before = scene.tenant().requests();
    scene.run();
    let mut newest = HashMap::new();
    scene.ledger.look(|book| {
        for entry in &book.entries {
            let newest = newest.entry(entry.stream.kind).or_insert(i64::MIN);
            *newest = entry.position_us.max(*newest);
        }
    });
    // A page is stored once something else is asked for.
    let all_in = |seen: &[Seen]| {
        let done = &seen[before..seen.len().max(before + 1) - 1];
        newest.iter().all(|(kind, newest)| {
            done.iter().any(|seen| seen.kind == Some(*kind) && seen.reached_us == Some(*newest))
        })
    };
    let end = Instant::now() + PATIENCE;
    let mut all = None;
    while all.is_none() && Instant::now() < end && scene.daemon().is_running() {
        let slice = Duration::from_millis(200);
        all = scene.tenant().wait(slice, |seen| all_in(seen).then_some(()));
    }
    let at = Instant::now();
    scene.kill();
    oracle.fault(scene, at)?;
    all.ok_or_else(|| format!("not all is taken in\n{}", scene.story()))
}

fn trip(aim: Aim, prng: &mut Prng) -> Trip {
    let nth = |prng: &mut Prng, most: u64| 1 + prng.below(most);
    let count = |prng: &mut Prng, most: u64| usize::try_from(1 + prng.below(most)).expect("small");
    match aim {
        // Lock, directories, index and what is in it, reserve, checkpoint, log.
        Aim::New if prng.chance(50) => Trip::File(What::Made, "", nth(prng, 12)),
        Aim::New => Trip::File(What::Written, "index.0/", nth(prng, 4)),
        Aim::Young => Trip::Batches(30 + count(prng, 60)),
        Aim::Poll if prng.chance(50) => Trip::Pages(count(prng, 5)),
        Aim::Poll if prng.chance(50) => Trip::File(What::Written, "log/", nth(prng, 8)),
        Aim::Poll => Trip::File(What::Written, "index.", nth(prng, 5)),
        Aim::Rotate => Trip::File(What::Made, "log/", 1 + nth(prng, 2)),
        // The first few are refused for their size; some fifty follow.
        Aim::Drain if prng.chance(75) => Trip::Batches(8 + count(prng, 40)),
        Aim::Drain => Trip::File(What::Written, "index.", 6 + nth(prng, 40)),
        Aim::Start => Trip::File(What::Made, "opening.", 1),
        Aim::Rebuild if prng.chance(50) => Trip::File(What::Made, "index.", nth(prng, 3)),
        Aim::Rebuild => Trip::File(What::Written, "index.", nth(prng, 4)),
    }
}

/// Follows the queue's directory, and blows the fuse at the step that was chosen.
fn follow(ground: &MountedFs, fuse: &Arc<Fuse>, trip: Trip, delay: Duration) -> Trail {
    let (fuse, count) = (Arc::clone(fuse), AtomicU64::new(0));
    Trail::follow(ground.place(), move |step| {
        if let Trip::File(what, beginning, nth) = trip
            && step.is(what, beginning)
            && count.fetch_add(1, Ordering::Relaxed) + 1 == nth
        {
            pause(delay);
            fuse.blow();
        }
    })
}

/// Where in what follows the cut comes, is the point of it.
fn pause(delay: Duration) {
    Watched::new(()).wait(delay, |()| None::<()>);
}

/// Where a cut landed: told from what was done to the files before it, and what was asked for.
fn moment(steps: &[Step], doings: Doings, is_new: bool, aim: Aim) -> &'static str {
    let last = |what, beginning| steps.iter().rposition(|step| step.is(what, beginning));
    let first_file = steps.iter().position(|step| step.is(What::Made, "log/"));
    let committed = last(What::Written, "index.");
    let rotated = last(What::Made, "log/").filter(|at| Some(*at) != first_file);
    if is_new && first_file.is_none() {
        let has_index = steps.iter().any(|step| step.is(What::Made, "index."));
        return if has_index { "a new queue's index" } else { "a new queue" };
    }
    if doings.requests == 0 {
        return if aim == Aim::Rebuild { "the rebuild" } else { "a start" };
    }
    if rotated.is_some() && rotated > committed {
        return "file rotation";
    }
    if doings.last_was_a_new_page || last(What::Written, "log/") > committed {
        return "taking a page in";
    }
    if doings.batches > 0 {
        return if is_new { "a new queue's first drain" } else { "the drain" };
    }
    "between two polls"
}
