//! `config show`: the effective settings, and the origin of each.
//!
//! Promises: shows what a daemon that starts now would use, the environment included; a secret is
//! masked. Never: reads a secret file.

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::cli::{Exit, version};
use crate::config::effective::{Effective, Origin, Shown};
use crate::config::settings::SECTIONS;
use crate::net::proxy::{self, ProxyEnvironment};
use crate::os::{config_file, logging};

use super::settings::unusable;
use super::{Failure, print};

/// The version of `--json`; raised when a member changes its meaning or is removed.
const SCHEMA: u32 = 1;
/// The column of a setting's origin, unless the setting is longer.
const ORIGIN_COLUMN: usize = 44;

/// Shows the settings.
pub fn show(config_file: &Path, json: bool) -> Result<Exit, Failure> {
    let text = match json {
        true => format!("{:#}\n", document(config_file)?),
        false => text(config_file)?,
    };
    print(&text)
}

/// The settings as a config that could be read again, except for what is masked.
pub(super) fn text(config_file: &Path) -> Result<String, Failure> {
    let all = in_effect(config_file)?;
    let mut out = format!("# {}: settings in effect, {}\n", version(), config_file.display());
    for section in &SECTIONS {
        let mut head = None;
        for one in all.iter().filter(|one| one.setting.section == section.name) {
            if head.replace(one.integration) != Some(one.integration) {
                let name = section.name;
                let name =
                    if section.repeated { format!("[[{name}]]") } else { format!("[{name}]") };
                out += &format!("\n{name}\n");
            }
            out += &format!("{:<ORIGIN_COLUMN$} # {}\n", line(one), origin(one, config_file));
        }
    }
    Ok(out)
}

/// `level = "info"`
fn line(one: &Effective) -> String {
    let key = one.setting.key;
    match &one.value {
        Shown::Value(Json::Array(items)) => {
            let items: Vec<String> = items.iter().map(Json::to_string).collect();
            format!("{key} = [{}]", items.join(", "))
        }
        Shown::Value(value) => format!("{key} = {value}"),
        Shown::Masked(text) => format!("{key} = {}", Json::from(text.as_str())),
        Shown::Unset(words) => format!("# {key}: {words}"),
    }
}

fn origin(one: &Effective, config_file: &Path) -> String {
    match &one.origin {
        Origin::Default => "default".to_owned(),
        Origin::Environment(name) => format!("environment {name}"),
        Origin::File { file, line } => {
            // Files of config.d are named relative to the directory of the config.
            let beside = config_file.parent().and_then(|dir| file.strip_prefix(dir).ok());
            format!("{}:{line}", beside.unwrap_or(file).display())
        }
    }
}

/// As one JSON document.
pub(super) fn document(config_file: &Path) -> Result<Json, Failure> {
    let all = in_effect(config_file)?;
    let name_of = |integration| {
        let is_it = |one: &&Effective| one.integration == integration && one.setting.key == "name";
        all.iter().find(is_it).map(value)
    };
    let rows: Vec<Json> = all
        .iter()
        .map(|one| {
            let (file, line) = match &one.origin {
                Origin::File { file, line } => (Some(file.display().to_string()), Some(line)),
                Origin::Default | Origin::Environment(_) => (None, None),
            };
            let (origin, variable) = match one.origin {
                Origin::Default => ("default", None),
                Origin::File { .. } => ("file", None),
                Origin::Environment(name) => ("environment", Some(name)),
            };
            json!({
                "name": one.setting.full_name(),
                "integration": one.integration.and_then(|nth| name_of(Some(nth))),
                "value": value(one),
                "origin": origin,
                "file": file,
                "line": line,
                "variable": variable,
            })
        })
        .collect();
    let (version, config) = (env!("CARGO_PKG_VERSION"), config_file.display().to_string());
    Ok(json!({ "schema": SCHEMA, "version": version, "config": config, "settings": rows }))
}

/// The value; null for a setting that is not set.
fn value(one: &Effective) -> Json {
    match &one.value {
        Shown::Value(value) => value.clone(),
        Shown::Masked(text) => text.as_str().into(),
        Shown::Unset(_) => Json::Null,
    }
}

/// The settings of the config, with those that the environment overrides or adds.
fn in_effect(config_file: &Path) -> Result<Vec<Effective>, Failure> {
    let (config, mut all) = config_file::effective(config_file).map_err(|why| unusable(&why))?;
    for one in &mut all {
        let found = match one.setting.full_name().as_str() {
            "log.level" => overridden_level(config.log_level),
            "network.proxy" if config.network.proxy.is_none() => environment_proxy(),
            _ => None,
        };
        if let Some((value, name)) = found {
            (one.value, one.origin) = (value, Origin::Environment(name));
        }
    }
    Ok(all)
}

/// A level that does not exist overrides nothing, as in the daemon.
fn overridden_level(configured: log::LevelFilter) -> Option<(Shown, &'static str)> {
    let level = logging::level(configured).ok().filter(|_| logging::is_level_overridden())?;
    let level = level.as_str().to_ascii_lowercase();
    Some((Shown::Value(level.into()), logging::LEVEL_VARIABLE))
}

/// The proxy for most requests: NO_PROXY may exclude hosts.
fn environment_proxy() -> Option<(Shown, &'static str)> {
    let environment = ProxyEnvironment { no: None, ..ProxyEnvironment::read() };
    let name = if environment.https.is_some() { "HTTPS_PROXY" } else { "ALL_PROXY" };
    let proxy = proxy::choose(None, &environment, true, "").ok()??;
    Some((Shown::Masked(proxy::address(&proxy)), name))
}
