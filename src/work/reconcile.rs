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
            let births: Vec<RowKey> = rows.iter().map(|row| birth(kind, row)).collect();
            let unseen = self.queue.unseen(&self.streams[list.stream].name, &births);
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

/// By what it is looked for among what was collected. One without any time is known by its id alone; when a
/// threat changed says nothing of when it was created, so nobody knows whether its id was forgotten, and a
/// walk meets it by its change (keeps P2).
fn birth(kind: Kind, row: &Row) -> RowKey {
    let stamp = match kind {
        Kind::Threats => row.created.unwrap_or(Stamp::MIN),
        Kind::Activities | Kind::Alerts => creation(row).unwrap_or(Stamp::UNREADABLE),
    };
    RowKey { stamp, id: row.id }
}
