//! Second stage: what is meant. Settings to a `Config`, with everything that is wrong reported at once.
//!
//! Promises: a `Config` comes out only if no error was noted. Never: stops at the first error;
//! puts a value into a note that may be a secret.

use std::path::PathBuf;

use crate::config::address::{self, Plain};
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::files::Files;
use crate::config::leaf::{self, Check, Scope};
use crate::config::raw::{Given, Raw, Table, Value};
use crate::config::secrets::SecretNames;
use crate::config::settings::{Fallback, Setting, Shape};
use crate::config::units::{self, ValueError};
use crate::config::{
    Config, Coralogix, Delivery, Environment, Integration, Network, Polling, Queue, Retry, suggest,
};
use crate::message;
use crate::record::{Kind, WriteMode};
use crate::time::Span;
use crate::window::Windows;

/// The config, unless something is wrong; and what was found.
pub fn check(
    raw: &Raw,
    files: &Files<'_>,
    environment: &Environment,
) -> (Option<Config>, Vec<Diagnostic>) {
    let mut check = Check { notes: raw.notes.clone(), files, environment };
    let config = check.config(raw);
    if let Some(config) = &config {
        check.replaced_files_are_free(raw, config);
    }
    let has_errors = check.notes.iter().any(|note| note.severity() == Severity::Error);
    assert!(config.is_some() || has_errors, "a config is missing only where an error says why");
    (config.filter(|_| !has_errors), check.notes)
}

