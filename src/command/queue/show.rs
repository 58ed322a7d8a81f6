//! `queue show`: what happened to one record.
//!
//! Promises: says that Coralogix accepted a version only where it can't have left the queue in any
//! other way: not rejected, not in doubt, not damaged, not dropped by a person. Never: guesses.

use std::fmt::Write as _;

use super::list::place;
use super::{Looked, contents, look, place_of, text_of};
use crate::cli::Exit;
use crate::command::{Failure, print};
use crate::config::Config;
use crate::message;
use crate::plain;
use crate::queue::inspect::{self, Contents, Doubted, Fate, Parked, Waiting};
use crate::record::{Category, Gap, QueuePosition, RowKey, StreamName};
use crate::s1::page::{id_made_at, id_number};

/// The files beside the log.
struct Beside {
    parked: Vec<Parked>,
    doubts: Vec<Doubted>,
}

impl Beside {
    /// Whether one of these files holds this version, which is before the head.
    fn tells_of(&self, stream: &StreamName, key: RowKey, at: QueuePosition) -> bool {
        let mut doubted = self.doubts.iter().flat_map(keys_of);
        let mut parked = self.parked.iter().filter(|one| one.key == Some(key));
        doubted.any(|one| one == (stream, key)) || parked.any(|one| place_of(&one.name) == Some(at))
    }

    /// The files that may hold the record and can't be read.
    fn write_unread(&self, out: &mut String) {
        let parked = self.parked.iter().filter(|one| one.key.is_none());
        for name in parked.map(|one| &one.name) {
            let _ = writeln!(out, "parked/{name}.log can't be read: it may be in there.");
        }
        for one in &self.doubts {
            if let Err(why) = &one.frames {
                let name = &one.name;
                let _ =
                    writeln!(out, "doubt/{name}.log can't be read ({why}): it may be in there.");
            }
        }
    }

    fn write_parked(&self, number: u64, out: &mut String) -> bool {
        let mut found = false;
        for one in &self.parked {
            let Some(key) = one.key.filter(|key| key.id == number) else { continue };
            found = true;
            let stream = one.stream.as_ref().map_or("?".into(), ToString::to_string);
            let (stamp, name) = (key.stamp, &one.name);
            let _ = writeln!(
                out,
                "{number} of {stream}, version of {stamp}: rejected by Coralogix, parked as {name} \
                 (queue parked show {name})"
            );
            let _ = writeln!(out, "  answer: {}", plain::one_line(&one.why));
        }
        found
    }
}

/// Shows what this queue knows of a record.
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
    let beside = Beside { parked: looked.parked()?, doubts: looked.doubts()? };
    let mut found = life_in(&mut looked, &contents, &beside, number, &mut out);
    found |= in_doubt(&beside.doubts, number, &mut out);
    found |= beside.write_parked(number, &mut out);
    beside.write_unread(&mut out);
    if !found {
        not_here(&looked, number, id, &mut out);
    }
    let _ = writeln!(out, "{}", looked.told_by());
    print(&out)?;
    Ok(if found { Exit::Done } else { Exit::Failed })
}

/// The batches in doubt that hold the record.
fn in_doubt(doubts: &[Doubted], number: u64, out: &mut String) -> bool {
    let mut found = false;
    for one in doubts {
        for (stream, key) in keys_of(one).filter(|(_, key)| key.id == number) {
            found = true;
            let (stamp, name) = (key.stamp, &one.name);
            let _ = writeln!(
                out,
                "{number} of {stream}, version of {stamp}: sent in a batch that Coralogix may not \
                 have accepted in full, kept as {name} (queue doubt show {name})"
            );
            let _ = writeln!(out, "  answer: {}", plain::one_line(&one.words));
        }
    }
    found
}

fn keys_of(one: &Doubted) -> impl Iterator<Item = (&StreamName, RowKey)> {
    let frames = one.frames.iter().flatten();
    frames.flat_map(|frame| frame.entries.iter().map(|meta| (&frame.stream, meta.key)))
}

/// What happened to a version that does not wait any more.
fn fared(looked: &Looked, stream: &StreamName, key: RowKey, at: Option<QueuePosition>) -> String {
    match looked.inspector.fate(stream, key.stamp, at) {
        Fate::Delivered => "delivered (accepted by Coralogix)".to_owned(),
        Fate::TakenOut(gap) => format!("not delivered from there: {}", describe(gap)),
        Fate::Perhaps(gap) => {
            format!(
                "no longer in the queue: delivered, or among what a gap tells: {}",
                describe(gap)
            )
        }
        Fate::Unknown if !looked.inspector.has_checkpoint() => {
            "no longer in the queue: delivered, or \
            rejected or in doubt and given up; the checkpoint, which tells, can't be read"
                .to_owned()
        }
        Fate::Unknown => "no longer in the queue: delivered, or refused or in doubt and given up, \
                         in a gap that was reported and is no longer kept"
            .to_owned(),
    }
}

