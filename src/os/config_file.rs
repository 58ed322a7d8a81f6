//! Reads the config: its file, those of the directory beside it, and the environment variables that
//! belong to it.
//!
//! Promises: an error names the file, the cause and the remedy. Never: checks the content; that is
//! `config::parse`.

use std::cell::RefCell;
use std::fmt;
use std::io::{Error, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::timeout_thread::TimeoutThread;
use super::{clock, regular, secret};
use crate::config::effective::Effective;
use crate::config::{self, Config, Environment, Finding, Findings, Place, Places, Source};
use crate::errno::system_remedy;
use crate::limits;
use crate::message;
use crate::plain;
use crate::problem::Problem;
use crate::secret::{NotASecret, Secret};
use crate::time::{BUILT_AT, Stamp};

/// Why there is no config.
#[derive(Debug)]
pub enum ConfigError {
    /// The file can't be read.
    Unreadable(Problem),
    /// This user may not read it.
    Denied(Problem),
    /// The system could not read it now; the content is unknown.
    System(Problem),
    /// The file was read and its content is wrong.
    Wrong(Findings),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable(text) | ConfigError::Denied(text) => {
                write!(f, "{} {text}", message::CONFIG_UNREADABLE)
            }
            ConfigError::System(text) => write!(f, "{} {text}", message::CONFIG_SYSTEM),
            ConfigError::Wrong(findings) => findings.fmt(f),
        }
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// The same, where a service may have been started by this user.
    pub fn of_a_service(self) -> ConfigError {
        let ConfigError::Denied(Problem { what, remedy }) = self else { return self };
        let (remedy, uid) = (remedy.unwrap_or_default(), rustix::process::geteuid().as_raw());
        ConfigError::Denied(Problem::new(
            what,
            format!(
                "{remedy}; if the service says so, let its user (uid {uid}) read it, and nobody else"
            ),
        ))
    }
}

/// `$S1_CORALOGIX_CONFIG`, for `cli::config_path`.
pub fn path_from_environment() -> Option<PathBuf> {
    variable("S1_CORALOGIX_CONFIG").map(PathBuf::from)
}

/// The directory of a config: `config.d` beside `config.toml`.
pub fn directory(config: &Path) -> PathBuf {
    config.with_extension("d")
}

/// The files of a config: the one that is named, then those of its directory whose names end with
/// `.toml` and begin with no dot, in the order of the bytes of their names.
pub fn files(config: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let dir = directory(config);
    let of = Subject { what: "directory", path: &dir };
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![config.to_owned()]),
        Err(error) => return Err(of.unread("open", &error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| of.unread("readdir", &error))?.path();
        let name = path.file_name().map_or(&[][..], |name| name.as_bytes());
        if name.ends_with(b".toml") && !name.starts_with(b".") {
            files.push(path);
        }
        if files.len() > limits::CONFIG_FILES_MAX {
            let most = limits::CONFIG_FILES_MAX;
            let why = format!("it contains more than {most} files");
            return Err(of.failed(Problem::new(why, "Is it the right one?")));
        }
    }
    files.sort_unstable();
    files.insert(0, config.to_owned());
    Ok(files)
}

/// Why new settings were refused before they became a config, and when: from the file `refused`
/// beside the config. The init script of OpenWrt makes the config from other settings, and leaves
/// it as it was where they are wrong.
pub fn refused_beside(config: &Path) -> Option<(Stamp, String)> {
    // The path that commands get is a link to the config.
    let file = std::fs::canonicalize(config).ok()?.with_extension("refused");
    let file = regular::open(&file).ok()?;
    let written = file.metadata().ok()?.modified().ok()?;
    let since = written.duration_since(std::time::UNIX_EPOCH).ok()?;
    let mut text = vec![];
    file.take(limits::REFUSED_BYTES_MAX).read_to_end(&mut text).ok()?;
    let text = plain::one_line(&String::from_utf8_lossy(&text));
    Some((Stamp::from_ms(i64::try_from(since.as_millis()).ok()?), text))
}

/// Reads and checks a config. Comes with warnings.
pub fn load(path: &Path) -> Result<(Config, Vec<Finding>), ConfigError> {
    read_and(path, config::parse)
}

/// As `load`, but returns each setting with its origin instead of the config.
pub fn effective(path: &Path) -> Result<(Config, Vec<Effective>), ConfigError> {
    read_and(path, config::effective)
}

