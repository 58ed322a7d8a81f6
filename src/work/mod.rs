//! The path of a record: executes each action of the core with the edge, the queue and the formats.
//!
//! ```text
//!   Fetch: edge --answer--> s1::page --keys--> core
//!   Store: rows --coralogix::entry--> pack --frames--> queue
//!   Send:  queue --pieces--> coralogix::body --gzip--> edge --answer--> coralogix::verdict
//! ```
//!
//! Promises: a record's bytes are those SentinelOne sent; the pending page is dropped only when
//! the core says so or it was stored. Never: decides what comes next, waits, or reads a clock of
//! its own. The simulation runs this same code over a simulated edge and disk.

mod arrival;
mod ask;
mod pending_page;
mod repair;
mod self_report;

use std::collections::{BTreeMap, BTreeSet};

use crate::answer;
use crate::coralogix::entry::Labels;
use crate::coralogix::{body, verdict};
use crate::core::{
    Action, Event, Fetch, FoundBy, Missed, PageFacts, PageSent, SetBack, StorePage, Tick, World,
};
use crate::edge::{Ask, Edge, Stamping};
use crate::frame::Piece;
use crate::limits;
use crate::message::log_message;
use crate::os::watch::{self, On};
use crate::pack::Buffers;
use crate::queue::disk::Disk;
use crate::queue::{Append, Back, Queue, QueueError};
use crate::record::{
    Answer, Category, Gap, Kind, Learned, NetTrouble, Probe, QueuePosition, SinkVerdict,
    SourceTrouble, StreamName, Take, TrialKey,
};
use crate::time::{Mono, Span, Stamp};
use crate::window::{Carried, Gate, Windows};

use pending_page::PendingPage;

/// What the worker has to know of a stream in addition to the core.
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

/// Counts of events that are worth reporting although nothing is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records longer than `limits::LONG_RECORD_BYTES`, delivered whole.
    pub long_records: u64,
    /// Pages whose invalid UTF-8 was replaced by U+FFFD, for JSON can't carry it.
    pub repaired_pages: u64,
    /// Entries sent without `timestamp`, because theirs is too old or in the future.
    pub unstamped: u64,
    /// Records parked since the start.
    pub parked: u64,
    /// Records collected whose timestamp can't be parsed.
    pub unreadable_stamps: u64,
}

pub struct Worker<E: Edge, D: Disk> {
    edge: E,
    queue: Queue<D>,
    streams: Vec<StreamWork>,
    pending_page: Option<PendingPage>,
    /// What packing a page takes.
    buffers: Buffers,
    /// The first entry of the batch that was just rejected, for parking, and the text of the
    /// rejection.
    refused: Option<(Piece, String)>,
    /// The text of the last answer that made its batch doubtful.
    doubted: Option<String>,
    /// The same of records that were sent ahead of their turn.
    doubted_ahead: BTreeMap<QueuePosition, String>,
    counters: Counters,
    /// Coralogix' first remark was logged; the core counts them all.
    remark_told: bool,
    /// That Coralogix sends no `Date` was logged.
    no_time_told: bool,
    /// The streams for which an unparseable timestamp was logged.
    undated_told: BTreeSet<usize>,
    /// The last remark, and when it came.
    last_remark: Option<(Stamp, String)>,
    /// Set by SIGHUP until the caller takes it.
    reload: bool,
    /// When this process counts as settled; `Mono::MAX` once that is noted.
    settles: Option<Mono>,
    /// Whether Coralogix refuses a key that nobody issued, and when it was asked.
    keys_checked: Option<(bool, Mono)>,
    /// When the sink and the tenants may be used, by local time.
    delivery: Windows,
    polling: Windows,
    /// Bytes of the bodies posted to the sink.
    sent: Carried,
}