/// The description of a gap, and what became of its records.
fn describe(gap: &Gap) -> String {
    let since = gap.outcome().map_or(String::new(), |outcome| format!("; since then {outcome}"));
    format!("{} (gap {}, {}){since}", gap.explain(), gap.number, gap.reason.code())
}

fn life_in(
    looked: &mut Looked,
    contents: &Contents,
    beside: &Beside,
    number: u64,
    out: &mut String,
) -> bool {
    let mut found = false;
    let mut before = 0;
    let parts = [(&contents.delivered, true), (&contents.waiting, false)];
    for (frames, is_past) in parts {
        for frame in frames {
            let Ok(table) = looked.inspector.table(frame) else { continue };
            for (entry, meta) in table.iter().enumerate() {
                let entry = entry as u32;
                let gone = is_past || entry < frame.skip;
                let at = QueuePosition { seq: frame.seq, skip: entry };
                let is_told = || gone && beside.tells_of(&frame.stream, meta.key, at);
                if meta.key.id == number && !is_told() {
                    found = true;
                    let how = match gone {
                        true => fared(looked, &frame.stream, meta.key, Some(at)),
                        false => waits(looked, frame, entry, before),
                    };
                    let (stream, stamp) = (&frame.stream, meta.key.stamp);
                    let _ =
                        writeln!(out, "{number} of {stream}, version of {stamp}: collected, {how}");
                    let _ = writeln!(out, "{}", text_at(looked, frame, entry));
                }
                before += u64::from(!gone);
            }
        }
    }
    found
}

fn waits(looked: &Looked, frame: &Waiting, entry: u32, before: u64) -> String {
    let (place, before) = (place(frame, entry as usize), plain::count(before, "record"));
    match looked.is_exact() {
        true => format!("waiting at {place}, {before} before it"),
        false => format!(
            "waiting at {place}, at most {before} before it, or delivered since the last \
             word of the daemon"
        ),
    }
}

fn text_at(looked: &mut Looked, frame: &Waiting, entry: u32) -> String {
    let whole = looked.inspector.read(frame).ok();
    let entry = whole.and_then(|whole| inspect::record(whole, entry));
    entry.map_or("  (it can't be read)".to_owned(), |entry| text_of(&entry))
}

/// What can be said of a record that is in none of the files.
fn not_here(looked: &Looked, number: u64, id: &str, out: &mut String) {
    let _ = writeln!(out, "{id} is not in the queue.");
    let made = id_made_at(id);
    let mut is_told = false;
    let polled = |name: &StreamName| matches!(name.category, Category::Polled(_));
    for (stream, delivered, ids) in looked.inspector.streams().filter(|(name, ..)| polled(name)) {
        if let Some(key) = ids.iter().find(|key| key.id == number) {
            let how = fared(looked, stream, *key, None);
            let _ = writeln!(out, "  {stream}: collected not long ago, {how}.");
            is_told = true;
        } else if let (Some(made), Some(delivered)) = (made, delivered)
            && made < delivered.from
        {
            let (since, to) = (made.to_the_second(), delivered.position.to_the_second());
            let but = match looked.inspector.gap_since(stream, made) {
                (Some(gap), _) => format!(", or among what a gap tells: {}", describe(gap)),
                (None, true) => ", or in a gap that was reported and is no longer kept".to_owned(),
                (None, false) => String::new(),
            };
            let _ = writeln!(
                out,
                "  {stream}: if it was SentinelOne's to show there, it is delivered{but}: its id was \
                 made {since}, and the stream is delivered up to {to}."
            );
            is_told = true;
        } else if let Some(made) = made
            && let (Some(gap), _) = looked.inspector.gap_since(stream, made)
        {
            let _ = writeln!(
                out,
                "  {stream}: if it was collected, it is delivered or among what a gap tells: {}.",
                describe(gap)
            );
            is_told = true;
        }
    }
    if !looked.inspector.has_checkpoint() {
        let _ = writeln!(
            out,
            "  Whether it was delivered is not known: there is no checkpoint that can be read."
        );
    } else if !is_told {
        let _ =
            writeln!(out, "  It was not collected yet, or is no record of a configured stream.");
    }
}
