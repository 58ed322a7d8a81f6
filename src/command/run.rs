//! `run`: the daemon, and `run --once`.
//!
//! Promises: signals take effect between two steps, never inside one; a new config that is wrong is
//! reported and the old one stays; the queue is closed cleanly on every way out but one: where the
//! disk does not answer in time (`os::watch`); the reader of stderr delays nothing.

use std::path::Path;

use crate::check::left_behind;
use crate::cli::{self, Exit};
use crate::config::{Config, SecretSource, units};
use crate::coralogix::entry::Labels;
use crate::core::{self, Action, Core, End, Event, Mode, Plan, StreamPlan, Tick, World};
use crate::edge::system::refused_at_start;
use crate::edge::{Edge, System};
use crate::errno::shortage_remedy;
use crate::limits;
use crate::message::{self, log_message};
use crate::os::notify::{Notify, Pulse};
use crate::os::watch::{self, On};
use crate::os::{host, owner, stderr};
use crate::plain::count;
use crate::queue::access;
use crate::queue::adopt::Claim;
use crate::queue::marks::QueueId;
use crate::queue::real::{LOCK, RealDisk};
use crate::queue::{
    Finding, OpenError, Queue, QueueError, QueueLimits, RealQueue, Settings, StreamSettings,
};
use crate::record::{Kills, Learned, Opened};
use crate::report::{Files, Names, Report};
use crate::time::{Mono, Span};
use crate::window::{Bounds, Windows};
use crate::work::{StreamWork, Worker};

use super::settings::{Reload, Rereading};
use super::{Failure, elsewhere, panics, settings};

/// Runs until a request to stop; with `Mode::Once` until everything available was delivered.
pub fn run(config_file: &Path, mode: Mode) -> Result<Exit, Failure> {
    stderr::never_wait();
    let mut config = settings::load_for_log(config_file)?;
    // Before the log begins: the service could not read files that root has made.
    let acts_as = act_as_owner(&config)?;
    settings::start_log(&config);
    panics::log_in_one_line();
    log_start(config_file, &config, acts_as);
    let mut edge = open_edge(&config)?;
    log_pages(&edge);
    // The status file says which queue the last run used, until it is replaced.
    let before = left_behind::of_last_run(&config);
    let mut files = Files::new(config.status_file.clone(), config.metrics_file.clone());
    let (mut queue, mut opened) = open_queue(&config)?;
    let mut refused = None;
    let mut notify = Notify::from_environment();
    notify.ready();
    let mut rereading = Rereading::new(config_file, edge.stop_flag());
    let pulse = Pulse::new(config.queue.dir.join(LOCK));
    log_queue(&config, &opened);
    let left_behind = elsewhere::look(&config, &mut queue, before);
    bound_pages(&config, &mut opened, edge.kills());
    loop {
        let (seed, now) = (host::seed(), edge.mono());
        let (delivery, polling) = windows(&config, mode);
        let mut report = report(&config, files);
        report.set_queue(&config.queue.dir, queue.id(), queue.orphans());
        report.set_refused(refused.take());
        let is_held = opened.streams.iter().any(|stream| stream.hold.is_some());
        let worker = Worker::new(edge, queue, stream_works(&config)).within(delivery, polling);
        let (notify, config_now) = (&mut notify, &config);
        let mut daemon = Daemon {
            worker,
            report,
            notify,
            pulse: &pulse,
            rereading: &mut rereading,
            config: config_now,
            next: None,
            gaps_shown: None,
        };
        let mut core = Core::new(plan(&config, mode), seed, now, opened);
        core.leave_behind(left_behind.clone());
        let end = core::run(&mut core, &mut daemon).expect("only a simulated world is ever cut");
        daemon.close(&core);
        let next = daemon.next.take();
        files = daemon.report.into_files();
        (edge, queue) = daemon.worker.into_parts();
        watch::begin("closing the queue", On::Queue);
        let Some(new) = next else {
            close(queue, end, edge.mono());
            return Ok(farewell(end, core.held().records, is_held));
        };
        match reconfigure(&mut edge, &new) {
            Ok(()) => {
                files = files.moved_to(new.status_file.clone(), new.metrics_file.clone());
                config = new;
            }
            Err(why) => refused = Some((edge.wall(), why)),
        }
        // Streams and limits may have changed, so the queue is opened again.
        queue.close(edge.mono());
        (queue, opened) = open_queue(&config)?;
    }
}

