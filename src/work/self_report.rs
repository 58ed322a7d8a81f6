//! The collector's own records: gaps and heartbeats.
//!
//! Promises: the text of such a record is a JSON object `collector` with a `type`; it goes to the
//! application and subsystem of the integration that it is about, a heartbeat to those of the
//! first. Never: contains a secret, or counts own records among the collected ones.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::coralogix::{body, entry};
use crate::core::{Event, Health, SelfReport, View};
use crate::edge::Edge;
use crate::frame::{Frame, Piece};
use crate::message;
use crate::pack::Packer;
use crate::plain;
use crate::queue::disk::Disk;
use crate::queue::gaps::HEARTBEAT_ID;
use crate::record::{Gap, GapReason, Progress, Room, RowKey, StreamName};
use crate::time::Stamp;

use super::Worker;

const SEVERITY_INFO: u8 = 3;
const SEVERITY_WARNING: u8 = 4;
const SEVERITY_ERROR: u8 = 5;

/// An own record to be written.
struct OwnRecord {
    /// The id in the queue.
    id: u64,
    severity: u8,
    text: Value,
}

impl<E: Edge, D: Disk> Worker<E, D> {
    pub(super) fn note(&mut self, note: &SelfReport) -> Event {
        let (integration, records) = match note {
            SelfReport::Heartbeat(view) => (self.first_integration(), vec![self.heartbeat(view)]),
            SelfReport::Gaps => {
                let gaps = self.queue.gaps_to_report();
                let Some(first) = gaps.first() else {
                    return Event::Noted(Ok(self.queue.held()));
                };
                let integration = first.stream.integration.clone();
                gaps.iter().for_each(log_gap);
                let records = gaps.iter().map(|gap| gap_record(gap, self.answer_of(gap)));
                (integration, records.collect())
            }
        };
        let (stream, frames, progress) = self.written(integration, records);
        match self.queue.append(&stream, &frames, progress, &[]) {
            Ok(held) => Event::Noted(Ok(held)),
            Err(trouble) => match self.stored(Err(trouble)) {
                Event::Stored(result) => Event::Noted(result),
                repaired => repaired,
            },
        }
    }

    /// Sends a heartbeat without writing it to the queue first.
    pub(super) fn send_note(&mut self, note: &SelfReport) -> Event {
        let SelfReport::Heartbeat(view) = note else { return self.note(note) };
        let record = self.heartbeat(view);
        let (_, frames, _) = self.written(self.first_integration(), vec![record]);
        let pieces: Vec<Piece> =
            frames.into_iter().map(|frame| Piece { frame, skip: 0, take: 1 }).collect();
        let now = self.edge.dated().unwrap_or(Stamp::MIN);
        let body = body::assemble(&pieces, now).expect("a frame just packed is whole");
        // If it is lost, the next one reports the same.
        Event::NoteSent(self.deliver(&body.gzip, body.entries, None))
    }

    /// Coralogix' answer to a batch in doubt.
    fn answer_of(&mut self, gap: &Gap) -> Option<String> {
        let is_doubt = gap.reason == GapReason::InDoubt && !gap.closed;
        let words = self.queue.doubt_words(gap.parked.filter(|_| is_doubt)?)?;
        Some(plain::one_line(&words))
    }

    fn first_integration(&self) -> String {
        self.streams[0].name.integration.clone()
    }

    /// The own records as a page of the queue.
    fn written(
        &mut self,
        integration: String,
        records: Vec<OwnRecord>,
    ) -> (StreamName, Vec<Frame>, Progress) {
        // Own records get a timestamp only from a confirmed time.
        let stamp = self.edge.dated();
        let at = stamp.unwrap_or_else(|| self.edge.wall());
        let of_it = self.streams.iter().find(|stream| stream.name.integration == integration);
        // A gap may be of an integration that the config no longer names.
        let labels = &of_it.unwrap_or(&self.streams[0]).labels;
        let host: Value = serde_json::from_slice(labels.host_json().as_bytes()).unwrap_or_default();
        let stream = StreamName::collector(integration);
        let mut packer = Packer::new(stream.clone());
        let mut rendered = Vec::new();
        for mut record in records {
            record.text["version"] = env!("CARGO_PKG_VERSION").into();
            record.text["host"] = host.clone();
            rendered.clear();
            // Under a name of their own, members do not share a field with another application: in
            // Coralogix' index a field has one type for a whole team.
            let text = json!({ "collector": record.text }).to_string();
            entry::render_own(&mut rendered, labels, stamp, record.severity, &text);
            packer.push(&rendered, RowKey { stamp: at, id: record.id }, stamp.is_some());
        }
        let progress = Progress { position: at, from: at };
        (stream, packer.finish(progress), progress)
    }

