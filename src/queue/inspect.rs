//! Looking at a queue without taking it: what `queue stats`, `list`, `show` and `verify` read.
//!
//! Promises: reads files and nothing else, so it works while the daemon runs and on a file system
//! that is mounted read-only. What it says of a queue in use is true of one moment between its
//! beginning and its end. Never: takes the lock, opens the index, or repairs.

use std::io;

use super::checkpoint::{self, Checkpoint};
use super::disk::{Disk, Item};
use super::gaps::Ledger;
pub use super::head::{Fate, Head, HeadBy, Told};
use super::head_file;
use super::keys::{Entry, StreamRow};
use super::log::{self, Depth, Found, LogFiles, Scan};
use super::marks::{self, QueueId};
use super::origins::Origins;
use super::replay::{Partial, Replay};
use super::room::{DOUBT, PARKED, QUARANTINE};
use super::trouble::wrote_newer;
use crate::coralogix::body;
use crate::frame::{self, Bad, EntryMeta, FILE_HEADER_BYTES, Frame, Piece};
use crate::pack;
use crate::record::{Category, Orphan, Progress, RowKey, Seq, StreamName};
use crate::time::Stamp;

/// A queue's directory, looked at.
pub struct Inspector<D: Disk> {
    disk: D,
    files: LogFiles,
    id: Option<QueueId>,
    head: Head,
    is_told_of_another: bool,
    pub(super) ledger: Ledger,
    pub(super) streams: Vec<(StreamRow, Vec<RowKey>)>,
    origins: Origins,
}

/// A frame as it was found in the log.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub stream: StreamName,
    pub seq: Seq,
    pub file: u64,
    pub offset: u64,
    pub len: u32,
    /// Entries that are delivered already, from the first on.
    pub skip: u32,
    pub entries: u32,
    pub raw_len: u32,
    pub oldest: Stamp,
    pub newest: Stamp,
    /// Ends the page: what follows in the log belongs to another one.
    pub last_of_page: bool,
}

/// What lies in the log.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Frames that wait, in the order in which they will be delivered.
    pub waiting: Vec<Waiting>,
    /// Frames that are delivered and not yet given back to the disk.
    pub delivered: Vec<Waiting>,
    /// Bytes that are no frame, by file.
    pub damage: Vec<Damage>,
    /// Files that could not be read to their end, and why; nothing says that they are damaged.
    pub unread: Vec<(String, String)>,
    /// Frames of pages that are not whole: never taken in, asked for again.
    pub torn: u32,
    pub files: usize,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub file: String,
    pub offset: u64,
    pub bytes: u64,
}

/// A record that Coralogix refused.
#[derive(Clone, Debug)]
pub struct Parked {
    /// The name without its ending; it names the record for people.
    pub name: String,
    pub bytes: u64,
    pub stream: Option<StreamName>,
    pub key: Option<RowKey>,
    /// The answer it was refused with.
    pub why: String,
}

/// A batch that Coralogix answered with success and with words that some of it was not taken.
#[derive(Clone, Debug)]
pub struct Doubted {
    /// The name without its ending; it names the batch for people.
    pub name: String,
    pub bytes: u64,
    /// What is in it; why not, where it can't be read.
    pub frames: Result<Vec<Frame>, String>,
    /// What the answer said.
    pub words: String,
}

