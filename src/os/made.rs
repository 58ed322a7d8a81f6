//! The only place where this program makes files and directories.
//!
//! Other users may be able to write to the same directory, as below `/run` or where root exports a
//! queue to. Promises: a file that is made is new, so that no existing file is written to through a
//! link of that name; its readers are those given here, whatever the umask. Never: opens an
//! existing file.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, FsWord, Mode, OFlags, PROC_SUPER_MAGIC, accessat, statfs};

use crate::errno::called;

/// Who may read a file or directory that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// The user that made it: records of SentinelOne contain personal data.
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

/// Whether this process may access an existing file or directory; the error is the kernel's, for
/// the effective user, as every later call is made. A kernel that does not support the question
/// gives no error.
pub fn may(path: &Path, wanted: Access) -> io::Result<()> {
    // An old kernel lacks this call, and some sandboxes of containers forbid it.
    let ask = |path: &Path, wanted| accessat(CWD, path, wanted, AtFlags::EACCESS);
    match ask(path, wanted) {
        Err(why) if ask(Path::new("/"), Access::EXISTS).is_ok() => Err(why.into()),
        _ => Ok(()),
    }
}

/// Whether files can be made in this directory, whoever asks. The kernel's own trees let root write
/// everywhere, and have no call that makes a file.
pub fn takes_files(dir: &Path) -> io::Result<()> {
    const SYSFS_MAGIC: FsWord = 0x6265_6572;
    match statfs(dir) {
        Ok(found) if [PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&found.f_type) => {
            let why = "no file can be made below /proc or /sys";
            Err(io::Error::new(io::ErrorKind::Unsupported, why))
        }
        _ => Ok(()),
    }
}

/// Sets the umask, so that files made by libraries are their owner's alone too. Call it before
/// there is another thread.
pub fn keep_to_the_owner() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// The flags that keep an open call from following a link.
pub fn no_link() -> i32 {
    flags(OFlags::NOFOLLOW)
}

/// Flags as the integer that the standard library takes.
pub fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).expect("the flags of open are an int in C")
}

/// Creates a file, empty and open for appending. An existing one of that name is an error.
pub fn file(path: &Path, readers: Readers) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true).mode(0o600).custom_flags(no_link());
    let file = options.open(path)?;
    set_mode(&file, readers.of_a_file())?;
    Ok(file)
}

/// As `file`; an existing file of that name is removed first: the name itself, not a link's target.
pub fn file_anew(path: &Path, readers: Readers) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => file(path, readers),
    }
}

/// Whether this process may rename a file that it makes in the same directory to this name; found
/// out by looking. An existing directory would have to be removed first, and in a sticky directory
/// such as `/tmp` another user's file can't be replaced.
pub fn may_replace(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|why| called("stat", path, why))?,
    };
    let user = rustix::process::geteuid().as_raw();
    let is_kept = path.parent().is_some_and(|dir| {
        fs::metadata(dir).is_ok_and(|dir| dir.mode() & 0o1000 != 0 && dir.uid() != user)
    });
    match () {
        () if found.is_dir() => Err(called("replace", path, io::ErrorKind::IsADirectory.into())),
        () if is_kept && user != 0 && found.uid() != user => {
            let why = format!("it belongs to uid {}, in a sticky directory", found.uid());
            let why = io::Error::new(io::ErrorKind::PermissionDenied, why);
            Err(called("replace", path, why))
        }
        () => Ok(()),
    }
}

/// Creates a directory. An existing one of that name is an error.
pub fn directory(path: &Path, readers: Readers) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags(OFlags::NOFOLLOW | OFlags::DIRECTORY));
    set_mode(&options.open(path)?, readers.of_a_directory())
}

/// Creates a directory for its owner alone, with missing ones above it. An existing one is
/// accepted.
pub fn directories(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Sets the mode of a new file or directory, which until then only its owner can use. FAT has no
/// modes; the kernel ignores the call there.
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
    use crate::net::loopback::scratch_dir;

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
