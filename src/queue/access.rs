//! Whether this process may do with a queue's directory what a start does; found out without
//! changing anything.
//!
//! Promises: `run` and `check` make the same tests, so a queue that `check` accepts can be opened
//! by `run`; a refusal names the call and the file. Never: creates, changes or locks anything, or
//! examines the content of a file.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Access;
use rustix::io::Errno;

use super::log::DIR;
use super::open::disk_error;
use super::real::{self, LOCK};
use super::sled;
use super::space::{DOUBT, PARKED, QUARANTINE, RESERVE};
use super::trouble::OpenError;
use super::{checkpoint, head_file, marks};
use crate::errno::{Says, called, says};
use crate::os::made;

/// The rights for making names in a directory.
const MAKE: Access = Access::WRITE_OK.union(Access::EXEC_OK);
/// ... and be read too.
const ALL: Access = MAKE.union(Access::READ_OK);

/// What is wrong with one file or directory.
enum Obstacle {
    /// A call that a start would make on it fails.
    Refused(io::Error),
    /// It is of another kind than a start expects; the second text is the remedy.
    Strange(String, String),
}

impl From<io::Error> for Obstacle {
    fn from(why: io::Error) -> Obstacle {
        Obstacle::Refused(why)
    }
}

/// Tests everything that a start opens, in the same order.
pub fn look(dir: &Path) -> Result<(), OpenError> {
    let place = dir.display().to_string();
    look_at(dir).map_err(|found| match found {
        Obstacle::Refused(why) => disk_error(place, &why),
        Obstacle::Strange(why, remedy) => OpenError::Denied { place, why, remedy: Some(remedy) },
    })
}

/// Whether a start would open an index.
pub fn has_index(dir: &Path) -> bool {
    sled::newest(dir).is_ok_and(|newest| newest.is_some())
}

fn look_at(dir: &Path) -> Result<(), Obstacle> {
    if !is_there(dir)? {
        return Ok(());
    }
    directory(dir)?;
    match within(dir) {
        // Damage is repaired or reported by the start itself.
        Err(Obstacle::Refused(why)) if says(&why) == Says::Medium => Ok(()),
        other => other,
    }
}

fn within(dir: &Path) -> Result<(), Obstacle> {
    match real::open_lock(&dir.join(LOCK)) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why.into()),
        _ => {}
    }
    for name in [DIR, QUARANTINE, PARKED, DOUBT] {
        led_somewhere(&dir.join(name), "move the link away")?;
        directory(&dir.join(name))?;
    }
    let is_log = |path: &Path| path.extension().is_some_and(|ending| ending == "log");
    names(&dir.join(DIR), |path| if is_log(path) { no_link(path) } else { Ok(()) })?;
    for name in [DIR, PARKED, DOUBT] {
        each(&dir.join(name), |path, found| match is_log(path) {
            true => readable(path, found),
            false => Ok(()),
        })?;
    }
    // They are removed and made anew, whatever they are, but for a directory.
    for name in [marks::CLOSED, RESERVE] {
        no_directory(&dir.join(name))?;
    }
    for path in [checkpoint::FILE, head_file::FILE, marks::ID].map(|name| dir.join(name)) {
        if let Some(found) = stat(&path)? {
            readable(&path, &found)?;
        }
    }
    match sled::newest(dir)? {
        Some(index) => no_link(&index).and_then(|()| whole(&index)),
        None => Ok(()),
    }
}

/// The directory of an index and everything below it: readable and writable. sled has files in it and
/// one directory; whether their content is an index is for sled to find out.
fn whole(dir: &Path) -> Result<(), Obstacle> {
    names(dir, |path| match path.ends_with(sled::BLOBS) {
        true => Ok(()),
        false => no_directory(path).and_then(|()| no_link(path)),
    })?;
    each(dir, |path, found| match found.is_dir() {
        true => whole(path),
        false => may(path, found, Access::READ_OK | Access::WRITE_OK),
    })?;
    match stat(dir)? {
        Some(found) if found.is_dir() => may(dir, &found, ALL),
        _ => Ok(()),
    }
}

