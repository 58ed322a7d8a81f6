//! The head as seen by commands that only read the queue: its source, and what became of versions
//! before it.
//!
//! Promises: calls a version delivered only if it can't have left the queue in another way. Never:
//! uses the status of another queue.

use super::disk::Disk;
use super::inspect::Inspector;
use super::marks::QueueId;
use crate::record::{Category, Gap, GapReason, QueuePosition, StreamName};
use crate::time::Stamp;

/// The queue's data in a daemon's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonStatus {
    /// The queue's id; `None` from a queue without an id.
    pub queue: Option<QueueId>,
    pub head: QueuePosition,
    /// The daemon has the queue open.
    pub is_running: bool,
}

/// The position of the first record that waits, and how reliable it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub place: QueuePosition,
    pub by: HeadBy,
}

/// The source of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadBy {
    /// The status of the process that has the queue open.
    Daemon,
    /// The checkpoint of a process that ended regularly.
    Close,
    /// The status of a process that did not end regularly: what it delivered last may seem to wait.
    EndedDaemon,
    /// A checkpoint of a process that did not end regularly, and nothing newer: as for
    /// `EndedDaemon`.
    Checkpoint,
}

impl HeadBy {
    /// The stable name.
    pub fn code(self) -> &'static str {
        match self {
            HeadBy::Daemon => "daemon",
            HeadBy::Close => "orderly_end",
            HeadBy::EndedDaemon => "ended_daemon",
            HeadBy::Checkpoint => "checkpoint",
        }
    }

    /// Whether everything that seems to wait really does.
    pub fn is_exact(self) -> bool {
        matches!(self, HeadBy::Daemon | HeadBy::Close)
    }
}

