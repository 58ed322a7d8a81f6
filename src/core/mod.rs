//! The program as one function: `Core::step(Tick, Event) -> Action`.
//!
//! One action is in progress at a time and its event is the only answer, so a run is a list of
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
mod changed;
mod consequence;
mod decide;
mod failing;
mod known;
mod lane;
mod learning;
mod left_out;
mod overcount;
mod place;
mod plan;
mod provisional;
mod quiet;
mod reason;
mod reconcile;
mod reconciling;
mod retention;
pub mod rows;
mod self_report;
mod sink;
pub mod size;
mod source;
mod source_clock;
mod store;
mod suspects;
mod tenant;
mod throttle;
mod twin;
mod unlisted;
mod view;
mod walk;

#[cfg(test)]
#[path = "tests/beginning.rs"]
mod beginning_tests;
#[cfg(test)]
#[path = "tests/beyond.rs"]
mod beyond_tests;
#[cfg(test)]
#[path = "tests/ends.rs"]
mod ends_tests;
#[cfg(test)]
#[path = "tests/in_doubt.rs"]
mod in_doubt_tests;
#[cfg(test)]
#[path = "tests/lanes.rs"]
mod lanes_tests;
#[cfg(test)]
#[path = "tests/link.rs"]
mod link_tests;
#[cfg(test)]
#[path = "tests/order.rs"]
mod order_tests;
#[cfg(test)]
#[path = "tests/place.rs"]
mod place_tests;
#[cfg(test)]
#[path = "tests/provisional.rs"]
mod provisional_tests;
#[cfg(test)]
#[path = "tests/quiet.rs"]
mod quiet_tests;
#[cfg(test)]
#[path = "tests/shrink.rs"]
mod shrink_tests;
#[cfg(test)]
#[path = "tests/sink.rs"]
mod sink_tests;
#[cfg(test)]
#[path = "tests/stream.rs"]
mod stream_tests;
#[cfg(test)]
#[path = "tests/tenant.rs"]
mod tenant_tests;
#[cfg(test)]
#[path = "tests/core.rs"]
mod tests;

use decide::LaneId;
use failing::AskedFor;
use lane::{Backoff, Lane};
pub use place::SetBack;
pub use plan::{Mode, Plan, StreamPlan};
pub use reason::{Health, Reason};
pub use reconcile::{By, Count, Counted, Difference, List, Listed, ReconcileSummary};
pub use retention::Older;
pub use self_report::SelfReport;
use self_report::SelfReports;
use sink::Sink;
pub use source::{Fetch, FoundBy, Missed, PageFacts, StorePage};
use source::{Pending, Stream, Tenant, Token};
pub use store::PageSent;
use throttle::Direction;
pub use view::{LaneView, ReconcileView, StreamView, TenantView, View};

use crate::limits;
use crate::prng::Prng;
use crate::record::{
    CredentialId, Cursor, KeyTrial, Learned, Opened, Probe, QueuePosition, QueueStatus, Room, Sent,
    SinkVerdict, SourceTrouble, StreamLearned, StreamStatus, Take,
};
use crate::time::{Clocks, Due, Mono, SinkOff, Span, Stamp};
use crate::window::{Carried, Gate};

/// The input from outside besides the event, sampled by the edge before every step.
#[derive(Clone, Debug, Default)]
pub struct Tick {
    pub now: Mono,
    pub clocks: Clocks,
    pub sink_off: Option<SinkOff>,
    /// Begin no new request; end as soon as the pending page is kept.
    pub stop: bool,
    /// A person asked to poll and deliver now; at the earliest `retry.min` after the last try.
    pub poll_now: bool,
    /// Secrets that changed since they were last used.
    pub changed: Vec<CredentialId>,
    /// Whether the windows of the local day are open.
    pub delivery: Gate,
    pub polling: Gate,
    pub sent: Carried,
    pub received: Carried,
}