impl<D: Disk> Inspector<D> {
    /// `told`: the head as a daemon's status tells it, if it does. That of another queue is passed over.
    pub fn open(mut disk: D, told: Option<Told>) -> io::Result<Inspector<D>> {
        let files = match LogFiles::list(&mut disk) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.list("")?;
                LogFiles::default()
            }
            other => other?,
        };
        if let Some(file) = files.newer(&mut disk)? {
            return Err(written_by_newer(&file));
        }
        let items = disk.list("")?;
        let checkpoint = items.iter().find(|item| item.name == checkpoint::FILE);
        let checkpoint = checkpoint
            .and_then(|item| disk.read(checkpoint::FILE, 0, item.len as usize).ok())
            .unwrap_or_default();
        if Checkpoint::is_newer(&checkpoint) {
            return Err(written_by_newer(checkpoint::FILE));
        }
        if head_file::is_newer(&mut disk) {
            return Err(written_by_newer(head_file::FILE));
        }
        let is_closed = marks::is_closed(&mut disk, &checkpoint);
        let checkpoint = Checkpoint::decode(&checkpoint).unwrap_or_default();
        let id = QueueId::read(&mut disk);
        let is_told_of_another = told.as_ref().is_some_and(|told| told.queue != id);
        let noted = head_file::read(&mut disk, id.as_ref()).unwrap_or_default();
        let least = checkpoint.head.max(noted);
        // A status is written less often than `head`.
        let told = told.filter(|told| told.queue == id && told.head >= checkpoint.head);
        let told = told.map(|told| Told { head: told.head.max(noted), ..told });
        let head = match told {
            _ if is_closed => Head { place: least, by: HeadBy::Close },
            None => Head { place: least, by: HeadBy::Checkpoint },
            Some(Told { head, is_running: true, .. }) => Head { place: head, by: HeadBy::Daemon },
            Some(Told { head, .. }) => Head { place: head, by: HeadBy::EndedDaemon },
        };
        let Checkpoint { streams, ledger, origins, .. } = checkpoint;
        Ok(Inspector { disk, files, id, head, is_told_of_another, ledger, streams, origins })
    }

    /// Which queue it is; `None` before a start of a version that gives ids.
    pub fn id(&self) -> Option<&QueueId> {
        self.id.as_ref()
    }

    /// Whether what was told is another queue's, and was passed over.
    pub fn is_told_of_another(&self) -> bool {
        self.is_told_of_another
    }

    pub fn head(&self) -> Head {
        self.head
    }

    /// The streams of the checkpoint, with how far each is delivered and the ids it carries.
    pub fn streams(&self) -> impl Iterator<Item = (&StreamName, Option<Progress>, &[RowKey])> {
        self.streams.iter().map(|(row, ids)| (&row.name, row.delivered, ids.as_slice()))
    }

    /// The streams of the checkpoint that have a position and are none of these.
    pub fn orphans(&self, configured: &[StreamName]) -> Vec<Orphan> {
        let polled = |name: &StreamName| matches!(name.category, Category::Polled(_));
        let rows = self.streams.iter().map(|(row, _)| row);
        let rows = rows.filter(|row| polled(&row.name) && !configured.contains(&row.name));
        let orphans = rows.filter_map(|row| {
            let tenant = self.origins.tenant(&row.name.integration).map(str::to_owned);
            let (name, position) = (row.name.clone(), row.progress?.position);
            Some(Orphan { name, position, tenant })
        });
        orphans.collect()
    }

    /// The address that an integration's positions were collected from, if it has any and that is
    /// known.
    pub fn tenant_of(&self, integration: &str) -> Option<&str> {
        let mut rows = self.streams.iter().map(|(row, _)| row);
        let has_position = rows.any(|row| {
            let is_polled = matches!(row.name.category, Category::Polled(_));
            is_polled && row.name.integration == integration && row.progress.is_some()
        });
        self.origins.tenant(integration).filter(|_| has_position)
    }

    /// Reads the log. `progress` is told of each file: bytes done and bytes in all.
    pub fn contents(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Contents {
        self.scan(Depth::Header, progress)
    }

    /// The same with every byte read and every checksum checked.
    pub fn verify(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Contents {
        // Heads and tables first; then each frame is read once, whole.
        let mut contents = self.scan(Depth::Table, progress);
        let frames = contents.waiting.iter().chain(&contents.delivered);
        let bad: Vec<Damage> = frames
            .filter(|waiting| !self.read(waiting).is_ok_and(|frame| pack::inflate(&frame).is_ok()))
            .map(|waiting| Damage {
                file: log::path(waiting.file),
                offset: waiting.offset,
                bytes: u64::from(waiting.len),
            })
            .collect();
        contents.damage.extend(bad);
        contents
    }

    fn scan(&mut self, depth: Depth, progress: &mut dyn FnMut(u64, u64)) -> Contents {
        let bytes = self.files.bytes();
        let mut contents = Contents { files: self.files.lens.len(), bytes, ..Contents::default() };
        let mut replay = Replay::new(Seq(0), None, Partial::Keep);
        let mut done = 0;
        for (file, len) in self.files.lens.clone() {
            let mut scan = Scan::new(file, 0, len).at_depth(depth);
            let mut at = FILE_HEADER_BYTES as u64;
            loop {
                match scan.next(&mut self.disk) {
                    Found::End => break,
                    Found::Newer => {
                        contents.unread.push((log::path(file), Bad::Newer.explain().to_owned()));
                        break;
                    }
                    Found::Unread(error) => {
                        contents.unread.push((log::path(file), error.to_string()));
                        break;
                    }
                    Found::Damage { bytes } => {
                        contents.damage.push(Damage { file: log::path(file), offset: at, bytes });
                        at += bytes;
                    }
                    Found::Frame { header, offset, table } => {
                        at = offset + header.disk_len() as u64;
                        for page in replay.feed(file, offset, &header, &table) {
                            self.take_page(&page.stream, &page.entries, &mut contents);
                        }
                    }
                }
            }
            done += len;
            progress(done, bytes);
        }
        replay.finish();
        contents.torn = replay.dropped;
        contents
    }

    fn take_page(&self, stream: &StreamName, entries: &[Entry], contents: &mut Contents) {
        let head = self.head.place;
        for (at, entry) in entries.iter().enumerate() {
            let skip = if entry.seq == head.seq { head.skip.min(entry.entries) } else { 0 };
            let waiting = Waiting {
                stream: stream.clone(),
                seq: entry.seq,
                file: entry.file,
                offset: entry.offset,
                len: entry.len,
                skip,
                entries: entry.entries,
                raw_len: entry.raw_len,
                oldest: entry.oldest,
                newest: entry.newest,
                last_of_page: at + 1 == entries.len(),
            };
            match entry.seq < head.seq || skip == entry.entries {
                true => contents.delivered.push(waiting),
                false => contents.waiting.push(waiting),
            }
        }
    }

    /// The keys and lengths of a frame's records, without inflating them.
    pub fn table(&mut self, waiting: &Waiting) -> io::Result<Vec<EntryMeta>> {
        let path = log::path(waiting.file);
        let mut scan =
            Scan::new(waiting.file, waiting.offset, waiting.offset + u64::from(waiting.len))
                .at_depth(Depth::Table);
        match scan.next(&mut self.disk) {
            Found::Frame { header, table, .. } if header.seq == waiting.seq => Ok(table),
            _ => Err(gone(&path)),
        }
    }

    /// A frame with its records, every checksum checked.
    pub fn read(&mut self, waiting: &Waiting) -> io::Result<Frame> {
        let path = log::path(waiting.file);
        let bytes = self.disk.read(&path, waiting.offset, waiting.len as usize)?;
        match frame::decode(&bytes) {
            Ok((header, frame)) if header.seq == waiting.seq => Ok(frame),
            Ok(_) => Err(gone(&path)),
            Err(bad) => Err(io::Error::other(format!("{path}: {}", bad.explain()))),
        }
    }

    /// The records in `parked/`, in the order in which they were refused.
    pub fn parked(&mut self) -> io::Result<Vec<Parked>> {
        let mut items = match self.disk.list(PARKED) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        items.sort_by_key(|item| super::parked::place_of(&item.name));
        let mut parked = Vec::new();
        for Item { name, len, .. } in items {
            let Some(name) = name.strip_suffix(".log") else { continue };
            let frame = self.parked_frame(name).ok();
            let why = self.disk.read(&format!("{PARKED}/{name}.txt"), 0, 64 << 10);
            parked.push(Parked {
                name: name.to_owned(),
                bytes: len,
                key: frame.as_ref().and_then(|frame| frame.entries.first()).map(|meta| meta.key),
                stream: frame.map(|frame| frame.stream),
                why: String::from_utf8_lossy(&why.unwrap_or_default()).trim().to_owned(),
            });
        }
        Ok(parked)
    }

    pub fn parked_frame(&mut self, name: &str) -> io::Result<Frame> {
        let path = format!("{PARKED}/{name}.log");
        let items = self.disk.list(PARKED)?;
        let file = format!("{name}.log");
        let len = items.iter().find(|item| item.name == file).ok_or_else(|| gone(&path))?.len;
        let bytes = self.disk.read(&path, FILE_HEADER_BYTES as u64, len as usize)?;
        match frame::decode(&bytes) {
            Ok((_, frame)) => Ok(frame),
            Err(bad) => Err(io::Error::other(format!("{path}: {}", bad.explain()))),
        }
    }

    /// The batches in `doubt/`, in the order in which they were sent.
    pub fn doubts(&mut self) -> io::Result<Vec<Doubted>> {
        let mut items = match self.disk.list(DOUBT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        items.sort_by_key(|item| super::parked::place_of(&item.name));
        let mut doubts = Vec::new();
        for Item { name, len, .. } in items {
            let Some(stem) = name.strip_suffix(".log") else { continue };
            let path = format!("{DOUBT}/{name}");
            let bytes = self.disk.read(&path, FILE_HEADER_BYTES as u64, len as usize);
            let bytes = bytes.map_err(|why| why.to_string());
            let frames = bytes.and_then(|bytes| Ok(super::in_doubt::decode(&bytes)?));
            let words = self.disk.read(&format!("{DOUBT}/{stem}.txt"), 0, 64 << 10);
            doubts.push(Doubted {
                name: stem.to_owned(),
                bytes: len,
                frames,
                words: String::from_utf8_lossy(&words.unwrap_or_default()).trim().to_owned(),
            });
        }
        Ok(doubts)
    }

    /// What lies in `quarantine/`: names and bytes, without the notes.
    pub fn quarantined(&mut self) -> Vec<(String, u64)> {
        let items = self.disk.list(QUARANTINE).unwrap_or_default();
        let mut items: Vec<(String, u64)> = items
            .into_iter()
            .filter(|item| !item.name.ends_with(".txt"))
            .map(|item| {
                let path = format!("{QUARANTINE}/{}", item.name);
                let bytes = self.disk.tree_bytes(&path).unwrap_or(item.len);
                (item.name, bytes)
            })
            .collect();
        items.sort();
        items
    }
}

/// Told apart by its kind.
fn written_by_newer(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, wrote_newer(what))
}

fn gone(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{path}: it is not there any more"))
}

/// One entry of a frame, as it would travel.
pub fn record(frame: Frame, at: u32) -> Option<Vec<u8>> {
    body::entry_at(&Piece { frame, skip: at, take: 1 }).ok()
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
