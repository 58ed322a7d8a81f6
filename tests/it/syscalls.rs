//! Campaign: every system call on the queue's directory fails once, or is the last one.
//!
//! The built program runs under `strace`, which lets the n-th call of one kind on a path of the queue
//! fail with EIO, then with ENOSPC, or kills the program at it; for n = 1, 2, 3 and so on until a run
//! passes without meeting its fault. Promises: after each, a start without strace delivers all that was
//! ever published; what failed is not written to again by the process that saw it fail; nothing
//! panics or hangs. `S1C_SYSCALLS=100000` does all of them, a smaller number as many, spread evenly
//! from a place that `S1C_SEED` gives. Needs strace and the right to trace; where one is missing the
//! test says so, and with CI set it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::campaign::Campaign;
use crate::scene::{PATIENCE, Scene};
use crate::support::clock::MINUTE;
use crate::support::data::Kind;
use crate::support::process::{Ended, Process};

const SHORT: u64 = 48;
/// The calls that change what is on the disk, and those by which it is reached.
const CALLS: [&str; 14] = [
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "openat",
    "ftruncate",
    "mkdir",
    "mkdirat",
];
/// Those after whose failure a file is not to be trusted any more.
const OF_A_FILE: [&str; 6] =
    ["write", "pwrite64", "fsync", "fdatasync", "sync_file_range", "ftruncate"];
const FAULTS: [(&str, &str); 3] =
    [("EIO", "error=EIO"), ("ENOSPC", "error=ENOSPC"), ("kill", "signal=SIGKILL")];
const RECORDS: usize = 30;
/// So far behind, nothing that the queue once took is ever asked for again.
const OVERLAP: &str = "1s";

/// What the program begins with when it meets the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fixture {
    /// No queue yet.
    Fresh,
    /// A queue in which records wait that SentinelOne is never asked for again.
    Backlog,
}

/// One call to fail.
#[derive(Clone, Debug)]
struct Trial {
    ground: Fixture,
    call: &'static str,
    fault: (&'static str, &'static str),
    nth: usize,
}

#[test]
fn every_system_call_may_fail_once() {
    if !Campaign::is_possible("syscalls", strace().map(drop)) {
        return;
    }
    let mut campaign = Campaign::new("syscalls", "S1C_SYSCALLS", SHORT);
    let paths: Vec<(Fixture, BTreeSet<String>, BTreeMap<&str, usize>)> =
        [Fixture::Fresh, Fixture::Backlog].map(good_day).into();
    let mut trials = Vec::new();
    for (ground, _, counts) in &paths {
        for (call, count) in counts {
            let call = CALLS.into_iter().find(|known| known == call).expect("one of them");
            // One more than there are: a run that meets no fault ends the count.
            for (fault, nth) in
                FAULTS.iter().flat_map(|fault| (1..=count + 1).map(move |n| (*fault, n)))
            {
                trials.push(Trial { ground: *ground, call, fault, nth });
            }
        }
    }
    let wanted = campaign.wanted.min(trials.len() as u64) as usize;
    let first = campaign.prng.below(trials.len() as u64) as usize;
    for nth in 0..wanted {
        let trial = &trials[(first + nth * trials.len() / wanted) % trials.len()];
        let paths =
            paths.iter().find(|(ground, ..)| *ground == trial.ground).expect("both are known");
        one(&mut campaign, trial, &paths.1);
    }
    campaign.note("calls that could fail, three faults each", trials.len() as u64);
    campaign.end();
}

/// One run that meets its fault, and one that does not.
fn one(campaign: &mut Campaign, trial: &Trial, paths: &BTreeSet<String>) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut scene = stage();
        campaign.at_stake += prepare(&mut scene, trial.ground);
        let inject = format!("inject={}:{}:when={}", trial.call, trial.fault.1, trial.nth);
        let (ended, trace) = traced(&scene, paths, &["-e", &inject]);
        let met = trace.contains("(INJECTED)") || ended.signal.is_some();
        campaign.met(match met {
            true => format!("{} at {}", trial.fault.0, trial.call),
            false => "none, past the last call".to_owned(),
        });
        let killed = trial.fault.0 == "kill" && met;
        assert!(
            ended.signal.is_none() || killed,
            "ended by signal {:?}\n{}",
            ended.signal,
            ended.err
        );
        assert_ne!(ended.code, Some(101), "a panic\n{}", ended.err);
        assert!(killed || !ended.err.contains("panicked at"), "a panic is told\n{}", ended.err);
        let again = written_again(&trace);
        assert!(again.is_empty(), "trusted after it failed: {again:?}\n{trace}");
        scene.once_with_code(0);
        let balance = scene.ledger.balance();
        campaign.settle(&balance);
        assert_eq!(balance.lost + balance.changed, 0, "{balance}\n{}\n{trace}", ended.err);
    }));
    let told = outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        format!("{trial:?}: {text}")
    });
    campaign.round(told);
}

