//! How much the two services and the links bear, for a whole life: rows of a page, records of a batch,
//! bytes a second, and which rows and records nobody can get through.
//!
//! Promises: drawn apart from the rest, so that a seed keeps its life; a row that can't be fetched has
//! rows behind it, so that it can be passed over.

use std::collections::BTreeSet;
use std::io::Write;

use s1_coralogix::prng::Prng;
use s1_coralogix::record::{Answer, Bound, Excess, Kind, Late, NetTrouble};
use s1_coralogix::time::{Span, Stamp};

use crate::tenant::{Published, Tenant};
use crate::world::{Shared, is_poison};

/// `network.exchange_timeout` and `network.timeout`.
pub const WHOLE: Span = Span::minutes(15);
pub const SILENCE: Span = Span::minutes(1);
/// Every this many-th row can't be fetched.
const BAD_EVERY: u64 = 23;

#[derive(Clone, Debug, Default)]
pub struct Bears {
    /// Pages with more rows, and batches with more records, fail.
    rows: Option<usize>,
    records: Option<usize>,
    /// A page that is asked for with a higher limit is refused with 400.
    limit_max: Option<u32>,
    /// Bytes a second, and how much is lost of what was carried before an exchange is given up.
    down: Option<u64>,
    up: Option<u64>,
    /// The rows that fail, as text, and how they and the pages that are too long do.
    bad: BTreeSet<String>,
    /// The seconds in which they were created.
    bad_seconds: BTreeSet<(Kind, i64)>,
    page_fails: u64,
    batch_fails: u64,
    /// How many records the sink fails at.
    poisoned: u64,
    /// Pages go compressed, as consoles send them.
    gzip: bool,
    /// Bytes that went over the link, both ways, those of exchanges that were given up included.
    pub carried: u64,
}

impl Bears {
    /// Half of the lives have services and links without limits.
    pub fn draw(seed: u64) -> Bears {
        let mut prng = Prng::new(seed ^ 0xbea5_5eed);
        if prng.chance(50) {
            return Bears::default();
        }
        let rate = |prng: &mut Prng| prng.chance(40).then(|| 8 << prng.below(8));
        Bears {
            rows: prng.chance(30).then(|| 1 + prng.below(40) as usize),
            records: prng.chance(30).then(|| 1 + prng.below(40) as usize),
            down: rate(&mut prng),
            up: rate(&mut prng),
            page_fails: prng.next_u64(),
            batch_fails: prng.next_u64(),
            poisoned: 0,
            limit_max: prng.chance(20).then(|| 5 << prng.below(6)),
            ..Bears::default()
        }
    }

    /// Whether a page of so many rows may be asked for at all.
    pub fn refuses_limit(&self, path: &str) -> bool {
        let limit = path.split(['?', '&']).find_map(|part| part.strip_prefix("limit="));
        let limit: Option<u32> = limit.and_then(|limit| limit.parse().ok());
        self.limit_max.zip(limit).is_some_and(|(most, limit)| limit > most)
    }

    /// A link of so many bytes a second each way, and services without limits.
    pub fn link(bytes_a_second: u64) -> Bears {
        let rate = Some(bytes_a_second);
        Bears { down: rate, up: rate, gzip: true, ..Bears::default() }
    }

    pub fn is_limited(&self) -> bool {
        let is_link = self.down.is_some() || self.up.is_some();
        is_link || self.rows.is_some() || self.records.is_some() || self.limit_max.is_some()
    }

    /// How long after the last fault all that can arrive has arrived. A row that can't be fetched takes
    /// about two hours, which is a day where the windows of polling are open for as long; a record that the
    /// sink fails at takes four where each process lives for a few tries only, and four in which it may be
    /// sent. `polling`, `delivery`: for how many minutes of a day a request may begin.
    pub fn patience(&self, polling: u64, delivery: u64) -> u64 {
        let limited = if self.is_limited() { 90 } else { 30 };
        // A bad row takes up to five hours in which polling may begin.
        let days = 300_u64.div_ceil(polling);
        let tries = Span::minutes(4 * 60 * self.poisoned * 24 * 60 / delivery);
        Span::hours(limited + 24 * days * self.bad.len() as u64).0 + tries.0
    }