/// A request to the outside world.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `GET /system/info`: shows whether the token is accepted, and SentinelOne's time.
    Info {
        tenant: usize,
    },
    /// Find out when the tenant's token expires.
    TokenEnd {
        tenant: usize,
    },
    Fetch(Fetch),
    /// Compare SentinelOne's count with what was collected.
    Count(Count),
    /// List what was created in a range, to find what was not collected.
    List(List),
    /// Store records and progress in one durable write: neither is ever on disk without the other.
    Store(StorePage),
    /// Deliver the pending page from memory, if its JSON is no longer than `raw_bytes_max`; the
    /// queue is empty. `Store` always follows.
    SendPage {
        keep: StorePage,
        raw_bytes_max: u64,
    },
    /// Deliver records from the head of the queue.
    Send(Take),
    /// Deliver one record from behind the head, to show whether the one at the head is to blame.
    SendAhead(Probe),
    /// Follows only `SinkVerdict::Accepted`: the only way in which a record leaves the queue as
    /// delivered.
    Ack {
        end: QueuePosition,
    },
    /// Park the record that was just rejected.
    Park {
        at: QueuePosition,
    },
    /// Set aside what was just sent, up to `end`: the answer said that some records were not
    /// accepted.
    Doubt {
        end: QueuePosition,
    },
    /// The same for the pending page, which was sent from memory; its progress is stored with it.
    DoubtPage(StorePage),
    /// Find out with an empty array whether the key was rejected or the content.
    TryKey,
    /// Ask Coralogix for its time with an empty array.
    AskTime,
    /// Store the collector's own record.
    Note(SelfReport),
    /// Deliver an own record from memory; the queue is empty.
    SendNote(SelfReport),
    /// Take a stream back whose position can't be right.
    SetBack(SetBack),
    /// Find out whether SentinelOne still has any record of a stream from before a time. `cursor`:
    /// of a page without a record.
    Older {
        stream: usize,
        than: Stamp,
        cursor: Option<Cursor>,
    },
    /// Measure whether there is space again.
    Measure,
    Sleep {
        until: Mono,
        reason: Reason,
    },
    Exit(End),
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A request to stop, or everything is done.
    Done,
    /// A service was not reached, no second clock confirms the time of a stream's position, or a
    /// gap can't be reported for lack of space; everything is kept.
    TryLater,
    /// A credential or permission was rejected; everything is kept.
    Refused,
    /// The config can't be fulfilled; everything is kept.
    Misconfigured,
    /// Everything was sent, and the last answer said that some records were not accepted; they are
    /// kept in `doubt/`.
    InDoubt,
    /// The queue can't be used any more by this process; the supervisor starts a new one.
    Broken,
    /// This process has no right to use the queue; the queue is intact.
    Denied,
    /// The system refuses to open the queue's index; the queue is intact.
    Unavailable,
    /// A newer version wrote to the queue; nothing may be changed.
    Newer,
}

#[derive(Clone, Debug)]
pub enum Event {
    /// The queue was opened, at the start or again after its index broke.
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
    /// `None`: no collected id of the range is remembered, so no request was made.
    Counted {
        stream: usize,
        counted: Result<Option<Counted>, SourceTrouble>,
    },
    Listed {
        stream: usize,
        listed: Result<Listed, SourceTrouble>,
    },
    /// `None`: the page does not fit into one request.
    PageSent(Option<PageSent>),
    Stored(Result<QueueStatus, StoreTrouble>),
    Sent {
        sent: Sent,
        verdict: SinkVerdict,
    },
    /// The record that was sent ahead of its turn; `None`: the queue has none.
    SentAhead(Option<(Sent, SinkVerdict)>),
    /// The head was accepted ahead of its turn, and is not sent again.
    SentBefore(Sent),
    /// The stream's state after that.
    SetBack {
        stream: usize,
        result: Result<(QueueStatus, StreamStatus), StoreTrouble>,
    },
    KeyTried(KeyTrial),
    Noted(Result<QueueStatus, StoreTrouble>),
    NoteSent(SinkVerdict),
    /// Whether there is such a record.
    Older {
        stream: usize,
        result: Result<Older, SourceTrouble>,
    },
    Measured(QueueStatus),
    Woke,
    /// The queue can't be used by this process, which ends with this.
    Dead(End),
}

/// Why something could not be stored. The queue itself stays usable.
#[derive(Clone, Debug)]
pub enum StoreTrouble {
    /// No space: polling waits, delivery goes on.
    Full(QueueStatus),
    /// The write failed otherwise; tried again later.
    Failed(String),
}

