//! The program as one function: `Core::step(Tick, Event) -> Action`.
//!
//! One action is in flight at a time and its event is the only answer, so a life is a list of
//! (action, event) pairs: it can be printed, replayed, and cut between any two.
//!
//! ```text
//!   Opened --> decide --> Fetch --> Fetched --new rows--> Store --> Stored --> decide
//!                |                     '------nothing new------------------------^
//!                |--> Send --> Sent --2xx--> Ack --> Stored --> decide
//!                |               |--one record refused--> Park --> Stored --> decide
//!                |               '--anything else--> decide
//!                |--> Info, TokenEnd, Measure --> their events --> decide
//!                |--> Sleep --> Woke --> decide
//!                '--> Exit
//! ```
//!
//! Each stream, each tenant and the sink is a lane: when it may next be used, and why not sooner.
//! Due lanes take turns, so that a backlog never stops the polling and a slow tenant never stops
//! another.
//!
//! Promises: a page is asked for only after the one before it is stored (P1); an acknowledgement
//! follows a 2xx alone (P1); with no room nothing is fetched and nothing is dropped (P4); no lane
//! is used before its time (P6). Never: does IO, reads a clock or a random source, or fails.

mod lane;
mod plan;
mod sink;
mod source;
mod view;
mod walk;

use lane::{Backoff, Lane};
pub use lane::{Mood, Why};
pub use plan::{Mode, Plan, StreamPlan};
use sink::{Sink, Then};
pub use source::{Fetch, Keep, PageFacts};
use source::{Pending, Stream, Tenant, Token};
pub use view::{LaneView, StreamView, TenantView, View};

use crate::limits;
use crate::prng::Prng;
use crate::record::{
    Credential, Held, Opened, Place, Room, Sent, SinkVerdict, SourceTrouble, Take, WriteMode,
};
use crate::time::{Due, Mono, Span, Stamp};

/// The ambient input, sampled at the edge before every step.
#[derive(Clone, Debug, Default)]
pub struct Tick {
    pub now: Mono,
    /// No new request; end as soon as what is in hand is kept.
    pub stop: bool,
    /// A person asked to poll and deliver now.
    pub hurry: bool,
    /// Secrets that changed since they were last used.
    pub changed: Vec<Credential>,
}

/// What the world is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `GET /system/info`: tells whether the token lives, and SentinelOne's time.
    Info {
        tenant: usize,
    },
    /// Find out when the tenant's token ends.
    TokenEnd {
        tenant: usize,
    },
    Fetch(Fetch),
    /// Records and progress in one durable write: neither is ever on disk without the other.
    Store(Keep),
    /// Deliver the page in hand from memory; the queue is empty. `Store` always follows.
    SendPage(Keep),
    /// Take from the head of the queue and deliver.
    Send(Take),
    /// Only ever follows `SinkVerdict::Accepted`: the sole way a record leaves as delivered.
    Ack {
        end: Place,
    },
    /// Set aside the one record that was just refused.
    Park {
        at: Place,
    },
    /// Look whether there is room again.
    Measure,
    Sleep {
        until: Mono,
        why: Why,
    },
    Exit(End),
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Told to stop, or everything is done.
    Done,
    /// A side could not be reached; everything is kept.
    TryLater,
    /// A credential or permission was refused; everything is kept.
    Refused,
    /// The queue can't be used any more; the supervisor starts a fresh process.
    Broken,
}

#[derive(Clone, Debug)]
pub enum Event {
    /// The queue was opened, at the start or anew after its index broke.
    Opened(Opened),
    Informed {
        tenant: usize,
        result: Result<Option<Stamp>, SourceTrouble>,
    },
    TokenEnds {
        tenant: usize,
        end: Option<Stamp>,
    },
    Fetched {
        stream: usize,
        page: Result<PageFacts, SourceTrouble>,
    },
    /// `None`: the page does not fit into one request.
    PageSent(Option<SinkVerdict>),
    Stored(Result<Held, StoreTrouble>),
    Sent {
        sent: Sent,
        verdict: SinkVerdict,
    },
    Measured(Held),
    Woke,
    /// The queue is beyond help in this process.
    Dead,
}

