//! A refusal is a claim: who refuses, and what, is told by status, type and body; daemon, `run --once`
//! and `check` say the same of it, in the words of whoever answered.
//!
//! Promises: only the console's own API, and only of `/system/info`, ever brings a remedy that ends the
//! token.

use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::fault::{Fault, On, error_body};

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
/// A remedy that ends a credential.
const ENDS_TOKEN: &str = "generate a new";
const BLOCKED: &str = "<html><head><title>Access denied</title><style>h1 { color: red }</style></head>\
                       <body><h1>Your IP address is not allowed</h1></body></html>";

/// What is answered, and what has to be made of it.
struct Case {
    on: On,
    fault: Fault,
    reason: &'static str,
    cause: &'static str,
    exit: i32,
    words: &'static str,
}

impl Case {
    fn hold(self) {
        let mut scene = Scene::new();
        scene.tenant().publish(Kind::Activities, 5);
        scene.tenant().publish(Kind::Threats, 5);
        scene.tenant().fail(self.on, None, self.fault.clone());
        self.check_says_it(&scene);
        self.once_says_it(&mut scene);
        self.the_daemon_says_it(&mut scene);
        scene.tenant().heal();
        scene.stop();
        scene.once_with_code(0);
        scene.assert_exactly_once();
    }

    fn check_says_it(&self, scene: &Scene) {
        let ended = scene.command(&["check", "--json"]);
        let document: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(ended.code, Some(self.exit), "{document:#}");
        let sections = document["sections"].as_array().unwrap();
        let steps = sections.iter().flat_map(|section| section["steps"].as_array().unwrap());
        let failed: Vec<_> = steps.filter(|step| step["outcome"] == "failed").collect();
        assert!(!failed.is_empty(), "{document:#}");
        for step in failed {
            assert_eq!(step["cause"], self.cause, "{step:#}");
            assert!(step["text"].as_str().unwrap().contains(self.words), "{step:#}");
            let ends_token = step["remedy"].as_str().unwrap().contains(ENDS_TOKEN);
            assert_eq!(ends_token, self.cause == "token_refused", "{step:#}");
        }
    }

    fn once_says_it(&self, scene: &mut Scene) {
        let ended = scene.once_with_code(self.exit);
        assert!(ended.err.contains(self.words), "{}", ended.err);
    }

    fn the_daemon_says_it(&self, scene: &mut Scene) {
        scene.run();
        // What is there yet is the status of the run before.
        scene.wait_up();
        let place = match self.on {
            On::Stream(Kind::Threats) => "/streams/0",
            On::Stream(_) => "/streams/1",
            _ => "/integrations/0",
        };
        scene.wait_status_is(&format!("{place}/reason"), self.reason);
        scene.wait_log(self.words);
        let status = scene.status().unwrap();
        let detail = status.pointer(&format!("{place}/detail")).unwrap().as_str().unwrap();
        assert!(detail.contains(self.words), "{detail}");
        let code = status.pointer(&format!("{place}/code")).unwrap().as_str().unwrap();
        let remedy = s1_coralogix::message::find(code).unwrap().remedy;
        let ends_token = remedy.contains(ENDS_TOKEN);
        assert_eq!(ends_token, self.reason == "token_refused", "{remedy}");
        assert_eq!(status["state"], "stuck", "{status:#}");
    }
}

fn json(status: u16, code: u32, title: &str, detail: &str) -> Fault {
    Fault::answer(status, JSON, error_body(code, title, detail))
}

#[test]
fn a_page_that_refuses_the_address_says_nothing_of_the_token() {
    for status in [401, 403, 451] {
        Case {
            on: On::Anything,
            fault: Fault::answer(status, HTML, BLOCKED),
            reason: "address_refused",
            cause: "address_refused",
            exit: 75,
            words: "Access denied Your IP address is not allowed",
        }
        .hold();
    }
}

#[test]
fn an_address_that_the_api_itself_refuses() {
    Case {
        on: On::Anything,
        fault: json(403, 4_030_010, "Forbidden", "\"IP address not allowed\""),
        reason: "address_refused",
        cause: "address_refused",
        exit: 75,
        words: "HTTP 403: Forbidden (4030010): IP address not allowed",
    }
    .hold();
}

