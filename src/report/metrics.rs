//! The status in Prometheus' text format, for node_exporter's textfile collector.
//!
//! Promises: names, types and units follow Prometheus' conventions (`promtool check metrics` finds
//! nothing). Names are only added within a major version. Never: contains what the status does not.

use std::fmt::Write as _;

use super::status::{Integration, Status, Stream};
use crate::plain;
use crate::time::Stamp;

/// A metric and where its samples come from.
struct Metric {
    name: &'static str,
    help: &'static str,
    of: Of,
}

/// The samples of a metric; where there is no value there is no sample.
enum Of {
    /// The version as a label.
    Version,
    One(fn(&Status) -> Option<f64>),
    Integrations(fn(&Integration) -> Option<f64>),
    Streams(fn(&Stream) -> Option<f64>),
    /// 1 for the state that it has, of each that has one.
    States(fn(&Status) -> Vec<Stated<'_>>),
}

type Label<'a> = (&'static str, &'a str);

/// What has a state, and the state.
type Stated<'a> = (Option<Label<'a>>, &'a str);

const fn metric(name: &'static str, help: &'static str, of: Of) -> Metric {
    Metric { name, help, of }
}

/// Every metric there is. docs/METRICS.md lists the same.
const METRICS: [Metric; 30] = [
    metric("s1_coralogix_info", "The running version; always 1.", Of::Version),
    metric(
        "s1_coralogix_uptime_seconds",
        "Time since the process started.",
        Of::One(|status| Some(status.uptime_seconds as f64)),
    ),
    metric(
        "s1_coralogix_updated_timestamp_seconds",
        "When this file was written.",
        Of::One(|status| time(&status.updated)),
    ),
    metric(
        "s1_coralogix_state",
        "1 for the current state of the collector, 0 for the others.",
        Of::States(|status| vec![(None, &status.state)]),
    ),
    metric(
        "s1_coralogix_integration_state",
        "The same for one SentinelOne tenant.",
        Of::States(|status| {
            let all = status.integrations.iter();
            all.map(|one| (Some(("integration", &*one.name)), &*one.lane.health)).collect()
        }),
    ),
    metric(
        "s1_coralogix_stream_state",
        "The same for one stream.",
        Of::States(|status| {
            let all = status.streams.iter();
            all.map(|one| (Some(("stream", &*one.name)), &*one.lane.health)).collect()
        }),
    ),
    metric(
        "s1_coralogix_delivery_state",
        "The same for the delivery to Coralogix.",
        Of::States(|status| vec![(None, &status.coralogix.lane.health)]),
    ),
    metric(
        "s1_coralogix_credential_expiry_timestamp_seconds",
        "When an API token expires.",
        Of::Integrations(|one| time(one.token_ends.as_ref()?)),
    ),
    metric(
        "s1_coralogix_stream_collected_records_total",
        "Records collected.",
        Of::Streams(|stream| Some(stream.collected as f64)),
    ),
    metric(
        "s1_coralogix_stream_position_timestamp_seconds",
        "Time of the newest record collected.",
        Of::Streams(|stream| time(stream.position.as_ref()?)),
    ),
    metric(
        "s1_coralogix_stream_lag_seconds",
        "How far that is behind SentinelOne's clock.",
        Of::Streams(|stream| Some(stream.lag_seconds? as f64)),
    ),
    metric(
        "s1_coralogix_stream_failures",
        "Failed requests since the last success.",
        Of::Streams(|stream| Some(f64::from(stream.lane.failures))),
    ),
    metric(
        "s1_coralogix_delivered_records_total",
        "Records that Coralogix accepted.",
        Of::One(|status| Some(status.coralogix.delivered as f64)),
    ),
    metric(
        "s1_coralogix_delivery_failures",
        "Failed requests since the last success.",
        Of::One(|status| Some(f64::from(status.coralogix.lane.failures))),
    ),
    metric(
        "s1_coralogix_delivery_remarks_total",
        "Batches accepted with a message in the response.",
        Of::One(|status| Some(status.coralogix.remarks as f64)),
    ),
    metric(
        "s1_coralogix_long_records_total",
        "Records above 30,000 bytes.",
        Of::One(|status| Some(status.coralogix.long_records as f64)),
    ),
    metric(
        "s1_coralogix_unstamped_records_total",
        "Records sent without timestamp.",
        Of::One(|status| Some(status.coralogix.unstamped as f64)),
    ),
    metric(
        "s1_coralogix_queue_waiting_records",
        "Records waiting for delivery.",
        Of::One(|status| Some(status.queue.waiting as f64)),
    ),
    metric(
        "s1_coralogix_queue_oldest_timestamp_seconds",
        "Time of the oldest waiting record.",
        Of::One(|status| time(status.queue.oldest.as_ref()?)),
    ),
    metric(
        "s1_coralogix_queue_bytes",
        "Size of the queue on disk.",
        Of::One(|status| Some(status.queue.bytes as f64)),
    ),
    metric(
        "s1_coralogix_queue_max_bytes",
        "Maximum size of the queue.",
        Of::One(|status| Some(status.queue.max_bytes as f64)),
    ),
    metric(
        "s1_coralogix_queue_parked_records",
        "Records that Coralogix rejected.",
        Of::One(|status| Some(status.queue.parked as f64)),
    ),
    metric(
        "s1_coralogix_queue_doubt_batches",
        "Batches that Coralogix may not have accepted in full.",
        Of::One(|status| Some(status.queue.doubt as f64)),
    ),
    metric(
        "s1_coralogix_gaps",
        "Gaps recorded and not closed.",
        Of::One(|status| Some(status.gaps.count as f64)),
    ),
    metric(
        "s1_coralogix_untold_gaps",
        "Of these, not delivered to Coralogix yet.",
        Of::One(|status| Some(status.gaps.untold as f64)),
    ),
    metric(
        "s1_coralogix_clock_ahead_seconds",
        "Offset of this machine's clock from the services'.",
        Of::One(|status| Some(status.clock.ahead_seconds? as f64)),
    ),
    metric(
        "s1_coralogix_stream_late_records_total",
        "Records that reconciliation found.",
        Of::Streams(|stream| Some(stream.reconciliation.late_records as f64)),
    ),
    metric(
        "s1_coralogix_disk_written_bytes_total",
        "Written to disk by this process.",
        Of::One(|status| Some(status.disk.written_bytes? as f64)),
    ),
    metric(
        "s1_coralogix_log_complaints_total",
        "Log lines at WARN or ERROR.",
        Of::One(|status| {
            Some(status.last_trouble.as_ref().map_or(0, |trouble| trouble.count) as f64)
        }),
    ),
    metric(
        "s1_coralogix_log_lost_lines_total",
        "Log lines lost because stderr did not accept them.",
        Of::One(|status| Some(status.log_lines_lost as f64)),
    ),
];

impl Metric {
    /// By Prometheus' convention the name says it.
    fn kind(&self) -> &'static str {
        if self.name.ends_with("_total") { "counter" } else { "gauge" }
    }
}