/// Why something could not be written. The queue itself stays usable.
#[derive(Clone, Debug)]
pub enum StoreTrouble {
    /// No room: polling waits, draining goes on.
    Full(Held),
    /// The write failed otherwise; tried again later.
    Failed(String),
}

pub struct Core {
    plan: Plan,
    backoff: Backoff,
    held: Held,
    tenants: Vec<Tenant>,
    streams: Vec<Stream>,
    sink: Sink,
    pending: Option<Pending>,
    /// Which lane goes next: a number of streams and tenants, or the sink.
    turn: usize,
    room_due: Mono,
    room_checks: u32,
    started: Mono,
}

/// A lane by its place in the round.
#[derive(Clone, Copy)]
enum LaneId {
    Tenant(usize),
    Stream(usize),
    Sink,
}

impl Core {
    pub fn new(plan: Plan, seed: u64, now: Mono, opened: Opened) -> Core {
        plan.check();
        assert_eq!(plan.streams.len(), opened.streams.len());
        let min = plan.retry_min;
        let streams = plan.streams.iter().zip(opened.streams);
        let streams = streams.map(|(plan, held)| Stream::new(plan.clone(), held, now, min));
        Core {
            backoff: Backoff { min, max: plan.retry_max, prng: Prng::new(seed) },
            held: opened.held,
            tenants: (0..plan.tenants).map(|_| Tenant::new(now, min)).collect(),
            streams: streams.collect(),
            sink: Sink::new(Lane::new(now, min)),
            pending: None,
            turn: 0,
            room_due: now,
            room_checks: 0,
            started: now,
            plan,
        }
    }

    /// Takes the answer to the last action and gives the next one.
    pub fn step(&mut self, tick: &Tick, event: Event) -> Action {
        self.notice(tick);
        let now = tick.now;
        let follow_up = match event {
            Event::Opened(opened) => {
                self.reopened(opened);
                None
            }
            Event::Informed { tenant, result } => {
                self.informed(now, tenant, result);
                None
            }
            Event::TokenEnds { tenant, end } => {
                self.token_ends(now, tenant, end);
                None
            }
            Event::Fetched { stream, page } => self.fetched(tick, stream, page),
            Event::PageSent(verdict) => self.page_sent(now, verdict),
            Event::Stored(result) => {
                self.stored(now, result);
                None
            }
            Event::Sent { sent, verdict } => {
                match self.sink.answered(now, sent, &verdict, &mut self.backoff) {
                    Then::Acknowledge { end } => Some(Action::Ack { end }),
                    Then::Park { at } => Some(Action::Park { at }),
                    Then::Keep => None,
                }
            }
            Event::Measured(held) => {
                self.hold(held);
                self.room_due = now + Span::seconds(limits::ROOM_CHECK_SECONDS);
                self.room_checks = self.room_checks.saturating_add(1);
                None
            }
            Event::Woke => None,
            Event::Dead => return Action::Exit(End::Broken),
        };
        follow_up.unwrap_or_else(|| self.decide(tick))
    }

    /// Changed credentials and a person's wish end the waits they concern, at once.
    fn notice(&mut self, tick: &Tick) {
        for credential in &tick.changed {
            match *credential {
                Credential::Token(tenant) => self.token_changed(tick.now, tenant),
                Credential::Key => self.sink.lane.hurry(tick.now),
            }
        }
        if tick.hurry {
            self.sink.lane.hurry(tick.now);
            self.tenants.iter_mut().for_each(|tenant| tenant.lane.hurry(tick.now));
            self.streams.iter_mut().for_each(|stream| stream.lane.hurry(tick.now));
        }
    }