/// Leaves the queue as the end of the process allows.
fn close(queue: RealQueue, end: End, now: Mono) {
    match end {
        End::Broken | End::Denied | End::Unavailable => queue.close_unsettled(now),
        // Not even the checkpoint may be changed.
        End::Newer => drop(queue),
        End::Done | End::TryLater | End::Refused | End::Misconfigured | End::InDoubt => {
            queue.close(now)
        }
    }
}

fn log_start(config_file: &Path, config: &Config, acts_as: Option<String>) {
    log_message!(STARTS, "{} starts, config {}", cli::version(), config_file.display());
    if let Some(owner) = acts_as {
        let dir = config.queue.dir.display();
        log_message!(ACTS_AS_OWNER, "Running as {owner}, the owner of {dir}");
    }
}

fn log_queue(config: &Config, opened: &Opened) {
    if opened.unsettled > 0 {
        let starts = count(opened.unsettled, "start");
        log_message!(
            CRASH_LOOP,
            "{starts} in a row ended within a minute, so the first requests are delayed longer \
             than usual. The reason is above, or in dmesg"
        );
    }
    let waiting = count(opened.held.records, "record");
    log_message!(WAITING, "{waiting} waiting in {}", config.queue.dir.display());
}

/// Limits the page size if the kernel killed the last process during a large page.
fn bound_pages(config: &Config, opened: &mut Opened, kills: Option<Kills>) {
    let names = config.stream_names();
    for (stream, rows) in opened.learned.bound(kills) {
        log_message!(
            PAGE_KILLED,
            "The last process ended while it read a page of up to {rows} records of {}, and the \
             kernel has killed a process for lack of memory since; pages of this stream now have at \
             most {} records",
            names[stream],
            (rows / 2).max(1)
        );
    }
}

/// From here on a request to stop is noticed.
fn open_edge(config: &Config) -> Result<System, Failure> {
    watch::start(&config.queue.dir).map_err(|why| {
        let what = "Failed to start the thread that handles stop requests";
        let (code, exit) = match shortage_remedy(&why) {
            Some(_) => (message::SETUP_FAILED, Exit::TryLater),
            None => (message::QUEUE_NO_THREAD, Exit::Failed),
        };
        Failure::new(code, exit, format!("{what}: {}", refused_at_start(&why)))
    })?;
    watch::begin("reading secrets and certificates", On::Files);
    let mut edge = System::open(config).map_err(|why| {
        let exit = if why.is_of_system() { Exit::TryLater } else { Exit::Config };
        Failure::new(message::SETUP_FAILED, exit, why)
    })?;
    log_exposures(&mut edge);
    Ok(edge)
}

/// Uses the new config from now on; the error says why that is not possible.
fn reconfigure(edge: &mut System, new: &Config) -> Result<(), String> {
    if let Err(why) = edge.reconfigure(new) {
        log_message!(
            CONFIG_KEPT,
            "The new config can't be used, the old one stays in effect: {why}"
        );
        return Err(format!("{} {why}", message::SETUP_FAILED));
    }
    settings::restart_log(new);
    log_message!(CONFIG_TAKEN, "The new config is in use");
    log_pages(edge);
    log_exposures(edge);
    Ok(())
}

fn log_pages(edge: &System) {
    let pages = edge.pages();
    log_message!(
        PAGES_BOUNDED,
        "Pages of up to {} are accepted, {}",
        units::of_size(pages.bytes),
        pages.by.explain()
    );
}

fn log_exposures(edge: &mut System) {
    edge.exposures().iter().for_each(|warning| log_message!(SECRET_EXPOSED, "{warning}"));
}

