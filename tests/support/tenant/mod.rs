//! A SentinelOne tenant: threats, activities and alerts behind the Management API v2.1.
//!
//! Promises: every knob can be turned while it serves; what it publishes stands in the ledger
//! before anyone can ask for it; every request is written down with its answer's status.
//! Never: forgets a published record.

pub mod lie;
pub mod page;
pub mod query;
mod site;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::ServerConfig;

use super::clock::{Clock, DAY, iso};
use super::data::{Draft, Kind, Shape};
use super::fault::{Fault, On, Rules};
use super::http::Server;
use super::ledger::{Ledger, StreamId};
use super::watched::Watched;
use lie::{Lie, Lies};
use page::{Row, Table};

/// How `pagination.totalItems` behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Totals {
    /// Real, but 0 with `skipCount`, and never above 50,000 for activities.
    #[default]
    AsSeen,
    Missing,
    /// A number that has nothing to do with the rows.
    Wrong,
}

/// Why a stream is closed to a token that works elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// 403 with a null detail.
    Forbidden,
    /// 401, word for word as for a dead token.
    Unauthorized,
}

/// What can be turned while the tenant serves.
#[derive(Clone, Debug)]
pub struct Knobs {
    /// New records are shown this much later than they are dated.
    pub visible_after: Duration,
    /// The last page points to one more, which is empty.
    pub extra_empty_page: bool,
    pub totals: Totals,
    /// Answers are compressed for those who accept it.
    pub gzip: bool,
    pub chunked: bool,
    /// `Date` is sent, as every real server does.
    pub date: bool,
    pub closed: HashMap<Kind, Closed>,
    /// Every answer takes this long.
    pub slow: Duration,
    /// No page has more rows, whatever was asked for.
    pub rows_max: usize,
    /// A gateway gives up on pages of more rows: 504.
    pub too_many_rows: usize,
    /// A page with the row of this id is answered with this status; 200: with JSON that breaks in it, 302, 403
    /// and 451: with a web page.
    pub bad_row: Option<(u64, u16)>,
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            visible_after: Duration::ZERO,
            extra_empty_page: false,
            totals: Totals::AsSeen,
            gzip: true,
            chunked: false,
            date: true,
            closed: HashMap::new(),
            slow: Duration::ZERO,
            rows_max: 1_000,
            too_many_rows: usize::MAX,
            bad_row: None,
        }
    }
}

/// One request as it was served.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub method: String,
    pub path: String,
    /// Decoded.
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub connection: u64,
    pub kind: Option<Kind>,
    /// 0: no answer was sent.
    pub status: u16,
    pub rows: usize,
    /// The highest position among the rows.
    pub reached_us: Option<i64>,
}

impl Seen {
    /// Whether it asks for what is new: neither counts nor looks back into a range.
    pub fn polls(&self, kind: Kind) -> bool {
        let looks_back =
            |(name, _): &(String, String)| name == "countOnly" || name.ends_with("__lt");
        self.kind == Some(kind) && !self.query.iter().any(looks_back)
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        super::wire::header(&self.headers, name)
    }
}

/// A token the tenant knows.
#[derive(Clone, Debug)]
struct Token {
    created_us: i64,
    expires_us: i64,
}

pub struct State {
    tables: [Table; 3],
    pub knobs: Knobs,
    pub rules: Rules,
    lies: Lies,
    tokens: HashMap<String, Token>,
    current_token: String,
    sequence: u64,
    last_stamp_us: i64,
    pub seen: Vec<Seen>,
}

impl State {
    fn table(&mut self, kind: Kind) -> &mut Table {
        &mut self.tables[kind as usize]
    }
}

struct Inner {
    name: String,
    clock: Clock,
    ledger: Ledger,
    state: Watched<State>,
}

/// The handle of a test on its tenant; serves until it is dropped.
pub struct Tenant {
    inner: Arc<Inner>,
    pub server: Server,
}

