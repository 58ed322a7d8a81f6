//! A secret in a file that may change while the program runs.
//!
//! Promises: the file is read again only when it changed, and a change is used at once; an error
//! names the file, the cause and the remedy, and never a byte of the secret (keeps P7).
//! Never: goes on with an old secret when the file can't be read, for it may have been revoked.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{owner, regular};
use crate::errno::system_remedy;
use crate::limits;
use crate::problem::Problem;
use crate::secret::{NotASecret, Secret};

/// One secret's file.
#[derive(Clone, Debug)]
pub struct SecretFile {
    /// The setting that names it: `coralogix.api_key_file`.
    setting: String,
    path: PathBuf,
    held: Option<(State, Secret)>,
    /// A test lets it wait for ever.
    pub(super) open: fn(&Path) -> io::Result<File>,
}

/// Why a file gives no secret. For people; the program handles all reasons alike.
#[derive(Debug)]
pub struct SecretError {
    setting: String,
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Io(io::ErrorKind, String),
    /// The system could not read it now; nothing is known of the file. With the remedy.
    System(Problem),
    NotAFile,
    TooLong,
    NotText,
    NotASecret(NotASecret),
    Late,
}

/// Distinguishes one content of a file from another without reading it. The change time is part of
/// it, so that chmod, or a second write within one clock tick, is noticed too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    /// Follows links, because that is how mounted secrets are switched.
    pub(super) fn look(path: &Path) -> Option<State> {
        std::fs::metadata(path).ok().map(|metadata| State::of(&metadata))
    }

    fn of(metadata: &Metadata) -> State {
        State {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl SecretFile {
    pub fn new(setting: impl Into<String>, path: impl Into<PathBuf>) -> SecretFile {
        SecretFile { setting: setting.into(), path: path.into(), held: None, open: regular::open }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The secret as it is now, and whether it differs from the last one. The first one is no
    /// change.
    pub fn current(&mut self) -> Result<(Secret, bool), SecretError> {
        let before = self.held.take();
        // The state is taken before the content: a file that changes in between differs from it
        // at the next use and is read again.
        let file = (self.open)(&self.path).map_err(|error| match regular::is_no_file(&error) {
            true => self.error(Cause::NotAFile),
            false => self.io(&error),
        })?;
        let metadata = file.metadata().map_err(|error| self.io(&error))?;
        let state = State::of(&metadata);
        let secret = match &before {
            Some((seen, secret)) if *seen == state => secret.clone(),
            _ => self.read(file, &metadata)?,
        };
        let is_changed = before.is_some_and(|(_, old)| old != secret);
        self.held = Some((state, secret.clone()));
        Ok((secret, is_changed))
    }

    /// The file did not answer in time. The current secret must not be used any more.
    pub fn late(&mut self) -> SecretError {
        self.held = None;
        self.error(Cause::Late)
    }

    /// Whether the file has changed since the current secret was read. One `stat`; a file that is
    /// gone is no change, because there is nothing to try.
    #[cfg(test)]
    fn is_stale(&self) -> bool {
        match (std::fs::metadata(&self.path), &self.held) {
            (Ok(metadata), Some((seen, _))) => State::of(&metadata) != *seen,
            (Ok(_), None) => true,
            (Err(_), _) => false,
        }
    }

    /// A warning when users other than owner and group can read or change the file.
    pub fn exposure(&self) -> Option<Problem> {
        // Links are resolved: the mode of a link says nothing about its target.
        let real = std::fs::canonicalize(&self.path).ok()?;
        let mode = std::fs::metadata(&real).ok()?.mode() & 0o7777;
        is_open_to_all(&real).then(|| exposure(&self.setting, &self.path, mode)).flatten()
    }

    fn read(&self, file: File, metadata: &Metadata) -> Result<Secret, SecretError> {
        if !metadata.is_file() {
            return Err(self.error(Cause::NotAFile));
        }
        // One byte more than allowed shows that a file is too long.
        let mut bytes = Vec::new();
        file.take(limits::SECRET_FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| self.io(&error))?;
        if bytes.len() as u64 > limits::SECRET_FILE_BYTES_MAX {
            return Err(self.error(Cause::TooLong));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| self.error(Cause::NotText))?;
        // Some editors begin a text file with a byte order mark, which is invisible.
        Secret::new(text.trim_start_matches('\u{feff}'))
            .map_err(|why| self.error(Cause::NotASecret(why)))
    }

    fn io(&self, error: &io::Error) -> SecretError {
        self.error(match system_remedy(error) {
            Some(remedy) => Cause::System(Problem::new(plain(error), remedy)),
            None => Cause::Io(error.kind(), plain(error)),
        })
    }

    fn error(&self, cause: Cause) -> SecretError {
        SecretError { setting: self.setting.clone(), path: self.path.clone(), cause }
    }
}

impl SecretError {
    /// Whether the system is to blame, and neither the file nor the secret.
    pub fn is_of_system(&self) -> bool {
        matches!(self.cause, Cause::System(_))
    }

    pub fn problem(&self) -> Problem {
        let path = self.path.display();
        let problem = match &self.cause {
            Cause::Io(io::ErrorKind::NotFound, _) => Problem::new(
                "it does not exist",
                format!("Create it with only the key or token in it, readable by {} only", user()),
            ),
            Cause::Io(io::ErrorKind::PermissionDenied, _) => Problem::new(
                "permission denied",
                match owner::is_another(&self.path) {
                    Some(owner) => owner::ask_owner(&self.path, &owner),
                    None => format!(
                        "Let {} read it: chown {} {path} && chmod 0400 {path}",
                        user(),
                        rustix::process::geteuid().as_raw()
                    ),
                },
            ),
            Cause::Io(_, why) => Problem::from(why.as_str()),
            Cause::System(problem) => problem.clone(),
            Cause::NotAFile => Problem::new("it is not a file", "Give the path of the file itself"),
            Cause::TooLong => Problem::new(
                format!("it is longer than {} bytes", limits::SECRET_FILE_BYTES_MAX),
                "It must contain only the key or token",
            ),
            Cause::Late => Problem::new(
                "it does not answer",
                "Check its mount or disk (mount, dmesg); the file is used as soon as it can be read",
            ),
            Cause::NotText => Problem::new("it is not plain text", "Save it as UTF-8 or ASCII"),
            Cause::NotASecret(why) => Problem::new(
                why.to_string(),
                "It must contain only the key or token, without a prefix",
            ),
        };
        let setting = &self.setting;
        problem.after(format_args!("Failed to read the secret file {path} ({setting}): "))
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem().fmt(f)
    }
}

impl std::error::Error for SecretError {}

/// The user as shown to people. Its name is not looked up: that would read other files.
fn user() -> String {
    format!("the user this program runs as (uid {})", rustix::process::geteuid().as_raw())
}

/// Whether every user may pass the directories that lead to a file. A closed directory protects its
/// content: systemd's credentials are readable files in such a directory.
fn is_open_to_all(path: &Path) -> bool {
    path.ancestors().skip(1).all(|directory| {
        std::fs::metadata(directory).is_ok_and(|metadata| metadata.mode() & 0o001 != 0)
    })
}

fn exposure(setting: &str, path: &Path, mode: u32) -> Option<Problem> {
    let path = path.display();
    let can = match (mode & 0o004 != 0, mode & 0o002 != 0) {
        (false, false) => return None,
        (true, false) => "read",
        (false, true) => "change",
        (true, true) => "read and change",
    };
    Some(Problem::new(
        format!(
            "Every user of this machine can {can} the secret file {path} ({setting}, mode \
             {mode:04o})"
        ),
        format!("Restrict it: chmod o= {path}"),
    ))
}

/// The text of a system error without its number.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Its file is removed with it.
    #[derive(Debug)]
    struct Scratch(SecretFile);

    fn file(name: &str, content: &[u8]) -> Scratch {
        let name = format!("s1-coralogix-secret-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Scratch(SecretFile::new("coralogix.api_key_file", path))
    }

    impl std::ops::Deref for Scratch {
        type Target = SecretFile;
        fn deref(&self) -> &SecretFile {
            &self.0
        }
    }

    impl std::ops::DerefMut for Scratch {
        fn deref_mut(&mut self) -> &mut SecretFile {
            &mut self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
            let _ = std::fs::remove_dir(&self.path);
        }
    }

    #[test]
    fn a_secret_is_read_trimmed_and_again_only_when_it_changed() {
        let mut file = file("change", b"\xEF\xBB\xBF first \r\n");
        let (secret, is_changed) = file.current().unwrap();
        assert_eq!((secret.reveal(), is_changed), ("first", false));
        assert!(!file.is_stale());
        assert!(!file.current().unwrap().1);

        let next = file.path.with_extension("next");
        std::fs::write(&next, "second").unwrap();
        std::fs::rename(&next, &file.path).unwrap();
        assert!(file.is_stale());
        let (secret, is_changed) = file.current().unwrap();
        assert_eq!((secret.reveal(), is_changed), ("second", true));

        // Written anew with the same words: read again, but no other secret.
        std::fs::write(&next, "second").unwrap();
        std::fs::rename(&next, &file.path).unwrap();
        assert!(file.is_stale());
        assert!(!file.current().unwrap().1);
    }

    #[test]
    fn a_file_that_goes_wrong_is_told_and_found_again() {
        let mut file = file("gone", b"first");
        file.current().unwrap();
        std::fs::remove_file(&file.path).unwrap();
        assert!(!file.is_stale());
        let told = file.current().unwrap_err().to_string();
        assert!(told.contains("it does not exist. Create it"), "{told}");
        std::fs::write(&file.path, "second").unwrap();
        assert!(file.is_stale());
        assert_eq!(file.current().unwrap().0.reveal(), "second");
    }

    #[test]
    fn every_cause_has_its_remedy_and_none_shows_the_secret() {
        let long = vec![b'x'; limits::SECRET_FILE_BYTES_MAX as usize + 1];
        for (name, content, part) in [
            ("empty", &b" \n"[..], "it is empty. It must contain"),
            ("two", b"s3cret\nmore\n", "the character at offset 6 is not allowed"),
            ("named", b"Bearer s3cret", "offset 6"),
            ("binary", b"\xFF\xFEs\x003\x00", "it is not plain text. Save it as UTF-8"),
            ("long", &long, "it is longer than 16384 bytes"),
        ] {
            let mut file = file(name, content);
            let told = file.current().unwrap_err().to_string();
            assert!(told.starts_with("Failed to read the secret file /"), "{told}");
            assert!(told.contains("(coralogix.api_key_file): "), "{told}");
            assert!(told.contains(part), "{told}");
            assert!(!told.contains("s3cret") && !format!("{file:?}").contains("s3cret"));
        }
        let mut longest = file("longest", &long[1..]);
        assert_eq!(longest.current().unwrap().0.reveal().len(), long.len() - 1);
        let mut directory = file("directory", b"");
        std::fs::remove_file(&directory.path).unwrap();
        std::fs::create_dir(&directory.path).unwrap();
        let told = directory.current().unwrap_err().to_string();
        assert!(told.contains("it is not a file"), "{told}");
        std::fs::remove_dir(&directory.path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &directory.path, 0o600.into()).unwrap();
        let told = directory.current().unwrap_err().to_string();
        assert!(told.contains("it is not a file"), "a pipe is not waited for: {told}");
        // Permissions can't be taken from root, who may run this test.
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let told = directory.io(&denied).to_string();
        let who = format!("(uid {})", rustix::process::geteuid().as_raw());
        assert!(
            told.contains("Let the user this program runs as ") && told.contains(&who),
            "{told}"
        );
        assert!(told.contains("permission denied. Let ") && told.contains("chown "), "{told}");
    }

    #[test]
    fn what_everyone_can_do_with_a_file_is_told() {
        for (mode, can) in [
            (0o600, None),
            (0o640, None),
            (0o641, None),
            (0o644, Some("can read the secret file")),
            (0o642, Some("can change the secret file")),
            (0o666, Some("can read and change the secret file")),
        ] {
            let told = exposure("API key", Path::new("/etc/key"), mode);
            assert_eq!(told.is_some(), can.is_some(), "{mode:o}");
            let told = told.map_or_else(String::new, |told| told.what);
            assert!(told.contains(can.unwrap_or_default()), "{mode:o}");
        }
    }

    #[test]
    fn a_closed_directory_protects_the_files_in_it() {
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        let name = format!("s1-coralogix-secrets-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let file = Scratch(SecretFile::new("API key", directory.join("key")));
        std::fs::write(&file.path, "x").unwrap();
        std::fs::set_permissions(&file.path, mode(0o644)).unwrap();
        // Where the temporary directory itself is closed, nothing in it is open.
        let is_open = |dir: &Path| std::fs::metadata(dir).unwrap().permissions().mode() & 1 == 1;
        let outer = std::fs::canonicalize(std::env::temp_dir()).unwrap().ancestors().all(is_open);
        std::fs::set_permissions(&directory, mode(0o755)).unwrap();
        let told = file.exposure().map(|told| told.to_string());
        assert_eq!(told.is_some(), outer);
        assert!(
            told.is_none_or(
                |told| told.contains("can read the secret") && told.contains("mode 0644")
            )
        );
        std::fs::set_permissions(&directory, mode(0o700)).unwrap();
        assert_eq!(file.exposure(), None);
        drop(file);
        std::fs::remove_dir(&directory).unwrap();
    }
}
