//! Tests of the probe against small servers on loopback.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::interpret;
use super::remote;
use super::sample::Sample;
use super::step::{Outcome, Step};
use crate::cause::{Cause, ExitClass};
use crate::config::{Config, SecretSource};
use crate::core::Reason;
use crate::edge::system::Services;
use crate::limits::PAGE_BYTES_MAX;
use crate::net::loopback::{Server, Wired, answer, config, inline, proxy, receive};
use crate::net::proxy::ProxyEnvironment;
use crate::net::wire::Steps;
use crate::problem::Problem;
use crate::record::{Answer, Kind, NetTrouble, SourceTrouble};
use crate::s1::verdict::info_verdict;
use crate::secret::Secret;
use crate::test_world::temp::TempDir;
use crate::test_world::tls::Authority;
use crate::time::Stamp;

/// Both services agree on it, so it is this machine's clock that is off.
const DATE: &str = "Sat, 06 Nov 2094 08:49:37 GMT";

/// What a small SentinelOne and Coralogix answer, by the beginning of the request line.
type Table = &'static [(&'static str, &'static str, &'static str)];

const GOOD: Table = &[
    ("GET /web/api/v2.1/system/info", "200 OK", r#"{"data":{"release":"Quebec SP1"}}"#),
    ("GET /web/api/v2.1/threats", "200 OK", r#"{"data":[]}"#),
    ("GET /web/api/v2.1/activities", "200 OK", r#"{"data":[]}"#),
    (
        "POST /web/api/v2.1/users/api-token-details",
        "200 OK",
        r#"{"data":{"expiresAt":"2124-11-01T00:00:00Z"}}"#,
    ),
    ("POST /logs/v1/singles", "200 OK", ""),
];

/// Answers by the first of the tables that knows the request.
fn service(tables: [Table; 2]) -> impl Fn(&mut dyn Wired, usize) + Send + Sync + 'static {
    move |wire, _| {
        while let Some(request) = receive(wire) {
            let row = tables.iter().flat_map(|table| table.iter());
            let (status, body) = row
                .clone()
                .find(|(line, ..)| request.head.starts_with(line))
                .map_or(("404 Not Found", "no such place"), |(_, status, body)| (*status, *body));
            // As Coralogix does: a key that nobody issued opens nothing.
            let takes = ["2", "400", "422"].iter().any(|takes| status.starts_with(takes));
            let is_known =
                ["key", "tok"].iter().any(|key| request.head.contains(&format!(" {key}\r\n")));
            let status = if takes && !is_known { "401 Unauthorized" } else { status };
            answer(wire, status, &format!("Date: {DATE}\r\n"), body.as_bytes());
        }
    }
}

/// A sink that rejects an empty array whatever the key is, and checks the key of a record or not.
fn content_first(checks_keys: bool) -> (Server, Config) {
    let server = Server::start(None, move |wire, _| {
        while let Some(request) = receive(wire) {
            let is_record = inflated(&request.body) != b"[]";
            let is_known = request.head.contains(" key\r\n");
            assert!(!(is_record && is_known), "no record is sent with a real key");
            let status = match is_record && checks_keys {
                true => "401 Unauthorized",
                false => "400 Bad Request",
            };
            answer(wire, status, &format!("Date: {DATE}\r\n"), b"{}");
        }
    });
    let base = format!("http://127.0.0.1:{}", server.port);
    let config = config(&base, inline("tok"), inline("key"));
    (server, config)
}

fn inflated(gzip: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(gzip).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn who_rejects_an_empty_array_shows_with_a_record_whether_keys_are_checked() {
    let (_server, config) = content_first(true);
    let steps = team(&config);
    assert!(outline(&steps).ends_with("domain+ key!"), "{steps:?}");
    let (_server, config) = content_first(false);
    let (what, remedy, fault) = failure(&team(&config));
    assert!(what.contains("an empty array and a record alike (HTTP 400: {})"), "{what}");
    assert!(remedy.starts_with("Set coralogix.domain"), "{remedy}");
    assert_eq!(fault, Cause::NotCoralogix);
}

fn plain(table: Table) -> (Server, Config) {
    let server = Server::start(None, service([table, GOOD]));
    let base = format!("http://127.0.0.1:{}", server.port);
    let config = config(&base, inline("tok"), inline("key"));
    (server, config)
}

fn services(config: &Config) -> Services {
    Services::new(config, &ProxyEnvironment::default(), &Arc::default(), &Arc::default()).unwrap()
}

fn tenant(config: &Config) -> Vec<Step> {
    let mut steps = Vec::new();
    let service = &mut services(config).tenants[0];
    let report = &mut |step| steps.push(step);
    let integration = &config.integrations[0];
    let (whole, most) = (config.network.whole(), PAGE_BYTES_MAX);
    let sample = |kind: &Kind| Sample { kind: *kind, rows: 1_000, whole, most };
    let samples: Vec<Sample> = integration.streams.iter().map(sample).collect();
    let third = &mut || Stamp::parse_http_date(DATE);
    remote::tenant(service, integration, &samples, third, report);
    steps
}

fn team(config: &Config) -> Vec<Step> {
    let mut steps = Vec::new();
    let report = &mut |step| steps.push(step);
    remote::team(&mut services(config).sink, &mut || Stamp::parse_http_date(DATE), report);
    steps
}

/// The steps as `name+`, `name!` for a note, `name-` for skipped, and `name:` for failed.
fn outline(steps: &[Step]) -> String {
    let marks = steps.iter().map(|step| {
        let mark = match step.outcome {
            Outcome::Passed(_) => '+',
            Outcome::Noted(_) => '!',
            Outcome::Skipped(_) => '-',
            Outcome::Failed(_) => ':',
        };
        format!("{}{mark}", step.name.shown())
    });
    marks.collect::<Vec<_>>().join(" ")
}

fn failure(steps: &[Step]) -> (String, String, Cause) {
    let mut failed = steps.iter().filter_map(|step| match &step.outcome {
        Outcome::Failed(fault) => Some((fault.what.clone(), fault.remedy.clone(), fault.cause)),
        _ => None,
    });
    let first = failed.next().expect("a step failed");
    assert!(failed.next().is_none(), "what depends on a failure is skipped: {steps:?}");
    first
}

fn passed(steps: &[Step], name: &str) -> String {
    let step = steps.iter().find(|step| step.name.shown() == name).unwrap();
    match &step.outcome {
        Outcome::Passed(text) => text.clone(),
        Outcome::Noted(fault) => fault.what.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

/// What `check` as a whole tells.
#[derive(Default)]
struct Told(Vec<Step>);

impl super::Listener for Told {
    fn head(&mut self, _about: &'static str, _name: Option<&str>, _place: &str) {}

    fn step(&mut self, step: Step) {
        self.0.push(step);
    }
}

fn whole(config: &Config, offline: bool) -> Vec<Step> {
    let proxies = &ProxyEnvironment::default();
    let mut told = Told::default();
    let file = Path::new("/nonexistent/config.toml");
    super::check(config, &[], file, super::Scope { offline, proxies }, &mut told);
    told.0
}

#[test]
fn the_queue_and_all_that_is_forgotten_is_told_before_the_services() {
    let dir = TempDir::new("check-whole");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1/waiting/queue");
    let mut config = config("http://127.0.0.1:9", inline("tok"), inline("key"));
    config.queue.dir = dir.path().join("queue");
    config.status_file = dir.path().join("status.json");
    let steps = whole(&config, true);
    assert_eq!(outline(&steps), "config+ queue+ status file+ secret+ secret+");

    std::fs::create_dir_all(config.queue.dir.join("log")).unwrap();
    for name in ["checkpoint", "log/0000000000000001.log"] {
        std::fs::copy(from.join(name), config.queue.dir.join(name)).unwrap();
    }
    config.metrics_file = Some(dir.path().join("metrics.prom"));
    config.integrations[0].start = crate::record::Start::At(Stamp::parse_http_date(DATE).unwrap());
    // A queue before this one, in which the same records wait.
    let was = dir.path().join("was");
    std::fs::create_dir_all(was.join("log")).unwrap();
    for name in ["checkpoint", "log/0000000000000001.log"] {
        std::fs::copy(from.join(name), was.join(name)).unwrap();
    }
    let left = format!("[{{\"dir\":\"{}\"}}]", was.display());
    std::fs::write(config.queue.dir.join("left-behind"), left).unwrap();
    let steps = whole(&config, true);
    assert_eq!(
        outline(&steps),
        "config+ queue+ queue! positions! status file+ metrics+ secret+ start: secret+"
    );
    assert!(passed(&steps, "queue").contains(" can be written, "), "nobody uses it: {steps:?}");
    let orphan = passed(&steps, "positions");
    assert!(orphan.starts_with("the queue has acme/alerts up to 2026-11-03T"), "{orphan}");
    assert!(!super::remembered::Remembered::of(&config).is_new());
    let integration = &mut config.integrations[0];
    (integration.name, integration.name_was) = ("two".to_owned(), Some("acme".to_owned()));
    let steps = outline(&whole(&config, true));
    assert!(!steps.contains("positions"), "the next start follows name_was: {steps}");
    config.queue.dir = dir.path().join("none");
    assert!(super::remembered::Remembered::of(&config).is_new());
}

#[test]
fn coralogix_clock_is_compared_with_a_tenants_where_it_differs_from_this_machines() {
    let (_server, config) = plain(&[]);
    let steps = whole(&config, false);
    let clocks: Vec<_> = steps.iter().filter(|step| step.name.shown() == "clock").collect();
    assert_eq!(clocks.len(), 2);
    for clock in clocks {
        let Outcome::Noted(fault) = &clock.outcome else { panic!("both agree: {clock:?}") };
        assert_eq!(fault.cause, Cause::ClockOff);
    }
}

#[test]
fn a_secret_that_the_system_can_not_read_is_no_wrong_secret() {
    let mut config = config("http://127.0.0.1:9", inline("tok"), inline("key"));
    config.integrations[0].api_token = SecretSource::File("/proc/self/mem".into());
    let steps = whole(&config, true);
    let (_, _, cause) = failure(&steps);
    assert_eq!(cause, Cause::SystemRefuses);
}

/// A config whose network trusts this authority, and where its file lives.
fn trusting(authority: &Authority, port: u16) -> (TempDir, Config) {
    let dir = TempDir::new("remote-checks");
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    let mut config = config(&format!("https://localhost:{port}"), inline("tok"), inline("key"));
    config.network.ca_file = Some(path);
    config.network.allow_http = false;
    (dir, config)
}

#[test]
fn a_good_way_passes_every_step_and_says_who_signed() {
    let authority = Authority::new("Test CA");
    let server =
        Server::start(Some(authority.server_until("localhost", 2090)), service([GOOD, &[]]));
    let (_dir, config) = trusting(&authority, server.port);
    let steps = tenant(&config);
    assert_eq!(
        outline(&steps),
        "secret+ DNS+ TCP+ TLS+ answer+ clock! token+ threats+ activities+ token expiry+"
    );
    assert_eq!(passed(&steps, "TLS"), "TLS 1.3, signed by Test CA, valid until 2090-01-01");
    assert!(passed(&steps, "clock").contains("behind the service's"), "{steps:?}");
    assert_eq!(passed(&steps, "token"), "accepted, console Quebec SP1");
    assert_eq!(passed(&steps, "answer"), "HTTP 200");
    assert!(passed(&steps, "threats").contains("Endpoint Threats: View"));
    assert!(passed(&steps, "token expiry").starts_with("it expires on 2124-11-01, in "));
    let steps = team(&config);
    assert_eq!(outline(&steps), "secret+ DNS+ TCP+ TLS+ answer+ clock! domain+ key+");
}

#[test]
fn a_missing_permission_is_named_and_the_other_stream_goes_on() {
    let (_server, config) = plain(&[(
        "GET /web/api/v2.1/threats",
        "403 Forbidden",
        r#"{"errors":[{"code":4030010}]}"#,
    )]);
    let steps = tenant(&config);
    assert!(outline(&steps).ends_with("token+ threats: activities+ token expiry+"), "{steps:?}");
    let (what, remedy, fault) = failure(&steps);
    assert!(what.contains("\"Endpoint Threats: View\" is missing"), "{what}");
    assert!(remedy.contains("role of the service user"), "{remedy}");
    assert_eq!(fault, Cause::PermissionMissing);
}

/// `run --once` ends with 77 for a credential, and with 75 for a rejection that is not about one.
fn ends_like_run(status: &str, body: &str, fault: Cause) {
    let said = Answer {
        status: status[..3].parse().unwrap(),
        body: body.as_bytes().to_vec(),
        ..Answer::default()
    };
    let is_credentials = match info_verdict(&said) {
        Err(SourceTrouble::TokenRefused(_)) => true,
        Err(SourceTrouble::Forbidden(refusal)) => Reason::of_refusal(&refusal).is_credential(),
        _ => false,
    };
    match (is_credentials, said.status) {
        (true, _) => assert_eq!(fault.exit_class(), ExitClass::Refused, "{body}"),
        (false, 401 | 403 | 451) => {
            assert_eq!(fault.exit_class(), ExitClass::Unreachable, "{body}");
        }
        _ => {}
    }
}

#[test]
fn what_the_console_says_to_the_token_decides_what_to_do() {
    const INFO: &str = "GET /web/api/v2.1/system/info";
    const PAGE: &str = "<html><title>403</title>Your IP address is not allowed</html>";
    let dead = r#"{"errors":[{"code":4010010,"detail":null,"title":"Authentication Failed"}]}"#;
    let scope = r#"{"errors":[{"code":4030010,"detail":"User scope level is account."}]}"#;
    let role = r#"{"errors":[{"code":4030010,"detail":null,"title":"Insufficient permissions"}]}"#;
    let half = r#"{"data":{"release":"x"},"errors":[{"title":"half of it failed"}]}"#;
    let ended = r#"{"errors":[{"code":4030010,"detail":"The API token has expired"}]}"#;
    let other = r#"{"errors":[{"code":4030010,"detail":"a second factor is required"}]}"#;
    let rate = r#"{"errors":[{"code":4030010,"detail":"Too many requests, rate limit exceeded"}]}"#;
    let maint = r#"{"errors":[{"code":4010010,"detail":"unavailable, try again later"}]}"#;
    let jwt = r#"{"message":"Jwt is missing"}"#;
    let (moved, gone) = ("302 Found\r\nLocation: https://new.example/?t=s3cret", "503 Gone\u{fc}");
    let cases: [(&'static str, &'static str, &str, &str, Cause); 20] = [
        ("401 Unauthorized", dead, "HTTP 401: Auth", "Check that", Cause::TokenRefused),
        ("401 Unauthorized", dead, "(4010010)", "generate a new API token", Cause::TokenRefused),
        ("401 Unauthorized", PAGE, "HTTP 401: 403 Your IP", "Allow the", Cause::AddressRefused),
        ("403 Forbidden", PAGE, "address is not allowed)", "Allow the", Cause::AddressRefused),
        ("401 Unauthorized", "", "HTTP 401, without a word", "leave that", Cause::AddressRefused),
        ("451 Unavailable", "", "HTTP 451, without a word", "Allow the", Cause::AddressRefused),
        (
            "403 Forbidden",
            scope,
            "User scope level is account.",
            "Roles don't matter",
            Cause::ScopeMissing,
        ),
        ("403 Forbidden", role, "HTTP 403: Insufficient", "the role", Cause::PermissionMissing),
        ("403 Forbidden", ended, "token has expired", "leave that as it is", Cause::UnknownAnswer),
        ("403 Forbidden", other, "a second factor", "Follow the message", Cause::UnknownAnswer),
        ("403 Forbidden", rate, "rate limit exceeded", "Try again", Cause::Busy),
        ("401 Unauthorized", maint, "try again later", "Try again", Cause::Busy),
        ("401 Unauthorized", "{}", "HTTP 401: {}", "leave that", Cause::AddressRefused),
        ("401 Unauthorized", jwt, "Jwt is missing", "leave that", Cause::AddressRefused),
        (moved, "", "a redirect to new.example", "It leads to new.example", Cause::NotAConsole),
        ("200 OK", "<html>hi", "HTTP 200: <html>hi", "Set tenant", Cause::LoginPage),
        ("200 OK", half, "HTTP 200: half of it failed", "Try again", Cause::UnknownAnswer),
        ("404 Not Found", "", "HTTP 404", "Set tenant", Cause::NotAConsole),
        ("407 Password", "", "asks for a password", "network.proxy", Cause::ProxyRefuses),
        (gone, "\x1b[2J x", "503: [2J x", "Try again", Cause::Busy),
    ];
    for (status, body, what, remedy, fault) in cases {
        let table: Table = Box::leak(Box::new([(INFO, status, body)]));
        let (_server, config) = plain(table);
        let steps = tenant(&config);
        assert!(
            outline(&steps).ends_with("token: threats- activities- token expiry-"),
            "{steps:?}"
        );
        let failure = failure(&steps);
        assert!(failure.0.contains(what), "{what}: {failure:?}");
        assert!(failure.1.contains(remedy), "{remedy}: {failure:?}");
        assert_eq!(failure.2, fault);
        let ends_the_token = failure.1.contains("generate a new");
        assert_eq!(ends_the_token, fault == Cause::TokenRefused, "{failure:?}");
        ends_like_run(status, body, fault);
        assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
    }
}

#[test]
fn what_a_stream_is_refused_for_decides_what_to_do() {
    const LIST: &str = "GET /web/api/v2.1/threats";
    let dead = r#"{"errors":[{"code":4010010,"detail":null,"title":"Authentication Failed"}]}"#;
    let rules = r#"{"errors":[{"detail":"This scope does not have Custom Rules enabled."}]}"#;
    let late = r#"{"data":[],"errors":[{"detail":"shard 3 is late"}]}"#;
    let ended = r#"{"errors":[{"code":4030010,"detail":"The API token has expired"}]}"#;
    let cases: [(&'static str, &'static str, &str, &str, Cause); 15] = [
        ("403 Forbidden", ended, "token has expired", "leave that as it is", Cause::UnknownAnswer),
        ("401 Unauthorized", dead, "HTTP 401: Auth", "role of the", Cause::PermissionMissing),
        ("403 Forbidden", rules, "Custom Rules enabled.", "from streams", Cause::ScopeMissing),
        ("403 Forbidden", "<p>Blocked</p>", "HTTP 403: Blocked", "Allow", Cause::AddressRefused),
        ("400 Bad Request", "{}", "HTTP 400", "may not offer", Cause::QueryRefused),
        ("404 Not Found", "{}", "HTTP 404", "may not offer", Cause::QueryRefused),
        ("405 Not Allowed", "", "HTTP 405", "Let requests to", Cause::AnsweredBetween),
        ("414 Too Long", "", "HTTP 414", "Let requests to", Cause::AnsweredBetween),
        ("400 Bad Request", "<p>no", "HTTP 400: <p>no", "Let requests", Cause::AnsweredBetween),
        ("404 Not Found", "<p>no", "HTTP 404: <p>no", "Let requests", Cause::AnsweredBetween),
        (
            "302 Found\r\nLocation: https://login.example/?s3cret",
            "",
            "login.example",
            "Let requests",
            Cause::AnsweredBetween,
        ),
        ("407 Password", "<p>no", "asks for a password", "network.proxy", Cause::ProxyRefuses),
        ("200 OK", "<p>log in", "web page", "Let requests", Cause::AnsweredBetween),
        ("200 OK", late, "shard 3 is late", "Try again", Cause::UnknownAnswer),
        ("200 OK", r#"{"data":[],"data":[]}"#, "twice", "Try again", Cause::UnknownAnswer),
    ];
    for (status, body, what, remedy, fault) in cases {
        let table: Table = Box::leak(Box::new([(LIST, status, body)]));
        let (_server, config) = plain(table);
        let failure = failure(&tenant(&config));
        assert!(failure.0.contains(what) && failure.1.contains(remedy), "{failure:?}");
        assert!(!failure.1.contains("generate a new"), "{failure:?}");
        assert_eq!(failure.2, fault);
    }
}

#[test]
fn a_key_is_judged_by_coralogix_alone_and_its_kind_told_by_its_beginning() {
    const POST: &str = "POST /logs/v1/singles";
    const PAGE: &str = "<html>Access denied by policy</html>";
    for (status, key, words, fault) in [
        ("401 Unauthorized", "cxup_made_up", "this is a personal key", Cause::KeyUnknown),
        ("403 Forbidden", "cxup_made_up", "this is a personal key", Cause::KeyWrongKind),
        ("403 Forbidden", "cxtp_made_up", "prefix of such a key (cxtp_)", Cause::KeyWrongKind),
        ("403 Forbidden", "made_up", "personal keys and query keys", Cause::KeyWrongKind),
    ] {
        let table: Table = Box::leak(Box::new([(POST, status, "")]));
        let (_server, mut config) = plain(table);
        config.coralogix.api_key = inline(key);
        let failure = failure(&team(&config));
        assert!(failure.1.contains(words), "{failure:?}");
        assert_eq!(failure.2, fault);
    }
    for (status, fault) in [
        ("401 Unauthorized", Cause::SinkBlocked),
        ("403 Forbidden", Cause::SinkBlocked),
        ("411 Length Required", Cause::NotCoralogix),
        ("413 Too Large", Cause::NotCoralogix),
        ("418 Teapot", Cause::NotCoralogix),
    ] {
        let table: Table = Box::leak(Box::new([(POST, status, PAGE)]));
        let (_server, config) = plain(table);
        let failure = failure(&team(&config));
        assert!(failure.0.contains("Access denied by policy"), "{failure:?}");
        assert_eq!(failure.2, fault);
    }
}

#[test]
fn what_coralogix_says_to_an_empty_array_decides_what_to_do() {
    const POST: &str = "POST /logs/v1/singles";
    let cases: [(Table, &str, Option<Cause>); 13] = [
        (&[(POST, "200 OK", "")], "an empty array was accepted", None),
        (&[(POST, "204 No Content", "")], "an empty array was accepted", None),
        (&[(POST, "400 Bad Request", "")], "the key was accepted", None),
        (&[(POST, "401 Unauthorized", "")], "Send-Your-Data", Some(Cause::KeyUnknown)),
        (&[(POST, "403 Forbidden", "")], "Send-Your-Data", Some(Cause::KeyWrongKind)),
        (&[(POST, "404 Not Found", "")], "coralogix.domain", Some(Cause::NotAnIngress)),
        (&[(POST, "301 Moved", "")], "coralogix.domain", Some(Cause::NotAnIngress)),
        (&[(POST, "421 Misdirected", "")], "coralogix.domain", Some(Cause::NotAnIngress)),
        (&[(POST, "407 Password", "")], "user and password", Some(Cause::ProxyRefuses)),
        (&[(POST, "402 Payment", "")], "waits and retries", Some(Cause::Busy)),
        (&[(POST, "425 Too Early", "")], "waits and retries", Some(Cause::Busy)),
        (&[(POST, "429 Too Many", "")], "waits and retries", Some(Cause::Busy)),
        (&[(POST, "418 Teapot", "")], "what this response means", Some(Cause::UnknownAnswer)),
    ];
    for (table, words, fault) in cases {
        let (_server, config) = plain(table);
        let steps = team(&config);
        match fault {
            None => assert!(passed(&steps, "key").contains(words), "{steps:?}"),
            Some(fault) => {
                let failure = failure(&steps);
                assert!(failure.1.contains(words), "{failure:?}");
                assert_eq!(failure.2, fault);
            }
        }
    }
}

#[test]
fn a_closed_port_and_an_unknown_name_fail_at_their_own_step() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = unused.local_addr().unwrap().port();
    drop(unused);
    let steps = tenant(&config(&format!("https://127.0.0.1:{port}"), inline("t"), inline("k")));
    assert_eq!(
        outline(&steps),
        "secret+ DNS+ TCP: TLS- answer- clock- token- threats- activities- token expiry-"
    );
    let (what, remedy, fault) = failure(&steps);
    assert!(what.ends_with("Connection refused"), "{what}");
    assert!(remedy.contains("firewall"), "{remedy}");
    assert_eq!(fault, Cause::ConnectionRefused);

    let steps = team(&config("https://ingress.invalid", inline("t"), inline("k")));
    assert_eq!(outline(&steps), "secret+ DNS: TCP- TLS- answer- clock- domain- key-");
    assert!(failure(&steps).1.contains("Coralogix domain"));
}

#[test]
fn a_refused_certificate_fails_at_tls_with_its_remedy() {
    let (ours, theirs) = (Authority::new("Our CA"), Authority::new("Inspecting Firewall CA"));
    for (tls, what, remedy) in [
        (
            theirs.server_until("localhost", 2090),
            "Inspecting Firewall CA",
            "by CN=Inspecting Firewall CA",
        ),
        (theirs.server_until("localhost", 2090), "Inspecting Firewall CA", "network.ca_file"),
        // The server's own clock stands in 2094.
        (ours.server_until("localhost", 2001), "expired at 2001-01-01", "a valid certificate"),
    ] {
        let server = Server::start(Some(tls), service([GOOD, &[]]));
        let (_dir, config) = trusting(&ours, server.port);
        let steps = team(&config);
        assert_eq!(outline(&steps), "secret+ DNS+ TCP+ TLS: answer- clock- domain- key-");
        let failure = failure(&steps);
        assert!(failure.0.contains(what) && failure.1.contains(remedy), "{failure:?}");
    }
}

#[test]
fn a_certificate_of_the_future_is_told_as_a_clock_that_is_behind() {
    let authority = Authority::new("Our CA");
    let tls = authority.server_of("localhost", [2090, 2096], rustls::DEFAULT_VERSIONS);
    let server = Server::start(Some(Arc::new(tls)), service([GOOD, &[]]));
    let (_dir, config) = trusting(&authority, server.port);
    let (what, remedy, cause) = failure(&team(&config));
    assert_eq!(cause, Cause::ClockBehind, "{what}");
    assert!(remedy.starts_with("Set this machine's clock (NTP)"), "{remedy}");
}

#[test]
fn a_proxy_has_a_step_of_its_own() {
    let authority = Authority::new("Test CA");
    let server =
        Server::start(Some(authority.server_until("localhost", 2090)), service([GOOD, &[]]));
    for (refusal, outlined) in [
        (None, "secret+ DNS+ TCP+ proxy+ TLS+ answer+ clock! domain+ key+"),
        (
            Some("407 Proxy Authentication Required"),
            "secret+ DNS+ TCP+ proxy: TLS- answer- clock- domain- key-",
        ),
    ] {
        let proxy = proxy(refusal, |_| {});
        let (_dir, mut config) = trusting(&authority, server.port);
        let address = format!("http://u:hunter2@localhost:{}", proxy.port);
        config.network.proxy = Some(Secret::new(&address).unwrap());
        let steps = team(&config);
        assert_eq!(outline(&steps), outlined);
        assert!(!format!("{steps:?}").contains("hunter2"));
        if refusal.is_some() {
            let (what, remedy, fault) = failure(&steps);
            assert!(what.contains("answered 407"), "{what}");
            assert!(remedy.contains("network.proxy"), "{remedy}");
            assert_eq!(fault, Cause::ProxyAuthentication);
        }
    }
}

#[test]
fn a_missing_secret_still_lets_the_network_be_tried() {
    let (_server, mut config) = plain(&[]);
    let gone = SecretSource::File(Path::new("/nonexistent/token").to_owned());
    config.integrations[0].api_token = gone.clone();
    config.coralogix.api_key = gone;
    assert_eq!(
        outline(&tenant(&config)),
        "secret: DNS+ TCP+ answer+ clock! token- threats- activities- token expiry-"
    );
    let steps = team(&config);
    assert_eq!(outline(&steps), "secret: DNS+ TCP+ answer+ clock! domain+ key-");
    let (what, remedy, fault) = failure(&steps);
    assert!(
        what.contains("/nonexistent/token (API key of Coralogix): it does not exist"),
        "{what}"
    );
    assert!(remedy.starts_with("Create it"), "{remedy}");
    assert_eq!(fault, Cause::SecretUnreadable);
}

#[test]
fn an_end_that_has_passed_is_told_as_past() {
    let end = Stamp::parse("2026-11-26T23:01:26Z");
    let outcome = |now: &str| super::interpret::token_end(end, Stamp::parse(now));
    let Outcome::Noted(past) = outcome("2026-11-27T00:01:26Z") else { panic!("it has passed") };
    assert_eq!(past.what, "it expired 1h ago, at 2026-11-26T23:01:26Z");
    assert!(!past.remedy.contains("before then"), "{}", past.remedy);
    let Outcome::Noted(soon) = outcome("2026-11-26T22:01:26Z") else { panic!("it is soon") };
    assert!(soon.what.ends_with(", in 1h") && soon.remedy.contains("before then"), "{soon:?}");
}

#[test]
fn a_remedy_is_given_once() {
    let why =
        Problem::new("acme: no answer within 5s", "Check the name servers in /etc/resolv.conf");
    let outcome = interpret::no_answer(&NetTrouble::Dns(why), &Steps::default(), "acme", "tenant");
    let Outcome::Failed(fault) = outcome else { panic!("{outcome:?}") };
    assert_eq!(fault.what, "name not resolved: acme: no answer within 5s");
    assert!(fault.remedy.contains("/etc/resolv.conf"), "{fault:?}");
}
