//! Campaign: what lies in the queue's directory is damaged between two runs.
//!
//! Bytes are flipped, files cut, zeroed, deleted or swapped with an older copy, a directory vanishes: in
//! the index, in the log, in the checkpoint, in `parked/`, in all of them. Promises: the next start
//! goes on, says what it found with a stable reason, sets it aside, and everything arrives; a start
//! that hangs or dies while it opens the index is survived. `S1C_DAMAGES=2000` damages more often.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use s1_coralogix::prng::Prng;

use crate::campaign::Campaign;
use crate::scene::Scene;
use crate::support::clock::MINUTE;
use crate::support::data::Kind;
use crate::support::ledger::Book;
use crate::syscalls::stage;

const SHORT: u64 = 40;
/// Records delivered before the damage, and waiting when it comes.
const DELIVERED: usize = 300;
const WAITING: usize = 900;
/// Every reason that a start or a repair may give; docs/QUEUE.md says what each means.
const REASONS: [&str; 6] = [
    "index-replaced",
    "log-damaged",
    "log-tail-dropped",
    "page-adopted",
    "checkpoint-damaged",
    "frame-damaged",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Index,
    Log,
    Checkpoint,
    Parked,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Flipped,
    Cut,
    Zeroed,
    Deleted,
    Older,
    /// The whole directory.
    Missing,
}

const PLACES: [At; 5] = [At::Index, At::Log, At::Checkpoint, At::Parked, At::All];
const WAYS: [How; 6] =
    [How::Flipped, How::Cut, How::Zeroed, How::Deleted, How::Older, How::Missing];

/// A queue as it was before the damage, to be damaged again and again.
struct Base {
    scene: Scene,
    older: PathBuf,
    whole: PathBuf,
    book: Book,
}

#[test]
fn whatever_is_damaged_everything_arrives() {
    let mut campaign = Campaign::new("damage", "S1C_DAMAGES", SHORT);
    let mut base = base();
    while !campaign.is_over() {
        let nth = campaign.rounds as usize;
        let (at, how) = (PLACES[nth % PLACES.len()], WAYS[nth / PLACES.len() % WAYS.len()]);
        let seed = campaign.prng.next_u64();
        campaign.met(format!("{how:?} in {at:?}").to_lowercase());
        campaign.at_stake += WAITING as u64;
        let outcome =
            catch_unwind(AssertUnwindSafe(|| one(&mut campaign, &mut base, at, how, seed)));
        campaign.round(outcome.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            format!("{how:?} in {at:?}, {seed}: {text}")
        }));
    }
    campaign.end();
}

/// Three runs: one that delivers, one whose poisoned record is parked, two that can't deliver.
fn base() -> Base {
    let mut scene = stage();
    let now = scene.tenant().clock().now_us();
    let publish = |scene: &Scene, count: usize, minutes: [i64; 2]| {
        let between = minutes.map(|minutes| now - minutes * MINUTE);
        let kind = [Kind::Activities, Kind::Threats][usize::from(minutes[0] % 20 == 0)];
        scene
            .tenant()
            .publish_between(kind, count, between[0], between[1], |draft| draft.size = 1_500)
    };
    let ids = publish(&scene, DELIVERED, [90, 80]);
    let poison = format!("\"id\": \"{}\"", ids[7]);
    scene.ingress.turn(|knobs| knobs.poison = Some(Arc::new(move |text| text.contains(&poison))));
    scene.once();
    scene.ingress.server.take_away();
    let mut older = None;
    for minutes in [[70, 65], [60, 55], [50, 45]] {
        publish(&scene, WAITING / 3, minutes);
        scene.once();
        older.get_or_insert_with(|| copy_of(&scene.queue_dir(), &scene.path("older")));
    }
    scene.ingress.server.bring_back();
    scene.ingress.turn(|knobs| knobs.poison = None);
    let whole = copy_of(&scene.queue_dir(), &scene.path("whole"));
    scene.ledger.change(Book::begin_again);
    let book = scene.ledger.look(Book::clone);
    // The parked record is not delivered, and need not be.
    assert_eq!(book.balance().lost, WAITING + 1, "{}", scene.story());
    Base { scene, older: older.expect("there was a run"), whole, book }
}

fn one(campaign: &mut Campaign, base: &mut Base, at: At, how: How, seed: u64) {
    let queue = base.scene.queue_dir();
    fs::remove_dir_all(&queue).expect("it was there");
    copy_of(&base.whole, &queue);
    let book = base.book.clone();
    base.scene.ledger.change(|now| *now = book);
    let before = quarantined(&queue);
    let damaged = damage(&queue, &base.older, at, how, seed);
    let ended = base.scene.once();
    let (said, told) = (reasons(&ended.err), format!("{damaged:?}\n{}", ended.err));
    assert_eq!(ended.code, Some(0), "{told}");
    assert!(!ended.err.contains("panicked at"), "{told}");
    let balance = base.scene.ledger.balance();
    let again = base.scene.ledger.look(Book::again);
    let missing = base.scene.ledger.look(|book| book.missing().count());
    // One was parked; asked for again after damage it is delivered.
    campaign.published += (WAITING + 1) as u64;
    campaign.duplicated += (balance.duplicates + again) as u64;
    campaign.lost += missing.saturating_sub(1) as u64;
    assert!(missing <= 1 && balance.changed == 0, "{balance}, missing {missing}\n{told}");
    for reason in &said {
        campaign.note(reason, 1);
    }
    let aside = quarantined(&queue) > before;
    for (place, reason) in must_be_said(at, how) {
        assert!(
            said.iter().any(|said| reason.contains(said)),
            "{place} is silent: {said:?}\n{told}"
        );
    }
    let is_set_aside = aside || how == How::Deleted || how == How::Missing;
    assert!(
        said.is_empty()
            || is_set_aside
            || said
                .iter()
                .all(|r| *r == "log-tail-dropped" || *r == "page-adopted" || *r == "log-damaged"),
        "kept in place: {said:?}\n{told}"
    );
}

