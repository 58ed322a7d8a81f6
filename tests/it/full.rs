//! Campaign 4, full disk: the queue lies on a small file system that somebody else fills.
//!
//! Promises: whatever is full, and whenever it becomes so, the queue drains; polling goes on by itself
//! once there is room, in the same process; nothing is lost or told twice (P1, P2, P4). Where the
//! system does not allow that (a file system that turned read-only), a restart by the supervisor is
//! all it takes. On btrfs, which copies what is written, others take at once what draining frees.
//! `S1C_FULL=1000` for more rounds. Needs root, loop devices, mkfs.ext4 and btrfs; where one
//! is missing the test says so, and with CI set it fails.

use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::campaign::Campaign;
use crate::inotify::{Trail, What};
use crate::mounted_fs::{FileSystem, MountedFs, tool};
use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::watched::Watched;

const ROUNDS: u64 = 11;
/// How long nothing may move. Where free bytes show nothing, as under a quota, the queue looks for space
/// after 30, 45 and 75 s.
const PATIENCE: Duration = Duration::from_secs(180);
const DISK_BYTES: u64 = 64 << 20;
/// btrfs makes none that are much smaller.
const BTRFS_BYTES: u64 = 144 << 20;

/// What becomes full, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    WhilePolling,
    WhileDraining,
    AtStart,
    MaxSize,
    InodesWhilePolling,
    InodesWhileDraining,
    ReadOnly,
    BtrfsWhilePolling,
    /// Others take at once whatever is freed.
    BtrfsWhileDraining,
    BtrfsAtStart,
    QuotaWhilePolling,
}

impl Trouble {
    fn file_system(self) -> FileSystem {
        match self {
            Trouble::BtrfsWhilePolling
            | Trouble::BtrfsWhileDraining
            | Trouble::BtrfsAtStart
            | Trouble::QuotaWhilePolling => FileSystem::Btrfs,
            _ => FileSystem::Ext4,
        }
    }
}

const TROUBLES: [Trouble; 11] = [
    Trouble::WhilePolling,
    Trouble::WhileDraining,
    Trouble::AtStart,
    Trouble::MaxSize,
    Trouble::InodesWhilePolling,
    Trouble::InodesWhileDraining,
    Trouble::ReadOnly,
    Trouble::BtrfsWhilePolling,
    Trouble::BtrfsWhileDraining,
    Trouble::BtrfsAtStart,
    Trouble::QuotaWhilePolling,
];

#[test]
fn a_full_disk_stops_the_polling_only_and_only_while_it_is_full() {
    if !Campaign::is_possible(
        "full disk",
        MountedFs::possible(&["mkfs.ext4", "mkfs.btrfs", "btrfs"]),
    ) {
        return;
    }
    let mut campaign = Campaign::new("full disk", "S1C_FULL", ROUNDS);
    for nth in 0.. {
        if campaign.is_over() {
            break;
        }
        let trouble = TROUBLES[nth % TROUBLES.len()];
        let outcome = catch_unwind(AssertUnwindSafe(|| one_disk(&mut campaign, trouble)));
        let outcome = outcome.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.unwrap_or_else(|| "it panicked".into()))
        });
        campaign.met(format!("{trouble:?}"));
        campaign.round(outcome.map_err(|why| format!("{trouble:?}: {why}")));
    }
    campaign.end();
}

fn one_disk(campaign: &mut Campaign, trouble: Trouble) -> Result<(), String> {
    let mut scene = Scene::with(|settings| {
        settings.retry_max = "100ms".into();
        if trouble == Trouble::MaxSize {
            settings.max_size = "16MiB".into();
        }
    });
    let few_inodes: &[&str] = &["-N", "64"];
    let is_short = matches!(trouble, Trouble::InodesWhilePolling | Trouble::InodesWhileDraining);
    let options = if is_short { few_inodes } else { &[] };
    let (kind, bytes, options) = match trouble.file_system() {
        FileSystem::Btrfs => (FileSystem::Btrfs, BTRFS_BYTES, ["-m", "single"].as_slice()),
        other => (other, DISK_BYTES, options),
    };
    let ground = MountedFs::new(scene.queue_dir(), kind, bytes, options);
    let outcome = match trouble {
        Trouble::WhilePolling | Trouble::InodesWhilePolling => {
            polling(campaign, &mut scene, trouble)
        }
        Trouble::WhileDraining | Trouble::InodesWhileDraining => {
            draining(campaign, &mut scene, trouble)
        }
        Trouble::AtStart => at_start(campaign, &mut scene),
        Trouble::MaxSize => max_size(campaign, &mut scene),
        Trouble::ReadOnly => read_only(campaign, &mut scene, &ground),
        Trouble::BtrfsWhilePolling => polling(campaign, &mut scene, trouble),
        Trouble::BtrfsWhileDraining => draining_beside(campaign, &mut scene),
        Trouble::BtrfsAtStart => starting_beside(campaign, &mut scene),
        Trouble::QuotaWhilePolling => quota(campaign, &mut scene),
    };
    let outcome = outcome.and_then(|()| check_final_state(&mut scene));
    campaign.settle(&scene.ledger.balance());
    outcome
}

