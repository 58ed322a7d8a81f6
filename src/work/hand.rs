//! The page in hand: what was fetched and is not yet stored.
//!
//! Promises: rows are rendered and packed once, however often they are then tried to be stored or
//! sent; what was packed is not held as it came as well.

use crate::coralogix::entry;
use crate::core::Keep;
use crate::frame::Frame;
use crate::limits;
use crate::pack::Packer;
use crate::record::RowKey;
use crate::s1::page::{Page, Row};
use crate::time::Stamp;

use super::{Counters, StreamWork};

pub struct Hand {
    /// What the rows' ranges refer to; nothing once they are packed.
    body: Vec<u8>,
    page: Page,
    packed: Option<Vec<Frame>>,
    born: Option<Vec<RowKey>>,
}

impl Hand {
    pub fn new(body: Vec<u8>, page: Page) -> Hand {
        Hand { body, page, packed: None, born: None }
    }

    pub fn rows(&self) -> &[Row] {
        &self.page.rows
    }

    /// The id of a row whose stamp can't be read.
    pub fn undated(&self) -> Option<u64> {
        self.page.rows.iter().find(|row| row.undated).map(|row| row.key.id)
    }

    /// The ids of the rows that are kept, with when each was created. Once asked for, they stay, for
    /// a page that was sent from memory is stored without its rows.
    pub fn births(&mut self, keep: &Keep) -> Vec<RowKey> {
        let born = self.born.get_or_insert_with(|| {
            let rows = keep.fresh.iter().map(|at| &self.page.rows[*at as usize]);
            let births = rows.map(|row| {
                let stamp = row.created.unwrap_or(row.key.stamp);
                // Where it can't be read, it is most likely what is being read now.
                let stamp = if stamp == Stamp::UNREADABLE { keep.progress.position } else { stamp };
                RowKey { stamp, id: row.id }
            });
            births.collect()
        });
        born.clone()
    }

    /// The frames of the rows to keep.
    pub fn frames(
        &mut self,
        stream: &StreamWork,
        keep: &Keep,
        counters: &mut Counters,
    ) -> &[Frame] {
        self.packed.get_or_insert_with(|| {
            let (page, body) = (&self.page, std::mem::take(&mut self.body));
            let mut packer = Packer::new(stream.name.clone());
            let mut rendered = Vec::with_capacity(8 << 10);
            for at in &keep.fresh {
                let row = &page.rows[*at as usize];
                counters.long_records += u64::from(row.long);
                counters.unreadable_stamps += u64::from(row.undated);
                if row.range.len() > limits::FRAME_RAW_BYTES_MAX {
                    let bytes = row.range.len();
                    packer.push_by_pieces(row.key, row.stamped, bytes, |put| {
                        entry::render_by_pieces(&stream.labels, stream.kind, row, &body, put);
                    });
                    continue;
                }
                rendered.clear();
                entry::render(&mut rendered, &stream.labels, stream.kind, row, &body);
                packer.push(&rendered, row.key, row.stamped);
            }
            packer.finish(keep.progress)
        })
    }
}
