//! Whether the daemon makes progress: by the age of its status file, not by its lock alone.
//!
//! A process that hangs keeps its lock, and one whose queue directory was removed has a lock that
//! can't be found. The daemon writes its status at least every half minute between two steps, so a
//! file older than the longest step shows that it makes none any more. While data is
//! transferred, and at a step while the status file can't be written, the lock is touched; who can't
//! see that allows for `network.exchange_timeout`.

use std::path::Path;

use crate::cli::Exit;
use crate::config::{settings, units};
use crate::limits;
use crate::message;
use crate::os::{clock, config_file};
use crate::queue::real::{LOCK, is_in_use};
use crate::report::{SettingsRefused, Status};
use crate::time::{Span, Stamp};

use super::status::seconds;
use super::{Failure, print};

/// The state of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It makes steps.
    Answers,
    /// It holds its lock and has made no step for longer than any step takes.
    Silent,
    /// It makes steps, and its queue's directory is gone.
    QueueRemoved,
    NotRunning,
}

impl Liveness {
    /// The stable name, as in `status --json`.
    pub fn name(self) -> &'static str {
        match self {
            Liveness::Answers => "answers",
            Liveness::Silent => "silent",
            Liveness::QueueRemoved => "queue_removed",
            Liveness::NotRunning => "not_running",
        }
    }
}

/// The longest time for which a working daemon does not write its status file: a file that is not
/// yet due, then the longest sleep, then the longest step. That is an exchange and another one for
/// the time of a server whose certificate does not fit the time, or an answer of the index.
pub fn silence_max(timeout: Span) -> Span {
    let seconds =
        limits::STATUS_SECONDS_MAX + limits::SLEEP_SECONDS_MAX + limits::INDEX_ANSWER_SECONDS_MAX;
    Span::ms(Span::seconds(seconds).as_ms() + 2 * timeout.as_ms())
}

/// `status --alive`, for probes: whether the daemon makes progress, whatever else is wrong.
pub fn alive(config_file: &Path) -> Result<Exit, Failure> {
    let (status, liveness, age) =
        seen(config_file).map_err(|failure| Failure { exit: Exit::Failed, ..failure })?;
    match liveness {
        Liveness::Answers | Liveness::QueueRemoved => {
            print(&format!("s1-coralogix {}: alive\n", status.version))
        }
        Liveness::Silent => {
            Err(Failure::new(message::DAEMON_SILENT, Exit::Failed, silence(&status, age)))
        }
        Liveness::NotRunning => {
            let text =
                "The daemon is not running. Start it with s1-coralogix run, or start its service";
            Err(Failure::new(message::NOT_RUNNING, Exit::Failed, text))
        }
    }
}

/// The message about a daemon that makes no steps, with its remedy.
pub fn silence(status: &Status, age: Option<Span>) -> String {
    let age = age.map_or(String::new(), |age| format!(" ({age} ago)"));
    format!(
        "The daemon, process {}, has not answered since {}{age}: it hangs, was stopped or can't \
         write its status file. Check its log, then restart it; nothing queued is lost",
        status.pid,
        seconds(&status.updated)
    )
}

/// The status, the state of its daemon, and the age of the file.
pub fn seen(config_file: &Path) -> Result<(Status, Liveness, Option<Span>), Failure> {
    let config = config_file::load(config_file);
    let (file, queue_dir, bounds) = match &config {
        Ok((config, _)) => {
            let (dir, network) = (Some(config.queue.dir.as_path()), &config.network);
            (config.status_file.as_path(), dir, (network.timeout, network.exchange_timeout))
        }
        // The config may be readable for root alone, while everybody may read the status.
        Err(_) => {
            let by_default = |name| {
                let span = units::span(settings::by_default("network", name));
                span.expect("a setting's default can be read")
            };
            let file = Path::new(settings::by_default("status", "file"));
            (file, None, (by_default("timeout"), by_default("exchange_timeout")))
        }
    };
    let mut status = match Status::read(file) {
        Ok(status) => status,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::new(
                message::NOT_RUNNING,
                Exit::NotRunning,
                format!(
                    "The daemon is not running, or writes another status.file: there is no {}. \
                     Start it with s1-coralogix run, or start its service{}",
                    file.display(),
                    config.as_ref().err().map_or(String::new(), |why| format!("\n{why}"))
                ),
            ));
        }
        Err(why) => {
            return Err(Failure::new(
                message::STATUS_UNREADABLE,
                Exit::Failed,
                format!("Failed to read the status file {}: {why}", file.display()),
            ));
        }
    };
    let beside = config_file::refused_beside(config_file);
    status.settings_refused = beside.as_ref().map(SettingsRefused::of).or(status.settings_refused);
    let age = age(file);
    let (timeout, exchange) = bounds;
    let signs = Signs::of(&status, age, queue_dir);
    // Only the lock shows that an exchange moves.
    let unseen = if signs.sees_exchanges { Span::ZERO } else { exchange };
    let liveness = signs.judge(Span::ms(silence_max(timeout).as_ms() + unseen.as_ms()));
    Ok((status, liveness, age))
}

