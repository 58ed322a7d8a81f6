//! A queue in one file, to be carried to another box: `queue export` and `queue import`.
//!
//! ```text
//! S1CXEXP\n, version
//! 's' stream, how far it is taken in and delivered, the ids of its overlap     one for each stream
//! 'o' the addresses from which the positions were collected               one, or none
//! 'p' a parked record's frame                                                  in order of refusal
//! 'd' a batch in doubt: the words of its answer, its frames                     oldest first
//! 'g' unreported gaps                                              one, or none
//! 'f' a frame that waits, its delivered entries cut off                        in order of delivery
//! 'e' how many of each, CRC-32 of all before
//! ```
//!
//! Promises: a file is imported only after it was read to its end and its checksum was right;
//! numbers are little-endian, so that the machines may differ; an import that is interrupted leaves
//! a queue that is behind, never one with a hole, because a position moves only with its records
//! and the ids of the overlap come last; another import of the same file continues it; no position
//! is stored before its address, so that another tenant is held here as it is there. Never: takes
//! records over into a queue that has already collected the same streams, because they would be
//! delivered twice.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Write};

use super::disk::Disk;
use super::origins::Origins;
use super::parts::{
    decode_doubt, decode_frame, decode_origins, decode_stream, decode_unreported, encode_doubt,
    encode_frame, encode_stream, encode_unreported, renumber,
};
use super::schema::StreamRow;
use super::{Queue, QueueError};
use crate::coralogix::body;
use crate::frame::{Fields, Frame, Piece};
use crate::limits::EXPORT_PART_BYTES_MAX;
use crate::pack::Packer;
use crate::record::{RowKey, Seq, StreamName};
use crate::time::Stamp;

const MAGIC: &[u8; 8] = b"S1CXEXP\n";
const VERSION: u32 = 1;
/// The version of a file with batches in doubt: a program that does not know them must refuse it.
const VERSION_OF_DOUBTS: u32 = 2;
/// The version of a file with unreported gaps, for the same reason.
const VERSION_OF_GAPS: u32 = 3;
/// The version of a file with addresses: a program that passed over them would take the positions
/// for those of whatever tenant its config names.
const VERSION_OF_ADDRESSES: u32 = 4;
/// Rows of the index read at a time.
const LOOK_AHEAD: usize = 32;

/// The counts of an exported file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub streams: u64,
    pub parked: u64,
    pub frames: u64,
    /// Records that wait, without the parked ones.
    pub records: u64,
    /// Batches in doubt.
    pub doubts: u64,
    /// Unreported gaps.
    pub gaps: u64,
    /// Integrations whose address is known.
    pub addresses: u64,
    /// The checksum of the file.
    pub crc: u32,
}

impl Tally {
    /// The content of the end of a file of this version.
    fn encode(self, version: u32) -> Vec<u8> {
        let Tally { streams, parked, frames, records, doubts, gaps, addresses, .. } = self;
        let counts = [streams, parked, frames, records, doubts, gaps, addresses];
        counts[..counts_of(version)].iter().flat_map(|count| count.to_le_bytes()).collect()
    }
}

