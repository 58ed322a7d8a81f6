//! The simulation: the real core, worker, formats and queue over a simulated tenant, sink, disk
//! and clock, for as many lives as asked for.
//!
//! `S1C_LIVES=100000 cargo test --release --test sim` lives more of them, from `S1C_FIRST` on; `S1C_SEED=17`
//! lives one again; with `S1C_TRACE=1` every action of it is printed. `S1C_LIE=page-errors` has the peers of
//! every life tell that lie (`none`: no lie), and with `S1C_GO_ON=1` a life that fails ends nothing:
//! what came of each lie is printed. Promises: after the faults end, everything visible is delivered
//! or parked, or a gap says that a lie lost it; order, bounds, request rates and the watch's rule hold
//! all the time.

#![expect(clippy::disallowed_methods, reason = "a test is told what to live by its environment")]

mod bears;
mod campaign;
mod disk;
mod failed_once;
mod ingress;
mod lies;
mod link;
mod oracle;
mod sink;
mod tenant;
mod thin;
mod watch;
mod world;

use std::cell::RefCell;
use std::rc::Rc;

use s1_coralogix::coralogix::entry::Labels;
use s1_coralogix::core::{self, Action, Core, End, Event, Mode, Plan, StreamPlan, Tick, World};
use s1_coralogix::prng::Prng;
use s1_coralogix::queue::mem::{Fault, MemDisk};
use s1_coralogix::queue::{Queue, QueueLimits, Settings, StreamSettings};
use s1_coralogix::record::{Kind, Learned, Start, StreamName, WriteMode};
use s1_coralogix::time::{Mono, Span};
use s1_coralogix::work::{StreamWork, Worker};

use bears::Bears;
use campaign::{Campaign, Healed, Lived};
use lies::{Claim, Lies};
use link::Link;
use oracle::{SENT_AHEAD, UNANSWERED};
use tenant::Tenant;
use world::{BIRTH, Faults, Pause, Shared, SimEdge};

const LIVES: u64 = 2_000;
const OVERLAP: Span = Span::seconds(120);
const HOUR: u64 = 3_600_000;
/// Steps without a rest between them; more is a spin.
const STEPS_MAX: u64 = 5_000;
/// A step that takes so long is a rest: over a thin link the next poll is due before the last one ends.
const REST: u64 = 10_000;

#[test]
fn every_record_is_delivered_or_parked_whatever_breaks() {
    if let Ok(seed) = std::env::var("S1C_SEED") {
        let seed = seed.parse().expect("S1C_SEED is a number");
        println!("seed {seed}: {:?}", live(seed));
        return;
    }
    let told =
        |name, default| std::env::var(name).map_or(default, |n| n.parse().expect("a number"));
    let first = told("S1C_FIRST", 0);
    let campaign = Campaign::run(first..first + told("S1C_LIVES", LIVES), live);
    println!("{campaign}");
    if campaign.goes_on() {
        assert_eq!(campaign.failed, 0, "lives failed, each told above");
        return;
    }
    let met = &campaign.met;
    assert!(met["very late"] > 0, "no life met a record that only a count finds");
    let teeth =
        ["cut", "reply lost", "source outage", "token refused", "poison", "windows", "pause"];
    let bounds = ["thin link", "too long for the link", "page not borne", "batch not borne"];
    let lies = lies::KINDS.iter().filter(|_| campaign.is_ordinary()).map(|(name, _)| name);
    for fault in teeth.iter().chain(&bounds).chain(&disk::FAULTS).chain(lies) {
        assert!(met.contains_key(*fault), "no life met \"{fault}\": the simulation lost its teeth");
    }
}

#[test]
fn lives_that_failed_once_are_lived_again() {
    if std::env::var("S1C_SEED").is_ok() {
        return;
    }
    for (seed, lie) in failed_once::FAILED_ONCE {
        println!("seed {seed} with {lie:?}: {}", live_told(seed, lie).outcome);
    }
}

