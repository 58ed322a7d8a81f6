//! `check`, with each thing that can be wrong made wrong for real: the step that fails, its stable
//! cause, its line, its remedy, the exit code, and that nothing after it claims to work.

mod network;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::scene::Scene;
use crate::support::clock::{DAY, MINUTE};
use crate::support::data::{Draft, Kind};
use crate::support::fault::{Fault, On};
use crate::support::ingress::Key;
use crate::support::link::Link;
use crate::support::process::Ended;
use crate::support::proxy::Proxy;
use crate::support::tenant::Closed;

/// A scene whose program gives up soon, for what never answers.
fn scene() -> Scene {
    Scene::with(|settings| settings.be_impatient("3s"))
}

fn utf8(scene: &Scene, args: &[&str]) -> Ended {
    scene.command_with(args, &[("LANG", "C.UTF-8".to_string())])
}

fn steps(document: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for section in document["sections"].as_array().unwrap() {
        let about = section["name"].as_str().or(section["about"].as_str()).unwrap();
        for step in section["steps"].as_array().unwrap() {
            found.push((about.to_string(), step.clone()));
        }
    }
    found
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|why| panic!("{why}\n{}", ended.out))
}

/// What `check` must say: in which section and at which step, the cause, the exit code, and words
/// of its line and of its remedy.
struct Says<'a> {
    at: (&'a str, &'a str),
    cause: &'a str,
    code: i32,
    what: &'a str,
    remedy: &'a str,
}

impl Says<'_> {
    fn hold(&self, scene: &Scene) {
        let ended = scene.command(&["check", "--json"]);
        let document = json(&ended);
        assert_eq!(ended.code, Some(self.code), "{document:#}");
        assert_eq!(document["exit_code"], self.code);
        assert_eq!(document["result"], "failed");
        let steps = steps(&document);
        let failed: Vec<_> = steps.iter().filter(|(_, step)| step["outcome"] == "failed").collect();
        let [(about, step)] = failed[..] else { panic!("one step fails: {document:#}") };
        let found = (about.as_str(), step["step"].as_str().unwrap(), step["cause"].as_str());
        assert_eq!(found, (self.at.0, self.at.1, Some(self.cause)), "{document:#}");
        let (what, remedy) = (step["text"].as_str().unwrap(), step["remedy"].as_str().unwrap());
        assert!(what.contains(self.what), "no {:?} in {what:?}", self.what);
        assert!(remedy.contains(self.remedy), "no {:?} in {remedy:?}", self.remedy);
        self.nothing_after_claims_to_work(&steps, about);
        self.line_is_shown(scene, step);
    }

    /// Steps of the way that come after one that failed were not made, and say so.
    fn nothing_after_claims_to_work(&self, steps: &[(String, Value)], about: &str) {
        let way = ["dns", "tcp", "proxy", "tls", "answer"];
        let own: Vec<_> = steps.iter().filter(|(section, _)| section == about).collect();
        let broken = own.iter().position(|(_, step)| step["step"] == self.at.1).unwrap();
        if way.contains(&self.at.1) {
            for (_, step) in &own[broken + 1..] {
                assert_eq!(step["outcome"], "skipped", "{step}");
            }
        }
    }

    /// The same for people: a cross, the step, and the remedy below it.
    fn line_is_shown(&self, scene: &Scene, step: &Value) {
        let ended = utf8(scene, &["check"]);
        assert_eq!(ended.code, Some(self.code));
        let lines: Vec<&str> = ended.out.lines().collect();
        let crosses: Vec<_> = lines.iter().filter(|line| line.starts_with("  \u{2717} ")).collect();
        assert_eq!(crosses.len(), 1, "{}", ended.out);
        let nth = lines.iter().position(|line| line == crosses[0]).unwrap();
        assert!(lines[nth].contains(self.what), "{}", ended.out);
        assert!(lines[nth + 1].contains(self.remedy), "{}", ended.out);
        assert!(lines[nth + 1].starts_with("      "), "{}", ended.out);
        let plain = scene.command(&["check"]);
        let name = lines[nth].split_whitespace().nth(1).unwrap();
        assert!(plain.out.contains(&format!("\n  FAIL {name}")), "{step}\n{}", plain.out);
        assert!(!plain.out.contains("everything works"), "{}", plain.out);
    }
}

#[test]
fn a_service_that_is_silent_breaks_off_or_is_busy() {
    for (fault, step, cause, remedy) in [
        (Fault::Stall, "answer", "no_answer", "network.timeout"),
        (Fault::Close, "answer", "connection_broken", "firewall or proxy"),
        (Fault::unavailable(None), "token", "busy", "Try again"),
    ] {
        let scene = scene();
        scene.tenant().fail(On::SystemInfo, None, fault);
        let says = Says { at: ("acme", step), cause, code: 75, what: "", remedy };
        says.hold(&scene);
    }
}

