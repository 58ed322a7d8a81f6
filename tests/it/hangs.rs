//! Disks, mounts and name servers that do not answer: the collector goes on where it can, and hears a
//! request to stop always.
//!
//! `strace` holds single system calls for as long as a mount would; it stands beside the program
//! (`-D`), which stays the test's own child. It also holds the end of a thread that it holds, so once all
//! others have ended it is ended; a program that has not exited by then would die of a signal. Where it
//! is missing or may not trace, a test says so and counts as passed; with CI set it fails.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::autofs::Autofs;
use crate::campaign::Campaign;
use crate::scene::{PATIENCE, Scene};
use crate::support::data::Kind;
use crate::support::program::Program;
use crate::support::skip::skipped;
use crate::support::watched::Watched;
use crate::syscalls::strace;

/// A request to stop is heard within this, the time that container runtimes give.
const HEARD_WITHIN: Duration = Duration::from_secs(10);
/// Longer than any of these tests; after it what a failed one left behind ends by itself.
const FOR_EVER: u64 = 150;
/// Longer than an index may take that is not to be called broken, were its disk quick.
const LONG_SYNC: u64 = 22;

/// Whether calls can be held here.
fn is_possible(name: &str) -> bool {
    Campaign::is_possible(name, strace().map(drop))
}

/// From the next start on, the program's calls of these kinds on these files take so many seconds.
fn hold(scene: &mut Scene, calls: &str, seconds: u64, files: &[PathBuf]) {
    hold_some(scene, calls, "1+", seconds, files);
}

/// The same of some of them; strace counts the calls of each thread.
fn hold_some(scene: &mut Scene, calls: &str, when: &str, seconds: u64, files: &[PathBuf]) {
    let strace = strace().expect("it was there before").into_os_string();
    let mut args: Vec<OsString> = [strace].into();
    args.extend(["-D", "-f", "-qq", "-o", "/dev/null"].map(OsString::from));
    args.extend(files.iter().flat_map(|file| ["-P".into(), file.into()]));
    let inject = format!("inject={calls}:delay_enter={}:when={when}", seconds * 1_000_000);
    args.extend(
        [format!("trace={calls}"), inject].into_iter().flat_map(|e| ["-e".into(), e.into()]),
    );
    scene.program = scene.program.under(args);
}

/// A case again whose strace ended itself: it takes two events of a thread that it holds for a fault of its
/// own ("delayed wait data set already", strace 6.1), and lets the held call go.
fn unless_strace_ends(case: impl Fn() + std::panic::RefUnwindSafe) {
    for _ in 0..3 {
        let Err(panic) = std::panic::catch_unwind(&case) else { return };
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        if !text.contains("has delayed wait data set already") {
            std::panic::resume_unwind(panic);
        }
    }
    panic!("strace ended itself three times");
}

/// SIGTERM, and how the program ended.
fn hears_sigterm(scene: &mut Scene, code: i32) {
    const LOOK: Duration = Duration::from_millis(50);
    let (pid, never) = (scene.daemon().pid(), Watched::new(()));
    scene.daemon().signal(Signal::TERM);
    let heard = (0..HEARD_WITHIN.as_millis() / LOOK.as_millis()).any(|_| {
        never.wait(LOOK, |()| None::<()>);
        is_ending(pid)
    });
    assert!(heard, "SIGTERM is heard\n{}", scene.story());
    // Only a tracer of what this test started.
    if let Some(strace) =
        field(pid, "TracerPid:").and_then(|text| Pid::from_raw(text.parse().ok()?))
    {
        let _ = kill_process(strace, Signal::KILL);
    }
    assert_eq!(scene.ended().code, Some(code), "{}", scene.log());
}

/// Whether no thread is left but such as are held, or have ended. One that works sleeps now and then.
fn is_ending(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['t', 'Z', 'X']))
    })
}

fn field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}

/// The next start, on a sound machine.
fn ends_well(scene: &mut Scene, sound: Program) {
    scene.program = sound;
    scene.once_with_code(0);
    scene.assert_nothing_lost();
}

