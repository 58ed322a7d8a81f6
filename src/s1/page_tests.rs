//! Tests of the page scanner: shapes that were seen, drift, cuts, and agreement with a real parser.

use serde_json::Value;

use super::*;
use crate::prng::Prng;

const THREAT: &str = r#"{"agentDetectionInfo":{"siteId":"225494730938493915"},"agentRealtimeInfo":{"agentComputerName":"LAPTOP\u2019S","id":"1"},"id":"1056789012345678901","indicators":[{"ids":[43]}],"mitigationStatus":[{"status":"success"}],"threatInfo":{"analystVerdict":"undefined","confidenceLevel":"malicious","createdAt":"2026-03-01T10:00:00.000001Z","incidentStatus":"unresolved","mitigationStatus":"not_mitigated","threatId":"1056789012345678901","updatedAt":"2026-03-01T10:00:00.000002Z"}}"#;
const ACTIVITY: &str = r#"{"activityType":3608,"createdAt":"2026-03-01T10:00:00.25Z","data":{"scopeId":1392053568582758390,"severity":"E_HIGH","origagentname":"host-a","note":"a \"}]\\"},"id":"1056789012345678902"}"#;
const ALERT: &str = r#"{"agentDetectionInfo":{"name":"srv-1"},"alertInfo":{"alertId":"1056789012345678903","createdAt":"2026-03-01T09:59:58Z","reportedAt":"2026-03-01T10:00:00Z"},"ruleInfo":{"severity":"Critical"}}"#;

fn page_of(records: &[&str]) -> String {
    format!(
        r#"{{"data":[{}],"pagination":{{"nextCursor":"eyJ9%3D%3D","totalItems":0}}}}"#,
        records.join(",")
    )
}

fn only_row(record: &str, kind: Kind) -> (String, Row) {
    let body = page_of(&[record]);
    let page = scan(body.as_bytes(), kind).unwrap();
    assert_eq!(page.rows.len(), 1);
    (body, page.rows[0].clone())
}