#[test]
fn an_address_that_is_a_login_page_or_no_console() {
    let elsewhere = Fault::Redirect { status: 302, to: "https://sso.example".to_string() };
    for (fault, cause, what) in [
        (Fault::html_with_200(), "login_page", "answers with a web page"),
        (elsewhere, "not_a_console", "does not answer as a SentinelOne console"),
        (Fault::status(404), "not_a_console", "HTTP 404"),
    ] {
        let scene = scene();
        scene.tenant().fail(On::Anything, None, fault);
        let says = Says {
            at: ("acme", "token"),
            cause,
            code: 78,
            what,
            remedy: "Set tenant to the address",
        };
        says.hold(&scene);
    }
}

#[test]
fn a_token_that_is_wrong_or_lacks_a_permission() {
    let scene = scene();
    scene.write_token(0, "wrong");
    Says {
        at: ("acme", "token"),
        cause: "token_refused",
        code: 77,
        what: "rejects the token (HTTP 401: Authentication Failed (4010010))",
        remedy: "contains the complete token of",
    }
    .hold(&scene);
    for (kind, permission) in
        [(Kind::Threats, "Endpoint Threats: View"), (Kind::Activities, "Activity: View")]
    {
        let scene = self::scene();
        scene.tenant().turn(|knobs| _ = knobs.closed.insert(kind, Closed::Forbidden));
        Says {
            at: ("acme", kind.name()),
            cause: "permission_missing",
            code: 77,
            what: &format!("the permission \"{permission}\" is missing"),
            remedy: &format!(
                "Add \"{permission}\" to the role of the service user (Settings > Users"
            ),
        }
        .hold(&scene);
    }
}

/// What `check` says of the stream of activities.
fn told_of_activities(scene: &Scene, code: i32) -> Value {
    let ended = scene.command(&["check", "--json"]);
    assert_eq!(ended.code, Some(code), "{}", ended.out);
    let steps = steps(&json(&ended));
    steps.into_iter().find(|(_, step)| step["step"] == "activities").unwrap().1
}

#[test]
fn a_page_of_the_size_that_run_asks_for_is_timed() {
    let scene = self::scene();
    scene.tenant().publish_with(Kind::Activities, 1_300, |draft| draft.size = 2_600);
    let told = told_of_activities(&scene, 0);
    assert_eq!(told["outcome"], "passed");
    assert!(told["text"].as_str().unwrap().contains("1000 rows, "), "{told}");
    // A gateway before the console gives up on it.
    scene.tenant().turn(|knobs| knobs.too_many_rows = 500);
    let told = told_of_activities(&scene, 0);
    assert_eq!((&told["outcome"], &told["cause"]), (&"warning".into(), &"pages_smaller".into()));
    let words = "a page of 1000 rows did not arrive (HTTP 504), one of 100 did";
    assert!(told["text"].as_str().unwrap().contains(words), "{told}");
    // What an earlier `run` learned is asked for.
    let learned = r#"{"sink":{},"streams":{"acme/activities":{"rows":200}}}"#;
    std::fs::create_dir(scene.queue_dir()).unwrap();
    scene.write_file("queue/learned", learned);
    let told = told_of_activities(&scene, 0);
    assert_eq!(told["outcome"], "passed");
    assert!(told["text"].as_str().unwrap().contains("200 rows, "), "{told}");
}

/// On a link that takes longer than the bound `check` does not say that everything works.
#[test]
fn a_link_that_is_too_thin_for_a_page_is_told() {
    let link = Arc::new(Link::new(60_000, Duration::ZERO));
    let proxy = Proxy::over(Arc::clone(&link));
    let mut scene = Scene::with(|settings| {
        settings.be_impatient("3s");
        settings.proxy = Some(format!("http://{}", proxy.authority()));
    });
    let sized = |draft: &mut Draft| draft.size = 2_600;
    scene.tenant().publish_with(Kind::Activities, 1_000, sized);
    // Some 10 s.
    for (bound, code, cause, words) in [
        ("4s", 75, "no_answer", "1000 rows were requested, and `run` would request 500 next"),
        ("15s", 0, "pages_smaller", "more than half of network.exchange_timeout (15s)"),
    ] {
        scene.settings.exchange_timeout = Some(bound.to_owned());
        scene.write_config();
        let told = told_of_activities(&scene, code);
        assert_eq!(told["cause"], cause, "{told}");
        assert!(told["text"].as_str().unwrap().contains(words), "{told}");
    }
}

