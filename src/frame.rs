//! A frame: consecutive entries of one stream, deflated once, as they lie on disk and travel.

use crate::record::{Progress, RowKey, StreamName};

/// What is known of one entry without inflating its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryMeta {
    pub key: RowKey,
    /// Length of its JSON, without the comma that follows it.
    pub raw_len: u32,
    /// Whether its JSON begins with `{"timestamp":` and a number made from `key.stamp`.
    pub stamped: bool,
}

/// Consecutive entries of one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub stream: StreamName,
    /// How far the stream has come after this frame.
    pub progress: Progress,
    /// Whether this frame ends its page. Only whole pages are adopted.
    pub last_of_page: bool,
    pub entries: Vec<EntryMeta>,
    /// Length and CRC-32 of the JSON: the entries with a comma between each two.
    pub raw_len: u32,
    pub raw_crc: u32,
    /// Deflate blocks of that JSON, none of them final, ending with a sync flush on a byte
    /// boundary, with no reference to anything before them.
    pub deflated: Vec<u8>,
}

/// Entries `skip .. skip + take` of a frame, as a request takes them.
#[derive(Clone, Debug)]
pub struct Piece {
    pub frame: Frame,
    pub skip: u32,
    pub take: u32,
}
