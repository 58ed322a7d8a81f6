//! The simulated tenant: publishes records as time goes by and answers queries for them.
//!
//! Promises: the same seed publishes the same records. A record may become visible late, a threat
//! may change, many records may share one stamp; ids and cursors behave as SentinelOne's do.

use s1_coralogix::answer::parse_date;
use s1_coralogix::edge::Ask;
use s1_coralogix::prng::Prng;
use s1_coralogix::record::{Answer, Kind};
use s1_coralogix::time::{Span, Stamp};

use crate::lies::{Lies, is_lacked};

/// One version of one record.
#[derive(Clone, Debug)]
pub struct Published {
    pub kind: Kind,
    pub stamp: Stamp,
    pub id: u64,
    /// The stamp of its first version.
    pub created: Stamp,
    pub visible: Stamp,
    pub json: String,
    /// For threats: a later version hides this one from then on.
    pub hidden_from: Option<Stamp>,
}

pub struct Tenant {
    pub rows: Vec<Published>,
    pub overlap: Span,
}

/// What a tenant tells instead of a count.
#[derive(Clone, Copy, Debug)]
pub enum Lie {
    Cap,
    Zero,
    Nothing,
}

/// What of a page is not as it was asked for.
#[derive(Clone, Debug, Default)]
pub struct PageLies {
    /// A page has no more rows than this; that much is any tenant's right.
    pub rows_max: Option<usize>,
    /// What a new cursor holds as the time it was made.
    pub issued: u64,
    /// How long a cursor lives, in milliseconds.
    pub cursor_lives: Option<u64>,
    pub cursor_refused: bool,
    pub forbidden: bool,
    /// Errors beside empty `data`.
    pub errors: bool,
    /// So many pages without a record, each with a cursor, before the next with some.
    pub blanks: u64,
    /// Those pages hold `{}`.
    pub filled_up: bool,
    /// After so many pages comes the first of them again; 0: never.
    pub period: u64,
    pub order: Order,
    /// All rows, whatever the range.
    pub unfiltered: bool,
    /// A second `data`, without a row.
    pub data_twice: bool,
    /// No cursor, and no answer where more rows than these are asked for.
    pub without_cursor: Option<usize>,
    /// A page that leads on lacks some rows, by this variant.
    pub lacks: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Asked,
    NewestFirst,
    Shuffled,
    /// Each page has the rows it should have, in no order.
    ShuffledWithin,
}

/// Queries end here at the latest; far more than any page of these lives.
const ROWS_MAX: usize = 1_000;

impl Tenant {
    /// Everything this tenant will ever publish, from `start` for `lasting`. `very_late`: whether some
    /// records become visible hours after every poll has passed them.
    pub fn publish(
        prng: &mut Prng,
        start: Stamp,
        lasting: Span,
        overlap: Span,
        very_late: bool,
    ) -> Tenant {
        let mut rows = vec![];
        let mut number = 0;
        for kind in [Kind::Activities, Kind::Threats] {
            let count = 20 + prng.below(60);
            for _ in 0..count {
                let at = start + Span(prng.below(lasting.0));
                let bulk = if prng.chance(5) { 2 + prng.below(30) } else { 1 };
                for _ in 0..bulk {
                    number += 1;
                    let mut row = Published::new(prng, kind, at, number, overlap);
                    // What is created in a stream's first second is not compared.
                    if very_late && at > start + Span::seconds(2) && prng.chance(8) {
                        row.visible = at + overlap + Span(prng.below(20 * 3_600_000));
                    }
                    rows.push(row);
                }
            }
        }
        let changes: Vec<Published> = rows
            .iter()
            .filter(|row| row.kind == Kind::Threats)
            .filter_map(|row| row.changed(prng, start + lasting))
            .collect();
        for change in changes {
            let earlier =
                rows.iter_mut().find(|row| row.kind == Kind::Threats && row.id == change.id);
            earlier.expect("a change is made of a row").hidden_from = Some(change.visible);
            rows.push(change);
        }
        rows.sort_by_key(|row| (row.kind, row.stamp, row.id));
        Tenant { rows, overlap }
    }

