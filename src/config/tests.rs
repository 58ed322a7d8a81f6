//! The config as people write it, right and wrong: texts in, values or findings out.

use std::path::PathBuf;

use crate::config::{Config, Environment, SecretSource, Source, example, parse};
use crate::prng::Prng;
use crate::record::{Kind, Start, WriteMode};
use crate::secret::Secret;
use crate::time::{Span, Stamp};

const TEN_LINES: &str = r#"
[coralogix]
domain = "eu2.coralogix.com"
api_key_file = "/etc/s1-coralogix/coralogix.key"

[[integration]]
name = "acme"
tenant = "https://usea1-acme.sentinelone.net/login"
api_token_file = "/etc/s1-coralogix/acme.token"
"#;

fn good(text: &str, environment: &Environment) -> Config {
    match parse(&[Source::text("c.toml", text)], environment) {
        Ok((config, warnings)) if warnings.is_empty() => config,
        Ok((_, warnings)) => panic!("{warnings:?}"),
        Err(findings) => panic!("{findings}"),
    }
}

/// What is reported of a text: errors or warnings, as they are shown.
fn told(text: &str, environment: &Environment) -> String {
    told_of(&[Source::text("c.toml", text)], environment)
}

fn told_of(sources: &[Source<'_>], environment: &Environment) -> String {
    match parse(sources, environment) {
        Ok((_, warnings)) => crate::config::Findings(warnings).to_string(),
        Err(findings) => findings.to_string(),
    }
}

/// The ten lines with some more below the section that is named, and what is told of them.
fn told_with(section: &str, lines: &str) -> String {
    let text = match section {
        "coralogix" => TEN_LINES.replace("[coralogix]\n", &format!("[coralogix]\n{lines}\n")),
        "integration" => format!("{TEN_LINES}{lines}\n"),
        _ => format!("{TEN_LINES}[{section}]\n{lines}\n"),
    };
    told(&text, &Environment::default())
}

#[test]
fn ten_lines_are_enough() {
    let config = good(TEN_LINES, &Environment::default());
    assert_eq!(config.coralogix.url, "https://ingress.eu2.coralogix.com");
    let key = PathBuf::from("/etc/s1-coralogix/coralogix.key");
    assert_eq!(config.coralogix.api_key, SecretSource::File(key));
    assert_eq!(config.queue.dir, PathBuf::from("/var/lib/s1-coralogix"));
    assert_eq!(config.queue.max_size_bytes, 1 << 30);
    assert_eq!(config.queue.min_free_bytes, 64 << 20);
    assert_eq!(config.queue.write, WriteMode::Always);
    let [acme] = &config.integrations[..] else { panic!("one integration") };
    assert_eq!(acme.tenant, "https://usea1-acme.sentinelone.net");
    assert_eq!((&*acme.application_name, &*acme.subsystem_name), ("acme", "SentinelOne"));
    assert_eq!(acme.streams, [Kind::Threats, Kind::Activities]);
    assert_eq!((acme.poll_interval, acme.overlap), (Span::seconds(60), Span::seconds(120)));
    assert_eq!(acme.start, Start::Ago(Span::hours(24)));
    assert_eq!(config.network.proxy, None);
    assert_eq!(config.network.connect_timeout, Span::seconds(10));
    assert_eq!(config.network.timeout, Span::seconds(60));
    assert!(!config.network.allow_http);
    assert_eq!((config.retry.min, config.retry.max), (Span::seconds(1), Span::minutes(5)));
    assert_eq!((config.log_level, config.log_json), (log::LevelFilter::Info, false));
    assert_eq!(config.status_file, PathBuf::from("/run/s1-coralogix/status.json"));
}

#[test]
fn every_setting_can_be_given() {
    let text = r#"
        [coralogix]
        url = "http://127.0.0.1:9001/"
        api_key = " k "
        [queue]
        dir = "/q"
        max_size = "16MiB"
        min_free = "0"
        write = "on-failure"
        [[integration]]
        name = "a.b-c_1"
        tenant = "http://127.0.0.1:9000"
        api_token = "t"
        application_name = "Büro"
        subsystem_name = "edr"
        streams = ["alerts"]
        poll_interval = "1s"
        start = 2026-01-31T00:00:00Z
        overlap = "0s"
        [[integration]]
        name = "second"
        tenant = "http://127.0.0.1:9000"
        api_token_file = "${CREDENTIALS_DIRECTORY}/second"
        [network]
        proxy = "http://u:p@proxy:3128"
        ca_file = "/ca.pem"
        connect_timeout = "200ms"
        timeout = "1s"
        allow_http = true
        [retry]
        min = "50ms"
        max = "50ms"
        [log]
        level = "TRACE"
        [status]
        file = "/s.json"
    "#;
    let environment =
        Environment { credentials_directory: Some("/creds".into()), ..Environment::default() };
    let config = good(text, &environment);
    assert_eq!(config.coralogix.url, "http://127.0.0.1:9001");
    assert_eq!(config.coralogix.api_key, SecretSource::Inline(Secret::new("k").unwrap()));
    assert_eq!(config.queue.write, WriteMode::OnFailure);
    assert_eq!(config.integrations[0].streams, [Kind::Alerts]);
    let start = Stamp::parse("2026-01-31T00:00:00Z").unwrap();
    assert_eq!(config.integrations[0].start, Start::At(start));
    assert_eq!(config.integrations[0].application_name, "Büro");
    assert_eq!(config.integrations[1].api_token, SecretSource::File("/creds/second".into()));
    assert_eq!(config.network.proxy.unwrap().reveal(), "http://u:p@proxy:3128");
    assert_eq!(config.log_level, log::LevelFilter::Trace);
    assert!(config.network.allow_http);
}

#[test]
fn everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
    let text = r#"[coralogix]
domian = "eu2.coralogix.com"
api_key_file = "/k"

[queue]
max_size = "1GB "
min_free = 64

[[integration]]
name = "acme"
tenant = "usea1-acme.sentinelone.net"
api_token_file = "/t"
poll_interval = "60"
streams = ["threats", "threat"]
"#;
    let expected = r#"c.toml:2:1: S1C-E304 coralogix.domian: there is no such setting
  2 | domian = ***
    | ^~~~~~
  hint: did you mean domain?
c.toml:7:12: S1C-E306 queue.min_free: this must be a quoted string, and is a number without a unit
  7 | min_free = 64
    |            ^~
  hint: for example: min_free = "64MiB"
c.toml:13:17: S1C-E312 integration.poll_interval: "60" has no unit
  13 | poll_interval = "60"
     |                 ^~~~
  hint: write a whole number and one unit of ms, s, m, h or d, e.g. "60s" or "5m"
c.toml:14:23: S1C-E318 integration.streams: "threat" is not a stream
  14 | streams = ["threats", "threat"]
     |                       ^~~~~~~~
  hint: did you mean "threats"?"#;
    assert_eq!(told(text, &Environment::default()), expected);
}

