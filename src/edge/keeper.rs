//! Keeps one secret of the config current.
//!
//! Promises: a changed file is used at the next request, without restart or signal; a change is
//! told once. Never: prints a secret, or goes on with an old one when the file can't be read.

use crate::config::SecretSource;
use crate::record::NetTrouble;
use crate::secret::Secret;

use super::secret::{SecretFile, State};

/// One secret and where it comes from.
#[derive(Debug)]
pub struct Keeper {
    kept: Kept,
    /// The state of the file that the caller knows of.
    told: Option<State>,
    /// The state of the file that last ended a sleep.
    woke: Option<State>,
    /// The last use failed: unreadable, or refused by the service.
    doubted: bool,
}

#[derive(Debug)]
enum Kept {
    File(SecretFile),
    Inline(Secret),
    Environment { name: &'static str, secret: Secret },
}

impl Keeper {
    /// `what` it is, for people: `API token`, `API key`.
    pub fn new(what: &'static str, source: SecretSource) -> Keeper {
        let (kept, told) = match source {
            SecretSource::File(path) => {
                let told = State::look(&path);
                (Kept::File(SecretFile::new(what, path)), told)
            }
            SecretSource::Inline(secret) => (Kept::Inline(secret), None),
            SecretSource::Environment { name, secret } => {
                (Kept::Environment { name, secret }, None)
            }
        };
        Keeper { kept, told, woke: told, doubted: false }
    }

    /// The secret as it is now. The file is only read when it changed.
    pub fn current(&mut self) -> Result<Secret, NetTrouble> {
        let result = match &mut self.kept {
            Kept::Inline(secret) | Kept::Environment { secret, .. } => Ok(secret.clone()),
            Kept::File(file) => file.current().map(|(secret, _)| secret),
        };
        result.map_err(|why| {
            self.doubted = true;
            NetTrouble::Secret(why.to_string())
        })
    }

    /// A warning when everybody on the machine can read the secret.
    pub fn exposure(&self) -> Option<String> {
        match &self.kept {
            Kept::File(file) => file.exposure(),
            Kept::Inline(_) | Kept::Environment { .. } => None,
        }
    }

    /// Takes what the service thought of the secret.
    pub fn judge(&mut self, status: u16) {
        self.doubted = matches!(status, 401 | 403);
    }

    /// Whether the file is worth a look every second: only a change can help now.
    pub fn is_doubted(&self) -> bool {
        self.doubted && matches!(self.kept, Kept::File(_))
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
        match &self.kept {
            Kept::File(file) => file.path().display().to_string(),
            Kept::Inline(_) => "the config file".to_owned(),
            Kept::Environment { name, .. } => format!("${name}"),
        }
    }

    fn look(&self) -> Option<State> {
        match &self.kept {
            Kept::File(file) => State::look(file.path()),
            Kept::Inline(_) | Kept::Environment { .. } => None,
        }
    }
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
        assert!(text.contains("Failed to read the secret file"), "{text}");
        assert!(text.contains("(API token): it does not exist"), "{text}");
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
