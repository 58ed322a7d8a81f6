//! What is missing at a moment, and whether anybody could know.
//!
//! Promises: **no moment passes longer than `N` polls in which something visible is missing, no gap
//! says so, and the state is healthy**: such a life fails, whatever else is wrong with it. What
//! waits in the queue is not missing as long as delivery goes on.

use std::collections::{BTreeMap, BTreeSet};

use s1_coralogix::core::{Health, Plan};
use s1_coralogix::limits::LONE_FAILURES;
use s1_coralogix::record::{Gap, GapReason, Kind, QueueStatus};
use s1_coralogix::time::{Span, Stamp};

use crate::disk;
use crate::lies::Claim;
use crate::link::Way;
use crate::tenant::{Published, Tenant};
use crate::world::{BIRTH, Shared, is_poison};

/// `N`, and no less than this.
const POLLS: u64 = 10;
const LEAST: Span = Span::hours(2);
/// What only a count finds is found a round after the hour it was created in has closed, and a round
/// may take its time: as long as the end of a life waits.
const COUNTED: Span = Span::hours(30);

/// What is known of a life as it goes by.
#[derive(Default)]
pub struct Watch {
    /// Each version of each record by its text.
    rows: BTreeMap<String, usize>,
    /// Of all of them.
    bytes: u64,
    arrived: Vec<bool>,
    /// The same, and how much of what was received was looked at for it, to know when a life is over.
    there: (Vec<bool>, usize),
    /// How much of what was received was looked at, and when some of it was last new.
    read: usize,
    last_new: u64,
    /// Every gap that was ever in the ledger, with its stream's name. An index that is lost may count
    /// them anew, so a number is not enough.
    ledger: BTreeMap<(u64, Stamp), (String, Gap)>,
    ledger_at: (u64, u64, u64),
    glanced: u64,
    healthy_since: Option<u64>,
    next: u64,
    /// The state when it was last looked at.
    pub health: Option<Health>,
}

impl Watch {
    pub fn new(tenant: &Tenant) -> Watch {
        let rows = tenant.rows.iter().enumerate().map(|(at, row)| (row.json.clone(), at));
        let arrived = vec![false; tenant.rows.len()];
        let bytes = tenant.rows.iter().map(|row| row.json.len() as u64).sum();
        Watch {
            rows: rows.collect(),
            bytes,
            there: (arrived.clone(), 0),
            arrived,
            ..Watch::default()
        }
    }

    /// Whether the ledger has changed since it was last read.
    pub fn is_behind(&self, held: &QueueStatus) -> bool {
        self.ledger_at != (held.gaps, held.unreported, held.parked)
    }

    pub fn read_ledger(&mut self, held: &QueueStatus, gaps: Vec<Gap>) {
        self.ledger_at = (held.gaps, held.unreported, held.parked);
        let gaps = gaps.into_iter();
        let gaps = gaps.map(|gap| ((gap.number, gap.from), (gap.stream.to_string(), gap)));
        self.ledger.extend(gaps);
    }

    fn covers(&self, row: &Published, reasons: &[&str]) -> bool {
        let of_row = stream_of(row);
        let stamp_name = if row.kind == Kind::Threats { "updatedAt" } else { "createdAt" };
        // Of a row whose stamp it could not read, a gap can name the stream only.
        let is_undated = row.json.contains(&format!("\"{stamp_name}\":null"));
        self.ledger.values().any(|(stream, gap)| {
            let begins_before = gap.from <= row.stamp || gap.from == Stamp::UNREADABLE;
            reasons.contains(&gap.reason.code())
                && *stream == of_row
                && (is_undated || begins_before && gap.to >= row.stamp)
        })
    }
}

pub fn stream_of(row: &Published) -> String {
    format!("acme/{}", row.kind.name())
}

