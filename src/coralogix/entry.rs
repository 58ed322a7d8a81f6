//! Renders a record as an entry of `logs/v1/singles`.
//!
//! Promises: `text` decodes to exactly the record's bytes; `timestamp` stands first, so that it can
//! be cut off again when the entry has grown old in the queue; severity is always there; a large record
//! never stands in memory as a whole entry. Never: parses a record again.

use s1_coralogix_bytes::escape;

use crate::limits;
use crate::record::Kind;
use crate::s1::page::Row;
use crate::time::Stamp;

/// What a stamped entry begins with; the number and a comma follow.
pub const STAMP_HEAD: &[u8] = b"{\"timestamp\":";

/// The category of what the collector says itself, of a gap for example.
pub const OWN_CATEGORY: &str = "collector";

/// What all entries of an integration have in common, rendered once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// `"applicationName":…,"subsystemName":…,"computerName":`
    names: String,
    /// The collector's host, as a JSON string.
    host: String,
    /// `","className":…,"text":"`, what follows the category.
    tail: String,
}

impl Labels {
    /// The collector's host, as a JSON string.
    pub fn host_json(&self) -> &str {
        &self.host
    }

    pub fn new(application: &str, subsystem: &str, integration: &str, host: &str) -> Labels {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        Labels {
            names: format!(
                "\"applicationName\":{},\"subsystemName\":{},\"computerName\":",
                quoted(application),
                quoted(subsystem)
            ),
            host: quoted(host),
            tail: format!("\",\"className\":{},\"text\":\"", quoted(integration)),
        }
    }
}

/// Appends one record's entry. `body` is what the row's ranges refer to.
pub fn render(out: &mut Vec<u8>, labels: &Labels, kind: Kind, row: &Row, body: &[u8]) {
    render_text(out, labels, head_of(kind, row, body), &body[row.range.clone()]);
}

/// The same, given out piece by piece: escaped, a record may be six times as long.
pub fn render_by_pieces(
    labels: &Labels,
    kind: Kind,
    row: &Row,
    body: &[u8],
    put: &mut dyn FnMut(&[u8]),
) {
    let mut piece = Vec::new();
    render_head(&mut piece, labels, &head_of(kind, row, body));
    // What is cut are bytes, not characters: all of a character but ASCII stays as it is.
    for part in body[row.range.clone()].chunks(limits::PIECE_BYTES) {
        escape(&mut piece, part);
        put(&piece);
        piece.clear();
    }
    put(TAIL);
}

fn head_of<'a>(kind: Kind, row: &Row, body: &'a [u8]) -> Head<'a> {
    Head {
        stamp: row.stamped.then_some(row.key.stamp),
        computer: row.computer.clone().map(|token| &body[token]),
        severity: row.severity,
        category: kind.name(),
    }
}

/// Appends an entry that the collector writes itself: nothing is lost without a word (keeps P1).
/// `text` is a JSON object, to be read as a record.
pub fn render_own(
    out: &mut Vec<u8>,
    labels: &Labels,
    stamp: Option<Stamp>,
    severity: u8,
    text: &str,
) {
    let head = Head { stamp, computer: None, severity, category: OWN_CATEGORY };
    render_text(out, labels, head, text.as_bytes());
}

struct Head<'a> {
    stamp: Option<Stamp>,
    /// A well-formed JSON string; none for the collector's host.
    computer: Option<&'a [u8]>,
    severity: u8,
    category: &'static str,
}

/// What ends an entry, behind its text.
const TAIL: &[u8] = b"\"}";

fn render_text(out: &mut Vec<u8>, labels: &Labels, head: Head<'_>, text: &[u8]) {
    render_head(out, labels, &head);
    escape(out, text);
    out.extend_from_slice(TAIL);
}

/// Everything before the text.
fn render_head(out: &mut Vec<u8>, labels: &Labels, head: &Head<'_>) {
    assert!((1..=9).contains(&head.severity), "severity is one digit");
    match head.stamp {
        Some(stamp) => {
            out.extend_from_slice(STAMP_HEAD);
            push_ms(out, stamp);
            out.push(b',');
        }
        None => out.push(b'{'),
    }
    out.extend_from_slice(labels.names.as_bytes());
    out.extend_from_slice(head.computer.unwrap_or(labels.host.as_bytes()));
    out.extend_from_slice(b",\"severity\":");
    out.push(b'0' + head.severity);
    out.extend_from_slice(b",\"category\":\"");
    out.extend_from_slice(head.category.as_bytes());
    out.extend_from_slice(labels.tail.as_bytes());
}

