//! Whether the directories that a config names can be used as they are: the steps of `check`
//! that need no network.
//!
//! Promises: creates and changes nothing. For the queue and for the files that are replaced it
//! makes the same tests as `run`. Never: examines the content of the queue.

use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::statvfs;
use rustix::process::{getegid, geteuid};

use super::step::{Fault, Outcome};
use crate::cause::Cause;
use crate::config::Queue;
use crate::errno::system_remedy;
use crate::message;
use crate::os::config_file::{self, ConfigError};
use crate::os::owner::NotTheOwner;
use crate::os::regular;
use crate::os::secret::plain;
use crate::queue::inspect::Inspector;
use crate::queue::real::RealDisk;
use crate::queue::{OpenError, access};
use crate::report::may_replace;

/// Where service managers make a runtime directory for each service.
const RUN: [&str; 2] = ["/run", "/var/run"];

/// The step for a valid config; a failure where the user `seen_as` can't read it.
pub fn config(file: &Path, seen_as: Option<&str>) -> Result<String, Outcome> {
    let directory = config_file::directory(file);
    let closed = |path: &Path, mode: &str, why: &str| {
        let (user, shown) = (seen_as.unwrap_or("this user"), path.display());
        let what = format!("{user}, the owner of the queue, can't read {shown}: {why}");
        let gid = getegid().as_raw();
        let remedy = format!("Let its group read it: chgrp {gid} {shown} && chmod {mode} {shown}");
        Outcome::failed(Cause::ConfigInvalid, what, remedy)
    };
    let files = config_file::files(file).map_err(|why| match why {
        ConfigError::System(why) => Outcome::Failed(Fault::of(Cause::SystemRefuses, why)),
        _ => closed(&directory, "g+rx", "permission denied"),
    })?;
    for file in files.iter().filter(|_| seen_as.is_some()) {
        if let Err(why) = regular::open(file) {
            return Err(match system_remedy(&why) {
                Some(remedy) => {
                    let what = format!("{} can't be read: {}", file.display(), plain(&why));
                    Outcome::failed(Cause::SystemRefuses, what, remedy)
                }
                None => closed(file, "g+r", &plain(&why).to_ascii_lowercase()),
            });
        }
    }
    let more = match files.len() {
        0 | 1 => String::new(),
        2 => format!(", with 1 file of {}", directory.display()),
        all => format!(", with {} files of {}", all - 1, directory.display()),
    };
    Ok(match seen_as {
        Some(user) => format!(
            "valid{more}; running the following checks as {user}, the owner of \
            the queue"
        ),
        None => format!("valid{more}"),
    })
}

/// The queue belongs to another user and this process is not root. Nothing else is tried: each step
/// would show what this user may do, and its remedy would take from the service what belongs to it.
pub fn anothers(dir: &Path, owner: &str) -> Outcome {
    let (shown, uid) = (dir.display(), geteuid().as_raw());
    Outcome::failed(
        Cause::QueueUnusable,
        format!(
            "{shown} belongs to {owner}, and this command runs as uid {uid}, which can't read \
            it"
        ),
        format!("Run this command with sudo: it then runs as {owner}"),
    )
}

/// Root can't become the owner of the queue, as which `run` would go on.
pub fn not_as_owner(why: &NotTheOwner) -> Outcome {
    let fault = Fault::of(Cause::QueueUnusable, why.problem());
    Outcome::Failed(Fault { code: message::QUEUE_NOT_AS_OWNER, ..fault })
}

