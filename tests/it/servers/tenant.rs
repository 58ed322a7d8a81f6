//! The tenant, knob by knob.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::support::client::{Client, RawAnswer};
use crate::support::clock::{DAY, HOUR, MINUTE, SECOND, iso};
use crate::support::data::{Kind, Shape, find, snowflake};
use crate::support::fault::{Fault, On, RetryAfter};
use crate::support::ledger::Ledger;
use crate::support::tenant::{Closed, Tenant, Totals};

struct Bench {
    ledger: Ledger,
    tenant: Tenant,
}

impl Bench {
    fn new() -> Bench {
        let ledger = Ledger::default();
        let tenant = Tenant::start("acme", None, &ledger);
        Bench { ledger, tenant }
    }

    fn get(&self, path_and_query: &str) -> RawAnswer {
        let authorization = format!("ApiToken {}", self.tenant.token());
        let target = format!("/web/api/v2.1/{path_and_query}");
        let mut client = Client::plain(&self.tenant.server);
        client.get(&target, &[("Authorization", &authorization)]).unwrap()
    }

    /// Ids of all pages, following the cursor with everything sent again.
    fn walk(&self, path_and_query: &str) -> Vec<String> {
        let mut ids = Vec::new();
        let mut cursor = String::new();
        for _ in 0..1_000 {
            let answer = self.get(&format!("{path_and_query}{cursor}")).json();
            ids.extend(ids_of(&answer));
            match answer["pagination"]["nextCursor"].as_str() {
                Some(next) => {
                    cursor = format!("&cursor={}", utf8_percent_encode(next, NON_ALPHANUMERIC));
                }
                None => return ids,
            }
        }
        panic!("the walk does not end");
    }
}

fn ids_of(page: &Value) -> Vec<String> {
    let id = |row: &Value| {
        let id = row.get("id").or_else(|| row.pointer("/alertInfo/alertId")).unwrap();
        id.as_str().unwrap().to_string()
    };
    page["data"].as_array().unwrap().iter().map(id).collect()
}

fn texts(ids: &[u64]) -> Vec<String> {
    ids.iter().map(u64::to_string).collect()
}

fn detail(answer: &RawAnswer) -> String {
    answer.json()["errors"][0]["detail"].as_str().unwrap_or("null").to_string()
}

#[test]
fn ids_are_snowflakes_of_the_time_of_insertion() {
    let id = snowflake(1_483_228_800_000_000 + 5_000, 7);
    assert_eq!((id >> 23, id & 0x7f_ffff), (5, 7));
    let bench = Bench::new();
    let now_ms = bench.tenant.clock().now_us() / 1_000;
    let id = bench.tenant.publish(Kind::Activities, 1)[0];
    let ms = i64::try_from(id >> 23).unwrap() + 1_483_228_800_000;
    assert!((ms - now_ms).abs() < 5_000);
}

#[test]
fn a_page_has_ten_rows_by_default_and_a_thousand_at_most() {
    let bench = Bench::new();
    bench.tenant.publish(Kind::Activities, 1_200);
    assert_eq!(ids_of(&bench.get("activities").json()).len(), 10);
    assert_eq!(ids_of(&bench.get("activities?limit=1000").json()).len(), 1_000);
    let refused = bench.get("activities?limit=1001");
    assert_eq!(refused.status, 400);
    assert!(detail(&refused).contains("less than or equal to 1000"));
    assert_eq!(bench.get("activities?skip=1001").status, 400);
}

#[test]
fn unknown_parameters_and_sorts_are_refused() {
    let bench = Bench::new();
    let cases = [
        ("activities?updatedAt__gte=2026-01-01T00:00:00Z", "Unknown field"),
        ("threats?createdAt__between=1-2", "Unknown field"),
        ("threats?pageSize=5", "Unknown field"),
        ("activities?sortBy=updatedAt", "is not a valid choice"),
        ("cloud-detection/alerts?sortBy=updatedAt", "is not a valid choice"),
        ("threats?sortOrder=up", "is not a valid choice"),
        ("threats?updatedAt__gte=yesterday", "Not a valid datetime"),
        ("threats?cursor=nonsense", "Invalid cursor"),
    ];
    for (query, says) in cases {
        let answer = bench.get(query);
        assert_eq!(answer.status, 400, "{query}");
        assert!(detail(&answer).contains(says), "{query}: {}", answer.text());
    }
}

