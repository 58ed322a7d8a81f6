//! The requests to SentinelOne, and the events that their answers become.
//!
//! Promises: a pending page stays as it was received; an implausible `Date` counts as none. Never:
//! decides what follows from an answer.

use super::{
    Answer, Ask, Disk, Edge, Event, Fetch, Kind, NetTrouble, PageFacts, PendingPage, SourceTrouble,
    Worker,
};
use crate::answer::date;
use crate::core::{By, Count, Counted, List, Listed, Older};
use crate::limits;
use crate::message::log_message;
use crate::record::{Cursor, Excess, RowKey, Unread};
use crate::s1;
use crate::s1::page::Row;
use crate::s1::request::{Created, changed_count_path, count_path, created_page_path};
use crate::time::{Span, Stamp};

impl<E: Edge, D: Disk> Worker<E, D> {
    pub(super) fn info(&mut self, tenant: usize) -> Event {
        let result = match self.edge.ask(tenant, &Ask::Info) {
            Err(net) => Err(SourceTrouble::Unreachable(net)),
            Ok(answer) => s1::verdict::info_verdict(&answer).map(|()| date(&answer)),
        };
        Event::Informed { tenant, result }
    }

    /// A JWT contains its expiry; for any other token SentinelOne is asked.
    pub(super) fn token_end(&mut self, tenant: usize) -> Event {
        let end = self.edge.token_end(tenant).or_else(|| {
            let answer = self.edge.ask(tenant, &Ask::TokenDetails).ok()?;
            (answer.status == 200).then(|| s1::token::details_end(&answer.body)).flatten()
        });
        Event::TokenEnds { tenant, end }
    }

    /// The memory of a page that is not needed any more serves the next one.
    pub(super) fn reuse(&mut self, page: Option<PendingPage>) {
        if let Some(page) = page {
            self.edge.reuse(page.into_body());
        }
    }

    pub(super) fn fetch(&mut self, fetch: &Fetch) -> Event {
        let former = self.pending_page.take();
        self.reuse(former);
        let kind = self.streams[fetch.stream].kind;
        let query = s1::request::Query {
            kind,
            from: fetch.from,
            cursor: fetch.cursor.as_ref(),
            rows_max: fetch.rows_max,
            to: fetch.to,
            skip: fetch.skip,
        };
        let answer = self.ask_stream(fetch.stream, s1::request::page_path(&query));
        let page = answer.and_then(|answer| self.take_page(kind, answer, fetch));
        Event::Fetched { stream: fetch.stream, page }
    }

    fn take_page(
        &mut self,
        kind: Kind,
        answer: Answer,
        fetch: &Fetch,
    ) -> Result<PageFacts, SourceTrouble> {
        s1::verdict::page_verdict(&answer, fetch.cursor.is_some())?;
        let facts = self.scan_page(kind, answer, fetch.from)?;
        self.log_undated(fetch.stream);
        Ok(facts)
    }

    /// Logs once for each stream that a timestamp in the pending page can't be parsed.
    pub(super) fn log_undated(&mut self, stream: usize) {
        let Some(id) = self.pending_page.as_ref().and_then(PendingPage::undated) else { return };
        if self.undated_told.insert(stream) {
            let kind = self.streams[stream].kind;
            log_message!(
                STAMP_UNREADABLE,
                "{}: `{}` of record {id} can't be read as a time. Such records are collected and \
                 delivered without timestamp, move no position, and are read again by each poll; \
                 further ones are counted in `status`",
                self.streams[stream].name,
                kind.stamp_name()
            );
        }
    }

    /// Makes a page pending and returns what the core has to know of it.
    pub(super) fn scan_page(
        &mut self,
        kind: Kind,
        answer: Answer,
        from: Stamp,
    ) -> Result<PageFacts, SourceTrouble> {
        let date = date(&answer);
        let body = answer.body;
        let mut page =
            s1::page::scan_text(&body, kind).map_err(|broken| SourceTrouble::BrokenPage {
                why: broken.to_string(),
                unread: unread(kind, &body, body.len() as u64),
            })?;
        // A timestamp before RECORD_SECONDS_MIN (a null date reads 1970) can't be what the query
        // matched, so it says nothing about the record's position. Any other one before the
        // requested time is for the core to decide.
        let earliest = Stamp::from_seconds(limits::RECORD_SECONDS_MIN).min(from);
        for row in page.rows.iter_mut() {
            row.stamped &= row.key.stamp >= earliest;
            if !row.stamped {
                row.key.stamp = Stamp::UNREADABLE;
                row.key.id = s1::page::undated_id(kind, row.key.id, &body[row.range.clone()]);
            }
        }
        let keys = page.rows.iter().map(|row| row.key).collect();
        let next = page.next.take();
        let bytes_max = self.edge.page_bytes_max();
        self.pending_page = Some(PendingPage::new(body, page, bytes_max));
        Ok(PageFacts { keys, next, date })
    }