    /// Has the stamps in records told as the lies of the life want them.
    pub fn restamp(&mut self, start: Stamp, lies: &mut Lies) {
        for row in &mut self.rows {
            let [stamp, created] = [row.stamp, row.created].map(|made| {
                let made_at = made.since(start).as_ms();
                let told = lies.stamp(made, made_at, row.id);
                let text = lies.stamp_text(told, made_at);
                row.json = row.json.replace(&format!("\"{made}\""), &text);
                told
            });
            (row.stamp, row.created) = (stamp, created);
        }
        self.rows.sort_by_key(|row| (row.kind, row.stamp, row.id));
    }

    pub fn answer(
        &self,
        ask: &Ask,
        now: Stamp,
        cut_at: Option<usize>,
        lie: Option<Lie>,
        lies: &PageLies,
    ) -> Answer {
        let body = match ask {
            Ask::Info => r#"{"data":{"build":"1","release":"sim"}}"#.to_owned(),
            Ask::TokenDetails => {
                format!(r#"{{"data":{{"expiresAt":"{}"}}}}"#, now + Span::hours(900))
            }
            Ask::Page(path) => self.page(path, now, lie, lies),
        };
        let mut body = body.into_bytes();
        if let Some(at) = cut_at {
            body.truncate(at % body.len());
        }
        Answer {
            status: 200,
            sent_date: sent(now),
            content_type: Some("application/json".into()),
            body,
            ..Answer::default()
        }
    }

    /// Any one record whose first version is older.
    fn older(&self, kind: Kind, than: Stamp, now: Stamp, lies: &PageLies) -> String {
        let than = if lies.unfiltered { Stamp::UNREADABLE } else { than };
        let first = |id| self.rows.iter().filter(|row| row.id == id).map(|row| row.stamp).min();
        let found = self.rows.iter().find(|row| {
            row.kind == kind
                && row.visible <= now
                && row.hidden_from.is_none_or(|hidden| now < hidden)
                && first(row.id) < Some(than)
        });
        let json = found.map_or("", |row| row.json.as_str());
        lies.written(json, "null", Some(0))
    }

    fn page(&self, path: &str, now: Stamp, lie: Option<Lie>, lies: &PageLies) -> String {
        let (list, query) = path.split_once('?').expect("a page has a query");
        let kind = match list.rsplit('/').next() {
            Some("threats") => Kind::Threats,
            Some("activities") => Kind::Activities,
            other => panic!("no such list: {other:?}"),
        };
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let found = pairs.into_iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.replace("%3A", ":").replace("%2E", "."))
        };
        let time = |name: &str| {
            value(name).map(|text| Stamp::parse(&text).expect("a filter of ours is a time"))
        };
        let (updated, created) = (time("updatedAt__gte"), time("createdAt__gte"));
        let to = time("createdAt__lt").or(time("updatedAt__lt"));
        let Some(from) = updated.or(created) else {
            return self.older(kind, to.expect("a filter"), now, lies);
        };
        assert!(updated.is_none() || kind == Kind::Threats, "activities have no such filter");
        assert_eq!(value("sortBy").is_none(), value("countOnly").is_some());
        let by_update = updated.is_some();
        let stamp = |row: &Published| if by_update { row.stamp } else { row.created };
        let limit: usize = value("limit").expect("limit is sent").parse().expect("a number");
        let after = value("cursor").map(|cursor| Mark::read(&cursor).expect("a cursor of ours"));
        let order = after.as_ref().map_or(lies.order, |after| after.order);
        let mut rows: Vec<&Published> = (self.rows.iter())
            .filter(|row| {
                let asked = stamp(row) >= from && to.is_none_or(|to| stamp(row) < to);
                row.kind == kind
                    && (asked || lies.unfiltered)
                    && row.visible <= now
                    && row.hidden_from.is_none_or(|hidden| now < hidden)
                    && (after.as_ref())
                        .is_none_or(|after| order.key(stamp(row), row.id) > after.place)
            })
            .collect();
        if value("countOnly").is_some() {
            let total = match lie {
                None => Some(rows.len()),
                Some(Lie::Cap) => Some(50_000),
                Some(Lie::Zero) => Some(0),
                Some(Lie::Nothing) => None,
            };
            return lies.written("", "null", total);
        }
        let blanks = after.as_ref().map_or(0, |after| after.blanks);
        if blanks < lies.blanks {
            let after = after.unwrap_or(Mark::first(order));
            let next = Mark { blanks: blanks + 1, issued: lies.issued, ..after };
            let rows = if lies.filled_up { "{},{}" } else { "" };
            return lies.written(rows, &format!("\"{next}\""), Some(0));
        }
        rows.sort_by_key(|row| order.key(stamp(row), row.id));
        let limit = limit.min(ROWS_MAX).min(lies.rows_max.unwrap_or(ROWS_MAX));
        let skip = value("skip").map_or(0, |skip| skip.parse().expect("a number"));
        assert!(skip <= 1_000 && (skip == 0 || after.is_none()), "no console takes that");
        rows.drain(..rows.len().min(skip));
        let more = rows.len() > limit;
        rows.truncate(limit);
        let end = rows.last().map(|last| order.key(stamp(last), last.id));
        let next = lies.next(after, order, end, more);
        rows.retain(|row| next.is_none() || !lies.lacks_row(row.id));
        let next = next.map_or("null".to_owned(), |next| format!("\"{next}\""));
        if order == Order::ShuffledWithin {
            rows.sort_by_key(|row| Order::Shuffled.key(stamp(row), row.id));
        }
        lies.written(&joined(&rows), &next, Some(0))
    }
}