/// What became of a version that was collected and does not wait any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate<'a> {
    /// Coralogix accepted it: it can't have left the queue in another way.
    Delivered,
    /// It was removed from delivery, as this gap reports.
    TakenOut(&'a Gap),
    /// This gap covers its time; it may be about another record.
    Perhaps(&'a Gap),
    /// It may be in a gap that is only counted, or there is no checkpoint with a gap log.
    Unknown,
}

/// Whether collected records leave the queue by a gap of this reason.
fn is_taken_out(reason: GapReason) -> bool {
    match reason {
        GapReason::Refused | GapReason::Purged | GapReason::InDoubt | GapReason::Damaged => true,
        GapReason::Retention
        | GapReason::PositionAhead
        | GapReason::ConfigChanged
        | GapReason::IdsFull
        | GapReason::Unfetchable => false,
    }
}

impl<D: Disk> Inspector<D> {
    /// What became of a version that was collected and does not wait any more, by the gap log in
    /// the checkpoint. `at`: its position in the log, if known.
    pub fn fate(&self, stream: &StreamName, stamp: Stamp, at: Option<QueuePosition>) -> Fate<'_> {
        let took = |gap: &&Gap| {
            gap.stream == *stream
                && is_taken_out(gap.reason)
                && (gap.from..=gap.to).contains(&stamp)
        };
        let gaps = self.gap_log.rows().map(|row| &row.gap).rev().filter(took);
        let gaps: Vec<&Gap> = gaps.collect();
        let is_own = |gap: &&Gap| gap.count == Some(1) && gap.parked.is_some() && gap.parked == at;
        if let Some(own) = gaps.iter().copied().find(is_own) {
            return Fate::TakenOut(own);
        }
        // A gap of a rejected record at another position is about another record.
        let is_other =
            |gap: &&Gap| gap.reason == GapReason::Refused && gap.parked.is_some() && at.is_some();
        match gaps.into_iter().find(|gap| !is_other(gap)) {
            Some(gap) => Fate::Perhaps(gap),
            None if !self.has_checkpoint || self.gap_log.head.folded > 0 => Fate::Unknown,
            // No gap is noted for own records.
            None if stream.category == Category::Collector => Fate::Unknown,
            None => Fate::Delivered,
        }
    }

    /// The newest gap that may contain a version of this time or later, and whether there are gaps
    /// that are only counted.
    pub fn gap_since(&self, stream: &StreamName, stamp: Stamp) -> (Option<&Gap>, bool) {
        let mut gaps = self.gap_log.rows().map(|row| &row.gap).rev();
        let gap =
            gaps.find(|gap| gap.stream == *stream && is_taken_out(gap.reason) && stamp <= gap.to);
        (gap, self.gap_log.head.folded > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::index::Batch;
    use crate::queue::mem::MemDisk;
    use crate::queue::testing::*;
    use crate::record::{Seq, Take};
    use crate::time::Mono;

    /// What is said of the threats 1 to 4, of which one was refused and dropped, one delivered, one refused
    /// and put back, and one delivered.
    fn fates_of(disk: &MemDisk) -> Vec<&'static str> {
        let looked = Inspector::open(disk.clone(), None).unwrap();
        let fate = |at: u32| {
            let (stamp, skip) = (key(u64::from(at) + 1).stamp, at % 3);
            let place = QueuePosition { seq: Seq(u64::from(at / 3) + 1), skip };
            match looked.fate(&threats(), stamp, Some(place)) {
                Fate::Delivered => "delivered",
                Fate::TakenOut(gap) => gap.reason.code(),
                Fate::Perhaps(_) => "perhaps",
                Fate::Unknown => "untold",
            }
        };
        (0..4).map(fate).collect()
    }

    #[test]
    fn without_a_checkpoint_nothing_is_called_delivered() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        queue.append(&threats(), &page(&threats(), &[1, 2, 3, 4], 3), progress(4, 1), &[]).unwrap();
        let end = queue.peek(ALL).unwrap().unwrap().sent.end;
        queue.ack(end, Mono(1)).unwrap();
        queue.close(Mono(2));
        let by = |disk: &MemDisk| Inspector::open(disk.clone(), None).unwrap().head().by;
        assert_eq!((fates_of(&disk), by(&disk)), (vec!["delivered"; 4], HeadBy::Close));
        let damaged = disk.copy();
        damaged.tamper(crate::queue::checkpoint::FILE, |bytes| bytes[12] ^= 1);
        disk.clone().remove(crate::queue::checkpoint::FILE).unwrap();
        for disk in [damaged, disk] {
            assert_eq!((fates_of(&disk), by(&disk)), (vec!["untold"; 4], HeadBy::Checkpoint));
        }
    }

    #[test]
    fn what_was_refused_or_given_up_is_not_called_delivered() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        queue.append(&threats(), &page(&threats(), &[1, 2, 3, 4], 3), progress(4, 1), &[]).unwrap();
        let mut parked = vec![];
        for number in 1..5 {
            let sent = queue.peek(Take { entries_max: 1, ..ALL }).unwrap().unwrap().sent;
            if number % 2 == 1 {
                queue.park(sent.first, Some(&entry(&threats(), number)), "400").unwrap();
                parked.push(sent.first);
            } else {
                queue.ack(sent.end, Mono(1)).unwrap();
            }
        }
        queue.drop_parked(parked[0]).unwrap();
        queue.retry_parked(parked[1]).unwrap();
        queue.close(Mono(9));
        assert_eq!(fates_of(&disk), ["purged", "delivered", "refused", "delivered"]);
        let looked = Inspector::open(disk.clone(), None).unwrap();
        let of_another_place = looked.fate(&threats(), key(1).stamp, None);
        assert!(matches!(of_another_place, Fate::Perhaps(gap) if gap.reason == GapReason::Purged));
        let (gap, is_folded) = looked.gap_since(&threats(), key(2).stamp);
        assert_eq!((gap.map(|gap| gap.reason), is_folded), (Some(GapReason::Refused), false));
    }

    #[test]
    fn a_gap_log_that_folded_gaps_calls_nothing_delivered() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        queue.append(&threats(), &page(&threats(), &[1, 2, 3, 4], 3), progress(4, 1), &[]).unwrap();
        queue.gap_log.head.folded = 1;
        let end = queue.peek(ALL).unwrap().unwrap().sent.end;
        queue.ack(end, Mono(1)).unwrap();
        queue.close(Mono(9));
        assert_eq!(fates_of(&disk), ["untold"; 4]);
    }

    /// A gap tells of a record by its stream, its time and the place that the record had, and of nothing else.
    #[test]
    fn a_gap_speaks_of_its_own_stream_time_and_place_alone() {
        let mut looked = Inspector::open(MemDisk::new(128 << 20), None).unwrap();
        looked.has_checkpoint = true;
        let place = |seq| Some(QueuePosition { seq: Seq(seq), skip: 0 });
        let gap = |stream: &StreamName, from, to, reason| {
            Gap::open(stream, key(from).stamp, key(to).stamp, reason)
        };
        let refused = gap(&threats(), 5, 5, GapReason::Refused);
        let gaps = [
            Gap { count: Some(1), parked: place(5), ..refused },
            Gap { parked: place(9), ..gap(&activities(), 1, 100, GapReason::InDoubt) },
            gap(&threats(), 50, 60, GapReason::Damaged),
            Gap { count: Some(1), ..gap(&threats(), 80, 80, GapReason::Damaged) },
            gap(&threats(), 1, 1_000, GapReason::Retention),
        ];
        for gap in gaps {
            looked.gap_log.note(gap, &mut Batch::default());
        }
        let fate = |stream: &StreamName, n, at| match looked.fate(stream, key(n).stamp, at) {
            Fate::Delivered => ("delivered", 0),
            Fate::TakenOut(gap) => ("taken out", gap.number),
            Fate::Perhaps(gap) => ("perhaps", gap.number),
            Fate::Unknown => ("untold", 0),
        };
        assert_eq!(fate(&threats(), 5, place(5)), ("taken out", 1));
        assert_eq!(fate(&threats(), 5, place(6)), ("delivered", 0), "refused at another place");
        assert_eq!(fate(&threats(), 5, None), ("perhaps", 1));
        assert_eq!(fate(&threats(), 4, None), ("delivered", 0));
        assert_eq!(fate(&threats(), 55, place(6)), ("perhaps", 3));
        assert_eq!(
            fate(&threats(), 70, None),
            ("delivered", 0),
            "kept by SentinelOne for too short"
        );
        assert_eq!(fate(&threats(), 80, None), ("perhaps", 4), "which place it had is not known");
        assert_eq!(fate(&activities(), 5, place(5)), ("perhaps", 2));
        let since = |stream: &StreamName, n| {
            let (gap, is_folded) = looked.gap_since(stream, key(n).stamp);
            (gap.map(|gap| gap.number), is_folded)
        };
        assert_eq!(since(&threats(), 60), (Some(4), false));
        assert_eq!(since(&threats(), 80), (Some(4), false));
        assert_eq!(since(&threats(), 81), (None, false));
        assert_eq!(since(&activities(), 81), (Some(2), false));
        looked.gap_log.head.folded = 1;
        assert!(looked.gap_since(&threats(), key(81).stamp).1);
    }

    #[test]
    fn the_names_of_who_told_the_head_are_permanent() {
        let codes = [HeadBy::Daemon, HeadBy::Close, HeadBy::EndedDaemon, HeadBy::Checkpoint];
        let codes = codes.map(HeadBy::code);
        assert_eq!(codes, ["daemon", "orderly_end", "ended_daemon", "checkpoint"]);
    }

    /// No gap is noted for the collector's own records, so that none shows what became of one.
    #[test]
    fn of_an_own_record_nothing_is_said() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        queue.append(&threats(), &[], progress(1, 1), &[]).unwrap();
        queue.close(Mono(1));
        let looked = Inspector::open(disk, None).unwrap();
        let own = StreamName::collector("acme");
        assert_eq!(looked.fate(&own, Stamp(1), None), Fate::Unknown);
        assert_eq!(looked.fate(&threats(), Stamp(1), None), Fate::Delivered);
    }
}
