//! The command `report`: what support needs to know of an installation, in one file.
//!
//! Promises: nothing is sent; the file is new and its owner's alone; no secret of the config, the
//! environment or a secret file is in it, wherever the text came from; what can't be found out is
//! named, and the rest is there all the same. Never: holds a record, or a line of the log except
//! the last warning.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value as Json, json};

use super::{COLUMNS, Failure, check, config, print, queue, settings, status};
use crate::cli::{Exit, version};
use crate::config::{Config, SecretSource};
use crate::message;
use crate::net::proxy::ProxyEnvironment;
use crate::os::made::{self, Readers};
use crate::os::secret::SecretFile;
use crate::os::{clock, host, owner};
use crate::plain;
use crate::report::Status;

/// The version of the JSON form; raised when a member changes its meaning or is removed.
const SCHEMA: u32 = 1;
/// A shorter text is not a service's secret, and would be found in many words.
const SECRET_BYTES_MIN: usize = 6;
/// A text with at least so many first characters of a secret is masked too.
const SECRET_HEAD_CHARS: usize = 8;
/// A word that begins like a secret counts as one from this length on.
const SECRET_WORD_BYTES_MIN: usize = 16;

/// Makes the report: into a new file, or to stdout for `-`.
pub fn report(config_file: &Path, file: &Path, json: bool) -> Result<Exit, Failure> {
    let json = json || file.extension().is_some_and(|end| end == "json");
    if file == Path::new("-") {
        return print(&written(config_file, json));
    }
    let shown = file.display();
    let failed = |why: io::Error| {
        let (code, why) = match why.kind() {
            io::ErrorKind::AlreadyExists => {
                (message::REPORT_IN_THE_WAY, "it exists already. Name another file".to_owned())
            }
            _ => (message::REPORT_FAILED, format!("{why}. Name another file, or - for stdout")),
        };
        Failure::new(code, Exit::Failed, format!("Failed to write the report {shown}: {why}"))
    };
    // Created while the process still has the caller's rights.
    let mut out = made::file(file, Readers::Owner).map_err(failed)?;
    let text = written(config_file, json);
    owner::act_as_root_again();
    if let Err(why) = out.write_all(text.as_bytes()).and_then(|()| out.sync_all()) {
        // Half a report is useless, and the error matters more than a failure to remove it.
        let _ = fs::remove_file(file);
        return Err(failed(why));
    }
    print(&format!("Report written to {shown}. Read it before you pass it on; nothing was sent.\n"))
}

fn written(config_file: &Path, json: bool) -> String {
    let bundle = Bundle::gather(config_file, json);
    let text = match json {
        true => format!("{:#}\n", bundle.document(config_file)),
        false => bundle.text(config_file),
    };
    plain::text(&text).into_owned()
}

/// One part: a text, a JSON document, or the reason why it is missing.
type Part = Result<Json, String>;

/// The parts of the report, and the secrets to mask.
struct Bundle {
    /// The command that shows the same, and its output.
    parts: Vec<(&'static str, Part)>,
    secrets: Vec<String>,
}

impl Bundle {
    fn gather(config_file: &Path, json: bool) -> Bundle {
        let loaded = settings::load_quietly(config_file);
        let secrets = loaded.as_ref().map_or(vec![], |(config, _)| known_secrets(config));
        let settings = match json {
            true => config::document(config_file),
            false => config::text(config_file).map(Json::from),
        };
        let shown = match json {
            true => status::document(config_file).map(|(status, _)| status),
            false => {
                status::table(config_file, COLUMNS, false).map(|(text, _)| text.as_str().into())
            }
        };
        let stats = match &loaded {
            Ok((config, _)) => queue::stats_text(config, json).map(|text| parsed(text, json)),
            Err(_) => Err(no_config()),
        };
        let messages = match &loaded {
            Ok((config, _)) => messages(config, json),
            Err(_) => Err(no_config()),
        };
        // Last, because root becomes the owner of the queue in it.
        let checked = match &loaded {
            Ok((config, warnings)) => {
                let proxies = ProxyEnvironment::read();
                let how = check::CheckOptions {
                    offline: true,
                    strict: false,
                    json,
                    utf8: false,
                    colour: false,
                    columns: Some(COLUMNS),
                    journal: false,
                    proxies: &proxies,
                };
                let mut out = Vec::new();
                let _ = check::check(config, warnings, config_file, how, &mut out);
                Ok(parsed(String::from_utf8_lossy(&out).into_owned(), json))
            }
            Err(_) => Err(no_config()),
        };
        let parts = [
            ("config show", settings),
            ("status", shown),
            ("messages", messages),
            ("check --offline", checked),
            ("queue stats", stats),
        ];
        let parts = parts.map(|(name, part)| (name, part.map_err(|failure| failure.text)));
        Bundle { parts: parts.into(), secrets }
    }