    fn token_changed(&mut self, now: Mono, tenant: usize) {
        let state = &mut self.tenants[tenant];
        state.token = Token::Good;
        state.doubted_by = None;
        state.token_end = None;
        state.token_end_due = Due::At(now);
        state.lane.succeed(now, Due::At(now), Why::Working);
        for stream in self.streams.iter_mut().filter(|stream| stream.plan.tenant == tenant) {
            if stream.lane.why.is_refusal() {
                stream.lane.hurry(now);
            }
        }
    }

    fn reopened(&mut self, opened: Opened) {
        assert_eq!(self.streams.len(), opened.streams.len());
        for (stream, held) in self.streams.iter_mut().zip(opened.streams) {
            stream.reset(held);
        }
        self.sink.reset();
        self.pending = None;
        self.hold(opened.held);
    }

    fn hold(&mut self, held: Held) {
        self.held = held;
        if held.room == Room::Free {
            self.room_checks = 0;
        }
    }

    fn informed(&mut self, now: Mono, tenant: usize, result: Result<Option<Stamp>, SourceTrouble>) {
        let state = &mut self.tenants[tenant];
        let doubted_by = state.doubted_by.take();
        match result {
            Ok(date) => {
                state.clock = date.map(|date| (date, now)).or(state.clock);
                state.token = Token::Good;
                state.lane.succeed(now, Due::At(now), Why::Working);
                if state.clock.is_none() {
                    let wait = self.backoff.after(0, None);
                    let text = "its answer has no Date header; set `start` to a point in time";
                    state.lane.fail(now, wait, Why::BrokenAnswer, text.to_owned());
                }
                if let Some(stream) = doubted_by {
                    // The token lives, so the 401 was about this stream's permission.
                    let stream = &mut self.streams[stream];
                    stream.fail(now, SourceTrouble::Forbidden, &mut self.backoff);
                }
            }
            Err(SourceTrouble::TokenRefused | SourceTrouble::TokenDoubted) => {
                state.token = Token::Refused;
                state.lane.fail(now, self.backoff.long(), Why::TokenRefused, String::new());
            }
            Err(trouble) => {
                state.doubted_by = doubted_by;
                let (retry_after, why, detail) = match trouble {
                    SourceTrouble::Busy { retry_after } => (retry_after, Why::Busy, String::new()),
                    SourceTrouble::Unreachable(net) => (None, Why::Unreachable, net.to_string()),
                    SourceTrouble::Misdirected(text) => (None, Why::Misdirected, text),
                    SourceTrouble::BrokenAnswer(text) | SourceTrouble::QueryRefused(text) => {
                        (None, Why::BrokenAnswer, text)
                    }
                    _ => (None, Why::BrokenAnswer, String::new()),
                };
                let wait = self.backoff.after(state.lane.failures, retry_after);
                state.lane.fail(now, wait, why, detail);
            }
        }
    }

    fn token_ends(&mut self, now: Mono, tenant: usize, end: Option<Stamp>) {
        let state = &mut self.tenants[tenant];
        state.token_end = end.or(state.token_end);
        state.token_end_due = Due::At(now + Span::hours(limits::EXPIRY_CHECK_HOURS));
    }

