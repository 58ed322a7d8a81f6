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
//!                |               |--"some was not taken"--> Doubt --> Stored --> decide
//!                |               |--401, 403--> TryKey --> KeyTried --> decide, or Park
//!                |               '--anything else--> decide
//!                |--> Note --> Noted --> decide
//!                |--> Info, TokenEnd, Older, Measure --> their events --> decide
//!                |--> Sleep --> Woke --> decide
//!                '--> Exit
//! ```
//!
//! Each stream, each tenant and the sink is a lane: when it may next be used, and why not sooner.
//! Due lanes take turns, so that a backlog never stops the polling and a slow tenant never stops
//! another.
//!
//! Promises: a page is asked for only after the one before it is stored (P1); an acknowledgement
//! follows an accepted batch alone (P1); with no room nothing is fetched and nothing is dropped (P4); no lane
//! is used before its time (P6). Never: does IO, reads a clock or a random source, or fails.

mod beyond;
mod blame;
mod decide;
mod doubt;
mod failing;
mod lane;
mod learning;
mod note;
mod pace;
mod place;
mod plan;
mod quiet;
mod reconcile;
mod reconciling;
pub mod rows;
mod sink;
pub mod size;
mod source;
mod source_clock;
mod store;
mod suspects;
mod tenant;
mod view;
mod walk;

#[cfg(test)]
mod beginning_tests;
#[cfg(test)]
mod beyond_tests;
#[cfg(test)]
mod in_doubt_tests;
#[cfg(test)]
mod link_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod place_tests;
#[cfg(test)]
mod shrink_tests;
#[cfg(test)]
mod tests;

use decide::LaneId;
use failing::AskedFor;
use lane::{Backoff, Lane};
pub use lane::{Mood, Why};
pub use note::Note;
use note::Notes;
use pace::Direction;
pub use place::SetBack;
pub use plan::{Mode, Plan, StreamPlan};
pub use reconcile::{Count, Counted, Difference, List, Listed, Tale};
use sink::Sink;
pub use source::{Fetch, Keep, Missed, PageFacts};
use source::{Pending, Stream, Tenant, Token};
pub use view::{LaneView, ReconcileView, StreamView, TenantView, View};

use crate::limits;
use crate::prng::Prng;
use crate::record::{
    Credential, Held, KeyTrial, Learned, Opened, Place, Room, Sent, SinkVerdict, SourceTrouble,
    StreamHeld, StreamLearned, Take,
};
use crate::time::{Clocks, Due, Mono, Span, Stamp};
use crate::window::{Carried, Gate};

