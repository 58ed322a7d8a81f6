//! Bodies that say that something was not taken, and bodies that do not.

use super::*;

const AGAINST: &[(&str, Option<u64>)] = &[
    ("300 logs were not accepted", Some(300)),
    ("{\"message\":\"300 logs were not accepted\"}", Some(300)),
    ("\"2 logs\\nwere dropped\"", Some(2)),
    ("not all logs were accepted", None),
    ("Not all of your logs could be processed.", None),
    ("Some logs were rejected", None),
    ("accepted 200, rejected 100", Some(100)),
    ("0 accepted and 300 rejected", Some(300)),
    ("300 accepted 5 rejected", Some(5)),
    ("5 rejected 0 dropped", Some(5)),
    ("accepted=295 rejected=5", Some(5)),
    ("failed: 0 rejected: 7", Some(7)),
    ("failed records: 3", Some(3)),
    ("0 logs were accepted", None),
    ("none accepted", None),
    ("Nothing was stored", None),
    ("no logs were ingested", None),
    ("accepted: 0", None),
    ("1,000 entries discarded", Some(1_000)),
    ("3 of 300 logs were rejected", Some(3)),
    ("3/300 failed", Some(3)),
    ("OK, but 4 entries are malformed", Some(4)),
    ("daily quota reached", None),
    ("Quota exceeded", None),
    ("your data is blocked", None),
    ("timestamps older than 24 hours", None),
    ("entry too old", None),
    ("the request was too large", None),
    ("couldn't be stored", None),
    ("unable to index 3 documents", None),
    ("Error: upstream", None),
    ("partial success", None),
    ("partially accepted", None),
    ("rate limit hit", None),
    ("logs weren't accepted: no reason", None),
    ("not ok", None),
    (r#"{"partialSuccess":{"rejectedLogRecords":"12","errorMessage":"x"}}"#, Some(12)),
    (r#"{"partial_success":{"rejected_log_records":12}}"#, Some(12)),
    (r#"{"errors":true,"items":[]}"#, None),
    (r#"{"errors":["bad entry"]}"#, None),
    (r#"{"errors":[{"index":0,"reason":"x"}]}"#, None),
    (r#"{"error":"boom"}"#, None),
    (r#"{"error":{"message":"boom"}}"#, None),
    (r#"{"rejected":3}"#, Some(3)),
    (r#"{"accepted":297,"dropped":3}"#, Some(3)),
    (r#"{"failedCount":"3"}"#, Some(3)),
    (r#"{"notAccepted":3}"#, Some(3)),
    (r#"{"result":{"failed_records":3}}"#, Some(3)),
    (r#"{"success":false}"#, None),
    (r#"{"success":"false"}"#, None),
    (r#"{"ok":false}"#, None),
    (r#"{"accepted":0}"#, None),
    (r#"{"accepted":[]}"#, None),
    (r#"{"status":"error"}"#, None),
    (r#"{"status":"partial"}"#, None),
    (r#"{"status":"PARTIAL_FAILURE"}"#, None),
    (r#"{"status":400}"#, None),
    (r#"{"code":429,"message":"slow down"}"#, None),
    (r#"{"level":"warning","text":"look"}"#, None),
    (r#"[{"status":"ok"},{"status":"failed"}]"#, None),
    ("{\"ok\":true}\n{\"rejected\":2}\n", Some(2)),
    ("{\"ok\":true} 2 logs were dropped", Some(2)),
    (r#"{"invalidEntries":1}"#, Some(1)),
    (r#"{"message":"Your account is suspended, logs are not ingested"}"#, None),
];

const HARMLESS: &[&str] = &[
    "",
    "OK",
    "{}",
    "[]",
    "null",
    "true",
    "200 OK",
    "accepted",
    "300 logs accepted",
    "all logs were accepted",
    "300 accepted, 0 rejected",
    "300 accepted and 0 rejected",
    "0 rejected",
    "0 of 300 logs were rejected",
    "0/300 failed",
    "no errors",
    "No logs were dropped.",
    "none were rejected",
    "nothing was discarded",
    "without error",
    "0 logs were not accepted",
    "failed: 0",
    "failed=0",
    "rejected 0 logs",
    "errors: none",
    "failed records: 0",
    "dropped: false",
    "0 failed or dropped",
    "not rejected",
    "none was not accepted",
    "success: 0 errors",
    "processed 300 entries",
    "queued for processing",
    "thank you",
    "request 5f0a taken at 12:30",
    "within quota",
    "quota: 20 percent left",
    "3 of your logs were not to our taste",
    "this endpoint is deprecated, use /v2",
    r#"{"partialSuccess":{}}"#,
    r#"{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":""}}"#,
    r#"{"partialSuccess":{"rejectedLogRecords":0,"errorMessage":"please use gzip"}}"#,
    r#"{"errors":[],"error":null,"failed":0,"dropped":"0","rejected":false}"#,
    r#"{"errors":{"count":0}}"#,
    r#"{"errors":"none"}"#,
    r#"{"errors":"no errors"}"#,
    r#"{"error":""}"#,
    r#"{"success":true,"accepted":300}"#,
    r#"{"status":"ok"}"#,
    r#"{"status":"success"}"#,
    r#"{"status":200,"code":0}"#,
    r#"{"noErrors":true}"#,
    r#"{"message":"accepted","id":"0"}"#,
    r#"{"requestId":"9f1-4","took":3,"items":[1,2]}"#,
    "\u{1}\u{2}\u{ff}",
];

#[test]
fn words_against_a_batch_are_found_with_their_count() {
    let mut wrong = vec![];
    for (body, count) in AGAINST {
        let found = not_taken(body.as_bytes());
        if found != Some(NotTaken { count: *count }) {
            wrong.push((body, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn harmless_bodies_and_negations_say_nothing() {
    let mut wrong = vec![];
    for body in HARMLESS {
        wrong.extend(not_taken(body.as_bytes()).map(|found| (body, found)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn names_of_members_are_read_in_every_style() {
    for key in ["rejectedLogRecords", "rejected_log_records", "Rejected-Log-Records"] {
        assert_eq!(words_of_key(key), ["rejected", "log", "records"], "{key}");
        assert_eq!(about(key), About::NotTaken);
    }
    assert_eq!(about("isAccepted"), About::Taken);
    assert_eq!(about("not_accepted"), About::NotTaken);
    assert_eq!(about("requestId"), About::Other);
}

#[test]
fn no_body_is_too_odd_to_be_read() {
    let mut prng = crate::prng::Prng::new(7);
    let parts = ["0", "not", "rejected", ":", "=", " ", ",", "{", "}", "[", "\"", "all", "ok"];
    for _ in 0..20_000 {
        let body: String =
            (0..prng.below(12)).map(|_| parts[prng.below(parts.len() as u64) as usize]).collect();
        let _ = not_taken(body.as_bytes());
    }
}
