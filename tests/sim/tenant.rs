//! The simulated tenant: publishes records as time goes by and answers queries for them.
//!
//! Promises: the same seed publishes the same records. A record may become visible late, a threat
//! may change, many records may share one stamp; ids and cursors behave as SentinelOne's do.

use s1_coralogix::edge::Ask;
use s1_coralogix::prng::Prng;
use s1_coralogix::record::{Answer, Kind};
use s1_coralogix::time::{Span, Stamp};

/// One version of one record.
#[derive(Clone, Debug)]
pub struct Published {
    pub kind: Kind,
    pub stamp: Stamp,
    pub id: u64,
    pub visible: Stamp,
    pub json: String,
    /// For threats: a later version hides this one from then on.
    pub hidden_from: Option<Stamp>,
}

pub struct Tenant {
    pub rows: Vec<Published>,
}

/// Queries end here at the latest; far more than any page of these lives.
const ROWS_MAX: usize = 1_000;

impl Tenant {
    /// Everything this tenant will ever publish, from `start` for `lasting`.
    pub fn publish(prng: &mut Prng, start: Stamp, lasting: Span, overlap: Span) -> Tenant {
        let mut rows = vec![];
        let mut number = 0;
        for kind in [Kind::Activities, Kind::Threats] {
            let count = 20 + prng.below(60);
            for _ in 0..count {
                let at = start + Span(prng.below(lasting.0));
                let bulk = if prng.chance(5) { 2 + prng.below(30) } else { 1 };
                for _ in 0..bulk {
                    number += 1;
                    rows.push(Published::new(prng, kind, at, number, overlap));
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
        Tenant { rows }
    }

    pub fn answer(&self, ask: &Ask, now: Stamp, cut_at: Option<usize>) -> Answer {
        let body = match ask {
            Ask::Info => r#"{"data":{"build":"1","release":"sim"}}"#.to_owned(),
            Ask::TokenDetails => {
                format!(r#"{{"data":{{"expiresAt":"{}"}}}}"#, now + Span::hours(900))
            }
            Ask::Page(path) => self.page(path, now),
        };
        let mut body = body.into_bytes();
        if let Some(at) = cut_at {
            body.truncate(at % body.len());
        }
        Answer {
            status: 200,
            date: Some(http_date(now)),
            content_type: Some("application/json".into()),
            body,
            ..Answer::default()
        }
    }

    /// Any one record whose first version is older.
    fn older(&self, kind: Kind, than: Stamp, now: Stamp) -> String {
        let first = |id| self.rows.iter().filter(|row| row.id == id).map(|row| row.stamp).min();
        let found = self.rows.iter().find(|row| {
            row.kind == kind
                && row.visible <= now
                && row.hidden_from.is_none_or(|hidden| now < hidden)
                && first(row.id) < Some(than)
        });
        let json = found.map_or("", |row| row.json.as_str());
        format!(r#"{{"data":[{json}],"pagination":{{"nextCursor":null,"totalItems":0}}}}"#)
    }

    fn page(&self, path: &str, now: Stamp) -> String {
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
        if let Some(than) = value("createdAt__lt") {
            return self.older(kind, Stamp::parse(&than).expect("a time"), now);
        }
        let filter = if kind == Kind::Threats { "updatedAt__gte" } else { "createdAt__gte" };
        let from = Stamp::parse(&value(filter).expect("the filter is sent on every page"));
        let from = from.expect("the filter is a time");
        let limit: usize = value("limit").expect("limit is sent").parse().expect("a number");
        let after = value("cursor").map(|cursor| {
            let (stamp, id) = cursor.split_once('-').expect("a cursor of ours");
            (Stamp(stamp.parse().expect("a stamp")), id.parse::<u64>().expect("an id"))
        });
        let visible = self.rows.iter().filter(|row| {
            row.kind == kind
                && row.stamp >= from
                && row.visible <= now
                && row.hidden_from.is_none_or(|hidden| now < hidden)
                && after.is_none_or(|after| (row.stamp, row.id) > after)
        });
        let mut visible: Vec<&Published> = visible.take(limit.min(ROWS_MAX) + 1).collect();
        let more = visible.len() > limit;
        visible.truncate(limit);
        let next = match visible.last() {
            Some(last) if more => format!("\"{}-{}\"", last.stamp.0, last.id),
            _ => "null".to_owned(),
        };
        let rows: Vec<&str> = visible.iter().map(|row| row.json.as_str()).collect();
        format!(
            r#"{{"data":[{}],"pagination":{{"nextCursor":{next},"totalItems":0}}}}"#,
            rows.join(",")
        )
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
            visible: at + Span(late),
            json: json(prng, kind, id, at),
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
            visible: at,
            json: json(prng, self.kind, self.id, at),
            ..self.clone()
        })
    }

    pub fn is_late(&self) -> bool {
        self.visible.since(self.stamp) > Span::ms(50)
    }
}

fn json(prng: &mut Prng, kind: Kind, id: u64, at: Stamp) -> String {
    let filler = "x\\u00e9\\\"y".repeat(prng.below(40) as usize);
    let big = 9_007_199_254_740_993 + prng.below(1_000_000);
    match kind {
        Kind::Threats => format!(
            r#"{{"agentRealtimeInfo":{{"agentComputerName":"pc-{}"}},"id":"{id}","threatInfo":{{"confidenceLevel":"malicious","mitigationStatus":"mitigated","threatId":"{id}","updatedAt":"{at}"}},"n":{big},"f":"{filler}"}}"#,
            id % 7
        ),
        _ => format!(
            r#"{{"activityType":{},"createdAt":"{at}","data":{{"scopeId":{big},"t":"{filler}"}},"id":"{id}"}}"#,
            prng.below(5_000)
        ),
    }
}

pub fn http_date(at: Stamp) -> String {
    let since = std::time::Duration::from_micros(u64::try_from(at.0).expect("after 1970"));
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + since)
}