/// The ambient input, sampled at the edge before every step.
#[derive(Clone, Debug, Default)]
pub struct Tick {
    pub now: Mono,
    pub clocks: Clocks,
    /// No new request; end as soon as what is in hand is kept.
    pub stop: bool,
    /// A person asked to poll and deliver now, which is `retry.min` after the last try at the earliest.
    pub hurry: bool,
    /// Secrets that changed since they were last used.
    pub changed: Vec<Credential>,
    /// Whether the windows of the local day are open.
    pub delivery: Gate,
    pub polling: Gate,
    pub sent: Carried,
    pub received: Carried,
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
    /// Compare SentinelOne's count with what was collected.
    Count(Count),
    /// List what was created in a range, to find what was not collected.
    List(List),
    /// Records and progress in one durable write: neither is ever on disk without the other.
    Store(Keep),
    /// Deliver the page in hand from memory, if its JSON is no longer than this; the queue is empty.
    /// `Store` always follows.
    SendPage {
        keep: Keep,
        raw_bytes_max: u64,
    },
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
    /// Set aside what was just sent, up to here: the answer said that some of it was not taken.
    Doubt {
        end: Place,
    },
    /// The same for the page in hand, which was sent from memory; its progress is stored with it.
    DoubtPage(Keep),
    /// Find out with an empty array whether the key was refused or the content.
    TryKey,
    /// Take in what the collector says of itself.
    Note(Note),
    /// Deliver it from memory; the queue is empty.
    SendNote(Note),
    /// Take a stream back whose position can't be true.
    SetBack(SetBack),
    /// Find out whether SentinelOne still has any record of a stream from before this.
    Older {
        stream: usize,
        than: Stamp,
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
    /// A service was not reached, no second clock confirms the time a stream stands at, or a gap can't
    /// be told of for want of space; everything is kept.
    TryLater,
    /// A credential or permission was refused; everything is kept.
    Refused,
    /// The config asks for what can't be; everything is kept.
    Misconfigured,
    /// All was sent, and the last answer said that some of it was not taken; it is kept in `doubt/`.
    InDoubt,
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
    /// `None`: nothing that was collected in the range is remembered, so nothing was asked.
    Counted {
        stream: usize,
        counted: Result<Option<Counted>, SourceTrouble>,
    },
    Listed {
        stream: usize,
        listed: Result<Listed, SourceTrouble>,
    },
    /// `None`: the page does not fit into one request.
    PageSent(Option<SinkVerdict>),
    Stored(Result<Held, StoreTrouble>),
    Sent {
        sent: Sent,
        verdict: SinkVerdict,
    },
    /// Where the stream stands then.
    SetBack {
        stream: usize,
        result: Result<(Held, StreamHeld), StoreTrouble>,
    },
    KeyTried(KeyTrial),
    Noted(Result<Held, StoreTrouble>),
    NoteSent(SinkVerdict),
    /// Whether there is such a record.
    Older {
        stream: usize,
        result: Result<bool, SourceTrouble>,
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
    notes: Notes,
    delivery: Direction,
    polling: Direction,
    /// What other clocks than the tenants' say.
    clocks: Clocks,
    /// When the last action was given, and how long it took.
    acted: Mono,
    took: Span,
    /// The lane that the action in hand was decided for, up to the last that follows from it.
    used: Option<LaneId>,
    pending: Option<Pending>,
    /// What was last written down for the next process.
    learned: Learned,
    /// A stream, and so many rows that it is asked for and never was in this process.
    asking: Option<(usize, u32)>,
    /// Which lane goes next: a number of streams and tenants, or the sink.
    turn: usize,
    room_due: Mono,
    room_checks: u32,
    started: Mono,
    /// How often the queue had to be mended since the last batch that was let go of.
    mended: u32,
    /// How often what was due could not be done, which is a fault of the program.
    stalls: u64,
}

impl Core {
    pub fn new(plan: Plan, seed: u64, now: Mono, opened: Opened) -> Core {
        plan.check();
        assert_eq!(plan.streams.len(), opened.streams.len());
        let mut backoff =
            Backoff { min: plan.retry_min, max: plan.retry_max, prng: Prng::new(seed) };
        let first = backoff.at_start(opened.unsettled);
        let mut learned = opened.learned;
        learned.streams.resize(plan.streams.len(), StreamLearned::default());
        let streams = plan.streams.iter().zip(opened.streams).zip(&learned.streams);
        let streams = streams.map(|((of, held), learned)| {
            Stream::new(of.clone(), held, now, first).remembering(learned, plan.bounds.whole)
        });
        Core {
            backoff,
            held: opened.held,
            tenants: (0..plan.tenants).map(|_| Tenant::new(now, first)).collect(),
            streams: streams.collect(),
            notes: Notes::new(&plan, now),
            sink: Sink::new(Lane::new(now, first))
                .within(plan.bounds.body_raw_bytes, plan.bounds.silence)
                .remembering(learned.sink),
            delivery: Direction::new(plan.bounds.delivery_rate),
            polling: Direction::new(plan.bounds.polling_rate),
            clocks: Clocks::default(),
            acted: now,
            took: Span::ZERO,
            used: None,
            pending: None,
            learned,
            asking: None,
            turn: 0,
            room_due: now,
            room_checks: 0,
            started: now,
            mended: 0,
            stalls: 0,
            plan,
        }
    }

    /// Takes the answer to the last action and gives the next one.
    pub fn step(&mut self, tick: &Tick, event: Event) -> Action {
        self.notice(tick);
        let action = self.answered(tick, event);
        self.note_asking(&action);
        action
    }

    fn answered(&mut self, tick: &Tick, event: Event) -> Action {
        let now = tick.now;
        let follow_up = match event {
            Event::Opened(opened) => {
                self.reopened(now, opened);
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
            Event::Counted { stream, counted } => {
                self.counted(now, stream, counted);
                None
            }
            Event::Listed { stream, listed } => self.listed(tick, stream, listed),
            Event::PageSent(verdict) => self.page_sent(now, verdict),
            Event::Stored(result) => {
                self.stored(now, result);
                None
            }
            Event::Sent { sent, verdict } => {
                self.sink.answered(now, sent, self.took, &verdict, &mut self.backoff).action()
            }
            Event::KeyTried(trial) => self.sink.tried(now, &trial, &mut self.backoff).action(),
            Event::Noted(result) => {
                self.noted(now, result);
                None
            }
            Event::NoteSent(verdict) => self.note_sent(now, &verdict),
            Event::Older { stream, result } => self.older(tick, stream, result),
            Event::SetBack { stream, result } => {
                self.was_set_back(now, stream, result);
                None
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

    /// Changed credentials and a person's wish end the waits they concern, at their pace.
    fn notice(&mut self, tick: &Tick) {
        let (now, begun) = (tick.now, std::mem::replace(&mut self.acted, tick.now));
        self.took = now.since(begun);
        if let Some(lane) = self.used {
            self.lane_mut(lane).tried = now;
        }
        let pace = self.backoff.min;
        self.clocks = tick.clocks;
        self.delivery.notice(now, begun, tick.delivery, tick.sent);
        self.polling.notice(now, begun, tick.polling, tick.received);
        for credential in &tick.changed {
            match *credential {
                Credential::Token(tenant) => self.token_changed(tick.now, tenant),
                Credential::Key => self.sink.lane.wish(now, pace),
            }
        }
        if tick.hurry {
            self.sink.lane.wish(now, pace);
            self.tenants.iter_mut().for_each(|tenant| tenant.lane.wish(now, pace));
            self.streams.iter_mut().for_each(|stream| stream.lane.wish(now, pace));
        }
    }

    fn reopened(&mut self, now: Mono, opened: Opened) {
        assert_eq!(self.streams.len(), opened.streams.len());
        let soon = now + self.backoff.after(self.mended.min(limits::MENDS_DOUBLING_MAX), None);
        self.mended = self.mended.saturating_add(1);
        for (stream, held) in self.streams.iter_mut().zip(opened.streams) {
            stream.reset(held, now, soon);
        }
        self.sink.reset(soon);
        self.pending = None;
        self.hold(opened.held);
    }

    fn hold(&mut self, held: Held) {
        self.held = held;
        if held.room == Room::Free {
            self.room_checks = 0;
        }
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
                state.clock.hear(page.date, tick.now, self.clocks);
                state.answers(tick.now);
                let present = state.clock.present(tick.now, self.clocks);
                if let Some(than) = self.streams[stream].doubts(&page, present.latest()) {
                    return Some(Action::Older { stream, than });
                }
                if state.token_end_due == Due::Never && self.plan.mode == Mode::Daemon {
                    state.token_end_due = Due::At(tick.now);
                }
                let pending = self.streams[stream].page(stream, &page, self.took, present);
                self.take_in(tick, pending)
            }
            Err(trouble) => {
                self.fetch_failed(tick.now, stream, AskedFor::Page, trouble);
                None
            }
        }
    }

    pub fn held(&self) -> &Held {
        &self.held
    }

    pub fn stalls(&self) -> u64 {
        self.stalls
    }
}

/// The world outside: does one action and tells what came of it. `None` is a power cut: the
/// process is gone, the disk is what it was. Only a simulated world ever returns it.
pub trait World {
    fn tick(&mut self) -> Tick;
    fn perform(&mut self, action: Action) -> Option<Event>;
    /// Writes down what the next process is to know. That it may fail costs no more than learning it anew.
    fn remember(&mut self, learned: &Learned);
    /// Called after every step with what the core thinks and is about to do; for log and status.
    fn observe(&mut self, _core: &Core, _now: Mono, _next: &Action) {}
}

/// The whole program, in production and in simulation alike.
pub fn run(core: &mut Core, world: &mut impl World) -> Option<End> {
    let mut event = Event::Woke;
    loop {
        let tick = world.tick();
        let action = core.step(&tick, event);
        world.observe(core, tick.now, &action);
        if let Some(learned) = core.news() {
            world.remember(learned);
        }
        match action {
            Action::Exit(end) => return Some(end),
            action => event = world.perform(action)?,
        }
    }
}