#[test]
fn an_empty_config_says_what_is_missing() {
    let told = told("", &Environment::default());
    for part in [
        "c.toml:1:1: S1C-E307 coralogix.domain: neither domain nor url is given",
        "c.toml:1:1: S1C-E307 coralogix.api_key_file: it is missing",
        "c.toml:1:1: S1C-E309 integration: there is no integration",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn each_wrong_value_is_told_with_its_key_and_problem() {
    for (section, line, part) in [
        ("coralogix", "url = \"https://a.b\"", "coralogix.url: coralogix.domain is given too"),
        ("coralogix", "api_key = \"k\"", "coralogix.api_key: coralogix.api_key_file is given too"),
        ("queue", "max_size = \"15MiB\"", "queue.max_size: it is too small"),
        ("queue", "max_size = \"2TiB\"", "queue.max_size: it is too large"),
        ("queue", "dir = \"queue\"", "queue.dir: \"queue\" is not an absolute path"),
        ("queue", "write = \"never\"", "queue.write: \"never\" is not an accepted value"),
        ("integration", "poll_interval = \"500ms\"", "integration.poll_interval: it is too short"),
        ("integration", "poll_interval = \"2d\"", "integration.poll_interval: it is too long"),
        ("integration", "overlap = \"2h\"", "integration.overlap: it is too long"),
        (
            "integration",
            "start = \"tomorrow\"",
            "integration.start: \"tomorrow\" is not a duration",
        ),
        ("integration", "start = \"0206-01-31T00:00:00Z\"", "integration.start: \"0206-01-31T0"),
        ("integration", "start = 2026-01-31", "integration.start: \"2026-01-31\" is not an RFC"),
        ("integration", "streams = []", "integration.streams: there is no stream in it"),
        ("integration", "streams = \"threats\"", "integration.streams: this must be a list"),
        ("integration", "streams = [\"alerts\", \"alerts\"]", "\"alerts\" is listed twice"),
        ("delivery", "max_rate = \"256KiB\"", "\"256KiB\" is not a size per second"),
        ("delivery", "max_rate = \"1B/s\"", "delivery.max_rate: it is too slow"),
        ("delivery", "windows = \"02:00-04:00\"", "delivery.windows: this must be a list"),
        ("delivery", "windows = [\"2-4\"]", "delivery.windows: \"2-4\" is not a window"),
        ("delivery", "order = [\"threat\"]", "delivery.order: \"threat\" is not a stream"),
        ("polling", "max_page = \"1000KiB\"", "polling.max_page: it is too small"),
        ("polling", "max_page = \"25MiB\"", "polling.max_page: it is too large"),
        ("polling", "max_page = \"4\"", "polling.max_page: \"4\" has no unit"),
        ("polling", "windows = []", "polling.windows: there is no window in it"),
        ("integration", "application_name = \" \"", "integration.application_name: it is empty"),
        ("integration", "subsystem_name = \"a\\u0007\"", "it has a control character"),
        ("network", "allow_http = \"true\"", "network.allow_http: this must be true or false"),
        (
            "network",
            "timeout = \"5s\"",
            "network.timeout: it is shorter than network.connect_timeout",
        ),
        ("network", "proxy = \"socks5://p:1\"", "network.proxy: only proxies with an http://"),
        ("network", "ca_file = \"ca.pem\"", "network.ca_file: \"ca.pem\" is not an absolute path"),
        ("retry", "min = \"10ms\"", "retry.min: it is too short"),
        ("retry", "min = \"10m\"", "retry.min: it is longer than retry.max"),
        ("log", "level = \"verbose\"", "log.level: \"verbose\" is not an accepted value"),
        ("logging", "level = \"info\"", "logging: there is no section [logging]"),
        ("[queue]", "dir = \"/q\"", "queue: this section occurs only once"),
    ] {
        let told = told_with(section, line);
        assert!(told.contains(part), "{line}:\n{told}");
        assert_eq!(told.matches("hint: ").count(), 1, "one finding with a hint:\n{told}");
    }
}

#[test]
fn names_are_plain_and_differ() {
    let named = |name: &str| {
        told(&TEN_LINES.replace("acme\"\nt", &format!("{name}\"\nt")), &Environment::default())
    };
    for name in ["", "a b", "-a", "a/b", "é", &"x".repeat(65)] {
        assert!(named(name).contains("integration.name: "), "{name}");
    }
    let other = TEN_LINES.split_once("[[").map(|(_, rest)| format!("[[{rest}")).unwrap();
    let told = told(&format!("{TEN_LINES}{other}"), &Environment::default());
    assert!(
        told.contains("c.toml:11:8: S1C-E310 integration.name: another integration is called"),
        "{told}"
    );
    assert!(
        told.contains("warning: S1C-W311 integration.tenant: integration \"acme\" collects"),
        "{told}"
    );
}

#[test]
fn a_former_name_is_one_that_no_integration_has_and_no_other_had() {
    let config = good(&format!("{TEN_LINES}name_was = \"acme-old\"\n"), &Environment::default());
    assert_eq!(config.integrations[0].name_was.as_deref(), Some("acme-old"));
    let told = told_with("integration", "name_was = \"a/b\"");
    assert!(told.contains("S1C-E320 integration.name_was: "), "{told}");
    let still = "S1C-E337 integration.name_was: an integration is still called";
    assert!(told_with("integration", "name_was = \"acme\"").contains(still), "its own name");
    let other = |lines: &str| {
        let (_, other) = TEN_LINES.split_once("[[").unwrap();
        let other = other.replace("\"acme\"", "\"other\"").replace("usea1-acme", "usea1-other");
        self::told(
            &format!("{TEN_LINES}name_was = \"old\"\n[[{other}{lines}\n"),
            &Environment::default(),
        )
    };
    assert!(other("name_was = \"acme\"").contains(still));
    let told = other("name_was = \"old\"");
    assert!(
        told.contains("S1C-E338 integration.name_was: integration \"acme\" was called"),
        "{told}"
    );
    assert_eq!(other(""), "");
}

#[test]
fn a_single_table_of_integration_is_told_its_brackets() {
    let told =
        told(&TEN_LINES.replace("[[integration]]", "[integration]"), &Environment::default());
    assert!(told.contains("write [[integration]], with two brackets"), "{told}");
    assert_eq!(told.matches("hint: ").count(), 1, "{told}");
}

/// The ten lines, then files of its directory.
fn with_files<'t>(more: &[(&'static str, &'t str)]) -> Vec<Source<'t>> {
    let more = more.iter().map(|(name, text)| Source::text(name, text));
    [Source::text("c.toml", TEN_LINES)].into_iter().chain(more).collect()
}

#[test]
fn a_later_file_has_the_last_word_and_each_brings_its_integrations() {
    let sources = with_files(&[
        ("10.toml", "[coralogix]\ndomain = \"us1.coralogix.com\"\n[log]\nlevel = \"debug\"\n"),
        (
            "20.toml",
            "[[integration]]\nname = \"b\"\ntenant = \"b.sentinelone.net\"\n\
                     api_token_file = \"/b.token\"\n",
        ),
        (
            "30.toml",
            "[log]\nlevel = \"warn\"\n[[integration]]\nname = \"c\"\n\
                     tenant = \"c.sentinelone.net\"\napi_token_file = \"/c.token\"\n",
        ),
    ]);
    let (config, warnings) = parse(&sources, &Environment::default()).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.coralogix.url, "https://ingress.us1.coralogix.com");
    let key = PathBuf::from("/etc/s1-coralogix/coralogix.key");
    assert_eq!(config.coralogix.api_key, SecretSource::File(key), "what only the first file says");
    assert_eq!(config.log_level, log::LevelFilter::Warn);
    let names: Vec<&str> = config.integrations.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["acme", "b", "c"]);
}

