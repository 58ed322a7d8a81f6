//! The configuration as a value that can't be wrong.
//!
//! Holds: the values; `parse`, which makes them from a text and tells everything that is wrong
//! with it at once. The way: `raw` (what was typed, with places) to `check` (what is meant);
//! `files` holds them together, `settings` is the one table of all there is, `replaced` what must not be overwritten, `diagnostic` words findings, `example` writes the file
//! that is shipped. Never: reads a file, the environment or a clock.

mod address;
mod check;
mod diagnostic;
pub mod effective;
#[cfg(not(closed))]
pub mod example;
mod files;
mod leaf;
mod raw;
mod replaced;
mod secrets;
pub mod settings;
pub mod suggest;
#[cfg(test)]
mod tests;
pub mod units;

use std::path::{Path, PathBuf};

pub use diagnostic::{Finding, Findings, Severity};
pub use files::Source;
pub use replaced::{Place, Places};

use files::Files;

use crate::record::{Kind, Start, StreamName, WriteMode};
use crate::secret::{NotASecret, Secret};
use crate::time::{Span, Stamp};
use crate::window::Windows;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub coralogix: Coralogix,
    pub queue: Queue,
    /// At least one; names are unique.
    pub integrations: Vec<Integration>,
    pub delivery: Delivery,
    pub polling: Polling,
    pub network: Network,
    pub retry: Retry,
    /// How often the collector tells how it fares; `None`: never.
    pub heartbeat: Option<Span>,
    pub log_level: log::LevelFilter,
    /// Whether each line of the log is a JSON object.
    pub log_json: bool,
    pub status_file: PathBuf,
    /// Where metrics are written, if they are.
    pub metrics_file: Option<PathBuf>,
}

