//! The requests to SentinelOne: paths and the one body.
//!
//! Promises: only parameters that every console knows, for an unknown one is answered with 400; the
//! whole query is sent again on each page, for the cursor holds none of it. Never: a secret in a
//! path.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::limits;
use crate::record::{Cursor, Kind};
use crate::secret::Secret;
use crate::time::Stamp;

/// Needs a valid token and no permission: tells a dead token from a missing permission.
pub const SYSTEM_INFO_PATH: &str = "/web/api/v2.1/system/info";
/// Tells when a token ends; a POST with `token_details_body`.
pub const TOKEN_DETAILS_PATH: &str = "/web/api/v2.1/users/api-token-details";

/// RFC 3986's unreserved characters stay as they are.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One page of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub kind: Kind,
    /// The earliest stamp asked for.
    pub from: Stamp,
    /// The end, exclusive; only without a cursor.
    pub to: Option<Stamp>,
    pub cursor: Option<&'a Cursor>,
    pub rows_max: u32,
    /// Rows to pass over, at most `SKIP_MAX`; only without a cursor.
    pub skip: u32,
}

/// Path and query of a page. Ascending by the stamp that the walk goes by: a threat that changes
/// during the walk moves to the end and is seen again, never missed.
pub fn page_path(query: &Query<'_>) -> String {
    let (list, field, sort) = match query.kind {
        Kind::Threats => ("threats", "updatedAt", "updatedAt"),
        Kind::Activities => ("activities", "createdAt", "createdAt"),
        // An alert's `createdAt` is the endpoint's and arrives late; `reportedAt` is the console's.
        Kind::Alerts => ("cloud-detection/alerts", "reportedAt", "alertInfoReportedAt"),
    };
    let bound = |bound: &str, stamp: Stamp| {
        let text = stamp.max(Stamp::EPOCH).to_string();
        format!("{field}__{bound}={}", utf8_percent_encode(&text, QUERY))
    };
    let mut path = format!("/web/api/v2.1/{list}?{}", bound("gte", query.from));
    if let Some(to) = query.to {
        path.push_str(&format!("&{}", bound("lt", to)));
    }
    let rows = query.rows_max.clamp(1, limits::PAGE_ROWS_MAX);
    path.push_str(&format!("&sortBy={sort}&sortOrder=asc&limit={rows}&skipCount=true"));
    if query.skip > 0 {
        path.push_str(&format!("&skip={}", query.skip));
    }
    push_cursor(&mut path, query.cursor);
    path
}

/// A list by when SentinelOne created its records, which no later change moves.
#[derive(Clone, Copy, Debug)]
pub struct Created {
    pub kind: Kind,
    pub from: Stamp,
    /// Exclusive.
    pub to: Stamp,
}

/// Path and query that ask how many there are. The answer is in `pagination.totalItems`.
pub fn count_path(created: &Created) -> String {
    format!("{}&limit=1&countOnly=true", created_path(created))
}

/// Path and query that ask how many threats were changed last in a range.
pub fn changed_count_path(from: Stamp, to: Stamp) -> String {
    format!("{}&limit=1&countOnly=true", range_path("threats", "updatedAt", from, to))
}

/// Path and query of a page of them, in the order of their creation.
pub fn created_page_path(created: &Created, cursor: Option<&Cursor>, rows_max: u32) -> String {
    let sort = match created.kind {
        Kind::Threats | Kind::Activities => "createdAt",
        Kind::Alerts => "alertInfoReportedAt",
    };
    let rows_max = rows_max.clamp(1, limits::PAGE_ROWS_MAX);
    let list = created_path(created);
    let mut path = format!("{list}&sortBy={sort}&sortOrder=asc&limit={rows_max}&skipCount=true");
    push_cursor(&mut path, cursor);
    path
}

fn created_path(created: &Created) -> String {
    let (list, field) = match created.kind {
        Kind::Threats => ("threats", "createdAt"),
        Kind::Activities => ("activities", "createdAt"),
        Kind::Alerts => ("cloud-detection/alerts", "reportedAt"),
    };
    range_path(list, field, created.from, created.to)
}

fn range_path(list: &str, field: &str, from: Stamp, to: Stamp) -> String {
    let [from, to] = [from, to].map(|stamp| stamp.max(Stamp::EPOCH).to_string());
    let [from, to] = [&from, &to].map(|text| utf8_percent_encode(text, QUERY));
    format!("/web/api/v2.1/{list}?{field}__gte={from}&{field}__lt={to}")
}

fn push_cursor(path: &mut String, cursor: Option<&Cursor>) {
    if let Some(Cursor(cursor)) = cursor {
        path.push_str("&cursor=");
        path.extend(utf8_percent_encode(cursor, QUERY));
    }
}

