//! What was learned of the other sides, so that a process does not begin anew with what killed or
//! stopped the last one.
//!
//! Holds values only, as they stand in the file `learned`. Never: a decision.

use serde::{Deserialize, Serialize};

use super::Place;
use crate::time::{Span, Stamp};

/// In which way something fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// An answer that says that it will not do, whatever the time.
    Refused,
    /// The server gave up, the connection broke, or nothing moved: what one and the same thing leads to
    /// may be now one of these and now another.
    Failed,
}

/// One record or row that fails alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lone<K> {
    pub at: K,
    pub way: Way,
    pub tries: u32,
    /// For how long it had failed at its last try.
    pub for_ms: Span,
}

/// Where a row is found: the first from a time on, or the first after those rows that have its stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPlace {
    pub from: Stamp,
    pub is_after: bool,
}

/// `None` everywhere: nothing that is not so in every new process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkLearned {
    /// JSON in one body that the sink and the link were seen to bear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lone: Option<Lone<Place>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamLearned {
    /// Rows that a page is asked for, if that is less than a page may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
    /// A page of so many rows is being asked for, and none as large was taken in by this process. Who
    /// finds this at a start knows that the last one ended there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asking: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lone: Option<Lone<RowPlace>>,
}

impl StreamLearned {
    pub fn is_nothing(&self) -> bool {
        *self == StreamLearned::default()
    }
}

/// In the order of the config's streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    pub sink: SinkLearned,
    pub streams: Vec<StreamLearned>,
}
