//! `queue`: looking at what waits, and doing with it what only a person may decide.
//!
//! Promises: what only looks works while the daemon runs and takes no lock; what changes the queue
//! asks for the daemon to be stopped first, and takes the daemon's own lock. Never: shows a secret,
//! or hands a terminal what a remote party wrote without making it harmless.

mod adopt;
mod aside;
mod carry;
mod doubt;
mod list;
mod parked;
mod show;
mod stats;
mod verify;

use std::path::{Path, PathBuf};

use super::run::{exit_of, take_queue};
use super::status::seconds;
use super::{Failure, complain, settings, told};
use crate::cli::Exit;
use crate::cli::queue::{Ask, Which};
use crate::config::Config;
use crate::edge::owner;
use crate::edge::progress::Progress;
use crate::message;
use crate::queue::inspect::{HeadBy, Inspector};
use crate::queue::real::{RealDisk, is_in_use};
use crate::queue::{OpenError, RealQueue, inspect};
use crate::record::{Place, Seq};
use crate::report::Status;

/// Does it.
pub fn execute(config_file: &Path, ask: &Ask) -> Result<Exit, Failure> {
    let config = settings::load(config_file)?;
    match ask {
        Ask::Stats { json } => stats::stats(&config, *json),
        Ask::List { stream, limit, json } => list::list(&config, stream.as_deref(), *limit, *json),
        Ask::Show { id } => show::show(&config, id),
        Ask::Verify => verify::verify(&config),
        Ask::Export { file } => carry::export(&config, file),
        Ask::Import { file } => carry::import(&config, file),
        Ask::Adopt { name, how } => adopt::adopt(&config, name, how),
        Ask::ParkedList { json } => parked::list(&config, *json),
        Ask::ParkedShow { name } => parked::show(&config, name),
        Ask::ParkedRetry { which } => parked::retry(&config, which),
        Ask::ParkedDrop { which } => parked::drop(&config, which),
        Ask::DoubtList { json } => doubt::list(&config, *json),
        Ask::DoubtShow { name } => doubt::show(&config, name),
        Ask::DoubtRetry { which } => doubt::retry(&config, which),
        Ask::DoubtDrop { which } => doubt::drop(&config, which),
    }
}

/// A queue that is only looked at.
struct Looked {
    inspector: Inspector<RealDisk>,
    dir: PathBuf,
    /// `None`: it can't be seen from here.
    in_use: Option<bool>,
    status_file: PathBuf,
    /// What that file says, where it can be read.
    status: Option<Status>,
}

impl Looked {
    /// Whether what seems to wait does.
    fn is_exact(&self) -> bool {
        self.inspector.head().by.is_exact()
    }

    /// Whose word it is where delivery stands.
    fn told_by(&self) -> String {
        let file = self.status_file.display();
        let (pid, at) = match &self.status {
            Some(status) => (status.pid, seconds(&status.updated)),
            None => (0, "-".to_owned()),
        };
        let passed_over = match self.inspector.is_told_of_another() {
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

fn look(config: &Config) -> Result<Looked, Failure> {
    let dir = config.queue.dir.clone();
    let in_use = is_in_use(&dir);
    let status_file = config.status_file.clone();
    let status = Status::read(&status_file).ok();
    // What an earlier daemon said of the same queue is behind, never ahead.
    let told = status.as_ref().map(|status| told::of(status, &dir));
    let inspector = Inspector::open(RealDisk::new(&dir), told).map_err(|why| {
        let place = dir.display();
        let remedy = match why.kind() {
            std::io::ErrorKind::NotFound => {
                "There is no queue yet: the first `run` creates it".to_owned()
            }
            std::io::ErrorKind::PermissionDenied => {
                "Run this as the daemon's user or as root".to_owned()
            }
            std::io::ErrorKind::Unsupported => {
                "Use that version, or a newer one; nothing was changed".to_owned()
            }
            _ => "Check the disk (dmesg)".to_owned(),
        };
        let (code, exit) = match why.kind() {
            std::io::ErrorKind::Unsupported => (message::QUEUE_NEWER, Exit::Config),
            _ => (message::QUEUE_UNSEEN, Exit::Failed),
        };
        Failure::new(code, exit, format!("Failed to read the queue {place}: {why}. {remedy}"))
    })?;
    Ok(Looked { inspector, dir, in_use, status_file, status })
}

/// The same, to be changed. An import that was cut short does not go on after that.
fn take(config: &Config, what: &str) -> Result<RealQueue, Failure> {
    let mut queue = take_going_on(config, what)?;
    queue.end_import();
    Ok(queue)
}

/// The queue for this process alone, which is the owner's from then on, if it was root: what it
/// writes is for the daemon to read.
fn take_going_on(config: &Config, what: &str) -> Result<RealQueue, Failure> {
    owner::act_as_owner(&config.queue.dir);
    let (queue, _, findings) = take_queue(config).map_err(|why| match why {
        OpenError::Locked { place, holder } => {
            let holder = holder.map_or(String::new(), |pid| format!(" (process {pid})"));
            Failure::new(
                message::QUEUE_IN_USE,
                Exit::Failed,
                format!(
                    "Failed to {what}: the daemon{holder} is using the queue {place}. Stop it \
                     first (systemctl stop s1-coralogix), and start it again afterwards. Nothing \
                     was changed"
                ),
            )
        }
        why => Failure::new(why.message(), exit_of(&why), why),
    })?;
    findings.iter().for_each(|finding| complain(finding.code, finding));
    if queue.is_unindexed() {
        let why = OpenError::Full {
            place: config.queue.dir.display().to_string(),
            why: "its index can't be written".to_owned(),
        };
        return Err(Failure::new(why.message(), exit_of(&why), why));
    }
    Ok(queue)
}

/// The place that the name of a parked record or a batch in doubt tells.
fn place_of(name: &str) -> Option<Place> {
    let (seq, skip) = name.split_once('-')?;
    Some(Place { seq: Seq(u64::from_str_radix(seq, 16).ok()?), skip: skip.parse().ok()? })
}

/// The SentinelOne record inside an entry, fit for a terminal.
fn text_of(entry: &[u8]) -> String {
    let value: Option<serde_json::Value> = serde_json::from_slice(entry).ok();
    let text = value.as_ref().and_then(|value| value["text"].as_str());
    let text = text.map_or_else(|| String::from_utf8_lossy(entry).into_owned(), str::to_owned);
    crate::plain::text(&text).into_owned()
}

/// Shows how far a long look is.
fn progressing<'a>(progress: &'a mut Progress) -> impl FnMut(u64, u64) + 'a {
    |done, all| progress.tell(done, all)
}

/// What lies in the log, with progress on a terminal.
fn contents(looked: &mut Looked, what: &'static str) -> inspect::Contents {
    let mut progress = Progress::new(what);
    looked.inspector.contents(&mut progressing(&mut progress))
}
