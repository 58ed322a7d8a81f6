//! The pending page: received and not yet stored.
//!
//! Promises: rows are rendered and packed once, however often storing or sending is tried; the
//! original body is emptied once it is packed. Its memory is for the next page.

use crate::coralogix::{body, entry};
use crate::core::StorePage;
use crate::frame::Frame;
use crate::limits;
use crate::pack::{Buffers, Packer};
use crate::record::RowKey;
use crate::s1::page::{Page, Row};
use crate::time::Stamp;

use super::{Counters, StreamWork};

pub struct PendingPage {
    /// How much memory may be kept for the next page while this one is stored or sent.
    spare_bytes_max: usize,
    /// The body to which the rows' ranges refer; empty once they are packed.
    body: Vec<u8>,
    page: Page,
    packed: Option<Vec<Frame>>,
    created_keys: Option<Vec<RowKey>>,
}

impl PendingPage {
    /// `bytes_max`: the longest page there may be.
    pub fn new(body: Vec<u8>, page: Page, bytes_max: u64) -> PendingPage {
        let part = usize::try_from(bytes_max / 4).unwrap_or(usize::MAX);
        let spare_bytes_max = part.min(limits::SPARE_BYTES_MAX);
        PendingPage { spare_bytes_max, body, page, packed: None, created_keys: None }
    }

    /// The memory of the body, which nobody needs any more.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    pub fn rows(&self) -> &[Row] {
        &self.page.rows
    }

    /// The id of a row whose timestamp can't be parsed.
    pub fn undated(&self) -> Option<u64> {
        self.page.rows.iter().find(|row| row.undated).map(|row| row.key.id)
    }

    /// The ids of the rows that are kept, with their creation times. They are kept after the first
    /// call, because a page that was sent from memory is stored without its rows.
    pub fn created_keys(&mut self, keep: &StorePage) -> Vec<RowKey> {
        let created_keys = self.created_keys.get_or_insert_with(|| {
            let rows = keep.fresh.iter().map(|at| &self.page.rows[*at as usize]);
            let created_keys = rows.map(|row| {
                let stamp = row.created.unwrap_or(row.key.stamp);
                // A creation time that can't be parsed is most likely close to the position of this
                // page.
                let stamp = if stamp == Stamp::UNREADABLE { keep.progress.position } else { stamp };
                RowKey { stamp, id: row.id }
            });
            created_keys.collect()
        });
        created_keys.clone()
    }

    /// Leaves out the timestamps of a page if all rows to keep are too old for one. They only get
    /// older until they are sent, and then each frame would have to be decompressed and compressed
    /// again to remove them. All or none: a frame's header takes its oldest stamp from the entries
    /// that have a timestamp, if there are any.
    fn leave_out_old_timestamps(&mut self, keep: &StorePage, now: Stamp) {
        let rows = &mut self.page.rows;
        let is_new = |row: &Row| row.stamped && !body::is_too_old(row.key.stamp, now);
        if keep.fresh.iter().any(|at| is_new(&rows[*at as usize])) {
            return;
        }
        for at in &keep.fresh {
            rows[*at as usize].stamped = false;
        }
    }

    /// The frames of the rows to keep. `now`: the time by Coralogix' own clock, where it is known.
    pub fn frames(
        &mut self,
        stream: &StreamWork,
        keep: &StorePage,
        now: Option<Stamp>,
        counters: &mut Counters,
        buffers: &mut Buffers,
    ) -> &[Frame] {
        if let (None, Some(now)) = (&self.packed, now) {
            self.leave_out_old_timestamps(keep, now);
        }
        self.packed.get_or_insert_with(|| {
            let (page, body) = (&self.page, &self.body);
            let mut packer = Packer::with_buffers(stream.name.clone(), std::mem::take(buffers));
            let mut rendered = Vec::with_capacity(8 << 10);
            for at in &keep.fresh {
                let row = &page.rows[*at as usize];
                counters.long_records += u64::from(row.long);
                counters.unreadable_stamps += u64::from(row.undated);
                if row.range.len() > limits::FRAME_RAW_BYTES_MAX {
                    let bytes = row.range.len();
                    packer.push_by_pieces(row.key, row.stamped, bytes, |put| {
                        entry::render_by_pieces(&stream.labels, stream.kind, row, body, put);
                    });
                    continue;
                }
                rendered.clear();
                entry::render(&mut rendered, &stream.labels, stream.kind, row, body);
                packer.push(&rendered, row.key, row.stamped);
            }
            let (frames, used) = packer.finish_with_buffers(keep.progress);
            *buffers = used;
            self.body.clear();
            // While the page is stored or sent there is no memory to spare beside a long one.
            if self.body.capacity() > self.spare_bytes_max {
                self.body = Vec::new();
            }
            frames
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coralogix::entry::Labels;
    use crate::frame;
    use crate::record::{Kind, Progress};
    use crate::s1::page::scan;
    use crate::time::Span;

    const NOW: Stamp = Stamp(1_800_000_000_000_000);

    /// A page of activities created so many hours ago, packed at a told time.
    fn packed(ages: &[i64], now: Option<Stamp>) -> Vec<Frame> {
        let created = |hours: &i64| Stamp(NOW.0 - hours * 3_600_000_000);
        let rows: Vec<String> = (1..)
            .zip(ages)
            .map(|(id, hours)| format!(r#"{{"id":"{id}","createdAt":"{}"}}"#, created(hours)))
            .collect();
        let body = format!(r#"{{"data":[{}]}}"#, rows.join(",")).into_bytes();
        let page = scan(&body, Kind::Activities).unwrap();
        let labels = Labels::new("app", "sub", "acme", "host");
        let stream = StreamWork::new("acme", Kind::Activities, 0, labels);
        let keep = StorePage {
            late: vec![],
            stream: 0,
            fresh: (0..ages.len() as u32).collect(),
            progress: Progress { position: NOW, from: NOW },
            walks_from: NOW,
            ids_from: NOW,
            known: vec![],
            missed: None,
            compared: None,
        };
        let mut pending_page = PendingPage::new(body, page, 24 << 20);
        let (counters, buffers) = (&mut Counters::default(), &mut Buffers::default());
        pending_page.frames(&stream, &keep, now, counters, buffers).to_vec()
    }

    #[test]
    fn a_page_that_is_old_as_a_whole_gets_no_timestamps_and_travels_as_it_is_stored() {
        let frames = packed(&[30, 25, 24], Some(NOW));
        assert!(frames[0].entries.iter().all(|entry| !entry.stamped));
        let (oldest, newest) = frame::stamps(&frames[0].entries, frames[0].progress);
        assert_eq!([oldest, newest], [NOW - Span::hours(30), NOW - Span::hours(24)]);
        let frame = frames[0].clone();
        let piece = crate::frame::Piece { skip: 0, take: 3, frame };
        let body = body::assemble(&[piece], NOW).unwrap();
        let stored = &frames[0].deflated;
        assert!(body.gzip.windows(stored.len()).any(|window| window == stored));
        assert_eq!(body.unstamped, 3);
    }

    #[test]
    fn one_record_that_may_have_its_timestamp_leaves_all_of_the_page_theirs() {
        for (ages, now) in [
            (&[30, 25, 22][..], Some(NOW)),
            (&[30, 25, 24], None),
            (&[30, 25, 24], Some(NOW - Span::hours(10))),
            (&[0, -30], Some(NOW)),
        ] {
            let frames = packed(ages, now);
            assert!(frames[0].entries.iter().all(|entry| entry.stamped), "{ages:?}");
        }
    }
}