#[test]
fn a_status_file_and_metrics_on_a_mount_that_hangs_stop_nothing() {
    if !is_possible("files that hang") {
        return;
    }
    let mut scene = Scene::new();
    let metrics = scene.path("s1.prom");
    scene.settings.extra = format!("[metrics]\nfile = \"{}\"\n", metrics.display());
    scene.write_config();
    let files = [scene.path("status.json.new"), scene.path("s1.prom.new")];
    hold(&mut scene, "?open,openat", FOR_EVER, &files);
    scene.tenant().publish(Kind::Activities, 30);
    scene.run();
    scene.wait_log("S1C-W040 Writing the status file");
    scene.wait_log("S1C-W040 Writing metrics");
    scene.tenant().publish(Kind::Activities, 30);
    scene.settle();
    assert_eq!(scene.log().matches("S1C-W040").count(), 2, "once each\n{}", scene.log());
    hears_sigterm(&mut scene, 0);
    scene.assert_exactly_once();
}

#[test]
fn a_log_file_on_a_mount_that_hangs_stops_nothing_and_lines_lost_are_counted() {
    if !is_possible("a log that hangs") {
        return;
    }
    let mut scene = Scene::with(|settings| settings.log_level = "trace".to_owned());
    let log = scene.path("log");
    fs::write(&log, "").unwrap();
    hold(&mut scene, "write", FOR_EVER, std::slice::from_ref(&log));
    let into_it = "log=$1; shift; exec \"$@\" 2>>\"$log\"";
    let runner = ["sh", "-c", into_it, "sh"].map(OsString::from);
    scene.program = scene.program.under(runner.into_iter().chain([log.clone().into()]));
    scene.tenant().publish(Kind::Activities, 30);
    scene.run();
    scene.settle();
    assert_eq!(fs::read_to_string(&log).unwrap(), "", "it hangs");
    scene.wait_while_alive("lines are lost", |within| {
        // Each poll has its lines.
        scene.hurry();
        scene.wait_status(within, |status| {
            (status.pointer("/log_lines_lost")?.as_u64()? > 0).then_some(())
        })
    });
    scene.tenant().publish(Kind::Activities, 30);
    scene.settle();
    hears_sigterm(&mut scene, 0);
    scene.assert_exactly_once();
}

#[test]
fn a_slow_disk_is_told_and_is_no_broken_index() {
    if !is_possible("slow disk") {
        return;
    }
    unless_strace_ends(slow_index);
}

fn slow_index() {
    let mut scene = Scene::new();
    let sound = scene.program.clone();
    scene.tenant().publish(Kind::Activities, 30);
    scene.once_with_code(0);
    scene.tenant().publish(Kind::Activities, 30);
    let index = scene.queue_dir().join("index.0/db");
    hold(&mut scene, "fdatasync", LONG_SYNC, &[index]);
    scene.run();
    scene.wait_log("S1C-W214 The disk of the queue");
    // Not the first commit, nor the last: delivered in the middle of them.
    scene.settle();
    hears_sigterm(&mut scene, 1);
    let log = scene.log();
    assert!(log.contains("S1C-E042") && log.contains("after the request to stop"), "{log}");
    assert_eq!(log.matches("S1C-W214").count(), 1, "told once, counted then\n{log}");
    for code in ["S1C-E213", "S1C-W208", "S1C-E206"] {
        assert!(!log.contains(code), "the index is not to blame\n{log}");
    }
    let aside = fs::read_dir(scene.queue_dir().join("quarantine")).unwrap().count();
    assert_eq!(aside, 0, "nothing is set aside\n{}", scene.log());
    ends_well(&mut scene, sound);
}

/// Not only while records are stored.
#[test]
fn a_slow_disk_is_told_whatever_is_kept_on_it() {
    if !is_possible("slow disk") {
        return;
    }
    let case = |file: &str| {
        let mut scene = Scene::new();
        let kept = [scene.queue_dir().join(file), scene.queue_dir().join(file.to_owned() + ".new")];
        hold(&mut scene, "?rename,?renameat,renameat2", FOR_EVER, &kept);
        scene.tenant().publish(Kind::Activities, 30);
        scene.run();
        scene.wait_log("S1C-W214 The disk of the queue");
        hears_sigterm(&mut scene, 1);
        assert!(scene.log().contains("S1C-E042"), "{file}: {}", scene.log());
    };
    for file in ["learned", "clock"] {
        unless_strace_ends(|| case(file));
    }
}

#[test]
fn a_request_to_stop_is_heard_while_the_log_of_the_queue_hangs() {
    if !is_possible("disk that hangs") {
        return;
    }
    unless_strace_ends(log_that_hangs);
}