#[test]
fn a_walk_brings_every_row_once_in_order_even_when_all_have_one_stamp() {
    let bench = Bench::new();
    let stamp = bench.tenant.clock().now_us() - HOUR;
    let mut ids = bench.tenant.publish_between(Kind::Activities, 2_500, stamp, stamp, |_| {});
    ids.extend(bench.tenant.publish(Kind::Activities, 300));
    let walked = bench.walk("activities?limit=1000&skipCount=true&sortBy=createdAt&sortOrder=asc");
    assert_eq!(walked, texts(&ids));
}

#[test]
fn filters_come_from_the_query_and_not_from_the_cursor() {
    let bench = Bench::new();
    let now = bench.tenant.clock().now_us();
    bench.tenant.publish_between(Kind::Activities, 100, now - HOUR, now, |_| {});
    let from = utf8_percent_encode(&iso(now - HOUR / 2), NON_ALPHANUMERIC).to_string();
    let query = format!("activities?limit=20&sortBy=createdAt&createdAt__gte={from}");
    assert_eq!(bench.walk(&query).len(), 50);
    let first = bench.get("activities?limit=20&sortBy=createdAt").json();
    let cursor = first["pagination"]["nextCursor"].as_str().unwrap();
    let second = bench.get(&format!("{query}&cursor={cursor}")).json();
    assert_eq!(second["data"][0]["createdAt"].as_str().unwrap(), iso(now - HOUR / 2));
    let mixed = bench.get(&format!("activities?sortBy=id&cursor={cursor}"));
    assert_eq!(mixed.status, 400, "a cursor of another sort is invalid");
}

#[test]
fn cursors_are_keysets_with_encoded_padding_and_come_back_in_either_encoding() {
    let bench = Bench::new();
    bench.tenant.publish(Kind::Threats, 40);
    bench.tenant.publish(Kind::Activities, 40);
    let mut padded = 0;
    for list in ["threats?sortBy=updatedAt", "threats?sortBy=id", "activities?sortBy=createdAt"] {
        let page = bench.get(list).json();
        let cursor = page["pagination"]["nextCursor"].as_str().unwrap().to_string();
        assert!(!cursor.contains('='), "{cursor}");
        padded += usize::from(cursor.ends_with("%3D"));
        let twice = utf8_percent_encode(&cursor, NON_ALPHANUMERIC).to_string();
        for form in [cursor, twice] {
            assert_eq!(bench.get(&format!("{list}&cursor={form}")).status, 200);
        }
    }
    assert!(padded > 0, "none of the cursors was padded");
}

#[test]
fn totals_are_as_unreliable_as_the_real_ones() {
    let bench = Bench::new();
    bench.tenant.publish(Kind::Threats, 25);
    let total = |query: &str| bench.get(query).json()["pagination"]["totalItems"].clone();
    assert_eq!(total("threats"), 25);
    assert_eq!(total("threats?skipCount=true"), 0);
    assert_eq!(total("threats?countOnly=true"), 25);
    assert!(bench.get("threats?countOnly=true").json()["data"].as_array().unwrap().is_empty());
    bench.tenant.turn(|knobs| knobs.totals = Totals::Missing);
    assert_eq!(total("threats"), Value::Null);
}

#[test]
fn a_changed_threat_moves_to_the_end_and_is_a_new_version() {
    let bench = Bench::new();
    let ids = bench.tenant.publish(Kind::Threats, 5);
    bench.tenant.change_threats(&ids[1..3], |draft| draft.incident = "resolved");
    let walked = bench.walk("threats?sortBy=updatedAt&sortOrder=asc");
    let order = [ids[0], ids[3], ids[4], ids[1], ids[2]];
    assert_eq!(walked, texts(&order));
    assert_eq!(
        bench.tenant.stamp_of(Kind::Threats, ids[1]),
        bench.tenant.stamp_of(Kind::Threats, ids[2]),
        "a bulk change has one stamp"
    );
    assert_eq!(bench.ledger.balance().published, 5, "replaced versions need not arrive");
    bench.tenant.touch_agent(ids[0]);
    assert_eq!(bench.ledger.balance().published, 5, "live state is no version");
}