    fn document(&self, config_file: &Path) -> Json {
        let mut value = json!({
            "schema": SCHEMA,
            "made": clock::local().to_the_second(),
            "version": version(),
            "system": host::system_name(),
            "uid": rustix::process::geteuid().as_raw(),
            "config_file": config_file.display().to_string(),
        });
        for (name, part) in &self.parts {
            let name = name.split(' ').next().unwrap_or(name);
            value[name] = match part {
                Ok(found) => found.clone(),
                Err(why) => json!({ "error": why }),
            };
        }
        self.masked(value)
    }

    fn text(&self, config_file: &Path) -> String {
        let mut out = format!(
            "{}\nmade {} by this machine's clock, as uid {}\nsystem {}\nconfig {}\n\n\
             Secrets are masked, and no record and no log is included. Add what journalctl -u \
             s1-coralogix\nor logread -e s1-coralogix shows.\n",
            version(),
            clock::local().to_the_second(),
            rustix::process::geteuid().as_raw(),
            host::system_name(),
            config_file.display()
        );
        for (name, part) in &self.parts {
            let text = match part {
                Ok(text) => text.as_str().unwrap_or_default(),
                Err(why) => why,
            };
            out += &format!("\n==== {name} ====\n\n{}\n", text.trim_end());
        }
        self.masked_text(&out)
    }

    /// The same value with every secret in its texts masked.
    fn masked(&self, value: Json) -> Json {
        match value {
            Json::String(text) => self.masked_text(&text).into(),
            Json::Array(all) => all.into_iter().map(|one| self.masked(one)).collect(),
            Json::Object(all) => {
                all.into_iter().map(|(name, one)| (name, self.masked(one))).collect()
            }
            other => other,
        }
    }

    fn masked_text(&self, text: &str) -> String {
        let mask = crate::config::effective::MASK;
        let text =
            self.secrets.iter().fold(text.to_owned(), |text, secret| hidden(&text, secret, mask));
        let mut out = String::new();
        for word in text.split_inclusive(ends_a_word) {
            if looks_like_a_secret(word) {
                out += mask;
                out.extend(word.chars().next_back().filter(|c| ends_a_word(*c)));
            } else {
                out += word;
            }
        }
        out
    }
}

/// Masks a secret in a text, and the beginning of one: long answers of a service are cut.
fn hidden(text: &str, secret: &str, mask: &str) -> String {
    let head_end = secret.char_indices().nth(SECRET_HEAD_CHARS).map_or(secret.len(), |(at, _)| at);
    let (head, tail) = secret.split_at(head_end);
    let mut pieces = text.split(head);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let same = piece.chars().zip(tail.chars()).take_while(|(a, b)| a == b);
        let same: usize = same.map(|(a, _)| a.len_utf8()).sum();
        out += mask;
        out += &piece[same..];
    }
    out
}

