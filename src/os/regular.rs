//! How this program opens the files that a config or a command names.
//!
//! Promises: anything but a regular file is refused and never waited for: opening a FIFO waits for
//! its writer, and a device may wait for anything. Never: creates a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::made::flags;

/// Opens a file for reading. Anything but a regular file is an error of kind `Other`, or
/// `IsADirectory`.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags(OFlags::NONBLOCK | OFlags::NOCTTY));
    let file = match options.open(path) {
        // Another process, such as a file server, has a lease on it, and the kernel gives that time
        // to end.
        Err(why) if why.kind() == io::ErrorKind::WouldBlock && fs::metadata(path)?.is_file() => {
            File::open(path)?
        }
        // A socket, or a device without a driver.
        Err(why) if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) => {
            return match why.kind() {
                io::ErrorKind::PermissionDenied => Err(why),
                _ => Err(io::Error::other(strange("a socket or a device"))),
            };
        }
        opened => opened?,
    };
    let kind = file.metadata()?.file_type();
    match () {
        () if kind.is_file() => Ok(file),
        () if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        () if kind.is_fifo() => Err(io::Error::other(strange("a pipe"))),
        () => Err(io::Error::other(strange("a socket or a device"))),
    }
}

fn strange(what: &str) -> String {
    format!("it is {what}. Give the path of a regular file")
}

/// Whether an error of `open` says that this is no regular file.
pub fn is_no_file(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::Other | io::ErrorKind::IsADirectory)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::errno::system_remedy;
    use crate::test_world::temp::TempDir;

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let dir = TempDir::new("regular");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        for name in ["file", "link"] {
            let mut text = String::new();
            open(&at(name)).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "text", "{name}");
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), 0o600.into()).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for (place, told) in [
            (at("pipe"), "it is a pipe. Give the path of a regular file"),
            (at("socket"), "it is a socket or a device. Give the path of a regular file"),
            ("/dev/null".into(), "it is a socket or a device. Give the path of a regular file"),
        ] {
            let why = open(&place).unwrap_err();
            assert_eq!(why.to_string(), told);
            assert!(is_no_file(&why) && system_remedy(&why).is_none(), "{told}");
        }
        assert!(is_no_file(&open(dir.path()).unwrap_err()), "a directory");
        let missing = open(&at("no")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(!is_no_file(&missing));
    }
}
