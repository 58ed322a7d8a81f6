//! `queue doubt`: the batches of which Coralogix said that some records were not accepted.
//!
//! Never: prints a remote party's text without escaping control characters.

use serde_json::json;

use super::aside::{self, Kind};
use super::{Which, look, take, text_of};
use crate::cli::Exit;
use crate::command::{Failure, print};
use crate::config::Config;
use crate::coralogix::body;
use crate::frame::{Frame, Piece};
use crate::message;
use crate::plain::{self, count};
use crate::queue::inspect::Doubted;
use crate::queue::{QueueError, RealQueue};
use crate::record::{QueuePosition, QueueStatus};
use crate::time::Stamp;

const KIND: Kind = Kind {
    one: "batch",
    none_named: "name a batch in doubt",
    list: "queue doubt list",
    stays: message::DOUBT_STAYS,
};

/// The records of one stream in a batch.
struct Part {
    stream: String,
    records: usize,
    from: Stamp,
    to: Stamp,
}

fn parts(frames: &[Frame]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for frame in frames {
        let stream = frame.stream.to_string();
        let stamps = frame.entries.iter().map(|meta| meta.key.stamp);
        let (Some(from), Some(to)) = (stamps.clone().min(), stamps.max()) else { continue };
        let records = frame.entries.len();
        match parts.iter_mut().find(|part| part.stream == stream) {
            Some(part) => {
                part.records += records;
                (part.from, part.to) = (part.from.min(from), part.to.max(to));
            }
            None => parts.push(Part { stream, records, from, to }),
        }
    }
    parts
}

pub fn list(config: &Config, json: bool) -> Result<Exit, Failure> {
    let doubts = look(config)?.inspector.doubts().map_err(|why| unreadable("doubt/", &why))?;
    let mut out = String::new();
    for one in &doubts {
        let parts = one.frames.as_deref().map(parts).unwrap_or_default();
        out += &if json { row(one, &parts) } else { shown(one, &parts) };
    }
    if !json {
        out += &match doubts.len() {
            0 => "No batch is in doubt.\n".to_owned(),
            n => format!(
                "{n} in doubt. When the cause is fixed, with the daemon stopped: `queue doubt \
                 retry NAME` sends one again (records already accepted arrive twice), `queue doubt \
                 drop NAME` discards it.\n"
            ),
        };
    }
    print(&out)
}

fn row(one: &Doubted, parts: &[Part]) -> String {
    let streams = parts.iter().map(|part| {
        json!({
            "name": part.stream,
            "records": part.records,
            "from": part.from.to_string(),
            "to": part.to.to_string(),
        })
    });
    let value = json!({
        "name": one.name,
        "bytes": one.bytes,
        "streams": streams.collect::<Vec<_>>(),
        "answer": plain::text(&one.words),
        "damage": one.frames.as_ref().err(),
    });
    format!("{value}\n")
}

fn shown(one: &Doubted, parts: &[Part]) -> String {
    let mut out = format!("{}\n  {}\n", one.name, plain::one_line(&one.words));
    if let Err(why) = &one.frames {
        out += &format!("  it can't be read: {why}\n");
    }
    for part in parts {
        let (from, to) = (part.from.to_the_second(), part.to.to_the_second());
        out += &format!("  {}: {} of {from} to {to}\n", part.stream, count(part.records, "record"));
    }
    out
}

pub fn show(config: &Config, name: &str) -> Result<Exit, Failure> {
    let doubts = look(config)?.inspector.doubts().map_err(|why| unreadable(name, &why))?;
    let Some(one) = doubts.into_iter().find(|one| one.name == name) else {
        return Err(unreadable(name, &"there is none with this name"));
    };
    let frames = one.frames.map_err(|why| unreadable(name, &why))?;
    let mut out = format!("answered with: {}\n", plain::text(&one.words));
    for frame in frames {
        let (stream, take) = (frame.stream.to_string(), frame.entries.len() as u32);
        let metas = frame.entries.clone();
        let entries = body::entries(&Piece { frame, skip: 0, take });
        let entries = entries.map_err(|bad| unreadable(name, &bad.why))?;
        for (meta, entry) in metas.iter().zip(entries) {
            let (id, stamp) = (meta.key.id, meta.key.stamp);
            out += &format!("\n{id}, version of {stamp}, of {stream}\n{}\n", text_of(&entry));
        }
    }
    print(&out)
}

pub fn retry(config: &Config, which: &Which) -> Result<Exit, Failure> {
    let what = "send a batch in doubt again";
    let done = each(config, which, what, |queue, at| queue.retry_doubt(at))?;
    print(&format!("{done} put back into the queue; the next run sends them again.\n"))
}

pub fn drop(config: &Config, which: &Which) -> Result<Exit, Failure> {
    let done = each(config, which, "drop a batch in doubt", |queue, at| queue.drop_doubt(at))?;
    print(&format!("{done} discarded; the next run delivers the gap to Coralogix.\n"))
}

fn each(
    config: &Config,
    which: &Which,
    what: &str,
    act: impl Fn(&mut RealQueue, QueuePosition) -> Result<Option<QueueStatus>, QueueError>,
) -> Result<String, Failure> {
    let queue = take(config, what)?;
    let names: Vec<String> = match which {
        Which::One(name) => vec![name.clone()],
        Which::All => queue.doubts().iter().map(ToString::to_string).collect(),
    };
    aside::each(queue, &names, what, &KIND, act)
}

fn unreadable(what: &str, why: &dyn std::fmt::Display) -> Failure {
    let what = plain::one_line(what);
    Failure::new(
        message::DOUBT_UNREADABLE,
        Exit::Failed,
        format!(
            "Failed to read the batch in doubt {what}: {why}. `queue doubt list` shows the \
             existing ones"
        ),
    )
}