fn faults(prng: &mut Prng) -> Faults {
    let end = HOUR * (6 + prng.below(60));
    let mut window = |longest: u64, percent: u64| {
        if !prng.chance(percent) {
            return 0..0;
        }
        let from = prng.below(end);
        from..(from + 1 + prng.below(longest)).min(end)
    };
    let source_outage = window(30 * HOUR, 50);
    let sink_outage = window(50 * HOUR, 70);
    let token_refused = window(20 * HOUR, 30);
    let key_refused = window(20 * HOUR, 30);
    let threats_forbidden = window(10 * HOUR, 30);
    let disk_full = window(HOUR / 3, 40);
    let log_rots = prng.chance(50);
    let rot_percent = [0, 0, 5, 30][prng.below(4) as usize];
    let disk_fails = !log_rots || rot_percent == 0;
    Faults {
        end,
        percent: [0, 0, 2, 10, 25][prng.below(5) as usize],
        cut_permille: [0, 1, 5, 30][prng.below(4) as usize],
        disk_permille: [0, 0, 2, 10][prng.below(4) as usize] * u64::from(disk_fails),
        rot_percent,
        log_rots,
        disk_full,
        source_outage,
        sink_outage,
        token_refused,
        key_refused,
        threats_forbidden,
    }
}

fn plan(prng: &mut Prng, reconcile: Span, tally_ids: Option<usize>, link: &Link) -> Plan {
    let start = if prng.chance(50) { Start::At(BIRTH) } else { Start::Ago(Span::hours(24 * 365)) };
    let poll_interval = Span::minutes(1 + prng.below(20));
    let stream =
        |kind| StreamPlan { tenant: 0, kind, poll_interval, start, overlap: OVERLAP, reconcile };
    Plan {
        tenants: 1,
        streams: vec![stream(Kind::Threats), stream(Kind::Activities)],
        retry_min: Span::seconds(1),
        retry_max: Span::minutes(5),
        mode: if prng.chance(25) { Mode::Once } else { Mode::Daemon },
        write: if prng.chance(50) { WriteMode::Always } else { WriteMode::OnFailure },
        heartbeat: prng.chance(50).then(|| Span::minutes(1 + prng.below(60))),
        bounds: link.bounds(),
        tally_ids,
    }
}

fn live(seed: u64) -> Lived {
    live_told(seed, lies::forced())
}

/// Lives one life to its end and has it judged. `forced`: the lie that is told in it.
fn live_told(seed: u64, forced: Option<&str>) -> Lived {
    let mut prng = Prng::new(seed);
    let faults = faults(&mut prng);
    let mut lies = Lies::draw(seed, faults.end, forced);
    let lasting = Span(faults.end + HOUR);
    // A box that counts finds what no poll would; one that does not has a tenant without such.
    let reconcile = [Span::ZERO, Span::minutes(10), Span::hours(1)][prng.below(3) as usize];
    // A tenant too busy for the ids of a life to be remembered presses for one count after the other,
    // and what is late by hours may be missed there. Drawn apart, so that a seed keeps its life.
    let mut apart = Prng::new(seed ^ 0x7a11_f00d);
    let tally_ids = apart.chance(25).then(|| 8 + apart.below(200) as usize);
    // A count is a claim as well: what is late by hours is not found where pages and times are wrong.
    let counts_lie = lies.any(|claim| claim.is_of_pages() || claim.is_of_time());
    let mut bears = if lies.is_empty() { Bears::draw(seed) } else { Bears::default() };
    // Beside what is limited, and beside rows that can't be listed, some lives have late ones too.
    let may_be_late = !bears.is_limited() || Prng::new(seed ^ 0x1157_1a7e).chance(40);
    let very_late = reconcile > Span::ZERO && tally_ids.is_none() && !counts_lie && may_be_late;
    let mut tenant = Tenant::publish(&mut prng, BIRTH, lasting, OVERLAP, very_late);
    tenant.restamp(BIRTH, &mut lies);
    let is_poisoned = prng.chance(30) || lies.any(|claim| claim == Claim::ContentForbidden);
    let poison_every = if is_poisoned { 37 } else { 0 };
    // What counts find in a box with a limited link is not judged here: a life has one of the two.
    let link = Link::draw(seed);
    let plan = plan(&mut prng, reconcile, tally_ids, &link);
    // What pages lack is found by counts alone, and for changed threats by those of one process.
    let counts = reconcile > Span::ZERO && tally_ids.is_none() && plan.mode == Mode::Daemon;
    if !counts || link.has_windows() || link.polling.rate.is_some() {
        lies.all.retain(|lie| lie.claim != Claim::LacksRows);
    }
    // A run of `--once` ends too soon to get past a row: each one costs it many runs.
    bears.expect_poison(&tenant, poison_every);
    if plan.mode == Mode::Daemon {
        bears.spoil(seed, &tenant, poison_every);
    }
    let disk = MemDisk::new(disk::CAPACITY);
    let mut shared = Shared::new(prng.clone(), faults, lies, tenant, poison_every);
    shared.windows_bind = plan.mode == Mode::Daemon;
    if !link.delivery.windows.0.is_empty() && shared.windows_bind {
        shared.met.insert("windows", 1);
    }
    // What is late by hours is found by the clock of the life, which no pause stops.
    let may_pause = shared.lies.is_empty() && !very_late;
    shared.pause = Pause::draw(seed, shared.faults.end).filter(|_| may_pause);
    shared.link = link;
    shared.bears = bears;
    let shared = Rc::new(RefCell::new(shared));
    live_on(&plan, &disk, &shared, &mut prng);
    let state = shared.borrow();
    oracle::judge(&state, plan.retry_max.as_ms());
    let mut met = state.met.clone();
    met.insert("very late", state.very_late_received());
    let took = Span(state.now.saturating_sub(state.faults.end));
    let healed = Healed { took, allowed: Span(state.patience()), seed };
    if state.bears.is_limited() {
        met.insert("limited", 1);
    }
    Lived { met, lies: state.lies.told(), outcome: state.outcome(), healed }
}