/// What the system refuses says nothing of what is on the disk: no index is set aside for it, and
/// what was delivered within the overlap does not come again.
#[test]
fn what_the_system_refuses_of_an_index_is_no_damage() {
    if !Campaign::is_possible("syscalls", strace().map(drop)) {
        return;
    }
    for inject in [
        "pread64:error=ESTALE:when=2",
        "pread64:error=ENOMEM:when=14",
        "pread64:error=EINVAL:when=20",
        "pread64:error=ENOLCK:when=1+",
        "pwrite64:error=ESTALE:when=2",
        "openat:error=ENFILE:when=40+",
        "openat:error=EMFILE:when=55+",
        "fdatasync:error=ENOMEM:when=1",
    ] {
        let mut scene = Scene::with(|settings| {
            (settings.retry_min, settings.retry_max) = ("50ms".into(), "50ms".into());
        });
        let publish = |scene: &Scene, count: usize, seconds: i64| {
            let now = scene.tenant().clock().now_us();
            let from = now - seconds * MINUTE / 60;
            for kind in [Kind::Activities, Kind::Threats] {
                scene.tenant().publish_between(kind, count, from, now, |data| data.size = 1_200);
            }
        };
        publish(&scene, RECORDS, 60);
        scene.once_with_code(0);
        scene.ingress.server.take_away();
        publish(&scene, 5, 10);
        scene.once();
        scene.ingress.server.bring_back();
        let queue = scene.queue_dir();
        let mut paths: BTreeSet<String> =
            ["", "log", "index.0", "index.0/db", "index.1", "index.1/db"].map(str::to_owned).into();
        for name in fs::read_dir(&queue).unwrap().chain(fs::read_dir(queue.join("log")).unwrap()) {
            let path = name.unwrap().path();
            paths.insert(path.strip_prefix(&queue).unwrap().display().to_string());
        }
        let (ended, trace) = traced(&scene, &paths, &["-e", &format!("inject={inject}")]);
        assert!(trace.contains("(INJECTED)"), "{inject} was not met\n{trace}");
        assert!(
            [Some(0), Some(75)].contains(&ended.code),
            "{inject}: {:?}\n{}",
            ended.code,
            ended.err
        );
        scene.once_with_code(0);
        let set_aside: Vec<_> = fs::read_dir(queue.join("quarantine")).unwrap().flatten().collect();
        let balance = scene.ledger.balance();
        assert_eq!(balance.lost + balance.changed, 0, "{inject}: {balance}\n{}", ended.err);
        // A batch that was accepted and could not be noted comes once more, and no other.
        assert!(balance.duplicates <= 10, "{inject}: {balance}\n{}", ended.err);
        let is_written = inject.starts_with("pwrite64");
        assert!(is_written || set_aside.is_empty(), "{inject}: {set_aside:?}\n{}", ended.err);
    }
}

/// Quick retries, and next to no overlap: what the queue took is never asked for again.
pub fn stage() -> Scene {
    Scene::with(|settings| {
        (settings.retry_min, settings.retry_max) = ("50ms".into(), "50ms".into());
        settings.integrations[0].overlap = OVERLAP.into();
    })
}

/// Publishes, and lets what is to wait be stored. Answers how many records wait.
fn prepare(scene: &mut Scene, ground: Fixture) -> u64 {
    let now = scene.tenant().clock().now_us();
    let publish = |scene: &Scene, from: i64, to: i64| {
        for kind in [Kind::Activities, Kind::Threats] {
            let between = (now - from * MINUTE, now - to * MINUTE);
            scene.tenant().publish_between(kind, RECORDS, between.0, between.1, |d| d.size = 1_200);
        }
    };
    publish(scene, 60, 40);
    if ground == Fixture::Fresh {
        return 0;
    }
    scene.ingress.server.take_away();
    scene.once();
    scene.ingress.server.bring_back();
    publish(scene, 20, 10);
    let waiting = scene.status().and_then(|status| status.pointer("/queue/waiting")?.as_u64());
    // The collector's own words may wait beside them.
    assert!(waiting >= Some(2 * RECORDS as u64), "{}", scene.story());
    2 * RECORDS as u64
}

