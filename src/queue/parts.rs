//! What stands in the parts of an exported queue, to bytes and back.
//!
//! Promises: a part that is not as it was written is an error. Never: does IO, or judges what it reads.

use super::bundle::BundleError;
use super::gaps;
use super::keys::{self, StreamRow};
use crate::frame::{self, FRAME_HEADER_BYTES_MAX, Fields, Frame, Slot};
use crate::limits::STORED_IDS_MAX;
use crate::record::{Category, Gap, RowKey, Seq};

pub(super) fn encode_frame(frame: &Frame) -> Vec<u8> {
    let slot = Slot {
        seq: Seq(0),
        page_index: 0,
        last_of_page: frame.last_of_page,
        progress: frame.progress,
    };
    let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES_MAX + frame.deflated.len());
    frame::encode(&mut bytes, frame, slot);
    bytes
}

pub(super) fn decode_frame(bytes: &[u8]) -> Result<Frame, BundleError> {
    match frame::decode(bytes) {
        Ok((_, frame)) => Ok(frame),
        Err(bad) => Err(BundleError::NotWhole(bad.explain())),
    }
}

pub(super) fn encode_doubt(words: &str, frames: &[Frame]) -> Vec<u8> {
    let mut out = (words.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(words.as_bytes());
    for (nth, frame) in frames.iter().enumerate() {
        let last_of_page = nth + 1 == frames.len();
        let (seq, page_index) = (Seq(nth as u64), nth as u32);
        let slot = Slot { seq, page_index, last_of_page, progress: frame.progress };
        frame::encode(&mut out, frame, slot);
    }
    out
}

pub(super) fn decode_doubt(bytes: &[u8]) -> Result<(String, Vec<Frame>), BundleError> {
    let cut = BundleError::NotWhole("a batch in doubt in it can't be read");
    let Some((len, rest)) = bytes.split_first_chunk() else { return Err(cut) };
    let len = u32::from_le_bytes(*len) as usize;
    let (Some(words), Some(frames)) = (rest.get(..len), rest.get(len..)) else { return Err(cut) };
    let frames = super::in_doubt::decode(frames).map_err(BundleError::NotWhole)?;
    Ok((String::from_utf8_lossy(words).into_owned(), frames))
}

pub(super) fn encode_stream(row: &StreamRow, ids: &[RowKey]) -> Vec<u8> {
    let mut out = Vec::new();
    row.encode(&mut out);
    out.extend_from_slice(&(ids.len() as u32).to_le_bytes());
    keys::encode_ids(&mut out, ids);
    out
}

pub(super) fn decode_stream(bytes: &[u8]) -> Result<(StreamRow, Vec<RowKey>), BundleError> {
    let read = |mut fields: Fields<'_>| {
        let row = StreamRow::decode(&mut fields)?;
        let count = fields.u32()? as usize;
        let ids = (0..count.min(STORED_IDS_MAX)).map(|_| keys::decode_id(&mut fields));
        Some((row, ids.collect::<Option<Vec<_>>>()?))
    };
    read(Fields(bytes)).ok_or(BundleError::NotWhole("a stream in it can't be read"))
}

/// Gaps that nobody was told of, as `untold` has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Untold {
    /// The highest number that the queue gave to one.
    pub newest: u64,
    pub gaps: Vec<Gap>,
}

pub(super) fn encode_untold(untold: &Untold) -> Vec<u8> {
    let mut out = untold.newest.to_le_bytes().to_vec();
    for gap in &untold.gaps {
        let row = gaps::Row { gap: gap.clone(), told: None }.encode();
        out.extend_from_slice(&(row.len() as u32).to_le_bytes());
        out.extend_from_slice(&row);
    }
    out
}

pub(super) fn decode_untold(bytes: &[u8]) -> Result<Untold, BundleError> {
    let read = |mut fields: Fields<'_>| {
        let mut untold = Untold { newest: fields.u64()?, gaps: vec![] };
        while !fields.0.is_empty() {
            let len = usize::try_from(fields.u32()?).ok()?;
            let (row, rest) = fields.0.split_at_checked(len)?;
            fields.0 = rest;
            untold.gaps.push(gaps::Row::decode(row)?.gap);
        }
        Some(untold)
    };
    read(Fields(bytes)).ok_or(BundleError::NotWhole("the gaps in it can't be read"))
}

/// The numbers of gaps that a frame tells of, as they are in a queue that has given so many before.
pub(super) fn renumber(frame: &mut Frame, given: u64) {
    if frame.stream.category == Category::Collector {
        let ids = frame.entries.iter_mut().map(|entry| &mut entry.key.id);
        ids.filter(|id| **id != gaps::HEARTBEAT_ID).for_each(|id| *id = id.saturating_add(given));
    }
}
