//! The real world: `Edge` over sockets, clocks, signals and secret files.
//!
//! Holds: one `Peer` and one `Keeper` for each tenant, and the sink's. Never: decides, retries
//! by schedule, or remembers an answer.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::clock::{self, Clock, Source};
use super::keeper::{Keeper, plain};
use super::net::{Peer, Post, Request, hidden};
use super::proxy::{BadProxy, ProxyEnvironment};
use super::signal::Inbox;
use super::stub::{SYSTEM_INFO_PATH, TOKEN_DETAILS_PATH, jwt_end, token_details_body};
use super::tls::Tls;
use super::{Ask, Credential, Edge, Signals, Woke};
use crate::config::{Config, Integration};
use crate::limits::{
    CA_FILE_BYTES_MAX, CREDENTIAL_LOOK_MS, PAGE_BYTES_MAX, SINK_ANSWER_BYTES_MAX,
    SLEEP_SECONDS_MAX, STOP_GRACE_SECONDS,
};
use crate::record::{Answer, NetTrouble};
use crate::time::{Mono, Span, Stamp};

/// Where a batch is posted.
pub const SINGLES_PATH: &str = "/logs/v1/singles";

/// Why the edge can't be made from a config. The config is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupError {
    Proxy(BadProxy),
    CaFile { path: String, why: String },
    Signals(String),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::Proxy(BadProxy { setting, why }) => {
                write!(f, "failed to use the proxy of {setting}: {why}")
            }
            SetupError::CaFile { path, why } => write!(
                f,
                "failed to read network.ca_file {path}: {why}. It has to be a PEM file with the \
                 certificates of the authorities to trust, readable for this program"
            ),
            SetupError::Signals(why) => {
                write!(f, "failed to listen for signals: {why}. The system is out of resources")
            }
        }
    }
}

impl std::error::Error for SetupError {}

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
    ) -> Result<Doors, SetupError> {
        let tls = trust(config.network.ca_file.as_deref())?;
        let door = |url: &str, what, source: &crate::config::SecretSource| {
            let peer = Peer::new(url, &config.network, &tls, environment, Arc::clone(stop))
                .map_err(SetupError::Proxy)?;
            Ok(Door { peer, keeper: Keeper::new(what, source.clone()) })
        };
        let tenant =
            |one: &Integration| door(&one.tenant, "API token of SentinelOne", &one.api_token);
        Ok(Doors {
            tenants: config.integrations.iter().map(tenant).collect::<Result<_, _>>()?,
            sink: door(&config.coralogix.url, "API key of Coralogix", &config.coralogix.api_key)?,
        })
    }
}

fn trust(ca_file: Option<&Path>) -> Result<Tls, SetupError> {
    let Some(path) = ca_file else {
        return Tls::new(None).map_err(|why| bad_ca(Path::new("(none)"), why));
    };
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(CA_FILE_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| bad_ca(path, plain(&error)))?;
    Tls::new(Some(&pem)).map_err(|why| bad_ca(path, why))
}

fn bad_ca(path: &Path, why: String) -> SetupError {
    SetupError::CaFile { path: path.display().to_string(), why }
}

/// The real world.
#[derive(Debug)]
pub struct Real {
    doors: Doors,
    clock: Clock,
    inbox: Inbox,
}

impl Real {
    /// Opens the edge. Signals are caught from here on.
    pub fn open(config: &Config) -> Result<Real, SetupError> {
        let inbox = Inbox::open().map_err(|error| SetupError::Signals(plain(&error)))?;
        let doors = Doors::new(config, &ProxyEnvironment::read(), &inbox.stop_flag())?;
        Ok(Real { doors, clock: Clock::default(), inbox })
    }

    /// Takes a new config. On an error the old one stays in force.
    pub fn reconfigure(&mut self, config: &Config) -> Result<(), SetupError> {
        self.doors = Doors::new(config, &ProxyEnvironment::read(), &self.inbox.stop_flag())?;
        Ok(())
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

impl Edge for Real {
    fn mono(&mut self) -> Mono {
        clock::mono()
    }

    fn wall(&mut self) -> Stamp {
        self.clock.wall(clock::mono())
    }

    fn ask(&mut self, tenant: usize, request: &Ask) -> Result<Answer, NetTrouble> {
        let door = &mut self.doors.tenants[tenant];
        let answer = ask(door, request)?;
        self.clock.note(Source::Tenant, answer.date.as_deref(), clock::mono());
        Ok(answer)
    }

    fn deliver(&mut self, gzip: &[u8]) -> Result<Answer, NetTrouble> {
        let answer = deliver(&mut self.doors.sink, gzip)?;
        self.clock.note(Source::Sink, answer.date.as_deref(), clock::mono());
        Ok(answer)
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

    fn token_end(&mut self, tenant: usize) -> Option<Stamp> {
        let token = self.doors.tenants[tenant].keeper.current().ok()?;
        jwt_end(token.reveal())
    }
}

/// Asks a tenant with its token.
pub fn ask(door: &mut Door, request: &Ask) -> Result<Answer, NetTrouble> {
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
        answer_bytes_max: PAGE_BYTES_MAX,
        grace: Duration::ZERO,
    })?;
    door.keeper.judge(answer.status);
    Ok(answer)
}

/// Posts a batch with the key.
pub fn deliver(door: &mut Door, gzip: &[u8]) -> Result<Answer, NetTrouble> {
    let key = door.keeper.current()?;
    let answer = door.peer.exchange(&Request {
        path: SINGLES_PATH,
        authorization: Some(hidden("Bearer", &key)),
        post: Some(Post { body: gzip, gzip: true }),
        answer_bytes_max: SINK_ANSWER_BYTES_MAX,
        grace: Duration::from_secs(STOP_GRACE_SECONDS),
    })?;
    door.keeper.judge(answer.status);
    Ok(answer)
}