#[test]
fn a_key_of_another_region_or_of_the_wrong_kind() {
    let scene = scene();
    scene.write_key("cxup_personal");
    scene.ingress.turn(|knobs| _ = knobs.keys.insert("cxup_personal".into(), Key::Forbidden));
    Says {
        at: ("coralogix", "key"),
        cause: "key_wrong_kind",
        code: 77,
        what: "does not allow this key to send data (HTTP 403",
        remedy: "this is a personal key",
    }
    .hold(&scene);
    scene.write_key("of-another-region");
    Says {
        at: ("coralogix", "key"),
        cause: "key_unknown",
        code: 77,
        what: "does not recognise the key in this region (HTTP 401",
        remedy: "coralogix.domain is the domain of the same team",
    }
    .hold(&scene);
}

#[test]
fn an_address_of_coralogix_that_takes_no_logs() {
    let scene = scene();
    scene.ingress.fail(On::Singles, None, Fault::status(404));
    Says {
        at: ("coralogix", "domain"),
        cause: "not_an_ingress",
        code: 78,
        what: "does not accept logs (HTTP 404",
        remedy: "Set coralogix.domain",
    }
    .hold(&scene);
}

/// Nothing that is not Coralogix is shown the real key.
fn assert_key_was_not_shown(scene: &Scene) {
    let key = scene.ingress.key();
    let got = scene.ingress.got();
    let shown = |got: &crate::support::ingress::Got| {
        got.header("authorization").is_some_and(|header| header.contains(&key))
    };
    assert!(!got.is_empty() && !got.iter().any(shown), "the key was shown");
}

#[test]
fn something_else_answers_in_coralogix_place() {
    for (fault, cause, code, what, remedy) in [
        (
            Fault::answer(200, "text/html", "<html><title>Welcome to nginx!</title></html>"),
            "not_coralogix",
            78,
            "a web page",
            "Set coralogix.domain",
        ),
        (Fault::status(203), "not_coralogix", 78, "a proxy answers", "proxy or filter"),
        (
            Fault::answer(400, "text/html", "<html>400 Bad Request</html>"),
            "not_coralogix",
            78,
            "400 Bad Request",
            "proxy or filter",
        ),
        (
            Fault::answer(403, "text/html", "<html>Access denied by policy</html>"),
            "sink_blocked",
            75,
            "Access denied by policy",
            "the API key is not the cause",
        ),
    ] {
        let scene = scene();
        scene.ingress.fail(On::Singles, None, fault);
        Says { at: ("coralogix", "domain"), cause, code, what, remedy }.hold(&scene);
        assert_key_was_not_shown(&scene);
    }
}

#[test]
fn a_sink_that_takes_any_key() {
    let scene = scene();
    scene.ingress.fail(On::Singles, None, Fault::status(200));
    Says {
        at: ("coralogix", "key"),
        cause: "keys_unchecked",
        code: 78,
        what: "does not check keys, so it is not Coralogix, or a relay that accepts anything",
        remedy: "let it answer 401",
    }
    .hold(&scene);
    assert_key_was_not_shown(&scene);
}

#[test]
fn a_sink_that_rejects_any_content_whatever_the_key_is() {
    let scene = scene();
    scene.ingress.fail(On::Singles, None, Fault::status(400));
    Says {
        at: ("coralogix", "key"),
        cause: "not_coralogix",
        code: 78,
        what: "rejects an empty array and a record alike",
        remedy: "let it answer 401",
    }
    .hold(&scene);
    assert_key_was_not_shown(&scene);
}

#[test]
fn a_secret_or_a_queue_that_can_not_be_used() {
    let scene = scene();
    std::fs::remove_file(scene.path("acme.token")).unwrap();
    Says {
        at: ("acme", "secret"),
        cause: "secret_unreadable",
        code: 78,
        what: "acme.token",
        remedy: "Create it",
    }
    .hold(&scene);
    let scene = self::scene();
    scene.write_file("queue", "no directory");
    Says {
        at: ("config", "queue"),
        cause: "queue_unusable",
        code: 78,
        what: "is not a directory",
        remedy: "queue.dir",
    }
    .hold(&scene);
}

/// A console's host in the place of the domain is seen before anything is sent.
#[test]
fn the_host_of_the_browser_pasted_as_the_domain() {
    let scene = scene();
    let url = format!("url = \"{}\"", scene.ingress.url());
    for (pasted, domain) in [
        ("acme.app.coralogix.in", "ap1.coralogix.com"),
        ("acme.coralogix.com", "eu1.coralogix.com"),
    ] {
        let pasted = format!("domain = \"{pasted}\"");
        scene.write_file("config.toml", &scene.config().replace(&url, &pasted));
        let ended = scene.command(&["check", "--json"]);
        let document = json(&ended);
        assert_eq!((ended.code, document["exit_code"].as_u64()), (Some(78), Some(78)));
        let step = &document["sections"][0]["steps"][0];
        assert_eq!((&step["step"], &step["cause"]), (&"config".into(), &"config_invalid".into()));
        assert!(step["text"].as_str().unwrap().contains(domain), "{document:#}");
        assert_eq!(scene.command(&["check"]).code, Some(78));
    }
}

