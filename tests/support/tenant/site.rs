//! How the tenant answers: paths, tokens, permissions, faults, and the body of a page.
//!
//! Promises: refusals have the words and the status that were recorded from real consoles.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::lie::EmptyPage;
use super::page::Picked;
use super::query::{Query, Refused, decode_pairs};
use super::{Closed, Inner, Seen, State, Totals};
use crate::support::clock::iso;
use crate::support::data::Kind;
use crate::support::fault::{Fault, On, error_body};
use crate::support::http::{Act, Reply, Request, Site};

const API: &str = "/web/api/v2.1/";
const JSON: &str = "application/json";

/// How many rows an answer had, and how far they reach.
#[derive(Clone, Copy, Default)]
struct Shown {
    rows: usize,
    reached_us: Option<i64>,
}

/// What stands behind a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    List(Kind),
    SystemInfo,
    SystemStatus,
    TokenDetails,
    Nowhere,
}

impl Place {
    fn of(path: &str) -> Place {
        match path.strip_prefix(API) {
            Some("threats") => Place::List(Kind::Threats),
            Some("activities") => Place::List(Kind::Activities),
            Some("cloud-detection/alerts") => Place::List(Kind::Alerts),
            Some("system/info") => Place::SystemInfo,
            Some("system/status") => Place::SystemStatus,
            Some("users/api-token-details") => Place::TokenDetails,
            _ => Place::Nowhere,
        }
    }

    fn names(self, has_cursor: bool) -> Vec<On> {
        let mut names = match self {
            Place::List(kind) => vec![On::Stream(kind)],
            Place::SystemInfo => vec![On::SystemInfo],
            Place::TokenDetails => vec![On::TokenDetails],
            Place::SystemStatus | Place::Nowhere => Vec::new(),
        };
        if has_cursor {
            names.push(On::Cursor);
        }
        names
    }
}

impl Site for Inner {
    fn on_request(&self, request: &Request) -> Act {
        let place = Place::of(request.path());
        let query = decode_pairs(request.query());
        let has_cursor = query.iter().any(|(name, value)| name == "cursor" && !value.is_empty());
        let (reply, shown, fault, slow) = self.state.change(|state| {
            let fault = state.rules.take(&place.names(has_cursor), |_| true);
            let (reply, shown) = match fault.as_ref().and_then(|fault| fault.act(&self.clock)) {
                Some(act) => (Err(act), Shown::default()),
                None => {
                    let (reply, shown) = self.reply(state, place, request, fault.as_ref());
                    (Ok(reply), shown)
                }
            };
            (reply, shown, fault, state.knobs.slow)
        });
        let act = match reply {
            Err(act) => act,
            Ok(reply) => self.finish(request, reply, fault.as_ref(), slow),
        };
        self.state.change(|state| {
            state.seen.push(Seen {
                at: request.at,
                method: request.method.clone(),
                path: request.path().to_string(),
                query,
                headers: request.headers.clone(),
                body: request.body.clone(),
                connection: request.connection,
                kind: match place {
                    Place::List(kind) => Some(kind),
                    _ => None,
                },
                status: match &act {
                    Act::Reply(reply) => reply.status,
                    _ => 0,
                },
                rows: shown.rows,
                reached_us: shown.reached_us,
            });
        });
        act
    }
}