fn farewell(end: End, waiting: u64, is_held: bool) -> Exit {
    let waiting = count(waiting, "record");
    match end {
        End::TryLater if is_held => {
            log_message!(
                ENDED_HELD,
                "A stream is not polled before its tenant's address is confirmed; {waiting} \
                 waiting in the queue"
            );
            Exit::Config
        }
        End::Done => {
            log_message!(STOPPED, "Stopped; {waiting} waiting in the queue");
            Exit::Done
        }
        End::TryLater => {
            log_message!(
                ENDED_UNREACHED,
                "Not everything could be done: a service is unreachable, the time is not \
                 confirmed, or disk space is missing; {waiting} waiting in the queue"
            );
            Exit::TryLater
        }
        End::Refused => {
            log_message!(
                ENDED_REFUSED,
                "A credential is rejected or missing; {waiting} waiting in the queue"
            );
            Exit::Refused
        }
        End::Misconfigured => {
            log_message!(
                ENDED_MISCONFIGURED,
                "The config is impossible to follow; {waiting} waiting in the queue"
            );
            Exit::Config
        }
        End::InDoubt => {
            log_message!(
                ENDED_IN_DOUBT,
                "Everything was sent, but Coralogix reported that some of the last batch was not \
                 accepted; \
                 {waiting} waiting in the queue, see s1-coralogix queue doubt list"
            );
            Exit::Failed
        }
        // The cause and the remedy are in the log already.
        End::Denied | End::Unavailable | End::Newer => {
            log_message!(
                STOPPED,
                "Stopped, because the queue can't be used; nothing in it is lost"
            );
            match end {
                End::Newer => Exit::Config,
                End::Unavailable => Exit::TryLater,
                _ => Exit::Failed,
            }
        }
        End::Broken => {
            log_message!(
                ENDED_BROKEN,
                "The queue failed too often in this process; a restart repairs it"
            );
            Exit::Failed
        }
    }
}

/// The worker and its report; handles SIGHUP.
struct Daemon<'a> {
    worker: Worker<System, RealDisk>,
    report: Report,
    notify: &'a mut Notify,
    /// Shows that the daemon lives where the status file can't be written.
    pulse: &'a Pulse,
    rereading: &'a mut Rereading,
    config: &'a Config,
    /// A new config that is valid and different; the loop ends and begins again with it.
    next: Option<Config>,
    /// How many gaps, and how many unreported ones, the report was last told of.
    gaps_shown: Option<(u64, u64)>,
}