impl Tenant {
    /// `name` is the integration's name: the ledger keeps the streams of each tenant apart.
    pub fn start(name: &str, tls: Option<Arc<ServerConfig>>, ledger: &Ledger) -> Tenant {
        let state = State {
            tables: Kind::ALL.map(Table::new),
            knobs: Knobs::default(),
            rules: Rules::default(),
            lies: Lies::default(),
            tokens: HashMap::new(),
            current_token: String::new(),
            sequence: 1,
            last_stamp_us: 0,
            seen: Vec::new(),
        };
        let inner = Arc::new(Inner {
            name: name.to_string(),
            clock: Clock::default(),
            ledger: ledger.clone(),
            state: Watched::new(state),
        });
        let site = Arc::clone(&inner);
        let tenant = Tenant { inner, server: Server::start(tls, site) };
        tenant.rotate_token(300 * DAY);
        tenant
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Moves the console's clock; tokens live as long as before.
    pub fn set_clock_ahead(&self, us: i64) {
        self.inner.state.change(|state| {
            let before = self.inner.clock.now_us();
            self.inner.clock.set_ahead_us(us);
            let moved = self.inner.clock.now_us() - before;
            for token in state.tokens.values_mut() {
                token.created_us += moved;
                token.expires_us += moved;
            }
        });
    }

    pub fn turn(&self, turn: impl FnOnce(&mut Knobs)) {
        self.inner.state.change(|state| turn(&mut state.knobs));
    }

    /// The next `times` requests of this sort go wrong; `None` is until `heal`.
    pub fn fail(&self, on: On, times: impl Into<Option<u32>>, fault: Fault) {
        let times = times.into();
        self.inner.state.change(|state| state.rules.add(on, times, fault));
    }

    pub fn heal(&self) {
        self.inner.state.change(|state| state.rules.clear());
    }

    /// The next `times` answers that this lie fits tell it; `None` is until `be_honest`.
    pub fn lie(&self, lie: Lie, times: impl Into<Option<u32>>) {
        let times = times.into();
        self.inner.state.change(|state| state.lies.add(lie, times));
    }

    pub fn be_honest(&self) {
        self.inner.state.change(|state| state.lies.clear());
    }

    // Tokens.

    pub fn token(&self) -> String {
        self.inner.state.look(|state| state.current_token.clone())
    }

    /// A new token of eighty characters; every older one is dead from now on.
    pub fn rotate_token(&self, lives_us: i64) -> String {
        self.rotate_to(lives_us, |_, sequence| {
            let letter = |i: u64| {
                let draw = (sequence + 1).wrapping_mul(i + 7).wrapping_mul(0x9e37_79b9) >> 11;
                char::from(
                    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                        [draw as usize % 62],
                )
            };
            (0..80).map(letter).collect()
        })
    }

    /// A new token that is a JWT and tells its own end.
    pub fn rotate_to_jwt(&self, lives_us: i64) -> String {
        self.rotate_to(lives_us, |expires_us, sequence| {
            let part = |json: String| URL_SAFE_NO_PAD.encode(json);
            let head = part(r#"{"alg":"ES256","typ":"JWT"}"#.to_string());
            let exp = expires_us / 1_000_000;
            let claims = part(format!("{{\"sub\":\"service-{sequence}\",\"exp\":{exp}}}"));
            format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode(sequence.to_le_bytes()))
        })
    }

    fn rotate_to(&self, lives_us: i64, make: impl FnOnce(i64, u64) -> String) -> String {
        let now_us = self.inner.clock.now_us();
        self.inner.state.change(|state| {
            state.sequence += 1;
            let token = make(now_us + lives_us, state.sequence);
            let known = Token { created_us: now_us, expires_us: now_us + lives_us };
            state.tokens = HashMap::from([(token.clone(), known)]);
            state.current_token.clone_from(&token);
            token
        })
    }

    pub fn revoke_all_tokens(&self) {
        self.inner.state.change(|state| state.tokens.clear());
    }

    // Records.

    /// Publishes records dated now, each a little later than the one before.
    pub fn publish(&self, kind: Kind, count: usize) -> Vec<u64> {
        self.publish_with(kind, count, |_| {})
    }

    pub fn publish_with(
        &self,
        kind: Kind,
        count: usize,
        mut shape: impl FnMut(&mut Draft),
    ) -> Vec<u64> {
        let now_us = self.inner.clock.now_us();
        self.inner.state.change(|state| {
            let first = (now_us - count as i64).max(state.last_stamp_us + 1);
            state.last_stamp_us = first + count as i64;
            let stamps = (0..count).map(|nth| first + nth as i64);
            self.insert(state, kind, stamps, &mut shape)
        })
    }

    /// Publishes history: records dated evenly from one time to another.
    pub fn publish_between(
        &self,
        kind: Kind,
        count: usize,
        from_us: i64,
        to_us: i64,
        mut shape: impl FnMut(&mut Draft),
    ) -> Vec<u64> {
        let step = (to_us - from_us) / i64::try_from(count.max(1)).unwrap();
        let stamps = (0..count).map(|nth| from_us + step * nth as i64);
        self.inner.state.change(|state| self.insert(state, kind, stamps, &mut shape))
    }

    /// Shows a record with these very bytes, whatever a draft would render today.
    pub fn restore(&self, draft: Draft, raw: &[u8]) {
        let stream = StreamId { tenant: self.inner.name.clone(), kind: draft.kind };
        self.inner.ledger.publish(stream, draft.id, draft.position_us(), raw);
        let row = Row { bytes: raw.into(), draft, visible_at: None };
        self.inner.state.change(|state| state.table(row.draft.kind).insert(row));
    }

    fn insert(
        &self,
        state: &mut State,
        kind: Kind,
        stamps: impl Iterator<Item = i64>,
        shape: &mut impl FnMut(&mut Draft),
    ) -> Vec<u64> {
        let visible_after = state.knobs.visible_after;
        let visible_at = (!visible_after.is_zero()).then(|| Instant::now() + visible_after);
        let mut ids = Vec::new();
        for stamp in stamps {
            state.sequence += 1;
            let mut draft = Draft::new(kind, stamp, state.sequence);
            if kind == Kind::Threats {
                // Position by updatedAt: on insert the two differ by milliseconds at most.
                draft.updated_us = stamp;
            }
            shape(&mut draft);
            let bytes = self.write_down(&draft);
            ids.push(draft.id);
            state.table(kind).insert(Row { draft, bytes, visible_at });
        }
        ids
    }

    /// The console deletes what it created before this, whoever has read it.
    pub fn expire(&self, before_us: i64) {
        self.inner
            .state
            .change(|state| state.tables.iter_mut().for_each(|table| table.expire(before_us)));
    }

    fn write_down(&self, draft: &Draft) -> Arc<[u8]> {
        let bytes: Arc<[u8]> = draft.render().into();
        let stream = StreamId { tenant: self.inner.name.clone(), kind: draft.kind };
        self.inner.ledger.publish(stream, draft.id, draft.position_us(), &bytes);
        bytes
    }

    /// An analyst changes these threats, all in the same microsecond.
    pub fn change_threats(&self, ids: &[u64], change: impl Fn(&mut Draft)) {
        let now_us = self.inner.clock.now_us();
        self.inner.state.change(|state| {
            let stamp = now_us.max(state.last_stamp_us + 1);
            state.last_stamp_us = stamp;
            for id in ids {
                let row = state.table(Kind::Threats).row_of(*id).expect("a known threat");
                let mut draft = Draft { updated_us: stamp, ..row.draft.clone() };
                change(&mut draft);
                let bytes = self.write_down(&draft);
                state.table(Kind::Threats).replace(draft, bytes);
            }
        });
    }

    /// The agent's live state inside a threat moves, and `updatedAt` does not.
    pub fn touch_agent(&self, id: u64) {
        self.inner.state.change(|state| {
            let mut draft = state.table(Kind::Threats).row_of(id).unwrap().draft.clone();
            draft.active_threats += 1;
            let bytes = self.write_down(&draft);
            state.table(Kind::Threats).replace(draft, bytes);
        });
    }

    pub fn publish_shaped(&self, kind: Kind, shape: Shape) -> u64 {
        self.publish_with(kind, 1, |draft| draft.shape = shape.clone())[0]
    }

    /// When the stream's stamp of this record is, as text.
    pub fn stamp_of(&self, kind: Kind, id: u64) -> String {
        let find = |state: &mut State| state.table(kind).row_of(id).unwrap().draft.position_us();
        iso(self.inner.state.change(find))
    }

    // What was seen.

    pub fn seen(&self) -> Vec<Seen> {
        self.inner.state.look(|state| state.seen.clone())
    }

    pub fn requests(&self) -> usize {
        self.inner.state.look(|state| state.seen.len())
    }

    pub fn forget_seen(&self) {
        self.inner.state.change(|state| state.seen.clear());
    }

    /// Waits until the requests served so far satisfy `look`.
    pub fn wait<R>(
        &self,
        within: Duration,
        mut look: impl FnMut(&[Seen]) -> Option<R>,
    ) -> Option<R> {
        self.inner.state.wait(within, |state| look(&state.seen))
    }

    /// Waits for this many more requests that satisfy `count`.
    pub fn wait_for(&self, more: usize, within: Duration, count: impl Fn(&Seen) -> bool) -> bool {
        let before = self.requests();
        self.wait(within, |seen| {
            let new = seen.get(before..).unwrap_or_default();
            (new.iter().filter(|seen| count(seen)).count() >= more).then_some(())
        })
        .is_some()
    }
}
