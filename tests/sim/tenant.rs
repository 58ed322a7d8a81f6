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

    pub fn answer(&self, ask: &Ask, now: Stamp, cut_at: Option<usize>, lie: Option<Lie>) -> Answer {
        let body = match ask {
            Ask::Info => r#"{"data":{"build":"1","release":"sim"}}"#.to_owned(),
            Ask::TokenDetails => {
                format!(r#"{{"data":{{"expiresAt":"{}"}}}}"#, now + Span::hours(900))
            }
            Ask::Page(path) => self.page(path, now, lie),
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

    fn page(&self, path: &str, now: Stamp, lie: Option<Lie>) -> String {
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
        let to = time("createdAt__lt");
        let Some(from) = updated.or(created) else {
            return self.older(kind, to.expect("a filter"), now);
        };
        assert!(updated.is_none() || kind == Kind::Threats, "activities have no such filter");
        assert_eq!(value("sortBy").is_none(), value("countOnly").is_some());
        let by_update = updated.is_some();
        let stamp = |row: &Published| if by_update { row.stamp } else { row.created };
        let limit: usize = value("limit").expect("limit is sent").parse().expect("a number");
        let after = value("cursor").map(|cursor| {
            let (stamp, id) = cursor.split_once('-').expect("a cursor of ours");
            (Stamp(stamp.parse().expect("a stamp")), id.parse::<u64>().expect("an id"))
        });
        let mut rows: Vec<&Published> = (self.rows.iter())
            .filter(|row| {
                row.kind == kind
                    && stamp(row) >= from
                    && to.is_none_or(|to| row.created < to)
                    && row.visible <= now
                    && row.hidden_from.is_none_or(|hidden| now < hidden)
                    && after.is_none_or(|after| (stamp(row), row.id) > after)
            })
            .collect();
        if value("countOnly").is_some() {
            let total = match lie {
                None => format!(r#","totalItems":{}"#, rows.len()),
                Some(Lie::Cap) => r#","totalItems":50000"#.to_owned(),
                Some(Lie::Zero) => r#","totalItems":0"#.to_owned(),
                Some(Lie::Nothing) => String::new(),
            };
            return format!(r#"{{"data":[],"pagination":{{"nextCursor":null{total}}}}}"#);
        }
        rows.sort_by_key(|row| (stamp(row), row.id));
        let limit = limit.min(ROWS_MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = match rows.last() {
            Some(last) if more => format!("\"{}-{}\"", stamp(last).0, last.id),
            _ => "null".to_owned(),
        };
        let rows: Vec<&str> = rows.iter().map(|row| row.json.as_str()).collect();
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

pub fn http_date(at: Stamp) -> String {
    let since = std::time::Duration::from_micros(u64::try_from(at.0).expect("after 1970"));
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + since)
}