fn joined(rows: &[&Published]) -> String {
    let rows: Vec<&str> = rows.iter().map(|row| row.json.as_str()).collect();
    rows.join(",")
}

/// Where a row stands in an order.
type PlaceInLine = (i64, u64);

impl Order {
    fn key(self, stamp: Stamp, id: u64) -> PlaceInLine {
        match self {
            Order::Asked | Order::ShuffledWithin => (stamp.0, id),
            Order::NewestFirst => (-stamp.0, id),
            Order::Shuffled => (Prng::new(id ^ stamp.0.unsigned_abs()).below(1 << 40) as i64, id),
        }
    }
}

/// What a cursor of ours holds: the last row that was passed, in the order of its walk.
#[derive(Clone, Debug)]
struct Mark {
    order: Order,
    place: PlaceInLine,
    /// The place of the first cursor of the walk, where a cursor that leads back leads to.
    first: PlaceInLine,
    /// Pages since.
    depth: u64,
    /// Pages without a record that were answered here.
    blanks: u64,
    issued: u64,
}

const ORDERS: [Order; 4] =
    [Order::Asked, Order::NewestFirst, Order::Shuffled, Order::ShuffledWithin];

impl Mark {
    fn first(order: Order) -> Mark {
        let place = (i64::MIN, 0);
        Mark { order, place, first: place, depth: 0, blanks: 0, issued: 0 }
    }

    fn read(cursor: &str) -> Option<Mark> {
        let fields: Vec<i64> = cursor.split('_').filter_map(|field| field.parse().ok()).collect();
        let [order, stamp, id, first_stamp, first_id, depth, blanks, issued] = fields[..] else {
            return None;
        };
        Some(Mark {
            order: ORDERS[order as usize],
            place: (stamp, id as u64),
            first: (first_stamp, first_id as u64),
            depth: depth as u64,
            blanks: blanks as u64,
            issued: issued as u64,
        })
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let order = ORDERS.iter().position(|order| *order == self.order).expect("one of all");
        let [(stamp, id), (first_stamp, first_id)] = [self.place, self.first];
        let (depth, blanks, issued) = (self.depth, self.blanks, self.issued);
        write!(f, "{order}_{stamp}_{id}_{first_stamp}_{first_id}_{depth}_{blanks}_{issued}")
    }
}

impl PageLies {
    /// Whether a gateway gives up on a page of as many rows as were asked for.
    pub fn is_too_long(&self, path: &str) -> bool {
        let limit = path.split("limit=").nth(1).and_then(|rest| rest.split('&').next());
        let limit = limit.map(|limit| limit.parse::<usize>().expect("a number"));
        limit.zip(self.without_cursor).is_some_and(|(limit, most)| limit > most)
    }

    fn lacks_row(&self, id: u64) -> bool {
        self.lacks.is_some_and(|variant| is_lacked(id, variant))
    }

    /// Whether the cursor in a query is refused.
    pub fn refuses_cursor(&self, path: &str) -> bool {
        let cursor = path.split("cursor=").nth(1).and_then(Mark::read);
        let is_old = |mark: Mark| {
            self.cursor_lives.is_some_and(|lives| self.issued.saturating_sub(mark.issued) > lives)
        };
        self.cursor_refused || cursor.is_some_and(is_old)
    }