fn log_that_hangs() {
    let mut scene = Scene::new();
    let sound = scene.program.clone();
    scene.once_with_code(0);
    scene.tenant().publish(Kind::Activities, 30);
    let log = scene.queue_dir().join("log");
    hold(&mut scene, "fsync", FOR_EVER, &[log]);
    scene.run();
    scene.wait_log("S1C-W214 The disk of the queue");
    hears_sigterm(&mut scene, 1);
    ends_well(&mut scene, sound);
}

/// A held call of strace's still runs handlers; a wait within the kernel does not.
#[test]
fn a_request_to_stop_is_heard_while_the_loop_waits_in_the_kernel() {
    if !Autofs::is_possible() {
        let no = "no mount that never answers: the kernel has no autofs, or this may not mount it";
        return skipped(no);
    }
    let mut scene = Scene::new();
    let mount = Autofs::over(scene.queue_dir());
    scene.program = scene.program.under(Autofs::apart());
    scene.run();
    assert!(mount.holds(PATIENCE), "{} is needed\n{}", mount.path().display(), scene.story());
    scene.daemon().signal(Signal::TERM);
    // One that is not heard is never heard: on a busy machine the end itself takes a while.
    let is_heard = scene.daemon().wait(2 * HEARD_WITHIN).is_some();
    assert!(is_heard, "SIGTERM is heard\n{}", scene.story());
    let ended = scene.ended();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("S1C-E042"), "{}", ended.err);
}

/// Whichever thread of the program waits, the kernel finds the one that does not.
#[test]
fn one_thread_hears_signals_and_it_waits_for_no_file() {
    let mut scene = Scene::new();
    // A thread of its own writes to a file, and is older than most.
    let log = scene.path("log");
    fs::write(&log, "").unwrap();
    let into_it = "log=$1; shift; exec \"$@\" 2>>\"$log\"";
    let runner = ["sh", "-c", into_it, "sh"].map(OsString::from);
    scene.program = scene.program.under(runner.into_iter().chain([log.into()]));
    scene.tenant().publish(Kind::Activities, 30);
    scene.run();
    scene.settle();
    let threads = fs::read_dir(format!("/proc/{}/task", scene.daemon().pid())).unwrap();
    let mut seen = Vec::new();
    for thread in threads.flatten() {
        // One may have ended meanwhile.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        let of = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        let blocked = u64::from_str_radix(of("SigBlk:"), 16).unwrap();
        let signals = [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1];
        let hears = signals.map(|signal| blocked & (1 << (signal.as_raw() - 1)) == 0);
        assert_eq!(hears, [of("Name:") == "watch"; 4], "{status}");
        seen.push(of("Name:").to_owned());
    }
    for name in ["watch", "log", "index"] {
        assert!(seen.iter().any(|seen| seen == name), "{name}: {seen:?}");
    }
    scene.stop();
}

#[test]
fn a_request_to_stop_is_heard_while_no_name_server_answers() {
    if !is_possible("name servers that hang") {
        return;
    }
    let mut scene = Scene::with(|s| {
        s.tls = false;
        s.be_impatient("3s");
    });
    let config = scene.config().replace("127.0.0.1", "localhost");
    scene.write_file("config.toml", &config);
    let resolver = ["/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf"];
    hold(&mut scene, "?open,openat", FOR_EVER, &resolver.map(PathBuf::from));
    scene.run();
    scene.wait_log("localhost: no answer within 3s. Check the name servers");
    hears_sigterm(&mut scene, 0);
    assert!(!scene.log().contains("S1C-E042"), "{}", scene.log());
}

#[test]
fn a_secret_file_on_a_mount_that_hangs_is_told_and_used_once_it_answers() {
    if !is_possible("secret files that hang") {
        return;
    }
    let mut scene = Scene::new();
    // Longer than a secret file is waited for. Each thread that looks at files finds the mount back once.
    let token = [scene.path("acme.token")];
    hold_some(&mut scene, "?open,openat", "2", 6, &token);
    scene.tenant().publish(Kind::Activities, 30);
    scene.run();
    scene.wait_log("it does not answer. Check its mount");
    scene.tenant().publish(Kind::Activities, 30);
    scene.settle();
    hears_sigterm(&mut scene, 0);
    scene.assert_exactly_once();
}

