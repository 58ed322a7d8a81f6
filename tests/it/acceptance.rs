//! Who may acknowledge a batch, and what is refused: the key, the content, or this machine (P1).

use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::fault::{Fault, On, html};

const NGINX: &str = "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head></html>\n";

/// Whatever answers so acknowledges nothing; once Coralogix answers again, all arrives, once.
fn keeps_everything(fault: Fault, words: &str) {
    let mut scene = Scene::new();
    scene.ingress.fail(On::Singles, None, fault);
    scene.tenant().publish(Kind::Activities, 300);
    scene.run();
    scene.wait_status_is("/coralogix/reason", "misdirected");
    scene.wait_waiting(300);
    scene.wait_status_is("/state", "stuck");
    scene.wait_log(words);
    let ended = scene.command(&["status"]);
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    scene.ingress.heal();
    scene.hurry();
    scene.settle();
    scene.wait_status_is("/queue/waiting", "0");
    scene.assert_exactly_once();
}

#[test]
fn a_web_page_with_a_200_acknowledges_nothing() {
    let page = html("Web page blocked");
    keeps_everything(Fault::answer(200, "text/html", page), "not Coralogix (HTTP 200: <html>");
}

#[test]
fn a_default_web_server_acknowledges_nothing() {
    keeps_everything(Fault::answer(200, "application/octet-stream", NGINX), "Welcome to nginx!");
}

#[test]
fn a_page_of_a_portal_without_a_tag_acknowledges_nothing() {
    keeps_everything(
        Fault::answer(200, "text/html; charset=utf-8", "please sign in"),
        "a web page",
    );
}

#[test]
fn a_web_page_with_another_status_parks_nothing() {
    let page = || html("400 Bad Request");
    keeps_everything(Fault::answer(400, "text/html", page()), "HTTP 400: <html>");
    keeps_everything(Fault::answer(413, "text/html", page()), "HTTP 413: <html>");
    keeps_everything(Fault::status(400), "HTTP 400");
}

#[test]
fn what_is_no_text_or_of_another_type_acknowledges_nothing() {
    keeps_everything(Fault::answer(200, "application/grpc", ""), "another type");
    let utf_16: Vec<u8> = "\u{feff}<html>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    keeps_everything(Fault::answer(200, "application/json", utf_16), "a web page");
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    keeps_everything(Fault::answer(200, "text/plain", gzip), "bytes that are no text");
}

#[test]
fn a_record_that_is_refused_with_a_web_page_is_parked_where_an_empty_array_is_taken() {
    the_content_is_refused((400, "text/html", "<html><body>Bad Request</body></html>"));
}

#[test]
fn other_statuses_of_success_acknowledge_nothing() {
    keeps_everything(Fault::status(203), "a proxy answers that changes answers");
    keeps_everything(Fault::status(206), "another kind of server");
    keeps_everything(Fault::status(226), "another kind of server");
}

#[test]
fn an_answer_that_is_too_long_acknowledges_nothing() {
    keeps_everything(Fault::answer(200, "application/json", vec![b' '; 80 << 10]), "longer than");
}

#[test]
fn a_success_that_does_not_end_acknowledges_nothing() {
    let mut scene = Scene::with(|settings| settings.be_impatient("1s"));
    scene.ingress.turn(|knobs| knobs.accepted_body = "never never never never never never never");
    let drip = Fault::Drip(1, std::time::Duration::from_millis(400));
    scene.ingress.fail(On::Singles, None, drip);
    scene.tenant().publish(Kind::Activities, 30);
    scene.run();
    scene.wait_status_is("/coralogix/reason", "misdirected");
    scene.wait_waiting(30);
    scene.wait_log("was not complete in time");
}

#[test]
fn a_harmless_body_is_accepted_and_shown_with_its_last_words() {
    let mut scene = Scene::new();
    scene.ingress.turn(|knobs| knobs.accepted_body = r#"{"took":3,"failed":0,"note":"thank you"}"#);
    scene.tenant().publish(Kind::Activities, 30);
    scene.run();
    scene.settle();
    // The first record goes alone, for nobody has told the time yet.
    scene.wait_status_is("/coralogix/remarks", "2");
    scene.wait_status_is("/state", "healthy");
    let ended = scene.command(&["status"]);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let flat = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains("Coralogix accepted 2 batches with a message, last at 2"),
        "{}",
        ended.out
    );
    assert!(flat.contains("thank you"), "{}", ended.out);
    scene.assert_exactly_once();
}

/// One record of 400 that a filter refuses with this answer, while the key is good.
fn the_content_is_refused(answer: (u16, &'static str, &'static str)) {
    let (scene, list) = Scene::where_one_is_parked(answer);
    let log = scene.log();
    assert!(!log.contains("the API key is rejected") && !log.contains("S1C-E109"), "{log}");
    assert!(list.contains(&format!("HTTP {}", answer.0)), "{list}");
    assert!(scene.ingress.requests() < 60, "found by halving");
}

#[test]
fn a_record_that_a_filter_refuses_with_403_is_parked_and_the_key_is_not_blamed() {
    the_content_is_refused((403, "application/json", r#"{"message":"forbidden content"}"#));
    the_content_is_refused((403, "text/html", "<html><body>Blocked by policy</body></html>"));
}

#[test]
fn a_key_that_is_refused_with_an_empty_array_too_is_told_and_parks_nothing() {
    let mut scene = Scene::new();
    scene.ingress.accept_only_key("another");
    scene.tenant().publish(Kind::Activities, 50);
    scene.run();
    scene.wait_status_is("/coralogix/reason", "key_refused");
    scene.wait_status_is("/queue/parked", "0");
    scene.wait_waiting(50);
    let got = scene.ingress.got();
    assert!(got.len() <= 4, "a batch, an empty array, and a long wait: {}", got.len());
    scene.write_key("another");
    scene.settle();
    scene.assert_exactly_once();
}

#[test]
fn a_block_page_with_403_blames_no_key() {
    let page = html("Your IP address is not allowed");
    blames_no_key(Fault::answer(403, "text/html", page));
}

#[test]
fn words_about_an_address_blame_no_key() {
    for (status, kind, body) in [
        (403, "application/json", r#"{"message":"Your IP address is not allowed"}"#),
        (401, "application/json", r#"{"error":"denied by network policy"}"#),
        (403, "text/plain", "Request blocked by WAF"),
        (403, "text/plain", "Access from your location is not permitted"),
    ] {
        blames_no_key(Fault::answer(status, kind, body));
    }
}

fn blames_no_key(fault: Fault) {
    let mut scene = Scene::new();
    scene.ingress.fail(On::Singles, None, fault);
    let check = scene.command(&["check", "--json"]);
    assert_eq!(check.code, Some(75), "{}", check.out);
    assert!(check.out.contains("\"cause\": \"sink_blocked\""), "{}", check.out);
    assert!(!check.out.contains("Send-Your-Data"), "{}", check.out);
    scene.tenant().publish(Kind::Activities, 50);
    scene.run();
    scene.wait_status_is("/coralogix/reason", "blocked");
    scene.wait_waiting(50);
    scene.wait_log("S1C-E131");
    let log = scene.log();
    assert!(!log.contains("put a valid Send-Your-Data key"), "{log}");
    scene.ingress.heal();
    scene.hurry();
    scene.settle();
    scene.assert_exactly_once();
}