    fn fetched(
        &mut self,
        tick: &Tick,
        stream: usize,
        page: Result<PageFacts, SourceTrouble>,
    ) -> Option<Action> {
        let tenant = self.streams[stream].plan.tenant;
        match page {
            Ok(page) => {
                let state = &mut self.tenants[tenant];
                state.clock = page.date.map(|date| (date, tick.now)).or(state.clock);
                if state.token_end_due == Due::Never && self.plan.mode == Mode::Daemon {
                    state.token_end_due = Due::At(tick.now);
                }
                let pending = self.streams[stream].page(stream, &page);
                if pending.keep.fresh.is_empty() {
                    // Nothing new: nothing to write (an empty poll commits nothing).
                    self.streams[stream].stored(tick.now, pending);
                    return None;
                }
                let keep = pending.keep.clone();
                self.pending = Some(pending);
                Some(if self.may_send_from_memory(tick) {
                    Action::SendPage(keep)
                } else {
                    Action::Store(keep)
                })
            }
            Err(SourceTrouble::TokenDoubted) => {
                let state = &mut self.tenants[tenant];
                state.token = Token::Doubted;
                state.doubted_by = Some(stream);
                state.lane.hurry(tick.now);
                None
            }
            Err(trouble) => {
                let asked_for_patience = matches!(trouble, SourceTrouble::Busy { .. });
                self.streams[stream].fail(tick.now, trouble, &mut self.backoff);
                if asked_for_patience {
                    self.rest_tenant(tenant, stream);
                }
                None
            }
        }
    }

    /// A tenant that asks for patience means all requests, not those of one stream (keeps P6).
    fn rest_tenant(&mut self, tenant: usize, asked: usize) {
        let until = self.streams[asked].lane.due;
        let streams = self.streams.iter_mut().filter(|stream| stream.plan.tenant == tenant);
        for lane in streams.map(|stream| &mut stream.lane) {
            lane.due = lane.due.max(until);
        }
        let lane = &mut self.tenants[tenant].lane;
        lane.due = lane.due.max(until);
    }

    fn may_send_from_memory(&self, tick: &Tick) -> bool {
        self.plan.write == WriteMode::OnFailure
            && self.held.records == 0
            && self.sink.lane.why.mood() == Mood::Fine
            && self.sink.lane.due.is_over(tick.now)
            && !tick.stop
    }

    fn page_sent(&mut self, now: Mono, verdict: Option<SinkVerdict>) -> Option<Action> {
        let pending = self.pending.as_mut().expect("a page was in hand when it was sent");
        match verdict {
            Some(SinkVerdict::Accepted { remark }) => {
                let entries = u32::try_from(pending.keep.fresh.len()).expect("a page is small");
                self.sink.accepted(now, entries);
                self.sink.remarks += u64::from(remark.is_some());
                // Delivered: only how far the stream has come is left to be stored.
                let keep = Keep { fresh: vec![], ..pending.keep.clone() };
                Some(Action::Store(keep))
            }
            Some(refused) => {
                self.sink.failed(now, &refused, &mut self.backoff);
                Some(Action::Store(pending.keep.clone()))
            }
            None => Some(Action::Store(pending.keep.clone())),
        }
    }

    fn stored(&mut self, now: Mono, result: Result<Held, StoreTrouble>) {
        let pending = self.pending.take();
        match result {
            Ok(held) => {
                self.hold(held);
                if let Some(pending) = pending {
                    let stream = pending.keep.stream;
                    self.streams[stream].stored(now, pending);
                }
            }
            Err(StoreTrouble::Full(held)) => {
                self.hold(held);
                self.room_due = now + Span::seconds(limits::ROOM_CHECK_SECONDS);
                match pending {
                    Some(pending) => self.streams[pending.keep.stream].not_stored(),
                    // An acknowledgement found no room: sending the same again at once would only
                    // make duplicates.
                    None => {
                        let wait = self.backoff.after(self.sink.lane.failures, None);
                        let text = "no space to note what was delivered".to_owned();
                        self.sink.lane.fail(now, wait, Why::StoreTrouble, text);
                    }
                }
            }
            Err(StoreTrouble::Failed(why)) => {
                // The disk serves all lanes; rest the one concerned rather than fetch what can't
                // be kept, or send again what can't be acknowledged.
                let lane = match pending {
                    Some(pending) => {
                        let stream = &mut self.streams[pending.keep.stream];
                        stream.not_stored();
                        &mut stream.lane
                    }
                    None => &mut self.sink.lane,
                };
                let wait = self.backoff.after(lane.failures, None);
                lane.fail(now, wait, Why::StoreTrouble, why);
            }
        }
    }

