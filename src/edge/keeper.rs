//! Keeps one secret of the config current.
//!
//! Promises: a changed file is used at the next request, without restart or signal; a change is
//! told once. Never: prints a secret, or goes on with an old one when the file can't be read.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::SecretSource;
use crate::limits::SECRET_FILE_BYTES_MAX;
use crate::record::NetTrouble;
use crate::secret::Secret;

/// What tells one state of a file from another. The change time is part of it, so that a file
/// made readable by chmod is noticed too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Follows links, because that is how mounted secrets are switched.
    fn look(path: &Path) -> Option<Identity> {
        std::fs::metadata(path).ok().map(|metadata| Identity::of(&metadata))
    }
}

/// One secret and where it comes from.
#[derive(Debug)]
pub struct Keeper {
    /// What it is, for people: `API token`, `API key`.
    what: &'static str,
    source: SecretSource,
    held: Option<(Identity, Secret)>,
    /// The state of the file that the caller knows of.
    told: Option<Identity>,
    /// The state of the file that last ended a sleep.
    woke: Option<Identity>,
    /// The last use failed: unreadable, or refused by the service.
    doubted: bool,
}

impl Keeper {
    pub fn new(what: &'static str, source: SecretSource) -> Keeper {
        let told = match &source {
            SecretSource::File(path) => Identity::look(path),
            SecretSource::Inline(_) | SecretSource::Environment { .. } => None,
        };
        Keeper { what, source, held: None, told, woke: told, doubted: false }
    }

    /// The secret as it is now. The file is only read when it changed.
    pub fn current(&mut self) -> Result<Secret, NetTrouble> {
        let result = match &self.source {
            SecretSource::Inline(secret) | SecretSource::Environment { secret, .. } => {
                Ok(secret.clone())
            }
            SecretSource::File(path) => read_if_changed(&mut self.held, path)
                .map_err(|why| NetTrouble::Secret(explain(self.what, path, &why))),
        };
        if result.is_err() {
            self.held = None;
            self.doubted = true;
        }
        result
    }

    /// Takes what the service thought of the secret.
    pub fn judge(&mut self, status: u16) {
        self.doubted = matches!(status, 401 | 403);
    }

    /// Whether the file is worth a look every second: only a change can help now.
    pub fn is_doubted(&self) -> bool {
        self.doubted && matches!(self.source, SecretSource::File(_))
    }

    /// Whether the file changed since this was last asked. A file that is gone is no news.
    pub fn is_fresh(&mut self) -> bool {
        let seen = self.look();
        let fresh = seen.is_some() && seen != self.told;
        if fresh {
            (self.told, self.woke) = (seen, seen);
        }
        fresh
    }

    /// Whether a sleep should end for a change. True once a change, so that a caller who does
    /// not ask what changed can't be kept awake.
    pub fn wakes(&mut self) -> bool {
        let seen = self.look();
        let wakes = seen.is_some() && seen != self.told && seen != self.woke;
        if wakes {
            self.woke = seen;
        }
        wakes
    }

    /// Where the secret comes from, for people.
    pub fn origin(&self) -> String {
        match &self.source {
            SecretSource::File(path) => path.display().to_string(),
            SecretSource::Inline(_) => "the config file".to_owned(),
            SecretSource::Environment { name, .. } => format!("${name}"),
        }
    }

    fn look(&self) -> Option<Identity> {
        match &self.source {
            SecretSource::File(path) => Identity::look(path),
            SecretSource::Inline(_) | SecretSource::Environment { .. } => None,
        }
    }
}

fn read_if_changed(held: &mut Option<(Identity, Secret)>, path: &Path) -> Result<Secret, String> {
    let file = File::open(path).map_err(|error| plain(&error))?;
    // The state is taken before the content: a file that changes in between differs from it at
    // the next use and is read again.
    let identity = Identity::of(&file.metadata().map_err(|error| plain(&error))?);
    if let Some((known, secret)) = held
        && *known == identity
    {
        return Ok(secret.clone());
    }
    if identity.size > SECRET_FILE_BYTES_MAX {
        return Err(format!("it is longer than {SECRET_FILE_BYTES_MAX} bytes"));
    }
    let mut text = String::new();
    file.take(SECRET_FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| plain(&error))?;
    let secret = Secret::new(&text).map_err(|why| why.to_string())?;
    *held = Some((identity, secret.clone()));
    Ok(secret)
}

/// An error of the system without its number.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn explain(what: &str, path: &Path, why: &str) -> String {
    format!(
        "failed to read the {what} from {}: {why}. Put the {what} alone into this file and let \
         only the user this program runs as read it",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::loopback::scratch_dir;

    #[test]
    fn a_changed_file_is_used_at_once_and_told_once() {
        let dir = scratch_dir("keeper");
        let path = dir.path().join("token");
        std::fs::write(&path, "first\n").unwrap();
        let mut keeper = Keeper::new("API token", SecretSource::File(path.clone()));
        assert_eq!(keeper.current().unwrap().reveal(), "first");
        assert!(!keeper.is_fresh());
        assert!(!keeper.wakes());

        std::fs::write(dir.path().join("new"), "second\n").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(keeper.wakes());
        assert!(!keeper.wakes(), "a caller that does not ask is woken once");
        assert_eq!(keeper.current().unwrap().reveal(), "second");
        assert!(keeper.is_fresh(), "told even when another request has already used it");
        assert!(!keeper.is_fresh());
        assert!(!keeper.wakes());
    }

    #[test]
    fn an_unreadable_file_is_an_error_with_a_remedy_and_is_watched() {
        let dir = scratch_dir("keeper-missing");
        let path = dir.path().join("token");
        let mut keeper = Keeper::new("API token", SecretSource::File(path.clone()));
        let Err(NetTrouble::Secret(text)) = keeper.current() else { panic!("no file, no secret") };
        assert!(text.contains("failed to read the API token from"), "{text}");
        assert!(text.contains("No such file"), "{text}");
        assert!(keeper.is_doubted());
        assert!(!keeper.is_fresh());

        std::fs::write(&path, "qx\u{7}z").unwrap();
        assert!(keeper.is_fresh());
        let Err(NetTrouble::Secret(text)) = keeper.current() else { panic!("not a header value") };
        assert!(text.contains("offset 2"), "{text}");
        assert!(!text.contains("qx"), "the secret is not printed: {text}");

        std::fs::write(&path, "key").unwrap();
        assert_eq!(keeper.current().unwrap().reveal(), "key");
        keeper.judge(200);
        assert!(!keeper.is_doubted());
        keeper.judge(401);
        assert!(keeper.is_doubted());

        // A vanished file must not leave the old secret in use.
        std::fs::remove_file(&path).unwrap();
        assert!(keeper.current().is_err());
    }

    #[test]
    fn a_secret_that_is_no_file_never_changes() {
        let secret = Secret::new("inline").unwrap();
        let mut keeper = Keeper::new("API key", SecretSource::Inline(secret));
        assert_eq!(keeper.current().unwrap().reveal(), "inline");
        keeper.judge(401);
        assert!(!keeper.is_doubted());
        assert!(!keeper.is_fresh());
        assert!(!format!("{keeper:?}").contains("inline\""));
    }
}
