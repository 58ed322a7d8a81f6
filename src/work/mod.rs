//! The way of a record: each action of the core done with the edge, the queue and the formats.
//!
//! ```text
//!   Fetch: edge --answer--> s1::page --keys--> core
//!   Store: rows --coralogix::entry--> pack --frames--> queue
//!   Send:  queue --pieces--> coralogix::body --gzip--> edge --answer--> coralogix::verdict
//! ```
//!
//! Promises: a record's bytes are those SentinelOne sent; the page in hand is dropped only when
//! the core says so or it was stored. Never: decides what comes next, waits, or reads a clock of
//! its own. The simulation runs this same code over a simulated edge and disk.

mod ask;
mod hand;
mod mend;
mod note;
mod reconcile;

use std::collections::BTreeSet;

use crate::coralogix::entry::Labels;
use crate::coralogix::{body, verdict};
use crate::core::{Action, Event, Fetch, Keep, Missed, PageFacts, SetBack, Tick, World};
use crate::edge::{Ask, Edge, Stamping};
use crate::frame::Piece;
use crate::limits;
use crate::message::tell;
use crate::queue::disk::Disk;
use crate::queue::index::Opener;
use crate::queue::{Back, Queue, QueueError};
use crate::record::{
    Answer, Gap, Kind, Learned, NetTrouble, Place, SinkVerdict, SourceTrouble, StreamName, Take,
    TrialKey,
};
use crate::time::{Mono, Span, Stamp};
use crate::window::{Carried, Gate, Windows};

use hand::Hand;

/// What the worker has to know of a stream beyond what the core knows.
#[derive(Clone, Debug)]
pub struct StreamWork {
    pub name: StreamName,
    pub kind: Kind,
    pub tenant: usize,
    pub labels: Labels,
}

impl StreamWork {
    pub fn new(integration: &str, kind: Kind, tenant: usize, labels: Labels) -> StreamWork {
        StreamWork { name: StreamName::polled(integration, kind), kind, tenant, labels }
    }
}

/// What was met on the way and is worth telling, though nothing is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records longer than `limits::LONG_RECORD_BYTES`, delivered whole.
    pub long_records: u64,
    /// Pages whose invalid UTF-8 was replaced by U+FFFD, for JSON can't carry it.
    pub repaired_pages: u64,
    /// Entries sent without `timestamp`, because theirs is too old or ahead.
    pub unstamped: u64,
    /// Records parked since the start.
    pub parked: u64,
    /// Records collected without a stamp that can be read.
    pub unreadable_stamps: u64,
}

pub struct Worker<E: Edge, D: Disk, O: Opener> {
    edge: E,
    queue: Queue<D, O>,
    streams: Vec<StreamWork>,
    hand: Option<Hand>,
    /// The head of the batch that was just refused, for parking, and the words it was refused with.
    refused: Option<(Piece, String)>,
    /// What the answer to what was just sent said against it.
    doubted: Option<String>,
    counters: Counters,
    /// Coralogix's first remark was told; the core counts them all.
    remark_told: bool,
    /// So was that Coralogix tells no time.
    no_time_told: bool,
    /// The streams of which an unreadable stamp was told.
    undated_told: BTreeSet<usize>,
    /// The last remark, and when it came.
    last_remark: Option<(Stamp, String)>,
    /// Set by SIGHUP until someone looks.
    reload: bool,
    /// When this process has settled; `MAX` once that is noted.
    settles: Option<Mono>,
    /// When the sink and the tenants may be used, by local time.
    delivery: Windows,
    polling: Windows,
    /// Bytes of the bodies posted to the sink.
    sent: Carried,
}

impl<E: Edge, D: Disk, O: Opener> Worker<E, D, O> {
    pub fn new(edge: E, queue: Queue<D, O>, streams: Vec<StreamWork>) -> Self {
        let counters = Counters::default();
        Worker {
            edge,
            queue,
            streams,
            hand: None,
            refused: None,
            doubted: None,
            counters,
            remark_told: false,
            no_time_told: false,
            undated_told: BTreeSet::new(),
            last_remark: None,
            reload: false,
            settles: None,
            delivery: Windows::default(),
            polling: Windows::default(),
            sent: 0,
        }
    }

