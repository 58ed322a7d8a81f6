//! The sections of the config, part of the table of settings.
//!
//! Promises: every setting is in one of them. Never: holds a setting.

/// The sections, in the order in which people should read them.
pub const SECTIONS: [Section; 11] = [
    Section { name: "coralogix", repeated: false, doc: "Where the records go." },
    Section {
        name: "integration",
        repeated: true,
        doc: "Where the records come from. Repeat this section for each SentinelOne tenant.",
    },
    Section {
        name: "queue",
        repeated: false,
        doc: "What waits on disk. Nothing is dropped: a full queue stops the polling, and \
              SentinelOne keeps the records until there is room.",
    },
    Section {
        name: "delivery",
        repeated: false,
        doc: "When and how fast Coralogix is sent to, for links that are metered or needed by day.",
    },
    Section {
        name: "polling",
        repeated: false,
        doc: "When and how fast SentinelOne is asked. What is not asked for stays there.",
    },
    Section { name: "network", repeated: false, doc: "How both services are reached." },
    Section {
        name: "retry",
        repeated: false,
        doc: "How long to wait after a failure. The wait doubles from min to max, at random \
              points below, and is never shorter than a service's Retry-After.",
    },
    Section {
        name: "heartbeat",
        repeated: false,
        doc: "A small record of category \"collector\" that tells Coralogix how the collector \
              fares, for alerts and dashboards.",
    },
    Section { name: "log", repeated: false, doc: "What is written to stderr." },
    Section { name: "status", repeated: false, doc: "What `s1-coralogix status` reads." },
    Section { name: "metrics", repeated: false, doc: "The status for Prometheus." },
];

/// A table of the config.
pub struct Section {
    pub name: &'static str,
    /// Whether it is written `[[name]]`, any number of times.
    pub repeated: bool,
    pub doc: &'static str,
}
