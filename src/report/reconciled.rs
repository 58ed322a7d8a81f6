//! What reconciliation found, for the status file and the log.
//!
//! Promises: late records and an end of reconciliation are told once, after the round that met them.

use serde::{Deserialize, Serialize};

use super::changes::Line;
use crate::core::ReconcileView;
use crate::message;
use crate::plain::count;

/// One stream's reconciliation since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reconciled {
    pub on: bool,
    /// Everything created before this was compared with SentinelOne's count; `None`: not yet in
    /// this process.
    pub until: Option<String>,
    /// When that was last done, by SentinelOne's clock.
    pub compared: Option<String>,
    pub comparisons: u64,
    /// Records found that had become visible after every poll had passed them.
    pub late_records: u64,
    /// Records collected that SentinelOne no longer has: deleted, or beyond its retention.
    pub fewer_records: u64,
    /// Ranges without a usable count, or that needed more requests than a round may make.
    pub unchecked: u64,
    pub last_difference: Option<Difference>,
    /// Why it is off until the next start: SentinelOne's refusal of the question.
    pub refused: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// When the records were created.
    pub from: String,
    pub to: String,
    /// SentinelOne's count.
    pub there: Option<u64>,
    /// What had been collected of them.
    pub collected: u64,
    pub late_records: u64,
}

impl Reconciled {
    pub fn of(view: &ReconcileView) -> Reconciled {
        let tale = &view.tale;
        Reconciled {
            on: view.on,
            until: tale.until.map(|stamp| stamp.to_string()),
            compared: tale.compared.map(|stamp| stamp.to_string()),
            comparisons: tale.comparisons,
            late_records: tale.late,
            fewer_records: tale.fewer,
            unchecked: tale.unchecked,
            last_difference: tale.last.as_ref().map(|last| Difference {
                from: last.from.to_string(),
                to: last.to.to_string(),
                there: last.there,
                collected: last.collected,
                late_records: last.late,
            }),
            refused: tale.refused.clone(),
        }
    }
}

/// What was last told of one stream.
#[derive(Clone, Debug, Default)]
pub struct Told {
    late: u64,
    refused: bool,
}

impl Told {
    pub fn tell(&mut self, name: &str, view: &ReconcileView) -> Option<Line> {
        let tale = &view.tale;
        if tale.late > self.late && !view.in_round {
            let found = tale.late - self.late;
            self.late = tale.late;
            let spot = tale.last.as_ref().map_or_else(String::new, |last| {
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
        let why = tale.refused.as_ref().filter(|_| !self.refused)?;
        self.refused = true;
        Some((
            message::COUNT_REFUSED,
            format!(
                "{name}: SentinelOne rejects count queries ({why}), so reconciliation is off until \
                 the next start; polling continues"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Tale;

    #[test]
    fn late_records_are_told_once_after_their_round_and_so_is_a_refusal() {
        let mut told = Told::default();
        let mut view = ReconcileView { on: true, in_round: true, tale: Tale::default() };
        assert_eq!(told.tell("acme/threats", &view), None);
        view.tale.late = 3;
        assert_eq!(told.tell("acme/threats", &view), None);
        view.in_round = false;
        let (code, text) = told.tell("acme/threats", &view).unwrap();
        assert_eq!(code, message::LATE_RECORDS);
        assert!(text.starts_with("acme/threats: 3 records became visible"), "{text}");
        assert_eq!(told.tell("acme/threats", &view), None);
        view.tale.refused = Some("HTTP 400".to_owned());
        assert!(told.tell("acme/threats", &view).unwrap().1.contains("(HTTP 400)"));
        assert_eq!(told.tell("acme/threats", &view), None);
    }
}