/// Path and query of any one record that was created before a time. By creation, for a threat that
/// changes leaves its old `updatedAt`, but no retention spares it for that.
pub fn older_path(kind: Kind, than: Stamp, cursor: Option<&Cursor>) -> String {
    let (list, field, sort) = match kind {
        Kind::Threats => ("threats", "createdAt", "createdAt"),
        Kind::Activities => ("activities", "createdAt", "createdAt"),
        Kind::Alerts => ("cloud-detection/alerts", "reportedAt", "alertInfoReportedAt"),
    };
    let than = than.max(Stamp::EPOCH).to_string();
    let mut path = format!(
        "/web/api/v2.1/{list}?{field}__lt={}&sortBy={sort}&sortOrder=asc&limit=1&skipCount=true",
        utf8_percent_encode(&than, QUERY),
    );
    push_cursor(&mut path, cursor);
    path
}

/// The body that asks when a token ends. It holds the secret: it goes to the socket and nowhere else.
pub fn token_details_body(token: &Secret) -> Vec<u8> {
    let quoted = serde_json::Value::from(token.reveal());
    format!("{{\"data\":{{\"apiToken\":{quoted}}}}}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stream_has_its_own_filter_and_order() {
        let from = Stamp(1_649_149_598_941_691);
        let cursor = Cursor("eyJ4Ijo+MX0%3D=&a".to_owned());
        for (kind, cursor, rows_max, path) in [
            (
                Kind::Threats,
                None,
                1_000,
                "/web/api/v2.1/threats?updatedAt__gte=2022-04-05T09%3A06%3A38.941691Z\
                 &sortBy=updatedAt&sortOrder=asc&limit=1000&skipCount=true",
            ),
            (
                Kind::Activities,
                Some(&cursor),
                5_000,
                "/web/api/v2.1/activities?createdAt__gte=2022-04-05T09%3A06%3A38.941691Z\
                 &sortBy=createdAt&sortOrder=asc&limit=1000&skipCount=true\
                 &cursor=eyJ4Ijo%2BMX0%253D%3D%26a",
            ),
            (
                Kind::Alerts,
                None,
                0,
                "/web/api/v2.1/cloud-detection/alerts\
                 ?reportedAt__gte=2022-04-05T09%3A06%3A38.941691Z\
                 &sortBy=alertInfoReportedAt&sortOrder=asc&limit=1&skipCount=true",
            ),
        ] {
            assert_eq!(page_path(&Query { kind, from, to: None, cursor, rows_max, skip: 0 }), path);
        }
    }

    #[test]
    fn whether_there_is_anything_older_is_asked_by_creation() {
        let than = Stamp(1_649_149_598_941_691);
        let cursor = Cursor("on".to_owned());
        for (kind, path) in [
            (
                Kind::Threats,
                "threats?createdAt__lt=2022-04-05T09%3A06%3A38.941691Z&sortBy=createdAt",
            ),
            (Kind::Alerts, "cloud-detection/alerts?reportedAt__lt=2022-04-05T09%3A06%3A38.941691Z"),
        ] {
            let whole = older_path(kind, than, None);
            assert!(whole.starts_with(&format!("/web/api/v2.1/{path}")), "{whole}");
            assert!(whole.ends_with("&sortOrder=asc&limit=1&skipCount=true"), "{whole}");
            let behind = older_path(kind, than, Some(&cursor));
            assert_eq!(behind, format!("{whole}&cursor=on"));
        }
    }

    #[test]
    fn what_was_created_in_a_range_is_counted_and_listed_by_the_same_filter() {
        let (from, to) = (Stamp::from_seconds(1_649_149_598), Stamp::from_seconds(1_649_153_198));
        for (kind, list, field, sort) in [
            (Kind::Threats, "threats", "createdAt", "createdAt"),
            (Kind::Activities, "activities", "createdAt", "createdAt"),
            (Kind::Alerts, "cloud-detection/alerts", "reportedAt", "alertInfoReportedAt"),
        ] {
            let created = Created { kind, from, to };
            let filter = format!(
                "/web/api/v2.1/{list}?{field}__gte=2022-04-05T09%3A06%3A38.000000Z\
                 &{field}__lt=2022-04-05T10%3A06%3A38.000000Z"
            );
            assert_eq!(count_path(&created), format!("{filter}&limit=1&countOnly=true"));
            let cursor = Cursor("a=".to_owned());
            assert_eq!(
                created_page_path(&created, Some(&cursor), 9_000),
                format!(
                    "{filter}&sortBy={sort}&sortOrder=asc&limit=1000&skipCount=true&cursor=a%3D"
                )
            );
        }
    }

    #[test]
    fn a_start_before_every_record_is_still_a_date() {
        let query = Query {
            kind: Kind::Threats,
            from: Stamp::MIN,
            to: None,
            cursor: None,
            rows_max: 1,
            skip: 0,
        };
        assert!(page_path(&query).contains("updatedAt__gte=1970-01-01T00%3A00%3A00.000000Z&"));
    }

    #[test]
    fn the_body_for_a_tokens_end_is_json_whatever_the_token() {
        let token = Secret::new("ey\"J\\0").unwrap();
        let body: serde_json::Value = serde_json::from_slice(&token_details_body(&token)).unwrap();
        assert_eq!(body, serde_json::json!({"data": {"apiToken": "ey\"J\\0"}}));
    }
}