    fn heartbeat(&mut self, view: &View) -> OwnRecord {
        let wall = self.edge.wall();
        let streams = view.streams.iter().zip(&self.streams).map(|(stream, work)| {
            let lag = stream.lag(view.tenants[stream.tenant].source_now);
            json!({
                "name": work.name.to_string(),
                "reason": stream.lane.reason.code(),
                "position": stream.progress.map(|progress| progress.position.to_string()),
                "lag_seconds": lag.map(|lag| lag.as_ms() / 1_000),
                "collected": stream.collected,
            })
        });
        let streams: Vec<Value> = streams.collect();
        let days: Vec<Option<i64>> =
            view.tenants.iter().map(|tenant| tenant.token_days_left()).collect();
        let tokens = view.tenants.iter().enumerate().map(|(at, tenant)| {
            let of_it = self.streams.iter().find(|stream| stream.tenant == at);
            json!({
                "integration": of_it.map(|stream| &stream.name.integration),
                "ends": tenant.token_end.map(|end| end.to_string()),
                "days_left": days[at],
            })
        });
        let tokens: Vec<Value> = tokens.collect();
        let held = &view.held;
        let oldest_age = held.oldest.map(|oldest| wall.since(oldest).as_ms() / 1_000);
        let text = json!({
            "type": "heartbeat",
            "state": view.health().name(),
            "uptime_seconds": view.uptime.as_ms() / 1_000,
            "streams": streams,
            "coralogix": {
                "reason": view.sink.reason.code(),
                "delivered": view.delivered,
            },
            "queue": {
                "waiting": held.records,
                "bytes": held.bytes,
                "oldest": held.oldest.map(|oldest| oldest.to_string()),
                "oldest_age_seconds": oldest_age,
                "parked": held.parked,
                "in_doubt": held.doubt,
                "gaps": held.gaps,
                "room": room(held.room),
            },
            "tokens": tokens,
            // The token that expires first, so that one comparison is enough.
            "token_days_left": days.iter().flatten().min(),
            "disk_written_bytes": self.edge.disk_written_bytes(),
        });
        let severity = match view.health() {
            Health::Healthy => SEVERITY_INFO,
            Health::Degraded => SEVERITY_WARNING,
            Health::Stuck => SEVERITY_ERROR,
        };
        OwnRecord { id: HEARTBEAT_ID, severity, text }
    }
}

fn gap_record(gap: &Gap, answer: Option<String>) -> OwnRecord {
    let known = |stamp: Stamp| (stamp != Stamp::UNREADABLE).then(|| stamp.to_string());
    let text = json!({
        "type": "gap",
        "gap": gap.number,
        "stream": gap.stream.to_string(),
        "from": known(gap.from),
        "to": known(gap.to),
        "reason": gap.reason.code(),
        "code": gap.reason.message().to_string(),
        "words": words(gap),
        "records": gap.count,
        "parked": gap.parked.map(|at| at.to_string()),
        "closed": gap.closed,
    });
    let mut text = text;
    if let Some(answer) = answer {
        text["answer"] = answer.into();
    }
    let is_unfetchable = gap.reason == GapReason::Unfetchable;
    if is_unfetchable || gap.unread.id.is_some() {
        // A text, because a number of this size loses its last digits in many programs.
        text["record_id"] = gap.unread.id.map(|id| id.to_string()).into();
    }
    if is_unfetchable {
        text["answer_bytes_min"] = gap.unread.bytes_min.into();
    }
    let severity = if gap.closed { SEVERITY_INFO } else { SEVERITY_ERROR };
    OwnRecord { id: gap.number, severity, text }
}

fn words(gap: &Gap) -> Cow<'static, str> {
    gap.outcome().map_or_else(|| gap.explain(), Cow::from)
}

/// The time of a gap, for the log.
fn range(gap: &Gap) -> String {
    match (gap.from, gap.to) {
        (Stamp::UNREADABLE, Stamp::UNREADABLE) => "of an unknown time".to_owned(),
        (Stamp::EPOCH, Stamp::UNREADABLE) => "of any time".to_owned(),
        (from, Stamp::UNREADABLE) => format!("from {} on", from.to_the_second()),
        (Stamp::UNREADABLE, to) => format!("from an unknown time to {}", to.to_the_second()),
        (from, to) => format!("from {} to {}", from.to_the_second(), to.to_the_second()),
    }
}

/// A gap that may be a loss is logged too; a rejected record was logged when it was parked, a batch
/// in doubt when the answer came, and a person who dropped something knows it.
fn log_gap(gap: &Gap) {
    let (stream, range, why) = (&gap.stream, range(gap), gap.explain());
    match gap.reason {
        GapReason::Retention
        | GapReason::PositionAhead
        | GapReason::ConfigChanged
        | GapReason::IdsFull
        | GapReason::Unfetchable
        | GapReason::Damaged
            if !gap.closed =>
        {
            let text = format_args!("A gap in {stream}: {range} {why}");
            message::write(gap.reason.message(), text);
        }
        // The copy in `doubt/` was given up.
        GapReason::InDoubt if gap.parked.is_none() && !gap.closed => {
            let count = plain::count(gap.count.unwrap_or_default(), "record");
            let text = format_args!("A gap in {stream}: {count} {range}: {why}");
            message::write(message::DOUBT_GIVEN_UP, text);
        }
        _ => {}
    }
}

fn room(room: Room) -> &'static str {
    match room {
        Room::Free => "free",
        Room::QueueFull => "queue_full",
        Room::DiskLow => "disk_low",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    #[test]
    fn a_gap_with_an_open_range_is_named_without_a_time_that_nobody_knows() {
        let stream = StreamName::polled("acme", Kind::Threats);
        let (noon, one) =
            (Stamp::parse("2026-07-30T12:00:00Z"), Stamp::parse("2026-07-30T13:00:00Z"));
        let (noon, one, unknown) = (noon.unwrap(), one.unwrap(), Stamp::UNREADABLE);
        let range = |from, to| range(&Gap::open(&stream, from, to, GapReason::Damaged));
        assert_eq!(range(noon, one), "from 2026-07-30T12:00:00Z to 2026-07-30T13:00:00Z");
        assert_eq!(range(noon, unknown), "from 2026-07-30T12:00:00Z on");
        assert_eq!(range(unknown, one), "from an unknown time to 2026-07-30T13:00:00Z");
        assert_eq!(range(unknown, unknown), "of an unknown time");
        assert_eq!(range(Stamp::EPOCH, unknown), "of any time");
    }
}
