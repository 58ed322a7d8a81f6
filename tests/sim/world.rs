//! One life: a box with its disk, clock and network, seeded.
//!
//! Promises: everything that happens follows from the seed. Faults stop at a known time, so that
//! what must come true in the end can be asked for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use s1_coralogix::answer::parse_retry_after;
use s1_coralogix::core::Health;
use s1_coralogix::edge::{Ask, Edge, Signals, Stamping, Woke};
use s1_coralogix::net::service_times::ServiceTimes;
use s1_coralogix::os::clock::{Moment, Source};
use s1_coralogix::prng::Prng;
use s1_coralogix::record::{Answer, CredentialId, Kills, NetTrouble, TrialKey};
use s1_coralogix::time::{BUILT_AT, Clocks, Mono, SinkOff, Span, Stamp};

use crate::bears::Bears;
use crate::lies::{Claim, Lies, Side};
use crate::link::Link;
use crate::sink::Sink;
pub use crate::sink::is_poison;
use crate::tenant::{Lie, PageLies, Tenant, http_date, sent};
use crate::watch::Watch;

/// A life begins here, by everybody's clock but perhaps the box's own. It is years after the date of
/// the program, before which no clock can be right.
pub const BIRTH: Stamp = Stamp(1_900_000_000_000_000);
const _: () = assert!(BUILT_AT.0 < BIRTH.0);
/// What `/etc/localtime` never told: the box comes up in 1970, in 2040, two hours off, or where it
/// was switched off days ago.
const CLOCK_ERRORS_SECONDS: [i64; 6] = [0, -1_899_990_000, 430_000_000, 7_200, -7_200, -200_000];

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
    /// When this boot began, and for how long its clocks stood still since.
    pub booted: u64,
    paused: u64,
    pub pause: Option<Pause>,
    pub faults: Faults,
    pub lies: Lies,
    pub tenant: Tenant,
    pub sink: Sink,
    pub watch: Watch,
    pub stop: bool,
    pub met: BTreeMap<&'static str, u64>,
    /// How often each record was sent alone and not taken.
    pub failed_alone: BTreeMap<String, u32>,
    pub asked: u64,
    /// When the answer under way began to come, where its body takes time.
    pub answered: Option<u64>,
    pub asked_in_outage: u64,
    pub sent_in_outage: u64,
    pub boots: u64,
    pub steps: u64,
    clock_error: i64,
    /// In this process or an earlier one this machine's clock was ahead.
    pub clock_was_ahead: bool,
    /// It was wrong in either direction.
    pub clock_was_off: bool,
    service_times: ServiceTimes,
    source_date: Option<(Stamp, Mono)>,
    sink_date: Option<(Stamp, Mono)>,
    changed: Vec<(u64, CredentialId)>,
    pub link: Link,
    pub bears: Bears,
    /// In a life of `--once` windows bind nobody.
    pub windows_bind: bool,
    received: u64,
    /// Every this many-th record is one the sink can't take; 0: none.
    pub poison_every: u64,
    /// For so many more actions every operation of the disk fails.
    pub disk_dead_for: u64,
}

/// The machine stands still for a while, as a virtual one may: its clocks do not see it.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    /// In milliseconds since birth.
    at: u64,
    /// Whole days, so that windows are kept by clocks that stood still.
    length: u64,
    /// Not before a batch is about to be sent.
    is_before_a_batch: bool,
    /// Whether its host sets the calendar right afterwards.
    is_set_right: bool,
}

impl Pause {
    /// Few lives have one. Drawn apart, so that a seed keeps its life but for it.
    pub fn draw(seed: u64, end: u64) -> Option<Pause> {
        let mut prng = Prng::new(seed ^ 0x5ee9_9ed0);
        prng.chance(20).then(|| Pause {
            at: prng.below(end),
            length: Span::hours(24).times(1 + prng.below(4)).0,
            is_before_a_batch: prng.chance(70),
            is_set_right: prng.chance(30),
        })
    }
}

#[derive(Clone)]
pub struct SimEdge(pub Rc<RefCell<Shared>>);

impl Shared {
    pub fn new(
        mut prng: Prng,
        faults: Faults,
        lies: Lies,
        tenant: Tenant,
        poison_every: u64,
    ) -> Shared {
        let clock_error = CLOCK_ERRORS_SECONDS[prng.below(6) as usize];
        let changed = vec![
            (faults.token_refused.end, CredentialId::Token(0)),
            (faults.key_refused.end, CredentialId::Key),
        ];
        Shared {
            prng,
            now: 0,
            booted: 0,
            paused: 0,
            pause: None,
            faults,
            lies,
            watch: Watch::new(&tenant),
            tenant,
            sink: Sink::default(),
            stop: false,
            met: BTreeMap::new(),
            failed_alone: BTreeMap::new(),
            asked: 0,
            answered: None,
            asked_in_outage: 0,
            sent_in_outage: 0,
            boots: 1,
            steps: 0,
            clock_error,
            clock_was_ahead: clock_error > 0,
            clock_was_off: clock_error != 0,
            service_times: ServiceTimes::default(),
            source_date: None,
            sink_date: None,
            changed,
            link: Link::default(),
            bears: Bears::default(),
            windows_bind: true,
            received: 0,
            poison_every,
            disk_dead_for: 0,
        }
    }

