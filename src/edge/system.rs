//! The real world: `Edge` over sockets, clocks, signals and secret files.
//!
//! Holds: one `Client` and one `Credential` for each tenant, and the sink's. Never: decides, retries
//! by schedule, or remembers an answer.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Ask, CredentialId, Edge, Signals, Woke};
use crate::config::{Config, Integration};
use crate::coralogix::SINGLES_PATH;
use crate::errno::{shortage_remedy, system_remedy};
use crate::limits::{
    CA_FILE_BYTES_MAX, CREDENTIAL_LOOK_MS, SINK_ANSWER_BYTES_MAX, SLEEP_SECONDS_MAX,
    STOP_GRACE_SECONDS,
};
use crate::message::log_message;
use crate::net::certificate_clock::CertificateClock;
use crate::net::client::{Client, Post, Request, hidden};
use crate::net::proxy::{BadProxy, ProxyEnvironment};
use crate::net::service_times::{ServiceTimes, Stamping};
use crate::net::spare::Spare;
use crate::net::tls::Tls;
use crate::os::clock::{self, Moment, Source, Verdict};
use crate::os::credential::Credential;
use crate::os::memory::{self, PageBound};
use crate::os::notify::Pulse;
use crate::os::secret::plain;
use crate::os::signal::Inbox;
use crate::os::zone::Zone;
use crate::os::{host, reach::Reach, regular};
use crate::problem::Problem;
use crate::record::{Answer, Kills, NetTrouble, TrialKey};
use crate::s1::request::{SYSTEM_INFO_PATH, TOKEN_DETAILS_PATH, token_details_body};
use crate::s1::token::jwt_end;
use crate::time::{Clocks, Mono, SinkOff, Span, Stamp};

/// A service with its credential.
#[derive(Debug)]
pub struct Service {
    pub client: Client,
    pub credential: Credential,
}

/// Every service of a config.
#[derive(Debug)]
pub struct Services {
    /// In the order of the config.
    pub tenants: Vec<Service>,
    pub sink: Service,
    /// The memory of the tenants' answers.
    spare: Spare,
}

impl Services {
    pub fn new(
        config: &Config,
        environment: &ProxyEnvironment,
        stop: &Arc<AtomicBool>,
        clock: &Arc<CertificateClock>,
    ) -> Result<Services, SetupError> {
        let reach = Arc::new(Reach::new(Arc::clone(stop)));
        let tls = trust(config.network.ca_file.as_deref(), clock, &reach)?;
        let service = |url: &str, what, source: &crate::config::SecretSource| {
            let client = Client::new(url, &config.network, &tls, environment, Arc::clone(stop))
                .map_err(SetupError::Proxy)?;
            Ok(Service { client, credential: Credential::new(what, source.clone(), &reach) })
        };
        let tenant =
            |one: &Integration| service(&one.tenant, "API token of SentinelOne", &one.api_token);
        let mut tenants: Vec<_> =
            config.integrations.iter().map(tenant).collect::<Result<_, _>>()?;
        let spare = Spare::default();
        tenants.iter_mut().for_each(|service| service.client.share(&spare));
        let (sink, key) = (&config.coralogix.url, &config.coralogix.api_key);
        Ok(Services { tenants, sink: service(sink, "API key of Coralogix", key)?, spare })
    }
}

impl Services {
    /// Network traffic counts as a sign of life, for the watchdog and for `status`.
    fn report_progress(&self, queue_dir: &Path) {
        for service in self.tenants.iter().chain([&self.sink]) {
            // Set once; a new config makes new clients.
            let _ = service.client.wire().pulse.set(Pulse::new(queue_dir.join("lock")));
        }
    }
}

fn trust(
    ca_file: Option<&Path>,
    clock: &Arc<CertificateClock>,
    reach: &Reach,
) -> Result<Tls, SetupError> {
    let Some(path) = ca_file else {
        return Tls::new(None, clock).map_err(|why| bad_ca(Path::new("(none)"), why));
    };
    let file = path.to_owned();
    let read = move || {
        let mut pem = Vec::new();
        regular::open(&file)?.take(CA_FILE_BYTES_MAX).read_to_end(&mut pem)?;
        Ok(pem)
    };
    let system = |why| SetupError::System { path: path.display().to_string(), why };
    let pem = match reach.ask(read) {
        Ok(read) => read.map_err(|error: io::Error| match system_remedy(&error) {
            Some(remedy) => system(Problem::new(plain(&error), remedy)),
            None => bad_ca(path, plain(&error)),
        })?,
        Err(_) => {
            let remedy = "Check its mount or disk (mount, dmesg)";
            return Err(system(Problem::new("it does not answer", remedy)));
        }
    };
    Tls::new(Some(&pem), clock).map_err(|why| bad_ca(path, why))
}

