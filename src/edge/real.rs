//! The real world: `Edge` over sockets, clocks, signals and secret files.
//!
//! Holds: one `Peer` and one `Keeper` for each tenant, and the sink's. Never: decides, retries
//! by schedule, or remembers an answer.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::clock::{self, Moment, Source, Verdict};
use super::judge::Judge;
use super::keeper::Keeper;
use super::memory::PageBound;
use super::net::{Peer, Post, Request, hidden};
use super::notify::Pulse;
use super::proxy::ProxyEnvironment;
use super::reach::Reach;
use super::secret::plain;
use super::setup::SetupError;
use super::signal::Inbox;
use super::tls::Tls;
use super::told::{Stamping, Told};
use super::zone::Zone;
use super::{Ask, Credential, Edge, Signals, Woke, host};
use crate::config::{Config, Integration};
use crate::errno::system_remedy;
use crate::limits::{
    CA_FILE_BYTES_MAX, CREDENTIAL_LOOK_MS, SINK_ANSWER_BYTES_MAX, SLEEP_SECONDS_MAX,
    STOP_GRACE_SECONDS,
};
use crate::message::tell;
use crate::record::{Answer, NetTrouble, TrialKey};
use crate::s1::request::{SYSTEM_INFO_PATH, TOKEN_DETAILS_PATH, token_details_body};
use crate::s1::token::jwt_end;
use crate::time::{Clocks, Mono, Span, Stamp};

/// Where a batch is posted.
pub const SINGLES_PATH: &str = "/logs/v1/singles";

/// A service with the secret that opens it.
#[derive(Debug)]
pub struct Door {
    pub peer: Peer,
    pub keeper: Keeper,
}

/// Every door of a config.
#[derive(Debug)]
pub struct Doors {
    /// In the order of the config.
    pub tenants: Vec<Door>,
    pub sink: Door,
}

impl Doors {
    pub fn new(
        config: &Config,
        environment: &ProxyEnvironment,
        stop: &Arc<AtomicBool>,
        judge: &Arc<Judge>,
    ) -> Result<Doors, SetupError> {
        let tls = trust(config.network.ca_file.as_deref(), judge)?;
        let reach = Arc::new(Reach::new(Arc::clone(stop)));
        let door = |url: &str, what, source: &crate::config::SecretSource| {
            let peer = Peer::new(url, &config.network, &tls, environment, Arc::clone(stop))
                .map_err(SetupError::Proxy)?;
            Ok(Door { peer, keeper: Keeper::new(what, source.clone(), &reach) })
        };
        let tenant =
            |one: &Integration| door(&one.tenant, "API token of SentinelOne", &one.api_token);
        Ok(Doors {
            tenants: config.integrations.iter().map(tenant).collect::<Result<_, _>>()?,
            sink: door(&config.coralogix.url, "API key of Coralogix", &config.coralogix.api_key)?,
        })
    }
}

impl Doors {
    /// What moves on the wire is progress to whoever supervises the program.
    fn tell_progress(&self, queue_dir: &Path) {
        for door in self.tenants.iter().chain([&self.sink]) {
            // Set once: the peer is as old as its door.
            let _ = door.peer.wire().pulse.set(Pulse::new(queue_dir.join("lock")));
        }
    }
}

fn trust(ca_file: Option<&Path>, judge: &Arc<Judge>) -> Result<Tls, SetupError> {
    let Some(path) = ca_file else {
        return Tls::new(None, judge).map_err(|why| bad_ca(Path::new("(none)"), why));
    };
    let mut pem = Vec::new();
    File::open(path).and_then(|file| file.take(CA_FILE_BYTES_MAX).read_to_end(&mut pem)).map_err(
        |error| match system_remedy(&error) {
            Some(remedy) => SetupError::System {
                path: path.display().to_string(),
                why: format!("{}. {remedy}", plain(&error)),
            },
            None => bad_ca(path, plain(&error)),
        },
    )?;
    Tls::new(Some(&pem), judge).map_err(|why| bad_ca(path, why))
}

fn bad_ca(path: &Path, why: String) -> SetupError {
    SetupError::CaFile { path: path.display().to_string(), why }
}

/// The real world.
#[derive(Debug)]
pub struct Real {
    doors: Doors,
    pages: PageBound,
    told: Told,
    judge: Arc<Judge>,
    zone: Zone,
    inbox: Inbox,
}

