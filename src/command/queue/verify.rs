//! `queue verify`: reads every frame and checks every checksum.
//!
//! Exit codes of its own: 0 everything is intact, 1 something is damaged, 2 something could not be
//! read.

use super::{Looked, look, progressing};
use crate::cli::Exit;
use crate::command::{Failure, print};
use crate::config::Config;
use crate::message;
use crate::os::progress::Progress;
use crate::pack;
use crate::plain::count;
use crate::queue::inspect::{Contents, Damage, Doubted};

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
    for Damage { file, offset, bytes } in &contents.damage {
        out += &format!("{file} at byte {offset}: {} damaged\n", count(*bytes, "byte"));
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
    if contents.missing > 0 {
        out += &format!(
            "{} that the checkpoint counts as waiting: not in the log\n",
            count(contents.missing, "frame")
        );
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
    if damaged == 0 && contents.missing == 0 {
        out += "; no damage was found\n";
        print(&out)?;
        return Ok(Exit::Done);
    }
    out += &advice(&contents, damaged, &looked);
    print(&out)?;
    Ok(Exit::Failed)
}

/// What was found, and what follows from it.
fn advice(contents: &Contents, damaged: usize, looked: &Looked) -> String {
    let code = message::QUEUE_DAMAGED;
    if damaged == 0 {
        return format!(
            "; frames are missing.\n{code} The next start reports a gap of each stream, if none was \
             reported, and asks SentinelOne for their records again. Check the disk (dmesg, \
             smartctl); if a backup of log/ in {} has the files, put them back first.\n",
            looked.dir.display()
        );
    }
    let running = match looked.in_use {
        Some(true) => "The running daemon sets damaged frames aside when it comes to them",
        _ => "The next start sets damaged frames aside",
    };
    let aside = match contents.damage.is_empty() {
        true => String::new(),
        false => {
            format!(" {running} in quarantine/, and asks SentinelOne for their records again.")
        }
    };
    let kept = match damaged > contents.damage.len() {
        true => {
            " What is damaged in parked/ and doubt/ stays there: `queue parked drop` and `queue doubt \
             drop` remove it."
        }
        false => "",
    };
    format!(
        "; {damaged} places are damaged.\n{code}{aside}{kept} Check the disk (dmesg, smartctl).\n"
    )
}

fn is_whole(one: &Doubted) -> bool {
    one.frames.as_ref().is_ok_and(|frames| frames.iter().all(|frame| pack::inflate(frame).is_ok()))
}
