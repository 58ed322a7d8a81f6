//! How the ingress answers: keys, sizes, encodings, faults, and what it does with a batch.
//!
//! Promises: a batch is taken as a whole or refused as a whole, unless a knob says otherwise; what
//! is counted as taken is what a later search in Coralogix would find.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use flate2::bufread::GzDecoder;

use super::entry::{Dated, Entry, read_batch};
use super::{AgeRule, Got, Inner, Key, Knobs, LongRule, Measured, Rejection, State, Stored};
use crate::support::clock::http_date;
use crate::support::fault::{Fault, On, html};
use crate::support::http::{Act, Reply, Request, Site};

const LONG_BYTES: usize = 32 << 10;
const INFLATED_BYTES_MAX: u64 = 64 << 20;

/// What is to be done with a request after all checks.
struct Outcome {
    reply: Reply,
    raw_bytes: usize,
    entries: usize,
    taken: bool,
}

impl Outcome {
    fn refused(status: u16, body: impl Into<Vec<u8>>) -> Outcome {
        let reply = Reply::new(status, "application/json", body);
        Outcome { reply, raw_bytes: 0, entries: 0, taken: false }
    }
}

impl Site for Inner {
    fn on_head(&self, request: &Request) -> Option<Act> {
        if self.state.look(|state| state.rules.is_empty()) {
            return None;
        }
        let fault = self.state.change(|state| {
            state.rules.take(&names(request), |fault| matches!(fault, Fault::ResetBeforeBody))
        })?;
        self.write_down(request, 0, 0, 0, false);
        fault.act(&self.clock)
    }

    fn on_request(&self, request: &Request) -> Act {
        self.state.change(|state| state.in_hand += 1);
        let act = self.serve(request);
        self.state.change(|state| state.in_hand -= 1);
        act
    }
}

impl Inner {
    fn serve(&self, request: &Request) -> Act {
        let fault = self.state.change(|state| state.rules.take(&names(request), |_| true));
        if let Some(act) = fault.as_ref().and_then(|fault| fault.act(&self.clock)) {
            let status = status_of(&act);
            self.write_down(request, 0, 0, status, false);
            return act;
        }
        let outcome = self.outcome(request);
        let knobs = self.state.look(|state| state.knobs.clone());
        let mut reply = outcome.reply;
        if knobs.date {
            let ahead = self.state.change(|state| state.knobs.take_date_ahead());
            let date_us = self.clock.now_us() + ahead;
            reply = reply.with("Date", http_date(date_us));
        }
        let carried = knobs.rate.map_or(0, |rate| request.body.len() as u64 * 1_000 / rate);
        reply.wait_before = knobs.slow + Duration::from_millis(carried);
        let act = match fault {
            _ if reply.status == 0 => Act::Reset,
            Some(fault) => fault.spoil(reply),
            None => reply.into(),
        };
        let status = status_of(&act);
        self.write_down(request, outcome.raw_bytes, outcome.entries, status, outcome.taken);
        act
    }
}

fn names(request: &Request) -> Vec<On> {
    if request.path() == "/logs/v1/singles" { vec![On::Singles] } else { Vec::new() }
}

fn status_of(act: &Act) -> u16 {
    match act {
        Act::Reply(reply) => reply.status,
        _ => 0,
    }
}

impl Inner {
    fn write_down(&self, request: &Request, raw: usize, entries: usize, status: u16, taken: bool) {
        self.state.change(|state| {
            state.got.push(Got {
                at: request.at,
                method: request.method.clone(),
                path: request.path().to_string(),
                headers: request.headers.clone(),
                connection: request.connection,
                wire_bytes: request.body.len(),
                raw_bytes: raw,
                entries,
                status,
                taken,
            });
        });
    }

    fn complain(&self, what: String) {
        self.state.change(|state| state.complaints.push(what));
    }

    fn outcome(&self, request: &Request) -> Outcome {
        let knobs = self.state.look(|state| state.knobs.clone());
        match (request.path(), request.method.as_str()) {
            ("/logs/v1/singles", "POST") => {}
            ("/logs/v1/singles", _) => return Outcome::refused(405, ""),
            // The server's clock in ticks of 100 ns.
            ("/sdk/v1/time", "GET") => {
                return Outcome::refused(200, (self.clock.now_us() * 10).to_string());
            }
            _ => return Outcome::refused(404, ""),
        }
        match key_of(&knobs, request) {
            Some(Key::Good) => {}
            Some(Key::Forbidden) => return Outcome::refused(403, ""),
            None => return Outcome::refused(401, ""),
        }
        let body = match self.body_of(&knobs, request) {
            Ok(body) => body,
            Err(status) => return Outcome::refused(status, ""),
        };
        if let Some((limit, measured)) = knobs.size_limit {
            let size = match measured {
                Measured::OnTheWire => request.body.len(),
                Measured::Inflated => body.len(),
            };
            if size > limit {
                return Outcome { raw_bytes: body.len(), ..Outcome::refused(413, "") };
            }
        }
        let content_type = request.header("content-type").unwrap_or_default();
        let mut outcome = match read_batch(&body, content_type) {
            Ok(entries) => self.take(&knobs, &entries),
            Err(why) => {
                self.complain(format!("the body is no batch: {why}"));
                Outcome::refused(400, html("Bad Request"))
            }
        };
        outcome.raw_bytes = body.len();
        outcome
    }

