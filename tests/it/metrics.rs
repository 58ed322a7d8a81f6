//! Metrics as Prometheus reads them.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::skip::skipped;

/// The value of the one sample whose line begins so.
fn value(text: &str, sample: &str) -> f64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let value = lines.next().unwrap_or_else(|| panic!("{sample} is not in\n{text}"));
    value.parse().unwrap()
}

#[test]
fn metrics_say_what_was_done_and_suit_promtool() {
    let mut scene = Scene::new();
    let file = scene.path("s1_coralogix.prom");
    scene.settings.extra = format!("[metrics]\nfile = \"{}\"\n", file.display());
    scene.write_config();
    scene.tenant().publish(Kind::Activities, 37);
    scene.run();
    scene.settle();
    scene.wait_status_is("/queue/waiting", "0");
    scene.stop();
    let text = std::fs::read_to_string(&file).unwrap();
    let activities = "s1_coralogix_stream_collected_records_total{stream=\"acme/activities\"}";
    assert_eq!(value(&text, activities), 37.0);
    assert_eq!(value(&text, "s1_coralogix_delivered_records_total"), 37.0);
    assert_eq!(value(&text, "s1_coralogix_state{state=\"healthy\"}"), 1.0);
    assert_eq!(value(&text, "s1_coralogix_state{state=\"stuck\"}"), 0.0);
    // Each metric is introduced once, and its samples stand behind that.
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        assert_eq!(text.matches(line).count(), 1, "{line}");
    }
    match promtool(&text) {
        None => skipped("promtool is not installed (package prometheus)"),
        Some(said) => assert_eq!(said, "", "promtool check metrics"),
    }
}

/// What `promtool check metrics` has to say, which should be nothing.
fn promtool(text: &str) -> Option<String> {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    Some(String::from_utf8_lossy(&said).into_owned())
}
