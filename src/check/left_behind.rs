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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::loopback::{config, inline};
    use crate::test_world::temp::TempDir;

    const ID: &str = "00000000000000010000000000000002";
    const ANOTHER: &str = "00000000000000010000000000000003";

    /// A place for queues, and a config whose queue is `now`.
    fn place() -> (TempDir, Config) {
        let dir = TempDir::new("left-behind");
        let mut config = config("http://t", inline("t"), inline("k"));
        config.queue.dir = dir.path().join("now");
        config.status_file = dir.path().join("status.json");
        (dir, config)
    }

    /// A queue in which 60 records of three streams wait, as a released version wrote it.
    fn queue_at(dir: &Path, id: &str) {
        let from =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1/waiting/queue");
        std::fs::create_dir_all(dir.join("log")).unwrap();
        for name in ["checkpoint", "log/0000000000000001.log"] {
            std::fs::copy(from.join(name), dir.join(name)).unwrap();
        }
        std::fs::write(dir.join("id"), format!("{id}\n")).unwrap();
    }

    /// The last run had its queue there, and one stream with a position.
    fn ran(config: &Config, dir: &str, id: &str, has_position: bool) {
        let lane = r#""health":"healthy","reason":"ok","text":"","detail":"","for_seconds":0,
            "next_in_seconds":null,"failures":0"#;
        let position = if has_position { r#""2026-11-03T06:00:00Z""# } else { "null" };
        let text = format!(
            r#"{{"schema":1,"version":"1","pid":1,"updated":"2026-11-03T07:00:00Z",
            "uptime_seconds":1,"state":"healthy","integrations":[],
            "streams":[{{"name":"acme/activities",{lane},"position":{position},
                "lag_seconds":null,"collected":1,"collected_per_minute":1,"caught_up":true}}],
            "coralogix":{{{lane},"delivered":1,"delivered_per_minute":1,"remarks":0,
                "long_records":0,"unstamped":0}},
            "queue":{{"dir":"{dir}","id":"{id}","waiting":0,"bytes":0,"max_bytes":1,
                "oldest":"2026-11-03T05:00:00Z","oldest_age_seconds":1,"head_frame":1,
                "head_entry":0,"parked":0,"room":"ok"}},
            "disk":{{"written_bytes":null,"day_bytes":null}},"last_trouble":null}}"#
        );
        std::fs::write(&config.status_file, text).unwrap();
        Status::read(&config.status_file).unwrap();
    }

    #[test]
    fn the_queue_of_the_last_run_is_told_by_what_is_in_its_directory() {
        let (dir, config) = place();
        let was = dir.path().join("was");
        let shown = was.display().to_string();
        assert!(of_last_run(&config).is_none(), "there was no run");
        ran(&config, "", ID, true);
        assert!(of_last_run(&config).is_none(), "it did not tell");

        ran(&config, &shown, ID, true);
        let gone = of_last_run(&config).unwrap();
        assert_eq!((gone.is_gone, &gone.waits), (true, &Ok(0)));
        let oldest = Stamp::parse("2026-11-03T05:00:00Z").unwrap();
        let positions: Vec<_> = gone.left.streams().map(|orphan| orphan.position).collect();
        assert_eq!(positions, [oldest], "what waited there is missing too");
        assert!(gone.is_told(true) && !gone.is_told(false), "{}", gone.held());
        assert!(gone.held().contains("with the positions of 1 stream, is gone"), "{}", gone.held());
        ran(&config, &shown, ID, false);
        assert!(!of_last_run(&config).unwrap().is_told(true), "nothing is forgotten");

        std::fs::write(&was, "").unwrap();
        let unread = of_last_run(&config).unwrap();
        assert!(unread.waits.is_err() && !unread.is_gone && unread.is_told(false));
        assert!(unread.held().starts_with("an unknown number of records ("), "{}", unread.held());
        std::fs::remove_file(&was).unwrap();

        queue_at(&was, ID);
        for id in [ID, ""] {
            ran(&config, &shown, id, false);
            let found = of_last_run(&config).unwrap();
            assert_eq!((found.is_gone, &found.waits), (false, &Ok(60)), "{id}");
            assert!(found.is_told(true) && found.is_told(false));
            let held = "60 records waiting and the positions of 3 streams are in the old directory";
            assert_eq!(found.held(), held);
        }
        ran(&config, &shown, ANOTHER, true);
        assert!(of_last_run(&config).unwrap().is_gone, "another queue is there");
    }

    #[test]
    fn a_queue_that_was_moved_or_is_the_same_under_another_name_is_not_left_behind() {
        let (dir, config) = place();
        let now = &config.queue.dir;
        let (was, link) = (dir.path().join("was"), dir.path().join("link"));
        queue_at(now, ID);
        std::os::unix::fs::symlink(now, &link).unwrap();
        let of = |dir: &Path, id: &str| {
            ran(&config, &dir.display().to_string(), id, true);
            of_last_run(&config).is_some()
        };
        assert!(!of(&was, ID), "it was moved here");
        assert!(of(&was, ANOTHER) && of(&was, ""), "it was not, or nobody knows");
        assert!(!of(now, "") && !of(&link, ""), "it is this one");
    }

    #[test]
    fn what_waits_in_other_directories_is_told_once_for_each() {
        let (dir, config) = place();
        let now = &config.queue.dir;
        let at = |name: &str| dir.path().join(name).display().to_string();
        let noted =
            ["was", "other", "gone"].map(|name| LeftBehind::new(at(name), ID.to_owned(), vec![]));
        queue_at(&dir.path().join("was"), ID);
        queue_at(&dir.path().join("other"), ID);
        let found = waiting(&noted, now);
        assert_eq!(found, [(at("was").as_str(), Ok(60)), (at("other").as_str(), Ok(60))]);
        let told = format!("60 records in {}, 60 records in {}", at("was"), at("other"));
        assert_eq!((in_words(&found), in_words(&[])), (Some(told), None));
        let unread = [("/q", Err("no".to_owned()))];
        assert_eq!(in_words(&unread).unwrap(), "an unknown number of records (no) in /q");

        std::fs::create_dir(now).unwrap();
        std::fs::write(now.join("left-behind"), serde_json::to_string(&noted).unwrap()).unwrap();
        ran(&config, &at("was"), ID, true);
        for (is_new, begins) in [
            (true, [("was", "at the last run, and "), ("other", "before: 60 records")]),
            (false, [("other", "before: 60 records"), ("was", "before: 60 records")]),
        ] {
            let told = steps(&config, is_new);
            assert_eq!(told.len(), 2, "{told:?}");
            for (step, (name, begin)) in told.iter().zip(begins) {
                let Outcome::Noted(fault) = &step.outcome else { panic!("{step:?}") };
                assert_eq!((step.name, fault.cause), (Name::Queue, Cause::QueueLeftBehind));
                let begin = format!("queue.dir was {} {begin}", at(name));
                assert!(fault.what.starts_with(&begin), "{begin}\n{fault:?}");
            }
        }
        // One in which another queue is now is delivered, or lost.
        queue_at(&dir.path().join("other"), ANOTHER);
        assert_eq!(waiting(&noted, now), [(at("was").as_str(), Ok(60))]);
    }
}