impl Config {
    /// The files of tokens and of the key.
    pub fn secret_files(&self) -> impl Iterator<Item = &Path> {
        let tokens = self.integrations.iter().map(|one| &one.api_token);
        tokens.chain([&self.coralogix.api_key]).filter_map(|source| match source {
            SecretSource::File(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// Every stream that is collected, in the order of the plan.
    pub fn stream_names(&self) -> Vec<StreamName> {
        let name = |one: &Integration| {
            let polled = |kind: &Kind| StreamName::polled(one.name.as_str(), *kind);
            one.streams.iter().map(polled).collect::<Vec<_>>()
        };
        self.integrations.iter().flat_map(name).collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Coralogix {
    /// `https://ingress.eu2.coralogix.com`: scheme and authority, no path, no trailing slash.
    pub url: String,
    pub api_key: SecretSource,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    pub dir: PathBuf,
    pub max_size_bytes: u64,
    pub min_free_bytes: u64,
    pub write: WriteMode,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Integration {
    pub name: String,
    /// What it was called before; no integration is called so, and no other was.
    pub name_was: Option<String>,
    /// `https://usea1-acme.sentinelone.net`: scheme and authority, no path, no trailing slash.
    pub tenant: String,
    pub api_token: SecretSource,
    pub application_name: String,
    pub subsystem_name: String,
    /// At least one, no kind twice.
    pub streams: Vec<Kind>,
    pub poll_interval: Span,
    pub start: Start,
    pub overlap: Span,
    /// Zero: never.
    pub reconcile: Span,
}

/// How Coralogix is sent to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    /// Bytes a second.
    pub max_rate: Option<u64>,
    pub windows: Windows,
    /// What is collected first while there is a backlog.
    pub order: Vec<Kind>,
}

/// How SentinelOne is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Polling {
    /// Bytes a second.
    pub max_rate: Option<u64>,
    pub windows: Windows,
    /// Bytes of one answer.
    pub max_page: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// With its password, so it is a secret. `None`: HTTPS_PROXY and NO_PROXY decide.
    pub proxy: Option<Secret>,
    pub ca_file: Option<PathBuf>,
    pub connect_timeout: Span,
    pub timeout: Span,
    pub exchange_timeout: Span,
    pub allow_http: bool,
}

impl Network {
    /// How long an exchange may take in all.
    pub fn whole(&self) -> Span {
        self.exchange_timeout.max(self.timeout)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    pub min: Span,
    pub max: Span,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretSource {
    /// Read again whenever it changes. `$CREDENTIALS_DIRECTORY/` is already resolved.
    File(PathBuf),
    /// In the config itself.
    Inline(Secret),
    /// The environment variable of this name, taken when the program started.
    Environment { name: &'static str, secret: Secret },
}

impl SecretSource {
    /// Where it is, for people.
    pub fn origin(&self) -> String {
        match self {
            SecretSource::File(path) => path.display().to_string(),
            SecretSource::Inline(_) => "the config file".to_owned(),
            SecretSource::Environment { name, .. } => format!("${name}"),
        }
    }
}

/// What a config needs to know of the world it is read in.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `$CREDENTIALS_DIRECTORY`, which systemd sets for a service with credentials.
    pub credentials_directory: Option<PathBuf>,
    /// `$CORALOGIX_API_KEY`; `None` also when it is empty.
    pub coralogix_api_key: Option<Result<Secret, NotASecret>>,
    /// `$S1_API_TOKEN`; `None` also when it is empty.
    pub s1_api_token: Option<Result<Secret, NotASecret>>,
    /// This machine's clock, where it can be right.
    pub now: Option<Stamp>,
    /// Where paths lead.
    pub places: Places,
}

/// Reads the files of a config: of a setting the last counts, of integrations all. `Ok` comes with
/// warnings, `Err` with everything that was found, in the order of the files.
pub fn parse(
    sources: &[Source<'_>],
    environment: &Environment,
) -> Result<(Config, Vec<Finding>), Findings> {
    let (config, warnings, ()) = parse_and(sources, environment, |_, _, _| ())?;
    Ok((config, warnings))
}

/// The same, and where each setting is from.
pub fn effective(
    sources: &[Source<'_>],
    environment: &Environment,
) -> Result<(Config, Vec<effective::Effective>), Findings> {
    let (config, _, all) = parse_and(sources, environment, effective::of)?;
    Ok((config, all))
}

/// `look`: what else is wanted of a config that is good.
fn parse_and<T>(
    sources: &[Source<'_>],
    environment: &Environment,
    look: impl FnOnce(&raw::Raw, &Files<'_>, &Config) -> T,
) -> Result<(Config, Vec<Finding>, T), Findings> {
    let files = Files::join(sources);
    let source = |masks| diagnostic::Text { files: &files, masks, trust };
    let raw = match raw::read(&files) {
        Ok(raw) => raw,
        Err(notes) => {
            let source = source(Vec::new());
            let cite = |note| source.cite(note, diagnostic::Hide::Doubtful);
            return Err(Findings(notes.into_iter().map(cite).collect()));
        }
    };
    let (config, mut notes) = check::check(&raw, &files, environment);
    // What is missing may follow from what is there, and so comes after it.
    notes.sort_by_key(|note| note.span.as_ref().map_or(usize::MAX, |span| span.start));
    let looked = config.as_ref().map(|config| look(&raw, &files, config));
    let source = source(raw.masks);
    let findings: Vec<Finding> =
        notes.into_iter().map(|note| source.cite(note, diagnostic::Hide::Masks)).collect();
    match config.zip(looked) {
        Some((config, looked)) => Ok((config, findings, looked)),
        None => Err(Findings(findings)),
    }
}

/// A key that is a setting anywhere is judged by the most secret of its meanings.
fn trust(key: &str) -> diagnostic::Trust {
    let settings = || settings::SETTINGS.iter().filter(|setting| setting.key == key);
    match settings().next() {
        None => diagnostic::Trust::Unknown,
        Some(_) if settings().any(settings::Setting::may_hold_a_secret) => {
            diagnostic::Trust::Secret
        }
        Some(_) => diagnostic::Trust::Harmless,
    }
}
