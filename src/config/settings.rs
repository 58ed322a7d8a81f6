//! Every setting there is: name, shape, default, words; and the sections that they stand in. One
//! table, from which the reader of the config, the example file and the manual page come.
//!
//! Promises: what is not in this table is not a setting; every setting is in one of the sections.
//! Never: holds a value of anyone's config.

use crate::limits;
use crate::time::Span;

/// One setting.
pub struct Setting {
    pub section: &'static str,
    pub key: &'static str,
    pub shape: Shape,
    pub fallback: Fallback,
    /// What it does, in whole sentences.
    #[cfg_attr(closed, expect(dead_code, reason = "the pages and the example are made from it"))]
    pub doc: &'static str,
    /// As it would be written, in TOML.
    pub example: &'static str,
}

/// What a setting's value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Words for people and JSON: no control characters.
    Text {
        bytes_max: usize,
    },
    /// The name of an integration: goes to disk and log.
    Name,
    /// An internet address in one of its forms.
    Address,
    /// An absolute path.
    Path,
    /// An absolute path to a secret, or `$CREDENTIALS_DIRECTORY/name`.
    SecretFile,
    /// The secret itself; never shown.
    Secret,
    Span {
        min: Span,
        max: Span,
    },
    Size {
        min: u64,
        max: u64,
    },
    /// Bytes a second.
    Rate {
        min: u64,
        max: u64,
    },
    Start,
    Flag,
    Streams,
    /// Parts of the local day.
    Windows,
    Choice(&'static [&'static str]),
}

/// What holds when a setting is not given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fallback {
    /// It must be given.
    Required,
    /// This value, in TOML.
    Value(&'static str),
    /// Nothing, or what the words say.
    Words(&'static str),
}

impl Setting {
    /// `integration.poll_interval`, as findings name it.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// Whether its value may be a secret, wherever it is cited.
    pub fn may_hold_a_secret(&self) -> bool {
        matches!(self.shape, Shape::Secret | Shape::SecretFile) || self.key == "proxy"
    }
}

/// The setting of this name in this section.
pub fn find(section: &str, key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.section == section && setting.key == key)
}

/// What holds when this setting is not given, without the quotes of TOML.
pub fn by_default(section: &str, key: &str) -> &'static str {
    match find(section, key).map(|setting| setting.fallback) {
        Some(Fallback::Value(text)) => text.trim_matches('"'),
        other => unreachable!("{section}.{key} has no value by default: {other:?}"),
    }
}

/// Whether a section may stand more than once, each time for another one.
pub fn is_repeated(section: &str) -> bool {
    SECTIONS.iter().any(|known| known.name == section && known.repeated)
}

pub fn of_section(section: &str) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(move |setting| setting.section == section)
}

const fn setting(
    section: &'static str,
    key: &'static str,
    shape: Shape,
    fallback: Fallback,
    example: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { section, key, shape, fallback, doc, example }
}

const RATE: Shape = Shape::Rate { min: 1 << 10, max: 1 << 40 };

const KEY_FROM_ENVIRONMENT: Fallback =
    Fallback::Words("one of api_key_file, api_key or the environment variable CORALOGIX_API_KEY");
const TOKEN_FROM_ENVIRONMENT: Fallback = Fallback::Words(
    "one of api_token_file, api_token or, with a single integration, the environment variable \
     S1_API_TOKEN",
);

/// The sections, in the order in which people should read them.
pub const SECTIONS: [Section; 11] = [
    Section { name: "coralogix", repeated: false, doc: "Where the records go." },
    Section {
        name: "integration",
        repeated: true,
        doc: "Where the records come from. Repeat this section for each SentinelOne tenant.",
    },
    Section {
        name: "queue",
        repeated: false,
        doc: "What waits on disk. Nothing is dropped: a full queue stops the polling, and \
              SentinelOne keeps the records until there is room.",
    },
    Section {
        name: "delivery",
        repeated: false,
        doc: "When and how fast Coralogix is sent to, for links that are metered or needed by day.",
    },
    Section {
        name: "polling",
        repeated: false,
        doc: "When and how fast SentinelOne is asked. What is not asked for stays there.",
    },
    Section { name: "network", repeated: false, doc: "How both services are reached." },
    Section {
        name: "retry",
        repeated: false,
        doc: "How long to wait after a failure. The wait doubles from min to max, at random \
              points below, and is never shorter than a service's Retry-After.",
    },
    Section {
        name: "heartbeat",
        repeated: false,
        doc: "A small record of category \"collector\" that tells Coralogix how the collector \
              fares, for alerts and dashboards.",
    },
    Section { name: "log", repeated: false, doc: "What is written to stderr." },
    Section { name: "status", repeated: false, doc: "What `s1-coralogix status` reads." },
    Section { name: "metrics", repeated: false, doc: "The status for Prometheus." },
];

