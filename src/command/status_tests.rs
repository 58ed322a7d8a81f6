//! Tests of the table that `status` shows.

use super::*;
use crate::report::{
    Clock, Disk, GapLine, Gaps, Integration, LastTrouble, Queue, Remark, Sink, Stream,
};

fn lane(health: &str, reason: &str, text: &str, detail: &str) -> Lane {
    Lane {
        health: health.into(),
        reason: reason.into(),
        code: (health != "healthy").then(|| "S1C-E107".into()),
        text: text.into(),
        detail: detail.into(),
        for_seconds: 75,
        next_in_seconds: Some(12),
        failures: 1,
    }
}

fn status() -> Status {
    let stamp = || Some("2026-01-31T00:00:00.000001Z".to_owned());
    let fine = || lane("healthy", "poll_interval", "", "");
    let stream = |name: &str, lane| Stream {
        name: name.into(),
        lane,
        position: stamp(),
        lag_seconds: Some(200),
        collected: 12_345,
        collected_per_minute: 60,
        caught_up: true,
        reconciliation: Default::default(),
    };
    Status {
        schema: 1,
        version: "0.1.0".into(),
        pid: 4711,
        updated: "2026-01-31T00:00:00.000000Z".into(),
        uptime_seconds: 60,
        state: "stuck".into(),
        integrations: vec![Integration {
            name: "acme".into(),
            lane: lane("stuck", "token_refused", "the API token is rejected", "HTTP 401: no"),
            token_ends: stamp(),
            token_days_left: Some(1),
            secret: "/etc/acme.token".into(),
        }],
        streams: vec![
            stream("acme/threats", lane("stuck", "token_refused", "the API token", "")),
            stream(&format!("{}/activities", "n".repeat(64)), fine()),
        ],
        orphans: vec![orphan()],
        coralogix: sink(),
        queue: Queue {
            dir: "/var/lib/s1-coralogix".into(),
            id: String::new(),
            waiting: 12_338,
            bytes: 3 << 19,
            max_bytes: 1 << 30,
            oldest: stamp(),
            oldest_age_seconds: Some(4_000),
            head_frame: 17,
            head_entry: 3,
            parked: 1,
            doubt: 2,
            room: "queue_full".into(),
        },
        gaps: Gaps {
            count: 3,
            untold: 0,
            latest: vec![GapLine {
                stream: "acme/threats".into(),
                from: stamp(),
                to: Some("2026-01-31T01:00:00.000000Z".into()),
                reason: "retention".into(),
                code: "S1C-E122".into(),
                text: crate::record::GapReason::Retention.explain().into(),
                ..GapLine::default()
            }],
        },
        disk: Disk { written_bytes: Some(3 << 20), day_bytes: Some(1 << 30) },
        clock: Clock { state: "behind".into(), ahead_seconds: Some(-7_200) },
        last_trouble: Some(trouble()),
        settings_refused: None,
        healthy_since: None,
        log_lines_lost: 17,
    }
}

fn sink() -> Sink {
    Sink {
        lane: lane("degraded", "unreachable", "can't be reached", &"why ".repeat(50)),
        delivered: 7,
        delivered_per_minute: 3,
        remarks: 3,
        last_remark: Some(Remark {
            at: "2026-01-31T02:00:00.000000Z".into(),
            text: "thank you for your logs".into(),
        }),
        long_records: 0,
        unstamped: 0,
        unreadable_stamps: 2,
        secret: "/etc/coralogix.key".into(),
    }
}

fn orphan() -> OrphanLine {
    OrphanLine {
        name: format!("{}/threats", "o".repeat(64)),
        position: "2026-01-31T00:00:00.000000Z".into(),
        tenant: Some(format!("https://{}.sentinelone.net", "t".repeat(50))),
        code: "S1C-W221".into(),
    }
}

fn trouble() -> LastTrouble {
    LastTrouble {
        at: "2026-01-31T00:00:00.000000Z".into(),
        level: "WARN".into(),
        text: "Coralogix: asked to come back later".into(),
        count: 3,
    }
}

fn shown(status: &Status, running: bool) -> String {
    aged(status, running, 3)
}

/// The page where the file is so many seconds old.
fn aged(status: &Status, running: bool, seconds: u64) -> String {
    page(status, liveness_of(running), Some(Span::seconds(seconds)), false)
}

fn page(status: &Status, liveness: Liveness, age: Option<Span>, colour: bool) -> String {
    let shown = Shown { liveness, age, colour, columns: COLUMNS };
    super::page(status, shown).as_str().to_owned()
}