#[test]
fn a_record_can_become_visible_after_its_neighbours() {
    let bench = Bench::new();
    bench.tenant.turn(|knobs| knobs.visible_after = Duration::from_secs(3_600));
    let late = bench.tenant.publish(Kind::Activities, 1);
    bench.tenant.turn(|knobs| knobs.visible_after = Duration::ZERO);
    let soon = bench.tenant.publish(Kind::Activities, 2);
    assert_eq!(bench.walk("activities?sortBy=createdAt"), texts(&soon));
    assert!(late[0] < soon[0]);
}

#[test]
fn tokens_rotate_at_once_and_tell_their_end() {
    let bench = Bench::new();
    let old = bench.tenant.token();
    assert_eq!((old.len(), bench.get("system/info").status), (80, 200));
    let new = bench.tenant.rotate_to_jwt(3 * DAY);
    assert_eq!(new.split('.').count(), 3);
    let mut client = Client::plain(&bench.tenant.server);
    let with = |token: &str| format!("ApiToken {token}");
    let info = "/web/api/v2.1/system/info";
    let dead = client.get(info, &[("Authorization", &with(&old))]).unwrap();
    assert_eq!((dead.status, dead.json()["errors"][0]["code"].as_u64()), (401, Some(4_010_010)));
    let details = client
        .exchange(
            "POST",
            "/web/api/v2.1/users/api-token-details",
            &[("Authorization", &with(&new)), ("Content-Type", "application/json")],
            format!("{{\"data\":{{\"apiToken\":\"{new}\"}}}}").as_bytes(),
        )
        .unwrap();
    let end = details.json()["data"]["expiresAt"].as_str().unwrap().to_string();
    let now = bench.tenant.clock().now_us();
    assert!(end > iso(now + 3 * DAY - MINUTE) && end < iso(now + 3 * DAY + MINUTE));
    bench.tenant.rotate_token(-SECOND);
    assert_eq!(bench.get("system/info").status, 401, "an expired token is a dead one");
    bench.tenant.revoke_all_tokens();
    assert_eq!(bench.get("threats").status, 401);
    assert_eq!(client.get("/web/api/v2.1/system/status", &[]).unwrap().status, 200);
}

#[test]
fn one_stream_can_be_closed_while_the_others_go_on() {
    let bench = Bench::new();
    bench.tenant.turn(|knobs| {
        knobs.closed.insert(Kind::Threats, Closed::Forbidden);
        knobs.closed.insert(Kind::Alerts, Closed::Unauthorized);
    });
    let refused = bench.get("threats");
    assert_eq!((refused.status, detail(&refused).as_str()), (403, "null"));
    assert_eq!(bench.get("cloud-detection/alerts").status, 401);
    assert_eq!(bench.get("activities").status, 200);
    assert_eq!(bench.get("system/info").status, 200);
    assert_eq!(bench.get("devices").text(), "404 page not found\n");
}

