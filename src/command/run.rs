//! `run`: the daemon, and `run --once`.
//!
//! Promises: what a signal asks for is done between two steps, never inside one; a new config that
//! is wrong is told and the old one stays; the queue is closed cleanly on every way out but one: where the
//! disk does not answer in time (`edge::watch`); whoever reads stderr holds up nothing.

use std::path::Path;

use crate::cli::{self, Exit};
use crate::config::{Config, SecretSource, units};
use crate::coralogix::entry::Labels;
use crate::core::{self, Action, Core, End, Event, Mode, Plan, StreamPlan, Tick, World};
use crate::edge::notify::Notify;
use crate::edge::watch::{self, On};
use crate::edge::{Edge, Real, host, owner, stderr};
use crate::limits;
use crate::message::{self, tell};
use crate::plain::count;
use crate::queue::adopt::Claim;
use crate::queue::marks::QueueId;
use crate::queue::real::RealDisk;
use crate::queue::sled::SledOpener;
use crate::queue::{Finding, OpenError, Queue, QueueError, QueueLimits, RealQueue};
use crate::record::{Learned, Opened, StreamName};
use crate::report::{Files, Names, Report};
use crate::time::{Mono, Span};
use crate::window::{Bounds, Windows};
use crate::work::{StreamWork, Worker};

use super::settings::Reload;
use super::{Failure, elsewhere, panics, settings};

/// Runs until told to stop; with `Mode::Once` until everything there is was delivered.
pub fn run(config_file: &Path, mode: Mode) -> Result<Exit, Failure> {
    stderr::never_wait();
    let mut config = settings::load(config_file)?;
    // What root would write there the service could not read.
    let acts_as = owner::act_as_owner(&config.queue.dir);
    settings::start_log(&config);
    panics::tell_in_one_line();
    tell!(STARTS, "{} starts, config {}", cli::version(), config_file.display());
    if let Some(owner) = acts_as {
        tell!(ACTS_AS_OWNER, "Running as {owner}, the owner of {}", config.queue.dir.display());
    }
    let mut edge = open_edge(&config)?;
    tell_pages(&edge);
    elsewhere::tell(&config);
    let mut files = Files::new(config.status_file.clone(), config.metrics_file.clone());
    let (mut queue, mut opened) = open_queue(&config)?;
    let mut refused = None;
    let mut notify = Notify::from_environment();
    notify.ready();
    tell_queue(&config, &opened);
    loop {
        let (seed, now) = (host::seed(), edge.mono());
        let (delivery, polling) = windows(&config, mode);
        let mut report = report(&config, files);
        report.know_queue(&config.queue.dir, queue.id(), queue.orphans());
        report.know_refused(refused.take());
        let is_held = opened.streams.iter().any(|stream| stream.hold.is_some());
        let worker = Worker::new(edge, queue, stream_works(&config)).within(delivery, polling);
        let (notify, config_now) = (&mut notify, &config);
        let mut daemon = Daemon {
            worker,
            report,
            notify,
            config_file,
            config: config_now,
            next: None,
            gaps_shown: None,
        };
        let mut core = Core::new(plan(&config, mode), seed, now, opened);
        let end = core::run(&mut core, &mut daemon).expect("only a simulated world is ever cut");
        daemon.close(&core);
        let next = daemon.next.take();
        files = daemon.report.into_files();
        (edge, queue) = daemon.worker.into_parts();
        watch::begin("closing the queue", On::Queue);
        let Some(new) = next else {
            let waiting = core.held().records;
            match end {
                End::Broken => queue.close_unsettled(edge.mono()),
                End::Done | End::TryLater | End::Refused | End::Misconfigured | End::InDoubt => {
                    queue.close(edge.mono())
                }
            }
            return Ok(farewell(end, waiting, is_held));
        };
        match reconfigure(&mut edge, &new) {
            Ok(()) => {
                files = files.moved_to(new.status_file.clone(), new.metrics_file.clone());
                config = new;
            }
            Err(why) => refused = Some((edge.wall(), why)),
        }
        // Streams and limits may have changed: the queue is opened anew for them.
        queue.close(edge.mono());
        (queue, opened) = open_queue(&config)?;
    }
}