    /// The box's clock is right until it boots again.
    pub fn set_clock(&mut self) {
        self.clock_error = 0;
    }

    pub fn true_time(&self) -> Stamp {
        BIRTH + Span(self.now)
    }

    /// The box's own clock.
    fn local(&self) -> Stamp {
        Stamp(self.true_time().0 + self.clock_error * 1_000_000)
    }

    fn moment(&self) -> Moment {
        Moment { mono: self.mono(), local: self.local() }
    }

    /// What the program's own edge concludes from the time that it is sent.
    fn observe_answer(&mut self, source: Source, result: &Result<Answer, NetTrouble>) {
        let now = self.moment();
        match result {
            Ok(answer) => self.service_times.observe_answer(source, answer, now),
            Err(_) if source == Source::Sink => self.service_times.sink_failed(),
            Err(_) => {}
        }
    }

    pub fn boot(&mut self) {
        (self.booted, self.paused) = (self.now, 0);
        self.boots += 1;
        self.service_times = ServiceTimes::default();
        self.source_date = None;
        self.sink_date = None;
        self.link.boot();
        self.clock_error = CLOCK_ERRORS_SECONDS[self.prng.below(6) as usize];
        self.clock_was_ahead |= self.clock_error > 0;
        self.clock_was_off |= self.clock_error != 0;
    }

    /// Stands still, if it is time to. `sends`: a batch is about to be sent.
    pub fn stand_still(&mut self, sends: bool) {
        let is_due = |pause: &mut Pause| {
            self.now >= pause.at
                && self.now < self.faults.end
                && (sends || !pause.is_before_a_batch)
        };
        let Some(pause) = self.pause.take_if(is_due) else { return };
        self.now += pause.length;
        self.paused += pause.length;
        self.clock_error -= (pause.length / 1_000).cast_signed();
        if pause.is_set_right {
            self.set_clock();
        }
        self.faults.end = self.faults.end.max(self.now);
        // Nobody looked meanwhile.
        self.glance(Health::Degraded);
        self.meet("pause");
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

    pub fn within(&mut self, range: &Range<u64>, fault: &'static str) -> bool {
        let within = range.contains(&self.now);
        if within {
            self.meet(fault);
        }
        within
    }

    fn mono(&self) -> Mono {
        // Boots of a real box start anywhere; zero would hide mistakes.
        Mono(1_000_000 + self.now - self.booted - self.paused)
    }

    /// The `Date` of an answer as it is sent, and as the program takes it.
    pub fn dated(&mut self, side: Side, answer: Answer) -> Answer {
        let truth = self.true_time();
        let date = self.lies.date(side, self.now, truth);
        // The header has whole seconds, and what is before the program's date is none to the edge.
        let heard = date.filter(|date| *date >= BUILT_AT);
        let heard = heard.map(|date| (Stamp(date.0 / 1_000_000 * 1_000_000), self.mono()));
        match side {
            Side::Source => self.source_date = heard.or(self.source_date),
            Side::Sink => self.sink_date = heard.or(self.sink_date),
        }
        Answer { sent_date: date.and_then(sent), ..answer }
    }

    /// The time as the services sent it: the sink's, else the tenant's.
    fn service_time(&self) -> Option<Stamp> {
        let received = self.sink_date.or(self.source_date);
        received.map(|(date, at)| date + self.mono().since(at))
    }

    /// Whether the windows of the life bind: somebody sent the time, and nobody sent a wrong one.
    pub fn is_bound(&self) -> bool {
        let lied = self.lies.any(|claim| claim.is_of_time());
        self.windows_bind && self.service_time().is_some() && !lied
    }

    pub fn refusal(status: u16, retry_after: Option<&str>, html: bool, date: Stamp) -> Answer {
        let (content_type, body) = if html {
            ("text/html", "<html><head><title>429 Too Many Requests</title></head></html>")
        } else {
            (
                "application/json",
                r#"{"errors":[{"code":0,"detail":null,"title":"simulated: not in the scope"}]}"#,
            )
        };
        let sent_date = sent(date);
        Answer {
            status,
            sent_date,
            retry_after: parse_retry_after(retry_after, sent_date),
            content_type: Some(content_type.into()),
            body: body.into(),
            ..Answer::default()
        }
    }

    pub fn web_page(status: u16, date: Stamp) -> Answer {
        let body = b"<html><head><title>Access denied</title></head></html>".to_vec();
        Answer { status, body, ..Self::refusal(status, None, true, date) }
    }

    fn ask(&mut self, ask: &Ask) -> Result<Answer, NetTrouble> {
        let (begun, told) = (self.now, self.is_bound());
        // Whether there is anything older is asked at once, as part of the page that raised it.
        if !matches!(ask, Ask::Page(path) if path.contains("__lt=")) {
            self.link.begin(&self.link.polling, "asked", self.true_time(), begun, told);
        }
        self.answered = None;
        if let Ask::Page(path) = ask
            && path.contains("&skip=")
        {
            self.meet("page by its place");
            if path.contains("limit=1&") || path.ends_with("limit=1") {
                self.meet("row by its place");
            }
        }
        let answer = self.ask_at_last(ask);
        // An answer is dated before its body goes over the link.
        let end = self.now;
        self.now = self.answered.unwrap_or(end);
        let answer = answer.map(|answer| self.dated(Side::Source, answer));
        self.now = end;
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
        if self.lies.tells(Claim::BlockPage, self.now).is_some() {
            return Ok(Self::web_page(403, date));
        }
        if self.lies.tells(Claim::Portal, self.now).is_some() {
            return Ok(Self::web_page(401, date));
        }
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
        let lies = match ask {
            Ask::Page(path) => self.lies.page(self.now, path),
            _ => PageLies::default(),
        };
        if lies.forbidden {
            return Ok(Self::refusal(403, None, false, date));
        }
        if matches!(ask, Ask::Page(path) if lies.is_too_long(path)) {
            return Ok(Self::refusal(504, None, true, date));
        }
        if matches!(ask, Ask::Page(path) if lies.refuses_cursor(path)) {
            return Ok(Self::refusal(400, None, false, date));
        }
        if matches!(ask, Ask::Page(path) if self.bears.refuses_limit(path)) {
            self.meet("limit refused");
            return Ok(Self::refusal(400, None, false, date));
        }
        let cut_at = self.hit("source cut short", permille).then(|| self.prng.next_u64() as usize);
        let counts = matches!(ask, Ask::Page(path) if path.contains("countOnly"));
        let lie = (counts && self.hit("no count", permille))
            .then(|| [Lie::Cap, Lie::Zero, Lie::Nothing][self.prng.below(3) as usize]);
        let answer = self.tenant.answer(ask, date, cut_at, lie, &lies);
        match ask {
            Ask::Page(_) if !counts => self.bear_page(answer, date),
            _ => Ok(answer),
        }
    }
}

impl Edge for SimEdge {
    fn reuse(&mut self, _body: Vec<u8>) {}