/// Polling resumes by itself: what was published is delivered, and what is published now is too.
fn check_final_state(scene: &mut Scene) -> Result<(), String> {
    scene.tenant().publish(Kind::Activities, 50);
    if !scene.ledger.wait_complete(PATIENCE) {
        return Err(format!("polling does not resume\n{}", scene.story()));
    }
    if !scene.daemon().is_running() {
        return Err(format!("the program has ended\n{}", scene.story()));
    }
    scene.stop();
    let balance = scene.ledger.balance();
    match (balance.lost, balance.changed, balance.out_of_order, balance.duplicates) {
        (0, 0, 0, 0) => Ok(()),
        _ => Err(format!("{balance}\n{}", scene.story())),
    }
}

/// So many activities and some threats are collected while Coralogix is away.
fn gather(campaign: &mut Campaign, scene: &mut Scene, count: usize) -> Result<(), String> {
    scene.ingress.server.take_away();
    publish(scene, count);
    scene.run();
    wait_settled(scene, campaign)
}

fn publish(scene: &Scene, count: usize) {
    scene.tenant().publish_with(Kind::Activities, count, |draft| {
        draft.size = 2_600;
        draft.noise = true;
    });
    scene.tenant().publish(Kind::Threats, count / 20);
}

/// The disk becomes full at some write of the log, while Coralogix is away.
fn polling(campaign: &mut Campaign, scene: &mut Scene, trouble: Trouble) -> Result<(), String> {
    scene.ingress.server.take_away();
    publish(scene, 9_000);
    let nth = 1 + campaign.prng.below(12);
    let filler = Arc::new(Watched::new(false));
    let trail = {
        let (filler, count, place) =
            (Arc::clone(&filler), AtomicU64::new(0), scene.queue_dir().clone());
        Trail::follow(&scene.queue_dir(), move |step| {
            if step.is(What::Written, "log/") && count.fetch_add(1, Ordering::Relaxed) + 1 == nth {
                fill(&place, trouble);
                filler.change(|filled| *filled = true);
            }
        })
    };
    scene.run();
    filler.wait(PATIENCE, |filled| filled.then_some(()));
    drop(trail);
    wait_settled(scene, campaign)?;
    scene.ingress.server.bring_back();
    drains(scene)?;
    empty(&scene.queue_dir());
    Ok(())
}

/// The disk becomes full after some batch, with much still waiting.
fn draining(campaign: &mut Campaign, scene: &mut Scene, trouble: Trouble) -> Result<(), String> {
    gather(campaign, scene, 5_000)?;
    let batches = scene.ingress.requests();
    let nth = usize::try_from(1 + campaign.prng.below(5)).expect("small");
    scene.ingress.turn(|knobs| knobs.slow = Duration::from_millis(20));
    scene.ingress.server.bring_back();
    let enough = |got: usize| (got >= batches + nth).then_some(());
    scene.ingress.wait(PATIENCE, |state| enough(state.got.len()));
    fill(&scene.queue_dir(), trouble);
    drains(scene)?;
    empty(&scene.queue_dir());
    Ok(())
}

/// The disk is full when the program starts, and something waits.
fn at_start(campaign: &mut Campaign, scene: &mut Scene) -> Result<(), String> {
    gather(campaign, scene, 3_000)?;
    scene.kill();
    fill(&scene.queue_dir(), Trouble::AtStart);
    scene.ingress.server.bring_back();
    scene.run();
    drains(scene)?;
    empty(&scene.queue_dir());
    Ok(())
}

/// Takes what is free, and what is freed, until it is dropped.
struct Filler {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Filler {
    fn beside(place: PathBuf) -> Filler {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let ballast = fs::File::create(place.join("lost+found/ballast")).expect("a first file");
        take_all(&ballast);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                take_all(&ballast);
                std::thread::park_timeout(Duration::from_millis(5));
            }
        });
        Filler { stop, thread: Some(thread) }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// The disk becomes full while much waits, and others take what draining frees.
fn draining_beside(campaign: &mut Campaign, scene: &mut Scene) -> Result<(), String> {
    gather(campaign, scene, 5_000)?;
    let filler = Filler::beside(scene.queue_dir());
    scene.ingress.server.bring_back();
    drains(scene)?;
    drop(filler);
    campaign.note("rounds drained beside others that take what is freed", 1);
    empty(&scene.queue_dir());
    Ok(())
}

/// The same, with a program that is killed again and again meanwhile.
fn starting_beside(campaign: &mut Campaign, scene: &mut Scene) -> Result<(), String> {
    gather(campaign, scene, 5_000)?;
    scene.kill();
    let filler = Filler::beside(scene.queue_dir());
    for _ in 0..3 {
        scene.run();
        wait_until(scene, "it starts", |scene| waiting(scene).is_some())?;
        scene.kill();
    }
    scene.ingress.server.bring_back();
    scene.run();
    drains(scene)?;
    drop(filler);
    empty(&scene.queue_dir());
    Ok(())
}

