//! Coralogix's severity of a record. SentinelOne gives its records none that is a number.
//!
//! Promises: always 3 (info) to 6 (critical). Never 1 or 2: those are often blocked by quota rules;
//! never none: a record without severity counts as debug, one outside 1 to 6 may be dropped.

pub const INFO: u8 = 3;
pub const WARNING: u8 = 4;
pub const ERROR: u8 = 5;
pub const CRITICAL: u8 = 6;

/// What a threat says of itself, in SentinelOne's words; empty where it says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreatWords<'a> {
    pub confidence_level: &'a str,
    pub mitigation_status: &'a str,
    pub analyst_verdict: &'a str,
    pub incident_status: &'a str,
}

pub fn of_threat(words: ThreatWords<'_>) -> u8 {
    let settled = words.analyst_verdict == "false_positive"
        || words.mitigation_status == "marked_as_benign"
        || words.incident_status == "resolved";
    let malicious =
        words.confidence_level == "malicious" || words.analyst_verdict == "true_positive";
    match (settled, malicious) {
        (true, _) => INFO,
        // Anything but a clear "mitigated" is not mitigated, so that a new word never hides one.
        (false, true) if words.mitigation_status == "mitigated" => ERROR,
        (false, true) => CRITICAL,
        // Suspicious, or a word not known yet: nobody has called it harmless.
        (false, false) => WARNING,
    }
}

/// An alert's `severity`: `Critical` in alerts, `E_CRITICAL` in activities about alerts.
pub fn of_alert(level: &str) -> u8 {
    let word = level.strip_prefix("E_").unwrap_or(level);
    [("critical", CRITICAL), ("high", ERROR), ("medium", WARNING)]
        .into_iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name))
        .map_or(INFO, |(_, severity)| severity)
}

/// An activity by its type; `level` is the alert's where the activity tells of one.
///
/// New types appear all the time; one that is not named here is information.
pub fn of_activity(activity_type: u32, level: &str) -> u8 {
    match activity_type {
        // A custom or platform rule raised an alert.
        3608 | 3784 => of_alert(level),
        // A new active threat.
        19 => ERROR,
        // A new suspicious threat, or an event marked as suspicious.
        4003 | 4105 | 4107 => WARNING,
        // A failed login: of a user, of an unknown one, at the second factor.
        133 | 134 | 3625 => WARNING,
        // An agent uninstalled, or disabled in one of five ways.
        51 | 117 | 119 | 126 | 127 | 128 => WARNING,
        // Protection removed: anti-tampering changed, a hash off the blocklist, a custom rule, a
        // device, firewall or network quarantine rule deleted.
        76 | 3020 | 3023 | 3602 | 5122 | 5222 | 5236 => WARNING,
        // The policy of a group, site or account reverted, or an engine of one switched.
        68 | 69 | 5011 | 5024 | 5044 => WARNING,
        _ => INFO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threats() {
        for (confidence_level, mitigation_status, analyst_verdict, incident_status, severity) in [
            ("malicious", "not_mitigated", "undefined", "unresolved", 6),
            ("malicious", "not_mitigated", "true_positive", "in_progress", 6),
            ("malicious", "", "", "", 6),
            ("malicious", "mitigated", "undefined", "unresolved", 5),
            ("suspicious", "mitigated", "true_positive", "unresolved", 5),
            ("suspicious", "not_mitigated", "undefined", "unresolved", 4),
            ("suspicious", "mitigated", "suspicious", "unresolved", 4),
            ("n/a", "not_mitigated", "undefined", "unresolved", 4),
            ("", "", "", "", 4),
            ("malicious", "not_mitigated", "true_positive", "resolved", 3),
            ("malicious", "not_mitigated", "false_positive", "unresolved", 3),
            ("suspicious", "marked_as_benign", "undefined", "unresolved", 3),
        ] {
            let words = ThreatWords {
                confidence_level,
                mitigation_status,
                analyst_verdict,
                incident_status,
            };
            assert_eq!(of_threat(words), severity, "{words:?}");
        }
    }

    #[test]
    fn alerts_and_activities() {
        for (level, severity) in [
            ("Critical", 6),
            ("E_CRITICAL", 6),
            ("CRITICAL", 6),
            ("High", 5),
            ("E_HIGH", 5),
            ("Medium", 4),
            ("E_MEDIUM", 4),
            ("Low", 3),
            ("Info", 3),
            ("E_", 3),
            ("", 3),
        ] {
            assert_eq!(of_alert(level), severity, "{level}");
            assert_eq!(of_activity(3608, level), severity, "{level}");
            assert_eq!(of_activity(3784, level), severity, "{level}");
        }
        for (activity_type, severity) in
            [(19, 5), (4003, 4), (133, 4), (126, 4), (51, 4), (27, 3), (18, 3), (0, 3), (99_999, 3)]
        {
            assert_eq!(of_activity(activity_type, "E_CRITICAL"), severity, "{activity_type}");
        }
    }
}