/// Reads the files and the environment, and passes them to a parser.
fn read_and<T>(
    path: &Path,
    parse: impl FnOnce(&[Source<'_>], &Environment) -> Result<T, Findings>,
) -> Result<T, ConfigError> {
    let read_all = || {
        let mut room = limits::CONFIG_BYTES_MAX;
        let read = |file: PathBuf| {
            let (text, mode) = read(&file, room)?;
            room -= text.len() as u64;
            Ok((file.to_string_lossy().into_owned(), text, mode))
        };
        files(path)?.into_iter().map(read).collect::<Result<_, ConfigError>>()
    };
    let read: Vec<(String, String, u32)> = read_all()?;
    let sources: Vec<Source<'_>> =
        read.iter().map(|(name, text, mode)| Source { name, text, mode: Some(*mode) }).collect();
    let secret = |name| variable(name).map(|value| parse_secret(&value));
    let environment = Environment {
        credentials_directory: variable("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        coralogix_api_key: secret("CORALOGIX_API_KEY"),
        s1_api_token: secret("S1_API_TOKEN"),
        now: Some(clock::local()).filter(|now| *now >= BUILT_AT),
        places: places(),
    };
    parse(&sources, &environment).map_err(ConfigError::Wrong)
}

/// Looks paths up. One of them may be on a mount that hangs, and the config must not wait for that: then
/// no more is known of any than its text.
fn places() -> Places {
    let timeout = Duration::from_secs(limits::PLACES_LOOK_SECONDS);
    let thread = RefCell::new(TimeoutThread::start("places", timeout, || ()).ok());
    Places::by(move |path| {
        let path = path.to_owned();
        let looked = thread.borrow().as_ref().map(|thread| thread.ask(move |()| place(&path)));
        looked.and_then(Result::ok).unwrap_or_else(|| {
            thread.replace(None);
            Place::default()
        })
    })
}

fn place(path: &Path) -> Place {
    let file = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let entry = |path: &Path| {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let (device, inode) = file(dir.unwrap_or(Path::new(".")))?;
        Some((device, inode, path.file_name()?.to_owned()))
    };
    let target = path.canonicalize().ok().and_then(|path| entry(&path));
    Place { file: file(path), entry: entry(path), target }
}

/// A part of the config that is read, for errors.
struct Subject<'a> {
    what: &'static str,
    path: &'a Path,
}

impl Subject<'_> {
    fn failed(&self, why: Problem) -> ConfigError {
        ConfigError::Unreadable(self.problem(why))
    }

    fn problem(&self, why: Problem) -> Problem {
        let Subject { what, path } = self;
        why.after(format_args!("Failed to read the config {what} {}: ", path.display()))
    }

    /// The error of one call on it.
    fn unread(&self, call: &str, error: &Error) -> ConfigError {
        match system_remedy(error) {
            Some(remedy) => {
                let why = format!("{call}: {}", secret::plain(error));
                ConfigError::System(self.problem(Problem::new(why, remedy)))
            }
            None if error.kind() == ErrorKind::PermissionDenied => {
                ConfigError::Denied(self.problem(in_words(error)))
            }
            None => self.failed(in_words(error)),
        }
    }
}

/// For a user who may not read it: nothing that would make it readable for others, because it may
/// hold secrets.
fn in_words(error: &Error) -> Problem {
    let (why, remedy) = match error.kind() {
        ErrorKind::PermissionDenied => {
            ("permission denied", "At a prompt, run this command with sudo")
        }
        ErrorKind::NotADirectory => ("it is not a directory", "Move it away"),
        ErrorKind::NotFound => (
            "it does not exist",
            "Create it from the example config, or name another one with --config FILE",
        ),
        ErrorKind::IsADirectory => ("it is a directory", "Name the file itself"),
        ErrorKind::InvalidData => ("it is not UTF-8", "Save it as UTF-8 or plain ASCII"),
        _ => return Problem::from(error.to_string()),
    };
    Problem::new(why, remedy)
}

/// `room`: the bytes left for this file.
fn read(path: &Path, room: u64) -> Result<(String, u32), ConfigError> {
    let of = Subject { what: "file", path };
    let file = regular::open(path).map_err(|error| of.unread("open", &error))?;
    let mode = file.metadata().map_err(|error| of.unread("stat", &error))?.mode();
    let mut text = String::new();
    file.take(room + 1).read_to_string(&mut text).map_err(|error| of.unread("read", &error))?;
    match text.len() as u64 > room {
        true => {
            let why = "with the files before it, it is longer than 1 MiB";
            Err(of.failed(Problem::new(why, "Is it the right file?")))
        }
        false => Ok((text, mode)),
    }
}

fn parse_secret(value: &std::ffi::OsStr) -> Result<Secret, NotASecret> {
    // Bytes that are no text become a character that no header may contain, and so an error.
    Secret::new(&value.to_string_lossy())
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<std::ffi::OsString> {
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world::temp::TempDir;

    fn told(name: &str, content: Option<&[u8]>) -> String {
        let dir = TempDir::new("config");
        let path = dir.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        load(&path).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_gives_no_config_is_told() {
        assert!(told("missing", None).contains("it does not exist. Create it from"));
        assert!(told("latin", Some(b"# \xE9\n")).contains("it is not UTF-8"));
        assert!(told("long", Some(&[b' '; (1 << 20) + 1])).contains("longer than 1 MiB"));
        assert!(!told("full", Some(&[b' '; 1 << 20])).contains("longer than"));
        assert!(
            told("empty", Some(b""))
                .contains(":1:1: S1C-E309 integration: there is no integration")
        );
        let directory = load(&std::env::temp_dir()).unwrap_err().to_string();
        assert!(directory.contains("it is a directory"), "{directory}");
    }

    #[test]
    fn whoever_may_not_read_a_config_is_told_to_use_sudo_and_nothing_else() {
        let of = Subject { what: "file", path: Path::new("/etc/config.toml") };
        let denied = of.unread("open", &ErrorKind::PermissionDenied.into());
        assert!(matches!(denied, ConfigError::Denied(_)), "{denied}");
        let told = denied.to_string();
        assert!(
            told.contains("permission denied. At a prompt, run this command with sudo"),
            "{told}"
        );
    }

    #[test]
    fn a_directory_beside_a_config_has_as_many_files_as_it_may_and_no_more() {
        let dir = TempDir::new("config-many");
        let (main, beside) = (dir.path().join("config.toml"), dir.path().join("config.d"));
        std::fs::create_dir(&beside).unwrap();
        let add = |n: usize| std::fs::write(beside.join(format!("{n}.toml")), "").unwrap();
        (0..limits::CONFIG_FILES_MAX).for_each(add);
        assert_eq!(files(&main).unwrap().len(), 1 + limits::CONFIG_FILES_MAX);
        add(limits::CONFIG_FILES_MAX);
        assert!(files(&main).unwrap_err().to_string().contains("it contains more than"));
    }

    #[test]
    fn settings_that_were_refused_before_they_became_a_config_are_told_with_their_time() {
        let dir = TempDir::new("config-refused");
        let (config, link) = (dir.path().join("config.toml"), dir.path().join("link"));
        std::fs::write(&config, "").unwrap();
        std::os::unix::fs::symlink(&config, &link).unwrap();
        assert_eq!(refused_beside(&link), None);
        let refused = dir.path().join("config.refused");
        std::fs::write(&refused, "no domain\nis set\n").unwrap();
        let at = std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        std::fs::File::options().write(true).open(&refused).unwrap().set_modified(at).unwrap();
        let (since, words) = refused_beside(&link).unwrap();
        assert_eq!(since, Stamp::from_seconds(1_800_000_000));
        assert!(words.contains("no domain") && words.contains("is set"), "{words}");
    }

    #[test]
    fn a_config_is_read_with_the_time_and_the_environment() {
        let dir = TempDir::new("config-environment");
        let path = dir.path().join("config.toml");
        std::fs::write(&path, "").unwrap();
        read_and(&path, |_, environment| {
            assert!(environment.now.is_some(), "this machine's clock is not before the program");
            Ok(())
        })
        .unwrap();
        // What every test has.
        assert!(variable("PATH").is_some_and(|path| path.as_bytes().contains(&b'/')));
        assert_eq!(variable("S1_CORALOGIX_NO_SUCH_VARIABLE"), None);
    }

    #[test]
    fn a_file_that_is_replaced_is_no_other_one_through_a_link_either() {
        let dir = TempDir::new("config-same");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("etc")).unwrap();
        std::fs::create_dir(at("q")).unwrap();
        std::os::unix::fs::symlink(at("etc"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("q"), at("queue")).unwrap();
        for name in ["etc/key", "etc/token"] {
            std::fs::write(at(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(at("status.json"), at("led")).unwrap();
        std::fs::write(at("status.json"), "x").unwrap();
        std::os::unix::fs::symlink(at("etc/key"), at("planted")).unwrap();
        std::os::unix::fs::symlink(at("etc/key"), at("status.json.new")).unwrap();
        let main = at("etc/c.toml");
        let told = |status: &str, key: &str| {
            let text = format!(
                "[coralogix]\ndomain = \"eu2.coralogix.com\"\napi_key_file = \"{}\"\n[[integration]]\n\
                 name = \"a\"\ntenant = \"a.b\"\napi_token_file = \"{}\"\n[queue]\ndir = \"{}\"\n\
                 [status]\nfile = \"{}\"\n",
                at(key).display(),
                at("etc/token").display(),
                at("q").display(),
                at(status).display(),
            );
            std::fs::write(&main, text).unwrap();
            load(&main).map_or_else(|why| why.to_string(), |_| String::new())
        };
        for (status, key, other) in [
            ("status.json", "led", "coralogix.api_key_file"),
            ("link/key", "etc/key", "coralogix.api_key_file"),
            ("etc/no-key-yet", "link/no-key-yet", "coralogix.api_key_file"),
            ("link/token", "etc/key", "integration.api_token_file"),
            ("link/c.toml", "etc/key", "the config"),
            ("queue/log/1", "etc/key", "queue.dir"),
        ] {
            let told = told(status, key);
            assert!(
                told.contains("S1C-E342 status.file: ") && told.contains(other),
                "{status}\n{told}"
            );
        }
        // A link of that name is removed, and what it leads to stays: whoever planted one stops nothing.
        for status in ["link/status.json", "queue/status.json", "status.json", "planted"] {
            assert_eq!(told(status, "etc/key"), "");
        }
    }

    #[test]
    fn a_pipe_is_no_config_and_is_not_waited_for() {
        let dir = TempDir::new("config-pipe");
        let pipe = dir.path().join("config.toml");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        let why = load(&pipe).unwrap_err();
        assert!(matches!(why, ConfigError::Unreadable(_)), "{why}");
        let told = why.to_string();
        assert!(told.ends_with("it is a pipe. Give the path of a regular file"), "{told}");
    }

    #[test]
    fn the_directory_beside_a_config_is_read_after_it_in_order() {
        let dir = TempDir::new("config-d");
        let main = dir.path().join("config.toml");
        assert_eq!(files(&main).unwrap(), [main.as_path()], "there need be none");
        let beside = dir.path().join("config.d");
        std::fs::create_dir(&beside).unwrap();
        for (name, text) in [
            ("20.toml", "[log]\nlevel = \"warn\"\n"),
            ("10.toml", "[log]\nlevel = \"debug\"\n[queue]\ndir = \"/q\"\n"),
            (".20.toml.swp", "@"),
            (".hidden.toml", "@"),
            ("20.toml.dpkg-old", "@"),
        ] {
            std::fs::write(beside.join(name), text).unwrap();
        }
        let read: Vec<_> = ["10.toml", "20.toml"].iter().map(|name| beside.join(name)).collect();
        assert_eq!(files(&main).unwrap()[1..], read);
        std::fs::write(
            &main,
            "[coralogix]\ndomain = \"eu2.coralogix.com\"\napi_key_file = \"/k\"\n\
             [[integration]]\nname = \"a\"\ntenant = \"a.b\"\napi_token_file = \"/t\"\n",
        )
        .unwrap();
        let (config, _) = load(&main).unwrap();
        assert_eq!(config.log_level, log::LevelFilter::Warn);
        assert_eq!(config.queue.dir, PathBuf::from("/q"));

        std::fs::write(beside.join("30.toml"), "[log]\nlevel = \"loud\"\n").unwrap();
        let told = load(&main).unwrap_err().to_string();
        assert!(told.contains("/config.d/30.toml:2:9: S1C-E3"), "{told}");
        std::fs::write(beside.join("30.toml"), vec![b' '; 1 << 20]).unwrap();
        assert!(load(&main).unwrap_err().to_string().contains("longer than 1 MiB"));
        std::fs::remove_dir_all(&beside).unwrap();
        std::fs::write(&beside, "").unwrap();
        let told = load(&main).unwrap_err().to_string();
        assert!(told.contains("config.d: it is not a directory"), "{told}");
    }
}