/// A quota on what the queue may take: the file system itself has space.
fn quota(campaign: &mut Campaign, scene: &mut Scene) -> Result<(), String> {
    let place = scene.queue_dir();
    let limit = "24M".as_ref();
    tool("btrfs", &["quota".as_ref(), "enable".as_ref(), &place]);
    tool("btrfs", &["qgroup".as_ref(), "limit".as_ref(), limit, &place]);
    gather(campaign, scene, 40_000)?;
    scene.ingress.server.bring_back();
    drains(scene)?;
    tool("btrfs", &["qgroup".as_ref(), "limit".as_ref(), "none".as_ref(), &place]);
    Ok(())
}

fn max_size(campaign: &mut Campaign, scene: &mut Scene) -> Result<(), String> {
    scene.ingress.server.take_away();
    publish(scene, 12_000);
    scene.run();
    scene.wait_status_is("/queue/room", "queue_full");
    campaign.at_stake += waiting(scene).unwrap_or(0);
    let bytes = scene.queue_bytes();
    if bytes > 16 << 20 {
        return Err(format!("{bytes} bytes on disk"));
    }
    scene.ingress.server.bring_back();
    Ok(())
}

/// The file system turns read-only under the program, as after an error of the disk. The kernel
/// gives it back only once nobody has a file open there: so the program must end by itself, and
/// end each time that it is started, with a word about why, until the disk is back.
fn read_only(campaign: &mut Campaign, scene: &mut Scene, ground: &MountedFs) -> Result<(), String> {
    gather(campaign, scene, 2_000)?;
    tool("mount", &["-o".as_ref(), "remount,abort".as_ref(), ground.place()]);
    publish(scene, 1_000);
    let ended = scene.ended();
    if ended.code != Some(1) {
        return Err(format!("it ended with {:?}\n{}", ended.code, scene.story()));
    }
    scene.ingress.server.bring_back();
    for _ in 0..2 {
        scene.run();
        let ended = scene.ended();
        if ended.code != Some(1) || !ended.err.contains("mounted for writing") {
            return Err(format!("{:?} and says {}\n{}", ended.code, ended.err, scene.story()));
        }
    }
    ground.mount_again();
    scene.run();
    Ok(())
}

/// Waits until nothing more is taken in, and counts what waits.
fn wait_settled(scene: &Scene, campaign: &mut Campaign) -> Result<(), String> {
    let asked = |scene: &Scene| {
        let published = scene.ledger.balance().published as u64;
        let room = scene
            .status()
            .and_then(|status| status["queue"]["room"].as_str().map(ToString::to_string));
        waiting(scene) == Some(published) || room.is_some_and(|room| room != "free")
    };
    wait_until(scene, "it takes no more in", asked)?;
    campaign.at_stake += waiting(scene).unwrap_or(0);
    if waiting(scene) < Some(scene.ledger.balance().published as u64) {
        campaign.note("rounds in which pages were refused for want of room", 1);
    }
    Ok(())
}

fn waiting(scene: &Scene) -> Option<u64> {
    let pid = u64::from(scene.daemon().pid());
    let status = scene.status().filter(|status| status["pid"].as_u64() == Some(pid))?;
    status["queue"]["waiting"].as_u64()
}

/// The disk is still full, and the queue drains.
fn drains(scene: &Scene) -> Result<(), String> {
    wait_until(scene, "the queue drains", |scene| waiting(scene) == Some(0))
}

/// Gives up when neither more is delivered nor more waits for so long: a busy machine is slow, and
/// goes on.
fn wait_until(scene: &Scene, what: &str, holds: impl Fn(&Scene) -> bool) -> Result<(), String> {
    let (mut most_waiting, mut delivered) = (None, 0);
    let mut end = Instant::now() + PATIENCE;
    while Instant::now() < end && scene.daemon().is_running() {
        if holds(scene) {
            return Ok(());
        }
        let now = (waiting(scene).max(most_waiting), scene.ledger.balance().delivered);
        if now != (most_waiting, delivered) {
            (most_waiting, delivered) = now;
            end = Instant::now() + PATIENCE;
        }
        Watched::new(()).wait(Duration::from_millis(20), |()| None::<()>);
    }
    Err(format!("{what}: it does not\n{}", scene.story()))
}

/// Takes all the room there is, or all inodes.
fn fill(place: &Path, trouble: Trouble) {
    let dir = place.join("lost+found");
    if matches!(trouble, Trouble::InodesWhilePolling | Trouble::InodesWhileDraining) {
        let mut names = 0..;
        while fs::File::create(dir.join(format!("{}", names.next().expect("endless")))).is_ok() {}
        return;
    }
    take_all(&fs::File::create(dir.join("ballast")).expect("an inode is left"));
}

fn take_all(mut ballast: &fs::File) {
    for piece in [1 << 20, 64 << 10, 4 << 10, 1 << 10] {
        let zeros = vec![0; piece];
        while ballast.write_all(&zeros).is_ok() {}
    }
}

fn empty(place: &Path) {
    for item in fs::read_dir(place.join("lost+found")).expect("mkfs made it").flatten() {
        fs::remove_file(item.path()).expect("a file of this test");
    }
}