    fn decide(&mut self, tick: &Tick) -> Action {
        if tick.stop {
            return Action::Exit(End::Done);
        }
        if let Some(end) = self.once_ended() {
            return Action::Exit(end);
        }
        let now = tick.now;
        if self.held.room != Room::Free && self.room_due <= now {
            return Action::Measure;
        }
        let lanes = self.tenants.len() + self.streams.len() + 1;
        for step in 0..lanes {
            let at = (self.turn + step) % lanes;
            if let Some(action) = self.use_lane(self.lane_at(at), now) {
                self.turn = (at + 1) % lanes;
                return action;
            }
        }
        let (until, why) = self.next_due(now);
        assert!(until > now, "a sleep that is already over would spin: {why:?}");
        Action::Sleep { until, why }
    }

    fn lane_at(&self, at: usize) -> LaneId {
        let tenants = self.tenants.len();
        match at {
            _ if at < tenants => LaneId::Tenant(at),
            _ if at < tenants + self.streams.len() => LaneId::Stream(at - tenants),
            _ => LaneId::Sink,
        }
    }

    /// The lane's action if it is due and there is something to do.
    fn use_lane(&mut self, lane: LaneId, now: Mono) -> Option<Action> {
        match lane {
            LaneId::Tenant(tenant) => self.use_tenant(tenant, now),
            LaneId::Stream(stream) => self.use_stream(stream, now),
            LaneId::Sink => {
                let can = self.held.records > 0
                    && self.sink.lane.due.is_over(now)
                    && !self.gave_up(&self.sink.lane);
                can.then(|| Action::Send(self.sink.take()))
            }
        }
    }

    fn use_tenant(&self, tenant: usize, now: Mono) -> Option<Action> {
        let state = &self.tenants[tenant];
        if !state.lane.due.is_over(now) || self.gave_up(&state.lane) {
            return None;
        }
        if self.tenant_is_asked(tenant, now) {
            return Some(Action::Info { tenant });
        }
        state.token_end_due.is_over(now).then_some(Action::TokenEnd { tenant })
    }

    /// Whether `/system/info` has to be asked before the tenant's streams can go on.
    fn tenant_is_asked(&self, tenant: usize, now: Mono) -> bool {
        let state = &self.tenants[tenant];
        let mut streams = self.streams.iter().filter(|stream| stream.plan.tenant == tenant);
        state.token != Token::Good
            || streams.any(|stream| {
                stream.progress.is_none() && stream.first_progress(state.now(now)).is_none()
            })
    }

    fn use_stream(&mut self, stream: usize, now: Mono) -> Option<Action> {
        if self.stream_is_blocked(stream, now) || !self.streams[stream].lane.due.is_over(now) {
            return None;
        }
        if self.streams[stream].progress.is_none() {
            let source_now = self.tenants[self.streams[stream].plan.tenant].now(now);
            let progress = self.streams[stream].first_progress(source_now)?;
            // Where a stream begins is stored before its first page, so that a box that stays
            // off for days goes on from here, not from `start` before it came back.
            let keep = Keep { stream, fresh: vec![], progress, known: vec![] };
            let first = self.streams[stream].begin(keep.clone());
            self.pending = Some(first);
            return Some(Action::Store(keep));
        }
        let fetch = self.streams[stream].fetch(stream);
        Some(Action::Fetch(fetch))
    }

    /// Whether something beside its own lane keeps a stream from being fetched.
    fn stream_is_blocked(&self, stream: usize, now: Mono) -> bool {
        let stream = &self.streams[stream];
        let tenant = stream.plan.tenant;
        self.held.room != Room::Free
            || self.tenants[tenant].token != Token::Good
            || (stream.progress.is_none() && self.tenant_is_asked(tenant, now))
            || (self.plan.mode == Mode::Once && stream.caught_up)
            || self.gave_up(&stream.lane)
    }

