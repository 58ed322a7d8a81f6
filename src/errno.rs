//! What the error of a call to the system says: of the medium, of rights, of space, or of the system alone.
//!
//! Promises: only what says that the medium failed may be taken for damage; what is for want of
//! descriptors, memory or locks blames neither a file nor a secret. Never: does IO.

use std::path::{Path, PathBuf};
use std::{error, fmt, io};

/// Numbers that the standard library has no name for. Source: asm-generic/errno.h, which ARM and x86 share.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
const ELOOP: i32 = 40;
const EIO: i32 = 5;
const ENODATA: i32 = 61;
const EBADMSG: i32 = 74;
const EILSEQ: i32 = 84;
const EUCLEAN: i32 = 117;
const ENOMEDIUM: i32 = 123;

/// The error of a call, with the call and the file that it was made for.
#[derive(Debug)]
struct Called {
    call: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.call, self.path.display(), self.error)
    }
}

impl error::Error for Called {}

/// Names the call that failed and its file in front of an error. What the error says stays the same.
pub fn called(call: &'static str, path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Called { call, path: path.to_owned(), error })
}

/// The error as the system gave it.
fn origin(error: &io::Error) -> &io::Error {
    let called = error.get_ref().and_then(|inner| inner.downcast_ref::<Called>());
    called.map_or(error, |called| origin(&called.error))
}

/// What the error of a call says of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// There is no space.
    Full,
    /// This process may not: its rights, or a file system that can't be written.
    Denied,
    /// Anything else: the system could not just now, or never can. Descriptors, memory, locks, a key, a file
    /// server that is away, a call that the file system lacks. Nothing of what is on the disk.
    System,
    /// What is there can't be had, or is not there.
    Medium,
}

/// Only what shows that the medium failed may be taken for damage.
pub fn says(error: &io::Error) -> Says {
    use io::ErrorKind::{
        AlreadyExists, FileTooLarge, InvalidData, NotADirectory, NotFound, Other, PermissionDenied,
        QuotaExceeded, ReadOnlyFilesystem, StorageFull, UnexpectedEof,
    };
    let error = origin(error);
    match (error.kind(), error.raw_os_error()) {
        (_, Some(EIO | EBADMSG | EUCLEAN | EILSEQ | ENODATA | ENOMEDIUM)) => Says::Medium,
        (StorageFull | QuotaExceeded | FileTooLarge, _) => Says::Full,
        (PermissionDenied | ReadOnlyFilesystem | NotADirectory, _) => Says::Denied,
        // A file is not there that has to be, or is there and has to be none.
        (NotFound | AlreadyExists | UnexpectedEof, _) => Says::Medium,
        // No call of the system says this, but who reads what it gave.
        (InvalidData | Other, None) => Says::Medium,
        _ => Says::System,
    }
}

/// What helps where the system gives nothing more to whoever asks: no network, file or name is to blame.
pub fn shortage_remedy(error: &io::Error) -> Option<&'static str> {
    let error = origin(error);
    match (error.kind(), error.raw_os_error()) {
        (_, Some(EMFILE)) => Some(
            "Allow the process more open files (LimitNOFILE of a systemd unit, ulimit -n elsewhere), \
             and start it again",
        ),
        (_, Some(ENFILE)) => {
            Some("Close what holds so many files open on this machine, or raise fs.file-max")
        }
        (io::ErrorKind::OutOfMemory, _) => Some(
            "Allow the process more memory (MemoryMax of a systemd unit, ulimit -v elsewhere), or end \
             what holds so much of it on this machine",
        ),
        _ => None,
    }
}

