//! `queue`: shows what waits, and does with it what only a person may decide.
//!
//! Promises: commands that only read work while the daemon runs and take no lock; commands that
//! change the queue require that the daemon is stopped, and take its lock. Never: shows a secret,
//! or prints a remote party's text without escaping control characters.

mod adopt;
mod aside;
mod doubt;
mod list;
mod parked;
mod show;
mod stats;
mod transfer;
mod verify;

use std::path::{Path, PathBuf};

use super::run::{act_as_owner, exit_of, take_queue};
use super::status::seconds;
use super::{Failure, daemon_status, print_error, settings};
use crate::cli::Exit;
use crate::cli::queue::{QueueCommand, Which};
use crate::config::Config;
use crate::message;
use crate::os::clock;
use crate::os::progress::Progress;
use crate::queue::inspect::{Doubted, HeadBy, Inspector, Parked};
use crate::queue::real::{RealDisk, is_in_use};
use crate::queue::{OpenError, RealQueue, inspect};
use crate::record::{QueuePosition, Seq};
use crate::report::Status;

pub use stats::text as stats_text;

/// Runs the command.
pub fn execute(config_file: &Path, ask: &QueueCommand) -> Result<Exit, Failure> {
    let config = settings::load(config_file)?;
    match ask {
        QueueCommand::Stats { json } => stats::stats(&config, *json),
        QueueCommand::List { stream, limit, json } => {
            list::list(&config, stream.as_deref(), *limit, *json)
        }
        QueueCommand::Show { id } => show::show(&config, id),
        QueueCommand::Verify => verify::verify(&config),
        QueueCommand::Export { file } => transfer::export(&config, file),
        QueueCommand::Import { file } => transfer::import(&config, file),
        QueueCommand::Adopt { name, how } => adopt::adopt(&config, name, how),
        QueueCommand::ParkedList { json } => parked::list(&config, *json),
        QueueCommand::ParkedShow { name } => parked::show(&config, name),
        QueueCommand::ParkedRetry { which } => parked::retry(&config, which),
        QueueCommand::ParkedDrop { which } => parked::drop(&config, which),
        QueueCommand::DoubtList { json } => doubt::list(&config, *json),
        QueueCommand::DoubtShow { name } => doubt::show(&config, name),
        QueueCommand::DoubtRetry { which } => doubt::retry(&config, which),
        QueueCommand::DoubtDrop { which } => doubt::drop(&config, which),
    }
}

/// A queue that is only read.
struct Looked {
    inspector: Inspector<RealDisk>,
    dir: PathBuf,
    /// Whether a process has the queue open; `None`: this process can't see it.
    in_use: Option<bool>,
    status_file: PathBuf,
    /// The content of the status file, where it can be read.
    status: Option<Status>,
}

impl Looked {
    /// Whether the records that seem to wait really do.
    fn is_exact(&self) -> bool {
        self.inspector.head().by.is_exact()
    }

    /// The files in `parked/`; an error where that can't be listed, which is not the same as none.
    fn parked(&mut self) -> Result<Vec<Parked>, Failure> {
        self.inspector.parked().map_err(|why| unseen(&self.dir.join("parked"), &why))
    }

    /// The same for `doubt/`.
    fn doubts(&mut self) -> Result<Vec<Doubted>, Failure> {
        self.inspector.doubts().map_err(|why| unseen(&self.dir.join("doubt"), &why))
    }

    /// The source of the head, in words.
    fn told_by(&self) -> String {
        let file = self.status_file.display();
        let (pid, at) = match &self.status {
            Some(status) => (status.pid, seconds(&status.updated)),
            None => (0, "-".to_owned()),
        };
        let passed_over = match self.inspector.is_daemon_of_another() {
            true => format!("\n        {file} belongs to another queue"),
            false => String::new(),
        };
        match self.inspector.head().by {
            HeadBy::Daemon => format!("from {file}, written by the running process {pid} at {at}"),
            HeadBy::EndedDaemon => format!(
                "from {file}, written by process {pid}, which did not stop cleanly, at {at}:\n        \
                 what it delivered last may be shown as waiting"
            ),
            HeadBy::Close => format!("from the checkpoint of a clean stop{passed_over}"),
            HeadBy::Checkpoint => format!(
                "from the checkpoint: what was delivered since may be shown as \
                 waiting{passed_over}"
            ),
        }
    }
}