fn ends_a_word(c: char) -> bool {
    !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// Whether a word begins like keys of Coralogix or tokens of SentinelOne: it may be one that was
/// used before.
fn looks_like_a_secret(word: &str) -> bool {
    word.len() >= SECRET_WORD_BYTES_MIN
        && ["cxtp_", "cxup_", "eyJ"].iter().any(|head| word.starts_with(head))
}

fn no_config() -> Failure {
    Failure { exit: Exit::Config, text: "needs a config that can be used, see config show".into() }
}

fn parsed(text: String, json: bool) -> Json {
    match json {
        true => serde_json::from_slice(text.as_bytes()).unwrap_or(Json::String(text)),
        false => text.into(),
    }
}

/// The messages that the status file keeps.
fn messages(config: &Config, json: bool) -> Result<Json, Failure> {
    let status = Status::read(&config.status_file).map_err(|why| {
        let text = format!("no status file {}: {why}", config.status_file.display());
        Failure::new(message::NOT_RUNNING, Exit::NotRunning, text)
    })?;
    if json {
        return Ok(json!({
            "last_trouble": status.last_trouble,
            "settings_refused": status.settings_refused,
            "last_remark": status.coralogix.last_remark,
            "remarks": status.coralogix.remarks,
            "log_lines_lost": status.log_lines_lost,
        }));
    }
    let mut out = String::new();
    match &status.last_trouble {
        Some(last) => {
            let count = plain::count(last.count, "warning or error");
            out += &format!("{count} since the start, the last {} at {}:\n", last.level, last.at);
            out += &format!("  {}\n", last.text);
        }
        None => out += "no warning or error since the start\n",
    }
    if let Some(refused) = &status.settings_refused {
        out +=
            &format!("settings rejected at {}: {} {}\n", refused.since, refused.code, refused.text);
    }
    if let Some(last) = &status.coralogix.last_remark {
        let batches = plain::count(status.coralogix.remarks, "batch");
        out +=
            &format!("{batches} accepted with a message, the last at {}: {}\n", last.at, last.text);
    }
    out += &format!("{} lost\n", plain::count(status.log_lines_lost, "line of the log"));
    Ok(out.into())
}

/// The secrets to be masked, in case a service or a file name has repeated one. The only use of a
/// secret's text besides the header that carries it.
fn known_secrets(config: &Config) -> Vec<String> {
    let tokens = config.integrations.iter().map(|one| &one.api_token);
    let used = tokens.chain([&config.coralogix.api_key]).filter_map(text_of);
    // Variables of the environment are masked even where the config has its own secret.
    let variables = ["CORALOGIX_API_KEY", "S1_API_TOKEN"].into_iter().filter_map(host::variable);
    let mut all: Vec<String> = used.chain(variables).collect();
    let proxies = ProxyEnvironment::read();
    let configured = config.network.proxy.as_ref().map(|proxy| proxy.reveal().to_owned());
    let proxies = [configured, proxies.https, proxies.http, proxies.all];
    for address in proxies.into_iter().flatten() {
        let Some((user, _)) = address.rsplit_once('@') else { continue };
        let user = user.split_once("://").map_or(user, |(_, user)| user);
        all.extend(user.split_once(':').map(|(_, password)| password.to_owned()));
        all.push(user.to_owned());
    }
    for secret in &mut all {
        *secret = secret.trim().to_owned();
    }
    all.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
    // Longer ones first, because a shorter one may be a part of it.
    all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    all
}

fn text_of(source: &SecretSource) -> Option<String> {
    match source {
        SecretSource::Inline(secret) | SecretSource::Environment { secret, .. } => {
            Some(secret.reveal().to_owned())
        }
        SecretSource::File(path) => {
            // Reading something other than a regular file might never return.
            let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
            let read = is_file.then(|| SecretFile::new("secret", path).current());
            Some(read?.ok()?.0.reveal().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_wherever_it_is() {
        let secrets = vec!["planted-long".to_owned(), "planted".to_owned()];
        let cut = "the secret is planted-lo";
        let bundle = Bundle { parts: vec![], secrets };
        let value = json!({ "a": ["x planted-long y", { "b": "planted" }], "n": 1 });
        assert_eq!(bundle.masked(value), json!({ "a": ["x *** y", { "b": "***" }], "n": 1 }));
        assert_eq!(bundle.masked_text(cut), "the secret is ***");
        let former = "key cxtp_abcdefghijklmnop, token (eyJhbGciOi.abc-d_e) and cxtp_ itself";
        assert_eq!(bundle.masked_text(former), "key ***, token (***) and cxtp_ itself");
    }
}
