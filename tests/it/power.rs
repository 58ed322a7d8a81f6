//! Power cuts on a real file system: the queue lies on an ext4 of its own, which is shut down without
//! flushing its journal while the program works, and mounted again.
//!
//! Promises: after each cut, what had been stored is delivered with the tenant out of reach, so that
//! nothing can be polled again in its place; in the end nothing is lost. `S1C_CUTS=1000` cuts more
//! often. Needs root, loop devices, mkfs.ext4 and xfs_io; where one is missing the test says so and
//! counts as passed, and with CI set it fails.

#![expect(clippy::disallowed_methods, reason = "the number of cuts comes from the environment")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use s1_coralogix::prng::Prng;

use crate::scene::Scene;
use crate::support::data::Kind;

const CUTS: u64 = 12;
/// A boot that makes fewer requests than it was to be cut after is cut when this is over.
const LONGEST_BOOT: Duration = Duration::from_secs(2);
/// A new file system and a new queue after this many.
const CUTS_PER_QUEUE: u64 = 6;

#[test]
fn power_cuts_lose_nothing_that_was_stored() {
    if let Err(missing) = Ground::possible() {
        assert!(std::env::var_os("CI").is_none(), "CI must cut the power: {missing}");
        eprintln!("skipped: {missing}");
        return;
    }
    let cuts = std::env::var("S1C_CUTS").map_or(CUTS, |n| n.parse().expect("a number"));
    let seed = std::env::var("S1C_SEED").map_or(1, |n| n.parse().expect("a number"));
    let (mut prng, mut done) = (Prng::new(seed), 0);
    let (mut at_stake, mut published, mut duplicates) = (0, 0, 0);
    while done < cuts {
        let rounds = CUTS_PER_QUEUE.min(cuts - done);
        let mut scene = Scene::new();
        let ground = Ground::new(&scene);
        for round in 0..rounds {
            at_stake += one_cut(&mut scene, &ground, &mut prng, round);
        }
        scene.run();
        scene.settle();
        scene.poll_again();
        scene.stop();
        scene.assert_nothing_lost();
        let balance = scene.ledger.balance();
        published += balance.published;
        duplicates += balance.duplicates;
        done += rounds;
    }
    println!(
        "{done} power cuts: {published} records published, {at_stake} of them stored and not \
         delivered at a cut, lost 0, duplicates {duplicates}"
    );
}

/// One boot that ends with a power cut. Returns how many records it had stored for certain.
fn one_cut(scene: &mut Scene, ground: &Ground, prng: &mut Prng, round: u64) -> u64 {
    let more = 100 + usize::try_from(prng.below(2_500)).expect("small");
    scene.tenant().publish_with(Kind::Activities, more, |draft| draft.size = 1_200);
    let rebuild = round % 3 == 2;
    if rebuild {
        ground.lose_index();
    }
    let filling = prng.chance(60);
    if filling {
        scene.ingress.server.take_away();
    }
    let asked = scene.tenant().seen().len();
    let got = scene.ingress.got().len();
    scene.run();
    // The cut comes after some requests of one side or the other, at once or well into the work.
    let steps = usize::try_from(prng.below(7)).expect("small");
    if filling || prng.chance(50) {
        scene.tenant().wait_for(asked + steps, LONGEST_BOOT, |_| true);
    } else {
        scene.ingress.wait_for(got + steps.min(2), LONGEST_BOOT, |_| true);
    }
    let stored = if filling { waiting(scene) } else { 0 };
    let before = arrived(scene);
    ground.cut();
    scene.kill();
    ground.mount_again();
    if filling {
        scene.ingress.server.bring_back();
    }
    if stored > 0 {
        // Nothing can be polled: what arrives now was on the disk.
        scene.tenant().server.take_away();
        scene.run();
        scene.wait_up();
        scene.wait_status_is("/queue/waiting", "0");
        let after = arrived(scene);
        assert!(
            after - before >= stored,
            "{stored} stored, {} came\n{}",
            after - before,
            scene.story()
        );
        scene.kill();
        scene.tenant().server.bring_back();
    }
    stored
}

/// What Coralogix has taken, each time it came.
fn arrived(scene: &Scene) -> u64 {
    let balance = scene.ledger.balance();
    (balance.delivered + balance.duplicates) as u64
}

/// What the program had told of its queue before the cut: a lower bound of what it had stored.
fn waiting(scene: &Scene) -> u64 {
    let pid = u64::from(scene.daemon().pid());
    let status = scene.status().filter(|status| status["pid"].as_u64() == Some(pid));
    status.and_then(|status| status["queue"]["waiting"].as_u64()).unwrap_or(0)
}

/// A file system in a file, mounted where the queue lies.
struct Ground {
    image: PathBuf,
    mounted: PathBuf,
}

impl Ground {
    fn possible() -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("a file system can be mounted by root only".into());
        }
        for tool in ["mkfs.ext4", "xfs_io", "mount", "umount"] {
            let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
                .iter()
                .any(|dir| Path::new(dir).join(tool).exists());
            if !found {
                return Err(format!("{tool} is missing (packages e2fsprogs, xfsprogs, mount)"));
            }
        }
        match Path::new("/dev/loop-control").exists() {
            true => Ok(()),
            false => Err("there are no loop devices".into()),
        }
    }

    fn new(scene: &Scene) -> Ground {
        let ground = Ground { image: scene.path("disk.img"), mounted: scene.queue_dir() };
        fs::create_dir_all(&ground.mounted).expect("a folder in the scene's own");
        let image = fs::File::create(&ground.image).expect("a file in the scene's own folder");
        image.set_len(256 << 20).expect("a sparse file");
        tool("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), ground.image.as_ref()]);
        ground.mount();
        ground
    }

    fn mount(&self) {
        tool(
            "mount",
            &["-o".as_ref(), "loop".as_ref(), self.image.as_ref(), self.mounted.as_ref()],
        );
    }

    /// From now on nothing reaches the disk, and what was not synced is gone.
    fn cut(&self) {
        tool("xfs_io", &["-x".as_ref(), "-c".as_ref(), "shutdown".as_ref(), self.mounted.as_ref()]);
    }

    /// The journal is replayed, as at a boot.
    fn mount_again(&self) {
        tool("umount", &[self.mounted.as_ref()]);
        self.mount();
    }

    /// The index is gone; only the log and the checkpoint are left.
    fn lose_index(&self) {
        for item in fs::read_dir(&self.mounted).expect("the queue's directory").flatten() {
            if item.file_name().to_string_lossy().starts_with("index.") {
                fs::remove_dir_all(item.path()).expect("the index of a dead program");
            }
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Lazily: when a test fails the program may still be there.
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
    }
}

fn tool(name: &str, args: &[&Path]) {
    let status = Command::new(name).args(args).status();
    assert!(status.is_ok_and(|status| status.success()), "{name} {args:?}");
}
