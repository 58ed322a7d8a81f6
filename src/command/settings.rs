//! The config as commands need it: loaded with its warnings logged, and loaded again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::Exit;
use crate::config::{Config, Finding, Findings};
use crate::message::{self, log_message};
use crate::os::config_file::{self, ConfigError};
use crate::os::reach::{Late, Reach};
use crate::os::{log_json, logging};

use log::Level;

use super::{Failure, put};

/// Loads the config. Warnings go to stderr, because there is no log yet.
pub fn load(file: &Path) -> Result<Config, Failure> {
    let (config, warnings) = load_quietly(file)?;
    warnings.iter().for_each(|warning| put(Level::Warn, &warning.to_string()));
    Ok(config)
}

/// Loads the config; the caller reports the warnings.
pub fn load_quietly(file: &Path) -> Result<(Config, Vec<Finding>), Failure> {
    config_file::load(file).map_err(|why| unusable(&why))
}

/// The failure of a command whose config can't be read or used. Each line of the text has its code.
pub fn unusable(why: &ConfigError) -> Failure {
    Failure { exit: exit_of(why), text: why.to_string() }
}

fn exit_of(why: &ConfigError) -> Exit {
    match why {
        ConfigError::System(_) => Exit::TryLater,
        ConfigError::Unreadable(_) | ConfigError::Denied(_) | ConfigError::Wrong(_) => Exit::Config,
    }
}

/// Loads the config for `run`: from the first line on the log has the configured form.
pub fn load_for_log(file: &Path) -> Result<Config, Failure> {
    let (config, warnings) =
        config_file::load(file).map_err(|why| unusable(&why.of_a_service()))?;
    log_json::set(config.log_json);
    warnings.iter().for_each(|warning| put(Level::Warn, &warning.to_string()));
    Ok(config)
}

/// Begins to log. A level that does not exist is reported, and does not stop the start.
pub fn start_log(config: &Config) {
    let level = logging::level(config.log_level);
    logging::init(*level.as_ref().unwrap_or(&config.log_level), logging::Style::detect());
    if let Err(why) = level {
        log_message!(LOG_LEVEL_UNKNOWN, "{why}");
    }
}

/// Applies the log settings of a changed config.
pub fn restart_log(config: &Config) {
    log_json::set(config.log_json);
    // The environment was valid at the start and can't have changed.
    if let Ok(level) = logging::level(config.log_level) {
        logging::set_level(level);
    }
}

/// The result of SIGHUP.
pub enum Reload {
    /// The new config is valid and different.
    Taken(Box<Config>),
    Unchanged,
    /// The new config is wrong, and the old one stays. The reason, in a few words.
    Refused(String),
}

/// The config, read again on SIGHUP. Its files may lie on a mount that hangs, so the loop does not
/// read them itself.
pub struct Rereading {
    file: PathBuf,
    reach: Reach,
    stop: Arc<AtomicBool>,
    /// SIGHUP came, and what the files say is not known yet.
    is_due: bool,
    /// A reading that has not returned; what it finds is not used, because it may be old by then.
    late: Option<Late>,
}

impl Rereading {
    /// `stop`: ends a wait for the files.
    pub fn new(file: &Path, stop: Arc<AtomicBool>) -> Rereading {
        let (file, reach) = (file.to_owned(), Reach::new(Arc::clone(&stop)));
        Rereading { file, reach, stop, is_due: false, late: None }
    }

    /// SIGHUP came.
    pub fn ask(&mut self) {
        self.is_due = true;
    }

    /// Whether it is worth a look soon.
    pub fn is_due(&self) -> bool {
        self.is_due
    }

    /// What came of the last SIGHUP, if that is news.
    pub fn look(&mut self, current: &Config) -> Option<Reload> {
        if !self.is_due || self.late.as_ref().is_some_and(|late| !late.is_over()) {
            return None;
        }
        let file = self.file.clone();
        match self.reach.ask(move || config_file::load(&file)) {
            Ok(loaded) => {
                (self.is_due, self.late) = (false, None);
                Some(judged(loaded, current))
            }
            Err(late) => {
                let is_known = self.late.replace(late).is_some();
                let is_told = is_known || self.stop.load(Ordering::SeqCst);
                (!is_told).then(|| self.hangs())
            }
        }
    }

    fn hangs(&self) -> Reload {
        log_message!(CONFIG_KEPT, "The new config can't be read yet, the old one stays in effect");
        let why = format!(
            "Failed to read the config {} or its directory {}: it does not answer. Check its mount \
             or disk (mount, dmesg); the new config is used as soon as it can be read",
            self.file.display(),
            config_file::directory(&self.file).display()
        );
        log_message!(CONFIG_SYSTEM, "{why}");
        Reload::Refused(format!("{} {why}", message::CONFIG_SYSTEM))
    }
}

/// Compares a config that was read again with the current one, and reports what is wrong with it.
fn judged(loaded: Result<(Config, Vec<Finding>), ConfigError>, current: &Config) -> Reload {
    let (new, warnings) = match loaded.map_err(ConfigError::of_a_service) {
        Ok(loaded) => loaded,
        Err(why) => {
            log_message!(CONFIG_KEPT, "The new config is invalid, the old one stays in effect");
            match &why {
                ConfigError::Unreadable(why) | ConfigError::Denied(why) => {
                    log_message!(CONFIG_UNREADABLE, "{why}");
                }
                ConfigError::System(why) => log_message!(CONFIG_SYSTEM, "{why}"),
                ConfigError::Wrong(Findings(findings)) => log_all(findings),
            }
            return Reload::Refused(in_short(&why));
        }
    };
    log_all(&warnings);
    if new.queue.dir != current.queue.dir {
        let (old, new) = (current.queue.dir.display(), new.queue.dir.display());
        log_message!(
            QUEUE_DIR_MOVED,
            "The new config moves queue.dir, the old config stays in effect: a running queue can't move. \
             Stop the service, move {old} to {new}, and start it"
        );
        let code = message::QUEUE_DIR_MOVED;
        return Reload::Refused(format!("{code} queue.dir moves from {old} to {new}"));
    }
    if new == *current {
        log_message!(CONFIG_UNCHANGED, "The config was read again; nothing has changed");
        return Reload::Unchanged;
    }
    Reload::Taken(Box::new(new))
}

/// The first problem, and the number of others.
fn in_short(why: &ConfigError) -> String {
    let ConfigError::Wrong(Findings(findings)) = why else { return why.to_string() };
    let first = findings
        .first()
        .map_or(String::new(), |finding| format!("{} {}", finding.code, finding.brief()));
    match findings.len() {
        0 | 1 => first,
        all => format!("{first}; and {} more", all - 1),
    }
}

/// A finding is one line in the log, without the excerpt of the file.
fn log_all(findings: &[Finding]) {
    for finding in findings {
        message::write(finding.code, format_args!("{}", finding.brief()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reading one's own memory from its very beginning is an error of the device.
    const FAILS_TO_READ: &str = "/proc/self/mem";

    #[test]
    fn a_config_that_the_system_could_not_read_is_not_called_wrong() {
        let Failure { exit, text } = load_quietly(Path::new(FAILS_TO_READ)).unwrap_err();
        assert_eq!(exit, Exit::TryLater, "{text}");
        let what =
            "S1C-E341 Failed to read the config file /proc/self/mem: read: Input/output error. ";
        assert!(text.starts_with(what) && text.contains("check its disk or mount"), "{text}");
        let missing = load_quietly(Path::new("/nonexistent/config.toml")).unwrap_err();
        assert_eq!(missing.exit, Exit::Config, "{}", missing.text);
    }
}
