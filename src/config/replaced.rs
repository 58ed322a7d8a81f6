//! The files that this program replaces, the status file and the metrics: none of them may be one that
//! is needed for something else.
//!
//! Promises: a secret, the certificates, the config and the queue are never written over by them, also
//! where two paths lead to one file. Never: asks the file system; what is known of a path comes from
//! `Environment`.

use std::ffi::OsString;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use crate::config::leaf::{Check, Scope};
use crate::config::raw::Raw;
use crate::config::{Config, SecretSource};
use crate::message;

/// A name in a directory, which is known by its device and inode.
pub type Entry = (u64, u64, OsString);

/// What the file system knows of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Device and inode of what is behind the name.
    pub file: Option<(u64, u64)>,
    /// The name itself: what is replaced. A link of that name is removed, and what it leads to stays.
    pub entry: Option<Entry>,
    /// The name that it leads to: what is read.
    pub target: Option<Entry>,
}

/// How a path is looked up; by default nothing is known of it.
#[derive(Clone)]
pub struct Places(Rc<dyn Fn(&Path) -> Place>);

impl Places {
    pub fn by(look: impl Fn(&Path) -> Place + 'static) -> Places {
        Places(Rc::new(look))
    }
}

impl Default for Places {
    fn default() -> Places {
        Places::by(|_| Place::default())
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Places")
    }
}

/// A path and what is known of it.
struct Known {
    plain: PathBuf,
    place: Place,
}

impl Known {
    fn of(path: &Path, places: &Places) -> Known {
        Known { plain: plain(path), place: (places.0)(path) }
    }

    /// Whether this directory is that one.
    fn is(&self, other: &Known) -> bool {
        let (one, two) = (&self.place, &other.place);
        self.plain == other.plain
            || one.file.is_some() && one.file == two.file
            || one.entry.is_some() && one.entry == two.entry
    }

    /// Whether the other file is gone where this one is replaced.
    fn is_needed_by(&self, other: &Known) -> bool {
        let entry = &self.place.entry;
        self.plain == other.plain
            || entry.is_some() && [&other.place.entry, &other.place.target].contains(&entry)
    }
}

/// The path without `.`, `..` and double slashes.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

/// A file that is replaced: its section, and the name it has and the one it is written under.
struct Replaced<'r> {
    scope: Scope<'r>,
    path: PathBuf,
    names: [Known; 2],
}

/// The queue has these in its directory; a directory ends with a slash, and a star stands for any end.
const OF_THE_QUEUE: [&str; 19] = [
    "log/",
    "parked/",
    "doubt/",
    "quarantine/",
    "index.*/",
    "lock",
    "id",
    "head",
    "checkpoint",
    "reserve",
    "closed",
    "learned",
    "asking",
    "clock",
    "left-behind",
    "importing",
    "imported",
    "starts.*",
    "opening.*",
];

impl Check<'_> {
    /// Notes where a file that is replaced is needed for something else.
    pub fn replaced_files_are_free(&mut self, raw: &Raw, config: &Config) {
        let places = self.environment.places.clone();
        let replaced = |section: &'static str, path: &Path| {
            let mut new = path.as_os_str().to_owned();
            new.push(".new");
            let names = [path, Path::new(&new)].map(|name| Known::of(name, &places));
            let scope = Scope { name: section, table: raw.section(section) };
            Replaced { scope, path: path.to_owned(), names }
        };
        let status = replaced("status", &config.status_file);
        let metrics = config.metrics_file.as_deref().map(|file| replaced("metrics", file));
        let others: Vec<(String, Known)> = self
            .needed(config)
            .into_iter()
            .map(|(name, path)| (name, Known::of(&path, &places)))
            .collect();
        let queue = Known::of(&config.queue.dir, &places);
        for one in [Some(&status), metrics.as_ref()].into_iter().flatten() {
            let is = |other: &Known| one.names.iter().any(|name| name.is_needed_by(other));
            let other = others.iter().find(|(_, other)| is(other)).map(|(name, _)| name.as_str());
            let in_queue = is_of_queue(&one.path, &queue, &places).then_some("queue.dir");
            if let Some(other) = other {
                self.is_needed(one.scope, &format!("it is the file of {other}"));
            } else if let Some(other) = in_queue {
                self.is_needed(one.scope, &format!("it is a file of the queue ({other})"));
            }
        }
        let is_status = |name: &Known| status.names.iter().any(|other| name.is_needed_by(other));
        if let Some(metrics) = metrics.filter(|metrics| metrics.names.iter().any(is_status)) {
            self.is_needed(metrics.scope, "it is the file of status.file");
        }
    }

    /// The files that are read, with how they are called.
    fn needed(&self, config: &Config) -> Vec<(String, PathBuf)> {
        let of = |name: &str, secret: &SecretSource| match secret {
            SecretSource::File(path) => Some((name.to_owned(), path.clone())),
            _ => None,
        };
        let key = of("coralogix.api_key_file", &config.coralogix.api_key);
        let tokens = config.integrations.iter();
        let tokens = tokens.filter_map(|one| of("integration.api_token_file", &one.api_token));
        let ca = config.network.ca_file.clone().map(|file| ("network.ca_file".to_owned(), file));
        let configs = self
            .files
            .parts()
            .map(|part| ("the config".to_owned(), PathBuf::from(part.source.name)));
        key.into_iter().chain(tokens).chain(ca).chain(configs).collect()
    }

    fn is_needed(&mut self, scope: Scope<'_>, problem: &str) {
        let setting = scope.setting("file");
        let span = scope.get("file").map(|given| given.span.clone());
        let problem = format!("{problem} too, which would be overwritten");
        let hint = format!("give it a file of its own, e.g. file = {}", setting.example);
        self.note(message::FILE_NEEDED, span, &setting.full_name(), problem, &hint);
    }
}

/// Whether the queue has a file of this name, or is that directory itself.
fn is_of_queue(file: &Path, queue: &Known, places: &Places) -> bool {
    let file = plain(file);
    let dir = file.ancestors().find(|dir| Known::of(dir, places).is(queue));
    let Some(rest) = dir.and_then(|dir| file.strip_prefix(dir).ok()) else { return false };
    let rest = rest.to_string_lossy();
    let (first, is_below) =
        rest.split_once('/').map_or((&*rest, false), |(first, _)| (first, true));
    let first = if is_below { first } else { first.trim_end_matches(".new") };
    let is = |name: &&str| {
        let name = name.trim_end_matches('/');
        name.strip_suffix('*').map_or(first == name, |start| first.starts_with(start))
    };
    first.is_empty() || OF_THE_QUEUE.iter().any(is)
}
