//! The settings in effect and where each is from, for people and programs that ask.
//!
//! Promises: of a secret only that there is one; in the order of the table of settings. Never:
//! judges a value; what is shown was accepted by `check`.

use std::path::PathBuf;

use serde_json::Value as Json;

use crate::config::address;
use crate::config::files::Files;
use crate::config::raw::{Given, Raw, Table, Value};
use crate::config::settings::{self, Fallback, SECTIONS, Setting, Shape};
use crate::config::{Config, Integration, SecretSource};

/// What stands for a secret.
pub const MASK: &str = "***";

/// One setting in effect.
pub struct Effective {
    pub setting: &'static Setting,
    /// Which integration, counted from 0, that it belongs to.
    pub integration: Option<usize>,
    pub value: Shown,
    pub origin: Origin,
}

/// What is shown of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// A text, a flag or a list of texts.
    Value(Json),
    /// A text of which a part or all may be hidden.
    Masked(String),
    /// There is no value; what then applies.
    Unset(&'static str),
}

/// Where a value is from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    Default,
    File {
        file: PathBuf,
        /// From 1.
        line: usize,
    },
    /// The variable of this name.
    Environment(&'static str),
}

/// All of them; `config` is what `raw` came to.
pub(super) fn of(raw: &Raw, files: &Files<'_>, config: &Config) -> Vec<Effective> {
    let mut all = Vec::new();
    for section in &SECTIONS {
        if section.repeated {
            for (nth, (table, one)) in
                raw.sections(section.name).zip(&config.integrations).enumerate()
            {
                of_section(&mut all, section.name, Some(table), Some((nth, one)), files, config);
            }
        } else {
            of_section(&mut all, section.name, raw.section(section.name), None, files, config);
        }
    }
    all
}

fn of_section(
    all: &mut Vec<Effective>,
    section: &str,
    table: Option<&Table>,
    integration: Option<(usize, &Integration)>,
    files: &Files<'_>,
    config: &Config,
) {
    let secret = integration.map_or(&config.coralogix.api_key, |(_, one)| &one.api_token);
    for setting in settings::of_section(section) {
        let found = match table.and_then(|table| table.get(setting.key)) {
            Some(given) => Some((shown(given, config), place(given, files))),
            None => fallback(setting, integration.map(|(_, one)| one), secret),
        };
        if let Some((value, origin)) = found {
            let integration = integration.map(|(nth, _)| nth);
            all.push(Effective { setting, integration, value, origin });
        }
    }
}

fn shown(given: &Given, config: &Config) -> Shown {
    match &given.value {
        Value::Text(_) if given.setting.shape == Shape::Secret => Shown::Masked(MASK.to_owned()),
        Value::Text(_) if given.setting.key == "proxy" => {
            let shown = config.network.proxy.as_ref().map(address::without_user);
            Shown::Masked(shown.unwrap_or_else(|| MASK.to_owned()))
        }
        Value::Text(text) => Shown::Value(text.as_str().into()),
        Value::Flag(flag) => Shown::Value((*flag).into()),
        Value::List(items) => Shown::Value(items.iter().map(|(item, _)| item.as_str()).collect()),
        // A config with one is not accepted.
        Value::Unusable => Shown::Masked(MASK.to_owned()),
    }
}

fn place(given: &Given, files: &Files<'_>) -> Origin {
    let part = files.at(given.key_span.start);
    let before = &files.text[part.range.start..given.key_span.start];
    Origin::File {
        file: PathBuf::from(part.source.name),
        line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
    }
}

/// What holds where a setting is not given; `None`: another one stands in for it.
fn fallback(
    setting: &Setting,
    integration: Option<&Integration>,
    secret: &SecretSource,
) -> Option<(Shown, Origin)> {
    let by_default = |value| Some((value, Origin::Default));
    match (setting.shape, setting.key, setting.fallback) {
        (Shape::Secret, ..) => match secret {
            SecretSource::Environment { name, .. } => {
                Some((Shown::Masked(MASK.to_owned()), Origin::Environment(name)))
            }
            SecretSource::File(_) | SecretSource::Inline(_) => None,
        },
        (Shape::SecretFile, ..) | (_, "domain" | "url" | "name_was", _) => None,
        (_, "application_name", _) => {
            by_default(Shown::Value(integration?.application_name.as_str().into()))
        }
        (_, _, Fallback::Words(words)) => by_default(Shown::Unset(words)),
        (_, _, Fallback::Value(toml)) => {
            // The defaults of the table are also JSON.
            by_default(Shown::Value(
                serde_json::from_slice(toml.as_bytes()).expect("a default can be read"),
            ))
        }
        (_, _, Fallback::Required) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Source, effective};
    use crate::secret::Secret;

    const MAIN: &str = "[coralogix]\ndomain = \"eu2.coralogix.com\"\napi_key = \"cxtp_planted\"\n\
                        [network]\nproxy = \"http://me:planted@proxy:3128\"\n[[integration]]\n\
                        name = \"acme\"\ntenant = \"a.b\"\nstreams = [\"threats\"]\n";
    const BESIDE: &str = "[network]\nallow_http = true\n\n[queue]\nmax_size = \"2GiB\"\n";

    fn all() -> Vec<Effective> {
        let environment = Environment {
            s1_api_token: Some(Secret::new("planted-token")),
            ..Environment::default()
        };
        let sources = [Source::text("/c.toml", MAIN), Source::text("/c.d/a.toml", BESIDE)];
        effective(&sources, &environment).unwrap_or_else(|why| panic!("{why}")).1
    }

    fn of(name: &str) -> (Shown, Origin) {
        let found = all().into_iter().find(|one| one.setting.full_name() == name);
        let found = found.unwrap_or_else(|| panic!("{name} is not there"));
        (found.value, found.origin)
    }

    fn file(file: &str, line: usize) -> Origin {
        Origin::File { file: file.into(), line }
    }

    #[test]
    fn every_setting_has_its_value_and_its_origin() {
        let value = |text: &str| Shown::Value(text.into());
        for (name, shown, origin) in [
            ("coralogix.domain", value("eu2.coralogix.com"), file("/c.toml", 2)),
            ("coralogix.api_key", Shown::Masked("***".into()), file("/c.toml", 3)),
            ("network.proxy", Shown::Masked("http://***@proxy:3128".into()), file("/c.toml", 5)),
            (
                "integration.api_token",
                Shown::Masked("***".into()),
                Origin::Environment("S1_API_TOKEN"),
            ),
            (
                "integration.streams",
                Shown::Value(["threats"].into_iter().collect()),
                file("/c.toml", 9),
            ),
            ("integration.application_name", value("acme"), Origin::Default),
            ("integration.overlap", value("120s"), Origin::Default),
            ("network.allow_http", Shown::Value(true.into()), file("/c.d/a.toml", 2)),
            ("queue.max_size", value("2GiB"), file("/c.d/a.toml", 5)),
            ("delivery.max_rate", Shown::Unset("no limit"), Origin::Default),
        ] {
            assert_eq!(of(name), (shown, origin), "{name}");
        }
    }

    #[test]
    fn what_another_setting_stands_in_for_is_left_out_and_no_secret_is_shown() {
        let names: Vec<String> = all().iter().map(|one| one.setting.full_name()).collect();
        for absent in ["coralogix.url", "coralogix.api_key_file", "integration.name_was"] {
            assert!(!names.iter().any(|name| name == absent), "{absent}: {names:?}");
        }
        let text = format!("{:?}", all().iter().map(|one| &one.value).collect::<Vec<_>>());
        assert!(!text.contains("planted"), "{text}");
    }
}
