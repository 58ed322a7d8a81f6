//! What the error of a call to the system says: of the medium, of rights, of space, or of the system alone.
//!
//! Promises: only what says that the medium failed may be taken for damage; what is for want of
//! descriptors, memory or locks blames neither a file nor a secret. Never: does IO.

use std::io;

/// Numbers that the standard library has no name for. Source: asm-generic/errno.h, which ARM and x86 share.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
const ENOLCK: i32 = 37;
const EIO: i32 = 5;
const EBADMSG: i32 = 74;
const EUCLEAN: i32 = 117;

/// What the error of a call says of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// There is no space.
    Full,
    /// This process may not: its rights, or a file system that can't be written.
    Denied,
    /// The system could not just now, or never can: descriptors, memory, locks, a file server, a call that the
    /// file system lacks. Nothing of what is on the disk.
    System,
    /// What is there can't be had, or is not there.
    Medium,
}

/// Only what says that the medium failed may be taken for damage.
pub fn says(error: &io::Error) -> Says {
    use io::ErrorKind::{
        FileTooLarge, Interrupted, InvalidInput, NotADirectory, OutOfMemory, PermissionDenied,
        QuotaExceeded, ReadOnlyFilesystem, ResourceBusy, StaleNetworkFileHandle, StorageFull,
        TimedOut, Unsupported, WouldBlock,
    };
    match (error.kind(), error.raw_os_error()) {
        (StorageFull | QuotaExceeded | FileTooLarge, _) => Says::Full,
        (PermissionDenied | ReadOnlyFilesystem | NotADirectory, _) => Says::Denied,
        (
            Interrupted
            | InvalidInput
            | OutOfMemory
            | ResourceBusy
            | StaleNetworkFileHandle
            | TimedOut
            | Unsupported
            | WouldBlock,
            _,
        )
        | (_, Some(EMFILE | ENFILE | ENOLCK)) => Says::System,
        _ => Says::Medium,
    }
}

/// What helps where a file could not be read and neither its name, its content nor its permissions are to
/// blame: another time, unchanged, it may be read.
pub fn system_remedy(error: &io::Error) -> Option<&'static str> {
    match (says(error), error.kind(), error.raw_os_error()) {
        (_, io::ErrorKind::OutOfMemory, _) | (_, _, Some(EMFILE | ENFILE)) => Some(
            "Nothing is wrong with it: allow the process more (ulimit -n, ulimit -v, LimitNOFILE, \
             MemoryMax), or close what holds so much on this machine, and start again",
        ),
        (Says::System, ..) | (_, _, Some(EIO | EBADMSG | EUCLEAN)) => Some(
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
    fn only_what_the_medium_says_is_damage() {
        let of = |errno: Errno| says(&io::Error::from(errno));
        for full in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert_eq!(of(full), Says::Full, "{full:?}");
        }
        for denied in [Errno::ACCESS, Errno::PERM, Errno::ROFS, Errno::NOTDIR] {
            assert_eq!(of(denied), Says::Denied, "{denied:?}");
        }
        for system in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::INTR,
            Errno::STALE,
            Errno::NOLCK,
            Errno::INVAL,
            Errno::NOSYS,
            Errno::OPNOTSUPP,
            Errno::AGAIN,
            Errno::BUSY,
            Errno::TIMEDOUT,
        ] {
            assert_eq!(of(system), Says::System, "{system:?}");
        }
        for medium in [Errno::IO, Errno::NOENT, Errno::BADMSG, Errno::UCLEAN] {
            assert_eq!(of(medium), Says::Medium, "{medium:?}");
        }
    }
}
