//! The ingress, knob by knob.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::client::{Client, RawAnswer};
use crate::support::clock::{DAY, HOUR, iso};
use crate::support::data::Kind;
use crate::support::fault::{Fault, On, RetryAfter};
use crate::support::http::After;
use crate::support::ingress::{AgeRule, Ingress, Key, LongRule, Measured, Rejection};
use crate::support::ledger::{Ledger, StreamId};

const SINGLES: &str = "/logs/v1/singles";

struct Bench {
    ledger: Ledger,
    ingress: Ingress,
}

impl Bench {
    fn new() -> Bench {
        let ledger = Ledger::default();
        let ingress = Ingress::start(None, &ledger);
        Bench { ledger, ingress }
    }

    fn publish(&self, count: u64) -> Vec<String> {
        let stream = StreamId { tenant: "acme".to_string(), kind: Kind::Activities };
        (0..count)
            .map(|id| {
                let text = format!("{{\"id\":\"{id}\"}}");
                self.ledger.publish(stream.clone(), id, id as i64, text.as_bytes());
                text
            })
            .collect()
    }

    fn entry(&self, text: &str) -> Value {
        let ms = self.ingress.clock().now_us() as f64 / 1_000.0;
        json!({"timestamp": ms, "applicationName": "acme", "subsystemName": "SentinelOne",
            "severity": 3, "category": "activities", "text": text})
    }

    fn post(&self, body: &Value) -> RawAnswer {
        self.send(&[("Content-Encoding", "gzip")], &gzip(body.to_string().as_bytes())).unwrap()
    }

