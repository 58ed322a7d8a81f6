//! The sentences of tests whose tenant says what is not so: what is missing must be told, by a state
//! that is not healthy or by a gap.
//!
//! Promises: states are compared with the ledger in the order that can't accuse falsely: first the
//! status is read, then what is missing.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::scene::{PATIENCE, Scene};
use crate::support::clock::{HOUR, SECOND, read_query_time};
use crate::support::data::Kind;
use crate::support::fault::{Fault, On};
use crate::support::ledger::Published;
use crate::support::world::Settings;

/// Activities alone, so that every list that is asked for is one of theirs.
pub fn activities(settings: &mut Settings) {
    settings.integrations[0].streams = vec!["activities"];
}

/// The same, and nothing is counted.
pub fn activities_polled_only(settings: &mut Settings) {
    activities(settings);
    settings.integrations[0].reconcile = "0s".to_string();
}

impl Scene {
    /// The tenant gives so many rows a page, without the cost of compressing each of very many.
    pub fn give_pages_of(&self, rows: usize) {
        self.tenant().turn(|knobs| (knobs.rows_max, knobs.gzip) = (rows, false));
    }

    /// Activities of the last twenty hours.
    pub fn publish_history(&self, count: usize) {
        let now = self.tenant().clock().now_us();
        let (from, to) = (now - 20 * HOUR, now - HOUR);
        self.tenant().publish_between(Kind::Activities, count, from, to, |_| {});
    }

    /// Activities of the last hundred seconds, which every walk of a default overlap reads.
    pub fn publish_lately(&self, count: usize) {
        let now = self.tenant().clock().now_us();
        let (from, to) = (now - 100 * SECOND, now - SECOND);
        self.tenant().publish_between(Kind::Activities, count, from, to, |_| {});
    }

    /// Activities dated now by the tenant's clock, even where it was ahead before.
    pub fn publish_now(&self, count: usize) -> Vec<u64> {
        let now = self.tenant().clock().now_us();
        let from = now - i64::try_from(count).unwrap();
        self.tenant().publish_between(Kind::Activities, count, from, now, |_| {})
    }

    /// Every cursor is answered as SentinelOne answers one that it does not know.
    pub fn refuse_cursors(&self, times: impl Into<Option<u32>>) {
        let body = r#"{"errors":[{"code":4000010,"detail":"Invalid cursor value received","title":"Validation Error"}]}"#;
        self.tenant().fail(On::Cursor, times, Fault::answer(400, "application/json", body));
    }

    /// Waits until the tenant has answered so many more requests for lists.
    pub fn wait_asked(&self, more: usize) {
        let asked = |seen: &[_]| {
            let lists =
                seen.iter().filter(|seen: &&crate::support::tenant::Seen| seen.kind.is_some());
            Some(lists.count())
        };
        let tenant = self.tenant();
        let before = asked(&tenant.seen()).unwrap_or(0);
        self.wait_while_alive(&format!("{more} more lists are asked for"), |within| {
            tenant.wait(within, |seen| asked(seen).filter(|now| *now >= before + more))
        });
    }

    pub fn wait_delivered_of(&self, ids: &[u64]) {
        let ids: BTreeSet<u64> = ids.iter().copied().collect();
        self.wait_while_alive("these are delivered", |within| {
            self.ledger.wait(within, |book| {
                let came = book.entries.iter().filter(|entry| entry.deliveries > 0);
                (came.filter(|entry| ids.contains(&entry.id)).count() == ids.len()).then_some(())
            })
        });
    }

    pub fn wait_healthy(&self) {
        self.wait_status_is("/state", "healthy");
    }

    pub fn wait_unhealthy(&self) {
        self.wait_while_alive("the state is not healthy", |within| {
            self.wait_status(within, |status| (status["state"] != "healthy").then_some(()))
        });
    }