fn tell_queue(config: &Config, opened: &Opened) {
    if opened.unsettled > 0 {
        let starts = count(opened.unsettled, "start");
        tell!(
            CRASH_LOOP,
            "{starts} in a row ended within a minute, so the first requests are delayed longer \
             than usual. The reason is above, or in dmesg"
        );
    }
    let waiting = count(opened.held.records, "record");
    tell!(WAITING, "{waiting} waiting in {}", config.queue.dir.display());
}

/// From here on a request to stop is heard.
fn open_edge(config: &Config) -> Result<Real, Failure> {
    watch::start(&config.queue.dir).map_err(|why| {
        let what = "Failed to start the thread that handles stop requests";
        let remedy = "raise the limit on processes or threads (ulimit -u, TasksMax)";
        Failure::new(message::QUEUE_NO_THREAD, Exit::Failed, format!("{what}: {why}; {remedy}"))
    })?;
    watch::begin("reading secrets and certificates", On::Files);
    let mut edge = Real::open(config).map_err(|why| {
        let exit = if why.is_of_system() { Exit::TryLater } else { Exit::Config };
        Failure::new(message::SETUP_FAILED, exit, why)
    })?;
    tell_exposures(&mut edge);
    Ok(edge)
}

/// Takes the new config into use; else says why not.
fn reconfigure(edge: &mut Real, new: &Config) -> Result<(), String> {
    if let Err(why) = edge.reconfigure(new) {
        tell!(CONFIG_KEPT, "The new config can't be used, the old one stays in effect: {why}");
        return Err(format!("{} {why}", message::SETUP_FAILED));
    }
    settings::restart_log(new);
    tell!(CONFIG_TAKEN, "The new config is in use");
    tell_pages(edge);
    tell_exposures(edge);
    Ok(())
}

fn tell_pages(edge: &Real) {
    let pages = edge.pages();
    tell!(
        PAGES_BOUNDED,
        "Pages of up to {} are accepted, {}",
        units::of_size(pages.bytes),
        pages.by.explain()
    );
}

fn tell_exposures(edge: &mut Real) {
    edge.exposures().iter().for_each(|warning| tell!(SECRET_EXPOSED, "{warning}"));
}

fn farewell(end: End, waiting: u64, is_held: bool) -> Exit {
    let waiting = count(waiting, "record");
    match end {
        End::TryLater if is_held => {
            tell!(
                ENDED_HELD,
                "A stream is not polled before its tenant's address is confirmed; {waiting} \
                 waiting in the queue"
            );
            Exit::Config
        }
        End::Done => {
            tell!(STOPPED, "Stopped; {waiting} waiting in the queue");
            Exit::Done
        }
        End::TryLater => {
            tell!(
                ENDED_UNREACHED,
                "Not everything could be done: a service is unreachable, the time is not \
                 confirmed, or disk space is missing; {waiting} waiting in the queue"
            );
            Exit::TryLater
        }
        End::Refused => {
            tell!(
                ENDED_REFUSED,
                "A credential is rejected or missing; {waiting} waiting in the queue"
            );
            Exit::Refused
        }
        End::Misconfigured => {
            tell!(
                ENDED_MISCONFIGURED,
                "The config is impossible to follow; {waiting} waiting in the queue"
            );
            Exit::Config
        }
        End::InDoubt => {
            tell!(
                ENDED_IN_DOUBT,
                "Everything was sent, but Coralogix reported that some of the last batch was not \
                 accepted; \
                 {waiting} waiting in the queue, see s1-coralogix queue doubt list"
            );
            Exit::Failed
        }
        End::Broken => {
            tell!(ENDED_BROKEN, "The queue failed too often in this process; a restart repairs it");
            Exit::Failed
        }
    }
}

/// The worker, its report, and an ear for SIGHUP.
struct Daemon<'a> {
    worker: Worker<Real, RealDisk, SledOpener>,
    report: Report,
    notify: &'a mut Notify,
    config_file: &'a Path,
    config: &'a Config,
    /// A new config that is good and different; the loop ends and begins again with it.
    next: Option<Config>,
    /// How many gaps there were, and how many untold, when the report last learned of them.
    gaps_shown: Option<(u64, u64)>,
}