    fn send(&self, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<RawAnswer> {
        let key = format!("Bearer {}", self.ingress.key());
        let mut all = vec![("Authorization", key.as_str()), ("Content-Type", "application/json")];
        all.extend_from_slice(headers);
        Client::plain(&self.ingress.server).exchange("POST", SINGLES, &all, body)
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_batch_is_taken_and_compared_with_what_was_published() {
    let bench = Bench::new();
    let texts = bench.publish(3);
    let mut batch: Vec<Value> = texts.iter().map(|text| bench.entry(text)).collect();
    batch.push(bench.entry("{\"id\": \"0\"}"));
    batch.push(batch[0].clone());
    assert_eq!(bench.post(&Value::Array(batch)).status, 200);
    let balance = bench.ledger.balance();
    assert_eq!(
        (balance.delivered, balance.lost, balance.duplicates, balance.changed),
        (3, 0, 1, 1),
        "{balance}"
    );
    let stored = bench.ingress.stored();
    assert_eq!(stored.len(), 5);
    assert_eq!((&*stored[0].application, stored[0].severity, stored[0].request), ("acme", 3, 1));
    assert!(stored[0].stamped && stored[0].published == Some(0));
}

#[test]
fn order_within_a_stream_is_watched() {
    let bench = Bench::new();
    let texts = bench.publish(3);
    let batch: Vec<Value> = [2, 0, 1].iter().map(|nth| bench.entry(&texts[*nth])).collect();
    bench.post(&Value::Array(batch));
    assert_eq!(bench.ledger.balance().out_of_order, 2);
}

#[test]
fn keys_are_known_unknown_or_of_the_wrong_kind() {
    let bench = Bench::new();
    let ask = |authorization: &str| {
        let headers = [("authorization", authorization), ("Content-Type", "application/json")];
        let mut client = Client::plain(&bench.ingress.server);
        client.exchange("POST", SINGLES, &headers, b"[]").unwrap().status
    };
    bench.ingress.turn(|knobs| {
        knobs.keys.insert("personal".to_string(), Key::Forbidden);
    });
    let good = bench.ingress.key();
    assert_eq!(ask(&format!("Bearer {good}")), 200);
    assert_eq!((ask("Bearer unknown"), ask("Bearer personal"), ask("Basic x")), (401, 403, 401));
    bench.ingress.accept_only_key("second");
    assert_eq!((ask(&format!("Bearer {good}")), ask("Bearer second")), (401, 200));
}

#[test]
fn paths_and_methods_are_few() {
    let bench = Bench::new();
    let mut client = Client::plain(&bench.ingress.server);
    assert_eq!(client.get(SINGLES, &[]).unwrap().status, 405);
    assert_eq!(client.get("/", &[]).unwrap().status, 404);
    assert_eq!(client.exchange("POST", "/logs/v2/x", &[], b"").unwrap().status, 404);
    let ticks: i64 = client.get("/sdk/v1/time", &[]).unwrap().text().parse().unwrap();
    assert!((ticks / 10 - bench.ingress.clock().now_us()).abs() < 60_000_000);
}

#[test]
fn the_six_size_limits() {
    for limit in [2_000_000, 2_097_152, 10_485_760] {
        for measured in [Measured::OnTheWire, Measured::Inflated] {
            let bench = Bench::new();
            bench.ingress.turn(|knobs| knobs.size_limit = Some((limit, measured)));
            let body = |over: usize| {
                let text = "x".repeat(limit - 200 + over);
                let mut json = json!([bench.entry(&text)]).to_string();
                json.push_str(&" ".repeat((limit + over).saturating_sub(json.len())));
                json.truncate(limit + over);
                json.into_bytes()
            };
            // Stored blocks keep the wire as long as the text.
            let status = |over| bench.send(&[], &body(over)).unwrap().status;
            assert_eq!((status(0), status(1)), (200, 413), "{limit} {measured:?}");
            let packed = bench.send(&[("Content-Encoding", "gzip")], &gzip(&body(1))).unwrap();
            let expected = if measured == Measured::OnTheWire { 200 } else { 413 };
            assert_eq!(packed.status, expected, "{limit} {measured:?}");
        }
    }
}

#[test]
fn the_three_age_rules() {
    let now = Bench::new().ingress.clock().now_us();
    for (rule, kept) in [(AgeRule::Keep, 3), (AgeRule::Drop, 1), (AgeRule::Restamp, 3)] {
        let bench = Bench::new();
        bench.ingress.turn(|knobs| knobs.age = rule);
        let texts = bench.publish(3);
        let mut batch: Vec<Value> = texts.iter().map(|text| bench.entry(text)).collect();
        batch[0]["timestamp"] = json!((now - DAY - HOUR) / 1_000);
        batch[1]["timestamp"] = json!((now + 5 * HOUR) / 1_000);
        let answer = bench.post(&Value::Array(batch));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text().contains("not accepted"), rule == AgeRule::Drop);
        assert_eq!(bench.ledger.balance().delivered, kept, "{rule:?}");
        let stamp = bench.ingress.stored()[0].stamp_us;
        if rule != AgeRule::Keep {
            assert!((stamp - now).abs() < HOUR, "{rule:?}: {}", iso(stamp));
        }
    }
}

#[test]
fn times_come_in_every_unit_or_not_at_all() {
    let bench = Bench::new();
    let us: i64 = bench.ingress.clock().now_us() / 1_000 * 1_000 + 342;
    let forms = [
        json!(format!("{}", us / 1_000)),
        json!(us as f64 / 1_000.0),
        json!(us),
        json!(format!("{us}000")),
        Value::Null,
    ];
    let texts = bench.publish(5);
    for (form, text) in forms.iter().zip(&texts) {
        let mut entry = bench.entry(text);
        entry["timestamp"] = form.clone();
        bench.post(&json!([entry]));
    }
    let stored = bench.ingress.stored();
    let stamps: Vec<i64> = stored[..4].iter().map(|stored| us - stored.stamp_us).collect();
    assert_eq!(stamps, [342, 0, 0, 0]);
    assert!(!stored[4].stamped && stored[4].stamp_us == stored[4].received_us);
}

#[test]
fn a_poisoned_entry_costs_its_batch_or_only_itself() {
    for (rejection, status, taken) in [(Rejection::Batch, 400, 0), (Rejection::Entry, 200, 2)] {
        let bench = Bench::new();
        bench.ingress.turn(|knobs| {
            knobs.rejection = rejection;
            knobs.poison = Some(Arc::new(|text| text.contains("\"1\"")));
        });
        let texts = bench.publish(3);
        let batch: Vec<Value> = texts.iter().map(|text| bench.entry(text)).collect();
        assert_eq!(bench.post(&Value::Array(batch)).status, status);
        assert_eq!(bench.ledger.balance().delivered, taken);
        let mut nameless = bench.entry(&texts[0]);
        nameless.as_object_mut().unwrap().remove("subsystemName");
        assert_eq!(bench.post(&json!([nameless])).status, status);
        assert!(bench.ingress.look(|state| state.complaints[0].contains("subsystemName")));
    }
}

#[test]
fn severities_that_are_none_are_dropped_and_absent_ones_are_debug() {
    let bench = Bench::new();
    let texts = bench.publish(3);
    let mut batch: Vec<Value> = texts.iter().map(|text| bench.entry(text)).collect();
    batch[0]["severity"] = json!(7);
    batch[1]["severity"] = json!("high");
    batch[2].as_object_mut().unwrap().remove("severity");
    bench.post(&Value::Array(batch));
    let stored = bench.ingress.stored();
    assert_eq!((stored.len(), stored[0].severity), (1, 1));
    assert_eq!(bench.ingress.look(|state| state.dropped), 2);
}

#[test]
fn long_records_are_kept_cut_or_dropped() {
    for (rule, entries, delivered) in
        [(LongRule::Keep, 1, 1), (LongRule::Cut, 1, 0), (LongRule::Drop, 0, 0)]
    {
        let bench = Bench::new();
        bench.ingress.turn(|knobs| knobs.long = rule);
        let text = format!("{{\"id\":\"1\",\"x\":\"{}\"}}", "y".repeat(40_000));
        let stream = StreamId { tenant: "acme".to_string(), kind: Kind::Threats };
        bench.ledger.publish(stream, 1, 1, text.as_bytes());
        bench.post(&json!([bench.entry(&text)]));
        let balance = bench.ledger.balance();
        assert_eq!((bench.ingress.stored().len(), balance.delivered), (entries, delivered));
    }
}

#[test]
fn only_whole_single_gzip_members_are_read() {
    let bench = Bench::new();
    let encoded = [("Content-Encoding", "gzip")];
    let mut two = gzip(b"[");
    two.extend(gzip(b"]"));
    assert_eq!(bench.send(&encoded, &two).unwrap().status, 400);
    assert_eq!(bench.send(&encoded, b"[]").unwrap().status, 400);
    assert_eq!(bench.send(&[("Content-Encoding", "zstd")], b"[]").unwrap().status, 415);
    assert_eq!(bench.send(&[], b"{\"text\":1}").unwrap().status, 400);
    assert_eq!(bench.send(&encoded, &gzip(b"[]")).unwrap().status, 200);
    bench.ingress.turn(|knobs| knobs.takes_empty = false);
    assert_eq!(bench.send(&encoded, &gzip(b"[]")).unwrap().status, 400);
    assert_eq!(bench.ingress.look(|state| state.complaints.len()), 3);
}

#[test]
fn faults_before_and_after_the_batch_is_taken() {
    let bench = Bench::new();
    let texts = bench.publish(1);
    let batch = json!([bench.entry(&texts[0])]);
    let body = batch.to_string();
    for (fault, taken) in [
        (Fault::LostReply, true),
        (Fault::LostReplyByReset, true),
        (Fault::Close, false),
        (Fault::Reset, false),
        (Fault::ResetBeforeBody, false),
    ] {
        bench.ingress.fail(On::Singles, 1, fault.clone());
        assert!(bench.send(&[], body.as_bytes()).is_err(), "{fault:?}");
        assert_eq!(bench.ingress.got().pop().unwrap().taken, taken, "{fault:?}");
    }
    assert_eq!(bench.ledger.balance().duplicates, 1);
    let busy = Fault::unavailable(Some(RetryAfter::Date(Duration::from_secs(5))));
    bench.ingress.fail(On::Singles, 1, busy);
    let refused = bench.post(&batch);
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").unwrap().ends_with("GMT"));
    bench.ingress.fail(On::Singles, 1, Fault::Remark("not all logs were accepted"));
    assert_eq!(bench.post(&batch).text(), "not all logs were accepted");
    let elsewhere = Fault::Redirect { status: 301, to: "https://example.invalid/".to_string() };
    bench.ingress.fail(On::Singles, 1, elsewhere);
    assert_eq!(bench.post(&batch).header("location"), Some("https://example.invalid/"));
}

#[test]
fn a_kept_connection_can_be_closed_or_reset_on_reuse() {
    for after in [After::CloseQuietly, After::ResetOnReuse] {
        let bench = Bench::new();
        bench.ingress.fail(On::Anything, 1, Fault::Then(after));
        let mut client = Client::plain(&bench.ingress.server);
        assert_eq!(client.get("/sdk/v1/time", &[]).unwrap().status, 200);
        assert!(client.get("/sdk/v1/time", &[]).is_err(), "{after:?}");
        assert_eq!(bench.ingress.requests(), 1);
    }
}