    /// When the next lane becomes due, and what it waits for.
    fn next_due(&self, now: Mono) -> (Mono, Why) {
        let mut next = (now + Span::seconds(limits::SLEEP_SECONDS_MAX), Why::NothingToSend);
        let mut sooner = |due: Due, why: Why| {
            if let Due::At(at) = due
                && at < next.0
            {
                next = (at, why);
            }
        };
        for (tenant, state) in self.tenants.iter().enumerate() {
            if self.gave_up(&state.lane) {
                continue;
            }
            if self.tenant_is_asked(tenant, now) {
                sooner(state.lane.due, state.lane.why);
            } else if let (Due::At(lane), Due::At(end)) = (state.lane.due, state.token_end_due) {
                sooner(Due::At(lane.max(end)), Why::PollInterval);
            }
        }
        for (at, stream) in self.streams.iter().enumerate() {
            if !self.stream_is_blocked(at, now) {
                sooner(stream.lane.due, stream.lane.why);
            }
        }
        if self.held.records > 0 && !self.gave_up(&self.sink.lane) {
            sooner(self.sink.lane.due, self.sink.lane.why);
        }
        match self.held.room {
            Room::Free => {}
            Room::QueueFull => sooner(Due::At(self.room_due), Why::QueueFull),
            Room::DiskLow => sooner(Due::At(self.room_due), Why::DiskLow),
        }
        next
    }

    /// In `--once` a lane is given up after a few failures, at once when a person is needed.
    fn gave_up(&self, lane: &Lane) -> bool {
        let long_wait = match lane.due {
            Due::At(due) => due.since(lane.since) > Span::minutes(1),
            Due::Never => true,
        };
        self.plan.mode == Mode::Once
            && lane.failures > 0
            && (lane.failures >= limits::ONCE_FAILURES_MAX
                || lane.why.mood() == Mood::Stuck
                || long_wait)
    }

    /// How `--once` ends, once nothing more can be done.
    fn once_ended(&self) -> Option<End> {
        if self.plan.mode == Mode::Daemon {
            return None;
        }
        let sink_over = self.held.records == 0 || self.gave_up(&self.sink.lane);
        let no_room = self.held.room != Room::Free
            && (self.room_checks > limits::ONCE_FAILURES_MAX || self.gave_up(&self.sink.lane));
        let streams_over = self.streams.iter().all(|stream| {
            let tenant = &self.tenants[stream.plan.tenant];
            stream.caught_up || no_room || self.gave_up(&stream.lane) || self.gave_up(&tenant.lane)
        });
        if !(sink_over && streams_over) {
            return None;
        }
        let mut lanes = vec![];
        if self.held.records > 0 {
            lanes.push(&self.sink.lane);
        }
        for stream in self.streams.iter().filter(|stream| !stream.caught_up) {
            lanes.push(&stream.lane);
            lanes.push(&self.tenants[stream.plan.tenant].lane);
        }
        Some(match () {
            () if lanes.is_empty() => End::Done,
            () if lanes.iter().any(|lane| lane.why.is_refusal()) => End::Refused,
            () => End::TryLater,
        })
    }

    pub fn held(&self) -> &Held {
        &self.held
    }
}

/// The world outside: does one action and tells what came of it. `None` is a power cut: the
/// process is gone, the disk is what it was. Only a simulated world ever returns it.
pub trait World {
    fn tick(&mut self) -> Tick;
    fn perform(&mut self, action: Action) -> Option<Event>;
    /// Called after every step with what the core thinks now; for log and status.
    fn observe(&mut self, _core: &Core, _now: Mono) {}
}

/// The whole program, in production and in simulation alike.
pub fn run(core: &mut Core, world: &mut impl World) -> Option<End> {
    let mut event = Event::Woke;
    loop {
        let tick = world.tick();
        let action = core.step(&tick, event);
        world.observe(core, tick.now);
        match action {
            Action::Exit(end) => return Some(end),
            action => event = world.perform(action)?,
        }
    }
}
