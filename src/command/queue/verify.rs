//! `queue verify`: reads every frame and checks every checksum.
//!
//! Exit codes of its own: 0 everything is intact, 1 something is damaged, 2 something could not be
//! read.

use super::{look, progressing};
use crate::cli::Exit;
use crate::command::{Failure, print};
use crate::config::Config;
use crate::message;
use crate::os::progress::Progress;
use crate::pack;
use crate::plain::count;
use crate::queue::inspect::Doubted;

pub fn verify(config: &Config) -> Result<Exit, Failure> {
    let mut looked = look(config).map_err(|failure| Failure { exit: Exit::Usage, ..failure })?;
    let contents = {
        let mut progress = Progress::new("Checking the queue");
        looked.inspector.verify(&mut progressing(&mut progress))
    };
    let as_usage = |failure| Failure { exit: Exit::Usage, ..failure };
    let parked = looked.parked().map_err(as_usage)?;
    let unreadable: Vec<_> = parked.iter().filter(|parked| parked.key.is_none()).collect();
    let doubts = looked.doubts().map_err(as_usage)?;
    let mut out = String::new();
    for damage in &contents.damage {
        out += &format!(
            "{} at byte {}: {} damaged\n",
            damage.file,
            damage.offset,
            count(damage.bytes, "byte")
        );
    }
    for (file, why) in &contents.unread {
        out += &format!("{file} could not be read: {why}\n");
    }
    for parked in &unreadable {
        out += &format!("parked/{}.log is damaged\n", parked.name);
    }
    let in_doubt: Vec<_> = doubts.iter().filter(|one| !is_whole(one)).collect();
    for one in &in_doubt {
        out += &format!("doubt/{}.log is damaged\n", one.name);
    }
    let frames = contents.waiting.len() + contents.delivered.len();
    out += &format!(
        "{} in {}, {} and {} in doubt read",
        count(frames, "frame"),
        count(contents.files, "file"),
        count(parked.len(), "parked record"),
        count(doubts.len(), "batch")
    );
    let damaged = contents.damage.len() + unreadable.len() + in_doubt.len();
    if !contents.unread.is_empty() {
        out += "; not everything could be looked at\n";
        print(&out)?;
        return Ok(if damaged == 0 { Exit::Usage } else { Exit::Failed });
    }
    if damaged == 0 {
        out += "; no damage was found\n";
        print(&out)?;
        return Ok(Exit::Done);
    }
    let running = match looked.in_use {
        Some(true) => "The running daemon sets damaged frames aside when it comes to them",
        _ => "The next start sets them aside",
    };
    out += &format!(
        "; {damaged} places are damaged.\n{} {running} in quarantine/, and asks SentinelOne for their \
         records again. Check the disk (dmesg, smartctl).\n",
        message::QUEUE_DAMAGED
    );
    print(&out)?;
    Ok(Exit::Failed)
}

fn is_whole(one: &Doubted) -> bool {
    one.frames.as_ref().is_ok_and(|frames| frames.iter().all(|frame| pack::inflate(frame).is_ok()))
}
