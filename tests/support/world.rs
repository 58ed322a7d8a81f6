//! Everything a collector needs around it: tenants, an ingress, a directory with config, secrets
//! and queue, and the ledger over all of them.
//!
//! Promises: the config is written like the shipped one, only faster (a poll each second, retries
//! from 50 ms); secrets live in files that are replaced by rename, as people's tools do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::clock::SECOND;
use super::ingress::Ingress;
use super::ledger::Ledger;
use super::process::Process;
use super::program::Program;
use super::temp::TempDir;
use super::tenant::Tenant;
use super::tls::{Authority, Flaw};
use super::watched::Watched;

/// What the config says. Each text stands in it as it is here.
#[derive(Clone)]
pub struct Settings {
    pub integrations: Vec<Integration>,
    pub max_size: String,
    pub min_free: String,
    pub write: String,
    pub retry_min: String,
    pub retry_max: String,
    pub connect_timeout: String,
    pub timeout: String,
    pub exchange_timeout: Option<String>,
    pub proxy: Option<String>,
    pub ca_file: bool,
    pub tls: bool,
    pub heartbeat: String,
    pub log_level: String,
    /// Below the world's directory.
    pub status_file: String,
    /// Whether secrets come from the environment instead of files.
    pub secrets_from_environment: bool,
    /// Put behind everything else.
    pub extra: String,
}

#[derive(Clone)]
pub struct Integration {
    pub name: String,
    pub name_was: Option<String>,
    pub streams: Vec<&'static str>,
    pub poll_interval: String,
    pub start: String,
    pub overlap: String,
    pub reconcile: String,
}

impl Integration {
    pub fn new(name: &str) -> Integration {
        Integration {
            name: name.to_string(),
            name_was: None,
            streams: vec!["threats", "activities"],
            poll_interval: "1s".to_string(),
            start: "24h".to_string(),
            overlap: "120s".to_string(),
            reconcile: "1h".to_string(),
        }
    }
}

impl Settings {
    /// Gives up on silence this soon.
    pub fn be_impatient(&mut self, timeout: &str) {
        self.connect_timeout = timeout.to_string();
        self.timeout = timeout.to_string();
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            integrations: vec![Integration::new("acme")],
            max_size: "1GiB".to_string(),
            min_free: "1MiB".to_string(),
            write: "always".to_string(),
            retry_min: "50ms".to_string(),
            retry_max: "400ms".to_string(),
            connect_timeout: "5s".to_string(),
            timeout: "20s".to_string(),
            exchange_timeout: None,
            proxy: None,
            ca_file: true,
            tls: true,
            // Off, so that every record of a test is one that was published.
            heartbeat: "0s".to_string(),
            log_level: "debug".to_string(),
            status_file: "status.json".to_string(),
            secrets_from_environment: false,
            extra: String::new(),
        }
    }
}

pub struct World {
    pub settings: Settings,
    pub ledger: Ledger,
    pub tenants: Vec<Tenant>,
    pub ingress: Ingress,
    pub authority: Authority,
    /// What is started from now on.
    pub program: Program,
    temp: TempDir,
}

impl World {
    /// Starts the servers and writes the files; the program is not started yet.
    pub fn new(program: Program, settings: Settings) -> World {
        let temp = TempDir::new("s1-coralogix");
        let authority = Authority::new("test authority");
        authority.write_pem(temp.path());
        let ledger = Ledger::default();
        let tls = |_: &str| settings.tls.then(|| authority.server(Flaw::None));
        let tenants = settings
            .integrations
            .iter()
            .map(|integration| Tenant::start(&integration.name, tls("tenant"), &ledger))
            .collect();
        let ingress = Ingress::start(tls("ingress"), &ledger);
        let world = World { settings, ledger, tenants, ingress, authority, program, temp };
        world.write_key(&world.ingress.key());
        for nth in 0..world.tenants.len() {
            world.write_token(nth, &world.tenants[nth].token());
        }
        world.write_config();
        world
    }

    pub fn tenant(&self) -> &Tenant {
        &self.tenants[0]
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub fn queue_dir(&self) -> PathBuf {
        self.path("queue")
    }

    pub fn config_file(&self) -> PathBuf {
        self.path("config.toml")
    }

    // Files.

    /// Replaces a file by rename, readable by its owner alone.
    pub fn write_file(&self, name: &str, text: &str) {
        let (path, fresh) = (self.path(name), self.path(&format!("{name}.new")));
        fs::write(&fresh, text).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&fresh, &path).unwrap();
    }

    pub fn write_key(&self, key: &str) {
        self.write_file("coralogix.key", &format!("{key}\n"));
    }

    pub fn write_token(&self, nth: usize, token: &str) {
        let name = format!("{}.token", self.settings.integrations[nth].name);
        self.write_file(&name, &format!("{token}\n"));
    }

    pub fn write_config(&self) {
        self.write_file("config.toml", &self.config());
    }

