//! The status in Prometheus' text format, for node_exporter's textfile collector.
//!
//! Promises: names, types and units follow Prometheus' conventions (`promtool check metrics` has
//! nothing to say). Names only ever get more within a major version.
//! Never: says what the status does not.

use std::fmt::Write as _;

use super::status::{self, Lane, Status};
use crate::plain;
use crate::time::Stamp;

/// Every metric there is: name, type, help. docs/METRICS.md lists the same.
pub const METRICS: [(&str, &str, &str); 30] = [
    ("s1_coralogix_info", "gauge", "The running version; always 1."),
    ("s1_coralogix_uptime_seconds", "gauge", "Time since the process started."),
    ("s1_coralogix_updated_timestamp_seconds", "gauge", "When this file was written."),
    ("s1_coralogix_state", "gauge", "1 for the current state of the collector, 0 for the others."),
    ("s1_coralogix_integration_state", "gauge", "The same for one SentinelOne tenant."),
    ("s1_coralogix_stream_state", "gauge", "The same for one stream."),
    ("s1_coralogix_delivery_state", "gauge", "The same for the delivery to Coralogix."),
    ("s1_coralogix_credential_expiry_timestamp_seconds", "gauge", "When an API token expires."),
    ("s1_coralogix_stream_collected_records_total", "counter", "Records collected."),
    (
        "s1_coralogix_stream_position_timestamp_seconds",
        "gauge",
        "Time of the newest record collected.",
    ),
    ("s1_coralogix_stream_lag_seconds", "gauge", "How far that is behind SentinelOne's clock."),
    ("s1_coralogix_stream_failures", "gauge", "Failed requests since the last success."),
    ("s1_coralogix_delivered_records_total", "counter", "Records that Coralogix accepted."),
    ("s1_coralogix_delivery_failures", "gauge", "Failed requests since the last success."),
    (
        "s1_coralogix_delivery_remarks_total",
        "counter",
        "Batches accepted with a message in the response.",
    ),
    ("s1_coralogix_long_records_total", "counter", "Records above 30,000 bytes."),
    ("s1_coralogix_unstamped_records_total", "counter", "Records sent without timestamp."),
    ("s1_coralogix_queue_waiting_records", "gauge", "Records waiting for delivery."),
    ("s1_coralogix_queue_oldest_timestamp_seconds", "gauge", "Time of the oldest waiting record."),
    ("s1_coralogix_queue_bytes", "gauge", "Size of the queue on disk."),
    ("s1_coralogix_queue_max_bytes", "gauge", "Maximum size of the queue."),
    ("s1_coralogix_queue_parked_records", "gauge", "Records that Coralogix rejected."),
    (
        "s1_coralogix_queue_doubt_batches",
        "gauge",
        "Batches that Coralogix may not have accepted in full.",
    ),
    ("s1_coralogix_gaps", "gauge", "Gaps recorded and not closed."),
    ("s1_coralogix_untold_gaps", "gauge", "Of these, not delivered to Coralogix yet."),
    (
        "s1_coralogix_clock_ahead_seconds",
        "gauge",
        "Offset of this machine's clock from the services'.",
    ),
    ("s1_coralogix_stream_late_records_total", "counter", "Records that reconciliation found."),
    ("s1_coralogix_disk_written_bytes_total", "counter", "Written to disk by this process."),
    ("s1_coralogix_log_complaints_total", "counter", "Log lines at WARN or ERROR."),
    (
        "s1_coralogix_log_lost_lines_total",
        "counter",
        "Log lines lost because stderr did not accept them.",
    ),
];

/// The whole text.
pub fn render(status: &Status) -> String {
    let mut page = Page { out: String::new(), last: "" };
    page.put("s1_coralogix_info", &[("version", &status.version)], 1.0);
    page.put("s1_coralogix_uptime_seconds", &[], status.uptime_seconds as f64);
    page.time("s1_coralogix_updated_timestamp_seconds", &[], Some(&status.updated));
    page.state("s1_coralogix_state", None, &status.state);
    for one in &status.integrations {
        let label = ("integration", one.name.as_str());
        page.state("s1_coralogix_integration_state", Some(label), &one.lane.mood);
    }
    for stream in &status.streams {
        let label = ("stream", stream.name.as_str());
        page.state("s1_coralogix_stream_state", Some(label), &stream.lane.mood);
    }
    page.state("s1_coralogix_delivery_state", None, &status.coralogix.lane.mood);
    for one in &status.integrations {
        let labels = [("integration", one.name.as_str())];
        let name = "s1_coralogix_credential_expiry_timestamp_seconds";
        page.time(name, &labels, one.token_ends.as_ref());
    }
    streams(&mut page, status);
    sink(&mut page, status);
    page.out
}

