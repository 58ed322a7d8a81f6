//! The demo: the real program between a SentinelOne tenant and a Coralogix ingress on loopback.
//!
//! Shows records arriving, takes Coralogix away, kills the collector with SIGKILL, brings both
//! back, and ends with the ledger of what was published and what was delivered.
//!
//! Promises: needs nothing but Rust; touches no network but loopback and no files but those of a
//! temporary directory; takes well under a minute; exits with 1 if anything is lost.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it is a show: it prints, watches the clock, and ends at once if its stage breaks"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{IsTerminal, Write, stdout};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use support::clock::HOUR;
use support::data::Kind;
use support::process::Process;
use support::watched::Watched;
use support::world::{Settings, World};

const HISTORY: usize = 40_000;
/// New records, each tenth of a second.
const NEW: usize = 90;
const OUTAGE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(100);
/// Each act ends by its condition; this only keeps a broken demo from running on.
const ACT: Duration = Duration::from_secs(25);

fn main() -> ExitCode {
    let Some(program) = build() else {
        println!("The program could not be built; see above.");
        return ExitCode::FAILURE;
    };
    let settings = Settings { log_level: "info".to_string(), ..Settings::default() };
    let world = World::new(program.into(), settings);
    let stop = Arc::new(Watched::new(false));
    let good = thread::scope(|scope| {
        scope.spawn(|| publish(&world, &stop));
        let good = Demo::new(&world).play(|| stop.change(|stop| *stop = true));
        stop.change(|stop| *stop = true);
        good
    });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Builds the program the way this example was built, and says where it is.
fn build() -> Option<PathBuf> {
    let example = std::env::current_exe().ok()?;
    let profile_dir = example.parent()?.parent()?;
    let mut cargo = Command::new(env!("CARGO"));
    // Named together with what is built already, so that both share every artifact.
    cargo.args(["build", "--bin", "s1-coralogix", "--example", "demo"]);
    // What cargo and our build script tell a program that is run they don't tell one that builds: with
    // these, ring and all above it would be built another time, and once more at the next run.
    for (name, _) in std::env::vars_os() {
        let of_cargo = ["CARGO_PKG_", "CARGO_MANIFEST_", "OUT_DIR", "S1_CORALOGIX_"];
        if of_cargo.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).arg("--target-dir").arg(profile_dir.parent()?);
    if profile_dir.ends_with("release") {
        cargo.arg("--release");
    }
    println!("Building s1-coralogix (a minute or two the first time) ...");
    cargo.status().ok()?.success().then(|| profile_dir.join("s1-coralogix"))
}

/// A tenant's day: records keep coming, and now and then an analyst closes a threat.
fn publish(world: &World, stop: &Watched<bool>) {
    let tenant = world.tenant();
    while stop.wait(TICK, |stop| stop.then_some(())).is_none() {
        tenant.publish_with(Kind::Activities, NEW, |draft| draft.size = 2_600);
        let threats = tenant.publish(Kind::Threats, NEW / 6);
        tenant.change_threats(&threats[..1], |draft| draft.incident = "resolved");
    }
}

struct Demo<'a> {
    world: &'a World,
    begun: Instant,
    live: bool,
    collector: Option<Process>,
    last: (Instant, usize),
    printed: Instant,
}

