//! `queue list` and `queue show`: the records themselves.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde_json::json;

use super::{Looked, contents, look, text_of};
use crate::cli::Exit;
use crate::command::{Failure, print, print_failed};
use crate::config::Config;
use crate::message;
use crate::plain;
use crate::queue::inspect::{self, Contents, Doubted, Waiting};
use crate::record::{GapReason, RowKey, StreamName};
use crate::s1::page::{id_made_at, id_number};

/// What stands in the first column.
const HEAD: &str = "place         time                  stream, id and bytes\n";

pub fn list(
    config: &Config,
    stream: Option<&str>,
    limit: u64,
    json: bool,
) -> Result<Exit, Failure> {
    let mut looked = look(config)?;
    let contents = contents(&mut looked, "Reading the queue");
    let frames = contents.waiting.iter();
    let frames = frames.filter(|frame| stream.is_none_or(|name| frame.stream.to_string() == name));
    let mut out = io::stdout().lock();
    let mut left = if limit == 0 { u64::MAX } else { limit };
    let mut unseen = 0;
    let mut printed = if json { Ok(()) } else { out.write_all(HEAD.as_bytes()) };
    for frame in frames {
        let count = u64::from(frame.entries - frame.skip);
        if left == 0 || printed.is_err() {
            unseen += count;
            continue;
        }
        // A daemon at work may have given the file back since.
        let Ok(table) = looked.inspector.table(frame) else { continue };
        let rows = table.iter().enumerate().skip(frame.skip as usize);
        let some = rows.take(usize::try_from(left).unwrap_or(usize::MAX));
        let text: String =
            some.map(|(at, meta)| row(frame, at, meta.key, meta.raw_len, json)).collect();
        unseen += count.saturating_sub(left);
        left = left.saturating_sub(count);
        printed = printed.and_then(|()| out.write_all(plain::text(&text).as_bytes()));
    }
    if unseen > 0 && !json && printed.is_ok() {
        printed = writeln!(out, "... and {unseen} more; --limit 0 shows all");
    }
    match printed {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(print_failed(&why)),
        _ => Ok(Exit::Done),
    }
}

fn place(frame: &Waiting, at: usize) -> String {
    format!("{:x}-{at}", frame.seq.0)
}

fn row(frame: &Waiting, at: usize, key: RowKey, bytes: u32, json: bool) -> String {
    let place = place(frame, at);
    match json {
        true => {
            let value = json!({
                "place": place,
                "stream": frame.stream.to_string(),
                "id": key.id.to_string(),
                "time": key.stamp.to_string(),
                "bytes": bytes,
            });
            format!("{value}\n")
        }
        false => {
            let (time, id) = (key.stamp.to_the_second(), key.id);
            format!("{place:<12}  {time:<20}  {} {id} {bytes}\n", frame.stream)
        }
    }
}

/// The life of a record, as far as this box can know it.
pub fn show(config: &Config, id: &str) -> Result<Exit, Failure> {
    let Some(number) = id_number(id) else {
        return Err(Failure::new(
            message::ID_EMPTY,
            Exit::Usage,
            "The id is empty. Copy it from the console or a log",
        ));
    };
    let mut looked = look(config)?;
    let contents = contents(&mut looked, "Searching the queue");
    let mut out = String::new();
    let doubts = looked.inspector.doubts().unwrap_or_default();
    let mut found = life_in(&mut looked, &contents, &doubts, number, &mut out);
    found |= in_doubt(&doubts, number, &mut out);
    for parked in looked.inspector.parked().unwrap_or_default() {
        if parked.key.is_some_and(|key| key.id == number) {
            found = true;
            let stream = parked.stream.map_or("?".into(), |stream| stream.to_string());
            let _ =
                writeln!(out, "{id} of {stream}: refused by Coralogix, parked as {}", parked.name);
            let _ = writeln!(out, "  answer: {}", crate::answer::one_line(&parked.why));
        }
    }
    if !found {
        not_here(&looked, number, id, &mut out);
    }
    print(&out)?;
    Ok(if found { Exit::Done } else { Exit::Failed })
}

