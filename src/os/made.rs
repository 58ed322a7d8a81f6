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
    use crate::test_world::temp::TempDir;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_made_and_not_found() {
        let dir = TempDir::new("made");
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
    fn a_link_is_not_followed_and_a_directory_is_not_replaced_by_a_file() {
        let dir = TempDir::new("made-link");
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "theirs").unwrap();
        symlink(&target, &link).unwrap();
        let open = |path: &Path| OpenOptions::new().write(true).custom_flags(no_link()).open(path);
        open(&target).unwrap();
        let why = open(&link).unwrap_err();
        assert_eq!(why.raw_os_error(), Some(rustix::io::Errno::LOOP.raw_os_error()));
        fs::create_dir(dir.path().join("dir")).unwrap();
        let why = file_anew(&dir.path().join("dir"), Readers::Owner).unwrap_err();
        assert_ne!(why.kind(), io::ErrorKind::AlreadyExists, "what is in the way is told");
    }

    #[test]
    fn what_may_be_accessed_or_replaced_is_asked_of_the_kernel() {
        use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};

        let dir = TempDir::new("made-may");
        let (file, missing) = (dir.path().join("file"), dir.path().join("no"));
        fs::write(&file, "").unwrap();
        may(&file, Access::EXISTS | Access::READ_OK).unwrap();
        assert_eq!(may(&missing, Access::EXISTS).unwrap_err().kind(), NotFound);
        for (path, told) in [
            (file.clone(), None),
            (missing, None),
            (dir.path().to_owned(), Some(IsADirectory)),
            (file.join("below"), Some(NotADirectory)),
        ] {
            assert_eq!(may_replace(&path).err().map(|why| why.kind()), told, "{path:?}");
        }
    }

    #[test]
    fn in_a_sticky_directory_of_another_only_root_may_replace_what_is_anothers() {
        const OWN: u32 = 64_123;
        const ANOTHER: u32 = OWN + 1;

        let dir = TempDir::new("made-sticky");
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let give = |path: &Path, uid| std::os::unix::fs::chown(path, Some(uid), None);
        if !rustix::process::geteuid().is_root() || give(&file, OWN).is_err() {
            return;
        }
        // In a thread of its own, which alone gives its rights up.
        let asked = || {
            let user = rustix::process::Uid::from_raw(OWN);
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            fs::symlink_metadata(&file).map(|_| may_replace(&file).map_err(|why| why.kind()))
        };
        for (mode, of_dir, of_file, is_kept) in [
            (0o1777, 0, ANOTHER, true),
            (0o1777, ANOTHER, ANOTHER, true),
            (0o1777, 0, OWN, false),
            (0o1777, OWN, ANOTHER, false),
            (0o777, 0, ANOTHER, false),
            (0o777, OWN, ANOTHER, false),
        ] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            give(dir.path(), of_dir).unwrap();
            give(&file, of_file).unwrap();
            may_replace(&file).expect("root may");
            let told = std::thread::scope(|scope| scope.spawn(asked).join().unwrap());
            // A temporary directory that is closed to others is no place for this.
            let Ok(told) = told else { return };
            let wanted = if is_kept { Err(io::ErrorKind::PermissionDenied) } else { Ok(()) };
            assert_eq!(told, wanted, "{mode:o} {of_dir} {of_file}");
        }
    }

    #[test]
    fn a_directory_has_the_mode_that_was_asked_for() {
        let dir = TempDir::new("made");
        for (readers, wanted) in [(Readers::Owner, 0o700), (Readers::Everyone, 0o755)] {
            let path = dir.path().join(format!("{readers:?}"));
            directory(&path, readers).unwrap();
            assert_eq!(mode(&path), wanted);
            let again = directory(&path, readers).unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        }
    }
}
