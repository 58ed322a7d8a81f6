//! The collector's own words, written as records: gaps and heartbeats.
//!
//! Promises: a note's text is a JSON object `collector` with a `type`; it goes to the application and subsystem
//! of the integration that it speaks of, a heartbeat to those of the first. Never: a secret, or a
//! count of its own words among the records.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::coralogix::{body, entry};
use crate::core::{Event, Mood, Note, View};
use crate::edge::Edge;
use crate::frame::{Frame, Piece};
use crate::message;
use crate::pack::Packer;
use crate::plain;
use crate::queue::disk::Disk;
use crate::queue::gaps::HEARTBEAT_ID;
use crate::queue::index::Opener;
use crate::record::{Gap, GapReason, Progress, Room, RowKey, StreamName};
use crate::time::Stamp;

use super::Worker;

const SEVERITY_INFO: u8 = 3;
const SEVERITY_WARNING: u8 = 4;
const SEVERITY_ERROR: u8 = 5;

/// One record to be.
struct Word {
    /// What the queue knows it by.
    id: u64,
    severity: u8,
    text: Value,
}

impl<E: Edge, D: Disk, O: Opener> Worker<E, D, O> {
    pub(super) fn note(&mut self, note: &Note) -> Event {
        let (integration, words) = match note {
            Note::Heartbeat(view) => (self.first_integration(), vec![self.heartbeat(view)]),
            Note::Gaps => {
                let gaps = self.queue.gaps_to_tell();
                let Some(first) = gaps.first() else {
                    return Event::Noted(Ok(self.queue.held()));
                };
                let integration = first.stream.integration.clone();
                gaps.iter().for_each(tell_gap);
                let words = gaps.iter().map(|gap| gap_word(gap, self.answer_of(gap)));
                (integration, words.collect())
            }
        };
        let (stream, frames, progress) = self.written(integration, words);
        match self.queue.append(&stream, &frames, progress, &[]) {
            Ok(held) => Event::Noted(Ok(held)),
            Err(trouble) => match self.stored(Err(trouble)) {
                Event::Stored(result) => Event::Noted(result),
                mended => mended,
            },
        }
    }

    /// Sends a note without writing it first.
    pub(super) fn send_note(&mut self, note: &Note) -> Event {
        let Note::Heartbeat(view) = note else { return self.note(note) };
        let word = self.heartbeat(view);
        let (_, frames, _) = self.written(self.first_integration(), vec![word]);
        let pieces: Vec<Piece> =
            frames.into_iter().map(|frame| Piece { frame, skip: 0, take: 1 }).collect();
        let now = self.edge.dated().unwrap_or(Stamp::MIN);
        let body = body::assemble(&pieces, now).expect("a frame just packed is whole");
        Event::NoteSent(self.deliver(&body.gzip))
    }

    /// What Coralogix said of a batch in doubt.
    fn answer_of(&mut self, gap: &Gap) -> Option<String> {
        let is_doubt = gap.reason == GapReason::InDoubt && !gap.closed;
        let words = self.queue.doubt_words(gap.parked.filter(|_| is_doubt)?)?;
        Some(plain::one_line(&words))
    }

    fn first_integration(&self) -> String {
        self.streams[0].name.integration.clone()
    }

    /// The words as a page of the queue.
    fn written(
        &mut self,
        integration: String,
        words: Vec<Word>,
    ) -> (StreamName, Vec<Frame>, Progress) {
        // A clock that nobody confirmed dates nothing that travels.
        let stamp = self.edge.dated();
        let at = stamp.unwrap_or_else(|| self.edge.wall());
        let of_it = self.streams.iter().find(|stream| stream.name.integration == integration);
        // A gap may outlive its integration in the config.
        let labels = &of_it.unwrap_or(&self.streams[0]).labels;
        let host: Value = serde_json::from_str(labels.host_json()).unwrap_or_default();
        let stream = StreamName::collector(integration);
        let mut packer = Packer::new(stream.clone());
        let mut rendered = Vec::new();
        for mut word in words {
            word.text["version"] = env!("CARGO_PKG_VERSION").into();
            word.text["host"] = host.clone();
            rendered.clear();
            // Under a name of their own its members meet no other application's in the index, where a
            // member has one type for a whole team.
            let text = json!({ "collector": word.text }).to_string();
            entry::render_own(&mut rendered, labels, stamp, word.severity, &text);
            packer.push(&rendered, RowKey { stamp: at, id: word.id }, stamp.is_some());
        }
        let progress = Progress { position: at, from: at };
        (stream, packer.finish(progress), progress)
    }

    fn heartbeat(&mut self, view: &View) -> Word {
        let wall = self.edge.wall();
        let streams = view.streams.iter().zip(&self.streams).map(|(stream, work)| {
            let lag = stream.lag(view.tenants[stream.tenant].source_now);
            json!({
                "name": work.name.to_string(),
                "reason": stream.lane.why.code(),
                "position": stream.progress.map(|progress| progress.position.to_string()),
                "lag_seconds": lag.map(|lag| lag.as_ms() / 1_000),
                "collected": stream.collected,
            })
        });
        let streams: Vec<Value> = streams.collect();
        let days: Vec<Option<i64>> =
            view.tenants.iter().map(|tenant| tenant.token_days_left(wall)).collect();
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
            "state": view.mood().name(),
            "uptime_seconds": view.uptime.as_ms() / 1_000,
            "streams": streams,
            "coralogix": {
                "reason": view.sink.why.code(),
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
            // The nearest end of all, so that one comparison finds it.
            "token_days_left": days.iter().flatten().min(),
            "disk_written_bytes": self.edge.disk_written_bytes(),
        });
        let severity = match view.mood() {
            Mood::Fine => SEVERITY_INFO,
            Mood::Troubled => SEVERITY_WARNING,
            Mood::Stuck => SEVERITY_ERROR,
        };
        Word { id: HEARTBEAT_ID, severity, text }
    }
}

fn gap_word(gap: &Gap, answer: Option<String>) -> Word {
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
    if gap.reason == GapReason::Unfetchable {
        // A text, for a number of this size loses its last digits on the way through many programs.
        text["record_id"] = gap.unread.id.map(|id| id.to_string()).into();
        text["answer_bytes_min"] = gap.unread.bytes_min.into();
    }
    let severity = if gap.closed { SEVERITY_INFO } else { SEVERITY_ERROR };
    Word { id: gap.number, severity, text }
}

fn words(gap: &Gap) -> Cow<'static, str> {
    gap.outcome().map_or_else(|| gap.explain(), Cow::from)
}

/// What may be lost is told in the log too; a refused record was told when it was parked, a doubt
/// when it came, and who dropped one knows.
fn tell_gap(gap: &Gap) {
    let from = match gap.from {
        Stamp::UNREADABLE => "an unknown time".to_owned(),
        from => from.to_the_second(),
    };
    let (stream, to, why) = (&gap.stream, gap.to.to_the_second(), gap.explain());
    match gap.reason {
        GapReason::Retention
        | GapReason::PositionAhead
        | GapReason::ConfigChanged
        | GapReason::Unfetchable
        | GapReason::Damaged
            if !gap.closed && gap.to != Stamp::UNREADABLE =>
        {
            let text = format_args!("A gap in {stream}: from {from} to {to} {why}");
            message::write(gap.reason.message(), text);
        }
        // The copy was given up.
        GapReason::InDoubt if gap.parked.is_none() && !gap.closed => {
            let count = plain::count(gap.count.unwrap_or_default(), "record");
            let text = format_args!("A gap in {stream}: {count} from {from} to {to}: {why}");
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