    /// The cursor on a page that was asked for with `after` and reached `end`.
    fn next(
        &self,
        after: Option<Mark>,
        order: Order,
        end: Option<PlaceInLine>,
        more: bool,
    ) -> Option<Mark> {
        let issued = self.issued;
        let depth = after.as_ref().map_or(0, |after| after.depth);
        if self.period > 0 && depth > 0 && (depth >= self.period || !more) {
            let back = after.expect("a page of some depth had a cursor");
            return Some(Mark { place: back.first, depth: 1, blanks: 0, issued, ..back });
        }
        let place = end.filter(|_| self.without_cursor.is_none() && (more || self.period > 0))?;
        let first = after.filter(|after| after.depth > 0).map_or(place, |after| after.first);
        Some(Mark { order, place, first, depth: depth + 1, blanks: 0, issued })
    }

    /// The answer's body.
    fn written(&self, rows: &str, next: &str, total: Option<usize>) -> String {
        let total = total.map_or(String::new(), |total| format!(r#","totalItems":{total}"#));
        let errors = [
            r#","errors":[{"code":5000010,"detail":"Server could not process the request","title":"Internal Server Error"}]"#,
            r#","error":"Server could not process the request""#,
            r#","status":"error""#,
            r#","success":false"#,
        ][(self.issued % 4) as usize];
        let (rows, next, errors) =
            if self.errors { ("", "null", errors) } else { (rows, next, "") };
        let again = if self.data_twice { r#","data":[]"# } else { "" };
        format!(r#"{{"data":[{rows}],"pagination":{{"nextCursor":{next}{total}}}{errors}{again}}}"#)
    }
}

impl Published {
    fn new(prng: &mut Prng, kind: Kind, at: Stamp, number: u64, overlap: Span) -> Published {
        let id = 1_000_000_000_000_000_000 + number;
        // Most are visible at once; some only after a while, but within the overlap.
        let late = if prng.chance(10) { prng.below(overlap.0 * 9 / 10) } else { prng.below(50) };
        Published {
            kind,
            stamp: at,
            id,
            created: at,
            visible: at + Span(late),
            json: json(prng, kind, id, at, at),
            hidden_from: None,
        }
    }

    /// A later version of a threat.
    fn changed(&self, prng: &mut Prng, end: Stamp) -> Option<Published> {
        if !prng.chance(30) {
            return None;
        }
        let at = self.stamp + Span(1 + prng.below(end.since(self.stamp).0.max(1)));
        Some(Published {
            stamp: at,
            // A threat that can't be seen yet is not seen changed either.
            visible: at.max(self.visible),
            json: json(prng, self.kind, self.id, at, self.created),
            ..self.clone()
        })
    }

    /// So late that no poll finds it.
    pub fn is_very_late(&self, overlap: Span) -> bool {
        self.visible.since(self.stamp) >= overlap
    }

    pub fn is_late(&self) -> bool {
        self.visible.since(self.stamp) > Span::ms(50)
    }

    /// Whether its stamp was in the future when it became visible.
    pub fn is_ahead(&self) -> bool {
        self.stamp.since(self.visible) > Span::minutes(1)
    }
}

fn json(prng: &mut Prng, kind: Kind, id: u64, at: Stamp, created: Stamp) -> String {
    let filler = "x\\u00e9\\\"y".repeat(prng.below(40) as usize);
    let big = 9_007_199_254_740_993 + prng.below(1_000_000);
    match kind {
        Kind::Threats => format!(
            r#"{{"agentRealtimeInfo":{{"agentComputerName":"pc-{}"}},"id":"{id}","threatInfo":{{"confidenceLevel":"malicious","createdAt":"{created}","mitigationStatus":"mitigated","threatId":"{id}","updatedAt":"{at}"}},"n":{big},"f":"{filler}"}}"#,
            id % 7
        ),
        _ => format!(
            r#"{{"activityType":{},"createdAt":"{at}","data":{{"scopeId":{big},"t":"{filler}"}},"id":"{id}"}}"#,
            prng.below(5_000)
        ),
    }
}

/// The time as a service sends it and the program reads it.
pub fn sent(at: Stamp) -> Option<Stamp> {
    parse_date(Some(&http_date(at)))
}

pub fn http_date(at: Stamp) -> String {
    let since = std::time::Duration::from_micros(u64::try_from(at.0).expect("after 1970"));
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + since)
}
