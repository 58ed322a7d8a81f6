//! Whether the directories that a config names can be used as they are: the steps of `check`
//! that need no network.
//!
//! Promises: looks only; creates, changes and opens nothing. Never: judges what is in the queue.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};
use rustix::process::{getegid, geteuid};

use super::cause::Cause;
use super::config_file::{self, ConfigError};
use super::secret::plain;
use super::step::{Outcome, what_and_remedy};
use crate::config::Queue;
use crate::errno::system_remedy;

/// Where service managers make a directory for each service.
const RUN: [&str; 2] = ["/run", "/var/run"];

/// What of the queue's directory has to be open to this program.
const PARTS: [&str; 4] = ["log", "parked", "lock", "checkpoint"];

/// What is said of a valid config; a failure where the user it is seen as can't read it.
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
        ConfigError::System(why) => {
            let (what, remedy) = what_and_remedy(&why);
            Outcome::failed(Cause::SystemRefuses, what, remedy)
        }
        _ => closed(&directory, "g+rx", "permission denied"),
    })?;
    for file in files.iter().filter(|_| seen_as.is_some()) {
        if let Err(why) = std::fs::File::open(file) {
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

/// A queue that is neither this user's nor seen by root. Nothing else is tried: each step would be that
/// of a stranger, and its remedy would take from the service what is the service's.
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

/// Whether the queue can be kept where the config says.
pub fn queue(queue: &Queue, is_in_use: bool) -> Outcome {
    let dir = &queue.dir;
    let shown = dir.display();
    let state = match std::fs::metadata(dir) {
        Ok(found) if !found.is_dir() => {
            return failed(
                format!("{shown} is not a directory"),
                "Remove it, or set queue.dir to a directory used by this program only".to_owned(),
            );
        }
        Ok(found) => match PARTS.iter().map(|part| dir.join(part)).find_map(|part| closed(&part)) {
            None => closed(dir).map_or(Ok(found), Err),
            Some(why) => Err(why),
        },
        Err(_) => match dir.ancestors().skip(1).find(|parent| parent.exists()) {
            Some(parent) => closed_dir(parent).map_or_else(|| meta(parent), Err),
            None => Err(format!("{shown} does not exist, nor does its parent")),
        },
    };
    let found = match state {
        Ok(found) => found,
        Err(why) => {
            let uid = geteuid().as_raw();
            return failed(
                why,
                format!(
                    "Let the user this program runs as (uid {uid}) own the queue: mkdir -p {shown} \
                     && chown -R {uid} {shown}"
                ),
            );
        }
    };
    let verb = match (dir.exists(), is_in_use) {
        (false, _) => "will be created",
        (true, true) => "is in use by the running daemon",
        (true, false) => "can be written",
    };
    // Where a sandbox let root not become the owner: root may write everywhere.
    let owner = match dir.exists() && geteuid().is_root() && found.uid() != 0 {
        true => format!(" (seen as root; it belongs to uid {})", found.uid()),
        false => String::new(),
    };
    let Some(free) = free_bytes(dir) else {
        return Outcome::Passed(format!("{shown} {verb}{owner}"));
    };
    let text = format!("{shown} {verb}{owner}, {} free", size(free));
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

/// Whether the daemon will be able to say how it is: as the user it runs as, so after root has become
/// that user.
pub fn status_file(file: &Path) -> Outcome {
    let shown = file.display();
    let dir = file.parent().unwrap_or(Path::new("/"));
    // The last directory is made; not more, for a typing error should not grow a tree.
    let looked = if dir.exists() { dir } else { dir.parent().unwrap_or(dir) };
    match closed_dir(looked) {
        None => Outcome::Passed(format!("{shown} can be written")),
        // RuntimeDirectory= of the unit, or the init script; not there while the service is stopped.
        Some(_) if looked != dir && RUN.iter().any(|run| looked == Path::new(run)) => {
            Outcome::Skipped(
                "its directory does not exist now; it is created when the service \
                starts",
            )
        }
        Some(why) => Outcome::noted(
            Cause::StatusUnwritable,
            format!("{why}, so `status` will have nothing to show"),
            format!("Let uid {} write there, or set status.file", geteuid().as_raw()),
        ),
    }
}

/// Why nothing can be made in a directory, if so.
fn closed_dir(path: &Path) -> Option<String> {
    match path.is_dir() {
        true => closed(path),
        false => Some(format!("{} is not a directory", path.display())),
    }
}

/// Why a file or directory can't be written, if it is there and can't.
fn closed(path: &Path) -> Option<String> {
    let found = std::fs::metadata(path).ok()?;
    let wanted = match found.is_dir() {
        true => Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
        false => Access::READ_OK | Access::WRITE_OK,
    };
    // As the effective user, as every later call will be.
    let error = accessat(CWD, path, wanted, AtFlags::EACCESS).err()?;
    let why = plain(&std::io::Error::from(error)).to_ascii_lowercase();
    Some(format!("{} can't be written ({why}; it belongs to uid {})", path.display(), found.uid()))
}

fn meta(path: &Path) -> Result<Metadata, String> {
    std::fs::metadata(path).map_err(|why| format!("{}: {}", path.display(), plain(&why)))
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

fn failed(what: String, remedy: String) -> Outcome {
    Outcome::failed(Cause::QueueUnusable, what, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::loopback::scratch_dir;
    use crate::record::WriteMode;

    fn told(dir: &Path, min_free_bytes: u64) -> Outcome {
        let dir = dir.to_owned();
        let config =
            Queue { dir, max_size_bytes: 1 << 30, min_free_bytes, write: WriteMode::Always };
        queue(&config, false)
    }

    #[test]
    fn a_directory_that_can_be_used_or_made_passes_and_is_left_alone() {
        let dir = scratch_dir("ground");
        let Outcome::Passed(text) = told(dir.path(), 0) else { panic!("it can be used") };
        assert!(text.contains(" can be written, "), "{text}");
        let new = dir.path().join("a/b");
        let Outcome::Passed(text) = told(&new, 0) else { panic!("it can be made") };
        assert!(text.contains(" will be created, "), "{text}");
        assert!(!dir.path().join("a").exists());
        assert!(matches!(status_file(&dir.path().join("run/status.json")), Outcome::Passed(_)));
        assert!(!dir.path().join("run").exists());
    }

    #[test]
    fn what_can_not_be_used_is_told_with_a_remedy() {
        let dir = scratch_dir("ground-bad");
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let Outcome::Failed(found) = told(&file, 0) else { panic!("a file") };
        assert_eq!(found.cause, Cause::QueueUnusable);
        assert!(found.what.contains("is not a directory"), "{found:?}");
        assert!(found.remedy.contains("queue.dir"), "{found:?}");
        // Permissions can't be taken from root, who may run this test.
        let Outcome::Failed(found) = told(&file.join("queue"), 0) else {
            panic!("a file is no place for a directory");
        };
        assert!(found.what.ends_with("/file is not a directory"), "{found:?}");
        assert!(found.remedy.contains("chown -R "), "{found:?}");
        assert!(matches!(status_file(&file.join("status.json")), Outcome::Noted(_)));
    }

    #[test]
    fn a_disk_without_room_is_noted() {
        let dir = scratch_dir("ground-full");
        let Outcome::Noted(found) = told(dir.path(), u64::MAX) else {
            panic!("no disk is this big")
        };
        assert!(found.what.contains("less than queue.min_free"), "{found:?}");
    }
}