fn bad_ca(path: &Path, why: String) -> SetupError {
    SetupError::CaFile { path: path.display().to_string(), why }
}

/// The real world.
#[derive(Debug)]
pub struct System {
    services: Services,
    pages: PageBound,
    service_times: ServiceTimes,
    certificate_clock: Arc<CertificateClock>,
    zone: Zone,
    inbox: Inbox,
}

impl System {
    /// Opens the edge. Signals are caught from here on.
    pub fn open(config: &Config) -> Result<System, SetupError> {
        let inbox = Inbox::open().map_err(|why| SetupError::Signals(refused_at_start(&why)))?;
        let certificate_clock = Arc::new(CertificateClock::of_queue(&config.queue.dir, true));
        let services = Services::new(
            config,
            &ProxyEnvironment::read(),
            &inbox.stop_flag(),
            &certificate_clock,
        )?;
        services.report_progress(&config.queue.dir);
        let (service_times, pages) =
            (ServiceTimes::default(), PageBound::of(config.polling.max_page));
        let zone = zone(config);
        Ok(System { services, pages, service_times, certificate_clock, zone, inbox })
    }

    /// Takes a new config. On an error the old one stays in force.
    pub fn reconfigure(&mut self, config: &Config) -> Result<(), SetupError> {
        let stop = self.stop_flag();
        let services =
            Services::new(config, &ProxyEnvironment::read(), &stop, &self.certificate_clock)?;
        if services.sink.client.base() != self.services.sink.client.base() {
            self.service_times.forget_sink();
        }
        services.report_progress(&config.queue.dir);
        self.services = services;
        self.pages = PageBound::of(config.polling.max_page);
        self.zone = zone(config);
        Ok(())
    }

    /// The flag that ends waits early.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        self.inbox.stop_flag()
    }

    /// The longest page accepted, and what limits it.
    pub fn pages(&self) -> PageBound {
        self.pages
    }

    /// How this machine's clock compares with the services'.
    pub fn clock_verdict(&self) -> Verdict {
        self.service_times.verdict(Moment::now())
    }

    /// Takes the time from the result of an exchange.
    fn observe_answer(&mut self, source: Source, result: &Result<Answer, NetTrouble>) {
        let now = Moment::now();
        let client = match source {
            Source::Tenant(tenant) => &self.services.tenants[tenant].client,
            Source::Sink => &self.services.sink.client,
        };
        match result {
            Ok(answer) => {
                self.service_times.observe_answer(source, answer, now);
                client.trust_time(source, answer);
            }
            Err(_) => {
                if source == Source::Sink {
                    self.service_times.sink_failed();
                }
                if let Some(date) = client.finding().and_then(|finding| finding.date) {
                    self.service_times.observe_contested(date, now.mono);
                }
            }
        }
    }

    /// Warnings about secret files that every user of the machine can read.
    pub fn exposures(&mut self) -> Vec<Problem> {
        let tenants = self.services.tenants.iter_mut().map(|service| &mut service.credential);
        tenants
            .chain([&mut self.services.sink.credential])
            .filter_map(Credential::exposure)
            .collect()
    }

    fn watched(&self) -> bool {
        self.services.sink.credential.is_suspect()
            || self.services.tenants.iter().any(|service| service.credential.is_suspect())
    }

    fn credential_wakes(&mut self) -> bool {
        let tenants = self.services.tenants.iter_mut();
        // Every credential is asked, so that two that changed at once end one sleep, not two.
        tenants.fold(self.services.sink.credential.wakes(), |wakes, service| {
            service.credential.wakes() | wakes
        })
    }
}

