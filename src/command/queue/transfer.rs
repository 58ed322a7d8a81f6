//! `queue export` and `queue import`: move a queue to another machine.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::Path;

use super::{look, progressing, take, take_going_on};
use crate::cli::Exit;
use crate::command::{Failure, print, print_error};
use crate::config::Config;
use crate::frame::Frame;
use crate::message;
use crate::os::made::{self, Readers};
use crate::os::progress::Progress;
use crate::os::{clock, owner, regular};
use crate::plain::count;
use crate::queue::export::{self, Tally, TransferError};
use crate::record::Seq;

pub fn export(config: &Config, file: &Path) -> Result<Exit, Failure> {
    let shown = file.display();
    if file.exists() {
        return Err(Failure::new(
            message::EXPORT_IN_THE_WAY,
            Exit::Failed,
            format!("Failed to export the queue: {shown} exists already. Name another file"),
        ));
    }
    let failed = |why: &dyn std::fmt::Display| {
        let text = format!("Failed to export the queue to {shown}: {why}");
        Failure::new(message::EXPORT_FAILED, Exit::Failed, text)
    };
    let parked = parked_frames(config)?;
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    // Created while the process still has the caller's rights.
    let out = made::file_anew(part, Readers::Owner).map_err(|why| failed(&why))?;
    let taken = take(config, "export the queue");
    let written = taken.map(|mut queue| {
        let written = write_whole(out, |out| {
            let mut progress = Progress::new("Exporting");
            queue.export(out, parked, &mut progressing(&mut progress))
        });
        queue.close(clock::mono());
        written
    });
    owner::act_as_root_again();
    let done = written.and_then(|written| {
        let tally = written.and_then(|tally| Ok(fs::rename(part, file).map(|()| tally)?));
        tally.map_err(|why| match why {
            TransferError::Queue(why) => {
                failed(&format!("{why}. No file was written; once that is fixed, export again"))
            }
            why => failed(&with_remedy(&why)),
        })
    });
    if done.is_err() {
        // Half a file is useless, and the error matters more than a failure to remove it.
        let _ = fs::remove_file(part);
    }
    let tally = done?;
    print(&format!(
        "{} written to {shown}.\nThe queue in {} still has the same records: do not start this \
         daemon again once the other machine has imported them, or they are delivered twice. \
         Remove that directory when the other machine has delivered.\n",
        counted(tally),
        config.queue.dir.display()
    ))
}

pub fn import(config: &Config, file: &Path) -> Result<Exit, Failure> {
    let shown = file.display();
    let failed = |why: &TransferError| {
        let text = format!("Failed to import {shown}: {}", with_remedy(why));
        Failure::new(message::IMPORT_FAILED, Exit::Failed, text)
    };
    let mut opened = regular::open(file).map_err(|why| failed(&why.into()))?;
    let tally = export::verify(&mut BufReader::new(&opened)).map_err(|why| failed(&why))?;
    let bytes = opened.metadata().map_or(0, |meta| meta.len());
    if bytes > config.queue.max_size_bytes {
        return Err(Failure::new(
            message::IMPORT_TOO_LARGE,
            Exit::Failed,
            format!(
                "Failed to import {shown}: its {bytes} bytes are more than queue.max_size. Raise \
                 queue.max_size; nothing was changed"
            ),
        ));
    }
    opened.rewind().map_err(|why| failed(&why.into()))?;
    let mut queue = take_going_on(config, "import into the queue")?;
    let outcome = {
        let mut progress = Progress::new("Importing");
        queue.import(&mut BufReader::new(&opened), tally, &mut progressing(&mut progress))
    };
    queue.close(clock::mono());
    if let Err(TransferError::Imported) = outcome {
        return print(&format!(
            "{shown} was imported into this queue before. Nothing was changed.\n"
        ));
    }
    for name in outcome.map_err(|why| failed(&why))? {
        let text = format!(
            "{shown} does not say from which address the positions of {name} were collected. Before \
             the next run, compare tenant of {name} in the config with that of the old machine: for \
             another tenant the positions are wrong, and records would be missing"
        );
        print_error(message::IMPORT_ADDRESS_UNKNOWN, text);
    }
    print(&format!("{} imported from {shown}; the next run delivers them.\n", counted(tally)))
}

fn parked_frames(config: &Config) -> Result<Vec<(Seq, Frame)>, Failure> {
    let mut looked = look(config)?;
    let unreadable = |why: io::Error| {
        let text = format!("Failed to export a parked record: {why}. Drop it, or read it by hand");
        Failure::new(message::EXPORT_FAILED, Exit::Failed, text)
    };
    let parked = looked.inspector.parked().map_err(unreadable)?;
    let frames = parked.iter().map(|one| looked.inspector.parked_frame(&one.name));
    frames.collect::<io::Result<_>>().map_err(unreadable)
}

/// Writes the whole file and syncs it.
fn write_whole(
    file: File,
    write: impl FnOnce(&mut dyn Write) -> Result<Tally, TransferError>,
) -> Result<Tally, TransferError> {
    let mut out = BufWriter::new(file);
    let tally = write(&mut out)?;
    out.into_inner().map_err(|why| TransferError::File(why.into_error()))?.sync_all()?;
    Ok(tally)
}

fn with_remedy(why: &TransferError) -> String {
    match why {
        TransferError::File(why) => why.to_string(),
        TransferError::NotWhole(why) => {
            format!("{why}. Copy the file again, or export again; nothing was changed")
        }
        TransferError::Collected(stream) => format!(
            "the queue has already collected {stream}, so its records would be delivered twice. Import \
             into an empty queue.dir before the first run"
        ),
        TransferError::OtherTenant { .. } => format!(
            "{why}: they may be different tenants. Import into an empty queue.dir; nothing was changed"
        ),
        TransferError::Imported => format!("{why}; nothing was changed"),
        TransferError::Unfinished => format!(
            "{why} in this queue. Import that file again first, or run the daemon, which continues \
             with what was imported from it; nothing was changed"
        ),
        TransferError::Queue(why) => format!(
            "{why}. What was imported is kept; once that is fixed, import the same file again, \
             which continues from there"
        ),
    }
}

fn counted(tally: Tally) -> String {
    let some = |n: u64, what: &str, rest: &str| match n {
        0 => String::new(),
        n => format!(", {}{rest}", count(n, what)),
    };
    format!(
        "{} waiting, {} parked{}{} and the positions of {} were",
        count(tally.records, "record"),
        tally.parked,
        some(tally.doubts, "batch", " in doubt"),
        some(tally.gaps, "gap", " to be reported"),
        count(tally.streams, "stream")
    )
}