impl Shared {
    /// Looks at a moment of rest. `held`: what waits.
    pub fn look(&mut self, plan: &Plan, held: &QueueStatus, health: Health) {
        let now = self.now;
        self.watch.health = Some(health);
        if health != Health::Healthy {
            self.watch.healthy_since = None;
            return;
        }
        let since = *self.watch.healthy_since.get_or_insert(now);
        let poll = plan.streams.iter().map(|stream| stream.poll_interval.0).max().unwrap_or(0);
        let long = (POLLS * poll).max(LEAST.0)
            + self.link.patience()
            + self.windows_cost()
            + self.bears.listing_costs_thin().0;
        if now - since < long || now < self.watch.next {
            return;
        }
        self.watch.next = now + poll;
        self.read_received();
        let missing = self.unexplained(Stamp(BIRTH.0) + Span(now - long));
        let waits = held.records as usize;
        let delivers = now - self.watch.last_new.max(since) < long;
        if missing.len() > waits || (!missing.is_empty() && !delivers) {
            let texts = missing.iter().map(|row| row.json.as_str());
            let (missing, healthy) = (self.brief(texts), Span(now - since));
            panic!("healthy for {healthy} and no gap tells of {missing}; {waits} wait");
        }
    }

    /// Whether it is time for a glance where there is no rest.
    pub fn glances(&mut self) -> bool {
        let is_time = self.now >= self.watch.glanced + Span::minutes(10).0;
        if is_time {
            self.watch.glanced = self.now;
        }
        is_time
    }

    /// Looks in the middle of work: what is not well there was told.
    pub fn glance(&mut self, health: Health) {
        if health != Health::Healthy {
            self.watch.healthy_since = None;
        }
    }

    /// After the faults, once everything published is received or parked, or never will be.
    pub fn is_over(&mut self) -> bool {
        let over = self.faults.end + Span::hours(2).0;
        let ever = self.lies.last_for_ever();
        self.now > over && ((ever && self.now > over + LEAST.times(4).0) || self.has_come())
    }

    /// Whether every record that has to arrive has arrived, without looking at each of them each time.
    fn has_come(&mut self) -> bool {
        let (there, read) = &mut self.watch.there;
        for received in &self.sink.received[*read..] {
            if let Some(at) = self.watch.rows.get(&received.text) {
                there[*at] = true;
            }
        }
        *read = self.sink.received.len();
        let mut rows = self.tenant.rows.iter().zip(&self.watch.there.0);
        let is_there = rows.all(|(row, there)| {
            *there
                || !self.is_wanted(row)
                || is_poison(&row.json, self.poison_every)
                || self.is_told_missing(row)
        });
        is_there && self.unreported().next().is_none()
    }

    /// How long after the last fault all that can arrive has arrived.
    pub fn patience(&self) -> u64 {
        let open = |way: &Way| self.open_minutes(way);
        let (polling, delivery) = (open(&self.link.polling), open(&self.link.delivery));
        self.bears.patience(polling, delivery) + self.link.patience() + self.windows_cost()
    }

    /// For how many minutes of a day a request may begin there.
    fn open_minutes(&self, way: &Way) -> u64 {
        if self.windows_bind { way.open_minutes() } else { 24 * 60 }
    }

    /// What windows cost beyond a day. They go by the last time that was told: a wrong one shuts them for
    /// up to a day, and so does the next right one. And over a thin link all there is, carried twice, takes
    /// its time within them.
    fn windows_cost(&self) -> u64 {
        let binds = self.windows_bind && self.link.has_windows();
        let shut = if binds { Span::hours(48).times(self.lies.dates_told()).0 } else { 0 };
        if !binds {
            return shut;
        }
        let bytes = self.watch.bytes;
        let carried = |way: &Way, thin: Option<u64>| {
            let rate = thin.into_iter().chain(way.rate).min()?;
            Some(Span::seconds(2 * bytes / rate * 24 * 60 / way.open_minutes()).0)
        };
        let down = carried(&self.link.polling, self.bears.down());
        let up = carried(&self.link.delivery, self.bears.up());
        shut + down.into_iter().chain(up).sum::<u64>()
    }

