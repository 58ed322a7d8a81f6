//! The tenant's lies, one by one.

use std::time::Duration;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::clock::{DAY, HOUR, http_date};
use crate::support::data::Kind;
use crate::support::ledger::Ledger;
use crate::support::tenant::Tenant;
use crate::support::tenant::lie::{AT_THE_END, Asked, Lie};
use crate::support::tenant::query::Order;

const WALK: &str = "activities?limit=10&sortBy=createdAt&sortOrder=asc";

struct Bench {
    tenant: Tenant,
    ids: Vec<String>,
}

impl Bench {
    fn new(records: usize) -> Bench {
        let tenant = Tenant::start("acme", None, &Ledger::default());
        let now = tenant.clock().now_us();
        let ids = tenant.publish_between(Kind::Activities, records, now - HOUR, now, |_| {});
        Bench { tenant, ids: ids.iter().map(u64::to_string).collect() }
    }

    fn get(&self, query: &str) -> Value {
        let authorization = format!("ApiToken {}", self.tenant.token());
        let mut client = Client::plain(&self.tenant.server);
        let path = format!("/web/api/v2.1/{query}");
        client.get(&path, &[("Authorization", &authorization)]).unwrap().json()
    }

    fn date(&self) -> String {
        let mut client = Client::plain(&self.tenant.server);
        let answer = client.get("/web/api/v2.1/system/status", &[]).unwrap();
        answer.header("date").unwrap().to_string()
    }

    /// The ids of each page, for at most so many pages.
    fn pages(&self, query: &str, most: usize) -> Vec<Vec<String>> {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        while pages.len() < most {
            let page = self.get(&format!("{query}{cursor}"));
            let rows = page["data"].as_array().unwrap();
            pages.push(
                rows.iter().filter_map(|row| Some(row["id"].as_str()?.to_string())).collect(),
            );
            match page["pagination"]["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        pages
    }
}

#[test]
fn a_date_lies_as_often_as_was_asked_for() {
    let bench = Bench::new(0);
    bench.tenant.lie(Lie::DateIs(0), 1);
    bench.tenant.lie(Lie::DateAhead(4_000 * DAY), None);
    assert_eq!(bench.date(), http_date(0));
    let year = |date: String| date.split(' ').nth(3).unwrap().parse::<u32>().unwrap();
    let (ahead, again) = (year(bench.date()), year(bench.date()));
    bench.tenant.be_honest();
    assert!(ahead == again && year(bench.date()) + 9 < ahead);
}

#[test]
fn empty_pages_stand_before_the_true_ones() {
    let bench = Bench::new(25);
    let sizes = |most| bench.pages(WALK, most).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(9), [10, 10, 5]);
    bench.tenant.lie(Lie::EmptyPages { before: Asked::First, count: 2, data: "{}" }, None);
    assert_eq!(sizes(9), [0, 0, 10, 10, 5]);
    assert_eq!(bench.get(WALK)["data"], serde_json::json!([{}]));
    bench.tenant.be_honest();
    bench.tenant.lie(Lie::EmptyPages { before: Asked::Later, count: 1, data: "" }, None);
    assert_eq!(sizes(9), [10, 0, 10, 0, 5]);
    bench.tenant.be_honest();
    bench.tenant.lie(Lie::EmptyPages { before: Asked::Later, count: u32::MAX, data: "" }, None);
    assert_eq!(sizes(9), [10, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_walk_leads_back_by_its_period() {
    let bench = Bench::new(40);
    let first = |page, period| {
        bench.tenant.be_honest();
        bench.tenant.lie(Lie::LeadsBack { page, period }, None);
        let pages = bench.pages(WALK, 7);
        let at = |page: &Vec<String>| bench.ids.iter().position(|id| *id == page[0]).unwrap() / 10;
        pages.iter().map(at).collect::<Vec<_>>()
    };
    assert_eq!(first(AT_THE_END, 1), [0, 1, 2, 3, 3, 3, 3]);
    assert_eq!(first(AT_THE_END, 2), [0, 1, 2, 3, 2, 3, 2]);
    assert_eq!(first(AT_THE_END, 9), [0, 1, 2, 3, 0, 1, 2]);
    assert_eq!(first(2, 1), [0, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn another_order_holds_over_all_pages() {
    let bench = Bench::new(25);
    bench.tenant.lie(Lie::Ordered(Order::Descending), None);
    let mut down = bench.pages(WALK, 9).concat();
    down.reverse();
    assert_eq!(down, bench.ids);
    bench.tenant.be_honest();
    bench.tenant.lie(Lie::Ordered(Order::Shuffled), None);
    let mut shuffled = bench.pages(WALK, 9).concat();
    assert_ne!(shuffled, bench.ids);
    shuffled.sort();
    assert_eq!(shuffled, bench.ids);
}

#[test]
fn a_filter_is_ignored_for_walks_or_for_ranges() {
    let bench = Bench::new(5);
    let rows = |query: &str| bench.get(query)["data"].as_array().unwrap().len();
    let total = |query: &str| bench.get(query)["pagination"]["totalItems"].as_u64().unwrap();
    let walk = "activities?createdAt__gte=2100-01-01T00:00:00Z";
    let range = "activities?createdAt__lt=2001-01-01T00:00:00Z";
    let count = format!("{range}&countOnly=true");
    assert_eq!((rows(walk), rows(range), total(&count)), (0, 0, 0));
    bench.tenant.lie(Lie::FilterIgnored(Asked::Polls), None);
    assert_eq!((rows(walk), rows(range), total(&count)), (5, 0, 0));
    bench.tenant.be_honest();
    bench.tenant.lie(Lie::FilterIgnored(Asked::Ranges), None);
    assert_eq!((rows(walk), rows(range), total(&count)), (0, 5, 5));
}

#[test]
fn a_cursor_expires() {
    let bench = Bench::new(25);
    bench.tenant.lie(Lie::CursorsExpire(Duration::ZERO), None);
    let cursor = bench.get(WALK)["pagination"]["nextCursor"].as_str().unwrap().to_string();
    let refused = bench.get(&format!("{WALK}&cursor={}", cursor.replace('%', "%25")));
    assert_eq!(refused["errors"][0]["code"], 4_000_010);
    bench.tenant.be_honest();
    bench.tenant.lie(Lie::CursorsExpire(Duration::from_secs(3_600)), None);
    assert_eq!(bench.pages(WALK, 9).len(), 3);
}