#[test]
fn the_table_fits_80_columns_whatever_is_in_it() {
    let text = shown(&status(), true);
    for line in text.lines() {
        assert!(line.chars().count() <= COLUMNS, "{line}\n{text}");
    }
    assert!(text.contains("stuck (action required)"), "{text}");
    assert!(text.contains("as of 2026-01-31T00:00:00Z (3s ago)"), "{text}");
    assert!(text.contains("up to date "), "{text}");
    assert!(text.contains("Queue: 1.5 MiB of 1.0 GiB; it is full"), "{text}");
    assert!(text.contains("3 gaps recorded: records may be missing"), "{text}");
    assert!(
        text.contains("  acme/threats, 2026-01-31T00:00:00Z to 2026-01-31T01:00:00Z: S1C-E122")
    );
    assert!(text.contains("rejected 1 record: s1-coralogix queue parked list\n"), "{text}");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let doubt =
        "S1C-E132 Coralogix may not have accepted 2 batches in full: s1-coralogix queue doubt list";
    assert!(flat.contains(doubt), "{text}");
    let remark = "S1C-W120 Coralogix accepted 3 batches with a message, last at 2026-01-31T02:00:00Z: \
                  thank you for your logs";
    assert!(flat.contains(remark), "{text}");
    assert!(text.contains("2026-01-31T00:00:00Z, 1h 6m ago."), "{text}");
    assert!(text.contains("S1C-W124 2 records had a time that can't be parsed"), "{text}");
    assert!(text.contains("S1C-W031 17 lines of the log could not be written"), "{text}");
    assert!(text.contains("clock is 2h behind; set it (NTP)"), "{text}");
    assert!(text.contains("120 records a minute collected, 3 delivered"), "{text}");
    assert!(text.contains("since the start: 3.0 MiB, 1.0 GiB a day"), "{text}");
    assert!(
        text.contains(
            "Last WARN, at 2026-01-31T00:00:00Z (3 since the start):\n  Coralogix: asked"
        ),
        "{text}"
    );
}

#[test]
fn colours_change_nothing_but_the_colour() {
    let status = status();
    let age = Some(Span::seconds(3));
    let mut plain = page(&status, Liveness::Answers, age, true);
    assert!(plain.contains("\x1b[31m") && plain.contains("\x1b[32m"), "{plain}");
    for code in ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"] {
        plain = plain.replace(code, "");
    }
    assert_eq!(plain, shown(&status, true));
}

#[test]
fn a_trouble_of_an_integration_is_told_once() {
    let mut status = status();
    status.integrations.push(status.integrations[0].clone());
    status.integrations[1].lane = lane("healthy", "poll_interval", "", "");
    status.integrations[1].name = "beta".to_owned();
    status.integrations[1].token_ends = Some("2026-02-01T12:00:03Z".to_owned());
    let text = shown(&status, true);
    assert_eq!(text.matches("expires in").count(), 1, "a rejected token has expired\n{text}");
    assert!(
        text.contains("beta: S1C-E117 the API token expires in 1d 12h, at 2026-02-01T12"),
        "{text}"
    );
    let line = "  acme: S1C-E107 for 1m 18s: the API token is rejected (HTTP 401: no); it is read from \
                /etc/acme.token; next try in 9s";
    assert_eq!(text.matches("is rejected").count(), 1, "{text}");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(line.trim_start()), "{text}");
}

#[test]
fn an_end_that_has_passed_is_past() {
    let mut status = status();
    status.integrations[0].lane = lane("healthy", "poll_interval", "", "");
    status.integrations[0].token_ends = Some("2026-01-30T22:00:00Z".into());
    status.integrations[0].token_days_left = Some(-1);
    let text = shown(&status, true);
    assert!(text.contains("the API token expired 2h ago, at 2026-01-30T22:00:00Z"), "{text}");
    assert!(!text.contains("expires in"), "{text}");
    status.integrations[0].token_ends = Some("2026-01-31T00:50:00Z".into());
    status.integrations[0].token_days_left = Some(0);
    let text = shown(&status, true);
    let told = "S1C-E117 the API token expires in 49m 57s, at 2026-01-31T00:50:00Z";
    assert!(text.contains(told), "{text}");
    // Since the file was written.
    let text = aged(&status, true, 3_600);
    assert!(text.contains("the API token expired 10m ago, at 2026-01-31T00:50:00Z"), "{text}");
    status.integrations[0].token_ends = Some("2026-01-30T22:00:00Z".into());
    // By a time that nobody confirms nothing has passed.
    status.integrations[0].token_days_left = None;
    let text = shown(&status, true);
    assert!(text.contains("acme: the API token expires at 2026-01-30T22:00:00Z"), "{text}");
}

#[test]
fn what_is_told_of_the_time_is_as_old_as_the_file() {
    let mut status = status();
    assert!(shown(&status, true).contains("up 1m 3s, as of "));
    let text = aged(&status, true, 50);
    assert!(text.contains(" 4m 10s ago\n"), "the position\n{text}");
    assert!(text.contains("2026-01-31T00:00:00Z, 1h 7m ago."), "the oldest record\n{text}");
    // After five seconds nobody knows what comes in a minute.
    status.uptime_seconds = 5;
    let text = shown(&status, true);
    assert!(text.contains("First 5s: 120 records collected, 3 delivered."), "{text}");
    assert!(!text.contains("a minute"), "{text}");
}