/// Whether the queue can be kept in the configured directory. `remedy`: that of a user who can't use it
/// because the service is another's.
pub fn queue(queue: &Queue, is_in_use: bool, remedy: Option<String>) -> Outcome {
    let dir = &queue.dir;
    let shown = dir.display();
    if let Err(why) = access::look(dir) {
        return unopened(&why.with_remedy(remedy));
    }
    if dir.exists()
        && let Err(why) = Inspector::open(RealDisk::new(dir), None)
    {
        // `run` repairs any other problem of it.
        if why.kind() == ErrorKind::Unsupported {
            return unopened(&OpenError::Newer { place: shown.to_string(), why: why.to_string() });
        }
    }
    let verb = match (dir.exists(), is_in_use) {
        (false, _) => "will be created",
        (true, true) => "is in use by the running daemon",
        (true, false) => "can be written",
    };
    let Some(free) = free_bytes(dir) else {
        return Outcome::Passed(format!("{shown} {verb}"));
    };
    // Opening an index writes to it.
    let unread = match !is_in_use && access::has_index(dir) {
        true => "; its index is not read: `run` builds one that is damaged again from the log",
        false => "",
    };
    let text = format!("{shown} {verb}, {} free{unread}", size(free));
    match free < queue.min_free_bytes {
        false => Outcome::Passed(text),
        true => Outcome::noted(
            Cause::QueueLowRoom,
            format!(
                "{text}: less than queue.min_free ({}), so nothing is collected until there is \
                 space",
                size(queue.min_free_bytes)
            ),
            "Free space on this file system, or lower queue.min_free",
        ),
    }
}

/// The reason for which `run` can't open the queue, in the same words.
fn unopened(why: &OpenError) -> Outcome {
    let fault = Fault::of(Cause::QueueUnusable, why.problem());
    match why {
        OpenError::Denied { .. } => Outcome::Failed(fault),
        why => Outcome::Failed(Fault { code: why.message(), ..fault }),
    }
}

/// Whether the daemon can write the status file: as the user it runs as, so after root has become
/// that user.
pub fn status_file(file: &Path) -> Outcome {
    let lost = ("so `status` will have nothing to show", "set status.file");
    replaced(file, Cause::StatusUnwritable, lost)
}

/// The same for the metrics file.
pub fn metrics_file(file: &Path) -> Outcome {
    let lost = ("so there will be no metrics", "set metrics.file, or remove it");
    replaced(file, Cause::MetricsUnwritable, lost)
}

fn replaced(file: &Path, cause: Cause, (lost, other): (&str, &str)) -> Outcome {
    let shown = file.display();
    let dir = file.parent().unwrap_or(Path::new("/"));
    match may_replace(file) {
        Ok(()) => Outcome::Passed(format!("{shown} can be written")),
        // Made by RuntimeDirectory= of the unit, or by the init script; absent while the service is
        // stopped.
        Err(_) if !dir.exists() && RUN.iter().any(|run| dir.parent() == Some(Path::new(run))) => {
            Outcome::Skipped(
                "its directory does not exist now; it is created when the service \
                starts",
            )
        }
        Err(why) => {
            let remedy = match why.kind() {
                ErrorKind::IsADirectory => format!("Remove it, or {other}"),
                ErrorKind::Unsupported => format!("Name a place on a disk or in memory: {other}"),
                _ => format!("Let uid {} write there, or {other}", geteuid().as_raw()),
            };
            Outcome::noted(cause, format!("{}, {lost}", plain(&why)), remedy)
        }
    }
}