impl World for Daemon<'_> {
    fn tick(&mut self) -> Tick {
        let mut tick = self.worker.tick();
        if tick.stop {
            self.notify.stopping();
        }
        if self.worker.take_reload() {
            match settings::reload(self.config_file, self.config) {
                Reload::Taken(next) => self.next = Some(*next),
                Reload::Unchanged => self.report.know_refused(None),
                Reload::Refused(why) => {
                    let wall = self.worker.edge().wall();
                    self.report.know_refused(Some((wall, why)));
                }
            }
        }
        tick.stop |= self.next.is_some();
        tick
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        let action = match (action, self.notify.sleep_max()) {
            (Action::Sleep { until, why }, Some(max)) => {
                let fed_by = self.worker.edge().mono() + max;
                Action::Sleep { until: until.min(fed_by), why }
            }
            (action, _) => action,
        };
        match wait_of(&action) {
            Some((what, on)) => watch::begin(what, on),
            None => watch::rest(),
        }
        let event = self.worker.perform(action);
        watch::begin("looking after its files", On::Files);
        event
    }

    fn remember(&mut self, learned: &Learned) {
        self.worker.remember(learned);
    }

    fn observe(&mut self, core: &Core, now: Mono, next: &Action) {
        let wall = self.worker.edge().wall();
        let clock = self.worker.edge().clock_verdict();
        self.report.hear_clock(clock, now);
        let gaps = (core.held().gaps, core.held().untold);
        if self.gaps_shown != Some(gaps) {
            self.gaps_shown = Some(gaps);
            self.report.know_gaps(self.worker.latest_gaps());
        }
        self.report.know_remark(self.worker.last_remark());
        let counters = self.worker.counters();
        let resting = matches!(next, Action::Sleep { .. });
        let mood = self.report.observe(core, (now, wall), counters, resting);
        self.notify.step(now, mood.name());
    }
}

/// What an action does, for people, and what it waits for. `None`: nothing that does not end.
fn wait_of(action: &Action) -> Option<(&'static str, On)> {
    Some(match action {
        Action::Info { .. }
        | Action::TokenEnd { .. }
        | Action::Fetch(_)
        | Action::Count(_)
        | Action::List(_)
        | Action::Older { .. } => ("asking SentinelOne", On::Network),
        Action::SendPage { .. } | Action::Send(_) | Action::SendNote(_) | Action::TryKey => {
            ("delivering to Coralogix", On::Network)
        }
        Action::Store(_) => ("storing a page", On::Queue),
        Action::Note(_) => ("storing a note", On::Queue),
        Action::Ack { .. } => ("noting what was delivered", On::Queue),
        Action::Park { .. } | Action::Doubt { .. } | Action::DoubtPage(_) => {
            ("setting records aside", On::Queue)
        }
        Action::SetBack(_) => ("taking a stream back", On::Queue),
        Action::Measure => ("looking for room", On::Queue),
        Action::Sleep { .. } | Action::Exit(_) => return None,
    })
}

impl Daemon<'_> {
    fn close(&mut self, core: &Core) {
        let (now, wall) = (self.worker.edge().mono(), self.worker.edge().wall());
        let counters = self.worker.counters();
        self.report.close(core, now, wall, counters);
    }
}

/// The queue that the config names, for this process alone.
pub(super) fn take_queue(config: &Config) -> Result<(RealQueue, Opened, Vec<Finding>), OpenError> {
    let dir = &config.queue.dir;
    let (disk, opener) = (RealDisk::new(dir), SledOpener::new(dir));
    let names = stream_names(config);
    let (mut queue, opened, findings) = Queue::open(disk, opener, queue_limits(config), &names)?;
    queue.identify(|| QueueId::of([host::seed(), host::seed()]));
    let plan = plan(config, Mode::Daemon);
    for (stream, name) in plan.streams.iter().zip(&names) {
        let is_on = stream.reconcile > Span::ZERO;
        queue.tally(name, if is_on { plan.tally_ids_max() } else { 0 });
    }
    Ok((queue, opened, findings))
}

/// How the program ends where its queue can't be opened.
pub(super) fn exit_of(why: &OpenError) -> Exit {
    match why {
        OpenError::Newer { .. } => Exit::Config,
        OpenError::System { .. } => Exit::TryLater,
        _ => Exit::Failed,
    }
}

