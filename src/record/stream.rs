//! What is polled and how it is named: the lists of SentinelOne, what a frame's records are, and
//! the name of a stream on disk and for people.
//!
//! Promises: a code or a name that was written once is read for ever. Never: IO.

use std::fmt;

/// Which of SentinelOne's lists is polled. The number is on disk; never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    Threats = 1,
    Activities = 2,
    Alerts = 3,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Threats, Kind::Activities, Kind::Alerts];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Threats => "threats",
            Kind::Activities => "activities",
            Kind::Alerts => "alerts",
        }
    }

    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The member of a record by which the stream is polled.
    pub fn stamp_name(self) -> &'static str {
        match self {
            Kind::Threats => "threatInfo.updatedAt",
            Kind::Activities => "createdAt",
            Kind::Alerts => "alertInfo.reportedAt",
        }
    }

    /// The permission as the console's role editor names it.
    pub fn permission(self) -> &'static str {
        match self {
            Kind::Threats => "Endpoint Threats: View",
            Kind::Activities => "Activity: View",
            Kind::Alerts => "Custom Alerts: View",
        }
    }
}

/// What the records of a frame are: those of a list that is polled, or the collector's own words,
/// which nobody can be asked for again. The code is on disk; never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    Polled(Kind),
    /// What the collector says itself: a gap, a heartbeat.
    Collector,
}

impl Category {
    const COLLECTOR_CODE: u8 = 4;

    /// The `category` of an entry, and the last part of a stream's name.
    pub fn name(self) -> &'static str {
        match self {
            Category::Polled(kind) => kind.name(),
            Category::Collector => "collector",
        }
    }

    pub fn code(self) -> u8 {
        match self {
            Category::Polled(kind) => kind as u8,
            Category::Collector => Category::COLLECTOR_CODE,
        }
    }

    pub fn from_code(code: u8) -> Option<Category> {
        if code == Category::COLLECTOR_CODE {
            return Some(Category::Collector);
        }
        Kind::ALL.into_iter().find(|kind| *kind as u8 == code).map(Category::Polled)
    }
}

impl From<Kind> for Category {
    fn from(kind: Kind) -> Category {
        Category::Polled(kind)
    }
}

/// A stream's name on disk and for people: `acme/threats`. It outlives any order in the config.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName {
    pub integration: String,
    pub category: Category,
}

impl StreamName {
    pub fn polled(integration: impl Into<String>, kind: Kind) -> StreamName {
        StreamName { integration: integration.into(), category: kind.into() }
    }

    /// Where the collector's own words about an integration go.
    pub fn collector(integration: impl Into<String>) -> StreamName {
        StreamName { integration: integration.into(), category: Category::Collector }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.integration, self.category.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files outlive the program: a code never means anything else.
    #[test]
    fn a_category_is_read_by_its_code_and_the_collectors_is_no_list_to_poll() {
        let known: Vec<(u8, &str)> = (0..=u8::MAX)
            .filter_map(|code| Some((code, Category::from_code(code)?)))
            .inspect(|(code, category)| assert_eq!(category.code(), *code))
            .map(|(code, category)| (code, category.name()))
            .collect();
        assert_eq!(known, [(1, "threats"), (2, "activities"), (3, "alerts"), (4, "collector")]);
        assert_eq!(Kind::from_name("collector"), None);
        assert_eq!(StreamName::collector("acme").to_string(), "acme/collector");
    }
}
