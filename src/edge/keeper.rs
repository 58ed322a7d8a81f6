//! Keeps one secret of the config current.
//!
//! Promises: a changed file is used at the next request, without restart or signal; a change is
//! told once; a file on a mount that hangs holds nobody up for longer than one look. Never: prints a
//! secret, or goes on with an old one when the file can't be read.

use std::sync::Arc;

use crate::config::SecretSource;
use crate::record::NetTrouble;
use crate::secret::Secret;

use super::reach::{Late, Reach};
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
    reach: Arc<Reach>,
    /// A look at the file that has not come back; the file is not looked at before it has.
    late: Option<Late>,
}

#[derive(Debug)]
enum Kept {
    File(SecretFile),
    Inline(Secret),
    Environment { name: &'static str, secret: Secret },
}

impl Keeper {
    /// `what` it is, for people: `API token`, `API key`.
    pub fn new(what: &'static str, source: SecretSource, reach: &Arc<Reach>) -> Keeper {
        let kept = match source {
            SecretSource::File(path) => Kept::File(SecretFile::new(what, path)),
            SecretSource::Inline(secret) => Kept::Inline(secret),
            SecretSource::Environment { name, secret } => Kept::Environment { name, secret },
        };
        let reach = Arc::clone(reach);
        let mut keeper = Keeper { kept, told: None, woke: None, doubted: false, reach, late: None };
        keeper.told = keeper.look();
        keeper.woke = keeper.told;
        keeper
    }

    /// The secret as it is now. The file is only read when it changed.
    pub fn current(&mut self) -> Result<Secret, NetTrouble> {
        let answer = self.ask(|mut file| {
            let result = file.current().map(|(secret, _)| secret);
            (file, result)
        });
        let result = match (&mut self.kept, answer) {
            (Kept::Inline(secret) | Kept::Environment { secret, .. }, _) => Ok(secret.clone()),
            (Kept::File(file), Some((seen, result))) => {
                *file = seen;
                result
            }
            (Kept::File(file), None) => Err(file.late()),
        };
        result.map_err(|why| {
            self.doubted = true;
            match why.is_of_system() {
                true => NetTrouble::System(why.to_string()),
                false => NetTrouble::Secret(why.to_string()),
            }
        })
    }

    /// Does something with a copy of the file's state. `None`: there is no file, or it does not answer.
    fn ask<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(SecretFile) -> T + Send + 'static,
    ) -> Option<T> {
        let Kept::File(file) = &self.kept else { return None };
        if let Some(late) = &self.late {
            if !late.is_over() {
                return None;
            }
            // Whatever is there now is news to whoever was told that nothing is.
            (self.late, self.told, self.woke) = (None, None, None);
        }
        let file = file.clone();
        match self.reach.ask(move || job(file)) {
            Ok(found) => Some(found),
            Err(late) => {
                self.late = Some(late);
                None
            }
        }
    }

    /// A warning when everybody on the machine can read the secret.
    pub fn exposure(&mut self) -> Option<String> {
        self.ask(|file| file.exposure())?
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

    fn look(&mut self) -> Option<State> {
        self.ask(|file| State::look(file.path()))?
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
        let mut keeper =
            Keeper::new("API token", SecretSource::File(path.clone()), &Arc::default());
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
        let mut keeper =
            Keeper::new("API token", SecretSource::File(path.clone()), &Arc::default());
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
        let mut keeper = Keeper::new("API key", SecretSource::Inline(secret), &Arc::default());
        assert_eq!(keeper.current().unwrap().reveal(), "inline");
        keeper.judge(401);
        assert!(!keeper.is_doubted());
        assert!(!keeper.is_fresh());
        assert!(!format!("{keeper:?}").contains("inline\""));
    }

    #[test]
    fn a_file_that_hangs_is_told_and_is_news_once_it_answers() {
        let dir = scratch_dir("keeper-hangs");
        let path = dir.path().join("token");
        let pipe = dir.path().join("pipe");
        std::fs::write(&path, "first").unwrap();
        let mut keeper =
            Keeper::new("API token", SecretSource::File(path.clone()), &Arc::default());
        assert_eq!(keeper.current().unwrap().reveal(), "first");
        // Opening a pipe waits for its writer, as a mount that hangs waits for its server.
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        std::fs::rename(&pipe, &path).unwrap();
        let Err(NetTrouble::Secret(text)) = keeper.current() else {
            panic!("no answer, no secret")
        };
        assert!(text.contains("(API token): it does not answer. Check its mount"), "{text}");
        assert!(keeper.is_doubted() && !keeper.is_fresh() && !keeper.wakes());
        // While it hangs it is not waited for again.
        let begun = super::super::clock::mono();
        (0..100).for_each(|_| assert!(keeper.current().is_err()));
        let limit = crate::time::Span::ms(crate::limits::SECRET_ANSWER_MS);
        assert!(super::super::clock::mono().since(begun) < limit);
        drop(std::fs::OpenOptions::new().write(true).open(&path).unwrap());
        std::fs::write(&pipe, "first").unwrap();
        std::fs::rename(&pipe, &path).unwrap();
        while !keeper.wakes() {
            std::thread::yield_now();
        }
        assert!(keeper.is_fresh(), "also where nothing of it changed");
        assert_eq!(keeper.current().unwrap().reveal(), "first");
    }
}
