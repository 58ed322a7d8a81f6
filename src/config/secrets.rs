//! Where each secret comes from: a file, the config itself, or the environment.
//!
//! Promises: no note holds a secret, nor a text that may be one put in the wrong place (keeps
//! P7). Never: reads the file; that is done at the edge, again whenever it changes.

use std::path::PathBuf;

use crate::config::SecretSource;
use crate::config::leaf::{Check, Scope};
use crate::config::raw::{Given, Value};
use crate::message;
use crate::secret::{NotASecret, Secret};

/// Where systemd puts a unit's credentials; taken when the variable is not set, as it is not for
/// a person who runs `status` or `check` by hand.
const SYSTEMD_CREDENTIALS: &str = "/run/credentials/s1-coralogix.service";

/// How a secret may be given.
pub struct SecretNames<'e> {
    pub file: &'static str,
    pub inline: &'static str,
    pub variable: &'static str,
    /// `None` also where the variable must not be used.
    pub from_environment: Option<&'e Result<Secret, NotASecret>>,
}

impl Check<'_> {
    pub fn secret(&mut self, scope: Scope<'_>, names: &SecretNames<'_>) -> Option<SecretSource> {
        let full = format!("{}.{}", scope.name, names.file);
        let source = match (scope.get(names.file), scope.get(names.inline)) {
            (Some(_), Some(inline)) => {
                let key = inline.setting.full_name();
                let problem = format!("{full} is given too");
                self.note(
                    message::SETTINGS_EXCLUDE,
                    Some(inline.key_span.clone()),
                    &key,
                    problem,
                    "remove one of them",
                );
                return None;
            }
            (Some(file), None) => self.secret_file(file, names),
            (None, Some(inline)) => self.secret_inline(inline, names),
            (None, None) => return self.secret_from_environment(scope, names),
        };
        if names.from_environment.is_some() {
            let problem = format!("{} is set in the environment and not used", names.variable);
            self.note(
                message::SECRET_UNUSED,
                scope.span(),
                &full,
                problem,
                "the config takes precedence; unset one of them",
            );
        }
        source
    }

    fn secret_file(&mut self, given: &Given, names: &SecretNames<'_>) -> Option<SecretSource> {
        let Value::Text(text) = &given.value else { return None };
        let text = text.trim();
        let key = given.setting.full_name();
        let span = || Some(given.span.clone());
        let credential = ["$CREDENTIALS_DIRECTORY/", "${CREDENTIALS_DIRECTORY}/"]
            .into_iter()
            .find_map(|prefix| text.strip_prefix(prefix));
        if let Some(name) = credential {
            let directory = self.environment.credentials_directory.clone();
            if directory.is_none() {
                let problem = "CREDENTIALS_DIRECTORY is not set";
                let hint = format!("only systemd sets it; {SYSTEMD_CREDENTIALS} is used instead");
                self.note(message::CREDENTIALS_UNSET, span(), &key, problem, &hint);
            }
            if name.is_empty() || name.contains(['/', '\0']) {
                self.note(
                    message::SECRET_PATH_MISREAD,
                    span(),
                    &key,
                    "this is not the name of a credential",
                    "remove the slash",
                );
            }
            let directory = directory.unwrap_or_else(|| PathBuf::from(SYSTEMD_CREDENTIALS));
            return Some(SecretSource::File(directory.join(name)));
        }
        if text.starts_with('/') && !text.contains('\0') {
            return Some(SecretSource::File(PathBuf::from(text)));
        }
        // The text may be the secret itself, so it is not shown.
        let hint = format!(
            "write a path that starts with / or $CREDENTIALS_DIRECTORY/; the secret itself is {}",
            names.inline
        );
        self.note(
            message::SECRET_PATH_MISREAD,
            span(),
            &key,
            "this is not an absolute path",
            &hint,
        );
        None
    }

    fn secret_inline(&mut self, given: &Given, names: &SecretNames<'_>) -> Option<SecretSource> {
        let Value::Text(text) = &given.value else { return None };
        let instead = format!("or move it to its own file: {} = \"/path\"", names.file);
        self.config_is_private(given, "a secret", &instead);
        match Secret::new(text) {
            Ok(secret) => Some(SecretSource::Inline(secret)),
            Err(why) => {
                let hint = "it must be only the key or token, without a prefix";
                self.note(
                    message::SECRET_MISREAD,
                    Some(given.span.clone()),
                    &given.setting.full_name(),
                    why.to_string(),
                    hint,
                );
                None
            }
        }
    }

    fn secret_from_environment(
        &mut self,
        scope: Scope<'_>,
        names: &SecretNames<'_>,
    ) -> Option<SecretSource> {
        let full = format!("{}.{}", scope.name, names.file);
        match names.from_environment {
            Some(Ok(secret)) => {
                let (name, secret) = (names.variable, secret.clone());
                Some(SecretSource::Environment { name, secret })
            }
            Some(Err(why)) => {
                let problem = format!("{} in the environment is no secret: {why}", names.variable);
                self.note(
                    message::SECRET_MISREAD,
                    scope.span(),
                    &full,
                    problem,
                    "set it to only the key or token",
                );
                None
            }
            None if scope.is_mistyped(names.file) || scope.is_mistyped(names.inline) => None,
            None => {
                let is_ambiguous =
                    names.variable == "S1_API_TOKEN" && self.environment.s1_api_token.is_some();
                let hint = match is_ambiguous {
                    true => "S1_API_TOKEN is only used with a single integration".into(),
                    false => format!("add {} = {}", names.file, scope.setting(names.file).example),
                };
                self.note(message::SETTING_MISSING, scope.span(), &full, "it is missing", &hint);
                None
            }
        }
    }

    /// A config that holds a secret must not be readable by everyone.
    pub fn config_is_private(&mut self, given: &Given, what: &str, instead: &str) {
        let Some(mode) = self.files.at(given.span.start).source.mode else { return };
        let (span, key) = (Some(given.span.clone()), given.setting.full_name());
        let mode = mode & 0o7777;
        let hint = format!("chmod 0600 this file {instead}");
        if mode & 0o007 != 0 {
            let problem = format!("{what} is in a file that every user can read (mode {mode:04o})");
            self.note(message::SECRET_IN_OPEN_FILE, span, &key, problem, hint.trim_end());
        } else if mode & 0o070 != 0 {
            let problem = format!("{what} is in a file that its group can read (mode {mode:04o})");
            self.note(message::SECRET_IN_GROUP_FILE, span, &key, problem, hint.trim_end());
        }
    }
}
