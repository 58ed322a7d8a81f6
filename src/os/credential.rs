//! Keeps one secret of the config current.
//!
//! Promises: a changed file is used at the next request, without restart or signal; a change is
//! reported once; a file on a mount that hangs delays its caller by no more than one look. Never:
//! prints a secret, or goes on with an old one when the file can't be read.

use std::sync::Arc;

use crate::config::SecretSource;
use crate::problem::Problem;
use crate::record::NetTrouble;
use crate::secret::Secret;

use super::reach::{Late, Reach};
use super::secret::{SecretFile, State};

/// One secret and where it comes from.
#[derive(Debug)]
pub struct Credential {
    kept: Kept,
    /// The state of the file at the last call of `is_news`.
    reported: Option<State>,
    /// The state of the file that last ended a sleep.
    woke: Option<State>,
    /// The secret could not be read, or the service rejected it.
    is_suspect: bool,
    reach: Arc<Reach>,
    /// A look at the file that has not returned; until then the file is not looked at again.
    late: Option<Late>,
}

#[derive(Debug)]
enum Kept {
    File(SecretFile),
    Inline(Secret),
    Environment { name: &'static str, secret: Secret },
}

impl Credential {
    /// `what` it is, for people: `API token`, `API key`.
    pub fn new(what: &'static str, source: SecretSource, reach: &Arc<Reach>) -> Credential {
        let kept = match source {
            SecretSource::File(path) => Kept::File(SecretFile::new(what, path)),
            SecretSource::Inline(secret) => Kept::Inline(secret),
            SecretSource::Environment { name, secret } => Kept::Environment { name, secret },
        };
        let reach = Arc::clone(reach);
        let mut credential =
            Credential { kept, reported: None, woke: None, is_suspect: false, reach, late: None };
        credential.reported = credential.look();
        credential.woke = credential.reported;
        credential
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
            self.is_suspect = true;
            match why.is_of_system() {
                true => NetTrouble::System(why.problem()),
                false => NetTrouble::Secret(why.problem()),
            }
        })
    }

    /// Runs `job` on a copy of the `SecretFile`. `None`: there is no file, or the mount does not
    /// answer.
    fn ask<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(SecretFile) -> T + Send + 'static,
    ) -> Option<T> {
        let Kept::File(file) = &self.kept else { return None };
        if let Some(late) = &self.late {
            if !late.is_over() {
                return None;
            }
            // The file counted as missing meanwhile, so its next content counts as a change.
            (self.late, self.reported, self.woke) = (None, None, None);
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

    /// A warning when every user of the machine can read the secret.
    pub fn exposure(&mut self) -> Option<Problem> {
        self.ask(|file| file.exposure())?
    }

    /// Takes the status with which the service answered.
    pub fn observe_answer(&mut self, status: u16) {
        self.is_suspect = matches!(status, 401 | 403);
    }

    /// Whether the file is worth a look every second: only a change can help now.
    pub fn is_suspect(&self) -> bool {
        self.is_suspect && matches!(self.kept, Kept::File(_))
    }

    /// Whether the file changed since the last call. A file that is gone is no change.
    pub fn is_news(&mut self) -> bool {
        let seen = self.look();
        let is_news = seen.is_some() && seen != self.reported;
        if is_news {
            (self.reported, self.woke) = (seen, seen);
        }
        is_news
    }

    /// Whether a sleep should end because the file changed. True once for each change, so that a
    /// caller who does not ask what changed is not kept awake.
    pub fn wakes(&mut self) -> bool {
        let seen = self.look();
        let wakes = seen.is_some() && seen != self.reported && seen != self.woke;
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
    use crate::test_world::temp::TempDir;

    #[test]
    fn a_changed_file_is_used_at_once_and_told_once() {
        let dir = TempDir::new("credential");
        let path = dir.path().join("token");
        std::fs::write(&path, "first\n").unwrap();
        let mut credential =
            Credential::new("API token", SecretSource::File(path.clone()), &Arc::default());
        assert_eq!(credential.current().unwrap().reveal(), "first");
        assert!(!credential.is_news());
        assert!(!credential.wakes());

        std::fs::write(dir.path().join("new"), "second\n").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(credential.wakes());
        assert!(!credential.wakes(), "a caller that does not ask is woken once");
        assert_eq!(credential.current().unwrap().reveal(), "second");
        assert!(credential.is_news(), "told even when another request has already used it");
        assert!(!credential.is_news());
        assert!(!credential.wakes());
        std::fs::remove_file(&path).unwrap();
        assert!(!credential.wakes() && !credential.is_news(), "there is nothing to try");
    }

    #[test]
    fn an_unreadable_file_is_an_error_with_a_remedy_and_is_watched() {
        let dir = TempDir::new("credential-missing");
        let path = dir.path().join("token");
        let mut credential =
            Credential::new("API token", SecretSource::File(path.clone()), &Arc::default());
        let Err(NetTrouble::Secret(why)) = credential.current() else {
            panic!("no file, no secret")
        };
        let text = why.to_string();
        assert!(text.contains("Failed to read the secret file"), "{text}");
        assert!(text.contains("(API token): it does not exist"), "{text}");
        assert!(credential.is_suspect());
        assert!(!credential.is_news());

        std::fs::write(&path, "qx\u{7}z").unwrap();
        assert!(credential.is_news());
        let Err(NetTrouble::Secret(why)) = credential.current() else {
            panic!("not a header value")
        };
        let text = why.to_string();
        assert!(text.contains("offset 2"), "{text}");
        assert!(!text.contains("qx"), "the secret is not printed: {text}");

        std::fs::write(&path, "key").unwrap();
        assert_eq!(credential.current().unwrap().reveal(), "key");
        credential.observe_answer(200);
        assert!(!credential.is_suspect());
        credential.observe_answer(401);
        assert!(credential.is_suspect());

        // A vanished file must not leave the old secret in use.
        std::fs::remove_file(&path).unwrap();
        assert!(credential.current().is_err());
    }

    #[test]
    fn a_secret_that_is_no_file_never_changes() {
        let secret = Secret::new("inline").unwrap();
        let mut credential =
            Credential::new("API key", SecretSource::Inline(secret), &Arc::default());
        assert_eq!(credential.current().unwrap().reveal(), "inline");
        credential.observe_answer(401);
        assert!(!credential.is_suspect());
        assert!(!credential.is_news());
        assert!(!format!("{credential:?}").contains("inline\""));
    }

    #[test]
    fn a_file_that_hangs_is_told_and_is_news_once_it_answers() {
        let dir = TempDir::new("credential-hangs");
        let path = dir.path().join("token");
        let pipe = dir.path().join("token.pipe");
        std::fs::write(&path, "first").unwrap();
        let mut credential =
            Credential::new("API token", SecretSource::File(path.clone()), &Arc::default());
        assert_eq!(credential.current().unwrap().reveal(), "first");
        // Opening a pipe like this waits for its writer, as a mount that hangs waits for its server.
        let Kept::File(file) = &mut credential.kept else { panic!("it is a file") };
        file.open = |path| std::fs::File::open(path.with_extension("pipe"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        let Err(NetTrouble::Secret(why)) = credential.current() else {
            panic!("no answer, no secret")
        };
        let text = why.to_string();
        assert!(text.contains("(API token): it does not answer. Check its mount"), "{text}");
        assert!(credential.is_suspect() && !credential.is_news() && !credential.wakes());
        // While it hangs it is not waited for again.
        let begun = super::super::clock::mono();
        (0..100).for_each(|_| assert!(credential.current().is_err()));
        let limit = crate::time::Span::ms(crate::limits::SECRET_ANSWER_MS);
        assert!(super::super::clock::mono().since(begun) < limit);
        drop(std::fs::OpenOptions::new().write(true).open(&pipe).unwrap());
        let Kept::File(file) = &mut credential.kept else { panic!("it is a file") };
        file.open = crate::os::regular::open;
        while !credential.wakes() {
            std::thread::yield_now();
        }
        assert!(credential.is_news(), "also where nothing of it changed");
        assert_eq!(credential.current().unwrap().reveal(), "first");
    }
}
