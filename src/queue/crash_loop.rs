//! Counts starts that ended early, so that a crash loop slows down.
//!
//! A file `starts.<n>` says that n starts in a row ended before they had settled. Each start makes
//! the next one; the first process that lives long enough, or ends regularly, removes them.
//! Promises: a disk that can't take such a file stops no start. Never: counts beyond its limit.

use super::Queue;
use super::disk::{Disk, Item};
use crate::limits::UNSETTLED_STARTS_MAX;

const MARKER: &str = "starts.";

impl<D: Disk> Queue<D> {
    /// Counts this start, durably: it may end with a power cut.
    pub(super) fn note_start(&mut self, items: &[Item]) {
        let markers = items.iter().filter_map(|item| item.name.strip_prefix(MARKER)?.parse().ok());
        self.unsettled = markers.max().unwrap_or(0).min(UNSETTLED_STARTS_MAX);
        if self.unsettled < UNSETTLED_STARTS_MAX {
            let marker = format!("{MARKER}{}", self.unsettled + 1);
            let _ = self.disk.create(&marker).and_then(|()| self.disk.sync_dir(""));
        }
    }

    /// This process has settled, or ends regularly: the next start is not part of a crash loop.
    pub fn settle(&mut self) {
        for start in 1..=UNSETTLED_STARTS_MAX {
            let _ = self.disk.remove(&format!("{MARKER}{start}"));
        }
        let _ = self.disk.sync_dir("");
        self.unsettled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::mem::MemDisk;
    use crate::queue::testing::Fixture;
    use crate::time::Mono;

    #[test]
    fn starts_are_counted_until_one_settles() {
        let disk = MemDisk::new(128 << 20);
        let mut prng = crate::prng::Prng::new(1);
        for start in 0..UNSETTLED_STARTS_MAX + 3 {
            let (queue, opened, _) = disk.open();
            assert_eq!(opened.unsettled, start.min(UNSETTLED_STARTS_MAX));
            drop(queue);
            disk.power_cut(&mut prng);
        }
        disk.open().0.close_unsettled(Mono(1));
        assert_eq!(disk.open().1.unsettled, UNSETTLED_STARTS_MAX);
        disk.open().0.close(Mono(1));
        disk.power_cut(&mut prng);
        assert_eq!(disk.open().1.unsettled, 0);
        assert!(disk.files().iter().any(|name| name == "starts.1"));
    }

    #[test]
    fn what_has_settled_is_no_crash_loop_when_its_index_is_opened_again() {
        let disk = MemDisk::new(128 << 20);
        disk.open().0.close_unsettled(Mono(1));
        let (mut queue, opened, _) = disk.open();
        assert_eq!(opened.unsettled, 1);
        queue.settle();
        assert_eq!(queue.reopen().unwrap().0.unsettled, 0);
    }
}