#[test]
fn a_finding_names_the_file_and_the_line_in_it() {
    let told = told_of(
        &with_files(&[
            ("10.toml", "# nothing here\n\n[queue]\nmax_size = \"lots\"\n"),
            ("20.toml", "[retry]\nmin = \"1s\"\nmni = \"1s\"\n"),
        ]),
        &Environment::default(),
    );
    assert!(told.contains("10.toml:4:12: S1C-E313 queue.max_size: "), "{told}");
    assert!(told.contains("\n  4 | max_size = \"lots\"\n    |            ^~~~~~\n"), "{told}");
    assert!(told.contains("20.toml:3:1: S1C-E304 retry.mni: "), "{told}");
    let broken = told_of(
        &with_files(&[("10.toml", "x = \n"), ("20.toml", "[retry\n")]),
        &Environment::default(),
    );
    assert!(broken.contains("10.toml:1:") && broken.contains("20.toml:1:"), "{broken}");
    let twin = "[[integration]]\nname = \"acme\"\ntenant = \"b.sentinelone.net\"\n\
                api_token_file = \"/b\"\n";
    let told = told_of(&with_files(&[("10.toml", twin)]), &Environment::default());
    assert!(told.contains("10.toml:2:8: S1C-E310 integration.name: another"), "{told}");
}

