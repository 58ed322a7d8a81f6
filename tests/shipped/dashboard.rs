//! docs/dashboards/grafana.json, from the table of metrics in docs/METRICS.md, which a test of
//! `report::metrics` holds to the declarations.
//!
//! Promises: each metric has one panel, in the order of the table. Never: names a data source.

use std::process::Command;

use serde_json::{Value, json};

use super::{root, skip};

/// A row of the table.
struct Metric {
    name: String,
    labels: Vec<String>,
    meaning: String,
}

/// What a panel shows of a metric.
struct Shown {
    kind: &'static str,
    expr: String,
    unit: &'static str,
    title: String,
}

fn metrics() -> Vec<Metric> {
    let page = std::fs::read_to_string(root().join("docs/METRICS.md")).expect("it is there");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [name, _, labels, meaning] = cells[..] else { panic!("no row of a metric: {row}") };
        let labels = labels.split(", ").filter(|label| !label.trim().is_empty());
        Metric {
            name: name.trim_end_matches('`').to_owned(),
            labels: labels.map(|label| label.trim().to_owned()).collect(),
            meaning: meaning.trim_end_matches('.').to_owned(),
        }
    })
    .collect()
}

fn shown(Metric { name, .. }: &Metric) -> Shown {
    let is = |end: &str| name.ends_with(end);
    let (kind, expr, unit, more) = match name {
        _ if is("_info") => ("stat", name.clone(), "none", ""),
        _ if is("_state") => {
            let expr = format!(
                "2 * {name}{{state=\"stuck\"}} + ignoring(state) {name}{{state=\"degraded\"}}"
            );
            ("state-timeline", expr, "none", "")
        }
        _ if is("_bytes_total") => {
            ("timeseries", format!("increase({name}[1h])"), "bytes", ", in an hour")
        }
        _ if is("_total") => {
            ("timeseries", format!("increase({name}[1h])"), "short", ", in an hour")
        }
        _ if is("_expiry_timestamp_seconds") => {
            ("timeseries", format!("({name} - time()) / 86400"), "d", ", in days")
        }
        _ if is("_timestamp_seconds") => {
            ("timeseries", format!("time() - {name}"), "s", ", how long ago")
        }
        _ if is("_seconds") => ("timeseries", name.clone(), "s", ""),
        _ if is("_bytes") => ("timeseries", name.clone(), "bytes", ""),
        _ => ("timeseries", name.clone(), "short", ""),
    };
    Shown { kind, expr, unit, title: format!("{}{more}", words(name)) }
}

/// A name without what all have and without its unit, as words.
fn words(name: &str) -> String {
    let mut rest = name.trim_start_matches("s1_coralogix_");
    for unit in ["_total", "_seconds", "_timestamp", "_bytes"] {
        rest = rest.strip_suffix(unit).unwrap_or(rest);
    }
    capital(&rest.replace('_', " "))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn panel(at: usize, metric: &Metric) -> Value {
    const WIDTH: usize = 12;
    const HEIGHT: usize = 7;
    let Shown { kind, expr, unit, title } = shown(metric);
    let labels = metric.labels.iter().filter(|label| *label != "state");
    let legend: String = labels.map(|label| format!(" {{{{{label}}}}}")).collect();
    let mut defaults = json!({ "unit": unit });
    if kind == "state-timeline" {
        let word = |at: usize, text: &str, color: &str| json!({ "index": at, "text": text, "color": color });
        defaults["mappings"] = json!([{ "type": "value", "options": {
            "0": word(0, "healthy", "green"),
            "1": word(1, "degraded", "orange"),
            "2": word(2, "stuck", "red"),
        } }]);
    }
    let options = match kind {
        "stat" => json!({ "textMode": "name" }),
        _ => json!({}),
    };
    json!({
        "id": at + 1,
        "type": kind,
        "title": title,
        "description": format!("{}: {}.", metric.name, metric.meaning),
        "datasource": { "type": "prometheus", "uid": "${datasource}" },
        "gridPos": { "h": HEIGHT, "w": WIDTH, "x": at % 2 * WIDTH, "y": at / 2 * HEIGHT },
        "fieldConfig": { "defaults": defaults, "overrides": [] },
        "options": options,
        "targets": [{ "refId": "A", "expr": expr, "legendFormat": format!("{{{{instance}}}}{legend}") }],
    })
}

pub fn render() -> String {
    let metrics = metrics();
    let panels: Vec<Value> = metrics.iter().enumerate().map(|(at, one)| panel(at, one)).collect();
    let dashboard = json!({
        "title": "s1-coralogix",
        "uid": "s1-coralogix",
        "tags": ["s1-coralogix"],
        "schemaVersion": 39,
        "editable": true,
        "refresh": "1m",
        "time": { "from": "now-24h", "to": "now" },
        "templating": { "list": [
            { "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source" },
        ] },
        "panels": panels,
    });
    format!("{dashboard:#}\n")
}

#[test]
fn each_metric_has_a_panel_and_promtool_can_read_its_query() {
    let metrics = metrics();
    assert!(metrics.len() >= 30, "{}", metrics.len());
    let rules: Vec<Value> = metrics
        .iter()
        .map(|metric| json!({ "record": format!("a:{}", metric.name), "expr": shown(metric).expr }))
        .collect();
    // YAML can be written as JSON.
    let rules = json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string();
    let path = std::env::temp_dir().join(format!("s1-coralogix-{}-rules.yml", std::process::id()));
    std::fs::write(&path, rules).expect("a temporary file can be written");
    let ended = Command::new("promtool").args(["check", "rules"]).arg(&path).output();
    let _ = std::fs::remove_file(&path);
    let Ok(ended) = ended else {
        skip::skipped("promtool is not installed (package prometheus)");
        return;
    };
    let said = [ended.stdout, ended.stderr].concat();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&said));
}
