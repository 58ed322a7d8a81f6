//! Queues in other directories that were used before the configured one: nothing delivers what
//! waits there.
//!
//! The last one is known from the status file of the last run, until the next run replaces it; from
//! then on the new queue itself remembers it (`queue::left_behind`). Promises: reads only, takes no
//! lock; each look ends after a limited time, because such a directory may be on a mount that hangs.
//! Never: moves anything.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::step::{Name, Outcome, Step};
use crate::cause::Cause;
use crate::config::Config;
use crate::limits::LEFT_BEHIND_LOOK_SECONDS;
use crate::os::timeout_thread::TimeoutThread;
use crate::plain::count;
use crate::queue::inspect::Inspector;
use crate::queue::left_behind::{self, LeftBehind};
use crate::queue::marks::QueueId;
use crate::queue::real::{RealDisk, is_in_use};
use crate::record::{Kind, Orphan, StreamName};
use crate::report::Status;
use crate::time::Stamp;

/// How many records wait in a queue; the error says why that is not known.
pub type Waits = Result<u64, String>;

/// The queue of the last run, in another directory than the config names now.
pub struct Before {
    pub left: LeftBehind,
    pub waits: Waits,
    pub is_gone: bool,
    /// Those that were used before it.
    pub earlier: Vec<LeftBehind>,
}

/// What is in a directory.
enum Look {
    Gone,
    /// The configured queue under another path, or one that another daemon uses.
    InUse,
    Queue {
        id: String,
        streams: Vec<Orphan>,
        records: u64,
        earlier: Vec<LeftBehind>,
    },
    Unreadable(String),
}

/// The queue of the last run, if it was another one; to be called before the status file is
/// replaced.
pub fn of_last_run(config: &Config) -> Option<Before> {
    let status = Status::read(&config.status_file).ok()?;
    let (dir, id) = (status.queue.dir.clone(), status.queue.id.clone());
    if dir.is_empty() || is_moved_here(&config.queue.dir, &id) {
        return None;
    }
    let before = |streams, waits| {
        let left = LeftBehind::new(dir.clone(), id.clone(), streams);
        Before { left, waits, is_gone: false, earlier: vec![] }
    };
    match look(&dir, &config.queue.dir) {
        Look::InUse => None,
        Look::Queue { id: there, streams, records, earlier } if is_it(&there, &id) => {
            Some(Before { earlier, ..before(streams, Ok(records)) })
        }
        Look::Gone | Look::Queue { .. } => {
            Some(Before { is_gone: true, ..before(of_status(&status), Ok(0)) })
        }
        Look::Unreadable(why) => Some(before(of_status(&status), Err(why))),
    }
}

impl Before {
    /// Whether something would be forgotten. Where the configured queue is not new, it has
    /// positions of its own.
    pub fn is_told(&self, is_new: bool) -> bool {
        self.waits != Ok(0) || is_new && self.left.streams().next().is_some()
    }

    /// What is in the old directory.
    pub fn held(&self) -> String {
        let streams = count(self.left.streams().count() as u64, "stream");
        match self.is_gone {
            true => format!("the old directory, with the positions of {streams}, is gone"),
            false => format!(
                "{} waiting and the positions of {streams} are in the old directory",
                records(&self.waits)
            ),
        }
    }
}

fn records(waits: &Waits) -> String {
    match waits {
        Ok(records) => count(*records, "record"),
        Err(why) => format!("an unknown number of records ({why})"),
    }
}

/// Those of these queues in which records wait, or may wait.
pub fn waiting<'a>(noted: &'a [LeftBehind], now: &Path) -> Vec<(&'a str, Waits)> {
    let waits = |left: &LeftBehind| match look(&left.dir, now) {
        Look::Queue { id, records, .. } if is_it(&id, &left.id) => Ok(records),
        Look::Gone | Look::InUse | Look::Queue { .. } => Ok(0),
        Look::Unreadable(why) => Err(why),
    };
    let all = noted.iter().map(|left| (left.dir.as_str(), waits(left)));
    all.filter(|(_, waits)| *waits != Ok(0)).collect()
}

