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

/// What an activity says of itself, in SentinelOne's words; empty where it says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ActivityWords<'a> {
    /// `data.severity`: the alert's, where it tells of one.
    pub severity: &'a str,
    /// `data.confidenceLevel`: the threat's, where it tells of one.
    pub confidence_level: &'a str,
}

/// An activity by its type, or by its words where the type is not named here: new types appear all
/// the time. docs/WHAT-ARRIVES.md has the same table; what says malicious or threat never ranks below
/// what says suspicious of the same.
pub fn of_activity(activity_type: u32, words: ActivityWords<'_>) -> u8 {
    match activity_type {
        // A custom or platform rule raised an alert.
        3608 | 3784 => of_alert(words.severity),
        // A new active threat; one mitigated, or blocked before it ran; one in the cloud.
        18 | 19 | 20 | 4108 => ERROR,
        // An application, a process, a suspicion or an event marked as a threat or as malicious: by
        // a user, a custom rule, threat intelligence, or Watchtower.
        2016 | 4001 | 4009 | 4100 | 4104 | 4106 | 4110 | 4111 => ERROR,
        // A new suspicious threat, also in the cloud, or an event marked as suspicious.
        4003 | 4101 | 4105 | 4107 | 4109 | 4112 | 4113 => WARNING,
        // A hash that the cloud calls malicious.
        2 => WARNING,
        // A threat or a suspicion settled: resolved, benign, in whatever words it was found.
        21 | 22 | 28 | 221 | 4002 | 4007 => INFO,
        // A setting or a rule was made or changed: the severity that it speaks of is its own.
        59 | 3600 | 3601 | 3603..=3607 => INFO,
        // A failed login: of a user, of an unknown one, at the second factor.
        133 | 134 | 3625 => WARNING,
        // An agent uninstalled, or disabled in one of five ways.
        51 | 117 | 119 | 126 | 127 | 128 => WARNING,
        // Protection removed: anti-tampering changed, a hash off the blocklist, a custom rule, a
        // device, firewall or network quarantine rule deleted.
        76 | 3020 | 3023 | 3602 | 5122 | 5222 | 5236 => WARNING,
        // The policy of a group, site or account reverted, or an engine of one switched.
        68 | 69 | 5011 | 5024 | 5044 => WARNING,
        _ => of_alert(words.severity).max(of_confidence(words.confidence_level)),
    }
}

fn of_confidence(level: &str) -> u8 {
    [("malicious", ERROR), ("suspicious", WARNING)]
        .into_iter()
        .find(|(name, _)| level.eq_ignore_ascii_case(name))
        .map_or(INFO, |(_, severity)| severity)
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

    fn plain(activity_type: u32) -> u8 {
        of_activity(activity_type, ActivityWords::default())
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
            // The last two: a known type that says nothing of a danger, and one not known yet.
            for activity_type in [3608, 3784, 27, 99_999] {
                let words = ActivityWords { severity: level, confidence_level: "" };
                assert_eq!(of_activity(activity_type, words), severity, "{level} {activity_type}");
            }
        }
        for (activity_type, severity) in
            [(19, 5), (4003, 4), (133, 4), (126, 4), (51, 4), (27, 3), (18, 5), (0, 3), (99_999, 3)]
        {
            assert_eq!(plain(activity_type), severity, "{activity_type}");
        }
    }

    #[test]
    fn a_type_that_is_not_known_goes_by_its_words() {
        for (severity, confidence_level, wanted) in [
            ("", "malicious", 5),
            ("", "MALICIOUS", 5),
            ("", "suspicious", 4),
            ("", "n/a", 3),
            ("E_LOW", "malicious", 5),
            ("E_CRITICAL", "suspicious", 6),
            ("E_MEDIUM", "", 4),
            ("", "", 3),
        ] {
            let words = ActivityWords { severity, confidence_level };
            assert_eq!(of_activity(99_999, words), wanted, "{words:?}");
        }
        // What is settled, or speaks of a rule, stays so, and a known danger stays one.
        let words = ActivityWords { severity: "E_CRITICAL", confidence_level: "malicious" };
        let known = [4007, 3600, 4003].map(|activity_type| of_activity(activity_type, words));
        assert_eq!(known, [3, 3, 4]);
        let words = ActivityWords { severity: "E_LOW", confidence_level: "suspicious" };
        assert_eq!(of_activity(4106, words), 5);
    }

    /// Every type with a public name, one a line.
    const TYPES: &str = include_str!("activity_types.txt");

    fn types() -> Vec<(u32, String)> {
        let typed = |line: &str| {
            let (number, name) = line.split_once(' ').expect("a number and a name");
            (number.parse().expect("a number"), name.to_lowercase())
        };
        let types: Vec<_> =
            TYPES.lines().filter(|line| !line.starts_with('#')).map(typed).collect();
        assert!(types.len() > 350 && types.is_sorted(), "{}", types.len());
        types
    }

    /// What a name says beside whether it is certain: both of "marked event as malicious" and
    /// "marked event as suspicious" say "marked event as".
    fn said(name: &str) -> String {
        let words = name.split(|c: char| !c.is_alphanumeric());
        let certain = ["suspicious", "malicious", "threat", ""];
        words.filter(|word| !certain.contains(word)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_says_malicious_or_threat_never_ranks_below_what_says_suspicious_of_the_same() {
        let types = types();
        let suspicious = |(_, name): &&(u32, String)| name.contains("suspicious");
        let mut twins = 0;
        for (number, name) in types.iter().filter(suspicious) {
            let certain = types.iter().filter(|other| !suspicious(other));
            for (twin, twin_name) in certain.filter(|(_, other)| said(other) == said(name)) {
                twins += 1;
                assert!(
                    plain(*twin) >= plain(*number),
                    "{twin} ({twin_name}) ranks below {number} ({name})"
                );
            }
        }
        assert!(twins >= 7, "{twins}");
    }

    /// The highest that a suspicion has; below it no certainty is.
    #[test]
    fn what_is_called_malicious_or_marked_as_a_threat_is_never_information() {
        let types = types();
        let highest = types.iter().filter(|(_, name)| name.contains("suspicious"));
        let highest = highest.filter(|(_, name)| !name.contains("as threat"));
        let highest = highest.map(|(number, _)| plain(*number)).max().unwrap();
        assert_eq!(highest, WARNING);
        let mut dangers = 0;
        for (number, name) in &types {
            let attempts = name.contains("failed to mark");
            let is_new = name.starts_with("new ") && name.contains("threat");
            let is_note = name.ends_with("note added");
            let is_marked = name.contains("malicious") || name.contains("as threat");
            if (is_new || is_marked) && !attempts && !is_note {
                dangers += 1;
                assert!(plain(*number) >= highest, "{number} {name}");
            }
        }
        assert!(dangers >= 15, "{dangers}");
    }
}
