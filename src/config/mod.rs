//! The configuration as a value that can't be wrong.

use std::path::PathBuf;

use crate::record::{Kind, Start, WriteMode};
use crate::secret::Secret;
use crate::time::Span;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub coralogix: Coralogix,
    pub queue: Queue,
    /// At least one; names are unique.
    pub integrations: Vec<Integration>,
    pub network: Network,
    pub retry: Retry,
    pub log_level: log::LevelFilter,
    pub status_file: PathBuf,
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
}

#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// With its password, so it is a secret. `None`: HTTPS_PROXY and NO_PROXY decide.
    pub proxy: Option<Secret>,
    pub ca_file: Option<PathBuf>,
    pub connect_timeout: Span,
    pub timeout: Span,
    pub allow_http: bool,
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