/// The time zone, which is looked up only where a window needs it.
fn zone(config: &Config) -> Zone {
    if config.delivery.windows.0.is_empty() && config.polling.windows.0.is_empty() {
        return Zone::utc();
    }
    let (zone, problem) = Zone::find();
    if let Some(problem) = problem {
        log_message!(ZONE_UNREADABLE, "{problem}");
    }
    zone
}

impl Edge for System {
    fn mono(&mut self) -> Mono {
        clock::mono()
    }

    fn wall(&mut self) -> Stamp {
        self.service_times.wall(Moment::now())
    }

    fn has_server_time(&mut self) -> bool {
        self.service_times.has_time()
    }

    fn dated(&mut self) -> Option<Stamp> {
        self.service_times.dated(Moment::now())
    }

    fn stamping(&mut self) -> Stamping {
        self.service_times.stamping(Moment::now())
    }

    fn clocks(&mut self) -> Clocks {
        self.service_times.witnesses(Moment::now())
    }

    fn sink_off(&mut self) -> Option<SinkOff> {
        self.service_times.sink_off(Moment::now())
    }

    fn second_of_day(&mut self) -> u32 {
        self.zone.second_of_day(self.service_times.wall(Moment::now()))
    }

    fn received_bytes(&mut self) -> u64 {
        let wires = self.services.tenants.iter().map(|service| service.client.wire());
        wires.map(|wire| wire.received.load(Ordering::Relaxed)).sum()
    }

    fn kills(&mut self) -> Option<Kills> {
        memory::kills(Path::new("/"))
    }

    fn page_bytes_max(&mut self) -> u64 {
        self.pages.bytes
    }

    fn ask(&mut self, tenant: usize, request: &Ask) -> Result<Answer, NetTrouble> {
        let result = ask(&mut self.services.tenants[tenant], request, self.pages.bytes);
        self.observe_answer(Source::Tenant(tenant), &result);
        result
    }

    fn reuse(&mut self, body: Vec<u8>) {
        self.services.spare.put(body);
    }

    fn deliver(&mut self, gzip: &[u8]) -> Result<Answer, NetTrouble> {
        let result = deliver(&mut self.services.sink, gzip);
        self.observe_answer(Source::Sink, &result);
        result
    }

    fn try_key(&mut self, key: TrialKey) -> Result<Answer, NetTrouble> {
        let result = super::trial::try_key(&mut self.services.sink, key);
        self.observe_answer(Source::Sink, &result);
        result
    }

    fn sleep(&mut self, until: Mono) -> Woke {
        loop {
            if self.inbox.is_pending() {
                return Woke::Signal;
            }
            if self.credential_wakes() {
                return Woke::Credential;
            }
            let left = until.since(clock::mono());
            if left == Span::ZERO {
                return Woke::Time;
            }
            let piece = match self.watched() {
                true => Span::ms(CREDENTIAL_LOOK_MS),
                false => Span::seconds(SLEEP_SECONDS_MAX),
            };
            self.inbox.wait(left.min(piece).as_duration());
        }
    }

    fn signals(&mut self) -> Signals {
        self.inbox.take()
    }

    fn fresh_credentials(&mut self) -> Vec<CredentialId> {
        let mut fresh = Vec::new();
        for (tenant, service) in self.services.tenants.iter_mut().enumerate() {
            if service.credential.is_news() {
                fresh.push(CredentialId::Token(tenant));
            }
        }
        if self.services.sink.credential.is_news() {
            fresh.push(CredentialId::Key);
        }
        fresh
    }

    fn disk_written_bytes(&mut self) -> Option<u64> {
        host::disk_written_bytes()
    }

    fn token_end(&mut self, tenant: usize) -> Option<Stamp> {
        let token = self.services.tenants[tenant].credential.current().ok()?;
        jwt_end(token.reveal())
    }
}

/// Sends a request to a tenant with its token. `bytes_max`: the longest answer accepted.
pub fn ask(service: &mut Service, request: &Ask, bytes_max: u64) -> Result<Answer, NetTrouble> {
    let token = service.credential.current()?;
    let body;
    let (path, post) = match request {
        Ask::Page(path) => (path.as_str(), None),
        Ask::Info => (SYSTEM_INFO_PATH, None),
        Ask::TokenDetails => {
            body = token_details_body(&token);
            (TOKEN_DETAILS_PATH, Some(Post { body: &body, gzip: false, is_last: false }))
        }
    };
    let answer = service.client.exchange(&Request {
        path,
        authorization: Some(hidden("ApiToken", &token)),
        post,
        answer_bytes_max: bytes_max,
        grace: Duration::ZERO,
    })?;
    service.credential.observe_answer(answer.status);
    Ok(answer)
}

