//! One test's stage: a world, the built program in it, and the sentences tests are made of.
//!
//! Promises: waits have a deadline and end at once when their condition holds; a failed wait tells
//! what was seen: the balance, the status, the last requests and the end of the log.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::data::Kind;
use crate::support::process::{Ended, Process};
use crate::support::program::Program;
use crate::support::tenant::{Seen, Tenant};
use crate::support::watched::Watched;
use crate::support::world::{Settings, World};

/// Longer than anything takes on a slow machine with every core busy.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub struct Scene {
    world: World,
    daemon: Option<Process>,
    /// What every run that ended has written to stderr.
    log: String,
}

impl Deref for Scene {
    type Target = World;
    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Scene {
    pub fn new() -> Scene {
        Scene::with(|_| {})
    }

    /// 400 records, of which one makes the sink, or what stands before it, answer so: all others are
    /// delivered once, and that one is parked. With what `queue parked list` says of it.
    pub fn where_one_is_parked(answer: (u16, &'static str, &'static str)) -> (Scene, String) {
        let mut scene = Scene::new();
        let ids = scene.tenant().publish(Kind::Activities, 400);
        let poison = format!("\"id\": \"{}\"", ids[123]);
        scene.ingress.turn(|knobs| {
            knobs.poison = Some(Arc::new(move |text| text.contains(&poison)));
            knobs.poison_answer = answer;
        });
        scene.run();
        scene.wait_delivered(399);
        scene.wait_status_is("/queue/parked", "1");
        scene.wait_status_is("/state", "healthy");
        let list = scene.command(&["queue", "parked", "list"]).out;
        let id = ids[123].to_string();
        assert!(list.contains(&id), "{list}");
        scene.wait_log(&format!(
            "Coralogix did not accept a record of acme/activities with the id {id}"
        ));
        scene.wait_status_is("/gaps/latest/0/record_id", &id);
        let balance = scene.ledger.balance();
        assert_eq!((balance.lost, balance.duplicates), (1, 0), "{balance}");
        (scene, list)
    }

    /// A world whose config differs from the usual in what `change` says.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Scene {
        let mut settings = Settings::default();
        change(&mut settings);
        // Another build of it, say one with a bug planted, can be put in its place.
        let program = Program::under_test(env!("CARGO_BIN_EXE_s1-coralogix"));
        Scene { world: World::new(program, settings), daemon: None, log: String::new() }
    }

    // The program.