    fn mono(&mut self) -> Mono {
        self.0.borrow().mono()
    }

    fn wall(&mut self) -> Stamp {
        let shared = self.0.borrow();
        shared.service_time().unwrap_or(shared.local())
    }

    fn has_server_time(&mut self) -> bool {
        self.0.borrow().service_time().is_some()
    }

    fn dated(&mut self) -> Option<Stamp> {
        let shared = self.0.borrow();
        shared.service_times.dated(shared.moment())
    }

    fn stamping(&mut self) -> Stamping {
        let shared = self.0.borrow();
        shared.service_times.stamping(shared.moment())
    }

    fn clocks(&mut self) -> Clocks {
        let shared = self.0.borrow();
        shared.service_times.witnesses(shared.moment())
    }

    fn sink_off(&mut self) -> Option<SinkOff> {
        let shared = self.0.borrow();
        shared.service_times.sink_off(shared.moment())
    }

    fn second_of_day(&mut self) -> u32 {
        let wall = self.wall();
        self.0.borrow().link.second_of_day(wall)
    }

    fn kills(&mut self) -> Option<Kills> {
        None
    }

    fn page_bytes_max(&mut self) -> u64 {
        s1_coralogix::limits::PAGE_BYTES_MAX
    }

    fn received_bytes(&mut self) -> u64 {
        self.0.borrow().received
    }

    fn ask(&mut self, tenant: usize, ask: &Ask) -> Result<Answer, NetTrouble> {
        assert_eq!(tenant, 0);
        let mut shared = self.0.borrow_mut();
        let result = shared.ask(ask);
        shared.observe_answer(Source::Tenant(tenant), &result);
        result
    }

    fn deliver(&mut self, gzip: &[u8]) -> Result<Answer, NetTrouble> {
        let mut shared = self.0.borrow_mut();
        let result = shared.deliver(gzip);
        shared.observe_answer(Source::Sink, &result);
        result
    }

    fn try_key(&mut self, key: TrialKey) -> Result<Answer, NetTrouble> {
        let mut shared = self.0.borrow_mut();
        let result = shared.try_key(key);
        shared.observe_answer(Source::Sink, &result);
        result
    }

    fn sleep(&mut self, until: Mono) -> Woke {
        let mut shared = self.0.borrow_mut();
        let until = shared.booted + shared.paused + (until.0 - 1_000_000);
        assert!(until > shared.now, "a sleep that is already over");
        let changes = shared.changed.iter().map(|(at, _)| at + 1_000);
        let change = changes.filter(|at| *at > shared.now).min();
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

    fn fresh_credentials(&mut self) -> Vec<CredentialId> {
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
}
