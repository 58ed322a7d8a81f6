//! The content of the parts of an exported queue: encoding and decoding.
//!
//! Promises: a malformed part is an error. Never: does IO, or decides about the content.

use super::export::TransferError;
use super::gaps;
use super::origins::Origins;
use super::schema::{self, StreamRow};
use crate::frame::{self, FRAME_HEADER_BYTES_MAX, Fields, Frame, FrameMeta};
use crate::limits::STORED_IDS_MAX;
use crate::record::{Category, Gap, RowKey, Seq};

pub(super) fn encode_frame(frame: &Frame) -> Vec<u8> {
    let slot = FrameMeta {
        seq: Seq(0),
        page_index: 0,
        last_of_page: frame.last_of_page,
        progress: frame.progress,
    };
    let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES_MAX + frame.deflated.len());
    frame::encode(&mut bytes, frame, slot);
    bytes
}

pub(super) fn decode_frame(bytes: &[u8]) -> Result<Frame, TransferError> {
    match frame::decode(bytes) {
        Ok((_, frame)) => Ok(frame),
        Err(bad) => Err(TransferError::NotWhole(bad.explain())),
    }
}

pub(super) fn encode_doubt(words: &str, frames: &[Frame]) -> Vec<u8> {
    let mut out = (words.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(words.as_bytes());
    for (nth, frame) in frames.iter().enumerate() {
        let last_of_page = nth + 1 == frames.len();
        let (seq, page_index) = (Seq(nth as u64), nth as u32);
        let slot = FrameMeta { seq, page_index, last_of_page, progress: frame.progress };
        frame::encode(&mut out, frame, slot);
    }
    out
}

pub(super) fn decode_doubt(bytes: &[u8]) -> Result<(String, Vec<Frame>), TransferError> {
    let cut = TransferError::NotWhole("a batch in doubt in it can't be read");
    let Some((len, rest)) = bytes.split_first_chunk() else { return Err(cut) };
    let len = u32::from_le_bytes(*len) as usize;
    let (Some(words), Some(frames)) = (rest.get(..len), rest.get(len..)) else { return Err(cut) };
    let frames =
        super::in_doubt::decode(frames).map_err(|bad| TransferError::NotWhole(bad.explain()))?;
    Ok((String::from_utf8_lossy(words).into_owned(), frames))
}

pub(super) fn encode_stream(row: &StreamRow, ids: &[RowKey]) -> Vec<u8> {
    let mut out = Vec::new();
    row.encode(&mut out);
    out.extend_from_slice(&(ids.len() as u32).to_le_bytes());
    schema::encode_ids(&mut out, ids);
    out
}

pub(super) fn decode_stream(bytes: &[u8]) -> Result<(StreamRow, Vec<RowKey>), TransferError> {
    let read = |mut fields: Fields<'_>| {
        let row = StreamRow::decode(&mut fields)?;
        let count = fields.u32()? as usize;
        let ids = (0..count.min(STORED_IDS_MAX)).map(|_| schema::decode_id(&mut fields));
        Some((row, ids.collect::<Option<Vec<_>>>()?))
    };
    read(Fields(bytes)).ok_or(TransferError::NotWhole("a stream in it can't be read"))
}

pub(super) fn decode_origins(bytes: &[u8]) -> Result<Origins, TransferError> {
    let addresses = Origins::decode(&mut Fields(bytes));
    addresses.ok_or(TransferError::NotWhole("the addresses in it can't be read"))
}

/// Unreported gaps, as `unreported` returns them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Unreported {
    /// The highest gap number that the queue has given.
    pub newest: u64,
    pub gaps: Vec<Gap>,
}

pub(super) fn encode_unreported(unreported: &Unreported) -> Vec<u8> {
    let mut out = unreported.newest.to_le_bytes().to_vec();
    for gap in &unreported.gaps {
        let row = gaps::Row { gap: gap.clone(), reported_in: None }.encode();
        out.extend_from_slice(&(row.len() as u32).to_le_bytes());
        out.extend_from_slice(&row);
    }
    out
}

pub(super) fn decode_unreported(bytes: &[u8]) -> Result<Unreported, TransferError> {
    let read = |mut fields: Fields<'_>| {
        let mut unreported = Unreported { newest: fields.u64()?, gaps: vec![] };
        while !fields.0.is_empty() {
            let len = usize::try_from(fields.u32()?).ok()?;
            let (row, rest) = fields.0.split_at_checked(len)?;
            fields.0 = rest;
            unreported.gaps.push(gaps::Row::decode(row)?.gap);
        }
        Some(unreported)
    };
    read(Fields(bytes)).ok_or(TransferError::NotWhole("the gaps in it can't be read"))
}

/// Changes the gap numbers in a frame to those of a queue that has given `given` numbers before.
pub(super) fn renumber(frame: &mut Frame, given: u64) {
    if frame.stream.category == Category::Collector {
        let ids = frame.entries.iter_mut().map(|entry| &mut entry.key.id);
        ids.filter(|id| **id != gaps::HEARTBEAT_ID).for_each(|id| *id = id.saturating_add(given));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::{page, threats};

    #[test]
    fn a_batch_in_doubt_is_read_as_it_was_written_or_not_at_all() {
        let frames = page(&threats(), &[1, 2, 3], 2);
        let bytes = encode_doubt("no answer", &frames);
        let (words, read) = decode_doubt(&bytes).unwrap();
        assert_eq!(words, "no answer");
        let ids = |frames: &[Frame]| -> Vec<u64> {
            frames.iter().flat_map(|frame| &frame.entries).map(|entry| entry.key.id).collect()
        };
        assert_eq!((read.len(), ids(&read)), (2, vec![1, 2, 3]));
        for cut in [0, 3, 5, bytes.len() - 1] {
            assert!(decode_doubt(&bytes[..cut]).is_err(), "{cut}");
        }
    }
}