/// Milliseconds with the microseconds as three decimals: Coralogix takes the unit from the size.
fn push_ms(out: &mut Vec<u8>, stamp: Stamp) {
    if stamp.0 < 0 {
        out.push(b'-');
    }
    let us = stamp.0.unsigned_abs();
    let mut digits = [b'0'; 24];
    let mut at = digits.len();
    let mut rest = us;
    // At least "0.000"; the point goes in before the last three.
    while rest > 0 || at > digits.len() - 5 {
        at -= 1;
        if at == digits.len() - 4 {
            digits[at] = b'.';
            continue;
        }
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::prng::Prng;
    use crate::s1::page::scan;

    fn labels() -> Labels {
        Labels::new("acme \"prod\"", "SentinelOne", "acme", "edge-1")
    }

    fn rendered(record: &str, kind: Kind) -> String {
        let body = format!("{{\"data\":[{record}]}}");
        let page = scan(body.as_bytes(), kind).unwrap();
        let mut out = b"before".to_vec();
        render(&mut out, &labels(), kind, &page.rows[0], body.as_bytes());
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn an_entry_in_pieces_is_the_same() {
        for length in [0, 7, limits::PIECE_BYTES - 60, 3 * limits::PIECE_BYTES + 5] {
            let text = "\\\"\\n\u{e9}\u{1f600}a".repeat(length / 5);
            let body = format!("{{\"data\":[{{\"id\":\"9\",\"text\":\"{text}\"}}]}}");
            let page = scan(body.as_bytes(), Kind::Activities).unwrap();
            let (row, mut whole, mut pieces) = (&page.rows[0], Vec::new(), Vec::new());
            render(&mut whole, &labels(), Kind::Activities, row, body.as_bytes());
            render_by_pieces(&labels(), Kind::Activities, row, body.as_bytes(), &mut |piece| {
                assert!(piece.len() <= 2 * limits::PIECE_BYTES + 1_000, "{}", piece.len());
                pieces.extend_from_slice(piece);
            });
            assert_eq!(whole, pieces, "{length}");
        }
    }

    #[test]
    fn an_entry_is_what_coralogix_documents() {
        let threat = r#"{"id":"9","threatInfo":{"updatedAt":"2023-01-31T07:02:19.123342Z","confidenceLevel":"malicious","mitigationStatus":"mitigated"},"agentRealtimeInfo":{"agentComputerName":"PC\u0031"}}"#;
        let expected = concat!(
            r#"{"timestamp":1675148539123.342,"applicationName":"acme \"prod\"","#,
            r#""subsystemName":"SentinelOne","computerName":"PC\u0031","severity":5,"#,
            r#""category":"threats","className":"acme","text":"{\"id\":\"9\",\"threatInfo\":"#,
            r#"{\"updatedAt\":\"2023-01-31T07:02:19.123342Z\",\"confidenceLevel\":\"malicious\","#,
            r#"\"mitigationStatus\":\"mitigated\"},"#,
            r#"\"agentRealtimeInfo\":{\"agentComputerName\":\"PC\\u0031\"}}"}"#
        );
        assert_eq!(rendered(threat, Kind::Threats), expected);
    }

    #[test]
    fn without_a_stamp_of_its_own_an_entry_has_none() {
        let text = rendered(r#"{"id":"9"}"#, Kind::Activities);
        assert_eq!(
            text,
            concat!(
                r#"{"applicationName":"acme \"prod\"","subsystemName":"SentinelOne","#,
                r#""computerName":"edge-1","severity":3,"category":"activities","#,
                r#""className":"acme","text":"{\"id\":\"9\"}"}"#
            )
        );
    }

    #[test]
    fn the_collectors_own_words_are_an_entry_too() {
        let mut out = Vec::new();
        render_own(&mut out, &labels(), Some(Stamp(5_000)), 4, r#"{"gap":1}"#);
        let entry: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(entry["category"], "collector");
        assert_eq!(entry["text"], r#"{"gap":1}"#);
        assert!(out.starts_with(b"{\"timestamp\":5.000,"));
    }

    #[test]
    fn a_stamp_becomes_milliseconds_with_three_decimals() {
        for (us, text) in [
            (0, "0.000"),
            (1, "0.001"),
            (999, "0.999"),
            (1_000, "1.000"),
            (12_345, "12.345"),
            (1_675_148_539_123_342, "1675148539123.342"),
            (-1, "-0.001"),
            (i64::MAX, "9223372036854775.807"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            let mut out = Vec::new();
            push_ms(&mut out, Stamp(us));
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn text_decodes_to_the_same_bytes_whatever_they_are() {
        let mut prng = Prng::new(3);
        let alphabets =
            ["\"\\", "\u{0}\u{1f}\n\t\r", "ab\"", "\u{20ac}\u{e9}\u{7f}\u{80}", " {}:,"];
        for round in 0..4_000 {
            let text: String = (0..prng.below(70))
                .map(|_| {
                    let alphabet = alphabets[prng.below(alphabets.len() as u64) as usize];
                    let nth = prng.below(alphabet.chars().count() as u64) as usize;
                    alphabet.chars().nth(nth).unwrap()
                })
                .collect();
            let mut out = b"\"".to_vec();
            escape(&mut out, text.as_bytes());
            out.push(b'"');
            let expected = serde_json::Value::from(text.as_str()).to_string();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "round {round}");
        }
    }

    #[test]
    fn whatever_passes_the_scanner_becomes_a_valid_entry_of_the_same_bytes() {
        let whole = r#"{"data":[{"id":"9","threatInfo":{"updatedAt":"2023-01-31T07:02:19.123342Z"},"agentRealtimeInfo":{"agentComputerName":"PC\u0031 \"x"}},{"id":7}]}"#;
        let mut prng = Prng::new(21);
        let mut rendered = 0;
        for _ in 0..20_000 {
            let mut sent = whole.as_bytes().to_vec();
            for _ in 0..1 + prng.below(3) {
                let at = prng.below(sent.len() as u64) as usize;
                let byte = [b'"', b'\\', b'{', b']', 0, 0xff, b'x', prng.next_u64() as u8];
                sent[at] = byte[prng.below(8) as usize];
            }
            let Ok(page) = scan(&sent, Kind::Threats) else { continue };
            let body = page.body(&sent);
            for row in &page.rows {
                let mut out = Vec::new();
                render(&mut out, &labels(), Kind::Threats, row, body);
                let entry: Value = serde_json::from_slice(&out).unwrap();
                assert_eq!(entry["text"].as_str().unwrap().as_bytes(), &body[row.range.clone()]);
                rendered += 1;
            }
        }
        assert!(rendered > 5_000, "{rendered}");
    }

    #[test]
    fn nothing_but_controls_is_escaped_to_six_bytes_each() {
        let mut out = Vec::new();
        escape(&mut out, &[1; 1_000]);
        assert_eq!(out, b"\\u0001".repeat(1_000));
    }
}