impl<E: Edge, D: Disk> Worker<E, D> {
    pub fn new(edge: E, queue: Queue<D>, streams: Vec<StreamWork>) -> Self {
        let counters = Counters::default();
        Worker {
            edge,
            queue,
            streams,
            pending_page: None,
            buffers: Buffers::default(),
            refused: None,
            doubted: None,
            doubted_ahead: BTreeMap::new(),
            counters,
            remark_told: false,
            no_time_told: false,
            undated_told: BTreeSet::new(),
            last_remark: None,
            reload: false,
            settles: None,
            keys_checked: None,
            delivery: Windows::default(),
            polling: Windows::default(),
            sent: 0,
        }
    }

    /// Delivers and polls only within these windows of local time.
    pub fn within(self, delivery: Windows, polling: Windows) -> Self {
        Worker { delivery, polling, ..self }
    }

    /// Until a service has sent the time, the time of day is not known; the first answer brings it,
    /// at the cost of one record or one page (keeps P8).
    fn gate(&mut self, windows: fn(&Self) -> &Windows, now: Mono) -> Gate {
        if windows(self).0.is_empty() || !self.edge.has_server_time() {
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

    /// The latest gaps; the newest comes last.
    pub fn latest_gaps(&self) -> Vec<Gap> {
        let mut gaps = self.queue.gaps();
        let more = gaps.len().saturating_sub(limits::GAPS_SHOWN_MAX);
        gaps.drain(..more);
        gaps
    }

    /// The last remark of Coralogix in a successful answer, and when it came.
    pub fn last_remark(&self) -> Option<&(Stamp, String)> {
        self.last_remark.as_ref()
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns the edge and the queue for the next worker.
    pub fn into_parts(self) -> (E, Queue<D>) {
        (self.edge, self.queue)
    }

    fn set_back(&mut self, back: &SetBack) -> Event {
        let name = &self.streams[back.stream].name;
        let SetBack { latest, overlap, begin, is_open, .. } = *back;
        match self.queue.set_back(name, Back { latest, overlap, begin, is_open }) {
            Ok(stands) => Event::SetBack { stream: back.stream, result: Ok(stands) },
            Err(trouble) => match self.stored(Err(trouble)) {
                Event::Stored(Err(why)) => Event::SetBack { stream: back.stream, result: Err(why) },
                repaired => repaired,
            },
        }
    }

    fn store(&mut self, keep: &StorePage) -> Event {
        let stream = &self.streams[keep.stream];
        let mut pending_page = self.pending_page.take();
        let created_keys =
            pending_page.as_mut().map_or(vec![], |pending_page| pending_page.created_keys(keep));
        let frames = match &mut pending_page {
            Some(pending_page) if !keep.fresh.is_empty() => {
                let now = told_time(self.edge.stamping());
                pending_page.frames(stream, keep, now, &mut self.counters, &mut self.buffers)
            }
            _ => &[],
        };
        Self::note_progress(&mut self.queue, &stream.name, keep);
        let (name, progress) = (&stream.name, keep.progress);
        let gap = keep.missed.and_then(|missed| {
            let Missed { from, to, reason, unread, found_by } = missed;
            let gap = Gap { unread, ..Gap::open(name, from, to, reason) };
            let is_known = found_by == FoundBy::Count && self.queue.has_gap_at(&gap);
            (!is_known).then_some(gap)
        });
        let (known, created_keys, late) = (&keep.known[..], &created_keys[..], &keep.late[..]);
        let append = Append { progress, known, created_keys, gap, late };
        let stored = self.queue.append_page(name, frames, append);
        self.reuse(pending_page);
        self.stored(stored)
    }

    /// Notes what is written together with the next page.
    fn note_progress(queue: &mut Queue<D>, stream: &StreamName, keep: &StorePage) {
        if let Some(at) = keep.compared {
            queue.compared(stream, at);
        }
        queue.walks_from(stream, keep.walks_from);
        queue.keep_ids(stream, keep.ids_from);
    }

    /// Sends the pending page without writing it first; `None` where it does not fit.
    fn send_page(&mut self, keep: &StorePage, raw_bytes_max: u64) -> Event {
        let stream = &self.streams[keep.stream];
        let pending_page =
            self.pending_page.as_mut().expect("a page is pending until it is stored");
        // The page is stored as delivered afterwards, and its ids are noted then.
        pending_page.created_keys(keep);
        let now = told_time(self.edge.stamping());
        let frames = pending_page.frames(stream, keep, now, &mut self.counters, &mut self.buffers);
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
            Stamping::Unconfirmed => Stamp::MIN,
            // An entry from the queue can be sent alone and bring the time; a page can't.
            Stamping::Unknown => return Event::PageSent(None),
        };
        let body = body::assemble(&pieces, now).expect("frames just packed are whole");
        self.counters.unstamped += u64::from(body.unstamped);
        let verdict = self.deliver(&body.gzip, body.entries, body.stamps);
        Event::PageSent(Some(PageSent { raw_bytes, verdict }))
    }

    fn send(&mut self, take: Take) -> Event {
        self.refused = None;
        // By any other clock than Coralogix' own an old record may look new, and Coralogix would
        // drop it with a 200. So the first entry goes alone and without `timestamp`, and its answer
        // brings the time (keeps P8). By Coralogix' clock alone it may look new as well: where no
        // other clock agrees, entries go without `timestamp`.
        let (take, now) = match self.edge.stamping() {
            Stamping::By(now) => (take, now),
            Stamping::Never => (take, self.without_times()),
            Stamping::Unconfirmed => (take, Stamp::MIN),
            Stamping::Agreed(_) | Stamping::Unknown => {
                (Take { entries_max: 1, ..take }, Stamp::MIN)
            }
        };
        let peeked = match self.queue.peek(take) {
            Ok(Some(peeked)) => peeked,
            // The counters say that records wait, and the index has none.
            Ok(None) => return self.repair(QueueError::Broken("it lost count".to_owned())),
            Err(trouble) => return self.repair(trouble),
        };
        if take.until == Some(peeked.sent.first) {
            self.doubted = self.doubted_ahead.remove(&peeked.sent.first);
            return Event::SentBefore(peeked.sent);
        }
        let body = match body::assemble(&peeked.pieces, now) {
            Ok(body) => body,
            Err(bad) => {
                let seq = peeked.seqs[bad.index];
                return self.repair(QueueError::Damaged { seq, why: bad.why.to_owned() });
            }
        };
        let verdict = self.deliver(&body.gzip, body.entries, body.stamps);
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

    /// Sends one record ahead of its turn. It stays in the queue until the head has passed it.
    fn send_ahead(&mut self, probe: &Probe) -> Event {
        let now = match self.edge.stamping() {
            Stamping::By(now) => now,
            Stamping::Never => self.without_times(),
            Stamping::Unconfirmed | Stamping::Agreed(_) | Stamping::Unknown => Stamp::MIN,
        };
        let peeked = match self.queue.peek_behind(probe) {
            Ok(Some(peeked)) => peeked,
            Ok(None) => return Event::SentAhead(None),
            Err(trouble) => return self.repair(trouble),
        };
        // A damaged frame is dealt with when it is its turn.
        let Ok(body) = body::assemble(&peeked.pieces, now) else { return Event::SentAhead(None) };
        let verdict = self.deliver(&body.gzip, body.entries, body.stamps);
        if matches!(verdict, SinkVerdict::Accepted { .. }) {
            self.counters.unstamped += u64::from(body.unstamped);
        }
        if let Some(words) = self.doubted.take() {
            self.doubted_ahead.insert(peeked.sent.first, words);
        }
        Event::SentAhead(Some((peeked.sent, verdict)))
    }

    /// The time at which entries without `timestamp` are assembled. Logs once that they are sent
    /// so.
    fn without_times(&mut self) -> Stamp {
        if !self.no_time_told {
            self.no_time_told = true;
            log_message!(
                SINK_TELLS_NO_TIME,
                "Coralogix' responses have no Date, or one before this program's build date. \
                 Records are delivered without a timestamp, so they get their arrival time; their \
                 own times stay in their text. Have the proxy or relay between this machine and \
                 Coralogix pass on the Date of the responses"
            );
        }
        Stamp::MIN
    }

    /// `stamps`: the earliest and the latest timestamp among so many entries.
    fn deliver(
        &mut self,
        gzip: &[u8],
        entries: u32,
        stamps: Option<(Stamp, Stamp)>,
    ) -> SinkVerdict {
        // Counted whether or not it arrives: retries must not fill a slow link either.
        self.sent += gzip.len() as u64;
        let result = self.edge.deliver(gzip);
        let date = result.as_ref().ok().and_then(answer::date);
        let verdict = match verdict_of(result, entries) {
            SinkVerdict::Accepted { remark } => self.arrived(remark, stamps, date),
            other => other,
        };
        self.doubted = match &verdict {
            SinkVerdict::InDoubt { words, .. } => Some(words.clone()),
            _ => None,
        };
        if let SinkVerdict::Accepted { remark: Some(remark) } = &verdict {
            self.last_remark = Some((self.edge.wall(), remark.clone()));
            if !self.remark_told {
                log_message!(
                    REMARK,
                    "Coralogix accepted a batch with a message: {remark}. Further ones are counted in `status`"
                );
            }
            self.remark_told = true;
        }
        verdict
    }

    /// Logs the first ones each, then ever more rarely: a sink that rejects many records can't fill
    /// the log.
    fn log_parked(&mut self, piece: &Piece, why: &str) {
        self.counters.parked += 1;
        let count = self.counters.parked;
        if count <= u64::from(limits::PARKED_IN_A_ROW_MAX) || count.is_power_of_two() {
            let is_own = piece.frame.stream.category == Category::Collector;
            let entry = piece.frame.entries.get(piece.skip as usize).filter(|_| !is_own);
            let id = entry.map(|entry| entry.key.id);
            let id = id.map_or(String::new(), |id| format!(" with the id {id}"));
            log_message!(
                PARKED,
                "Coralogix did not accept a record of {}{id} ({why}). It is parked in parked/ of \
                 the queue with the response; {count} so far",
                piece.frame.stream
            );
        }
    }

    fn doubt(&mut self, end: QueuePosition) -> Event {
        let words = self.doubted.take().expect("only what was just sent is in doubt");
        self.refused = None;
        let doubted = self.queue.doubt(end, &words);
        self.stored(doubted)
    }

    fn doubt_page(&mut self, keep: &StorePage) -> Event {
        let words = self.doubted.take().expect("only what was just sent is in doubt");
        let stream = &self.streams[keep.stream];
        let mut pending_page =
            self.pending_page.take().expect("a page is pending until it is stored");
        let created_keys = pending_page.created_keys(keep);
        // It was packed when it was sent.
        let frames = pending_page.frames(stream, keep, None, &mut self.counters, &mut self.buffers);
        Self::note_progress(&mut self.queue, &stream.name, keep);
        let append = (keep.progress, keep.known.as_slice(), created_keys.as_slice());
        let doubted = self.queue.doubt_page(&stream.name, frames, append, &words);
        self.reuse(Some(pending_page));
        self.stored(doubted)
    }

    /// Whether the key is accepted, found with an empty array: nothing is delivered.
    fn try_key(&mut self) -> Event {
        let own = verdict_of(self.edge.try_key(TrialKey::Own), 0);
        let now = self.edge.mono();
        // Some bar an address after a few wrong keys.
        let age = |at| now.since(at) < Span::hours(limits::KEY_CHECK_HOURS);
        let known = self.keys_checked.filter(|(_, at)| age(*at)).map(|(is_checked, _)| is_checked);
        let ask = || {
            let made_up = verdict_of(self.edge.try_key(TrialKey::MadeUp), 0);
            let is_checked = made_up.is_of_the_key();
            self.keys_checked = Some((is_checked, now));
            is_checked
        };
        Event::KeyTried(verdict::key_trial(own, || known.unwrap_or_else(ask)))
    }

    fn park(&mut self, at: QueuePosition) -> Event {
        let (piece, why) = self.refused.take().expect("only a refused record is parked");
        // A frame with a single entry is parked as it is. It may be long, so it is not copied.
        let entry = match piece.frame.entries.len() {
            1 => Ok(None),
            _ => body::entry_at(&piece).map(Some),
        };
        let parked = match entry {
            Ok(entry) => {
                self.log_parked(&piece, &why);
                drop(piece);
                self.queue.park(at, entry.as_deref(), &why)
            }
            Err(bad) => Err(QueueError::Damaged { seq: at.seq, why: bad.why.to_owned() }),
        };
        self.stored(parked)
    }
}

impl<E: Edge, D: Disk> World for Worker<E, D> {
    fn tick(&mut self) -> Tick {
        let signals = self.edge.signals();
        self.reload |= signals.reload;
        let now = self.edge.mono();
        let settles = *self.settles.get_or_insert(now + Span::seconds(limits::SETTLED_SECONDS));
        if settles <= now {
            watch::within("noting that it runs", On::Queue, || self.queue.settle());
            self.settles = Some(Mono(u64::MAX));
        }
        Tick {
            now,
            clocks: self.edge.clocks(),
            sink_off: self.edge.sink_off(),
            stop: signals.stop,
            poll_now: signals.poll_now,
            changed: self.edge.fresh_credentials(),
            delivery: self.gate(|worker| &worker.delivery, now),
            polling: self.gate(|worker| &worker.polling, now),
            sent: self.sent,
            received: self.edge.received_bytes(),
        }
    }

    fn remember(&mut self, learned: &Learned) {
        let kills = self.edge.kills();
        self.queue.learn(learned, kills);
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        log_message!(STEP, "{action:?}");
        Some(match action {
            Action::Info { tenant } => self.info(tenant),
            Action::TokenEnd { tenant } => self.token_end(tenant),
            Action::Fetch(fetch) => self.fetch(&fetch),
            Action::Count(count) => self.count(&count),
            Action::List(list) => self.list(&list),
            Action::Store(keep) => self.store(&keep),
            Action::SendPage { keep, raw_bytes_max } => self.send_page(&keep, raw_bytes_max),
            Action::Send(take) => self.send(take),
            Action::SendAhead(probe) => self.send_ahead(&probe),
            Action::Ack { end } => {
                let now = self.edge.mono();
                let acked = self.queue.ack(end, now);
                self.stored(acked)
            }
            Action::Park { at } => self.park(at),
            Action::Doubt { end } => self.doubt(end),
            Action::DoubtPage(keep) => self.doubt_page(&keep),
            Action::TryKey => self.try_key(),
            Action::AskTime => {
                // The `Date` of the answer is taken by the edge, as from every answer.
                let _ = self.edge.try_key(TrialKey::Own);
                Event::Woke
            }
            Action::Note(note) => self.note(&note),
            Action::SendNote(note) => self.send_note(&note),
            Action::SetBack(back) => self.set_back(&back),
            Action::Older { stream, than, cursor } => self.older(stream, than, cursor.as_ref()),
            Action::Measure => self.measure(),
            Action::Sleep { until, .. } => {
                self.edge.sleep(until);
                Event::Woke
            }
            Action::Exit(_) => unreachable!("the loop ends at an exit"),
        })
    }
}

/// The time that decides which timestamps are left out: Coralogix' own clock alone, because by
/// another one a new record may look old.
fn told_time(stamping: Stamping) -> Option<Stamp> {
    match stamping {
        Stamping::By(now) => Some(now),
        Stamping::Agreed(_) | Stamping::Unconfirmed | Stamping::Never | Stamping::Unknown => None,
    }
}

/// `entries`: the number of entries sent.
fn verdict_of(result: Result<Answer, NetTrouble>, entries: u32) -> SinkVerdict {
    match result {
        Ok(answer) => verdict::verdict(&answer, u64::from(entries)),
        // A status of success, and then a body without end: Coralogix ends its answers.
        Err(net @ (NetTrouble::Endless(_) | NetTrouble::TooLong(_))) => {
            SinkVerdict::Misdirected(format!("{net}: another server answers, not Coralogix"))
        }
        Err(net) => SinkVerdict::Unreachable(net),
    }
}
