//! One life: a box with its disk, clock and network, seeded.
//!
//! Promises: everything that happens follows from the seed. Faults stop at a known time, so that
//! what must come true in the end can be asked for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use s1_coralogix::edge::{Ask, Edge, Signals, Woke};
use s1_coralogix::prng::Prng;
use s1_coralogix::record::{Answer, Credential, NetTrouble, TrialKey};
use s1_coralogix::time::{Mono, Span, Stamp};

use crate::disk;
use crate::link::Link;
use crate::sink::Sink;
use crate::tenant::{Lie, Published, Tenant, http_date};

/// A life begins here, by everybody's clock but perhaps the box's own.
pub const BIRTH: Stamp = Stamp(1_790_000_000_000_000);
/// What `/etc/localtime` never told: the box comes up in 1970, in 2040, two hours off, or where it
/// was switched off days ago.
const CLOCK_ERRORS_SECONDS: [i64; 6] = [0, -1_789_990_000, 430_000_000, 7_200, -7_200, -200_000];

/// What goes wrong in this life and when, in milliseconds since birth.
#[derive(Clone, Debug)]
pub struct Faults {
    pub end: u64,
    pub percent: u64,
    pub cut_permille: u64,
    pub disk_permille: u64,
    /// How often something has rotted when the box comes up again.
    pub rot_percent: u64,
    /// Whether it is the log that rots. Then the disk makes no errors: a frame that was given up
    /// is only known to the index until SentinelOne was asked again (docs/RELIABILITY.md).
    pub log_rots: bool,
    /// Something else fills the disk and frees it again.
    pub disk_full: Range<u64>,
    pub source_outage: Range<u64>,
    pub sink_outage: Range<u64>,
    pub token_refused: Range<u64>,
    pub key_refused: Range<u64>,
    pub threats_forbidden: Range<u64>,
}

pub struct Shared {
    pub prng: Prng,
    /// Milliseconds since birth.
    pub now: u64,
    /// When this boot began.
    pub booted: u64,
    pub faults: Faults,
    pub tenant: Tenant,
    pub sink: Sink,
    pub stop: bool,
    pub met: BTreeMap<&'static str, u64>,
    pub asked: u64,
    pub asked_in_outage: u64,
    pub sent_in_outage: u64,
    pub boots: u64,
    pub steps: u64,
    clock_error: i64,
    server_date: Option<(Stamp, u64)>,
    changed: Vec<(u64, Credential)>,
    pub link: Link,
    /// In a life of `--once` windows bind nobody.
    pub windows_bind: bool,
    received: u64,
    /// Every this many-th record is one the sink can't take; 0: none.
    pub poison_every: u64,
    /// For so many more actions every operation of the disk fails.
    pub disk_dead_for: u64,
}

#[derive(Clone)]
pub struct SimEdge(pub Rc<RefCell<Shared>>);

impl Shared {
    pub fn new(mut prng: Prng, faults: Faults, tenant: Tenant, poison_every: u64) -> Shared {
        let clock_error = CLOCK_ERRORS_SECONDS[prng.below(6) as usize];
        let changed = vec![
            (faults.token_refused.end, Credential::Token(0)),
            (faults.key_refused.end, Credential::Key),
        ];
        Shared {
            prng,
            now: 0,
            booted: 0,
            faults,
            tenant,
            sink: Sink::default(),
            stop: false,
            met: BTreeMap::new(),
            asked: 0,
            asked_in_outage: 0,
            sent_in_outage: 0,
            boots: 1,
            steps: 0,
            clock_error,
            server_date: None,
            changed,
            link: Link::default(),
            windows_bind: true,
            received: 0,
            poison_every,
            disk_dead_for: 0,
        }
    }

    pub fn true_time(&self) -> Stamp {
        BIRTH + Span(self.now)
    }

    pub fn boot(&mut self) {
        self.booted = self.now;
        self.boots += 1;
        self.server_date = None;
        self.link.boot();
        self.clock_error = CLOCK_ERRORS_SECONDS[self.prng.below(6) as usize];
    }