impl Real {
    /// Opens the edge. Signals are caught from here on.
    pub fn open(config: &Config) -> Result<Real, SetupError> {
        let inbox = Inbox::open().map_err(|error| SetupError::Signals(plain(&error)))?;
        let judge = Arc::new(Judge::of_queue(&config.queue.dir, true));
        let doors = Doors::new(config, &ProxyEnvironment::read(), &inbox.stop_flag(), &judge)?;
        doors.tell_progress(&config.queue.dir);
        let (told, pages) = (Told::default(), PageBound::of(config.polling.max_page));
        Ok(Real { doors, pages, told, judge, zone: zone(config), inbox })
    }

    /// Takes a new config. On an error the old one stays in force.
    pub fn reconfigure(&mut self, config: &Config) -> Result<(), SetupError> {
        let stop = self.inbox.stop_flag();
        let doors = Doors::new(config, &ProxyEnvironment::read(), &stop, &self.judge)?;
        if doors.sink.peer.base() != self.doors.sink.peer.base() {
            self.told.forget_sink();
        }
        doors.tell_progress(&config.queue.dir);
        self.doors = doors;
        self.pages = PageBound::of(config.polling.max_page);
        self.zone = zone(config);
        Ok(())
    }

    /// How long a page may be, and why.
    pub fn pages(&self) -> PageBound {
        self.pages
    }

    /// How this machine's clock stands to the services'.
    pub fn clock_verdict(&self) -> Verdict {
        self.told.verdict(Moment::now())
    }

    /// Takes what an exchange tells of the time.
    fn hear(&mut self, source: Source, result: &Result<Answer, NetTrouble>) {
        let now = Moment::now();
        let peer = match source {
            Source::Tenant(tenant) => &self.doors.tenants[tenant].peer,
            Source::Sink => &self.doors.sink.peer,
        };
        match result {
            Ok(answer) => {
                self.told.hear(source, answer, now);
                peer.vouch(source, answer);
            }
            Err(_) => {
                if source == Source::Sink {
                    self.told.sink_failed();
                }
                if let Some(date) = peer.finding().and_then(|finding| finding.date) {
                    self.told.doubt(date, now.mono);
                }
            }
        }
    }

    /// Warnings about secrets that everybody on the machine can read.
    pub fn exposures(&mut self) -> Vec<String> {
        let tenants = self.doors.tenants.iter_mut().map(|door| &mut door.keeper);
        tenants.chain([&mut self.doors.sink.keeper]).filter_map(Keeper::exposure).collect()
    }

    fn watched(&self) -> bool {
        self.doors.sink.keeper.is_doubted()
            || self.doors.tenants.iter().any(|door| door.keeper.is_doubted())
    }

    fn credential_wakes(&mut self) -> bool {
        let tenants = self.doors.tenants.iter_mut();
        // Every one is asked, so that two changed at once end one sleep, not two.
        tenants.fold(self.doors.sink.keeper.wakes(), |wakes, door| door.keeper.wakes() | wakes)
    }
}

/// The zone is looked up where a window needs it.
fn zone(config: &Config) -> Zone {
    if config.delivery.windows.0.is_empty() && config.polling.windows.0.is_empty() {
        return Zone::utc();
    }
    let (zone, problem) = Zone::find();
    if let Some(problem) = problem {
        tell!(ZONE_UNREADABLE, "{problem}");
    }
    zone
}

impl Edge for Real {
    fn mono(&mut self) -> Mono {
        clock::mono()
    }

    fn wall(&mut self) -> Stamp {
        self.told.wall(Moment::now())
    }

    fn wall_is_told(&mut self) -> bool {
        self.told.is_told()
    }

    fn dated(&mut self) -> Option<Stamp> {
        self.told.dated(Moment::now())
    }

    fn stamping(&mut self) -> Stamping {
        self.told.stamping(Moment::now())
    }

    fn clocks(&mut self) -> Clocks {
        self.told.witnesses(Moment::now())
    }

    fn second_of_day(&mut self) -> u32 {
        self.zone.second_of_day(self.told.wall(Moment::now()))
    }

    fn received_bytes(&mut self) -> u64 {
        let wires = self.doors.tenants.iter().map(|door| door.peer.wire());
        wires.map(|wire| wire.received.load(Ordering::Relaxed)).sum()
    }