/// The whole text.
pub fn render(status: &Status) -> String {
    let mut out = String::new();
    for metric in &METRICS {
        let mut page = Page { out: &mut out, metric, is_begun: false };
        match metric.of {
            Of::Version => page.put(&[("version", &status.version)], Some(1.0)),
            Of::One(of) => page.put(&[], of(status)),
            Of::Integrations(of) => {
                status.integrations.iter().for_each(|one| {
                    page.put(&[("integration", &one.name)], of(one));
                });
            }
            Of::Streams(of) => {
                status.streams.iter().for_each(|one| page.put(&[("stream", &one.name)], of(one)));
            }
            Of::States(of) => {
                for (label, state) in of(status) {
                    for word in ["healthy", "degraded", "stuck"] {
                        let labels: Vec<_> = label.into_iter().chain([("state", word)]).collect();
                        page.put(&labels, Some(f64::from(u8::from(word == state))));
                    }
                }
            }
        }
    }
    out
}

/// A time of the status in seconds.
fn time(stamp: &str) -> Option<f64> {
    Stamp::parse(stamp).map(|stamp| stamp.0 as f64 / 1_000_000.0)
}

/// The block of one metric.
struct Page<'a> {
    out: &'a mut String,
    metric: &'a Metric,
    is_begun: bool,
}

impl Page<'_> {
    fn put(&mut self, labels: &[Label<'_>], value: Option<f64>) {
        let Some(value) = value else { return };
        let Metric { name, help, .. } = self.metric;
        if !std::mem::replace(&mut self.is_begun, true) {
            let kind = self.metric.kind();
            let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
        self.out.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{label}=\"{}\"", escaped(text));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{after} {value}");
    }
}

/// Escaped as the text format requires for label values.
fn escaped(text: &str) -> String {
    plain::text(text).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_declared_documented_and_named_by_convention() {
        let docs = include_str!("../../docs/METRICS.md");
        for metric in &METRICS {
            let Metric { name, help, .. } = metric;
            assert!(docs.contains(&format!("| `{name}` | {} |", metric.kind())), "{name}");
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
