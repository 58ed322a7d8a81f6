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
mod stats;
mod verify;

use std::path::{Path, PathBuf};

use super::run::{exit_of, take_queue};
use super::{Failure, complain, settings};
use crate::cli::Exit;
use crate::cli::queue::{Ask, Which};
use crate::config::Config;
use crate::edge::owner;
use crate::edge::progress::Progress;
use crate::message;
use crate::queue::inspect::Inspector;
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
        Ask::Show { id } => list::show(&config, id),
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
}

impl Looked {
    /// Whether the number of waiting records is the true one.
    fn is_exact(&self) -> bool {
        self.in_use == Some(true) && self.inspector.head().is_exact
    }
}

fn look(config: &Config) -> Result<Looked, Failure> {
    let dir = config.queue.dir.clone();
    let in_use = is_in_use(&dir);
    // What an earlier daemon said is behind, never ahead.
    let told = Status::read(&config.status_file)
        .ok()
        .map(|status| Place { seq: Seq(status.queue.head_frame), skip: status.queue.head_entry });
    let inspector = Inspector::open(RealDisk::new(&dir), told).map_err(|why| {
        let place = dir.display();
        let remedy = match why.kind() {
            std::io::ErrorKind::NotFound => {
                "There is no queue yet: it is made by the first `run`".to_owned()
            }
            std::io::ErrorKind::PermissionDenied => {
                "Ask as the user that runs the daemon, or as root".to_owned()
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
        Failure::new(code, exit, format!("Failed to look into the queue {place}: {why}. {remedy}"))
    })?;
    Ok(Looked { inspector, dir, in_use })
}

/// The queue for this process alone, which is the owner's from then on, if it was root: what it
/// writes is for the daemon to read.
fn take(config: &Config, what: &str) -> Result<RealQueue, Failure> {
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