/// A table of the config.
pub struct Section {
    pub name: &'static str,
    /// Whether it is written `[[name]]`, any number of times.
    pub repeated: bool,
    #[cfg_attr(closed, expect(dead_code, reason = "the pages and the example are made from it"))]
    pub doc: &'static str,
}

/// The settings, in the order of their sections.
pub const SETTINGS: &[Setting] = &[
    setting(
        "coralogix",
        "domain",
        Shape::Address,
        Fallback::Words("one of domain or url"),
        "\"eu2.coralogix.com\"",
        "The domain of your Coralogix team's region, as listed by Coralogix: us1, us2, us3, eu1, \
         eu2, ap1, ap2 or ap3 before .coralogix.com. Records go to ingress.DOMAIN.",
    ),
    setting(
        "coralogix",
        "url",
        Shape::Address,
        Fallback::Words("one of domain or url"),
        "\"https://ingress.private.eu2.coralogix.com\"",
        "Instead of domain: the full URL, for PrivateLink or your own relay.",
    ),
    setting(
        "coralogix",
        "api_key_file",
        Shape::SecretFile,
        KEY_FROM_ENVIRONMENT,
        "\"/etc/s1-coralogix/coralogix.key\"",
        "The file with a Send-Your-Data API key and nothing else. It is read again when it \
         changes, so a new key needs no restart. With systemd credentials write \
         $CREDENTIALS_DIRECTORY/NAME.",
    ),
    setting(
        "coralogix",
        "api_key",
        Shape::Secret,
        KEY_FROM_ENVIRONMENT,
        "\"...\"",
        "Instead of api_key_file: the key itself. Then only the service's user may read this file.",
    ),
    setting(
        "integration",
        "name",
        Shape::Name,
        Fallback::Required,
        "\"acme\"",
        "A name of your choice. Positions are stored under it and each record has it as className. \
         When you change it, put the old one into name_was; otherwise the tenant is collected from \
         `start` again.",
    ),
    setting(
        "integration",
        "name_was",
        Shape::Name,
        Fallback::Words("the name was never changed"),
        "\"acme-old\"",
        "The previous name of the integration. At the next start its streams continue where those \
         of the old name stopped; after that it has no effect and can be removed.",
    ),
    setting(
        "integration",
        "tenant",
        Shape::Address,
        Fallback::Required,
        "\"https://usea1-acme.sentinelone.net\"",
        "The address of the SentinelOne console, as the browser shows it. If it is changed later, \
         nothing is polled until `s1-coralogix queue adopt NAME` confirms whether it is the same \
         tenant.",
    ),
    setting(
        "integration",
        "api_token_file",
        Shape::SecretFile,
        TOKEN_FROM_ENVIRONMENT,
        "\"/etc/s1-coralogix/acme.token\"",
        "The file with the API token of a SentinelOne service user and nothing else. It is read \
         again when it changes.",
    ),
    setting(
        "integration",
        "api_token",
        Shape::Secret,
        TOKEN_FROM_ENVIRONMENT,
        "\"...\"",
        "Instead of api_token_file: the token itself. Then only the service's user may read this \
         file.",
    ),
    setting(
        "integration",
        "application_name",
        Shape::Text { bytes_max: limits::LABEL_BYTES_MAX },
        Fallback::Words("the integration's name"),
        "\"acme\"",
        "The Coralogix application of the records.",
    ),
    setting(
        "integration",
        "subsystem_name",
        Shape::Text { bytes_max: limits::LABEL_BYTES_MAX },
        Fallback::Value("\"SentinelOne\""),
        "\"SentinelOne\"",
        "The Coralogix subsystem of the records.",
    ),
    setting(
        "integration",
        "streams",
        Shape::Streams,
        Fallback::Value("[\"threats\", \"activities\"]"),
        "[\"threats\", \"activities\"]",
        "What to collect: \"threats\" (needs Endpoint Threats: View), \"activities\" (Activity: \
         View), \"alerts\" (Custom Alerts: View).",
    ),
    setting(
        "integration",
        "poll_interval",
        Shape::Span { min: Span::seconds(1), max: Span::hours(24) },
        Fallback::Value("\"60s\""),
        "\"60s\"",
        "How long to wait before the next poll once everything was read.",
    ),
    setting(
        "integration",
        "start",
        Shape::Start,
        Fallback::Value("\"24h\""),
        "\"24h\"",
        "Where to start with a tenant that was never collected: this long ago, a time like \
         \"2026-01-31T00:00:00Z\", or \"now\".",
    ),
    setting(
        "integration",
        "overlap",
        Shape::Span { min: Span::ZERO, max: Span::hours(1) },
        Fallback::Value("\"120s\""),
        "\"120s\"",
        "How far each poll looks back for records that became visible late. It causes no \
         duplicates.",
    ),
    setting(
        "integration",
        "reconcile",
        Shape::Span { min: Span::ZERO, max: Span::hours(24) },
        Fallback::Value("\"1h\""),
        "\"1h\"",
        "How often SentinelOne is asked for its record counts, up to seven days back, to find \
         records that became visible only after polling had passed their time. \"0s\" turns it \
         off.",
    ),
    setting(
        "queue",
        "dir",
        Shape::Path,
        Fallback::Value("\"/var/lib/s1-coralogix\""),
        "\"/var/lib/s1-coralogix\"",
        "The queue's directory, used by this program only.",
    ),
    setting(
        "queue",
        "max_size",
        Shape::Size { min: limits::QUEUE_BYTES_MIN, max: 1 << 40 },
        Fallback::Value("\"1GiB\""),
        "\"1GiB\"",
        "The maximum size of the queue on disk. One GiB holds about two million records.",
    ),
    setting(
        "queue",
        "min_free",
        Shape::Size { min: 0, max: 1 << 40 },
        Fallback::Value("\"64MiB\""),
        "\"64MiB\"",
        "The free space that the queue leaves on its file system.",
    ),
    setting(
        "queue",
        "write",
        Shape::Choice(&["always", "on-failure"]),
        Fallback::Value("\"always\""),
        "\"always\"",
        "\"always\" stores every record before it is sent. \"on-failure\" reduces wear of flash \
         memory: \
         while the queue is empty, records are sent first and stored only if that fails. Nothing \
         is lost either way.",
    ),
    setting(
        "delivery",
        "max_rate",
        RATE,
        Fallback::Words("no limit"),
        "\"256KiB/s\"",
        "The average rate of the compressed batches. Each batch is sent at full speed and followed \
         by a pause; batches are sized so that one takes at most half of network.timeout at this \
         rate.",
    ),
    setting(
        "delivery",
        "windows",
        Shape::Windows,
        Fallback::Words("always"),
        "[\"02:00-04:00\", \"22:00-23:30\"]",
        "The only times of day at which batches are started, in this machine's time zone; \
         \"22:00-06:00\" spans midnight. Neither SIGUSR1 nor a new key opens a window; `run \
         --once` ignores them. Until a service has sent the time after a start, windows are open, \
         because this machine's clock may be wrong: the first response corrects it.",
    ),
    setting(
        "delivery",
        "order",
        Shape::Streams,
        Fallback::Words("the streams take turns"),
        "[\"threats\", \"activities\"]",
        "Which streams of a tenant are read first while there is a backlog at SentinelOne: each \
         one is read completely before the next one is continued. Records already in the queue are \
         delivered in the order in which they were collected.",
    ),
    setting(
        "polling",
        "max_rate",
        RATE,
        Fallback::Words("no limit"),
        "\"256KiB/s\"",
        "The average rate of the responses, as compressed on the wire. Each page is read at full \
         speed and followed by a pause.",
    ),
    setting(
        "polling",
        "windows",
        Shape::Windows,
        Fallback::Words("always"),
        "[\"02:00-04:00\"]",
        "The only times of day at which SentinelOne is polled; as for delivery.",
    ),
    setting(
        "polling",
        "max_page",
        Shape::Size { min: limits::PAGE_BYTES_MIN, max: limits::PAGE_BYTES_MAX },
        Fallback::Words("24MiB, or less where the machine or its control group has little memory"),
        "\"4MiB\"",
        "The maximum size of a response of SentinelOne, uncompressed. A longer page is requested \
         again with fewer rows, so this limits the memory: at most 14 MiB plus four times this \
         size. A single record that is longer can't be forwarded: an activity is skipped and \
         reported as a gap.",
    ),
    setting(
        "network",
        "proxy",
        Shape::Address,
        Fallback::Words("the environment variables HTTPS_PROXY and NO_PROXY"),
        "\"http://user:password@proxy.example.com:3128\"",
        "An HTTP proxy for both services.",
    ),
    setting(
        "network",
        "ca_file",
        Shape::Path,
        Fallback::Words("the built-in roots only"),
        "\"/etc/ssl/certs/corporate.pem\"",
        "Certificates (PEM) to trust in addition to the built-in roots, for networks with TLS \
         inspection.",
    ),
    setting(
        "network",
        "connect_timeout",
        Shape::Span { min: Span::ms(100), max: Span::minutes(5) },
        Fallback::Value("\"10s\""),
        "\"10s\"",
        "How long establishing a connection may take, over all addresses of a name.",
    ),
    setting(
        "network",
        "timeout",
        Shape::Span { min: Span::ms(100), max: Span::hours(1) },
        Fallback::Value("\"60s\""),
        "\"60s\"",
        "The exchange is aborted if less than 1 KiB is transferred in this time.",
    ),
    setting(
        "network",
        "exchange_timeout",
        Shape::Span { min: Span::ms(100), max: Span::hours(6) },
        Fallback::Value("\"15m\""),
        "\"15m\"",
        "How long a request and its response may take in total while data is transferred; \
         network.timeout if that is longer.",
    ),
    setting(
        "network",
        "allow_http",
        Shape::Flag,
        Fallback::Value("false"),
        "false",
        "Whether addresses may start with http://, without encryption. For tests only.",
    ),
    setting(
        "retry",
        "min",
        Shape::Span { min: Span::ms(50), max: Span::hours(1) },
        Fallback::Value("\"1s\""),
        "\"1s\"",
        "The first delay between retries.",
    ),
    setting(
        "retry",
        "max",
        Shape::Span { min: Span::ms(50), max: Span::hours(24) },
        Fallback::Value("\"5m\""),
        "\"5m\"",
        "The maximum delay between retries.",
    ),
    setting(
        "heartbeat",
        "interval",
        Shape::Span { min: Span::ZERO, max: Span::hours(24) },
        Fallback::Value("\"5m\""),
        "\"5m\"",
        "How often a heartbeat is sent, with the application and subsystem of the first \
         integration; \"0s\" turns it off. At most one is in the queue, so they don't accumulate \
         during an outage. `run --once` sends one at its end.",
    ),
    setting(
        "log",
        "level",
        Shape::Choice(&["error", "warn", "info", "debug", "trace"]),
        Fallback::Value("\"info\""),
        "\"info\"",
        "The log level. The environment variable S1_CORALOGIX_LOG overrides it.",
    ),
    setting(
        "log",
        "format",
        Shape::Choice(&["text", "json"]),
        Fallback::Value("\"text\""),
        "\"text\"",
        "\"json\" writes each line as a JSON object with time, level, code and message, for containers \
         and log shippers.",
    ),
    setting(
        "status",
        "file",
        Shape::Path,
        Fallback::Value("\"/run/s1-coralogix/status.json\""),
        "\"/run/s1-coralogix/status.json\"",
        "The status file. Best in memory (/run), because it is rewritten often.",
    ),
    setting(
        "metrics",
        "file",
        Shape::Path,
        Fallback::Words("no metrics file"),
        "\"/run/s1-coralogix/s1_coralogix.prom\"",
        "A file for node_exporter's textfile collector, written at most every 15 seconds.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_named_once_in_a_declared_section_and_explained() {
        for (i, setting) in SETTINGS.iter().enumerate() {
            let name = setting.full_name();
            assert!(SECTIONS.iter().any(|section| section.name == setting.section), "{name}");
            assert!(!SETTINGS[..i].iter().any(|other| other.full_name() == name), "{name}");
            assert!(setting.doc.ends_with('.'), "{name}");
            assert!(!setting.doc.contains("  "), "{name}");
        }
        for (_, ours) in crate::config::suggest::OTHER_NAMES {
            assert!(SETTINGS.iter().any(|setting| setting.key == ours), "{ours}");
        }
    }
}