#[test]
fn faults_come_in_order_and_end() {
    let bench = Bench::new();
    let on = On::Stream(Kind::Threats);
    bench.tenant.fail(on, 1, Fault::too_many(Some(RetryAfter::Seconds(7))));
    bench.tenant.fail(on, 1, Fault::too_many(Some(RetryAfter::Date(Duration::from_secs(9)))));
    bench.tenant.fail(on, 1, Fault::too_many(None));
    bench.tenant.fail(on, 1, Fault::bad_gateway_text());
    bench.tenant.fail(on, 1, Fault::internal_error_spring());
    bench.tenant.fail(on, 1, Fault::html_with_200());
    bench.tenant.fail(on, 1, Fault::DataNull);
    bench.tenant.fail(on, 1, Fault::NoPagination);
    let first = bench.get("threats");
    assert_eq!((first.status, first.header("retry-after")), (429, Some("7")));
    assert!(first.text().starts_with("<html>"));
    assert!(bench.get("threats").header("retry-after").unwrap().ends_with("GMT"));
    assert_eq!(bench.get("threats").header("retry-after"), None);
    assert_eq!(bench.get("threats").text(), "Bad Gateway");
    assert_eq!(bench.get("threats").status, 500);
    let page = bench.get("threats");
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert_eq!(bench.get("threats").json()["data"], Value::Null);
    assert_eq!(bench.get("threats").json().get("pagination"), None);
    assert_eq!(bench.get("threats").json()["data"], serde_json::json!([]));
    let statuses: Vec<u16> = bench.tenant.seen().iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [429, 429, 429, 502, 500, 200, 200, 200, 200]);
}

#[test]
fn a_body_can_be_compressed_chunked_or_cut() {
    let bench = Bench::new();
    bench.tenant.publish_with(Kind::Activities, 200, |draft| draft.size = 2_600);
    bench.tenant.turn(|knobs| knobs.chunked = true);
    let authorization = format!("ApiToken {}", bench.tenant.token());
    let headers = [("Authorization", authorization.as_str()), ("Accept-Encoding", "gzip")];
    let target = "/web/api/v2.1/activities?limit=1000";
    let mut client = Client::plain(&bench.tenant.server);
    let small = client.get(target, &headers).unwrap();
    assert_eq!(small.header("transfer-encoding"), Some("chunked"));
    assert!(small.wire_bytes * 3 < small.body.len(), "{} bytes", small.wire_bytes);
    let plain = client.get(target, &headers[..1]).unwrap();
    assert_eq!((plain.body == small.body, plain.header("content-encoding")), (true, None));
    bench.tenant.fail(On::Anything, 1, Fault::Cut);
    assert!(client.get(target, &headers).unwrap().cut);
}

#[test]
fn the_last_page_can_point_to_an_empty_one() {
    let bench = Bench::new();
    bench.tenant.turn(|knobs| knobs.extra_empty_page = true);
    let ids = bench.tenant.publish(Kind::Threats, 30);
    assert_eq!(bench.walk("threats?limit=10&sortBy=updatedAt"), texts(&ids));
    assert_eq!(bench.tenant.requests(), 4);
}

#[test]
fn odd_records_are_json_and_as_odd_as_they_should_be() {
    let bench = Bench::new();
    for kind in Kind::ALL {
        for shape in [
            Shape::BigNumbers,
            Shape::Typography,
            Shape::Macro(1 << 20),
            Shape::StampText("2026-01-02T03:04:05.25Z"),
            Shape::NoStamp,
            Shape::OddComputer,
        ] {
            bench.tenant.publish_shaped(kind, shape);
        }
    }
    let page = bench.get("threats?limit=100");
    let rows = page.json()["data"].as_array().unwrap().len();
    assert_eq!(rows, 6);
    assert!(page.body.len() > 1 << 20);
    assert!(find(&page.body, b"18446744073709551617").is_some());
    bench.tenant.publish_shaped(Kind::Activities, Shape::BrokenUtf8);
    let page = bench.get("activities?limit=100");
    assert!(String::from_utf8(page.body).is_err());
    assert_eq!(bench.get("cloud-detection/alerts?limit=100").json()["data"][0]["id"], Value::Null);
}

#[test]
fn the_clock_of_the_tenant_can_be_off() {
    let bench = Bench::new();
    bench.tenant.set_clock_ahead(-10 * 365 * DAY);
    let id = bench.tenant.publish(Kind::Activities, 1)[0];
    let date = bench.get("system/info").header("date").unwrap().to_string();
    let stamp = bench.tenant.stamp_of(Kind::Activities, id);
    let year: u32 = stamp[..4].parse().unwrap();
    assert!(date.contains(&year.to_string()), "{date} and {stamp}");
}