    /// So many records, and the first of them.
    pub fn brief<'a>(&self, texts: impl Iterator<Item = &'a str>) -> String {
        let texts: Vec<&str> = texts.collect();
        let first = texts.first().and_then(|text| self.watch.rows.get(*text));
        let first = first.map_or(String::new(), |at| {
            let row = &self.tenant.rows[*at];
            let bad = if self.bears.is_bad(&row.json) { ", which can't be fetched," } else { "" };
            let (stream, stamp, visible) = (stream_of(row), row.stamp, row.visible);
            format!(", the first of {stream} {stamp}{bad} visible at {visible}")
        });
        format!("{} missing{first}", texts.len())
    }

    /// What came of a life.
    pub fn outcome(&self) -> &'static str {
        match (self.lies.last_for_ever(), &self.watch.health) {
            (true, Some(Health::Healthy)) => "for ever, healthy",
            (true, _) => "for ever, not healthy",
            _ if self.has_all() => "all arrived",
            _ => "a gap",
        }
    }

    /// Whether all that has to arrive is there, gaps or no gaps.
    fn has_all(&self) -> bool {
        let received = self.sink.received.iter().map(|received| received.text.as_str());
        let received: BTreeSet<&str> = received.collect();
        let mut wanted = self
            .tenant
            .rows
            .iter()
            .filter(|row| self.is_wanted(row) && !is_poison(&row.json, self.poison_every));
        wanted.all(|row| received.contains(row.json.as_str()))
    }

    fn read_received(&mut self) {
        for received in &self.sink.received[self.watch.read..] {
            if let Some(at) = self.watch.rows.get(&received.text) {
                self.watch.arrived[*at] = true;
            }
            self.watch.last_new = self.now;
        }
        self.watch.read = self.sink.received.len();
    }

    /// What was visible then, has not arrived, and is in no gap.
    fn unexplained(&self, visible: Stamp) -> Vec<&Published> {
        let listing = self.bears.listing_costs(self.open_minutes(&self.link.polling));
        let counted = Span(COUNTED.0 + listing.0);
        let rows = self.tenant.rows.iter().zip(&self.watch.arrived);
        let missing = rows.filter(|(row, arrived)| {
            let is_counted = self.is_up_to_counts(row);
            let found_after = if is_counted { counted } else { Span::ZERO };
            !**arrived
                && row.visible + found_after <= visible
                && self.is_wanted(row)
                && !is_poison(&row.json, self.poison_every)
                && !self.is_told_missing(row)
        });
        missing.map(|(row, _)| row).collect()
    }

    /// Whether failures by chance, so many in a row and over time, look like a record that is to blame.
    pub fn has_failed_alone(&self, row: &Published) -> bool {
        self.failed_alone.get(&row.json).is_some_and(|times| *times >= LONE_FAILURES)
    }

    /// Whether a lie or a pause lost a record and a gap says so. The truth excuses nothing.
    pub fn is_told_missing(&self, row: &Published) -> bool {
        // What was told stays told, whatever becomes of the ledger.
        let mut words = self.sink.words.iter().filter(|word| word.what == "gap");
        let is_told = self.bears.is_bad(&row.json)
            && (self.watch.covers(row, &["unfetchable"])
                || words.any(|word| word.passes_over(&stream_of(row), row.stamp)));
        let is_by_chance = self.has_failed_alone(row) && self.watch.covers(row, &["refused"]);
        if is_told || is_by_chance {
            return true;
        }
        let reasons = ["in_doubt", "position_ahead", "retention", "unfetchable"];
        let led_to = reasons.into_iter().filter(|reason| self.is_led_to(reason));
        let is_excused = !self.lies.is_empty() || self.met.contains_key("pause");
        is_excused && self.watch.covers(row, &led_to.collect::<Vec<_>>())
    }

    /// Whether a lie that was told, or a pause, may have led to a gap of this reason.
    pub fn is_led_to(&self, reason: &str) -> bool {
        match reason {
            // After a pause a batch may be too old on arrival, which a wrong `Date` that is told twice looks like;
            // one that is behind makes it too far ahead.
            "in_doubt" => {
                let is_so = |claim: Claim| claim.misdates() || claim.drops();
                self.lies.told_any(is_so) || self.met.contains_key("pause")
            }
            // A stream that began by the time of one service alone may have begun too late.
            "position_ahead" => self.lies.told_any(Claim::is_of_time) || self.clock_was_off,
            // When SentinelOne is asked for anything older, its answer is a claim as well, and a row without
            // a time proves nothing.
            "retention" => self.lies.told_any(|claim| {
                claim.is_of_time() || claim.is_of_pages() || claim == Claim::Unreadable
            }),
            // Counted, and not listed while the lie was told.
            "unfetchable" => self.lies.told_any(|claim| claim == Claim::LacksRows),
            _ => false,
        }
    }

    /// Whether only counts show that a row is missing.
    pub fn is_up_to_counts(&self, row: &Published) -> bool {
        row.is_very_late(self.tenant.overlap) || self.lies.lack(row.id)
    }

    /// Whether a position may have followed a record dated ahead of this one where SentinelOne tells no time and
    /// this machine's clock was as far ahead: what two agree on and nobody contradicts can't be told from the
    /// truth.
    fn is_led_astray(&self, row: &Published) -> bool {
        let is_so = self.lies.told_any(Claim::is_mute) && self.clock_was_ahead;
        let leads = |other: &&Published| {
            let (passes, is_first) = (other.stamp >= row.stamp, other.visible < row.visible);
            other.kind == row.kind && passes && is_first && other.is_ahead()
        };
        is_so && self.tenant.rows.iter().any(|other| leads(&other))
    }

    /// Of what was visible at a time, what has not arrived.
    pub fn missing_of(&self, time: Stamp) -> Vec<&str> {
        let visible = self.tenant.rows.iter().filter(|row| {
            // When that one is found is up to reconciliation.
            row.visible <= time && !self.is_up_to_counts(row)
        });
        let visible: BTreeSet<&str> = visible.map(|row| row.json.as_str()).collect();
        self.missing().into_iter().filter(|text| visible.contains(text)).collect()
    }

    /// Whether a row has to be found in the end. What was counted does not survive its index, nor a
    /// hole in the log, and either may follow from a disk that fails.
    pub fn is_wanted(&self, row: &Published) -> bool {
        let damage = disk::FAULTS.iter().chain(&["count begun anew"]);
        let uncounted = damage.into_iter().any(|fault| self.met.contains_key(fault));
        // Where stamps can't be read, nor can when a record was created, by which it is counted.
        let uncounted = uncounted || self.lies.any(|claim| claim == Claim::Unreadable);
        // A run of `--once` gives its round up at the first failure, and the next one begins anew.
        let uncounted = uncounted || (!self.windows_bind && self.bears.is_limited());
        // A list is divided down to the second of a row that can't be fetched, and no further.
        let uncounted = uncounted || self.bears.is_beside_bad(row);
        let is_found = !(uncounted && self.is_up_to_counts(row));
        row.hidden_from.is_none() && is_found && !self.is_led_astray(row)
    }

    /// How many records arrived that no poll could have found.
    pub fn very_late_received(&self) -> u64 {
        let received = self.sink.received.iter().map(|received| received.text.as_str());
        let received: BTreeSet<&str> = received.collect();
        let very_late = self.tenant.rows.iter().filter(|row| {
            row.is_very_late(self.tenant.overlap) && received.contains(row.json.as_str())
        });
        very_late.count() as u64
    }

    pub fn missing(&self) -> BTreeSet<&str> {
        let mut wanted: BTreeMap<&str, &Published> = (self.tenant.rows.iter())
            .filter(|row| self.is_wanted(row) && !is_poison(&row.json, self.poison_every))
            .map(|row| (row.json.as_str(), row))
            .collect();
        for received in &self.sink.received {
            wanted.remove(received.text.as_str());
        }
        wanted.retain(|_, row| !self.is_told_missing(row));
        wanted.into_keys().chain(self.unreported()).collect()
    }

    /// Records that the sink refused and whose gap it was not told of.
    pub fn unreported(&self) -> impl Iterator<Item = &str> {
        let refused = self
            .tenant
            .rows
            .iter()
            .filter(|row| self.is_wanted(row) && is_poison(&row.json, self.poison_every))
            // What was passed over never came to the sink.
            .filter(|row| !self.is_told_missing(row));
        let is_restamped = self.lies.any(Claim::is_of_records);
        let is_deaf = self.is_led_to("in_doubt");
        let unreported = refused.filter(move |row| {
            let mut words = self.sink.words.iter();
            let is_told = words.any(|word| {
                word.tells_of(&stream_of(row), row.stamp)
                    || (is_restamped && word.may_tell_of(&stream_of(row)))
            });
            // What it threw away, and said so, it was told.
            !(is_told || is_deaf && self.watch.covers(row, &[GapReason::Refused.code()]))
        });
        unreported.map(|row| row.json.as_str())
    }
}