/// What helps where a file could not be read and neither its name, its content nor its permissions are to
/// blame: another time, unchanged, it may be read.
pub fn system_remedy(error: &io::Error) -> Option<&'static str> {
    let error = origin(error);
    match (says(error), error.kind(), error.raw_os_error()) {
        (_, io::ErrorKind::OutOfMemory, _) | (_, _, Some(EMFILE | ENFILE)) => Some(
            "Nothing is wrong with it: allow the process more (ulimit -n, ulimit -v, LimitNOFILE, \
             MemoryMax), or close what holds so much on this machine, and start again",
        ),
        // What it is called, or what kind of file it is.
        (_, io::ErrorKind::IsADirectory | io::ErrorKind::InvalidFilename, _)
        | (_, _, Some(ELOOP))
        | (_, io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists, _) => None,
        (Says::System | Says::Medium, _, Some(_)) | (Says::System, ..) => Some(
            "Its content is not known: check its disk or mount (mount, dmesg), and \
             start again",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_shortage_names_the_limit_that_was_met() {
        for (errno, limit) in [
            (Errno::MFILE, "LimitNOFILE"),
            (Errno::NFILE, "fs.file-max"),
            (Errno::NOMEM, "ulimit -v"),
        ] {
            let error = called("open", Path::new("/a"), errno.into());
            assert!(shortage_remedy(&error).unwrap().contains(limit), "{errno:?}");
        }
        for other in [Errno::AGAIN, Errno::CONNREFUSED, Errno::IO, Errno::ACCESS] {
            assert_eq!(shortage_remedy(&other.into()), None, "{other:?}");
        }
    }

    #[test]
    fn a_file_that_the_system_could_not_read_is_not_blamed_and_the_remedy_fits() {
        let of = |errno: Errno| system_remedy(&io::Error::from(errno)).unwrap_or_default();
        for short in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert!(of(short).contains("allow the process more"), "{short:?}");
        }
        for away in [Errno::IO, Errno::BADMSG, Errno::UCLEAN, Errno::STALE, Errno::TIMEDOUT] {
            assert!(of(away).contains("check its disk or mount"), "{away:?}");
        }
        for own in [Errno::NOENT, Errno::ACCESS, Errno::ISDIR, Errno::NOTDIR, Errno::LOOP] {
            assert_eq!(of(own), "", "{own:?}");
        }
    }

    #[test]
    fn naming_the_call_and_the_file_changes_nothing_of_what_an_error_says() {
        for errno in [Errno::ACCESS, Errno::IO, Errno::MFILE, Errno::NOSPC, Errno::STALE] {
            let named = called("open", Path::new("/q/lock"), io::Error::from(errno));
            let twice = called("lock", Path::new("/q"), named);
            assert_eq!(says(&twice), says(&io::Error::from(errno)), "{errno:?}");
            assert_eq!(system_remedy(&twice), system_remedy(&io::Error::from(errno)), "{errno:?}");
            let text = twice.to_string();
            assert!(text.starts_with("lock /q: open /q/lock: ") && text.contains("(os error"));
        }
    }

    #[test]
    fn only_what_the_medium_says_is_damage() {
        let of = |errno: Errno| says(&io::Error::from(errno));
        for full in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert_eq!(of(full), Says::Full, "{full:?}");
        }
        for denied in [Errno::ACCESS, Errno::PERM, Errno::ROFS, Errno::NOTDIR] {
            assert_eq!(of(denied), Says::Denied, "{denied:?}");
        }
        let system = [
            [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR],
            [Errno::STALE, Errno::NOLCK, Errno::INVAL, Errno::NOSYS],
            [Errno::OPNOTSUPP, Errno::AGAIN, Errno::BUSY, Errno::TIMEDOUT],
            [Errno::NOTCONN, Errno::HOSTDOWN, Errno::HOSTUNREACH, Errno::CONNREFUSED],
            [Errno::NOKEY, Errno::KEYEXPIRED, Errno::KEYREVOKED, Errno::REMOTEIO],
            [Errno::NODEV, Errno::NXIO, Errno::NOBUFS, Errno::CANCELED],
            [Errno::ISDIR, Errno::LOOP, Errno::from_raw_os_error(524), Errno::PIPE],
        ];
        for system in system.concat() {
            assert_eq!(of(system), Says::System, "{system:?}");
        }
        for medium in [
            Errno::IO,
            Errno::NOENT,
            Errno::BADMSG,
            Errno::UCLEAN,
            Errno::ILSEQ,
            Errno::NODATA,
            Errno::NOMEDIUM,
        ] {
            assert_eq!(of(medium), Says::Medium, "{medium:?}");
        }
    }
}
