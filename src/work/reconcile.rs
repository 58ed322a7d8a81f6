//! Comparing and listing: SentinelOne's side from its answer, the collector's from the queue.

use super::{Disk, Edge, Event, Opener, SourceTrouble, Worker};
use crate::answer::date;
use crate::core::{Count, Counted, List, Listed};
use crate::limits;
use crate::record::{Kind, RowKey};
use crate::s1;
use crate::s1::page::Row;
use crate::s1::request::{Created, count_path, created_page_path};
use crate::time::{Span, Stamp};

impl<E: Edge, D: Disk, O: Opener> Worker<E, D, O> {
    pub(super) fn count(&mut self, count: &Count) -> Event {
        let stream = &self.streams[count.stream];
        let (kind, to) = (stream.kind, count.to);
        let counted = match self.queue.collected(&stream.name, count.from, to) {
            None => Ok(None),
            Some((from, collected)) => {
                let answer = self.ask_stream(count.stream, count_path(&Created { kind, from, to }));
                answer.and_then(|answer| {
                    s1::verdict::page_verdict(&answer, false)?;
                    let there = s1::page::total(&answer.body, kind)
                        .map_err(|broken| SourceTrouble::BrokenAnswer(broken.to_string()))?;
                    Ok(Some(Counted { from, collected, there, date: date(&answer) }))
                })
            }
        };
        Event::Counted { stream: count.stream, counted }
    }

    pub(super) fn list(&mut self, list: &List) -> Event {
        self.hand = None;
        let kind = self.streams[list.stream].kind;
        let created = Created { kind, from: list.from, to: list.to };
        let path = created_page_path(&created, list.cursor.as_ref(), list.rows_max);
        let listed = self.ask_stream(list.stream, path).and_then(|answer| {
            s1::verdict::page_verdict(&answer, list.cursor.is_some())?;
            let page = self.scan_page(kind, answer, list.from)?;
            self.tell_undated(list.stream);
            let rows = self.hand.as_ref().map_or(&[][..], |hand| hand.rows());
            // Of one without a time it is known by its id alone.
            let births = rows
                .iter()
                .map(|row| RowKey { stamp: creation(row).unwrap_or(Stamp(i64::MAX)), id: row.id });
            let births: Vec<RowKey> = births.collect();
            let unseen = self.queue.unseen(&self.streams[list.stream].name, &births);
            // When a threat changed says nothing of when it was created: nobody knows whether its id was
            // forgotten, and a walk meets it by its change (keeps P2).
            let is_known_when = |row: &Row| kind != Kind::Threats || row.created.is_some();
            let unseen = unseen.into_iter().zip(rows).map(|(is, row)| is && is_known_when(row));
            let unseen: Vec<bool> = unseen.collect();
            let outside = self.outside(list);
            Ok(Listed { page, unseen, outside })
        });
        Event::Listed { stream: list.stream, listed }
    }

    /// Rows of the page in hand that were not created in the range that was asked for.
    fn outside(&self, list: &List) -> usize {
        let coarseness = Span::seconds(limits::SOURCE_COARSENESS_SECONDS);
        let range = list.from - coarseness..=list.to + coarseness;
        let rows = self.hand.as_ref().map_or(&[][..], |hand| hand.rows());
        let created = rows.iter().filter_map(creation);
        created.filter(|created| !range.contains(created)).count()
    }
}

/// When a record was created, if that can be told.
fn creation(row: &Row) -> Option<Stamp> {
    row.created.or(row.stamped.then_some(row.key.stamp))
}
