//! What a batch, or an empty array, meets on its way to the sink, and how it is answered.

use s1_coralogix::record::{Answer, NetTrouble, TrialKey};
use s1_coralogix::time::{Span, Stamp};

use crate::lies::{Claim, Side};
use crate::sink::{Dropping, Entry, Sink, entries, is_poison};
use crate::world::Shared;

impl Shared {
    pub fn deliver(&mut self, gzip: &[u8]) -> Result<Answer, NetTrouble> {
        let (begun, told) = (self.now, self.is_bound());
        self.link.begin(&self.link.delivery, "sent", self.true_time(), begun, told);
        self.link.delivery.carry(begun, gzip.len() as u64);
        let answer = self.deliver_at_last(gzip);
        let is_taken = answer.as_ref().is_ok_and(|answer| (200..300).contains(&answer.status));
        if !is_taken && let [alone] = &entries(gzip)[..] {
            *self.failed_alone.entry(alone.text.clone()).or_default() += 1;
        }
        answer.map(|answer| self.dated(Side::Sink, answer))
    }

    fn deliver_at_last(&mut self, gzip: &[u8]) -> Result<Answer, NetTrouble> {
        self.now += self.prng.below(300);
        let faults = self.faults.clone();
        let date = self.true_time();
        if self.within(&faults.sink_outage, "sink outage") {
            self.sent_in_outage += 1;
            return Err(NetTrouble::silent(Span::minutes(1)));
        }
        let permille = faults.percent * 10;
        if self.hit("sink unreachable", permille) {
            return Err(NetTrouble::Connect("simulated".into()));
        }
        if self.within(&faults.key_refused, "key refused") {
            return Ok(Self::refusal(403, None, false, date));
        }
        if self.hit("sink busy", permille) {
            let status = [408, 429, 503][self.prng.below(3) as usize];
            let retry_after = [None, Some("45")][self.prng.below(2) as usize];
            return Ok(Self::refusal(status, retry_after, true, date));
        }
        // A single record is never refused for its size, else it would rightly be parked.
        let batch = entries(gzip);
        if batch.len() > 1 && self.hit("sink too small", permille) {
            return Ok(Self::refusal(413, None, true, date));
        }
        if self.lies.tells(Claim::WebPage, self.now).is_some() {
            return Ok(Self::web_page(200, date));
        }
        if let Some(variant) = self.lies.tells(Claim::OddSuccess, self.now) {
            let status = [203, 206, 226][(variant % 3) as usize];
            return Ok(Answer { status, ..Answer::default() });
        }
        if let Some(refusal) = self.bear_batch(gzip.len(), batch.len(), date)? {
            return Ok(refusal);
        }
        let every = self.poison_every;
        if Sink::holds(&batch, |text| is_poison(text, every)) {
            self.meet("poison");
            let forbidden = self.lies.tells(Claim::ContentForbidden, self.now).is_some();
            if forbidden {
                return Ok(Self::refusal(403, None, false, date));
            }
            return self.poisoned(date);
        }
        let answer = self.take_in(batch, date);
        if self.hit("reply lost", permille) {
            return Err(NetTrouble::Broken("simulated".into()));
        }
        Ok(answer)
    }

    /// An empty array meets what a batch meets, but for what is in a batch.
    pub fn try_key(&mut self, key: TrialKey) -> Result<Answer, NetTrouble> {
        let answer = self.try_key_at_last(key);
        answer.map(|answer| self.dated(Side::Sink, answer))
    }

    fn try_key_at_last(&mut self, key: TrialKey) -> Result<Answer, NetTrouble> {
        self.now += self.prng.below(300);
        let (faults, date) = (self.faults.clone(), self.true_time());
        if self.within(&faults.sink_outage, "sink outage") {
            return Err(NetTrouble::silent(Span::minutes(1)));
        }
        if self.hit("sink unreachable", faults.percent * 10) {
            return Err(NetTrouble::Connect("simulated".into()));
        }
        if self.lies.tells(Claim::WebPage, self.now).is_some() {
            return Ok(Self::web_page(200, date));
        }
        if let Some(variant) = self.lies.tells(Claim::OddSuccess, self.now) {
            let status = [203, 206, 226][(variant % 3) as usize];
            return Ok(Answer { status, ..Answer::default() });
        }
        if key == TrialKey::MadeUp || faults.key_refused.contains(&self.now) {
            return Ok(Self::refusal(403, None, false, date));
        }
        Ok(Answer { status: 200, ..Answer::default() })
    }

    /// The sink takes a batch in, or as much of it as it says.
    fn take_in(&mut self, batch: Vec<Entry>, date: Stamp) -> Answer {
        let dropping = match () {
            () if self.lies.tells(Claim::DropsAll, self.now).is_some() => Dropping::All,
            () if self.lies.tells(Claim::DropsSome, self.now).is_some() => Dropping::Some,
            () => Dropping::Nothing,
        };
        // By the true time, whatever its `Date` says.
        let count = batch.len();
        let dropped = self.sink.accept(batch, date, dropping);
        let remark = self.lies.tells(Claim::Remark, self.now).is_some();
        let body = match dropped {
            0 if remark => r#"{"request_id":"af31","took_ms":4}"#.to_owned(),
            0 => String::new(),
            _ => said_of(dropped, count),
        };
        Answer { status: 200, body: body.into(), ..Answer::default() }
    }
}

/// In which words a batch is answered of which so many of all were thrown away.
fn said_of(dropped: usize, all: usize) -> String {
    let taken = all - dropped;
    match dropped % 6 {
        0 => format!(r#"{{"message":"{dropped} logs were not accepted"}}"#),
        1 => format!(
            r#"{{"partialSuccess":{{"errorMessage":"quota","rejectedLogRecords":{dropped}}}}}"#
        ),
        2 => format!("{dropped} logs were dropped"),
        // What is said of the taken alone.
        3 => format!(r#"{{"accepted":{taken},"total":{all}}}"#),
        4 => format!("Accepted {taken} of {all} logs"),
        _ => format!("{taken} logs accepted"),
    }
}