fn free_bytes(dir: &Path) -> Option<u64> {
    let looked = dir.ancestors().find(|parent| parent.exists())?;
    let stat = statvfs(looked).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn size(bytes: u64) -> String {
    match bytes >> 30 {
        0..10 => format!("{} MiB", bytes >> 20),
        gib => format!("{gib} GiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::WriteMode;
    use crate::test_world::temp::TempDir;

    fn told(dir: &Path, min_free_bytes: u64) -> Outcome {
        let dir = dir.to_owned();
        let config =
            Queue { dir, max_size_bytes: 1 << 30, min_free_bytes, write: WriteMode::Always };
        queue(&config, false, None)
    }

    #[test]
    fn a_directory_that_can_be_used_or_made_passes_and_is_left_alone() {
        let dir = TempDir::new("local-checks");
        let Outcome::Passed(text) = told(dir.path(), 0) else { panic!("it can be used") };
        assert!(text.contains(" can be written, ") && text.ends_with(" free"), "{text}");
        let new = dir.path().join("a/b");
        let Outcome::Passed(text) = told(&new, 0) else { panic!("it can be made") };
        assert!(text.contains(" will be created, "), "{text}");
        assert!(!dir.path().join("a").exists());
        assert!(matches!(status_file(&dir.path().join("run/status.json")), Outcome::Passed(_)));
        assert!(!dir.path().join("run").exists());
    }

    #[test]
    fn a_tick_does_not_speak_for_an_index_that_nobody_opened() {
        let dir = TempDir::new("local-checks-index");
        let index = dir.path().join("index.0");
        std::fs::create_dir(&index).unwrap();
        std::fs::write(index.join("db"), "not a database").unwrap();
        let before = std::fs::metadata(index.join("db")).unwrap().modified().unwrap();
        let Outcome::Passed(text) = told(dir.path(), 0) else { panic!("`run` repairs it") };
        assert!(text.contains("its index is not read"), "{text}");
        let config = Queue {
            dir: dir.path().to_owned(),
            max_size_bytes: 1 << 30,
            min_free_bytes: 0,
            write: WriteMode::Always,
        };
        let Outcome::Passed(text) = queue(&config, true, None) else { panic!("it is in use") };
        assert!(text.contains("is in use by the running daemon"), "{text}");
        assert!(text.ends_with(" free"), "the daemon has read it: {text}");
        let after = std::fs::metadata(index.join("db")).unwrap().modified().unwrap();
        assert_eq!((before, std::fs::read_dir(&index).unwrap().count()), (after, 1));
    }

    #[test]
    fn what_can_not_be_used_is_told_with_a_remedy() {
        let dir = TempDir::new("local-checks-bad");
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        // Permissions can't be taken from root, who may run this test.
        for place in [&file, &file.join("queue")] {
            let Outcome::Failed(found) = told(place, 0) else { panic!("a file is no place") };
            assert_eq!(found.cause, Cause::QueueUnusable);
            assert!(found.what.contains(&format!("{}", file.display())), "{found:?}");
            assert!(found.remedy.contains("queue.dir"), "{found:?}");
        }
        let Outcome::Noted(found) = status_file(&file.join("status.json")) else {
            panic!("a file is no directory")
        };
        assert!(found.what.starts_with(&format!("write into {}: ", file.display())), "{found:?}");
        let Outcome::Noted(found) = status_file(dir.path()) else { panic!("it is no file") };
        assert!(found.remedy.starts_with("Remove it, or set status.file"), "{found:?}");
        for file in ["/proc/status.json", "/proc/new/status.json", "/sys/kernel/status.json"] {
            let told = status_file(Path::new(file));
            let Outcome::Noted(found) = told else { panic!("root can't write it either: {file}") };
            // Others than root are told what root is not: that they may not.
            let root = geteuid().is_root();
            assert!(!root || found.what.contains("no file can be made"), "{found:?}");
            assert!(!root || found.remedy.starts_with("Name a place on a disk"), "{found:?}");
        }
        assert!(matches!(metrics_file(dir.path()), Outcome::Noted(_)));
    }

    #[test]
    fn a_size_is_told_in_a_unit_that_shows_it() {
        for (bytes, told) in
            [(0, "0 MiB"), (5 << 20, "5 MiB"), ((10 << 30) - 1, "10239 MiB"), (10 << 30, "10 GiB")]
        {
            assert_eq!(size(bytes), told);
        }
    }

    #[test]
    fn a_disk_without_room_is_noted() {
        let dir = TempDir::new("local-checks-full");
        let Outcome::Noted(found) = told(dir.path(), u64::MAX) else {
            panic!("no disk is this big")
        };
        assert!(found.what.contains("less than queue.min_free"), "{found:?}");
    }
}