impl<'a> Demo<'a> {
    fn new(world: &'a World) -> Demo<'a> {
        let begun = Instant::now();
        Demo {
            world,
            begun,
            live: stdout().is_terminal(),
            collector: None,
            last: (begun, 0),
            printed: begun - ACT,
        }
    }

    fn play(&mut self, stop_publishing: impl FnOnce()) -> bool {
        self.history();
        self.say("The collector starts. It reads the last 24 hours and delivers them.");
        self.collector = Some(self.world.run());
        self.watch(|demo| demo.delivered() >= HISTORY);
        self.say("Coralogix is taken down. SentinelOne is still polled; the records wait on disk.");
        self.world.ingress.server.take_away();
        let gone = Instant::now();
        // The status file may be a second old.
        self.watch(|demo| gone.elapsed() > OUTAGE && demo.waiting() > 2_000);
        self.say("The collector is killed (SIGKILL) while records are waiting.");
        self.collector.take().expect("it was started").kill();
        let delivered = Instant::now();
        self.watch(|_| delivered.elapsed() > Duration::from_secs(2));
        self.say("Both are restored.");
        self.collector = Some(self.world.run());
        self.world.ingress.server.bring_back();
        let back = self.delivered();
        self.watch(|demo| demo.delivered() > back + 4_000);
        stop_publishing();
        self.watch(|demo| {
            let balance = demo.world.ledger.balance();
            balance.lost == 0 && demo.waiting() == 0
        });
        self.say("The collector is asked to stop.");
        self.ledger()
    }

    fn history(&self) {
        let tenant = self.world.tenant();
        let now = tenant.clock().now_us();
        for (kind, count) in [(Kind::Activities, HISTORY * 4 / 5), (Kind::Threats, HISTORY / 5)] {
            tenant.publish_between(kind, count, now - 23 * HOUR, now - HOUR, |draft| {
                draft.size = 2_600;
            });
        }
        println!("A SentinelOne tenant with {HISTORY} records:  {}", tenant.url());
        println!("A Coralogix endpoint:                    {}", self.world.ingress.url());
        println!(
            "The config of the collector:             {}\n",
            self.world.config_file().display()
        );
    }

    fn delivered(&self) -> usize {
        self.world.ledger.balance().delivered
    }

    /// From the status file, as anyone may read it.
    fn waiting(&self) -> u64 {
        let status = self.world.status();
        status.and_then(|status| status.pointer("/queue/waiting")?.as_u64()).unwrap_or(0)
    }

    /// Shows the live line until the condition holds.
    fn watch(&mut self, until: impl Fn(&Demo<'_>) -> bool) {
        let begun = Instant::now();
        let never = Watched::new(());
        while !until(self) && begun.elapsed() < ACT {
            never.wait(TICK, |()| None::<()>);
            self.line();
        }
        self.printed = self.begun - ACT;
        self.line();
        if self.live {
            println!();
        }
    }

    fn line(&mut self) {
        // A file gets a line a second, a terminal one line that moves.
        if !self.live && self.printed.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.printed = Instant::now();
        let balance = self.world.ledger.balance();
        let span = self.last.0.elapsed();
        let rate = (balance.delivered - self.last.1) as f64 / span.as_secs_f64().max(0.001);
        if span > Duration::from_secs(1) {
            self.last = (Instant::now(), balance.delivered);
        }
        let text = format!(
            "  {:4.1}s  published {:>6}   waiting {:>6}   delivered {:>6}   {:>6.0}/s",
            self.begun.elapsed().as_secs_f64(),
            balance.published,
            self.waiting(),
            balance.delivered,
            rate
        );
        if self.live {
            print!("\r\u{1b}[K{text}");
            stdout().flush().unwrap();
        } else {
            println!("{text}");
        }
    }

    fn say(&self, what: &str) {
        if self.live {
            println!("\u{1b}[1m{what}\u{1b}[0m");
        } else {
            println!("{what}");
        }
    }

    fn ledger(&mut self) -> bool {
        let collector = self.collector.take().expect("it was started again");
        collector.signal(Signal::TERM);
        let ended = collector.wait(ACT);
        let balance = self.world.ledger.balance();
        println!("\nThe ledger, every record compared byte by byte:");
        println!("  published   {:>7}", balance.published);
        println!("  delivered   {:>7}", balance.delivered);
        println!("  lost        {:>7}", balance.lost);
        println!("  duplicates  {:>7}", balance.duplicates);
        println!("  changed     {:>7}", balance.changed);
        let requests = self.world.ingress.requests();
        println!("  in {requests} requests and {:.0} seconds", self.begun.elapsed().as_secs_f64());
        let good = balance.lost == 0
            && balance.changed == 0
            && ended.as_ref().is_some_and(|ended| ended.code == Some(0));
        if !good {
            println!("This is wrong. The log of the collector:");
            println!("{}", ended.map_or_else(|| collector.err(), |ended| ended.err));
        }
        good
    }
}