pub struct Core {
    plan: Plan,
    backoff: Backoff,
    held: QueueStatus,
    tenants: Vec<Tenant>,
    streams: Vec<Stream>,
    sink: Sink,
    notes: SelfReports,
    delivery: Direction,
    polling: Direction,
    /// The clocks besides the tenants'.
    clocks: Clocks,
    /// How Coralogix' clock disagrees with every other.
    sink_off: Option<SinkOff>,
    /// What waits in queues that are not used any more, in words.
    left_behind: Option<String>,
    /// When the last action was given, and how long it took.
    acted: Mono,
    took: Span,
    /// The lane for which the current action was decided, kept until the last action that follows
    /// from it.
    used: Option<LaneId>,
    pending: Option<Pending>,
    /// What was last written for the next process.
    learned: Learned,
    /// A stream, and the number of rows that are requested from it and were never received in this
    /// process.
    asking: Option<(usize, u32)>,
    /// Which lane goes next: a number of streams and tenants, or the sink.
    turn: usize,
    /// Coralogix is not asked for its time before this.
    time_due: Mono,
    space_check_at: Mono,
    space_checks: u32,
    started: Mono,
    /// Repairs of the queue since the last acknowledged batch.
    repairs: u32,
    /// How often the lane that was due had no action, which is a fault of the program.
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
            notes: SelfReports::new(&plan, now),
            sink: Sink::new(Lane::new(now, first))
                .within(plan.bounds.body_raw_bytes, plan.bounds.silence)
                .remembering(learned.sink),
            delivery: Direction::new(plan.bounds.delivery_rate),
            polling: Direction::new(plan.bounds.polling_rate),
            clocks: Clocks::default(),
            sink_off: None,
            left_behind: None,
            acted: now,
            took: Span::ZERO,
            used: None,
            pending: None,
            learned,
            asking: None,
            turn: 0,
            time_due: now,
            space_check_at: now,
            space_checks: 0,
            started: now,
            repairs: 0,
            stalls: 0,
            plan,
        }
    }

    /// Takes what waits in queues that are not used any more, in words: a person has to decide.
    pub fn leave_behind(&mut self, left_behind: Option<String>) {
        self.left_behind = left_behind;
    }

    /// Takes the event of the last action and returns the next action.
    pub fn step(&mut self, tick: &Tick, event: Event) -> Action {
        self.notice(tick);
        let action = self.answered(tick, event);
        self.note_asking(&action);
        self.note_provisional(&action, tick.now);
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
            Event::Counted { stream, counted } => self.counted(tick, stream, counted),
            Event::Listed { stream, listed } => self.listed(tick, stream, listed),
            Event::PageSent(sent) => self.page_sent(now, sent),
            Event::Stored(result) => {
                self.stored(now, result);
                None
            }
            Event::Sent { sent, verdict } => {
                self.sink.answered(now, sent, self.took, &verdict, &mut self.backoff).action()
            }
            Event::SentAhead(probed) => {
                self.sink.probed(now, probed, &mut self.backoff);
                None
            }
            Event::SentBefore(sent) => self.sink.sent_before(sent).action(),
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
                self.space_check_at = now + Span::seconds(limits::ROOM_CHECK_SECONDS);
                self.space_checks = self.space_checks.saturating_add(1);
                None
            }
            Event::Woke => None,
            Event::Dead(end) => return Action::Exit(end),
        };
        follow_up.unwrap_or_else(|| self.decide(tick))
    }

    /// Changed credentials and requests of a person end the waits that they concern, at their pace.
    fn notice(&mut self, tick: &Tick) {
        let (now, begun) = (tick.now, std::mem::replace(&mut self.acted, tick.now));
        self.took = now.since(begun);
        if let Some(lane) = self.used {
            self.lane_mut(lane).tried = now;
        }
        let pace = self.backoff.min;
        (self.clocks, self.sink_off) = (tick.clocks, tick.sink_off);
        self.delivery.notice(now, begun, tick.delivery, tick.sent);
        self.polling.notice(now, begun, tick.polling, tick.received);
        for credential in &tick.changed {
            match *credential {
                CredentialId::Token(tenant) => self.token_changed(tick.now, tenant),
                CredentialId::Key => self.sink.key_changed(now, pace),
            }
        }
        if tick.poll_now {
            self.sink.lane.wish(now, pace);
            self.tenants.iter_mut().for_each(|tenant| tenant.lane.wish(now, pace));
            self.streams.iter_mut().for_each(|stream| stream.lane.wish(now, pace));
        }
    }

    fn reopened(&mut self, now: Mono, opened: Opened) {
        assert_eq!(self.streams.len(), opened.streams.len());
        let soon = now + self.backoff.after(self.repairs.min(limits::REPAIRS_DOUBLING_MAX), None);
        self.repairs = self.repairs.saturating_add(1);
        for (stream, held) in self.streams.iter_mut().zip(opened.streams) {
            stream.reset(held, now, soon);
        }
        self.sink.reset(soon);
        self.pending = None;
        self.hold(opened.held);
    }

    fn hold(&mut self, held: QueueStatus) {
        self.held = held;
        if held.room == Room::Free {
            self.space_checks = 0;
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
                state.clock.observe_date(page.date, tick.now, self.clocks);
                state.answers(tick.now);
                if state.token_end_due == Due::Never && self.plan.mode == Mode::Daemon {
                    state.token_end_due = Due::At(tick.now);
                }
                let present = state.clock.present(tick.now, self.clocks);
                if self.streams[stream].progress.is_none() {
                    self.timed(tick.now, stream, page.date);
                    return None;
                }
                self.may_move(stream, tick.now);
                if let Some(than) = self.streams[stream].doubts(&page, present.latest()) {
                    return Some(Action::Older { stream, than, cursor: None });
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

    pub fn held(&self) -> &QueueStatus {
        &self.held
    }

    pub fn stalls(&self) -> u64 {
        self.stalls
    }
}

/// The outside world: executes an action and returns its event. `None` is a power cut: the process
/// is gone, the disk stays as it is. Only a simulated world returns it.
pub trait World {
    fn tick(&mut self) -> Tick;
    fn perform(&mut self, action: Action) -> Option<Event>;
    /// Writes what the next process should know. If it fails, that is only learned again.
    fn remember(&mut self, learned: &Learned);
    /// Called after every step with the core's state and the next action; for log and status.
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