/// Which paths of the queue a run touches, below its directory, and how often one thread makes each
/// call on them at most.
fn good_day(ground: Fixture) -> (Fixture, BTreeSet<String>, BTreeMap<&'static str, usize>) {
    let mut scene = stage();
    prepare(&mut scene, ground);
    let (ended, trace) = traced(&scene, &BTreeSet::new(), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let queue = scene.queue_dir().display().to_string();
    let mut paths = BTreeSet::from([String::new()]);
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, call, path)) = parts(line) else { continue };
        let Some(below) = path.strip_prefix(queue.as_str()) else { continue };
        paths.insert(below.trim_start_matches('/').to_owned());
        let Some(call) = CALLS.into_iter().find(|known| *known == call) else { continue };
        *counts.entry((call, thread)).or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((call, _), count) in counts {
        let so_far = most.entry(call).or_insert(0);
        *so_far = count.max(*so_far);
    }
    (ground, paths, most)
}

/// Runs the program once under strace. With paths, only calls on these count.
fn traced(scene: &Scene, paths: &BTreeSet<String>, more: &[&str]) -> (Ended, String) {
    let output = scene.path("trace");
    let text = |path: &Path| path.to_str().expect("a test's path is text").to_owned();
    let mut args: Vec<String> = ["-f", "-qq", "-y", "-s", "0", "-o"].map(str::to_owned).into();
    args.push(text(&output));
    args.extend(["-e".to_owned(), format!("trace={},pread64", CALLS.join(","))]);
    for path in paths {
        args.extend([
            "-P".to_owned(),
            text(&scene.queue_dir().join(path)).trim_end_matches('/').to_owned(),
        ]);
    }
    args.extend(more.iter().map(ToString::to_string));
    let strace = strace().expect("it was there before").into_os_string();
    let runner = [strace].into_iter().chain(args.into_iter().map(OsString::from));
    let program = scene.program.under(runner);
    let config = text(&scene.config_file());
    let process = Process::start(&program, &["--config", &config, "run", "--once"], &[]);
    let ended = process.wait(PATIENCE);
    let trace = fs::read_to_string(&output).unwrap_or_default();
    let Some(ended) = ended else {
        end_what_hangs(&scene.queue_dir());
        panic!("it hangs\n{}\n{trace}", process.err());
    };
    (ended, trace)
}

/// The program under strace goes on when strace is killed, so it is ended by its own number.
fn end_what_hangs(queue: &Path) {
    let pid = fs::read_to_string(queue.join("lock")).ok().and_then(|text| text.trim().parse().ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// The thread, the call, and the path that it is about: the first in quotes or of a descriptor.
fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (call, args) = rest.trim_start().split_once('(')?;
    let begin = args.find(['"', '<']).filter(|at| !args[*at..].starts_with("<unfinished"))?;
    // `AT_FDCWD</there>, "/path"`: the path is the one in quotes.
    let begin = match args.starts_with("AT_FDCWD") {
        true => args.find('"')?,
        false => begin,
    };
    let end = begin + 1 + args[begin + 1..].find(['"', '>'])?;
    Some((thread, call, &args[begin + 1..end]))
}

/// Files of the log that were written to after a call on them had failed.
fn written_again(trace: &str) -> Vec<String> {
    let mut failed: BTreeSet<&str> = BTreeSet::new();
    let mut again = Vec::new();
    for line in trace.lines() {
        let Some((_, call, path)) = parts(line) else { continue };
        // Removed, or made anew under its name: another file.
        if call == "unlink" || line.contains("O_EXCL") {
            failed.remove(path);
        }
        if call == "write" && failed.contains(path) {
            again.push(line.to_owned());
        }
        if line.contains("(INJECTED)") && path.ends_with(".log") && OF_A_FILE.contains(&call) {
            failed.insert(path);
        }
    }
    again
}

/// Where strace is, if it may trace here.
pub fn strace() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|dir| dir.join("strace")).find(|file| file.exists());
    let strace = found.ok_or("strace is not installed")?;
    let tried = Command::new(&strace).args(["-f", "-qq", "-o", "/dev/null", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => Ok(strace),
        Ok(output) => Err(format!("strace: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("strace: {error}")),
    }
}
