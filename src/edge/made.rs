//! How this program makes files and directories, all of them.
//!
//! Others may be able to write where it does, as below `/run` or where root exports a queue to. Promises:
//! a file is new when it is opened, so that nothing of somebody else is written to, whatever a link of
//! its name leads to; who may read it is as said here, whatever the umask. Never: opens what is there.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Who may look at what is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// The user that made it: what SentinelOne says about people's machines.
    Owner,
    /// Everybody on this machine.
    Everyone,
}

impl Readers {
    fn of_a_file(self) -> u32 {
        match self {
            Readers::Owner => 0o600,
            Readers::Everyone => 0o644,
        }
    }

    fn of_a_directory(self) -> u32 {
        match self {
            Readers::Owner => 0o700,
            Readers::Everyone => 0o755,
        }
    }
}

/// What libraries make is their owner's alone too. To be called before there is another thread.
pub fn keep_to_the_owner() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// The flags that keep an open call from following a link.
pub fn no_link() -> i32 {
    flags(OFlags::NOFOLLOW)
}

/// Flags as the standard library takes them.
pub fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).expect("the flags of open are an int in C")
}

/// Creates a file, empty and open for adding to its end. What has its name is an error.
pub fn file(path: &Path, readers: Readers) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true).mode(0o600).custom_flags(no_link());
    let file = options.open(path)?;
    set_mode(&file, readers.of_a_file())?;
    Ok(file)
}

/// The same; what has its name goes first, and not what that leads to.
pub fn file_anew(path: &Path, readers: Readers) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => file(path, readers),
    }
}

/// Creates a directory. What has its name is an error.
pub fn directory(path: &Path, readers: Readers) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags(OFlags::NOFOLLOW | OFlags::DIRECTORY));
    set_mode(&options.open(path)?, readers.of_a_directory())
}

/// Creates a directory for its owner alone, and those above it that are missing. One that is there is as
/// good.
pub fn directories(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Sets the mode of what was made, which only its owner can use until then. FAT, which keeps no modes, takes
/// any without a word.
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    match file.metadata()?.permissions().mode() & 0o7777 {
        now if now == mode => Ok(()),
        _ => file.set_permissions(Permissions::from_mode(mode)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::edge::loopback::scratch_dir;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_made_and_not_found() {
        let dir = scratch_dir("made");
        let (target, name) = (dir.path().join("target"), dir.path().join("name"));
        fs::write(&target, "theirs").unwrap();
        type Plant = fn(&Path, &Path) -> io::Result<()>;
        let plants: [(&str, Plant); 4] = [
            ("a link", |target, name| symlink(target, name)),
            ("a link to nothing", |target, name| symlink(target.with_extension("no"), name)),
            ("a hard link", |target, name| fs::hard_link(target, name)),
            ("a file", |_, name| fs::write(name, "theirs")),
        ];
        for (what, plant) in plants {
            plant(&target, &name).unwrap();
            assert_eq!(
                file(&name, Readers::Owner).unwrap_err().kind(),
                io::ErrorKind::AlreadyExists
            );
            for (readers, wanted) in [(Readers::Owner, 0o600), (Readers::Everyone, 0o644)] {
                file_anew(&name, readers).unwrap().write_all(b"ours").unwrap();
                assert_eq!(mode(&name), wanted, "{what}");
            }
            assert_eq!(fs::read(&name).unwrap(), b"ours", "{what}");
            assert_eq!(fs::read(&target).unwrap(), b"theirs", "{what}");
            assert!(!target.with_extension("no").exists(), "{what}");
            fs::remove_file(&name).unwrap();
        }
    }

    #[test]
    fn a_directory_has_the_mode_that_was_asked_for() {
        let dir = scratch_dir("made");
        for (readers, wanted) in [(Readers::Owner, 0o700), (Readers::Everyone, 0o755)] {
            let path = dir.path().join(format!("{readers:?}"));
            directory(&path, readers).unwrap();
            assert_eq!(mode(&path), wanted);
            let again = directory(&path, readers).unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        }
    }
}