/// Why a queue could not be written to a file or read from one.
#[derive(Debug)]
pub enum TransferError {
    /// The file can't be written or read.
    File(io::Error),
    /// It is not a queue's export, or not whole.
    NotWhole(&'static str),
    /// An import of another file was cut short.
    Unfinished,
    /// This queue has collected this stream already.
    Collected(StreamName),
    /// The last import that was complete was of this file.
    Imported,
    /// This queue has collected the integration from another address than the file's positions of
    /// it are from.
    OtherTenant {
        integration: String,
        here: String,
        there: String,
    },
    Queue(QueueError),
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransferError::File(why) => write!(f, "{why}"),
            TransferError::NotWhole(why) => write!(f, "{why}"),
            TransferError::Unfinished => write!(f, "the import of another file was interrupted"),
            TransferError::Collected(stream) => {
                write!(f, "the queue has already collected {stream}")
            }
            TransferError::Imported => write!(f, "this file was imported into the queue before"),
            TransferError::OtherTenant { integration, here, there } => write!(
                f,
                "its positions of {integration} were collected from {there}, and those in the queue \
                 from {here}"
            ),
            TransferError::Queue(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for TransferError {}

impl From<io::Error> for TransferError {
    fn from(why: io::Error) -> TransferError {
        TransferError::File(why)
    }
}

impl From<QueueError> for TransferError {
    fn from(why: QueueError) -> TransferError {
        TransferError::Queue(why)
    }
}

/// Called with the number of records done, and of all.
pub type Progressing<'a> = &'a mut dyn FnMut(u64, u64);

impl<D: Disk> Queue<D> {
    /// Writes everything that another machine needs to continue. The queue stays as it is. `parked`:
    /// the records in `parked/`, each with the number of its frame.
    pub fn export(
        &mut self,
        out: &mut dyn Write,
        parked: Vec<(Seq, Frame)>,
        on_progress: Progressing<'_>,
    ) -> Result<Tally, TransferError> {
        let mut writer = Writer { out, crc: crc32fast::Hasher::new() };
        let mut tally = Tally::default();
        let doubts = self.doubts();
        let unreported = self.unreported();
        let origins = self.origins_of_positions();
        let version = match (origins.tenants().len(), unreported.gaps.len(), doubts.len()) {
            (1.., ..) => VERSION_OF_ADDRESSES,
            (_, 1.., _) => VERSION_OF_GAPS,
            (_, _, 1..) => VERSION_OF_DOUBTS,
            _ => VERSION,
        };
        writer.bytes(MAGIC)?;
        writer.bytes(&version.to_le_bytes())?;
        tally.streams = self.export_streams(&mut writer)?;
        if version >= VERSION_OF_ADDRESSES {
            writer.part(b'o', &origins.encode())?;
            tally.addresses = origins.tenants().len() as u64;
        }
        for (seq, frame) in parked {
            let stream = self.present_name(&frame.stream, seq);
            writer.part(b'p', &encode_frame(&Frame { stream, ..frame }))?;
            tally.parked += 1;
        }
        for at in doubts {
            let words = self.doubt_words(at).unwrap_or_default();
            if let Some(frames) = self.read_doubt(at)? {
                writer.part(b'd', &encode_doubt(&words, &frames))?;
                tally.doubts += 1;
            }
        }
        if !unreported.gaps.is_empty() {
            writer.part(b'g', &encode_unreported(&unreported))?;
            tally.gaps = unreported.gaps.len() as u64;
        }
        let head = self.state.head;
        let (mut from, all) = (head.seq, self.state.records);
        loop {
            let entries = self.entries(from, LOOK_AHEAD)?;
            let Some(last) = entries.last() else { break };
            from = last.seq.next();
            for entry in &entries {
                let skip = head.skip_in(entry.seq);
                if skip >= entry.entries {
                    continue;
                }
                let mut frame = self.read_frame(entry)?;
                // Under the present name of its stream: the old name would make that stream again.
                if let Some(stream) = self.streams.numbered(entry.stream) {
                    frame.stream = stream.row.name.clone();
                }
                for frame in without_first(frame, skip)? {
                    tally.records += frame.entries.len() as u64;
                    tally.frames += 1;
                    writer.part(b'f', &encode_frame(&frame))?;
                }
                on_progress(tally.records, all);
            }
        }
        writer.part(b'e', &tally.encode(version))?;
        tally.crc = writer.crc.clone().finalize();
        writer.bytes(&tally.crc.to_le_bytes())?;
        writer.out.flush()?;
        Ok(tally)
    }

    fn export_streams(&mut self, writer: &mut Writer<'_>) -> io::Result<u64> {
        let rows: Vec<StreamRow> = self.streams.iter().map(|stream| stream.row.clone()).collect();
        for row in &rows {
            let row = StreamRow { progress: self.confirmed_progress(row), ..row.clone() };
            let from = row.progress.map_or(Stamp::MIN, |progress| progress.from);
            let known = self.streams.named(&row.name).known(from);
            writer.part(b's', &encode_stream(&row, &known))?;
        }
        Ok(rows.len() as u64)
    }

    /// Imports a file's streams and records. `read` has to begin at the file's first byte, and
    /// `verify` must have accepted the file. Parked records wait again, to be tried once more. From
    /// here on this process keeps no tally: the file has no creation times, and a record that is in
    /// the queue without being counted would be collected a second time. Returns the integrations
    /// whose positions are of an address that the file does not name.
    pub fn import(
        &mut self,
        read: &mut dyn Read,
        expected: Tally,
        on_progress: Progressing<'_>,
    ) -> Result<BTreeSet<String>, TransferError> {
        self.configured.iter_mut().for_each(|stream| stream.tally_ids_max = 0);
        let mut begun = self.begun_import(expected)?;
        let mut reader = Reader::begin(read)?;
        let mut rows: Vec<(StreamRow, Vec<RowKey>)> = Vec::new();
        let mut origins = Origins::default();
        let mut page: Vec<Frame> = Vec::new();
        let (mut done, mut is_noted) = (0, false);
        while let Some((tag, bytes)) = reader.part()? {
            if !b"so".contains(&tag) && !is_noted {
                is_noted = true;
                if !begun.is_going_on {
                    self.note_importing(expected, begun.given)?;
                }
                self.take_origins(&origins)?;
                self.begin_streams(&rows)?;
            }
            match tag {
                b's' => {
                    let (row, ids) = decode_stream(&bytes)?;
                    if !begun.is_going_on {
                        self.takes(&row, expected)?;
                    }
                    rows.push((row, ids));
                }
                b'o' => {
                    origins = decode_origins(&bytes)?;
                    self.fits_origins(&origins)?;
                }
                b'd' => {
                    let (words, mut frames) = decode_doubt(&bytes)?;
                    frames.iter_mut().for_each(|frame| renumber(frame, begun.given));
                    if !begun.has_doubt(&frames) {
                        self.number_past(&frames)?;
                        self.import_doubt(&frames, &words)?;
                    }
                }
                b'g' => self.take_unreported(decode_unreported(&bytes)?, begun.given)?,
                b'p' | b'f' => {
                    let mut frame = decode_frame(&bytes)?;
                    renumber(&mut frame, begun.given);
                    done += frame.entries.len() as u64;
                    let is_last = frame.last_of_page || tag == b'p';
                    page.push(frame);
                    if is_last {
                        if !begun.has(&page) {
                            self.take_page(tag == b'p', &page)?;
                        }
                        page.clear();
                        on_progress(done, expected.records + expected.parked);
                    }
                }
                _ => {}
            }
        }
        self.end_streams(&rows)?;
        self.complete_import()?;
        let rows = rows.into_iter().map(|(row, _)| row).filter(|row| row.progress.is_some());
        let integrations = rows.map(|row| row.name.integration);
        Ok(integrations.filter(|name| origins.tenant(name).is_none()).collect())
    }

    /// An error if this stream has a position already.
    fn takes(&mut self, row: &StreamRow, file: Tally) -> Result<(), TransferError> {
        let held = self.streams.find(&row.name);
        if held.is_none_or(|stream| stream.row.progress.is_none()) {
            return Ok(());
        }
        Err(match self.was_imported(file) {
            true => TransferError::Imported,
            false => TransferError::Collected(row.name.clone()),
        })
    }

    /// Each stream gets the position and the ids of the overlap that it had on the other machine.
    fn end_streams(&mut self, rows: &[(StreamRow, Vec<RowKey>)]) -> Result<(), QueueError> {
        for (row, ids) in rows {
            match row.progress {
                Some(_) if self.is_known_to(row, ids) => {}
                Some(progress) => drop(self.append(&row.name, &[], progress, ids)?),
                // It was discarded there; frames that were collected before bring it along.
                None => self.discard_position(&row.name)?,
            }
        }
        Ok(())
    }

    /// Whether a stream has this progress already, with these ids.
    fn is_known_to(&self, row: &StreamRow, ids: &[RowKey]) -> bool {
        let Some(stream) = self.streams.find(&row.name) else { return false };
        let known = stream.known(Stamp::MIN);
        stream.row.progress == row.progress && ids.iter().all(|id| known.contains(id))
    }

    /// Each stream begins where it was delivered on the other machine, unless an earlier try began
    /// it already.
    fn begin_streams(&mut self, rows: &[(StreamRow, Vec<RowKey>)]) -> Result<(), TransferError> {
        for (row, _) in rows {
            let held = self.streams.find(&row.name);
            let has_begun = held.is_some_and(|stream| stream.row.progress.is_some());
            if let Some(delivered) = row.delivered.or(row.progress)
                && !has_begun
            {
                self.append(&row.name, &[], delivered, &[])?;
            }
        }
        Ok(())
    }

    fn take_page(&mut self, is_parked: bool, page: &[Frame]) -> Result<(), TransferError> {
        let last = page.last().expect("a page is taken once it has a frame");
        let stream = last.stream.clone();
        let reached = self.streams.find(&stream).and_then(|stream| stream.row.progress);
        // The frame of a parked record does not show how far its stream is.
        let progress = match is_parked {
            true => reached.unwrap_or(last.progress),
            false => last.progress,
        };
        self.number_past(page)?;
        let keys = page.iter().flat_map(|frame| &frame.entries).map(|meta| meta.key);
        let known: Vec<RowKey> = keys.filter(|key| key.stamp >= progress.from).collect();
        self.append(&stream, page, progress, &known)?;
        Ok(())
    }
}

/// Reads a file to its end and returns its counts, if it is complete.
pub fn verify(read: &mut dyn Read) -> Result<Tally, TransferError> {
    let mut reader = Reader::begin(read)?;
    let mut seen = Tally::default();
    let mut page: Option<StreamName> = None;
    while let Some((tag, bytes)) = reader.part()? {
        match tag {
            b's' => {
                decode_stream(&bytes)?;
                seen.streams += 1;
            }
            b'o' => seen.addresses += decode_origins(&bytes)?.tenants().len() as u64,
            b'p' => {
                decode_frame(&bytes)?;
                seen.parked += 1;
            }
            b'd' => {
                decode_doubt(&bytes)?;
                seen.doubts += 1;
            }
            b'g' => seen.gaps += decode_unreported(&bytes)?.gaps.len() as u64,
            b'f' => {
                let frame = decode_frame(&bytes)?;
                seen.frames += 1;
                seen.records += frame.entries.len() as u64;
                if page.as_ref().is_some_and(|stream| *stream != frame.stream) {
                    return Err(TransferError::NotWhole("a page in it is incomplete"));
                }
                page = (!frame.last_of_page).then_some(frame.stream);
            }
            _ => {}
        }
    }
    if !reader.is_at_end()? {
        return Err(TransferError::NotWhole(
            "bytes follow its end, so it is not the file that was written",
        ));
    }
    seen.crc = reader.tally.map_or(0, |tally| tally.crc);
    match reader.tally == Some(seen) && page.is_none() {
        true => Ok(seen),
        false => Err(TransferError::NotWhole("the number of its parts is wrong")),
    }
}

/// A frame without its first entries, which are delivered.
fn without_first(frame: Frame, skip: u32) -> Result<Vec<Frame>, TransferError> {
    if skip == 0 {
        return Ok(vec![frame]);
    }
    let damaged = |_| TransferError::NotWhole("a frame of the queue can't be inflated");
    let mut packer = Packer::new(frame.stream.clone());
    for at in skip..frame.entries.len() as u32 {
        let piece = Piece { frame: frame.clone(), skip: at, take: 1 };
        let entry = body::entry_at(&piece).map_err(damaged)?;
        let meta = frame.entries[at as usize];
        packer.push(&entry, meta.key, meta.stamped);
    }
    let mut frames = packer.finish(frame.progress);
    if let Some(last) = frames.last_mut() {
        last.last_of_page = frame.last_of_page;
    }
    Ok(frames)
}

/// How many numbers the end of a file of this version has.
fn counts_of(version: u32) -> usize {
    version as usize + 3
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    crc: crc32fast::Hasher,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.out.write_all(bytes)
    }

    fn part(&mut self, tag: u8, bytes: &[u8]) -> io::Result<()> {
        let len = u32::try_from(bytes.len()).expect("a part is a frame or a stream's ids");
        self.bytes(&[tag])?;
        self.bytes(&len.to_le_bytes())?;
        self.bytes(bytes)
    }
}

struct Reader<'a> {
    read: &'a mut dyn Read,
    crc: crc32fast::Hasher,
    tally: Option<Tally>,
    version: u32,
}

impl Reader<'_> {
    fn begin(read: &mut dyn Read) -> Result<Reader<'_>, TransferError> {
        let (crc, version) = (crc32fast::Hasher::new(), VERSION);
        let mut reader = Reader { read, crc, tally: None, version };
        let head = reader.bytes(MAGIC.len() + 4)?;
        let version = head.strip_prefix(MAGIC).and_then(|rest| rest.first_chunk());
        match version.map(|bytes| u32::from_le_bytes(*bytes)) {
            Some(version @ VERSION..=VERSION_OF_ADDRESSES) => Ok(Reader { version, ..reader }),
            Some(_) => {
                Err(TransferError::NotWhole("a newer s1-coralogix wrote it; update this one"))
            }
            None => Err(TransferError::NotWhole("it is not an export of a queue")),
        }
    }

    fn bytes(&mut self, len: usize) -> Result<Vec<u8>, TransferError> {
        let mut bytes = Vec::new();
        (&mut *self.read).take(len as u64).read_to_end(&mut bytes)?;
        if bytes.len() < len {
            return Err(TransferError::NotWhole("it is cut short"));
        }
        self.crc.update(&bytes);
        Ok(bytes)
    }

    /// Whether the file ends here.
    fn is_at_end(&mut self) -> Result<bool, TransferError> {
        let mut more = Vec::new();
        Ok((&mut *self.read).take(1).read_to_end(&mut more)? == 0)
    }

    /// The next part; `None` once the end was read and its checksum was right.
    fn part(&mut self) -> Result<Option<(u8, Vec<u8>)>, TransferError> {
        if self.tally.is_some() {
            return Ok(None);
        }
        let mut fields = self.bytes(5)?;
        let len = u32::from_le_bytes(*fields.last_chunk().expect("five bytes were read")) as usize;
        let tag = fields.swap_remove(0);
        if len > EXPORT_PART_BYTES_MAX || !b"sopdgfe".contains(&tag) {
            return Err(TransferError::NotWhole("a part of it is invalid"));
        }
        let bytes = self.bytes(len)?;
        if tag == b'e' {
            self.end(&bytes)?;
        }
        Ok(Some((tag, bytes)))
    }

    fn end(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let crc = self.crc.clone().finalize();
        if self.bytes(4)? != crc.to_le_bytes() {
            return Err(TransferError::NotWhole("its checksum does not match"));
        }
        let mut fields = Fields(bytes);
        let mut number = || fields.u64().ok_or(TransferError::NotWhole("its end can't be read"));
        let mut counts = [0; 7];
        for count in &mut counts[..counts_of(self.version)] {
            *count = number()?;
        }
        let [streams, parked, frames, records, doubts, gaps, addresses] = counts;
        self.tally = Some(Tally { streams, parked, frames, records, doubts, gaps, addresses, crc });
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests/export.rs"]
mod tests;
