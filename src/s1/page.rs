//! A page of records as SentinelOne sent it: where each record lies, and the little that is read.
//!
//! Promises: a record is a range of the body, so its bytes and numbers stay as they were; a member
//! of an unexpected type, or none, never fails a record. Only a body that is no page at all, or is
//! cut, is `Broken`. Never: ends a walk by `totalItems`, which is wrong more often than not.

use std::fmt;
use std::ops::Range;
use std::str::Utf8Chunk;

use crate::answer;
use crate::limits;
use crate::record::{Cursor, Kind, RowKey, Total};
use crate::s1::json::{self, Walker};
use crate::s1::severity::{self, ActivityWords, ThreatWords};
use crate::s1::{stamp, words};
use crate::time::Stamp;

/// One answer of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub rows: Vec<Row>,
    /// The next page's; none means that the walk is at its end.
    pub next: Option<Cursor>,
    /// The body with U+FFFD for what was not UTF-8. When there is one, the ranges refer to it.
    pub repaired: Option<Vec<u8>>,
}

impl Page {
    /// The bytes that the rows' ranges refer to.
    #[cfg(any(test, fuzzing))]
    pub fn body<'a>(&'a self, sent: &'a [u8]) -> &'a [u8] {
        self.repaired.as_deref().unwrap_or(sent)
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its bytes, exactly as sent.
    pub range: Range<usize>,
    pub key: RowKey,
    /// Its id as SentinelOne knows it, which is the key's unless the stamp can't be read.
    pub id: u64,
    /// Whether the stamp is the record's own; else it is the one of the row before.
    pub stamped: bool,
    /// It has no stamp that can be read, or a null date in its place.
    pub undated: bool,
    /// When SentinelOne created it, where that is not the stamp: a threat's never changes.
    pub created: Option<Stamp>,
    pub severity: u8,
    /// The endpoint's name: a JSON string with its quotes, known to be well-formed.
    pub computer: Option<Range<usize>>,
    /// Longer than `limits::LONG_RECORD_BYTES`.
    pub long: bool,
}

/// Why a body is not a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A body with U+FFFD for what is not UTF-8, and whether there was any. It is given back where that is
/// longer than `bytes_max`, or would be with its control characters escaped as an entry has them. JSON
/// has none as they are but for blanks, and each becomes six bytes.
pub fn kept(body: Vec<u8>, bytes_max: u64) -> Result<(Vec<u8>, bool), Vec<u8>> {
    let escapes = 5 * s1_coralogix_bytes::controls(&body);
    let is_whole = std::str::from_utf8(&body).is_ok();
    let mark = |chunk: &Utf8Chunk<'_>| if chunk.invalid().is_empty() { "" } else { "\u{fffd}" };
    let length = match is_whole {
        true => body.len(),
        false => body.utf8_chunks().map(|chunk| chunk.valid().len() + mark(&chunk).len()).sum(),
    };
    if (length + escapes) as u64 > bytes_max {
        return Err(body);
    }
    if is_whole {
        return Ok((body, false));
    }
    let mut repaired = Vec::with_capacity(length);
    for chunk in body.utf8_chunks() {
        repaired.extend_from_slice(chunk.valid().as_bytes());
        repaired.extend_from_slice(mark(&chunk).as_bytes());
    }
    Ok((repaired, true))
}

/// The id of the first record of a page that is cut short or malformed, where it stands before the flaw
/// and is a number, as SentinelOne's are.
pub fn first_id(body: &[u8], kind: Kind) -> Option<u64> {
    let mut walker = Walker::after_mark(body);
    let mut found = Found::default();
    let _flaw = walker.members(|walker, name| match name {
        b"data" if walker.peek() == Some(b'[') => {
            walker.at += 1;
            walk_fields(walker, kind, &mut found)?;
            None
        }
        _ => pass(walker),
    });
    let ids = [found.id, found.inner_id].into_iter().flatten();
    // What ends with the body may go on.
    ids.filter(|token| token.end < body.len()).find_map(|token| number(&body[token]))
}

/// Finds the records of a page.
pub fn scan(body: &[u8], kind: Kind) -> Result<Page, Broken> {
    if std::str::from_utf8(body).is_ok() {
        return scan_text(body, kind);
    }
    let repaired = String::from_utf8_lossy(body).into_owned().into_bytes();
    let mut page = scan_text(&repaired, kind)?;
    page.repaired = Some(repaired);
    Ok(page)
}

/// The same for a body that [`kept`] has looked through.
pub fn scan_text(body: &[u8], kind: Kind) -> Result<Page, Broken> {
    debug_assert!(std::str::from_utf8(body).is_ok(), "what is no text was replaced");
    let mut walker = Walker::after_mark(body);
    if walker.peek() != Some(b'{') {
        return Err(Broken(format!("not a JSON object: {}", answer::excerpt(body))));
    }
    let mut page = Page::default();
    let mut data: Option<Data> = None;
    let mut told = words::Told::default();
    let walked = walker.members(|walker, name| match name {
        // It can't be known which of the two is the answer.
        b"data" if data.is_some() => {
            data = Some(Data::Twice);
            walker.value().map(drop)
        }
        b"data" => {
            data = Some(walk_data(walker, kind, &mut page.rows)?);
            Some(())
        }
        b"pagination" => walk_pagination(walker, &mut page.next, &mut told),
        b"meta" => walker.members(|walker, name| note(walker, name, &mut told)),
        _ => note(walker, name, &mut told),
    });
    if walked.is_none() {
        let end = if walker.at >= body.len() || walker.peek().is_none() {
            "the JSON ends too early"
        } else {
            "the JSON is malformed"
        };
        return Err(Broken(format!("{end}, near byte {} of {}", walker.at, body.len())));
    }
    if walker.peek().is_some() {
        let rest = answer::excerpt(&body[walker.at..]);
        return Err(Broken(format!("something follows the JSON: {rest}")));
    }
    if page.next.as_ref().is_some_and(|Cursor(text)| text.len() > limits::CURSOR_BYTES_MAX) {
        return Err(Broken("the cursor is too long to be sent back".to_owned()));
    }
    let of_empty = told.of_empty.filter(|_| page.rows.is_empty());
    if let Some(words) = told.failure.or(of_empty) {
        return Err(Broken(words::in_words(&words)));
    }
    if told.has_more && page.rows.is_empty() && page.next.is_none() {
        return Err(Broken(
            "it says that more follows, and has neither rows nor a cursor".to_owned(),
        ));
    }
    match data {
        // Followed, it would pass over what the list is of.
        Some(Data::Null) if page.next.is_some() => {
            Err(Broken("`data` is null, though a cursor says that more follows".to_owned()))
        }
        Some(Data::List | Data::Null) => Ok(page),
        Some(Data::Twice) => Err(Broken(words::TWICE.to_owned())),
        Some(Data::TooLong) => {
            Err(Broken("`data` has far more rows than were asked for".to_owned()))
        }
        Some(Data::Other) => Err(Broken("`data` is not a list".to_owned())),
        None => Err(Broken(format!("the answer has no `data`: {}", answer::excerpt(body)))),
    }
}

/// What an answer says there is in all. It is no count where it is missing, or less than the rows
/// beside it, or the highest number that is ever sent.
pub fn total(body: &[u8], kind: Kind) -> Result<Total, Broken> {
    let page = scan(body, kind)?;
    let mut walker = Walker::after_mark(body);
    let mut total: Option<u64> = None;
    let walked = walker.members(|walker, name| match name {
        b"pagination" => walker.members(|walker, name| {
            let value = walker.value()?;
            if name == b"totalItems" {
                total = whole_number(&walker.bytes[value]);
            }
            Some(())
        }),
        _ => walker.value().map(drop),
    });
    debug_assert!(walked.is_some(), "what was scanned can be walked");
    Ok(match total {
        Some(limits::TOTAL_CAP) => Total::Capped,
        Some(total) if total >= page.rows.len() as u64 => Total::Is(total),
        _ => Total::Unknown,
    })
}

enum Data {
    List,
    Null,
    /// More rows than are taken; the ones beyond were passed.
    TooLong,
    /// There are two of them.
    Twice,
    Other,
}

fn walk_data(walker: &mut Walker<'_>, kind: Kind, rows: &mut Vec<Row>) -> Option<Data> {
    if walker.peek()? != b'[' {
        let value = walker.value()?;
        // Consoles answer so where there is nothing to list.
        let data = if &walker.bytes[value] == b"null" { Data::Null } else { Data::Other };
        return Some(data);
    }
    walker.at += 1;
    if walker.peek()? == b']' {
        walker.at += 1;
        return Some(Data::List);
    }
    let mut before = Stamp::EPOCH;
    let mut data = Data::List;
    loop {
        if rows.len() >= limits::PAGE_ROWS_TAKEN_MAX {
            walker.value()?;
            data = Data::TooLong;
        } else if let Some(row) = walk_record(walker, kind, before)? {
            before = row.key.stamp;
            rows.push(row);
        }
        match walker.peek()? {
            b',' => walker.at += 1,
            b']' => {
                walker.at += 1;
                return Some(data);
            }
            _ => return None,
        }
    }
}

fn walk_pagination(
    walker: &mut Walker<'_>,
    next: &mut Option<Cursor>,
    told: &mut words::Told,
) -> Option<()> {
    walker.members(|walker, name| match name {
        b"nextCursor" => {
            let value = walker.value()?;
            // Where one of two says that more follows, it is followed.
            *next = next.take().or_else(|| next_of(walker.bytes, &value));
            Some(())
        }
        b"totalItems" => pass(walker),
        _ => note(walker, name, told),
    })
}

/// Passes a member that is none of a list's own, and notes what it says.
fn note(walker: &mut Walker<'_>, name: &[u8], told: &mut words::Told) -> Option<()> {
    let value = walker.value()?;
    told.note(name, &walker.bytes[value]);
    Some(())
}

/// The next page's cursor as text: a text, a number, a list or an object, which the console accepts
/// or rejects. Anything else counts as no cursor; after a full page the walk then goes on in
/// another way.
fn next_of(body: &[u8], value: &Range<usize>) -> Option<Cursor> {
    let token = &body[value.clone()];
    let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    let is_text = match token.first() {
        Some(b'[' | b'{') => inner.iter().any(|byte| !byte.is_ascii_whitespace()),
        first => first.is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-'),
    };
    let text = match is_text {
        true => String::from_utf8(token.to_vec()).ok(),
        false => json::decoded(body, value),
    };
    text.filter(|cursor| !cursor.is_empty() && cursor != "null").map(Cursor)
}

/// The members of a record that are read, as ranges of the body.
#[derive(Default)]
struct Found {
    id: Option<Range<usize>>,
    /// The id's copy inside the record, for lists whose records have it there.
    inner_id: Option<Range<usize>>,
    stamp: Option<Range<usize>>,
    created: Option<Range<usize>>,
    computer: Option<Range<usize>>,
    /// A second place for the endpoint's name.
    inner_computer: Option<Range<usize>>,
    /// What severity is made of; which is which depends on the kind.
    words: [Option<Range<usize>>; 4],
}

/// Passes one record. `None` inside: it holds nothing (some pages are filled up with `{}`).
fn walk_record(walker: &mut Walker<'_>, kind: Kind, before: Stamp) -> Option<Option<Row>> {
    walker.peek()?;
    let start = walker.at;
    let mut found = Found::default();
    walk_fields(walker, kind, &mut found)?;
    let range = start..walker.at;
    let body = walker.bytes;
    let record = &body[range.clone()];
    let holds_nothing = record == b"null"
        || (record.starts_with(b"{") && record[1..record.len() - 1].trim_ascii().is_empty());
    if holds_nothing {
        return Some(None);
    }
    let word = |at: usize| {
        found.words[at].as_ref().and_then(|token| json::plain(body, token)).unwrap_or("")
    };
    let severity = match kind {
        Kind::Threats => severity::of_threat(ThreatWords {
            confidence_level: word(0),
            mitigation_status: word(1),
            analyst_verdict: word(2),
            incident_status: word(3),
        }),
        Kind::Activities => {
            let token = found.words[0].as_ref().map_or(&b""[..], |token| &body[token.clone()]);
            let words = ActivityWords { severity: word(1), confidence_level: word(2) };
            severity::of_activity(number(token).unwrap_or(0), words)
        }
        Kind::Alerts => severity::of_alert(word(0)),
    };
    let time = |token: &Option<Range<usize>>| {
        token.as_ref().and_then(|token| stamp::of_token(body, token))
    };
    let stamp = time(&found.stamp);
    let id = [&found.id, &found.inner_id]
        .into_iter()
        .flatten()
        .find_map(|token| id_of(&body[token.clone()]))
        .unwrap_or_else(|| fnv1a(record));
    let computer = [found.computer, found.inner_computer]
        .into_iter()
        .flatten()
        .find(|token| is_name(&body[token.clone()]));
    Some(Some(Row {
        key: RowKey { stamp: stamp.unwrap_or(before), id },
        id,
        stamped: stamp.is_some(),
        undated: !stamp.is_some_and(stamp::is_real),
        created: time(&found.created),
        severity,
        computer,
        long: range.len() > limits::LONG_RECORD_BYTES,
        range,
    }))
}

fn walk_fields(walker: &mut Walker<'_>, kind: Kind, found: &mut Found) -> Option<()> {
    match kind {
        Kind::Threats => walk_threat(walker, found),
        Kind::Activities => walk_activity(walker, found),
        Kind::Alerts => walk_alert(walker, found),
    }
}

fn walk_threat(walker: &mut Walker<'_>, found: &mut Found) -> Option<()> {
    walker.members(|walker, name| match name {
        b"id" => keep(walker, &mut found.id),
        b"threatInfo" => walker.members(|walker, name| match name {
            b"updatedAt" => keep(walker, &mut found.stamp),
            b"createdAt" => keep(walker, &mut found.created),
            b"threatId" => keep(walker, &mut found.inner_id),
            b"confidenceLevel" => keep(walker, &mut found.words[0]),
            b"mitigationStatus" => keep(walker, &mut found.words[1]),
            b"analystVerdict" => keep(walker, &mut found.words[2]),
            b"incidentStatus" => keep(walker, &mut found.words[3]),
            _ => pass(walker),
        }),
        b"agentRealtimeInfo" => walker.members(|walker, name| match name {
            b"agentComputerName" => keep(walker, &mut found.computer),
            _ => pass(walker),
        }),
        _ => pass(walker),
    })
}

fn walk_activity(walker: &mut Walker<'_>, found: &mut Found) -> Option<()> {
    walker.members(|walker, name| match name {
        b"id" => keep(walker, &mut found.id),
        b"createdAt" => keep(walker, &mut found.stamp),
        b"activityType" => keep(walker, &mut found.words[0]),
        b"data" => walker.members(|walker, name| match name {
            b"severity" => keep(walker, &mut found.words[1]),
            b"confidenceLevel" => keep(walker, &mut found.words[2]),
            b"computerName" => keep(walker, &mut found.computer),
            // Activities that tell of an alert name the endpoint so.
            b"origagentname" => keep(walker, &mut found.inner_computer),
            _ => pass(walker),
        }),
        _ => pass(walker),
    })
}

fn walk_alert(walker: &mut Walker<'_>, found: &mut Found) -> Option<()> {
    walker.members(|walker, name| match name {
        b"id" => keep(walker, &mut found.inner_id),
        b"alertInfo" => walker.members(|walker, name| match name {
            b"alertId" => keep(walker, &mut found.id),
            b"reportedAt" => keep(walker, &mut found.stamp),
            _ => pass(walker),
        }),
        b"ruleInfo" => walker.members(|walker, name| match name {
            b"severity" => keep(walker, &mut found.words[0]),
            _ => pass(walker),
        }),
        b"agentRealtimeInfo" => walker.members(|walker, name| match name {
            b"name" => keep(walker, &mut found.computer),
            _ => pass(walker),
        }),
        // Some alerts have no live state of the agent.
        b"agentDetectionInfo" => walker.members(|walker, name| match name {
            b"name" => keep(walker, &mut found.inner_computer),
            _ => pass(walker),
        }),
        _ => pass(walker),
    })
}

fn keep(walker: &mut Walker<'_>, place: &mut Option<Range<usize>>) -> Option<()> {
    *place = Some(walker.value()?);
    Some(())
}

fn pass(walker: &mut Walker<'_>) -> Option<()> {
    walker.value().map(drop)
}

/// The number of a record. Ids are decimal texts of 64 bits; what is none is hashed, so that a
/// record of another kind still has a number of its own.
fn id_of(token: &[u8]) -> Option<u64> {
    let text = unquoted(token);
    if text.is_empty() || token == b"null" {
        return None;
    }
    Some(number(text).filter(|_| text[0] != b'0' || text.len() == 1).unwrap_or_else(|| fnv1a(text)))
}

/// The number that stands for this id in keys, as a person types it.
pub fn id_number(id: &str) -> Option<u64> {
    id_of(id.as_bytes())
}

/// When SentinelOne made this id: its ids are snowflakes, milliseconds since 2017 above 23 bits of
/// sequence. Observed in public samples of 2019 to 2025, documented nowhere; so it is told to people
/// and decides nothing.
pub fn id_made_at(id: &str) -> Option<Stamp> {
    const EPOCH_MS: u64 = 1_483_228_800_000;
    /// Real ids have 18 or 19 digits.
    const LEAST: u64 = 100_000_000_000_000_000;
    let id = number::<u64>(id.as_bytes()).filter(|id| *id >= LEAST && *id < 1 << 63)?;
    i64::try_from((id >> 23) + EPOCH_MS).ok().map(Stamp::from_ms)
}

/// A number that arrived as a number or as a text.
fn number<N: std::str::FromStr>(token: &[u8]) -> Option<N> {
    let text = unquoted(token);
    // `parse` would take a sign too.
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The same of a number that may be written as a fraction.
fn whole_number(token: &[u8]) -> Option<u64> {
    let text = unquoted(token);
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &[][..]),
    };
    number(whole).filter(|_| fraction.iter().all(|digit| *digit == b'0'))
}

fn unquoted(token: &[u8]) -> &[u8] {
    token.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(token)
}

/// Whether a token can stand in an entry as `computerName` as it is: a text, of a name's length, and
/// well-formed JSON (the walker does not look into strings).
fn is_name(token: &[u8]) -> bool {
    let fits = token.len() > 2 && token.len() <= limits::COMPUTER_NAME_BYTES_MAX;
    if !fits || token[0] != b'"' {
        return false;
    }
    let unusual = token.iter().any(|b| *b == b'\\' || *b < b' ');
    !unusual || json::decoded(token, &(0..token.len())).is_some()
}

/// What tells a record without a stamp from every other. Of a threat each version is one, and nothing
/// but its bytes tells the versions apart then.
pub fn undated_id(kind: Kind, id: u64, record: &[u8]) -> u64 {
    match kind {
        Kind::Threats => fnv1a(record) ^ id.rotate_left(32),
        Kind::Activities | Kind::Alerts => id,
    }
}

/// FNV-1a, 64 bits (draft-eastlake-fnv): small, and the same on every machine and in every version.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
