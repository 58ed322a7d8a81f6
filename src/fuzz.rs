//! What is fuzzed: one function a target, given any bytes, that fails when a promise is broken.
//!
//! Promises: the fuzzer (`fuzz/`) and the ordinary tests, which replay the committed corpus, call
//! the very same functions; none needs a file, a clock or luck. Never: part of the program.

use std::collections::BTreeSet;
use std::io::Read as _;

use serde_json::Value;

use crate::answer::{self, excerpt};
use crate::config::{self, SecretSource};
use crate::coralogix::body::{assemble, entry_at};
use crate::coralogix::entry::{Labels, render};
use crate::frame::{self, Frame, FrameMeta, Piece};
use crate::limits;
use crate::pack::{Packer, inflate};
use crate::queue;
use crate::record::{Kind, Progress, StreamName};
use crate::report::Status;
use crate::s1::page::{Page, scan};
use crate::secret::Secret;
use crate::time::{Span, Stamp};

/// A target takes any bytes and fails when a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Target); 8] = [
    ("page", page),
    ("frame", frame),
    ("log", queue::fuzz::log),
    ("checkpoint", queue::fuzz::checkpoint),
    ("config", config),
    ("retry_after", retry_after),
    ("http_date", http_date),
    ("status", status),
];

/// The first byte steers, the rest is what is looked at.
pub(crate) fn steered(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}

/// A SentinelOne page, and the whole way of its records to a request body.
pub fn page(data: &[u8]) {
    let (steer, body) = steered(data);
    let kind = Kind::ALL[usize::from(steer) % Kind::ALL.len()];
    let Ok(page) = scan(body, kind) else { return };
    let text = page.body(body);
    assert!(std::str::from_utf8(text).is_ok(), "what is not UTF-8 is repaired");
    let mut at = 0;
    for row in &page.rows {
        assert!(row.range.start >= at && row.range.end <= text.len() && !row.range.is_empty());
        at = row.range.end;
        assert!((1..=6).contains(&row.severity), "severity {}", row.severity);
        let name = row.computer.clone().map(|token| &text[token]);
        assert!(name.is_none_or(|name| serde_json::from_slice::<String>(name).is_ok()));
    }
    same_as_a_parser_says(&page, text);
    let entries = travels(&page, text, kind);
    assert_eq!(entries.len(), page.rows.len());
    for (entry, row) in entries.iter().zip(&page.rows) {
        assert_eq!(entry["text"].as_str().map(str::as_bytes), Some(&text[row.range.clone()]));
    }
}

/// Where the whole body is JSON that a real parser takes, the rows are what that parser finds.
fn same_as_a_parser_says(page: &Page, text: &[u8]) {
    let Ok(parsed) = serde_json::from_slice::<Value>(text) else { return };
    let members = text.windows(6).filter(|six| *six == b"\"data\"").count();
    // An escaped or repeated `data` is read differently, and on purpose.
    let Some(rows) = parsed["data"].as_array().filter(|_| members == 1) else { return };
    let holds_something =
        |row: &&Value| !row.is_null() && !row.as_object().is_some_and(serde_json::Map::is_empty);
    let rows: Vec<&Value> = rows.iter().filter(holds_something).collect();
    if !text.contains(&b'\\') {
        assert_eq!(page.rows.len(), rows.len(), "rows");
    }
    for (row, parsed) in page.rows.iter().zip(rows).take_while(|_| !text.contains(&b'\\')) {
        let read: Value = serde_json::from_slice(&text[row.range.clone()]).expect("a row is JSON");
        assert_eq!(read, *parsed);
    }
}

/// Renders, packs, writes, reads and assembles the rows; answers with the entries that arrive.
fn travels(page: &Page, text: &[u8], kind: Kind) -> Vec<Value> {
    let labels = Labels::new("app", "sub", "acme", "host");
    let mut packer = Packer::new(StreamName::polled("acme", kind));
    for row in &page.rows {
        let mut entry = Vec::new();
        render(&mut entry, &labels, kind, row, text);
        packer.push(&entry, row.key, row.stamped);
    }
    let progress = Progress { position: Stamp(1), from: Stamp(0) };
    let mut pieces = Vec::new();
    for frame in packer.finish(progress) {
        let slot =
            FrameMeta { seq: queue::fuzz::FIRST, page_index: 0, last_of_page: true, progress };
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, &frame, slot);
        let (_, frame) = frame::decode(&bytes).expect("what was encoded is decoded");
        let take = frame.entries.len() as u32;
        pieces.push(Piece { frame, skip: 0, take });
    }
    sent(&pieces, Stamp(1_800_000_000_000_000))
}

/// The entries in the body of a request.
fn sent(pieces: &[Piece], now: Stamp) -> Vec<Value> {
    let body = assemble(pieces, now).expect("sound frames are assembled");
    let mut text = String::new();
    let mut rest = body.gzip.as_slice();
    flate2::bufread::GzDecoder::new(&mut rest)
        .read_to_string(&mut text)
        .expect("the body is one gzip member of text");
    assert!(rest.is_empty() && text.len() as u64 == body.raw_bytes);
    serde_json::from_str(&text).expect("the body is an array of entries")
}

/// A frame as it may lie on disk, and what is done with one that counts.
pub fn frame(data: &[u8]) {
    let (steer, rest) = steered(data);
    let mut bytes = rest.to_vec();
    if steer & 1 != 0 {
        queue::fuzz::mend_frames(&mut bytes);
    }
    let Ok((header, frame)) = frame::decode(&bytes) else { return };
    assert!(header.disk_len() <= bytes.len());
    assert_eq!(frame.entries.len(), header.entries as usize);
    let mut again = Vec::new();
    let slot = FrameMeta {
        seq: header.seq,
        page_index: header.page_index,
        last_of_page: header.last_of_page,
        progress: header.progress,
    };
    frame::encode(&mut again, &frame, slot);
    let (header_again, frame_again) = frame::decode(&again).expect("encoded, so decoded");
    assert_eq!((header_again.seq, &frame_again), (header.seq, &frame));
    sound_or_said(&frame, steer);
}