impl Inner {
    fn reply(
        &self,
        state: &mut State,
        place: Place,
        request: &Request,
        fault: Option<&Fault>,
    ) -> (Reply, Shown) {
        let plain =
            |(status, body): (u16, String)| (Reply::new(status, JSON, body), Shown::default());
        if place == Place::SystemStatus {
            return plain((200, r#"{"data":{"health":"ok"}}"#.to_string()));
        }
        if !self.knows_token(state, request) {
            return plain((401, error_body(4_010_010, "Authentication Failed", "null")));
        }
        match (place, request.method.as_str()) {
            (Place::SystemInfo, "GET") => plain((200, SYSTEM_INFO.to_string())),
            (Place::TokenDetails, "POST") => plain(token_details(state, request)),
            (Place::List(kind), "GET") => match state.knobs.closed.get(&kind) {
                Some(Closed::Forbidden) => {
                    plain((403, error_body(4_030_010, "Insufficient permissions", "null")))
                }
                Some(Closed::Unauthorized) => {
                    plain((401, error_body(4_010_010, "Authentication Failed", "null")))
                }
                None => match page(state, kind, request.query(), fault) {
                    Ok((_, shown)) if shown.rows > state.knobs.too_many_rows => {
                        let body = "504 Gateway Time-out";
                        (Reply::new(504, "text/plain", body), Shown::default())
                    }
                    Ok((body, shown)) => match state.knobs.bad_row {
                        Some((id, status @ (302 | 403 | 451))) if holds(&body, id) => {
                            let page = "<html>Blocked by policy</html>";
                            (Reply::new(status, "text/html", page), Shown::default())
                        }
                        Some((id, status)) if holds(&body, id) => {
                            (Reply::new(status, JSON, broken_in(body, id)), Shown::default())
                        }
                        _ => (Reply::new(200, JSON, body), shown),
                    },
                    Err(Refused(body)) => plain((400, body)),
                },
            },
            (Place::Nowhere, _) => {
                let reply = Reply::new(404, "text/plain; charset=utf-8", "404 page not found\n");
                (reply, Shown::default())
            }
            _ => plain((405, error_body(4_050_010, "Method not allowed", "null"))),
        }
    }

    fn knows_token(&self, state: &State, request: &Request) -> bool {
        let now_us = self.clock.now_us();
        let header = request.header("authorization").unwrap_or_default();
        let (scheme, token) = header.split_once(' ').unwrap_or_default();
        let known_scheme =
            scheme.eq_ignore_ascii_case("apitoken") || scheme.eq_ignore_ascii_case("bearer");
        known_scheme && state.tokens.get(token).is_some_and(|token| now_us < token.expires_us)
    }

    fn finish(
        &self,
        request: &Request,
        mut reply: Reply,
        fault: Option<&Fault>,
        slow: Duration,
    ) -> Act {
        let (gzip, chunked, date) =
            self.state.look(|s| (s.knobs.gzip, s.knobs.chunked, s.knobs.date));
        if date {
            let told = self.state.change(|state| state.lies.date(&self.clock));
            reply = reply.with("Date", told);
        }
        if gzip && request.accepts_gzip() && reply.status == 200 {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&reply.body).unwrap();
            reply.body = encoder.finish().unwrap();
            reply = reply.with("Content-Encoding", "gzip");
        }
        reply.chunked = chunked;
        reply.wait_before = slow;
        match fault {
            Some(fault) => fault.spoil(reply),
            None => reply.into(),
        }
    }
}

const SYSTEM_INFO: &str = r#"{"data": {"build": "26", "latestAgentVersion": "24.1.4.257", "patch": "1", "release": "Example", "version": "S-25.1.2"}}"#;

/// `POST users/api-token-details`: the token whose dates are wanted stands in the body.
fn token_details(state: &State, request: &Request) -> (u16, String) {
    let asked = serde_json::from_slice::<serde_json::Value>(&request.body).ok();
    let token = asked.as_ref().and_then(|body| body.pointer("/data/apiToken")?.as_str());
    match token.and_then(|token| state.tokens.get(token)) {
        Some(token) => (
            200,
            format!(
                "{{\"data\": {{\"createdAt\": \"{}\", \"expiresAt\": \"{}\"}}}}",
                iso(token.created_us),
                iso(token.expires_us)
            ),
        ),
        None => (
            400,
            error_body(
                4_000_010,
                "Validation Error",
                "\"apiToken: Missing data for required field.\"",
            ),
        ),
    }
}

fn page(
    state: &mut State,
    kind: Kind,
    query: &str,
    fault: Option<&Fault>,
) -> Result<(Vec<u8>, Shown), Refused> {
    const EMPTY_END: &str = "ZW1wdHk%3D";
    let mut query = Query::read(kind, query)?;
    let State { tables, knobs, lies, .. } = state;
    let (totals, extra_empty_page) = (knobs.totals, knobs.extra_empty_page);
    query.limit = query.limit.min(knobs.rows_max);
    lies.widen(&mut query);
    let at_empty_end = query.cursor.take_if(|cursor| cursor.starts_with("ZW1wdHk")).is_some();
    if !query.count_only
        && let Some(EmptyPage { data, next }) = lies.bend(kind, &mut query)?
    {
        let empty = Picked { rows: Vec::new(), next_cursor: Some(next), total: 0 };
        return Ok((page_body(&empty, totals, fault, data), Shown::default()));
    }
    let mut picked = tables[kind as usize].pick(&query)?;
    if at_empty_end {
        picked = Picked { rows: Vec::new(), next_cursor: None, total: picked.total };
    } else if extra_empty_page && picked.next_cursor.is_none() && !picked.rows.is_empty() {
        picked.next_cursor = Some(EMPTY_END.to_string());
    }
    if query.count_only {
        picked.rows.clear();
        picked.next_cursor = None;
    } else {
        picked.next_cursor = lies.next(kind, picked.next_cursor);
    }
    if kind == Kind::Activities {
        picked.total = picked.total.min(50_000);
    }
    let reached_us = picked.rows.iter().map(|row| row.draft.position_us()).max();
    let shown = Shown { rows: picked.rows.len(), reached_us };
    Ok((page_body(&picked, totals, fault, ""), shown))
}

fn mark(id: u64) -> String {
    format!("\"id\": \"{id}\"")
}

fn holds(body: &[u8], id: u64) -> bool {
    let mark = mark(id);
    body.windows(mark.len()).any(|part| part == mark.as_bytes())
}

/// The body with a control character in the row, which no JSON may have.
fn broken_in(mut body: Vec<u8>, id: u64) -> Vec<u8> {
    let mark = mark(id);
    let at = body.windows(mark.len()).position(|part| part == mark.as_bytes()).unwrap_or(0);
    body[at] = b'}';
    body
}

/// `filler` stands before the rows.
fn page_body(picked: &Picked<'_>, totals: Totals, fault: Option<&Fault>, filler: &str) -> Vec<u8> {
    let rows_bytes: usize = picked.rows.iter().map(|row| row.bytes.len() + 2).sum();
    let mut body = Vec::with_capacity(rows_bytes + 512);
    match fault {
        Some(Fault::DataNull) => body.extend_from_slice(b"{\"data\": null"),
        Some(Fault::DataObject) => body.extend_from_slice(b"{\"data\": {\"sites\": []}"),
        _ => {
            body.extend_from_slice(b"{\"data\": [");
            body.extend_from_slice(filler.as_bytes());
            for (nth, row) in picked.rows.iter().enumerate() {
                body.extend_from_slice(if nth > 0 { b", " } else { b"" });
                body.extend_from_slice(&row.bytes);
            }
            body.push(b']');
        }
    }
    if !matches!(fault, Some(Fault::NoPagination)) {
        let cursor = match &picked.next_cursor {
            Some(cursor) => format!("\"{cursor}\""),
            None => "null".to_string(),
        };
        let total = match totals {
            Totals::AsSeen => format!(", \"totalItems\": {}", picked.total),
            Totals::Missing => String::new(),
            Totals::Wrong => ", \"totalItems\": 1".to_string(),
        };
        body.extend_from_slice(
            format!(", \"pagination\": {{\"nextCursor\": {cursor}{total}}}").as_bytes(),
        );
    }
    body.push(b'}');
    body
}