#[test]
fn a_complaint_says_when_all_was_well_again() {
    let mut status = status();
    assert!(!shown(&status, true).contains("healthy since"));
    status.healthy_since = Some("2026-01-31T00:05:39.000000Z".into());
    let told = "Last WARN, at 2026-01-31T00:00:00Z (3 since the start; healthy since";
    assert!(shown(&status, true).contains(told), "{}", shown(&status, true));
    // A warning while all is healthy has no end of its own.
    status.healthy_since = Some("2026-01-30T00:00:00.000000Z".into());
    assert!(!shown(&status, true).contains("healthy since"));
}

/// Its waits count from the time beside it.
#[test]
fn the_last_trouble_is_shown_as_it_was_logged() {
    let mut status = status();
    let text = "Coralogix: can't be reached (HTTP 503); next try after 1s";
    status.last_trouble.as_mut().unwrap().text = text.to_owned();
    for state in ["degraded", "healthy"] {
        status.state = state.into();
        let shown = shown(&status, true);
        assert!(shown.contains(&format!("  {text}\n")), "{shown}");
    }
}

/// Adds characters to every text that a status file can hold.
fn spoil(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => text.push_str("\u{1b}[8m\u{202e}\nforged"),
        serde_json::Value::Array(all) => all.iter_mut().for_each(spoil),
        serde_json::Value::Object(all) => all.values_mut().for_each(spoil),
        _ => {}
    }
}

#[test]
fn what_another_wrote_into_the_file_paints_nothing_and_begins_no_line() {
    let mut value = serde_json::to_value(status()).unwrap();
    spoil(&mut value);
    let status: Status = serde_json::from_value(value).unwrap();
    for liveness in [Liveness::Answers, Liveness::Silent, Liveness::QueueRemoved] {
        let text = page(&status, liveness, Some(Span::seconds(3)), true);
        assert!(text.contains("forged") && !text.contains("\u{1b}[8m"), "{text:?}");
        assert!(!text.contains('\u{202e}') && !text.contains("\nforged"), "{text:?}");
    }
}

#[test]
fn a_narrow_terminal_has_its_table_too() {
    let mut status = status();
    // Names that are longer than any terminal have lines of their own.
    status.streams.truncate(1);
    status.orphans.clear();
    let shown = Shown { liveness: Liveness::Answers, age: None, colour: false, columns: 60 };
    let page = super::page(&status, shown);
    let text = page.as_str();
    for line in text.lines() {
        assert!(line.chars().count() <= 60, "{line}\n{text}");
    }
    assert!(text.contains("acme/threats token rejected"), "{text}");
}

#[test]
fn stamps_are_spoken_of_only_where_one_could_not_be_read() {
    let mut status = status();
    status.coralogix.unreadable_stamps = 0;
    assert!(!shown(&status, true).contains("S1C-W124"));
}

#[test]
fn a_daemon_that_is_gone_promises_nothing() {
    let text = shown(&status(), false);
    assert!(text.starts_with("s1-coralogix 0.1.0: not running\n"), "{text}");
    assert!(text.contains("last status, written at 2026-01-31T00:00:00Z (3s ago)"), "{text}");
    assert!(!text.contains("next try") && !text.contains("4711"), "{text}");
}

#[test]
fn a_daemon_that_hangs_is_not_called_healthy() {
    let (status, age) = (status(), Some(Span::minutes(10)));
    let text = page(&status, Liveness::Silent, age, false);
    assert!(text.starts_with("s1-coralogix 0.1.0: does not answer\n"), "{text}");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let told =
        "S1C-E435 The daemon, process 4711, has not answered since 2026-01-31T00:00:00Z (10m ago)";
    assert!(flat.contains(told), "{text}");
    let text = page(&status, Liveness::QueueRemoved, age, false);
    assert!(
        text.contains("S1C-E436 The queue directory of a running daemon was removed"),
        "{text}"
    );
    assert!(!text.contains("not running"), "{text}");
}

#[test]
fn refused_settings_are_told_first_with_since_when_and_why() {
    let mut status = status();
    status.settings_refused = Some(crate::report::SettingsRefused {
        since: "2026-01-31T01:00:00.000000Z".into(),
        code: "S1C-E010".into(),
        text: "S1C-E306 log.level: no such level".into(),
    });
    let text = page(&status, Liveness::Answers, None, false);
    let told = "  S1C-E010 New settings are rejected since 2026-01-31T01:00:00Z; the previous\n  ones \
                are in effect:\n    S1C-E306 log.level: no such level\n";
    assert!(text.contains(told), "{text}");
    assert!(text.find(told) < text.find("SentinelOne"), "{text}");
}