/// Whether the queue's directory exists; if not, whether it can be made.
fn is_there(dir: &Path) -> Result<bool, Obstacle> {
    for above in dir.ancestors() {
        match fs::metadata(above) {
            Ok(_) if above == dir => return Ok(true),
            // The missing directories would be made in this one.
            Ok(found) if found.is_dir() => return may(above, &found, MAKE).map(|()| false),
            Ok(_) => {
                return Err(Obstacle::Strange(
                    format!("{} is not a directory", above.display()),
                    "Set queue.dir to a place below a directory".to_owned(),
                ));
            }
            Err(why) if leads_nowhere(&why) => {}
            Err(why) => return Err(called("stat", above, why).into()),
        }
        led_somewhere(above, "set queue.dir to another directory")?;
    }
    Ok(false)
}

/// Refuses a link to what is not there. `or_else`: the other remedy.
fn led_somewhere(path: &Path, or_else: &str) -> Result<(), Obstacle> {
    match (fs::read_link(path), fs::metadata(path)) {
        (Ok(led), Err(why)) if leads_nowhere(&why) => Err(Obstacle::Strange(
            format!("{} is a link to {}, which is not there", path.display(), led.display()),
            format!("Mount or create what it leads to, or {or_else}"),
        )),
        _ => Ok(()),
    }
}

/// Refuses a link where a start opens the file itself.
fn no_link(path: &Path) -> Result<(), Obstacle> {
    match fs::read_link(path) {
        Ok(led) => Err(Obstacle::Strange(
            format!("{} is a link to {}", path.display(), led.display()),
            "Move it away; if what it leads to is a file of this queue, put that file itself in \
             its place"
                .to_owned(),
        )),
        Err(_) => Ok(()),
    }
}

/// Refuses a directory where a start has a file, which it can't replace then.
fn no_directory(path: &Path) -> Result<(), Obstacle> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Err(Obstacle::Strange(
            format!("{} is a directory", path.display()),
            "Move it away: this program never creates such a thing".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Whether a name does not exist, because a directory above it does not or because it is a dangling
/// link.
fn leads_nowhere(why: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(why.kind(), NotFound | NotADirectory)
        || why.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// Calls a function for what is behind each name in a directory. A name that vanishes meanwhile is no
/// error.
fn each(
    dir: &Path,
    mut look: impl FnMut(&Path, &Metadata) -> Result<(), Obstacle>,
) -> Result<(), Obstacle> {
    names(dir, |path| match stat(path)? {
        Some(found) => look(path, &found),
        None => Ok(()),
    })
}

/// Calls a function for each name in a directory.
fn names(dir: &Path, mut look: impl FnMut(&Path) -> Result<(), Obstacle>) -> Result<(), Obstacle> {
    let entries = match fs::read_dir(dir) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|why| called("list", dir, why))?,
    };
    for entry in entries {
        look(&entry.map_err(|why| called("list", dir, why))?.path())?;
    }
    Ok(())
}

/// A directory in which names are read, made and removed.
fn directory(path: &Path) -> Result<(), Obstacle> {
    let Some(found) = stat(path)? else { return Ok(()) };
    if !found.is_dir() {
        return Err(Obstacle::Strange(
            format!("{} is not a directory", path.display()),
            "Move it away, or set queue.dir to a directory used by this program only".to_owned(),
        ));
    }
    may(path, &found, ALL)
}

/// A file that a start reads.
fn readable(path: &Path, found: &Metadata) -> Result<(), Obstacle> {
    if !found.is_file() {
        return Err(Obstacle::Strange(
            format!("{} is no regular file", path.display()),
            "Move it away: this program never creates such a thing".to_owned(),
        ));
    }
    may(path, found, Access::READ_OK)?;
    match real::open(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(called("open", path, why).into()),
        _ => Ok(()),
    }
}

/// Asks the kernel, for the effective user.
fn may(path: &Path, found: &Metadata, wanted: Access) -> Result<(), Obstacle> {
    let why = match made::may(path, wanted) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => why,
        _ => return Ok(()),
    };
    let call = match (found.is_dir(), wanted.contains(Access::WRITE_OK)) {
        (true, _) => "write into",
        (false, true) => "open for writing",
        (false, false) => "open",
    };
    let of = format!("{}, which belongs to uid {}", path.display(), found.uid());
    Err(called(call, Path::new(&of), why).into())
}

/// The file or directory behind a name, through links; `None`: there is none.
fn stat(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(called("stat", path, why)),
    }
}