    /// How much longer it takes to find what is late where rows have to be set aside first. `polling`: for
    /// how many minutes of a day a request may begin.
    pub fn listing_costs(&self, polling: u64) -> Span {
        Span::minutes(6 * 60 * self.bad.len() as u64 * 24 * 60 / polling)
    }

    /// How much longer it takes to find what is late over a link so thin that a list of a day is not
    /// carried in time: ever smaller parts of it are tried, each for as long as an exchange may take.
    pub fn listing_costs_thin(&self) -> Span {
        const DIVISIONS: u64 = 25;
        let is_thin = self.down.is_some_and(|rate| rate <= 32);
        if is_thin { WHOLE.times(DIVISIONS) } else { Span::ZERO }
    }

    pub fn down(&self) -> Option<u64> {
        self.down
    }

    pub fn up(&self) -> Option<u64> {
        self.up
    }

    /// Counts the records that the sink fails at.
    pub fn expect_poison(&mut self, tenant: &Tenant, poison_every: u64) {
        let poisoned = tenant.rows.iter().filter(|row| is_poison(&row.json, poison_every));
        self.poisoned = if self.is_limited() { poisoned.count() as u64 } else { 0 };
    }

    /// Whether some rows can't be fetched.
    pub fn are_rows_bad(&self) -> bool {
        !self.bad.is_empty()
    }

    /// Picks the rows that can't be fetched: none of the last of their kind, nor any that the sink is to
    /// see and refuse.
    pub fn spoil(&mut self, seed: u64, tenant: &Tenant, poison_every: u64) {
        let mut prng = Prng::new(seed ^ 0xbad_0f0e);
        if !self.is_limited() || prng.chance(50) {
            return;
        }
        for kind in [Kind::Activities, Kind::Threats] {
            let rows: Vec<_> = tenant.rows.iter().filter(|row| row.kind == kind).collect();
            let stays = rows.iter().filter(|row| row.hidden_from.is_none());
            let mut stamps: Vec<Stamp> = stays.map(|row| row.stamp).collect();
            stamps.dedup();
            let Some(last) = stamps.len().checked_sub(4).map(|at| stamps[at]) else { continue };
            let bad = rows.iter().filter(|row| row.id % BAD_EVERY == 3 && row.stamp < last);
            let bad = bad.filter(|row| !is_poison(&row.json, poison_every));
            for row in bad {
                self.bad.insert(row.json.clone());
                self.bad_seconds.insert(second_of(row));
            }
        }
    }

    /// Whether a row that can't be fetched was created in the same second.
    pub fn is_beside_bad(&self, row: &Published) -> bool {
        self.bad_seconds.contains(&second_of(row))
    }

    pub fn is_bad(&self, json: &str) -> bool {
        self.bad.contains(json)
    }

    /// How the page that is to be answered fails, if it does.
    fn page_failure(&self, answer: &Answer) -> Option<Fails> {
        let text = std::str::from_utf8(&answer.body).unwrap_or("");
        let is_bad = self.bad.iter().any(|row| text.contains(row.as_str()));
        let count = || text.matches(r#""id":""#).count();
        let is_long = self.rows.is_some_and(|rows| count() > rows);
        match is_bad {
            true => Some(Fails::of_row(self.page_fails)),
            false => is_long.then(|| Fails::drawn(self.page_fails)),
        }
    }
}

fn second_of(row: &Published) -> (Kind, i64) {
    (row.kind, row.created.0.div_euclid(1_000_000))
}

/// In which way an exchange fails that is not borne.
#[derive(Clone, Copy, Debug)]
enum Fails {
    Status(u16),
    Reset,
    Silent,
    TooLong,
    /// For so many seconds, or without saying for how long.
    PutOff(u16, Option<&'static str>),
    /// The console says that the query is not valid.
    Query,
}

impl Fails {
    /// One row in four is put off, and the query for one in five of the others is rejected. A page that is
    /// put off for its size costs a run of `--once` too many tries.
    fn of_row(number: u64) -> Fails {
        if !(number >> 40).is_multiple_of(4) {
            let is_query = (number >> 48).is_multiple_of(5);
            return if is_query { Fails::Query } else { Fails::drawn(number) };
        }
        let forms = [(429, None), (429, Some("7")), (503, Some("20"))];
        let (status, retry_after) = forms[(number % 3) as usize];
        Fails::PutOff(status, retry_after)
    }

