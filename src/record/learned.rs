//! What was learned of the other sides, so that a process does not begin anew with what killed or
//! stopped the last one.
//!
//! Holds values, as they stand in the files `learned` and `asking`, and the one thing that follows from
//! them alone: which size killed a process. Never: asks for anything.

use serde::{Deserialize, Serialize};

use super::{Progress, QueuePosition};
use crate::limits::{KILLED_RAISE_AFTER, KILLED_RAISE_AFTER_MAX};
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
    /// Records in one body, where even the shortest was too long with more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_entries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lone: Option<Lone<QueuePosition>>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bears: Option<Bears>,
    /// The progress before it moved while no two clocks agreed on the time. None: they agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Stamp>,
    /// Where walks started from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_from: Option<Stamp>,
    /// It is where the stream began, by a time that nobody confirmed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_beginning: bool,
}

/// What the memory of this machine was seen to bear: the kernel killed a process in a page of twice as
/// many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bears {
    pub rows: u32,
    /// So many full pages before twice as many are tried; each kill doubles it.
    pub after: u32,
}

/// How many processes the kernel has killed for lack of memory since it booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kills {
    /// Tells one boot from another.
    pub boot: u32,
    pub count: u32,
}

impl StreamLearned {
    pub fn confirmed_progress(&self) -> Option<Progress> {
        let (position, from) = self.confirmed.zip(self.confirmed_from)?;
        Some(Progress { position, from })
    }

    pub fn is_nothing(&self) -> bool {
        *self == StreamLearned::default()
    }
}

/// In the order of the config's streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    pub sink: SinkLearned,
    pub streams: Vec<StreamLearned>,
    /// When the pages that are being asked for were written down. Only of what is read at a start.
    pub kills: Option<Kills>,
}

impl Learned {
    /// Bounds what the last process was asking for, if the kernel has killed for lack of memory since.
    /// A power cut tells nothing of a size, so the count alone decides. Returns what was asked for.
    pub fn bound(&mut self, now: Option<Kills>) -> Vec<(usize, u32)> {
        let is_killed = self
            .kills
            .take()
            .zip(now)
            .is_some_and(|(then, now)| then.boot == now.boot && then.count < now.count);
        let mut bounded = Vec::new();
        for (at, stream) in self.streams.iter_mut().enumerate() {
            if let Some(asked) = stream.asking.filter(|_| is_killed) {
                let after = stream.bears.map_or(KILLED_RAISE_AFTER, |bears| {
                    bears.after.saturating_mul(2).min(KILLED_RAISE_AFTER_MAX)
                });
                stream.bears = Some(Bears { rows: (asked / 2).max(1), after });
                bounded.push((at, asked));
            }
        }
        bounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(asking: Option<u32>, bears: Option<Bears>, kills: Option<Kills>) -> Learned {
        let asked = StreamLearned { asking, bears, ..StreamLearned::default() };
        let streams = vec![StreamLearned::default(), asked];
        Learned { sink: SinkLearned::default(), streams, kills }
    }

    #[test]
    fn only_a_kill_for_lack_of_memory_in_the_same_boot_bounds_what_was_asked_for() {
        let kills = |boot, count| Some(Kills { boot, count });
        for (asking, then, now, bounds) in [
            (Some(500), kills(7, 2), kills(7, 3), true),
            (Some(500), kills(7, 2), kills(7, 2), false),
            (Some(500), kills(7, 2), kills(8, 3), false),
            (Some(500), kills(7, 2), None, false),
            (Some(500), None, kills(7, 2), false),
            (None, kills(7, 2), kills(7, 3), false),
        ] {
            let mut learned = learned(asking, None, then);
            let expected = if bounds { vec![(1, 500)] } else { vec![] };
            assert_eq!(learned.bound(now), expected, "{asking:?} {then:?} {now:?}");
            let bears = bounds.then_some(Bears { rows: 250, after: KILLED_RAISE_AFTER });
            assert_eq!(learned.streams[1].bears, bears);
            assert_eq!(learned.streams[0], StreamLearned::default());
            assert_eq!(learned.bound(kills(7, 9)), [], "what was compared is not compared again");
        }
    }

    #[test]
    fn each_kill_makes_a_larger_page_rarer_and_one_row_is_the_least() {
        let (then, now) = (Kills { boot: 1, count: 0 }, Kills { boot: 1, count: 1 });
        let mut bears = None;
        for (asked, rows, after) in [(1_000, 500, 64), (1_000, 500, 128), (1, 1, 256)] {
            let mut learned = learned(Some(asked), bears, Some(then));
            learned.bound(Some(now));
            bears = learned.streams[1].bears;
            assert_eq!(bears, Some(Bears { rows, after }));
        }
    }
}