/// The observations that decide.
pub struct Signs {
    /// Whether the lock on the queue is held; `None`: this process can't see it.
    pub locked: Option<bool>,
    /// There is no lock file.
    pub lock_is_gone: bool,
    /// This process sees when the lock file was last touched, as an exchange that moves does.
    pub sees_exchanges: bool,
    /// The process that wrote the status exists.
    pub process: bool,
    /// Time since the last sign of a step: the status was written, or the lock was taken.
    pub age: Option<Span>,
}

impl Signs {
    /// `written`: the age of the status file.
    pub fn of(status: &Status, written: Option<Span>, queue_dir: Option<&Path>) -> Signs {
        let lock = queue_dir.map(|dir| dir.join(LOCK));
        // A daemon that is just starting has not written its own status yet.
        let begun = lock.as_deref().and_then(age);
        Signs {
            locked: queue_dir.and_then(is_in_use),
            lock_is_gone: lock.is_some_and(|lock| matches!(lock.try_exists(), Ok(false))),
            process: Path::new(&format!("/proc/{}", status.pid)).exists(),
            sees_exchanges: begun.is_some(),
            age: written.map(|age| begun.map_or(age, |begun| age.min(begun))),
        }
    }

    /// The lock is the best sign; where it can't be seen, the process has to do.
    pub fn judge(&self, silence_max: Span) -> Liveness {
        let is_recent = self.age.is_none_or(|age| age <= silence_max);
        match self.locked.unwrap_or(self.process) {
            true if is_recent => Liveness::Answers,
            true => Liveness::Silent,
            false if self.lock_is_gone && is_recent && self.process => Liveness::QueueRemoved,
            false => Liveness::NotRunning,
        }
    }
}

/// The age of a file by this machine's clock, which dated it; the time in the content is the
/// services'.
pub fn age(file: &Path) -> Option<Span> {
    let written = std::fs::metadata(file).ok()?.modified().ok()?;
    let since = written.duration_since(std::time::UNIX_EPOCH).ok()?;
    let written = Stamp(i64::try_from(since.as_micros()).ok()?);
    Some(clock::of_files().since(written))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_no_sign_of_life_and_its_absence_none_of_death() {
        use Liveness::{Answers, NotRunning, QueueRemoved, Silent};
        let most = silence_max(Span::seconds(60));
        let (young, old) = (Some(Span::seconds(90)), Some(Span::ms(most.as_ms() + 1)));
        for (locked, lock_is_gone, process, age, judged) in [
            (Some(true), false, true, young, Answers),
            (Some(true), false, false, young, Answers),
            (Some(true), false, true, old, Silent),
            (None, false, true, young, Answers),
            (None, false, true, old, Silent),
            (None, false, false, young, NotRunning),
            (Some(false), true, true, young, QueueRemoved),
            (Some(false), true, true, old, NotRunning),
            (Some(false), true, false, young, NotRunning),
            (Some(false), false, true, young, NotRunning),
        ] {
            let signs = Signs { locked, lock_is_gone, sees_exchanges: true, process, age };
            assert_eq!(signs.judge(most), judged, "{locked:?} {lock_is_gone} {process} {age:?}");
        }
    }
}