/// What can't go without a word. Damage elsewhere may lie where nothing was, or nothing counts.
fn must_be_said(at: At, how: How) -> Vec<(&'static str, &'static [&'static str])> {
    let index = ("the index", &["index-replaced"][..]);
    let log = ("the log", &["log-damaged", "frame-damaged", "log-tail-dropped"][..]);
    let checkpoint = ("the checkpoint", &["checkpoint-damaged"][..]);
    match (at, how) {
        (At::Index, How::Missing | How::Zeroed) => vec![index],
        (At::Log, How::Missing | How::Zeroed) => vec![log],
        (At::Checkpoint, How::Flipped | How::Cut | How::Zeroed) => vec![checkpoint],
        (At::All, How::Zeroed) => vec![index, checkpoint],
        _ => Vec::new(),
    }
}

/// The stable reasons in a log, each once.
fn reasons(log: &str) -> Vec<&'static str> {
    REASONS.into_iter().filter(|reason| log.contains(&format!("{reason}: "))).collect()
}

fn quarantined(queue: &Path) -> usize {
    files_below(&queue.join("quarantine")).len()
}

/// Damages, and tells which files.
fn damage(queue: &Path, older: &Path, at: At, how: How, seed: u64) -> Vec<String> {
    let mut prng = Prng::new(seed);
    let dirs: Vec<PathBuf> = match at {
        At::Index => vec![queue.join("index.0")],
        At::Log => vec![queue.join("log")],
        At::Checkpoint => vec![queue.join("checkpoint")],
        At::Parked => vec![queue.join("parked")],
        At::All => ["index.0", "log", "checkpoint", "parked"].map(|name| queue.join(name)).into(),
    };
    let mut done = Vec::new();
    for dir in dirs {
        if how == How::Missing {
            let gone = if dir.is_dir() { fs::remove_dir_all(&dir) } else { fs::remove_file(&dir) };
            gone.expect("it was there");
            done.push(dir.display().to_string());
            continue;
        }
        let mut files = files_below(&dir);
        if dir.is_file() {
            files.push(dir);
        }
        // Zeroing means all of a place, for that can't go unnoticed; the others one file of it.
        if how != How::Zeroed && !files.is_empty() {
            files = vec![files.swap_remove(prng.below(files.len() as u64) as usize)];
        }
        for file in files {
            spoil(&file, queue, older, how, &mut prng);
            done.push(file.display().to_string());
        }
    }
    done
}

fn spoil(file: &Path, queue: &Path, older: &Path, how: How, prng: &mut Prng) {
    let mut bytes = fs::read(file).expect("readable");
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let at = prng.below(used.max(1) as u64) as usize;
    match how {
        How::Flipped => {
            for byte in bytes.iter_mut().skip(at).take(1 + prng.below(64) as usize) {
                *byte ^= 1 << prng.below(8);
            }
        }
        How::Cut => bytes.truncate(at),
        How::Zeroed => bytes.iter_mut().for_each(|byte| *byte = 0),
        How::Older => {
            let below = file.strip_prefix(queue).expect("it is in the queue");
            // What is not in the older copy stays; what is, goes back to it.
            bytes = fs::read(older.join(below)).unwrap_or(bytes);
        }
        How::Deleted => return fs::remove_file(file).expect("it was there"),
        How::Missing => unreachable!("done for the whole directory"),
    }
    fs::write(file, bytes).expect("writable");
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found = BTreeSet::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => _ = found.insert(path),
        }
    }
    found.into_iter().collect()
}

fn copy_of(from: &Path, to: &Path) -> PathBuf {
    fs::create_dir_all(to).expect("writable");
    for path in fs::read_dir(from).expect("readable").flatten().map(|entry| entry.path()) {
        let there = to.join(path.file_name().expect("it has a name"));
        match path.is_dir() {
            true => _ = copy_of(&path, &there),
            false => _ = fs::copy(&path, there).expect("readable"),
        }
    }
    to.to_owned()
}

/// Opening it waits for ever, as sled does over some damaged files: a pipe that nobody writes to.
fn make_opening_hang(scene: &Scene) {
    let conf = scene.queue_dir().join("index.0/conf");
    fs::remove_file(&conf).expect("sled made it");
    mknodat(CWD, &conf, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe can be made");
}

fn with_a_backlog() -> Scene {
    let mut scene = stage();
    scene.tenant().publish(Kind::Activities, 200);
    scene.ingress.server.take_away();
    scene.once();
    scene.ingress.server.bring_back();
    scene
}

#[test]
fn an_index_that_hangs_while_it_is_opened_is_given_up_by_the_same_start() {
    let mut scene = with_a_backlog();
    make_opening_hang(&scene);
    let ended = scene.once_with_code(0);
    assert!(ended.err.contains("index-replaced: "), "{}", ended.err);
    assert!(ended.err.contains("sled did not answer"), "{}", ended.err);
    scene.assert_exactly_once();
    assert!(scene.queue_dir().join("quarantine/000001-index.0").is_dir());
}

#[test]
fn starts_that_die_while_the_index_is_opened_are_survived_by_the_next() {
    let mut scene = with_a_backlog();
    make_opening_hang(&scene);
    for attempt in 1..=2 {
        scene.run();
        scene.wait_file(&scene.queue_dir().join(format!("opening.{attempt}")));
        scene.kill();
    }
    let ended = scene.once_with_code(0);
    assert!(ended.err.contains("opening it did not complete, 2 times in a row"), "{}", ended.err);
    scene.assert_exactly_once();
}
