//! The config file and what of the environment belongs to it, read at the edge.
//!
//! Promises: an error names the file, the cause and the remedy. Never: judges the content; that
//! is `config::parse`.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::clock;
use crate::config::{self, Config, Environment, Finding, Findings};
use crate::limits;
use crate::message;
use crate::secret::{NotASecret, Secret};
use crate::time::BUILT_AT;

/// Why there is no config. All of them end with `Exit::Config`.
#[derive(Debug)]
pub enum ConfigError {
    /// The file can't be read; the text is for people.
    Unreadable(String),
    /// The file is read and wrong.
    Wrong(Findings),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable(text) => write!(f, "{} {text}", message::CONFIG_UNREADABLE),
            ConfigError::Wrong(findings) => findings.fmt(f),
        }
    }
}

impl std::error::Error for ConfigError {}

/// `$S1_CORALOGIX_CONFIG`, for `cli::config_path`.
pub fn path_from_environment() -> Option<PathBuf> {
    variable("S1_CORALOGIX_CONFIG").map(PathBuf::from)
}

/// Reads and checks a config. Comes with warnings.
pub fn load(path: &Path) -> Result<(Config, Vec<Finding>), ConfigError> {
    let (text, mode) = read(path).map_err(ConfigError::Unreadable)?;
    let secret = |name| variable(name).map(|value| parse_secret(&value));
    let environment = Environment {
        credentials_directory: variable("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        coralogix_api_key: secret("CORALOGIX_API_KEY"),
        s1_api_token: secret("S1_API_TOKEN"),
        now: Some(clock::local()).filter(|now| *now >= BUILT_AT),
        config_mode: Some(mode),
    };
    config::parse(&path.to_string_lossy(), &text, &environment).map_err(ConfigError::Wrong)
}

fn read(path: &Path) -> Result<(String, u32), String> {
    let shown = path.display();
    let failed = |why: &str| format!("Failed to read the config file {shown}: {why}");
    let io = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => failed(
            "it does not exist. Write it after the example config, or name another one with \
             --config FILE",
        ),
        ErrorKind::PermissionDenied => {
            let uid = rustix::process::geteuid().as_raw();
            failed(&format!(
                "permission denied. Let the user this program runs as (uid {uid}) read it, or run \
                 this command as root"
            ))
        }
        ErrorKind::IsADirectory => failed("it is a directory. Name the file itself"),
        ErrorKind::InvalidData => failed("it is not UTF-8. Save it as UTF-8 or plain ASCII"),
        _ => failed(&error.to_string()),
    };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode();
    let mut text = String::new();
    file.take(limits::CONFIG_BYTES_MAX + 1).read_to_string(&mut text).map_err(io)?;
    match text.len() as u64 > limits::CONFIG_BYTES_MAX {
        true => Err(failed("it is longer than 1 MiB. Is it the right file?")),
        false => Ok((text, mode)),
    }
}

fn parse_secret(value: &std::ffi::OsStr) -> Result<Secret, NotASecret> {
    // Bytes that are no text become a character that no header has, and so an error.
    Secret::new(&value.to_string_lossy())
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<std::ffi::OsString> {
    #[expect(clippy::disallowed_methods, reason = "this is the edge")]
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, content: Option<&[u8]>) -> String {
        let name = format!("s1-coralogix-config-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let told = load(&path).unwrap_err().to_string();
        let _ = std::fs::remove_file(&path);
        told
    }

    #[test]
    fn a_file_that_gives_no_config_is_told() {
        assert!(told("missing", None).contains("it does not exist. Write it after"));
        assert!(told("latin", Some(b"# \xE9\n")).contains("it is not UTF-8"));
        assert!(told("long", Some(&[b' '; (1 << 20) + 1])).contains("longer than 1 MiB"));
        assert!(
            told("empty", Some(b""))
                .contains(":1:1: S1C-E309 integration: there is no integration")
        );
        let directory = load(&std::env::temp_dir()).unwrap_err().to_string();
        assert!(directory.contains("it is a directory"), "{directory}");
    }
}