    fn page_bytes_max(&mut self) -> u64 {
        self.pages.bytes
    }

    fn ask(&mut self, tenant: usize, request: &Ask) -> Result<Answer, NetTrouble> {
        let result = ask(&mut self.doors.tenants[tenant], request, self.pages.bytes);
        self.hear(Source::Tenant(tenant), &result);
        result
    }

    fn deliver(&mut self, gzip: &[u8]) -> Result<Answer, NetTrouble> {
        let result = deliver(&mut self.doors.sink, gzip);
        self.hear(Source::Sink, &result);
        result
    }

    fn try_key(&mut self, key: TrialKey) -> Result<Answer, NetTrouble> {
        let result = super::trial::try_key(&mut self.doors.sink, key);
        self.hear(Source::Sink, &result);
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

    fn fresh_credentials(&mut self) -> Vec<Credential> {
        let mut fresh = Vec::new();
        for (tenant, door) in self.doors.tenants.iter_mut().enumerate() {
            if door.keeper.is_fresh() {
                fresh.push(Credential::Token(tenant));
            }
        }
        if self.doors.sink.keeper.is_fresh() {
            fresh.push(Credential::Key);
        }
        fresh
    }

    fn disk_written_bytes(&mut self) -> Option<u64> {
        host::disk_written_bytes()
    }

    fn token_end(&mut self, tenant: usize) -> Option<Stamp> {
        let token = self.doors.tenants[tenant].keeper.current().ok()?;
        jwt_end(token.reveal())
    }
}

/// Asks a tenant with its token, for no longer an answer than this.
pub fn ask(door: &mut Door, request: &Ask, bytes_max: u64) -> Result<Answer, NetTrouble> {
    let token = door.keeper.current()?;
    let body;
    let (path, post) = match request {
        Ask::Page(path) => (path.as_str(), None),
        Ask::Info => (SYSTEM_INFO_PATH, None),
        Ask::TokenDetails => {
            body = token_details_body(&token);
            (TOKEN_DETAILS_PATH, Some(Post { body: &body, gzip: false }))
        }
    };
    let answer = door.peer.exchange(&Request {
        path,
        authorization: Some(hidden("ApiToken", &token)),
        post,
        answer_bytes_max: bytes_max,
        grace: Duration::ZERO,
    })?;
    door.keeper.judge(answer.status);
    Ok(answer)
}

/// Posts a batch with the key.
pub fn deliver(door: &mut Door, gzip: &[u8]) -> Result<Answer, NetTrouble> {
    let key = door.keeper.current()?;
    let answer = door.peer.exchange_cut_off(&Request {
        path: SINGLES_PATH,
        authorization: Some(hidden("Bearer", &key)),
        post: Some(Post { body: gzip, gzip: true }),
        answer_bytes_max: SINK_ANSWER_BYTES_MAX,
        grace: Duration::from_secs(STOP_GRACE_SECONDS),
    })?;
    door.keeper.judge(answer.status);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;
    use crate::config::SecretSource;
    use crate::edge::loopback::{Received, Server, answer, config, inline, receive, scratch_dir};

    /// A real edge without signals of its own: they are the whole process's, and other tests
    /// raise some.
    fn edge(config: &Config) -> Real {
        let inbox = Inbox::deaf().unwrap();
        let stop = inbox.stop_flag();
        let judge = Arc::default();
        let doors = Doors::new(config, &ProxyEnvironment::default(), &stop, &judge).unwrap();
        let pages = PageBound::of(None);
        Real { doors, pages, told: Told::default(), judge, zone: Zone::utc(), inbox }
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
        let dir = scratch_dir("real");
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
        assert_eq!(edge.fresh_credentials(), [Credential::Token(0)]);
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
        let error = edge.reconfigure(&bad).unwrap_err().to_string();
        assert!(error.contains("network.ca_file /nonexistent/ca.pem: No such file"), "{error}");
        bad.network.ca_file = Some("/proc/self/mem".into());
        let error = edge.reconfigure(&bad).unwrap_err();
        assert!(error.is_of_system() && error.to_string().contains("mount, dmesg"), "{error}");
        assert_eq!(edge.ask(0, &Ask::Info).unwrap().status, 200);
    }
}
