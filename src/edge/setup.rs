//! Why the edge can't be made from a config.
//!
//! Promises: what the system refused is told from what is wrong in the config. Never: does IO.

use std::fmt;

use super::proxy::BadProxy;

/// Why the edge can't be made from a config. The config is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupError {
    Proxy(BadProxy),
    CaFile {
        path: String,
        why: String,
    },
    Signals(String),
    /// The same file could not be read for what the system refused; with its remedy.
    System {
        path: String,
        why: String,
    },
}

impl SetupError {
    /// Whether the system is to blame, and not the config.
    pub fn is_of_system(&self) -> bool {
        matches!(self, SetupError::Signals(_) | SetupError::System { .. })
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::Proxy(BadProxy { setting, why }) => {
                write!(f, "failed to use the proxy of {setting}: {why}")
            }
            SetupError::CaFile { path, why } => write!(
                f,
                "failed to read network.ca_file {path}: {why}. It must be a PEM file with the \
                 certificates of the authorities to trust, readable by this program"
            ),
            SetupError::System { path, why } => {
                write!(f, "failed to read network.ca_file {path}: {why}")
            }
            SetupError::Signals(why) => {
                write!(f, "failed to listen for signals: {why}. The system is out of resources")
            }
        }
    }
}

impl std::error::Error for SetupError {}
