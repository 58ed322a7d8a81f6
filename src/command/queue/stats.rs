//! `queue stats`: the content of the queue's directory in numbers.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::status::{seconds, size};
use super::super::{Failure, first_column, print};
use super::{contents, look};
use crate::cli::Exit;
use crate::config::Config;
use crate::plain::count;
use crate::queue::inspect::{Contents, Waiting};
use crate::queue::marks::QueueId;
use crate::record::Orphan;
use crate::time::Stamp;

const NAME_CHARS: usize = 24;

#[derive(Default)]
struct Sum {
    records: u64,
    raw_bytes: u64,
    oldest: Option<Stamp>,
    newest: Option<Stamp>,
}

pub fn stats(config: &Config, json: bool) -> Result<Exit, Failure> {
    print(&text(config, json)?)
}

/// The lines about what can't be used, if there is anything.
fn bad(contents: &Contents) -> String {
    let line = |what: &str, number: usize, one: &str| match number {
        0 => String::new(),
        number => format!("  {what:<13}{}; see s1-coralogix queue verify\n", count(number, one)),
    };
    line("damaged", contents.damage.len(), "place")
        + &line("missing", contents.missing as usize, "frame")
}

/// The output of `queue stats`.
pub fn text(config: &Config, json: bool) -> Result<String, Failure> {
    let mut looked = look(config)?;
    let contents = contents(&mut looked, "Reading the queue");
    let parked = looked.parked()?;
    let doubts = looked.doubts()?;
    let doubt_bytes = doubts.iter().map(|one| one.bytes).sum::<u64>();
    let quarantined = looked.inspector.quarantined();
    let streams = by_stream(&contents);
    let waiting: u64 = streams.values().map(|sum| sum.records).sum();
    let disk: u64 = contents.waiting.iter().map(|frame| u64::from(frame.len)).sum();
    let is_exact = looked.is_exact();
    let orphans = looked.inspector.orphans(&config.stream_names());
    if json {
        let rows: Vec<_> = streams.iter().map(|(name, sum)| row(name, sum)).collect();
        let value = json!({
            "schema": 1,
            "dir": looked.dir.display().to_string(),
            "id": looked.inspector.id().map(QueueId::as_str),
            "status_file": looked.status_file.display().to_string(),
            "told_by": looked.inspector.head().by.code(),
            "in_use": looked.in_use,
            "waiting": waiting,
            "waiting_is_exact": is_exact,
            "frames": contents.waiting.len(),
            "disk_bytes": disk,
            "streams": rows,
            "orphans": orphans.iter().map(orphan_row).collect::<Vec<_>>(),
            "log_files": contents.files,
            "log_bytes": contents.bytes,
            "delivered_frames_in_log": contents.delivered.len(),
            "damaged_places": contents.damage.len(),
            "missing_frames": contents.missing,
            "parked": parked.len(),
            "doubt": doubts.len(),
            "doubt_bytes": doubt_bytes,
            "quarantined": quarantined.len(),
            "quarantined_bytes": quarantined.iter().map(|(_, bytes)| bytes).sum::<u64>(),
        });
        return Ok(format!("{value:#}\n"));
    }
    let mut out = format!("queue {}{}\n", looked.dir.display(), used(looked.in_use));
    out += &format!("{}\n", looked.told_by());
    // Zero is exact in any case.
    let at_most = if is_exact || waiting == 0 { "" } else { "at most " };
    let frames = contents.waiting.len();
    out += &format!(
        "  waiting      {at_most}{} in {}, {} on disk\n",
        count(waiting, "record"),
        count(frames, "frame"),
        size(disk)
    );
    out += &format!("  log          {}, {}\n", count(contents.files, "file"), size(contents.bytes));
    out += &bad(&contents);
    out += &format!("  parked       {} that Coralogix rejected\n", count(parked.len(), "record"));
    out += &format!(
        "  doubt        {} in doubt, {}\n",
        count(doubts.len(), "batch"),
        size(doubt_bytes)
    );
    let bytes = quarantined.iter().map(|(_, bytes)| bytes).sum::<u64>();
    out += &format!("  quarantine   {}, {}\n", count(quarantined.len(), "thing"), size(bytes));
    out += &streams_shown(&streams);
    out += &orphans_shown(&orphans);
    Ok(out)
}

fn streams_shown(streams: &BTreeMap<String, Sum>) -> String {
    let mut out = String::new();
    if !streams.is_empty() {
        let name = first_column("stream", NAME_CHARS);
        out += &format!("\n{name} {:>10}  {:<20}  {}\n", "waiting", "oldest", "newest");
    }
    let at = |stamp: Option<Stamp>| stamp.map_or("-".into(), |at| seconds(&at.to_string()));
    for (name, sum) in streams {
        let (oldest, newest) = (at(sum.oldest), at(sum.newest));
        let name = first_column(name, NAME_CHARS);
        out += &format!("{name} {:>10}  {oldest:<20}  {newest}\n", sum.records);
    }
    out
}

fn orphans_shown(orphans: &[Orphan]) -> String {
    let mut out = String::new();
    if !orphans.is_empty() {
        out += "\npositions that no integration in the config continues from:\n";
    }
    for orphan in orphans {
        let name = first_column(&orphan.name.to_string(), NAME_CHARS);
        out += &format!("{name} up to {}\n", orphan.position.to_the_second());
        if let Some(tenant) = &orphan.tenant {
            out += &format!("  from {tenant}\n");
        }
    }
    out
}

fn orphan_row(orphan: &Orphan) -> serde_json::Value {
    json!({
        "name": orphan.name.to_string(),
        "position": orphan.position.to_string(),
        "tenant": orphan.tenant,
    })
}

fn used(in_use: Option<bool>) -> &'static str {
    match in_use {
        Some(true) => ", in use by the running daemon",
        Some(false) => ", not in use",
        None => "",
    }
}

fn row(name: &str, sum: &Sum) -> serde_json::Value {
    json!({
        "name": name,
        "waiting": sum.records,
        "json_bytes": sum.raw_bytes,
        "oldest": sum.oldest.map(|at| at.to_string()),
        "newest": sum.newest.map(|at| at.to_string()),
    })
}

fn by_stream(contents: &Contents) -> BTreeMap<String, Sum> {
    let mut streams: BTreeMap<String, Sum> = BTreeMap::new();
    for frame in &contents.waiting {
        let sum = streams.entry(frame.stream.to_string()).or_default();
        let Waiting { entries, skip, raw_len, oldest, newest, .. } = *frame;
        sum.records += u64::from(entries - skip);
        sum.raw_bytes += u64::from(raw_len);
        sum.oldest = Some(sum.oldest.map_or(oldest, |at| at.min(oldest)));
        sum.newest = Some(sum.newest.map_or(newest, |at| at.max(newest)));
    }
    streams
}