#[test]
fn a_secret_is_judged_by_the_permissions_of_its_own_file() {
    let inline = "[[integration]]\nname = \"b\"\ntenant = \"b.sentinelone.net\"\n\
                  api_token = \"s3cret\"\n";
    let with = |modes: [u32; 2]| {
        let mut sources = with_files(&[("10.toml", inline)]);
        sources.iter_mut().zip(modes).for_each(|(source, mode)| source.mode = Some(mode));
        told_of(&sources, &Environment::default())
    };
    assert_eq!(with([0o644, 0o600]), "");
    let told = with([0o600, 0o644]);
    assert!(told.contains("10.toml:4:13: S1C-E333 integration.api_token: a secret"), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
}

#[test]
fn what_is_only_mistyped_is_told_once() {
    for (from, to, hint) in [
        ("[[integration]]", "[[integrations]]", "did you mean [[integration]]?"),
        ("api_key_file", "apikey_file", "did you mean api_key_file?"),
        ("api_token_file", "token_file", "here it is called api_token_file"),
        ("domain", "domian", "did you mean domain?"),
        ("[coralogix]", "[corallogix]", "did you mean [coralogix]?"),
        ("tenant =", "console =", "here it is called tenant"),
    ] {
        let told = told(&TEN_LINES.replacen(from, to, 1), &Environment::default());
        assert_eq!(told.matches("hint: ").count(), 1, "{from}:\n{told}");
        assert!(told.contains(hint), "{from}:\n{told}");
    }
    let told =
        told(&TEN_LINES.replace("[[integration]]", "[[integrations]]"), &Environment::default());
    assert!(told.contains("integrations: there is no section [[integrations]]"), "{told}");
}

#[test]
fn brackets_of_the_wrong_kind_are_the_only_finding() {
    for (from, to, hint) in [
        ("[coralogix]", "[[coralogix]]", "write [coralogix], with one bracket on each side"),
        ("[[integration]]", "[integration]", "write [[integration]], with two brackets"),
    ] {
        let told = told(&TEN_LINES.replacen(from, to, 1), &Environment::default());
        assert_eq!(told.matches("S1C-E").count(), 1, "{from}:\n{told}");
        assert!(told.contains(hint), "{from}:\n{told}");
    }
    // A name that is close to none: the cause comes before what follows from it.
    let told = told(&TEN_LINES.replace("[[integration]]", "[[tenants]]"), &Environment::default());
    assert!(told.starts_with("c.toml:6:3: S1C-E303 tenants: "), "{told}");
}

/// Whatever is written by replacing it must be no file that is needed.
#[test]
fn a_file_that_is_replaced_is_no_other_one() {
    let more = "[network]\nca_file = \"/etc/ca.pem\"\n[queue]\ndir = \"/var/q\"\n";
    let told = |lines: &str| {
        let text = format!("{TEN_LINES}{more}{lines}\n");
        told_of(
            &[Source::text("/etc/c.toml", &text), Source::text("/etc/c.d/1.toml", "")],
            &Environment::default(),
        )
    };
    for (file, other) in [
        ("/etc/s1-coralogix/coralogix.key", "coralogix.api_key_file"),
        ("/etc/./s1-coralogix//x/../acme.token", "integration.api_token_file"),
        ("/etc/ca.pem", "network.ca_file"),
        ("/etc/c.toml", "the config"),
        ("/etc/c.d/1.toml", "the config"),
        ("/var/q/lock", "queue.dir"),
        ("/var/q/log/0000000000000001.log", "queue.dir"),
        ("/var/q", "queue.dir"),
    ] {
        for section in ["status", "metrics"] {
            let told = told(&format!("[{section}]\nfile = \"{file}\""));
            let finding = format!("S1C-E342 {section}.file: ");
            assert_eq!(told.matches("S1C-E").count(), 1, "{file}\n{told}");
            assert!(told.contains(&finding) && told.contains(other), "{file}\n{told}");
            assert!(told.contains("hint: "), "{told}");
        }
    }
    let both = |status: &str, metrics: &str| {
        told(&format!("[status]\nfile = \"{status}\"\n[metrics]\nfile = \"{metrics}\""))
    };
    for (status, metrics) in
        [("/run/a", "/run/a"), ("/run/a", "/run/a.new"), ("/run/a.new", "/run/a")]
    {
        let told = both(status, metrics);
        assert_eq!(told.matches("S1C-E342").count(), 1, "{told}");
        assert!(told.contains("status.file") && told.contains("metrics.file"), "{told}");
    }
    assert_eq!(both("/var/q/status.json", "/etc/s1-coralogix/s1.prom"), "");
}

#[test]
fn a_stream_that_there_is_not_is_no_other_one() {
    let told = told_with("integration", "streams = [\"agents\"]");
    assert!(told.contains("the streams are \"threats\", \"activities\" and \"alerts\""), "{told}");
}

#[test]
fn an_inline_secret_wants_a_private_file() {
    let text = TEN_LINES
        .replace("api_key_file = \"/etc/s1-coralogix/coralogix.key\"", "api_key = \"s3cret\"");
    let with = |mode| {
        let source = Source { mode: Some(mode), ..Source::text("c.toml", &text) };
        told_of(&[source], &Environment::default())
    };
    assert_eq!(with(0o100_600), "");
    assert!(
        with(0o100_640)
            .contains("warning: S1C-W334 coralogix.api_key: a secret is in a file that its group")
    );
    assert!(
        with(0o100_644).contains(
            "4:11: S1C-E333 coralogix.api_key: a secret is in a file that every user can"
        )
    );
    assert!(!with(0o100_644).contains("s3cret"));
}

#[test]
fn the_environment_gives_what_the_config_does_not() {
    let text = "[coralogix]\ndomain = \"eu2.coralogix.com\"\n[[integration]]\nname = \"a\"\ntenant = \"a.sentinelone.net\"\n";
    let secret = |text| Some(Secret::new(text));
    let environment = Environment {
        coralogix_api_key: secret("k"),
        s1_api_token: secret("t"),
        ..Environment::default()
    };
    let config = good(text, &environment);
    let key = Secret::new("k").unwrap();
    let expected = SecretSource::Environment { name: "CORALOGIX_API_KEY", secret: key };
    assert_eq!(config.coralogix.api_key, expected);

    let two = format!("{text}[[integration]]\nname = \"b\"\ntenant = \"b.sentinelone.net\"\n");
    let two = told(&two, &environment);
    assert_eq!(two.matches("S1_API_TOKEN is only used with a single").count(), 2, "{two}");

    let both = told(TEN_LINES, &environment);
    assert_eq!(both.matches("the config takes precedence").count(), 2, "{both}");

    let broken = Environment { coralogix_api_key: secret("s3cret x"), ..environment };
    let broken = told(text, &broken);
    assert!(broken.contains("CORALOGIX_API_KEY in the environment is no secret: "), "{broken}");
    assert!(!broken.contains("s3cret"));
}

#[test]
fn a_credential_without_systemd_is_only_a_warning() {
    let text = TEN_LINES.replace("/etc/s1-coralogix/acme.token", "$CREDENTIALS_DIRECTORY/acme");
    let (config, warnings) = parse(&[Source::text("c", &text)], &Environment::default()).unwrap();
    let path = PathBuf::from("/run/credentials/s1-coralogix.service/acme");
    assert_eq!(config.integrations[0].api_token, SecretSource::File(path));
    assert_eq!(warnings.len(), 1);
    let bad = text.replace("DIRECTORY/acme", "DIRECTORY/../acme");
    assert!(parse(&[Source::text("c", &bad)], &Environment::default()).is_err());
}

#[test]
fn no_finding_shows_a_secret_wherever_it_was_put() {
    for text in [
        "[coralogix]\napi_key = s3cret\n",
        "[coralogix]\napi_key = \"s3cret\n",
        "[coralogix]\napi_key = \"\"\"\ns3cret==\n\n\"\"",
        "[coralogix]\napi_key = \"s3cret x\"\n",
        "[coralogix]\napi_kye = \"s3cret\"\n",
        "[coralogix]\napi_key_file = \"s3cret\"\n",
        "[coralogix]\napi_key = [\"s3cret\"]\n",
        "[coralogix]\nurl = \"https://u:s3cret@ingress.eu2.coralogix.com\"\n",
        "coralogix = { domain = \"x\", api_key = \"s3cret\" }\n",
        "coralogix = { domain = \"x\", api_key = \"s3cret\" \n",
        "api_key = \"s3cret\"\n",
        "[coralogix] api_key = \"s3cret\"\n",
        "[secrets]\na = { b = [ \"s3cret\" ] }\n",
        "[[integration]]\napi_token s3cret\n",
        "[[integration]]\ntoken = \"s3cret\"\n",
        "integration = [\"s3cret\"]\n",
        "[network]\nproxy = \"http://u:s3cret/@p\"\n",
        "[network]\nproxy = \"https://u:s3cret@p:1\"\n",
        "[network]\nproxy = http://u:s3cret@p:1\n",
    ] {
        let source = Source { mode: Some(0o644), ..Source::text("c", text) };
        let findings = parse(&[source], &Environment::default()).unwrap_err();
        assert!(!findings.to_string().contains("s3cret"), "{text}\n{findings}");
        assert!(!format!("{findings:?}").contains("s3cret"), "{text}\n{findings:?}");
    }
}

#[test]
fn whatever_a_slip_of_the_finger_makes_is_told_without_a_panic_or_a_secret() {
    let whole = example::render()
        .replace("#     api_key = \"...\"", "api_key = \"s3cret/s3cret==\"")
        .replace("api_key_file", "#api_key_file");
    let mut prng = Prng::new(1);
    let mut told = 0;
    for _ in 0..3_000 {
        let mut text: Vec<char> = whole.chars().collect();
        for _ in 0..=prng.below(3) {
            let at = prng.below(text.len() as u64) as usize;
            match prng.below(4) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, ['"', '[', '{', '=', '\n', 'é', '\\', '\''][at % 8]),
                2 => text.swap(at, at.saturating_sub(1)),
                _ => text.truncate(text.len().max(100) - 10),
            }
        }
        let text: String = text.into_iter().collect();
        let source = Source { mode: Some(0o644), ..Source::text("c", &text) };
        let Err(findings) = parse(&[source], &Environment::default()) else { continue };
        let shown = format!("{findings}\n{findings:?}");
        assert!(!shown.contains("s3cret"), "{text}\n{findings}");
        told += 1;
    }
    assert!(told > 1_000, "{told}");
}