impl World for Daemon<'_> {
    fn tick(&mut self) -> Tick {
        let mut tick = self.worker.tick();
        if tick.stop {
            self.notify.stopping();
        }
        if self.worker.take_reload() {
            self.rereading.ask();
        }
        match self.rereading.look(self.config) {
            Some(Reload::Taken(next)) => self.next = Some(*next),
            Some(Reload::Unchanged) => self.report.set_refused(None),
            Some(Reload::Refused(why)) => {
                let wall = self.worker.edge().wall();
                self.report.set_refused(Some((wall, why)));
            }
            None => {}
        }
        tick.stop |= self.next.is_some();
        tick
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        let look = self.rereading.is_due().then_some(Span::ms(limits::CREDENTIAL_LOOK_MS));
        let action = match (action, self.notify.sleep_max().into_iter().chain(look).min()) {
            (Action::Sleep { until, reason }, Some(max)) => {
                let woken_by = self.worker.edge().mono() + max;
                Action::Sleep { until: until.min(woken_by), reason }
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
        watch::within("keeping what it learned", On::Queue, || self.worker.remember(learned));
    }

    fn observe(&mut self, core: &Core, now: Mono, next: &Action) {
        let wall = self.worker.edge().wall();
        let clock = self.worker.edge().clock_verdict();
        self.report.set_clock(clock, now);
        let gaps = (core.held().gaps, core.held().unreported);
        if self.gaps_shown != Some(gaps) {
            self.gaps_shown = Some(gaps);
            self.report.set_gaps(self.worker.latest_gaps());
        }
        self.report.set_remark(self.worker.last_remark());
        let counters = self.worker.counters();
        let resting = matches!(next, Action::Sleep { .. });
        let health = self.report.observe(core, (now, wall), counters, resting);
        if !self.report.is_shown() {
            self.pulse.beat();
        }
        self.notify.step(now, health.name());
    }
}

/// The name of an action, for people, and what it waits for. `None`: an action that can't hang.
fn wait_of(action: &Action) -> Option<(&'static str, On)> {
    Some(match action {
        Action::Info { .. }
        | Action::TokenEnd { .. }
        | Action::Fetch(_)
        | Action::Count(_)
        | Action::List(_)
        | Action::Older { .. } => ("asking SentinelOne", On::Network),
        Action::AskTime => ("asking Coralogix for its time", On::Network),
        Action::SendPage { .. }
        | Action::Send(_)
        | Action::SendAhead(_)
        | Action::SendNote(_)
        | Action::TryKey => ("delivering to Coralogix", On::Network),
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

/// Root becomes the owner of the configured queue; an error ends the program.
pub(super) fn act_as_owner(config: &Config) -> Result<Option<String>, Failure> {
    owner::act_as_owner(&config.queue.dir)
        .map_err(|why| Failure::new(message::QUEUE_NOT_AS_OWNER, Exit::Failed, why))
}

/// Opens the configured queue, for this process alone.
pub(super) fn take_queue(config: &Config) -> Result<(RealQueue, Opened, Vec<Finding>), OpenError> {
    let dir = &config.queue.dir;
    access::look(dir).map_err(|why| for_a_stranger(why, config))?;
    let plan = plan(config, Mode::Daemon);
    let streams = plan.streams.iter().zip(config.stream_names());
    let streams = streams
        .map(|(stream, name)| StreamSettings { name, tally_ids_max: plan.tally_ids_of(stream) });
    let settings = Settings {
        limits: queue_limits(config),
        streams: streams.collect(),
        new_id: Some(QueueId::of([host::seed(), host::seed()])),
    };
    Queue::open(RealDisk::new(dir), settings)
}

/// Adds to an error that the queue or the secrets are another user's: the remedy is to run as that
/// user, not to change the owner.
fn for_a_stranger(why: OpenError, config: &Config) -> OpenError {
    let of_queue = owner::is_another(&config.queue.dir).map(|owner| {
        format!(
            "It belongs to {owner}: run this command with sudo, and it runs as {owner}; a \
             service or container has to run as {owner} too"
        )
    });
    let of_secret = || {
        let (owner, file) = owner::of_unreadable(config.secret_files())?;
        Some(owner::ask_owner(file, &owner))
    };
    why.with_remedy(of_queue.or_else(of_secret))
}

/// The exit code where the queue can't be opened.
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
    let log_findings = |findings: &[Finding]| {
        findings.iter().for_each(|finding| message::write(finding.code, format_args!("{finding}")));
    };
    let (mut queue, _, findings) = take_queue(config).map_err(failed)?;
    log_findings(&findings);
    if queue.end_import() {
        log_message!(
            IMPORT_UNFINISHED,
            "An import into {} was interrupted. What was imported is delivered, and SentinelOne is \
             asked for the rest, as far as it still has it",
            config.queue.dir.display()
        );
    }
    // This ends: the queue gives up when its index breaks again and again.
    loop {
        match queue.claim(&claims(config)) {
            Ok((opened, findings)) => {
                log_findings(&findings);
                return Ok((queue, opened));
            }
            Err(why) => {
                // Lack of space is reported with its consequence.
                if !matches!(why, QueueError::NoSpace(_)) {
                    log_message!(
                        INDEX_FAILED,
                        "{why}. The queue's index is rebuilt from its log; nothing queued is lost"
                    );
                }
                let (_, findings) = queue.reopen().map_err(failed)?;
                log_findings(&findings);
            }
        }
    }
}

/// The names and addresses of the integrations in the config.
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
        streams: config.stream_names().iter().map(ToString::to_string).collect(),
        secrets: {
            let tokens = config.integrations.iter().map(|integration| &integration.api_token);
            tokens.chain([&config.coralogix.api_key]).map(SecretSource::origin).collect()
        },
    };
    Report::new(names, files, config.queue.max_size_bytes)
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

/// The part of the config that the core needs.
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

/// A batch takes half of the time limit of a request at `delivery.max_rate`, so that a link of that
/// rate can carry it.
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

/// The time of `run --once` is chosen by its caller, so windows apply to the daemon only.
fn windows(config: &Config, mode: Mode) -> (Windows, Windows) {
    match mode {
        Mode::Daemon => (config.delivery.windows.clone(), config.polling.windows.clone()),
        Mode::Once => Default::default(),
    }
}
