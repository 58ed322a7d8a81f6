//! Reading a queue without locking it, for `queue stats`, `list`, `show` and `verify`.
//!
//! Promises: only reads files, so it works while the daemon runs and on a read-only file system.
//! What it reports of a queue in use was true at one moment during the call. Never: takes the lock,
//! opens the index, or repairs.

use std::io;

use super::checkpoint::{self, Checkpoint};
use super::disk::{Disk, Item};
use super::gaps::GapLog;
pub use super::head::{DaemonStatus, Fate, Head, HeadBy};
use super::head_file;
use super::log::{self, Depth, Found, LogFiles, Scan};
use super::marks::{self, QueueId};
use super::newer;
use super::origins::Origins;
use super::replay::{Partial, Replay};
use super::schema::{Entry, StreamRow};
use super::space::{DOUBT, PARKED, QUARANTINE};
use super::trouble::wrote_newer;
use crate::coralogix::body;
use crate::frame::{self, EntryMeta, FILE_HEADER_BYTES, Frame, FrameError, Piece};
use crate::pack;
use crate::record::{Category, Orphan, Progress, RowKey, Seq, StreamName};
use crate::time::Stamp;

/// A queue's directory that is only read.
pub struct Inspector<D: Disk> {
    disk: D,
    files: LogFiles,
    id: Option<QueueId>,
    head: Head,
    is_daemon_of_another: bool,
    /// The number after the last frame that the checkpoint counts; 0 where the head is too uncertain to
    /// miss anything.
    counted: Seq,
    pub(super) has_checkpoint: bool,
    pub(super) gap_log: GapLog,
    pub(super) streams: Vec<(StreamRow, Vec<RowKey>)>,
    origins: Origins,
}

/// A frame that was found in the log.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub stream: StreamName,
    pub seq: Seq,
    pub file: u64,
    pub offset: u64,
    pub len: u32,
    /// How many of its first entries are delivered.
    pub skip: u32,
    pub entries: u32,
    pub raw_len: u32,
    pub oldest: Stamp,
    pub newest: Stamp,
}

/// The frames in the log.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Frames that wait, in the order of delivery.
    pub waiting: Vec<Waiting>,
    /// Frames that are delivered, in files that are not removed yet.
    pub delivered: Vec<Waiting>,
    /// Bytes that are no frame, by file.
    pub damage: Vec<Damage>,
    /// Files that could not be read to their end, with the error; they need not be damaged.
    pub unread: Vec<(String, String)>,
    /// Frames of incomplete pages: never acknowledged, and polled again.
    pub torn: u32,
    /// Frames that wait by the checkpoint and are not in the log; 0 where damage may be what is left
    /// of them.
    pub missing: u64,
    pub files: usize,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub file: String,
    pub offset: u64,
    pub bytes: u64,
}

/// A record that Coralogix rejected.
#[derive(Clone, Debug)]
pub struct Parked {
    /// The file name without its extension; it names the record for people.
    pub name: String,
    pub bytes: u64,
    pub stream: Option<StreamName>,
    pub key: Option<RowKey>,
    /// The answer that rejected it.
    pub why: String,
}

/// A batch that Coralogix answered with success and a message that some records were not accepted.
#[derive(Clone, Debug)]
pub struct Doubted {
    /// The file name without its extension; it names the batch for people.
    pub name: String,
    pub bytes: u64,
    /// Its frames; the reason, if the file can't be read.
    pub frames: Result<Vec<Frame>, String>,
    /// The message of the answer.
    pub words: String,
}