/// Why a part of the queue could not be read.
fn unseen(place: &Path, why: &std::io::Error) -> Failure {
    use std::io::ErrorKind::{NotFound, PermissionDenied, Unsupported};
    let remedy = match why.kind() {
        NotFound => "There is no queue yet: the first `run` creates it",
        PermissionDenied => "Run this as the daemon's user or as root",
        Unsupported => "Use that version, or a newer one; nothing was changed",
        _ => "Check the disk (dmesg)",
    };
    let (code, exit) = match why.kind() {
        Unsupported => (message::QUEUE_NEWER, Exit::Config),
        _ => (message::QUEUE_UNSEEN, Exit::Failed),
    };
    let place = place.display();
    Failure::new(code, exit, format!("Failed to read the queue {place}: {why}. {remedy}"))
}

fn look(config: &Config) -> Result<Looked, Failure> {
    let dir = config.queue.dir.clone();
    let in_use = is_in_use(&dir);
    let status_file = config.status_file.clone();
    let status = Status::read(&status_file).ok();
    // A status of an earlier daemon of this queue is behind the present state, never ahead.
    let daemon = status.as_ref().map(|status| daemon_status::of(status, &dir));
    let inspector = Inspector::open(RealDisk::new(&dir), daemon);
    let inspector = inspector.map_err(|why| unseen(&dir, &why))?;
    Ok(Looked { inspector, dir, in_use, status_file, status })
}

/// The queue to be changed or exported, unless an import into it was interrupted: after a change that
/// could not be continued, and half of a queue is none.
fn take(config: &Config, what: &str) -> Result<RealQueue, Failure> {
    let mut queue = take_going_on(config, what)?;
    if !queue.is_importing() {
        return Ok(queue);
    }
    queue.close(clock::mono());
    Err(Failure::new(
        message::IMPORT_FAILED,
        Exit::Failed,
        format!(
            "Failed to {what}: an import into this queue was interrupted. Import the same file again \
             first; if it is gone, start the daemon, which continues with what was imported"
        ),
    ))
}

/// The queue for this process alone. Root becomes its owner first, so that the daemon can read what
/// is written.
fn take_going_on(config: &Config, what: &str) -> Result<RealQueue, Failure> {
    act_as_owner(config)?;
    let (queue, _, findings) = take_queue(config).map_err(|why| match why {
        OpenError::Locked { place, holder } => {
            let holder = holder.map_or(String::new(), |pid| format!(" (process {pid})"));
            Failure::new(
                message::QUEUE_IN_USE,
                Exit::Failed,
                format!(
                    "Failed to {what}: the daemon{holder} is using the queue {place}. Nothing was \
                     changed. Stop it first (systemctl stop s1-coralogix, or on OpenWrt \
                     service s1-coralogix stop), repeat this command, and start it again \
                     (the same with start); meanwhile nothing is lost"
                ),
            )
        }
        why => Failure::new(why.message(), exit_of(&why), why),
    })?;
    findings.iter().for_each(|finding| print_error(finding.code, finding));
    if queue.is_unindexed() {
        let why = OpenError::Full {
            place: config.queue.dir.display().to_string(),
            why: "its index can't be written".to_owned(),
        };
        return Err(Failure::new(why.message(), exit_of(&why), why));
    }
    Ok(queue)
}

/// The position in the name of a parked record or a batch in doubt.
fn place_of(name: &str) -> Option<QueuePosition> {
    let (seq, skip) = name.split_once('-')?;
    Some(QueuePosition { seq: Seq(u64::from_str_radix(seq, 16).ok()?), skip: skip.parse().ok()? })
}

/// The SentinelOne record inside an entry, escaped for a terminal.
fn text_of(entry: &[u8]) -> String {
    let value: Option<serde_json::Value> = serde_json::from_slice(entry).ok();
    let text = value.as_ref().and_then(|value| value["text"].as_str());
    let text = text.map_or_else(|| String::from_utf8_lossy(entry).into_owned(), str::to_owned);
    crate::plain::text(&text).into_owned()
}

/// A callback that shows the progress of a long command.
fn progressing<'a>(progress: &'a mut Progress) -> impl FnMut(u64, u64) + 'a {
    |done, all| progress.show(done, all)
}

/// The frames in the log, with progress on a terminal.
fn contents(looked: &mut Looked, what: &'static str) -> inspect::Contents {
    let mut progress = Progress::new(what);
    looked.inspector.contents(&mut progressing(&mut progress))
}