/// What works but should be looked at: 0, and 1 with `--strict`.
#[test]
fn a_warning_is_told_and_fails_only_when_strict() {
    type Spoil = fn(&mut Scene);
    let soon: Spoil = |scene| {
        let token = scene.tenant().rotate_token(10 * DAY);
        scene.write_token(0, &token);
    };
    let off: Spoil = |scene| scene.tenant().set_clock_ahead(7 * MINUTE);
    let exposed: Spoil = |scene| {
        let open = |name, mode| {
            std::fs::set_permissions(scene.path(name), PermissionsExt::from_mode(mode)).unwrap();
        };
        open("acme.token", 0o644);
        open("", 0o755);
    };
    for (spoil, step, cause, what) in [
        (soon, "token_end", "token_ends_soon", "it expires on "),
        (off, "clock", "clock_off", "behind the service's"),
        (exposed, "secret", "secret_exposed", "acme.token"),
    ] {
        let mut scene = scene();
        spoil(&mut scene);
        for (args, code) in
            [(&["check", "--json"][..], 0), (&["check", "--json", "--strict"][..], 1)]
        {
            let ended = scene.command(args);
            let document = json(&ended);
            assert_eq!(ended.code, Some(code), "{document:#}");
            assert_eq!(document["result"], "warnings");
            let steps = steps(&document);
            let noted: Vec<_> = steps.iter().filter(|(_, s)| s["outcome"] == "warning").collect();
            let [(about, told)] = noted[..] else { panic!("one warning: {document:#}") };
            assert_eq!((about.as_str(), &told["step"]), ("acme", &step.into()));
            assert_eq!(told["cause"], cause);
            assert!(told["text"].as_str().unwrap().contains(what), "{told}");
        }
        let plain = scene.command(&["check", "--strict"]);
        assert_eq!(plain.code, Some(1));
        assert!(plain.out.ends_with("; 1 warning (--strict)\n"), "{}", plain.out);
    }
    let fine = scene();
    let ended = fine.command(&["check", "--strict", "--json"]);
    let document = json(&ended);
    assert_eq!((ended.code, &document["result"]), (Some(0), &"passed".into()), "{document:#}");
    assert_eq!(document["schema"], 1);
    let all = steps(&document);
    assert!(all.iter().all(|(_, step)| step["outcome"] == "passed"), "{document:#}");
    assert!(all.len() >= 19, "{document:#}");
}

#[test]
fn offline_claims_nothing_of_the_services() {
    let scene = scene();
    let document = json(&scene.command(&["check", "--offline", "--json"]));
    let names: Vec<String> =
        steps(&document).into_iter().map(|(_, step)| step["step"].to_string()).collect();
    assert_eq!(
        names,
        ["\"config\"", "\"queue\"", "\"status_file\"", "\"secret\"", "\"secret\""],
        "{document:#}"
    );
    assert!(document["summary"].as_str().unwrap().contains("were not contacted"), "{document:#}");
    assert_eq!((scene.tenant().requests(), scene.ingress.requests()), (0, 0));
}

/// docs/CHECK.md has a row for each cause, as the program means it.
#[test]
fn the_document_lists_every_cause() {
    use s1_coralogix::cause::{Cause, ExitClass};
    use s1_coralogix::message;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CHECK.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut missing = Vec::new();
    for cause in Cause::ALL {
        let exit = match cause.exit_class() {
            ExitClass::Warning => "0",
            ExitClass::Unreachable => "75",
            ExitClass::Refused => "77",
            ExitClass::Config => "78",
        };
        let code = cause.message();
        let told = message::all().find(|entry| entry.code == code).unwrap();
        let (meaning, remedy) = (told.meaning, told.remedy);
        let row = format!("| `{}` | {code} | {exit} | {meaning} | {remedy} |", cause.code());
        if !text.contains(&row) {
            missing.push(row);
        }
    }
    assert!(missing.is_empty(), "docs/CHECK.md lacks\n{}", missing.join("\n"));
    let rows = text.lines().filter(|line| line.starts_with("| `") && line.contains("` | "));
    let rows = rows.filter(|line| {
        let code = line.split('`').nth(1).unwrap();
        line.split(" | ").nth(2).is_some_and(|exit| exit.parse::<u8>().is_ok())
            && !Cause::ALL.iter().any(|cause| cause.code() == code)
    });
    assert_eq!(rows.collect::<Vec<_>>(), Vec::<&str>::new(), "causes that there are not");
}