    /// One in four is said by something between.
    fn drawn(number: u64) -> Fails {
        if (number >> 32).is_multiple_of(4) {
            return Fails::Status([403, 451, 302][(number % 3) as usize]);
        }
        [Fails::Status(500), Fails::Status(504), Fails::Reset, Fails::Silent, Fails::TooLong]
            [(number % 5) as usize]
    }
}

impl Shared {
    fn fail(&mut self, fails: Fails, date: Stamp) -> Result<Answer, NetTrouble> {
        match fails {
            Fails::Status(status) => Ok(Self::refusal(status, None, true, date)),
            Fails::Query => Ok(Self::refusal(400, None, false, date)),
            Fails::Reset => Err(NetTrouble::Broken("simulated".into())),
            Fails::PutOff(status, after) => Ok(Self::refusal(status, after, true, date)),
            Fails::TooLong => Err(NetTrouble::TooLong(Excess::default())),
            Fails::Silent => {
                self.now += SILENCE.0;
                Err(NetTrouble::silent(SILENCE))
            }
        }
    }

    /// Carries so many bytes over the link, or as many as it bears in time.
    fn carry(&mut self, bytes: u64, rate: Option<u64>) -> Result<(), NetTrouble> {
        let Some(rate) = rate else { return Ok(()) };
        self.meet("thin link");
        let took = Span(bytes * 1_000 / rate);
        self.now += took.0.min(WHOLE.0);
        if took <= WHOLE {
            self.bears.carried += bytes;
            return Ok(());
        }
        self.meet("too long for the link");
        let carried = WHOLE.0 / 1_000 * rate;
        self.bears.carried += carried;
        let late = Late { bound: Bound::Whole, after: WHOLE, sent: carried, received: carried };
        Err(NetTrouble::Timeout(late))
    }

    /// What becomes of a page on its way.
    pub fn bear_page(&mut self, answer: Answer, date: Stamp) -> Result<Answer, NetTrouble> {
        self.answered = Some(self.now);
        if let Some(fails) = self.bears.page_failure(&answer) {
            self.meet("page not borne");
            return self.fail(fails, date);
        }
        let Some(down) = self.bears.down else { return Ok(answer) };
        let bytes = if self.bears.gzip { gzip(&answer.body) } else { answer.body.len() as u64 };
        self.carry(bytes, Some(down))?;
        Ok(answer)
    }

    /// What becomes of a batch on its way; `Ok(None)`: it arrives.
    pub fn bear_batch(
        &mut self,
        bytes: usize,
        count: usize,
        date: Stamp,
    ) -> Result<Option<Answer>, NetTrouble> {
        self.carry(bytes as u64, self.bears.up)?;
        if self.bears.records.is_some_and(|most| count > most) {
            self.meet("batch not borne");
            let way = [Fails::Status(500), Fails::Status(413), Fails::Status(451), Fails::Reset];
            return self.fail(way[(self.bears.batch_fails % 4) as usize], date).map(Some);
        }
        Ok(None)
    }

    /// What the sink, or what stands before it, answers to a record that it can't take.
    pub fn poisoned(&mut self, date: Stamp) -> Result<Answer, NetTrouble> {
        let ways = [Fails::Status(500), Fails::Status(504), Fails::Reset, Fails::Status(400)];
        let way = match self.bears.is_limited() {
            true => ways[(self.bears.batch_fails / 4 % 4) as usize],
            false => Fails::Status(400),
        };
        match way {
            Fails::Status(400) => Ok(Self::refusal(400, None, false, date)),
            other => self.fail(other, date),
        }
    }
}

/// How long it is once compressed.
fn gzip(bytes: &[u8]) -> u64 {
    let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    out.write_all(bytes).and_then(|()| out.finish()).expect("memory takes it").len() as u64
}