/// Boots the box again and again, to the end of its life.
fn live_on(plan: &Plan, disk: &MemDisk, shared: &Rc<RefCell<Shared>>, prng: &mut Prng) {
    let mut rot = disk::Rot::default();
    loop {
        let begun = shared.borrow().true_time();
        let ended = boot(plan, disk, shared, prng.next_u64());
        let mut state = shared.borrow_mut();
        match ended {
            Some(End::Done) if state.stop => break,
            // A box that is online now and then: the next run is a while away.
            Some(end) if plan.mode == Mode::Once && end != End::Broken => {
                if state.is_over() {
                    break;
                }
                let missing = state.missing_of(begun);
                let is_excused = state.lies.may_agree();
                let done = missing.is_empty() || end != End::Done || is_excused;
                assert!(done, "{end:?} with {}", state.brief(missing.into_iter()));
                state.now += prng.below(HOUR);
                *state.met.entry("once ended").or_default() += 1;
            }
            Some(End::Done) => panic!("nobody told it to stop"),
            Some(End::Broken) => {}
            Some(end) => panic!("a daemon ended with {end:?}"),
            None => *state.met.entry("cut").or_default() += 1,
        }
        if prng.chance(70) {
            disk.power_cut(prng);
        } else {
            disk.kill();
        }
        disk::boot(disk, &mut state, prng, &mut rot);
        // The supervisor waits before it starts the next process.
        state.now += 1_000 + prng.below(5_000);
        state.boot();
        assert!(state.boots < 5_000, "it never gets anywhere");
    }
}

/// One process: from opening the queue to its end, or to a cut.
fn boot(plan: &Plan, disk: &MemDisk, shared: &Rc<RefCell<Shared>>, seed: u64) -> Option<End> {
    let streams: Vec<StreamWork> =
        plan.streams.iter().map(|stream| stream_work(stream.kind)).collect();
    let names: Vec<StreamName> = streams.iter().map(|stream| stream.name.clone()).collect();
    let limits = QueueLimits { max_size_bytes: 16 << 20, min_free_bytes: 1 << 20 };
    let settings = plan.streams.iter().zip(&names).map(|(stream, name)| StreamSettings {
        name: name.clone(),
        tally_ids_max: plan.tally_ids_of(stream),
    });
    let settings = Settings { limits, streams: settings.collect(), new_id: None };
    let Ok((queue, opened, found)) = Queue::open(disk.clone(), settings) else { return None };
    if found.iter().any(|found| ["index-replaced", "log-damaged"].contains(&found.reason)) {
        shared.borrow_mut().meet("count begun anew");
    }
    let edge = SimEdge(Rc::clone(shared));
    let mut worker = Worker::new(edge, queue, streams);
    if plan.mode == Mode::Daemon {
        let link = &shared.borrow().link;
        worker = worker.within(link.delivery.windows.clone(), link.polling.windows.clone());
    }
    let trace = std::env::var("S1C_TRACE").is_ok();
    if trace {
        let held: Vec<_> = opened.streams.iter().map(|stream| stream.progress).collect();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        eprintln!(
            "{} opened: {held:?} {:?} {found:?} {:?}",
            shared.borrow().true_time(),
            opened.held,
            opened.learned
        );
    }
    let plan = plan.clone();
    let mut life =
        Life { worker, plan, shared: Rc::clone(shared), disk: disk.clone(), trace, unanswered: 0 };
    let now = life.worker.tick().now;
    let mut core = Core::new(life.plan.clone(), seed, now, opened);
    core::run(&mut core, &mut life)
}