fn streams(page: &mut Page, status: &Status) {
    type Of = fn(&mut Page, &[(&str, &str)], &status::Stream);
    let metrics: [Of; 5] = [
        |page, labels, stream| {
            let name = "s1_coralogix_stream_collected_records_total";
            page.put(name, labels, stream.collected as f64);
        },
        |page, labels, stream| {
            let name = "s1_coralogix_stream_position_timestamp_seconds";
            page.time(name, labels, stream.position.as_ref());
        },
        |page, labels, stream| {
            if let Some(lag) = stream.lag_seconds {
                page.put("s1_coralogix_stream_lag_seconds", labels, lag as f64);
            }
        },
        |page, labels, stream| {
            page.put("s1_coralogix_stream_failures", labels, failures(&stream.lane));
        },
        |page, labels, stream| {
            let late = stream.reconciliation.late_records;
            page.put("s1_coralogix_stream_late_records_total", labels, late as f64);
        },
    ];
    // All samples of a metric stand together.
    for metric in metrics {
        for stream in &status.streams {
            metric(page, &[("stream", &stream.name)], stream);
        }
    }
}

fn sink(page: &mut Page, status: &Status) {
    let (sink, queue) = (&status.coralogix, &status.queue);
    for (name, value) in [
        ("s1_coralogix_delivered_records_total", sink.delivered as f64),
        ("s1_coralogix_delivery_failures", failures(&sink.lane)),
        ("s1_coralogix_delivery_remarks_total", sink.remarks as f64),
        ("s1_coralogix_long_records_total", sink.long_records as f64),
        ("s1_coralogix_unstamped_records_total", sink.unstamped as f64),
        ("s1_coralogix_queue_waiting_records", queue.waiting as f64),
    ] {
        page.put(name, &[], value);
    }
    page.time("s1_coralogix_queue_oldest_timestamp_seconds", &[], queue.oldest.as_ref());
    for (name, value) in [
        ("s1_coralogix_queue_bytes", Some(queue.bytes)),
        ("s1_coralogix_queue_max_bytes", Some(queue.max_bytes)),
        ("s1_coralogix_queue_parked_records", Some(queue.parked)),
        ("s1_coralogix_queue_doubt_batches", Some(queue.doubt)),
        ("s1_coralogix_disk_written_bytes_total", status.disk.written_bytes),
    ] {
        if let Some(value) = value {
            page.put(name, &[], value as f64);
        }
    }
    page.put("s1_coralogix_gaps", &[], status.gaps.count as f64);
    page.put("s1_coralogix_untold_gaps", &[], status.gaps.untold as f64);
    if let Some(ahead) = status.clock.ahead_seconds {
        page.put("s1_coralogix_clock_ahead_seconds", &[], ahead as f64);
    }
    let complaints = status.last_trouble.as_ref().map_or(0, |trouble| trouble.count);
    page.put("s1_coralogix_log_complaints_total", &[], complaints as f64);
    page.put("s1_coralogix_log_lost_lines_total", &[], status.log_lines_lost as f64);
}

fn failures(lane: &Lane) -> f64 {
    f64::from(lane.failures)
}

struct Page {
    out: String,
    /// The metric whose samples are being written.
    last: &'static str,
}

impl Page {
    fn put(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let declared = METRICS.iter().find(|(declared, ..)| *declared == name);
        let (name, kind, help) = *declared.expect("every metric is in the table");
        if self.last != name {
            let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            self.last = name;
        }
        self.out.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{label}=\"{}\"", escaped(text));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{after} {value}");
    }

    fn time(&mut self, name: &str, labels: &[(&str, &str)], stamp: Option<&String>) {
        if let Some(stamp) = stamp.and_then(|stamp| Stamp::parse(stamp)) {
            self.put(name, labels, stamp.0 as f64 / 1_000_000.0);
        }
    }

    fn state(&mut self, name: &str, label: Option<(&str, &str)>, state: &str) {
        for word in ["healthy", "degraded", "stuck"] {
            let labels: Vec<_> = label.into_iter().chain([("state", word)]).collect();
            self.put(name, &labels, f64::from(u8::from(word == state)));
        }
    }
}

/// As the text format wants label values.
fn escaped(text: &str) -> String {
    plain::text(text).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_declared_documented_and_named_by_convention() {
        let docs = include_str!("../../docs/METRICS.md");
        for (name, kind, help) in METRICS {
            assert!(docs.contains(&format!("| `{name}` | {kind} |")), "{name}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            assert!(help.ends_with('.'), "{name}");
        }
        let documented = docs.lines().filter(|line| line.starts_with("| `s1_coralogix_")).count();
        assert_eq!(documented, METRICS.len());
    }

    #[test]
    fn a_label_can_hold_anything() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