/// Neither a 401 nor words without "IP" make it the token's, or a scope's.
#[test]
fn a_place_that_the_api_refuses_in_other_words() {
    for (status, code, words) in [
        (401, 4_010_010, "Denied by network policy"),
        (403, 4_030_010, "Access from your location is not permitted"),
        (403, 4_030_010, "Request blocked by security policy"),
    ] {
        Case {
            on: On::Anything,
            fault: json(status, code, "Forbidden", &format!("\"{words}\"")),
            reason: "address_refused",
            cause: "address_refused",
            exit: 75,
            words,
        }
        .hold();
    }
}

#[test]
fn a_block_page_before_one_stream_alone() {
    Case {
        on: On::Stream(Kind::Activities),
        fault: Fault::answer(403, "text/plain", "Request blocked by policy 17"),
        reason: "address_refused",
        cause: "address_refused",
        exit: 75,
        words: "HTTP 403: Request blocked by policy 17",
    }
    .hold();
}

/// A proxy's word about the query is not the console's; followed, it would cost a stream.
#[test]
fn a_page_of_a_proxy_before_one_stream_refuses_no_query() {
    let login = "https://login.example/?token=s3cret".to_string();
    for (fault, reason) in [
        (Fault::answer(400, HTML, BLOCKED), "address_refused"),
        (Fault::answer(404, HTML, BLOCKED), "misdirected"),
        (Fault::Redirect { status: 302, to: login }, "misdirected"),
    ] {
        let mut scene = Scene::new();
        scene.tenant().publish(Kind::Activities, 5);
        scene.tenant().fail(On::Stream(Kind::Activities), None, fault);
        let ended = scene.command(&["check", "--json"]);
        assert_eq!(ended.code, Some(75), "{}", ended.out);
        assert!(ended.out.contains("\"answered_between\""), "{}", ended.out);
        assert!(!ended.out.contains("from streams"), "{}", ended.out);
        assert!(ended.out.contains("Let requests to"), "{}", ended.out);
        scene.run();
        scene.wait_status_is("/streams/1/reason", reason);
        scene.tenant().heal();
        scene.stop();
        scene.once_with_code(0);
        scene.assert_exactly_once();
    }
}