    fn body_of<'a>(&self, knobs: &Knobs, request: &'a Request) -> Result<Cow<'a, [u8]>, u16> {
        match request.header("content-encoding") {
            None | Some("identity") => Ok(Cow::Borrowed(&request.body)),
            Some("gzip") => {
                let mut decoder = GzDecoder::new(request.body.as_slice()).take(INFLATED_BYTES_MAX);
                let mut body = Vec::with_capacity(request.body.len() * 8);
                if let Err(why) = decoder.read_to_end(&mut body) {
                    self.complain(format!("the body is not gzip: {why}"));
                    return Err(400);
                }
                // One member is what every gzip reader understands; a second is often ignored.
                let rest = decoder.into_inner().into_inner();
                if !rest.is_empty() {
                    self.complain(format!("{} bytes after the gzip member", rest.len()));
                    return Err(400);
                }
                Ok(Cow::Owned(body))
            }
            Some(_) => Err(knobs.bad_encoding_status),
        }
    }

    fn take(&self, knobs: &Knobs, batch: &[Entry<'_>]) -> Outcome {
        if batch.is_empty() && !knobs.takes_empty {
            let (status, kind, body) = match knobs.poison {
                Some(_) => knobs.poison_answer,
                None => (400, "", ""),
            };
            let reply = Reply::new(status, kind, body);
            return Outcome { reply, raw_bytes: 0, entries: 0, taken: false };
        }
        let texts: Vec<Cow<'_, str>> = batch.iter().map(Entry::text).collect();
        let poisoned = |text: &str| knobs.poison.as_ref().is_some_and(|poison| poison(text));
        let bad: Vec<bool> = batch
            .iter()
            .zip(&texts)
            .map(|(entry, text)| entry.lacks().is_some() || poisoned(text))
            .collect();
        if let Some(missing) = batch.iter().find_map(Entry::lacks) {
            self.complain(format!("an entry has no {missing}"));
        }
        if knobs.rejection == Rejection::Batch && bad.contains(&true) {
            let (status, kind, body) = knobs.poison_answer;
            let reply = Reply::new(status, kind, body);
            return Outcome { reply, raw_bytes: 0, entries: batch.len(), taken: false };
        }
        let now_us = self.clock.now_us();
        let mut dropped = 0;
        self.state.change(|state| {
            state.requests += 1;
            // One look at the ledger for the whole batch, so that waiting for it costs little.
            self.ledger.change(|book| {
                for ((entry, text), bad) in batch.iter().zip(&texts).zip(bad) {
                    let Some(mut stored) = judge(state, knobs, entry, text, bad, now_us) else {
                        dropped += 1;
                        continue;
                    };
                    let category = Arc::clone(&stored.category);
                    let text = match knobs.long {
                        LongRule::Cut if text.len() > LONG_BYTES => cut(text, LONG_BYTES),
                        _ => text,
                    };
                    stored.request = state.requests;
                    stored.published = book.deliver(state.requests, text, &category);
                    state.stored.push(stored);
                }
            });
            state.dropped += dropped;
        });
        let body = match dropped {
            0 => knobs.accepted_body.to_string(),
            _ if knobs.age == AgeRule::DropUnsaid => knobs.accepted_body.to_string(),
            _ => format!("{dropped} logs were not accepted: older than 24 hours or malformed"),
        };
        Outcome {
            reply: Reply::new(knobs.accepted_status, "text/plain", body),
            raw_bytes: 0,
            entries: batch.len(),
            taken: true,
        }
    }
}

fn key_of(knobs: &Knobs, request: &Request) -> Option<Key> {
    let (scheme, key) = request.header("authorization")?.split_once(' ')?;
    if scheme != "Bearer" {
        return None;
    }
    knobs.keys.get(key).copied()
}

fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// What an entry becomes, or `None` when a rule drops it.
fn judge(
    state: &mut State,
    knobs: &Knobs,
    entry: &Entry<'_>,
    text: &str,
    bad: bool,
    now_us: i64,
) -> Option<Stored> {
    if bad || (text.len() > LONG_BYTES && knobs.long == LongRule::Drop) {
        return None;
    }
    let severity = entry.severity()?;
    let (stamp_us, stamped) = match (entry.dated(now_us), knobs.age) {
        (Dated::TooOld(_) | Dated::TooFarAhead(_), AgeRule::Drop | AgeRule::DropUnsaid) => {
            return None;
        }
        (Dated::TooOld(_) | Dated::TooFarAhead(_), AgeRule::Restamp) => (now_us, true),
        (Dated::Fine(us) | Dated::TooOld(us) | Dated::TooFarAhead(us), _) => (us, true),
        (Dated::Absent, _) => (now_us, false),
    };
    let mut name = |name: &Option<Cow<'_, str>>| {
        let name = name.as_deref().unwrap_or_default();
        if let Some(known) = state.names.get(name) {
            return Arc::clone(known);
        }
        let known: Arc<str> = name.into();
        state.names.insert(name.to_string(), Arc::clone(&known));
        known
    };
    Some(Stored {
        request: 0,
        received_us: now_us,
        stamp_us,
        stamped,
        application: name(&entry.application_name),
        subsystem: name(&entry.subsystem_name),
        computer: name(&entry.computer_name),
        category: name(&entry.category),
        class_name: name(&entry.class_name),
        severity,
        text_bytes: u32::try_from(text.len()).unwrap(),
        published: None,
    })
}