#[test]
fn each_kind_of_record_is_read_at_its_own_places() {
    for (kind, record, stamp, id, severity, computer) in [
        (
            Kind::Threats,
            THREAT,
            "2026-03-01T10:00:00.000002Z",
            1_056_789_012_345_678_901,
            6,
            r#""LAPTOP\u2019S""#,
        ),
        (
            Kind::Activities,
            ACTIVITY,
            "2026-03-01T10:00:00.25Z",
            1_056_789_012_345_678_902,
            5,
            r#""host-a""#,
        ),
        (Kind::Alerts, ALERT, "2026-03-01T10:00:00Z", 1_056_789_012_345_678_903, 6, r#""srv-1""#),
    ] {
        let (body, row) = only_row(record, kind);
        assert_eq!(&body[row.range.clone()], record);
        assert_eq!(row.key, RowKey { stamp: Stamp::parse(stamp).unwrap(), id });
        assert!(row.stamped && !row.long);
        assert_eq!(row.severity, severity);
        assert_eq!(row.computer.map(|token| body[token].to_owned()), Some(computer.to_owned()));
    }
}

#[test]
fn the_end_of_a_walk_has_many_forms() {
    let cursor = Some(Cursor("eyJ9%3D%3D".to_owned()));
    for (body, rows, next) in [
        (page_of(&[THREAT, THREAT]), 2, cursor.clone()),
        (page_of(&[]), 0, cursor.clone()),
        (page_of(&["{}", " { } ", "null"]), 0, cursor.clone()),
        (r#"{"data":null,"pagination":null}"#.to_owned(), 0, None),
        (r#"{"data":[],"pagination":null}"#.to_owned(), 0, None),
        (r#"{"data":[]}"#.to_owned(), 0, None),
        (r#"{"pagination":{"nextCursor":null,"totalItems":5},"data":[]}"#.to_owned(), 0, None),
        (r#"{"pagination":{"nextCursor":"","totalItems":5},"data":[]}"#.to_owned(), 0, None),
        (r#"{"pagination":{"nextCursor":"null"},"data":[],"errors":null}"#.to_owned(), 0, None),
        (
            r#"{"pagination":{"nextCursor":7},"data":[]}"#.to_owned(),
            0,
            Some(Cursor("7".to_owned())),
        ),
        (r#"{"pagination":{"nextCursor":true},"data":[]}"#.to_owned(), 0, None),
        (r#"{"pagination":{"nextCursor":{ }},"data":[]}"#.to_owned(), 0, None),
        (r#"{"pagination":{"nextCursor":[]},"data":[]}"#.to_owned(), 0, None),
        (
            r#"{"pagination":{"nextCursor":{"id":7}},"data":[]}"#.to_owned(),
            0,
            Some(Cursor(r#"{"id":7}"#.to_owned())),
        ),
        (
            r#"{"pagination":{"nextCursor":"a","nextCursor":null},"data":[]}"#.to_owned(),
            0,
            Some(Cursor("a".to_owned())),
        ),
        (
            "\u{feff} {\"data\" : [ ] , \"pagination\" : { \"nextCursor\" : \"a\\u002fb\" } } \r\n"
                .to_owned(),
            0,
            Some(Cursor("a/b".to_owned())),
        ),
    ] {
        let page = scan(body.as_bytes(), Kind::Threats).expect(&body);
        assert_eq!((page.rows.len(), page.next), (rows, next), "{body}");
    }
}

#[test]
fn what_is_no_page_is_told_with_its_reason() {
    for (body, why) in [
        ("", "not a JSON object: "),
        ("<html><h1>502</h1>", "not a JSON object: <html><h1>502</h1>"),
        ("[]", "not a JSON object: []"),
        ("{}", "the answer has no `data`: {}"),
        (r#"{"errors":[]}"#, "the answer has no `data`: {\"errors\":[]}"),
        (r#"{"errors":[{"code":1}]}"#, "the answer tells of an error: (1)"),
        (
            r#"{"data":[],"errors":[{"code":5000010,"title":"t","detail":"gave up"}]}"#,
            "the answer tells of an error: t (5000010): gave up",
        ),
        (
            r#"{"errors":{"message":"shard 3 failed"},"data":[{"id":"1"}],"errors":null}"#,
            "the answer tells of an error: shard 3 failed",
        ),
        (r#"{"data":[{"id":"1"}],"data":[]}"#, "the answer has `data` twice"),
        (r#"{"data":null,"data":[{"id":"1"}],"data":[]}"#, "the answer has `data` twice"),
        (r#"{"data":{"sites":[]}}"#, "`data` is not a list"),
        (
            r#"{"data":null,"pagination":{"nextCursor":"a"}}"#,
            "`data` is null, though a cursor says that more follows",
        ),
        (r#"{"data":"x"}"#, "`data` is not a list"),
        (r#"{"data":[]} <html>"#, "something follows the JSON: <html>"),
        (r#"{"data":[{"id":"1"} {"id":"2"}]}"#, "the JSON is malformed, near byte 20 of 32"),
        (r#"{"data":[{"id":"1"},"#, "the JSON ends too early, near byte 20 of 20"),
        (r#"{"data":[,]}"#, "the JSON is malformed, near byte 9 of 12"),
    ] {
        assert_eq!(scan(body.as_bytes(), Kind::Threats), Err(Broken(why.to_owned())), "{body}");
    }
}

#[test]
fn a_failure_told_beside_an_empty_list_is_no_end() {
    for beside in [
        r#""error":"backend timeout""#,
        r#""error":{"message":"late"}"#,
        r#""Error":true"#,
        r#""error":500"#,
        r#""exception":"x""#,
        r#""status":"error""#,
        r#""status":"FAILED""#,
        r#""status":"partial""#,
        r#""status":500"#,
        r#""status":"503""#,
        r#""code":5000010"#,
        r#""success":false"#,
        r#""ok":false"#,
        r#""timed_out":true"#,
        r#""message":"Internal server error""#,
        r#""detail":"the shard is unavailable""#,
    ] {
        for body in [format!("{{\"data\":[],{beside}}}"), format!("{{{beside},\"data\":[]}}")] {
            let told = scan(body.as_bytes(), Kind::Threats).expect_err(&body).to_string();
            assert!(told.starts_with("the answer tells of an error: "), "{body}: {told}");
            assert!(total(body.as_bytes(), Kind::Threats).is_err(), "{body}");
        }
    }
    for beside in [
        r#""error":null,"errors":null"#,
        r#""error":"","errors":[],"exception":{}"#,
        r#""error":false,"errors":0"#,
        r#""status":"ok","code":200,"success":true"#,
        r#""status":"success","message":"no errors""#,
        r#""status":200,"code":0,"message":"3 rows","title":"Activities""#,
        r#""timed_out":false,"partial":false"#,
    ] {
        let body = format!("{{\"data\":[],{beside}}}");
        assert!(scan(body.as_bytes(), Kind::Threats).is_ok(), "{body}");
    }
    let rows = r#"{"data":[{"id":"1"}],"message":"the old error format is gone"}"#;
    assert_eq!(scan(rows.as_bytes(), Kind::Threats).expect("rows").rows.len(), 1);
}

#[test]
fn a_failure_told_one_level_down_is_no_end_either() {
    for beside in [
        r#""meta":{"error":"late"}"#,
        r#""meta":{"errors":[{"title":"late"}]}"#,
        r#""meta":{"status":500}"#,
        r#""pagination":{"nextCursor":"x","error":"late"}"#,
        r#""pagination":{"nextCursor":null,"errors":["late"]}"#,
        r#""warnings":["query was partially executed"]"#,
        r#""meta":{"warning":"results are partial"}"#,
    ] {
        for rows in ["", r#"{"id":"1"}"#] {
            let body = format!("{{\"data\":[{rows}],{beside}}}");
            let told = scan(body.as_bytes(), Kind::Threats).expect_err(&body).to_string();
            assert!(told.starts_with("the answer tells of an error: "), "{body}: {told}");
        }
    }
    // Beside rows these say nothing against them.
    for beside in [
        r#""warnings":["limit is deprecated"]"#,
        r#""meta":{"redirect":"https://sso.example"}"#,
        r#""redirect":"https://sso.example""#,
        r#""pagination":{"nextCursor":null,"hasMore":true}"#,
        r#""pagination":{"message":"request timed out"}"#,
    ] {
        let body = |rows: &str| format!("{{\"data\":[{rows}],{beside}}}");
        assert!(scan(body("").as_bytes(), Kind::Threats).is_err(), "{beside}");
        assert!(scan(body(r#"{"id":"1"}"#).as_bytes(), Kind::Threats).is_ok(), "{beside}");
    }
    for beside in [
        r#""meta":null,"pagination":null"#,
        r#""meta":{"error":null,"warnings":[]},"pagination":{"errors":[],"hasMore":false}"#,
        r#""pagination":{"nextCursor":"x","hasMore":true,"totalItems":7}"#,
        r#""warnings":[],"redirect":null"#,
    ] {
        let body = format!("{{\"data\":[],{beside}}}");
        assert!(scan(body.as_bytes(), Kind::Threats).is_ok(), "{body}");
    }
}

#[test]
fn a_count_beside_an_error_is_no_count() {
    let body = r#"{"data":[],"errors":["late"],"pagination":{"totalItems":7}}"#;
    let why = "the answer tells of an error: late";
    assert_eq!(total(body.as_bytes(), Kind::Threats), Err(Broken(why.to_owned())));
    let fine = body.replace(r#"["late"]"#, "[]");
    assert_eq!(total(fine.as_bytes(), Kind::Threats), Ok(Total::Is(7)));
}

#[test]
fn what_a_page_may_grow_to_is_bounded() {
    let rows = |count: usize| format!("{{\"data\":[{}1]}}", "1,".repeat(count - 1));
    let most = limits::PAGE_ROWS_TAKEN_MAX;
    assert_eq!(scan(rows(most).as_bytes(), Kind::Threats).unwrap().rows.len(), most);
    assert!(scan(rows(most + 1).as_bytes(), Kind::Threats).is_err());
    let cursor = |length: usize| {
        let cursor = "c".repeat(length);
        format!("{{\"data\":[],\"pagination\":{{\"nextCursor\":\"{cursor}\"}}}}")
    };
    assert!(scan(cursor(limits::CURSOR_BYTES_MAX).as_bytes(), Kind::Threats).is_ok());
    assert!(scan(cursor(limits::CURSOR_BYTES_MAX + 1).as_bytes(), Kind::Threats).is_err());
}

#[test]
fn a_body_cut_anywhere_is_broken() {
    let body = page_of(&[ACTIVITY, ACTIVITY]);
    for cut in 0..body.len() {
        assert!(scan(&body.as_bytes()[..cut], Kind::Activities).is_err(), "{cut}");
    }
}

#[test]
fn drift_of_types_never_fails_a_record() {
    let hash = |text: &str| fnv1a(text.as_bytes());
    for (record, id, severity) in [
        (r#"{"id":12,"threatInfo":null}"#, 12, 4),
        (r#"{"id":"12","threatInfo":"none"}"#, 12, 4),
        (r#"{"id":"18446744073709551615","threatInfo":[1]}"#, u64::MAX, 4),
        (r#"{"id":"18446744073709551616"}"#, hash("18446744073709551616"), 4),
        (r#"{"id":"007"}"#, hash("007"), 4),
        (r#"{"id":"+7"}"#, hash("+7"), 4),
        (r#"{"id":"0"}"#, 0, 4),
        (r#"{"id":"a-b"}"#, hash("a-b"), 4),
        (r#"{"id":null}"#, hash(r#"{"id":null}"#), 4),
        (r#"{"id":""}"#, hash(r#"{"id":""}"#), 4),
        (r#"{"id":null,"threatInfo":{"threatId":"9"}}"#, 9, 4),
        (r#"{"a":1}"#, hash(r#"{"a":1}"#), 4),
        (r#"{"id":1,"id":2,"threatInfo":{"confidenceLevel":{"x":1}}}"#, 2, 4),
        (r#"{"id":3,"x":NaN,"threatInfo":{"confidenceLevel":"malicious"}}"#, 3, 6),
        (r#""just a text""#, hash(r#""just a text""#), 4),
        ("[1,2]", hash("[1,2]"), 4),
    ] {
        let (body, row) = only_row(record, Kind::Threats);
        assert_eq!(&body[row.range.clone()], record);
        assert_eq!((row.key.id, row.severity), (id, severity), "{record}");
        assert_eq!((row.key.stamp, row.stamped, row.computer), (Stamp::EPOCH, false, None));
    }
}

#[test]
fn a_record_without_a_stamp_stays_beside_the_one_before_it() {
    let body = page_of(&[
        r#"{"id":"1","createdAt":"2026-03-01T10:00:00Z"}"#,
        r#"{"id":"2","createdAt":"soon"}"#,
        r#"{"id":"3","createdAt":1761900000000}"#,
        r#"{"id":"4","createdAt":"2185-07-21T23:34:33.709552Z"}"#,
    ]);
    let page = scan(body.as_bytes(), Kind::Activities).unwrap();
    let first = Stamp::parse("2026-03-01T10:00:00Z").unwrap();
    let last = Stamp::parse("2185-07-21T23:34:33.709552Z").unwrap();
    let third = Stamp::parse("2025-10-31T08:40:00Z").unwrap();
    let stamps: Vec<_> = page.rows.iter().map(|row| (row.key.stamp, row.stamped)).collect();
    assert_eq!(stamps, [(first, true), (first, false), (third, true), (last, true)]);
}

/// Without zone, with `+0000`, as an epoch: each is one moment, and the record keeps its bytes.
#[test]
fn every_form_of_a_stamp_is_a_place_and_a_null_date_is_none() {
    for (kind, before, after) in [
        (Kind::Threats, r#"{"id":"1","threatInfo":{"updatedAt":"#, "}}"),
        (Kind::Activities, r#"{"id":"1","createdAt":"#, "}"),
        (Kind::Alerts, r#"{"alertInfo":{"alertId":"1","reportedAt":"#, "}}"),
    ] {
        for stamp in [
            r#""2025-10-31T08:40:00""#,
            r#""2025-10-31 08:40:00""#,
            r#""2025-10-31T08:40:00.0+0000""#,
            r#""2025-10-31T10:40:00.000000000+02:00""#,
            "1761900000000",
            r#""1761900000000""#,
            "1761900000",
        ] {
            let record = format!("{before}{stamp}{after}");
            let (body, row) = only_row(&record, kind);
            assert_eq!(row.key.stamp, Stamp::from_ms(1_761_900_000_000), "{record}");
            assert!(row.stamped && !row.undated, "{record}");
            assert_eq!(body[row.range], record);
        }
        for stamp in
            ["null", "\"soon\"", "0", "\"1970-01-01T00:00:00Z\"", "\"0001-01-01 00:00:00\""]
        {
            assert!(only_row(&format!("{before}{stamp}{after}"), kind).1.undated, "{stamp}");
        }
    }
}

#[test]
fn only_a_fit_name_becomes_the_computers() {
    for (data, computer) in [
        (r#"{"computerName":"a","origagentname":"b"}"#, Some(r#""a""#)),
        (r#"{"computerName":"","origagentname":"b"}"#, Some(r#""b""#)),
        (r#"{"computerName":null}"#, None),
        (r#"{"computerName":["a"]}"#, None),
        (r#"{"computerName":"\ud83d\ude00"}"#, Some(r#""\ud83d\ude00""#)),
        (r#"{"computerName":"\ud83d"}"#, None),
        (r#"{"computerName":"\q"}"#, None),
        ("{\"computerName\":\"a\u{1}b\"}", None),
        (&format!(r#"{{"computerName":"{}"}}"#, "x".repeat(300)), None),
    ] {
        let (body, row) = only_row(&format!(r#"{{"id":"1","data":{data}}}"#), Kind::Activities);
        assert_eq!(row.computer.map(|token| body[token].to_owned()).as_deref(), computer, "{data}");
    }
}

#[test]
fn a_long_record_is_marked() {
    let length = limits::LONG_RECORD_BYTES - r#"{"id":""}"#.len();
    let record = |extra: usize| format!(r#"{{"id":"{}"}}"#, "x".repeat(length + extra));
    assert!(!only_row(&record(0), Kind::Threats).1.long);
    assert!(only_row(&record(1), Kind::Threats).1.long);
}

#[test]
fn bytes_that_are_no_utf8_are_replaced_and_the_ranges_follow() {
    let mut body = page_of(&[r#"{"id":"1","n":"caf@"}"#, r#"{"id":"2"}"#]).into_bytes();
    let at = body.iter().position(|b| *b == b'@').unwrap();
    body[at] = 0xe9;
    let page = scan(&body, Kind::Threats).unwrap();
    let records: Vec<_> = page
        .rows
        .iter()
        .map(|row| String::from_utf8_lossy(&page.body(&body)[row.range.clone()]))
        .collect();
    assert_eq!(records, ["{\"id\":\"1\",\"n\":\"caf\u{fffd}\"}", r#"{"id":"2"}"#]);
    assert_eq!(page.rows[1].key.id, 2);
}

/// A random value, and now and then one of the members that the scanner looks for.
fn random_value(prng: &mut Prng, depth: u32) -> Value {
    const NAMES: [&str; 8] =
        ["id", "data", "threatInfo", "updatedAt", "a\"b", "x\\", "confidenceLevel", "]"];
    let below = if depth == 0 { 5 } else { 7 };
    match prng.below(below) {
        0 => Value::Null,
        1 => Value::Bool(prng.chance(50)),
        2 => Value::from(prng.next_u64()),
        3 => Value::from("malicious"),
        4 => Value::from("\"}],\\\u{1}\u{20ac}".repeat(prng.below(5) as usize)),
        5 => (0..prng.below(4)).map(|_| random_value(prng, depth - 1)).collect(),
        _ => Value::Object(
            (0..prng.below(6))
                .map(|_| {
                    let name = NAMES[prng.below(NAMES.len() as u64) as usize];
                    (name.to_owned(), random_value(prng, depth - 1))
                })
                .collect(),
        ),
    }
}

#[test]
fn on_any_json_the_scanner_agrees_with_a_parser() {
    let mut prng = Prng::new(5);
    for round in 0..3_000 {
        let data: Vec<Value> = (0..prng.below(5)).map(|_| random_value(&mut prng, 4)).collect();
        let page = serde_json::json!({"x": random_value(&mut prng, 3), "data": data});
        let body = if prng.chance(50) {
            serde_json::to_vec(&page).unwrap()
        } else {
            serde_json::to_vec_pretty(&page).unwrap()
        };
        let scanned = scan(&body, Kind::Threats).unwrap();
        let records: Vec<Value> = scanned
            .rows
            .iter()
            .map(|row| serde_json::from_slice(&body[row.range.clone()]).unwrap())
            .collect();
        let expected: Vec<Value> = data
            .into_iter()
            .filter(|value| !value.is_null() && *value != serde_json::json!({}))
            .collect();
        assert_eq!(records, expected, "round {round}");
        for (row, value) in scanned.rows.iter().zip(&expected) {
            let malicious = value["threatInfo"]["confidenceLevel"] == "malicious";
            assert_eq!(row.severity, if malicious { 6 } else { 4 }, "round {round}");
        }
    }
}

#[test]
fn an_id_tells_when_it_was_made() {
    // The id in a public sample's cursor, taken in the second that this tells.
    let made = id_made_at("1778148227837931640").unwrap();
    assert_eq!(made.to_the_second(), "2023-09-20T09:03:06Z");
    for none in ["", "12", "0199aa", "18446744073709551615", "abc"] {
        assert_eq!(id_made_at(none), None, "{none}");
    }
}

#[test]
fn a_total_is_a_count_only_where_it_can_be_one() {
    let told = |text: &str| total(text.as_bytes(), Kind::Activities).map_err(|_| ());
    let pagination = |members: &str| format!(r#"{{"data":[],"pagination":{{{members}}}}}"#);
    for (members, count) in [
        (r#""nextCursor":null,"totalItems":17"#, Total::Is(17)),
        (r#""totalItems":0"#, Total::Is(0)),
        (r#""totalItems":"17""#, Total::Is(17)),
        (r#""totalItems":17.0"#, Total::Is(17)),
        (r#""totalItems":17.5"#, Total::Unknown),
        (r#""totalItems":1e3"#, Total::Unknown),
        (r#""totalItems":49999"#, Total::Is(49_999)),
        (r#""totalItems":50000"#, Total::Capped),
        (r#""totalItems":62330"#, Total::Is(62_330)),
        (r#""totalItems":null"#, Total::Unknown),
        (r#""totalItems":-1"#, Total::Unknown),
        (r#""nextCursor":null"#, Total::Unknown),
    ] {
        assert_eq!(told(&pagination(members)), Ok(count), "{members}");
    }
    assert_eq!(told(r#"{"data":[]}"#), Ok(Total::Unknown));
    assert_eq!(told(r#"{"data":[{"id":"1"}],"pagination":{"totalItems":0}}"#), Ok(Total::Unknown));
    assert_eq!(told(r#"{"errors":[]}"#), Err(()));
    assert_eq!(told(r#"{"data":[],"pagination":{"totalItems":17"#), Err(()));
}

#[test]
fn a_threat_tells_when_it_was_created_beside_when_it_changed() {
    let body = br#"{"data":[{"threatInfo":{"createdAt":"2022-04-05T09:06:38Z","updatedAt":"2022-05-05T09:06:38Z","threatId":"7"}}]}"#;
    let page = scan(body, Kind::Threats).unwrap();
    assert_eq!(page.rows[0].created, Stamp::parse("2022-04-05T09:06:38Z"));
    assert_eq!(Some(page.rows[0].key.stamp), Stamp::parse("2022-05-05T09:06:38Z"));
}

#[test]
fn what_is_kept_of_a_body_is_bounded_as_it_will_be() {
    let whole = |body: &[u8], max| kept(body.to_vec(), max).ok();
    assert_eq!(whole(b"plain", 5), Some((b"plain".to_vec(), false)));
    assert_eq!(whole(b"plain", 4), None);
    assert_eq!(whole(b"\t\r\n", 3), Some((b"\t\r\n".to_vec(), false)), "blanks of JSON");
    assert_eq!(whole(b"a\x01b", 8), Some((b"a\x01b".to_vec(), false)));
    assert_eq!(whole(b"a\x01b", 7), None);
    assert_eq!(whole(b"a\xffb\xc3", 8), Some(("a\u{fffd}b\u{fffd}".into(), true)));
    assert_eq!(whole(b"a\xffb\xc3", 7), None);
    for body in [&b"\xf0\x9f\x98"[..], b"\xe9\xe9x\xc3\x28", b"", b"\xed\xa0\x80"] {
        let lossy = String::from_utf8_lossy(body).into_owned().into_bytes();
        assert_eq!(whole(body, 100).unwrap().0, lossy);
    }
}

#[test]
fn a_page_that_breaks_tells_the_id_that_stands_before_its_flaw_and_no_other() {
    let id = Some(1_056_789_012_345_678_902);
    let page = page_of(&[ACTIVITY]);
    let end = page.find(r#"78902""#).unwrap() + 6;
    for (body, told) in [
        (page.as_str(), id),
        (&page[..=end], id),
        // It may go on.
        (&page[..end], None),
        (&page[..end - 3], None),
        (&page.replacen("3608", "3608,,", 1), None),
        (&page.replacen("]\\\\\"", "]\\\\\"\"", 1), None),
        (&page.replacen("}],", ",}],", 1), id),
        (&page_of(&[r#"{"id":"a-word","x":1}"#]), None),
        (&page_of(&[r#"{"data":{"id":"7"}}"#]), None),
        (&page_of(&[]), None),
        (r#"{"errors":[{"id":"8"}]}"#, None),
        ("", None),
        ("<html>", None),
    ] {
        assert_eq!(first_id(body.as_bytes(), Kind::Activities), told, "{body}");
    }
    let threat = page_of(&[THREAT]);
    let cut = &threat[..threat.find("createdAt").unwrap()];
    let told = first_id(cut.as_bytes(), Kind::Threats);
    assert_eq!(told, Some(1_056_789_012_345_678_901));
    let alert = page_of(&[ALERT]);
    let cut = &alert[..alert.find("ruleInfo").unwrap()];
    assert_eq!(first_id(cut.as_bytes(), Kind::Alerts), Some(1_056_789_012_345_678_903));
}