/// A frame whose checksums hold is sent as it says, or its trouble is told.
fn sound_or_said(frame: &Frame, steer: u8) {
    let count = frame.entries.len() as u32;
    let skip = u32::from(steer >> 1) % count;
    let piece = Piece { frame: frame.clone(), skip, take: count - skip };
    let whole = Piece { frame: frame.clone(), skip: 0, take: count };
    let now = frame.entries[0].key.stamp;
    let assembled = assemble(&[piece.clone(), whole], now);
    let raw = inflate(frame);
    if let Ok(raw) = &raw {
        assert_eq!((raw.len(), crc32fast::hash(raw)), (frame.raw_len as usize, frame.raw_crc));
        assert!(frame.deflated.ends_with(&crate::pack::SYNC_MARK) || assembled.is_err());
    }
    if let Ok(entry) = entry_at(&piece) {
        assert_eq!(entry.len(), frame.entries[skip as usize].raw_len as usize);
    }
}

/// The config: read or refused, and no secret is shown.
pub fn config(data: &[u8]) {
    let (steer, rest) = steered(data);
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let environment = config::Environment {
        credentials_directory: (steer & 1 != 0).then(|| "/run/credentials".into()),
        coralogix_api_key: (steer & 2 != 0).then(|| Secret::new("cxtp_made_up_for_the_fuzzer")),
        s1_api_token: (steer & 4 != 0).then(|| Secret::new("token-made-up-for-the-fuzzer")),
        now: (steer & 16 != 0).then_some(crate::time::BUILT_AT),
        places: config::Places::default(),
    };
    // Two files where the text has a mark for the end of one.
    let mode = (steer & 8 != 0).then_some(0o100_644);
    let files = text.split('\u{1c}').take(3);
    let sources: Vec<config::Source<'_>> =
        files.map(|text| config::Source { mode, ..config::Source::text("c.toml", text) }).collect();
    match config::parse(&sources, &environment) {
        Err(findings) => {
            assert!(!findings.0.is_empty());
            assert!(!findings.to_string().is_empty());
        }
        Ok((config, warnings)) => {
            let told: String = warnings.iter().map(ToString::to_string).collect();
            let tokens = config.integrations.iter().map(|one| &one.api_token);
            for source in tokens.chain([&config.coralogix.api_key]) {
                // A short one may well be a part of another word.
                if let SecretSource::Inline(secret) = source
                    && secret.reveal().len() >= 12
                    && text.matches(secret.reveal()).count() == 1
                {
                    assert!(!told.contains(secret.reveal()), "a secret is shown");
                }
            }
            let names: BTreeSet<&str> =
                config.integrations.iter().map(|one| one.name.as_str()).collect();
            assert_eq!(names.len(), config.integrations.len());
            assert!(!names.is_empty() && config.retry.min <= config.retry.max);
            assert!(config.queue.max_size_bytes >= limits::QUEUE_BYTES_MIN);
        }
    }
}

/// `Retry-After`, a new line, `Date`.
pub fn retry_after(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (wish, date) = text.split_once('\n').unwrap_or((&text, ""));
    let date = answer::parse_date(Some(date).filter(|date| !date.is_empty()));
    let span = answer::parse_retry_after(Some(wish), date);
    if let Some(span) = span {
        assert!(span <= Span::hours(limits::RETRY_AFTER_HOURS_MAX));
    }
    let digits = !wish.trim().is_empty() && wish.trim().bytes().all(|byte| byte.is_ascii_digit());
    assert!(!digits || span.is_some(), "a number is always understood");
    let line = excerpt(data);
    assert!(line.len() <= limits::EXCERPT_BYTES_MAX && !line.contains(char::is_control));
}

/// An HTTP date and a stamp of SentinelOne.
pub fn http_date(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(stamp) = Stamp::parse_http_date(&text) {
        assert!(stamp >= Stamp::EPOCH && stamp.0 % 1_000_000 == 0);
    }
    if let Some(stamp) = Stamp::parse(&text) {
        // Years beyond four digits can't be written, so they are not read again.
        let written = stamp.to_string();
        assert_eq!(Stamp::parse(&written), Some(stamp), "{written}");
    }
}

/// The status file, and the table made of it.
pub fn status(data: &[u8]) {
    let (steer, text) = steered(data);
    let Ok(status) = serde_json::from_slice::<Status>(text) else { return };
    let table = crate::command::status::table_of(&status, steer & 1 != 0);
    assert!(!table.is_empty());
    let again = serde_json::to_vec(&status).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<Status>(&again).expect("and read again"), status);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Everything the fuzzer found worth keeping, and every finding, on every run of the tests.
    #[test]
    fn the_corpus_is_replayed() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            let fed = corpus.with_file_name("targets").join(format!("{name}.rs"));
            assert!(fed.exists(), "the fuzzer knows {name}");
            let files = fs::read_dir(corpus.join(name)).expect("each target has a corpus");
            let mut count = 0;
            for file in files {
                let path = file.expect("readable").path();
                let bytes = fs::read(&path).expect("readable");
                let outcome = std::panic::catch_unwind(|| target(&bytes));
                assert!(outcome.is_ok(), "{} breaks a promise", path.display());
                count += 1;
            }
            assert!(count >= 5, "{name} has a corpus of {count}");
        }
    }
}