    pub fn config(&self) -> String {
        let s = &self.settings;
        let path = |name: &str| self.path(name).display().to_string();
        let key_file = match s.secrets_from_environment {
            true => String::new(),
            false => format!("api_key_file = \"{}\"\n", path("coralogix.key")),
        };
        let mut text = format!("[coralogix]\nurl = \"{}\"\n{key_file}\n", self.ingress.url());
        text += &format!(
            "[queue]\ndir = \"{}\"\nmax_size = \"{}\"\nmin_free = \"{}\"\nwrite = \"{}\"\n\n",
            path("queue"),
            s.max_size,
            s.min_free,
            s.write
        );
        for (integration, tenant) in s.integrations.iter().zip(&self.tenants) {
            let name = &integration.name;
            let token_file = match s.secrets_from_environment {
                true => String::new(),
                false => format!("api_token_file = \"{}\"\n", path(&format!("{name}.token"))),
            };
            text += &format!(
                "[[integration]]\nname = \"{name}\"\ntenant = \"{}\"\n{token_file}\
                 application_name = \"{name}-app\"\nstreams = {:?}\npoll_interval = \"{}\"\n\
                 start = \"{}\"\noverlap = \"{}\"\nreconcile = \"{}\"\n\n",
                tenant.url(),
                integration.streams,
                integration.poll_interval,
                integration.start,
                integration.overlap,
                integration.reconcile
            );
            if let Some(was) = &integration.name_was {
                let at = text.trim_end().len();
                text.insert_str(at, &format!("\nname_was = \"{was}\""));
            }
        }
        text += "[network]\n";
        if let Some(proxy) = &s.proxy {
            text += &format!("proxy = \"{proxy}\"\n");
        }
        if let Some(span) = &s.exchange_timeout {
            text += &format!("exchange_timeout = \"{span}\"\n");
        }
        if s.ca_file {
            text += &format!("ca_file = \"{}\"\n", path("ca.pem"));
        }
        text += &format!(
            "connect_timeout = \"{}\"\ntimeout = \"{}\"\nallow_http = {}\n\n\
             [retry]\nmin = \"{}\"\nmax = \"{}\"\n\n[heartbeat]\ninterval = \"{}\"\n\n[log]\nlevel = \"{}\"\n\n\
             [status]\nfile = \"{}\"\n{}",
            s.connect_timeout,
            s.timeout,
            !s.tls,
            s.retry_min,
            s.retry_max,
            s.heartbeat,
            s.log_level,
            path(&s.status_file),
            s.extra
        );
        text
    }

    // Processes.

    pub fn start(&self, args: &[&str], environment: &[(&str, String)]) -> Process {
        let config = self.config_file();
        let mut all = vec!["--config", config.to_str().unwrap()];
        all.extend_from_slice(args);
        // A build for tests takes this machine's clock to be off by what the file says.
        let shift = [(TEST_CLOCK, self.path(SHIFT).display().to_string())];
        Process::start(&self.program, &all, &[&shift, environment].concat())
    }

    /// With a stderr that takes so many bytes and is read by nobody before `read_on`.
    pub fn start_unread(&self, args: &[&str], room: usize) -> Process {
        let config = self.config_file();
        let args = [&["--config", config.to_str().unwrap()], args].concat();
        Process::start_unread(&self.program, &args, &[], room)
    }

    /// So much time has passed since the beginning: for both services, and for the machine as long
    /// as the program is a build for tests.
    pub fn pass(&self, us: i64) {
        self.tenants.iter().for_each(|tenant| tenant.set_clock_ahead(us));
        self.ingress.clock().set_ahead_us(us);
        self.write_file(SHIFT, &(us / SECOND).to_string());
    }

    /// Starts the daemon as systemd does, with stderr leading to the journal.
    pub fn run_as_service(&self) -> Process {
        let config = self.config_file();
        Process::start_as_service(&self.program, &["--config", config.to_str().unwrap(), "run"])
    }

    /// Starts the program without `--config`.
    pub fn start_bare(&self, args: &[&str], environment: &[(&str, String)]) -> Process {
        Process::start(&self.program, args, environment)
    }

    pub fn run(&self) -> Process {
        self.start(&["run"], &[])
    }

    // What the program shows.

    /// The status file, if it is there and whole.
    pub fn status(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.path(&self.settings.status_file)).ok()?).ok()
    }

    /// Waits until the status file satisfies `look`. A file can't be waited for, so it is read
    /// every few milliseconds.
    pub fn wait_status<R>(
        &self,
        within: Duration,
        look: impl Fn(&Value) -> Option<R>,
    ) -> Option<R> {
        let every = Duration::from_millis(20);
        let never = Watched::new(());
        for _ in 0..within.as_millis() / every.as_millis() {
            if let Some(found) = self.status().as_ref().and_then(&look) {
                return Some(found);
            }
            never.wait(every, |()| None::<()>);
        }
        None
    }

    /// What the queue's directory takes on disk.
    pub fn queue_bytes(&self) -> u64 {
        bytes_below(&self.queue_dir())
    }
}

/// The file with the seconds to add to this machine's clock, and the variable that names it.
const SHIFT: &str = "shift";
const TEST_CLOCK: &str = "S1_CORALOGIX_TEST_CLOCK";

impl World {
    /// What the queue's log files take on disk.
    pub fn log_bytes(&self) -> u64 {
        bytes_below(&self.queue_dir().join("log"))
    }
}

fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
            // A file may be gone by now: the collector is at work.
            _ => entry.metadata().map_or(0, |meta| meta.len()),
        })
        .sum()
}