    /// Delivers and polls within these windows of the local day only.
    pub fn within(self, delivery: Windows, polling: Windows) -> Self {
        Worker { delivery, polling, ..self }
    }

    /// Until a service has told the time nobody knows what time of day it is; the first answer
    /// tells it, and one record or one page is what that costs (keeps P8).
    fn gate(&mut self, windows: fn(&Self) -> &Windows, now: Mono) -> Gate {
        if windows(self).0.is_empty() || !self.edge.wall_is_told() {
            return Gate::Open;
        }
        let second = self.edge.second_of_day();
        match windows(self).wait(second) {
            None => Gate::Open,
            Some(wait) => Gate::Closed { opens: now + wait },
        }
    }

    /// Whether SIGHUP came since the last call.
    pub fn take_reload(&mut self) -> bool {
        std::mem::take(&mut self.reload)
    }

    pub fn edge(&mut self) -> &mut E {
        &mut self.edge
    }

    /// The latest gaps, the newest last.
    pub fn latest_gaps(&self) -> Vec<Gap> {
        let mut gaps = self.queue.gaps();
        let more = gaps.len().saturating_sub(limits::GAPS_SHOWN_MAX);
        gaps.drain(..more);
        gaps
    }

    /// What Coralogix last said beside a plain success, and when.
    pub fn last_remark(&self) -> Option<&(Stamp, String)> {
        self.last_remark.as_ref()
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Hands the edge and the queue to whoever goes on with them.
    pub fn into_parts(self) -> (E, Queue<D, O>) {
        (self.edge, self.queue)
    }

    fn set_back(&mut self, back: &SetBack) -> Event {
        let name = &self.streams[back.stream].name;
        let SetBack { latest, overlap, begin, is_open, .. } = *back;
        match self.queue.set_back(name, Back { latest, overlap, begin, is_open }) {
            Ok(stands) => Event::SetBack { stream: back.stream, result: Ok(stands) },
            Err(trouble) => match self.stored(Err(trouble)) {
                Event::Stored(Err(why)) => Event::SetBack { stream: back.stream, result: Err(why) },
                mended => mended,
            },
        }
    }

    fn store(&mut self, keep: &Keep) -> Event {
        let stream = &self.streams[keep.stream];
        let mut hand = self.hand.take();
        let births = hand.as_mut().map_or(vec![], |hand| hand.births(keep));
        let frames = match &mut hand {
            Some(hand) if !keep.fresh.is_empty() => hand.frames(stream, keep, &mut self.counters),
            _ => &[],
        };
        Self::note_progress(&mut self.queue, &stream.name, keep);
        let (name, progress) = (&stream.name, keep.progress);
        let stored = match keep.missed {
            Some(Missed { from, to, reason, unread }) => {
                let gap = Gap { unread, ..Gap::open(name, from, to, reason) };
                self.queue.append_past(name, frames, progress, &keep.known, &births, gap)
            }
            None => self.queue.append_tallied(name, frames, progress, &keep.known, &births),
        };
        self.stored(stored)
    }

    /// What is written with the page that is taken in next.
    fn note_progress(queue: &mut Queue<D, O>, stream: &StreamName, keep: &Keep) {
        if let Some(at) = keep.compared {
            queue.compared(stream, at);
        }
        queue.walks_from(stream, keep.walks_from);
    }

    /// Sends the page in hand without writing it first; `None` where it does not fit.
    fn send_page(&mut self, keep: &Keep, raw_bytes_max: u64) -> Event {
        let stream = &self.streams[keep.stream];
        let hand = self.hand.as_mut().expect("a page is in hand until it is stored");
        // The page is stored as delivered afterwards, and what was collected is noted then.
        hand.births(keep);
        let frames = hand.frames(stream, keep, &mut self.counters);
        let raw_bytes: u64 = frames.iter().map(|frame| u64::from(frame.raw_len) + 1).sum();
        if raw_bytes > raw_bytes_max {
            return Event::PageSent(None);
        }
        let whole = |frame: &crate::frame::Frame| Piece {
            skip: 0,
            take: u32::try_from(frame.entries.len()).expect("a frame has few entries"),
            frame: frame.clone(),
        };
        let pieces: Vec<Piece> = frames.iter().map(whole).collect();
        let now = match self.edge.stamping() {
            Stamping::By(now) | Stamping::Agreed(now) => now,
            Stamping::Never => self.without_times(),
            // From the queue one record can go alone and bring the time.
            Stamping::Unknown => return Event::PageSent(None),
        };
        let body = body::assemble(&pieces, now).expect("frames just packed are whole");
        self.counters.unstamped += u64::from(body.unstamped);
        let verdict = self.deliver(&body.gzip);
        Event::PageSent(Some(verdict))
    }

    fn send(&mut self, take: Take) -> Event {
        self.refused = None;
        // By any other clock than Coralogix' own an old record may look new, and Coralogix would drop it
        // with a 200. So the first goes alone and without its timestamp, and its answer brings the time
        // (keeps P8).
        let (take, now) = match self.edge.stamping() {
            Stamping::By(now) => (take, now),
            Stamping::Never => (take, self.without_times()),
            Stamping::Agreed(_) | Stamping::Unknown => {
                (Take { entries_max: 1, ..take }, Stamp::MIN)
            }
        };
        let peeked = match self.queue.peek(take) {
            Ok(Some(peeked)) => peeked,
            // The counters say there is something and the index says there is not.
            Ok(None) => return self.mend(QueueError::Broken("it lost count".to_owned())),
            Err(trouble) => return self.mend(trouble),
        };
        let body = match body::assemble(&peeked.pieces, now) {
            Ok(body) => body,
            Err(bad) => {
                let seq = peeked.seqs[bad.index];
                return self.mend(QueueError::Damaged { seq, why: bad.why.to_owned() });
            }
        };
        let verdict = self.deliver(&body.gzip);
        match &verdict {
            SinkVerdict::Accepted { .. } => self.counters.unstamped += u64::from(body.unstamped),
            _ if peeked.sent.entries == 1 => {
                let piece = peeked.pieces.into_iter().next().expect("one entry is in one piece");
                self.refused = Some((piece, verdict.words()));
            }
            _ => {}
        }
        Event::Sent { sent: peeked.sent, verdict }
    }

    /// What entries without `timestamp` are assembled at. That they go so is told once.
    fn without_times(&mut self) -> Stamp {
        if !self.no_time_told {
            self.no_time_told = true;
            tell!(
                SINK_TELLS_NO_TIME,
                "Coralogix' responses have no Date, or one before this program's build date. \
                 Records are delivered without a timestamp, so they get their arrival time; their \
                 own times stay in their text. Have the proxy or relay between this machine and \
                 Coralogix pass on the Date of the responses"
            );
        }
        Stamp::MIN
    }

    fn deliver(&mut self, gzip: &[u8]) -> SinkVerdict {
        // Whether or not it arrives whole: a link that fails is not to be filled with retries.
        self.sent += gzip.len() as u64;
        let verdict = verdict_of(self.edge.deliver(gzip));
        self.doubted = match &verdict {
            SinkVerdict::InDoubt { words, .. } => Some(words.clone()),
            _ => None,
        };
        if let SinkVerdict::Accepted { remark: Some(remark) } = &verdict {
            self.last_remark = Some((self.edge.wall(), remark.clone()));
            if !self.remark_told {
                tell!(
                    REMARK,
                    "Coralogix accepted a batch with a message: {remark}. Further ones are counted in `status`"
                );
            }
            self.remark_told = true;
        }
        verdict
    }

    /// The first ones each, then ever more rarely: a sink that refuses much can't fill the log.
    fn tell_parked(&mut self, piece: &Piece, why: &str) {
        self.counters.parked += 1;
        let count = self.counters.parked;
        if count <= u64::from(limits::PARKED_IN_A_ROW_MAX) || count.is_power_of_two() {
            tell!(
                PARKED,
                "Coralogix did not accept a record of {} ({why}). It is parked in parked/ of the \
                 queue with the response; {count} so far",
                piece.frame.stream
            );
        }
    }

    fn doubt(&mut self, end: Place) -> Event {
        let words = self.doubted.take().expect("only what was just sent is in doubt");
        self.refused = None;
        let doubted = self.queue.doubt(end, &words);
        self.stored(doubted)
    }

    fn doubt_page(&mut self, keep: &Keep) -> Event {
        let words = self.doubted.take().expect("only what was just sent is in doubt");
        let stream = &self.streams[keep.stream];
        let mut hand = self.hand.take().expect("a page is in hand until it is stored");
        let births = hand.births(keep);
        let frames = hand.frames(stream, keep, &mut self.counters);
        Self::note_progress(&mut self.queue, &stream.name, keep);
        let taking = (keep.progress, keep.known.as_slice(), births.as_slice());
        let doubted = self.queue.doubt_page(&stream.name, frames, taking, &words);
        self.stored(doubted)
    }

    /// Whether the key is good, by an empty array: nothing is delivered.
    fn try_key(&mut self) -> Event {
        let own = verdict_of(self.edge.try_key(TrialKey::Own));
        let made_up = || verdict_of(self.edge.try_key(TrialKey::MadeUp));
        Event::KeyTried(verdict::key_trial(own, made_up))
    }

    fn park(&mut self, at: Place) -> Event {
        let (piece, why) = self.refused.take().expect("only a refused record is parked");
        // Its frame can be parked as it is. It may be long, so it is held once.
        let entry = match piece.frame.entries.len() {
            1 => Ok(None),
            _ => body::entry_at(&piece).map(Some),
        };
        let parked = match entry {
            Ok(entry) => {
                self.tell_parked(&piece, &why);
                drop(piece);
                self.queue.park(at, entry.as_deref(), &why)
            }
            Err(bad) => Err(QueueError::Damaged { seq: at.seq, why: bad.why.to_owned() }),
        };
        self.stored(parked)
    }
}

impl<E: Edge, D: Disk, O: Opener> World for Worker<E, D, O> {
    fn tick(&mut self) -> Tick {
        let signals = self.edge.signals();
        self.reload |= signals.reload;
        let now = self.edge.mono();
        let settles = *self.settles.get_or_insert(now + Span::seconds(limits::SETTLED_SECONDS));
        if settles <= now {
            self.queue.settle();
            self.settles = Some(Mono(u64::MAX));
        }
        Tick {
            now,
            clocks: self.edge.clocks(),
            stop: signals.stop,
            hurry: signals.poll_now,
            changed: self.edge.fresh_credentials(),
            delivery: self.gate(|worker| &worker.delivery, now),
            polling: self.gate(|worker| &worker.polling, now),
            sent: self.sent,
            received: self.edge.received_bytes(),
        }
    }