    /// Starts the daemon.
    pub fn run(&mut self) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        self.daemon = Some(self.world.run());
    }

    pub fn run_with(&mut self, environment: &[(&str, String)]) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        self.daemon = Some(self.world.start(&["run"], environment));
    }

    /// Starts the daemon with a stderr that takes so many bytes and that nobody reads.
    pub fn run_unread(&mut self, room: usize) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        self.daemon = Some(self.world.start_unread(&["run"], room));
    }

    pub fn daemon(&self) -> &Process {
        self.daemon.as_ref().expect("the daemon was started")
    }

    /// SIGTERM, and a clean end.
    pub fn stop(&mut self) -> Ended {
        let ended = self.end_with(Signal::TERM);
        assert_eq!(ended.code, Some(0), "SIGTERM ends well\n{}", self.story());
        ended
    }

    pub fn end_with(&mut self, signal: Signal) -> Ended {
        self.signal(signal);
        self.ended()
    }

    /// Waits for the daemon's end by itself.
    pub fn ended(&mut self) -> Ended {
        let ended = self.daemon().wait(PATIENCE);
        let ended = ended.unwrap_or_else(|| panic!("the daemon does not end\n{}", self.story()));
        self.log += &ended.err;
        self.daemon = None;
        ended
    }

    pub fn kill(&mut self) {
        let ended = self.daemon().kill();
        self.log += &ended.err;
        self.daemon = None;
    }

    /// Runs a command to its end.
    pub fn command(&self, args: &[&str]) -> Ended {
        self.command_with(args, &[])
    }

    pub fn command_with(&self, args: &[&str], environment: &[(&str, String)]) -> Ended {
        let process = self.world.start(args, environment);
        match process.wait(PATIENCE) {
            Some(ended) => ended,
            None => panic!("{args:?} does not end\n{}\n{}", process.err(), self.story()),
        }
    }

    /// Runs a command as another user, with no group but its own; root alone can.
    pub fn command_as(&self, uid: u32, args: &[&str]) -> Ended {
        let become_it = ["setpriv".into(), format!("--reuid={uid}"), format!("--regid={uid}")];
        let become_it = become_it.into_iter().chain(["--clear-groups".into()]);
        let program = Program::under_test(env!("CARGO_BIN_EXE_s1-coralogix"));
        let program = program.under(become_it.map(Into::into));
        let config = self.config_file().display().to_string();
        let process = Process::start(&program, &[&["--config", &config], args].concat(), &[]);
        process.wait(PATIENCE).unwrap_or_else(|| panic!("{args:?} does not end"))
    }

    pub fn once(&mut self) -> Ended {
        let ended = self.command(&["run", "--once"]);
        self.log += &ended.err;
        ended
    }

    pub fn once_with_code(&mut self, code: i32) -> Ended {
        let ended = self.once();
        assert_eq!(ended.code, Some(code), "run --once\n{}", self.story());
        ended
    }

    /// Everything written to stderr so far, by all runs.
    pub fn log(&self) -> String {
        let now = self.daemon.as_ref().map(Process::err).unwrap_or_default();
        format!("{}{now}", self.log)
    }

    /// Asks the daemon to poll and drain now, where a test need not wait for the interval.
    pub fn hurry(&self) {
        self.signal(Signal::USR1);
    }

    /// Sends a signal once the daemon is up: before, it would mean its death.
    pub fn signal(&self, signal: Signal) {
        self.wait_up();
        self.daemon().signal(signal);
    }

    pub fn wait_up(&self) {
        self.wait_status_is("/pid", &self.daemon().pid().to_string());
    }

    // Conditions.

    /// Waits with `try_for` until it finds something. A daemon that ends meanwhile ends the wait.
    pub fn wait_while_alive<R>(
        &self,
        what: &str,
        mut try_for: impl FnMut(Duration) -> Option<R>,
    ) -> R {
        const SLICE: Duration = Duration::from_millis(250);
        let slices = PATIENCE.as_millis() / SLICE.as_millis();
        for _ in 0..slices {
            let alive = self.daemon.as_ref().is_none_or(Process::is_running);
            if let Some(found) = try_for(SLICE) {
                return found;
            }
            assert!(alive, "the daemon has ended before {what}\n{}", self.story());
        }
        panic!("{what}: not within {PATIENCE:?}\n{}", self.story());
    }

    /// Waits until there is a file of this name; it is looked for every few milliseconds.
    pub fn wait_file(&self, path: &Path) {
        self.wait_while_alive(&format!("{} is there", path.display()), |within| {
            let never = Watched::new(());
            let every = Duration::from_millis(5);
            (0..within.as_millis() / every.as_millis()).find_map(|_| {
                never.wait(every, |()| None::<()>);
                path.exists().then_some(())
            })
        });
    }

    /// Waits until everything published is delivered.
    pub fn settle(&self) {
        let complete = |within| self.ledger.wait_complete(within).then_some(());
        self.wait_while_alive("all is delivered", complete);
    }

    /// Waits until each stream was asked once more and answered, so that what an overlap could
    /// bring twice has come.
    pub fn poll_again(&self) {
        self.poll_again_without_settling();
        self.settle();
    }

    /// The same where something is known never to arrive.
    pub fn poll_again_without_settling(&self) {
        for tenant in &self.world.tenants {
            for kind in Kind::ALL {
                let polls = |seen: &[Seen]| seen.iter().filter(|s| s.polls(kind)).count();
                let before = tenant.wait(Duration::ZERO, |seen| Some(polls(seen))).unwrap_or(0);
                if before > 0 {
                    self.wait_while_alive(&format!("{} are polled again", kind.name()), |within| {
                        tenant.wait(within, |seen| (polls(seen) >= before + 2).then_some(()))
                    });
                }
            }
        }
    }

    pub fn wait_delivered(&self, count: usize) {
        self.wait_while_alive(&format!("{count} are delivered"), |within| {
            self.ledger.wait_delivered(count, within).then_some(())
        });
    }

    /// Waits until the status has this value at this JSON pointer.
    pub fn wait_status_is(&self, pointer: &str, wanted: &str) {
        self.wait_while_alive(&format!("status{pointer} is {wanted}"), |within| {
            self.wait_status(within, |status| {
                (text_of(status.pointer(pointer)?) == wanted).then_some(())
            })
        });
    }

    /// Waits until at least this many records wait in the queue.
    pub fn wait_waiting(&self, count: u64) {
        self.wait_while_alive(&format!("{count} wait"), |within| {
            self.wait_status(within, |status| {
                (status.pointer("/queue/waiting")?.as_u64()? >= count).then_some(())
            })
        });
    }

    pub fn wait_log(&self, text: &str) {
        self.wait_while_alive(&format!("the log says {text:?}"), |within| {
            self.daemon().wait_err(text, within).then_some(())
        });
    }

    // Judgements.

    pub fn assert_nothing_lost(&self) {
        let balance = self.ledger.balance();
        let complaints = self.ingress.look(|state| state.complaints.clone());
        let fine = balance.lost == 0 && balance.changed == 0 && complaints.is_empty();
        assert!(fine, "{balance}, complaints {complaints:?}\n{}", self.story());
    }

    pub fn assert_exactly_once(&self) {
        self.assert_nothing_lost();
        let balance = self.ledger.balance();
        assert_eq!(balance.duplicates, 0, "{balance}\n{}", self.story());
    }

    pub fn assert_in_order(&self) {
        let balance = self.ledger.balance();
        assert_eq!(balance.out_of_order, 0, "{balance}\n{}", self.story());
    }

    /// Neither log nor status nor any file of the queue holds a secret (P7).
    pub fn assert_secrets_kept(&self, secrets: &[String]) {
        let status = self.world.status().map(|status| status.to_string()).unwrap_or_default();
        for secret in secrets {
            assert!(!self.log().contains(secret), "a secret in the log\n{}", self.story());
            assert!(!status.contains(secret), "a secret in the status\n{status}");
            assert_eq!(files_holding(&self.queue_dir(), secret.as_bytes()), Vec::<String>::new());
        }
    }

    /// What was seen, for the message of a failed test.
    pub fn story(&self) -> String {
        let missing: Vec<String> = self
            .ledger
            .look(|book| book.missing().take(5).map(|entry| format!("{:?}", entry)).collect());
        let changed = self.ledger.look(|book| book.changed.first().cloned());
        let status = self.world.status().map(|status| format!("{status:#}")).unwrap_or_default();
        let seen = |tenant: &Tenant| {
            let seen = tenant.seen();
            seen.iter()
                .rev()
                .take(6)
                .map(|s| {
                    format!(
                        "{} {} {:?} -> {} ({} rows)",
                        s.method, s.path, s.query, s.status, s.rows
                    )
                })
                .collect::<Vec<_>>()
        };
        let asked: Vec<_> = self.world.tenants.iter().map(seen).collect();
        let got: Vec<String> = self
            .ingress
            .got()
            .iter()
            .rev()
            .take(6)
            .map(|g| format!("{} {} entries {} -> {}", g.method, g.path, g.entries, g.status))
            .collect();
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        format!(
            "ledger: {}\nmissing: {missing:#?}\nfirst changed: {changed:?}\nasked last: {asked:#?}\n\
             got last: {got:#?}\nstatus: {status}\nlog:\n{tail}",
            self.ledger.balance()
        )
    }
}

fn text_of(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// The files below a directory that hold these bytes.
pub fn files_holding(dir: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return found };
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            found.extend(files_holding(&entry.path(), bytes));
        } else if let Ok(content) = std::fs::read(entry.path())
            && content.windows(bytes.len()).any(|window| window == bytes)
        {
            found.push(entry.path().display().to_string());
        }
    }
    found
}
