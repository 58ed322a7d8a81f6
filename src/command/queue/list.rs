//! `queue list`: the records that wait.

use std::io;

use serde_json::json;

use super::{Looked, contents, look};
use crate::cli::Exit;
use crate::command::{Failure, PlainOut, print_failed};
use crate::config::Config;
use crate::message;
use crate::plain;
use crate::queue::inspect::{Contents, Waiting};
use crate::record::RowKey;

/// What stands in the columns.
const HEAD: &str = "place         time                  stream id bytes\n";

pub fn list(
    config: &Config,
    stream: Option<&str>,
    limit: u64,
    json: bool,
) -> Result<Exit, Failure> {
    let mut looked = look(config)?;
    let contents = contents(&mut looked, "Reading the queue");
    if let Some(stream) = stream {
        known(config, &looked, &contents, stream)?;
    }
    let frames = contents.waiting.iter();
    let frames = frames.filter(|frame| stream.is_none_or(|name| frame.stream.to_string() == name));
    let mut out = PlainOut::open();
    let mut left = if limit == 0 { u64::MAX } else { limit };
    let mut unseen = 0;
    let mut printed = if json { Ok(()) } else { out.put(HEAD) };
    for frame in frames {
        let count = u64::from(frame.entries - frame.skip);
        if left == 0 || printed.is_err() {
            unseen += count;
            continue;
        }
        // A running daemon may have removed the file meanwhile.
        let Ok(table) = looked.inspector.table(frame) else { continue };
        let rows = table.iter().enumerate().skip(frame.skip as usize);
        let some = rows.take(usize::try_from(left).unwrap_or(usize::MAX));
        let text: String =
            some.map(|(at, meta)| row(frame, at, meta.key, meta.raw_len, json)).collect();
        unseen += count.saturating_sub(left);
        left = left.saturating_sub(count);
        printed = printed.and_then(|()| out.put(&text));
    }
    if unseen > 0 && !json && printed.is_ok() {
        printed = out.put(&format!("... and {unseen} more; --limit 0 shows all\n"));
    }
    if !json && printed.is_ok() {
        printed = out.put(&format!("{}\n", looked.told_by()));
    }
    match printed {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(print_failed(&why)),
        _ => Ok(Exit::Done),
    }
}

/// Refuses a stream that is in neither the config nor the queue.
fn known(
    config: &Config,
    looked: &Looked,
    contents: &Contents,
    stream: &str,
) -> Result<(), Failure> {
    let frames = contents.waiting.iter().chain(&contents.delivered);
    let mut names: Vec<String> = config.stream_names().iter().map(ToString::to_string).collect();
    names.extend(looked.inspector.streams().map(|(name, ..)| name.to_string()));
    names.extend(frames.map(|frame| frame.stream.to_string()));
    names.sort();
    names.dedup();
    if names.iter().any(|name| name == stream) {
        return Ok(());
    }
    let (stream, names) = (plain::one_line(stream), names.join(", "));
    let text = format!("Failed to list {stream}: there is no such stream. There are {names}");
    Err(Failure::new(message::STREAM_UNKNOWN, Exit::Usage, text))
}

pub(super) fn place(frame: &Waiting, at: usize) -> String {
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