    fn remember(&mut self, learned: &Learned) {
        self.queue.learn(learned);
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        tell!(STEP, "{action:?}");
        Some(match action {
            Action::Info { tenant } => self.info(tenant),
            Action::TokenEnd { tenant } => self.token_end(tenant),
            Action::Fetch(fetch) => self.fetch(&fetch),
            Action::Count(count) => self.count(&count),
            Action::List(list) => self.list(&list),
            Action::Store(keep) => self.store(&keep),
            Action::SendPage { keep, raw_bytes_max } => self.send_page(&keep, raw_bytes_max),
            Action::Send(take) => self.send(take),
            Action::Ack { end } => {
                let now = self.edge.mono();
                let acked = self.queue.ack(end, now);
                self.stored(acked)
            }
            Action::Park { at } => self.park(at),
            Action::Doubt { end } => self.doubt(end),
            Action::DoubtPage(keep) => self.doubt_page(&keep),
            Action::TryKey => self.try_key(),
            Action::Note(note) => self.note(&note),
            Action::SendNote(note) => self.send_note(&note),
            Action::SetBack(back) => self.set_back(&back),
            Action::Older { stream, than } => self.older(stream, than),
            Action::Measure => self.measure(),
            Action::Sleep { until, .. } => {
                self.edge.sleep(until);
                Event::Woke
            }
            Action::Exit(_) => unreachable!("the loop ends at an exit"),
        })
    }
}

fn verdict_of(result: Result<Answer, NetTrouble>) -> SinkVerdict {
    match result {
        Ok(answer) => verdict::verdict(&answer),
        // Success was said, and then there was no end: an ingress ends its answers.
        Err(net @ (NetTrouble::Endless(_) | NetTrouble::TooLong(_))) => {
            SinkVerdict::Misdirected(format!("{net}: another server answers, not Coralogix"))
        }
        Err(net) => SinkVerdict::Unreachable(net),
    }
}