#[test]
fn a_config_on_a_mount_that_hangs_stops_nothing_and_is_taken_once_it_answers() {
    if !is_possible("configs that hang") {
        return;
    }
    let mut scene = Scene::new();
    // As above: of each thread that reads the config, the second time.
    let config = [scene.path("config.toml")];
    hold_some(&mut scene, "?open,openat", "2", 20, &config);
    scene.run();
    scene.signal(Signal::HUP);
    scene.wait_log("S1C-I009");
    let changed = scene.config().replace("status.json", "moved.json");
    scene.write_file("config.toml", &changed);
    scene.signal(Signal::HUP);
    scene.wait_log("S1C-E341 Failed to read the config");
    scene.tenant().publish(Kind::Activities, 30);
    scene.settle();
    assert!(!scene.log().contains("S1C-I008"), "delivered while it hangs\n{}", scene.log());
    scene.wait_status_is("/settings_refused/code", "S1C-E010");
    scene.wait_log("S1C-I008");
    assert_eq!(scene.log().matches("S1C-E341").count(), 1, "told once\n{}", scene.log());
    scene.wait_file(&scene.path("moved.json"));
    hears_sigterm(&mut scene, 0);
    scene.assert_exactly_once();
}

#[test]
fn a_file_of_certificates_on_a_mount_that_hangs_is_told_and_the_old_config_stays() {
    if !is_possible("files that hang") {
        return;
    }
    let mut scene = Scene::new();
    let other = scene.path("other.pem");
    hold(&mut scene, "?open,openat", FOR_EVER, std::slice::from_ref(&other));
    scene.run();
    scene.wait_up();
    let config = scene.config();
    let (_, rest) = config.split_once("ca_file = \"").unwrap();
    let (file, _) = rest.split_once('"').unwrap();
    fs::copy(file, &other).unwrap();
    scene.write_file("config.toml", &config.replace(file, other.to_str().unwrap()));
    scene.signal(Signal::HUP);
    scene.wait_log("S1C-E010 The new config can't be used");
    assert!(scene.log().contains("other.pem: it does not answer. Check its mount"));
    scene.tenant().publish(Kind::Activities, 30);
    scene.settle();
    hears_sigterm(&mut scene, 0);
    scene.assert_exactly_once();
}

#[test]
fn a_request_to_stop_is_heard_while_a_secret_file_hangs_from_the_start() {
    if !is_possible("secret files that hang") {
        return;
    }
    let mut scene = Scene::new();
    let key = [scene.path("coralogix.key")];
    hold(&mut scene, "?open,openat", FOR_EVER, &key);
    scene.tenant().publish(Kind::Activities, 30);
    scene.run();
    scene.wait_waiting(30);
    scene.wait_log("it does not answer. Check its mount");
    hears_sigterm(&mut scene, 0);
}

/// Opening a pipe that nobody writes to waits for ever.
#[test]
fn a_pipe_where_a_file_should_be_keeps_nothing_waiting() {
    let mut scene = Scene::new();
    let pipe = |name: &str| {
        let _ = fs::remove_file(scene.path(name));
        rustix::fs::mkfifoat(rustix::fs::CWD, scene.path(name), 0o600.into()).unwrap();
    };
    pipe("status.json");
    let ended = scene.command(&["status"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("S1C-E414") && ended.err.contains("it is a pipe"), "{}", ended.err);
    let secret = fs::read(scene.path("acme.token")).unwrap();
    pipe("acme.token");
    let ended = scene.command(&["check"]);
    assert_eq!(ended.code, Some(78), "{}", ended.out);
    assert!(ended.out.contains("it is not a file"), "{}", ended.out);
    let config = fs::read(scene.path("config.toml")).unwrap();
    pipe("config.toml");
    for args in [&["run", "--once"][..], &["check"], &["queue", "stats"]] {
        let ended = scene.command(args);
        assert_eq!(ended.code, Some(78), "{args:?} {}", ended.err);
        assert!(ended.err.contains("it is a pipe"), "{args:?} {}", ended.err);
    }
    for (name, content) in [("acme.token", secret), ("config.toml", config)] {
        fs::remove_file(scene.path(name)).unwrap();
        fs::write(scene.path(name), content).unwrap();
    }
    scene.tenant().publish(Kind::Activities, 30);
    scene.once_with_code(0);
    assert!(fs::metadata(scene.path("status.json")).unwrap().is_file(), "it was replaced");
    let ended = scene.command(&["queue", "stats"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    scene.assert_exactly_once();
}