    /// What `status --json` says.
    pub fn status_told(&self) -> Value {
        let ended = self.command(&["status", "--json"]);
        serde_json::from_str(&ended.out).unwrap_or_else(|why| panic!("{why}\n{}", ended.out))
    }

    pub fn assert_told_once(&self, code: &str) {
        assert_eq!(self.log().matches(code).count(), 1, "{code} is told once\n{}", self.story());
    }

    pub fn assert_not_told(&self, code: &str) {
        assert_eq!(self.log().matches(code).count(), 0, "{code} is not told\n{}", self.story());
    }

    /// Over so many more requests for lists no status says healthy while something is missing.
    pub fn assert_never_healthy_while_missing(&self, requests: usize) {
        self.watch(requests, |status| {
            let said = status["state"].as_str().unwrap_or_default().to_string();
            let missing = self.ledger.balance().lost;
            assert!(said != "healthy" || missing == 0, "{missing} are missing\n{}", self.story());
        });
    }

    /// Looks at every status over so many more requests for lists.
    pub fn watch(&self, requests: usize, look: impl Fn(&Value)) {
        let lists = || self.tenant().seen().iter().filter(|seen| seen.kind.is_some()).count();
        let before = lists();
        self.wait_while_alive(&format!("{requests} more lists are asked for"), |within| {
            self.wait_status(within, |status| {
                look(status);
                (lists() >= before + requests).then_some(())
            })
        });
    }

    /// The gaps that the status shows.
    pub fn gaps(&self) -> Vec<Value> {
        let status = self.status().unwrap_or_default();
        status.pointer("/gaps/latest").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    /// Waits until everything published is delivered, or lies within a gap.
    pub fn settle_or_tell(&self) {
        self.wait_while_alive("all is delivered or told to be missing", |within| {
            let told = |_: &Value| (self.missing_and_unreported() == 0).then_some(());
            self.wait_status(within, told)
        });
    }

    fn missing_and_unreported(&self) -> usize {
        let gaps = self.gaps();
        let is_told = |entry: &Published| gaps.iter().any(|gap| covers(gap, entry));
        self.ledger.look(|book| book.missing().filter(|entry| !is_told(entry)).count())
    }

    /// Waits until each stream's position is no later than the present.
    pub fn wait_position_is_past(&self) {
        let latest = self.tenant().clock().now_us() + HOUR / 6;
        self.wait_while_alive("no position is ahead", |within| {
            self.wait_status(within, |status| {
                let streams = status["streams"].as_array()?;
                let is_past = |stream: &Value| {
                    stream["position"]
                        .as_str()
                        .and_then(read_query_time)
                        .is_some_and(|at| at <= latest)
                };
                streams.iter().all(is_past).then_some(())
            })
        });
    }

    /// The most pages that were asked for in one walk.
    pub fn longest_walk(&self, kind: Kind) -> usize {
        let (mut longest, mut pages) = (0, 0);
        for seen in self.tenant().seen().iter().filter(|seen| seen.polls(kind)) {
            pages = if seen.parameter("cursor").is_some() { pages + 1 } else { 1 };
            longest = longest.max(pages);
        }
        longest
    }

    /// Waits until so many more walks have begun.
    pub fn wait_walks(&self, kind: Kind, more: usize) {
        let begins = |seen: &crate::support::tenant::Seen| {
            seen.polls(kind) && seen.parameter("cursor").is_none()
        };
        assert!(
            self.tenant().wait_for(more, PATIENCE, begins),
            "{more} more walks do not begin\n{}",
            self.story()
        );
    }
}

fn covers(gap: &Value, entry: &Published) -> bool {
    let edge = |name: &str| gap[name].as_str().and_then(read_query_time);
    let stream = format!("{}/{}", entry.stream.tenant, entry.stream.kind.name());
    gap["stream"] == stream.as_str()
        && edge("from").is_none_or(|from| from <= entry.position_us)
        && edge("to").is_none_or(|to| entry.position_us <= to)
}