/// A 401 in another form, or one that passes, ends no token.
#[test]
fn a_401_that_is_not_the_consoles_or_passes_is_never_a_bad_token() {
    let passing = "\"temporarily unavailable, try again later\"";
    for (fault, reason, cause, words) in [
        (
            Fault::answer(401, JSON, r#"{"message":"Jwt is missing"}"#),
            "address_refused",
            "address_refused",
            "Jwt is missing",
        ),
        (Fault::answer(401, JSON, "{}"), "address_refused", "address_refused", "HTTP 401"),
        (
            json(401, 4_010_010, "Authentication Failed", passing),
            "busy",
            "busy",
            "temporarily unavailable",
        ),
    ] {
        let mut scene = Scene::new();
        scene.tenant().publish(Kind::Activities, 5);
        scene.tenant().fail(On::Anything, None, fault);
        let ended = scene.command(&["check", "--json"]);
        assert_eq!(ended.code, Some(75), "{}", ended.out);
        assert!(ended.out.contains(&format!("\"{cause}\"")), "{}", ended.out);
        assert!(ended.out.contains(words), "{}", ended.out);
        assert!(!ended.out.contains(ENDS_TOKEN), "{}", ended.out);
        scene.run();
        scene.wait_status_is("/integrations/0/reason", reason);
        scene.wait_log(words);
        scene.tenant().heal();
        scene.stop();
        scene.once_with_code(0);
        scene.assert_exactly_once();
    }
}

#[test]
fn a_product_that_the_scope_does_not_have_is_no_missing_permission() {
    for detail in [
        "This scope does not have Custom Rules enabled.",
        "Action is not allowed to site users",
        "Action limited to global admins.",
    ] {
        let title = "Insufficient permissions";
        Case {
            on: On::Stream(Kind::Threats),
            fault: json(403, 4_030_010, title, &format!("\"{detail}\"")),
            reason: "scope_missing",
            cause: "scope_missing",
            exit: 77,
            words: detail,
        }
        .hold();
    }
}

#[test]
fn a_403_to_the_question_about_the_token_is_never_a_bad_token() {
    Case {
        on: On::SystemInfo,
        fault: json(403, 4_030_010, "Forbidden", "\"User scope level is account.\""),
        reason: "scope_missing",
        cause: "scope_missing",
        exit: 77,
        words: "HTTP 403: Forbidden (4030010): User scope level is account.",
    }
    .hold();
}

#[test]
fn a_missing_permission_is_told_in_the_services_words() {
    for (status, code, title) in
        [(403, 4_030_010, "Insufficient permissions"), (401, 4_010_010, "Authentication Failed")]
    {
        Case {
            on: On::Stream(Kind::Threats),
            fault: json(status, code, title, "null"),
            reason: "permission_missing",
            cause: "permission_missing",
            exit: 77,
            words: title,
        }
        .hold();
    }
}

#[test]
fn a_token_is_bad_where_the_api_says_401_of_it() {
    Case {
        on: On::Anything,
        fault: json(401, 4_010_010, "Authentication Failed", "null"),
        reason: "token_refused",
        cause: "token_refused",
        exit: 77,
        words: "HTTP 401: Authentication Failed (4010010)",
    }
    .hold();
}

#[test]
fn a_console_that_moved_is_told_with_the_host_it_leads_to() {
    let to = "https://new.example.net/web/api/v2.1/system/info?token=s3cret".to_string();
    let scene = Scene::new();
    scene.tenant().fail(On::Anything, None, Fault::Redirect { status: 301, to });
    let check = scene.command(&["check", "--json"]);
    assert_eq!(check.code, Some(78), "{}", check.out);
    assert!(check.out.contains("a redirect to new.example.net"), "{}", check.out);
    let once = scene.command(&["run", "--once"]);
    assert_eq!(once.code, Some(75), "{}", once.err);
    assert!(once.err.contains("a redirect to new.example.net"), "{}", once.err);
    assert!(!(check.out + &once.err).contains("s3cret"), "only the host is told");
}

#[test]
fn a_token_in_quotes_is_told_as_that_and_never_sent() {
    for quote in ["\"", "'"] {
        let scene = Scene::new();
        scene.write_token(0, &format!("{quote}{}{quote}", scene.tenant().token()));
        let check = scene.command(&["check", "--json"]);
        assert_eq!(check.code, Some(78), "{}", check.out);
        let told = "it starts and ends with a quote; remove the quotes";
        assert!(check.out.contains(told), "{}", check.out);
        assert!(!check.out.contains(ENDS_TOKEN), "{}", check.out);
        let once = scene.command(&["run", "--once"]);
        assert_eq!(once.code, Some(77), "{}", once.err);
        assert!(once.err.contains(told), "{}", once.err);
        let sent = scene.tenant().seen();
        assert!(sent.iter().all(|seen| seen.header("authorization").is_none()), "{sent:?}");
    }
}

/// What stands before Coralogix says nothing of the key; where Coralogix speaks, a key is told by how
/// it begins: `cxtp_` sends data, `cxup_` is a person's.
#[test]
fn a_block_page_before_coralogix_is_no_bad_key_and_prefixes_are_not_mixed_up() {
    let scene = Scene::new();
    scene.ingress.fail(On::Singles, None, Fault::answer(403, HTML, BLOCKED));
    let ended = scene.command(&["check", "--json"]);
    assert_eq!(ended.code, Some(75), "{}", ended.out);
    assert!(ended.out.contains("\"cause\": \"sink_blocked\""), "{}", ended.out);
    assert!(!ended.out.contains("Send-Your-Data"), "{}", ended.out);
    scene.ingress.heal();
    for (key, personal) in [("cxup_made_up", true), ("cxtp_made_up", false)] {
        scene.write_key(key);
        let ended = scene.command(&["check", "--json"]);
        assert_eq!(ended.code, Some(77), "{}", ended.out);
        assert_eq!(ended.out.contains("this is a personal key"), personal, "{}", ended.out);
    }
}