impl Check<'_> {
    fn config(&mut self, raw: &Raw) -> Option<Config> {
        let scope = |name: &'static str| Scope { name, table: raw.section(name) };
        let network = self.network(scope("network"));
        let plain = match network.allow_http {
            true => Plain::Allowed,
            false => Plain::Refused,
        };
        let coralogix = match raw.is_mistyped("coralogix") {
            true => None,
            false => self.coralogix(scope("coralogix"), plain),
        };
        let integrations = self.integrations(raw, plain);
        let queue = self.queue(scope("queue"));
        let retry = self.retry(scope("retry"));
        let heartbeat = Some(self.span(scope("heartbeat"), "interval"));
        let delivery = self.delivery(scope("delivery"));
        let polling = self.polling(scope("polling"));
        let log_level = self.text(scope("log"), "level").parse().unwrap_or(log::LevelFilter::Info);
        let log_json = self.text(scope("log"), "format") == "json";
        let status_file = PathBuf::from(self.text(scope("status"), "file"));
        let metrics = scope("metrics");
        let metrics_file = metrics.get("file").map(|_| PathBuf::from(self.text(metrics, "file")));
        // Only now may anything be missing: every section was looked at and has reported its errors.
        let (coralogix, integrations) = (coralogix?, integrations?);
        Some(Config {
            coralogix,
            queue,
            integrations,
            delivery,
            polling,
            network,
            retry,
            heartbeat: heartbeat.filter(|every| *every > Span::ZERO),
            log_level,
            log_json,
            status_file,
            metrics_file,
        })
    }

    fn coralogix(&mut self, scope: Scope<'_>, plain: Plain) -> Option<Coralogix> {
        let url = match (scope.get("domain"), scope.get("url")) {
            (Some(_), Some(url)) => {
                let hint = "remove one of them";
                let problem = "coralogix.domain is given too";
                self.note(
                    message::SETTINGS_EXCLUDE,
                    Some(url.key_span.clone()),
                    "coralogix.url",
                    problem,
                    hint,
                );
                None
            }
            (Some(domain), None) => {
                self.filled(domain).and_then(|domain| self.read(domain, address::coralogix_domain))
            }
            (None, Some(url)) => self
                .filled(url)
                .and_then(|url| self.read(url, |text| address::coralogix_url(text, plain))),
            (None, None) if scope.is_mistyped("domain") || scope.is_mistyped("url") => None,
            (None, None) => {
                let hint = "add your team's domain, e.g. domain = \"eu2.coralogix.com\"";
                let problem = "neither domain nor url is given";
                self.note(
                    message::SETTING_MISSING,
                    scope.span(),
                    "coralogix.domain",
                    problem,
                    hint,
                );
                None
            }
        };
        let names = SecretNames {
            file: "api_key_file",
            inline: "api_key",
            variable: "CORALOGIX_API_KEY",
            from_environment: self.environment.coralogix_api_key.as_ref(),
        };
        let api_key = self.secret(scope, &names);
        Some(Coralogix { url: url?, api_key: api_key? })
    }

    fn integrations(&mut self, raw: &Raw, plain: Plain) -> Option<Vec<Integration>> {
        let tables: Vec<&Table> = raw.sections("integration").collect();
        if tables.is_empty() && raw.is_mistyped("integration") {
            return None;
        }
        if tables.is_empty() {
            let hint = "add [[integration]] with name, tenant and api_token_file";
            self.note(
                message::INTEGRATION_MISSING,
                None,
                "integration",
                "there is no integration",
                hint,
            );
            return None;
        }
        let is_single = tables.len() == 1;
        let found: Vec<Option<Integration>> = tables
            .iter()
            .map(|table| {
                let scope = Scope { name: "integration", table: Some(*table) };
                self.integration(scope, plain, is_single)
            })
            .collect();
        self.integrations_differ(&tables, &found);
        self.names_were_free(&tables, &found);
        found.into_iter().collect()
    }

    fn integration(
        &mut self,
        scope: Scope<'_>,
        plain: Plain,
        is_single: bool,
    ) -> Option<Integration> {
        let name = self.required(scope, "name").and_then(|given| self.read(given, leaf::name));
        let name_was = scope.get("name_was").map(|given| self.read(given, leaf::name));
        let tenant = self
            .required(scope, "tenant")
            .and_then(|given| self.filled(given))
            .and_then(|given| self.read(given, |text| address::tenant(text, plain)));
        let names = SecretNames {
            file: "api_token_file",
            inline: "api_token",
            variable: "S1_API_TOKEN",
            from_environment: self.environment.s1_api_token.as_ref().filter(|_| is_single),
        };
        let api_token = self.secret(scope, &names);
        let application_name = match scope.get("application_name") {
            Some(_) => self.text(scope, "application_name"),
            None => name.clone().unwrap_or_default(),
        };
        let subsystem_name = self.text(scope, "subsystem_name");
        let streams = self.kinds(scope, "streams", &[Kind::Threats, Kind::Activities]);
        let poll_interval = self.span(scope, "poll_interval");
        let start = self.start(scope);
        let overlap = self.span(scope, "overlap");
        let reconcile = self.span(scope, "reconcile");
        Some(Integration {
            name: name?,
            name_was: match name_was {
                Some(read) => Some(read?),
                None => None,
            },
            tenant: tenant?,
            api_token: api_token?,
            application_name,
            subsystem_name,
            streams,
            poll_interval,
            start,
            overlap,
            reconcile,
        })
    }

    /// Two integrations of one name would share their progress; two of one tenant and stream
    /// deliver every record twice, which is odd but possible.
    fn integrations_differ(&mut self, tables: &[&Table], found: &[Option<Integration>]) {
        for (i, (table, one)) in tables.iter().zip(found).enumerate() {
            let Some(one) = one else { continue };
            let earlier = || found[..i].iter().flatten();
            let span_of = |key| table.get(key).map(|given| given.span.clone());
            if earlier().any(|other| other.name == one.name) {
                let problem = format!("another integration is called {:?} too", one.name);
                let hint = "give each its own name: positions are stored under it";
                self.note(
                    message::INTEGRATION_TWICE,
                    span_of("name"),
                    "integration.name",
                    problem,
                    hint,
                );
            }
            let twin = earlier().find(|other| {
                other.tenant == one.tenant && other.streams.iter().any(|s| one.streams.contains(s))
            });
            if let Some(twin) = twin {
                let problem = format!("integration {:?} collects from this tenant too", twin.name);
                let hint = "streams that both have are delivered twice";
                self.note(
                    message::TENANT_TWICE,
                    span_of("tenant"),
                    "integration.tenant",
                    problem,
                    hint,
                );
            }
        }
    }

    /// What is called so still has its streams, and two can't go on with one.
    fn names_were_free(&mut self, tables: &[&Table], found: &[Option<Integration>]) {
        for (i, (table, one)) in tables.iter().zip(found).enumerate() {
            let Some(was) = one.as_ref().and_then(|one| one.name_was.as_ref()) else { continue };
            let span = || table.get("name_was").map(|given| given.span.clone());
            if found.iter().flatten().any(|other| other.name == *was) {
                let problem = format!("an integration is still called {was:?}");
                let hint = "remove name_was, or that integration";
                let key = "integration.name_was";
                self.note(message::NAME_WAS_CONFIGURED, span(), key, problem, hint);
            }
            let mut earlier = found[..i].iter().flatten();
            if let Some(twin) = earlier.find(|other| other.name_was.as_ref() == Some(was)) {
                let problem = format!("integration {:?} was called {was:?} too", twin.name);
                let hint = "only one of them can continue its streams";
                self.note(message::NAME_WAS_TWICE, span(), "integration.name_was", problem, hint);
            }
        }
    }

    fn queue(&mut self, scope: Scope<'_>) -> Queue {
        let write = match self.text(scope, "write").as_str() {
            "on-failure" => WriteMode::OnFailure,
            _ => WriteMode::Always,
        };
        Queue {
            dir: PathBuf::from(self.text(scope, "dir")),
            max_size_bytes: self.size(scope, "max_size"),
            min_free_bytes: self.size(scope, "min_free"),
            write,
        }
    }

    fn delivery(&mut self, scope: Scope<'_>) -> Delivery {
        Delivery {
            max_rate: self.rate(scope),
            windows: self.windows(scope),
            order: self.kinds(scope, "order", &[]),
        }
    }

    fn polling(&mut self, scope: Scope<'_>) -> Polling {
        Polling {
            max_rate: self.rate(scope),
            windows: self.windows(scope),
            // What can't be read is reported, and as good as not given.
            max_page: Some(self.size(scope, "max_page")).filter(|bytes| *bytes > 0),
        }
    }

    fn rate(&mut self, scope: Scope<'_>) -> Option<u64> {
        let setting = scope.setting("max_rate");
        let read = |text: &str| {
            let rate = units::rate(text)?;
            let bound = |bytes| format!("\"{}/s\"", units::of_size(bytes));
            match setting.shape {
                Shape::Rate { min, .. } if rate < min => Err(ValueError::new(
                    message::OUT_OF_RANGE,
                    "it is too slow",
                    format!("at least {}", bound(min)),
                )),
                Shape::Rate { max, .. } if rate > max => Err(ValueError::new(
                    message::OUT_OF_RANGE,
                    "it is too fast",
                    format!("at most {}", bound(max)),
                )),
                _ => Ok(rate),
            }
        };
        scope.get("max_rate").and_then(|given| self.read(given, read))
    }

    fn windows(&mut self, scope: Scope<'_>) -> Windows {
        let Some(given) = scope.get("windows") else { return Windows::default() };
        let Value::List(texts) = &given.value else { return Windows::default() };
        let key = given.setting.full_name();
        if texts.is_empty() {
            let hint = "remove the line to allow any time, or write [\"22:00-06:00\"]";
            self.note(
                message::WINDOW_MISREAD,
                Some(given.span.clone()),
                &key,
                "there is no window in it",
                hint,
            );
        }
        let mut windows = vec![];
        for (text, span) in texts {
            match units::window(text) {
                Ok(window) => windows.push(window),
                Err(why) => self.note(why.code, Some(span.clone()), &key, why.problem, &why.hint),
            }
        }
        Windows(windows)
    }

    /// A list of streams; the fallback where it is missing.
    fn kinds(&mut self, scope: Scope<'_>, key: &str, fallback: &[Kind]) -> Vec<Kind> {
        const HINT: &str = "the streams are \"threats\", \"activities\" and \"alerts\"";
        let Some(given) = scope.get(key) else { return fallback.to_vec() };
        let key = given.setting.full_name();
        let Value::List(names) = &given.value else { return Vec::new() };
        if names.is_empty() {
            self.note(
                message::STREAM_MISREAD,
                Some(given.span.clone()),
                &key,
                "there is no stream in it",
                HINT,
            );
        }
        let mut kinds = Vec::new();
        for (name, span) in names {
            match Kind::from_name(name) {
                Some(kind) if kinds.contains(&kind) => {
                    let problem = format!("{name:?} is listed twice");
                    self.note(
                        message::STREAM_MISREAD,
                        Some(span.clone()),
                        &key,
                        problem,
                        "remove one of them",
                    );
                }
                Some(kind) => kinds.push(kind),
                None => {
                    // "agents" is no "alerts": beyond one slip of the finger all three are named.
                    let hint = suggest::nearest(name, Kind::ALL.map(Kind::name))
                        .filter(|known| suggest::distance(name, known) == 1)
                        .map(|known| format!("did you mean {known:?}?"));
                    let problem = format!("{name:?} is not a stream");
                    self.note(
                        message::STREAM_MISREAD,
                        Some(span.clone()),
                        &key,
                        problem,
                        hint.as_deref().unwrap_or(HINT),
                    );
                }
            }
        }
        kinds
    }

    fn network(&mut self, scope: Scope<'_>) -> Network {
        let proxy = scope.get("proxy").and_then(|given| self.read(given, address::proxy));
        if proxy.as_ref().is_some_and(address::has_user) {
            let given = scope.get("proxy").expect("what was read was given");
            self.config_is_private(given, "a proxy's password", "");
        }
        let network = Network {
            proxy,
            ca_file: scope.get("ca_file").map(|_| PathBuf::from(self.text(scope, "ca_file"))),
            connect_timeout: self.span(scope, "connect_timeout"),
            timeout: self.span(scope, "timeout"),
            exchange_timeout: self.span(scope, "exchange_timeout"),
            allow_http: matches!(
                scope.get("allow_http"),
                Some(Given { value: Value::Flag(true), .. })
            ),
        };
        let is_shorter = network.timeout < network.connect_timeout;
        self.ordered(scope, ("connect_timeout", "timeout"), is_shorter);
        network
    }

    fn retry(&mut self, scope: Scope<'_>) -> Retry {
        let retry = Retry { min: self.span(scope, "min"), max: self.span(scope, "max") };
        self.ordered(scope, ("min", "max"), retry.max < retry.min);
        retry
    }

    /// Tells of a pair in the wrong order at the one that was typed, the first of them if both.
    fn ordered(&mut self, scope: Scope<'_>, pair: (&str, &str), is_wrong: bool) {
        if !is_wrong {
            return;
        }
        let (low, high) = (scope.setting(pair.0), scope.setting(pair.1));
        let given = scope.get(low.key).or(scope.get(high.key));
        let cited = given.map_or(low, |given| given.setting);
        let problem = match cited.key == low.key {
            true => format!("it is longer than {}", high.full_name()),
            false => format!("it is shorter than {}", low.full_name()),
        };
        let default = |setting: &Setting| match (scope.get(setting.key), setting.fallback) {
            (None, Fallback::Value(value)) => format!("; {} is {value} by default", setting.key),
            _ => String::new(),
        };
        let hint = format!("raise {}{}{}", high.key, default(low), default(high));
        self.note(
            message::ORDER_WRONG,
            given.map(|given| given.span.clone()),
            &cited.full_name(),
            problem,
            &hint,
        );
    }
}