fn stream_work(kind: Kind) -> StreamWork {
    StreamWork::new("acme", kind, 0, Labels::new("acme", "SentinelOne", "acme", "box"))
}

/// The worker, and the hand at its power switch.
struct Life {
    worker: Worker<SimEdge, MemDisk>,
    plan: Plan,
    shared: Rc<RefCell<Shared>>,
    disk: MemDisk,
    trace: bool,
    /// How often in a row the question for older records was not answered.
    unanswered: u32,
}

impl World for Life {
    fn tick(&mut self) -> Tick {
        self.worker.tick()
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        let (before, within, after) = {
            let mut shared = self.shared.borrow_mut();
            shared.steps += 1;
            assert!(shared.steps < STEPS_MAX, "spins: {action:?}");
            let permille = shared.faults.cut_permille;
            // Sleeps are many; a box is rarely cut while it works, but that is what matters.
            let permille =
                if matches!(action, Action::Sleep { .. }) { permille / 5 } else { permille };
            if shared.hit_quietly(permille) {
                let spot = shared.prng.below(3);
                (spot == 0, (spot == 1).then(|| 1 + shared.prng.below(12)), spot == 2)
            } else {
                (false, None, false)
            }
        };
        if before {
            return None;
        }
        let sends =
            matches!(action, Action::Send(_) | Action::SendAhead(_) | Action::SendPage { .. });
        self.shared.borrow_mut().stand_still(sends);
        disk::fill(&self.disk, &mut self.shared.borrow_mut());
        match within {
            Some(n) => self.disk.fail_after(n, Fault::PowerOff),
            None => disk::fail(&self.disk, &mut self.shared.borrow_mut()),
        }
        let (sleeps, began) = (matches!(action, Action::Sleep { .. }), self.shared.borrow().now);
        let told = self.trace.then(|| format!("{action:?}"));
        let event = self.worker.perform(action);
        if matches!(event, Some(Event::SentAhead(Some(_)))) {
            // It may have been accepted although the reply was lost.
            self.shared.borrow_mut().meet(SENT_AHEAD);
        }
        if let Some(Event::Older { result, .. }) = &event {
            self.unanswered = if result.is_err() { self.unanswered + 1 } else { 0 };
            if self.unanswered >= 3 {
                self.shared.borrow_mut().meet(UNANSWERED);
            }
        }
        if let Some(action) = told {
            eprintln!("{} {action}\n    -> {event:?}", self.shared.borrow().true_time());
        }
        if within.is_some() && self.disk.has_failed() {
            return None;
        }
        disk::heal(&self.disk, &mut self.shared.borrow_mut());
        let mut shared = self.shared.borrow_mut();
        if sleeps || shared.now - began >= REST {
            shared.steps = 0;
            shared.stop |= shared.is_over();
        }
        if after { None } else { event }
    }

    fn remember(&mut self, learned: &Learned) {
        self.worker.remember(learned);
    }

    fn observe(&mut self, core: &Core, now: Mono, next: &Action) {
        let mut shared = self.shared.borrow_mut();
        assert!(core.held().bytes < 20 << 20, "the queue outgrows its bound");
        assert_eq!(core.stalls(), 0, "a sleep that is already over");
        if shared.watch.is_behind(core.held()) {
            shared.watch.read_ledger(core.held(), self.worker.latest_gaps());
        }
        if self.plan.mode == Mode::Daemon && matches!(next, Action::Sleep { .. }) {
            shared.look(&self.plan, core.held(), core.view(now).health());
        } else if shared.glances() {
            shared.glance(core.view(now).health());
        }
        if shared.now >= shared.faults.end + shared.patience() {
            let missing = shared.brief(shared.missing().into_iter());
            panic!("stuck with {missing}: {:?}", core.view(now));
        }
    }
}