impl<D: Disk> Inspector<D> {
    /// `daemon`: the status of a daemon, if there is one. A status of another queue is ignored.
    pub fn open(mut disk: D, daemon: Option<DaemonStatus>) -> io::Result<Inspector<D>> {
        let files = match LogFiles::list(&mut disk) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => LogFiles::default(),
            other => other?,
        };
        // Fails if there is no queue at all.
        if let Some(file) = newer::find(&mut disk)? {
            return Err(written_by_newer(&file));
        }
        let read = read_checkpoint(&mut disk)?;
        let has_checkpoint = read.is_some();
        let (checkpoint, bytes) = read.unwrap_or_default();
        // Without a complete checkpoint, `closed` shows nothing.
        let is_closed = has_checkpoint && marks::is_closed(&mut disk, &bytes);
        let id = QueueId::read(&mut disk)?;
        let is_daemon_of_another = daemon.as_ref().is_some_and(|daemon| daemon.queue != id);
        let noted = head_file::read(&mut disk, id.as_ref());
        // Without `head`, which is written before a file is removed, files may be gone because they are
        // delivered.
        let is_head_known = is_closed || noted.is_some();
        let noted = noted.unwrap_or_default();
        let least = checkpoint.head.max(noted);
        // `head` is written more often than a status, so the later position counts.
        let daemon = daemon.filter(|daemon| daemon.queue == id && daemon.head >= checkpoint.head);
        let daemon = daemon.map(|daemon| DaemonStatus { head: daemon.head.max(noted), ..daemon });
        let head = match daemon {
            _ if is_closed => Head { place: least, by: HeadBy::Close },
            None => Head { place: least, by: HeadBy::Checkpoint },
            Some(DaemonStatus { head, is_running: true, .. }) => {
                Head { place: head, by: HeadBy::Daemon }
            }
            Some(DaemonStatus { head, .. }) => Head { place: head, by: HeadBy::EndedDaemon },
        };
        let counted = if is_head_known { checkpoint.next_seq } else { Seq::default() };
        let Checkpoint { streams, gap_log, origins, .. } = checkpoint;
        Ok(Inspector {
            disk,
            files,
            id,
            head,
            is_daemon_of_another,
            counted,
            has_checkpoint,
            gap_log,
            streams,
            origins,
        })
    }

    /// The queue's id; `None` before a start of a version that gives ids.
    pub fn id(&self) -> Option<&QueueId> {
        self.id.as_ref()
    }

    /// Whether the status was of another queue, and was ignored.
    pub fn is_daemon_of_another(&self) -> bool {
        self.is_daemon_of_another
    }

    pub fn head(&self) -> Head {
        self.head
    }

    /// Whether there is a readable checkpoint: without one nothing is known of streams and gaps.
    pub fn has_checkpoint(&self) -> bool {
        self.has_checkpoint
    }

    /// The streams of the checkpoint, with how far each is delivered and the ids it carries.
    pub fn streams(&self) -> impl Iterator<Item = (&StreamName, Option<Progress>, &[RowKey])> {
        self.streams.iter().map(|(row, ids)| (&row.name, row.delivered, ids.as_slice()))
    }

    /// The streams in the checkpoint that have a position and are not among `configured`.
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

    /// The address from which an integration's positions were collected, if it has positions and
    /// the address is known.
    pub fn tenant_of(&self, integration: &str) -> Option<&str> {
        let mut rows = self.streams.iter().map(|(row, _)| row);
        let has_position = rows.any(|row| {
            let is_polled = matches!(row.name.category, Category::Polled(_));
            is_polled && row.name.integration == integration && row.progress.is_some()
        });
        self.origins.tenant(integration).filter(|_| has_position)
    }

    /// Reads the log. `progress` is called for each file, with bytes done and bytes in all.
    pub fn contents(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Contents {
        self.scan(Depth::Header, progress)
    }

    /// As `contents`, with every byte read and every checksum checked.
    pub fn verify(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Contents {
        // Headers and tables first; then each frame is read once, whole.
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
                        contents
                            .unread
                            .push((log::path(file), FrameError::Newer.explain().to_owned()));
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
        if contents.damage.is_empty() && contents.unread.is_empty() {
            contents.missing = self.missing(&contents);
        }
        contents
    }

    /// Numbers are given one after the other, so what lacks between the head and the last is missing.
    fn missing(&self, contents: &Contents) -> u64 {
        let wanted = self.head.place.seq..self.counted;
        let frames = contents.waiting.iter().chain(&contents.delivered);
        let there = frames.filter(|frame| wanted.contains(&frame.seq)).count() as u64;
        wanted.end.0.saturating_sub(wanted.start.0).saturating_sub(there)
    }

    fn take_page(&self, stream: &StreamName, entries: &[Entry], contents: &mut Contents) {
        let head = self.head.place;
        for entry in entries {
            let skip = head.skip_in(entry.seq).min(entry.entries);
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
            };
            match entry.seq < head.seq || skip == entry.entries {
                true => contents.delivered.push(waiting),
                false => contents.waiting.push(waiting),
            }
        }
    }

    /// The keys and lengths of a frame's records, without decompressing them.
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

    /// The records in `parked/`, in the order in which they were rejected.
    pub fn parked(&mut self) -> io::Result<Vec<Parked>> {
        let mut items = match self.disk.list(PARKED) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        items.sort_by_key(|item| super::parked::place_of(&item.name));
        let mut parked = Vec::new();
        for Item { name, len, .. } in items {
            let Some(name) = name.strip_suffix(".log") else { continue };
            let frame = self.parked_frame(name).ok().map(|(_, frame)| frame);
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

    pub fn parked_frame(&mut self, name: &str) -> io::Result<(Seq, Frame)> {
        let path = format!("{PARKED}/{name}.log");
        let items = self.disk.list(PARKED)?;
        let file = format!("{name}.log");
        let len = items.iter().find(|item| item.name == file).ok_or_else(|| gone(&path))?.len;
        let bytes = self.disk.read(&path, FILE_HEADER_BYTES as u64, len as usize)?;
        match frame::decode(&bytes) {
            Ok((header, frame)) => Ok((header.seq, frame)),
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
            let frames = bytes.and_then(|bytes| {
                super::in_doubt::decode(&bytes).map_err(|bad| bad.explain().into())
            });
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

    /// The names and bytes in `quarantine/`, without the notes.
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

/// The checkpoint and its bytes, if it is complete. One that is replaced during the read is read
/// again.
fn read_checkpoint(disk: &mut impl Disk) -> io::Result<Option<(Checkpoint, Vec<u8>)>> {
    for _ in 0..2 {
        let items = disk.list("")?;
        let item = items.iter().find(|item| item.name == checkpoint::FILE);
        let Some(item) = item else { return Ok(None) };
        let Ok(bytes) = checkpoint::read(disk, item.len)? else { continue };
        if let Some(checkpoint) = Checkpoint::decode(&bytes) {
            return Ok(Some((checkpoint, bytes)));
        }
    }
    Ok(None)
}

/// The error's kind distinguishes it from others.
fn written_by_newer(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, wrote_newer(what))
}

fn gone(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{path}: it is not there any more"))
}

/// One entry of a frame, as it would be sent.
pub fn record(frame: Frame, at: u32) -> Option<Vec<u8>> {
    body::entry_at(&Piece { frame, skip: at, take: 1 }).ok()
}

#[cfg(test)]
#[path = "tests/inspect.rs"]
mod tests;