/// Posts a batch with the key.
pub fn deliver(service: &mut Service, gzip: &[u8]) -> Result<Answer, NetTrouble> {
    let key = service.credential.current()?;
    let answer = service.client.exchange_cut_off(&Request {
        path: SINGLES_PATH,
        authorization: Some(hidden("Bearer", &key)),
        post: Some(Post { body: gzip, gzip: true, is_last: false }),
        answer_bytes_max: SINK_ANSWER_BYTES_MAX,
        grace: Duration::from_secs(STOP_GRACE_SECONDS),
    })?;
    service.credential.observe_answer(answer.status);
    Ok(answer)
}

/// Why the edge can't be made from a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupError {
    Proxy(BadProxy),
    CaFile {
        path: String,
        why: String,
    },
    /// Signals can't be caught.
    Signals(Problem),
    /// The secret file could not be read because the system refused, with its remedy.
    System {
        path: String,
        why: Problem,
    },
}

impl SetupError {
    /// Whether the system is to blame, and not the config.
    pub fn is_of_system(&self) -> bool {
        matches!(self, SetupError::Signals(_) | SetupError::System { .. })
    }

    pub fn problem(&self) -> Problem {
        match self {
            SetupError::Proxy(BadProxy { setting, why }) => {
                format!("failed to use the proxy of {setting}: {why}").into()
            }
            SetupError::CaFile { path, why } => Problem::new(
                format!("failed to read network.ca_file {path}: {why}"),
                "It must be a PEM file with the certificates of the authorities to trust, readable \
                 by this program",
            ),
            SetupError::System { path, why } => {
                why.clone().after(format_args!("failed to read network.ca_file {path}: "))
            }
            SetupError::Signals(why) => why.clone().after("failed to listen for signals: "),
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem().fmt(f)
    }
}

impl std::error::Error for SetupError {}

/// What the system refused at the start of the program, with the remedy.
pub fn refused_at_start(why: &io::Error) -> Problem {
    let remedy = shortage_remedy(why)
        .unwrap_or("Raise the limit on processes or threads (TasksMax, ulimit -u)");
    Problem::new(plain(why), remedy)
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;
    use crate::config::SecretSource;
    use crate::net::loopback::{Received, Server, answer, config, inline, receive};
    use crate::os::memory::By;
    use crate::test_world::temp::TempDir;
    use crate::test_world::tls::Authority;
    use crate::time::Whose;

    /// A real edge without signals of its own: they are the whole process's, and other tests
    /// raise some.
    fn edge(config: &Config) -> System {
        edge_with(config, Arc::default())
    }

    fn edge_with(config: &Config, certificate_clock: Arc<CertificateClock>) -> System {
        let inbox = Inbox::deaf().unwrap();
        let stop = inbox.stop_flag();
        let services =
            Services::new(config, &ProxyEnvironment::default(), &stop, &certificate_clock).unwrap();
        let pages = PageBound::of(None);
        System {
            services,
            pages,
            service_times: ServiceTimes::default(),
            certificate_clock,
            zone: Zone::utc(),
            inbox,
        }
    }

    fn recording(status: &'static str) -> (Server, mpsc::Receiver<Received>) {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let server = Server::start(None, move |wire, _| {
            while let Some(request) = receive(wire) {
                tell.lock().unwrap().send(request).unwrap();
                answer(wire, status, "Date: Sat, 06 Nov 2094 08:49:37 GMT\r\n", b"{}");
            }
        });
        (server, told)
    }

    #[test]
    fn each_question_goes_to_its_path_with_its_secret_and_the_calendar_follows() {
        let (server, told) = recording("200 OK");
        let base = format!("http://127.0.0.1:{}", server.port);
        let mut edge = edge(&config(&base, inline("tok"), inline("key")));
        assert!(edge.wall() < Stamp::parse("2094-01-01T00:00:00Z").unwrap());
        for (ask, line) in [
            (Ask::Page("/web/api/v2.1/threats?limit=1".to_owned()), "GET /web/api/v2.1/threats?"),
            (Ask::Info, "GET /web/api/v2.1/system/info HTTP"),
            (Ask::TokenDetails, "POST /web/api/v2.1/users/api-token-details HTTP"),
        ] {
            assert_eq!(edge.ask(0, &ask).unwrap().status, 200);
            let request = told.recv().unwrap();
            assert!(request.head.starts_with(line), "{}", request.head);
            assert_eq!(request.header("authorization"), Some("ApiToken tok"));
            let body =
                if ask == Ask::TokenDetails { "{\"data\":{\"apiToken\":\"tok\"}}" } else { "" };
            assert_eq!(String::from_utf8(request.body).unwrap(), body);
        }
        assert!(edge.wall() > Stamp::parse("2094-01-01T00:00:00Z").unwrap());
        assert_eq!(edge.deliver(b"gzip").unwrap().status, 200);
        let request = told.recv().unwrap();
        assert!(request.head.starts_with("POST /logs/v1/singles HTTP"), "{}", request.head);
        assert_eq!(request.header("authorization"), Some("Bearer key"));
        assert_eq!(request.body, b"gzip");
    }

    #[test]
    fn a_refused_token_is_watched_and_its_replacement_ends_the_sleep() {
        let (server, told) = recording("401 Unauthorized");
        let dir = TempDir::new("real");
        let path = dir.path().join("token");
        std::fs::write(&path, "old").unwrap();
        let base = format!("http://127.0.0.1:{}", server.port);
        let mut edge = edge(&config(&base, SecretSource::File(path.clone()), inline("key")));
        assert_eq!(edge.ask(0, &Ask::Info).unwrap().status, 401);
        assert!(edge.watched());
        assert_eq!(edge.fresh_credentials(), []);

        let begun = edge.mono();
        let writer = std::thread::spawn(move || {
            told.recv().unwrap();
            std::fs::write(&path, "renewed").unwrap();
            told
        });
        assert_eq!(edge.sleep(begun + Span::seconds(50)), Woke::Credential);
        assert!(edge.mono().since(begun) < Span::seconds(30));
        assert_eq!(edge.fresh_credentials(), [CredentialId::Token(0)]);
        assert_eq!(edge.fresh_credentials(), []);
        let told = writer.join().unwrap();
        edge.ask(0, &Ask::Info).unwrap();
        assert_eq!(told.recv().unwrap().header("authorization"), Some("ApiToken renewed"));
    }

    #[test]
    fn a_missing_secret_sends_nothing() {
        let (server, _told) = recording("200 OK");
        let base = format!("http://127.0.0.1:{}", server.port);
        let gone = SecretSource::File("/nonexistent/key".into());
        let mut edge = edge(&config(&base, inline("tok"), gone));
        let error = edge.deliver(b"gzip").unwrap_err();
        assert!(matches!(error, NetTrouble::Secret(_)), "{error:?}");
        assert_eq!(server.accepted(), 0);
        assert!(edge.watched());
        let fails = SecretSource::File("/proc/self/mem".into());
        edge.reconfigure(&config(&base, inline("tok"), fails)).unwrap();
        let error = edge.deliver(b"gzip").unwrap_err();
        assert!(matches!(error, NetTrouble::System(_)), "its disk fails: {error:?}");
    }

    #[test]
    fn a_sleep_ends_in_time() {
        let mut edge = edge(&config("http://127.0.0.1:9", inline("tok"), inline("key")));
        let until = edge.mono() + Span::ms(20);
        assert_eq!(edge.sleep(until), Woke::Time);
        assert!(edge.mono() >= until);
        assert_eq!(edge.sleep(Mono::ZERO), Woke::Time);
    }

    #[test]
    fn a_bad_ca_file_is_refused_and_the_old_config_stays() {
        let (server, _told) = recording("200 OK");
        let base = format!("http://127.0.0.1:{}", server.port);
        let good = config(&base, inline("tok"), inline("key"));
        let mut edge = edge(&good);
        let mut bad = good;
        bad.network.ca_file = Some("/nonexistent/ca.pem".into());
        let error = edge.reconfigure(&bad).unwrap_err();
        assert!(!error.is_of_system());
        let error = error.to_string();
        assert!(error.contains("network.ca_file /nonexistent/ca.pem: No such file"), "{error}");
        bad.network.ca_file = Some("/proc/self/mem".into());
        let error = edge.reconfigure(&bad).unwrap_err();
        assert!(error.is_of_system() && error.to_string().contains("mount, dmesg"), "{error}");
        assert_eq!(edge.ask(0, &Ask::Info).unwrap().status, 200);
    }

    const DATED: &str = "Date: Sat, 06 Nov 2094 08:49:37 GMT\r\n";

    /// The `Date` that every server here sends, carried on by less than a minute.
    fn is_dated(at: Option<Stamp>) -> bool {
        let sent = Stamp::parse("2094-11-06T08:49:37Z").unwrap();
        at.is_some_and(|at| at >= sent && at < sent + Span::minutes(1))
    }

    #[test]
    fn the_time_of_the_services_is_told_by_each_clock_that_may_tell_it() {
        let (server, _told) = recording("200 OK");
        let base = format!("http://127.0.0.1:{}", server.port);
        let mut edge = edge(&config(&base, inline("tok"), inline("key")));
        assert!(!edge.has_server_time());
        assert!(edge.clocks().local.is_some() && edge.clocks().sink.is_none());
        assert_eq!((edge.sink_off(), edge.dated(), edge.received_bytes()), (None, None, 0));

        edge.deliver(b"gzip").unwrap();
        assert!(edge.has_server_time() && is_dated(edge.clocks().sink));
        let off = edge.sink_off().unwrap();
        assert!(off.is_ahead && off.whose == Whose::Machine, "{off:?}");
        assert_eq!(edge.dated(), None, "no other clock agrees");
        let second = 8 * 3_600 + 49 * 60 + 37;
        assert!((second..second + 60).contains(&edge.second_of_day()));
        assert_eq!(edge.received_bytes(), 0, "what Coralogix answers is not collected");

        edge.ask(0, &Ask::Info).unwrap();
        assert_eq!(edge.sink_off(), None);
        assert!(is_dated(edge.dated()));
        let head = format!("HTTP/1.1 200 OK\r\n{DATED}Content-Length: 2\r\n\r\n");
        assert_eq!(edge.received_bytes(), head.len() as u64 + 2);
    }

    #[test]
    fn a_delivery_without_an_answer_ends_the_time_of_coralogix_and_a_poll_does_not() {
        // It answers the first delivery, and hangs up on every other request.
        let is_first = AtomicBool::new(true);
        let server = Server::start(None, move |wire, _| {
            while let Some(request) = receive(wire) {
                if request.body.is_empty() || !is_first.swap(false, Ordering::SeqCst) {
                    return;
                }
                answer(wire, "200 OK", DATED, b"{}");
            }
        });
        let base = format!("http://127.0.0.1:{}", server.port);
        let mut edge = edge(&config(&base, inline("tok"), inline("key")));
        edge.deliver(b"gzip").unwrap();
        assert_eq!(edge.stamping(), Stamping::Unconfirmed);
        edge.ask(0, &Ask::Info).unwrap_err();
        assert_eq!(edge.stamping(), Stamping::Unconfirmed);
        edge.deliver(b"gzip").unwrap_err();
        assert_eq!(edge.stamping(), Stamping::Unknown);
    }

    /// A config whose services speak TLS at `localhost`, with a certificate that is valid until then.
    fn over_tls(dir: &Path, end_year: i32) -> (Server, Config) {
        let authority = Authority::new("Test CA");
        let server =
            Server::start(Some(authority.server_until("localhost", end_year)), |wire, _| {
                while receive(wire).is_some() {
                    answer(wire, "200 OK", DATED, b"{}");
                }
            });
        std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
        let base = format!("https://localhost:{}", server.port);
        let mut config = config(&base, inline("tok"), inline("key"));
        config.network.ca_file = Some(dir.join("ca.pem"));
        (server, config)
    }

    #[test]
    fn a_time_that_both_services_send_over_tls_is_kept_for_certificates() {
        let dir = TempDir::new("real-clock");
        let kept = || std::fs::read_to_string(dir.path().join("clock")).unwrap_or_default();
        let of_queue = || Arc::new(CertificateClock::of_queue(dir.path(), true));
        let (plain, _told) = recording("200 OK");
        let base = format!("http://127.0.0.1:{}", plain.port);
        let (_server, config_of_tls) = over_tls(dir.path(), 2095);
        for (config, begin) in
            [(config(&base, inline("tok"), inline("key")), ""), (config_of_tls, "2094-11-06T08:")]
        {
            let mut edge = edge_with(&config, of_queue());
            edge.ask(0, &Ask::Info).unwrap();
            assert_eq!(kept(), "", "one service alone");
            edge.deliver(b"gzip").unwrap();
            assert_eq!(kept().get(..begin.len()), Some(begin), "{}", kept());
            assert_eq!(kept().is_empty(), begin.is_empty());
        }
    }

    #[test]
    fn the_time_of_a_server_whose_certificate_does_not_fit_this_clock_judges_the_clock() {
        let dir = TempDir::new("real-contested");
        let (_server, config) = over_tls(dir.path(), 2001);
        let mut edge = edge(&config);
        assert_eq!(edge.clock_verdict(), Verdict::Unknown);
        let error = edge.ask(0, &Ask::Info).unwrap_err();
        assert!(matches!(error, NetTrouble::Tls(_)), "{error:?}");
        assert!(matches!(edge.clock_verdict(), Verdict::Behind(_)), "{:?}", edge.clock_verdict());
        assert!(!edge.has_server_time(), "it is shown to people, and nothing else");
    }

    #[test]
    fn a_new_config_counts_and_what_coralogix_said_stays_only_with_its_address() {
        let ((server, _told), (other, _told_other)) = (recording("200 OK"), recording("200 OK"));
        let base = |server: &Server| format!("http://127.0.0.1:{}", server.port);
        let mut config = config(&base(&server), inline("tok"), inline("key"));
        let mut edge = edge(&config);
        edge.deliver(b"gzip").unwrap();
        edge.zone = Zone::of("XXX-1");
        let second = 8 * 3_600 + 49 * 60 + 37;
        assert!((second + 3_600..second + 3_660).contains(&edge.second_of_day()));

        config.polling.max_page = Some(1 << 20);
        edge.reconfigure(&config).unwrap();
        assert!(is_dated(edge.clocks().sink));
        assert_eq!(edge.pages(), PageBound { bytes: 1 << 20, by: By::Setting });
        assert_eq!(edge.page_bytes_max(), 1 << 20);
        assert!((second..second + 60).contains(&edge.second_of_day()), "no window, no zone");
        // Where progress is reported.
        let services = &edge.services;
        for service in services.tenants.iter().chain([&services.sink]) {
            assert!(service.client.wire().pulse.get().is_some(), "{service:?}");
        }

        config.coralogix.url = base(&other);
        edge.reconfigure(&config).unwrap();
        assert_eq!(edge.clocks().sink, None);
    }

    #[test]
    fn refused_secrets_are_watched_and_two_that_change_at_once_end_one_sleep() {
        let (server, told) = recording("401 Unauthorized");
        let dir = TempDir::new("real-two");
        let (token, key) = (dir.path().join("token"), dir.path().join("key"));
        for path in [&token, &key] {
            std::fs::write(path, "old").unwrap();
        }
        let file = |path: &Path| SecretSource::File(path.to_owned());
        let base = format!("http://127.0.0.1:{}", server.port);
        let config = config(&base, file(&token), file(&key));
        let mut edge = edge(&config);
        assert!(!edge.watched());
        assert_eq!(edge.deliver(b"gzip").unwrap().status, 401);
        assert!(edge.watched(), "the key");
        told.recv().unwrap();

        edge.reconfigure(&config).unwrap();
        assert_eq!(edge.try_key(TrialKey::MadeUp).unwrap().status, 401);
        assert!(edge.has_server_time() && !edge.watched(), "that says nothing of the real key");
        let request = told.recv().unwrap();
        assert!(request.head.starts_with("POST /logs/v1/singles HTTP"), "{}", request.head);
        assert_eq!(request.header("connection"), Some("close"));
        assert_ne!(request.header("authorization"), Some("Bearer old"));
        assert_eq!(edge.try_key(TrialKey::Own).unwrap().status, 401);
        assert!(edge.watched());
        let request = told.recv().unwrap();
        assert_eq!(request.header("authorization"), Some("Bearer old"));
        let mut sent = String::new();
        flate2::read::GzDecoder::new(&request.body[..]).read_to_string(&mut sent).unwrap();
        assert_eq!(sent, "[]");

        for path in [&token, &key] {
            std::fs::write(path, "renewed").unwrap();
        }
        assert_eq!(edge.sleep(Mono::ZERO), Woke::Credential);
        assert_eq!(edge.sleep(Mono::ZERO), Woke::Time);
        assert_eq!(edge.fresh_credentials(), [CredentialId::Token(0), CredentialId::Key]);
    }

    #[test]
    fn a_key_that_is_tried_tells_the_time_too() {
        let (server, _told) = recording("200 OK");
        let base = format!("http://127.0.0.1:{}", server.port);
        let mut edge = edge(&config(&base, inline("tok"), inline("key")));
        assert_eq!(edge.try_key(TrialKey::Own).unwrap().status, 200);
        assert!(is_dated(edge.clocks().sink));
    }

    #[test]
    fn a_secret_file_that_all_can_read_is_told() {
        use std::os::unix::fs::PermissionsExt;

        let dir = TempDir::new("real-exposed");
        let paths = [dir.path().join("token"), dir.path().join("key")];
        for path in &paths {
            std::fs::write(path, "secret").unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o604)).unwrap();
        }
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        // Where the temporary directory itself is closed, nothing in it is open.
        let is_open = |dir: &Path| std::fs::metadata(dir).unwrap().permissions().mode() & 1 == 1;
        if !std::fs::canonicalize(dir.path()).unwrap().ancestors().all(is_open) {
            return;
        }
        let [token, key] = paths.clone().map(SecretSource::File);
        let told = edge(&config("http://127.0.0.1:9", token, key)).exposures();
        assert_eq!(told.len(), 2, "{told:?}");
        for (problem, path) in told.iter().zip(&paths) {
            let text = problem.to_string();
            assert!(text.contains("read the secret file") && text.contains(path.to_str().unwrap()));
        }
    }

    #[test]
    fn a_request_to_stop_is_told_and_ends_requests_and_sleeps() {
        let (server, _told) = recording("200 OK");
        let base = format!("http://127.0.0.1:{}", server.port);
        let mut edge = edge(&config(&base, inline("tok"), inline("key")));
        assert_eq!(edge.signals(), Signals::default());
        edge.stop_flag().store(true, Ordering::SeqCst);
        assert!(edge.signals().stop);
        assert_eq!(edge.sleep(Mono(u64::MAX)), Woke::Signal);
        assert_eq!(edge.ask(0, &Ask::Info), Err(NetTrouble::Stopped));
    }

    #[test]
    fn a_sleep_leaves_the_processor_to_others() {
        // How often this thread waited for something (proc(5)).
        let waits = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let mut lines = status.lines();
            let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            count.unwrap().trim().parse::<u64>().unwrap()
        };
        let mut edge = edge(&config("http://127.0.0.1:9", inline("tok"), inline("key")));
        let (before, until) = (waits(), edge.mono() + Span::ms(20));
        edge.sleep(until);
        assert!(waits() > before);
    }

    #[test]
    fn what_the_machine_and_the_token_tell_is_passed_on() {
        use base64::Engine;

        let claims =
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"exp":1800000000}"#);
        let token = inline(&format!("e30.{claims}.c2ln"));
        let mut edge = edge(&config("http://127.0.0.1:9", token, inline("key")));
        assert_eq!(edge.token_end(0), Some(Stamp::from_seconds(1_800_000_000)));
        assert_eq!(
            edge.kills().map(|kills| kills.boot),
            memory::kills(Path::new("/")).map(|kills| kills.boot)
        );
        // So that there is something to tell, except in memory.
        let dir = TempDir::new("real-written");
        let file = std::fs::File::create(dir.path().join("file")).unwrap();
        file.set_len(1 << 16).unwrap();
        std::io::Write::write_all(&mut &file, &[1; 1 << 16]).unwrap();
        file.sync_all().unwrap();
        let (before, told, after) =
            (host::disk_written_bytes(), edge.disk_written_bytes(), host::disk_written_bytes());
        assert!(before <= told && told <= after, "{before:?} {told:?} {after:?}");
    }
}