/// The same in words; `None`: nothing waits.
pub fn in_words(waiting: &[(&str, Waits)]) -> Option<String> {
    let words = waiting.iter().map(|(dir, waits)| format!("{} in {dir}", records(waits)));
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// The steps of `check` about them. `is_new`: the configured queue has no position.
pub fn steps(config: &Config, is_new: bool) -> Vec<Step> {
    let now = &config.queue.dir;
    let noted = left_behind::read(&mut RealDisk::new(now));
    let mut found = waiting(&noted, now);
    let before = of_last_run(config).filter(|before| before.is_told(is_new));
    let mut texts = vec![];
    if let Some(before) = &before {
        let (was, shown) = (before.left.dir.as_str(), now.display());
        found.retain(|(dir, _)| *dir != was);
        match is_new {
            true => texts.push((
                format!(
                    "queue.dir was {was} at the last run, and {shown} is new: {}",
                    before.held()
                ),
                format!(
                    "Set queue.dir back. To move the queue, stop the service and move that \
                     directory to {shown} before the next start"
                ),
            )),
            false => found.push((was, before.waits.clone())),
        }
    }
    for (was, waits) in &found {
        let held = records(waits);
        texts.push((
            format!("queue.dir was {was} before: {held} waiting there, which nothing delivers"),
            format!(
                "Stop the service, and run s1-coralogix run --once with queue.dir set to {was}, \
                 which delivers them; what was collected since arrives twice. To discard them, \
                 move that directory away"
            ),
        ));
    }
    let step = |(what, remedy): (String, String)| {
        Step::at_once(Name::Queue, Outcome::noted(Cause::QueueLeftBehind, what, remedy))
    };
    texts.into_iter().map(step).collect()
}

/// Whether this id, of another directory, is that of the queue in this one.
fn is_moved_here(dir: &Path, id: &str) -> bool {
    let here = Inspector::open(RealDisk::new(dir), None);
    !id.is_empty() && here.is_ok_and(|here| here.id().is_some_and(|here| here.as_str() == id))
}

/// Whether these ids can be of one queue; one that is not known is empty.
fn is_it(a: &str, b: &str) -> bool {
    a.is_empty() || b.is_empty() || a == b
}

/// The positions by the status, where the queue can't be asked. What waited in a queue that is gone
/// is missing too.
fn of_status(status: &Status) -> Vec<Orphan> {
    let oldest = status.queue.oldest.as_deref().and_then(Stamp::parse);
    let streams = status.streams.iter().filter_map(|stream| {
        let (integration, kind) = stream.name.rsplit_once('/')?;
        let name = StreamName::polled(integration, Kind::from_name(kind)?);
        let position = Stamp::parse(stream.position.as_deref()?)?;
        let position = oldest.map_or(position, |oldest| oldest.min(position));
        Some(Orphan { name, position, tenant: None })
    });
    streams.collect()
}

fn look(dir: &str, now: &Path) -> Look {
    let (dir, now) = (PathBuf::from(dir), now.to_owned());
    let timeout = Duration::from_secs(LEFT_BEHIND_LOOK_SECONDS);
    match TimeoutThread::start("look", timeout, || ()) {
        Ok(helper) => {
            let seen = helper.ask(move |()| look_within(&dir, &now));
            seen.unwrap_or_else(|_| Look::Unreadable("its disk or mount does not answer".into()))
        }
        Err(why) => Look::Unreadable(why.to_string()),
    }
}

fn look_within(dir: &Path, now: &Path) -> Look {
    let is_same = dir == now
        || dir.canonicalize().is_ok_and(|dir| now.canonicalize().is_ok_and(|now| now == dir));
    if is_same || is_in_use(dir) == Some(true) {
        return Look::InUse;
    }
    let mut looked = match Inspector::open(RealDisk::new(dir), None) {
        Ok(looked) => looked,
        Err(why) if why.kind() == ErrorKind::NotFound => return Look::Gone,
        Err(why) => return Look::Unreadable(why.to_string()),
    };
    let waiting = looked.contents(&mut |_, _| {}).waiting;
    Look::Queue {
        id: looked.id().map_or(String::new(), |id: &QueueId| id.as_str().to_owned()),
        streams: looked.orphans(&[]),
        records: waiting.iter().map(|frame| u64::from(frame.entries - frame.skip)).sum(),
        earlier: left_behind::read(&mut RealDisk::new(dir)),
    }
}