    /// Whether a fault of this kind strikes now.
    pub fn hit(&mut self, fault: &'static str, permille: u64) -> bool {
        let hit = self.now < self.faults.end && self.prng.below(1_000) < permille;
        if hit {
            self.meet(fault);
        }
        hit
    }

    pub fn meet(&mut self, fault: &'static str) {
        *self.met.entry(fault).or_default() += 1;
    }

    fn within(&mut self, range: &Range<u64>, fault: &'static str) -> bool {
        let within = range.contains(&self.now);
        if within {
            self.meet(fault);
        }
        within
    }

    fn mono(&self) -> Mono {
        // Boots of a real box start anywhere; zero would hide mistakes.
        Mono(1_000_000 + self.now - self.booted)
    }

    fn told(&mut self, date: Stamp) {
        // The header has whole seconds.
        self.server_date = Some((Stamp(date.0 / 1_000_000 * 1_000_000), self.now));
    }

    fn refusal(status: u16, retry_after: Option<&str>, html: bool, date: Stamp) -> Answer {
        let (content_type, body) = if html {
            ("text/html", "<html><head><title>429 Too Many Requests</title></head></html>")
        } else {
            ("application/json", r#"{"errors":[{"code":0,"detail":null,"title":"simulated"}]}"#)
        };
        Answer {
            status,
            date: Some(http_date(date)),
            retry_after: retry_after.map(str::to_owned),
            content_type: Some(content_type.into()),
            body: body.into(),
        }
    }

    fn ask(&mut self, ask: &Ask) -> Result<Answer, NetTrouble> {
        let (begun, told) = (self.now, self.windows_bind && self.server_date.is_some());
        // Whether there is anything older is asked at once, as part of the page that raised it.
        if !matches!(ask, Ask::Page(path) if path.contains("__lt=")) {
            self.link.begin(&self.link.polling, "asked", self.true_time(), begun, told);
        }
        let answer = self.ask_at_last(ask);
        let bytes = answer.as_ref().map_or(0, |answer| answer.body.len() as u64);
        self.received += bytes;
        self.link.polling.carry(begun, bytes);
        answer
    }

    fn ask_at_last(&mut self, ask: &Ask) -> Result<Answer, NetTrouble> {
        self.now += self.prng.below(300);
        self.asked += 1;
        let faults = self.faults.clone();
        let date = self.true_time();
        if self.within(&faults.source_outage, "source outage") {
            self.asked_in_outage += 1;
            return Err(NetTrouble::Connect("simulated outage".into()));
        }
        let permille = faults.percent * 10;
        if self.hit("source unreachable", permille) {
            return Err(NetTrouble::Broken("simulated".into()));
        }
        self.told(date);
        if self.within(&faults.token_refused, "token refused") {
            return Ok(Self::refusal(401, None, false, date));
        }
        let threats = matches!(ask, Ask::Page(path) if path.contains("/threats?"));
        if threats && self.within(&faults.threats_forbidden, "threats forbidden") {
            let status = if self.prng.chance(50) { 401 } else { 403 };
            return Ok(Self::refusal(status, None, false, date));
        }
        if self.hit("source busy", permille) {
            let later = http_date(date + Span::seconds(90));
            let forms = [None, Some("30"), Some(later.as_str())];
            let form = forms[self.prng.below(3) as usize];
            return Ok(Self::refusal(429, form, true, date));
        }
        if self.hit("source error", permille) {
            let status = [500, 502, 503][self.prng.below(3) as usize];
            let html = self.prng.chance(50);
            return Ok(Self::refusal(status, None, html, date));
        }
        if matches!(ask, Ask::Page(path) if path.contains("cursor="))
            && self.hit("bad cursor", permille)
        {
            return Ok(Self::refusal(400, None, false, date));
        }
        let cut_at = self.hit("source cut short", permille).then(|| self.prng.next_u64() as usize);
        let counts = matches!(ask, Ask::Page(path) if path.contains("countOnly"));
        let lie = (counts && self.hit("no count", permille))
            .then(|| [Lie::Cap, Lie::Zero, Lie::Nothing][self.prng.below(3) as usize]);
        Ok(self.tenant.answer(ask, date, cut_at, lie))
    }

    fn deliver(&mut self, gzip: &[u8]) -> Result<Answer, NetTrouble> {
        let (begun, told) = (self.now, self.windows_bind && self.server_date.is_some());
        self.link.begin(&self.link.delivery, "sent", self.true_time(), begun, told);
        self.link.delivery.carry(begun, gzip.len() as u64);
        self.now += self.prng.below(300);
        let faults = self.faults.clone();
        let date = self.true_time();
        if self.within(&faults.sink_outage, "sink outage") {
            self.sent_in_outage += 1;
            return Err(NetTrouble::Timeout);
        }
        let permille = faults.percent * 10;
        if self.hit("sink unreachable", permille) {
            return Err(NetTrouble::Connect("simulated".into()));
        }
        self.told(date);
        if self.within(&faults.key_refused, "key refused") {
            return Ok(Self::refusal(403, None, false, date));
        }
        if self.hit("sink busy", permille) {
            let status = [408, 429, 503][self.prng.below(3) as usize];
            return Ok(Self::refusal(
                status,
                [None, Some("45")][self.prng.below(2) as usize],
                true,
                date,
            ));
        }
        // A single record is never refused for its size, else it would rightly be parked.
        if Sink::count(gzip) > 1 && self.hit("sink too small", permille) {
            return Ok(Self::refusal(413, None, true, date));
        }
        let every = self.poison_every;
        if !self.sink.accept(gzip, date, |text| is_poison(text, every)) {
            self.meet("poison");
            return Ok(Self::refusal(400, None, false, date));
        }
        if self.hit("reply lost", permille) {
            return Err(NetTrouble::Broken("simulated".into()));
        }
        Ok(Answer { status: 200, date: Some(http_date(date)), ..Answer::default() })
    }
}

/// Poison is known by the record's number, so that both sides agree.
pub fn is_poison(text: &str, every: u64) -> bool {
    let id = text.split(r#""id":""#).nth(1).and_then(|rest| rest.split('"').next());
    let number: u64 = id.and_then(|id| id.parse().ok()).expect("a record of ours has an id");
    every > 0 && number.is_multiple_of(every)
}

impl Edge for SimEdge {
    fn mono(&mut self) -> Mono {
        self.0.borrow().mono()
    }

    fn wall(&mut self) -> Stamp {
        let shared = self.0.borrow();
        match shared.server_date {
            Some((date, at)) => date + Span(shared.now - at),
            None => Stamp(shared.true_time().0 + shared.clock_error * 1_000_000),
        }
    }

    fn wall_is_told(&mut self) -> bool {
        self.0.borrow().server_date.is_some()
    }

    fn second_of_day(&mut self) -> u32 {
        let wall = self.wall();
        self.0.borrow().link.second_of_day(wall)
    }

    fn received_bytes(&mut self) -> u64 {
        self.0.borrow().received
    }

    fn ask(&mut self, tenant: usize, ask: &Ask) -> Result<Answer, NetTrouble> {
        assert_eq!(tenant, 0);
        self.0.borrow_mut().ask(ask)
    }

    fn deliver(&mut self, gzip: &[u8]) -> Result<Answer, NetTrouble> {
        self.0.borrow_mut().deliver(gzip)
    }

    fn try_key(&mut self, key: TrialKey) -> Result<Answer, NetTrouble> {
        let shared = self.0.borrow();
        let date = shared.true_time();
        let range = shared.faults.key_refused.clone();
        if key == TrialKey::MadeUp || range.contains(&shared.now) {
            return Ok(Shared::refusal(403, None, false, date));
        }
        Ok(Answer { status: 200, date: Some(http_date(date)), ..Answer::default() })
    }

    fn sleep(&mut self, until: Mono) -> Woke {
        let mut shared = self.0.borrow_mut();
        let until = shared.booted + (until.0 - 1_000_000);
        assert!(until > shared.now, "a sleep that is already over");
        let changes = shared.changed.iter().map(|(at, _)| at + 1_000);
        let change = changes.filter(|at| *at > shared.now).min();
        shared.steps = 0;
        match change {
            Some(at) if at < until => {
                shared.now = at;
                Woke::Credential
            }
            _ => {
                shared.now = until;
                Woke::Time
            }
        }
    }

    fn signals(&mut self) -> Signals {
        Signals { stop: self.0.borrow().stop, ..Signals::default() }
    }

    fn fresh_credentials(&mut self) -> Vec<Credential> {
        let mut shared = self.0.borrow_mut();
        let now = shared.now;
        let (over, ahead): (Vec<_>, Vec<_>) = shared.changed.iter().partition(|(at, _)| *at <= now);
        shared.changed = ahead;
        over.into_iter().map(|(_, credential)| credential).collect()
    }

    fn disk_written_bytes(&mut self) -> Option<u64> {
        None
    }

    fn token_end(&mut self, _: usize) -> Option<Stamp> {
        None
    }
}

impl Shared {
    pub fn hit_quietly(&mut self, permille: u64) -> bool {
        self.now < self.faults.end && self.prng.below(1_000) < permille
    }

    /// Whether every record that has to arrive has arrived. Looked at now and then only.
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// Of what was visible at a time, what has not arrived.
    pub fn missing_of(&self, time: Stamp) -> Vec<&str> {
        let overlap = self.tenant.overlap;
        let visible = self.tenant.rows.iter().filter(|row| {
            // When that one is found is up to reconciliation.
            row.visible <= time && !row.is_very_late(overlap)
        });
        let visible: std::collections::BTreeSet<&str> =
            visible.map(|row| row.json.as_str()).collect();
        self.missing().into_iter().filter(|text| visible.contains(text)).collect()
    }

    /// Whether a row has to be found in the end. What was counted does not survive its index, nor a
    /// hole in the log, and either may follow from a disk that fails.
    pub fn is_wanted(&self, row: &Published) -> bool {
        let damage = disk::FAULTS.iter().chain(&["count begun anew"]);
        let uncounted = damage.into_iter().any(|fault| self.met.contains_key(fault));
        row.hidden_from.is_none() && !(uncounted && row.is_very_late(self.tenant.overlap))
    }

    /// How many records arrived that no poll could have found.
    pub fn very_late_received(&self) -> u64 {
        let received = self.sink.received.iter().map(|received| received.text.as_str());
        let received: std::collections::BTreeSet<&str> = received.collect();
        let very_late = self.tenant.rows.iter().filter(|row| {
            row.is_very_late(self.tenant.overlap) && received.contains(row.json.as_str())
        });
        very_late.count() as u64
    }

    pub fn missing(&self) -> std::collections::BTreeSet<&str> {
        let mut wanted: std::collections::BTreeSet<&str> = (self.tenant.rows.iter())
            .filter(|row| self.is_wanted(row) && !is_poison(&row.json, self.poison_every))
            .map(|row| row.json.as_str())
            .collect();
        for received in &self.sink.received {
            wanted.remove(received.text.as_str());
        }
        wanted.extend(self.untold());
        wanted
    }

    /// Records that the sink refused and whose gap it was not told of.
    pub fn untold(&self) -> impl Iterator<Item = &str> {
        let refused = self
            .tenant
            .rows
            .iter()
            .filter(|row| self.is_wanted(row) && is_poison(&row.json, self.poison_every));
        let untold = refused.filter(|row| {
            let stream = format!("acme/{}", row.kind.name());
            !self.sink.words.iter().any(|word| word.tells_of(&stream, row.stamp))
        });
        untold.map(|row| row.json.as_str())
    }
}
