//! What reconciliation found, for the status file and the log.
//!
//! Promises: late records, and the end of reconciliation for a stream, are reported once, after the
//! round in which they were found.

use serde::{Deserialize, Serialize};

use super::changes::Line;
use crate::core::ReconcileView;
use crate::message;
use crate::plain::count;

/// One stream's reconciliation since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reconciled {
    pub on: bool,
    /// Everything created before this was compared with SentinelOne's count; `None`: nothing yet in
    /// this process.
    pub until: Option<String>,
    /// When that was last compared, by SentinelOne's clock.
    pub compared: Option<String>,
    pub comparisons: u64,
    /// Records that became visible only after every poll had passed their time.
    pub late_records: u64,
    /// Records that were collected and that SentinelOne no longer has: deleted, or older than its
    /// retention.
    pub fewer_records: u64,
    /// Time ranges without a usable count, or that needed more requests than a round may make.
    pub unchecked: u64,
    pub last_difference: Option<Difference>,
    /// Why it is off until the next start, or has compared nothing for long: SentinelOne's answer.
    pub refused: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// When the records were created.
    pub from: String,
    pub to: String,
    /// The number of records at SentinelOne.
    pub there: Option<u64>,
    /// The number of them that had been collected.
    pub collected: u64,
    pub late_records: u64,
}

impl Reconciled {
    pub fn of(view: &ReconcileView) -> Reconciled {
        let summary = &view.summary;
        Reconciled {
            on: view.on,
            until: summary.until.map(|stamp| stamp.to_string()),
            compared: summary.compared.map(|stamp| stamp.to_string()),
            comparisons: summary.comparisons,
            late_records: summary.late,
            fewer_records: summary.fewer,
            unchecked: summary.unchecked,
            last_difference: summary.last.as_ref().map(|last| Difference {
                from: last.from.to_string(),
                to: last.to.to_string(),
                there: last.there,
                collected: last.collected,
                late_records: last.late,
            }),
            refused: summary.refused.clone().or_else(|| view.failing.clone()),
        }
    }
}

/// What was last reported of one stream.
#[derive(Clone, Debug, Default)]
pub struct Reported {
    late: u64,
    refused: bool,
    failing: bool,
}

impl Reported {
    pub fn report(&mut self, name: &str, view: &ReconcileView) -> Option<Line> {
        let summary = &view.summary;
        if summary.late > self.late && !view.in_round {
            let found = summary.late - self.late;
            self.late = summary.late;
            let spot = summary.last.as_ref().map_or_else(String::new, |last| {
                format!(", the last created from {} on", last.from.to_the_second())
            });
            return Some((
                message::LATE_RECORDS,
                format!(
                    "{name}: {} became visible only after polling had passed that time{spot}; \
                     found by SentinelOne's count and collected now",
                    count(found, "record")
                ),
            ));
        }
        if let Some(why) = view.failing.as_ref().filter(|_| !self.failing) {
            self.failing = true;
            return Some((
                message::COUNTS_FAIL,
                format!(
                    "{name}: the requests of reconciliation fail ({why}), so late records are not \
                     found meanwhile; polling continues"
                ),
            ));
        }
        self.failing &= view.failing.is_some();
        let why = summary.refused.as_ref().filter(|_| !self.refused)?;
        self.refused = true;
        Some((
            message::COUNT_REFUSED,
            format!(
                "{name}: SentinelOne rejects count queries, or its counts can't be trusted ({why}), so \
                 reconciliation is off until the next start; polling continues"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ReconcileSummary;

    #[test]
    fn late_records_are_told_once_after_their_round_and_so_is_a_refusal() {
        let mut reported = Reported::default();
        let mut view = ReconcileView {
            on: true,
            in_round: true,
            failing: None,
            summary: ReconcileSummary::default(),
        };
        assert_eq!(reported.report("acme/threats", &view), None);
        view.summary.late = 3;
        assert_eq!(reported.report("acme/threats", &view), None);
        view.in_round = false;
        let (code, text) = reported.report("acme/threats", &view).unwrap();
        assert_eq!(code, message::LATE_RECORDS);
        assert!(text.starts_with("acme/threats: 3 records became visible"), "{text}");
        assert_eq!(reported.report("acme/threats", &view), None);
        for failing in [Some("HTTP 500"), Some("HTTP 500"), None, Some("HTTP 403")] {
            let is_new = failing != view.failing.as_deref() && failing.is_some();
            view.failing = failing.map(str::to_owned);
            let line = reported.report("acme/threats", &view);
            assert_eq!(line.map(|(code, _)| code), is_new.then_some(message::COUNTS_FAIL));
        }
        view.failing = None;
        view.summary.refused = Some("HTTP 400".to_owned());
        assert!(reported.report("acme/threats", &view).unwrap().1.contains("(HTTP 400)"));
        assert_eq!(reported.report("acme/threats", &view), None);
    }
}
