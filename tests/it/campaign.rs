//! A campaign: many rounds of one kind of fault against the built program, and the tally of them.
//!
//! Promises: the short form is what the ordinary test run does, the long form the same code with
//! more rounds by one environment variable; what went wrong in one round is told and counted, and
//! the rounds go on, so that a planted bug shows how often it is seen; `end` fails the test for it.

#![allow(dead_code, reason = "not every campaign counts everything")]

use std::collections::BTreeMap;
use std::fmt;

use s1_coralogix::prng::Prng;

use crate::support::ledger::Balance;

/// Stories of failed rounds that are printed whole; the rest is counted.
const STORIES: usize = 3;

pub struct Campaign {
    name: &'static str,
    /// How many rounds are wanted.
    pub wanted: u64,
    /// How many were made.
    pub rounds: u64,
    /// What every round draws from. `S1C_SEED` sets it.
    pub prng: Prng,
    seed: u64,
    faults: BTreeMap<String, u64>,
    /// Records that were certain to be in the queue when a fault came.
    pub at_stake: u64,
    pub published: u64,
    pub lost: u64,
    pub duplicated: u64,
    /// Anything else worth a number.
    notes: BTreeMap<&'static str, u64>,
    failed: u64,
}

impl Campaign {
    /// `variable` is the environment's name for the number of rounds, `short` the usual number.
    pub fn new(name: &'static str, variable: &str, short: u64) -> Campaign {
        let number = |variable: &str, usual| {
            std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
        };
        let seed = number("S1C_SEED", 1);
        Campaign {
            name,
            wanted: number(variable, short),
            rounds: 0,
            prng: Prng::new(seed),
            seed,
            faults: BTreeMap::new(),
            at_stake: 0,
            published: 0,
            lost: 0,
            duplicated: 0,
            notes: BTreeMap::new(),
            failed: 0,
        }
    }

    /// Whether what the campaign needs is there. Where it is not, the test says so and counts as
    /// passed; with CI set it fails, for there the campaign must run.
    pub fn is_possible(name: &str, ground: Result<(), String>) -> bool {
        Campaign::given(name, ground).is_some()
    }

    /// The same, with what is needed.
    pub fn given<T>(name: &str, ground: Result<T, String>) -> Option<T> {
        let missing = match ground {
            Ok(ground) => return Some(ground),
            Err(missing) => missing,
        };
        crate::support::skip::skipped(&format!("campaign {name}: {missing}"));
        None
    }

    pub fn is_over(&self) -> bool {
        self.rounds >= self.wanted
    }

    /// Counts a fault that was met.
    pub fn met(&mut self, fault: impl Into<String>) {
        *self.faults.entry(fault.into()).or_default() += 1;
    }

    pub fn met_so_far(&self, fault: &str) -> u64 {
        self.faults.get(fault).copied().unwrap_or(0)
    }

    pub fn note(&mut self, what: &'static str, count: u64) {
        *self.notes.entry(what).or_default() += count;
    }

    /// A round was made. One that failed is told; answers whether it was well.
    pub fn round(&mut self, outcome: Result<(), String>) -> bool {
        self.rounds += 1;
        let Err(why) = outcome else { return true };
        self.failed += 1;
        let round = self.rounds;
        if self.failed <= STORIES as u64 {
            eprintln!("campaign {}, seed {}, round {round} FAILED: {why}", self.name, self.seed);
        } else {
            let first = why.lines().next().unwrap_or_default();
            eprintln!("campaign {}, round {round} FAILED: {first}", self.name);
        }
        false
    }

    /// What was found at the end of a life of several rounds; the last of them answers for it.
    pub fn life(&mut self, outcome: Result<(), String>) -> bool {
        self.rounds -= 1;
        self.round(outcome)
    }

    /// Adds the end of one ledger.
    pub fn settle(&mut self, balance: &Balance) {
        self.published += balance.published as u64;
        self.lost += balance.lost as u64;
        self.duplicated += balance.duplicates as u64;
    }

    /// Prints the tally, and fails the test if any round did.
    pub fn end(&self) {
        println!("{self}");
        assert_eq!(self.failed, 0, "{self}");
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "campaign {}: {} rounds (seed {})", self.name, self.rounds, self.seed)?;
        let faults: Vec<String> = self.faults.iter().map(|(k, n)| format!("{k} {n}")).collect();
        write!(f, "\n  faults met: {}", faults.join(", "))?;
        write!(
            f,
            "\n  records: published {}, at stake {}, lost {}, duplicated {}",
            self.published, self.at_stake, self.lost, self.duplicated
        )?;
        for (what, count) in &self.notes {
            write!(f, "\n  {what}: {count}")?;
        }
        write!(f, "\n  failed rounds: {} of {}", self.failed, self.rounds)
    }
}
