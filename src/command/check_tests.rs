//! Tests of what `check` writes and how it ends.

use super::*;
use crate::config::SecretSource;
use crate::net::loopback::{Server, answer, config, inline, receive};

fn plain(proxies: &ProxyEnvironment) -> CheckOptions<'_> {
    CheckOptions {
        offline: false,
        strict: false,
        json: false,
        utf8: false,
        colour: false,
        columns: None,
        journal: false,
        proxies,
    }
}

fn run(config: &Config, offline: bool, utf8: bool) -> (String, Exit) {
    let mut out = Vec::new();
    let file = Path::new("/etc/s1-coralogix/config.toml");
    let ended = check(
        config,
        &[],
        file,
        CheckOptions { offline, utf8, ..plain(&ProxyEnvironment::default()) },
        &mut out,
    )
    .unwrap();
    (String::from_utf8(out).unwrap(), ended)
}

#[test]
fn offline_reads_config_and_secrets_and_sends_nothing() {
    let server = Server::start(None, |_, _| {});
    let base = format!("http://127.0.0.1:{}", server.port);
    let (text, ended) = run(&config(&base, inline("tok"), inline("key")), true, false);
    assert_eq!(ended, Exit::Done);
    assert_eq!(server.accepted(), 0);
    for line in [
        "config /etc/s1-coralogix/config.toml\n",
        "\n  ok   config                valid\n",
        "\n  ok   queue                 /",
        "\n  ok   status file           /",
        &format!("\nintegration acme ({base})\n"),
        &format!("\nCoralogix ({base})\n  ok   secret                read from the config file\n"),
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(
        text.ends_with("\noffline checks passed; the services were not contacted (--offline)\n")
    );
    assert!(text.lines().count() == 9, "{text}");
}

#[test]
fn the_failure_a_person_must_act_on_decides_the_exit_code() {
    let server = Server::start(None, |wire, _| {
        while let Some(request) = receive(wire) {
            let tenant = request.head.contains("/web/api/");
            let status = if tenant { "401 No" } else { "503 Later" };
            answer(
                wire,
                status,
                "",
                br#"{"errors":[{"code":4010010,"title":"Authentication Failed"}]}"#,
            );
        }
    });
    let base = format!("http://127.0.0.1:{}", server.port);
    let mut config = config(&base, inline("tok"), inline("key"));
    let (text, ended) = run(&config, false, true);
    assert_eq!(ended, Exit::Refused);
    assert_eq!(ended as u8, 77);
    assert!(text.contains("\n  \u{2717} token "), "{text}");
    assert!(text.contains("generate a new API token"), "{text}");
    assert!(text.contains("- threats "), "{text}");
    assert!(text.ends_with("a credential or permission is rejected, see above\n"), "{text}");

    config.coralogix.api_key = SecretSource::File("/nonexistent/key".into());
    let (text, ended) = run(&config, false, true);
    assert_eq!((ended, ended as u8), (Exit::Config, 78), "{text}");
}

#[test]
fn an_unusable_queue_is_told_with_its_remedy_and_priority() {
    let mut config = config("http://127.0.0.1:9", inline("t"), inline("k"));
    // No directory, which not even root can change.
    config.queue.dir = "/dev/null/queue".into();
    let mut out = Vec::new();
    let proxies = ProxyEnvironment::default();
    let how = CheckOptions {
        offline: true,
        utf8: true,
        columns: Some(80),
        journal: true,
        ..plain(&proxies)
    };
    let ended = check(&config, &[], Path::new("/etc/c.toml"), how, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(ended, Exit::Config);
    assert!(text.contains("\n<3>  \u{2717} queue  "), "{text}");
    assert!(text.contains("Set queue.dir to "), "{text}");
    for line in text.lines() {
        assert!(line.starts_with("<3>") || line.starts_with("<6>"), "{line}");
        assert!(line.chars().count() <= 83, "{line}");
    }
}

#[test]
fn a_service_that_is_down_is_worth_another_try() {
    let (text, ended) =
        run(&config("http://tenant.invalid", inline("t"), inline("k")), false, false);
    assert_eq!((ended, ended as u8), (Exit::TryLater, 75), "{text}");
    assert!(text.contains("FAIL DNS "), "{text}");
}

#[test]
fn a_bad_network_setting_is_told_before_anything_is_tried() {
    let mut config = config("http://127.0.0.1:9", inline("t"), inline("k"));
    config.network.ca_file = Some("/nonexistent/ca.pem".into());
    let (text, ended) = run(&config, false, false);
    assert_eq!(ended, Exit::Config);
    assert!(text.contains("FAIL config "), "{text}");
    assert!(text.contains("/nonexistent/ca.pem: No such file"), "{text}");
}

#[test]
fn a_mark_is_coloured_and_nothing_else_of_a_step() {
    let config = config("http://127.0.0.1:9", inline("t"), inline("k"));
    let proxies = ProxyEnvironment::default();
    let [coloured, bare] = [true, false].map(|colour| {
        let how = CheckOptions { offline: true, colour, ..plain(&proxies) };
        let mut out = Vec::new();
        check(&config, &[], Path::new("/etc/c.toml"), how, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    });
    assert!(coloured.contains("  \x1b[32mok  \x1b[0m secret "), "{coloured}");
    assert!(!bare.contains('\x1b'), "{bare}");
}

/// A finding that does not stop the program.
fn warning() -> Finding {
    let text = "[coralogix]\ndomain = \"a.b\"\napi_key_file = \"/k\"\n[[integration]]\nname = \"a\"\n\
                tenant = \"a.b\"\napi_token_file = \"/t\"\n[[integration]]\nname = \"b\"\n\
                tenant = \"a.b\"\napi_token_file = \"/t\"\n";
    let sources = [crate::config::Source::text("c.toml", text)];
    let (_, found) = crate::config::parse(&sources, &Default::default()).unwrap();
    let [finding] = &found[..] else { panic!("{found:?}") };
    finding.clone()
}

#[test]
fn a_warning_of_the_config_counts_like_any_other() {
    let config = config("http://127.0.0.1:9", inline("t"), inline("k"));
    let proxies = ProxyEnvironment::default();
    let with = |strict, json| {
        let how = CheckOptions { offline: true, strict, json, ..plain(&proxies) };
        let mut out = Vec::new();
        let ended = check(&config, &[warning()], Path::new("/etc/c.toml"), how, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), ended)
    };
    let (text, ended) = with(false, false);
    assert_eq!(ended, Exit::Done);
    assert!(
        text.contains("note config                c.toml:10:10: integration.tenant: "),
        "{text}"
    );
    assert!(text.contains("[S1C-W311]\n"), "{text}");
    assert!(text.ends_with("; 1 warning\n"), "{text}");
    let (text, ended) = with(true, false);
    assert_eq!(ended, Exit::Failed, "{text}");
    let (text, _) = with(false, true);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["result"], "warnings");
    let step = &document["sections"][0]["steps"][1];
    assert_eq!(step["cause"], "config_doubtful");
    assert_eq!(step["code"], "S1C-W311");
    assert!(step["remedy"].as_str().unwrap().contains("delivered twice"), "{step}");
}

#[test]
fn a_config_that_could_not_be_read_is_told_from_a_wrong_one() {
    let problem = || Problem::new("why", "The remedy of it");
    for (exit, cause, why) in [
        (Exit::TryLater, "system_refuses", ConfigError::System(problem())),
        (Exit::Config, "config_invalid", ConfigError::Unreadable(problem())),
        (Exit::Config, "config_invalid", ConfigError::Denied(problem())),
    ] {
        let mut out = vec![];
        let proxies = ProxyEnvironment::default();
        let how = CheckOptions { json: true, ..plain(&proxies) };
        assert_eq!(unusable(Path::new("/etc/c.toml"), how, &why, &mut out).unwrap(), exit);
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains(&format!("\"cause\": \"{cause}\"")), "{out}");
        assert!(out.contains("\"remedy\": \"The remedy of it\""), "{out}");
    }
}