fn open_queue(config: &Config) -> Result<(RealQueue, Opened), Failure> {
    watch::begin("opening the queue", On::Queue);
    let failed = |why: OpenError| Failure::new(why.message(), exit_of(&why), why);
    let tell = |findings: &[Finding]| {
        findings.iter().for_each(|finding| message::write(finding.code, format_args!("{finding}")));
    };
    let (mut queue, _, findings) = take_queue(config).map_err(failed)?;
    tell(&findings);
    if queue.end_import() {
        tell!(
            IMPORT_UNFINISHED,
            "An import into {} was interrupted. What was imported is delivered, and SentinelOne is \
             asked for the rest, as far as it still has it",
            config.queue.dir.display()
        );
    }
    // The queue gives up by itself when its index breaks again and again.
    loop {
        match queue.claim(&claims(config)) {
            Ok((opened, findings)) => {
                tell(&findings);
                return Ok((queue, opened));
            }
            Err(why) => {
                // Want of space is told with what becomes of it.
                if !matches!(why, QueueError::NoSpace(_)) {
                    tell!(
                        INDEX_FAILED,
                        "{why}. The queue's index is rebuilt from its log; nothing queued is lost"
                    );
                }
                let (_, findings) = queue.reopen().map_err(failed)?;
                tell(&findings);
            }
        }
    }
}

/// What the config says of names and addresses.
fn claims(config: &Config) -> Vec<Claim> {
    let integrations = config.integrations.iter();
    let claims = integrations.map(|integration| Claim {
        name: integration.name.clone(),
        name_was: integration.name_was.clone(),
        tenant: integration.tenant.clone(),
    });
    claims.collect()
}

fn queue_limits(config: &Config) -> QueueLimits {
    QueueLimits {
        max_size_bytes: config.queue.max_size_bytes,
        min_free_bytes: config.queue.min_free_bytes,
    }
}

fn report(config: &Config, files: Files) -> Report {
    let names = Names {
        tenants: config.integrations.iter().map(|integration| integration.name.clone()).collect(),
        streams: stream_names(config).iter().map(ToString::to_string).collect(),
        secrets: {
            let tokens = config.integrations.iter().map(|integration| &integration.api_token);
            tokens.chain([&config.coralogix.api_key]).map(SecretSource::told).collect()
        },
    };
    Report::new(names, files, config.queue.max_size_bytes)
}

pub(super) fn stream_names(config: &Config) -> Vec<StreamName> {
    stream_works(config).into_iter().map(|stream| stream.name).collect()
}

/// What the worker has to know of each stream, in the order of the plan.
fn stream_works(config: &Config) -> Vec<StreamWork> {
    let host = host::host_name();
    let mut works = vec![];
    for (tenant, integration) in config.integrations.iter().enumerate() {
        let labels = Labels::new(
            &integration.application_name,
            &integration.subsystem_name,
            &integration.name,
            &host,
        );
        let work = |kind| StreamWork::new(&integration.name, kind, tenant, labels.clone());
        works.extend(integration.streams.iter().copied().map(work));
    }
    works
}

/// The part of the config that steers the core.
fn plan(config: &Config, mode: Mode) -> Plan {
    let mut streams = vec![];
    for (tenant, integration) in config.integrations.iter().enumerate() {
        streams.extend(integration.streams.iter().map(|kind| StreamPlan {
            tenant,
            kind: *kind,
            poll_interval: integration.poll_interval,
            start: integration.start,
            overlap: integration.overlap,
            reconcile: integration.reconcile,
        }));
    }
    Plan {
        tenants: config.integrations.len(),
        streams,
        retry_min: config.retry.min,
        retry_max: config.retry.max,
        mode,
        write: config.queue.write,
        heartbeat: config.heartbeat,
        bounds: bounds(config),
        tally_ids: None,
    }
}

/// A batch at the rate given takes half of the time a request may take, so that a link of that
/// rate carries it.
fn bounds(config: &Config) -> Bounds {
    let rate = config.delivery.max_rate;
    let body = rate.map(|rate| rate.saturating_mul(config.network.timeout.as_ms()) / 2_000);
    Bounds {
        delivery_rate: rate,
        polling_rate: config.polling.max_rate,
        body_raw_bytes: body.filter(|bytes| *bytes < limits::BODY_RAW_BYTES_MAX),
        silence: Some(config.network.timeout),
        whole: Some(config.network.whole()),
        order: config.delivery.order.clone(),
    }
}

/// Whoever calls `run --once` says when, so the windows are the daemon's alone.
fn windows(config: &Config, mode: Mode) -> (Windows, Windows) {
    match mode {
        Mode::Daemon => (config.delivery.windows.clone(), config.polling.windows.clone()),
        Mode::Once => Default::default(),
    }
}
