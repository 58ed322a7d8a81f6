//! The file `left-behind`: queues in other directories that were used before this one, and how far
//! each stream had come there.
//!
//! One line of JSON, written under another name and renamed, before this queue has a position.
//! Promises: it survives a power cut and stays with the queue, so that a stream that begins later
//! than it had come there leaves a gap whenever it begins; an unreadable file counts as missing.
//! Never: accesses those directories.

use std::io;

use serde::{Deserialize, Serialize};

use super::Queue;
use super::disk::{self, Disk};
use crate::json;
use crate::limits::{LEFT_BEHIND_BYTES_MAX, LEFT_BEHIND_MAX};
use crate::record::{Category, Orphan, StreamName};
use crate::time::Stamp;

const FILE: &str = "left-behind";

/// A queue that was used before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftBehind {
    pub dir: String,
    /// The queue's id; empty where it had none.
    pub id: String,
    streams: Vec<Reached>,
}

/// How far a stream had come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reached {
    integration: String,
    /// As frames have it.
    category: u8,
    position: Stamp,
    tenant: Option<String>,
}

impl LeftBehind {
    pub fn new(dir: String, id: String, streams: Vec<Orphan>) -> LeftBehind {
        let reached = |Orphan { name, position, tenant }| {
            let StreamName { integration, category } = name;
            Reached { integration, category: category.code(), position, tenant }
        };
        LeftBehind { dir, id, streams: streams.into_iter().map(reached).collect() }
    }

    pub fn streams(&self) -> impl Iterator<Item = Orphan> {
        self.streams.iter().filter_map(|reached| {
            let category = Category::from_code(reached.category)?;
            let name = StreamName { integration: reached.integration.clone(), category };
            Some(Orphan { name, position: reached.position, tenant: reached.tenant.clone() })
        })
    }
}

/// What the file in a queue's directory says, for commands that only read.
pub fn read(disk: &mut impl Disk) -> Vec<LeftBehind> {
    let bytes = disk.read(FILE, 0, LEFT_BEHIND_BYTES_MAX).unwrap_or_default();
    json::read(&bytes).unwrap_or_default()
}

impl<D: Disk> Queue<D> {
    pub(super) fn read_left_behind(&mut self) {
        self.left_behind = read(&mut self.disk);
    }

    /// The queues that were used before this one.
    pub fn left_behind(&self) -> &[LeftBehind] {
        &self.left_behind
    }

    /// Whether no stream of this queue has a position yet.
    pub fn is_new(&self) -> bool {
        !self.streams.iter().any(super::adopt::has_position)
    }

    /// Notes the queue that was used before this one, which has no position yet, and those before
    /// it. After an error this process still knows them.
    pub fn leave_behind(&mut self, before: Vec<LeftBehind>) -> io::Result<()> {
        for left in before {
            self.left_behind.retain(|known| known.dir != left.dir);
            self.left_behind.push(left);
        }
        let too_many = self.left_behind.len().saturating_sub(LEFT_BEHIND_MAX);
        self.left_behind.drain(..too_many);
        let text = serde_json::to_vec(&self.left_behind)?;
        disk::replace(&mut self.disk, FILE, &text, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::adopt::Claim;
    use crate::queue::mem::MemDisk;
    use crate::queue::testing::*;
    use crate::record::GapReason;

    /// It can be read for ever.
    const GOLDEN: &str = concat!(
        r#"[{"dir":"/data/q","id":"00","streams":[{"integration":"acme","category":1,"#,
        r#""position":39,"tenant":"https://a.example"}]}]"#
    );

    fn left() -> LeftBehind {
        let tenant = Some("https://a.example".to_owned());
        let reached = Orphan { name: threats(), position: Stamp(39), tenant };
        LeftBehind::new("/data/q".to_owned(), "00".to_owned(), vec![reached])
    }

    fn claim(tenant: &str) -> Claim {
        Claim { name: "acme".to_owned(), name_was: None, tenant: tenant.to_owned() }
    }

    #[test]
    fn a_stream_that_begins_later_than_in_the_queue_before_leaves_a_gap_after_a_power_cut() {
        for (tenant, begins, leaves) in [
            ("https://a.example", 100_i64, true),
            ("https://a.example", 39, false),
            ("b", 100, false),
        ] {
            let disk = MemDisk::new(128 << 20);
            let (mut queue, ..) = disk.open();
            assert!(queue.is_new());
            queue.leave_behind(vec![left()]).unwrap();
            drop(queue);
            disk.power_cut(&mut crate::prng::Prng::new(1));
            assert_eq!(disk.clone().read(FILE, 0, 1 << 20).unwrap(), GOLDEN.as_bytes());
            let (mut queue, ..) = disk.open();
            assert_eq!(queue.left_behind(), [left()]);
            assert_eq!(queue.left_behind()[0].streams().count(), 1);
            queue.claim(&[claim(tenant)]).unwrap();
            let frames = page(&threats(), &[100], 1);
            queue
                .append(&threats(), &frames, progress(begins.try_into().unwrap(), 1), &[])
                .unwrap();
            assert!(!queue.is_new());
            let gaps = queue.gaps();
            let gaps = gaps.iter().map(|gap| (gap.reason, gap.from, gap.to));
            let expected = (GapReason::ConfigChanged, Stamp(39), Stamp(begins));
            assert_eq!(gaps.collect::<Vec<_>>(), Vec::from_iter(leaves.then_some(expected)));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_as_good_as_none_and_the_oldest_queue_is_forgotten() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        for n in 0..=LEFT_BEHIND_MAX {
            let dir = format!("/data/{n}");
            queue.leave_behind(vec![LeftBehind { dir, ..left() }]).unwrap();
        }
        assert_eq!(queue.left_behind().len(), LEFT_BEHIND_MAX);
        assert_eq!(queue.left_behind()[0].dir, "/data/1");
        drop(queue);
        disk.tamper(FILE, |bytes| bytes.truncate(7));
        assert!(disk.open().0.left_behind().is_empty());
    }

    #[test]
    fn a_queue_that_is_left_a_second_time_is_known_as_it_was_then() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        let other = LeftBehind { dir: "/data/other".to_owned(), ..left() };
        let again = LeftBehind { id: "01".to_owned(), ..left() };
        queue.leave_behind(vec![left(), other.clone()]).unwrap();
        queue.leave_behind(vec![again.clone()]).unwrap();
        assert_eq!(queue.left_behind(), [other, again]);
    }
}