    /// Asks for any record from before a time, and checks that it is from before.
    pub(super) fn older(&mut self, stream: usize, than: Stamp, cursor: Option<&Cursor>) -> Event {
        let kind = self.streams[stream].kind;
        let answer = self.ask_stream(stream, s1::request::older_path(kind, than, cursor));
        let result = answer.and_then(|answer| {
            s1::verdict::page_verdict(&answer, cursor.is_some())?;
            let page = s1::page::scan(&answer.body, kind)
                .map_err(|broken| SourceTrouble::BrokenAnswer(broken.to_string()))?;
            Ok(match page.next {
                Some(next) if page.rows.is_empty() => Older::Behind(next),
                _ => judged(&page.rows, than),
            })
        });
        Event::Older { stream, result }
    }

    pub(super) fn count(&mut self, count: &Count) -> Event {
        let stream = &self.streams[count.stream];
        let (kind, by, to) = (stream.kind, count.by, count.to);
        let collected = match by {
            By::Creation => self.queue.collected(&stream.name, count.from, to),
            // Who asks knows what walks have read.
            By::Change => count.from.map(|from| (from, 0)),
        };
        let counted = match collected {
            None => Ok(None),
            Some((from, collected)) => {
                let path = match by {
                    By::Creation => count_path(&Created { kind, from, to }),
                    By::Change => changed_count_path(from, to),
                };
                let answer = self.ask_stream(count.stream, path);
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
        let former = self.pending_page.take();
        self.reuse(former);
        let kind = self.streams[list.stream].kind;
        let created = Created { kind, from: list.from, to: list.to };
        let path = created_page_path(&created, list.cursor.as_ref(), list.rows_max);
        let listed = self.ask_stream(list.stream, path).and_then(|answer| {
            s1::verdict::page_verdict(&answer, list.cursor.is_some())?;
            let page = self.scan_page(kind, answer, list.from)?;
            self.log_undated(list.stream);
            let rows =
                self.pending_page.as_ref().map_or(&[][..], |pending_page| pending_page.rows());
            let created_keys: Vec<RowKey> = rows.iter().map(|row| created_key(kind, row)).collect();
            let unseen = self.queue.unseen(&self.streams[list.stream].name, &created_keys);
            let outside = self.outside(list);
            Ok(Listed { page, unseen, outside })
        });
        Event::Listed { stream: list.stream, listed }
    }

    /// How many rows of the pending page were not created in the requested range.
    fn outside(&self, list: &List) -> usize {
        let coarseness = Span::seconds(limits::SOURCE_COARSENESS_SECONDS);
        let range = list.from - coarseness..=list.to + coarseness;
        let rows = self.pending_page.as_ref().map_or(&[][..], |pending_page| pending_page.rows());
        let created = rows.iter().filter_map(creation);
        created.filter(|created| !range.contains(created)).count()
    }

    /// Sends a request to the tenant of a stream. Invalid UTF-8 in a page is repaired.
    pub(super) fn ask_stream(
        &mut self,
        stream: usize,
        path: String,
    ) -> Result<Answer, SourceTrouble> {
        let (tenant, kind) = (self.streams[stream].tenant, self.streams[stream].kind);
        let answer = self.edge.ask(tenant, &Ask::Page(path)).map_err(|net| match net {
            NetTrouble::TooLong(Excess { bytes_min, head }) => {
                SourceTrouble::TooLong(unread(kind, &head, bytes_min))
            }
            net => SourceTrouble::Unreachable(net),
        })?;
        if answer.status != 200 {
            return Ok(answer);
        }
        let bytes_max = self.edge.page_bytes_max();
        let (body, is_repaired) = s1::page::kept(answer.body, bytes_max)
            .map_err(|body| SourceTrouble::TooLong(unread(kind, &body, body.len() as u64)))?;
        self.counters.repaired_pages += u64::from(is_repaired);
        Ok(Answer { body, ..answer })
    }
}

/// What is known of a row whose answer can't be accepted, if one row was requested.
fn unread(kind: Kind, body: &[u8], bytes_min: u64) -> Unread {
    Unread { id: s1::page::first_id(body, kind), bytes_min: Some(bytes_min) }
}

/// What the rows of a query for records from before `than` show. A row without a known creation
/// time shows nothing.
fn judged(rows: &[Row], than: Stamp) -> Older {
    let coarseness = Span::seconds(limits::SOURCE_COARSENESS_SECONDS);
    let earliest = Stamp::from_seconds(limits::RECORD_SECONDS_MIN);
    let created = || rows.iter().filter_map(creation).filter(|created| *created >= earliest);
    match created().any(|created| created < than) {
        true => Older::There,
        false => Older::None { outside: created().any(|created| created > than + coarseness) },
    }
}

/// When a record was created, if that is known.
fn creation(row: &Row) -> Option<Stamp> {
    row.created.or(row.stamped.then_some(row.key.stamp))
}

/// The key by which a row is looked for among the collected ids: its creation time and id. Without
/// any time the id alone counts. A threat's update time does not show when it was created, so it is
/// not used; a threat without a creation time is never taken for uncollected here, and a walk finds
/// it by its update (keeps P2).
fn created_key(kind: Kind, row: &Row) -> RowKey {
    let stamp = match kind {
        Kind::Threats => row.created.unwrap_or(Stamp::MIN),
        Kind::Activities | Kind::Alerts => creation(row).unwrap_or(Stamp::UNREADABLE),
    };
    RowKey { stamp, id: row.id }
}
