//! What SentinelOne is asked for, and what its answers are to the core.
//!
//! Promises: a page stays in hand as it was sent; a Date that can't be is none. Never: decides what
//! an answer leads to.

use super::{
    Answer, Ask, Disk, Edge, Event, Fetch, Hand, Kind, NetTrouble, Opener, PageFacts,
    SourceTrouble, Worker,
};
use crate::answer::date;
use crate::limits;
use crate::message::tell;
use crate::record::{Excess, Unread};
use crate::s1;
use crate::time::Stamp;

impl<E: Edge, D: Disk, O: Opener> Worker<E, D, O> {
    pub(super) fn info(&mut self, tenant: usize) -> Event {
        let result = match self.edge.ask(tenant, &Ask::Info) {
            Err(net) => Err(SourceTrouble::Unreachable(net)),
            Ok(answer) => s1::verdict::info_verdict(&answer).map(|()| date(&answer)),
        };
        Event::Informed { tenant, result }
    }

    /// A JWT tells its end itself; for any other token SentinelOne is asked.
    pub(super) fn token_end(&mut self, tenant: usize) -> Event {
        let end = self.edge.token_end(tenant).or_else(|| {
            let answer = self.edge.ask(tenant, &Ask::TokenDetails).ok()?;
            (answer.status == 200).then(|| s1::token::details_end(&answer.body)).flatten()
        });
        Event::TokenEnds { tenant, end }
    }

    pub(super) fn fetch(&mut self, fetch: &Fetch) -> Event {
        self.hand = None;
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
        self.tell_undated(fetch.stream);
        Ok(facts)
    }

    /// Says once a stream that a stamp of the page in hand can't be read.
    pub(super) fn tell_undated(&mut self, stream: usize) {
        let Some(id) = self.hand.as_ref().and_then(Hand::undated) else { return };
        if self.undated_told.insert(stream) {
            let kind = self.streams[stream].kind;
            tell!(
                STAMP_UNREADABLE,
                "{}: `{}` of record {id} can't be read as a time. Such records are collected and \
                 delivered without timestamp, move no position, and are read again by each poll; \
                 further ones are counted in `status`",
                self.streams[stream].name,
                kind.stamp_name()
            );
        }
    }

    /// A page in hand, and what the core has to know of it.
    pub(super) fn scan_page(
        &mut self,
        kind: Kind,
        answer: Answer,
        from: Stamp,
    ) -> Result<PageFacts, SourceTrouble> {
        let date = date(&answer);
        let body = answer.body;
        let mut page = s1::page::scan(&body, kind).map_err(|broken| SourceTrouble::BrokenPage {
            why: broken.to_string(),
            unread: unread(kind, &body, body.len() as u64),
        })?;
        // A stamp before there was any record (a null date reads 1970) is not what the record was
        // found by, so it says nothing about its place. Another one before the time that was asked
        // for is for the core to judge.
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
        self.hand = Some(Hand::new(body, page));
        Ok(PageFacts { keys, next, date })
    }

    /// Asks for any one record from before a time.
    pub(super) fn older(&mut self, stream: usize, than: Stamp) -> Event {
        let kind = self.streams[stream].kind;
        let answer = self.ask_stream(stream, s1::request::older_path(kind, than));
        let result = answer.and_then(|answer| {
            s1::verdict::page_verdict(&answer, false)?;
            let page = s1::page::scan(&answer.body, kind)
                .map_err(|broken| SourceTrouble::BrokenAnswer(broken.to_string()))?;
            Ok(!page.rows.is_empty())
        });
        Event::Older { stream, result }
    }

    /// Asks the tenant of a stream. What is not UTF-8 in a page is repaired.
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

/// What an answer that can't be taken tells of the row, if one was asked for.
fn unread(kind: Kind, body: &[u8], bytes_min: u64) -> Unread {
    Unread { id: s1::page::first_id(body, kind), bytes_min: Some(bytes_min) }
}