/// What Coralogix may not have taken.
fn in_doubt(doubts: &[Doubted], number: u64, out: &mut String) -> bool {
    let mut found = false;
    for one in doubts {
        for (stream, key) in keys_of(one).filter(|(_, key)| key.id == number) {
            found = true;
            let (stamp, name) = (key.stamp, &one.name);
            let _ = writeln!(
                out,
                "{number} of {stream}, version of {stamp}: sent in a batch that Coralogix may not \
                 have taken whole, kept as {name} (queue doubt show {name})"
            );
            let _ = writeln!(out, "  answer: {}", crate::answer::one_line(&one.words));
        }
    }
    found
}

fn keys_of(one: &Doubted) -> impl Iterator<Item = (&StreamName, RowKey)> {
    let frames = one.frames.iter().flatten();
    frames.flat_map(|frame| frame.entries.iter().map(|meta| (&frame.stream, meta.key)))
}

/// How a version that is past the head fared: delivered, or sent in a batch that was in doubt.
fn past_the_head(looked: &Looked, stream: &StreamName, key: RowKey) -> String {
    let gap = looked.inspector.gap_at(stream, key.stamp);
    match gap.filter(|gap| gap.reason == GapReason::InDoubt || gap.reason == GapReason::Purged) {
        None => "delivered (accepted by Coralogix)".to_owned(),
        Some(gap) => {
            format!("sent, and perhaps not taken ({}): {}", gap.reason.code(), gap.explain())
        }
    }
}

fn life_in(
    looked: &mut Looked,
    contents: &Contents,
    doubts: &[Doubted],
    number: u64,
    out: &mut String,
) -> bool {
    let mut found = false;
    let mut before = 0;
    let parts = [(&contents.delivered, true), (&contents.waiting, false)];
    for (frames, is_delivered) in parts {
        for frame in frames {
            let Ok(table) = looked.inspector.table(frame) else { continue };
            for (at, meta) in table.iter().enumerate() {
                let gone = is_delivered || (at as u32) < frame.skip;
                let is_doubted = || {
                    let mut keys = doubts.iter().flat_map(keys_of);
                    keys.any(|(stream, key)| (stream, key) == (&frame.stream, meta.key))
                };
                if meta.key.id == number && !(gone && is_doubted()) {
                    found = true;
                    let _ = writeln!(
                        out,
                        "{number} of {}, version of {}: collected, {}",
                        frame.stream,
                        meta.key.stamp,
                        if gone {
                            past_the_head(looked, &frame.stream, meta.key)
                        } else {
                            format!("waiting at {}, {before} records before it", place(frame, at))
                        }
                    );
                    let entry = looked.inspector.read(frame).ok();
                    let entry = entry.and_then(|whole| inspect::record(whole, at as u32));
                    let text =
                        entry.map_or("  (it can't be read)".to_owned(), |entry| text_of(&entry));
                    let _ = writeln!(out, "{text}");
                }
                before += u64::from(!gone);
            }
        }
    }
    found
}

/// What can be said of a record that is not in the files.
fn not_here(looked: &Looked, number: u64, id: &str, out: &mut String) {
    let _ = writeln!(out, "{id} is not in the queue.");
    let made = id_made_at(id);
    let mut told = false;
    for (stream, delivered, ids) in looked.inspector.streams() {
        if let Some(key) = ids.iter().find(|key| key.id == number) {
            let how = past_the_head(looked, stream, *key);
            let _ = writeln!(out, "  {stream}: collected not long ago and {how}.");
            told = true;
        } else if let (Some(made), Some(delivered)) = (made, delivered)
            && made < delivered.from
        {
            let (made, to) = (made.to_the_second(), delivered.position.to_the_second());
            let _ = writeln!(
                out,
                "  {stream}: if it was SentinelOne's to show there, it is delivered: its id was \
                 made {made}, and the stream is delivered up to {to}."
            );
            told = true;
        }
    }
    if !told {
        let _ =
            writeln!(out, "  It was not collected yet, or is no record of a configured stream.");
    }
}
